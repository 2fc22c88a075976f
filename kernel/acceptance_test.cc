// The numbered acceptance cases of the design, through the facade, with Linux's answers.

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"

namespace hotpath::kernel {
namespace {

constexpr unsigned kCloseRangeUnshare = 1u << 1;
constexpr unsigned kCloseRangeCloexec = 1u << 2;
constexpr uint64_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

class KernelAcceptance : public testing::Test {
 protected:
  static KernelOptions Options() {
    KernelOptions options;
    options.never_block = true;
    options.nofile_soft = 64;
    options.nofile_hard = 64;
    return options;
  }

  Fd Create(std::string_view path, int flags = O_RDWR, uint32_t mode = 0644) {
    return k.Open(self, path, flags | O_CREAT, mode).value();
  }
  Code OpenCode(std::string_view path, int flags, uint32_t mode = 0644) {
    return k.Open(self, path, flags, mode).code();
  }
  std::string ReadAll(Pid t, Fd fd, size_t n = 256) {
    std::string out(n, '\0');
    const Result<size_t> got = k.Read(t, fd, std::as_writable_bytes(std::span(out)));
    out.resize(got.value_or(0));
    return out;
  }
  Stat StatOf(std::string_view path) { return k.StatAt(self, kAtFdCwd, path, AT_SYMLINK_NOFOLLOW).value(); }
  Pid Unprivileged() {
    SpawnOptions options;
    options.uid = options.gid = 1000;
    return k.Spawn(options).value();
  }

