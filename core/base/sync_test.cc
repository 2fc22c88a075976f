#include "hotpath/core/base/sync.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/cacheline.h"

namespace hotpath {
namespace {

using std::chrono::milliseconds;

// Runs `body` in a child process; its exit code, or -1 if a signal ended it.
int ExitCodeOfFork(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// ---- The policy as a concept ----

struct PolicyWithoutFences : StdSync {
  static void Fence(std::memory_order) = delete;
};
struct PolicyLikeTheStandardOne : StdSync {};
static_assert(SyncPolicy<PolicyLikeTheStandardOne>);
static_assert(!SyncPolicy<PolicyWithoutFences>);
static_assert(!SyncPolicy<int>);

// Globals of these types need no dynamic initialisation, and a Var costs what it holds.
[[maybe_unused]] constinit StdSync::Mutex g_constant_mutex;
constinit StdSync::Var<int> g_constant_var{7};
static_assert(sizeof(StdSync::Var<char>) == 1);
static_assert(std::is_trivially_destructible_v<ThreadExitHook>);

static_assert(sizeof(Padded<char>) == 128 && alignof(Padded<char>) == 128);
static_assert(sizeof(Padded<char[129]>) == 256);
static_assert(sizeof(Padded<uint64_t, 8>) == 8, "a model's small line");
struct alignas(256) Wide {};
static_assert(alignof(Padded<Wide>) == 256, "an alignment above the line is kept");

// ---- Var and Mutex ----

TEST(VarTest, ReadEditAndWriteSeeOneValue) {
  StdSync::Var<std::unique_ptr<int>> var;
  EXPECT_EQ(var.Read(), nullptr);
  var.Write(std::make_unique<int>(1));
  *var.Edit() += 1;
  EXPECT_EQ(*var.Read(), 2);
  EXPECT_EQ(g_constant_var.Read(), 7);
}

TEST(MutexTest, TryLockFailsWhileAnotherThreadHoldsTheMutex) {
  StdSync::Mutex mu;
  mu.Lock();
  std::thread([&] {
    const bool locked = mu.TryLock();
    EXPECT_FALSE(locked);
    if (locked) mu.Unlock();
  }).join();
  mu.Unlock();
  const bool locked = mu.TryLock();
  EXPECT_TRUE(locked);
  if (locked) mu.Unlock();
}

struct Account {
  StdSync::Mutex mu;
  StdSync::Var<int> total HOTPATH_GUARDED_BY(mu){0};
};

TEST(MutexTest, MutexLockExcludesOtherThreads) {
  Account account;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 2000; ++n) {
        MutexLock lock(account.mu);
        account.total.Write(account.total.Read() + 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(account.mu);
  EXPECT_EQ(account.total.Read(), 8000);
}

// ---- New and Delete ----

struct alignas(64) CountsItself {
  static inline int alive = 0;
  explicit CountsItself(std::unique_ptr<int> v) : value(std::move(v)) { ++alive; }
  ~CountsItself() { --alive; }
  std::unique_ptr<int> value;
};

TEST(NewTest, NewForwardsAndAlignsAndDeleteDestroys) {
  CountsItself* object = StdSync::New<CountsItself>(std::make_unique<int>(5));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(object) % 64, 0u);
  EXPECT_EQ(*object->value, 5);
  EXPECT_EQ(CountsItself::alive, 1);
  StdSync::Delete(object);
  EXPECT_EQ(CountsItself::alive, 0);
  StdSync::Delete(static_cast<CountsItself*>(nullptr));
}

// ---- Asymmetric fences ----

// A few nanoseconds, different ones each round: the two sides drift past each other.
void Stagger(uint64_t turns) {
  for (std::atomic<uint64_t> i{0}; i.load(std::memory_order::relaxed) < turns;)
    i.fetch_add(1, std::memory_order::relaxed);
}

// Store buffering: each thread stores its own word, then loads the other's. Both must not read the old value.
uint64_t RoundsInWhichNeitherSawTheOther(uint64_t rounds) {
  Padded<std::atomic<uint64_t>> x, y, seen_by_a, arrived;
  uint64_t seen_by_b = 0, bad = 0;
  const auto meet = [&](uint64_t step) {
    arrived.value.fetch_add(1, std::memory_order::acq_rel);
    SpinWait<> wait;
    while (arrived.value.load(std::memory_order::acquire) < 2 * step) wait();
  };
  std::thread a([&] {
    for (uint64_t round = 1; round <= rounds; ++round) {
      meet(2 * round - 1);
      Stagger(round % 13);
      x.value.store(round, std::memory_order::relaxed);
      StdSync::LightFence();
      seen_by_a.value.store(y.value.load(std::memory_order::relaxed), std::memory_order::relaxed);
      meet(2 * round);
    }
  });
  for (uint64_t round = 1; round <= rounds; ++round) {
    meet(2 * round - 1);
    Stagger(round % 17);
    y.value.store(round, std::memory_order::relaxed);
    StdSync::HeavyFence();
    seen_by_b = x.value.load(std::memory_order::relaxed);
    meet(2 * round);
    bad += seen_by_b < round && seen_by_a.value.load(std::memory_order::relaxed) < round;
  }
  a.join();
  return bad;
}

TEST(FenceTest, LightAndHeavyFenceForbidStoreBuffering) { EXPECT_EQ(RoundsInWhichNeitherSawTheOther(20'000), 0u); }

TEST(FenceTest, HeavyFenceWorksInTheChildOfAFork) {
  EXPECT_EQ(ExitCodeOfFork([] {
              StdSync::HeavyFence();
              return 0;
            }),
            0);
}

// Hides membarrier(2) from this process for good, as old kernels and strict sandboxes do. False if that is not allowed.
bool HideMembarrier() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(code), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

constexpr char kHidden[] = "HOTPATH_TEST_MEMBARRIER_HIDDEN";
constexpr int kNotAllowed = 77;

// In a child: hides membarrier, then starts this program again, for the choice is made at start.
int RunFallbackTest() {
  if (!HideMembarrier()) return kNotAllowed;
  setenv(kHidden, "1", 1);
  execl("/proc/self/exe", "sync_test", "--gtest_filter=FenceTest.*Fallback*", nullptr);
  return 1;
}

TEST(FenceTest, FallbackIsChosenAtStartAndForbidsStoreBufferingToo) {
  if (std::getenv(kHidden) == nullptr) {
    const int code = ExitCodeOfFork(&RunFallbackTest);
    if (code == kNotAllowed) GTEST_SKIP() << "this sandbox allows no seccomp filter";
    EXPECT_EQ(code, 0);
    return;
  }
  EXPECT_FALSE(StdSync::AsymmetricFences());
  EXPECT_EQ(RoundsInWhichNeitherSawTheOther(300'000), 0u);
  EXPECT_FALSE(StdSync::AsymmetricFences());
}

TEST(FenceDeathTest, HeavyFenceRefusesToLieWhenMembarrierVanishesLater) {
  if (!StdSync::AsymmetricFences()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  if (ExitCodeOfFork([] { return HideMembarrier() ? 0 : kNotAllowed; }) == kNotAllowed) {
    GTEST_SKIP() << "this sandbox allows no seccomp filter";
  }
  EXPECT_DEATH(HideMembarrier() ? StdSync::HeavyFence() : void(), "membarrier\\(2\\) worked at start");
}

// ---- Park and Wake ----

TEST(ParkTest, ReturnsAtOnceWhenTheWordDiffers) {
  StdSync::Atomic<uint32_t> word{1};
  EXPECT_TRUE(StdSync::Park(word, 0));
  EXPECT_TRUE(StdSync::Park(word, 0, std::chrono::steady_clock::now() + std::chrono::hours(1)));
}

TEST(ParkTest, ReportsADeadlineThatPassed) {
  StdSync::Atomic<uint32_t> word{0};
  for (const Deadline past : {Deadline::min(), Deadline{} - milliseconds(1), Deadline{}, Deadline{milliseconds(1)}}) {
    EXPECT_FALSE(StdSync::Park(word, 0, past));
  }
  const Deadline soon = std::chrono::steady_clock::now() + milliseconds(20);
  while (StdSync::Park(word, 0, soon)) {
  }
  EXPECT_GE(std::chrono::steady_clock::now(), soon);
}

TEST(ParkTest, WakeWithNobodyParkedDoesNothing) {
  StdSync::Atomic<uint32_t> word{0};
  StdSync::Wake(word, 1);
  StdSync::Wake(word, kWakeAll);
}

// Two threads hand a turn back and forth, each parked without a deadline while it is not its turn: one lost wake-up
// would hang the test.
TEST(ParkTest, NoWakeUpIsLostBetweenTwoThreads) {
  constexpr uint32_t kTurns = 20'000;
  StdSync::Atomic<uint32_t> turn{0};
  const auto play = [&](uint32_t mine) {
    for (;;) {
      const uint32_t now = turn.load(std::memory_order::acquire);
      if (now >= kTurns) return;
      if (now % 2 != mine) {
        EXPECT_TRUE(StdSync::Park(turn, now));
        continue;
      }
      turn.store(now + 1, std::memory_order::release);
      StdSync::Wake(turn, 1);
    }
  };
  std::thread even(play, 0);
  play(1);
  even.join();
}

TEST(ParkTest, WakeAllReleasesEveryParkedThread) {
  for (int round = 0; round < 50; ++round) {
    StdSync::Atomic<uint32_t> gate{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        while (gate.load(std::memory_order::acquire) == 0) EXPECT_TRUE(StdSync::Park(gate, 0));
      });
    }
    gate.store(1, std::memory_order::release);
    StdSync::Wake(gate, kWakeAll);
    for (std::thread& thread : threads) thread.join();
  }
}

// A counter of permits: as many Wake(1) as permits must let exactly as many waiters through.
TEST(ParkTest, OneWakePerPermitLetsEveryWaiterThrough) {
  StdSync::Atomic<uint32_t> permits{0};
  std::atomic<int> through{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        for (uint32_t have = permits.load(std::memory_order::relaxed);;) {
          if (have == 0) {
            EXPECT_TRUE(StdSync::Park(permits, 0));
            have = permits.load(std::memory_order::relaxed);
          } else if (permits.compare_exchange_weak(have, have - 1, std::memory_order::acquire,
                                                   std::memory_order::relaxed)) {
            break;
          }
        }
        through.fetch_add(1, std::memory_order::relaxed);
      }
    });
  }
  for (int n = 0; n < 4000; ++n) {
    permits.fetch_add(1, std::memory_order::release);
    StdSync::Wake(permits, 1);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(through.load(), 4000);
}

#ifndef NDEBUG
TEST(ParkDeathTest, DebugBuildsRefuseToParkInsideNoPark) {
  StdSync::Atomic<uint32_t> word{1};
  StdSync::NoPark(1);
  StdSync::NoPark(1);
  StdSync::NoPark(-1);
  EXPECT_DEATH(static_cast<void>(StdSync::Park(word, 0)), "parks where it must not");
  StdSync::NoPark(-1);
  EXPECT_TRUE(StdSync::Park(word, 0));
}
#endif

// ---- ThreadIndex ----

TEST(ThreadIndexTest, StaysTheSameInOneThreadAndDiffersBetweenLivingOnes) {
  constexpr uint32_t kThreads = 20;
  const uint32_t mine = StdSync::ThreadIndex();
  std::vector<uint32_t> indices(kThreads);
  std::atomic<uint32_t> ready{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      indices[i] = StdSync::ThreadIndex();
      ready.fetch_add(1);
      SpinWait<> wait;
      while (ready.load() != kThreads) wait();
      EXPECT_EQ(StdSync::ThreadIndex(), indices[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::set<uint32_t> distinct(indices.begin(), indices.end());
  EXPECT_EQ(distinct.size(), size_t{kThreads});
  EXPECT_EQ(distinct.count(mine), 0u);
  EXPECT_LE(*distinct.rbegin(), kThreads) << "the lowest free index comes first";
}

TEST(ThreadIndexTest, IsRecycledAfterMoreThreadsThanTheLimit) {
  static_cast<void>(StdSync::ThreadIndex());
  std::set<uint32_t> seen;
  for (uint32_t i = 0; i < StdSync::kMaxThreads + 10; ++i) {
    std::thread([&] { seen.insert(StdSync::ThreadIndex()); }).join();
  }
  EXPECT_EQ(seen.size(), 1u) << "one thread at a time needs one index";
  EXPECT_EQ(seen.count(StdSync::ThreadIndex()), 0u);
}

// A thread's index is given back only after its last words, so what it wrote to a slot of its own is there for the
// next.
TEST(ThreadIndexTest, NextOwnerSeesWhatTheLastOneWrote) {
  static uint64_t slots[StdSync::kMaxThreads];  // plain on purpose: ThreadSanitizer checks the happens-before
  std::atomic<uint64_t> total{0};
  std::vector<std::thread> crowds;
  for (int crowd = 0; crowd < 3; ++crowd) {
    crowds.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        std::thread([&] {
          ++slots[StdSync::ThreadIndex()];
          total.fetch_add(1, std::memory_order::relaxed);
        }).join();
      }
    });
  }
  for (std::thread& thread : crowds) thread.join();
  uint64_t sum = 0;
  for (uint64_t slot : slots) sum += slot;
  EXPECT_EQ(sum, total.load());
}

TEST(ThreadIndexDeathTest, OneThreadTooManyIsACheckThatNamesTheLimit) {
  EXPECT_DEATH(
      // Each call takes one index more, as a new thread would.
      for (uint32_t i = 0; i <= StdSync::kMaxThreads; ++i) sync_internal::AcquireThreadIndex(),
      "more than hotpath::StdSync::kMaxThreads \\(4096\\) threads");
}

TEST(ThreadIndexTest, IndexOfAThreadThatAForkLeftBehindIsVanishedAndNotReused) {
  const uint32_t mine = StdSync::ThreadIndex();
  std::atomic<uint32_t> other{UINT32_MAX};
  std::atomic<bool> leave{false};
  std::thread left_behind([&] {
    other.store(StdSync::ThreadIndex());
    SpinWait<> wait;
    while (!leave.load()) wait();
  });
  SpinWait<> wait;
  while (other.load() == UINT32_MAX) wait();
  EXPECT_FALSE(StdSync::Vanished(mine));
  EXPECT_FALSE(StdSync::Vanished(other.load()));
  EXPECT_EQ(ExitCodeOfFork([&] {
              if (StdSync::ThreadIndex() != mine) return 1;
              if (StdSync::Vanished(mine)) return 2;
              if (!StdSync::Vanished(other.load())) return 3;
              for (int i = 0; i < 3; ++i) {
                if (sync_internal::AcquireThreadIndex() == other.load()) return 4;
              }
              return 0;
            }),
            0);
  leave.store(true);
  left_behind.join();
  EXPECT_FALSE(StdSync::Vanished(other.load()));
}

// ---- AtThreadExit ----

struct Recorder : ThreadExitHook {
  Recorder(std::vector<int>& log, int number)
      : ThreadExitHook([](ThreadExitHook& hook) {
          auto& self = static_cast<Recorder&>(hook);
          self.log.push_back(self.number);
        }),
        log(log),
        number(number) {}
  std::vector<int>& log;
  const int number;
};

TEST(AtThreadExitTest, HooksRunOnceLastRegisteredFirst) {
  std::vector<int> log;
  Recorder first(log, 1), second(log, 2), third(log, 3);
  std::thread([&] {
    StdSync::AtThreadExit(first);
    StdSync::AtThreadExit(second);
    StdSync::AtThreadExit(third);
    EXPECT_TRUE(log.empty());
  }).join();
  EXPECT_EQ(log, (std::vector<int>{3, 2, 1}));
  EXPECT_FALSE(StdSync::CancelAtThreadExit(first));
}

struct LogsItsEnd {
  std::vector<int>* log = nullptr;
  ~LogsItsEnd() {
    if (log != nullptr) log->push_back(static_cast<int>(StdSync::ThreadIndex()));
  }
};

TEST(AtThreadExitTest, HooksRunAfterThreadLocalsAndBeforeTheIndexIsGivenBack) {
  std::vector<int> log;
  struct LogsIndex : ThreadExitHook {
    explicit LogsIndex(std::vector<int>& log)
        : ThreadExitHook([](ThreadExitHook& hook) {
            auto& log = static_cast<LogsIndex&>(hook).log;
            log.push_back(-1);
            log.push_back(static_cast<int>(StdSync::ThreadIndex()));
          }),
          log(log) {}
    std::vector<int>& log;
  } hook(log);
  int index = -2;
  std::thread([&] {
    static thread_local LogsItsEnd logs_its_end;
    StdSync::AtThreadExit(hook);
    logs_its_end.log = &log;
    index = static_cast<int>(StdSync::ThreadIndex());
  }).join();
  EXPECT_EQ(log, (std::vector<int>{index, -1, index}));
}

// A pthread key's destructor may run after ours. Using the library there takes an index again, and gives it back too.
TEST(AtThreadExitTest, ThreadMayComeBackFromADestructorThatRunsLater) {
  struct Later {
    std::vector<int> log;
    std::optional<Recorder> hook;
    uint32_t index = UINT32_MAX;
    int rounds = 0;
    pthread_key_t key;
  };
  static Later* later;
  Later state;
  later = &state;
  state.hook.emplace(state.log, 9);
  ASSERT_EQ(pthread_key_create(&state.key,
                               [](void*) {
                                 // The first round may come before our own destructor, the second comes after it.
                                 if (++later->rounds == 1) {
                                   pthread_setspecific(later->key, later);
                                   return;
                                 }
                                 later->index = StdSync::ThreadIndex();
                                 StdSync::AtThreadExit(*later->hook);
                               }),
            0);
  std::thread([&] {
    static_cast<void>(StdSync::ThreadIndex());
    pthread_setspecific(state.key, &state);
  }).join();
  pthread_key_delete(state.key);
  EXPECT_EQ(state.rounds, 2);
  EXPECT_EQ(state.log, std::vector<int>{9});
  uint32_t next = UINT32_MAX;
  std::thread([&] { next = StdSync::ThreadIndex(); }).join();
  EXPECT_EQ(next, state.index) << "the index was given back";
}

TEST(AtThreadExitTest, HookMayRegisterAnotherAndFreeItself) {
  struct SelfDestructing : ThreadExitHook {
    explicit SelfDestructing(Recorder& next)
        : ThreadExitHook([](ThreadExitHook& hook) {
            auto* self = static_cast<SelfDestructing*>(&hook);
            Recorder& next = self->next;
            delete self;
            StdSync::AtThreadExit(next);
          }),
          next(next) {}
    Recorder& next;
  };
  std::vector<int> log;
  Recorder next(log, 4);
  std::thread([&] { StdSync::AtThreadExit(*new SelfDestructing(next)); }).join();
  EXPECT_EQ(log, std::vector<int>{4});
}

TEST(AtThreadExitTest, CancelledHookDoesNotRunAndTheOthersDo) {
  std::vector<int> log;
  Recorder first(log, 1), second(log, 2), third(log, 3);
  std::thread([&] {
    StdSync::AtThreadExit(first);
    StdSync::AtThreadExit(second);
    StdSync::AtThreadExit(third);
    EXPECT_TRUE(StdSync::CancelAtThreadExit(second));
    EXPECT_FALSE(StdSync::CancelAtThreadExit(second));
  }).join();
  EXPECT_EQ(log, (std::vector<int>{3, 1}));
  std::thread([&] {
    StdSync::AtThreadExit(first);
    EXPECT_TRUE(StdSync::CancelAtThreadExit(first));
    StdSync::AtThreadExit(first);
  }).join();
  EXPECT_EQ(log, (std::vector<int>{3, 1, 1}));
}

TEST(AtThreadExitTest, AnotherThreadMayCancel) {
  std::vector<int> log;
  Recorder hook(log, 1);
  std::atomic<int> step{0};
  const auto reach = [&](int target) {
    SpinWait<> wait;
    while (step.load() < target) wait();
  };
  std::thread thread([&] {
    StdSync::AtThreadExit(hook);
    step.store(1);
    reach(2);
  });
  reach(1);
  EXPECT_TRUE(StdSync::CancelAtThreadExit(hook));
  step.store(2);
  thread.join();
  EXPECT_TRUE(log.empty());
}

// After a false answer nothing of the hook is in use any more: under the sanitizers a hook that still ran would be
// caught touching what this thread destroys.
TEST(AtThreadExitTest, CancelWaitsForARunningHook) {
  struct Slow : ThreadExitHook {
    Slow()
        : ThreadExitHook([](ThreadExitHook& hook) {
            auto& self = static_cast<Slow&>(hook);
            self.entered.store(true);
            SpinWait<> wait;
            while (!self.cancelling.load()) wait();
            for (int i = 0; i < 1000; ++i) {
              StdSync::Yield();
              ++self.steps;
            }
          }) {}
    std::atomic<bool> entered{false}, cancelling{false};
    int steps = 0;
  };
  auto hook = std::make_unique<Slow>();
  std::thread thread([&] { StdSync::AtThreadExit(*hook); });
  SpinWait<> wait;
  while (!hook->entered.load()) wait();
  hook->cancelling.store(true);
  EXPECT_FALSE(StdSync::CancelAtThreadExit(*hook));
  EXPECT_EQ(hook->steps, 1000);
  hook.reset();
  thread.join();
}

TEST(AtThreadExitTest, CancellingAndEndingTogetherRunsOrCancelsExactlyOnce) {
  struct Counts : ThreadExitHook {
    Counts() : ThreadExitHook([](ThreadExitHook& hook) { ++static_cast<Counts&>(hook).runs; }) {}
    int runs = 0;
  };
  int cancelled = 0, ran = 0;
  for (int round = 0; round < 300; ++round) {
    Counts hook;
    std::atomic<bool> registered{false};
    std::thread thread([&] {
      StdSync::AtThreadExit(hook);
      registered.store(true);
    });
    SpinWait<> wait;
    while (!registered.load()) wait();
    for (int i = 0; i < round * 10; ++i) StdSync::Relax();
    const bool stopped = StdSync::CancelAtThreadExit(hook);
    EXPECT_EQ(hook.runs, stopped ? 0 : 1);
    (stopped ? cancelled : ran) += 1;
    thread.join();
    EXPECT_EQ(hook.runs, stopped ? 0 : 1);
  }
  EXPECT_EQ(cancelled + ran, 300);
}

TEST(AtThreadExitTest, ForkLeavesHooksOfOtherThreadsCancellableAndUnrun) {
  std::vector<int> log;
  Recorder hook(log, 1), mine(log, 2);
  std::atomic<int> step{0};
  std::thread left_behind([&] {
    StdSync::AtThreadExit(hook);
    step.store(1);
    SpinWait<> wait;
    while (step.load() != 2) wait();
  });
  SpinWait<> wait;
  while (step.load() != 1) wait();
  StdSync::AtThreadExit(mine);
  EXPECT_EQ(ExitCodeOfFork([&] {
              if (!StdSync::CancelAtThreadExit(hook)) return 1;
              if (!StdSync::CancelAtThreadExit(mine)) return 2;
              return log.empty() ? 0 : 3;
            }),
            0);
  EXPECT_TRUE(StdSync::CancelAtThreadExit(mine));
  step.store(2);
  left_behind.join();
  EXPECT_EQ(log, std::vector<int>{1});
}

TEST(AtThreadExitTest, ForkWhileAnotherThreadRunsItsHookLeavesNothingToWaitFor) {
  struct Waits : ThreadExitHook {
    Waits()
        : ThreadExitHook([](ThreadExitHook& hook) {
            auto& self = static_cast<Waits&>(hook);
            self.entered.store(true);
            SpinWait<> wait;
            while (!self.leave.load()) wait();
          }) {}
    std::atomic<bool> entered{false}, leave{false};
  } hook;
  std::thread thread([&] { StdSync::AtThreadExit(hook); });
  SpinWait<> wait;
  while (!hook.entered.load()) wait();
  EXPECT_EQ(ExitCodeOfFork([&] { return StdSync::CancelAtThreadExit(hook) ? 1 : 0; }), 0);
  hook.leave.store(true);
  thread.join();
}

TEST(AtThreadExitTest, ForkInsideAHookLetsTheChildGoOn) {
  struct Forks : ThreadExitHook {
    Forks()
        : ThreadExitHook([](ThreadExitHook& hook) {
            auto& self = static_cast<Forks&>(hook);
            self.child = fork();
          }) {}
    pid_t child = -1;
  };
  struct ReportsChild : ThreadExitHook {
    explicit ReportsChild(Forks& forks)
        : ThreadExitHook([](ThreadExitHook& hook) {
            if (static_cast<ReportsChild&>(hook).forks.child == 0) _exit(42);  // in the child, after the forking hook
          }),
          forks(forks) {}
    Forks& forks;
  };
  Forks forks;
  ReportsChild reports(forks);
  std::thread([&] {
    StdSync::AtThreadExit(reports);
    StdSync::AtThreadExit(forks);
  }).join();
  int status = 0;
  ASSERT_EQ(waitpid(forks.child, &status, 0), forks.child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

TEST(AtThreadExitDeathTest, RegisteringTwiceIsACheck) {
  std::vector<int> log;
  Recorder hook(log, 1);
  EXPECT_DEATH(
      {
        StdSync::AtThreadExit(hook);
        StdSync::AtThreadExit(hook);
      },
      "registered already");
}

TEST(AtThreadExitDeathTest, HookThatCancelsItselfIsACheck) {
  ThreadExitHook hook([](ThreadExitHook& self) { StdSync::CancelAtThreadExit(self); });
  EXPECT_DEATH(std::thread([&] { StdSync::AtThreadExit(hook); }).join(), "cancels itself");
}

// ---- SpinWait ----

struct CountingSync : StdSync {
  static inline int pauses = 0, yields = 0;
  static void Pause() noexcept { ++pauses; }
  static void Yield() noexcept { ++yields; }
};

TEST(SpinWaitTest, YieldsOnceInSixtyFourTurns) {
  SpinWait<CountingSync> wait;
  for (int i = 0; i < 640; ++i) wait();
  EXPECT_EQ(CountingSync::yields, 10);
  EXPECT_EQ(CountingSync::pauses, 630);
}

}  // namespace
}  // namespace hotpath
