// Processes, through the facade. The answers are Linux's.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kThreadFlags =
    abi::kCloneVm | abi::kCloneFs | abi::kCloneFiles | abi::kCloneSighand | abi::kCloneThread;
constexpr uint64_t kHandler = 0x1000;

class ProcessTest : public KernelTest {
 protected:
  ProcessTest() : parent(Value(k.Spawn({.name = "parent", .parent = init}))) {
    EXPECT_TRUE(Ok(k.Seed("/bin/true", {.mode = 0100755, .size = 100, .target = ""})));
  }

  Pid Fork() { return Value(k.Fork(parent)); }
  Pid Thread(Pid of) { return Value(k.Clone(of, {.flags = kThreadFlags, .exit_signal = 0})); }
  Result<void> Exec(Pid t) { return k.Exec(t, kAtFdCwd, "/bin/true", 0); }
  Result<WaitResult> Wait(Pid which, int options = 0) { return k.Wait(parent, which, options); }
  void Act(Pid t, int signal, uint64_t handler, uint64_t flags = 0) {
    const SignalAction action{.handler = handler, .flags = flags};
    EXPECT_TRUE(Ok(k.Sigaction(t, signal, &action)));
  }

  const Pid parent;
};

TEST_F(ProcessTest, TheExitStatusIsItsLowEightBits) {  // 67
  const Pid child = Fork();
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0x1234)));
  const WaitResult result = Value(Wait(child));
  EXPECT_EQ(result.pid, child);
  EXPECT_TRUE(WIFEXITED(result.status));
  EXPECT_EQ(WEXITSTATUS(result.status), 0x34);
}

TEST_F(ProcessTest, ThereIsNothingToWaitForButChildren) {  // 68
  EXPECT_TRUE(Fails(Wait(-1), Code::kECHILD));
  const Pid child = Fork();
  EXPECT_TRUE(Fails(Wait(parent), Code::kECHILD));
  EXPECT_TRUE(Fails(Wait(4711), Code::kECHILD));
  EXPECT_TRUE(Fails(k.Wait(child, child, 0), Code::kECHILD));
  EXPECT_TRUE(Fails(k.Wait(init, child, 0), Code::kECHILD)) << "a grandchild is a stranger";
  EXPECT_TRUE(Fails(Wait(-4711), Code::kECHILD));
  EXPECT_TRUE(Fails(Wait(INT32_MIN), Code::kESRCH));
}

TEST_F(ProcessTest, WaitWithoutHangingReturnsNobodyWhileTheChildRuns) {  // 69
  const Pid child = Fork();
  EXPECT_EQ(Value(Wait(-1, WNOHANG)).pid, 0);
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_EQ(Value(Wait(-1, WNOHANG)).pid, child);
  EXPECT_TRUE(Fails(Wait(-1, WNOHANG), Code::kECHILD));
}

TEST_F(ProcessTest, AZombieIsThereUntilItIsReaped) {  // 70
  const Pid child = Fork();
  EXPECT_TRUE(Ok(k.ExitGroup(child, 5)));
  EXPECT_TRUE(Ok(k.Kill(parent, child, 0)));
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGKILL)));
  EXPECT_TRUE(Gives(k.GetProcessGroup(parent, child), Value(k.GetProcessGroup(parent, 0))));
  const WaitInfo peek = Value(k.WaitId(parent, P_PID, child, WEXITED | WNOWAIT));
  EXPECT_EQ(peek.pid, child);
  EXPECT_EQ(peek.code, CLD_EXITED);
  EXPECT_EQ(peek.status, 5);
  EXPECT_EQ(k.Stats().zombies, 1u);
  EXPECT_EQ(Value(k.WaitId(parent, P_ALL, 0, WEXITED)).pid, child);
  EXPECT_TRUE(Fails(k.Kill(parent, child, 0), Code::kESRCH));
  EXPECT_TRUE(Fails(k.GetProcessGroup(parent, child), Code::kESRCH));
  EXPECT_EQ(k.Stats().zombies, 0u);
}

TEST_F(ProcessTest, AKilledChildReportsItsSignal) {  // 71
  const Pid killed = Fork();
  EXPECT_TRUE(Ok(k.Kill(parent, killed, SIGTERM)));
  EXPECT_EQ(Value(Wait(killed)).status, SIGTERM);
  const Pid dumped = Fork();
  EXPECT_TRUE(Ok(k.Terminate(dumped, SIGSEGV, true)));
  EXPECT_TRUE(Ok(k.Terminate(dumped, SIGSEGV, true))) << "it has died so";
  EXPECT_TRUE(Fails(k.Terminate(dumped, SIGTERM, false), Code::kESRCH));
  EXPECT_EQ(Value(k.WaitId(parent, P_PID, dumped, WEXITED | WNOWAIT)).code, CLD_DUMPED);
  EXPECT_EQ(Value(Wait(dumped)).status, SIGSEGV | 0x80);
  const Pid limited = Fork();
  const Rlimit core{1 << 20, 1 << 20};
  EXPECT_TRUE(Ok(k.Prlimit(limited, 0, 4, &core)));
  EXPECT_TRUE(Ok(k.Kill(parent, limited, SIGQUIT)));
  EXPECT_EQ(Value(Wait(limited)).status, SIGQUIT | 0x80) << "a core is dumped where RLIMIT_CORE has room";
  EXPECT_TRUE(Fails(k.Terminate(4711, SIGKILL, false), Code::kESRCH));
  EXPECT_TRUE(Fails(k.Terminate(parent, 0, false), Code::kEINVAL));
}

