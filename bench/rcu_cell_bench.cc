// A value of 64 bytes behind a pointer, read all the time and replaced now and then: RcuCell beside loads that nobody
// looks for (the floors), a std::shared_ptr under std::shared_mutex, std::atomic<std::shared_ptr>, and what one builds
// from others' RCUs, epochs and hazard pointers. A value that is read after its end says so.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>

#include "bench/base/reclaimers.h"
#include "bench/base/rows.h"
#include "hotpath/core/base/cacheline.h"
#include "hotpath/core/rcu_cell.h"

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

struct Announced : Unguarded, Batch<std::unique_ptr<const Value>> {
  void Read(auto f) const {
    const Announcement announcement;
    Unguarded::Read(f);
  }
  void Write(uint64_t number) {
    Retire(std::unique_ptr<const Value>(current.exchange(new Value(number), std::memory_order::acq_rel)));
  }
};

// And what the contract asks for beside that: a value that LoadShared can keep owns itself, and somebody's Update,
// which runs the user's function once, must not be overtaken.
class AnnouncedAndLocked : public Batch<std::shared_ptr<const void>> {
  struct Node {
    explicit Node(uint64_t number) : value(number) {}
    std::shared_ptr<Node> self;
    Value value;
  };

 public:
  ~AnnouncedAndLocked() { current_.load()->self = nullptr; }
  void Read(auto f) const {
    const Announcement announcement;
    f(current_.load(std::memory_order::acquire)->value);
  }
  void Write(uint64_t number) {
    Node* const next = Make(number);
    Node* old = nullptr;
    {
      const std::lock_guard lock(mu_);
      old = current_.load(std::memory_order::relaxed);
      current_.store(next, std::memory_order::release);
    }
    Retire(std::move(old->self));
  }

 private:
  static Node* Make(uint64_t number) {
    auto node = std::make_shared<Node>(number);
    Node* const raw = node.get();
    raw->self = std::move(node);
    return raw;
  }
  std::atomic<Node*> current_{Make(1)};
  alignas(kCacheLineSize) std::mutex mu_;
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
class UrcuMemb : public UrcuMembUser {
 public:
  ~UrcuMemb() { delete current_.load(); }
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
#else
using UrcuMemb = Missing;
#endif

#if HOTPATH_HAVE_LIBURCU_QSBR
// Readers say when they read nothing: here, at every 256th operation.
class UrcuQsbr : public UrcuQsbrUser {
 public:
  ~UrcuQsbr() { delete current_.load(); }
  void Read(auto f) const {
    static thread_local uint32_t reads = 0;
    f(*current_.load(std::memory_order::acquire));
    if (++reads % 256 == 0) urcu_qsbr_quiescent_state();
  }

 private:
  std::atomic<const Value*> current_{new Value(1)};
};
#else
using UrcuQsbr = Missing;
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
#else
using XeniumEpoch = Missing;
#endif

#if HOTPATH_HAVE_LIBCDS
class CdsDhp : public CdsDhpUser {
 public:
  ~CdsDhp() { delete current_.load(); }
  void Read(auto f) const {
    cds::gc::DHP::Guard guard;
    f(*guard.protect(current_));
  }
  void Write(uint64_t number) { Retire(current_.exchange(new Value(number), std::memory_order::acq_rel)); }

