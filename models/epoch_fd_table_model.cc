#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "hotpath/core/epoch.h"
#include "hotpath/core/epoch_fd_table.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

// Using one that was not handed over, or is destroyed, or is being destroyed, is a data race.
struct File {
  explicit File(int n) : id(n) {}
  RelacySync::Var<int> id;
};
using Table = BasicEpochFdTable<File, RelacySync>;

// A table with descriptor 0 open, for file 1, unless it is to begin empty. Garbage is reclaimed as early as it can be.
template <class M, int kThreadCount, int kInitial = 2, bool kEmpty = false>
struct TableModel : Model<M, kThreadCount> {
  BasicEpochDomain<RelacySync> domain{EpochOptions{.max_pending = 1, .when_full = EpochOptions::kGrow}};
  Table table{FdTableOptions{.initial = kInitial, .limit = 4}, domain};
  // Whatever is kept to the end. The count in a shared_ptr is not modelled: when it is all that orders a use and a
  // destruction, they would be taken for a race.
  std::shared_ptr<File> kept[4];

  TableModel() {
    if (!kEmpty) HOTPATH_CHECK(Open(1) == 0);
  }
  int Open(int id) {
    const Result<int> fd = table.Insert(std::make_unique<File>(id));
    return fd.ok() ? *fd : -1;
  }
  void Replace(int fd, int id) { HOTPATH_CHECK(table.InsertAt(fd, std::make_unique<File>(id)).ok()); }
  bool Close(int fd) { return table.Remove(fd).ok(); }
  // The id of the file, 0 if it is closed.
  int Look(int fd) const {
    const Table::Ref ref = table.Get(fd);
    return ref ? ref->id.Read() : 0;
  }
  int LookAndKeep(int fd, int where) {
    kept[where] = table.GetShared(fd);
    return kept[where] == nullptr ? 0 : kept[where]->id.Read();
  }
};

// A reader that comes twice, one that closes, and one that opens the same number again.
struct NumberIsUsedAgain : TableModel<NumberIsUsedAgain, 3> {
  void thread(unsigned id) {
    if (id == 1) {
      HOTPATH_CHECK(Close(0), "nobody else closes it");
    } else if (id == 2) {
      const int fd = Open(2);
      HOTPATH_CHECK(fd == 0 || fd == 1, "not the lowest free number");
    } else {
      bool was_closed = false;
      for (int i = 0; i < 2; ++i) {
        const int seen = Look(0);
        HOTPATH_CHECK(seen == 0 || seen == 1 || seen == 2);
        HOTPATH_CHECK(!was_closed || seen != 1, "a closed descriptor came back");
        was_closed |= seen != 1;
      }
    }
  }
  void finish() { HOTPATH_CHECK(table.size() == 1 && (Look(0) == 2) != (Look(1) == 2)); }
};
struct NumberIsUsedAgainShared : TableModel<NumberIsUsedAgainShared, 3> {
  void thread(unsigned id) {
    if (id == 1) {
      HOTPATH_CHECK(Close(0));
    } else if (id == 2) {
      HOTPATH_CHECK(Open(2) >= 0);
    } else {
      const int first = LookAndKeep(0, 0);
      const int second = LookAndKeep(0, 1);
      HOTPATH_CHECK(first == 1 || second != 1, "a closed descriptor came back");
    }
  }
};

struct InserterIsNotTheRemover : TableModel<InserterIsNotTheRemover, 3, 2, true> {
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(Open(1) == 0);
    } else if (id == 1) {
      const Result<Table::Removed> removed = table.Remove(0);
      if (removed.ok()) HOTPATH_CHECK((*removed).object->id.Read() == 1 && (*removed).generation == 1);
    } else {
      const int seen = Look(0);
      HOTPATH_CHECK(seen == 0 || seen == 1);
    }
  }
};

struct TwoReadersOfOneClosing : TableModel<TwoReadersOfOneClosing, 3> {
  void thread(unsigned id) {
    if (id == 2) return HOTPATH_CHECK(Close(0));
    const int seen = Look(0);
    HOTPATH_CHECK(seen == 0 || seen == 1);
  }
};

