// The input is a program for four threads that take turns: each pair of bytes is one operation of one of them. The
// oracle is a list of objects, each with the Guards that existed when it was retired: an object ends once, not before
// those, and, when no Guard is left, at the next TryReclaim.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"

namespace {

// Threads that exist in name only.
struct TurnsSync : hotpath::StdSync {
  static constexpr uint32_t kMaxThreads = 4;
  static inline uint32_t current = 0;
  static inline int no_park[kMaxThreads] = {};
  static inline std::vector<hotpath::ThreadExitHook*> hooks[kMaxThreads];

  static uint32_t ThreadIndex() { return current; }
  static uint32_t ThreadIndexPlusOne() { return current + 1; }
  static bool Vanished(uint32_t) { return false; }
  static void NoPark(int change) { no_park[current] += change; }
  static void AtThreadExit(hotpath::ThreadExitHook& hook) { hooks[current].push_back(&hook); }
  static bool CancelAtThreadExit(hotpath::ThreadExitHook& hook) {
    for (auto& of_thread : hooks) {
      if (std::erase(of_thread, &hook) != 0) return true;
    }
    return false;
  }
  static void EndThread() {
    while (!hooks[current].empty()) {
      hotpath::ThreadExitHook* hook = hooks[current].back();
      hooks[current].pop_back();
      hook->run(*hook);
    }
  }
};
static_assert(hotpath::SyncPolicy<TurnsSync>);

using Domain = hotpath::BasicEpochDomain<TurnsSync>;

class Program {
 public:
  explicit Program(uint8_t choice)
      : max_pending_(std::array<size_t, 4>{1, 3, 100, 1000}[choice % 4]),
        waits_(choice / 4 % 2 == 1),
        domain_(new Domain(hotpath::EpochOptions{
            .max_pending = max_pending_,
            .when_full = waits_ ? hotpath::EpochOptions::kWait : hotpath::EpochOptions::kGrow})) {}

  void Step(uint8_t op, uint8_t arg) {
    TurnsSync::current = op % 4;
    auto& guards = guards_[op % 4];
    switch (op / 4 % 9) {
      case 0:
      case 1:
        if (guards.size() == 6) break;
        guards.emplace_back(next_guard_, domain_->Pin());
        pinned_.insert(next_guard_++);
        break;
      case 2:
      case 3:
        if (guards.empty()) break;
        pinned_.erase(guards[arg % guards.size()].first);
        guards.erase(guards.begin() + arg % static_cast<ptrdiff_t>(guards.size()));
        break;
      case 4:
        for (int i = 0; i <= arg % 32 && !WouldWait(); ++i) Retire(arg / 32);
        break;
      case 5: {
        const size_t before = ended_;
        const size_t reclaimed = domain_->TryReclaim();
        HOTPATH_CHECK(reclaimed == ended_ - before, "TryReclaim counts wrongly");
        if (pinned_.empty()) {
          while (domain_->TryReclaim() != 0) {
          }
          HOTPATH_CHECK(pending_.empty(), "nobody is pinned, and something stays");
        }
        break;
      }
      case 6:
        if (pinned_.empty()) domain_->Synchronize();
        break;
      case 7:
        if (guards.empty()) TurnsSync::EndThread();
        break;
      default:
        if (guards.size() < 2) break;
        std::swap(guards.front(), guards[1 + arg % (guards.size() - 1)]);  // by moves
    }
    HOTPATH_CHECK(domain_->IsPinned() == !guards.empty(), "IsPinned is wrong");
    HOTPATH_CHECK(TurnsSync::no_park[op % 4] == (guards.empty() ? 0 : 1), "NoPark is unbalanced");
    const hotpath::EpochStats stats = domain_->Stats();
    HOTPATH_CHECK(stats.pending == pending_.size(), "Stats count the pending wrongly");
    HOTPATH_CHECK(stats.reclaimed == ended_, "Stats count the reclaimed wrongly");
    HOTPATH_CHECK(stats.over_limit != 0 || pending_.size() <= max_pending_, "beyond the bound, and not counted");
    HOTPATH_CHECK(stats.waits == 0);
  }

  void Finish() {
    for (uint32_t thread = 0; thread < 4; ++thread) {
      TurnsSync::current = thread;
      while (!guards_[thread].empty()) {
        pinned_.erase(guards_[thread].back().first);
        guards_[thread].pop_back();
      }
    }
    in_destructor_ = true;
    delete domain_;
    HOTPATH_CHECK(pending_.empty(), "the destructor left something");
    for (const auto& hooks : TurnsSync::hooks) HOTPATH_CHECK(hooks.empty(), "the destructor left a hook");
  }

 private:
  struct Object : Domain::Retiree {
    Object(Program& program, uint64_t number, int children) : program(program), number(number), children(children) {}
    ~Object() {
      program.Ended(number);
      if (number % 5 == 0) {
        const Domain::Guard guard = program.domain_->Pin();
        if (!program.in_destructor_) {
          HOTPATH_CHECK(program.domain_->TryReclaim() == 0, "a deleter reclaims, not the call that runs it");
        }
      }
      for (int i = 0; i < children; ++i) program.Retire(children - 1);
    }
    Program& program;
    const uint64_t number;
    const int children;
  };
  // A thread that waits would wait for ever, for these threads take turns. Credit of all threads counts as pending.
  bool WouldWait() const {
    const size_t credit = max_pending_ < 128 ? 0 : 4 * 64;
    return waits_ && guards_[TurnsSync::current].empty() && !pinned_.empty() &&
           pending_.size() + credit >= max_pending_;
  }

  void Retire(int children) {
    const uint64_t number = next_object_++;
    auto* object = new Object(*this, number, children % 3);
    pending_.emplace(number, pinned_);
    if (number % 3 == 0) {
      domain_->Retire(object, [](void* erased) { delete static_cast<Object*>(erased); });
    } else {
      domain_->Retire(object);
    }
  }

  void Ended(uint64_t number) {
    const auto found = pending_.find(number);
    HOTPATH_CHECK(found != pending_.end(), "an object ended twice");
    for (const uint64_t guard : found->second) {
      HOTPATH_CHECK(!pinned_.contains(guard), "an object ended under a Guard that protects it");
    }
    pending_.erase(found);
    ++ended_;
  }

  const size_t max_pending_;
  const bool waits_;
  Domain* const domain_;
  bool in_destructor_ = false;
  std::vector<std::pair<uint64_t, Domain::Guard>> guards_[4];
  std::set<uint64_t> pinned_;                       // numbers of the Guards that exist
  std::map<uint64_t, std::set<uint64_t>> pending_;  // by number of the object, the Guards that protect it
  uint64_t next_guard_ = 0, next_object_ = 0, ended_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Program program(data[0]);
  for (size_t i = 1; i + 1 < size; i += 2) program.Step(data[i], data[i + 1]);
  program.Finish();
  return 0;
}
