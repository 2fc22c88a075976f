// What each recorded call says about the world before the trace, and what it did to the recorded world.

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/replay/recorded_world.h"

namespace hotpath::replay {
namespace {

constexpr uint64_t kPage = 4096;
constexpr int kLargeFile = 0100000;  // O_LARGEFILE, which F_GETFL shows and open(2) on x86-64 adds
constexpr int kFRenameExchange = 2;  // RENAME_EXCHANGE

uint64_t PageUp(uint64_t n) { return (n + kPage - 1) / kPage * kPage; }

// sun_path of a unix address that names a file.
const std::string* SocketPath(Fields& f, size_t argument) {
  if (!f.IsStruct(argument)) return nullptr;
  const Arg* path = f.At(argument).Find("sun_path");
  return path != nullptr && path->kind == Arg::Kind::kString && !path->text.empty() ? &path->text : nullptr;
}

kernel::Rlimit LimitOf(Fields& f, size_t argument) {
  return {static_cast<uint64_t>(f.Field(argument, "rlim_cur")), static_cast<uint64_t>(f.Field(argument, "rlim_max"))};
}

}  // namespace

const std::map<std::string, RecordedWorld::Handler, std::less<>>& RecordedWorld::Handlers() {
  using W = RecordedWorld;
  static const auto* const kHandlers = new std::map<std::string, Handler, std::less<>>{
      {"open", &W::OnOpen},
      {"openat", &W::OnOpen},
      {"openat2", &W::OnOpen},
      {"creat", &W::OnOpen},
      {"close", &W::OnClose},
      {"close_range", &W::OnCloseRange},
      {"dup", &W::OnDup},
      {"dup2", &W::OnDup},
      {"dup3", &W::OnDup},
      {"fcntl", &W::OnFcntl},
      {"ioctl", &W::OnIoctl},
      {"pipe", &W::OnPipe},
      {"pipe2", &W::OnPipe},
      {"socket", &W::OnSocket},
      {"socketpair", &W::OnSocketPair},
      {"accept", &W::OnAccept},
      {"accept4", &W::OnAccept},
      {"recvmsg", &W::OnReceiveMessage},
      {"connect", &W::OnConnect},
      {"bind", &W::OnConnect},
      {"epoll_create", &W::OnAnonymous},
      {"epoll_create1", &W::OnAnonymous},
      {"eventfd", &W::OnAnonymous},
      {"eventfd2", &W::OnAnonymous},
      {"timerfd_create", &W::OnAnonymous},
      {"signalfd", &W::OnAnonymous},
      {"signalfd4", &W::OnAnonymous},
      {"inotify_init", &W::OnAnonymous},
      {"inotify_init1", &W::OnAnonymous},
      {"memfd_create", &W::OnAnonymous},
      {"pidfd_open", &W::OnAnonymous},
      {"userfaultfd", &W::OnAnonymous},
      {"read", &W::OnRead},
      {"pread64", &W::OnRead},
      {"readv", &W::OnRead},
      {"preadv", &W::OnRead},
      {"preadv2", &W::OnRead},
      {"write", &W::OnWrite},
      {"pwrite64", &W::OnWrite},
      {"writev", &W::OnWrite},
      {"pwritev", &W::OnWrite},
      {"pwritev2", &W::OnWrite},
      {"lseek", &W::OnSeek},
      {"ftruncate", &W::OnFtruncate},
      {"truncate", &W::OnFtruncate},
      {"fallocate", &W::OnFtruncate},
      {"copy_file_range", &W::OnCopy},
      {"sendfile", &W::OnCopy},
      {"splice", &W::OnCopy},
      {"fstat", &W::OnFstat},
      {"stat", &W::OnStat},
      {"lstat", &W::OnStat},
      {"newfstatat", &W::OnStat},
      {"statx", &W::OnStat},
      {"access", &W::OnAccess},
      {"faccessat", &W::OnAccess},
      {"faccessat2", &W::OnAccess},
      {"readlink", &W::OnReadLink},
      {"readlinkat", &W::OnReadLink},
      {"symlink", &W::OnSymlink},
      {"symlinkat", &W::OnSymlink},
      {"link", &W::OnLink},
      {"linkat", &W::OnLink},
      {"unlink", &W::OnUnlink},
      {"unlinkat", &W::OnUnlink},
      {"rmdir", &W::OnUnlink},
      {"rename", &W::OnRename},
      {"renameat", &W::OnRename},
      {"renameat2", &W::OnRename},
      {"mkdir", &W::OnMkdir},
      {"mkdirat", &W::OnMkdir},
      {"mknod", &W::OnMknod},
      {"mknodat", &W::OnMknod},
      {"chmod", &W::OnChmod},
      {"fchmodat", &W::OnChmod},
      {"fchmodat2", &W::OnChmod},
      {"chown", &W::OnChown},
      {"lchown", &W::OnChown},
      {"fchownat", &W::OnChown},
      {"fchmod", &W::OnFdAttribute},
      {"fchown", &W::OnFdAttribute},
      {"utimensat", &W::OnUtimes},
      {"futimesat", &W::OnUtimes},
      {"statfs", &W::OnPathUse},
      {"utime", &W::OnPathUse},
      {"utimes", &W::OnPathUse},
      {"getxattr", &W::OnPathUse},
      {"lgetxattr", &W::OnPathUse},
      {"listxattr", &W::OnPathUse},
      {"llistxattr", &W::OnPathUse},
      {"chroot", &W::OnPathUse},
      {"setxattr", &W::OnSetXattr},
      {"lsetxattr", &W::OnSetXattr},
      {"fsetxattr", &W::OnSetXattr},
      {"getdents64", &W::OnGetdents},
      {"chdir", &W::OnChdir},
      {"fchdir", &W::OnChdir},
      {"umask", &W::OnUmask},
      {"fork", &W::OnClone},
      {"vfork", &W::OnClone},
      {"clone", &W::OnClone},
      {"clone3", &W::OnClone},
      {"execve", &W::OnExec},
      {"execveat", &W::OnExec},
      {"mmap", &W::OnMmap},
      {"munmap", &W::OnMemoryRange},
      {"mprotect", &W::OnMemoryRange},
      {"pkey_mprotect", &W::OnMemoryRange},
      {"mremap", &W::OnMemoryRange},
      {"madvise", &W::OnMemoryRange},
      {"msync", &W::OnMemoryRange},
      {"brk", &W::OnBrk},
      {"rt_sigaction", &W::OnSigaction},
      {"rt_sigprocmask", &W::OnSigprocmask},
      {"prlimit64", &W::OnPrlimit},
      {"getrlimit", &W::OnPrlimit},
      {"setrlimit", &W::OnPrlimit},
      {"getuid", &W::OnGetId},
      {"geteuid", &W::OnGetId},
      {"getgid", &W::OnGetId},
      {"getegid", &W::OnGetId},
      {"setuid", &W::OnSetId},
      {"setgid", &W::OnSetId},
      {"setresuid", &W::OnSetId},
      {"setresgid", &W::OnSetId},
      {"setreuid", &W::OnSetId},
      {"setregid", &W::OnSetId},
      {"getppid", &W::OnGetGroup},
      {"getpgrp", &W::OnGetGroup},
      {"getpgid", &W::OnGetGroup},
      {"getsid", &W::OnGetGroup},
      {"setpgid", &W::OnSetGroup},
      {"setsid", &W::OnSetGroup},
      {"fsync", &W::OnFdUse},
      {"fdatasync", &W::OnFdUse},
      {"fadvise64", &W::OnFdUse},
      {"fstatfs", &W::OnFdUse},
      {"flock", &W::OnFdUse},
      {"fgetxattr", &W::OnFdUse},
      {"flistxattr", &W::OnFdUse},
      {"getsockname", &W::OnFdUse},
      {"getpeername", &W::OnFdUse},
      {"getsockopt", &W::OnFdUse},
      {"setsockopt", &W::OnFdUse},
      {"sendto", &W::OnFdUse},
      {"sendmsg", &W::OnFdUse},
      {"recvfrom", &W::OnFdUse},
      {"listen", &W::OnFdUse},
      {"shutdown", &W::OnFdUse},
      {"poll", &W::OnPoll},
      {"ppoll", &W::OnPoll},
      {"select", &W::OnSelect},
      {"pselect6", &W::OnSelect},
      {"epoll_ctl", &W::OnFdUse},
      {"epoll_wait", &W::OnFdUse},
      {"epoll_pwait", &W::OnFdUse},
  };
  return *kHandlers;
}

// ---- Opening and closing ----

void RecordedWorld::OnOpen(Fields& f, Task& t) {
  const std::string& call = f.record().name;
  const int dirfd = call == "openat" || call == "openat2" ? 0 : -1;
  const size_t path_at = dirfd == 0 ? 1 : 0;
  int64_t flags = 0, mode = 0;
  if (call == "creat") {
    flags = O_CREAT | O_WRONLY | O_TRUNC;
    mode = f.Int(1);
  } else if (call == "openat2") {
    flags = f.Field(2, "flags");
    mode = f.FieldOr(2, "mode", 0);
  } else {
    flags = f.Int(path_at + 1);
    mode = f.IntOr(path_at + 2, 0);
  }
  const bool exclusive = (flags & O_CREAT) && (flags & O_EXCL);
  const bool follow = !(flags & O_NOFOLLOW) && !exclusive;
  const std::string& path = f.Path(path_at);
  if (!f.ok()) return;
  Inode* base = Base(f, t, dirfd);
  SeePath(t, path);
  const bool synthetic = IsSynthetic(Spell(f, t, dirfd, path));
  const int64_t access = flags & O_ACCMODE;
  const uint32_t wanted = (access == O_RDONLY ? 4u : access == O_WRONLY ? 2u : 6u) | (flags & O_TRUNC ? 2u : 0u);
  if (f.record().err != 0) {
    if (synthetic) MarkSynthetic();
    if (f.record().err == ENOTDIR && (flags & O_DIRECTORY) && tree_.Find(base, path, follow).directory != nullptr) {
      tree_.Exists(base, path, follow, S_IFREG);
    } else if (f.record().err == ENOENT && (flags & O_CREAT)) {
      tree_.Absent(base, absl::string_view(path).substr(0, path.find_last_of('/') + 1), true);
    } else {
      Failed(f, t, base, path, follow, wanted);
    }
    return;
  }
  const FdNote note = f.ResultNote();
  const std::string resolved = note.deleted || synthetic ? "" : note.path;  // /proc/self is no link that stays
  auto file = std::make_shared<OpenFile>();
  file->text = note.present ? note.text : path;
  file->flags = static_cast<int>(flags);
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    Changed(t, tree_.Exists(base, path, true, S_IFDIR));
    file->anonymous = true;
  } else if (flags & O_CREAT) {
    const size_t slash = path.find_last_of('/');
    if (!resolved.empty() && slash != std::string::npos && slash > 0) {
      tree_.Exists(base, absl::string_view(path).substr(0, slash), true, S_IFDIR,
                   absl::string_view(resolved).substr(0, std::max<size_t>(resolved.find_last_of('/'), 1)));
    }
    FileTree::Place place = tree_.Reach(base, path, follow);
    if (place.inode != nullptr) {
      file->inode = place.inode;
    } else if (place.directory != nullptr && !exclusive && !place.known_absent &&
               knowledge_.files.existed.contains(JoinPath(tree_.CurrentPath(place.directory), place.name))) {
      file->inode = tree_.Exists(base, path, follow, S_IFREG);
    } else {
      Changed(t, place.directory);
      file->inode = tree_.Create(place, S_IFREG, static_cast<uint32_t>(mode) & ~UmaskOf(t) & 07777);
    }
  } else {
    const uint32_t format = flags & O_DIRECTORY ? S_IFDIR : note.rdev ? S_IFCHR : 0;
    file->inode = tree_.Exists(base, path, follow, format, resolved);
  }
  if (!(flags & O_PATH)) Allowed(t, file->inode, wanted);
  if (file->inode != nullptr) {
    if (note.rdev) {
      ShownStat stat;
      stat.rdev = note.rdev;
      tree_.ShowStat(file->inode, stat);
    }
    if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) tree_.Resized(file->inode);
    file->synthetic = synthetic || IsSynthetic(tree_.CurrentPath(file->inode));
  }
  Allocate(t, f, f.record().result, 0, (flags & O_CLOEXEC) != 0, std::move(file));
}

