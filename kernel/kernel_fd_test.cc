// Descriptors, through the facade.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

class DescriptorTest : public DrivenKernelTest {
 protected:
  DescriptorTest() { WriteFile(k, init, "/f", "0123456789"); }

  Fd OpenF(int flags = O_RDWR) { return Value(k.Open(init, "/f", flags)); }
  int64_t Offset(Pid t, Fd fd) { return Value(k.Seek(t, fd, 0, SEEK_CUR)); }
  bool Cloexec(Fd fd) { return Value(k.Fcntl(init, fd, F_GETFD, 0)) == FD_CLOEXEC; }
};

TEST_F(DescriptorTest, OpenReturnsTheLowestFreeNumber) {  // 1
  EXPECT_EQ(OpenF(), 0);
  EXPECT_EQ(OpenF(), 1);
  EXPECT_EQ(OpenF(), 2);
  EXPECT_TRUE(Ok(k.Close(init, 1)));
  EXPECT_TRUE(Ok(k.Close(init, 0)));
  EXPECT_EQ(OpenF(), 0);
  EXPECT_EQ(OpenF(), 1);
  EXPECT_EQ(OpenF(), 3);
}

TEST_F(DescriptorTest, TheLowestFreeNumberIsFoundAmongManyWords) {  // 1
  const Rlimit limit{10000, 10000};
  EXPECT_TRUE(Ok(k.Prlimit(init, 0, abi::kRlimitNofile, &limit)));
  for (Fd fd = 0; fd < 9000; ++fd) ASSERT_EQ(OpenF(), fd);
  for (const Fd hole : {8999, 4097, 4096, 4095, 64, 63, 1}) EXPECT_TRUE(Ok(k.Close(init, hole)));
  for (const Fd hole : {1, 63, 64, 4095, 4096, 4097, 8999, 9000}) EXPECT_EQ(OpenF(), hole);
}

TEST_F(DescriptorTest, DupSharesTheOffsetBothWays) {  // 2
  const Fd a = OpenF();
  const Fd b = Value(k.Dup(init, a));
  EXPECT_EQ(ReadText(k, init, a, 3), "012");
  EXPECT_EQ(ReadText(k, init, b, 2), "34");
  EXPECT_EQ(Offset(init, a), 5);
}

TEST_F(DescriptorTest, TwoOpensHaveIndependentOffsets) {  // 3
  const Fd a = OpenF();
  const Fd b = OpenF();
  EXPECT_EQ(ReadText(k, init, a, 3), "012");
  EXPECT_EQ(ReadText(k, init, b, 3), "012");
}

TEST_F(DescriptorTest, Dup2OntoItselfKeepsCloexecAndChecksTheNumber) {  // 4
  const Fd fd = OpenF(O_RDONLY | O_CLOEXEC);
  EXPECT_TRUE(Gives(k.Dup2(init, fd, fd), fd));
  EXPECT_TRUE(Cloexec(fd));
  EXPECT_TRUE(Fails(k.Dup2(init, 7, 7), Code::kEBADF));
}

TEST_F(DescriptorTest, Dup3RefusesItselfAndUnknownFlags) {  // 5
  const Fd fd = OpenF();
  EXPECT_TRUE(Fails(k.Dup3(init, fd, fd, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Dup3(init, fd, 5, O_NONBLOCK), Code::kEINVAL));
}

TEST_F(DescriptorTest, Dup2ClosesTheTargetSoThatAReaderSeesTheEnd) {  // 6
  const PipeFds pipe = Value(k.Pipe(init, 0));
  const Fd fd = OpenF();
  EXPECT_TRUE(Gives(k.Dup2(init, fd, pipe.write_end), pipe.write_end));
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "");
}

TEST_F(DescriptorTest, Dup2FromABadNumberLeavesTheTargetOpen) {  // 7
  const Fd fd = OpenF();
  EXPECT_TRUE(Fails(k.Dup2(init, 30, fd), Code::kEBADF));
  EXPECT_EQ(ReadText(k, init, fd, 1), "0");
}

