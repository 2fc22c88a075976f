// Caught by mutation: unproved_order.cc Take cas 1 acquire->relaxed

// The lock is right, the model is not: it never looks at what the lock protects, so it would pass without the acquire.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct UnprovedOrder : Model<UnprovedOrder, 2> {
  RelacySync::Atomic<bool> locked{false};
  RelacySync::Var<int> guarded{0};

  void Take() {
    bool free = false;
    while (!locked.compare_exchange_weak(free, true, std::memory_order::acquire, std::memory_order::relaxed)) {
      free = false;
      RelacySync::Pause();
    }
  }
  void thread(unsigned) {
    Take();
    locked.store(false, std::memory_order::release);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::UnprovedOrder)});
}