TEST_F(ProcessTest, WaitRefusesUnknownOptions) {  // 72
  EXPECT_TRUE(Fails(Wait(-1, 0x100), Code::kEINVAL));
  EXPECT_TRUE(Fails(Wait(-1, WNOWAIT), Code::kEINVAL));
  EXPECT_TRUE(Fails(Wait(-1, WEXITED), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.WaitId(parent, P_ALL, 0, WNOHANG), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.WaitId(parent, 9, 0, WEXITED), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.WaitId(parent, P_PID, 0, WEXITED), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.WaitId(parent, P_PGID, -5, WEXITED), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.WaitId(parent, P_PGID, 0, WEXITED), Code::kECHILD));
}

TEST_F(ProcessTest, WaitTakesTheOldestChildThatHasSomethingToReport) {
  const Pid older = Fork();
  const Pid younger = Fork();
  EXPECT_TRUE(Ok(k.ExitGroup(younger, 0)));
  EXPECT_TRUE(Ok(k.ExitGroup(older, 0)));
  EXPECT_EQ(Value(Wait(-1)).pid, older);
  EXPECT_EQ(Value(Wait(-1)).pid, younger);
}

TEST_F(ProcessTest, WaitSelectsByGroup) {
  const Pid a = Fork();
  const Pid b = Fork();
  EXPECT_TRUE(Ok(k.SetProcessGroup(parent, b, b)));
  EXPECT_TRUE(Ok(k.ExitGroup(a, 1)));
  EXPECT_TRUE(Ok(k.ExitGroup(b, 2)));
  EXPECT_EQ(Value(Wait(-b)).pid, b);
  EXPECT_EQ(Value(Wait(0)).pid, a);
}

TEST_F(ProcessTest, AnOrphanGoesToTheNearestSubreaperOrToInit) {  // 73
  EXPECT_TRUE(Ok(k.SetChildSubreaper(parent, true)));
  const Pid middle = Fork();
  const Pid orphan = Value(k.Fork(middle));
  const Pid zombie = Value(k.Fork(middle));
  EXPECT_TRUE(Ok(k.ExitGroup(zombie, 3)));
  EXPECT_TRUE(Ok(k.ExitGroup(middle, 0)));
  EXPECT_TRUE(Gives(k.GetParentPid(orphan), parent));
  EXPECT_EQ(Value(Wait(middle)).pid, middle);
  EXPECT_EQ(Value(Wait(zombie)).status, 3 << 8);
  EXPECT_TRUE(Ok(k.SetChildSubreaper(parent, false)));
  EXPECT_TRUE(Ok(k.ExitGroup(parent, 0)));
  EXPECT_TRUE(Gives(k.GetParentPid(orphan), init));
  EXPECT_TRUE(Ok(k.ExitGroup(init, 0)));
  EXPECT_TRUE(Gives(k.GetParentPid(orphan), 0)) << "nobody is left";
  EXPECT_EQ(k.Stats().zombies, 0u) << "and nobody will reap: what is dead is gone";
  EXPECT_TRUE(Ok(k.ExitGroup(orphan, 0)));
  EXPECT_EQ(k.Stats().processes, 0u);
}

TEST_F(ProcessTest, IgnoringSigchldReapsAutomatically) {  // 74
  Act(parent, SIGCHLD, 1);
  const Pid child = Fork();
  const Pid other = Fork();
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_EQ(k.Stats().zombies, 0u);
  EXPECT_TRUE(Fails(Wait(child), Code::kECHILD));
  std::jthread thread([&] { EXPECT_TRUE(Fails(Wait(-1), Code::kECHILD)) << "after the last one is gone"; });
  EXPECT_TRUE(Ok(k.ExitGroup(other, 0)));
  thread.join();
  Act(parent, SIGCHLD, kHandler, abi::kSaNoCldWait);
  EXPECT_TRUE(Ok(k.ExitGroup(Fork(), 0)));
  EXPECT_TRUE(Fails(Wait(-1), Code::kECHILD));
  EXPECT_EQ(Value(k.DeliverSignal(parent)).signal, SIGCHLD) << "SA_NOCLDWAIT reaps, and tells all the same";
}

