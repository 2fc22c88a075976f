// Gate 0: what the checker sees. Each row is a question to which C++20 has an answer; the checker must see what is
// allowed and not see what is forbidden, except where it is known to be blind or to cry wolf. A row that moves fails:
// then a change of Relacy, of its patch or of RelacySync has changed what every other model means.

#include <atomic>
#include <cstdint>
#include <iostream>
#include <string>

#include "absl/strings/str_format.h"
#include "hotpath/core/base/check.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

using std::memory_order;
using enum std::memory_order;
template <class T>
using Atomic = RelacySync::Atomic<T>;

// ---- Store buffering: each side stores to its own variable, then loads the other's. Both loads give the old value
// ----

struct Plain {
  static void Store(Atomic<int>& a) { a.store(1, relaxed); }
  static void Between() {}
  static int Load(const Atomic<int>& a) { return a.load(relaxed); }
};
struct SeqCst : Plain {
  static void Store(Atomic<int>& a) { a.store(1, seq_cst); }
  static int Load(const Atomic<int>& a) { return a.load(seq_cst); }
};
struct SeqCstExchange : Plain {
  static void Store(Atomic<int>& a) { a.exchange(1, seq_cst); }
};
struct SeqCstFence : Plain {
  static void Between() { RelacySync::Fence(seq_cst); }
};
struct Light : Plain {
  static void Between() { RelacySync::LightFence(); }
};
struct Heavy : Plain {
  static void Between() { RelacySync::HeavyFence(); }
};

template <class A, class B>
struct StoreBuffering : Model<StoreBuffering<A, B>, 2> {
  Atomic<int> x{0}, y{0};
  int a = -1, b = -1;

  void thread(unsigned id) {
    if (id == 0) {
      A::Store(x);
      A::Between();
      a = A::Load(y);
    } else {
      B::Store(y);
      B::Between();
      b = B::Load(x);
    }
  }
  void finish() { HOTPATH_CHECK(!(a == 0 && b == 0)); }
};

// Three sides in a ring, each storing its own and loading the next one's.
template <class A, class B, class C>
struct StoreBufferingRing : Model<StoreBufferingRing<A, B, C>, 3> {
  Atomic<int> x{0}, y{0}, z{0};
  int seen[3] = {-1, -1, -1};

  template <class S>
  static int Side(Atomic<int>& mine, const Atomic<int>& next) {
    S::Store(mine);
    S::Between();
    return S::Load(next);
  }
  void thread(unsigned id) { seen[id] = id == 0 ? Side<A>(x, y) : id == 1 ? Side<B>(y, z) : Side<C>(z, x); }
  void finish() { HOTPATH_CHECK(!(seen[0] == 0 && seen[1] == 0 && seen[2] == 0)); }
};

// ---- Message passing: the flag is seen, the message is not ----

template <memory_order kStore, memory_order kLoad, memory_order kFenceBefore = relaxed,
          memory_order kFenceAfter = relaxed>
struct MessagePassing : Model<MessagePassing<kStore, kLoad, kFenceBefore, kFenceAfter>, 2> {
  Atomic<int> message{0}, flag{0};

  void thread(unsigned id) {
    if (id == 0) {
      message.store(1, relaxed);
      RelacySync::Fence(kFenceBefore);
      flag.store(1, kStore);
    } else if (flag.load(kLoad) == 1) {
      RelacySync::Fence(kFenceAfter);
      HOTPATH_CHECK(message.load(relaxed) == 1);
    }
  }
};

// A later relaxed store to the flag, by the same thread. Since C++20 it is not part of the release sequence.
struct OwnStoreAfterRelease : Model<OwnStoreAfterRelease, 2> {
  Atomic<int> message{0}, flag{0};

  void thread(unsigned id) {
    if (id == 0) {
      message.store(1, relaxed);
      flag.store(1, release);
      flag.store(2, relaxed);
    } else if (flag.load(acquire) == 2) {
      HOTPATH_CHECK(message.load(relaxed) == 1);
    }
  }
};

// A relaxed read-modify-write by a third thread is.
struct RmwAfterRelease : Model<RmwAfterRelease, 3> {
  Atomic<int> message{0}, flag{0};

  void thread(unsigned id) {
    if (id == 0) {
      message.store(1, relaxed);
      flag.store(1, release);
    } else if (id == 1) {
      flag.fetch_add(10, relaxed);
    } else if (flag.load(acquire) == 11) {
      HOTPATH_CHECK(message.load(relaxed) == 1);
    }
  }
};

