// Input bytes are a program of kernel calls by up to four processes, in a kernel that never blocks. The oracle below
// knows descriptors, offsets, names, pipes and wait as plain containers, and predicts every answer.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "hotpath/kernel/kernel.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kMaxFds = 16;
constexpr size_t kPipeCapacity = 65536;

using Bytes = std::vector<uint8_t>;

struct Pipe {
  Bytes bytes;
};

// An open file description: of a file, or of one end of a pipe.
struct Description {
  std::shared_ptr<Bytes> file = nullptr;
  std::shared_ptr<Pipe> pipe = nullptr;
  int64_t offset = 0;
  bool reads = false, writes = false, append = false;
};

struct Slot {
  std::shared_ptr<Description> description;
  bool cloexec = false;
};

struct Proc {
  Pid pid = 0;
  Pid parent = 0;
  bool zombie = false;
  int status = 0;
  std::map<Fd, Slot> fds;
};

class Program {
 public:
  Program(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  void Run() {
    Proc& init = procs_[0];
    init.pid = Must(kernel_.Spawn({.name = "init"}));
    Expect(kernel_.Seed("/x", {.mode = 0100755, .size = 4096}).ok(), "a program to execute");
    const SignalAction ignore{.handler = 1};
    Expect(kernel_.Sigaction(init.pid, SIGPIPE, &ignore).ok(), "ignoring SIGPIPE, which children inherit");
    while (at_ < size_ && calls_++ < 400) Step();
    // Everything that is still alive ends, children first, so that init reaps them all.
    for (auto& [key, proc] : procs_) {
      if (key != 0 && !proc.zombie) Expect(kernel_.ExitGroup(proc.pid, 0).ok(), "the last exit");
    }
    Expect(kernel_.ExitGroup(procs_[0].pid, 0).ok(), "the exit of init");
    const KernelStats stats = kernel_.Stats();
    Expect(stats.descriptors == 0 && stats.open_descriptions == 0 && stats.pipes == 0, "nothing stays open");
    Expect(stats.tasks == 0, "no task stays");
  }

 private:
  uint8_t Next() { return at_ < size_ ? data_[at_++] : 0; }

  [[noreturn]] void Fail(const char* what, const std::string& detail = "") {
    std::fprintf(stderr, "kernel_fuzz: call %d: wrong answer: %s %s\n", calls_, what, detail.c_str());
    std::abort();
  }
  void Expect(bool right, const char* what) {
    if (!right) Fail(what);
  }
  template <class T>
  T Must(Result<T> result) {
    if (!result.ok()) Fail("a call that cannot fail", std::string(CodeName(result.code())));
    return *result;
  }
  // `want` < 0: the negated errno.
  template <class T>
  void Same(const Result<T>& got, int64_t want, const char* what) {
    int64_t answer = -ToErrno(got.code());
    if constexpr (!std::is_void_v<T>) {
      if (got.ok()) answer = static_cast<int64_t>(*got);
    }
    if (answer != want) Fail(what, std::to_string(answer) + ", expected " + std::to_string(want));
  }

  Proc& Caller() {
    std::vector<Proc*> alive;
    for (auto& [key, proc] : procs_) {
      if (!proc.zombie) alive.push_back(&proc);
    }
    return *alive[Next() % alive.size()];  // init never exits before the end
  }
  static Fd Lowest(const Proc& p, Fd from) {
    Fd fd = from;
    while (p.fds.contains(fd)) ++fd;
    return fd;
  }
  Fd AnyFd() { return static_cast<Fd>(Next() % (kMaxFds + 2)); }
  std::string AnyName() { return std::string("/f") + static_cast<char>('0' + Next() % 4); }
  Slot* Find(Proc& p, Fd fd) {
    const auto it = p.fds.find(fd);
    return it == p.fds.end() ? nullptr : &it->second;
  }

  void Step() {
    Proc& p = Caller();
    switch (Next() % 20) {
      case 0:
      case 1:
        return Open(p);
      case 2:
        return Close(p, AnyFd());
      case 3: {
        const Fd fd = AnyFd();
        Slot* slot = Find(p, fd);
        const Fd lowest = Lowest(p, 0);
        const int64_t want = slot == nullptr ? -EBADF : lowest >= static_cast<Fd>(kMaxFds) ? -EMFILE : lowest;
        Same(kernel_.Dup(p.pid, fd), want, "dup");
        if (want >= 0) p.fds[lowest] = {p.fds[fd].description, false};
        return;
      }
      case 4:
        return Dup2(p);
      case 5: {
        const Fd fd = AnyFd();
        const auto from = static_cast<Fd>(Next() % (kMaxFds + 1));
        const bool cloexec = Next() & 1;
        const Fd lowest = Lowest(p, from);
        const int64_t want = Find(p, fd) == nullptr               ? -EBADF
                             : from >= static_cast<Fd>(kMaxFds)   ? -EINVAL
                             : lowest >= static_cast<Fd>(kMaxFds) ? -EMFILE
                                                                  : lowest;
        Same(kernel_.Fcntl(p.pid, fd, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, from), want, "F_DUPFD");
        if (want >= 0) p.fds[lowest] = {p.fds[fd].description, cloexec};
        return;
      }
      case 6: {
        const Fd fd = AnyFd();
        Slot* slot = Find(p, fd);
        Same(kernel_.Fcntl(p.pid, fd, F_GETFD, 0), slot == nullptr ? -EBADF : slot->cloexec, "F_GETFD");
        const bool set = Next() & 1;
        Same(kernel_.Fcntl(p.pid, fd, F_SETFD, set), slot == nullptr ? -EBADF : 0, "F_SETFD");
        if (slot != nullptr) slot->cloexec = set;
        return;
      }
      case 7:
      case 8:
        return Write(p, /*at=*/-1);
      case 9:
        return Write(p, Next());
      case 10:
      case 11:
        return Read(p, /*at=*/-1);
      case 12:
        return Read(p, Next());
      case 13:
        return Seek(p);
      case 14:
        return Truncate(p);
      case 15: {
        const std::string name = AnyName();
        Same(kernel_.UnlinkAt(p.pid, kAtFdCwd, name, 0), names_.contains(name) ? 0 : -ENOENT, "unlink");
        names_.erase(name);
        return;
      }
      case 16: {
        const std::string from = AnyName(), to = AnyName();
        Same(kernel_.RenameAt(p.pid, kAtFdCwd, from, kAtFdCwd, to, 0), names_.contains(from) ? 0 : -ENOENT, "rename");
        if (names_.contains(from) && from != to) {
          names_[to] = names_[from];
          names_.erase(from);
        }
        return;
      }
      case 17:
        return MakePipe(p);
      case 18:
        return Fork(p);
      default:
        return Next() & 1 ? Exec(p) : Wait(p);
    }
  }

  void Open(Proc& p) {
    const std::string name = AnyName();
    const uint8_t bits = Next();
    constexpr std::array<int, 3> kAccess = {O_RDONLY, O_WRONLY, O_RDWR};
    const int access = kAccess[bits % 3];
    const bool create = bits & 4, exclusive = bits & 8, truncate = bits & 16, append = bits & 32, cloexec = bits & 64;
    const int flags = access | (create ? O_CREAT : 0) | (create && exclusive ? O_EXCL : 0) | (truncate ? O_TRUNC : 0) |
                      (append ? O_APPEND : 0) | (cloexec ? O_CLOEXEC : 0);
    const bool there = names_.contains(name);
    const Fd lowest = Lowest(p, 0);
    int64_t want = lowest;
    if (lowest >= static_cast<Fd>(kMaxFds)) {
      want = -EMFILE;  // Linux takes the number before it looks at the path
    } else if (!there && !create) {
      want = -ENOENT;
    } else if (there && create && exclusive) {
      want = -EEXIST;
    }
    Same(kernel_.Open(p.pid, name, flags, 0600), want, "open");
    if (want < 0) return;
    std::shared_ptr<Bytes>& file = names_[name];
    if (file == nullptr) file = std::make_shared<Bytes>();
    if (truncate) file->clear();
    p.fds[lowest] = {std::make_shared<Description>(Description{
                         .file = file, .reads = access != O_WRONLY, .writes = access != O_RDONLY, .append = append}),
                     cloexec};
  }

  void Close(Proc& p, Fd fd) {
    Same(kernel_.Close(p.pid, fd), Find(p, fd) == nullptr ? -EBADF : 0, "close");
    p.fds.erase(fd);
  }

  void Dup2(Proc& p) {
    const Fd from = AnyFd(), to = AnyFd();
    const bool three = Next() & 1, cloexec = Next() & 1;
    const bool from_ok = Find(p, from) != nullptr, to_ok = to < static_cast<Fd>(kMaxFds);
    int64_t want = to;
    if (three && from == to) {
      want = -EINVAL;
    } else if (!from_ok || !to_ok) {
      want = -EBADF;
    }
    Same(three ? kernel_.Dup3(p.pid, from, to, cloexec ? O_CLOEXEC : 0) : kernel_.Dup2(p.pid, from, to), want,
         three ? "dup3" : "dup2");
    if (want < 0 || from == to) return;
    p.fds[to] = {p.fds[from].description, three && cloexec};
  }

  bool AnyEnd(const std::shared_ptr<Pipe>& pipe, bool write_end) const {
    for (const auto& [key, proc] : procs_) {
      for (const auto& [fd, slot] : proc.fds) {
        if (slot.description->pipe == pipe && slot.description->writes == write_end) return true;
      }
    }
    return false;
  }

  void Write(Proc& p, int64_t at) {
    const Fd fd = AnyFd();
    Bytes data(Next() % 97, Next());
    const Slot* slot = Find(p, fd);
    const Result<size_t> got = at < 0 ? kernel_.Write(p.pid, fd, std::as_bytes(std::span(data)))
                                      : kernel_.PWrite(p.pid, fd, std::as_bytes(std::span(data)), at);
    if (slot == nullptr) return Same(got, -EBADF, "write");
    Description& d = *slot->description;
    if (d.pipe != nullptr) {
      if (at >= 0) return Same(got, -ESPIPE, "pwrite to a pipe");
      if (!d.writes) return Same(got, -EBADF, "write to a read end");
      if (data.empty()) return Same(got, 0, "empty write to a pipe");
      if (!AnyEnd(d.pipe, false)) return Same(got, -EPIPE, "write without a reader");
      if (d.pipe->bytes.size() + data.size() > kPipeCapacity) return;  // 64 KiB in 400 calls of 96 bytes: never
      Same(got, static_cast<int64_t>(data.size()), "write to a pipe");
      d.pipe->bytes.insert(d.pipe->bytes.end(), data.begin(), data.end());
      return;
    }
    if (!d.writes) return Same(got, -EBADF, "write to a read-only descriptor");
    Same(got, static_cast<int64_t>(data.size()), "write");
    if (data.empty()) return;
    int64_t offset = at >= 0 ? at : d.offset;
    if (d.append) offset = static_cast<int64_t>(d.file->size());
    const auto end = static_cast<size_t>(offset) + data.size();
    if (d.file->size() < end) d.file->resize(end);
    std::copy(data.begin(), data.end(), d.file->begin() + offset);
    if (at < 0) d.offset = static_cast<int64_t>(end);
  }

  void Read(Proc& p, int64_t at) {
    const Fd fd = AnyFd();
    Bytes out(Next() % 97);
    const Slot* slot = Find(p, fd);
    const Result<size_t> got = at < 0 ? kernel_.Read(p.pid, fd, std::as_writable_bytes(std::span(out)))
                                      : kernel_.PRead(p.pid, fd, std::as_writable_bytes(std::span(out)), at);
    if (slot == nullptr) return Same(got, -EBADF, "read");
    Description& d = *slot->description;
    if (d.pipe != nullptr) {
      if (at >= 0) return Same(got, -ESPIPE, "pread from a pipe");
      if (!d.reads) return Same(got, -EBADF, "read from a write end");
      if (out.empty()) return Same(got, 0, "empty read from a pipe");
      if (d.pipe->bytes.empty()) {
        return Same(got, AnyEnd(d.pipe, true) ? -ERESTART : 0, "read from an empty pipe");
      }
      const size_t n = std::min(out.size(), d.pipe->bytes.size());
      Same(got, static_cast<int64_t>(n), "read from a pipe");
      Expect(std::equal(out.begin(), out.begin() + static_cast<int64_t>(n), d.pipe->bytes.begin()),
             "the bytes of a pipe");
      d.pipe->bytes.erase(d.pipe->bytes.begin(), d.pipe->bytes.begin() + static_cast<int64_t>(n));
      return;
    }
    if (!d.reads) return Same(got, -EBADF, "read from a write-only descriptor");
    const int64_t offset = at >= 0 ? at : d.offset;
    const auto size = static_cast<int64_t>(d.file->size());
    const int64_t n = std::clamp<int64_t>(size - offset, 0, static_cast<int64_t>(out.size()));
    Same(got, n, "read");
    Expect(std::equal(out.begin(), out.begin() + n, d.file->begin() + std::min(offset, size)), "the bytes of a file");
    if (at < 0) d.offset += n;
  }

  void Seek(Proc& p) {
    const Fd fd = AnyFd();
    const int64_t offset = static_cast<int8_t>(Next());  // NOLINT(bugprone-signed-char-misuse): also below 0
    const int whence = Next() % 4;
    const Slot* slot = Find(p, fd);
    const Result<int64_t> got = kernel_.Seek(p.pid, fd, offset, whence == 3 ? 77 : whence);
    if (slot == nullptr) return Same(got, -EBADF, "lseek");
    Description& d = *slot->description;
    if (whence == 3) return Same(got, -EINVAL, "lseek with a wrong whence");
    if (d.pipe != nullptr) return Same(got, -ESPIPE, "lseek on a pipe");
    const int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? d.offset : static_cast<int64_t>(d.file->size());
    if (base + offset < 0) return Same(got, -EINVAL, "lseek before the start");
    d.offset = base + offset;
    Same(got, d.offset, "lseek");
  }

  void Truncate(Proc& p) {
    const Fd fd = AnyFd();
    const size_t size = Next() * 3;
    const Slot* slot = Find(p, fd);
    const Result<void> got = kernel_.FTruncate(p.pid, fd, static_cast<int64_t>(size));
    if (slot == nullptr) return Same(got, -EBADF, "ftruncate");
    if (slot->description->file == nullptr || !slot->description->writes) return Same(got, -EINVAL, "ftruncate");
    Same(got, 0, "ftruncate");
    slot->description->file->resize(size);
    Expect(Must(kernel_.StatAt(p.pid, fd, "", AT_EMPTY_PATH)).size == static_cast<int64_t>(size), "st_size");
  }

  void MakePipe(Proc& p) {
    const bool cloexec = Next() & 1;
    const Fd read_end = Lowest(p, 0), write_end = Lowest(p, read_end + 1);
    const Result<PipeFds> got = kernel_.Pipe(p.pid, cloexec ? O_CLOEXEC : 0);
    if (write_end >= static_cast<Fd>(kMaxFds)) return Expect(got.code() == Code::kEMFILE, "pipe with one slot left");
    Expect(got.ok() && got->read_end == read_end && got->write_end == write_end, "the lowest two numbers for a pipe");
    const auto pipe = std::make_shared<Pipe>();
    p.fds[read_end] = {std::make_shared<Description>(Description{.pipe = pipe, .reads = true}), cloexec};
    p.fds[write_end] = {std::make_shared<Description>(Description{.pipe = pipe, .writes = true}), cloexec};
  }

  void Fork(Proc& p) {
    if (procs_.size() >= 4) return;
    int key = 1;
    while (procs_.contains(key)) ++key;
    Proc child{.pid = Must(kernel_.Fork(p.pid)), .parent = p.pid, .fds = p.fds};
    for (const auto& [other, proc] : procs_) Expect(proc.pid != child.pid, "a pid that is still visible");
    procs_.emplace(key, std::move(child));
  }

  void Exec(Proc& p) {
    Same(kernel_.Exec(p.pid, kAtFdCwd, "/x", 0), 0, "execve");
    std::erase_if(p.fds, [](const auto& entry) { return entry.second.cloexec; });
  }

  void Die(Proc& p, int status) {
    p.fds.clear();
    p.zombie = true;
    p.status = status;
    for (auto& [key, other] : procs_) {
      if (other.parent == p.pid) other.parent = procs_[0].pid;
    }
  }

  // One process other than init exits, or one waits.
  void Wait(Proc& p) {
    if (&p != &procs_[0] && Next() % 2 == 0) {
      const int status = Next();
      Same(kernel_.ExitGroup(p.pid, status), 0, "exit_group");
      return Die(p, status << 8);
    }
    std::vector<int> children, zombies;
    for (const auto& [key, other] : procs_) {
      if (key == 0 || other.parent != p.pid) continue;
      children.push_back(key);
      if (other.zombie) zombies.push_back(key);
    }
    const Result<WaitResult> got = kernel_.Wait(p.pid, -1, WNOHANG);
    if (children.empty()) return Expect(got.code() == Code::kECHILD, "wait without children");
    if (!got.ok()) Fail("wait", std::string(CodeName(got.code())));
    if (zombies.empty()) return Expect(got->pid == 0, "wait for children that run");
    for (const int key : zombies) {
      if (procs_[key].pid != got->pid) continue;
      Expect(procs_[key].status == got->status, "the status of a child");
      procs_.erase(key);
      return;
    }
    Fail("wait returned a stranger");
  }

  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
  int calls_ = 0;
  static KernelOptions Options() {
    KernelOptions options;
    options.never_block = true;
    options.nofile_soft = options.nofile_hard = kMaxFds;
    return options;
  }
  Kernel kernel_{Options()};
  std::map<std::string, std::shared_ptr<Bytes>> names_;
  std::map<int, Proc> procs_;  // 0 is init
};

}  // namespace
}  // namespace hotpath::kernel

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hotpath::kernel::Program(data, size).Run();
  return 0;
}
