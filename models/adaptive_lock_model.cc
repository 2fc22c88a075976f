#include <array>
#include <cstdint>
#include <utility>

#include "hotpath/core/adaptive_lock.h"
#include "hotpath/core/base/parking.h"
#include "models/base/model.h"
#include "models/base/parking_records.h"

namespace hotpath::model {
namespace {

// The analysis of clang cannot follow what models do with locks.
template <class L>
void Take(L& lock) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
  lock.Lock();
}
template <class L>
void LetGo(L& lock) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
  lock.Unlock();
}
template <class L>
bool Try(L& lock) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
  return lock.TryLock();
}

// ---- ParkingLock ----

constexpr ParkingOptions kSleepAtOnce{.max_barges = 1, .min_spin = 0, .max_spin = 0};
constexpr ParkingOptions kFirstInFirstOut{.max_barges = 0, .min_spin = 0, .max_spin = 0};
constexpr ParkingOptions kSpins{.max_barges = 1, .min_spin = 1, .max_spin = 2};

// kThreads threads take the lock kTimes each. No two are inside, none stays asleep, each sees what the last one did.
template <int kThreads, int kTimes, ParkingOptions O>
struct Owners : Model<Owners<kThreads, kTimes, O>, kThreads> {
  ParkingRecords records;
  BasicParkingLock<O, RelacySync> lock;
  RelacySync::Var<int> total{0};

  void thread(unsigned) {
    for (int i = 0; i < kTimes; ++i) {
      Take(lock);
      total.Write(total.Read() + 1);
      LetGo(lock);
    }
  }
  void finish() {
    HOTPATH_CHECK(total.Read() == kThreads * kTimes);
    HOTPATH_CHECK(Try(lock), "the lock is free at last, and nobody waits");
    LetGo(lock);
    for (auto& record : records.of) {
      HOTPATH_CHECK(record.next.load(std::memory_order::relaxed) == 0 &&
                    record.turn.load(std::memory_order::relaxed) == 0);
    }
  }
};
using TwoOwners = Owners<2, 1, kSleepAtOnce>;
using TwoOwnersTwice = Owners<2, 2, kSleepAtOnce>;
using TwoOwnersTwiceSpin = Owners<2, 2, kSpins>;
using ThreeOwners = Owners<3, 1, kSleepAtOnce>;
using ThreeOwnersSpin = Owners<3, 1, kSpins>;
using ThreeOwnersTwiceInOrder = Owners<3, 2, kFirstInFirstOut>;

// All wait while the lock is held from outside, so that there is a queue from the start; who lets go is not an owner.
template <ParkingOptions O>
struct Queue : Model<Queue<O>, 3> {
  ParkingRecords records;
  BasicParkingLock<O, RelacySync> lock;
  RelacySync::Var<int> total{0};

  Queue() { Take(lock); }
  void thread(unsigned id) {
    if (id == 0) LetGo(lock);
    if (id == 0) return;
    for (int i = 0; i < 2; ++i) {
      Take(lock);
      total.Write(total.Read() + 1);
      LetGo(lock);
    }
  }
  void finish() { HOTPATH_CHECK(total.Read() == 4); }
};
using QueueAtStart = Queue<kSleepAtOnce>;

// One thread barges as often as it is let, and the other comes in all the same. (How often it is let: parking_test.)
struct BargesAreBounded : Model<BargesAreBounded, 2> {
  static constexpr uint32_t kMaxBarges = 1;
  ParkingRecords records;
  BasicParkingLock<ParkingOptions{.max_barges = kMaxBarges, .min_spin = 0, .max_spin = 0}, RelacySync> lock;
  RelacySync::Var<bool> second_was_in{false};

  void thread(unsigned id) {
    if (id == 1) {
      Take(lock);
      second_was_in.Write(true);
      return LetGo(lock);
    }
    for (int i = 0; i < 3; ++i) {
      if (!Try(lock)) continue;
      static_cast<void>(second_was_in.Read());
      LetGo(lock);
    }
  }
  void finish() { HOTPATH_CHECK(second_was_in.Read()); }
};

struct TryLockAgainstLock : Model<TryLockAgainstLock, 3> {
  ParkingRecords records;
  BasicParkingLock<kSleepAtOnce, RelacySync> lock;
  RelacySync::Var<int> total{0};
  RelacySync::Var<int> tried[2];