TEST_F(DescriptorTest, DupAndDup2ClearCloexec) {  // 8
  const Fd fd = OpenF(O_RDONLY | O_CLOEXEC);
  EXPECT_FALSE(Cloexec(Value(k.Dup(init, fd))));
  EXPECT_FALSE(Cloexec(Value(k.Dup2(init, fd, 9))));
  EXPECT_FALSE(Cloexec(static_cast<Fd>(Value(k.Fcntl(init, fd, F_DUPFD, 0)))));
}

TEST_F(DescriptorTest, Dup3AndDupFdCloexecSetIt) {  // 9
  const Fd fd = OpenF();
  EXPECT_TRUE(Cloexec(Value(k.Dup3(init, fd, 9, O_CLOEXEC))));
  EXPECT_TRUE(Cloexec(static_cast<Fd>(Value(k.Fcntl(init, fd, abi::kFDupFdCloexec, 0)))));
}

TEST_F(DescriptorTest, DupFdHonoursTheMinimumAndFillsGaps) {  // 10
  const Fd fd = OpenF();
  EXPECT_TRUE(Gives(k.Fcntl(init, fd, F_DUPFD, 10), 10));
  EXPECT_TRUE(Gives(k.Fcntl(init, fd, F_DUPFD, 10), 11));
  EXPECT_TRUE(Gives(k.Fcntl(init, fd, F_DUPFD, 12), 12));
  EXPECT_TRUE(Ok(k.Close(init, 11)));
  EXPECT_TRUE(Gives(k.Fcntl(init, fd, F_DUPFD, 10), 11));
  EXPECT_TRUE(Gives(k.Fcntl(init, fd, F_DUPFD, 0), 1));
}

