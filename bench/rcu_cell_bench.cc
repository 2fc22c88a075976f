// A value of 64 bytes behind a pointer, read all the time and replaced now and then: RcuCell beside an unguarded load
// (the floor), a std::shared_ptr under std::shared_mutex, std::atomic<std::shared_ptr>, and what one builds from
// others' RCUs, epochs and hazard pointers. A value that is read after its end says so.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>

#include "bench/base/rows.h"
#include "bench/base/ticks.h"
#include "hotpath/core/rcu_cell.h"

#if HOTPATH_HAVE_LIBCDS
#include "cds/gc/dhp.h"
#include "cds/init.h"
#endif
#if HOTPATH_HAVE_LIBURCU_MEMB
#include "urcu/urcu-memb.h"
#endif
#if HOTPATH_HAVE_LIBURCU_QSBR
#include "urcu/urcu-qsbr.h"
#endif
#if HOTPATH_HAVE_XENIUM
#include "xenium/reclamation/generic_epoch_based.hpp"
#endif

namespace hotpath::bench {
namespace {

// All words are equal until the end.
struct Value {
  explicit Value(uint64_t number) {
    for (uint64_t& word : words) word = number;
  }
  Value(const Value&) = default;
  ~Value() {
    words[0] = ~words[7];
    asm volatile("" : : "r"(this) : "memory");
  }
  bool IsWhole() const { return words[0] == words[7]; }
  uint64_t words[8];
};

// Each contender has Read(f), which calls f(const Value&), and Write(number), which replaces the value.

struct Unguarded {
  std::atomic<const Value*> current{new Value(1)};
  ~Unguarded() { delete current.load(); }
  void Read(auto f) const { f(*current.load(std::memory_order::acquire)); }
};

class Ours {
 public:
  void Read(auto f) const { f(*cell_.Load()); }
  void ReadShared(auto f) const { f(*cell_.LoadShared()); }
  void Write(uint64_t number) { cell_.Store(Value(number)); }

 private:
  EpochDomain domain_;
  RcuCell<Value> cell_{Value(1), domain_};
};
struct OursShared : Ours {
  void Read(auto f) const { ReadShared(f); }
};

class SharedMutex {
 public:
  void Read(auto f) const {
    std::shared_ptr<const Value> copy;
    {
      const std::shared_lock lock(mu_);
      copy = current_;
    }
    f(*copy);
  }
  void Write(uint64_t number) {
    auto next = std::make_shared<const Value>(number);
    const std::unique_lock lock(mu_);
    current_.swap(next);
  }

 private:
  mutable std::shared_mutex mu_;
  std::shared_ptr<const Value> current_ = std::make_shared<const Value>(1);
};

class AtomicSharedPtr {
 public:
  void Read(auto f) const { f(*current_.load(std::memory_order::acquire)); }
  void Write(uint64_t number) { current_.store(std::make_shared<const Value>(number), std::memory_order::release); }

 private:
  std::atomic<std::shared_ptr<const Value>> current_{std::make_shared<const Value>(1)};
};

#if HOTPATH_HAVE_LIBURCU_MEMB
class UrcuMemb {
 public:
  ~UrcuMemb() { delete current_.load(); }
  static void Begin() { urcu_memb_register_thread(); }
  static void End() { urcu_memb_unregister_thread(); }
  void Read(auto f) const {
    urcu_memb_read_lock();
    f(*current_.load(std::memory_order::acquire));
    urcu_memb_read_unlock();
  }
  void Write(uint64_t number) {
    const Value* old = current_.exchange(new Value(number), std::memory_order::acq_rel);
    urcu_memb_synchronize_rcu();
    delete old;
  }

 private:
  std::atomic<const Value*> current_{new Value(1)};
};
#endif

#if HOTPATH_HAVE_LIBURCU_QSBR
// Readers say when they read nothing: here, at every 256th operation.
class UrcuQsbr {
 public:
  ~UrcuQsbr() { delete current_.load(); }
  static void Begin() { urcu_qsbr_register_thread(); }
  static void End() { urcu_qsbr_unregister_thread(); }
  void Read(auto f) const {
    static thread_local uint32_t reads = 0;
    f(*current_.load(std::memory_order::acquire));
    if (++reads % 256 == 0) urcu_qsbr_quiescent_state();
  }

 private:
  std::atomic<const Value*> current_{new Value(1)};
};
#endif

#if HOTPATH_HAVE_XENIUM
class XeniumEpoch {
  using Reclaimer = xenium::reclamation::epoch_based<>;
  struct Node : Reclaimer::enable_concurrent_ptr<Node> {
    explicit Node(uint64_t number) : value(number) {}
    Value value;
  };
  using Pointer = Reclaimer::concurrent_ptr<Node, 0>;

