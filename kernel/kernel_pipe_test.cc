// Pipes, FIFOs and poll, through the facade; the calls that sleep really sleep.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kHandler = 0x1000;

class PipeTest : public KernelTest {
 protected:
  PipeTest() {
    const SignalAction ignore{.handler = 1};
    EXPECT_TRUE(Ok(k.Sigaction(init, SIGPIPE, &ignore)));
  }

  PipeFds Pipe(int flags = 0) { return Value(k.Pipe(init, flags)); }
  Result<size_t> Write(Fd fd, size_t count) { return k.Write(init, fd, Bytes(std::string(count, 'x'))); }
  int64_t Queued(Fd fd) {
    int64_t bytes = -1;
    EXPECT_TRUE(Ok(k.Ioctl(init, fd, abi::kFionRead, &bytes)));
    return bytes;
  }
  int16_t Poll(Fd fd, int16_t events) {
    PollEntry entry{.fd = fd, .events = events};
    EXPECT_TRUE(Ok(k.Poll(init, std::span(&entry, 1), false)));
    return entry.revents;
  }
  void Catch(int signal, uint64_t flags) {
    const SignalAction action{.handler = kHandler, .flags = flags};
    EXPECT_TRUE(Ok(k.Sigaction(init, signal, &action)));
  }
};

TEST_F(PipeTest, AnEmptyPipeIsNotReadyAndOneWithoutWritersIsAtItsEnd) {  // 92
  const PipeFds pipe = Pipe(O_NONBLOCK);
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "<EAGAIN>");
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 0), "") << "nothing asked, nothing waited for";
  EXPECT_TRUE(Ok(k.Close(init, pipe.write_end)));
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "");
}

TEST_F(PipeTest, WritingWithoutAReaderIsEpipeAndSigpipe) {  // 93
  const PipeFds pipe = Pipe();
  EXPECT_TRUE(Ok(k.Close(init, pipe.read_end)));
  EXPECT_TRUE(Fails(Write(pipe.write_end, 1), Code::kEPIPE));
  EXPECT_TRUE(Gives(Write(pipe.write_end, 0), 0u));
  Catch(SIGPIPE, 0);
  EXPECT_TRUE(Fails(Write(pipe.write_end, 1), Code::kEPIPE));
  EXPECT_EQ(Value(k.DeliverSignal(init)).signal, SIGPIPE);
  EXPECT_TRUE(Ok(k.SigReturn(init)));
  const Pid child = Value(k.Fork(init));
  const SignalAction fatal{};
  EXPECT_TRUE(Ok(k.Sigaction(child, SIGPIPE, &fatal)));
  EXPECT_TRUE(Fails(k.Write(child, pipe.write_end, Bytes("x")), Code::kEPIPE));
  EXPECT_EQ(Value(k.Wait(init, child, 0)).status, SIGPIPE) << "its default action ends the writer";
}

TEST_F(PipeTest, APipeHoldsSixteenPages) {  // 94
  const PipeFds pipe = Pipe(O_NONBLOCK);
  EXPECT_TRUE(Gives(Write(pipe.write_end, 70000), 65536u));
  EXPECT_EQ(Queued(pipe.read_end), 65536);
  EXPECT_TRUE(Fails(Write(pipe.write_end, 1), Code::kEAGAIN));
  EXPECT_TRUE(Gives(k.Fcntl(init, pipe.read_end, abi::kFGetPipeSize, 0), 65536));
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 100000).size(), 65536u);
  for (int i = 0; i < 16; ++i) EXPECT_TRUE(Gives(Write(pipe.write_end, 4095), 4095u));
  EXPECT_TRUE(Fails(Write(pipe.write_end, 4095), Code::kEAGAIN)) << "capacity is pages: each write took one";
  EXPECT_TRUE(Gives(Write(pipe.write_end, 1), 1u)) << "but the last page has a byte left";
}

TEST_F(PipeTest, SmallWritesShareAPage) {  // 94
  const PipeFds pipe = Pipe(O_NONBLOCK);
  for (int i = 0; i < 65536; ++i) ASSERT_TRUE(Gives(Write(pipe.write_end, 1), 1u));
  EXPECT_TRUE(Fails(Write(pipe.write_end, 1), Code::kEAGAIN));
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 65536).size(), 65536u);
}

