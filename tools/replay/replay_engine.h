#ifndef HOTPATH_TOOLS_REPLAY_REPLAY_ENGINE_H_
#define HOTPATH_TOOLS_REPLAY_REPLAY_ENGINE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "bench/base/heap_counter.h"
#include "hotpath/core/result.h"
#include "hotpath/kernel/kernel.h"
#include "tools/replay/initial_state.h"
#include "tools/replay/order.h"
#include "tools/replay/record_fields.h"
#include "tools/replay/replayer.h"

namespace hotpath::replay {

// A one-to-one relation that grows as pairs are met.
template <class K, class V>
class Bijection {
 public:
  // True if `a` and `b` may be partners: they are, or both were single.
  bool Bind(const K& a, const V& b) {
    const auto forward = forward_.find(a);
    const auto backward = backward_.find(b);
    if (forward == forward_.end() && backward == backward_.end()) {
      forward_.emplace(a, b);
      backward_.emplace(b, a);
      return true;
    }
    return forward != forward_.end() && backward != backward_.end() && forward->second == b;
  }
  void Forget(const K& a) {
    if (auto it = forward_.find(a); it != forward_.end()) {
      backward_.erase(it->second);
      forward_.erase(it);
    }
  }
  void ForgetValue(const V& b) {
    if (auto it = backward_.find(b); it != backward_.end()) Forget(K(it->second));
  }
  const V* Find(const K& a) const {
    auto it = forward_.find(a);
    return it == forward_.end() ? nullptr : &it->second;
  }
  const K* FindKey(const V& b) const {
    auto it = backward_.find(b);
    return it == backward_.end() ? nullptr : &it->second;
  }

 private:
  std::map<K, V> forward_;
  std::map<V, K> backward_;
};

// One replay: drives a kernel with the calls of a trace.  The handlers of the calls are in file_calls.cc and
// task_calls.cc, everything else in replayer.cc.
class Engine {
 public:
  Engine(const Trace& trace, const std::vector<Step>& steps, const InitialState& initial, const ReplayOptions& options);

  absl::StatusOr<ReplayResult> Run();

 private:
  struct Call {
    Fields f;
    const Record& r;
    kernel::Pid t;  // the caller, in our kernel
    size_t index;   // of the record
    const InitialState::Note& note;
    bool returning;  // the second chance of a split call that would have had to wait
  };
  using Handler = Verdict (Engine::*)(Call&);
  using Inode = std::pair<uint64_t, uint64_t>;  // device and number

  struct Deferred {  // a write that found a pipe full
    int32_t pid;
    kernel::Fd fd;
    size_t left, done;
    int err = 0;
  };
  struct OpenListing {  // names seen so far of a directory that took more than one getdents64
    std::multiset<std::string> recorded, ours;
    size_t recorded_count = 0;  // names are not always shown
    int64_t recorded_bytes = 0, our_bytes = 0;
  };
  struct Task {
    kernel::Pid ours = 0;
    std::optional<uint64_t> waiting_mask;  // of an interrupted pselect6 and its kin: in force while a signal is taken
    std::optional<uint64_t> mask_after;    // what it replaced, for rt_sigreturn
    std::map<kernel::Fd, OpenListing> listings;
    int undelivered = 0;        // handlers entered in the trace for which our kernel had no signal
    bool shares_files = false;  // its descriptor table with another process
    bool holds_parent = false;  // in vfork: the parent waits until it executes a program or exits
    bool dead = false;          // in our kernel already; the trace reports it later
    bool stopped = false;       // by a signal
    size_t fatal = SIZE_MAX;    // the step of the signal that it is dying of
  };

  static const std::map<std::string, Handler, std::less<>>& Handlers();
  static bool IsIgnorable(const std::string& call);

  // Setting the scene.
  absl::Status SeedFiles();
  absl::StatusOr<kernel::Pid> Outsider(int32_t recorded, kernel::Pid parent, bool leads);
  absl::StatusOr<kernel::Pid> SpawnInGroup(const RootTask& root);
  absl::Status SpawnRoot(const RootTask& root);
  void MapImage(kernel::Pid t, const ImageState& image);

