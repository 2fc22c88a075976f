#include "hotpath/kernel/vfs_manager.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "hotpath/kernel/devices.h"
#include "hotpath/kernel/try.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kTmpfsMagic = 0x01021994;
constexpr uint64_t kPipefsMagic = 0x50495045;
constexpr uint64_t kSockfsMagic = 0x534f434b;
constexpr uint64_t kAnonMagic = 0x09041934;
constexpr uint64_t kDirectorySize = 4096;  // what ext4 reports; tmpfs counts entries, but users diff against ext4
constexpr Credentials kRootUser;

bool IsRoot(const Credentials& who) { return who.euid == 0; }
bool Owns(const Credentials& who, const Inode& node) { return IsRoot(who) || who.euid == node.uid; }
bool InGroup(const Credentials& who, uint32_t gid) { return IsRoot(who) || who.egid == gid; }

// The bits that a new owner, or new contents from an ordinary user, take away: set-user-id, and set-group-id of a file
// that its group may execute or whose group is not the caller's.
uint32_t PrivilegeBits(const Inode& node, const Credentials& who) {
  if (node.IsDirectory()) return 0;
  uint32_t bits = node.mode & S_ISUID;
  if ((node.mode & S_IXGRP) != 0 || !InGroup(who, node.gid)) bits |= node.mode & S_ISGID;
  return bits;
}

Inode* CrossMounts(Inode* node) {
  while (node->mounted != nullptr) node = node->mounted->root.get();
  return node;
}

// "..": leaves a mounted file system by its mount point; stays at the root of everything and of a detached tree.
Inode* Up(Inode* node) {
  while (node == node->fs.root.get()) {
    if (node->fs.covered == nullptr) return node;
    node = node->fs.covered.get();
  }
  return CrossMounts(node->directory->parent);
}

bool IsAncestorOrSelf(const Inode& ancestor, const Inode* node) {
  for (;; node = node->directory->parent) {
    if (node == &ancestor) return true;
    if (node == node->fs.root.get()) return false;
  }
}

bool IsEmptyDirectory(const Inode& node) { return node.directory->entries.empty() && node.extra_links == 0; }

}  // namespace

// ---- Directory, Inode, Filesystem ----

Inode* Directory::Find(std::string_view entry_name) const {
  const auto it = by_name.find(entry_name);
  return it == by_name.end() ? nullptr : it->second->second.node.get();
}

void Directory::Add(std::string_view entry_name, std::shared_ptr<Inode> node) {
  const auto it = entries.emplace_hint(entries.end(), next_cookie++, Entry{std::string(entry_name), std::move(node)});
  by_name.emplace(it->second.name, it);
}

std::shared_ptr<Inode> Directory::Remove(std::string_view entry_name) {
  const auto it = by_name.find(entry_name);
  const Entries::iterator entry = it->second;
  by_name.erase(it);
  std::shared_ptr<Inode> node = std::move(entry->second.node);
  entries.erase(entry);
  return node;
}

Inode::Inode(Filesystem& filesystem, uint32_t mode_bits, const Credentials& owner)
    : fs(filesystem), ino(++filesystem.last_ino), mode(mode_bits), uid(owner.euid), gid(owner.egid) {
  atime_ns = mtime_ns = ctime_ns = fs.vfs.Now();
  ++fs.vfs.live_inodes_;
}

Inode::~Inode() {
  --fs.vfs.live_inodes_;
  if (directory == nullptr) return;
  // Removed directories may hold each other in a chain as long as the tree was deep: unwind it here, not by recursion.
  std::shared_ptr<Inode> next = std::move(directory->parent_of_removed);
  while (next != nullptr && next.use_count() == 1) {
    std::shared_ptr<Inode> after = std::move(next->directory->parent_of_removed);
    next = std::move(after);
  }
}

Pipe& Inode::OpenPipe() {
  if (pipe == nullptr) pipe = fs.vfs.ipc().NewPipe();
  return *pipe;
}

RecordLocks& Inode::Locks() {
  if (locks == nullptr) locks = std::make_unique<RecordLocks>();
  return *locks;
}

Filesystem::~Filesystem() {
  if (root == nullptr) return;
  // Depth first with a list of our own: a tree may be deeper than the stack.
  std::vector<std::shared_ptr<Inode>> doomed = {std::move(root)};
  while (!doomed.empty()) {
    const std::shared_ptr<Inode> node = std::move(doomed.back());
    doomed.pop_back();
    if (!node->IsDirectory()) continue;
    node->directory->by_name.clear();
    for (auto& [cookie, entry] : node->directory->entries) doomed.push_back(std::move(entry.node));
    node->directory->entries.clear();
  }
}

// ---- Walker ----

// A walk along a path. ToLast() leaves it in front of the last component: `dir` is where that is to be looked up.
class VfsManager::Walker {
 public:
  enum class Last : uint8_t { kName, kDot, kDotDot, kRoot };  // kRoot: the path is nothing but slashes

  Walker(VfsManager& vfs, const Credentials& who, Inode& start, std::string_view path)
      : dir(&start), vfs_(vfs), who_(who), rest_(path) {}

