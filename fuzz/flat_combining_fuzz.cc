// The input is a program for a FlatCombiner over a map, and for a counter: pairs of bytes, an operation with an
// argument. Some operations hold the combiner up until others have been published, by threads that are started one
// after another, so that what meets whom is part of the program. The oracle is a map that the same operations are done
// to, in the order in which the combiner must serve them.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/flat_combining.h"

namespace {

using Map = std::map<uint8_t, uint64_t>;

struct WatchedSync : hotpath::StdSync {
  static inline std::atomic<uint32_t> asleep{0};
  static inline thread_local bool counted = false;

  static bool Park(Atomic<uint32_t>& word, uint32_t expected,
                   hotpath::Deadline deadline = hotpath::kNoDeadline) noexcept {
    if (!std::exchange(counted, true)) {
      asleep.fetch_add(1);
      StdSync::Wake(asleep, 1);
    }
    return StdSync::Park(word, expected, deadline);
  }
};

// Threads that do one job at a time, and are started in a known order.
class Worker {
 public:
  // Returns when the job has published its request and sleeps, which it must.
  void Start(std::function<void()> job) {
    job_ = std::move(job);
    const uint32_t asleep = WatchedSync::asleep.load();
    state_.store(kBusy);
    hotpath::StdSync::Wake(state_, 1);
    while (WatchedSync::asleep.load() == asleep) static_cast<void>(hotpath::StdSync::Park(WatchedSync::asleep, asleep));
  }
  void Finish() {
    while (state_.load() == kBusy) static_cast<void>(hotpath::StdSync::Park(state_, kBusy));
  }
  ~Worker() {
    state_.store(kEnd);
    hotpath::StdSync::Wake(state_, 1);
    thread_.join();
  }

 private:
  static constexpr uint32_t kIdle = 0, kBusy = 1, kEnd = 2;

  void Loop() {
    for (;;) {
      while (state_.load() == kIdle) static_cast<void>(hotpath::StdSync::Park(state_, kIdle));
      if (state_.load() == kEnd) return;
      WatchedSync::counted = false;
      job_();
      state_.store(kIdle);
      hotpath::StdSync::Wake(state_, 1);
    }
  }

  std::function<void()> job_;
  std::atomic<uint32_t> state_{kIdle};
  std::thread thread_{[this] { Loop(); }};
};

constexpr size_t kWorkers = 4;
std::array<Worker, kWorkers>& Workers() {
  static std::array<Worker, kWorkers> workers;
  return workers;
}

// What an operation comes to.
struct Answer {
  std::optional<uint64_t> value;
  std::optional<uint8_t> thrown;
  bool operator==(const Answer&) const = default;
};

struct Operation {
  uint8_t op, arg;

  std::optional<uint64_t> operator()(Map& map) const {
    const uint8_t key = arg % 16;
    switch (op / 8 % 5) {
      case 0:
        return map[key] += arg;
      case 1:
        return map.erase(key);
      case 2:
        if (map.empty()) return std::nullopt;
        return map.begin()->second;
      case 3:
        map[key] = 1;
        throw arg;
      default:
        return map.size();
    }
  }
};

template <class F>
Answer AnswerOf(F call) {
  Answer answer;
  try {
    answer.value = call();
  } catch (uint8_t thrown) {
    answer.thrown = thrown;
  }
  return answer;
}

template <uint32_t kBudget>
void RunProgram(const uint8_t* data, size_t size) {
  using Combiner = hotpath::BasicFlatCombiner<Map, hotpath::FlatCombinerOptions{1, 0, kBudget}, WatchedSync>;
  Combiner combiner;
  Map oracle;
  hotpath::flat_combining_internal::Counter<hotpath::FlatCombinerOptions{1, 0, kBudget}, WatchedSync> counter;
  uint64_t count = 0, operations = 0;
  int meetings = 0;

  while (size >= 2) {
    const Operation first{data[0], data[1]};
    data += 2;
    size -= 2;
    const uint8_t kind = first.op % 8;
    if (kind < 3) {
      const Answer expected = AnswerOf([&] { return first(oracle); });
      ++operations;
      HOTPATH_CHECK(AnswerOf([&] { return combiner.Apply(first); }) == expected, "alone");
    } else if (kind < 5) {
      const uint64_t delta = uint64_t{first.arg} << first.op / 8 * 2;
      if (first.op % 16 < 8) {
        HOTPATH_CHECK(counter.FetchAdd(delta) == count, "the previous value");
        count += delta;
      } else {
        HOTPATH_CHECK(counter.FetchSub(delta) == count, "the previous value");
        count -= delta;
      }
      if (first.arg % 8 == 0) counter.SetCombining(first.op >= 128);
      HOTPATH_CHECK(counter.Load() == count);
    } else if (meetings++ < 12) {
      // The first waits inside until `met` others have published; the last of those, when it is served, until `late`
      // more have. All in this order, whoever runs them.
      const size_t met = 1 + first.arg % 2, late = first.arg / 2 % 3, all = met + late;
      std::vector<Operation> others;
      for (; others.size() < all && size >= 2; data += 2, size -= 2) others.push_back({data[0], data[1]});
      if (others.size() < all) break;
      std::vector<Answer> answers(all);
      const auto start = [&](size_t i, std::function<void()> before) {
        Workers()[i].Start([&, i, before = std::move(before)] {
          answers[i] = AnswerOf([&] {
            return combiner.Apply([&](Map& map) {
              before();
              return others[i](map);
            });
          });
        });
      };
      const Answer answer = AnswerOf([&] {
        return combiner.Apply([&](Map& map) {
          for (size_t i = 0; i < met; ++i) {
            start(i, [&, i] {
              for (size_t j = met; i == met - 1 && j < all; ++j) start(j, [] {});
            });
          }
          return first(map);
        });
      });
      for (size_t i = 0; i < all; ++i) Workers()[i].Finish();
      operations += 1 + all;
      HOTPATH_CHECK(answer == AnswerOf([&] { return first(oracle); }), "the combiner's own");
      for (size_t i = 0; i < all; ++i) {
        HOTPATH_CHECK(answers[i] == AnswerOf([&] { return others[i](oracle); }), "another's");
      }
    }
    const hotpath::FlatCombiningStats stats = combiner.Stats();
    HOTPATH_CHECK(stats.combined + stats.direct == operations, "an operation was not counted once");
  }
  HOTPATH_CHECK(combiner.Apply([](const Map& map) { return map; }) == oracle);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  switch (data[0] % 3) {
    case 0:
      RunProgram<64>(data + 1, size - 1);
      break;
    case 1:
      RunProgram<1>(data + 1, size - 1);
      break;
    default:
      RunProgram<0>(data + 1, size - 1);
  }
  return 0;
}
