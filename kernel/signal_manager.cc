#include "hotpath/kernel/signal_manager.h"

#include <signal.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace hotpath::kernel {
namespace {

constexpr uint64_t MaskOf(std::initializer_list<int> signals) {
  uint64_t mask = 0;
  for (const int signal : signals) mask |= uint64_t{1} << (signal - 1);
  return mask;
}

constexpr uint64_t kUnblockable = MaskOf({SIGKILL, SIGSTOP});
constexpr uint64_t kStopSignals = MaskOf({SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU});
constexpr uint64_t kIgnoredByDefault = MaskOf({SIGCHLD, SIGCONT, SIGURG, SIGWINCH});
constexpr uint64_t kDumpsCore =
    MaskOf({SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS});
constexpr uint64_t kDefault = 0;  // SIG_DFL
constexpr uint64_t kIgnore = 1;   // SIG_IGN

int LowestSignal(uint64_t set) { return std::countr_zero(set) + 1; }

}  // namespace

SignalManager::DefaultAction SignalManager::DefaultOf(int signal) {
  const uint64_t bit = Bit(signal);
  if ((bit & kIgnoredByDefault) != 0) return DefaultAction::kIgnore;
  if ((bit & kStopSignals) != 0) return DefaultAction::kStop;
  if ((bit & kDumpsCore) != 0) return DefaultAction::kDump;
  return DefaultAction::kTerminate;
}

bool SignalManager::IsIgnored(const SignalAction& action, int signal) {
  return action.handler == kIgnore || (action.handler == kDefault && DefaultOf(signal) == DefaultAction::kIgnore);
}

void SignalManager::PendingSet::Add(const Info& info) {
  const uint64_t bit = Bit(info.signal);
  const bool coalesces = info.signal < abi::kFirstRealTime || queue.size() >= kMaxQueued;
  if ((bits & bit) != 0 && coalesces) return;
  bits |= bit;
  queue.push_back(info);
}

void SignalManager::PendingSet::Remove(uint64_t signals) {
  if ((bits & signals) == 0) return;
  bits &= ~signals;
  std::erase_if(queue, [&](const Info& info) { return (Bit(info.signal) & signals) != 0; });
}

std::optional<SignalManager::Info> SignalManager::PendingSet::Take(int signal) {
  const auto same = [&](const Info& info) { return info.signal == signal; };
  const auto it = std::find_if(queue.begin(), queue.end(), same);
  if (it == queue.end()) return std::nullopt;
  const Info info = *it;
  const auto next = queue.erase(it);
  if (std::none_of(next, queue.end(), same)) bits &= ~Bit(signal);
  return info;
}

void SignalManager::CreateProcess(Pid process) {
  Task task;
  task.process = process;
  task.handlers = std::make_shared<Handlers>();
  tasks_[process] = std::move(task);
  processes_[process].tasks.insert(process);
}

void SignalManager::CloneTask(Pid parent, Pid child, Pid process, uint64_t flags) {
  const Task& from = tasks_.at(parent);
  Task task;
  task.process = process;
  task.mask = from.mask;
  if ((flags & abi::kCloneThread) == 0) task.frames = from.frames;  // a thread starts on a stack of its own
  if ((flags & abi::kCloneSighand) != 0) {
    task.handlers = from.handlers;
  } else {
    task.handlers = std::make_shared<Handlers>(*from.handlers);
    if ((flags & abi::kCloneClearSighand) != 0) {
      for (SignalAction& action : *task.handlers) {
        if (action.handler != kIgnore) action = {};
      }
    }
  }
  tasks_[child] = std::move(task);
  processes_[process].tasks.insert(child);
}

void SignalManager::DropTask(Pid task) {
  const auto it = tasks_.find(task);
  const auto process = processes_.find(it->second.process);
  process->second.tasks.erase(task);
  if (process->second.tasks.empty()) processes_.erase(process);
  tasks_.erase(it);
}

void SignalManager::Exec(Pid task, Pid process) {
  if (task != process) {  // the others are gone: take the leader's number
    Task moved = std::move(tasks_.at(task));
    tasks_.erase(task);
    tasks_[process] = std::move(moved);
    Process& own = processes_.at(process);
    own.tasks.erase(task);
    own.tasks.insert(process);
  }
  Task& self = tasks_.at(process);
  auto handlers = std::make_shared<Handlers>(*self.handlers);
  for (SignalAction& action : *handlers) {
    action = {.handler = action.handler == kIgnore ? kIgnore : kDefault, .flags = 0, .mask = 0};
  }
  self.handlers = std::move(handlers);
  self.frames.clear();
  Recalculate(self);
}

