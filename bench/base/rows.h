#ifndef HOTPATH_BENCH_BASE_ROWS_H_
#define HOTPATH_BENCH_BASE_ROWS_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/keep.h"
#include "bench/base/statistics.h"
#include "bench/base/ticks.h"
#include "bench/base/window.h"

// Rows: contenders measured beside each other in one run. bench/README.md explains them with an example.

namespace hotpath::bench {

enum class Role : uint8_t {
  kNaive,    // what one writes without the library
  kOurs,     // the first one is the row's; goals are about it
  kPeer,     // somebody else's library
  kFloor,    // what physics or the unsynchronised program takes
  kVariant,  // another setting of ours, for comparison
};

// A thread of a row.
class Worker {
 public:
  Worker(int worker_index, bool is_background) : index(worker_index), background(is_background) {}

  int index;        // measured threads come first: 0, 1, ...
  bool background;  // one that runs beside the measured ones
  uint64_t torn = 0;

  // Call it when a value was read that nobody wrote. The row is then wrong and gets no number.
  void Torn() noexcept { ++torn; }

  uint64_t Random() noexcept {  // xorshift64* (Vigna, 2016)
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return random_ * 0x2545f4914f6cdd1du;
  }

 private:
  uint64_t random_ = 0x9e3779b97f4a7c15u * static_cast<uint64_t>(index + 1);
};

struct Performed {
  uint64_t measured = 0, background = 0;  // operations since the contender was made
};

struct Idle {
  void operator()() const noexcept {}
};

// What a contender's factory returns if it has more to say than its operation.
template <class Run, class Background = Idle>
struct Ops {
  Run run;
  Background background{};
  std::function<void(Worker&)> thread_begin, thread_end;
  std::function<uint64_t(const Performed&)> lost;

  explicit Ops(Run operation) : run(std::move(operation)) {}
  Ops(Run operation, Background other) : run(std::move(operation)), background(std::move(other)) {}

  // What RowOptions::background threads do meanwhile.
  template <class Other>
  Ops<Run, Other> WithBackground(Other other) && {
    Ops<Run, Other> ops(std::move(run), std::move(other));
    ops.thread_begin = std::move(thread_begin);
    ops.thread_end = std::move(thread_end);
    ops.lost = std::move(lost);
    return ops;
  }
  // On every thread, before its first and after its last operation: f(Worker&).
  Ops OnThread(std::function<void(Worker&)> begin, std::function<void(Worker&)> end) && {
    thread_begin = std::move(begin);
    thread_end = std::move(end);
    return std::move(*this);
  }
  // After all threads: how many updates are missing (or too many), given how many were performed.
  Ops CountLost(std::function<uint64_t(const Performed&)> count) && {
    lost = std::move(count);
    return std::move(*this);
  }
};

namespace rows_internal {

template <class>
inline constexpr bool kIsOps = false;
template <class R, class B>
inline constexpr bool kIsOps<Ops<R, B>> = true;

template <class Run>
[[gnu::always_inline]] inline void Call(Run& run, Worker& worker) {
  if constexpr (std::invocable<Run&, Worker&>) {
    run(worker);
  } else {
    run();
  }
}

// The loop that is measured. `mine` is copied so that the compiler can keep what it captured in registers.
template <class Run>
[[gnu::noinline]] ThreadWindow Spin(std::optional<Run>& mine, Worker& worker, uint64_t stop, uint64_t batch) {
  Run run(std::move(*mine));
  Worker local = worker;
  ThreadWindow window;
  window.begin = Ticks();
  do {
    for (uint64_t i = batch; i != 0; --i) {
      Call(run, local);
      asm volatile("" : : : "memory");
    }
    window.ops += batch;
    window.end = Ticks();
  } while (window.end < stop);
  worker = local;
  mine.emplace(std::move(run));
  return window;
}

// The same, looking at the clock around every operation.
template <class Run>
[[gnu::noinline]] ThreadWindow SpinTimed(std::optional<Run>& mine, Worker& worker, uint64_t stop,
                                         Histogram& histogram) {
  ThreadWindow window;
  window.begin = window.end = Ticks();
  do {
    const uint64_t before = Ticks();
    Call(*mine, worker);
    asm volatile("" : : : "memory");
    window.end = Ticks();
    histogram.Add(window.end - before);
    ++window.ops;
  } while (window.end < stop);
  return window;
}

// A contender as it stands, for one or more rounds.
class Instance {
 public:
  virtual ~Instance() = default;
  virtual void Begin(Worker& worker) = 0;
  virtual void End(Worker& worker) = 0;
  virtual ThreadWindow Run(Worker& worker, uint64_t stop, uint64_t batch) = 0;
  virtual ThreadWindow RunTimed(Worker& worker, uint64_t stop, Histogram& histogram) = 0;
  virtual uint64_t Lost(const Performed& performed) = 0;
};

template <class R, class B>
class OpsInstance final : public Instance {
 public:
  OpsInstance(Ops<R, B> ops, int threads) : ops_(std::move(ops)), seats_(static_cast<size_t>(threads)) {}

