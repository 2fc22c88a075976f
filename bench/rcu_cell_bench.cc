// Reads and replacements of a pointed-to value of 64 bytes: RcuCell beside an unguarded pointer (the floor), a
// std::shared_ptr under std::shared_mutex, and std::atomic<std::shared_ptr>. The goals are ratios between rows of one
// run.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "benchmark/benchmark.h"
#include "hotpath/core/rcu_cell.h"

namespace hotpath {
namespace {

// The C library drops locks and atomics while a process has one thread.
const bool g_has_had_two_threads = (std::thread([] {}).join(), true);

struct Value {
  std::array<uint64_t, 8> words{1, 2, 3, 4, 5, 6, 7, 8};
};

struct Unguarded {
  std::atomic<const Value*> current{new Value};
  uint64_t Read() const { return current.load(std::memory_order::acquire)->words[3]; }
};
struct Snapshot {
  RcuCell<Value> cell{Value{}};
  uint64_t Read() const { return cell.Load()->words[3]; }
  void Write() { cell.Store(Value{}); }
};
struct ReadFunction {
  RcuCell<Value> cell{Value{}};
  uint64_t Read() const {
    return cell.Read([](const Value& value) { return value.words[3]; });
  }
  void Write() {
    cell.Update([](const Value& value) { return value; });
  }
};
struct LoadShared {
  RcuCell<Value> cell{Value{}};
  uint64_t Read() const { return cell.LoadShared()->words[3]; }
};
struct SharedMutex {
  mutable std::shared_mutex mu;
  std::shared_ptr<const Value> current = std::make_shared<const Value>();
  uint64_t Read() const {
    std::shared_ptr<const Value> copy;
    {
      const std::shared_lock lock(mu);
      copy = current;
    }
    return copy->words[3];
  }
  void Write() {
    std::shared_ptr<const Value> next = std::make_shared<const Value>();
    const std::unique_lock lock(mu);
    current.swap(next);
  }
};
struct AtomicSharedPtr {
  std::atomic<std::shared_ptr<const Value>> current{std::make_shared<const Value>()};
  uint64_t Read() const { return current.load(std::memory_order::acquire)->words[3]; }
  void Write() { current.store(std::make_shared<const Value>(), std::memory_order::release); }
};

template <class T>
void BM_Read(benchmark::State& state) {
  static const T shared;
  uint64_t sum = 0;
  for (auto _ : state) benchmark::DoNotOptimize(sum += shared.Read());
}
BENCHMARK(BM_Read<Unguarded>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<Snapshot>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<ReadFunction>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<LoadShared>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<SharedMutex>)->Threads(1)->Threads(2);
BENCHMARK(BM_Read<AtomicSharedPtr>)->Threads(1)->Threads(2);

void BM_NewDelete(benchmark::State& state) {
  for (auto _ : state) {
    std::shared_ptr<const Value> value = std::make_shared<const Value>();
    benchmark::DoNotOptimize(value.get());
  }
}
BENCHMARK(BM_NewDelete);

template <class T>
void BM_Write(benchmark::State& state) {
  static T shared;
  for (auto _ : state) shared.Write();
}
BENCHMARK(BM_Write<Snapshot>)->Threads(1)->Threads(2);
BENCHMARK(BM_Write<ReadFunction>)->Threads(1)->Threads(2);
BENCHMARK(BM_Write<SharedMutex>)->Threads(1)->Threads(2);
BENCHMARK(BM_Write<AtomicSharedPtr>)->Threads(1)->Threads(2);

}  // namespace
}  // namespace hotpath
