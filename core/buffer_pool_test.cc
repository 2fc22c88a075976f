#include "hotpath/core/buffer_pool.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <semaphore>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"

namespace hotpath {
namespace {

// Counts what it has given out; fails when told to.
struct CountingHeap {
  static inline std::atomic<int64_t> blocks{0}, bytes{0};
  static inline std::atomic<bool> fails{false};

  static void* Allocate(size_t n) {
    if (fails) throw std::bad_alloc();
    void* block = PoolHeap::Allocate(n);
    blocks += 1;
    bytes += static_cast<int64_t>(n);
    return block;
  }
  static void Free(void* block, size_t n) noexcept {
    blocks -= 1;
    bytes -= static_cast<int64_t>(n);
    PoolHeap::Free(block, n);
  }
};
using Pool = BasicSharedPool<PoolShape{}, CountingHeap>;
using Pooled = Pool::PooledBuffer;

size_t HeapBytes() { return static_cast<size_t>(CountingHeap::bytes.load()); }

// Every test leaves the heap as it was.
class BufferPoolTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(CountingHeap::blocks.load(), 0); }
  void TearDown() override {
    CountingHeap::fails = false;
    EXPECT_EQ(CountingHeap::blocks.load(), 0) << "leaked";
    EXPECT_EQ(CountingHeap::bytes.load(), 0) << "freed with another size";
  }
};
using BufferPoolDeathTest = BufferPoolTest;

static_assert(!std::is_copy_constructible_v<Buffer> && std::is_nothrow_move_constructible_v<Buffer>);
static_assert(!std::is_copy_assignable_v<PooledBuffer> && std::is_nothrow_move_assignable_v<PooledBuffer>);
static_assert(!std::is_base_of_v<Buffer, PooledBuffer> && !std::is_convertible_v<PooledBuffer, Buffer>);
static_assert(!std::is_copy_constructible_v<SharedPool> && !std::is_move_constructible_v<SharedPool>);
template <class B>
concept DetachesFrom = requires(B b) { static_cast<B>(b).Detach(); };
static_assert(DetachesFrom<PooledBuffer&&> && !DetachesFrom<PooledBuffer&>, "the pool's end of it is spelled out");

void Fill(std::span<std::byte> bytes, unsigned seed) {
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(seed * 31 + i);
}
bool Holds(std::span<const std::byte> bytes, unsigned seed) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != static_cast<std::byte>(seed * 31 + i)) return false;
  }
  return true;
}
std::string_view Text(std::span<const std::byte> bytes) {
  const void* p = bytes.data();
  return {static_cast<const char*>(p), bytes.size()};
}

// ---- Buffers ----

template <class B>
struct BytesTest : testing::Test {};
struct OfHeap {
  using Type = Buffer;
  static Type Make(size_t n) { return Buffer(n); }
};
struct OfPool {
  using Type = PooledBuffer;
  static Type Make(size_t n) { return PooledBuffer::WithCapacity(n); }
};
using Makers = testing::Types<OfHeap, OfPool>;
TYPED_TEST_SUITE(BytesTest, Makers);

TYPED_TEST(BytesTest, CapacityIsAtLeastWhatWasAskedAndSizeIsZero) {
  for (size_t n :
       {0,      1, 7, 8, 9, 12, 63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 4096, 65536, 65537, 1 << 20, (1 << 20) + 1,
        3 << 20}) {
    auto buffer = TypeParam::Make(n);
    EXPECT_GE(buffer.capacity(), n);
    EXPECT_EQ(buffer.size(), 0u);
    EXPECT_TRUE(buffer.empty());
    buffer.resize(n);
    EXPECT_EQ(buffer.span().size(), n);
    Fill(buffer.span(), 5);
    EXPECT_TRUE(Holds(std::as_const(buffer).span(), 5));
    if (n != 0) {
      EXPECT_EQ(std::bit_cast<uintptr_t>(buffer.data()) % PoolHeap::kAlign, 0u);
    }
  }
}

TYPED_TEST(BytesTest, GrowingKeepsTheBytes) {
  auto buffer = TypeParam::Make(0);
  std::string expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string more(static_cast<size_t>(i % 97), static_cast<char>('a' + i % 26));
    buffer.append(more);
    expected += more;
    ASSERT_EQ(buffer.size(), expected.size());
  }
  EXPECT_EQ(Text(buffer.span()), expected);
  buffer.resize(10);
  EXPECT_EQ(Text(buffer.span()), expected.substr(0, 10));
  buffer.reserve(1 << 20);
  EXPECT_GE(buffer.capacity(), size_t{1} << 20);
  EXPECT_EQ(Text(buffer.span()), expected.substr(0, 10));
  buffer.resize(2 << 20);
  EXPECT_EQ(Text(buffer.span().first(10)), expected.substr(0, 10));
  buffer.clear();
  EXPECT_TRUE(buffer.empty());
  buffer.append("again");
  EXPECT_EQ(Text(buffer.span()), "again");
}

