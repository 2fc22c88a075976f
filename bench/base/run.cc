#include "bench/base/run.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <set>

#include "bench/base/ticks.h"
#include "bench/base/window.h"

namespace hotpath::bench {
namespace {

using rows_internal::Instance;

constexpr double kSmokeWindowNs = 20'000;
constexpr double kOversubscribedNs = 30e6;

std::vector<RowsFunction>& Functions() {
  static std::vector<RowsFunction> functions;
  return functions;
}

// A contender of a row as it is being measured.
struct Entry {
  const Contender* contender;
  ContenderResult result;
  std::unique_ptr<Instance> instance;
  Performed performed;
};

std::vector<Worker> Workers(const RowOptions& row) {
  std::vector<Worker> workers;
  for (int i = 0; i < row.threads + row.background; ++i) workers.emplace_back(i, i >= row.threads);
  return workers;
}

WindowOptions Windows(const RowOptions& row, const RunOptions& options) {
  WindowOptions windows{.measured = row.threads, .background = row.background, .accept = options.accept};
  if (options.smoke) {
    windows.window_ns = kSmokeWindowNs;
    windows.judge = false;
  }
  return windows;
}

bool Oversubscribed(const RowOptions& row) { return row.threads + row.background > Cores(); }

// What two looks at the clock cost with nothing between them.
double ClockCostTicks() {
  static const double cost = [] {
    std::vector<double> costs;
    for (int i = 0; i < 10'000; ++i) {
      const uint64_t before = Ticks();
      costs.push_back(static_cast<double>(Ticks() - before));
    }
    return *Median(costs);
  }();
  return cost;
}

void MeasureOps(const RowOptions& row, const RunOptions& options, Entry& entry) {
  std::vector<Worker> workers = Workers(row);
  const auto at = [&](int thread) -> Worker& { return workers[static_cast<size_t>(thread)]; };
  if (!entry.instance) entry.instance = entry.contender->make(row.threads + row.background);
  Instance& instance = *entry.instance;
  const ThreadHook begin = [&](int thread) { instance.Begin(at(thread)); };
  const ThreadHook end = [&](int thread) { instance.End(at(thread)); };
  const WindowBody body = [&](int thread, uint64_t stop, uint64_t batch) {
    return instance.Run(at(thread), stop, batch);
  };
  const WindowOptions windows = Windows(row, options);
  const WindowRound round =
      Oversubscribed(row)
          ? RunOversubscribed(windows, options.smoke ? kSmokeWindowNs : kOversubscribedNs, begin, body, end)
          : RunWindows(windows, begin, body, end);
  ContenderResult& result = entry.result;
  result.rounds.push_back(round.MedianNs());
  result.accepted += static_cast<int>(round.ns.size());
  result.started_late += round.started_late;
  result.ended_late += round.ended_late;
  result.preempted += round.preempted;
  if (row.threads > 1) {
    if (const std::optional<double> fairness = Median(round.fairness)) result.fairness = fairness;
  }
  for (const Worker& worker : workers) result.torn += worker.torn;
  entry.performed.measured += round.measured_ops;
  entry.performed.background += round.background_ops;
}

// One more round, with the clock read around every operation.
void MeasureLatency(const RowOptions& row, const RunOptions& options, Entry& entry) {
  if (Oversubscribed(row)) return;
  std::vector<Worker> workers = Workers(row);
  std::vector<Histogram> histograms(workers.size());
  Histogram accepted;
  const auto at = [&](int thread) -> Worker& { return workers[static_cast<size_t>(thread)]; };
  if (!entry.instance) entry.instance = entry.contender->make(row.threads + row.background);
  Instance& instance = *entry.instance;
  const WindowRound round = RunWindows(
      Windows(row, options), [&](int thread) { instance.Begin(at(thread)); },
      [&](int thread, uint64_t stop, uint64_t) {
        return instance.RunTimed(at(thread), stop, histograms[static_cast<size_t>(thread)]);
      },
      [&](int thread) { instance.End(at(thread)); },
      [&](WindowVerdict verdict, std::span<const ThreadWindow>) {
        for (Histogram& histogram : histograms) {
          if (verdict == WindowVerdict::kAccepted) accepted.Merge(histogram);
          histogram = {};
        }
      });
  for (const Worker& worker : workers) entry.result.torn += worker.torn;
  entry.performed.measured += round.measured_ops;
  entry.performed.background += round.background_ops;
  if (accepted.count() == 0) return;
  const auto ns = [&](double q) {
    return std::max(0.0, TicksToNs(static_cast<double>(accepted.Quantile(q)) - ClockCostTicks()));
  };
  entry.result.latency = Latency{ns(0.5), ns(0.99), ns(0.999)};
}

void Dispose(Entry& entry) {
  if (entry.instance) entry.result.lost += entry.instance->Lost(entry.performed);
  entry.instance.reset();
  entry.performed = {};
}

std::string ClockOf(const Row& row) {
  for (const Contender& contender : row.contenders()) {
    switch (contender.kind) {
      case Contender::Kind::kOps:
        return Oversubscribed(row.options()) ? "thread cpu" : "window";
      case Contender::Kind::kGoogleBenchmark:
        return "google benchmark";
      case Contender::Kind::kSample:
        return "sample";
      case Contender::Kind::kMissing:
        break;
    }
  }
  return "none";
}

RowResult RunRow(const Row& row, const RunOptions& options) {
  std::vector<Entry> entries;
  std::vector<std::string> benchmarks;
  for (const Contender& contender : row.contenders()) {
    Entry& entry = entries.emplace_back();
    entry.contender = &contender;
    entry.result.role = contender.role;
    entry.result.name = contender.name;
    entry.result.installed = contender.kind != Contender::Kind::kMissing;
    if (contender.kind == Contender::Kind::kGoogleBenchmark) benchmarks.push_back(contender.benchmark);
  }
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < entries.size(); ++i) {
      // Every contender goes first once.
      Entry& entry = entries[(i + static_cast<size_t>(round)) % entries.size()];
      if (entry.contender->kind == Contender::Kind::kSample) {
        entry.result.rounds.push_back(entry.contender->sample());
        if (entry.result.rounds.back()) ++entry.result.accepted;
      } else if (entry.contender->kind == Contender::Kind::kOps) {
        MeasureOps(row.options(), options, entry);
        if (row.options().fresh) Dispose(entry);
      }
    }
  }
  if (!benchmarks.empty()) {
    const std::map<std::string, GoogleFigure> figures = RunGoogleBenchmarks(benchmarks, options);
    for (Entry& entry : entries) {
      if (entry.contender->kind != Contender::Kind::kGoogleBenchmark) continue;
      const auto found = figures.find(entry.contender->benchmark);
      if (found == figures.end()) {
        entry.result.error = "no Google Benchmark is called " + entry.contender->benchmark;
        continue;
      }
      entry.result.rounds = found->second.rounds;
      entry.result.counters = found->second.counters;
      entry.result.error = found->second.error;
      entry.result.accepted = static_cast<int>(found->second.rounds.size());
    }
  }
  RowResult result{row.options(), ClockOf(row), {}, row.goals()};
  for (Entry& entry : entries) {
    if (row.options().latency && entry.contender->kind == Contender::Kind::kOps) {
      MeasureLatency(row.options(), options, entry);
    }
    Dispose(entry);
    result.contenders.push_back(std::move(entry.result));
  }
  return result;
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 ? "%.2f" : value < 1000 ? "%.1f" : "%.0f", value);
  return text;
}

