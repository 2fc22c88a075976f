// Replays recorded system calls through the userspace kernel, with the recorded answers as the oracle.

#include <stdio.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "hotpath/kernel/types.h"
#include "tools/replay/replayer.h"
#include "tools/replay/report.h"
#include "tools/replay/trace_reader.h"

ABSL_FLAG(bool, stop_on_mismatch, false, "stop at the first mismatch");
ABSL_FLAG(std::string, mutate, "", "plant a bug in the kernel, to see that replay finds it");
ABSL_FLAG(size_t, until, 0, "stop before this line of the trace; 0: replay all of it");
ABSL_FLAG(int32_t, dump_fds, 0, "print the descriptors of this recorded pid at the end");
ABSL_FLAG(size_t, max_mismatches, 10, "how many mismatches to show; all are counted");
ABSL_FLAG(bool, verbose, false, "add a table of all calls");

namespace hotpath::replay {
namespace {

constexpr int kExitConforms = 0, kExitMismatch = 1, kExitBadInput = 2;
constexpr char kBundled[] = "tools/replay/traces/mk.strace.xz";

constexpr char kUsage[] =
    "usage: replay [FLAG ...] [TRACE[.xz] ... | -]\n"
    "Replays recordings made with strace -f through the userspace kernel and compares every answer with the recorded\n"
    "one.  Without a TRACE it replays a bundled recording of make -j2; - is standard input.\n"
    "Exit status: 0 all answers agree, 1 some do not, 2 the input or the command line is not understood.\n"
    "  --stop_on_mismatch     stop at the first mismatch\n"
    "  --max_mismatches=N     show at most N mismatches (10)\n"
    "  --until=LINE           stop before LINE of the trace\n"
    "  --dump_fds=PID         print the descriptors of the recorded PID at the end\n"
    "  --mutate=NAME          plant a bug in the kernel, to see that replay finds it\n"
    "  --verbose              add a table of all calls\n";

struct NamedMutation {
  absl::string_view name;
  kernel::Mutation mutation;
};
constexpr NamedMutation kMutations[] = {
    {"append-ignored", kernel::Mutation::kAppendIgnored},
    {"chdir-lost", kernel::Mutation::kChdirLost},
    {"clone-files-copied", kernel::Mutation::kCloneFilesCopied},
    {"cloexec-ignored", kernel::Mutation::kCloexecIgnored},
    {"dup2-keeps-cloexec", kernel::Mutation::kDup2KeepsCloexec},
    {"fork-copies-offset", kernel::Mutation::kForkCopiesOffset},
    {"fork-shares-table", kernel::Mutation::kForkSharesTable},
    {"next-fd-not-lowest", kernel::Mutation::kNextFdNotLowest},
    {"pread-moves-offset", kernel::Mutation::kPreadMovesOffset},
    {"rename-keeps-source", kernel::Mutation::kRenameKeepsSource},
    {"trunc-ignored", kernel::Mutation::kTruncIgnored},
    {"unlink-keeps-name", kernel::Mutation::kUnlinkKeepsName},
    {"wait-does-not-reap", kernel::Mutation::kWaitDoesNotReap},
};

int BadUsage(const std::string& message) {
  fprintf(stderr, "replay: %s\n%s", message.c_str(), kUsage);
  return kExitBadInput;
}

// Sets the flags on the command line and returns the rest, or why it cannot.  Flags may stand anywhere; what follows
// "--" is no flag.  (The parser of the flags library ends the process with status 1, which here means a mismatch.)
absl::StatusOr<std::vector<std::string>> ParseArguments(int argc, char** argv) {
  std::vector<std::string> rest;
  bool flags = true;
  for (int i = 1; i < argc; ++i) {
    absl::string_view arg = argv[i];
    if (!flags || arg == "-" || !absl::StartsWith(arg, "-")) {
      rest.emplace_back(arg);
      continue;
    }
    if (arg == "--") {
      flags = false;
      continue;
    }
    if (!absl::ConsumePrefix(&arg, "--")) absl::ConsumePrefix(&arg, "-");
    const size_t equals = arg.find('=');
    std::string name(arg.substr(0, equals));
    for (char& c : name) c = c == '-' ? '_' : c;
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    if (flag == nullptr) return absl::InvalidArgumentError(absl::StrCat("unknown flag ", argv[i]));
    std::string value;
    if (equals != absl::string_view::npos) {
      value = std::string(arg.substr(equals + 1));
    } else if (flag->IsOfType<bool>()) {
      value = "true";
    } else if (i + 1 < argc) {
      value = argv[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat("flag ", argv[i], " needs a value"));
    }
    std::string error;
    if (!flag->ParseFrom(value, &error)) {
      return absl::InvalidArgumentError(absl::StrCat("flag --", name, ": bad value \"", value, "\""));
    }
  }
  return rest;
}

// Where the bundled trace may be: among the runfiles of `bazel run` and `bazel test`, or below the current directory.
absl::StatusOr<std::string> FindBundled(const char* argv0) {
  std::vector<std::string> roots;
  for (const char* variable : {"RUNFILES_DIR", "TEST_SRCDIR"}) {
    if (const char* root = getenv(variable); root != nullptr && *root != '\0') roots.emplace_back(root);
  }
  roots.push_back(absl::StrCat(argv0, ".runfiles"));
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) roots.push_back(absl::StrCat(self.string(), ".runfiles"));
  std::vector<std::string> tried;
  for (const std::string& root : roots) tried.push_back(absl::StrCat(root, "/hotpath/", kBundled));
  if (const char* workspace = getenv("BUILD_WORKSPACE_DIRECTORY"))
    tried.push_back(absl::StrCat(workspace, "/", kBundled));
  tried.emplace_back(kBundled);
  for (const std::string& path : tried) {
    if (std::filesystem::exists(path, error)) return path;
  }
  return absl::NotFoundError(absl::StrCat("the bundled trace is at none of: ", absl::StrJoin(tried, ", ")));
}

// Under `bazel run` the current directory is not the user's.
std::string FromUsersDirectory(const std::string& path) {
  const char* directory = getenv("BUILD_WORKING_DIRECTORY");
  if (directory == nullptr || path == "-" || absl::StartsWith(path, "/")) return path;
  return absl::StrCat(directory, "/", path);
}

class Progress {
 public:
  explicit Progress(std::string name) : name_(std::move(name)), shown_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (shown_) fputs("\r\033[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Show(size_t done, size_t total) {
    if (shown_) fprintf(stderr, "\r%s: %zu of %zu calls", name_.c_str(), done, total);
  }