  std::string room = std::string(16, '?');  // room to read into
  Kernel k{Options()};
  Pid self = k.Spawn({}).value();
};

// ---- Descriptors ----

TEST_F(KernelAcceptance, C01OpenReturnsTheLowestFreeNumber) {
  EXPECT_EQ(Create("/a"), 0);
  EXPECT_EQ(Create("/a"), 1);
  EXPECT_EQ(Create("/a"), 2);
  ASSERT_TRUE(k.Close(self, 1).ok());
  EXPECT_EQ(Create("/a"), 1);
}

TEST_F(KernelAcceptance, C02DupSharesTheOffsetBothWaysAndC03TwoOpensDoNot) {
  const Fd a = Create("/a"), other = Create("/a");
  const Fd dup = k.Dup(self, a).value();
  ASSERT_EQ(k.Write(self, a, Bytes("hello")).value_or(0), 5u);
  EXPECT_EQ(k.Seek(self, dup, 0, SEEK_CUR).value_or(-1), 5);
  ASSERT_EQ(k.Seek(self, dup, 2, SEEK_SET).value_or(-1), 2);
  EXPECT_EQ(ReadAll(self, a), "llo");
  EXPECT_EQ(ReadAll(self, other), "hello");
}

TEST_F(KernelAcceptance, C04To09DupFlavours) {
  const Fd a = k.Open(self, "/a", O_CREAT | O_RDWR | O_CLOEXEC, 0644).value();
  EXPECT_EQ(k.Dup2(self, a, a).value_or(-1), a);
  EXPECT_EQ(k.Fcntl(self, a, F_GETFD, 0).value_or(-1), FD_CLOEXEC);
  EXPECT_EQ(k.Dup2(self, 40, 40).code(), Code::kEBADF);
  EXPECT_EQ(k.Dup3(self, a, a, 0).code(), Code::kEINVAL);
  EXPECT_EQ(k.Dup3(self, a, 9, 0x10).code(), Code::kEINVAL);
  const PipeFds pipe = k.Pipe(self, 0).value();
  ASSERT_EQ(k.Dup2(self, a, pipe.write_end).value_or(-1), pipe.write_end);
  EXPECT_EQ(k.Read(self, pipe.read_end, std::as_writable_bytes(std::span(room))).value_or(9), 0u) << "no EOF";
  EXPECT_EQ(k.Fcntl(self, pipe.write_end, F_GETFD, 0).value_or(-1), 0);
  EXPECT_EQ(k.Dup2(self, 41, pipe.read_end).code(), Code::kEBADF);
  EXPECT_TRUE(k.Fcntl(self, pipe.read_end, F_GETFD, 0).ok()) << "the target of a failed dup2 stays open";
  EXPECT_EQ(k.Fcntl(self, k.Dup(self, a).value(), F_GETFD, 0).value_or(-1), 0);
  EXPECT_EQ(k.Fcntl(self, k.Dup3(self, a, 20, O_CLOEXEC).value(), F_GETFD, 0).value_or(-1), FD_CLOEXEC);
}

TEST_F(KernelAcceptance, C10To12DupfdHonoursItsMinimum) {
  const Fd a = Create("/a");
  EXPECT_EQ(k.Fcntl(self, a, F_DUPFD, 10).value_or(-1), 10);
  EXPECT_EQ(k.Fcntl(self, a, F_DUPFD, 10).value_or(-1), 11);
  ASSERT_TRUE(k.Close(self, 10).ok());
  EXPECT_EQ(k.Fcntl(self, a, F_DUPFD_CLOEXEC, 5).value_or(-1), 5);
  EXPECT_EQ(k.Fcntl(self, a, F_DUPFD, 10).value_or(-1), 10);
  EXPECT_EQ(k.Fcntl(self, a, F_DUPFD, -1).code(), Code::kEINVAL);
  EXPECT_EQ(k.Fcntl(self, a, F_DUPFD, 64).code(), Code::kEINVAL);
  ASSERT_TRUE(k.Close(self, 10).ok());
  EXPECT_EQ(k.Close(self, 10).code(), Code::kEBADF);
}

TEST_F(KernelAcceptance, C13StatusFlagsAreSharedAndSetflKeepsTheAccessMode) {
  const Fd a = Create("/a", O_WRONLY);
  const Fd dup = k.Dup(self, a).value();
  ASSERT_TRUE(k.Fcntl(self, a, F_SETFL, O_APPEND | O_RDWR | O_CREAT).ok());
  const int64_t flags = k.Fcntl(self, dup, F_GETFL, 0).value_or(-1);
  EXPECT_EQ(flags & O_ACCMODE, O_WRONLY);
  EXPECT_EQ(flags & O_APPEND, O_APPEND);
  EXPECT_EQ(flags & O_CREAT, 0);
}

TEST_F(KernelAcceptance, C14And15TheDescriptorLimit) {
  const Fd a = Create("/a");
  for (int i = 1; i < 64; ++i) ASSERT_EQ(k.Dup(self, a).value_or(-1), i);
  EXPECT_EQ(k.Dup(self, a).code(), Code::kEMFILE);
  EXPECT_EQ(k.Dup2(self, a, 64).code(), Code::kEBADF);
  const KernelStats before = k.Stats();
  ASSERT_TRUE(k.Close(self, 7).ok());
  EXPECT_EQ(k.Pipe(self, 0).code(), Code::kEMFILE);
  EXPECT_EQ(k.Stats().pipes, before.pipes);
  EXPECT_EQ(k.Dup(self, a).value_or(-1), 7) << "a failed pipe kept a number";
  const Rlimit lower{.soft = 10, .hard = 64};
  ASSERT_TRUE(k.Prlimit(self, 0, RLIMIT_NOFILE, &lower).ok());
  EXPECT_TRUE(k.Fcntl(self, 60, F_GETFD, 0).ok()) << "numbers above a lowered limit still work";
}

TEST_F(KernelAcceptance, C16And24CloseRange) {
  const Fd a = Create("/a");
  for (int i = 1; i < 10; ++i) ASSERT_TRUE(k.Dup(self, a).ok());
  EXPECT_EQ(k.CloseRange(self, 5, 4, 0).code(), Code::kEINVAL);
  EXPECT_EQ(k.CloseRange(self, 4, 5, 64).code(), Code::kEINVAL);
  ASSERT_TRUE(k.Close(self, 4).ok());
  ASSERT_TRUE(k.CloseRange(self, 3, 6, 0).ok());
  EXPECT_EQ(k.Close(self, 6).code(), Code::kEBADF);
  EXPECT_TRUE(k.Fcntl(self, 7, F_GETFD, 0).ok());
  ASSERT_TRUE(k.CloseRange(self, 7, ~0u, kCloseRangeCloexec).ok());
  EXPECT_EQ(k.Fcntl(self, 8, F_GETFD, 0).value_or(-1), FD_CLOEXEC);
  const Pid sharer = k.Clone(self, {.flags = CLONE_FILES, .exit_signal = SIGCHLD}).value();
  ASSERT_TRUE(k.CloseRange(sharer, 7, ~0u, kCloseRangeUnshare).ok());
  EXPECT_EQ(k.Fcntl(sharer, 7, F_GETFD, 0).code(), Code::kEBADF);
  EXPECT_TRUE(k.Fcntl(self, 7, F_GETFD, 0).ok());
}

TEST_F(KernelAcceptance, C17To19ForkCopiesTheTableAndExecClosesOnlyCloexec) {
  ASSERT_TRUE(k.Seed("/bin/x", {.mode = 0100755, .size = 10}).ok());
  const Fd a = Create("/a"), b = k.Open(self, "/a", O_RDWR | O_CLOEXEC).value();
  const Pid child = k.Fork(self).value();
  ASSERT_EQ(k.Write(child, a, Bytes("abc")).value_or(0), 3u);
  EXPECT_EQ(k.Seek(self, a, 0, SEEK_CUR).value_or(-1), 3);
  ASSERT_TRUE(k.Exec(child, kAtFdCwd, "/bin/x", 0).ok());
  EXPECT_TRUE(k.Fcntl(child, a, F_GETFD, 0).ok());
  EXPECT_EQ(k.Fcntl(child, b, F_GETFD, 0).code(), Code::kEBADF);
  EXPECT_TRUE(k.Fcntl(self, b, F_GETFD, 0).ok());
}

TEST_F(KernelAcceptance, C22ThreadsShareTheTable) {
  const Pid thread = k.Clone(self, {.flags = kThread, .exit_signal = 0}).value();
  const Fd a = Create("/a");
  EXPECT_TRUE(k.Fcntl(thread, a, F_GETFD, 0).ok());
  EXPECT_EQ(k.GetPid(thread).value_or(0), self);
  ASSERT_TRUE(k.Close(thread, a).ok());
  EXPECT_EQ(k.Close(self, a).code(), Code::kEBADF);
}

// ---- Files ----

TEST_F(KernelAcceptance, C25To34OpenRefuses) {
  Create("/file");
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/dir", 0755).ok());
  ASSERT_TRUE(k.SymlinkAt(self, "/nowhere", kAtFdCwd, "/dangling").ok());
  ASSERT_TRUE(k.SymlinkAt(self, "/loop", kAtFdCwd, "/loop").ok());
  EXPECT_EQ(OpenCode("/file", O_CREAT | O_EXCL | O_RDWR), Code::kEEXIST);
  EXPECT_EQ(OpenCode("/dangling", O_CREAT | O_EXCL | O_RDWR), Code::kEEXIST);
  EXPECT_EQ(OpenCode("/dir", O_WRONLY), Code::kEISDIR);
  EXPECT_EQ(OpenCode("/dir", O_RDONLY | O_CREAT), Code::kEISDIR);
  EXPECT_EQ(OpenCode("/dir", O_RDONLY | O_TRUNC), Code::kEISDIR);
  EXPECT_EQ(OpenCode("/file", O_RDONLY | O_DIRECTORY), Code::kENOTDIR);
  EXPECT_EQ(OpenCode("/file/", O_RDONLY), Code::kENOTDIR);
  EXPECT_EQ(OpenCode("/new/", O_CREAT | O_WRONLY), Code::kEISDIR);
  EXPECT_EQ(OpenCode("/file/x", O_RDONLY), Code::kENOTDIR);
  EXPECT_EQ(OpenCode("/none/x", O_RDONLY), Code::kENOENT);
  EXPECT_EQ(OpenCode("/dangling", O_RDONLY | O_NOFOLLOW), Code::kELOOP);
  EXPECT_EQ(OpenCode("/loop", O_RDONLY), Code::kELOOP);
  EXPECT_TRUE(S_ISLNK(StatOf("/loop").mode));
  EXPECT_EQ(OpenCode(std::string("/") + std::string(256, 'x'), O_RDONLY), Code::kENAMETOOLONG);
  EXPECT_EQ(OpenCode(std::string("/") + std::string(255, 'x'), O_RDONLY), Code::kENOENT);
  std::string deep;
  for (int i = 0; i < 2048; ++i) deep += "/.";
  EXPECT_EQ(OpenCode(deep, O_RDONLY), Code::kENAMETOOLONG);
  EXPECT_EQ(OpenCode("", O_RDONLY), Code::kENOENT);
}

TEST_F(KernelAcceptance, C31CreateThroughADanglingLinkMakesItsTarget) {
  ASSERT_TRUE(k.SymlinkAt(self, "/target", kAtFdCwd, "/dangling").ok());
  Create("/dangling");
  EXPECT_TRUE(S_ISREG(StatOf("/target").mode));
}

TEST_F(KernelAcceptance, C33UmaskAppliesToOpenAndMkdir) {
  EXPECT_EQ(k.Umask(self, 027).value_or(0), 022u);
  Create("/f", O_RDWR, 0666);
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d", 0777).ok());
  EXPECT_EQ(StatOf("/f").mode & 0777, 0640u);
  EXPECT_EQ(StatOf("/d").mode & 0777, 0750u);
}

TEST_F(KernelAcceptance, C35To43OffsetsAndSizes) {
  const Fd a = Create("/a");
  ASSERT_EQ(k.Write(self, a, Bytes("0123456789")).value_or(0), 10u);
  const Fd log = k.Open(self, "/a", O_RDWR | O_APPEND).value();
  ASSERT_EQ(k.Seek(self, log, 2, SEEK_SET).value_or(-1), 2);
  ASSERT_EQ(k.Write(self, log, Bytes("X")).value_or(0), 1u);
  EXPECT_EQ(k.Seek(self, log, 0, SEEK_CUR).value_or(-1), 11);
  ASSERT_EQ(k.PWrite(self, log, Bytes("Y"), 0).value_or(0), 1u);
  EXPECT_EQ(k.Seek(self, log, 0, SEEK_CUR).value_or(-1), 11) << "pwrite moves no offset";
  EXPECT_EQ(StatOf("/a").size, 12) << "pwrite on O_APPEND appends";
  EXPECT_EQ(k.PRead(self, a, std::as_writable_bytes(std::span(room)), -1).code(), Code::kEINVAL);
  EXPECT_EQ(k.PWrite(self, a, Bytes("Z"), -1).code(), Code::kEINVAL);
  ASSERT_EQ(k.PWrite(self, a, Bytes("end"), 10000).value_or(0), 3u);
  std::array<std::byte, 4> hole;
  ASSERT_EQ(k.PRead(self, a, hole, 5000).value_or(0), 4u);
  for (const std::byte b : hole) EXPECT_EQ(b, std::byte{0});
  EXPECT_EQ(k.Seek(self, a, -1, SEEK_SET).code(), Code::kEINVAL);
  EXPECT_EQ(k.Seek(self, a, 0, 99).code(), Code::kEINVAL);
  const Fd read_only = k.Open(self, "/a", O_RDONLY).value(), write_only = k.Open(self, "/a", O_WRONLY).value();
  EXPECT_EQ(k.Write(self, read_only, Bytes("x")).code(), Code::kEBADF);
  EXPECT_EQ(k.Read(self, write_only, hole).code(), Code::kEBADF);
  const Fd dir = k.Open(self, "/", O_RDONLY | O_DIRECTORY).value();
  EXPECT_EQ(k.Read(self, dir, hole).code(), Code::kEISDIR);
  EXPECT_EQ(k.FTruncate(self, read_only, 0).code(), Code::kEINVAL);
  EXPECT_EQ(k.Truncate(self, "/", 0).code(), Code::kEISDIR);
  ASSERT_TRUE(k.FTruncate(self, a, 5).ok());
  EXPECT_EQ(StatOf("/a").size, 5);
  ASSERT_TRUE(k.FTruncate(self, a, 8).ok());
  EXPECT_EQ(k.PRead(self, a, hole, 4).value_or(0), 4u);
  EXPECT_EQ(hole[1], std::byte{0}) << "bytes cut off came back";
  ASSERT_TRUE(k.Open(self, "/a", O_WRONLY | O_TRUNC).ok());
  EXPECT_EQ(k.PRead(self, read_only, hole, 0).value_or(9), 0u);
}

TEST_F(KernelAcceptance, C44To46UnlinkAndMkdir) {
  const Fd a = Create("/a");
  ASSERT_TRUE(k.UnlinkAt(self, kAtFdCwd, "/a", 0).ok());
  ASSERT_EQ(k.Write(self, a, Bytes("still")).value_or(0), 5u);
  EXPECT_EQ(k.StatAt(self, a, "", AT_EMPTY_PATH).value().nlink, 0u);
  Create("/f");
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d/", 0755).ok());
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d/e", 0755).ok());
  EXPECT_EQ(k.UnlinkAt(self, kAtFdCwd, "/d", 0).code(), Code::kEISDIR);
  EXPECT_EQ(k.UnlinkAt(self, kAtFdCwd, "/f", AT_REMOVEDIR).code(), Code::kENOTDIR);
  EXPECT_EQ(k.UnlinkAt(self, kAtFdCwd, "/d", AT_REMOVEDIR).code(), Code::kENOTEMPTY);
  EXPECT_EQ(k.UnlinkAt(self, kAtFdCwd, "/d/.", AT_REMOVEDIR).code(), Code::kEINVAL);
  EXPECT_EQ(k.MkdirAt(self, kAtFdCwd, "/f", 0755).code(), Code::kEEXIST);
}

TEST_F(KernelAcceptance, C47To51LinkAndRename) {
  const Fd a = Create("/a");
  ASSERT_TRUE(k.LinkAt(self, kAtFdCwd, "/a", kAtFdCwd, "/b", 0).ok());
  EXPECT_EQ(StatOf("/a").nlink, 2u);
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d", 0755).ok());
  EXPECT_EQ(k.LinkAt(self, kAtFdCwd, "/d", kAtFdCwd, "/e", 0).code(), Code::kEPERM);
  ASSERT_TRUE(k.RenameAt(self, kAtFdCwd, "/a", kAtFdCwd, "/b", 0).ok()) << "two links to one inode: a no-op";
  EXPECT_EQ(StatOf("/a").nlink, 2u);
  Create("/c");
  ASSERT_TRUE(k.RenameAt(self, kAtFdCwd, "/c", kAtFdCwd, "/b", 0).ok());
  EXPECT_EQ(k.StatAt(self, a, "", AT_EMPTY_PATH).value().nlink, 1u) << "the old file keeps its other name";
  Create("/d/x");
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/e", 0755).ok());
  EXPECT_EQ(k.RenameAt(self, kAtFdCwd, "/e", kAtFdCwd, "/d", 0).code(), Code::kENOTEMPTY);
  EXPECT_EQ(k.RenameAt(self, kAtFdCwd, "/d", kAtFdCwd, "/d/in", 0).code(), Code::kEINVAL);
  EXPECT_EQ(k.RenameAt(self, kAtFdCwd, "/a", kAtFdCwd, "/e", 0).code(), Code::kEISDIR);
  EXPECT_EQ(k.RenameAt(self, kAtFdCwd, "/e", kAtFdCwd, "/a", 0).code(), Code::kENOTDIR);
  EXPECT_EQ(k.RenameAt(self, kAtFdCwd, "/e/.", kAtFdCwd, "/g", 0).code(), Code::kEBUSY);
  EXPECT_EQ(k.RenameAt(self, kAtFdCwd, "/a", kAtFdCwd, "/b", 1 /* RENAME_NOREPLACE */).code(), Code::kEEXIST);
  const uint64_t was_a = StatOf("/a").ino, was_b = StatOf("/b").ino;
  ASSERT_TRUE(k.RenameAt(self, kAtFdCwd, "/a", kAtFdCwd, "/b", 2 /* RENAME_EXCHANGE */).ok());
  EXPECT_EQ(StatOf("/a").ino, was_b);
  EXPECT_EQ(StatOf("/b").ino, was_a);
}

TEST_F(KernelAcceptance, C52To54Links) {
  ASSERT_TRUE(k.SymlinkAt(self, "target", kAtFdCwd, "/link").ok());
  EXPECT_EQ(k.ReadLinkAt(self, kAtFdCwd, "/link", 3).value_or(""), "tar");
  EXPECT_EQ(k.ReadLinkAt(self, kAtFdCwd, "/", 10).code(), Code::kEINVAL);
  EXPECT_EQ(StatOf("/link").size, 6);
  const Fd file = Create("/f");
  EXPECT_EQ(k.OpenAt(self, 999, "/f", O_RDONLY).code(), Code::kOK) << "an absolute path ignores a bad dirfd";
  EXPECT_EQ(k.OpenAt(self, 999, "f", O_RDONLY).code(), Code::kEBADF);
  EXPECT_EQ(k.OpenAt(self, file, "f", O_RDONLY).code(), Code::kENOTDIR);
}

TEST_F(KernelAcceptance, C55TheWorkingDirectory) {
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d", 0755).ok());
  ASSERT_TRUE(k.Chdir(self, "d").ok());
  EXPECT_EQ(k.GetCwd(self, 2).code(), Code::kERANGE);
  EXPECT_EQ(k.GetCwd(self, 3).value_or(""), "/d");
  ASSERT_TRUE(k.UnlinkAt(self, kAtFdCwd, "/d", AT_REMOVEDIR).ok());
  EXPECT_EQ(k.GetCwd(self, 100).code(), Code::kENOENT);
  EXPECT_EQ(OpenCode("new", O_CREAT | O_RDWR), Code::kENOENT);
}

TEST_F(KernelAcceptance, C56To58Permissions) {
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/tmp", 0755).ok());
  Create("/tmp/secret", O_RDWR, 0600);
  Create("/tmp/open", O_RDWR, 0644);
  EXPECT_TRUE(k.Access(self, kAtFdCwd, "/tmp/secret", R_OK | W_OK, 0).ok());
  EXPECT_EQ(k.Access(self, kAtFdCwd, "/tmp/secret", X_OK, 0).code(), Code::kEACCES)
      << "root executes only with an x bit";
  const Pid user = Unprivileged();
  EXPECT_EQ(k.Open(user, "/tmp/secret", O_RDONLY).code(), Code::kEACCES);
  EXPECT_EQ(k.ChmodAt(user, kAtFdCwd, "/tmp/open", 0777).code(), Code::kEPERM);
  EXPECT_EQ(k.UnlinkAt(user, kAtFdCwd, "/tmp/open", 0).code(), Code::kEACCES);
  const Fd fd = k.Open(user, "/tmp/open", O_RDONLY).value();
  ASSERT_TRUE(k.ChmodAt(self, kAtFdCwd, "/tmp/open", 0600).ok());
  std::array<std::byte, 1> one;
  EXPECT_TRUE(k.Read(user, fd, one).ok()) << "checked at open only";
}

TEST_F(KernelAcceptance, C59To62CopiesDevicesAndLinkCounts) {
  const Fd in = Create("/in"), out = Create("/out");
  ASSERT_EQ(k.Write(self, in, Bytes("0123456789")).value_or(0), 10u);
  int64_t offset = 4;
  EXPECT_EQ(k.SendFile(self, out, in, &offset, 3).value_or(0), 3u);
  EXPECT_EQ(offset, 7);
  EXPECT_EQ(k.Seek(self, in, 0, SEEK_CUR).value_or(-1), 10);
  EXPECT_EQ(k.CopyFileRange(self, in, &offset, out, nullptr, 100, 0).value_or(0), 3u) << "short at the end";
  EXPECT_EQ(k.PRead(self, out, std::as_writable_bytes(std::span(room)).first(6), 0).value_or(0), 6u);
  EXPECT_EQ(std::string_view(room.data(), 6), "456789");
  ASSERT_TRUE(k.Seed("/dev/null", {.mode = S_IFCHR | 0666, .rdev = 0x103}).ok());
  ASSERT_TRUE(k.Seed("/dev/zero", {.mode = S_IFCHR | 0666, .rdev = 0x105}).ok());
  ASSERT_TRUE(k.Seed("/dev/full", {.mode = S_IFCHR | 0666, .rdev = 0x107}).ok());
  const Fd null = k.Open(self, "/dev/null", O_RDWR).value(), zero = k.Open(self, "/dev/zero", O_RDWR).value();
  const Fd full = k.Open(self, "/dev/full", O_RDWR).value();
  EXPECT_EQ(k.Read(self, null, std::as_writable_bytes(std::span(room))).value_or(9), 0u);
  EXPECT_EQ(k.Write(self, null, Bytes("abc")).value_or(0), 3u);
  EXPECT_EQ(k.Read(self, zero, std::as_writable_bytes(std::span(room))).value_or(0), room.size());
  EXPECT_EQ(room[0], '\0');
  EXPECT_EQ(k.Write(self, full, Bytes("x")).code(), Code::kENOSPC);
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d", 0755).ok());
  EXPECT_EQ(StatOf("/d").nlink, 2u);
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d/e", 0755).ok());
  EXPECT_EQ(StatOf("/d").nlink, 3u);
}

TEST_F(KernelAcceptance, C63To66Mounts) {
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/mnt", 0755).ok());
  Create("/mnt/below");
  Create("/outside");
  ASSERT_TRUE(k.Mount(self, "/mnt", "tmpfs", 0).ok());
  EXPECT_EQ(k.StatAt(self, kAtFdCwd, "/mnt/below", 0).code(), Code::kENOENT);
  EXPECT_EQ(k.UnlinkAt(self, kAtFdCwd, "/mnt", AT_REMOVEDIR).code(), Code::kEBUSY);
  EXPECT_EQ(k.RenameAt(self, kAtFdCwd, "/outside", kAtFdCwd, "/mnt/x", 0).code(), Code::kEXDEV);
  EXPECT_EQ(k.LinkAt(self, kAtFdCwd, "/outside", kAtFdCwd, "/mnt/x", 0).code(), Code::kEXDEV);
  const Fd open = Create("/mnt/file");
  EXPECT_EQ(k.Unmount(self, "/mnt", 0).code(), Code::kEBUSY);
  EXPECT_EQ(k.Mount(self, "/mnt", "", MS_REMOUNT | MS_RDONLY).code(), Code::kEBUSY) << "a writer is open";
  ASSERT_TRUE(k.Close(self, open).ok());
  ASSERT_TRUE(k.Mount(self, "/mnt", "", MS_REMOUNT | MS_RDONLY).ok());
  EXPECT_EQ(OpenCode("/mnt/file", O_WRONLY), Code::kEROFS);
  EXPECT_EQ(OpenCode("/mnt/none", O_WRONLY | O_CREAT), Code::kEROFS);
  EXPECT_EQ(k.UnlinkAt(self, kAtFdCwd, "/mnt/file", 0).code(), Code::kEROFS);
  EXPECT_EQ(OpenCode("/mnt/file", O_RDONLY | O_CREAT), Code::kOK);
  ASSERT_TRUE(k.Close(self, 2).ok());
  ASSERT_TRUE(k.Unmount(self, "/mnt", 0).ok());
  EXPECT_TRUE(k.StatAt(self, kAtFdCwd, "/mnt/below", 0).ok());
}

TEST_F(KernelAcceptance, GetDentsShowsEveryEntryOnceWhateverTheBuffer) {
  ASSERT_TRUE(k.MkdirAt(self, kAtFdCwd, "/d", 0755).ok());
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < 50; ++i) {
    const std::string name = "file" + std::string(static_cast<size_t>(i % 7), 'x') + std::to_string(i);
    ASSERT_TRUE(k.Close(self, Create("/d/" + name)).ok());
    expected.insert(name);
  }
  const Fd dir = k.Open(self, "/d", O_RDONLY | O_DIRECTORY).value();
  EXPECT_EQ(k.GetDents(self, dir, 10).code(), Code::kEINVAL);
  std::set<std::string> seen;
  for (;;) {
    const auto batch = k.GetDents(self, dir, 100).value();
    if (batch.empty()) break;
    size_t bytes = 0;
    for (const Dirent& entry : batch) {
      bytes += (19 + entry.name.size() + 1 + 7) / 8 * 8;
      EXPECT_TRUE(seen.insert(entry.name).second) << entry.name << " twice";
    }
    EXPECT_LE(bytes, 100u);
  }
  EXPECT_EQ(seen, expected);
  ASSERT_EQ(k.Seek(self, dir, 0, SEEK_SET).value_or(-1), 0);
  EXPECT_EQ(k.GetDents(self, dir, 1 << 16).value().size(), 52u);
}

// ---- Processes ----

TEST_F(KernelAcceptance, C67To74WaitAndKill) {
  EXPECT_EQ(k.Wait(self, -1, 0).code(), Code::kECHILD);
  const Pid child = k.Fork(self).value();
  EXPECT_EQ(k.Wait(self, 9999, 0).code(), Code::kECHILD);
  EXPECT_EQ(k.Wait(self, -1, WNOHANG).value().pid, 0);
  EXPECT_EQ(k.Wait(self, -1, 0).code(), Code::kERESTART) << "it would have to sleep";
  EXPECT_EQ(k.Wait(self, -1, 0x100).code(), Code::kEINVAL);
  ASSERT_TRUE(k.ExitGroup(child, 0x1234).ok());
  EXPECT_TRUE(k.Kill(self, child, 0).ok()) << "a zombie is still there";
  const WaitResult waited = k.Wait(self, child, 0).value();
  EXPECT_EQ(waited.pid, child);
  EXPECT_EQ(waited.status, 0x34 << 8);
  EXPECT_EQ(k.Kill(self, child, 0).code(), Code::kESRCH);
  const Pid killed = k.Fork(self).value();
  ASSERT_TRUE(k.Kill(self, killed, SIGKILL).ok());
  ASSERT_TRUE(k.DeliverSignal(killed).ok());
  EXPECT_EQ(k.Wait(self, killed, 0).value().status, SIGKILL);
  const SignalAction ignore{.handler = 1};
  ASSERT_TRUE(k.Sigaction(self, SIGCHLD, &ignore).ok());
  ASSERT_TRUE(k.ExitGroup(k.Fork(self).value(), 0).ok());
  EXPECT_EQ(k.Wait(self, -1, 0).code(), Code::kECHILD);
  EXPECT_EQ(k.Stats().zombies, 0u);
}

TEST_F(KernelAcceptance, C75AVforkParentWaitsForExecOrExit) {
  const Pid child = k.Clone(self, {.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD}).value();
  EXPECT_EQ(k.Open(self, "/", O_RDONLY).code(), Code::kERESTART);
  ASSERT_TRUE(k.ExitGroup(child, 0).ok());
  EXPECT_TRUE(k.Open(self, "/", O_RDONLY).ok());
}

TEST_F(KernelAcceptance, C76And77Exec) {
  ASSERT_TRUE(k.Seed("/bin/x", {.mode = 0100755, .size = 10}).ok());
  Create("/plain");
  EXPECT_EQ(k.Exec(self, kAtFdCwd, "/none", 0).code(), Code::kENOENT);
  EXPECT_EQ(k.Exec(self, kAtFdCwd, "/plain", 0).code(), Code::kEACCES);
  EXPECT_EQ(k.Exec(self, kAtFdCwd, "/plain/x", 0).code(), Code::kENOTDIR);
  ASSERT_TRUE(k.ChmodAt(self, kAtFdCwd, "/plain", 0755).ok());
  ASSERT_TRUE(k.Close(self, 0).ok());
  EXPECT_EQ(k.Exec(self, kAtFdCwd, "/plain", 0).code(), Code::kENOEXEC);
  const SignalAction caught{.handler = 0x4000}, ignored{.handler = 1};
  ASSERT_TRUE(k.Sigaction(self, SIGUSR1, &caught).ok());
  ASSERT_TRUE(k.Sigaction(self, SIGUSR2, &ignored).ok());
  const uint64_t mask = 1u << (SIGHUP - 1);
  ASSERT_TRUE(k.Sigprocmask(self, SIG_SETMASK, &mask).ok());
  ASSERT_TRUE(k.Exec(self, kAtFdCwd, "/bin/x", 0).ok());
  EXPECT_EQ(k.Sigaction(self, SIGUSR1, nullptr).value().handler, 0u);
  EXPECT_EQ(k.Sigaction(self, SIGUSR2, nullptr).value().handler, 1u);
  EXPECT_EQ(k.Sigprocmask(self, SIG_BLOCK, nullptr).value_or(0), mask);
}

TEST_F(KernelAcceptance, C79And80SessionsAndStops) {
  const Pid child = k.Fork(self).value();
  EXPECT_TRUE(k.SetSession(child).ok());
  EXPECT_EQ(k.SetSession(child).code(), Code::kEPERM) << "a group leader";
  EXPECT_EQ(k.GetSession(self, child).value_or(0), child);
  ASSERT_TRUE(k.Kill(self, child, SIGSTOP).ok());
  ASSERT_TRUE(k.DeliverSignal(child).ok());
  EXPECT_EQ(k.Wait(self, child, WNOHANG).value().pid, 0);
  EXPECT_EQ(k.Wait(self, child, WNOHANG | WUNTRACED).value().status, SIGSTOP << 8 | 0x7f);
  ASSERT_TRUE(k.Kill(self, child, SIGCONT).ok());
  EXPECT_EQ(k.Wait(self, child, WNOHANG | WCONTINUED).value().status, 0xffff);
}

// ---- Memory ----

TEST_F(KernelAcceptance, C83To90AddressSpaces) {
  constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  EXPECT_EQ(k.Mmap(self, 0, 0, PROT_READ, kAnonymous, -1, 0).code(), Code::kEINVAL);
  EXPECT_EQ(k.Mmap(self, 0, 4096, PROT_READ, MAP_PRIVATE, 99, 0).code(), Code::kEBADF);
  const uint64_t at = k.Mmap(self, 0x10000000, 3 * 4096, PROT_READ | PROT_WRITE, kAnonymous, -1, 0).value();
  EXPECT_EQ(at, 0x10000000u) << "a free hint is honoured";
  EXPECT_EQ(k.Mmap(self, at, 4096, PROT_READ, kAnonymous | MAP_FIXED_NOREPLACE, -1, 0).code(), Code::kEEXIST);
  EXPECT_EQ(k.MemoryOf(self).value().mapped, 3 * 4096u);
  ASSERT_TRUE(k.Munmap(self, at + 4096, 4096).ok());
  EXPECT_EQ(k.MemoryOf(self).value().mapped, 2 * 4096u);
  EXPECT_TRUE(k.Munmap(self, at + 4096, 4096).ok()) << "unmapping a hole succeeds";
  EXPECT_EQ(k.Munmap(self, at + 1, 4096).code(), Code::kEINVAL);
  EXPECT_EQ(k.Mprotect(self, at, 3 * 4096, PROT_READ).code(), Code::kENOMEM);
  const Fd read_only = k.Open(self, "/f", O_CREAT | O_RDONLY, 0644).value();
  EXPECT_EQ(k.Mmap(self, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, read_only, 0).code(), Code::kEACCES);
  EXPECT_TRUE(k.Mmap(self, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, read_only, 0).ok());
  const uint64_t base = k.Brk(self, 0).value();
  EXPECT_EQ(k.Brk(self, base + 8192).value_or(0), base + 8192);
  EXPECT_EQ(k.Brk(self, base - 4096).value_or(0), base + 8192) << "a refused break is the current one";
  const Rlimit small{.soft = 1 << 20, .hard = 1 << 20};
  ASSERT_TRUE(k.Prlimit(self, 0, RLIMIT_AS, &small).ok());
  EXPECT_EQ(k.Mmap(self, 0, 2 << 20, PROT_READ, kAnonymous, -1, 0).code(), Code::kENOMEM);
}

// ---- Pipes ----

TEST_F(KernelAcceptance, C92To101Pipes) {
  const PipeFds p = k.Pipe(self, O_NONBLOCK).value();
  const std::span<std::byte> one = std::as_writable_bytes(std::span(room)).first(1);
  EXPECT_EQ(k.Read(self, p.read_end, one).code(), Code::kEAGAIN);
  EXPECT_EQ(k.Fcntl(self, p.read_end, F_GETPIPE_SZ, 0).value_or(0), 65536);
  const std::vector<std::byte> much(70000);
  EXPECT_EQ(k.Write(self, p.write_end, much).value_or(0), 65536u);
  EXPECT_EQ(k.Write(self, p.write_end, std::span(much).first(10)).code(), Code::kEAGAIN);
  int64_t ready = 0;
  ASSERT_TRUE(k.Ioctl(self, p.read_end, FIONREAD, &ready).ok());
  EXPECT_EQ(ready, 65536);
  EXPECT_EQ(k.Fcntl(self, p.read_end, F_SETPIPE_SZ, 4096).code(), Code::kEBUSY);
  EXPECT_EQ(k.Seek(self, p.read_end, 0, SEEK_SET).code(), Code::kESPIPE);
  EXPECT_EQ(k.PRead(self, p.read_end, one, 0).code(), Code::kESPIPE);
  EXPECT_EQ(k.FTruncate(self, p.write_end, 0).code(), Code::kEINVAL);
  const Pid child = k.Fork(self).value();
  ASSERT_TRUE(k.Close(self, p.write_end).ok());
  std::vector<std::byte> drain(65536);
  ASSERT_EQ(k.Read(self, p.read_end, drain).value_or(0), 65536u);
  EXPECT_EQ(k.Read(self, p.read_end, one).code(), Code::kEAGAIN) << "the child still has the write end";
  ASSERT_TRUE(k.ExitGroup(child, 0).ok());
  EXPECT_EQ(k.Read(self, p.read_end, one).value_or(9), 0u);
  std::array<PollEntry, 1> poll{PollEntry{.fd = p.read_end, .events = POLLIN}};
  EXPECT_EQ(k.Poll(self, poll, false).value_or(0), 1);
  EXPECT_EQ(poll[0].revents & POLLHUP, POLLHUP);
}

TEST_F(KernelAcceptance, C93WritingWithoutAReaderIsEpipeAndSigpipe) {
  const PipeFds p = k.Pipe(self, 0).value();
  const SignalAction caught{.handler = 0x4000};
  ASSERT_TRUE(k.Sigaction(self, SIGPIPE, &caught).ok());
  ASSERT_TRUE(k.Close(self, p.read_end).ok());
  EXPECT_EQ(k.Write(self, p.write_end, Bytes("x")).code(), Code::kEPIPE);
  EXPECT_EQ(k.DeliverSignal(self).value().signal, SIGPIPE);
}

// ---- Signals ----

TEST_F(KernelAcceptance, C116To118Signals) {
  const SignalAction caught{.handler = 0x4000}, ignore{.handler = 1};
  EXPECT_EQ(k.Sigaction(self, SIGKILL, &ignore).code(), Code::kEINVAL);
  EXPECT_EQ(k.Sigaction(self, SIGSTOP, &caught).code(), Code::kEINVAL);
  EXPECT_EQ(k.Sigaction(self, 65, &caught).code(), Code::kEINVAL);
  ASSERT_TRUE(k.Sigaction(self, SIGUSR1, &caught).ok());
  const int real_time = 40;
  ASSERT_TRUE(k.Sigaction(self, real_time, &caught).ok());
  const uint64_t mask = uint64_t{1} << (SIGUSR1 - 1) | uint64_t{1} << (real_time - 1);
  ASSERT_EQ(k.Sigprocmask(self, SIG_SETMASK, &mask).value_or(9), 0u);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(k.Kill(self, self, SIGUSR1).ok());
    ASSERT_TRUE(k.Kill(self, self, real_time).ok());
  }
  EXPECT_EQ(k.Sigpending(self).value_or(0), mask);
  EXPECT_EQ(k.DeliverSignal(self).code(), Code::kEAGAIN);
  const Pid child = k.Fork(self).value();
  EXPECT_EQ(k.Sigpending(child).value_or(9), 0u) << "a child inherits no pending signal";
  const uint64_t none = 0;
  ASSERT_TRUE(k.Sigprocmask(self, SIG_SETMASK, &none).ok());
  std::vector<int> delivered;
  for (;;) {
    const Result<Delivery> next = k.DeliverSignal(self);
    if (!next.ok()) break;
    delivered.push_back(next->signal);
    ASSERT_TRUE(k.SigReturn(self).ok());
  }
  EXPECT_EQ(delivered, (std::vector<int>{SIGUSR1, real_time, real_time, real_time})) << "standard ones coalesce";
}

