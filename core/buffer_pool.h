#ifndef HOTPATH_CORE_BUFFER_POOL_H_
#define HOTPATH_CORE_BUFFER_POOL_H_

#include <string.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "hotpath/core/base/asan.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/detail/buffer_pool_inl.h"

namespace hotpath {

struct PoolOptions {
  // Bytes that the pool may keep unused, in all threads and in between together. 0: it keeps nothing.
  size_t max_bytes = 64 << 20;
  // Zeroes buffers when they come back and when they are new: no byte passes from one holder to the next.
  bool scrub = false;
};

struct PoolStats {
  uint64_t hits = 0;                  // buffers handed out from what the pool had
  uint64_t misses = 0;                // buffers handed out from the heap
  uint64_t cross_thread_returns = 0;  // by another thread than the one that got it, as Sync::ThreadIndex tells them
  uint64_t detached = 0;
  size_t bytes_held = 0;    // unused
  size_t bytes_in_use = 0;  // in buffers
};

// The fixed numbers of a pool.
struct PoolShape {
  size_t smallest = 512;          // bytes of the first size; each later one is twice the one before
  uint32_t classes = 12;          // sizes: up to 1 MiB. What is larger comes from the heap and goes there
  uint32_t batch = 32;            // buffers that pass between a thread and the pool at a time, at most
  size_t thread_bytes = 2 << 20;  // of one size that one thread keeps, at most, and max_bytes / 8; but two in any case
  uint32_t boxes_per_chunk = 64;  // how many batches' worth of memory is made at a time,
  uint32_t chunks = 1024;         // and how often
};

// Where pools get memory from. Another must not use the pool that asks it; Allocate throws bad_alloc, Free does not.
struct PoolHeap {
  static constexpr size_t kAlign = 64;
  static void* Allocate(size_t bytes) { return ::operator new(bytes, std::align_val_t{kAlign}); }
  static void Free(void* block, size_t bytes) noexcept { ::operator delete(block, bytes, std::align_val_t{kAlign}); }
};

template <PoolShape kShape = PoolShape{}, class Heap = PoolHeap, SyncPolicy Sync = StdSync>
class BasicPooledBuffer;
template <PoolShape kShape = PoolShape{}, class Heap = PoolHeap, SyncPolicy Sync = StdSync>
class BasicSharedPool;

// Buffer: bytes that nobody else has, aligned to 64, and never initialised for you.
//
// Contract  A vector of bytes whose resize leaves new ones as they are. Moved from, it is empty. Growing past
//           capacity() moves the bytes; if that throws bad_alloc, nothing has changed. Not synchronised.
template <class Heap = PoolHeap>
class BasicBuffer : public buffer_pool_internal::Bytes<BasicBuffer<Heap>> {
  using Bytes = buffer_pool_internal::Bytes<BasicBuffer>;

 public:
  BasicBuffer() = default;
  explicit BasicBuffer(size_t capacity) : Bytes(Allocate(capacity), 0, capacity) {}
  BasicBuffer(BasicBuffer&& other) noexcept : Bytes(std::move(other)) {}
  BasicBuffer& operator=(BasicBuffer&& other) noexcept {
    if (this == &other) return *this;
    GiveBack();
    this->TakeFrom(other);
    return *this;
  }
  ~BasicBuffer() { GiveBack(); }

 private:
  friend Bytes;
  template <PoolShape, class, SyncPolicy>
  friend class BasicPooledBuffer;

  BasicBuffer(std::byte* data, size_t size, size_t capacity) noexcept : Bytes(data, size, capacity) {}

  void GiveBack() noexcept {
    if (this->data_ != nullptr) Heap::Free(this->data_, this->capacity_);
  }
  static std::byte* Allocate(size_t bytes) {
    if (bytes == 0) return nullptr;
    if (bytes > PTRDIFF_MAX) throw std::bad_alloc();
    return static_cast<std::byte*>(Heap::Allocate(bytes));
  }
  BasicBuffer Larger(size_t capacity) const {
    BasicBuffer larger(capacity);
    larger.CopyFrom(*this);
    return larger;
  }
};
using Buffer = BasicBuffer<>;

// PooledBuffer: a Buffer that goes back to its pool at its end, on whatever thread that is.
//
// Contract  capacity() >= what was asked for, always. To grow takes another buffer of the same pool. One made by
//           default, or moved from, has no bytes, and grows from the process's own pool. Not synchronised.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
class BasicPooledBuffer : public buffer_pool_internal::Bytes<BasicPooledBuffer<kShape, Heap, Sync>> {
  using Bytes = buffer_pool_internal::Bytes<BasicPooledBuffer>;
  using Pool = BasicSharedPool<kShape, Heap, Sync>;

