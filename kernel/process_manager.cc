#include "hotpath/kernel/process_manager.h"

#include <signal.h>

#include <algorithm>
#include <utility>

namespace hotpath::kernel {
namespace {

int TermSignal(int status) { return status & 0x7f; }

int CodeOfExit(int status) {
  if (TermSignal(status) == 0) return CLD_EXITED;
  return (status & 0x80) != 0 ? CLD_DUMPED : CLD_KILLED;
}

Result<void> SetIds(uint32_t& real, uint32_t& effective, uint32_t& saved, uint32_t next_real, uint32_t next_effective,
                    uint32_t next_saved, bool privileged) {
  const auto allowed = [&](uint32_t id) {
    return privileged || id == UINT32_MAX || id == real || id == effective || id == saved;
  };
  if (!allowed(next_real) || !allowed(next_effective) || !allowed(next_saved)) return Code::kEPERM;
  if (next_real != UINT32_MAX) real = next_real;
  if (next_effective != UINT32_MAX) effective = next_effective;
  if (next_saved != UINT32_MAX) saved = next_saved;
  return {};
}

}  // namespace

ProcessManager::~ProcessManager() = default;

std::shared_ptr<Task> ProcessManager::FindTask(Pid tid) const {
  const auto it = tasks_.find(tid);
  return it == tasks_.end() ? nullptr : it->second;
}

Process* ProcessManager::FindProcess(Pid pid) const {
  const auto it = processes_.find(pid);
  return it == processes_.end() ? nullptr : it->second.get();
}

Process* ProcessManager::FindByAnyId(Pid id) const {
  if (Process* process = FindProcess(id); process != nullptr) return process;
  const auto it = tasks_.find(id);
  return it == tasks_.end() ? nullptr : it->second->process;
}

bool ProcessManager::InUse(Pid id) const {
  return processes_.contains(id) || tasks_.contains(id) || groups_.contains(id) || sessions_.contains(id);
}

Result<Pid> ProcessManager::NewPid() {
  if (tasks_.size() + zombies_ >= static_cast<size_t>(options_.max_tasks)) return Code::kEAGAIN;
  for (int32_t tries = 0; tries < options_.pid_max; ++tries) {
    if (++last_pid_ >= options_.pid_max) last_pid_ = std::min(abi::kReservedPids, options_.pid_max / 2);
    if (!InUse(last_pid_)) return last_pid_;
  }
  return Code::kEAGAIN;
}

void ProcessManager::JoinGroup(Process& process, Pid group, Pid session) {
  process.group = group;
  process.session = session;
  Group& joined = groups_[group];
  joined.session = session;
  joined.members.emplace(process.pid, &process);
  if (process.state == Process::State::kStopped) ++joined.stopped;
  ++sessions_[session];
}

void ProcessManager::LeaveGroup(Process& process) {
  const auto group = groups_.find(process.group);
  group->second.members.erase(process.pid);
  if (process.state == Process::State::kStopped) --group->second.stopped;
  if (group->second.members.empty()) groups_.erase(group);
  const auto session = sessions_.find(process.session);
  if (--session->second == 0) sessions_.erase(session);
}

void ProcessManager::Adopt(Process& parent, Process& child) {
  child.parent = &parent;
  child.order = next_order_++;
  parent.children.emplace(child.order, &child);
}

Result<std::shared_ptr<Task>> ProcessManager::Spawn(const std::string& name, Pid parent_pid, const Credentials& creds,
                                                    const std::array<Rlimit, abi::kRlimits>& limits) {
  Process* parent = nullptr;
  if (parent_pid != 0) {
    parent = FindProcess(parent_pid);
    if (parent == nullptr || parent->state == Process::State::kZombie) return Code::kESRCH;
  }
  const Result<Pid> pid = NewPid();
  if (!pid.ok()) return pid.error();
  auto owned = std::make_unique<Process>();
  Process& process = *owned;
  process.pid = *pid;
  process.name = name;
  process.limits = limits;
  process.has_execed = true;
  processes_.emplace(*pid, std::move(owned));
  JoinGroup(process, parent == nullptr ? *pid : parent->group, parent == nullptr ? *pid : parent->session);
  if (parent != nullptr) Adopt(*parent, process);
  if (init_ == 0) init_ = *pid;
  auto task = std::make_shared<Task>();
  task->tid = *pid;
  task->process = &process;
  task->creds = creds;
  process.tasks.emplace(*pid, task);
  tasks_.emplace(*pid, task);
  return task;
}

Result<std::shared_ptr<Task>> ProcessManager::Clone(Task& caller, uint64_t flags, int exit_signal) {
  const auto has = [flags](uint64_t flag) { return (flags & flag) != 0; };
  if (has(abi::kCloneNewNs) && has(abi::kCloneFs)) return Code::kEINVAL;
  if (has(abi::kCloneThread) && !has(abi::kCloneSighand)) return Code::kEINVAL;
  if (has(abi::kCloneSighand) && !has(abi::kCloneVm)) return Code::kEINVAL;
  if (has(abi::kCloneSighand) && has(abi::kCloneClearSighand)) return Code::kEINVAL;
  if (exit_signal < 0 || exit_signal > abi::kSignals) return Code::kEINVAL;
  const Result<Pid> tid = NewPid();
  if (!tid.ok()) return tid.error();
  Process& own = *caller.process;
  auto task = std::make_shared<Task>();
  task->tid = *tid;
  task->creds = caller.creds;
  task->nice = caller.nice;
  if (has(abi::kCloneThread)) {
    task->process = &own;
  } else {
    auto child = std::make_unique<Process>();
    child->pid = *tid;
    child->name = own.name;
    child->limits = own.limits;
    child->exit_signal = has(abi::kCloneParent) ? own.exit_signal : exit_signal;
    task->process = child.get();
    JoinGroup(*child, own.group, own.session);
    Process* const parent = has(abi::kCloneParent) ? own.parent : &own;
    if (parent != nullptr) Adopt(*parent, *child);
    processes_.emplace(*tid, std::move(child));
  }
  task->process->tasks.emplace(*tid, task);
  tasks_.emplace(*tid, task);
  if (has(abi::kCloneVfork)) {
    task->vfork_parent = tasks_.at(caller.tid);
    caller.awaits_vfork_child = true;
  }
  return task;
}

void ProcessManager::Exec(Task& caller) {
  Process& process = *caller.process;
  process.has_execed = true;
  process.exit_signal = kSigChld;
  if (caller.tid != process.pid) {
    const std::shared_ptr<Task> self = tasks_.at(caller.tid);
    tasks_.erase(caller.tid);
    process.tasks.erase(caller.tid);
    caller.tid = process.pid;
    tasks_[caller.tid] = self;
    process.tasks[caller.tid] = self;
  }
  ReleaseVforkParent(caller);
}

void ProcessManager::ReleaseVforkParent(Task& child) {
  const std::shared_ptr<Task> parent = child.vfork_parent.lock();
  child.vfork_parent.reset();
  if (parent == nullptr) return;
  parent->awaits_vfork_child = false;
  parent->wakeup.WakeAll();
}

void ProcessManager::EndTask(Task& task, int wait_status) {
  Process& process = *task.process;
  const std::shared_ptr<Task> self = tasks_.at(task.tid);
  task.dead = true;
  process.last_creds = task.creds;
  process.last_nice = task.nice;
  tasks_.erase(task.tid);
  process.tasks.erase(task.tid);
  ReleaseVforkParent(task);
  task.wakeup.WakeAll();
  if (!process.tasks.empty()) return;
  if (!process.exit_status.has_value()) process.exit_status = wait_status;
  BecomeZombie(process);
}

Process* ProcessManager::ReaperFor(const Process& dying) const {
  for (Process* ancestor = dying.parent; ancestor != nullptr; ancestor = ancestor->parent) {
    if (ancestor->is_subreaper && ancestor->state != Process::State::kZombie) return ancestor;
  }
  Process* const init = FindProcess(init_);
  return init != nullptr && init != &dying && init->state != Process::State::kZombie ? init : nullptr;
}

void ProcessManager::BecomeZombie(Process& process) {
  // Groups that lose their last tie to the session through this death (POSIX: hang up stopped ones).
  std::vector<Pid> orphaned;
  const auto consider = [&](const Process& member, const Process* parent) {
    if (parent == nullptr || parent->group == member.group || parent->session != member.session) return;
    if (groups_.at(member.group).stopped == 0 || !IsOrphanedWithout(member.group, &process)) return;
    if (std::find(orphaned.begin(), orphaned.end(), member.group) == orphaned.end()) orphaned.push_back(member.group);
  };
  if (process.state == Process::State::kStopped) --groups_.at(process.group).stopped;
  process.state = Process::State::kZombie;
  process.report = Process::Report::kNone;
  ++zombies_;
  consider(process, process.parent);
  for (const auto& [order, child] : process.children) consider(*child, &process);

  Process* const reaper = ReaperFor(process);
  std::map<uint64_t, Process*> orphans;
  orphans.swap(process.children);
  process.reportable.clear();
  for (const auto& [order, child] : orphans) {
    child->parent = nullptr;
    const bool zombie = child->state == Process::State::kZombie;
    if (reaper == nullptr) {
      if (zombie) Release(*child);
      continue;
    }
    child->exit_signal = kSigChld;
    Adopt(*reaper, *child);
    if (zombie) {
      AnnounceZombie(*child);
    } else if (child->report != Process::Report::kNone) {
      reaper->reportable.emplace(child->order, child);
    }
  }
  for (const Pid group : orphaned) hooks_.hang_up(group);
  if (process.parent == nullptr) {
    Release(process);
  } else {
    AnnounceZombie(process);
  }
}

// Tells the parent, who reaps it now or later.
void ProcessManager::AnnounceZombie(Process& process) {
  Process& parent = *process.parent;
  const bool reaped = process.exit_signal == kSigChld && hooks_.reaps_automatically(parent.pid);
  if (process.exit_signal != 0) hooks_.notify(parent.pid, process.exit_signal, process, CodeOfExit(process.status()));
  if (reaped) {
    Release(process);
  } else {
    parent.reportable[process.order] = &process;
  }
  parent.child_event.WakeAll();
}

void ProcessManager::Tell(Process& child, int signal, int code) {
  Process* const parent = child.parent;
  if (parent == nullptr) return;
  parent->reportable[child.order] = &child;
  hooks_.notify(parent->pid, signal, child, code);
  parent->child_event.WakeAll();
}

void ProcessManager::Stop(Process& process, int signal) {
  if (process.state != Process::State::kRunning) return;
  process.state = Process::State::kStopped;
  process.stop_signal = signal;
  process.report = Process::Report::kStopped;
  ++groups_.at(process.group).stopped;
  Tell(process, kSigChld, CLD_STOPPED);
}

void ProcessManager::Continue(Process& process) {
  if (process.state != Process::State::kStopped) return;
  process.state = Process::State::kRunning;
  process.report = Process::Report::kContinued;
  --groups_.at(process.group).stopped;
  for (const auto& [tid, task] : process.tasks) task->wakeup.WakeAll();
  Tell(process, kSigChld, CLD_CONTINUED);
}

void ProcessManager::Release(Process& process) {
  if (process.parent != nullptr) {
    process.parent->children.erase(process.order);
    process.parent->reportable.erase(process.order);
  }
  LeaveGroup(process);
  if (process.state == Process::State::kZombie) --zombies_;
  processes_.erase(process.pid);
}

bool ProcessManager::IsEligible(const Process& child, Which which, int options) {
  const bool clone_child = child.exit_signal != kSigChld;
  if ((options & abi::kWAll) == 0 && clone_child != ((options & abi::kWClone) != 0)) return false;
  switch (which.kind) {
    case Which::Kind::kAny:
      return true;
    case Which::Kind::kPid:
      return child.pid == which.id;
    case Which::Kind::kGroup:
      return child.group == which.id;
  }
  return false;
}

Result<ProcessManager::Found> ProcessManager::Wait(Process& parent, Which which, int options) {
  const auto report = [&](Process& child) -> std::optional<Found> {
    const bool keep = (options & abi::kWNoWait) != 0;
    if (child.state == Process::State::kZombie) {
      if ((options & abi::kWExited) == 0) return std::nullopt;
      const int status = child.status();
      const Found found{child.pid, status, CodeOfExit(status), child.creds().ruid};
      if (!keep && options_.mutation != Mutation::kWaitDoesNotReap) Release(child);
      return found;
    }
    Found found{child.pid, 0, 0, child.creds().ruid};
    if (child.report == Process::Report::kStopped && (options & abi::kWUntraced) != 0) {
      found.status = child.stop_signal << 8 | 0x7f;
      found.code = CLD_STOPPED;
    } else if (child.report == Process::Report::kContinued && (options & abi::kWContinued) != 0) {
      found.status = 0xffff;
      found.code = CLD_CONTINUED;
    } else {
      return std::nullopt;
    }
    if (!keep) {
      child.report = Process::Report::kNone;
      parent.reportable.erase(child.order);
    }
    return found;
  };

  if (which.kind == Which::Kind::kPid) {
    Process* const child = FindProcess(which.id);
    if (child == nullptr || child->parent != &parent || !IsEligible(*child, which, options)) return Code::kECHILD;
    if (const std::optional<Found> found = report(*child); found.has_value()) return *found;
    return Code::kEAGAIN;
  }
  for (const auto& [order, child] : parent.reportable) {
    if (!IsEligible(*child, which, options)) continue;
    if (const std::optional<Found> found = report(*child); found.has_value()) return *found;
  }
  const bool any = std::any_of(parent.children.begin(), parent.children.end(),
                               [&](const auto& entry) { return IsEligible(*entry.second, which, options); });
  return any ? Code::kEAGAIN : Code::kECHILD;
}

Result<Pid> ProcessManager::GroupOf(const Task& caller, Pid of) const {
  const Process* process = of == 0 ? caller.process : FindByAnyId(of);
  if (process == nullptr) return Code::kESRCH;
  return process->group;
}

Result<Pid> ProcessManager::SessionOf(const Task& caller, Pid of) const {
  const Process* process = of == 0 ? caller.process : FindByAnyId(of);
  if (process == nullptr) return Code::kESRCH;
  return process->session;
}

Result<void> ProcessManager::SetGroup(Task& caller, Pid of, Pid group) {
  Process& own = *caller.process;
  if (of == 0) of = own.pid;
  if (group == 0) group = of;
  if (group < 0) return Code::kEINVAL;
  Process* const process = FindProcess(of);
  if (process == nullptr) return tasks_.contains(of) ? Code::kEINVAL : Code::kESRCH;
  if (process->parent == &own) {
    if (process->session != own.session) return Code::kEPERM;
    if (process->has_execed) return Code::kEACCES;
  } else if (process != &own) {
    return Code::kESRCH;
  }
  if (process->session == process->pid) return Code::kEPERM;  // a session leader
  if (group != of) {
    const auto it = groups_.find(group);
    if (it == groups_.end() || it->second.session != own.session) return Code::kEPERM;
  }
  if (group == process->group) return {};
  const Pid session = process->session;
  // Join before leaving: the session must not vanish in between. A process is in one group only, so fix the fields
  // last.
  const Pid left = process->group;
  JoinGroup(*process, group, session);
  process->group = left;
  LeaveGroup(*process);
  process->group = group;
  return {};
}

Result<Pid> ProcessManager::SetSession(Task& caller) {
  Process& process = *caller.process;
  if (groups_.contains(process.pid)) return Code::kEPERM;  // it leads a group, or one is still named after it
  LeaveGroup(process);
  JoinGroup(process, process.pid, process.pid);
  return process.pid;
}

bool ProcessManager::IsOrphaned(Pid group) const { return IsOrphanedWithout(group, nullptr); }

bool ProcessManager::IsOrphanedWithout(Pid group, const Process* ignored) const {
  const auto it = groups_.find(group);
  if (it == groups_.end()) return true;
  return std::none_of(it->second.members.begin(), it->second.members.end(), [&](const auto& entry) {
    const Process& member = *entry.second;
    const Process* const parent = member.parent;
    return &member != ignored && member.state != Process::State::kZombie && parent != nullptr && parent != ignored &&
           parent->group != group && parent->session == member.session;
  });
}

std::vector<Process*> ProcessManager::GroupMembers(Pid group) const {
  std::vector<Process*> members;
  const auto it = groups_.find(group);
  if (it == groups_.end()) return members;
  for (const auto& [pid, process] : it->second.members) members.push_back(process);
  return members;
}

std::vector<Process*> ProcessManager::AllProcesses() const {
  std::vector<Process*> all;
  for (const auto& [pid, process] : processes_) all.push_back(process.get());
  std::sort(all.begin(), all.end(), [](const Process* a, const Process* b) { return a->pid < b->pid; });
  return all;
}

Result<void> ProcessManager::SetResUid(Task& task, uint32_t real, uint32_t effective, uint32_t saved) {
  Credentials& c = task.creds;
  return SetIds(c.ruid, c.euid, c.suid, real, effective, saved, c.euid == 0);
}

Result<void> ProcessManager::SetResGid(Task& task, uint32_t real, uint32_t effective, uint32_t saved) {
  Credentials& c = task.creds;
  return SetIds(c.rgid, c.egid, c.sgid, real, effective, saved, c.euid == 0);
}

bool ProcessManager::MaySignal(const Task& sender, const Process& target, int signal) {
  const Credentials& from = sender.creds;
  if (from.euid == 0 || sender.process == &target) return true;
  if (signal == SIGCONT && sender.process->session == target.session) return true;
  const Credentials& to = target.creds();
  return from.euid == to.ruid || from.euid == to.suid || from.ruid == to.ruid || from.ruid == to.suid;
}

Result<Rlimit> ProcessManager::Limit(Task& caller, Pid of, int resource, const Rlimit* next) {
  Process* const process = of == 0 ? caller.process : FindByAnyId(of);
  if (process == nullptr) return Code::kESRCH;
  const Credentials& own = caller.creds;
  const bool privileged = own.euid == 0;
  if (process != caller.process && !privileged) {
    const Credentials& other = process->creds();
    const bool same = own.ruid == other.ruid && own.ruid == other.euid && own.ruid == other.suid &&
                      own.rgid == other.rgid && own.rgid == other.egid && own.rgid == other.sgid;
    if (!same) return Code::kEPERM;
  }
  if (resource < 0 || resource >= abi::kRlimits) return Code::kEINVAL;
  Rlimit& limit = process->limits[static_cast<size_t>(resource)];
  const Rlimit previous = limit;
  if (next != nullptr) {
    if (next->soft > next->hard) return Code::kEINVAL;
    if (resource == abi::kRlimitNofile && next->hard > abi::kNrOpen) return Code::kEPERM;
    if (next->hard > limit.hard && !privileged) return Code::kEPERM;
    limit = *next;
  }
  return previous;
}

Result<int> ProcessManager::GetNice(const Task& caller, Pid of) const {
  if (of == 0) return caller.nice;
  if (const auto it = tasks_.find(of); it != tasks_.end()) return it->second->nice;
  const Process* const process = FindProcess(of);
  if (process == nullptr) return Code::kESRCH;
  return process->last_nice;
}

Result<void> ProcessManager::SetNice(const Task& caller, Pid of, int nice) {
  const auto it = tasks_.find(of == 0 ? caller.tid : of);
  Process* const zombie = it == tasks_.end() ? FindProcess(of) : nullptr;
  if (it == tasks_.end() && zombie == nullptr) return Code::kESRCH;
  int& value = zombie == nullptr ? it->second->nice : zombie->last_nice;
  const Credentials& creds = zombie == nullptr ? it->second->creds : zombie->last_creds;
  nice = std::clamp(nice, -20, 19);
  const bool privileged = caller.creds.euid == 0;
  if (!privileged && creds.ruid != caller.creds.euid && creds.euid != caller.creds.euid) return Code::kEPERM;
  if (nice < value && !privileged) return Code::kEACCES;
  value = nice;
  return {};
}

}  // namespace hotpath::kernel
