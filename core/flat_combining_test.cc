#include "hotpath/core/flat_combining.h"

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"

namespace hotpath {
namespace {

using Heap = std::priority_queue<int>;

// ---- What may be instantiated and called ----

template <class Seq, class F>
concept CanApply = requires(FlatCombiner<Seq>& combiner, F op) { combiner.Apply(op); };

struct Pinned {  // neither copied nor moved
  explicit Pinned(int v) : value(v) {}
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  int value;
};
struct Stuck {  // cannot leave the thread that made it
  Stuck() = default;
  Stuck(const Stuck&) = delete;
};

static_assert(CanApply<int, int (*)(int&)> && CanApply<int, int (*)(int)> && CanApply<int, void (*)(int&)>);
static_assert(CanApply<std::string, size_t (std::string::*)() const noexcept>, "a member function");
static_assert(CanApply<int, std::unique_ptr<int> (*)(int&)>, "a result that can only be moved");
static_assert(CanApply<int, int* (*)(int&)>, "a pointer is a value");
static_assert(!CanApply<int, int& (*)(int&)>, "a reference would outlive the exclusion");
static_assert(!CanApply<int, const int& (*)(int&)> && !CanApply < int, int && (*)(int&) >);
static_assert(!CanApply<Pinned, int Pinned::*>, "std::invoke makes a reference of a member");
static_assert(!CanApply<int, Stuck (*)(int&)>, "a result that cannot be handed over");
static_assert(!CanApply<int, int (*)(int*)> && !CanApply<int, int (*)()> && !CanApply<int, int (*)(int&&)>);

static_assert(std::default_initializable<FlatCombiner<Heap>>);
static_assert(std::constructible_from<FlatCombiner<Pinned>, int> && !std::default_initializable<FlatCombiner<Pinned>>);
static_assert(!std::constructible_from<FlatCombiner<Pinned>, std::string>);
static_assert(!std::convertible_to<int, FlatCombiner<int>>, "the constructor is explicit");
static_assert(!std::copyable<FlatCombiner<int>> && !std::movable<FlatCombiner<int>>);
static_assert(sizeof(FlatCombiner<int>) == 2 * kCacheLineSize);
static_assert(alignof(FlatCombiner<int>) == kCacheLineSize);
static_assert(std::same_as<FlatCombiner<int>, FlatCombiner<int, StdSync>>);

static_assert(std::same_as<FlatCombiningCounter, BasicFlatCombiningCounter<StdSync>>);
static_assert(!std::copyable<FlatCombiningCounter> && !std::movable<FlatCombiningCounter>);
static_assert(!std::convertible_to<uint64_t, FlatCombiningCounter>);
static_assert(sizeof(FlatCombiningCounter) == 3 * kCacheLineSize);
static_assert(noexcept(std::declval<FlatCombiningCounter&>().FetchAdd(1)));
static_assert(std::is_trivially_destructible_v<FlatCombiningCounter>, "threads may use a global one while main ends");

// Globals need no dynamic initialisation.
constinit FlatCombiningCounter g_counter(7);
constinit FlatCombiner<int> g_combiner(7);

TEST(FlatCombinerTest, GlobalsHoldTheirConstant) {
  EXPECT_EQ(g_counter.Load(), 7u);
  EXPECT_EQ(g_combiner.Apply([](int& value) { return value; }), 7);
}

// ---- One caller ----

TEST(FlatCombinerTest, GivesBackWhatTheOperationReturns) {
  FlatCombiner<Pinned> combiner(41);
  EXPECT_EQ(combiner.Apply([](Pinned& p) { return ++p.value; }), 42);
  EXPECT_EQ(combiner.Apply([](const Pinned& p) { return std::to_string(p.value); }), "42");
  const int* where = combiner.Apply([](Pinned& p) { return &p.value; });
  EXPECT_EQ(*where, 42);
  static_assert(std::is_void_v<decltype(combiner.Apply([](Pinned&) {}))>);
  combiner.Apply([](Pinned& p) { p.value = 1; });
  EXPECT_EQ(*where, 1);
  std::unique_ptr<int> moved = combiner.Apply([](Pinned& p) { return std::make_unique<int>(p.value); });
  EXPECT_EQ(*moved, 1);
}

TEST(FlatCombinerTest, CallsTheOperationAsTheKindOfValueItWasGiven) {
  struct Op {
    std::string operator()(int&) & { return "lvalue"; }
    std::string operator()(int&) const& { return "const"; }
    std::string operator()(int&) && { return "rvalue"; }
  };
  FlatCombiner<int> combiner;
  Op op;
  EXPECT_EQ(combiner.Apply(op), "lvalue");
  EXPECT_EQ(combiner.Apply(std::as_const(op)), "const");
  EXPECT_EQ(combiner.Apply(Op()), "rvalue");
  auto only_moves = [p = std::make_unique<int>(5)](int& value) { return value += *p; };
  EXPECT_EQ(combiner.Apply(std::move(only_moves)), 5);
  FlatCombiner<std::string> text("abc");
  EXPECT_EQ(text.Apply(&std::string::size), 3u);
}

TEST(FlatCombinerTest, AnOperationThatThrowsLetsTheNextIn) {
  FlatCombiner<int> combiner;
  EXPECT_THROW(combiner.Apply([](int& value) -> int {
    value = 3;
    throw std::out_of_range("from the operation");
  }),
               std::out_of_range);
  EXPECT_EQ(combiner.Apply([](int& value) { return value; }), 3) << "what it did before it threw stays";
  EXPECT_THROW(combiner.Apply([](int&) { throw 5; }), int);
}

struct ThrowsWhenMoved {
  ThrowsWhenMoved() = default;
  ThrowsWhenMoved(ThrowsWhenMoved&&) { throw std::bad_alloc(); }  // NOLINT(performance-noexcept-move-constructor)
};

TEST(FlatCombinerTest, AResultThatThrowsWhenItIsMovedComesOutOfItsOwnApply) {
  FlatCombiner<int> combiner;
  EXPECT_THROW(combiner.Apply([](int& value) {
    ++value;
    return ThrowsWhenMoved();
  }),
               std::bad_alloc);
  EXPECT_EQ(combiner.Apply([](int& value) { return value; }), 1) << "it ran once";
}

TEST(FlatCombinerTest, MayBeUsedInsideAnOperationOnAnother) {
  FlatCombiner<int> outer, inner;
  const int sum = outer.Apply([&](int& a) { return a = 1 + inner.Apply([](int& b) { return b = 2; }); });
  EXPECT_EQ(sum, 3);
}

TEST(FlatCombinerTest, ObjectsOfAwkwardSizeAndAlignmentStandOnTheirOwnLine) {
  struct alignas(256) Wide {
    std::array<unsigned char, 3> b{};
  };
  FlatCombiner<Wide> wide;
  FlatCombiner<std::array<char, 65>> awkward;
  FlatCombiner<char> small;
  EXPECT_EQ(wide.Apply([](Wide& w) { return reinterpret_cast<uintptr_t>(&w) % 256; }), 0u);
  EXPECT_EQ(awkward.Apply([](auto& a) { return reinterpret_cast<uintptr_t>(&a) % kCacheLineSize; }), 0u);
  EXPECT_EQ(small.Apply([](char& c) { return reinterpret_cast<uintptr_t>(&c) % kCacheLineSize; }), 0u);
}

template <size_t kAlign>
struct alignas(kAlign) Wide {
  std::array<unsigned char, 200> b{};
};
template <size_t kAlign>
void ResultArrivesWhole() {
  FlatCombiner<int> combiner;
  const Wide<kAlign> result = combiner.Apply([](int&) {
    Wide<kAlign> wide;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&wide) % kAlign, 0u);
    wide.b.fill(0xa5);
    wide.b.back() = 1;
    return wide;
  });
  EXPECT_EQ(result.b.front(), 0xa5);
  EXPECT_EQ(result.b.back(), 1);
}
TEST(FlatCombinerTest, ResultsOfAwkwardSizeAndAlignmentArriveWhole) {
  ResultArrivesWhole<1>();
  ResultArrivesWhole<128>();
  ResultArrivesWhole<256>();
  ResultArrivesWhole<1024>();
}

