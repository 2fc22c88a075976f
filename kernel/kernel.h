#ifndef HOTPATH_KERNEL_KERNEL_H_
#define HOTPATH_KERNEL_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hotpath/core/result.h"
#include "hotpath/kernel/types.h"

namespace hotpath::kernel {

// A Linux-like kernel in a library: processes, files, pipes, address spaces and signals, with no globals and nothing
// taken from the host. The first argument of a call is the task that makes it; a process is named by its leader's Pid.
// Flags, modes, structures and errno numbers are those of Linux on x86-64; so is the order in which errors are found.
//
// Threads   Every call may be made by any thread at any time, also for the same task. Destroying the kernel while a
//           call is running is a mistake of the caller.
// Sleeping  A call that would sleep blocks its thread until the event, or until a signal for which the task has a
//           handler without SA_RESTART: then it fails with kEINTR. A handler with SA_RESTART waits until the call has
//           ended. With KernelOptions::never_block such a call returns kERESTART at once and changes nothing; make it
//           again when something has happened. (A write(2) of more than 4096 bytes to a pipe takes what fits and
//           returns that count; a FIFO's open(2) counts as an opener until it is made again or its task does
//           something else.)
// Dead      A call by a task that does not exist, or that dies in its sleep, fails with kESRCH.
// Stopped   A call by a stopped task, or by a task whose vfork(2) child has neither called exec nor exited, sleeps
//           first.
// Signals   A caught signal stays pending until DeliverSignal() takes it. A default action is taken at once; with
//           never_block it too is left to DeliverSignal() or Terminate(), because the driver owns the schedule.
class Kernel {
 public:
  explicit Kernel(KernelOptions options = {});
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // ---- Processes: life and death ----
  Result<Pid> Spawn(const SpawnOptions& options);         // a fresh process, child of nobody (or of options.parent)
  Result<Pid> Clone(Pid t, const CloneOptions& options);  // fork, vfork, clone, clone3; returns the child's id
  Result<Pid> Fork(Pid t) { return Clone(t, {.flags = 0, .exit_signal = kSigChld}); }
  // The other tasks of the process die. A caller that was not the leader is from now on named by the process's Pid.
  Result<void> Exec(Pid t, Fd dirfd, std::string_view path, int flags, const ExecOptions& options = {});
  Result<void> Exit(Pid t, int status);       // exit(2): this task only
  Result<void> ExitGroup(Pid t, int status);  // exit_group(2)
  // The whole process dies as if by this signal. Succeeds if it has already died so and nobody has reaped it.
  Result<void> Terminate(Pid t, int signal, bool core);
  Result<WaitResult> Wait(Pid t, Pid which, int options);  // wait4(2); WaitResult{0, 0} for WNOHANG with nothing
  // waitid(2): id_type P_ALL 0, P_PID 1, P_PGID 2; WEXITED and WNOWAIT must be spelled. WaitInfo{} as above.
  Result<WaitInfo> WaitId(Pid t, int id_type, Pid id, int options);

  // ---- Processes: identity and limits ----
  Result<Pid> GetPid(Pid t) const;
  Result<Pid> GetParentPid(Pid t) const;  // 0: nobody
  Result<Pid> GetProcessGroup(Pid t, Pid of) const;
  Result<void> SetProcessGroup(Pid t, Pid of, Pid group);
  Result<Pid> GetSession(Pid t, Pid of) const;
  Result<Pid> SetSession(Pid t);
  Result<void> SetChildSubreaper(Pid t, bool on);  // prctl(PR_SET_CHILD_SUBREAPER)
  Result<Credentials> GetCredentials(Pid t) const;
  Result<void> SetResUid(Pid t, uint32_t real, uint32_t effective, uint32_t saved);  // UINT32_MAX keeps
  Result<void> SetResGid(Pid t, uint32_t real, uint32_t effective, uint32_t saved);
  Result<int> GetNice(Pid t, Pid of) const;  // getpriority(PRIO_PROCESS), -20..19; of = 0: the caller
  Result<void> SetNice(Pid t, Pid of, int nice);
  Result<uint32_t> Umask(Pid t, uint32_t mask);                             // returns the previous one
  Result<Rlimit> Prlimit(Pid t, Pid of, int resource, const Rlimit* next);  // returns the previous one