// Both kinds of look-up, in both orders, while the descriptor is replaced twice: never closed, never back.
struct ReplacedTwice : TableModel<ReplacedTwice, 2> {
  void thread(unsigned id) {
    if (id == 1) {
      Replace(0, 2);
      return Replace(0, 3);
    }
    const int first = LookAndKeep(0, 0);
    const int second = Look(0);
    const int third = LookAndKeep(0, 1);
    HOTPATH_CHECK(first >= 1 && first <= second && second <= third && third <= 3, "looks went back");
  }
  void finish() { HOTPATH_CHECK(Look(0) == 3 && table.size() == 1); }
};
struct TwoReadersOfOneReplacement : TableModel<TwoReadersOfOneReplacement, 3> {
  void thread(unsigned id) {
    if (id == 2) return Replace(0, 2);
    const int first = id == 0 ? Look(0) : LookAndKeep(0, 0);
    const int second = id == 0 ? Look(0) : LookAndKeep(0, 1);
    HOTPATH_CHECK(first >= 1 && first <= second && second <= 2);
  }
};
// Replaced by its own file: the object does not change, its owner does.
struct ReplacedByItself : TableModel<ReplacedByItself, 2> {
  void thread(unsigned id) {
    if (id == 1) {
      for (int i = 0; i < 2; ++i) {
        HOTPATH_CHECK((*table.InsertAt(0, table.GetShared(0))) == table.GetShared(0));
      }
      return;
    }
    HOTPATH_CHECK(LookAndKeep(0, 0) == 1 && Look(0) == 1);
  }
};

// A descriptor is closed and opened again while a reader is between its loads of the object and of the node.
struct SharedWhileReopened : TableModel<SharedWhileReopened, 2> {
  void thread(unsigned id) {
    if (id == 1) {
      HOTPATH_CHECK(Close(0));
      HOTPATH_CHECK(Open(2) == 0);
      return Replace(0, 3);
    }
    const int seen = LookAndKeep(0, 0);
    HOTPATH_CHECK(seen >= 0 && seen <= 3);
  }
};

// A descriptor is moved to a higher number: who comes too late for the old one finds it at the new one.
template <bool kShared>
struct Moved : TableModel<Moved<kShared>, 2> {
  using Base = TableModel<Moved<kShared>, 2>;
  void thread(unsigned id) {
    if (id == 1) {
      HOTPATH_CHECK(Base::table.Insert(Base::table.GetShared(0)).value() == 1);
      return HOTPATH_CHECK(Base::Close(0));
    }
    const int first = kShared ? Base::LookAndKeep(0, 0) : Base::Look(0);
    const int second = kShared ? Base::LookAndKeep(1, 1) : Base::Look(1);
    HOTPATH_CHECK(first == 1 || second == 1, "at neither number");
  }
};
using MovedDescriptor = Moved<false>;
using MovedDescriptorShared = Moved<true>;

// The room grows under readers: what is open stays open, and what is closed afterwards is closed for all.
struct GrowsUnderReaders : TableModel<GrowsUnderReaders, 3, 1> {
  void thread(unsigned id) {
    if (id == 2) {
      HOTPATH_CHECK(Open(2) == 1);
      HOTPATH_CHECK(Open(3) == 2);
      return;
    }
    const int last = id == 0 ? Look(1) : LookAndKeep(1, 0);
    HOTPATH_CHECK(last == 0 || last == 2);
    HOTPATH_CHECK((id == 0 ? Look(0) : LookAndKeep(0, 1)) == 1, "growth lost a descriptor");
  }
};
struct GrowsThenCloses : TableModel<GrowsThenCloses, 2, 1> {
  void thread(unsigned id) {
    if (id == 1) {
      HOTPATH_CHECK(Open(2) == 1);
      HOTPATH_CHECK(Close(0));
      HOTPATH_CHECK(Open(3) == 0);
      return;
    }
    const int first = Look(0);
    const int second = LookAndKeep(0, 0);
    HOTPATH_CHECK(first <= 3 && (first == 1 || second != 1));
  }
};

// Numbers are unique and the lowest, and there are no more than the limit.
struct ThreeInserters : TableModel<ThreeInserters, 3, 1, true> {
  int got[3] = {};

  void thread(unsigned id) {
    if (id == 0) table.SetLimit(2);
    got[id] = Open(static_cast<int>(id) + 10);
  }
  void finish() {
    int seen[4] = {};
    for (const int fd : got) ++seen[fd + 1];
    HOTPATH_CHECK(seen[1] == 1 && seen[2] == 1, "not the lowest numbers");
    HOTPATH_CHECK(seen[0] == 1, "the last one is refused");
    for (int i = 0; i < 3; ++i) HOTPATH_CHECK(got[i] < 0 || Look(got[i]) == i + 10);
  }
};

struct TwoRemovers : TableModel<TwoRemovers, 3> {
  bool won[2] = {};