TEST(FlatCombinerTest, AllocatesNothingItself) {
  FlatCombiner<int> combiner;
  const bench::HeapMark mark;
  for (int i = 0; i < 10; ++i) bench::Escape(combiner.Apply([](int& value) { return ++value; }));
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
}

TEST(FlatCombinerTest, SharesAHeap) {
  FlatCombiner<Heap> jobs;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&jobs, t] {
      for (int i = 0; i < 1000; ++i) jobs.Apply([&](Heap& heap) { heap.push(1000 * t + i); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int expected = 3999; expected >= 0; --expected) {
    EXPECT_EQ(jobs.Apply([](Heap& heap) {
      const int top = heap.top();
      heap.pop();
      return top;
    }),
              expected);
  }
  const FlatCombiningStats stats = jobs.Stats();
  EXPECT_EQ(stats.combined + stats.direct, 8000u) << "each operation is counted once";
  EXPECT_TRUE(stats.combining);
}

// ---- Callers that met ----

// Tells how many threads sleep: each has published, then, and is waiting.
struct WatchedSync : StdSync {
  static inline std::atomic<int> asleep{0};
  static bool Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline = kNoDeadline) noexcept {
    thread_local bool counted = false;  // threads of these tests sleep once, but a wake-up may be spurious
    if (!std::exchange(counted, true)) asleep.fetch_add(1);
    return StdSync::Park(word, expected, deadline);
  }
  static void AwaitSleepers(int n) {
    for (SpinWait<> wait; asleep.load() < n;) wait();
  }
};

