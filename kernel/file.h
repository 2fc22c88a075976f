#ifndef HOTPATH_KERNEL_FILE_H_
#define HOTPATH_KERNEL_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hotpath/core/result.h"
#include "hotpath/kernel/io_cursor.h"
#include "hotpath/kernel/types.h"
#include "hotpath/kernel/vfs_manager.h"

namespace hotpath::kernel {

// An open file description: what open(2) makes, dup(2) and fork(2) share. It pins its inode, counts as an end of a
// pipe or as a writer of a file for as long as it lives, and drops its OFD locks when it dies.
// Never sleeps: kEAGAIN from Read and Write of a pipe means "not now", and the caller knows whether to wait.
// Not thread-safe by itself: the caller excludes other callers of the same kernel.
class File {
 public:
  struct Origin {  // where it was found, for people
    InodeRef parent;
    std::string name;
  };

  // `flags` are those of open(2); the ones that only matter while opening are dropped. `live` counts descriptions.
  File(InodeRef where, int flags, Origin origin, std::optional<OpaqueKind> opaque, uint64_t& live);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  Inode& inode() const { return *where_; }
  VfsManager& vfs() const { return where_->fs.vfs; }
  bool readable() const { return readable_; }
  bool writable() const { return writable_; }
  bool IsPath() const { return (flags & abi::kOPath) != 0; }
  bool IsPipe() const { return where_->IsFifo() && !IsPath(); }
  bool IsSeekable() const;  // pread(2), pwrite(2) and lseek(2) make sense
  bool NonBlocking() const;
  Pipe& pipe() const { return *where_->pipe; }
  std::optional<OpaqueKind> opaque() const { return opaque_; }

  // `at`: null for the file's own offset, which then moves. Errors in Linux's order.
  Result<size_t> Read(ReadCursor& out, const int64_t* at);
  // `limit` is RLIMIT_FSIZE: kEFBIG at or above it (the caller raises SIGXFSZ). kEPIPE: the caller raises SIGPIPE.
  Result<size_t> Write(const Credentials& who, WriteCursor& in, const int64_t* at, uint64_t limit);
  Result<int64_t> Seek(int64_t to, int whence);
  Result<void> Truncate(const Credentials& who, int64_t size, uint64_t limit);
  Result<void> Allocate(const Credentials& who, int mode, int64_t from, int64_t length, uint64_t limit);
  Result<void> Sync() const;
  Result<void> Advise(int64_t length, int advice) const;
  Result<std::vector<Dirent>> GetDents(size_t buffer_size);
  int16_t PollMask() const;                         // POLL* that hold now
  std::shared_ptr<File> CopyWithOwnOffset() const;  // what Mutation::kForkCopiesOffset hands to the child
  std::string Describe() const;                     // for people: path or kind, flags, offset

  int flags;  // as F_GETFL reports them
  int64_t offset = 0;
  // Of a FIFO opened for reading without waiting, while no writer had come: no end of file until one has come and gone.
  uint64_t quiet_until_writer_opens = 0;

 private:
  void TouchAccessTime();

  InodeRef where_;
  Origin origin_;
  const std::optional<OpaqueKind> opaque_;
  bool readable_, writable_;
  uint64_t& live_;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_FILE_H_
