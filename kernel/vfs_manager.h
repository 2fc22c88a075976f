#ifndef HOTPATH_KERNEL_VFS_MANAGER_H_
#define HOTPATH_KERNEL_VFS_MANAGER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hotpath/core/result.h"
#include "hotpath/kernel/abi.h"
#include "hotpath/kernel/ipc_manager.h"
#include "hotpath/kernel/record_locks.h"
#include "hotpath/kernel/sparse_bytes.h"
#include "hotpath/kernel/types.h"

namespace hotpath::kernel {

class Filesystem;
class VfsManager;
struct Inode;

// The entries of a directory, in the order they were made: a cookie is never reused, so a reader that stops between
// two getdents(2) sees every entry that stays exactly once.
struct Directory {
  struct Entry {
    std::string name;
    std::shared_ptr<Inode> node;
  };
  using Entries = std::map<uint64_t, Entry>;  // by cookie; 0 and 1 are "." and ".."

  Inode* Find(std::string_view name) const;
  void Add(std::string_view name, std::shared_ptr<Inode> node);
  std::shared_ptr<Inode> Remove(std::string_view name);

  Entries entries;
  absl::flat_hash_map<std::string_view, Entries::iterator> by_name;  // the keys live in `entries`
  uint64_t next_cookie = 2;
  uint32_t subdirectories = 0;
  // Where this directory hangs. The parent is alive as long as this one is linked into it, because it is not empty;
  // a removed directory keeps its last parent alive itself, for "..".
  Inode* parent = nullptr;
  std::shared_ptr<Inode> parent_of_removed;
  std::string name;
  bool removed = false;
};

struct Inode : std::enable_shared_from_this<Inode> {
  Inode(Filesystem& filesystem, uint32_t mode_bits, const Credentials& owner);
  ~Inode();
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  uint32_t type() const { return mode & 0170000; }  // S_IFMT
  bool IsDirectory() const { return directory != nullptr; }
  bool IsRegular() const { return bytes != nullptr; }
  bool IsSymlink() const { return type() == 0120000; }
  bool IsFifo() const { return type() == 0010000; }
  // Of a FIFO: created with its first end, freed with its last.
  Pipe& OpenPipe();
  RecordLocks& Locks();

  Filesystem& fs;
  const uint64_t ino;
  uint32_t mode;
  uint32_t uid, gid;
  uint32_t nlink = 1;
  uint64_t rdev = 0;
  int64_t atime_ns, mtime_ns, ctime_ns;
  uint32_t extra_links = 0;       // part of nlink: names that lie outside the seeded tree
  int32_t write_opens = 0;        // > 0: descriptions open for writing; < 0: running executables, which exclude them
  Filesystem* mounted = nullptr;  // what covers this directory
  std::unique_ptr<Directory> directory;
  std::unique_ptr<SparseBytes> bytes;
  std::unique_ptr<Pipe> pipe;
  std::unique_ptr<RecordLocks> locks;
  std::string target;  // of a symbolic link
};

// One mounted in-memory file system, or one of the internal ones that pipes, sockets and the like live in.
class Filesystem : public std::enable_shared_from_this<Filesystem> {
 public:
  Filesystem(VfsManager& vfs, uint64_t dev, uint64_t magic) : vfs(vfs), dev(dev), magic(magic) {}
  ~Filesystem();
  bool ReadOnly() const { return (flags & abi::kMsReadOnly) != 0; }