  void thread(unsigned id) {
    if (id == 2) {
      Take(lock);
      total.Write(total.Read() + 10);
      return LetGo(lock);
    }
    if (!Try(lock)) return;
    total.Write(total.Read() + 1);
    LetGo(lock);
    tried[id].Write(1);
  }
  void finish() { HOTPATH_CHECK(total.Read() == 10 + tried[0].Read() + tried[1].Read()); }
};

// The next owner destroys the lock: the one before must not touch it after letting go.
template <ParkingOptions O>
struct NextOwnerDestroysIt : Model<NextOwnerDestroysIt<O>, 2> {
  using Lock = BasicParkingLock<O, RelacySync>;
  ParkingRecords records;
  Lock* lock = RelacySync::New<Lock>();

  NextOwnerDestroysIt() { Take(*lock); }
  void thread(unsigned id) {
    if (id == 0) return LetGo(*lock);
    Take(*lock);
    LetGo(*lock);
    RelacySync::Delete(lock);
  }
};
using NextOwnerDestroysItAsleep = NextOwnerDestroysIt<kSleepAtOnce>;

// A thread's record serves one lock after the other, and one thread after the other that has the index.
struct RecordsAreUsedAgain : Model<RecordsAreUsedAgain, 3> {
  ParkingRecords records;
  BasicParkingLock<kSleepAtOnce, RelacySync> locks[2];
  RelacySync::Var<int> totals[2];

  void Bump(int which) {
    Take(locks[which]);
    totals[which].Write(totals[which].Read() + 1);
    LetGo(locks[which]);
  }
  void thread(unsigned id) {
    Bump(0);
    if (id == 0) RelacySync::EndThread();
    Bump(1);
  }
  void finish() { HOTPATH_CHECK(totals[0].Read() == 3 && totals[1].Read() == 3); }
};

// A lock that knows its owner: who has the index of a thread that ended does not take that one's mark for its own.
struct OwnersIndexIsUsedAgain : Model<OwnersIndexIsUsedAgain, 3> {
  ParkingRecords records;
  BasicOwnedLock<RelacySync> lock;
  RelacySync::Var<int> total{0};

  void thread(unsigned id) {
    Take(lock);
    total.Write(total.Read() + 1);
    LetGo(lock);
    if (id == 0) RelacySync::EndThread();
  }
  void finish() { HOTPATH_CHECK(total.Read() == 3); }
};

// A thread that was second in the queue of one lock is second in that of another, behind a thread that has nothing to
// do with the first queue: what is left in its record must not be taken for news.
struct RecordGoesToAnotherQueue : Model<RecordGoesToAnotherQueue, 3> {
  ParkingRecords records;
  BasicParkingLock<kFirstInFirstOut, RelacySync> locks[2];

  RecordGoesToAnotherQueue() {
    for (auto& lock : locks) Take(lock);
  }
  void thread(unsigned id) {
    if (id == 2) LetGo(locks[0]);
    if (id != 2) {
      Take(locks[0]);
      LetGo(locks[0]);
    }
    if (id == 0) return LetGo(locks[1]);
    Take(locks[1]);
    LetGo(locks[1]);
  }
};

// ---- AdaptiveLock with a lock ----

struct Wide {
  uint64_t left = 0, right = 0;
};

struct LockedValue : Model<LockedValue, 3> {
  using Cell = BasicAdaptiveLock<Wide, RelacySync>;
  static_assert(!Cell::kIsAtomic);
  ParkingRecords records;
  Cell cell;

  void thread(unsigned id) {
    if (id == 0) {
      return cell.With([](Wide& wide) {
        ++wide.left;
        ++wide.right;
      });
    }
    if (id == 1) return cell.Store(Wide{10, 10});
    const Wide seen = cell.Load();
    HOTPATH_CHECK(seen.left == seen.right);
  }
  void finish() {
    const Wide end = cell.Load();
    HOTPATH_CHECK(end.left == end.right && (end.left == 10 || end.left == 11));
  }
};

struct LockedValueThatThrows : Model<LockedValueThatThrows, 2> {
  ParkingRecords records;
  BasicAdaptiveLock<Wide, RelacySync> cell;

  void thread(unsigned id) {
    if (id == 1) {
      return cell.With([](Wide& wide) { wide.right += 10; });
    }
    try {
      cell.With([](Wide& wide) {
        ++wide.left;
        throw 1;
      });
    } catch (int) {
    }
  }
  void finish() {
    const Wide end = cell.Load();
    HOTPATH_CHECK(end.left == 1 && end.right == 10, "the lock is free, and the value as f left it");
  }
};

