#include "tools/replay/report.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace hotpath::replay {
namespace {

ReplayResult Sample() {
  ReplayResult r;
  r.tasks = 2;
  r.files = 1;
  auto add = [&](const char* call, Verdict verdict, int times) {
    for (int i = 0; i < times; ++i) {
      r.all.Add(verdict);
      r.by_call[call].Add(verdict);
      ++r.calls;
      r.latency.Add(100);
    }
  };
  add("openat", Verdict::kPredicted, 1200);
  add("close", Verdict::kAck, 34);
  add("read", Verdict::kRaceOk, 1);
  add("stat", Verdict::kMismatch, 2);
  add("read", Verdict::kGiven, 5);
  add("epoll_wait", Verdict::kUnsupported, 7);
  add("futex", Verdict::kSkipped, 11);
  r.mismatch_count = 3;
  r.first_touches = 40;
  r.allocations = 630;
  return r;
}

TEST(ReportTest, EveryNumberIsThereOnOneScreen) {
  const std::string report = FormatReport("x.strace", Sample(), false);
  EXPECT_TRUE(absl::StartsWith(report, "x.strace  1,260 calls  2 tasks  oracle Linux (strace)\n")) << report;
  for (const char* part :
       {"1,234 predicted (97.9 %), 1,200 values and 34 acks; 1 race-ok; 3 MISMATCH", "12 given (1.0 %): read 5\n",
        "of the given 7 by calls that our kernel lacks: epoll_wait 7\n", "11 skipped (0.9 %): futex 11\n",
        "1 file before the trace; evidence for it: 40 of the predicted calls", "10,000,000 calls/s",
        "p50 100 ns, p99 100 ns, p99.9 100 ns", "0.50 allocations/call"}) {
    EXPECT_TRUE(absl::StrContains(report, part)) << part << "\nis not in\n" << report;
  }
  EXPECT_LE(std::count(report.begin(), report.end(), '\n'), 24);
}

TEST(ReportTest, LinesStayWithinAHundredColumnsAndNoNameIsLost) {
  ReplayResult r = Sample();
  for (int i = 0; i < 60; ++i) {
    r.by_call[absl::StrCat("call_number_", i)].Add(Verdict::kSkipped);
    r.all.Add(Verdict::kSkipped);
    ++r.calls;
  }
  const std::string report = FormatReport("x.strace", r, false);
  for (absl::string_view line : absl::StrSplit(report, '\n')) EXPECT_LE(line.size(), 100u) << line;
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(absl::StrContains(report, absl::StrCat("call_number_", i, " 1"))) << i;
}

TEST(ReportTest, AnEmptyResultDividesByNothing) {
  const std::string report = FormatReport("x", ReplayResult(), true);
  EXPECT_TRUE(absl::StrContains(report, "0 predicted (0.0 %)")) << report;
  EXPECT_TRUE(absl::StrContains(report, "0 calls/s")) << report;
  EXPECT_TRUE(absl::StrContains(report, "0.00 allocations/call")) << report;
}

TEST(ReportTest, WhatWasNotReachedIsSaid) {
  ReplayResult r = Sample();
  r.not_reached = 17;
  EXPECT_TRUE(absl::StrContains(FormatReport("x", r, false), "17 not reached"));
  EXPECT_FALSE(absl::StrContains(FormatReport("x", Sample(), false), "not reached"));
}

TEST(ReportTest, TheTableOfCallsComesOnDemand) {
  EXPECT_FALSE(absl::StrContains(FormatReport("x", Sample(), false), "predicted      acks"));
  const std::string report = FormatReport("x", Sample(), true);
  EXPECT_TRUE(absl::StrContains(report, "openat                    1200         0         0         0         0"))
      << report;
}

TEST(ReportTest, ResultsAddUp) {
  ReplayResult total;
  total.Add(Sample());
  total.Add(Sample());
  EXPECT_EQ(total.calls, 2520u);
  EXPECT_EQ(total.all.predicted, 2468u);
  EXPECT_EQ(total.by_call.at("read").given, 10u);
  EXPECT_EQ(total.mismatch_count, 6u);
  EXPECT_EQ(total.latency.count(), 2520u);
  EXPECT_EQ(total.allocations, 1260u);
}

TEST(ReportTest, AMismatchSaysWhereWhatWhyAndHowToLookCloser) {
  Mismatch m;
  m.line = 1152;
  m.at = 1153;
  m.pid = 6887;
  m.ours = 14;
  m.call = "openat";
  m.what = "fd";
  m.recorded = "5";
  m.kernel = "6";
  m.why = "in our kernel fd 5 (/dev/urandom) is still open; in the trace it was closed at line 1151";
  EXPECT_EQ(FormatMismatch("git.strace", m, 1, 3),
            "MISMATCH 1/3  git.strace:1152  pid 6887->14  openat  class=fd\n"
            "  recorded = 5    kernel = 6\n"
            "  why        in our kernel fd 5 (/dev/urandom) is still open; in the trace it was closed at line\n"
            "             1151\n"
            "  replay     replay git.strace --until=1153 --dump_fds=6887\n");
}

}  // namespace
}  // namespace hotpath::replay
