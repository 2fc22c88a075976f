#include "stress/base/linearizability.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/rng.h"
#include "stress/base/specifications.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

using std::memory_order;
using testing::HasSubstr;

// ---- Against an oracle that tries every order ----

template <class Spec>
using History = std::vector<Operation<Spec>>;

// Operations are put in order one by one; an operation may come next if none that is left returned before it began.
template <class Spec>
bool SomeOrderExplains(const History<Spec>& history, std::vector<bool>& taken,
                       const std::map<uint64_t, typename Spec::State>& states) {
  bool all = true;
  for (size_t i = 0; i < history.size(); ++i) all &= taken[i] || history[i].returned == kPending;
  if (all) return true;
  for (size_t i = 0; i < history.size(); ++i) {
    if (taken[i]) continue;
    const Operation<Spec>& operation = history[i];
    bool too_early = false;
    for (size_t j = 0; j < history.size(); ++j) too_early |= !taken[j] && history[j].returned < operation.invoked;
    auto next = states;
    if (too_early || !Spec::Apply(next[Spec::Key(operation.call)], operation.call,
                                  operation.returned == kPending ? nullptr : &operation.result)) {
      continue;
    }
    taken[i] = true;
    if (SomeOrderExplains(history, taken, next)) return true;
    taken[i] = false;
  }
  return false;
}

// Small worlds, so that results agree by chance often enough.
void Draw(Rng& rng, CounterSpec::Call& call, CounterSpec::Result& result) {
  call.delta = rng.Below(2);
  result = rng.Below(3);
}
void Draw(Rng& rng, RegisterSpec::Call& call, RegisterSpec::Result& result) {
  call = {static_cast<RegisterSpec::Kind>(rng.Below(3)), rng.Below(2), rng.Below(3), rng.Below(3)};
  result = call.kind == RegisterSpec::kWrite ? 0 : rng.Below(call.kind == RegisterSpec::kRead ? 3 : 2);
}
void Draw(Rng& rng, MapSpec::Call& call, MapSpec::Result& result) {
  call = {static_cast<MapSpec::Kind>(rng.Below(4)), rng.Below(2), rng.Below(2)};
  result = rng.Below(2);
  if (call.kind == MapSpec::kFind && rng.OneIn(2)) result.reset();
}
void Draw(Rng& rng, FdTableSpec<2>::Call& call, FdTableSpec<2>::Result& result) {
  using Spec = FdTableSpec<2>;
  call = {static_cast<Spec::Kind>(rng.Below(Spec::kVisit + 1)), rng.Below(2), 1 + rng.Below(2), rng.OneIn(2)};
  switch (call.kind) {
    case Spec::kInsert:
    case Spec::kInsertAt:
      result = rng.Below(call.kind == Spec::kInsert ? 2 : 3);
      if (rng.OneIn(8)) result = Spec::kRefused;
      break;
    case Spec::kRemove:
      if (rng.OneIn(2))
        result = {1 + rng.Below(2), rng.OneIn(2), 1 + rng.Below(2)};
      else
        result = Spec::kRefused;
      break;
    case Spec::kGetFlags:
    case Spec::kSetFlags:
      result =
          rng.OneIn(2) ? Spec::Result(Spec::kRefused) : Spec::Result(0, call.kind == Spec::kGetFlags && rng.OneIn(2));
      break;
    case Spec::kGeneration:
      result = {0, false, rng.Below(3)};
      break;
    case Spec::kSetLimit:
      break;
    case Spec::kVisit:
      if (rng.OneIn(2)) result = Spec::Digest(call.fd, call.value, call.close_on_exec);
      break;
    case Spec::kCloseOnExec:
      if (rng.OneIn(2)) call.fd = 0;
      [[fallthrough]];
    default:
      result = rng.Below(3);
  }
}
void Draw(Rng& rng, QueueSpec<2>::Call& call, QueueSpec<2>::Result& result) {
  using Spec = QueueSpec<2>;
  call = {static_cast<Spec::Kind>(rng.Below(2)), rng.Below(2)};
  if (!rng.OneIn(4)) result = call.kind == Spec::kPush ? 1 : rng.Below(2);
}

template <class Spec>
struct OracleTest : testing::Test {};
using Specs = testing::Types<CounterSpec, RegisterSpec, MapSpec, FdTableSpec<2>, QueueSpec<2>>;
TYPED_TEST_SUITE(OracleTest, Specs);

