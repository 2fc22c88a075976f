// A pool beside the allocator that answers malloc in this program (the label; build it with --config=tcmalloc, jemalloc
// and mimalloc), glibc's own, a vector that fills its bytes with zeros, std::pmr's pool, and a bare thread-local list
// (the floor). Rows of one size lie next to each other: compare ratios inside one run.

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/allocator.h"
#include "hotpath/core/buffer_pool.h"

namespace hotpath {
namespace {

// Each kind: a type of buffer, and how to get one. To drop it is its destructor's business.
struct Pooled {
  using Buffer = PooledBuffer;
  static Buffer Get(size_t bytes) { return PooledBuffer::WithCapacity(bytes); }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};

template <class Free>
class Owned {
 public:
  Owned() = default;
  Owned(void* p, size_t bytes) : p_(static_cast<std::byte*>(p)), bytes_(bytes) {}
  Owned(Owned&& other) noexcept : p_(std::exchange(other.p_, nullptr)), bytes_(other.bytes_) {}
  Owned& operator=(Owned&& other) noexcept {
    if (p_ != nullptr) Free()(p_, bytes_);
    p_ = std::exchange(other.p_, nullptr);
    bytes_ = other.bytes_;
    return *this;
  }
  ~Owned() {
    if (p_ != nullptr) Free()(p_, bytes_);
  }
  std::byte* data() { return p_; }

 private:
  std::byte* p_ = nullptr;
  size_t bytes_ = 0;
};

struct Linked {
  struct Free {
    void operator()(void* p, size_t) { std::free(p); }
  };
  using Buffer = Owned<Free>;
  static Buffer Get(size_t bytes) { return {std::malloc(bytes), bytes}; }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};

// glibc's, whatever stands in front of it.
void* Glibc(const char* function) {
  static void* const libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  return dlsym(libc, function);
}
const auto g_malloc = std::bit_cast<void* (*)(size_t)>(Glibc("malloc"));
const auto g_free = std::bit_cast<void (*)(void*)>(Glibc("free"));
struct GlibcHeap {
  struct Free {
    void operator()(void* p, size_t) { g_free(p); }
  };
  using Buffer = Owned<Free>;
  static Buffer Get(size_t bytes) { return {g_malloc(bytes), bytes}; }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};

struct Pmr {
  static std::pmr::synchronized_pool_resource& Resource() {
    static std::pmr::synchronized_pool_resource resource(
        {.max_blocks_per_chunk = 64, .largest_required_pool_block = 1 << 20});
    return resource;
  }
  struct Free {
    void operator()(void* p, size_t bytes) { Resource().deallocate(p, bytes); }
  };
  using Buffer = Owned<Free>;
  static Buffer Get(size_t bytes) { return {Resource().allocate(bytes), bytes}; }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};

struct ZeroedVector {
  using Buffer = std::vector<std::byte>;
  static Buffer Get(size_t bytes) { return Buffer(bytes); }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};

// The least that can be done: one thread's stack of pointers, of one size, without a bound, a count or an owner.
struct Floor {
  static inline thread_local std::vector<void*> free_list;
  struct Free {
    void operator()(void* p, size_t) { free_list.push_back(p); }
  };
  using Buffer = Owned<Free>;
  static Buffer Get(size_t bytes) {
    if (free_list.empty()) return {std::malloc(1 << 20), bytes};
    void* p = free_list.back();
    free_list.pop_back();
    return {p, bytes};
  }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};

void Touch(std::byte* p, size_t bytes) {
  p[0] = std::byte{1};
  p[bytes - 1] = std::byte{2};
  benchmark::DoNotOptimize(p);
}

template <class Kind>
void BM_SameThread(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    typename Kind::Buffer buffer = Kind::Get(bytes);
    Touch(Kind::Data(buffer), bytes);
  }
  state.SetLabel(std::string(AllocatorName()));
}

// Thirty-two at a time; an item is one of them.
template <class Kind>
void BM_Hold32(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  std::array<typename Kind::Buffer, 32> buffers;
  for (auto _ : state) {
    for (auto& buffer : buffers) {
      buffer = Kind::Get(bytes);
      Touch(Kind::Data(buffer), bytes);
    }
    for (auto& buffer : buffers) buffer = {};
  }
  state.SetItemsProcessed(state.iterations() * 32);
  state.SetLabel(std::string(AllocatorName()));
}

// A ring of 256 places, with the indices of either side cached by the other (L. Lamport, 1983; FastForward's idea).
template <class Buffer>
class Ring {
 public:
  void Push(Buffer buffer) {
    const size_t tail = tail_.load(std::memory_order::relaxed);
    while (tail - head_seen_ == kPlaces) {
      head_seen_ = head_.load(std::memory_order::acquire);
      if (tail - head_seen_ == kPlaces) std::this_thread::yield();
    }
    places_[tail % kPlaces] = std::move(buffer);
    tail_.store(tail + 1, std::memory_order::release);
  }
  Buffer Pop() {
    const size_t head = head_.load(std::memory_order::relaxed);
    while (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order::acquire);
      if (head == tail_seen_) std::this_thread::yield();
    }
    Buffer buffer = std::move(places_[head % kPlaces]);
    head_.store(head + 1, std::memory_order::release);
    return buffer;
  }

