#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/rng.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

constexpr uint64_t kAlive = 0x600d600d600d600d;

// How many objects there are, and the most that there ever were.
struct Census {
  std::atomic<int64_t> made{0}, ended{0}, most{0};

  void Made() {
    made.fetch_add(1, std::memory_order::relaxed);
    const int64_t alive = made.load(std::memory_order::relaxed) - ended.load(std::memory_order::relaxed);
    int64_t seen = most.load(std::memory_order::relaxed);
    while (seen < alive && !most.compare_exchange_weak(seen, alive, std::memory_order::relaxed)) {
    }
  }
};

// Shared by readers under a Guard; plain data on purpose, so that ThreadSanitizer sees an end that is not ordered with
// every read.
template <class Sync>
struct Object : BasicEpochDomain<Sync>::Retiree {
  Object(Census& census, uint64_t number) : census(census), number(number) { census.Made(); }
  ~Object() {
    EXPECT_EQ(canary, kAlive) << "ended twice";
    canary = 0;
    census.ended.fetch_add(1, std::memory_order::relaxed);
  }
  Census& census;
  uint64_t canary = kAlive;
  const uint64_t number;
  std::atomic<bool> retired{false};
};

template <class Sync>
class EpochStress : public testing::Test {
 protected:
  using Domain = BasicEpochDomain<Sync>;
  using Obj = Object<Sync>;
  static constexpr size_t kSlots = 4;

  EpochStress() {
    for (auto& slot : slots) slot.store(new Obj(census, 0));
  }

  void Read(Storm& storm, Rng& rng, bool linger) {
    const typename Domain::Guard guard = domain.Pin();
    const Obj* object = slots[rng.Below(kSlots)].load(std::memory_order::acquire);
    ASSERT_EQ(object->canary, kAlive);
    if (linger) StdSync::Yield();
    const typename Domain::Guard nested = domain.Pin();
    ASSERT_EQ(object->canary, kAlive);
    if (object->retired.load(std::memory_order::relaxed)) storm.Collided();
  }
  Obj* Replace(Rng& rng) {
    Obj* old = slots[rng.Below(kSlots)].exchange(new Obj(census, rng()), std::memory_order::acq_rel);
    old->retired.store(true, std::memory_order::relaxed);
    return old;
  }
  void Finish() {
    for (auto& slot : slots) domain.Retire(slot.exchange(nullptr));
    domain.Synchronize();
    EXPECT_EQ(census.made.load(), census.ended.load());
    EXPECT_EQ(domain.Stats().pending, 0u);
  }

  Census census;
  Domain domain{EpochOptions{.max_pending = 256}};
  std::atomic<Obj*> slots[kSlots];
};

// As where the kernel has no membarrier(2).
struct FenceSync : ChaosSync {
  static void LightFence() noexcept { Fence(std::memory_order::seq_cst); }
  static void HeavyFence() noexcept { Fence(std::memory_order::seq_cst); }
  [[nodiscard]] static bool AsymmetricFences() noexcept { return false; }
};

using Policies = testing::Types<StdSync, ChaosSync, FenceSync>;
TYPED_TEST_SUITE(EpochStress, Policies);

TYPED_TEST(EpochStress, EverythingEndsOnceAndNothingUnderAGuard) {
  Storm storm;
  storm.Crowd(2, [&](Rng& rng) { this->Read(storm, rng, rng.OneIn(8)); });
  storm.Crowd(2, [&](Rng& rng) { this->domain.Retire(this->Replace(rng)); });
  storm.Crowd(1, [&](Rng& rng) {
    if (rng.OneIn(16)) this->domain.Synchronize();
    this->domain.TryReclaim();
  });
  storm.MustCollide("a reader held what was retired");
  storm.Run();
  EXPECT_EQ(this->domain.Stats().over_limit, 0u);
  this->Finish();
  // The slots, what the two writers hold beside that, and what is pending.
  EXPECT_LE(this->census.most.load(), 256 + 4 + 2 + 2);
}

TYPED_TEST(EpochStress, WhoSynchronizesMayFreeByHand) {
  Storm storm;
  storm.Crowd(2, [&](Rng& rng) { this->Read(storm, rng, rng.OneIn(4)); });
  storm.Crowd(2, [&](Rng& rng) {
    auto* old = this->Replace(rng);
    this->domain.Synchronize();
    delete old;
  });
  storm.Crowd(1, [&](Rng& rng) { this->domain.Retire(this->Replace(rng)); });
  storm.MustCollide("a reader held what was about to be freed");
  storm.Run();
  this->Finish();
}