  Result<void> ToLast() {
    if (rest_.starts_with('/')) dir = &vfs_.root();
    for (;;) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of('/'), rest_.size()));
      if (rest_.empty()) {
        last = Last::kRoot;
        trailing = true;
        return {};
      }
      HOTPATH_KERNEL_TRY(Permission(*dir, X_OK, who_));
      name = rest_.substr(0, rest_.find('/'));
      rest_.remove_prefix(name.size());
      last = name == "." ? Last::kDot : name == ".." ? Last::kDotDot : Last::kName;
      if (rest_.find_first_not_of('/') == std::string_view::npos) {
        trailing = !rest_.empty();
        return {};
      }
      Result<Inode*> node = Find();
      if (!node.ok()) return node.error();
      if (*node == nullptr) return Code::kENOENT;
      if ((*node)->IsSymlink()) {
        HOTPATH_KERNEL_TRY(Enter(**node));
        continue;
      }
      if (!(*node)->IsDirectory()) return Code::kENOTDIR;
      dir = *node;
    }
  }

  // What the current component names, mounts crossed; null if there is nothing.
  Result<Inode*> Find() const {
    if (last == Last::kDotDot) return Up(dir);
    if (last != Last::kName) return dir;
    const Result<Inode*> entry = FindEntry();
    return entry.ok() && *entry != nullptr ? CrossMounts(*entry) : entry;
  }

  // The entry called `name` itself, even if something is mounted over it.
  Result<Inode*> FindEntry() const {
    if (dir->directory->removed) return nullptr;
    if (name.size() > abi::kNameMax) return Code::kENAMETOOLONG;
    return dir->directory->Find(name);
  }

  // Goes on into the target of a symbolic link; the rest of the path follows it.
  Result<void> Enter(const Inode& link) {
    if (++links_ > abi::kMaxSymlinks) return Code::kELOOP;
    buffer_ = link.target + std::string(rest_);
    rest_ = buffer_;
    if (rest_.starts_with('/')) dir = &vfs_.root();
    return {};
  }

  Inode* dir;
  Last last = Last::kRoot;
  std::string_view name;  // valid until Enter()
  bool trailing = false;  // slashes follow the last component: it must be a directory

 private:
  VfsManager& vfs_;
  const Credentials& who_;
  std::string buffer_;
  std::string_view rest_;
  int links_ = 0;
};

struct VfsManager::Place {
  Inode* dir;
  std::string name;
};

// ---- VfsManager ----

VfsManager::VfsManager(IpcManager& ipc, std::function<int64_t()> clock_ns, Mutation mutation)
    : ipc_(ipc),
      clock_ns_(std::move(clock_ns)),
      mutation_(mutation),
      root_(std::make_shared<Filesystem>(*this, abi::MakeDev(0, next_dev_++), kTmpfsMagic)),
      pipes_(std::make_shared<Filesystem>(*this, abi::MakeDev(0, next_dev_++), kPipefsMagic)),
      sockets_(std::make_shared<Filesystem>(*this, abi::MakeDev(0, next_dev_++), kSockfsMagic)),
      anonymous_(std::make_shared<Filesystem>(*this, abi::MakeDev(0, next_dev_++), kAnonMagic)),
      memory_(std::make_shared<Filesystem>(*this, abi::MakeDev(0, next_dev_++), kTmpfsMagic)) {
  root_->root = NewInode(*root_, S_IFDIR | 0755, kRootUser);
}

VfsManager::~VfsManager() {
  contexts_.clear();
  // A mount keeps the file system that it covers: take it off first, whatever the order.
  for (const std::shared_ptr<Filesystem>& fs : mounts_) {
    fs->covered->mounted = nullptr;
    fs->covered.reset();
    fs->covered_fs.reset();
  }
}

void VfsManager::CreateContext(Pid task, Inode& cwd, uint32_t umask) {
  contexts_[task] = std::make_shared<Context>(Context{InodeRef(cwd), umask & 0777});
}

void VfsManager::ShareContext(Pid from, Pid to) {
  std::shared_ptr<Context> context = contexts_.at(from);
  contexts_[to] = std::move(context);
}

void VfsManager::CopyContext(Pid from, Pid to) {
  std::shared_ptr<Context> context = std::make_shared<Context>(*contexts_.at(from));
  contexts_[to] = std::move(context);
}

void VfsManager::DropContext(Pid task) { contexts_.erase(task); }

Result<void> VfsManager::CheckPath(std::string_view path) {
  if (path.empty()) return Code::kENOENT;
  if (path.size() >= abi::kPathMax) return Code::kENAMETOOLONG;
  if (path.find('\0') != std::string_view::npos) return Code::kEINVAL;  // cannot be said in C
  return {};
}

Result<void> VfsManager::Permission(const Inode& node, int mask, const Credentials& who) {
  const bool writable_when_read_only = !node.IsDirectory() && !node.IsRegular() && !node.IsSymlink();
  if ((mask & W_OK) != 0 && node.fs.ReadOnly() && !writable_when_read_only) return Code::kEROFS;
  if (IsRoot(who)) {
    if ((mask & X_OK) != 0 && !node.IsDirectory() && (node.mode & 0111) == 0) return Code::kEACCES;
    return {};
  }
  uint32_t granted = node.mode;
  if (who.euid == node.uid) {
    granted >>= 6;
  } else if (who.egid == node.gid) {
    granted >>= 3;
  }
  if ((static_cast<uint32_t>(mask) & ~granted & 7) != 0) return Code::kEACCES;
  return {};
}

