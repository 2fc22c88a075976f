// Replay of the calls about files and descriptors.

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tools/replay/replay_engine.h"
#include "tools/replay/strace_symbols.h"

namespace hotpath::replay {
namespace {

using kernel::Fd;

constexpr int kMemFdCloexec = 1;        // MFD_CLOEXEC
constexpr int64_t kLongestEntry = 280;  // of getdents64: a name of 255 bytes

// The calls that share a handler differ in where their arguments are.
bool IsAt(const Record& r) {
  return r.name != "creat" && (absl::EndsWith(r.name, "at") || absl::EndsWith(r.name, "at2"));
}

bool IsVector(const std::string& call) { return absl::StrContains(call, "readv") || absl::StrContains(call, "writev"); }

// `whole` in pieces of these lengths, as far as it goes.
template <class Byte>
std::vector<std::span<Byte>> Split(std::span<Byte> whole, const std::vector<size_t>& lengths) {
  std::vector<std::span<Byte>> pieces;
  for (size_t length : lengths) {
    const size_t size = std::min(length, whole.size());
    pieces.push_back(whole.first(size));
    whole = whole.subspan(size);
  }
  return pieces;
}

// Nanoseconds of a struct timespec, or UTIME_NOW and UTIME_OMIT as utimensat(2) passes them in the nanoseconds.
int64_t TimeOf(const Arg& arg) {
  if (arg.kind == Arg::Kind::kInteger) return arg.number;
  const Arg* seconds = arg.Find("tv_sec");
  const Arg* nanoseconds = arg.Find("tv_nsec");
  if (seconds == nullptr || nanoseconds == nullptr) return UTIME_OMIT;
  if (nanoseconds->number >= UTIME_OMIT - 1) return nanoseconds->number;
  return seconds->number * 1000000000 + nanoseconds->number;
}

// Of "[{fd=4, revents=POLLOUT}, {fd=5, revents=POLLIN|POLLHUP}]": the revents by descriptor; nothing if cut short.
std::optional<std::map<Fd, int>> ShownEvents(absl::string_view note) {
  std::map<Fd, int> events;
  if (absl::StrContains(note, "...")) return std::nullopt;
  for (absl::string_view part : absl::StrSplit(note, '{')) {
    if (!absl::ConsumePrefix(&part, "fd=")) continue;
    const std::vector<absl::string_view> sides = absl::StrSplit(part, absl::MaxSplits(", revents=", 1));
    Fd fd = -1;
    if (sides.size() != 2 || !absl::SimpleAtoi(sides[0], &fd)) return std::nullopt;
    const absl::string_view names = sides[1].substr(0, sides[1].find('}'));
    int value = 0;
    for (absl::string_view name : absl::StrSplit(names, '|')) {
      const std::optional<int64_t> bit = SymbolValue(std::string_view(name.data(), name.size()));
      if (!bit) return std::nullopt;
      value |= static_cast<int>(*bit);
    }
    events[fd] = value;
  }
  return events;
}

}  // namespace

// ---- Opening and closing ----

Verdict Engine::OnOpen(Call& c) {
  const bool at = IsAt(c.r);
  const size_t path_at = at ? 1 : 0;
  int flags = 0;
  uint32_t mode = 0;
  if (c.r.name == "creat") {
    flags = O_CREAT | O_WRONLY | O_TRUNC;
    mode = static_cast<uint32_t>(c.f.Int(1));
  } else if (c.r.name == "openat2") {
    flags = static_cast<int>(c.f.Field(2, "flags"));
    mode = static_cast<uint32_t>(c.f.FieldOr(2, "mode", 0));
  } else {
    flags = static_cast<int>(c.f.Int(path_at + 1));
    mode = static_cast<uint32_t>(c.f.IntOr(path_at + 2, 0));
  }
  const At path = PathAt(c, at ? 0 : -1, path_at);
  if (!c.f.ok()) return Verdict::kGiven;
  Result<Fd> fd = Timed([&] { return kernel_.OpenAt(c.t, path.dirfd, path.path, flags, mode); });
  const auto opens = [](const Record& r, const InitialState::Note&) { return absl::StartsWith(r.name, "open"); };
  if (ErrorOf(fd) == ERESTART && c.r.outcome == Record::Outcome::kReturned && TakeEarly(opens)) {
    fd = kernel_.OpenAt(c.t, path.dirfd, path.path, flags, mode);  // a FIFO: both ends return together
  }
  if ((flags & O_TMPFILE) == O_TMPFILE && c.r.err == 0 && ErrorOf(fd) == EOPNOTSUPP) {
    return StandIn(c, kernel::OpaqueKind::kMemFd, flags);  // has contents, and no name either
  }
  return CompareFd(c, fd, (flags & O_CLOEXEC) != 0);
}

Verdict Engine::OnClose(Call& c) {
  const Fd fd = c.f.Fd(0);
  if (Task* task = TaskOf(c.r.pid); task != nullptr) task->listings.erase(fd);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Close(c.t, fd); })));
}

Verdict Engine::OnCloseRange(Call& c) {
  const uint32_t first = static_cast<uint32_t>(c.f.Int(0)), last = static_cast<uint32_t>(c.f.Int(1));
  const uint32_t flags = static_cast<uint32_t>(c.f.Int(2));
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.CloseRange(c.t, first, last, flags); })));
}

Verdict Engine::OnDup(Call& c) {
  const Fd from = c.f.Fd(0);
  if (c.r.name == "dup") return CompareFd(c, Timed([&] { return kernel_.Dup(c.t, from); }), false);
  const Fd to = c.f.Fd(1);
  if (c.r.name == "dup2") return CompareFd(c, Timed([&] { return kernel_.Dup2(c.t, from, to); }), false);
  const int flags = static_cast<int>(c.f.Int(2));
  return CompareFd(c, Timed([&] { return kernel_.Dup3(c.t, from, to, flags); }), flags & O_CLOEXEC);
}

