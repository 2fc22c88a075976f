// The input is a recording of strace.  Whatever it is, ParseStrace decodes it or says which line is wrong; what it
// decodes does not depend on how strace happened to cut the calls into lines.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {
namespace {

constexpr absl::string_view kFile = "trace";

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "property broken: %s\n", what);
  std::abort();
}

absl::StatusOr<Trace> Parse(std::string_view text) {
  return ParseStrace(text, std::string_view(kFile.data(), kFile.size()));
}

// "trace:LINE: what", with a line that is there.
void CheckMessage(absl::string_view message, size_t lines) {
  Require(message.substr(0, kFile.size()) == kFile, "the message begins with the file");
  message.remove_prefix(kFile.size());
  Require(!message.empty() && message[0] == ':', "a colon follows the file");
  message.remove_prefix(1);
  size_t line = 0, digits = 0;
  for (; digits < message.size() && message[digits] >= '0' && message[digits] <= '9' && digits < 18; ++digits) {
    line = line * 10 + static_cast<size_t>(message[digits] - '0');
  }
  Require(digits > 0 && line >= 1 && line <= (lines == 0 ? 1 : lines), "the line is one of the input's");
  Require(message.substr(digits, 2) == ": ", "what is wrong follows the line");
  for (const char c : message) Require(c >= ' ' && c <= '~', "the message is printable");
}

void CheckArg(const Arg& arg, int depth) {
  Require(depth <= 65, "nesting is bounded");
  for (const Arg& item : arg.items) CheckArg(item, depth + 1);
}

void CheckTrace(const Trace& trace, size_t lines) {
  Require(trace.lines == lines, "every line is counted");
  size_t calls = 0, before = 0;
  for (const Record& record : trace.records) {
    Require(record.line >= 1 && record.line >= before, "records are ordered by line");
    Require(record.exit_line >= record.line && record.exit_line <= lines, "a record ends after it begins");
    before = record.line;
    Require(record.err == 0 || record.result == -1, "an error comes with -1");
    if (record.kind == Record::Kind::kCall) {
      ++calls;
      Require(!record.name.empty(), "a call has a name");
    }
    for (const Arg& arg : record.args) CheckArg(arg, 0);
  }
  Require(calls == trace.calls && calls > 0, "calls are counted");
  Require(trace.tasks >= 1 && trace.tasks <= trace.records.size(), "tasks are counted");
}

void CheckSameRecords(const Trace& a, const Trace& b) {
  Require(a.records.size() == b.records.size() && a.calls == b.calls && a.tasks == b.tasks, "the counts stay");
  for (size_t i = 0; i < a.records.size(); ++i) {
    Record moved = b.records[i];
    moved.line = a.records[i].line;
    moved.exit_line = a.records[i].exit_line;
    Require(moved == a.records[i], "a record stays");
  }
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    lines.push_back(text.substr(0, newline));
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
  }
  return lines;
}

// The same recording, had strace been interrupted in every call that it printed on one line.
std::string SplitCalls(const Trace& trace, const std::vector<std::string_view>& lines) {
  std::vector<const Record*> of_line(lines.size(), nullptr);
  for (const Record& record : trace.records) {
    if (record.kind == Record::Kind::kCall && record.line == record.exit_line) of_line[record.line - 1] = &record;
  }
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    const Record* record = of_line[i];
    const size_t name = record == nullptr ? std::string_view::npos : line.find(absl::StrCat(record->name, "("));
    if (name == std::string_view::npos || line.substr(0, name).find('<') != std::string_view::npos) {
      text.append(line).append("\n");
      continue;
    }
    const size_t cut = name + record->name.size() + 1;
    text.append(line.substr(0, cut)).append(" <unfinished ...>\n");
    text.append(line.substr(0, name)).append("<... ").append(record->name).append(" resumed>");
    text.append(line.substr(cut)).append("\n");
  }
  return text;
}

}  // namespace
}  // namespace hotpath::replay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hotpath::replay;
  const std::string text(data, data + size);
  const std::vector<std::string_view> lines = Lines(text);
  const absl::StatusOr<Trace> trace = Parse(text);
  const absl::StatusOr<Trace> again = Parse(text);
  Require(trace.status() == again.status(), "decoding is deterministic");
  if (!trace.ok()) {
    CheckMessage(trace.status().message(), lines.size());
    return 0;
  }
  CheckTrace(*trace, lines.size());
  Require(trace->records == again->records, "decoding is deterministic");

  const absl::StatusOr<Trace> after_notice = Parse("strace: a word of strace about itself\n" + text);
  Require(after_notice.ok() && after_notice->notices == trace->notices + 1, "a notice is accepted");
  CheckSameRecords(*trace, *after_notice);

  const absl::StatusOr<Trace> split = Parse(SplitCalls(*trace, lines));
  Require(split.ok(), "split calls are accepted");
  CheckSameRecords(*trace, *split);
  return 0;
}