  // Driving.
  absl::Status Apply(const Step& step);
  void ApplyEvent(const Record& r);
  void ApplySignal(const Record& r, Task& task);
  bool TakeSignal(const Record& r, Task& task);
  void Count(const Record& r, const InitialState::Note& note, Verdict verdict);
  bool TakeEarly(const std::function<bool(const Record&, const InitialState::Note&)>& wanted);
  void Resume(Task& task);
  void Reserve(Call& c);
  Task* TaskOf(int32_t pid);

  // Runs one call into the kernel, timed and with its allocations counted.
  template <class F>
  auto Timed(F&& call) {
    const bench::HeapMark heap;
    const auto begin = std::chrono::steady_clock::now();
    auto result = call();
    const auto end = std::chrono::steady_clock::now();
    result_.allocations += heap.Since().allocations;
    result_.latency.Add(static_cast<uint64_t>((end - begin).count()));
    return result;
  }

  // Comparing.
  template <class T>
  static int ErrorOf(const Result<T>& result) {
    return ToErrno(result.code());
  }
  static int WantedError(const Call& c);
  static bool SameError(const Call& c, int err);
  static std::string ErrnoName(int err);
  Verdict Differ(Call& c, absl::string_view what, std::string recorded, std::string kernel, std::string why);
  // A verdict if either kernel failed; nothing if both succeeded and the values are to be compared.
  std::optional<Verdict> Errors(Call& c, int err);
  Verdict CompareAck(Call& c, int err);  // there is only success to compare
  Verdict CompareNumber(Call& c, absl::string_view what, int64_t kernel, absl::string_view why);
  Verdict CompareFd(Call& c, const Result<kernel::Fd>& fd, bool cloexec);
  Verdict CompareFdNumber(Call& c, kernel::Fd wanted, kernel::Fd fd, bool cloexec);
  Verdict ComparePid(Call& c, const Result<kernel::Pid>& pid);
  std::string OurFd(kernel::Pid t, kernel::Fd fd) const;  // empty: not open
  std::string WhyFd(Call& c, kernel::Fd wanted, kernel::Fd got);
  std::string WhyError(Call& c, int err);
  void Move(kernel::Pid t, kernel::Fd from, kernel::Fd to, bool cloexec);
  bool Kept() const { return result_.mismatches.size() < options_.kept_mismatches; }
  bool Overlaps(const Call& c) const;  // with a call of another task that can change what this one sees

  // Paths and descriptors.
  struct At {
    kernel::Fd dirfd = kernel::kAtFdCwd;
    std::string_view path;
  };
  At PathAt(Call& c, int dirfd_argument, size_t path_argument);
  std::span<std::byte> Scratch(size_t wanted, int64_t recorded);
  void Pump();                                    // lets deferred writes go on as far as their pipes have room
  void ForgetInode(kernel::Pid t, const At& at);  // its last name is about to go
  Verdict CompareStat(Call& c, size_t buffer_argument, const At& at, int flags);
  void AdoptStat(Call& c, const At& at, int flags, const ShownStat& shown);
  uint32_t LinksOff(const Inode& inode) const;