void RecordedWorld::OnClose(Fields& f, Task& t) {
  Use(f, t, 0);
  if (f.record().err == 0) Drop(t, f.Fd(0), f.record());
}

void RecordedWorld::OnCloseRange(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  const uint64_t first = f.Unsigned(0), last = static_cast<uint32_t>(f.Int(1)), flags = f.Unsigned(2);
  if (flags & 2) t.fds = std::make_shared<FdTable>(*t.fds);  // CLOSE_RANGE_UNSHARE
  std::vector<int> inside;
  for (const auto& [fd, slot] : t.fds->slots) {
    if (static_cast<uint64_t>(fd) >= first && static_cast<uint64_t>(fd) <= last) inside.push_back(fd);
  }
  for (int fd : inside) {
    if (flags & 4) {  // CLOSE_RANGE_CLOEXEC
      t.fds->slots[fd].cloexec = true;
    } else {
      Drop(t, fd, f.record());
    }
  }
}

void RecordedWorld::OnDup(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (f.record().err != 0 || file == nullptr) return;
  if (f.record().name == "dup") {
    Allocate(t, f, f.record().result, 0, false, file);
    return;
  }
  const int to = f.Fd(1);
  if (to == f.Fd(0)) return;
  t.fds->slots[to] = {file, f.record().name == "dup3" && (f.Int(2) & O_CLOEXEC), f.record().line};
}

