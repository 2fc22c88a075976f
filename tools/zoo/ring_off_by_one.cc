// Caught by model: check failed: value == i

// A single-producer single-consumer ring that takes one element more than it has slots.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct RingOffByOne : Model<RingOffByOne, 2> {
  static constexpr uint32_t kSlots = 2;
  RelacySync::Atomic<uint32_t> head{0}, tail{0};
  RelacySync::Var<uint32_t> slots[kSlots];

  bool Push(uint32_t value) {
    const uint32_t at = tail.load(std::memory_order::relaxed);
    if (at - head.load(std::memory_order::acquire) > kSlots) return false;  // >= is right
    slots[at % kSlots].Write(value);
    tail.store(at + 1, std::memory_order::release);
    return true;
  }
  bool Pop(uint32_t& value) {
    const uint32_t at = head.load(std::memory_order::relaxed);
    if (at == tail.load(std::memory_order::acquire)) return false;
    value = slots[at % kSlots].Read();
    head.store(at + 1, std::memory_order::release);
    return true;
  }
  void thread(unsigned id) {
    for (uint32_t i = 0; i < kSlots + 1; ++i) {
      if (id == 0) {
        while (!Push(i)) RelacySync::Pause();
      } else {
        uint32_t value;
        while (!Pop(value)) RelacySync::Pause();
        HOTPATH_CHECK(value == i);
      }
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::RingOffByOne)});
}
