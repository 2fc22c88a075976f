#include "tools/replay/initial_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tools/replay/test_trace.h"

namespace hotpath::replay {
namespace {

InitialState Infer(const Trace& trace) {
  absl::StatusOr<InitialState> state = InferInitialState(trace, Linearise(trace));
  if (!state.ok()) {
    ADD_FAILURE() << state.status();
    return {};
  }
  return *std::move(state);
}

const InitialState::File* FindFile(const InitialState& state, const std::string& path) {
  for (const InitialState::File& file : state.files) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

kernel::SeedNode Node(const InitialState& state, const std::string& path) {
  const InitialState::File* file = FindFile(state, path);
  if (file == nullptr) {
    ADD_FAILURE() << path << " is not in the inferred state";
    return {};
  }
  return file->node;
}

const InheritedDescriptor* FindFd(const InitialState& state, int fd) {
  for (const InheritedDescriptor& d : state.roots.at(0).descriptors) {
    if (d.fd == fd) return &d;
  }
  return nullptr;
}

// ---- Files ----

TEST(InitialStateTest, WhatIsOpenedExistsAndWhatIsMissingDoesNot) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3
7 openat(AT_FDCWD, "/etc/nothing/at/all", O_RDONLY) = -1 ENOENT (No such file or directory)
)"));
  EXPECT_TRUE(S_ISREG(Node(state, "/etc/passwd").mode));
  EXPECT_TRUE(S_ISDIR(Node(state, "/etc").mode));
  EXPECT_EQ(FindFile(state, "/etc/nothing"), nullptr);
  EXPECT_TRUE(state.notes[0].first_touch);
  EXPECT_TRUE(state.notes[1].first_touch);
}

TEST(InitialStateTest, ParentsComeBeforeChildren) {
  const InitialState state = Infer(Parsed(R"(
7 access("/z/y/x", F_OK) = 0
7 access("/a", F_OK) = 0
)"));
  std::set<std::string> seen;
  for (const InitialState::File& file : state.files) {
    if (file.path != "/") {
      const std::string parent = file.path.substr(0, file.path.rfind('/'));
      EXPECT_TRUE(seen.contains(parent.empty() ? "/" : parent)) << file.path;
    }
    seen.insert(file.path);
  }
}

TEST(InitialStateTest, AttributesAreThoseShownBeforeTheTraceChangedThem) {
  const InitialState state = Infer(Parsed(R"(
7 newfstatat(AT_FDCWD, "/f", {st_mode=S_IFREG|0640, st_nlink=3, st_uid=5, st_gid=6, st_size=77, ...}, 0) = 0
7 chmod("/f", 0600) = 0
7 truncate("/f", 1) = 0
7 newfstatat(AT_FDCWD, "/f", {st_mode=S_IFREG|0600, st_nlink=3, st_uid=5, st_gid=6, st_size=1, ...}, 0) = 0
7 chmod("/g", 0600) = 0
7 newfstatat(AT_FDCWD, "/g", {st_mode=S_IFREG|0600, st_nlink=1, st_uid=0, st_gid=0, st_size=0, ...}, 0) = 0
)"));
  const kernel::SeedNode f = Node(state, "/f");
  EXPECT_EQ(f.mode, S_IFREG | 0640u);
  EXPECT_EQ(f.uid, 5u);
  EXPECT_EQ(f.gid, 6u);
  EXPECT_EQ(f.size, 77);
  EXPECT_EQ(f.extra_links, 2u);
  EXPECT_EQ(Node(state, "/g").mode, S_IFREG | 0644u) << "what chmod set says nothing about before";
}

TEST(InitialStateTest, ADirectorysLinkCountBeyondItsSeededSubdirectoriesLiesOutside) {
  const InitialState state = Infer(Parsed(R"(
7 mkdir("/d/new", 0777) = 0
7 newfstatat(AT_FDCWD, "/d", {st_mode=S_IFDIR|0755, st_nlink=6, ...}, 0) = 0
7 access("/d/old/x", F_OK) = 0
)"));
  EXPECT_EQ(Node(state, "/d").extra_links, 2u) << "6 = 2 + new + old + 2 unseen";
  EXPECT_TRUE(state.counts_subdirectories);
}

TEST(InitialStateTest, AFileSystemThatDoesNotCountSubdirectoriesIsRecognised) {
  const InitialState state = Infer(Parsed(R"(
7 newfstatat(AT_FDCWD, "/d", {st_mode=S_IFDIR|0755, st_nlink=1, ...}, 0) = 0
)"));
  EXPECT_FALSE(state.counts_subdirectories);
}

TEST(InitialStateTest, TheOriginalSizeIsStatsBeforeAnythingElse) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/f", O_RDWR) = 3
7 read(3, ""..., 10) = 10
7 fstat(3, {st_mode=S_IFREG|0644, st_size=500, ...}) = 0
7 lseek(3, 0, SEEK_END) = 500
)"));
  EXPECT_EQ(Node(state, "/f").size, 500);
}

TEST(InitialStateTest, TheOriginalSizeIsWhereSeekEndLedOrAShortReadEnded) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/seek", O_RDONLY) = 3
7 lseek(3, -1, SEEK_END) = 41
7 openat(AT_FDCWD, "/short", O_RDONLY) = 4
7 read(4, ""..., 100) = 100
7 read(4, ""..., 100) = 23
7 openat(AT_FDCWD, "/pread", O_RDONLY) = 5
7 pread64(5, ""..., 64, 1000) = 7
7 openat(AT_FDCWD, "/end", O_RDONLY) = 6
7 read(6, ""..., 100) = 100
7 read(6, "", 100) = 0
)"));
  EXPECT_EQ(Node(state, "/seek").size, 42);
  EXPECT_EQ(Node(state, "/short").size, 123);
  EXPECT_EQ(Node(state, "/pread").size, 1007);
  EXPECT_EQ(Node(state, "/end").size, 100);
}

TEST(InitialStateTest, WithoutBetterEvidenceAFileIsAsLongAsTheFurthestRead) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/f", O_RDONLY) = 3
7 read(3, ""..., 832) = 832
7 pread64(3, ""..., 784, 4000) = 784
7 read(3, ""..., 10) = 10
)"));
  EXPECT_EQ(Node(state, "/f").size, 4784);
}

