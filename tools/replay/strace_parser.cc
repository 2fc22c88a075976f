#include "tools/replay/strace_parser.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tools/replay/strace_decoder.h"

namespace hotpath::replay {
namespace {

constexpr size_t kShownBytes = 80;

absl::string_view ToAbsl(std::string_view s) { return absl::string_view(s.data(), s.size()); }

// "strace: Process 7 attached" at the end of `line`: where it starts, and the pid if it is there.
struct Notice {
  size_t begin = std::string_view::npos;
  int32_t attached = 0;
};

bool ParsePid(std::string_view digits, int32_t* pid) {
  if (digits.empty() || digits.size() > 10) return false;
  int64_t value = 0;
  for (const char c : digits) {
    if (!absl::ascii_isdigit(c)) return false;
    value = value * 10 + (c - '0');
  }
  if (value < 1 || value > std::numeric_limits<int32_t>::max()) return false;
  *pid = static_cast<int32_t>(value);
  return true;
}

// 1795424716.838878, 09:05:17 or 09:05:17.630846, in seconds.
bool ParseTime(std::string_view text, double* seconds) {
  if (text.size() < 8 || text[2] != ':') return ParseSeconds(text, seconds);
  double hours = 0, minutes = 0;
  if (!ParseSeconds(text.substr(0, 2), &hours) || text[5] != ':' || !ParseSeconds(text.substr(3, 2), &minutes) ||
      !ParseSeconds(text.substr(6), seconds) || hours >= 24 || minutes >= 60 || *seconds >= 61) {
    return false;
  }
  *seconds += hours * 3600 + minutes * 60;
  return true;
}

Notice FindNotice(std::string_view line) {
  constexpr std::string_view kStart = "strace: Process ";
  Notice notice;
  const bool attached = line.ends_with(" attached");
  if (!attached && !line.ends_with(" detached")) return notice;
  const std::string_view rest = line.substr(0, line.size() - 9);
  const size_t space = rest.rfind(' ');
  int32_t pid = 0;
  if (space == std::string_view::npos || !ParsePid(rest.substr(space + 1), &pid)) return notice;
  if (!rest.substr(0, space + 1).ends_with(kStart)) return notice;
  notice.begin = space + 1 - kStart.size();
  if (attached) notice.attached = pid;
  return notice;
}

// Reads the lines, and puts split calls together.
class TraceParser {
 public:
  TraceParser(std::string_view text, std::string_view file) : text_(text) { trace_.file.assign(file); }

  absl::StatusOr<Trace> Run();

 private:
  // Where a line of the input begins in a text put together from several.
  struct Piece {
    size_t begin;
    size_t line;
  };

  struct Task {
    bool alive = false;
    bool in_call = false;
    size_t record = 0;  // of that call
    std::string text;   // and as much of it as there was
    std::vector<Piece> pieces;
  };

  // What stands before the call: "6602  1795424716.838878 ", "[pid  6602] 09:05:17 "
  struct Leader {
    int32_t pid = 0;  // 0 if none
    double time = -1;
  };

  absl::Status Error(size_t line, std::string_view what, std::string_view text) const;
  absl::Status Error(const std::vector<Piece>& pieces, std::string_view text,
                     const StraceDecoder::Problem& problem) const;

  absl::Status DecodingError(std::string_view body, size_t shift) const;

  absl::Status Line(std::string_view line);
  absl::Status Event(std::string_view body, size_t shift, const Leader& leader);
  absl::Status BeginCall(std::string_view body, size_t shift, int32_t pid, double time);
  absl::Status ResumeCall(std::string_view body, size_t shift, int32_t pid);
  absl::Status Die(int32_t pid);
  absl::Status Supersede(std::string_view body, int32_t leader);
  absl::StatusOr<int32_t> PidOfLine(const Leader& leader, std::string_view body);
  absl::Status SettleFirst();

  bool TakeLeader(std::string_view* line, Leader* leader);
  Record& Add(int32_t pid, double time);
  void Attached(int32_t pid);
  void Returned(const Record& record);
  Task& TaskOf(int32_t pid) { return tasks_[Key(pid)]; }
  int32_t Key(int32_t pid) const { return pid == first_pid_ ? 0 : pid; }
  void Revive(int32_t pid);
  void BecomeFirst(int32_t pid);
  size_t LastLine() const { return pieces_.back().line; }

