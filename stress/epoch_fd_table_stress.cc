#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"
#include "hotpath/core/epoch_fd_table.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/rng.h"
#include "stress/base/specifications.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

// Tells whether it is alive, as long as its memory is not used again, and how many are.
struct File {
  static constexpr uint64_t kAlive = 0x5afe5afe5afe5afe;

  explicit File(uint64_t i) : id(i), sum(i ^ kAlive) { live.fetch_add(1, std::memory_order::relaxed); }
  ~File() {
    EXPECT_TRUE(IsWhole()) << "destroyed twice";
    sum = 0;
    live.fetch_sub(1, std::memory_order::relaxed);
  }
  bool IsWhole() const { return sum == (id ^ kAlive); }

  static inline std::atomic<int64_t> live{0};
  const uint64_t id;
  uint64_t sum;                     // plain: a sanitizer sees who reads it while it dies
  std::atomic<bool> closed{false};  // its descriptor is
};

template <class Sync>
struct Fixture {
  Fixture(int initial, int limit) : table(FdTableOptions{.initial = initial, .limit = limit}, domain) {}
  BasicEpochDomain<Sync> domain{EpochOptions{.max_pending = 256}};
  BasicEpochFdTable<File, Sync> table;
};

template <class Sync>
struct EpochFdTableStress : testing::Test {
  void TearDown() override { EXPECT_EQ(File::live.load(), 0) << "an object was not destroyed"; }
};
using Policies = testing::Types<StdSync, ChaosSync>;
TYPED_TEST_SUITE(EpochFdTableStress, Policies);

// Openers, replacers, closers and readers on few numbers, which are used again and again. A reader holds what it got
// while others close it.
TYPED_TEST(EpochFdTableStress, NoReaderMeetsADestroyedObjectAndNoneIsLost) {
  constexpr int kLimit = 24;
  Fixture<TypeParam> fixture(1, kLimit);
  auto& table = fixture.table;
  std::atomic<uint64_t> opened{0}, closed{0}, refused{0};

  Storm storm;
  const auto close = [](const std::shared_ptr<File>& file) { file->closed.store(true, std::memory_order::relaxed); };
  storm.Crowd(2, [&](Rng& rng) {
    const FdFlags flags{.close_on_exec = rng.OneIn(4)};
    const uint64_t id = rng();
    if (rng.OneIn(4)) {
      auto replaced = table.InsertAt(static_cast<int>(rng.Below(kLimit)), std::make_shared<File>(id), flags);
      ASSERT_TRUE(replaced.ok());
      if (*replaced != nullptr) return close(*replaced);
    } else if (!table.Insert(std::make_unique<File>(id), flags, static_cast<int>(rng.Below(kLimit))).ok()) {
      refused.fetch_add(1, std::memory_order::relaxed);
      return;
    }
    opened.fetch_add(1, std::memory_order::relaxed);
  });
  storm.Crowd(2, [&](Rng& rng) {
    if (rng.OneIn(64)) {
      closed.fetch_add(table.CloseOnExec(), std::memory_order::relaxed);
      return;
    }
    auto removed = table.Remove(static_cast<int>(rng.Below(kLimit)));
    if (!removed.ok()) return;
    ASSERT_TRUE(removed->object->IsWhole());
    ASSERT_GT(removed->generation, 0u);
    close(removed->object);
    closed.fetch_add(1, std::memory_order::relaxed);
  });
  storm.Crowd(2, [&](Rng& rng) {
    const auto ref = table.Get(static_cast<int>(rng.Below(kLimit)));
    if (!ref) return;
    const uint64_t id = ref->id;
    if (rng.OneIn(4)) StdSync::Yield();
    ASSERT_TRUE(ref->IsWhole() && ref->id == id) << "destroyed under a reader";
    if (ref->closed.load(std::memory_order::relaxed)) storm.Collided();
  });
  storm.Crowd(1, [&, kept = std::array<std::shared_ptr<File>, 8>()](Rng& rng) mutable {
    std::shared_ptr<File>& one = kept[rng.Below(kept.size())];
    one = table.GetShared(static_cast<int>(rng.Below(kLimit)));
    for (const auto& file : kept) ASSERT_TRUE(file == nullptr || file->IsWhole()) << "destroyed under a shared_ptr";
  });
  storm.MustCollide("a descriptor was closed under a reader");
  storm.Run();

  EXPECT_EQ(table.size(), opened.load() - closed.load());
  size_t visited = 0;
  table.ForEach([&](int, const std::shared_ptr<File>& file, FdFlags) { visited += file->IsWhole(); });
  EXPECT_EQ(visited, table.size());
}

