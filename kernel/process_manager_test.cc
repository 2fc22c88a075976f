#include "hotpath/kernel/process_manager.h"

#include <signal.h>

#include <array>
#include <memory>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

class ProcessManagerTest : public testing::Test {
 protected:
  std::shared_ptr<Task> Spawn(ProcessManager& manager, Pid parent = 0) {
    return Value(manager.Spawn("p", parent, {}, {}));
  }
  ProcessManager::Hooks Hooks() {
    return {.reaps_automatically = [this](Pid parent) { return auto_reapers.contains(parent); },
            .notify = [this](Pid parent, int signal, const Process& child,
                             int code) { told.emplace_back(parent, signal, child.pid, code); },
            .hang_up = [this](Pid group) { hung_up.push_back(group); }};
  }

  std::set<Pid> auto_reapers;
  std::vector<std::tuple<Pid, int, Pid, int>> told;
  std::vector<Pid> hung_up;
};

TEST_F(ProcessManagerTest, NumbersWrapAroundAndSkipWhatIsVisible) {
  ProcessManager manager({.max_tasks = 100, .pid_max = 50}, Hooks());
  const std::shared_ptr<Task> init = Spawn(manager);
  // A group that outlives its leader keeps the leader's number.
  const std::shared_ptr<Task> leader = Value(manager.Clone(*init, 0, SIGCHLD));
  EXPECT_TRUE(Ok(manager.SetGroup(*leader, 0, 0)));
  const std::shared_ptr<Task> member = Value(manager.Clone(*leader, 0, SIGCHLD));
  const Pid named = leader->tid;
  manager.EndTask(*leader, 0);
  EXPECT_TRUE(Ok(manager.Wait(*init->process, {}, abi::kWExited)));
  std::set<Pid> seen;
  for (int round = 0; round < 200; ++round) {
    const std::shared_ptr<Task> child = Value(manager.Clone(*init, 0, SIGCHLD));
    ASSERT_NE(child->tid, init->tid);
    ASSERT_NE(child->tid, member->tid);
    ASSERT_NE(child->tid, named);
    ASSERT_LT(child->tid, 50);
    seen.insert(child->tid);
    manager.EndTask(*child, 0);
    ASSERT_EQ(Value(manager.Wait(*init->process, {ProcessManager::Which::Kind::kPid, child->tid}, abi::kWExited)).pid,
              child->tid);
  }
  EXPECT_GE(seen.size(), 40u);
  manager.EndTask(*member, 0);
}

TEST_F(ProcessManagerTest, NumbersRunOutWithoutHarm) {
  ProcessManager manager({.max_tasks = 1000, .pid_max = 10}, Hooks());
  const std::shared_ptr<Task> init = Spawn(manager);
  std::vector<std::shared_ptr<Task>> children;
  for (;;) {
    Result<std::shared_ptr<Task>> child = manager.Clone(*init, 0, SIGCHLD);
    if (!child.ok()) {
      EXPECT_TRUE(Fails(child, Code::kEAGAIN));
      break;
    }
    children.push_back(*child);
  }
  EXPECT_EQ(children.size(), 8u) << "1 to 9, of which init has one";
  manager.EndTask(*children[3], 0);
  EXPECT_TRUE(Fails(manager.Clone(*init, 0, SIGCHLD), Code::kEAGAIN)) << "a zombie keeps its number";
  EXPECT_TRUE(Ok(manager.Wait(*init->process, {}, abi::kWExited)));
  EXPECT_EQ(Value(manager.Clone(*init, 0, SIGCHLD))->tid, children[3]->tid);
}

TEST_F(ProcessManagerTest, TheParentIsToldOfEachChange) {
  ProcessManager manager({}, Hooks());
  const std::shared_ptr<Task> init = Spawn(manager);
  const std::shared_ptr<Task> child = Spawn(manager, init->tid);
  manager.Stop(*child->process, SIGTSTP);
  manager.Stop(*child->process, SIGSTOP);
  manager.Continue(*child->process);
  manager.Continue(*child->process);
  manager.EndTask(*child, SIGKILL);
  const Pid pid = child->tid;
  EXPECT_EQ(told, (std::vector<std::tuple<Pid, int, Pid, int>>{{init->tid, SIGCHLD, pid, CLD_STOPPED},
                                                               {init->tid, SIGCHLD, pid, CLD_CONTINUED},
                                                               {init->tid, SIGCHLD, pid, CLD_KILLED}}));
  EXPECT_TRUE(child->dead);
  EXPECT_EQ(manager.zombies(), 1u);
}

TEST_F(ProcessManagerTest, AZombieThatIsAdoptedIsAnnouncedAgain) {
  ProcessManager manager({}, Hooks());
  const std::shared_ptr<Task> init = Spawn(manager);
  const std::shared_ptr<Task> parent = Spawn(manager, init->tid);
  const std::shared_ptr<Task> child = Value(manager.Clone(*parent, 0, 0));
  manager.EndTask(*child, 0);
  EXPECT_TRUE(told.empty()) << "exit signal 0";
  auto_reapers.insert(init->tid);
  manager.EndTask(*parent, 0);
  EXPECT_EQ(manager.processes(), 1u);
  EXPECT_EQ(manager.zombies(), 0u) << "init reaped both";
  EXPECT_EQ(told.size(), 2u);
}

TEST_F(ProcessManagerTest, OnlyStoppedGroupsThatBecomeOrphansAreHungUp) {
  ProcessManager manager({}, Hooks());
  const std::shared_ptr<Task> init = Spawn(manager);
  const std::shared_ptr<Task> shell = Value(manager.Clone(*init, 0, SIGCHLD));
  EXPECT_TRUE(Ok(manager.SetSession(*shell)));
  std::array<std::shared_ptr<Task>, 2> jobs;
  for (std::shared_ptr<Task>& job : jobs) {
    job = Value(manager.Clone(*shell, 0, SIGCHLD));
    EXPECT_TRUE(Ok(manager.SetGroup(*shell, job->tid, 0)));
    EXPECT_FALSE(manager.IsOrphaned(job->tid));
  }
  manager.Stop(*jobs[0]->process, SIGTSTP);
  manager.EndTask(*shell, 0);
  EXPECT_EQ(hung_up, std::vector<Pid>{jobs[0]->tid});
  EXPECT_TRUE(manager.IsOrphaned(jobs[1]->tid));
}

TEST_F(ProcessManagerTest, AVforkParentIsReleasedOnce) {
  ProcessManager manager({}, Hooks());
  const std::shared_ptr<Task> init = Spawn(manager);
  const std::shared_ptr<Task> child = Value(manager.Clone(*init, abi::kCloneVfork | abi::kCloneVm, SIGCHLD));
  EXPECT_TRUE(init->awaits_vfork_child);
  manager.Exec(*child);
  EXPECT_FALSE(init->awaits_vfork_child);
  init->awaits_vfork_child = true;  // for another child
  manager.EndTask(*child, 0);
  EXPECT_TRUE(init->awaits_vfork_child);
}

}  // namespace
}  // namespace hotpath::kernel
