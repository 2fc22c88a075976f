#include "tools/replay/replayer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tools/replay/replay_engine.h"

namespace hotpath::replay {
namespace {

constexpr size_t kPiece = 4096;         // of a deferred write: as much as a pipe takes at once or not at all
constexpr size_t kWholeReads = 65536;   // reads up to this size are passed on as requested
constexpr size_t kProgressEvery = 256;  // calls

// Calls that are only asked for a value: about /proc, /sys and /dev the machine answers them, not the file system.
bool AsksTheMachine(const std::string& call) {
  static const auto* const kCalls = new absl::flat_hash_set<absl::string_view>(
      absl::StrSplit("read pread64 readv preadv preadv2 write pwrite64 writev lseek stat lstat fstat newfstatat statx "
                     "access faccessat faccessat2 readlink readlinkat statfs fstatfs getdents64 utimensat chown lchown "
                     "fchownat fsync fdatasync fadvise64 getxattr lgetxattr listxattr llistxattr",
                     ' '));
  return kCalls->contains(call);
}

}  // namespace

void VerdictCounts::Add(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAck:
      ++acks;
      [[fallthrough]];
    case Verdict::kPredicted:
      ++predicted;
      break;
    case Verdict::kRaceOk:
      ++race_ok;
      break;
    case Verdict::kMismatch:
      ++mismatched;
      break;
    case Verdict::kUnsupported:
      ++unsupported;
      [[fallthrough]];
    case Verdict::kGiven:
      ++given;
      break;
    case Verdict::kSkipped:
      ++skipped;
      break;
  }
}

void VerdictCounts::Add(const VerdictCounts& other) {
  predicted += other.predicted;
  acks += other.acks;
  race_ok += other.race_ok;
  mismatched += other.mismatched;
  given += other.given;
  unsupported += other.unsupported;
  skipped += other.skipped;
}

void ReplayResult::Add(const ReplayResult& other) {
  calls += other.calls;
  tasks += other.tasks;
  signals += other.signals;
  for (const auto& [call, counts] : other.by_call) by_call[call].Add(counts);
  all.Add(other.all);
  not_reached += other.not_reached;
  first_touches += other.first_touches;
  files += other.files;
  mismatch_count += other.mismatch_count;
  latency.Merge(other.latency);
  allocations += other.allocations;
}

bool Engine::IsIgnorable(const std::string& call) {
  static const auto* const kCalls = new absl::flat_hash_set<absl::string_view>(
      absl::StrSplit("futex set_robust_list get_robust_list set_tid_address rseq arch_prctl getrandom clock_gettime "
                     "clock_getres clock_nanosleep nanosleep getrusage sched_yield membarrier capget times "
                     "restart_syscall gettimeofday time",
                     ' '));
  return kCalls->contains(call);
}

Engine::Engine(const Trace& trace, const std::vector<Step>& steps, const InitialState& initial,
               const ReplayOptions& options)
    : trace_(trace),
      steps_(steps),
      initial_(initial),
      options_(options),
      kernel_([&options] {
        kernel::KernelOptions k;
        k.never_block = true;
        k.mutation = options.mutation;
        return k;
      }()),
      ends_(trace.records.size()) {
  absl::flat_hash_map<int32_t, size_t> exiting;  // a process lets go of its files until it is reported dead
  for (size_t i = 0; i < trace.records.size(); ++i) {
    const Record& r = trace.records[i];
    ends_[i] = r.exit_line;
    if (r.kind == Record::Kind::kCall && (r.name == "exit_group" || r.name == "exit")) exiting[r.pid] = i;
    if (r.kind == Record::Kind::kExited && exiting.contains(r.pid)) ends_[exiting[r.pid]] = r.line;
  }
}

// ---- Setting the scene ----