 private:
  static constexpr size_t kPlaces = 256;
  std::array<Buffer, kPlaces> places_;
  alignas(kCacheLineSize) std::atomic<size_t> head_{0};
  size_t tail_seen_ = 0;
  alignas(kCacheLineSize) std::atomic<size_t> tail_{0};
  size_t head_seen_ = 0;
};

// One thread gets and writes, another reads and drops. Wall time for each, with whatever else the machine does.
template <class Kind>
void BM_CrossThread(benchmark::State& state) {
  using Buffer = typename Kind::Buffer;
  const auto bytes = static_cast<size_t>(state.range(0));
  const auto ring = std::make_unique<Ring<Buffer>>();
  std::thread consumer([&] {
    for (;;) {
      Buffer buffer = ring->Pop();
      std::byte* p = Kind::Data(buffer);
      if (p == nullptr) return;
      Touch(p, bytes);
    }
  });
  for (auto _ : state) {
    Buffer buffer = Kind::Get(bytes);
    Touch(Kind::Data(buffer), bytes);
    ring->Push(std::move(buffer));
  }
  ring->Push(Buffer());
  consumer.join();
  state.SetLabel(std::string(AllocatorName()));
}

#define ROWS(benchmark)                                                            \
  BENCHMARK(benchmark<Pooled>)->Arg(512)->Arg(4096)->Arg(65536)->UseRealTime();    \
  BENCHMARK(benchmark<Linked>)->Arg(512)->Arg(4096)->Arg(65536)->UseRealTime();    \
  BENCHMARK(benchmark<GlibcHeap>)->Arg(512)->Arg(4096)->Arg(65536)->UseRealTime(); \
  BENCHMARK(benchmark<Pmr>)->Arg(512)->Arg(4096)->Arg(65536)->UseRealTime()
ROWS(BM_SameThread);
BENCHMARK(BM_SameThread<ZeroedVector>)->Arg(512)->Arg(4096)->Arg(65536)->UseRealTime();
BENCHMARK(BM_SameThread<Floor>)->Arg(512)->Arg(4096)->Arg(65536)->UseRealTime();
ROWS(BM_Hold32);
BENCHMARK(BM_Hold32<Floor>)->Arg(512)->Arg(4096)->Arg(65536)->UseRealTime();
ROWS(BM_CrossThread);

// What the pool saves of a request's allocations. A request reads up to 4 KiB into a buffer, appends 300 to 20,000
// bytes of answer to another in pieces of 300, and makes three strings of 40 bytes, which no pool serves. The counter
// is the number of heap allocations for each request.
struct VectorBuffers {
  using Buffer = std::vector<char>;
  static Buffer Input() {
    Buffer buffer;
    buffer.reserve(4096);
    return buffer;
  }
  static Buffer Output() { return {}; }
  static void Append(Buffer& buffer, std::string_view more) { buffer.insert(buffer.end(), more.begin(), more.end()); }
};
struct PoolBuffers {
  using Buffer = PooledBuffer;
  static Buffer Input() { return PooledBuffer::WithCapacity(4096); }
  static Buffer Output() { return {}; }
  static void Append(Buffer& buffer, std::string_view more) { buffer.append(more); }
};
template <class Kind>
void BM_RequestAllocations(benchmark::State& state) {
  uint32_t random = 1;
  const std::string piece(300, 'x');
  const bench::HeapMark heap;
  for (auto _ : state) {
    auto input = Kind::Input();
    Kind::Append(input, piece);
    std::array<std::string, 3> names;
    for (std::string& name : names) name.assign(40, 'n');
    auto output = Kind::Output();
    random = random * 1664525 + 1013904223;
    for (uint32_t n = 1 + (random >> 16) % 66; n > 0; --n) Kind::Append(output, piece);
    benchmark::DoNotOptimize(input.data());
    benchmark::DoNotOptimize(output.data());
    benchmark::DoNotOptimize(names);
  }
  state.counters["allocations"] =
      static_cast<double>(heap.Since().allocations) / static_cast<double>(state.iterations());
}
BENCHMARK(BM_RequestAllocations<VectorBuffers>)->Iterations(20'000);
BENCHMARK(BM_RequestAllocations<PoolBuffers>)->Iterations(20'000);

}  // namespace
}  // namespace hotpath
