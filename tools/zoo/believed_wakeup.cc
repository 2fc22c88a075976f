// Caught by model: woken for no reason

// Whoever is woken must look again: the kernel may wake a thread for no reason.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct BelievedWakeup : Model<BelievedWakeup, 2> {
  RelacySync::Atomic<uint32_t> ready{0};

  void thread(unsigned id) {
    if (id == 0) {
      ready.store(1, std::memory_order::release);
      RelacySync::Wake(ready, 1);
    } else {
      static_cast<void>(RelacySync::Park(ready, 0));  // in a loop is right
      HOTPATH_CHECK(ready.fetch_add(0, std::memory_order::acquire) == 1, "woken for no reason");
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::BelievedWakeup)});
}
