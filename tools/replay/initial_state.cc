#include "tools/replay/initial_state.h"

#include <fcntl.h>
#include <sched.h>

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/replay/recorded_world.h"

namespace hotpath::replay {
namespace {

constexpr size_t kMaxPasses = 16;  // each learns at least one thing; real traces need two to four

void AddDirectories(const FdNote& note, FileKnowledge& files) {
  for (size_t slash = note.path.find('/', 1); slash != std::string::npos; slash = note.path.find('/', slash + 1)) {
    files.directories.insert(note.path.substr(0, slash));
  }
}

void ScanAnnotations(const Arg& arg, FileKnowledge& files) {
  if (!arg.annotation.empty()) AddDirectories(ParseFdNote(arg.annotation, arg.deleted), files);
  for (const Arg& item : arg.items) ScanAnnotations(item, files);
}

// What can be told without following the calls: which directories are no links (-y prints resolved paths), and where
// each task that nobody forked started.
void Scan(const Trace& trace, WorldKnowledge& knowledge) {
  std::set<int32_t> forked;
  std::map<int32_t, int32_t> root_of;
  std::set<int32_t> moved;  // changed its directory, or was forked by one that had
  for (const Record& r : trace.records) {
    if (r.kind != Record::Kind::kCall) continue;
    for (const Arg& arg : r.args) ScanAnnotations(arg, knowledge.files);
    Fields f(trace, r);
    AddDirectories(f.ResultNote(), knowledge.files);
    const int32_t root = root_of.emplace(r.pid, r.pid).first->second;
    if (r.err == 0 && r.result > 0 && (r.name == "clone" || r.name == "clone3" || absl::EndsWith(r.name, "fork"))) {
      const int32_t child = static_cast<int32_t>(r.result);
      root_of[child] = root;
      if (moved.contains(r.pid)) moved.insert(child);
    }
    if (r.err == 0 && (r.name == "chdir" || r.name == "fchdir")) moved.insert(r.pid);
    if (moved.contains(r.pid) || knowledge.cwd.contains(root)) continue;
    std::string cwd;
    if (!r.args.empty() && r.args[0].number == AT_FDCWD) cwd = f.Note(0).path;
    if (r.name == "getcwd" && r.err == 0 && !r.args.empty() && !r.args[0].truncated) cwd = r.args[0].text;
    if (absl::StartsWith(cwd, "/")) knowledge.cwd[root] = cwd;
  }
}

}  // namespace

absl::StatusOr<InitialState> InferInitialState(const Trace& trace, const std::vector<Step>& steps) {
  WorldKnowledge knowledge;
  Scan(trace, knowledge);
  for (size_t pass = 1;; ++pass) {
    knowledge.grew = false;
    knowledge.files.grew = false;
    RecordedWorld world(trace, knowledge);
    for (const Step& step : steps) {
      if (absl::Status status = world.Apply(step); !status.ok()) return status;
    }
    if (knowledge.Grew() && pass < kMaxPasses) continue;
    InitialState state;
    world.Finish(state);
    state.passes = pass;
    return state;
  }
}

std::string DescribeRecordedFd(const Trace& trace, const std::vector<Step>& steps, size_t step, int32_t pid, int fd) {
  WorldKnowledge knowledge;
  Scan(trace, knowledge);
  RecordedWorld world(trace, knowledge);
  for (size_t i = 0; i < step && i < steps.size(); ++i) {
    if (!world.Apply(steps[i]).ok()) break;
  }
  return world.DescribeFd(pid, fd);
}

}  // namespace hotpath::replay
