// Input bytes are a program for four strings. The oracle is a std::string beside each, which does the same.

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/inline_string.h"

namespace hotpath {
namespace {

constexpr size_t kMaxText = 1 << 16;  // appending to itself would otherwise double for ever

struct Pair {
  InlineString s;
  std::string text;
};

void Check(const Pair& pair) {
  const auto& [s, text] = pair;
  HOTPATH_CHECK(s.size() == text.size() && s.empty() == text.empty(), "another size");
  HOTPATH_CHECK(s == text && text == s && s.view() == text, "another text");
  HOTPATH_CHECK(s.c_str()[s.size()] == '\0', "no NUL behind the text");
  HOTPATH_CHECK(s.is_inline() == (text.size() <= 23) && s.capacity() >= s.size(), "in the wrong place");
  HOTPATH_CHECK(std::hash<InlineString>{}(s) == std::hash<std::string_view>{}(text), "another std::hash");
  const size_t hash = absl::Hash<absl::string_view>{}(text);
  HOTPATH_CHECK(absl::Hash<InlineString>{}(s) == hash && InlineStringHash{}(s) == hash, "another absl::Hash");
}

void CheckOrder(const Pair& a, const Pair& b) {
  HOTPATH_CHECK((a.s == b.s) == (a.text == b.text), "== of two strings");
  HOTPATH_CHECK((a.s <=> b.s) == (a.text <=> b.text), "<=> of two strings");
  HOTPATH_CHECK((a.s < b.s) == (a.text < b.text), "< of two strings");
  HOTPATH_CHECK((a.s < b.text) == (a.text < b.text) && (a.text < b.s) == (a.text < b.text), "< with std::string");
  HOTPATH_CHECK(InlineStringEq{}(a.s, b.s) == (a.text == b.text), "InlineStringEq");
}

void Run(FuzzedDataProvider& input) {
  Pair pairs[4];
  InlineStringMap<std::string> map;
  while (input.remaining_bytes() > 0) {
    Pair& a = pairs[input.ConsumeIntegralInRange<size_t>(0, 3)];
    Pair& b = pairs[input.ConsumeIntegralInRange<size_t>(0, 3)];
    switch (input.ConsumeIntegralInRange<int>(0, 13)) {
      case 0:
        a.text = input.ConsumeRandomLengthString(150);
        a.s = std::string_view(a.text);
        break;
      case 1:  // lengths around the limit, whatever the input's length
        a.text.assign(input.ConsumeIntegralInRange<size_t>(20, 27),
                      static_cast<char>(input.ConsumeIntegral<uint8_t>()));
        a.s = InlineString(a.text);
        break;
      case 2:
        a.s = b.s;
        a.text = b.text;
        break;
      case 3:
        a.s = std::move(b.s);
        if (&a != &b) {
          a.text = b.text;
          b.text.clear();
        }
        break;
      case 4: {
        const InlineString copy = a.s;
        InlineString moved = copy;
        const InlineString end = std::move(moved);
        // NOLINTNEXTLINE(bugprone-use-after-move): empty, as documented
        HOTPATH_CHECK(moved.empty() && moved.is_inline(), "moved from and not empty");
        Check({end, a.text});
        break;
      }
      case 5: {
        const std::string piece = input.ConsumeRandomLengthString(100);
        a.s += piece;
        a.text += piece;
        break;
      }
      case 6:
        a.s.append(b.s);
        a.text.append(b.text);
        break;
      case 7: {  // a piece of itself, perhaps with the NUL behind it
        const size_t at = input.ConsumeIntegralInRange<size_t>(0, a.text.size());
        const size_t count = input.ConsumeIntegralInRange<size_t>(0, a.text.size() + 1 - at);
        a.s.append({a.s.data() + at, count});
        a.text.append(std::string(a.text.c_str() + at, count));
        break;
      }
      case 8:
        a.s = a.s.view().substr(a.text.size() / 2);
        a.text = a.text.substr(a.text.size() / 2);
        break;
      case 9: {
        const char c = static_cast<char>(input.ConsumeIntegral<uint8_t>());
        a.s.push_back(c);
        a.text.push_back(c);
        break;
      }
      case 10:
        a.s.clear();
        a.text.clear();
        break;
      case 11: {
        const int number = input.ConsumeIntegral<int>();
        const int width = input.ConsumeIntegralInRange<int>(-30, 30);
        a.s = InlineString::Format("%*s:%d", width, b.s, number);
        a.text = absl::StrFormat("%*s:%d", width, b.text, number);
        break;
      }
      case 12:
        map[a.s] = a.text;
        break;
      default:
        std::swap(a.s, b.s);
        std::swap(a.text, b.text);
        break;
    }
    if (a.text.size() > kMaxText) {
      a.s.clear();
      a.text.clear();
    }
    Check(a);
    Check(b);
    CheckOrder(a, b);
    const auto found = map.find(std::string_view(a.text));
    HOTPATH_CHECK(found == map.end() || found->second == a.text, "the map found another key");
    HOTPATH_CHECK((found == map.end()) == (map.find(a.s) == map.end()), "the map knows only one of two equal keys");
  }
  for (const auto& [key, text] : map) Check({key, text});
}

}  // namespace
}  // namespace hotpath

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  hotpath::Run(input);
  return 0;
}
