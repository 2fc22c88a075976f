// Threads share no arena, so what can go wrong is in between: a thread's arena outliving it or dying early, an index
// handed to the next thread with its arena, an arena handed on with what is in it. Every object is counted in and out.

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/arena.h"
#include "hotpath/core/base/sync.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

constexpr int kMaxDepth = 6;

std::atomic<int64_t> g_made{0}, g_destroyed{0};

struct Counted {
  Counted() { g_made.fetch_add(1, std::memory_order::relaxed); }
  Counted(const Counted&) = delete;
  ~Counted() { g_destroyed.fetch_add(1, std::memory_order::relaxed); }
  uint64_t payload = 0x1234567812345678;
};

// Makes its count start over, and checks at its end that every object made was destroyed.
class Conservation {
 public:
  Conservation() { g_made = g_destroyed = 0; }
  ~Conservation() {
    EXPECT_GT(g_made.load(), 0);
    EXPECT_EQ(g_made.load(), g_destroyed.load());
  }
};

struct Stop {};

bool Stops(auto f) {
  try {
    f();
    return false;
  } catch (const Stop&) {
    return true;
  }
}

enum class Leave : uint8_t { kReturn, kExitThread };

// Nests calls at random, some of which throw, and checks that each keeps its bytes while those inside it come and go.
// The innermost may end the thread instead of returning.
void Descend(Rng& rng, int depth, Leave leave) {
  WithArena([&](Arena& arena) {
    const uint64_t seed = rng();
    std::span<uint64_t> mine = arena.NewArray<uint64_t>(rng.OneIn(64) ? rng.Below(40'000) : rng.Below(200));
    std::ranges::fill(mine, seed);
    for (uint64_t n = rng.Below(4); n > 0; --n) arena.New<Counted>();
    arena.NewArray<Counted>(rng.Below(4));
    ArenaVector<uint64_t> grown(arena);
    for (uint64_t n = rng.Below(50); n > 0; --n) grown.push_back(seed + n);
    if (depth == 0) {
      if (leave == Leave::kExitThread) pthread_exit(nullptr);
      if (rng.OneIn(8)) throw Stop();
    } else {
      for (uint64_t n = 1 + rng.Below(2); n > 0; --n) {
        const bool stopped = Stops([&] { Descend(rng, depth - 1, n == 1 ? leave : Leave::kReturn); });
        if (stopped && rng.OneIn(4)) throw Stop();
      }
    }
    EXPECT_TRUE(std::ranges::all_of(mine, [&](uint64_t word) { return word == seed; }));
    for (size_t i = 0; i < grown.size(); ++i) EXPECT_EQ(grown[i], seed + grown.size() - i);
  });
}

void ExpectEmptyAndWithinTheLimit() {
  WithArena([](Arena& arena) {
    EXPECT_EQ(arena.BytesUsed(), 0u);
    EXPECT_LE(arena.BytesReserved(), ArenaOptions().max_retained);
  });
}

TEST(ArenaStress, CallsOfManyThreadsKeepTheirBytesAndRewind) {
  const Conservation conservation;
  std::atomic<int> inside{0};
  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    if (inside.fetch_add(1, std::memory_order::relaxed) > 0) storm.Collided();
    Stops([&] { Descend(rng, static_cast<int>(rng.Below(kMaxDepth)), Leave::kReturn); });
    inside.fetch_sub(1, std::memory_order::relaxed);
    ExpectEmptyAndWithinTheLimit();
    if (rng.OneIn(16)) TrimThreadArena();
  });
  storm.MustCollide("two threads were inside WithArena at once");
  storm.Run();
}

// Uses the arena during the teardown of its thread, where nothing may throw.
struct AtTeardown {
  ~AtTeardown() {
    if (words == 0) return;
    WithArena([&](Arena& arena) {
      std::span<uint64_t> mine = arena.NewArray<uint64_t>(words);
      std::ranges::fill(mine, words);
      arena.New<Counted>();
      WithArena([&](Arena& inner) { std::ranges::fill(inner.NewArray<uint64_t>(words), 0); });
      EXPECT_TRUE(std::ranges::all_of(mine, [&](uint64_t word) { return word == words; }));
    });
  }
  size_t words = 0;
};
thread_local AtTeardown t_at_teardown;