void RecordedWorld::OnFcntl(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (f.record().err != 0 || file == nullptr) return;
  switch (f.Int(1)) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      Allocate(t, f, f.record().result, static_cast<int>(f.Int(2)), f.Int(1) == F_DUPFD_CLOEXEC, file);
      break;
    case F_SETFD:
      t.fds->slots[f.Fd(0)].cloexec = (f.Int(2) & FD_CLOEXEC) != 0;
      break;
    case F_GETFL:
      if (file->first_flags) break;
      file->first_flags = static_cast<int>(f.record().result) & ~kLargeFile;
      file->flags = *file->first_flags;
      break;
    case F_SETFL:
      if (!file->first_flags) file->first_flags = file->flags;
      file->flags = (file->flags & O_ACCMODE) | (static_cast<int>(f.Int(2)) & ~(O_ACCMODE | kLargeFile));
      break;
    default:
      break;
  }
}

void RecordedWorld::OnIoctl(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> used = Use(f, t, 0);
  if (used != nullptr && used->synthetic) MarkSynthetic();
  if (f.record().err != 0 || f.Unsigned(1) != TIOCGPTPEER) return;
  std::shared_ptr<OpenFile> file = AnonymousFile(f.ResultNote(), "terminal");
  file->anonymous = true;
  Allocate(t, f, f.record().result, 0, (f.Int(2) & O_CLOEXEC) != 0, std::move(file));
}

void RecordedWorld::OnPipe(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  const std::vector<Arg>& ends = f.Items(0);
  if (ends.size() != 2) return;
  const bool cloexec = f.record().name == "pipe2" && (f.Int(1) & O_CLOEXEC);
  for (int end = 0; end < 2; ++end) {
    const Arg& arg = ends[static_cast<size_t>(end)];
    std::shared_ptr<OpenFile> file = AnonymousFile(ParseFdNote(arg.annotation, false), "pipe");
    file->pipe = true;
    Allocate(t, f, arg.number, 0, cloexec, std::move(file));
  }
}