 private:
  const std::string name_;
  const bool shown_;
};

int Main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (absl::string_view(argv[i]) == "--help") {
      fputs(kUsage, stdout);
      return kExitConforms;
    }
  }
  const absl::StatusOr<std::vector<std::string>> arguments = ParseArguments(argc, argv);
  if (!arguments.ok()) return BadUsage(std::string(arguments.status().message()));
  ReplayOptions options;
  options.stop_on_mismatch = absl::GetFlag(FLAGS_stop_on_mismatch);
  options.until_line = absl::GetFlag(FLAGS_until);
  options.dump_fds_pid = absl::GetFlag(FLAGS_dump_fds);
  options.kept_mismatches = absl::GetFlag(FLAGS_max_mismatches);
  if (const std::string name = absl::GetFlag(FLAGS_mutate); !name.empty()) {
    std::vector<absl::string_view> names;
    for (const NamedMutation& m : kMutations) {
      names.push_back(m.name);
      if (m.name == name) options.mutation = m.mutation;
    }
    if (options.mutation == kernel::Mutation::kNone) {
      return BadUsage(absl::StrCat("--mutate=", name, " is none of ", absl::StrJoin(names, ", ")));
    }
  }
  std::vector<std::pair<std::string, std::string>> traces;  // as shown, and where it is
  for (const std::string& argument : *arguments) traces.emplace_back(argument, FromUsersDirectory(argument));
  if (traces.empty()) {
    const absl::StatusOr<std::string> bundled = FindBundled(argv[0]);
    if (!bundled.ok()) return BadUsage(std::string(bundled.status().message()));
    traces.emplace_back(kBundled, *bundled);
  }
  const bool verbose = absl::GetFlag(FLAGS_verbose);
  ReplayResult total;
  for (const auto& [name, path] : traces) {
    absl::StatusOr<Trace> trace = ReadTrace(path);
    absl::StatusOr<ReplayResult> result;
    if (trace.ok()) {
      Progress progress(name);
      options.progress = [&](size_t done, size_t all) { progress.Show(done, all); };
      result = Replay(*trace, options);
    } else {
      result = trace.status();
    }
    if (!result.ok()) {
      fprintf(stderr, "replay: %s\n", std::string(result.status().message()).c_str());
      return kExitBadInput;
    }
    fputs(FormatReport(name, *result, verbose).c_str(), stdout);
    for (size_t i = 0; i < result->mismatches.size(); ++i) {
      fputs(FormatMismatch(name, result->mismatches[i], i + 1, result->mismatch_count).c_str(), stdout);
    }
    if (options.dump_fds_pid != 0) {
      printf("descriptors of pid %d\n%s", options.dump_fds_pid, result->fds.c_str());
    }
    total.Add(*result);
    if (options.stop_on_mismatch && result->mismatch_count > 0) break;
  }
  if (traces.size() > 1) {
    fputs(FormatReport(absl::StrCat("total of ", traces.size(), " traces"), total, verbose).c_str(), stdout);
  }
  return total.mismatch_count == 0 ? kExitConforms : kExitMismatch;
}

}  // namespace
}  // namespace hotpath::replay

int main(int argc, char** argv) { return hotpath::replay::Main(argc, argv); }
