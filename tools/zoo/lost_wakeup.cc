// Caught by model: deadlock

// The flag is checked, then the thread says that it sleeps: a wake-up in between is lost.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct LostWakeup : Model<LostWakeup, 2> {
  RelacySync::Atomic<bool> ready{false};
  RelacySync::Atomic<uint32_t> asleep{0};

  void thread(unsigned id) {
    if (id == 0) {
      ready.store(true, std::memory_order::seq_cst);
      if (asleep.load(std::memory_order::seq_cst) == 1) {
        asleep.store(0, std::memory_order::seq_cst);
        RelacySync::Wake(asleep, 1);
      }
    } else if (!ready.load(std::memory_order::seq_cst)) {
      asleep.store(1, std::memory_order::seq_cst);  // must come before the check
      while (asleep.load(std::memory_order::seq_cst) == 1) static_cast<void>(RelacySync::Park(asleep, 1));
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::LostWakeup)});
}
