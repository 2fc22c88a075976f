// Descriptors, input and output, and paths: the part of Kernel that VfsManager and FdManager serve.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "hotpath/kernel/devices.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/kernel_state.h"
#include "hotpath/kernel/try.h"

namespace hotpath::kernel {
namespace {

constexpr int kStatusFlags = O_APPEND | O_NONBLOCK | O_ASYNC | abi::kODirect | abi::kONoAtime;  // of F_SETFL

bool HasUnknown(int flags, int known) { return (flags & ~known) != 0; }

// The bytes that a struct flock speaks of, both ends included. EINVAL, EOVERFLOW.
Result<std::pair<int64_t, int64_t>> LockRange(const FileLockRange& lock, const File& file) {
  int64_t base = 0;
  switch (lock.whence) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      base = file.offset;
      break;
    case SEEK_END:
      base = VfsManager::StatOf(file.inode()).size;
      break;
    default:
      return Code::kEINVAL;
  }
  if (lock.start > INT64_MAX - base) return Code::kEOVERFLOW;
  const int64_t start = base + lock.start;
  if (start < 0) return Code::kEINVAL;
  if (lock.length == 0) return std::pair{start, INT64_MAX};
  if (lock.length > 0) {
    if (lock.length - 1 > INT64_MAX - start) return Code::kEOVERFLOW;
    return std::pair{start, start + lock.length - 1};
  }
  if (start + lock.length < 0) return Code::kEINVAL;
  return std::pair{start + lock.length, start - 1};
}

}  // namespace

// ---- State: what the calls below share ----

Result<Inode*> Kernel::State::Start(const Task& task, Fd dirfd, std::string_view path) {
  HOTPATH_KERNEL_TRY(VfsManager::CheckPath(path));
  if (path.starts_with('/')) return &vfs.root();
  if (dirfd == kAtFdCwd) return &*vfs.ContextOf(task.tid).cwd;
  const Result<File*> file = fds.Get(task.tid, dirfd);
  if (!file.ok()) return file.error();
  if (!(*file)->inode().IsDirectory()) return Code::kENOTDIR;
  return &(*file)->inode();
}

Result<Inode*> Kernel::State::Target(const Task& task, Fd dirfd, std::string_view path, bool follow, bool allow_empty) {
  return Target(task, task.creds, dirfd, path, follow, allow_empty);
}

Result<Inode*> Kernel::State::Target(const Task& task, const Credentials& who, Fd dirfd, std::string_view path,
                                     bool follow, bool allow_empty) {
  if (path.empty() && allow_empty) {
    if (dirfd == kAtFdCwd) return &*vfs.ContextOf(task.tid).cwd;
    const Result<File*> file = fds.Get(task.tid, dirfd);
    if (!file.ok()) return file.error();
    return &(*file)->inode();
  }
  const Result<Inode*> start = Start(task, dirfd, path);
  if (!start.ok()) return start.error();
  return vfs.Resolve(who, **start, path, follow);
}

Result<std::shared_ptr<File>> Kernel::State::PinForUse(const Task& task, Fd fd) {
  Result<std::shared_ptr<File>> file = fds.Pin(task.tid, fd);
  if (file.ok() && (*file)->IsPath()) return Code::kEBADF;
  return file;
}

void Kernel::State::RaiseForError(Task& task, Code code, uint64_t end) {
  if (code == Code::kEPIPE) RaiseOwn(task, SIGPIPE);
  if (code == Code::kEFBIG && end >= MaxFileSize(task)) RaiseOwn(task, SIGXFSZ);
}

// Makes the description of a FIFO's end, and sleeps until it has a partner unless the flags say otherwise.
Result<std::shared_ptr<File>> Kernel::State::OpenFifoEnd(Task& task, const VfsManager::Opened& opened, int flags) {
  Inode& node = *opened.node;
  const int access = flags & O_ACCMODE;
  const bool waits = (flags & O_NONBLOCK) == 0 && (access == O_RDONLY || access == O_WRONLY);
  const auto pending = pending_opens.find(task.tid);
  if (pending != pending_opens.end()) {
    const PendingOpen open = pending->second;
    pending_opens.erase(pending);
    if (waits && &open.file->inode() == &node && (open.file->flags & O_ACCMODE) == access) {
      const uint64_t now = access == O_RDONLY ? open.file->pipe().writer_opens() : open.file->pipe().reader_opens();
      if (now != open.partner_opens) return open.file;
      pending_opens[task.tid] = open;
      return Code::kERESTART;
    }
  }
  if (access == O_ACCMODE) return Code::kEINVAL;
  const bool has_reader = node.pipe != nullptr && node.pipe->HasReader();
  if (access == O_WRONLY && !waits && !has_reader) return Code::kENXIO;
  std::shared_ptr<File> file =
      fds.NewFile(InodeRef(node), flags | abi::kOLargeFile, {InodeRef(*opened.parent), opened.name}, std::nullopt);
  class Pipe& ends = *node.pipe;  // Kernel::Pipe is a function
  if (access == O_RDONLY && !ends.HasWriter()) {
    if (!waits) {
      file->quiet_until_writer_opens = ends.writer_opens();
      return file;
    }
    const uint64_t before = ends.writer_opens();
    while (ends.writer_opens() == before) {
      const Result<void> slept = Sleep(task, ends.readable());
      if (slept.ok()) continue;
      if (slept.error().code == Code::kERESTART) pending_opens[task.tid] = {file, before};
      return slept.error();
    }
  }
  if (access == O_WRONLY && !ends.HasReader()) {
    const uint64_t before = ends.reader_opens();
    while (ends.reader_opens() == before) {
      const Result<void> slept = Sleep(task, ends.writable());
      if (slept.ok()) continue;
      if (slept.error().code == Code::kERESTART) pending_opens[task.tid] = {file, before};
      return slept.error();
    }
  }
  return file;
}

