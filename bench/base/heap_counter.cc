#include "bench/base/heap_counter.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

// The runtimes of the sanitizers have it: both functions are called for every block.
extern "C" [[gnu::weak]] int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                                                       void (*on_free)(const volatile void*));

namespace hotpath::bench {
namespace {

constinit thread_local HeapCount t_count;
constinit thread_local uint64_t t_successes_left = UINT64_MAX;  // UINT64_MAX: no limit
constinit std::atomic<uint64_t> g_allocations{0}, g_frees{0}, g_bytes{0};

void CountAllocation(size_t size) noexcept {
  ++t_count.allocations;
  t_count.bytes += size;
  g_allocations.fetch_add(1, std::memory_order::relaxed);
  g_bytes.fetch_add(size, std::memory_order::relaxed);
}

void CountFree() noexcept {
  ++t_count.frees;
  g_frees.fetch_add(1, std::memory_order::relaxed);
}

void* TryAllocate(size_t size, size_t alignment) noexcept {
  if (t_successes_left == 0) return nullptr;
  void* memory = nullptr;
  const size_t at_least_one = std::max<size_t>(size, 1);  // malloc(0) may return null
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) {
    memory = std::malloc(at_least_one);
  } else if (posix_memalign(&memory, alignment, at_least_one) != 0) {
    return nullptr;
  }
  if (memory == nullptr) return nullptr;
  if (t_successes_left != UINT64_MAX) --t_successes_left;
  CountAllocation(size);
  return memory;
}

void* Allocate(size_t size, size_t alignment) {
  for (;;) {
    if (void* memory = TryAllocate(size, alignment)) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

void* AllocateOrNull(size_t size, size_t alignment) noexcept {
  try {
    return Allocate(size, alignment);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Free(void* memory) noexcept {
  if (memory == nullptr) return;
  CountFree();
  std::free(memory);
}

constexpr size_t kDefault = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

// Runs before main: whoever allocates earlier, in a runtime with operators of its own, is not counted.
const bool g_replaced = [] {
  const HeapMark mark;
  ::operator delete(::operator new(1));
  const bool replaced = mark.Since() == HeapCount{1, 1, 1};
  if (!replaced && __sanitizer_install_malloc_and_free_hooks != nullptr) {
    __sanitizer_install_malloc_and_free_hooks([](const volatile void*, size_t size) { CountAllocation(size); },
                                              [](const volatile void*) { CountFree(); });
  }
  return replaced;
}();

}  // namespace

HeapCount HeapCount::Now() noexcept { return t_count; }

HeapCount HeapCount::NowOfAllThreads() noexcept {
  return {g_allocations.load(std::memory_order::relaxed), g_frees.load(std::memory_order::relaxed),
          g_bytes.load(std::memory_order::relaxed)};
}

bool HeapFailure::Works() noexcept { return g_replaced; }
HeapFailure::HeapFailure(uint64_t successes) noexcept { t_successes_left = successes; }
HeapFailure::~HeapFailure() { t_successes_left = UINT64_MAX; }

}  // namespace hotpath::bench

// The runtimes of ThreadSanitizer and MemorySanitizer define the same names, so there ours step back.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HOTPATH_UNLESS_TAKEN [[gnu::weak]]
#endif
#endif
#if !defined(HOTPATH_UNLESS_TAKEN)
#define HOTPATH_UNLESS_TAKEN
#endif

using hotpath::bench::Allocate;
using hotpath::bench::AllocateOrNull;
using hotpath::bench::Free;
using hotpath::bench::kDefault;
// clang-format off
HOTPATH_UNLESS_TAKEN void* operator new(size_t n) { return Allocate(n, kDefault); }
HOTPATH_UNLESS_TAKEN void* operator new[](size_t n) { return Allocate(n, kDefault); }
HOTPATH_UNLESS_TAKEN void* operator new(size_t n, std::align_val_t a) { return Allocate(n, static_cast<size_t>(a)); }
HOTPATH_UNLESS_TAKEN void* operator new[](size_t n, std::align_val_t a) { return Allocate(n, static_cast<size_t>(a)); }
HOTPATH_UNLESS_TAKEN void* operator new(size_t n, const std::nothrow_t&) noexcept { return AllocateOrNull(n, kDefault); }
HOTPATH_UNLESS_TAKEN void* operator new[](size_t n, const std::nothrow_t&) noexcept { return AllocateOrNull(n, kDefault); }
HOTPATH_UNLESS_TAKEN void* operator new(size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return AllocateOrNull(n, static_cast<size_t>(a));
}
HOTPATH_UNLESS_TAKEN void* operator new[](size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return AllocateOrNull(n, static_cast<size_t>(a));
}
HOTPATH_UNLESS_TAKEN void operator delete(void* p) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete[](void* p) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete(void* p, size_t) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete[](void* p, size_t) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete(void* p, std::align_val_t) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete[](void* p, std::align_val_t) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete(void* p, size_t, std::align_val_t) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete[](void* p, size_t, std::align_val_t) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete(void* p, const std::nothrow_t&) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete[](void* p, const std::nothrow_t&) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { Free(p); }
HOTPATH_UNLESS_TAKEN void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { Free(p); }
// clang-format on