 public:
  BasicPooledBuffer() = default;

  // Of the process's own pool.
  [[nodiscard]] static BasicPooledBuffer Small() { return WithCapacity(1 << 10); }
  [[nodiscard]] static BasicPooledBuffer Medium() { return WithCapacity(16 << 10); }
  [[nodiscard]] static BasicPooledBuffer Large() { return WithCapacity(64 << 10); }
  [[nodiscard]] static BasicPooledBuffer WithCapacity(size_t bytes) { return Pool::Default().Get(bytes); }

  BasicPooledBuffer(BasicPooledBuffer&& other) noexcept
      // NOLINTBEGIN(bugprone-use-after-move): only the base has been moved from
      : Bytes(std::move(other)),
        pool_(std::exchange(other.pool_, nullptr)),
        size_class_(other.size_class_),
        origin_(other.origin_) {}
  // NOLINTEND(bugprone-use-after-move)
  // These are inline so that a buffer that only passes through, from Get to here, is not made in memory.
  [[gnu::always_inline]] BasicPooledBuffer& operator=(BasicPooledBuffer&& other) noexcept {
    if (this == &other) return *this;
    GiveBack();
    this->TakeFrom(other);
    pool_ = std::exchange(other.pool_, nullptr);
    size_class_ = other.size_class_;
    origin_ = other.origin_;
    return *this;
  }
  [[gnu::always_inline]] ~BasicPooledBuffer() { GiveBack(); }

  // The bytes, for good, without copying them. The pool is told that they do not come back.
  [[nodiscard]] BasicBuffer<Heap> Detach() && noexcept {
    if (this->data_ != nullptr) pool_->Forget(this->capacity_);
    pool_ = nullptr;
    return BasicBuffer<Heap>(std::exchange(this->data_, nullptr), std::exchange(this->size_, 0),
                             std::exchange(this->capacity_, 0));
  }

 private:
  friend Bytes;
  friend Pool;

  BasicPooledBuffer(Pool& pool, void* block, size_t capacity, uint32_t size_class, uint32_t origin) noexcept
      : Bytes(static_cast<std::byte*>(block), 0, capacity), pool_(&pool), size_class_(size_class), origin_(origin) {}

  [[gnu::always_inline]] void GiveBack() noexcept {
    if (this->data_ != nullptr) pool_->Put(this->data_, this->capacity_, size_class_, origin_);
  }

  BasicPooledBuffer Larger(size_t capacity) const {
    BasicPooledBuffer larger = (pool_ != nullptr ? *pool_ : Pool::Default()).Get(capacity);
    larger.CopyFrom(*this);
    return larger;
  }

