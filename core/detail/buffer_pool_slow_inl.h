#ifndef HOTPATH_CORE_DETAIL_BUFFER_POOL_SLOW_INL_H_
#define HOTPATH_CORE_DETAIL_BUFFER_POOL_SLOW_INL_H_

#ifndef HOTPATH_CORE_BUFFER_POOL_H_
#error "include hotpath/core/buffer_pool.h instead"
#endif

// What pools do when a thread's cache does not answer.

namespace hotpath {
namespace buffer_pool_internal {

template <class Pool>
union NeverDestroyed {
  constexpr NeverDestroyed() : pool() {}
  ~NeverDestroyed() {}
  Pool pool;
};
template <PoolShape kShape, class Heap, SyncPolicy Sync>
inline constinit NeverDestroyed<BasicSharedPool<kShape, Heap, Sync>> default_pool;

}  // namespace buffer_pool_internal

template <PoolShape kShape, class Heap, SyncPolicy Sync>
BasicSharedPool<kShape, Heap, Sync>& BasicSharedPool<kShape, Heap, Sync>::Default() noexcept {
  return buffer_pool_internal::default_pool<kShape, Heap, Sync>.pool;
}

// ---- The heap ----

template <PoolShape kShape, class Heap, SyncPolicy Sync>
void* BasicSharedPool<kShape, Heap, Sync>::Allocate(size_t bytes) {
  void* block = Heap::Allocate(bytes);
  bytes_.fetch_add(bytes, std::memory_order::relaxed);
  if (options_.scrub) std::memset(block, 0, bytes);
  return block;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
void BasicSharedPool<kShape, Heap, Sync>::Free(void* block, size_t bytes) noexcept {
  asan::Unpoison(block, bytes);
  bytes_.fetch_sub(bytes, std::memory_order::relaxed);
  Heap::Free(block, bytes);
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
void* BasicSharedPool<kShape, Heap, Sync>::GetUnpooled(size_t bytes) {
  if (bytes > PTRDIFF_MAX) throw std::bad_alloc();
  void* block = Allocate(bytes);
  uncached_misses_.fetch_add(1, std::memory_order::relaxed);
  return block;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
bool BasicSharedPool<kShape, Heap, Sync>::Reserve(size_t bytes) noexcept {
  size_t reserved = reserved_.load(std::memory_order::relaxed);
  do {
    if (bytes > options_.max_bytes || reserved > options_.max_bytes - bytes) return false;
  } while (!reserved_.compare_exchange_weak(reserved, reserved + bytes, std::memory_order::relaxed,
                                            std::memory_order::relaxed));
  return true;
}

// Reserves for a shelf. If the pool is full, other sizes make room, the largest first: what this thread reserved for
// them and does not use, then their batches, then what this thread has of them.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
bool BasicSharedPool<kShape, Heap, Sync>::ReserveAtOthersCost(Cache& cache, uint32_t size_class,
                                                              size_t bytes) noexcept {
  if (Reserve(bytes)) return true;
  if (bytes > options_.max_bytes) return false;
  for (uint32_t other = kClasses; other-- > 0;) {
    if (other != size_class) Retract(cache.shelves[other], other);
  }
  for (uint32_t other = kClasses; other-- > 0;) {
    if (other == size_class) continue;
    do {
      if (Reserve(bytes)) return true;
    } while (FreeBatch(other) != 0);
    while (void* block = cache.shelves[other].Pop()) {
      Free(block, SizeOf(other));
      Retract(cache.shelves[other], other);
      if (Reserve(bytes)) return true;
    }
  }
  return Reserve(bytes);
}

// Gives up what a shelf reserved and does not use, by whoever is inside the cache or has claimed it. Here as elsewhere
// the limit goes down first: so that a fork in between cannot make the sum of reservations too small.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
void BasicSharedPool<kShape, Heap, Sync>::Retract(Shelf& shelf, uint32_t size_class) noexcept {
  const uint32_t uses = shelf.Held() == 0 ? 0 : shelf.count.load(std::memory_order::relaxed) + 1;
  const uint32_t limit = shelf.limit.Read();
  if (limit == uses) return;
  shelf.limit.Write(uses);
  Unreserve((limit - uses) * SizeOf(size_class));
}

// ---- Get and Put ----

template <PoolShape kShape, class Heap, SyncPolicy Sync>
void* BasicSharedPool<kShape, Heap, Sync>::GetSlowly(uint32_t size_class, uint32_t me) {
  Cache* cache = EnterCache(me);
  if (cache != nullptr) {
    Shelf& shelf = cache->shelves[size_class];
    void* block = shelf.Pop();  // there may be one: perhaps only a claim barred the way
    if (block == nullptr) block = TakeBatch(shelf, size_class);
    if (block != nullptr) Cache::Bump(cache->gets);
    cache->Leave();
    if (block != nullptr) return block;
  }
  void* block = Allocate(SizeOf(size_class));
  if (cache == nullptr) {
    uncached_misses_.fetch_add(1, std::memory_order::relaxed);
  } else {
    Cache::Bump(cache->gets);
    Cache::Bump(cache->misses);
  }
  return block;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
void BasicSharedPool<kShape, Heap, Sync>::PutSlowly(void* block, size_t capacity, uint32_t size_class, uint32_t me,
                                                    uint32_t origin) noexcept {
  bool kept = false;
  Cache* cache = size_class < kClasses ? EnterCache(me) : nullptr;
  if (cache != nullptr) {
    Shelf& shelf = cache->shelves[size_class];
    kept = shelf.Push(block) || (MakeRoom(*cache, size_class) && shelf.Push(block));
    if (me != origin) Cache::Bump(cache->foreign_returns);
    cache->Leave();
  } else if (me != origin) {
    uncached_foreign_returns_.fetch_add(1, std::memory_order::relaxed);
  }
  if (!kept) Free(block, capacity);
}

// A batch of other threads' blocks, for a shelf that has none: one is returned, or null. The reservation comes with
// them. A shelf that ran out has reserved more than it needs, and gives half of it back: a thread that only gets must
// not keep one that only drops from keeping anything.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
void* BasicSharedPool<kShape, Heap, Sync>::TakeBatch(Shelf& shelf, uint32_t size_class) noexcept {
  const uint32_t limit = shelf.limit.Read();
  uint32_t count = 0;
  void* block = nullptr;
  if (const uint32_t number = batches_[size_class].Pop(boxes_.Next()); number != 0) {
    Box& box = boxes_.At(number);
    count = box.count.Read();
    for (uint32_t i = 0; i + 1 < count; ++i) {
      void* other = box.blocks[i].Read();
      buffer_pool_internal::PrefetchToWrite(other);
      shelf.blocks[i].Write(other);
    }
    block = box.blocks[count - 1].Read();
    boxes_.Return(number);
    shelf.count.store(count - 1, std::memory_order::relaxed);
    batched_.fetch_sub(count * SizeOf(size_class), std::memory_order::relaxed);
  }
  const uint32_t needs = std::max(limit / 2, count);
  shelf.limit.Write(needs);
  if (limit + count != needs) Unreserve((limit + count - needs) * SizeOf(size_class));
  return block;
}

// Room on a full shelf: a larger reservation, and when that is at its end, a batch for other threads. False if the pool
// may not keep more, or there is no memory.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
bool BasicSharedPool<kShape, Heap, Sync>::MakeRoom(Cache& cache, uint32_t size_class) noexcept {
  Shelf& shelf = cache.shelves[size_class];
  const uint32_t limit = shelf.limit.Read();
  if (const uint32_t most = MostKept(size_class); limit < most) {
    uint32_t more = limit == 0 ? 1 : std::min(limit, most - limit);
    if (!Reserve(more * SizeOf(size_class))) {
      more = 1;
      if (!ReserveAtOthersCost(cache, size_class, SizeOf(size_class))) return false;
    }
    shelf.limit.Write(limit + more);
    return true;
  }
  const uint32_t count = std::min(limit / 2, shelf.count.load(std::memory_order::relaxed));
  if (!ReserveAtOthersCost(cache, size_class, count * SizeOf(size_class))) return false;
  const uint32_t number = boxes_.Take();
  if (number == 0) {
    Unreserve(count * SizeOf(size_class));
    return false;
  }
  shelf.MoveOldest(count, boxes_.At(number));
  Shelve(number, count, size_class);
  return true;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
void BasicSharedPool<kShape, Heap, Sync>::Shelve(uint32_t number, uint32_t count, uint32_t size_class) noexcept {
  batched_.fetch_add(count * SizeOf(size_class), std::memory_order::relaxed);
  batches_[size_class].Push(number, boxes_.Next());
}

// ---- Caches ----

// The thread's cache, with the thread inside it; null if there is no memory for one.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
auto BasicSharedPool<kShape, Heap, Sync>::EnterCache(uint32_t me) noexcept -> Cache* {
  for (;;) {
    Cache* cache = caches_[me].Read();
    if (cache == nullptr) cache = AdoptCache(me);
    if (cache == nullptr || cache->Enter()) return cache;
    if (cache->WaitUntilFree()) continue;
    Sync::CancelAtThreadExit(*cache);
    caches_[me].Write(nullptr);
    Abandon(*cache);
  }
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
auto BasicSharedPool<kShape, Heap, Sync>::AdoptCache(uint32_t me) noexcept -> Cache* {
  Cache* cache = all_.load(std::memory_order::acquire);  // [A2] pairs A1
  for (; cache != nullptr; cache = cache->next) {
    uint32_t nobody = 0;
    if (cache->owner.load(std::memory_order::relaxed) == nobody &&
        cache->owner.compare_exchange_strong(nobody, me + 1, std::memory_order::acquire,  // [A4] pairs A3
                                             std::memory_order::relaxed)) {
      break;
    }
  }
  if (cache == nullptr) {
    try {
      cache = Sync::template New<Cache>(&AtThreadExit, static_cast<void*>(this));
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    cache->owner.store(me + 1, std::memory_order::relaxed);
    cache->next = all_.load(std::memory_order::relaxed);
    while (!all_.compare_exchange_weak(cache->next, cache, std::memory_order::release,  // [A1] pairs A2 A5 A6
                                       std::memory_order::relaxed)) {
    }
  }
  caches_[me].Write(cache);
  Sync::AtThreadExit(*cache);
  return cache;
}

// In the child of a fork: leaves a cache to a thread that is not in it, and may have stopped in the middle of it.
// Nobody knows what it holds, but what was reserved for that is free again.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
void BasicSharedPool<kShape, Heap, Sync>::Abandon(Cache& cache) noexcept {
  if (cache.owner.exchange(Cache::kLost, std::memory_order::relaxed) == Cache::kLost) return;
  for (uint32_t i = 0; i < kClasses; ++i) Unreserve(cache.shelves[i].limit.Read() * SizeOf(i));
}

// The ending thread's blocks become everybody's, its cache the next new thread's.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
void BasicSharedPool<kShape, Heap, Sync>::AtThreadExit(ThreadExitHook& hook) {
  auto& cache = static_cast<Cache&>(hook);
  auto* pool = static_cast<BasicSharedPool*>(cache.pool);
  pool->caches_[Sync::ThreadIndex()].Write(nullptr);
  while (!cache.Enter()) {
    if (!cache.WaitUntilFree()) return pool->Abandon(cache);
  }
  static_cast<void>(pool->Empty(cache));  // the rest is for the next owner
  cache.Leave();
  cache.owner.store(0, std::memory_order::release);  // [A3] pairs A4
}

// Makes batches of all that the cache holds, by whoever is inside it or has claimed it. False if there were not boxes
// enough: the rest stays where it is.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
bool BasicSharedPool<kShape, Heap, Sync>::Empty(Cache& cache) noexcept {
  bool emptied = true;
  for (uint32_t size_class = 0; size_class < kClasses; ++size_class) {
    Shelf& shelf = cache.shelves[size_class];
    while (shelf.Held() != 0) {
      const uint32_t number = boxes_.Take();
      if (number == 0) break;
      Box& box = boxes_.At(number);
      const uint32_t cold = shelf.count.load(std::memory_order::relaxed);
      uint32_t count = std::min(cold, kShape.batch);
      shelf.MoveOldest(count, box);
      if (count < kShape.batch && shelf.hot.load(std::memory_order::relaxed) != nullptr) {
        box.blocks[count++].Write(shelf.Pop());
        box.count.Write(count);
      }
      shelf.limit.Write(shelf.limit.Read() - count);  // the reservation goes with them
      Shelve(number, count, size_class);
    }
    Retract(shelf, size_class);
    emptied &= shelf.Held() == 0;
  }
  return emptied;
}

// ---- Trim, Stats, the end ----

// One batch: how many bytes it was, 0 if there is none.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
size_t BasicSharedPool<kShape, Heap, Sync>::FreeBatch(uint32_t size_class) noexcept {
  const uint32_t number = batches_[size_class].Pop(boxes_.Next());
  if (number == 0) return 0;
  Box& box = boxes_.At(number);
  const uint32_t count = box.count.Read();
  std::array<void*, kShape.batch> blocks;
  for (uint32_t i = 0; i < count; ++i) blocks[i] = box.blocks[i].Read();
  boxes_.Return(number);
  for (uint32_t i = 0; i < count; ++i) Free(blocks[i], SizeOf(size_class));
  const size_t bytes = count * SizeOf(size_class);
  batched_.fetch_sub(bytes, std::memory_order::relaxed);
  Unreserve(bytes);
  return bytes;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
size_t BasicSharedPool<kShape, Heap, Sync>::FreeBatches() noexcept {
  size_t freed = 0;
  for (uint32_t size_class = 0; size_class < kClasses; ++size_class) {
    while (const size_t bytes = FreeBatch(size_class)) freed += bytes;
  }
  return freed;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
size_t BasicSharedPool<kShape, Heap, Sync>::Trim() noexcept {
  size_t freed = FreeBatches();  // so that there are boxes
  for (bool emptied = false; !emptied;) {
    emptied = EmptyCaches();
    const size_t more = FreeBatches();
    if (more == 0) break;  // not even one box could be made
    freed += more;
  }
  return freed;
}

// False if there were not boxes enough.
template <PoolShape kShape, class Heap, SyncPolicy Sync>
bool BasicSharedPool<kShape, Heap, Sync>::EmptyCaches() noexcept {
  bool emptied = true;
  const uint32_t me = Sync::ThreadIndex();
  Cache* const first = all_.load(std::memory_order::acquire);  // [A5] pairs A1
  for (Cache* cache = first; cache != nullptr; cache = cache->next) {
    if (cache->IsUsedBy(me)) return true;  // the heap, asked for a box, asks for a Trim: the batches are all there is
  }
  for (Cache* cache = first; cache != nullptr; cache = cache->next) {
    if (cache->OwnerVanished() || !cache->Claim(me)) Abandon(*cache);
  }
  Cache::FenceClaims();
  for (Cache* cache = first; cache != nullptr; cache = cache->next) {
    if (!cache->IsClaimedBy(me)) continue;
    if (cache->WaitForOwner()) emptied &= Empty(*cache);
    cache->Unclaim();
  }
  return emptied;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
PoolStats BasicSharedPool<kShape, Heap, Sync>::Stats() const noexcept {
  PoolStats stats;
  uint64_t gets = uncached_misses_.load(std::memory_order::relaxed);
  stats.misses = gets;
  stats.cross_thread_returns = uncached_foreign_returns_.load(std::memory_order::relaxed);
  stats.detached = detached_.load(std::memory_order::relaxed);
  stats.bytes_held = batched_.load(std::memory_order::relaxed);
  for (Cache* cache = all_.load(std::memory_order::acquire); cache != nullptr; cache = cache->next) {  // [A6] pairs A1
    stats.misses += cache->misses.load(std::memory_order::relaxed);
    gets += cache->gets.load(std::memory_order::relaxed);
    stats.cross_thread_returns += cache->foreign_returns.load(std::memory_order::relaxed);
    if (cache->OwnerVanished()) continue;
    for (uint32_t i = 0; i < kClasses; ++i) stats.bytes_held += cache->shelves[i].Held() * SizeOf(i);
  }
  stats.hits = gets - std::min(gets, stats.misses);
  const size_t bytes = bytes_.load(std::memory_order::relaxed);
  stats.bytes_in_use = bytes - std::min(bytes, stats.bytes_held);
  return stats;
}

template <PoolShape kShape, class Heap, SyncPolicy Sync>
BasicSharedPool<kShape, Heap, Sync>::~BasicSharedPool() {
  Cache* const first = all_.load(std::memory_order::relaxed);
  for (Cache* cache = first; cache != nullptr; cache = cache->next) {
    Sync::CancelAtThreadExit(*cache);
    if (cache->OwnerVanished() || cache->claim.load(std::memory_order::relaxed) != 0) continue;  // see Abandon
    for (uint32_t i = 0; i < kClasses; ++i) {
      while (void* block = cache->shelves[i].Pop()) Free(block, SizeOf(i));
    }
  }
  FreeBatches();
  bool whole = true;  // not in the child of a fork: what the other threads had is nowhere
  for (uint32_t thread = 0; thread < Sync::kMaxThreads; ++thread) whole &= !Sync::Vanished(thread);
  HOTPATH_CHECK(!whole || bytes_.load(std::memory_order::relaxed) == 0,
                "a pool is destroyed while a buffer of it lives");
  for (Cache* cache = first; cache != nullptr;) Sync::Delete(std::exchange(cache, cache->next));
}

}  // namespace hotpath

#endif  // HOTPATH_CORE_DETAIL_BUFFER_POOL_SLOW_INL_H_
