// Many threads, one kernel: each thread is a process that forks, opens, pipes, waits and exits, with blocking calls
// that really block.

#include <fcntl.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"
#include "stress/base/storm.h"

namespace hotpath::kernel {
namespace {

using stress::Rng;
using stress::Storm;

// A thread's own process, spawned on its first step.
class Self {
 public:
  explicit Self(Kernel& kernel) : kernel_(kernel) {}
  Pid Get() {
    const std::thread::id me = std::this_thread::get_id();
    {
      std::lock_guard lock(mu_);
      for (const auto& [thread, pid] : pids_) {
        if (thread == me) return pid;
      }
    }
    const Pid pid = kernel_.Spawn({.name = "worker"}).value();
    std::lock_guard lock(mu_);
    pids_.emplace_back(me, pid);
    return pid;
  }
  void ExitAll() {
    for (const auto& [thread, pid] : pids_) EXPECT_TRUE(kernel_.ExitGroup(pid, 0).ok());
  }

 private:
  Kernel& kernel_;
  std::mutex mu_;
  std::vector<std::pair<std::thread::id, Pid>> pids_;
};

void ExpectNothingLeft(const Kernel& kernel, const KernelStats& before) {
  const KernelStats after = kernel.Stats();
  EXPECT_EQ(after.processes, before.processes);
  EXPECT_EQ(after.tasks, before.tasks);
  EXPECT_EQ(after.zombies, before.zombies);
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.open_descriptions, before.open_descriptions);
  EXPECT_EQ(after.pipes, before.pipes);
  EXPECT_EQ(after.mapped_bytes, before.mapped_bytes);
}

// Every byte written into a pipe comes out once, in order per writer, and the reader sees the end exactly when the
// last writer closed.
TEST(KernelStress, PipesLoseAndDoubleNoByte) {
  Kernel kernel;
  const KernelStats before = kernel.Stats();
  constexpr int kWriters = 3;
  constexpr uint32_t kMessages = 3000;
  const Pid reader = kernel.Spawn({.name = "reader"}).value();
  const PipeFds pipe = kernel.Pipe(reader, 0).value();
  ASSERT_TRUE(kernel.Fcntl(reader, pipe.write_end, F_SETPIPE_SZ, 4096).ok());  // small, so that both sides block

  struct Message {
    uint32_t writer;
    uint32_t number;
  };
  std::vector<std::jthread> threads;
  for (uint32_t w = 0; w < kWriters; ++w) {
    const Pid writer = kernel.Fork(reader).value();
    threads.emplace_back([&kernel, writer, pipe, w] {
      ASSERT_TRUE(kernel.Close(writer, pipe.read_end).ok());
      for (uint32_t i = 0; i < kMessages; ++i) {
        const Message message{w, i};
        const Result<size_t> written = kernel.Write(writer, pipe.write_end, std::as_bytes(std::span(&message, 1)));
        ASSERT_EQ(written.value_or(0), sizeof(message));
      }
      ASSERT_TRUE(kernel.ExitGroup(writer, static_cast<int>(w)).ok());
    });
  }
  ASSERT_TRUE(kernel.Close(reader, pipe.write_end).ok());
  std::array<uint32_t, kWriters> next{};
  for (;;) {
    std::array<Message, 64> batch;
    const Result<size_t> got = kernel.Read(reader, pipe.read_end, std::as_writable_bytes(std::span(batch)));
    ASSERT_TRUE(got.ok()) << got.error();
    if (*got == 0) break;
    ASSERT_EQ(*got % sizeof(Message), 0u);
    for (size_t i = 0; i < *got / sizeof(Message); ++i) {
      ASSERT_LT(batch[i].writer, static_cast<uint32_t>(kWriters));
      ASSERT_EQ(batch[i].number, next[batch[i].writer]++);
    }
  }
  for (const uint32_t n : next) EXPECT_EQ(n, kMessages);
  threads.clear();
  for (int w = 0; w < kWriters; ++w) EXPECT_TRUE(kernel.Wait(reader, -1, 0).ok());
  EXPECT_TRUE(kernel.ExitGroup(reader, 0).ok());
  ExpectNothingLeft(kernel, before);
}

// Each child that any thread forked is reaped exactly once, with its own status, by a parent that blocks in wait.
TEST(KernelStress, EveryChildIsReapedOnceWithItsStatus) {
  Kernel kernel;
  const KernelStats before = kernel.Stats();
  Self self(kernel);
  std::atomic<uint64_t> forked{0}, reaped{0};
  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    const Pid parent = self.Get();
    const int status = static_cast<int>(rng.Below(256));
    const Result<Pid> child = kernel.Fork(parent);
    ASSERT_TRUE(child.ok()) << child.error();
    forked.fetch_add(1, std::memory_order::relaxed);
    std::jthread dies([&kernel, pid = *child, status] { ASSERT_TRUE(kernel.ExitGroup(pid, status).ok()); });
    const Result<WaitResult> waited = kernel.Wait(parent, -1, 0);
    ASSERT_TRUE(waited.ok()) << waited.error();
    ASSERT_EQ(waited->pid, *child);
    ASSERT_TRUE(WIFEXITED(waited->status));
    ASSERT_EQ(WEXITSTATUS(waited->status), status);
    ASSERT_EQ(kernel.Wait(parent, -1, WNOHANG).code(), Code::kECHILD);
    reaped.fetch_add(1, std::memory_order::relaxed);
  });
  storm.Run();
  EXPECT_EQ(forked.load(), reaped.load());
  self.ExitAll();
  ExpectNothingLeft(kernel, before);
}

