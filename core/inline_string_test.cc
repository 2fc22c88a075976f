#include "hotpath/core/inline_string.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iomanip>
#include <new>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"

namespace hotpath {
namespace {

using bench::Escape;
using bench::HeapCount;
using bench::HeapFailure;
using bench::HeapMark;

constexpr size_t kSizes[] = {0, 1, 7, 8, 15, 16, 22, 23, 24, 25, 32, 33, 64, 65, 128, 129, 4096};

// Every byte value occurs, NUL and 0xff soon.
std::string Text(size_t size, unsigned seed = 0) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i + seed) % 3 == 0 ? 0xff : (i * 37 + seed) % 256);
  if (size > 1) text[size / 2] = '\0';
  return text;
}

testing::AssertionResult Holds(const InlineString& s, std::string_view text) {
  const auto no = [] { return testing::AssertionFailure(); };
  if (s.size() != text.size()) return no() << "size " << s.size() << ", not " << text.size();
  if (std::string_view(s) != text || s.view() != text) return no() << "other text";
  if (s.data()[s.size()] != '\0' || s.c_str() != s.data()) return no() << "no NUL behind the text";
  if (s.empty() != text.empty()) return no() << "empty() is wrong";
  if (s.is_inline() != (text.size() <= 23)) return no() << "in the wrong place: is_inline() " << s.is_inline();
  if (s.capacity() < s.size() || s.capacity() > s.max_size()) return no() << "capacity " << s.capacity();
  const bool inside = std::less_equal<const void*>()(&s, s.data()) && std::less<const void*>()(s.data(), &s + 1);
  if (inside != s.is_inline()) return no() << "data() points elsewhere";
  return testing::AssertionSuccess();
}

// ---- At compile time.

constexpr const char* kLetters = "abcdefghijklmnopqrstuvwxyz";
constexpr InlineString kEmpty;
constexpr InlineString kShort = "short";
constexpr InlineString kFull = "abcdefghijklmnopqrstuvw";
constinit InlineString g_mutable = "starts constant";

static_assert(sizeof(InlineString) == 24 && alignof(InlineString) == 8);
static_assert(kEmpty.empty() && kEmpty.size() == 0 && *kEmpty.c_str() == '\0' && kEmpty == "");
static_assert(kShort.size() == 5 && kShort.view() == "short" && kShort.is_inline() && kShort.capacity() == 23);
static_assert(kFull.size() == 23 && kFull.data()[22] == 'w' && kFull.data()[23] == '\0' && kFull.is_inline());
static_assert(kShort == "short" && "short" == kShort && kShort != kFull && kShort > "shoot" && "shoots" < kShort);
static_assert(kShort == InlineString(kShort) && (kShort <=> kFull) == std::strong_ordering::greater);
static_assert(kFull < kShort && !(kShort < kFull) && !(kShort < InlineString(kShort)) && kEmpty < kFull);
static_assert([] {
  InlineString a = "one", b = a;
  InlineString c = std::move(a);
  a = std::string_view("two");
  b = a;
  b = std::move(c);
  const bool moved = c.empty();  // NOLINT(bugprone-use-after-move)
  a.clear();
  return moved && b == "one" && a.empty();
}());
static_assert([] {
  for (size_t n = 0; n <= 23; ++n) {
    if (InlineString(std::string_view(kLetters, n)) != std::string_view(kLetters, n)) return false;
  }
  return true;
}());

// A constant of N bytes: 23 are the limit.
template <size_t N>
concept MakesAConstant =
    requires { typename std::bool_constant<(InlineString(std::string_view(kLetters, N)).size() == N)>; };
static_assert(MakesAConstant<0> && MakesAConstant<23> && !MakesAConstant<24>);

static_assert(std::is_constructible_v<InlineString, const char*> &&
              !std::is_constructible_v<InlineString, std::nullptr_t>);
static_assert(std::is_convertible_v<std::string, InlineString> && !std::is_convertible_v<char, InlineString>);
static_assert(std::is_convertible_v<InlineString, std::string_view> &&
              !std::is_convertible_v<InlineString, const char*>);
static_assert(std::is_nothrow_move_constructible_v<InlineString> && std::is_nothrow_move_assignable_v<InlineString> &&
              std::is_nothrow_default_constructible_v<InlineString> &&
              !std::is_nothrow_copy_constructible_v<InlineString>);
