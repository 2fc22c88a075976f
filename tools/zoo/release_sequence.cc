// Caught by model: data race

// A reader leaves with a release store and enters again with a relaxed one to the same slot. Until C++17 the writer
// that acquired the second also knew of the first; since C++20 it does not, and frees under the reader's feet.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct ReleaseSequence : Model<ReleaseSequence, 2> {
  RelacySync::Atomic<int> slot{1};  // odd: inside
  RelacySync::Var<int>* value = RelacySync::New<RelacySync::Var<int>>(1);

  void thread(unsigned id) {
    if (id == 0) {
      static_cast<void>(value->Read());
      slot.store(2, std::memory_order::release);
      slot.store(3, std::memory_order::relaxed);
    } else {
      while (slot.load(std::memory_order::acquire) < 2) RelacySync::Pause();
      RelacySync::Delete(value);
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::ReleaseSequence)});
}
