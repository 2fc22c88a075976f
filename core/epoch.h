#ifndef HOTPATH_CORE_EPOCH_H_
#define HOTPATH_CORE_EPOCH_H_

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

namespace hotpath {

// What a stall report says of one reader.
struct EpochStall {
  uint32_t thread_index;                // Sync::ThreadIndex() of the thread that is pinned
  std::chrono::nanoseconds pinned_for;  // at least
  size_t pending;                       // objects retired and not yet reclaimed, of the whole domain
};

struct EpochOptions {
  enum WhenFull : uint8_t {
    kWait,  // Retire waits until there is room, unless its own thread is in the way
    kGrow,  // Retire goes beyond max_pending, and counts it in EpochStats::over_limit
  };

  size_t max_pending = size_t{1} << 16;  // objects retired and not yet reclaimed; at least 1
  WhenFull when_full = kWait;
  // If set, called once for a reader that has been seen pinned for `stall_after` and holds garbage up, by a thread that
  // tried to reclaim it, from inside its Retire, TryReclaim or Synchronize. May run in several threads at once; must
  // not throw.
  std::function<void(const EpochStall&)> on_stall = {};
  std::chrono::nanoseconds stall_after = std::chrono::milliseconds(100);
};

struct EpochStats {
  uint64_t epoch = 0;                         // grows by one per grace period begun
  size_t pending = 0;                         // retired and not yet reclaimed
  uint64_t reclaimed = 0;                     // deleters run
  uint64_t over_limit = 0;                    // objects retired beyond max_pending
  uint64_t waits = 0;                         // calls of Retire that had to wait for room
  uint64_t heavy_fences = 0;                  // one per grace period, and one to get what others retired last
  uint64_t stalls = 0;                        // reports to on_stall
  size_t threads = 0;                         // living threads that ever pinned or retired here
  std::chrono::nanoseconds longest_pin = {};  // of the readers pinned now that held garbage up: for how long, at least
};

// BasicEpochDomain: readers say that they are reading; what is retired is destroyed when nobody can still read it.
//
// Contract  An object that was made unreachable and then retired is destroyed once, after every Guard that existed when
//           it became unreachable, whichever thread retires, reads or reclaims. Pending objects are bounded, see
//           EpochOptions; who is pinned in this domain, or runs one of its deleters, never waits, and may exceed the
//           bound. Who is pinned in another domain does wait: a blocking wait like others.
// Progress  Pin and ~Guard wait-free, except a thread's first Pin, which registers: blocking, brief, may throw
//           bad_alloc. TryReclaim lock-free, Stats wait-free, but for deleters. Retire, Synchronize blocking.
// Cost      Pin and ~Guard: 2 stores to a line of the thread's own; no RMW, no shared line written; a fence only where
//           AsymmetricFences() is false. Retire: stores to lines of the thread's own, and none to the object's, which
//           readers may have; 64 share 1 RMW (each has its own where AsymmetricFences() is false), up to 1,024 a
//           HeavyFence. A domain takes 33 KB, and 1.25 KB for each thread at once that ever used it.
// Not for   reading across a blocking wait (debug builds CHECK); more than 32,767 Guards at once in one thread.
// Proof     epoch_model fails if any [tag] below is weakened.
// Example   EpochTest.ReaderKeepsWhatItReads. After K. Fraser, "Practical lock-freedom" (2004), with asymmetric fences
//           as liburcu-memb has, and grace periods that are told apart by number, so that one fence each is enough.
template <SyncPolicy Sync = StdSync>
class BasicEpochDomain {
  struct Record;

 public:
  // Base of objects whose retirement allocates nothing. 32 bytes or less. A copy of the object is not retired.
  class Retiree {
   public:
    Retiree() = default;
    Retiree(const Retiree&) noexcept {}
    Retiree& operator=(const Retiree&) noexcept { return *this; }

   private:
    friend BasicEpochDomain;
    typename Sync::template Var<Retiree*> next_{nullptr};
    typename Sync::template Var<void (*)(Retiree*)> destroy_{nullptr};
  };

