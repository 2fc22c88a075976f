#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/detail/simd_search_testing.h"
#include "hotpath/core/simd_search.h"
#include "stress/base/rng.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

using simd_search_internal::BasicChoiceCache;
using simd_search_internal::Kernels;
using simd_search_internal::NaiveFirstMatch;
using simd_search_internal::NaiveLongestMatch;
using simd_search_internal::TestAccess;

// Threads ask one cache after the other for the first time. The choice takes a while, so that they do it together.
TEST(SimdSearchStress, ThreadsThatChooseTogetherAllGetAChoice) {
  static constexpr int kChoices[] = {0, 1, 2, 3};
  struct Cell {
    BasicChoiceCache<int> cache;
    std::atomic<int> asked{0};
  };
  constexpr size_t kCells = 1 << 14;
  const auto cells = std::make_unique<Cell[]>(kCells);

  Storm storm;
  for (int thread = 0; thread < 3; ++thread) {
    storm.Crowd(1, [&, next = size_t{0}](Rng& rng) mutable {
      Cell& cell = cells[next++ % kCells];
      const int* choice = cell.cache.Get([&] {
        if (cell.asked.fetch_add(1, std::memory_order::relaxed) > 0) storm.Collided();
        StdSync::Yield();
        return &kChoices[rng.Below(4)];
      });
      ASSERT_GE(choice, &kChoices[0]);
      ASSERT_LE(choice, &kChoices[3]);
    });
  }
  storm.MustCollide("two threads chose for the same cache");
  storm.Run();

  for (size_t i = 0; i < kCells; ++i) {
    const int asked = cells[i].asked.load();
    EXPECT_LE(asked, 3) << "a thread asked twice";
    if (asked == 0) continue;
    const int* last = cells[i].cache.Get([] { return static_cast<const int*>(nullptr); });
    EXPECT_NE(last, nullptr) << "forgotten";
  }
}

TEST(SimdSearchStress, ThreadsShareASet) {
  std::vector<std::string> own;
  for (int i = 0; i < 500; ++i) {
    own.push_back("/srv/" + std::to_string(i % 23));
    own.push_back(own.back() + "/a/component/that/makes/the/path/longer/than/one/block/of/it/" + std::to_string(i));
  }
  const std::vector<std::string_view> all(own.begin(), own.end());
  const std::vector<std::string_view> some(own.begin(), own.begin() + 50);
  const PathPrefixSet many(all);
  const PathPrefixSet few(some);
  struct Question {
    std::string path;
    std::optional<size_t> many_longest, many_first, few_longest, few_first;
  };
  std::vector<Question> questions;
  for (size_t i = 0; i < own.size(); i += 3) {
    for (const char* end : {"", "/x", "x"}) {
      const std::string path = own[i] + end;
      questions.push_back({path, NaiveLongestMatch(all, path), NaiveFirstMatch(all, path),
                           NaiveLongestMatch(some, path), NaiveFirstMatch(some, path)});
    }
  }

  const auto levels = TestAccess::AllKernels();
  std::atomic<int> inside{0};
  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    if (inside.fetch_add(1, std::memory_order::relaxed) > 0) storm.Collided();
    const Question& q = questions[rng.Below(questions.size())];
    const Kernels& level = *levels[rng.Below(levels.size())];
    ASSERT_EQ(TestAccess::LongestMatch(level, many, q.path), q.many_longest) << q.path;
    ASSERT_EQ(TestAccess::FirstMatch(level, many, q.path), q.many_first) << q.path;
    ASSERT_EQ(few.LongestMatch(q.path), q.few_longest) << q.path;
    ASSERT_EQ(few.FirstMatch(q.path), q.few_first) << q.path;
    inside.fetch_sub(1, std::memory_order::relaxed);
  });
  storm.MustCollide("two threads used the sets at once");
  storm.Run();
}

}  // namespace
}  // namespace hotpath::stress