template <class T>
concept ComparesWithText = requires(const InlineString& s, const T& t) { s == t; };
static_assert(ComparesWithText<std::string> && ComparesWithText<const char*> && !ComparesWithText<int>);

// ---- Building.

TEST(InlineStringTest, TextOfEveryLengthIsKeptAndFollowedByANul) {
  for (const size_t size : kSizes) {
    const std::string text = Text(size);
    EXPECT_TRUE(Holds(InlineString(std::string_view(text)), text)) << size;
    EXPECT_TRUE(Holds(InlineString(text), text)) << size;
    EXPECT_TRUE(Holds(InlineString(std::string(text)), text)) << size;
    const std::string no_nul(size, 'x');
    EXPECT_TRUE(Holds(InlineString(no_nul.c_str()), no_nul)) << size;
  }
  EXPECT_TRUE(Holds(InlineString(), ""));
  EXPECT_TRUE(Holds(InlineString(std::string_view()), ""));
}

TEST(InlineStringTest, EveryLengthKeepsEveryBit) {
  for (size_t size = 0; size <= 140; ++size) {
    for (unsigned seed = 0; seed < 256; ++seed) {
      const std::string text = Text(size, seed);
      const InlineString s = text;
      ASSERT_TRUE(Holds(s, text)) << size << " " << seed;
      ASSERT_TRUE(Holds(InlineString(s), text)) << size << " " << seed;
    }
  }
}

TEST(InlineStringTest, ConstantInitialisedGlobalIsAnOrdinaryString) {
  EXPECT_TRUE(Holds(g_mutable, "starts constant"));
  g_mutable += ", and grows past the limit";
  EXPECT_TRUE(Holds(g_mutable, "starts constant, and grows past the limit"));
  g_mutable.clear();
  EXPECT_TRUE(Holds(kFull, "abcdefghijklmnopqrstuvw"));
}