Verdict Engine::OnLock(Call& c) {
  kernel::FileLockRange lock;
  lock.type = static_cast<int16_t>(c.f.Field(2, "l_type"));
  lock.whence = static_cast<int16_t>(c.f.Field(2, "l_whence"));
  lock.start = c.f.Field(2, "l_start");
  lock.length = c.f.Field(2, "l_len");
  const Fd fd = c.f.Fd(0);
  const int command = static_cast<int>(c.f.Int(1));
  const bool asks = command == F_GETLK || command == F_OFD_GETLK;
  // Of a question strace shows only the answer: the lock in the way, or F_UNLCK.  Ask so that it must come again.
  const int16_t answer = lock.type;
  if (asks) lock.type = answer == F_UNLCK ? F_RDLCK : F_WRLCK;
  const int err = ErrorOf(Timed([&] { return kernel_.FileLock(c.t, fd, command, lock); }));
  if (std::optional<Verdict> verdict = Errors(c, err)) return *verdict;
  if (!asks) return Verdict::kAck;
  if (lock.type == answer) return Verdict::kPredicted;
  return Differ(c, "l_type", absl::StrCat(answer), absl::StrCat(lock.type), "another lock is in the way");
}

Verdict Engine::OnFcntl(Call& c) {
  const Fd fd = c.f.Fd(0);
  const int command = static_cast<int>(c.f.Int(1));
  switch (command) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return OnLock(c);
    case F_DUPFD:
    case F_DUPFD_CLOEXEC: {
      const int64_t minimum = c.f.Int(2);
      const Result<int64_t> got = Timed([&] { return kernel_.Fcntl(c.t, fd, command, minimum); });
      if (!got.ok()) return CompareFd(c, Result<Fd>(got.error()), command == F_DUPFD_CLOEXEC);
      return CompareFd(c, Result<Fd>(static_cast<Fd>(*got)), command == F_DUPFD_CLOEXEC);
    }
    case F_SETFD:
    case F_SETFL:
    case F_SETPIPE_SZ: {
      const int64_t value = c.f.Int(2);
      const Result<int64_t> got = Timed([&] { return kernel_.Fcntl(c.t, fd, command, value); });
      if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) return *verdict;
      return command == F_SETPIPE_SZ ? CompareNumber(c, "pipe size", *got, "rounded differently") : Verdict::kAck;
    }
    case F_GETFD:
    case F_GETFL:
    case F_GETPIPE_SZ: {
      if (command == F_GETFL && c.note.opaque) return Verdict::kUnsupported;
      const Result<int64_t> got = Timed([&] { return kernel_.Fcntl(c.t, fd, command, 0); });
      if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) return *verdict;
      if (*got != c.r.result && command == F_GETFD) (void)kernel_.Fcntl(c.t, fd, F_SETFD, c.r.result);
      return CompareNumber(c,
                           command == F_GETFD   ? "fd flags"
                           : command == F_GETFL ? "status flags"
                                                : "pipe size",
                           *got, command == F_GETFD ? "close-on-exec differs" : "set differently when it was opened");
    }
    default:
      return Verdict::kUnsupported;
  }
}

// A descriptor of the recorded number, for a file that our kernel cannot make.
Verdict Engine::StandIn(Call& c, kernel::OpaqueKind kind, int flags) {
  const Result<Fd> fd = Timed([&] { return kernel_.InstallOpaque(c.t, kind, flags & (O_CLOEXEC | O_NONBLOCK)); });
  const Verdict verdict = CompareFd(c, fd, (flags & O_CLOEXEC) != 0);
  return verdict == Verdict::kMismatch ? verdict : Verdict::kUnsupported;
}

Verdict Engine::OnIoctl(Call& c) {
  const Fd fd = c.f.Fd(0);
  const uint64_t request = c.f.Unsigned(1);
  if (request == TIOCGPTPEER && c.r.err == 0) {
    return StandIn(c, kernel::OpaqueKind::kMemFd, static_cast<int>(c.f.Int(2)));
  }
  if (c.note.opaque) return Verdict::kUnsupported;
  if (c.note.synthetic) return Verdict::kGiven;
  const bool is_known = request == FIONREAD || request == FIOCLEX || request == FIONCLEX || request == FIONBIO ||
                        request == TCGETS || request == TIOCGWINSZ || request == TIOCGPGRP || request == FICLONE;
  if (!is_known || (c.r.err == 0 && (request == TCGETS || request == TIOCGWINSZ || request == TIOCGPGRP))) {
    return Verdict::kUnsupported;  // a terminal's answers are the machine's
  }
  int64_t value = request == FICLONE ? c.f.Int(2) : 0;
  const Arg* shown = nullptr;  // [0] of FIONBIO and FIONREAD
  if (c.f.size() > 2 && c.f.At(2).kind == Arg::Kind::kArray && !c.f.At(2).items.empty()) {
    shown = &c.f.At(2).items[0];
    if (request == FIONBIO) value = shown->number;
  }
  const int err = ErrorOf(Timed([&] { return kernel_.Ioctl(c.t, fd, request, &value); }));
  if (std::optional<Verdict> verdict = Errors(c, err)) return *verdict;
  if (request != FIONREAD || shown == nullptr) return Verdict::kAck;
  if (value == shown->number) return Verdict::kPredicted;
  if (c.note.pipe && Overlaps(c)) return Verdict::kRaceOk;
  return Differ(c, "bytes waiting", absl::StrCat(shown->number), absl::StrCat(value), "another amount was written");
}

Verdict Engine::OnPipe(Call& c) {
  const int flags = c.r.name == "pipe2" ? static_cast<int>(c.f.Int(1)) : 0;
  const Result<kernel::PipeFds> pipe = Timed([&] { return kernel_.Pipe(c.t, flags); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(pipe))) return *verdict;
  const std::vector<Arg>& ends = c.f.Items(0);
  if (ends.size() != 2) return Verdict::kGiven;
  const Fd read_end = static_cast<Fd>(ends[0].number), write_end = static_cast<Fd>(ends[1].number);
  if (pipe->read_end == read_end && pipe->write_end == write_end) return Verdict::kPredicted;
  const bool first = pipe->read_end != read_end;
  const Verdict verdict =
      Differ(c, "fd", absl::StrCat(read_end, ",", write_end), absl::StrCat(pipe->read_end, ",", pipe->write_end),
             first ? WhyFd(c, read_end, pipe->read_end) : WhyFd(c, write_end, pipe->write_end));
  const bool cloexec = flags & O_CLOEXEC;
  // One may have the number of the other: lift both out of the way first.
  const Result<int64_t> r = kernel_.Fcntl(c.t, pipe->read_end, F_DUPFD, write_end + 1);
  const Result<int64_t> w = kernel_.Fcntl(c.t, pipe->write_end, F_DUPFD, write_end + 1);
  (void)kernel_.Close(c.t, pipe->read_end);
  (void)kernel_.Close(c.t, pipe->write_end);
  if (r.ok()) Move(c.t, static_cast<Fd>(*r), read_end, cloexec);
  if (w.ok()) Move(c.t, static_cast<Fd>(*w), write_end, cloexec);
  return verdict;
}