Result<Inode*> VfsManager::Resolve(const Credentials& who, Inode& start, std::string_view path, bool follow) {
  HOTPATH_KERNEL_TRY(CheckPath(path));
  Walker walker(*this, who, start, path);
  for (;;) {
    HOTPATH_KERNEL_TRY(walker.ToLast());
    const Result<Inode*> found = walker.Find();
    if (!found.ok()) return found.error();
    Inode* node = *found;
    if (node == nullptr) return Code::kENOENT;
    if (node->IsSymlink() && (follow || walker.trailing)) {
      HOTPATH_KERNEL_TRY(walker.Enter(*node));
      continue;
    }
    if (walker.trailing && !node->IsDirectory()) return Code::kENOTDIR;
    return node;
  }
}

std::string VfsManager::PathOf(const Inode& directory) const {
  std::vector<std::string_view> names;
  const Inode* node = &directory;
  for (;;) {
    while (node == node->fs.root.get() && node->fs.covered != nullptr) node = node->fs.covered.get();
    if (node == node->fs.root.get()) break;
    names.push_back(node->directory->name);
    node = node->directory->parent;
  }
  std::string path = node == root_->root.get() ? "" : "(unreachable)";
  for (auto name = names.rbegin(); name != names.rend(); ++name) path.append("/").append(*name);
  return names.empty() ? path + "/" : path;
}

std::shared_ptr<Inode> VfsManager::NewInode(Filesystem& fs, uint32_t mode, const Credentials& owner) {
  std::shared_ptr<Inode> node = std::make_shared<Inode>(fs, mode, owner);
  switch (node->type()) {
    case S_IFDIR:
      node->directory = std::make_unique<Directory>();
      node->directory->parent = node.get();
      node->nlink = 2;
      break;
    case S_IFREG:
      node->bytes = std::make_unique<SparseBytes>(file_bytes_);
      break;
  }
  return node;
}

std::shared_ptr<Inode> VfsManager::NewInternal(Internal kind, const Credentials& owner) {
  switch (kind) {
    case Internal::kPipe:
      return NewInode(*pipes_, S_IFIFO | 0600, owner);
    case Internal::kSocket:
      return NewInode(*sockets_, S_IFSOCK | 0777, owner);
    case Internal::kAnonymous:
      return NewInode(*anonymous_, 0600, kRootUser);
    case Internal::kMemory: {
      std::shared_ptr<Inode> node = NewInode(*memory_, S_IFREG | 0777, owner);
      node->nlink = 0;
      return node;
    }
  }
  return nullptr;
}

void VfsManager::AddEntry(Inode& dir, std::string_view name, std::shared_ptr<Inode> node) {
  if (node->IsDirectory()) {
    node->directory->parent = &dir;
    node->directory->name = name;
    ++dir.directory->subdirectories;
    ++dir.nlink;
  }
  dir.directory->Add(name, std::move(node));
  dir.mtime_ns = dir.ctime_ns = Now();
}

std::shared_ptr<Inode> VfsManager::RemoveEntry(Inode& dir, std::string_view name) {
  std::shared_ptr<Inode> node = dir.directory->Remove(name);
  if (node->IsDirectory()) {
    --dir.directory->subdirectories;
    --dir.nlink;
  }
  dir.mtime_ns = dir.ctime_ns = Now();
  return node;
}

// `mode` as asked for; the umask is taken off here, after the set-group-id rule has seen the whole.
std::shared_ptr<Inode> VfsManager::CreateIn(Inode& dir, std::string_view name, uint32_t mode, uint32_t umask,
                                            const Credentials& who) {
  std::shared_ptr<Inode> node = NewInode(dir.fs, mode & ~umask, who);
  if ((dir.mode & S_ISGID) != 0) {  // BSD semantics: the group comes from the directory
    node->gid = dir.gid;
    if (node->IsDirectory()) {
      node->mode |= S_ISGID;
    } else if ((mode & S_IXGRP) != 0 && !InGroup(who, dir.gid)) {
      node->mode &= ~static_cast<uint32_t>(S_ISGID);
    }
  }
  AddEntry(dir, name, node);
  return node;
}

// One name of `node` is gone.
void VfsManager::DropName(Inode& node) {
  node.ctime_ns = Now();
  if (!node.IsDirectory()) {
    --node.nlink;
    return;
  }
  node.nlink = 0;
  node.directory->removed = true;
  node.directory->parent_of_removed = node.directory->parent->shared_from_this();
}

Result<void> VfsManager::MayDelete(const Inode& dir, const Inode* victim, bool is_directory, const Credentials& who) {
  if (victim == nullptr) return Code::kENOENT;
  HOTPATH_KERNEL_TRY(Permission(dir, W_OK | X_OK, who));
  if ((dir.mode & S_ISVTX) != 0 && !Owns(who, *victim) && !Owns(who, dir)) return Code::kEPERM;
  if (is_directory && !victim->IsDirectory()) return Code::kENOTDIR;
  if (!is_directory && victim->IsDirectory()) return Code::kEISDIR;
  return {};
}

