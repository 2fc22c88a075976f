#ifndef HOTPATH_KERNEL_FD_MANAGER_H_
#define HOTPATH_KERNEL_FD_MANAGER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hotpath/core/result.h"
#include "hotpath/kernel/file.h"
#include "hotpath/kernel/types.h"

namespace hotpath::kernel {

// One process's descriptors (or those of several that share them under CLONE_FILES).
// The lowest free number is found in a two-level bitmap: at most limit / 4096 + 2 words are looked at.
// Descriptors that a sleeping open(2) has reserved are taken, but refer to nothing yet.
class FdTable {
 public:
  explicit FdTable(Mutation mutation) : mutation_(mutation) {}
  ~FdTable() { CloseAll(); }
  FdTable(const FdTable&) = delete;
  FdTable& operator=(const FdTable&) = delete;

  const std::shared_ptr<File>* Find(Fd fd) const;  // null: EBADF; valid until the table changes
  bool IsReserved(Fd fd) const;
  Result<Fd> Reserve(Fd minimum, uint64_t limit);  // the lowest free number; EMFILE
  void CancelReservation(Fd fd);
  // Fills a reserved or free slot.
  void Install(Fd fd, std::shared_ptr<File> file, bool cloexec);
  // Frees the number and drops the table's POSIX locks on the file. The description dies with its last reference.
  Result<void> Close(Fd fd);
  void CloseAll();
  void CloseOnExec();
  bool cloexec(Fd fd) const { return slots_[static_cast<size_t>(fd)].cloexec; }
  void SetCloexec(Fd fd, bool cloexec) { slots_[static_cast<size_t>(fd)].cloexec = cloexec; }
  size_t open() const { return open_; }
  Fd end() const { return static_cast<Fd>(slots_.size()); }  // past the highest number that was ever used
  std::unique_ptr<FdTable> Copy() const;                     // reservations are not copied

 private:
  struct Slot {
    std::shared_ptr<File> file;
    bool cloexec = false;
  };
  Fd LowestFree(Fd minimum) const;
  void Mark(Fd fd, bool used);

  const Mutation mutation_;
  std::vector<Slot> slots_;
  std::vector<uint64_t> used_;  // a bit per number
  std::vector<uint64_t> full_;  // a bit per word of used_ that has no zero
  size_t open_ = 0;             // files, without reservations
};

// Owns     per task a descriptor table, which tasks may share, and the count of open file descriptions.
// Built on FdTable, File.
// Locks    none of its own: the caller excludes other callers of the same kernel.
// Serves   every call that takes or makes a descriptor. A task can only ever name descriptors of its own table.
class FdManager {
 public:
  explicit FdManager(Mutation mutation) : mutation_(mutation) {}

  void Create(Pid task);
  void Share(Pid from, Pid to);  // CLONE_FILES
  void Copy(Pid from, Pid to);   // fork: the table is copied, the descriptions are shared
  void Move(Pid from, Pid to);   // an exec by a thread takes its leader's number
  void Unshare(Pid task);        // a private copy, if the table is shared
  void Drop(Pid task);           // the last sharer closes everything
  FdTable& TableOf(Pid task) { return *tables_.at(task); }
  std::shared_ptr<FdTable> PinTable(Pid task) { return tables_.at(task); }  // for calls that sleep

  // `limit` is the caller's RLIMIT_NOFILE.
  Result<File*> Get(Pid task, Fd fd);  // EBADF
  Result<std::shared_ptr<File>> Pin(Pid task, Fd fd);
  Result<Fd> Install(Pid task, std::shared_ptr<File> file, bool cloexec, Fd minimum, uint64_t limit);  // EMFILE
  Result<void> Close(Pid task, Fd fd) { return TableOf(task).Close(fd); }
  Result<void> CloseRange(Pid task, uint32_t first, uint32_t last, uint32_t flags);
  Result<Fd> Dup(Pid task, Fd fd, uint64_t limit);
  Result<Fd> Dup2(Pid task, Fd from, Fd to, uint64_t limit);
  Result<Fd> Dup3(Pid task, Fd from, Fd to, int flags, uint64_t limit);
  Result<Fd> DupFrom(Pid task, Fd fd, int64_t minimum, bool cloexec, uint64_t limit);  // F_DUPFD(_CLOEXEC)
  void CloseOnExec(Pid task);

  std::shared_ptr<File> NewFile(InodeRef where, int flags, File::Origin origin, std::optional<OpaqueKind> opaque) {
    return std::make_shared<File>(std::move(where), flags, std::move(origin), opaque, live_files_);
  }
  uint64_t descriptions() const { return live_files_; }
  uint64_t descriptors() const;  // walks the tables

 private:
  Result<Fd> Replace(Pid task, Fd from, Fd to, bool cloexec, uint64_t limit);

  const Mutation mutation_;
  uint64_t live_files_ = 0;
  absl::flat_hash_map<Pid, std::shared_ptr<FdTable>> tables_;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_FD_MANAGER_H_
