#ifndef HOTPATH_KERNEL_WAIT_QUEUE_H_
#define HOTPATH_KERNEL_WAIT_QUEUE_H_

#include <algorithm>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace hotpath::kernel {

class WaitQueue;

// One blocked call, on the stack of its thread. It may sit in any number of queues; the first wake ends its sleep.
// Sleeper and WaitQueue are both protected by the lock that Sleep() is given, so no wake-up can be lost: whoever
// changes what a sleeper waits for holds that lock, and so did the sleeper from its last look until it slept.
class Sleeper {
 public:
  Sleeper() = default;
  ~Sleeper();
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  void JoinQueue(WaitQueue& queue);

  // Blocking. Returns with `mu` held after some queue woke this sleeper (at once if that happened already).
  void Sleep(absl::Mutex& mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    while (!woken_) wake_.Wait(&mu);
  }

 private:
  friend class WaitQueue;
  absl::CondVar wake_;
  bool woken_ = false;
  std::vector<WaitQueue*> queues_;
};

// Who sleeps on one event. Waking costs one signal per sleeper; an empty queue costs one comparison.
class WaitQueue {
 public:
  WaitQueue() = default;
  ~WaitQueue();  // wakes everyone: what they waited for is gone
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  void WakeAll() {
    for (Sleeper* sleeper : sleepers_) {
      sleeper->woken_ = true;
      sleeper->wake_.Signal();
    }
  }
  bool empty() const { return sleepers_.empty(); }

 private:
  friend class Sleeper;
  std::vector<Sleeper*> sleepers_;
};

inline void Sleeper::JoinQueue(WaitQueue& queue) {
  queue.sleepers_.push_back(this);
  queues_.push_back(&queue);
}

inline Sleeper::~Sleeper() {
  for (WaitQueue* queue : queues_) std::erase(queue->sleepers_, this);
}

inline WaitQueue::~WaitQueue() {
  WakeAll();
  for (Sleeper* sleeper : sleepers_) std::erase(sleeper->queues_, this);
}

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_WAIT_QUEUE_H_
