// One shared value: AdaptiveLock as a number of eight bytes (an atomic) and as three numbers (a lock), beside
// std::mutex, std::atomic, absl::Mutex and TBB's locks. Rows of more threads than cores show what happens when threads
// lose the CPU inside.
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/synchronization/mutex.h"
#include "bench/base/rows.h"
#include "hotpath/core/adaptive_lock.h"
#include "hotpath/core/base/parking.h"

#if HOTPATH_HAVE_TBB
#include <tbb/queuing_mutex.h>
#include <tbb/spin_mutex.h>
#endif

namespace hotpath::bench {
namespace {

// ---- A number ----

struct AtomicNumber {
  std::atomic<uint64_t> value{0};
  void Add() { value.fetch_add(1, std::memory_order::acq_rel); }
  uint64_t Total() { return value.load(); }
};
struct OurNumber {
  AdaptiveLock<uint64_t> value;
  void Add() { value.FetchAdd(1); }
  uint64_t Total() { return value.Load(); }
};
struct OurNumberWith {
  AdaptiveLock<uint64_t> value;
  void Add() {
    value.With([](uint64_t& v) { ++v; });
  }
  uint64_t Total() { return value.Load(); }
};
struct MutexNumber {
  std::mutex mu;
  uint64_t value = 0;
  void Add() {
    const std::lock_guard lock(mu);
    ++value;
  }
  uint64_t Total() { return value; }
};

// ---- Three numbers ----

struct Wide {
  uint64_t a = 0, b = 0, c = 0;
};
void Bump(Wide& wide) {
  ++wide.a;
  wide.b += wide.a;
  ++wide.c;
}

struct OurWide {
  AdaptiveLock<Wide> wide;
  void Add() { wide.With(Bump); }
  uint64_t Total() { return wide.Load().c; }
};
template <class Mutex, class Guard>
struct LockedWide {
  Mutex mu;
  Wide wide;
  void Add() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    const Guard lock(mu);
    Bump(wide);
  }
  uint64_t Total() { return wide.c; }
};
struct AbslWide {
  absl::Mutex mu;
  Wide wide;
  void Add() {
    const absl::MutexLock lock(&mu);
    Bump(wide);
  }
  uint64_t Total() { return wide.c; }
};
// One exchange, one store, and no help for anybody who waits.
struct SpinWide {
  std::atomic<bool> taken{false};
  Wide wide;
  void Add() {
    while (taken.exchange(true, std::memory_order::acquire)) {
      SpinWait<> wait;
      while (taken.load(std::memory_order::relaxed)) wait();
    }
    Bump(wide);
    taken.store(false, std::memory_order::release);
  }
  uint64_t Total() { return wide.c; }
};

template <class Cell>
auto Adder() {
  const auto cell = Isolated<Cell>();
  return Ops([cell] { cell->Add(); }).CountLost([cell](const Performed& done) {
    return done.measured - cell->Total();
  });
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 4, 8, 16}) {
    const std::string t = std::to_string(threads);
    Row& number = rows.Add({.id = "adaptive_lock/u64 add/t" + t,
                            .optimisation = 7,
                            .claim = threads == 1 ? "u64" : "",
                            .threads = threads,
                            .floor = threads == 1 ? "rmw" : "rmw_contended"})
                      .Naive("std::mutex", [] { return Adder<MutexNumber>(); })
                      .Ours("AdaptiveLock::FetchAdd", [] { return Adder<OurNumber>(); })
                      .Variant("AdaptiveLock::With", [] { return Adder<OurNumberWith>(); })
                      .Peer("std::atomic", [] { return Adder<AtomicNumber>(); })
                      .AtMost(1.03, "std::atomic");
    if (threads == 1) number.AtLeast(3, "std::mutex");
    if (threads == 2) number.AtLeast(4, "std::mutex");
  }
  for (const int threads : {1, 2, 4, 8, 16}) {
    Row& wide = rows.Add({.id = "adaptive_lock/24 bytes/t" + std::to_string(threads),
                          .optimisation = 7,
                          .threads = threads,
                          .latency = threads > 1})
                    .Naive("std::mutex", [] { return Adder<LockedWide<std::mutex, std::lock_guard<std::mutex>>>(); })
                    .Ours("AdaptiveLock", [] { return Adder<OurWide>(); })
                    .Variant("ParkingLock", [] { return Adder<LockedWide<ParkingLock, MutexLock<ParkingLock>>>(); })
                    .Peer("absl::Mutex", [] { return Adder<AbslWide>(); })
                    .Floor("exchange and store", [] { return Adder<SpinWide>(); });
#if HOTPATH_HAVE_TBB
    wide.Peer("tbb::spin_mutex", [] { return Adder<LockedWide<tbb::spin_mutex, tbb::spin_mutex::scoped_lock>>(); })
        .Peer("tbb::queuing_mutex",
              [] { return Adder<LockedWide<tbb::queuing_mutex, tbb::queuing_mutex::scoped_lock>>(); });
#else
    wide.NotInstalled("tbb::spin_mutex").NotInstalled("tbb::queuing_mutex");
#endif
    if (threads == 1) wide.AtLeast(2, "std::mutex");
    if (threads == 2) wide.AtLeast(1.5, "std::mutex");
  }
}

}  // namespace
}  // namespace hotpath::bench
