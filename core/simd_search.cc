#include "hotpath/core/simd_search.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "hotpath/core/base/check.h"
#include "hotpath/core/detail/simd_search_match_inl.h"

namespace hotpath {

using simd_search_internal::BuildCount;
using simd_search_internal::EqualBytes;
using simd_search_internal::FewWord;
using simd_search_internal::kBlock;
using simd_search_internal::kFewBytes;
using simd_search_internal::kMaxFew;
using simd_search_internal::PathRule;
using simd_search_internal::PathRules;

// ---- The scalar level ----

namespace simd_search_internal {
namespace {

struct Scalar {
  static size_t Find(const uint64_t* hashes, size_t n, uint64_t needle) noexcept {
    return static_cast<size_t>(std::find(hashes, hashes + n, needle) - hashes);
  }

  template <size_t kWords>
  static uint64_t Few(const PathRules& rules, const char* path, size_t n) noexcept {
    char head[kFewBytes];
    CopyPadded<kFewBytes>(path, n, '/', head);
    uint64_t bits = 0;
    const auto count = static_cast<size_t>(std::countr_one(rules.few_bits));
    for (size_t i = 0; i < count; ++i) {
      const FewWord* few = &rules.few[i / 8 * kWords];
      uint64_t differ = 0;
      for (size_t w = 0; w < kWords; ++w) {
        differ |= (LoadWord(head + 8 * w) ^ few[w].value[i % 8]) & few[w].care[i % 8];
      }
      bits |= uint64_t{differ == 0} << i;
    }
    return bits;
  }

  static uint64_t LoadBlock(const char* p, size_t n, char* block) noexcept { return LoadBlockByWords(p, n, block); }
};

}  // namespace

constinit const Kernels kScalarKernels = {SimdLevel::kScalar, &Scalar::Find, &Match<Scalar>};

// ---- The choice of a level ----

const Kernels* KernelsFor(SimdLevel level) noexcept {
  switch (level) {
    case SimdLevel::kScalar:
      return &kScalarKernels;
#if defined(__x86_64__)
    case SimdLevel::kSse2:
      return &kSse2Kernels;
    case SimdLevel::kAvx2:
      // These look at what the operating system saves, too.
      if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") ||
          !__builtin_cpu_supports("lzcnt")) {
        return nullptr;
      }
      return &kAvx2Kernels;
    case SimdLevel::kAvx512:
      if (KernelsFor(SimdLevel::kAvx2) == nullptr || !__builtin_cpu_supports("avx512f") ||
          !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
          !__builtin_cpu_supports("avx512vl")) {
        return nullptr;
      }
      return &kAvx512Kernels;
#elif defined(__aarch64__)
    case SimdLevel::kNeon:
      return &kNeonKernels;
#endif
    default:
      return nullptr;
  }
}

const Kernels* ChooseKernels() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();  // this may run before any constructor
#endif
  constexpr SimdLevel kWorstToBest[] = {SimdLevel::kScalar, SimdLevel::kSse2, SimdLevel::kNeon, SimdLevel::kAvx2,
                                        SimdLevel::kAvx512};
  const char* wanted = std::getenv("HOTPATH_SIMD");
  const Kernels* best = nullptr;
  for (const SimdLevel level : kWorstToBest) {
    const Kernels* kernels = KernelsFor(level);
    if (kernels == nullptr) continue;
    best = kernels;
    if (wanted != nullptr && SimdLevelName(level) == wanted) return kernels;
  }
  if (wanted != nullptr && *wanted != '\0') {
    std::string complaint("hotpath: HOTPATH_SIMD=");
    complaint.append(wanted).append(" is not a level of this CPU; using ").append(SimdLevelName(best->level));
    complaint.append(". Levels:");
    for (const SimdLevel level : kWorstToBest) {
      if (KernelsFor(level) != nullptr) complaint.append(" ").append(SimdLevelName(level));
    }
    complaint.append("\n");
    std::fputs(complaint.c_str(), stderr);
  }
  return best;
}

