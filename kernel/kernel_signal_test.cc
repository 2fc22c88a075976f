// Signals, through the facade. The answers are Linux's.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kHandler = 0x1000;
constexpr int kRealTime = 40;

uint64_t Mask(std::initializer_list<int> signals) {
  uint64_t mask = 0;
  for (const int signal : signals) mask |= uint64_t{1} << (signal - 1);
  return mask;
}

class SignalTest : public KernelTest {
 protected:
  SignalTest() : self(Value(k.Spawn({.name = "self", .parent = init}))) {}

  void Act(Pid t, int signal, uint64_t handler, uint64_t flags = 0, uint64_t mask = 0) {
    const SignalAction action{.handler = handler, .flags = flags, .mask = mask};
    EXPECT_TRUE(Ok(k.Sigaction(t, signal, &action)));
  }
  void SetMask(Pid t, uint64_t mask) { EXPECT_TRUE(Ok(k.Sigprocmask(t, SIG_SETMASK, &mask))); }
  uint64_t MaskOf(Pid t) { return Value(k.Sigprocmask(t, SIG_BLOCK, nullptr)); }
  void Send(int signal) { EXPECT_TRUE(Ok(k.Kill(init, self, signal))); }
  // Signals that are delivered to `t` until none is left, each handler returning at once.
  std::vector<int> Deliver(Pid t) {
    std::vector<int> signals;
    for (;;) {
      const Result<Delivery> delivery = k.DeliverSignal(t);
      if (!delivery.ok()) {
        EXPECT_TRUE(Fails(delivery, Code::kEAGAIN));
        return signals;
      }
      signals.push_back(delivery->signal);
      EXPECT_TRUE(Ok(k.SigReturn(t)));
    }
  }
  bool Alive(Pid t) { return k.GetPid(t).ok(); }

  const Pid self;
};

TEST_F(SignalTest, KillAndStopCannotBeCaughtOrIgnored) {  // 116
  for (const int signal : {SIGKILL, SIGSTOP}) {
    for (const uint64_t handler : {kHandler, uint64_t{0}, uint64_t{1}}) {
      const SignalAction action{.handler = handler};
      EXPECT_TRUE(Fails(k.Sigaction(self, signal, &action), Code::kEINVAL));
    }
    EXPECT_EQ(Value(k.Sigaction(self, signal, nullptr)).handler, 0u);
  }
  for (const int signal : {0, -1, 65}) EXPECT_TRUE(Fails(k.Sigaction(self, signal, nullptr), Code::kEINVAL));
  SetMask(self, ~uint64_t{0});
  EXPECT_EQ(MaskOf(self), ~Mask({SIGKILL, SIGSTOP})) << "nor blocked";
}

TEST_F(SignalTest, ActionsReadBackWithoutWhatTheKernelDoesNotKnow) {
  const SignalAction action{.handler = kHandler, .flags = ~uint64_t{0}, .mask = ~uint64_t{0}};
  EXPECT_EQ(Value(k.Sigaction(self, SIGUSR1, &action)).handler, 0u);
  const SignalAction back = Value(k.Sigaction(self, SIGUSR1, nullptr));
  EXPECT_EQ(back.handler, kHandler);
  EXPECT_EQ(back.flags, 0xdc000807u);
  EXPECT_EQ(back.mask, ~Mask({SIGKILL, SIGSTOP}));
}

TEST_F(SignalTest, StandardSignalsCoalesceAndRealTimeOnesQueue) {  // 117
  Act(self, SIGUSR1, kHandler);
  Act(self, kRealTime, kHandler);
  SetMask(self, Mask({SIGUSR1, kRealTime}));
  for (int i = 0; i < 3; ++i) {
    Send(SIGUSR1);
    Send(kRealTime);
  }
  EXPECT_TRUE(Gives(k.Sigpending(self), Mask({SIGUSR1, kRealTime})));
  EXPECT_TRUE(Fails(k.DeliverSignal(self), Code::kEAGAIN));
  SetMask(self, 0);
  EXPECT_EQ(Deliver(self), (std::vector<int>{SIGUSR1, kRealTime, kRealTime, kRealTime}));
}

TEST_F(SignalTest, AQueueOfRealTimeSignalsIsBounded) {  // 117
  Act(self, kRealTime, kHandler);
  SetMask(self, Mask({kRealTime}));
  for (int i = 0; i < 5000; ++i) Send(kRealTime);
  SetMask(self, 0);
  EXPECT_EQ(Deliver(self).size(), 1024u);
}

