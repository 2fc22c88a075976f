#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "bench/base/run.h"
#include "benchmark/benchmark.h"

namespace hotpath::bench {
namespace {

// Collects; prints nothing.
class Collector : public benchmark::BenchmarkReporter {
 public:
  explicit Collector(std::map<std::string, GoogleFigure>* figures) : figures_(figures) {}

  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      GoogleFigure& figure = (*figures_)[run.run_name.str()];
      if (run.error_occurred) {
        figure.error = run.error_message;
        continue;
      }
      const auto items = run.counters.find("items_per_second");
      figure.rounds.push_back(items != run.counters.end()
                                  ? 1e9 / items->second.value
                                  : run.GetAdjustedCPUTime() * 1e9 / GetTimeUnitMultiplier(run.time_unit));
      for (const auto& [name, counter] : run.counters) figure.counters[name] = counter.value;
    }
  }

 private:
  std::map<std::string, GoogleFigure>* figures_;
};

std::string Escaped(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (std::string(".[]{}()\\*+?^$|").find(c) != std::string::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::map<std::string, GoogleFigure> RunGoogleBenchmarks(const std::vector<std::string>& names,
                                                        const RunOptions& options) {
  std::string filter = "^(";
  for (const std::string& name : names) filter += (filter.size() > 2 ? "|" : "") + Escaped(name);
  filter += ")$";
  std::vector<std::string> flags = {
      "bench",
      "--benchmark_filter=" + filter,
      "--benchmark_repetitions=" + std::to_string(options.rounds),
      "--benchmark_enable_random_interleaving=true",
      "--benchmark_min_time=" + std::to_string(options.min_time_s),
  };
  std::vector<char*> argv;
  for (std::string& flag : flags) argv.push_back(flag.data());
  int argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  std::map<std::string, GoogleFigure> figures;
  Collector collector(&figures);
  benchmark::RunSpecifiedBenchmarks(&collector);
  return figures;
}

}  // namespace hotpath::bench