// ---- Descriptors ----

Result<Fd> Kernel::OpenAt(Pid t, Fd dirfd, std::string_view path, int flags, uint32_t mode) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  HOTPATH_KERNEL_TRY(VfsManager::CheckOpenFlags(flags));
  HOTPATH_KERNEL_TRY(VfsManager::CheckPath(path));
  // The number is taken before the path is looked at: EMFILE wins over ENOENT, and a sleeping open keeps its number.
  const std::shared_ptr<FdTable> table = s.fds.PinTable(t);
  Result<Fd> fd = table->Reserve(0, s.MaxFds(task));
  if (!fd.ok()) return fd.error();
  const auto fail = [&](const Error& error) {
    table->CancelReservation(*fd);
    return error;
  };
  const Result<Inode*> start = s.Start(task, dirfd, path);
  if (!start.ok()) return fail(start.error());
  Result<VfsManager::Opened> opened = s.vfs.Open(task.creds, s.vfs.ContextOf(t).umask, **start, path, flags, mode);
  if (!opened.ok()) return fail(opened.error());
  const bool cloexec = (flags & O_CLOEXEC) != 0;
  if (opened->node->IsFifo() && (flags & abi::kOPath) == 0) {
    Result<std::shared_ptr<File>> file = s.OpenFifoEnd(task, *opened, flags);
    if (!file.ok()) return fail(file.error());
    table->Install(*fd, *std::move(file), cloexec);
    return fd;
  }
  const bool names_only = (flags & abi::kOPath) != 0;
  const int kept = names_only ? flags & (abi::kOPath | O_DIRECTORY | O_NOFOLLOW) : flags | abi::kOLargeFile;
  table->Install(
      *fd,
      s.fds.NewFile(InodeRef(*opened->node), kept, {InodeRef(*opened->parent), std::move(opened->name)}, std::nullopt),
      cloexec);
  return fd;
}

Result<void> Kernel::Close(Pid t, Fd fd) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.fds.Close(t, fd);
}

Result<void> Kernel::CloseRange(Pid t, uint32_t first, uint32_t last, uint32_t flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.fds.CloseRange(t, first, last, flags);
}

Result<Fd> Kernel::Dup(Pid t, Fd fd) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.fds.Dup(t, fd, s.MaxFds(**task));
}

Result<Fd> Kernel::Dup2(Pid t, Fd from, Fd to) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.fds.Dup2(t, from, to, s.MaxFds(**task));
}

Result<Fd> Kernel::Dup3(Pid t, Fd from, Fd to, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.fds.Dup3(t, from, to, flags, s.MaxFds(**task));
}

Result<int64_t> Kernel::Fcntl(Pid t, Fd fd, int command, int64_t arg) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  const Task& task = **entered;
  const Result<File*> found = s.fds.Get(t, fd);
  if (!found.ok()) return found.error();
  File& file = **found;
  FdTable& table = s.fds.TableOf(t);
  switch (command) {
    case F_DUPFD:
    case abi::kFDupFdCloexec: {
      const Result<Fd> copy = s.fds.DupFrom(t, fd, arg, command == abi::kFDupFdCloexec, s.MaxFds(task));
      if (!copy.ok()) return copy.error();
      return *copy;
    }
    case F_GETFD:
      return table.cloexec(fd) ? FD_CLOEXEC : 0;
    case F_SETFD:
      table.SetCloexec(fd, (arg & FD_CLOEXEC) != 0);
      return 0;
    case F_GETFL:
      return file.flags;
  }
  if (file.IsPath()) return Code::kEBADF;
  switch (command) {
    case F_SETFL: {
      const int next = static_cast<int>(arg) & kStatusFlags;
      const bool owner = task.creds.euid == 0 || task.creds.euid == file.inode().uid;
      if ((next & abi::kONoAtime & ~file.flags) != 0 && !owner) return Code::kEPERM;
      file.flags = (file.flags & ~kStatusFlags) | next;
      return 0;
    }
    case abi::kFGetPipeSize:
      if (!file.IsPipe()) return Code::kEBADF;
      return static_cast<int64_t>(file.pipe().capacity());
    case abi::kFSetPipeSize: {
      if (!file.IsPipe()) return Code::kEBADF;
      const Result<uint64_t> size = file.pipe().Resize(static_cast<uint32_t>(arg), task.creds.euid == 0);
      if (!size.ok()) return size.error();
      return static_cast<int64_t>(*size);
    }
    default:
      return Code::kEINVAL;
  }
}