TEST_F(SignalTest, TheLowestNumberComesFirstAndATasksOwnBeforeItsProcesss) {
  for (const int signal : {SIGHUP, SIGUSR1, SIGTERM, kRealTime}) Act(self, signal, kHandler);
  SetMask(self, ~uint64_t{0});
  Send(kRealTime);
  Send(SIGUSR1);
  Send(SIGHUP);
  EXPECT_TRUE(Ok(k.TgKill(init, self, self, SIGTERM)));
  SetMask(self, 0);
  EXPECT_EQ(Deliver(self), (std::vector<int>{SIGTERM, SIGHUP, SIGUSR1, kRealTime}));
}

TEST_F(SignalTest, AChildInheritsTheMaskAndTheActionsButNothingPending) {  // 118
  Act(self, SIGUSR1, kHandler);
  SetMask(self, Mask({SIGUSR1, SIGUSR2}));
  Send(SIGUSR1);
  const Pid child = Value(k.Fork(self));
  EXPECT_TRUE(Gives(k.Sigpending(child), 0u));
  EXPECT_EQ(MaskOf(child), Mask({SIGUSR1, SIGUSR2}));
  EXPECT_EQ(Value(k.Sigaction(child, SIGUSR1, nullptr)).handler, kHandler);
  EXPECT_TRUE(Gives(k.Sigpending(self), Mask({SIGUSR1})));
}

TEST_F(SignalTest, SigsuspendSleepsUnderItsMaskAndTheOldOneComesBack) {  // 120
  Act(self, SIGUSR1, kHandler);
  Act(self, SIGUSR2, kHandler);
  SetMask(self, Mask({SIGUSR1, SIGUSR2}));
  std::jthread thread([&] { EXPECT_TRUE(Fails(k.Sigsuspend(self, Mask({SIGUSR2})), Code::kEINTR)); });
  Send(SIGUSR2);
  Send(SIGUSR1);
  thread.join();
  EXPECT_EQ(Value(k.DeliverSignal(self)).signal, SIGUSR1);
  EXPECT_EQ(MaskOf(self), Mask({SIGUSR1, SIGUSR2})) << "what it slept under, and the signal itself";
  EXPECT_TRUE(Ok(k.SigReturn(self)));
  EXPECT_EQ(MaskOf(self), Mask({SIGUSR1, SIGUSR2}));
  EXPECT_TRUE(Gives(k.Sigpending(self), Mask({SIGUSR2})));
}

TEST_F(SignalTest, PollUnderAMaskRestoresItAfterTheHandler) {  // 120
  Act(self, SIGCHLD, kHandler, abi::kSaRestart);
  SetMask(self, Mask({SIGCHLD}));
  const PipeFds pipe = Value(k.Pipe(self, 0));
  PollEntry entry{.fd = pipe.read_end, .events = POLLIN};
  const uint64_t none = 0;
  EXPECT_TRUE(Ok(k.Write(self, pipe.write_end, Bytes("x"))));
  EXPECT_TRUE(Gives(k.Poll(self, std::span(&entry, 1), true, &none), 1));
  EXPECT_EQ(MaskOf(self), Mask({SIGCHLD})) << "ready: back at once";
  EXPECT_EQ(ReadText(k, self, pipe.read_end), "x");
  Send(SIGCHLD);
  EXPECT_TRUE(Fails(k.Poll(self, std::span(&entry, 1), true, &none), Code::kEINTR));
  EXPECT_EQ(Value(k.DeliverSignal(self)).signal, SIGCHLD);
  EXPECT_TRUE(Ok(k.SigReturn(self)));
  EXPECT_EQ(MaskOf(self), Mask({SIGCHLD}));
}