const SignalManager::Task& SignalManager::AnyTask(Pid process) const {
  const auto leader = tasks_.find(process);
  if (leader != tasks_.end()) return leader->second;
  return tasks_.at(*processes_.at(process).tasks.begin());
}

Pid SignalManager::Choose(Process& process, Pid leader, int signal) {
  const auto wants = [&](Pid candidate) { return (tasks_.at(candidate).mask & Bit(signal)) == 0; };
  if (process.tasks.contains(leader) && wants(leader)) return leader;
  for (const Pid candidate : process.tasks) {
    if (wants(candidate)) return candidate;
  }
  return 0;
}

Pid SignalManager::Send(Pid process_id, Pid task_id, const Info& info) {
  const auto found = processes_.find(process_id);
  if (found == processes_.end()) return 0;  // a zombie
  Process& process = found->second;
  const uint64_t bit = Bit(info.signal);
  const uint64_t cancelled = (bit & kStopSignals) != 0 ? Bit(SIGCONT) : info.signal == SIGCONT ? kStopSignals : 0;
  if (cancelled != 0) {
    process.pending.Remove(cancelled);
    for (const Pid id : process.tasks) tasks_.at(id).pending.Remove(cancelled);
  }
  const Task& judge = task_id != 0 ? tasks_.at(task_id) : AnyTask(process_id);
  const bool blocked = (judge.mask & bit) != 0 || (judge.saved_mask.has_value() && (*judge.saved_mask & bit) != 0);
  if (!blocked && IsIgnored((*judge.handlers)[static_cast<size_t>(info.signal)], info.signal)) return 0;
  if (task_id != 0) {
    Task& task = tasks_.at(task_id);
    task.pending.Add(info);
    if ((task.mask & bit) != 0) return 0;
    task.interrupted = true;
    return task_id;
  }
  process.pending.Add(info);
  const Pid chosen = Choose(process, process_id, info.signal);
  if (chosen != 0) tasks_.at(chosen).interrupted = true;
  return chosen;
}

bool SignalManager::Ignores(Pid process, int signal) const {
  return (*AnyTask(process).handlers)[static_cast<size_t>(signal)].handler == kIgnore;
}

uint64_t SignalManager::ActionFlags(Pid process, int signal) const {
  return (*AnyTask(process).handlers)[static_cast<size_t>(signal)].flags;
}

Result<SignalAction> SignalManager::Action(Pid task_id, int signal, const SignalAction* next) {
  if (!IsValid(signal) || (next != nullptr && (Bit(signal) & kUnblockable) != 0)) return Code::kEINVAL;
  Task& task = tasks_.at(task_id);
  SignalAction& action = (*task.handlers)[static_cast<size_t>(signal)];
  const SignalAction previous = action;
  if (next != nullptr) {
    action = *next;
    action.flags &= abi::kSaKnown;
    action.mask &= ~kUnblockable;
    if (IsIgnored(action, signal)) {  // POSIX: what is pending is forgotten, blocked or not
      Process& process = processes_.at(task.process);
      process.pending.Remove(Bit(signal));
      for (const Pid id : process.tasks) tasks_.at(id).pending.Remove(Bit(signal));
    }
  }
  return previous;
}

Result<uint64_t> SignalManager::SetMask(Pid task_id, int how, const uint64_t* set) {
  Task& task = tasks_.at(task_id);
  const uint64_t previous = task.mask;
  if (set == nullptr) return previous;
  const uint64_t bits = *set & ~kUnblockable;
  switch (how) {
    case SIG_BLOCK:
      task.mask |= bits;
      break;
    case SIG_UNBLOCK:
      task.mask &= ~bits;
      break;
    case SIG_SETMASK:
      task.mask = bits;
      break;
    default:
      return Code::kEINVAL;
  }
  Recalculate(task);
  return previous;
}

uint64_t SignalManager::Pending(Pid task_id) const {
  const Task& task = tasks_.at(task_id);
  return (task.pending.bits | processes_.at(task.process).pending.bits) & task.mask;
}

void SignalManager::SetTemporaryMask(Pid task_id, uint64_t mask) {
  Task& task = tasks_.at(task_id);
  if (!task.saved_mask.has_value()) task.saved_mask = task.mask;
  task.mask = mask & ~kUnblockable;
  Recalculate(task);
}

void SignalManager::RestoreMask(Pid task_id) {
  Task& task = tasks_.at(task_id);
  task.mask = *task.saved_mask;
  task.saved_mask.reset();
  Recalculate(task);
}