Result<void> Kernel::FileLock(Pid t, Fd fd, int command, FileLockRange& lock_range) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  s.vfs.lock_waits().Clear(t);
  const Result<std::shared_ptr<File>> file = s.PinForUse(task, fd);
  if (!file.ok()) return file.error();
  const bool open_file = command >= abi::kFOfdGetLock && command <= abi::kFOfdSetLockWait;
  const bool get = command == F_GETLK || command == abi::kFOfdGetLock;
  const bool wait = command == F_SETLKW || command == abi::kFOfdSetLockWait;
  if (!open_file && !get && command != F_SETLK && !wait) return Code::kEINVAL;
  const bool unlock = lock_range.type == F_UNLCK;
  const bool known = lock_range.type == F_RDLCK || lock_range.type == F_WRLCK || (unlock && !get);
  if (get && !open_file && !known) return Code::kEINVAL;
  const Result<std::pair<int64_t, int64_t>> range = LockRange(lock_range, **file);
  if (!range.ok()) return range.error();
  if (!known) return Code::kEINVAL;
  if (!get && !unlock && !(lock_range.type == F_WRLCK ? (*file)->writable() : (*file)->readable())) {
    return Code::kEBADF;
  }
  if (open_file && lock_range.pid != 0) return Code::kEINVAL;

  const std::shared_ptr<FdTable> table = s.fds.PinTable(t);
  RecordLocks::Lock wanted;
  wanted.owner = open_file ? static_cast<RecordLocks::Owner>(file->get()) : table.get();
  wanted.exclusive = lock_range.type == F_WRLCK;
  wanted.first = range->first;
  wanted.last = range->second;
  wanted.pid = open_file ? -1 : task.process->pid;
  RecordLocks& locks = (*file)->inode().Locks();
  if (get) {
    const RecordLocks::Lock* const conflict = locks.FindConflict(wanted);
    if (conflict == nullptr) {
      lock_range.type = F_UNLCK;
      return {};
    }
    lock_range.type = conflict->exclusive ? F_WRLCK : F_RDLCK;
    lock_range.whence = SEEK_SET;
    lock_range.start = conflict->first;
    lock_range.length = conflict->last == INT64_MAX ? 0 : conflict->last - conflict->first + 1;
    lock_range.pid = conflict->pid;
    return {};
  }
  if (unlock) {
    locks.Unset(wanted.owner, wanted.first, wanted.last);
    return {};
  }
  bool slept = false;
  while (const RecordLocks::Lock* const conflict = locks.FindConflict(wanted)) {
    if (!wait) return Code::kEAGAIN;
    if (!open_file) {
      if (s.vfs.lock_waits().WouldDeadlock(wanted.owner, conflict->owner)) return Code::kEDEADLK;
      s.vfs.lock_waits().Set(t, wanted.owner, conflict->owner);
    }
    const Result<void> result = s.Sleep(task, locks.released());
    // With never_block the wait stays on record: it is real to everyone else until the call is made again.
    if (result.ok() || result.error().code != Code::kERESTART) s.vfs.lock_waits().Clear(t);
    if (!result.ok()) return result;
    slept = true;
  }
  const std::shared_ptr<File>* const still = table->Find(fd);
  if (slept && !open_file && (still == nullptr || *still != *file)) return Code::kEBADF;  // closed meanwhile
  locks.Set(wanted);
  return {};
}

Result<int64_t> Kernel::Ioctl(Pid t, Fd fd, uint64_t request, int64_t* value) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<std::shared_ptr<File>> found = s.PinForUse(**task, fd);
  if (!found.ok()) return found.error();
  File& file = **found;
  const Inode& node = file.inode();
  FdTable& table = s.fds.TableOf(t);
  const bool tty = node.type() == S_IFCHR && DeviceOf(node.rdev) == Device::kTty;
  const bool takes_value = request == abi::kFionRead || request == abi::kFionBio || request == abi::kFiClone ||
                           (tty && request == abi::kTiocGPgrp);
  if (takes_value && value == nullptr) return Code::kEFAULT;
  switch (request) {
    case abi::kFioClex:
      table.SetCloexec(fd, true);
      return 0;
    case abi::kFionClex:
      table.SetCloexec(fd, false);
      return 0;
    case abi::kFionBio:
      file.flags = *value != 0 ? file.flags | O_NONBLOCK : file.flags & ~O_NONBLOCK;
      return 0;
    case abi::kFionRead:
      if (file.IsPipe()) {
        *value = static_cast<int64_t>(file.pipe().bytes());
        return 0;
      }
      if (node.IsRegular()) {
        *value = static_cast<int32_t>(node.bytes->size() - file.offset);  // an int, whatever is lost
        return 0;
      }
      break;
    case abi::kFiClone: {  // no file system here shares blocks; the checks before that answer still count
      const Result<std::shared_ptr<File>> source = s.PinForUse(**task, static_cast<Fd>(*value));
      if (!source.ok()) return source.error();
      if (&(*source)->inode().fs != &node.fs) return Code::kEXDEV;
      if ((*source)->inode().IsDirectory() || node.IsDirectory()) return Code::kEISDIR;
      if (!(*source)->inode().IsRegular() || !node.IsRegular()) return Code::kEINVAL;
      if (!(*source)->readable() || !file.writable() || (file.flags & O_APPEND) != 0) return Code::kEBADF;
      return Code::kEOPNOTSUPP;
    }
  }
  if (!tty) return Code::kENOTTY;
  if (request == abi::kTiocGPgrp) *value = (*task)->process->group;
  return 0;
}

Result<PipeFds> Kernel::Pipe(Pid t, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  const Task& task = **entered;
  if (HasUnknown(flags, O_CLOEXEC | O_NONBLOCK | abi::kODirect)) return Code::kEINVAL;
  FdTable& table = s.fds.TableOf(t);
  const Result<Fd> read_end = table.Reserve(0, s.MaxFds(task));
  if (!read_end.ok()) return read_end.error();
  const Result<Fd> write_end = table.Reserve(0, s.MaxFds(task));
  if (!write_end.ok()) {
    table.CancelReservation(*read_end);
    return write_end.error();
  }
  const std::shared_ptr<Inode> node = s.vfs.NewInternal(VfsManager::Internal::kPipe, task.creds);
  const bool cloexec = (flags & O_CLOEXEC) != 0;
  table.Install(*read_end, s.fds.NewFile(InodeRef(*node), flags & O_NONBLOCK, {}, std::nullopt), cloexec);
  table.Install(*write_end,
                s.fds.NewFile(InodeRef(*node), O_WRONLY | (flags & (O_NONBLOCK | abi::kODirect)), {}, std::nullopt),
                cloexec);
  return PipeFds{*read_end, *write_end};
}

