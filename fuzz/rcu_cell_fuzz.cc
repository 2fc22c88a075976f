// The input is a program for an RcuCell: each pair of bytes is one operation with an argument. The oracle is the list
// of all values ever written; Snapshots and shared values remember which of them they must be.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/epoch.h"
#include "hotpath/core/rcu_cell.h"

namespace {

int g_alive = 0;

struct Value {
  explicit Value(uint64_t number) : number(number), text(number % 40, static_cast<char>('a' + number % 26)) {
    ++g_alive;
  }
  Value(Value&& other) noexcept : number(other.number), text(std::move(other.text)) { ++g_alive; }
  ~Value() {
    --g_alive;
    number = ~number;
  }
  bool Is(uint64_t n) const { return number == n && text == std::string(n % 40, static_cast<char>('a' + n % 26)); }
  uint64_t number;
  std::string text;
};

class Program {
 public:
  explicit Program(uint8_t choice)
      : domain_(hotpath::EpochOptions{.max_pending = size_t{1} << choice % 8}),
        cell_(std::make_unique<hotpath::RcuCell<Value>>(Value(0), domain_)) {}

  void Step(uint8_t op, uint8_t arg) {
    const uint64_t next = last_ + 1;
    switch (op % 11) {
      case 0:
        cell_->Store(Value(next));
        Wrote(next);
        break;
      case 1:
        Keep(cell_->Exchange(Value(next)), current_);
        Wrote(next);
        break;
      case 2:
        cell_->Update([&](const Value& old) {
          HOTPATH_CHECK(old.Is(current_), "Update got another value");
          return Value(next);
        });
        Wrote(next);
        break;
      case 3:
        try {
          cell_->Update([&](const Value&) -> Value { throw arg; });
          HOTPATH_CHECK(false, "an exception was swallowed");
        } catch (uint8_t thrown) {
          HOTPATH_CHECK(thrown == arg);
        }
        break;
      case 4:
        if (snapshots_.size() < 8) snapshots_.push_back({current_, cell_->Load()});
        break;
      case 5:
        if (snapshots_.empty()) break;
        std::swap(snapshots_[arg % snapshots_.size()], snapshots_.back());
        snapshots_.pop_back();
        break;
      case 6:
        Keep(cell_->LoadShared(), current_);
        break;
      case 7:
        if (!shared_.empty()) shared_.erase(shared_.begin() + arg % static_cast<ptrdiff_t>(shared_.size()));
        break;
      case 8: {
        if (snapshots_.empty()) break;
        const auto& [number, snapshot] = snapshots_[arg % snapshots_.size()];
        const bool stored = cell_->CompareAndStore(snapshot, Value(next));
        HOTPATH_CHECK(stored == (number == current_), "stored over another value, or not over the one seen");
        if (stored) Wrote(next);
        break;
      }
      case 9:
        domain_.TryReclaim();
        if (snapshots_.empty()) {
          HOTPATH_CHECK(domain_.Stats().pending == 0);
          std::vector<const Value*> kept = {cell_->Load().get()};
          for (const auto& [number, value] : shared_) {
            bool known = false;
            for (const Value* other : kept) known |= other == value.get();
            if (!known) kept.push_back(value.get());
          }
          HOTPATH_CHECK(static_cast<size_t>(g_alive) == kept.size(), "a value leaked or ended early");
        }
        break;
      default:
        cell_ = std::make_unique<hotpath::RcuCell<Value>>(Value(next), domain_);
        Wrote(next);
    }
    HOTPATH_CHECK(cell_->Read([&](const Value& value) { return value.Is(current_); }), "not what was written last");
    for (const auto& [number, snapshot] : snapshots_) HOTPATH_CHECK(snapshot->Is(number), "a Snapshot changed");
    for (const auto& [number, value] : shared_) HOTPATH_CHECK(value->Is(number), "a shared value changed");
  }

 private:
  void Wrote(uint64_t number) { current_ = last_ = number; }
  void Keep(std::shared_ptr<const Value> value, uint64_t number) {
    if (shared_.size() < 8) shared_.emplace_back(number, std::move(value));
  }

  hotpath::EpochDomain domain_;
  std::unique_ptr<hotpath::RcuCell<Value>> cell_;
  uint64_t current_ = 0, last_ = 0;
  std::vector<std::pair<uint64_t, hotpath::RcuCell<Value>::Snapshot>> snapshots_;
  std::vector<std::pair<uint64_t, std::shared_ptr<const Value>>> shared_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  {
    Program program(data[0]);
    for (size_t i = 1; i + 1 < size; i += 2) program.Step(data[i], data[i + 1]);
  }
  HOTPATH_CHECK(g_alive == 0, "a value leaked");
  return 0;
}
