#include "tools/replay/replayer.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "tools/replay/test_trace.h"

namespace hotpath::replay {
namespace {

ReplayResult Replayed(std::string_view text, const ReplayOptions& options = {}) {
  const Trace trace = Parsed(text);
  absl::StatusOr<ReplayResult> result = Replay(trace, options);
  if (!result.ok()) {
    ADD_FAILURE() << result.status();
    return {};
  }
  EXPECT_EQ(result->all.Total() + result->not_reached, result->calls) << "every call is accounted for";
  VerdictCounts sum;
  for (const auto& [call, counts] : result->by_call) sum.Add(counts);
  EXPECT_EQ(sum.Total(), result->all.Total());
  return *std::move(result);
}

std::string Describe(const Mismatch& m) {
  return std::to_string(m.line) + " " + m.call + " " + m.what + " " + m.recorded + "/" + m.kernel;
}

// All mismatches, one a line.
std::string Mismatches(const ReplayResult& result) {
  std::string out;
  for (const Mismatch& m : result.mismatches) out += Describe(m) + "\n";
  return out;
}

// ---- Descriptors ----

TEST(ReplayerTest, ATraceThatLinuxCouldHaveMadeConforms) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
7 fstat(3, {st_mode=S_IFREG|0644, st_nlink=1, st_uid=0, st_gid=0, st_size=1271, ...}) = 0
7 read(3, ""..., 4096) = 1271
7 read(3, "", 4096) = 0
7 fcntl(3, F_GETFD) = 0x1 (flags FD_CLOEXEC)
7 close(3) = 0
7 close(3) = -1 EBADF (Bad file descriptor)
7 dup(1) = 3
7 dup2(3, 9) = 9
7 fcntl(9, F_DUPFD, 5) = 5
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.all.predicted, 10u);
  EXPECT_EQ(result.all.acks, 1u) << "one close that succeeded";
  EXPECT_EQ(result.latency.count(), 10u);
}

TEST(ReplayerTest, AWrongDescriptorIsReportedOnceAndAdopted) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/a", O_RDONLY) = 3
7 openat(AT_FDCWD, "/b", O_RDONLY) = 4
7 close(3) = 0
7 openat(AT_FDCWD, "/c", O_RDONLY|O_CLOEXEC) = 5
7 fcntl(5, F_GETFD) = 0x1 (flags FD_CLOEXEC)
7 close(5) = 0
7 openat(AT_FDCWD, "/d", O_RDONLY) = 3
)");
  EXPECT_EQ(Mismatches(result), "4 openat fd 5/3\n");
  EXPECT_EQ(result.all.mismatched, 1u);
  ASSERT_EQ(result.mismatches.size(), 1u);
  EXPECT_EQ(result.mismatches[0].why, "our kernel found fd 3 free; in the trace it was closed at line 3 (/a)");
  EXPECT_EQ(result.mismatches[0].pid, 7);
  EXPECT_EQ(result.mismatches[0].at, 4u);
}

TEST(ReplayerTest, ADescriptorThatIsStillOpenIsNamedAsTheReason) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/dev/urandom", O_RDONLY) = 3
7 openat(AT_FDCWD, "/x", O_RDONLY) = 3
)");
  EXPECT_EQ(Mismatches(result), "2 openat fd 3/4\n");
  EXPECT_NE(result.mismatches.at(0).why.find("in our kernel fd 3"), std::string::npos);
  EXPECT_NE(result.mismatches.at(0).why.find("/dev/urandom"), std::string::npos);
  EXPECT_NE(result.mismatches.at(0).why.find("it was open since line 1"), std::string::npos);
}

TEST(ReplayerTest, APipeThatGotOtherNumbersIsMovedToTheRecordedOnes) {
  const ReplayResult result = Replayed(R"(
7 pipe2([4, 3], O_CLOEXEC) = 0
7 write(3, "abc", 3) = 3
7 read(4, "abc", 9) = 3
7 fcntl(4, F_GETFD) = 0x1 (flags FD_CLOEXEC)
)");
  EXPECT_EQ(Mismatches(result), "1 pipe2 fd 4,3/3,4\n");
}

TEST(ReplayerTest, AnInheritedDescriptorIsThereFromTheStart) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/f", O_RDONLY) = 3
7 fcntl(3, F_DUPFD, 10) = 11
7 close(10) = 0
7 read(5</var/x>, ""..., 100) = 40
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, ThreadsShareTheTableAndABlockedAcceptKeepsItsNumber) {
  constexpr char kTrace[] = R"(
7 socket(AF_UNIX, SOCK_STREAM, 0) = 3
7 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, exit_signal=0}, 88) = 8
8 accept4(3,  <unfinished ...>
7 openat(AT_FDCWD, "/f", O_RDONLY) = 5
8 <... accept4 resumed>NULL, NULL, SOCK_CLOEXEC) = 4
7 close(4) = 0
8 exit(0) = ?
8 +++ exited with 0 +++
)";
  const ReplayResult result = Replayed(kTrace);
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.by_call.at("accept4").unsupported, 1u);
  const ReplayResult mutated = Replayed(kTrace, {.mutation = kernel::Mutation::kCloneFilesCopied});
  EXPECT_GT(mutated.mismatch_count, 0u);
}