Result<Fd> Kernel::Socket(Pid t, int domain, int type, int protocol) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  const Task& task = **entered;
  const int flags = type & ~0xf;
  const int kind = type & 0xf;
  if (HasUnknown(flags, SOCK_CLOEXEC | SOCK_NONBLOCK)) return Code::kEINVAL;
  if (domain < 0 || domain >= AF_MAX) return Code::kEAFNOSUPPORT;
  if (kind > SOCK_PACKET) return Code::kEINVAL;
  switch (domain) {
    case AF_UNIX:
      if (protocol != 0 && protocol != PF_UNIX) return Code::kEPROTONOSUPPORT;
      if (kind != SOCK_STREAM && kind != SOCK_DGRAM && kind != SOCK_SEQPACKET && kind != SOCK_RAW) {
        return Code::kESOCKTNOSUPPORT;
      }
      break;
    case AF_INET:
    case AF_INET6:
      if (kind == SOCK_STREAM) {
        if (protocol != 0 && protocol != 6) return Code::kEPROTONOSUPPORT;
      } else if (kind == SOCK_DGRAM) {
        if (protocol != 0 && protocol != 17) return Code::kEPROTONOSUPPORT;
      } else if (kind == SOCK_RAW) {
        if (protocol == 0) return Code::kEPROTONOSUPPORT;
        if (task.creds.euid != 0) return Code::kEPERM;
      } else {
        return Code::kESOCKTNOSUPPORT;
      }
      break;
    case AF_NETLINK:
      if (kind != SOCK_RAW && kind != SOCK_DGRAM) return Code::kESOCKTNOSUPPORT;
      break;
    default:
      return Code::kEAFNOSUPPORT;
  }
  const std::shared_ptr<Inode> node = s.vfs.NewInternal(VfsManager::Internal::kSocket, task.creds);
  const int status = O_RDWR | ((flags & SOCK_NONBLOCK) != 0 ? O_NONBLOCK : 0);
  return s.fds.Install(t, s.fds.NewFile(InodeRef(*node), status, {}, OpaqueKind::kSocket), (flags & SOCK_CLOEXEC) != 0,
                       0, s.MaxFds(task));
}

Result<void> Kernel::ConnectUnix(Pid t, Fd fd, std::string_view path) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<std::shared_ptr<File>> file = s.PinForUse(**task, fd);
  if (!file.ok()) return file.error();
  if ((*file)->opaque() != OpaqueKind::kSocket) return Code::kENOTSOCK;
  if (path.starts_with('\0')) return Code::kECONNREFUSED;  // the abstract namespace is empty
  if (path.empty() || path.size() > 108) return Code::kEINVAL;
  const Result<Inode*> node = s.Target(**task, kAtFdCwd, path, true, false);
  if (!node.ok()) return node.error();
  HOTPATH_KERNEL_TRY(VfsManager::Permission(**node, W_OK, (*task)->creds));
  return Code::kECONNREFUSED;  // not a socket, or one that nobody listens on
}

Result<Fd> Kernel::InstallOpaque(Pid t, OpaqueKind kind, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  const Task& task = **entered;
  if (HasUnknown(flags, O_CLOEXEC | O_NONBLOCK)) return Code::kEINVAL;
  VfsManager::Internal where = VfsManager::Internal::kAnonymous;
  int status = O_RDWR | flags;
  if (kind == OpaqueKind::kSocket) where = VfsManager::Internal::kSocket;
  if (kind == OpaqueKind::kInotify) status = O_RDONLY | flags;
  if (kind == OpaqueKind::kMemFd) {
    where = VfsManager::Internal::kMemory;
    status |= abi::kOLargeFile;
  }
  const std::shared_ptr<Inode> node = s.vfs.NewInternal(where, task.creds);
  return s.fds.Install(t, s.fds.NewFile(InodeRef(*node), status, {}, kind), (flags & O_CLOEXEC) != 0, 0,
                       s.MaxFds(task));
}

Result<int> Kernel::Poll(Pid t, std::span<PollEntry> entries, bool may_wait, const uint64_t* mask) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  if (entries.size() > s.MaxFds(task)) return Code::kEINVAL;
  if (mask != nullptr) {
    s.signals.SetTemporaryMask(t, *mask);
    s.Reconsider(*task.process);
  }
  const auto restore = [&s, t, mask]() {
    s.mu.AssertHeld();
    if (mask != nullptr) s.signals.RestoreMask(t);
  };
  for (;;) {
    int ready = 0;
    std::vector<std::shared_ptr<File>> pinned;
    std::vector<WaitQueue*> queues;
    for (PollEntry& entry : entries) {
      entry.revents = 0;
      if (entry.fd < 0) continue;
      const Result<std::shared_ptr<File>> file = s.PinForUse(task, entry.fd);
      if (!file.ok()) {
        entry.revents = POLLNVAL;
      } else {
        entry.revents = static_cast<int16_t>((*file)->PollMask() & (entry.events | POLLERR | POLLHUP));
        if ((*file)->IsPipe()) {
          if ((*file)->readable()) queues.push_back(&(*file)->pipe().readable());
          if ((*file)->writable()) queues.push_back(&(*file)->pipe().writable());
          pinned.push_back(*file);
        }
      }
      if (entry.revents != 0) ++ready;
    }
    if (ready > 0 || !may_wait) {
      restore();
      return ready;
    }
    if (mask != nullptr && s.options.never_block && s.signals.HasDeliverable(t)) return Code::kEINTR;
    const Result<void> slept = s.Sleep(task, queues, false);
    if (slept.ok()) continue;
    // After EINTR the mask stays until the handler has been delivered; a dead task has none.
    if (slept.error().code == Code::kERESTART) restore();
    return slept.error();
  }
}

