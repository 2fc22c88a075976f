#include "hotpath/core/simd_search.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/detail/simd_search_testing.h"

namespace hotpath {
namespace {

using bench::HeapCount;
using bench::HeapFailure;
using bench::HeapMark;
using simd_search_internal::BuildCount;
using simd_search_internal::ChooseKernels;
using simd_search_internal::CompileRules;
using simd_search_internal::Kernels;
using simd_search_internal::kMaxFew;
using simd_search_internal::NaiveCovers;
using simd_search_internal::NaiveFindHash;
using simd_search_internal::NaiveFirstMatch;
using simd_search_internal::NaiveLongestMatch;
using simd_search_internal::NaiveStartsWithAny;
using simd_search_internal::PathRules;
using simd_search_internal::TestAccess;
using std::string_view;

using Rng = std::mt19937_64;

// Searches before main() and before the library's own initialisers, on some link orders, find a level all the same.
const uint64_t g_hashes[] = {7, 8, 9};
const std::optional<size_t> g_found_before_main = FindHashSimd(g_hashes, 8);

// Memory between two pages that may not be touched.
class Guarded {
 public:
  explicit Guarded(size_t bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (bytes + page - 1) / page * page;
    all_ = size_ + 2 * page;
    base_ = mmap(nullptr, all_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) std::abort();
    begin_ = static_cast<char*>(base_) + page;
    if (mprotect(begin_, size_, PROT_READ | PROT_WRITE) != 0) std::abort();
  }
  ~Guarded() { munmap(base_, all_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  char* begin() const { return begin_; }
  char* end() const { return begin_ + size_; }

 private:
  void* base_;
  char* begin_;
  size_t size_;
  size_t all_;
};

// The bytes of `text`, first directly after a forbidden page, then directly before one.
template <class F>
void AtBothEnds(const Guarded& memory, string_view text, F&& f) {
  if (!text.empty()) std::memcpy(memory.begin(), text.data(), text.size());
  f(string_view(memory.begin(), text.size()));
  if (!text.empty()) std::memcpy(memory.end() - text.size(), text.data(), text.size());
  f(string_view(memory.end() - text.size(), text.size()));
}

// head0, head1, ...
std::vector<std::string> Numbered(const std::string& head, size_t count) {
  std::vector<std::string> all(count);
  for (size_t i = 0; i < count; ++i) all[i] = head + std::to_string(i);
  return all;
}

std::string Name(const Kernels& kernels) { return std::string(SimdLevelName(kernels.level)); }

// ---- Levels ----

struct Restore {  // the environment
  ~Restore() {
    if (before) {
      setenv("HOTPATH_SIMD", before->c_str(), 1);
    } else {
      unsetenv("HOTPATH_SIMD");
    }
  }
  std::optional<std::string> before =
      std::getenv("HOTPATH_SIMD") == nullptr ? std::nullopt : std::optional<std::string>(std::getenv("HOTPATH_SIMD"));
};

SimdLevel Choose(const char* wanted, std::string* complaint) {
  const Restore restore;
  if (wanted == nullptr) {
    unsetenv("HOTPATH_SIMD");
  } else {
    setenv("HOTPATH_SIMD", wanted, 1);
  }
  testing::internal::CaptureStderr();
  const SimdLevel level = ChooseKernels()->level;
  *complaint = testing::internal::GetCapturedStderr();
  return level;
}

TEST(SimdLevel, EveryLevelOfThisCpuCanBeForced) {
  const auto all = TestAccess::AllKernels();
  ASSERT_GE(all.size(), 2u) << "this CPU has no vectors";
  for (const Kernels* kernels : all) {
    std::string complaint;
    EXPECT_EQ(Choose(Name(*kernels).c_str(), &complaint), kernels->level);
    EXPECT_EQ(complaint, "");
  }
}

TEST(SimdLevel, TheBestOneIsUsedUnlessTheVariableSaysOtherwise) {
  const SimdLevel best = TestAccess::AllKernels().back()->level;
  std::string complaint;
  EXPECT_EQ(Choose(nullptr, &complaint), best);
  EXPECT_EQ(complaint, "");
  EXPECT_EQ(Choose("", &complaint), best);
  EXPECT_EQ(complaint, "");
}

TEST(SimdLevel, AnUnknownOneIsNamedOnStandardErrorAndTheBestOneIsUsed) {
  const SimdLevel best = TestAccess::AllKernels().back()->level;
  for (const char* wanted : {"avx1024", "AVX2", " scalar", "scalar ", "none", "7"}) {
    std::string complaint;
    EXPECT_EQ(Choose(wanted, &complaint), best);
    EXPECT_NE(complaint.find(std::string("HOTPATH_SIMD=") + wanted + " "), std::string::npos) << complaint;
    EXPECT_NE(complaint.find("using " + std::string(SimdLevelName(best))), std::string::npos) << complaint;
    EXPECT_NE(complaint.find("Levels: scalar"), std::string::npos) << complaint;
    EXPECT_EQ(std::count(complaint.begin(), complaint.end(), '\n'), 1) << complaint;
  }
}

TEST(SimdLevel, OneThatThisCpuHasNotIsRefusedLikeAnUnknownOne) {
  const auto all = TestAccess::AllKernels();
  for (const SimdLevel level : {SimdLevel::kSse2, SimdLevel::kAvx2, SimdLevel::kAvx512, SimdLevel::kNeon}) {
    if (std::any_of(all.begin(), all.end(), [&](const Kernels* kernels) { return kernels->level == level; })) continue;
    std::string complaint;
    EXPECT_EQ(Choose(std::string(SimdLevelName(level)).c_str(), &complaint), all.back()->level);
    EXPECT_NE(complaint.find("is not a level of this CPU"), std::string::npos);
  }
}

TEST(SimdLevel, TheActiveOneIsTheOneChosenFromTheEnvironment) { EXPECT_EQ(ActiveSimdLevel(), ChooseKernels()->level); }

// In a process of its own, which reads the variable when it starts.
TEST(SimdLevelDeathTest, AProcessStartedWithTheVariableUsesThatLevel) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    const Restore restore;
    setenv("HOTPATH_SIMD", Name(*kernels).c_str(), 1);
    EXPECT_EXIT(std::_Exit(ActiveSimdLevel() == kernels->level && FindHashSimd(g_hashes, 9) == 2 ? 0 : 1),
                testing::ExitedWithCode(0), "");
  }
}

TEST(SimdLevel, SearchesBeforeMainWork) { EXPECT_EQ(g_found_before_main, 1u); }

TEST(SimdLevel, ANumberThatIsNoLevelHasAName) { EXPECT_EQ(SimdLevelName(SimdLevel{77}), "unknown"); }

// ---- FindHashSimd ----

void ExpectFound(std::span<const uint64_t> hashes, uint64_t needle) {
  const auto expected = NaiveFindHash(hashes, needle);
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    ASSERT_EQ(TestAccess::FindHash(*kernels, hashes, needle), expected)
        << Name(*kernels) << ", " << hashes.size() << " hashes";
  }
  ASSERT_EQ(FindHashSimd(hashes, needle), expected);
}

TEST(FindHashSimd, FindsNothingInNothing) {
  ExpectFound({}, 0);
  ExpectFound(std::span<const uint64_t>(g_hashes, size_t{0}), 7);
}

TEST(FindHashSimd, FindsEveryPositionOfEveryLengthAtEveryAlignment) {
  constexpr uint64_t kNeedle = 0x0123456789abcdef;
  for (size_t n = 0; n <= 300; ++n) {
    const size_t alignments = n <= 200 ? 8 : 1;
    for (size_t offset = 0; offset < alignments; ++offset) {
      // The needle stands right before and right after the hashes, where it must not be found.
      std::vector<uint64_t> storage(n + 32, kNeedle);
      uint64_t* hashes = storage.data() + 8;
      while (reinterpret_cast<uintptr_t>(hashes) % 64 != offset * 8) ++hashes;
      for (size_t i = 0; i < n; ++i) hashes[i] = ~kNeedle - i;
      ExpectFound({hashes, n}, kNeedle);
      for (size_t i = 0; i < n; ++i) {
        hashes[i] = kNeedle;
        ExpectFound({hashes, n}, kNeedle);
        hashes[i] = ~kNeedle - i;
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST(FindHashSimd, FindsTheFirstOfSeveral) {
  Rng rng(1);
  for (size_t n = 1; n <= 4096; n += 1 + n / 16) {
    std::vector<uint64_t> hashes(n);
    for (int round = 0; round < 20; ++round) {
      const uint64_t kinds = 1 + rng() % (2 * n);
      for (uint64_t& hash : hashes) hash = rng() % kinds;
      ExpectFound(hashes, rng() % kinds);
    }
    if (HasFatalFailure()) return;
  }
}

TEST(FindHashSimd, FindsTheLastHashOfEveryLengthUpTo4096) {
  std::vector<uint64_t> hashes(4096, 1);
  for (size_t n = 1; n <= hashes.size(); ++n) {
    hashes[n - 1] = 2;
    ExpectFound({hashes.data(), n}, 2);
    hashes[n - 1] = 1;
    if (HasFatalFailure()) return;
  }
}

TEST(FindHashSimd, ComparesAllSixtyFourBits) {
  for (const uint64_t needle : {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 63, uint64_t{0x00000000ffffffff},
                                uint64_t{0xffffffff00000000}, uint64_t{0x0123456789abcdef}}) {
    for (const size_t n : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257}) {
      std::vector<uint64_t> hashes(n);
      for (size_t i = 0; i < n; ++i) hashes[i] = needle ^ uint64_t { 1 } << i % 64;  // one bit off
      ExpectFound(hashes, needle);
      for (size_t i = 0; i < n; ++i) hashes[i] = needle ^ uint64_t { 0xffffffff } << (i % 2 * 32);  // one half off
      ExpectFound(hashes, needle);
      hashes.back() = needle;
      ExpectFound(hashes, needle);
    }
  }
}

TEST(FindHashSimd, ReadsNothingOutsideTheHashes) {
  const Guarded memory(4096 * sizeof(uint64_t));
  std::vector<size_t> lengths;
  for (size_t n = 0; n <= 300; ++n) lengths.push_back(n);
  for (const size_t n : {511, 512, 513, 1000, 2047, 4095, 4096}) lengths.push_back(n);
  for (const size_t n : lengths) {
    const std::string bytes(n * sizeof(uint64_t), '\x11');
    AtBothEnds(memory, bytes, [&](string_view at) {
      const auto* hashes = reinterpret_cast<const uint64_t*>(at.data());
      ExpectFound({hashes, n}, 0x1111111111111111);
      ExpectFound({hashes, n}, 0);  // what a masked load puts in the place of what it does not read
      ExpectFound({hashes, n}, 1);
    });
    if (HasFatalFailure()) return;
  }
}

// ---- PathStartsWithAny ----

TEST(PathStartsWithAny, TakesTheFirstPrefixInTheOrderOfTheRules) {
  const std::vector<string_view> prefixes = {"/usr/lib/x", "/usr", "/usr/lib", "/"};
  EXPECT_EQ(PathStartsWithAny("/usr/lib/libc.so", prefixes), 1u);
  EXPECT_EQ(PathStartsWithAny("/usr/lib/x", prefixes), 0u);
  EXPECT_EQ(PathStartsWithAny("/us", prefixes), 3u);
  EXPECT_EQ(PathStartsWithAny("us", prefixes), std::nullopt);
  EXPECT_EQ(PathStartsWithAny("", prefixes), std::nullopt);
}

TEST(PathStartsWithAny, ComparesPlainBytes) {
  EXPECT_EQ(PathStartsWithAny("/homeless", std::vector<string_view>{"/home"}), 0u);
  EXPECT_EQ(PathStartsWithAny("/home", std::vector<string_view>{"/home/"}), std::nullopt);
  EXPECT_EQ(PathStartsWithAny("/h\xffx", std::vector<string_view>{"/h\xfe", "/h\xff"}), 1u);
  const std::string with_nul("/a\0b/c", 6);
  EXPECT_EQ(PathStartsWithAny(with_nul, std::vector<string_view>{string_view("/a\0c", 4), string_view("/a\0b", 4)}),
            1u);
  EXPECT_EQ(PathStartsWithAny("", std::vector<string_view>{"a", ""}), 1u);
  EXPECT_EQ(PathStartsWithAny("x", std::vector<string_view>{"", "x"}), 0u);
  EXPECT_EQ(PathStartsWithAny("x", {}), std::nullopt);
  EXPECT_EQ(PathStartsWithAny(string_view(), std::vector<string_view>{string_view()}), 0u);
}

TEST(PathStartsWithAny, TellsPrefixesOfEveryLengthFromThoseWithOneByteWrong) {
  std::string path(300, '\0');
  for (size_t i = 0; i < path.size(); ++i) path[i] = static_cast<char>(i * 37 + 1);
  for (size_t n = 0; n <= path.size(); ++n) {
    std::string prefix = path.substr(0, n);
    ASSERT_EQ(PathStartsWithAny(path, std::vector<string_view>{prefix}), 0u) << n;
    for (size_t wrong = 0; wrong < n; ++wrong) {
      prefix[wrong] ^= 0x40;
      ASSERT_EQ(PathStartsWithAny(path, std::vector<string_view>{prefix}), std::nullopt) << n << " " << wrong;
      prefix[wrong] ^= 0x40;
    }
    ASSERT_EQ(PathStartsWithAny(string_view(path).substr(0, n == 0 ? 0 : n - 1), std::vector<string_view>{prefix}),
              n == 0 ? std::optional<size_t>(0) : std::nullopt);
  }
}

TEST(PathStartsWithAny, AgreesWithTheLoopForUpTo10000Prefixes) {
  Rng rng(2);
  for (const size_t count : {0, 1, 2, 16, 100, 1000, 10000}) {
    std::vector<std::string> own(count);
    for (std::string& prefix : own) {
      const size_t length = 4 + rng() % 30;
      while (prefix.size() < length) prefix += "/ab"[rng() % 3];
    }
    const std::vector<string_view> prefixes(own.begin(), own.end());
    for (int round = 0; round < 200; ++round) {
      std::string path = count != 0 && round % 2 == 0 ? own[rng() % count] : std::string();
      while (path.size() < 40) path += "/ab"[rng() % 3];
      ASSERT_EQ(PathStartsWithAny(path, prefixes), NaiveStartsWithAny(path, prefixes));
    }
  }
}

TEST(PathStartsWithAny, ReadsNothingOutsideThePathAndThePrefixes) {
  const Guarded path_memory(4096);
  const Guarded prefix_memory(4096);
  for (size_t path_length = 0; path_length <= 200; path_length += path_length < 40 ? 1 : 7) {
    AtBothEnds(path_memory, std::string(path_length, 'x'), [&](string_view path) {
      for (size_t length = 0; length <= 200; length += length < 70 ? 1 : 5) {
        AtBothEnds(prefix_memory, std::string(length, 'x'), [&](string_view prefix) {
          ASSERT_EQ(PathStartsWithAny(path, std::vector<string_view>{prefix}).has_value(), length <= path_length);
        });
      }
    });
    if (HasFatalFailure()) return;
  }
}

TEST(PathStartsWithAny, AllocatesNothing) {
  const std::string path(100, 'x');
  const std::vector<std::string> own = {"/a", std::string(99, 'x') + "y", std::string(64, 'x')};
  const std::vector<string_view> prefixes(own.begin(), own.end());
  const HeapMark mark;
  const auto found = PathStartsWithAny(path, prefixes);
  EXPECT_EQ(mark.Since(), HeapCount{});
  EXPECT_EQ(found, 2u);
}

// ---- PathPrefixSet ----

// The rules as given, and behind so many others that they are no longer few. The others cover nothing that is asked.
struct BothForms {
  explicit BothForms(std::vector<string_view> given) : rules(std::move(given)), few(rules) {
    std::vector<string_view> padded = rules;
    for (size_t i = 0; i <= kMaxFew; ++i) others.push_back("\x01other/" + std::to_string(i));
    padded.insert(padded.end(), others.begin(), others.end());
    many = PathPrefixSet(padded);
  }

  void Expect(string_view path, std::optional<size_t> longest, std::optional<size_t> first) const {
    EXPECT_EQ(NaiveLongestMatch(rules, path), longest) << "the definition says otherwise for " << path;
    EXPECT_EQ(NaiveFirstMatch(rules, path), first) << "the definition says otherwise for " << path;
    for (const PathPrefixSet* set : {&few, &many}) {
      const char* form = set == &few ? " few " : " many ";
      for (const Kernels* kernels : TestAccess::AllKernels()) {
        EXPECT_EQ(TestAccess::LongestMatch(*kernels, *set, path), longest) << Name(*kernels) << form << path;
        EXPECT_EQ(TestAccess::FirstMatch(*kernels, *set, path), first) << Name(*kernels) << form << path;
      }
      EXPECT_EQ(set->LongestMatch(path), longest) << path;
      EXPECT_EQ(set->FirstMatch(path), first) << path;
    }
  }
  void Expect(string_view path, std::optional<size_t> match) const { Expect(path, match, match); }

  std::vector<string_view> rules;
  std::vector<std::string> others;
  PathPrefixSet few;
  PathPrefixSet many;
};

TEST(PathPrefixSet, ARuleCoversItselfAndWhatLiesBelowIt) {
  const BothForms set({"/home", "/var/log"});
  EXPECT_FALSE(TestAccess::Compiled(set.few).few.empty());
  EXPECT_TRUE(TestAccess::Compiled(set.many).few.empty());
  set.Expect("/home", 0);
  set.Expect("/home/", 0);
  set.Expect("/home/alice/file", 0);
  set.Expect("/homeless", std::nullopt);
  set.Expect("/homeless/x", std::nullopt);
  set.Expect("/hom", std::nullopt);
  set.Expect("/", std::nullopt);
  set.Expect("/var", std::nullopt);
  set.Expect("/var/log", 1);
  set.Expect("/var/logs", std::nullopt);
  set.Expect("home", std::nullopt);
  set.Expect("x/home", std::nullopt);
  set.Expect("/x/home", std::nullopt);
}

TEST(PathPrefixSet, TheLongestAndTheFirstOfNestedRules) {
  const BothForms set({"/a/b/c", "/a", "/", "/a/b", "/a"});
  set.Expect("/a/b/c/d", 0, 0);
  set.Expect("/a/b/c", 0, 0);
  set.Expect("/a/b/x", 3, 1);
  set.Expect("/a/b", 3, 1);
  set.Expect("/a/x", 1, 1);
  set.Expect("/x", 2, 2);
}

TEST(PathPrefixSet, OfEqualRulesTheFirstCounts) {
  const BothForms set({"/b", "/a", "/a/", "/a//", "/b"});
  set.Expect("/a", 1);
  set.Expect("/a/x", 1);
  set.Expect("/b", 0);
  EXPECT_EQ(set.few.size(), 5u);
}

TEST(PathPrefixSet, SlashesAtTheEndOfARuleAreDropped) {
  const BothForms set({"/home/", "/var//"});
  set.Expect("/home", 0);
  set.Expect("/home/", 0);
  set.Expect("/home/x", 0);
  set.Expect("/homeless", std::nullopt);
  set.Expect("/var", 1);
  set.Expect("/var/x", 1);
}

TEST(PathPrefixSet, SlashesInsideAreBytes) {
  const BothForms set({"/a//b", "/c"});
  set.Expect("/a//b", 0);
  set.Expect("/a//b/x", 0);
  set.Expect("/a/b", std::nullopt);
  set.Expect("/a///b", std::nullopt);
  set.Expect("/c//d", 1);
  set.Expect("//c", std::nullopt);
}

TEST(PathPrefixSet, TheRootCoversWhatBeginsWithASlash) {
  for (const string_view root : {"/", "//", "////"}) {
    const BothForms set({root});
    set.Expect("/", 0);
    set.Expect("//", 0);
    set.Expect("/a", 0);
    set.Expect("/a/b/c", 0);
    set.Expect("", std::nullopt);
    set.Expect("a", std::nullopt);
    set.Expect("a/", std::nullopt);
  }
}

TEST(PathPrefixSet, TheEmptyRuleCoversTheEmptyPathOnly) {
  const BothForms set({"/a", "", "/", ""});
  set.Expect("", 1);
  set.Expect("/", 2);
  set.Expect("/a", 0, 0);
  set.Expect("a", std::nullopt);
  const BothForms without({"/a", "/"});
  without.Expect("", std::nullopt);
  const BothForms alone({""});
  alone.Expect("", 0);
  alone.Expect("/", std::nullopt);
  EXPECT_EQ(alone.few.LongestMatch(string_view()), 0u);  // no pointer at all
}

// The few rules lie in groups of eight; the empty rule is in none.
TEST(PathPrefixSet, TheEmptyRuleIsNotOneOfTheFew) {
  for (const size_t count : {1, 7, 8, 9, 63, 64, 65}) {
    std::vector<std::string> own = Numbered("/", count);
    own.push_back("");
    const PathPrefixSet set(std::vector<string_view>(own.begin(), own.end()));
    EXPECT_EQ(TestAccess::Compiled(set).few.empty(), count > kMaxFew);
    for (const Kernels* kernels : TestAccess::AllKernels()) {
      for (size_t i = 0; i < count; ++i) EXPECT_EQ(TestAccess::LongestMatch(*kernels, set, own[i] + "/"), i);
      EXPECT_EQ(TestAccess::LongestMatch(*kernels, set, "x"), std::nullopt);
      EXPECT_EQ(TestAccess::LongestMatch(*kernels, set, ""), count);
    }
  }
}

TEST(PathPrefixSet, RelativeRulesCoverRelativePaths) {
  const BothForms set({"usr", "usr/lib", "."});
  set.Expect("usr", 0, 0);
  set.Expect("usr/lib/x", 1, 0);
  set.Expect("usr/", 0, 0);
  set.Expect("/usr", std::nullopt);
  set.Expect("./usr", 2, 2);
  set.Expect("..", std::nullopt);
}

TEST(PathPrefixSet, NulAndAllOtherBytesAreBytes) {
  const std::string nul("/a\0b", 4);
  const std::string nuls("\0\0\0\0\0\0\0\0", 8);
  const std::string high(8, '\xff');
  const BothForms set({nul, "/a", nuls, high, "/\xff\xfe"});
  set.Expect(nul, 0, 0);
  set.Expect(nul + "/x", 0, 0);
  set.Expect(nul + "x", std::nullopt);
  set.Expect(string_view("/a\0", 3), std::nullopt);
  set.Expect("/a", 1, 1);
  set.Expect(nuls, 2);
  set.Expect(nuls + "/", 2);
  set.Expect(nuls + '\0', std::nullopt);
  set.Expect(string_view(nuls).substr(1), std::nullopt);
  set.Expect(high, 3);
  set.Expect(high + high, std::nullopt);
  set.Expect("/\xff\xfe/\xff", 4);
}

TEST(PathPrefixSet, EncodingsAreBytes) {
  // Two ways to write an e with an acute accent, and a character outside the basic plane.
  const BothForms set({"/caf\xc3\xa9", "/\xf0\x9f\x93\x81"});
  set.Expect("/caf\xc3\xa9/menu", 0);
  set.Expect("/cafe\xcc\x81/menu", std::nullopt);
  set.Expect("/caf\xc3", std::nullopt);
  set.Expect("/\xf0\x9f\x93\x81/x", 1);
}

TEST(PathPrefixSet, CaseAndDotsAreBytes) {
  const BothForms set({"/Etc", "/a/../b"});
  set.Expect("/etc", std::nullopt);
  set.Expect("/Etc/x", 0);
  set.Expect("/b", std::nullopt);
  set.Expect("/a/../b/c", 1);
  set.Expect("/./Etc", std::nullopt);
}

TEST(PathPrefixSet, ASetWithoutRulesCoversNothing) {
  for (const PathPrefixSet& set : {PathPrefixSet(), PathPrefixSet(std::vector<string_view>{}), PathPrefixSet({})}) {
    for (const Kernels* kernels : TestAccess::AllKernels()) {
      for (const string_view path : {string_view(), string_view("/"), string_view("a"), string_view("/a/b")}) {
        EXPECT_EQ(TestAccess::LongestMatch(*kernels, set, path), std::nullopt);
        EXPECT_EQ(TestAccess::FirstMatch(*kernels, set, path), std::nullopt);
      }
    }
    EXPECT_EQ(set.size(), 0u);
  }
}

// Rules and paths of all lengths, one byte right, too long, too short or wrong: where blocks and words begin and end.
TEST(PathPrefixSet, TellsRulesOfEveryLengthFromPathsWithOneByteWrong) {
  for (size_t n = 1; n <= 200; ++n) {
    std::string rule(n, 'r');
    for (size_t i = 0; i < n; i += 5) rule[i] = '/';
    rule[n - 1] = 'r';
    const BothForms set({rule, "/unlike"});
    const std::string below = rule + "/below";
    const std::string beside = rule + "beside";
    for (const Kernels* kernels : TestAccess::AllKernels()) {
      for (const PathPrefixSet* s : {&set.few, &set.many}) {
        const auto match = [&](string_view path) { return TestAccess::LongestMatch(*kernels, *s, path); };
        ASSERT_EQ(match(rule), 0u) << n << Name(*kernels);
        ASSERT_EQ(match(rule + "/"), 0u) << n << Name(*kernels);
        ASSERT_EQ(match(below), 0u) << n << Name(*kernels);
        ASSERT_EQ(match(beside), std::nullopt) << n << Name(*kernels);
        ASSERT_EQ(match(string_view(rule).substr(0, n - 1)), std::nullopt) << n << Name(*kernels);
        std::string wrong = below;
        for (size_t i = 0; i < n; ++i) {
          wrong[i] ^= 1;
          ASSERT_EQ(match(wrong), std::nullopt) << n << " " << i << Name(*kernels);
          wrong[i] ^= 1;
        }
      }
    }
  }
}

// Each rule, none of which covers another, covers itself and what lies below it, and no path with one byte wrong.
void ExpectNothingButTheRules(const PathRules& compiled, const std::vector<std::string>& own) {
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    const auto match = [&](string_view path) -> std::optional<size_t> {
      const auto* rule = kernels->match(compiled, path.data(), path.size());
      if (rule == nullptr) return std::nullopt;
      return rule->longest;
    };
    for (size_t i = 0; i < own.size(); ++i) {
      ASSERT_EQ(match(own[i]), i) << Name(*kernels) << own[i];
      std::string path = own[i] + "/below";
      ASSERT_EQ(match(path), i) << Name(*kernels) << path;
      for (size_t wrong = 0; wrong <= own[i].size(); ++wrong) {
        path[wrong] ^= 0x40;
        ASSERT_EQ(match(path), std::nullopt) << Name(*kernels) << path;
        path[wrong] ^= 0x40;
      }
    }
  }
}

// Rules that differ early or late are compared by few words or by all four; what is equal in these is looked at again.
TEST(PathPrefixSet, ComparesFewRulesByAsManyWordsAsTellThemApart) {
  struct Shape {
    std::string before, after;  // what all of the rules have before and after two bytes of their own
    size_t words;
  };
  const Shape shapes[] = {{"/", "", 1},
                          {"/", "/one/tail/that/goes/on/behind/the/head", 1},
                          {"/opt/app", "/one/tail/that/goes/on/behind/the/head", 2},
                          {"/home/alice/projects", "/one/tail/that/goes/on/behind/the/head", 3},
                          {"/home/alice/projects/src/", "/one/tail/that/goes/on/behind/the/head", 4},
                          {"/home/alice/projects/src/behind/the/head/", "/tail", 1}};  // none do
  for (const auto& [before, after, words] : shapes) {
    std::vector<std::string> own;
    for (size_t i = 0; i < kMaxFew; ++i) {
      std::string rule = before;
      rule += static_cast<char>('a' + i / 8);
      rule += static_cast<char>('a' + i % 8);
      own.push_back(rule + after);
    }
    const std::vector<string_view> rules(own.begin(), own.end());
    BuildCount took;
    const PathRules compiled = CompileRules(rules, took);
    EXPECT_EQ(compiled.few_words, words) << before;
    ExpectNothingButTheRules(compiled, own);
  }
}

// Many rules with long heads in common, as in the home directory of one user: the filter looks behind these.
TEST(PathPrefixSet, FiltersByHeadsOfAsManyWordsAsTellManyRulesApart) {
  struct Shape {
    std::string before;  // what all of the rules begin with
    size_t words;
  };
  const Shape shapes[] = {{"/", 1},
                          {"/opt/app/", 2},
                          {"/home/alice/projects", 3},
                          {"/home/alice/projects/src/", 4},
                          {"/home/alice/projects/src/a/path/that/goes/on", 6}};
  for (const auto& [before, words] : shapes) {
    std::vector<std::string> own;
    for (size_t i = 0; i < 4 * kMaxFew; ++i) {
      std::string rule = before;
      rule += static_cast<char>('a' + i / 16);
      rule += static_cast<char>('a' + i % 16);
      rule += "/tail";
      own.push_back(rule + std::string(i % 10, 'x'));
    }
    const std::vector<string_view> rules(own.begin(), own.end());
    BuildCount took;
    const PathRules compiled = CompileRules(rules, took);
    EXPECT_EQ(compiled.head_words, words) << before;
    ExpectNothingButTheRules(compiled, own);
  }
}

// Every component of one deep path is a rule: the longest, the first and the chain across blocks.
TEST(PathPrefixSet, FindsTheRightOneOfRulesNestedAThousandDeep) {
  std::string deep;
  std::vector<std::string> own;
  for (int i = 0; i < 1000; ++i) {
    deep += i % 7 == 0 ? "/dd" : "/d";
    own.push_back(deep);
  }
  Rng rng(3);
  std::shuffle(own.begin(), own.end(), rng);
  const std::vector<string_view> rules(own.begin(), own.end());
  const PathPrefixSet set(rules);
  for (size_t n = 0; n <= deep.size(); n += n < 300 ? 1 : 5) {
    const string_view path = string_view(deep).substr(0, n);
    const auto longest = NaiveLongestMatch(rules, path);
    const auto first = NaiveFirstMatch(rules, path);
    for (const Kernels* kernels : TestAccess::AllKernels()) {
      ASSERT_EQ(TestAccess::LongestMatch(*kernels, set, path), longest) << n << Name(*kernels);
      ASSERT_EQ(TestAccess::FirstMatch(*kernels, set, path), first) << n << Name(*kernels);
    }
  }
}

TEST(PathPrefixSet, VeryLongPathsAndRulesAreNothingSpecial) {
  std::string megabyte;
  while (megabyte.size() < 1 << 20) megabyte += "/component";
  const std::string half = megabyte.substr(0, megabyte.size() / 20 * 10);
  for (const bool long_rules : {false, true}) {
    std::vector<string_view> rules = {"/component/component", "/other"};
    if (long_rules) rules.insert(rules.end(), {string_view(half), string_view(megabyte)});
    const BothForms set(rules);
    set.Expect(megabyte, long_rules ? 3 : 0, 0);
    set.Expect(megabyte + "s", long_rules ? 2 : 0, 0);
    set.Expect(half, long_rules ? 2 : 0, 0);
    set.Expect(string_view(half).substr(0, half.size() - 1), 0, 0);
    set.Expect("/other" + megabyte, 1, 1);
    set.Expect("/others" + megabyte, std::nullopt);
  }
}

std::string RandomPath(Rng& rng, size_t max_length) {
  static constexpr string_view kAlphabets[] = {string_view("/ab"), string_view("/a\0\xff.", 5), string_view("//////a")};
  const string_view alphabet = kAlphabets[rng() % 3];
  std::string path(rng() % (max_length + 1), '\0');
  for (char& c : path) c = alphabet[rng() % alphabet.size()];
  return path;
}

TEST(PathPrefixSet, AgreesWithTheLoopForRandomRulesAndPaths) {
  Rng rng(4);
  for (const size_t count : {1, 2, 3, 7, 8, 9, 16, 63, 64, 65, 66, 100, 300, 1000}) {
    for (const size_t max_length : {6, 12, 40, 70, 140}) {
      std::vector<std::string> own(count);
      for (std::string& rule : own) {
        rule = RandomPath(rng, max_length);
        if (rng() % 4 == 0) rule = own[rng() % count] + "/" + rule.substr(0, rule.size() / 2);  // below another
      }
      const std::vector<string_view> rules(own.begin(), own.end());
      const PathPrefixSet set(rules);
      for (int round = 0; round < 60; ++round) {
        std::string path = RandomPath(rng, max_length);
        if (round % 2 == 0) path = own[rng() % count] + path.substr(0, path.size() / 4);
        const auto longest = NaiveLongestMatch(rules, path);
        const auto first = NaiveFirstMatch(rules, path);
        for (const Kernels* kernels : TestAccess::AllKernels()) {
          ASSERT_EQ(TestAccess::LongestMatch(*kernels, set, path), longest) << Name(*kernels) << " " << path;
          ASSERT_EQ(TestAccess::FirstMatch(*kernels, set, path), first) << Name(*kernels) << " " << path;
        }
      }
    }
  }
}

TEST(PathPrefixSet, ReadsNothingOutsideThePath) {
  const Guarded memory(4096);
  std::vector<std::string> own;
  for (size_t i = 1; i <= 200; ++i) own.push_back(std::string(i, 'x'));
  const std::vector<string_view> rules(own.begin(), own.end());
  const PathPrefixSet many(rules);
  const PathPrefixSet few(std::vector<string_view>(rules.begin(), rules.begin() + 40));
  for (size_t n = 0; n <= 200; ++n) {
    AtBothEnds(memory, std::string(n, 'x'), [&](string_view path) {
      for (const Kernels* kernels : TestAccess::AllKernels()) {
        ASSERT_EQ(TestAccess::LongestMatch(*kernels, many, path).has_value(), n > 0) << Name(*kernels);
        ASSERT_EQ(TestAccess::LongestMatch(*kernels, few, path).has_value(), n > 0 && n <= 40) << Name(*kernels);
      }
    });
    if (HasFatalFailure()) return;
  }
}

// A bound on the text, on the rules and on the whole, for few and for many rules.
void ExpectMemoryBound(const PathPrefixSet& set, const std::vector<string_view>& rules) {
  size_t text = 0;
  for (const string_view rule : rules) text += rule.size();
  EXPECT_LE(set.MemoryUsed(), 2048 + 96 * rules.size() + text * 9 / 8) << rules.size() << " rules";
}

TEST(PathPrefixSet, ItsMemoryIsBounded) {
  const std::string long_rule(100000, 'x');
  for (const size_t count :
       {size_t{0}, size_t{1}, size_t{8}, size_t{9}, kMaxFew - 1, kMaxFew, kMaxFew + 1, size_t{66}, size_t{1000}}) {
    const std::vector<std::string> own = Numbered("/some/rule/that/is/longer/than/the/head/", count);
    std::vector<string_view> rules(own.begin(), own.end());
    ExpectMemoryBound(PathPrefixSet(rules), rules);
    rules.push_back(long_rule);
    ExpectMemoryBound(PathPrefixSet(rules), rules);
    rules.insert(rules.end(), 1000, "/equal");
    ExpectMemoryBound(PathPrefixSet(rules), rules);
  }
}

TEST(PathPrefixSet, TakesAHundredThousandRules) {
  std::vector<std::string> own;
  for (size_t i = 0; own.size() < 100000; ++i) {
    own.push_back("/data/" + std::to_string(i % 317) + "/" + std::to_string(i));
    if (i % 10 == 0) own.push_back("/data/" + std::to_string(i % 317));
  }
  const std::vector<string_view> rules(own.begin(), own.end());
  const PathPrefixSet set(rules);
  EXPECT_EQ(set.size(), own.size());
  ExpectMemoryBound(set, rules);

  std::vector<std::pair<string_view, size_t>> first_of_text;
  first_of_text.reserve(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) first_of_text.push_back({rules[i], i});
  std::sort(first_of_text.begin(), first_of_text.end());
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    for (size_t i = 0; i < own.size(); i += 1 + i % 97) {
      const std::string& rule = own[i];
      const size_t index =
          std::lower_bound(first_of_text.begin(), first_of_text.end(), std::pair(string_view(rule), size_t{0}))->second;
      ASSERT_EQ(TestAccess::LongestMatch(*kernels, set, rule), index);
      ASSERT_EQ(TestAccess::LongestMatch(*kernels, set, rule + "/x"), index);
      ASSERT_NE(TestAccess::LongestMatch(*kernels, set, rule + "x"), index);
    }
  }
  Rng rng(5);
  for (int round = 0; round < 20; ++round) {
    const std::string path = own[rng() % own.size()] + (round % 2 == 0 ? "/x" : "x");
    const auto longest = NaiveLongestMatch(rules, path);
    const auto first = NaiveFirstMatch(rules, path);
    for (const Kernels* kernels : TestAccess::AllKernels()) {
      ASSERT_EQ(TestAccess::LongestMatch(*kernels, set, path), longest) << path;
      ASSERT_EQ(TestAccess::FirstMatch(*kernels, set, path), first) << path;
    }
  }
}

// Some sets do not fit their table with the first seed.
TEST(PathPrefixSet, BuildsWithAnotherSeedWhenOneDoesNotFit) {
  Rng rng(6);
  int reseeded = 0;
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> own;
    for (size_t i = 0; i <= kMaxFew; ++i)
      own.push_back("/" + std::to_string(rng() % 1000000) + "/" + std::to_string(i));
    const std::vector<string_view> rules(own.begin(), own.end());
    const PathPrefixSet set(rules);
    if (TestAccess::Compiled(set).seed == 0) continue;
    ++reseeded;
    for (size_t i = 0; i < own.size(); ++i) ASSERT_EQ(set.LongestMatch(own[i] + "/x"), i);
  }
  EXPECT_GT(reseeded, 0);
  EXPECT_LT(reseeded, 100);
}

// Two rules with one tag and one first slot, of which the second takes it: a match that comes for the one that had to
// move sees the other's, and must not stop there. That table is not used.
TEST(PathPrefixSet, FindsRulesWhoseTagsAndFirstSlotsAreEqual) {
  constexpr size_t kSlots = 144;
  const auto hash_of = [](string_view text) {  // with seed 0
    uint64_t word = 0;
    std::memcpy(&word, text.data(), text.size());
    return simd_search_internal::HashEnd(0, word, text.size());
  };
  const auto word_of = [](size_t i) {
    uint64_t word = '/';
    for (int at = 1; at < 7; ++at, i /= 14) word |= uint64_t{'a' + i % 14} << 8 * at;
    return word;
  };
  const auto name_of = [&](size_t i) {
    const uint64_t word = word_of(i);
    return std::string(reinterpret_cast<const char*>(&word), 7);
  };
  std::vector<std::pair<uint64_t, size_t>> seen;
  for (size_t i = 0; i < size_t{1} << 21; ++i) {
    const uint64_t hash = simd_search_internal::HashEnd(0, word_of(i), 7);
    seen.push_back(
        {uint64_t{simd_search_internal::TagOf(hash)} << 32 | simd_search_internal::FirstPlace(hash, kSlots), i});
  }
  std::sort(seen.begin(), seen.end());
  int pairs = 0;
  for (size_t at = 1; at < seen.size(); ++at) {
    if (seen[at - 1].first != seen[at].first) continue;
    ++pairs;
    std::vector<std::string> own = {name_of(seen[at - 1].second), name_of(seen[at].second)};
    own.push_back(own[0] + "/" + std::string(kMaxFew, 'x'));  // these two are found by way of the first two
    own.push_back(own[1] + "/" + std::string(kMaxFew, 'x'));
    const uint64_t hashes[] = {hash_of(own[0]), hash_of(own[1])};
    for (int filler = 0; own.size() < 65; ++filler) {  // that leave the pair's slots alone
      const std::string text = "/" + std::to_string(filler);
      const auto taken = [&](size_t place) {
        return std::any_of(std::begin(hashes), std::end(hashes), [&](uint64_t hash) {
          return place == simd_search_internal::FirstPlace(hash, kSlots) ||
                 place == simd_search_internal::SecondPlace(hash, kSlots);
        });
      };
      const uint64_t hash = hash_of(text);
      if (taken(simd_search_internal::FirstPlace(hash, kSlots))) continue;
      if (taken(simd_search_internal::SecondPlace(hash, kSlots))) continue;
      own.push_back(text);
    }
    const std::vector<string_view> rules(own.begin(), own.end());
    const PathPrefixSet set(rules);
    const PathRules& compiled = TestAccess::Compiled(set);
    EXPECT_EQ(compiled.slots.size(), kSlots);
    EXPECT_NE(compiled.seed, 0u);
    for (const Kernels* kernels : TestAccess::AllKernels()) {
      for (size_t i = 0; i < own.size(); ++i) {
        EXPECT_EQ(TestAccess::LongestMatch(*kernels, set, own[i]), i) << Name(*kernels) << " " << own[i];
      }
    }
  }
  EXPECT_GE(pairs, 1);
}

// As if no seed had done.
TEST(PathPrefixSet, AgreesWithTheLoopWithoutATable) {
  Rng rng(9);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> own = Numbered("/n", kMaxFew);
    while (own.size() < 200) {
      std::string rule = RandomPath(rng, 80);
      if (rng() % 2 == 0) rule = own[rng() % own.size()] + "/" + rule.substr(0, rule.size() / 8);
      own.push_back(rule);
    }
    const std::vector<string_view> rules(own.begin(), own.end());
    BuildCount took;
    const PathRules compiled = CompileRules(rules, took, 0);
    ASSERT_TRUE(compiled.slots.empty());
    for (int i = 0; i < 200; ++i) {
      std::string path = RandomPath(rng, 80);
      if (i % 2 == 0) path = own[rng() % own.size()] + path.substr(0, path.size() / 4);
      const auto longest = NaiveLongestMatch(rules, path);
      const auto first = NaiveFirstMatch(rules, path);
      for (const Kernels* kernels : TestAccess::AllKernels()) {
        const auto* rule = kernels->match(compiled, path.data(), path.size());
        ASSERT_EQ(rule != nullptr, longest.has_value()) << path;
        if (rule == nullptr) continue;
        ASSERT_EQ(rule->longest, longest) << path;
        ASSERT_EQ(rule->first, first) << path;
      }
    }
  }
}

