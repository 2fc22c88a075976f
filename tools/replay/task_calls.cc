// Replay of the calls about tasks, signals, limits and memory.

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/replay/replay_engine.h"

namespace hotpath::replay {
namespace {

using kernel::Pid;

std::string Hex(uint64_t n) { return absl::StrFormat("0x%x", n); }

}  // namespace

// ---- Life and death ----

Verdict Engine::OnClone(Call& c) {
  const uint64_t flags = c.f.CloneFlags();
  if (!c.f.ok()) return Verdict::kGiven;
  const kernel::CloneOptions options{flags & ~uint64_t{0xff}, static_cast<int>(flags & 0xff)};
  const Result<Pid> child = Timed([&] { return kernel_.Clone(c.t, options); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(child))) return *verdict;
  const int32_t recorded = static_cast<int32_t>(c.r.result);
  pids_.Forget(recorded);  // a new process: neither number means what it did
  pids_.ForgetValue(*child);
  reaped_.erase(*child);
  Task task;
  task.ours = *child;
  task.holds_parent = (flags & CLONE_VFORK) != 0;
  if ((flags & CLONE_FILES) && !(flags & CLONE_THREAD)) {
    task.shares_files = true;
    tasks_[c.r.pid].shares_files = true;
  }
  tasks_[recorded] = std::move(task);
  return ComparePid(c, child);
}

Verdict Engine::OnExec(Call& c) {
  const bool at = c.r.name == "execveat";
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  const int flags = at ? static_cast<int>(c.f.Int(4)) : 0;
  kernel::ExecOptions options;
  const auto image = initial_.images.find(c.index);
  if (image != initial_.images.end() && image->second.brk_base != 0) options.brk_base = image->second.brk_base;
  const int err = ErrorOf(Timed([&] { return kernel_.Exec(c.t, path.dirfd, path.path, flags, options); }));
  const Verdict verdict = CompareAck(c, err);
  if (err != 0 || c.r.err != 0) return verdict;
  if (image != initial_.images.end()) MapImage(c.t, image->second);
  TaskOf(c.r.pid)->shares_files = false;
  TaskOf(c.r.pid)->holds_parent = false;
  if (c.r.superseded != 0) {  // the thread goes on under its leader's number
    const Result<Pid> leader = kernel_.GetPid(c.t);
    Task task = std::move(tasks_[c.r.pid]);
    tasks_.erase(c.r.pid);
    if (leader.ok()) task.ours = *leader;
    tasks_[c.r.superseded] = std::move(task);
  }
  return verdict;
}

// Linux lets a vfork parent go on and closes the descriptors first; it reports the death, which the trace shows on its
// own line, later.
Verdict Engine::OnExit(Call& c) {
  Task* task = TaskOf(c.r.pid);
  if (c.r.name != "exit_group") return Verdict::kAck;
  if (task->holds_parent) {
    const int status = static_cast<int>(c.f.Int(0));
    (void)Timed([&] { return kernel_.ExitGroup(c.t, status); });
    task->dead = true;
  } else if (!task->shares_files) {
    (void)kernel_.CloseRange(c.t, 0, UINT_MAX, 0);
  }
  return Verdict::kAck;
}

Pid Engine::OurPid(int32_t recorded) const {
  const Pid* known = pids_.Find(recorded);
  return known == nullptr ? recorded : *known;
}

Verdict Engine::OnWait(Call& c) {
  const int32_t which = static_cast<int32_t>(c.f.Int(0));
  const int options = static_cast<int>(c.f.Int(2));
  Pid ours = which > 0 ? OurPid(which) : which < -1 ? -OurPid(-which) : which;
  bool raced = false;
  if (which <= 0 && c.r.err == 0 && c.r.result > 0 && c.r.exit_line != c.r.line) {
    // It slept until the recorded child ended.  Another one that ended before it returned may be listed first.
    const Result<kernel::WaitInfo> first = kernel_.WaitId(c.t, P_ALL, 0, WEXITED | WNOHANG | WNOWAIT);
    const Pid wanted = OurPid(static_cast<int32_t>(c.r.result));
    if (first.ok() && first->pid != 0 && first->pid != wanted && died_.contains(first->pid)) {
      raced = died_[first->pid] > c.r.line;
      if (raced) ours = wanted;
    }
  }
  const Result<kernel::WaitResult> got = Timed([&] { return kernel_.Wait(c.t, ours, options); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) return *verdict;
  const bool reaps = WIFEXITED(got->status) || WIFSIGNALED(got->status);
  const Verdict verdict =
      CompareWait(c, static_cast<int32_t>(c.r.result), c.f.WaitStatus(1), got->pid, got->status, reaps);
  return raced && verdict == Verdict::kPredicted ? Verdict::kRaceOk : verdict;
}

Verdict Engine::OnWaitId(Call& c) {
  const int id_type = static_cast<int>(c.f.Int(0)), options = static_cast<int>(c.f.Int(3));
  if (id_type > P_PGID) return Verdict::kUnsupported;  // by pidfd
  const Pid ours = id_type == P_ALL ? 0 : OurPid(static_cast<int32_t>(c.f.Int(1)));
  const Result<kernel::WaitInfo> got = Timed([&] { return kernel_.WaitId(c.t, id_type, ours, options); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) return *verdict;
  if (!c.f.IsStruct(2)) return Verdict::kAck;
  const int32_t recorded = static_cast<int32_t>(c.f.FieldOr(2, "si_pid", 0));
  std::optional<int> status;
  if (recorded != 0) status = static_cast<int>(c.f.FieldOr(2, "si_status", got->status));
  const bool ended = got->code == CLD_EXITED || got->code == CLD_KILLED || got->code == CLD_DUMPED;
  return CompareWait(c, recorded, status, got->pid, got->status, ended && !(options & WNOWAIT));
}

Verdict Engine::CompareWait(Call& c, int32_t recorded, std::optional<int> recorded_status, Pid child, int status,
                            bool reaps) {
  if (child == 0 && recorded == 0) return Verdict::kPredicted;
  if ((child == 0 || recorded == 0) && Overlaps(c)) return Verdict::kRaceOk;
  std::string why = "our kernel reports another child";
  if (auto again = reaped_.find(child); again != reaped_.end()) {
    why = absl::StrCat("our kernel reports child ", child, " (", again->second.first,
                       ") again, which the trace has waited for at line ", again->second.second);
  } else if (recorded == 0) {
    why = absl::StrCat("in our kernel child ", child, " has ended already");
  } else if (child == 0) {
    why = absl::StrCat("in our kernel child ", OurPid(recorded), " has not ended yet");
  }
  Verdict verdict = Verdict::kPredicted;
  if (child == 0 || recorded == 0 || OurPid(recorded) != child) {
    verdict = Differ(c, "pid", recorded == 0 ? "none yet" : absl::StrCat(recorded, " = our ", OurPid(recorded)),
                     child == 0 ? "none yet" : absl::StrCat(child), why);
  } else if (recorded_status && *recorded_status != status) {
    verdict = Differ(c, "status", Hex(static_cast<uint64_t>(*recorded_status)), Hex(static_cast<uint64_t>(status)),
                     "the child ended differently");
  }
  if (!reaps) return verdict;
  if (recorded != 0 && child != 0) reaped_.emplace(child, std::make_pair(recorded, c.r.line));
  pids_.ForgetValue(child);  // the numbers may be used again
  pids_.Forget(recorded);
  return verdict;
}

Verdict Engine::OnGetPid(Call& c) {
  const std::string& call = c.r.name;
  if (call == "getpid") return ComparePid(c, Timed([&] { return kernel_.GetPid(c.t); }));
  if (call == "getppid") return ComparePid(c, Timed([&] { return kernel_.GetParentPid(c.t); }));
  Pid of = 0;
  if (call != "getpgrp" && c.f.Int(0) != 0) {
    const Pid* known = pids_.Find(static_cast<int32_t>(c.f.Int(0)));
    if (known == nullptr) return Verdict::kGiven;  // about a process outside the trace
    of = *known;
  }
  if (call == "getsid") return ComparePid(c, Timed([&] { return kernel_.GetSession(c.t, of); }));
  return ComparePid(c, Timed([&] { return kernel_.GetProcessGroup(c.t, of); }));
}

Verdict Engine::OnSetGroup(Call& c) {
  if (c.r.name == "setsid") return ComparePid(c, Timed([&] { return kernel_.SetSession(c.t); }));
  Pid ids[2] = {0, 0};
  for (size_t i = 0; i < 2; ++i) {
    const int32_t id = static_cast<int32_t>(c.f.Int(i));
    if (id == 0) continue;
    const Pid* known = pids_.Find(id);
    if (known == nullptr) return Verdict::kGiven;
    ids[i] = *known;
  }
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.SetProcessGroup(c.t, ids[0], ids[1]); })));
}

