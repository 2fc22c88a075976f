// Compound objects that many threads share: FlatCombiner beside std::mutex and the queue lock of Mellor-Crummey and
// Scott, with the unsynchronised object as the floor; and a counter, where the hardware is hard to beat. Read across
// the numbers of threads, the rows of an object show from where on combining wins.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "bench/base/rows.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/flat_combining.h"

#if HOTPATH_HAVE_LIBCDS && HOTPATH_HAVE_BOOST_THREAD
#include "cds/algo/flat_combining/kernel.h"
#endif

namespace hotpath::bench {
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

struct Word {  // costs next to nothing: what sharing takes
  static constexpr const char* kName = "word";
  uint64_t Do(uint64_t random) { return value += random; }
  uint64_t value = 0;
};

// ---- Ways to share them ----

template <class Object>
class Plain {
 public:
  uint64_t Do(uint64_t random) { return object_.Do(random); }

 private:
  Object object_;
};

template <class Object>
class Combined {
 public:
  uint64_t Do(uint64_t random) {
    return combiner_.Apply([random](Object& object) { return object.Do(random); });
  }

 private:
  FlatCombiner<Object> combiner_;
};

template <class Object>
class Locked {
 public:
  uint64_t Do(uint64_t random) {
    std::lock_guard lock(mu_);
    return object_.Do(random);
  }

 private:
  alignas(kCacheLineSize) std::mutex mu_;
  alignas(kCacheLineSize) Object object_;
};

template <class Object>
class AbslLocked {
 public:
  uint64_t Do(uint64_t random) {
    absl::MutexLock lock(&mu_);
    return object_.Do(random);
  }

 private:
  alignas(kCacheLineSize) absl::Mutex mu_;
  alignas(kCacheLineSize) Object object_;
};

#if HOTPATH_HAVE_LIBCDS && HOTPATH_HAVE_BOOST_THREAD
// Waiters yield: by default they would sleep for 2 ms.
template <class Object>
class CdsCombined {
 public:
  struct Record : cds::algo::flat_combining::publication_record {
    uint64_t random = 0, result = 0;
  };
  uint64_t Do(uint64_t random) {
    auto* const record = kernel_.acquire_record();
    record->random = random;
    kernel_.combine(cds::algo::flat_combining::req_Operation, record, *this);
    const uint64_t result = record->result;
    kernel_.release_record(record);
    return result;
  }
  void fc_apply(Record* record) { record->result = object_.Do(record->random); }

 private:
  struct Traits : cds::algo::flat_combining::traits {
    using wait_strategy = cds::algo::flat_combining::wait_strategy::backoff<cds::backoff::exponential<>>;
  };
  cds::algo::flat_combining::kernel<Record, Traits> kernel_;
  alignas(kCacheLineSize) Object object_;
};
#endif

// Waiters yield at times, for with more threads than cores the one whose turn it is may not be running.
template <class Object>
class QueueLocked {
 public:
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

// ---- Rows ----

template <class Shared>
auto Use() {
  const auto shared = Isolated<Shared>();
  return [shared](Worker& worker) { Keep(shared->Do(worker.Random())); };
}

// An exact counter: every addition must be in it.
template <class Counter, class Load>
auto Count(const std::shared_ptr<Counter>& counter, Load load) {
  return Ops([counter] {
           if constexpr (requires { counter->FetchAdd(1); }) {
             Keep(counter->FetchAdd(1));
           } else {
             Keep(counter->fetch_add(1));
           }
         })
      .CountLost([counter, load](const Performed& done) { return done.measured - load(*counter); });
}
auto CountOurs(bool combining) {
  const auto counter = Isolated<FlatCombiningCounter>();
  counter->SetCombining(combining);
  return Count(counter, [](const FlatCombiningCounter& c) { return c.Load(); });
}

template <class Object>
void AddObject(Rows& rows) {
  for (const int threads : {1, 2, 4, 8, 16}) {
    Row& row = rows.Add({.id = std::string("combine/") + Object::kName + "/t" + std::to_string(threads),
                         .optimisation = 1,
                         .threads = threads,
                         .latency = threads > 1});
    row.Naive("std::mutex", [] { return Use<Locked<Object>>(); }).Ours("FlatCombiner", [] {
      return Use<Combined<Object>>();
    });
    if (threads == 1) row.Floor("unsynchronised", [] { return Use<Plain<Object>>(); });
    // It hands over to whoever is next, running or not: with more threads than cores each operation is a switch.
    if (threads <= 2 || threads <= static_cast<int>(std::thread::hardware_concurrency())) {
      row.Peer("MCS lock", [] { return Use<QueueLocked<Object>>(); });
    }
    row.Peer("absl::Mutex", [] { return Use<AbslLocked<Object>>(); });
#if HOTPATH_HAVE_LIBCDS && HOTPATH_HAVE_BOOST_THREAD
    row.Peer("libcds", [] { return Use<CdsCombined<Object>>(); });
#else
    row.NotInstalled("libcds");
#endif
    if (std::is_same_v<Object, Word>) continue;  // nobody should combine that: the goals are about compound operations
    if (threads == 1) row.AtLeast(3, "libcds");
    if (threads == 2) row.AtLeast(1, "std::mutex");
  }
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 4, 8, 16}) {
    rows.Add({.id = "counter/fetch_add/t" + std::to_string(threads),
              .optimisation = 1,
              .claim = threads == 16 ? "counter" : "",
              .threads = threads,
              .latency = threads > 1,
              .note = "an exact counter is as fast as the hardware's addition, and no faster"})
        .Naive("std::atomic",
               [] {
                 return Count(Isolated<std::atomic<uint64_t>>(0),
                              [](const std::atomic<uint64_t>& n) { return n.load(); });
               })
        .Ours("FlatCombiningCounter", [] { return CountOurs(false); })
        .Variant("combining", [] { return CountOurs(true); })
        .AtLeast(0.97, "std::atomic");
  }
  AddObject<Word>(rows);
  AddObject<Heap>(rows);
  AddObject<OrderedMap>(rows);
  AddObject<Histogram>(rows);
}

}  // namespace
}  // namespace hotpath::bench
