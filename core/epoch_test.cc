#include "hotpath/core/epoch.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
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

using bench::HeapCount;
using bench::HeapFailure;
using bench::HeapMark;

// Counts its ends.
struct Tracked {
  explicit Tracked(std::atomic<int>& ends) : ends(ends) {}
  ~Tracked() { ends.fetch_add(1); }
  std::atomic<int>& ends;
};
struct TrackedRetiree : EpochDomain::Retiree, Tracked {
  using Tracked::Tracked;
};

void WaitFor(const std::atomic<int>& step, int value) {
  SpinWait<> wait;
  while (step.load() < value) wait();
}

// Runs `body` in a child process and returns what it returned.
template <class F>
int ExitCodeOfFork(F&& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

// ---- What compiles ----

static_assert(!std::copy_constructible<EpochDomain::Guard> && std::movable<EpochDomain::Guard>);
static_assert(std::is_nothrow_move_constructible_v<EpochDomain::Guard>);
static_assert(!std::copy_constructible<EpochDomain> && !std::movable<EpochDomain>);
static_assert(!std::is_convertible_v<EpochOptions, EpochDomain>);
static_assert(sizeof(EpochDomain::Guard) == sizeof(void*));
static_assert(sizeof(EpochDomain::Retiree) <= 32);

template <class T>
concept CanRetire = requires(EpochDomain domain, T object) { domain.Retire(object); };
static_assert(CanRetire<int*> && CanRetire<const std::string*> && CanRetire<Tracked*>);
static_assert(!CanRetire<void*>, "of what type?");
static_assert(!CanRetire<int> && !CanRetire<int (*)[3]> && !CanRetire<void (*)()> && !CanRetire<std::nullptr_t>);
static_assert(!CanRetire<std::unique_ptr<int>>);
static_assert(CanRetire<TrackedRetiree*> && CanRetire<const TrackedRetiree*>);
static_assert(!CanRetire<EpochDomain::Retiree*> && !CanRetire<const EpochDomain::Retiree*>, "which has no destructor");
static_assert(std::copy_constructible<TrackedRetiree>);

// ---- Examples ----

TEST(EpochTest, ReaderKeepsWhatItReads) {
  EpochDomain domain;
  std::atomic<const std::string*> current{new std::string("first")};

  std::atomic<int> step{0};
  std::thread reader([&] {
    const EpochDomain::Guard guard = domain.Pin();
    const std::string& text = *current.load(std::memory_order::acquire);
    step.store(1);
    WaitFor(step, 2);
    EXPECT_EQ(text, "first");
  });
  WaitFor(step, 1);
  domain.Retire(current.exchange(new std::string("second"), std::memory_order::acq_rel));
  EXPECT_EQ(domain.TryReclaim(), 0u);
  step.store(2);
  domain.Synchronize();
  EXPECT_EQ(domain.Stats().pending, 0u);
  reader.join();
  delete current.load();
}

// ---- Retire ----

TEST(EpochTest, WhatNobodyReadsIsDestroyedAtTheNextOccasion) {
  std::atomic<int> ends{0};
  EpochDomain domain;
  domain.Retire(new Tracked(ends));
  domain.Retire(new TrackedRetiree(ends));
  EXPECT_EQ(domain.Stats().pending, 2u);
  EXPECT_EQ(ends.load(), 0);
  EXPECT_EQ(domain.TryReclaim(), 2u);
  EXPECT_EQ(ends.load(), 2);
  EXPECT_EQ(domain.Stats().pending, 0u);
  EXPECT_EQ(domain.Stats().reclaimed, 2u);
  EXPECT_EQ(domain.TryReclaim(), 0u);
}

TEST(EpochTest, EveryKindOfObjectIsDestroyedByItsOwnDeleter) {
  struct alignas(256) Wide {
    explicit Wide(std::atomic<int>& ends) : ends(ends) {}
    ~Wide() {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(this) % 256, 0u);
      ends.fetch_add(1);
    }
    std::atomic<int>& ends;
  };
  struct Base {
    virtual ~Base() = default;
  };
  struct Derived : Base, Tracked {
    using Tracked::Tracked;
  };
  struct LateRetiree : std::array<char, 100>, Tracked, EpochDomain::Retiree {
    using Tracked::Tracked;
  };
  std::atomic<int> ends{0};
  EpochDomain domain;
  domain.Retire(new Wide(ends));
  domain.Retire(static_cast<Base*>(new Derived(ends)));
  domain.Retire(static_cast<const Tracked*>(new Tracked(ends)));
  domain.Retire(new LateRetiree(ends));
  domain.Retire(new std::array<char, 1>);
  domain.Retire(static_cast<int*>(nullptr));
  domain.Retire(&ends, [](void* p) { static_cast<std::atomic<int>*>(p)->fetch_add(10); });
  domain.Retire(nullptr, [](void* p) { EXPECT_EQ(p, nullptr); });
  TrackedRetiree here(ends);
  domain.Retire(&here, [](EpochDomain::Retiree* p) { static_cast<TrackedRetiree*>(p)->ends.fetch_add(100); });
  EXPECT_EQ(domain.TryReclaim(), 8u);
  EXPECT_EQ(ends.load(), 114);
}

TEST(EpochTest, CopyOfARetiredObjectIsNotRetired) {
  struct Value : EpochDomain::Retiree {
    int number = 7;
  };
  EpochDomain domain;
  auto* retired = new Value;
  Value assigned;
  domain.Retire(new Value);
  domain.Retire(retired);
  const Value copy(*retired);
  assigned = *retired;
  EXPECT_EQ(copy.number, 7);
  *retired = assigned;
  EXPECT_EQ(domain.TryReclaim(), 2u);
}

TEST(EpochDeathTest, RetiringNoRetireeIsACheck) {
  EpochDomain domain;
  EXPECT_DEATH(domain.Retire(static_cast<EpochDomain::Retiree*>(nullptr), [](EpochDomain::Retiree*) {}),
               "a Retiree that is null");
}