Result<void> VfsManager::CheckOpenFlags(int flags) {
  if ((flags & abi::kOPath) != 0) return {};
  if ((flags & abi::kOTmpFile) != 0) return (flags & O_DIRECTORY) != 0 ? Code::kEOPNOTSUPP : Code::kEINVAL;
  if ((flags & O_CREAT) != 0 && (flags & O_DIRECTORY) != 0) return Code::kEINVAL;  // Linux 6.4 and newer
  return {};
}

Result<VfsManager::Opened> VfsManager::Open(const Credentials& who, uint32_t umask, Inode& start, std::string_view path,
                                            int flags, uint32_t mode) {
  if ((flags & abi::kOPath) != 0) flags &= abi::kOPath | O_DIRECTORY | O_NOFOLLOW;
  const bool create = (flags & O_CREAT) != 0;
  const bool exclusive = create && (flags & O_EXCL) != 0;
  HOTPATH_KERNEL_TRY(CheckOpenFlags(flags));
  HOTPATH_KERNEL_TRY(CheckPath(path));
  static constexpr std::array<int, 4> kAccess = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};
  const bool writes = (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
  const int want = kAccess[flags & O_ACCMODE] | ((flags & O_TRUNC) != 0 ? W_OK : 0);

  Walker walker(*this, who, start, path);
  Inode* node = nullptr;
  for (;;) {
    HOTPATH_KERNEL_TRY(walker.ToLast());
    const bool by_name = walker.last == Walker::Last::kName;
    if (create && by_name && walker.trailing) return Code::kEISDIR;
    const Result<Inode*> found = walker.Find();
    if (!found.ok()) return found.error();
    node = *found;
    if (node == nullptr) {
      if (!create || walker.dir->directory->removed) return Code::kENOENT;
      if (walker.dir->fs.ReadOnly()) return Code::kEROFS;
      HOTPATH_KERNEL_TRY(Permission(*walker.dir, W_OK | X_OK, who));
      node = CreateIn(*walker.dir, walker.name, S_IFREG | (mode & 07777), umask, who).get();
      return Opened{node, walker.dir, std::string(walker.name)};
    }
    const bool follow = create ? (flags & O_NOFOLLOW) == 0 && !exclusive : (flags & O_NOFOLLOW) == 0 || walker.trailing;
    if (!node->IsSymlink() || !follow) break;
    HOTPATH_KERNEL_TRY(walker.Enter(*node));
  }
  Opened opened{node, walker.dir, std::string(walker.name)};
  if (node->IsDirectory()) opened = {node, node->directory->parent, node->directory->name};
  if (create) {
    if (exclusive) return Code::kEEXIST;
    if (node->IsDirectory()) return Code::kEISDIR;
    // Somebody else's node waits in a directory like /tmp. Regular files and FIFOs would need fs.protected_regular and
    // fs.protected_fifos, which the kernel itself leaves off.
    const Inode& dir = *walker.dir;
    if ((dir.mode & S_ISVTX) != 0 && (dir.mode & S_IWOTH) != 0 && !node->IsRegular() && !node->IsFifo() &&
        node->uid != dir.uid && node->uid != who.euid) {
      return Code::kEACCES;
    }
  }
  if (((flags & O_DIRECTORY) != 0 || walker.trailing) && !node->IsDirectory()) return Code::kENOTDIR;
  if ((flags & abi::kOPath) != 0) return opened;

  const bool truncate = (flags & O_TRUNC) != 0 && node->IsRegular();
  if (truncate && node->fs.ReadOnly()) return Code::kEROFS;
  const bool device = node->type() == S_IFCHR || node->type() == S_IFBLK;
  if (node->IsSymlink()) return Code::kELOOP;
  if (node->IsDirectory() && (want & W_OK) != 0) return Code::kEISDIR;
  if (device && (node->fs.flags & abi::kMsNoDev) != 0) return Code::kEACCES;
  HOTPATH_KERNEL_TRY(Permission(*node, want, who));
  if ((flags & abi::kONoAtime) != 0 && !Owns(who, *node)) return Code::kEPERM;
  if (node->type() == S_IFSOCK) return Code::kENXIO;
  if (device && (node->type() == S_IFBLK || DeviceOf(node->rdev) == Device::kNone)) return Code::kENXIO;
  if (node->IsRegular() && (writes || truncate) && node->write_opens < 0) return Code::kETXTBSY;
  if (truncate && mutation_ != Mutation::kTruncIgnored) Resize(who, *node, 0);
  return opened;
}

// Where a call that makes a name will make it (filename_create of Linux, with its order of errors).
Result<VfsManager::Place> VfsManager::PlaceForNew(const Credentials& who, Inode& start, std::string_view path,
                                                  bool is_directory) {
  HOTPATH_KERNEL_TRY(CheckPath(path));
  Walker walker(*this, who, start, path);
  HOTPATH_KERNEL_TRY(walker.ToLast());
  if (walker.last != Walker::Last::kName) return Code::kEEXIST;
  const Result<Inode*> found = walker.Find();
  if (!found.ok()) return found.error();
  if (*found != nullptr) return Code::kEEXIST;
  if (walker.dir->directory->removed) return Code::kENOENT;
  if (walker.trailing && !is_directory) return Code::kENOENT;
  if (walker.dir->fs.ReadOnly()) return Code::kEROFS;
  return Place{walker.dir, std::string(walker.name)};
}