 public:
  ~XeniumEpoch() { delete current_.load().get(); }
  void Read(auto f) const {
    Pointer::guard_ptr guard;
    guard.acquire(current_, std::memory_order::acquire);
    f(guard->value);
  }
  void Write(uint64_t number) {
    Pointer::guard_ptr old;
    const Pointer::marked_ptr next(new Node(number));
    for (;;) {
      old.acquire(current_, std::memory_order::acquire);
      Pointer::marked_ptr expected(old.get());
      if (current_.compare_exchange_weak(expected, next, std::memory_order::acq_rel, std::memory_order::relaxed)) break;
    }
    old.reclaim();
  }

 private:
  Pointer current_{Pointer::marked_ptr(new Node(1))};
};
#endif

#if HOTPATH_HAVE_LIBCDS
// Hazard pointers, as many as a thread likes.
class CdsDhp {
 public:
  CdsDhp() { static_cast<void>(Library()); }
  ~CdsDhp() { delete current_.load(); }
  static void Begin() { cds::threading::Manager::attachThread(); }
  static void End() { cds::threading::Manager::detachThread(); }
  void Read(auto f) const {
    cds::gc::DHP::Guard guard;
    f(*guard.protect(current_));
  }
  void Write(uint64_t number) {
    cds::gc::DHP::retire<Delete>(current_.exchange(new Value(number), std::memory_order::acq_rel));
  }

 private:
  struct Delete {
    void operator()(Value* value) const { delete value; }
  };
  static cds::gc::DHP& Library() {
    static const struct Started {
      Started() { cds::Initialize(); }
      ~Started() { cds::Terminate(); }
    } started;
    static cds::gc::DHP collector;
    return collector;
  }
  std::atomic<Value*> current_{new Value(1)};
};
#endif

template <class Cell>
auto Registered(auto ops) {
  if constexpr (requires { Cell::Begin(); }) {
    return std::move(ops).OnThread([](Worker&) { Cell::Begin(); }, [](Worker&) { Cell::End(); });
  } else {
    return ops;
  }
}

constexpr auto kCheck = [](const Value& value, Worker& worker) {
  if (!value.IsWhole()) worker.Torn();
};

template <class Cell>
auto Reader() {
  const auto cell = Isolated<Cell>();
  return Registered<Cell>(Ops([cell] { cell->Read([](const Value& value) { Keep(value.words[3]); }); }));
}

template <class Cell>
auto ReaderBeside(auto writer) {
  const auto cell = Isolated<Cell>();
  return Registered<Cell>(Ops([cell](Worker& worker) {
                            cell->Read([&](const Value& value) { kCheck(value, worker); });
                          }).WithBackground([cell, writer]() mutable {
    if (writer.IsDue()) cell->Write(writer.number);
  }));
}
struct Continuously {
  uint64_t number = 0;
  bool IsDue() { return ++number != 0; }
};
// 1,000 times a second. Only the time in windows counts: between two of them the thread does not come by.
struct PerMillisecond {
  uint64_t number = 0, last = Ticks(), since = 0;
  bool IsDue() {
    const uint64_t now = Ticks(), passed = now - last;
    last = now;
    if (passed < NsToTicks(10'000)) since += passed;
    if (since < NsToTicks(1'000'000)) return false;
    since = 0;
    return ++number != 0;
  }
};

template <class Cell>
auto Writer() {
  const auto cell = Isolated<Cell>();
  return Registered<Cell>(Ops([cell, number = uint64_t{0}]() mutable { cell->Write(++number); }));
}
template <class Cell>
auto WriterBesideReader() {
  const auto cell = Isolated<Cell>();
  return Registered<Cell>(
      Ops([cell, number = uint64_t{0}]() mutable { cell->Write(++number); }).WithBackground([cell](Worker& worker) {
        cell->Read([&](const Value& value) { kCheck(value, worker); });
      }));
}

void AddReads(Rows& rows, int threads) {
  Row& row = rows.Add({.id = "rcu_cell/read/t" + std::to_string(threads),
                       .optimisation = 4,
                       .claim = threads <= 2 ? "reads" : "",
                       .threads = threads})
                 .Floor("unguarded load", [] { return Reader<Unguarded>(); })
                 .Naive("shared_mutex + shared_ptr", [] { return Reader<SharedMutex>(); })
                 .Ours("RcuCell::Load", [] { return Reader<Ours>(); })
                 .Variant("RcuCell::LoadShared", [] { return Reader<OursShared>(); })
                 .Peer("atomic<shared_ptr>", [] { return Reader<AtomicSharedPtr>(); });
  if (threads == 1) row.AtLeast(30, "shared_mutex + shared_ptr");
  if (threads == 2) row.AtLeast(250, "shared_mutex + shared_ptr");
#if HOTPATH_HAVE_LIBURCU_MEMB
  row.Peer("urcu_memb", [] { return Reader<UrcuMemb>(); });
  if (threads == 1) row.AtLeast(3, "urcu_memb");
#else
  row.NotInstalled("urcu_memb");
#endif
#if HOTPATH_HAVE_LIBURCU_QSBR
  row.Peer("urcu_qsbr", [] { return Reader<UrcuQsbr>(); });
#else
  row.NotInstalled("urcu_qsbr");
#endif
#if HOTPATH_HAVE_XENIUM
  row.Peer("xenium epoch_based", [] { return Reader<XeniumEpoch>(); });
#else
  row.NotInstalled("xenium epoch_based");
#endif
}

// Beside a writer that must be waited for by nobody.
template <class Pace>
void AddReadsBesideAWriter(Rows& rows, const std::string& which) {
  Row& row = rows.Add({.id = "rcu_cell/read beside " + which + "/t1", .optimisation = 4, .background = 1})
                 .Naive("shared_mutex + shared_ptr", [] { return ReaderBeside<SharedMutex>(Pace()); })
                 .Ours("RcuCell::Load", [] { return ReaderBeside<Ours>(Pace()); })
                 .Variant("RcuCell::LoadShared", [] { return ReaderBeside<OursShared>(Pace()); })
                 .Peer("atomic<shared_ptr>", [] { return ReaderBeside<AtomicSharedPtr>(Pace()); });
#if HOTPATH_HAVE_LIBURCU_MEMB
  row.Peer("urcu_memb", [] { return ReaderBeside<UrcuMemb>(Pace()); });
#else
  row.NotInstalled("urcu_memb");
#endif
#if HOTPATH_HAVE_XENIUM
  row.Peer("xenium epoch_based", [] { return ReaderBeside<XeniumEpoch>(Pace()); });
#else
  row.NotInstalled("xenium epoch_based");
#endif
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 8}) AddReads(rows, threads);
  AddReadsBesideAWriter<PerMillisecond>(rows, "1000 writes a second");
  AddReadsBesideAWriter<Continuously>(rows, "a writer");

