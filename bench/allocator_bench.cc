// What the allocator toggle is worth: the allocator that answers malloc in this program (the label) beside glibc's own,
// in the same run. With --config=system both rows are glibc; build it with tcmalloc, jemalloc and mimalloc for the
// rest.

#include <dlfcn.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "hotpath/core/allocator.h"

namespace hotpath {
namespace {

// Both are called through pointers read at run time, so that the compiler treats them alike and removes neither.
struct Heap {
  void* (*malloc)(size_t);
  void (*free)(void*);
};

Heap LinkedHeap() { return {&std::malloc, &std::free}; }

// glibc's, whatever stands in front of it.
Heap GlibcHeap() {
  void* libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  return {std::bit_cast<void* (*)(size_t)>(dlsym(libc, "malloc")), std::bit_cast<void (*)(void*)>(dlsym(libc, "free"))};
}

const Heap g_linked = LinkedHeap();
const Heap g_glibc = GlibcHeap();

uint32_t Next(uint32_t& state) {  // xorshift32 (Marsaglia, "Xorshift RNGs", 2003)
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

// Each step frees one of 4096 live blocks at random and replaces it by one of 16 to 1024 bytes, small ones more often.
void RunMixed(benchmark::State& state, const Heap& heap) {
  std::array<void*, 4096> live{};
  uint32_t random = 12345 + static_cast<uint32_t>(state.thread_index());
  for (auto _ : state) {
    const uint32_t r = Next(random);
    void*& slot = live[r % live.size()];
    heap.free(slot);
    slot = heap.malloc((16 + r % 48) << (r >> 16) % 5);
    *static_cast<uint32_t*>(slot) = r;
  }
  for (void* p : live) heap.free(p);
  state.SetItemsProcessed(state.iterations());
}

template <class T>
struct HeapAllocator {
  using value_type = T;
  explicit HeapAllocator(const Heap* h) : heap(h) {}
  template <class U>
  HeapAllocator(const HeapAllocator<U>& other) : heap(other.heap) {}
  T* allocate(size_t n) { return static_cast<T*>(heap->malloc(n * sizeof(T))); }
  void deallocate(T* p, size_t) { heap->free(p); }
  template <class U>
  bool operator==(const HeapAllocator<U>& other) const {
    return heap == other.heap;
  }
  const Heap* heap;
};

// A request: 32 strings of 20 to 83 bytes, made from parts, collected in a vector, and dropped.
void RunStrings(benchmark::State& state, const Heap& heap) {
  using String = std::basic_string<char, std::char_traits<char>, HeapAllocator<char>>;
  static constexpr char kText[] = "/usr/lib/x86_64-linux-gnu/some/quite/long/path/as/requests/have/them/now/and/then";
  for (auto _ : state) {
    std::vector<String, HeapAllocator<String>> strings{HeapAllocator<String>(&heap)};
    for (size_t i = 0; i < 32; ++i) {
      String s(kText, 16 + i, HeapAllocator<char>(&heap));
      s += '/';
      s.append(kText, 3 + i);
      strings.push_back(std::move(s));
    }
    benchmark::DoNotOptimize(strings.data());
  }
  state.SetItemsProcessed(state.iterations());
}

void SetLinkedLabel(benchmark::State& state) { state.SetLabel(std::string(AllocatorName())); }

void BM_Mixed_Linked(benchmark::State& state) {
  RunMixed(state, g_linked);
  SetLinkedLabel(state);
}
BENCHMARK(BM_Mixed_Linked)->Threads(1)->Threads(2);

void BM_Mixed_Glibc(benchmark::State& state) { RunMixed(state, g_glibc); }
BENCHMARK(BM_Mixed_Glibc)->Threads(1)->Threads(2);

void BM_RequestStrings_Linked(benchmark::State& state) {
  RunStrings(state, g_linked);
  SetLinkedLabel(state);
}
BENCHMARK(BM_RequestStrings_Linked);

void BM_RequestStrings_Glibc(benchmark::State& state) { RunStrings(state, g_glibc); }
BENCHMARK(BM_RequestStrings_Glibc);

// The largest of core/buffer_pool.h, where allocators differ most.
void Run64KiB(benchmark::State& state, const Heap& heap) {
  for (auto _ : state) {
    void* p = heap.malloc(64 << 10);
    benchmark::DoNotOptimize(p);
    heap.free(p);
  }
}
void BM_64KiB_Linked(benchmark::State& state) {
  Run64KiB(state, g_linked);
  SetLinkedLabel(state);
}
BENCHMARK(BM_64KiB_Linked);
void BM_64KiB_Glibc(benchmark::State& state) { Run64KiB(state, g_glibc); }
BENCHMARK(BM_64KiB_Glibc);

void BM_AllocatorStats(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(AllocatorStats());
  SetLinkedLabel(state);
}
BENCHMARK(BM_AllocatorStats);

}  // namespace
}  // namespace hotpath
