#include <cstdint>
#include <optional>

#include "hotpath/core/striped_map.h"
#include "models/base/model.h"
#include "models/base/parking_records.h"

namespace hotpath::model {
namespace {

// One stripe and one group for all keys, so that everything meets: in a group there is room for six.
struct SameHash {
  uint64_t operator()(uint64_t) const { return 0; }
};
struct Pair {
  uint64_t left = 0, right = 0;
};
template <class V>
using Map = BasicStripedMap<uint64_t, V, SameHash, std::equal_to<>, RelacySync>;

constexpr uint64_t kKey = 1, kOther = 2;

// Reads twice: each value is whole and was there for that key, and none is older than the one before.
template <class M>
void ReadTwice(const M& map, uint64_t least, uint64_t most) {
  uint64_t newest = least;
  for (int i = 0; i < 2; ++i) {
    const std::optional<Pair> seen = map.Find(kKey);
    HOTPATH_CHECK(seen.has_value(), "a key that is there all the time was missed");
    HOTPATH_CHECK(seen->left == seen->right, "a mixture of two values");
    HOTPATH_CHECK(seen->left >= newest && seen->left <= most, "reads went back");
    newest = seen->left;
  }
}

// The value of a key is replaced, in place.
struct FindAgainstAssign : Model<FindAgainstAssign, 2> {
  ParkingRecords records;
  Map<Pair> map{1};

  FindAgainstAssign() { map.Insert(kKey, {1, 1}); }
  void thread(unsigned id) {
    if (id == 1) return ReadTwice(map, 1, 3);
    map.InsertOrAssign(kKey, {2, 2});
    map.Mutate(kKey, [](Pair& pair) { pair = {pair.left + 1, pair.right + 1}; });
  }
};

// The slot of an erased key is used again, by another key and then by the same one.
struct FindAgainstReuse : Model<FindAgainstReuse, 2> {
  ParkingRecords records;
  Map<Pair> map{1};

  FindAgainstReuse() { map.Insert(kKey, {1, 1}); }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(map.Erase(kKey).has_value());
      map.Insert(kOther, {7, 8});
      map.Erase(kOther);
      map.Insert(kKey, {2, 2});
      return;
    }
    bool missed = false;
    uint64_t newest = 0;
    for (int i = 0; i < 2; ++i) {
      const std::optional<Pair> seen = map.Find(kKey);
      if (!seen) {
        HOTPATH_CHECK(newest != 2, "the key was there for good");
        missed = true;
        continue;
      }
      HOTPATH_CHECK(seen->left == seen->right && seen->left >= newest, "another key's value, or a mixture");
      HOTPATH_CHECK(!missed || seen->left == 2, "reads went back");
      newest = seen->left;
    }
  }
};

// The table is full: the next insertion moves everything to a bigger one, and then the value changes there.
struct FindAgainstGrowth : Model<FindAgainstGrowth, 2> {
  ParkingRecords records;
  Map<Pair> map{1};

  FindAgainstGrowth() {
    map.Insert(kKey, {1, 1});
    for (uint64_t key = 10; key < 15; ++key) map.Insert(key, {key, key});
  }
  void thread(unsigned id) {
    if (id == 1) return ReadTwice(map, 1, 2);
    map.Insert(20, {20, 20});
    map.InsertOrAssign(kKey, {2, 2});
  }
  void finish() {
    HOTPATH_CHECK(map.size() == 7);
    for (uint64_t key = 10; key < 15; ++key) HOTPATH_CHECK(map.Find(key)->left == key, "an entry was lost");
    HOTPATH_CHECK(map.Stats().retained_bytes > 0);
    map.Trim();
    HOTPATH_CHECK(map.Stats().retained_bytes == 0);
  }
};

// The first entry makes the first table: a reader that sees it sees it made.
struct FindAgainstFirstInsert : Model<FindAgainstFirstInsert, 2> {
  ParkingRecords records;
  Map<Pair> map{1};

  void thread(unsigned id) {
    if (id == 0) {
      map.Insert(kKey, {1, 1});
      return;
    }
    for (int i = 0; i < 2; ++i) {
      const std::optional<Pair> seen = map.Find(kKey);
      HOTPATH_CHECK(!seen || (seen->left == 1 && seen->right == 1));
    }
  }
};

// Two who write and one who reads.
struct TwoWriters : Model<TwoWriters, 3> {
  ParkingRecords records;
  Map<Pair> map{1};
  RelacySync::Var<int> inserted[2];

  void thread(unsigned id) {
    if (id < 2) {
      inserted[id].Write(
          map.Upsert(kKey, [] { return Pair{1, 1}; }, [](Pair& pair) { pair = {pair.left + 1, pair.right + 1}; }));
      return;
    }
    const std::optional<Pair> seen = map.Find(kKey);
    HOTPATH_CHECK(!seen || (seen->left == seen->right && seen->left <= 2));
  }
  void finish() {
    HOTPATH_CHECK(inserted[0].Read() + inserted[1].Read() == 1, "exactly one of them was first");
    HOTPATH_CHECK(map.Find(kKey)->left == 2, "an update was lost");
  }
};

// What happened before a find is found: the writer tells the reader through `told`.
struct FindSeesWhatHappenedBefore : Model<FindSeesWhatHappenedBefore, 2> {
  ParkingRecords records;
  Map<Pair> map{1};
  RelacySync::Atomic<uint32_t> told{0};