// Hashes are compared, so rules must be, too. Here every slot promises a rule that it has not got.
TEST(PathPrefixSet, AHashThatIsEqualByChanceIsNotAMatch) {
  std::vector<std::string> own;
  for (size_t i = 0; i <= kMaxFew; ++i) own.push_back("/x/" + std::to_string(i) + std::string(i * 3, 'y'));
  const std::vector<string_view> rules(own.begin(), own.end());
  const PathPrefixSet set(rules);
  PathRules forged = TestAccess::Compiled(set);
  for (char& c : forged.text) c = c == 'x' ? 'z' : c;
  PathRules shorter = TestAccess::Compiled(set);
  for (auto& rule : shorter.rules) --rule.length;
  PathRules orphaned = TestAccess::Compiled(set);
  for (auto& rule : orphaned.rules) rule.outer = 1;
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    for (const std::string& path : own) {
      ASSERT_NE(kernels->match(TestAccess::Compiled(set), path.data(), path.size()), nullptr);
      ASSERT_EQ(kernels->match(forged, path.data(), path.size()), nullptr) << Name(*kernels);
      ASSERT_EQ(kernels->match(shorter, path.data(), path.size()), nullptr) << Name(*kernels);
      ASSERT_EQ(kernels->match(orphaned, path.data(), path.size()), nullptr) << Name(*kernels);
    }
  }
}