void RecordedWorld::OnSocket(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  std::shared_ptr<OpenFile> file = AnonymousFile(f.ResultNote(), "socket");
  file->socket = true;
  Allocate(t, f, f.record().result, 0, (f.Int(1) & SOCK_CLOEXEC) != 0, std::move(file));
}

void RecordedWorld::OnSocketPair(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  const std::vector<Arg>& ends = f.Items(3);
  for (const Arg& end : ends) {
    std::shared_ptr<OpenFile> file = AnonymousFile(ParseFdNote(end.annotation, false), "socket");
    file->socket = true;
    Allocate(t, f, end.number, 0, (f.Int(1) & SOCK_CLOEXEC) != 0, std::move(file));
  }
}

void RecordedWorld::OnAccept(Fields& f, Task& t) {
  Use(f, t, 0);
  if (f.record().err != 0) return;
  std::shared_ptr<OpenFile> file = AnonymousFile(f.ResultNote(), "socket");
  file->socket = true;
  t.fds->reserved.erase(static_cast<int>(f.record().result));
  const bool cloexec = f.record().name == "accept4" && (f.Int(3) & SOCK_CLOEXEC);
  // Its number was taken when the call was entered: what was free below it then is not free now, so no gap is inferred.
  Allocate(t, f, f.record().result, static_cast<int>(f.record().result), cloexec, std::move(file));
}

void RecordedWorld::OnReceiveMessage(Fields& f, Task& t) {
  Use(f, t, 0);
  if (f.record().err != 0 || f.size() < 2) return;
  for (const Arg* fd : ReceivedDescriptors(f.At(1))) {
    std::shared_ptr<OpenFile> file = AnonymousFile(ParseFdNote(fd->annotation, fd->deleted), "received descriptor");
    file->anonymous = true;
    Allocate(t, f, fd->number, 0, (f.IntOr(2, 0) & MSG_CMSG_CLOEXEC) != 0, std::move(file));
  }
}

void RecordedWorld::OnConnect(Fields& f, Task& t) {
  Use(f, t, 0);
  const std::string* path = SocketPath(f, 1);
  if (path == nullptr) return;
  if (f.record().err == ENOENT) {
    tree_.Absent(t.files->cwd, *path, true);
  } else if (f.record().err == 0 || f.record().err == ECONNREFUSED) {
    if (f.record().name == "bind") {
      tree_.Create(tree_.Reach(t.files->cwd, *path, false), S_IFSOCK, 0777 & ~UmaskOf(t));
    } else {
      tree_.Exists(t.files->cwd, *path, true, S_IFSOCK);
    }
  }
}

void RecordedWorld::OnAnonymous(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  const std::string& call = f.record().name;
  bool cloexec = false;
  if (call == "epoll_create1" || call == "inotify_init1" || call == "userfaultfd") {
    cloexec = f.Int(0) & O_CLOEXEC;
  } else if (call == "eventfd2" || call == "timerfd_create") {
    cloexec = f.Int(1) & O_CLOEXEC;
  } else if (call == "signalfd4") {
    if (f.Int(0) >= 0) return;  // changes the mask of an existing one
    cloexec = f.Int(3) & O_CLOEXEC;
  } else if (call == "signalfd") {
    if (f.Int(0) >= 0) return;
  } else if (call == "memfd_create") {
    cloexec = f.Int(1) & MFD_CLOEXEC;
  } else if (call == "pidfd_open") {
    cloexec = true;
  }
  std::shared_ptr<OpenFile> file = AnonymousFile(f.ResultNote(), call);
  file->anonymous = true;
  Allocate(t, f, f.record().result, 0, cloexec, std::move(file));
}

void RecordedWorld::OnFdUse(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file != nullptr && file->synthetic) MarkSynthetic();
}

// poll tells of every descriptor it was asked about whether it is open: the closed ones are POLLNVAL.
void RecordedWorld::OnPoll(Fields& f, Task& t) {
  for (const Arg& item : f.Items(0)) {
    const Arg* fd = item.Find("fd");
    if (fd == nullptr || fd->number < 0) continue;
    const std::string closed = absl::StrCat("{fd=", fd->number, ", revents=POLLNVAL}");
    if (absl::StrContains(f.record().result_note, closed)) continue;
    const bool tells = f.record().err == 0 && !absl::StrContains(f.record().result_note, "...");
    if (!tells && !t.fds->slots.contains(static_cast<int>(fd->number))) continue;
    UseNumber(f, t, static_cast<int>(fd->number), ParseFdNote(fd->annotation, fd->deleted));
  }
}

void RecordedWorld::OnSelect(Fields& f, Task& t) {
  for (size_t set = 1; set <= 3; ++set) {
    const Arg& arg = f.At(set);
    if (arg.kind != Arg::Kind::kArray || f.record().err == EBADF) continue;
    for (const Arg& fd : arg.items) {
      if (fd.name != "=>") UseNumber(f, t, static_cast<int>(fd.number), ParseFdNote(fd.annotation, fd.deleted));
    }
  }
}

// ---- Contents ----

void RecordedWorld::OnRead(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file == nullptr) return;
  if (file->synthetic) MarkSynthetic();
  if (f.record().err == EISDIR && file->inode != nullptr && file->inode->format == 0) file->inode->format = S_IFDIR;
  if (f.record().err != 0) return;
  const std::string& call = f.record().name;
  const bool vector = call != "read" && call != "pread64";
  const int64_t got = f.record().result;
  const int64_t wanted = vector ? f.VectorLength(1) : f.Int(2);
  if (call == "read" || call == "readv") {
    DidRead(*file, file->offset, wanted, got);
    if (file->offset) *file->offset += got;
  } else {
    DidRead(*file, f.Int(3), wanted, got);
  }
}

