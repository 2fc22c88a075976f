// The NEON level: what every 64-bit ARM CPU has.

#include "hotpath/core/detail/simd_search_kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include <algorithm>

#include "hotpath/core/detail/simd_search_match_inl.h"

namespace hotpath::simd_search_internal {
namespace {

struct Neon {
  // Where `needle` is among 16 hashes: four bits, from 4 * i on, for hashes[i].
  static uint64_t Equal16(const uint64_t* hashes, uint64x2_t needle) noexcept {
    const auto four = [&](size_t i) {
      return vuzp1q_u32(vreinterpretq_u32_u64(vceqq_u64(vld1q_u64(hashes + i), needle)),
                        vreinterpretq_u32_u64(vceqq_u64(vld1q_u64(hashes + i + 2), needle)));
    };
    const auto eight = [&](size_t i) {
      return vuzp1q_u16(vreinterpretq_u16_u32(four(i)), vreinterpretq_u16_u32(four(i + 4)));
    };
    const uint8x16_t all = vuzp1q_u8(vreinterpretq_u8_u16(eight(0)), vreinterpretq_u8_u16(eight(8)));
    return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(all), 4)), 0);
  }

  static size_t Find(const uint64_t* hashes, size_t n, uint64_t needle) noexcept {
    if (n < 16) return static_cast<size_t>(std::find(hashes, hashes + n, needle) - hashes);
    const uint64x2_t wanted = vdupq_n_u64(needle);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
      if (const uint64_t bits = Equal16(hashes + i, wanted)) return i + static_cast<size_t>(std::countr_zero(bits)) / 4;
    }
    if (i == n) return n;
    const uint64_t bits = Equal16(hashes + n - 16, wanted);  // some of these again, in vain
    return bits == 0 ? n : n - 16 + static_cast<size_t>(std::countr_zero(bits)) / 4;
  }

  template <size_t kWords>
  static uint64_t Few(const PathRules& rules, const char* path, size_t n) noexcept {
    static constexpr uint16_t kBits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t lane_bits = vld1q_u16(kBits);
    char head[kFewBytes];
    CopyPadded<kFewBytes>(path, n, '/', head);
    uint64_t bits = 0;
    const FewWord* few = rules.few.data();
    for (size_t g = 0; g * kWords < rules.few.size(); ++g) {
      uint64x2_t differ[4] = {vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0)};
      for (size_t w = 0; w < kWords; ++w, ++few) {
        const uint64x2_t word = vdupq_n_u64(LoadWord(head + 8 * w));
        for (size_t i = 0; i < 4; ++i) {
          const uint64x2_t difference = veorq_u64(word, vld1q_u64(few->value + 2 * i));
          differ[i] = vorrq_u64(differ[i], vandq_u64(difference, vld1q_u64(few->care + 2 * i)));
        }
      }
      const auto equal = [&](size_t i) { return vreinterpretq_u32_u64(vceqzq_u64(differ[i])); };
      const uint32x4_t low = vuzp1q_u32(equal(0), equal(1));
      const uint32x4_t high = vuzp1q_u32(equal(2), equal(3));
      const uint16x8_t all = vuzp1q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high));
      bits |= uint64_t{vaddvq_u16(vandq_u16(all, lane_bits))} << (8 * g);
    }
    return bits;
  }

  static uint64_t LoadBlock(const char* p, size_t n, char* block) noexcept { return LoadBlockByWords(p, n, block); }
};

}  // namespace

constinit const Kernels kNeonKernels = {SimdLevel::kNeon, &Neon::Find, &Match<Neon>};

}  // namespace hotpath::simd_search_internal

#endif  // __aarch64__