// ---- Identities and limits ----

Verdict Engine::OnGetId(Call& c) {
  const Result<kernel::Credentials> ids = Timed([&] { return kernel_.GetCredentials(c.t); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(ids))) return *verdict;
  const std::string& call = c.r.name;
  const uint32_t ours = call == "getuid"    ? ids->ruid
                        : call == "geteuid" ? ids->euid
                        : call == "getgid"  ? ids->rgid
                                            : ids->egid;
  return CompareNumber(c, "id", ours, "our process runs as somebody else");
}

Verdict Engine::OnSetId(Call& c) {
  const std::string& call = c.r.name;
  auto id = [&](size_t i) { return static_cast<uint32_t>(c.f.Int(i)); };  // -1 keeps
  uint32_t real = UINT32_MAX, effective = UINT32_MAX, saved = UINT32_MAX;
  const bool group = absl::StrContains(call, "gid");
  if (call == "setresuid" || call == "setresgid") {
    real = id(0);
    effective = id(1);
    saved = id(2);
  } else if (call == "setreuid" || call == "setregid") {
    real = id(0);
    effective = id(1);
    if (real != UINT32_MAX || effective != UINT32_MAX) saved = effective;
  } else {  // setuid, setgid: all three if privileged
    const Result<kernel::Credentials> ids = kernel_.GetCredentials(c.t);
    effective = id(0);
    if (ids.ok() && ids->euid == 0) real = saved = effective;
  }
  const int err = group ? ErrorOf(Timed([&] { return kernel_.SetResGid(c.t, real, effective, saved); }))
                        : ErrorOf(Timed([&] { return kernel_.SetResUid(c.t, real, effective, saved); }));
  return CompareAck(c, err);
}

