// Buffers of all sizes go from thread to thread, are dropped, grown, detached and trimmed away. Each is filled with its
// holder's pattern while it is held: what two have at once shows. In the end every byte is accounted for.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/buffer_pool.h"
#include "hotpath/core/detail/buffer_pool_testing.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

using buffer_pool_internal::TestAccess;

struct CountingHeap {
  static inline std::atomic<int64_t> blocks{0}, bytes{0};
  static inline thread_local Rng* fails_now_and_then = nullptr;

  static void* Allocate(size_t n) {
    if (fails_now_and_then != nullptr && fails_now_and_then->OneIn(4)) throw std::bad_alloc();
    blocks.fetch_add(1, std::memory_order::relaxed);
    bytes.fetch_add(static_cast<int64_t>(n), std::memory_order::relaxed);
    return PoolHeap::Allocate(n);
  }
  static void Free(void* block, size_t n) noexcept {
    blocks.fetch_sub(1, std::memory_order::relaxed);
    bytes.fetch_sub(static_cast<int64_t>(n), std::memory_order::relaxed);
    PoolHeap::Free(block, n);
  }
};

// Counts the turns of threads that wait for another: at a claim, or for an owner to come out.
template <class Base>
struct WaitsCounted : Base {
  static inline std::atomic<uint64_t> waits{0};
  static void Pause() noexcept {
    waits.fetch_add(1, std::memory_order::relaxed);
    Base::Pause();
  }
};

template <class P, class S>
struct Case {
  using Pool = P;
  using Sync = S;
};
// As shipped, and so small that everything overflows all the time.
constexpr PoolShape kTiny{
    .smallest = 64, .classes = 3, .batch = 2, .thread_bytes = 1 << 20, .boxes_per_chunk = 2, .chunks = 64};
using Std = WaitsCounted<StdSync>;
using Chaos = WaitsCounted<ChaosSync>;
using Cases = testing::Types<Case<BasicSharedPool<PoolShape{}, CountingHeap, Std>, Std>,
                             Case<BasicSharedPool<kTiny, CountingHeap, Std>, Std>,
                             Case<BasicSharedPool<kTiny, CountingHeap, Chaos>, Chaos>>;
template <class C>
struct BufferPoolStress : testing::Test {};
TYPED_TEST_SUITE(BufferPoolStress, Cases);

// A buffer and what its holder wrote into it.
template <class Buffer>
struct Held {
  Held() = default;
  Held(Buffer b, uint64_t seed, uint32_t by) : buffer(std::move(b)), seed(seed), by(by) { Write(); }

  void Write() {
    buffer.resize(std::min<size_t>(buffer.capacity(), 200));
    for (size_t i = 0; i < buffer.size(); ++i) buffer.data()[i] = static_cast<std::byte>(seed + i);
  }
  bool IsWhole() const {
    for (size_t i = 0; i < buffer.size(); ++i) {
      if (buffer.data()[i] != static_cast<std::byte>(seed + i)) return false;
    }
    return true;
  }

  Buffer buffer;
  uint64_t seed = 0;
  uint32_t by = 0;
};

template <class Buffer>
class Exchange {
 public:
  void Put(Held<Buffer> held) {
    std::lock_guard lock(mu_);
    held_.push_back(std::move(held));
  }
  bool Take(Rng& rng, Held<Buffer>& out) {
    std::lock_guard lock(mu_);
    if (held_.empty()) return false;
    std::swap(held_[rng.Below(held_.size())], held_.back());
    out = std::move(held_.back());
    held_.pop_back();
    return true;
  }

 private:
  std::mutex mu_;
  std::vector<Held<Buffer>> held_;
};

template <class Pool>
void ExpectBalanced(Pool& pool, size_t max_bytes) {
  const PoolStats stats = pool.Stats();
  EXPECT_LE(stats.bytes_held, max_bytes);
  EXPECT_LE(TestAccess::Reserved(pool), max_bytes);
  EXPECT_EQ(TestAccess::Reserved(pool), TestAccess::ReservedForThem(pool));
  EXPECT_EQ(static_cast<int64_t>(stats.bytes_held + stats.bytes_in_use), CountingHeap::bytes.load());
}

