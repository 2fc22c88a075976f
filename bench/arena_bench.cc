// An arena beside a bare bump pointer (the floor), std::pmr's monotonic and pool resources, and malloc of the allocator
// that is linked: run it with --config=tcmalloc and the others too.
//
// A request is a number of allocations, each touched, and then all given back: an item is one of them. "Fresh" rows
// make and destroy the arena with each request; the others keep it warm.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>

#include "benchmark/benchmark.h"
#include "hotpath/core/allocator.h"
#include "hotpath/core/arena.h"

namespace hotpath {
namespace {

constexpr size_t kRequestBytes = 512 << 10;  // more than any request takes

using Sizes = std::array<uint32_t, 512>;

// `size_of` of numbers drawn from 1 to 64.
constexpr Sizes MakeSizes(uint32_t (*size_of)(uint32_t)) {
  Sizes sizes{};
  uint64_t state = 1;
  for (uint32_t& size : sizes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    size = size_of(static_cast<uint32_t>(state >> 58) + 1);
  }
  return sizes;
}
// As a request's strings and nodes have them: small ones more often, 86 bytes on average, 44 KiB together.
constexpr Sizes kSmallSizes = MakeSizes([](uint32_t u) { return 8 + u * u / 17; });
// 16 to 1024 bytes, 520 on average: beyond most of what glibc caches for a thread, and beyond the L1 cache.
constexpr Sizes kWideSizes = MakeSizes([](uint32_t u) { return 16 * u; });

struct Node {
  Node* next;
  uint64_t key, value;
};

// The least that can be done: one pointer, moved and compared.
class Bump {
 public:
  explicit Bump(size_t bytes) : memory_(new std::byte[bytes]), top_(memory_.get()), end_(top_ + bytes) {}
  void* Allocate(size_t bytes, size_t) {
    std::byte* p = top_;
    bytes = (bytes + 7) & ~size_t{7};
    if (bytes > static_cast<size_t>(end_ - p)) std::abort();
    top_ = p + bytes;
    return p;
  }
  void Reset() { top_ = memory_.get(); }

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::byte* top_;
  std::byte* end_;
};

// std::pmr behind the same interface; its buffer holds a whole request, which is its best case.
class Monotonic {
 public:
  Monotonic() : memory_(new std::byte[kRequestBytes]), resource_(memory_.get(), kRequestBytes) {}
  void* Allocate(size_t bytes, size_t align) { return resource_.allocate(bytes, align); }
  void Reset() { resource_.release(); }

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::pmr::monotonic_buffer_resource resource_;
};

struct FreshMonotonic {
  void* Allocate(size_t bytes, size_t align) { return resource.allocate(bytes, align); }
  std::pmr::monotonic_buffer_resource resource;
};

// What requests ask for.
template <const Sizes& sizes>
struct Blocks {
  static constexpr size_t kCount = sizes.size();
  template <class A>
  static void Fill(A& a) {
    for (const uint32_t size : sizes) {
      auto* p = static_cast<uint64_t*>(a.Allocate(size, 8));
      *p = size;
      benchmark::DoNotOptimize(p);
    }
  }
};
template <size_t n>
struct Nodes {
  static constexpr size_t kCount = n;
  template <class A>
  static void Fill(A& a) {
    Node* list = nullptr;
    for (size_t i = 0; i < kCount; ++i) {
      list = ::new (a.Allocate(sizeof(Node), alignof(Node))) Node{list, i, i};
      benchmark::DoNotOptimize(list);
    }
  }
};

template <class Work>
void Count(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * Work::kCount));
}

// Its state on the heap, like that of every row but the next: reached as an arena is that gets handed around. A local
// may run a third faster, for reasons of the processor's own.
template <class Work>
void BM_BareBump(benchmark::State& state) {
  const auto bump = std::make_unique<Bump>(kRequestBytes);
  Bump* escaped = bump.get();
  benchmark::DoNotOptimize(escaped);
  for (auto _ : state) {
    Work::Fill(*bump);
    bump->Reset();
  }
  Count<Work>(state);
}

// Its pointers in registers: what an arena reaches only if all of its uses are inlined into one function.
template <class Work>
void BM_BareBumpInRegisters(benchmark::State& state) {
  Bump bump(kRequestBytes);
  for (auto _ : state) {
    Work::Fill(bump);
    bump.Reset();
  }
  Count<Work>(state);
}

template <class Work>
void BM_Arena(benchmark::State& state) {
  const auto arena = std::make_unique<Arena>();
  for (auto _ : state) {
    Work::Fill(*arena);
    arena->Reset();
  }
  Count<Work>(state);
}

template <class Work>
void BM_WithArena(benchmark::State& state) {
  for (auto _ : state) WithArena([](Arena& arena) { Work::Fill(arena); });
  Count<Work>(state);
}

template <class Work>
void BM_ArenaResource(benchmark::State& state) {
  Arena arena;
  struct Virtual {
    void* Allocate(size_t bytes, size_t align) { return resource->allocate(bytes, align); }
    std::pmr::memory_resource* resource;
  } resource{arena.resource()};
  for (auto _ : state) {
    Work::Fill(resource);
    arena.Reset();
  }
  Count<Work>(state);
}

template <class Work>
void BM_MonotonicReused(benchmark::State& state) {
  const auto monotonic = std::make_unique<Monotonic>();
  for (auto _ : state) {
    Work::Fill(*monotonic);
    monotonic->Reset();
  }
  Count<Work>(state);
}

template <class Work>
void BM_ArenaFresh(benchmark::State& state) {
  for (auto _ : state) {
    Arena arena;
    Work::Fill(arena);
  }
  Count<Work>(state);
}