TYPED_TEST(OracleTest, EverySmallHistoryGetsTheVerdictOfTryingAllOrders) {
  Rng rng(SeedFromEnvironment());
  int explained = 0, unexplained = 0;
  for (int i = 0; i < 20'000; ++i) {
    History<TypeParam> history(1 + rng.Below(6));
    for (Operation<TypeParam>& operation : history) {
      Draw(rng, operation.call, operation.result);
      operation.invoked = rng.Below(10);
      operation.returned = rng.OneIn(8) ? kPending : operation.invoked + rng.Below(6);  // may be equal times
    }
    std::vector<bool> taken(history.size());
    const bool expected = SomeOrderExplains<TypeParam>(history, taken, {});
    ++(expected ? explained : unexplained);
    const LinearizabilityReport report = CheckLinearizable(history);
    ASSERT_EQ(report.verdict, expected ? Linearizable::kYes : Linearizable::kNo)
        << report.text << "HOTPATH_SEED=" << SeedFromEnvironment() << ", history " << i;
    ASSERT_EQ(report.text.empty(), expected);
  }
  EXPECT_GT(explained, 1'000);
  EXPECT_GT(unexplained, 1'000);
}

// ---- Long histories ----

// A history of a correct object in which `threads` operations are always under way. Their effects are in the order of
// their results, at a random time between invocation and return.
template <class Spec, class Draw>
History<Spec> Simulate(uint32_t threads, size_t operations, Rng& rng, Draw draw) {
  typename Spec::State state{};
  History<Spec> history(operations);
  std::vector<uint64_t> free_at(threads, 0);
  for (size_t i = 0; i < operations; ++i) {
    const uint64_t effect = 100 * (i + 1);
    const auto earliest = std::min_element(free_at.begin(), free_at.end());
    history[i].thread = static_cast<uint32_t>(earliest - free_at.begin());
    history[i].call = draw(rng);
    history[i].result = draw.Perform(state, history[i].call);
    history[i].invoked = std::min(*earliest + 1, effect);
    history[i].returned = effect + rng.Below(uint64_t{100} * threads);
    *earliest = history[i].returned;
  }
  return history;
}

struct DrawCounter {
  CounterSpec::Call operator()(Rng&) const { return {1}; }
  static uint64_t Perform(uint64_t& state, const CounterSpec::Call&) { return state++; }
};
struct DrawQueue {
  using Spec = QueueSpec<>;
  Spec::Call operator()(Rng& rng) { return {static_cast<Spec::Kind>(rng.Below(2)), ++last}; }
  Spec::Result Perform(Spec::State& state, const Spec::Call& call) const {
    Spec::Result result = 1;
    if (call.kind == Spec::kPush) {
      state.push_back(call.value);
    } else if (state.empty()) {
      result.reset();
    } else {
      result = state.front();
      state.pop_front();
    }
    return result;
  }
  uint64_t last = 0;
};

TEST(LinearizabilityTest, LongHistoriesOfManyThreadsAreCheckedAndOneWrongResultIsFound) {
  Rng rng(SeedFromEnvironment());
  for (const uint32_t threads : {1u, 2u, 3u, 4u}) {
    History<CounterSpec> counter = Simulate<CounterSpec>(threads, 2'000, rng, DrawCounter());
    EXPECT_EQ(CheckLinearizable(counter).verdict, Linearizable::kYes);
    counter[rng.Below(2'000)].result = 2'000;  // a value that nobody can have left
    EXPECT_EQ(CheckLinearizable(counter).verdict, Linearizable::kNo);

    History<QueueSpec<>> queue = Simulate<QueueSpec<>>(threads, 300, rng, DrawQueue());
    EXPECT_EQ(CheckLinearizable(queue).verdict, Linearizable::kYes);
    if (threads > 2) continue;  // to find out that no order exists takes exponentially long
    for (size_t i = 150;; ++i) {
      QueueSpec<>::Result& result = queue.at(i).result;
      if (queue[i].call.kind != QueueSpec<>::kPop || !result.has_value()) continue;
      result = *result + 1;  // another value comes out
      break;
    }
    EXPECT_EQ(CheckLinearizable(queue).verdict, Linearizable::kNo);
  }
}

TEST(LinearizabilityTest, GivingUpIsUnknownAndNeverYes) {
  Rng rng(1);
  const History<CounterSpec> history = Simulate<CounterSpec>(4, 2'000, rng, DrawCounter());
  const LinearizabilityReport report = CheckLinearizable(history, 100);
  EXPECT_EQ(report.verdict, Linearizable::kUnknown);
  EXPECT_THAT(report.text, HasSubstr("gave up after 100 steps"));
}

TEST(LinearizabilityTest, AViolationOfOneKeyIsNotHiddenByAnUnknownOfAnother) {
  History<RegisterSpec> history;
  for (uint64_t i = 0; i < 100; ++i) {  // key 0: too many concurrent writes for the budget
    history.push_back({.call = {RegisterSpec::kWrite, 0, i}, .invoked = 1, .returned = 2});
  }
  history.push_back({.call = {RegisterSpec::kRead, 0}, .result = 1'000, .invoked = 3, .returned = 4});
  history.push_back({.call = {RegisterSpec::kRead, 7}, .result = 1, .invoked = 1, .returned = 2});
  const LinearizabilityReport report = CheckLinearizable(history, 10'000);
  EXPECT_EQ(report.verdict, Linearizable::kNo);
  EXPECT_THAT(report.text, HasSubstr("key 7: not linearizable"));
}

TEST(LinearizabilityTest, AReportNamesWhatCannotBeExplained) {
  const History<MapSpec> history = {
      {.call = {MapSpec::kInsert, 5, 50}, .result = 1, .invoked = 1'000, .returned = 1'010, .thread = 0},
      {.call = {MapSpec::kErase, 5}, .result = 1, .invoked = 1'020, .returned = 1'030, .thread = 1},
      {.call = {MapSpec::kFind, 5}, .result = 50, .invoked = 1'040, .returned = 1'050, .thread = 2},
      {.call = {MapSpec::kAssign, 5, 51}, .invoked = 1'045, .thread = 3},
  };
  const LinearizabilityReport report = CheckLinearizable(history);
  EXPECT_EQ(report.verdict, Linearizable::kNo);
  EXPECT_EQ(report.text,
            "key 5: not linearizable: 3 of 4 operations can be put in order:\n"
            "  [0, 10] thread 0: insert(5, 50) -> 1\n"
            "  [20, 30] thread 1: erase(5) -> 1\n"
            "  [45, pending] thread 3: assign(5, 51)\n"
            "and then none of these can be next:\n"
            "  [40, 50] thread 2: find(5) -> 50\n");
}

// Two descriptors that close on exec and one that does not; `met` comes while they are closed, in two steps.
Linearizable WhileClosing(const History<FdTableSpec<4>>& met) {
  using Spec = FdTableSpec<4>;
  History<Spec> history = {
      {.call = {Spec::kInsert, 0, 10, true}, .result = 0, .invoked = 1, .returned = 2},
      {.call = {Spec::kInsert, 0, 11}, .result = 1, .invoked = 3, .returned = 4},
      {.call = {Spec::kInsertAt, 2, 12, true}, .result = 0, .invoked = 5, .returned = 6},
      {.call = {Spec::kCloseOnExec, 0, 7}, .result = 2, .invoked = 10, .returned = 30},
      {.call = {Spec::kCloseOnExec, 1, 7}, .result = 2, .invoked = 10, .returned = 30},
  };
  history.insert(history.end(), met.begin(), met.end());
  return CheckLinearizable(history).verdict;
}

TEST(FdTableSpecTest, GetSeesACloseOnExecCloseOneByOneAndAllElseAtOnce) {
  using Spec = FdTableSpec<4>;
  const auto get = [](uint64_t fd, uint64_t value, uint64_t when) {
    return Operation<Spec>{.call = {Spec::kGet, fd}, .result = value, .invoked = when, .returned = when};
  };
  const auto size = [](uint64_t value, uint64_t when) {
    return Operation<Spec>{.call = {Spec::kSize}, .result = value, .invoked = when, .returned = when};
  };
  EXPECT_EQ(WhileClosing({}), Linearizable::kYes);
  EXPECT_EQ(WhileClosing({get(0, 0, 20), get(2, 12, 21), get(1, 11, 22)}), Linearizable::kYes);
  EXPECT_EQ(WhileClosing({get(2, 0, 20), get(0, 10, 21)}), Linearizable::kNo) << "lowest first";
  EXPECT_EQ(WhileClosing({get(2, 12, 31)}), Linearizable::kNo) << "it has returned";
  EXPECT_EQ(WhileClosing({get(1, 0, 20)}), Linearizable::kNo) << "that one stays";
  EXPECT_EQ(WhileClosing({size(3, 20), size(1, 21)}), Linearizable::kYes);
  EXPECT_EQ(WhileClosing({size(2, 20)}), Linearizable::kNo) << "half of it";
  EXPECT_EQ(WhileClosing({get(0, 0, 20), size(3, 21)}), Linearizable::kNo) << "amid it";
  EXPECT_EQ(WhileClosing({get(2, 0, 20), size(1, 21)}), Linearizable::kYes);
}

TEST(FdTableSpecTest, AGenerationIsOneOpeningsOnly) {
  using Spec = FdTableSpec<4>;
  History<Spec> history = {
      {.call = {Spec::kInsert, 0, 10}, .result = 0, .invoked = 1, .returned = 2},
      {.call = {Spec::kGeneration, 0}, .result = {0, false, 5}, .invoked = 3, .returned = 4},
      {.call = {Spec::kRemove, 0}, .result = {10, false, 5}, .invoked = 5, .returned = 6},
      {.call = {Spec::kInsert, 0, 20}, .result = 0, .invoked = 7, .returned = 8},
      {.call = {Spec::kRemove, 0}, .result = {20, false, 4}, .invoked = 9, .returned = 10},
  };
  EXPECT_EQ(CheckLinearizable(history).verdict, Linearizable::kYes);
  history[4].result.generation = 5;
  EXPECT_EQ(CheckLinearizable(history).verdict, Linearizable::kNo) << "given twice";
  history[4].result.generation = 0;
  EXPECT_EQ(CheckLinearizable(history).verdict, Linearizable::kNo) << "of a closed one";
  history[4].result.generation = 4;
  history[2].result.generation = 6;
  EXPECT_EQ(CheckLinearizable(history).verdict, Linearizable::kNo) << "changed";
}

TEST(LinearizabilityTest, AnEmptyOrPendingHistoryIsLinearizable) {
  EXPECT_EQ(CheckLinearizable(History<CounterSpec>()).verdict, Linearizable::kYes);
  EXPECT_EQ(CheckLinearizable(History<CounterSpec>{{.call = {1}, .invoked = 1}}).verdict, Linearizable::kYes);
}

// ---- Recorded from threads: an object that is right, and the same with a classic mistake ----

template <class T>
using Atomic = ChaosSync::Atomic<T>;

struct Counter {
  explicit Counter(bool broken) : broken(broken) {}
  uint64_t FetchAdd(uint64_t delta) {
    if (!broken) return value.fetch_add(delta, memory_order::seq_cst);
    const uint64_t before = value.load(memory_order::seq_cst);
    value.store(before + delta, memory_order::seq_cst);  // forgets what came in between
    return before;
  }
  const bool broken;
  Atomic<uint64_t> value{0};
};

void CountFrom(bool broken) {
  ExpectLinearizable<CounterSpec>(
      {}, [&] { return std::make_unique<Counter>(broken); },
      [](Counter& counter, Rng& rng, Recorder<CounterSpec>& record) {
        const uint64_t delta = rng.Below(3);
        record({delta}, [&] { return counter.FetchAdd(delta); });
      });
}

struct Register {
  explicit Register(bool broken) : broken(broken) {}
  void Write(uint64_t value) {
    if (broken) left.store(value & 0xffffffff, memory_order::seq_cst);  // in two halves
    right.store(value, memory_order::seq_cst);
  }
  uint64_t Read() {
    if (!broken) return right.load(memory_order::seq_cst);
    const uint64_t low = left.load(memory_order::seq_cst);
    return (right.load(memory_order::seq_cst) & ~uint64_t{0xffffffff}) | low;
  }
  const bool broken;
  Atomic<uint64_t> left{0}, right{0};
};

void ReadAndWrite(bool broken) {
  ExpectLinearizable<RegisterSpec>(
      {}, [&] { return std::make_unique<Register>(broken); },
      [](Register& object, Rng& rng, Recorder<RegisterSpec>& record) {
        if (rng.OneIn(2)) {
          record({RegisterSpec::kRead}, [&] { return object.Read(); });
        } else {
          const uint64_t value = rng.Below(1'000) * 0x100000001;
          record({RegisterSpec::kWrite, 0, value}, [&] { return object.Write(value), 0; });
        }
      });
}

struct Map {
  explicit Map(bool broken) : broken(broken) {}
  bool Insert(uint64_t key, uint64_t value) {
    uint64_t absent = 0;
    if (!broken) return slots[key].compare_exchange_strong(absent, value, memory_order::seq_cst, memory_order::seq_cst);
    if (slots[key].load(memory_order::seq_cst) != 0) return false;
    slots[key].store(value, memory_order::seq_cst);  // checked, then acted
    return true;
  }
  const bool broken;
  Atomic<uint64_t> slots[4];
};

void InsertAndErase(bool broken) {
  ExpectLinearizable<MapSpec>(
      {}, [&] { return std::make_unique<Map>(broken); },
      [](Map& map, Rng& rng, Recorder<MapSpec>& record) {
        const uint64_t key = rng.Below(4), value = 1 + rng.Below(1'000);
        switch (rng.Below(3)) {
          case 0:
            record({MapSpec::kInsert, key, value}, [&] { return map.Insert(key, value); });
            break;
          case 1:
            record({MapSpec::kErase, key}, [&] { return map.slots[key].exchange(0, memory_order::seq_cst) != 0; });
            break;
          default:
            record({MapSpec::kFind, key}, [&]() -> MapSpec::Result {
              const uint64_t seen = map.slots[key].load(memory_order::seq_cst);
              return seen == 0 ? MapSpec::Result() : seen;
            });
        }
      });
}

struct FdTable {
  static constexpr uint64_t kLimit = 4;
  explicit FdTable(bool broken) : broken(broken) {}
  uint64_t Insert(uint64_t value) {
    if (!broken) mu.lock();
    uint64_t result = FdTableSpec<kLimit>::kRefused;
    for (uint64_t fd = 0; fd < kLimit && result == FdTableSpec<kLimit>::kRefused; ++fd) {
      uint64_t none = 0;  // a lower descriptor may have become free behind the scan
      if (slots[fd].compare_exchange_strong(none, value, memory_order::seq_cst, memory_order::seq_cst)) result = fd;
    }
    if (!broken) mu.unlock();
    return result;
  }
  FdTableSpec<kLimit>::Result Remove(uint64_t fd) {
    if (!broken) mu.lock();
    const uint64_t value = slots[fd].exchange(0, memory_order::seq_cst);
    if (!broken) mu.unlock();
    if (value == 0) return FdTableSpec<kLimit>::kRefused;
    return {value, false, value};
  }
  const bool broken;
  std::mutex mu;
  Atomic<uint64_t> slots[kLimit];
};

void OpenAndClose(bool broken) {
  using Spec = FdTableSpec<FdTable::kLimit>;
  ExpectLinearizable<Spec>(
      {}, [&] { return std::make_unique<FdTable>(broken); },
      [](FdTable& table, Rng& rng, Recorder<Spec>& record) {
        const uint64_t fd = rng.Below(FdTable::kLimit), value = rng() | 1;  // the generation, too
        if (rng.OneIn(2)) {
          record({Spec::kInsert, 0, value}, [&] { return table.Insert(value); });
        } else {
          record({Spec::kRemove, fd}, [&] { return table.Remove(fd); });
        }
      });
}

struct Queue {
  static constexpr uint64_t kCapacity = 8;
  explicit Queue(bool broken) : broken(broken) {}
  bool Push(uint64_t value) {
    std::lock_guard lock(mu);
    const uint64_t last = tail.load(memory_order::seq_cst);
    if (last == head.load(memory_order::seq_cst) + kCapacity) return false;
    ring[last % kCapacity].store(value, memory_order::seq_cst);
    tail.store(last + 1, memory_order::seq_cst);
    return true;
  }
  std::optional<uint64_t> Pop() {
    if (!broken) mu.lock();
    std::optional<uint64_t> value;
    const uint64_t first = head.load(memory_order::seq_cst);
    if (first < tail.load(memory_order::seq_cst)) {
      value = ring[first % kCapacity].load(memory_order::seq_cst);
      head.store(first + 1, memory_order::seq_cst);  // as another pop may do
    }
    if (!broken) mu.unlock();
    return value;
  }
  const bool broken;
  std::mutex mu;
  Atomic<uint64_t> head{0}, tail{0}, ring[kCapacity];
};

void PushAndPop(bool broken) {
  using Spec = QueueSpec<Queue::kCapacity>;
  ExpectLinearizable<Spec>(
      {}, [&] { return std::make_unique<Queue>(broken); },
      [](Queue& queue, Rng& rng, Recorder<Spec>& record) {
        if (rng.OneIn(2)) {
          const uint64_t value = rng.Below(1'000'000);
          record({Spec::kPush, value}, [&] { return queue.Push(value) ? Spec::Result(1) : Spec::Result(); });
        } else {
          record({Spec::kPop}, [&] { return queue.Pop(); });
        }
      });
}

TEST(ExpectLinearizableTest, ObjectsThatAreRightPass) {
  CountFrom(false);
  ReadAndWrite(false);
  InsertAndErase(false);
  OpenAndClose(false);
  PushAndPop(false);
}

// Threads meet by chance, on a busy machine rarely: the mistake is looked for until it is found, for kPatience at most.
void ExpectMistakeIsFound(void (*record)(bool broken)) {
  testing::TestPartResultArray failures;
  const auto begin = std::chrono::steady_clock::now();
  do {
    const testing::ScopedFakeTestPartResultReporter intercepted(&failures);
    record(true);
  } while (failures.size() == 0 && AnotherRound(begin, false));
  ASSERT_EQ(failures.size(), 1);
  EXPECT_THAT(failures.GetTestPartResult(0).message(), HasSubstr("not linearizable"));
}

TEST(ExpectLinearizableTest, EveryClassicMistakeIsFound) {
  ExpectMistakeIsFound(CountFrom);
  ExpectMistakeIsFound(ReadAndWrite);
  ExpectMistakeIsFound(InsertAndErase);
  ExpectMistakeIsFound(OpenAndClose);
  ExpectMistakeIsFound(PushAndPop);
}

TEST(ExpectLinearizableTest, OperationsThatNeverOverlapFail) {
  setenv("HOTPATH_STRESS_MS", "10", 1);
  EXPECT_NONFATAL_FAILURE(ExpectLinearizable<CounterSpec>(
                              {.threads = 1, .operations = 3, .patience = std::chrono::milliseconds(20)},
                              [] { return std::make_unique<Counter>(false); },
                              [](Counter& counter, Rng&, Recorder<CounterSpec>& record) {
                                record({1}, [&] { return counter.FetchAdd(1); });
                              }),
                          "no two operations overlapped");
  unsetenv("HOTPATH_STRESS_MS");
}

TEST(RecorderTest, AnOperationCanBeRecordedAsSeveral) {
  Recorder<CounterSpec> record(3, 2);
  record({1}, [] { return uint64_t{7}; });
  record.AtOnce({2}, 8);
  ASSERT_EQ(record.history().size(), 2u);
  EXPECT_EQ(record.history()[0].call.delta, 1u);
  EXPECT_EQ(record.history()[0].result, 7u);
  EXPECT_EQ(record.history()[1].call.delta, 2u);
  EXPECT_EQ(record.history()[1].result, 8u);
  EXPECT_EQ(record.history()[1].invoked, record.history()[0].invoked);
  EXPECT_EQ(record.history()[1].returned, record.history()[0].returned);
  EXPECT_EQ(record.history()[1].thread, 3u);
}

TEST(RecorderTest, AnOperationThatThrowsStaysPending) {
  Recorder<CounterSpec> record(3, 2);
  EXPECT_THROW(record({1}, []() -> uint64_t { throw 5; }), int);
  record({1}, [] { return uint64_t{7}; });
  ASSERT_EQ(record.history().size(), 2u);
  EXPECT_EQ(record.history()[0].returned, kPending);
  EXPECT_EQ(record.history()[1].result, 7u);
  EXPECT_LE(record.history()[0].invoked, record.history()[1].invoked);
  EXPECT_LE(record.history()[1].invoked, record.history()[1].returned);
  EXPECT_EQ(record.history()[1].thread, 3u);
}

}  // namespace
}  // namespace hotpath::stress