TEST(ArenaStress, ThreadsThatEndAnywhereLeaveNoArenaToTheNextOwnerOfTheirIndex) {
  {
    const Conservation conservation;
    std::array<std::atomic<bool>, StdSync::kMaxThreads> had_an_owner{};
    Storm storm;
    storm.Crowd(3, [&](Rng& rng) {
      std::thread([&] {
        const uint32_t index = StdSync::ThreadIndex();
        if (had_an_owner[index].exchange(true, std::memory_order::relaxed)) storm.Collided();
        EXPECT_EQ(arena_internal::thread_arenas[index], nullptr) << "left by the thread before";
        if (rng.OneIn(2)) t_at_teardown.words = 1 + rng.Below(5000);
        if (rng.OneIn(4)) return;  // perhaps the first use of all is in teardown
        const Leave leave = rng.OneIn(2) ? Leave::kExitThread : Leave::kReturn;
        Stops([&] { Descend(rng, static_cast<int>(rng.Below(kMaxDepth)), leave); });
        ExpectEmptyAndWithinTheLimit();
      }).join();
    });
    storm.MustCollide("a thread got the index of one that had ended");
    storm.Run();
  }
  for (uint32_t i = 0; i < StdSync::kMaxThreads; ++i) {
    if (i == StdSync::ThreadIndex()) continue;
    EXPECT_EQ(arena_internal::thread_arenas[i], nullptr) << "index " << i;
  }
}

// An arena and what was built in it, on its way from thread to thread.
struct Parcel {
  Parcel() : start(arena.Mark()) {}

  void Pack(Rng& rng, std::thread::id by) {
    packed_by = by;
    words = arena.New<ArenaVector<uint64_t>>(arena);
    for (uint64_t n = rng.Below(5000); n > 0; --n) words->push_back(rng());
    for (uint64_t n = 1 + rng.Below(5); n > 0; --n) arena.New<Counted>();
    sum = Sum();
  }
  uint64_t Sum() const {
    uint64_t total = words->size();
    for (const uint64_t word : *words) total = total * 31 + word;
    return total;
  }
  void Unpack() {
    EXPECT_EQ(Sum(), sum);
    arena.Rewind(start);
    EXPECT_EQ(arena.BytesUsed(), 0u);
    start = arena.Mark();
  }

  Arena arena{ArenaOptions{.first_block = 1000, .max_retained = 20'000}};
  ArenaMark start;
  std::thread::id packed_by;
  ArenaVector<uint64_t>* words = nullptr;
  uint64_t sum = 0;
};

TEST(ArenaStress, ArenasHandedFromThreadToThreadArriveWhole) {
  const Conservation conservation;
  std::mutex mu;
  std::vector<std::unique_ptr<Parcel>> shelf;
  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    std::unique_ptr<Parcel> parcel;
    {
      std::lock_guard lock(mu);
      if (!shelf.empty() && !rng.OneIn(4)) {
        std::swap(shelf[rng.Below(shelf.size())], shelf.back());
        parcel = std::move(shelf.back());
        shelf.pop_back();
      }
    }
    if (parcel == nullptr) {
      parcel = std::make_unique<Parcel>();
    } else {
      if (parcel->packed_by != std::this_thread::get_id()) storm.Collided();
      parcel->Unpack();
      if (rng.OneIn(3)) return;  // its end is here, on this thread
    }
    parcel->Pack(rng, std::this_thread::get_id());
    std::lock_guard lock(mu);
    shelf.push_back(std::move(parcel));
  });
  storm.MustCollide("a thread unpacked what another had packed");
  storm.Run();
  for (const std::unique_ptr<Parcel>& parcel : shelf) EXPECT_EQ(parcel->Sum(), parcel->sum);
}

}  // namespace
}  // namespace hotpath::stress
