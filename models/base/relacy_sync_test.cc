#include "models/base/relacy_sync.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

using std::memory_order;
using enum std::memory_order;
template <class T>
using Atomic = RelacySync::Atomic<T>;
template <class T>
using Var = RelacySync::Var<T>;
using testing::HasSubstr;

// Why the model fails, "" if it holds.
std::string Failure(const ModelEntry& model, Job job = {.model = 0, .search = Search::kRandom, .schedules = 20'000}) {
  const Outcome outcome = RunJob(model, job);
  if (outcome.Holds()) return "";
  EXPECT_NE(outcome.reason, "");
  return outcome.reason;
}
std::string FullFailure(const ModelEntry& model) { return Failure(model, {0, Search::kFull, 200'000}); }

// ---- Atomics ----

struct Color {
  uint8_t red, green, blue;
  bool operator==(const Color&) const = default;
};
enum class Mood : uint16_t { kGood = 7, kBad = 65535 };

struct AtomicsOfEveryType : Model<AtomicsOfEveryType, 1> {
  template <class T>
  static void Exchange(T a, T b) {
    Atomic<T> atomic(a);
    HOTPATH_CHECK(atomic.load(acquire) == a);
    HOTPATH_CHECK(atomic.exchange(b, acq_rel) == a);
    T expected = a;
    HOTPATH_CHECK(!atomic.compare_exchange_strong(expected, a, seq_cst, seq_cst) && expected == b);
    HOTPATH_CHECK(atomic.compare_exchange_strong(expected, a, release, relaxed));
    while (!atomic.compare_exchange_weak(expected = a, b, acquire, acquire)) {
    }
    atomic.store(a, release);
    HOTPATH_CHECK(atomic.load(relaxed) == a);
  }
  template <class T>
  static void Count(T most) {
    Atomic<T> atomic(most);
    HOTPATH_CHECK(atomic.fetch_add(1, relaxed) == most);
    HOTPATH_CHECK(atomic.fetch_sub(1, relaxed) == std::numeric_limits<T>::min());  // it wraps
    HOTPATH_CHECK(atomic.fetch_and(6, relaxed) == most);
    HOTPATH_CHECK(atomic.fetch_or(9, relaxed) == 6);
    HOTPATH_CHECK(atomic.fetch_xor(5, relaxed) == 15);
    HOTPATH_CHECK(atomic.load(relaxed) == 10);
  }
  void thread(unsigned) {
    Exchange<bool>(true, false);
    Exchange<char>('a', '\0');
    Exchange<Mood>(Mood::kGood, Mood::kBad);
    Exchange<Color>({1, 2, 3}, {255, 0, 4});
    Exchange<double>(-0.5, 1e300);
    Exchange<Color*>(nullptr, reinterpret_cast<Color*>(this));
    Count<int8_t>(127);
    Count<uint8_t>(255);
    Count<uint16_t>(65535);
    Count<int32_t>(INT32_MAX);
    Count<uint64_t>(UINT64_MAX);
    Color colors[4];
    Atomic<Color*> pointer(colors);
    HOTPATH_CHECK(pointer.fetch_add(3, relaxed) == colors);
    HOTPATH_CHECK(pointer.fetch_sub(1, relaxed) == colors + 3);
    HOTPATH_CHECK(pointer.load(relaxed) == colors + 2);
    HOTPATH_CHECK(Atomic<int>().load(relaxed) == 0);
  }
};

TEST(RelacySyncTest, AtomicsOfEveryTypeDoWhatStdAtomicDoes) {
  EXPECT_EQ(Failure(HOTPATH_MODEL(AtomicsOfEveryType)), "");
}

struct SpuriousFailure : Model<SpuriousFailure, 1> {
  Atomic<int> a{1};
  void thread(unsigned) {
    int expected = 1;
    HOTPATH_CHECK(a.compare_exchange_weak(expected, 2, acq_rel, acquire));
  }
};
struct SpuriousFailureOfAnOddPair : Model<SpuriousFailureOfAnOddPair, 1> {
  Atomic<int> a{1};
  void thread(unsigned) {
    int expected = 1;
    HOTPATH_CHECK(a.compare_exchange_weak(expected, 2, release, acquire));
  }
};

TEST(RelacySyncTest, AWeakExchangeMayFailForNoReason) {
  EXPECT_THAT(Failure(HOTPATH_MODEL(SpuriousFailure)), HasSubstr("check failed: a.compare_exchange_weak"));
  EXPECT_THAT(Failure(HOTPATH_MODEL(SpuriousFailureOfAnOddPair)), HasSubstr("check failed: a.compare_exchange_weak"));
}

struct CopiedWords : Model<CopiedWords, 2> {
  static constexpr size_t kBytes = 12;
  Atomic<uint64_t> words[2] = {~uint64_t{0}, ~uint64_t{0}};
  void thread(unsigned id) {
    uint8_t bytes[kBytes + 1];
    if (id == 0) {
      for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<uint8_t>(i + 1);
      RelacySync::CopyWords<kBytes>(words, bytes);
    } else {
      bytes[kBytes] = 99;
      RelacySync::CopyWords<kBytes>(bytes, words);
      HOTPATH_CHECK(bytes[kBytes] == 99, "wrote past the end");
      HOTPATH_CHECK(bytes[0] == (bytes[7] == 8 ? 1 : 255), "half of a word");
      HOTPATH_CHECK((bytes[0] == 1) == (bytes[8] == 9), "two words are no unit");
    }
  }
  void finish() {
    uint64_t tail = words[1].load(relaxed);
    HOTPATH_CHECK(tail == 0x0c0b0a09, "zeros follow the last byte");
  }
};

TEST(RelacySyncTest, CopiedWordsAreWholeButNoUnit) {
  EXPECT_THAT(Failure(HOTPATH_MODEL(CopiedWords)), HasSubstr("two words are no unit"));
}

// ---- Races, and the life of objects ----

template <memory_order kStore, memory_order kLoad>
struct Handover : Model<Handover<kStore, kLoad>, 2> {
  Var<std::string> data;
  Atomic<bool> ready{false};
  void thread(unsigned id) {
    if (id == 0) {
      data.Write("message");
      ready.store(true, kStore);
    } else if (ready.load(kLoad)) {
      HOTPATH_CHECK(data.Read() == "message");
    }
  }
};

TEST(RelacySyncTest, APlainVariableMustBeOrdered) {
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(Handover<release, acquire>)), "");
  for (const ModelEntry& racy :
       {HOTPATH_MODEL(Handover<relaxed, acquire>), HOTPATH_MODEL(Handover<release, relaxed>)}) {
    EXPECT_THAT(FullFailure(racy), HasSubstr("data race"));
    EXPECT_THAT(FullFailure(racy), HasSubstr("models/base/relacy_sync_test.cc:"));
  }
}

struct ReadersDoNotRace : Model<ReadersDoNotRace, 3> {
  Var<int> data{5};
  void thread(unsigned) { HOTPATH_CHECK(data.Read() == 5); }
};
struct EditsRace : Model<EditsRace, 2> {
  Var<int> data{5};
  void thread(unsigned id) { id == 0 ? static_cast<void>(data.Edit() = 6) : static_cast<void>(data.Read()); }
};

TEST(RelacySyncTest, OnlyReadersMayMeet) {
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(ReadersDoNotRace)), "");
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(EditsRace)), HasSubstr("data race"));
}

