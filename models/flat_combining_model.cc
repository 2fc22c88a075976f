#include <cstdint>
#include <iostream>
#include <string>

#include "hotpath/core/flat_combining.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

// A sequential object, and what its operations did to it.
struct Ledger {
  uint64_t sum = 0;
  uint32_t operations = 0;
};

// kSpins, kYields: how long waiters wait before they sleep. kBudget: when the combiner hands over.
template <uint32_t kSpins, uint32_t kYields, uint32_t kBudget>
using Shared = BasicFlatCombiner<Ledger, FlatCombinerOptions{kSpins, kYields, kBudget}, RelacySync>;
using Sleepers = Shared<0, 0, 64>;
using HandsOverAtOnce = Shared<0, 0, 1>;
using ServesNobody = Shared<0, 0, 0>;  // unless it was handed a batch

template <class Combiner>
uint64_t Add(Combiner& combiner, uint64_t delta) {
  return combiner.Apply([delta](Ledger& ledger) {
    ++ledger.operations;
    const uint64_t before = ledger.sum;
    ledger.sum += delta;
    return before;
  });
}

template <class Combiner>
void MustHold(Combiner& combiner, uint64_t sum, uint32_t operations) {
  const Ledger end = combiner.Apply([](const Ledger& ledger) { return ledger; });
  HOTPATH_CHECK(end.sum == sum && end.operations == operations, "an operation ran twice, or not at all");
  const FlatCombiningStats stats = combiner.Stats();
  HOTPATH_CHECK(stats.combined + stats.direct == operations + 1u, "an operation was not counted once");
}

// Each thread adds a power of two of its own, kTimes. What it is told is what some order of the operations explains:
// its own earlier additions are in it, its later ones are not. Its data lives while others know of it, and no longer:
// requests are on the stacks of threads that end.
template <class Combiner, int kThreads, int kTimes>
struct Adders : Model<Adders<Combiner, kThreads, kTimes>, kThreads> {
  Combiner combiner;

  void thread(unsigned id) {
    const uint64_t mine = uint64_t{1} << 8 * id;
    for (uint64_t i = 0; i < kTimes; ++i) {
      const uint64_t before = Add(combiner, mine);
      HOTPATH_CHECK(before / mine % 256 == i, "another caller's result");
    }
  }
  void finish() {
    uint64_t sum = 0;
    for (int id = 0; id < kThreads; ++id) sum += uint64_t{kTimes} << 8 * id;
    MustHold(combiner, sum, kThreads * kTimes);
  }
};
using TwoCallers = Adders<Sleepers, 2, 1>;
using TwoCallersTwice = Adders<Sleepers, 2, 2>;
using TwoCallersWhoYield = Adders<Shared<1, 1, 64>, 2, 2>;
using ThreeCallers = Adders<Sleepers, 3, 1>;
// The role moves on: a combiner that has served one request hands over to the next, who has its own to do and the rest
// of a batch.
using HandOver = Adders<HandsOverAtOnce, 3, 2>;
using HandOverToTheNextEachTime = Adders<ServesNobody, 3, 1>;

// A combiner is held up in the middle, until those who publish to it have: nobody is forgotten, and the one that it
// hands over to finds the rest. Two are published before it collects.
struct CombinerIsPreempted : Model<CombinerIsPreempted, 3> {
  HandsOverAtOnce combiner;
  RelacySync::Atomic<uint32_t> calls{0};

  void thread(unsigned id) {
    if (id == 0) {
      combiner.Apply([this](Ledger& ledger) {
        while (calls.load(std::memory_order::relaxed) < 2) RelacySync::Pause();
        ++ledger.operations;
      });
      return;
    }
    calls.fetch_add(1, std::memory_order::relaxed);
    Add(combiner, 1);
  }
  void finish() { MustHold(combiner, 2, 3); }
};

// Whatever throws, whether the combiner's own operation or one that it runs for another, comes out of its own call, and
// the combiner goes on.
struct OperationsThrow : Model<OperationsThrow, 3> {
  Sleepers combiner;
  uint32_t caught[3] = {};

  void thread(unsigned id) {
    try {
      combiner.Apply([id](Ledger& ledger) {
        ++ledger.operations;
        if (id < 2) throw id + 10;
        ledger.sum = 7;
      });
    } catch (unsigned thrown) {
      caught[id] = thrown;
    }
  }
  void finish() {
    HOTPATH_CHECK(caught[0] == 10 && caught[1] == 11 && caught[2] == 0, "an exception went astray");
    MustHold(combiner, 7, 3);
  }
};

