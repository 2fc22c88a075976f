#ifndef HOTPATH_KERNEL_KERNEL_STATE_H_
#define HOTPATH_KERNEL_KERNEL_STATE_H_

#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "hotpath/core/base/annotations.h"
#include "hotpath/kernel/fd_manager.h"
#include "hotpath/kernel/file.h"
#include "hotpath/kernel/ipc_manager.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/memory_manager.h"
#include "hotpath/kernel/process_manager.h"
#include "hotpath/kernel/signal_manager.h"
#include "hotpath/kernel/vfs_manager.h"

namespace hotpath::kernel {

// Private to the kernel's own sources.
//
// Owns     the managers, the one lock of a kernel, and the work that a call leaves to its end.
// Built on every manager.
// Locks    mu, which excludes all calls but those that sleep.
// Serves   Kernel: sleeping, signals between managers, and the release of what a task holds.
struct Kernel::State {
  explicit State(KernelOptions kernel_options);

  // The task that makes a call, once it may run: ESRCH if there is none.
  Result<Task*> Enter(Pid t) HOTPATH_REQUIRES(mu);

  // Sleeps until one of the queues wakes, then returns success: look again. The queues must outlive the sleep. Fails
  // with one of
  //   kERESTART  never_block: nothing slept;
  //   kEINTR     a handler must run first (a `restartable` call sleeps on if it has SA_RESTART);
  //   kESRCH     the task died: it must not be touched again.
  Result<void> Sleep(Task& task, std::span<WaitQueue* const> queues, bool restartable) HOTPATH_REQUIRES(mu);
  Result<void> Sleep(Task& task, WaitQueue& queue) HOTPATH_REQUIRES(mu) {
    WaitQueue* const one = &queue;
    return Sleep(task, std::span(&one, 1), true);
  }

  // Sends a signal to a process, or to one task of it (task != 0), and wakes who should take it.
  void Raise(Process& process, Pid task, const SignalManager::Info& info) HOTPATH_REQUIRES(mu);
  void RaiseOwn(Task& task, int signal) HOTPATH_REQUIRES(mu) {
    Raise(*task.process, task.tid, {.signal = signal, .sender = task.process->pid});
  }
  // Signals that can now be taken by somebody else, or by default, after a mask or a disposition changed.
  void Reconsider(const Process& process) HOTPATH_REQUIRES(mu);
  // Takes the default actions that are due. The end of every call, and the start of every sleep.
  void Settle() HOTPATH_REQUIRES(mu);
  // `info` has been taken, and its default action is not to ignore it. May end the process. False: it was a stop signal
  // that an orphaned group ignores.
  bool TakeDefaultAction(Process& process, const SignalManager::Info& info) HOTPATH_REQUIRES(mu);
  void OnChildChange(Pid parent, int signal, const Process& child, int code) HOTPATH_REQUIRES(mu);
  bool ReapsAutomatically(Pid parent) const HOTPATH_REQUIRES(mu);
  void HangUp(Pid group) HOTPATH_REQUIRES(mu);

  // Gives back all that a task holds, once, then ends it. Its process may be gone afterwards.
  void EndTask(Task& task, int wait_status) HOTPATH_REQUIRES(mu);
  void EndProcess(Process& process, int wait_status) HOTPATH_REQUIRES(mu);

  uint64_t MaxFds(const Task& task) const HOTPATH_REQUIRES(mu) { return task.process->limits[abi::kRlimitNofile].soft; }
  uint64_t MaxFileSize(const Task& task) const HOTPATH_REQUIRES(mu) {
    return task.process->limits[abi::kRlimitFsize].soft;
  }
  AddressSpace::Limits MemoryLimits(const Task& task) const HOTPATH_REQUIRES(mu) {
    return {.address_space = task.process->limits[abi::kRlimitAs].soft,
            .data = task.process->limits[abi::kRlimitData].soft};
  }

  // Where the walk along a path begins: ENOENT, ENAMETOOLONG for the path itself, then EBADF, ENOTDIR.
  Result<Inode*> Start(const Task& task, Fd dirfd, std::string_view path) HOTPATH_REQUIRES(mu);
  // What a path names; with AT_EMPTY_PATH and an empty path, what dirfd refers to.
  Result<Inode*> Target(const Task& task, Fd dirfd, std::string_view path, bool follow, bool allow_empty)
      HOTPATH_REQUIRES(mu);
  Result<Inode*> Target(const Task& task, const Credentials& who, Fd dirfd, std::string_view path, bool follow,
                        bool allow_empty) HOTPATH_REQUIRES(mu);
  // A descriptor that may do more than name a file: EBADF for O_PATH.
  Result<std::shared_ptr<File>> PinForUse(const Task& task, Fd fd) HOTPATH_REQUIRES(mu);
  // SIGXFSZ for a size that RLIMIT_FSIZE forbids, SIGPIPE for a pipe that nobody reads.
  void RaiseForError(Task& task, Code code, uint64_t end) HOTPATH_REQUIRES(mu);
  Result<std::shared_ptr<File>> OpenFifoEnd(Task& task, const VfsManager::Opened& opened, int flags)
      HOTPATH_REQUIRES(mu);

  const KernelOptions options;
  absl::Mutex mu;
  int64_t ticks HOTPATH_GUARDED_BY(mu) = 0;  // the clock, if options give none

  // In the order in which they refer to one another: later ones are destroyed first.
  IpcManager ipc HOTPATH_GUARDED_BY(mu);
  VfsManager vfs HOTPATH_GUARDED_BY(mu);
  FdManager fds HOTPATH_GUARDED_BY(mu);
  MemoryManager memory HOTPATH_GUARDED_BY(mu);
  SignalManager signals HOTPATH_GUARDED_BY(mu);
  ProcessManager processes HOTPATH_GUARDED_BY(mu);

  // never_block: FIFO ends whose open(2) is asleep, so to speak. Each counts as an end already, as it does on Linux.
  struct PendingOpen {
    std::shared_ptr<File> file;
    uint64_t partner_opens = 0;  // when it began
  };
  absl::flat_hash_map<Pid, PendingOpen> pending_opens HOTPATH_GUARDED_BY(mu);
  std::vector<Pid> unsettled HOTPATH_GUARDED_BY(mu);  // processes whose default actions may be due

  // Holds the lock for one call and settles at its end.
  class HOTPATH_SCOPED_CAPABILITY Lock {
   public:
    explicit Lock(State& state) HOTPATH_ACQUIRE(state.mu) : state_(state) { state.mu.Lock(); }
    ~Lock() HOTPATH_RELEASE() {
      state_.Settle();
      state_.mu.Unlock();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    State& state_;
  };
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_KERNEL_STATE_H_