// The reader's relaxed exit does not tell the owner that it may destroy.
template <class Object, memory_order kExit>
struct Destruction : Model<Destruction<Object, kExit>, 2> {
  Object* object = RelacySync::New<Object>();
  Atomic<bool> done{false};
  void thread(unsigned id) {
    if (id == 0) {
      Use(*object);
      done.store(true, kExit);
    } else {
      while (!done.load(acquire)) RelacySync::Pause();
      RelacySync::Delete(object);
    }
  }
  static void Use(Atomic<int>& atomic) { static_cast<void>(atomic.load(relaxed)); }
  static void Use(Var<int>& var) { static_cast<void>(var.Read()); }
  static void Use(RelacySync::Mutex& mutex) { MutexLock lock(mutex); }
};

TEST(RelacySyncTest, DestructionIsAWrite) {
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(Destruction<Atomic<int>, release>)), "");
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(Destruction<Var<int>, release>)), "");
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(Destruction<RelacySync::Mutex, release>)), "");
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(Destruction<Atomic<int>, relaxed>)), HasSubstr("data race"));
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(Destruction<Var<int>, relaxed>)), HasSubstr("data race"));
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(Destruction<RelacySync::Mutex, relaxed>)), HasSubstr("data race"));
}

// Published before it is made, as far as the reader can tell.
struct UnpublishedAtomic : Model<UnpublishedAtomic, 2> {
  Atomic<Atomic<int>*> published{nullptr};
  void thread(unsigned id) {
    if (id == 0) {
      published.store(RelacySync::New<Atomic<int>>(1), relaxed);
    } else if (const Atomic<int>* seen = published.load(acquire)) {
      static_cast<void>(seen->load(relaxed));
    }
  }
  void finish() { RelacySync::Delete(published.load(relaxed)); }
};