TYPED_TEST(EpochStress, ThreadsThatComeAndGoLeaveNothingBehind) {
  Storm storm;
  storm.Crowd(2, [&](Rng& rng) {
    const uint64_t seed = rng();
    std::thread([&] {
      Rng own(seed);
      thread_rng = Rng(seed, 1);
      this->Read(storm, own, true);
      this->domain.Retire(this->Replace(own));
      if (own.OneIn(2)) this->Read(storm, own, false);
    }).join();
  });
  storm.Crowd(1, [&](Rng& rng) { this->domain.Retire(this->Replace(rng)); });
  storm.Crowd(1, [&](Rng& rng) { this->Read(storm, rng, rng.OneIn(4)); });
  storm.MustCollide("a reader held what was retired");
  storm.Run();
  this->Finish();
}

// The domain ends while threads that have made their last call of it are ending; every other thread waits for that.
TYPED_TEST(EpochStress, DomainEndsBesideTheEndsOfItsThreads) {
  using Domain = BasicEpochDomain<TypeParam>;
  Storm storm;
  storm.Crowd(2, [&](Rng& rng) {
    const uint64_t seed = rng();
    auto domain = std::make_unique<Domain>(EpochOptions{.max_pending = 256});
    std::atomic<int> calling{2}, alive{2};
    std::atomic<bool> domain_ends{false};
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        struct AtEnd {
          std::atomic<int>* alive = nullptr;
          const std::atomic<bool>* wait_until = nullptr;
          ~AtEnd() {  // before the exit hook
            SpinWait<> wait;
            while (wait_until != nullptr && !wait_until->load()) wait();
            alive->fetch_sub(1);
          }
        };
        thread_rng = Rng(seed, i);
        static thread_local AtEnd at_end;
        at_end.alive = &alive;
        if (thread_rng.OneIn(2)) at_end.wait_until = &domain_ends;
        domain->Retire(new Object<TypeParam>(this->census, i));
        calling.fetch_sub(1);
      });
    }
    SpinWait<> wait;
    while (calling.load() != 0) wait();
    if (alive.load() != 0) storm.Collided();
    domain_ends.store(true);
    domain.reset();
    for (std::thread& thread : threads) thread.join();
  });
  storm.MustCollide("a thread had not ended when its domain did");
  storm.Run();
  this->Finish();
}

TYPED_TEST(EpochStress, ReadersThatWriteNeverWaitForThemselves) {
  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    const typename BasicEpochDomain<TypeParam>::Guard guard = this->domain.Pin();
    auto* old = this->Replace(rng);
    this->domain.Retire(old);
    if (rng.OneIn(16)) StdSync::Yield();
    ASSERT_EQ(old->canary, kAlive);
    this->domain.TryReclaim();
    ASSERT_EQ(old->canary, kAlive);
    if (this->domain.Stats().pending > 8) storm.Collided();
  });
  storm.MustCollide("the readers of others held garbage up");
  storm.Run();
  this->Finish();
}

// A reader is pinned for the whole test, others come and go: what is pending stays within the bound, the writers wait,
// and when the reader goes they go on.
TYPED_TEST(EpochStress, GarbageIsBoundedBehindAReaderThatNeverLeaves) {
  std::atomic<bool> stop{false};
  std::atomic<int> writers_done{0};
  std::vector<std::thread> threads;
  uint64_t reads = 0;
  {
    const typename BasicEpochDomain<TypeParam>::Guard stalled = this->domain.Pin();
    for (uint64_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        Rng rng(i);
        while (!stop.load(std::memory_order::relaxed)) this->domain.Retire(this->Replace(rng));
        writers_done.fetch_add(1);
      });
    }
    threads.emplace_back([&] {
      Rng rng(7);
      Storm unused;
      do {
        this->Read(unused, rng, rng.OneIn(64));
        ++reads;
      } while (!stop.load(std::memory_order::relaxed));
    });
    SpinWait<> wait;
    while (this->domain.Stats().waits < 2) wait();
    const auto until = std::chrono::steady_clock::now() + BudgetFromEnvironment();
    while (std::chrono::steady_clock::now() < until) {
      EXPECT_LE(this->domain.Stats().pending, 256u);
      StdSync::Yield();
    }
    EXPECT_EQ(this->census.ended.load(), 0);
    EXPECT_EQ(writers_done.load(), 0);
    EXPECT_LE(this->census.most.load(), 256 + 4 + 2 + 2);
    EXPECT_GT(this->domain.Stats().longest_pin.count(), 0);
    stop.store(true);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(reads, 0u);
  EXPECT_EQ(this->domain.Stats().over_limit, 0u);
  this->Finish();
}

}  // namespace
}  // namespace hotpath::stress