TEST_F(ProcessTest, AVforkParentSleepsUntilItsChildExecsOrExits) {  // 75
  for (const bool exec : {true, false}) {
    const Pid child = Value(k.Clone(parent, {.flags = abi::kCloneVfork | abi::kCloneVm}));
    std::atomic<bool> done = false;
    std::jthread thread([&] {
      EXPECT_TRUE(Gives(k.GetPid(parent), parent));
      done = true;
    });
    EXPECT_TRUE(Ok(k.Mmap(child, 0, 4096, 3, 0x22, -1, 0)));
    EXPECT_FALSE(done);
    if (exec) EXPECT_TRUE(Ok(Exec(child)));
    if (!exec) EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
    thread.join();
    if (exec) EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
    EXPECT_EQ(Value(Wait(-1)).pid, child);
  }
  EXPECT_EQ(Value(k.MemoryOf(parent)).mapped, 8192u) << "the memory was shared";
}

TEST_F(ProcessTest, AKilledVforkChildReleasesItsParent) {  // 75
  const Pid child = Value(k.Clone(parent, {.flags = abi::kCloneVfork | abi::kCloneVm}));
  std::jthread thread([&] { EXPECT_EQ(Value(Wait(-1)).status, SIGKILL); });
  EXPECT_TRUE(Ok(k.Kill(init, child, SIGKILL)));
}

TEST_F(ProcessTest, ExecResetsCaughtSignalsAndKeepsIgnoredOnesAndTheMask) {  // 76
  Act(parent, SIGUSR1, kHandler, abi::kSaRestart);
  Act(parent, SIGUSR2, 1);
  const uint64_t mask = 1 << (SIGTERM - 1);
  EXPECT_TRUE(Ok(k.Sigprocmask(parent, SIG_SETMASK, &mask)));
  EXPECT_TRUE(Ok(k.Kill(init, parent, SIGTERM)));
  EXPECT_TRUE(Ok(Exec(parent)));
  EXPECT_EQ(Value(k.Sigaction(parent, SIGUSR1, nullptr)).handler, 0u);
  EXPECT_EQ(Value(k.Sigaction(parent, SIGUSR1, nullptr)).flags, 0u);
  EXPECT_EQ(Value(k.Sigaction(parent, SIGUSR2, nullptr)).handler, 1u);
  EXPECT_TRUE(Gives(k.Sigprocmask(parent, 0, nullptr), mask));
  EXPECT_TRUE(Gives(k.Sigpending(parent), mask));
}

TEST_F(ProcessTest, ExecRefusesWhatIsNoProgram) {  // 77
  WriteFile(k, parent, "/text", "hello", 0755);
  WriteFile(k, parent, "/script", "#!/bin/sh\n", 0755);
  WriteFile(k, parent, "/elf", "\177ELF\2\1\1", 0755);
  WriteFile(k, parent, "/empty", "", 0755);
  WriteFile(k, parent, "/plain", "\177ELF", 0644);
  EXPECT_TRUE(Ok(k.SymlinkAt(parent, "/elf", kAtFdCwd, "/link")));
  const auto exec = [&](std::string_view path, int flags = 0) { return k.Exec(parent, kAtFdCwd, path, flags); };
  EXPECT_TRUE(Fails(exec("/none"), Code::kENOENT));
  EXPECT_TRUE(Fails(exec(""), Code::kENOENT));
  EXPECT_TRUE(Fails(exec("/text/x"), Code::kENOTDIR));
  EXPECT_TRUE(Fails(exec("/plain"), Code::kEACCES));
  EXPECT_TRUE(Fails(exec("/bin"), Code::kEACCES));
  EXPECT_TRUE(Fails(exec("/text"), Code::kENOEXEC));
  EXPECT_TRUE(Fails(exec("/empty"), Code::kENOEXEC));
  EXPECT_TRUE(Fails(exec("/link", abi::kAtSymlinkNoFollow), Code::kELOOP));
  EXPECT_TRUE(Fails(exec("/elf", 1), Code::kEINVAL));
  for (const char* path : {"/elf", "/script", "/link", "/bin/true"}) EXPECT_TRUE(Ok(exec(path))) << path;
  const Fd fd = Value(k.Open(parent, "/elf", abi::kOPath));
  EXPECT_TRUE(Ok(k.Exec(parent, fd, "", abi::kAtEmptyPath)));
}

TEST_F(ProcessTest, ARunningProgramIsNotWrittenNorAWrittenOneRun) {
  WriteFile(k, parent, "/elf", "\177ELF", 0755);
  const Pid child = Fork();
  const Fd writer = Value(k.Open(parent, "/elf", O_WRONLY));
  EXPECT_TRUE(Fails(k.Exec(child, kAtFdCwd, "/elf", 0), Code::kETXTBSY));
  EXPECT_TRUE(Ok(k.Close(parent, writer)));
  EXPECT_TRUE(Ok(k.Exec(child, kAtFdCwd, "/elf", 0)));
  const Pid grandchild = Value(k.Fork(child));
  EXPECT_TRUE(Fails(k.Open(parent, "/elf", O_WRONLY), Code::kETXTBSY));
  EXPECT_TRUE(Fails(k.Open(parent, "/elf", O_RDONLY | O_TRUNC), Code::kETXTBSY));
  EXPECT_TRUE(Fails(k.Truncate(parent, "/elf", 0), Code::kETXTBSY));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_TRUE(Fails(k.Open(parent, "/elf", O_WRONLY), Code::kETXTBSY)) << "the fork runs it too";
  EXPECT_TRUE(Ok(k.ExitGroup(grandchild, 0)));
  EXPECT_TRUE(Ok(k.Open(parent, "/elf", O_WRONLY)));
}