namespace {

// Reads the environment while the process most likely has one thread and nobody calls setenv.
[[maybe_unused]] const Kernels& g_chosen_at_start = ActiveKernels();

}  // namespace
}  // namespace simd_search_internal

std::string_view SimdLevelName(SimdLevel level) noexcept {
  switch (level) {
    case SimdLevel::kScalar:
      return "scalar";
    case SimdLevel::kSse2:
      return "sse2";
    case SimdLevel::kAvx2:
      return "avx2";
    case SimdLevel::kAvx512:
      return "avx512";
    case SimdLevel::kNeon:
      return "neon";
  }
  return "unknown";
}

// ---- PathStartsWithAny ----

// The same at every level: a version with AVX-512's masked loads was measured to be slower.
std::optional<size_t> PathStartsWithAny(std::string_view path, std::span<const std::string_view> prefixes) noexcept {
  using simd_search_internal::LoadWord;
  const char* p = path.data();
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const char* prefix = prefixes[i].data();
    const size_t size = prefixes[i].size();
    if (size > path.size()) continue;
    if (size < 8) {
      if (EqualBytes(p, prefix, size)) return i;
      continue;
    }
    // The first and the last word decide nearly always, without a branch on the size.
    if (((LoadWord(p) ^ LoadWord(prefix)) | (LoadWord(p + size - 8) ^ LoadWord(prefix + size - 8))) != 0) continue;
    if (size <= 16 || EqualBytes(p + 8, prefix + 8, size - 16)) return i;
  }
  return std::nullopt;
}

// ---- PathPrefixSet ----