template <class Seq, uint32_t kBudget = 64>
using Watched = BasicFlatCombiner<Seq, FlatCombinerOptions{.spins = 2, .yields = 1, .budget = kBudget}, WatchedSync>;

struct FlatCombinerMeetingTest : testing::Test {
  FlatCombinerMeetingTest() { WatchedSync::asleep.store(0); }
  ~FlatCombinerMeetingTest() override { Join(); }
  void Join() {
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }
  // Starts a thread and returns when it sleeps.
  template <class F>
  void StartAndAwait(F f) {
    threads.emplace_back(f);
    WatchedSync::AwaitSleepers(static_cast<int>(++started));
  }

  std::vector<std::thread> threads;
  int started = 0;
};

TEST_F(FlatCombinerMeetingTest, WhoIsInsideServesTheOthersOldestFirstInOneBatch) {
  Watched<std::vector<int>> combiner;
  std::array<std::thread::id, 5> ran_on;
  std::array<size_t, 5> result{};
  combiner.Apply([&](std::vector<int>&) {
    for (int i = 0; i < 5; ++i) {
      StartAndAwait([&, i] {
        result[static_cast<size_t>(i)] = combiner.Apply([&](std::vector<int>& seen) {
          ran_on[static_cast<size_t>(i)] = std::this_thread::get_id();
          seen.push_back(i);
          return seen.size();
        });
      });
    }
  });
  Join();
  const FlatCombiningStats stats = combiner.Stats();
  EXPECT_EQ(stats.batches, 1u);
  EXPECT_EQ(stats.combined, 5u);
  EXPECT_EQ(stats.direct, 1u);
  EXPECT_EQ(stats.MeanBatch(), 5.0);
  EXPECT_EQ(combiner.Apply([](std::vector<int>& seen) { return seen; }), (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(result, (std::array<size_t, 5>{1, 2, 3, 4, 5})) << "to each its own result";
  for (const std::thread::id id : ran_on) EXPECT_EQ(id, std::this_thread::get_id());
}

TEST_F(FlatCombinerMeetingTest, ExceptionsAndResultsReachTheirOwnCallerAndNoOther) {
  Watched<int> combiner;
  std::array<std::string, 6> came_out;
  const auto call = [&](size_t i) {
    try {
      came_out[i] = *combiner.Apply([i](int& count) {
        ++count;
        if (i % 2 == 0) throw std::runtime_error("threw " + std::to_string(i));
        return std::make_unique<std::string>("returned " + std::to_string(i));
      });
    } catch (const std::runtime_error& e) {
      came_out[i] = e.what();
    }
  };
  // The combiner's own operation throws, too.
  EXPECT_THROW(combiner.Apply([&](int&) {
    for (size_t i = 0; i < came_out.size(); ++i) {
      StartAndAwait([&call, i] { call(i); });
    }
    throw 1;
  }),
               int);
  Join();
  EXPECT_EQ(combiner.Apply([](int& count) { return count; }), 6) << "each ran once";
  EXPECT_EQ(came_out,
            (std::array<std::string, 6>{"threw 0", "returned 1", "threw 2", "returned 3", "threw 4", "returned 5"}));
}

TEST_F(FlatCombinerMeetingTest, ACombinerThatHasServedItsBudgetHandsOverToTheOldestWaiter) {
  Watched<int, 2> combiner;
  std::array<std::thread::id, 5> ran_on, caller;
  std::array<int, 5> order{};
  const auto start = [&](
                         size_t i, std::function<void()> inside = [] {}) {
    StartAndAwait([&, i, inside] {
      caller[i] = std::this_thread::get_id();
      combiner.Apply([&](int& count) {
        ran_on[i] = std::this_thread::get_id();
        order[i] = ++count;
        inside();
      });
    });
  };
  combiner.Apply([&](int&) {
    start(0);
    start(1, [&] {
      start(2);  // these three come too late for the first batch, which uses up the budget of 2
      start(3);
      start(4);
    });
  });
  Join();
  const std::thread::id self = std::this_thread::get_id();
  EXPECT_EQ(ran_on, (std::array<std::thread::id, 5>{self, self, caller[2], caller[2], caller[2]}));
  EXPECT_EQ(order, (std::array<int, 5>{1, 2, 3, 4, 5})) << "and the order is kept";
  EXPECT_EQ(combiner.Stats().batches, 2u);
  EXPECT_EQ(combiner.Stats().combined, 5u);
}

TEST_F(FlatCombinerMeetingTest, AThreadMayEndAsSoonAsItIsServed) {
  Watched<int> combiner;
  std::thread::id last;
  combiner.Apply([&](int&) {
    StartAndAwait([&] { combiner.Apply([](int& count) { ++count; }); });
    StartAndAwait([&] {
      combiner.Apply([&](int& count) {
        threads[0].join();  // the first was told, returned and ended; its request is no more
        ++count;
        last = std::this_thread::get_id();
      });
    });
  });
  threads[1].join();
  threads.clear();
  EXPECT_EQ(last, std::this_thread::get_id());
  EXPECT_EQ(combiner.Apply([](int& count) { return count; }), 2);
}

TEST_F(FlatCombinerMeetingTest, ADestructorDuringUnwindingMayApply) {
  FlatCombiner<int> combiner;
  struct Guard {
    ~Guard() {
      combiner.Apply([](int& count) { ++count; });
    }
    FlatCombiner<int>& combiner;
  };
  EXPECT_THROW(
      {
        const Guard guard{combiner};
        throw 1;
      },
      int);
  EXPECT_EQ(combiner.Apply([](int& count) { return count; }), 1);
}

TEST(FlatCombinerDeathTest, ApplyInsideAnOperationOnTheSameObjectIsACheckAndNotADeadlock) {
  FlatCombiner<int> combiner;
  EXPECT_DEATH(combiner.Apply([&](int&) { combiner.Apply([](int&) {}); }), "Apply inside an operation");
}

TEST(FlatCombinerDeathTest, ApplyInsideAnOperationThatRunsOnAnotherThreadIsACheck) {
  EXPECT_DEATH(
      {
        Watched<int> combiner;
        combiner.Apply([&](int&) {
          std::thread([&] { combiner.Apply([&](int&) { combiner.Apply([](int&) {}); }); }).detach();
          WatchedSync::AwaitSleepers(1);
        });
      },
      "Apply inside an operation");
}

TEST(FlatCombinerDeathTest, DestroyingItInUseIsACheck) {
  EXPECT_DEATH(
      {
        auto combiner = std::make_unique<FlatCombiner<int>>();
        combiner->Apply([&](int&) { combiner.reset(); });
      },
      "destroyed while in use");
}

// The death test forks while the other thread is inside.
TEST(FlatCombinerDeathTest, ApplyAfterAForkThatLostTheCombinerIsACheckAndNotADeadlock) {
  FlatCombiner<int> combiner;
  std::atomic<bool> inside{false}, leave{false};
  std::thread combining([&] {
    combiner.Apply([&](int&) {
      inside.store(true);
      for (SpinWait<> wait; !leave.load();) wait();
    });
  });
  for (SpinWait<> wait; !inside.load();) wait();
  EXPECT_DEATH(combiner.Apply([](int&) {}), "did not survive fork");
  leave.store(true);
  combining.join();
}

TEST(FlatCombinerDeathTest, WorksInTheChildOfAFork) {
  FlatCombiner<int> combiner(20);
  FlatCombiningCounter counter(20);
  std::thread([&] { combiner.Apply([](int& v) { ++v; }); }).join();
  EXPECT_EXIT(
      {
        std::thread([&] { combiner.Apply([](int& v) { ++v; }); }).join();
        counter.SetCombining(true);
        counter.FetchAdd(1);
        _exit(combiner.Apply([](int& v) { return v; }) + static_cast<int>(counter.Load()));
      },
      testing::ExitedWithCode(43), "");
}

// ---- What it costs, counted ----

using Counting = CountingSync<>;

TEST(FlatCombinerCostTest, AnApplyAloneIsTwoRmwsAndThreeStoresAndNoFence) {
  FlatCombiner<int, Counting> combiner;
  const SyncCounts counts = Counting::CountsOf([&] { combiner.Apply([](int& value) { ++value; }); });
  // Stores: the owner's name, its removal, the statistics. All on the line that the exchanges dirty anyway.
  EXPECT_EQ(counts, (SyncCounts{.loads = 2, .stores = 3, .rmws = 2}));
}

TEST_F(FlatCombinerMeetingTest, WhoMeetsTakesTwoRmwsAndOneToSleepAndIsServedForOneAndOneABatch) {
  using Sync = CountingSync<WatchedSync>;
  BasicFlatCombiner<int, FlatCombinerOptions{.spins = 0, .yields = 0}, Sync> combiner;
  std::array<SyncCounts, 3> served;
  const SyncCounts serves = Sync::CountsOf([&] {
    combiner.Apply([&](int&) {
      for (SyncCounts& mine : served) {
        StartAndAwait([&] { mine = Sync::CountsOf([&] { combiner.Apply([](int& value) { ++value; }); }); });
      }
    });
  });
  Join();
  for (const SyncCounts& mine : served) {
    EXPECT_EQ(mine.rmws, 3u) << "finds somebody inside, publishes, goes to sleep";
    EXPECT_EQ(mine.stores + mine.fences + mine.wakes, 0u);
  }
  EXPECT_EQ(serves.rmws, 2u + 1 + served.size()) << "in and out, the batch, and telling each";
  EXPECT_EQ(serves.wakes, served.size());
  EXPECT_EQ(serves.sleeps + serves.fences, 0u);
}

TEST(FlatCombiningCounterCostTest, AFetchAddIsOneRmwAndNoOtherWrite) {
  BasicFlatCombiningCounter<Counting> counter;
  EXPECT_EQ(Counting::CountsOf([&] { counter.FetchAdd(1); }), (SyncCounts{.loads = 1, .rmws = 1}));
  EXPECT_EQ(Counting::CountsOf([&] { counter.FetchSub(1); }), (SyncCounts{.loads = 1, .rmws = 1}));
  EXPECT_EQ(Counting::CountsOf([&] { static_cast<void>(counter.Load()); }), (SyncCounts{.loads = 1}));
  EXPECT_EQ(Counting::CountsOf([&] { counter.Store(1); }), (SyncCounts{.stores = 1}));
}

TEST(FlatCombiningCounterCostTest, ACombiningFetchAddAloneIsThreeRmws) {
  BasicFlatCombiningCounter<Counting> counter;
  counter.SetCombining(true);
  EXPECT_EQ(Counting::CountsOf([&] { counter.FetchAdd(1); }).rmws, 3u) << "in, add, out";
}

// ---- The counter ----

struct FlatCombiningCounterTest : testing::TestWithParam<bool> {
  FlatCombiningCounterTest() { counter.SetCombining(GetParam()); }
  FlatCombiningCounter counter;
};
INSTANTIATE_TEST_SUITE_P(Both, FlatCombiningCounterTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Combining" : "Direct"; });

TEST_P(FlatCombiningCounterTest, ReturnsThePreviousValue) {
  EXPECT_EQ(counter.Load(), 0u);
  EXPECT_EQ(counter.FetchAdd(5), 0u);
  EXPECT_EQ(counter.FetchAdd(0), 5u);
  EXPECT_EQ(counter.FetchSub(2), 5u);
  EXPECT_EQ(counter.Load(), 3u);
  counter.Store(100);
  EXPECT_EQ(counter.FetchAdd(1), 100u);
}

TEST_P(FlatCombiningCounterTest, WrapsModulo2To64) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(counter.FetchSub(1), 0u);
  EXPECT_EQ(counter.Load(), kMax);
  EXPECT_EQ(counter.FetchAdd(2), kMax);
  EXPECT_EQ(counter.Load(), 1u);
  EXPECT_EQ(counter.FetchAdd(kMax), 1u);
  EXPECT_EQ(counter.FetchSub(kMax), 0u);
  EXPECT_EQ(counter.Load(), 1u);
}

TEST_P(FlatCombiningCounterTest, TakesEveryMemoryOrder) {
  constexpr std::memory_order kOrders[] = {std::memory_order::relaxed, std::memory_order::acquire,
                                           std::memory_order::release, std::memory_order::acq_rel,
                                           std::memory_order::seq_cst};
  uint64_t value = 0;
  for (const std::memory_order order : kOrders) {
    EXPECT_EQ(counter.FetchAdd(3, order), value);
    EXPECT_EQ(counter.FetchSub(1, order), value + 3);
    value += 2;
  }
  counter.Store(9, std::memory_order::release);
  EXPECT_EQ(counter.Load(std::memory_order::acquire), 9u);
  EXPECT_EQ(counter.Load(std::memory_order::relaxed), 9u);
}

TEST_P(FlatCombiningCounterTest, GivesEachCallerItsOwnTicket) {
  constexpr size_t kEach = 5000;
  std::array<std::vector<uint64_t>, 4> tickets;
  {
    std::vector<std::jthread> threads;
    for (auto& mine : tickets) {
      threads.emplace_back([&] {
        for (size_t i = 0; i < kEach; ++i) mine.push_back(counter.FetchAdd(1));
      });
    }
  }
  std::set<uint64_t> all;
  for (const auto& mine : tickets) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 4 * kEach);
  EXPECT_EQ(*all.rbegin(), 4 * kEach - 1);
  EXPECT_EQ(counter.Load(), 4 * kEach);
  const FlatCombiningStats stats = counter.Stats();
  EXPECT_EQ(stats.combining, GetParam());
  EXPECT_EQ(stats.combined + stats.direct, GetParam() ? 4 * kEach : 0);
}

TEST_P(FlatCombiningCounterTest, AllocatesNothing) {
  const bench::HeapMark mark;
  counter.FetchAdd(1);
  counter.Tune();
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
}

TEST(FlatCombiningCounterTuneTest, StartsDirectAndSaysSo) {
  FlatCombiningCounter counter;
  EXPECT_FALSE(counter.Stats().combining);
  EXPECT_EQ(counter.Stats().MeanBatch(), 0.0);
}

// Says how long runs of additions took. The counter asks before and after each.
struct ScriptedClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<ScriptedClock>;
  static inline std::vector<int64_t> runs;
  static inline size_t calls = 0;
  static inline int64_t time = 0;

  static void Script(std::vector<int64_t> r) {
    runs = std::move(r);
    calls = 0;
  }
  static time_point now() {
    if (calls++ % 2 == 1) time += runs.at(calls / 2 - 1);
    return time_point(duration(time));
  }
};
// What Tune asks: each way five times, after a run of which the time says nothing.
std::vector<int64_t> Rounds(const std::vector<int64_t>& times) {
  std::vector<int64_t> runs;
  for (const int64_t time : times) runs.insert(runs.end(), {0, time});
  return runs;
}
std::vector<int64_t> Rounds(int64_t direct, int64_t combined) {
  return Rounds({direct, combined, direct, combined, direct, combined, direct, combined, direct, combined});
}

