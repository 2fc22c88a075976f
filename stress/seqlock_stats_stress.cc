#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/seqlock_stats.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/rng.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

// Gives the CPU away half way through some copies, of readers and of writers, so that threads meet there even on a
// machine with few cores. Counts how often a thread had to wait for another.
struct YieldingSync : StdSync {
  static inline std::atomic<uint64_t> waits{0};

  static void Pause() noexcept {
    waits.fetch_add(1, std::memory_order::relaxed);
    StdSync::Pause();
  }
  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from) {
    constexpr size_t kHalf = kBytes / 16 * 8;
    StdSync::CopyWords<kHalf>(to, from);
    SometimesYield();
    StdSync::CopyWords<kBytes - kHalf>(static_cast<std::byte*>(to) + kHalf, from + kHalf / 8);
  }
  template <size_t kBytes>
  static void CopyWords(Atomic<uint64_t>* to, const void* from) {
    constexpr size_t kHalf = kBytes / 16 * 8;
    StdSync::CopyWords<kHalf>(to, from);
    SometimesYield();
    StdSync::CopyWords<kBytes - kHalf>(to + kHalf / 8, static_cast<const std::byte*>(from) + kHalf);
  }

 private:
  static void SometimesYield() {
    thread_local Rng rng(SeedFromEnvironment(), ThreadIndex());
    if (rng.OneIn(8)) Yield();
  }
};

// Every 8 bytes hold the version, whole or, at the end, the low bytes of it: a mixture shows.
template <size_t kBytes>
struct Versioned {
  std::array<std::byte, kBytes> bytes{};

  uint64_t version() const {
    uint64_t version;
    std::memcpy(&version, bytes.data(), sizeof(version));
    return version;
  }
  void Become(uint64_t version) {
    for (size_t at = 0; at < kBytes; at += 8) {
      std::memcpy(bytes.data() + at, &version, std::min<size_t>(8, kBytes - at));
    }
  }
  bool IsWhole() const {
    Versioned expected;
    expected.Become(version());
    return bytes == expected.bytes;
  }
};

template <size_t kBytes, uint32_t kSlots, class Policy>
struct Case {
  using Value = Versioned<kBytes>;
  static constexpr uint32_t kSlotCount = kSlots;
  using Sync = Policy;
  using Cell = BasicSeqlockStats<Value, SeqlockOptions{.slots = kSlots}, Policy>;
};

template <class C>
struct SeqlockStatsStress : testing::Test {};

using Cases =
    testing::Types<Case<64, 1, YieldingSync>, Case<64, 2, YieldingSync>, Case<64, 3, YieldingSync>,
                   Case<64, 4, YieldingSync>, Case<65, 1, YieldingSync>, Case<65, 2, YieldingSync>,
                   Case<65, 4, YieldingSync>, Case<256, 1, YieldingSync>, Case<256, 2, YieldingSync>,
                   Case<256, 3, YieldingSync>, Case<256, 4, YieldingSync>, Case<64, 1, StdSync>, Case<64, 2, StdSync>,
                   Case<20, 1, ChaosSync>, Case<20, 2, ChaosSync>, Case<20, 3, ChaosSync>, Case<20, 4, ChaosSync>,
                   Case<64, 4, StdSync>, Case<256, 1, StdSync>, Case<256, 2, StdSync>, Case<256, 4, StdSync>>;
TYPED_TEST_SUITE(SeqlockStatsStress, Cases);

