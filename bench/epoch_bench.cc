// Reads under a Guard, retirements and grace periods: EpochDomain beside loads that nobody looks for and new + delete
// (the floors), std::shared_mutex, and the epochs, RCUs and hazard pointers of others. A node that is read after its
// end says so.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/reclaimers.h"
#include "bench/base/rows.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"

namespace hotpath::bench {
namespace {

constexpr uint64_t kAlive = 0x600d'600d'600d'600d;

struct Empty {};
// What is read, and replaced. Its end is a store that the compiler must not drop.
template <class Base = Empty>
struct Node : Base {
  std::atomic<uint64_t> canary{kAlive};
  ~Node() { canary.store(0, std::memory_order::relaxed); }
  uint64_t Read() const { return canary.load(std::memory_order::relaxed); }
};

// Each contender has: Read(worker), what a reader does; and Update(), which replaces the node that readers see and
// retires the old one.

struct Unguarded {
  std::atomic<Node<>*> current{new Node<>};
  ~Unguarded() { delete current.load(); }
  uint64_t Read() const { return current.load(std::memory_order::acquire)->Read(); }
};

struct Announced : Unguarded, Batch<std::unique_ptr<Node<>>> {
  uint64_t Read() const {
    const Announcement announcement;
    return Unguarded::Read();
  }
  void Update() { Retire(std::unique_ptr<Node<>>(current.exchange(new Node<>, std::memory_order::acq_rel))); }
};

class SharedMutex {
 public:
  uint64_t Read() const {
    std::shared_ptr<const Node<>> copy;
    {
      const std::shared_lock lock(mu_);
      copy = current_;
    }
    return copy->Read();
  }
  void Update() {
    auto next = std::make_shared<const Node<>>();
    const std::unique_lock lock(mu_);
    current_.swap(next);
  }

 private:
  mutable std::shared_mutex mu_;
  std::shared_ptr<const Node<>> current_ = std::make_shared<const Node<>>();
};

// As StdSync is where the kernel has no membarrier(2).
struct FenceSync : StdSync {
  static void LightFence() noexcept { Fence(std::memory_order::seq_cst); }
  static void HeavyFence() noexcept { Fence(std::memory_order::seq_cst); }
  static bool AsymmetricFences() noexcept { return false; }
};

template <class Sync = StdSync, class Base = typename BasicEpochDomain<Sync>::Retiree>
class Epochs {
 public:
  ~Epochs() { delete current_.load(); }
  uint64_t Read() {
    const auto guard = domain_.Pin();
    return current_.load(std::memory_order::acquire)->Read();
  }
  void Update() { domain_.Retire(current_.exchange(new Node<Base>, std::memory_order::acq_rel)); }
  void Retire() { domain_.Retire(new Node<Base>); }
  void Synchronize() { domain_.Synchronize(); }
  uint64_t Lost(uint64_t retired) {
    domain_.Synchronize();
    return retired - domain_.Stats().reclaimed;
  }

 private:
  BasicEpochDomain<Sync> domain_;
  std::atomic<Node<Base>*> current_{new Node<Base>};
};
using ForeignEpochs = Epochs<StdSync, Empty>;

#if HOTPATH_HAVE_LIBURCU_MEMB
template <bool kInlined>
class UrcuMembReader : public UrcuMembUser {
 public:
  ~UrcuMembReader() { delete current_.load(); }
  uint64_t Read() const {
    kInlined ? _urcu_memb_read_lock() : urcu_memb_read_lock();
    const uint64_t got = current_.load(std::memory_order::acquire)->Read();
    kInlined ? _urcu_memb_read_unlock() : urcu_memb_read_unlock();
    return got;
  }
  void Update() {
    const Node<>* old = current_.exchange(new Node<>, std::memory_order::acq_rel);
    urcu_memb_synchronize_rcu();
    delete old;
  }
  void Synchronize() { urcu_memb_synchronize_rcu(); }

 private:
  std::atomic<Node<>*> current_{new Node<>};
};
using UrcuMemb = UrcuMembReader<false>;
using UrcuMembInlined = UrcuMembReader<true>;
#else
using UrcuMemb = Missing;
using UrcuMembInlined = Missing;
#endif

#if HOTPATH_HAVE_LIBURCU_QSBR
// Readers say when they read nothing: here, at every 1,024th read.
class UrcuQsbr : public UrcuQsbrUser {
 public:
  ~UrcuQsbr() { delete current_.load(); }
  uint64_t Read(uint32_t& reads) const {
    const uint64_t got = current_.load(std::memory_order::acquire)->Read();
    if (++reads % 1'024 == 0) urcu_qsbr_quiescent_state();
    return got;
  }

 private:
  std::atomic<Node<>*> current_{new Node<>};
};
#else
using UrcuQsbr = Missing;
#endif

#if HOTPATH_HAVE_CK
class CkEpoch {
 public:
  struct Entry {
    ck_epoch_entry_t entry;
  };
  using Object = Node<Entry>;

