// Paths, files and mounts, through the facade. The errno of every case is what Linux 6.18 answers.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

class PathTest : public DrivenKernelTest {
 protected:
  PathTest() {
    EXPECT_TRUE(Ok(Mkdir("/d")));
    WriteFile(k, init, "/f", "0123456789");
    EXPECT_TRUE(Ok(Symlink("/f", "/link")));
    EXPECT_TRUE(Ok(Symlink("/missing", "/dangling")));
    EXPECT_TRUE(Ok(Symlink("loop", "/loop")));
  }

  Result<Fd> Open(std::string_view path, int flags, uint32_t mode = 0644) { return k.Open(init, path, flags, mode); }
  Result<void> Mkdir(std::string_view path, uint32_t mode = 0755) { return k.MkdirAt(init, kAtFdCwd, path, mode); }
  Result<void> Unlink(std::string_view path) { return k.UnlinkAt(init, kAtFdCwd, path, 0); }
  Result<void> Rmdir(std::string_view path) { return k.UnlinkAt(init, kAtFdCwd, path, abi::kAtRemoveDir); }
  Result<void> Symlink(std::string_view target, std::string_view path) {
    return k.SymlinkAt(init, target, kAtFdCwd, path);
  }
  Result<void> Link(std::string_view from, std::string_view to) {
    return k.LinkAt(init, kAtFdCwd, from, kAtFdCwd, to, 0);
  }
  Result<void> Rename(std::string_view from, std::string_view to, uint32_t flags = 0) {
    return k.RenameAt(init, kAtFdCwd, from, kAtFdCwd, to, flags);
  }
  Stat Of(std::string_view path, int flags = 0) { return StatOf(k, init, path, flags); }
  // A process of user and group 1000.
  Pid User() { return Value(k.Spawn({.name = "user", .parent = init, .uid = 1000, .gid = 1000})); }
};

TEST_F(PathTest, ExclusiveCreationRefusesAnythingThatExists) {  // 25
  EXPECT_TRUE(Fails(Open("/f", O_CREAT | O_EXCL | O_RDWR), Code::kEEXIST));
  EXPECT_TRUE(Fails(Open("/dangling", O_CREAT | O_EXCL | O_RDWR), Code::kEEXIST));
  EXPECT_TRUE(Fails(Open("/d", O_CREAT | O_EXCL | O_RDWR), Code::kEEXIST));
  EXPECT_FALSE(Exists(k, init, "/missing"));
}

TEST_F(PathTest, ADirectoryCannotBeOpenedForWriting) {  // 26
  EXPECT_TRUE(Fails(Open("/d", O_WRONLY), Code::kEISDIR));
  EXPECT_TRUE(Fails(Open("/d", O_RDWR), Code::kEISDIR));
  EXPECT_TRUE(Fails(Open("/d", O_RDONLY | O_CREAT), Code::kEISDIR));
  EXPECT_TRUE(Fails(Open("/d", O_RDONLY | O_TRUNC), Code::kEISDIR));
  EXPECT_TRUE(Fails(Open("/", O_RDONLY | O_CREAT), Code::kEISDIR));
  EXPECT_TRUE(Fails(Open("/d", O_RDONLY | O_CREAT | O_DIRECTORY), Code::kEINVAL));
}

TEST_F(PathTest, ODirectoryOnAFileIsNotADirectory) {  // 27
  EXPECT_TRUE(Fails(Open("/f", O_RDONLY | O_DIRECTORY), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Open("/link", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), Code::kENOTDIR));
  EXPECT_TRUE(Ok(Open("/d", O_RDONLY | O_DIRECTORY)));
}

TEST_F(PathTest, ATrailingSlashAsksForADirectory) {  // 28
  EXPECT_TRUE(Fails(Open("/f/", O_RDONLY), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Open("/link/", O_RDONLY), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Open("/new/", O_RDONLY | O_CREAT), Code::kEISDIR));
  EXPECT_TRUE(Fails(k.StatAt(init, kAtFdCwd, "/f/", 0), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Unlink("/f/"), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Unlink("/none/"), Code::kENOENT));
  EXPECT_TRUE(Fails(Symlink("x", "/s/"), Code::kENOENT));
  EXPECT_TRUE(Fails(Rename("/f", "/g/"), Code::kENOTDIR));
  EXPECT_TRUE(Ok(Rename("/d", "/e/")));
  EXPECT_TRUE(Ok(Symlink("e", "/to-e")));
  EXPECT_EQ(Of("/to-e/", abi::kAtSymlinkNoFollow).mode & S_IFMT, static_cast<uint32_t>(S_IFDIR));
}

TEST_F(PathTest, EveryComponentOnTheWayIsADirectory) {  // 29
  EXPECT_TRUE(Fails(Open("/f/x", O_RDONLY), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Open("/f/../f", O_RDONLY), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Open("/none/x", O_RDONLY | O_CREAT), Code::kENOENT));
  EXPECT_TRUE(Fails(Open("/none/../f", O_RDONLY), Code::kENOENT));
  EXPECT_TRUE(Ok(Open("/d/../f", O_RDONLY)));
  EXPECT_TRUE(Ok(Open("/../../f", O_RDONLY))) << "nothing is above the root";
}

TEST_F(PathTest, NoFollowAndLoopsAreTooManyLinks) {  // 30
  EXPECT_TRUE(Fails(Open("/link", O_RDONLY | O_NOFOLLOW), Code::kELOOP));
  EXPECT_TRUE(Fails(Open("/loop", O_RDONLY), Code::kELOOP));
  EXPECT_TRUE(Fails(k.StatAt(init, kAtFdCwd, "/loop", 0), Code::kELOOP));
  EXPECT_EQ(Of("/loop", abi::kAtSymlinkNoFollow).mode, S_IFLNK | 0777u);
  EXPECT_TRUE(Ok(Open("/link", abi::kOPath | O_NOFOLLOW)));
}

TEST_F(PathTest, FortyLinksAreFollowedAndFortyOneAreNot) {  // 30
  EXPECT_TRUE(Ok(Symlink("/f", "/l1")));
  for (int i = 2; i <= 41; ++i) EXPECT_TRUE(Ok(Symlink("l" + std::to_string(i - 1), "/l" + std::to_string(i))));
  EXPECT_TRUE(Ok(Open("/l40", O_RDONLY)));
  EXPECT_TRUE(Fails(Open("/l41", O_RDONLY), Code::kELOOP));
}

TEST_F(PathTest, CreationThroughADanglingLinkMakesItsTarget) {  // 31
  EXPECT_TRUE(Ok(Open("/dangling", O_CREAT | O_WRONLY)));
  EXPECT_EQ(Of("/missing").mode, S_IFREG | 0644u);
  EXPECT_EQ(Of("/dangling", abi::kAtSymlinkNoFollow).mode, S_IFLNK | 0777u);
}

TEST_F(PathTest, NamesAndPathsHaveALongestLength) {  // 32
  const std::string name(255, 'n');
  EXPECT_TRUE(Ok(Open("/" + name, O_CREAT | O_RDONLY)));
  EXPECT_TRUE(Fails(Open("/" + name + "n", O_CREAT | O_RDONLY), Code::kENAMETOOLONG));
  EXPECT_TRUE(Fails(Unlink("/" + name + "n"), Code::kENAMETOOLONG));
  std::string path;
  while (path.size() < 4094) path += "/.";
  EXPECT_TRUE(Ok(Open(path + "/", O_RDONLY))) << "4095 bytes and the NUL";
  EXPECT_TRUE(Fails(Open(path + "//", O_RDONLY), Code::kENAMETOOLONG));
}