// A writer that never pauses. Readers see whole values that never go back, and with two slots or more no reader is
// refused many times in a row.
TYPED_TEST(SeqlockStatsStress, ReadersOfARestlessWriterSeeWholeValuesAndDoNotStarve) {
  constexpr uint64_t kMostRefusals = 1000;
  typename TypeParam::Cell cell;
  std::atomic<uint64_t> written{0}, longest{0};

  Storm storm;
  storm.Crowd(1, [&](Rng&) {
    cell.Write([](auto& value) { value.Become(value.version() + 1); });
    written.fetch_add(1, std::memory_order::relaxed);
  });
  for (const bool waits : {false, true}) {
    storm.Crowd(1, [&, waits, newest = uint64_t{0}, refusals = uint64_t{0}](Rng&) mutable {
      typename TypeParam::Value seen;
      if (waits) {
        seen = cell.Read();
      } else if (!cell.TryRead(seen)) {
        storm.Collided();
        if (++refusals > longest.load(std::memory_order::relaxed)) longest.store(refusals, std::memory_order::relaxed);
        return;
      }
      refusals = 0;
      ASSERT_TRUE(seen.IsWhole()) << "torn";
      ASSERT_GE(seen.version(), newest);
      // Without forced yields the copies are too short to be overtaken often; to see a new value is to have met.
      if (std::is_same_v<typename TypeParam::Sync, StdSync> && seen.version() > newest) storm.Collided();
      newest = seen.version();
    });
  }
  storm.MustCollide("a reader met the writer");
  storm.Run();

  EXPECT_EQ(cell.Read().version(), written.load());
  if (TypeParam::kSlotCount >= 2) {
    EXPECT_LE(longest.load(), kMostRefusals);
  }
}

struct Ledger {  // 20 bytes of 24
  uint64_t credit = 0, debit = 0;
  uint32_t entries = 0;
};

template <uint32_t kSlots>
void NoUpdateIsLost() {
  BasicSeqlockStats<Ledger, SeqlockOptions{.slots = kSlots}, YieldingSync> cell;
  std::atomic<uint64_t> entries{0}, added{0}, credit{0}, aborted{0};
  std::atomic<int> inside{0};
  uint64_t edits = 0;  // plain: a sanitizer sees whether each writer happens before the next
  YieldingSync::waits.store(0);

  Storm storm;
  storm.Crowd(2, [&](Rng& rng) {
    const uint64_t amount = rng.Below(1000);
    cell.Write([&](Ledger& ledger) {
      ASSERT_EQ(inside.fetch_add(1, std::memory_order::relaxed), 0) << "two writers at once";
      ledger.credit += amount;
      if (rng.OneIn(4)) StdSync::Yield();
      ++edits;
      ledger.debit += amount;
      ++ledger.entries;
      inside.fetch_sub(1, std::memory_order::relaxed);
    });
    credit.fetch_add(amount, std::memory_order::relaxed);
    entries.fetch_add(1, std::memory_order::relaxed);
  });
  storm.Crowd(1, [&](Rng&) {
    cell.template Add<&Ledger::entries>(1);
    added.fetch_add(1, std::memory_order::relaxed);
  });
  storm.Crowd(1, [&](Rng&) {
    try {
      cell.Write([&](Ledger& ledger) {
        ledger.credit = 1;
        ++edits;
        throw 1;
      });
    } catch (int) {
      aborted.fetch_add(1, std::memory_order::relaxed);
    }
  });
  storm.Crowd(1, [&, newest = uint64_t{0}](Rng&) mutable {
    Ledger seen;
    if (!cell.TryRead(seen)) return;
    ASSERT_EQ(seen.credit, seen.debit);
    ASSERT_GE(seen.entries, newest);
    newest = seen.entries;
  });
  storm.MustHappen("a writer waited for another", [] { return YieldingSync::waits.load() != 0; });
  storm.Run();

  const Ledger end = cell.Read();
  EXPECT_EQ(end.entries, static_cast<uint32_t>(entries.load() + added.load()));
  EXPECT_EQ(end.credit, credit.load());
  EXPECT_EQ(end.debit, credit.load());
  EXPECT_EQ(edits, entries.load() + aborted.load());
}

TEST(SeqlockStatsWritersStress, NoUpdateOfSeveralWritersIsLostWithOneSlot) { NoUpdateIsLost<1>(); }
TEST(SeqlockStatsWritersStress, NoUpdateOfSeveralWritersIsLostWithTwoSlots) { NoUpdateIsLost<2>(); }
TEST(SeqlockStatsWritersStress, NoUpdateOfSeveralWritersIsLostWithFourSlots) { NoUpdateIsLost<4>(); }

}  // namespace
}  // namespace hotpath::stress
