#include <cstddef>
#include <cstdint>

#include "hotpath/core/rcu_map.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

using Domain = BasicEpochDomain<RelacySync>;

// Key k has home slot k, and all keys have the same tag unless they differ in the high bits, which none here does: so
// searches walk, and look into nodes that are not theirs.
struct Identity {
  size_t operator()(int key) const { return static_cast<size_t>(key); }
};
struct Home {  // every key goes to slot 0
  size_t operator()(int) const { return 0; }
};
struct Last {  // every key goes to the last slot, of a table of any size, and from there on to the first
  size_t operator()(int) const { return ~size_t{0}; }
};
struct Equal {
  bool operator()(int a, int b) const { return a == b; }
};

template <class Hash = Home>
using Map = BasicRcuMap<int, int, Hash, Equal, RelacySync>;

// Finds the key: 0 if it is not there, else the value, which must be one of its own.
template <class M>
int Look(const M& map, int key) {
  const auto found = map.Find(key);
  if (!found) return 0;
  HOTPATH_CHECK(found.key() == key && *found / 10 == key, "an entry of another key");
  return *found;
}

// The inserter is one thread, the remover another, and readers come twice: what was erased may be reused at once.
struct ReaderAgainstRemover : Model<ReaderAgainstRemover, 3> {
  Domain domain{EpochOptions{.max_pending = 1}};
  Map<> map{domain};

  ReaderAgainstRemover() { map.Insert(1, 10); }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(map.Erase(1));
      domain.TryReclaim();
      return;
    }
    if (id == 1) {
      map.Insert(2, 20);
      return;
    }
    int before = 10;
    for (int i = 0; i < 2; ++i) {
      const int seen = Look(map, 1);
      HOTPATH_CHECK(seen == 0 || seen == before, "an erased entry came back");
      before = seen;
    }
    Look(map, 2);
  }
  void finish() { HOTPATH_CHECK(Look(map, 1) == 0 && Look(map, 2) == 20 && map.size() == 1); }
};

// A value is replaced while it is read; the reader sees one or the other and never goes back.
struct ReaderAgainstReplacer : Model<ReaderAgainstReplacer, 2> {
  Domain domain{EpochOptions{.max_pending = 1}};
  Map<> map{domain};

  ReaderAgainstReplacer() { map.Insert(1, 10); }
  void thread(unsigned id) {
    if (id == 0) {
      for (int value = 11; value < 13; ++value) HOTPATH_CHECK(!map.InsertOrAssign(1, value));
      return;
    }
    int newest = 10;
    for (int i = 0; i < 2; ++i) {
      const int seen = Look(map, 1);
      HOTPATH_CHECK(seen >= newest, "a present key was not found, or a value came back");
      newest = seen;
    }
  }
  void finish() { HOTPATH_CHECK(Look(map, 1) == 12); }
};

// The third entry replaces the table. Who is in the old one goes on, and what was there is found all the time, in its
// first slots as in its last.
template <class Hash>
struct ReaderAgainstGrowth : Model<ReaderAgainstGrowth<Hash>, 2> {
  Domain domain{EpochOptions{.max_pending = 1}};
  Map<Hash> map{domain};

  ReaderAgainstGrowth() {
    map.Insert(1, 10);
    map.Insert(2, 20);
  }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(map.Insert(3, 30));
      return;
    }
    HOTPATH_CHECK(Look(map, 2) == 20, "an entry was lost while the map grew");
    const int third = Look(map, 3);
    HOTPATH_CHECK(Look(map, 1) == 10);
    HOTPATH_CHECK(third == 0 || Look(map, 3) == third, "an entry was seen and then not");
  }
  void finish() { HOTPATH_CHECK(map.size() == 3 && map.Stats().rebuilds == 1); }
};

// Erased slots become empty or are taken again in front of an entry that must be found all the time.
struct SlotsAreReusedInFrontOfAReader : Model<SlotsAreReusedInFrontOfAReader, 2> {
  Domain domain;
  Map<> map{domain};

  SlotsAreReusedInFrontOfAReader() {
    map.Insert(1, 10);
    map.Insert(2, 20);  // behind 1
  }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(map.Erase(1));
      HOTPATH_CHECK(map.Insert(3, 30));  // where 1 was
      HOTPATH_CHECK(map.Erase(2));       // the last of the row
      HOTPATH_CHECK(map.Insert(2, 21));
      return;
    }
    const int second = Look(map, 2);
    const int third = Look(map, 3);
    HOTPATH_CHECK(second != 0 || Look(map, 3) == 30, "2 goes only after 3 has come");
    HOTPATH_CHECK(second != 21 || third == 30, "2 comes back after 3 has come");
  }
  void finish() { HOTPATH_CHECK(Look(map, 1) == 0 && Look(map, 2) == 21 && Look(map, 3) == 30); }
};

// Two writers of one key: one of them inserts it.
struct TwoInserters : Model<TwoInserters, 3> {
  Domain domain;
  Map<> map{domain};
  RelacySync::Atomic<int> inserted{0};

  void thread(unsigned id) {
    if (id == 2) {
      Look(map, 1);
      return;
    }
    if (map.Insert(1, 10 + static_cast<int>(id))) inserted.fetch_add(1, std::memory_order::relaxed);
  }
  void finish() {
    HOTPATH_CHECK(inserted.load(std::memory_order::relaxed) == 1 && map.size() == 1);
    HOTPATH_CHECK(Look(map, 1) >= 10);
  }
};

// ForEach meets a writer: each entry that stays is seen once, others are whole.
struct IterationAgainstWriter : Model<IterationAgainstWriter, 2> {
  Domain domain{EpochOptions{.max_pending = 1}};
  Map<Identity> map{domain};