// ---- Reading and writing ----

Result<size_t> Kernel::Read(Pid t, Fd fd, std::span<std::byte> out) { return ReadV(t, fd, std::span(&out, 1)); }

Result<size_t> Kernel::Write(Pid t, Fd fd, std::span<const std::byte> in) { return WriteV(t, fd, std::span(&in, 1)); }

Result<size_t> Kernel::ReadV(Pid t, Fd fd, std::span<const std::span<std::byte>> out) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  const Result<std::shared_ptr<File>> pinned = s.PinForUse(task, fd);
  if (!pinned.ok()) return pinned.error();
  File& file = **pinned;
  if (!file.readable()) return Code::kEBADF;
  if (out.size() > abi::kMaxIov) return Code::kEINVAL;
  ReadCursor cursor(out);
  for (;;) {
    Result<size_t> count = file.Read(cursor, nullptr);
    if (count.ok() || count.error().code != Code::kEAGAIN || file.NonBlocking()) return count;
    HOTPATH_KERNEL_TRY(s.Sleep(task, file.pipe().readable()));
  }
}

Result<size_t> Kernel::WriteV(Pid t, Fd fd, std::span<const std::span<const std::byte>> in) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  const Result<std::shared_ptr<File>> pinned = s.PinForUse(task, fd);
  if (!pinned.ok()) return pinned.error();
  File& file = **pinned;
  if (!file.writable()) return Code::kEBADF;
  if (in.size() > abi::kMaxIov) return Code::kEINVAL;
  WriteCursor cursor(in);
  for (;;) {
    Result<size_t> count = file.Write(task.creds, cursor, nullptr, s.MaxFileSize(task));
    const size_t done = cursor.done();
    if (!count.ok() && count.error().code != Code::kEAGAIN) {
      s.RaiseForError(task, count.error().code, static_cast<uint64_t>(file.offset));
      if (done > 0) return done;
      return count;
    }
    if (count.ok() && (cursor.left() == 0 || !file.IsPipe())) return done;
    if (file.NonBlocking()) {
      if (done > 0) return done;
      return Code::kEAGAIN;
    }
    const Result<void> slept = s.Sleep(task, file.pipe().writable());
    if (!slept.ok()) {
      if (done > 0) return done;
      return slept.error();
    }
  }
}

Result<size_t> Kernel::PRead(Pid t, Fd fd, std::span<std::byte> out, int64_t offset) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (offset < 0) return Code::kEINVAL;
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  ReadCursor cursor(std::span(&out, 1));
  return (*file)->Read(cursor, &offset);
}

Result<size_t> Kernel::PWrite(Pid t, Fd fd, std::span<const std::byte> in, int64_t offset) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (offset < 0) return Code::kEINVAL;
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  WriteCursor cursor(std::span(&in, 1));
  const Result<size_t> count = (*file)->Write((*task)->creds, cursor, &offset, s.MaxFileSize(**task));
  if (!count.ok()) s.RaiseForError(**task, count.error().code, static_cast<uint64_t>(offset));
  return count;
}

Result<int64_t> Kernel::Seek(Pid t, Fd fd, int64_t offset, int whence) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  return (*file)->Seek(offset, whence);
}

Result<void> Kernel::FTruncate(Pid t, Fd fd, int64_t size) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (size < 0) return Code::kEINVAL;
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  const Result<void> result = (*file)->Truncate((*task)->creds, size, s.MaxFileSize(**task));
  if (!result.ok()) s.RaiseForError(**task, result.error().code, static_cast<uint64_t>(size));
  return result;
}

Result<void> Kernel::Truncate(Pid t, std::string_view path, int64_t size) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (size < 0) return Code::kEINVAL;
  const Result<Inode*> node = s.Target(**task, kAtFdCwd, path, true, false);
  if (!node.ok()) return node.error();
  const Result<void> result = s.vfs.Truncate((*task)->creds, **node, size, s.MaxFileSize(**task));
  if (!result.ok()) s.RaiseForError(**task, result.error().code, static_cast<uint64_t>(size));
  return result;
}

Result<void> Kernel::FAllocate(Pid t, Fd fd, int mode, int64_t offset, int64_t length) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  return (*file)->Allocate((*task)->creds, mode, offset, length, s.MaxFileSize(**task));
}

Result<void> Kernel::FSync(Pid t, Fd fd) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  return (*file)->Sync();
}

Result<void> Kernel::FAdvise(Pid t, Fd fd, int64_t offset, int64_t length, int advice) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  static_cast<void>(offset);  // Linux looks at the length only
  return (*file)->Advise(length, advice);
}

