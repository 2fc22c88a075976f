#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "hotpath/core/epoch.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

using Domain = BasicEpochDomain<RelacySync>;

// A pass over the threads is due at every second retirement.
EpochOptions Small(size_t max_pending = 4, EpochOptions::WhenFull when_full = EpochOptions::kWait) {
  return {.max_pending = max_pending, .when_full = when_full};
}

struct Object : Domain::Retiree {
  explicit Object(uint64_t number) : number(number) {}
  RelacySync::Var<uint64_t> number;  // its end is a write
};

// A pointer that readers follow under a Guard. The updates number the objects.
template <class M, int kThreads>
struct Pointer : Model<M, kThreads> {
  Domain domain;
  RelacySync::Atomic<Object*> current{RelacySync::New<Object>(0)};

  explicit Pointer(EpochOptions options = Small()) : domain(std::move(options)) {}
  ~Pointer() { RelacySync::Delete(current.load(std::memory_order::relaxed)); }

  uint64_t ReadUnderGuard() { return current.load(std::memory_order::acquire)->number.Read(); }
  uint64_t Read() {
    const Domain::Guard guard = domain.Pin();
    return ReadUnderGuard();
  }
  Object* Replace(uint64_t number) {
    return current.exchange(RelacySync::New<Object>(number), std::memory_order::acq_rel);
  }
  void Update(uint64_t number) { domain.Retire(Replace(number)); }
  void UpdateAndReclaim(uint64_t number) {
    Update(number);
    domain.TryReclaim();
  }
};

struct ReaderReenters : Pointer<ReaderReenters, 2> {
  void thread(unsigned id) {
    if (id == 0) {
      UpdateAndReclaim(1);
      return UpdateAndReclaim(2);
    }
    const uint64_t first = Read();
    HOTPATH_CHECK(Read() >= first, "a thread's reads went back");
  }
};

// As small as can be, so that the reader is met between the stamp and the fence of the grace period.
struct OneReadOneUpdate : Pointer<OneReadOneUpdate, 2> {
  void thread(unsigned id) {
    if (id == 0) return UpdateAndReclaim(1);
    Read();
  }
};

// The reclaimer sees the reader in a later Guard than the one that it read under.
struct ReaderPinsAgain : Pointer<ReaderPinsAgain, 2> {
  void thread(unsigned id) {
    if (id == 0) return UpdateAndReclaim(1);
    Read();
    const Domain::Guard guard = domain.Pin();
  }
};

struct TwoReadersThreeUpdates : Pointer<TwoReadersThreeUpdates, 3> {
  void thread(unsigned id) {
    if (id == 0) {
      for (uint64_t i = 1; i <= 3; ++i) UpdateAndReclaim(i);
      return;
    }
    Read();
    Read();
  }
};

struct TwoReclaimers : Pointer<TwoReclaimers, 3> {
  void thread(unsigned id) {
    if (id == 2) {
      Read();
      Read();
      return;
    }
    UpdateAndReclaim(id + 1);
    UpdateAndReclaim(id + 3);
  }
};

// A thread retires, a second one reclaims, a third one reads.
struct RetirerDoesNotReclaim : Pointer<RetirerDoesNotReclaim, 3> {
  void thread(unsigned id) {
    if (id == 0) {
      for (uint64_t i = 1; i <= 3; ++i) Update(i);
    } else if (id == 1) {
      for (int i = 0; i < 2; ++i) domain.TryReclaim();
    } else {
      Read();
      Read();
    }
  }
};

struct GuardsNest : Pointer<GuardsNest, 2> {
  void thread(unsigned id) {
    if (id == 0) {
      UpdateAndReclaim(1);
      return UpdateAndReclaim(2);
    }
    Read();
    std::optional<Domain::Guard> outer = domain.Pin();
    std::optional<Domain::Guard> inner = domain.Pin();
    ReadUnderGuard();
    outer.reset();
    ReadUnderGuard();
  }
};

// Retires while pinned, then goes on reading what it retired.
struct ReaderRetires : Pointer<ReaderRetires, 2> {
  void thread(unsigned id) {
    for (int i = 0; i < 2; ++i) {
      const Domain::Guard guard = domain.Pin();
      Object* old = Replace(id * 2 + 1);
      domain.Retire(old);
      domain.TryReclaim();
      old->number.Read();
    }
    domain.TryReclaim();
  }
};