  CkEpoch() { ck_epoch_init(&epoch_); }
  ~CkEpoch() { delete current_.load(); }
  void Begin(Worker&) {
    const std::lock_guard lock(mu_);
    mine = records_.emplace_back(std::make_unique<ck_epoch_record_t>()).get();
    ck_epoch_register(&epoch_, mine, nullptr);
  }
  void End(Worker&) {
    ck_epoch_barrier(mine);
    ck_epoch_unregister(mine);
  }
  uint64_t Read() {
    ck_epoch_begin(mine, nullptr);
    const uint64_t got = current_.load(std::memory_order::acquire)->Read();
    ck_epoch_end(mine, nullptr);
    return got;
  }
  void Update() { Call(current_.exchange(new Object, std::memory_order::acq_rel)); }
  void Retire() { Call(new Object); }
  void Synchronize() { ck_epoch_synchronize(mine); }

 private:
  static inline thread_local ck_epoch_record_t* mine = nullptr;

  static void Call(Object* object) {
    ck_epoch_call(mine, &object->entry,
                  [](ck_epoch_entry_t* entry) { delete static_cast<Object*>(reinterpret_cast<Entry*>(entry)); });
    if (mine->n_pending % 64 == 0) ck_epoch_poll(mine);
  }

  ck_epoch_t epoch_;
  std::mutex mu_;
  std::vector<std::unique_ptr<ck_epoch_record_t>> records_;  // they must not end before the epoch
  std::atomic<Object*> current_{new Object};
};
#else
using CkEpoch = Missing;
#endif

#if HOTPATH_HAVE_XENIUM
class Xenium {
  using Reclaimer = xenium::reclamation::epoch_based<>;
  struct Object : Reclaimer::enable_concurrent_ptr<Object>, Node<> {};
  using Pointer = Reclaimer::concurrent_ptr<Object, 0>;

 public:
  ~Xenium() { delete current_.load().get(); }
  uint64_t Read() const {
    Pointer::guard_ptr guard;
    guard.acquire(current_, std::memory_order::acquire);
    return guard->Read();
  }
  void Update() {
    Pointer::guard_ptr old;
    const Pointer::marked_ptr next(new Object);
    for (;;) {
      old.acquire(current_, std::memory_order::acquire);
      Pointer::marked_ptr expected(old.get());
      if (current_.compare_exchange_weak(expected, next, std::memory_order::acq_rel, std::memory_order::relaxed)) break;
    }
    old.reclaim();
  }
  void Retire() {
    Pointer::guard_ptr guard(Pointer::marked_ptr(new Object));
    guard.reclaim();
  }

 private:
  Pointer current_{Pointer::marked_ptr(new Object)};
};
#else
using Xenium = Missing;
#endif

#if HOTPATH_HAVE_LIBCDS
class CdsDhp : public CdsDhpUser {
 public:
  ~CdsDhp() { delete current_.load(); }
  uint64_t Read() const {
    cds::gc::DHP::Guard guard;
    return guard.protect(current_)->Read();
  }
  void Update() { CdsDhpUser::Retire(current_.exchange(new Node<>, std::memory_order::acq_rel)); }
  void Retire() { CdsDhpUser::Retire(new Node<>); }

