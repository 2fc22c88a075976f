#include "tools/replay/report.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace hotpath::replay {
namespace {

constexpr size_t kColumns = 100;
constexpr size_t kIndent = 13;

std::string Grouped(uint64_t n) {
  std::string digits = absl::StrCat(n);
  for (ptrdiff_t at = static_cast<ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

std::string Percent(size_t part, size_t whole) {
  return absl::StrFormat("%.1f %%", whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string Duration(uint64_t ns) {
  if (ns < 1000) return absl::StrCat(ns, " ns");
  if (ns < 1000000) return absl::StrFormat("%.1f us", static_cast<double>(ns) / 1e3);
  return absl::StrFormat("%.1f ms", static_cast<double>(ns) / 1e6);
}

std::string Plural(size_t n, absl::string_view one, absl::string_view many) {
  return absl::StrCat(Grouped(n), " ", n == 1 ? one : many);
}

// Breaks `words` into lines behind a label.
std::string Wrap(absl::string_view label, const std::vector<std::string>& words) {
  std::string out = absl::StrFormat("%-*s", static_cast<int>(kIndent), std::string(label));
  size_t column = kIndent;
  for (const std::string& word : words) {
    if (column > kIndent && column + 1 + word.size() > kColumns) {
      absl::StrAppend(&out, "\n", std::string(kIndent, ' '));
      column = kIndent;
    }
    if (column > kIndent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out + "\n";
}

// "read 12, openat 3", most first.
std::vector<std::string> Named(const std::map<std::string, VerdictCounts>& by_call, size_t VerdictCounts::* which,
                               size_t VerdictCounts::* less = nullptr) {
  std::vector<std::pair<size_t, std::string>> found;
  for (const auto& [call, counts] : by_call) {
    const size_t n = counts.*which - (less == nullptr ? 0 : counts.*less);
    if (n > 0) found.emplace_back(n, call);
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  std::vector<std::string> words;
  for (size_t i = 0; i < found.size(); ++i) {
    words.push_back(absl::StrCat(found[i].second, " ", found[i].first, i + 1 < found.size() ? "," : ""));
  }
  return words;
}

void AddNamed(std::string& out, std::string head, std::vector<std::string> names) {
  std::vector<std::string> words = {std::move(head)};
  words.insert(words.end(), names.begin(), names.end());
  out += Wrap("", words);
}

}  // namespace

std::string FormatReport(absl::string_view name, const ReplayResult& result, bool verbose) {
  const VerdictCounts& all = result.all;
  const size_t reached = all.Total();
  std::string out = absl::StrCat(name, "  ", Plural(result.calls, "call", "calls"), "  ",
                                 Plural(result.tasks, "task", "tasks"), "  oracle Linux (strace)\n");
  out +=
      Wrap("conformance", {absl::StrCat(Grouped(all.predicted), " predicted (", Percent(all.predicted, reached), "),"),
                           absl::StrCat(Grouped(all.predicted - all.acks), " values and ", Grouped(all.acks), " acks;"),
                           absl::StrCat(Grouped(all.race_ok), " race-ok;"),
                           absl::StrCat(Grouped(result.mismatch_count), " MISMATCH")});
  const std::string given = absl::StrCat(Grouped(all.given), " given (", Percent(all.given, reached), ")");
  const size_t by_evidence = all.given - all.unsupported;
  if (by_evidence > 0 || all.given == 0) {
    AddNamed(out, absl::StrCat(given, all.given > 0 ? ":" : ""),
             Named(result.by_call, &VerdictCounts::given, &VerdictCounts::unsupported));
  }
  if (all.unsupported > 0) {
    AddNamed(out,
             absl::StrCat(by_evidence > 0 ? absl::StrCat("of the given ", Grouped(all.unsupported)) : given + ", all",
                          " by calls that our kernel lacks:"),
             Named(result.by_call, &VerdictCounts::unsupported));
  }
  AddNamed(
      out,
      absl::StrCat(Grouped(all.skipped), " skipped (", Percent(all.skipped, reached), ")", all.skipped > 0 ? ":" : ""),
      Named(result.by_call, &VerdictCounts::skipped));
  if (result.not_reached > 0) out += Wrap("", {absl::StrCat(Grouped(result.not_reached), " not reached")});
  out += Wrap("inferred", {absl::StrCat(Plural(result.files, "file", "files"), " before the trace; evidence for ",
                                        result.files == 1 ? "it" : "them", ": ", Grouped(result.first_touches),
                                        " of the predicted calls")});
  const double seconds = static_cast<double>(result.latency.total_ns()) / 1e9;
  const double rate = seconds > 0 ? static_cast<double>(result.latency.count()) / seconds : 0;
  out += Wrap("speed", {absl::StrCat(Grouped(static_cast<uint64_t>(rate)), " calls/s in the kernel alone;"),
                        absl::StrCat("p50 ", Duration(result.latency.Percentile(0.50)), ","),
                        absl::StrCat("p99 ", Duration(result.latency.Percentile(0.99)), ","),
                        absl::StrCat("p99.9 ", Duration(result.latency.Percentile(0.999))), "(timer included)"});
  const double allocations = result.latency.count() == 0 ? 0
                                                         : static_cast<double>(result.allocations) /
                                                               static_cast<double>(result.latency.count());
  out += Wrap("heap", {absl::StrFormat("%.2f allocations/call", allocations)});
  if (verbose) {
    absl::StrAppendFormat(&out, "%13s%-20s %9s %9s %9s %9s %9s %9s\n", "", "call", "predicted", "acks", "race-ok",
                          "MISMATCH", "given", "skipped");
    for (const auto& [call, n] : result.by_call) {
      absl::StrAppendFormat(&out, "%13s%-20s %9d %9d %9d %9d %9d %9d\n", "", call, n.predicted, n.acks, n.race_ok,
                            n.mismatched, n.given, n.skipped);
    }
  }
  return out;
}

std::string FormatMismatch(absl::string_view file, const Mismatch& m, size_t number, size_t count) {
  std::string out = absl::StrCat("MISMATCH ", number, "/", count, "  ", file, ":", m.line, "  pid ", m.pid, "->",
                                 m.ours, "  ", m.call, "  class=", m.what, "\n");
  absl::StrAppend(&out, "  recorded = ", m.recorded, "    kernel = ", m.kernel, "\n");
  std::string why = Wrap("  why", absl::StrSplit(m.why, ' ', absl::SkipEmpty()));
  absl::StrAppend(&out, why, "  replay     replay ", file, " --until=", m.at, " --dump_fds=", m.pid, "\n");
  return out;
}

}  // namespace hotpath::replay
