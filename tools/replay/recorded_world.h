#ifndef HOTPATH_TOOLS_REPLAY_RECORDED_WORLD_H_
#define HOTPATH_TOOLS_REPLAY_RECORDED_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tools/replay/file_tree.h"
#include "tools/replay/initial_state.h"
#include "tools/replay/order.h"
#include "tools/replay/record_fields.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// What one pass over the trace hands to the next.
struct WorldKnowledge {
  FileKnowledge files;
  // By root task: descriptors that were open before the first call, and those that cannot have been.
  std::map<int32_t, std::set<int>> inherited, not_open;
  std::map<int32_t, uint32_t> umask;
  std::map<int32_t, uint32_t> euid;
  std::map<int32_t, std::string> cwd;
  bool grew = false;

  bool Grew() const { return grew || files.grew; }
};

// The recorded machine: tasks, descriptor tables, mappings and files as the recorded results say they were.  It decides
// nothing by itself, so it can tell what must have been true before the first call.
class RecordedWorld {
 public:
  RecordedWorld(const Trace& trace, WorldKnowledge& knowledge);
  ~RecordedWorld();

  // Steps must come in order.
  absl::Status Apply(const Step& step);

  // After the last step: what the world was like before the first.
  void Finish(InitialState& state);

  std::string DescribeFd(int32_t pid, int fd) const;

 private:
  struct OpenFile {
    Inode* inode = nullptr;
    std::string text;  // for people
    bool pipe = false, socket = false, anonymous = false, synthetic = false;
    bool inherited = false;
    int flags = 0;
    std::optional<int> first_flags;  // of an inherited one, as F_GETFL first showed them
    bool was_read = false, was_written = false;
    std::optional<int64_t> offset = 0;
    std::optional<int64_t> first_offset;
    ShownDirents listing;
    int64_t listing_bytes = 0;
    bool listing_whole = true;  // every getdents64 since the start was seen
  };
  struct Slot {
    std::shared_ptr<OpenFile> file;
    bool cloexec = false;
    size_t line = 0;    // 0: inherited
    bool used = false;  // by a call that told that it is open
  };
  struct FdTable {
    std::map<int, Slot> slots;
    std::map<int, std::pair<size_t, std::string>> closed;  // line, and what it was closed by
    std::set<int> reserved;                                // by a blocked accept
  };
  struct FileContext {
    Inode* cwd = nullptr;
    std::optional<uint32_t> umask;
  };
  struct Memory {
    std::map<uint64_t, uint64_t> mapped;  // start to end, disjoint
    std::shared_ptr<ImageState> image;
    uint64_t brk = 0;
    void Add(uint64_t start, uint64_t end);
    void Remove(uint64_t start, uint64_t end);
    std::vector<std::pair<uint64_t, uint64_t>> Gaps(uint64_t start, uint64_t end) const;
  };
  struct Process {
    int32_t root = 0;
    uint64_t actions_known = 0;  // bit per signal: changed or shown since the first call
    std::set<int> limits_known;
    bool credentials_changed = false, group_changed = false, session_changed = false;
  };
  struct Task {
    int32_t pid = 0;
    std::shared_ptr<FdTable> fds;
    std::shared_ptr<FileContext> files;
    std::shared_ptr<Memory> memory;
    std::shared_ptr<Process> process;
    bool mask_known = false;
    std::string pending_link;  // a link whose target was not shown: the next path may be it
    int64_t pending_length = 0;
  };
  using Handler = void (RecordedWorld::*)(Fields&, Task&);

  static const std::map<std::string, Handler, std::less<>>& Handlers();

  Task& TaskOf(int32_t pid);
  Task& AddRoot(int32_t pid);

  // Descriptors.
  void Allocate(Task& t, Fields& f, int64_t fd, int minimum, bool cloexec, std::shared_ptr<OpenFile> file);
  bool CannotBeOpen(Task& t, int fd, const Slot& slot);
  void Drop(Task& t, int fd, const Record& by);
  std::shared_ptr<OpenFile> Use(Fields& f, Task& t, size_t argument);  // null after EBADF
  std::shared_ptr<OpenFile> Inherited(Task& t, int fd);
  std::shared_ptr<OpenFile> UseNumber(Fields& f, Task& t, int fd, const FdNote& note);
  static std::shared_ptr<OpenFile> AnonymousFile(const FdNote& note, absl::string_view kind);