 private:
  std::atomic<Node<>*> current_{new Node<>};
};
#else
using CdsDhp = Missing;
#endif

template <class T>
auto Reader() {
  const auto shared = Isolated<T>();
  return OnThreads(shared, Ops([shared] { Keep(shared->Read()); }));
}

template <class T>
auto Retirer() {
  const auto shared = Isolated<T>();
  auto ops = OnThreads(shared, Ops([shared] { shared->Retire(); }));
  if constexpr (requires { shared->Lost(1); }) {
    return std::move(ops).CountLost([shared](const Performed& done) { return shared->Lost(done.measured); });
  } else {
    return ops;
  }
}

template <class T>
auto WithReader(auto run, const std::shared_ptr<T>& shared) {
  return OnThreads(shared, Ops(std::move(run)).WithBackground([shared](Worker& worker) {
    if (shared->Read() != kAlive) worker.Torn();
  }));
}
template <class T>
auto Updater() {
  const auto shared = Isolated<T>();
  return WithReader([shared] { shared->Update(); }, shared);
}
template <class T>
auto Synchronizer() {
  const auto shared = Isolated<T>();
  return WithReader([shared] { shared->Synchronize(); }, shared);
}

void AddReads(Rows& rows, int threads) {
  Row& row = rows.Add({.id = "epoch/read/t" + std::to_string(threads),
                       .optimisation = 4,
                       .threads = threads,
                       .note = "the naive one is four read-modify-writes: its ratio follows the floor of one"})
                 .Floor("unguarded load", [] { return Reader<Unguarded>(); })
                 .Floor("announced load", [] { return Reader<Announced>(); })
                 .Naive("shared_mutex + shared_ptr", [] { return Reader<SharedMutex>(); })
                 .Ours("EpochDomain", [] { return Reader<Epochs<>>(); })
                 .Variant("EpochDomain without membarrier", [] { return Reader<Epochs<FenceSync>>(); });
  if (threads == 1) row.AtLeast(30, "shared_mutex + shared_ptr");
  if (threads == 2) row.AtLeast(250, "shared_mutex + shared_ptr");
  row.PeerOf<UrcuMemb>("urcu_memb", []<class T>() { return Reader<T>(); })
      .PeerOf<UrcuMembInlined>("urcu_memb, inlined", []<class T>() { return Reader<T>(); })
      .PeerOf<UrcuQsbr>("urcu_qsbr",
                        []<class T>() {
                          const auto shared = Isolated<T>();
                          return OnThreads(shared,
                                           Ops([shared, reads = uint32_t{0}]() mutable { Keep(shared->Read(reads)); }));
                        })
      .PeerOf<CkEpoch>("ck_epoch", []<class T>() { return Reader<T>(); })
      .PeerOf<Xenium>("xenium epoch_based", []<class T>() { return Reader<T>(); })
      .PeerOf<CdsDhp>("libcds DHP", []<class T>() { return Reader<T>(); });
  if (threads == 1) row.AtLeast(3, "urcu_memb");
}

void AddRetirements(Rows& rows, int threads) {
  Row& row = rows.Add({.id = "epoch/retire/t" + std::to_string(threads),
                       .optimisation = 4,
                       .threads = threads,
                       .note = "who reclaims destroys what all threads retired: with two, the objects' lines move"})
                 .Floor("new + delete",
                        [] {
                          return [] {
                            auto* node = new Node<>;
                            Keep(node);
                            delete node;
                          };
                        })
                 .Ours("EpochDomain, a Retiree", [] { return Retirer<Epochs<>>(); })
                 .Variant("EpochDomain, any object", [] { return Retirer<ForeignEpochs>(); });
  row.PeerOf<CkEpoch>("ck_epoch", []<class T>() { return Retirer<T>(); })
      .PeerOf<Xenium>("xenium epoch_based", []<class T>() { return Retirer<T>(); })
      .PeerOf<CdsDhp>("libcds DHP", []<class T>() { return Retirer<T>(); });
  if (threads == 1) row.AtLeast(1, "xenium epoch_based").AtLeast(1, "libcds DHP");
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 8}) AddReads(rows, threads);
  for (const int threads : {1, 2}) AddRetirements(rows, threads);

  rows.Add({.id = "epoch/update beside a reader/t1", .optimisation = 4, .threads = 1, .background = 1})
      .Floor("a fence for 1,024", [] { return Updater<Announced>(); })
      .Naive("shared_mutex + shared_ptr", [] { return Updater<SharedMutex>(); })
      .Ours("EpochDomain", [] { return Updater<Epochs<>>(); })
      .PeerOf<UrcuMemb>("urcu_memb synchronize", []<class T>() { return Updater<T>(); })
      .AtLeast(100, "urcu_memb synchronize")
      .PeerOf<CkEpoch>("ck_epoch", []<class T>() { return Updater<T>(); })
      .PeerOf<Xenium>("xenium epoch_based", []<class T>() { return Updater<T>(); })
      .AtLeast(1, "xenium epoch_based")
      .PeerOf<CdsDhp>("libcds DHP", []<class T>() { return Updater<T>(); })
      .AtLeast(1, "libcds DHP");
  rows.Add({.id = "epoch/synchronize beside a reader/t1", .optimisation = 4, .threads = 1, .background = 1})
      .Ours("EpochDomain", [] { return Synchronizer<Epochs<>>(); })
      .PeerOf<UrcuMemb>("urcu_memb", []<class T>() { return Synchronizer<T>(); })
      .PeerOf<CkEpoch>("ck_epoch", []<class T>() { return Synchronizer<T>(); });
}

}  // namespace
}  // namespace hotpath::bench