Verdict Engine::OnSocket(Call& c) {
  const int domain = static_cast<int>(c.f.Int(0)), type = static_cast<int>(c.f.Int(1));
  const int protocol = static_cast<int>(c.f.Int(2));
  const Result<Fd> fd = Timed([&] { return kernel_.Socket(c.t, domain, type, protocol); });
  return CompareFd(c, fd, (type & SOCK_CLOEXEC) != 0);
}

Verdict Engine::OnSocketPair(Call& c) {
  if (c.r.err != 0) return Verdict::kUnsupported;
  const bool cloexec = c.f.Int(1) & SOCK_CLOEXEC;
  Verdict verdict = Verdict::kUnsupported;
  for (const Arg& end : c.f.Items(3)) {
    const Result<Fd> fd =
        Timed([&] { return kernel_.InstallOpaque(c.t, kernel::OpaqueKind::kSocket, cloexec ? O_CLOEXEC : 0); });
    if (!fd.ok()) return Differ(c, "fd", absl::StrCat(end.number), ErrnoName(ErrorOf(fd)), "no descriptor left");
    if (CompareFdNumber(c, static_cast<Fd>(end.number), *fd, cloexec) == Verdict::kMismatch) {
      verdict = Verdict::kMismatch;
    }
  }
  return verdict;
}

Verdict Engine::OnAccept(Call& c) {
  const bool cloexec = c.r.name == "accept4" && (c.f.IntOr(3, 0) & SOCK_CLOEXEC);
  auto reserved = reserved_.find(c.index);
  if (c.r.err != 0 || c.r.outcome != Record::Outcome::kReturned) {
    if (reserved != reserved_.end()) (void)kernel_.Close(c.t, reserved->second);
    return Verdict::kUnsupported;
  }
  Fd fd = -1;
  if (reserved != reserved_.end()) {
    fd = reserved->second;
  } else {
    const Result<Fd> made =
        Timed([&] { return kernel_.InstallOpaque(c.t, kernel::OpaqueKind::kSocket, cloexec ? O_CLOEXEC : 0); });
    if (!made.ok()) return Differ(c, "fd", absl::StrCat(c.r.result), ErrnoName(ErrorOf(made)), "no descriptor");
    fd = *made;
  }
  const Verdict verdict = CompareFdNumber(c, static_cast<Fd>(c.r.result), fd, cloexec);
  return verdict == Verdict::kMismatch ? verdict : Verdict::kUnsupported;
}

Verdict Engine::OnConnect(Call& c) {
  const Arg* path = c.f.IsStruct(1) ? c.f.At(1).Find("sun_path") : nullptr;
  const bool file = path != nullptr && path->kind == Arg::Kind::kString && !path->text.empty() && path->text[0] != 0;
  if (!file || c.r.err == 0) return Verdict::kUnsupported;
  const Fd fd = c.f.Fd(0);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.ConnectUnix(c.t, fd, path->text); })));
}

Verdict Engine::OnReceiveMessage(Call& c) {
  if (c.r.err != 0 || c.f.size() < 2) return Verdict::kUnsupported;
  const bool cloexec = c.f.IntOr(2, 0) & MSG_CMSG_CLOEXEC;
  Verdict verdict = Verdict::kUnsupported;
  for (const Arg* received : ReceivedDescriptors(c.f.At(1))) {
    const Result<Fd> fd =
        Timed([&] { return kernel_.InstallOpaque(c.t, kernel::OpaqueKind::kMemFd, cloexec ? O_CLOEXEC : 0); });
    if (fd.ok() && CompareFdNumber(c, static_cast<Fd>(received->number), *fd, cloexec) == Verdict::kMismatch)
      verdict = Verdict::kMismatch;
  }
  return verdict;
}

Verdict Engine::OnAnonymous(Call& c) {
  const std::string& call = c.r.name;
  kernel::OpaqueKind kind = kernel::OpaqueKind::kEpoll;
  int64_t flags = 0;
  if (call == "epoll_create1") {
    flags = c.f.Int(0);
  } else if (call == "eventfd" || call == "eventfd2") {
    kind = kernel::OpaqueKind::kEventFd;
    if (call == "eventfd2") flags = c.f.Int(1);
  } else if (call == "timerfd_create") {
    kind = kernel::OpaqueKind::kTimerFd;
    flags = c.f.Int(1);
  } else if (call == "signalfd" || call == "signalfd4") {
    kind = kernel::OpaqueKind::kSignalFd;
    if (call == "signalfd4") flags = c.f.Int(3);
    if (c.f.Int(0) >= 0) return Verdict::kUnsupported;  // changes the mask of an existing one
  } else if (call == "inotify_init" || call == "inotify_init1") {
    kind = kernel::OpaqueKind::kInotify;
    if (call == "inotify_init1") flags = c.f.Int(0);
  } else if (call == "memfd_create") {
    kind = kernel::OpaqueKind::kMemFd;
    flags = c.f.Int(1) & kMemFdCloexec ? O_CLOEXEC : 0;
  } else if (call == "pidfd_open") {
    kind = kernel::OpaqueKind::kPidFd;
    flags = O_CLOEXEC;
  }
  return c.r.err != 0 ? Verdict::kUnsupported : StandIn(c, kind, static_cast<int>(flags));
}

// ---- Contents ----