Result<size_t> Kernel::CopyFileRange(Pid t, Fd in, int64_t* in_offset, Fd out, int64_t* out_offset, size_t count,
                                     uint32_t flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  const Result<std::shared_ptr<File>> pinned_in = s.PinForUse(task, in);
  if (!pinned_in.ok()) return pinned_in.error();
  const Result<std::shared_ptr<File>> pinned_out = s.PinForUse(task, out);
  if (!pinned_out.ok()) return pinned_out.error();
  File& source = **pinned_in;
  File& sink = **pinned_out;
  if (flags != 0) return Code::kEINVAL;
  Inode& from = source.inode();
  Inode& to = sink.inode();
  if (from.IsDirectory() || to.IsDirectory()) return Code::kEISDIR;
  if (!from.IsRegular() || !to.IsRegular()) return Code::kEINVAL;
  if (!source.readable() || !sink.writable() || (sink.flags & O_APPEND) != 0) return Code::kEBADF;
  if (&from.fs != &to.fs) return Code::kEXDEV;
  const int64_t read_at = in_offset != nullptr ? *in_offset : source.offset;
  const int64_t write_at = out_offset != nullptr ? *out_offset : sink.offset;
  if (count > UINT64_MAX - static_cast<uint64_t>(read_at) || count > UINT64_MAX - static_cast<uint64_t>(write_at)) {
    return Code::kEOVERFLOW;
  }
  if (read_at < 0 || write_at < 0) return Code::kEINVAL;
  const int64_t size = from.bytes->size();
  count = read_at >= size ? 0 : std::min<uint64_t>(count, static_cast<uint64_t>(size - read_at));
  const uint64_t limit = std::min<uint64_t>(s.MaxFileSize(task), abi::kMaxFileSize);
  if (static_cast<uint64_t>(write_at) >= limit) {
    s.RaiseForError(task, Code::kEFBIG, static_cast<uint64_t>(write_at));
    return Code::kEFBIG;
  }
  count = std::min<uint64_t>(count, limit - static_cast<uint64_t>(write_at));
  const int64_t length = static_cast<int64_t>(count);
  if (&from == &to && write_at + length > read_at && write_at < read_at + length) return Code::kEINVAL;
  count = std::min<uint64_t>(count, abi::kMaxTransfer);
  if (count == 0) return size_t{0};
  const size_t copied = to.bytes->CopyFrom(*from.bytes, read_at, write_at, count);
  s.vfs.Modified(task.creds, to);
  (in_offset != nullptr ? *in_offset : source.offset) = read_at + static_cast<int64_t>(copied);
  (out_offset != nullptr ? *out_offset : sink.offset) = write_at + static_cast<int64_t>(copied);
  return copied;
}

Result<size_t> Kernel::SendFile(Pid t, Fd out, Fd in, int64_t* in_offset, size_t count) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> entered = s.Enter(t);
  if (!entered.ok()) return entered.error();
  Task& task = **entered;
  const Result<std::shared_ptr<File>> pinned_in = s.PinForUse(task, in);
  if (!pinned_in.ok()) return pinned_in.error();
  File& source = **pinned_in;
  if (!source.readable()) return Code::kEBADF;
  if (in_offset != nullptr && !source.IsSeekable()) return Code::kESPIPE;
  int64_t position = in_offset != nullptr ? *in_offset : source.offset;
  if (position < 0 || count > static_cast<uint64_t>(INT64_MAX - position)) return Code::kEINVAL;
  const Result<std::shared_ptr<File>> pinned_out = s.PinForUse(task, out);
  if (!pinned_out.ok()) return pinned_out.error();
  File& sink = **pinned_out;
  if (!sink.writable()) return Code::kEBADF;
  if (count > static_cast<uint64_t>(INT64_MAX - sink.offset)) return Code::kEINVAL;
  const bool to_pipe = sink.IsPipe();
  size_t left = std::min<uint64_t>(count, abi::kMaxTransfer);
  if (!to_pipe && (sink.flags & O_APPEND) != 0) return Code::kEINVAL;
  if (to_pipe) {  // one round: what the pipe has room for
    while (sink.pipe().HasReader() && !sink.pipe().HasRoom()) {
      if (sink.NonBlocking()) return Code::kEAGAIN;
      HOTPATH_KERNEL_TRY(s.Sleep(task, sink.pipe().writable()));
    }
    if (!sink.pipe().HasReader()) {
      s.RaiseOwn(task, SIGPIPE);
      return Code::kEPIPE;
    }
    left = std::min<size_t>(left, std::max<size_t>(sink.pipe().free_slots(), 1) * abi::kPageSize);
  }
  if (!to_pipe && !source.IsSeekable()) return Code::kEINVAL;
  const bool from_device = source.inode().type() == S_IFCHR;
  const bool unreadable =
      source.inode().IsDirectory() || (from_device && DeviceOf(source.inode().rdev) == Device::kNull);
  if (left > 0 && (!source.IsSeekable() || unreadable)) return Code::kEINVAL;
  size_t sent = 0;
  std::array<std::byte, abi::kPageSize> bytes;
  while (left > 0) {
    const std::span<std::byte> chunk(bytes.data(), std::min(left, bytes.size()));
    ReadCursor reader(std::span(&chunk, 1));
    Result<size_t> got = source.Read(reader, &position);
    if (!got.ok()) {
      if (sent > 0) break;
      return got;
    }
    if (*got == 0) break;
    if (sink.inode().type() == S_IFCHR && DeviceOf(sink.inode().rdev) == Device::kFull) return Code::kEINVAL;
    const std::span<const std::byte> piece(bytes.data(), *got);
    WriteCursor writer(std::span(&piece, 1));
    const Result<size_t> put = sink.Write(task.creds, writer, nullptr, s.MaxFileSize(task));
    if (!put.ok()) {
      s.RaiseForError(task, put.error().code, static_cast<uint64_t>(sink.offset));
      if (sent > 0) break;
      return put;
    }
    if (!from_device) position += static_cast<int64_t>(*put);
    sent += *put;
    left -= *put;
    if (*put < *got) break;
  }
  (in_offset != nullptr ? *in_offset : source.offset) = position;
  return sent;
}

Result<std::vector<Dirent>> Kernel::GetDents(Pid t, Fd fd, size_t buffer_size) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  return (*file)->GetDents(buffer_size);
}