TEST(InitialStateTest, ASizeSeenAfterWritesIsTheOriginalOneOnlyIfTheyEndBeforeIt) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/long", O_RDWR) = 3
7 pwrite64(3, ""..., 100, 0) = 100
7 fstat(3, {st_mode=S_IFREG|0644, st_size=300, ...}) = 0
7 openat(AT_FDCWD, "/grown", O_RDWR) = 4
7 pwrite64(4, ""..., 100, 200) = 100
7 fstat(4, {st_mode=S_IFREG|0644, st_size=300, ...}) = 0
7 openat(AT_FDCWD, "/cut", O_RDWR|O_TRUNC) = 5
7 fstat(5, {st_mode=S_IFREG|0644, st_size=0, ...}) = 0
)"));
  EXPECT_EQ(Node(state, "/long").size, 300);
  EXPECT_EQ(Node(state, "/grown").size, 0);
  EXPECT_EQ(Node(state, "/cut").size, 0);
}

TEST(InitialStateTest, WhatTheTraceCreatesIsNotOriginal) {
  const InitialState state = Infer(Parsed(R"(
7 mkdir("/d", 0777) = 0
7 openat(AT_FDCWD, "/d/f", O_WRONLY|O_CREAT, 0666) = 3
7 symlink("f", "/d/l") = 0
7 rename("/d/f", "/d/g") = 0
7 unlink("/d/g") = 0
7 access("/d/x", F_OK) = -1 ENOENT (No such file or directory)
)"));
  EXPECT_EQ(FindFile(state, "/d"), nullptr);
  EXPECT_FALSE(state.notes[5].first_touch) << "a directory made by the trace is fully known";
}

TEST(InitialStateTest, AFileKeepsItsOriginalNameThoughItWasRenamedBeforeItsSizeWasShown) {
  const InitialState state = Infer(Parsed(R"(
7 rename("/a", "/b") = 0
7 newfstatat(AT_FDCWD, "/b", {st_mode=S_IFREG|0644, st_size=9, ...}, 0) = 0
)"));
  EXPECT_EQ(Node(state, "/a").size, 9);
  EXPECT_EQ(FindFile(state, "/b"), nullptr);
}

TEST(InitialStateTest, AnOpenWithCreateOfAFileThatProvesToHaveContentsFoundItThere) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/old", O_RDWR|O_CREAT, 0644) = 3
7 fstat(3, {st_mode=S_IFREG|0644, st_size=11, ...}) = 0
7 openat(AT_FDCWD, "/new", O_RDWR|O_CREAT, 0644) = 4
7 fstat(4, {st_mode=S_IFREG|0644, st_size=0, ...}) = 0
7 openat(AT_FDCWD, "/private", O_RDWR|O_CREAT, 0666) = 5
7 fstat(5, {st_mode=S_IFREG|0600, st_size=0, ...}) = 0
)"));
  EXPECT_EQ(Node(state, "/old").size, 11);
  EXPECT_EQ(FindFile(state, "/new"), nullptr);
  EXPECT_EQ(Node(state, "/private").mode, S_IFREG | 0600u) << "no umask makes 0600 of 0666 here";
}