// ---- Files ----

TEST(ReplayerTest, AWrongErrnoIsReported) {
  const ReplayResult result = Replayed(R"(
7 mkdir("/d", 0777) = 0
7 mkdir("/d", 0777) = 0
7 rmdir("/d") = -1 ENOTEMPTY (Directory not empty)
)");
  EXPECT_EQ(Mismatches(result), "2 mkdir errno 0/EEXIST\n3 rmdir errno ENOTEMPTY/success\n");
}

TEST(ReplayerTest, AWrongCountIsAdoptedAsTheOffset) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/new", O_RDWR|O_CREAT|O_EXCL, 0600) = 3
7 write(3, ""..., 100) = 60
7 lseek(3, 0, SEEK_CUR) = 60
7 lseek(3, 0, SEEK_END) = 55
7 lseek(3, 0, SEEK_CUR) = 55
7 pread64(3, ""..., 50, 90) = 3
)");
  EXPECT_EQ(Mismatches(result), "2 write count 60/100\n4 lseek offset 55/100\n6 pread64 count 3/10\n");
}

TEST(ReplayerTest, StatIsComparedFieldByFieldAndTheFileIsMadeAsRecorded) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/new", O_RDWR|O_CREAT|O_EXCL, 0600) = 3
7 write(3, ""..., 10) = 10
7 fstat(3, {st_mode=S_IFREG|0600, st_nlink=1, st_uid=0, st_gid=0, st_size=9, ...}) = 0
7 stat("/new", {st_mode=S_IFREG|0600, st_nlink=1, st_uid=0, st_gid=0, st_size=9, ...}) = 0
7 stat("/new", {st_mode=S_IFREG|0640, st_nlink=1, st_uid=0, st_gid=0, st_size=9, ...}) = 0
7 stat("/new", {st_mode=S_IFREG|0640, st_nlink=2, st_uid=0, st_gid=0, st_size=9, ...}) = 0
7 stat("/new", {st_mode=S_IFREG|0640, st_nlink=2, st_uid=0, st_gid=0, st_size=9, ...}) = 0
7 stat("/new", {st_mode=S_IFREG|0640, st_nlink=2, st_uid=4, st_gid=0, st_size=9, ...}) = 0
)");
  EXPECT_EQ(Mismatches(result),
            "3 fstat st_size 9/10\n5 stat st_mode 0100640/0100600\n6 stat st_nlink 2/1\n8 stat st_uid 4/0\n");
}

TEST(ReplayerTest, InodeNumbersAreComparedByIdentity) {
  const ReplayResult result = Replayed(R"(
7 stat("/a", {st_dev=makedev(0xfe, 0), st_ino=50, st_mode=S_IFREG|0644, st_nlink=1, st_size=0}) = 0
7 rename("/a", "/b") = 0
7 stat("/b", {st_dev=makedev(0xfe, 0), st_ino=50, st_mode=S_IFREG|0644, st_nlink=1, st_size=0}) = 0
7 stat("/b", {st_dev=makedev(0xfe, 0), st_ino=51, st_mode=S_IFREG|0644, st_nlink=1, st_size=0}) = 0
7 unlink("/b") = 0
7 openat(AT_FDCWD, "/c", O_RDWR|O_CREAT|O_EXCL, 0600) = 3
7 fstat(3, {st_dev=makedev(0xfe, 0), st_ino=50, st_mode=S_IFREG|0600, st_nlink=1, st_size=0}) = 0
)");
  ASSERT_EQ(result.mismatches.size(), 1u) << Mismatches(result);
  EXPECT_EQ(result.mismatches[0].line, 4u);
  EXPECT_EQ(result.mismatches[0].what, "st_ino");
}

TEST(ReplayerTest, SymbolicLinksAreFollowedAndTheirTextIsCompared) {
  const ReplayResult result = Replayed(R"(
7 symlink("d/f", "/l") = 0
7 mkdir("/d", 0755) = 0
7 openat(AT_FDCWD, "/d/f", O_WRONLY|O_CREAT, 0644) = 3
7 readlink("/l", "d/f", 100) = 3
7 readlink("/l", "d"..., 1) = 1
7 stat("/l", {st_mode=S_IFREG|0644, st_size=0, ...}) = 0
7 lstat("/l", {st_mode=S_IFLNK|0777, st_size=3, ...}) = 0
7 readlink("/l", "x/y", 100) = 3
7 readlink("/d", 0x7ffd, 100) = -1 EINVAL (Invalid argument)
)");
  EXPECT_EQ(Mismatches(result), "8 readlink target x/y/d/f\n");
}

