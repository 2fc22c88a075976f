#ifndef HOTPATH_CORE_DETAIL_LOWEST_FREE_BITMAP_H_
#define HOTPATH_CORE_DETAIL_LOWEST_FREE_BITMAP_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"

namespace hotpath::epoch_fd_table_internal {

// A set of numbers that finds the lowest one it does not hold, by looking at no more than two words for each power of
// 64 in its capacity: a tree of bits, in which a word that is full sets its bit in the level above. Linux has the two
// lowest levels of it (full_fds_bits). One thread at a time.
class LowestFreeBitmap {
 public:
  // Numbers from here on are free, and need a Reserve before they can be set. A multiple of 64.
  size_t capacity() const { return levels_ == 0 ? 0 : begin_[1] * 64; }

  // Makes the capacity `n` or more, exactly as much as whole words need. May throw bad_alloc, and has then done
  // nothing.
  void Reserve(size_t n) {
    if (n <= capacity()) return;
    LowestFreeBitmap grown;
    size_t words = n;
    do {
      HOTPATH_CHECK(grown.levels_ < kMaxLevels, "LowestFreeBitmap: too large");
      words = (words + 63) / 64;
      ++grown.levels_;
      grown.begin_[grown.levels_] = grown.begin_[grown.levels_ - 1] + words;
    } while (words > 1);
    grown.words_.resize(grown.begin_[grown.levels_]);
    std::copy_n(words_.begin(), begin_[levels_ == 0 ? 0 : 1], grown.words_.begin());
    for (size_t level = 0; level + 1 < grown.levels_; ++level) {
      for (size_t i = 0; i < grown.WordsOf(level); ++i) {
        if (grown.Word(level, i) == kFull) grown.Word(level + 1, i / 64) |= uint64_t{1} << i % 64;
      }
    }
    *this = std::move(grown);
  }

  bool Contains(size_t n) const { return n < capacity() && (Word(0, n / 64) >> n % 64 & 1) != 0; }

  // The lowest number that is not in the set, of those from `from` on.
  size_t LowestFree(size_t from) const {
    if (from >= capacity()) return from;
    // Up, to the first word that has a zero at `at` or later, in a level where that is known by one look.
    size_t level = 0, at = from;
    for (;; ++level, at = at / 64 + 1) {
      if (level == levels_ || at / 64 >= WordsOf(level)) return capacity();
      const uint64_t taken = Word(level, at / 64) | ((uint64_t{1} << at % 64) - 1);
      if (taken == kFull) continue;
      at = at / 64 * 64 + static_cast<size_t>(std::countr_one(taken));
      break;
    }
    // Down: bit `at` of a level is word `at` of the one below, and has a zero.
    while (level > 0) {
      if (at >= WordsOf(--level)) return capacity();
      at = at * 64 + static_cast<size_t>(std::countr_one(Word(level, at)));
    }
    return at;
  }

  // The lowest number in the set from `from` on, or capacity(). Looks at every word in between.
  size_t LowestTaken(size_t from) const {
    if (from >= capacity()) return capacity();
    size_t i = from / 64;
    uint64_t word = Word(0, i) & kFull << from % 64;
    while (word == 0 && ++i < WordsOf(0)) word = Word(0, i);
    return word == 0 ? capacity() : i * 64 + static_cast<size_t>(std::countr_zero(word));
  }

  // One more than the highest number in the set; 0 if it is empty.
  size_t End() const {
    size_t i = levels_ == 0 ? 0 : WordsOf(0);
    while (i > 0 && Word(0, i - 1) == 0) --i;
    return i == 0 ? 0 : i * 64 - static_cast<size_t>(std::countl_zero(Word(0, i - 1)));
  }

  void Add(size_t n) {
    HOTPATH_DCHECK(n < capacity() && !Contains(n));
    for (size_t level = 0; level < levels_; ++level, n /= 64) {
      uint64_t& word = Word(level, n / 64);
      word |= uint64_t{1} << n % 64;
      if (word != kFull) return;
    }
  }
  void Remove(size_t n) {
    HOTPATH_DCHECK(Contains(n));
    for (size_t level = 0; level < levels_; ++level, n /= 64) {
      uint64_t& word = Word(level, n / 64);
      const bool was_full = word == kFull;
      word &= ~(uint64_t{1} << n % 64);
      if (!was_full) return;
    }
  }

 private:
  static constexpr uint64_t kFull = ~uint64_t{0};
  static constexpr size_t kMaxLevels = 6;  // 2^36 numbers

  size_t WordsOf(size_t level) const { return begin_[level + 1] - begin_[level]; }
  uint64_t Word(size_t level, size_t i) const { return words_[begin_[level] + i]; }
  uint64_t& Word(size_t level, size_t i) { return words_[begin_[level] + i]; }

  // Level 0 has a bit per number; each further one a bit per word of the level below, set if that word is full. The
  // highest level is one word.
  size_t levels_ = 0;
  std::array<size_t, kMaxLevels + 1> begin_ = {};  // where a level begins in words_
  std::vector<uint64_t> words_;
};

}  // namespace hotpath::epoch_fd_table_internal

#endif  // HOTPATH_CORE_DETAIL_LOWEST_FREE_BITMAP_H_
