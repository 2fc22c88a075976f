#ifndef HOTPATH_KERNEL_PROCESS_MANAGER_H_
#define HOTPATH_KERNEL_PROCESS_MANAGER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "hotpath/core/result.h"
#include "hotpath/kernel/abi.h"
#include "hotpath/kernel/types.h"
#include "hotpath/kernel/wait_queue.h"

namespace hotpath::kernel {

struct Process;

// One thread of a process: what makes calls.
struct Task {
  Pid tid = 0;
  Process* process = nullptr;  // dangling once dead
  Credentials creds;
  int nice = 0;
  bool dead = false;
  bool awaits_vfork_child = false;   // sleeps until the child execs or exits
  std::weak_ptr<Task> vfork_parent;  // who awaits this one
  WaitQueue wakeup;                  // a signal came, the process was continued, the vfork child let go, or death
};

struct Process {
  enum class State : uint8_t { kRunning, kStopped, kZombie };
  enum class Report : uint8_t { kNone, kStopped, kContinued };  // not yet told to wait(2)

  Pid pid = 0;
  Pid group = 0, session = 0;
  Process* parent = nullptr;  // null: nobody will wait for it, it vanishes on exit
  std::string name;
  State state = State::kRunning;
  Report report = Report::kNone;
  int stop_signal = 0;
  int exit_signal = kSigChld;  // sent to the parent
  bool has_execed = false;
  bool is_subreaper = false;
  // The wait status: of exit_group(2) or a fatal signal, otherwise of the last task to exit. Empty while some run.
  std::optional<int> exit_status;
  std::array<Rlimit, abi::kRlimits> limits;
  absl::btree_map<Pid, std::shared_ptr<Task>> tasks;
  std::map<uint64_t, Process*> children;    // in order of birth or adoption, which is the order wait(2) looks in
  std::map<uint64_t, Process*> reportable;  // those that have something to report
  uint64_t order = 0;                       // key in the parent's maps
  Credentials last_creds;                   // of the task that exited last: a zombie still has an owner and a priority
  int last_nice = 0;
  WaitQueue child_event;

  int status() const { return exit_status.value_or(0); }
  const Credentials& creds() const { return tasks.empty() ? last_creds : tasks.begin()->second->creds; }
};

// Owns     tasks and processes, parents, groups, sessions, states, exit statuses, credentials, priorities, limits.
// Built on WaitQueue.
// Locks    none of its own: the caller excludes other callers of the same kernel. Hooks are called with that exclusion
//          and must not call back.
// Serves   fork, exec, exit, wait, kill, and the job-control and identity calls.
class ProcessManager {
 public:
  // What the manager must ask or tell of signals, which are not its own.
  struct Hooks {
    std::function<bool(Pid parent)> reaps_automatically;  // SIGCHLD is ignored, or SA_NOCLDWAIT is set
    // A child changed: `code` is CLD_*, `status` its exit status or signal.
    std::function<void(Pid parent, int signal, const Process& child, int code)> notify;
    std::function<void(Pid group)> hang_up;  // a stopped group became orphaned: SIGHUP, then SIGCONT
  };
  struct Options {
    int32_t max_tasks = 1 << 20;
    int32_t pid_max = abi::kPidMax;
    Mutation mutation = Mutation::kNone;
  };

  ProcessManager(Options options, Hooks hooks) : options_(options), hooks_(std::move(hooks)) {}
  ~ProcessManager();
  ProcessManager(const ProcessManager&) = delete;
  ProcessManager& operator=(const ProcessManager&) = delete;

  // Null if there is none: a thread that exited, a zombie's, a number never given out.
  std::shared_ptr<Task> FindTask(Pid tid) const;
  Process* FindProcess(Pid pid) const;  // zombies included
  // Null if `id` is neither a process nor a living thread.
  Process* FindByAnyId(Pid id) const;

