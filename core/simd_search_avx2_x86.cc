// The AVX2 level.

#include "hotpath/core/detail/simd_search_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

// Everything from here to the pop may use these instructions, so nothing but our own code may be included.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt")
#endif

#include "hotpath/core/detail/simd_search_match_inl.h"

namespace hotpath::simd_search_internal {
namespace {

inline __m256i Load32(const void* p) noexcept {
  __m256i v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void Store32(void* p, __m256i v) noexcept { std::memcpy(p, &v, sizeof(v)); }

inline uint32_t Bits64(__m256i v) noexcept { return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(v))); }
inline uint32_t Bits32(__m256i v) noexcept { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(v))); }
inline uint32_t Bits8(__m256i v) noexcept { return static_cast<uint32_t>(_mm256_movemask_epi8(v)); }

struct Avx2 {
  // Where `needle` is among 4 * kVectors hashes at `low` and as many at `high`: bit 2 * i for low[i], 2 * i + 1 for
  // high[i].
  template <size_t kVectors>
  [[gnu::always_inline]] static uint64_t Equal(const uint64_t* low, const uint64_t* high, __m256i needle) noexcept {
    uint64_t bits = 0;
#pragma GCC unroll 8
    for (size_t i = 0; i < kVectors; ++i) {
      const __m256i l = _mm256_cmpeq_epi64(Load32(low + 4 * i), needle);
      const __m256i h = _mm256_cmpeq_epi64(Load32(high + 4 * i), needle);
      bits |= uint64_t{Bits32(_mm256_blend_epi32(l, h, 0xaa))} << (8 * i);
    }
    return bits;
  }
  // The lowest index that `bits` tells of, not 0, when the low hashes are those from `low` on, and the high ones those
  // from `high` on. They may overlap.
  [[gnu::always_inline]] static size_t First(uint64_t bits, size_t low, size_t high) noexcept {
    const uint64_t low_bits = bits & 0x5555555555555555;
    const size_t in_low = low + static_cast<size_t>(std::countr_zero(low_bits)) / 2;
    const size_t in_high = high + static_cast<size_t>(std::countr_zero(bits)) / 2;
    return low_bits != 0 ? in_low : in_high;
  }