namespace {

std::string_view WithoutSlashesAtEnd(std::string_view rule) {
  const size_t last = rule.find_last_not_of('/');
  return rule.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

bool Covers(std::string_view rule, std::string_view path) {
  return path.starts_with(rule) && (path.size() == rule.size() || path[rule.size()] == '/');
}

// Byte order, but '/' comes before everything else. So what a rule covers follows right after it.
bool CoveringFirst(std::string_view a, std::string_view b) {
  const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (x == a.end() || y == b.end()) return x == a.end() && y != b.end();
  const auto rank = [](char c) { return c == '/' ? -1 : static_cast<int>(static_cast<unsigned char>(c)); };
  return rank(*x) < rank(*y);
}

uint64_t Hash(std::string_view text, uint64_t seed) {
  using namespace simd_search_internal;  // NOLINT: the hash is spelled out there, for the levels
  uint64_t sum = seed;
  size_t base = 0;
  for (; text.size() - base >= kBlock; base += kBlock) {
    for (size_t i = 0; i < kBlock / 8; ++i) sum += HashWord(LoadWord(text.data() + base + 8 * i), i, seed);
    sum = HashNextBlock(sum);
  }
  char rest[kBlock];
  CopyPadded<kBlock>(text.data() + base, text.size() - base, '\0', rest);
  const size_t words = (text.size() - base) / 8;
  for (size_t i = 0; i < words; ++i) sum += HashWord(LoadWord(rest + 8 * i), i, seed);
  return HashEnd(sum, LoadWord(rest + 8 * words), text.size());
}

std::string_view TextOf(const PathRules& rules, const PathRule& rule) {
  return std::string_view(rules.text).substr(rule.text, rule.length);
}

// The first kFewBytes bytes of a rule, as a path's are compared with them.
struct FewHead {
  static constexpr size_t kWords = kFewBytes / 8;

  explicit FewHead(std::string_view text) : length(text.size()) {
    char bytes[kFewBytes] = {};
    text.copy(bytes, kFewBytes);
    if (length < kFewBytes) bytes[length] = '/';
    std::memcpy(value, bytes, kFewBytes);
    std::memset(bytes, 0, kFewBytes);
    std::memset(bytes, 0xff, std::min(length + 1, kFewBytes));
    std::memcpy(care, bytes, kFewBytes);
  }
  // The number of words that a path which begins like `other` and its '/' has in common with this rule, one after the
  // other; kWords: the whole head covers it.
  size_t WordsThatCover(const FewHead& other) const {
    size_t w = 0;
    while (w < kWords && ((value[w] ^ other.value[w]) & care[w]) == 0) ++w;
    return w;
  }

  size_t length;
  uint64_t value[kWords];
  uint64_t care[kWords];
};

// Every word costs each match; a word less leaves more rules to be compared to their ends, and more of these in vain.
// Weighed for paths that are like the rules, in what a word of eight rules takes. Estimates: to compare a rule to its
// end takes 4 of them, in vain 8 more, for a mispredicted branch.
size_t ChooseFewWords(const std::vector<FewHead>& heads) {
  const size_t most = std::min(kFewBytes, heads.front().length + 1 + 7) / 8;  // the longest rule is the first
  size_t in_vain[FewHead::kWords + 1] = {};                                   // with so many words
  for (const FewHead& path : heads) {
    for (const FewHead& rule : heads) {
      const size_t words = rule.WordsThatCover(path);
      if (words == FewHead::kWords) continue;
      for (size_t w = 1; w <= words; ++w) ++in_vain[w];
    }
  }
  const size_t groups = (heads.size() + 7) / 8;
  const auto cost = [&](size_t words) {
    const auto to_the_end =
        std::count_if(heads.begin(), heads.end(), [&](const FewHead& head) { return head.length >= 8 * words; });
    return heads.size() * groups * words + 8 * in_vain[words] + 4 * static_cast<size_t>(to_the_end);
  };
  size_t best = most;
  for (size_t words = most - 1; words > 0; --words) {
    if (cost(words) < cost(best)) best = words;
  }
  return best;
}

void CompileFew(PathRules& rules) {
  std::sort(rules.rules.begin(), rules.rules.end(),
            [](const PathRule& a, const PathRule& b) { return a.length > b.length; });
  rules.few_bits = ~uint64_t{0} >> (64 - rules.rules.size());
  std::vector<FewHead> heads;
  heads.reserve(rules.rules.size());
  for (const PathRule& rule : rules.rules) heads.emplace_back(TextOf(rules, rule));
  rules.few_words = ChooseFewWords(heads);
  rules.few.resize((heads.size() + 7) / 8 * rules.few_words);
  for (size_t i = 0; i < heads.size(); ++i) {
    for (size_t w = 0; w < rules.few_words; ++w) {
      FewWord& few = rules.few[i / 8 * rules.few_words + w];
      few.value[i % 8] = heads[i].value[w];
      few.care[i % 8] = heads[i].care[w];
    }
  }
}

// Cuckoo hashing (Pagh and Rodler, 2001). False if the rules do not fit with this seed.
bool FillSlots(PathRules& rules, std::vector<uint64_t>& hashes, BuildCount& count) {
  constexpr int kMaxMoves = 500;
  ++count.seeds;
  for (size_t i = 0; i < rules.rules.size(); ++i) hashes[i] = Hash(TextOf(rules, rules.rules[i]), rules.seed);
  std::fill(rules.slots.begin(), rules.slots.end(), 0);
  for (size_t i = 0; i < rules.rules.size(); ++i) {
    uint64_t hash = hashes[i];
    uint64_t slot = uint64_t{simd_search_internal::TagOf(hash)} << 32 | (i + 1);
    size_t place = simd_search_internal::FirstPlace(hash, rules.slots.size());
    for (int moves = 0; rules.slots[place] != 0; ++moves) {
      if (moves == kMaxMoves) return false;
      ++count.moves;
      std::swap(slot, rules.slots[place]);
      hash = hashes[(slot & 0xffffffff) - 1];
      const size_t first = simd_search_internal::FirstPlace(hash, rules.slots.size());
      place = place == first ? simd_search_internal::SecondPlace(hash, rules.slots.size()) : first;
    }
    rules.slots[place] = slot;
  }
  // A match looks at the second slot only if the first one has another tag. So a rule with the tag of the one that took
  // its first slot would not be found in its second.
  for (size_t i = 0; i < rules.rules.size(); ++i) {
    const uint64_t first = rules.slots[simd_search_internal::FirstPlace(hashes[i], rules.slots.size())];
    if (first >> 32 == simd_search_internal::TagOf(hashes[i]) && (first & 0xffffffff) != i + 1) return false;
  }
  return true;
}

void FillHeads(PathRules& rules, size_t head_words, BuildCount& count) {
  using namespace simd_search_internal;  // NOLINT: as in Hash
  ++count.filters;
  rules.head_words = head_words;
  rules.heads.assign(std::min(rules.rules.size(), kMaxHeads), 0);
  for (const PathRule& rule : rules.rules) {
    if (rule.length < 8 || rule.length >= kBlock) continue;
    const char* text = rules.text.data() + rule.text;
    uint64_t sum = rules.seed;
    for (size_t i = 0; i < std::min<size_t>(head_words, rule.length / 8); ++i) {
      sum += HashWord(LoadWord(text + 8 * i), i, rules.seed);
    }
    rules.heads[FirstPlace(sum, rules.heads.size())] |= uint64_t{1} << rule.length;
  }
}

// How many lengths the filter leaves to the paths that are the rules.
uint64_t LengthsLeft(const PathRules& rules) {
  uint64_t left = 0;
  for (const PathRule& rule : rules.rules) {
    simd_search_internal::Block block;
    simd_search_internal::CopyPadded<kBlock>(rules.text.data() + rule.text, rule.length, '\0', block.bytes);
    block.ends = rules.lengths[0];
    block.sums[0] = rules.seed;
    simd_search_internal::Filter(rules, block);
    left += static_cast<uint64_t>(std::popcount(block.ends));
  }
  return left;
}

// Every word of the heads costs each match; with fewer the filter leaves more, for paths that are like the rules. An
// estimate: a word takes as long as one and a half lengths that it leaves.
void MakeFilter(PathRules& rules, size_t longest, BuildCount& count) {
  const size_t most = std::min(longest, kBlock - 1) / 8;
  const auto cost = [&](size_t words) {
    FillHeads(rules, words, count);
    return 2 * LengthsLeft(rules) + 3 * words * rules.rules.size();
  };
  size_t best = std::min<size_t>(most, 1);  // a head of no word is for rules that are shorter than a word
  uint64_t least = cost(best);
  for (size_t words = best + 1; words <= most; ++words) {
    const uint64_t now = cost(words);
    if (now < least) {
      least = now;
      best = words;
    }
  }
  FillHeads(rules, best, count);
}

void CompileMany(PathRules& rules, BuildCount& count, uint64_t max_seeds) {
  size_t longest = 0;
  for (const PathRule& rule : rules.rules) longest = std::max(longest, size_t{rule.length});
  rules.lengths.resize(longest / kBlock + 1);
  rules.last_words = longest % kBlock / 8;
  for (const PathRule& rule : rules.rules) rules.lengths[rule.length / kBlock] |= uint64_t{1} << rule.length % kBlock;

  // Less than half full, a random placement works nearly always. The seed goes into every multiplication, so rules
  // that were made to collide under one seed do not under the next.
  rules.slots.resize(rules.rules.size() * 11 / 5 + 1);
  std::vector<uint64_t> hashes(rules.rules.size());
  for (uint64_t i = 0; i < max_seeds; ++i) {
    if (FillSlots(rules, hashes, count)) return MakeFilter(rules, longest, count);
    rules.seed += simd_search_internal::kHashStep;
  }
  rules.slots = {};  // MatchSorted
}

}  // namespace

PathRules simd_search_internal::CompileRules(std::span<const std::string_view> given, BuildCount& count,
                                             uint64_t max_seeds) {
  HOTPATH_CHECK(given.size() <= size_t{1} << 30, "PathPrefixSet: more than 2^30 rules");
  PathRules rules;
  rules.given = given.size();

  struct Entry {
    std::string_view text;
    uint32_t index;
  };
  std::vector<Entry> entries;
  entries.reserve(given.size());
  std::optional<uint32_t> empty;
  size_t bytes = 0;
  for (uint32_t i = 0; i < given.size(); ++i) {
    if (given[i].empty()) {
      if (!empty) empty = i;
      continue;
    }
    entries.push_back({WithoutSlashesAtEnd(given[i]), i});
    bytes += entries.back().text.size();
  }
  HOTPATH_CHECK(bytes <= std::numeric_limits<uint32_t>::max(), "PathPrefixSet: more than 4 GiB of rules");
  std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
    ++count.comparisons;
    return CoveringFirst(a.text, b.text) || (a.index < b.index && a.text == b.text);
  });

  rules.text.reserve(bytes);
  rules.rules.reserve(entries.size() + (empty ? 1 : 0));
  std::vector<uint32_t> covering;  // the rules that cover the one at hand, the longest last
  for (const auto& [text, index] : entries) {
    if (!rules.rules.empty() && TextOf(rules, rules.rules.back()) == text) continue;
    while (!covering.empty()) {
      ++count.covers;
      if (Covers(TextOf(rules, rules.rules[covering.back()]), text)) break;
      covering.pop_back();
    }
    PathRule rule = {.text = static_cast<uint32_t>(rules.text.size()),
                     .length = static_cast<uint32_t>(text.size()),
                     .longest = index,
                     .first = index,
                     .outer = 0};
    if (!covering.empty()) {
      const PathRule& parent = rules.rules[covering.back()];
      rule.first = std::min(index, parent.first);
      rule.outer = parent.length / kBlock < rule.length / kBlock ? covering.back() + 1 : parent.outer;
    }
    covering.push_back(static_cast<uint32_t>(rules.rules.size()));
    rules.text.append(text);
    rules.rules.push_back(rule);
  }

  if (rules.rules.size() > kMaxFew) {
    CompileMany(rules, count, max_seeds);
  } else if (!rules.rules.empty()) {
    CompileFew(rules);
  }
  if (empty) {
    rules.rules.push_back({.text = 0, .length = 0, .longest = *empty, .first = *empty, .outer = 0});
    rules.empty = static_cast<uint32_t>(rules.rules.size());
  }
  return rules;
}