Result<void> VfsManager::Mkdir(const Credentials& who, uint32_t umask, Inode& start, std::string_view path,
                               uint32_t mode) {
  const Result<Place> place = PlaceForNew(who, start, path, true);
  if (!place.ok()) return place.error();
  HOTPATH_KERNEL_TRY(Permission(*place->dir, W_OK | X_OK, who));
  CreateIn(*place->dir, place->name, S_IFDIR | (mode & 01777), umask, who);
  return {};
}

Result<void> VfsManager::CheckNodeType(uint32_t mode) {
  switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return {};
    case S_IFDIR:
      return Code::kEPERM;
    default:
      return Code::kEINVAL;
  }
}

Result<void> VfsManager::Mknod(const Credentials& who, uint32_t umask, Inode& start, std::string_view path,
                               uint32_t mode, uint64_t dev) {
  HOTPATH_KERNEL_TRY(CheckNodeType(mode));
  const uint32_t type = (mode & S_IFMT) == 0 ? S_IFREG : mode & S_IFMT;
  const Result<Place> place = PlaceForNew(who, start, path, false);
  if (!place.ok()) return place.error();
  HOTPATH_KERNEL_TRY(Permission(*place->dir, W_OK | X_OK, who));
  const bool device = type == S_IFCHR || type == S_IFBLK;
  if (device && !IsRoot(who)) return Code::kEPERM;
  const std::shared_ptr<Inode> node = CreateIn(*place->dir, place->name, type | (mode & 07777), umask, who);
  if (device) node->rdev = dev;
  return {};
}

Result<void> VfsManager::Symlink(const Credentials& who, std::string_view target, Inode& start, std::string_view path) {
  HOTPATH_KERNEL_TRY(CheckPath(target));
  const Result<Place> place = PlaceForNew(who, start, path, false);
  if (!place.ok()) return place.error();
  HOTPATH_KERNEL_TRY(Permission(*place->dir, W_OK | X_OK, who));
  CreateIn(*place->dir, place->name, S_IFLNK | 0777, 0, who)->target = target;
  return {};
}

Result<void> VfsManager::Link(const Credentials& who, Inode& old_node, Inode& start, std::string_view path) {
  const Result<Place> place = PlaceForNew(who, start, path, false);
  if (!place.ok()) return place.error();
  if (&place->dir->fs != &old_node.fs) return Code::kEXDEV;
  HOTPATH_KERNEL_TRY(Permission(*place->dir, W_OK | X_OK, who));
  if (old_node.IsDirectory()) return Code::kEPERM;
  if (old_node.nlink == 0) return Code::kENOENT;
  ++old_node.nlink;
  old_node.ctime_ns = Now();
  AddEntry(*place->dir, place->name, old_node.shared_from_this());
  return {};
}

Result<void> VfsManager::Unlink(const Credentials& who, Inode& start, std::string_view path) {
  HOTPATH_KERNEL_TRY(CheckPath(path));
  Walker walker(*this, who, start, path);
  HOTPATH_KERNEL_TRY(walker.ToLast());
  if (walker.last != Walker::Last::kName) return Code::kEISDIR;
  if (walker.dir->fs.ReadOnly()) return Code::kEROFS;
  const Result<Inode*> found = walker.FindEntry();
  if (!found.ok()) return found.error();
  const Inode* const victim = *found;
  if (walker.trailing) {
    if (victim == nullptr) return Code::kENOENT;
    return victim->IsDirectory() ? Code::kEISDIR : Code::kENOTDIR;
  }
  HOTPATH_KERNEL_TRY(MayDelete(*walker.dir, victim, false, who));
  if (mutation_ == Mutation::kUnlinkKeepsName) return {};
  DropName(*RemoveEntry(*walker.dir, walker.name));
  return {};
}

Result<void> VfsManager::Rmdir(const Credentials& who, Inode& start, std::string_view path) {
  HOTPATH_KERNEL_TRY(CheckPath(path));
  Walker walker(*this, who, start, path);
  HOTPATH_KERNEL_TRY(walker.ToLast());
  switch (walker.last) {
    case Walker::Last::kDotDot:
      return Code::kENOTEMPTY;
    case Walker::Last::kDot:
      return Code::kEINVAL;
    case Walker::Last::kRoot:
      return Code::kEBUSY;
    case Walker::Last::kName:
      break;
  }
  if (walker.dir->fs.ReadOnly()) return Code::kEROFS;
  const Result<Inode*> found = walker.FindEntry();
  if (!found.ok()) return found.error();
  const Inode* const victim = *found;
  HOTPATH_KERNEL_TRY(MayDelete(*walker.dir, victim, true, who));
  if (victim->mounted != nullptr) return Code::kEBUSY;
  if (!IsEmptyDirectory(*victim)) return Code::kENOTEMPTY;
  DropName(*RemoveEntry(*walker.dir, walker.name));
  return {};
}

