#ifndef HOTPATH_CORE_BASE_PARKING_H_
#define HOTPATH_CORE_BASE_PARKING_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/cacheline.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

// A lock in four bytes, made of Sync::Park and Sync::Wake, and what a primitive that calls its users' code under such a
// lock wants to know. Sleeping as such is Sync's: see sync.h.

namespace hotpath {

struct ParkingOptions {
  // How many times others may take the lock before the first in the queue.
  uint32_t max_barges = 4096;
  // A waiting thread looks at the lock this many times before it goes to sleep, each time after twice as many pauses.
  // Between the two, a thread finds out what is worth its while.
  uint32_t min_spin = 2, max_spin = 7;
};

namespace parking_internal {

// A call of a primitive that holds its lock(s) while it runs its user's code. Lives on the stack of the caller.
struct Frame {
  const void* object;
  const char* operation;
  const Frame* outer;
};

// What a thread needs while it waits: one, for it waits for one lock at a time. It belongs to an index, not to a
// thread, and starts as zeros.
template <SyncPolicy Sync>
struct alignas(Sync::kLineSize) ThreadRecord {
  template <class T>
  using Atomic = typename Sync::template Atomic<T>;

  // 0 unless in a queue.
  Atomic<uint32_t> next{0};  // index + 1 of who is behind this thread; all ones: this thread sleeps until it is known
  Atomic<uint32_t> turn{0};

  // For the thread only.
  typename Sync::template Var<uint32_t> patience{0};  // how much more than ParkingOptions::min_spin it spins
  typename Sync::template Var<const Frame*> frames{nullptr};
};

// Models specialise this, for they have no statics: see models/base/parking_records.h.
template <SyncPolicy Sync>
struct ThreadRecords {
  static ThreadRecord<Sync>& Of(uint32_t index) noexcept { return records[index]; }
  inline static constinit ThreadRecord<Sync> records[Sync::kMaxThreads];
};

}  // namespace parking_internal

// ParkingLock: a mutex of four bytes that spins for a while it tunes itself, then sleeps, and starves nobody.
//
// Contract  Excludes. Not recursive. A thread that has joined the queue (at the latest when it first sleeps) gets the
//           lock after at most (q + 1) * (max_barges + 1) others did, q being the threads queued before it. The
//           unlocking thread never touches a lock that the next owner may have destroyed. A thread that waits takes an
//           index of Sync: there are Sync::kMaxThreads, and to need one more is a CHECK failure.
// Progress  TryLock lock-free. Lock blocking, and lock-free until it has joined the queue. Unlock lock-free: it fails
//           only because another thread queues up.
// Cost      Alone: one RMW to lock, one to unlock. To wait costs a sleep to become the first in the queue, one as the
//           first, and one more for each barge that comes between the first's wake-up and its turn. No allocation; 128
//           bytes of static memory for each thread there ever was at once.
// Not for   signal handlers; the child of a fork(2) that came while another thread held it. (Threads that waited for
//           it, and are not in the child, are forgotten there by its first Lock that has to wait; before, a TryLock may
//           fail as if they were to come.)
// Proof     adaptive_lock_model fails if any [tag] below is weakened or says in models/survivors.txt why not.
// Example   ParkingLockTest.ExcludesWithMutexLock
//
// The queue is that of Mellor-Crummey and Scott ("Algorithms for Scalable Synchronization on Shared-Memory
// Multiprocessors", 1991), in the shape of Linux's qspinlock: the word holds the index of the last waiting thread, and
// each waits on its own record. Whoever comes to a free lock may take it past the queue (as in WebKit's WTF::Lock,
// without which every unlock would be a context switch), but each such barge is counted in the word.
template <ParkingOptions O = ParkingOptions{}, SyncPolicy Sync = StdSync>
class HOTPATH_CAPABILITY("mutex") BasicParkingLock {
 public:
  constexpr BasicParkingLock() = default;
  BasicParkingLock(const BasicParkingLock&) = delete;
  BasicParkingLock& operator=(const BasicParkingLock&) = delete;

  void Lock() noexcept HOTPATH_ACQUIRE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    uint32_t word = 0;
    if (word_.compare_exchange_strong(word, kLocked, std::memory_order::acquire,  // [L1] pairs L5
                                      std::memory_order::relaxed)) [[likely]] {
      return;
    }
    LockSlowly();
  }