TEST_F(PathTest, TheUmaskAppliesToWhatIsMade) {  // 33
  EXPECT_TRUE(Gives(k.Umask(init, 027), 022u));
  EXPECT_TRUE(Ok(Open("/a", O_CREAT | O_RDONLY, 0666)));
  EXPECT_TRUE(Ok(Mkdir("/b", 0777)));
  EXPECT_TRUE(Ok(k.MknodAt(init, kAtFdCwd, "/c", S_IFIFO | 0666, 0)));
  EXPECT_EQ(Of("/a").mode, S_IFREG | 0640u);
  EXPECT_EQ(Of("/b").mode, S_IFDIR | 0750u);
  EXPECT_EQ(Of("/c").mode, S_IFIFO | 0640u);
  const Pid child = Value(k.Fork(init));
  EXPECT_TRUE(Gives(k.Umask(child, 01777), 027u)) << "inherited";
  EXPECT_TRUE(Gives(k.Umask(child, 0), 0777u)) << "permission bits only";
  EXPECT_TRUE(Gives(k.Umask(init, 0), 027u)) << "and private";
}

TEST_F(PathTest, AnEmptyPathNamesNothing) {  // 34
  EXPECT_TRUE(Fails(Open("", O_RDONLY), Code::kENOENT));
  EXPECT_TRUE(Fails(k.StatAt(init, kAtFdCwd, "", 0), Code::kENOENT));
  EXPECT_TRUE(Fails(Symlink("", "/s"), Code::kENOENT));
  EXPECT_TRUE(Fails(Unlink(""), Code::kENOENT));
  EXPECT_EQ(Value(k.StatAt(init, kAtFdCwd, "", abi::kAtEmptyPath)).mode & S_IFMT, static_cast<uint32_t>(S_IFDIR));
}

TEST_F(PathTest, TruncationAtOpenEmptiesTheFileForEveryone) {  // 35
  const Fd early = Value(Open("/f", O_RDONLY));
  EXPECT_TRUE(Ok(Open("/f", O_WRONLY | O_TRUNC)));
  EXPECT_EQ(ReadText(k, init, early), "");
  EXPECT_EQ(Of("/f").size, 0);
}

TEST_F(PathTest, AppendWritesAtTheEndWhateverTheOffset) {  // 36
  const Fd fd = Value(Open("/f", O_RDWR | O_APPEND));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 2, SEEK_SET), 2));
  EXPECT_TRUE(Gives(k.Write(init, fd, Bytes("ab")), 2u));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 0, SEEK_CUR), 12));
  EXPECT_EQ(FileText(k, init, "/f"), "0123456789ab");
}

TEST_F(PathTest, PwriteAppendsTooAndLeavesTheOffset) {  // 37
  const Fd fd = Value(Open("/f", O_RDWR | O_APPEND));
  EXPECT_TRUE(Gives(k.PWrite(init, fd, Bytes("ab"), 0), 2u));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 0, SEEK_CUR), 0));
  EXPECT_EQ(FileText(k, init, "/f"), "0123456789ab");
}

TEST_F(PathTest, PreadAndPwriteKeepTheOffset) {  // 38
  const Fd fd = Value(Open("/f", O_RDWR));
  std::array<std::byte, 4> bytes;
  EXPECT_TRUE(Gives(k.PRead(init, fd, bytes, 8), 2u));
  EXPECT_TRUE(Gives(k.PWrite(init, fd, Bytes("XY"), 1), 2u));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 0, SEEK_CUR), 0));
  EXPECT_EQ(FileText(k, init, "/f"), "0XY3456789");
  EXPECT_TRUE(Fails(k.PRead(init, fd, bytes, -1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.PWrite(init, fd, Bytes("x"), -1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.PRead(init, 30, bytes, -1), Code::kEINVAL)) << "before the descriptor is looked at";
}

TEST_F(PathTest, AWritePastTheEndLeavesAHoleOfZeros) {  // 39
  const Fd fd = Value(Open("/f", O_RDWR));
  for (const int64_t at : {20, 4095, 12345, 1 << 20}) EXPECT_TRUE(Gives(k.PWrite(init, fd, Bytes("x"), at), 1u));
  const Stat stat = Of("/f");
  EXPECT_EQ(stat.size, (1 << 20) + 1);
  EXPECT_EQ(stat.blocks, 3u * 8) << "three pages hold data";
  const std::string text = FileText(k, init, "/f");
  EXPECT_EQ(text.substr(0, 21), std::string("0123456789\0\0\0\0\0\0\0\0\0\0x", 21));
  EXPECT_EQ(text.find_first_not_of('\0', 4096), 12345u);
  EXPECT_TRUE(Gives(k.Seek(init, fd, 0, abi::kSeekHole), 4096));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 4096, abi::kSeekData), 12288));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 20000, abi::kSeekData), 1 << 20));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 1 << 20, abi::kSeekHole), (1 << 20) + 1));
  EXPECT_TRUE(Fails(k.Seek(init, fd, (1 << 20) + 1, abi::kSeekData), Code::kENXIO));
}

TEST_F(PathTest, SeeksThatLeadNowhereFail) {  // 40
  const Fd fd = Value(Open("/f", O_RDONLY));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 4, SEEK_SET), 4));
  EXPECT_TRUE(Fails(k.Seek(init, fd, -5, SEEK_CUR), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Seek(init, fd, -11, SEEK_END), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Seek(init, fd, 0, 5), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Seek(init, fd, INT64_MAX, SEEK_CUR), Code::kEINVAL));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 0, SEEK_CUR), 4));
  EXPECT_TRUE(Gives(k.Seek(init, fd, INT64_MAX, SEEK_SET), INT64_MAX));
  EXPECT_EQ(ReadText(k, init, fd, 0), "");
  EXPECT_EQ(ReadText(k, init, fd, 1), "<EINVAL>") << "the end would overflow";
}

TEST_F(PathTest, FilesMayBeAsLargeAsAnOffset) {
  const Fd fd = Value(Open("/f", O_RDWR));
  EXPECT_TRUE(Ok(k.FTruncate(init, fd, INT64_MAX)));
  EXPECT_EQ(Of("/f").size, INT64_MAX);
  EXPECT_TRUE(Gives(k.PWrite(init, fd, Bytes("x"), INT64_MAX - 1), 1u));
  EXPECT_TRUE(Fails(k.PWrite(init, fd, Bytes("x"), INT64_MAX), Code::kEINVAL));
  EXPECT_EQ(Of("/f").blocks, 16u);
  const Fd appender = Value(Open("/f", O_WRONLY | O_APPEND));
  EXPECT_TRUE(Fails(k.Write(init, appender, Bytes("x")), Code::kEFBIG));
  std::array<std::byte, 1> byte;
  EXPECT_TRUE(Gives(k.PRead(init, fd, byte, INT64_MAX - 1), 1u));
  EXPECT_EQ(byte[0], std::byte{'x'});
}

TEST_F(PathTest, TheFileSizeLimitCutsWritesAndRaisesSigxfsz) {
  const Fd fd = Value(Open("/f", O_RDWR));
  const Rlimit limit{100, abi::kInfinity};
  EXPECT_TRUE(Ok(k.Prlimit(init, 0, abi::kRlimitFsize, &limit)));
  const SignalAction caught{.handler = 0x1000};
  EXPECT_TRUE(Ok(k.Sigaction(init, 25, &caught)));
  EXPECT_TRUE(Gives(k.PWrite(init, fd, Bytes("0123456789"), 95), 5u));
  EXPECT_TRUE(Fails(k.DeliverSignal(init), Code::kEAGAIN));
  EXPECT_TRUE(Fails(k.PWrite(init, fd, Bytes("x"), 100), Code::kEFBIG));
  EXPECT_EQ(Value(k.DeliverSignal(init)).signal, 25);
  EXPECT_TRUE(Ok(k.SigReturn(init)));
  EXPECT_TRUE(Fails(k.FTruncate(init, fd, 101), Code::kEFBIG));
  EXPECT_EQ(Value(k.DeliverSignal(init)).signal, 25);
  EXPECT_TRUE(Ok(k.FTruncate(init, fd, 100)));
}

