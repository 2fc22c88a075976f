// NAME_golden: compares what the paths of NAME_golden.cc cost with NAME.golden.
//   NAME_golden GOLDEN SYMBOLS [--renew]

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "bench/golden/golden.h"
#include "bench/golden/trace.h"

namespace hotpath::bench {
namespace {

constexpr const char* kHead =
    "# Counted by single steps: x86-64, clang 19, -O2 -DNDEBUG. After a change that is meant:\n"
    "#   tools/golden --renew\n";

std::vector<std::string> Lines(const std::string& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  return lines;
}

int Main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s GOLDEN SYMBOLS [--renew]\n", argv[0]);
    return 2;
  }
  const std::string golden = argv[1];
  const bool renew = argc > 3 && std::strcmp(argv[3], "--renew") == 0;
#if !defined(__clang__) || __clang_major__ != 19 || !defined(__x86_64__)
  std::printf("skipped: the counts are those of clang 19 on x86-64\n");
  return renew ? 1 : 0;
#else
  if (!CanTrace()) {
    std::printf("skipped: single steps are not allowed here\n");
    return renew ? 1 : 0;
  }
  std::set<std::string> own;
  for (const std::string& line : Lines(argv[2])) own.insert(line.substr(line.rfind(' ') + 1));

  GoldenPaths paths;
  AddGoldenPaths(paths);
  std::vector<std::string> now;
  for (const GoldenPath& path : paths.all()) now.push_back(ToLine(path.name, Trace(path, own)));
  if (now.empty()) {
    std::fprintf(stderr, "golden: there are no paths\n");
    return 1;
  }
  if (renew) {
    const char* const workspace = std::getenv("BUILD_WORKSPACE_DIRECTORY");
    const std::string file = (workspace != nullptr ? std::string(workspace) + "/" : "") + golden;
    std::ofstream out(file);
    out << kHead;
    for (const std::string& line : now) out << line << '\n';
    out.close();
    std::printf("golden: wrote %zu paths to %s\n", now.size(), file.c_str());
    return out.good() ? 0 : 1;
  }
  const std::vector<std::string> pinned = Lines(golden);
  const std::set<std::string> old_lines(pinned.begin(), pinned.end()), new_lines(now.begin(), now.end());
  for (const std::string& line : pinned) std::printf("%s%s\n", new_lines.contains(line) ? "  " : "- ", line.c_str());
  for (const std::string& line : now) {
    if (!old_lines.contains(line)) std::printf("+ %s\n", line.c_str());
  }
  if (now == pinned) return 0;
  std::printf("golden: %s is not what the code does; if that is meant, tools/golden --renew\n", golden.c_str());
  return 1;
#endif
}

}  // namespace
}  // namespace hotpath::bench

int main(int argc, char** argv) { return hotpath::bench::Main(argc, argv); }