// The pieces that a vectored call asked for; if they were not shown, what it got in one.
std::vector<size_t> Engine::VectorLengths(Call& c) {
  if (c.f.VectorLength(1) < 0) return {static_cast<size_t>(std::max<int64_t>(c.r.result, 0))};
  std::vector<size_t> lengths;
  for (const Arg& item : c.f.Items(1)) lengths.push_back(static_cast<size_t>(item.Find("iov_len")->number));
  return lengths;
}

// How much a read or write asked for.
size_t Engine::WantedBytes(Call& c) {
  if (!IsVector(c.r.name)) return static_cast<size_t>(c.f.Int(2));
  size_t total = 0;
  for (size_t length : VectorLengths(c)) total += length;
  return total;
}

Verdict Engine::OnRead(Call& c) {
  if (c.note.opaque) return Verdict::kUnsupported;
  const Fd fd = c.f.Fd(0);
  const size_t wanted = WantedBytes(c);
  if (!c.f.ok()) return Verdict::kGiven;
  const bool positioned = c.r.name[0] == 'p';
  if (c.note.pipe && !positioned) return ReadStream(c, wanted);
  const std::span<std::byte> out = Scratch(wanted, c.r.result);
  const int64_t offset = positioned ? c.f.Int(3) : 0;
  const std::vector<std::span<std::byte>> pieces =
      c.r.name == "readv" ? Split(out, VectorLengths(c)) : std::vector<std::span<std::byte>>();
  const Result<size_t> got = Timed([&] {
    return positioned       ? kernel_.PRead(c.t, fd, out, offset)
           : pieces.empty() ? kernel_.Read(c.t, fd, out)
                            : kernel_.ReadV(c.t, fd, pieces);
  });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) return *verdict;
  const int64_t ours = static_cast<int64_t>(*got);
  if (!positioned && ours != c.r.result) (void)kernel_.Seek(c.t, fd, c.r.result - ours, SEEK_CUR);
  return CompareNumber(c, "count", ours, "the file has another size, or the offset another place");
}

// A pipe: how much is there depends on who came first.  What was written by now must be enough for the recorded
// count; if there is more, some writer must have been able to come later.
Verdict Engine::ReadStream(Call& c, size_t wanted) {
  if (c.note.external && c.r.err != EBADF) return Verdict::kGiven;  // who writes to it is not in the trace
  const Fd fd = c.f.Fd(0);
  auto waiting = [&]() -> int64_t {
    int64_t bytes = 0;
    return kernel_.Ioctl(c.t, fd, FIONREAD, &bytes).ok() ? bytes : 0;
  };
  int64_t available = waiting();
  if (available < c.r.result) {
    Pump();
    available = waiting();
  }
  const bool completed = c.r.outcome == Record::Outcome::kReturned;
  const int64_t recorded = c.r.err == 0 && completed ? c.r.result : 0;
  if ((c.r.err != 0 || !completed || recorded == 0) && wanted > 0 &&
      available > 0) {  // nothing came, something is here
    if (Overlaps(c)) return Verdict::kRaceOk;
    return Differ(c, "count", completed && c.r.err == 0 ? "0" : "no data", absl::StrCat(available),
                  "our pipe still holds bytes");
  }
  const bool more = available > recorded && recorded < static_cast<int64_t>(wanted);
  const std::span<std::byte> out = Scratch(more ? static_cast<size_t>(recorded) : wanted, recorded);
  const Result<size_t> got = Timed([&] { return kernel_.Read(c.t, fd, out); });
  Pump();
  // The last writer may have gone a moment earlier or later.
  if (!SameError(c, ErrorOf(got)) && Overlaps(c)) return Verdict::kRaceOk;
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) return *verdict;
  if (static_cast<int64_t>(*got) != recorded) {
    return CompareNumber(c, "count", static_cast<int64_t>(*got), "another amount was written to the pipe by then");
  }
  if (!more) return Verdict::kPredicted;
  if (Overlaps(c)) return Verdict::kRaceOk;
  return Differ(c, "count", absl::StrCat(recorded), absl::StrCat(available),
                "our pipe holds more, and nobody was writing at the time");
}

Verdict Engine::OnWrite(Call& c) {
  if (c.note.opaque) return Verdict::kUnsupported;
  const Fd fd = c.f.Fd(0);
  if (c.returning) {  // it had to wait when it was entered
    Pump();
    const Deferred& write = deferred_.at(c.index);
    const auto reads = [](const Record& r, const InitialState::Note& note) {
      return note.pipe && r.result > 0 && (r.name == "read" || r.name == "readv");
    };
    while (write.left > 0 && write.err == 0 && TakeEarly(reads)) Pump();
    if (write.done == 0) return Errors(c, write.err == 0 ? ERESTART : write.err).value_or(Verdict::kPredicted);
    if (std::optional<Verdict> verdict = Errors(c, 0)) return *verdict;
    return CompareNumber(c, "count", static_cast<int64_t>(write.done), "the pipe had room for another amount");
  }
  const size_t wanted = WantedBytes(c);
  if (!c.f.ok()) return Verdict::kGiven;
  const bool positioned = c.r.name[0] == 'p';
  const std::span<std::byte> in = Scratch(wanted, c.note.pipe ? static_cast<int64_t>(wanted) : c.r.result);
  const int64_t offset = positioned ? c.f.Int(3) : 0;
  const std::vector<std::span<const std::byte>> pieces =
      c.r.name == "writev" ? Split<const std::byte>(in, VectorLengths(c)) : std::vector<std::span<const std::byte>>();
  const Result<size_t> wrote = Timed([&] {
    return positioned       ? kernel_.PWrite(c.t, fd, in, offset)
           : pieces.empty() ? kernel_.Write(c.t, fd, in)
                            : kernel_.WriteV(c.t, fd, pieces);
  });
  const size_t done = wrote.ok() ? *wrote : 0;
  const bool waits = ErrorOf(wrote) == ERESTART || (wrote.ok() && c.note.pipe && done < in.size());
  if (waits && c.r.outcome == Record::Outcome::kReturned && c.r.exit_line != c.r.line) {
    deferred_[c.index] = {c.r.pid, fd, in.size() - done, done};
    return Verdict::kPredicted;  // decided when it returns
  }
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(wrote))) return *verdict;
  const int64_t ours = static_cast<int64_t>(*wrote);
  if (!positioned && ours != c.r.result) (void)kernel_.Seek(c.t, fd, c.r.result - ours, SEEK_CUR);
  return CompareNumber(c, "count", ours, "there was room for another amount");
}

