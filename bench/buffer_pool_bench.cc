// Buffers: a pool beside mallocs, a vector that fills its bytes with zeros, std::pmr's and Boost's pools, a queue of
// buffers (moodycamel's), and a bare thread-local list (the floor). Whoever gets one writes its first and last byte.

#include <malloc.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "bench/base/peer_allocator.h"
#include "bench/base/rows.h"
#include "hotpath/core/base/cacheline.h"
#include "hotpath/core/buffer_pool.h"

#if HOTPATH_HAVE_BOOST
#include "boost/pool/singleton_pool.hpp"
#endif
#if HOTPATH_HAVE_CONCURRENTQUEUE
#include "concurrentqueue/concurrentqueue.h"
#endif

namespace hotpath::bench {
namespace {

// Each kind of heap: Buffer Get(), of kBytes, and std::byte* Data(Buffer&). To drop one is its destructor's business.

template <size_t kBytes>
struct Pooled {
  using Buffer = PooledBuffer;
  Buffer Get() { return pool->Get(kBytes); }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
  std::shared_ptr<SharedPool> pool = Isolated<SharedPool>();
};

template <class Free>
class Owned {
 public:
  Owned() = default;
  Owned(void* p, Free free) : p_(static_cast<std::byte*>(p)), free_(free) {}
  Owned(Owned&& other) noexcept : p_(std::exchange(other.p_, nullptr)), free_(other.free_) {}
  Owned& operator=(Owned&& other) noexcept {
    if (p_ != nullptr) free_(p_);
    p_ = std::exchange(other.p_, nullptr);
    free_ = other.free_;
    return *this;
  }
  ~Owned() {
    if (p_ != nullptr) free_(p_);
  }
  std::byte* data() { return p_; }

 private:
  std::byte* p_ = nullptr;
  Free free_{};
};

// Malloc and Free are called through pointers read at run time.
template <size_t kBytes>
struct Malloc {
  using Buffer = Owned<void (*)(void*)>;
  Buffer Get() { return {heap.malloc(kBytes), heap.free}; }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
  PeerAllocator heap;
};

template <size_t kBytes>
struct ZeroedVector {
  using Buffer = std::vector<std::byte>;
  Buffer Get() { return Buffer(kBytes); }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};

template <size_t kBytes>
struct Pmr {
  using Resource = std::pmr::synchronized_pool_resource;
  struct Free {
    void operator()(void* p) const { resource->deallocate(p, kBytes); }
    Resource* resource = nullptr;
  };
  using Buffer = Owned<Free>;
  Buffer Get() { return {resource->allocate(kBytes), {resource.get()}}; }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
  std::shared_ptr<Resource> resource = std::make_shared<Resource>(
      std::pmr::pool_options{.max_blocks_per_chunk = 64, .largest_required_pool_block = 1 << 20});
};

#if HOTPATH_HAVE_BOOST
template <size_t kBytes>
struct Boost {
  struct Tag {};
  using Pool = boost::singleton_pool<Tag, kBytes>;
  struct Free {
    void operator()(void* p) const { Pool::free(p); }
  };
  using Buffer = Owned<Free>;
  Buffer Get() { return {Pool::malloc(), {}}; }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
};
#endif

#if HOTPATH_HAVE_CONCURRENTQUEUE
// Free buffers wait in a queue, without tokens: any thread may put and take.
template <size_t kBytes>
struct Queue {
  struct Free {
    void operator()(void* p) const { queue->enqueue(p); }
    moodycamel::ConcurrentQueue<void*>* queue = nullptr;
  };
  using Buffer = Owned<Free>;
  struct Owner {
    ~Owner() {
      for (void* p = nullptr; queue.try_dequeue(p);) std::free(p);
    }
    moodycamel::ConcurrentQueue<void*> queue;
  };
  Buffer Get() {
    void* p = nullptr;
    if (!owner->queue.try_dequeue(p)) p = std::malloc(kBytes);
    return {p, {&owner->queue}};
  }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
  std::shared_ptr<Owner> owner = Isolated<Owner>();
};
#endif

// The least that can be done: one stack of pointers, for one thread, without a bound, a count or an owner.
template <size_t kBytes>
struct List {
  struct Blocks : std::vector<void*> {
    ~Blocks() {
      for (void* p : *this) std::free(p);
    }
  };
  struct Free {
    void operator()(void* p) const { blocks->push_back(p); }
    Blocks* blocks = nullptr;
  };
  using Buffer = Owned<Free>;
  Buffer Get() {
    if (blocks->empty()) return {std::malloc(kBytes), {blocks.get()}};
    void* p = blocks->back();
    blocks->pop_back();
    return {p, {blocks.get()}};
  }
  static std::byte* Data(Buffer& buffer) { return buffer.data(); }
  std::shared_ptr<Blocks> blocks = Isolated<Blocks>();
};

template <size_t kBytes>
[[gnu::always_inline]] inline void Touch(std::byte* p) {
  p[0] = std::byte{1};
  p[kBytes - 1] = std::byte{2};
  Keep(p);
}

struct OneAtATime {
  template <size_t kBytes, class Kind>
  static auto Make(Kind kind) {
    return [kind = std::move(kind)]() mutable {
      auto buffer = kind.Get();
      Touch<kBytes>(Kind::Data(buffer));
    };
  }
};

// An operation is all of them.
struct Hold32 {
  template <size_t kBytes, class Kind>
  static auto Make(Kind kind) {
    return [kind = std::move(kind)]() mutable {
      std::array<typename Kind::Buffer, 32> buffers;
      for (auto& buffer : buffers) {
        buffer = kind.Get();
        Touch<kBytes>(Kind::Data(buffer));
      }
    };
  }
};

// A ring of places for one thread that puts and one that takes; each remembers what it last saw of the other (L.
// Lamport, 1983, and J. Giacomoni and others, "FastForward", 2008).
template <class Buffer>
class Ring {
 public:
  bool TryPut(Buffer& buffer) {
    const size_t tail = tail_.load(std::memory_order::relaxed);
    if (tail - head_seen_ == kPlaces) {
      head_seen_ = head_.load(std::memory_order::acquire);
      if (tail - head_seen_ == kPlaces) return false;
    }
    places_[tail % kPlaces] = std::move(buffer);
    tail_.store(tail + 1, std::memory_order::release);
    return true;
  }
  bool TryTake(Buffer& buffer) {
    const size_t head = head_.load(std::memory_order::relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order::acquire);
      if (head == tail_seen_) return false;
    }
    buffer = std::move(places_[head % kPlaces]);
    head_.store(head + 1, std::memory_order::release);
    return true;
  }