TEST(InlineStringTest, NeverReadsOutsideItsSource) {
  // One readable page between two that fault.
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  char* const map = static_cast<char*>(mmap(nullptr, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(map, MAP_FAILED);
  char* const begin = map + page;
  ASSERT_EQ(mprotect(begin, page, PROT_READ | PROT_WRITE), 0);
  std::memset(begin, 'r', page);
  for (size_t size = 0; size <= 140; ++size) {
    for (char* const source : {begin, begin + page - size}) {
      const std::string_view text(source, size);
      InlineString s = text;
      EXPECT_TRUE(Holds(s, text)) << size;
      s.append(text);
      EXPECT_TRUE(Holds(s, std::string(2 * size, 'r'))) << size;
      EXPECT_TRUE(InlineString(text) == text) << size;
    }
  }
  munmap(map, 3 * page);
}

// ---- Copying and moving.

TEST(InlineStringTest, CopiesAndMovesBetweenEveryPairOfLengths) {
  for (const size_t to : kSizes) {
    for (const size_t from : kSizes) {
      const std::string old_text = Text(to, 1), text = Text(from, 2);
      const InlineString source = text;

      InlineString copied = old_text;
      copied = source;
      EXPECT_TRUE(Holds(copied, text)) << to << " <- " << from;
      EXPECT_TRUE(Holds(source, text)) << to << " <- " << from;

      InlineString donor = source, moved = old_text;
      moved = std::move(donor);
      EXPECT_TRUE(Holds(moved, text)) << to << " <- " << from;
      // NOLINTNEXTLINE(bugprone-use-after-move): empty, as documented
      EXPECT_TRUE(Holds(donor, "")) << to << " <- " << from;
      donor += "alive";
      EXPECT_TRUE(Holds(donor, "alive"));

      InlineString from_text = old_text;
      from_text = text;
      EXPECT_TRUE(Holds(from_text, text)) << to << " <- " << from;

      InlineString left = old_text, right = text;
      std::swap(left, right);
      EXPECT_TRUE(Holds(left, text) && Holds(right, old_text)) << to << " <- " << from;
    }
  }
}

TEST(InlineStringTest, ConstructingByCopyOrMoveKeepsTheTextAndEmptiesTheMovedFrom) {
  for (const size_t size : kSizes) {
    const std::string text = Text(size);
    InlineString original = text;
    const InlineString copy = original;
    EXPECT_TRUE(Holds(copy, text) && Holds(original, text)) << size;
    const InlineString moved = std::move(original);
    EXPECT_TRUE(Holds(moved, text) && Holds(original, "")) << size;  // NOLINT(bugprone-use-after-move)
  }
}

TEST(InlineStringTest, AssigningAStringToItselfChangesNothing) {
  for (const size_t size : kSizes) {
    const std::string text = Text(size);
    InlineString s = text;
    InlineString& same = s;
    s = same;
    EXPECT_TRUE(Holds(s, text)) << size;
    s = std::move(same);
    EXPECT_TRUE(Holds(s, text)) << size;
  }
}

TEST(InlineStringTest, AssigningAViewIntoTheStringWorks) {
  for (const size_t size : kSizes) {
    const std::string text = Text(size);
    InlineString s = text;
    s = s.view().substr(size / 3);
    EXPECT_TRUE(Holds(s, text.substr(size / 3))) << size;
  }
}

// ---- Appending.

TEST(InlineStringTest, AppendJoinsEveryPairOfLengths) {
  for (const size_t left : kSizes) {
    for (const size_t right : kSizes) {
      const std::string a = Text(left, 1), b = Text(right, 2);
      InlineString s = a;
      EXPECT_EQ(&s.append(b), &s);
      EXPECT_TRUE(Holds(s, a + b)) << left << " + " << right;
      s += "";
      s.append(std::string_view());
      EXPECT_TRUE(Holds(s, a + b)) << left << " + " << right;
    }
  }
}

TEST(InlineStringTest, AppendTakesAnyViewIntoItself) {
  for (const size_t size : {1, 7, 8, 11, 12, 22, 23, 24, 25, 33}) {
    const std::string text = Text(size);
    for (size_t at = 0; at <= size; ++at) {
      // One more than the text: the NUL behind it is part of what c_str() shows.
      for (size_t count = 0; at + count <= size + 1; ++count) {
        const std::string part(text.c_str() + at, count);
        InlineString tight = text;  // must grow
        tight.append({tight.data() + at, count});
        ASSERT_TRUE(Holds(tight, text + part)) << size << " " << at << " " << count;

        InlineString roomy = text;  // has room after the first append, if it is on the heap
        roomy.append(std::string(40, 'r'));
        const std::string before = text + std::string(40, 'r');
        roomy.append({roomy.data() + at, count});
        std::string expected = before;
        expected.append(before.c_str() + at, count);
        ASSERT_TRUE(Holds(roomy, expected)) << size << " " << at << " " << count;
      }
    }
  }
}

TEST(InlineStringTest, PushBackGrowsInAmortisedConstantTime) {
  constexpr size_t kBytes = 100'000;
  InlineString s;
  std::string expected;
  const HeapMark mark;
  for (size_t i = 0; i < kBytes; ++i) s.push_back(static_cast<char>(i));
  const HeapCount grown = mark.Since();
  for (size_t i = 0; i < kBytes; ++i) expected.push_back(static_cast<char>(i));
  EXPECT_TRUE(Holds(s, expected));
  EXPECT_LE(grown.allocations, 14u);  // 46 bytes, doubled 12 times, are enough
  EXPECT_EQ(grown.frees, grown.allocations - 1);
  EXPECT_LE(s.capacity(), 2 * kBytes);
}

TEST(InlineStringTest, ClearEmptiesAndGivesTheBlockBack) {
  for (const size_t size : kSizes) {
    InlineString s = Text(size);
    const HeapMark mark;
    s.clear();
    const HeapCount count = mark.Since();
    EXPECT_TRUE(Holds(s, "")) << size;
    EXPECT_EQ(count.frees, size > 23 ? 1u : 0u) << size;
  }
}

// ---- The heap.

TEST(InlineStringTest, TextUpTo23BytesNeverTouchesTheHeap) {
  for (size_t size = 0; size <= 23; ++size) {
    const std::string text = Text(size);
    const char* const c_string = "some literal of 23 byte";
    const HeapMark mark;
    {
      InlineString a = std::string_view(text);
      Escape(a);
      InlineString b = a;
      Escape(b);
      InlineString c = std::move(b);
      Escape(c);
      b = a;
      c = std::move(a);
      a = c_string;
      a = text;
      b.clear();
      b += text;
      Escape(b);
      for (size_t i = size; i < 23; ++i) c.push_back('.');
      Escape(c);
      std::swap(a, c);
    }
    const HeapCount count = mark.Since();
    EXPECT_EQ(count, HeapCount{}) << size;
  }
}

TEST(InlineStringTest, LongerTextTakesOneBlockOfItsSize) {
  for (const size_t size : kSizes) {
    if (size <= 23) continue;
    const std::string text = Text(size);
    HeapCount made, copied, moved, destroyed;
    const HeapMark mark;
    {
      InlineString a = text;
      Escape(a);
      made = mark.Since();
      InlineString b = a;
      Escape(b);
      copied = mark.Since();
      InlineString c = std::move(a);
      Escape(c);
      a = std::move(c);
      Escape(a);
      moved = mark.Since();
    }
    destroyed = mark.Since();
    EXPECT_EQ(made, (HeapCount{1, 0, size + 1}));
    EXPECT_EQ(copied, (HeapCount{2, 0, 2 * (size + 1)}));
    EXPECT_EQ(moved, copied);
    EXPECT_EQ(destroyed, (HeapCount{2, 2, 2 * (size + 1)}));
  }
}

TEST(InlineStringTest, AssigningLongTextThatFitsReusesTheBlock) {
  InlineString s = Text(65);
  for (const size_t size : {24, 64, 65}) {
    const InlineString other = Text(size, 3);
    const HeapMark mark;
    s = other;
    const HeapCount reused = mark.Since();
    EXPECT_TRUE(Holds(s, Text(size, 3)));
    EXPECT_EQ(reused, HeapCount{}) << size;
  }
  const HeapMark mark;
  s = kShort;
  const HeapCount given_back = mark.Since();
  EXPECT_TRUE(Holds(s, "short"));
  EXPECT_EQ(given_back, (HeapCount{0, 1, 0}));
}

TEST(InlineStringTest, FailedAllocationLeavesEveryStringAsItWas) {
  using Change = void (*)(InlineString&, const InlineString&);
  const Change changes[] = {
      [](InlineString& s, const InlineString& other) { s = other; },
      [](InlineString& s, const InlineString& other) { s = other.view(); },
      [](InlineString& s, const InlineString& other) { s += other; },
      [](InlineString& s, const InlineString&) { s += s; },
      [](InlineString& s, const InlineString&) { s.push_back('x'); },
      [](InlineString& s, const InlineString& other) { s = InlineString::Format("%s%s", s, other); },
  };
  for (const size_t to : kSizes) {
    for (const size_t from : kSizes) {
      for (const Change& change : changes) {
        const InlineString other = Text(from, 2);
        InlineString twin = Text(to, 1), s = twin;
        const HeapMark mark;
        change(twin, other);
        const bool needs_heap = mark.Since().allocations > 0;
        bool failed = false;
        try {
          const HeapFailure failure;
          change(s, other);
        } catch (const std::bad_alloc&) {
          failed = true;
        }
        EXPECT_EQ(failed, needs_heap && HeapFailure::Works());
        EXPECT_TRUE(Holds(s, failed ? Text(to, 1) : twin.view())) << &change - changes << ": " << to << ", " << from;
        EXPECT_TRUE(Holds(other, Text(from, 2)));
      }
    }
  }
}

TEST(InlineStringTest, TextBeyondTheMaximumIsBadAllocAndChangesNothing) {
  static_assert(InlineString::max_size() == (size_t{1} << 56) - 2);
  // Views that claim to be huge: the size must be refused before a byte is read.
  const std::string bytes = "x";
  for (const size_t size : kSizes) {
    const std::string text = Text(size);
    InlineString s = text;
    const HeapMark mark;
    int refused = 0;
    for (const size_t huge :
         {InlineString::max_size() + 1 - size, InlineString::max_size() + 1, SIZE_MAX - size, SIZE_MAX / 2, SIZE_MAX}) {
      try {
        s.append({bytes.data(), huge});
      } catch (const std::bad_alloc&) {
        ++refused;
      }
    }
    for (const size_t huge : {InlineString::max_size() + 1, SIZE_MAX - 1, SIZE_MAX}) {
      try {
        Escape(InlineString(std::string_view(bytes.data(), huge)));
      } catch (const std::bad_alloc&) {
        ++refused;
      }
    }
    const HeapCount count = mark.Since();
    EXPECT_EQ(refused, 8) << size;
    if (HeapFailure::Works()) {  // elsewhere the exceptions count as well
      EXPECT_EQ(count, HeapCount{}) << size;
    }
    EXPECT_TRUE(Holds(s, text)) << size;
  }
}

// ---- Comparing and hashing.

TEST(InlineStringTest, ComparesAsUnsignedBytesWithEveryKindOfString) {
  std::vector<std::string> texts = {"",     "a",    "ab",  "b", std::string("a\0", 2), std::string("a\0b", 3),
                                    "\x7f", "\x80", "\xff"};
  for (const size_t size : kSizes) {
    texts.push_back(Text(size));
    texts.push_back(std::string(size, 'a'));
    texts.push_back(std::string(size, '\0'));
    texts.push_back(std::string(size, '\xff'));
    if (size > 0) texts.push_back(std::string(size - 1, 'a') + "b");
  }
  for (const std::string& x : texts) {
    for (const std::string& y : texts) {
      const InlineString a = x, b = y;
      const auto order = std::string_view(x) <=> std::string_view(y);
      ASSERT_EQ(a == b, x == y);
      ASSERT_EQ(a == y, x == y);
      ASSERT_EQ(y == a, x == y);
      ASSERT_EQ(a != std::string_view(y), x != y);
      ASSERT_EQ(std::string_view(y) == a, x == y);
      ASSERT_TRUE((a <=> b) == order);
      ASSERT_TRUE((a <=> std::string_view(y)) == order);
      ASSERT_TRUE((std::string_view(x) <=> b) == order);
      ASSERT_TRUE((x <=> b) == order);
      ASSERT_EQ(a < b, x < y);
      ASSERT_EQ(x >= b, x >= y);
    }
    const std::string prefix = x.c_str();
    ASSERT_EQ(InlineString(x) == x.c_str(), x == prefix);
  }
}

TEST(InlineStringTest, AnyByteMakesTextUnequal) {
  for (size_t size = 1; size <= 70; ++size) {
    const std::string text = Text(size);
    const InlineString s = text;
    for (size_t i = 0; i < size; ++i) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ 0x10);
      ASSERT_FALSE(s == other) << size << " " << i;
      ASSERT_FALSE(s == InlineString(other)) << size << " " << i;
    }
    ASSERT_FALSE(s == std::string_view(text).substr(0, size - 1)) << size;
    ASSERT_FALSE(s == text + '\0') << size;
    ASSERT_TRUE(s == text) << size;
  }
}

