#include "hotpath/kernel/kernel.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hotpath/kernel/kernel_state.h"
#include "hotpath/kernel/try.h"

namespace hotpath::kernel {
namespace {

constexpr int kCoreFlag = 0x80;
constexpr int kRlimitCore = 4;

// A task's limits at birth, as a Debian login has them where they matter.
std::array<Rlimit, abi::kRlimits> DefaultLimits(const KernelOptions& options) {
  std::array<Rlimit, abi::kRlimits> limits;
  limits.fill({abi::kInfinity, abi::kInfinity});
  limits[3] = {8 << 20, abi::kInfinity};  // RLIMIT_STACK
  limits[kRlimitCore] = {0, abi::kInfinity};
  limits[abi::kRlimitNofile] = {options.nofile_soft, options.nofile_hard};
  limits[8] = {8 << 20, 8 << 20};  // RLIMIT_MEMLOCK
  limits[12] = {819200, 819200};   // RLIMIT_MSGQUEUE
  limits[13] = {0, 0};             // RLIMIT_NICE
  limits[14] = {0, 0};             // RLIMIT_RTPRIO
  return limits;
}

}  // namespace

// ---- State ----

Kernel::State::State(KernelOptions kernel_options)
    : options(std::move(kernel_options)),
      vfs(
          ipc,
          // Asked only by managers: under mu, or while this object is being built.
          [this]()
              HOTPATH_NO_THREAD_SAFETY_ANALYSIS -> int64_t { return options.clock_ns ? options.clock_ns() : ++ticks; },
          options.mutation),
      fds(options.mutation),
      processes({.max_tasks = options.max_processes, .mutation = options.mutation},
                {.reaps_automatically =
                     [this](Pid parent) {
                       mu.AssertHeld();
                       return ReapsAutomatically(parent);
                     },
                 .notify =
                     [this](Pid parent, int signal, const Process& child, int code) {
                       mu.AssertHeld();
                       OnChildChange(parent, signal, child, code);
                     },
                 .hang_up =
                     [this](Pid group) {
                       mu.AssertHeld();
                       HangUp(group);
                     }}) {}

Result<Task*> Kernel::State::Enter(Pid t) {
  const std::shared_ptr<Task> task = processes.FindTask(t);
  if (task == nullptr) return Code::kESRCH;
  while (task->awaits_vfork_child || task->process->state == Process::State::kStopped) {
    if (options.never_block) return Code::kERESTART;
    Settle();
    if (!task->dead) {
      Sleeper sleeper;
      sleeper.JoinQueue(task->wakeup);
      sleeper.Sleep(mu);
    }
    if (task->dead) return Code::kESRCH;
  }
  return task.get();
}

Result<void> Kernel::State::Sleep(Task& task, std::span<WaitQueue* const> queues, bool restartable) {
  if (options.never_block) return Code::kERESTART;
  const std::shared_ptr<Task> pin = processes.FindTask(task.tid);
  Settle();
  if (pin->dead) return Code::kESRCH;
  const SignalManager::Interrupt interrupt = signals.Interrupts(task.tid);
  const bool must_restart = restartable && interrupt == SignalManager::Interrupt::kRestart;
  if (interrupt != SignalManager::Interrupt::kNo && !must_restart) return Code::kEINTR;
  {
    Sleeper sleeper;
    for (WaitQueue* queue : queues) sleeper.JoinQueue(*queue);
    sleeper.JoinQueue(task.wakeup);
    sleeper.Sleep(mu);
  }
  while (!pin->dead && task.process->state == Process::State::kStopped) {
    Sleeper sleeper;
    sleeper.JoinQueue(task.wakeup);
    sleeper.Sleep(mu);
  }
  if (pin->dead) return Code::kESRCH;
  return {};
}

void Kernel::State::Raise(Process& process, Pid task, const SignalManager::Info& info) {
  if (info.signal == SIGCONT) processes.Continue(process);
  const Pid chosen = signals.Send(process.pid, task, info);
  if (const std::shared_ptr<Task> wakes = processes.FindTask(chosen); wakes != nullptr) wakes->wakeup.WakeAll();
  if (!options.never_block) unsettled.push_back(process.pid);
}

void Kernel::State::Reconsider(const Process& process) {
  if (const std::shared_ptr<Task> wakes = processes.FindTask(signals.Retarget(process.pid)); wakes != nullptr) {
    wakes->wakeup.WakeAll();
  }
  if (!options.never_block) unsettled.push_back(process.pid);
}

void Kernel::State::Settle() {
  while (!unsettled.empty()) {
    const Pid pid = unsettled.back();
    unsettled.pop_back();
    for (;;) {
      Process* const process = processes.FindProcess(pid);
      if (process == nullptr || process->tasks.empty()) break;
      const std::optional<SignalManager::Info> info =
          signals.TakeDefault(pid, process->state == Process::State::kStopped);
      if (!info.has_value()) break;
      TakeDefaultAction(*process, *info);
    }
  }
}

bool Kernel::State::TakeDefaultAction(Process& process, const SignalManager::Info& info) {
  switch (SignalManager::DefaultOf(info.signal)) {
    case SignalManager::DefaultAction::kIgnore:
      break;
    case SignalManager::DefaultAction::kStop:
      if (info.signal != SIGSTOP && processes.IsOrphaned(process.group)) return false;
      processes.Stop(process, info.signal);
      break;
    case SignalManager::DefaultAction::kTerminate:
      EndProcess(process, info.signal);
      break;
    case SignalManager::DefaultAction::kDump:
      EndProcess(process, info.signal | (process.limits[kRlimitCore].soft >= abi::kPageSize ? kCoreFlag : 0));
      break;
  }
  return true;
}

bool Kernel::State::ReapsAutomatically(Pid parent) const {
  return signals.Ignores(parent, SIGCHLD) || (signals.ActionFlags(parent, SIGCHLD) & abi::kSaNoCldWait) != 0;
}

void Kernel::State::OnChildChange(Pid parent, int signal, const Process& child, int code) {
  if (signal == SIGCHLD && signals.Ignores(parent, SIGCHLD)) return;
  SignalManager::Info info{.signal = signal, .sender = child.pid};
  switch (code) {
    case CLD_STOPPED:
    case CLD_CONTINUED:
      if ((signals.ActionFlags(parent, SIGCHLD) & abi::kSaNoCldStop) != 0) return;
      info.status = code == CLD_STOPPED ? child.stop_signal : SIGCONT;
      break;
    case CLD_EXITED:
      info.status = child.status() >> 8 & 0xff;
      break;
    default:
      info.status = child.status() & 0x7f;
      break;
  }
  Raise(*processes.FindProcess(parent), 0, info);
}

void Kernel::State::HangUp(Pid group) {
  for (Process* member : processes.GroupMembers(group)) {
    if (member->tasks.empty()) continue;
    Raise(*member, 0, {.signal = SIGHUP});
    Raise(*member, 0, {.signal = SIGCONT});
  }
}

void Kernel::State::EndTask(Task& task, int wait_status) {
  const Pid tid = task.tid;
  const Pid pid = task.process->pid;
  pending_opens.erase(tid);
  vfs.lock_waits().Clear(tid);
  fds.Drop(tid);
  vfs.DropContext(tid);
  memory.Drop(tid);
  signals.DropTask(tid);
  processes.EndTask(task, wait_status);
  const Process* const left = processes.FindProcess(pid);
  if (left != nullptr && !left->tasks.empty()) Reconsider(*left);
}

void Kernel::State::EndProcess(Process& process, int wait_status) {
  process.exit_status = wait_status;
  std::vector<std::shared_ptr<Task>> tasks;
  for (const auto& [tid, task] : process.tasks) tasks.push_back(task);
  for (const std::shared_ptr<Task>& task : tasks) EndTask(*task, wait_status);
}

// ---- Kernel ----

Kernel::Kernel(KernelOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Kernel::~Kernel() = default;

Result<Pid> Kernel::Spawn(const SpawnOptions& options) {
  State& s = *state_;
  State::Lock lock(s);
  Credentials creds;
  creds.ruid = creds.euid = creds.suid = options.uid;
  creds.rgid = creds.egid = creds.sgid = options.gid;
  const Result<Inode*> cwd = s.vfs.Resolve(Credentials{}, s.vfs.root(), options.cwd, true);
  if (!cwd.ok()) return cwd.error();
  if (!(*cwd)->IsDirectory()) return Code::kENOTDIR;
  const Result<std::shared_ptr<Task>> task =
      s.processes.Spawn(options.name, options.parent, creds, DefaultLimits(s.options));
  if (!task.ok()) return task.error();
  const Pid pid = (*task)->tid;
  s.fds.Create(pid);
  s.vfs.CreateContext(pid, **cwd, options.umask);
  s.memory.Create(pid, options.brk_base);
  s.signals.CreateProcess(pid);
  return pid;
}

Result<Pid> Kernel::Clone(Pid t, const CloneOptions& options) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<std::shared_ptr<Task>> child = s.processes.Clone(**task, options.flags, options.exit_signal);
  if (!child.ok()) return child.error();
  const Pid tid = (*child)->tid;
  const auto has = [&](uint64_t flag) { return (options.flags & flag) != 0; };
  if (has(abi::kCloneFiles)) {
    s.fds.Share(t, tid);
  } else {
    s.fds.Copy(t, tid);
  }
  if (has(abi::kCloneFs)) {
    s.vfs.ShareContext(t, tid);
  } else {
    s.vfs.CopyContext(t, tid);
  }
  if (has(abi::kCloneVm)) {
    s.memory.Share(t, tid);
  } else {
    s.memory.Copy(t, tid);
  }
  s.signals.CloneTask(t, tid, (*child)->process->pid, options.flags);
  return tid;
}

Result<void> Kernel::Exec(Pid t, Fd dirfd, std::string_view path, int flags, const ExecOptions& options) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  const std::shared_ptr<Task> task = s.processes.FindTask(t);
  if ((flags & ~(abi::kAtEmptyPath | abi::kAtSymlinkNoFollow)) != 0) return Code::kEINVAL;
  const Result<Inode*> found =
      s.Target(*task, dirfd, path, (flags & abi::kAtSymlinkNoFollow) == 0, (flags & abi::kAtEmptyPath) != 0);
  if (!found.ok()) return found.error();
  HOTPATH_KERNEL_TRY(s.vfs.CheckExecutable(task->creds, **found));
  const InodeRef program(**found);

