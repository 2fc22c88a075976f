// The input is a program for a StripedCounter: pairs of bytes, an operation with an argument. The threads are
// simulated: the policy says which index the caller has, and whether there is memory. The oracle is one integer.

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/striped_counter.h"

namespace {

struct SimulatedSync : hotpath::StdSync {
  static inline uint32_t thread = 0;
  static inline uint32_t allocations_that_fail = 0;
  static inline int64_t live = 0;  // allocated and not given back

  static uint32_t ThreadIndex() noexcept { return thread; }
  template <class T, class... Args>
  [[nodiscard]] static T* New(Args&&... args) {
    if (allocations_that_fail > 0) {
      --allocations_that_fail;
      throw std::bad_alloc();
    }
    ++live;
    return StdSync::New<T>(std::forward<Args>(args)...);
  }
  template <class T>
  static void Delete(T* object) noexcept {
    if (object != nullptr) --live;
    StdSync::Delete(object);
  }
};
static_assert(hotpath::SyncPolicy<SimulatedSync>);

// Some that are about powers of two, where cells of one kind end and of another begin.
constexpr std::array<uint32_t, 16> kThreads = {0, 1, 2, 7, 8, 9, 15, 16, 31, 32, 63, 64, 1000, 2047, 2048, 4095};

template <uint32_t kInline>
void RunProgram(const uint8_t* data, size_t size) {
  SimulatedSync::thread = 0;
  SimulatedSync::allocations_that_fail = 0;
  {
    hotpath::BasicStripedCounter<hotpath::StripedCounterOptions{.inline_cells = kInline}, SimulatedSync> counter;
    uint64_t oracle = 0;
    for (; size >= 2; data += 2, size -= 2) {
      const uint8_t op = data[0], arg = data[1];
      switch (op % 5) {
        case 0:
          SimulatedSync::thread = op < 128 ? kThreads[arg % kThreads.size()] : arg;
          break;
        case 1:
          SimulatedSync::allocations_that_fail = arg % 4;
          break;
        default:
          // 2 to the power of 0 to 63, up or down.
          const uint64_t delta = op % 2 == 0 ? uint64_t{1} << arg % 64 : -(uint64_t{1} << arg % 64);
          counter.Add(static_cast<int64_t>(delta));
          oracle += delta;
      }
      HOTPATH_CHECK(counter.ExactTotal() == static_cast<int64_t>(oracle), "an Add was lost, or counted twice");
      HOTPATH_CHECK(counter.ApproximateTotal() == static_cast<int64_t>(oracle), "an Add was lost, or counted twice");
    }
  }
  HOTPATH_CHECK(SimulatedSync::live == 0, "cells were leaked, or freed twice");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  switch (data[0] % 3) {
    case 0:
      RunProgram<1>(data + 1, size - 1);
      break;
    case 1:
      RunProgram<8>(data + 1, size - 1);
      break;
    default:
      RunProgram<64>(data + 1, size - 1);
  }
  return 0;
}
