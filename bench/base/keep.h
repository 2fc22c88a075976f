#ifndef HOTPATH_BENCH_BASE_KEEP_H_
#define HOTPATH_BENCH_BASE_KEEP_H_

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace hotpath::bench {

// The compiler must compute `value`, and must not know what becomes of it.
template <class T>
[[gnu::always_inline]] inline void Keep(const T& value) noexcept {
  if constexpr (std::is_scalar_v<T>) {
    asm volatile("" : : "r"(value) : "memory");
  } else {
    asm volatile("" : : "m"(value) : "memory");
  }
}
template <std::floating_point T>
[[gnu::always_inline]] inline void Keep(const T& value) noexcept {
  asm volatile("" : : "m"(value) : "memory");
}

// A T on cache lines and prefetch pairs of its own.
template <class T, class... A>
std::shared_ptr<T> Isolated(A&&... args) {
  struct alignas(256) Lines {
    explicit Lines(A&&... a) : value(std::forward<A>(a)...) {}
    T value;
  };
  auto lines = std::make_shared<Lines>(std::forward<A>(args)...);
  return std::shared_ptr<T>(lines, &lines->value);
}

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_KEEP_H_