absl::Status Engine::SeedFiles() {
  const Result<kernel::Pid> outside = kernel_.Spawn({.name = "outside"});
  if (!outside.ok()) return absl::InternalError("the kernel cannot spawn a process");
  outside_ = *outside;
  for (const InitialState::File& file : initial_.files) {
    int err = 0;
    if (!file.same_as.empty()) {
      err = ErrorOf(kernel_.LinkAt(outside_, kernel::kAtFdCwd, file.same_as, kernel::kAtFdCwd, file.path, 0));
    } else {
      err = ErrorOf(kernel_.Seed(file.path, file.node));
    }
    if (err != 0) return absl::InternalError(absl::StrCat("cannot seed ", file.path, ": ", ErrnoName(err)));
  }
  return absl::OkStatus();
}

void Engine::MapImage(kernel::Pid t, const ImageState& image) {
  for (const auto& [start, end] : image.mappings) {
    (void)kernel_.Mmap(t, start, end - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
}

// The process under which `recorded` is known outside the trace; a new child of `parent` if it is met first.
absl::StatusOr<kernel::Pid> Engine::Outsider(int32_t recorded, kernel::Pid parent, bool leads) {
  if (const kernel::Pid* known = pids_.Find(recorded); recorded != 0 && known != nullptr) return *known;
  const Result<kernel::Pid> made = kernel_.Spawn({.name = "outside", .parent = parent});
  if (!made.ok()) return absl::InternalError("the kernel cannot spawn a process");
  if (leads) (void)kernel_.SetProcessGroup(*made, *made, *made);
  if (recorded != 0) pids_.Bind(recorded, *made);
  return *made;
}

// A process with the parent, group and session that the trace shows, as far as it does.
absl::StatusOr<kernel::Pid> Engine::SpawnInGroup(const RootTask& root) {
  const bool leads_session = root.session == root.pid, leads_group = leads_session || root.group == root.pid;
  absl::StatusOr<kernel::Pid> leader = Outsider(leads_session ? 0 : root.session, 0, false);
  if (leader.ok() && !leads_group && root.group != 0) leader = Outsider(root.group, *leader, true);
  absl::StatusOr<kernel::Pid> parent = leader.ok() ? Outsider(root.parent, *leader, false) : leader;
  if (!parent.ok()) return parent;
  kernel::SpawnOptions options;
  options.name = "root";
  options.parent = *parent;
  options.cwd = root.cwd;
  options.uid = root.credentials.ruid;
  options.gid = root.credentials.rgid;
  options.umask = root.umask;
  if (root.image.brk_base != 0) options.brk_base = root.image.brk_base;
  const Result<kernel::Pid> spawned = kernel_.Spawn(options);
  if (!spawned.ok()) {
    return absl::InternalError(absl::StrCat("cannot spawn task ", root.pid, ": ", ErrnoName(ErrorOf(spawned))));
  }
  pids_.Bind(root.pid, *spawned);
  if (leads_session) {
    (void)kernel_.SetSession(*spawned);
  } else {
    (void)kernel_.SetProcessGroup(*spawned, 0, leads_group ? 0 : *leader);
  }
  return *spawned;
}

absl::Status Engine::SpawnRoot(const RootTask& root) {
  const absl::StatusOr<kernel::Pid> spawned = SpawnInGroup(root);
  if (!spawned.ok()) return spawned.status();
  const kernel::Pid t = *spawned;
  tasks_[root.pid].ours = t;
  for (const InheritedDescriptor& d : root.descriptors) {
    int err = 0;
    switch (d.kind) {
      case InheritedDescriptor::Kind::kFile:
        err = ErrorOf(kernel_.SeedDescriptor(t, d.fd, d.path, d.flags));
        if (err == 0 && d.offset != 0) err = ErrorOf(kernel_.Seek(t, d.fd, d.offset, SEEK_SET));
        break;
      case InheritedDescriptor::Kind::kPipeRead:
      case InheritedDescriptor::Kind::kPipeWrite:
        err = ErrorOf(kernel_.SeedPipe(t, d.fd, d.kind == InheritedDescriptor::Kind::kPipeWrite));
        break;
      case InheritedDescriptor::Kind::kSocket: {
        const Result<kernel::Fd> fd = kernel_.InstallOpaque(t, kernel::OpaqueKind::kSocket, 0);
        err = ErrorOf(fd);
        if (err == 0 && *fd != d.fd) Move(t, *fd, d.fd, false);
        break;
      }
    }
    if (err != 0) {
      return absl::InternalError(
          absl::StrCat("cannot seed descriptor ", d.fd, " (", d.path, ") of task ", root.pid, ": ", ErrnoName(err)));
    }
  }
  for (const auto& [signal, shown] : root.actions) {
    const kernel::SignalAction action{shown.handler, shown.flags, shown.mask};
    (void)kernel_.Sigaction(t, signal, &action);
  }
  if (root.signal_mask != 0) (void)kernel_.Sigprocmask(t, SIG_SETMASK, &root.signal_mask);
  MapImage(t, root.image);
  for (const auto& [resource, limit] : root.limits) (void)kernel_.Prlimit(t, t, resource, &limit);
  return absl::OkStatus();
}

// ---- Driving ----

absl::StatusOr<ReplayResult> Engine::Run() {
  result_.calls = trace_.calls;
  result_.tasks = trace_.tasks;
  result_.files = initial_.files.size();
  if (absl::Status status = SeedFiles(); !status.ok()) return status;
  for (const RootTask& root : initial_.roots) {
    if (absl::Status status = SpawnRoot(root); !status.ok()) return status;
  }
  for (step_ = 0; step_ < steps_.size(); ++step_) {
    if (options_.until_line != 0 && steps_[step_].line >= options_.until_line) break;
    if (early_.contains(step_)) continue;
    if (absl::Status status = Apply(steps_[step_]); !status.ok()) return status;
    if (options_.stop_on_mismatch && result_.mismatch_count > 0) break;
  }
  result_.not_reached = result_.calls - result_.all.Total();
  if (step_ == steps_.size() && result_.not_reached != 0) {
    return absl::InternalError(absl::StrCat(trace_.file, ": ", result_.not_reached, " calls were not accounted for"));
  }
  if (options_.dump_fds_pid != 0) {
    Task* task = TaskOf(options_.dump_fds_pid);
    if (task == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(trace_.file, ": no task ", options_.dump_fds_pid, " at that point"));
    }
    result_.fds = kernel_.DumpFds(task->ours);
  }
  return std::move(result_);
}

Engine::Task* Engine::TaskOf(int32_t pid) {
  auto it = tasks_.find(pid);
  return it == tasks_.end() ? nullptr : &it->second;
}

void Engine::Count(const Record& r, const InitialState::Note& note, Verdict verdict) {
  result_.all.Add(verdict);
  result_.by_call[r.name].Add(verdict);
  if (note.first_touch && (verdict == Verdict::kPredicted || verdict == Verdict::kAck)) ++result_.first_touches;
  const size_t done = result_.all.Total();
  if (options_.progress != nullptr && (done % kProgressEvery == 0 || done == result_.calls)) {
    options_.progress(done, result_.calls);
  }
}

absl::Status Engine::Apply(const Step& step) {
  const Record& r = trace_.records[step.record];
  if (r.kind != Record::Kind::kCall) {
    ApplyEvent(r);
    return absl::OkStatus();
  }
  const InitialState::Note& note = initial_.notes[step.record];
  const bool returning = step.phase == Step::Phase::kReturn;
  if (returning && !deferred_.contains(step.record)) return absl::OkStatus();
  if (IsIgnorable(r.name)) {
    if (step.phase == Step::Phase::kCall) Count(r, note, Verdict::kSkipped);
    return absl::OkStatus();
  }
  Task* task = TaskOf(r.pid);
  if (task == nullptr) {  // our kernel refused to make it: go on with a fresh one
    RootTask root;
    root.pid = r.pid;
    if (absl::Status status = SpawnRoot(root); !status.ok()) return status;
    task = TaskOf(r.pid);
  }
  if (task->stopped) Resume(*task);
  Call c{Fields(trace_, r), r, task->ours, step.record, note, returning};
  if (step.phase == Step::Phase::kReserve) {
    Reserve(c);
    return c.f.status();
  }
  Verdict verdict;
  auto handler = Handlers().find(r.name);
  const bool exits = r.name == "exit" || r.name == "exit_group";
  if (r.outcome == Record::Outcome::kNeverReturned && !exits) {
    verdict = Verdict::kSkipped;  // the task died inside: there is no answer
  } else if (handler == Handlers().end()) {
    verdict = Verdict::kUnsupported;
  } else if (r.err == EFAULT ||  // about an address: our kernel is called with memory that is there
             (note.synthetic && (AsksTheMachine(r.name) || (r.err != 0 && absl::StartsWith(r.name, "open"))))) {
    verdict = Verdict::kGiven;
  } else {
    verdict = (this->*handler->second)(c);
  }
  if (!c.f.ok()) return c.f.status();
  if (!returning && deferred_.contains(step.record)) return absl::OkStatus();  // decided when it returns
  if (returning) deferred_.erase(step.record);
  Count(r, note, verdict);
  return absl::OkStatus();
}

void Engine::ApplyEvent(const Record& r) {
  Task* task = TaskOf(r.pid);
  if (task == nullptr) return;
  switch (r.kind) {
    case Record::Kind::kSignal:
      ApplySignal(r, *task);
      break;
    case Record::Kind::kExited: {
      const Result<kernel::Pid> leader = kernel_.GetPid(task->ours);
      const kernel::Pid t = task->ours;
      const int status = static_cast<int>(r.result);
      if (task->dead) {
        // It exited when it let its vfork parent go.
      } else if (leader.ok() && *leader == t) {
        (void)Timed([&] { return kernel_.ExitGroup(t, status); });
      } else {
        (void)Timed([&] { return kernel_.Exit(t, status); });
      }
      died_[t] = r.line;
      tasks_.erase(r.pid);
      break;
    }
    case Record::Kind::kKilled: {
      const kernel::Pid t = task->ours;
      const bool core = r.result_note == "core dumped";
      if (core) {  // our kernel, too, writes one only if the limit allows it
        const kernel::Rlimit any{UINT64_MAX, UINT64_MAX};
        (void)kernel_.Prlimit(t, 0, RLIMIT_CORE, &any);
      }
      if (task->fatal != SIZE_MAX) (void)TakeSignal(trace_.records[steps_[task->fatal].record], *task);
      (void)Timed([&] { return kernel_.Terminate(t, static_cast<int>(r.result), core); });
      died_[t] = r.line;
      tasks_.erase(r.pid);
      break;
    }
    case Record::Kind::kStopped:
    case Record::Kind::kCall:
      break;
  }
}

// A signal is taken.  Our kernel must have the same one pending, unless it came from outside.
void Engine::ApplySignal(const Record& r, Task& task) {
  const kernel::Pid t = task.ours;
  const int signal = static_cast<int>(r.result);
  ++result_.signals;
  if (task.stopped) Resume(task);
  const Result<kernel::SignalAction> action = kernel_.Sigaction(t, signal, nullptr);
  const bool by_default = action.ok() && action->handler == 0;
  const bool harmless = signal == SIGCHLD || signal == SIGCONT || signal == SIGURG || signal == SIGWINCH;
  const bool stops = signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
  // strace sees a signal that is ignored; nobody else does.
  if (action.ok() && (action->handler == 1 || (by_default && harmless))) return;
  if (by_default && !stops) {  // it lets go of its files now, but its parent learns of it when it is reported dead
    task.fatal = step_;
    if (!task.shares_files) (void)kernel_.CloseRange(t, 0, UINT_MAX, 0);
    return;
  }
  if (!TakeSignal(r, task)) ++task.undelivered;
  if (by_default && stops) task.stopped = true;
}

// False if our kernel has nothing to take.
bool Engine::TakeSignal(const Record& r, Task& task) {
  const kernel::Pid t = task.ours;
  const int signal = static_cast<int>(r.result);
  const Fields f(trace_, r);
  Call c{f, r, t, step_, initial_.notes[steps_[step_].record], false};
  const Arg* shown_code = f.IsStruct(0) ? r.args[0].Find("si_code") : nullptr;
  const std::string code = shown_code == nullptr ? "" : shown_code->text;
  const int32_t sender = static_cast<int32_t>(f.FieldOr(0, "si_pid", 0));
  const bool from_child = absl::StartsWith(code, "CLD_");
  const bool from_task = from_child || code == "SI_USER" || code == "SI_TKILL";
  const bool known_sender = from_task && pids_.Find(sender) != nullptr;
  // A timer, a fault, a terminal, a process that is not in the trace.
  if (!known_sender) (void)kernel_.Kill(t, t, signal);
  if (task.waiting_mask) (void)kernel_.Sigsuspend(t, *task.waiting_mask);
  task.waiting_mask.reset();
  Result<kernel::Delivery> taken = Timed([&] { return kernel_.DeliverSignal(t); });
  if (!taken.ok()) {
    if (known_sender) {
      Differ(c, "signal", absl::StrCat(r.name, " from ", sender), "none",
             "no deliverable signal is pending in our kernel");
    }
    (void)kernel_.Kill(t, t, signal);
    taken = kernel_.DeliverSignal(t);
    if (!taken.ok()) return false;
  }
  if (taken->signal != signal) {
    Differ(c, "signal", r.name, absl::StrCat("signal ", taken->signal), "our kernel delivers another one first");
  } else if (from_child && known_sender && *pids_.Find(sender) != taken->sender) {
    Differ(c, "si_pid", absl::StrCat(sender), absl::StrCat(taken->sender), "the signal comes from another child");
  }
  return true;
}

// Lets another task that is inside a wanted call have its effect now, before the call returns in the trace.
bool Engine::TakeEarly(const std::function<bool(const Record&, const InitialState::Note&)>& wanted) {
  const size_t line = steps_[step_].line;
  for (size_t i = step_ + 1; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    const Record& r = trace_.records[step.record];
    if (r.line >= line || step.phase != Step::Phase::kCall || early_.contains(i) ||
        !wanted(r, initial_.notes[step.record]))
      continue;
    early_.insert(i);
    return Apply(step).ok();
  }
  return false;
}

// The trace shows a stopped task at work again: if nobody in it sent the SIGCONT, it came from outside.
void Engine::Resume(Task& task) {
  task.stopped = false;
  if (kernel_.GetPid(task.ours).code() == Code::kERESTART) (void)kernel_.Kill(outside_, task.ours, SIGCONT);
}

void Engine::Reserve(Call& c) {
  const bool cloexec = c.r.name == "accept4" && (c.f.IntOr(3, 0) & O_CLOEXEC);
  const Result<kernel::Fd> fd =
      Timed([&] { return kernel_.InstallOpaque(c.t, kernel::OpaqueKind::kSocket, cloexec ? O_CLOEXEC : 0); });
  if (fd.ok()) reserved_[c.index] = *fd;
}

// ---- Comparing ----

Verdict Engine::Differ(Call& c, absl::string_view what, std::string recorded, std::string kernel, std::string why) {
  ++result_.mismatch_count;
  if (result_.mismatches.size() < options_.kept_mismatches) {
    Mismatch m;
    m.line = c.r.line;
    m.at = steps_[step_].line;
    m.pid = c.r.pid;
    m.ours = c.t;
    m.call = c.r.name;
    m.what = std::string(what);
    m.recorded = std::move(recorded);
    m.kernel = std::move(kernel);
    m.why = std::move(why);
    result_.mismatches.push_back(std::move(m));
  }
  return Verdict::kMismatch;
}

std::string Engine::ErrnoName(int err) {
  if (err == 0) return "success";
  const char* name = strerrorname_np(err);
  return name == nullptr ? absl::StrCat("errno ", err) : name;
}

int Engine::WantedError(const Call& c) { return c.r.outcome == Record::Outcome::kRestarted ? ERESTART : c.r.err; }

// A call that was interrupted may have to wait in our kernel, whose driver delivers the signal later; and a call that
// will be restarted may report the signal.
bool Engine::SameError(const Call& c, int err) {
  const int wanted = WantedError(c);
  return wanted == err || (wanted == EINTR && err == ERESTART) || (wanted == ERESTART && err == EINTR);
}

std::optional<Verdict> Engine::Errors(Call& c, int err) {
  const int wanted = WantedError(c);
  if (SameError(c, err)) {
    if (wanted == 0) return std::nullopt;
    return Verdict::kPredicted;
  }
  const std::string recorded = wanted == 0 ? absl::StrCat(c.r.result) : ErrnoName(wanted);
  return Differ(c, "errno", recorded, ErrnoName(err), WhyError(c, err));
}

Verdict Engine::CompareAck(Call& c, int err) { return Errors(c, err).value_or(Verdict::kAck); }

Verdict Engine::CompareNumber(Call& c, absl::string_view what, int64_t kernel, absl::string_view why) {
  if (kernel == c.r.result) return Verdict::kPredicted;
  return Differ(c, what, absl::StrCat(c.r.result), absl::StrCat(kernel), std::string(why));
}

Verdict Engine::CompareFd(Call& c, const Result<kernel::Fd>& fd, bool cloexec) {
  const kernel::Fd wanted = static_cast<kernel::Fd>(c.r.result);
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(fd))) {
    if (*verdict == Verdict::kMismatch && fd.ok()) (void)kernel_.Close(c.t, *fd);
    if (*verdict == Verdict::kMismatch && WantedError(c) == 0) {
      const Result<kernel::Fd> stand_in =
          kernel_.InstallOpaque(c.t, kernel::OpaqueKind::kMemFd, cloexec ? O_CLOEXEC : 0);
      if (stand_in.ok() && *stand_in != wanted) Move(c.t, *stand_in, wanted, cloexec);
    }
    return *verdict;
  }
  return CompareFdNumber(c, wanted, *fd, cloexec);
}