TEST(ReplayerTest, AResolvedPathIsEnoughForLinksThatNobodyRead) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD</>, "/lib/x86/libc.so.6", O_RDONLY) = 3</usr/lib/x86/libc.so.6>
7 read(3</usr/lib/x86/libc.so.6>, ""..., 832) = 832
7 openat(AT_FDCWD</>, "/usr/lib/x86/libc.so.6", O_RDONLY) = 4</usr/lib/x86/libc.so.6>
7 openat(AT_FDCWD</>, "/lib/x86/nothing", O_RDONLY) = -1 ENOENT (No such file or directory)
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, ListingsAreComparedAsSets) {
  const ReplayResult result = Replayed(R"(
7 mkdir("/d", 0755) = 0
7 mkdir("/d/b", 0755) = 0
7 symlink("x", "/d/a") = 0
7 openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 3
7 getdents64(3, [{d_ino=9, d_off=1, d_reclen=24, d_type=DT_DIR, d_name="b"}, {d_ino=2, d_off=2, d_reclen=24, d_type=DT_DIR, d_name=".."}, {d_ino=3, d_off=3, d_reclen=24, d_type=DT_LNK, d_name="a"}, {d_ino=4, d_off=4, d_reclen=24, d_type=DT_DIR, d_name="."}], 32768) = 96
7 getdents64(3, [], 32768) = 0
7 lseek(3, 0, SEEK_SET) = 0
7 getdents64(3, [{d_ino=9, d_off=1, d_reclen=24, d_type=DT_DIR, d_name="b"}, {d_ino=2, d_off=2, d_reclen=24, d_type=DT_DIR, d_name=".."}, {d_ino=3, d_off=3, d_reclen=24, d_type=DT_LNK, d_name="c"}, {d_ino=4, d_off=4, d_reclen=24, d_type=DT_DIR, d_name="."}], 32768) = 96
)");
  ASSERT_EQ(result.mismatches.size(), 1u) << Mismatches(result);
  EXPECT_EQ(result.mismatches[0].line, 8u);
  EXPECT_EQ(result.mismatches[0].what, "names");
  EXPECT_EQ(result.mismatches[0].why, "c is not in our kernel, a is only in our kernel");
}

TEST(ReplayerTest, ListingsOfWhichOnlyTheSizeIsShownAreComparedByIt) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 3
7 getdents64(3, 0x5560 /* 5 entries */, 32768) = 144
7 getdents64(3, 0x5560 /* 0 entries */, 32768) = 0
7 symlink("x", "/d/added") = 0
7 openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 4
7 getdents64(4, 0x5560 /* 6 entries */, 32768) = 168
7 getdents64(4, 0x5560 /* 0 entries */, 32768) = 0
)");
  EXPECT_EQ(Mismatches(result), "6 getdents64 bytes 168/176\n");
}

TEST(ReplayerTest, RecordLocksAreAskedForAsTheyWere) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/f", O_RDWR) = 3
7 fcntl(3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=10}) = 0
7 fork() = 8
8 fcntl(3, F_SETLK, {l_type=F_RDLCK, l_whence=SEEK_SET, l_start=5, l_len=1}) = -1 EAGAIN (Resource temporarily unavailable)
8 fcntl(3, F_GETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=10, l_pid=7}) = 0
8 fcntl(3, F_GETLK, {l_type=F_UNLCK, l_whence=SEEK_SET, l_start=20, l_len=10, l_pid=0}) = 0
8 fcntl(3, F_GETLK, {l_type=F_UNLCK, l_whence=SEEK_SET, l_start=0, l_len=10, l_pid=0}) = 0
)");
  EXPECT_EQ(Mismatches(result), "7 fcntl l_type 2/1\n");
}

TEST(ReplayerTest, AUserMeetsTheLimitsThatTheTraceShows) {
  const ReplayResult result = Replayed(R"(
7 geteuid() = 1000
7 openat(AT_FDCWD, "/etc/shadow", O_RDONLY) = -1 EACCES (Permission denied)
7 stat("/root/.profile", 0x7ffd) = -1 EACCES (Permission denied)
7 openat(AT_FDCWD, "/etc/new", O_WRONLY|O_CREAT, 0666) = -1 EACCES (Permission denied)
7 getuid() = 1000
7 getgid() = 1000
7 openat(AT_FDCWD, "/home/me/new", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3
7 fstat(3, {st_mode=S_IFREG|0644, st_nlink=1, st_uid=1000, st_gid=1000, st_size=0, ...}) = 0
7 chmod("/etc/passwd", 0777) = -1 EPERM (Operation not permitted)
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, WhatOurKernelCannotMakeHasAStandIn) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/tmp", O_RDWR|O_EXCL|O_TMPFILE, 0600) = 3
7 write(3, "x", 1) = 1
7 fstat(3, {st_mode=S_IFREG|0600, st_size=1, ...}) = 0
7 openat(AT_FDCWD, "/f", O_RDONLY) = 4
7 close(3) = 0
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.all.unsupported, 3u);
}

