// The input is a program for an RcuMap: the first byte chooses how bad the hash is, then each pair of bytes is one
// operation with a key. A std::map is the oracle. References are held over later operations, and must not change. Keys
// and values throw when they are moved, and comparisons when they are made, where the input says so.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/hash/hash.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/rcu_map.h"

namespace {

struct Thrown {};
int g_calls_left = -1;  // until one throws; -1: none does
void MayThrow() {
  if (g_calls_left == 0) throw Thrown();
  if (g_calls_left > 0) --g_calls_left;
}

int g_alive = 0;

struct Text {
  explicit Text(std::string s) : text(std::move(s)) { ++g_alive; }
  Text(Text&& other) {  // NOLINT(performance-noexcept-move-constructor)
    MayThrow();
    text = std::move(other.text);
    ++g_alive;
  }
  ~Text() { --g_alive; }
  std::string text;
};
struct Equal {
  static std::string_view View(const Text& text) { return text.text; }
  static std::string_view View(std::string_view text) { return text; }
  bool operator()(const auto& a, const auto& b) const {
    MayThrow();
    return View(a) == View(b);
  }
};
struct GoodHash {
  size_t operator()(const auto& key) const { return absl::Hash<std::string_view>()(Equal::View(key)); }
};
struct BadHash {  // four homes, one tag
  size_t operator()(const auto& key) const { return Equal::View(key).size() % 4; }
};

std::string KeyOf(uint8_t arg) { return std::string(arg % 40, static_cast<char>('a' + arg / 40)); }

template <class Hash>
void RunProgram(const uint8_t* data, size_t size) {
  hotpath::EpochDomain domain(hotpath::EpochOptions{.max_pending = 8, .when_full = hotpath::EpochOptions::kGrow});
  using Map = hotpath::RcuMap<Text, Text, Hash, Equal>;
  Map map(domain);
  std::map<std::string, std::string> oracle;
  using Ref = typename Map::Ref;
  std::deque<std::pair<Ref, std::string>> held;  // newest last; Guards may end in any order

  int step = 0;
  for (; size >= 2; data += 2, size -= 2, ++step) {
    const std::string key = KeyOf(data[1]);
    const std::string value = key + std::to_string(step);
    const auto entry = oracle.find(key);
    const int calls = data[0] / 8 - 1;
    // What throws must have changed nothing.
    const auto did = [&](auto write, bool expected) {
      try {
        g_calls_left = calls;
        const bool result = write();
        g_calls_left = -1;
        HOTPATH_CHECK(result == expected);
        return true;
      } catch (Thrown) {
        g_calls_left = -1;
        return false;
      }
    };
    switch (data[0] % 8) {
      case 0:
      case 1:
        if (did([&] { return map.Insert(Text(key), Text(value)); }, entry == oracle.end())) oracle.emplace(key, value);
        break;
      case 2:
        if (did([&] { return map.InsertOrAssign(Text(key), Text(value)); }, entry == oracle.end())) {
          oracle.insert_or_assign(key, value);
        }
        break;
      case 3:
      case 4:
        if (did([&] { return map.Erase(std::string_view(key)); }, entry != oracle.end())) oracle.erase(key);
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
    const Ref found = map.Find(std::string_view(key));
    HOTPATH_CHECK(static_cast<bool>(found) == (now != oracle.end()) && (!found || found->text == now->second));
    for (const auto& [ref, expected] : held) HOTPATH_CHECK(ref->text == expected, "a value changed under its Ref");
  }

  size_t seen = 0;
  map.ForEach([&](const Text& key, const Text& value) {
    const auto entry = oracle.find(key.text);
    HOTPATH_CHECK(entry != oracle.end() && entry->second == value.text);
    ++seen;
  });
  HOTPATH_CHECK(seen == oracle.size());
  const hotpath::RcuMapStats stats = map.Stats();
  HOTPATH_CHECK(stats.size == oracle.size() && stats.size + stats.erased <= stats.capacity / 2);
  held.clear();
  domain.Synchronize();
  HOTPATH_CHECK(domain.Stats().pending == 0);
  HOTPATH_CHECK(g_alive == static_cast<int>(2 * oracle.size()), "an entry leaked or ended early");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2 == 0) {
    RunProgram<GoodHash>(data + 1, size - 1);
  } else {
    RunProgram<BadHash>(data + 1, size - 1);
  }
  HOTPATH_CHECK(g_alive == 0, "an entry leaked");
  return 0;
}