const char* RoleName(Role role) {
  switch (role) {
    case Role::kNaive:
      return "naive";
    case Role::kOurs:
      return "ours";
    case Role::kPeer:
      return "peer";
    case Role::kFloor:
      return "floor";
    case Role::kVariant:
      return "variant";
  }
  return "";
}

const RowResult* FindFloor(const std::vector<RowResult>& floors, const std::string& name) {
  for (const RowResult& floor : floors) {
    if (floor.options.id == "floor/" + name) return &floor;
  }
  return nullptr;
}

// The rounds of a contender or of a standard floor. A floor is measured apart, so its median stands for each round.
std::optional<Spread> RatioTo(const RowResult& row, const std::vector<RowResult>& floors, const std::string& against,
                              const ContenderResult& ours) {
  if (ours.wrong()) return std::nullopt;
  if (const ContenderResult* other = row.Find(against)) {
    if (other->wrong()) return std::nullopt;
    return Ratio(other->rounds, ours.rounds);
  }
  const RowResult* floor = FindFloor(floors, against);
  if (floor == nullptr) return std::nullopt;
  const std::optional<Spread> figure = floor->contenders.front().Figure();
  if (!figure) return std::nullopt;
  return Ratio(std::vector<std::optional<double>>(ours.rounds.size(), figure->median), ours.rounds);
}