  IterationAgainstWriter() { map.Insert(1, 10); }
  void thread(unsigned id) {
    if (id == 0) {
      map.InsertOrAssign(1, 11);
      map.Insert(2, 20);
      map.Insert(3, 30);  // replaces the table
      return;
    }
    int seen = 0;
    map.ForEach([&](int key, int value) {
      HOTPATH_CHECK(value / 10 == key);
      seen += key == 1 ? 1 : 0;
    });
    HOTPATH_CHECK(seen == 1, "an entry that stays was not seen once");
  }
};

// Who does not find what was erased must find what was inserted before; so must ForEach, which meets the slots in
// another order. With one home for all, the slot of the erased entry is marked, for there is another one behind it;
// with homes that are not neighbours, it becomes empty.
template <class Hash, int kFirst, int kSecond, bool kIterates>
struct ErasedAfterAnInsert : Model<ErasedAfterAnInsert<Hash, kFirst, kSecond, kIterates>, 2> {
  Domain domain;
  Map<Hash> map{domain};

  ErasedAfterAnInsert() { map.Insert(kFirst, 10 * kFirst); }
  void thread(unsigned id) {
    if (id == 0) {
      map.Insert(kSecond, 10 * kSecond);
      map.Erase(kFirst);
      return;
    }
    bool seen = false;
    if (kIterates) {
      map.ForEach([&](int, int) { seen = true; });
    } else {
      seen = Look(map, kFirst) != 0 || Look(map, kSecond) == 10 * kSecond;
    }
    HOTPATH_CHECK(seen, "what came first was seen last");
  }
};
using MarkedAfterAnInsert = ErasedAfterAnInsert<Home, 2, 3, false>;
using EmptiedAfterAnInsert = ErasedAfterAnInsert<Identity, 1, 3, false>;
using IterationAfterAMark = ErasedAfterAnInsert<Home, 2, 3, true>;
using IterationAfterAnEmptying = ErasedAfterAnInsert<Identity, 1, 3, true>;

// A reader may be in the table that was outgrown, from which nothing is erased any more.
struct EraseAfterGrowth : Model<EraseAfterGrowth, 2> {
  Domain domain;
  Map<> map{domain};

  EraseAfterGrowth() {
    map.Insert(1, 10);
    map.Insert(2, 20);
  }
  void thread(unsigned id) {
    if (id == 0) {
      map.Insert(3, 30);
      HOTPATH_CHECK(map.Erase(1));
      map.InsertOrAssign(2, 21);
      return;
    }
    const int second = Look(map, 2);
    HOTPATH_CHECK(second != 0, "an entry was lost while the map grew");
    const int first = Look(map, 1);
    HOTPATH_CHECK(second != 21 || first == 0, "what was erased before came back");
    HOTPATH_CHECK(first != 0 || Look(map, 3) == 30, "what came before the erasure was not seen after it");
  }
};

// The table shrinks under a reader, and the old one ends.
struct ReaderAgainstTrim : Model<ReaderAgainstTrim, 2> {
  Domain domain{EpochOptions{.max_pending = 1}};
  Map<> map{domain};

  ReaderAgainstTrim() {
    for (int key = 1; key <= 3; ++key) map.Insert(key, 10 * key);
    map.Erase(3);
    map.Erase(2);
  }
  void thread(unsigned id) {
    if (id == 0) {
      map.Trim();
      domain.TryReclaim();
      return;
    }
    HOTPATH_CHECK(Look(map, 1) == 10, "an entry was lost while the map shrank");
    HOTPATH_CHECK(Look(map, 2) == 0, "an erased entry came back");
  }
  void finish() { HOTPATH_CHECK(map.Stats().capacity == 4 && map.Stats().rebuilds == 2 && Look(map, 1) == 10); }
};

// Two writers of different keys: whoever comes first replaces the table.
struct TwoWritersAndGrowth : Model<TwoWritersAndGrowth, 3> {
  Domain domain;
  Map<> map{domain};

  TwoWritersAndGrowth() {
    map.Insert(1, 10);
    map.Insert(2, 20);
  }
  void thread(unsigned id) {
    if (id == 0) return static_cast<void>(map.Insert(3, 30));
    if (id == 1) return static_cast<void>(map.Insert(4, 40));
    HOTPATH_CHECK(Look(map, 2) == 20, "an entry was lost while the map grew");
  }
  void finish() {
    for (int key = 1; key <= 4; ++key) HOTPATH_CHECK(Look(map, key) == 10 * key);
    HOTPATH_CHECK(map.size() == 4 && map.Stats().rebuilds == 1);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(
      argc, argv,
      {HOTPATH_MODEL(ReaderAgainstRemover), HOTPATH_MODEL(ReaderAgainstReplacer),
       HOTPATH_MODEL(ReaderAgainstGrowth<Home>), HOTPATH_MODEL(ReaderAgainstGrowth<Last>),
       HOTPATH_MODEL(SlotsAreReusedInFrontOfAReader), HOTPATH_MODEL(TwoInserters),
       HOTPATH_MODEL(IterationAgainstWriter), HOTPATH_MODEL(MarkedAfterAnInsert), HOTPATH_MODEL(EmptiedAfterAnInsert),
       HOTPATH_MODEL(IterationAfterAMark), HOTPATH_MODEL(IterationAfterAnEmptying), HOTPATH_MODEL(EraseAfterGrowth),
       HOTPATH_MODEL(ReaderAgainstTrim), HOTPATH_MODEL(TwoWritersAndGrowth)});
}
