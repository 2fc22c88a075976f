#ifndef HOTPATH_CORE_FLAT_COMBINING_H_
#define HOTPATH_CORE_FLAT_COMBINING_H_

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/detail/flat_combining_inl.h"

namespace hotpath {

struct FlatCombinerOptions {
  // How a caller waits for the thread that runs its operation: so many pauses, then so many times it gives its CPU
  // away, then it sleeps.
  uint32_t spins = 64;
  uint32_t yields = 2;
  // A caller that has run so many operations of others hands the role over to the next caller. So it runs fewer than
  // `budget` and one batch, which has an operation of each waiting thread at most.
  uint32_t budget = 64;
};

struct FlatCombiningStats {
  uint64_t batches = 0;    // how often a combiner collected what others had published
  uint64_t combined = 0;   // operations in those batches
  uint64_t direct = 0;     // operations of callers that found nobody inside
  uint64_t contended = 0;  // of a counter: how often it looked and found that threads got in each other's way
  bool combining = false;  // operations that meet are combined now

  double MeanBatch() const noexcept {
    return batches == 0 ? 0.0 : static_cast<double>(combined) / static_cast<double>(batches);
  }
};

namespace flat_combining_internal {

template <class F, class Seq>
concept Operation =
    std::invocable<F, Seq&> &&
    (std::is_void_v<std::invoke_result_t<F, Seq&>> || std::move_constructible<std::invoke_result_t<F, Seq&>>) &&
    !std::is_reference_v<std::invoke_result_t<F, Seq&>>;

}  // namespace flat_combining_internal

// FlatCombiner<Seq>: any sequential object, shared. Callers that meet have their operations run by one of them, so that
// the object stays in that one's cache and the lock is taken once for all.
//
// Contract  Operations run one at a time, each exactly once, between the call and the return of its Apply; each happens
//           before the next. What one returns or throws comes out of its own Apply and no other.
// Progress  Apply blocking: it waits for the operations before it, spins for a bounded time, then sleeps.
// Cost      Alone: 2 RMWs on one line, no allocation, no fence. Met: the caller takes 2 on that line, to find somebody
//           inside and to publish, and 1 on its own request if it sleeps; who serves it takes 1 there, and 1 a batch. A
//           request is on its caller's stack and known to others only while Apply runs: nothing is left behind when a
//           thread ends.
// Not for   operations that wait for another caller's; those that use thread_local or thread identity, for they may run
//           on another thread, or end their thread (pthread_exit and pthread_cancel abort); counters
//           (FlatCombiningCounter); signal handlers; a child of a fork(2) that came amid a call. A CHECK failure: a
//           call amid its destruction, and one by more than Sync::kMaxThreads (4096) threads at once.
// Proof     flat_combining_model fails if any [tag] below is weakened.
// Example   FlatCombinerTest.SharesAHeap
//
// Hendler, Incze, Shavit, Tzafrir, "Flat Combining and the Synchronization-Parallelism Tradeoff" (SPAA 2010). Requests
// are published on a list for one use, as Oyama, Taura and Yonezawa did (PDSIA 1999), which needs no records that age;
// oldest first, and with a bounded combiner that hands over, as in Fatourou and Kallimanis' CC-Synch (PPoPP 2012).
template <class Seq, FlatCombinerOptions O = FlatCombinerOptions{}, SyncPolicy Sync = StdSync>
class BasicFlatCombiner {
  static_assert(std::is_object_v<Seq> && !std::is_const_v<Seq>);

 public:
  template <class... Args>
    requires std::constructible_from<Seq, Args...>
  constexpr explicit BasicFlatCombiner(Args&&... args) noexcept(std::is_nothrow_constructible_v<Seq, Args...>)
      : seq_(std::forward<Args>(args)...) {}
  ~BasicFlatCombiner() { HOTPATH_CHECK(!combiner_.InUse(), "a FlatCombiner is destroyed while in use"); }
  BasicFlatCombiner(const BasicFlatCombiner&) = delete;
  BasicFlatCombiner& operator=(const BasicFlatCombiner&) = delete;