std::string Quote(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", u);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string JsonNumber(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}
std::string JsonNumber(const std::optional<double>& value) { return value ? JsonNumber(*value) : "null"; }

std::string JsonContender(const ContenderResult& c) {
  std::string rounds;
  for (const std::optional<double>& round : c.rounds) {
    if (!rounds.empty()) rounds += ", ";
    rounds += JsonNumber(round);
  }
  std::string out =
      "{\"name\": " + Quote(c.name) + ", \"role\": " + Quote(RoleName(c.role)) +
      ", \"installed\": " + (c.installed ? "true" : "false") + ", \"rounds\": [" + rounds +
      "], \"accepted\": " + std::to_string(c.accepted) + ", \"started_late\": " + std::to_string(c.started_late) +
      ", \"ended_late\": " + std::to_string(c.ended_late) + ", \"preempted\": " + std::to_string(c.preempted) +
      ", \"torn\": " + std::to_string(c.torn) + ", \"lost\": " + std::to_string(c.lost);
  if (!c.error.empty()) out += ", \"error\": " + Quote(c.error);
  if (c.fairness) out += ", \"fairness\": " + JsonNumber(c.fairness);
  if (c.latency) {
    out += ", \"p50\": " + JsonNumber(c.latency->p50) + ", \"p99\": " + JsonNumber(c.latency->p99) +
           ", \"p999\": " + JsonNumber(c.latency->p999);
  }
  std::string counters;
  for (const auto& [name, value] : c.counters) {
    if (!counters.empty()) counters += ", ";
    counters += Quote(name) + ": " + JsonNumber(value);
  }
  if (!counters.empty()) out += ", \"counters\": {" + counters + "}";
  return out + "}";
}

std::string JsonRow(const RowResult& row) {
  const RowOptions& o = row.options;
  std::string out = "{\"id\": " + Quote(o.id) + ", \"optimisation\": " + std::to_string(o.optimisation) +
                    ", \"claim\": " + Quote(o.claim) + ", \"threads\": " + std::to_string(o.threads) +
                    ", \"background\": " + std::to_string(o.background) + ", \"unit\": " + Quote(o.unit) +
                    ", \"clock\": " + Quote(row.clock) + ", \"floor\": " + Quote(o.floor) +
                    ", \"note\": " + Quote(o.note) + ",\n     \"goals\": [";
  for (size_t i = 0; i < row.goals.size(); ++i) {
    const Goal& goal = row.goals[i];
    out += std::string(i != 0 ? ", " : "") + "{\"against\": " + Quote(goal.against) +
           ", \"at_least\": " + (goal.at_least ? "true" : "false") + ", \"ratio\": " + JsonNumber(goal.ratio) + "}";
  }
  out += "],\n     \"contenders\": [\n";
  for (size_t i = 0; i < row.contenders.size(); ++i) {
    out += "      " + JsonContender(row.contenders[i]) + (i + 1 < row.contenders.size() ? ",\n" : "\n");
  }
  return out + "     ]}";
}

std::string JsonRows(const std::vector<RowResult>& rows) {
  std::string out;
  for (const RowResult& row : rows) {
    if (!out.empty()) out += ",\n";
    out += "    " + JsonRow(row);
  }
  return out;
}

}  // namespace

bool RegisterRows(RowsFunction function) {
  Functions().push_back(function);
  return true;
}

Rows RegisteredRows() {
  Rows rows;
  for (const RowsFunction function : Functions()) function(rows);
  return rows;
}

std::optional<Spread> ContenderResult::Figure() const {
  if (wrong()) return std::nullopt;
  std::vector<double> figures;
  for (const std::optional<double>& round : rounds) {
    if (round) figures.push_back(*round);
  }
  return Summarize(figures);
}

const ContenderResult* RowResult::Find(const std::string& name) const {
  for (const ContenderResult& contender : contenders) {
    if (contender.name == name) return &contender;
  }
  return nullptr;
}

const ContenderResult* RowResult::First(Role role) const {
  for (const ContenderResult& contender : contenders) {
    if (contender.role == role) return &contender;
  }
  return nullptr;
}

bool RowResult::wrong() const noexcept {
  return std::any_of(contenders.begin(), contenders.end(), [](const ContenderResult& c) {
    return c.wrong() && c.role != Role::kPeer;  // a peer's defect is a finding, not our failure
  });
}