Verdict Engine::OnSeek(Call& c) {
  const Fd fd = c.f.Fd(0);
  const int64_t offset = c.f.Int(1);
  const int whence = static_cast<int>(c.f.Int(2));
  if (Task* task = TaskOf(c.r.pid); task != nullptr) task->listings.erase(fd);
  const Result<int64_t> at = Timed([&] { return kernel_.Seek(c.t, fd, offset, whence); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(at))) return *verdict;
  if (*at != c.r.result) (void)kernel_.Seek(c.t, fd, c.r.result, SEEK_SET);
  return CompareNumber(c, "offset", *at, whence == SEEK_END ? "the file has another size" : "the offset had moved");
}

Verdict Engine::OnTruncate(Call& c) {
  const int64_t size = c.f.Int(1);
  if (c.r.name == "truncate") {
    const std::string& path = c.f.Path(0);
    return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Truncate(c.t, path, size); })));
  }
  const Fd fd = c.f.Fd(0);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.FTruncate(c.t, fd, size); })));
}

Verdict Engine::OnFallocate(Call& c) {
  const Fd fd = c.f.Fd(0);
  const int mode = static_cast<int>(c.f.Int(1));
  const int64_t offset = c.f.Int(2), length = c.f.Int(3);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.FAllocate(c.t, fd, mode, offset, length); })));
}

Verdict Engine::OnSync(Call& c) {
  const Fd fd = c.f.Fd(0);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.FSync(c.t, fd); })));
}

Verdict Engine::OnAdvise(Call& c) {
  const Fd fd = c.f.Fd(0);
  const int64_t offset = c.f.Int(1), length = c.f.Int(2);
  const int advice = static_cast<int>(c.f.Int(3));
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.FAdvise(c.t, fd, offset, length, advice); })));
}

Verdict Engine::OnCopyFileRange(Call& c) {
  if (c.note.opaque || !c.f.IsNull(1) || !c.f.IsNull(3)) return Verdict::kUnsupported;
  const Fd in = c.f.Fd(0), out = c.f.Fd(2);
  const size_t count = static_cast<size_t>(c.f.Int(4));
  const uint32_t flags = static_cast<uint32_t>(c.f.Int(5));
  const Result<size_t> moved =
      Timed([&] { return kernel_.CopyFileRange(c.t, in, nullptr, out, nullptr, count, flags); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(moved))) return *verdict;
  return CompareNumber(c, "count", static_cast<int64_t>(*moved), "the source has another size");
}

Verdict Engine::OnSendFile(Call& c) {
  if (c.note.opaque || !c.f.IsNull(2)) return Verdict::kUnsupported;
  const Fd out = c.f.Fd(0), in = c.f.Fd(1);
  const size_t count = static_cast<size_t>(c.f.Int(3));
  const Result<size_t> moved = Timed([&] { return kernel_.SendFile(c.t, out, in, nullptr, count); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(moved))) return *verdict;
  return CompareNumber(c, "count", static_cast<int64_t>(*moved), "the source has another size");
}

// ---- Attributes ----

Verdict Engine::CompareStat(Call& c, size_t buffer_argument, const At& at, int flags) {
  const Result<kernel::Stat> stat = Timed([&] { return kernel_.StatAt(c.t, at.dirfd, at.path, flags); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(stat))) return *verdict;
  if (!c.f.IsStruct(buffer_argument)) return Verdict::kAck;
  const ShownStat shown = c.f.Stat(buffer_argument);
  struct Field {
    absl::string_view name;
    std::optional<uint64_t> recorded;
    uint64_t ours;
  };
  const bool directory = S_ISDIR(stat->mode);
  const bool sized = S_ISREG(stat->mode) || S_ISLNK(stat->mode);
  const bool linked = shown.nlink && (!directory || initial_.counts_subdirectories);
  auto wide = [](const auto& value, bool wanted) {
    return value && wanted ? std::optional<uint64_t>(static_cast<uint64_t>(*value)) : std::nullopt;
  };
  const Field fields[] = {
      {"st_mode", wide(shown.mode, true), stat->mode},
      {"st_nlink", wide(shown.nlink, linked), stat->nlink + LinksOff({stat->dev, stat->ino})},
      {"st_uid", wide(shown.uid, true), stat->uid},
      {"st_gid", wide(shown.gid, true), stat->gid},
      {"st_size", wide(shown.size, sized), static_cast<uint64_t>(stat->size)},
      {"st_rdev", wide(shown.rdev, S_ISCHR(stat->mode) || S_ISBLK(stat->mode)), stat->rdev},
  };
  for (const Field& field : fields) {
    if (!field.recorded || *field.recorded == field.ours) continue;
    const bool octal = field.name == "st_mode";
    const Verdict verdict =
        Differ(c, field.name, octal ? absl::StrFormat("0%o", *field.recorded) : absl::StrCat(*field.recorded),
               octal ? absl::StrFormat("0%o", field.ours) : absl::StrCat(field.ours),
               "our kernel has this file in another state");
    if (shown.nlink) links_off_[{stat->dev, stat->ino}] += *shown.nlink - static_cast<uint32_t>(fields[1].ours);
    AdoptStat(c, at, flags, shown);
    return verdict;
  }
  if (!shown.dev || !shown.ino) return Verdict::kPredicted;
  const Inode recorded{*shown.dev, *shown.ino}, ours{stat->dev, stat->ino};
  if (inodes_.Bind(recorded, ours)) return Verdict::kPredicted;
  // The number may be a reused one, if the file it belonged to is gone.
  if (const Inode* old = inodes_.Find(recorded); old != nullptr && dying_.contains(*old)) inodes_.Forget(recorded);
  if (dying_.contains(ours) || S_ISFIFO(stat->mode)) inodes_.ForgetValue(ours);
  if (inodes_.Bind(recorded, ours)) return Verdict::kPredicted;
  const Inode* partner = inodes_.Find(recorded);
  return Differ(c, "st_ino", absl::StrCat(recorded.second),
                absl::StrCat(ours.second, partner == nullptr ? "" : absl::StrCat(" instead of ", partner->second)),
                "the same file in one kernel, two files in the other");
}