 private:
  std::atomic<Value*> current_{new Value(1)};
};
#else
using CdsDhp = Missing;
#endif

constexpr auto kCheck = [](const Value& value, Worker& worker) {
  if (!value.IsWhole()) worker.Torn();
};

template <class Cell>
auto Reader() {
  const auto cell = Isolated<Cell>();
  return OnThreads(cell, Ops([cell] { cell->Read([](const Value& value) { Keep(value.words[3]); }); }));
}

template <class Cell, class Pace>
auto ReaderBeside() {
  const auto cell = Isolated<Cell>();
  return OnThreads(cell, Ops([cell](Worker& worker) {
                           cell->Read([&](const Value& value) { kCheck(value, worker); });
                         }).WithBackground([cell, pace = Pace(), number = uint64_t{0}]() mutable {
    if (pace.IsDue()) cell->Write(++number);
  }));
}

template <class Cell>
auto Writer() {
  const auto cell = Isolated<Cell>();
  return OnThreads(cell, Ops([cell, number = uint64_t{0}]() mutable { cell->Write(++number); }));
}
template <class Cell>
auto WriterBesideReader() {
  const auto cell = Isolated<Cell>();
  return OnThreads(cell, Ops([cell, number = uint64_t{0}]() mutable {
                           cell->Write(++number);
                         }).WithBackground([cell](Worker& worker) {
    cell->Read([&](const Value& value) { kCheck(value, worker); });
  }));
}

void AddReads(Rows& rows, int threads) {
  Row& row = rows.Add({.id = "rcu_cell/read/t" + std::to_string(threads),
                       .optimisation = 4,
                       .claim = threads <= 2 ? "reads" : "",
                       .threads = threads})
                 .Floor("unguarded load", [] { return Reader<Unguarded>(); })
                 .Floor("announced load", [] { return Reader<Announced>(); })
                 .Naive("shared_mutex + shared_ptr", [] { return Reader<SharedMutex>(); })
                 .Ours("RcuCell::Load", [] { return Reader<Ours>(); })
                 .Variant("RcuCell::LoadShared", [] { return Reader<OursShared>(); })
                 .Peer("atomic<shared_ptr>", [] { return Reader<AtomicSharedPtr>(); });
  if (threads == 1) row.AtLeast(30, "shared_mutex + shared_ptr");
  if (threads == 2) row.AtLeast(250, "shared_mutex + shared_ptr");
  row.PeerOf<UrcuMemb>("urcu_memb", []<class T>() { return Reader<T>(); })
      .PeerOf<UrcuQsbr>("urcu_qsbr", []<class T>() { return Reader<T>(); })
      .PeerOf<XeniumEpoch>("xenium epoch_based", []<class T>() { return Reader<T>(); });
  if (threads == 1) row.AtLeast(3, "urcu_memb");
}

// Beside a writer that must be waited for by nobody.
template <class Pace>
void AddReadsBesideAWriter(Rows& rows, const std::string& which) {
  Row& row = rows.Add({.id = "rcu_cell/read beside " + which + "/t1", .optimisation = 4, .background = 1})
                 .Naive("shared_mutex + shared_ptr", ReaderBeside<SharedMutex, Pace>)
                 .Ours("RcuCell::Load", ReaderBeside<Ours, Pace>)
                 .Variant("RcuCell::LoadShared", ReaderBeside<OursShared, Pace>)
                 .Peer("atomic<shared_ptr>", ReaderBeside<AtomicSharedPtr, Pace>);
  row.PeerOf<UrcuMemb>("urcu_memb", []<class T>() { return ReaderBeside<T, Pace>(); });
  row.PeerOf<XeniumEpoch>("xenium epoch_based", []<class T>() { return ReaderBeside<T, Pace>(); });
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 8}) AddReads(rows, threads);
  AddReadsBesideAWriter<PerMillisecond>(rows, "1000 writes a second");
  AddReadsBesideAWriter<Continuously>(rows, "a writer");

  rows.Add({.id = "rcu_cell/update/t1", .optimisation = 4})
      .Floor("new + delete",
             [] {
               return [] {
                 const auto value = std::make_unique<Value>(1);
                 Keep(value.get());
               };
             })
      .Floor("a fence for 1,024", [] { return Writer<Announced>(); })
      .Floor("a fence for 1,024, a count, and a lock", [] { return Writer<AnnouncedAndLocked>(); })
      .Naive("shared_mutex + shared_ptr", [] { return Writer<SharedMutex>(); })
      .Ours("RcuCell::Store", [] { return Writer<Ours>(); })
      .Peer("atomic<shared_ptr>", [] { return Writer<AtomicSharedPtr>(); })
      .PeerOf<XeniumEpoch>("xenium epoch_based", []<class T>() { return Writer<T>(); })
      .AtLeast(1, "xenium epoch_based")
      .PeerOf<CdsDhp>("libcds DHP", []<class T>() { return Writer<T>(); })
      .AtLeast(1, "libcds DHP");
  rows.Add({.id = "rcu_cell/update beside a reader/t1", .optimisation = 4, .background = 1})
      .Floor("a fence for 1,024", [] { return WriterBesideReader<Announced>(); })
      .Floor("a fence for 1,024, a count, and a lock", [] { return WriterBesideReader<AnnouncedAndLocked>(); })
      .Naive("shared_mutex + shared_ptr", [] { return WriterBesideReader<SharedMutex>(); })
      .Ours("RcuCell::Store", [] { return WriterBesideReader<Ours>(); })
      .Peer("atomic<shared_ptr>", [] { return WriterBesideReader<AtomicSharedPtr>(); })
      .PeerOf<UrcuMemb>("urcu_memb synchronize", []<class T>() { return WriterBesideReader<T>(); })
      .AtLeast(100, "urcu_memb synchronize")
      .PeerOf<XeniumEpoch>("xenium epoch_based", []<class T>() { return WriterBesideReader<T>(); })
      .AtLeast(1, "xenium epoch_based")
      .PeerOf<CdsDhp>("libcds DHP", []<class T>() { return WriterBesideReader<T>(); })
      .AtLeast(1, "libcds DHP");
}

}  // namespace
}  // namespace hotpath::bench