  // From here on it cannot fail.
  Process& process = *task->process;
  std::vector<std::shared_ptr<Task>> others;
  for (const auto& [tid, other] : process.tasks) {
    if (other != task) others.push_back(other);
  }
  for (const std::shared_ptr<Task>& other : others) s.EndTask(*other, 0);
  s.pending_opens.erase(t);
  s.fds.Unshare(t);
  s.fds.CloseOnExec(t);
  const Pid pid = process.pid;
  if (t != pid) {
    s.fds.Move(t, pid);
    s.vfs.ShareContext(t, pid);
    s.vfs.DropContext(t);
    s.memory.Drop(t);
  }
  s.memory.Create(pid, options.brk_base);
  s.memory.SpaceOf(pid).SetProgram(program);
  s.signals.Exec(t, pid);
  Credentials& creds = task->creds;
  if ((program->fs.flags & abi::kMsNoSuid) == 0) {
    if ((program->mode & 04000) != 0) creds.euid = program->uid;
    if ((program->mode & 02010) == 02010) creds.egid = program->gid;
  }
  creds.suid = creds.euid;
  creds.sgid = creds.egid;
  s.processes.Exec(*task);
  s.Reconsider(process);
  return {};
}

Result<void> Kernel::Exit(Pid t, int status) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  s.EndTask(**task, (status & 0xff) << 8);
  return {};
}