uint32_t Engine::LinksOff(const Inode& inode) const {
  auto it = links_off_.find(inode);
  return it == links_off_.end() ? 0 : it->second;
}

// Makes our file look as recorded, so that one difference is reported once.
void Engine::AdoptStat(Call& c, const At& at, int flags, const ShownStat& shown) {
  if (shown.mode) (void)kernel_.ChmodAt(c.t, at.dirfd, at.path, *shown.mode & 07777, flags & AT_EMPTY_PATH);
  if (shown.uid && shown.gid) (void)kernel_.ChownAt(c.t, at.dirfd, at.path, *shown.uid, *shown.gid, flags);
  if (!shown.size || !shown.mode || !S_ISREG(*shown.mode)) return;
  if (at.path.empty()) {
    (void)kernel_.FTruncate(c.t, at.dirfd, *shown.size);
    return;
  }
  const Result<Fd> fd = kernel_.OpenAt(c.t, at.dirfd, at.path, O_WRONLY | O_CLOEXEC);
  if (!fd.ok()) return;
  (void)kernel_.FTruncate(c.t, *fd, *shown.size);
  (void)kernel_.Close(c.t, *fd);
}

Verdict Engine::OnStat(Call& c) {
  const std::string& call = c.r.name;
  if (call == "fstat") {
    if (c.note.opaque) return Verdict::kUnsupported;
    return CompareStat(c, 1, {c.f.Fd(0), ""}, AT_EMPTY_PATH);
  }
  const bool at = call == "newfstatat" || call == "statx";
  const int flags = call == "newfstatat" ? static_cast<int>(c.f.IntOr(3, 0))
                    : at                 ? static_cast<int>(c.f.IntOr(2, 0))
                    : call == "lstat"    ? AT_SYMLINK_NOFOLLOW
                                         : 0;
  const size_t buffer_at = call == "newfstatat" ? 2 : call == "statx" ? 4 : 1;
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  if (!c.f.ok()) return Verdict::kGiven;
  if (c.note.opaque && path.path.empty()) return Verdict::kUnsupported;
  return CompareStat(c, buffer_at, path, flags);
}

Verdict Engine::OnAccess(Call& c) {
  const bool at = c.r.name != "access";
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  const int mode = static_cast<int>(c.f.Int(at ? 2 : 1)), flags = static_cast<int>(c.f.IntOr(3, 0));
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Access(c.t, path.dirfd, path.path, mode, flags); })));
}

Verdict Engine::OnReadLink(Call& c) {
  const bool at = IsAt(c.r);
  const size_t path_at = at ? 1 : 0;
  const At path = PathAt(c, at ? 0 : -1, path_at);
  const size_t size = static_cast<size_t>(c.f.Int(path_at + 2));
  const Result<std::string> target = Timed([&] { return kernel_.ReadLinkAt(c.t, path.dirfd, path.path, size); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(target))) return *verdict;
  const Arg& shown = c.f.At(path_at + 1);
  if (shown.kind == Arg::Kind::kString && !absl::StartsWith(*target, shown.text)) {
    return Differ(c, "target", shown.text, *target, "the link leads elsewhere");
  }
  return CompareNumber(c, "length", static_cast<int64_t>(target->size()), "the link leads elsewhere");
}

Verdict Engine::OnStatFs(Call& c) {
  const bool by_path = c.r.name == "statfs";
  if (!by_path && c.note.opaque) return Verdict::kUnsupported;
  const Fd fd = by_path ? kernel::kAtFdCwd : c.f.Fd(0);
  const std::string path = by_path ? c.f.Path(0) : "";
  const Result<kernel::StatFs> stat = Timed([&] { return kernel_.StatFsAt(c.t, fd, path); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(stat))) return *verdict;
  // The type and the free space are the recorded machine's disk; what a program can rely on is compared.
  const int64_t name_max = c.f.FieldOr(1, "f_namelen", static_cast<int64_t>(stat->name_max));
  if (name_max == static_cast<int64_t>(stat->name_max)) return Verdict::kAck;
  return Differ(c, "f_namelen", absl::StrCat(name_max), absl::StrCat(stat->name_max), "another kind of file system");
}

// ---- Names ----

Verdict Engine::OnSymlink(Call& c) {
  const bool at = IsAt(c.r);
  const std::string& target = c.f.Path(0);
  const At path = PathAt(c, at ? 1 : -1, at ? 2 : 1);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.SymlinkAt(c.t, target, path.dirfd, path.path); })));
}

Verdict Engine::OnLink(Call& c) {
  const bool at = IsAt(c.r);
  const At from = PathAt(c, at ? 0 : -1, at ? 1 : 0), to = PathAt(c, at ? 2 : -1, at ? 3 : 1);
  const int flags = at ? static_cast<int>(c.f.Int(4)) : 0;
  return CompareAck(
      c, ErrorOf(Timed([&] { return kernel_.LinkAt(c.t, from.dirfd, from.path, to.dirfd, to.path, flags); })));
}

Verdict Engine::OnUnlink(Call& c) {
  const bool at = IsAt(c.r);
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  const int flags = c.r.name == "rmdir" ? AT_REMOVEDIR : at ? static_cast<int>(c.f.Int(2)) : 0;
  ForgetInode(c.t, path);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.UnlinkAt(c.t, path.dirfd, path.path, flags); })));
}

Verdict Engine::OnRename(Call& c) {
  const bool at = c.r.name != "rename";
  const At from = PathAt(c, at ? 0 : -1, at ? 1 : 0), to = PathAt(c, at ? 2 : -1, at ? 3 : 1);
  const uint32_t flags = c.r.name == "renameat2" ? static_cast<uint32_t>(c.f.Int(4)) : 0;
  ForgetInode(c.t, to);
  return CompareAck(
      c, ErrorOf(Timed([&] { return kernel_.RenameAt(c.t, from.dirfd, from.path, to.dirfd, to.path, flags); })));
}

