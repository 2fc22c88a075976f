#include "hotpath/kernel/record_locks.h"

#include <algorithm>

namespace hotpath::kernel {

const RecordLocks::Lock* RecordLocks::FindConflict(const Lock& wanted) const {
  for (const Lock& lock : locks_) {
    if (lock.owner != wanted.owner && (lock.exclusive || wanted.exclusive) && lock.first <= wanted.last &&
        wanted.first <= lock.last) {
      return &lock;
    }
  }
  return nullptr;
}

// Removes the owner's bytes in [first, last]; a lock that reaches over both ends leaves two.
bool RecordLocks::Cut(Owner owner, int64_t first, int64_t last) {
  std::vector<Lock> rest;
  const size_t removed = std::erase_if(locks_, [&](const Lock& lock) {
    if (lock.owner != owner || lock.last < first || last < lock.first) return false;
    if (lock.first < first) {
      rest.push_back(lock);
      rest.back().last = first - 1;
    }
    if (lock.last > last) {
      rest.push_back(lock);
      rest.back().first = last + 1;
    }
    return true;
  });
  for (const Lock& lock : rest) {
    locks_.insert(std::upper_bound(locks_.begin(), locks_.end(), lock,
                                   [](const Lock& a, const Lock& b) { return a.first < b.first; }),
                  lock);
  }
  return removed > 0;
}

void RecordLocks::Set(const Lock& lock) {
  const bool changed = Cut(lock.owner, lock.first, lock.last);
  Lock merged = lock;
  std::erase_if(locks_, [&](const Lock& other) {
    if (other.owner != lock.owner || other.exclusive != lock.exclusive) return false;
    const bool before = other.last < merged.first && other.last + 1 == merged.first;
    const bool after = merged.last < other.first && merged.last + 1 == other.first;
    if (!before && !after) return false;
    merged.first = std::min(merged.first, other.first);
    merged.last = std::max(merged.last, other.last);
    return true;
  });
  locks_.insert(std::upper_bound(locks_.begin(), locks_.end(), merged,
                                 [](const Lock& a, const Lock& b) { return a.first < b.first; }),
                merged);
  if (changed) released_.WakeAll();  // an exclusive lock may have become shared
}

void RecordLocks::Unset(Owner owner, int64_t first, int64_t last) {
  if (Cut(owner, first, last)) released_.WakeAll();
}

bool LockWaits::WouldDeadlock(RecordLocks::Owner waiter, RecordLocks::Owner holder) const {
  std::vector<RecordLocks::Owner> reached = {holder};
  for (size_t i = 0; i < reached.size(); ++i) {
    if (reached[i] == waiter) return true;
    for (const auto& [task, wait] : waits_) {
      if (wait.waiter == reached[i] && std::find(reached.begin(), reached.end(), wait.holder) == reached.end()) {
        reached.push_back(wait.holder);
      }
    }
  }
  return false;
}

}  // namespace hotpath::kernel
