#include "hotpath/core/base/copy_words.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"

namespace hotpath {
namespace {

using copy_words_internal::FastestPair;
using copy_words_internal::Load;
using copy_words_internal::PortablePair;
using copy_words_internal::Store;

constexpr uint64_t kGuard = 0xa5a5a5a5a5a5a5a5;
constexpr size_t kMaxBytes = 1100;

std::byte Pattern(size_t i) { return static_cast<std::byte>(i * 37 + i / 256 + 1); }

// The copies of one size; a test takes them as values, so that only they are instantiated for each size.
struct Copies {
  size_t bytes;
  void (*store)(std::atomic<uint64_t>* to, const void* from) noexcept;
  void (*load)(void* to, const std::atomic<uint64_t>* from) noexcept;
};

template <class Pair, size_t... kBytes>
std::array<Copies, sizeof...(kBytes)> CopiesOf(std::index_sequence<kBytes...>) {
  return {Copies{kBytes, &Store<kBytes, Pair>, &Load<kBytes, Pair>}...};
}

// Stores and loads with the shared words `word_offset` words, the private bytes `byte_offset` bytes after a 16-byte
// boundary, and checks every byte that may change and the guards on both sides.
void RoundTrip(const Copies& copies, size_t word_offset, size_t byte_offset) {
  SCOPED_TRACE(testing::Message() << copies.bytes << " bytes, words + " << word_offset << ", bytes + " << byte_offset);
  const size_t word_count = (copies.bytes + 7) / 8;
  alignas(16) std::atomic<uint64_t> memory[kMaxBytes / 8 + 4];
  for (auto& word : memory) word.store(kGuard, std::memory_order::relaxed);
  std::atomic<uint64_t>* const words = memory + 1 + word_offset;

  alignas(16) std::byte from[kMaxBytes + 32];
  for (size_t i = 0; i < copies.bytes; ++i) from[byte_offset + i] = Pattern(i);
  copies.store(words, from + byte_offset);
  EXPECT_EQ(words[-1].load(std::memory_order::relaxed), kGuard);
  EXPECT_EQ(words[word_count].load(std::memory_order::relaxed), kGuard);
  for (size_t i = 0; i < word_count; ++i) {
    std::array<std::byte, 8> expected{};
    for (size_t b = 0; b < std::min<size_t>(8, copies.bytes - i * 8); ++b) expected[b] = Pattern(i * 8 + b);
    EXPECT_EQ(words[i].load(std::memory_order::relaxed), std::bit_cast<uint64_t>(expected)) << "word " << i;
  }

  alignas(16) std::byte to[kMaxBytes + 32];
  std::fill(std::begin(to), std::end(to), std::byte{0xee});
  copies.load(to + 1 + byte_offset, words);
  EXPECT_EQ(to[byte_offset], std::byte{0xee});
  EXPECT_EQ(to[1 + byte_offset + copies.bytes], std::byte{0xee});
  for (size_t i = 0; i < copies.bytes; ++i) ASSERT_EQ(to[1 + byte_offset + i], Pattern(i)) << "byte " << i;
}

void RoundTrips(std::span<const Copies> sizes) {
  for (const Copies& copies : sizes) {
    for (size_t word_offset : {0, 1}) {
      for (size_t byte_offset : {0, 1, 7, 8, 15}) RoundTrip(copies, word_offset, byte_offset);
    }
  }
}

template <class Pair>
class CopyWordsTest : public testing::Test {};

using Pairs = testing::Types<FastestPair, PortablePair>;
TYPED_TEST_SUITE(CopyWordsTest, Pairs);

TYPED_TEST(CopyWordsTest, EverySizeUpToThreePairsKeepsEveryByteAtEveryAlignment) {
  RoundTrips(CopiesOf<TypeParam>(std::make_index_sequence<49>{}));
}

TYPED_TEST(CopyWordsTest, AwkwardSizesKeepEveryByteAtEveryAlignment) {
  RoundTrips(CopiesOf<TypeParam>(
      std::index_sequence<63, 64, 65, 127, 128, 129, 255, 256, 257, 263, 264, 272, 511, 512, 513, 1031>{}));
}

// Both halves of every word are equal; a word that is not whole shows two different halves. The words start in the
// middle of a 16-byte block, so that one pair lies across two cache lines.
TYPED_TEST(CopyWordsTest, NoWordIsTornWhileAnotherThreadStores) {
  constexpr size_t kWords = 16;
  alignas(128) std::atomic<uint64_t> memory[kWords + 1] = {};
  std::atomic<uint64_t>* const words = memory + 1;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t turn = 0; !stop.load(std::memory_order::relaxed); ++turn) {
      std::array<uint64_t, kWords> from;
      from.fill((turn & 0xffffffff) * 0x100000001);
      Store<sizeof(from), TypeParam>(words, from.data());
    }
  });
  size_t changes = 0, torn = 0;
  uint64_t newest = 0;
  for (size_t loads = 0; loads < 500'000 || changes < 100; ++loads) {
    std::array<uint64_t, kWords> to;
    Load<sizeof(to), TypeParam>(to.data(), words);
    for (uint64_t word : to) torn += (word >> 32) != (word & 0xffffffff);
    changes += to[0] != newest;
    newest = to[0];
  }
  stop.store(true, std::memory_order::relaxed);
  writer.join();
  EXPECT_EQ(torn, 0u);
}

// The copies sit between a flag's release store and its acquire load: neither may move across.
TYPED_TEST(CopyWordsTest, CopiesStayOnTheirSideOfAcquireAndRelease) {
  std::atomic<uint64_t> words[8] = {};
  std::atomic<uint64_t> sent{0}, received{0};
  constexpr uint64_t kTurns = 2000;
  std::thread writer([&] {
    SpinWait<> wait;
    for (uint64_t turn = 1; turn <= kTurns; ++turn) {
      std::array<uint64_t, 8> from;
      from.fill(turn);
      Store<64, TypeParam>(words, from.data());
      sent.store(turn, std::memory_order::release);
      while (received.load(std::memory_order::acquire) != turn) wait();
    }
  });
  SpinWait<> wait;
  uint64_t wrong = 0;
  for (uint64_t turn = 1; turn <= kTurns; ++turn) {
    while (sent.load(std::memory_order::acquire) != turn) wait();
    std::array<uint64_t, 8> to;
    Load<64, TypeParam>(to.data(), words);
    for (uint64_t word : to) wrong += word != turn;
    received.store(turn, std::memory_order::release);
  }
  writer.join();
  EXPECT_EQ(wrong, 0u);
}

TEST(StdSyncCopyWordsTest, PicksTheDirectionByTheArguments) {
  StdSync::Atomic<uint64_t> words[2];
  const char from[] = "nine byte";
  char to[] = "?????????";
  StdSync::CopyWords<9>(words, from);
  StdSync::CopyWords<9>(to, words);
  EXPECT_STREQ(to, from);
}

}  // namespace
}  // namespace hotpath