Verdict Engine::CompareFdNumber(Call& c, kernel::Fd wanted, kernel::Fd fd, bool cloexec) {
  if (fd == wanted) return Verdict::kPredicted;
  const Verdict verdict = Differ(c, "fd", absl::StrCat(wanted), absl::StrCat(fd), WhyFd(c, wanted, fd));
  Move(c.t, fd, wanted, cloexec);
  return verdict;
}

Verdict Engine::ComparePid(Call& c, const Result<kernel::Pid>& pid) {
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(pid))) return *verdict;
  const int32_t recorded = static_cast<int32_t>(c.r.result);
  if (pids_.Bind(recorded, *pid)) return Verdict::kPredicted;
  const kernel::Pid* wanted = pids_.Find(recorded);
  return Differ(c, "pid", wanted == nullptr ? absl::StrCat(recorded) : absl::StrCat(recorded, " = our ", *wanted),
                absl::StrCat(*pid), "the recorded process is another one in our kernel");
}

std::string Engine::OurFd(kernel::Pid t, kernel::Fd fd) const {
  const std::string dump = kernel_.DumpFds(t);
  for (absl::string_view line : absl::StrSplit(dump, '\n', absl::SkipWhitespace())) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::MaxSplits(absl::ByAnyChar(" :\t"), 1), absl::SkipEmpty());
    int number = -1;
    if (!words.empty() && absl::SimpleAtoi(words[0], &number) && number == fd) {
      return words.size() > 1 ? std::string(absl::StripAsciiWhitespace(words[1])) : "open";
    }
  }
  return "";
}