TEST(InitialStateTest, ErrorsTellWhatStandsInTheWay) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/file/x", O_RDONLY) = -1 ENOTDIR (Not a directory)
7 openat(AT_FDCWD, "/link", O_RDONLY|O_NOFOLLOW) = -1 ELOOP (Too many levels of symbolic links)
7 openat(AT_FDCWD, "/dir", O_WRONLY) = -1 EISDIR (Is a directory)
7 mkdir("/there", 0777) = -1 EEXIST (File exists)
7 rmdir("/full") = -1 ENOTEMPTY (Directory not empty)
)"));
  EXPECT_TRUE(S_ISREG(Node(state, "/file").mode));
  EXPECT_TRUE(S_ISLNK(Node(state, "/link").mode));
  EXPECT_TRUE(S_ISDIR(Node(state, "/dir").mode));
  EXPECT_NE(FindFile(state, "/there"), nullptr);
  EXPECT_TRUE(S_ISDIR(Node(state, "/full").mode));
  EXPECT_NE(FindFile(state, "/full/~unseen"), nullptr);
}

TEST(InitialStateTest, HardLinksAreFoundByTheirInodeNumber) {
  const InitialState state = Infer(Parsed(R"(
7 newfstatat(AT_FDCWD, "/a", {st_dev=makedev(0xfe, 0), st_ino=5, st_mode=S_IFREG|0644, st_nlink=2, st_size=3}, 0) = 0
7 newfstatat(AT_FDCWD, "/b", {st_dev=makedev(0xfe, 0), st_ino=5, st_mode=S_IFREG|0644, st_nlink=2, st_size=3}, 0) = 0
)"));
  ASSERT_NE(FindFile(state, "/b"), nullptr);
  EXPECT_EQ(FindFile(state, "/b")->same_as, "/a");
  EXPECT_EQ(Node(state, "/a").extra_links, 0u);
}

TEST(InitialStateTest, AnInodeNumberThatComesBackAfterAnUnlinkIsAnotherFile) {
  const InitialState state = Infer(Parsed(R"(
7 newfstatat(AT_FDCWD, "/a", {st_dev=makedev(0xfe, 0), st_ino=5, st_mode=S_IFREG|0644, st_nlink=1, st_size=3}, 0) = 0
7 unlink("/a") = 0
7 newfstatat(AT_FDCWD, "/b", {st_dev=makedev(0xfe, 0), st_ino=5, st_mode=S_IFREG|0644, st_nlink=1, st_size=4}, 0) = 0
)"));
  EXPECT_EQ(Node(state, "/a").size, 3);
  EXPECT_EQ(Node(state, "/b").size, 4);
}

// ---- Symbolic links ----

TEST(InitialStateTest, AResolvedPathRevealsALinkAmongTheDirectories) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD</home>, "/lib/x86/libc.so.6", O_RDONLY) = 3</usr/lib/x86/libc.so.6>
)"));
  EXPECT_EQ(Node(state, "/lib").target, "usr/lib");
  EXPECT_TRUE(S_ISDIR(Node(state, "/usr/lib/x86").mode));
  EXPECT_TRUE(S_ISREG(Node(state, "/usr/lib/x86/libc.so.6").mode));
}

TEST(InitialStateTest, TwoLinksOnOnePathAreToldApart) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD</home>, "/lib/x86/libz.so.1", O_RDONLY) = 3</usr/lib/x86/libz.so.1.2.13>
)"));
  EXPECT_EQ(Node(state, "/lib").target, "usr/lib");
  EXPECT_EQ(Node(state, "/usr/lib/x86/libz.so.1").target, "libz.so.1.2.13");
}