Verdict Engine::OnMkdir(Call& c) {
  const bool at = IsAt(c.r);
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  const uint32_t mode = static_cast<uint32_t>(c.f.Int(at ? 2 : 1));
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.MkdirAt(c.t, path.dirfd, path.path, mode); })));
}

Verdict Engine::OnMknod(Call& c) {
  const bool at = IsAt(c.r);
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  const uint32_t mode = static_cast<uint32_t>(c.f.Int(at ? 2 : 1));
  const size_t device_at = at ? 3 : 2;
  const uint64_t dev = c.f.size() > device_at ? static_cast<uint64_t>(c.f.At(device_at).number) : 0;
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.MknodAt(c.t, path.dirfd, path.path, mode, dev); })));
}

Verdict Engine::OnChmod(Call& c) {
  if (c.r.name == "fchmod") {
    const Fd fd = c.f.Fd(0);
    const uint32_t mode = static_cast<uint32_t>(c.f.Int(1));
    return CompareAck(c, ErrorOf(Timed([&] { return kernel_.ChmodAt(c.t, fd, "", mode, AT_EMPTY_PATH); })));
  }
  const bool at = c.r.name != "chmod";
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  const uint32_t mode = static_cast<uint32_t>(c.f.Int(at ? 2 : 1));
  if (c.note.synthetic) {
    if (c.r.err == 0 && !c.note.stands_for.empty()) {
      (void)kernel_.ChmodAt(c.t, kernel::kAtFdCwd, c.note.stands_for, mode);
    }
    return Verdict::kGiven;
  }
  const int flags = c.r.name == "fchmodat2" ? static_cast<int>(c.f.Int(3)) : 0;
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.ChmodAt(c.t, path.dirfd, path.path, mode, flags); })));
}

Verdict Engine::OnChown(Call& c) {
  if (c.r.name == "fchown") {
    if (c.note.opaque) return Verdict::kUnsupported;
    const Fd fd = c.f.Fd(0);
    const uint32_t uid = static_cast<uint32_t>(c.f.Int(1)), gid = static_cast<uint32_t>(c.f.Int(2));
    return CompareAck(c, ErrorOf(Timed([&] { return kernel_.ChownAt(c.t, fd, "", uid, gid, AT_EMPTY_PATH); })));
  }
  const bool at = c.r.name == "fchownat";
  const At path = PathAt(c, at ? 0 : -1, at ? 1 : 0);
  const size_t uid_at = at ? 2 : 1;
  const uint32_t uid = static_cast<uint32_t>(c.f.Int(uid_at)), gid = static_cast<uint32_t>(c.f.Int(uid_at + 1));
  const int flags = at ? static_cast<int>(c.f.Int(4)) : c.r.name == "lchown" ? AT_SYMLINK_NOFOLLOW : 0;
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.ChownAt(c.t, path.dirfd, path.path, uid, gid, flags); })));
}

Verdict Engine::OnUtimes(Call& c) {
  int64_t times[2] = {UTIME_NOW, UTIME_NOW};
  if (!c.f.IsNull(2)) {
    const std::vector<Arg>& shown = c.f.Items(2);
    for (size_t i = 0; i < 2 && i < shown.size(); ++i) times[i] = TimeOf(shown[i]);
  }
  At path;
  path.dirfd = c.f.Fd(0);
  int flags = static_cast<int>(c.f.IntOr(3, 0));
  if (c.f.IsNull(1)) {
    if (c.note.opaque) return Verdict::kUnsupported;
    flags |= AT_EMPTY_PATH;
  } else {
    path = PathAt(c, 0, 1);
  }
  const int64_t accessed = times[0], modified = times[1];
  return CompareAck(
      c, ErrorOf(Timed([&] { return kernel_.UtimensAt(c.t, path.dirfd, path.path, accessed, modified, flags); })));
}

// Our kernel has no extended attributes; one that changed the permissions is followed in that.
Verdict Engine::OnSetXattr(Call& c) {
  if (c.r.err == 0 && c.note.mode_after >= 0) {
    const uint32_t mode = static_cast<uint32_t>(c.note.mode_after);
    if (c.r.name == "fsetxattr") {
      (void)kernel_.ChmodAt(c.t, c.f.Fd(0), "", mode, AT_EMPTY_PATH);
    } else {
      (void)kernel_.ChmodAt(c.t, kernel::kAtFdCwd, c.f.Path(0), mode);
    }
  }
  return Verdict::kUnsupported;
}

Verdict Engine::OnGetdents(Call& c) {
  const Fd fd = c.f.Fd(0);
  const size_t size = static_cast<size_t>(c.f.Int(2));
  const Result<std::vector<kernel::Dirent>> got = Timed([&] { return kernel_.GetDents(c.t, fd, size); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(got))) return *verdict;
  if (c.note.unknown_listing) return Verdict::kGiven;
  const ShownDirents shown = c.f.Dirents(1);
  OpenListing& listing = TaskOf(c.r.pid)->listings[fd];
  int64_t bytes = 0;
  for (const kernel::Dirent& entry : *got) {
    bytes += static_cast<int64_t>((19 + entry.name.size() + 1 + 7) / 8 * 8);
    listing.ours.insert(entry.name);
  }
  for (const ShownDirent& entry : shown.entries) listing.recorded.insert(entry.name);
  listing.our_bytes += bytes;
  listing.recorded_bytes += c.r.result;
  listing.recorded_count += shown.count;
  // Directories are listed in another order: one that takes several calls can only be compared at its end.
  const bool in_chunks = listing.recorded_bytes > static_cast<int64_t>(size) - kLongestEntry;
  if (in_chunks && c.r.result != 0) return Verdict::kRaceOk;
  std::string what, recorded, ours;
  if (listing.ours.size() != listing.recorded_count) {
    what = "entries";
    recorded = absl::StrCat(listing.recorded_count);
    ours = absl::StrCat(listing.ours.size());
  } else if (listing.our_bytes != listing.recorded_bytes) {
    what = "bytes";
    recorded = absl::StrCat(listing.recorded_bytes);
    ours = absl::StrCat(listing.our_bytes);
  } else if (!listing.recorded.empty() && listing.recorded != listing.ours) {
    what = "names";
    recorded = absl::StrCat(listing.recorded.size(), " names");
    ours = "others";
  } else {
    return Verdict::kPredicted;
  }
  std::string why = MissingNames(listing);
  listing.recorded = listing.ours;  // said once
  listing.recorded_count = listing.ours.size();
  listing.recorded_bytes = listing.our_bytes;
  return Differ(c, what, std::move(recorded), std::move(ours), std::move(why));
}