  void thread(unsigned id) {
    if (id == 2) {
      const int seen = Look(0);
      HOTPATH_CHECK(seen == 0 || seen == 1);
      return;
    }
    Result<Table::Removed> removed = table.Remove(0);
    won[id] = removed.ok();
    if (removed.ok()) kept[id] = std::move((*removed).object);
  }
  void finish() { HOTPATH_CHECK(won[0] != won[1], "closed once, and only once"); }
};

// Two threads retire in the same domain while a third one reads, so that either may destroy the other's garbage.
struct TwoReclaimers : TableModel<TwoReclaimers, 3> {
  void thread(unsigned id) {
    if (id < 2) {
      Result<std::shared_ptr<File>> replaced = table.InsertAt(0, std::make_unique<File>(static_cast<int>(id) + 2));
      kept[id] = *std::move(replaced);
      return;
    }
    HOTPATH_CHECK(LookAndKeep(0, 2) >= 1);
  }
  void finish() { HOTPATH_CHECK((kept[0]->id.Read() == 1) != (kept[1]->id.Read() == 1), "one replaced the other"); }
};

struct CloneAgainstRemove : TableModel<CloneAgainstRemove, 2> {
  void thread(unsigned id) {
    if (id == 1) {
      kept[0] = table.Remove(0).value().object;
      HOTPATH_CHECK(Open(2) == 0);
      return;
    }
    const Table clone = table.Clone();
    const uint64_t generation = clone.Generation(0);
    kept[1] = clone.GetShared(0);
    HOTPATH_CHECK((generation == 0) == (kept[1] == nullptr) && clone.size() == (generation != 0));
    if (kept[1] != nullptr) HOTPATH_CHECK(kept[1]->id.Read() == static_cast<int>(generation), "not of one moment");
  }
};

struct ExecAgainstReaders : TableModel<ExecAgainstReaders, 3> {
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(table.CloseOnExec() <= 1);
    } else if (id == 1) {
      static_cast<void>(table.SetFlags(0, FdFlags{.close_on_exec = true}));
    } else {
      const int seen = Look(0);
      HOTPATH_CHECK(seen == 0 || seen == 1);
    }
  }
  void finish() { HOTPATH_CHECK(table.GetFlags(0).ok() == (Look(0) == 1)); }
};

// The lower number is closed first.
struct ExecOfTwo : TableModel<ExecOfTwo, 2> {
  ExecOfTwo() {
    HOTPATH_CHECK(Open(2) == 1);
    for (const int fd : {0, 1}) HOTPATH_CHECK(table.SetFlags(fd, FdFlags{.close_on_exec = true}).ok());
  }
  void thread(unsigned id) {
    if (id == 1) return HOTPATH_CHECK(table.CloseOnExec() == 2);
    const int second = Look(1);
    const int first = Look(0);
    HOTPATH_CHECK(second == 2 || first == 0);
  }
};

// A thread closes what it refers to, and ends while another reads.
struct ClosesItsOwnAndEnds : TableModel<ClosesItsOwnAndEnds, 2> {
  void thread(unsigned id) {
    if (id == 1) {
      const int seen = Look(0);
      HOTPATH_CHECK(seen == 0 || seen == 1);
      return;
    }
    {
      const Table::Ref ref = table.Get(0);
      HOTPATH_CHECK(Close(0));
      HOTPATH_CHECK(ref->id.Read() == 1);
    }
    RelacySync::EndThread();
    HOTPATH_CHECK(Look(0) == 0);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(
      argc, argv,
      {HOTPATH_MODEL(NumberIsUsedAgain), HOTPATH_MODEL(NumberIsUsedAgainShared), HOTPATH_MODEL(InserterIsNotTheRemover),
       HOTPATH_MODEL(TwoReadersOfOneClosing), HOTPATH_MODEL(ReplacedTwice), HOTPATH_MODEL(TwoReadersOfOneReplacement),
       HOTPATH_MODEL(ReplacedByItself), HOTPATH_MODEL(SharedWhileReopened), HOTPATH_MODEL(MovedDescriptor),
       HOTPATH_MODEL(MovedDescriptorShared), HOTPATH_MODEL(ExecOfTwo), HOTPATH_MODEL(GrowsUnderReaders),
       HOTPATH_MODEL(GrowsThenCloses), HOTPATH_MODEL(ThreeInserters), HOTPATH_MODEL(TwoRemovers),
       HOTPATH_MODEL(TwoReclaimers), HOTPATH_MODEL(CloneAgainstRemove), HOTPATH_MODEL(ExecAgainstReaders),
       HOTPATH_MODEL(ClosesItsOwnAndEnds)});
}