TEST(InitialStateTest, ALinkIsNotSoughtInADirectoryThatAnotherAnnotationShows) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD</home>, "/usr/share/locale.alias", O_RDONLY) = 3</etc/share/locale.alias>
7 openat(AT_FDCWD</home>, "/x", O_RDONLY) = 4</usr/lib/x>
)"));
  EXPECT_TRUE(S_ISDIR(Node(state, "/usr").mode));
  EXPECT_EQ(Node(state, "/usr/share").target, "/etc/share");
  EXPECT_EQ(Node(state, "/x").target, "usr/lib/x");
}

TEST(InitialStateTest, ALinkTargetComesFromReadlinkAndALengthPicksTheSpelling) {
  const InitialState state = Infer(Parsed(R"(
7 readlink("/bin/sh", "dash", 100) = 4
7 readlink("/lib", ""..., 100) = 8
7 openat(AT_FDCWD</home>, "/lib/a", O_RDONLY) = 3</usr/lib/a>
7 readlink("/bin/cc", ""..., 100) = 19
7 readlink("/etc/alternative/cc", 0x7ffd00, 100) = -1 EINVAL (Invalid argument)
7 readlink("/dangling", ""..., 100) = 5
)"));
  EXPECT_EQ(Node(state, "/bin/sh").target, "dash");
  EXPECT_EQ(Node(state, "/lib").target, "/usr/lib") << "eight bytes";
  EXPECT_EQ(Node(state, "/bin/cc").target, "/etc/alternative/cc") << "the next path has the length";
  EXPECT_EQ(Node(state, "/dangling").target.size(), 5u);
}

// ---- Listings ----

TEST(InitialStateTest, AListingMakesADirectoryFullyKnown) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 3
7 getdents64(3, [{d_ino=1, d_off=1, d_reclen=24, d_type=DT_DIR, d_name="."}, {d_ino=2, d_off=2, d_reclen=24, d_type=DT_DIR, d_name=".."}, {d_ino=3, d_off=3, d_reclen=24, d_type=DT_LNK, d_name="l"}, {d_ino=4, d_off=4, d_reclen=24, d_type=DT_DIR, d_name="s"}], 32768) = 96
7 getdents64(3, [], 32768) = 0
7 access("/d/x", F_OK) = -1 ENOENT (No such file or directory)
)"));
  EXPECT_TRUE(S_ISLNK(Node(state, "/d/l").mode));
  EXPECT_TRUE(S_ISDIR(Node(state, "/d/s").mode));
  EXPECT_FALSE(state.notes[3].first_touch);
  EXPECT_FALSE(state.notes[1].unknown_listing);
}

TEST(InitialStateTest, EntriesThatWereOnlyCountedAreInventedToTheirSize) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 3
7 getdents64(3, 0x55d0 /* 5 entries */, 32768) = 144
7 getdents64(3, 0x55d0 /* 0 entries */, 32768) = 0
7 access("/d/known", F_OK) = 0
)"));
  std::vector<std::string> names;
  size_t bytes = 48;
  for (const InitialState::File& file : state.files) {
    if (file.path.rfind("/d/", 0) != 0) continue;
    names.push_back(file.path.substr(3));
    bytes += (19 + names.back().size() + 1 + 7) / 8 * 8;
  }
  EXPECT_EQ(names.size(), 3u);
  EXPECT_EQ(bytes, 144u);
  EXPECT_FALSE(state.notes[1].unknown_listing);
}

TEST(InitialStateTest, AListingThatNothingExplainsIsGiven) {
  const InitialState state = Infer(Parsed(R"(
7 access("/d/a", F_OK) = 0
7 access("/d/b", F_OK) = 0
7 openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 3
7 getdents64(3, 0x55d0 /* 3 entries */, 32768) = 72
7 getdents64(3, 0x55d0 /* 0 entries */, 32768) = 0
)"));
  EXPECT_TRUE(state.notes[3].unknown_listing);
}

// ---- Devices ----

TEST(InitialStateTest, TheMachinesFileSystemsAreMarkedAndNullIsADevice) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/proc/filesystems", O_RDONLY) = 3
7 read(3, ""..., 1024) = 364
7 newfstatat(AT_FDCWD, "/sys/fs/selinux", 0x7ffd0, 0) = -1 ENOENT (No such file or directory)
7 openat(AT_FDCWD, "/dev/null", O_RDWR) = 4
7 write(4, "x", 1) = 1
)"));
  EXPECT_TRUE(state.notes[1].synthetic);
  EXPECT_TRUE(state.notes[2].synthetic);
  EXPECT_FALSE(state.notes[4].synthetic);
  EXPECT_TRUE(S_ISCHR(Node(state, "/dev/null").mode));
  EXPECT_EQ(Node(state, "/dev/null").rdev, makedev(1, 3));
}

