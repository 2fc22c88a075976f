#ifndef HOTPATH_MODELS_BASE_WORLD_H_
#define HOTPATH_MODELS_BASE_WORLD_H_

#include <atomic>
#include <cstdint>
#include <source_location>

#include "hotpath/core/base/sync.h"
#include "models/base/relacy.h"

// What RelacySync is made of and Relacy does not have.

namespace hotpath::model {

using Where = std::source_location;

// Most threads a model can have.
inline constexpr int kMaxModelThreads = 4;

// For Relacy's history, which is only written when a failure is replayed.
rl::debug_info Info(const Where& where);

// Ends the execution as a failure of the model. The fiber stays where it is and never runs again.
[[noreturn]] void Fail(rl::test_result_e result, const char* reason, const Where& where);

rl::memory_order Convert(std::memory_order order);

// An unsigned char that prints as a number.
struct Byte {
  uint8_t value = 0;
  Byte() = default;
  explicit(false) Byte(unsigned v) : value(static_cast<uint8_t>(v)) {}
  explicit(false) operator unsigned() const { return value; }
};

// Watches the life of an object. To make and to destroy it count as writes. An access that races, or that comes after
// the end, fails the model.
class Life {
 public:
  Life();
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  void Read(const Where& where) const;
  void Write(const char* what, const Where& where);
  // As Read, for objects whose accesses Relacy logs itself.
  void Touch(const Where& where) const;

 private:
  rl::signature<0x11fe11fe> signature_;
  rl::var_data* data_;
};

// What the threads of a model share besides its data. One for each execution.
class World {
 public:
  // `threads` is the model's number of threads.
  template <int kThreads>
  struct OfThreads {};
  template <int kThreads>
  explicit World(OfThreads<kThreads>) : World(&CopyFenceClocks<kThreads>) {
    static_assert(kThreads <= kMaxModelThreads);
  }
  ~World() { current_ = nullptr; }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  static World& Get() { return *current_; }

  // Before the threads start and after they ended, the model runs on one of their fibers, but as a thread of its own.
  void SetMain(bool main) { main_ = main; }

  uint32_t ThreadIndex();
  uint32_t ThreadIndexPlusOne() const { return index_[Self()] == kNoIndex ? 0 : index_[Self()] + 1; }
  void AtThreadExit(ThreadExitHook& hook);
  bool CancelAtThreadExit(ThreadExitHook& hook, const Where& where);
  void EndThread();

  // Blocks until a Wake of `word`, the deadline or, if the job asks for them, a spurious wake-up. False: the deadline.
  bool Sleep(const void* word, bool timed, const Where& where);
  void Wake(const void* word, uint32_t n, const Where& where);
  void NoPark(int change) { no_park_[Self()] += change; }
  void CheckMayPark() const;

  // David Goldblatt, "Asymmetric Fences" (P1202R5): a light and a heavy fence order each other as two seq_cst fences
  // would; two light ones do not.
  void LightFence(const Where& where);
  void HeavyFence(const Where& where);

  // While it lives, what the thread reads leaves no trace in what its later acquire fences pick up.
  class FenceClocks {
   public:
    FenceClocks() { Get().copy_fence_clocks_(saved_, true); }
    ~FenceClocks() { Get().copy_fence_clocks_(saved_, false); }
    FenceClocks(const FenceClocks&) = delete;

   private:
    friend class World;
    struct Saved {
      rl::timestamp_t visible[kMaxModelThreads], ordered[kMaxModelThreads];
    } saved_;
  };

 private:
  using CopyClocks = void (*)(FenceClocks::Saved& copy, bool save);

  template <int kThreads>
  static void CopyFenceClocks(FenceClocks::Saved& copy, bool save) {
    auto& thread = static_cast<rl::thread_info<kThreads>&>(*rl::ctx().threadx_);
    for (int i = 0; i < kThreads; ++i) {
      rl::timestamp_t &visible = thread.acquire_fence_order_[i], &ordered = thread.hb_acquire_fence_order_[i];
      (save ? copy.visible[i] : visible) = save ? visible : copy.visible[i];
      (save ? copy.ordered[i] : ordered) = save ? ordered : copy.ordered[i];
    }
  }

  // What one thread leaves for another to pick up: a happens-before edge.
  class Edge {
   public:
    void Leave();
    void PickUp() const;

   private:
    rl::timestamp_t visible_[kMaxModelThreads] = {}, ordered_[kMaxModelThreads] = {};
  };

  struct Queue {
    const void* word;
    rl::waitset<kMaxModelThreads> threads;
  };

  static constexpr int kMain = kMaxModelThreads;
  static constexpr int kSelves = kMaxModelThreads + 1;
  static constexpr uint32_t kNoIndex = UINT32_MAX;

  explicit World(CopyClocks copy_fence_clocks);
  int Self() const { return main_ ? kMain : rl::ctx().threadx_->index_; }
  Queue& QueueOf(const void* word);

  inline static World* current_ = nullptr;

  const CopyClocks copy_fence_clocks_;
  bool main_ = true;

  uint32_t index_[kSelves];
  bool index_taken_[kMaxModelThreads] = {};
  Edge index_returned_[kMaxModelThreads];
  ThreadExitHook* hooks_[kMaxModelThreads] = {};  // by index, last registered first
  const ThreadExitHook* running_[kSelves] = {};   // the hook that each is in the middle of
  Edge hook_ended_;

  Queue queues_[kMaxModelThreads];
  int no_park_[kSelves] = {};

  // What each thread had seen and done at its last light fence, and what all had before their heavy ones.
  rl::timestamp_t light_[kMaxModelThreads][kMaxModelThreads] = {};
  rl::timestamp_t heavy_[kMaxModelThreads] = {};
};

}  // namespace hotpath::model

#endif  // HOTPATH_MODELS_BASE_WORLD_H_
