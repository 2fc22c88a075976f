#include "bench/base/run.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "bench/base/floors.h"
#include "bench/base/rows.h"
#include "gtest/gtest.h"

namespace hotpath::bench {
namespace {

RowResult RunOne(const Rows& rows) {
  const std::vector<RowResult> results = RunRows(rows, RunOptions::Smoke(), nullptr);
  EXPECT_EQ(results.size(), 1u);
  return results.at(0);
}

TEST(RunTest, MeasuresEveryContender) {
  Rows rows;
  rows.Add({.id = "x"})
      .Naive("one", [] { return [] {}; })
      .Ours("two", [] { return [](Worker& worker) { Keep(worker.Random()); }; })
      .NotInstalled("three");
  const RowResult row = RunOne(rows);
  ASSERT_EQ(row.contenders.size(), 3u);
  EXPECT_TRUE(row.Find("one")->Figure().has_value());
  EXPECT_TRUE(row.Find("two")->Figure().has_value());
  EXPECT_FALSE(row.Find("three")->Figure().has_value());
  EXPECT_FALSE(row.Find("three")->installed);
  EXPECT_EQ(row.First(Role::kOurs), row.Find("two"));
  EXPECT_EQ(row.clock, "window");
}

TEST(RunTest, ALostUpdateTakesTheFigureAway) {
  Rows rows;
  rows.Add({.id = "x"})
      .Naive("right", [] { return Ops([] {}).CountLost([](const Performed&) { return 0; }); })
      .Ours("wrong", [] { return Ops([] {}).CountLost([](const Performed& done) { return done.measured; }); });
  const RowResult row = RunOne(rows);
  EXPECT_TRUE(row.wrong());
  EXPECT_GT(row.Find("wrong")->lost, 0u);
  EXPECT_FALSE(row.Find("wrong")->Figure().has_value());
  EXPECT_TRUE(row.Find("right")->Figure().has_value());
}

TEST(RunTest, ATornReadTakesTheFigureAway) {
  Rows rows;
  rows.Add({.id = "x"}).Ours("torn", [] { return [](Worker& worker) { worker.Torn(); }; });
  const RowResult row = RunOne(rows);
  EXPECT_TRUE(row.wrong());
  EXPECT_FALSE(row.contenders[0].Figure().has_value());
}

TEST(RunTest, APeersDefectDoesNotMakeTheRowWrong) {
  Rows rows;
  rows.Add({.id = "x"}).Peer("torn", [] { return [](Worker& worker) { worker.Torn(); }; });
  const RowResult row = RunOne(rows);
  EXPECT_FALSE(row.wrong());
  EXPECT_FALSE(row.contenders[0].Figure().has_value());
}

TEST(RunTest, BackgroundThreadsRunButAreNotMeasured) {
  Rows rows;
  std::atomic<int> begun{0};
  std::atomic<uint64_t> background{0};
  rows.Add({.id = "x", .background = 1}).Ours("both", [&] {
    return Ops([](Worker& worker) { EXPECT_FALSE(worker.background); })
        .WithBackground([&](Worker& worker) {
          EXPECT_TRUE(worker.background);
          EXPECT_EQ(worker.index, 1);
          ++background;
        })
        .OnThread([&](Worker&) { ++begun; }, [](Worker&) {})
        .CountLost([&](const Performed& done) { return background - done.background; });
  });
  const RowResult row = RunOne(rows);
  EXPECT_FALSE(row.wrong());
  EXPECT_EQ(begun, 2);
  EXPECT_GT(background, 0u);
}

TEST(RunTest, AMakerRunsOncePerRoundUnlessTheRowSaysOtherwise) {
  for (const bool fresh : {true, false}) {
    int made = 0;
    Rows rows;
    rows.Add({.id = "x", .fresh = fresh}).Ours("counted", [&] {
      ++made;
      return [] {};
    });
    RunOptions options = RunOptions::Smoke();
    options.rounds = 3;
    EXPECT_EQ(RunRows(rows, options, nullptr).at(0).contenders.at(0).rounds.size(), 3u);
    EXPECT_EQ(made, fresh ? 3 : 1);
  }
}

TEST(RunTest, AnOperationKeepsItsStateFromWindowToWindow) {
  Rows rows;
  auto most = std::make_shared<uint64_t>(0);
  rows.Add({.id = "x"}).Ours("counts", [most] {
    return Ops([most, n = uint64_t{0}]() mutable { *most = ++n; }).CountLost([most](const Performed& done) {
      return done.measured - *most;
    });
  });
  EXPECT_FALSE(RunOne(rows).wrong());
}

TEST(RunTest, SamplesAreTakenAsTheyAre) {
  Rows rows;
  rows.Add({.id = "x", .unit = "allocations"})
      .Sample(Role::kOurs, "none", [] { return 0.0; })
      .Sample(Role::kNaive, "three", [] { return 3.0; })
      .Sample(Role::kPeer, "unknown", [] { return std::nullopt; });
  const RowResult row = RunOne(rows);
  EXPECT_EQ(row.clock, "sample");
  EXPECT_EQ(row.Find("three")->Figure()->median, 3);
  EXPECT_EQ(row.Find("none")->Figure()->median, 0);
  EXPECT_FALSE(row.Find("unknown")->Figure().has_value());
}

TEST(RunTest, LatenciesComeInOrder) {
  Rows rows;
  rows.Add({.id = "x", .latency = true}).Ours("random", [] { return [](Worker& worker) { Keep(worker.Random()); }; });
  const RowResult row = RunOne(rows);
  ASSERT_TRUE(row.contenders[0].latency.has_value());
  EXPECT_LE(row.contenders[0].latency->p50, row.contenders[0].latency->p99);
  EXPECT_LE(row.contenders[0].latency->p99, row.contenders[0].latency->p999);
}

TEST(RunTest, AFilterChoosesRows) {
  Rows rows;
  rows.Add({.id = "counter/add/t1"}).Ours("a", [] { return [] {}; });
  rows.Add({.id = "counter/sum/t1"}).Ours("a", [] { return [] {}; });
  RunOptions options = RunOptions::Smoke();
  options.filter = "add";
  ASSERT_EQ(RunRows(rows, options, nullptr).size(), 1u);
}

TEST(RunDeathTest, TwoRowsOfOneNameAreAMistake) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Rows rows;
  rows.Add({.id = "x"});
  rows.Add({.id = "x"});
  EXPECT_DEATH(RunRows(rows, RunOptions::Smoke(), nullptr), "two rows are called x");
}

TEST(JsonTest, SaysWhatWasMeasured) {
  RowResult row;
  row.options = {.id = "a/\"b\"\n", .optimisation = 2, .claim = "reads"};
  row.clock = "window";
  row.goals = {{"naive", true, 13}};
  ContenderResult ours{Role::kOurs, "ours"};
  ours.rounds = {1.5, std::nullopt};
  row.contenders = {ours};
  const std::string json = ToJson("x_bench", RunOptions::Quick(), {row}, {});
  EXPECT_NE(json.find("\"id\": \"a/\\\"b\\\"\\u000a\""), std::string::npos) << json;
  EXPECT_NE(json.find("\"rounds\": [1.5, null]"), std::string::npos) << json;
  EXPECT_NE(json.find("{\"against\": \"naive\", \"at_least\": true, \"ratio\": 13}"), std::string::npos) << json;
}

TEST(FloorsTest, EachRunsAndLosesNothing) {
  Rows rows;
  AddFloors(rows);
  std::set<std::string> seen;
  for (const RowResult& row : RunRows(rows, RunOptions::Smoke(), nullptr)) {
    EXPECT_FALSE(row.wrong()) << row.options.id;
    seen.insert(row.options.id);
  }
  EXPECT_TRUE(seen.contains("floor/rmw"));
  EXPECT_TRUE(seen.contains("floor/syscall"));
}

}  // namespace
}  // namespace hotpath::bench
