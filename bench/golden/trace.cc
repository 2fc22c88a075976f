#include "bench/golden/trace.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace hotpath::bench {
namespace {

constexpr size_t kMaxSteps = 1 << 16;
constexpr int kWarmUps = 3;
constexpr int kRuns = 9;

struct Step {
  uintptr_t at;
  Kind kind;
};

// One trace at a time: the handler of a signal has no other way to know what it is for.
struct Recorder {
  uintptr_t entry = 0;  // of the function to record
  uintptr_t stack = 0;  // its stack pointer at entry; 0: not entered yet
  bool done = false;
  bool overflow = false;
  std::vector<Step> steps;
};
Recorder* g_recorder = nullptr;

#if defined(__x86_64__)

constexpr uint64_t kTrapFlag = 0x100;

void OnStep(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  Recorder& r = *g_recorder;
  const auto at = static_cast<uintptr_t>(registers[REG_RIP]);
  const auto stack = static_cast<uintptr_t>(registers[REG_RSP]);
  if (r.done) return;
  if (r.stack == 0) {
    if (at != r.entry) return;
    r.stack = stack;
  } else if (stack > r.stack) {  // it has returned
    r.done = true;
    registers[REG_EFL] &= ~static_cast<greg_t>(kTrapFlag);
    return;
  }
  if (r.steps.size() == r.steps.capacity()) {
    r.overflow = r.done = true;
    registers[REG_EFL] &= ~static_cast<greg_t>(kTrapFlag);
    return;
  }
  // An instruction is at most 15 bytes long, but the page may end before. Classify looks at what it needs.
  const uint8_t* code = std::bit_cast<const uint8_t*>(at);
  const size_t readable = std::min<size_t>(15, 4096 - at % 4096);
  r.steps.push_back({at, Classify({code, readable})});
}

[[gnu::noinline]] void CallStepping(const GoldenPath& path) {
  void (*const call)(void*) = path.call;
  void* const closure = path.closure;
  // Below the red zone, which pushfq would overwrite.
  asm volatile("subq $128, %%rsp; pushfq; orq %0, (%%rsp); popfq; addq $128, %%rsp"
               :
               : "i"(kTrapFlag)
               : "memory", "cc");
  call(closure);
  asm volatile("subq $128, %%rsp; pushfq; andq %0, (%%rsp); popfq; addq $128, %%rsp"
               :
               : "i"(~kTrapFlag)
               : "memory", "cc");
}

#else

void OnStep(int, siginfo_t*, void*) {}
void CallStepping(const GoldenPath& path) { path.call(path.closure); }

#endif

// Function -> where it is, of this program's symbol table.
struct Symbol {
  uintptr_t begin, end;
  std::string name;
};

uintptr_t LoadAddress() {
  uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        *static_cast<uintptr_t*>(out) = info->dlpi_addr;  // the program comes first
        return 1;
      },
      &base);
  return base;
}

std::vector<Symbol> ReadSymbols() {
  std::vector<Symbol> symbols;
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat status{};
  if (fd < 0 || fstat(fd, &status) != 0) return symbols;
  const auto size = static_cast<size_t>(status.st_size);
  void* const file = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (file == MAP_FAILED) return symbols;
  const auto* bytes = static_cast<const char*>(file);
  const auto read = [&]<class T>(size_t offset, T* out) { std::memcpy(out, bytes + offset, sizeof(T)); };
  ElfW(Ehdr) header;
  read(0, &header);
  const uintptr_t base = LoadAddress();
  for (size_t i = 0; i < header.e_shnum; ++i) {
    ElfW(Shdr) section, strings;
    read(header.e_shoff + i * header.e_shentsize, &section);
    if (section.sh_type != SHT_SYMTAB) continue;
    read(header.e_shoff + section.sh_link * header.e_shentsize, &strings);
    for (size_t at = 0; at < section.sh_size; at += section.sh_entsize) {
      ElfW(Sym) symbol;
      read(section.sh_offset + at, &symbol);
      if ((symbol.st_info & 0xf) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
      const uintptr_t begin = base + symbol.st_value;
      symbols.push_back({begin, begin + symbol.st_size, bytes + strings.sh_offset + symbol.st_name});
    }
  }
  munmap(file, size);
  std::sort(symbols.begin(), symbols.end(), [](const Symbol& a, const Symbol& b) { return a.begin < b.begin; });
  return symbols;
}

const Symbol* Find(const std::vector<Symbol>& symbols, uintptr_t at) {
  const auto after =
      std::upper_bound(symbols.begin(), symbols.end(), at, [](uintptr_t a, const Symbol& s) { return a < s.begin; });
  if (after == symbols.begin()) return nullptr;
  const Symbol& symbol = *std::prev(after);
  return at < symbol.end ? &symbol : nullptr;
}

std::vector<Step> Record(const GoldenPath& path) {
  Recorder recorder;
  recorder.entry = std::bit_cast<uintptr_t>(path.call);
  recorder.steps.reserve(kMaxSteps);
  g_recorder = &recorder;
  struct sigaction action{}, before{};
  action.sa_sigaction = OnStep;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, &before);
  CallStepping(path);
  sigaction(SIGTRAP, &before, nullptr);
  g_recorder = nullptr;
  if (recorder.overflow) {
    std::fprintf(stderr, "golden: %s: more than %zu instructions are no fast path\n", path.name.c_str(), kMaxSteps);
    std::abort();
  }
  return std::move(recorder.steps);
}

