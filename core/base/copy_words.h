#ifndef HOTPATH_CORE_BASE_COPY_WORDS_H_
#define HOTPATH_CORE_BASE_COPY_WORDS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include "hotpath/core/base/copy_words_x86.h"
#endif

// StdSync::CopyWords. Compilers never merge two relaxed atomic loads, so a copy word by word costs twice (64 bytes) to
// four times (256 bytes) what a vector copy does; where the processor keeps each word of a vector move whole, two words
// move at once. Everything here is relaxed: a fence beside a copy orders it exactly as it would order single words.

namespace hotpath::copy_words_internal {

static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t) && std::atomic<uint64_t>::is_always_lock_free);

template <size_t kBytes>
inline void LoadWord(void* to, const std::atomic<uint64_t>& from) noexcept {
  const uint64_t word = from.load(std::memory_order::relaxed);
  std::memcpy(to, &word, kBytes);
}

template <size_t kBytes>
inline void StoreWord(std::atomic<uint64_t>& to, const void* from) noexcept {
  uint64_t word = 0;
  std::memcpy(&word, from, kBytes);
  to.store(word, std::memory_order::relaxed);
}

// Two words at a time, in the C++ memory model.
struct PortablePair {
  static void Load(void* to, const std::atomic<uint64_t>* from) noexcept {
    LoadWord<8>(to, from[0]);
    LoadWord<8>(static_cast<std::byte*>(to) + 8, from[1]);
  }
  static void Store(std::atomic<uint64_t>* to, const void* from) noexcept {
    StoreWord<8>(to[0], from);
    StoreWord<8>(to[1], static_cast<const std::byte*>(from) + 8);
  }
};

#if defined(__x86_64__)
using FastestPair = VectorPair;
#else
using FastestPair = PortablePair;
#endif

// Pairs in a row, unrolled by hand: g++ would not do it at -O2. (No lambda either: g++ spills captures around
// assembly.)
template <class Pair, size_t... i>
[[gnu::always_inline]] inline void LoadPairs(std::byte* to, const std::atomic<uint64_t>* from,
                                             std::index_sequence<i...>) noexcept {
  (Pair::Load(to + i * 16, from + i * 2), ...);
}
template <class Pair, size_t... i>
[[gnu::always_inline]] inline void StorePairs(std::atomic<uint64_t>* to, const std::byte* from,
                                              std::index_sequence<i...>) noexcept {
  (Pair::Store(to + i * 2, from + i * 16), ...);
}

// A copy is a loop over runs of kRun bytes, then the remaining pairs, the remaining word, the remaining bytes.
inline constexpr size_t kRun = 256;

template <size_t kBytes, class Pair = FastestPair>
[[gnu::always_inline]] inline void Load(void* to, const std::atomic<uint64_t>* from) noexcept {
  constexpr size_t runs = kBytes / kRun * kRun, pairs = kBytes / 16 * 16, words = kBytes / 8 * 8;
  auto* const bytes = static_cast<std::byte*>(to);
  for (size_t at = 0; at < runs; at += kRun) {
    LoadPairs<Pair>(bytes + at, from + at / 8, std::make_index_sequence<kRun / 16>{});
  }
  LoadPairs<Pair>(bytes + runs, from + runs / 8, std::make_index_sequence<(pairs - runs) / 16>{});
  if constexpr (words != pairs) LoadWord<8>(bytes + pairs, from[pairs / 8]);
  if constexpr (kBytes != words) LoadWord<kBytes - words>(bytes + words, from[words / 8]);
}

template <size_t kBytes, class Pair = FastestPair>
[[gnu::always_inline]] inline void Store(std::atomic<uint64_t>* to, const void* from) noexcept {
  constexpr size_t runs = kBytes / kRun * kRun, pairs = kBytes / 16 * 16, words = kBytes / 8 * 8;
  const auto* const bytes = static_cast<const std::byte*>(from);
  for (size_t at = 0; at < runs; at += kRun) {
    StorePairs<Pair>(to + at / 8, bytes + at, std::make_index_sequence<kRun / 16>{});
  }
  StorePairs<Pair>(to + runs / 8, bytes + runs, std::make_index_sequence<(pairs - runs) / 16>{});
  if constexpr (words != pairs) StoreWord<8>(to[pairs / 8], bytes + pairs);
  if constexpr (kBytes != words) StoreWord<kBytes - words>(to[words / 8], bytes + words);
}

}  // namespace hotpath::copy_words_internal

#endif  // HOTPATH_CORE_BASE_COPY_WORDS_H_
