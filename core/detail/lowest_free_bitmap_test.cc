#include "hotpath/core/detail/lowest_free_bitmap.h"

#include <cstddef>
#include <cstdint>
#include <new>
#include <random>
#include <set>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"

namespace hotpath::epoch_fd_table_internal {
namespace {

size_t LowestFreeBySearch(const std::set<size_t>& taken, size_t from) {
  while (taken.contains(from)) ++from;
  return from;
}

TEST(LowestFreeBitmapTest, WithoutCapacityEveryNumberIsFree) {
  const LowestFreeBitmap bitmap;
  EXPECT_EQ(bitmap.capacity(), 0u);
  EXPECT_EQ(bitmap.LowestFree(0), 0u);
  EXPECT_EQ(bitmap.LowestFree(70), 70u);
  EXPECT_EQ(bitmap.LowestTaken(0), 0u);
  EXPECT_EQ(bitmap.End(), 0u);
  EXPECT_FALSE(bitmap.Contains(0));
}

TEST(LowestFreeBitmapTest, CapacityIsAWholeNumberOfWordsAndNeverShrinks) {
  LowestFreeBitmap bitmap;
  bitmap.Reserve(1);
  EXPECT_EQ(bitmap.capacity(), 64u);
  bitmap.Reserve(64);
  EXPECT_EQ(bitmap.capacity(), 64u);
  bitmap.Reserve(65);
  EXPECT_EQ(bitmap.capacity(), 128u);
  bitmap.Reserve(3);
  EXPECT_EQ(bitmap.capacity(), 128u);
}

// Full to the brim, at every size at which the tree gets a word or a level more, then with one hole at each place.
TEST(LowestFreeBitmapTest, FindsTheOnlyHoleAtEverySize) {
  for (const size_t size : {64u, 128u, 63u * 64, 64u * 64, 65u * 64, 64u * 64 * 3 + 64, 64u * 64 * 64, 64u * 64 * 65}) {
    SCOPED_TRACE(size);
    LowestFreeBitmap bitmap;
    bitmap.Reserve(size);
    for (size_t i = 0; i < size; ++i) {
      ASSERT_EQ(bitmap.LowestFree(0), i);
      bitmap.Add(i);
    }
    ASSERT_EQ(bitmap.capacity(), size);
    EXPECT_EQ(bitmap.LowestFree(0), size) << "full: the first number beyond";
    EXPECT_EQ(bitmap.LowestFree(size - 1), size);
    EXPECT_EQ(bitmap.LowestFree(size + 5), size + 5);
    EXPECT_EQ(bitmap.End(), size);
    for (size_t hole = 0; hole < size; hole += size < 10'000 ? 1 : 61) {
      bitmap.Remove(hole);
      ASSERT_EQ(bitmap.LowestFree(0), hole);
      ASSERT_EQ(bitmap.LowestFree(hole), hole);
      ASSERT_EQ(bitmap.LowestFree(hole + 1), size);
      bitmap.Add(hole);
    }
  }
}

TEST(LowestFreeBitmapTest, FullWordsStayKnownWhenTheTreeGrows) {
  LowestFreeBitmap bitmap;
  size_t size = 0;
  for (const size_t next : {64u, 640u, 64u * 64, 64u * 64 + 1, 300'000u}) {
    bitmap.Reserve(next);
    for (; size + 64 < next; ++size) bitmap.Add(size);
    ASSERT_EQ(bitmap.LowestFree(0), size);
  }
  bitmap.Remove(4095);
  EXPECT_EQ(bitmap.LowestFree(1), 4095u);
}

TEST(LowestFreeBitmapTest, AgreesWithASet) {
  std::mt19937_64 random(7);
  for (const size_t limit : {1u, 63u, 64u, 65u, 200u, 4096u, 4200u}) {
    SCOPED_TRACE(limit);
    LowestFreeBitmap bitmap;
    std::set<size_t> taken;
    for (int step = 0; step < 6'000; ++step) {
      const size_t n = random() % limit;
      if (step % 1'000 < 700 || !taken.contains(n)) {
        const size_t free = LowestFreeBySearch(taken, n);
        ASSERT_EQ(bitmap.LowestFree(n), free);
        if (free >= limit) continue;
        bitmap.Reserve(free + 1);
        bitmap.Add(free);
        taken.insert(free);
      } else {
        bitmap.Remove(n);
        taken.erase(n);
      }
      ASSERT_TRUE(bitmap.Contains(n) == taken.contains(n));
      const auto next = taken.lower_bound(n);
      ASSERT_EQ(bitmap.LowestTaken(n), next == taken.end() ? bitmap.capacity() : *next);
      ASSERT_EQ(bitmap.End(), taken.empty() ? 0 : *taken.rbegin() + 1);
    }
  }
}

TEST(LowestFreeBitmapTest, ReserveThatFailsChangesNothing) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  LowestFreeBitmap bitmap;
  bitmap.Reserve(64);
  for (size_t i = 0; i < 64; ++i) bitmap.Add(i);
  {
    const bench::HeapFailure failure;
    EXPECT_THROW(bitmap.Reserve(1'000), std::bad_alloc);
  }
  EXPECT_EQ(bitmap.capacity(), 64u);
  EXPECT_EQ(bitmap.LowestFree(0), 64u);
  bitmap.Reserve(1'000);
  EXPECT_EQ(bitmap.LowestFree(0), 64u);
}

}  // namespace
}  // namespace hotpath::epoch_fd_table_internal