template <class Clock>
using CounterBy = flat_combining_internal::Counter<FlatCombinerOptions{}, StdSync, Clock>;

TEST(FlatCombiningCounterTuneTest, BeginsToCombineIfThatWinsByAQuarterAndStopsWhenItLoses) {
  CounterBy<ScriptedClock> counter(5);
  const auto tune = [&](int64_t direct, int64_t combined) {
    ScriptedClock::Script(Rounds(direct, combined));
    const bool combines = counter.Tune();
    EXPECT_EQ(counter.Stats().combining, combines);
    return combines;
  };
  EXPECT_FALSE(tune(1000, 1500));
  EXPECT_FALSE(tune(1000, 1000));
  EXPECT_FALSE(tune(1000, 801)) << "a win, but not by a quarter";
  EXPECT_TRUE(tune(1000, 800));
  EXPECT_TRUE(tune(1000, 999)) << "it goes on as long as it does not lose";
  EXPECT_TRUE(tune(1000, 1000));
  EXPECT_FALSE(tune(1000, 1001));
  EXPECT_FALSE(tune(1000, 999)) << "and does not come back for a trifle";
  EXPECT_EQ(counter.Load(), 5u) << "measuring adds nothing";
}

TEST(FlatCombiningCounterTuneTest, OneRunThatWasDisturbedDecidesNothing) {
  CounterBy<ScriptedClock> counter;
  ScriptedClock::Script(Rounds({1000000, 1000, 1000, 1000, 1000000, 1000, 1000, 1000, 1000, 1000}));
  EXPECT_FALSE(counter.Tune());
  ScriptedClock::Script(Rounds({1000, 700, 1000, 1000000, 1000, 700, 1000, 1000000, 1000, 700}));
  EXPECT_TRUE(counter.Tune());
}

