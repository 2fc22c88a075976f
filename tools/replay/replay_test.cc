// Runs the replay program as its users do, on the recorded traces.

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace hotpath::replay {
namespace {

std::string Replay() {
  const char* path = getenv("REPLAY");
  return path == nullptr ? "tools/replay/replay" : path;
}

std::string TracePath(const std::string& name) { return absl::StrCat("tools/replay/traces/", name, ".strace.xz"); }

struct Outcome {
  int status = -1;
  std::string out, err;
};

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class ReplayTest : public testing::Test {
 protected:
  ReplayTest() : folder_(std::filesystem::path(testing::TempDir()) / absl::StrCat("replay_test.", getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~ReplayTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  // `input` is standard input; `environment` comes before the inherited one.
  Outcome Run(const std::vector<std::string>& arguments, const std::string& input = "",
              const std::vector<std::string>& environment = {}) {
    const std::string in = Write("in", input), out = folder_ / "out", err = folder_ / "err";
    std::string command;
    for (const std::string& setting : environment) absl::StrAppend(&command, setting, " ");
    absl::StrAppend(&command, "'", Replay(), "'");
    for (const std::string& argument : arguments) absl::StrAppend(&command, " '", argument, "'");
    absl::StrAppend(&command, " <", in, " >", out, " 2>", err);
    const int status = system(command.c_str());
    Outcome outcome;
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    outcome.out = Slurp(out);
    outcome.err = Slurp(err);
    return outcome;
  }

  const std::filesystem::path folder_;
};

struct Expected {
  const char* trace;
  size_t calls, tasks;
  const char* conformance;  // the counts of the report
  const char* given;
  const char* skipped;
};

class RecordedTraceTest : public ReplayTest, public testing::WithParamInterface<Expected> {};

TEST_P(RecordedTraceTest, ConformsWithTheseCounts) {
  const Expected& e = GetParam();
  const Outcome outcome = Run({TracePath(e.trace)});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err, "");
  for (const char* part : {e.conformance, e.given, e.skipped}) {
    EXPECT_TRUE(absl::StrContains(outcome.out, part)) << part << "\nis not in\n" << outcome.out;
  }
  EXPECT_FALSE(absl::StrContains(outcome.out, "not reached"));
}

INSTANTIATE_TEST_SUITE_P(
    All, RecordedTraceTest,
    testing::Values(
        Expected{"sqlite", 802, 1, "796 predicted (99.3 %), 518 values and 278 acks; 0 race-ok; 0 MISMATCH",
                 "1 given (0.1 %)", "5 skipped (0.6 %)"},
        Expected{"gcc", 3886, 9, "3,831 predicted (98.6 %), 3,266 values and 565 acks; 0 race-ok; 0 MISMATCH",
                 "7 given (0.2 %)", "48 skipped (1.2 %)"},
        Expected{"mk", 6937, 26, "6,776 predicted (97.7 %), 4,793 values and 1,983 acks; 0 race-ok; 0 MISMATCH",
                 "22 given (0.3 %)", "139 skipped (2.0 %)"},
        Expected{"tarz", 2910, 9, "2,839 predicted (97.6 %), 2,071 values and 768 acks; 0 race-ok; 0 MISMATCH",
                 "23 given (0.8 %)", "48 skipped (1.6 %)"},
        Expected{"py", 1481, 6, "1,405 predicted (94.9 %), 1,131 values and 274 acks; 0 race-ok; 0 MISMATCH",
                 "31 given (2.1 %)", "45 skipped (3.0 %)"},
        Expected{"shell", 5163, 48, "4,829 predicted (93.5 %), 2,851 values and 1,978 acks; 1 race-ok; 0 MISMATCH",
                 "73 given (1.4 %)", "260 skipped (5.0 %)"}),
    [](const auto& info) { return std::string(info.param.trace); });

TEST_F(ReplayTest, WithoutArgumentsItReplaysTheBundledTrace) {
  const Outcome outcome = Run({});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(absl::StartsWith(outcome.out, "tools/replay/traces/mk.strace.xz  6,937 calls  26 tasks")) << outcome.out;
  EXPECT_LE(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 24) << "one screen";
  for (absl::string_view line : absl::StrSplit(outcome.out, '\n')) EXPECT_LE(line.size(), 100u) << line;
  for (const char* part : {" calls/s", "p50 ", "p99 ", "p99.9 ", "allocations/call"}) {
    EXPECT_TRUE(absl::StrContains(outcome.out, part)) << part;
  }
}

TEST_F(ReplayTest, TheReportIsTheSameInEveryRunApartFromTheSpeed) {
  auto without_speed = [](const std::string& report) {
    std::vector<std::string> kept;
    bool speed = false;
    for (absl::string_view line : absl::StrSplit(report, '\n')) {
      speed = absl::StartsWith(line, "speed") || (speed && absl::StartsWith(line, " "));
      if (!speed) kept.emplace_back(line);
    }
    return absl::StrJoin(kept, "\n");
  };
  const std::vector<std::string> arguments = {"--mutate=fork-copies-offset", TracePath("shell"), TracePath("py")};
  const std::string first = without_speed(Run(arguments).out);
  EXPECT_TRUE(absl::StrContains(first, "MISMATCH 1/"));
  EXPECT_EQ(without_speed(Run(arguments).out), first);
}

TEST_F(ReplayTest, SeveralTracesEndWithATotal) {
  const Outcome outcome = Run({TracePath("sqlite"), TracePath("gcc")});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_TRUE(absl::StrContains(outcome.out, "sqlite.strace.xz  802 calls"));
  EXPECT_TRUE(absl::StrContains(outcome.out, "gcc.strace.xz  3,886 calls"));
  EXPECT_TRUE(absl::StrContains(outcome.out, "total of 2 traces  4,688 calls  10 tasks")) << outcome.out;
}

TEST_F(ReplayTest, StandardInputIsRead) {
  const Outcome outcome = Run({"-"}, "7 getpid() = 7\n");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(absl::StartsWith(outcome.out, "-  1 call  1 task  ")) << outcome.out;
}

TEST_F(ReplayTest, PathsAreRelativeToWhereBazelRunWasTyped) {
  Write("t.strace", "7 getpid() = 7\n");
  const Outcome outcome = Run({"t.strace"}, "", {"BUILD_WORKING_DIRECTORY=" + folder_.string()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST_F(ReplayTest, AMismatchIsStatusOneWithPlaceAndReason) {
  const std::string trace = Write("t.strace",
                                  "7 openat(AT_FDCWD, \"/a\", O_RDONLY) = 3\n"
                                  "7 openat(AT_FDCWD, \"/b\", O_RDONLY) = 3\n"
                                  "7 mkdir(\"/d\", 0777) = 0\n"
                                  "7 mkdir(\"/d\", 0777) = 0\n");
  const Outcome all = Run({trace});
  EXPECT_EQ(all.status, 1);
  EXPECT_TRUE(absl::StrContains(all.out, "MISMATCH 1/2  " + trace + ":2  pid 7->4  openat  class=fd")) << all.out;
  EXPECT_TRUE(absl::StrContains(all.out, "MISMATCH 2/2  " + trace + ":4")) << all.out;
  EXPECT_TRUE(absl::StrContains(all.out, "(/a r flags=0100000 offset=0) is still open; in the trace it was"))
      << all.out;
  EXPECT_TRUE(absl::StrContains(all.out, "open since line 1 (/a)")) << all.out;
  const Outcome first = Run({"--stop_on_mismatch", trace});
  EXPECT_EQ(first.status, 1);
  EXPECT_FALSE(absl::StrContains(first.out, ":4  "));
  EXPECT_TRUE(absl::StrContains(first.out, "2 not reached")) << first.out;
  const Outcome none = Run({"--max_mismatches=0", trace});
  EXPECT_EQ(none.status, 1);
  EXPECT_FALSE(absl::StrContains(none.out, "MISMATCH 1/")) << none.out;
}

TEST_F(ReplayTest, TheCommandOfAMismatchShowsTheDescriptorsBeforeIt) {
  const std::string trace = Write("t.strace",
                                  "7 openat(AT_FDCWD, \"/a\", O_RDONLY) = 3\n"
                                  "7 openat(AT_FDCWD, \"/b\", O_RDONLY) = 3\n");
  const Outcome outcome = Run({trace, "--until=2", "--dump_fds=7"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(absl::StrContains(outcome.out, "descriptors of pid 7\n")) << outcome.out;
  EXPECT_TRUE(absl::StrContains(outcome.out, "3 /a")) << outcome.out;
  EXPECT_FALSE(absl::StrContains(outcome.out, " /b")) << outcome.out;
}

struct Planted {
  const char* mutation;
  const char* trace;
};

class PlantedBugTest : public ReplayTest, public testing::WithParamInterface<Planted> {};

TEST_P(PlantedBugTest, IsFoundAndNamed) {
  const Outcome outcome =
      Run({absl::StrCat("--mutate=", GetParam().mutation), "--max_mismatches=3", TracePath(GetParam().trace)});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
  EXPECT_TRUE(absl::StrContains(outcome.out, absl::StrCat("  ", TracePath(GetParam().trace), ":"))) << outcome.out;
  EXPECT_TRUE(absl::StrContains(outcome.out, "\n  why        ")) << outcome.out;
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBugTest,
                         testing::Values(Planted{"next-fd-not-lowest", "mk"}, Planted{"cloexec-ignored", "mk"},
                                         Planted{"wait-does-not-reap", "mk"}, Planted{"dup2-keeps-cloexec", "shell"},
                                         Planted{"fork-copies-offset", "shell"}, Planted{"chdir-lost", "shell"},
                                         Planted{"fork-shares-table", "gcc"}, Planted{"trunc-ignored", "gcc"},
                                         Planted{"unlink-keeps-name", "sqlite"}, Planted{"rename-keeps-source", "py"},
                                         Planted{"clone-files-copied", "py"}),
                         [](const auto& info) {
                           std::string name = info.param.mutation;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_F(ReplayTest, AnIgnoredCloseOnExecIsExplainedByTheDescriptorThatStayedOpen) {
  const Outcome outcome = Run({"--mutate=cloexec-ignored", "--max_mismatches=1", TracePath("mk")});
  EXPECT_TRUE(absl::StrContains(outcome.out, "mk.strace.xz:300  ")) << outcome.out;
  EXPECT_TRUE(absl::StrContains(outcome.out, "in our kernel fd 3 (pipe:")) << outcome.out;
  EXPECT_TRUE(absl::StrContains(outcome.out, "by execve")) << outcome.out;
}

TEST_F(ReplayTest, BadInputIsStatusTwoWithFileAndLine) {
  struct Case {
    std::string name, text, message;
  };
  for (const Case& bad : std::vector<Case>{
           {"garbage", "7 getpid() = 7\nthis is no trace\n", ":2: "},
           {"empty", "", "empty"},
           {"argument", "7 getpid() = 7\n7 dup2(\"x\", 3) = 3\n", ":2: dup2: argument 1 is not an integer"},
           {"cut", "7 getpid() = 7\n7 openat(AT_FDCWD, \"/a", ":2: "},
       }) {
    const std::string path = Write(bad.name, bad.text);
    const Outcome outcome = Run({path});
    EXPECT_EQ(outcome.status, 2) << bad.name << outcome.out;
    EXPECT_TRUE(absl::StrContains(outcome.err, path)) << outcome.err;
    EXPECT_TRUE(absl::StrContains(outcome.err, bad.message)) << outcome.err;
  }
  const Outcome missing = Run({folder_ / "missing"});
  EXPECT_EQ(missing.status, 2);
  EXPECT_TRUE(absl::StrContains(missing.err, "missing")) << missing.err;
}

TEST_F(ReplayTest, BadUsageIsStatusTwoAndSaysWhatIsRight) {
  const Outcome mutation = Run({"--mutate=nonsense"});
  EXPECT_EQ(mutation.status, 2);
  EXPECT_TRUE(absl::StrContains(mutation.err, "nonsense is none of")) << mutation.err;
  EXPECT_TRUE(absl::StrContains(mutation.err, "next-fd-not-lowest")) << mutation.err;
  for (const char* argument : {"--frobnicate", "--until=soon", "--until", "--max_mismatches=-1"}) {
    const Outcome outcome = Run({argument});
    EXPECT_EQ(outcome.status, 2) << argument;
    EXPECT_TRUE(absl::StrContains(outcome.err, "usage: replay")) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_EQ(Run({"--until=2", "--dump_fds=99", TracePath("sqlite")}).status, 2);
  const Outcome help = Run({"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_TRUE(absl::StrContains(help.out, "usage: replay")) << help.out;
}

}  // namespace
}  // namespace hotpath::replay