// ---- AdaptiveLock with an atomic ----

using Number = BasicAdaptiveLock<uint32_t, RelacySync>;
static_assert(Number::kIsAtomic);

// Ways to add `bit`, which is not set, and to look. Each returns what it saw before.
struct ByStore {
  static uint32_t Set(Number& n, uint32_t bit) {
    n.Store(bit);
    return 0;
  }
};
struct ByLoad {
  static uint32_t Look(Number& n) { return n.Load(); }
};
struct ByAdd {
  static uint32_t Set(Number& n, uint32_t bit) { return n.FetchAdd(bit); }
  static uint32_t Look(Number& n) { return n.FetchAdd(0); }
};
struct BySub {
  static uint32_t Set(Number& n, uint32_t bit) { return n.FetchSub(0 - bit); }
  static uint32_t Look(Number& n) { return n.FetchSub(0); }
};
struct ByOr {
  static uint32_t Set(Number& n, uint32_t bit) { return n.FetchOr(bit); }
  static uint32_t Look(Number& n) { return n.FetchOr(0); }
};
struct ByAnd {  // the number starts with all bits that it will have, inverted
  static uint32_t Set(Number& n, uint32_t bit) { return n.FetchAnd(~(bit << 16)); }
  static uint32_t Look(Number& n) { return n.FetchAnd(UINT32_MAX); }
};
struct ByWith {
  static uint32_t Set(Number& n, uint32_t bit) {
    return n.With([&](uint32_t& value) { return std::exchange(value, value | bit); });
  }
  static uint32_t Look(Number& n) {
    return n.With([&](uint32_t& value) { return value; });
  }
};
struct ByExchange {
  static uint32_t Set(Number& n, uint32_t bit) {
    uint32_t seen = 0;
    while (!n.CompareExchange(seen, seen | bit)) RelacySync::Pause();
    return seen;
  }
  static uint32_t Look(Number& n) {
    uint32_t seen = 0;
    while (!n.CompareExchange(seen, seen)) RelacySync::Pause();
    return seen;
  }
};
struct ByFailedExchange {
  static uint32_t Look(Number& n) {
    uint32_t seen = 1u << 31;
    HOTPATH_CHECK(!n.CompareExchange(seen, 0), "the number was never that");
    return seen;
  }
};

// One thread writes plain data, then the number; who sees the number sees the data. Once for each way to write, and
// once for each way to look.
template <class... Pairs>
struct Passes : Model<Passes<Pairs...>, 2> {
  static constexpr uint32_t kStart = 2u << 16;
  struct One {
    Number number{kStart};
    RelacySync::Var<int> data{0};
  } all[sizeof...(Pairs)];

  void thread(unsigned id) {
    One* one = all;
    (Pass<Pairs>(id, *one++), ...);
  }
  template <class Pair>
  static void Pass(unsigned id, One& one) {
    if (id == 0) {
      one.data.Write(1);
      Pair::Writer::Set(one.number, 2);
    } else if (Pair::Reader::Look(one.number) != kStart) {
      HOTPATH_CHECK(one.data.Read() == 1);
    }
  }
};
template <class W, class R>
struct Pair {
  using Writer = W;
  using Reader = R;
};
using EveryWriteIsSeen = Passes<Pair<ByStore, ByLoad>, Pair<ByAdd, ByLoad>, Pair<BySub, ByLoad>, Pair<ByOr, ByLoad>,
                                Pair<ByAnd, ByLoad>, Pair<ByWith, ByLoad>, Pair<ByExchange, ByLoad>>;
using EveryLookSees = Passes<Pair<ByStore, ByAdd>, Pair<ByStore, BySub>, Pair<ByStore, ByOr>, Pair<ByStore, ByAnd>,
                             Pair<ByStore, ByWith>, Pair<ByStore, ByExchange>, Pair<ByStore, ByFailedExchange>>;

// With runs f again if it was overtaken, and then on what overtook it: f reads plain data that belongs to the number.
struct WithSeesWhatOvertookIt : Model<WithSeesWhatOvertookIt, 2> {
  Number number{0};
  RelacySync::Var<int> data{0};