Verdict Engine::OnUmask(Call& c) {
  const uint32_t mask = static_cast<uint32_t>(c.f.Int(0));
  const Result<uint32_t> old = Timed([&] { return kernel_.Umask(c.t, mask); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(old))) return *verdict;
  return CompareNumber(c, "umask", *old, "it was set differently before");
}

Verdict Engine::OnPriority(Call& c) {
  if (c.f.Int(0) != PRIO_PROCESS) return Verdict::kUnsupported;
  const Pid of = c.f.Int(1) == 0 ? 0 : OurPid(static_cast<int32_t>(c.f.Int(1)));
  if (c.r.name == "setpriority") {
    const int nice = static_cast<int>(c.f.Int(2));
    return CompareAck(c, ErrorOf(Timed([&] { return kernel_.SetNice(c.t, of, nice); })));
  }
  const Result<int> nice = Timed([&] { return kernel_.GetNice(c.t, of); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(nice))) return *verdict;
  return CompareNumber(c, "priority", 20 - *nice, "it was set differently before");  // as the system call returns it
}

Verdict Engine::OnLimit(Call& c) {
  const bool both = c.r.name == "prlimit64";
  Pid of = 0;
  if (both && c.f.Int(0) != 0) {
    const Pid* known = pids_.Find(static_cast<int32_t>(c.f.Int(0)));
    if (known == nullptr) return Verdict::kGiven;
    of = *known;
  }
  const int resource = static_cast<int>(c.f.Int(both ? 1 : 0));
  const size_t new_at = both ? 2 : 1, old_at = both ? 3 : 1;
  kernel::Rlimit next;
  const bool sets = c.r.name != "getrlimit" && c.f.IsStruct(new_at);
  if (sets) {
    next.soft = static_cast<uint64_t>(c.f.Field(new_at, "rlim_cur"));
    next.hard = static_cast<uint64_t>(c.f.Field(new_at, "rlim_max"));
  }
  const Result<kernel::Rlimit> old = Timed([&] { return kernel_.Prlimit(c.t, of, resource, sets ? &next : nullptr); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(old))) return *verdict;
  if (c.r.name == "setrlimit" || !c.f.IsStruct(old_at)) return Verdict::kAck;
  const uint64_t soft = static_cast<uint64_t>(c.f.Field(old_at, "rlim_cur"));
  const uint64_t hard = static_cast<uint64_t>(c.f.Field(old_at, "rlim_max"));
  if (soft == old->soft && hard == old->hard) return Verdict::kPredicted;
  return Differ(c, "limit", absl::StrCat(soft, "/", hard), absl::StrCat(old->soft, "/", old->hard),
                "it was set differently before");
}