TEST_F(DescriptorTest, DupFdRefusesAMinimumOutsideTheLimit) {  // 11
  const Fd fd = OpenF();
  EXPECT_TRUE(Fails(k.Fcntl(init, fd, F_DUPFD, -1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Fcntl(init, fd, F_DUPFD, 1024), Code::kEINVAL));
  EXPECT_TRUE(Gives(k.Fcntl(init, fd, F_DUPFD, 1023), 1023));
  EXPECT_TRUE(Fails(k.Fcntl(init, fd, F_DUPFD, 1023), Code::kEMFILE));
}

TEST_F(DescriptorTest, ASecondCloseIsAnError) {  // 12
  const Fd fd = OpenF();
  EXPECT_TRUE(Ok(k.Close(init, fd)));
  EXPECT_TRUE(Fails(k.Close(init, fd), Code::kEBADF));
  EXPECT_TRUE(Fails(k.Close(init, -1), Code::kEBADF));
}

TEST_F(DescriptorTest, StatusFlagsAreSharedByDupAndSetFlIgnoresTheOthers) {  // 13
  const Fd a = OpenF(O_RDONLY);
  const Fd b = Value(k.Dup(init, a));
  EXPECT_TRUE(Ok(k.Fcntl(init, a, F_SETFL, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NONBLOCK)));
  EXPECT_TRUE(Gives(k.Fcntl(init, b, F_GETFL, 0), O_RDONLY | O_APPEND | O_NONBLOCK | abi::kOLargeFile));
  EXPECT_EQ(FileText(k, init, "/f"), "0123456789");
}

TEST_F(DescriptorTest, GetFlReportsWhatOpenWasGivenWithoutTheCreationFlags) {
  const Fd fd =
      Value(k.Open(init, "/g", O_WRONLY | O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC | O_APPEND, 0600));
  EXPECT_TRUE(Gives(k.Fcntl(init, fd, F_GETFL, 0), O_WRONLY | O_APPEND | abi::kOLargeFile));
  const Fd dir = Value(k.Open(init, "/", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  EXPECT_TRUE(Gives(k.Fcntl(init, dir, F_GETFL, 0), O_DIRECTORY | O_NOFOLLOW | abi::kOLargeFile));
  const PipeFds pipe = Value(k.Pipe(init, O_NONBLOCK | O_CLOEXEC));
  EXPECT_TRUE(Gives(k.Fcntl(init, pipe.read_end, F_GETFL, 0), O_NONBLOCK));
  EXPECT_TRUE(Gives(k.Fcntl(init, pipe.write_end, F_GETFL, 0), O_WRONLY | O_NONBLOCK));
  const Fd event = Value(k.InstallOpaque(init, OpaqueKind::kEventFd, O_CLOEXEC | O_NONBLOCK));
  EXPECT_TRUE(Gives(k.Fcntl(init, event, F_GETFL, 0), O_RDWR | O_NONBLOCK));
  const Fd path = Value(k.Open(init, "/f", abi::kOPath | O_RDWR | O_NONBLOCK));
  EXPECT_TRUE(Gives(k.Fcntl(init, path, F_GETFL, 0), abi::kOPath));
}

TEST_F(DescriptorTest, AtTheLimitNothingOpensButHigherNumbersStillWork) {  // 14
  const Fd fd = OpenF();
  EXPECT_TRUE(Gives(k.Dup2(init, fd, 20), 20));
  const Rlimit limit{10, 1024};
  EXPECT_TRUE(Ok(k.Prlimit(init, 0, abi::kRlimitNofile, &limit)));
  for (Fd next = 1; next < 10; ++next) EXPECT_EQ(OpenF(), next);
  EXPECT_TRUE(Fails(k.Open(init, "/f", O_RDONLY), Code::kEMFILE));
  EXPECT_TRUE(Fails(k.Open(init, "/missing", O_RDONLY), Code::kEMFILE)) << "the number comes before the path";
  EXPECT_TRUE(Fails(k.Dup(init, fd), Code::kEMFILE));
  EXPECT_TRUE(Fails(k.Socket(init, AF_UNIX, SOCK_STREAM, 0), Code::kEMFILE));
  EXPECT_TRUE(Fails(k.Dup2(init, fd, 20), Code::kEBADF));
  EXPECT_EQ(ReadText(k, init, 20, 2), "01");
  EXPECT_TRUE(Ok(k.Close(init, 20)));
}

TEST_F(DescriptorTest, APipeThatFindsOneFreeNumberLeaksNothing) {  // 15
  const Rlimit limit{4, 1024};
  EXPECT_TRUE(Ok(k.Prlimit(init, 0, abi::kRlimitNofile, &limit)));
  for (Fd next = 0; next < 3; ++next) EXPECT_EQ(OpenF(), next);
  const KernelStats before = k.Stats();
  EXPECT_TRUE(Fails(k.Pipe(init, 0), Code::kEMFILE));
  EXPECT_TRUE(SameStats(before, k.Stats()));
  EXPECT_EQ(OpenF(), 3);
}

TEST_F(DescriptorTest, CloseRangeSkipsHolesAndChecksItsArguments) {  // 16
  for (const Fd fd : {0, 1, 2, 3, 4, 5}) EXPECT_EQ(OpenF(), fd);
  EXPECT_TRUE(Ok(k.Close(init, 3)));
  EXPECT_TRUE(Fails(k.CloseRange(init, 4, 2, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.CloseRange(init, 2, 4, 1), Code::kEINVAL));
  EXPECT_TRUE(Ok(k.CloseRange(init, 2, 4, 0)));
  EXPECT_TRUE(Fails(k.Close(init, 4), Code::kEBADF));
  EXPECT_TRUE(Ok(k.CloseRange(init, 1, ~0u, abi::kCloseRangeCloexec)));
  EXPECT_FALSE(Cloexec(0));
  EXPECT_TRUE(Cloexec(1));
  EXPECT_TRUE(Cloexec(5));
  EXPECT_TRUE(Ok(k.CloseRange(init, 0, ~0u, 0)));
  EXPECT_EQ(k.Stats().descriptors, 0u);
}

TEST_F(DescriptorTest, ForkCopiesTheTableAndTheChildsCloseIsPrivate) {  // 17
  const Fd fd = OpenF();
  const Pid child = Value(k.Fork(init));
  EXPECT_TRUE(Ok(k.Close(child, fd)));
  EXPECT_TRUE(Fails(k.Close(child, fd), Code::kEBADF));
  EXPECT_EQ(ReadText(k, init, fd, 1), "0");
  EXPECT_EQ(OpenF(), 1);
  EXPECT_TRUE(Gives(k.Open(child, "/f", O_RDONLY), 0));
}

TEST_F(DescriptorTest, ForkSharesOffsets) {  // 18
  const Fd fd = OpenF();
  const Pid child = Value(k.Fork(init));
  EXPECT_EQ(ReadText(k, child, fd, 4), "0123");
  EXPECT_EQ(ReadText(k, init, fd, 4), "4567");
}

TEST_F(DescriptorTest, ExecClosesOnlyCloexec) {  // 19
  EXPECT_TRUE(Ok(k.Seed("/bin/true", {.mode = 0100755, .size = 100, .target = ""})));
  const Fd kept = OpenF();
  const Fd closed = OpenF(O_RDONLY | O_CLOEXEC);
  EXPECT_TRUE(Ok(k.Exec(init, kAtFdCwd, "/bin/true", 0)));
  EXPECT_EQ(ReadText(k, init, kept, 1), "0");
  EXPECT_TRUE(Fails(k.Close(init, closed), Code::kEBADF));
}

TEST_F(DescriptorTest, ThreadsShareTheTable) {  // 22
  const Pid thread = Value(
      k.Clone(init, {.flags = abi::kCloneVm | abi::kCloneFs | abi::kCloneFiles | abi::kCloneSighand | abi::kCloneThread,
                     .exit_signal = 0}));
  const Fd fd = Value(k.Open(thread, "/f", O_RDONLY));
  EXPECT_EQ(ReadText(k, init, fd, 2), "01");
  EXPECT_TRUE(Ok(k.Close(init, fd)));
  EXPECT_TRUE(Fails(k.Close(thread, fd), Code::kEBADF));
}

TEST_F(DescriptorTest, CloseRangeUnshareDetachesFromSiblings) {  // 24
  const Pid sibling = Value(k.Clone(init, {.flags = abi::kCloneFiles}));
  const Fd fd = OpenF();
  EXPECT_TRUE(Ok(k.CloseRange(sibling, 0, ~0u, abi::kCloseRangeUnshare)));
  EXPECT_TRUE(Fails(k.Close(sibling, fd), Code::kEBADF));
  EXPECT_EQ(ReadText(k, init, fd, 1), "0");
  EXPECT_TRUE(Gives(k.Open(sibling, "/f", O_RDONLY), 0));
  EXPECT_TRUE(Ok(k.Close(sibling, 0)));
  EXPECT_EQ(ReadText(k, init, fd, 1), "1");
}

TEST_F(DescriptorTest, AHundredThousandDescriptorsOpenAndClose) {
  const Rlimit limit{200000, 200000};
  EXPECT_TRUE(Ok(k.Prlimit(init, 0, abi::kRlimitNofile, &limit)));
  for (Fd fd = 0; fd < 100000; ++fd) ASSERT_TRUE(Gives(k.Open(init, "/f", O_RDONLY), fd));
  EXPECT_EQ(k.Stats().open_descriptions, 100000u);
  EXPECT_TRUE(Ok(k.Close(init, 77777)));
  EXPECT_EQ(OpenF(), 77777);
  EXPECT_TRUE(Ok(k.CloseRange(init, 0, ~0u, 0)));
  EXPECT_EQ(k.Stats().open_descriptions, 0u);
}

TEST_F(DescriptorTest, APathDescriptorNamesAFileAndNothingElse) {
  const Fd fd = OpenF(abi::kOPath);
  EXPECT_EQ(ReadText(k, init, fd), "<EBADF>");
  EXPECT_TRUE(Fails(k.Seek(init, fd, 0, SEEK_SET), Code::kEBADF));
  EXPECT_TRUE(Fails(k.FTruncate(init, fd, 0), Code::kEBADF));
  EXPECT_TRUE(Fails(k.Fcntl(init, fd, F_SETFL, 0), Code::kEBADF));
  EXPECT_TRUE(Fails(k.ChmodAt(init, fd, "", 0600, abi::kAtEmptyPath), Code::kEBADF));
  EXPECT_EQ(Value(k.StatAt(init, fd, "", abi::kAtEmptyPath)).size, 10);
  EXPECT_TRUE(Ok(k.Dup(init, fd)));
}

TEST_F(DescriptorTest, RecordLocksExcludeOtherProcessesAndMergeAndSplit) {
  const Fd fd = OpenF();
  const Pid other = Value(k.Fork(init));
  FileLockRange lock{.type = F_WRLCK, .start = 10, .length = 10};
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, lock)));
  FileLockRange middle{.type = F_UNLCK, .start = 13, .length = 2};
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, middle)));
  for (const int64_t start : {9, 12, 13, 14, 15, 19, 20}) {
    FileLockRange probe{.type = F_RDLCK, .start = start, .length = 1};
    EXPECT_TRUE(Ok(k.FileLock(other, fd, F_GETLK, probe)));
    const bool locked = (start >= 10 && start < 13) || (start >= 15 && start < 20);
    EXPECT_EQ(probe.type, locked ? F_WRLCK : F_UNLCK) << start;
    if (locked) {
      EXPECT_EQ(probe.pid, init);
      EXPECT_EQ(probe.start, start < 13 ? 10 : 15);
      EXPECT_EQ(probe.length, start < 13 ? 3 : 5);
    }
  }
  FileLockRange back{.type = F_WRLCK, .start = 13, .length = 2};
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, back)));
  FileLockRange whole{.type = F_RDLCK};
  EXPECT_TRUE(Ok(k.FileLock(other, fd, F_GETLK, whole)));
  EXPECT_EQ(whole.length, 10) << "touching locks are one again";
  FileLockRange wanted{.type = F_RDLCK, .start = 19, .length = 5};
  EXPECT_TRUE(Fails(k.FileLock(other, fd, F_SETLK, wanted), Code::kEAGAIN));
  EXPECT_TRUE(Fails(k.FileLock(other, fd, F_SETLKW, wanted), Code::kERESTART));
}