  // False if the lock is held, or kept for the first in the queue.
  [[nodiscard]] bool TryLock() noexcept HOTPATH_TRY_ACQUIRE(true) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    uint32_t word = 0;
    while (!word_.compare_exchange_strong(word, Barged(word), std::memory_order::acquire,  // [L2] pairs L5
                                          std::memory_order::relaxed)) {
      if (!MayBarge(word)) return false;
    }
    return true;
  }

  void Unlock() noexcept HOTPATH_RELEASE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    uint32_t word = kLocked;
    while (!word_.compare_exchange_weak(word, word & ~(kLocked | kAsleep),
                                        std::memory_order::release,  // [L5] pairs L1 L2 L3 L4 L6
                                        std::memory_order::relaxed)) {
      HOTPATH_DCHECK((word & kLocked) != 0, "ParkingLock: nobody holds what is unlocked here");
    }
    if ((word & kAsleep) != 0) [[unlikely]]
      Sync::Wake(word_, 1);
  }

 private:
  using Record = parking_internal::ThreadRecord<Sync>;
  using Records = parking_internal::ThreadRecords<Sync>;

  // The word: is it locked; does the first in the queue sleep on it, which it does only while it is locked; index + 1
  // of the last in the queue; barges since the first in the queue is the first.
  static constexpr uint32_t kLocked = 1, kAsleep = 2;
  static constexpr uint32_t kTailShift = 2, kTailBits = 13, kBargeShift = kTailShift + kTailBits;
  static constexpr uint32_t kTail = ((1u << kTailBits) - 1) << kTailShift, kOneBarge = 1u << kBargeShift;
  static_assert(Sync::kMaxThreads < 1u << kTailBits);
  static_assert(O.max_barges < 1u << (32 - kBargeShift) && O.min_spin <= O.max_spin && O.max_spin < 16);

  // ThreadRecord::turn.
  static constexpr uint32_t kNotYet = 0, kNotYetAsleep = 1, kFirst = 2;

  // ThreadRecord::next.
  static constexpr uint32_t kWhoIsNext = UINT32_MAX;

  static constexpr uint32_t kFirstPauses = 4;

  static bool MayBarge(uint32_t word) { return (word & kLocked) == 0 && word >> kBargeShift < O.max_barges; }
  static uint32_t Barged(uint32_t word) { return (word | kLocked) + ((word & kTail) != 0 ? kOneBarge : 0); }

  static void Pauses(uint32_t round) noexcept {
    for (uint32_t i = kFirstPauses << round; i > 0; --i) Sync::Relax();
  }

  [[gnu::noinline]] void LockSlowly() noexcept {
    const uint32_t index = Sync::ThreadIndex();
    Record& self = Records::Of(index);
    const uint32_t patience = std::min(O.min_spin + self.patience.Read(), O.max_spin);
    for (uint32_t round = 0; round < patience; ++round) {
      Pauses(round);
      uint32_t word = word_.load(std::memory_order::relaxed);
      if (!MayBarge(word)) continue;
      if (!word_.compare_exchange_strong(word, Barged(word), std::memory_order::acquire,  // [L3] pairs L5
                                         std::memory_order::relaxed)) {
        continue;
      }
      // It was worth while: next time, up to four times as long.
      self.patience.Write(round + 2 - std::min(round + 2, O.min_spin));
      return;
    }
    self.patience.Write(patience - std::min(patience, O.min_spin + 1));

    // Join the queue, unless the lock is free after all.
    uint32_t word = word_.load(std::memory_order::relaxed);
    const uint32_t last = (index + 1) << kTailShift;
    bool barges;
    do {
      barges = MayBarge(word);
    } while (!word_.compare_exchange_weak(word, barges ? Barged(word) : (word & ~kTail) | last,
                                          std::memory_order::acq_rel,  // [L4] pairs L4 L5 L6
                                          std::memory_order::relaxed));
    if (barges) return;
    // Who did not survive fork(2) waited for it in the parent, and so did all before; one index is never another's.
    if ((word & kTail) != 0 && !Sync::Vanished(Before(word))) WaitToBeFirst(index, self, Before(word));
    TakeAsFirst(self, last);
  }

  static uint32_t Before(uint32_t word) { return ((word & kTail) >> kTailShift) - 1; }

  // Those in a queue write fields of each other's records. A thread leaves its own as zeros before it next joins, and
  // who writes them has read of that in the word: the thread behind when it joins, the thread ahead when it takes the
  // lock.
  static void WaitToBeFirst(uint32_t index, Record& self, uint32_t before) noexcept {
    Record& ahead = Records::Of(before);
    const uint32_t asked = ahead.next.exchange(index + 1, std::memory_order::relaxed);
    HOTPATH_DCHECK(asked == 0 || asked == kWhoIsNext, "two threads behind one");
    if (asked == kWhoIsNext) Sync::Wake(ahead.next, 1);
    uint32_t turn = kNotYet;
    for (uint32_t round = 0; round < O.min_spin && turn == kNotYet; ++round) {
      Pauses(round);
      turn = self.turn.load(std::memory_order::relaxed);
    }
    if (turn == kNotYet && self.turn.compare_exchange_strong(turn, kNotYetAsleep, std::memory_order::relaxed,
                                                             std::memory_order::relaxed)) {
      do {
        static_cast<void>(Sync::Park(self.turn, kNotYetAsleep));
      } while (self.turn.load(std::memory_order::relaxed) == kNotYetAsleep);
    }
    self.turn.store(kNotYet, std::memory_order::relaxed);
  }

  void TakeAsFirst(Record& self, uint32_t last) noexcept {
    for (uint32_t round = 0;;) {
      uint32_t word = word_.load(std::memory_order::relaxed);
      if ((word & kLocked) == 0) {
        const uint32_t queue = (word & kTail) == last ? 0 : word & kTail;
        if (!word_.compare_exchange_weak(word, queue | kLocked, std::memory_order::acquire,  // [L6] pairs L4 L5
                                         std::memory_order::relaxed)) {
          continue;
        }
        if (queue != 0) MakeNextFirst(self);
        return;
      }
      if (round < O.min_spin) {
        Pauses(round++);
        continue;
      }
      if ((word & kAsleep) == 0 &&
          !word_.compare_exchange_weak(word, word | kAsleep, std::memory_order::relaxed, std::memory_order::relaxed)) {
        continue;
      }
      static_cast<void>(Sync::Park(word_, word | kAsleep));
      round = 0;
    }
  }

  static void MakeNextFirst(Record& self) noexcept {
    uint32_t next = 0;  // it has joined, and is about to say who it is
    for (uint32_t round = 0; round < O.min_spin && next == 0; ++round) {
      Pauses(round);
      next = self.next.load(std::memory_order::relaxed);
    }
    if (next == 0 &&
        self.next.compare_exchange_strong(next, kWhoIsNext, std::memory_order::relaxed, std::memory_order::relaxed)) {
      do {
        static_cast<void>(Sync::Park(self.next, kWhoIsNext));
        next = self.next.load(std::memory_order::relaxed);
      } while (next == kWhoIsNext);
    }
    self.next.store(0, std::memory_order::relaxed);
    Record& first = Records::Of(next - 1);
    HOTPATH_DCHECK(first.turn.load(std::memory_order::relaxed) != kFirst, "made the first twice");
    if (first.turn.exchange(kFirst, std::memory_order::relaxed) == kNotYetAsleep) Sync::Wake(first.turn, 1);
  }

  typename Sync::template Atomic<uint32_t> word_{0};
};

