// The input is a program for EpochFdTables. The first byte chooses the limit and the room at the start, the second how
// many objects may be pending. Then each three bytes are one operation, a number and an argument; a std::map from
// numbers to ids, in which the lowest free one is searched, is the oracle. Up to four tables live at once, made by
// Clone. Objects are counted: each is alive as long as something refers to it, and destroyed once.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/epoch.h"
#include "hotpath/core/epoch_fd_table.h"

namespace {

using hotpath::Code;
using hotpath::FdFlags;

struct File {
  File(int i, int* counter) : id(i), live(counter) { ++*live; }
  ~File() {
    HOTPATH_CHECK(id >= 0, "destroyed twice");
    id = -1;
    --*live;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int id;
  int* live;
};

using Table = hotpath::EpochFdTable<File>;

struct Descriptor {
  int id;
  FdFlags flags;
  uint64_t generation;
};

// A table and its oracle.
struct Pair {
  std::unique_ptr<Table> table;
  std::map<int, Descriptor> oracle;
  int limit;
  uint64_t newest = 0;

  int LowestFree(int fd) const {
    while (oracle.contains(fd)) ++fd;
    return fd;
  }
  void Opened(int fd, int id, FdFlags flags) {
    const uint64_t generation = table->Generation(fd);
    HOTPATH_CHECK(generation > newest, "a generation was given before");
    newest = generation;
    oracle[fd] = {id, flags, generation};
  }
  // What is at `fd` is what the oracle says.
  void CheckOne(int fd) const {
    const auto it = oracle.find(fd);
    const Table::Ref ref = table->Get(fd);
    HOTPATH_CHECK(static_cast<bool>(ref) == (it != oracle.end()), "open or closed wrongly");
    HOTPATH_CHECK(table->GetShared(fd).get() == ref.get());
    if (!ref) {
      HOTPATH_CHECK(table->Generation(fd) == 0 && table->GetFlags(fd).code() == Code::kEBADF);
      return;
    }
    HOTPATH_CHECK(ref->id == it->second.id, "another object");
    HOTPATH_CHECK(table->Generation(fd) == it->second.generation);
    HOTPATH_CHECK(table->GetFlags(fd).value() == it->second.flags);
  }
  void CheckAll() const {
    HOTPATH_CHECK(table->size() == oracle.size());
    auto it = oracle.begin();
    table->ForEach([&](int fd, const std::shared_ptr<File>& file, FdFlags flags) {
      HOTPATH_CHECK(it != oracle.end() && it->first == fd && it->second.id == file->id && it->second.flags == flags);
      ++it;
    });
    HOTPATH_CHECK(it == oracle.end());
  }
};

class Program {
 public:
  Program(uint8_t sizes, uint8_t pending)
      : domain_(hotpath::EpochOptions{.max_pending = size_t{1} + pending % 40u}),
        limit_(kLimits[sizes % kLimits.size()]) {
    pairs_.emplace_back();
    pairs_[0].table = std::make_unique<Table>(
        hotpath::FdTableOptions{.initial = kInitial[sizes / kLimits.size() % kInitial.size()], .limit = limit_},
        domain_);
    pairs_[0].limit = limit_;
  }
  ~Program() {
    kept_.clear();
    pairs_.clear();
    domain_.Synchronize();
    HOTPATH_CHECK(live_ == 0, "an object was not destroyed");
  }