  // Calls: files (file_calls.cc).
  Verdict OnOpen(Call& c);
  Verdict OnClose(Call& c);
  Verdict OnCloseRange(Call& c);
  Verdict OnDup(Call& c);
  Verdict OnFcntl(Call& c);
  Verdict OnLock(Call& c);
  Verdict StandIn(Call& c, kernel::OpaqueKind kind, int flags);
  Verdict OnIoctl(Call& c);
  Verdict OnPipe(Call& c);
  Verdict OnSocket(Call& c);
  Verdict OnSocketPair(Call& c);
  Verdict OnAccept(Call& c);
  Verdict OnConnect(Call& c);
  Verdict OnReceiveMessage(Call& c);
  Verdict OnAnonymous(Call& c);
  Verdict OnRead(Call& c);
  Verdict ReadStream(Call& c, size_t wanted);
  static size_t WantedBytes(Call& c);
  static std::vector<size_t> VectorLengths(Call& c);
  Verdict OnWrite(Call& c);
  Verdict OnSeek(Call& c);
  Verdict OnTruncate(Call& c);
  Verdict OnFallocate(Call& c);
  Verdict OnSync(Call& c);
  Verdict OnAdvise(Call& c);
  Verdict OnCopyFileRange(Call& c);
  Verdict OnSendFile(Call& c);
  Verdict OnStat(Call& c);
  Verdict OnAccess(Call& c);
  Verdict OnReadLink(Call& c);
  Verdict OnStatFs(Call& c);
  Verdict OnSymlink(Call& c);
  Verdict OnLink(Call& c);
  Verdict OnUnlink(Call& c);
  Verdict OnRename(Call& c);
  Verdict OnMkdir(Call& c);
  Verdict OnMknod(Call& c);
  Verdict OnChmod(Call& c);
  Verdict OnChown(Call& c);
  Verdict OnUtimes(Call& c);
  Verdict OnSetXattr(Call& c);
  Verdict OnGetdents(Call& c);
  Verdict OnGetcwd(Call& c);
  Verdict OnChdir(Call& c);
  static std::string MissingNames(const OpenListing& listing);
  Verdict ComparePoll(Call& c, std::vector<kernel::PollEntry>& entries, const std::optional<uint64_t>& mask,
                      const std::optional<std::map<kernel::Fd, int>>& shown);
  Verdict OnPoll(Call& c);
  Verdict OnSelect(Call& c);

  // Calls: tasks, signals, memory (task_calls.cc).
  Verdict OnClone(Call& c);
  Verdict OnExec(Call& c);
  Verdict OnExit(Call& c);
  Verdict OnWait(Call& c);
  Verdict OnWaitId(Call& c);
  Verdict CompareWait(Call& c, int32_t recorded, std::optional<int> recorded_status, kernel::Pid child, int status,
                      bool reaps);
  kernel::Pid OurPid(int32_t recorded) const;  // itself, if it is not in the trace
  Verdict OnGetPid(Call& c);
  Verdict OnSetGroup(Call& c);
  Verdict OnGetId(Call& c);
  Verdict OnSetId(Call& c);
  Verdict OnUmask(Call& c);
  Verdict OnPriority(Call& c);
  Verdict OnLimit(Call& c);
  Verdict OnKill(Call& c);
  Verdict OnSigaction(Call& c);
  Verdict OnSigprocmask(Call& c);
  Verdict OnSigpending(Call& c);
  Verdict OnSigreturn(Call& c);
  Verdict OnSigsuspend(Call& c);
  Verdict OnMmap(Call& c);
  Verdict OnMunmap(Call& c);
  Verdict OnMprotect(Call& c);
  Verdict OnMremap(Call& c);
  Verdict OnMadvise(Call& c);
  Verdict OnBrk(Call& c);

  const Trace& trace_;
  const std::vector<Step>& steps_;
  const InitialState& initial_;
  const ReplayOptions& options_;
  kernel::Kernel kernel_;
  std::vector<size_t> ends_;                  // by record: the line by which its effect is complete
  kernel::Pid outside_ = 0;                   // stands for every process that is not in the trace
  size_t step_ = 0;                           // index of the step being applied
  absl::flat_hash_map<int32_t, Task> tasks_;  // by recorded pid
  Bijection<int32_t, kernel::Pid> pids_;
  std::map<kernel::Pid, size_t> died_;                        // the line that reports the death
  std::map<kernel::Pid, std::pair<int32_t, size_t>> reaped_;  // recorded pid, and the line where it was waited for
  Bijection<Inode, Inode> inodes_;
  std::map<Inode, uint32_t> links_off_;  // what st_nlink was found to differ by, modulo 2^32
  std::set<Inode> dying_;   // of our kernel: lost their last name, so that the recorded number may come back
  std::set<size_t> early_;  // steps that were taken before their turn
  std::map<size_t, Deferred> deferred_;    // by record
  std::map<size_t, kernel::Fd> reserved_;  // by the record of an accept
  std::vector<std::byte> scratch_;
  ReplayResult result_;
};

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_REPLAY_ENGINE_H_
