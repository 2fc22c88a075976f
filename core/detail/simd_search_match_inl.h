// The algorithm of PathPrefixSet over an instruction set. Each source file of simd_search includes this once, inside
// the region where its instructions are enabled; everything here is local to that file. No include guard, and no
// include of anything else, which would be compiled for those instructions too.
//
// An Isa has
//   template <size_t kWords>  // rules.few_words
//   static uint64_t Few(const PathRules&, const char* path, size_t n);
//     One bit per rule whose first 8 * kWords bytes cover the path, which is not empty. Rules that do not exist may
//     have bits too.
//   static uint64_t LoadBlock(const char* p, size_t n, char* block);
//     Copies the first min(n, kBlock) bytes at p to `block`, followed by zeros. One bit per slash among them.

namespace hotpath::simd_search_internal {
namespace {

// ---- For levels that have nothing better ----

// The first min(n, kBytes) bytes at p, then the byte `after`, then zeros, as far as they fit in kBytes. Paths have all
// lengths: no branch on it from 8 bytes up.
template <size_t kBytes>
[[gnu::always_inline]] inline void CopyPadded(const char* p, size_t n, char after, char* to) noexcept {
  const uint64_t end = static_cast<unsigned char>(after);
  uint64_t start = 0;
  if (n < 8) [[unlikely]] {
    for (size_t i = 0; i < n; ++i) start |= uint64_t{static_cast<unsigned char>(p[i])} << (8 * i);
  }
#pragma GCC unroll 8
  for (size_t at = 0; at < kBytes; at += 8) {
    uint64_t word = at == 0 ? start : 0;
    if (n >= 8) {
      const size_t from = at < n - 8 ? at : n - 8;  // a word at the end of the path is loaded from its last 8 bytes
      word = LoadWord(p + from) >> (8 * (at - from) & 63);
      word = at - from < 8 ? word : 0;
    }
    word |= n - at < 8 ? end << (8 * (n - at) & 63) : 0;
    std::memcpy(to + at, &word, sizeof(word));
  }
}

// LoadBlock of an Isa.
[[maybe_unused]] inline uint64_t LoadBlockByWords(const char* p, size_t n, char* block) noexcept {
  CopyPadded<kBlock>(p, n, '\0', block);
  constexpr uint64_t kOnes = 0x0101010101010101;
  uint64_t bits = 0;
  for (size_t i = 0; i < kBlock; i += 8) {
    const uint64_t x = LoadWord(block + i) ^ ('/' * kOnes);
    const uint64_t not_zero = ((x & (0x7f * kOnes)) + 0x7f * kOnes) | x;  // in the top bit of each byte
    // The multiplication brings the eight bits, one per byte, together in the top byte.
    bits |= ((~not_zero >> 7 & kOnes) * 0x0102040810204080 >> 56) << i;
  }
  return bits;
}

// ---- PathPrefixSet ----

// Of a rule whose first `compared` bytes cover the path, and are not all of it and its boundary.
inline bool RestCovers(const PathRules& rules, const PathRule& rule, size_t compared, const char* path,
                       size_t n) noexcept {
  return rule.length <= n && (rule.length == n || path[rule.length] == '/') &&
         EqualBytes(path + compared, rules.text.data() + rule.text + compared, rule.length - compared);
}

// The first of the rules in `bits`, whose heads cover the path, that covers it. A function of its own: it needs more
// registers, and would make MatchFew save them.
[[gnu::noinline]] inline const PathRule* FirstCovering(const PathRules& rules, uint64_t bits, const char* path,
                                                       size_t n) noexcept {
  const size_t compared = 8 * rules.few_words;
  for (; bits != 0; bits &= bits - 1) {
    const PathRule& rule = rules.rules[static_cast<size_t>(std::countr_zero(bits))];
    if (rule.length < compared || RestCovers(rules, rule, compared, path, n)) return &rule;
  }
  return nullptr;
}

template <class Isa>
[[gnu::always_inline]] inline const PathRule* MatchFew(const PathRules& rules, const char* path, size_t n) noexcept {
  uint64_t bits = rules.few_bits;
  switch (rules.few_words) {
    case 1:
      bits &= Isa::template Few<1>(rules, path, n);
      break;
    case 2:
      bits &= Isa::template Few<2>(rules, path, n);
      break;
    case 3:
      bits &= Isa::template Few<3>(rules, path, n);
      break;
    default:
      bits &= Isa::template Few<4>(rules, path, n);
  }
  if (bits == 0) return nullptr;
  const PathRule& rule = rules.rules[static_cast<size_t>(std::countr_zero(bits))];
  if (rule.length < 8 * rules.few_words) return &rule;
  return FirstCovering(rules, bits, path, n);
}

// A block of a path.
struct Block {
  alignas(kBlock) char bytes[kBlock];
  uint64_t ends;                  // one bit per boundary in it that some rule may end at
  uint64_t sums[kBlock / 8 + 1];  // of what lies before each word
};

// Of a path of n bytes, what starts at path + base; but the sums.
template <class Isa>
[[gnu::always_inline]] inline void LoadEnds(const PathRules& rules, const char* path, size_t n, size_t base,
                                            Block& block) noexcept {
  const size_t left = n - base;
  block.ends = Isa::LoadBlock(path + base, left, block.bytes);
  if (left < kBlock) block.ends |= uint64_t{1} << left;  // the end of the path
  block.ends &= rules.lengths[base / kBlock];
}

[[gnu::always_inline]] inline void AddWord(const PathRules& rules, Block& block, size_t i) noexcept {
  block.sums[i + 1] = block.sums[i] + HashWord(LoadWord(block.bytes + 8 * i), i, rules.seed);
}

// Leaves of the ends in a path's first block those that the filter lets pass. Needs sums[0], makes sums[1] to
// sums[head_words].
[[gnu::always_inline]] inline void Filter(const PathRules& rules, Block& block) noexcept {
  constexpr uint64_t kOneWord = 0xff;  // lengths up to the end of the word behind a head
  uint64_t lengths = kOneWord;         // those without a head
  uint64_t head = 0;
  size_t i = 0;
  while (i < rules.head_words) {
    AddWord(rules, block, i);
    ++i;
    head = rules.heads[FirstPlace(block.sums[i], rules.heads.size())];
    lengths |= head & kOneWord << 8 * i;
  }
  block.ends &= lengths | (head & ~kOneWord << 8 * i);  // the longest heads are followed by any number of words
}

// The longest rule that ends at one of the ends of `block`, which starts at path + base, and covers the path. `outer`
// is the longest one that ends in an earlier block.
[[gnu::always_inline]] inline const PathRule* FindInBlock(const PathRules& rules, const char* path, size_t base,
                                                          const Block& block, const PathRule* outer) noexcept {
  const size_t slots = rules.slots.size();
  const size_t checked = outer == nullptr ? 0 : outer->length;
  const size_t outer_id = outer == nullptr ? 0 : static_cast<size_t>(outer - rules.rules.data()) + 1;
  uint64_t ends = block.ends;
  while (ends != 0) {
    const size_t end = 63 - static_cast<size_t>(std::countl_zero(ends));
    ends ^= uint64_t{1} << end;
    const uint64_t partial = LoadWord(block.bytes + end / 8 * 8) & ((uint64_t{1} << end % 8 * 8) - 1);
    const uint64_t hash = HashEnd(block.sums[end / 8], partial, base + end);
    const uint64_t first = rules.slots[FirstPlace(hash, slots)];
    const uint64_t second = rules.slots[SecondPlace(hash, slots)];
    const uint64_t tag = TagOf(hash);
    const auto id = static_cast<uint32_t>(first >> 32 == tag ? first : second >> 32 == tag ? second : 0);
    if (id == 0) continue;  // nor is it in the second slot if the first has its tag: FillSlots
    // A tag is not a proof. If the rule covers the path, then so does its outer rule, which can only be `outer`: no
    // byte before the end of that one needs a second look, and the whole path costs one pass.
    const PathRule& rule = rules.rules[id - 1];
    if (rule.length == base + end && rule.outer == outer_id &&
        EqualBytes(path + checked, rules.text.data() + rule.text + checked, rule.length - checked)) {
      return &rule;
    }
  }
  return nullptr;
}

// The longest rule that covers the path, whose first block has been filtered. A function of its own, as FirstCovering.
template <class Isa>
[[gnu::noinline]] const PathRule* MatchBlocks(const PathRules& rules, const char* path, size_t n,
                                              Block& block) noexcept {
  const PathRule* best = nullptr;
  size_t i = rules.head_words;
  const size_t blocks = rules.lengths.size();
  for (size_t b = 0;; ++b) {
    const size_t base = b * kBlock;
    const size_t words = b + 1 < blocks ? kBlock / 8 : rules.last_words;
    for (; i < words; ++i) AddWord(rules, block, i);
    if (const PathRule* rule = FindInBlock(rules, path, base, block, best)) best = rule;
    if (n - base < kBlock || b + 1 == blocks) return best;
    block.sums[0] = HashNextBlock(block.sums[kBlock / 8]);
    LoadEnds<Isa>(rules, path, n, base + kBlock, block);
    i = 0;
  }
}

// So is this.
template <class Isa>
[[gnu::noinline]] const PathRule* MatchMany(const PathRules& rules, const char* path, size_t n) noexcept {
  if (rules.slots.empty()) [[unlikely]]
    return MatchSorted(rules, path, n);
  Block block;
  block.sums[0] = rules.seed;
  LoadEnds<Isa>(rules, path, n, 0, block);
  Filter(rules, block);
  if (block.ends == 0 && (n < kBlock || rules.lengths.size() == 1)) return nullptr;
  return MatchBlocks<Isa>(rules, path, n, block);
}

template <class Isa>
const PathRule* Match(const PathRules& rules, const char* path, size_t n) noexcept {
  if (n == 0) return rules.empty == 0 ? nullptr : &rules.rules[rules.empty - 1];
  if (rules.few_bits != 0) return MatchFew<Isa>(rules, path, n);
  return MatchMany<Isa>(rules, path, n);
}

}  // namespace
}  // namespace hotpath::simd_search_internal