// A thread reads, retires and ends, and its index goes to another one while others read and reclaim.
struct ThreadEnds : Pointer<ThreadEnds, 3> {
  void thread(unsigned id) {
    if (id == 0) {
      Read();
      Update(1);
      RelacySync::EndThread();
      Read();
    } else if (id == 1) {
      UpdateAndReclaim(2);
      domain.TryReclaim();
    } else {
      Read();
    }
  }
};

// The thread only reads, ends, and is followed by one that does nothing but register.
struct ReaderEnds : Pointer<ReaderEnds, 2> {
  void thread(unsigned id) {
    if (id == 0) {
      Read();
      RelacySync::EndThread();
      domain.Register();
    } else {
      UpdateAndReclaim(1);
      domain.TryReclaim();
    }
  }
};

// Memory that is used again instead of freed: the deleter hands it back to its writer.
struct MemoryIsReused : Model<MemoryIsReused, 2> {
  struct Slot : Domain::Retiree {
    RelacySync::Var<uint64_t> left{0}, right{0};
    bool in_use = false;
  };
  Slot slots[3];
  Domain domain{Small()};  // ends first: one slot may be pending
  RelacySync::Atomic<Slot*> current{&slots[0]};

  MemoryIsReused() { slots[0].in_use = true; }
  void thread(unsigned id) {
    if (id == 1) {
      for (int i = 0; i < 2; ++i) {
        const Domain::Guard guard = domain.Pin();
        const Slot* slot = current.load(std::memory_order::acquire);
        const uint64_t left = slot->left.Read();
        HOTPATH_CHECK(left == slot->right.Read(), "changed under a Guard");
      }
      return;
    }
    for (uint64_t i = 1; i <= 3; ++i) {
      Slot* free = nullptr;
      for (Slot& slot : slots) {
        if (!slot.in_use) free = &slot;
      }
      if (free == nullptr) return;
      free->in_use = true;
      free->left.Write(i);
      free->right.Write(i);
      domain.Retire(current.exchange(free, std::memory_order::acq_rel),
                    [](Domain::Retiree* slot) { static_cast<Slot*>(slot)->in_use = false; });
      domain.TryReclaim();
    }
  }
};

// The caller frees by itself after a grace period.
struct SynchronizeThenFree : Pointer<SynchronizeThenFree, 2> {
  void thread(unsigned id) {
    if (id == 1) {
      Read();
      Read();
      return;
    }
    Object* old = Replace(1);
    domain.Synchronize();
    RelacySync::Delete(old);
  }
};

// The grace period of one thread's Synchronize may be ended by another one.
struct TwoSynchronize : Pointer<TwoSynchronize, 3> {
  void thread(unsigned id) {
    if (id == 2) {
      Read();
      return;
    }
    Object* old = Replace(id + 1);
    domain.Synchronize();
    RelacySync::Delete(old);
  }
};

struct SynchronizeBesideReclaimer : Pointer<SynchronizeBesideReclaimer, 3> {
  void thread(unsigned id) {
    if (id == 0) {
      Update(1);
      Object* old = Replace(2);
      domain.Synchronize();
      RelacySync::Delete(old);
      // What this thread retired before is gone, or in the hands of the other thread.
    } else if (id == 1) {
      domain.TryReclaim();
    } else {
      Read();
    }
  }
};

// Never more than one object pending, whatever the reader does.
struct FullDomainWaits : Pointer<FullDomainWaits, 2> {
  FullDomainWaits() : Pointer(Small(1)) {}
  void thread(unsigned id) {
    if (id == 1) {
      Read();
      Read();
      return;
    }
    for (uint64_t i = 1; i <= 3; ++i) {
      Update(i);
      HOTPATH_CHECK(domain.Stats().pending <= 1, "more pending than allowed");
    }
  }
  void finish() { HOTPATH_CHECK(domain.Stats().over_limit == 0); }
};