std::string Engine::MissingNames(const OpenListing& listing) {
  std::string why;
  for (const std::string& name : listing.recorded) {
    if (!listing.ours.contains(name)) absl::StrAppend(&why, why.empty() ? "" : ", ", name, " is not in our kernel");
    if (why.size() > 60) break;
  }
  for (const std::string& name : listing.ours) {
    if (why.size() > 60) break;
    if (!listing.recorded.empty() && !listing.recorded.contains(name)) {
      absl::StrAppend(&why, why.empty() ? "" : ", ", name, " is only in our kernel");
    }
  }
  return why.empty() ? "the directory has other entries" : why;
}

Verdict Engine::OnGetcwd(Call& c) {
  const size_t size = static_cast<size_t>(c.f.Int(1));
  const Result<std::string> cwd = Timed([&] { return kernel_.GetCwd(c.t, size); });
  if (std::optional<Verdict> verdict = Errors(c, ErrorOf(cwd))) return *verdict;
  const Arg& shown = c.f.At(0);
  if (shown.kind == Arg::Kind::kString && !shown.truncated && shown.text != *cwd) {
    return Differ(c, "cwd", shown.text, *cwd, "our process is in another directory");
  }
  return CompareNumber(c, "length", static_cast<int64_t>(cwd->size()) + 1, "our process is in another directory");
}

Verdict Engine::OnChdir(Call& c) {
  if (c.r.name == "fchdir") {
    const Fd fd = c.f.Fd(0);
    return CompareAck(c, ErrorOf(Timed([&] { return kernel_.FChdir(c.t, fd); })));
  }
  const std::string& path = c.f.Path(0);
  return CompareAck(c, ErrorOf(Timed([&] { return kernel_.Chdir(c.t, path); })));
}

// ---- Readiness ----

Verdict Engine::ComparePoll(Call& c, std::vector<kernel::PollEntry>& entries, const std::optional<uint64_t>& mask,
                            const std::optional<std::map<Fd, int>>& shown) {
  // One that timed out need not wait in our kernel, which has no time to pass.
  const bool timed_out = c.r.err == 0 && c.r.outcome == Record::Outcome::kReturned && c.r.result == 0;
  const Result<int> ready = Timed([&] { return kernel_.Poll(c.t, entries, !timed_out, mask ? &*mask : nullptr); });
  const int err = ErrorOf(ready);
  if (err == ERESTART && mask) TaskOf(c.r.pid)->waiting_mask = mask;  // the signal that ends it comes later
  const int64_t ours = ready.ok() ? *ready : 0;
  bool same = SameError(c, err);
  if (same && ready.ok()) {
    same = ours == c.r.result;
    for (const kernel::PollEntry& entry : entries) {
      if (!shown) break;
      auto it = shown->find(entry.fd);
      same = same && entry.revents == (it == shown->end() ? 0 : it->second);
    }
  }
  if (same) return Verdict::kPredicted;
  if (Overlaps(c)) return Verdict::kRaceOk;
  if (std::optional<Verdict> verdict = Errors(c, err)) return *verdict;
  std::string got;
  for (const kernel::PollEntry& entry : entries) {
    if (entry.revents != 0) absl::StrAppend(&got, " {fd=", entry.fd, " revents=", entry.revents, "}");
  }
  return Differ(c, "ready", absl::StrCat(c.r.result, " ", c.r.result_note), absl::StrCat(ours, got),
                "other descriptors are ready in our kernel");
}

Verdict Engine::OnPoll(Call& c) {
  std::vector<kernel::PollEntry> entries;
  for (const Arg& item : c.f.Items(0)) {
    const Arg* fd = item.Find("fd");
    const Arg* events = item.Find("events");
    if (fd == nullptr || events == nullptr) return Verdict::kGiven;
    entries.push_back({static_cast<Fd>(fd->number), static_cast<int16_t>(events->number), 0});
  }
  if (c.note.opaque) return Verdict::kUnsupported;
  if (c.note.external || c.f.At(0).truncated) return Verdict::kGiven;  // strace shows the first 32 only
  const std::optional<uint64_t> mask = c.r.name == "ppoll" ? c.f.SignalSet(3) : std::nullopt;
  return ComparePoll(c, entries, mask, ShownEvents(c.r.result_note));
}

Verdict Engine::OnSelect(Call& c) {
  std::map<Fd, int16_t> wanted;
  constexpr int16_t kEvents[] = {POLLIN, POLLOUT, POLLPRI};
  for (size_t set = 0; set < 3; ++set) {
    const Arg& arg = c.f.At(set + 1);
    if (arg.kind == Arg::Kind::kInteger) continue;
    for (const Arg& fd : c.f.Items(set + 1)) {
      if (fd.name == "=>") continue;
      int16_t& events = wanted[static_cast<Fd>(fd.number)];
      events = static_cast<int16_t>(events | kEvents[set]);
    }
  }
  if (c.note.opaque) return Verdict::kUnsupported;
  if (c.note.external) return Verdict::kGiven;
  std::vector<kernel::PollEntry> entries;
  for (const auto& [fd, events] : wanted) entries.push_back({fd, events, 0});
  std::optional<uint64_t> mask;
  if (c.r.name == "pselect6" && c.f.IsStruct(5)) {
    const Arg* shown = c.f.At(5).Find("sigmask");
    if (shown != nullptr && shown->kind == Arg::Kind::kArray) mask = SignalSetOf(*shown);
  }
  return ComparePoll(c, entries, mask, std::nullopt);
}

}  // namespace hotpath::replay