  static size_t Find(const uint64_t* hashes, size_t n, uint64_t needle) noexcept {
    const __m256i wanted = _mm256_set1_epi64x(static_cast<long long>(needle));
    if (n >= 64) {
      size_t i = 0;
      for (; n - i >= 64; i += 64) {
        if (const uint64_t bits = Equal<8>(hashes + i, hashes + i + 32, wanted)) return First(bits, i, i + 32);
      }
      if (i == n) return n;
      const uint64_t bits = Equal<8>(hashes + n - 64, hashes + n - 32, wanted);  // some of these again, in vain
      return bits == 0 ? n : First(bits, n - 64, n - 32);
    }
    // The first half of the hashes and the last, with as much overlap as it takes: no branch on what is found.
    uint64_t bits;
    size_t high;
    if (n > 32) {
      high = n - 32;
      bits = Equal<8>(hashes, hashes + high, wanted);
    } else if (n > 16) {
      high = n - 16;
      bits = Equal<4>(hashes, hashes + high, wanted);
    } else if (n > 8) {
      high = n - 8;
      bits = Equal<2>(hashes, hashes + high, wanted);
    } else if (n >= 4) {
      high = n - 4;
      bits = Equal<1>(hashes, hashes + high, wanted);
    } else {
      const __m256i lanes =
          _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(n)), _mm256_set_epi64x(3, 2, 1, 0));
      // The lanes that are not read are zero: zero is found there, at n, which says that it is nowhere.
      const uint32_t few = Bits64(_mm256_cmpeq_epi64(MaskedLoad64(hashes, lanes), wanted));
      return few == 0 ? n : static_cast<size_t>(std::countr_zero(few));
    }
    return bits == 0 ? n : First(bits, 0, high);
  }

  // The lanes whose mask is all ones, zero in the others, which are not touched.
  static __m256i MaskedLoad64(const uint64_t* p, __m256i mask) noexcept {
    return _mm256_maskload_epi64(static_cast<const long long*>(static_cast<const void*>(p)), mask);
  }
  static __m256i MaskedLoad32(const char* p, __m256i mask) noexcept {
    return _mm256_maskload_epi32(static_cast<const int*>(static_cast<const void*>(p)), mask);
  }

  // The bytes from 32 * kHalf on, up to 32 of those before n, followed by zeros. Paths have all lengths: no branch on
  // it from 4 bytes up. Whole groups of four come by a masked load, the last one to three bytes from the last four.
  template <size_t kHalf>
  [[gnu::always_inline]] static __m256i LoadHalf(const char* p, size_t n) noexcept {
    if (n < 4) [[unlikely]] {
      if (kHalf != 0 || n == 0) return _mm256_setzero_si256();
      const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(p[i])) << (8 * i); };
      return _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0, static_cast<int>(byte(0) | byte(n / 2) | byte(n - 1)));
    }
    const __m256i index =
        _mm256_add_epi32(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set1_epi32(static_cast<int>(8 * kHalf)));
    const __m256i groups = _mm256_set1_epi32(static_cast<int>(n < 2 * kBlock ? n / 4 : kBlock / 2));
    const __m256i whole = MaskedLoad32(p + 32 * kHalf, _mm256_cmpgt_epi32(groups, index));
    const uint32_t last = static_cast<uint32_t>(uint64_t{LoadHalfWord(p + n - 4)} >> (32 - 8 * (n % 4)));
    const __m256i rest = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(last)), _mm256_cmpeq_epi32(groups, index));
    return _mm256_or_si256(whole, rest);
  }

  // The first kFewBytes bytes of a path of n > 0, as if it went on with '/' and zeros. The '/' and the last one to
  // three bytes come as one group of four.
  [[gnu::always_inline]] static __m256i LoadHead(const char* p, size_t n) noexcept {
    if (n < 4) [[unlikely]] {
      uint32_t bytes = uint32_t{'/'} << (8 * n);
      for (size_t i = 0; i < n; ++i) bytes |= static_cast<uint32_t>(static_cast<unsigned char>(p[i])) << (8 * i);
      return _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0, static_cast<int>(bytes));
    }
    // From kGroups - g on, kBefore has ones in the lanes before lane g, kAt in lane g.
    constexpr size_t kGroups = kFewBytes / 4;
    alignas(64) static constexpr int32_t kBefore[2 * kGroups] = {-1, -1, -1, -1, -1, -1, -1, -1};
    alignas(64) static constexpr int32_t kAt[2 * kGroups] = {0, 0, 0, 0, 0, 0, 0, 0, -1};
    const size_t length = n < kFewBytes ? n : kFewBytes;
    const size_t from = kGroups - length / 4;
    const __m256i whole = MaskedLoad32(p, Load32(kBefore + from));
    const auto bits = static_cast<uint32_t>(8 * length);
    const uint32_t last = (LoadHalfWord(p + length - 4) >> 1 >> (~bits & 31)) | uint32_t{'/'} << (bits & 31);
    return _mm256_or_si256(whole, _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(last)), Load32(kAt + from)));
  }

  template <size_t kWords>
  static uint64_t Few(const PathRules& rules, const char* path, size_t n) noexcept {
    alignas(32) char head[kFewBytes];
    Store32(head, LoadHead(path, n));

    uint64_t bits = 0;
    const FewWord* few = rules.few.data();
    const FewWord* const end = few + rules.few.size();  // there are some
    const __m256i zero = _mm256_setzero_si256();
    size_t first = 0;
    do {
      __m256i low = zero;
      __m256i high = zero;
#pragma GCC unroll 4
      for (size_t w = 0; w < kWords; ++w, ++few) {
        const __m256i word = _mm256_set1_epi64x(static_cast<long long>(LoadWord(head + 8 * w)));
        const auto differ = [&](size_t i) {
          return _mm256_and_si256(_mm256_xor_si256(word, Load32(few->value + i)), Load32(few->care + i));
        };
        low = _mm256_or_si256(low, differ(0));
        high = _mm256_or_si256(high, differ(4));
      }
      const uint32_t equal = Bits64(_mm256_cmpeq_epi64(low, zero)) | Bits64(_mm256_cmpeq_epi64(high, zero)) << 4;
      bits |= uint64_t{equal} << first;
      first += 8;
    } while (few != end);
    return bits;
  }

  static uint64_t LoadBlock(const char* p, size_t n, char* block) noexcept {
    const __m256i low = LoadHalf<0>(p, n);
    const __m256i high = LoadHalf<1>(p, n);
    Store32(block, low);
    Store32(block + 32, high);
    const __m256i slash = _mm256_set1_epi8('/');
    return Bits8(_mm256_cmpeq_epi8(low, slash)) | uint64_t{Bits8(_mm256_cmpeq_epi8(high, slash))} << 32;
  }
};

}  // namespace

constinit const Kernels kAvx2Kernels = {SimdLevel::kAvx2, &Avx2::Find, &Match<Avx2>};

}  // namespace hotpath::simd_search_internal

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif  // __x86_64__