// Two threads that retire share the bound. Neither is a reader, so both come to an end.
struct TwoThreadsShareTheBound : Pointer<TwoThreadsShareTheBound, 3> {
  TwoThreadsShareTheBound() : Pointer(Small(2)) {}
  void thread(unsigned id) {
    if (id == 2) {
      Read();
      return;
    }
    Update(id + 1);
    Update(id + 3);
  }
  void finish() {
    HOTPATH_CHECK(domain.Stats().over_limit == 0);
    HOTPATH_CHECK(domain.Stats().pending <= 2);
    domain.Synchronize();
    HOTPATH_CHECK(domain.Stats().pending == 0, "the account does not balance");
    HOTPATH_CHECK(domain.Stats().reclaimed == 4);
  }
};

// The same of a domain that grows, and of readers that retire while they are pinned: neither waits, both are counted.
struct TwoThreadsGoBeyondTheBound : Pointer<TwoThreadsGoBeyondTheBound, 3> {
  TwoThreadsGoBeyondTheBound() : Pointer(Small(1, EpochOptions::kGrow)) {}
  void thread(unsigned id) {
    if (id == 2) {
      Read();
      return;
    }
    Update(id + 1);
    Update(id + 3);
  }
  void finish() {
    HOTPATH_CHECK(domain.Stats().waits == 0);
    domain.Synchronize();
    HOTPATH_CHECK(domain.Stats().pending == 0, "the account does not balance");
    HOTPATH_CHECK(domain.Stats().reclaimed == 4);
  }
};

struct PinnedThreadsGoBeyondTheBound : Pointer<PinnedThreadsGoBeyondTheBound, 2> {
  PinnedThreadsGoBeyondTheBound() : Pointer(Small(1)) {}
  void thread(unsigned id) {
    const Domain::Guard guard = domain.Pin();
    Object* old[2];
    for (Object*& each : old) domain.Retire(each = Replace(id + 1));
    for (Object* each : old) static_cast<void>(each->number.Read());
  }
  void finish() {
    HOTPATH_CHECK(domain.Stats().waits == 0);
    HOTPATH_CHECK(domain.Stats().over_limit >= 2);
    domain.Synchronize();
    HOTPATH_CHECK(domain.Stats().pending == 0, "the account does not balance");
    HOTPATH_CHECK(domain.Stats().reclaimed == 4);
  }
};

// Both hold up the one grace period; it must not end with the first.
struct TwoReadersStall : Pointer<TwoReadersStall, 3> {
  void thread(unsigned id) {
    if (id == 0) return UpdateAndReclaim(1);
    const Domain::Guard guard = domain.Pin();
    ReadUnderGuard();
    ReadUnderGuard();
  }
};

// What Stats say of a reader that a pass has found to hold garbage up. Nothing else orders the two. The thread that
// asks sleeps meanwhile: after a yield, the checker would let it see no old values.
struct StatsAfterStall : Pointer<StatsAfterStall, 3> {
  static std::chrono::nanoseconds Now() { return std::chrono::steady_clock::now().time_since_epoch(); }
  const std::chrono::nanoseconds start = Now();
  RelacySync::Atomic<uint32_t> is_pinned{0}, is_over{0}, is_told{0};

  static void Wait(RelacySync::Atomic<uint32_t>& step) {
    while (step.load(std::memory_order::relaxed) == 0) RelacySync::Pause();
  }
  void thread(unsigned id) {
    if (id == 0) {
      const Domain::Guard guard = domain.Pin();
      is_pinned.store(1, std::memory_order::relaxed);
      Wait(is_told);
    } else if (id == 1) {
      Wait(is_pinned);
      UpdateAndReclaim(1);
      is_over.store(1, std::memory_order::relaxed);
      RelacySync::Wake(is_over, kWakeAll);
    } else {
      while (is_over.load(std::memory_order::relaxed) == 0) static_cast<void>(RelacySync::Park(is_over, 0));
      HOTPATH_CHECK(domain.Stats().longest_pin <= Now() - start, "pinned since before the model began");
      is_told.store(1, std::memory_order::relaxed);
    }
  }
};

// The owner sees to it that no call is made any more; the end of the other thread is not its business.
struct DomainEndsBesideThread : Model<DomainEndsBesideThread, 2> {
  Domain* domain = RelacySync::New<Domain>(Small());
  RelacySync::Atomic<uint32_t> left{0};

