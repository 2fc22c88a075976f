#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/rcu_cell.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/rng.h"
#include "stress/base/specifications.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

// Every part says which version it is of; some of it is on the heap.
struct Table {
  Table(std::atomic<int64_t>& alive, uint64_t version)
      : alive(&alive), version(version), text(20 + version % 20, 'a'), twin(version) {
    alive.fetch_add(1, std::memory_order::relaxed);
  }
  Table(Table&& other) noexcept
      : alive(other.alive), version(other.version), text(std::move(other.text)), twin(other.twin) {
    alive->fetch_add(1, std::memory_order::relaxed);
  }
  ~Table() {
    alive->fetch_sub(1, std::memory_order::relaxed);
    twin = ~version;
  }
  bool IsWhole() const { return version == twin && text.size() == 20 + version % 20 && text.back() == 'a'; }

  std::atomic<int64_t>* alive;
  uint64_t version;
  std::string text;
  uint64_t twin;
};

template <class Sync>
class RcuCellStress : public testing::Test {
 protected:
  std::atomic<int64_t> alive{0};
  BasicEpochDomain<Sync> domain{EpochOptions{.max_pending = 256}};
};

using Policies = testing::Types<StdSync, ChaosSync>;
TYPED_TEST_SUITE(RcuCellStress, Policies);

TYPED_TEST(RcuCellStress, ReadsAreWholeAndNeverGoBackAndNoUpdateIsLost) {
  using Cell = BasicRcuCell<Table, TypeParam>;
  auto cell = std::make_unique<Cell>(Table(this->alive, 0), this->domain);
  std::atomic<uint64_t> written{0};
  const auto next = [&](const Table& old) { return Table(this->alive, old.version + 1); };

  {
    Storm storm;
    storm.Crowd(1, [&](Rng& rng) {
      cell->Update([&](const Table& old) {
        if (rng.OneIn(16)) StdSync::Yield();
        return next(old);
      });
      written.fetch_add(1, std::memory_order::relaxed);
    });
    storm.Crowd(1, [&](Rng& rng) {
      const auto seen = cell->Load();
      if (rng.OneIn(16)) StdSync::Yield();
      if (cell->CompareAndStore(seen, next(*seen))) {
        written.fetch_add(1, std::memory_order::relaxed);
      } else {
        storm.Collided();
      }
      ASSERT_TRUE(seen->IsWhole());
    });
    storm.Crowd(2, [&, newest = uint64_t{0}](Rng& rng) mutable {
      const auto seen = cell->Load();
      ASSERT_TRUE(seen->IsWhole());
      ASSERT_GE(seen->version, newest);
      newest = seen->version;
      if (rng.OneIn(8)) StdSync::Yield();
      ASSERT_TRUE(seen->IsWhole());
      ASSERT_EQ(seen->version, newest);
    });
    // Keeps the last few, for longer than their Snapshots.
    storm.Crowd(1, [&, kept = std::deque<std::pair<uint64_t, std::shared_ptr<const Table>>>{}](Rng& rng) mutable {
      std::shared_ptr<const Table> shared = cell->LoadShared();
      const uint64_t version = shared->version;
      kept.emplace_back(version, std::move(shared));
      if (kept.size() > 1 + rng.Below(20)) kept.pop_front();
      for (const auto& [number, table] : kept) {
        ASSERT_TRUE(table->IsWhole());
        ASSERT_EQ(table->version, number);
      }
    });
    storm.MustCollide("a CompareAndStore came too late");
    storm.Run();
  }
  EXPECT_EQ(cell->Load()->version, written.load());
  cell.reset();
  this->domain.Synchronize();
  EXPECT_EQ(this->alive.load(), 0);
  EXPECT_EQ(this->domain.Stats().pending, 0u);
}

TYPED_TEST(RcuCellStress, EveryExchangedValueComesBackOnce) {
  BasicRcuCell<uint64_t, TypeParam> cell(0, this->domain);
  std::atomic<uint64_t> in{0}, out{0};
  std::atomic<uint64_t> exchanges{0};
  Storm storm;
  storm.Crowd(3, [&](Rng& rng) {
    const uint64_t mine = rng();
    in.fetch_add(mine, std::memory_order::relaxed);
    out.fetch_add(*cell.Exchange(mine), std::memory_order::relaxed);
    exchanges.fetch_add(1, std::memory_order::relaxed);
  });
  storm.Crowd(1, [&](Rng&) { static_cast<void>(cell.Read([](uint64_t value) { return value; })); });
  storm.Run();
  EXPECT_EQ(in.load(), out.load() + *cell.Load());
  EXPECT_GT(exchanges.load(), 0u);
}

// With chaos only: without it the operations are too short to overlap on a few shared cores. Values are unique, so that
// to be the value seen and to equal it is the same.
TEST(RcuCellHistoryStress, ReadsStoresAndCompareAndStoresAreLinearizable) {
  using Cell = BasicRcuCell<uint64_t, ChaosSync>;
  BasicEpochDomain<ChaosSync> domain(EpochOptions{.max_pending = 256});
  std::atomic<uint64_t> last{0};
  ExpectLinearizable<RegisterSpec>(
      RoundOptions{.threads = 3, .operations = 60}, [&] { return std::make_unique<Cell>(0, domain); },
      [&](Cell& cell, Rng& rng, Recorder<RegisterSpec>& record) {
        if (rng.OneIn(2)) {
          record({RegisterSpec::kRead}, [&] { return *cell.Load(); });
          return;
        }
        const uint64_t value = last.fetch_add(1, std::memory_order::relaxed) + 1;
        if (rng.OneIn(2)) {
          record({.kind = RegisterSpec::kWrite, .value = value}, [&] {
            cell.Store(value);
            return uint64_t{0};
          });
          return;
        }
        const auto seen = cell.Load();
        record({.kind = RegisterSpec::kCompareExchange, .value = value, .expected = *seen},
               [&] { return uint64_t{cell.CompareAndStore(seen, value)}; });
      });
}

TEST(RcuCellHistoryStress, UpdatesAreLinearizable) {
  using Cell = BasicRcuCell<uint64_t, ChaosSync>;
  BasicEpochDomain<ChaosSync> domain(EpochOptions{.max_pending = 256});
  ExpectLinearizable<CounterSpec>(
      RoundOptions{.threads = 3, .operations = 60}, [&] { return std::make_unique<Cell>(0, domain); },
      [&](Cell& cell, Rng& rng, Recorder<CounterSpec>& record) {
        const uint64_t delta = rng.Below(3);
        record({delta}, [&] {
          if (delta == 0) return *cell.Load();
          uint64_t before = 0;
          cell.Update([&](uint64_t old) {
            before = old;
            return old + delta;
          });
          return before;
        });
      });
}

}  // namespace
}  // namespace hotpath::stress
