// Caught by mutation: unneeded_order.cc Hit rmw 1 release->relaxed

// A counter that nobody reads anything behind: its release orders nothing. The model holds; the sweep asks why.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct UnneededOrder : Model<UnneededOrder, 2> {
  RelacySync::Atomic<int> hits{0};

  void Hit() { hits.fetch_add(1, std::memory_order::release); }
  void thread(unsigned) { Hit(); }
  void finish() { HOTPATH_CHECK(hits.load(std::memory_order::relaxed) == 2); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::UnneededOrder)});
}
