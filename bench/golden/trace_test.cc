#include "bench/golden/trace.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "gtest/gtest.h"

namespace hotpath::bench {
namespace {

Kind Of(std::vector<uint8_t> code) { return Classify(code); }

TEST(ClassifyTest, KnowsWhatLocks) {
  EXPECT_EQ(Of({0xf0, 0x48, 0x0f, 0xc1, 0x07}), Kind::kRmw);  // lock xadd %rax,(%rdi)
  EXPECT_EQ(Of({0xf0, 0x0f, 0xb1, 0x37}), Kind::kRmw);        // lock cmpxchg %esi,(%rdi)
  EXPECT_EQ(Of({0x66, 0xf0, 0x0f, 0xc1, 0x07}), Kind::kRmw);  // lock xadd %ax,(%rdi)
  EXPECT_EQ(Of({0x48, 0x87, 0x07}), Kind::kRmw);              // xchg %rax,(%rdi)
  EXPECT_EQ(Of({0x86, 0x07}), Kind::kRmw);                    // xchg %al,(%rdi)
  EXPECT_EQ(Of({0x64, 0x48, 0x87, 0x04, 0x25}), Kind::kRmw);  // xchg %rax,%fs:...
}
TEST(ClassifyTest, KnowsWhatDoesNot) {
  EXPECT_EQ(Of({0x48, 0x87, 0xc7}), Kind::kPlain);        // xchg %rax,%rdi
  EXPECT_EQ(Of({0x48, 0x0f, 0xc1, 0xf8}), Kind::kPlain);  // xadd between registers
  EXPECT_EQ(Of({0x90}), Kind::kPlain);                    // nop
  EXPECT_EQ(Of({0xf3, 0x90}), Kind::kPlain);              // pause
  EXPECT_EQ(Of({0x48, 0x89, 0x07}), Kind::kPlain);        // mov
  EXPECT_EQ(Of({0xc3}), Kind::kPlain);                    // ret
  EXPECT_EQ(Of({}), Kind::kPlain);
}
TEST(ClassifyTest, KnowsFencesFromTheirNeighbours) {
  EXPECT_EQ(Of({0x0f, 0xae, 0xf0}), Kind::kFence);  // mfence
  EXPECT_EQ(Of({0x0f, 0xae, 0xe8}), Kind::kFence);  // lfence
  EXPECT_EQ(Of({0x0f, 0xae, 0xf8}), Kind::kFence);  // sfence
  EXPECT_EQ(Of({0x0f, 0xae, 0x38}), Kind::kPlain);  // clflush (%rax)
  EXPECT_EQ(Of({0x0f, 0xae, 0x10}), Kind::kPlain);  // ldmxcsr (%rax)
}
TEST(ClassifyTest, KnowsCallsAndSystemCalls) {
  EXPECT_EQ(Of({0xe8, 0, 0, 0, 0}), Kind::kCall);
  EXPECT_EQ(Of({0xff, 0x15, 0, 0, 0, 0}), Kind::kCall);   // call *(%rip)
  EXPECT_EQ(Of({0x41, 0xff, 0xd0}), Kind::kCall);         // call *%r8
  EXPECT_EQ(Of({0xff, 0x25, 0, 0, 0, 0}), Kind::kPlain);  // jmp *(%rip)
  EXPECT_EQ(Of({0x0f, 0x05}), Kind::kSyscall);
  EXPECT_EQ(Of({0x0f, 0x0b}), Kind::kPlain);  // ud2
}

#define HOTPATH_NEEDS_STEPS() \
  if (!CanTrace()) GTEST_SKIP() << "single steps are not allowed here"

Counts TraceOf(auto path) {
  GoldenPaths paths;
  paths.Add("path", std::move(path));
  return Trace(paths.all().at(0), {});
}

TEST(TraceTest, CountsTheReadModifyWritesThatAreExecuted) {
  HOTPATH_NEEDS_STEPS();
  auto n = std::make_shared<std::atomic<uint64_t>>(0);
  const Counts counts = TraceOf([n] {
    n->fetch_add(1, std::memory_order::relaxed);
    if (n->exchange(7) == 0) n->fetch_add(1);  // not executed
    std::atomic_thread_fence(std::memory_order::seq_cst);
  });
  EXPECT_EQ(counts.rmws, 2u);
  EXPECT_EQ(counts.fences, 1u);
  EXPECT_EQ(counts.syscalls, 0u);
  EXPECT_EQ(counts.allocations, 0u);
}

TEST(TraceTest, CountsAllocations) {
  HOTPATH_NEEDS_STEPS();
  EXPECT_EQ(TraceOf([] { Keep(std::make_unique<int>(1)); }).allocations, 1u);
}

TEST(TraceTest, CountsSystemCalls) {
  HOTPATH_NEEDS_STEPS();
  EXPECT_EQ(TraceOf([] { Keep(getppid()); }).syscalls, 1u);
}

[[gnu::noinline]] void Nine() {
#if defined(__x86_64__)
  asm volatile("nop; nop; nop; nop; nop; nop; nop; nop");
#endif
}

TEST(TraceTest, CountsInstructionsOfOwnFunctionsOnlyAndNamesTheOthers) {
  HOTPATH_NEEDS_STEPS();
  const GoldenPath path{"nine", [](void*) { Nine(); }, nullptr, nullptr};
  const Counts outside = Trace(path, {});
  EXPECT_EQ(outside.instructions, 0u);
  EXPECT_TRUE(outside.calls.empty());
  const Counts inside = Trace(path, {"_ZN7hotpath5bench12_GLOBAL__N_14NineEv"});
  EXPECT_GE(inside.instructions, 9u);
}

TEST(TraceTest, IsTheSameEveryTime) {
  HOTPATH_NEEDS_STEPS();
  auto n = std::make_shared<std::atomic<uint64_t>>(0);
  const auto path = [n] { n->fetch_add(1); };
  const std::string first = ToLine("x", TraceOf(path));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ToLine("x", TraceOf(path)), first);
}

TEST(LineTest, SaysEverything) {
  Counts counts{.instructions = 12, .rmws = 1, .fences = 2, .syscalls = 3, .allocations = 4, .calls = {}};
  EXPECT_EQ(ToLine("x", counts), "x: 12 instructions, 1 rmw, 2 fences, 3 syscalls, 4 allocations, no calls");
  counts.calls["memcpy"] = 2;
  EXPECT_EQ(ToLine("x", counts), "x: 12 instructions, 1 rmw, 2 fences, 3 syscalls, 4 allocations, calls memcpy x2");
}

}  // namespace
}  // namespace hotpath::bench