TEST(ReplayerTest, ModesThatCameThroughProcOrAnAccessControlListAreFollowed) {
  const ReplayResult result = Replayed(R"(
7 mkdir("/d", 0700) = 0
7 openat(AT_FDCWD, "/d", O_RDONLY|O_PATH) = 3
7 chmod("/proc/self/fd/3", 0755) = 0
7 stat("/d", {st_mode=S_IFDIR|0755, ...}) = 0
7 setxattr("/d", ""..., ""..., 28, 0) = 0
7 stat("/d", {st_mode=S_IFDIR|0711, ...}) = 0
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.by_call.at("chmod").given, 1u);
  EXPECT_EQ(result.by_call.at("setxattr").unsupported, 1u);
}

// ---- Pipes: order decides ----

TEST(ReplayerTest, AReadThatReturnsLaterSeesAWriteThatWasEnteredEarlier) {
  const ReplayResult result = Replayed(R"(
7 pipe([3, 4]) = 0
7 fork() = 8
7 read(3,  <unfinished ...>
8 write(4, "abc", 3 <unfinished ...>
7 <... read resumed>"abc", 10) = 3
8 <... write resumed>) = 3
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, AReadOfLessThanIsThereIsARaceOnlyIfAWriterMayHaveComeLater) {
  const ReplayResult racing = Replayed(R"(
7 pipe([3, 4]) = 0
7 fork() = 8
7 write(4, "abc", 3) = 3
8 write(4, "defg", 4 <unfinished ...>
7 read(3, "abc", 10) = 3
8 <... write resumed>) = 4
7 read(3, "defg", 10) = 4
)");
  EXPECT_EQ(Mismatches(racing), "");
  EXPECT_EQ(racing.all.race_ok, 1u);
  const ReplayResult wrong = Replayed(R"(
7 pipe([3, 4]) = 0
7 write(4, "abc", 3) = 3
7 write(4, "defg", 4) = 4
7 read(3, "abc", 10) = 3
7 read(3, "defg", 10) = 4
)");
  EXPECT_EQ(Mismatches(wrong), "4 read count 3/7\n");
}

TEST(ReplayerTest, EndOfFileComesWithTheLastWritersClose) {
  constexpr char kTrace[] = R"(
7 pipe([3, 4]) = 0
7 fork() = 8
7 close(4) = 0
7 read(3,  <unfinished ...>
8 exit_group(0) = ?
7 <... read resumed>"", 10) = 0
8 +++ exited with 0 +++
)";
  EXPECT_EQ(Mismatches(Replayed(kTrace)), "");
  const ReplayResult wrong = Replayed(R"(
7 pipe([3, 4]) = 0
7 read(3, "", 10) = 0
)");
  EXPECT_EQ(Mismatches(wrong), "2 read errno 0/ERESTART\n");
  EXPECT_EQ(wrong.mismatches.at(0).why, "our kernel would have to wait here");
}

TEST(ReplayerTest, AWriteThatFindsThePipeFullGoesOnAsItIsRead) {
  const ReplayResult result = Replayed(R"(
7 pipe([3, 4]) = 0
7 fork() = 8
8 write(4, ""..., 100000 <unfinished ...>
7 read(3, ""..., 60000) = 60000
7 read(3,  <unfinished ...>
8 <... write resumed>) = 100000
7 <... read resumed>""..., 60000) = 40000
8 write(4, ""..., 10) = 10
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, AWriteWhoseReaderLeavesReturnsWhatItHadWritten) {
  const ReplayResult result = Replayed(R"(
7 pipe([3, 4]) = 0
7 fork() = 8
8 close(3) = 0
8 write(4, ""..., 100000 <unfinished ...>
7 close(3) = 0
8 <... write resumed>) = 65536
8 --- SIGPIPE {si_signo=SIGPIPE, si_code=SI_USER, si_pid=8, si_uid=0} ---
8 +++ killed by SIGPIPE +++
7 wait4(-1, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGPIPE}], 0, NULL) = 8
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, AReadThatWillBeRestartedWaitsInOurKernelToo) {
  const ReplayResult result = Replayed(R"(
7 pipe([3, 4]) = 0
7 read(3, 0x7ffd, 4) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
7 fcntl(3, F_SETFL, O_RDONLY|O_NONBLOCK) = 0
7 read(3, 0x7ffd, 4) = -1 EAGAIN (Resource temporarily unavailable)
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.by_call.at("read").predicted, 2u);
  const ReplayResult closing = Replayed(R"(
7 pipe2([3, 4], O_CLOEXEC) = 0
7 fork() = 8
7 close(4) = 0
7 read(3,  <unfinished ...>
8 execve("/bin/x", ["x"], 0x1 /* 0 vars */ <unfinished ...>
7 <... read resumed>0x7ffd, 4) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
8 <... execve resumed>) = 0
7 read(3, "", 4) = 0
)");
  EXPECT_EQ(Mismatches(closing), "");
  EXPECT_EQ(closing.all.race_ok, 1u) << "the exec may not have got to the descriptors yet";
}