// The flag is seen, and the message is kStores stores old.
template <int kStores>
struct StaleBy : Model<StaleBy<kStores>, 2> {
  Atomic<int> message{0}, flag{0};

  void thread(unsigned id) {
    if (id == 0) {
      for (int i = 1; i <= kStores; ++i) message.store(i, relaxed);
      flag.store(1, relaxed);
    } else if (flag.load(relaxed) == 1) {
      HOTPATH_CHECK(message.load(relaxed) != 0);
    }
  }
};

// The same, where the message is read by a compare-exchange that fails.
struct StaleFailedExchange : Model<StaleFailedExchange, 2> {
  Atomic<int> message{0}, flag{0};

  void thread(unsigned id) {
    if (id == 0) {
      message.store(1, relaxed);
      flag.store(1, relaxed);
    } else if (flag.load(relaxed) == 1) {
      int expected = 7;
      message.compare_exchange_strong(expected, 9, relaxed, relaxed);
      HOTPATH_CHECK(expected == 1);
    }
  }
};

// ---- Compare-exchange whose failure is stronger than its success, which C++11 did not know ----

template <memory_order kSuccess, memory_order kFailure>
struct FailedExchange : Model<FailedExchange<kSuccess, kFailure>, 2> {
  Atomic<int> message{0}, flag{0};

  void thread(unsigned id) {
    if (id == 0) {
      message.store(1, relaxed);
      flag.store(1, release);
    } else {
      int expected = 7;
      if (!flag.compare_exchange_weak(expected, 9, kSuccess, kFailure) && expected == 1) {
        HOTPATH_CHECK(message.load(relaxed) == 1);
      }
    }
  }
};

// ---- Others ----

// Two readers see two independent writes in opposite orders.
template <memory_order kStore, memory_order kLoad>
struct IndependentReads : Model<IndependentReads<kStore, kLoad>, 4> {
  Atomic<int> x{0}, y{0};
  int a = -1, b = -1, c = -1, d = -1;

  void thread(unsigned id) {
    if (id == 0) x.store(1, kStore);
    if (id == 1) y.store(1, kStore);
    if (id == 2) a = x.load(kLoad), b = y.load(kLoad);
    if (id == 3) c = y.load(kLoad), d = x.load(kLoad);
  }
  void finish() { HOTPATH_CHECK(!(a == 1 && b == 0 && c == 1 && d == 0)); }
};

// Both loads see the store that follows the other load.
struct LoadBuffering : Model<LoadBuffering, 2> {
  Atomic<int> x{0}, y{0};
  int a = -1, b = -1;

  void thread(unsigned id) {
    if (id == 0) {
      a = x.load(relaxed);
      y.store(1, relaxed);
    } else {
      b = y.load(relaxed);
      x.store(1, relaxed);
    }
  }
  void finish() { HOTPATH_CHECK(!(a == 1 && b == 1)); }
};

// Both variables end with the value that was stored first.
struct TwoPlusTwoWrites : Model<TwoPlusTwoWrites, 2> {
  Atomic<int> x{0}, y{0};

  void thread(unsigned id) {
    if (id == 0) {
      x.store(1, relaxed);
      y.store(2, relaxed);
    } else {
      y.store(1, relaxed);
      x.store(2, relaxed);
    }
  }
  void finish() { HOTPATH_CHECK(!(x.load(relaxed) == 1 && y.load(relaxed) == 1)); }
};

// ---- No happens-before by accident: thread 1 reads plain data once it knows that thread 0's fence came first ----

template <class A, class B>
struct FencesOrderNoData : Model<FencesOrderNoData<A, B>, 2> {
  RelacySync::Var<int> data{0};
  Atomic<int> y{0}, first{0};

  void thread(unsigned id) {
    if (id == 0) {
      data.Write(1);
      A::Between();
      if (y.load(relaxed) == 0) first.store(1, relaxed);
    } else {
      y.store(1, relaxed);
      B::Between();
      if (first.load(relaxed) == 1) static_cast<void>(data.Read());
    }
  }
};

// ---- Park and Wake ----

// Thread 1 parks until thread 0 has set the word. It knows nothing of what thread 0 did before.
struct ParkOrdersNothing : Model<ParkOrdersNothing, 2> {
  Atomic<int> message{0};
  Atomic<uint32_t> word{0};