// One binary search per boundary of the path, the longest first: slow, and right for whatever rules there are.
const PathRule* simd_search_internal::MatchSorted(const PathRules& rules, const char* path, size_t n) noexcept {
  if (rules.lengths.empty()) return nullptr;  // no rules
  const auto end = rules.rules.end() - (rules.empty == 0 ? 0 : 1);
  for (size_t length = n;; --length) {
    if (length == n || path[length] == '/') {
      const std::string_view text(path, length);
      const auto rule = std::lower_bound(rules.rules.begin(), end, text, [&](const PathRule& a, std::string_view b) {
        return CoveringFirst(TextOf(rules, a), b);
      });
      if (rule != end && TextOf(rules, *rule) == text) return &*rule;
    }
    if (length == 0) return nullptr;
  }
}

PathPrefixSet::PathPrefixSet(std::span<const std::string_view> rules) {
  BuildCount count;
  rules_ = simd_search_internal::CompileRules(rules, count);
}

size_t PathPrefixSet::MemoryUsed() const noexcept {
  return sizeof(*this) + rules_.rules.capacity() * sizeof(PathRule) + rules_.text.capacity() + 1 +
         rules_.few.capacity() * sizeof(FewWord) +
         (rules_.lengths.capacity() + rules_.slots.capacity() + rules_.heads.capacity()) * 8;
}

}  // namespace hotpath