template <class Work>
void BM_MonotonicFresh(benchmark::State& state) {
  for (auto _ : state) {
    FreshMonotonic monotonic;
    Work::Fill(monotonic);
  }
  Count<Work>(state);
}

// Allocators that want every block back.
template <class Work, class A>
void RunWithFree(benchmark::State& state, A& a) {
  struct Keep {
    void* Allocate(size_t bytes, size_t align) {
      void* p = a.Allocate(bytes, align);
      blocks[count] = p;
      sizes[count++] = bytes;
      return p;
    }
    A& a;
    size_t count = 0;
    std::array<void*, Work::kCount> blocks;
    std::array<size_t, Work::kCount> sizes;
  } keep{a, 0, {}, {}};
  for (auto _ : state) {
    keep.count = 0;
    Work::Fill(keep);
    for (size_t i = 0; i < Work::kCount; ++i) a.Free(keep.blocks[i], keep.sizes[i]);
  }
  Count<Work>(state);
}

template <class Work>
void BM_PmrPool(benchmark::State& state) {
  struct {
    void* Allocate(size_t bytes, size_t align) { return resource.allocate(bytes, align); }
    void Free(void* p, size_t bytes) { resource.deallocate(p, bytes, 8); }
    std::pmr::unsynchronized_pool_resource resource;
  } pool;
  RunWithFree<Work>(state, pool);
}

template <class Work>
void BM_Malloc(benchmark::State& state) {
  struct {
    void* Allocate(size_t bytes, size_t) { return std::malloc(bytes); }
    void Free(void* p, size_t) { std::free(p); }
  } heap;
  RunWithFree<Work>(state, heap);
  state.SetLabel(std::string(AllocatorName()));
}

#define REQUEST_ROWS(work)                 \
  BENCHMARK(BM_BareBump<work>);            \
  BENCHMARK(BM_BareBumpInRegisters<work>); \
  BENCHMARK(BM_Arena<work>);               \
  BENCHMARK(BM_WithArena<work>);           \
  BENCHMARK(BM_ArenaResource<work>);       \
  BENCHMARK(BM_MonotonicReused<work>);     \
  BENCHMARK(BM_ArenaFresh<work>);          \
  BENCHMARK(BM_MonotonicFresh<work>);      \
  BENCHMARK(BM_PmrPool<work>);             \
  BENCHMARK(BM_Malloc<work>)

REQUEST_ROWS(Blocks<kSmallSizes>);
REQUEST_ROWS(Blocks<kWideSizes>);
REQUEST_ROWS(Nodes<512>);
REQUEST_ROWS(Nodes<16>);

// What one WithArena adds: outermost, and inside another.
void BM_ScopeOutermost(benchmark::State& state) {
  for (auto _ : state) {
    WithArena([](Arena& arena) { benchmark::DoNotOptimize(arena.Allocate(64, 8)); });
  }
}
BENCHMARK(BM_ScopeOutermost);

void BM_ScopeNested(benchmark::State& state) {
  WithArena([&](Arena& outer) {
    benchmark::DoNotOptimize(outer.Allocate(64, 8));
    for (auto _ : state) {
      WithArena([](Arena& arena) { benchmark::DoNotOptimize(arena.Allocate(64, 8)); });
    }
  });
}
BENCHMARK(BM_ScopeNested);

// The same 64 bytes from the heap: what a scope has to beat.
void BM_ScopeAsMalloc(benchmark::State& state) {
  for (auto _ : state) {
    void* p = std::malloc(64);
    benchmark::DoNotOptimize(p);
    std::free(p);
  }
  state.SetLabel(std::string(AllocatorName()));
}
BENCHMARK(BM_ScopeAsMalloc);

// A destructor due at the rewind, against unique_ptr.
void BM_ArenaNewWithDestructor(benchmark::State& state) {
  struct Owner {
    ~Owner() { benchmark::DoNotOptimize(value); }
    uint64_t value = 1;
  };
  Arena arena;
  for (auto _ : state) {
    for (int i = 0; i < 512; ++i) benchmark::DoNotOptimize(arena.New<Owner>());
    arena.Reset();
  }
  state.SetItemsProcessed(state.iterations() * 512);
}
BENCHMARK(BM_ArenaNewWithDestructor);

// A vector grown by push_back, and the strings of a path, per container.
template <class Vector, class Make>
void PushBacks(benchmark::State& state, Make make) {
  for (auto _ : state) {
    WithArena([&](Arena& arena) {
      Vector v = make(arena);
      for (uint64_t i = 0; i < 512; ++i) v.push_back(i);
      benchmark::DoNotOptimize(v.data());
    });
  }
  state.SetItemsProcessed(state.iterations() * 512);
}
void BM_ArenaVectorPushBack(benchmark::State& state) {
  PushBacks<ArenaVector<uint64_t>>(state, [](Arena& arena) { return ArenaVector<uint64_t>(arena); });
}
BENCHMARK(BM_ArenaVectorPushBack);
void BM_PmrVectorPushBack(benchmark::State& state) {
  PushBacks<std::pmr::vector<uint64_t>>(state,
                                        [](Arena& arena) { return std::pmr::vector<uint64_t>(arena.resource()); });
}
BENCHMARK(BM_PmrVectorPushBack);
void BM_StdVectorPushBack(benchmark::State& state) {
  PushBacks<std::vector<uint64_t>>(state, [](Arena&) { return std::vector<uint64_t>(); });
  state.SetLabel(std::string(AllocatorName()));
}
BENCHMARK(BM_StdVectorPushBack);

}  // namespace
}  // namespace hotpath