TEST_F(SignalTest, AHandlerRunsUnderItsMaskAndReturnsToTheOldOne) {
  Act(self, SIGUSR1, kHandler, 0, Mask({SIGTERM}));
  SetMask(self, Mask({SIGHUP}));
  Send(SIGUSR1);
  EXPECT_TRUE(Ok(k.DeliverSignal(self)));
  EXPECT_EQ(MaskOf(self), Mask({SIGHUP, SIGUSR1, SIGTERM}));
  EXPECT_TRUE(Ok(k.SigReturn(self)));
  EXPECT_EQ(MaskOf(self), Mask({SIGHUP}));
  EXPECT_TRUE(Fails(k.SigReturn(self), Code::kEINVAL));
  Act(self, SIGUSR1, kHandler, abi::kSaNoDefer | abi::kSaResetHand);
  Send(SIGUSR1);
  EXPECT_TRUE(Ok(k.DeliverSignal(self)));
  EXPECT_EQ(MaskOf(self), Mask({SIGHUP}));
  EXPECT_EQ(Value(k.Sigaction(self, SIGUSR1, nullptr)).handler, 0u) << "once only";
}

TEST_F(SignalTest, HandlersThatNeverReturnCostABoundedAmount) {
  Act(self, SIGUSR1, kHandler, abi::kSaNoDefer);
  for (int i = 0; i < 20000; ++i) {
    Send(SIGUSR1);
    ASSERT_TRUE(Ok(k.DeliverSignal(self)));
  }
  int frames = 0;
  while (k.SigReturn(self).ok()) ++frames;
  EXPECT_LE(frames, 4096);
  EXPECT_GE(frames, 2048);
}

TEST_F(SignalTest, DefaultActionsAreTaken) {
  for (const int signal : {SIGCHLD, SIGCONT, SIGURG, SIGWINCH}) {
    Send(signal);
    EXPECT_TRUE(Alive(self)) << signal;
  }
  EXPECT_TRUE(Fails(k.DeliverSignal(self), Code::kEAGAIN)) << "ignored ones leave no trace";
  for (int signal = 1; signal <= 64; ++signal) {
    if (signal >= SIGCHLD && signal <= SIGTTOU) continue;  // CHLD, CONT and the stopping ones
    if (signal == SIGURG || signal == SIGWINCH) continue;
    const Pid child = Value(k.Fork(self));
    EXPECT_TRUE(Ok(k.Kill(self, child, signal)));
    EXPECT_EQ(Value(k.Wait(self, child, 0)).status, signal);
  }
}

TEST_F(SignalTest, ABlockedFatalSignalWaitsForItsTurn) {
  SetMask(self, Mask({SIGTERM}));
  Send(SIGTERM);
  EXPECT_TRUE(Alive(self));
  SetMask(self, 0);
  EXPECT_FALSE(Alive(self));
  EXPECT_EQ(Value(k.Wait(init, self, 0)).status, SIGTERM);
}

TEST_F(SignalTest, IgnoringASignalForgetsWhatIsPending) {
  SetMask(self, Mask({SIGTERM, SIGCHLD}));
  Send(SIGTERM);
  Send(SIGCHLD);
  EXPECT_TRUE(Gives(k.Sigpending(self), Mask({SIGTERM, SIGCHLD}))) << "blocked: kept, even one ignored by default";
  Act(self, SIGTERM, 1);
  Act(self, SIGCHLD, 0);
  EXPECT_TRUE(Gives(k.Sigpending(self), 0u));
  SetMask(self, 0);
  Send(SIGTERM);
  EXPECT_TRUE(Alive(self));
}

TEST_F(SignalTest, StopAndContinueCancelEachOther) {
  SetMask(self, Mask({SIGTSTP, SIGCONT}));
  Act(self, SIGCONT, kHandler);
  Send(SIGTSTP);
  Send(SIGCONT);
  EXPECT_TRUE(Gives(k.Sigpending(self), Mask({SIGCONT})));
  Send(SIGTSTP);
  EXPECT_TRUE(Gives(k.Sigpending(self), Mask({SIGTSTP})));
}

TEST_F(SignalTest, TheParentHearsOfItsChildrenUnlessItDoesNotWantTo) {
  Act(self, SIGCHLD, kHandler);
  const Pid child = Value(k.Fork(self));
  EXPECT_TRUE(Ok(k.Kill(self, child, SIGSTOP)));
  Delivery delivery = Value(k.DeliverSignal(self));
  EXPECT_EQ(delivery.signal, SIGCHLD);
  EXPECT_EQ(delivery.sender, child);
  EXPECT_EQ(delivery.status, SIGSTOP);
  EXPECT_TRUE(Ok(k.SigReturn(self)));
  Act(self, SIGCHLD, kHandler, abi::kSaNoCldStop);
  EXPECT_TRUE(Ok(k.Kill(self, child, SIGCONT)));
  EXPECT_TRUE(Fails(k.DeliverSignal(self), Code::kEAGAIN));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 7)));
  delivery = Value(k.DeliverSignal(self));
  EXPECT_EQ(delivery.sender, child);
  EXPECT_EQ(delivery.status, 7);
}

