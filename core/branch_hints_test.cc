#include "hotpath/core/branch_hints.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace hotpath {
namespace {

static_assert(Likely(true) && !Likely(false) && Unlikely(true) && !Unlikely(false));

TEST(BranchHints, AreTheConditionItself) {
  for (const bool condition : {false, true}) {
    EXPECT_EQ(Likely(condition), condition);
    EXPECT_EQ(Unlikely(condition), condition);
    int branch = 0;
    if (Likely(condition)) branch |= 1;
    if (Unlikely(condition)) branch |= 2;
    EXPECT_EQ(branch, condition ? 3 : 0);
  }
}

TEST(BranchHints, EvaluateTheConditionOnce) {
  int evaluated = 0;
  EXPECT_TRUE(Likely(++evaluated == 1));
  EXPECT_FALSE(Unlikely(++evaluated == 1));
  EXPECT_EQ(evaluated, 2);
}

// The address that a call of it returns to. Distinct functions, so that compilers do not merge the calls.
template <int>
[[gnu::noinline]] uintptr_t Here() {
  asm volatile("");
  return reinterpret_cast<uintptr_t>(__builtin_return_address(0));
}

template <class Hint>
[[gnu::noinline]] uintptr_t Branch(bool condition, Hint hint) {
  uintptr_t here;
  if (hint(condition)) {
    here = Here<1>();
  } else {
    here = Here<0>();
  }
  asm volatile("" : "+r"(here));
  return here;
}

// What the hints are for, and what a wrapped __builtin_expect does not do under Clang. Only optimised builds lay out.
TEST(BranchHints, TheLikelyWayComesFirst) {
#ifdef __OPTIMIZE__
  const auto likely = [](bool condition) __attribute__((always_inline)) { return Likely(condition); };
  const auto unlikely = [](bool condition) __attribute__((always_inline)) { return Unlikely(condition); };
  EXPECT_LT(Branch(true, likely), Branch(false, likely));
  EXPECT_LT(Branch(false, unlikely), Branch(true, unlikely));
#else
  GTEST_SKIP() << "this build does not optimise";
#endif
}

HOTPATH_COLD int Twice(int x) { return 2 * x; }

TEST(HotpathCold, FunctionsDoWhatTheyDid) { EXPECT_EQ(Twice(21), 42); }

int Quotient(int x, int y) {
  HOTPATH_ASSUME(x >= 0 && y > 0);
  return x / y;
}

TEST(HotpathAssume, AnAssumptionThatHoldsChangesNothing) {
  EXPECT_EQ(Quotient(17, 5), 3);
  EXPECT_EQ(Quotient(0, 1), 0);
}

TEST(HotpathAssume, IsOneStatement) {
  int x = 1;
  if (x == 1)
    HOTPATH_ASSUME(x > 0);
  else
    x = 2;
  EXPECT_EQ(x, 1);
}

#ifndef NDEBUG
TEST(HotpathAssumeDeathTest, DebugBuildsNameAnAssumptionThatDoesNotHold) {
  EXPECT_DEATH(Quotient(1, 0), "x >= 0 && y > 0");
}
#endif

}  // namespace
}  // namespace hotpath
