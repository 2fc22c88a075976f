// Caught by model: data race

// An object is made, then its pointer stored relaxed: the reader gets the pointer and not the object.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct UnlockedPublish : Model<UnlockedPublish, 2> {
  RelacySync::Var<int> object{0};
  RelacySync::Atomic<RelacySync::Var<int>*> published{nullptr};

  void thread(unsigned id) {
    if (id == 0) {
      object.Write(42);
      published.store(&object, std::memory_order::relaxed);
    } else if (const auto* seen = published.load(std::memory_order::acquire)) {
      HOTPATH_CHECK(seen->Read() == 42);
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::UnlockedPublish)});
}