TEST_F(PipeTest, WritesUpToFourKilobytesAreNeverSplit) {  // 95
  const PipeFds pipe = Pipe(O_NONBLOCK);
  EXPECT_TRUE(Gives(Write(pipe.write_end, 65536 - 4096), 65536u - 4096));
  EXPECT_TRUE(Gives(Write(pipe.write_end, 100), 100u));
  EXPECT_TRUE(Fails(Write(pipe.write_end, 4096), Code::kEAGAIN));
  EXPECT_TRUE(Fails(Write(pipe.write_end, 3997), Code::kEAGAIN));
  EXPECT_TRUE(Gives(Write(pipe.write_end, 3996), 3996u));
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 4096).size(), 4096u);
  EXPECT_TRUE(Gives(Write(pipe.write_end, 5000), 4096u)) << "larger ones are";
}

TEST_F(PipeTest, ThePipeSizeIsAPowerOfTwoPagesAndHoldsTheContent) {  // 96
  const PipeFds pipe = Pipe(O_NONBLOCK);
  const auto resize = [&](int64_t size) { return k.Fcntl(init, pipe.write_end, abi::kFSetPipeSize, size); };
  EXPECT_TRUE(Gives(resize(1), 4096));
  EXPECT_TRUE(Gives(resize(4097), 8192));
  EXPECT_TRUE(Gives(resize(100000), 131072));
  EXPECT_TRUE(Gives(Write(pipe.write_end, 40000), 40000u));
  EXPECT_TRUE(Fails(resize(32768), Code::kEBUSY));
  EXPECT_TRUE(Gives(resize(40000), 65536));
  EXPECT_TRUE(Fails(resize(int64_t{1} << 31 | 1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Fcntl(init, Value(k.Open(init, "/", O_RDONLY)), abi::kFGetPipeSize, 0), Code::kEBADF));
  EXPECT_TRUE(Ok(k.SetResUid(init, 1000, 1000, 1000)));
  EXPECT_TRUE(Fails(resize(2 << 20), Code::kEPERM));
}

TEST_F(PipeTest, PollTellsRoomDataHangupAndError) {  // 97
  const PipeFds a = Pipe(O_NONBLOCK);
  EXPECT_EQ(Poll(a.read_end, POLLIN | POLLOUT), 0);
  EXPECT_EQ(Poll(a.write_end, POLLIN | POLLOUT), POLLOUT);
  EXPECT_TRUE(Gives(Write(a.write_end, 65536), 65536u));
  EXPECT_EQ(Poll(a.read_end, POLLIN), POLLIN);
  EXPECT_EQ(Poll(a.write_end, POLLOUT), 0);
  EXPECT_TRUE(Ok(k.Close(init, a.write_end)));
  EXPECT_EQ(Poll(a.read_end, POLLIN), POLLIN | POLLHUP);
  EXPECT_EQ(ReadText(k, init, a.read_end, 65536).size(), 65536u);
  EXPECT_EQ(Poll(a.read_end, POLLIN), POLLHUP);
  const PipeFds b = Pipe();
  EXPECT_TRUE(Ok(k.Close(init, b.read_end)));
  EXPECT_EQ(Poll(b.write_end, 0), POLLERR);
  EXPECT_EQ(Poll(b.write_end, POLLOUT), POLLOUT | POLLERR);
  EXPECT_EQ(Poll(77, POLLIN), POLLNVAL);
  EXPECT_EQ(Poll(-1, POLLIN), 0);
  EXPECT_EQ(Poll(Value(k.Open(init, "/", O_RDONLY)), POLLIN | POLLOUT), POLLIN | POLLOUT);
  std::vector<PollEntry> too_many(1025, PollEntry{.fd = -1});
  EXPECT_TRUE(Fails(k.Poll(init, too_many, false), Code::kEINVAL));
}

TEST_F(PipeTest, TheEndComesWhenEveryCopyOfTheWriteEndIsClosed) {  // 98
  const PipeFds pipe = Pipe(O_NONBLOCK);
  const Pid child = Value(k.Fork(init));
  const Fd copy = Value(k.Dup(init, pipe.write_end));
  EXPECT_TRUE(Ok(k.Close(init, pipe.write_end)));
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "<EAGAIN>");
  EXPECT_TRUE(Ok(k.Close(init, copy)));
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "<EAGAIN>");
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "");
}

