#include "hotpath/kernel/memory_manager.h"

#include <sys/mman.h>

#include <map>
#include <random>

#include "gtest/gtest.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kBase = 0x100000000000;

// Random calls in a window of pages, against one protection per page.
TEST(AddressSpace, AnswersLikeATableOfPages) {
  constexpr uint64_t kPages = 40;
  uint64_t total = 0;
  {
    AddressSpace space(0x600000, total);
    std::map<uint64_t, int> model;  // page -> protection
    std::mt19937 rng(1);
    for (int step = 0; step < 30000; ++step) {
      const uint64_t first = rng() % kPages;
      const uint64_t count = 1 + rng() % 10;
      const uint64_t address = kBase + first * kPage;
      const int prot = static_cast<int>(rng() % 8);
      bool overlaps = false;
      bool hole = false;
      for (uint64_t page = first; page < first + count; ++page) (model.contains(page) ? overlaps : hole) = true;
      switch (rng() % 4) {
        case 0: {
          const bool replace = rng() % 2 == 0;
          const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (replace ? MAP_FIXED : MAP_FIXED_NOREPLACE);
          const Result<uint64_t> result = space.Map(address, count * kPage, prot, flags, nullptr, 0, {});
          if (overlaps && !replace) {
            ASSERT_TRUE(Fails(result, Code::kEEXIST)) << step;
            break;
          }
          ASSERT_TRUE(Gives(result, address)) << step;
          for (uint64_t page = first; page < first + count; ++page) model[page] = prot;
          break;
        }
        case 1:
          ASSERT_TRUE(Ok(space.Unmap(address, count * kPage)));
          for (uint64_t page = first; page < first + count; ++page) model.erase(page);
          break;
        case 2:
          ASSERT_EQ(space.Protect(address, count * kPage, prot).ok(), !hole) << step;
          for (uint64_t page = first; page < first + count && model.contains(page); ++page) model[page] = prot;
          break;
        case 3:
          ASSERT_EQ(space.Advise(address, count * kPage, MADV_DONTNEED).ok(), !hole) << step;
          break;
      }
      uint64_t runs = 0;
      for (auto it = model.begin(); it != model.end(); ++it) {
        const auto before = model.find(it->first - 1);
        if (before == model.end() || before->second != it->second) ++runs;
      }
      ASSERT_EQ(space.Use().mapped, model.size() * kPage) << step;
      ASSERT_EQ(space.Use().mappings, runs) << step;
      ASSERT_EQ(total, space.Use().mapped);
    }
  }
  EXPECT_EQ(total, 0u);
}

TEST(AddressSpace, PlacesWithoutAHintNeverOverlap) {
  uint64_t total = 0;
  AddressSpace space(0x600000, total);
  std::map<uint64_t, uint64_t> model;  // start -> end
  std::mt19937 rng(1);
  for (int step = 0; step < 5000; ++step) {
    if (rng() % 3 != 0 || model.empty()) {
      const uint64_t length = (1 + rng() % 20) * kPage;
      const uint64_t at = Value(space.Map(0, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, nullptr, 0, {}));
      const auto next = model.lower_bound(at);
      ASSERT_TRUE(next == model.end() || at + length <= next->first) << step;
      ASSERT_TRUE(next == model.begin() || std::prev(next)->second <= at) << step;
      model[at] = at + length;
    } else {
      auto it = model.begin();
      std::advance(it, rng() % model.size());
      ASSERT_TRUE(Ok(space.Unmap(it->first, it->second - it->first)));
      model.erase(it);
    }
  }
}

TEST(MemoryManager, SpacesAreSharedCopiedReplacedAndDropped) {
  MemoryManager memory;
  const auto map = [&](Pid task) {
    EXPECT_TRUE(Ok(memory.SpaceOf(task).Map(0, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, nullptr, 0, {})));
  };
  memory.Create(1, 0x600000);
  map(1);
  memory.Share(1, 2);
  memory.Copy(1, 3);
  map(2);
  EXPECT_EQ(memory.SpaceOf(1).Use().mapped, 2 * kPage);
  EXPECT_EQ(memory.SpaceOf(3).Use().mapped, kPage);
  EXPECT_EQ(memory.mapped_bytes(), 3 * kPage);
  memory.Create(2, 0x700000);
  EXPECT_EQ(memory.mapped_bytes(), 3 * kPage) << "the other sharer still has it";
  memory.Drop(1);
  EXPECT_EQ(memory.mapped_bytes(), kPage);
  memory.Drop(2);
  memory.Drop(3);
  EXPECT_EQ(memory.mapped_bytes(), 0u);
}

}  // namespace
}  // namespace hotpath::kernel