TEST_F(SignalTest, KillNamesProcessesGroupsAndEveryone) {
  const Pid a = Value(k.Fork(self));
  const Pid b = Value(k.Fork(self));
  EXPECT_TRUE(Ok(k.SetProcessGroup(self, a, a)));
  EXPECT_TRUE(Ok(k.SetProcessGroup(self, b, a)));
  EXPECT_TRUE(Fails(k.Kill(self, 4711, 99), Code::kESRCH)) << "the target comes before the signal";
  EXPECT_TRUE(Fails(k.Kill(self, a, 65), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Kill(self, a, -1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Kill(self, -4711, 0), Code::kESRCH));
  EXPECT_TRUE(Fails(k.Kill(self, INT32_MIN, 0), Code::kESRCH));
  EXPECT_TRUE(Ok(k.Kill(self, -a, SIGTERM)));
  EXPECT_FALSE(Alive(a));
  EXPECT_FALSE(Alive(b));
  EXPECT_TRUE(Alive(self));
  const Pid c = Value(k.Fork(self));
  const Pid other = Value(k.Spawn({.parent = init}));
  EXPECT_TRUE(Ok(k.Kill(self, -1, SIGKILL)));
  EXPECT_FALSE(Alive(c));
  EXPECT_FALSE(Alive(other));
  EXPECT_TRUE(Alive(self)) << "all but the caller";
  EXPECT_TRUE(Alive(init)) << "and process 1";
  const Pid d = Value(k.Fork(self));
  EXPECT_TRUE(Ok(k.SetProcessGroup(d, 0, 0)));
  EXPECT_TRUE(Ok(k.Kill(d, 0, SIGKILL)));
  EXPECT_FALSE(Alive(d));
  EXPECT_TRUE(Alive(self));
}

TEST_F(SignalTest, KillAsksForPermission) {
  const Pid user = Value(k.Spawn({.parent = init, .uid = 1000}));
  const Pid stranger = Value(k.Spawn({.parent = init, .uid = 1001}));
  EXPECT_TRUE(Fails(k.Kill(user, stranger, 0), Code::kEPERM));
  EXPECT_TRUE(Fails(k.Kill(user, stranger, SIGTERM), Code::kEPERM));
  EXPECT_TRUE(Ok(k.Kill(user, stranger, SIGCONT))) << "in the same session";
  EXPECT_TRUE(Ok(k.Kill(user, user, 0)));
  EXPECT_TRUE(Ok(k.Kill(user, 0, 0))) << "some of the group may be signalled";
  EXPECT_TRUE(Ok(k.Kill(self, stranger, SIGTERM))) << "root may";
  EXPECT_FALSE(Alive(stranger));
}

TEST_F(SignalTest, TgkillNamesOneThread) {
  const Pid thread =
      Value(k.Clone(self, {.flags = abi::kCloneVm | abi::kCloneSighand | abi::kCloneThread, .exit_signal = 0}));
  Act(self, SIGUSR1, kHandler);
  EXPECT_TRUE(Fails(k.TgKill(self, 0, thread, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.TgKill(self, self, 4711, 99), Code::kESRCH));
  EXPECT_TRUE(Fails(k.TgKill(self, init, thread, 0), Code::kESRCH));
  EXPECT_TRUE(Fails(k.TgKill(self, self, thread, 99), Code::kEINVAL));
  EXPECT_TRUE(Ok(k.TgKill(self, self, thread, SIGUSR1)));
  EXPECT_TRUE(Fails(k.DeliverSignal(self), Code::kEAGAIN));
  EXPECT_EQ(Value(k.DeliverSignal(thread)).signal, SIGUSR1);
}

TEST_F(SignalTest, AProcesssSignalGoesToAThreadThatTakesIt) {
  const Pid thread =
      Value(k.Clone(self, {.flags = abi::kCloneVm | abi::kCloneSighand | abi::kCloneThread, .exit_signal = 0}));
  Act(self, SIGUSR1, kHandler);
  SetMask(self, Mask({SIGUSR1}));
  const PipeFds pipe = Value(k.Pipe(thread, 0));
  std::jthread reader([&] { EXPECT_EQ(ReadText(k, thread, pipe.read_end), "<EINTR>"); });
  Send(SIGUSR1);
  reader.join();
  EXPECT_TRUE(Fails(k.DeliverSignal(self), Code::kEAGAIN));
  EXPECT_EQ(Value(k.DeliverSignal(thread)).signal, SIGUSR1);
}

TEST_F(SignalTest, ASignalThatItsThreadCanNoLongerTakeGoesToAnother) {
  const Pid thread =
      Value(k.Clone(self, {.flags = abi::kCloneVm | abi::kCloneSighand | abi::kCloneThread, .exit_signal = 0}));
  Act(self, SIGUSR1, kHandler);
  SetMask(thread, Mask({SIGUSR1}));
  Send(SIGUSR1);  // the leader is to take it
  SetMask(self, Mask({SIGUSR1}));
  SetMask(thread, 0);
  EXPECT_TRUE(Fails(k.DeliverSignal(self), Code::kEAGAIN));
  EXPECT_EQ(Value(k.DeliverSignal(thread)).signal, SIGUSR1);
}

TEST_F(SignalTest, SigprocmaskBlocksUnblocksAndSets) {
  const uint64_t a = Mask({SIGUSR1});
  const uint64_t b = Mask({SIGUSR2});
  EXPECT_TRUE(Gives(k.Sigprocmask(self, SIG_BLOCK, &a), 0u));
  EXPECT_TRUE(Gives(k.Sigprocmask(self, SIG_BLOCK, &b), a));
  EXPECT_TRUE(Gives(k.Sigprocmask(self, SIG_UNBLOCK, &a), a | b));
  EXPECT_TRUE(Gives(k.Sigprocmask(self, SIG_SETMASK, &a), b));
  EXPECT_TRUE(Fails(k.Sigprocmask(self, 7, &a), Code::kEINVAL));
  EXPECT_TRUE(Gives(k.Sigprocmask(self, 7, nullptr), a)) << "how does not matter when nothing is set";
}

TEST_F(SignalTest, AZombieTakesNoSignals) {
  const Pid child = Value(k.Fork(self));
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_TRUE(Ok(k.Kill(self, child, SIGTERM)));
  EXPECT_TRUE(Fails(k.DeliverSignal(child), Code::kESRCH));
  EXPECT_EQ(Value(k.Wait(self, child, 0)).status, 0);
}

class DrivenSignalTest : public DrivenKernelTest {};

TEST_F(DrivenSignalTest, SigsuspendIsReadyOnceASignalAwaits) {  // 120
  const SignalAction action{.handler = kHandler};
  EXPECT_TRUE(Ok(k.Sigaction(init, SIGUSR1, &action)));
  const uint64_t mask = Mask({SIGUSR1});
  EXPECT_TRUE(Ok(k.Sigprocmask(init, SIG_SETMASK, &mask)));
  EXPECT_TRUE(Fails(k.Sigsuspend(init, 0), Code::kERESTART));
  EXPECT_TRUE(Gives(k.Sigprocmask(init, 0, nullptr), mask)) << "nothing has changed";
  EXPECT_TRUE(Ok(k.Kill(init, init, SIGUSR1)));
  EXPECT_TRUE(Fails(k.DeliverSignal(init), Code::kEAGAIN));
  EXPECT_TRUE(Fails(k.Sigsuspend(init, 0), Code::kEINTR));
  EXPECT_EQ(Value(k.DeliverSignal(init)).signal, SIGUSR1);
  EXPECT_TRUE(Ok(k.SigReturn(init)));
  EXPECT_TRUE(Gives(k.Sigprocmask(init, 0, nullptr), mask));
}

TEST_F(DrivenSignalTest, ACallThatWouldSleepIsNotInterrupted) {
  const SignalAction action{.handler = kHandler};
  EXPECT_TRUE(Ok(k.Sigaction(init, SIGUSR1, &action)));
  const PipeFds pipe = Value(k.Pipe(init, 0));
  EXPECT_TRUE(Ok(k.Kill(init, init, SIGUSR1)));
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "<ERESTART>") << "the driver delivers, then calls again";
}

}  // namespace
}  // namespace hotpath::kernel