std::vector<RowResult> RunRows(const Rows& rows, const RunOptions& options, std::FILE* progress) {
  StartDummyThread();
  std::vector<RowResult> results;
  std::set<std::string> ids;
  for (const Row& row : rows.all()) {
    if (!ids.insert(row.options().id).second) {
      std::fprintf(stderr, "bench: two rows are called %s\n", row.options().id.c_str());
      std::abort();
    }
    if (row.options().id.find(options.filter) == std::string::npos) continue;
    if (progress != nullptr) {
      std::fprintf(progress, "bench: %s\n", row.options().id.c_str());
      std::fflush(progress);
    }
    results.push_back(RunRow(row, options));
  }
  return results;
}

void PrintTable(const std::vector<RowResult>& results, const std::vector<RowResult>& floors, std::FILE* out) {
  if (!floors.empty()) {
    std::fprintf(out, "floors of this machine, in this run:");
    for (const RowResult& floor : floors) {
      const std::optional<Spread> figure = floor.contenders.front().Figure();
      std::fprintf(out, " %s %s %s;", floor.options.id.c_str() + sizeof("floor/") - 1,
                   figure ? Number(figure->median).c_str() : "not measured", figure ? floor.options.unit.c_str() : "");
    }
    std::fprintf(out, "\n");
  }
  for (const RowResult& row : results) {
    const ContenderResult* ours = row.First(Role::kOurs);
    std::fprintf(out, "\n%s (%s, %s%s)\n", row.options.id.c_str(), row.options.unit.c_str(), row.clock.c_str(),
                 row.clock == "thread cpu" ? ": more threads than cores" : "");
    for (const ContenderResult& c : row.contenders) {
      const std::optional<Spread> figure = c.Figure();
      std::string text;
      if (!c.installed) {
        text = "not installed";
      } else if (c.wrong()) {
        text = "WRONG: " + std::to_string(c.torn) + " torn reads, " + std::to_string(c.lost) + " lost updates";
      } else if (!c.error.empty()) {
        text = "error: " + c.error;
      } else if (!figure) {
        text = "no window was accepted";
      } else {
        text = Number(figure->median) + "  (" + Number(figure->min) + " to " + Number(figure->max) + ")";
        if (ours != nullptr && &c != ours) {
          if (const std::optional<Spread> ratio = RatioTo(row, floors, c.name, *ours)) {
            text += "  " + Number(ratio->median) + "x ours (" + Number(ratio->min) + " to " + Number(ratio->max) + ")";
          }
        }
        if (c.fairness) text += "  fairness " + Number(*c.fairness);
        if (c.latency) {
          text += "  p50/p99/p99.9 " + Number(c.latency->p50) + "/" + Number(c.latency->p99) + "/" +
                  Number(c.latency->p999) + " ns";
        }
      }
      std::fprintf(out, "  %-8s %-28s %s\n", RoleName(c.role), c.name.c_str(), text.c_str());
    }
    if (ours == nullptr) continue;
    if (!row.options.floor.empty()) {
      if (const std::optional<Spread> ratio = RatioTo(row, floors, row.options.floor, *ours)) {
        std::fprintf(out, "  floor    %-28s ours is %s times that\n", row.options.floor.c_str(),
                     Number(1 / ratio->median).c_str());
      }
    }
    for (const Goal& goal : row.goals) {
      const std::optional<Spread> ratio = RatioTo(row, floors, goal.against, *ours);
      const double measured = !ratio ? 0 : goal.at_least ? ratio->median : 1 / ratio->median;
      const bool met = goal.at_least ? measured >= goal.ratio : measured <= goal.ratio;
      std::fprintf(out, "  goal     %s %s x %s: %s\n", goal.at_least ? ">=" : "<=", Number(goal.ratio).c_str(),
                   goal.against.c_str(),
                   !ratio ? "not measured" : (Number(measured) + (met ? ", met" : ", MISSED")).c_str());
    }
  }
}

std::string ToJson(const std::string& binary, const RunOptions& options, const std::vector<RowResult>& results,
                   const std::vector<RowResult>& floors) {
  return "{\"schema\": 1, \"binary\": " + Quote(binary) + ", \"rounds\": " + std::to_string(options.rounds) +
         ", \"windows\": " + std::to_string(options.accept) + ", \"smoke\": " + (options.smoke ? "true" : "false") +
         ", \"cores\": " + std::to_string(Cores()) + ",\n  \"floors\": [\n" + JsonRows(floors) +
         "\n  ],\n  \"rows\": [\n" + JsonRows(results) + "\n  ]\n}\n";
}

}  // namespace hotpath::bench