 private:
  static constexpr size_t kPlaces = 256;
  std::array<Buffer, kPlaces> places_;
  alignas(kCacheLineSize) std::atomic<size_t> head_{0};
  size_t tail_seen_ = 0;
  alignas(kCacheLineSize) std::atomic<size_t> tail_{0};
  size_t head_seen_ = 0;
};

// The measured thread gets, writes and hands over; the one beside it writes and drops.
struct CrossThread {
  template <size_t kBytes, class Kind>
  static auto Make(Kind kind) {
    using Buffer = typename Kind::Buffer;
    struct Shared {
      explicit Shared(Kind k) : kind(std::move(k)) {}
      Kind kind;
      Ring<Buffer> ring;
      alignas(kCacheLineSize) bool stalled = false;  // the taker has left: its window is over
    };
    const auto shared = Isolated<Shared>(std::move(kind));
    return Ops([shared] {
             Buffer buffer = shared->kind.Get();
             Touch<kBytes>(Kind::Data(buffer));
             for (int turns = 0; !shared->ring.TryPut(buffer); ++turns) {
               if (shared->stalled || turns == 100) {
                 shared->stalled = true;
                 return;  // drops it
               }
               Pause();
             }
             shared->stalled = false;
           })
        .WithBackground([shared] {
          Buffer buffer;
          if (!shared->ring.TryTake(buffer)) return Pause();
          Touch<kBytes>(Kind::Data(buffer));
        });
  }
  static void Pause() { StdSync::Relax(); }
};

template <size_t kBytes, class How>
Row& AddContenders(Row& row, bool cross_thread) {
  for (const char* name : {"glibc", "tcmalloc", "jemalloc", "mimalloc"}) {
    const auto heap = PeerAllocator::Load(name);
    if (!heap) {
      row.NotInstalled(name);
      continue;
    }
    const bool is_glibc = heap->name == "glibc";
    row.Add(is_glibc ? Role::kNaive : Role::kPeer, name,
            [heap = *heap] { return How::template Make<kBytes>(Malloc<kBytes>{heap}); });
  }
  row.Ours("SharedPool", [] { return How::template Make<kBytes>(Pooled<kBytes>()); });
  row.Peer("std::pmr pool", [] { return How::template Make<kBytes>(Pmr<kBytes>()); });
#if HOTPATH_HAVE_BOOST
  row.Peer("boost::singleton_pool", [] { return How::template Make<kBytes>(Boost<kBytes>()); });
#else
  row.NotInstalled("boost::singleton_pool");
#endif
  if (cross_thread) {
#if HOTPATH_HAVE_CONCURRENTQUEUE
    row.Peer("moodycamel queue", [] { return How::template Make<kBytes>(Queue<kBytes>()); });
#else
    row.NotInstalled("moodycamel queue");
#endif
  } else {
    row.Naive("vector of zeros", [] { return How::template Make<kBytes>(ZeroedVector<kBytes>()); });
    row.Floor("bare list", [] { return How::template Make<kBytes>(List<kBytes>()); });
  }
  return row;
}

template <size_t kBytes>
void AddRows(Rows& rows, const std::string& size) {
  Row& one = AddContenders<kBytes, OneAtATime>(
      rows.Add({.id = "buffer_pool/same_thread_" + size + "/t1", .optimisation = 5}), false);
  one.AtLeast(1.5, "tcmalloc");
  if (kBytes == 4096) one.AtLeast(10, "glibc");

  Row& cross =
      AddContenders<kBytes, CrossThread>(rows.Add({.id = "buffer_pool/cross_thread_" + size + "/t1",
                                                   .optimisation = 5,
                                                   .background = 1,
                                                   .floor = "line_transfer",
                                                   .note = "one thread gets and writes, another writes and drops"}),
                                         true);
  cross.AtLeast(1.3, "mimalloc").AtLeast(1.3, "moodycamel queue");
  if (kBytes != 512) cross.AtLeast(10, "glibc");

  Row& hold = AddContenders<kBytes, Hold32>(rows.Add({.id = "buffer_pool/hold_32_" + size + "/t1",
                                                      .optimisation = 5,
                                                      .note = "an operation gets 32 buffers and drops them"}),
                                            false);
  // glibc gives the top of its heap back to the kernel when 128 KiB of it are free, until the process has freed a
  // larger block that was mapped: that raises the threshold. This row, the last that asks glibc, measures both,
  // whatever this process did before.
  if (kBytes == 65536) {
    if (const auto glibc = PeerAllocator::Load("glibc")) {
      hold.Naive("glibc, as it starts", [heap = *glibc] {
        mallopt(M_TRIM_THRESHOLD, 128 << 10);
        return Hold32::Make<kBytes>(Malloc<kBytes>{heap});
      });
      hold.Variant("SharedPool again", [] {
        mallopt(M_TRIM_THRESHOLD, 64 << 20);
        return Hold32::Make<kBytes>(Pooled<kBytes>());
      });
      hold.AtLeast(90, "glibc, as it starts");
    }
  }
}

// A request reads up to 4 KiB into a buffer, appends 300 to 20,000 bytes of answer to another in pieces of 300, and
// makes three strings of 40 bytes, which no pool serves.
struct VectorBuffers {
  using Buffer = std::vector<char>;
  static Buffer Input() {
    Buffer buffer;
    buffer.reserve(4096);
    return buffer;
  }
  static void Append(Buffer& buffer, std::string_view more) { buffer.insert(buffer.end(), more.begin(), more.end()); }
};
struct PoolBuffers {
  using Buffer = PooledBuffer;
  static Buffer Input() { return PooledBuffer::WithCapacity(4096); }
  static void Append(Buffer& buffer, std::string_view more) { buffer.append(more); }
};

template <class Kind>
class Requests {
 public:
  void operator()() {
    auto input = Kind::Input();
    Kind::Append(input, piece_);
    std::array<std::string, 3> names;
    for (std::string& name : names) name.assign(40, 'n');
    typename Kind::Buffer output;
    random_ = random_ * 1664525 + 1013904223;
    for (uint32_t n = 1 + (random_ >> 16) % 66; n > 0; --n) Kind::Append(output, piece_);
    Keep(input.data());
    Keep(output.data());
    Keep(names);
  }