Result<void> VfsManager::Rename(const Credentials& who, const Result<Inode*>& old_start, std::string_view old_path,
                                const Result<Inode*>& new_start, std::string_view new_path, uint32_t flags) {
  const bool exchange = (flags & abi::kRenameExchange) != 0;
  const bool no_replace = (flags & abi::kRenameNoReplace) != 0;
  if ((flags & ~(abi::kRenameExchange | abi::kRenameNoReplace)) != 0 || (exchange && no_replace)) return Code::kEINVAL;
  if (!old_start.ok()) return old_start.error();
  Walker from(*this, who, **old_start, old_path);
  HOTPATH_KERNEL_TRY(from.ToLast());
  if (!new_start.ok()) return new_start.error();
  Walker to(*this, who, **new_start, new_path);
  HOTPATH_KERNEL_TRY(to.ToLast());
  if (&from.dir->fs != &to.dir->fs) return Code::kEXDEV;
  if (from.last != Walker::Last::kName) return Code::kEBUSY;
  if (to.last != Walker::Last::kName) return no_replace ? Code::kEEXIST : Code::kEBUSY;
  if (from.dir->fs.ReadOnly()) return Code::kEROFS;
  const Result<Inode*> old_entry = from.FindEntry();
  if (!old_entry.ok()) return old_entry.error();
  Inode* const source = *old_entry;
  if (source == nullptr || to.dir->directory->removed) return Code::kENOENT;
  const Result<Inode*> new_entry = to.FindEntry();
  if (!new_entry.ok()) return new_entry.error();
  Inode* const target = *new_entry;
  if (no_replace && target != nullptr) return Code::kEEXIST;
  if (exchange) {
    if (target == nullptr) return Code::kENOENT;
    if (!target->IsDirectory() && to.trailing) return Code::kENOTDIR;
  }
  if (!source->IsDirectory() && (from.trailing || (!exchange && to.trailing))) return Code::kENOTDIR;
  if (source->IsDirectory() && IsAncestorOrSelf(*source, to.dir)) return Code::kEINVAL;
  if (target != nullptr && target->IsDirectory() && IsAncestorOrSelf(*target, from.dir)) {
    return exchange ? Code::kEINVAL : Code::kENOTEMPTY;
  }
  if (source == target) return {};  // two links to one file, or the same name twice: nothing happens
  HOTPATH_KERNEL_TRY(MayDelete(*from.dir, source, source->IsDirectory(), who));
  if (target == nullptr) {
    HOTPATH_KERNEL_TRY(Permission(*to.dir, W_OK | X_OK, who));
  } else {
    HOTPATH_KERNEL_TRY(MayDelete(*to.dir, target, exchange ? target->IsDirectory() : source->IsDirectory(), who));
  }
  if (from.dir != to.dir) {  // ".." will change
    if (source->IsDirectory()) HOTPATH_KERNEL_TRY(Permission(*source, W_OK, who));
    if (exchange && target->IsDirectory()) HOTPATH_KERNEL_TRY(Permission(*target, W_OK, who));
  }
  if (source->mounted != nullptr || (target != nullptr && target->mounted != nullptr)) return Code::kEBUSY;
  if (target != nullptr && !exchange && target->IsDirectory() && !IsEmptyDirectory(*target)) return Code::kENOTEMPTY;

  source->ctime_ns = Now();
  std::shared_ptr<Inode> moved = RemoveEntry(*from.dir, from.name);
  if (target != nullptr) {
    std::shared_ptr<Inode> replaced = RemoveEntry(*to.dir, to.name);
    if (exchange) {
      replaced->ctime_ns = Now();
      AddEntry(*from.dir, from.name, std::move(replaced));
    } else {
      DropName(*replaced);
    }
  }
  if (mutation_ == Mutation::kRenameKeepsSource && !moved->IsDirectory()) {
    ++moved->nlink;
    AddEntry(*from.dir, from.name, moved);
  }
  AddEntry(*to.dir, to.name, std::move(moved));
  return {};
}

Result<std::string> VfsManager::ReadLink(Inode& node, size_t size) {
  if (size == 0 || size > INT32_MAX || !node.IsSymlink()) return Code::kEINVAL;
  return node.target.substr(0, size);
}

Result<void> VfsManager::Access(const Credentials& who, const Inode& node, int mode) {
  if ((mode & X_OK) != 0 && node.IsRegular() && (node.fs.flags & abi::kMsNoExec) != 0) return Code::kEACCES;
  return Permission(node, mode, who);
}

Result<void> VfsManager::Chmod(const Credentials& who, Inode& node, uint32_t mode) {
  if (node.fs.ReadOnly()) return Code::kEROFS;
  if (node.IsSymlink()) return Code::kEOPNOTSUPP;
  if (!Owns(who, node)) return Code::kEPERM;
  mode &= 07777;
  if (!InGroup(who, node.gid)) mode &= ~static_cast<uint32_t>(S_ISGID);
  node.mode = node.type() | mode;
  node.ctime_ns = Now();
  return {};
}

Result<void> VfsManager::Chown(const Credentials& who, Inode& node, uint32_t uid, uint32_t gid) {
  if (node.fs.ReadOnly()) return Code::kEROFS;
  const bool owner = who.euid == node.uid;
  if (uid != UINT32_MAX && !IsRoot(who) && (!owner || uid != node.uid)) return Code::kEPERM;
  if (gid != UINT32_MAX && !IsRoot(who) && (!owner || (gid != node.gid && gid != who.egid))) return Code::kEPERM;
  const uint32_t cleared = PrivilegeBits(node, who);
  if (cleared != 0 && !Owns(who, node)) return Code::kEPERM;
  if (uid != UINT32_MAX) node.uid = uid;
  if (gid != UINT32_MAX) node.gid = gid;
  node.mode &= ~cleared;
  node.ctime_ns = Now();
  return {};
}