// ---- Signals ----

Verdict Engine::OnKill(Call& c) {
  auto ours = [&](size_t i) -> std::optional<Pid> {
    const int32_t id = static_cast<int32_t>(c.f.Int(i));
    if (id == 0 || id == -1) return id;
    const Pid* known = pids_.Find(id > 0 ? id : -id);
    if (known == nullptr) return std::nullopt;
    return id > 0 ? *known : -*known;
  };
  const bool task = c.r.name == "tgkill";
  const int signal = c.f.SignalNumber(task ? 2 : 1);
  const std::optional<Pid> first = ours(0);
  const std::optional<Pid> second = task ? ours(1) : first;
  if (!c.f.ok() || !first || !second) return Verdict::kGiven;  // to a process outside the trace
  if (c.r.name == "kill") {
    return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Kill(c.t, *first, signal); })));
  }
  Pid group = *first;
  if (!task) {  // tkill
    const Result<Pid> leader = kernel_.GetPid(*first);
    if (leader.ok()) group = *leader;
  }
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.TgKill(c.t, group, *second, signal); })));
}

Verdict Engine::OnSigaction(Call& c) {
  const int signal = c.f.SignalNumber(0);
  const std::optional<ShownAction> shown_next = c.f.Action(1), shown_old = c.f.Action(2);
  kernel::SignalAction next;
  if (shown_next) next = {shown_next->handler, shown_next->flags, shown_next->mask};
  const Result<kernel::SignalAction> old =
      Timed([&] { return kernel_.Sigaction(c.t, signal, shown_next ? &next : nullptr); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(old))) return *verdict;
  if (!shown_old) return Verdict::kAck;
  if (old->handler != shown_old->handler) {
    return Differ(c, "sa_handler", Hex(shown_old->handler), Hex(old->handler), "it was set differently before");
  }
  if (old->mask != shown_old->mask) {
    return Differ(c, "sa_mask", Hex(shown_old->mask), Hex(old->mask), "it was set differently before");
  }
  if (old->flags != shown_old->flags) {
    return Differ(c, "sa_flags", Hex(shown_old->flags), Hex(old->flags), "it was set differently before");
  }
  return Verdict::kPredicted;
}

Verdict Engine::OnSigprocmask(Call& c) {
  const int how = static_cast<int>(c.f.Int(0));
  const std::optional<uint64_t> set = c.f.SignalSet(1), shown = c.f.SignalSet(2);
  const Result<uint64_t> old = Timed([&] { return kernel_.Sigprocmask(c.t, how, set ? &*set : nullptr); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(old))) return *verdict;
  if (!shown) return Verdict::kAck;
  if (*old == *shown) return Verdict::kPredicted;
  return Differ(c, "mask", Hex(*shown), Hex(*old), "it was set differently before");
}

Verdict Engine::OnSigpending(Call& c) {
  const Result<uint64_t> pending = Timed([&] { return kernel_.Sigpending(c.t); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(pending))) return *verdict;
  const std::optional<uint64_t> shown = c.f.SignalSet(0);
  if (!shown) return Verdict::kAck;
  if (*shown == *pending) return Verdict::kPredicted;
  if (Overlaps(c)) return Verdict::kRaceOk;
  return Differ(c, "set", Hex(*shown), Hex(*pending), "other signals are pending");
}

// The value it returns is that of the interrupted call; what it does is to put the mask back.
Verdict Engine::OnSigreturn(Call& c) {
  Task& task = *TaskOf(c.r.pid);
  if (task.undelivered > 0) {
    --task.undelivered;
    return Verdict::kGiven;
  }
  const int err = ErrorOf(Timed([&] { return kernel_.SigReturn(c.t); }));
  if (err != 0) return Differ(c, "errno", "a mask restored", absl::StrCat("errno ", err), WhyError(c, err));
  const Result<uint64_t> mask = kernel_.Sigprocmask(c.t, SIG_BLOCK, nullptr);
  const Arg* shown = c.f.size() > 0 && c.f.IsStruct(0) ? c.f.At(0).Find("mask") : nullptr;
  const std::optional<uint64_t> wanted = shown == nullptr ? std::nullopt : SignalSetOf(*shown);
  if (!wanted || !mask.ok()) return Verdict::kAck;
  if (*wanted == *mask) return Verdict::kPredicted;
  (void)kernel_.Sigprocmask(c.t, SIG_SETMASK, &*wanted);
  return Differ(c, "mask", Hex(*wanted), Hex(*mask), "another mask was saved when the handler was entered");
}