  // ---- Descriptors ----
  Result<Fd> Open(Pid t, std::string_view path, int flags, uint32_t mode = 0) {
    return OpenAt(t, kAtFdCwd, path, flags, mode);
  }
  Result<Fd> OpenAt(Pid t, Fd dirfd, std::string_view path, int flags, uint32_t mode = 0);
  Result<void> Close(Pid t, Fd fd);
  Result<void> CloseRange(Pid t, uint32_t first, uint32_t last, uint32_t flags);
  Result<Fd> Dup(Pid t, Fd fd);
  Result<Fd> Dup2(Pid t, Fd from, Fd to);
  Result<Fd> Dup3(Pid t, Fd from, Fd to, int flags);
  Result<int64_t> Fcntl(Pid t, Fd fd, int command, int64_t arg);  // F_DUPFD*, F_GETFD/SETFD, F_GETFL/SETFL, F_*PIPE_SZ
  Result<void> FileLock(Pid t, Fd fd, int command, FileLockRange& lock);  // F_GETLK, F_SETLK, F_SETLKW (and OFD kin)
  Result<int64_t> Ioctl(Pid t, Fd fd, uint64_t request, int64_t* value);  // FIONREAD, FIOCLEX, TCGETS and kin: ENOTTY
  Result<PipeFds> Pipe(Pid t, int flags);                                 // pipe2(2)
  Result<Fd> Socket(Pid t, int domain, int type, int protocol);           // allocates the descriptor
  Result<void> ConnectUnix(Pid t, Fd fd, std::string_view path);          // ENOENT, ECONNREFUSED: nobody listens yet
  // epoll, eventfd, ...: a number and a lifetime, no I/O (read(2) and write(2) fail with ENOSYS; a memfd has both).
  // flags: O_CLOEXEC, O_NONBLOCK.
  Result<Fd> InstallOpaque(Pid t, OpaqueKind kind, int flags);
  // poll, select; with `mask`, ppoll and pselect6: in force for the call, and restored by SigReturn() after an EINTR.
  Result<int> Poll(Pid t, std::span<PollEntry> entries, bool may_wait, const uint64_t* mask = nullptr);

  // ---- Reading and writing ----
  Result<size_t> Read(Pid t, Fd fd, std::span<std::byte> out);
  Result<size_t> Write(Pid t, Fd fd, std::span<const std::byte> in);
  Result<size_t> ReadV(Pid t, Fd fd, std::span<const std::span<std::byte>> out);
  Result<size_t> WriteV(Pid t, Fd fd, std::span<const std::span<const std::byte>> in);
  Result<size_t> PRead(Pid t, Fd fd, std::span<std::byte> out, int64_t offset);
  Result<size_t> PWrite(Pid t, Fd fd, std::span<const std::byte> in, int64_t offset);
  Result<int64_t> Seek(Pid t, Fd fd, int64_t offset, int whence);
  Result<void> FTruncate(Pid t, Fd fd, int64_t size);
  Result<void> Truncate(Pid t, std::string_view path, int64_t size);
  Result<void> FAllocate(Pid t, Fd fd, int mode, int64_t offset, int64_t length);
  Result<void> FSync(Pid t, Fd fd);  // fsync, fdatasync
  Result<void> FAdvise(Pid t, Fd fd, int64_t offset, int64_t length, int advice);
  Result<size_t> CopyFileRange(Pid t, Fd in, int64_t* in_offset, Fd out, int64_t* out_offset, size_t count,
                               uint32_t flags);
  Result<size_t> SendFile(Pid t, Fd out, Fd in, int64_t* in_offset, size_t count);
  Result<std::vector<Dirent>> GetDents(Pid t, Fd fd, size_t buffer_size);  // as many as fit, 8-aligned 19+len+1 each

