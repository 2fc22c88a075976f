// Caught by model: check failed: inside

// Dekker's handshake without the fence between each store and the load of the other's flag.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct MissingFence : Model<MissingFence, 2> {
  RelacySync::Atomic<int> wants[2] = {0, 0};
  int inside = 0;

  void thread(unsigned id) {
    wants[id].store(1, std::memory_order::release);
    if (wants[1 - id].load(std::memory_order::acquire) == 0) ++inside;
  }
  void finish() { HOTPATH_CHECK(inside <= 1, "both went in"); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::MissingFence)});
}
