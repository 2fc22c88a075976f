#ifndef HOTPATH_KERNEL_RECORD_LOCKS_H_
#define HOTPATH_KERNEL_RECORD_LOCKS_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hotpath/kernel/types.h"
#include "hotpath/kernel/wait_queue.h"

namespace hotpath::kernel {

// Byte-range locks of one file, as fcntl(2) sets them. The owner is a descriptor table (POSIX locks: any close of the
// file by that table drops them all) or an open file description (OFD locks: they go with it).
class RecordLocks {
 public:
  using Owner = const void*;
  struct Lock {
    Owner owner = nullptr;
    bool exclusive = false;
    int64_t first = 0, last = 0;  // bytes, both included
    Pid pid = 0;                  // as F_GETLK reports it: -1 for an OFD lock
  };

  // A lock of another owner that overlaps and of which either is exclusive, or null. Among several, the lowest.
  const Lock* FindConflict(const Lock& wanted) const;
  // Sets the range, replacing what the same owner held in it. The caller has seen that nothing conflicts.
  void Set(const Lock& lock);
  void Unset(Owner owner, int64_t first, int64_t last);
  void ReleaseOwner(Owner owner) { Unset(owner, 0, INT64_MAX); }

  bool empty() const { return locks_.empty(); }
  WaitQueue& released() { return released_; }

 private:
  bool Cut(Owner owner, int64_t first, int64_t last);

  std::vector<Lock> locks_;  // sorted by first byte; those of one owner never overlap
  WaitQueue released_;
};

// Which task waits for whose lock, over all files of a kernel: F_SETLKW fails with EDEADLK rather than close a circle.
class LockWaits {
 public:
  // True if `holder` waits, directly or through others, for `waiter`. Costs the number of waiting tasks times the
  // length of the chain.
  bool WouldDeadlock(RecordLocks::Owner waiter, RecordLocks::Owner holder) const;
  void Set(Pid task, RecordLocks::Owner waiter, RecordLocks::Owner holder) { waits_[task] = {waiter, holder}; }
  void Clear(Pid task) { waits_.erase(task); }

 private:
  struct Wait {
    RecordLocks::Owner waiter, holder;
  };
  absl::flat_hash_map<Pid, Wait> waits_;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_RECORD_LOCKS_H_