TEST(ReplayerTest, WhatComesThroughAnInheritedPipeIsGiven) {
  const ReplayResult result = Replayed(R"(
7 read(0<pipe:[5]>, ""..., 100) = 12
7 poll([{fd=0<pipe:[5]>, events=POLLIN}], 1, -1) = 1 ([{fd=0, revents=POLLHUP}])
7 write(1<pipe:[6]>, "hello", 5) = 5
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.by_call.at("read").given, 1u);
  EXPECT_EQ(result.by_call.at("poll").given, 1u);
  EXPECT_EQ(result.by_call.at("write").predicted, 1u);
}

TEST(ReplayerTest, TheEndsOfAFifoOpenTogether) {
  const ReplayResult result = Replayed(R"(
7 mknod("/f", S_IFIFO|0666) = 0
7 fork() = 8
7 openat(AT_FDCWD, "/f", O_RDONLY <unfinished ...>
8 openat(AT_FDCWD, "/f", O_WRONLY <unfinished ...>
7 <... openat resumed>) = 3
8 <... openat resumed>) = 3
8 write(3, "x", 1) = 1
7 read(3, "x", 10) = 1
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, VectorsAreReadAndWrittenPieceByPiece) {
  const ReplayResult result = Replayed(R"(
7 openat(AT_FDCWD, "/new", O_RDWR|O_CREAT|O_EXCL, 0600) = 3
7 writev(3, [{iov_base=""..., iov_len=10}, {iov_base="", iov_len=0}, {iov_base=""..., iov_len=20}], 3) = 30
7 lseek(3, 0, SEEK_SET) = 0
7 readv(3, [{iov_base=""..., iov_len=16}, {iov_base=""..., iov_len=100}], 2) = 30
7 pwritev(3, [{iov_base=""..., iov_len=4}], 1, 100) = 4
7 writev(3, [...], 2) = 7
7 lseek(3, 0, SEEK_END) = 104
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, PollIsComparedByWhatIsReady) {
  const ReplayResult result = Replayed(R"(
7 pipe([3, 4]) = 0
7 poll([{fd=3, events=POLLIN}, {fd=4, events=POLLOUT}], 2, -1) = 1 ([{fd=4, revents=POLLOUT}])
7 write(4, "x", 1) = 1
7 poll([{fd=3, events=POLLIN}], 1, 0) = 1 ([{fd=3, revents=POLLIN}])
7 select(5, [3], [4], NULL, NULL) = 2 (in [3], out [4])
7 read(3, "x", 1) = 1
7 poll([{fd=3, events=POLLIN}], 1, 100) = 0 (Timeout)
7 close(4) = 0
7 poll([{fd=3, events=POLLIN}], 1, -1) = 1 ([{fd=3, revents=POLLIN}])
)");
  ASSERT_EQ(result.mismatches.size(), 1u) << Mismatches(result);
  EXPECT_EQ(result.mismatches[0].line, 9u) << "it is POLLHUP";
}

// ---- Tasks ----

TEST(ReplayerTest, ChildrenAreFoundByTheirForksResultThoughTheyPrintFirst) {
  const ReplayResult result = Replayed(R"(
7 getpid() = 7
7 vfork( <unfinished ...>
8 getppid() = 7
8 openat(AT_FDCWD, "/f", O_RDONLY|O_CLOEXEC) = 3
8 execve("/bin/true", ["true"], 0x1 /* 0 vars */ <unfinished ...>
7 <... vfork resumed>) = 8
7 openat(AT_FDCWD, "/f", O_RDONLY) = 3
8 <... execve resumed>) = 0
8 openat(AT_FDCWD, "/f", O_RDONLY) = 3
8 exit_group(3) = ?
8 +++ exited with 3 +++
7 wait4(8, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 8
7 wait4(-1, NULL, WNOHANG, NULL) = -1 ECHILD (No child processes)
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, AVforkChildThatCannotExecuteLetsItsParentGoOnWhenItExits) {
  const ReplayResult result = Replayed(R"(
7 vfork( <unfinished ...>
8 execve("/none", ["none"], 0x1 /* 0 vars */) = -1 ENOENT (No such file or directory)
8 exit_group(127) = ?
7 <... vfork resumed>) = 8
7 openat(AT_FDCWD, "/f", O_RDONLY) = 3
8 +++ exited with 127 +++
7 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 127}], 0, NULL) = 8
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, WaitStatusAndChildAreCompared) {
  const ReplayResult result = Replayed(R"(
7 fork() = 8
8 exit_group(3) = ?
8 +++ exited with 3 +++
7 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 4}], 0, NULL) = 8
7 fork() = 9
7 wait4(-1, 0x7ffd, WNOHANG, NULL) = 0
7 waitid(P_PID, 9, {}, WNOHANG|WEXITED, NULL) = 0
9 exit_group(1) = ?
9 +++ exited with 1 +++
7 wait4(-1, 0x7ffd, WNOHANG, NULL) = 0
)");
  EXPECT_EQ(Mismatches(result), "4 wait4 status 0x400/0x300\n10 wait4 pid none yet/6\n");
}