std::string Engine::WhyFd(Call& c, kernel::Fd wanted, kernel::Fd got) {
  if (!Kept()) return "";
  auto recorded = [&](kernel::Fd fd) { return DescribeRecordedFd(trace_, steps_, step_, c.r.pid, fd); };
  if (got < wanted) {
    return absl::StrCat("our kernel found fd ", got, " free; in the trace it was ", recorded(got));
  }
  const std::string ours = OurFd(c.t, wanted);
  if (ours.empty()) {
    return absl::StrCat("fd ", wanted, " is free in our kernel too: it did not take the lowest free number");
  }
  return absl::StrCat("in our kernel fd ", wanted, " (", ours, ") is still open; in the trace it was ",
                      recorded(wanted));
}

std::string Engine::WhyError(Call& c, int err) {
  if (!Kept()) return "";
  const int wanted = WantedError(c);
  if ((err == EBADF || wanted == EBADF) && c.f.IntOr(0, -1) >= 0) {
    const kernel::Fd fd = static_cast<kernel::Fd>(c.f.IntOr(0, -1));
    const std::string ours = OurFd(c.t, fd);
    return absl::StrCat("in our kernel fd ", fd, ours.empty() ? " is not open" : absl::StrCat(" is open (", ours, ")"),
                        "; in the trace it was ", DescribeRecordedFd(trace_, steps_, step_, c.r.pid, fd));
  }
  if (err == ERESTART) return "our kernel would have to wait here";
  if (err == 0) return "our kernel did what the recorded one refused to do";
  return absl::StrCat("our kernel says: ", strerror(err));
}