  Row& alone = rows.Add({.id = "rcu_cell/update/t1", .optimisation = 4})
                   .Floor("new + delete",
                          [] {
                            return [] {
                              const auto value = std::make_unique<Value>(1);
                              Keep(value.get());
                            };
                          })
                   .Naive("shared_mutex + shared_ptr", [] { return Writer<SharedMutex>(); })
                   .Ours("RcuCell::Store", [] { return Writer<Ours>(); })
                   .Peer("atomic<shared_ptr>", [] { return Writer<AtomicSharedPtr>(); });
  Row& beside = rows.Add({.id = "rcu_cell/update beside a reader/t1", .optimisation = 4, .background = 1})
                    .Naive("shared_mutex + shared_ptr", [] { return WriterBesideReader<SharedMutex>(); })
                    .Ours("RcuCell::Store", [] { return WriterBesideReader<Ours>(); })
                    .Peer("atomic<shared_ptr>", [] { return WriterBesideReader<AtomicSharedPtr>(); });
#if HOTPATH_HAVE_LIBURCU_MEMB
  beside.Peer("urcu_memb synchronize", [] { return WriterBesideReader<UrcuMemb>(); })
      .AtLeast(100, "urcu_memb synchronize");
#else
  beside.NotInstalled("urcu_memb synchronize");
#endif
#if HOTPATH_HAVE_XENIUM
  alone.Peer("xenium epoch_based", [] { return Writer<XeniumEpoch>(); }).AtLeast(1, "xenium epoch_based");
  beside.Peer("xenium epoch_based", [] { return WriterBesideReader<XeniumEpoch>(); }).AtLeast(1, "xenium epoch_based");
#else
  alone.NotInstalled("xenium epoch_based");
  beside.NotInstalled("xenium epoch_based");
#endif
#if HOTPATH_HAVE_LIBCDS
  alone.Peer("libcds DHP", [] { return Writer<CdsDhp>(); }).AtLeast(1, "libcds DHP");
  beside.Peer("libcds DHP", [] { return WriterBesideReader<CdsDhp>(); }).AtLeast(1, "libcds DHP");
#else
  alone.NotInstalled("libcds DHP");
  beside.NotInstalled("libcds DHP");
#endif
}

}  // namespace
}  // namespace hotpath::bench