TEST_F(DescriptorTest, AnyCloseOfTheFileByTheProcessDropsItsRecordLocks) {
  const Fd fd = OpenF();
  const Fd unrelated = OpenF();
  const Pid other = Value(k.Fork(init));
  FileLockRange lock{.type = F_WRLCK};
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, lock)));
  EXPECT_TRUE(Fails(k.FileLock(other, fd, F_SETLK, lock), Code::kEAGAIN));
  EXPECT_TRUE(Ok(k.Close(init, unrelated)));
  EXPECT_TRUE(Ok(k.FileLock(other, fd, F_SETLK, lock)));
  EXPECT_TRUE(Ok(k.ExitGroup(other, 0)));
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, lock)));
}

TEST_F(DescriptorTest, OpenFileDescriptionLocksBelongToTheDescription) {
  const Fd a = OpenF();
  const Fd b = OpenF();
  const Fd a2 = Value(k.Dup(init, a));
  FileLockRange lock{.type = F_WRLCK};
  EXPECT_TRUE(Ok(k.FileLock(init, a, abi::kFOfdSetLock, lock)));
  EXPECT_TRUE(Fails(k.FileLock(init, b, abi::kFOfdSetLock, lock), Code::kEAGAIN));
  EXPECT_TRUE(Fails(k.FileLock(init, b, F_SETLK, lock), Code::kEAGAIN)) << "they conflict with POSIX locks too";
  FileLockRange probe{.type = F_WRLCK};
  EXPECT_TRUE(Ok(k.FileLock(init, b, abi::kFOfdGetLock, probe)));
  EXPECT_EQ(probe.pid, -1);
  EXPECT_TRUE(Ok(k.Close(init, a)));
  EXPECT_TRUE(Fails(k.FileLock(init, b, abi::kFOfdSetLock, lock), Code::kEAGAIN)) << "a copy is still open";
  EXPECT_TRUE(Ok(k.Close(init, a2)));
  EXPECT_TRUE(Ok(k.FileLock(init, b, abi::kFOfdSetLock, lock)));
}