TEST(EpochTest, RetiringReclaimsByItselfAndSharesOneFenceAmongMany) {
  std::atomic<int> ends{0};
  EpochDomain domain;
  for (int i = 0; i < 10'000; ++i) domain.Retire(new TrackedRetiree(ends));
  const EpochStats stats = domain.Stats();
  EXPECT_LE(stats.pending, 2'048u);
  EXPECT_EQ(stats.pending + stats.reclaimed, 10'000u);
  EXPECT_EQ(stats.reclaimed, static_cast<uint64_t>(ends.load()));
  EXPECT_GE(stats.heavy_fences, 1u);
  EXPECT_LE(stats.heavy_fences, 10'000u / 64) << "grace periods are shared by at least 64";
  EXPECT_EQ(stats.over_limit, 0u);
}

TEST(EpochTest, DeletersMayRetireToAnyDepthPinAndReclaim) {
  struct Node {
    Node(EpochDomain& domain, int depth, std::atomic<int>& ends) : domain(domain), depth(depth), ends(ends) {}
    ~Node() {
      ends.fetch_add(1);
      const EpochDomain::Guard guard = domain.Pin();
      EXPECT_EQ(domain.TryReclaim(), 0u) << "the outer call does it";
      if (depth > 0) domain.Retire(new Node(domain, depth - 1, ends));
    }
    EpochDomain& domain;
    const int depth;
    std::atomic<int>& ends;
  };
  std::atomic<int> ends{0};
  {
    EpochDomain domain(EpochOptions{.max_pending = 2});
    for (int i = 0; i < 3; ++i) domain.Retire(new Node(domain, 20'000, ends));
    while (domain.TryReclaim() != 0) {
    }
    EXPECT_EQ(ends.load(), 3 * 20'001);
    domain.Retire(new Node(domain, 1'000, ends));
  }
  EXPECT_EQ(ends.load(), 3 * 20'001 + 1'001) << "also by the destructor";
}

TEST(EpochTest, DestructorOfAFullDomainLetsDeletersRetire) {
  struct Node {
    Node(EpochDomain& domain, int depth, std::atomic<int>& ends) : domain(domain), depth(depth), ends(ends) {}
    ~Node() {
      ends.fetch_add(1);
      for (int i = 0; i < depth; ++i) domain.Retire(new Node(domain, depth - 1, ends));
    }
    EpochDomain& domain;
    const int depth;
    std::atomic<int>& ends;
  };
  std::atomic<int> ends{0};
  {
    EpochDomain domain(EpochOptions{.max_pending = 1});
    domain.Retire(new Node(domain, 4, ends));
  }
  EXPECT_EQ(ends.load(), 1 + 4 + 12 + 24 + 24);
}

TEST(EpochTest, RetireesAndPinsAllocateNothingAndOthersOnce) {
  EpochDomain domain;
  domain.Register();
  std::atomic<int> ends{0};
  TrackedRetiree one(ends), two(ends);
  {
    const HeapMark mark;
    {
      const EpochDomain::Guard guard = domain.Pin();
    }
    domain.Retire(&one, [](EpochDomain::Retiree*) {});
    domain.Retire(&two, [](EpochDomain::Retiree*) {});
    domain.TryReclaim();
    domain.Synchronize();
    EXPECT_EQ(mark.Since(), HeapCount{});
  }
  const HeapMark mark;
  domain.Retire(&one, [](void*) {});
  domain.TryReclaim();
  const HeapCount count = mark.Since();
  EXPECT_EQ(count.allocations, 1u);
  EXPECT_EQ(count.frees, 1u);
}

TEST(EpochTest, DomainsAndThreadsTakeTheMemoryThatIsSaid) {
  EXPECT_LT(sizeof(EpochDomain), 34u << 10);
  EpochDomain domain;
  const HeapMark mark;
  domain.Register();
  EXPECT_EQ(mark.Since().allocations, 1u);
  EXPECT_EQ(mark.Since().bytes, 1280u);
}

TEST(EpochTest, WithoutMemoryTheCallerStillOwns) {
  if (!HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  std::atomic<int> ends{0};
  EpochDomain domain;
  auto object = std::make_unique<Tracked>(ends);
  for (uint64_t successes = 0; successes < 2; ++successes) {
    const HeapFailure failure(successes);
    EXPECT_THROW(domain.Retire(object.get()), std::bad_alloc) << successes;
  }
  EXPECT_EQ(domain.Stats().pending, 0u);
  domain.TryReclaim();
  EXPECT_EQ(ends.load(), 0);
  domain.Retire(object.release());
  domain.TryReclaim();
  EXPECT_EQ(ends.load(), 1);
}

TEST(EpochTest, FirstPinWithoutMemoryThrowsAndTheNextWorks) {
  if (!HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  EpochDomain domain;
  {
    const HeapFailure failure;
    EXPECT_THROW(static_cast<void>(domain.Pin()), std::bad_alloc);
  }
  EXPECT_FALSE(domain.IsPinned());
  const EpochDomain::Guard guard = domain.Pin();
  EXPECT_TRUE(domain.IsPinned());
}

// ---- Pin ----

TEST(EpochTest, GuardsNestAndEndInAnyOrder) {
  std::atomic<int> ends{0};
  EpochDomain domain;
  EXPECT_FALSE(domain.IsPinned());
  std::optional<EpochDomain::Guard> outer = domain.Pin();
  std::optional<EpochDomain::Guard> inner = domain.Pin();
  std::optional<EpochDomain::Guard> innermost = domain.Pin();
  domain.Retire(new Tracked(ends));
  outer.reset();
  EXPECT_EQ(domain.TryReclaim(), 0u);
  innermost.reset();
  EXPECT_EQ(domain.TryReclaim(), 0u);
  EXPECT_TRUE(domain.IsPinned());
  inner.reset();
  EXPECT_FALSE(domain.IsPinned());
  EXPECT_EQ(domain.TryReclaim(), 1u);
}

TEST(EpochTest, MovedGuardsEndOnceAndMovedFromOnesNever) {
  EpochDomain domain, other;
  EpochDomain::Guard a = domain.Pin();
  EpochDomain::Guard b = std::move(a);
  EXPECT_TRUE(domain.IsPinned());
  b = other.Pin();
  EXPECT_FALSE(domain.IsPinned()) << "assignment ends the old one";
  EXPECT_TRUE(other.IsPinned());
  a = std::move(b);
  EpochDomain::Guard& self = a;
  a = std::move(self);
  EXPECT_TRUE(other.IsPinned());
  b = std::move(a);
  EXPECT_TRUE(other.IsPinned());
  {
    const EpochDomain::Guard end = std::move(b);
  }
  EXPECT_FALSE(other.IsPinned());
}

TEST(EpochTest, AsManyGuardsAsPromisedExistAtOnce) {
  EpochDomain domain;
  std::vector<EpochDomain::Guard> guards;
  for (int i = 0; i < 32'767; ++i) guards.push_back(domain.Pin());
  EXPECT_DEATH(guards.push_back(domain.Pin()), "more than 32,767 Guards");
  guards.clear();
  EXPECT_FALSE(domain.IsPinned());
}

TEST(EpochTest, DomainsAreIndependent) {
  std::atomic<int> ends{0};
  EpochDomain pinned, free;
  const EpochDomain::Guard guard = pinned.Pin();
  EXPECT_FALSE(free.IsPinned());
  pinned.Retire(new Tracked(ends));
  free.Retire(new Tracked(ends));
  EXPECT_EQ(pinned.TryReclaim(), 0u);
  EXPECT_EQ(free.TryReclaim(), 1u);
  free.Synchronize();
  EXPECT_FALSE(EpochDomain::Default().IsPinned());
  EXPECT_EQ(&EpochDomain::Default(), &EpochDomain::Default());
}

TEST(EpochTest, WhatWasRetiredBeforeAReaderPinnedDoesNotWaitForIt) {
  std::atomic<int> ends{0};
  EpochDomain domain;
  std::atomic<int> step{0};
  std::thread old_reader([&] {
    const EpochDomain::Guard guard = domain.Pin();
    step.store(1);
    WaitFor(step, 2);
  });
  WaitFor(step, 1);
  domain.Retire(new Tracked(ends));
  EXPECT_EQ(domain.TryReclaim(), 0u) << "its grace period has begun now";
  std::atomic<int> new_step{0};
  std::thread new_reader([&] {
    const EpochDomain::Guard guard = domain.Pin();
    new_step.store(1);
    WaitFor(new_step, 2);
  });
  WaitFor(new_step, 1);
  step.store(2);
  old_reader.join();
  EXPECT_EQ(domain.TryReclaim(), 1u) << "although the new reader is pinned";
  new_step.store(2);
  new_reader.join();
}

#ifndef NDEBUG
TEST(EpochDeathTest, DebugBuildsRefuseToParkWhilePinned) {
  EpochDomain domain;
  StdSync::Atomic<uint32_t> word{1};
  {
    const EpochDomain::Guard outer = domain.Pin();
    {
      const EpochDomain::Guard inner = domain.Pin();
    }
    EXPECT_DEATH(static_cast<void>(StdSync::Park(word, 0)), "parks where it must not");
  }
  EXPECT_TRUE(StdSync::Park(word, 0));
}

TEST(EpochDeathTest, DebugBuildsRefuseToWaitForRoomWhilePinnedInAnotherDomain) {
  EXPECT_DEATH(
      {
        EpochDomain other;
        EpochDomain full(EpochOptions{.max_pending = 1});
        std::atomic<int> step{0};
        std::thread reader([&] {
          const EpochDomain::Guard guard = full.Pin();
          step.store(1);
          for (;;) StdSync::Yield();
        });
        WaitFor(step, 1);
        const EpochDomain::Guard guard = other.Pin();
        for (int i = 0; i < 2; ++i) full.Retire(new int(1));
      },
      "parks where it must not");
}

TEST(EpochDeathTest, DebugBuildsRefuseToEndAGuardElsewhere) {
  EpochDomain domain;
  EXPECT_DEATH(
      {
        std::optional<EpochDomain::Guard> guard = domain.Pin();
        std::thread([&] { guard.reset(); }).join();
      },
      "a Guard ends in another thread");
}
#endif

// ---- The bound ----

TEST(EpochTest, PendingObjectsStayWithinTheBoundExactly) {
  for (const size_t bound : {1u, 2u, 3u, 7u, 63u, 64u, 65u, 1000u}) {
    std::atomic<int> ends{0};
    EpochDomain domain(EpochOptions{.max_pending = bound});
    for (int i = 1; i <= 3'000; ++i) {
      domain.Retire(new TrackedRetiree(ends));
      ASSERT_LE(i - ends.load(), static_cast<int>(bound)) << "bound " << bound;
    }
    EXPECT_EQ(domain.Stats().over_limit, 0u);
    EXPECT_EQ(domain.Stats().waits, 0u);
  }
}

TEST(EpochTest, RetireWaitsForTheReaderWhenFull) {
  std::atomic<int> ends{0};
  EpochDomain domain(EpochOptions{.max_pending = 5});
  std::atomic<int> step{0};
  std::atomic<bool> retired_all{false};
  std::thread reader([&] {
    std::optional<EpochDomain::Guard> guard = domain.Pin();
    step.store(1);
    SpinWait<> wait;
    while (domain.Stats().waits == 0) wait();
    EXPECT_EQ(domain.Stats().pending, 5u);
    EXPECT_FALSE(retired_all.load());
    EXPECT_EQ(ends.load(), 0);
    guard.reset();
  });
  WaitFor(step, 1);
  for (int i = 0; i < 6; ++i) domain.Retire(new Tracked(ends));
  retired_all.store(true);
  EXPECT_EQ(ends.load(), 5);
  EXPECT_EQ(domain.Stats().waits, 1u);
  reader.join();
}

TEST(EpochTest, PinnedThreadNeverWaitsForItselfAndItIsCounted) {
  std::atomic<int> ends{0};
  EpochDomain domain(EpochOptions{.max_pending = 4});
  {
    const EpochDomain::Guard guard = domain.Pin();
    for (int i = 0; i < 100; ++i) domain.Retire(new Tracked(ends));
    EXPECT_EQ(domain.Stats().over_limit, 96u);
    EXPECT_EQ(domain.Stats().pending, 100u);
    EXPECT_EQ(ends.load(), 0);
  }
  domain.Retire(new Tracked(ends));
  EXPECT_GE(ends.load(), 100) << "back within the bound";
  EXPECT_EQ(domain.Stats().over_limit, 96u);
}

TEST(EpochTest, GrowingDomainGoesBeyondTheBoundAndSaysSo) {
  std::atomic<int> ends{0};
  EpochDomain domain(EpochOptions{.max_pending = 10, .when_full = EpochOptions::kGrow});
  std::atomic<int> step{0};
  std::thread reader([&] {
    const EpochDomain::Guard guard = domain.Pin();
    step.store(1);
    WaitFor(step, 2);
  });
  WaitFor(step, 1);
  for (int i = 0; i < 1'000; ++i) domain.Retire(new Tracked(ends));
  EXPECT_EQ(domain.Stats().over_limit, 990u);
  EXPECT_EQ(domain.Stats().waits, 0u);
  step.store(2);
  reader.join();
  EXPECT_EQ(domain.TryReclaim(), 1'000u);
}

// A thread that reclaims while another has 10,000 objects in hand, about to be destroyed, takes them for garbage that
// stays; when they are gone, the next pass must not wait for as many again.
TEST(EpochTest, WhatIsBeingDestroyedDoesNotPutTheNextPassOff) {
  std::atomic<int> ends{0};
  EpochDomain domain(EpochOptions{.max_pending = 4'096, .when_full = EpochOptions::kGrow});
  struct Meets {
    EpochDomain& domain;
    std::atomic<int>& ends;
    ~Meets() {
      std::thread([this] {
        for (int i = 0; i < 2'000; ++i) domain.Retire(new Tracked(ends));
      }).join();
    }
  };
  {
    const EpochDomain::Guard guard = domain.Pin();
    for (int i = 0; i < 10'000; ++i) domain.Retire(new Tracked(ends));
    domain.Retire(new Meets{domain, ends});  // the last is the first to be destroyed
  }
  domain.TryReclaim();
  const uint64_t over_limit = domain.Stats().over_limit;
  size_t most = 0;
  for (int i = 0; i < 8'000; ++i) {
    domain.Retire(new Tracked(ends));
    most = std::max(most, domain.Stats().pending);
  }
  EXPECT_LE(most, 4'096u);
  EXPECT_EQ(domain.Stats().over_limit, over_limit);
}

TEST(EpochTest, IdleThreadsDoNotUseUpTheBound) {
  std::atomic<int> ends{0};
  EpochDomain domain(EpochOptions{.max_pending = 200});
  std::vector<std::thread> idle;
  std::atomic<int> step{0};
  for (int i = 0; i < 150; ++i) {
    idle.emplace_back([&] {
      domain.Retire(new Tracked(ends));
      step.fetch_add(1);
      WaitFor(step, 1000);
    });
  }
  WaitFor(step, 150);
  for (int i = 0; i < 2'000; ++i) domain.Retire(new Tracked(ends));
  EXPECT_EQ(domain.Stats().over_limit, 0u);
  EXPECT_LE(domain.Stats().heavy_fences, 2'000u / 16);
  domain.TryReclaim();
  EXPECT_EQ(ends.load(), 2'150) << "what idle threads retired, others destroy";
  std::atomic<int> pinned{0};
  std::thread reader([&] {
    const EpochDomain::Guard guard = domain.Pin();
    pinned.store(1);
    WaitFor(pinned, 2);
  });
  WaitFor(pinned, 1);
  for (int i = 0; i < 50; ++i) domain.Retire(new Tracked(ends));
  EXPECT_EQ(domain.Stats().waits, 0u);
  pinned.store(2);
  reader.join();
  step.store(1000);
  for (std::thread& thread : idle) thread.join();
}

TEST(EpochDeathTest, BoundOfNothingIsACheck) {
  EXPECT_DEATH(EpochDomain(EpochOptions{.max_pending = 0}), "max_pending must be at least 1");
}

// ---- Stalls ----

TEST(EpochTest, StalledReaderIsReportedOnceAndMeasured) {
  std::vector<EpochStall> stalls;
  EpochDomain domain(EpochOptions{.on_stall = [&](const EpochStall& stall) { stalls.push_back(stall); },
                                  .stall_after = std::chrono::milliseconds(2)});
  std::atomic<int> ends{0}, step{0};
  uint32_t reader_index = 0;
  std::thread reader([&] {
    reader_index = StdSync::ThreadIndex();
    for (int round = 0; round < 2; ++round) {
      const EpochDomain::Guard guard = domain.Pin();
      step.fetch_add(1);
      WaitFor(step, 2 * round + 2);
    }
  });
  for (size_t round = 0; round < 2; ++round) {
    WaitFor(step, static_cast<int>(2 * round) + 1);
    EXPECT_EQ(domain.Stats().longest_pin.count(), 0) << "it holds nothing up yet";
    domain.Retire(new Tracked(ends));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(domain.TryReclaim(), 0u);
    while (stalls.size() == round) EXPECT_EQ(domain.TryReclaim(), 0u);
    EXPECT_EQ(domain.TryReclaim(), 0u);
    ASSERT_EQ(stalls.size(), round + 1) << "once for each pin";
    EXPECT_EQ(stalls[round].thread_index, reader_index);
    EXPECT_EQ(stalls[round].pending, 1u);
    EXPECT_GE(stalls[round].pinned_for, std::chrono::milliseconds(2));
    EXPECT_LE(stalls[round].pinned_for, std::chrono::steady_clock::now() - start);
    EXPECT_GE(domain.Stats().longest_pin, stalls[round].pinned_for);
    EXPECT_GE(domain.Stats().longest_pin, std::chrono::milliseconds(2));
    EXPECT_LE(domain.Stats().longest_pin, std::chrono::steady_clock::now() - start);
    step.fetch_add(1);
    while (domain.TryReclaim() == 0) {
    }
  }
  reader.join();
  EXPECT_EQ(domain.Stats().longest_pin.count(), 0);
  EXPECT_EQ(domain.Stats().stalls, 2u);
}

// The report comes while the thread waits for room. What it reclaimed so far is safe, and the callback may retire.
TEST(EpochTest, StallReportMayRetire) {
  std::atomic<int> ends{0}, step{0};
  EpochDomain* reported = nullptr;
  EpochDomain domain(EpochOptions{.max_pending = 1,
                                  .on_stall =
                                      [&](const EpochStall&) {
                                        step.store(2);
                                        reported->Retire(new Tracked(ends));
                                      },
                                  .stall_after = {}});
  reported = &domain;
  std::thread reader([&] {
    const EpochDomain::Guard guard = domain.Pin();
    step.store(1);
    WaitFor(step, 2);
  });
  WaitFor(step, 1);
  domain.Retire(new Tracked(ends));
  domain.Retire(new Tracked(ends));
  reader.join();
  domain.Synchronize();
  EXPECT_EQ(ends.load(), 3);
  EXPECT_EQ(domain.Stats().pending, 0u);
  EXPECT_EQ(domain.Stats().stalls, 1u);
}

TEST(EpochTest, StallReportComesAfterWhatWasReclaimedIsSafe) {
  std::atomic<int> ends{0};
  EpochDomain* reported = nullptr;
  std::vector<size_t> reclaimed;
  EpochDomain domain(EpochOptions{.on_stall = [&](const EpochStall&) { reclaimed.push_back(reported->TryReclaim()); },
                                  .stall_after = {}});
  reported = &domain;
  std::optional<EpochDomain::Guard> guard = domain.Pin();
  domain.Retire(new Tracked(ends));
  EXPECT_EQ(domain.TryReclaim(), 0u);
  guard.reset();
  guard.emplace(domain.Pin());
  domain.Retire(new Tracked(ends));
  domain.TryReclaim();  // the first object's grace period has ended, the second's is held up
  EXPECT_EQ(reclaimed, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(ends.load(), 1);
}

TEST(EpochDeathTest, StallReportThatThrowsEndsTheProcess) {
  EXPECT_DEATH(
      {
        EpochDomain domain(EpochOptions{.on_stall = [](const EpochStall&) { throw 1; }, .stall_after = {}});
        const EpochDomain::Guard guard = domain.Pin();
        domain.Retire(new int(1));
        try {
          domain.TryReclaim();
        } catch (int) {
        }
      },
      "");
}

// ---- Synchronize ----

TEST(EpochTest, SynchronizeWaitsForReadersAndDestroysWhatWasRetired) {
  std::atomic<int> ends{0}, step{0};
  EpochDomain domain;
  std::atomic<bool> left{false};
  std::thread reader([&] {
    const EpochDomain::Guard guard = domain.Pin();
    step.store(1);
    SpinWait<> wait;
    while (domain.Stats().heavy_fences == 0) wait();
    EXPECT_EQ(ends.load(), 0);
    left.store(true);
  });
  WaitFor(step, 1);
  domain.Retire(new Tracked(ends));
  domain.Synchronize();
  EXPECT_TRUE(left.load());
  EXPECT_EQ(ends.load(), 1);
  reader.join();
  domain.Synchronize();
}

TEST(EpochDeathTest, SynchronizeWhilePinnedIsACheck) {
  EpochDomain domain;
  const EpochDomain::Guard guard = domain.Pin();
  EXPECT_DEATH(domain.Synchronize(), "would wait for the Guard of its own thread");
}

TEST(EpochTest, DeleterMaySynchronize) {
  struct Synchronizes {
    explicit Synchronizes(EpochDomain& domain) : domain(domain) {}
    ~Synchronizes() { domain.Synchronize(); }
    EpochDomain& domain;
  };
  EpochDomain domain;
  for (int i = 0; i < 10; ++i) domain.Retire(new Synchronizes(domain));
  EXPECT_EQ(domain.TryReclaim(), 10u);
}

// ---- The end of domains and threads ----

TEST(EpochTest, DestructorDestroysEverythingOnce) {
  std::atomic<int> ends{0};
  {
    EpochDomain domain;
    std::thread([&] {
      for (int i = 0; i < 300; ++i) domain.Retire(new Tracked(ends));
    }).join();
    for (int i = 0; i < 300; ++i) domain.Retire(new TrackedRetiree(ends));
  }
  EXPECT_EQ(ends.load(), 600);
}

TEST(EpochDeathTest, DestroyingAPinnedDomainIsACheck) {
  EXPECT_DEATH(
      {
        EpochDomain* domain = new EpochDomain;
        const EpochDomain::Guard guard = domain->Pin();
        delete domain;
      },
      "destroyed while a thread is pinned");
}

TEST(EpochTest, DomainMayEndBeforeItsThreadsDo) {
  std::atomic<int> step{0}, ends{0};
  auto domain = std::make_unique<EpochDomain>();
  std::thread thread([&] {
    {
      const EpochDomain::Guard guard = domain->Pin();
      domain->Retire(new Tracked(ends));
    }
    step.store(1);
    WaitFor(step, 2);
  });
  WaitFor(step, 1);
  domain.reset();
  EXPECT_EQ(ends.load(), 1);
  step.store(2);
  thread.join();
}

TEST(EpochTest, WhatIdleThreadsRetiredOthersFindInTime) {
  std::atomic<int> idle{0}, busy{0}, step{0};
  EpochDomain domain;
  std::thread thread([&] {
    domain.Retire(new TrackedRetiree(idle));
    step.store(1);
    WaitFor(step, 2);
  });
  WaitFor(step, 1);
  int retired = 0;
  for (; idle.load() == 0 && retired < 50'000; ++retired) domain.Retire(new TrackedRetiree(busy));
  EXPECT_EQ(idle.load(), 1);
  EXPECT_GT(busy.load(), 10'000) << "a thread looks after its own first";
  step.store(2);
  thread.join();
}

// A thread that stops in the middle of Retire.
struct StopsInRetire : StdSync {
  static inline std::atomic<int> step{0}, heavy_fences{0};
  static inline thread_local bool stops = false;
  static void FreeLightFence() noexcept {
    StdSync::FreeLightFence();
    if (!std::exchange(stops, false)) return;
    step.store(1);
    WaitFor(step, 2);
  }
  static void HeavyFence() noexcept {
    StdSync::HeavyFence();
    heavy_fences.fetch_add(1);
  }
};

class EpochStoppedInRetireTest : public testing::Test {
 protected:
  using Domain = BasicEpochDomain<StopsInRetire>;
  struct Object : Domain::Retiree, Tracked {
    using Tracked::Tracked;
  };

  EpochStoppedInRetireTest() {
    if (!StdSync::AsymmetricFences()) return;
    StopsInRetire::step.store(0);
    StopsInRetire::heavy_fences.store(0);
    thread_ = std::thread([this] {
      for (int i = 0; i < 3; ++i) domain_.Retire(new Object(ends_));
      StopsInRetire::stops = true;
      domain_.Retire(new Object(ends_));
    });
    WaitFor(StopsInRetire::step, 1);
  }
  void SetUp() override {
    if (!thread_.joinable()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  }
  void GoOn() {
    StopsInRetire::step.store(2);
    thread_.join();
  }

  std::atomic<int> ends_{0};
  Domain domain_;
  std::thread thread_;
};

TEST_F(EpochStoppedInRetireTest, TryReclaimPassesItBy) {
  EXPECT_EQ(domain_.TryReclaim(), 0u);
  GoOn();
  EXPECT_EQ(domain_.TryReclaim(), 4u);
  EXPECT_EQ(ends_.load(), 4);
}

TEST_F(EpochStoppedInRetireTest, SynchronizeWaitsForIt) {
  std::thread synchronizes([this] {
    domain_.Synchronize();
    EXPECT_GE(ends_.load(), 3);
  });
  WaitFor(StopsInRetire::heavy_fences, 1);
  GoOn();
  synchronizes.join();
  domain_.Synchronize();
  EXPECT_EQ(ends_.load(), 4);
}

TEST(EpochTest, WhatEndedThreadsRetiredOthersDestroy) {
  std::atomic<int> ends{0};
  EpochDomain domain;
  for (int i = 0; i < 20; ++i) {
    std::thread([&] {
      const EpochDomain::Guard guard = domain.Pin();
      for (int k = 0; k < 10; ++k) domain.Retire(new Tracked(ends));
    }).join();
  }
  EXPECT_EQ(domain.Stats().pending, 200u);
  EXPECT_EQ(domain.Stats().threads, 0u);
  EXPECT_EQ(domain.TryReclaim(), 200u);
  EXPECT_EQ(ends.load(), 200);
}

TEST(EpochTest, MoreThreadsThanABlockHoldsPinAtOnce) {
  constexpr int kThreads = 40;
  std::atomic<int> ends{0}, step{0};
  EpochDomain domain;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const EpochDomain::Guard guard = domain.Pin();
      domain.Retire(new Tracked(ends));
      step.fetch_add(1);
      WaitFor(step, kThreads + 1);
    });
  }
  WaitFor(step, kThreads);
  EXPECT_EQ(domain.Stats().threads, static_cast<size_t>(kThreads));
  EXPECT_EQ(domain.TryReclaim(), 0u);
  step.fetch_add(1);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(domain.TryReclaim(), static_cast<size_t>(kThreads));
}

TEST(EpochTest, GuardInAThreadLocalEndsWithItsThread) {
  static EpochDomain& domain = *new EpochDomain;
  std::atomic<int> ends{0};
  std::thread([&] {
    static thread_local std::optional<EpochDomain::Guard> guard;
    guard = domain.Pin();
    domain.Retire(new Tracked(ends));
    EXPECT_EQ(domain.TryReclaim(), 0u);
  }).join();
  EXPECT_EQ(domain.TryReclaim(), 1u);
}

TEST(EpochTest, ThreadMayComeBackFromADestructorThatRunsAfterItsExitHooks) {
  struct Later {
    EpochDomain domain;
    pthread_key_t key;
    std::atomic<int> ends{0};
    int rounds = 0;
  };
  Later later;
  static Later* static_later;
  static_later = &later;
  ASSERT_EQ(pthread_key_create(&later.key,
                               [](void*) {
                                 if (++static_later->rounds == 1) {
                                   pthread_setspecific(static_later->key, static_later);
                                   return;
                                 }
                                 const EpochDomain::Guard guard = static_later->domain.Pin();
                                 static_later->domain.Retire(new Tracked(static_later->ends));
                               }),
            0);
  std::thread([&] {
    const EpochDomain::Guard guard = later.domain.Pin();
    pthread_setspecific(later.key, &later);
  }).join();
  pthread_key_delete(later.key);
  EXPECT_EQ(later.rounds, 2);
  EXPECT_EQ(later.domain.Stats().threads, 0u);
  EXPECT_EQ(later.domain.TryReclaim(), 1u);
}

TEST(EpochDeathTest, ThreadThatEndsPinnedIsACheck) {
  EXPECT_DEATH(
      {
        EpochDomain domain;
        std::thread([&] { new EpochDomain::Guard(domain.Pin()); }).join();
      },
      "a thread ended with a Guard");
}

TEST(EpochTest, ProcessMayExitWhileThreadsArePinnedInTheDefaultDomain) {
  EXPECT_EXIT(
      {
        std::atomic<int> step{0};
        std::thread reader([&] {
          const EpochDomain::Guard guard = EpochDomain::Default().Pin();
          step.store(1);
          for (;;) StdSync::Yield();
        });
        WaitFor(step, 1);
        EpochDomain::Default().Retire(new int(1));
        exit(0);
      },
      testing::ExitedWithCode(0), "");
}

// ---- fork(2) ----

TEST(EpochTest, ThreadsThatAForkLeftBehindDoNotStallTheChild) {
  std::atomic<int> ends{0}, step{0};
  EpochDomain domain(EpochOptions{.max_pending = 100});
  std::thread left_behind([&] {
    const EpochDomain::Guard guard = domain.Pin();
    for (int i = 0; i < 50; ++i) domain.Retire(new Tracked(ends));
    step.store(1);
    WaitFor(step, 2);
  });
  WaitFor(step, 1);
  EXPECT_EQ(domain.TryReclaim(), 0u);
  EXPECT_EQ(ExitCodeOfFork([&] {
              for (int i = 0; i < 1'000; ++i) domain.Retire(new Tracked(ends));
              if (domain.Stats().over_limit != 0) return 1;
              domain.Synchronize();
              if (domain.Stats().pending != 0) return 2;
              if (ends.load() != 1'050) return 3;
              return domain.Stats().threads == 1 ? 0 : 4;
            }),
            0);
  step.store(2);
  left_behind.join();
  EXPECT_EQ(domain.TryReclaim(), 50u);
}

TEST(EpochTest, ForkWhilePinnedLeavesBothSidesPinned) {
  std::atomic<int> ends{0};
  EpochDomain domain;
  std::optional<EpochDomain::Guard> guard = domain.Pin();
  domain.Retire(new Tracked(ends));
  EXPECT_EQ(ExitCodeOfFork([&] {
              if (domain.TryReclaim() != 0) return 1;
              guard.reset();
              return domain.TryReclaim() == 1 ? 0 : 2;
            }),
            0);
  EXPECT_EQ(domain.TryReclaim(), 0u);
  guard.reset();
  EXPECT_EQ(domain.TryReclaim(), 1u);
}

// What a thread had in hand is lost in the child, but not the room that it took.
TEST(EpochTest, ForkInTheMiddleOfAnothersReclaimingLeavesRoomInTheChild) {
  struct Slow {
    Slow(std::atomic<int>& step) : step(step) {}
    ~Slow() {
      step.store(1);
      WaitFor(step, 2);
    }
    std::atomic<int>& step;
  };
  std::atomic<int> step{0}, ends{0};
  EpochDomain domain(EpochOptions{.max_pending = 70});
  std::thread reclaimer([&] {
    for (int i = 0; i < 10; ++i) domain.Retire(new Tracked(ends));
    domain.Retire(new Slow(step));
    domain.TryReclaim();
  });
  WaitFor(step, 1);
  EXPECT_EQ(ExitCodeOfFork([&] {
              for (int i = 0; i < 500; ++i) domain.Retire(new Tracked(ends));
              domain.Synchronize();
              if (domain.Stats().over_limit != 0) return 1;
              if (domain.Stats().pending != 0) return 2;
              return ends.load() >= 500 ? 0 : 3;
            }),
            0);
  step.store(2);
  reclaimer.join();
  EXPECT_EQ(ends.load(), 10);
  EXPECT_EQ(domain.Stats().pending, 0u);
}

// The lock of a thread that was choosing what to destroy is taken over in the child.
struct StopsInTheFence : StdSync {
  static inline std::atomic<int> step{0};
  static void HeavyFence() noexcept {
    if (step.load() == 1) {
      step.store(2);
      WaitFor(step, 3);
    }
    StdSync::HeavyFence();
  }
};

TEST(EpochTest, ForkWhileAnotherThreadHoldsTheLockLetsTheChildGoOn) {
  std::atomic<int> ends{0};
  BasicEpochDomain<StopsInTheFence> domain(EpochOptions{.max_pending = 70});
  std::thread reclaimer([&] {
    for (int i = 0; i < 10; ++i) domain.Retire(new Tracked(ends));
    StopsInTheFence::step.store(1);
    domain.TryReclaim();
  });
  WaitFor(StopsInTheFence::step, 2);
  EXPECT_EQ(domain.TryReclaim(), 0u) << "the other thread is choosing";
  EXPECT_EQ(ExitCodeOfFork([&] {
              for (int i = 0; i < 500; ++i) domain.Retire(new Tracked(ends));
              domain.Synchronize();
              if (domain.Stats().pending != 0) return 1;
              return ends.load() == 510 ? 0 : 2;
            }),
            0);
  StopsInTheFence::step.store(3);
  reclaimer.join();
  EXPECT_EQ(ends.load(), 10);
}

// A thread that stops before its n-th operation on anything that the domain shares, for a fork by another thread.
struct StopsAnywhere : StdSync {
  static inline std::atomic<int> step{0};  // 1: it stopped; 2: it may go on
  static inline thread_local int operations_left = -1;

  static void Count() {
    if (operations_left >= 0 && operations_left-- == 0) {
      step.store(1);
      WaitFor(step, 2);
    }
  }

  template <class T>
  class Atomic : public std::atomic<T> {
    using Word = std::atomic<T>;

   public:
    using Word::Word;
    T load(std::memory_order order) const noexcept { return Count(), Word::load(order); }
    void store(T value, std::memory_order order) noexcept { Count(), Word::store(value, order); }
    T exchange(T value, std::memory_order order) noexcept { return Count(), Word::exchange(value, order); }
    T fetch_add(T value, std::memory_order order) noexcept { return Count(), Word::fetch_add(value, order); }
    T fetch_sub(T value, std::memory_order order) noexcept { return Count(), Word::fetch_sub(value, order); }
    bool compare_exchange_weak(T& expected, T value, std::memory_order success, std::memory_order failure) noexcept {
      return compare_exchange_strong(expected, value, success, failure);
    }
    bool compare_exchange_strong(T& expected, T value, std::memory_order success, std::memory_order failure) noexcept {
      return Count(), Word::compare_exchange_strong(expected, value, success, failure);
    }
  };
  template <class T>
  class Var : public StdSync::Var<T> {
    using Plain = StdSync::Var<T>;

   public:
    using Plain::Plain;
    const T& Read() const noexcept { return Count(), Plain::Read(); }
    void Write(T value) noexcept { Count(), Plain::Write(value); }
    T& Edit() noexcept { return Count(), Plain::Edit(); }
  };
};

// Wherever it was, the child goes on, loses at most what that thread had in hand, and has all the room.
TEST(EpochTest, ForkAtAnyOperationOfAnotherThreadLeavesTheChildWhole) {
  struct Object : BasicEpochDomain<StopsAnywhere>::Retiree, Tracked {
    using Tracked::Tracked;
  };
  int stops = 0;
  for (bool stopped = true; stopped && !HasFailure(); ++stops) {
    StopsAnywhere::step.store(0);
    std::atomic<int> ends{0};
    BasicEpochDomain<StopsAnywhere> domain(EpochOptions{.max_pending = 300});
    domain.Retire(new Object(ends));
    const auto live = [&] {
      StopsAnywhere::operations_left = stops;
      for (int i = 0; i < 3; ++i) domain.Retire(new Object(ends));
      domain.TryReclaim();
      domain.Retire(new Object(ends));
      {
        const auto guard = domain.Pin();
        domain.Retire(new Object(ends));
      }
      domain.Synchronize();
      domain.Retire(new Object(ends));
    };
    std::atomic<bool> done{false};
    std::thread other([&] {
      std::thread(live).join();  // its exit hook included
      done.store(true);
    });
    SpinWait<> wait;
    while (!done.load() && StopsAnywhere::step.load() == 0) wait();
    stopped = StopsAnywhere::step.load() == 1;
    if (stopped) {
      const auto in_child = [&] {
        for (int i = 0; i < 20; ++i) domain.Retire(new Object(ends));
        domain.Synchronize();
        const EpochStats stats = domain.Stats();
        if (stats.pending != 0) return 1;
        return stats.over_limit == 0 ? 0 : 2;
      };
      EXPECT_EQ(ExitCodeOfFork(in_child), 0) << "stopped before operation " << stops;
    }
    StopsAnywhere::step.store(2);
    other.join();
    domain.Synchronize();
    EXPECT_EQ(ends.load(), 7);
  }
  EXPECT_GT(stops, 100);
}

// ---- Report ----

TEST(EpochTest, DescribeSaysWhichFencesAndWhatHappensWhenFull) {
  const EpochDomain waits(EpochOptions{.max_pending = 123}), grows(EpochOptions{.when_full = EpochOptions::kGrow});
  EXPECT_NE(waits.Describe().find("123 objects pending, then retiring waits"), std::string::npos) << waits.Describe();
  EXPECT_NE(grows.Describe().find("65536 objects pending, then more, counted"), std::string::npos) << grows.Describe();
  EXPECT_EQ(waits.Describe().find("readers run no fence") != std::string::npos, StdSync::AsymmetricFences());
}

// ---- Counts ----

using Counting = CountingSync<>;

TEST(EpochGoldenTest, PinAndUnpinAreFourLoadsTwoStoresAndALightFence) {
  BasicEpochDomain<Counting> domain;
  domain.Register();
  Counting::counts = {};
  {
    const auto guard = domain.Pin();
    EXPECT_EQ(Counting::counts, (SyncCounts{.loads = 3, .stores = 1, .light_fences = 1}));  // block, word, epoch
    const SyncCounts nested = Counting::CountsOf([&] { const auto inner = domain.Pin(); });
    EXPECT_EQ(nested.light_fences, 0u);
    EXPECT_EQ(nested.stores, 2u);
    EXPECT_EQ(nested.rmws, 0u);
    Counting::counts = {};
  }
  EXPECT_EQ(Counting::counts, (SyncCounts{.loads = 1, .stores = 1}));
}

TEST(EpochGoldenTest, RetiringSixtyFourObjectsIsOneRmw) {
  if (!StdSync::AsymmetricFences()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  BasicEpochDomain<Counting> domain;
  struct Object : BasicEpochDomain<Counting>::Retiree {};
  domain.Retire(new Object);
  const SyncCounts one = Counting::CountsOf([&] { domain.Retire(new Object); });
  EXPECT_EQ(one.rmws, 0u);
  EXPECT_EQ(one.light_fences, 1u);
  EXPECT_EQ(one.heavy_fences, 0u);
  const SyncCounts many = Counting::CountsOf([&] {
    for (int i = 0; i < 51'200; ++i) domain.Retire(new Object);
  });
  EXPECT_EQ(many.heavy_fences, 50u);
  EXPECT_LE(many.rmws, 51'200u / 12);
}

TEST(EpochGoldenTest, RetireIsWithoutRmwAgainAfterOthersTookWhatWasRetired) {
  if (!StdSync::AsymmetricFences()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  BasicEpochDomain<Counting> domain;
  struct Object : BasicEpochDomain<Counting>::Retiree {};
  std::atomic<int> step{0};
  std::thread thread([&] {
    domain.Retire(new Object);
    step.store(1);
    WaitFor(step, 2);
    EXPECT_EQ(Counting::CountsOf([&] { domain.Retire(new Object); }).rmws, 0u);
  });
  WaitFor(step, 1);
  EXPECT_EQ(domain.TryReclaim(), 1u);
  step.store(2);
  thread.join();
}

}  // namespace
}  // namespace hotpath
