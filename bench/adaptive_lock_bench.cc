// One shared value: AdaptiveLock beside std::atomic and std::mutex, as a number of eight bytes (an atomic) and as three
// numbers (a lock). The goals are ratios between rows of one run; the rows of two threads mean something only on two
// free cores, those of eight and sixteen show what happens when threads lose the CPU inside.
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>

#include "benchmark/benchmark.h"
#include "hotpath/core/adaptive_lock.h"
#include "hotpath/core/base/parking.h"

namespace hotpath {
namespace {

struct Wide {
  uint64_t a = 0, b = 0, c = 0;
};

struct AtomicNumber {
  std::atomic<uint64_t> value{0};
  void Add() { value.fetch_add(1, std::memory_order::acq_rel); }
  uint64_t Load() const { return value.load(std::memory_order::acquire); }
};
struct OurNumber {
  AdaptiveLock<uint64_t> value;
  void Add() { value.FetchAdd(1); }
  uint64_t Load() const { return value.Load(); }
};
struct OurNumberWith {
  AdaptiveLock<uint64_t> value;
  void Add() {
    value.With([](uint64_t& v) { ++v; });
  }
};
struct MutexNumber {
  mutable std::mutex mu;
  uint64_t value = 0;
  void Add() {
    std::lock_guard lock(mu);
    ++value;
  }
  uint64_t Load() const {
    std::lock_guard lock(mu);
    return value;
  }
};

void Bump(Wide& wide) {
  ++wide.a;
  wide.b += wide.a;
  ++wide.c;
}
struct MutexWide {
  std::mutex mu;
  Wide wide;
  void Add() {
    std::lock_guard lock(mu);
    Bump(wide);
  }
};
struct OurWide {
  AdaptiveLock<Wide> wide;
  void Add() { wide.With(Bump); }
};
struct ParkingWide {
  ParkingLock mu;
  Wide wide;
  void Add() {
    MutexLock lock(mu);
    Bump(wide);
  }
};
// The floor of a lock: one exchange, one store, and no help for anybody who waits.
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
};

// On lines of its own, in a process that had a second thread once: glibc and libstdc++ skip locks and atomics before.
template <class Cell>
struct alignas(256) Shared {
  Cell cell;
};
template <class Cell>
Shared<Cell> g_shared;

template <class Cell>
void BM_Add(benchmark::State& state) {
  if (state.thread_index() == 0) std::thread([] {}).join();
  Cell& cell = g_shared<Cell>.cell;
  for (auto _ : state) cell.Add();
}
template <class Cell>
void BM_Load(benchmark::State& state) {
  if (state.thread_index() == 0) std::thread([] {}).join();
  for (auto _ : state) benchmark::DoNotOptimize(g_shared<Cell>.cell.Load());
}

#define HOTPATH_ROWS(cell) BENCHMARK(BM_Add<cell>)->ThreadRange(1, 16)->UseRealTime()

HOTPATH_ROWS(AtomicNumber);
HOTPATH_ROWS(OurNumber);
HOTPATH_ROWS(OurNumberWith);
HOTPATH_ROWS(MutexNumber);
BENCHMARK(BM_Load<AtomicNumber>);
BENCHMARK(BM_Load<OurNumber>);
BENCHMARK(BM_Load<MutexNumber>);
HOTPATH_ROWS(MutexWide);
HOTPATH_ROWS(OurWide);
HOTPATH_ROWS(ParkingWide);
HOTPATH_ROWS(SpinWide);

}  // namespace
}  // namespace hotpath