TEST_F(ProcessTest, ASetUserIdProgramChangesTheEffectiveUser) {
  EXPECT_TRUE(Ok(k.Seed("/bin/su", {.mode = 0106755, .uid = 7, .gid = 8, .size = 9, .target = ""})));
  EXPECT_TRUE(Ok(k.SetResGid(parent, 1000, 1000, 1000)));
  EXPECT_TRUE(Ok(k.SetResUid(parent, 1000, 1000, 1000)));
  EXPECT_TRUE(Ok(k.Exec(parent, kAtFdCwd, "/bin/su", 0)));
  const Credentials creds = Value(k.GetCredentials(parent));
  EXPECT_EQ(creds.ruid, 1000u);
  EXPECT_EQ(creds.euid, 7u);
  EXPECT_EQ(creds.suid, 7u);
  EXPECT_EQ(creds.egid, 8u);
  EXPECT_TRUE(Ok(k.SetResUid(parent, ~0u, 1000, ~0u)));
  EXPECT_TRUE(Ok(k.SetResUid(parent, ~0u, 7, ~0u))) << "the saved one allows it";
  EXPECT_TRUE(Fails(k.SetResUid(parent, 5, ~0u, ~0u), Code::kEPERM));
}

TEST_F(ProcessTest, ExecByAThreadTakesTheLeadersPlace) {
  const Pid thread = Thread(parent);
  const Pid other = Thread(parent);
  const Fd fd = Value(k.Open(thread, "/bin/true", O_RDONLY));
  EXPECT_TRUE(Ok(k.MkdirAt(thread, kAtFdCwd, "/d", 0755)));
  EXPECT_TRUE(Ok(k.Chdir(other, "/d")));
  EXPECT_TRUE(Ok(Exec(thread)));
  EXPECT_TRUE(Fails(k.GetPid(thread), Code::kESRCH));
  EXPECT_TRUE(Fails(k.GetPid(other), Code::kESRCH));
  EXPECT_TRUE(Gives(k.GetPid(parent), parent));
  EXPECT_TRUE(Gives(k.GetCwd(parent, 100), std::string("/d")));
  EXPECT_TRUE(Ok(k.Close(parent, fd)));
  EXPECT_EQ(k.Stats().tasks, 2u);
  EXPECT_TRUE(Ok(k.ExitGroup(parent, 4)));
  EXPECT_EQ(Value(k.Wait(init, parent, 0)).status, 4 << 8);
}

