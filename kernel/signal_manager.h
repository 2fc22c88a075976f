#ifndef HOTPATH_KERNEL_SIGNAL_MANAGER_H_
#define HOTPATH_KERNEL_SIGNAL_MANAGER_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "hotpath/core/result.h"
#include "hotpath/kernel/abi.h"
#include "hotpath/kernel/types.h"

namespace hotpath::kernel {

// Owns     dispositions (shared under CLONE_SIGHAND), masks, pending sets, and the masks that running handlers saved.
// Built on nothing.
// Locks    none of its own: the caller excludes other callers of the same kernel.
// Serves   kill(2) and its kin, every call that sleeps, and exit, which raise and take signals. What a default action
//          does to a process is not done here: it is handed to the caller.
class SignalManager {
 public:
  enum class DefaultAction : uint8_t { kIgnore, kTerminate, kDump, kStop };
  static DefaultAction DefaultOf(int signal);
  static bool IsValid(int signal) { return signal >= 1 && signal <= abi::kSignals; }

  struct Info {
    int signal = 0;
    Pid sender = 0;
    int status = 0;  // of a child, for SIGCHLD
  };
  // A signal taken from a pending set. handler 0 (SIG_DFL): its default action is the caller's to take.
  struct Taken {
    Info info;
    SignalAction action;
  };

  void CreateProcess(Pid process);  // its leader has the same number
  // flags as clone(2). `process` is the child's; it equals the parent's under CLONE_THREAD.
  void CloneTask(Pid parent, Pid child, Pid process, uint64_t flags);
  void DropTask(Pid task);  // the last task of a process takes the process's pending set along
  // execve(2): caught signals become default, ignored ones stay; the mask and pending signals stay. The task becomes
  // the process's leader.
  void Exec(Pid task, Pid process);

  // Queues a signal for a process, or for one task of it if `task` is not 0. Standard signals coalesce, real-time ones
  // queue (up to kMaxQueued in one set, then they coalesce too). An ignored signal that is not blocked is dropped.
  // Returns the task to wake: the one that should now take it; 0 if it was dropped or everyone blocks it.
  Pid Send(Pid process, Pid task, const Info& info);
  bool Ignores(Pid process, int signal) const;  // SIG_IGN is set
  uint64_t ActionFlags(Pid process, int signal) const;

  Result<SignalAction> Action(Pid task, int signal, const SignalAction* next);
  uint64_t mask(Pid task) const { return tasks_.at(task).mask; }
  Result<uint64_t> SetMask(Pid task, int how, const uint64_t* set);
  uint64_t Pending(Pid task) const;  // blocked and pending, for the task or its process

  // rt_sigsuspend(2), ppoll(2): a mask for the length of one call. The next delivery saves the mask from before it.
  void SetTemporaryMask(Pid task, uint64_t mask);
  void RestoreMask(Pid task);  // without a delivery

  // Whether a sleeping call of the task must end. kRestart: only handlers with SA_RESTART, or default actions, await.
  enum class Interrupt : uint8_t { kNo, kRestart, kFail };
  Interrupt Interrupts(Pid task);
  bool HasDeliverable(Pid task) const;  // a pending signal that is neither blocked nor ignored

  // Removes the next signal that the task does not block: its own before the process's, lowest number first. Ignored
  // ones vanish on the way. If it is caught, the mask changes as for a running handler.
  std::optional<Taken> Take(Pid task);
  // Removes one whose default action is to terminate or stop and which some task of the process does not block. Of a
  // stopped process, only SIGKILL.
  std::optional<Info> TakeDefault(Pid process, bool stopped);
  bool KillPending(Pid task) const;  // SIGKILL awaits
  Result<void> Return(Pid task);     // the end of a handler: EINVAL if none runs

  // A task to wake because another one no longer takes the process's signals; 0 if there is none.
  Pid Retarget(Pid process);

 private:
  static constexpr size_t kMaxQueued = 1024;
  static constexpr size_t kMaxFrames = 4096;  // handlers left by longjmp never return: the oldest are forgotten

  struct PendingSet {
    uint64_t bits = 0;
    std::deque<Info> queue;  // in order of arrival

    void Add(const Info& info);
    void Remove(uint64_t signals);
    std::optional<Info> Take(int signal);
  };
  using Handlers = std::array<SignalAction, abi::kSignals + 1>;  // [0] is unused
  struct Task {
    Pid process = 0;
    uint64_t mask = 0;
    std::optional<uint64_t> saved_mask;  // while a temporary mask is in force
    bool interrupted = false;            // chosen to take a signal (TIF_SIGPENDING)
    PendingSet pending;
    std::shared_ptr<Handlers> handlers;
    std::vector<uint64_t> frames;  // masks to restore
  };
  struct Process {
    PendingSet pending;
    absl::btree_set<Pid> tasks;
  };

  static uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }
  static bool IsIgnored(const SignalAction& action, int signal);
  const Task& AnyTask(Pid process) const;  // the leader, if it is alive
  Pid Choose(Process& process, Pid leader, int signal);
  uint64_t Deliverable(const Task& task) const;  // pending, neither blocked nor ignored
  void Recalculate(Task& task) { task.interrupted = Deliverable(task) != 0; }

  absl::flat_hash_map<Pid, Task> tasks_;
  absl::flat_hash_map<Pid, Process> processes_;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_SIGNAL_MANAGER_H_