  void thread(unsigned id) {
    if (id == 0) {
      data.Write(1);
      return number.Store(1);
    }
    number.With([&](uint32_t& value) {
      if (value == 1) HOTPATH_CHECK(data.Read() == 1);
      value |= 2;
    });
  }
};

// Updates of one number, each its own way: none is lost, and each has a place in one order.
struct NothingIsLost : Model<NothingIsLost, 3> {
  Number number{0};
  RelacySync::Var<uint32_t> before[3];

  void thread(unsigned id) {
    if (id == 0) before[0].Write(ByAdd::Set(number, 1));
    if (id == 1) before[1].Write(ByWith::Set(number, 2));
    if (id == 2) before[2].Write(ByExchange::Set(number, 4));
  }
  void finish() {
    HOTPATH_CHECK(number.Load() == 7);
    std::array<uint32_t, 3> seen;
    for (int i = 0; i < 3; ++i) seen[i] = before[i].Read();
    int first = 0, second = 0;
    for (const uint32_t s : seen) {
      first += s == 0;
      second += s == 1 || s == 2 || s == 4;
    }
    HOTPATH_CHECK(first == 1 && second == 1, "two updates saw the same value");
  }
};

// A With that throws changes nothing; others are not held up by it.
struct AtomicValueThatThrows : Model<AtomicValueThatThrows, 2> {
  Number number{0};

  void thread(unsigned id) {
    if (id == 1) {
      return number.With([](uint32_t& value) { value += 10; });
    }
    try {
      number.With([](uint32_t& value) {
        ++value;
        throw 1;
      });
    } catch (int) {
    }
  }
  void finish() { HOTPATH_CHECK(number.Load() == 10); }
};

// An exchange that succeeds at the first attempt, without having looked: it sees what was written before the value.
struct ExchangeSucceedsAtOnce : Model<ExchangeSucceedsAtOnce, 2> {
  Number number{0};
  RelacySync::Var<int> data{0};

  void thread(unsigned id) {
    if (id == 0) {
      data.Write(1);
      return number.Store(2);
    }
    uint32_t expected = 2;
    if (number.CompareExchange(expected, 3)) HOTPATH_CHECK(data.Read() == 1);
  }
};

// With takes a value to its function, and the value goes and comes back before the exchange: With is then later than
// the store that brought it back. Its thread learns that it was from one who found, after that store, what With left.
struct ValueComesBackDuringWith : Model<ValueComesBackDuringWith, 2> {
  Number number{0};
  RelacySync::Var<int> data{0};
  RelacySync::Atomic<uint32_t> with_was_later{0};

  void thread(unsigned id) {
    if (id == 0) {
      data.Write(1);
      number.Store(1);
      number.Store(0);
      if (number.Load() == 5) with_was_later.store(1, std::memory_order::relaxed);
      return;
    }
    number.With([](uint32_t& value) { value = 5; });
    if (with_was_later.load(std::memory_order::relaxed) == 1) HOTPATH_CHECK(data.Read() == 1);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(argc, argv,
              {HOTPATH_MODEL(TwoOwners),
               HOTPATH_MODEL(TwoOwnersTwice),
               HOTPATH_MODEL(TwoOwnersTwiceSpin),
               HOTPATH_MODEL(ThreeOwners),
               HOTPATH_MODEL(ThreeOwnersSpin),
               HOTPATH_MODEL(ThreeOwnersTwiceInOrder),
               HOTPATH_MODEL(QueueAtStart),
               HOTPATH_MODEL(BargesAreBounded),
               HOTPATH_MODEL(TryLockAgainstLock),
               HOTPATH_MODEL(NextOwnerDestroysItAsleep),
               HOTPATH_MODEL(RecordsAreUsedAgain),
               HOTPATH_MODEL(OwnersIndexIsUsedAgain),
               HOTPATH_MODEL(RecordGoesToAnotherQueue),
               HOTPATH_MODEL(LockedValue),
               HOTPATH_MODEL(LockedValueThatThrows),
               HOTPATH_MODEL(EveryWriteIsSeen),
               HOTPATH_MODEL(EveryLookSees),
               HOTPATH_MODEL(WithSeesWhatOvertookIt),
               HOTPATH_MODEL(NothingIsLost),
               HOTPATH_MODEL(AtomicValueThatThrows),
               HOTPATH_MODEL(ExchangeSucceedsAtOnce),
               HOTPATH_MODEL(ValueComesBackDuringWith)},
              {"core/base/parking.h"});
}
