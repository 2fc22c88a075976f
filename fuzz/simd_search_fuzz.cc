// FindHashSimd and PathStartsWithAny against their definitions, at every level of this CPU. Everything that is searched
// lies in a heap block of its exact size, so that AddressSanitizer sees a read outside.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/detail/simd_search_testing.h"
#include "hotpath/core/simd_search.h"

namespace hotpath {
namespace {

using namespace simd_search_internal;  // NOLINT: the definitions and the levels

// One byte makes a hash. Hashes differ in few bits: all of them, the high half, the low half, one bit.
uint64_t HashFrom(uint8_t byte) {
  const uint64_t low = byte & 0x3f;
  switch (byte >> 6) {
    case 0:
      return low;
    case 1:
      return low << 32;
    case 2:
      return uint64_t{1} << low;
    default:
      return ~low;
  }
}

// The needle, then one byte per hash.
void FuzzFindHash(std::span<const uint8_t> input) {
  if (input.empty()) return;
  const uint64_t needle = HashFrom(input[0]);
  input = input.subspan(1);
  std::vector<uint64_t> hashes;
  hashes.reserve(input.size());
  for (const uint8_t byte : input) hashes.push_back(HashFrom(byte));
  const auto expected = NaiveFindHash(hashes, needle);
  for (const Kernels* kernels : TestAccess::AllKernels()) {
    HOTPATH_CHECK(TestAccess::FindHash(*kernels, hashes, needle) == expected);
  }
  HOTPATH_CHECK(FindHashSimd(hashes, needle) == expected);
}

struct Exact {
  explicit Exact(std::string_view text) : bytes(new char[text.size()]), size(text.size()) {
    if (size != 0) std::memcpy(bytes.get(), text.data(), size);
  }
  std::string_view view() const { return {bytes.get(), size}; }

  std::unique_ptr<char[]> bytes;
  size_t size;
};

// Strings: a byte for the length, then so many bytes. With the high bit set, the string goes on from the beginning of
// the one before: equal beginnings are what the search is about. The first one is the path.
void FuzzStartsWithAny(std::span<const uint8_t> input) {
  std::vector<Exact> strings;
  while (!input.empty()) {
    const size_t shared = strings.empty() || input[0] < 0x80 ? 0 : strings.back().size;
    const size_t length = std::min<size_t>(input[0] & 0x7f, input.size() - 1);
    std::string text(strings.empty() ? std::string_view() : strings.back().view().substr(0, shared));
    for (size_t i = 0; i < length; ++i) text += static_cast<char>(input[1 + i]);
    if (text.size() > 300) text.resize(text.size() / 2);
    strings.emplace_back(text);
    input = input.subspan(1 + length);
  }
  if (strings.empty()) return;
  std::vector<std::string_view> prefixes;
  for (size_t i = 1; i < strings.size(); ++i) prefixes.push_back(strings[i].view());
  for (const Exact& path : strings) {
    HOTPATH_CHECK(PathStartsWithAny(path.view(), prefixes) == NaiveStartsWithAny(path.view(), prefixes));
  }
}

}  // namespace
}  // namespace hotpath

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    hotpath::FuzzFindHash(rest);
  } else {
    hotpath::FuzzStartsWithAny(rest);
  }
  return 0;
}