// ---- Paths ----

Result<Stat> Kernel::StatAt(Pid t, Fd dirfd, std::string_view path, int flags) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (HasUnknown(flags, abi::kAtSymlinkNoFollow | abi::kAtNoAutomount | abi::kAtEmptyPath | abi::kAtStatxSyncType)) {
    return Code::kEINVAL;
  }
  const Result<Inode*> node =
      s.Target(**task, dirfd, path, (flags & abi::kAtSymlinkNoFollow) == 0, (flags & abi::kAtEmptyPath) != 0);
  if (!node.ok()) return node.error();
  return VfsManager::StatOf(**node);
}

Result<StatFs> Kernel::StatFsAt(Pid t, Fd fd, std::string_view path) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<Inode*> node = s.Target(**task, path.empty() ? fd : kAtFdCwd, path, true, true);
  if (!node.ok()) return node.error();
  return VfsManager::StatFsOf(**node);
}

Result<void> Kernel::Access(Pid t, Fd dirfd, std::string_view path, int mode, int flags) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (HasUnknown(mode, R_OK | W_OK | X_OK)) return Code::kEINVAL;
  if (HasUnknown(flags, abi::kAtEaccess | abi::kAtSymlinkNoFollow | abi::kAtEmptyPath)) return Code::kEINVAL;
  Credentials who = (*task)->creds;
  if ((flags & abi::kAtEaccess) == 0) {
    who.euid = who.ruid;
    who.egid = who.rgid;
  }
  const Result<Inode*> node =
      s.Target(**task, who, dirfd, path, (flags & abi::kAtSymlinkNoFollow) == 0, (flags & abi::kAtEmptyPath) != 0);
  if (!node.ok()) return node.error();
  return s.vfs.Access(who, **node, mode);
}

Result<std::string> Kernel::ReadLinkAt(Pid t, Fd dirfd, std::string_view path, size_t size) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (size == 0 || size > INT32_MAX) return Code::kEINVAL;
  const Result<Inode*> node = s.Target(**task, dirfd, path, false, dirfd != kAtFdCwd);
  if (!node.ok()) return node.error();
  if (path.empty() && !(*node)->IsSymlink()) return Code::kENOENT;
  return s.vfs.ReadLink(**node, size);
}

Result<void> Kernel::SymlinkAt(Pid t, std::string_view target, Fd dirfd, std::string_view path) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  HOTPATH_KERNEL_TRY(VfsManager::CheckPath(target));
  const Result<Inode*> start = s.Start(**task, dirfd, path);
  if (!start.ok()) return start.error();
  return s.vfs.Symlink((*task)->creds, target, **start, path);
}

Result<void> Kernel::LinkAt(Pid t, Fd olddirfd, std::string_view oldpath, Fd newdirfd, std::string_view newpath,
                            int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (HasUnknown(flags, abi::kAtSymlinkFollow | abi::kAtEmptyPath)) return Code::kEINVAL;
  const Result<Inode*> node =
      s.Target(**task, olddirfd, oldpath, (flags & abi::kAtSymlinkFollow) != 0, (flags & abi::kAtEmptyPath) != 0);
  if (!node.ok()) return node.error();
  const Result<Inode*> start = s.Start(**task, newdirfd, newpath);
  if (!start.ok()) return start.error();
  return s.vfs.Link((*task)->creds, **node, **start, newpath);
}

Result<void> Kernel::UnlinkAt(Pid t, Fd dirfd, std::string_view path, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (HasUnknown(flags, abi::kAtRemoveDir)) return Code::kEINVAL;
  const Result<Inode*> start = s.Start(**task, dirfd, path);
  if (!start.ok()) return start.error();
  if ((flags & abi::kAtRemoveDir) != 0) return s.vfs.Rmdir((*task)->creds, **start, path);
  return s.vfs.Unlink((*task)->creds, **start, path);
}

Result<void> Kernel::MkdirAt(Pid t, Fd dirfd, std::string_view path, uint32_t mode) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<Inode*> start = s.Start(**task, dirfd, path);
  if (!start.ok()) return start.error();
  return s.vfs.Mkdir((*task)->creds, s.vfs.ContextOf(t).umask, **start, path, mode);
}

Result<void> Kernel::MknodAt(Pid t, Fd dirfd, std::string_view path, uint32_t mode, uint64_t dev) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  HOTPATH_KERNEL_TRY(VfsManager::CheckNodeType(mode));
  const Result<Inode*> start = s.Start(**task, dirfd, path);
  if (!start.ok()) return start.error();
  return s.vfs.Mknod((*task)->creds, s.vfs.ContextOf(t).umask, **start, path, mode, dev);
}

Result<void> Kernel::RenameAt(Pid t, Fd olddirfd, std::string_view oldpath, Fd newdirfd, std::string_view newpath,
                              uint32_t flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.vfs.Rename((*task)->creds, s.Start(**task, olddirfd, oldpath), oldpath, s.Start(**task, newdirfd, newpath),
                      newpath, flags);
}

Result<void> Kernel::ChmodAt(Pid t, Fd dirfd, std::string_view path, uint32_t mode, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (HasUnknown(flags, abi::kAtSymlinkNoFollow | abi::kAtEmptyPath)) return Code::kEINVAL;
  const bool by_fd = path.empty() && (flags & abi::kAtEmptyPath) != 0;
  if (by_fd && dirfd != kAtFdCwd) {
    const Result<std::shared_ptr<File>> file = s.PinForUse(**task, dirfd);
    if (!file.ok()) return file.error();
  }
  const Result<Inode*> node = s.Target(**task, dirfd, path, (flags & abi::kAtSymlinkNoFollow) == 0, by_fd);
  if (!node.ok()) return node.error();
  return s.vfs.Chmod((*task)->creds, **node, mode);
}