  // Paths.
  Inode* Base(Fields& f, Task& t, int dirfd_argument);
  std::string Spell(Fields& f, Task& t, int dirfd_argument, const std::string& path);  // absolute, for IsSynthetic
  void SeePath(Task& t, const std::string& path);
  Inode* Touch(Fields& f, Task& t, int dirfd_argument, size_t path_argument, bool follow, uint32_t format = 0,
               uint32_t wanted = 0);
  void Failed(Fields& f, Task& t, Inode* base, const std::string& path, bool follow, uint32_t wanted = 0);
  Inode* MakeFile(Fields& f, Task& t, int dirfd_argument, size_t path_argument, uint32_t format, uint32_t mode);
  uint32_t UmaskOf(Task& t);
  bool IsUnprivileged(const Task& t) const;
  void Allowed(const Task& t, Inode* inode, uint32_t bits);  // and to search the directories above it
  void Changed(const Task& t, Inode* directory) { Allowed(t, directory, 3); }
  void Owned(const Task& t, Inode* inode);
  void InferPermissions();
  void MarkSynthetic();
  void MarkUse(const OpenFile& file);
  void DidRead(OpenFile& file, std::optional<int64_t> at, int64_t wanted, int64_t got);
  void DidWrite(OpenFile& file, std::optional<int64_t> at, int64_t wrote);

  // Calls.
  void OnOpen(Fields& f, Task& t);
  void OnClose(Fields& f, Task& t);
  void OnCloseRange(Fields& f, Task& t);
  void OnDup(Fields& f, Task& t);
  void OnFcntl(Fields& f, Task& t);
  void OnIoctl(Fields& f, Task& t);
  void OnPipe(Fields& f, Task& t);
  void OnSocket(Fields& f, Task& t);
  void OnSocketPair(Fields& f, Task& t);
  void OnAccept(Fields& f, Task& t);
  void OnReceiveMessage(Fields& f, Task& t);
  void OnConnect(Fields& f, Task& t);
  void OnAnonymous(Fields& f, Task& t);
  void OnFdUse(Fields& f, Task& t);
  void OnPoll(Fields& f, Task& t);
  void OnSelect(Fields& f, Task& t);
  void OnRead(Fields& f, Task& t);
  void OnWrite(Fields& f, Task& t);
  void OnSeek(Fields& f, Task& t);
  void OnFtruncate(Fields& f, Task& t);
  void OnCopy(Fields& f, Task& t);
  void OnFstat(Fields& f, Task& t);
  void OnStat(Fields& f, Task& t);
  void OnAccess(Fields& f, Task& t);
  void OnReadLink(Fields& f, Task& t);
  void OnSymlink(Fields& f, Task& t);
  void OnLink(Fields& f, Task& t);
  void OnUnlink(Fields& f, Task& t);
  void OnRename(Fields& f, Task& t);
  void OnMkdir(Fields& f, Task& t);
  void OnMknod(Fields& f, Task& t);
  void OnChmod(Fields& f, Task& t);
  void OnChown(Fields& f, Task& t);
  void OnFdAttribute(Fields& f, Task& t);
  void OnUtimes(Fields& f, Task& t);
  void OnPathUse(Fields& f, Task& t);
  void OnSetXattr(Fields& f, Task& t);
  void OnGetdents(Fields& f, Task& t);
  void OnChdir(Fields& f, Task& t);
  void OnUmask(Fields& f, Task& t);
  void OnClone(Fields& f, Task& t);
  void OnExec(Fields& f, Task& t);
  void OnMmap(Fields& f, Task& t);
  void OnMemoryRange(Fields& f, Task& t);
  void OnBrk(Fields& f, Task& t);
  void OnSigaction(Fields& f, Task& t);
  void OnSigprocmask(Fields& f, Task& t);
  void OnPrlimit(Fields& f, Task& t);
  void OnGetId(Fields& f, Task& t);
  void OnSetId(Fields& f, Task& t);
  void OnGetGroup(Fields& f, Task& t);
  void OnSetGroup(Fields& f, Task& t);

  const Trace& trace_;
  WorldKnowledge& knowledge_;
  FileTree tree_;
  std::map<int32_t, Task> tasks_;
  std::map<int32_t, RootTask> roots_;
  std::vector<int32_t> root_order_;
  std::map<int32_t, std::map<int, std::shared_ptr<OpenFile>>> root_files_;
  std::map<size_t, std::shared_ptr<ImageState>> images_;
  std::map<int32_t, std::shared_ptr<ImageState>> root_images_;
  std::vector<std::pair<size_t, Inode*>> listings_;  // records that listed a directory
  std::vector<InitialState::Note> notes_;
  size_t current_ = 0;  // record being applied
  size_t facts_ = 0;    // about anything but files
};

// True of /proc, /sys and /dev and what is below them, except the devices every kernel has (/dev/null, zero, full) and
// the file system /dev/shm.
bool IsSynthetic(absl::string_view path);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_RECORDED_WORLD_H_