TYPED_TEST(BytesTest, BufferMayBeAppendedToItself) {
  auto buffer = TypeParam::Make(0);
  buffer.append("0123456789");
  std::string expected = "0123456789";
  for (int i = 0; i < 12; ++i) {
    buffer.append(buffer.span());
    expected += std::string(expected);
    ASSERT_EQ(Text(buffer.span()), expected);
  }
}

TYPED_TEST(BytesTest, MovedFromIsEmptyAndMayBeUsed) {
  auto a = TypeParam::Make(100);
  a.append("hello");
  const std::byte* data = a.data();
  auto b = std::move(a);
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(a.size() + a.capacity(), 0u);
  a.append("new");
  EXPECT_EQ(Text(a.span()), "new");
  a = std::move(b);
  EXPECT_EQ(a.data(), data);
  EXPECT_EQ(Text(a.span()), "hello");
  auto& self = a;
  a = std::move(self);
  EXPECT_EQ(Text(a.span()), "hello");
  a = typename TypeParam::Type();
  EXPECT_EQ(a.capacity(), 0u);
  a = std::move(b);  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(a.empty());
  a.append("");
  a.append(a.span());
  a.resize(0);
  EXPECT_EQ(a.data(), nullptr) << "nothing was needed";
}

TYPED_TEST(BytesTest, SizeThatCannotExistThrowsAndChangesNothing) {
  auto buffer = TypeParam::Make(10);
  buffer.append("kept");
  for (size_t n : {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2 - 4096}) {
    if (HOTPATH_ASAN && n < SIZE_MAX / 2) continue;  // its operator new ends the process
    EXPECT_THROW(buffer.reserve(n), std::bad_alloc);
    EXPECT_THROW(buffer.resize(n), std::bad_alloc);
    EXPECT_THROW(static_cast<void>(TypeParam::Make(n)), std::bad_alloc);
  }
  EXPECT_EQ(Text(buffer.span()), "kept");
}

TEST_F(BufferPoolTest, NamedSizesAreThoseOfTheContract) {
  EXPECT_EQ(PooledBuffer::Small().capacity(), 1024u);
  EXPECT_EQ(PooledBuffer::Medium().capacity(), 16384u);
  EXPECT_EQ(PooledBuffer::Large().capacity(), 65536u);
  EXPECT_EQ(PooledBuffer::WithCapacity(0).capacity(), 512u);
  EXPECT_EQ(PooledBuffer::WithCapacity((1 << 20) + 1).capacity(), (1u << 20) + 1) << "not pooled: not rounded up";
}

// ---- Hits, misses, and what is kept ----

TEST_F(BufferPoolTest, BufferComesBackToTheNextWhoAsksForItsSize) {
  Pool pool;
  const std::byte* data = nullptr;
  {
    const Pooled buffer = pool.Get(1000);
    data = buffer.data();
    EXPECT_EQ(pool.Stats().bytes_in_use, 1024u);
  }
  EXPECT_EQ(pool.Stats().bytes_held, 1024u);
  const Pooled again = pool.Get(513), other = pool.Get(1024), smaller = pool.Get(512);
  EXPECT_EQ(again.data(), data);
  EXPECT_NE(other.data(), data);
  const PoolStats stats = pool.Stats();
  EXPECT_EQ(stats.hits, 1u);
  EXPECT_EQ(stats.misses, 3u);
  EXPECT_EQ(stats.cross_thread_returns, 0u);
  EXPECT_EQ(stats.bytes_held, 0u);
  EXPECT_EQ(stats.bytes_in_use, 2048u + 512u);
}

TEST_F(BufferPoolTest, WarmGetAndReturnUseNoHeapHoweverManyAreHeld) {
  for (size_t bytes : {512, 4096, 65536}) {
    for (size_t held : {1, 2, 31, 32, 33, 64, 65, 200}) {
      Pool pool;
      std::vector<Pooled> buffers(held);
      const auto round = [&] {
        for (Pooled& buffer : buffers) buffer = pool.Get(bytes);
        for (Pooled& buffer : buffers) buffer = Pooled();
      };
      round();
      round();
      const bench::HeapMark heap;
      for (int i = 0; i < 10; ++i) round();
      EXPECT_EQ(heap.Since(), bench::HeapCount{}) << held << " of " << bytes;
      EXPECT_EQ(pool.Stats().misses, held) << "of " << bytes;
      EXPECT_EQ(pool.Stats().hits, 11 * held);
      EXPECT_EQ(pool.Stats().bytes_held, held * bytes);
    }
  }
}