TEST_F(PipeTest, AFifoOpenedForWritingWithoutWaitingNeedsAReader) {  // 99
  EXPECT_TRUE(Ok(k.MknodAt(init, kAtFdCwd, "/fifo", S_IFIFO | 0600, 0)));
  EXPECT_TRUE(Fails(k.Open(init, "/fifo", O_WRONLY | O_NONBLOCK), Code::kENXIO));
  const Fd reader = Value(k.Open(init, "/fifo", O_RDONLY | O_NONBLOCK));
  EXPECT_EQ(Poll(reader, POLLIN), 0) << "no hang-up before a first writer";
  EXPECT_EQ(ReadText(k, init, reader), "") << "but no writer either";
  const Fd writer = Value(k.Open(init, "/fifo", O_WRONLY | O_NONBLOCK));
  EXPECT_EQ(ReadText(k, init, reader), "<EAGAIN>");
  EXPECT_TRUE(Gives(Write(writer, 3), 3u));
  EXPECT_TRUE(Ok(k.Close(init, writer)));
  EXPECT_EQ(Poll(reader, POLLIN), POLLIN | POLLHUP);
  EXPECT_EQ(ReadText(k, init, reader), "xxx");
  EXPECT_TRUE(Ok(k.Close(init, reader)));
  EXPECT_EQ(k.Stats().pipes, 0u);
  EXPECT_TRUE(Ok(k.Open(init, "/fifo", O_RDWR))) << "its own partner";
}

TEST_F(PipeTest, ABlockedWriterReturnsItsPartialCountWhenTheReaderCloses) {  // 100
  const PipeFds pipe = Pipe();
  const Pid writer = Value(k.Fork(init));
  EXPECT_TRUE(Ok(k.Close(writer, pipe.read_end)));
  EXPECT_TRUE(Ok(k.Close(init, pipe.write_end)));
  std::jthread thread(
      [&] { EXPECT_TRUE(Gives(k.Write(writer, pipe.write_end, Bytes(std::string(100000, 'x'))), 65536u + 4096)); });
  size_t got = 0;
  while (got < 4096) got += ReadText(k, init, pipe.read_end, 4096 - got).size();
  while (Queued(pipe.read_end) < 65536) std::this_thread::yield();  // the writer has used the room
  EXPECT_TRUE(Ok(k.Close(init, pipe.read_end)));
}

TEST_F(PipeTest, PipesHaveNoPositionAndNoSize) {  // 101
  const PipeFds pipe = Pipe();
  std::byte byte{};
  EXPECT_TRUE(Fails(k.Seek(init, pipe.read_end, 0, SEEK_SET), Code::kESPIPE));
  EXPECT_TRUE(Fails(k.PRead(init, pipe.read_end, std::span(&byte, 1), 0), Code::kESPIPE));
  EXPECT_TRUE(Fails(k.PWrite(init, pipe.write_end, Bytes("x"), 0), Code::kESPIPE));
  EXPECT_TRUE(Fails(k.FTruncate(init, pipe.write_end, 0), Code::kEINVAL));
  EXPECT_EQ(ReadText(k, init, pipe.write_end), "<EBADF>");
  EXPECT_TRUE(Fails(Write(pipe.read_end, 1), Code::kEBADF));
  EXPECT_TRUE(Fails(k.Pipe(init, O_APPEND), Code::kEINVAL));
  const Stat stat = Value(k.StatAt(init, pipe.read_end, "", abi::kAtEmptyPath));
  EXPECT_EQ(stat.mode, S_IFIFO | 0600u);
  EXPECT_EQ(stat.ino, Value(k.StatAt(init, pipe.write_end, "", abi::kAtEmptyPath)).ino);
}

TEST_F(PipeTest, PacketsKeepTheirBoundaries) {
  const PipeFds pipe = Pipe(abi::kODirect | O_NONBLOCK);
  EXPECT_TRUE(Ok(k.Write(init, pipe.write_end, Bytes("first"))));
  EXPECT_TRUE(Ok(k.Write(init, pipe.write_end, Bytes("second"))));
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 3), "fir") << "the rest of a packet is lost";
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 100), "second");
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 100), "<EAGAIN>");
}