// The same for callers that were handed the role, and serve the rest of a batch when their own operation has thrown.
struct LeadersThrow : Model<LeadersThrow, 3> {
  ServesNobody combiner;

  void thread(unsigned id) {
    const uint32_t self = RelacySync::ThreadIndex();
    bool on_its_own = false;
    unsigned caught = 0;
    try {
      combiner.Apply([&](Ledger& ledger) {
        ++ledger.operations;
        on_its_own = RelacySync::ThreadIndex() == self;
        if (on_its_own) throw id + 10;
      });
    } catch (unsigned thrown) {
      caught = thrown;
    }
    HOTPATH_CHECK(caught == (on_its_own ? id + 10 : 0), "an exception went astray");
  }
  void finish() { MustHold(combiner, 0, 3); }
};

// A thread ends with its call, and another takes its index while who served it may not be done with telling it.
struct ThreadEndsOnceServed : Model<ThreadEndsOnceServed, 3> {
  Sleepers combiner;

  void thread(unsigned id) {
    Add(combiner, 1);
    if (id != 0) return;
    RelacySync::EndThread();
    Add(combiner, 1);
  }
  void finish() { MustHold(combiner, 4, 4); }
};

// What happened before a call happens before the operations after it.
struct OperationsAreOrdered : Model<OperationsAreOrdered, 2> {
  RelacySync::Var<uint64_t> outside;
  Sleepers combiner;

  void thread(unsigned id) {
    if (id == 0) {
      outside.Write(5);
      Add(combiner, 1);
    } else if (Add(combiner, 1) == 1) {
      HOTPATH_CHECK(outside.Read() == 5);
    }
  }
};

// Apply inside an operation fails a check, on the caller's own thread or on the one that runs it for its caller. Other
// models show that the check is silent where it must be.
template <class Combiner, bool kOnAnother>
struct ReEntry : Model<ReEntry<Combiner, kOnAnother>, 3> {
  Combiner combiner;

  void thread(unsigned id) {
    if (id != 0) return static_cast<void>(Add(combiner, 1));
    const uint32_t caller = RelacySync::ThreadIndex();
    combiner.Apply([&](Ledger&) {
      if ((RelacySync::ThreadIndex() != caller) == kOnAnother) Add(combiner, 1);
    });
  }
};
using ReEntryOnTheCaller = ReEntry<Sleepers, false>;
using ReEntryOnTheCombiner = ReEntry<Sleepers, true>;
// Who serves another's here was handed the role.
using ReEntryOnALeader = ReEntry<ServesNobody, true>;
// Of two callers, the one that was collected and runs its own operation was handed the role.
struct ReEntryOfALeader : Model<ReEntryOfALeader, 2> {
  ServesNobody combiner;

  void thread(unsigned id) {
    combiner.Apply([&](Ledger&) {
      if (id == 0 && combiner.Stats().combined > 0) Add(combiner, 1);
    });
  }
};

bool IsFound(const ModelEntry& re_entry) {
  const Outcome outcome = RunJob(re_entry, {0, Search::kRandom, 1000});
  if (outcome.verdict == Verdict::kFailed && outcome.reason.find("Apply inside an operation") != std::string::npos) {
    return true;
  }
  std::cerr << re_entry.name << ": is not found: " << outcome.reason << "\n";
  return false;
}

// ---- The counter ----

template <uint32_t kBudget>
using Counter = flat_combining_internal::Counter<FlatCombinerOptions{0, 0, kBudget}, RelacySync>;

// Threads take tickets, some by the hardware and some combined, and one more changes what is done: all tickets differ,
// and none is missing.
template <int kThreads, int kTimes, uint32_t kBudget, bool kCombining, bool kSwitching>
struct Tickets : Model<Tickets<kThreads, kTimes, kBudget, kCombining, kSwitching>, kThreads> {
  Counter<kBudget> counter;
  RelacySync::Var<uint32_t> taken[kThreads * kTimes];

  Tickets() { counter.SetCombining(kCombining); }
  void thread(unsigned id) {
    uint64_t last = 0;
    for (int i = 0; i < kTimes; ++i) {
      const uint64_t ticket = counter.FetchAdd(1);
      HOTPATH_CHECK(ticket < kThreads * kTimes, "a ticket too many");
      HOTPATH_CHECK(i == 0 || ticket > last, "a thread's tickets went back");
      taken[ticket].Write(1);
      last = ticket;
      if (kSwitching && id == 0) counter.SetCombining(!kCombining);
    }
  }
  void finish() {
    HOTPATH_CHECK(counter.Load() == kThreads * kTimes);
    for (auto& ticket : taken) HOTPATH_CHECK(ticket.Read() == 1, "a ticket was given to nobody");
  }
};
using CombinedTickets = Tickets<3, 1, 64, true, false>;
using CombinedTicketsHandedOver = Tickets<3, 2, 1, true, false>;
using TicketsFromDirectToCombined = Tickets<3, 2, 64, false, true>;