  // op(Seq&), perhaps on another thread, while this one waits. To Apply to the same object inside it is a CHECK
  // failure. References would outlive the exclusion: the result is a value. Allocates nothing of its own.
  template <class F>
    requires flat_combining_internal::Operation<F, Seq>
  auto Apply(F&& op) -> std::invoke_result_t<F, Seq&> {
    Call<F> call(op);
    if (combiner_.Enter(call)) {
      call.Run(*this);
      combiner_.Leave(call, [this](Request* batch) noexcept {
        uint32_t served = 0;
        for (; batch != nullptr; ++served) {
          Request& request = *batch;
          batch = request.next.Read();
          static_cast<Pending&>(request).run(static_cast<Pending&>(request), *this);
          combiner_.Done(request);
        }
        return served;
      });
    }
    return call.outcome.Take();
  }

  // Each number as of some moment of its own.
  [[nodiscard]] FlatCombiningStats Stats() const noexcept {
    return {combiner_.batches(), combiner_.combined(), combiner_.direct(), 0, true};
  }

 private:
  using Combiner = flat_combining_internal::Combiner<O, Sync>;
  using Request = typename Combiner::Request;

  struct Pending : Request {
    explicit Pending(void (*f)(Pending&, BasicFlatCombiner&) noexcept) noexcept : run(f) {}
    void (*const run)(Pending&, BasicFlatCombiner&) noexcept;
  };

  template <class F>
  using OutcomeOf = flat_combining_internal::Outcome<std::invoke_result_t<F, Seq&>>;

  template <class F>
  struct alignas(Request) alignas(OutcomeOf<F>) alignas(Sync::kLineSize) Call : Pending {
    explicit Call(F& f) noexcept
        : Pending([](Pending& self, BasicFlatCombiner& to) noexcept { static_cast<Call&>(self).Run(to); }),
          op(std::addressof(f)) {}
    void Run(BasicFlatCombiner& to) noexcept {
      to.alone_.Edit();
      outcome.Run(std::forward<F>(*op), to.seq_);
    }

    std::remove_reference_t<F>* const op;
    OutcomeOf<F> outcome;
  };

  struct Nothing {};

  [[no_unique_address]] Combiner combiner_;
  [[no_unique_address]] typename Sync::template Var<Nothing> alone_;  // lets a model see operations that overlap
  alignas(std::max(Sync::kLineSize, alignof(Seq))) Seq seq_;
};

template <class Seq, SyncPolicy Sync = StdSync>
using FlatCombiner = BasicFlatCombiner<Seq, FlatCombinerOptions{}, Sync>;

namespace flat_combining_internal {

// A counter looks whether it is contended when its value is this one of so many. It is odd, so that one that goes in
// even steps, of bytes say, never comes there, rather than at every step.
inline constexpr uint64_t kLookEvery = uint64_t{1} << 20;
inline constexpr uint64_t kLookAt = 0x5'a5a5;

// What FlatCombiningCounter is; its comment is below. Clock is for tests.
template <FlatCombinerOptions O, SyncPolicy Sync, class Clock = std::chrono::steady_clock>
class Counter {
 public:
  constexpr explicit Counter(uint64_t initial = 0) noexcept : value_(initial) {}
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  // The value before. Wraps modulo 2^64, as std::atomic does.
  uint64_t FetchAdd(uint64_t delta, std::memory_order order = std::memory_order::seq_cst) noexcept {
    const uint64_t before = Add(delta, order);
    if (before % kLookEvery == kLookAt) [[unlikely]]
      return Look(before);  // gives it back, so that nothing has to be kept here
    return before;
  }
  uint64_t FetchSub(uint64_t delta, std::memory_order order = std::memory_order::seq_cst) noexcept {
    return FetchAdd(-delta, order);
  }
  [[nodiscard]] uint64_t Load(std::memory_order order = std::memory_order::seq_cst) const noexcept {
    return value_.load(order);
  }
  void Store(uint64_t value, std::memory_order order = std::memory_order::seq_cst) noexcept {
    value_.store(value, order);
  }

  // What the counter does by itself after it was seen contended: measures both ways under the load that other threads
  // make now, by adding 0 a few thousand times, and keeps the faster. To begin combining it must win by a quarter; to
  // go on, it must not lose. Returns which. It costs what those additions cost, and while it measures, additions of
  // other threads may be combined, and so wait. If a thread is at it, a second one returns at once.
  bool Tune() noexcept {
    if (!tuning_.TryLock()) {
      if (measuring_.load(std::memory_order::relaxed)) return combining_.load(std::memory_order::relaxed);
      tuning_.Lock();  // somebody looks, or overrides: that is soon over
    }
    const bool wins = Measure();
    rest_ = 0;
    tuning_.Unlock();
    return wins;
  }

