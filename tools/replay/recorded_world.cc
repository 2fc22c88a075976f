#include "tools/replay/recorded_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace hotpath::replay {
namespace {

constexpr int64_t kPage = 4096;
constexpr uint32_t kSearchDenied = 8;  // in Inode::denied, beside the permissions that were asked for

struct KnownDevice {
  absl::string_view path;
  unsigned major_number, minor_number;
};
// So that they are devices even where strace did not say so.
constexpr KnownDevice kKnownDevices[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                                         {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};

bool IsUnder(absl::string_view path, absl::string_view top) {
  return path == top || (absl::StartsWith(path, top) && path.size() > top.size() && path[top.size()] == '/');
}

// Drops "." and "x/.." without looking at links: only to tell which file system a path is about.
std::string Lexical(absl::string_view path) {
  std::vector<std::string> out;
  for (std::string& part : Components(path)) {
    if (part != "..") {
      out.push_back(std::move(part));
    } else if (!out.empty()) {
      out.pop_back();
    }
  }
  return absl::StrCat("/", absl::StrJoin(out, "/"));
}

}  // namespace

bool IsSynthetic(absl::string_view path) {
  if (path == "/dev/null" || path == "/dev/zero" || path == "/dev/full" || IsUnder(path, "/dev/shm")) return false;
  return IsUnder(path, "/proc") || IsUnder(path, "/sys") || IsUnder(path, "/dev");
}

RecordedWorld::RecordedWorld(const Trace& trace, WorldKnowledge& knowledge)
    : trace_(trace), knowledge_(knowledge), tree_(knowledge.files), notes_(trace.records.size()) {}

RecordedWorld::~RecordedWorld() = default;

// ---- Memory ----

void RecordedWorld::Memory::Remove(uint64_t start, uint64_t end) {
  auto it = mapped.upper_bound(start);
  if (it != mapped.begin()) --it;
  while (it != mapped.end() && it->first < end) {
    const auto [first, last] = *it;
    if (last <= start) {
      ++it;
      continue;
    }
    it = mapped.erase(it);
    if (first < start) mapped[first] = start;
    if (last > end) mapped[end] = last;
  }
}

void RecordedWorld::Memory::Add(uint64_t start, uint64_t end) {
  if (start >= end) return;
  Remove(start, end);
  mapped[start] = end;
}

std::vector<std::pair<uint64_t, uint64_t>> RecordedWorld::Memory::Gaps(uint64_t start, uint64_t end) const {
  std::vector<std::pair<uint64_t, uint64_t>> gaps;
  auto it = mapped.upper_bound(start);
  if (it != mapped.begin()) --it;
  for (; it != mapped.end() && it->first < end && start < end; ++it) {
    if (it->second <= start) continue;
    if (it->first > start) gaps.emplace_back(start, it->first);
    start = std::max(start, it->second);
  }
  if (start < end) gaps.emplace_back(start, end);
  return gaps;
}

// ---- Tasks ----

RecordedWorld::Task& RecordedWorld::TaskOf(int32_t pid) {
  auto it = tasks_.find(pid);
  return it == tasks_.end() ? AddRoot(pid) : it->second;
}

RecordedWorld::Task& RecordedWorld::AddRoot(int32_t pid) {
  Task t;
  t.pid = pid;
  t.fds = std::make_shared<FdTable>();
  t.files = std::make_shared<FileContext>();
  t.memory = std::make_shared<Memory>();
  t.process = std::make_shared<Process>();
  t.process->root = pid;
  t.memory->image = std::make_shared<ImageState>();
  root_images_[pid] = t.memory->image;
  roots_[pid].pid = pid;
  root_order_.push_back(pid);
  std::string cwd = "/";
  if (auto it = knowledge_.cwd.find(pid); it != knowledge_.cwd.end()) cwd = it->second;
  t.files->cwd = tree_.Exists(tree_.root(), cwd, /*follow=*/true, S_IFDIR, cwd);
  if (t.files->cwd == nullptr) t.files->cwd = tree_.root();
  roots_[pid].cwd = cwd;
  tree_.Exists(tree_.root(), "/dev/null", /*follow=*/true, S_IFCHR);  // what descriptors nobody describes lead to
  std::set<int> open = {0, 1, 2};
  open.insert(knowledge_.inherited[pid].begin(), knowledge_.inherited[pid].end());
  for (int fd : knowledge_.not_open[pid]) open.erase(fd);
  for (int fd : open) {
    auto file = std::make_shared<OpenFile>();
    file->text = "inherited";
    file->inherited = true;
    root_files_[pid][fd] = file;
    t.fds->slots[fd] = {file};
  }
  return tasks_[pid] = std::move(t);
}

absl::Status RecordedWorld::Apply(const Step& step) {
  const Record& r = trace_.records[step.record];
  if (r.kind == Record::Kind::kExited || r.kind == Record::Kind::kKilled) tasks_.erase(r.pid);
  if (r.kind != Record::Kind::kCall || step.phase == Step::Phase::kReturn) return absl::OkStatus();
  if (r.outcome == Record::Outcome::kNeverReturned || r.err == EFAULT) {  // it did nothing, and may show no arguments
    TaskOf(r.pid);
    return absl::OkStatus();
  }
  Task& t = TaskOf(r.pid);
  if (step.phase == Step::Phase::kReserve) {
    if (r.err == 0) t.fds->reserved.insert(static_cast<int>(r.result));
    return absl::OkStatus();
  }
  auto it = Handlers().find(r.name);
  if (it == Handlers().end()) return absl::OkStatus();
  current_ = step.record;
  const size_t facts = facts_ + tree_.discoveries();
  Fields f(trace_, r);
  (this->*it->second)(f, t);
  notes_[current_].first_touch = facts_ + tree_.discoveries() != facts;
  return f.status();
}

// ---- Descriptors ----

void RecordedWorld::Allocate(Task& t, Fields& f, int64_t fd64, int minimum, bool cloexec,
                             std::shared_ptr<OpenFile> file) {
  const int fd = static_cast<int>(fd64);
  if (file->text.empty()) file->text = f.ResultNote().text;
  FdTable& table = *t.fds;
  for (int k = minimum; k < fd; ++k) {
    if (table.slots.contains(k) || table.reserved.contains(k) || table.closed.contains(k)) continue;
    if (knowledge_.not_open[t.process->root].contains(k)) continue;
    // The recorded kernel skipped a number that nobody had mentioned: it was open all along.
    if (knowledge_.inherited[t.process->root].insert(k).second) knowledge_.grew = true;
    ++facts_;
  }
  if (auto it = table.slots.find(fd); it != table.slots.end()) CannotBeOpen(t, fd, it->second);
  table.slots[fd] = {std::move(file), cloexec, f.record().line};
}

// A call shows that `fd` was free: so it was not inherited after all, if nobody has used it.
bool RecordedWorld::CannotBeOpen(Task& t, int fd, const Slot& slot) {
  if (slot.line != 0 || slot.used) return false;
  if (knowledge_.not_open[t.process->root].insert(fd).second) knowledge_.grew = true;
  ++facts_;
  return true;
}

void RecordedWorld::Drop(Task& t, int fd, const Record& by) {
  auto it = t.fds->slots.find(fd);
  if (it == t.fds->slots.end()) return;
  const std::string how = by.name == "close" ? "" : absl::StrCat(", by ", by.name);
  t.fds->closed[fd] = {by.line, absl::StrCat(it->second.file->text, how)};
  t.fds->slots.erase(it);
}

std::shared_ptr<RecordedWorld::OpenFile> RecordedWorld::Inherited(Task& t, int fd) {
  if (t.fds->closed.contains(fd) || knowledge_.not_open[t.process->root].contains(fd)) {
    // Not from before the trace: made by a call that nobody here knows.
    std::shared_ptr<OpenFile> made = AnonymousFile({}, "descriptor of unknown origin");
    made->anonymous = true;
    t.fds->slots[fd] = {made, false, trace_.records[current_].line};
    return made;
  }
  std::shared_ptr<OpenFile>& file = root_files_[t.process->root][fd];
  if (file == nullptr) {
    file = std::make_shared<OpenFile>();
    file->text = "inherited";
    file->inherited = true;
  }
  if (knowledge_.inherited[t.process->root].insert(fd).second) knowledge_.grew = true;
  t.fds->slots[fd] = {file};
  ++facts_;
  return file;
}

std::shared_ptr<RecordedWorld::OpenFile> RecordedWorld::Use(Fields& f, Task& t, size_t argument) {
  return UseNumber(f, t, f.Fd(argument), f.Note(argument));
}

std::shared_ptr<RecordedWorld::OpenFile> RecordedWorld::UseNumber(Fields& f, Task& t, int fd, const FdNote& note) {
  if (fd < 0) return nullptr;
  auto it = t.fds->slots.find(fd);
  if (f.record().err == EBADF) {
    const std::string& call = f.record().name;
    const bool says_closed = call == "close" || call == "fcntl" || call == "fstat" || call == "newfstatat";
    if (says_closed && it != t.fds->slots.end() && CannotBeOpen(t, fd, it->second)) t.fds->slots.erase(it);
    return nullptr;
  }
  std::shared_ptr<OpenFile> file = it == t.fds->slots.end() ? Inherited(t, fd) : it->second.file;
  t.fds->slots[fd].used = true;
  if (note.present && file->text == "inherited") {  // the first annotation tells what an inherited descriptor is
    file->text = note.text;
    ++facts_;
    if (!note.path.empty() && !note.deleted) {
      file->inode = tree_.Exists(tree_.root(), note.path, true, note.rdev ? S_IFCHR : 0, note.path);
      file->synthetic = IsSynthetic(note.path);
      if (file->inode != nullptr && note.rdev) {
        ShownStat stat;
        stat.rdev = note.rdev;
        tree_.ShowStat(file->inode, stat);
      }
    } else if (note.is_pipe) {
      file->pipe = true;
      file->offset.reset();
    } else if (note.path.empty()) {
      file->socket = true;
      file->offset.reset();
    }
  }
  MarkUse(*file);
  return file;
}

void RecordedWorld::MarkSynthetic() { notes_[current_].synthetic = true; }

void RecordedWorld::MarkUse(const OpenFile& file) {
  InitialState::Note& note = notes_[current_];
  note.pipe |= file.pipe;
  note.external |= file.pipe && file.inherited;
  note.opaque |= file.socket || file.anonymous;
}

std::shared_ptr<RecordedWorld::OpenFile> RecordedWorld::AnonymousFile(const FdNote& note, absl::string_view kind) {
  auto file = std::make_shared<OpenFile>();
  file->text = note.present ? note.text : std::string(kind);
  file->offset.reset();
  return file;
}

std::string RecordedWorld::DescribeFd(int32_t pid, int fd) const {
  auto it = tasks_.find(pid);
  if (it == tasks_.end()) return "in no task";
  const FdTable& table = *it->second.fds;
  if (auto slot = table.slots.find(fd); slot != table.slots.end()) {
    const std::string what = slot->second.file->text;
    if (slot->second.line == 0) return absl::StrCat("open since before the trace (", what, ")");
    return absl::StrCat("open since line ", slot->second.line, " (", what, ")");
  }
  if (table.reserved.contains(fd)) return "reserved by a blocked accept";
  if (auto gone = table.closed.find(fd); gone != table.closed.end()) {
    return absl::StrCat("closed at line ", gone->second.first, " (", gone->second.second, ")");
  }
  return "never open";
}

// ---- Paths ----

Inode* RecordedWorld::Base(Fields& f, Task& t, int dirfd_argument) {
  if (dirfd_argument < 0) return t.files->cwd;
  const size_t argument = static_cast<size_t>(dirfd_argument);
  if (f.IntOr(argument, AT_FDCWD) == AT_FDCWD) return t.files->cwd;
  std::shared_ptr<OpenFile> file = Use(f, t, argument);
  return file == nullptr || file->inode == nullptr ? t.files->cwd : file->inode;
}

std::string RecordedWorld::Spell(Fields& f, Task& t, int dirfd_argument, const std::string& path) {
  if (absl::StartsWith(path, "/")) return Lexical(path);
  return Lexical(JoinPath(tree_.CurrentPath(Base(f, t, dirfd_argument)), path));
}

// readlink of an unshown target is followed by a call on that target: the one path that has the right length.
void RecordedWorld::SeePath(Task& t, const std::string& path) {
  if (t.pending_link.empty() || !absl::StartsWith(path, "/")) return;
  const std::string link = std::move(t.pending_link);
  t.pending_link.clear();
  const std::string directory = link.substr(0, link.rfind('/') + 1);
  std::string target;
  if (static_cast<int64_t>(path.size()) == t.pending_length) {
    target = path;
  } else if (absl::StartsWith(path, directory) &&
             static_cast<int64_t>(path.size() - directory.size()) == t.pending_length) {
    target = path.substr(directory.size());
  }
  if (target.empty()) return;
  if (knowledge_.files.links.emplace(link, target).second) knowledge_.files.grew = true;
}

Inode* RecordedWorld::Touch(Fields& f, Task& t, int dirfd_argument, size_t path_argument, bool follow, uint32_t format,
                            uint32_t wanted) {
  const std::string& path = f.Path(path_argument);
  if (!f.ok()) return nullptr;
  Inode* base = Base(f, t, dirfd_argument);
  SeePath(t, path);
  if (IsSynthetic(Spell(f, t, dirfd_argument, path))) MarkSynthetic();
  if (f.record().err != 0) {
    Failed(f, t, base, path, follow, wanted);
    return nullptr;
  }
  absl::string_view number = path;
  int fd = -1;
  if (follow && absl::ConsumePrefix(&number, "/proc/self/fd/") && absl::SimpleAtoi(number, &fd)) {
    auto slot = t.fds->slots.find(fd);
    if (slot == t.fds->slots.end() || slot->second.file->inode == nullptr) return nullptr;
    notes_[current_].stands_for = tree_.CurrentPath(slot->second.file->inode);
    return slot->second.file->inode;
  }
  Inode* inode = tree_.Exists(base, path, follow, format);
  Allowed(t, inode, wanted);
  if (inode != nullptr && IsSynthetic(tree_.CurrentPath(inode))) MarkSynthetic();
  return inode;
}

void RecordedWorld::Failed(Fields& f, Task& t, Inode* base, const std::string& path, bool follow, uint32_t wanted) {
  switch (f.record().err) {
    case ENOENT:
      tree_.Absent(base, path, follow);
      Allowed(t, tree_.Find(base, path, follow).directory, 1);
      break;
    case ENOTDIR: {  // something before the last slash is a file
      const absl::string_view whole = path;
      const size_t slash = whole.rfind('/');
      if (slash == absl::string_view::npos || slash == 0) break;
      if (slash + 1 == whole.size() || tree_.Find(base, path, follow).directory == nullptr) {
        tree_.Exists(base, whole.substr(0, slash), true, S_IFREG);
      }
      break;
    }
    case EISDIR:
      Allowed(t, tree_.Exists(base, path, follow, S_IFDIR), 0);
      break;
    case ELOOP:
      if (!follow) tree_.Exists(base, path, false, S_IFLNK);
      break;
    case EACCES:
      if (Inode* inode = tree_.Exists(base, path, follow, 0); inode != nullptr && IsUnprivileged(t)) {
        inode->denied |= wanted | kSearchDenied;
      }
      break;
    case EEXIST:
    case EINVAL:
    case EPERM:
    case EROFS:
    case ETXTBSY:
    case EBUSY:
    case ENXIO:
    case ENODATA:
    case EOPNOTSUPP:
      Allowed(t, tree_.Exists(base, path, follow, 0), 0);
      break;
    case ENOTEMPTY:
      tree_.Exists(base, path, false, S_IFDIR);
      if (Inode* directory = tree_.Find(base, path, false).inode; directory != nullptr && directory->original) {
        const bool has_entry = std::any_of(directory->entries.begin(), directory->entries.end(),
                                           [](const auto& entry) { return entry.second != nullptr; });
        if (!has_entry && !directory->complete) tree_.Exists(directory, "~unseen", false, S_IFREG);
      }
      break;
    default:
      break;
  }
}

bool RecordedWorld::IsUnprivileged(const Task& t) const {
  auto it = knowledge_.euid.find(t.process->root);
  return it != knowledge_.euid.end() && it->second != 0 && !t.process->credentials_changed;
}

void RecordedWorld::Allowed(const Task& t, Inode* inode, uint32_t bits) {
  if (inode == nullptr || !IsUnprivileged(t)) return;
  inode->needed |= bits;
  for (Inode* above = inode; above != tree_.root() && above->parent != nullptr; above = above->parent) {
    above->parent->needed |= 1;
  }
}

void RecordedWorld::Owned(const Task& t, Inode* inode) {
  if (inode != nullptr && IsUnprivileged(t)) inode->owned = true;
}

// Where the owner or the permissions were not shown, what an unprivileged user was allowed or refused tells.
void RecordedWorld::InferPermissions() {
  const auto user =
      std::find_if(knowledge_.euid.begin(), knowledge_.euid.end(), [](const auto& entry) { return entry.second != 0; });
  if (user == knowledge_.euid.end()) return;
  for (const auto& inode : tree_.inodes()) {
    if (!inode->original || inode->denied == 0) continue;
    std::vector<Inode*> above;
    for (Inode* at = inode.get(); at != tree_.root() && at->parent != nullptr; at = at->parent) {
      above.insert(above.begin(), at->parent);
    }
    auto closed = std::find_if(above.begin(), above.end(), [](const Inode* d) { return !(d->needed & 1); });
    if (closed != above.end()) {
      if (!(*closed)->permissions) (*closed)->permissions = 0700;
    } else if (!inode->permissions && !(inode->needed & inode->denied)) {
      inode->permissions = 0644 & ~(inode->denied & 7);
    }
  }
  for (const auto& inode : tree_.inodes()) {
    if (!inode->original || inode->uid) continue;
    const uint32_t others = inode->permissions.value_or(inode->IsDirectory() || inode->executed ? 0755 : 0644) & 7;
    if (!inode->owned && (inode->needed & ~others) == 0) continue;
    inode->uid = user->second;
    inode->gid = roots_[user->first].credentials.egid;
  }
}

uint32_t RecordedWorld::UmaskOf(Task& t) {
  if (t.files->umask) return *t.files->umask;
  auto it = knowledge_.umask.find(t.process->root);
  return it == knowledge_.umask.end() ? 022 : it->second;
}

Inode* RecordedWorld::MakeFile(Fields& f, Task& t, int dirfd_argument, size_t path_argument, uint32_t format,
                               uint32_t mode) {
  const std::string& path = f.Path(path_argument);
  if (!f.ok()) return nullptr;
  Inode* base = Base(f, t, dirfd_argument);
  if (f.record().err == ENOENT) {
    tree_.Absent(base, absl::string_view(path).substr(0, path.find_last_of('/') + 1), true);
  } else if (f.record().err != 0) {
    Failed(f, t, base, path, false);
  } else {
    const FileTree::Place place = tree_.Reach(base, path, false);
    Changed(t, place.directory);
    return tree_.Create(place, format, mode);
  }
  return nullptr;
}

void RecordedWorld::DidRead(OpenFile& file, std::optional<int64_t> at, int64_t wanted, int64_t got) {
  file.was_read = true;
  if (file.inode == nullptr || file.synthetic || !at) return;
  if (file.inode->format != 0 && !S_ISREG(file.inode->format)) return;
  if (got > 0) tree_.ShowAtLeast(file.inode, *at + got);
  // A short read ends at the end of the file, and so does reading nothing right after the last byte.
  if (got < wanted && (got > 0 || *at <= file.inode->least_size)) tree_.ShowSize(file.inode, *at + got);
}

void RecordedWorld::DidWrite(OpenFile& file, std::optional<int64_t> at, int64_t wrote) {
  file.was_written = true;
  if (file.inode == nullptr || wrote <= 0) return;
  if (file.flags & O_APPEND) at.reset();
  tree_.Wrote(file.inode, at.value_or(-1), at.value_or(0) + wrote);
}

// ---- What it must have been like ----

void RecordedWorld::Finish(InitialState& state) {
  std::set<const Inode*> unexplained;
  tree_.InventEntries(unexplained);
  InferPermissions();
  std::map<const Inode*, int64_t> subdirectories;
  for (const auto& inode : tree_.inodes()) {
    if (inode->originals.empty()) continue;
    const std::string path = tree_.OriginalPath(inode.get());
    for (const KnownDevice& device : kKnownDevices) {
      if (path != device.path) continue;
      inode->format = S_IFCHR;
      if (!inode->rdev) inode->rdev = makedev(device.major_number, device.minor_number);
    }
    if (inode->format == 0) {
      const bool inside = std::any_of(inode->entries.begin(), inode->entries.end(),
                                      [](const auto& entry) { return entry.second != nullptr; });
      inode->format = inside ? S_IFDIR : S_IFREG;
    }
    if (inode->IsDirectory()) ++subdirectories[inode->originals[0].first];
  }
  for (const auto& inode : tree_.inodes()) {
    const std::string path = tree_.OriginalPath(inode.get());
    if (path.empty() || !inode->original) continue;
    InitialState::File file;
    file.path = path;
    kernel::SeedNode& node = file.node;
    uint32_t permissions = 0644;
    if (inode->IsDirectory()) permissions = path == "/tmp" ? 01777 : 0755;
    if (inode->IsLink()) permissions = 0777;
    if (S_ISREG(inode->format) && inode->executed) permissions = 0755;
    if (S_ISCHR(inode->format)) permissions = 0666;
    node.mode = inode->format | inode->permissions.value_or(permissions);
    node.uid = inode->uid.value_or(0);
    node.gid = inode->gid.value_or(0);
    node.rdev = inode->rdev.value_or(0);
    if (S_ISREG(inode->format)) {
      node.size = inode->size.value_or(inode->least_size);
      if (!inode->size && inode->executed) node.size = std::max<int64_t>(node.size, kPage);  // no program is empty
    }
    if (inode->IsLink()) node.target = tree_.TargetOf(inode.get());
    if (inode->links) {
      const int64_t seeded =
          inode->IsDirectory() ? 2 + subdirectories[inode.get()] : static_cast<int64_t>(inode->originals.size());
      if (*inode->links >= seeded) {
        node.extra_links = static_cast<uint32_t>(*inode->links - seeded);
      } else if (inode->IsDirectory()) {
        state.counts_subdirectories = false;
      }
    }
    for (size_t i = 1; i < inode->originals.size(); ++i) {
      const auto& [directory, name] = inode->originals[i];
      InitialState::File alias;
      alias.path = JoinPath(tree_.OriginalPath(directory), name);
      alias.same_as = path;
      state.files.push_back(std::move(alias));
    }
    state.files.push_back(std::move(file));
  }
  // Parents first, and a file before its other names.
  std::sort(state.files.begin(), state.files.end(), [](const InitialState::File& a, const InitialState::File& b) {
    return std::make_tuple(!a.same_as.empty(), a.path) < std::make_tuple(!b.same_as.empty(), b.path);
  });
  for (const auto& [record, inode] : listings_) {
    if (unexplained.contains(inode) || (inode->original && !inode->complete)) notes_[record].unknown_listing = true;
  }
  for (const auto& [record, mode] : tree_.modes_after()) notes_[record].mode_after = static_cast<int32_t>(mode);
  state.notes = std::move(notes_);
  for (const auto& [record, image] : images_) state.images[record] = *image;
  for (int32_t pid : root_order_) {
    RootTask& root = roots_[pid];
    if (auto it = knowledge_.umask.find(pid); it != knowledge_.umask.end()) root.umask = it->second;
    root.image = *root_images_[pid];
    for (const auto& [fd, file] : root_files_[pid]) {
      InheritedDescriptor d;
      d.fd = fd;
      if (file->pipe) {
        const bool writes = file->was_written || (file->flags & O_ACCMODE) == O_WRONLY || fd == 1 || fd == 2;
        d.kind = writes ? InheritedDescriptor::Kind::kPipeWrite : InheritedDescriptor::Kind::kPipeRead;
      } else if (file->socket) {
        d.kind = InheritedDescriptor::Kind::kSocket;
      } else {
        d.path = file->inode == nullptr ? "/dev/null" : tree_.OriginalPath(file->inode);
        if (d.path.empty()) d.path = "/dev/null";
      }
      if (file->first_flags) {
        d.flags = *file->first_flags;
      } else if (fd == 0) {
        d.flags = file->was_written ? O_RDWR : O_RDONLY;
      } else if (fd <= 2) {
        d.flags = file->was_read ? O_RDWR : O_WRONLY;
      } else {
        d.flags = !file->was_written ? O_RDONLY : file->was_read ? O_RDWR : O_WRONLY;
      }
      d.offset = file->first_offset.value_or(0);
      root.descriptors.push_back(std::move(d));
    }
    state.roots.push_back(std::move(root));
  }
}

}  // namespace hotpath::replay