  VfsManager& vfs;
  const uint64_t dev;
  const uint64_t magic;  // statfs f_type
  uint64_t flags = 0;    // MS_*
  uint64_t last_ino = 0;
  uint32_t write_opens = 0;  // descriptions open for writing: they keep it writable
  uint32_t submounts = 0;
  std::shared_ptr<Inode> root;             // null for the internal ones
  std::shared_ptr<Filesystem> covered_fs;  // the mount point lies in here (null: the root of everything, or detached)
  std::shared_ptr<Inode> covered;
};

// An inode that somebody outside the tree holds: it stays, and so does its file system (which is then busy).
struct InodeRef {
  InodeRef() = default;
  explicit InodeRef(Inode& node) : fs(node.fs.shared_from_this()), inode(node.shared_from_this()) {}
  InodeRef(const InodeRef&) = default;
  InodeRef(InodeRef&&) noexcept = default;
  // By swapping: what was held goes in the order of destruction, the inode before its file system.
  InodeRef& operator=(InodeRef other) noexcept {
    fs.swap(other.fs);
    inode.swap(other.inode);
    return *this;
  }
  explicit operator bool() const { return inode != nullptr; }
  Inode& operator*() const { return *inode; }
  Inode* operator->() const { return inode.get(); }

  std::shared_ptr<Filesystem> fs;  // destroyed after `inode`
  std::shared_ptr<Inode> inode;
};

// Owns     the mount table, every inode and its contents, and per task the working directory and umask.
// Built on Pipe (FIFOs), SparseBytes (contents), RecordLocks.
// Locks    none of its own: the caller excludes other callers of the same kernel. Inode pointers that are returned are
//          valid until the next call that changes the tree; an InodeRef keeps one longer.
// Serves   every call that takes a path. Never touches the host's file system.
class VfsManager {
 public:
  VfsManager(IpcManager& ipc, std::function<int64_t()> clock_ns, Mutation mutation);
  ~VfsManager();
  VfsManager(const VfsManager&) = delete;
  VfsManager& operator=(const VfsManager&) = delete;

  // ---- What a task has: a working directory and a umask, shared under CLONE_FS. ----
  struct Context {
    InodeRef cwd;
    uint32_t umask = 022;
  };
  void CreateContext(Pid task, Inode& cwd, uint32_t umask);
  void ShareContext(Pid from, Pid to);
  void CopyContext(Pid from, Pid to);
  void DropContext(Pid task);
  Context& ContextOf(Pid task) { return *contexts_.at(task); }

  // ---- Lookup.  `start` is where a relative path begins; empty paths are ENOENT, long ones ENAMETOOLONG. ----
  static Result<void> CheckPath(std::string_view path);
  Result<Inode*> Resolve(const Credentials& who, Inode& start, std::string_view path, bool follow);
  Inode& root() { return *root_->root; }
  // MAY_* as in access(2): 4 read, 2 write, 1 execute. EACCES; EROFS for a write.
  static Result<void> Permission(const Inode& node, int mask, const Credentials& who);
  std::string PathOf(const Inode& directory) const;  // absolute; "(unreachable)..." in a detached file system