void Engine::Move(kernel::Pid t, kernel::Fd from, kernel::Fd to, bool cloexec) {
  if (kernel_.Dup3(t, from, to, cloexec ? O_CLOEXEC : 0).ok()) (void)kernel_.Close(t, from);
}

bool Engine::Overlaps(const Call& c) const {
  for (size_t j = 0; j < trace_.records.size(); ++j) {
    const Record& other = trace_.records[j];
    if (other.line >= c.r.exit_line) break;
    if (other.pid != c.r.pid && other.kind == Record::Kind::kCall && ends_[j] > c.r.line && IsReleasing(other.name)) {
      return true;
    }
  }
  return false;
}

// ---- Paths and buffers ----

Engine::At Engine::PathAt(Call& c, int dirfd_argument, size_t path_argument) {
  At at;
  if (dirfd_argument >= 0) at.dirfd = c.f.Fd(static_cast<size_t>(dirfd_argument));
  at.path = c.f.Path(path_argument);
  return at;
}

std::span<std::byte> Engine::Scratch(size_t wanted, int64_t recorded) {
  const size_t enough = std::max(kWholeReads, static_cast<size_t>(std::max<int64_t>(recorded, 0)) + 1);
  const size_t size = std::min(wanted, enough);
  if (scratch_.size() < size) scratch_.resize(size);
  return std::span<std::byte>(scratch_).first(size);
}

