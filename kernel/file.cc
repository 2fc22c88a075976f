#include "hotpath/kernel/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hotpath/kernel/devices.h"
#include "hotpath/kernel/try.h"

namespace hotpath::kernel {
namespace {

constexpr int kOnlyWhileOpening = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;
constexpr int64_t kDayNs = int64_t{24} * 3600 * 1000 * 1000 * 1000;

Device DeviceOfInode(const Inode& node) { return node.type() == S_IFCHR ? DeviceOf(node.rdev) : Device::kNone; }

// A record of getdents64(2): ino, off, reclen, type, name and its NUL, rounded up to 8.
size_t RecordLength(size_t name_length) { return (19 + name_length + 1 + 7) & ~size_t{7}; }

uint8_t DirentType(const Inode& node) { return static_cast<uint8_t>(node.type() >> 12); }

}  // namespace

File::File(InodeRef where, int open_flags, Origin origin, std::optional<OpaqueKind> opaque, uint64_t& live)
    : flags(open_flags & ~kOnlyWhileOpening),
      where_(std::move(where)),
      origin_(std::move(origin)),
      opaque_(opaque),
      live_(live) {
  const int access = flags & O_ACCMODE;
  readable_ = !IsPath() && (access == O_RDONLY || access == O_RDWR);
  writable_ = !IsPath() && (access == O_WRONLY || access == O_RDWR);
  if (IsPipe()) {
    Pipe& ends = where_->OpenPipe();
    if (readable_) ends.AddReader();
    if (writable_) ends.AddWriter();
  } else if (writable_ && where_->IsRegular()) {
    ++where_->write_opens;
    ++where_->fs.write_opens;
  }
  ++live_;
}

File::~File() {
  --live_;
  if (where_->locks != nullptr) where_->locks->ReleaseOwner(this);
  if (IsPipe()) {
    Pipe& ends = pipe();
    if (readable_) ends.DropReader();
    if (writable_) ends.DropWriter();
    if (ends.readers() == 0 && ends.writers() == 0) where_->pipe.reset();
  } else if (writable_ && where_->IsRegular()) {
    --where_->write_opens;
    --where_->fs.write_opens;
  }
}

bool File::IsSeekable() const {
  return !IsPipe() && opaque_ != OpaqueKind::kSocket && DeviceOfInode(*where_) != Device::kTty;
}

bool File::NonBlocking() const { return (flags & O_NONBLOCK) != 0; }

// Linux's default, relatime: only if the file changed since it was last read, or a day ago.
void File::TouchAccessTime() {
  if ((flags & abi::kONoAtime) != 0 || where_->fs.ReadOnly()) return;
  const int64_t now = vfs().Now();
  Inode& node = *where_;
  if (node.atime_ns <= node.mtime_ns || node.atime_ns <= node.ctime_ns || now - node.atime_ns >= kDayNs) {
    node.atime_ns = now;
  }
}

Result<size_t> File::Read(ReadCursor& out, const int64_t* at) {
  if (at != nullptr) {
    if (*at < 0) return Code::kEINVAL;
    if (IsPath()) return Code::kEBADF;
    if (!IsSeekable()) return Code::kESPIPE;
  }
  if (!readable_) return Code::kEBADF;
  const int64_t from = at != nullptr ? *at : offset;
  if (out.left() > static_cast<uint64_t>(abi::kMaxFileSize - from)) return Code::kEINVAL;  // the end would overflow
  if (opaque_.has_value() && !where_->IsRegular()) return Code::kENOSYS;
  if (where_->IsDirectory()) return Code::kEISDIR;
  if (IsPipe()) return pipe().Read(out);
  switch (DeviceOfInode(*where_)) {
    case Device::kNull:
      return size_t{0};
    case Device::kTty:
      return Code::kEIO;
    case Device::kZero:
    case Device::kFull: {
      const size_t count = out.left();
      PutZeros(out, count);
      return count;
    }
    case Device::kRandom: {
      const size_t count = out.left();
      while (out.left() > 0) {
        const uint64_t word = vfs().NextRandom();
        std::array<std::byte, sizeof(word)> bytes;
        std::memcpy(bytes.data(), &word, sizeof(word));
        PutBytes(out, bytes.data(), std::min(out.left(), bytes.size()));
      }
      return count;
    }
    case Device::kNone:
      break;
  }
  if (out.left() == 0) return size_t{0};
  const size_t count = where_->bytes->Read(from, out);
  if (at == nullptr || vfs().mutation() == Mutation::kPreadMovesOffset) offset = from + static_cast<int64_t>(count);
  TouchAccessTime();
  return count;
}

Result<size_t> File::Write(const Credentials& who, WriteCursor& in, const int64_t* at, uint64_t limit) {
  if (at != nullptr) {
    if (*at < 0) return Code::kEINVAL;
    if (IsPath()) return Code::kEBADF;
    if (!IsSeekable()) return Code::kESPIPE;
  }
  if (!writable_) return Code::kEBADF;
  int64_t to = at != nullptr ? *at : offset;
  if (in.left() > static_cast<uint64_t>(abi::kMaxFileSize - to)) return Code::kEINVAL;
  if (opaque_.has_value() && !where_->IsRegular()) return Code::kENOSYS;
  if (IsPipe()) return pipe().Write(in, (flags & abi::kODirect) != 0);
  const Device device = DeviceOfInode(*where_);
  if (device == Device::kFull) return Code::kENOSPC;
  if (device != Device::kNone) {
    const size_t count = in.left();
    in.Advance(count, [](const std::byte*, size_t) {});
    return count;
  }
  if (in.left() == 0) return size_t{0};
  SparseBytes& bytes = *where_->bytes;
  if ((flags & O_APPEND) != 0 && vfs().mutation() != Mutation::kAppendIgnored) to = bytes.size();
  const uint64_t room_below = std::min<uint64_t>(limit, abi::kMaxFileSize);
  if (static_cast<uint64_t>(to) >= room_below) return Code::kEFBIG;
  size_t count = std::min<uint64_t>(in.left(), room_below - static_cast<uint64_t>(to));
  if (count < in.left()) {
    // Rare: a limit cuts the write short. Hand the cursor over piece by piece.
    const size_t total = count;
    int64_t position = to;
    in.Advance(count, [&](const std::byte* from, size_t part) {
      const std::span<const std::byte> piece(from, part);
      WriteCursor cursor(std::span(&piece, 1));
      bytes.Write(position, cursor);
      position += static_cast<int64_t>(part);
    });
    count = total;
  } else {
    bytes.Write(to, in);
  }
  if (at == nullptr) offset = to + static_cast<int64_t>(count);
  vfs().Modified(who, *where_);
  return count;
}

Result<int64_t> File::Seek(int64_t to, int whence) {
  if (IsPath()) return Code::kEBADF;
  if (whence < 0 || whence > abi::kSeekHole) return Code::kEINVAL;
  if (!IsSeekable()) return Code::kESPIPE;
  const Device device = DeviceOfInode(*where_);
  if (device == Device::kNull || device == Device::kZero || device == Device::kFull) return offset = 0;
  if (device != Device::kNone || !(where_->IsRegular() || where_->IsDirectory())) return offset;
  const bool regular = where_->IsRegular();
  if (!regular && whence != SEEK_SET && whence != SEEK_CUR) return Code::kEINVAL;
  switch (whence) {
    case abi::kSeekData:
    case abi::kSeekHole: {
      if (to < 0) return Code::kENXIO;
      const std::optional<int64_t> found =
          whence == abi::kSeekData ? where_->bytes->NextData(to) : where_->bytes->NextHole(to);
      if (!found.has_value()) return Code::kENXIO;
      return offset = *found;
    }
    case SEEK_CUR:
      if (to > abi::kMaxFileSize - offset) return Code::kEINVAL;
      to += offset;
      break;
    case SEEK_END:
      if (to > abi::kMaxFileSize - where_->bytes->size()) return Code::kEINVAL;
      to += where_->bytes->size();
      break;
  }
  if (to < 0) return Code::kEINVAL;
  return offset = to;
}

Result<void> File::Truncate(const Credentials& who, int64_t size, uint64_t limit) {
  if (size < 0) return Code::kEINVAL;
  if (IsPath()) return Code::kEBADF;
  if (!where_->IsRegular() || !writable_) return Code::kEINVAL;
  if (size > where_->bytes->size() && static_cast<uint64_t>(size) > limit) return Code::kEFBIG;
  vfs().Resize(who, *where_, size);
  return {};
}

Result<void> File::Allocate(const Credentials& who, int mode, int64_t from, int64_t length, uint64_t limit) {
  if (IsPath()) return Code::kEBADF;
  if (from < 0 || length <= 0) return Code::kEINVAL;
  const bool keep_size = (mode & abi::kFallocKeepSize) != 0;
  const int what = mode & ~abi::kFallocKeepSize;  // one thing at a time
  switch (what) {
    case 0:
    case abi::kFallocUnshare:
    case abi::kFallocZero:
      break;
    case abi::kFallocPunchHole:
      if (!keep_size) return Code::kEOPNOTSUPP;
      break;
    case abi::kFallocCollapse:
    case abi::kFallocInsert:
      if (keep_size) return Code::kEOPNOTSUPP;
      break;
    default:
      return Code::kEOPNOTSUPP;
  }
  if (!writable_) return Code::kEBADF;
  if (where_->IsFifo()) return Code::kESPIPE;
  if (where_->IsDirectory()) return Code::kEISDIR;
  if (!where_->IsRegular()) return Code::kENODEV;
  if (length > abi::kMaxFileSize - from) return Code::kEFBIG;
  if (what != 0 && what != abi::kFallocPunchHole) return Code::kEOPNOTSUPP;  // tmpfs does not either
  SparseBytes& bytes = *where_->bytes;
  if (what == abi::kFallocPunchHole) {
    bytes.Punch(from, length);
  } else {
    const bool grows = !keep_size && from + length > bytes.size();
    if (grows && static_cast<uint64_t>(from + length) > limit) return Code::kEFBIG;
    bytes.Reserve(from, length);
    if (grows) bytes.Resize(from + length);
  }
  vfs().Modified(who, *where_);
  return {};
}

Result<void> File::Sync() const {
  if (IsPath()) return Code::kEBADF;
  if (!where_->IsRegular() && !where_->IsDirectory()) return Code::kEINVAL;
  return {};
}

Result<void> File::Advise(int64_t length, int advice) const {
  if (IsPath()) return Code::kEBADF;
  if (where_->IsFifo()) return Code::kESPIPE;
  if (length < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE) return Code::kEINVAL;
  return {};
}

Result<std::vector<Dirent>> File::GetDents(size_t buffer_size) {
  if (IsPath()) return Code::kEBADF;
  if (!where_->IsDirectory()) return Code::kENOTDIR;
  const Directory& directory = *where_->directory;
  if (directory.removed) return Code::kENOENT;
  std::vector<Dirent> out;
  size_t used = 0;
  const auto put = [&](const Inode& node, std::string_view name) {
    const size_t length = RecordLength(name.size());
    if (used + length > buffer_size) return false;
    used += length;
    out.push_back({.ino = node.ino, .type = DirentType(node), .name = std::string(name)});
    return true;
  };
  bool full = false;
  for (; offset < 2; ++offset) {
    if (!put(offset == 0 ? *where_ : *directory.parent, offset == 0 ? "." : "..")) {
      full = true;
      break;
    }
  }
  if (!full) {
    for (auto it = directory.entries.lower_bound(static_cast<uint64_t>(offset)); it != directory.entries.end(); ++it) {
      if (!put(*it->second.node, it->second.name)) {
        full = true;
        break;
      }
      offset = static_cast<int64_t>(it->first) + 1;
    }
  }
  if (full && out.empty()) return Code::kEINVAL;  // not even one record fits
  TouchAccessTime();
  return out;
}

int16_t File::PollMask() const {
  if (opaque_.has_value() && !where_->IsRegular()) return 0;
  if (IsPipe()) {
    int16_t mask = 0;
    if (readable_) {
      if (!pipe().empty()) mask |= POLLIN | POLLRDNORM;
      if (!pipe().HasWriter() && pipe().writer_opens() != quiet_until_writer_opens) mask |= POLLHUP;
    }
    if (writable_) {
      if (pipe().HasRoom()) mask |= POLLOUT | POLLWRNORM;
      if (!pipe().HasReader()) mask |= POLLERR;
    }
    return mask;
  }
  if (DeviceOfInode(*where_) == Device::kTty) return POLLOUT | POLLWRNORM;
  return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

std::shared_ptr<File> File::CopyWithOwnOffset() const {
  auto copy = std::make_shared<File>(where_, flags, origin_, opaque_, live_);
  copy->offset = offset;
  return copy;
}

std::string File::Describe() const {
  static constexpr std::array<const char*, 8> kOpaqueNames = {"socket",   "epoll",   "eventfd", "timerfd",
                                                              "signalfd", "inotify", "memfd",   "pidfd"};
  std::string what;
  if (opaque_.has_value()) {
    what = absl::StrCat(kOpaqueNames[static_cast<size_t>(*opaque_)], ":[", where_->ino, "]");
  } else if (where_->IsDirectory()) {
    what = vfs().PathOf(*where_);
    if (where_->directory->removed) what = absl::StrCat(where_->directory->name, " (deleted)");
  } else if (origin_.parent) {
    const Inode& parent = *origin_.parent;
    what = parent.directory->removed ? "..." : vfs().PathOf(parent);
    absl::StrAppend(&what, what.ends_with('/') ? "" : "/", origin_.name);
    if (parent.directory->Find(origin_.name) != where_.inode.get()) what += " (deleted)";
  } else {
    what = absl::StrCat("pipe:[", where_->ino, "]");
  }
  static constexpr std::array<const char*, 4> kAccessNames = {"r", "w", "rw", "-"};
  return absl::StrFormat("%s %s flags=0%o offset=%d", what, kAccessNames[flags & O_ACCMODE], flags, offset);
}

}  // namespace hotpath::kernel
