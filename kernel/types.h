#ifndef HOTPATH_KERNEL_TYPES_H_
#define HOTPATH_KERNEL_TYPES_H_

#include <cstdint>
#include <functional>
#include <string>

namespace hotpath::kernel {

using Pid = int32_t;  // a process, or a task (thread) of one: the leader's id is the process's
using Fd = int32_t;

inline constexpr Fd kAtFdCwd = -100;
inline constexpr int kSigChld = 17;

// Special times of UtimensAt.
inline constexpr int64_t kUtimeNow = INT64_MIN;       // UTIME_NOW
inline constexpr int64_t kUtimeOmit = INT64_MIN + 1;  // UTIME_OMIT

// Bugs a test build plants on purpose, so that conformance is known to be able to fail (replay --mutate NAME).
enum class Mutation : uint8_t {
  kNone,
  kNextFdNotLowest,
  kCloexecIgnored,
  kDup2KeepsCloexec,
  kForkCopiesOffset,
  kAppendIgnored,
  kTruncIgnored,
  kUnlinkKeepsName,
  kRenameKeepsSource,
  kPreadMovesOffset,
  kWaitDoesNotReap,
  kCloneFilesCopied,
  kChdirLost,
  kForkSharesTable,
};

struct KernelOptions {
  // A call that would have to sleep returns Code::kERESTART and changes nothing, instead of sleeping: for drivers
  // that own the schedule (replay, simulators, fuzzers).
  bool never_block = false;
  int32_t max_processes = 1 << 20;
  uint64_t nofile_soft = 1024;  // RLIMIT_NOFILE of spawned processes
  uint64_t nofile_hard = 1 << 20;
  std::function<int64_t()> clock_ns = {};  // nanoseconds since the epoch; empty: a counter that ticks once per use
  Mutation mutation = Mutation::kNone;
};

struct SpawnOptions {
  std::string name = "init";
  // 0: nobody, and the process leads a group and a session of its own. Orphans go to the first process ever spawned
  // while it lives; without it they belong to nobody and vanish when they exit.
  Pid parent = 0;
  std::string cwd = "/";
  uint32_t uid = 0, gid = 0;
  uint32_t umask = 022;
  uint64_t brk_base = 0x555555554000;
};

struct CloneOptions {
  uint64_t flags = 0;  // CLONE_VM, _FS, _FILES, _SIGHAND, _THREAD, _PARENT, _VFORK, _CLEAR_SIGHAND; others are ignored
  int exit_signal = kSigChld;
};

struct ExecOptions {
  uint64_t brk_base = 0x555555554000;  // where the new image's break starts
};

// status as wait4(2) encodes it.
struct WaitResult {
  Pid pid = 0;
  int status = 0;
};

// What waitid(2) reports.
struct WaitInfo {
  Pid pid = 0;
  int code = 0;    // CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_STOPPED, CLD_CONTINUED
  int status = 0;  // the exit status, or the signal
  uint32_t uid = 0;
};

struct Credentials {
  uint32_t ruid = 0, euid = 0, suid = 0;
  uint32_t rgid = 0, egid = 0, sgid = 0;
};

struct Rlimit {
  uint64_t soft = 0, hard = 0;
};

struct FileLockRange {
  int16_t type = 0;  // F_RDLCK, F_WRLCK, F_UNLCK
  int16_t whence = 0;
  int64_t start = 0, length = 0;
  Pid pid = 0;
};

struct PipeFds {
  Fd read_end = -1, write_end = -1;
};

enum class OpaqueKind : uint8_t { kSocket, kEpoll, kEventFd, kTimerFd, kSignalFd, kInotify, kMemFd, kPidFd };

struct PollEntry {
  Fd fd = -1;
  int16_t events = 0, revents = 0;
};

struct Stat {
  uint64_t dev = 0, ino = 0;
  uint32_t mode = 0, nlink = 0, uid = 0, gid = 0;
  uint64_t rdev = 0;
  int64_t size = 0;
  uint64_t block_size = 4096, blocks = 0;
  int64_t atime_ns = 0, mtime_ns = 0, ctime_ns = 0;
};

struct StatFs {
  uint64_t type = 0x01021994;  // TMPFS_MAGIC
  uint64_t block_size = 4096;
  uint64_t name_max = 255;
  uint64_t flags = 0;
};

struct Dirent {
  uint64_t ino = 0;
  uint8_t type = 0;  // DT_*
  std::string name;
};

struct MemoryUse {
  uint64_t mapped = 0;    // bytes in mappings
  uint64_t mappings = 0;  // how many
  uint64_t brk = 0;
};

struct SignalAction {
  uint64_t handler = 0;  // 0 SIG_DFL, 1 SIG_IGN, else an address that means something to the caller
  uint64_t flags = 0, mask = 0;
};

struct Delivery {
  int signal = 0;
  Pid sender = 0;
  int status = 0;       // for SIGCHLD
  SignalAction action;  // the handler to run; SIG_DFL: the default action has been taken
};

// An object that exists before the first process runs.
struct SeedNode {
  uint32_t mode = 0100644;  // type and permissions, S_IF*
  uint32_t uid = 0, gid = 0;
  int64_t size = 0;  // of a regular file: a hole of that length
  uint64_t rdev = 0;
  uint32_t extra_links = 0;  // links (or, of a directory, subdirectories) that lie outside the seeded tree
  std::string target = {};   // of a symbolic link
};

struct KernelStats {
  uint64_t processes = 0, tasks = 0, zombies = 0;
  uint64_t open_descriptions = 0, descriptors = 0, inodes = 0, pipes = 0;
  uint64_t mapped_bytes = 0, file_bytes = 0;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_TYPES_H_
