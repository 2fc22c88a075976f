#ifndef HOTPATH_TOOLS_REPLAY_REPLAYER_H_
#define HOTPATH_TOOLS_REPLAY_REPLAYER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hotpath/kernel/types.h"
#include "tools/replay/latency_histogram.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// What a call turned out to be.
enum class Verdict : uint8_t {
  kPredicted,  // our kernel worked out the recorded value
  kAck,        // ... and there was only success to report: 0, or an address of its own choice
  kRaceOk,     // differs, but some order of overlapping calls allows it
  kMismatch,
  kGiven,        // the answer was taken from the trace: about the machine, or from evidence that the trace lacks
  kUnsupported,  // our kernel has no such call: counted within given, its effect was adopted
  kSkipped,      // has no effect that a later answer depends on
};

struct Mismatch {
  size_t line = 0;  // where the call was entered
  size_t at = 0;    // where it took effect: until_line to look at the world just before it
  int32_t pid = 0;
  kernel::Pid ours = 0;
  std::string call;
  std::string what;  // "fd", "errno", "count", "st_size", ...
  std::string recorded, kernel;
  std::string why;
};

struct ReplayOptions {
  kernel::Mutation mutation = kernel::Mutation::kNone;
  bool stop_on_mismatch = false;
  size_t until_line = 0;     // stop before this line; 0: do not stop
  int32_t dump_fds_pid = 0;  // recorded pid whose descriptors to print at the end; 0: nobody's
  size_t kept_mismatches = 1000;
  std::function<void(size_t done, size_t total)> progress = {};  // calls so far; may be empty
};

// How many calls came out how.
struct VerdictCounts {
  size_t predicted = 0;  // values and acks that agree
  size_t acks = 0;       // of those, the ones with nothing but success to agree on
  size_t race_ok = 0, mismatched = 0;
  size_t given = 0;
  size_t unsupported = 0;  // of those, by a call that our kernel does not have
  size_t skipped = 0;

  size_t Total() const { return predicted + race_ok + mismatched + given + skipped; }
  void Add(Verdict verdict);
  void Add(const VerdictCounts& other);
};

struct ReplayResult {
  size_t calls = 0, tasks = 0, signals = 0;  // of the trace
  std::map<std::string, VerdictCounts> by_call;
  VerdictCounts all;
  size_t not_reached = 0;            // calls behind until_line, or behind the first mismatch
  size_t first_touches = 0;          // predicted calls that are also evidence for the initial state
  size_t files = 0;                  // in the initial state that was inferred
  std::vector<Mismatch> mismatches;  // the first kept_mismatches
  size_t mismatch_count = 0;         // of calls, and of signals taken
  LatencyHistogram latency;          // of the calls into the kernel
  uint64_t allocations = 0;          // by operator new, within them
  std::string fds;                   // of dump_fds_pid

  // Adds up everything but the mismatches themselves and the descriptors.
  void Add(const ReplayResult& other);
};

// Replays `trace` in one total order through a fresh kernel and compares every answer.  After a mismatch the recorded
// answer is adopted and the replay goes on.  InvalidArgument: an argument cannot be understood, with file and line.
absl::StatusOr<ReplayResult> Replay(const Trace& trace, const ReplayOptions& options);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_REPLAYER_H_
