// Looking up, keeping, opening and closing descriptors: EpochFdTable beside an array of pointers that nothing protects
// (the floor) and a vector of shared_ptrs under a shared_mutex, whose lowest free number is searched. Every row draws
// its descriptor at random, and every look-up reads the object. The goals are ratios between rows of one run.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "hotpath/core/epoch.h"
#include "hotpath/core/epoch_fd_table.h"

namespace hotpath {
namespace {

struct File {
  explicit File(uint64_t i) : id(i) {}
  uint64_t id;
  std::array<uint64_t, 7> rest = {};
};

// No protection: closing a descriptor under a reader is a use after free. Does not open or close.
class RawArray {
 public:
  explicit RawArray(size_t count) : size_(count), slots_(new std::atomic<File*>[count]) {
    for (size_t i = 0; i < count; ++i) {
      files_.push_back(std::make_shared<File>(i));
      slots_[i].store(files_[i].get(), std::memory_order::relaxed);
    }
  }
  uint64_t Look(int fd) const {
    if (static_cast<uint32_t>(fd) >= size_) return 0;
    const File* const file = slots_[static_cast<size_t>(fd)].load(std::memory_order::acquire);
    return file == nullptr ? 0 : file->id;
  }
  std::shared_ptr<File> Keep(int fd) const { return files_[static_cast<size_t>(fd)]; }

 private:
  const size_t size_;
  std::unique_ptr<std::atomic<File*>[]> slots_;
  std::vector<std::shared_ptr<File>> files_;
};

class SharedMutexVector {
 public:
  explicit SharedMutexVector(size_t count) {
    for (size_t i = 0; i < count; ++i) files_.push_back(std::make_shared<File>(i));
  }
  uint64_t Look(int fd) const {
    const std::shared_lock lock(mu_);
    if (static_cast<size_t>(fd) >= files_.size()) return 0;
    const File* const file = files_[static_cast<size_t>(fd)].get();
    return file == nullptr ? 0 : file->id;
  }
  std::shared_ptr<File> Keep(int fd) const {
    const std::shared_lock lock(mu_);
    return static_cast<size_t>(fd) < files_.size() ? files_[static_cast<size_t>(fd)] : nullptr;
  }
  int Open(std::shared_ptr<File> file) {
    const std::unique_lock lock(mu_);
    size_t fd = 0;
    while (fd < files_.size() && files_[fd] != nullptr) ++fd;
    if (fd == files_.size()) files_.emplace_back();
    files_[fd] = std::move(file);
    return static_cast<int>(fd);
  }
  void Close(int fd) {
    std::shared_ptr<File> closed;
    const std::unique_lock lock(mu_);
    closed = std::move(files_[static_cast<size_t>(fd)]);
  }

 private:
  mutable std::shared_mutex mu_;
  std::vector<std::shared_ptr<File>> files_;
};

class Ours {
 public:
  explicit Ours(size_t count) {
    for (size_t i = 0; i < count; ++i) Open(std::make_shared<File>(i));
  }
  uint64_t Look(int fd) const {
    const EpochFdTable<File>::Ref ref = table_.Get(fd);
    return ref ? ref->id : 0;
  }
  std::shared_ptr<File> Keep(int fd) const { return table_.GetShared(fd); }
  int Open(std::shared_ptr<File> file) { return table_.Insert(std::move(file)).value(); }
  void Close(int fd) { static_cast<void>(table_.Remove(fd)); }
  const EpochFdTable<File>& table() const { return table_; }

 private:
  EpochDomain domain_;
  EpochFdTable<File> table_{{}, domain_};
};

// In a process that had a second thread once: glibc and libstdc++ skip locks and atomics before that.
template <class Table>
class Hidden {
 public:
  explicit Hidden(size_t count) : table_(std::make_unique<Table>(count)), hidden_(table_.get()) {
    std::thread([] {}).join();
    benchmark::DoNotOptimize(hidden_);
  }
  Table* operator->() const { return hidden_; }

 private:
  std::unique_ptr<Table> table_;
  Table* hidden_;
};

class Numbers {
 public:
  explicit Numbers(size_t count) : mask_(count - 1) {}
  int operator()() {
    x_ ^= x_ << 13;
    x_ ^= x_ >> 7;
    x_ ^= x_ << 17;
    return static_cast<int>(x_ & mask_);
  }

 private:
  const uint64_t mask_;
  uint64_t x_ = 88172645463325252u;
};

template <class Table>
void BM_Look(benchmark::State& state) {
  const Hidden<Table> table(static_cast<size_t>(state.range(0)));
  Numbers number(static_cast<size_t>(state.range(0)));
  uint64_t sum = 0;
  for (auto _ : state) sum += table->Look(number());
  benchmark::DoNotOptimize(sum);
}

template <class Table>
void BM_Keep(benchmark::State& state) {
  const Hidden<Table> table(static_cast<size_t>(state.range(0)));
  Numbers number(static_cast<size_t>(state.range(0)));
  uint64_t sum = 0;
  for (auto _ : state) sum += table->Keep(number())->id;
  benchmark::DoNotOptimize(sum);
}

// Opens the lowest free number, which is above all others, and closes it again.
template <class Table>
void BM_OpenAndClose(benchmark::State& state) {
  const Hidden<Table> table(static_cast<size_t>(state.range(0)));
  for (auto _ : state) table->Close(table->Open(std::make_shared<File>(1)));
}
// What of it is the object's own: the allocation of one.
void BM_MakeFile(benchmark::State& state) {
  for (auto _ : state) {
    std::shared_ptr<File> file = std::make_shared<File>(1);
    benchmark::DoNotOptimize(file);
  }
}

void BM_Clone(benchmark::State& state) {
  const Hidden<Ours> table(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(table->table().Clone().size());
}

#define HOTPATH_ROWS(row, counts)  \
  BENCHMARK(row<RawArray>) counts; \
  BENCHMARK(row<Ours>) counts;     \
  BENCHMARK(row<SharedMutexVector>) counts

HOTPATH_ROWS(BM_Look, ->Arg(64)->Arg(1024)->Arg(65536));
HOTPATH_ROWS(BM_Keep, ->Arg(64)->Arg(1024));
BENCHMARK(BM_OpenAndClose<Ours>)->Arg(16)->Arg(1024)->Arg(65536);
BENCHMARK(BM_OpenAndClose<SharedMutexVector>)->Arg(16)->Arg(1024)->Arg(65536);
BENCHMARK(BM_MakeFile);
BENCHMARK(BM_Clone)->Arg(16)->Arg(1024);

}  // namespace
}  // namespace hotpath