Verdict Engine::OnSigsuspend(Call& c) {
  const std::optional<uint64_t> mask = c.f.SignalSet(0);
  if (!mask) return Verdict::kUnsupported;
  const int err = ErrorOf(Timed([&] { return kernel_.Sigsuspend(c.t, *mask); }));
  if (err == EINTR) return Verdict::kPredicted;  // the signal that the trace shows next
  if (Overlaps(c)) {
    TaskOf(c.r.pid)->waiting_mask = mask;
    return Verdict::kRaceOk;
  }
  return Differ(c, "errno", ErrnoName(WantedError(c)), ErrnoName(err), "no signal has come to our process");
}

// ---- Memory: our kernel is asked for the recorded addresses, so that later calls speak of the same ranges. ----

Verdict Engine::OnMmap(Call& c) {
  const size_t length = static_cast<size_t>(c.f.Int(1));
  const int prot = static_cast<int>(c.f.Int(2)), flags = static_cast<int>(c.f.Int(3));
  const kernel::Fd fd = c.f.Fd(4);
  const int64_t offset = c.f.Int(5);
  const uint64_t hint = c.r.err == 0 ? static_cast<uint64_t>(c.r.result) : c.f.Unsigned(0);
  if (c.note.opaque) {  // of a device or a memfd: only the range matters
    (void)kernel_.Mmap(c.t, hint, length, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return Verdict::kUnsupported;
  }
  const Result<uint64_t> got = Timed([&] { return kernel_.Mmap(c.t, hint, length, prot, flags, fd, offset); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) {
    if (*verdict == Verdict::kMismatch && c.r.err == 0) {
      (void)kernel_.Mmap(c.t, hint, length, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    return *verdict;
  }
  if (*got != hint) {
    (void)kernel_.Munmap(c.t, *got, length);
    (void)kernel_.Mmap(c.t, hint, length, prot, flags | MAP_FIXED, fd, offset);
  }
  return Verdict::kAck;
}

Verdict Engine::OnMunmap(Call& c) {
  const uint64_t start = c.f.Unsigned(0);
  const size_t length = static_cast<size_t>(c.f.Int(1));
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Munmap(c.t, start, length); })));
}

Verdict Engine::OnMprotect(Call& c) {
  const uint64_t start = c.f.Unsigned(0);
  const size_t length = static_cast<size_t>(c.f.Int(1));
  const int prot = static_cast<int>(c.f.Int(2));
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Mprotect(c.t, start, length, prot); })));
}

Verdict Engine::OnMremap(Call& c) {
  const uint64_t start = c.f.Unsigned(0);
  const size_t old_length = static_cast<size_t>(c.f.Int(1)), new_length = static_cast<size_t>(c.f.Int(2));
  int flags = static_cast<int>(c.f.Int(3));
  uint64_t to = static_cast<uint64_t>(c.f.IntOr(4, 0));
  if (c.r.err == 0 && static_cast<uint64_t>(c.r.result) != start) {
    flags |= MREMAP_MAYMOVE | MREMAP_FIXED;
    to = static_cast<uint64_t>(c.r.result);
  }
  const int err = ErrorOf(Timed([&] { return kernel_.Mremap(c.t, start, old_length, new_length, flags, to); }));
  return CompareAck(c, err);
}

Verdict Engine::OnMadvise(Call& c) {
  const uint64_t start = c.f.Unsigned(0);
  const size_t length = static_cast<size_t>(c.f.Int(1));
  const int advice = static_cast<int>(c.f.Int(2));
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Madvise(c.t, start, length, advice); })));
}

Verdict Engine::OnBrk(Call& c) {
  const uint64_t wanted = c.f.Unsigned(0);
  const Result<uint64_t> now = Timed([&] { return kernel_.Brk(c.t, wanted); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(now))) return *verdict;
  if (*now == static_cast<uint64_t>(c.r.result)) return Verdict::kPredicted;
  const Verdict verdict =
      Differ(c, "break", Hex(static_cast<uint64_t>(c.r.result)), Hex(*now), "the break started or moved elsewhere");
  (void)kernel_.Brk(c.t, static_cast<uint64_t>(c.r.result));
  return verdict;
}

}  // namespace hotpath::replay
