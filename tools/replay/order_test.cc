#include "tools/replay/order.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tools/replay/test_trace.h"

namespace hotpath::replay {
namespace {

// "close@2" for a call that takes effect at line 2; "+" marks a reservation, "<" the return of a releasing call.
std::vector<std::string> Order(const Trace& trace) {
  std::vector<std::string> out;
  for (const Step& step : Linearise(trace)) {
    const char* mark = step.phase == Step::Phase::kReserve ? "+" : step.phase == Step::Phase::kReturn ? "<" : "";
    out.push_back(mark + trace.records[step.record].name + "@" + std::to_string(step.line));
  }
  return out;
}

TEST(OrderTest, AReleasingCallTakesEffectWhenItIsEnteredAndAnyOtherWhenItReturns) {
  const Trace trace = Parsed(R"(
1 read(3,  <unfinished ...>
2 write(4, "x", 1 <unfinished ...>
1 <... read resumed>"x", 10) = 1
2 <... write resumed>) = 1
)");
  EXPECT_EQ(Order(trace), (std::vector<std::string>{"write@2", "read@3", "<write@4"}));
}

TEST(OrderTest, AcceptReservesItsDescriptorWhenItIsEntered) {
  const Trace trace = Parsed(R"(
1 accept4(3,  <unfinished ...>
2 dup(0) = 5
1 <... accept4 resumed>NULL, NULL, 0) = 4
1 accept(3, NULL, NULL) = 6
)");
  EXPECT_EQ(Order(trace), (std::vector<std::string>{"+accept4@1", "dup@2", "accept4@3", "accept@4"}));
}

TEST(OrderTest, AForkComesBeforeTheFirstCallOfItsChildThoughItReturnsLater) {
  const Trace trace = Parsed(R"(
1 vfork( <unfinished ...>
2 execve("/bin/true", ["true"], 0x1 /* 0 vars */ <unfinished ...>
1 <... vfork resumed>) = 2
2 <... execve resumed>) = 0
)");
  EXPECT_EQ(Order(trace), (std::vector<std::string>{"vfork@1", "execve@2", "<vfork@3", "<execve@4"}));
}

TEST(OrderTest, SignalsAndDeathsStayWhereTheyAre) {
  const Trace trace = Parsed(R"(
1 getpid() = 1
1 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=9, si_uid=0} ---
1 +++ killed by SIGTERM +++
)");
  EXPECT_EQ(Order(trace), (std::vector<std::string>{"getpid@1", "SIGTERM@2", "SIGTERM@3"}));
}

}  // namespace
}  // namespace hotpath::replay
