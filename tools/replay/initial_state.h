#ifndef HOTPATH_TOOLS_REPLAY_INITIAL_STATE_H_
#define HOTPATH_TOOLS_REPLAY_INITIAL_STATE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "hotpath/kernel/types.h"
#include "tools/replay/order.h"
#include "tools/replay/record_fields.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// What a program image brought along that no call shows: where its break starts, and mappings that were there when the
// program first protected or unmapped them.
struct ImageState {
  uint64_t brk_base = 0;                                // 0: the program never asked
  std::vector<std::pair<uint64_t, uint64_t>> mappings;  // start and end
};

// A descriptor that was open before the first call.
struct InheritedDescriptor {
  enum class Kind : uint8_t { kFile, kPipeRead, kPipeWrite, kSocket };
  int fd = -1;
  Kind kind = Kind::kFile;
  std::string path;  // of a file
  int flags = 0;     // of open(2)
  int64_t offset = 0;
};

// A task whose birth the trace does not show.
struct RootTask {
  int32_t pid = 0;
  std::string cwd = "/";
  // Recorded ids; 0 where they were not shown.
  int32_t parent = 0, group = 0, session = 0;
  kernel::Credentials credentials;
  uint32_t umask = 022;
  uint64_t signal_mask = 0;
  std::map<int, ShownAction> actions;    // by signal, where not the default
  std::map<int, kernel::Rlimit> limits;  // by resource
  std::vector<InheritedDescriptor> descriptors;
  ImageState image;
};

// The world before the first call, as far as the calls show it.
struct InitialState {
  struct File {
    std::string path;
    kernel::SeedNode node;
    std::string same_as;  // another name of the same file, seeded earlier; `node` is then unused
  };
  // What is known about one record before the replay starts.
  struct Note {
    bool first_touch = false;      // its answer is also where part of the initial state comes from
    bool synthetic = false;        // about /proc, /sys or /dev: the answer is the machine's, not the file system's
    bool unknown_listing = false;  // a directory whose names the trace does not show
    bool pipe = false;             // works on a pipe
    bool external = false;         // of these, one whose other end is outside the trace
    bool opaque = false;           // works on a socket, or on a descriptor without a file
    int32_t mode_after = -1;       // of a setxattr: the permissions that the file then had; -1: not shown
    std::string stands_for;        // the path of the file that /proc/self/fd/N named
  };

  std::vector<File> files;  // parents before children
  std::vector<RootTask> roots;
  std::map<size_t, ImageState> images;  // by the record of the exec
  std::vector<Note> notes;              // by record
  bool counts_subdirectories = true;    // false: this file system does not count them in st_nlink
  size_t passes = 0;
};

// Works out the world before the first call by following the recorded results, again and again until a pass learns
// nothing new.  InvalidArgument names the line and argument that cannot be understood.
absl::StatusOr<InitialState> InferInitialState(const Trace& trace, const std::vector<Step>& steps);

// What the recorded kernel knew about a descriptor of `pid` just before `step`: "open since line 12 (/etc/passwd)",
// "closed at line 40 (/dev/urandom)", "never open".
std::string DescribeRecordedFd(const Trace& trace, const std::vector<Step>& steps, size_t step, int32_t pid, int fd);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_INITIAL_STATE_H_