TEST_F(PipeTest, AReaderSleepsUntilBytesCome) {
  const PipeFds pipe = Pipe();
  const Pid reader = Value(k.Fork(init));
  std::atomic<bool> done = false;
  std::jthread thread([&] {
    EXPECT_EQ(ReadText(k, reader, pipe.read_end), "hello");
    done = true;
  });
  EXPECT_FALSE(done);
  EXPECT_TRUE(Ok(k.Write(init, pipe.write_end, Bytes("hello"))));
}

TEST_F(PipeTest, AReaderSleepsUntilTheLastWriterIsGone) {
  const PipeFds pipe = Pipe();
  const Pid writer = Value(k.Fork(init));
  EXPECT_TRUE(Ok(k.Close(init, pipe.write_end)));
  std::atomic<bool> done = false;
  std::jthread thread([&] {
    EXPECT_EQ(ReadText(k, init, pipe.read_end), "");
    done = true;
  });
  EXPECT_FALSE(done);
  EXPECT_TRUE(Ok(k.Terminate(writer, SIGKILL, false)));
}

TEST_F(PipeTest, AWriterSleepsUntilEverythingIsWritten) {
  const PipeFds pipe = Pipe();
  const Pid writer = Value(k.Fork(init));
  std::jthread thread([&] {
    EXPECT_TRUE(Gives(k.Write(writer, pipe.write_end, Bytes(std::string(300000, 'x'))), 300000u));
    EXPECT_TRUE(Ok(k.ExitGroup(writer, 0)));
  });
  EXPECT_TRUE(Ok(k.Close(init, pipe.write_end)));
  size_t total = 0;
  for (;;) {
    const std::string text = ReadText(k, init, pipe.read_end, 7777);
    if (text.empty()) break;
    ASSERT_EQ(text.find_first_not_of('x'), std::string::npos) << text.substr(0, 20);
    total += text.size();
  }
  EXPECT_EQ(total, 300000u);
}

TEST_F(PipeTest, AFifosOpenersWaitForEachOther) {
  EXPECT_TRUE(Ok(k.MknodAt(init, kAtFdCwd, "/fifo", S_IFIFO | 0600, 0)));
  const Pid other = Value(k.Fork(init));
  for (int round = 0; round < 20; ++round) {
    std::jthread thread([&] {
      const Fd fd = Value(k.Open(other, "/fifo", O_WRONLY));
      EXPECT_TRUE(Ok(k.Write(other, fd, Bytes("x"))));
      EXPECT_TRUE(Ok(k.Close(other, fd)));
    });
    const Fd fd = Value(k.Open(init, "/fifo", O_RDONLY));
    EXPECT_EQ(ReadText(k, init, fd), "x");
    EXPECT_EQ(ReadText(k, init, fd), "");
    EXPECT_TRUE(Ok(k.Close(init, fd)));
  }
  EXPECT_EQ(k.Stats().pipes, 0u);
}

TEST_F(PipeTest, AnOpenThatSleepsKeepsItsNumber) {
  EXPECT_TRUE(Ok(k.MknodAt(init, kAtFdCwd, "/fifo", S_IFIFO | 0600, 0)));
  const Pid sibling = Value(k.Clone(init, {.flags = abi::kCloneFiles}));
  Fd slow = -1;
  std::jthread thread([&] { slow = Value(k.Open(sibling, "/fifo", O_RDONLY)); });
  while (k.Stats().pipes == 0) std::this_thread::yield();  // the reader is inside
  EXPECT_TRUE(Gives(k.Open(init, "/", O_RDONLY), 1));
  EXPECT_TRUE(Fails(k.Close(init, 0), Code::kEBADF)) << "taken, but not open yet";
  EXPECT_TRUE(Fails(k.Dup2(init, 1, 0), Code::kEBUSY));
  const Fd writer = Value(k.Open(init, "/fifo", O_WRONLY));
  EXPECT_EQ(writer, 2);
  thread.join();
  EXPECT_EQ(slow, 0);
}

TEST_F(PipeTest, PollSleepsUntilOneOfItsDescriptorsIsReady) {
  const PipeFds a = Pipe();
  const PipeFds b = Pipe();
  const Pid writer = Value(k.Fork(init));
  std::atomic<bool> done = false;
  std::jthread thread([&] {
    std::array<PollEntry, 2> entries = {PollEntry{.fd = a.read_end, .events = POLLIN},
                                        PollEntry{.fd = b.read_end, .events = POLLIN}};
    EXPECT_TRUE(Gives(k.Poll(init, entries, true), 1));
    EXPECT_EQ(entries[0].revents, 0);
    EXPECT_EQ(entries[1].revents, POLLIN);
    done = true;
  });
  EXPECT_FALSE(done);
  EXPECT_TRUE(Ok(k.Write(writer, b.write_end, Bytes("x"))));
}