  void thread(unsigned id) {
    if (id == 0) {
      domain->Retire(RelacySync::New<Object>(1));
      left.store(1, std::memory_order::release);
      RelacySync::EndThread();
    } else {
      domain->Register();
      while (left.load(std::memory_order::acquire) == 0) RelacySync::Pause();
      RelacySync::Delete(domain);
    }
  }
};

// Deleters that retire, from two threads at once; everything ends once, the domain's end included.
struct DeletersRetire : Model<DeletersRetire, 2> {
  struct Nest : Domain::Retiree {
    DeletersRetire* model;
    int depth;
    Nest(DeletersRetire* model, int depth) : model(model), depth(depth) {}
    ~Nest() {
      ++model->ends;
      if (depth > 0) model->domain->Retire(RelacySync::New<Nest>(model, depth - 1));
    }
  };
  Domain* domain = RelacySync::New<Domain>(Small(2));
  int ends = 0;  // threads of a model take turns

  void thread(unsigned) {
    domain->Retire(RelacySync::New<Nest>(this, 1));
    domain->TryReclaim();
  }
  void finish() {
    RelacySync::Delete(domain);
    HOTPATH_CHECK(ends == 4, "an object was not destroyed exactly once");
  }
};

// A third thread ends the grace period of a Synchronize, and destroys only its own. What was retired before the call is
// destroyed when it returns, even if who retired it is just retiring more.
struct SynchronizeBesideOwnPasses : Model<SynchronizeBesideOwnPasses, 3> {
  struct Flagged : Domain::Retiree {
    explicit Flagged(bool& is_destroyed) : is_destroyed(is_destroyed) {}
    ~Flagged() { is_destroyed = true; }
    bool& is_destroyed;
  };
  bool first = false, second = false, others[2] = {};  // threads of a model take turns
  Domain domain{Small(7)};  // a pass at every retirement, and everybody's from three pending on
  RelacySync::Atomic<uint32_t> is_retired{0};

  void thread(unsigned id) {
    if (id == 0) {
      domain.Retire(RelacySync::New<Flagged>(first));
      is_retired.store(1, std::memory_order::release);
      domain.Retire(RelacySync::New<Flagged>(second));
    } else if (id == 1) {
      for (bool& other : others) domain.Retire(RelacySync::New<Flagged>(other));
    } else {
      while (is_retired.load(std::memory_order::acquire) == 0) RelacySync::Pause();
      domain.Synchronize();
      HOTPATH_CHECK(first, "Synchronize left what was retired before it");
    }
  }
};

// ---- A reader that is met between the stamp of a grace period and its heavy fence ----

// Holds the reclaimer there, until the reader has done what it came for.
struct GateSync : RelacySync {
  struct Gate {
    RelacySync::Atomic<uint32_t> is_open{0};  // the reclaimer has counted the epoch up, and has not run its fence
    RelacySync::Atomic<uint32_t> passed{0};   // the reader did what it wanted to do in between
  };
  static inline Gate* gate = nullptr;

  static void HeavyFence(Where where = Where::current()) {
    if (gate != nullptr) {
      gate->is_open.store(1, std::memory_order::relaxed);
      while (gate->passed.load(std::memory_order::relaxed) == 0) RelacySync::Pause();
    }
    RelacySync::HeavyFence(where);
  }
};

// The updater's pass has begun when the reader pins, and is over when the reader looks at what it found. None of the
// atomics that make it so orders anything.
template <class M>
struct MetAtTheGate : Model<M, 2> {
  using Domain = BasicEpochDomain<GateSync>;
  struct Object : Domain::Retiree {
    RelacySync::Var<uint64_t> number{0};
  };

  GateSync::Gate gate;
  RelacySync::Atomic<uint32_t> is_over{0};
  Domain domain{Small()};
  RelacySync::Atomic<Object*> current{RelacySync::New<Object>()};

  ~MetAtTheGate() {
    GateSync::gate = nullptr;
    RelacySync::Delete(current.load(std::memory_order::relaxed));
  }
  void thread(unsigned id) {
    if (id == 1) return static_cast<M*>(this)->Reader();
    GateSync::gate = &gate;
    domain.Retire(current.exchange(RelacySync::New<Object>(), std::memory_order::acq_rel));
    domain.TryReclaim();
    is_over.store(1, std::memory_order::relaxed);
  }
  void finish() { GateSync::gate = nullptr; }