template <class TypeParam>
void RunExchange(bool fails) {
  using Pool = typename TypeParam::Pool;
  using Buffer = typename Pool::PooledBuffer;
  constexpr size_t kMaxBytes = 200'000;
  TypeParam::Sync::waits = 0;
  std::atomic<uint64_t> gets{0}, foreign{0}, failures{0};
  {
    Pool pool(PoolOptions{.max_bytes = kMaxBytes});
    {
      Exchange<Buffer> exchange;
      std::array<std::vector<Held<Buffer>>, 4> hands;
      Storm storm;
      for (std::vector<Held<Buffer>>& held : hands)
        storm.Crowd(1, [&](Rng& rng) {
          const uint32_t me = StdSync::ThreadIndex();
          const uint64_t choice = rng.Below(32);
          if (choice < 12) {
            if (held.size() > 40) held.clear();
            CountingHeap::fails_now_and_then = fails ? &rng : nullptr;
            try {
              held.emplace_back(pool.Get(rng.OneIn(16) ? rng.Below(3000) : rng.Below(256)), rng(), me);
              gets.fetch_add(1, std::memory_order::relaxed);
            } catch (const std::bad_alloc&) {
              failures.fetch_add(1, std::memory_order::relaxed);
            }
            CountingHeap::fails_now_and_then = nullptr;
          } else if (choice < 18 && !held.empty()) {
            exchange.Put(std::move(held.back()));
            held.pop_back();
          } else if (choice < 24) {
            Held<Buffer> taken;
            if (!exchange.Take(rng, taken)) return;
            ASSERT_TRUE(taken.IsWhole()) << "two had one buffer";
            if (taken.by != me) {
              storm.Collided();
              foreign.fetch_add(1, std::memory_order::relaxed);
            }
          } else if (choice < 29) {
            for (uint64_t n = rng.Below(held.size() + 1); n > 0; --n) {
              ASSERT_TRUE(held.back().IsWhole()) << "two had one buffer";
              held.pop_back();
            }
          } else if (choice < 30 && !held.empty()) {
            auto detached = std::move(held.back().buffer).Detach();
            held.pop_back();
            detached.append("x");
          } else if (rng.OneIn(2)) {
            ASSERT_LE(TestAccess::Reserved(pool), kMaxBytes);
            static_cast<void>(pool.Stats());
          } else {
            pool.Trim();
          }
        });
      storm.MustCollide("a buffer came back on another thread than the one that got it");
      if (fails) storm.MustHappen("the heap failed", [&] { return failures.load() != 0; });
      if (std::is_same_v<typename TypeParam::Sync, Chaos>) {
        storm.MustHappen("a trimmer met an owner inside its cache", [] { return TypeParam::Sync::waits.load() != 0; });
      }
      storm.Run();
    }
    ExpectBalanced(pool, kMaxBytes);
    const PoolStats stats = pool.Stats();
    EXPECT_EQ(stats.bytes_in_use, 0u);
    EXPECT_EQ(stats.hits + stats.misses, gets.load());
    EXPECT_GE(stats.cross_thread_returns, foreign.load());
    pool.Trim();
    EXPECT_EQ(pool.Stats().bytes_held, 0u);
    EXPECT_EQ(TestAccess::Reserved(pool), 0u);
  }
  EXPECT_EQ(failures.load() != 0, fails);
  EXPECT_EQ(CountingHeap::blocks.load(), 0);
  EXPECT_EQ(CountingHeap::bytes.load(), 0);
}

TYPED_TEST(BufferPoolStress, NoBufferIsOwnedTwiceAndEveryByteIsAccountedFor) { RunExchange<TypeParam>(false); }
TYPED_TEST(BufferPoolStress, NorWhileTheHeapFails) { RunExchange<TypeParam>(true); }

// Threads end while others use, trim and count what they kept; some drop their last buffers in teardown.
template <class Buffer>
struct AtTeardown {
  static inline thread_local AtTeardown dropped;
  std::vector<Buffer> buffers;
};

TYPED_TEST(BufferPoolStress, WhatThreadsKeptIsFoundWhereverTheyEnd) {
  using Pool = typename TypeParam::Pool;
  using Buffer = typename Pool::PooledBuffer;
  constexpr size_t kMaxBytes = 1 << 20;
  {
    Pool pool(PoolOptions{.max_bytes = kMaxBytes});
    std::atomic<uint64_t> ended{0};
    Storm storm;
    storm.Crowd(2, [&](Rng& rng) {
      std::thread([&] {
        std::vector<Buffer>& late = AtTeardown<Buffer>::dropped.buffers;
        std::vector<Held<Buffer>> held;
        for (uint64_t n = rng.Below(20); n > 0; --n) held.emplace_back(pool.Get(rng.Below(200)), n, 0);
        for (const auto& h : held) ASSERT_TRUE(h.IsWhole());
        for (uint64_t n = rng.Below(3); n > 0; --n) late.push_back(pool.Get(100));
      }).join();
      ended.fetch_add(1, std::memory_order::relaxed);
    });
    storm.Crowd(1, [&, before = uint64_t{0}](Rng& rng) mutable {
      std::vector<Held<Buffer>> held;
      for (uint64_t n = rng.Below(10); n > 0; --n) held.emplace_back(pool.Get(rng.Below(200)), n, 0);
      if (rng.OneIn(4)) pool.Trim();
      for (const auto& h : held) ASSERT_TRUE(h.IsWhole());
      const uint64_t now = ended.load(std::memory_order::relaxed);
      if (now > before) storm.Collided();
      before = now;
    });
    storm.MustCollide("a thread ended while another used the pool");
    storm.Run();
    ExpectBalanced(pool, kMaxBytes);
    EXPECT_EQ(pool.Stats().bytes_in_use, 0u);
  }
  EXPECT_EQ(CountingHeap::blocks.load(), 0);
}

}  // namespace
}  // namespace hotpath::stress