Result<void> Kernel::ExitGroup(Pid t, int status) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  s.EndProcess(*(*task)->process, (status & 0xff) << 8);
  return {};
}

Result<void> Kernel::Terminate(Pid t, int signal, bool core) {
  State& s = *state_;
  State::Lock lock(s);
  if (!SignalManager::IsValid(signal)) return Code::kEINVAL;
  const int status = signal | (core ? kCoreFlag : 0);
  if (const std::shared_ptr<Task> task = s.processes.FindTask(t); task != nullptr) {
    s.EndProcess(*task->process, status);
    return {};
  }
  const Process* const zombie = s.processes.FindProcess(t);
  if (zombie == nullptr || !zombie->tasks.empty() || (zombie->status() & ~kCoreFlag) != signal) return Code::kESRCH;
  return {};
}

Result<WaitResult> Kernel::Wait(Pid t, Pid which, int options) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  constexpr int kKnown =
      abi::kWNoHang | abi::kWUntraced | abi::kWContinued | abi::kWNoThread | abi::kWClone | abi::kWAll;
  if ((options & ~kKnown) != 0) return Code::kEINVAL;
  if (which == INT32_MIN) return Code::kESRCH;
  ProcessManager::Which children;
  if (which > 0) children = {ProcessManager::Which::Kind::kPid, which};
  if (which == 0) children = {ProcessManager::Which::Kind::kGroup, task.process->group};
  if (which < -1) children = {ProcessManager::Which::Kind::kGroup, -which};
  for (;;) {
    Process& process = *task.process;
    const Result<ProcessManager::Found> found = s.processes.Wait(process, children, options | abi::kWExited);
    if (found.ok()) return WaitResult{found->pid, found->status};
    if (found.error().code != Code::kEAGAIN) return found.error();
    if ((options & abi::kWNoHang) != 0) return WaitResult{};
    HOTPATH_KERNEL_TRY(s.Sleep(task, process.child_event));
  }
}