  // Keeps alive whatever was reachable when Pin made it. Ends on the thread that made it. Movable; moved from: empty.
  class [[nodiscard]] Guard {
   public:
    Guard(Guard&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
    Guard& operator=(Guard&& other) noexcept {
      Guard old(std::exchange(record_, std::exchange(other.record_, nullptr)));
      return *this;
    }
    ~Guard() {
      if (record_ != nullptr) record_->Unpin();
    }

   private:
    friend BasicEpochDomain;
    explicit Guard(Record* record) noexcept : record_(record) {}
    Record* record_;
  };

  explicit BasicEpochDomain(EpochOptions options = {});
  // Destroys what is pending. No other thread may be in a call; a Guard that still exists is a CHECK failure.
  ~BasicEpochDomain();
  BasicEpochDomain(const BasicEpochDomain&) = delete;
  BasicEpochDomain& operator=(const BasicEpochDomain&) = delete;

  // Lives to the end of the process and longer: what is pending in it then is not destroyed. Call it once before
  // threads may fork(2): a child that is made during the first call waits for a thread that it does not have.
  static BasicEpochDomain& Default() {
    static BasicEpochDomain& domain = *new BasicEpochDomain;
    return domain;
  }

  [[nodiscard]] Guard Pin() {
    Record& record = Mine();
    if (record.word.load(std::memory_order::relaxed) != kIdle) [[unlikely]]
      return Guard(&PinSlowly());
    Announce(record);
    Sync::FreeLightFence();  // [P3] pairs G2
    return Guard(&record);
  }

  // Whether the calling thread has a Guard of this domain.
  [[nodiscard]] bool IsPinned() const noexcept { return IsPinned(Mine().word.load(std::memory_order::relaxed)); }

  // Takes what a thread's first call takes, so that no later one of this thread throws. Blocking, brief; bad_alloc.
  void Register() { static_cast<void>(Self()); }

  // Destroys the object, made by `new` or Sync::New, when no Guard protects it any more. The caller has made it
  // unreachable for those who pin from now on. Null is ignored. If T is a Retiree, nothing is allocated and, once this
  // thread is registered, nothing thrown. Otherwise bad_alloc may be thrown; then the caller still owns the object.
  // Deleters run in any thread that calls this domain, mostly the one that retired; what idle threads left, others find
  // later. They may retire and reclaim, and pin if the Guard ends in them, as may on_stall; they must not throw. They
  // may Synchronize only if no thread retires or reclaims while it is pinned, for it may be the one that runs them.
  template <class T>
    requires(std::is_object_v<T> && !std::is_array_v<T> &&
             !std::same_as<std::remove_cv_t<T>, typename BasicEpochDomain<Sync>::Retiree>)
  void Retire(T* object);
  // Calls deleter(object) instead; for null too, but a Retiree must exist.
  void Retire(void* object, void (*deleter)(void*));
  void Retire(Retiree* object, void (*deleter)(Retiree*));

  // Returns when every Guard that existed at the call is gone. What was retired before the call is then destroyed,
  // except what another thread, or a deleter that this call was made from, is in the middle of destroying. A CHECK
  // failure if this thread is pinned.
  void Synchronize();

  // Destroys what it can without waiting; returns how many objects. 0 while another thread is choosing what to destroy.
  size_t TryReclaim() { return Pass(Self(), kEverybodys).destroyed; }

  [[nodiscard]] EpochStats Stats() const;
  [[nodiscard]] std::string Describe() const;

 private:
  template <class T>
  using Atomic = typename Sync::template Atomic<T>;
  template <class T>
  using Var = typename Sync::template Var<T>;

