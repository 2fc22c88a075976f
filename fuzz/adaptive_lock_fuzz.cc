// The input is a program for an AdaptiveLock. The first byte chooses the type, then each pair of bytes is one operation
// with an argument; a plain value that the same is done to is the oracle. Compared are bytes of members, so that -0.0,
// NaN and padding count.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "hotpath/core/adaptive_lock.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

namespace {

// Runs a hook once, before an exchange: another thread is faster.
struct OvertakenSync : hotpath::StdSync {
  static inline void (*hook)(void*) = nullptr;
  static inline void* hook_data = nullptr;

  static void RunHook() {
    auto* const run = hook;
    hook = nullptr;
    if (run != nullptr) run(hook_data);
  }
  template <class T>
  class Atomic : public std::atomic<T> {
   public:
    using std::atomic<T>::atomic;
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure) noexcept {
      RunHook();
      return std::atomic<T>::compare_exchange_weak(expected, desired, success, failure);
    }
  };
};
static_assert(hotpath::SyncPolicy<OvertakenSync>);

struct Padded4 {
  uint8_t low = 0;
  uint16_t high = 0;
};
struct Padded8 {
  uint32_t number = 0;
  uint8_t tag = 0;
};
struct Odd3 {
  std::array<uint8_t, 3> bytes{};
};
struct Wide {
  uint64_t a = 0, b = 0, c = 0;
};

// How each type is changed and compared.
template <class T>
void Edit(T& value, uint8_t arg) {
  if constexpr (std::is_same_v<T, bool>) {
    value = !value;
  } else if constexpr (std::is_floating_point_v<T>) {
    // Zeros of both signs, NaNs with payloads, infinities.
    std::array<uint8_t, sizeof(T)> bytes{};
    bytes.back() = arg % 4 == 0 ? 0x80 : arg % 4 == 1 ? 0x7f : arg;
    bytes[sizeof(T) - 2] = arg % 4 == 1 ? 0xf8 : static_cast<uint8_t>(arg * 7);
    bytes[0] = arg;
    std::memcpy(&value, bytes.data(), sizeof(T));
  } else if constexpr (std::is_integral_v<T>) {
    value = static_cast<T>(static_cast<std::make_unsigned_t<T>>(value) * 31u + arg);
  } else if constexpr (std::is_same_v<T, Padded4>) {
    value.low = static_cast<uint8_t>(value.low + arg);
    value.high = static_cast<uint16_t>(value.high ^ arg << 8);
  } else if constexpr (std::is_same_v<T, Padded8>) {
    value.number += arg;
    value.tag = arg;
  } else if constexpr (std::is_same_v<T, Odd3>) {
    value.bytes[arg % 3] = arg;
  } else if constexpr (std::is_same_v<T, Wide>) {
    value.b += arg;
    value.c = ~value.b;
  } else {
    value.push_back(static_cast<char>(arg));
  }
}
template <class T>
bool Same(const T& a, const T& b) {
  if constexpr (std::is_arithmetic_v<T>) {
    return std::memcmp(&a, &b, sizeof(T)) == 0;  // NOLINT(bugprone-suspicious-memory-comparison): the same bits
  } else if constexpr (std::is_same_v<T, Padded4>) {
    return a.low == b.low && a.high == b.high;
  } else if constexpr (std::is_same_v<T, Padded8>) {
    return a.number == b.number && a.tag == b.tag;
  } else if constexpr (std::is_same_v<T, Odd3>) {
    return a.bytes == b.bytes;
  } else if constexpr (std::is_same_v<T, Wide>) {
    return a.a == b.a && a.b == b.b && a.c == b.c;
  } else {
    return a == b;
  }
}