  // From now on this way, until a Tune(). Waits for a measurement that is under way.
  void SetCombining(bool combining) noexcept {
    MutexLock lock(tuning_);
    Switch(combining);
    rest_ = kForEver;
  }

  // `direct` counts only what found nobody inside while `combining` was on: to count the hardware's additions would be
  // a second shared write for each.
  [[nodiscard]] FlatCombiningStats Stats() const noexcept {
    return {combiner_.batches(), combiner_.combined(), combiner_.direct(), contended_.load(std::memory_order::relaxed),
            combining_.load(std::memory_order::relaxed)};
  }

 private:
  using Combiner = flat_combining_internal::Combiner<O, Sync>;
  using Request = typename Combiner::Request;

  template <class T>
  using Atomic = typename Sync::template Atomic<T>;

  static constexpr size_t kLine = std::max(Sync::kLineSize, alignof(Atomic<uint64_t>));

  struct alignas(Request) alignas(Sync::kLineSize) Addition : Request {
    explicit Addition(uint64_t d) noexcept : delta(d) {}
    const uint64_t delta;
    uint64_t before = 0;
  };

  static constexpr size_t kTuningRounds = 5;
  static constexpr int kTuningAdditions = 512;
  static constexpr int kLookAdditions = 64;
  static constexpr int kContended = 3;       // times as long as an addition to a line of one's own
  static constexpr uint32_t kTuneAfter = 2;  // looks in a row that found it contended
  static constexpr uint32_t kMaxRest = 64;
  static constexpr uint32_t kForEver = std::numeric_limits<uint32_t>::max();

  uint64_t Add(uint64_t delta, std::memory_order order = std::memory_order::seq_cst) noexcept {
    if (combining_.load(std::memory_order::relaxed)) [[unlikely]]
      return Combined(delta);
    return value_.fetch_add(delta, order);
  }

  // One addition for a whole batch, by the hardware, so that those who combine and those who do not can mix.
  [[gnu::noinline]] uint64_t Combined(uint64_t delta) noexcept {
    Addition mine(delta);
    if (combiner_.Enter(mine)) {
      mine.before = AddNow(delta);
      combiner_.Leave(mine, [this](Request* batch) noexcept {
        uint64_t sum = 0;
        for (Request* r = batch; r != nullptr; r = r->next.Read()) sum += static_cast<Addition*>(r)->delta;
        uint64_t before = AddNow(sum);
        uint32_t served = 0;
        for (; batch != nullptr; ++served) {
          Addition& addition = *static_cast<Addition*>(batch);
          batch = addition.next.Read();
          addition.before = before;
          before += addition.delta;
          combiner_.Done(addition);
        }
        return served;
      });
    }
    return mine.before;
  }
  // As strong as anybody in the batch may have asked for.
  uint64_t AddNow(uint64_t delta, std::memory_order order = std::memory_order::seq_cst) noexcept {
    return value_.fetch_add(delta, order);
  }

  void Switch(bool combining) noexcept { combining_.store(combining, std::memory_order::relaxed); }

  template <class F>
  static typename Clock::duration Time(F add, int times) noexcept {
    const volatile uint64_t nothing = 0;  // or the compiler makes a load of it
    const uint64_t delta = nothing;
    const auto start = Clock::now();
    for (int i = 0; i < times; ++i) add(delta);
    return Clock::now() - start;
  }