void RecordedWorld::OnWrite(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file == nullptr) return;
  if (file->synthetic) MarkSynthetic();
  if (f.record().err != 0) return;
  const std::string& call = f.record().name;
  if (call == "write" || call == "writev") {
    DidWrite(*file, file->offset, f.record().result);
    if (file->flags & O_APPEND) {
      file->offset.reset();
    } else if (file->offset) {
      *file->offset += f.record().result;
    }
  } else {
    DidWrite(*file, f.Int(3), f.record().result);
  }
}

void RecordedWorld::OnSeek(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file == nullptr) return;
  if (file->synthetic) MarkSynthetic();
  if (f.record().err == ESPIPE && file->inode == nullptr && file->text == "inherited") file->pipe = true;
  if (f.record().err != 0) return;
  const int64_t to = f.record().result, whence = f.Int(2);
  if (whence == SEEK_END && file->inode != nullptr && !file->synthetic) {
    tree_.ShowSize(file->inode, to - f.Int(1));
  }
  if (whence == SEEK_CUR && f.Int(1) == 0 && !file->first_offset && !file->was_read && !file->was_written) {
    file->first_offset = to;
  }
  if (!file->first_offset) file->first_offset = 0;
  file->offset = to;
  if (to == 0) {
    file->listing = {};
    file->listing_bytes = 0;
    file->listing_whole = true;
  }
}

void RecordedWorld::OnFtruncate(Fields& f, Task& t) {
  const std::string& call = f.record().name;
  if (call == "truncate") {
    tree_.Resized(Touch(f, t, -1, 0, true, S_IFREG, 2));
    return;
  }
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file == nullptr || f.record().err != 0) return;
  file->was_written = true;
  if (call == "ftruncate") tree_.Resized(file->inode);
  if (call == "fallocate") tree_.Wrote(file->inode, f.Int(2), f.Int(1) == 0 ? f.Int(2) + f.Int(3) : 0);
}

void RecordedWorld::OnCopy(Fields& f, Task& t) {
  const bool sendfile = f.record().name == "sendfile";
  const size_t in_at = sendfile ? 1 : 0, out_at = sendfile ? 0 : 2;
  std::shared_ptr<OpenFile> in = Use(f, t, in_at), out = Use(f, t, out_at);
  if (in == nullptr || out == nullptr || f.record().err != 0) return;
  const int64_t moved = f.record().result;
  // An offset given by pointer is not shown in full options either: only the file offsets can be followed.
  if (f.IsNull(sendfile ? 2 : 1)) {
    DidRead(*in, in->offset, sendfile ? f.Int(3) : f.Int(4), moved);
    if (in->offset) *in->offset += moved;
  }
  const bool at_offset = sendfile || f.IsNull(3);
  DidWrite(*out, at_offset ? out->offset : std::nullopt, moved);
  if (at_offset && out->offset) *out->offset += moved;
}

// ---- Attributes ----

void RecordedWorld::OnFstat(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file == nullptr) return;
  if (file->synthetic) MarkSynthetic();
  const size_t at = f.record().name == "newfstatat" ? 2 : f.record().name == "statx" ? 4 : 1;
  if (f.record().err != 0 || !f.IsStruct(at)) return;
  const ShownStat stat = f.Stat(at);
  if (file->inode == nullptr && file->text == "inherited" && stat.mode) {
    if (S_ISFIFO(*stat.mode)) {
      file->pipe = true;
    } else if (S_ISSOCK(*stat.mode)) {
      file->socket = true;
    } else {
      const std::string path = absl::StrCat("/~inherited/", f.Fd(0));
      file->inode = tree_.Exists(tree_.root(), path, true, *stat.mode & S_IFMT);
    }
  }
  tree_.ShowStat(file->inode, stat);
}

void RecordedWorld::OnStat(Fields& f, Task& t) {
  const std::string& call = f.record().name;
  const bool at = call == "newfstatat" || call == "statx";
  const size_t flags_at = call == "newfstatat" ? 3 : 2, buffer_at = call == "newfstatat" ? 2 : at ? 4 : 1;
  const int64_t flags = at ? f.IntOr(flags_at, 0) : 0;
  if (at && (flags & AT_EMPTY_PATH) && f.Path(1).empty() && f.IntOr(0, 0) != AT_FDCWD) return OnFstat(f, t);
  const bool follow = call != "lstat" && !(flags & AT_SYMLINK_NOFOLLOW);
  if (f.record().err != 0 || !f.IsStruct(buffer_at)) {
    Touch(f, t, at ? 0 : -1, at ? 1 : 0, follow);
    return;
  }
  const ShownStat stat = f.Stat(buffer_at);
  const uint32_t format = stat.mode ? *stat.mode & S_IFMT : 0;
  tree_.ShowStat(Touch(f, t, at ? 0 : -1, at ? 1 : 0, follow, format), stat);
}