Result<void> VfsManager::Utimens(const Credentials& who, Inode& node, int64_t atime_ns, int64_t mtime_ns) {
  if (node.fs.ReadOnly()) return Code::kEROFS;
  if (!Owns(who, node)) {
    if (atime_ns != kUtimeNow || mtime_ns != kUtimeNow) return Code::kEPERM;
    HOTPATH_KERNEL_TRY(Permission(node, W_OK, who));
  }
  const int64_t now = Now();
  if (atime_ns != kUtimeOmit) node.atime_ns = atime_ns == kUtimeNow ? now : atime_ns;
  if (mtime_ns != kUtimeOmit) node.mtime_ns = mtime_ns == kUtimeNow ? now : mtime_ns;
  node.ctime_ns = now;
  return {};
}

Result<void> VfsManager::Truncate(const Credentials& who, Inode& node, int64_t size, uint64_t limit) {
  if (node.IsDirectory()) return Code::kEISDIR;
  if (!node.IsRegular()) return Code::kEINVAL;
  HOTPATH_KERNEL_TRY(Permission(node, W_OK, who));
  if (node.write_opens < 0) return Code::kETXTBSY;
  if (size > node.bytes->size() && static_cast<uint64_t>(size) > limit) return Code::kEFBIG;
  Resize(who, node, size);
  return {};
}

void VfsManager::Resize(const Credentials& who, Inode& node, int64_t size) {
  node.bytes->Resize(size);
  Modified(who, node);
}

void VfsManager::Modified(const Credentials& who, Inode& node) {
  if (!IsRoot(who)) node.mode &= ~PrivilegeBits(node, who);
  node.mtime_ns = node.ctime_ns = Now();
}

Stat VfsManager::StatOf(const Inode& node) {
  Stat stat;
  stat.dev = node.fs.dev;
  stat.ino = node.ino;
  stat.mode = node.mode;
  stat.nlink = node.nlink;
  stat.uid = node.uid;
  stat.gid = node.gid;
  stat.rdev = node.rdev;
  if (node.IsRegular()) {
    stat.size = node.bytes->size();
    stat.blocks = node.bytes->blocks();
  } else if (node.IsDirectory()) {
    stat.size = kDirectorySize;
    stat.blocks = kDirectorySize / 512;
  } else if (node.IsSymlink()) {
    stat.size = static_cast<int64_t>(node.target.size());
  }
  stat.block_size = abi::kPageSize;
  stat.atime_ns = node.atime_ns;
  stat.mtime_ns = node.mtime_ns;
  stat.ctime_ns = node.ctime_ns;
  return stat;
}

StatFs VfsManager::StatFsOf(const Inode& node) {
  StatFs stat;
  stat.type = node.fs.magic;
  // MS_RDONLY, MS_NOSUID, MS_NODEV and MS_NOEXEC are the same bits as ST_*.
  stat.flags = abi::kStValid | abi::kStRelatime | (node.fs.flags & 0xf);
  return stat;
}

Result<void> VfsManager::Chdir(const Credentials& who, Pid task, Inode& node) {
  if (!node.IsDirectory()) return Code::kENOTDIR;
  HOTPATH_KERNEL_TRY(Permission(node, X_OK, who));
  if (mutation_ != Mutation::kChdirLost) contexts_.at(task)->cwd = InodeRef(node);
  return {};
}

Result<std::string> VfsManager::GetCwd(Pid task, size_t size) const {
  const Inode& cwd = *contexts_.at(task)->cwd;
  if (cwd.directory->removed) return Code::kENOENT;
  std::string path = PathOf(cwd);
  if (path.size() + 1 > abi::kPathMax) return Code::kENAMETOOLONG;
  if (path.size() + 1 > size) return Code::kERANGE;
  return path;
}

Result<void> VfsManager::CheckExecutable(const Credentials& who, const Inode& node) {
  if (node.IsSymlink()) return Code::kELOOP;
  if (!node.IsRegular() || (node.fs.flags & abi::kMsNoExec) != 0) return Code::kEACCES;
  HOTPATH_KERNEL_TRY(Permission(node, X_OK, who));
  if (node.write_opens > 0) return Code::kETXTBSY;
  std::array<std::byte, 4> head = {};
  const std::span<std::byte> buffer(head);
  ReadCursor cursor(std::span(&buffer, 1));
  if (node.bytes->Read(0, cursor) == 0) return Code::kENOEXEC;
  static constexpr std::array<std::byte, 4> kElf = {std::byte{0x7f}, std::byte{'E'}, std::byte{'L'}, std::byte{'F'}};
  const bool unknown = head[0] == std::byte{0} && head[1] == std::byte{0};
  const bool script = head[0] == std::byte{'#'} && head[1] == std::byte{'!'};
  if (!unknown && !script && head != kElf) return Code::kENOEXEC;
  return {};
}