void Engine::Pump() {
  for (auto& [record, write] : deferred_) {
    Task* task = TaskOf(write.pid);
    while (task != nullptr && write.left > 0 && write.err == 0) {
      const std::span<std::byte> piece = Scratch(std::min(write.left, kPiece), 0);
      const Result<size_t> wrote = kernel_.Write(task->ours, write.fd, piece);
      if (!wrote.ok()) {
        const int err = ErrorOf(wrote);
        if (err != ERESTART && err != EAGAIN) write.err = err;
        break;
      }
      write.done += *wrote;
      write.left -= std::min(*wrote, write.left);
    }
  }
}

void Engine::ForgetInode(kernel::Pid t, const At& at) {
  const Result<kernel::Stat> stat = kernel_.StatAt(t, at.dirfd, at.path, AT_SYMLINK_NOFOLLOW);
  if (stat.ok() && (stat->nlink <= 1 || S_ISDIR(stat->mode))) dying_.insert({stat->dev, stat->ino});
}

absl::StatusOr<ReplayResult> Replay(const Trace& trace, const ReplayOptions& options) {
  const std::vector<Step> steps = Linearise(trace);
  const absl::StatusOr<InitialState> initial = InferInitialState(trace, steps);
  if (!initial.ok()) return initial.status();
  return Engine(trace, steps, *initial, options).Run();
}

}  // namespace hotpath::replay