  // Under tuning_.
  bool Measure() noexcept {
    measuring_.store(true, std::memory_order::relaxed);
    const bool combines = combining_.load(std::memory_order::relaxed);
    const auto add = [this](uint64_t delta) { Add(delta); };
    const auto time = [&](bool combining) {
      Switch(combining);
      Time(add, kTuningAdditions / 8);  // until the others have noticed
      return Time(add, kTuningAdditions);
    };
    std::array<typename Clock::duration, kTuningRounds> direct, combined;
    for (size_t round = 0; round < kTuningRounds; ++round) {
      direct[round] = time(false);
      combined[round] = time(true);
    }
    std::ranges::sort(direct);
    std::ranges::sort(combined);
    const auto hardware = direct[kTuningRounds / 2], ours = combined[kTuningRounds / 2];
    const bool wins = combines ? ours <= hardware : ours + ours / 4 <= hardware;
    Switch(wins);
    measuring_.store(false, std::memory_order::relaxed);
    return wins;
  }
  bool IsContended() noexcept {
    alignas(kLine) Atomic<uint64_t> own{0};
    const auto add_to = [](Atomic<uint64_t>& to) {
      return [&to](uint64_t delta) { to.fetch_add(delta, std::memory_order::relaxed); };
    };
    const auto alone = Time(add_to(own), kLookAdditions);
    return Time(add_to(value_), kLookAdditions) > kContended * alone;
  }

  // Looks and measurements in vain become rare, for a sum may come back to this value again and again.
  [[gnu::cold, gnu::noinline]] uint64_t Look(uint64_t before) noexcept {
    if (!tuning_.TryLock()) return before;
    if (rest_ == 0) {
      rest_ = LookAround();
    } else if (rest_ != kForEver) {
      --rest_;
    }
    tuning_.Unlock();
    return before;
  }
  // Returns how many looks to leave out now. Two in a row must find it contended, for a thread that was interrupted
  // looks as if it was.
  uint32_t LookAround() noexcept {
    if (!combining_.load(std::memory_order::relaxed)) {
      if (!IsContended()) {
        contended_in_a_row_ = refused_rest_ = 0;
        return Longer(quiet_rest_);
      }
      quiet_rest_ = 0;
      contended_.store(contended_.load(std::memory_order::relaxed) + 1, std::memory_order::relaxed);
      if (++contended_in_a_row_ < kTuneAfter) return 0;
      contended_in_a_row_ = 0;
    }
    return Measure() ? refused_rest_ = 0 : Longer(refused_rest_);
  }
  static uint32_t Longer(uint32_t& rest) noexcept { return rest = std::min(2 * rest + 1, kMaxRest); }

  alignas(kLine) Atomic<uint64_t> value_;
  alignas(kLine) Atomic<bool> combining_{false};  // read by every addition, so not where they write
  Atomic<bool> measuring_{false};
  typename Sync::Mutex tuning_;
  // Under tuning_, but that anybody reads contended_ and measuring_.
  uint32_t contended_in_a_row_ = 0;
  uint32_t rest_ = 0;                           // looks to leave out
  uint32_t quiet_rest_ = 0, refused_rest_ = 0;  // as many as that after the last look, or measurement, in vain
  Atomic<uint64_t> contended_{0};
  Combiner combiner_;
};

}  // namespace flat_combining_internal

// FlatCombiningCounter: a number that many threads add to, each of whom learns the value before.
//
// Contract  Linearizable, the previous values exact. Orders mean what they mean to std::atomic; an addition that is
//           combined is seq_cst. It starts with the hardware's addition. About every millionth addition, found by the
//           value before (none in even steps from an even one), times a few more beside additions to a line of its own;
//           if it was contended twice in a row, both ways are measured (Tune), and combining begins if it wins by a
//           quarter and ends when it loses. On x86-64 `lock xadd` has won wherever it was measured: there this is a
//           std::atomic.
// Progress  FetchAdd, FetchSub wait-free, blocking while combining and amid Tune. Load, Store wait-free. SetCombining,
//           Tune blocking.
// Cost      FetchAdd: 1 RMW, 1 load of a line that is hardly ever written; no other write. A look: 128 additions. While
//           combining: see FlatCombiner. 3 lines of memory. No allocation.
// Not for   totals that nobody needs with each addition: StripedCounter adds without an RMW. Under contention,
//           additions may wait: not for signal handlers, nor pinned sections, nor a child of a fork(2) that came amid
//           one, nor more than Sync::kMaxThreads (4096) threads at once, a CHECK failure: take a std::atomic there.
// Proof     flat_combining_model fails if any [tag] above is weakened.
// Example   FlatCombiningCounterTest.GivesEachCallerItsOwnTicket
template <SyncPolicy Sync = StdSync>
using BasicFlatCombiningCounter = flat_combining_internal::Counter<FlatCombinerOptions{}, Sync>;
using FlatCombiningCounter = BasicFlatCombiningCounter<StdSync>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_FLAT_COMBINING_H_