Result<WaitInfo> Kernel::WaitId(Pid t, int id_type, Pid id, int options) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  constexpr int kEvents = abi::kWExited | abi::kWUntraced | abi::kWContinued;
  constexpr int kKnown = kEvents | abi::kWNoHang | abi::kWNoWait | abi::kWNoThread | abi::kWClone | abi::kWAll;
  if ((options & ~kKnown) != 0 || (options & kEvents) == 0) return Code::kEINVAL;
  ProcessManager::Which which;
  switch (id_type) {
    case 0:  // P_ALL
      break;
    case 1:  // P_PID
      if (id <= 0) return Code::kEINVAL;
      which = {ProcessManager::Which::Kind::kPid, id};
      break;
    case 2:  // P_PGID
      if (id < 0) return Code::kEINVAL;
      which = {ProcessManager::Which::Kind::kGroup, id == 0 ? task.process->group : id};
      break;
    default:
      return Code::kEINVAL;
  }
  for (;;) {
    Process& process = *task.process;
    const Result<ProcessManager::Found> found = s.processes.Wait(process, which, options);
    if (found.ok()) {
      const int status = found->status;
      WaitInfo info{.pid = found->pid, .code = found->code, .status = status & 0x7f, .uid = found->uid};
      if (found->code == CLD_EXITED || found->code == CLD_STOPPED) info.status = status >> 8 & 0xff;
      if (found->code == CLD_CONTINUED) info.status = SIGCONT;
      return info;
    }
    if (found.error().code != Code::kEAGAIN) return found.error();
    if ((options & abi::kWNoHang) != 0) return WaitInfo{};
    HOTPATH_KERNEL_TRY(s.Sleep(task, process.child_event));
  }
}

Result<Pid> Kernel::GetPid(Pid t) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return (*task)->process->pid;
}

Result<Pid> Kernel::GetParentPid(Pid t) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Process* const parent = (*task)->process->parent;
  return parent == nullptr ? 0 : parent->pid;
}

Result<Pid> Kernel::GetProcessGroup(Pid t, Pid of) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.processes.GroupOf(**task, of);
}

Result<void> Kernel::SetProcessGroup(Pid t, Pid of, Pid group) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.processes.SetGroup(**task, of, group);
}

Result<Pid> Kernel::GetSession(Pid t, Pid of) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.processes.SessionOf(**task, of);
}

Result<Pid> Kernel::SetSession(Pid t) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.processes.SetSession(**task);
}

Result<void> Kernel::SetChildSubreaper(Pid t, bool on) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  (*task)->process->is_subreaper = on;
  return {};
}