template <class T>
void RunProgram(const uint8_t* data, size_t size) {
  using Lock = hotpath::BasicAdaptiveLock<T, OvertakenSync>;
  T oracle{};
  Lock lock;
  for (; size >= 2; data += 2, size -= 2) {
    const uint8_t op = data[0], arg = data[1];
    switch (op % 8) {
      case 0:
        Edit(oracle, arg);
        lock.Store(oracle);
        break;
      case 1: {
        // Overtaken once: f runs again, on the newer value; a lock is not overtaken.
        struct Overtake {
          Lock& lock;
          T newer;
        } overtake{lock, oracle};
        Edit(overtake.newer, static_cast<uint8_t>(op + arg));
        if (Lock::kIsAtomic && op / 8 % 2 == 1) {
          OvertakenSync::hook_data = &overtake;
          OvertakenSync::hook = [](void* p) {
            auto& o = *static_cast<Overtake*>(p);
            o.lock.Store(o.newer);
          };
          // An exchange back to equal bytes does not fail. Padding may make it fail all the same: f is pure.
          oracle = overtake.newer;
        }
        int runs = 0;
        const size_t returned = lock.With([&](T& value) {
          HOTPATH_CHECK(++runs <= 2, "nobody else was faster");
          Edit(value, arg);
          return size_t{arg};
        });
        HOTPATH_CHECK(returned == arg);
        Edit(oracle, arg);
        break;
      }
      case 2:
        try {
          lock.With([&](T& value) {
            Edit(value, arg);
            throw arg;
          });
          HOTPATH_CHECK(false, "an exception was swallowed");
        } catch (uint8_t thrown) {
          HOTPATH_CHECK(thrown == arg);
        }
        if (!Lock::kIsAtomic) Edit(oracle, arg);  // as f left it
        break;
      default:
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
          using U = std::make_unsigned_t<T>;
          const T delta = static_cast<T>(static_cast<U>(arg * 0x0101010101010101u));
          const T before = oracle;
          T expected = op / 8 % 2 == 0 ? oracle : static_cast<T>(oracle ^ 1);
          switch (op % 8) {
            case 3:
              HOTPATH_CHECK(lock.FetchAdd(delta) == before);
              oracle = static_cast<T>(static_cast<U>(static_cast<U>(oracle) + static_cast<U>(delta)));
              break;
            case 4:
              HOTPATH_CHECK(lock.FetchSub(delta) == before);
              oracle = static_cast<T>(static_cast<U>(static_cast<U>(oracle) - static_cast<U>(delta)));
              break;
            case 5:
              HOTPATH_CHECK(lock.FetchOr(delta) == before);
              oracle = static_cast<T>(oracle | delta);
              break;
            case 6:
              HOTPATH_CHECK(lock.FetchAnd(delta) == before);
              oracle = static_cast<T>(oracle & delta);
              break;
            default:
              HOTPATH_CHECK(lock.CompareExchange(expected, delta) == (op / 8 % 2 == 0));
              HOTPATH_CHECK(expected == before);
              if (op / 8 % 2 == 0) oracle = delta;
          }
        }
    }
    HOTPATH_CHECK(Same(lock.Load(), oracle), "the value is not what was done to it");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t choice = *data++;
  --size;
  switch (choice % 12) {
    case 0:
      RunProgram<uint8_t>(data, size);
      break;
    case 1:
      RunProgram<int16_t>(data, size);
      break;
    case 2:
      RunProgram<int32_t>(data, size);
      break;
    case 3:
      RunProgram<uint64_t>(data, size);
      break;
    case 4:
      RunProgram<bool>(data, size);
      break;
    case 5:
      RunProgram<float>(data, size);
      break;
    case 6:
      RunProgram<double>(data, size);
      break;
    case 7:
      RunProgram<Padded4>(data, size);
      break;
    case 8:
      RunProgram<Padded8>(data, size);
      break;
    case 9:
      RunProgram<Odd3>(data, size);
      break;
    case 10:
      RunProgram<Wide>(data, size);
      break;
    default:
      RunProgram<std::string>(data, size);
  }
  return 0;
}