  // ---- Paths.  dirfd may be kAtFdCwd; an absolute path ignores it. ----
  Result<Stat> StatAt(Pid t, Fd dirfd, std::string_view path, int flags) const;  // AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
  Result<StatFs> StatFsAt(Pid t, Fd fd, std::string_view path) const;            // statfs; fstatfs with an empty path
  Result<void> Access(Pid t, Fd dirfd, std::string_view path, int mode, int flags) const;
  Result<std::string> ReadLinkAt(Pid t, Fd dirfd, std::string_view path, size_t size) const;
  Result<void> SymlinkAt(Pid t, std::string_view target, Fd dirfd, std::string_view path);
  Result<void> LinkAt(Pid t, Fd olddirfd, std::string_view oldpath, Fd newdirfd, std::string_view newpath, int flags);
  Result<void> UnlinkAt(Pid t, Fd dirfd, std::string_view path, int flags);  // AT_REMOVEDIR
  Result<void> MkdirAt(Pid t, Fd dirfd, std::string_view path, uint32_t mode);
  Result<void> MknodAt(Pid t, Fd dirfd, std::string_view path, uint32_t mode, uint64_t dev);
  Result<void> RenameAt(Pid t, Fd olddirfd, std::string_view oldpath, Fd newdirfd, std::string_view newpath,
                        uint32_t flags);
  Result<void> ChmodAt(Pid t, Fd dirfd, std::string_view path, uint32_t mode,
                       int flags = 0);  // empty path + AT_EMPTY_PATH: fchmod
  Result<void> ChownAt(Pid t, Fd dirfd, std::string_view path, uint32_t uid, uint32_t gid, int flags = 0);
  // kUtimeNow and kUtimeOmit are UTIME_NOW and UTIME_OMIT.
  Result<void> UtimensAt(Pid t, Fd dirfd, std::string_view path, int64_t atime_ns, int64_t mtime_ns, int flags = 0);
  Result<std::string> GetCwd(Pid t, size_t size) const;  // size: of the caller's buffer, with the NUL
  Result<void> Chdir(Pid t, std::string_view path);
  Result<void> FChdir(Pid t, Fd fd);
  Result<void> Mount(Pid t, std::string_view target, std::string_view fstype, uint64_t flags);  // fstype "tmpfs"
  Result<void> Unmount(Pid t, std::string_view target, int flags);

  // ---- Memory: address-space bookkeeping ----
  Result<uint64_t> Mmap(Pid t, uint64_t hint, size_t length, int prot, int flags, Fd fd, int64_t offset);
  Result<void> Munmap(Pid t, uint64_t address, size_t length);
  Result<void> Mprotect(Pid t, uint64_t address, size_t length, int prot);
  Result<uint64_t> Mremap(Pid t, uint64_t address, size_t old_length, size_t new_length, int flags,
                          uint64_t new_address);
  Result<uint64_t> Brk(Pid t, uint64_t address);  // returns the break now in force, as Linux does
  Result<void> Madvise(Pid t, uint64_t address, size_t length, int advice);
  Result<MemoryUse> MemoryOf(Pid t) const;

  // ---- Signals ----
  Result<SignalAction> Sigaction(Pid t, int signal, const SignalAction* next);  // returns the previous one
  Result<uint64_t> Sigprocmask(Pid t, int how, const uint64_t* set);            // returns the previous mask
  Result<uint64_t> Sigpending(Pid t) const;
  // rt_sigsuspend(2): sleeps under `mask`, always fails (EINTR). SigReturn() after the delivery restores the mask.
  Result<void> Sigsuspend(Pid t, uint64_t mask);
  Result<void> Kill(Pid t, Pid target, int signal);  // kill(2): > 0 one, 0 own group, -1 all, < -1 a group
  Result<void> TgKill(Pid t, Pid group, Pid task, int signal);
  Result<Delivery> DeliverSignal(Pid t);  // takes the next deliverable signal: EAGAIN if there is none
  Result<void> SigReturn(Pid t);          // restores the mask saved by the last delivery; EINVAL without one

  // ---- Setting the scene, for tests and replay: parents are made as needed; an existing node is an error, but for
  // "/", which takes on the mode, owner and extra links of a seeded directory ----
  Result<void> Seed(std::string_view path, const SeedNode& node);
  // As if inherited by the process: no permission is asked, no flag but the access mode and status flags matters.
  Result<void> SeedDescriptor(Pid t, Fd fd, std::string_view path, int flags);
  // An inherited pipe whose other end is outside the kernel: that reader takes everything, that writer never writes.
  Result<void> SeedPipe(Pid t, Fd fd, bool write_end);

  // ---- Looking in from outside: not calls of a task, they never sleep ----
  KernelStats Stats() const;
  std::string DumpFds(Pid t) const;  // one line a descriptor, for people

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_KERNEL_H_