TEST(ReplayerTest, AChildThatIsWaitedForTwiceIsNamed) {
  const ReplayResult result = Replayed(R"(
7 fork() = 8
8 exit_group(3) = ?
8 +++ exited with 3 +++
7 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 8
7 fork() = 9
7 wait4(-1, 0x7ffd, WNOHANG, NULL) = 0
)",
                                       {.mutation = kernel::Mutation::kWaitDoesNotReap});
  ASSERT_EQ(result.mismatches.size(), 1u) << Mismatches(result);
  EXPECT_NE(result.mismatches[0].why.find("again, which the trace has waited for at line 4"), std::string::npos);
}

TEST(ReplayerTest, ProcessNumbersMustStayTheSame) {
  const ReplayResult result = Replayed(R"(
7 getppid() = 6
7 getpid() = 7
7 getppid() = 5
7 getpid() = 6
)");
  EXPECT_EQ(Mismatches(result), "3 getppid pid 5/3\n4 getpid pid 6 = our 3/4\n");
}

TEST(ReplayerTest, ACaughtSignalArrivesWithItsMaskAndIsReturnedFrom) {
  constexpr char kTrace[] = R"(
7 rt_sigaction(SIGCHLD, {sa_handler=0x5500, sa_mask=[INT], sa_flags=SA_RESTORER, sa_restorer=0x7f}, NULL, 8) = 0
7 rt_sigaction(SIGCHLD, NULL, {sa_handler=0x5500, sa_mask=[INT], sa_flags=SA_RESTORER, sa_restorer=0x7f}, 8) = 0
7 rt_sigprocmask(SIG_BLOCK, [USR1], [], 8) = 0
7 fork() = 8
8 exit_group(0) = ?
8 +++ exited with 0 +++
7 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8, si_uid=0, si_status=0, si_utime=0, si_stime=0} ---
7 rt_sigprocmask(SIG_BLOCK, NULL, [INT USR1 CHLD], 8) = 0
7 rt_sigreturn({mask=[USR1]}) = 0
7 rt_sigprocmask(SIG_BLOCK, NULL, [USR1], 8) = 0
)";
  const ReplayResult result = Replayed(kTrace);
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.signals, 1u);
}

TEST(ReplayerTest, ASignalThatNobodySentInOurKernelIsReported) {
  const ReplayResult result = Replayed(R"(
7 rt_sigaction(SIGUSR1, {sa_handler=0x5500, sa_mask=[], sa_flags=SA_RESTORER, sa_restorer=0x7f}, NULL, 8) = 0
7 --- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0} ---
7 rt_sigreturn({mask=[]}) = 0
)");
  EXPECT_EQ(Mismatches(result), "2 SIGUSR1 signal SIGUSR1 from 7/none\n");
  EXPECT_EQ(result.all.mismatched, 0u) << "a signal is no call";
  EXPECT_EQ(result.mismatch_count, 1u);
}

TEST(ReplayerTest, SignalsFromOutsideAreTaken) {
  const ReplayResult result = Replayed(R"(
7 rt_sigaction(SIGALRM, {sa_handler=0x5500, sa_mask=[], sa_flags=SA_RESTORER, sa_restorer=0x7f}, NULL, 8) = 0
7 --- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---
7 rt_sigprocmask(SIG_BLOCK, NULL, [ALRM], 8) = 0
7 rt_sigreturn({mask=[]}) = 0
7 kill(7, SIGTERM) = 0
7 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=0} ---
7 +++ killed by SIGTERM +++
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, ASignalInsidePselectArrivesUnderItsMaskAndTheOldMaskComesBack) {
  const ReplayResult result = Replayed(R"(
7 rt_sigaction(SIGCHLD, {sa_handler=0x5500, sa_mask=[], sa_flags=SA_RESTORER, sa_restorer=0x7f}, NULL, 8) = 0
7 rt_sigprocmask(SIG_BLOCK, [CHLD], [], 8) = 0
7 pipe([3, 4]) = 0
7 fork() = 8
7 pselect6(4, [3], NULL, NULL, NULL, {sigmask=[], sigsetsize=8} <unfinished ...>
8 exit_group(0) = ?
8 +++ exited with 0 +++
7 <... pselect6 resumed>) = ? ERESTARTNOHAND (To be restarted if no handler)
7 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8, si_uid=0, si_status=0, si_utime=0, si_stime=0} ---
7 rt_sigreturn({mask=[CHLD]}) = -1 EINTR (Interrupted system call)
7 rt_sigprocmask(SIG_BLOCK, NULL, [CHLD], 8) = 0
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.by_call.at("rt_sigreturn").predicted, 1u);
}

TEST(ReplayerTest, LimitsIdentitiesAndMasksAreCompared) {
  const ReplayResult result = Replayed(R"(
7 umask(077) = 022
7 umask(022) = 070
7 prlimit64(0, RLIMIT_NOFILE, {rlim_cur=10, rlim_max=20}, NULL) = 0
7 prlimit64(0, RLIMIT_NOFILE, NULL, {rlim_cur=11, rlim_max=20}) = 0
7 setresuid(-1, 1000, -1) = 0
7 geteuid() = 1000
7 getuid() = 1000
)");
  EXPECT_EQ(Mismatches(result), "2 umask umask 56/63\n4 prlimit64 limit 11/20/10/20\n7 getuid id 1000/0\n");
}