TEST_F(PipeTest, ASleepingReadIsInterruptedByAHandlerWithoutRestart) {  // 119
  const PipeFds pipe = Pipe();
  Catch(SIGUSR1, 0);
  const Pid other = Value(k.Fork(init));
  std::jthread thread([&] { EXPECT_EQ(ReadText(k, init, pipe.read_end), "<EINTR>"); });
  EXPECT_TRUE(Ok(k.Kill(other, init, SIGUSR1)));
  thread.join();
  const Delivery delivery = Value(k.DeliverSignal(init));
  EXPECT_EQ(delivery.signal, SIGUSR1);
  EXPECT_EQ(delivery.sender, other);
  EXPECT_EQ(delivery.action.handler, kHandler);
}

TEST_F(PipeTest, ASleepingReadGoesOnIfTheHandlerRestarts) {  // 119
  const PipeFds pipe = Pipe();
  Catch(SIGUSR1, abi::kSaRestart);
  const Pid other = Value(k.Fork(init));
  std::atomic<bool> done = false;
  std::jthread thread([&] {
    EXPECT_EQ(ReadText(k, init, pipe.read_end), "late");
    done = true;
  });
  EXPECT_TRUE(Ok(k.Kill(other, init, SIGUSR1)));
  EXPECT_FALSE(done);
  EXPECT_TRUE(Ok(k.Write(other, pipe.write_end, Bytes("late"))));
  thread.join();
  EXPECT_EQ(Value(k.DeliverSignal(init)).signal, SIGUSR1);
}

TEST_F(PipeTest, PollIsNeverRestarted) {  // 119
  const PipeFds pipe = Pipe();
  Catch(SIGUSR1, abi::kSaRestart);
  const Pid other = Value(k.Fork(init));
  std::jthread thread([&] {
    PollEntry entry{.fd = pipe.read_end, .events = POLLIN};
    EXPECT_TRUE(Fails(k.Poll(init, std::span(&entry, 1), true), Code::kEINTR));
  });
  EXPECT_TRUE(Ok(k.Kill(other, init, SIGUSR1)));
}

TEST_F(PipeTest, AnInterruptedWriterReturnsWhatItWrote) {  // 119
  const PipeFds pipe = Pipe();
  Catch(SIGUSR1, 0);
  const Pid other = Value(k.Fork(init));
  std::jthread thread([&] { EXPECT_TRUE(Gives(Write(pipe.write_end, 100000), 65536u)); });
  int64_t queued = 0;
  while (queued < 65536) EXPECT_TRUE(Ok(k.Ioctl(other, pipe.read_end, abi::kFionRead, &queued)));
  EXPECT_TRUE(Ok(k.Kill(other, init, SIGUSR1)));
}

TEST_F(PipeTest, AKilledTasksCallsEnd) {
  const PipeFds pipe = Pipe();
  const Pid child = Value(k.Fork(init));
  std::jthread thread([&] { EXPECT_EQ(ReadText(k, child, pipe.read_end), "<ESRCH>"); });
  EXPECT_TRUE(Ok(k.Kill(init, child, SIGKILL)));
  EXPECT_EQ(Value(k.Wait(init, child, 0)).status, SIGKILL);
}

TEST_F(PipeTest, AStoppedTasksCallsWaitForItsContinuation) {
  const PipeFds pipe = Pipe();
  const Pid child = Value(k.Fork(init));
  EXPECT_TRUE(Ok(k.Kill(init, child, SIGSTOP)));
  std::atomic<bool> done = false;
  std::jthread thread([&] {
    EXPECT_EQ(ReadText(k, child, pipe.read_end), "x");
    done = true;
  });
  EXPECT_TRUE(Gives(Write(pipe.write_end, 1), 1u));
  EXPECT_FALSE(done);
  EXPECT_TRUE(Ok(k.Kill(init, child, SIGCONT)));
}

