#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "hotpath/core/rcu_cell.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

using Domain = BasicEpochDomain<RelacySync>;

// A value whose end is a write, so that a read that is not ordered with it is seen.
struct Number {
  explicit Number(uint64_t n) : number(n) {}
  Number(Number&& other) noexcept : number(other.number.Read()) {}
  uint64_t Get() const { return number.Read(); }
  RelacySync::Var<uint64_t> number;
};

template <class M, int kThreads>
struct Cell : Model<M, kThreads> {
  Domain domain{EpochOptions{.max_pending = 4}};
  BasicRcuCell<Number, RelacySync> cell{Number(0), domain};

  uint64_t Read() {
    return cell.Read([](const Number& value) { return value.Get(); });
  }
  void Increment() {
    cell.Update([](const Number& value) { return Number(value.Get() + 1); });
  }
  void StoreAndReclaim(uint64_t number) {
    cell.Store(Number(number));
    domain.TryReclaim();
  }
};

struct ReaderReenters : Cell<ReaderReenters, 2> {
  void thread(unsigned id) {
    if (id == 0) {
      StoreAndReclaim(1);
      return StoreAndReclaim(2);
    }
    const uint64_t first = Read();
    HOTPATH_CHECK(Read() >= first, "a thread's reads went back");
  }
};

struct TwoWritersUpdate : Cell<TwoWritersUpdate, 3> {
  void thread(unsigned id) {
    if (id < 2) {
      Increment();
      return static_cast<void>(domain.TryReclaim());
    }
    const uint64_t first = Read();
    HOTPATH_CHECK(Read() >= first, "a thread's reads went back");
  }
  void finish() { HOTPATH_CHECK(Read() == 2, "an update was lost"); }
};

// Either the exchange saw the value that it replaces, or it did nothing.
struct CompareAndStoreAgainstUpdate : Cell<CompareAndStoreAgainstUpdate, 3> {
  bool stored = false;

  void thread(unsigned id) {
    if (id == 0) {
      Increment();
      return static_cast<void>(domain.TryReclaim());
    }
    if (id == 2) return static_cast<void>(Read());
    const auto seen = cell.Load();
    const uint64_t number = seen->Get();
    stored = cell.CompareAndStore(seen, Number(number + 10));
    HOTPATH_CHECK(seen->Get() == number, "a Snapshot changed");
  }
  void finish() { HOTPATH_CHECK(Read() == (stored ? 11u : 1u), "a write was lost, or one that failed took place"); }
};

// An address that is used again is not taken for the value that was there: the Snapshot keeps it from being used again.
struct CompareAndStoreAfterTwoStores : Cell<CompareAndStoreAfterTwoStores, 2> {
  void thread(unsigned id) {
    if (id == 0) {
      StoreAndReclaim(1);
      return StoreAndReclaim(2);
    }
    const auto seen = cell.Load();
    const uint64_t number = seen->Get();
    const bool stored = cell.CompareAndStore(seen, Number(3));
    HOTPATH_CHECK(number != 2 || stored, "nobody wrote after the second store");
  }
};

// Who drops the last reference to a shared value is ordered by the count in the std::shared_ptr, which models cannot
// see. So shared values are kept to the end, when all threads are ordered anyhow.
using Shared = std::shared_ptr<const Number>;

struct SharedValueOutlives : Cell<SharedValueOutlives, 3> {
  Shared shared[2];

  void thread(unsigned id) {
    if (id == 2) {
      StoreAndReclaim(1);
      return StoreAndReclaim(2);
    }
    shared[id] = cell.LoadShared();
    const uint64_t number = shared[id]->Get();
    domain.TryReclaim();
    HOTPATH_CHECK(shared[id]->Get() == number);
  }
};

struct ExchangedValueOutlives : Cell<ExchangedValueOutlives, 3> {
  Shared old[2];

  void thread(unsigned id) {
    if (id == 2) return static_cast<void>(Read());
    old[id] = cell.Exchange(Number(id + 1));
    domain.TryReclaim();
    old[id]->Get();
  }
  void finish() { HOTPATH_CHECK(old[0]->Get() + old[1]->Get() + Read() == 3, "each value is replaced by one writer"); }
};

// The cell ends while its values are still pinned and shared.
struct ValuesOutliveTheCell : Model<ValuesOutliveTheCell, 2> {
  Domain domain{EpochOptions{.max_pending = 4}};
  std::optional<BasicRcuCell<Number, RelacySync>> cell{std::in_place, Number(1), domain};
  Shared shared;
  RelacySync::Atomic<uint32_t> got{0};

  void thread(unsigned id) {
    if (id == 0) {
      const auto snapshot = cell->Load();
      got.store(1, std::memory_order::release);
      HOTPATH_CHECK(snapshot->Get() == 1);
      return;
    }
    shared = cell->LoadShared();
    while (got.load(std::memory_order::acquire) == 0) RelacySync::Pause();
    cell.reset();
    domain.TryReclaim();
    HOTPATH_CHECK(shared->Get() == 1);
  }
};

// One object may be pending. The writers wait for the reader, and the reader, who writes while pinned, for nobody.
struct PinnedWriterBesideFullDomain : Model<PinnedWriterBesideFullDomain, 2> {
  Domain domain{EpochOptions{.max_pending = 1}};
  BasicRcuCell<Number, RelacySync> cell{Number(0), domain};

  void thread(unsigned id) {
    if (id == 0) {
      for (uint64_t i = 1; i <= 3; ++i) cell.Store(Number(i));
      return;
    }
    const auto seen = cell.Load();
    cell.CompareAndStore(seen, Number(seen->Get()));
    seen->Get();
  }
};

// A cell is written inside the Update of another one, when no more may be pending. The reader, who is pinned, may wait
// for the lock of the first; so what is retired under that lock must not wait for the reader.
struct NestedWriteBesidePinnedWriter : Model<NestedWriteBesidePinnedWriter, 2> {
  Domain domain{EpochOptions{.max_pending = 1}};
  BasicRcuCell<Number, RelacySync> a{Number(0), domain}, b{Number(0), domain};
  bool stored = false;

  void thread(unsigned id) {
    if (id == 0) {
      a.Update([this](const Number& value) {
        for (uint64_t i = 1; i <= 2; ++i) b.Store(Number(i));
        return Number(value.Get() + 1);
      });
      return;
    }
    const auto seen = a.Load();
    stored = a.CompareAndStore(seen, Number(seen->Get() + 10));
    seen->Get();
  }
  void finish() {
    HOTPATH_CHECK(b.Load()->Get() == 2);
    HOTPATH_CHECK(a.Load()->Get() == (stored ? 11u : 1u), "a write was lost, or one that failed took place");
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(
      argc, argv,
      {HOTPATH_MODEL(ReaderReenters), HOTPATH_MODEL(TwoWritersUpdate), HOTPATH_MODEL(CompareAndStoreAgainstUpdate),
       HOTPATH_MODEL(CompareAndStoreAfterTwoStores), HOTPATH_MODEL(SharedValueOutlives),
       HOTPATH_MODEL(ExchangedValueOutlives), HOTPATH_MODEL(ValuesOutliveTheCell),
       HOTPATH_MODEL(PinnedWriterBesideFullDomain), HOTPATH_MODEL(NestedWriteBesidePinnedWriter)});
}