TEST(RelacySyncTest, MakingAnObjectIsAWrite) {
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(UnpublishedAtomic)), HasSubstr("data race"));
}

// ---- Memory ----

struct Leak : Model<Leak, 1> {
  void thread(unsigned) { static_cast<void>(RelacySync::New<int>(1)); }
};
struct RawLeak : Model<RawLeak, 1> {
  void thread(unsigned) { std::make_unique<std::vector<int>>(3).release(); }  // NOLINT(bugprone-unused-return-value)
};
struct DoubleFree : Model<DoubleFree, 1> {
  void thread(unsigned) {
    int* number = RelacySync::New<int>(1);
    RelacySync::Delete(number);
    RelacySync::Delete(number);
  }
};
struct UseAfterFree : Model<UseAfterFree, 1> {
  void thread(unsigned) {
    auto* var = RelacySync::New<Var<int>>(1);
    RelacySync::Delete(var);
    static_cast<void>(var->Read());
  }
};
struct Containers : Model<Containers, 2> {
  RelacySync::Mutex mu;
  std::vector<std::string> words;
  struct alignas(64) Wide {
    char bytes[64];
  };
  void thread(unsigned id) {
    MutexLock lock(mu);
    words.push_back(std::string(100, 'a'));
    if (id == 0) words.shrink_to_fit();
    delete new Wide;
    delete[] new int[7];
  }
  void finish() { HOTPATH_CHECK(words.size() == 2); }
};
struct ThrowsWhenMade {
  ThrowsWhenMade() { throw std::runtime_error("planted"); }
};
struct ThrowingConstructor : Model<ThrowingConstructor, 1> {
  void thread(unsigned) {
    try {
      static_cast<void>(RelacySync::New<ThrowsWhenMade>());
      HOTPATH_CHECK(false, "New swallowed the exception");
    } catch (const std::runtime_error&) {
    }
  }
};

TEST(RelacySyncTest, MemoryIsWatched) {
  EXPECT_EQ(Failure(HOTPATH_MODEL(Leak)), "memory leak");
  EXPECT_EQ(Failure(HOTPATH_MODEL(RawLeak)), "memory leak");
  EXPECT_EQ(Failure(HOTPATH_MODEL(DoubleFree)), "double free");
  EXPECT_EQ(Failure(HOTPATH_MODEL(UseAfterFree)), "access to freed memory");
  EXPECT_EQ(Failure(HOTPATH_MODEL(Containers)), "");
  EXPECT_EQ(Failure(HOTPATH_MODEL(ThrowingConstructor)), "");
}

// ---- Waiting ----

struct Reentry : Model<Reentry, 1> {
  RelacySync::Mutex mu;
  void thread(unsigned) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    mu.Lock();
    mu.Lock();
  }
};
struct LockOrder : Model<LockOrder, 2> {
  RelacySync::Mutex a, b;
  void thread(unsigned id) {
    MutexLock first(id == 0 ? a : b);
    MutexLock second(id == 0 ? b : a);
  }
};
struct Exclusion : Model<Exclusion, 2> {
  RelacySync::Mutex mu;
  Var<int> count{0};
  void thread(unsigned id) {
    if (id == 0) {
      MutexLock lock(mu);
      ++count.Edit();
    } else if (mu.TryLock()) {
      ++count.Edit();
      mu.Unlock();
    }
  }
};
struct TryLockMayFail : Model<TryLockMayFail, 1> {
  RelacySync::Mutex mu;
  void thread(unsigned) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    HOTPATH_CHECK(mu.TryLock(), "for no reason");
    mu.Unlock();
  }
};

