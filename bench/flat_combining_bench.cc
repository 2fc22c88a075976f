// Compound objects that many threads share: FlatCombiner beside std::mutex and the queue lock of Mellor-Crummey and
// Scott, with the object unsynchronised as the floor; and a counter, where the hardware is hard to beat. After the rows
// it is said where combining wins. Rows of more threads than cores measure the scheduler as well. Figures are ratios
// within one run.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <mutex>
#include <queue>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/flat_combining.h"

namespace hotpath {
namespace {

// ---- Objects, each with an operation that costs something ----

struct Heap {
  static constexpr const char* kName = "heap";
  Heap() {
    for (uint64_t i = 0; i < 1000; ++i) heap.push(i * 0x9e3779b97f4a7c15u);
  }
  uint64_t Do(uint64_t random) {
    heap.push(random);
    const uint64_t top = heap.top();
    heap.pop();
    return top;
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> heap;
};

struct OrderedMap {
  static constexpr const char* kName = "map";
  uint64_t Do(uint64_t random) {
    const uint64_t key = random % 1024;
    if (random >> 32 & 1) return map[key] += random;
    return map.erase(key);
  }
  std::map<uint64_t, uint64_t> map;
};

struct Histogram {
  static constexpr const char* kName = "histogram";
  uint64_t Do(uint64_t random) {
    const uint64_t value = random >> random % 64;
    ++buckets[static_cast<size_t>(64 - __builtin_clzll(value | 1)) % 64];
    sum += value;
    low = std::min(low, value);
    high = std::max(high, value);
    return ++count;
  }
  std::array<uint64_t, 64> buckets{};
  uint64_t sum = 0, low = UINT64_MAX, high = 0, count = 0;
};

struct Number {
  static constexpr const char* kName = "counter";
  uint64_t Do(uint64_t) { return value++; }
  uint64_t value = 0;
};

// ---- Ways to share them ----

template <class Object>
class Plain {
 public:
  static constexpr const char* kName = "unsynchronised";
  uint64_t Do(uint64_t random) { return object_.Do(random); }

 private:
  Object object_;
};

template <class Object>
class Combined {
 public:
  static constexpr const char* kName = "FlatCombiner";
  uint64_t Do(uint64_t random) {
    return combiner_.Apply([random](Object& object) { return object.Do(random); });
  }
  double MeanBatch() const { return combiner_.Stats().MeanBatch(); }

 private:
  FlatCombiner<Object> combiner_;
};

template <class Object>
class Locked {
 public:
  static constexpr const char* kName = "std::mutex";
  uint64_t Do(uint64_t random) {
    std::lock_guard lock(mu_);
    return object_.Do(random);
  }

 private:
  alignas(kCacheLineSize) std::mutex mu_;
  alignas(kCacheLineSize) Object object_;
};

// Waiters yield at times, for with more threads than cores the one whose turn it is may not be running.
template <class Object>
class QueueLocked {
 public:
  static constexpr const char* kName = "MCS lock";
  uint64_t Do(uint64_t random) {
    Node node;
    Node* const before = tail_.exchange(&node, std::memory_order::acq_rel);
    if (before != nullptr) {
      before->next.store(&node, std::memory_order::release);
      for (SpinWait<> wait; node.waits.load(std::memory_order::acquire);) wait();
    }
    const uint64_t result = object_.Do(random);
    Node* next = node.next.load(std::memory_order::acquire);
    if (next == nullptr) {
      Node* last = &node;
      if (tail_.compare_exchange_strong(last, nullptr, std::memory_order::release, std::memory_order::relaxed)) {
        return result;
      }
      for (SpinWait<> wait; (next = node.next.load(std::memory_order::acquire)) == nullptr;) wait();
    }
    next->waits.store(false, std::memory_order::release);
    return result;
  }

 private:
  struct alignas(kCacheLineSize) Node {
    std::atomic<Node*> next{nullptr};
    std::atomic<bool> waits{true};
  };
  alignas(kCacheLineSize) std::atomic<Node*> tail_{nullptr};
  alignas(kCacheLineSize) Object object_;
};

class Atomic {
 public:
  static constexpr const char* kName = "std::atomic";
  uint64_t Do(uint64_t) { return value_.fetch_add(1); }

 private:
  alignas(kCacheLineSize) std::atomic<uint64_t> value_{0};
};

template <bool kCombining>
class OurCounter {
 public:
  static constexpr const char* kName = kCombining ? "FlatCombiningCounter, combining" : "FlatCombiningCounter";
  OurCounter() { counter_.SetCombining(kCombining); }
  uint64_t Do(uint64_t) { return counter_.FetchAdd(1); }
  double MeanBatch() const { return counter_.Stats().MeanBatch(); }