// Has a counter come by the value at which it looks, while the clock says this.
template <class Counter>
void Look(Counter& counter, std::vector<int64_t> runs) {
  const size_t all = runs.size();
  ScriptedClock::Script(std::move(runs));
  counter.Store(7 * flat_combining_internal::kLookEvery + flat_combining_internal::kLookAt - 3);
  for (uint64_t i = 0; i < 6; ++i) {
    ASSERT_EQ(counter.FetchAdd(1) % flat_combining_internal::kLookEvery, flat_combining_internal::kLookAt - 3 + i);
  }
  EXPECT_EQ(ScriptedClock::calls, 2 * all) << "of the clock";
}

// The first two runs of a look: additions to its own line, and to the counter.
const std::vector<int64_t> kContended = {10, 31}, kQuiet = {10, 30};
std::vector<int64_t> Then(std::vector<int64_t> look, const std::vector<int64_t>& rounds) {
  look.insert(look.end(), rounds.begin(), rounds.end());
  return look;
}

TEST(FlatCombiningCounterLookTest, CombinesWhenItWasContendedTwiceInARowAndThatWins) {
  CounterBy<ScriptedClock> counter;
  Look(counter, kContended);
  EXPECT_EQ(counter.Stats().contended, 1u);
  EXPECT_FALSE(counter.Stats().combining) << "once is chance";
  Look(counter, Then(kContended, Rounds(1000, 800)));
  EXPECT_EQ(counter.Stats().contended, 2u);
  EXPECT_TRUE(counter.Stats().combining);
  Look(counter, Rounds(1000, 1000));
  EXPECT_TRUE(counter.Stats().combining);
  Look(counter, Rounds(1000, 1001));
  EXPECT_FALSE(counter.Stats().combining) << "it lost";
  EXPECT_GE(counter.Stats().direct, 6u) << "while it combined";
}