  Pool* pool_ = nullptr;
  uint32_t size_class_ = 0;
  uint32_t origin_ = 0;  // index of the thread that got it
};
using PooledBuffer = BasicPooledBuffer<>;

// SharedPool: buffers that come back are handed out again, to the same thread at once, to others in batches.
//
// Contract  No two buffers share a byte. Bytes kept unused never exceed max_bytes; Trim gives all of them back, those
//           that idle threads keep too. Buffers may come back on any thread, at thread exit and from destructors of
//           thread_locals and statics. Destroying a pool while a buffer of it lives is a CHECK failure. After fork(2)
//           the child goes on; what the other threads kept, at most max_bytes, is lost to it, and its Stats may go on
//           counting what they were moving.
//           Threads reserve room ahead, for one size at most an eighth of max_bytes; who runs out of buffers, or of
//           room for another size, gives up what it does not use. A thread that falls silent does not: call Trim.
// Progress  Get and a buffer's end: blocking, while a Trim empties caches, all of which it claims first. Without one
//           wait-free from the thread's cache, lock-free from the batches, and else as the heap. Trim is blocking,
//           Stats wait-free.
// Cost      Get and end from the cache: 4 and 3 stores, on lines that no other thread writes; no RMW, and where the
//           kernel has membarrier(2) no fence. A batch of 32: 4 RMWs on either side. A pool is 40 KiB of address
//           space, a thread's cache in it 7 KiB, a batch's box 264 bytes: they stay until the pool ends, and no Stats
//           count them.
// Not for   Signal handlers, memory that must be zero (but see scrub), alignment above 64. A new_handler may Trim a
//           pool, but neither get nor drop its buffers; where not even 17 KB are left, Trim may find nothing.
// Proof     buffer_pool_model fails if any [tag] below is weakened, but for C7: see models/survivors.txt.
// Example   PooledBuffer b = PooledBuffer::Medium(); b.append("..."); Buffer kept = std::move(b).Detach();
// Source    J. Bonwick, J. Adams, "Magazines and Vmem", USENIX 2001.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
class BasicSharedPool {
 public:
  using PooledBuffer = BasicPooledBuffer<kShape, Heap, Sync>;

  constexpr BasicSharedPool() : BasicSharedPool(PoolOptions{}) {}
  constexpr explicit BasicSharedPool(PoolOptions options) : options_(options) {}
  ~BasicSharedPool();
  BasicSharedPool(const BasicSharedPool&) = delete;
  BasicSharedPool& operator=(const BasicSharedPool&) = delete;

  // The process's own, which is never destroyed.
  static BasicSharedPool& Default() noexcept;

  // Throws bad_alloc if neither the pool nor the heap has the bytes.
  [[nodiscard, gnu::always_inline]] PooledBuffer Get(size_t bytes) {
    const uint32_t me = Sync::ThreadIndex();
    const uint32_t size_class = ClassOf(bytes);
    if (size_class >= kClasses) [[unlikely]]
      return PooledBuffer(*this, GetUnpooled(bytes), bytes, size_class, me);
    void* block = nullptr;
    if (Cache* cache = caches_[me].Read(); cache != nullptr) [[likely]] {
      if (cache->Enter()) [[likely]] {
        block = cache->shelves[size_class].Pop();
        if (block != nullptr) [[likely]]
          Cache::Bump(cache->gets);
      }
      cache->Leave();
    }
    if (block == nullptr) [[unlikely]]
      block = GetSlowly(size_class, me);
    asan::Unpoison(block, SizeOf(size_class));
    return PooledBuffer(*this, block, SizeOf(size_class), size_class, me);
  }

  // Exact when nobody else uses the pool. Else sums of what each thread had at some moment of the call.
  [[nodiscard]] PoolStats Stats() const noexcept;

  // Gives what is unused back to the heap, and returns how much. What comes back meanwhile may stay.
  size_t Trim() noexcept;

 private:
  friend PooledBuffer;
  friend struct buffer_pool_internal::TestAccess;

  template <class T>
  using Atomic = typename Sync::template Atomic<T>;

  static constexpr uint32_t kClasses = kShape.classes;
  static_assert(std::has_single_bit(kShape.smallest) && kClasses > 0 && kShape.batch > 0 && kShape.batch < 1 << 20);
  static_assert(kShape.smallest <= static_cast<size_t>(PTRDIFF_MAX) >> kClasses, "sizes that cannot exist");
  static_assert(kShape.boxes_per_chunk > 0 && kShape.chunks > 0);
  using Cache = buffer_pool_internal::ThreadCache<kClasses, 2 * kShape.batch, Sync>;
  using Table = buffer_pool_internal::BoxTable<kShape.batch, kShape.boxes_per_chunk, kShape.chunks, Sync>;
  using Shelf = buffer_pool_internal::ThreadShelf<2 * kShape.batch, Sync>;
  using Box = typename Table::Box;