TEST_F(PathTest, TheAccessModeDecidesWhatADescriptorCan) {  // 41
  EXPECT_EQ(ReadText(k, init, Value(Open("/f", O_WRONLY))), "<EBADF>");
  EXPECT_TRUE(Fails(k.Write(init, Value(Open("/f", O_RDONLY)), Bytes("x")), Code::kEBADF));
  const Fd neither = Value(Open("/f", O_ACCMODE));
  EXPECT_EQ(ReadText(k, init, neither), "<EBADF>");
  EXPECT_TRUE(Fails(k.Write(init, neither, Bytes("x")), Code::kEBADF));
}

TEST_F(PathTest, ADirectoryIsNotRead) {  // 42
  const Fd fd = Value(Open("/d", O_RDONLY));
  EXPECT_EQ(ReadText(k, init, fd), "<EISDIR>");
  std::array<std::byte, 1> byte;
  EXPECT_TRUE(Fails(k.PRead(init, fd, byte, 0), Code::kEISDIR));
  EXPECT_TRUE(Fails(k.Write(init, fd, Bytes("x")), Code::kEBADF));
}

TEST_F(PathTest, TruncateGrowsShrinksAndForgetsWhatItCutOff) {  // 43
  const Fd fd = Value(Open("/f", O_RDWR));
  EXPECT_TRUE(Ok(k.FTruncate(init, fd, 4)));
  EXPECT_TRUE(Ok(k.FTruncate(init, fd, 8)));
  EXPECT_EQ(FileText(k, init, "/f"), std::string("0123\0\0\0\0", 8));
  EXPECT_TRUE(Fails(k.FTruncate(init, fd, -1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FTruncate(init, Value(Open("/f", O_RDONLY)), 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Truncate(init, "/d", 0), Code::kEISDIR));
  EXPECT_TRUE(Fails(k.Truncate(init, "/f", -1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Truncate(init, "/none", 0), Code::kENOENT));
  EXPECT_TRUE(Ok(k.Truncate(init, "/link", 1)));
  EXPECT_EQ(FileText(k, init, "/f"), "0");
}

TEST_F(PathTest, AnUnlinkedFileLivesWhileItIsOpen) {  // 44
  const uint64_t inodes = k.Stats().inodes;
  const Fd fd = Value(Open("/f", O_RDWR));
  EXPECT_TRUE(Ok(Unlink("/f")));
  EXPECT_FALSE(Exists(k, init, "/f"));
  EXPECT_EQ(Value(k.StatAt(init, fd, "", abi::kAtEmptyPath)).nlink, 0u);
  EXPECT_TRUE(Gives(k.Write(init, fd, Bytes("ab")), 2u));
  EXPECT_EQ(ReadText(k, init, fd, 3), "234");
  EXPECT_TRUE(Fails(k.LinkAt(init, fd, "", kAtFdCwd, "/again", abi::kAtEmptyPath), Code::kENOENT));
  EXPECT_TRUE(Ok(k.Close(init, fd)));
  EXPECT_EQ(k.Stats().inodes, inodes - 1);
}

TEST_F(PathTest, UnlinkAndRmdirTellFilesFromDirectories) {  // 45
  EXPECT_TRUE(Fails(Unlink("/d"), Code::kEISDIR));
  EXPECT_TRUE(Fails(Rmdir("/f"), Code::kENOTDIR));
  EXPECT_TRUE(Ok(Mkdir("/d/e")));
  EXPECT_TRUE(Fails(Rmdir("/d"), Code::kENOTEMPTY));
  EXPECT_TRUE(Fails(Rmdir("/d/."), Code::kEINVAL));
  EXPECT_TRUE(Fails(Rmdir("/d/e/.."), Code::kENOTEMPTY));
  EXPECT_TRUE(Fails(Rmdir("/"), Code::kEBUSY));
  EXPECT_TRUE(Fails(Unlink("/."), Code::kEISDIR));
  EXPECT_TRUE(Fails(k.UnlinkAt(init, kAtFdCwd, "/d", 1), Code::kEINVAL));
  EXPECT_TRUE(Ok(Rmdir("/d/e")));
  EXPECT_TRUE(Ok(Rmdir("/d/")));
}

TEST_F(PathTest, MkdirMakesWhatIsNotThere) {  // 46
  EXPECT_TRUE(Fails(Mkdir("/f"), Code::kEEXIST));
  EXPECT_TRUE(Fails(Mkdir("/dangling"), Code::kEEXIST));
  EXPECT_TRUE(Fails(Mkdir("/dangling/"), Code::kEEXIST));
  EXPECT_TRUE(Fails(Mkdir("/"), Code::kEEXIST));
  EXPECT_TRUE(Fails(Mkdir("/d/."), Code::kEEXIST));
  EXPECT_TRUE(Fails(Mkdir("/none/x"), Code::kENOENT));
  EXPECT_TRUE(Ok(Mkdir("/new//", 07777)));
  EXPECT_EQ(Of("/new").mode, S_IFDIR | 01755u) << "no set-user-id on a new directory";
}

TEST_F(PathTest, ALinkIsOneMoreNameForAFileAndNotForADirectory) {  // 47
  EXPECT_TRUE(Ok(Link("/f", "/g")));
  EXPECT_EQ(Of("/f").nlink, 2u);
  EXPECT_EQ(Of("/f").ino, Of("/g").ino);
  EXPECT_TRUE(Fails(Link("/d", "/h"), Code::kEPERM));
  EXPECT_TRUE(Fails(Link("/f", "/g"), Code::kEEXIST));
  EXPECT_TRUE(Ok(Link("/link", "/link2")));
  EXPECT_EQ(Of("/link2", abi::kAtSymlinkNoFollow).mode & S_IFMT, static_cast<uint32_t>(S_IFLNK)) << "not followed";
  EXPECT_TRUE(Ok(k.LinkAt(init, kAtFdCwd, "/link", kAtFdCwd, "/i", abi::kAtSymlinkFollow)));
  EXPECT_EQ(Of("/i").ino, Of("/f").ino);
  EXPECT_TRUE(Ok(Unlink("/f")));
  EXPECT_EQ(Of("/g").nlink, 2u);
}

TEST_F(PathTest, RenameReplacesAndTheOldDescriptorKeepsTheOldFile) {  // 48
  WriteFile(k, init, "/g", "new");
  const Fd old = Value(Open("/f", O_RDONLY));
  EXPECT_TRUE(Ok(Rename("/g", "/f")));
  EXPECT_EQ(FileText(k, init, "/f"), "new");
  EXPECT_EQ(ReadText(k, init, old), "0123456789");
  EXPECT_FALSE(Exists(k, init, "/g"));
  EXPECT_EQ(Value(k.StatAt(init, old, "", abi::kAtEmptyPath)).nlink, 0u);
}

TEST_F(PathTest, RenamingOneOfTwoLinksOntoTheOtherDoesNothing) {  // 49
  EXPECT_TRUE(Ok(Link("/f", "/g")));
  EXPECT_TRUE(Ok(Rename("/f", "/g")));
  EXPECT_EQ(Of("/f").nlink, 2u);
  EXPECT_TRUE(Ok(Rename("/f", "/f")));
}

TEST_F(PathTest, RenameRefusesWhatMakesNoSense) {  // 50
  EXPECT_TRUE(Ok(Mkdir("/e")));
  EXPECT_TRUE(Ok(Mkdir("/e/x")));
  EXPECT_TRUE(Fails(Rename("/d", "/e"), Code::kENOTEMPTY));
  EXPECT_TRUE(Fails(Rename("/e", "/e/x/y"), Code::kEINVAL));
  EXPECT_TRUE(Fails(Rename("/e", "/e/x"), Code::kEINVAL));
  EXPECT_TRUE(Fails(Rename("/e/x", "/e"), Code::kENOTEMPTY));
  EXPECT_TRUE(Fails(Rename("/f", "/d"), Code::kEISDIR));
  EXPECT_TRUE(Fails(Rename("/d", "/f"), Code::kENOTDIR));
  EXPECT_TRUE(Fails(Rename("/d/.", "/x"), Code::kEBUSY));
  EXPECT_TRUE(Fails(Rename("/d", "/e/.."), Code::kEBUSY));
  EXPECT_TRUE(Fails(Rename("/none", "/x"), Code::kENOENT));
  EXPECT_TRUE(Ok(Rename("/d", "/e/x"))) << "an empty directory is replaced";
  EXPECT_EQ(Of("/e").nlink, 3u);
}

TEST_F(PathTest, RenameFlagsForbidReplacingOrExchange) {  // 51
  WriteFile(k, init, "/g", "g");
  EXPECT_TRUE(Fails(Rename("/f", "/g", abi::kRenameNoReplace), Code::kEEXIST));
  EXPECT_TRUE(Ok(Rename("/f", "/d", abi::kRenameExchange)));
  EXPECT_EQ(FileText(k, init, "/d"), "0123456789");
  EXPECT_EQ(Of("/f").mode & S_IFMT, static_cast<uint32_t>(S_IFDIR));
  EXPECT_TRUE(Fails(Rename("/f", "/none", abi::kRenameExchange), Code::kENOENT));
  EXPECT_TRUE(Fails(Rename("/f", "/x", abi::kRenameExchange | abi::kRenameNoReplace), Code::kEINVAL));
  EXPECT_TRUE(Fails(Rename("/f", "/x", 8), Code::kEINVAL));
  EXPECT_TRUE(Ok(Rename("/g", "/h", abi::kRenameNoReplace)));
}

TEST_F(PathTest, AMovedDirectoryFindsItsNewParent) {
  EXPECT_TRUE(Ok(Mkdir("/d/sub")));
  EXPECT_TRUE(Ok(Mkdir("/other")));
  EXPECT_TRUE(Ok(k.Chdir(init, "/d/sub")));
  EXPECT_TRUE(Ok(Rename("/d/sub", "/other/moved")));
  EXPECT_TRUE(Gives(k.GetCwd(init, 100), std::string("/other/moved")));
  EXPECT_TRUE(Ok(k.Chdir(init, "..")));
  EXPECT_TRUE(Gives(k.GetCwd(init, 100), std::string("/other")));
  EXPECT_EQ(Of("/d").nlink, 2u);
  EXPECT_EQ(Of("/other").nlink, 3u);
}

TEST_F(PathTest, ReadlinkTruncatesSilently) {  // 52
  EXPECT_TRUE(Gives(k.ReadLinkAt(init, kAtFdCwd, "/dangling", 100), std::string("/missing")));
  EXPECT_TRUE(Gives(k.ReadLinkAt(init, kAtFdCwd, "/dangling", 3), std::string("/mi")));
  EXPECT_TRUE(Fails(k.ReadLinkAt(init, kAtFdCwd, "/dangling", 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.ReadLinkAt(init, kAtFdCwd, "/f", 100), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.ReadLinkAt(init, kAtFdCwd, "/none", 100), Code::kENOENT));
  const Fd fd = Value(Open("/link", abi::kOPath | O_NOFOLLOW));
  EXPECT_TRUE(Gives(k.ReadLinkAt(init, fd, "", 100), std::string("/f")));
}

TEST_F(PathTest, ASymlinksSizeIsItsTargetsLength) {  // 53
  EXPECT_EQ(Of("/dangling", abi::kAtSymlinkNoFollow).size, 8);
}

TEST_F(PathTest, TheAtCallsUseTheDirectoryOnlyForRelativePaths) {  // 54
  const Fd dir = Value(Open("/d", O_RDONLY));
  const Fd file = Value(Open("/f", O_RDONLY));
  EXPECT_TRUE(Ok(k.OpenAt(init, 77, "/f", O_RDONLY)));
  EXPECT_TRUE(Fails(k.OpenAt(init, 77, "f", O_RDONLY), Code::kEBADF));
  EXPECT_TRUE(Fails(k.OpenAt(init, file, "f", O_RDONLY), Code::kENOTDIR));
  EXPECT_TRUE(Ok(k.OpenAt(init, dir, "new", O_CREAT | O_WRONLY, 0600)));
  EXPECT_TRUE(Exists(k, init, "/d/new"));
  EXPECT_TRUE(Ok(k.OpenAt(init, dir, "../f", O_RDONLY)));
  EXPECT_TRUE(Fails(k.StatAt(init, kAtFdCwd, "/f", 1), Code::kEINVAL));
}

TEST_F(PathTest, GetcwdSpellsTheWorkingDirectory) {  // 55
  EXPECT_TRUE(Gives(k.GetCwd(init, 2), std::string("/")));
  EXPECT_TRUE(Ok(k.Chdir(init, "d")));
  EXPECT_TRUE(Gives(k.GetCwd(init, 3), std::string("/d")));
  EXPECT_TRUE(Fails(k.GetCwd(init, 2), Code::kERANGE));
  EXPECT_TRUE(Fails(k.Chdir(init, "/f"), Code::kENOTDIR));
  EXPECT_TRUE(Fails(k.Chdir(init, "/none"), Code::kENOENT));
  EXPECT_TRUE(Ok(Rmdir("/d")));
  EXPECT_TRUE(Fails(k.GetCwd(init, 100), Code::kENOENT));
  EXPECT_TRUE(Fails(Open("new", O_CREAT | O_WRONLY), Code::kENOENT));
  EXPECT_TRUE(Fails(Mkdir("new"), Code::kENOENT));
  EXPECT_EQ(Of(".").nlink, 0u);
  EXPECT_EQ(Of("..").ino, Of("/").ino) << "the way up remains";
  EXPECT_TRUE(Fails(k.GetDents(init, Value(Open(".", O_RDONLY)), 4096), Code::kENOENT));
}

TEST_F(PathTest, FchdirGoesWhereADescriptorIs) {
  const Fd dir = Value(Open("/d", O_RDONLY));
  EXPECT_TRUE(Ok(k.FChdir(init, dir)));
  EXPECT_TRUE(Gives(k.GetCwd(init, 100), std::string("/d")));
  EXPECT_TRUE(Fails(k.FChdir(init, Value(Open("/f", O_RDONLY))), Code::kENOTDIR));
  EXPECT_TRUE(Fails(k.FChdir(init, 77), Code::kEBADF));
}

TEST_F(PathTest, RootReadsAndWritesAnythingButExecutesOnlyWhatSomebodyMay) {  // 56
  EXPECT_TRUE(Ok(k.ChmodAt(init, kAtFdCwd, "/f", 0)));
  EXPECT_TRUE(Ok(Open("/f", O_RDWR)));
  EXPECT_TRUE(Ok(k.Access(init, kAtFdCwd, "/f", R_OK | W_OK, 0)));
  EXPECT_TRUE(Fails(k.Access(init, kAtFdCwd, "/f", X_OK, 0), Code::kEACCES));
  EXPECT_TRUE(Ok(k.ChmodAt(init, kAtFdCwd, "/f", 0001)));
  EXPECT_TRUE(Ok(k.Access(init, kAtFdCwd, "/f", X_OK, 0)));
  EXPECT_TRUE(Fails(k.Access(init, kAtFdCwd, "/f", 8, 0), Code::kEINVAL));
}

TEST_F(PathTest, AnOrdinaryUserIsHeldToThePermissionBits) {  // 57
  const Pid user = User();
  EXPECT_TRUE(Ok(k.ChmodAt(init, kAtFdCwd, "/f", 0640)));
  EXPECT_TRUE(Fails(k.Open(user, "/f", O_RDONLY), Code::kEACCES));
  EXPECT_TRUE(Fails(k.ChmodAt(user, kAtFdCwd, "/f", 0666), Code::kEPERM));
  EXPECT_TRUE(Fails(k.ChownAt(user, kAtFdCwd, "/f", 1000, 1000), Code::kEPERM));
  EXPECT_TRUE(Fails(k.UnlinkAt(user, kAtFdCwd, "/f", 0), Code::kEACCES));
  EXPECT_TRUE(Fails(k.Open(user, "/new", O_CREAT | O_WRONLY, 0600), Code::kEACCES));
  EXPECT_TRUE(Fails(k.Truncate(user, "/f", 0), Code::kEACCES));
  EXPECT_TRUE(Fails(k.UtimensAt(user, kAtFdCwd, "/f", 1, 1), Code::kEPERM));
  EXPECT_TRUE(Fails(k.UtimensAt(user, kAtFdCwd, "/f", kUtimeNow, kUtimeNow), Code::kEACCES));
  EXPECT_TRUE(Ok(k.UtimensAt(user, kAtFdCwd, "/f", kUtimeOmit, kUtimeOmit)));
  EXPECT_TRUE(Ok(k.ChmodAt(init, kAtFdCwd, "/d", 0700)));
  EXPECT_TRUE(Fails(k.StatAt(user, kAtFdCwd, "/d/x", 0), Code::kEACCES));
  EXPECT_TRUE(Fails(k.Chdir(user, "/d"), Code::kEACCES));
  EXPECT_TRUE(Fails(k.MknodAt(user, kAtFdCwd, "/n", S_IFCHR, 0x103), Code::kEACCES));
  EXPECT_TRUE(Ok(k.ChownAt(init, kAtFdCwd, "/f", 1000, 0)));
  EXPECT_TRUE(Ok(k.Open(user, "/f", O_RDWR)));
  EXPECT_TRUE(Ok(k.ChmodAt(user, kAtFdCwd, "/f", 0060)));
  EXPECT_TRUE(Fails(k.Open(user, "/f", O_RDONLY), Code::kEACCES)) << "the owner's bits count, not the group's";
}

TEST_F(PathTest, PermissionIsCheckedAtOpenOnly) {  // 58
  const Pid user = User();
  const Fd fd = Value(k.Open(user, "/f", O_RDONLY));
  EXPECT_TRUE(Ok(k.ChmodAt(init, kAtFdCwd, "/f", 0)));
  EXPECT_EQ(ReadText(k, user, fd, 3), "012");
}

TEST_F(PathTest, StickyDirectoriesProtectFilesFromStrangers) {
  const Pid user = User();
  EXPECT_TRUE(Ok(k.Seed("/tmp", {.mode = 041777, .target = ""})));
  WriteFile(k, init, "/tmp/root", "");
  WriteFile(k, user, "/tmp/mine", "");
  EXPECT_TRUE(Fails(k.UnlinkAt(user, kAtFdCwd, "/tmp/root", 0), Code::kEPERM));
  EXPECT_TRUE(Fails(k.RenameAt(user, kAtFdCwd, "/tmp/root", kAtFdCwd, "/tmp/x", 0), Code::kEPERM));
  EXPECT_TRUE(Fails(k.RenameAt(user, kAtFdCwd, "/tmp/mine", kAtFdCwd, "/tmp/root", 0), Code::kEPERM));
  EXPECT_TRUE(Ok(k.UnlinkAt(user, kAtFdCwd, "/tmp/mine", 0)));
}

TEST_F(PathTest, ChangesByOrdinaryUsersAndNewOwnersClearSetUserId) {
  const Pid user = User();
  const auto arm = [&] {
    EXPECT_TRUE(Ok(k.ChownAt(init, kAtFdCwd, "/f", 1000, 1000)));
    EXPECT_TRUE(Ok(k.ChmodAt(init, kAtFdCwd, "/f", 06755)));
  };
  arm();
  const Fd fd = Value(k.Open(user, "/f", O_RDWR));
  EXPECT_TRUE(Gives(k.Write(user, fd, Bytes("x")), 1u));
  EXPECT_EQ(Of("/f").mode, S_IFREG | 0755u);
  arm();
  EXPECT_TRUE(Ok(k.FTruncate(user, fd, 1)));
  EXPECT_EQ(Of("/f").mode, S_IFREG | 0755u);
  arm();
  EXPECT_TRUE(Ok(k.ChownAt(init, kAtFdCwd, "/f", ~0u, ~0u)));
  EXPECT_EQ(Of("/f").mode, S_IFREG | 0755u) << "even by root, even of nothing";
  arm();
  WriteFile(k, init, "/f", "by root", 0);
  EXPECT_EQ(Of("/f").mode, S_IFREG | 06755u) << "root's writes keep it";
  EXPECT_TRUE(Ok(k.ChownAt(init, kAtFdCwd, "/f", 1000, 0)));
  EXPECT_TRUE(Ok(k.ChmodAt(user, kAtFdCwd, "/f", 02755)));
  EXPECT_EQ(Of("/f").mode, S_IFREG | 0755u) << "set-group-id of a group that is not the user's";
}

TEST_F(PathTest, ASetGroupIdDirectoryHandsDownItsGroup) {
  EXPECT_TRUE(Ok(k.ChownAt(init, kAtFdCwd, "/d", ~0u, 77)));
  EXPECT_TRUE(Ok(k.ChmodAt(init, kAtFdCwd, "/d", 02777)));
  const Pid user = User();
  EXPECT_TRUE(Ok(k.MkdirAt(user, kAtFdCwd, "/d/sub", 0755)));
  EXPECT_TRUE(Ok(k.Open(user, "/d/file", O_CREAT | O_WRONLY, 02755)));
  EXPECT_EQ(Of("/d/sub").mode, S_IFDIR | 02755u);
  EXPECT_EQ(Of("/d/sub").gid, 77u);
  EXPECT_EQ(Of("/d/file").mode, S_IFREG | 0755u);
  EXPECT_EQ(Of("/d/file").gid, 77u);
}

TEST_F(PathTest, SendfileAndCopyFileRangeMoveBytes) {  // 59
  const Fd in = Value(Open("/f", O_RDONLY));
  const Fd out = Value(Open("/g", O_CREAT | O_RDWR));
  int64_t offset = 2;
  EXPECT_TRUE(Gives(k.SendFile(init, out, in, &offset, 3), 3u));
  EXPECT_EQ(offset, 5);
  EXPECT_TRUE(Gives(k.Seek(init, in, 0, SEEK_CUR), 0)) << "an explicit offset leaves the descriptor's";
  EXPECT_TRUE(Gives(k.SendFile(init, out, in, nullptr, 100), 10u));
  EXPECT_TRUE(Gives(k.SendFile(init, out, in, nullptr, 100), 0u));
  EXPECT_EQ(FileText(k, init, "/g"), "2340123456789");
  int64_t from = 8;
  int64_t to = 1;
  EXPECT_TRUE(Gives(k.CopyFileRange(init, in, &from, out, &to, 100, 0), 2u)) << "short at the end of the file";
  EXPECT_EQ(from, 10);
  EXPECT_EQ(to, 3);
  EXPECT_EQ(FileText(k, init, "/g"), "2890123456789");
  EXPECT_TRUE(Gives(k.CopyFileRange(init, in, &from, out, &to, 100, 0), 0u));
  int64_t start = 0;
  int64_t overlap = 2;
  EXPECT_TRUE(Fails(k.CopyFileRange(init, out, &start, out, &overlap, 5, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.CopyFileRange(init, in, nullptr, out, nullptr, 1, 1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.CopyFileRange(init, out, nullptr, in, nullptr, 1, 0), Code::kEBADF));
  EXPECT_TRUE(Fails(k.CopyFileRange(init, Value(Open("/d", O_RDONLY)), nullptr, out, nullptr, 1, 0), Code::kEISDIR));
  const Fd append = Value(Open("/g", O_WRONLY | O_APPEND));
  EXPECT_TRUE(Fails(k.CopyFileRange(init, in, nullptr, append, nullptr, 1, 0), Code::kEBADF));
  EXPECT_TRUE(Fails(k.SendFile(init, append, in, nullptr, 1), Code::kEINVAL));
  const PipeFds pipe = Value(k.Pipe(init, O_NONBLOCK));
  offset = 0;
  EXPECT_TRUE(Gives(k.SendFile(init, pipe.write_end, in, &offset, 10), 10u));
  EXPECT_EQ(ReadText(k, init, pipe.read_end), "0123456789");
  EXPECT_TRUE(Fails(k.SendFile(init, out, pipe.read_end, nullptr, 1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.SendFile(init, out, pipe.read_end, &offset, 1), Code::kESPIPE));
}

TEST_F(PathTest, VectoredCallsSumTheirParts) {  // 60
  const Fd fd = Value(Open("/v", O_CREAT | O_RDWR));
  const std::array<std::span<const std::byte>, 4> in = {Bytes("ab"), Bytes(""), Bytes("cde"), Bytes("f")};
  EXPECT_TRUE(Gives(k.WriteV(init, fd, in), 6u));
  EXPECT_TRUE(Gives(k.Seek(init, fd, 1, SEEK_SET), 1));
  std::array<std::byte, 2> first;
  std::array<std::byte, 7> second;
  const std::array<std::span<std::byte>, 2> out = {first, second};
  EXPECT_TRUE(Gives(k.ReadV(init, fd, out), 5u));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(first.data()), 2), "bc");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(second.data()), 3), "def");
  const std::vector<std::span<const std::byte>> many(1025, Bytes("x"));
  EXPECT_TRUE(Fails(k.WriteV(init, fd, many), Code::kEINVAL));
  EXPECT_TRUE(Gives(k.WriteV(init, fd, std::span(many).first(1024)), 1024u));
  EXPECT_TRUE(Gives(k.WriteV(init, fd, {}), 0u));
}

TEST_F(PathTest, DevicesAnswerAsOnLinux) {  // 61
  const auto device = [&](const std::string& path, uint64_t dev) {
    EXPECT_TRUE(Ok(k.Seed(path, {.mode = 020666, .rdev = dev, .target = ""})));
    return Value(Open(path, O_RDWR));
  };
  const Fd null = device("/dev/null", abi::MakeDev(1, 3));
  const Fd zero = device("/dev/zero", abi::MakeDev(1, 5));
  const Fd full = device("/dev/full", abi::MakeDev(1, 7));
  const Fd random = device("/dev/urandom", abi::MakeDev(1, 9));
  const Fd tty = device("/dev/tty", abi::MakeDev(5, 0));
  EXPECT_EQ(ReadText(k, init, null, 5), "");
  EXPECT_EQ(ReadText(k, init, zero, 5), std::string(5, '\0'));
  EXPECT_EQ(ReadText(k, init, full, 5), std::string(5, '\0'));
  EXPECT_EQ(ReadText(k, init, random, 13).size(), 13u);
  EXPECT_NE(ReadText(k, init, random, 13), ReadText(k, init, random, 13));
  EXPECT_EQ(ReadText(k, init, tty, 5), "<EIO>");
  for (const Fd fd : {null, zero, random, tty}) EXPECT_TRUE(Gives(k.Write(init, fd, Bytes("abc")), 3u));
  EXPECT_TRUE(Fails(k.Write(init, full, Bytes("abc")), Code::kENOSPC));
  EXPECT_TRUE(Gives(k.Seek(init, null, 100, SEEK_CUR), 0));
  EXPECT_TRUE(Fails(k.Seek(init, tty, 0, SEEK_CUR), Code::kESPIPE));
  int64_t value = 0;
  EXPECT_TRUE(Ok(k.Ioctl(init, tty, abi::kTcGets, &value)));
  EXPECT_TRUE(Ok(k.Ioctl(init, tty, abi::kTiocGPgrp, &value)));
  EXPECT_EQ(value, init);
  EXPECT_TRUE(Fails(k.Ioctl(init, null, abi::kTcGets, &value), Code::kENOTTY));
  EXPECT_TRUE(Fails(k.FTruncate(init, null, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FSync(init, null), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FAllocate(init, null, 0, 0, 1), Code::kENODEV));
  EXPECT_TRUE(Ok(Open("/dev/null", O_WRONLY | O_TRUNC)));
  EXPECT_TRUE(Ok(k.Seed("/dev/none", {.mode = 020666, .rdev = abi::MakeDev(200, 1), .target = ""})));
  EXPECT_TRUE(Fails(Open("/dev/none", O_RDWR), Code::kENXIO));
}

TEST_F(PathTest, EachSubdirectoryIsALinkToItsParent) {  // 62
  EXPECT_EQ(Of("/d").nlink, 2u);
  EXPECT_TRUE(Ok(Mkdir("/d/a")));
  EXPECT_TRUE(Ok(Mkdir("/d/b")));
  WriteFile(k, init, "/d/file", "");
  EXPECT_EQ(Of("/d").nlink, 4u);
  EXPECT_TRUE(Ok(Rmdir("/d/a")));
  EXPECT_EQ(Of("/d").nlink, 3u);
}

TEST_F(PathTest, AMountHidesWhatWasThereAndIsHeldInPlace) {  // 63
  WriteFile(k, init, "/d/hidden", "");
  EXPECT_TRUE(Ok(k.Mount(init, "/d", "tmpfs", 0)));
  EXPECT_FALSE(Exists(k, init, "/d/hidden"));
  EXPECT_NE(Of("/d").dev, Of("/").dev);
  EXPECT_TRUE(Fails(Rmdir("/d"), Code::kEBUSY));
  EXPECT_TRUE(Fails(Rename("/d", "/e"), Code::kEBUSY));
  EXPECT_EQ(Of("/d/..").ino, Of("/").ino);
  EXPECT_TRUE(Ok(Mkdir("/d/sub")));
  EXPECT_TRUE(Ok(k.Chdir(init, "/d/sub")));
  EXPECT_TRUE(Gives(k.GetCwd(init, 100), std::string("/d/sub")));
  EXPECT_TRUE(Fails(k.Unmount(init, "/d", 0), Code::kEBUSY));
  EXPECT_TRUE(Ok(k.Chdir(init, "/")));
  EXPECT_TRUE(Ok(k.Unmount(init, "/d", 0)));
  EXPECT_TRUE(Exists(k, init, "/d/hidden"));
}

TEST_F(PathTest, MountAndUnmountCheckTheirArguments) {
  const Pid user = User();
  EXPECT_TRUE(Fails(k.Mount(user, "/d", "tmpfs", 0), Code::kEPERM));
  EXPECT_TRUE(Fails(k.Mount(init, "/none", "tmpfs", 0), Code::kENOENT));
  EXPECT_TRUE(Fails(k.Mount(init, "/f", "tmpfs", 0), Code::kENOTDIR));
  EXPECT_TRUE(Fails(k.Mount(init, "/d", "ext4", 0), Code::kENODEV));
  EXPECT_TRUE(Fails(k.Mount(init, "/d", "tmpfs", abi::kMsRemount), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Unmount(init, "/d", 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Unmount(init, "/d", 64), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Unmount(user, "/d", 0), Code::kEPERM));
}

TEST_F(PathTest, ALazyUnmountLeavesThoseInsideAlone) {
  EXPECT_TRUE(Ok(k.Mount(init, "/d", "tmpfs", 0)));
  EXPECT_TRUE(Ok(Mkdir("/d/sub")));
  EXPECT_TRUE(Ok(k.Mount(init, "/d/sub", "tmpfs", 0)));
  EXPECT_TRUE(Fails(k.Unmount(init, "/d", 0), Code::kEBUSY)) << "something is mounted below";
  WriteFile(k, init, "/d/sub/file", "inside");
  const Fd fd = Value(Open("/d/sub/file", O_RDONLY));
  EXPECT_TRUE(Ok(k.Chdir(init, "/d")));
  EXPECT_TRUE(Ok(k.Unmount(init, "/d", abi::kUmountDetach)));
  EXPECT_FALSE(Exists(k, init, "/d/sub"));
  EXPECT_EQ(ReadText(k, init, fd), "inside");
  EXPECT_TRUE(Gives(k.GetCwd(init, 100), std::string("(unreachable)/")));
  EXPECT_TRUE(Ok(k.Chdir(init, "/")));
  EXPECT_TRUE(Ok(k.Close(init, fd)));
}

TEST_F(PathTest, NothingIsMovedOrLinkedAcrossMounts) {  // 64
  EXPECT_TRUE(Ok(k.Mount(init, "/d", "tmpfs", 0)));
  EXPECT_TRUE(Fails(Rename("/f", "/d/f"), Code::kEXDEV));
  EXPECT_TRUE(Fails(Link("/f", "/d/f"), Code::kEXDEV));
  const Fd in = Value(Open("/f", O_RDONLY));
  const Fd out = Value(Open("/d/f", O_CREAT | O_WRONLY));
  EXPECT_TRUE(Fails(k.CopyFileRange(init, in, nullptr, out, nullptr, 1, 0), Code::kEXDEV));
  EXPECT_TRUE(Gives(k.SendFile(init, out, in, nullptr, 100), 10u));
}

TEST_F(PathTest, OpenFilesBlockUnmountingAndWritersAReadOnlyRemount) {  // 65
  EXPECT_TRUE(Ok(k.Mount(init, "/d", "tmpfs", 0)));
  const Fd fd = Value(Open("/d/f", O_CREAT | O_WRONLY));
  EXPECT_TRUE(Fails(k.Unmount(init, "/d", 0), Code::kEBUSY));
  EXPECT_TRUE(Fails(k.Mount(init, "/d", "", abi::kMsRemount | abi::kMsReadOnly), Code::kEBUSY));
  EXPECT_TRUE(Ok(k.Close(init, fd)));
  const Fd reader = Value(Open("/d/f", O_RDONLY));
  EXPECT_TRUE(Ok(k.Mount(init, "/d", "", abi::kMsRemount | abi::kMsReadOnly)));
  EXPECT_TRUE(Fails(k.Unmount(init, "/d", 0), Code::kEBUSY));
  EXPECT_TRUE(Ok(k.Close(init, reader)));
  EXPECT_TRUE(Ok(k.Unmount(init, "/d", 0)));
}

TEST_F(PathTest, AReadOnlyMountRefusesEveryChange) {  // 66
  EXPECT_TRUE(Ok(k.Mount(init, "/d", "tmpfs", 0)));
  WriteFile(k, init, "/d/f", "x");
  EXPECT_TRUE(Ok(Mkdir("/d/sub")));
  EXPECT_TRUE(Ok(k.MknodAt(init, kAtFdCwd, "/d/null", S_IFCHR | 0666, abi::MakeDev(1, 3))));
  EXPECT_TRUE(Ok(k.Mount(init, "/d", "", abi::kMsRemount | abi::kMsReadOnly)));
  EXPECT_TRUE(Fails(Open("/d/f", O_WRONLY), Code::kEROFS));
  EXPECT_TRUE(Fails(Open("/d/f", O_RDONLY | O_TRUNC), Code::kEROFS));
  EXPECT_TRUE(Fails(Open("/d/new", O_CREAT | O_RDONLY), Code::kEROFS));
  EXPECT_TRUE(Fails(Unlink("/d/f"), Code::kEROFS));
  EXPECT_TRUE(Fails(Unlink("/d/none"), Code::kEROFS)) << "even of a name that is missing";
  EXPECT_TRUE(Fails(k.ChmodAt(init, kAtFdCwd, "/d/f", 0600), Code::kEROFS));
  EXPECT_TRUE(Fails(k.ChownAt(init, kAtFdCwd, "/d/f", 1, 1), Code::kEROFS));
  EXPECT_TRUE(Fails(k.UtimensAt(init, kAtFdCwd, "/d/f", 1, 1), Code::kEROFS));
  EXPECT_TRUE(Fails(k.Truncate(init, "/d/f", 0), Code::kEROFS));
  EXPECT_TRUE(Fails(Mkdir("/d/new"), Code::kEROFS));
  EXPECT_TRUE(Fails(Mkdir("/d/sub"), Code::kEEXIST));
  EXPECT_TRUE(Fails(Rename("/d/f", "/d/g"), Code::kEROFS));
  EXPECT_TRUE(Fails(k.Access(init, kAtFdCwd, "/d/f", W_OK, 0), Code::kEROFS));
  EXPECT_TRUE(Ok(Open("/d/f", O_CREAT | O_RDONLY)));
  EXPECT_TRUE(Ok(Open("/d/null", O_WRONLY))) << "a device is not the file system's";
  EXPECT_EQ(Value(k.StatFsAt(init, kAtFdCwd, "/d")).flags & 1, 1u);
}

TEST_F(PathTest, GetdentsGivesEveryEntryOnceInRecordsThatFit) {
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < 100; ++i) {
    const std::string name(static_cast<size_t>(i) + 1, 'a');
    WriteFile(k, init, "/d/" + name, "");
    expected.insert(name);
  }
  const Fd fd = Value(Open("/d", O_RDONLY));
  EXPECT_TRUE(Fails(k.GetDents(init, fd, 23), Code::kEINVAL)) << "not even \".\" fits";
  std::set<std::string> seen;
  for (;;) {
    const std::vector<Dirent> some = Value(k.GetDents(init, fd, 280));
    if (some.empty()) break;
    size_t bytes = 0;
    for (const Dirent& entry : some) {
      bytes += (19 + entry.name.size() + 1 + 7) / 8 * 8;
      EXPECT_TRUE(seen.insert(entry.name).second) << entry.name;
      EXPECT_EQ(entry.type, entry.name.starts_with('.') ? 4 : 8);
      if (entry.name == "aaa")
        EXPECT_TRUE(Ok(Unlink("/d/" + std::string(90, 'a')))) << "removal does not disturb the scan";
    }
    EXPECT_LE(bytes, 280u);
  }
  expected.erase(std::string(90, 'a'));
  EXPECT_EQ(seen, expected);
  EXPECT_TRUE(Gives(k.Seek(init, fd, 0, SEEK_SET), 0));
  EXPECT_EQ(Value(k.GetDents(init, fd, 1 << 20)).size(), expected.size());
  EXPECT_TRUE(Fails(k.GetDents(init, Value(Open("/f", O_RDONLY)), 4096), Code::kENOTDIR));
}

TEST_F(PathTest, FallocateReservesPunchesAndRefuses) {
  const Fd fd = Value(Open("/f", O_RDWR));
  EXPECT_TRUE(Ok(k.FAllocate(init, fd, abi::kFallocKeepSize, 8192, 1)));
  EXPECT_EQ(Of("/f").size, 10);
  EXPECT_EQ(Of("/f").blocks, 16u);
  EXPECT_TRUE(Ok(k.FAllocate(init, fd, 0, 0, 5000)));
  EXPECT_EQ(Of("/f").size, 5000);
  EXPECT_TRUE(Ok(k.FAllocate(init, fd, abi::kFallocPunchHole | abi::kFallocKeepSize, 2, 3)));
  EXPECT_EQ(FileText(k, init, "/f").substr(0, 10), std::string("01\0\0\0"
                                                               "56789",
                                                               10));
  EXPECT_TRUE(Ok(k.FAllocate(init, fd, abi::kFallocPunchHole | abi::kFallocKeepSize, 0, 1 << 20)));
  EXPECT_EQ(Of("/f").blocks, 0u);
  EXPECT_TRUE(Ok(k.FAllocate(init, fd, abi::kFallocKeepSize, 0, int64_t{1} << 50))) << "costs nothing here";
  EXPECT_TRUE(Fails(k.FAllocate(init, fd, 0, -1, 1), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FAllocate(init, fd, 0, 0, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FAllocate(init, fd, abi::kFallocPunchHole, 0, 1), Code::kEOPNOTSUPP));
  EXPECT_TRUE(Fails(k.FAllocate(init, fd, abi::kFallocCollapse, 0, 4096), Code::kEOPNOTSUPP));
  EXPECT_TRUE(Fails(k.FAllocate(init, fd, 0, INT64_MAX, 1), Code::kEFBIG));
  EXPECT_TRUE(Fails(k.FAllocate(init, Value(Open("/f", O_RDONLY)), 0, 0, 1), Code::kEBADF));
  const PipeFds pipe = Value(k.Pipe(init, 0));
  EXPECT_TRUE(Fails(k.FAllocate(init, pipe.write_end, 0, 0, 1), Code::kESPIPE));
}

TEST_F(PathTest, AdviceAndSyncAreForFiles) {
  const Fd fd = Value(Open("/f", O_RDONLY));
  const PipeFds pipe = Value(k.Pipe(init, 0));
  EXPECT_TRUE(Ok(k.FAdvise(init, fd, 0, 0, POSIX_FADV_SEQUENTIAL)));
  EXPECT_TRUE(Fails(k.FAdvise(init, fd, 0, -1, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FAdvise(init, fd, 0, 0, 9), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FAdvise(init, pipe.read_end, 0, 0, 9), Code::kESPIPE));
  EXPECT_TRUE(Ok(k.FSync(init, fd)));
  EXPECT_TRUE(Fails(k.FSync(init, pipe.read_end), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.FSync(init, 77), Code::kEBADF));
}

TEST_F(PathTest, TimesFollowTheClockAndCanBeSet) {
  EXPECT_TRUE(Ok(k.UtimensAt(init, kAtFdCwd, "/f", 111, 222)));
  EXPECT_EQ(Of("/f").atime_ns, 111);
  EXPECT_EQ(Of("/f").mtime_ns, 222);
  EXPECT_TRUE(Ok(k.UtimensAt(init, kAtFdCwd, "/f", kUtimeOmit, 333)));
  EXPECT_EQ(Of("/f").atime_ns, 111);
  EXPECT_EQ(Of("/f").mtime_ns, 333);
  const int64_t changed = Of("/f").ctime_ns;
  EXPECT_TRUE(Ok(k.UtimensAt(init, kAtFdCwd, "/f", kUtimeNow, kUtimeOmit)));
  EXPECT_GT(Of("/f").atime_ns, changed);
  EXPECT_TRUE(Ok(k.UtimensAt(init, kAtFdCwd, "/link", 5, 5, abi::kAtSymlinkNoFollow)));
  EXPECT_EQ(Of("/link", abi::kAtSymlinkNoFollow).mtime_ns, 5);
  EXPECT_EQ(Of("/f").mtime_ns, 333);
  const int64_t directory = Of("/d").mtime_ns;
  WriteFile(k, init, "/d/new", "");
  EXPECT_GT(Of("/d").mtime_ns, directory);
}

TEST_F(PathTest, SeedingMakesParentsAndRefusesWhatExists) {
  EXPECT_TRUE(
      Ok(k.Seed("/a/b/c", {.mode = 0100600, .uid = 7, .gid = 8, .size = 12345, .extra_links = 2, .target = ""})));
  const Stat file = Of("/a/b/c");
  EXPECT_EQ(file.mode, S_IFREG | 0600u);
  EXPECT_EQ(file.uid, 7u);
  EXPECT_EQ(file.gid, 8u);
  EXPECT_EQ(file.size, 12345);
  EXPECT_EQ(file.blocks, 0u);
  EXPECT_EQ(file.nlink, 3u);
  EXPECT_EQ(Of("/a").mode, S_IFDIR | 0755u);
  EXPECT_TRUE(Fails(k.Seed("/a/b/c", {}), Code::kEEXIST));
  EXPECT_TRUE(Fails(k.Seed("relative", {}), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Seed("/a/b/c/d", {}), Code::kENOTDIR));
  EXPECT_TRUE(Fails(k.Seed("/s", {.mode = 0120777, .target = ""}), Code::kEINVAL));
  EXPECT_TRUE(Ok(k.Seed("/s", {.mode = 0120777, .target = "a/b"})));
  EXPECT_TRUE(Ok(k.Seed("/s/x", {.mode = 0100644, .target = ""}))) << "through a link";
  EXPECT_TRUE(Exists(k, init, "/a/b/x"));
  EXPECT_TRUE(Ok(k.Seed("/dir", {.mode = 040755, .extra_links = 3, .target = ""})));
  EXPECT_EQ(Of("/dir").nlink, 5u);
  EXPECT_TRUE(Fails(Rmdir("/dir"), Code::kENOTEMPTY)) << "its other subdirectories are out of sight";
  EXPECT_TRUE(Ok(k.Seed("/", {.mode = 040700, .extra_links = 9, .target = ""})));
  EXPECT_EQ(Of("/").mode, S_IFDIR | 0700u);
  EXPECT_EQ(Of("/").nlink, 2u + 9 + 3) << "/d, /a and /dir";
}

TEST_F(PathTest, AThousandLevelsAreReachedByChdirAndReleasedWithTheKernel) {
  for (int level = 0; level < 1000; ++level) {
    ASSERT_TRUE(Ok(Mkdir("deep")));
    ASSERT_TRUE(Ok(k.Chdir(init, "deep")));
  }
  EXPECT_TRUE(Fails(k.GetCwd(init, 1 << 20), Code::kENAMETOOLONG));
  WriteFile(k, init, "bottom", "x");
  for (int level = 0; level < 1000; ++level) ASSERT_TRUE(Ok(k.Chdir(init, "..")));
  EXPECT_TRUE(Gives(k.GetCwd(init, 100), std::string("/")));
}

TEST_F(PathTest, AChainOfRemovedDirectoriesIsReleasedWithItsLastUser) {
  const uint64_t inodes = k.Stats().inodes;
  constexpr int kDepth = 20000;
  for (int level = 0; level < kDepth; ++level) {
    ASSERT_TRUE(Ok(Mkdir("x")));
    ASSERT_TRUE(Ok(k.Chdir(init, "x")));
  }
  const Pid other = Value(k.Fork(init));
  for (int level = 0; level < kDepth; ++level) {
    ASSERT_TRUE(Ok(k.Chdir(init, "..")));
    ASSERT_TRUE(Ok(Rmdir("x")));
  }
  EXPECT_EQ(k.Stats().inodes, inodes + kDepth) << "each is the next one's \"..\"";
  EXPECT_TRUE(Ok(k.Chdir(other, "/")));
  EXPECT_EQ(k.Stats().inodes, inodes);
}

}  // namespace
}  // namespace hotpath::kernel