// Without arguments, of functions and of templates.
std::string Shortened(std::string name) {
  constexpr std::string_view kAnonymous = "(anonymous namespace)::";
  for (size_t i = 0; (i = name.find(kAnonymous)) != std::string::npos;) name.erase(i, kAnonymous.size());
  std::string out;
  int depth = 0;
  for (const char c : name) {
    if (c == '(' && depth == 0) break;
    if (c == '<') ++depth;
    if (depth == 0) out += c;
    if (c == '>') --depth;
  }
  return out;
}

// Where an allocation begins, whoever asks for it.
const std::set<uintptr_t>& Allocators() {
  static const std::set<uintptr_t> entries = [] {
    std::set<uintptr_t> found;
    for (const char* name : {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign"}) {
      if (void* const entry = dlsym(RTLD_DEFAULT, name)) found.insert(std::bit_cast<uintptr_t>(entry));
    }
    return found;
  }();
  return entries;
}

std::string NameOf(const Symbol* symbol, uintptr_t at) {
  std::string name;
  Dl_info info{};
  if (symbol != nullptr) {
    name = symbol->name;
  } else if (dladdr(std::bit_cast<void*>(at), &info) == 0 || info.dli_fbase == std::bit_cast<void*>(LoadAddress())) {
    return "";  // one of the linker's stubs in this program, on the way to a library
  } else if (info.dli_sname != nullptr) {
    name = info.dli_sname;
  } else {
    const std::string_view file = info.dli_fname;
    return std::string(file.substr(file.rfind('/') + 1));
  }
  int status = 0;
  char* const readable = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  if (status == 0) name = Shortened(readable);
  std::free(readable);
  return name;
}

Counts Count(const std::vector<Step>& steps, const std::set<std::string>& own) {
  static const std::vector<Symbol> symbols = ReadSymbols();
  Counts counts;
  bool inside = false, calls = false;  // the instruction before: is it own code, and a call?
  bool unnamed = false;                // a function was entered, and it is not yet clear which
  for (const Step& step : steps) {
    const Symbol* symbol = Find(symbols, step.at);
    const bool now_inside = symbol != nullptr && own.contains(symbol->name);
    if (inside && (calls || !now_inside)) unnamed = true;
    if (unnamed) {
      if (const std::string name = NameOf(symbol, step.at); !name.empty()) {
        ++counts.calls[name];
        unnamed = false;
      }
    }
    counts.instructions += now_inside;
    if (symbol != nullptr) {
      counts.rmws += step.kind == Kind::kRmw;
      counts.fences += step.kind == Kind::kFence;
    }
    counts.syscalls += step.kind == Kind::kSyscall;
    counts.allocations += Allocators().contains(step.at);
    inside = now_inside;
    calls = step.kind == Kind::kCall;
  }
  return counts;
}

}  // namespace

Kind Classify(std::span<const uint8_t> code) noexcept {
  bool lock = false;
  size_t i = 0;
  const auto at = [&](size_t k) -> int { return k < code.size() ? code[k] : -1; };
  constexpr std::string_view kPrefixes = "\x66\x67\x2e\x3e\x26\x36\x64\x65\xf2\xf3";
  for (;; ++i) {
    if (at(i) == 0xf0) {
      lock = true;
    } else if (at(i) < 0 || kPrefixes.find(static_cast<char>(at(i))) == std::string_view::npos) {
      break;
    }
  }
  if (at(i) >= 0x40 && at(i) <= 0x4f) ++i;  // REX
  if (lock) return Kind::kRmw;
  const int opcode = at(i), next = at(i + 1);
  switch (opcode) {
    case 0x86:
    case 0x87:  // xchg; with mod 3 both operands are registers
      return next >= 0 && next >> 6 != 3 ? Kind::kRmw : Kind::kPlain;
    case 0xe8:
      return Kind::kCall;
    case 0xff:
      return next >= 0 && (next >> 3 & 7) == 2 ? Kind::kCall : Kind::kPlain;
    case 0x0f:
      if (next == 0x05) return Kind::kSyscall;
      // mfence, lfence, sfence: 0f ae with mod 3 and reg 6, 5, 7.
      if (next == 0xae && at(i + 2) >= 0xe8) return Kind::kFence;
      return Kind::kPlain;
    default:
      return Kind::kPlain;
  }
}

Counts Trace(const GoldenPath& path, const std::set<std::string>& own) {
  for (int i = 0; i < kWarmUps; ++i) path.call(path.closure);
  std::optional<Counts> cheapest;
  for (int i = 0; i < kRuns; ++i) {
    const Counts counts = Count(Record(path), own);
    if (!cheapest || counts.instructions < cheapest->instructions) cheapest = counts;
  }
  return *cheapest;
}

std::string ToLine(const std::string& name, const Counts& counts) {
  std::string line = name + ": " + std::to_string(counts.instructions) + " instructions, " +
                     std::to_string(counts.rmws) + " rmw, " + std::to_string(counts.fences) + " fences, " +
                     std::to_string(counts.syscalls) + " syscalls, " + std::to_string(counts.allocations) +
                     " allocations";
  if (counts.calls.empty()) return line + ", no calls";
  line += ", calls";
  for (const auto& [callee, times] : counts.calls) line += " " + callee + " x" + std::to_string(times);
  return line;
}

bool CanTrace() {
#if defined(__x86_64__)
  const GoldenPath nothing{"nothing", [](void*) { asm volatile(""); }, nullptr, nullptr};
  return !Record(nothing).empty();
#else
  return false;
#endif
}

}  // namespace hotpath::bench