// ---- Everything together ----

TEST_F(KernelAcceptance, AProcessThatEndsLeavesNothingBehind) {
  ASSERT_TRUE(k.Seed("/bin/x", {.mode = 0100755, .size = 10}).ok());
  const KernelStats before = k.Stats();
  for (int round = 0; round < 200; ++round) {
    const Pid child = k.Fork(self).value();
    ASSERT_TRUE(k.Open(child, "/tmp.file", O_CREAT | O_RDWR, 0600).ok());
    ASSERT_TRUE(k.Pipe(child, 0).ok());
    ASSERT_TRUE(k.Mmap(child, 0, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).ok());
    ASSERT_TRUE(k.Brk(child, k.Brk(child, 0).value() + 65536).ok());
    ASSERT_TRUE(k.Clone(child, {.flags = kThread, .exit_signal = 0}).ok());
    if (round % 2 == 0) ASSERT_TRUE(k.Exec(child, kAtFdCwd, "/bin/x", 0).ok());
    ASSERT_TRUE(k.UnlinkAt(child, kAtFdCwd, "/tmp.file", 0).ok());
    ASSERT_TRUE(k.ExitGroup(child, round).ok());
    ASSERT_TRUE(k.Wait(self, child, 0).ok());
  }
  const KernelStats after = k.Stats();
  EXPECT_EQ(after.processes, before.processes);
  EXPECT_EQ(after.tasks, before.tasks);
  EXPECT_EQ(after.zombies, before.zombies);
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.open_descriptions, before.open_descriptions);
  EXPECT_EQ(after.inodes, before.inodes);
  EXPECT_EQ(after.pipes, before.pipes);
  EXPECT_EQ(after.mapped_bytes, before.mapped_bytes);
}

}  // namespace
}  // namespace hotpath::kernel