  // ---- Calls. ----
  struct Opened {
    Inode* node = nullptr;
    Inode* parent = nullptr;  // with `name`, where it was found: for people
    std::string name;
  };
  static Result<void> CheckOpenFlags(int flags);  // what open(2) refuses before it looks at the path
  Result<Opened> Open(const Credentials& who, uint32_t umask, Inode& start, std::string_view path, int flags,
                      uint32_t mode);
  Result<void> Mkdir(const Credentials& who, uint32_t umask, Inode& start, std::string_view path, uint32_t mode);
  static Result<void> CheckNodeType(uint32_t mode);  // what mknod(2) refuses before it looks at the path
  Result<void> Mknod(const Credentials& who, uint32_t umask, Inode& start, std::string_view path, uint32_t mode,
                     uint64_t dev);
  Result<void> Symlink(const Credentials& who, std::string_view target, Inode& start, std::string_view path);
  Result<void> Link(const Credentials& who, Inode& old_node, Inode& start, std::string_view path);
  Result<void> Unlink(const Credentials& who, Inode& start, std::string_view path);
  Result<void> Rmdir(const Credentials& who, Inode& start, std::string_view path);
  // An error of old_start or new_start is reported when Linux would find it.
  Result<void> Rename(const Credentials& who, const Result<Inode*>& old_start, std::string_view old_path,
                      const Result<Inode*>& new_start, std::string_view new_path, uint32_t flags);
  Result<std::string> ReadLink(Inode& node, size_t size);
  Result<void> Access(const Credentials& who, const Inode& node, int mode);
  Result<void> Chmod(const Credentials& who, Inode& node, uint32_t mode);
  Result<void> Chown(const Credentials& who, Inode& node, uint32_t uid, uint32_t gid);  // UINT32_MAX keeps
  Result<void> Utimens(const Credentials& who, Inode& node, int64_t atime_ns, int64_t mtime_ns);
  // truncate(2), the path already resolved. `limit` is RLIMIT_FSIZE.
  Result<void> Truncate(const Credentials& who, Inode& node, int64_t size, uint64_t limit);
  void Resize(const Credentials& who, Inode& node, int64_t size);  // no checks: O_TRUNC, ftruncate(2)
  void Modified(const Credentials& who, Inode& node);              // contents changed: times, and set-user-id bits go
  static Stat StatOf(const Inode& node);
  static StatFs StatFsOf(const Inode& node);
  Result<void> Chdir(const Credentials& who, Pid task, Inode& node);
  Result<std::string> GetCwd(Pid task, size_t size) const;
  // What execve(2) asks of a file before it runs it. Contents that start with zeros are unknown (seeded, or written by
  // a driver that has no contents) and taken to be an executable; a script's interpreter is not looked up.
  Result<void> CheckExecutable(const Credentials& who, const Inode& node);

  Result<void> Mount(const Credentials& who, Inode& target, std::string_view fstype, uint64_t flags);
  Result<void> Unmount(const Credentials& who, Inode& target, int flags);

  Result<void> Seed(std::string_view path, const SeedNode& node);

  // ---- Inodes without a name. ----
  enum class Internal : uint8_t { kPipe, kSocket, kAnonymous, kMemory };
  std::shared_ptr<Inode> NewInternal(Internal kind, const Credentials& owner);

  int64_t Now() { return clock_ns_(); }
  uint64_t NextRandom();
  Mutation mutation() const { return mutation_; }
  IpcManager& ipc() { return ipc_; }
  LockWaits& lock_waits() { return lock_waits_; }
  uint64_t inodes() const { return live_inodes_; }
  uint64_t file_bytes() const { return file_bytes_; }

 private:
  friend struct Inode;
  class Walker;
  struct Place;  // a directory and a name in it

  std::shared_ptr<Inode> NewInode(Filesystem& fs, uint32_t mode, const Credentials& owner);
  Result<Place> PlaceForNew(const Credentials& who, Inode& start, std::string_view path, bool is_directory);
  static Result<void> MayDelete(const Inode& directory, const Inode* victim, bool is_directory, const Credentials& who);
  void AddEntry(Inode& directory, std::string_view name, std::shared_ptr<Inode> node);
  std::shared_ptr<Inode> RemoveEntry(Inode& directory, std::string_view name);
  std::shared_ptr<Inode> CreateIn(Inode& directory, std::string_view name, uint32_t mode, uint32_t umask,
                                  const Credentials& who);
  void DropName(Inode& node);
  void Detach(Filesystem& fs);

  IpcManager& ipc_;
  const std::function<int64_t()> clock_ns_;
  const Mutation mutation_;
  uint64_t live_inodes_ = 0;
  uint64_t file_bytes_ = 0;
  uint64_t random_ = 0;
  uint32_t next_dev_ = 32;
  LockWaits lock_waits_;
  std::shared_ptr<Filesystem> root_, pipes_, sockets_, anonymous_, memory_;
  std::vector<std::shared_ptr<Filesystem>> mounts_;  // all but the root
  absl::flat_hash_map<Pid, std::shared_ptr<Context>> contexts_;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_VFS_MANAGER_H_
