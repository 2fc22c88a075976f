// What a guarded read and a retirement cost: EpochDomain beside an unguarded load and new/delete (the floors), the same
// domain where membarrier(2) is missing, and std::shared_mutex. The goals are ratios between rows of one run.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "benchmark/benchmark.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"

namespace hotpath {
namespace {

// The C library drops locks and atomics while a process has one thread.
const bool g_has_had_two_threads = (std::thread([] {}).join(), true);

// As StdSync is where the kernel has no membarrier(2).
struct FenceSync : StdSync {
  static void LightFence() noexcept { Fence(std::memory_order::seq_cst); }
  static void HeavyFence() noexcept { Fence(std::memory_order::seq_cst); }
};

struct Object {
  uint64_t number = 1;
};

template <class Sync>
struct Pinned {
  BasicEpochDomain<Sync> domain;
  std::atomic<Object*> current{new Object};
  ~Pinned() { delete current.load(); }
  uint64_t Read() {
    const auto guard = domain.Pin();
    return current.load(std::memory_order::acquire)->number;
  }
};
struct Unguarded {
  std::atomic<Object*> current{new Object};
  ~Unguarded() { delete current.load(); }
  uint64_t Read() { return current.load(std::memory_order::acquire)->number; }
};
struct Locked {
  std::shared_mutex mu;
  Object* const current{new Object};
  ~Locked() { delete current; }
  uint64_t Read() {
    const std::shared_lock lock(mu);
    return current->number;
  }
};

template <class T>
void BM_Read(benchmark::State& state) {
  static T shared;
  uint64_t sum = 0;
  for (auto _ : state) benchmark::DoNotOptimize(sum += shared.Read());
}
BENCHMARK(BM_Read<Unguarded>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<Pinned<StdSync>>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<Pinned<FenceSync>>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<Locked>)->Threads(1)->Threads(2);

void BM_NestedPin(benchmark::State& state) {
  EpochDomain domain;
  const EpochDomain::Guard outer = domain.Pin();
  for (auto _ : state) {
    const EpochDomain::Guard inner = domain.Pin();
    benchmark::DoNotOptimize(&inner);
  }
}
BENCHMARK(BM_NestedPin);

struct Node : EpochDomain::Retiree {
  uint64_t number = 1;
};

template <class T>
void BM_NewDelete(benchmark::State& state) {
  for (auto _ : state) {
    T* object = new T;
    benchmark::DoNotOptimize(object);
    delete object;
  }
}
BENCHMARK(BM_NewDelete<Object>);
BENCHMARK(BM_NewDelete<Node>);

template <class T>
void BM_NewRetire(benchmark::State& state) {
  static EpochDomain domain;
  for (auto _ : state) domain.Retire(new T);
  if (state.thread_index() == 0) state.counters["fences"] = static_cast<double>(domain.Stats().heavy_fences);
}
BENCHMARK(BM_NewRetire<Object>)->Threads(1)->Threads(2);
BENCHMARK(BM_NewRetire<Node>)->Threads(1)->Threads(2);

void BM_Synchronize(benchmark::State& state) {
  EpochDomain domain;
  for (auto _ : state) domain.Synchronize();
}
BENCHMARK(BM_Synchronize);

}  // namespace
}  // namespace hotpath