TEST(ReplayerTest, ParentGroupAndSessionFromOutsideStayApartOrTogetherAsRecorded) {
  const ReplayResult apart = Replayed(R"(
7 getppid() = 6
7 getpgrp() = 5
7 getsid(0) = 4
7 getpgid(0) = 5
7 setpgid(0, 0) = 0
7 getpgrp() = 7
)");
  EXPECT_EQ(Mismatches(apart), "");
  const ReplayResult together = Replayed(R"(
7 getppid() = 6
7 getpgrp() = 6
7 getsid(0) = 6
7 setsid() = 7
)");
  EXPECT_EQ(Mismatches(together), "");
  const ReplayResult leader = Replayed(R"(
7 getpgrp() = 7
7 setsid() = -1 EPERM (Operation not permitted)
)");
  EXPECT_EQ(Mismatches(leader), "");
}

TEST(ReplayerTest, OfTwoChildrenThatEndDuringAWaitEitherMayComeFirst) {
  const ReplayResult result = Replayed(R"(
7 fork() = 8
7 fork() = 9
7 wait4(-1,  <unfinished ...>
9 exit_group(1) = ?
9 +++ exited with 1 +++
8 exit_group(2) = ?
8 +++ exited with 2 +++
7 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 1}], 0, NULL) = 9
7 wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 2}], 0, NULL) = 8
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.all.race_ok, 1u);
}

TEST(ReplayerTest, AParentLearnsOfAKilledChildWhenTheTraceReportsIt) {
  const ReplayResult result = Replayed(R"(
7 pipe([3, 4]) = 0
7 fork() = 8
7 close(4) = 0
7 kill(8, SIGTERM) = 0
8 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=0} ---
7 read(3, "", 10) = 0
7 wait4(-1, 0x7ffd, WNOHANG, NULL) = 0
8 +++ killed by SIGTERM +++
7 wait4(-1, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGTERM}], WNOHANG, NULL) = 8
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, ADumpedCoreIsInTheStatus) {
  const ReplayResult result = Replayed(R"(
7 fork() = 8
8 --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---
8 +++ killed by SIGSEGV (core dumped) +++
7 wait4(-1, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}], 0, NULL) = 8
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, AnIgnoredSignalThatOnlyStraceSawIsNotAwaited) {
  const ReplayResult result = Replayed(R"(
7 rt_sigaction(SIGTERM, {sa_handler=SIG_IGN, sa_mask=[], sa_flags=0}, NULL, 8) = 0
7 kill(0, SIGTERM) = 0
7 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=0} ---
7 getpid() = 7
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, AStoppedTaskThatWorksAgainWasContinuedFromOutside) {
  const ReplayResult result = Replayed(R"(
7 kill(7, SIGSTOP) = 0
7 --- SIGSTOP {si_signo=SIGSTOP, si_code=SI_USER, si_pid=7, si_uid=0} ---
7 --- stopped by SIGSTOP ---
7 getpid() = 7
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, SigsuspendIsEndedByTheSignalUnderItsMask) {
  const ReplayResult result = Replayed(R"(
7 rt_sigaction(SIGUSR1, {sa_handler=0x5500, sa_mask=[], sa_flags=SA_RESTORER, sa_restorer=0x7f}, NULL, 8) = 0
7 rt_sigprocmask(SIG_BLOCK, [USR1], [], 8) = 0
7 kill(7, SIGUSR1) = 0
7 rt_sigsuspend([], 8) = ? ERESTARTNOHAND (To be restarted if no handler)
7 --- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0} ---
7 rt_sigreturn({mask=[USR1]}) = -1 EINTR (Interrupted system call)
7 rt_sigprocmask(SIG_BLOCK, NULL, [USR1], 8) = 0
)");
  EXPECT_EQ(Mismatches(result), "");
}

TEST(ReplayerTest, PrioritiesAreThoseOfTheSystemCall) {
  const ReplayResult result = Replayed(R"(
7 getpriority(PRIO_PROCESS, 0) = 20
7 setpriority(PRIO_PROCESS, 0, 5) = 0
7 getpriority(PRIO_PROCESS, 0) = 15
7 getpriority(PRIO_PROCESS, 0) = 16
)");
  EXPECT_EQ(Mismatches(result), "4 getpriority priority 16/15\n");
}

// ---- Memory ----