  void Look() { static_cast<void>(current.load(std::memory_order::acquire)->number.Read()); }
  void WaitForTheGate() {
    while (gate.is_open.load(std::memory_order::relaxed) == 0) RelacySync::Pause();
  }
  void PassAndWait() {
    gate.passed.store(1, std::memory_order::relaxed);
    while (is_over.load(std::memory_order::relaxed) == 0) RelacySync::Pause();
  }
};

// It pins with the new epoch, and is not waited for: so it must not find what was unlinked before that.
struct PinsAtTheGate : MetAtTheGate<PinsAtTheGate> {
  void Reader() {
    WaitForTheGate();
    const Domain::Guard guard = domain.Pin();
    Object* const found = current.load(std::memory_order::acquire);
    PassAndWait();
    static_cast<void>(found->number.Read());
  }
};

// It has looked, and pins again, with the new epoch: what it looked at may be destroyed, but after that look. The
// reclaimer finds it in its outermost Guard, in a second one, or back in the outermost.
template <int kGuards, int kEnded>
struct PinsAgainAtTheGate : MetAtTheGate<PinsAgainAtTheGate<kGuards, kEnded>> {
  using Base = MetAtTheGate<PinsAgainAtTheGate<kGuards, kEnded>>;

  void Reader() {
    {
      const typename Base::Domain::Guard guard = this->domain.Pin();
      this->Look();
    }
    this->WaitForTheGate();
    std::optional<typename Base::Domain::Guard> guards[kGuards];
    for (auto& guard : guards) guard.emplace(this->domain.Pin());
    for (int i = 0; i < kEnded; ++i) guards[i].reset();
    this->PassAndWait();
  }
};
// It was pinned before, and ends as a thread in between: the reclaimer finds no owner, and what it read has been read.
struct EndsAtTheGate : MetAtTheGate<EndsAtTheGate> {
  void Reader() {
    {
      const Domain::Guard guard = domain.Pin();
      WaitForTheGate();
      Look();
    }
    RelacySync::EndThread();
    gate.passed.store(1, std::memory_order::relaxed);
  }
};
using PinsAgainOnce = PinsAgainAtTheGate<1, 0>;
using PinsAgainTwice = PinsAgainAtTheGate<2, 0>;
using PinsAgainTwiceAndBack = PinsAgainAtTheGate<2, 1>;

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(argc, argv,
              {HOTPATH_MODEL(ReaderReenters),
               HOTPATH_MODEL(OneReadOneUpdate),
               HOTPATH_MODEL(ReaderPinsAgain),
               HOTPATH_MODEL(TwoReadersThreeUpdates),
               HOTPATH_MODEL(TwoReclaimers),
               HOTPATH_MODEL(RetirerDoesNotReclaim),
               HOTPATH_MODEL(GuardsNest),
               HOTPATH_MODEL(ReaderRetires),
               HOTPATH_MODEL(ThreadEnds),
               HOTPATH_MODEL(ReaderEnds),
               HOTPATH_MODEL(MemoryIsReused),
               HOTPATH_MODEL(SynchronizeThenFree),
               HOTPATH_MODEL(TwoSynchronize),
               HOTPATH_MODEL(SynchronizeBesideReclaimer),
               HOTPATH_MODEL(SynchronizeBesideOwnPasses),
               HOTPATH_MODEL(FullDomainWaits),
               HOTPATH_MODEL(TwoThreadsShareTheBound),
               HOTPATH_MODEL(TwoThreadsGoBeyondTheBound),
               HOTPATH_MODEL(PinnedThreadsGoBeyondTheBound),
               HOTPATH_MODEL(TwoReadersStall),
               HOTPATH_MODEL(StatsAfterStall),
               HOTPATH_MODEL(DomainEndsBesideThread),
               HOTPATH_MODEL(EndsAtTheGate),
               HOTPATH_MODEL(DeletersRetire),
               HOTPATH_MODEL(PinsAtTheGate),
               HOTPATH_MODEL(PinsAgainOnce),
               HOTPATH_MODEL(PinsAgainTwice),
               HOTPATH_MODEL(PinsAgainTwiceAndBack)});
}