Result<void> Kernel::ChownAt(Pid t, Fd dirfd, std::string_view path, uint32_t uid, uint32_t gid, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (HasUnknown(flags, abi::kAtSymlinkNoFollow | abi::kAtEmptyPath)) return Code::kEINVAL;
  const Result<Inode*> node =
      s.Target(**task, dirfd, path, (flags & abi::kAtSymlinkNoFollow) == 0, (flags & abi::kAtEmptyPath) != 0);
  if (!node.ok()) return node.error();
  return s.vfs.Chown((*task)->creds, **node, uid, gid);
}

Result<void> Kernel::UtimensAt(Pid t, Fd dirfd, std::string_view path, int64_t atime_ns, int64_t mtime_ns, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (atime_ns == kUtimeOmit && mtime_ns == kUtimeOmit) return {};  // not even the path is looked at
  if (HasUnknown(flags, abi::kAtSymlinkNoFollow | abi::kAtEmptyPath)) return Code::kEINVAL;
  const Result<Inode*> node =
      s.Target(**task, dirfd, path, (flags & abi::kAtSymlinkNoFollow) == 0, (flags & abi::kAtEmptyPath) != 0);
  if (!node.ok()) return node.error();
  return s.vfs.Utimens((*task)->creds, **node, atime_ns, mtime_ns);
}

Result<std::string> Kernel::GetCwd(Pid t, size_t size) const {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  return s.vfs.GetCwd(t, size);
}

Result<void> Kernel::Chdir(Pid t, std::string_view path) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<Inode*> node = s.Target(**task, kAtFdCwd, path, true, false);
  if (!node.ok()) return node.error();
  return s.vfs.Chdir((*task)->creds, t, **node);
}

Result<void> Kernel::FChdir(Pid t, Fd fd) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<File*> file = s.fds.Get(t, fd);
  if (!file.ok()) return file.error();
  return s.vfs.Chdir((*task)->creds, t, (*file)->inode());
}

Result<void> Kernel::Mount(Pid t, std::string_view target, std::string_view fstype, uint64_t flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  const Result<Inode*> node = s.Target(**task, kAtFdCwd, target, true, false);
  if (!node.ok()) return node.error();
  return s.vfs.Mount((*task)->creds, **node, fstype, flags);
}

Result<void> Kernel::Unmount(Pid t, std::string_view target, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  const Result<Task*> task = s.Enter(t);
  if (!task.ok()) return task.error();
  if (HasUnknown(flags, abi::kUmountForce | abi::kUmountDetach | abi::kUmountNoFollow)) return Code::kEINVAL;
  const Result<Inode*> node = s.Target(**task, kAtFdCwd, target, (flags & abi::kUmountNoFollow) == 0, false);
  if (!node.ok()) return node.error();
  return s.vfs.Unmount((*task)->creds, **node, flags);
}

// ---- Setting the scene ----

Result<void> Kernel::Seed(std::string_view path, const SeedNode& node) {
  State& s = *state_;
  State::Lock lock(s);
  return s.vfs.Seed(path, node);
}

Result<void> Kernel::SeedDescriptor(Pid t, Fd fd, std::string_view path, int flags) {
  State& s = *state_;
  State::Lock lock(s);
  if (s.processes.FindTask(t) == nullptr) return Code::kESRCH;
  FdTable& table = s.fds.TableOf(t);
  if (fd < 0 || static_cast<uint64_t>(fd) >= abi::kNrOpen) return Code::kEBADF;
  if (table.Find(fd) != nullptr || table.IsReserved(fd)) return Code::kEEXIST;
  const Result<Inode*> node = s.vfs.Resolve(Credentials{}, *s.vfs.ContextOf(t).cwd, path, true);
  if (!node.ok()) return node.error();
  File::Origin origin;
  if (const size_t slash = path.find_last_of('/'); slash != std::string_view::npos && !(*node)->IsDirectory()) {
    const Result<Inode*> parent = s.vfs.Resolve(Credentials{}, s.vfs.root(), path.substr(0, slash + 1), true);
    if (parent.ok()) origin = {InodeRef(**parent), std::string(path.substr(slash + 1))};
  }
  table.Install(fd, s.fds.NewFile(InodeRef(**node), flags | abi::kOLargeFile, std::move(origin), std::nullopt),
                (flags & O_CLOEXEC) != 0);
  return {};
}

Result<void> Kernel::SeedPipe(Pid t, Fd fd, bool write_end) {
  State& s = *state_;
  State::Lock lock(s);
  const std::shared_ptr<Task> task = s.processes.FindTask(t);
  if (task == nullptr) return Code::kESRCH;
  FdTable& table = s.fds.TableOf(t);
  if (fd < 0 || static_cast<uint64_t>(fd) >= abi::kNrOpen) return Code::kEBADF;
  if (table.Find(fd) != nullptr || table.IsReserved(fd)) return Code::kEEXIST;
  const std::shared_ptr<Inode> node = s.vfs.NewInternal(VfsManager::Internal::kPipe, task->creds);
  std::shared_ptr<File> file = s.fds.NewFile(InodeRef(*node), write_end ? O_WRONLY : O_RDONLY, {}, std::nullopt);
  if (write_end) {
    file->pipe().SetExternalReader();
  } else {
    file->pipe().SetExternalWriter();
  }
  table.Install(fd, std::move(file), false);
  return {};
}

}  // namespace hotpath::kernel