TEST(InlineStringTest, EqualTextIsEqualWhateverWasThereBefore) {
  // Rests of longer text must not stay behind the end.
  for (size_t size = 0; size <= 25; ++size) {
    const std::string text = Text(size);
    InlineString assigned = Text(23, 5);
    assigned = text;
    InlineString cleared = Text(23, 6);
    cleared.clear();
    cleared += text;
    InlineString from_heap = Text(64, 7);
    from_heap = text;
    InlineString pieces;
    for (const char c : text) pieces.push_back(c);
    for (const InlineString* s : {&assigned, &cleared, &from_heap, &pieces}) {
      EXPECT_EQ(*s, InlineString(text)) << size;
      EXPECT_EQ(InlineString(text), *s) << size;
    }
  }
}

TEST(InlineStringTest, HashesAsStringViewDoes) {
  for (size_t size = 0; size <= 70; ++size) {
    const std::string text = Text(size);
    const InlineString s = text;
    const size_t absl_hash = absl::Hash<absl::string_view>{}(text);
    EXPECT_EQ(std::hash<InlineString>{}(s), std::hash<std::string_view>{}(text)) << size;
    EXPECT_EQ(absl::Hash<InlineString>{}(s), absl_hash) << size;
    EXPECT_EQ(absl::Hash<std::string>{}(text), absl_hash) << size;
    EXPECT_EQ(InlineStringHash{}(s), absl_hash) << size;
    EXPECT_EQ(InlineStringHash{}(std::string_view(text)), absl_hash) << size;
    EXPECT_TRUE(InlineStringEq{}(s, text));
    EXPECT_FALSE(InlineStringEq{}(s, text + "x"));
  }
}

