#include "hotpath/kernel/vfs_manager.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

class VfsManagerTest : public testing::Test {
 protected:
  void Mkdir(const std::string& path) { EXPECT_TRUE(Ok(vfs.Mkdir(root, 0, vfs.root(), path, 0755))); }
  Inode& Find(const std::string& path) { return *Value(vfs.Resolve(root, vfs.root(), path, true)); }

  const Credentials root;
  IpcManager ipc;
  VfsManager vfs{ipc, [now = int64_t{0}]() mutable { return ++now; }, Mutation::kNone};
};

TEST_F(VfsManagerTest, AReferenceKeepsAnInodeAndItsFileSystem) {
  const uint64_t before = vfs.inodes();
  Mkdir("/mnt");
  EXPECT_TRUE(Ok(vfs.Mount(root, Find("/mnt"), "tmpfs", 0)));
  Mkdir("/mnt/a");
  std::optional<InodeRef> held(InodeRef(Find("/mnt/a")));
  EXPECT_TRUE(Fails(vfs.Unmount(root, Find("/mnt"), 0), Code::kEBUSY));
  EXPECT_TRUE(Ok(vfs.Unmount(root, Find("/mnt"), abi::kUmountDetach)));
  EXPECT_EQ((*held)->nlink, 2u);
  EXPECT_EQ(vfs.PathOf(**held), "(unreachable)/a");
  EXPECT_EQ(vfs.inodes(), before + 3);
  held.reset();
  EXPECT_EQ(vfs.inodes(), before + 1) << "the detached file system is gone";
}

TEST_F(VfsManagerTest, PathsAreSpelledAcrossMounts) {
  Mkdir("/a");
  Mkdir("/a/b");
  EXPECT_TRUE(Ok(vfs.Mount(root, Find("/a/b"), "tmpfs", 0)));
  Mkdir("/a/b/c");
  EXPECT_EQ(vfs.PathOf(Find("/a/b/c")), "/a/b/c");
  EXPECT_EQ(vfs.PathOf(Find("/a/b/c/../../b/..")), "/a");
  EXPECT_EQ(vfs.PathOf(vfs.root()), "/");
  EXPECT_TRUE(Ok(vfs.Mount(root, Find("/a/b"), "tmpfs", 0))) << "one more on top";
  EXPECT_TRUE(Fails(vfs.Resolve(root, vfs.root(), "/a/b/c", true), Code::kENOENT));
  EXPECT_TRUE(Ok(vfs.Unmount(root, Find("/a/b"), 0)));
  EXPECT_EQ(vfs.PathOf(Find("/a/b/c")), "/a/b/c");
}

TEST_F(VfsManagerTest, PermissionTakesTheFirstClassThatFits) {
  Mkdir("/d");
  Inode& node = Find("/d");
  node.uid = 1;
  node.gid = 2;
  node.mode = S_IFDIR | 0421;
  Credentials owner, member, other;
  owner.euid = 1;
  owner.egid = 2;
  member.euid = 9;
  member.egid = 2;
  other.euid = 9;
  other.egid = 9;
  for (int mask = 0; mask < 8; ++mask) {
    EXPECT_EQ(VfsManager::Permission(node, mask, owner).ok(), (mask & ~R_OK) == 0) << mask;
    EXPECT_EQ(VfsManager::Permission(node, mask, member).ok(), (mask & ~W_OK) == 0) << mask;
    EXPECT_EQ(VfsManager::Permission(node, mask, other).ok(), (mask & ~X_OK) == 0) << mask;
    EXPECT_TRUE(Ok(VfsManager::Permission(node, mask, root))) << mask;
  }
}

TEST_F(VfsManagerTest, ContextsAreSharedOrCopied) {
  Mkdir("/d");
  vfs.CreateContext(1, vfs.root(), 022);
  vfs.ShareContext(1, 2);
  vfs.CopyContext(1, 3);
  EXPECT_TRUE(Ok(vfs.Chdir(root, 2, Find("/d"))));
  EXPECT_TRUE(Gives(vfs.GetCwd(1, 100), std::string("/d")));
  EXPECT_TRUE(Gives(vfs.GetCwd(3, 100), std::string("/")));
  vfs.DropContext(1);
  EXPECT_TRUE(Gives(vfs.GetCwd(2, 100), std::string("/d")));
}

TEST_F(VfsManagerTest, APathIsChecked) {
  EXPECT_TRUE(Fails(VfsManager::CheckPath(""), Code::kENOENT));
  EXPECT_TRUE(Fails(VfsManager::CheckPath(std::string(4096, '/')), Code::kENAMETOOLONG));
  EXPECT_TRUE(Ok(VfsManager::CheckPath(std::string(4095, '/'))));
  EXPECT_TRUE(Fails(VfsManager::CheckPath(std::string("a\0b", 3)), Code::kEINVAL));
}

TEST_F(VfsManagerTest, ADeepTreeIsReleasedWithoutDeepRecursion) {
  auto own = std::make_unique<VfsManager>(ipc, [now = int64_t{0}]() mutable { return ++now; }, Mutation::kNone);
  Inode* at = &own->root();
  for (int level = 0; level < 200000; ++level) {
    ASSERT_TRUE(Ok(own->Mkdir(root, 0, *at, "x", 0755)));
    at = Value(own->Resolve(root, *at, "x", false));
  }
  own.reset();
}

}  // namespace
}  // namespace hotpath::kernel
