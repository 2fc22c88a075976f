#ifndef HOTPATH_FUZZ_BASE_INPUT_H_
#define HOTPATH_FUZZ_BASE_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace hotpath::fuzz {

// The bytes of an input one after another, and zeros when they are used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data, size) {}
  bool empty() const { return data_.empty(); }
  size_t Byte() {
    if (data_.empty()) return 0;
    const uint8_t byte = data_.front();
    data_ = data_.subspan(1);
    return byte;
  }
  size_t Word() {
    const size_t high = Byte();
    return high << 8 | Byte();
  }

 private:
  std::span<const uint8_t> data_;
};

}  // namespace hotpath::fuzz

#endif  // HOTPATH_FUZZ_BASE_INPUT_H_