// ---- What building and matching cost, in counts ----

std::vector<string_view> Views(const std::vector<std::string>& own) { return {own.begin(), own.end()}; }

// Rule sets of all shapes, also those that make a sort or the search for covering rules slow if it can be made slow.
std::vector<std::pair<const char*, std::vector<std::string>>> ShapesOf(size_t count) {
  std::vector<std::pair<const char*, std::vector<std::string>>> shapes;
  const std::vector<std::string> sorted = Numbered("/opt/component/", count);
  shapes.push_back({"numbered", sorted});
  shapes.push_back({"numbered, backwards", {sorted.rbegin(), sorted.rend()}});
  shapes.push_back({"equal", std::vector<std::string>(count, "/the/one/rule")});
  std::vector<std::string> stairs;  // 50 deep, again and again
  for (size_t i = 0; i < count; ++i) stairs.push_back(i % 50 == 0 ? "/" + std::to_string(i) : stairs.back() + "/d");
  shapes.push_back({"stairs", std::move(stairs)});
  std::vector<std::string> random(count);
  Rng rng(8);
  for (std::string& rule : random) {
    for (size_t i = 1 + rng() % 5; i > 0; --i) rule += "/" + std::to_string(rng() % 50);
  }
  shapes.push_back({"random", std::move(random)});
  return shapes;
}

