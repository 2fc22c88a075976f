#include <array>
#include <cstdint>

#include "hotpath/core/seqlock_stats.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct Pair {
  uint64_t left = 0, right = 0;
};

void Bump(Pair& pair) {
  ++pair.left;
  ++pair.right;
}

template <uint32_t kSlots>
using Cell = BasicSeqlockStats<Pair, SeqlockOptions{.slots = kSlots}, RelacySync>;

// Reads twice: each value is whole, and none is older than the one before. False if the cell refused either read.
template <class C>
bool ReadTwice(const C& cell) {
  bool accepted = true;
  uint64_t newest = 0;
  for (int i = 0; i < 2; ++i) {
    Pair seen;
    if (!cell.TryRead(seen)) {
      accepted = false;
      continue;
    }
    HOTPATH_CHECK(seen.left == seen.right, "a mixture of two versions");
    HOTPATH_CHECK(seen.left >= newest, "a thread's reads went back");
    newest = seen.left;
  }
  return accepted;
}

// One writer publishes kWrites times while a reader reads, so that the reader's copy may span all of them. A reader is
// refused only if a write begins that uses its slot again: fewer writes than slots never do that.
template <uint32_t kSlots, uint64_t kWrites>
struct Spanning : Model<Spanning<kSlots, kWrites>, 2> {
  Cell<kSlots> cell;

  void thread(unsigned id) {
    if (id == 1) {
      const bool accepted = ReadTwice(cell);
      HOTPATH_CHECK(accepted || kWrites >= kSlots, "a reader was refused that no writer could have overtaken");
      return;
    }
    for (uint64_t i = 0; i < kWrites; ++i) cell.Write(Bump);
  }
  void finish() { HOTPATH_CHECK(cell.Read().left == kWrites); }
};
using OneSlot = Spanning<1, 2>;
using TwoSlotsJustNotReused = Spanning<2, 1>;
using TwoSlotsReused = Spanning<2, 2>;
using TwoSlotsReusedTwice = Spanning<2, 4>;
using ThreeSlotsJustNotReused = Spanning<3, 2>;
using ThreeSlotsReused = Spanning<3, 4>;
using FourSlotsJustNotReused = Spanning<4, 3>;
using FourSlotsReused = Spanning<4, 5>;

// Two writers and a reader: no update is lost, by Write or by Add, whatever field it touches.
template <uint32_t kSlots>
struct TwoWriters : Model<TwoWriters<kSlots>, 3> {
  Cell<kSlots> cell;

  void thread(unsigned id) {
    if (id < 2) return cell.Write(Bump);
    ReadTwice(cell);
  }
  void finish() {
    const Pair end = cell.Read();
    HOTPATH_CHECK(end.left == 2 && end.right == 2, "an update was lost");
  }
};
using TwoWritersOneSlot = TwoWriters<1>;
using TwoWritersTwoSlots = TwoWriters<2>;
using TwoWritersThreeSlots = TwoWriters<3>;

// A value whose last word is half full.
struct PartialLastWord : Model<PartialLastWord, 2> {
  using Three = std::array<uint32_t, 3>;
  BasicSeqlockStats<Three, SeqlockOptions{.slots = 2}, RelacySync> cell;

  void thread(unsigned id) {
    for (uint32_t i = 1; id == 0 && i <= 3; ++i) cell.Store({i, i, i});
    Three seen{9, 9, 9};
    if (cell.TryRead(seen)) {
      HOTPATH_CHECK(seen[0] == seen[1] && seen[1] == seen[2] && seen[2] <= 3, "a mixture of two versions");
    } else {
      HOTPATH_CHECK(id == 1 && seen == (Three{9, 9, 9}), "a refused read wrote something");
    }
  }
  void finish() { HOTPATH_CHECK(cell.Read() == (Three{3, 3, 3})); }
};

template <uint32_t kSlots>
struct AddAgainstWrite : Model<AddAgainstWrite<kSlots>, 3> {
  Cell<kSlots> cell;

  void thread(unsigned id) {
    if (id == 0) return cell.template Add<&Pair::left>(10);
    if (id == 1) return cell.Write(Bump);
    Pair seen;
    if (!cell.TryRead(seen)) return;
    HOTPATH_CHECK(seen.left == seen.right || seen.left == seen.right + 10, "a mixture of two versions");
  }
  void finish() {
    const Pair end = cell.Read();
    HOTPATH_CHECK(end.left == 11 && end.right == 1, "an update was lost");
  }
};
using AddAgainstWriteOneSlot = AddAgainstWrite<1>;
using AddAgainstWriteTwoSlots = AddAgainstWrite<2>;

// An edit that throws publishes nothing and lets the next writer in, who sees all that was published before.
template <uint32_t kSlots>
struct ThrowingEdit : Model<ThrowingEdit<kSlots>, 3> {
  Cell<kSlots> cell;

