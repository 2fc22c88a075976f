#ifndef HOTPATH_CORE_BASE_CACHELINE_H_
#define HOTPATH_CORE_BASE_CACHELINE_H_

#include <cstddef>

namespace hotpath {

// Bytes to keep between two words that different threads write. 128, twice the line of x86-64: its L2 spatial
// prefetcher fetches lines in pairs (Intel 64 and IA-32 Architectures Optimization Reference Manual, "Data Prefetching"
// to the L2), and 128 is the line itself on POWER and on Apple's arm64 cores.
inline constexpr size_t kCacheLineSize = 128;

// A T alone on its lines. Primitives pass their policy's line, which a model shrinks: Padded<T, Sync::kLineSize>.
template <class T, size_t kLine = kCacheLineSize>
struct alignas(T) alignas(kLine) Padded {
  T value{};
};

}  // namespace hotpath

#endif  // HOTPATH_CORE_BASE_CACHELINE_H_
