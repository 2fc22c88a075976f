#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
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

// The threads ask one cache after the other for the first time. Whoever chooses waits for one, two or three of them to
// choose with it, so that every number of choices races for the cell.
TEST(SimdSearchStress, ThreadsThatChooseTogetherAllGetAChoice) {
  static constexpr int kChoices[] = {0, 1, 2};
  constexpr int kThreads = 3;
  struct Cell {
    BasicChoiceCache<int> cache;
    std::atomic<int> asked{0};
  };
  std::vector<Cell> cells(3'000);

  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (size_t i = 0; i < cells.size(); ++i) {
          const int together = 1 + static_cast<int>(i % kThreads);
          const int* choice = cells[i].cache.Get([&] {
            cells[i].asked.fetch_add(1, std::memory_order::relaxed);
            while (cells[i].asked.load(std::memory_order::relaxed) < together) StdSync::Yield();
            return &kChoices[thread];
          });
          EXPECT_GE(choice, &kChoices[0]);
          EXPECT_LT(choice, &kChoices[kThreads]);
        }
      });
    }
  }

  for (size_t i = 0; i < cells.size(); ++i) {
    const int asked = cells[i].asked.load();
    EXPECT_GE(asked, 1 + static_cast<int>(i % kThreads)) << "answered without a choice";
    EXPECT_LE(asked, kThreads) << "a thread asked twice";
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