// Each thread has at most one descriptor, so the lowest free number is always below the number of threads.
TYPED_TEST(EpochFdTableStress, NumbersAreTheLowestAndBelongToOneThread) {
  constexpr int kThreads = 4;
  Fixture<TypeParam> fixture(1, 100);
  std::array<std::atomic<int>, kThreads> owners = {};

  Storm storm;
  storm.Crowd(kThreads, [&](Rng& rng) {
    const int fd = fixture.table.Insert(std::make_unique<File>(rng())).value();
    ASSERT_LT(fd, kThreads) << "not the lowest free number";
    ASSERT_EQ(owners[static_cast<size_t>(fd)].fetch_add(1, std::memory_order::relaxed), 0) << "given twice";
    if (fd > 0) storm.Collided();
    if (rng.OneIn(4)) StdSync::Yield();
    owners[static_cast<size_t>(fd)].fetch_sub(1, std::memory_order::relaxed);
    ASSERT_TRUE(fixture.table.Remove(fd).ok());
  });
  storm.MustCollide("two threads had a descriptor at once");
  storm.Run();
  EXPECT_EQ(fixture.table.size(), 0u);
}

// A file moves between two numbers and is never in neither, so whoever sees the table at one moment sees it.
TYPED_TEST(EpochFdTableStress, ClonesAndVisitsAreOfOneMoment) {
  Fixture<TypeParam> fixture(1, 1'000);
  auto& table = fixture.table;
  ASSERT_EQ(table.Insert(std::make_unique<File>(1)).value(), 0);

  Storm storm;
  storm.Crowd(1, [&, at = 0](Rng& rng) mutable {
    const int to = at == 0 ? 700 : 0;
    ASSERT_TRUE(table.InsertAt(to, table.GetShared(at)).ok());
    if (rng.OneIn(4)) StdSync::Yield();
    ASSERT_TRUE(table.Remove(at).ok());
    at = to;
  });
  storm.Crowd(1, [&](Rng& rng) {
    static_cast<void>(table.InsertAt(static_cast<int>(1 + rng.Below(50)), std::make_unique<File>(2)));
    static_cast<void>(table.Remove(static_cast<int>(1 + rng.Below(50))));
  });
  storm.Crowd(2, [&](Rng& rng) {
    uint64_t seen = 0;
    const auto count = [&](int fd, const std::shared_ptr<File>& file, FdFlags) {
      ASSERT_TRUE(file->IsWhole());
      seen += fd % 700 == 0;
    };
    if (rng.OneIn(2)) {
      const auto clone = table.Clone();
      clone.ForEach(count);
      ASSERT_EQ(static_cast<bool>(clone.Get(0)) + static_cast<bool>(clone.Get(700)), seen);
    } else {
      table.ForEach(count);
    }
    ASSERT_GE(seen, 1u) << "a mixture of two moments";
    if (seen == 2) storm.Collided();
  });
  storm.MustCollide("the file was seen half way");
  storm.Run();
}

// The room grows from nothing to thousands while readers look at what they know to be open.
TYPED_TEST(EpochFdTableStress, GrowthNeverHidesAnOpenDescriptor) {
  constexpr uint64_t kCount = 3'000;
  const auto begin = std::chrono::steady_clock::now();
  uint64_t round = 0, met = 0;
  do {
    Fixture<TypeParam> fixture(1, kCount);
    std::atomic<uint64_t> open{0}, overtaken{0};
    std::latch start(3);
    {
      std::vector<std::jthread> threads;
      threads.emplace_back([&] {
        start.arrive_and_wait();
        for (uint64_t i = 0; i < kCount; ++i) {
          ASSERT_EQ(fixture.table.Insert(std::make_unique<File>(i)).value(), static_cast<int>(i));
          open.store(i + 1, std::memory_order::release);
          if (i % 512 == 0) StdSync::Yield();
        }
      });
      for (int reader = 0; reader < 2; ++reader) {
        threads.emplace_back([&, reader] {
          Rng rng(SeedFromEnvironment(), round * 2 + static_cast<uint64_t>(reader));
          start.arrive_and_wait();
          for (uint64_t known = 0; known < kCount;) {
            const uint64_t now = open.load(std::memory_order::acquire);
            if (now > known && now < kCount) overtaken.fetch_add(1, std::memory_order::relaxed);
            known = now;
            if (known == 0) continue;
            const uint64_t fd = rng.OneIn(2) ? known - 1 : rng.Below(known);
            const auto ref = fixture.table.Get(static_cast<int>(fd));
            ASSERT_TRUE(ref && ref->id == fd && ref->IsWhole()) << "hidden or mixed up: " << fd;
            const auto shared = fixture.table.GetShared(static_cast<int>(fd));
            ASSERT_EQ(shared.get(), ref.get());
          }
        });
      }
    }
    ++round;
    met += overtaken.load();
    EXPECT_EQ(fixture.table.size(), kCount);
  } while (!this->HasFailure() && AnotherRound(begin, met != 0));
  EXPECT_GT(met, 0u) << "no reader met growth: nothing was tested";
}

// ---- Every result has a sequential explanation ----

constexpr int kHistoryLimit = 16;
using Spec = FdTableSpec<kHistoryLimit>;

// All that the table does is recorded; kGet is GetShared in half of the cases if `shared`.
template <class Sync>
void Step(BasicEpochFdTable<File, Sync>& table, Rng& rng, Recorder<Spec>& record, bool shared) {
  // Few numbers, so that they meet; up to one beyond the limit.
  const uint64_t fd = rng.OneIn(8) ? rng.Below(kHistoryLimit + 1) : rng.Below(3);
  const int number = static_cast<int>(fd);
  const uint64_t value = rng() | 1;
  const FdFlags flags{.close_on_exec = rng.OneIn(2)};
  switch (rng.Below(26)) {
    case 0:
    case 1:
    case 2:
      record({Spec::kInsert, fd, value, flags.close_on_exec}, [&]() -> Spec::Result {
        const Result<int> got = table.Insert(std::make_unique<File>(value), flags, number);
        return got.ok() ? static_cast<uint64_t>(*got) : Spec::kRefused;
      });
      break;
    case 3:
    case 4:
    case 5:
      record({Spec::kInsertAt, fd, value, flags.close_on_exec}, [&]() -> Spec::Result {
        const auto replaced = table.InsertAt(number, std::make_unique<File>(value), flags);
        return !replaced.ok() ? Spec::kRefused : *replaced != nullptr ? (*replaced)->id : 0;
      });
      break;
    case 6:
    case 7:
      record({Spec::kRemove, fd}, [&]() -> Spec::Result {
        const auto removed = table.Remove(number);
        if (!removed.ok()) return Spec::kRefused;
        return {removed->object->id, removed->flags.close_on_exec, removed->generation};
      });
      break;
    case 8:
      record({Spec::kGetFlags, fd}, [&]() -> Spec::Result {
        const Result<FdFlags> got = table.GetFlags(number);
        return got.ok() ? Spec::Result(0, got->close_on_exec) : Spec::kRefused;
      });
      break;
    case 9:
      record({Spec::kSetFlags, fd, 0, flags.close_on_exec},
             [&]() -> Spec::Result { return table.SetFlags(number, flags).ok() ? 0 : Spec::kRefused; });
      break;
    case 10:
      record({Spec::kGeneration, fd}, [&]() -> Spec::Result { return {0, false, table.Generation(number)}; });
      break;
    case 11:
    case 24:
    case 25: {
      const Spec::Result closed = record({Spec::kCloseOnExec, 0, value}, [&] { return table.CloseOnExec(); });
      for (uint64_t i = 1; i < closed.value; ++i) record.AtOnce({Spec::kCloseOnExec, i, value}, closed);
      break;
    }
    case 12: {
      // Every other time no limit; else one that may be below what is open.
      const uint64_t limit = rng.OneIn(2) ? kHistoryLimit : rng.Below(4);
      record({Spec::kSetLimit, 0, limit}, [&]() -> Spec::Result {
        table.SetLimit(static_cast<int>(limit));
        return {};
      });
      break;
    }
    case 13:
      record({Spec::kSize}, [&] { return table.size(); });
      break;
    case 14:
      record({Spec::kVisit}, [&] {
        uint64_t digest = 0;
        const auto add = [&](int at, const std::shared_ptr<File>& file, FdFlags of) {
          digest += Spec::Digest(static_cast<uint64_t>(at), file->id, of.close_on_exec);
        };
        rng.OneIn(2) ? table.ForEach(add) : table.Clone().ForEach(add);
        return digest;
      });
      break;
    default:
      record({Spec::kGet, fd}, [&]() -> Spec::Result {
        if (shared && rng.OneIn(2)) {
          const auto file = table.GetShared(number);
          return file == nullptr ? 0 : file->id;
        }
        const auto ref = table.Get(number);
        if (rng.OneIn(16)) StdSync::Yield();  // so that operations overlap, whatever the machine
        return ref ? ref->id : 0;
      });
  }
}

template <class Sync>
void HistoriesAreLinearizable(bool shared) {
  ExpectLinearizable<Spec>(
      RoundOptions{.threads = 3, .operations = 120}, [] { return std::make_unique<Fixture<Sync>>(1, kHistoryLimit); },
      [shared](Fixture<Sync>& fixture, Rng& rng, Recorder<Spec>& record) { Step(fixture.table, rng, record, shared); });
}

TYPED_TEST(EpochFdTableStress, HistoriesOfGetAreLinearizable) { HistoriesAreLinearizable<TypeParam>(false); }
TYPED_TEST(EpochFdTableStress, HistoriesOfGetAndGetSharedAreLinearizable) { HistoriesAreLinearizable<TypeParam>(true); }

}  // namespace
}  // namespace hotpath::stress
