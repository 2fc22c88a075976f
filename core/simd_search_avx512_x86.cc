// The AVX-512 level: what Skylake-X, Zen 4 and later have.

#include "hotpath/core/detail/simd_search_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

// Everything from here to the pop may use these instructions, so nothing but our own code may be included.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,lzcnt"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,lzcnt")
#endif

#include "hotpath/core/detail/simd_search_match_inl.h"

namespace hotpath::simd_search_internal {
namespace {

struct Avx512 {
  // Where `needle` is among kCount hashes: bit i for hashes[i].
  template <size_t kCount>
  [[gnu::always_inline]] static uint64_t Equal(const uint64_t* hashes, __m512i needle) noexcept {
    if constexpr (kCount == 8) {
      uint64_t bits = _mm512_cmpeq_epi64_mask(_mm512_loadu_si512(hashes), needle);
      // Now it is in a general register. Clang would join masks in mask registers, on the one port that compares, too.
      asm("" : "+r"(bits));
      return bits;
    } else {
      return Equal<kCount / 2>(hashes, needle) | Equal<kCount / 2>(hashes + kCount / 2, needle) << (kCount / 2);
    }
  }

  // Two runs of equally many hashes, which may overlap, and where the needle is in each.
  struct Halves {
    size_t low;
    size_t high;
    uint64_t low_bits;
    uint64_t high_bits;

    [[gnu::always_inline]] bool Any() const noexcept { return (low_bits | high_bits) != 0; }
    // The lowest index, if any.
    [[gnu::always_inline]] size_t First() const noexcept {
      const size_t in_low = low + static_cast<size_t>(std::countr_zero(low_bits));
      const size_t in_high = high + static_cast<size_t>(std::countr_zero(high_bits));
      return low_bits != 0 ? in_low : in_high;
    }
  };
  template <size_t kCount>
  [[gnu::always_inline]] static Halves Search(const uint64_t* hashes, size_t low, size_t high,
                                              __m512i needle) noexcept {
    return {low, high, Equal<kCount>(hashes + low, needle), Equal<kCount>(hashes + high, needle)};
  }

  static size_t Find(const uint64_t* hashes, size_t n, uint64_t needle) noexcept {
    const __m512i wanted = _mm512_set1_epi64(static_cast<long long>(needle));
    if (n <= 8) {
      const auto lanes = static_cast<__mmask8>(_bzhi_u32(0xff, static_cast<uint32_t>(n)));
      const uint32_t bits = _mm512_mask_cmpeq_epi64_mask(lanes, _mm512_maskz_loadu_epi64(lanes, hashes), wanted);
      return bits == 0 ? n : static_cast<size_t>(std::countr_zero(bits));
    }
    size_t i = 0;
    Halves found;
    if (n <= 16) {
      found = Search<8>(hashes, 0, n - 8, wanted);
    } else if (n <= 32) {
      found = Search<16>(hashes, 0, n - 16, wanted);
    } else if (n <= 64) {
      found = Search<32>(hashes, 0, n - 32, wanted);
    } else {
      // One branch per 256 hashes.
      for (; n - i > 128; i += 256) {
        const size_t next = n - i >= 256 ? i + 128 : n - 128;
        const Halves near = Search<64>(hashes, i, i + 64, wanted);
        const Halves far = Search<64>(hashes, next, next + 64, wanted);
        found = near.Any() ? near : far;
        if (found.Any()) return found.First();
        if (next + 128 == n) return n;
      }
      found = Search<64>(hashes, n - i < 64 ? n - 64 : i, n - 64, wanted);
    }
    return found.Any() ? found.First() : n;
  }

  template <size_t kWords>
  static uint64_t Few(const PathRules& rules, const char* path, size_t n) noexcept {
    // The '/' after the path comes from a table: moving a mask into a mask register costs as much as a whole compare.
    alignas(64) static constexpr char kSlash[2 * kFewBytes + 1] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,
                                                                   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '/'};
    const size_t length = n < kFewBytes ? n : kFewBytes;
    const __m256i slash = _mm256_loadu_epi8(kSlash + kFewBytes - length);
    const __mmask32 there = _bzhi_u32(~uint32_t{0}, static_cast<uint32_t>(length));
    alignas(32) char head[kFewBytes];
    _mm256_storeu_epi8(head, _mm256_or_si256(_mm256_maskz_loadu_epi8(there, path), slash));

    uint64_t bits = 0;
    const FewWord* few = rules.few.data();
    for (size_t g = 0; g * kWords < rules.few.size(); ++g) {
      __mmask8 equal = 0xff;
#pragma GCC unroll 4
      for (size_t w = 0; w < kWords; ++w, ++few) {
        const __m512i word = _mm512_set1_epi64(static_cast<long long>(LoadWord(head + 8 * w)));
        const __m512i difference = _mm512_xor_si512(word, _mm512_loadu_si512(few->value));
        equal = _mm512_mask_testn_epi64_mask(equal, difference, _mm512_loadu_si512(few->care));
      }
      bits |= uint64_t{equal} << (8 * g);
    }
    return bits;
  }

  static uint64_t LoadBlock(const char* p, size_t n, char* block) noexcept {
    const __mmask64 there = _bzhi_u64(~uint64_t{0}, static_cast<uint32_t>(n < kBlock ? n : kBlock));
    const __m512i bytes = _mm512_maskz_loadu_epi8(there, p);
    _mm512_storeu_si512(block, bytes);
    return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('/'));
  }
};

}  // namespace

constinit const Kernels kAvx512Kernels = {SimdLevel::kAvx512, &Avx512::Find, &Match<Avx512>};

}  // namespace hotpath::simd_search_internal

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif  // __x86_64__