  void Begin(Worker& worker) override {
    Seat& seat = seats_[static_cast<size_t>(worker.index)];
    if (worker.background) {
      if (!seat.background) seat.background.emplace(ops_.background);
    } else {
      if (!seat.run) seat.run.emplace(ops_.run);
    }
    if (ops_.thread_begin) ops_.thread_begin(worker);
  }
  void End(Worker& worker) override {
    if (ops_.thread_end) ops_.thread_end(worker);
  }
  ThreadWindow Run(Worker& worker, uint64_t stop, uint64_t batch) override {
    Seat& seat = seats_[static_cast<size_t>(worker.index)];
    return worker.background ? Spin(seat.background, worker, stop, batch) : Spin(seat.run, worker, stop, batch);
  }
  ThreadWindow RunTimed(Worker& worker, uint64_t stop, Histogram& histogram) override {
    Seat& seat = seats_[static_cast<size_t>(worker.index)];
    return worker.background ? Spin(seat.background, worker, stop, 1) : SpinTimed(seat.run, worker, stop, histogram);
  }
  uint64_t Lost(const Performed& performed) override { return ops_.lost ? ops_.lost(performed) : 0; }

 private:
  struct alignas(256) Seat {
    std::optional<R> run;
    std::optional<B> background;
  };
  Ops<R, B> ops_;
  std::vector<Seat> seats_;
};

}  // namespace rows_internal

struct RowOptions {
  std::string id = {};     // "counter/add/t2": unique, <what>/<which>/<threads>
  int optimisation = 0;    // of the seed, 1 to 15
  std::string claim = {};  // of bench/claims.json that this row answers: "" if none
  int threads = 1;         // measured
  int background = 0;      // running beside them
  bool latency = false;    // also p50, p99 and p99.9 of single operations
  std::string floor = {};  // a standard floor to compare with, of bench/base/floors.h: "rmw", "line_transfer", ...
  bool fresh = true;       // make the contender anew for each round; false if that takes long
  std::string unit = "ns";
  std::string note = {};  // a sentence for the report
};

struct Goal {
  std::string against;  // name of another contender, or the standard floor
  bool at_least;        // its figure / ours >= ratio; otherwise ours / its <= ratio
  double ratio;
};

// What the type of a peer is where its library is not installed.
struct Missing {};

struct Contender {
  enum class Kind : uint8_t { kOps, kGoogleBenchmark, kSample, kMissing };

  Role role;
  std::string name;
  Kind kind;
  std::function<std::unique_ptr<rows_internal::Instance>(int threads)> make;  // kOps
  std::string benchmark;                                                      // kGoogleBenchmark
  std::function<std::optional<double>()> sample;                              // kSample
};

class Row {
 public:
  explicit Row(RowOptions options) : options_(std::move(options)) {}