  static constexpr size_t SizeOf(uint32_t size_class) noexcept { return kShape.smallest << size_class; }
  static constexpr uint32_t ClassOf(size_t bytes) noexcept {
    if (bytes <= kShape.smallest) return 0;
    return static_cast<uint32_t>(std::bit_width((bytes - 1) / kShape.smallest));
  }
  // Buffers that a thread keeps; half of them travel together.
  uint32_t MostKept(uint32_t size_class) const noexcept {
    const size_t bytes = std::min(kShape.thread_bytes, options_.max_bytes / 8);
    return static_cast<uint32_t>(std::clamp<size_t>(bytes / SizeOf(size_class), 2, size_t{2} * kShape.batch));
  }

  // The end of a buffer.
  [[gnu::always_inline]] void Put(void* block, size_t capacity, uint32_t size_class, uint32_t origin) noexcept {
    if (options_.scrub) [[unlikely]]
      explicit_bzero(block, capacity);
    const uint32_t me = Sync::ThreadIndex();
    asan::Poison(block, capacity);
    if (size_class < kClasses) [[likely]] {
      if (Cache* cache = caches_[me].Read(); cache != nullptr) [[likely]] {
        bool kept = false;
        if (cache->Enter()) [[likely]] {
          kept = cache->shelves[size_class].Push(block);
          if (kept && me != origin) [[unlikely]]
            Cache::Bump(cache->foreign_returns);
        }
        cache->Leave();
        if (kept) [[likely]]
          return;
      }
    }
    PutSlowly(block, capacity, size_class, me, origin);
  }
  void Forget(size_t capacity) noexcept {
    bytes_.fetch_sub(capacity, std::memory_order::relaxed);
    detached_.fetch_add(1, std::memory_order::relaxed);
  }

  [[gnu::noinline, gnu::returns_nonnull]] void* GetSlowly(uint32_t size_class, uint32_t me);
  [[gnu::noinline]] void PutSlowly(void* block, size_t capacity, uint32_t size_class, uint32_t me,
                                   uint32_t origin) noexcept;
  void* GetUnpooled(size_t bytes);
  void* Allocate(size_t bytes);
  void Free(void* block, size_t bytes) noexcept;

  Cache* EnterCache(uint32_t me) noexcept;
  Cache* AdoptCache(uint32_t me) noexcept;
  static void AtThreadExit(ThreadExitHook& hook);
  void Abandon(Cache& cache) noexcept;

  [[nodiscard]] bool Reserve(size_t bytes) noexcept;
  [[nodiscard]] bool ReserveAtOthersCost(Cache& cache, uint32_t size_class, size_t bytes) noexcept;
  void Retract(Shelf& shelf, uint32_t size_class) noexcept;
  void Unreserve(size_t bytes) noexcept { reserved_.fetch_sub(bytes, std::memory_order::relaxed); }
  void* TakeBatch(Shelf& shelf, uint32_t size_class) noexcept;
  [[nodiscard]] bool MakeRoom(Cache& cache, uint32_t size_class) noexcept;
  void Shelve(uint32_t box, uint32_t count, uint32_t size_class) noexcept;
  [[nodiscard]] bool Empty(Cache& cache) noexcept;
  [[nodiscard]] bool EmptyCaches() noexcept;
  size_t FreeBatch(uint32_t size_class) noexcept;
  size_t FreeBatches() noexcept;

  // Each entry is read and written by the thread that has the index.
  std::array<typename Sync::template Var<Cache*>, Sync::kMaxThreads> caches_{};
  const PoolOptions options_;
  Atomic<Cache*> all_{nullptr};  // every cache ever made
  Table boxes_;
  std::array<buffer_pool_internal::NodeStack<Sync>, kClasses> batches_;  // full boxes
  Atomic<size_t> reserved_{0};                                           // bytes that caches and batches may hold
  Atomic<size_t> batched_{0};                                            // bytes that batches hold
  Atomic<size_t> bytes_{0};  // of all blocks that are neither the heap's nor detached
  Atomic<uint64_t> detached_{0};
  // What threads counted that have no cache, and what was too large.
  Atomic<uint64_t> uncached_misses_{0};
  Atomic<uint64_t> uncached_foreign_returns_{0};
};
using SharedPool = BasicSharedPool<>;

}  // namespace hotpath

#include "hotpath/core/detail/buffer_pool_slow_inl.h"

#endif  // HOTPATH_CORE_BUFFER_POOL_H_