  void thread(unsigned id) {
    if (id == 0) {
      message.store(1, relaxed);
      RelacySync::Fence(release);
      word.store(1, relaxed);
      RelacySync::Wake(word, 1);
    } else {
      static_cast<void>(RelacySync::Park(word, 0));
      RelacySync::Fence(acquire);
      HOTPATH_CHECK(message.load(relaxed) == 1);
    }
  }
};

// The waker stores and wakes, or wakes and stores: then the waiter sleeps for ever.
template <bool kWakeLast>
struct Wakeup : Model<Wakeup<kWakeLast>, 2> {
  Atomic<uint32_t> word{0};

  void thread(unsigned id) {
    if (id == 0) {
      if (!kWakeLast) RelacySync::Wake(word, 1);
      word.store(1, relaxed);
      if (kWakeLast) RelacySync::Wake(word, 1);
    } else {
      while (word.load(relaxed) == 0) static_cast<void>(RelacySync::Park(word, 0));
    }
  }
};

// ---- The table ----

enum Rule { kAllowed, kForbidden };
enum Sight { kNever, kSeen };

struct Row {
  const char* name;
  Rule rule;           // C++20; for the last two groups, what StdSync promises
  Sight random, full;  // the two searches
  const char* why;     // a sight differs from the rule
  ModelEntry model;
};

const Row kTable[] = {
    {"SB, relaxed", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(StoreBuffering<Plain, Plain>)},
    {"SB, seq_cst", kForbidden, kNever, kNever, "", HOTPATH_MODEL(StoreBuffering<SeqCst, SeqCst>)},
    {"SB, seq_cst fences", kForbidden, kNever, kNever, "", HOTPATH_MODEL(StoreBuffering<SeqCstFence, SeqCstFence>)},
    {"SB, seq_cst exchanges, relaxed loads", kAllowed, kSeen, kSeen, "",
     HOTPATH_MODEL(StoreBuffering<SeqCstExchange, SeqCstExchange>)},
    {"SB, seq_cst against seq_cst fence", kForbidden, kSeen, kSeen, "false alarm: do not mix them in one protocol",
     HOTPATH_MODEL(StoreBuffering<SeqCst, SeqCstFence>)},
    {"SB ring of 3, seq_cst fences", kForbidden, kNever, kNever, "",
     HOTPATH_MODEL(StoreBufferingRing<SeqCstFence, SeqCstFence, SeqCstFence>)},
    {"MP, relaxed", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(MessagePassing<relaxed, relaxed>)},
    {"MP, release only", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(MessagePassing<release, relaxed>)},
    {"MP, acquire only", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(MessagePassing<relaxed, acquire>)},
    {"MP, release and acquire", kForbidden, kNever, kNever, "", HOTPATH_MODEL(MessagePassing<release, acquire>)},
    {"MP, fences", kForbidden, kNever, kNever, "", HOTPATH_MODEL(MessagePassing<relaxed, relaxed, release, acquire>)},
    {"MP, release fence and acquire", kForbidden, kNever, kNever, "",
     HOTPATH_MODEL(MessagePassing<relaxed, acquire, release>)},
    {"MP, release and acquire fence", kForbidden, kNever, kNever, "",
     HOTPATH_MODEL(MessagePassing<release, relaxed, relaxed, acquire>)},
    {"release sequence, own relaxed store", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(OwnStoreAfterRelease)},
    {"release sequence, relaxed RMW", kForbidden, kNever, kNever, "", HOTPATH_MODEL(RmwAfterRelease)},
    {"IRIW, acquire", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(IndependentReads<release, acquire>)},
    {"IRIW, seq_cst", kForbidden, kNever, kNever, "", HOTPATH_MODEL(IndependentReads<seq_cst, seq_cst>)},
    {"load 2 stores old", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(StaleBy<2>)},
    {"load 4 stores old", kAllowed, kSeen, kNever, "tree searches look 2 stores back", HOTPATH_MODEL(StaleBy<4>)},
    {"load 6 stores old", kAllowed, kNever, kNever, "5 old values are kept", HOTPATH_MODEL(StaleBy<6>)},
    {"LB, relaxed", kAllowed, kNever, kNever, "blind: loads are not delayed", HOTPATH_MODEL(LoadBuffering)},
    {"2+2W, relaxed", kAllowed, kNever, kNever, "blind: stores take effect in turn", HOTPATH_MODEL(TwoPlusTwoWrites)},
    {"failed CAS reads an old value", kAllowed, kNever, kNever, "blind: it reads the newest",
     HOTPATH_MODEL(StaleFailedExchange)},
    {"CAS relaxed/acquire fails", kForbidden, kNever, kNever, "", HOTPATH_MODEL(FailedExchange<relaxed, acquire>)},
    {"CAS release/acquire fails", kForbidden, kNever, kNever, "", HOTPATH_MODEL(FailedExchange<release, acquire>)},
    {"CAS acq_rel/seq_cst fails", kForbidden, kNever, kNever, "", HOTPATH_MODEL(FailedExchange<acq_rel, seq_cst>)},
    {"CAS acq_rel/relaxed fails", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(FailedExchange<acq_rel, relaxed>)},
    {"data ordered by seq_cst fences alone", kAllowed, kSeen, kSeen, "",
     HOTPATH_MODEL(FencesOrderNoData<SeqCstFence, SeqCstFence>)},

    {"membarrier: SB, light against heavy", kForbidden, kNever, kNever, "",
     HOTPATH_MODEL(StoreBuffering<Light, Heavy>)},
    {"membarrier: SB, heavy against heavy", kForbidden, kNever, kNever, "",
     HOTPATH_MODEL(StoreBuffering<Heavy, Heavy>)},
    {"membarrier: SB, heavy against seq_cst fence", kForbidden, kNever, kNever, "",
     HOTPATH_MODEL(StoreBuffering<Heavy, SeqCstFence>)},
    {"membarrier: SB, light against light", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(StoreBuffering<Light, Light>)},
    {"membarrier: SB, light against seq_cst fence", kAllowed, kSeen, kSeen, "",
     HOTPATH_MODEL(StoreBuffering<Light, SeqCstFence>)},
    {"membarrier: SB, none against heavy", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(StoreBuffering<Plain, Heavy>)},
    {"membarrier: SB ring, light, heavy, seq_cst fence", kForbidden, kNever, kNever, "",
     HOTPATH_MODEL(StoreBufferingRing<Light, Heavy, SeqCstFence>)},
    {"membarrier: SB ring, light, heavy, light", kAllowed, kSeen, kSeen, "",
     HOTPATH_MODEL(StoreBufferingRing<Light, Heavy, Light>)},
    {"membarrier: data ordered by it alone", kAllowed, kSeen, kSeen, "",
     HOTPATH_MODEL(FencesOrderNoData<Light, Heavy>)},

    {"futex: park and wake order data", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(ParkOrdersNothing)},
    {"futex: wake after the store is lost", kForbidden, kNever, kNever, "", HOTPATH_MODEL(Wakeup<true>)},
    {"futex: wake before the store is lost", kAllowed, kSeen, kSeen, "", HOTPATH_MODEL(Wakeup<false>)},
};