  // A thread's word: the epoch it read when it pinned, whether it must fence, whether the record has an owner, whether
  // that is pinned, and how many Guards there are beside the first. 0: no owner. epoch_ is the word of one who pins
  // now, so that he copies it. One who must fence is never kIdle, so that Pin is slow without another branch.
  static constexpr int kEpochShift = 18;
  static constexpr uint64_t kNextEpoch = uint64_t{1} << kEpochShift;
  static constexpr uint64_t kFences = uint64_t{1} << 17;
  static constexpr uint64_t kOwned = uint64_t{1} << 16;
  static constexpr uint64_t kPinned = uint64_t{1} << 15;
  static constexpr uint64_t kMoreGuards = kPinned - 1;
  static constexpr uint64_t kMaxGuards = kMoreGuards;
  static constexpr uint64_t kIdle = kOwned;
  static constexpr uint64_t Idle(uint64_t word) noexcept { return word & (kFences | kOwned); }
  static constexpr bool IsPinned(uint64_t word) noexcept { return (word & kPinned) != 0; }
  static constexpr uint64_t EpochOf(uint64_t word) noexcept { return word >> kEpochShift; }

  // Retired, and in no list yet: putting an object in a list writes to its line, and waits for who has it.
  struct Fresh {
    Retiree* object;
    void (*destroy)(Retiree*);
  };
  static constexpr uint32_t kMaxFresh = 64;  // as kChunk, so that a thread asks for credit and links at once
  enum Gate : uint32_t { kOpen, kClosed, kClosedForGood };

  // What the domain keeps of a thread, or of several that have one ThreadIndex after another.
  struct alignas(Sync::kLineSize) Record : ThreadExitHook {
    Record() noexcept : ThreadExitHook(&OnThreadExit) {}

    void Unpin() noexcept;

    Atomic<uint64_t> word{0};  // written by the owner only

    alignas(Sync::kLineSize) Atomic<Retiree*> limbo{nullptr};  // retired by the owner, last first; anyone takes all
    Atomic<size_t> in_hand{0};   // objects that are in no list of the domain, but in the hands of the owner
    Atomic<uint32_t> credit{0};  // of pending_: objects that the owner may retire without asking
    // Fresh objects are the owner's, unless who holds the lock has closed the gate and found the owner outside.
    Atomic<uint32_t> gate{kClosedForGood};
    Atomic<uint32_t> is_inside{0};
    Atomic<uint32_t> fresh_count{0};
    Var<std::array<Fresh, kMaxFresh>> fresh;
    // The owner's only:
    Var<Retiree*> ready{nullptr};  // to be destroyed
    Var<bool> is_destroying{false};
    Var<uint32_t> index{0};
    Var<BasicEpochDomain*> domain{nullptr};
    // Written under the lock, epoch last: the last reader here that held garbage up.
    Atomic<uint64_t> blocking_epoch{0};
    Atomic<int64_t> blocking_since{0};  // steady_clock
    Var<bool> is_reported{false};
    // Under the lock: what was in limbo, and waits for the end of the grace period of old_stamp.
    Var<Retiree*> old{nullptr};
    Var<size_t> old_count{0};
    Var<uint64_t> old_stamp{0};
  };

  // Retired without being a Retiree.
  struct Foreign : Retiree {
    Foreign(void* object, void (*deleter)(void*)) noexcept : object(object), deleter(deleter) {}
    void* const object;
    void (*const deleter)(void*);
  };

  static constexpr int64_t kChunk = 64;       // of pending_ that a thread takes at once, at most
  static constexpr size_t kSettleEvery = 64;  // objects destroyed between two updates of pending_
  // A thread destroys its own, whose lines it has, and looks for what others left at every so many passes, and when
  // half of max_pending is taken.
  static constexpr uint32_t kEverybodysEvery = 16;

  // This thread's record, or nobody_. It was made by this thread, or by one that had its index before.
  Record& Mine() const noexcept { return *records_[Sync::ThreadIndexPlusOne()].load(std::memory_order::relaxed); }
  Record& Self();
  Record& RegisterSelf();
  static void OnThreadExit(ThreadExitHook& hook);

  // The reader's half. The store and the loads of the reader that follow are a Dekker pair with what a reclaimer does:
  //
  //   reader     word = epoch; LightFence; read pointer
  //   reclaimer  unlink object (the retirer did); HeavyFence; read word
  //
  // so that a reclaimer that does not see the reader pinned has unlinked before the reader looks. If it sees the reader
  // pinned with an epoch later than the stamp of the garbage, then the reader got that epoch from the increment that
  // made the stamp or from one after it, and the unlinking happened before that.
  void Announce(Record& self) noexcept {
    const uint64_t pinned = epoch_.load(std::memory_order::acquire);  // [P1] pairs G1
    self.word.store(pinned, std::memory_order::release);              // [P2] pairs S1
    Sync::NoPark(1);
  }
  [[gnu::cold, gnu::noinline]] Record& PinSlowly();