uint64_t SignalManager::Deliverable(const Task& task) const {
  uint64_t set = (task.pending.bits | processes_.at(task.process).pending.bits) & ~task.mask;
  for (uint64_t left = set; left != 0; left &= left - 1) {
    const int signal = LowestSignal(left);
    if (IsIgnored((*task.handlers)[static_cast<size_t>(signal)], signal)) set &= ~Bit(signal);
  }
  return set;
}

SignalManager::Interrupt SignalManager::Interrupts(Pid task_id) {
  Task& task = tasks_.at(task_id);
  if (!task.interrupted) return Interrupt::kNo;
  const uint64_t set = Deliverable(task);
  task.interrupted = set != 0;
  for (uint64_t left = set; left != 0; left &= left - 1) {
    const SignalAction& action = (*task.handlers)[static_cast<size_t>(LowestSignal(left))];
    if (action.handler != kDefault && (action.flags & abi::kSaRestart) == 0) return Interrupt::kFail;
  }
  return set == 0 ? Interrupt::kNo : Interrupt::kRestart;
}

bool SignalManager::HasDeliverable(Pid task) const { return Deliverable(tasks_.at(task)) != 0; }

bool SignalManager::KillPending(Pid task_id) const {
  const Task& task = tasks_.at(task_id);
  return ((task.pending.bits | processes_.at(task.process).pending.bits) & Bit(SIGKILL)) != 0;
}

std::optional<SignalManager::Taken> SignalManager::Take(Pid task_id) {
  Task& task = tasks_.at(task_id);
  PendingSet& shared = processes_.at(task.process).pending;
  std::optional<Taken> taken;
  while (!taken.has_value()) {
    const uint64_t own = task.pending.bits & ~task.mask;
    const uint64_t both = own != 0 ? own : shared.bits & ~task.mask;
    if (both == 0) break;
    const int signal = LowestSignal(both);
    const std::optional<Info> info = (own != 0 ? task.pending : shared).Take(signal);
    SignalAction& action = (*task.handlers)[static_cast<size_t>(signal)];
    if (!info.has_value() || IsIgnored(action, signal)) continue;
    taken = Taken{*info, action};
    if (action.handler == kDefault) break;
    if (task.frames.size() == kMaxFrames) task.frames.erase(task.frames.begin(), task.frames.begin() + kMaxFrames / 2);
    task.frames.push_back(task.saved_mask.value_or(task.mask));
    task.saved_mask.reset();
    task.mask |= action.mask;
    if ((action.flags & abi::kSaNoDefer) == 0) task.mask |= Bit(signal);
    task.mask &= ~kUnblockable;
    if ((action.flags & abi::kSaResetHand) != 0) action.handler = kDefault;
  }
  Recalculate(task);
  return taken;
}

std::optional<SignalManager::Info> SignalManager::TakeDefault(Pid process_id, bool stopped) {
  const auto found = processes_.find(process_id);
  if (found == processes_.end()) return std::nullopt;
  Process& process = found->second;
  const auto take_from = [&](PendingSet& set, const Task& task) -> std::optional<Info> {
    for (uint64_t left = set.bits & ~task.mask; left != 0; left &= left - 1) {
      const int signal = LowestSignal(left);
      const SignalAction& action = (*task.handlers)[static_cast<size_t>(signal)];
      if (stopped && signal != SIGKILL) continue;
      if (action.handler == kDefault && DefaultOf(signal) != DefaultAction::kIgnore) return set.Take(signal);
    }
    return std::nullopt;
  };
  for (const Pid id : process.tasks) {
    Task& task = tasks_.at(id);
    std::optional<Info> info = take_from(task.pending, task);
    if (!info.has_value()) info = take_from(process.pending, task);
    if (info.has_value()) {
      Recalculate(task);
      return info;
    }
  }
  return std::nullopt;
}

Result<void> SignalManager::Return(Pid task_id) {
  Task& task = tasks_.at(task_id);
  if (task.frames.empty()) return Code::kEINVAL;
  task.mask = task.frames.back();
  task.frames.pop_back();
  Recalculate(task);
  return {};
}

Pid SignalManager::Retarget(Pid process_id) {
  const auto found = processes_.find(process_id);
  if (found == processes_.end() || found->second.pending.bits == 0) return 0;
  for (const Pid id : found->second.tasks) {
    Task& task = tasks_.at(id);
    if (task.interrupted) continue;
    Recalculate(task);
    if (task.interrupted) return id;
  }
  return 0;
}

}  // namespace hotpath::kernel
