// main() of the benchmarks. See bench/README.md.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/floors.h"
#include "bench/base/run.h"
#include "benchmark/benchmark.h"

namespace hotpath::bench {
namespace {

constexpr const char* kUsage =
    "  --quick            3 rounds of 10 windows instead of 15 of 25\n"
    "  --smoke            one round of one window: does everything run? Google Benchmarks too\n"
    "  --rounds=N         more or fewer rounds\n"
    "  --filter=TEXT      only rows whose id contains it\n"
    "  --rows_json=FILE   also write the rows for tools\n"
    "  --list             print the ids of the rows\n"
    "  --benchmark_...    run the Google Benchmarks of this file instead, with their options\n";

// jemalloc, as a peer, needs room for its thread-locals, which only the start of a process can make.
void RestartWithRoomForThreadLocals(char** argv) {
  constexpr const char* kSetting = "glibc.rtld.optional_static_tls=16384";
  const char* now = std::getenv("GLIBC_TUNABLES");
  if (now != nullptr && std::strstr(now, "optional_static_tls") != nullptr) return;
  setenv("GLIBC_TUNABLES", now != nullptr ? (std::string(now) + ":" + kSetting).c_str() : kSetting, 1);
  execv("/proc/self/exe", argv);  // if it fails, that peer is missing
}

int Main(int argc, char** argv) {
  RunOptions options;
  std::string json;
  bool list = false;
  int rounds = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    const auto value = [&](std::string_view flag) { return std::string(arg.substr(flag.size())); };
    if (arg.starts_with("--benchmark_")) {
      benchmark::Initialize(&argc, argv);
      if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
      benchmark::RunSpecifiedBenchmarks();
      return 0;
    }
    if (arg == "--quick") {
      options = RunOptions::Quick();
    } else if (arg == "--smoke") {
      options = RunOptions::Smoke();
    } else if (arg == "--list") {
      list = true;
    } else if (arg.starts_with("--rounds=")) {
      rounds = std::atoi(value("--rounds=").c_str());
    } else if (arg.starts_with("--filter=")) {
      options.filter = value("--filter=");
    } else if (arg.starts_with("--rows_json=")) {
      json = value("--rows_json=");
    } else {
      std::fprintf(stderr, "usage: %s [OPTION]...\n%s", argv[0], kUsage);
      return 2;
    }
  }
  if (rounds > 0) options.rounds = rounds;

  const Rows rows = RegisteredRows();
  if (list) {
    for (const Row& row : rows.all()) std::printf("%s\n", row.options().id.c_str());
    return 0;
  }
  if (rows.all().empty() || options.smoke) {
    // A file without rows has Google Benchmarks alone.
    std::vector<std::string> flags = {argv[0]};
    if (options.smoke) flags.emplace_back("--benchmark_min_time=0.001");
    std::vector<char*> flag_pointers;
    for (std::string& flag : flags) flag_pointers.push_back(flag.data());
    int flag_count = static_cast<int>(flag_pointers.size());
    benchmark::Initialize(&flag_count, flag_pointers.data());
    benchmark::RunSpecifiedBenchmarks();
  }
  const bool quiet = json.empty();
  RunOptions floor_options = options;
  floor_options.filter.clear();
  Rows floor_rows;
  AddFloors(floor_rows);
  const std::vector<RowResult> floors = RunRows(floor_rows, floor_options, nullptr);
  const std::vector<RowResult> results = RunRows(rows, options, quiet ? nullptr : stderr);
  PrintTable(results, floors, stdout);
  if (!json.empty()) {
    std::FILE* file = std::fopen(json.c_str(), "w");
    if (file == nullptr) {
      std::perror(json.c_str());
      return 1;
    }
    const std::string_view path = argv[0];
    const std::string text = ToJson(std::string(path.substr(path.rfind('/') + 1)), options, results, floors);
    const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    if (std::fclose(file) != 0 || !written) {
      std::perror(json.c_str());
      return 1;
    }
  }
  int status = 0;
  for (const RowResult& row : results) {
    if (row.wrong()) {
      std::fprintf(stderr, "bench: %s: wrong results, see above\n", row.options.id.c_str());
      status = 1;
    }
    for (const ContenderResult& contender : row.contenders) {
      if (!contender.error.empty()) {
        std::fprintf(stderr, "bench: %s: %s: %s\n", row.options.id.c_str(), contender.name.c_str(),
                     contender.error.c_str());
        status = 1;
      }
    }
  }
  return status;
}

}  // namespace
}  // namespace hotpath::bench

int main(int argc, char** argv) {
  hotpath::bench::RestartWithRoomForThreadLocals(argv);
  return hotpath::bench::Main(argc, argv);
}
