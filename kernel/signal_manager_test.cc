#include "hotpath/kernel/signal_manager.h"

#include <signal.h>

#include "gtest/gtest.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }
constexpr uint64_t kThread = abi::kCloneVm | abi::kCloneSighand | abi::kCloneThread;

class SignalManagerTest : public testing::Test {
 protected:
  SignalManagerTest() { signals.CreateProcess(1); }
  void Catch(Pid task, int signal, uint64_t flags = 0) {
    const SignalAction action{.handler = 0x1000, .flags = flags};
    EXPECT_TRUE(Ok(signals.Action(task, signal, &action)));
  }
  void SetMask(Pid task, uint64_t mask) { EXPECT_TRUE(Ok(signals.SetMask(task, SIG_SETMASK, &mask))); }

  SignalManager signals;
};

TEST_F(SignalManagerTest, ASignalIsOfferedToTheLeaderOrToWhoDoesNotBlockIt) {
  signals.CloneTask(1, 5, 1, kThread);
  Catch(1, SIGUSR1);
  EXPECT_EQ(signals.Send(1, 0, {.signal = SIGUSR1}), 1);
  EXPECT_EQ(signals.Interrupts(1), SignalManager::Interrupt::kFail);
  EXPECT_EQ(signals.Interrupts(5), SignalManager::Interrupt::kNo) << "one thread is enough";
  EXPECT_TRUE(signals.Take(1).has_value());
  SetMask(1, Bit(SIGUSR1));
  EXPECT_EQ(signals.Send(1, 0, {.signal = SIGUSR1}), 5);
  SetMask(5, Bit(SIGUSR1));
  EXPECT_EQ(signals.Send(1, 0, {.signal = SIGUSR1}), 0);
  SetMask(1, 0);
  EXPECT_EQ(signals.Interrupts(1), SignalManager::Interrupt::kFail) << "unblocked, it is its turn";
}

TEST_F(SignalManagerTest, InterruptsTellRestartFromFailure) {
  Catch(1, SIGUSR1, abi::kSaRestart);
  Catch(1, SIGUSR2);
  EXPECT_EQ(signals.Interrupts(1), SignalManager::Interrupt::kNo);
  signals.Send(1, 0, {.signal = SIGUSR1});
  EXPECT_EQ(signals.Interrupts(1), SignalManager::Interrupt::kRestart);
  signals.Send(1, 0, {.signal = SIGUSR2});
  EXPECT_EQ(signals.Interrupts(1), SignalManager::Interrupt::kFail);
}

TEST_F(SignalManagerTest, DefaultActionsAreHandedOutAndCaughtSignalsAreNot) {
  Catch(1, SIGUSR1);
  signals.Send(1, 0, {.signal = SIGUSR1});
  EXPECT_FALSE(signals.TakeDefault(1, false).has_value());
  signals.Send(1, 0, {.signal = SIGTERM, .sender = 9});
  EXPECT_FALSE(signals.TakeDefault(1, true).has_value()) << "a stopped process only dies of SIGKILL";
  EXPECT_EQ(signals.TakeDefault(1, false)->sender, 9);
  signals.Send(1, 0, {.signal = SIGKILL});
  EXPECT_TRUE(signals.KillPending(1));
  EXPECT_EQ(signals.TakeDefault(1, true)->signal, SIGKILL);
  EXPECT_EQ(signals.Take(1)->info.signal, SIGUSR1);
}

TEST_F(SignalManagerTest, ExecByAThreadKeepsItsMaskAndPendingSignals) {
  signals.CloneTask(1, 5, 1, kThread);
  Catch(1, SIGUSR1);
  SetMask(5, Bit(SIGUSR2));
  signals.Send(1, 5, {.signal = SIGUSR2});
  signals.DropTask(1);
  signals.Exec(5, 1);
  EXPECT_EQ(signals.mask(1), Bit(SIGUSR2));
  EXPECT_EQ(signals.Pending(1), Bit(SIGUSR2));
  EXPECT_EQ(Value(signals.Action(1, SIGUSR1, nullptr)).handler, 0u);
}

TEST_F(SignalManagerTest, SharedHandlersAreOneAndCopiedOnesAreNot) {
  signals.CloneTask(1, 2, 2, abi::kCloneVm | abi::kCloneSighand);
  signals.CloneTask(1, 3, 3, 0);
  Catch(1, SIGUSR1);
  EXPECT_EQ(Value(signals.Action(2, SIGUSR1, nullptr)).handler, 0x1000u);
  EXPECT_EQ(Value(signals.Action(3, SIGUSR1, nullptr)).handler, 0u);
  signals.Exec(2, 2);
  EXPECT_EQ(Value(signals.Action(1, SIGUSR1, nullptr)).handler, 0x1000u) << "exec has its own from now on";
}

TEST_F(SignalManagerTest, ADroppedProcessTakesNothing) {
  signals.DropTask(1);
  EXPECT_EQ(signals.Send(1, 0, {.signal = SIGTERM}), 0);
  EXPECT_FALSE(signals.TakeDefault(1, false).has_value());
  EXPECT_EQ(signals.Retarget(1), 0);
}

}  // namespace
}  // namespace hotpath::kernel