  void Push(Fresh retired);
  [[gnu::noinline]] void PushSlowly(Fresh retired);
  template <class F>
  static void IfOpen(Record& self, F&& f) noexcept;
  static bool AddFresh(Record& self, Fresh retired) noexcept;
  static void Spend(Record& self) noexcept {
    // A deleter run by Reserve may have used some of the credit, but never the last of it.
    self.credit.store(self.credit.load(std::memory_order::relaxed) - 1, std::memory_order::relaxed);
  }
  static void Link(Record& to, Retiree* first, Retiree* last) noexcept;
  static void LinkFresh(Record& self, Record& from) noexcept;
  [[gnu::noinline]] void Reserve(Record& self);

  bool TryLock(const Record& self) noexcept;
  void Unlock() noexcept;

  // Under the lock.
  struct Blocker {
    Record* record = nullptr;  // the one that blocks longest and was not reported yet
    EpochStall stall = {};
  };
  [[nodiscard]] bool IsOutstanding() const noexcept { return stamp_.Read() != passed_.Read(); }
  void LinkOthersFresh(Record& self, bool wait) noexcept;
  bool Collect(Record& self, Record& from) noexcept;
  void BeginGracePeriod() noexcept;
  bool TryEndGracePeriod(Blocker& blocker) noexcept;
  void Observe(Record& record, uint32_t index, uint64_t word, Blocker& blocker) noexcept;
  void TakeOld(Record& self, Record& from) noexcept;

  void ForgetVanished(Record& record) noexcept;

  enum Whose : uint8_t { kOwn, kEverybodys };
  template <class F>
  void ForEach(Whose whose, Record& self, F&& f) {
    if (whose == kOwn) return f(self);
    ForEachRecord([&f](Record& record, uint32_t) { f(record); });
  }
  struct Passed {
    uint64_t stamp;  // what waited for a grace period up to this one was taken; 0 if another thread was choosing
    size_t destroyed;
  };
  Passed Pass(Record& self, Whose whose);
  void AddReady(Record& self, Retiree* list) noexcept;
  size_t DestroyReady(Record& self) noexcept;

  template <class F>
  void ForEachRecord(F&& f) const;

  // Read by every Pin, hardly ever written.
  const EpochOptions options_;
  const int64_t max_pending_;
  const int64_t batch_;      // objects retired between two attempts to reclaim
  Atomic<uint32_t> end_{0};  // one more than the highest index that has a record
  // By index plus one: the first stays nobody_'s, and belongs to threads that have no index yet.
  Atomic<Record*> records_[Sync::kMaxThreads + 1];
  Record nobody_;  // who has no record: never idle, never pinned

  alignas(Sync::kLineSize) Atomic<uint64_t> epoch_;

  alignas(Sync::kLineSize) Atomic<int64_t> pending_{0};  // objects pending and the threads' credit
  Atomic<int64_t> next_pass_;                            // of pending_: try to reclaim then
  Atomic<uint64_t> reclaimed_{0}, over_limit_{0}, waits_{0}, heavy_fences_{0}, stalls_{0};

  alignas(Sync::kLineSize) Atomic<uint32_t> reclaimer_{0};  // the lock: ThreadIndex() + 1 of its owner; 0: none
  // Under the lock: the last grace period that began, and the last that ended. If they differ it is outstanding: every
  // reader that pinned with stamp_ or less must go.
  Var<uint64_t> stamp_{0}, passed_{0};
  Var<uint32_t> passes_{0};
};

using EpochDomain = BasicEpochDomain<>;

}  // namespace hotpath

#include "hotpath/core/detail/epoch_inl.h"  // IWYU pragma: export

#endif  // HOTPATH_CORE_EPOCH_H_
