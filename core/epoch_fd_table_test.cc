#include "hotpath/core/epoch_fd_table.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"

namespace hotpath {
namespace {

struct File {
  explicit File(int i = 0, int* counter = nullptr) : id(i), destroyed(counter) {}
  virtual ~File() {
    if (destroyed != nullptr) ++*destroyed;
  }
  int id;
  int* destroyed;
};
struct Pipe : File {
  using File::File;
};

constexpr FdFlags kCloexec{.close_on_exec = true};
using Table = EpochFdTable<File>;

std::shared_ptr<File> Make(int id) { return std::make_shared<File>(id); }

// ---- What may be instantiated and inserted ----

template <class T>
concept HasTable = requires { typename EpochFdTable<T>; };
struct Incomplete;
static_assert(HasTable<File> && HasTable<const File> && HasTable<int> && HasTable<Incomplete>);
static_assert(!HasTable<File&> && !HasTable<File[2]> && !HasTable<File[]> && !HasTable<void> && !HasTable<void()>);
static_assert(!std::copyable<Table> && !std::movable<Table>);
static_assert(std::movable<Table::Ref> && !std::copyable<Table::Ref>);
static_assert(std::is_default_constructible_v<Table> && !std::convertible_to<FdTableOptions, Table>);

template <class O>
concept Insertable = requires(Table table, O object) { table.Insert(std::move(object)); };
struct Closer {
  void operator()(File*) const {}
};
static_assert(Insertable<std::shared_ptr<File>> && Insertable<std::unique_ptr<File>>);
static_assert(Insertable<std::shared_ptr<Pipe>> && Insertable<std::unique_ptr<Pipe>>);
static_assert(Insertable<std::unique_ptr<File, Closer>>);
static_assert(!Insertable<std::shared_ptr<const File>> && !Insertable<std::unique_ptr<int>> && !Insertable<File*> &&
              !Insertable<File> && !Insertable<std::unique_ptr<File[]>> && !Insertable<std::weak_ptr<File>>);

template <class F>
concept IsVisitor = requires(const Table table, F f) { table.ForEach(f); };
static_assert(IsVisitor<void (*)(int, const std::shared_ptr<File>&, FdFlags)>);
static_assert(IsVisitor<void (*)(int, std::shared_ptr<File>, FdFlags)>);
struct RefQualified {
  void operator()(int, const std::shared_ptr<File>&, FdFlags) && {}
};
template <class F>
concept IsPassedVisitor = requires(const Table table, F f) { table.ForEach(std::move(f)); };
static_assert(IsPassedVisitor<void (*)(int, std::shared_ptr<File>, FdFlags)> && !IsPassedVisitor<RefQualified>,
              "it is called more than once");
static_assert(!IsVisitor<void (*)(int, File&)> && !IsVisitor<void (*)(int, std::shared_ptr<File>&, FdFlags)>);

class EpochFdTableTest : public testing::Test {
 protected:
  int destroyed = 0;   // outlives the domain, which destroys what is pending
  EpochDomain domain;  // before the tables
};

// ---- The example of the header ----

TEST_F(EpochFdTableTest, OpensDuplicatesAndCloses) {
  Table table({.limit = 1024}, domain);
  const int fd = table.Insert(std::make_unique<File>(7)).value();  // open
  EXPECT_EQ(table.Get(fd)->id, 7);                                 // read, write, ...
  const int dup = table.Insert(table.GetShared(fd), kCloexec).value();
  EXPECT_EQ(dup, fd + 1);
  EXPECT_TRUE(table.Remove(fd).ok());  // close
  EXPECT_FALSE(table.Get(fd));
  EXPECT_EQ(table.Get(dup)->id, 7);
  EXPECT_EQ(table.CloseOnExec(), 1u);
}

// ---- Numbers ----

TEST_F(EpochFdTableTest, InsertTakesTheLowestFreeNumber) {
  Table table({.initial = 1}, domain);
  for (int i = 0; i < 300; ++i) ASSERT_EQ(table.Insert(Make(i)).value(), i);
  for (const int hole : {299, 3, 200, 64, 63}) ASSERT_TRUE(table.Remove(hole).ok());
  for (const int hole : {3, 63, 64, 200, 299, 300}) EXPECT_EQ(table.Insert(Make(0)).value(), hole);
}

TEST_F(EpochFdTableTest, InsertHonoursTheMinimumAndFillsGapsAboveIt) {
  Table table({.initial = 2}, domain);
  EXPECT_EQ(table.Insert(Make(0), {}, 10).value(), 10);
  EXPECT_EQ(table.Insert(Make(0), {}, 10).value(), 11);
  EXPECT_EQ(table.Insert(Make(0), {}, 9).value(), 9);
  EXPECT_EQ(table.Insert(Make(0), {}, 9).value(), 12);
  EXPECT_EQ(table.Insert(Make(0), {}, 1'000).value(), 1'000);
  EXPECT_EQ(table.Insert(Make(0)).value(), 0);
  EXPECT_EQ(table.Insert(Make(0), {}, -1), Code::kEINVAL);
  EXPECT_EQ(table.Insert(Make(0), {}, INT_MIN), Code::kEINVAL);
}

TEST_F(EpochFdTableTest, EveryLimitIsReachedAndNeverPassed) {
  for (const int limit : {0, 1, 2, 63, 64, 65, 127, 128, 129, 1'000}) {
    for (const int initial : {0, 1, 64, 5'000}) {
      SCOPED_TRACE(testing::Message() << "limit " << limit << ", initial " << initial);
      Table table({.initial = initial, .limit = limit}, domain);
      for (int i = 0; i < limit; ++i) ASSERT_EQ(table.Insert(Make(i)).value(), i);
      EXPECT_EQ(table.Insert(Make(0)), Code::kEMFILE);
      EXPECT_EQ(table.Insert(Make(0), {}, limit), Code::kEMFILE);
      EXPECT_EQ(table.Insert(Make(0), {}, INT_MAX), Code::kEMFILE);
      EXPECT_EQ(table.InsertAt(limit, Make(0)), Code::kEBADF);
      EXPECT_EQ(table.size(), static_cast<size_t>(limit));
      for (int i = 0; i < limit; ++i) ASSERT_EQ(table.Get(i)->id, i);
      EXPECT_FALSE(table.Get(limit));
    }
  }
}

TEST_F(EpochFdTableTest, DescriptorsAboveALoweredLimitStayOpen) {
  Table table({.initial = 4, .limit = 100}, domain);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(table.Insert(Make(i)).ok());
  table.SetLimit(5);
  EXPECT_EQ(table.limit(), 5);
  EXPECT_EQ(table.Get(9)->id, 9);
  EXPECT_EQ(table.InsertAt(9, Make(0)), Code::kEBADF);
  EXPECT_EQ(table.Insert(Make(0)), Code::kEMFILE);
  EXPECT_TRUE(table.SetFlags(9, kCloexec).ok());
  EXPECT_EQ(table.Clone().Get(9)->id, 9) << "a fork above the limit";
  EXPECT_TRUE(table.Remove(9).ok());
  EXPECT_EQ(table.Insert(Make(0)), Code::kEMFILE);
  EXPECT_TRUE(table.Remove(2).ok());
  EXPECT_EQ(table.Insert(Make(0)).value(), 2);
  table.SetLimit(INT_MAX);
  EXPECT_EQ(table.Insert(Make(0)).value(), 9);
}

TEST_F(EpochFdTableTest, NumbersOfNoTableAreClosed) {
  Table table({.initial = 3, .limit = 100}, domain);
  ASSERT_TRUE(table.Insert(Make(0)).ok());
  for (const int fd : {-1, INT_MIN, INT_MIN + 64, INT_MAX, 1, 2, 3, 64, 99, 100}) {
    SCOPED_TRACE(fd);
    EXPECT_FALSE(table.Get(fd));
    EXPECT_EQ(table.Get(fd).get(), nullptr);
    EXPECT_EQ(table.GetShared(fd), nullptr);
    EXPECT_EQ(table.Remove(fd).code(), Code::kEBADF);
    EXPECT_EQ(table.GetFlags(fd).code(), Code::kEBADF);
    EXPECT_EQ(table.SetFlags(fd, kCloexec), Code::kEBADF);
    EXPECT_EQ(table.Generation(fd), 0u);
  }
  for (const int fd : {-1, INT_MIN, INT_MAX, 100}) EXPECT_EQ(table.InsertAt(fd, Make(0)).code(), Code::kEBADF);
  EXPECT_EQ(table.size(), 1u);
}

// ---- Replacing and closing ----

TEST_F(EpochFdTableTest, InsertAtReturnsWhatItReplaced) {
  Table table({.initial = 1, .limit = 5'000}, domain);
  EXPECT_EQ(table.InsertAt(3, Make(1)).value(), nullptr) << "the number was free";
  EXPECT_EQ(table.InsertAt(4'999, Make(2)).value(), nullptr) << "far beyond the room";
  EXPECT_EQ(table.InsertAt(3, Make(3), kCloexec).value()->id, 1);
  EXPECT_EQ(table.Get(3)->id, 3);
  EXPECT_EQ(table.Get(4'999)->id, 2);
  EXPECT_EQ(table.GetFlags(3).value(), kCloexec);
  EXPECT_EQ(table.size(), 2u);
  for (const int fd : {0, 1, 2, 4}) EXPECT_EQ(table.Insert(Make(0)).value(), fd);
}

TEST_F(EpochFdTableTest, DescriptorIsReplacedByItsOwnObject) {
  {
    Table table({}, domain);
    ASSERT_TRUE(table.Insert(std::make_shared<File>(1, &destroyed), kCloexec).ok());
    const uint64_t before = table.Generation(0);
    EXPECT_EQ(table.InsertAt(0, table.GetShared(0)).value()->id, 1);
    EXPECT_EQ(table.GetFlags(0).value(), FdFlags{});
    EXPECT_NE(table.Generation(0), before);
    EXPECT_EQ(table.GetShared(0)->id, 1);
    domain.Synchronize();
    EXPECT_EQ(destroyed, 0);
  }
  EXPECT_EQ(destroyed, 1);
}

TEST_F(EpochFdTableTest, RemoveTellsWhatItClosed) {
  Table table({}, domain);
  const std::shared_ptr<File> file = Make(5);
  ASSERT_TRUE(table.Insert(file, kCloexec).ok());
  const uint64_t generation = table.Generation(0);
  const Table::Removed removed = table.Remove(0).value();
  EXPECT_EQ(removed.object, file);
  EXPECT_EQ(removed.flags, kCloexec);
  EXPECT_EQ(removed.generation, generation);
  EXPECT_EQ(table.Remove(0).code(), Code::kEBADF) << "a second close";
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(EpochFdTableTest, GenerationsTellRecycledNumbersApart) {
  Table table({}, domain);
  std::set<uint64_t> seen = {0};
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(table.Insert(Make(i)).value(), 0);
    EXPECT_TRUE(seen.insert(table.Generation(0)).second);
    ASSERT_TRUE(table.InsertAt(0, Make(i)).ok());
    EXPECT_TRUE(seen.insert(table.Generation(0)).second);
    ASSERT_TRUE(table.SetFlags(0, kCloexec).ok());
    EXPECT_FALSE(seen.insert(table.Generation(0)).second) << "flags do not make it another descriptor";
    ASSERT_TRUE(table.Remove(0).ok());
    EXPECT_EQ(table.Generation(0), 0u);
  }
}

TEST_F(EpochFdTableTest, CloseOnExecClosesWhatIsFlagged) {
  Table table({.initial = 1}, domain);
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(table.Insert(std::make_unique<File>(i, &destroyed), FdFlags{.close_on_exec = i % 3 == 0}).ok());
  }
  ASSERT_TRUE(table.SetFlags(0, {}).ok());
  ASSERT_TRUE(table.SetFlags(1, kCloexec).ok());
  EXPECT_EQ(table.CloseOnExec(), 67u);
  EXPECT_EQ(table.CloseOnExec(), 0u);
  EXPECT_EQ(table.size(), 133u);
  for (int i = 2; i < 200; ++i) EXPECT_EQ(static_cast<bool>(table.Get(i)), i % 3 != 0) << i;
  EXPECT_TRUE(table.Get(0));
  EXPECT_EQ(table.Insert(Make(0)).value(), 1);
  domain.Synchronize();
  EXPECT_EQ(destroyed, 67);
}

// ---- Life of the objects ----

TEST_F(EpochFdTableTest, DestroyingTheTableDestroysEveryHandleOnce) {
  std::vector<int> destroyed(500);
  std::shared_ptr<File> kept;
  {
    Table table({.initial = 1}, domain);
    for (int i = 0; i < 500; ++i) ASSERT_TRUE(table.Insert(std::make_unique<File>(i, &destroyed[i])).ok());
    for (int i = 0; i < 500; i += 10) ASSERT_TRUE(table.Remove(i).ok());
    kept = table.GetShared(499);
  }
  EXPECT_EQ(destroyed[499], 0);
  EXPECT_EQ(kept->id, 499);
  kept.reset();
  domain.Synchronize();  // for those that were removed
  for (int i = 0; i < 500; ++i) EXPECT_EQ(destroyed[i], 1) << i;
}

TEST_F(EpochFdTableTest, RefKeepsTheObjectThatTheDescriptorHad) {
  Table table({.initial = 1}, domain);
  ASSERT_TRUE(table.Insert(std::make_unique<File>(1, &destroyed)).ok());
  ASSERT_TRUE(table.Insert(std::make_unique<File>(2, &destroyed)).ok());
  {
    Table::Ref first = table.Get(0);
    const Table::Ref second = table.Get(1);
    ASSERT_TRUE(table.Remove(0).ok());
    ASSERT_TRUE(table.InsertAt(1, Make(3)).ok());
    for (int i = 0; i < 1'000; ++i) ASSERT_TRUE(table.Insert(Make(9)).ok());  // the room grows
    domain.TryReclaim();
    EXPECT_EQ(first->id, 1);
    EXPECT_EQ((*second).id, 2);
    EXPECT_EQ(destroyed, 0);
    EXPECT_EQ(table.Get(0)->id, 9);
    EXPECT_EQ(table.Get(1)->id, 3);

    Table::Ref moved = std::move(first);
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): empty, as documented
    EXPECT_EQ(moved->id, 1);
    moved = table.Get(1);
    EXPECT_EQ(moved->id, 3);
    Table::Ref& self = moved;
    moved = std::move(self);
    EXPECT_EQ(moved->id, 3) << "not changed by itself";
  }
  domain.Synchronize();
  EXPECT_EQ(destroyed, 2);
  EXPECT_EQ(domain.Stats().pending, 0u) << "outgrown arrays are reclaimed too";
}

TEST_F(EpochFdTableTest, EmptyRefIsNotFollowed) {
#ifndef NDEBUG
  const Table table({}, domain);
  EXPECT_DEATH(static_cast<void>(table.Get(0)->id), "the descriptor was closed");
#endif
}

TEST_F(EpochFdTableTest, NullObjectAndNegativeSizesAreRefused) {
  Table table({}, domain);
  EXPECT_DEATH(static_cast<void>(table.Insert(std::shared_ptr<File>())), "a descriptor needs an object");
  EXPECT_DEATH(static_cast<void>(table.Insert(std::unique_ptr<File>())), "a descriptor needs an object");
  EXPECT_DEATH(static_cast<void>(table.InsertAt(0, nullptr)), "a descriptor needs an object");
  EXPECT_DEATH(Table({.limit = -1}, domain), "sizes are not negative");
  EXPECT_DEATH(Table({.initial = -1}, domain), "sizes are not negative");
  EXPECT_DEATH(table.SetLimit(-1), "sizes are not negative");
}

TEST_F(EpochFdTableTest, FailedInsertDropsItsObjectOnly) {
  Table table({.limit = 1}, domain);
  ASSERT_TRUE(table.Insert(Make(0)).ok());
  EXPECT_EQ(table.Insert(std::make_unique<File>(1, &destroyed)).code(), Code::kEMFILE);
  EXPECT_EQ(destroyed, 1);
  const auto shared = std::make_shared<File>(1, &destroyed);
  EXPECT_EQ(table.InsertAt(1, shared).code(), Code::kEBADF);
  EXPECT_EQ(table.Insert(shared, {}, -1).code(), Code::kEINVAL);
  EXPECT_EQ(destroyed, 1);
  EXPECT_EQ(shared.use_count(), 1);
}

// A destructor that comes back to the table would stop for ever if it ran under the table's lock.
struct Reentrant {
  ~Reentrant() { at_end(); }
  std::function<void()> at_end;
};
TEST_F(EpochFdTableTest, DestructorsMayCallTheTable) {
  int called = 0;  // outlives the table, whose end calls too
  EpochFdTable<Reentrant> table({.initial = 1, .limit = 3}, domain);
  const auto make = [&](const std::function<void()>& then = [] {}) {
    return std::make_unique<Reentrant>([&, then] {
      ++called;
      EXPECT_LE(table.size(), 3u);
      EXPECT_EQ(table.GetFlags(77).code(), Code::kEBADF);
      then();
    });
  };
  ASSERT_TRUE(table.Insert(make([&] { static_cast<void>(table.Remove(1)); })).ok());  // closing one closes another
  ASSERT_TRUE(table.Insert(make([&] { table.CloseOnExec(); })).ok());
  ASSERT_TRUE(table.Insert(make(), kCloexec).ok());
  EXPECT_EQ(table.Insert(make()).code(), Code::kEMFILE);  // dropped
  EXPECT_EQ(called, 1);
  ASSERT_TRUE(table.Remove(0).ok());
  while (domain.Stats().pending > 0) domain.Synchronize();
  EXPECT_EQ(called, 4);
  EXPECT_EQ(table.size(), 0u);
  ASSERT_TRUE(table.Insert(make()).ok());
  ASSERT_TRUE(table.InsertAt(0, make()).ok());
  domain.Synchronize();
  EXPECT_EQ(called, 5);
  // The last one is destroyed by the table's destructor, which has closed everything before.
}

// What destructors open while the table ends is closed, too, and destroyed once.
TEST_F(EpochFdTableTest, DestructorsMayOpenDescriptorsWhileTheTableEnds) {
  int called = 0;
  EpochFdTable<Reentrant>* ends = nullptr;
  std::function<std::unique_ptr<Reentrant>(int)> make = [&](int more) {
    return std::make_unique<Reentrant>([&, more] {
      ++called;
      for (int i = 0; i < more; ++i) EXPECT_TRUE(ends->Insert(make(more - 1)).ok());
    });
  };
  {
    EpochFdTable<Reentrant> table({.initial = 1}, domain);
    ends = &table;
    ASSERT_TRUE(table.Insert(make(3)).ok());
    ASSERT_TRUE(table.Insert(make(0)).ok());
  }
  EXPECT_EQ(called, 1 + 3 + 6 + 6 + 1);
  domain.Synchronize();  // outgrown rooms
  EXPECT_EQ(domain.Stats().pending, 0u);
}

TEST_F(EpochFdTableTest, WhatWasClosedMayOutliveTheTable) {
  bool table_lives = true, lived_at_end = true;
  {
    EpochFdTable<Reentrant> table({.initial = 1}, domain);
    ASSERT_TRUE(table.Insert(std::make_unique<Reentrant>([&] { lived_at_end = table_lives; })).ok());
    const EpochDomain::Guard reader = domain.Pin();
    ASSERT_TRUE(table.Remove(0).ok());
  }
  table_lives = false;
  EXPECT_TRUE(lived_at_end) << "not destroyed yet";
  domain.Synchronize();
  EXPECT_FALSE(lived_at_end);
}

TEST_F(EpochFdTableTest, ObjectsOfAThreadThatEndedAreDestroyed) {
  Table table({}, domain);
  std::thread([&] {
    ASSERT_TRUE(table.Insert(std::make_unique<File>(1, &destroyed)).ok());
    ASSERT_TRUE(table.Insert(std::make_unique<File>(2, &destroyed)).ok());
    ASSERT_TRUE(table.Remove(0).ok());
  }).join();
  EXPECT_EQ(table.Get(1)->id, 2);
  ASSERT_TRUE(table.Remove(1).ok());
  domain.Synchronize();
  EXPECT_EQ(destroyed, 2);
}

TEST_F(EpochFdTableTest, ObjectsOfEveryKindAreHeld) {
  EpochFdTable<const std::string> strings({}, domain);
  ASSERT_TRUE(strings.Insert(std::make_unique<std::string>("text")).ok());
  EXPECT_EQ(*strings.Get(0), "text");

  struct alignas(128) Wide {
    char bytes[300] = "wide";
  };
  EpochFdTable<Wide> wide({}, domain);
  ASSERT_TRUE(wide.Insert(std::make_unique<Wide>()).ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(wide.Get(0).get()) % 128, 0u);

  Table derived({}, domain);
  int closed = 0;
  auto closer = [&](Pipe* pipe) {
    ++closed;
    delete pipe;
  };
  ASSERT_TRUE(derived.Insert(std::unique_ptr<Pipe, decltype(closer)>(new Pipe(4), closer)).ok());
  ASSERT_TRUE(derived.Insert(std::make_shared<Pipe>(5)).ok());
  EXPECT_EQ(derived.Get(0)->id + derived.Get(1)->id, 9);
  ASSERT_TRUE(derived.Remove(0).ok());
  domain.Synchronize();
  EXPECT_EQ(closed, 1);

  // Two parts of one owner, and one part with two owners.
  struct Pair {
    int left = 1, right = 2;
  };
  const auto pair = std::make_shared<Pair>();
  EpochFdTable<int> parts({}, domain);
  ASSERT_TRUE(parts.Insert(std::shared_ptr<int>(pair, &pair->left)).ok());
  ASSERT_TRUE(parts.InsertAt(0, std::shared_ptr<int>(pair, &pair->right)).ok());
  EXPECT_EQ(*parts.GetShared(0), 2);
}

// ---- Flags, Clone, ForEach ----

TEST_F(EpochFdTableTest, FlagsBelongToTheDescriptor) {
  Table table({}, domain);
  const std::shared_ptr<File> file = Make(1);
  ASSERT_TRUE(table.Insert(file).ok());
  ASSERT_TRUE(table.Insert(file, kCloexec).ok());
  EXPECT_EQ(table.GetFlags(0).value(), FdFlags{});
  EXPECT_EQ(table.GetFlags(1).value(), kCloexec);
  ASSERT_TRUE(table.SetFlags(0, kCloexec).ok());
  ASSERT_TRUE(table.SetFlags(1, {}).ok());
  EXPECT_EQ(table.GetFlags(0).value(), kCloexec);
  EXPECT_EQ(table.GetFlags(1).value(), FdFlags{});
}

TEST_F(EpochFdTableTest, CloneSharesObjectsAndNothingElse) {
  Table parent({.initial = 1, .limit = 200}, domain);
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(parent.Insert(Make(i), FdFlags{.close_on_exec = i % 2 == 0}).ok());
  const uint64_t newest = parent.Generation(149);
  for (int i = 100; i < 150; ++i) ASSERT_TRUE(parent.Remove(i).ok());
  ASSERT_TRUE(parent.Remove(3).ok());
  Table child = parent.Clone();
  EXPECT_EQ(child.size(), 99u);
  EXPECT_EQ(child.limit(), 200);
  for (int i = 0; i < 150; ++i) {
    ASSERT_EQ(child.GetShared(i), parent.GetShared(i)) << i;
    ASSERT_EQ(child.Generation(i), parent.Generation(i)) << i;
    if (child.Get(i)) {
      ASSERT_EQ(child.GetFlags(i).value(), parent.GetFlags(i).value()) << i;
    }
  }
  EXPECT_EQ(parent.GetShared(0).use_count(), 3) << "two tables, and the one at hand";

  ASSERT_TRUE(child.SetFlags(1, kCloexec).ok());
  EXPECT_EQ(parent.GetFlags(1).value(), FdFlags{});
  ASSERT_TRUE(child.Remove(5).ok());
  EXPECT_EQ(parent.Get(5)->id, 5);
  EXPECT_EQ(child.Insert(Make(-1)).value(), 3);
  EXPECT_FALSE(parent.Get(3));
  EXPECT_GT(child.Generation(3), newest) << "given before the clone";
  EXPECT_EQ(child.CloseOnExec(), 51u);
  EXPECT_EQ(parent.size(), 99u);
}

TEST_F(EpochFdTableTest, CloneOfAnEmptyTableIsEmpty) {
  Table table({.limit = 2}, domain);
  ASSERT_TRUE(table.Insert(Make(0)).ok());
  ASSERT_TRUE(table.Remove(0).ok());
  Table clone = table.Clone();
  EXPECT_EQ(clone.size(), 0u);
  EXPECT_FALSE(clone.Get(0));
  EXPECT_EQ(clone.Insert(Make(1)).value(), 0);
  EXPECT_EQ(clone.Insert(Make(1)).value(), 1);
  EXPECT_EQ(clone.Insert(Make(1)), Code::kEMFILE);
}

TEST_F(EpochFdTableTest, ForEachVisitsWhatWasOpenAndMayChangeTheTable) {
  Table table({.initial = 1, .limit = 100}, domain);
  for (const int fd : {1, 5, 70, 99}) ASSERT_TRUE(table.InsertAt(fd, Make(fd), FdFlags{fd == 70}).ok());
  std::vector<int> visited;
  table.ForEach([&](int fd, const std::shared_ptr<File>& file, FdFlags flags) {
    EXPECT_EQ(file->id, fd);
    EXPECT_EQ(flags.close_on_exec, fd == 70);
    visited.push_back(fd);
    static_cast<void>(table.Remove(fd));
    static_cast<void>(table.Insert(Make(-1)));
  });
  EXPECT_EQ(visited, (std::vector{1, 5, 70, 99}));
  EXPECT_EQ(table.size(), 4u);
  EXPECT_THROW(table.ForEach([](int, const std::shared_ptr<File>&, FdFlags) { throw std::runtime_error("stop"); }),
               std::runtime_error);
  EXPECT_EQ(table.size(), 4u) << "and the lock is free";
}

// ---- Memory ----

TEST_F(EpochFdTableTest, OnlyOpeningAllocates) {
  Table table({.initial = 64}, domain);
  ASSERT_TRUE(table.Insert(Make(0)).ok());
  ASSERT_TRUE(table.Remove(0).ok());  // the thread is registered
  std::shared_ptr<File> file = Make(1);
  bench::HeapMark mark;
  const auto expect_allocations = [&](uint64_t count, const auto& what) {
    const bench::HeapMark before;
    what();
    const uint64_t seen = before.Since().allocations;
    EXPECT_EQ(seen, count);
  };
  {
    SCOPED_TRACE("Insert of a shared_ptr");
    expect_allocations(1, [&] { static_cast<void>(table.Insert(file)); });
  }
  std::unique_ptr<File> own = std::make_unique<File>(2);
  {
    SCOPED_TRACE("Insert of a unique_ptr");
    expect_allocations(2, [&] { static_cast<void>(table.Insert(std::move(own))); });
  }
  {
    SCOPED_TRACE("InsertAt");
    expect_allocations(1, [&] { static_cast<void>(table.InsertAt(1, file, kCloexec)); });
  }
  {
    SCOPED_TRACE("what never allocates");
    expect_allocations(0, [&] {
      bench::Escape(table.Get(0));
      bench::Escape(table.GetShared(0));
      bench::Escape(table.Generation(0));
      static_cast<void>(table.SetFlags(0, {}));
      static_cast<void>(table.Remove(0));
      table.CloseOnExec();
    });
  }
}

// Each allocation of a call fails in turn. Nothing has happened then, and nothing is lost.
TEST_F(EpochFdTableTest, FailedAllocationsLeaveEverythingAsItWas) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  Table table({.initial = 1, .limit = 5'000}, domain);
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(table.Insert(Make(i)).ok());
  const auto snapshot = [&] {
    std::map<int, std::pair<std::shared_ptr<File>, uint64_t>> all;
    table.ForEach([&](int fd, const std::shared_ptr<File>& file, FdFlags) {
      all[fd] = {file, table.Generation(fd)};
      EXPECT_EQ(table.Get(fd).get(), file.get());
    });
    return all;
  };
  const auto fail_each = [&](const auto& call) {
    for (uint64_t successes = 0;; ++successes) {
      const auto before = snapshot();
      try {
        const bench::HeapFailure failure(successes);
        call();
        break;
      } catch (const std::bad_alloc&) {
      }
      ASSERT_LT(successes, 200u);
      ASSERT_EQ(snapshot(), before);
      ASSERT_EQ(table.size(), before.size());
    }
  };

  const std::shared_ptr<File> file = std::make_shared<File>(100, &destroyed);
  fail_each([&] { ASSERT_EQ(table.Insert(file).value(), 64) << "needs room"; });
  EXPECT_EQ(file.use_count(), 2);
  fail_each([&] { ASSERT_EQ(table.Insert(file).value(), 65) << "needs none"; });
  fail_each([&] { ASSERT_EQ(table.InsertAt(1, file).value()->id, 1); });
  fail_each([&] { ASSERT_EQ(table.InsertAt(4'999, file).value(), nullptr); });
  EXPECT_EQ(file.use_count(), 5);
  fail_each([&] {
    const Table clone = table.Clone();
    ASSERT_EQ(clone.size(), table.size());
  });
  fail_each([&] {
    size_t visits = 0;
    table.ForEach([&](int, const std::shared_ptr<File>&, FdFlags) { ++visits; });
    ASSERT_EQ(visits, table.size());
  });
  domain.Synchronize();
  EXPECT_EQ(file.use_count(), 5);
  {
    const bench::HeapFailure failure;  // closing needs no memory, in a thread that knows the domain
    EXPECT_TRUE(table.Remove(64).ok());
    EXPECT_TRUE(table.SetFlags(65, kCloexec).ok());
    EXPECT_EQ(table.CloseOnExec(), 1u);
  }
  int dropped = 0;
  std::unique_ptr<File> own = std::make_unique<File>(1, &dropped);
  {
    const bench::HeapFailure failure;
    EXPECT_THROW(static_cast<void>(table.Insert(std::move(own))), std::bad_alloc);
  }
  EXPECT_EQ(dropped, 1);
}

// ---- What a look-up does, counted ----

TEST(EpochFdTableCostTest, LookUpsWriteNothingThatIsShared) {
  using Counting = CountingSync<>;
  BasicEpochDomain<Counting> domain;
  BasicEpochFdTable<File, Counting> table({}, domain);
  ASSERT_TRUE(table.Insert(Make(1)).ok());
  static_cast<void>(table.Get(0));

  const SyncCounts pin = Counting::CountsOf([&] { static_cast<void>(domain.Pin()); });
  EXPECT_EQ(pin, (SyncCounts{.loads = pin.loads, .stores = pin.stores, .light_fences = 1})) << "the thread's own line";
  for (const int fd : {0, 1, 63, 64, -1}) {
    SCOPED_TRACE(fd);
    SyncCounts expected = pin;
    expected.loads += fd == -1 || fd == 64 ? 1 : 2;
    EXPECT_EQ(Counting::CountsOf([&] { static_cast<void>(table.Get(fd)); }), expected) << "the block, and the object";
    if (fd == 0) ++expected.loads;
    EXPECT_EQ(Counting::CountsOf([&] { static_cast<void>(table.GetShared(fd)); }), expected) << "and the node";
  }
}

// ---- InsertAt half way, step by step ----

// Runs a hook once: after a store to a pointer, or after a load of one.
struct InterruptedSync : StdSync {
  static inline thread_local std::function<void()> after_store, after_load;
  static inline thread_local int skip = 0;  // so many operations before the hook runs

  static void Run(std::function<void()>& hook) {
    if (!hook || skip-- > 0) return;
    std::exchange(hook, nullptr)();
  }
  template <class T>
  class Atomic : public std::atomic<T> {
   public:
    using std::atomic<T>::atomic;
    T load(std::memory_order order) const {
      const T value = std::atomic<T>::load(order);
      if constexpr (std::is_pointer_v<T>) Run(after_load);
      return value;
    }
    void store(T value, std::memory_order order) {
      std::atomic<T>::store(value, order);
      if constexpr (std::is_pointer_v<T>) Run(after_store);
    }
  };
};

// A writer that stops between its two stores: both kinds of look-up still give the old object.
TEST(EpochFdTableStepTest, ReplacementThatIsHalfDoneHasNotHappened) {
  BasicEpochDomain<InterruptedSync> domain;
  BasicEpochFdTable<File, InterruptedSync> table({}, domain);
  ASSERT_TRUE(table.Insert(Make(1)).ok());
  for (int id = 2; id < 5; ++id) {
    bool ran = false;
    InterruptedSync::after_store = [&] {
      ran = true;
      EXPECT_EQ(table.Get(0)->id, id - 1);
      EXPECT_EQ(table.GetShared(0)->id, id - 1);
    };
    ASSERT_TRUE(table.InsertAt(0, Make(id)).ok());
    EXPECT_TRUE(ran);
    EXPECT_EQ(table.Get(0)->id, id);
    EXPECT_EQ(table.GetShared(0)->id, id);
  }
  bool ran = false;
  InterruptedSync::after_store = [&] {
    ran = true;
    EXPECT_FALSE(table.Get(1));
    EXPECT_EQ(table.GetShared(1), nullptr);
  };
  ASSERT_TRUE(table.Insert(Make(9)).ok());
  EXPECT_TRUE(ran);
  EXPECT_EQ(table.GetShared(1)->id, 9);
}

// A reader that stops after each of its loads, while the descriptor is replaced, closed and reopened, once or often,
// with growth in between: it gets an object that the descriptor had meanwhile, or none if it was closed meanwhile.
TEST(EpochFdTableStepTest, ReaderOvertakenAtAnyStepGetsWhatWasThereMeanwhile) {
  for (int step = 0; step < 12; ++step) {
    for (int changes = 0; changes < 4; ++changes) {
      for (const int how : {0, 1, 2}) {
        SCOPED_TRACE(testing::Message() << "step " << step << ", changes " << changes << ", how " << how);
        BasicEpochDomain<InterruptedSync> domain;
        BasicEpochFdTable<File, InterruptedSync> table({.initial = 1}, domain);
        ASSERT_TRUE(table.Insert(Make(0)).ok());
        static_cast<void>(table.Get(0));
        InterruptedSync::skip = step;
        bool ran = false;
        InterruptedSync::after_load = [&] {
          ran = true;
          for (int id = 1; id <= changes; ++id) {
            if (how != 0) static_cast<void>(table.Remove(0));
            static_cast<void>(how == 0 ? table.InsertAt(0, Make(id)).ok() : table.Insert(Make(id)).ok());
            if (how == 2) static_cast<void>(table.InsertAt(10 * id, Make(77)));
          }
        };
        const std::shared_ptr<File> seen = table.GetShared(0);
        InterruptedSync::after_load = nullptr;
        ASSERT_NE(seen, nullptr) << "it was open at the start and at the end, and each step is instantaneous";
        if (how == 2) {  // it may still be in an outgrown array
          EXPECT_TRUE(seen->id <= changes && (ran || seen->id == 0)) << seen->id;
        } else {
          EXPECT_TRUE(seen->id == 0 || seen->id == changes) << seen->id;
        }
        if (!ran) {
          EXPECT_EQ(seen->id, 0);
        }
      }
    }
  }
}

// ---- Against a model ----

TEST_F(EpochFdTableTest, LongRunsAgreeWithAMap) {
  std::mt19937_64 random(11);
  for (const int limit : {1, 40, 300}) {
    SCOPED_TRACE(limit);
    Table table({.initial = 1, .limit = limit}, domain);
    std::map<int, std::pair<int, FdFlags>> oracle;
    for (int step = 0; step < 5'000; ++step) {
      const int fd = static_cast<int>(random() % (static_cast<unsigned>(limit) + 2));
      const FdFlags flags{random() % 2 == 0};
      switch (random() % 5) {
        case 0:
        case 1: {
          int expected = fd;
          while (oracle.contains(expected)) ++expected;
          const Result<int> got = table.Insert(Make(step), flags, fd);
          if (expected >= limit) {
            ASSERT_EQ(got, Code::kEMFILE);
          } else {
            ASSERT_EQ(got.value(), expected);
            oracle[expected] = {step, flags};
          }
          break;
        }
        case 2: {
          const auto got = table.InsertAt(fd, Make(step), flags);
          ASSERT_EQ(got.ok(), fd < limit);
          if (fd >= limit) break;
          const auto before = oracle.find(fd);
          ASSERT_EQ(got.value() ? got.value()->id : -1, before == oracle.end() ? -1 : before->second.first);
          oracle[fd] = {step, flags};
          break;
        }
        default: {
          const auto got = table.Remove(fd);
          const auto before = oracle.find(fd);
          ASSERT_EQ(got.ok(), before != oracle.end());
          if (before == oracle.end()) break;
          ASSERT_EQ(got.value().object->id, before->second.first);
          ASSERT_EQ(got.value().flags, before->second.second);
          oracle.erase(before);
        }
      }
      ASSERT_EQ(table.size(), oracle.size());
      const auto now = oracle.find(fd);
      ASSERT_EQ(table.Get(fd) ? table.Get(fd)->id : -1, now == oracle.end() ? -1 : now->second.first);
    }
  }
}

// ---- fork(2) ----

TEST_F(EpochFdTableTest, TableIsUsableInAForkedChild) {
  Table table({.initial = 1}, domain);
  ASSERT_TRUE(table.Insert(Make(1)).ok());
  const pid_t child = fork();
  if (child == 0) {
    const bool ok = table.Get(0)->id == 1 && table.Insert(Make(2)).value() == 1 && table.Remove(0).ok() &&
                    !table.Get(0) && table.GetShared(1)->id == 2;
    _exit(ok ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(table.Get(0)->id, 1) << "the parent's is untouched";
}

}  // namespace
}  // namespace hotpath
