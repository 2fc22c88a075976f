// The input is a program for a few Result<T> of each of three kinds of T; a std::variant that the same is done to is
// the oracle, and instances are counted, so that each value is destroyed exactly once.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "fuzz/base/input.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/result.h"

namespace hotpath {
namespace {

int64_t live = 0;

// Move-only if kCopies is false; its moves throw when asked to.
template <bool kCopies, bool kThrows>
struct Counted {
  static inline int throw_in = -1;  // moves and copies until one throws; negative: none does

  explicit Counted(uint8_t v) : value(v) { ++live; }
  Counted(const Counted& other)
    requires kCopies
      : value(other.value) {
    MayThrow();
    ++live;
  }
  Counted(Counted&& other) noexcept(!kThrows) : value(other.value) {
    MayThrow();
    ++live;
    other.value = 0;
  }
  Counted& operator=(const Counted& other)
    requires kCopies
  {
    MayThrow();
    value = other.value;
    return *this;
  }
  Counted& operator=(Counted&& other) noexcept(!kThrows) {
    MayThrow();
    if (this != &other) value = std::exchange(other.value, 0);
    return *this;
  }
  ~Counted() { --live; }

  static void MayThrow() {
    if constexpr (kThrows) {
      if (throw_in >= 0 && throw_in-- == 0) throw 1;
    }
  }

  uint8_t value;
};

struct Plain {
  Code code = Code::kOK;
  std::string message;
};

template <class T, bool kCopies, bool kThrows>
void Run(fuzz::Input in) {
  constexpr size_t kCount = 3;
  {
    using Oracle = std::variant<uint8_t, Plain>;
    std::array<std::optional<Result<T>>, kCount> results;
    std::array<Oracle, kCount> oracles;
    for (size_t i = 0; i < kCount; ++i) {
      results[i].emplace(std::in_place, uint8_t{0});
      oracles[i] = uint8_t{0};
    }
    while (!in.empty()) {
      const uint8_t op = in.Byte();
      const size_t to = in.Byte() % kCount, from = in.Byte() % kCount;
      if constexpr (kThrows) T::throw_in = op & 0x80 ? op >> 5 & 3 : -1;
      // What `to` must hold if nothing throws. If something does, `to` keeps its kind, or its error as it was.
      try {
        switch (op % 5) {
          case 0: {
            const uint8_t v = in.Byte();
            results[to].emplace(std::in_place, v);
            oracles[to] = v;
            break;
          }
          case 1: {
            const Plain plain{*CodeFromErrno(static_cast<int>(1 + in.Byte() % 40)),
                              std::string(in.Byte() % 60, static_cast<char>(in.Byte()))};
            *results[to] = Error{plain.code, plain.message};
            oracles[to] = plain;
            break;
          }
          case 2:
            if (to == from) break;
            *results[to] = std::move(*results[from]);
            oracles[to] = oracles[from];
            if (Plain* plain = std::get_if<Plain>(&oracles[from])) {
              plain->message.clear();
            } else {
              oracles[from] = uint8_t{0};
            }
            break;
          case 3:
            if constexpr (kCopies) {
              *results[to] = *results[from];
              oracles[to] = oracles[from];
            }
            break;
          default:
            if constexpr (kCopies) {
              if (to != from) {
                results[to].emplace(*results[from]);
                oracles[to] = oracles[from];
              }
            }
        }
      } catch (int) {
        // Everything is still one thing or the other; take over which, and the values that a move may have taken.
        for (size_t i = 0; i < kCount; ++i) {
          if (!results[i].has_value()) results[i].emplace(std::in_place, uint8_t{0});
          if (results[i]->ok()) {
            oracles[i] = (*results[i])->value;
          } else {
            oracles[i] = Plain{results[i]->code(), std::string(results[i]->error().message)};
          }
        }
      }
      if constexpr (kThrows) T::throw_in = -1;

      int64_t values = 0;
      for (size_t i = 0; i < kCount; ++i) {
        const Result<T>& result = *results[i];
        if (const uint8_t* value = std::get_if<uint8_t>(&oracles[i])) {
          HOTPATH_CHECK(result.ok() && result->value == *value && result.code() == Code::kOK, "a value");
          ++values;
        } else {
          const Plain& plain = std::get<Plain>(oracles[i]);
          HOTPATH_CHECK(!result.ok() && result.code() == plain.code && result.error().message == plain.message,
                        "an error");
        }
      }
      HOTPATH_CHECK(live == values, "as many instances as values");
    }
  }
  HOTPATH_CHECK(live == 0, "each value is destroyed exactly once");
}

}  // namespace
}  // namespace hotpath

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hotpath;
  if (size == 0) return 0;
  const fuzz::Input in(data + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      Run<Counted<true, false>, true, false>(in);
      break;
    case 1:
      Run<Counted<false, false>, false, false>(in);
      break;
    default:
      Run<Counted<true, true>, true, true>(in);
  }
  return 0;
}
