// The tests of the kernel can fail: a compact acceptance program finds nothing wrong with the kernel as it is, and
// something wrong with each bug that a test build plants.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"

namespace hotpath::kernel {
namespace {

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// Returns what the kernel answered wrongly first; empty: nothing.
std::string FirstWrongAnswer(Mutation mutation) {
  KernelOptions options;
  options.never_block = true;
  options.mutation = mutation;
  Kernel k(options);
  if (!k.Seed("/bin/program", {.mode = 0100755, .size = 4096}).ok()) return "Seed";
  const Pid init = k.Spawn({.name = "init"}).value();
  std::array<std::byte, 64> buffer;

  // Descriptors.
  const Fd zero = k.Open(init, "/a", O_CREAT | O_RDWR, 0644).value_or(-1);
  const Fd one = k.Open(init, "/a", O_RDWR).value_or(-1);
  const Fd two = k.Open(init, "/a", O_RDWR | O_CLOEXEC).value_or(-1);
  if (zero != 0 || one != 1 || two != 2) return "open does not give 0, 1, 2";
  if (!k.Close(init, one).ok()) return "close";
  if (k.Open(init, "/a", O_RDWR).value_or(-1) != 1) return "open is not given the lowest free number";
  if (k.Dup2(init, two, 5).value_or(-1) != 5) return "dup2";
  if (k.Fcntl(init, 5, F_GETFD, 0).value_or(-1) != 0) return "dup2 keeps CLOEXEC";

  // Offsets, flags and contents.
  if (k.Write(init, zero, Bytes("hello")).value_or(0) != 5) return "write";
  if (k.PRead(init, zero, std::span(buffer).first(2), 1).value_or(0) != 2) return "pread";
  if (k.Seek(init, zero, 0, SEEK_CUR).value_or(-1) != 5) return "pread moves the offset";
  const Fd appender = k.Open(init, "/a", O_WRONLY | O_APPEND).value_or(-1);
  if (k.Write(init, appender, Bytes("!")).value_or(0) != 1) return "append";
  if (k.StatAt(init, kAtFdCwd, "/a", 0).value_or(Stat{}).size != 6) return "O_APPEND is ignored";
  if (!k.Open(init, "/a", O_WRONLY | O_TRUNC).ok()) return "open to truncate";
  if (k.StatAt(init, kAtFdCwd, "/a", 0).value_or(Stat{.size = -1}).size != 0) return "O_TRUNC is ignored";

  // Names.
  if (!k.Open(init, "/old", O_CREAT | O_WRONLY, 0644).ok()) return "create";
  if (!k.RenameAt(init, kAtFdCwd, "/old", kAtFdCwd, "/new", 0).ok()) return "rename";
  if (k.StatAt(init, kAtFdCwd, "/old", 0).code() != Code::kENOENT) return "rename keeps the source";
  if (!k.UnlinkAt(init, kAtFdCwd, "/new", 0).ok()) return "unlink";
  if (k.StatAt(init, kAtFdCwd, "/new", 0).code() != Code::kENOENT) return "unlink keeps the name";
  if (!k.MkdirAt(init, kAtFdCwd, "/dir", 0755).ok() || !k.Chdir(init, "/dir").ok()) return "mkdir and chdir";
  if (k.GetCwd(init, 64).value_or("") != "/dir") return "chdir is lost";

  // Processes.
  const Pid child = k.Fork(init).value_or(-1);
  if (k.Seek(init, one, 3, SEEK_SET).value_or(-1) != 3) return "lseek";
  if (k.Seek(child, one, 0, SEEK_CUR).value_or(-1) != 3) return "fork does not share the offset";
  if (!k.Close(child, zero).ok()) return "close in the child";
  if (!k.Fcntl(init, zero, F_GETFD, 0).ok()) return "fork shares the table";
  if (!k.Exec(child, kAtFdCwd, "/bin/program", 0).ok()) return "exec";
  if (k.Fcntl(child, two, F_GETFD, 0).code() != Code::kEBADF) return "exec keeps what is CLOEXEC";
  if (!k.Fcntl(child, one, F_GETFD, 0).ok()) return "exec closes what is not CLOEXEC";
  if (!k.ExitGroup(child, 3).ok()) return "exit_group";
  const WaitResult waited = k.Wait(init, -1, 0).value_or(WaitResult{});
  if (waited.pid != child || waited.status != 3 << 8) return "wait";
  if (k.Wait(init, -1, WNOHANG).code() != Code::kECHILD) return "wait does not reap";
  constexpr uint64_t kCloneFiles = 0x400;
  const Pid sharer = k.Clone(init, {.flags = kCloneFiles, .exit_signal = kSigChld}).value_or(-1);
  if (!k.Close(sharer, one).ok()) return "close in a process that shares the table";
  if (k.Fcntl(init, one, F_GETFD, 0).code() != Code::kEBADF) return "CLONE_FILES copies the table";
  return "";
}

TEST(KernelMutation, TheKernelAsItIsAnswersRight) { EXPECT_EQ(FirstWrongAnswer(Mutation::kNone), ""); }

struct Planted {
  Mutation mutation;
  std::string_view found_as;
};

class KernelMutationTest : public testing::TestWithParam<Planted> {};

TEST_P(KernelMutationTest, IsFound) { EXPECT_EQ(FirstWrongAnswer(GetParam().mutation), GetParam().found_as); }

INSTANTIATE_TEST_SUITE_P(EveryPlantedBug, KernelMutationTest,
                         testing::Values(Planted{Mutation::kNextFdNotLowest,
                                                 "open is not given the lowest free number"},
                                         Planted{Mutation::kCloexecIgnored, "exec keeps what is CLOEXEC"},
                                         Planted{Mutation::kDup2KeepsCloexec, "dup2 keeps CLOEXEC"},
                                         Planted{Mutation::kForkCopiesOffset, "fork does not share the offset"},
                                         Planted{Mutation::kAppendIgnored, "O_APPEND is ignored"},
                                         Planted{Mutation::kTruncIgnored, "O_TRUNC is ignored"},
                                         Planted{Mutation::kUnlinkKeepsName, "unlink keeps the name"},
                                         Planted{Mutation::kRenameKeepsSource, "rename keeps the source"},
                                         Planted{Mutation::kPreadMovesOffset, "pread moves the offset"},
                                         Planted{Mutation::kWaitDoesNotReap, "wait does not reap"},
                                         Planted{Mutation::kCloneFilesCopied, "CLONE_FILES copies the table"},
                                         Planted{Mutation::kChdirLost, "chdir is lost"},
                                         Planted{Mutation::kForkSharesTable, "fork shares the table"}));

}  // namespace
}  // namespace hotpath::kernel
