#ifndef HOTPATH_TOOLS_REPLAY_RECORD_FIELDS_H_
#define HOTPATH_TOOLS_REPLAY_RECORD_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// What -y printed after a descriptor, taken apart.
struct FdNote {
  bool present = false;
  bool deleted = false;
  std::string path;              // absolute, of a file; empty for pipes, sockets and anonymous inodes
  std::string text;              // as printed
  std::optional<uint64_t> rdev;  // of a device
  bool is_pipe = false;
};

// What a stat family call printed.  Only what is set was shown: strace without full options abbreviates.
struct ShownStat {
  std::optional<uint64_t> dev, ino, rdev;
  std::optional<uint32_t> mode, nlink, uid, gid;
  std::optional<int64_t> size;
};

struct ShownDirent {
  std::optional<uint64_t> ino;
  uint8_t type = 0;
  std::string name;
};

// A getdents64 result: the names, or only how many there were ("/* 8 entries */").
struct ShownDirents {
  std::vector<ShownDirent> entries;
  bool named = false;
  size_t count = 0;
};

struct ShownAction {
  uint64_t handler = 0, flags = 0, mask = 0;
};

// Typed access to the arguments of one call.  The first argument that is missing or of another kind is remembered, and
// every later access yields a zero value: check status() once, after the last access.
class Fields {
 public:
  Fields(const Trace& trace, const Record& record) : trace_(trace), record_(record) {}

  const Record& record() const { return record_; }
  size_t size() const { return record_.args.size(); }
  const Arg& At(size_t i);  // an elided one, and an error, if there is no such argument
  int64_t Int(size_t i);
  int64_t IntOr(size_t i, int64_t otherwise) const;  // `otherwise` if absent, elided or not an integer
  uint64_t Unsigned(size_t i) { return static_cast<uint64_t>(Int(i)); }
  int Fd(size_t i) { return static_cast<int>(Int(i)); }
  bool IsNull(size_t i) const;        // printed as NULL
  const std::string& Path(size_t i);  // of a string argument
  FdNote Note(size_t i) const;        // the annotation of a descriptor argument; not present if none
  FdNote ResultNote() const;          // the annotation of a returned descriptor
  bool IsStruct(size_t i) const;
  const std::vector<Arg>& Items(size_t i);          // of an array
  int64_t Field(size_t i, absl::string_view name);  // an integer field of a struct
  int64_t FieldOr(size_t i, absl::string_view name, int64_t otherwise) const;
  ShownStat Stat(size_t i);
  ShownDirents Dirents(size_t i);
  std::optional<uint64_t> SignalSet(size_t i);  // nothing if NULL or elided
  std::optional<ShownAction> Action(size_t i);  // nothing if NULL or elided
  std::optional<int> WaitStatus(size_t i);      // as wait4(2) encodes it; nothing if NULL
  int SignalNumber(size_t i);
  int64_t VectorLength(size_t i);  // of an array of iovecs; -1 if it was not shown
  uint64_t CloneFlags();           // of clone, clone3, fork, vfork

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  void Fail(size_t i, absl::string_view wanted);

  const Trace& trace_;
  const Record& record_;
  absl::Status status_;
};

// The signals of [INT CHLD] or ~[RTMIN], bit n - 1 for signal n; nothing if one is none.
std::optional<uint64_t> SignalSetOf(const Arg& arg);

// The descriptors that a received message carried (SCM_RIGHTS).
std::vector<const Arg*> ReceivedDescriptors(const Arg& message);

// Splits an annotation such as /dev/null<char 1:3> or pipe:[42].
FdNote ParseFdNote(absl::string_view annotation, bool deleted);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_RECORD_FIELDS_H_