 private:
  FlatCombiningCounter counter_;
};

// ---- Rows ----

// glibc and libstdc++ skip locks and atomics in a process that never had a second thread.
void HadAThread() {
  [[maybe_unused]] static const bool once = [] {
    std::thread([] {}).join();
    return true;
  }();
}

template <class Shared>
void Row(benchmark::State& state) {
  static Shared* shared = nullptr;
  if (state.thread_index() == 0) {
    HadAThread();
    shared = new Shared();
  }
  uint64_t random = static_cast<uint64_t>(state.thread_index() + 1) * 0x9e3779b97f4a7c15u;
  for (auto _ : state) {  // the barrier before the loop publishes `shared`
    random = random * 6364136223846793005u + 1442695040888963407u;
    benchmark::DoNotOptimize(shared->Do(random ^ random >> 29));
  }
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() == 0) {  // all are past the barrier after the loop
    if constexpr (requires { shared->MeanBatch(); }) {
      state.counters["mean batch"] = shared->MeanBatch();
    }
    delete shared;
  }
}

constexpr std::array<int, 5> kThreads = {1, 2, 4, 8, 16};

template <class Shared>
void Register(const char* object, int threads) {
  const std::string name = std::string(object) + "/" + Shared::kName;
  benchmark::RegisterBenchmark(name.c_str(), &Row<Shared>)->Threads(threads)->UseRealTime();
}

template <class Object>
void RegisterObject() {
  Register<Plain<Object>>(Object::kName, 1);
  for (const int threads : kThreads) {  // interleaved: what is compared stands side by side
    Register<Combined<Object>>(Object::kName, threads);
    Register<Locked<Object>>(Object::kName, threads);
    // It hands over to whoever is next, running or not: with more threads than cores each operation is a switch.
    if (threads <= 2 || threads <= static_cast<int>(std::thread::hardware_concurrency())) {
      Register<QueueLocked<Object>>(Object::kName, threads);
    }
  }
}

void RegisterCounter() {
  Register<Plain<Number>>(Number::kName, 1);
  for (const int threads : kThreads) {
    Register<OurCounter<false>>(Number::kName, threads);
    Register<Atomic>(Number::kName, threads);
    Register<OurCounter<true>>(Number::kName, threads);
    Register<Locked<Number>>(Number::kName, threads);
  }
}

// Prints the rows, and then the crossovers.
class Reporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.iterations == 0) continue;
      rows_[run.run_name.function_name][run.threads].push_back(run.counters.at("items_per_second"));
    }
  }
  void Finalize() override {
    ConsoleReporter::Finalize();
    for (const char* object : {Heap::kName, OrderedMap::kName, Histogram::kName}) {
      Compare(object, Combined<Heap>::kName, Locked<Heap>::kName);
      Compare(object, Combined<Heap>::kName, QueueLocked<Heap>::kName);
    }
    Compare(Number::kName, OurCounter<false>::kName, Atomic::kName);
    Compare(Number::kName, OurCounter<true>::kName, Atomic::kName);
  }

 private:
  void Compare(const std::string& object, const std::string& ours, const std::string& theirs) {
    const auto a = rows_.find(object + "/" + ours), b = rows_.find(object + "/" + theirs);
    if (a == rows_.end() || b == rows_.end()) return;
    std::printf("%s: throughput of %s over %s:", object.c_str(), ours.c_str(), theirs.c_str());
    std::string wins;
    for (const auto& [threads, throughput] : a->second) {
      const auto other = b->second.find(threads);
      if (other == b->second.end()) continue;
      const double ratio = Median(throughput) / Median(other->second);
      std::printf("  %.2f (%d)", ratio, static_cast<int>(threads));
      if (ratio > 1.05) wins += " " + std::to_string(threads);
    }
    std::printf("; wins with%s threads, on %u processors\n", wins.empty() ? " no number of" : wins.c_str(),
                std::thread::hardware_concurrency());
  }
  static double Median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  std::map<std::string, std::map<int64_t, std::vector<double>>> rows_;
};

// What the counter itself finds out, here and now.
void PrintTuning() {
  FlatCombiningCounter counter;
  std::atomic<bool> stop{false};
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < std::max(2u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back([&] {
      while (!stop.load(std::memory_order::relaxed)) counter.FetchAdd(1);
    });
  }
  const bool combines = counter.Tune();
  stop.store(true);
  std::printf("counter: under load on every processor, Tune() %s\n", combines ? "combines" : "stays with the hardware");
}

}  // namespace
}  // namespace hotpath

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  hotpath::RegisterObject<hotpath::Heap>();
  hotpath::RegisterObject<hotpath::OrderedMap>();
  hotpath::RegisterObject<hotpath::Histogram>();
  hotpath::RegisterCounter();
  hotpath::Reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  hotpath::PrintTuning();
  benchmark::Shutdown();
}