  const std::string_view text_;
  Trace trace_;
  StraceDecoder decoder_;
  std::vector<Piece> pieces_;  // of the line at hand
  std::string joined_;         // the line at hand, if a notice broke it

  // The first process is task 0 until its pid is known, and stays so afterwards.
  absl::flat_hash_map<int32_t, Task> tasks_;
  int32_t first_pid_ = 0;
  bool first_has_lines_ = false;           // lines without a pid
  bool announced_ = false;                 // strace announces the tasks that it follows
  absl::flat_hash_set<int32_t> children_;  // pids that a call returned or a notice announced
  absl::flat_hash_set<int32_t> named_;     // pids that lines carry
  size_t alive_ = 0;
  int64_t alive_keys_ = 0;  // sum over the tasks alive, so that it is the key of the last one
};

absl::Status TraceParser::Error(size_t line, std::string_view what, std::string_view text) const {
  const std::string_view shown = text.substr(0, kShownBytes);
  return absl::InvalidArgumentError(absl::StrCat(trace_.file, ":", line, ": ", ToAbsl(what), ": ",
                                                 absl::CHexEscape(ToAbsl(shown)),
                                                 shown.size() < text.size() ? "..." : ""));
}

absl::Status TraceParser::Error(const std::vector<Piece>& pieces, std::string_view text,
                                const StraceDecoder::Problem& problem) const {
  size_t line = pieces.front().line;
  for (const Piece& piece : pieces) {
    if (piece.begin <= problem.begin) line = piece.line;
  }
  if (problem.begin < problem.end) {
    return Error(line, problem.what, text.substr(problem.begin, problem.end - problem.begin));
  }
  // At the very end: show what it ends with.
  const size_t tail = std::min(text.size(), kShownBytes);
  return Error(line, absl::StrCat(problem.what, " at the end of"), text.substr(text.size() - tail));
}

// What the decoder found in `body`, which is the line at hand without its first `shift` bytes.
absl::Status TraceParser::DecodingError(std::string_view body, size_t shift) const {
  StraceDecoder::Problem problem = decoder_.problem();
  problem.begin += shift;
  problem.end += shift;
  return Error(pieces_, std::string_view(body.data() - shift, body.size() + shift), problem);
}

absl::StatusOr<Trace> TraceParser::Run() {
  for (size_t at = 0; at < text_.size();) {
    const size_t newline = std::min(text_.find('\n', at), text_.size());
    std::string_view line = text_.substr(at, newline - at);
    at = newline + 1;
    ++trace_.lines;
    if (line.find('\0') != std::string_view::npos) return Error(trace_.lines, "zero byte in", line);
    if (line.ends_with('\r')) return Error(trace_.lines, "line ends in CR LF, not LF", line);
    const Notice notice = FindNotice(line);
    if (notice.begin != std::string_view::npos) {
      ++trace_.notices;
      if (notice.attached != 0) Attached(notice.attached);
      if (notice.begin == 0) continue;
      line.remove_suffix(line.size() - notice.begin);
    }
    if (!pieces_.empty() || notice.begin != std::string_view::npos) {
      // strace wrote a notice into the middle of a line: the rest of it follows on the next.
      pieces_.push_back({joined_.size(), trace_.lines});
      joined_.append(line);
      if (notice.begin != std::string_view::npos) continue;
      line = joined_;
    } else {
      pieces_.push_back({0, trace_.lines});
    }
    if (absl::Status status = Line(line); !status.ok()) return status;
    pieces_.clear();
    joined_.clear();
  }
  if (!pieces_.empty()) return Error(LastLine(), "the line ends with a notice of strace", joined_);
  if (trace_.calls == 0) return Error(std::max<size_t>(trace_.lines, 1), "no system call in the recording", text_);
  const Record* open = nullptr;
  for (const auto& [pid, task] : tasks_) {
    if (!task.in_call) continue;
    const Record& record = trace_.records[task.record];
    if (open == nullptr || record.line < open->line) open = &record;
  }
  if (open != nullptr) return Error(open->line, "call neither resumed nor ended by its task's death", open->name);
  if (absl::Status status = SettleFirst(); !status.ok()) return status;
  return std::move(trace_);
}

absl::Status TraceParser::Line(std::string_view line) {
  if (line.starts_with("strace: ") || line.starts_with("[ Process ")) {
    ++trace_.notices;
    return absl::OkStatus();
  }
  Leader leader;
  std::string_view body = line;
  if (!TakeLeader(&body, &leader)) return Error(pieces_, line, {"not a line of strace", 0, line.size()});
  return Event(body, line.size() - body.size(), leader);
}

// False if what stands there is no leader and cannot begin a line either.
bool TraceParser::TakeLeader(std::string_view* line, Leader* leader) {
  const auto skip_spaces = [line] { line->remove_prefix(std::min(line->find_first_not_of(' '), line->size())); };
  // Digits, then <comm> if -Y was given.
  const auto take_pid = [line, leader](std::string_view end) {
    const size_t digits = std::min(line->find_first_not_of("0123456789"), line->size());
    if (!ParsePid(line->substr(0, digits), &leader->pid)) return false;
    std::string_view rest = line->substr(digits);
    if (rest.starts_with('<')) {
      const size_t close = rest.find('>');
      if (close == std::string_view::npos) return false;
      rest.remove_prefix(close + 1);
    }
    if (!rest.starts_with(end)) return false;
    *line = rest.substr(end.size());
    return true;
  };
  if (line->starts_with("[pid ")) {
    line->remove_prefix(5);
    skip_spaces();
    if (!take_pid("] ")) return false;
  } else if (!line->empty() && absl::ascii_isdigit(line->front())) {
    // A pid is all digits; a time has ":" or "." among them.
    const size_t digits = std::min(line->find_first_not_of("0123456789"), line->size());
    const char next = digits < line->size() ? (*line)[digits] : '\0';
    if (next != ':' && next != '.') {
      if (!take_pid(" ")) return false;
      skip_spaces();
    }
  }
  if (line->empty() || !absl::ascii_isdigit(line->front())) return true;

  const size_t end = line->find(' ');
  if (end == std::string_view::npos || !ParseTime(line->substr(0, end), &leader->time)) return false;
  line->remove_prefix(end + 1);
  return true;
}

absl::Status TraceParser::Event(std::string_view body, size_t shift, const Leader& leader) {
  absl::StatusOr<int32_t> owner = PidOfLine(leader, body);
  if (!owner.ok()) return owner.status();
  const int32_t pid = *owner;
  Revive(pid);
  const char first = body.empty() ? '\0' : body.front();
  if (first == '<') return ResumeCall(body, shift, pid);
  if (first != '+' && first != '-') return BeginCall(body, shift, pid, leader.time);

  if (body.starts_with("+++ superseded ")) return Supersede(body, pid);
  decoder_.Reset(body);
  Record& record = Add(pid, leader.time);
  if (!(first == '+' ? decoder_.End(&record) : decoder_.Signal(&record))) return DecodingError(body, shift);
  return first == '+' ? Die(pid) : absl::OkStatus();
}

Record& TraceParser::Add(int32_t pid, double time) {
  Record& record = trace_.records.emplace_back();
  record.line = pieces_.front().line;
  record.exit_line = LastLine();
  record.pid = pid;
  record.time = time;
  return record;
}

absl::Status TraceParser::BeginCall(std::string_view body, size_t shift, int32_t pid, double time) {
  const std::string_view whole(body.data() - shift, body.size() + shift);
  Task& task = TaskOf(pid);
  if (task.in_call) {
    const Record& open = trace_.records[task.record];
    return Error(LastLine(),
                 absl::StrCat("a call inside ", open.name, " of the same task, which began at line ", open.line),
                 whole);
  }
  if (body.ends_with("<detached ...>")) return Error(pieces_, whole, {"strace left inside a call", 0, whole.size()});
  decoder_.Reset(body);
  Record& record = Add(pid, time);
  ++trace_.calls;
  if (!body.ends_with(kUnfinished)) {
    if (decoder_.Call(&record)) {
      Returned(record);
      return absl::OkStatus();
    }
    return DecodingError(body, shift);
  }
  body.remove_suffix(kUnfinished.size());
  if (body.ends_with(' ')) body.remove_suffix(1);
  const auto in_name = [](char c) { return absl::ascii_isalnum(c) || c == '_'; };
  const auto name_end = std::find_if_not(body.begin(), body.end(), in_name);
  if (name_end == body.begin() || name_end == body.end() || *name_end != '(') {
    return Error(pieces_, whole, {"not a line of strace", 0, whole.size()});
  }
  record.name.assign(body.begin(), name_end);
  task.in_call = true;
  task.record = trace_.records.size() - 1;
  task.text.assign(body);
  task.pieces.clear();
  for (const Piece& piece : pieces_) task.pieces.push_back({piece.begin - std::min(piece.begin, shift), piece.line});
  return absl::OkStatus();
}

// <... NAME resumed>REST
absl::Status TraceParser::ResumeCall(std::string_view body, size_t shift, int32_t pid) {
  constexpr std::string_view kStart = "<... ", kEnd = " resumed>";
  const std::string_view whole(body.data() - shift, body.size() + shift);
  const size_t end = body.find(kEnd);
  if (!body.starts_with(kStart) || end == std::string_view::npos) {
    return Error(pieces_, whole, {"not a line of strace", 0, whole.size()});
  }
  const std::string_view name = body.substr(kStart.size(), end - kStart.size());
  Task& task = TaskOf(pid);
  if (!task.in_call) return Error(LastLine(), "a call is resumed that was not begun", whole);
  Record& record = trace_.records[task.record];
  if (record.name != name) {
    return Error(LastLine(), absl::StrCat("resumed, but line ", record.line, " began ", record.name), whole);
  }
  std::string_view rest = body.substr(end + kEnd.size());
  const size_t rest_shift = static_cast<size_t>(rest.data() - whole.data());
  const bool again = rest.ends_with(kUnfinished);
  if (again) {
    rest.remove_suffix(kUnfinished.size());
    if (rest.ends_with(' ')) rest.remove_suffix(1);
  }
  for (const Piece& piece : pieces_) {
    task.pieces.push_back({task.text.size() + piece.begin - std::min(piece.begin, rest_shift), piece.line});
  }
  task.text.append(rest);
  record.exit_line = LastLine();
  if (again) return absl::OkStatus();
  decoder_.Reset(task.text);
  if (!decoder_.Call(&record)) return Error(task.pieces, task.text, decoder_.problem());
  task.in_call = false;
  Returned(record);
  return absl::OkStatus();
}

// The task is gone: the call that it was in never returns.
absl::Status TraceParser::Die(int32_t pid) {
  Task& task = TaskOf(pid);
  task.alive = false;
  --alive_;
  alive_keys_ -= Key(pid);
  if (!task.in_call) return absl::OkStatus();
  task.in_call = false;
  Record& record = trace_.records[task.record];
  record.exit_line = LastLine();
  record.outcome = Record::Outcome::kNeverReturned;
  decoder_.Reset(task.text);
  if (!decoder_.OpenCall(&record)) return Error(task.pieces, task.text, decoder_.problem());
  return absl::OkStatus();
}

// A thread has called execve: the leader is gone, the thread goes on under its pid.
absl::Status TraceParser::Supersede(std::string_view body, int32_t leader) {
  decoder_.Reset(body);
  const std::optional<int32_t> thread = decoder_.SupersededBy();
  if (!thread || Key(*thread) == Key(leader)) return Error(LastLine(), "not a line of strace", body);
  if (absl::Status status = Die(leader); !status.ok()) return status;
  const auto from = tasks_.find(Key(*thread));
  if (from == tasks_.end() || !from->second.in_call || trace_.records[from->second.record].name != "execve") {
    return Error(LastLine(), "the task that takes over is not in execve", body);
  }
  Task moved = std::move(from->second);
  from->second = Task();
  if (moved.alive) {
    --alive_;
    alive_keys_ -= Key(*thread);
  }
  trace_.records[moved.record].superseded = leader;
  moved.alive = false;
  TaskOf(leader) = std::move(moved);
  Revive(leader);
  return absl::OkStatus();
}

void TraceParser::Revive(int32_t pid) {
  Task& task = TaskOf(pid);
  if (task.alive) return;
  task.alive = true;
  ++alive_;
  alive_keys_ += Key(pid);
}

// strace announces the tasks that it follows.  The first one is announced only if strace was attached to it (-p).
void TraceParser::Attached(int32_t pid) {
  if (first_pid_ == 0 && trace_.records.empty() && pieces_.empty()) {
    BecomeFirst(pid);
  } else {
    announced_ = true;
    children_.insert(pid);
  }
  Revive(pid);
}

// Learns from a call that has returned which pids are children, and what the first process is called.
void TraceParser::Returned(const Record& record) {
  if (record.err != 0 || record.result <= 0 || record.result > std::numeric_limits<int32_t>::max()) return;
  const auto result = static_cast<int32_t>(record.result);
  const std::string_view name = record.name;
  if (name == "clone" || name == "fork" || name == "vfork" || name == "clone3") {
    children_.insert(result);
  } else if (first_pid_ == 0 && record.pid == 0 && (name == "set_tid_address" || name == "gettid")) {
    BecomeFirst(result);
  }
}

// From now on lines of `pid` and lines without a pid belong together.  Not if both are in a call: one task cannot be.
void TraceParser::BecomeFirst(int32_t pid) {
  const auto own = tasks_.find(pid);
  if (own == tasks_.end()) {
    first_pid_ = pid;
    return;
  }
  Task& first = tasks_[0];
  if (first.in_call && tasks_[pid].in_call) return;
  Task task = std::move(tasks_[pid]);
  tasks_.erase(pid);
  first_pid_ = pid;
  if (task.alive) {
    --alive_;
    alive_keys_ -= pid;
  }
  if (!task.in_call) return;
  task.alive = first.alive;
  first = std::move(task);
}

absl::StatusOr<int32_t> TraceParser::PidOfLine(const Leader& leader, std::string_view body) {
  if (leader.pid != 0) {
    named_.insert(leader.pid);
    if (first_pid_ == 0 && first_has_lines_ && !children_.contains(leader.pid)) {
      // If strace announces children (it does without -q), this one is the first process.  If not, it still is if it
      // resumes a call whose beginning had no pid.
      const auto own = tasks_.find(leader.pid);
      const auto first = tasks_.find(0);
      const bool resumes = body.starts_with('<') && (own == tasks_.end() || !own->second.in_call) &&
                           first != tasks_.end() && first->second.in_call;
      if (announced_ || resumes) BecomeFirst(leader.pid);
    }
    return leader.pid;
  }
  first_has_lines_ = true;
  const auto first = tasks_.find(0);
  if (first == tasks_.end() || first->second.alive || alive_ == 0) return first_pid_;
  if (alive_ == 1) return static_cast<int32_t>(alive_keys_);
  return Error(LastLine(), "no pid, and the first process has ended while several others run", body);
}

// Gives the first process its pid, if a line tells it.
absl::Status TraceParser::SettleFirst() {
  if (first_has_lines_ && first_pid_ == 0) {
    // It is the one that appears with a pid but that nobody made.
    std::vector<int32_t> candidates;
    for (const int32_t pid : named_) {
      if (!children_.contains(pid)) candidates.push_back(pid);
    }
    std::sort(candidates.begin(), candidates.end());
    if (candidates.size() > 1) {
      return Error(1, "which process the lines without a pid belong to cannot be told; record with -o",
                   absl::StrCat(candidates[0], " or ", candidates[1]));
    }
    if (!candidates.empty()) first_pid_ = candidates[0];
  }
  absl::flat_hash_set<int32_t> pids;
  for (Record& record : trace_.records) {
    if (record.pid == 0) record.pid = first_pid_;
    pids.insert(record.pid);
  }
  trace_.tasks = pids.size();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Trace> ParseStrace(std::string_view text, std::string_view file) {
  return TraceParser(text, file).Run();
}

}  // namespace hotpath::replay
