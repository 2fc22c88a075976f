// PathPrefixSet against the loop over its definition, at every level of this CPU. The input is a list of rules and a
// list of paths. Paths lie in heap blocks of their exact size, so that AddressSanitizer sees a read outside.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/base/input.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/detail/simd_search_testing.h"
#include "hotpath/core/simd_search.h"

namespace hotpath {
namespace {

using namespace simd_search_internal;  // NOLINT: the definition and the levels

using fuzz::Input;

constexpr size_t kMaxLength = 600;
constexpr size_t kMaxPaths = 200;

// A string of its own, or one that goes on from an earlier one, cut short or whole: rules and paths that cover each
// other are what this is about.
std::string String(Input& input, const std::vector<std::string>& earlier) {
  const size_t head = input.Byte();
  std::string text;
  if (head >= 0x40 && !earlier.empty()) {
    text = earlier[input.Byte() % earlier.size()];
    if (head >= 0xc0) text.resize(text.size() - std::min(input.Byte(), text.size()));
  }
  for (size_t length = head % 0x40; length > 0 && !input.empty() && text.size() < kMaxLength; --length) {
    text += static_cast<char>(input.Byte());
  }
  return text;
}

void Fuzz(Input input) {
  // One byte: how many rules, and whether rules that cover nothing that is likely make many of few.
  const size_t head = input.Byte();
  std::vector<std::string> strings;
  for (size_t count = head & 0x7f; count > 0 && !input.empty(); --count) strings.push_back(String(input, strings));
  std::vector<std::string> rules = strings;
  if (head >= 0x80) {
    for (size_t i = 0; i <= kMaxFew; ++i) rules.push_back("\x02" + std::to_string(i));
  }
  const std::vector<std::string_view> views(rules.begin(), rules.end());
  const PathPrefixSet set(views);
  HOTPATH_CHECK(set.size() == rules.size());

  for (size_t paths = 0; paths < kMaxPaths && !input.empty(); ++paths) {
    strings.push_back(String(input, strings));
    const std::string& text = strings.back();
    const std::unique_ptr<char[]> bytes(new char[text.size()]);
    std::copy(text.begin(), text.end(), bytes.get());
    const std::string_view path(bytes.get(), text.size());
    const auto longest = NaiveLongestMatch(views, path);
    const auto first = NaiveFirstMatch(views, path);
    for (const Kernels* kernels : TestAccess::AllKernels()) {
      HOTPATH_CHECK(TestAccess::LongestMatch(*kernels, set, path) == longest);
      HOTPATH_CHECK(TestAccess::FirstMatch(*kernels, set, path) == first);
    }
    HOTPATH_CHECK(set.LongestMatch(path) == longest);
    HOTPATH_CHECK(set.FirstMatch(path) == first);
  }
}

}  // namespace
}  // namespace hotpath

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hotpath::Fuzz({data, size});
  return 0;
}