TEST(RelacySyncTest, AMutexExcludesAndItsMisuseIsSeen) {
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(Exclusion)), "");
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(Reentry)), HasSubstr("recursion on non-recursive mutex"));
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(LockOrder)), "deadlock");
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(TryLockMayFail)), HasSubstr("for no reason"));
}

struct EndlessLoop : Model<EndlessLoop, 1> {
  Atomic<int> a{0};
  void thread(unsigned) {
    while (a.load(relaxed) == 0) RelacySync::Pause();
  }
};
// Only a stale value keeps the reader going round. It does not for ever.
struct RetryWithoutPause : Model<RetryWithoutPause, 2> {
  Atomic<int> version{0}, check{0};
  void thread(unsigned id) {
    if (id == 0) {
      check.store(1, relaxed);
      version.store(1, relaxed);
    } else {
      while (version.load(relaxed) != check.load(relaxed)) {
      }
    }
  }
};

TEST(RelacySyncTest, AnEndlessLoopIsALivelockAndARetryLoopIsNot) {
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(EndlessLoop)), "livelock");
  EXPECT_EQ(Failure(HOTPATH_MODEL(RetryWithoutPause)), "");
}

struct WakeOnce : Model<WakeOnce, 3> {
  Atomic<uint32_t> word{0};
  void thread(unsigned id) {
    if (id == 0) {
      word.store(1, relaxed);
      RelacySync::Wake(word, 1);
    } else {
      while (word.load(relaxed) == 0) static_cast<void>(RelacySync::Park(word, 0));
    }
  }
};
struct WakeAllOfThem : Model<WakeAllOfThem, 3> {
  Atomic<uint32_t> word{0};
  void thread(unsigned id) {
    if (id == 0) {
      word.store(1, relaxed);
      RelacySync::Wake(word, kWakeAll);
    } else {
      while (word.load(relaxed) == 0) static_cast<void>(RelacySync::Park(word, 0));
    }
  }
};
// Whoever parks once and believes it.
struct BelievesTheWakeUp : Model<BelievesTheWakeUp, 2> {
  Atomic<uint32_t> word{0};
  void thread(unsigned id) {
    if (id == 0) {
      word.store(1, release);
      RelacySync::Wake(word, 1);
    } else {
      static_cast<void>(RelacySync::Park(word, 0));
      RelacySync::Pause();
      HOTPATH_CHECK(word.fetch_add(0, acquire) == 1, "woken for no reason");
    }
  }
};
struct Deadlined : Model<Deadlined, 1> {
  Atomic<uint32_t> word{0};
  void thread(unsigned) { HOTPATH_CHECK(!RelacySync::Park(word, 0, Deadline{})); }
};
// The waiter frees the word as soon as it changes; the waker only needs its address.
struct WordIsFreed : Model<WordIsFreed, 2> {
  Atomic<uint32_t>* word = RelacySync::New<Atomic<uint32_t>>(0);
  void thread(unsigned id) {
    if (id == 0) {
      word->store(1, release);
      RelacySync::Wake(*word, 1);
    } else {
      while (word->load(acquire) == 0) static_cast<void>(RelacySync::Park(*word, 0));
      RelacySync::Delete(word);
    }
  }
};
struct ParksWhilePinned : Model<ParksWhilePinned, 1> {
  Atomic<uint32_t> word{0};
  void thread(unsigned) {
    RelacySync::NoPark(1);
    RelacySync::NoPark(1);
    RelacySync::NoPark(-1);
    static_cast<void>(RelacySync::Park(word, 1));
  }
};
struct ParksWhenUnpinned : Model<ParksWhenUnpinned, 1> {
  Atomic<uint32_t> word{0};
  void thread(unsigned) {
    RelacySync::NoPark(1);
    RelacySync::NoPark(-1);
    HOTPATH_CHECK(RelacySync::Park(word, 1));
  }
};
struct ParksWithNobodyLeft : Model<ParksWithNobodyLeft, 1> {
  Atomic<uint32_t> word{0};
  void thread(unsigned) {}
  void finish() { static_cast<void>(RelacySync::Park(word, 0)); }
};