// What a search sees. "?" if something else happened than the outcome in question.
const char* Look(const ModelEntry& model, Search search) {
  const Outcome outcome =
      RunJob(model, {.model = 0, .search = search, .schedules = search == Search::kFull ? 500'000u : 100'000u});
  const bool all = search == Search::kRandom || outcome.verdict == Verdict::kHolds;
  if (outcome.Holds()) return all ? "never" : "?";
  if (outcome.verdict == Verdict::kFailed) return "seen";
  std::cout << model.name << ": " << outcome.reason << "\n";
  return "?";
}

bool Check(const Row& row) {
  const auto expected = [](Sight sight) { return sight == kSeen ? "seen" : "never"; };
  const std::string random = Look(row.model, Search::kRandom), full = Look(row.model, Search::kFull);
  const bool same = random == expected(row.random) && full == expected(row.full);
  std::cout << absl::StrFormat(
      "%-49s %-10s %-6s %-6s %s\n", row.name, row.rule == kAllowed ? "allowed" : "forbidden", random, full,
      same ? row.why : absl::StrFormat("MOVED: expected %s, %s", expected(row.random), expected(row.full)));
  return same;
}

}  // namespace
}  // namespace hotpath::model

int main() {
  using namespace hotpath::model;
  std::cout << absl::StrFormat("%-49s %-10s %-6s %-6s\n", "outcome", "C++20", "random", "full");
  bool same = true;
  for (const Row& row : kTable) same &= Check(row);
  return same ? 0 : 1;
}
