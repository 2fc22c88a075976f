#ifndef HOTPATH_CORE_DETAIL_SIMD_SEARCH_KERNELS_H_
#define HOTPATH_CORE_DETAIL_SIMD_SEARCH_KERNELS_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hotpath/core/base/sync.h"

namespace hotpath {

enum class SimdLevel : uint8_t { kScalar, kSse2, kAvx2, kAvx512, kNeon };

// What simd_search.h is made of: the compiled form of a PathPrefixSet, one table of functions per SIMD level, and the
// choice between them.
namespace simd_search_internal {

// One distinct rule. Lengths and texts are without the slashes at the end.
struct PathRule {
  uint32_t text;     // where its text begins in PathRules::text
  uint32_t length;   // of its text
  uint32_t longest;  // the lowest index among the equal rules that the caller gave
  uint32_t first;    // the lowest index among the rules that cover this one, itself included
  uint32_t outer;  // 1 + index in PathRules::rules of the longest covering rule that ends in an earlier block; 0: none
};

// Up to kMaxFew rules are all compared at once: as many of their first kFewBytes bytes as tell them apart, "/home" as
// "/home/" because the path is looked at as if it went on with '/', turned so that eight rules lie side by side in each
// word. What is equal so far is compared to its end.
inline constexpr size_t kMaxFew = 48;
inline constexpr size_t kFewBytes = 32;
struct alignas(64) FewWord {
  uint64_t value[8];
  uint64_t care[8];  // the bits that must be equal
};

// More rules are found by the hashes of the path's prefixes. The path is looked at in blocks of kBlock bytes. Most
// boundaries of the first block need no look at the table of rules: by the hash of the path's first word, of its first
// two, and so on, a filter tells the lengths of the rules that begin like that. It stays small enough for the caches.
inline constexpr size_t kBlock = 64;
inline constexpr size_t kMaxHeads = 8192;

struct PathRules {
  // Distinct. Few rules: the longest first. Many: in byte order, but '/' before everything else; then the empty one.
  std::vector<PathRule> rules;
  std::string text;
  size_t given = 0;
  uint32_t empty = 0;  // 1 + index of the empty rule; 0: there is none

  // Few rules: few[g * few_words + w] has word w of the rules 8g to 8g + 7. Empty otherwise.
  std::vector<FewWord> few;
  size_t few_words = 0;
  uint64_t few_bits = 0;  // one bit per rule

  // Many rules: a cuckoo table with two places per rule. A slot is 0, or the tag of the hash and 1 + the rule's index.
  // A rule's first slot has no other rule with the rule's tag. No slots: no seed gave such a table.
  std::vector<uint64_t> lengths;  // bit l % 64 of word l / 64: some rule is l bytes long
  size_t last_words = 0;          // whole words before the longest rule's end, in its block
  std::vector<uint64_t> slots;
  uint64_t seed = 0;