  void Step(uint8_t op, uint8_t number, uint8_t arg) {
    Pair& pair = pairs_[op / 16 % pairs_.size()];
    Table& table = *pair.table;
    const int fd = static_cast<int8_t>(number) < -120 ? static_cast<int8_t>(number) : number * (arg % 8 == 7 ? 9 : 1);
    const FdFlags flags{.close_on_exec = arg % 2 == 1};
    const int id = ++last_id_;
    switch (op % 16) {
      case 0:
      case 1:
      case 2: {
        const int min_fd = op % 16 == 0 ? 0 : fd;
        const int expected = pair.LowestFree(min_fd);
        const hotpath::Result<int> got = arg % 4 < 2 ? table.Insert(std::make_unique<File>(id, &live_), flags, min_fd)
                                                     : table.Insert(std::make_shared<File>(id, &live_), flags, min_fd);
        if (min_fd < 0) {
          HOTPATH_CHECK(got.code() == Code::kEINVAL);
        } else if (expected >= pair.limit) {
          HOTPATH_CHECK(got.code() == Code::kEMFILE);
        } else {
          HOTPATH_CHECK(got.ok() && *got == expected, "not the lowest free number");
          pair.Opened(expected, id, flags);
        }
        break;
      }
      case 3:
      case 4: {
        const auto before = pair.oracle.find(fd);
        const bool was_open = before != pair.oracle.end();
        const auto got = table.InsertAt(fd, std::make_shared<File>(id, &live_), flags);
        HOTPATH_CHECK(got.ok() == (fd >= 0 && fd < pair.limit));
        if (!got.ok()) break;
        HOTPATH_CHECK((*got != nullptr) == was_open && (!was_open || (*got)->id == before->second.id));
        pair.Opened(fd, id, flags);
        break;
      }
      case 5:
      case 6: {
        const auto before = pair.oracle.find(fd);
        const auto got = table.Remove(fd);
        HOTPATH_CHECK(got.ok() == (before != pair.oracle.end()));
        if (!got.ok()) break;
        HOTPATH_CHECK(got->object->id == before->second.id && got->flags == before->second.flags &&
                      got->generation == before->second.generation);
        pair.oracle.erase(before);
        break;
      }
      case 7: {  // dup2
        std::shared_ptr<File> file = table.GetShared(arg);
        if (file == nullptr) break;
        const int same = file->id;
        if (table.InsertAt(fd, std::move(file), flags).ok()) pair.Opened(fd, same, flags);
        break;
      }
      case 8:
        HOTPATH_CHECK(table.SetFlags(fd, flags).ok() == pair.oracle.contains(fd));
        if (pair.oracle.contains(fd)) pair.oracle[fd].flags = flags;
        break;
      case 9: {
        size_t closed = std::erase_if(pair.oracle, [](const auto& entry) { return entry.second.flags.close_on_exec; });
        HOTPATH_CHECK(table.CloseOnExec() == closed);
        break;
      }
      case 10:  // fork
        if (pairs_.size() == 4) {
          pairs_.erase(pairs_.begin() + 1 + arg % 3);
        } else {
          Pair child{std::unique_ptr<Table>(new Table(table.Clone())), pair.oracle, pair.limit, pair.newest};
          child.CheckAll();
          pairs_.push_back(std::move(child));
        }
        return CheckEveryTable();
      case 11:
        pair.limit = arg % 4 == 0 ? limit_ : number;
        table.SetLimit(pair.limit);
        HOTPATH_CHECK(table.limit() == pair.limit);
        break;
      case 12: {  // a reference, over what happens meanwhile
        const Table::Ref ref = table.Get(fd);
        const int seen = ref ? ref->id : 0;
        if (pair.oracle.contains(fd)) {
          HOTPATH_CHECK(table.Remove(fd).ok());
          pair.oracle.erase(fd);
        }
        domain_.TryReclaim();
        HOTPATH_CHECK(!ref || ref->id == seen, "destroyed under a reference");
        break;
      }
      case 13:
        kept_.push_back(table.GetShared(fd));
        if (kept_.size() > 8) kept_.erase(kept_.begin(), kept_.begin() + 1 + arg % 8);
        for (const auto& file : kept_) HOTPATH_CHECK(file == nullptr || file->id > 0, "destroyed under a shared_ptr");
        break;
      case 14:
        domain_.Synchronize();
        CheckLive();
        break;
      default:
        return CheckEveryTable();
    }
    pair.CheckOne(fd);
    pair.CheckOne(arg);
  }

 private:
  static constexpr std::array kLimits = {0, 1, 2, 63, 64, 65, 129, 2000};
  static constexpr std::array kInitial = {0, 1, 64, 300};

  void CheckEveryTable() const {
    for (const Pair& pair : pairs_) pair.CheckAll();
  }
  // With nothing pending, the objects alive are those that something refers to.
  void CheckLive() const {
    std::map<int, int> referred;
    for (const Pair& pair : pairs_) {
      for (const auto& [fd, descriptor] : pair.oracle) ++referred[descriptor.id];
    }
    for (const auto& file : kept_) {
      if (file != nullptr) ++referred[file->id];
    }
    HOTPATH_CHECK(live_ == static_cast<int>(referred.size()), "an object lives too long or died too early");
  }

  int live_ = 0;
  hotpath::EpochDomain domain_;
  const int limit_;
  int last_id_ = 0;
  std::vector<Pair> pairs_;
  std::vector<std::shared_ptr<File>> kept_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Program program(data[0], data[1]);
  for (size_t at = 2; at + 3 <= size && at < 3'000; at += 3) program.Step(data[at], data[at + 1], data[at + 2]);
  return 0;
}
