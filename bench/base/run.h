#ifndef HOTPATH_BENCH_BASE_RUN_H_
#define HOTPATH_BENCH_BASE_RUN_H_

#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/rows.h"
#include "bench/base/statistics.h"

namespace hotpath::bench {

struct RunOptions {
  int rounds = 15;
  int accept = 25;           // windows a round
  double min_time_s = 0.05;  // of a Google Benchmark repetition
  bool smoke = false;        // only shows that everything runs: one round of one short window, nothing is judged
  std::string filter = {};   // rows whose id contains it

  static RunOptions Quick() { return {.rounds = 3, .accept = 10, .min_time_s = 0.01}; }
  static RunOptions Smoke() { return {.rounds = 1, .accept = 1, .min_time_s = 0.001, .smoke = true}; }
};

struct Latency {
  double p50 = 0, p99 = 0, p999 = 0;  // ns, with what looking at the clock costs taken off
};

struct ContenderResult {
  Role role;
  std::string name;
  bool installed = true;
  std::string error = {};                          // of Google Benchmark
  std::vector<std::optional<double>> rounds = {};  // the figure of each; nothing where nothing was accepted
  int accepted = 0, started_late = 0, ended_late = 0, preempted = 0;  // windows
  uint64_t torn = 0, lost = 0;
  std::optional<double> fairness = {};
  std::optional<Latency> latency = {};
  std::map<std::string, double> counters = {};  // of Google Benchmark

  bool wrong() const noexcept { return torn != 0 || lost != 0; }
  // Nothing if it is not installed, is wrong, or was never accepted.
  std::optional<Spread> Figure() const;
};

struct RowResult {
  RowOptions options;
  std::string clock;  // what the figures are: "window", "thread cpu", "google benchmark", "sample"
  std::vector<ContenderResult> contenders;
  std::vector<Goal> goals;

  const ContenderResult* Find(const std::string& name) const;
  const ContenderResult* First(Role role) const;
  bool wrong() const noexcept;
};

// Every row that was registered, in order of registration by file and then by call.
Rows RegisteredRows();

// `progress` may be null.
std::vector<RowResult> RunRows(const Rows& rows, const RunOptions& options, std::FILE* progress);

// For people.
void PrintTable(const std::vector<RowResult>& results, const std::vector<RowResult>& floors, std::FILE* out);

// For tools; bench/report.py reads it.
std::string ToJson(const std::string& binary, const RunOptions& options, const std::vector<RowResult>& results,
                   const std::vector<RowResult>& floors);

// {contender name -> its figure in each round} of registered Google Benchmarks, in interleaved repetitions.
struct GoogleFigure {
  std::vector<std::optional<double>> rounds;
  std::map<std::string, double> counters;
  std::string error;
};
std::map<std::string, GoogleFigure> RunGoogleBenchmarks(const std::vector<std::string>& names,
                                                        const RunOptions& options);

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_RUN_H_
