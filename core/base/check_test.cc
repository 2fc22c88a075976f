#include "hotpath/core/base/check.h"

#include <csignal>
#include <cstdio>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"

namespace hotpath {
namespace {

TEST(CheckTest, PassingCheckEvaluatesItsConditionOnce) {
  int calls = 0;
  HOTPATH_CHECK(++calls == 1);
  HOTPATH_CHECK(++calls == 2, "with a message");
  EXPECT_EQ(calls, 2);
}

TEST(CheckTest, CheckIsAnExpressionWithoutDanglingElse) {
  bool reached = false;
  if (reached)
    HOTPATH_CHECK(false);
  else
    reached = true;
  EXPECT_TRUE(reached);
}

TEST(CheckDeathTest, FailurePrintsFileLineExpressionAndMessage) {
  const int limit = 3;
  EXPECT_DEATH(HOTPATH_CHECK(limit > 4, "the limit is too low"),
               "check_test\\.cc:[0-9]+: check failed: limit > 4: the limit is too low\n$");
}

TEST(CheckDeathTest, FailureWithoutAMessageEndsAfterTheExpression) {
  const int limit = 3;
  EXPECT_DEATH(HOTPATH_CHECK(limit > 4), "check_test\\.cc:[0-9]+: check failed: limit > 4\n$");
}

TEST(CheckDeathTest, FailurePrintsWithoutAllocating) {
  EXPECT_DEATH(
      {
        const bench::HeapFailure no_memory;
        HOTPATH_CHECK(1 == 2, "still printed");
      },
      "1 == 2: still printed");
}

#define A_100 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A_1000 A_100 A_100 A_100 A_100 A_100 A_100 A_100 A_100 A_100 A_100

TEST(CheckDeathTest, OverlongMessageIsCutAndTheLineEnds) {
  EXPECT_DEATH(HOTPATH_CHECK(1 == 2, A_1000 A_1000), "1 == 2: aaaa+\n$");
}

TEST(CheckDeathTest, LineNumbersPrintInFull) {
  EXPECT_DEATH(check_internal::Fail("f.cc", 0, "e", ""), "f.cc:0: check failed: e");
  EXPECT_DEATH(check_internal::Fail("f.cc", 2147483647, "e", ""), "f.cc:2147483647: check failed: e");
}

TEST(CheckDeathTest, HandlerReplacesTheReportAndAReturningOneStillAborts) {
  EXPECT_EXIT(
      {
        SetCheckHandler([](const CheckFailure& failure) {
          std::fprintf(stderr, "handled %s [%s]\n", failure.expression, failure.message);
        });
        HOTPATH_CHECK(1 == 2, "why");
      },
      testing::KilledBySignal(SIGABRT), "^handled 1 == 2 \\[why\\]\n$");
}

TEST(CheckTest, SetCheckHandlerReturnsTheOneBefore) {
  const CheckHandler mine = [](const CheckFailure&) {};
  EXPECT_EQ(SetCheckHandler(mine), nullptr);
  EXPECT_EQ(SetCheckHandler(nullptr), mine);
  EXPECT_EQ(SetCheckHandler(nullptr), nullptr);
}

#ifdef NDEBUG
TEST(CheckTest, ReleaseBuildsCompileADebugCheckAndNeverEvaluateIt) {
  int calls = 0;
  HOTPATH_DCHECK(++calls == 1);
  HOTPATH_DCHECK(false, "unused");
  EXPECT_EQ(calls, 0);
}
#else
TEST(CheckDeathTest, DebugBuildsEvaluateADebugCheck) {
  HOTPATH_DCHECK(true);
  EXPECT_DEATH(HOTPATH_DCHECK(1 == 2), "1 == 2\n$");
  EXPECT_DEATH(HOTPATH_DCHECK(1 == 2, "ours"), "1 == 2: ours\n$");
}
#endif

}  // namespace
}  // namespace hotpath