  void thread(unsigned id) {
    if (id == 0) return cell.Store(Pair{1, 1});
    if (id == 1) {
      try {
        cell.Write([](Pair& pair) {
          pair.left = 100;
          throw 1;
        });
      } catch (int) {
      }
      return cell.Write(Bump);
    }
    ReadTwice(cell);
  }
  void finish() {
    const Pair end = cell.Read();
    HOTPATH_CHECK(end.left == end.right && (end.left == 1 || end.left == 2));
  }
};
using ThrowingEditOneSlot = ThrowingEdit<1>;
using ThrowingEditTwoSlots = ThrowingEdit<2>;

// Read, as opposed to TryRead, comes back with what happened before it: the writer tells the reader through `told`.
template <uint32_t kSlots>
struct ReadSeesWhatHappenedBefore : Model<ReadSeesWhatHappenedBefore<kSlots>, 2> {
  Cell<kSlots> cell;
  RelacySync::Atomic<uint32_t> told{0};

  void thread(unsigned id) {
    if (id == 0) {
      cell.Write(Bump);
      told.store(1, std::memory_order::release);
      cell.Write(Bump);
      return;
    }
    const uint64_t at_least = told.load(std::memory_order::acquire);
    const Pair seen = cell.Read();
    HOTPATH_CHECK(seen.left == seen.right && seen.left >= at_least, "a read is older than what it was told of");
  }
};
using ReadSeesWhatHappenedBeforeOneSlot = ReadSeesWhatHappenedBefore<1>;
using ReadSeesWhatHappenedBeforeTwoSlots = ReadSeesWhatHappenedBefore<2>;

// Lock-free, counted: each refusal costs the writer slots - 1 writes, so kWrites of them refuse a reader only so often.
template <uint32_t kSlots, uint64_t kWrites>
struct RefusalsAreBounded : Model<RefusalsAreBounded<kSlots, kWrites>, 2> {
  static constexpr uint64_t kMostRefusals = (kWrites - kSlots) / (kSlots - 1) + 1;

  Cell<kSlots> cell;

  void thread(unsigned id) {
    if (id == 0) {
      for (uint64_t i = 0; i < kWrites; ++i) cell.Store(Pair{i, i});
      return;
    }
    Pair seen;
    uint64_t refusals = 0;
    while (!cell.TryRead(seen)) HOTPATH_CHECK(++refusals <= kMostRefusals, "refused without being overtaken again");
  }
};
using RefusalsAreBoundedTwoSlots = RefusalsAreBounded<2, 2>;
using RefusalsAreBoundedTwoSlotsLonger = RefusalsAreBounded<2, 4>;
using RefusalsAreBoundedThreeSlots = RefusalsAreBounded<3, 5>;

// While an edit is stuck, readers go on: the edit ends only when a Read has returned.
template <uint32_t kSlots>
struct ReadersPassAStuckEdit : Model<ReadersPassAStuckEdit<kSlots>, 2> {
  Cell<kSlots> cell;
  RelacySync::Atomic<uint32_t> read{0};

  void thread(unsigned id) {
    if (id == 0) {
      cell.Write(Bump);
      return cell.Write([&](Pair& pair) {
        while (read.load(std::memory_order::relaxed) == 0) RelacySync::Pause();
        Bump(pair);
      });
    }
    const Pair seen = cell.Read();
    HOTPATH_CHECK(seen.left == seen.right && seen.left <= 1);
    read.store(1, std::memory_order::relaxed);
  }
};
using ReadersPassAStuckEditOneSlot = ReadersPassAStuckEdit<1>;
using ReadersPassAStuckEditTwoSlots = ReadersPassAStuckEdit<2>;

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(argc, argv,
              {HOTPATH_MODEL(OneSlot),
               HOTPATH_MODEL(TwoSlotsJustNotReused),
               HOTPATH_MODEL(TwoSlotsReused),
               HOTPATH_MODEL(TwoSlotsReusedTwice),
               HOTPATH_MODEL(ThreeSlotsJustNotReused),
               HOTPATH_MODEL(ThreeSlotsReused),
               HOTPATH_MODEL(FourSlotsJustNotReused),
               HOTPATH_MODEL(FourSlotsReused),
               HOTPATH_MODEL(TwoWritersOneSlot),
               HOTPATH_MODEL(TwoWritersTwoSlots),
               HOTPATH_MODEL(TwoWritersThreeSlots),
               HOTPATH_MODEL(PartialLastWord),
               HOTPATH_MODEL(AddAgainstWriteOneSlot),
               HOTPATH_MODEL(AddAgainstWriteTwoSlots),
               HOTPATH_MODEL(ThrowingEditOneSlot),
               HOTPATH_MODEL(ThrowingEditTwoSlots),
               HOTPATH_MODEL(ReadSeesWhatHappenedBeforeOneSlot),
               HOTPATH_MODEL(ReadSeesWhatHappenedBeforeTwoSlots),
               HOTPATH_MODEL(RefusalsAreBoundedTwoSlots),
               HOTPATH_MODEL(RefusalsAreBoundedTwoSlotsLonger),
               HOTPATH_MODEL(RefusalsAreBoundedThreeSlots),
               HOTPATH_MODEL(ReadersPassAStuckEditOneSlot),
               HOTPATH_MODEL(ReadersPassAStuckEditTwoSlots)});
}