TEST(RelacySyncTest, ParkAndWakeLoseNothingAndWakeOnlyWhomTheyShould) {
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(WakeOnce)), "deadlock");
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(WakeAllOfThem)), "");
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(WordIsFreed)), "");
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(Deadlined)), "");
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(ParksWhilePinned)), HasSubstr("parks where it must not"));
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(ParksWhenUnpinned)), "");
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(ParksWithNobodyLeft)), HasSubstr("no other thread runs"));
}

TEST(RelacySyncTest, WakeUpsAreSpuriousOnDemand) {
  Job job{.model = 0, .search = Search::kRandom, .schedules = 20'000};
  EXPECT_EQ(Failure(HOTPATH_MODEL(BelievesTheWakeUp), job), "");
  job.spurious_wakeups = true;
  EXPECT_THAT(Failure(HOTPATH_MODEL(BelievesTheWakeUp), job), HasSubstr("woken for no reason"));
  EXPECT_EQ(Failure(HOTPATH_MODEL(WakeAllOfThem), job), "");
}

// ---- Threads ----

struct IndicesAreDense : Model<IndicesAreDense, 3> {
  Var<int> owned[3];
  uint32_t main = RelacySync::ThreadIndex();
  void thread(unsigned) {
    const uint32_t index = RelacySync::ThreadIndex();
    HOTPATH_CHECK(index != main && index < 4 && index == RelacySync::ThreadIndex());
    ++owned[index - 1].Edit();  // a race if two had it, or if a new owner did not know what the last one did
    RelacySync::EndThread();
    ++owned[RelacySync::ThreadIndex() - 1].Edit();
  }
  void finish() {
    HOTPATH_CHECK(RelacySync::ThreadIndex() == main);
    HOTPATH_CHECK(owned[0].Read() + owned[1].Read() + owned[2].Read() == 6);
  }
};
struct IndicesAreRecycled : Model<IndicesAreRecycled, 2> {
  Atomic<bool> recycled{false};
  void thread(unsigned) { HOTPATH_CHECK(RelacySync::ThreadIndex() == 0, "two at once"); }
};

TEST(RelacySyncTest, ThreadIndicesAreTheLowestFreeOnes) {
  EXPECT_EQ(Failure(HOTPATH_MODEL(IndicesAreDense)), "");
  EXPECT_THAT(Failure(HOTPATH_MODEL(IndicesAreRecycled)), HasSubstr("two at once"));
}

struct Hook : ThreadExitHook {
  explicit Hook(int* order) : ThreadExitHook(&Hook::Run), order(order) {}
  static void Run(ThreadExitHook& hook) {
    Hook& self = static_cast<Hook&>(hook);
    self.ran = ++*self.order;
  }
  int* const order;
  int ran = 0;
};
struct HooksRun : Model<HooksRun, 1> {
  int order = 0;
  Hook first{&order}, second{&order}, cancelled{&order};
  void thread(unsigned) {
    for (Hook* hook : {&first, &cancelled, &second}) RelacySync::AtThreadExit(*hook);
    HOTPATH_CHECK(RelacySync::CancelAtThreadExit(cancelled));
    HOTPATH_CHECK(!RelacySync::CancelAtThreadExit(cancelled));
  }
  void finish() { HOTPATH_CHECK(second.ran == 1 && first.ran == 2 && cancelled.ran == 0); }
};
struct HookRegisteredTwice : Model<HookRegisteredTwice, 1> {
  int order = 0;
  Hook hook{&order};
  void thread(unsigned) {
    RelacySync::AtThreadExit(hook);
    RelacySync::AtThreadExit(hook);
  }
};
// Thread 1 frees what the hook of thread 0 uses, once the hook is cancelled or has ended.
struct CancelWaits : Model<CancelWaits, 2> {
  struct Touching : ThreadExitHook {
    explicit Touching(Var<int>* data) : ThreadExitHook(&Touching::Run), data(data) {}
    static void Run(ThreadExitHook& hook) {
      Var<int>& data = *static_cast<Touching&>(hook).data;
      ++data.Edit();
      RelacySync::Pause();
      ++data.Edit();
    }
    Var<int>* const data;
  };
  Var<int>* data = RelacySync::New<Var<int>>(0);
  Touching hook{data};
  Atomic<bool> registered{false};
  void thread(unsigned id) {
    if (id == 0) {
      RelacySync::AtThreadExit(hook);
      registered.store(true, release);
    } else {
      while (!registered.load(acquire)) RelacySync::Pause();
      const bool cancelled = RelacySync::CancelAtThreadExit(hook);
      HOTPATH_CHECK(data->Read() == (cancelled ? 0 : 2));
      RelacySync::Delete(data);
    }
  }
};

TEST(RelacySyncTest, ThreadExitHooksRunLastFirstUnlessCancelled) {
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(HooksRun)), "");
  EXPECT_EQ(FullFailure(HOTPATH_MODEL(CancelWaits)), "");
  EXPECT_THAT(FullFailure(HOTPATH_MODEL(HookRegisteredTwice)), HasSubstr("registered already"));
}