TEST_F(ProcessTest, ExecUnsharesTheDescriptorTable) {
  const Pid sharer = Value(k.Clone(parent, {.flags = abi::kCloneFiles}));
  const Fd fd = Value(k.Open(parent, "/bin/true", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(Ok(Exec(sharer)));
  EXPECT_TRUE(Fails(k.Close(sharer, fd), Code::kEBADF));
  EXPECT_TRUE(Ok(k.Close(parent, fd)));
}

TEST_F(ProcessTest, NiceIsClampedInheritedAndGuarded) {  // 78
  EXPECT_TRUE(Ok(k.SetNice(parent, 0, 100)));
  EXPECT_TRUE(Gives(k.GetNice(parent, 0), 19));
  EXPECT_TRUE(Ok(k.SetNice(parent, 0, -100)));
  EXPECT_TRUE(Gives(k.GetNice(parent, 0), -20));
  EXPECT_TRUE(Ok(k.SetNice(init, parent, 5)));
  const Pid child = Fork();
  EXPECT_TRUE(Gives(k.GetNice(child, 0), 5));
  EXPECT_TRUE(Fails(k.GetNice(parent, 4711), Code::kESRCH));
  EXPECT_TRUE(Fails(k.SetNice(parent, 4711, 1), Code::kESRCH));
  EXPECT_TRUE(Ok(k.SetResUid(child, 1000, 1000, 1000)));
  EXPECT_TRUE(Fails(k.SetNice(child, 0, 4), Code::kEACCES));
  EXPECT_TRUE(Fails(k.SetNice(child, parent, 10), Code::kEPERM));
  EXPECT_TRUE(Ok(k.SetNice(child, 0, 6)));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_TRUE(Gives(k.GetNice(parent, child), 6)) << "of a zombie";
}

TEST_F(ProcessTest, AGroupLeaderCannotLeadANewSession) {  // 79
  const Pid child = Fork();
  EXPECT_TRUE(Gives(k.SetSession(child), child));
  EXPECT_TRUE(Fails(k.SetSession(child), Code::kEPERM));
  EXPECT_TRUE(Gives(k.GetSession(parent, child), child));
  EXPECT_TRUE(Gives(k.GetProcessGroup(parent, child), child));
  EXPECT_TRUE(Fails(k.SetProcessGroup(parent, child, 0), Code::kEPERM)) << "another session now";
  EXPECT_TRUE(Fails(k.SetSession(init), Code::kEPERM));
  const Pid leader = Fork();
  EXPECT_TRUE(Ok(k.SetProcessGroup(leader, 0, 0)));
  EXPECT_TRUE(Fails(k.SetSession(leader), Code::kEPERM));
  const Pid member = Value(k.Fork(leader));
  EXPECT_TRUE(Ok(k.ExitGroup(leader, 0)));
  EXPECT_EQ(Value(Wait(leader)).pid, leader);
  EXPECT_TRUE(Gives(k.GetProcessGroup(parent, member), leader)) << "the group outlives its leader";
  EXPECT_TRUE(Ok(k.Kill(parent, -leader, 0)));
}

TEST_F(ProcessTest, SetpgidMovesTheCallerOrAChildThatHasNotExeced) {
  const Pid child = Fork();
  const Pid other = Fork();
  EXPECT_TRUE(Fails(k.SetProcessGroup(parent, child, -1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.SetProcessGroup(parent, 4711, 0), Code::kESRCH));
  EXPECT_TRUE(Fails(k.SetProcessGroup(parent, init, 0), Code::kESRCH)) << "neither the caller nor its child";
  EXPECT_TRUE(Fails(k.SetProcessGroup(parent, child, 4711), Code::kEPERM));
  EXPECT_TRUE(Ok(k.SetProcessGroup(parent, child, 0)));
  EXPECT_TRUE(Gives(k.GetProcessGroup(child, 0), child));
  EXPECT_TRUE(Ok(k.SetProcessGroup(parent, other, child)));
  EXPECT_TRUE(Gives(k.GetProcessGroup(other, 0), child));
  EXPECT_TRUE(Ok(Exec(other)));
  EXPECT_TRUE(Fails(k.SetProcessGroup(parent, other, 0), Code::kEACCES));
  EXPECT_TRUE(Ok(k.SetProcessGroup(other, 0, 0))) << "itself it may";
  const Pid thread = Thread(child);
  EXPECT_TRUE(Fails(k.SetProcessGroup(parent, thread, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.SetProcessGroup(init, 0, 0), Code::kEPERM)) << "a session leader";
}

TEST_F(ProcessTest, StopsAndContinuationsAreReportedToWhoAsks) {  // 80
  const Pid child = Fork();
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGSTOP)));
  EXPECT_EQ(Value(Wait(child, WNOHANG)).pid, 0) << "only to who asks";
  EXPECT_EQ(Value(Wait(child, WUNTRACED)).status, 0x137f);
  EXPECT_EQ(Value(Wait(child, WUNTRACED | WNOHANG)).pid, 0) << "once";
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGCONT)));
  EXPECT_EQ(Value(Wait(child, WUNTRACED | WNOHANG)).pid, 0);
  EXPECT_EQ(Value(Wait(child, WCONTINUED)).status, 0xffff);
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGSTOP)));
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGCONT)));
  EXPECT_EQ(Value(Wait(child, WUNTRACED | WNOHANG)).pid, 0) << "a stop that is over is not told";
  EXPECT_EQ(Value(k.WaitId(parent, P_ALL, 0, WCONTINUED)).code, CLD_CONTINUED);
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGSTOP)));
  const WaitInfo stopped = Value(k.WaitId(parent, P_ALL, 0, WSTOPPED));
  EXPECT_EQ(stopped.code, CLD_STOPPED);
  EXPECT_EQ(stopped.status, SIGSTOP);
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGTERM)));
  EXPECT_EQ(Value(Wait(child, WNOHANG)).pid, 0) << "it does not run, so it does not die";
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGCONT)));
  EXPECT_EQ(Value(Wait(child)).status, SIGTERM);
}

TEST_F(ProcessTest, AStoppedChildDiesOfSigkill) {
  const Pid child = Fork();
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGSTOP)));
  EXPECT_TRUE(Ok(k.Kill(parent, child, SIGKILL)));
  EXPECT_EQ(Value(Wait(child)).status, SIGKILL);
}

TEST_F(ProcessTest, AnOrphanedStoppedGroupIsHungUp) {
  // A shell (session leader) with a job in a group of its own, which is stopped when the shell dies.
  const Pid shell = Fork();
  EXPECT_TRUE(Ok(k.SetSession(shell)));
  const Pid job = Value(k.Fork(shell));
  EXPECT_TRUE(Ok(k.SetProcessGroup(shell, job, job)));
  Act(job, SIGHUP, kHandler);
  Act(job, SIGCONT, kHandler);
  EXPECT_TRUE(Ok(k.Kill(shell, job, SIGTSTP)));
  EXPECT_EQ(Value(k.Wait(shell, job, WUNTRACED)).pid, job);
  EXPECT_TRUE(Ok(k.ExitGroup(shell, 0)));
  EXPECT_EQ(Value(k.DeliverSignal(job)).signal, SIGHUP);
  EXPECT_TRUE(Ok(k.SigReturn(job)));
  EXPECT_EQ(Value(k.DeliverSignal(job)).signal, SIGCONT);
  EXPECT_TRUE(Ok(k.Kill(init, job, SIGTSTP)));
  EXPECT_TRUE(Gives(k.GetPid(job), job)) << "in an orphaned group it no longer stops";
}

