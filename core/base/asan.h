#ifndef HOTPATH_CORE_BASE_ASAN_H_
#define HOTPATH_CORE_BASE_ASAN_H_

#include <cstddef>

// The one place that knows a sanitizer. Memory that an allocator of ours holds but nobody owns is poisoned under
// AddressSanitizer, so that using it is reported as use-after-poison; without it these are empty functions and the
// constants are zero. Code never forks on the sanitizer: it calls these in every build.
//
// HOTPATH_ASAN is 1 or 0, for tests that expect a report.

#if defined(__SANITIZE_ADDRESS__)
#define HOTPATH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOTPATH_ASAN 1
#endif
#endif
#if !defined(HOTPATH_ASAN)
#define HOTPATH_ASAN 0
#endif

#if HOTPATH_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace hotpath::asan {

// Poisoned bytes to leave between neighbours, so that running off the end of one is seen. A multiple of kGranule.
inline constexpr size_t kRedzone = HOTPATH_ASAN ? 16 : 0;

// Poisoning is exact for ranges that start at a multiple of this and end there or where nothing else lives.
inline constexpr size_t kGranule = 8;

// Nobody may touch these bytes until they are unpoisoned.
inline void Poison([[maybe_unused]] const void* begin, [[maybe_unused]] size_t bytes) noexcept {
#if HOTPATH_ASAN
  __asan_poison_memory_region(begin, bytes);
#endif
}

// Whoever holds these bytes may touch them. Memory goes back to the heap unpoisoned: whoever replaced operator delete
// may hand it out again without AddressSanitizer knowing.
inline void Unpoison([[maybe_unused]] const void* begin, [[maybe_unused]] size_t bytes) noexcept {
#if HOTPATH_ASAN
  __asan_unpoison_memory_region(begin, bytes);
#endif
}

}  // namespace hotpath::asan

#endif  // HOTPATH_CORE_BASE_ASAN_H_