  // Without a parent the process leads a group and a session of its own. EAGAIN at the limit, ESRCH.
  Result<std::shared_ptr<Task>> Spawn(const std::string& name, Pid parent, const Credentials& creds,
                                      const std::array<Rlimit, abi::kRlimits>& limits);
  // Checks the flags as copy_process() of Linux does. A CLONE_VFORK caller awaits the child from now on.
  Result<std::shared_ptr<Task>> Clone(Task& caller, uint64_t flags, int exit_signal);
  // The parts of execve(2) that concern processes: `caller` becomes the only task and takes the leader's number. The
  // other tasks must have been ended before.
  void Exec(Task& caller);
  void ReleaseVforkParent(Task& child);

  // Ends one task. The last one of a process makes it a zombie, or reaps it at once if nobody will wait. The Task stays
  // valid while somebody holds it; its process may be gone.
  void EndTask(Task& task, int wait_status);
  void Stop(Process& process, int signal);
  void Continue(Process& process);  // SIGCONT: no effect unless stopped

  struct Found {
    Pid pid = 0;
    int status = 0;  // as wait4(2) encodes it
    int code = 0;    // CLD_*
    uint32_t uid = 0;
  };
  struct Which {  // children
    enum class Kind : uint8_t { kAny, kPid, kGroup };
    Kind kind = Kind::kAny;
    Pid id = 0;
  };
  // One look, without sleeping. `options` are W* of waitid(2), with WEXITED for wait4(2). EAGAIN: there are children
  // to wait for, but none has anything to report; ECHILD: there are none.
  Result<Found> Wait(Process& parent, Which which, int options);

  Result<Pid> GroupOf(const Task& caller, Pid of) const;
  Result<Pid> SessionOf(const Task& caller, Pid of) const;
  Result<void> SetGroup(Task& caller, Pid of, Pid group);
  Result<Pid> SetSession(Task& caller);
  bool IsOrphaned(Pid group) const;
  std::vector<Process*> GroupMembers(Pid group) const;
  std::vector<Process*> AllProcesses() const;  // by pid; zombies included

  static Result<void> SetResUid(Task& task, uint32_t real, uint32_t effective, uint32_t saved);
  static Result<void> SetResGid(Task& task, uint32_t real, uint32_t effective, uint32_t saved);
  static bool MaySignal(const Task& sender, const Process& target, int signal);
  Result<Rlimit> Limit(Task& caller, Pid of, int resource, const Rlimit* next);
  Result<int> GetNice(const Task& caller, Pid of) const;
  Result<void> SetNice(const Task& caller, Pid of, int nice);  // clamped to -20..19

  uint64_t processes() const { return processes_.size() - zombies_; }
  uint64_t tasks() const { return tasks_.size(); }
  uint64_t zombies() const { return zombies_; }

 private:
  struct Group {
    Pid session = 0;
    absl::btree_map<Pid, Process*> members;
    uint32_t stopped = 0;
  };

  bool InUse(Pid id) const;
  Result<Pid> NewPid();
  void JoinGroup(Process& process, Pid group, Pid session);
  void LeaveGroup(Process& process);
  void Adopt(Process& parent, Process& child);
  bool IsOrphanedWithout(Pid group, const Process* ignored) const;
  Process* ReaperFor(const Process& dying) const;
  void BecomeZombie(Process& process);
  void AnnounceZombie(Process& process);
  void Tell(Process& child, int signal, int code);
  void Release(Process& process);  // the number is free after this
  static bool IsEligible(const Process& child, Which which, int options);

  const Options options_;
  const Hooks hooks_;
  Pid last_pid_ = 0;
  Pid init_ = 0;  // the first process: adopts orphans while it lives
  uint64_t next_order_ = 1;
  uint64_t zombies_ = 0;
  absl::flat_hash_map<Pid, std::shared_ptr<Task>> tasks_;
  absl::flat_hash_map<Pid, std::unique_ptr<Process>> processes_;
  absl::flat_hash_map<Pid, Group> groups_;
  absl::flat_hash_map<Pid, uint32_t> sessions_;  // members
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_PROCESS_MANAGER_H_