TEST_F(ProcessTest, WaitSleepsUntilAChildExits) {
  const Pid child = Fork();
  std::atomic<bool> done = false;
  std::jthread thread([&] {
    EXPECT_EQ(Value(Wait(-1)).pid, child);
    done = true;
  });
  EXPECT_FALSE(done);
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
}

TEST_F(ProcessTest, ASleepingWaitIsInterruptedOrRestarted) {
  const Pid child = Fork();
  Act(parent, SIGUSR1, kHandler);
  std::jthread interrupted([&] { EXPECT_TRUE(Fails(Wait(-1), Code::kEINTR)); });
  EXPECT_TRUE(Ok(k.Kill(init, parent, SIGUSR1)));
  interrupted.join();
  EXPECT_TRUE(Ok(k.DeliverSignal(parent)));
  EXPECT_TRUE(Ok(k.SigReturn(parent)));
  Act(parent, SIGUSR1, kHandler, abi::kSaRestart);
  std::jthread restarted([&] { EXPECT_EQ(Value(Wait(-1)).pid, child); });
  EXPECT_TRUE(Ok(k.Kill(init, parent, SIGUSR1)));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
}

TEST_F(ProcessTest, ThreadsExitOneByOneAndTheLastGivesTheStatus) {
  const Pid child = Fork();
  const Pid thread = Thread(child);
  EXPECT_TRUE(Gives(k.GetPid(thread), child));
  EXPECT_TRUE(Gives(k.GetParentPid(thread), parent));
  EXPECT_TRUE(Ok(k.Exit(child, 3)));
  EXPECT_TRUE(Fails(k.GetPid(child), Code::kESRCH)) << "the leader is gone";
  EXPECT_EQ(Value(Wait(child, WNOHANG)).pid, 0) << "the process is not";
  EXPECT_TRUE(Ok(k.Kill(parent, child, 0)));
  EXPECT_TRUE(Ok(k.Exit(thread, 5)));
  EXPECT_EQ(Value(Wait(child)).status, 5 << 8);
}

TEST_F(ProcessTest, ExitGroupEndsEveryThread) {
  const Pid child = Fork();
  const Pid thread = Thread(child);
  EXPECT_TRUE(Ok(k.ExitGroup(thread, 9)));
  EXPECT_TRUE(Fails(k.GetPid(child), Code::kESRCH));
  EXPECT_EQ(Value(Wait(child)).status, 9 << 8);
  EXPECT_EQ(k.Stats().tasks, 2u);
}

TEST_F(ProcessTest, AnyThreadMayWaitForTheProcesssChildren) {
  const Pid thread = Thread(parent);
  const Pid child = Fork();
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_EQ(Value(k.Wait(thread, child, 0)).pid, child);
}

TEST_F(ProcessTest, CloneChecksItsFlags) {
  const auto clone = [&](uint64_t flags, int signal = SIGCHLD) {
    return k.Clone(parent, {.flags = flags, .exit_signal = signal});
  };
  EXPECT_TRUE(Fails(clone(abi::kCloneThread), Code::kEINVAL));
  EXPECT_TRUE(Fails(clone(abi::kCloneThread | abi::kCloneSighand), Code::kEINVAL));
  EXPECT_TRUE(Fails(clone(abi::kCloneSighand), Code::kEINVAL));
  EXPECT_TRUE(Fails(clone(abi::kCloneNewNs | abi::kCloneFs), Code::kEINVAL));
  EXPECT_TRUE(Fails(clone(abi::kCloneVm | abi::kCloneSighand | abi::kCloneClearSighand), Code::kEINVAL));
  EXPECT_TRUE(Fails(clone(0, 65), Code::kEINVAL));
  EXPECT_EQ(k.Stats().tasks, 2u);
}

TEST_F(ProcessTest, CloneSharesWhatItsFlagsSay) {
  Act(parent, SIGUSR1, kHandler);
  const Pid copy = Fork();
  const Pid shared = Value(k.Clone(parent, {.flags = abi::kCloneFs | abi::kCloneVm | abi::kCloneSighand}));
  const Pid cleared = Value(k.Clone(parent, {.flags = abi::kCloneClearSighand}));
  EXPECT_TRUE(Ok(k.Chdir(parent, "/bin")));
  EXPECT_TRUE(Gives(k.GetCwd(copy, 100), std::string("/")));
  EXPECT_TRUE(Gives(k.GetCwd(shared, 100), std::string("/bin")));
  EXPECT_TRUE(Ok(k.Brk(parent, Value(k.Brk(parent, 0)) + 4096)));
  EXPECT_TRUE(Gives(k.Brk(shared, 0), Value(k.Brk(parent, 0))));
  EXPECT_FALSE(Gives(k.Brk(copy, 0), Value(k.Brk(parent, 0))));
  Act(parent, SIGUSR2, kHandler);
  EXPECT_EQ(Value(k.Sigaction(shared, SIGUSR2, nullptr)).handler, kHandler);
  EXPECT_EQ(Value(k.Sigaction(copy, SIGUSR2, nullptr)).handler, 0u);
  EXPECT_EQ(Value(k.Sigaction(copy, SIGUSR1, nullptr)).handler, kHandler);
  EXPECT_EQ(Value(k.Sigaction(cleared, SIGUSR1, nullptr)).handler, 0u);
  const Pid sibling = Value(k.Clone(copy, {.flags = abi::kCloneParent}));
  EXPECT_TRUE(Gives(k.GetParentPid(sibling), parent));
}