TEST(InlineStringTest, MapsFindKeysByAnyStringWithoutTheHeap) {
  InlineStringMap<size_t> map;
  std::vector<std::string> texts;
  for (size_t size = 0; size <= 70; ++size) {
    texts.push_back(Text(size));
    map[texts.back()] = size;
  }
  map["literal key"] = 1000;
  size_t found = 0;
  const HeapMark mark;
  for (const std::string& text : texts) found += map.find(std::string_view(text))->second == text.size();
  for (const std::string& text : texts) found += map.at(text) == text.size();
  found += map.contains("literal key");
  const HeapCount count = mark.Since();
  EXPECT_EQ(found, 2 * texts.size() + 1);
  EXPECT_EQ(count, HeapCount{});
  EXPECT_FALSE(map.contains("another key"));
  EXPECT_EQ(map.erase(std::string_view("literal key")), 1u);
  EXPECT_EQ(map.find(InlineString("literal key")), map.end());
}

TEST(InlineStringTest, StandardAndAbslContainersTakeItAsAKey) {
  std::unordered_set<InlineString> unordered = {"one", "two", "one", InlineString(Text(64))};
  EXPECT_EQ(unordered.size(), 3u);
  EXPECT_TRUE(unordered.contains(Text(64)));
  absl::flat_hash_map<InlineString, int> flat = {{"one", 1}};
  EXPECT_EQ(flat.at("one"), 1);
  std::set<InlineString, std::less<>> ordered = {"b", "a", "c"};
  EXPECT_EQ(*ordered.begin(), "a");
  EXPECT_TRUE(ordered.contains(std::string_view("c")));
  std::vector<InlineString> sorted;
  for (const size_t size : kSizes) sorted.push_back(InlineString(std::string(size, 'z')));
  std::reverse(sorted.begin(), sorted.end());
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) EXPECT_EQ(sorted[i].size(), kSizes[i]);
}