// ---- Tasks ----

TEST(InitialStateTest, TheFirstDirectoryComesFromAnAnnotationOrFromGetcwd) {
  EXPECT_EQ(Infer(Parsed("7 openat(AT_FDCWD</home/u>, \"x\", O_RDONLY) = 3</home/u/x>\n")).roots.at(0).cwd, "/home/u");
  EXPECT_EQ(Infer(Parsed("7 getcwd(\"/home/v\", 4096) = 8\n")).roots.at(0).cwd, "/home/v");
  const InitialState moved = Infer(Parsed(R"(
7 chdir("/tmp") = 0
7 getcwd("/tmp", 4096) = 5
)"));
  EXPECT_EQ(moved.roots.at(0).cwd, "/") << "where it went says nothing about where it was";
}

TEST(InitialStateTest, RelativePathsStartThere) {
  const InitialState state = Infer(Parsed(R"(
7 stat("Makefile", {st_mode=S_IFREG|0644, st_size=130, ...}) = 0
7 getcwd("/home/u", 4096) = 8
)"));
  EXPECT_EQ(Node(state, "/home/u/Makefile").size, 130);
}

TEST(InitialStateTest, ASkippedDescriptorNumberWasOpenAllAlong) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/f", O_RDONLY) = 3
7 fcntl(3, F_DUPFD, 10) = 11
7 openat(AT_FDCWD, "/g", O_RDONLY) = 4
)"));
  EXPECT_NE(FindFd(state, 10), nullptr);
  EXPECT_EQ(FindFd(state, 9), nullptr);
  EXPECT_EQ(FindFd(state, 4), nullptr);
  EXPECT_GE(state.passes, 2u);
}

TEST(InitialStateTest, ANumberThatABlockedAcceptHoldsIsNoGap) {
  const InitialState state = Infer(Parsed(R"(
7 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, exit_signal=0}, 88) = 8
7 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3
8 accept(3,  <unfinished ...>
7 openat(AT_FDCWD, "/f", O_RDONLY) = 5
8 <... accept resumed>NULL, NULL) = 4
)"));
  EXPECT_EQ(FindFd(state, 4), nullptr);
}