TEST_F(ProcessTest, ACloneChildWithoutSigchldIsWaitedForOnRequest) {
  const Pid child = Value(k.Clone(parent, {.exit_signal = 0}));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_TRUE(Fails(Wait(-1), Code::kECHILD));
  EXPECT_EQ(Value(Wait(-1, abi::kWNoHang | abi::kWAll)).pid, child);
  const Pid other = Value(k.Clone(parent, {.exit_signal = SIGUSR1}));
  Act(parent, SIGUSR1, kHandler);
  EXPECT_TRUE(Ok(k.ExitGroup(other, 0)));
  EXPECT_EQ(Value(k.DeliverSignal(parent)).signal, SIGUSR1);
  EXPECT_EQ(Value(Wait(other, abi::kWClone)).pid, other);
}

TEST_F(ProcessTest, LimitsAreReadSetAndGuarded) {
  EXPECT_EQ(Value(k.Prlimit(parent, 0, 3, nullptr)).soft, 8u << 20);
  EXPECT_EQ(Value(k.Prlimit(parent, 0, 3, nullptr)).hard, abi::kInfinity);
  const Rlimit inverted{10, 5};
  EXPECT_TRUE(Fails(k.Prlimit(parent, 0, abi::kRlimitNofile, &inverted), Code::kEINVAL));
  const Rlimit huge{10, 1 << 21};
  EXPECT_TRUE(Fails(k.Prlimit(parent, 0, abi::kRlimitNofile, &huge), Code::kEPERM));
  EXPECT_TRUE(Fails(k.Prlimit(parent, 0, 16, nullptr), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Prlimit(parent, 4711, 16, nullptr), Code::kESRCH));
  const Rlimit lower{100, 200};
  EXPECT_EQ(Value(k.Prlimit(init, parent, abi::kRlimitNofile, &lower)).soft, 1024u);
  const Pid child = Fork();
  EXPECT_EQ(Value(k.Prlimit(child, 0, abi::kRlimitNofile, nullptr)).hard, 200u) << "inherited";
  EXPECT_TRUE(Ok(k.SetResUid(child, 1000, 1000, 1000)));
  const Rlimit raised{100, 201};
  EXPECT_TRUE(Fails(k.Prlimit(child, 0, abi::kRlimitNofile, &raised), Code::kEPERM));
  EXPECT_TRUE(Fails(k.Prlimit(child, parent, abi::kRlimitNofile, nullptr), Code::kEPERM));
}

TEST_F(ProcessTest, NumbersAreNotReusedWhileVisible) {
  const Pid child = Fork();
  EXPECT_GT(child, parent);
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_NE(Fork(), child);
  EXPECT_EQ(Value(Wait(child)).pid, child);
  EXPECT_NE(Fork(), child) << "nor at once afterwards";
}

TEST(ProcessLimit, ForkFailsAtTheLimitAndLeavesNothing) {
  Kernel k({.max_processes = 3});
  const Pid init = Value(k.Spawn({}));
  const Pid child = Value(k.Fork(init));
  EXPECT_TRUE(Ok(k.Fork(child)));
  const KernelStats before = k.Stats();
  EXPECT_TRUE(Fails(k.Fork(init), Code::kEAGAIN));
  EXPECT_TRUE(Fails(k.Spawn({}), Code::kEAGAIN));
  EXPECT_TRUE(SameStats(before, k.Stats()));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_TRUE(Fails(k.Fork(init), Code::kEAGAIN)) << "a zombie counts";
  EXPECT_TRUE(Ok(k.Wait(init, child, 0)));
  EXPECT_TRUE(Ok(k.Fork(init)));
}

TEST_F(ProcessTest, SpawnChecksItsParentAndItsDirectory) {
  const KernelStats before = k.Stats();
  EXPECT_TRUE(Fails(k.Spawn({.parent = 4711}), Code::kESRCH));
  EXPECT_TRUE(Fails(k.Spawn({.cwd = "/none"}), Code::kENOENT));
  EXPECT_TRUE(Fails(k.Spawn({.cwd = "/bin/true"}), Code::kENOTDIR));
  EXPECT_TRUE(SameStats(before, k.Stats()));
  const Pid there = Value(k.Spawn({.parent = parent, .cwd = "/bin", .uid = 5, .umask = 077}));
  EXPECT_TRUE(Gives(k.GetCwd(there, 100), std::string("/bin")));
  EXPECT_TRUE(Gives(k.Umask(there, 0), 077u));
  EXPECT_EQ(Value(k.GetCredentials(there)).euid, 5u);
  EXPECT_TRUE(Gives(k.GetParentPid(there), parent));
}