  // The filter: bit l of heads[p] says that some rule of l bytes, 8 to 63, has a head whose sum has the first place p.
  // The head of a rule is its whole words, the first head_words of them at most.
  std::vector<uint64_t> heads;
  size_t head_words = 0;
};

// What compiling a set took: the bound that it has is pinned by these, not by a clock.
struct BuildCount {
  uint64_t comparisons = 0;  // of two rules, while sorting
  uint64_t covers = 0;       // does this rule cover that one?
  uint64_t moves = 0;        // of a rule from one of its two slots to the other
  uint64_t seeds = 0;        // tables begun
  uint64_t filters = 0;      // filled, to choose one
};
// One seed in some does by chance, so that nobody but who chooses rules for it needs as many as these.
inline constexpr uint64_t kMaxSeeds = 32;
PathRules CompileRules(std::span<const std::string_view> given, BuildCount& count, uint64_t max_seeds = kMaxSeeds);

// Kernels::match for many rules without a table.
const PathRule* MatchSorted(const PathRules& rules, const char* path, size_t n) noexcept;

// ---- The hash of a prefix ----
//
// Within a block, sums of mixed words, so that all prefixes together cost one pass; from block to block, a chain. The
// result never depends on the level. Multiply and fold is wyhash's mixing step (Wang Yi, public domain).

inline constexpr uint64_t kHashKeys[8] = {0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3,
                                          0x589965cc75374cc3, 0x1d8e4e27c47d124f, 0xeb44accab455d165,
                                          0x9b7a3f3c2f1d0e55, 0xc2b2ae3d27d4eb4f};
inline constexpr uint64_t kHashStep = 0x9e3779b97f4a7c15;

[[gnu::always_inline]] inline uint64_t Fold(uint64_t a, uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
// What word `i` of a block adds to the sum.
[[gnu::always_inline]] inline uint64_t HashWord(uint64_t word, size_t i, uint64_t seed) noexcept {
  return Fold(word ^ kHashKeys[i] ^ seed, kHashStep ^ kHashKeys[i]);
}
// The sum at the start of the next block; at the start of the first it is the seed.
[[gnu::always_inline]] inline uint64_t HashNextBlock(uint64_t sum) noexcept {
  return Fold(sum ^ kHashKeys[0], kHashKeys[2]);
}
// The hash of a prefix: the sum of its whole words, its remaining 0 to 7 bytes, its length.
[[gnu::always_inline]] inline uint64_t HashEnd(uint64_t sum, uint64_t rest, size_t length) noexcept {
  return Fold((sum + rest) ^ kHashKeys[1] ^ (length * kHashStep), kHashKeys[3]);
}
// Each half of a hash is a place in the table, both together are the tag. Tests make tags of few bits, for rules that
// have the same one.
#ifndef HOTPATH_PATH_TAG_BITS
#define HOTPATH_PATH_TAG_BITS 32
#endif
[[gnu::always_inline]] inline size_t FirstPlace(uint64_t hash, size_t slots) noexcept {
  return (hash & 0xffffffff) * slots >> 32;
}
[[gnu::always_inline]] inline size_t SecondPlace(uint64_t hash, size_t slots) noexcept {
  return (hash >> 32) * slots >> 32;
}
[[gnu::always_inline]] inline uint32_t TagOf(uint64_t hash) noexcept {
  return static_cast<uint32_t>(hash ^ (hash >> 32)) >> (32 - HOTPATH_PATH_TAG_BITS);
}

[[gnu::always_inline]] inline uint64_t LoadWord(const char* p) noexcept {
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}
[[gnu::always_inline]] inline uint32_t LoadHalfWord(const char* p) noexcept {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// memcmp(a, b, n) == 0 without the call, for the short strings that paths are.
[[gnu::always_inline]] inline bool EqualBytes(const char* a, const char* b, size_t n) noexcept {
  if (n >= 16) {
    for (size_t i = 0; i + 16 < n; i += 16) {
      if (std::memcmp(a + i, b + i, 16) != 0) return false;
    }
    return std::memcmp(a + n - 16, b + n - 16, 16) == 0;
  }
  if (n >= 8) return ((LoadWord(a) ^ LoadWord(b)) | (LoadWord(a + n - 8) ^ LoadWord(b + n - 8))) == 0;
  if (n >= 4) {
    return ((LoadHalfWord(a) ^ LoadHalfWord(b)) | (LoadHalfWord(a + n - 4) ^ LoadHalfWord(b + n - 4))) == 0;
  }
  if (n == 0) return true;
  return a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1];
}

// ---- Levels ----

struct Kernels {
  SimdLevel level;
  size_t (*find)(const uint64_t* hashes, size_t n, uint64_t needle) noexcept;             // n: not there
  const PathRule* (*match)(const PathRules& rules, const char* path, size_t n) noexcept;  // null: no rule covers it
};

extern const Kernels kScalarKernels;
#if defined(__x86_64__)
extern const Kernels kSse2Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#elif defined(__aarch64__)
extern const Kernels kNeonKernels;
#endif

// Null if this build or this CPU has not got the level. The tables are constants.
const Kernels* KernelsFor(SimdLevel level) noexcept;

// The level that HOTPATH_SIMD asks for if that can be had, else the best one. Complains on standard error if the
// variable asks for something else.
const Kernels* ChooseKernels() noexcept;

// Remembers a choice that any thread may be the first to make. Threads that come at the same time may all make it, and
// must come to equally good results: only the pointer is published, what it points at is constant. Wait-free.
template <class Choice, class Sync = StdSync>
class BasicChoiceCache {
 public:
  constexpr BasicChoiceCache() noexcept = default;

  template <class Choose>
  const Choice* Get(Choose&& choose) noexcept {
    const Choice* choice = choice_.load(std::memory_order::relaxed);
    if (choice == nullptr) [[unlikely]] {
      choice = choose();
      choice_.store(choice, std::memory_order::relaxed);
    }
    return choice;
  }

 private:
  typename Sync::template Atomic<const Choice*> choice_{nullptr};
};

inline constinit BasicChoiceCache<Kernels> active_kernels;

[[gnu::always_inline]] inline const Kernels& ActiveKernels() noexcept { return *active_kernels.Get(&ChooseKernels); }

struct TestAccess;

}  // namespace simd_search_internal

}  // namespace hotpath

#endif  // HOTPATH_CORE_DETAIL_SIMD_SEARCH_KERNELS_H_