// ---- The process around a model ----

struct Crash : Model<Crash, 1> {
  void thread(unsigned) { *reinterpret_cast<volatile int*>(16) = 1; }
};
struct Exit : Model<Exit, 1> {
  void thread(unsigned) { _exit(3); }
};
struct ChecksAndFailures : Model<ChecksAndFailures, 1> {
  void thread(unsigned) { HOTPATH_CHECK(1 + 1 == 3, "planted"); }
};

TEST(RelacySyncTest, WhateverHappensIsAnOutcome) {
  EXPECT_EQ(Failure(HOTPATH_MODEL(Crash)), "crash: segmentation fault");
  EXPECT_EQ(Failure(HOTPATH_MODEL(Exit)), "the process ended with status 3");
  EXPECT_EQ(Failure(HOTPATH_MODEL(ChecksAndFailures)), "check failed: 1 + 1 == 3: planted");
}

TEST(RelacySyncTest, ASearchSaysHowFarItCame) {
  const Outcome all = RunJob(HOTPATH_MODEL(Handover<release, acquire>), {0, Search::kFull, 1'000'000});
  EXPECT_EQ(all.verdict, Verdict::kHolds);
  const Outcome last = RunJob(HOTPATH_MODEL(Handover<release, acquire>), {0, Search::kFull, all.schedules});
  EXPECT_EQ(last.verdict, Verdict::kHolds);
  EXPECT_EQ(last.schedules, all.schedules);
  const Outcome some = RunJob(HOTPATH_MODEL(Handover<release, acquire>), {0, Search::kFull, all.schedules - 1});
  EXPECT_EQ(some.verdict, Verdict::kCapped);
  EXPECT_EQ(some.schedules, all.schedules - 1);
  const Outcome random = RunJob(HOTPATH_MODEL(Handover<release, acquire>), {0, Search::kRandom, 100});
  EXPECT_EQ(random.verdict, Verdict::kCapped);
  EXPECT_EQ(random.schedules, 100u);
}

// The random search numbers its schedules and draws each from its number: two numbers must not give the same.
TEST(RelacyTest, RandomSchedulesDiffer) {
  constexpr unsigned kSchedules = 100'000, kFlips = 32;
  std::set<uint32_t> seen;
  rl::random_generator random;
  for (unsigned schedule = 1; schedule <= kSchedules; ++schedule) {
    random.seed(schedule);
    uint32_t flips = 0;
    for (unsigned i = 0; i < kFlips; ++i) flips = flips << 1 | random.rand() % 2;
    seen.insert(flips);
  }
  EXPECT_GT(seen.size(), kSchedules - 10);  // by chance about one pair in 100,000 agrees
}

}  // namespace
}  // namespace hotpath::model
