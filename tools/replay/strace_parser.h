#ifndef HOTPATH_TOOLS_REPLAY_STRACE_PARSER_H_
#define HOTPATH_TOOLS_REPLAY_STRACE_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace hotpath::replay {

// One decoded argument (or part of one) of a recorded call.
struct Arg {
  enum class Kind : uint8_t {
    kInteger,  // 3, -1, 0x7f.., 0644, AT_FDCWD, O_RDONLY|O_CLOEXEC, NULL: `number` is the value
    kString,   // "bytes": `text` is unescaped, `truncated` if strace wrote "..." after it; of @"x", "\0x"
    kStruct,   // {st_mode=S_IFREG|0644, ...}: `items` carry their field in `name`
    kArray,    // [a, b, ...] and sets [CHLD INT]: `items`; [...] is an empty truncated one
    kCall,     // makedev(0xfe, 0), WIFEXITED(s) && WEXITSTATUS(s) == 0: see `text`; `items` if comma-separated.
               // `number` of makedev, htons, htonl and _IOC is their argument's or result's value in host order;
               // of WIF..., the status as wait4(2) encodes it
    kElided,   // a bare "...", 0x7ffd.. /* 4 vars */, ???, or in an argument that replay never looks into a notation
               // of its own: `text` is as printed, `number` the address if there was one
  };
  Kind kind = Kind::kElided;
  int64_t number = 0;         // what is above INT64_MAX wraps: 18446744073709551615 is -1
  bool symbolic = false;      // the integer was spelled with names; `text` keeps the spelling
  bool unresolved = false;    // one of the names has no known value and counts as 0: replay never looks at it there
  bool truncated = false;     // a string, array or struct ends with "..."
  bool deleted = false;       // the -y annotation ended in (deleted)
  bool complemented = false;  // a set written ~[...]
  std::string text;
  std::string name;        // field of the enclosing struct, or of a call without one, what is called
  std::string annotation;  // what -y printed between < and > after an integer, unescaped
  // What the call wrote in the place of a value, as in [128 => 16] or {...} => {...}, is the last item of that value,
  // named "=>".  An array's own index, as in [VMIN]=1, is its `name`.
  std::vector<Arg> items;

  // The field called `field` of a struct, or null.
  const Arg* Find(std::string_view field) const;

  bool operator==(const Arg&) const = default;
};

// One event of the trace.  A call split into "<unfinished ...>" and "<... resumed>" is one Record whose interval
// is [line, exit_line]; an unsplit one has line == exit_line.  Lines count from 1.
struct Record {
  enum class Kind : uint8_t {
    kCall,     // a system call
    kSignal,   // --- SIGCHLD {si_signo=...} ---   name is the signal, result its number, args[0] the siginfo struct
    kExited,   // +++ exited with N +++            result is N
    kKilled,   // +++ killed by SIGX [(core dumped)] +++   name is the signal, result its number,
               //                                          result_note "core dumped" if it was
    kStopped,  // --- stopped by SIGX ---          name is the signal, result its number
  };
  enum class Outcome : uint8_t {
    kReturned,      // = N or = -1 EXXX
    kRestarted,     // = ? ERESTARTSYS and its kin: not completed, the kernel will run it again
    kNeverReturned  // = ? (exit_group, or the task died inside the call)
  };
  Kind kind = Kind::kCall;
  Outcome outcome = Outcome::kReturned;
  size_t line = 0;
  size_t exit_line = 0;
  int32_t pid = 0;
  std::string name;
  std::vector<Arg> args;
  int64_t result = 0;       // as returned; -1 with err set on failure
  int err = 0;              // errno number, 0 if none; of kRestarted 512 to 516, as ERESTARTSYS is in the kernel
  std::string result_note;  // -y annotation of a returned descriptor, followed by "(deleted)" if it was, or the text in
                            // parentheses of a result
  int32_t superseded = 0;  // of an execve by a thread: the pid of the leader it took over when it returned, otherwise 0
  double time = -1;        // seconds, as recorded (-ttt: epoch; -tt: since midnight); -1 if absent
  double duration = -1;    // -T, seconds; -1 if absent

  bool operator==(const Record&) const = default;
};

struct Trace {
  std::string file;  // for messages
  size_t lines = 0;
  size_t notices = 0;  // lines, or parts of lines, in which strace spoke of itself: "strace: Process 7 attached"
  std::vector<Record> records;  // ordered by `line`
  size_t calls = 0;             // records of Kind::kCall
  size_t tasks = 0;             // distinct pids
};

// Decodes a whole strace output (strace -f [-t|-tt|-ttt] [-T] [-y|-yy] [-s N], with or without -o).  Lines without a
// pid belong to the first process, or once that has died to the last one alive; the pid is 0 if no line tells it.
// Every byte is accounted for: a line or an argument that cannot be decoded is an InvalidArgument whose message is
// "FILE:LINE: what could not be decoded: the offending text (at most 80 bytes, escaped)".  A trace without any call,
// and a call left open at the end by a task that neither resumed nor died, are errors too.  Results altered by strace
// itself (-e inject) are rejected: they are nobody's oracle.
// Cost: one pass; memory grows with the number of arguments, each of which takes sizeof(Arg) and the text it needs.
absl::StatusOr<Trace> ParseStrace(std::string_view text, std::string_view file);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_STRACE_PARSER_H_