TEST_F(PipeTest, SendfileToAFullPipeWaitsForRoom) {
  const PipeFds pipe = Pipe();
  const Pid child = Value(k.Fork(init));
  EXPECT_TRUE(Gives(Write(pipe.write_end, 65536), 65536u));
  WriteFile(k, init, "/f", std::string(10000, 'y'));
  std::jthread thread([&] {
    const Fd in = Value(k.Open(child, "/f", O_RDONLY));
    EXPECT_TRUE(Gives(k.SendFile(child, pipe.write_end, in, nullptr, 10000), 4096u)) << "one round: what has room";
  });
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 4096).size(), 4096u);
  thread.join();
}

TEST_F(PipeTest, AWaitingLockIsGrantedWhenItsHolderLetsGo) {
  const Fd fd = Value(k.Open(init, "/f", O_CREAT | O_RDWR, 0600));
  const Pid child = Value(k.Fork(init));
  FileLockRange lock{.type = F_WRLCK};
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, lock)));
  std::atomic<bool> done = false;
  std::jthread thread([&] {
    FileLockRange wanted{.type = F_WRLCK};
    EXPECT_TRUE(Ok(k.FileLock(child, fd, F_SETLKW, wanted)));
    done = true;
  });
  EXPECT_FALSE(done);
  FileLockRange unlock{.type = F_UNLCK};
  EXPECT_TRUE(Ok(k.FileLock(init, fd, F_SETLK, unlock)));
  thread.join();
  EXPECT_TRUE(Fails(k.FileLock(init, fd, F_SETLK, lock), Code::kEAGAIN));
}

class DrivenPipeTest : public DrivenKernelTest {};

TEST_F(DrivenPipeTest, ACallThatWouldSleepChangesNothing) {
  const PipeFds pipe = Value(k.Pipe(init, 0));
  const KernelStats before = k.Stats();
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "<ERESTART>");
  EXPECT_TRUE(Gives(k.Write(init, pipe.write_end, Bytes(std::string(60000, 'x'))), 60000u));
  EXPECT_TRUE(Gives(k.Write(init, pipe.write_end, Bytes(std::string(3000, 'x'))), 3000u));
  EXPECT_TRUE(Fails(k.Write(init, pipe.write_end, Bytes(std::string(4096, 'x'))), Code::kERESTART));
  EXPECT_TRUE(Gives(k.Write(init, pipe.write_end, Bytes(std::string(5000, 'x'))), 904u))
      << "a large write takes what fits: here its first, partial page";
  EXPECT_EQ(ReadText(k, init, pipe.read_end, 1 << 20).size(), 63904u);
  PollEntry entry{.fd = pipe.read_end, .events = POLLIN};
  EXPECT_TRUE(Fails(k.Poll(init, std::span(&entry, 1), true), Code::kERESTART));
  EXPECT_TRUE(SameStats(before, k.Stats()));
}

TEST_F(DrivenPipeTest, FifoOpensMeetWhenTheyAreMadeAgain) {
  EXPECT_TRUE(Ok(k.MknodAt(init, kAtFdCwd, "/fifo", S_IFIFO | 0600, 0)));
  const Pid other = Value(k.Fork(init));
  EXPECT_TRUE(Fails(k.Open(init, "/fifo", O_RDONLY), Code::kERESTART));
  EXPECT_TRUE(Fails(k.Open(init, "/fifo", O_RDONLY), Code::kERESTART)) << "nobody came";
  const Fd writer = Value(k.Open(other, "/fifo", O_WRONLY));
  EXPECT_TRUE(Ok(k.Write(other, writer, Bytes("x"))));
  EXPECT_TRUE(Ok(k.Close(other, writer)));
  const Fd reader = Value(k.Open(init, "/fifo", O_RDONLY));
  EXPECT_EQ(ReadText(k, init, reader), "x") << "the partner has come and gone";
  EXPECT_EQ(ReadText(k, init, reader), "");
  EXPECT_TRUE(Ok(k.Close(init, reader)));
  EXPECT_TRUE(Fails(k.Open(other, "/fifo", O_WRONLY), Code::kERESTART));
  EXPECT_TRUE(Ok(k.ExitGroup(other, 0)));
  EXPECT_EQ(k.Stats().pipes, 0u) << "a dead task's open is forgotten";
}

}  // namespace
}  // namespace hotpath::kernel