// Threads that share one descriptor table never get the same number twice at a time.
TEST(KernelStress, ThreadsOfOneProcessShareDescriptorsWithoutClashes) {
  constexpr uint64_t kCloneThread =
      0x00000100 | 0x00000200 | 0x00000400 | 0x00000800 | 0x00010000;  // VM FS FILES SIGHAND THREAD
  Kernel kernel;
  const KernelStats before = kernel.Stats();
  const Pid leader = kernel.Spawn({.name = "leader"}).value();
  ASSERT_TRUE(kernel.Open(leader, "/shared", O_CREAT | O_RDWR, 0600).ok());
  std::array<std::atomic<int>, 64> holders{};
  std::atomic<uint64_t> opened{0};
  std::vector<Pid> tasks;
  Storm storm;
  for (int i = 0; i < 4; ++i) {
    const Pid task = kernel.Clone(leader, {.flags = kCloneThread, .exit_signal = 0}).value();
    tasks.push_back(task);
    storm.Crowd(1, [&, task](Rng& rng) {
      const Result<Fd> fd = rng.OneIn(2) ? kernel.Open(task, "/shared", O_RDONLY | O_CLOEXEC) : kernel.Dup(task, 0);
      ASSERT_TRUE(fd.ok()) << fd.error();
      ASSERT_GT(*fd, 0);
      ASSERT_LE(*fd, 4) << "not the lowest free number: four threads hold at most four";
      ASSERT_EQ(holders[static_cast<size_t>(*fd)].fetch_add(1), 0) << "descriptor " << *fd << " was given out twice";
      opened.fetch_add(1, std::memory_order::relaxed);
      std::array<std::byte, 8> buffer;
      ASSERT_EQ(kernel.PRead(task, *fd, buffer, 0).value_or(99), 0u);
      ASSERT_EQ(holders[static_cast<size_t>(*fd)].fetch_sub(1), 1);
      ASSERT_TRUE(kernel.Close(task, *fd).ok());
    });
  }
  storm.Run();
  EXPECT_GT(opened.load(), 0u);
  EXPECT_EQ(kernel.Stats().descriptors, before.descriptors + 1);
  EXPECT_TRUE(kernel.ExitGroup(leader, 0).ok());
  ExpectNothingLeft(kernel, before);
}

// O_APPEND writes of several processes to one file neither overlap nor leave holes.
TEST(KernelStress, AppendsOfManyProcessesDoNotOverlap) {
  Kernel kernel;
  Self self(kernel);
  std::atomic<uint64_t> written{0};
  Storm storm;
  storm.Crowd(4, [&](Rng& rng) {
    const Pid pid = self.Get();
    const Result<Fd> fd = kernel.Open(pid, "/log", O_CREAT | O_WRONLY | O_APPEND, 0600);
    ASSERT_TRUE(fd.ok()) << fd.error();
    const std::string line(1 + rng.Below(64), static_cast<char>('a' + rng.Below(26)));
    ASSERT_EQ(kernel.Write(pid, *fd, std::as_bytes(std::span(line))).value_or(0), line.size());
    written.fetch_add(line.size(), std::memory_order::relaxed);
    ASSERT_TRUE(kernel.Close(pid, *fd).ok());
  });
  storm.Run();
  const Pid reader = kernel.Spawn({}).value();
  EXPECT_EQ(static_cast<uint64_t>(kernel.StatAt(reader, kAtFdCwd, "/log", 0).value().size), written.load());
  std::string all(written.load(), '\0');
  const Fd fd = kernel.Open(reader, "/log", O_RDONLY).value();
  ASSERT_EQ(kernel.Read(reader, fd, std::as_writable_bytes(std::span(all))).value_or(0), all.size());
  EXPECT_EQ(all.find('\0'), std::string::npos) << "an append left a hole";
  self.ExitAll();
}

// Names made and removed by many processes: create with O_EXCL succeeds for one at a time.
TEST(KernelStress, ExclusiveCreateHasOneWinner) {
  Kernel kernel;
  Self self(kernel);
  std::atomic<int> owners{0};
  std::atomic<uint64_t> wins{0};
  Storm storm;
  storm.Crowd(4, [&](Rng&) {
    const Pid pid = self.Get();
    const Result<Fd> fd = kernel.Open(pid, "/lock", O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (!fd.ok()) {
      ASSERT_EQ(fd.code(), Code::kEEXIST);
      storm.Collided();
      return;
    }
    ASSERT_EQ(owners.fetch_add(1), 0) << "two processes own the lock file";
    wins.fetch_add(1, std::memory_order::relaxed);
    ASSERT_TRUE(kernel.Close(pid, *fd).ok());
    std::this_thread::yield();
    ASSERT_EQ(owners.fetch_sub(1), 1);
    ASSERT_TRUE(kernel.UnlinkAt(pid, kAtFdCwd, "/lock", 0).ok());
  });
  storm.MustCollide("a process found the lock file taken");
  storm.Run();
  EXPECT_GT(wins.load(), 0u);
  self.ExitAll();
}

}  // namespace
}  // namespace hotpath::kernel
