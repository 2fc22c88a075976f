#include "hotpath/kernel/sparse_bytes.h"

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace hotpath::kernel {
namespace {

void WriteAt(SparseBytes& bytes, int64_t offset, std::string_view text) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  WriteCursor cursor(std::span(&piece, 1));
  bytes.Write(offset, cursor);
}

std::string ReadAt(const SparseBytes& bytes, int64_t offset, size_t count) {
  std::string text(count, '?');
  const std::span<std::byte> piece = std::as_writable_bytes(std::span(text));
  ReadCursor cursor(std::span(&piece, 1));
  text.resize(bytes.Read(offset, cursor));
  return text;
}

// Every operation at awkward places, against a string and a set of allocated pages.
TEST(SparseBytes, AnswersLikeAPlainString) {
  constexpr int64_t kPage = 4096;
  constexpr int64_t kLargest = 10 * kPage;
  std::mt19937 rng(1);
  const auto place = [&] {
    static constexpr int64_t kNear[] = {-1, 0, 1, 7, 100};
    const int64_t at = static_cast<int64_t>(rng() % 10) * kPage + kNear[rng() % 5];
    return std::max<int64_t>(at, 0);
  };
  uint64_t total = 0;
  {
    SparseBytes bytes(total);
    std::string model;
    std::set<int64_t> allocated;
    std::set<int64_t> data;
    const auto pages = [&](std::set<int64_t>& set, int64_t first, int64_t last, bool add) {
      for (int64_t page = first; page < last; ++page) {
        if (add) {
          set.insert(page);
        } else {
          set.erase(page);
        }
      }
    };
    for (int step = 0; step < 5000; ++step) {
      const int64_t at = place();
      const int64_t length = std::min<int64_t>(place(), kLargest - at);
      const int64_t end = at + length;
      const int64_t past = (end + kPage - 1) / kPage;
      switch (rng() % 6) {
        case 0: {
          if (length == 0) break;
          const std::string text(static_cast<size_t>(length), static_cast<char>('a' + rng() % 26));
          WriteAt(bytes, at, text);
          if (model.size() < static_cast<size_t>(end)) model.resize(static_cast<size_t>(end));
          model.replace(static_cast<size_t>(at), text.size(), text);
          pages(allocated, at / kPage, past, true);
          pages(data, at / kPage, past, true);
          break;
        }
        case 1:
          bytes.Resize(at);
          if (at <= static_cast<int64_t>(model.size())) {
            pages(allocated, (at + kPage - 1) / kPage, 100, false);
            pages(data, (at + kPage - 1) / kPage, 100, false);
          }
          model.resize(static_cast<size_t>(at));
          break;
        case 2: {
          if (length == 0) break;
          bytes.Punch(at, length);
          for (int64_t i = at; i < std::min<int64_t>(end, static_cast<int64_t>(model.size())); ++i) {
            model[static_cast<size_t>(i)] = '\0';
          }
          pages(allocated, (at + kPage - 1) / kPage, end / kPage, false);
          pages(data, (at + kPage - 1) / kPage, end / kPage, false);
          break;
        }
        case 3:
          if (length == 0) break;
          bytes.Reserve(at, length);
          pages(allocated, at / kPage, past, true);
          break;
        case 4: {
          const std::string expected = at < static_cast<int64_t>(model.size())
                                           ? model.substr(static_cast<size_t>(at), static_cast<size_t>(length))
                                           : "";
          ASSERT_EQ(ReadAt(bytes, at, static_cast<size_t>(length)), expected) << step;
          break;
        }
        case 5: {
          std::optional<int64_t> next_data;
          std::optional<int64_t> next_hole;
          const auto size = static_cast<int64_t>(model.size());
          for (int64_t i = at; i < size; ++i) {
            if (data.contains(i / kPage) && !next_data) next_data = i;
            if (!data.contains(i / kPage) && !next_hole) next_hole = i;
          }
          if (at < size && !next_hole) next_hole = size;
          ASSERT_EQ(bytes.NextData(at), next_data) << step;
          ASSERT_EQ(bytes.NextHole(at), next_hole) << step;
          break;
        }
      }
      ASSERT_EQ(bytes.size(), static_cast<int64_t>(model.size())) << step;
      ASSERT_EQ(bytes.blocks(), allocated.size() * 8) << step;
      ASSERT_EQ(total, data.size() * static_cast<uint64_t>(kPage)) << step;
    }
  }
  EXPECT_EQ(total, 0u) << "a file gives back what it held";
}

TEST(SparseBytes, CopiesKeepWholeHolesAndTheBytesAround) {
  uint64_t total = 0;
  SparseBytes from(total);
  SparseBytes to(total);
  WriteAt(from, 10, "head");
  WriteAt(from, 5 * 4096 + 1, "tail");
  for (const int64_t shift : {0, 1, 4095, 4096}) {
    to.Resize(0);
    WriteAt(to, 0, std::string(40000, 'x'));
    EXPECT_EQ(to.CopyFrom(from, 0, shift, 1 << 20), 5 * 4096u + 5);
    EXPECT_EQ(ReadAt(to, shift, 5 * 4096 + 5), ReadAt(from, 0, 1 << 20)) << shift;
    EXPECT_EQ(ReadAt(to, shift + 5 * 4096 + 5, 2), "xx") << shift;
    EXPECT_EQ(to.size(), 40000);
  }
  to.Resize(0);
  EXPECT_EQ(to.CopyFrom(from, 0, 0, 1 << 20), 5 * 4096u + 5);
  EXPECT_EQ(to.blocks(), 16u) << "two pages, as in the original";
  EXPECT_EQ(to.CopyFrom(from, 5 * 4096 + 5, 0, 1), 0u) << "nothing at the end";
}

TEST(SparseBytes, TheLastByteThereIsCanBeWritten) {
  uint64_t total = 0;
  SparseBytes bytes(total);
  WriteAt(bytes, INT64_MAX - 2, "ab");
  EXPECT_EQ(bytes.size(), INT64_MAX);
  EXPECT_EQ(ReadAt(bytes, INT64_MAX - 3, 3), std::string("\0ab", 3));
  EXPECT_EQ(bytes.NextData(0), INT64_MAX - 4095);
  EXPECT_EQ(bytes.NextHole(INT64_MAX - 1), INT64_MAX);
  bytes.Punch(0, INT64_MAX);
  EXPECT_EQ(ReadAt(bytes, INT64_MAX - 2, 2), std::string(2, '\0'));
}

}  // namespace
}  // namespace hotpath::kernel