void RecordedWorld::OnAccess(Fields& f, Task& t) {
  const bool at = f.record().name != "access";
  const bool follow = !at || !(f.IntOr(3, 0) & AT_SYMLINK_NOFOLLOW);
  const uint32_t wanted = static_cast<uint32_t>(f.Int(at ? 2 : 1)) & 7;
  Inode* inode = Touch(f, t, at ? 0 : -1, at ? 1 : 0, follow, 0, wanted);
  if (inode != nullptr && (wanted & X_OK)) inode->executed = true;
}

void RecordedWorld::OnReadLink(Fields& f, Task& t) {
  const bool at = f.record().name == "readlinkat";
  const size_t path_at = at ? 1 : 0;
  Inode* inode = Touch(f, t, at ? 0 : -1, path_at, false, f.record().err == 0 ? S_IFLNK : 0);
  if (inode == nullptr || f.record().err != 0) return;
  const Arg& text = f.At(path_at + 1);
  const bool cut = f.record().result >= f.Int(path_at + 2);
  const bool whole =
      text.kind == Arg::Kind::kString && !text.truncated && static_cast<int64_t>(text.text.size()) == f.record().result;
  tree_.ShowLink(inode, f.record().result, whole ? text.text : "", !whole || cut);
  if (!whole && inode->original) {
    t.pending_link = tree_.CurrentPath(inode);
    t.pending_length = f.record().result;
  }
}

void RecordedWorld::OnChmod(Fields& f, Task& t) {
  const bool at = f.record().name != "chmod";
  Inode* inode = Touch(f, t, at ? 0 : -1, at ? 1 : 0, true);
  if (inode == nullptr) return;
  inode->permissions_changed = true;
  inode->mode_unknown_since.reset();
  Owned(t, inode);
}

void RecordedWorld::OnChown(Fields& f, Task& t) {
  const bool at = f.record().name == "fchownat";
  const bool follow = at ? !(f.IntOr(4, 0) & AT_SYMLINK_NOFOLLOW) : f.record().name == "chown";
  Inode* inode = Touch(f, t, at ? 0 : -1, at ? 1 : 0, follow);
  if (inode != nullptr) inode->owner_changed = true;
}

void RecordedWorld::OnFdAttribute(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file == nullptr || file->inode == nullptr || f.record().err != 0) return;
  Owned(t, file->inode);
  if (f.record().name == "fchown") {
    file->inode->owner_changed = true;
    return;
  }
  file->inode->permissions_changed = true;
  file->inode->mode_unknown_since.reset();
}

void RecordedWorld::OnUtimes(Fields& f, Task& t) {
  if (f.IsNull(1)) {
    Use(f, t, 0);
    return;
  }
  Touch(f, t, 0, 1, !(f.IntOr(3, 0) & AT_SYMLINK_NOFOLLOW));
}

// It may set an access control list, and with it the permissions; which, the next stat tells.
void RecordedWorld::OnSetXattr(Fields& f, Task& t) {
  Inode* inode = nullptr;
  if (f.record().name == "fsetxattr") {
    std::shared_ptr<OpenFile> file = Use(f, t, 0);
    if (file != nullptr) inode = file->inode;
  } else {
    inode = Touch(f, t, -1, 0, f.record().name != "lsetxattr");
  }
  if (inode == nullptr || f.record().err != 0) return;
  inode->permissions_changed = true;
  inode->mode_unknown_since = current_;
}

void RecordedWorld::OnPathUse(Fields& f, Task& t) { Touch(f, t, -1, 0, f.record().name[0] != 'l'); }

// ---- Names ----

void RecordedWorld::OnSymlink(Fields& f, Task& t) {
  const bool at = f.record().name == "symlinkat";
  Inode* link = MakeFile(f, t, at ? 1 : -1, at ? 2 : 1, S_IFLNK, 0777);
  if (link != nullptr) link->target = f.Path(0);
}

void RecordedWorld::OnLink(Fields& f, Task& t) {
  const bool at = f.record().name == "linkat";
  const bool follow = at && (f.IntOr(4, 0) & AT_SYMLINK_FOLLOW);
  if (f.record().err == EEXIST) {
    Failed(f, t, Base(f, t, at ? 2 : -1), f.Path(at ? 3 : 1), false);
    return;
  }
  Inode* inode = Touch(f, t, at ? 0 : -1, at ? 1 : 0, follow);
  if (inode == nullptr || f.record().err != 0) return;
  const FileTree::Place place = tree_.Reach(Base(f, t, at ? 2 : -1), f.Path(at ? 3 : 1), false);
  Changed(t, place.directory);
  tree_.Link(place, inode);
}

void RecordedWorld::OnUnlink(Fields& f, Task& t) {
  const bool at = f.record().name == "unlinkat";
  const bool directory = f.record().name == "rmdir" || (at && (f.Int(2) & AT_REMOVEDIR));
  const size_t path_at = at ? 1 : 0;
  Inode* inode = Touch(f, t, at ? 0 : -1, path_at, false, directory ? S_IFDIR : 0);
  if (inode == nullptr || f.record().err != 0) return;
  const FileTree::Place place = tree_.Find(Base(f, t, at ? 0 : -1), f.Path(path_at), false);
  Changed(t, place.directory);
  tree_.Unlink(place);
}

