#ifndef HOTPATH_BENCH_BASE_RECLAIMERS_H_
#define HOTPATH_BENCH_BASE_RECLAIMERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "bench/base/announcement.h"
#include "bench/base/rows.h"
#include "bench/base/ticks.h"
#include "hotpath/core/base/sync.h"

// What benchmarks of reclamation share: the libraries of others as far as the stanza names them in its proof_deps, how
// these get to know their threads, and writers beside readers.

#if HOTPATH_HAVE_CK
#include "ck_pr.h"
// ck_stack.h is C, and assigns a void* without a cast.
#define ck_pr_fas_ptr(target, value) static_cast<struct ck_stack_entry*>((ck_pr_fas_ptr)(target, value))
extern "C" {
#include "ck_epoch.h"
}
#undef ck_pr_fas_ptr
#endif
#if HOTPATH_HAVE_LIBCDS
#include "cds/gc/dhp.h"
#include "cds/init.h"
#endif
#if HOTPATH_HAVE_LIBURCU_MEMB
#include "urcu/urcu-memb.h"
// After that: for users who would rather compile the readers' few lines than call them.
#include "urcu/static/urcu-memb.h"
#endif
#if HOTPATH_HAVE_LIBURCU_QSBR
#include "urcu/urcu-qsbr.h"
#endif
#if HOTPATH_HAVE_XENIUM
#include "xenium/reclamation/generic_epoch_based.hpp"
#endif

namespace hotpath::bench {

// The floor of what destroys later: the objects of one thread, `kBatch` at once, after one fence and a look at each
// reader. An Owner destroys what it owns when it is overwritten.
template <class Owner, size_t kBatch = 1024>
class Batch {
 public:
  ~Batch() { Destroy(); }
  void Begin(Worker&) {
    const std::lock_guard lock(mu_);
    readers_.push_back(&Announcement::Mine());
  }
  void End(Worker&) {
    const std::lock_guard lock(mu_);
    std::erase(readers_, &Announcement::Mine());
  }
  void Retire(Owner object) {
    objects_[count_++] = std::move(object);
    if (count_ == kBatch) Destroy();
  }

 private:
  void Destroy() {
    StdSync::HeavyFence();
    {
      const std::lock_guard lock(mu_);
      for (const std::atomic<uint64_t>* reader : readers_) {
        for (SpinWait<> wait; reader->load(std::memory_order::acquire) != 0;) wait();
      }
    }
    for (size_t i = 0; i < count_; ++i) objects_[i] = nullptr;
    count_ = 0;
  }
  std::mutex mu_;
  std::vector<const std::atomic<uint64_t>*> readers_;
  size_t count_ = 0;
  std::array<Owner, kBatch> objects_;
};

// `ops`, whose threads call the Begin(Worker&) and End(Worker&) of what they share, if it has them.
template <class T>
auto OnThreads(const std::shared_ptr<T>& shared, auto ops) {
  if constexpr (requires(Worker& worker) { shared->Begin(worker); }) {
    return std::move(ops).OnThread([shared](Worker& worker) { shared->Begin(worker); },
                                   [shared](Worker& worker) { shared->End(worker); });
  } else {
    return ops;
  }
}

// Bases of what uses these libraries.

#if HOTPATH_HAVE_LIBURCU_MEMB
struct UrcuMembUser {
  static void Begin(Worker&) { urcu_memb_register_thread(); }
  static void End(Worker&) { urcu_memb_unregister_thread(); }
};
#endif

#if HOTPATH_HAVE_LIBURCU_QSBR
struct UrcuQsbrUser {
  static void Begin(Worker&) { urcu_qsbr_register_thread(); }
  static void End(Worker&) { urcu_qsbr_unregister_thread(); }
};
#endif

#if HOTPATH_HAVE_LIBCDS
// Hazard pointers, as many as a thread likes.
struct CdsDhpUser {
  CdsDhpUser() {
    static const struct Library {
      Library() { cds::Initialize(); }
      ~Library() { cds::Terminate(); }
    } started;
    static const cds::gc::DHP collector;
  }
  static void Begin(Worker&) { cds::threading::Manager::attachThread(); }
  static void End(Worker&) { cds::threading::Manager::detachThread(); }
  template <class T>
  static void Retire(T* object) {
    cds::gc::DHP::retire<std::default_delete<T>>(object);
  }
};
#endif

// When a writer beside the measured threads writes.
struct Continuously {
  static bool IsDue() { return true; }
};
// 1,000 times a second. Only the time in windows counts: between two of them the thread does not come by.
struct PerMillisecond {
  uint64_t last = Ticks(), since = 0;
  bool IsDue() {
    const uint64_t now = Ticks(), passed = now - last;
    last = now;
    if (passed < NsToTicks(10'000)) since += passed;
    if (since < NsToTicks(1'000'000)) return false;
    since = 0;
    return true;
  }
};

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_RECLAIMERS_H_
