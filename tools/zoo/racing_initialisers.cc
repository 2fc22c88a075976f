// Caught by model: memory leak

// Two threads make the object at first use, one of them publishes it, the other forgets its own.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct RacingInitialisers : Model<RacingInitialisers, 2> {
  RelacySync::Atomic<int*> object{nullptr};

  void thread(unsigned) {
    if (object.load(std::memory_order::acquire) != nullptr) return;
    int* mine = RelacySync::New<int>(1);
    int* none = nullptr;
    object.compare_exchange_strong(none, mine, std::memory_order::acq_rel, std::memory_order::acquire);
  }
  void finish() { RelacySync::Delete(object.load(std::memory_order::relaxed)); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::RacingInitialisers)});
}
