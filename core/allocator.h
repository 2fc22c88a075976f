#ifndef HOTPATH_CORE_ALLOCATOR_H_
#define HOTPATH_CORE_ALLOCATOR_H_

#include <cstddef>
#include <optional>
#include <string_view>

namespace hotpath {

// Which allocator answers malloc in this process, found out at run time from the object that defines the symbol: the
// build's choice (--config=tcmalloc and the others), a statically linked one and LD_PRELOAD are all seen. One of
//
//   "glibc"                    "tcmalloc (gperftools 2.10)"    "jemalloc 5.3.0"    "mimalloc 2.0.9"
//   "AddressSanitizer"         "ThreadSanitizer"               "unknown (path of the object)"
//
// with the version that is there. A sanitizer brings its own allocator and wins over every other.
// A fully static program has no dynamic loader to ask: "unknown ()". Wait-free after the first call, which takes the
// loader's lock; it may not come from inside malloc.
[[nodiscard]] std::string_view AllocatorName() noexcept;

struct AllocatorUsage {
  // Bytes handed out and not freed, as the allocator counts: it rounds up, and may be wrong by what the threads' caches
  // hold (glibc, jemalloc). Empty where it cannot tell (mimalloc, unknown allocators).
  std::optional<size_t> bytes_in_use;
};

// Of the whole process. Blocking, may allocate, and is slow: for reports.
[[nodiscard]] AllocatorUsage AllocatorStats() noexcept;

}  // namespace hotpath

#endif  // HOTPATH_CORE_ALLOCATOR_H_
