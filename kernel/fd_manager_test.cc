#include "hotpath/kernel/fd_manager.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <iterator>
#include <map>
#include <memory>
#include <random>

#include "gtest/gtest.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

class FdManagerTest : public testing::Test {
 protected:
  std::shared_ptr<File> NewFile() {
    return fds.NewFile(InodeRef(*vfs.NewInternal(VfsManager::Internal::kMemory, {})), O_RDWR, {}, std::nullopt);
  }

  IpcManager ipc;
  VfsManager vfs{ipc, [now = int64_t{0}]() mutable { return ++now; }, Mutation::kNone};
  FdManager fds{Mutation::kNone};
};

TEST_F(FdManagerTest, TheLowestFreeNumberIsGivenOutAsByASearch) {
  fds.Create(1);
  FdTable& table = fds.TableOf(1);
  std::map<Fd, File*> model;
  std::mt19937 rng(1);
  constexpr uint64_t kLimit = 4500;
  const std::shared_ptr<File> file = NewFile();
  for (int step = 0; step < 30000; ++step) {
    // Grow in the first half, so that whole words and groups of words fill up.
    const bool close = rng() % (step < 15000 ? 8 : 2) == 0;
    if (close && !model.empty()) {
      auto victim = model.lower_bound(static_cast<Fd>(rng() % kLimit));
      if (victim == model.end()) victim = std::prev(victim);
      ASSERT_TRUE(Ok(table.Close(victim->first)));
      model.erase(victim);
      continue;
    }
    const Fd minimum = rng() % 4 == 0 ? static_cast<Fd>(rng() % kLimit) : 0;
    Fd expected = minimum;
    for (auto it = model.lower_bound(minimum); it != model.end() && it->first == expected; ++it) ++expected;
    const Result<Fd> fd = fds.Install(1, file, false, minimum, kLimit);
    if (static_cast<uint64_t>(expected) >= kLimit) {
      ASSERT_TRUE(Fails(fd, Code::kEMFILE));
    } else {
      ASSERT_TRUE(Gives(fd, expected)) << step;
      model[expected] = file.get();
    }
    ASSERT_EQ(table.open(), model.size());
  }
}

TEST_F(FdManagerTest, TablesAreSharedCopiedMovedAndDropped) {
  fds.Create(1);
  const Fd fd = Value(fds.Install(1, NewFile(), true, 0, 10));
  fds.Share(1, 2);
  fds.Copy(1, 3);
  EXPECT_EQ(&fds.TableOf(1), &fds.TableOf(2));
  EXPECT_NE(&fds.TableOf(1), &fds.TableOf(3));
  EXPECT_EQ(Value(fds.Get(3, fd)), Value(fds.Get(1, fd))) << "the description is shared";
  EXPECT_TRUE(fds.TableOf(3).cloexec(fd));
  EXPECT_EQ(fds.descriptors(), 2u);
  fds.Unshare(2);
  EXPECT_NE(&fds.TableOf(1), &fds.TableOf(2));
  fds.Move(3, 4);
  EXPECT_TRUE(Ok(fds.Get(4, fd)));
  for (const Pid task : {1, 2, 4}) {
    EXPECT_EQ(fds.descriptions(), 1u);
    fds.Drop(task);
  }
  EXPECT_EQ(fds.descriptions(), 0u);
  EXPECT_EQ(fds.descriptors(), 0u);
}

TEST_F(FdManagerTest, AReservedNumberIsTakenAndNotOpen) {
  fds.Create(1);
  FdTable& table = fds.TableOf(1);
  const Fd reserved = Value(table.Reserve(0, 10));
  EXPECT_TRUE(table.IsReserved(reserved));
  EXPECT_EQ(Value(fds.Install(1, NewFile(), false, 0, 10)), 1);
  EXPECT_TRUE(Fails(fds.Get(1, reserved), Code::kEBADF));
  EXPECT_TRUE(Fails(fds.Close(1, reserved), Code::kEBADF));
  EXPECT_TRUE(Fails(fds.Dup2(1, 1, reserved, 10), Code::kEBUSY));
  fds.Copy(1, 2);
  EXPECT_EQ(Value(fds.Dup(2, 1, 10)), 0) << "reservations are not inherited";
  table.CancelReservation(reserved);
  EXPECT_EQ(Value(fds.Dup(1, 1, 10)), reserved);
}

}  // namespace
}  // namespace hotpath::kernel