  // make() returns the operation, op() or op(Worker&), or an Ops. It is called on the main thread, not timed, for each
  // round. Every thread has a copy of the operation: what threads share is behind a pointer, see Isolated().
  template <class Make>
  Row& Add(Role role, std::string name, Make make) {
    Contender contender{role, std::move(name), Contender::Kind::kOps, {}, {}, {}};
    contender.make = [make](int threads) -> std::unique_ptr<rows_internal::Instance> {
      auto made = make();
      if constexpr (rows_internal::kIsOps<decltype(made)>) {
        return Erase(std::move(made), threads);
      } else {
        return Erase(Ops<decltype(made)>(std::move(made)), threads);
      }
    };
    contenders_.push_back(std::move(contender));
    return *this;
  }
  template <class Make>
  Row& Naive(std::string name, Make make) {
    return Add(Role::kNaive, std::move(name), std::move(make));
  }
  template <class Make>
  Row& Ours(std::string name, Make make) {
    return Add(Role::kOurs, std::move(name), std::move(make));
  }
  template <class Make>
  Row& Variant(std::string name, Make make) {
    return Add(Role::kVariant, std::move(name), std::move(make));
  }
  template <class Make>
  Row& Peer(std::string name, Make make) {
    return Add(Role::kPeer, std::move(name), std::move(make));
  }
  template <class Make>
  Row& Floor(std::string name, Make make) {
    return Add(Role::kFloor, std::move(name), std::move(make));
  }
  // One that make.operator()<T>() makes, unless T is Missing.
  template <class T, class Make>
  Row& PeerOf(std::string name, Make make) {
    if constexpr (std::is_same_v<T, Missing>) {
      return NotInstalled(std::move(name));
    } else {
      return Peer(std::move(name), [make] { return make.template operator()<T>(); });
    }
  }
  // A peer that this machine does not have.
  Row& NotInstalled(std::string name) {
    contenders_.push_back({Role::kPeer, std::move(name), Contender::Kind::kMissing, {}, {}, {}});
    return *this;
  }
  // One that is measured by Google Benchmark, in interleaved repetitions: CPU time per item if the benchmark counts
  // items, else per iteration. `registered` is the name it prints, "BM_Copy<InlineString>/16". One thread.
  Row& Benchmark(Role role, std::string name, std::string registered) {
    contenders_.push_back({role, std::move(name), Contender::Kind::kGoogleBenchmark, {}, std::move(registered), {}});
    return *this;
  }
  // One that measures itself: sample() returns a figure in the row's unit, or nothing. Called once a round, on the main
  // thread. For what is no loop of like operations, and for counts (allocations, bytes).
  Row& Sample(Role role, std::string name, std::function<std::optional<double>()> sample) {
    contenders_.push_back({role, std::move(name), Contender::Kind::kSample, {}, {}, std::move(sample)});
    return *this;
  }

  // performance.md's goals, ratios within this row: ours takes at most 1/`ratio` of what `against` takes; or at most
  // `ratio` times as much.
  Row& AtLeast(double ratio, std::string against) {
    goals_.push_back({std::move(against), true, ratio});
    return *this;
  }
  Row& AtMost(double ratio, std::string against) {
    goals_.push_back({std::move(against), false, ratio});
    return *this;
  }

  const RowOptions& options() const noexcept { return options_; }
  const std::vector<Contender>& contenders() const noexcept { return contenders_; }
  const std::vector<Goal>& goals() const noexcept { return goals_; }

 private:
  template <class R, class B>
  static std::unique_ptr<rows_internal::Instance> Erase(Ops<R, B> ops, int threads) {
    return std::make_unique<rows_internal::OpsInstance<R, B>>(std::move(ops), threads);
  }

  RowOptions options_;
  std::vector<Contender> contenders_;
  std::vector<Goal> goals_;
};

class Rows {
 public:
  Row& Add(RowOptions options) { return rows_.emplace_back(std::move(options)); }
  const std::deque<Row>& all() const noexcept { return rows_; }

 private:
  std::deque<Row> rows_;
};

// In a file that links //bench/base:
//   HOTPATH_BENCH_ROWS(rows) { rows.Add({...})...; }
#define HOTPATH_BENCH_ROWS(rows)                                                           \
  static void HotpathBenchRows(::hotpath::bench::Rows&);                                   \
  static const bool hotpath_bench_rows = ::hotpath::bench::RegisterRows(HotpathBenchRows); \
  static void HotpathBenchRows([[maybe_unused]] ::hotpath::bench::Rows& rows)

using RowsFunction = void (*)(Rows&);
bool RegisterRows(RowsFunction function);

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_ROWS_H_