TEST(PathPrefixSet, BuildingTakesNLogNStepsForRulesOfAnyShape) {
  for (const size_t count : {1000, 10000}) {
    for (const auto& [shape, own] : ShapesOf(count)) {
      BuildCount took;
      const PathRules rules = CompileRules(Views(own), took);
      EXPECT_EQ(rules.given, count);
      EXPECT_LE(took.comparisons, 3 * count * std::bit_width(count)) << shape;
      EXPECT_LE(took.covers, 2 * count) << shape;
      EXPECT_LE(took.seeds, 3u) << shape;
      EXPECT_LE(took.filters, 8u) << shape;
      EXPECT_LE(took.moves, took.seeds * count) << shape;
    }
  }
}

TEST(PathPrefixSet, BuildingTakesAFixedNumberOfAllocations) {
  for (const size_t count : {100, 1000, 10000}) {
    const std::vector<std::string> own = Numbered("/opt/component/", count);
    const std::vector<string_view> rules = Views(own);
    const HeapMark mark;
    {
      const PathPrefixSet set(rules);
      bench::Escape(set);
    }
    const HeapCount took = mark.Since();
    EXPECT_LE(took.allocations, 8u) << count;
    EXPECT_EQ(took.allocations, took.frees) << count;
  }
}

// A copy has no spare capacity: its blocks are what MemoryUsed() says, and it is never more than the original.
TEST(PathPrefixSet, MemoryUsedIsWhatTheHeapWasAskedFor) {
  for (const size_t count : {size_t{10}, kMaxFew, kMaxFew + 1, size_t{1000}, size_t{10000}}) {
    const std::vector<std::string> own = Numbered("/some/rule/that/is/longer/than/the/head/", count);
    const PathPrefixSet set(Views(own));
    const HeapMark mark;
    const PathPrefixSet copy(set);  // NOLINT(performance-unnecessary-copy-initialization): its bytes are counted
    bench::Escape(copy);
    const HeapCount took = mark.Since();
    EXPECT_EQ(copy.MemoryUsed(), took.bytes + sizeof(copy)) << count;
    EXPECT_GE(set.MemoryUsed(), copy.MemoryUsed()) << count;
    if (count < 1000) continue;
    // Many rules: 20 bytes, 2.2 slots of 8, and 8 in the filter, where only 8192 count.
    size_t text = 0;
    for (const std::string& rule : own) text += rule.size();
    EXPECT_LE(took.bytes, text + count * 38 + std::min<size_t>(count, 8192) * 8 + 1024) << count;
  }
}