using ParkingLock = BasicParkingLock<>;

// A ParkingLock that knows its owner, for four bytes more: to take it twice, or to wait for an owner that did not
// survive fork(2), is a CHECK failure and no deadlock (but for an owner that was between the lock and its mark, a few
// instructions at either end). Progress and limits are ParkingLock's; every owner takes an index of Sync. Made of
// Sync::Mutex, it may be waited for where a thread must not park, e.g. while it is pinned.
template <SyncPolicy Sync = StdSync, class Inner = BasicParkingLock<ParkingOptions{}, Sync>>
class HOTPATH_CAPABILITY("mutex") BasicOwnedLock {
 public:
  constexpr BasicOwnedLock() = default;
  BasicOwnedLock(const BasicOwnedLock&) = delete;
  BasicOwnedLock& operator=(const BasicOwnedLock&) = delete;

  void Lock() noexcept HOTPATH_ACQUIRE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    if (!lock_.TryLock()) [[unlikely]]
      LockSlowly();
    owner_.store(Sync::ThreadIndex() + 1, std::memory_order::relaxed);
  }
  void Unlock() noexcept HOTPATH_RELEASE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    owner_.store(0, std::memory_order::relaxed);
    lock_.Unlock();
  }

 private:
  // A thread that reads its own mark has not cleared it: nobody else writes it. Its index comes first, for it may be
  // that of a thread that ended, and only then is that thread's last mark the one that is seen.
  [[gnu::noinline]] void LockSlowly() noexcept HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    const uint32_t self = Sync::ThreadIndex() + 1;
    const uint32_t owner = owner_.load(std::memory_order::relaxed);
    HOTPATH_CHECK(owner != self, "this thread holds this lock already");
    HOTPATH_CHECK(owner == 0 || !Sync::Vanished(owner - 1), "the thread that held this lock did not survive fork(2)");
    lock_.Lock();
  }

  Inner lock_;
  typename Sync::template Atomic<uint32_t> owner_{0};
};

// Says that this thread runs its user's code, from here to the end of the block, on behalf of `operation` of `object`.
// They nest.
template <SyncPolicy Sync = StdSync>
class [[nodiscard]] CallbackScope {
 public:
  CallbackScope(const void* object, const char* operation) noexcept
      : record_(parking_internal::ThreadRecords<Sync>::Of(Sync::ThreadIndex())),
        frame_{object, operation, record_.frames.Read()} {
    record_.frames.Write(&frame_);
  }
  ~CallbackScope() { record_.frames.Write(frame_.outer); }
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;

  // The operation of `object` that this thread is in the middle of, null if none.
  [[nodiscard]] static const char* Inside(const void* object) noexcept {
    const parking_internal::Frame* frame = parking_internal::ThreadRecords<Sync>::Of(Sync::ThreadIndex()).frames.Read();
    while (frame != nullptr && frame->object != object) [[unlikely]]
      frame = frame->outer;
    return frame == nullptr ? nullptr : frame->operation;
  }

 private:
  parking_internal::ThreadRecord<Sync>& record_;
  const parking_internal::Frame frame_;
};

}  // namespace hotpath

#endif  // HOTPATH_CORE_BASE_PARKING_H_
