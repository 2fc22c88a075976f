// Caught by linearizability: not linearizable

// A queue whose consumers read the head, take the value and move the head in three steps: two get one value.
#include <cstdint>
#include <memory>
#include <optional>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/specifications.h"

namespace hotpath::stress {
namespace {

constexpr uint64_t kSlots = 8;
using Spec = QueueSpec<kSlots>;

class Queue {
 public:
  bool Push(uint64_t value) {
    MutexLock lock(mu_);  // producers exclude one another
    const uint64_t at = tail_.load(std::memory_order::seq_cst);
    if (at == head_.load(std::memory_order::seq_cst) + kSlots) return false;
    slots_[at % kSlots].store(value, std::memory_order::seq_cst);
    tail_.store(at + 1, std::memory_order::seq_cst);
    return true;
  }
  std::optional<uint64_t> Pop() {
    const uint64_t at = head_.load(std::memory_order::seq_cst);
    if (at >= tail_.load(std::memory_order::seq_cst)) return std::nullopt;
    const uint64_t value = slots_[at % kSlots].load(std::memory_order::seq_cst);
    head_.store(at + 1, std::memory_order::seq_cst);
    return value;
  }

 private:
  ChaosSync::Mutex mu_;
  ChaosSync::Atomic<uint64_t> head_{0}, tail_{0}, slots_[kSlots];
};

TEST(Zoo, PoppedTwice) {
  ExpectLinearizable<Spec>(
      {}, [] { return std::make_unique<Queue>(); },
      [](Queue& queue, Rng& rng, Recorder<Spec>& record) {
        if (rng.OneIn(2)) {
          const uint64_t value = rng();
          record({Spec::kPush, value}, [&] { return queue.Push(value) ? Spec::Result(1) : Spec::Result(); });
        } else {
          record({Spec::kPop}, [&] { return queue.Pop(); });
        }
      });
}

}  // namespace
}  // namespace hotpath::stress
