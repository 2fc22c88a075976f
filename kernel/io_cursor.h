#ifndef HOTPATH_KERNEL_IO_CURSOR_H_
#define HOTPATH_KERNEL_IO_CURSOR_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "hotpath/kernel/abi.h"

namespace hotpath::kernel {

// A position in the caller's buffers: what readv(2) fills (Byte = std::byte) or writev(2) drains (const std::byte).
// At most abi::kMaxTransfer bytes are offered, as Linux cuts longer requests short. Needs no lock: one call owns it.
template <class Byte>
class IoCursor {
 public:
  explicit IoCursor(std::span<const std::span<Byte>> buffers) : buffers_(buffers) {
    for (const std::span<Byte>& buffer : buffers_) left_ += std::min(buffer.size(), abi::kMaxTransfer - left_);
  }
  size_t left() const { return left_; }
  size_t done() const { return done_; }

  // Calls piece(pointer, bytes) on consecutive pieces of the next `count` bytes; count must not exceed left().
  template <class F>
  void Advance(size_t count, F&& piece) {
    left_ -= count;
    done_ += count;
    while (count > 0) {
      const std::span<Byte> rest = buffers_.front().subspan(used_);
      const size_t part = std::min(count, rest.size());
      if (part > 0) piece(rest.data(), part);
      count -= part;
      used_ += part;
      if (part == rest.size()) {
        buffers_ = buffers_.subspan(1);
        used_ = 0;
      }
    }
  }

 private:
  std::span<const std::span<Byte>> buffers_;
  size_t used_ = 0;  // bytes of the first buffer that are done
  size_t left_ = 0;
  size_t done_ = 0;
};

using ReadCursor = IoCursor<std::byte>;
using WriteCursor = IoCursor<const std::byte>;

inline void PutBytes(ReadCursor& out, const std::byte* from, size_t count) {
  out.Advance(count, [&](std::byte* to, size_t part) {
    std::memcpy(to, from, part);
    from += part;
  });
}

inline void PutZeros(ReadCursor& out, size_t count) {
  out.Advance(count, [](std::byte* to, size_t part) { std::memset(to, 0, part); });
}

inline void TakeBytes(WriteCursor& in, std::byte* to, size_t count) {
  in.Advance(count, [&](const std::byte* from, size_t part) {
    std::memcpy(to, from, part);
    to += part;
  });
}

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_IO_CURSOR_H_