TEST_F(ProcessTest, ManyRoundsOfLifeLeaveTheBaseline) {
  const KernelStats before = k.Stats();
  for (int round = 0; round < 300; ++round) {
    const Pid child = Fork();
    const Pid thread = Thread(child);
    const PipeFds pipe = Value(k.Pipe(child, 0));
    const Fd fd = Value(k.Open(thread, "/tmp-file", O_CREAT | O_RDWR, 0600));
    EXPECT_TRUE(Ok(k.Write(child, fd, Bytes(std::string(5000, 'x')))));
    EXPECT_TRUE(Ok(k.Write(child, pipe.write_end, Bytes("left behind"))));
    EXPECT_TRUE(Ok(k.Mmap(child, 0, 1 << 20, 3, 2, fd, 0)));
    EXPECT_TRUE(Ok(k.Mmap(thread, 0, 1 << 20, 3, 0x22, -1, 0)));
    FileLockRange lock{.type = F_WRLCK};
    EXPECT_TRUE(Ok(k.FileLock(child, fd, F_SETLK, lock)));
    EXPECT_TRUE(Ok(k.UnlinkAt(child, kAtFdCwd, "/tmp-file", 0)));
    EXPECT_TRUE(Ok(k.InstallOpaque(child, OpaqueKind::kEpoll, 0)));
    const Pid grandchild = Value(k.Fork(child));
    switch (round % 4) {
      case 0:
        EXPECT_TRUE(Ok(Exec(thread)));
        EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
        break;
      case 1:
        EXPECT_TRUE(Ok(k.Kill(parent, child, SIGKILL)));
        break;
      case 2:
        EXPECT_TRUE(Ok(k.Exit(child, 0)));
        EXPECT_TRUE(Ok(k.Exit(thread, 0)));
        break;
      case 3:
        EXPECT_TRUE(Ok(k.ExitGroup(thread, 0)));
        break;
    }
    EXPECT_EQ(Value(Wait(-1)).pid, child);
    EXPECT_TRUE(Ok(k.ExitGroup(grandchild, 0)));
    EXPECT_EQ(Value(k.Wait(init, grandchild, 0)).pid, grandchild);
  }
  EXPECT_TRUE(SameStats(before, k.Stats()));
}

TEST_F(ProcessTest, TenThousandChildrenCostNoMoreThanTheirNumber) {
  std::vector<Pid> children;
  for (int i = 0; i < 10000; ++i) children.push_back(Fork());
  EXPECT_EQ(k.Stats().processes, 10002u);
  for (const Pid child : children) ASSERT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_EQ(k.Stats().zombies, 10000u);
  for (const Pid child : children) ASSERT_EQ(Value(Wait(-1)).pid, child);
  EXPECT_TRUE(Fails(Wait(-1), Code::kECHILD));
}

class DrivenProcessTest : public DrivenKernelTest {};

TEST_F(DrivenProcessTest, ADriverTakesDefaultActionsWhenItWants) {
  const Pid child = Value(k.Fork(init));
  EXPECT_TRUE(Ok(k.Kill(init, child, SIGKILL)));
  EXPECT_TRUE(Gives(k.GetPid(child), child)) << "its last call was on its way";
  EXPECT_TRUE(Fails(k.Wait(init, child, 0), Code::kERESTART));
  EXPECT_EQ(Value(k.DeliverSignal(child)).signal, SIGKILL);
  EXPECT_EQ(Value(k.Wait(init, child, 0)).status, SIGKILL);
  const Pid other = Value(k.Fork(init));
  EXPECT_TRUE(Ok(k.Kill(init, other, SIGSTOP)));
  EXPECT_EQ(Value(k.DeliverSignal(other)).action.handler, 0u);
  EXPECT_TRUE(Fails(k.GetPid(other), Code::kERESTART)) << "stopped";
  EXPECT_TRUE(Fails(k.DeliverSignal(other), Code::kEAGAIN));
  EXPECT_TRUE(Ok(k.Kill(init, other, SIGKILL)));
  EXPECT_EQ(Value(k.DeliverSignal(other)).signal, SIGKILL);
  EXPECT_TRUE(Fails(k.DeliverSignal(other), Code::kESRCH));
}

TEST_F(DrivenProcessTest, AVforkParentsCallsAreNotReadyUntilTheChildLetsGo) {
  const Pid child = Value(k.Clone(init, {.flags = abi::kCloneVfork | abi::kCloneVm}));
  EXPECT_TRUE(Fails(k.GetPid(init), Code::kERESTART));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_EQ(Value(k.Wait(init, -1, 0)).pid, child);
}

}  // namespace
}  // namespace hotpath::kernel
