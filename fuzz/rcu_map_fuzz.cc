// The input is a program for an RcuMap: the first byte chooses how bad the hash is, then each pair of bytes is one
// operation with a key. A std::map is the oracle. References are held over later operations, and must not change.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/hash/hash.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/rcu_map.h"

namespace {

struct GoodHash {
  size_t operator()(std::string_view key) const { return absl::Hash<std::string_view>()(key); }
};
struct BadHash {  // four homes, one tag
  size_t operator()(std::string_view key) const { return key.size() % 4; }
};

std::string KeyOf(uint8_t arg) { return std::string(arg % 40, static_cast<char>('a' + arg / 40)); }

template <class Hash>
void RunProgram(const uint8_t* data, size_t size) {
  hotpath::EpochDomain domain(hotpath::EpochOptions{.max_pending = 8, .when_full = hotpath::EpochOptions::kGrow});
  hotpath::RcuMap<std::string, std::string, Hash> map(domain);
  std::map<std::string, std::string> oracle;
  using Ref = typename hotpath::RcuMap<std::string, std::string, Hash>::Ref;
  std::deque<std::pair<Ref, std::string>> held;  // newest last; Guards may end in any order

  int step = 0;
  for (; size >= 2; data += 2, size -= 2, ++step) {
    const std::string key = KeyOf(data[1]);
    const std::string value = key + std::to_string(step);
    const auto entry = oracle.find(key);
    switch (data[0] % 8) {
      case 0:
      case 1:
        HOTPATH_CHECK(map.Insert(key, value) == (entry == oracle.end()));
        oracle.emplace(key, value);
        break;
      case 2:
        HOTPATH_CHECK(map.InsertOrAssign(key, value) == (entry == oracle.end()));
        oracle.insert_or_assign(key, value);
        break;
      case 3:
      case 4:
        HOTPATH_CHECK(map.Erase(std::string_view(key)) == (entry != oracle.end()));
        oracle.erase(key);
        break;
      case 5: {
        Ref found = map.Find(std::string_view(key));
        HOTPATH_CHECK(static_cast<bool>(found) == (entry != oracle.end()));
        if (found && held.size() < 16) held.emplace_back(std::move(found), entry->second);
        break;
      }
      case 6:
        if (!held.empty()) held.erase(held.begin() + data[1] % held.size());
        break;
      default:
        if (data[1] % 2 == 0) map.Trim();
        domain.TryReclaim();
    }
    HOTPATH_CHECK(map.size() == oracle.size());
    const auto now = oracle.find(key);
    HOTPATH_CHECK(map.Get(key) == (now == oracle.end() ? std::nullopt : std::optional(now->second)));
    for (const auto& [ref, expected] : held) HOTPATH_CHECK(*ref == expected, "a value changed under its Ref");
  }

  size_t seen = 0;
  map.ForEach([&](const std::string& key, const std::string& value) {
    const auto entry = oracle.find(key);
    HOTPATH_CHECK(entry != oracle.end() && entry->second == value);
    ++seen;
  });
  HOTPATH_CHECK(seen == oracle.size());
  const hotpath::RcuMapStats stats = map.Stats();
  HOTPATH_CHECK(stats.size == oracle.size() && stats.size + stats.erased <= stats.capacity / 2);
  held.clear();
  domain.Synchronize();
  HOTPATH_CHECK(domain.Stats().pending == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2 == 0) {
    RunProgram<GoodHash>(data + 1, size - 1);
  } else {
    RunProgram<BadHash>(data + 1, size - 1);
  }
  return 0;
}
