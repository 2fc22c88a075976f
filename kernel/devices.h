#ifndef HOTPATH_KERNEL_DEVICES_H_
#define HOTPATH_KERNEL_DEVICES_H_

#include <cstdint>

#include "hotpath/kernel/abi.h"

namespace hotpath::kernel {

// The character devices that exist, by the number of their node.
enum class Device : uint8_t {
  kNone,    // no driver: open(2) fails with ENXIO
  kNull,    // reads nothing, swallows writes
  kZero,    // reads zeros, swallows writes; may be mapped
  kFull,    // reads zeros, writes fail with ENOSPC
  kRandom,  // reads bytes that look random and are the same in every run; swallows writes
  kTty,     // a terminal nobody sits at: reads fail with EIO as after a hang-up, writes vanish, ioctls succeed, no seek
};

inline Device DeviceOf(uint64_t rdev) {
  switch (rdev) {
    case abi::MakeDev(1, 3):
      return Device::kNull;
    case abi::MakeDev(1, 5):
      return Device::kZero;
    case abi::MakeDev(1, 7):
      return Device::kFull;
    case abi::MakeDev(1, 8):
    case abi::MakeDev(1, 9):
      return Device::kRandom;
  }
  const uint64_t major = (rdev >> 8) & 0xfff;
  // /dev/tty and /dev/console, virtual consoles, and the ends of pseudo-terminals.
  if (major == 5 || major == 4 || (major >= 136 && major <= 143)) return Device::kTty;
  return Device::kNone;
}

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_DEVICES_H_