TEST(InitialStateTest, AUsedDescriptorThatNobodyOpenedWasInherited) {
  const InitialState state = Infer(Parsed(R"(
7 fcntl(6</var/log/x>, F_GETFL) = 0x8401 (flags O_WRONLY|O_APPEND|O_LARGEFILE)
7 read(7<pipe:[9]>, "x", 10) = 1
7 fcntl(8, F_GETFD) = -1 EBADF (Bad file descriptor)
7 lseek(5</data>, 0, SEEK_CUR) = 12
)"));
  ASSERT_NE(FindFd(state, 6), nullptr);
  EXPECT_EQ(FindFd(state, 6)->path, "/var/log/x");
  EXPECT_EQ(FindFd(state, 6)->flags, O_WRONLY | O_APPEND);
  ASSERT_NE(FindFd(state, 7), nullptr);
  EXPECT_EQ(FindFd(state, 7)->kind, InheritedDescriptor::Kind::kPipeRead);
  EXPECT_EQ(FindFd(state, 8), nullptr);
  ASSERT_NE(FindFd(state, 5), nullptr);
  EXPECT_EQ(FindFd(state, 5)->offset, 12);
}

TEST(InitialStateTest, AStandardDescriptorThatIsTakenFirstWasClosed) {
  const InitialState state = Infer(Parsed("7 openat(AT_FDCWD, \"/f\", O_RDONLY) = 0\n"));
  EXPECT_EQ(FindFd(state, 0), nullptr);
  EXPECT_NE(FindFd(state, 1), nullptr);
}

TEST(InitialStateTest, PollShowsWhichDescriptorsAreOpen) {
  const InitialState state = Infer(Parsed(R"(
7 poll([{fd=8, events=POLLIN}, {fd=9, events=POLLIN}], 2, 0) = 1 ([{fd=8, revents=POLLNVAL}])
)"));
  EXPECT_EQ(FindFd(state, 8), nullptr);
  EXPECT_NE(FindFd(state, 9), nullptr);
}

TEST(InitialStateTest, SettingsShownBeforeTheyAreChangedAreOriginal) {
  const InitialState state = Infer(Parsed(R"(
7 umask(000) = 027
7 rt_sigaction(SIGINT, {sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}, {sa_handler=SIG_IGN, sa_mask=[], sa_flags=0}, 8) = 0
7 rt_sigaction(SIGINT, NULL, {sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}, 8) = 0
7 rt_sigprocmask(SIG_SETMASK, [], [USR1], 8) = 0
7 prlimit64(0, RLIMIT_NOFILE, {rlim_cur=10, rlim_max=20}, {rlim_cur=30, rlim_max=40}) = 0
7 prlimit64(0, RLIMIT_NOFILE, NULL, {rlim_cur=10, rlim_max=20}) = 0
7 geteuid() = 1000
)"));
  const RootTask& root = state.roots.at(0);
  EXPECT_EQ(root.umask, 027u);
  EXPECT_EQ(root.actions.at(2).handler, 1u);
  EXPECT_EQ(root.signal_mask, uint64_t{1} << 9);
  EXPECT_EQ(root.limits.at(7).soft, 30u);
  EXPECT_EQ(root.limits.at(7).hard, 40u);
  EXPECT_EQ(root.credentials.euid, 1000u);
}

TEST(InitialStateTest, AnImageBringsItsBreakAndTheMappingsThatWereOnlyProtected) {
  const InitialState state = Infer(Parsed(R"(
7 execve("/bin/true", ["true"], 0x7ffd /* 0 vars */) = 0
7 brk(NULL) = 0x55000000
7 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000
7 mprotect(0x7f0000000000, 4096, PROT_READ) = 0
7 mprotect(0x54000000, 4096, PROT_READ) = 0
)"));
  const ImageState& image = state.images.at(0);
  EXPECT_EQ(image.brk_base, 0x55000000u);
  ASSERT_EQ(image.mappings.size(), 1u);
  EXPECT_EQ(image.mappings[0], (std::pair<uint64_t, uint64_t>{0x54000000, 0x54001000}));
}

TEST(InitialStateTest, AChildWhoseCallsComeBeforeItsForkReturnsIsNoRoot) {
  const InitialState state = Infer(Parsed(R"(
7 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>
8 close(0) = 0
7 <... clone resumed>) = 8
)"));
  ASSERT_EQ(state.roots.size(), 1u);
  EXPECT_EQ(state.roots[0].pid, 7);
}

TEST(InitialStateTest, AnArgumentThatCannotBeUnderstoodIsNamedWithItsLine) {
  const Trace trace = Parsed(R"(
7 getpid() = 7
7 dup2("x", 3) = 3
7 lseek("x", 0, SEEK_SET) = 0
)");
  const absl::StatusOr<InitialState> state = InferInitialState(trace, Linearise(trace));
  ASSERT_FALSE(state.ok());
  EXPECT_EQ(state.status().message(), "test.strace:2: dup2: argument 1 is not an integer");
}

TEST(InitialStateTest, ParentGroupAndSessionAreThoseOfTheRootUntilATaskLeavesThem) {
  const InitialState state = Infer(Parsed(R"(
7 fork() = 8
8 getppid() = 7
8 getpgrp() = 5
8 setsid() = 8
8 getpgrp() = 8
8 getsid(0) = 8
7 getsid(0) = 4
7 getppid() = 6
)"));
  const RootTask& root = state.roots.at(0);
  EXPECT_EQ(root.parent, 6);
  EXPECT_EQ(root.group, 5);
  EXPECT_EQ(root.session, 4);
}

TEST(InitialStateTest, TheTwoEndsOfAPipeInReverseAreNoGap) {
  const InitialState state = Infer(Parsed("7 pipe([4, 3]) = 0\n"));
  EXPECT_EQ(FindFd(state, 3), nullptr);
}

TEST(InitialStateTest, ADescriptorThatAnUnknownCallMadeWasNotInherited) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/a", O_RDONLY) = 3
7 close(3) = 0
7 perf_event_open({type=PERF_TYPE_HARDWARE}, 0, -1, -1, 0) = 3
7 read(3, ""..., 8) = 8
)"));
  EXPECT_EQ(FindFd(state, 3), nullptr);
  EXPECT_TRUE(state.notes[3].opaque);
}

// ---- Permissions of a user who is not root ----

TEST(InitialStateTest, AUserOwnsWhatOnlyAnOwnerCouldHaveUsed) {
  const InitialState state = Infer(Parsed(R"(
7 geteuid() = 1000
7 openat(AT_FDCWD, "/home/me/read", O_RDONLY) = 3
7 openat(AT_FDCWD, "/home/me/written", O_WRONLY) = 4
7 mkdir("/home/me/new", 0777) = 0
7 stat("/home/me/private", {st_mode=S_IFREG|0600, st_size=1, ...}) = 0
7 openat(AT_FDCWD, "/home/me/private", O_RDONLY) = 5
7 chmod("/srv/mine", 0644) = 0
)"));
  EXPECT_EQ(Node(state, "/home/me/read").uid, 0u);
  EXPECT_EQ(Node(state, "/home/me/written").uid, 1000u);
  EXPECT_EQ(Node(state, "/home/me").uid, 1000u) << "something was made in it";
  EXPECT_EQ(Node(state, "/home").uid, 0u);
  EXPECT_EQ(Node(state, "/home/me/private").uid, 1000u);
  EXPECT_EQ(Node(state, "/srv/mine").uid, 1000u);
}

TEST(InitialStateTest, ARefusalClosesTheFirstDirectoryThatNobodyHasPassed) {
  const InitialState state = Infer(Parsed(R"(
7 geteuid() = 1000
7 stat("/root/.cargo/bin/cat", 0x7ffd) = -1 EACCES (Permission denied)
7 openat(AT_FDCWD, "/etc/shadow", O_RDONLY) = -1 EACCES (Permission denied)
7 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3
7 access("/etc/passwd", W_OK) = -1 EACCES (Permission denied)
)"));
  EXPECT_EQ(Node(state, "/root").mode, S_IFDIR | 0700u);
  EXPECT_EQ(Node(state, "/etc").mode, S_IFDIR | 0755u);
  EXPECT_EQ(Node(state, "/etc/shadow").mode & 4, 0u);
  EXPECT_EQ(Node(state, "/etc/passwd").mode & 6, 4u);
}

// ---- What a call stands for ----

TEST(InitialStateTest, ThePathBehindADescriptorInProcIsKnown) {
  const InitialState state = Infer(Parsed(R"(
7 openat(AT_FDCWD, "/d", O_RDONLY|O_PATH) = 5
7 chmod("/proc/self/fd/5", 0755) = 0
)"));
  EXPECT_EQ(state.notes[1].stands_for, "/d");
  EXPECT_TRUE(state.notes[1].synthetic);
}

TEST(InitialStateTest, ThePermissionsAfterAnAccessControlListAreThoseOfTheNextStat) {
  const InitialState state = Infer(Parsed(R"(
7 mkdir("/d", 0700) = 0
7 setxattr("/d", ""..., ""..., 28, 0) = 0
7 stat("/d", {st_mode=S_IFDIR|0755, ...}) = 0
7 setxattr("/d", ""..., ""..., 28, 0) = 0
7 chmod("/d", 0711) = 0
7 stat("/d", {st_mode=S_IFDIR|0711, ...}) = 0
)"));
  EXPECT_EQ(state.notes[1].mode_after, 0755);
  EXPECT_EQ(state.notes[3].mode_after, -1);
}

// ---- Explaining ----

TEST(InitialStateTest, TheRecordedHistoryOfADescriptorCanBeTold) {
  const Trace trace = Parsed(R"(
7 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3
7 openat(AT_FDCWD, "/etc/group", O_RDONLY) = 4
7 close(3) = 0
7 getpid() = 7
)");
  const std::vector<Step> steps = Linearise(trace);
  EXPECT_EQ(DescribeRecordedFd(trace, steps, 2, 7, 3), "open since line 1 (/etc/passwd)");
  EXPECT_EQ(DescribeRecordedFd(trace, steps, 3, 7, 3), "closed at line 3 (/etc/passwd)");
  EXPECT_EQ(DescribeRecordedFd(trace, steps, 3, 7, 4), "open since line 2 (/etc/group)");
  EXPECT_EQ(DescribeRecordedFd(trace, steps, 3, 7, 9), "never open");
}

}  // namespace
}  // namespace hotpath::replay