TEST(FlatCombiningCounterLookTest, WhatWasSetStaysUntilATune) {
  CounterBy<ScriptedClock> counter;
  for (const bool combining : {true, false}) {
    counter.SetCombining(combining);
    for (int i = 0; i < 3; ++i) Look(counter, {});
    EXPECT_EQ(counter.Stats().combining, combining);
  }
  ScriptedClock::Script(Rounds(1000, 1000));
  EXPECT_FALSE(counter.Tune());
  Look(counter, kQuiet);
}

TEST(FlatCombiningCounterLookTest, AQuietLookBetweenTwoContendedOnesBeginsAnew) {
  CounterBy<ScriptedClock> counter;
  Look(counter, kContended);
  Look(counter, kQuiet);
  Look(counter, {});  // one is left out
  Look(counter, kContended);
  EXPECT_EQ(counter.Stats().contended, 2u);
  EXPECT_FALSE(counter.Stats().combining);
}

TEST(FlatCombiningCounterLookTest, LooksThatLeadToNothingBecomeRareAndContentionBringsThemBack) {
  CounterBy<ScriptedClock> counter;
  for (const int rest : {1, 3, 7, 15, 31, 63, 64, 64}) {
    Look(counter, kQuiet);
    for (int i = 0; i < rest; ++i) Look(counter, {});
  }
  Look(counter, kContended);
  Look(counter, Then(kContended, Rounds(1000, 1500)));  // refused
  EXPECT_FALSE(counter.Stats().combining);
  Look(counter, {});
  Look(counter, kContended);
}