// Some of ThreadSanitizer's instructions come and go with what its shadow memory holds.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOTPATH_TEST_UNDER_TSAN 1
#endif
#endif
#if !defined(HOTPATH_TEST_UNDER_TSAN)
#define HOTPATH_TEST_UNDER_TSAN 0
#endif

// How many instructions f() takes, counted one by one in a child. Nothing if this system forbids to trace, or if they
// would not be f's alone.
std::optional<int64_t> InstructionsOf(const std::function<void()>& f) {
  if (HOTPATH_TEST_UNDER_TSAN) return std::nullopt;
  const auto count = [](const std::function<void()>& g) -> std::optional<int64_t> {
    const pid_t child = fork();
    if (child == 0) {
      if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
      raise(SIGSTOP);
      g();
      raise(SIGSTOP);
      _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return std::nullopt;
    int64_t steps = 0;
    do {
      if (ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0) break;
      ++steps;
    } while (waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    const bool stopped = WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    if (!stopped) return std::nullopt;
    return steps;
  };
  const std::optional<int64_t> nothing = count([] {});
  const std::optional<int64_t> all = count(f);
  if (!nothing || !all) return std::nullopt;
  return *all - *nothing;
}

// Rules of equal length, so that sets differ in nothing but the number of their rules.
std::vector<std::string> RulesOfEqualLength(size_t count) {
  std::vector<std::string> own;
  for (size_t i = 0; i < count; ++i) own.push_back("/srv/" + std::to_string(1000000 + i) + "/data");
  return own;
}

TEST(PathPrefixSet, AMatchTakesAsManyInstructionsAmong100000RulesAsAmong100) {
  const std::string covered = "/srv/1000017/data/a/file";
  const std::string not_covered = "/srv/1000017/dat2/a/file";  // the filter lets it pass
  if (!InstructionsOf([] {})) GTEST_SKIP() << "instructions cannot be counted here";
  const auto all = TestAccess::AllKernels();
  for (const Kernels* kernels : {all.front(), all.back()}) {
    std::vector<int64_t> hits, misses;
    for (const size_t count : {100, 100000}) {
      const std::vector<std::string> own = RulesOfEqualLength(count);
      const PathPrefixSet set(Views(own));
      hits.push_back(*InstructionsOf([&] { bench::Escape(TestAccess::LongestMatch(*kernels, set, covered)); }));
      misses.push_back(*InstructionsOf([&] { bench::Escape(TestAccess::LongestMatch(*kernels, set, not_covered)); }));
      EXPECT_GT(misses.back(), 20) << "not counted";
    }
    // Some more for a rule that lies in the second of its slots instead of the first, and for what a sanitizer adds,
    // which depends on addresses.
    EXPECT_NEAR(static_cast<double>(hits[1]), static_cast<double>(hits[0]), 40) << Name(*kernels);
    EXPECT_NEAR(static_cast<double>(misses[1]), static_cast<double>(misses[0]), 40) << Name(*kernels);
  }
}

// A path like the rules, but with another head, is not looked up at any of its boundaries.
TEST(PathPrefixSet, AMatchTakesFewerInstructionsWhereTheFilterDecides) {
  if (!InstructionsOf([] {})) GTEST_SKIP() << "instructions cannot be counted here";
  const std::string passes = "/srv/1000017/dat2/a/file";
  const std::string stays = "/srv/2000017/dat2/a/file";
  const PathPrefixSet set(Views(RulesOfEqualLength(100)));
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    const auto steps = [&](string_view path) {
      return *InstructionsOf([&] { bench::Escape(TestAccess::LongestMatch(*kernels, set, path)); });
    };
    EXPECT_LE(steps(stays) + 20, steps(passes)) << Name(*kernels);
  }
}

TEST(PathPrefixSet, AMatchTakesInstructionsInProportionToThePath) {
  if (!InstructionsOf([] {})) GTEST_SKIP() << "instructions cannot be counted here";
  // The worst case: a rule ends at every slash of the path, and none but the first covers it.
  std::string path = "/a";
  while (path.size() < 1024) path += "/bbbbbbb";
  std::vector<std::string> own = {"/a"};
  for (size_t n = 10; n <= path.size(); n += 8) own.push_back(path.substr(0, n - 1) + "c");
  const PathPrefixSet set(Views(own));
  const auto all = TestAccess::AllKernels();
  for (const Kernels* kernels : {all.front(), all.back()}) {
    const auto steps = [&](size_t n) {
      return *InstructionsOf(
          [&] { bench::Escape(TestAccess::LongestMatch(*kernels, set, string_view(path).substr(0, n))); });
    };
    EXPECT_EQ(TestAccess::LongestMatch(*kernels, set, path), 0u);
    const int64_t some = steps(128);
    EXPECT_LE(steps(512), some * 9 / 2) << Name(*kernels);
  }
}

TEST(PathPrefixSet, MatchingAllocatesNothing) {
  const BothForms set(
      {"/a", "/a/b", std::string_view("/a/very/long/rule/that/goes/on/for/more/than/sixty/four/bytes/in/all")});
  const std::string path = "/a/very/long/rule/that/goes/on/for/more/than/sixty/four/bytes/in/all/and/below";
  const std::string megabyte(1 << 20, 'x');
  std::optional<size_t> found[4];
  const HeapMark mark;
  found[0] = set.few.LongestMatch(path);
  found[1] = set.many.FirstMatch(path);
  found[2] = set.many.LongestMatch(megabyte);
  found[3] = set.few.FirstMatch("");
  EXPECT_EQ(mark.Since(), HeapCount{});
  EXPECT_EQ(found[0], 2u);
  EXPECT_EQ(found[1], 0u);
  EXPECT_EQ(found[2], std::nullopt);
  EXPECT_EQ(found[3], std::nullopt);
}

TEST(PathPrefixSet, CopiesAreIndependentAndMovesLeaveNoRulesBehind) {
  for (const size_t count : {2, 100}) {
    std::vector<std::string> own = Numbered("/", count);
    own.push_back("");
    PathPrefixSet set(std::vector<string_view>(own.begin(), own.end()));
    const PathPrefixSet copy = set;
    PathPrefixSet moved = std::move(set);
    EXPECT_EQ(set.size(), 0u);  // NOLINT: what a move leaves behind is part of the contract
    EXPECT_EQ(set.LongestMatch("/1"), std::nullopt);
    EXPECT_EQ(set.LongestMatch(""), std::nullopt);
    EXPECT_EQ(moved.LongestMatch("/1/x"), 1u);
    EXPECT_EQ(copy.LongestMatch("/1/x"), 1u);
    EXPECT_EQ(copy.LongestMatch(""), count);
    set = std::move(moved);
    EXPECT_EQ(set.LongestMatch("/1/x"), 1u);
    EXPECT_EQ(moved.LongestMatch("/1"), std::nullopt);  // NOLINT
    PathPrefixSet& self = set;
    set = std::move(self);
    EXPECT_EQ(set.LongestMatch("/1/x"), 1u);
    moved = copy;
    EXPECT_EQ(moved.LongestMatch("/1/x"), 1u);
  }
}

TEST(PathPrefixSet, KeepsNothingOfTheCallersRules) {
  std::string rule = "/temporary";
  const PathPrefixSet set(std::vector<string_view>{rule});
  rule.assign(rule.size(), '!');
  EXPECT_EQ(set.LongestMatch("/temporary/x"), 0u);
}

TEST(PathPrefixSet, AnAllocationThatFailsLeavesNothingBehind) {
  if (!HeapFailure::Works()) GTEST_SKIP() << "allocations cannot be made to fail here";
  for (const size_t count : {3, 100}) {
    const std::vector<std::string> own = Numbered("/some/rule/", count);
    const std::vector<string_view> rules(own.begin(), own.end());
    int failures = 0;
    for (uint64_t successes = 0;; ++successes) {
      const HeapMark mark;
      bool built = false;
      {
        const HeapFailure failure(successes);
        try {
          const PathPrefixSet set(rules);
          built = true;
        } catch (const std::bad_alloc&) {
          ++failures;
        }
      }
      const HeapCount count_since = mark.Since();
      if (built) break;
      ASSERT_EQ(count_since.allocations, count_since.frees);
      ASSERT_LT(successes, 100u);
    }
    EXPECT_GE(failures, 3);
  }
}

// Neither claims its memory: the first has not got its rules, the second has one text many times.
TEST(PathPrefixSetDeathTest, TooManyRulesOrBytesAreTheCallersMistake) {
  const string_view rule = "/rule";
  EXPECT_DEATH(PathPrefixSet(std::span(&rule, (size_t{1} << 30) + 1)), "more than 2\\^30 rules");
  const std::string megabyte(1 << 20, 'x');
  const std::vector<string_view> rules(4096, megabyte);
  EXPECT_DEATH(PathPrefixSet{std::span(rules)}, "more than 4 GiB of rules");
}

TEST(NaiveCovers, SaysWhatTheHeaderSays) {
  EXPECT_TRUE(NaiveCovers("/home", "/home/a"));
  EXPECT_FALSE(NaiveCovers("/home", "/homeless"));
  EXPECT_TRUE(NaiveCovers("/", "/a"));
  EXPECT_FALSE(NaiveCovers("/", ""));
  EXPECT_TRUE(NaiveCovers("", ""));
  EXPECT_FALSE(NaiveCovers("", "/"));
}

TEST(ChoiceCache, AsksOnceWhenThreadsComeOneAfterTheOther) {
  simd_search_internal::BasicChoiceCache<int> cache;
  static constexpr int kChoices[] = {1, 2};
  int asked = 0;
  const auto choose = [&] { return &kChoices[asked++]; };
  EXPECT_EQ(*cache.Get(choose), 1);
  EXPECT_EQ(*cache.Get(choose), 1);
  EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace hotpath
