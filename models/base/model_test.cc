#include "models/base/model.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <initializer_list>
#include <iostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/check.h"

namespace hotpath::model {
namespace {

using std::memory_order;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kThisFile = "models/base/model_test.cc";

// Needs both of its orders.
struct Handover : Model<Handover, 2> {
  RelacySync::Var<int> data{0};
  RelacySync::Atomic<bool> ready{false};
  void Send() {
    data.Write(1);
    ready.store(true, memory_order::release);
  }
  void Receive() {
    if (ready.load(memory_order::acquire)) HOTPATH_CHECK(data.Read() == 1);
  }
  void thread(unsigned id) { id == 0 ? Send() : Receive(); }
};

// Does not need its order.
struct Counter : Model<Counter, 2> {
  RelacySync::Atomic<int> count{0};
  void Count() { count.fetch_add(1, memory_order::acquire); }
  void thread(unsigned) { Count(); }
};

struct Broken : Model<Broken, 2> {
  RelacySync::Var<int> data{0};
  void thread(unsigned) { data.Write(1); }
};

struct Result {
  int status;
  std::string output;
};

// What Main says, in a process of its own, with these survivors.
Result RunMain(std::initializer_list<ModelEntry> models, std::vector<std::string> arguments,
               const std::string& survivors = "") {
  const std::string path = testing::TempDir() + "/survivors.txt";
  std::ofstream(path) << survivors;
  arguments.insert(arguments.begin(), {"model_test", "--survivors=" + path});
  std::array<int, 2> pipe_ends;
  if (pipe(pipe_ends.data()) != 0) return {-1, "no pipe"};
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], STDOUT_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int status = Main(static_cast<int>(arguments.size()), argv.data(), models, {kThisFile});
    std::cout.flush();
    _exit(status);
  }
  close(pipe_ends[1]);
  Result result{-1, ""};
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = read(pipe_ends[0], buffer.data(), buffer.size())) > 0;) {
    result.output.append(buffer.data(), static_cast<size_t>(n));
  }
  close(pipe_ends[0]);
  int status = 0;
  if (waitpid(child, &status, 0) == child && WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

const std::string kUnneeded = std::string(kThisFile) + " Count rmw 1 acquire->relaxed";
const std::string kNeeded = std::string(kThisFile) + " Send store 1 release->relaxed";
const std::string kWhy = ":\n  Planted: nothing is read behind it.\n";

TEST(MainTest, ModelsThatHoldAndNeedTheirOrdersPass) {
  const Result result = RunMain({HOTPATH_MODEL(Handover)}, {});
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("2 mutants of memory orders: 2 killed, 0 survive with an argument, 0 survive"));
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("full"), HasSubstr("exhausted"), HasSubstr("bound 2"), HasSubstr("random")));
}

TEST(MainTest, ABrokenModelFailsAndShowsTheExecution) {
  const Result result = RunMain({HOTPATH_MODEL(Broken), HOTPATH_MODEL(Handover)}, {});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.output, AllOf(HasSubstr("execution history"), HasSubstr("models/base/model_test.cc("),
                                   HasSubstr("data race"), Not(HasSubstr("mutants"))));
}

TEST(MainTest, ASurvivorFailsUnlessItIsArguedFor) {
  const Result alone = RunMain({HOTPATH_MODEL(Counter), HOTPATH_MODEL(Handover)}, {});
  EXPECT_EQ(alone.status, 1);
  EXPECT_THAT(alone.output, AllOf(HasSubstr("SURVIVED"), HasSubstr(kUnneeded)));
  const Result argued = RunMain({HOTPATH_MODEL(Counter), HOTPATH_MODEL(Handover)}, {}, kUnneeded + kWhy);
  EXPECT_EQ(argued.status, 0) << argued.output;
  EXPECT_THAT(argued.output, HasSubstr("3 mutants of memory orders: 2 killed, 1 survive with an argument, 0 survive"));
}

TEST(MainTest, AListedSurvivorThatDiesOrIsNoMoreFails) {
  const Result dies = RunMain({HOTPATH_MODEL(Handover)}, {}, kNeeded + kWhy);
  EXPECT_EQ(dies.status, 1);
  EXPECT_THAT(dies.output, AllOf(HasSubstr("KILLED, although it is listed"), HasSubstr(kNeeded)));
  const Result gone = RunMain({HOTPATH_MODEL(Handover)}, {}, kUnneeded + kWhy);
  EXPECT_EQ(gone.status, 1);
  EXPECT_THAT(gone.output, HasSubstr(kUnneeded + ": there is no such mutant"));
  const Result elsewhere = RunMain({HOTPATH_MODEL(Handover)}, {}, "core/x.h Count rmw 1 acquire->relaxed" + kWhy);
  EXPECT_EQ(elsewhere.status, 0) << "the survivors of other files are not this binary's business";
}

TEST(MainTest, BadFlagsAndFilesAreNamed) {
  const Result no_file = RunMain({HOTPATH_MODEL(Handover)}, {"--survivors=/no/such/file"});
  EXPECT_EQ(no_file.status, 2);
  EXPECT_THAT(no_file.output, HasSubstr("/no/such/file: cannot be read"));
  const Result bad_file = RunMain({HOTPATH_MODEL(Handover)}, {}, "nonsense\n");
  EXPECT_EQ(bad_file.status, 2);
  EXPECT_THAT(bad_file.output, HasSubstr("survivors.txt:1: expected"));
  const Result no_model = RunMain({HOTPATH_MODEL(Handover)}, {"--model=Nobody"});
  EXPECT_EQ(no_model.status, 2);
  EXPECT_THAT(no_model.output, HasSubstr("--model=Nobody: there is no such model"));
  const Result no_mutant = RunMain({HOTPATH_MODEL(Handover)}, {"--explain=nothing"});
  EXPECT_EQ(no_mutant.status, 2);
  EXPECT_THAT(no_mutant.output, AllOf(HasSubstr("--explain=nothing: there is no such mutant"), HasSubstr(kNeeded)));
}

TEST(MainTest, ADeathIsExplained) {
  const Result result = RunMain({HOTPATH_MODEL(Handover)}, {"--explain=" + kNeeded});
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("execution history"), HasSubstr(kNeeded + ": killed by Handover after ")));
}

TEST(MainTest, JsonSaysItAll) {
  const Result result =
      RunMain({HOTPATH_MODEL(Counter), HOTPATH_MODEL(Handover)}, {"--json", "--mutate_only"}, kUnneeded + kWhy);
  EXPECT_EQ(result.status, 0) << result.output;
  for (const char* part :
       {"{\"type\": \"run\", \"binary\": \"model_test\", \"model\": \"Counter\", \"search\": \"random\", \"verdict\": "
        "\"holds\", \"schedules\": 3000, ",
        "{\"type\": \"site\", \"binary\": \"model_test\", \"file\": \"models/base/model_test.cc\", ",
        "\"function\": \"Receive\", \"kind\": \"load\", \"swept\": true}",
        "\"change\": \"release->relaxed\", \"killed\": true, \"model\": \"Handover\", ",
        "\"killed\": false, \"model\": \"\", \"schedules\": 0, \"reason\": \"\", \"argument\": \"Planted: nothing is "
        "read behind it.\"}"}) {
    EXPECT_THAT(result.output, HasSubstr(part));
  }
}

}  // namespace
}  // namespace hotpath::model