TEST_F(DescriptorTest, ACircleOfWaitingLocksIsRefused) {
  const Fd fd = OpenF();
  const Pid other = Value(k.Fork(init));
  FileLockRange first{.type = F_WRLCK, .start = 0, .length = 1};
  FileLockRange second{.type = F_WRLCK, .start = 1, .length = 1};
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, first)));
  EXPECT_TRUE(Ok(k.FileLock(other, fd, F_SETLK, second)));
  EXPECT_TRUE(Fails(k.FileLock(init, fd, F_SETLKW, second), Code::kERESTART));
  EXPECT_TRUE(Fails(k.FileLock(other, fd, F_SETLKW, first), Code::kEDEADLK));
}

TEST_F(DescriptorTest, LockArgumentsAreChecked) {
  const Fd reader = OpenF(O_RDONLY);
  FileLockRange write{.type = F_WRLCK};
  EXPECT_TRUE(Fails(k.FileLock(init, reader, F_SETLK, write), Code::kEBADF));
  FileLockRange bad_type{.type = 9};
  EXPECT_TRUE(Fails(k.FileLock(init, reader, F_SETLK, bad_type), Code::kEINVAL));
  FileLockRange bad_whence{.type = F_RDLCK, .whence = 3};
  EXPECT_TRUE(Fails(k.FileLock(init, reader, F_SETLK, bad_whence), Code::kEINVAL));
  FileLockRange before_start{.type = F_RDLCK, .start = 2, .length = -3};
  EXPECT_TRUE(Fails(k.FileLock(init, reader, F_SETLK, before_start), Code::kEINVAL));
  FileLockRange too_far{.type = F_RDLCK, .start = INT64_MAX, .length = 2};
  EXPECT_TRUE(Fails(k.FileLock(init, reader, F_SETLK, too_far), Code::kEOVERFLOW));
  FileLockRange from_end{.type = F_RDLCK, .whence = SEEK_END, .start = -1, .length = -2};
  EXPECT_TRUE(Ok(k.FileLock(init, reader, F_SETLK, from_end)));
  const Pid other = Value(k.Fork(init));
  FileLockRange probe{.type = F_WRLCK};
  EXPECT_TRUE(Ok(k.FileLock(other, reader, F_GETLK, probe)));
  EXPECT_EQ(probe.start, 7);
  EXPECT_EQ(probe.length, 2);
}