Result<void> VfsManager::Mount(const Credentials& who, Inode& target, std::string_view fstype, uint64_t flags) {
  if (!IsRoot(who)) return Code::kEPERM;
  constexpr uint64_t kKept = abi::kMsReadOnly | abi::kMsNoSuid | abi::kMsNoDev | abi::kMsNoExec;
  const bool is_mount_root = &target == target.fs.root.get();
  if ((flags & abi::kMsRemount) != 0) {
    if (!is_mount_root) return Code::kEINVAL;
    if ((flags & abi::kMsReadOnly) != 0 && target.fs.write_opens > 0) return Code::kEBUSY;
    target.fs.flags = flags & kKept;
    return {};
  }
  if ((flags & (abi::kMsBind | abi::kMsMove)) != 0) return Code::kEINVAL;
  if ((flags & (abi::kMsPropagation | abi::kMsShared)) != 0) {  // nothing to propagate to
    if (!is_mount_root) return Code::kEINVAL;
    return {};
  }
  if (fstype.empty()) return Code::kEINVAL;
  if (fstype != "tmpfs") return Code::kENODEV;
  if (!target.IsDirectory()) return Code::kENOTDIR;
  if (target.directory->removed) return Code::kENOENT;
  if (&target == &root()) return Code::kEBUSY;
  const auto fs = std::make_shared<Filesystem>(*this, abi::MakeDev(0, next_dev_++), kTmpfsMagic);
  fs->flags = flags & kKept;
  fs->root = NewInode(*fs, S_IFDIR | 01777, kRootUser);
  fs->covered_fs = target.fs.shared_from_this();
  fs->covered = target.shared_from_this();
  target.mounted = fs.get();
  ++target.fs.submounts;
  mounts_.push_back(fs);
  return {};
}

// Takes a file system and everything mounted below it out of the tree; it lives on for those who are inside.
void VfsManager::Detach(Filesystem& fs) {
  std::vector<Filesystem*> doomed = {&fs};
  for (size_t i = 0; i < doomed.size(); ++i) {
    for (const std::shared_ptr<Filesystem>& other : mounts_) {
      if (other->covered_fs.get() == doomed[i]) doomed.push_back(other.get());
    }
  }
  while (!doomed.empty()) {
    Filesystem* const gone = doomed.back();
    doomed.pop_back();
    gone->covered->mounted = nullptr;
    --gone->covered_fs->submounts;
    gone->covered.reset();
    gone->covered_fs.reset();
    std::erase_if(mounts_, [&](const std::shared_ptr<Filesystem>& other) { return other.get() == gone; });
  }
}

Result<void> VfsManager::Unmount(const Credentials& who, Inode& target, int flags) {
  if (!IsRoot(who)) return Code::kEPERM;
  if (&target != target.fs.root.get()) return Code::kEINVAL;
  if (target.fs.covered == nullptr) return &target == &root() ? Code::kEBUSY : Code::kEINVAL;
  const bool detach = (flags & abi::kUmountDetach) != 0;
  // `mounts_` holds one reference; every other belongs to an open file or a working directory.
  if (!detach && (target.fs.submounts > 0 || target.fs.weak_from_this().use_count() > 1)) return Code::kEBUSY;
  Detach(target.fs);
  return {};
}

Result<void> VfsManager::Seed(std::string_view path, const SeedNode& seed) {
  HOTPATH_KERNEL_TRY(CheckPath(path));
  if (!path.starts_with('/') || (S_ISLNK(seed.mode) && seed.target.empty()) || seed.size < 0) return Code::kEINVAL;
  if (path.find_first_not_of('/') == std::string_view::npos) {  // the root exists: it takes on what is seeded
    if (!S_ISDIR(seed.mode)) return Code::kEEXIST;
    Inode& node = root();
    node.mode = S_IFDIR | (seed.mode & 07777);
    node.uid = seed.uid;
    node.gid = seed.gid;
    node.nlink += seed.extra_links - node.extra_links;
    node.extra_links = seed.extra_links;
    return {};
  }
  for (size_t slash = path.find('/', 1); slash < path.find_last_not_of('/'); slash = path.find('/', slash + 1)) {
    const Result<void> made = Mkdir(kRootUser, 0, root(), path.substr(0, slash), 0755);
    if (!made.ok() && made.error().code != Code::kEEXIST) return made;
  }
  const bool is_directory = S_ISDIR(seed.mode);
  const Result<Place> place = PlaceForNew(kRootUser, root(), path, is_directory);
  if (!place.ok()) return place.error();
  switch (seed.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      break;
    default:
      return Code::kEINVAL;
  }
  Credentials owner;
  owner.euid = seed.uid;
  owner.egid = seed.gid;
  const std::shared_ptr<Inode> node = CreateIn(*place->dir, place->name, seed.mode & (S_IFMT | 07777), 0, owner);
  node->gid = seed.gid;
  node->mode = seed.mode & (S_IFMT | 07777);
  node->rdev = seed.rdev;
  node->target = seed.target;
  node->extra_links = seed.extra_links;
  node->nlink += seed.extra_links;
  if (node->IsRegular()) node->bytes->Resize(seed.size);
  return {};
}

uint64_t VfsManager::NextRandom() {
  // SplitMix64 (Steele, Lea, Flood, 2014): every run of a kernel sees the same bytes.
  uint64_t z = random_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace hotpath::kernel