Result<Credentials> Kernel::GetCredentials(Pid t) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return (*task)->creds;
}

Result<void> Kernel::SetResUid(Pid t, uint32_t real, uint32_t effective, uint32_t saved) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return ProcessManager::SetResUid(**task, real, effective, saved);
}

Result<void> Kernel::SetResGid(Pid t, uint32_t real, uint32_t effective, uint32_t saved) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return ProcessManager::SetResGid(**task, real, effective, saved);
}

Result<int> Kernel::GetNice(Pid t, Pid of) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.processes.GetNice(**task, of);
}

Result<void> Kernel::SetNice(Pid t, Pid of, int nice) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.processes.SetNice(**task, of, nice);
}

Result<uint32_t> Kernel::Umask(Pid t, uint32_t mask) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return std::exchange(s.vfs.ContextOf(t).umask, mask & 0777);
}

Result<Rlimit> Kernel::Prlimit(Pid t, Pid of, int resource, const Rlimit* next) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.processes.Limit(**task, of, resource, next);
}

// ---- Memory ----

Result<uint64_t> Kernel::Mmap(Pid t, uint64_t hint, size_t length, int prot, int flags, Fd fd, int64_t offset) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (offset % static_cast<int64_t>(abi::kPageSize) != 0) return Code::kEINVAL;
  std::shared_ptr<File> file;
  if ((flags & abi::kMapAnonymous) == 0) {
    Result<std::shared_ptr<File>> pinned = s.PinForUse(**task, fd);
    if (!pinned.ok()) return pinned.error();
    file = *std::move(pinned);
  }
  return s.memory.SpaceOf(t).Map(hint, length, prot, flags, std::move(file), offset, s.MemoryLimits(**task));
}

Result<void> Kernel::Munmap(Pid t, uint64_t address, size_t length) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.memory.SpaceOf(t).Unmap(address, length);
}

Result<void> Kernel::Mprotect(Pid t, uint64_t address, size_t length, int prot) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.memory.SpaceOf(t).Protect(address, length, prot);
}

Result<uint64_t> Kernel::Mremap(Pid t, uint64_t address, size_t old_length, size_t new_length, int flags,
                                uint64_t new_address) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.memory.SpaceOf(t).Remap(address, old_length, new_length, flags, new_address, s.MemoryLimits(**task));
}

Result<uint64_t> Kernel::Brk(Pid t, uint64_t address) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.memory.SpaceOf(t).Brk(address, s.MemoryLimits(**task));
}

Result<void> Kernel::Madvise(Pid t, uint64_t address, size_t length, int advice) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.memory.SpaceOf(t).Advise(address, length, advice);
}

Result<MemoryUse> Kernel::MemoryOf(Pid t) const {
  State& s = *state_;
  State::Lock lock(s);
  if (s.processes.FindTask(t) == nullptr) return Code::kESRCH;
  return s.memory.SpaceOf(t).Use();
}

// ---- Signals ----

Result<SignalAction> Kernel::Sigaction(Pid t, int signal, const SignalAction* next) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<SignalAction> previous = s.signals.Action(t, signal, next);
  if (previous.ok() && next != nullptr) s.Reconsider(*(*task)->process);
  return previous;
}

Result<uint64_t> Kernel::Sigprocmask(Pid t, int how, const uint64_t* set) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<uint64_t> previous = s.signals.SetMask(t, how, set);
  if (previous.ok() && set != nullptr) s.Reconsider(*(*task)->process);
  return previous;
}

Result<uint64_t> Kernel::Sigpending(Pid t) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.signals.Pending(t);
}

Result<void> Kernel::Sigsuspend(Pid t, uint64_t mask) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  s.signals.SetTemporaryMask(t, mask);
  s.Reconsider(*task.process);
  if (s.options.never_block) {
    if (s.signals.HasDeliverable(t)) return Code::kEINTR;
    s.signals.RestoreMask(t);
    return Code::kERESTART;
  }
  for (;;) {
    const Result<void> slept = s.Sleep(task, {}, false);
    if (!slept.ok()) return slept;
  }
}