TEST_F(DescriptorTest, IoctlsOfTheDescriptorAndOfTheFile) {
  const Fd fd = OpenF();
  EXPECT_TRUE(Ok(k.Ioctl(init, fd, abi::kFioClex, nullptr)));
  EXPECT_TRUE(Cloexec(fd));
  EXPECT_TRUE(Ok(k.Ioctl(init, fd, abi::kFionClex, nullptr)));
  EXPECT_FALSE(Cloexec(fd));
  int64_t value = 1;
  EXPECT_TRUE(Ok(k.Ioctl(init, fd, abi::kFionBio, &value)));
  EXPECT_EQ(Value(k.Fcntl(init, fd, F_GETFL, 0)) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_TRUE(Ok(k.Seek(init, fd, 4, SEEK_SET)));
  EXPECT_TRUE(Ok(k.Ioctl(init, fd, abi::kFionRead, &value)));
  EXPECT_EQ(value, 6);
  EXPECT_TRUE(Fails(k.Ioctl(init, fd, abi::kFionRead, nullptr), Code::kEFAULT));
  EXPECT_TRUE(Fails(k.Ioctl(init, fd, abi::kTcGets, nullptr), Code::kENOTTY));
  EXPECT_TRUE(Fails(k.Ioctl(init, 30, abi::kTcGets, nullptr), Code::kEBADF));
  value = OpenF(O_RDONLY);
  EXPECT_TRUE(Fails(k.Ioctl(init, fd, abi::kFiClone, &value), Code::kEOPNOTSUPP));
}

TEST_F(DescriptorTest, OpaqueObjectsHaveANumberAndALifetime) {
  const KernelStats before = k.Stats();
  for (const OpaqueKind kind : {OpaqueKind::kSocket, OpaqueKind::kEpoll, OpaqueKind::kEventFd, OpaqueKind::kTimerFd,
                                OpaqueKind::kSignalFd, OpaqueKind::kInotify, OpaqueKind::kPidFd}) {
    const Fd fd = Value(k.InstallOpaque(init, kind, 0));
    EXPECT_EQ(ReadText(k, init, fd), "<ENOSYS>");
    PollEntry entry{.fd = fd, .events = POLLIN | POLLOUT};
    EXPECT_TRUE(Gives(k.Poll(init, std::span(&entry, 1), false), 0));
    EXPECT_TRUE(Ok(k.Close(init, fd)));
  }
  const Fd memory = Value(k.InstallOpaque(init, OpaqueKind::kMemFd, 0));
  EXPECT_TRUE(Gives(k.Write(init, memory, Bytes("hello")), 5u));
  EXPECT_EQ(Value(k.StatAt(init, memory, "", abi::kAtEmptyPath)).nlink, 0u);
  EXPECT_TRUE(Ok(k.Close(init, memory)));
  EXPECT_TRUE(SameStats(before, k.Stats()));
}

TEST_F(DescriptorTest, SocketsAreMadeAndNobodyListens) {
  const Fd fd = Value(k.Socket(init, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_TRUE(Cloexec(fd));
  EXPECT_EQ(Value(k.StatAt(init, fd, "", abi::kAtEmptyPath)).mode, 0140777u);
  EXPECT_TRUE(Fails(k.ConnectUnix(init, fd, "/var/run/nscd/socket"), Code::kENOENT));
  EXPECT_TRUE(Ok(k.Seed("/sock", {.mode = 0140666, .target = ""})));
  EXPECT_TRUE(Fails(k.ConnectUnix(init, fd, "/sock"), Code::kECONNREFUSED));
  EXPECT_TRUE(Fails(k.ConnectUnix(init, fd, "/f"), Code::kECONNREFUSED));
  EXPECT_TRUE(Fails(k.ConnectUnix(init, OpenF(), "/sock"), Code::kENOTSOCK));
  EXPECT_TRUE(Fails(k.Open(init, "/sock", O_RDWR), Code::kENXIO));
  EXPECT_TRUE(Fails(k.Socket(init, 99, SOCK_STREAM, 0), Code::kEAFNOSUPPORT));
  EXPECT_TRUE(Fails(k.Socket(init, AF_INET, SOCK_STREAM, 17), Code::kEPROTONOSUPPORT));
  EXPECT_TRUE(Fails(k.Socket(init, AF_UNIX, 11, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Seek(init, fd, 0, SEEK_SET), Code::kESPIPE));
}

TEST_F(DescriptorTest, SeededDescriptorsAreInheritedAsIfFromOutside) {
  EXPECT_TRUE(Ok(k.Seed("/dev/null", {.mode = 020666, .rdev = abi::MakeDev(1, 3), .target = ""})));
  EXPECT_TRUE(Ok(k.SeedDescriptor(init, 2, "/dev/null", O_RDWR)));
  EXPECT_TRUE(Ok(k.SeedPipe(init, 1, true)));
  EXPECT_TRUE(Ok(k.SeedPipe(init, 0, false)));
  EXPECT_TRUE(Fails(k.SeedPipe(init, 0, false), Code::kEEXIST));
  EXPECT_TRUE(Fails(k.SeedDescriptor(init, 5, "/nothing", O_RDONLY), Code::kENOENT));
  EXPECT_TRUE(Fails(k.SeedDescriptor(init, -1, "/f", O_RDONLY), Code::kEBADF));
  EXPECT_EQ(OpenF(), 3);
  EXPECT_TRUE(Gives(k.Write(init, 1, Bytes(std::string(1 << 20, 'x'))), size_t{1} << 20)) << "the reader takes all";
  EXPECT_EQ(ReadText(k, init, 0), "<ERESTART>") << "the writer is there, and silent";
  EXPECT_EQ(ReadText(k, init, 2), "");
}

TEST_F(DescriptorTest, DumpFdsTellsPeopleWhatIsOpen) {
  EXPECT_EQ(OpenF(O_RDONLY | O_CLOEXEC), 0);
  EXPECT_TRUE(Ok(k.Pipe(init, 0)));
  const std::string dump = k.DumpFds(init);
  EXPECT_NE(dump.find("0 /f r"), std::string::npos) << dump;
  EXPECT_NE(dump.find("cloexec"), std::string::npos) << dump;
  EXPECT_NE(dump.find("2 pipe:["), std::string::npos) << dump;
  EXPECT_TRUE(Ok(k.UnlinkAt(init, kAtFdCwd, "/f", 0)));
  EXPECT_NE(k.DumpFds(init).find("0 /f (deleted)"), std::string::npos);
}

TEST_F(DescriptorTest, ATaskThatDoesNotExistCannotCall) {
  EXPECT_TRUE(Fails(k.Open(4711, "/f", O_RDONLY), Code::kESRCH));
  EXPECT_TRUE(Fails(k.Close(4711, 0), Code::kESRCH));
  EXPECT_TRUE(Fails(k.Fork(4711), Code::kESRCH));
}

}  // namespace
}  // namespace hotpath::kernel