  void thread(unsigned id) {
    if (id == 0) {
      map.Insert(kKey, {1, 1});
      told.store(1, std::memory_order::release);
      map.InsertOrAssign(kKey, {2, 2});
      return;
    }
    if (told.load(std::memory_order::acquire) == 0) return;
    ReadTwice(map, 1, 2);
  }
};

// An entry carries plain data from who inserted it to who finds it.
struct FindPassesOn : Model<FindPassesOn, 2> {
  ParkingRecords records;
  Map<Pair> map{1};
  RelacySync::Var<int> data{0};

  FindPassesOn() { map.Insert(kOther, {0, 0}); }
  void thread(unsigned id) {
    if (id == 0) {
      data.Write(1);
      map.Insert(kKey, {1, 1});
    } else if (map.Contains(kKey)) {
      HOTPATH_CHECK(data.Read() == 1);
    }
  }
};

// So does an entry that is gone, from who erased it to who misses it.
struct MissPassesOn : Model<MissPassesOn, 2> {
  ParkingRecords records;
  Map<Pair> map{1};
  RelacySync::Var<int> data{0};

  MissPassesOn() { map.Insert(kKey, {1, 1}); }
  void thread(unsigned id) {
    if (id == 0) {
      data.Write(1);
      map.Erase(kKey);
    } else if (!map.Contains(kKey)) {
      HOTPATH_CHECK(data.Read() == 1);
    }
  }
};

// A snapshot of two stripes never shows money twice or not at all. The keys are in different stripes.
struct KeyIsHash {
  uint64_t operator()(uint64_t key) const { return key; }
};
struct SnapshotIsOneMoment : Model<SnapshotIsOneMoment, 2> {
  ParkingRecords records;
  BasicStripedMap<uint64_t, uint64_t, KeyIsHash, std::equal_to<>, RelacySync> map{2};

  SnapshotIsOneMoment() {
    map.Insert(0, 0);
    map.Insert(1, 0);
  }
  void thread(unsigned id) {
    if (id == 0) {
      map.InsertOrAssign(0, 1);
      map.InsertOrAssign(1, 1);
      return;
    }
    uint64_t value[2] = {9, 9};
    for (const auto& [key, v] : map.Snapshot()) value[key] = v;
    HOTPATH_CHECK(value[0] <= 1 && value[1] <= 1 && value[0] >= value[1], "the second change without the first");
  }
};

// Clear empties all stripes at once, also for who reads without a lock.
struct ClearIsOneMoment : Model<ClearIsOneMoment, 2> {
  ParkingRecords records;
  BasicStripedMap<uint64_t, uint64_t, KeyIsHash, std::equal_to<>, RelacySync> map{2};

  ClearIsOneMoment() {
    map.Insert(0, 0);
    map.Insert(1, 0);
  }
  void thread(unsigned id) {
    if (id == 0) return map.Clear();
    if (!map.Find(0)) HOTPATH_CHECK(!map.Find(1), "cleared, and not cleared");
  }
  void finish() { HOTPATH_CHECK(map.size() == 0); }
};

// EraseIf empties a stripe at once.
struct EraseIfIsOneMomentOfAStripe : Model<EraseIfIsOneMomentOfAStripe, 2> {
  ParkingRecords records;
  Map<Pair> map{1};

  EraseIfIsOneMomentOfAStripe() {
    map.Insert(kKey, {1, 1});
    map.Insert(kOther, {1, 1});
  }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(map.EraseIf([](uint64_t, const Pair&) { return true; }) == 2);
    } else if (!map.Find(kKey)) {
      HOTPATH_CHECK(!map.Find(kOther), "erased, and not erased");
    }
  }
};

// A value that is not trivially copyable, in memory whose races are seen. Its table moves when it grows.
struct Guarded {
  explicit Guarded(int v) : value(v) {}
  Guarded(const Guarded& other) noexcept : value(other.value.Read()) {}
  ~Guarded() {}
  RelacySync::Var<int> value;
};
struct FindAgainstGrowthUnderTheLock : Model<FindAgainstGrowthUnderTheLock, 2> {
  ParkingRecords records;
  Map<Guarded> map{1};

  FindAgainstGrowthUnderTheLock() {
    for (uint64_t key = 1; key < 7; ++key) map.Insert(key, Guarded(static_cast<int>(key)));
  }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(map.Insert(20, Guarded(20)));
      map.Mutate(kKey, [](Guarded& g) { g.value.Write(2); });
      return;
    }
    int newest = 1;
    for (int i = 0; i < 2; ++i) {
      const std::optional<Guarded> seen = map.Find(kKey);
      HOTPATH_CHECK(seen.has_value(), "a key that is there all the time was missed");
      HOTPATH_CHECK(seen->value.Read() >= newest, "reads went back");
      newest = seen->value.Read();
    }
  }
  void finish() { HOTPATH_CHECK(map.size() == 7); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(argc, argv,
              {HOTPATH_MODEL(FindAgainstAssign), HOTPATH_MODEL(FindAgainstReuse), HOTPATH_MODEL(FindAgainstGrowth),
               HOTPATH_MODEL(FindAgainstFirstInsert), HOTPATH_MODEL(TwoWriters),
               HOTPATH_MODEL(FindSeesWhatHappenedBefore), HOTPATH_MODEL(FindPassesOn), HOTPATH_MODEL(MissPassesOn),
               HOTPATH_MODEL(SnapshotIsOneMoment), HOTPATH_MODEL(ClearIsOneMoment),
               HOTPATH_MODEL(EraseIfIsOneMomentOfAStripe), HOTPATH_MODEL(FindAgainstGrowthUnderTheLock)});
}