TEST_F(BufferPoolTest, HeldBytesNeverExceedTheLimitWhateverIsReturned) {
  for (size_t limit : {size_t{0}, size_t{511}, size_t{512}, size_t{5000}, size_t{100'000}, size_t{3} << 20}) {
    Pool pool(PoolOptions{.max_bytes = limit});
    for (size_t bytes : {512, 1024, 4096, 65536, 1 << 20}) {
      for (size_t count : {1, 10, 100}) {
        if (bytes * count > 20 << 20) continue;
        std::vector<Pooled> buffers;
        for (size_t i = 0; i < count; ++i) buffers.push_back(pool.Get(bytes));
        EXPECT_EQ(pool.Stats().bytes_in_use, count * bytes);
        while (!buffers.empty()) {
          buffers.pop_back();
          ASSERT_LE(pool.Stats().bytes_held, limit);
          ASSERT_EQ(HeapBytes(), pool.Stats().bytes_held + pool.Stats().bytes_in_use);
        }
      }
    }
    if (limit >= 100'000) {
      EXPECT_GT(pool.Stats().bytes_held, 0u) << "of " << limit;
    }
  }
}

TEST_F(BufferPoolTest, SmallLimitIsUsedForWhatFits) {
  Pool pool(PoolOptions{.max_bytes = 1024});
  static_cast<void>(pool.Get(1024));
  EXPECT_EQ(pool.Stats().bytes_held, 1024u);
  static_cast<void>(pool.Get(4096));
  EXPECT_EQ(pool.Stats().bytes_held, 1024u);
}

TEST_F(BufferPoolTest, WhatIsLargerThanTheLargestSizeIsNotKept) {
  Pool pool;
  {
    Pooled buffer = pool.Get((1 << 20) + 1);
    buffer.resize(buffer.capacity());
    Fill(buffer.span(), 1);
    EXPECT_EQ(pool.Stats().bytes_in_use, (1u << 20) + 1);
  }
  EXPECT_EQ(pool.Stats().bytes_held + pool.Stats().bytes_in_use, 0u);
  EXPECT_EQ(pool.Stats().misses, 1u);
}

TEST_F(BufferPoolTest, TrimGivesAllOfItBack) {
  Pool pool;
  Pooled kept = pool.Get(3000);
  for (size_t count : {1, 40, 300}) {
    for (size_t bytes : {512, 16384, 65536}) {
      std::vector<Pooled> buffers;
      for (size_t i = 0; i < count; ++i) buffers.push_back(pool.Get(bytes));
    }
    const size_t held = pool.Stats().bytes_held;
    EXPECT_GT(held, 0u);
    EXPECT_EQ(pool.Trim(), held);
    EXPECT_EQ(pool.Stats().bytes_held, 0u);
    EXPECT_EQ(HeapBytes(), 4096u);
    EXPECT_EQ(pool.Trim(), 0u);
  }
}

TEST_F(BufferPoolTest, TrimReachesTheCacheOfAnIdleThread) {
  Pool pool;
  std::binary_semaphore filled{0}, trimmed{0};
  std::thread idle([&] {
    for (size_t bytes : {512, 4096}) static_cast<void>(pool.Get(bytes));
    filled.release();
    trimmed.acquire();
    const Pooled buffer = pool.Get(512);
    EXPECT_EQ(pool.Stats().hits, 0u) << "the thread still has what was trimmed";
  });
  filled.acquire();
  EXPECT_EQ(pool.Trim(), 512u + 4096u);
  EXPECT_EQ(HeapBytes(), 0u);
  trimmed.release();
  idle.join();
}

TEST_F(BufferPoolTest, LimitIsAvailableAgainAfterTrim) {
  Pool pool(PoolOptions{.max_bytes = 100 << 10});
  for (int round = 0; round < 20; ++round) {
    for (size_t bytes : {512, 65536, 4096}) {
      static_cast<void>(pool.Get(bytes));
      EXPECT_EQ(pool.Stats().bytes_held, bytes) << "round " << round;
      EXPECT_EQ(pool.Trim(), bytes);
    }
  }
}

// ---- Who may keep what, when the pool is full ----

TEST_F(BufferPoolTest, FullPoolMakesRoomForAnotherSize) {
  for (bool in_use : {false, true}) {
    for (size_t threads : {0, 1}) {
      constexpr size_t kMost = 1 << 20;
      Pool pool(PoolOptions{.max_bytes = kMost});
      std::vector<Pooled> large;
      const auto fill = [&] {
        for (int i = 0; i < 64; ++i) large.push_back(pool.Get(16 << 10));
        large.clear();
        if (!in_use) return;
        for (int i = 0; i < 64; ++i) large.push_back(pool.Get(16 << 10));
      };
      if (threads == 0) fill();
      if (threads == 1) std::thread(fill).join();
      EXPECT_EQ(pool.Stats().bytes_held, in_use ? 0 : kMost);
      const uint64_t before = pool.Stats().misses;
      for (int i = 0; i < 1000; ++i) static_cast<void>(pool.Get(512));
      EXPECT_LE(pool.Stats().misses - before, 1u);
      for (int i = 0; i < 1000; ++i) static_cast<void>(pool.Get(128 << 10));
      EXPECT_LE(pool.Stats().misses - before, 2u);
      EXPECT_LE(pool.Stats().bytes_held, kMost);
    }
  }
}

TEST_F(BufferPoolTest, WhatIsTooLargeForThePoolDrivesNothingOut) {
  Pool pool(PoolOptions{.max_bytes = 8 << 10});
  for (size_t bytes : {512, 1024, 2048}) static_cast<void>(pool.Get(bytes));
  static_cast<void>(pool.Get(16 << 10));
  EXPECT_EQ(pool.Stats().bytes_held, 512u + 1024u + 2048u);
}

// Rounds of get here and drop there.
template <class Get>
void HandOver(size_t rounds, const Get& get) {
  std::vector<Pooled> in_transit;
  std::binary_semaphore full{0}, empty{1};
  std::thread consumer([&] {
    for (size_t i = 0; i < rounds; ++i) {
      full.acquire();
      in_transit.clear();
      empty.release();
    }
  });
  for (size_t i = 0; i < rounds; ++i) {
    empty.acquire();
    get(in_transit);
    full.release();
  }
  consumer.join();
}

TEST_F(BufferPoolTest, RoomThatOneThreadFilledGoesToTheOneThatDropsWhatItGets) {
  Pool pool(PoolOptions{.max_bytes = 2 << 20});
  std::vector<Pooled> buffers;
  for (int i = 0; i < 64; ++i) buffers.push_back(pool.Get(32 << 10));
  buffers.clear();
  HandOver(1000, [&](std::vector<Pooled>& in_transit) {
    for (int i = 0; i < 16; ++i) in_transit.push_back(pool.Get(32 << 10));
  });
  EXPECT_LE(pool.Stats().misses, 64u + 16u);
}

TEST_F(BufferPoolTest, RoomThatOneThreadReservedInAllSizesGoesToTheOneThatDropsWhatItGets) {
  constexpr size_t kMost = 1 << 20;
  Pool pool(PoolOptions{.max_bytes = kMost});
  // Of each of seven sizes, an eighth of the limit.
  const auto get = [&](std::vector<Pooled>& buffers, size_t part) {
    for (size_t bytes = 2 << 10; bytes <= 128 << 10; bytes *= 2) {
      for (size_t n = std::max<size_t>(part / bytes, 1); n > 0; --n) buffers.push_back(pool.Get(bytes));
    }
  };
  std::vector<Pooled> buffers;
  get(buffers, kMost / 8);
  buffers.clear();
  EXPECT_EQ(pool.Stats().bytes_held, kMost / 8 * 7) << "all of it in the cache of this thread";
  const uint64_t before = pool.Stats().misses;
  HandOver(1000, [&](std::vector<Pooled>& in_transit) { get(in_transit, kMost / 16); });
  EXPECT_LE(pool.Stats().misses - before, 1000 * 64 / 4) << "the other thread keeps nearly all of it";
}

// ---- Detach ----

TEST_F(BufferPoolTest, DetachedBytesStayWhereTheyAreAndThePoolIsTold) {
  BasicBuffer<CountingHeap> kept;
  {
    Pool pool;
    Pooled buffer = pool.Get(5000);
    buffer.append("hello");
    const std::byte* data = buffer.data();
    kept = std::move(buffer).Detach();
    EXPECT_EQ(kept.data(), data);
    EXPECT_EQ(kept.capacity(), 8192u);
    EXPECT_EQ(buffer.data(), nullptr);  // NOLINT(bugprone-use-after-move)
    const PoolStats stats = pool.Stats();
    EXPECT_EQ(stats.detached, 1u);
    EXPECT_EQ(stats.bytes_in_use + stats.bytes_held, 0u);
    EXPECT_TRUE(std::move(buffer).Detach().empty()) << "there is nothing left to detach";
    EXPECT_EQ(pool.Stats().detached, 1u);
    kept.append(std::string(10'000, 'x'));
    EXPECT_EQ(std::move(pool.Get(2 << 20)).Detach().capacity(), 2u << 20);
  }
  EXPECT_EQ(Text(kept.span().first(6)), "hellox") << "outlives the pool";
}

// ---- Scrub ----

bool IsZero(const Pooled& buffer) {
  return std::all_of(buffer.data(), buffer.data() + buffer.capacity(), [](std::byte b) { return b == std::byte{0}; });
}

TEST_F(BufferPoolTest, ScrubbedBuffersAreZeroUpToTheirCapacityNewOrNot) {
  Pool pool(PoolOptions{.scrub = true});
  for (int round = 0; round < 3; ++round) {
    for (size_t bytes : {1, 512, 5000, 65536, (1 << 20) + 5}) {
      Pooled buffer = pool.Get(bytes);
      EXPECT_TRUE(IsZero(buffer)) << bytes << " in round " << round;
      buffer.resize(buffer.capacity());
      Fill(buffer.span(), 3);
      buffer.resize(1);
      buffer.append(std::string(buffer.capacity(), 'x'));  // moves it
    }
  }
}

TEST_F(BufferPoolTest, WithoutScrubNothingIsFilled) {
  Pool pool;
  const std::byte* data;
  {
    Pooled buffer = pool.Get(512);
    data = buffer.data();
    buffer.resize(512);
    Fill(buffer.span(), 9);
  }
  Pooled again = pool.Get(512);
  ASSERT_EQ(again.data(), data);
  again.resize(512);
  EXPECT_TRUE(Holds(again.span(), 9));
}

// ---- Threads ----

TEST_F(BufferPoolTest, BuffersFreedByAnotherThreadComeBackToUse) {
  Pool pool;
  constexpr size_t kRounds = 100, kAtOnce = 50;
  std::vector<Pooled> in_transit;
  std::binary_semaphore full{0}, empty{1};
  std::thread consumer([&] {
    for (size_t i = 0; i < kRounds; ++i) {
      full.acquire();
      in_transit.clear();
      empty.release();
    }
  });
  for (size_t i = 0; i < kRounds; ++i) {
    empty.acquire();
    for (size_t j = 0; j < kAtOnce; ++j) in_transit.push_back(pool.Get(4096));
    full.release();
  }
  consumer.join();
  const PoolStats stats = pool.Stats();
  EXPECT_EQ(stats.cross_thread_returns, kRounds * kAtOnce);
  EXPECT_EQ(stats.hits + stats.misses, kRounds * kAtOnce);
  EXPECT_LE(stats.misses, 64 + 32 + kAtOnce) << "what the consumer keeps, a batch, and what is in transit";
  EXPECT_EQ(stats.bytes_held, stats.misses * 4096);
}

TEST_F(BufferPoolTest, WhatAThreadKeptIsFoundWhenItHasEnded) {
  Pool pool;
  std::set<const std::byte*> theirs;
  std::thread([&] {
    std::vector<Pooled> buffers;
    for (int i = 0; i < 70; ++i) theirs.insert(buffers.emplace_back(pool.Get(512)).data());
  }).join();
  std::vector<Pooled> mine;
  for (int i = 0; i < 70; ++i) EXPECT_TRUE(theirs.contains(mine.emplace_back(pool.Get(512)).data()));
  EXPECT_EQ(pool.Stats().misses, 70u);
}

TEST_F(BufferPoolTest, ThreadsThatComeAndGoUseTheSameCacheAndLimit) {
  Pool pool(PoolOptions{.max_bytes = 8192});
  for (int i = 0; i < 50; ++i) {
    std::thread([&] { const Pooled buffer = pool.Get(4096), other = pool.Get(4096); }).join();
    EXPECT_EQ(pool.Stats().bytes_held, 8192u);
  }
  EXPECT_EQ(pool.Stats().misses, 2u);
}

TEST_F(BufferPoolTest, PoolMayEndBeforeTheThreadsThatUsedIt) {
  std::binary_semaphore used{0}, gone{0};
  auto pool = std::make_unique<Pool>();
  std::thread thread([&] {
    static_cast<void>(pool->Get(4096));
    used.release();
    gone.acquire();
  });
  used.acquire();
  pool.reset();
  EXPECT_EQ(CountingHeap::blocks.load(), 0);
  gone.release();
  thread.join();
}

// A buffer dropped in the teardown of its thread, after or before the thread's other use of the pool.
thread_local PooledBuffer t_dropped_at_teardown;

TEST_F(BufferPoolTest, BufferMayBeDroppedByTheDestructorOfAThreadLocal) {
  const size_t before = SharedPool::Default().Stats().bytes_in_use;
  std::thread([] { t_dropped_at_teardown = PooledBuffer::Small(); }).join();
  std::thread([] {
    t_dropped_at_teardown.clear();
    static_cast<void>(PooledBuffer::Small());
    t_dropped_at_teardown = PooledBuffer::Small();
  }).join();
  PooledBuffer passed = PooledBuffer::Small();  // the other thread's first use of the pool is in its teardown
  std::thread([&] { t_dropped_at_teardown = std::move(passed); }).join();
  EXPECT_EQ(SharedPool::Default().Stats().bytes_in_use, before);
}

TEST_F(BufferPoolTest, BuffersMayBeUsedByDestructorsOfPthreadKeysAndByExitHooks) {
  static Pool* pool;
  Pool here;
  pool = &here;
  pthread_key_t key;
  ASSERT_EQ(pthread_key_create(&key,
                               [](void* p) {
                                 const Pooled taken = pool->Get(512);
                                 delete static_cast<Pooled*>(p);
                               }),
            0);
  ThreadExitHook hook([](ThreadExitHook&) { static_cast<void>(pool->Get(512)); });
  std::thread([&] {
    StdSync::AtThreadExit(hook);  // before the pool's: runs when the cache has been emptied
    auto* buffer = new Pooled(pool->Get(512));
    ASSERT_EQ(pthread_setspecific(key, buffer), 0);
  }).join();
  EXPECT_EQ(pool->Stats().bytes_in_use, 0u);
  EXPECT_EQ(pool->Stats().bytes_held, HeapBytes());
  ASSERT_EQ(pthread_key_delete(key), 0);
}

TEST_F(BufferPoolDeathTest, StaticDestructorsMayUseTheProcessesPool) {
  EXPECT_EXIT(
      {
        struct AtExit {
          ~AtExit() {
            buffer = PooledBuffer::Large();
            _exit(buffer.capacity() == 65536 ? 17 : 1);
          }
          PooledBuffer buffer;
        };
        static AtExit at_exit;
        exit(2);
      },
      testing::ExitedWithCode(17), "");
}

TEST_F(BufferPoolDeathTest, PoolThatEndsBeforeABufferIsNamed) {
  EXPECT_DEATH(
      {
        auto pool = std::make_unique<Pool>();
        const Pooled buffer = pool->Get(1);
        pool.reset();
      },
      "a pool is destroyed while a buffer of it lives");
}

// ---- fork ----

int RunChild(auto body) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST_F(BufferPoolTest, ChildOfAForkGoesOnWithItsOwnCopy) {
  Pool pool;
  Pooled buffer = pool.Get(4096);
  static_cast<void>(pool.Get(512));
  std::binary_semaphore filled{0}, done{0};
  std::thread other([&] {
    static_cast<void>(pool.Get(512 << 3));
    filled.release();
    done.acquire();
  });
  filled.acquire();
  EXPECT_EQ(RunChild([&] {
              buffer = Pooled();
              const Pooled mine = pool.Get(4096), small = pool.Get(512);
              const bool held = pool.Stats().hits == 2;
              const bool trims = (pool.Trim(), pool.Stats().bytes_held == 0);  // skips the vanished thread's
              std::thread([&] { static_cast<void>(pool.Get(100)); }).join();
              return held && trims;
            }),
            0);
  EXPECT_EQ(pool.Stats().bytes_in_use, 4096u);
  done.release();
  other.join();
}

TEST_F(BufferPoolTest, ChildOfAForkIsNotHeldUpByOthersInTheMiddleOfAnything) {
  Pool pool;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!stop) pool.Trim();
  });
  threads.emplace_back([&] {
    while (!stop) {
      const Pooled a = pool.Get(512), b = pool.Get(512), c = pool.Get(600);
    }
  });
  for (int i = 0; i < 30; ++i) {
    static_cast<void>(pool.Get(512));
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);  // a child that hangs fails
      std::vector<Pooled> buffers;
      for (int j = 0; j < 100; ++j) buffers.push_back(pool.Get(512));
      buffers.clear();
      pool.Trim();
      const PoolStats trimmed = pool.Stats();
      static_cast<void>(pool.Get(512));
      static_cast<void>(pool.Get(512));
      // Each of the other threads may have been moving a batch.
      _exit(trimmed.bytes_held <= 2 * 32 * 1024 && pool.Stats().hits > trimmed.hits ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "child " << i;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

// Stops a thread that wants to be stopped in its heavy fence: a Trim has then claimed all caches, and emptied none.
struct StoppingSync : StdSync {
  static inline thread_local bool stops = false;
  static inline std::binary_semaphore stopped{0}, go_on{0};
  static void HeavyFence() {
    if (stops) {
      stopped.release();
      go_on.acquire();
    }
    StdSync::HeavyFence();
  }
};

TEST_F(BufferPoolTest, ChildOfAForkDuringAnothersTrimLosesItsCacheButNoRoom) {
  constexpr size_t kMost = 64 << 10, kCount = kMost / 4096;
  BasicSharedPool<PoolShape{}, CountingHeap, StoppingSync> pool(PoolOptions{.max_bytes = kMost});
  const auto fill = [&] {
    std::vector<BasicPooledBuffer<PoolShape{}, CountingHeap, StoppingSync>> buffers;
    for (size_t i = 0; i < kCount; ++i) buffers.push_back(pool.Get(4096));
  };
  std::thread(fill).join();  // leaves a cache of nobody's, which is claimed too
  std::binary_semaphore filled{0}, done{0};
  std::thread other([&] {
    fill();
    filled.release();
    done.acquire();
  });
  filled.acquire();
  static_cast<void>(pool.Get(512));
  std::thread trimmer([&] {
    StoppingSync::stops = true;
    static_cast<void>(pool.Trim());
  });
  StoppingSync::stopped.acquire();
  EXPECT_EQ(RunChild([&] {
              alarm(60);
              static_cast<void>(pool.Trim());
              if (pool.Stats().bytes_held != 0) return false;
              fill();
              if (pool.Stats().bytes_held != kMost) return false;
              const PoolStats before = pool.Stats();
              fill();
              if (pool.Stats().hits != before.hits + kCount) return false;
              static_cast<void>(pool.Trim());
              return pool.Stats().bytes_held == 0;
            }),
            0);
  StoppingSync::go_on.release();
  trimmer.join();
  done.release();
  other.join();
  EXPECT_EQ(pool.Stats().bytes_in_use, 0u);
}

TEST_F(BufferPoolTest, ChildOfAForkMayEndAPoolOfWhichAVanishedThreadHasABuffer) {
  auto pool = std::make_unique<Pool>();
  std::binary_semaphore has{0}, done{0};
  std::thread other([&] {
    const Pooled unpooled = pool->Get(2 << 20);  // for which a thread needs no cache
    has.release();
    done.acquire();
  });
  has.acquire();
  EXPECT_EQ(RunChild([&] {
              pool.reset();
              return true;
            }),
            0);
  done.release();
  other.join();
}

// ---- Failure ----

TEST_F(BufferPoolTest, FailureOfTheHeapReachesTheCallerAndChangesNothing) {
  Pool pool;
  {
    const Pooled warm = pool.Get(512);
  }
  CountingHeap::fails = true;
  Pooled held = pool.Get(512);  // from the cache
  held.append("kept");
  EXPECT_THROW(static_cast<void>(pool.Get(512)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(pool.Get(2 << 20)), std::bad_alloc);
  EXPECT_THROW(held.append(std::string(10'000, 'x')), std::bad_alloc);
  EXPECT_THROW(held.resize(10'000), std::bad_alloc);
  EXPECT_EQ(Text(held.span()), "kept");
  EXPECT_EQ(pool.Stats().bytes_in_use, 512u);
  EXPECT_EQ(pool.Stats().misses, 1u);
}

TEST_F(BufferPoolTest, ReturnNeedsNoMemory) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "the sanitizer's runtime insists on its own operator new";
  for (size_t bytes : {512, 65536}) {
    Pool pool;
    std::vector<Pooled> buffers;
    for (int i = 0; i < 300; ++i) buffers.push_back(pool.Get(bytes));
    std::thread([&] {
      const bench::HeapFailure fail;  // no cache, and no batch, can be made
      while (buffers.size() > 150) buffers.pop_back();
    }).join();
    EXPECT_EQ(pool.Stats().bytes_held, 0u);
    EXPECT_EQ(pool.Stats().bytes_in_use, 150 * bytes);
    EXPECT_EQ(pool.Stats().cross_thread_returns, 150u);
    {
      const bench::HeapFailure fail;  // the cache is there, no batch can be made
      while (!buffers.empty()) buffers.pop_back();
    }
    EXPECT_EQ(pool.Stats().bytes_held, HeapBytes());
    EXPECT_GT(HeapBytes(), 0u);
    EXPECT_LE(HeapBytes(), 64 * bytes);
    {
      const bench::HeapFailure fail;
      EXPECT_EQ(pool.Trim(), 0u) << "there are no boxes: it stays where it is";
    }
    EXPECT_GT(pool.Trim(), 0u);
    EXPECT_EQ(HeapBytes(), 0u);
  }
}

TEST_F(BufferPoolTest, NewHandlerMayTrimThePoolThatAsksForMemory) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "the sanitizer's runtime insists on its own operator new";
  static Pool* asking;
  static int calls;
  Pool pool;
  asking = &pool;
  calls = 0;
  const std::new_handler before = std::set_new_handler([] {
    ++calls;
    if (asking->Trim() == 0) throw std::bad_alloc();
  });
  std::vector<Pooled> buffers;
  for (int i = 0; i < 300; ++i) buffers.push_back(pool.Get(512));
  {
    const bench::HeapFailure fail;
    while (buffers.size() > 100) buffers.pop_back();  // asks for a box, from inside the cache
    EXPECT_GT(std::exchange(calls, 0), 0);
    EXPECT_EQ(pool.Trim(), 0u);  // asks for one, with the cache claimed
    EXPECT_GT(std::exchange(calls, 0), 0);
    EXPECT_THROW(static_cast<void>(pool.Get(2 << 20)), std::bad_alloc) << "there is nothing to trim but what is cached";
    EXPECT_GT(std::exchange(calls, 0), 0);
  }
  std::set_new_handler(before);
  buffers.clear();
  EXPECT_EQ(pool.Stats().bytes_held, HeapBytes());
  EXPECT_GT(pool.Trim(), 0u);
}

// ---- What an operation costs ----

using Counting = CountingSync<>;

TEST_F(BufferPoolTest, WarmGetAndReturnCostNoRmwNoFenceAndSevenStores) {
  BasicSharedPool<PoolShape{}, CountingHeap, Counting> pool;
  for (int i = 0; i < 2; ++i) static_cast<void>(pool.Get(4096));
  const SyncCounts counts = Counting::CountsOf([&] {
    const auto buffer = pool.Get(4096);
    EXPECT_EQ(Counting::counts.stores, 4u) << "in, the block, the counter, out";
  });
  EXPECT_EQ(counts.stores, 7u) << "in, the block, out";
  EXPECT_EQ(counts.rmws + counts.fences + counts.heavy_fences, 0u);
}

TEST_F(BufferPoolTest, BuffersThatPassThroughBatchesCostLessThanOneRmwEach) {
  BasicSharedPool<PoolShape{}, CountingHeap, Counting> pool;
  using Buffers = std::vector<BasicPooledBuffer<PoolShape{}, CountingHeap, Counting>>;
  Buffers buffers(1000);
  const auto round = [&] {
    for (auto& buffer : buffers) buffer = pool.Get(512);
    for (auto& buffer : buffers) buffer = {};
  };
  round();
  const SyncCounts counts = Counting::CountsOf(round);
  EXPECT_EQ(pool.Stats().misses, 1000u);
  EXPECT_LE(counts.rmws, 2u * 5 * (1000 / 32 + 1)) << "a batch: its box, its list, three counters";
  EXPECT_EQ(counts.fences + counts.heavy_fences, 0u);
}

#if HOTPATH_ASAN

[[gnu::noinline]] int ReadThrough(const volatile std::byte* p) { return static_cast<int>(*p); }

TEST_F(BufferPoolDeathTest, UseOfABufferThatWentBackIsReported) {
  Pool pool;
  const std::byte* dangling;
  {
    const Pooled buffer = pool.Get(4096);
    dangling = buffer.data();
    EXPECT_EQ(ReadThrough(dangling + 4095) * 0, 0);
  }
  EXPECT_DEATH(ReadThrough(dangling), "use-after-poison");
  EXPECT_DEATH(ReadThrough(dangling + 4095), "use-after-poison");
  const Pooled again = pool.Get(4096);
  EXPECT_EQ(ReadThrough(dangling + 4095) * 0, 0);
}

#endif

}  // namespace
}  // namespace hotpath