TEST(FlatCombiningCounterLookTest, MeasurementsThatLeadToNothingBecomeRareUntilItIsQuiet) {
  CounterBy<ScriptedClock> counter;
  for (int again = 0; again < 2; ++again) {
    for (const int rest : {1, 3, 7, 15, 31, 63, 64, 64}) {
      Look(counter, kContended);
      Look(counter, Then(kContended, Rounds(1000, 1500)));
      EXPECT_FALSE(counter.Stats().combining);
      for (int i = 0; i < rest; ++i) Look(counter, {});
    }
    Look(counter, kQuiet);
    Look(counter, {});
  }
}

// A clock that has another thread override what is being measured.
struct MeddlingClock : ScriptedClock {
  static inline CounterBy<MeddlingClock>* counter = nullptr;
  static inline std::thread meddler;
  static time_point now() {
    if (!meddler.joinable()) {
      std::atomic<bool> started{false};
      meddler = std::thread([&started] {
        started.store(true);
        counter->SetCombining(true);
      });
      for (SpinWait<> wait; !started.load();) wait();
    }
    return ScriptedClock::now();
  }
};

TEST(FlatCombiningCounterTuneTest, AnOverrideAmidAMeasurementIsNotLost) {
  CounterBy<MeddlingClock> counter;
  MeddlingClock::counter = &counter;
  ScriptedClock::Script(Rounds(1000, 1500));
  EXPECT_FALSE(counter.Tune());
  MeddlingClock::meddler.join();
  EXPECT_TRUE(counter.Stats().combining);
}

