// The input is a program for a StripedMap. The first byte chooses types, hash and number of stripes, then each triple
// of bytes is one operation with a key and an argument; a std::unordered_map that the same is done to is the oracle. An
// optimistic read may be overtaken by an operation half way: then it must see the map before or after.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/striped_map.h"

namespace {

// Runs `interruption` once, after a reader took the words of an entry.
struct InterruptedSync : hotpath::StdSync {
  static inline std::function<void()> interruption;

  using StdSync::CopyWords;
  template <size_t kBytes>
  static void CopyWords(void* to, const Atomic<uint64_t>* from) {
    StdSync::CopyWords<kBytes>(to, from);
    if (interruption) std::exchange(interruption, nullptr)();
  }
};
static_assert(hotpath::SyncPolicy<InterruptedSync>);

struct Big {
  std::array<uint32_t, 7> words{};
  bool operator==(const Big&) const = default;
};

template <class T>
T Make(uint8_t seed) {
  if constexpr (std::is_same_v<T, std::string>) {
    return std::string(seed % 40, static_cast<char>('a' + seed % 26)) + std::to_string(seed);
  } else if constexpr (std::is_same_v<T, Big>) {
    Big big;
    big.words.fill(seed * 0x01010101u);
    return big;
  } else {
    return static_cast<T>(seed * 0x0101010101010101u);
  }
}

// Hashes that are good, that put many keys into one group, and that put all of them there.
template <class K, unsigned kDistinct>
struct Poor {
  uint64_t operator()(const K& key) const { return std::hash<K>()(key) % kDistinct; }
};

template <class K, class V, class Hash>
void RunProgram(size_t stripes, const uint8_t* data, size_t size) {
  hotpath::BasicStripedMap<K, V, Hash, std::equal_to<>, InterruptedSync> map(stripes);
  std::unordered_map<K, V> oracle;

  const auto get = [&](const K& key) -> std::optional<V> {
    const auto at = oracle.find(key);
    return at == oracle.end() ? std::nullopt : std::optional<V>(at->second);
  };
  const auto check_all = [&] {
    HOTPATH_CHECK(map.size() == oracle.size(), "wrong size");
    const auto all = map.Snapshot();
    HOTPATH_CHECK(all.size() == oracle.size(), "wrong size of the snapshot");
    for (const auto& [key, value] : all) HOTPATH_CHECK(get(key) == value, "the snapshot has a wrong entry");
  };
  const auto write = [&](uint8_t op, const K& key, uint8_t arg) {
    const V value = Make<V>(arg);
    switch (op % 6) {
      case 0:
        HOTPATH_CHECK(map.Insert(key, value) == oracle.emplace(key, value).second, "insert");
        break;
      case 1:
        HOTPATH_CHECK(map.InsertOrAssign(key, value) == get(key), "insert or assign");
        oracle.insert_or_assign(key, value);
        break;
      case 2:
        HOTPATH_CHECK(map.Erase(key) == get(key), "erase");
        oracle.erase(key);
        break;
      case 3: {
        const bool there = oracle.contains(key);
        HOTPATH_CHECK(map.Mutate(key, [&](V& v) {
          HOTPATH_CHECK(v == oracle[key]);
          v = value;
        }) == there);
        if (there) oracle[key] = value;
        break;
      }
      case 4: {
        const bool there = oracle.contains(key);
        const bool inserted =
            // NOLINTNEXTLINE(performance-no-automatic-move): a copy, of what the oracle needs too
            map.Upsert(key, [&] { return value; }, [&](V& v) { v = Make<V>(static_cast<uint8_t>(arg + 1)); });
        HOTPATH_CHECK(inserted == !there, "upsert");
        oracle[key] = there ? Make<V>(static_cast<uint8_t>(arg + 1)) : value;
        break;
      }
      default:
        try {
          map.Upsert(key, [&]() -> V { throw arg; }, [&](V&) { throw arg; });
          HOTPATH_CHECK(false, "an exception was swallowed");
        } catch (uint8_t thrown) {
          HOTPATH_CHECK(thrown == arg);
        }
    }
  };

  for (; size >= 3; data += 3, size -= 3) {
    const uint8_t op = data[0], arg = data[2];
    const K key = Make<K>(data[1]);
    switch (op % 16) {
      case 12:
      case 13: {  // a read that is overtaken, if it copies anything
        const std::optional<V> before = get(key);
        InterruptedSync::interruption = [&] { write(static_cast<uint8_t>(op / 16), key, arg); };
        const std::optional<V> found = map.Find(key);
        if (InterruptedSync::interruption) {
          InterruptedSync::interruption = nullptr;
          HOTPATH_CHECK(found == before);
        } else if (map.kOptimistic) {
          HOTPATH_CHECK(found == before || found == get(key), "neither before nor after");
        }
        break;
      }
      case 14:
        if (arg % 8 == 0) {
          map.Clear();
          oracle.clear();
        } else if (arg % 8 == 1) {
          map.Reserve(arg * 4u);
        } else if (arg % 8 == 2) {
          map.Trim();
          HOTPATH_CHECK(map.Stats().retained_bytes == 0);
        } else {
          const auto odd = [&](const K& k, const V&) { return Hash()(k) % 3 == arg % 3; };
          size_t expected = std::erase_if(oracle, [&](const auto& e) { return odd(e.first, e.second); });
          HOTPATH_CHECK(map.EraseIf(odd) == expected, "erase if");
        }
        check_all();
        break;
      case 15: {
        size_t seen = 0;
        map.ForEach([&](const K& k, const V& v) {
          ++seen;
          HOTPATH_CHECK(get(k) == v);
        });
        HOTPATH_CHECK(seen == oracle.size());
        const auto stats = map.Stats();
        HOTPATH_CHECK(stats.entries == oracle.size() && stats.capacity >= stats.entries &&
                      stats.retained_bytes * 2 <= stats.bytes);
        break;
      }
      default:
        write(op, key, arg);
    }
    HOTPATH_CHECK(map.Find(key) == get(key), "a find is not what was done");
    HOTPATH_CHECK(map.Contains(key) == oracle.contains(key));
    HOTPATH_CHECK(map.Visit(key, [&](const V& v) { HOTPATH_CHECK(v == oracle[key]); }) == oracle.contains(key));
  }
  check_all();
}

template <class K, class V>
void ForHash(uint8_t choice, const uint8_t* data, size_t size) {
  const size_t stripes = size_t{1} << choice / 3 % 4;
  switch (choice % 3) {
    case 0:
      return RunProgram<K, V, absl::Hash<K>>(stripes, data, size);
    case 1:
      return RunProgram<K, V, Poor<K, 5>>(stripes, data, size);
    default:
      return RunProgram<K, V, Poor<K, 1>>(stripes, data, size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t choice = *data++;
  --size;
  switch (choice / 12 % 4) {
    case 0:
      ForHash<uint64_t, uint64_t>(choice, data, size);
      break;
    case 1:
      ForHash<uint16_t, Big>(choice, data, size);
      break;
    case 2:
      ForHash<std::string, std::string>(choice, data, size);
      break;
    default:
      ForHash<uint32_t, uint32_t>(choice, data, size);
  }
  return 0;
}