void RecordedWorld::OnRename(Fields& f, Task& t) {
  const bool at = f.record().name != "rename";
  const int64_t flags = f.record().name == "renameat2" ? f.Int(4) : 0;
  const size_t from_at = at ? 1 : 0, to_at = at ? 3 : 1;
  if (f.record().err != 0) {
    if (f.record().err == ENOENT) Failed(f, t, Base(f, t, at ? 0 : -1), f.Path(from_at), false);
    if (f.record().err == EEXIST || f.record().err == ENOTEMPTY) {
      Failed(f, t, Base(f, t, at ? 2 : -1), f.Path(to_at), false);
    }
    return;
  }
  if (Touch(f, t, at ? 0 : -1, from_at, false) == nullptr) return;
  const FileTree::Place to = tree_.Reach(Base(f, t, at ? 2 : -1), f.Path(to_at), false);
  const FileTree::Place from = tree_.Find(Base(f, t, at ? 0 : -1), f.Path(from_at), false);
  Changed(t, from.directory);
  Changed(t, to.directory);
  tree_.Rename(from, to, flags & kFRenameExchange);
}

void RecordedWorld::OnMkdir(Fields& f, Task& t) {
  const bool at = f.record().name == "mkdirat";
  const uint32_t mode = static_cast<uint32_t>(f.Int(at ? 2 : 1)) & ~UmaskOf(t) & 01777;
  MakeFile(f, t, at ? 0 : -1, at ? 1 : 0, S_IFDIR, mode);
}

void RecordedWorld::OnMknod(Fields& f, Task& t) {
  const bool at = f.record().name == "mknodat";
  const uint32_t mode = static_cast<uint32_t>(f.Int(at ? 2 : 1));
  MakeFile(f, t, at ? 0 : -1, at ? 1 : 0, mode & S_IFMT ? mode & S_IFMT : S_IFREG, mode & ~UmaskOf(t) & 07777);
}

void RecordedWorld::OnGetdents(Fields& f, Task& t) {
  std::shared_ptr<OpenFile> file = Use(f, t, 0);
  if (file == nullptr || f.record().err != 0) return;
  if (file->synthetic) MarkSynthetic();
  if (file->inode == nullptr) return;
  if (file->inode->format == 0) file->inode->format = S_IFDIR;
  listings_.emplace_back(current_, file->inode);
  ShownDirents shown = f.Dirents(1);
  file->listing.named = file->listing_bytes == 0 ? shown.named : file->listing.named && shown.named;
  if (f.record().result == 0) {
    file->listing.named = file->listing_bytes == 0 || !file->listing.entries.empty();
    if (file->listing_whole && file->listing_bytes > 0) tree_.Listed(file->inode, file->listing, file->listing_bytes);
    return;
  }
  file->listing.count += shown.count;
  file->listing_bytes += f.record().result;
  file->listing.entries.insert(file->listing.entries.end(), shown.entries.begin(), shown.entries.end());
}

void RecordedWorld::OnChdir(Fields& f, Task& t) {
  if (f.record().name == "fchdir") {
    std::shared_ptr<OpenFile> file = Use(f, t, 0);
    if (file != nullptr && file->inode != nullptr && f.record().err == 0) t.files->cwd = file->inode;
    return;
  }
  Inode* inode = Touch(f, t, -1, 0, true, S_IFDIR, 1);
  if (inode != nullptr && f.record().err == 0) t.files->cwd = inode;
}

void RecordedWorld::OnUmask(Fields& f, Task& t) {
  const uint32_t old = static_cast<uint32_t>(f.record().result);
  if (!t.files->umask) {
    auto [it, fresh] = knowledge_.umask.emplace(t.process->root, old);
    if (fresh) knowledge_.grew = true;
    ++facts_;
  }
  t.files->umask = static_cast<uint32_t>(f.Int(0)) & 0777;
}

// ---- Processes ----

void RecordedWorld::OnClone(Fields& f, Task& t) {
  if (f.record().err != 0 || f.record().result <= 0) return;
  const uint64_t flags = f.CloneFlags();
  Task child = t;
  child.pid = static_cast<int32_t>(f.record().result);
  child.pending_link.clear();
  if (!(flags & CLONE_FILES)) child.fds = std::make_shared<FdTable>(*t.fds);
  if (!(flags & CLONE_FILES)) child.fds->reserved.clear();
  if (!(flags & CLONE_FS)) child.files = std::make_shared<FileContext>(*t.files);
  if (!(flags & CLONE_VM)) child.memory = std::make_shared<Memory>(*t.memory);
  if (!(flags & CLONE_THREAD)) child.process = std::make_shared<Process>(*t.process);
  tasks_[child.pid] = std::move(child);
}

void RecordedWorld::OnExec(Fields& f, Task& t) {
  const bool at = f.record().name == "execveat";
  Inode* inode = Touch(f, t, at ? 0 : -1, at ? 1 : 0, true, f.record().err == 0 ? S_IFREG : 0, 1);
  if (f.record().err != 0) return;
  if (inode != nullptr) inode->executed = true;
  t.memory = std::make_shared<Memory>();
  t.memory->image = std::make_shared<ImageState>();
  images_[current_] = t.memory->image;
  t.fds = std::make_shared<FdTable>(*t.fds);
  std::vector<int> closing;
  for (const auto& [fd, slot] : t.fds->slots) {
    if (slot.cloexec) closing.push_back(fd);
  }
  for (int fd : closing) Drop(t, fd, f.record());
}

// ---- Memory ----

