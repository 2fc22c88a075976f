#ifndef HOTPATH_BENCH_GOLDEN_TRACE_H_
#define HOTPATH_BENCH_GOLDEN_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "bench/golden/golden.h"

namespace hotpath::bench {

// What an instruction is, as far as it is counted.
enum class Kind : uint8_t { kPlain, kRmw, kFence, kCall, kSyscall };

// Of x86-64 code. An xchg with memory locks without a prefix.
Kind Classify(std::span<const uint8_t> code) noexcept;

struct Counts {
  // Instructions of the path's own file: inlined headers are, libraries that it calls are not.
  uint64_t instructions = 0;
  uint64_t rmws = 0, fences = 0;           // of this program, shared libraries (libc) not
  uint64_t syscalls = 0, allocations = 0;  // of everything
  // What the path's own file calls: name -> times.
  std::map<std::string, uint64_t> calls;

  friend bool operator==(const Counts&, const Counts&) = default;
};

// Executes the path by single steps. `own` are the mangled names of the functions of its file.
Counts Trace(const GoldenPath& path, const std::set<std::string>& own);

// "name: 12 instructions, 1 rmw, ..."
std::string ToLine(const std::string& name, const Counts& counts);

// False where the processor or the sandbox does not allow single steps.
bool CanTrace();

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_GOLDEN_TRACE_H_
