#include "hotpath/kernel/record_locks.h"

#include <array>
#include <random>

#include "gtest/gtest.h"

namespace hotpath::kernel {
namespace {

// Three owners set and release random ranges; the model is one cell per owner and byte.
TEST(RecordLocks, AnswerLikeATableOfBytes) {
  constexpr int kBytes = 24;
  enum class Held : uint8_t { kNone, kShared, kExclusive };
  std::array<std::array<Held, kBytes>, 3> model{};
  std::array<int, 3> owners{};
  RecordLocks locks;
  std::mt19937 rng(1);
  for (int step = 0; step < 20000; ++step) {
    const size_t who = rng() % 3;
    const auto first = static_cast<int64_t>(rng() % kBytes);
    const auto last = first + static_cast<int64_t>(rng() % static_cast<uint32_t>(kBytes - first));
    const bool exclusive = rng() % 2 == 0;
    int64_t lowest = -1;  // the first byte of another owner that is in the way
    for (int64_t byte = first; byte <= last && lowest < 0; ++byte) {
      for (size_t other = 0; other < 3; ++other) {
        const Held held = model[other][static_cast<size_t>(byte)];
        if (other != who && (held == Held::kExclusive || (exclusive && held == Held::kShared))) lowest = byte;
      }
    }
    const RecordLocks::Lock wanted{&owners[who], exclusive, first, last, static_cast<Pid>(who) + 1};
    const RecordLocks::Lock* const conflict = locks.FindConflict(wanted);
    ASSERT_EQ(conflict != nullptr, lowest >= 0) << step;
    if (conflict != nullptr) {
      ASSERT_NE(conflict->owner, &owners[who]);
      ASSERT_LE(conflict->first, last);
      ASSERT_GE(conflict->last, first);
    }
    const bool set = conflict == nullptr && rng() % 3 != 0;
    if (set) {
      locks.Set(wanted);
    } else {
      locks.Unset(&owners[who], first, last);
    }
    for (int64_t byte = first; byte <= last; ++byte) {
      model[who][static_cast<size_t>(byte)] = !set ? Held::kNone : exclusive ? Held::kExclusive : Held::kShared;
    }
  }
  for (int& owner : owners) locks.ReleaseOwner(&owner);
  EXPECT_TRUE(locks.empty());
}

TEST(RecordLocks, TouchingLocksOfOneKindAreOne) {
  int owner = 0;
  int other = 0;
  RecordLocks locks;
  locks.Set({&owner, true, 0, 9, 1});
  locks.Set({&owner, true, 20, 29, 1});
  locks.Set({&owner, true, 10, 19, 1});
  const RecordLocks::Lock* const whole = locks.FindConflict({&other, false, 15, 15, 2});
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(whole->first, 0);
  EXPECT_EQ(whole->last, 29);
  locks.Set({&owner, false, INT64_MAX, INT64_MAX, 1});
  locks.Set({&owner, true, 0, INT64_MAX, 1});
  EXPECT_EQ(locks.FindConflict({&other, false, 5, 5, 2})->last, INT64_MAX);
}

TEST(LockWaits, FollowTheChainAndForgetWhoWoke) {
  std::array<int, 4> owners{};
  LockWaits waits;
  waits.Set(1, &owners[0], &owners[1]);
  waits.Set(2, &owners[1], &owners[2]);
  EXPECT_TRUE(waits.WouldDeadlock(&owners[2], &owners[0]));
  EXPECT_FALSE(waits.WouldDeadlock(&owners[2], &owners[3]));
  EXPECT_TRUE(waits.WouldDeadlock(&owners[3], &owners[3]));
  waits.Set(3, &owners[1], &owners[3]);  // another task of the same owner
  EXPECT_TRUE(waits.WouldDeadlock(&owners[3], &owners[0]));
  waits.Clear(2);
  EXPECT_FALSE(waits.WouldDeadlock(&owners[2], &owners[0]));
  EXPECT_TRUE(waits.WouldDeadlock(&owners[3], &owners[0]));
}

}  // namespace
}  // namespace hotpath::kernel
