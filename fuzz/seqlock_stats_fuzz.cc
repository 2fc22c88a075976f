// The input is a program for a SeqlockStats. The first byte chooses the type and the number of slots, then each pair of
// bytes is one operation with an argument; a plain struct that the same operations are done to is the oracle. Reads may
// be interrupted by writes: then the history of the oracle says which answers are right.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/seqlock_stats.h"

namespace {

// Runs `interruption` once, after a reader took the words and before it looks whether they are whole.
struct InterruptedSync : hotpath::StdSync {
  static inline std::function<void()> interruption;

  using StdSync::CopyWords;
  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from) {
    StdSync::CopyWords<kBytes>(to, from);
    if (interruption) std::exchange(interruption, nullptr)();
  }
};
static_assert(hotpath::SyncPolicy<InterruptedSync>);

struct Mixed {  // with padding in the middle and at the end
  std::array<uint8_t, 6> bytes{};
  uint32_t number = 0;
  std::array<uint8_t, 7> tail{};
  bool operator==(const Mixed&) const = default;
};

template <size_t kBytes>
struct Array {
  std::array<uint8_t, kBytes> bytes{};
  uint8_t number = 0;
  bool operator==(const Array&) const = default;
};

struct alignas(64) Wide {
  std::array<uint8_t, 100> bytes{};
  int64_t number = 0;
  bool operator==(const Wide&) const = default;
};

template <class T, uint32_t kSlots>
void RunProgram(const uint8_t* data, size_t size) {
  T oracle;
  hotpath::BasicSeqlockStats<T, hotpath::SeqlockOptions{.slots = kSlots}, InterruptedSync> stats(oracle);

  const auto edit = [](T& value, uint8_t arg) { value.bytes[arg % value.bytes.size()] = arg; };
  const auto write = [&](uint8_t op, uint8_t arg) {
    switch (op % 4) {
      case 0:
        oracle.bytes.fill(arg);
        stats.Store(oracle);
        break;
      case 1:
        edit(oracle, arg);
        stats.Write([&](T& value) { edit(value, arg); });
        break;
      case 2:
        oracle.number = static_cast<decltype(T::number)>(oracle.number + arg);
        stats.template Add<&T::number>(arg);
        break;
      default:
        try {
          stats.Write([&](T& value) {
            edit(value, static_cast<uint8_t>(arg + 1));
            throw arg;
          });
          HOTPATH_CHECK(false, "an exception was swallowed");
        } catch (uint8_t thrown) {
          HOTPATH_CHECK(thrown == arg);
        }
        return false;  // nothing was published
    }
    return true;
  };

  for (; size >= 2; data += 2, size -= 2) {
    const uint8_t op = data[0], arg = data[1];
    if (op % 8 < 4) {
      write(op, arg);
    } else if (op % 8 < 6) {
      HOTPATH_CHECK(stats.Read() == oracle, "a read is not what was written last");
    } else {
      // A reader overtaken by `arg` operations is refused exactly if its slot was used again.
      const T before = oracle;
      uint32_t published = 0;
      InterruptedSync::interruption = [&] {
        for (uint8_t i = 0; i < arg % 8; ++i) published += write(static_cast<uint8_t>(op / 8 + i), arg);
      };
      T seen;
      const bool accepted = stats.TryRead(seen);
      HOTPATH_CHECK(accepted == (published < kSlots), "accepted or refused wrongly");
      HOTPATH_CHECK(!accepted || seen == before, "a reader got neither the old value nor a refusal");
    }
    HOTPATH_CHECK(stats.Read() == oracle);
  }
}

template <class T>
void ForSlots(uint8_t slots, const uint8_t* data, size_t size) {
  switch (slots % 4) {
    case 0:
      return RunProgram<T, 1>(data, size);
    case 1:
      return RunProgram<T, 2>(data, size);
    case 2:
      return RunProgram<T, 3>(data, size);
    default:
      return RunProgram<T, 4>(data, size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t choice = *data++;
  --size;
  switch (choice / 4 % 4) {
    case 0:
      ForSlots<Mixed>(choice, data, size);
      break;
    case 1:
      ForSlots<Array<7>>(choice, data, size);
      break;
    case 2:
      ForSlots<Array<64>>(choice, data, size);
      break;
    default:
      ForSlots<Wide>(choice, data, size);
  }
  return 0;
}
