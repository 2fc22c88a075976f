// Caught by fuzz: deadly signal

// A ring of 100 slots whose 8-bit positions wrap at 256, which 100 does not divide. The input is a program, the oracle
// a plain container.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>

namespace {

class Ring {
 public:
  bool Push(uint8_t value) {
    if (static_cast<uint8_t>(tail_ - head_) == kSlots) return false;
    slots_[tail_++ % kSlots] = value;
    return true;
  }
  bool Pop(uint8_t& value) {
    if (head_ == tail_) return false;
    value = slots_[head_++ % kSlots];
    return true;
  }

 private:
  static constexpr uint8_t kSlots = 100;
  uint8_t slots_[kSlots];
  uint8_t head_ = 0, tail_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Ring ring;
  std::deque<uint8_t> oracle;
  for (size_t i = 0; i < size; ++i) {
    if (data[i] % 4 != 0) {  // a run of pushes
      for (int n = data[i] % 4 * 8; n > 0; --n) {
        const uint8_t value = static_cast<uint8_t>(i * 7 + static_cast<size_t>(n));
        if (ring.Push(value)) oracle.push_back(value);
      }
    } else {
      for (int n = data[i] % 32; n > 0; --n) {
        uint8_t value;
        if (ring.Pop(value) == oracle.empty()) std::abort();
        if (oracle.empty()) break;
        if (value != oracle.front()) std::abort();
        oracle.pop_front();
      }
    }
  }
  return 0;
}