// ---- Formatting.

TEST(InlineStringTest, FormatsAsStrFormatDoes) {
  for (const int width : {0, 1, 22, 23, 24, 1000, 1024, 1025, 5000}) {
    EXPECT_TRUE(Holds(InlineString::Format("%*d", width, -42), absl::StrFormat("%*d", width, -42))) << width;
  }
  EXPECT_TRUE(Holds(InlineString::Format("plain"), "plain"));
  EXPECT_TRUE(Holds(InlineString::Format("%s%%", std::string("\0\xff", 2)), std::string("\0\xff%", 3)));
  InlineString s = "already here: ";
  absl::Format(&s, "%x and %5.2f", 255, 3.14159);
  EXPECT_TRUE(Holds(s, "already here: ff and  3.14"));
}

TEST(InlineStringTest, FormattingWhatFitsNeverTouchesTheHeap) {
  const std::string name = "0123456789";
  const HeapMark mark;
  const InlineString number = InlineString::Format("no process %d", 4194304);
  Escape(number);
  const InlineString full = InlineString::Format("%s%s%3d", name, "abcdefghij", 7);
  Escape(full);
  const InlineString real = InlineString::Format("%.3f %c %#x %s", 2.5, 'c', 255, number.view().substr(0, 2));
  Escape(real);
  const HeapCount short_ones = mark.Since();
  const InlineString longer = InlineString::Format("%s%s%4d", name, "abcdefghij", 7);
  Escape(longer);
  const HeapCount long_one = mark.Since() - short_ones;
  EXPECT_TRUE(Holds(number, "no process 4194304"));
  EXPECT_TRUE(Holds(full, "0123456789abcdefghij  7"));
  EXPECT_TRUE(Holds(real, "2.500 c 0xff no"));
  EXPECT_TRUE(Holds(longer, "0123456789abcdefghij   7"));
  EXPECT_EQ(short_ones, HeapCount{});
  EXPECT_EQ(long_one.allocations, 1u);
}

TEST(InlineStringTest, FormatsAsAnArgument) {
  const InlineString s = "text";
  const InlineString long_one = Text(64);
  EXPECT_EQ(absl::StrFormat("<%s>", s), "<text>");
  EXPECT_EQ(absl::StrFormat("<%6s|%-6s|%.2s|%5.3s>", s, s, s, s), "<  text|text  |te|  tex>");
  EXPECT_EQ(absl::StrFormat("%s", long_one), Text(64));
}

TEST(InlineStringTest, StreamsAsAStringDoes) {
  std::ostringstream stream;
  stream << InlineString("a") << std::setw(6) << std::left << InlineString("bc") << '|' << InlineString(Text(64));
  EXPECT_EQ(stream.str(), "abc    |" + Text(64));
}

}  // namespace
}  // namespace hotpath