// A combined addition is at least as strong as the hardware's: of two threads that add to one counter each and then
// look at the other, one sees what the other did.
struct CombinedIsSeqCst : Model<CombinedIsSeqCst, 3> {
  Counter<64> a, b;
  RelacySync::Var<uint64_t> saw[2];

  CombinedIsSeqCst() {
    a.SetCombining(true);
    b.SetCombining(true);
  }
  void thread(unsigned id) {
    if (id == 2) {  // who may run the others' additions
      a.FetchAdd(0);
      return;
    }
    (id == 0 ? a : b).FetchAdd(1);
    saw[id].Write((id == 0 ? b : a).Load());
  }
  void finish() { HOTPATH_CHECK(saw[0].Read() + saw[1].Read() > 0, "neither saw the other"); }
};
struct DirectIsSeqCst : Model<DirectIsSeqCst, 2> {
  Counter<64> a, b;
  RelacySync::Var<uint64_t> saw[2];

  void thread(unsigned id) {
    (id == 0 ? a : b).FetchAdd(1);
    saw[id].Write((id == 0 ? b : a).Load());
  }
  void finish() { HOTPATH_CHECK(saw[0].Read() + saw[1].Read() > 0, "neither saw the other"); }
};
struct StoresAreSeqCst : Model<StoresAreSeqCst, 2> {
  Counter<64> a, b;
  RelacySync::Var<uint64_t> saw[2];

  void thread(unsigned id) {
    (id == 0 ? a : b).Store(1);
    saw[id].Write((id == 0 ? b : a).Load());
  }
  void finish() { HOTPATH_CHECK(saw[0].Read() + saw[1].Read() > 0, "neither saw the other"); }
};

// Orders are passed on: what precedes an addition is seen by who reads the sum, whichever way it was made.
template <bool kCombining>
struct AdditionsPublish : Model<AdditionsPublish<kCombining>, 3> {
  Counter<64> counter;
  RelacySync::Var<uint64_t> data[2];

  AdditionsPublish() { counter.SetCombining(kCombining); }
  void thread(unsigned id) {
    if (id < 2) {
      data[id].Write(1);
      counter.FetchAdd(1, std::memory_order::release);
      return;
    }
    if (counter.FetchAdd(0, std::memory_order::acquire) == 2) HOTPATH_CHECK(data[0].Read() + data[1].Read() == 2);
  }
};
using DirectAdditionsPublish = AdditionsPublish<false>;
using CombinedAdditionsPublish = AdditionsPublish<true>;

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  for (const ModelEntry& re_entry : {HOTPATH_MODEL(ReEntryOnTheCaller), HOTPATH_MODEL(ReEntryOnTheCombiner),
                                     HOTPATH_MODEL(ReEntryOnALeader), HOTPATH_MODEL(ReEntryOfALeader)}) {
    if (!IsFound(re_entry)) return 1;
  }
  return Main(argc, argv,
              {HOTPATH_MODEL(TwoCallers), HOTPATH_MODEL(TwoCallersTwice), HOTPATH_MODEL(TwoCallersWhoYield),
               HOTPATH_MODEL(ThreeCallers), HOTPATH_MODEL(HandOver), HOTPATH_MODEL(HandOverToTheNextEachTime),
               HOTPATH_MODEL(CombinerIsPreempted), HOTPATH_MODEL(OperationsThrow), HOTPATH_MODEL(LeadersThrow),
               HOTPATH_MODEL(ThreadEndsOnceServed), HOTPATH_MODEL(OperationsAreOrdered), HOTPATH_MODEL(CombinedTickets),
               HOTPATH_MODEL(CombinedTicketsHandedOver), HOTPATH_MODEL(TicketsFromDirectToCombined),
               HOTPATH_MODEL(CombinedIsSeqCst), HOTPATH_MODEL(DirectIsSeqCst), HOTPATH_MODEL(StoresAreSeqCst),
               HOTPATH_MODEL(DirectAdditionsPublish), HOTPATH_MODEL(CombinedAdditionsPublish)});
}