TEST(ReplayerTest, MappingsKeepTheirRecordedAddresses) {
  const ReplayResult result = Replayed(R"(
7 execve("/bin/x", ["x"], 0x7ffd /* 0 vars */) = 0
7 brk(NULL) = 0x560000000000
7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1111110000
7 mprotect(0x7f1111110000, 4096, PROT_READ) = 0
7 mprotect(0x555555556000, 4096, PROT_READ) = 0
7 munmap(0x7f1111110000, 8192) = 0
7 mprotect(0x7f1111110000, 4096, PROT_READ) = -1 ENOMEM (Cannot allocate memory)
7 brk(0x560000021000) = 0x560000021000
7 mmap(NULL, 0, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = -1 EINVAL (Invalid argument)
7 munmap(0x7f1111110001, 4096) = 0
)");
  EXPECT_EQ(Mismatches(result), "10 munmap errno 0/EINVAL\n");
}

// ---- What is not predicted ----

TEST(ReplayerTest, EveryCallIsCountedUnderItsName) {
  const ReplayResult result = Replayed(R"(
7 futex(0x5500, FUTEX_WAKE_PRIVATE, 1) = 0
7 getrandom(""..., 8, GRND_NONBLOCK) = 8
7 epoll_create1(EPOLL_CLOEXEC) = 3
7 epoll_ctl(3, EPOLL_CTL_ADD, 0, {events=EPOLLIN, data={u32=0, u64=0}}) = 0
7 openat(AT_FDCWD, "/proc/self/stat", O_RDONLY) = 4
7 read(4, ""..., 1000) = 300
7 stat("/sys/devices", 0x7ffd) = -1 ENOENT (No such file or directory)
7 stat(0x1, 0x7ffd) = -1 EFAULT (Bad address)
7 sysinfo({uptime=1, loads=[1, 2, 3], totalram=1, freeram=1, sharedram=1, bufferram=1, totalswap=0, freeswap=0, procs=1, totalhigh=0, freehigh=0, mem_unit=1}) = 0
7 dup(3) = 5
7 read(0,  <unfinished ...>) = ?
7 +++ killed by SIGKILL +++
)");
  EXPECT_EQ(Mismatches(result), "");
  EXPECT_EQ(result.all.skipped, 3u) << "futex, getrandom, and a read without an answer";
  EXPECT_EQ(result.by_call.at("epoll_create1").unsupported, 1u);
  EXPECT_EQ(result.by_call.at("epoll_ctl").unsupported, 1u);
  EXPECT_EQ(result.by_call.at("sysinfo").unsupported, 1u);
  EXPECT_EQ(result.by_call.at("read").given, 1u);
  EXPECT_EQ(result.by_call.at("stat").given, 2u);
  EXPECT_EQ(result.all.given, 6u);
  EXPECT_EQ(result.all.predicted, 2u) << "the descriptor of /proc/self/stat, and dup";
}

// ---- Stopping and looking ----

TEST(ReplayerTest, StoppingLeavesTheRestUncounted) {
  constexpr char kTrace[] = R"(
7 openat(AT_FDCWD, "/a", O_RDONLY) = 3
7 openat(AT_FDCWD, "/b", O_RDONLY) = 3
7 openat(AT_FDCWD, "/c", O_RDONLY) = 4
)";
  const ReplayResult stopped = Replayed(kTrace, {.stop_on_mismatch = true});
  EXPECT_EQ(stopped.mismatch_count, 1u);
  EXPECT_EQ(stopped.not_reached, 1u);
  const ReplayResult until = Replayed(kTrace, {.until_line = 2, .dump_fds_pid = 7});
  EXPECT_EQ(until.mismatch_count, 0u);
  EXPECT_EQ(until.not_reached, 2u);
  EXPECT_NE(until.fds.find("3 /a"), std::string::npos) << until.fds;
  const ReplayResult few = Replayed(kTrace, {.kept_mismatches = 0});
  EXPECT_EQ(few.mismatch_count, 1u);
  EXPECT_TRUE(few.mismatches.empty());
}

TEST(ReplayerTest, TheDescriptorsOfAnUnknownTaskCannotBeShown) {
  const Trace trace = Parsed("7 getpid() = 7\n");
  const absl::StatusOr<ReplayResult> result = Replay(trace, {.dump_fds_pid = 8});
  EXPECT_EQ(result.status().message(), "test.strace: no task 8 at that point");
}

TEST(ReplayerTest, ProgressIsReportedToTheEnd) {
  size_t last = 0;
  ReplayOptions options;
  options.progress = [&](size_t done, size_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, 600u);
    last = done;
  };
  std::string text;
  for (int i = 0; i < 600; ++i) text += "7 getpid() = 7\n";
  Replayed(text, options);
  EXPECT_EQ(last, 600u);
}

TEST(ReplayerTest, TheSameTraceGivesTheSameResultTwice) {
  constexpr char kTrace[] = R"(
7 pipe([3, 4]) = 0
7 fork() = 8
8 write(4, "abc", 3) = 3
7 read(3, "abc", 10) = 3
7 openat(AT_FDCWD, "/f", O_RDONLY) = 9
)";
  const ReplayResult a = Replayed(kTrace), b = Replayed(kTrace);
  EXPECT_EQ(Mismatches(a), Mismatches(b));
  EXPECT_EQ(a.all.predicted, b.all.predicted);
  EXPECT_EQ(a.allocations, b.allocations);
}

}  // namespace
}  // namespace hotpath::replay