 private:
  uint32_t random_ = 1;
  std::string piece_ = std::string(300, 'x');
};

template <class Kind>
std::optional<double> AllocationsOfARequest() {
  constexpr int kRequests = 2'000;
  Requests<Kind> request;
  for (int i = 0; i < 100; ++i) request();
  const HeapMark heap;
  for (int i = 0; i < kRequests; ++i) request();
  return static_cast<double>(heap.Since().allocations) / kRequests;
}

HOTPATH_BENCH_ROWS(rows) {
  AddRows<512>(rows, "512B");
  AddRows<4096>(rows, "4KiB");
  AddRows<65536>(rows, "64KiB");
  constexpr const char* kRequest =
      "a request: a buffer of 4 KiB, one that grows to 300 to 20,000 bytes, three strings of 40, which no pool serves";
  rows.Add({.id = "buffer_pool/request_allocations/t1",
            .optimisation = 5,
            .claim = "allocations",
            .unit = "allocations",
            .note = kRequest})
      .Sample(Role::kNaive, "std::vector", AllocationsOfARequest<VectorBuffers>)
      .Sample(Role::kOurs, "PooledBuffer", AllocationsOfARequest<PoolBuffers>);
  rows.Add({.id = "buffer_pool/request/t1", .optimisation = 5, .note = kRequest})
      .Naive("std::vector", [] { return Requests<VectorBuffers>(); })
      .Ours("PooledBuffer", [] { return Requests<PoolBuffers>(); });
}

}  // namespace
}  // namespace hotpath::bench