void RecordedWorld::OnMmap(Fields& f, Task& t) {
  if (f.Int(4) >= 0) Use(f, t, 4);
  if (f.record().err != 0) return;
  const uint64_t start = static_cast<uint64_t>(f.record().result);
  t.memory->Add(start, start + PageUp(f.Unsigned(1)));
}

void RecordedWorld::OnMemoryRange(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  const std::string& call = f.record().name;
  const uint64_t start = f.Unsigned(0), end = start + PageUp(f.Unsigned(1));
  if (call == "munmap") {
    t.memory->Remove(start, end);
    return;
  }
  for (const auto& gap : t.memory->Gaps(start, end)) {
    t.memory->image->mappings.push_back(gap);
    t.memory->Add(gap.first, gap.second);
    ++facts_;
  }
  if (call == "mremap") {
    t.memory->Remove(start, end);
    const uint64_t to = static_cast<uint64_t>(f.record().result);
    t.memory->Add(to, to + PageUp(f.Unsigned(2)));
  }
}

void RecordedWorld::OnBrk(Fields& f, Task& t) {
  const uint64_t result = static_cast<uint64_t>(f.record().result);
  ImageState& image = *t.memory->image;
  if (image.brk_base == 0) {
    image.brk_base = result;
    ++facts_;
  }
  if (t.memory->brk == 0) t.memory->brk = image.brk_base;
  if (result < t.memory->brk) t.memory->Remove(PageUp(result), PageUp(t.memory->brk));
  t.memory->brk = result;
  t.memory->Add(image.brk_base, PageUp(result));
}

// ---- Signals, limits, identities ----

void RecordedWorld::OnSigaction(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  const int signal = f.SignalNumber(0);
  if (signal < 1 || signal > 64) return;
  const uint64_t bit = uint64_t{1} << (signal - 1);
  if (t.process->actions_known & bit) return;
  const std::optional<ShownAction> old = f.Action(2);
  if (old || !f.IsNull(1)) t.process->actions_known |= bit;
  if (!old) return;
  ++facts_;
  if (old->handler != 0 || old->flags != 0 || old->mask != 0) {
    roots_[t.process->root].actions.emplace(signal, *old);
  }
}

void RecordedWorld::OnSigprocmask(Fields& f, Task& t) {
  if (f.record().err != 0 || t.mask_known) return;
  const std::optional<uint64_t> old = f.SignalSet(2);
  if (old || !f.IsNull(1)) t.mask_known = true;
  if (!old) return;
  roots_[t.process->root].signal_mask = *old;
  ++facts_;
}

void RecordedWorld::OnPrlimit(Fields& f, Task& t) {
  const std::string& call = f.record().name;
  const bool both = call == "prlimit64";
  if (f.record().err != 0) return;
  if (both && f.Int(0) != 0 && f.Int(0) != f.record().pid) return;
  const int resource = static_cast<int>(f.Int(both ? 1 : 0));
  const size_t old_at = both ? 3 : call == "getrlimit" ? 1 : SIZE_MAX;
  if (t.process->limits_known.contains(resource)) return;
  if (old_at != SIZE_MAX && f.IsStruct(old_at)) {
    roots_[t.process->root].limits.emplace(resource, LimitOf(f, old_at));
    ++facts_;
  }
  t.process->limits_known.insert(resource);
}

void RecordedWorld::OnGetId(Fields& f, Task& t) {
  if (t.process->credentials_changed) return;
  kernel::Credentials& credentials = roots_[t.process->root].credentials;
  const uint32_t id = static_cast<uint32_t>(f.record().result);
  const std::string& call = f.record().name;
  uint32_t& slot = call == "getuid"    ? credentials.ruid
                   : call == "geteuid" ? credentials.euid
                   : call == "getgid"  ? credentials.rgid
                                       : credentials.egid;
  if (slot != id) ++facts_;
  slot = id;
  if (call == "geteuid" || call == "getuid") {
    auto [it, fresh] = knowledge_.euid.emplace(t.process->root, id);
    if (fresh && id != 0) knowledge_.grew = true;
  }
}

void RecordedWorld::OnSetId(Fields& f, Task& t) {
  if (f.record().err == 0) t.process->credentials_changed = true;
}

// Groups and sessions are inherited: a child tells about its root until it leaves them.
void RecordedWorld::OnGetGroup(Fields& f, Task& t) {
  const std::string& call = f.record().name;
  RootTask& root = roots_[t.process->root];
  const bool leader = t.pid == root.pid;
  const bool own = call == "getppid" || call == "getpgrp" || f.Int(0) == 0 || f.Int(0) == t.pid;
  if (f.record().err != 0 || !own) return;
  int32_t& slot = call == "getppid" ? root.parent : call == "getsid" ? root.session : root.group;
  const bool changed = call == "getppid"  ? !leader
                       : call == "getsid" ? t.process->session_changed
                                          : t.process->group_changed;
  if (changed || slot != 0) return;
  slot = static_cast<int32_t>(f.record().result);
  ++facts_;
}

void RecordedWorld::OnSetGroup(Fields& f, Task& t) {
  if (f.record().err != 0) return;
  if (f.record().name == "setsid") {
    t.process->session_changed = t.process->group_changed = true;
    return;
  }
  const int32_t target = static_cast<int32_t>(f.Int(0));
  auto it = target == 0 ? tasks_.find(t.pid) : tasks_.find(target);
  if (it != tasks_.end()) it->second.process->group_changed = true;
}

}  // namespace hotpath::replay