// A clock that stops in the middle of a look, and a mutex that tells when somebody was refused.
struct StoppedClock : ScriptedClock {
  static inline std::atomic<int> step{0};
  static void WaitFor(int value) {
    for (SpinWait<> wait; step.load() < value;) wait();
  }
  static time_point now() {
    int due = 1;
    if (step.compare_exchange_strong(due, 2)) WaitFor(3);
    return ScriptedClock::now();
  }
};
struct TellingSync : StdSync {
  class HOTPATH_CAPABILITY("mutex") Mutex : public StdSync::Mutex {
   public:
    [[nodiscard]] bool TryLock() HOTPATH_TRY_ACQUIRE(true) {
      const bool locked = StdSync::Mutex::TryLock();
      if (!locked) StoppedClock::step.store(3);
      return locked;
    }
  };
};

TEST(FlatCombiningCounterTuneTest, MeasuresEvenIfItMeetsALook) {
  flat_combining_internal::Counter<FlatCombinerOptions{}, TellingSync, StoppedClock> counter(
      7 * flat_combining_internal::kLookEvery + flat_combining_internal::kLookAt);
  StoppedClock::Script(Then(kQuiet, Rounds(1000, 800)));
  StoppedClock::step.store(1);
  std::jthread looks([&] { counter.FetchAdd(1); });
  StoppedClock::WaitFor(2);
  EXPECT_TRUE(counter.Tune());
}

TEST(FlatCombiningCounterTuneTest, KeepsPreviousValuesExactWhileOthersAdd) {
  FlatCombiningCounter counter;
  std::atomic<bool> stop{false};
  std::array<std::vector<uint64_t>, 2> tickets;
  {
    std::vector<std::jthread> threads;
    for (auto& mine : tickets) {
      threads.emplace_back([&] {
        do mine.push_back(counter.FetchAdd(1));
        while (!stop.load() && mine.size() < 100'000);
      });
    }
    for (int i = 0; i < 3; ++i) counter.Tune();
    stop.store(true);
  }
  std::set<uint64_t> all;
  for (const auto& mine : tickets) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), tickets[0].size() + tickets[1].size());
  EXPECT_EQ(counter.Load(), all.size());
}

}  // namespace
}  // namespace hotpath
