// The SSE2 level: what every x86-64 CPU has.

#include "hotpath/core/detail/simd_search_kernels.h"

#if defined(__x86_64__)

#include <emmintrin.h>

#include <algorithm>

#include "hotpath/core/detail/simd_search_match_inl.h"

namespace hotpath::simd_search_internal {
namespace {

inline __m128i Load16(const void* p) noexcept {
  __m128i v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// One bit per lane of 32 bits, one per byte.
inline uint32_t Bits32(__m128i v) noexcept { return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(v))); }
inline uint32_t Bits8(__m128i v) noexcept { return static_cast<uint32_t>(_mm_movemask_epi8(v)); }

// There is no compare of 64-bit lanes: compare halves, then both halves of each. All ones in lane i if a's (i < 2) or
// b's lane of 64 bits is zero in all of its bits, given `a` and `b` as compared with 32-bit lanes.
inline __m128i BothHalves(__m128i a, __m128i b) noexcept {
  const __m128 x = _mm_castsi128_ps(a);
  const __m128 y = _mm_castsi128_ps(b);
  return _mm_castps_si128(_mm_and_ps(_mm_shuffle_ps(x, y, 0x88), _mm_shuffle_ps(x, y, 0xdd)));
}

struct Sse2 {
  // Where `needle` is among 16 hashes: bit i for hashes[i].
  static uint32_t Equal16(const uint64_t* hashes, __m128i needle) noexcept {
    const auto four = [&](size_t i) {
      return BothHalves(_mm_cmpeq_epi32(Load16(hashes + i), needle), _mm_cmpeq_epi32(Load16(hashes + i + 2), needle));
    };
    return Bits8(_mm_packs_epi16(_mm_packs_epi32(four(0), four(4)), _mm_packs_epi32(four(8), four(12))));
  }

  static size_t Find(const uint64_t* hashes, size_t n, uint64_t needle) noexcept {
    if (n < 16) return static_cast<size_t>(std::find(hashes, hashes + n, needle) - hashes);
    const __m128i wanted = _mm_set1_epi64x(static_cast<long long>(needle));
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
      if (const uint32_t bits = Equal16(hashes + i, wanted)) return i + static_cast<size_t>(std::countr_zero(bits));
    }
    if (i == n) return n;
    const uint32_t bits = Equal16(hashes + n - 16, wanted);  // some of these again, in vain
    return bits == 0 ? n : n - 16 + static_cast<size_t>(std::countr_zero(bits));
  }

  template <size_t kWords>
  static uint64_t Few(const PathRules& rules, const char* path, size_t n) noexcept {
    alignas(16) char head[kFewBytes];
    CopyPadded<kFewBytes>(path, n, '/', head);
    uint64_t bits = 0;
    const FewWord* few = rules.few.data();
    const __m128i zero = _mm_setzero_si128();
    for (size_t g = 0; g * kWords < rules.few.size(); ++g) {
      __m128i differ[4] = {zero, zero, zero, zero};
#pragma GCC unroll 4
      for (size_t w = 0; w < kWords; ++w, ++few) {
        const __m128i word = _mm_set1_epi64x(static_cast<long long>(LoadWord(head + 8 * w)));
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; ++i) {
          const __m128i difference = _mm_xor_si128(word, Load16(few->value + 2 * i));
          differ[i] = _mm_or_si128(differ[i], _mm_and_si128(difference, Load16(few->care + 2 * i)));
        }
      }
      const auto equal = [&](size_t i) { return _mm_cmpeq_epi32(differ[i], zero); };
      const uint32_t low = Bits32(BothHalves(equal(0), equal(1)));
      const uint32_t high = Bits32(BothHalves(equal(2), equal(3)));
      bits |= uint64_t{low | high << 4} << (8 * g);
    }
    return bits;
  }

  static uint64_t LoadBlock(const char* p, size_t n, char* block) noexcept { return LoadBlockByWords(p, n, block); }
};

}  // namespace

constinit const Kernels kSse2Kernels = {SimdLevel::kSse2, &Sse2::Find, &Match<Sse2>};

}  // namespace hotpath::simd_search_internal

#endif  // __x86_64__