Result<void> Kernel::Kill(Pid t, Pid target, int signal) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  const Task& task = **entered;
  Process& own = *task.process;
  std::vector<Process*> targets;
  if (target > 0) {
    if (Process* const one = s.processes.FindByAnyId(target); one != nullptr) targets.push_back(one);
  } else if (target == -1) {
    for (Process* process : s.processes.AllProcesses()) {
      if (process->pid > 1 && process != &own) targets.push_back(process);
    }
  } else if (target != INT32_MIN) {
    targets = s.processes.GroupMembers(target == 0 ? own.group : -target);
  }
  if (targets.empty()) return Code::kESRCH;
  if (signal != 0 && !SignalManager::IsValid(signal)) return Code::kEINVAL;
  bool permitted = false;
  const SignalManager::Info info{.signal = signal, .sender = own.pid};
  for (Process* process : targets) {
    if (!ProcessManager::MaySignal(task, *process, signal)) continue;
    permitted = true;
    if (signal != 0 && !process->tasks.empty()) s.Raise(*process, 0, info);
  }
  if (!permitted) return Code::kEPERM;
  return {};
}

Result<void> Kernel::TgKill(Pid t, Pid group, Pid target, int signal) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  if (group <= 0 || target <= 0) return Code::kEINVAL;
  const std::shared_ptr<Task> task = s.processes.FindTask(target);
  if (task == nullptr || task->process->pid != group) return Code::kESRCH;
  if (signal != 0 && !SignalManager::IsValid(signal)) return Code::kEINVAL;
  if (!ProcessManager::MaySignal(**entered, *task->process, signal)) return Code::kEPERM;
  if (signal != 0) s.Raise(*task->process, target, {.signal = signal, .sender = (*entered)->process->pid});
  return {};
}

Result<Delivery> Kernel::DeliverSignal(Pid t) {
  State& s = *state_;
  State::Lock lock(s);
  const std::shared_ptr<Task> task = s.processes.FindTask(t);
  if (task == nullptr) return Code::kESRCH;
  Process& process = *task->process;
  if (task->awaits_vfork_child ||
      process.state == Process::State::kStopped) {  // it does not run: only death reaches it
    if (!s.signals.KillPending(t)) return Code::kEAGAIN;
    s.EndProcess(process, SIGKILL);
    Delivery killed;
    killed.signal = SIGKILL;
    return killed;
  }
  for (;;) {
    const std::optional<SignalManager::Taken> taken = s.signals.Take(t);
    if (!taken.has_value()) return Code::kEAGAIN;
    const Delivery delivery{taken->info.signal, taken->info.sender, taken->info.status, taken->action};
    if (taken->action.handler != 0 || s.TakeDefaultAction(process, taken->info)) return delivery;
  }
}

Result<void> Kernel::SigReturn(Pid t) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  HOTPATH_KERNEL_TRY(s.signals.Return(t));
  s.Reconsider(*(*task)->process);
  return {};
}

// ---- Looking in ----

KernelStats Kernel::Stats() const {
  State& s = *state_;
  State::Lock lock(s);
  KernelStats stats;
  stats.processes = s.processes.processes();
  stats.tasks = s.processes.tasks();
  stats.zombies = s.processes.zombies();
  stats.open_descriptions = s.fds.descriptions();
  stats.descriptors = s.fds.descriptors();
  stats.inodes = s.vfs.inodes();
  stats.pipes = s.ipc.live_pipes();
  stats.mapped_bytes = s.memory.mapped_bytes();
  stats.file_bytes = s.vfs.file_bytes();
  return stats;
}

std::string Kernel::DumpFds(Pid t) const {
  State& s = *state_;
  State::Lock lock(s);
  if (s.processes.FindTask(t) == nullptr) return absl::StrCat("no task ", t, "\n");
  const FdTable& table = s.fds.TableOf(t);
  std::string out;
  for (Fd fd = 0; fd < table.end(); ++fd) {
    const std::shared_ptr<File>* const file = table.Find(fd);
    if (file == nullptr) continue;
    absl::StrAppend(&out, fd, " ", (*file)->Describe(), table.cloexec(fd) ? " cloexec" : "", "\n");
  }
  return out;
}

}  // namespace hotpath::kernel
