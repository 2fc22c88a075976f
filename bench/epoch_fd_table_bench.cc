// Looking up, keeping, opening and closing descriptors: EpochFdTable beside arrays of pointers that nothing protects
// (the floors), a vector of shared_ptrs under a shared_mutex, arrays that liburcu protects, and a slot of xenium's
// epochs. Who opens knows below which number none is free, as Linux does. Every operation draws its descriptor at
// random, and every look-up reads the object.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/reclaimers.h"
#include "bench/base/rows.h"
#include "hotpath/core/epoch.h"
#include "hotpath/core/epoch_fd_table.h"

namespace hotpath::bench {
namespace {

constexpr size_t kOpen = 1024;  // descriptors
constexpr size_t kFew = 16;     // whose objects and what owns them fit into the L1 cache together

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

// A reader that says so, and a slot that holds what owns the object: a shared_ptr is two words, which no load reads
// together.
class AnnouncedArray {
 public:
  explicit AnnouncedArray(size_t count) : array_(count), owners_(count) {
    for (size_t i = 0; i < count; ++i) {
      owners_[i].store(new std::shared_ptr<File>(array_.Keep(static_cast<int>(i))), std::memory_order::relaxed);
    }
  }
  ~AnnouncedArray() {
    for (const auto& owner : owners_) delete owner.load(std::memory_order::relaxed);
  }
  uint64_t Look(int fd) const {
    const Announcement announcement;
    return array_.Look(fd);
  }
  std::shared_ptr<File> Keep(int fd) const {
    const Announcement announcement;
    return *owners_[static_cast<size_t>(fd)].load(std::memory_order::acquire);
  }

 private:
  RawArray array_;
  std::vector<std::atomic<std::shared_ptr<File>*>> owners_;
};

// What is on the heap for a descriptor: the object, and what owns it until no reader is left. And the cheapest lock,
// for which number is the lowest is a question for one thread at a time. Nobody finds the descriptor.
class Blocks {
 public:
  explicit Blocks(size_t) {}
  int Open(uint64_t id) {
    auto opened = std::make_unique<Owner>(std::make_shared<File>(id));
    Lock();
    opened_ = std::move(opened);
    Unlock();
    return 0;
  }
  void Close(int) {
    Lock();
    auto closed = std::move(opened_);
    Unlock();
    closed_.Retire(std::move(closed));
  }

 private:
  struct Owner {
    explicit Owner(std::shared_ptr<File> file) : object(std::move(file)) {}
    std::shared_ptr<File> object;
    uint64_t rest[6] = {};
  };
  void Lock() {
    for (SpinWait<> wait; locked_.exchange(true, std::memory_order::acquire);) wait();
  }
  void Unlock() { locked_.store(false, std::memory_order::release); }

  std::atomic<bool> locked_{false};
  std::unique_ptr<Owner> opened_;
  Batch<std::unique_ptr<Owner>> closed_;
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
  int Open(uint64_t id) {
    auto file = std::make_shared<File>(id);
    const std::unique_lock lock(mu_);
    size_t fd = first_;
    while (fd < files_.size() && files_[fd] != nullptr) ++fd;
    if (fd == files_.size()) files_.emplace_back();
    files_[fd] = std::move(file);
    first_ = fd + 1;
    return static_cast<int>(fd);
  }
  void Close(int fd) {
    std::shared_ptr<File> closed;
    const std::unique_lock lock(mu_);
    closed = std::move(files_[static_cast<size_t>(fd)]);
    first_ = std::min(first_, static_cast<size_t>(fd));
  }

 private:
  mutable std::shared_mutex mu_;
  std::vector<std::shared_ptr<File>> files_;
  size_t first_ = 0;  // no lower number is free
};

class Ours {
 public:
  explicit Ours(size_t count) {
    for (size_t i = 0; i < count; ++i) Open(i);
  }
  uint64_t Look(int fd) const {
    const EpochFdTable<File>::Ref ref = table_.Get(fd);
    return ref ? ref->id : 0;
  }
  std::shared_ptr<File> Keep(int fd) const { return table_.GetShared(fd); }
  int Open(uint64_t id) { return table_.Insert(std::make_shared<File>(id)).value(); }
  void Close(int fd) { static_cast<void>(table_.Remove(fd)); }

 private:
  EpochDomain domain_;
  EpochFdTable<File> table_{{}, domain_};
};

#if HOTPATH_HAVE_LIBURCU_MEMB || HOTPATH_HAVE_LIBURCU_QSBR
// An object that counts its own references; an array slot owns one.
struct CountedFile : File {
  using File::File;
  std::atomic<uint64_t> references{1};

  // Fails if the last one is gone already.
  bool Acquire() {
    uint64_t seen = references.load(std::memory_order::relaxed);
    while (seen != 0) {
      if (references.compare_exchange_weak(seen, seen + 1, std::memory_order::acquire, std::memory_order::relaxed)) {
        return true;
      }
    }
    return false;
  }
  void Release() {
    if (references.fetch_sub(1, std::memory_order::acq_rel) == 1) delete this;
  }
};

// What a user of liburcu writes: an array under the guard that Urcu is.
template <class Urcu>
class UrcuArray : public Urcu {
 public:
  explicit UrcuArray(size_t count) : slots_(count) {
    for (size_t i = 0; i < count; ++i) slots_[i].store(new CountedFile(i), std::memory_order::relaxed);
  }
  ~UrcuArray() {
    for (auto& slot : slots_) {
      if (CountedFile* const file = slot.load(std::memory_order::relaxed)) file->Release();
    }
  }
  uint64_t Look(int fd) const {
    Urcu::Lock();
    uint64_t got = 0;
    if (static_cast<uint32_t>(fd) < slots_.size()) {
      const CountedFile* const file = slots_[static_cast<size_t>(fd)].load(std::memory_order::acquire);
      got = file == nullptr ? 0 : file->id;
    }
    Urcu::Unlock();
    return got;
  }
  uint64_t KeepAndLook(int fd) const {
    CountedFile* file = nullptr;
    Urcu::Lock();
    if (static_cast<uint32_t>(fd) < slots_.size()) {
      file = slots_[static_cast<size_t>(fd)].load(std::memory_order::acquire);
      if (file != nullptr && !file->Acquire()) file = nullptr;
    }
    Urcu::Unlock();
    if (file == nullptr) return 0;
    const uint64_t got = file->id;
    file->Release();
    return got;
  }
  int Open(uint64_t id) {
    auto* const file = new CountedFile(id);
    const std::lock_guard lock(mu_);
    size_t fd = first_;
    while (slots_[fd].load(std::memory_order::relaxed) != nullptr) ++fd;
    slots_[fd].store(file, std::memory_order::release);
    first_ = fd + 1;
    return static_cast<int>(fd);
  }
  void Close(int fd) {
    CountedFile* closed = nullptr;
    {
      const std::lock_guard lock(mu_);
      closed = slots_[static_cast<size_t>(fd)].exchange(nullptr, std::memory_order::acq_rel);
      first_ = std::min(first_, static_cast<size_t>(fd));
    }
    Urcu::Synchronize();
    closed->Release();
  }

 private:
  std::vector<std::atomic<CountedFile*>> slots_;
  std::mutex mu_;
  size_t first_ = 0;
};
#endif
#if HOTPATH_HAVE_LIBURCU_MEMB
struct Memb : UrcuMembUser {
  static void Lock() { urcu_memb_read_lock(); }
  static void Unlock() { urcu_memb_read_unlock(); }
  static void Synchronize() { urcu_memb_synchronize_rcu(); }
};
using UrcuMembArray = UrcuArray<Memb>;
#else
using UrcuMembArray = Missing;
#endif
#if HOTPATH_HAVE_LIBURCU_QSBR
struct Qsbr : UrcuQsbrUser {
  static void Lock() { urcu_qsbr_read_lock(); }
  static void Unlock() {
    urcu_qsbr_read_unlock();
    urcu_qsbr_quiescent_state();  // the caller has to, some time: here as often as it reads
  }
  static void Synchronize() { urcu_qsbr_synchronize_rcu(); }
};
using UrcuQsbrArray = UrcuArray<Qsbr>;
#else
using UrcuQsbrArray = Missing;
#endif

#if HOTPATH_HAVE_XENIUM
// One descriptor, given and not searched for. Its object is retired as it is: nobody can keep it.
class XeniumSlot {
  using Reclaimer = xenium::reclamation::epoch_based<>;
  struct Object : Reclaimer::enable_concurrent_ptr<Object>, File {
    using File::File;
  };
  using Pointer = Reclaimer::concurrent_ptr<Object, 0>;

 public:
  explicit XeniumSlot(size_t) {}
  int Open(uint64_t id) {
    slot_.store(Pointer::marked_ptr(new Object(id)), std::memory_order::release);
    return 0;
  }
  void Close(int) {
    Pointer::guard_ptr old;
    old.acquire(slot_, std::memory_order::acquire);
    slot_.store(Pointer::marked_ptr(), std::memory_order::release);
    old.reclaim();
  }

 private:
  Pointer slot_;
};
#else
using XeniumSlot = Missing;
#endif

int Draw(Worker& worker, size_t open = kOpen) { return static_cast<int>(worker.Random() >> 32 & (open - 1)); }

template <class Table>
auto Look() {
  const auto table = Isolated<Table>(kOpen);
  return OnThreads(table, Ops([table](Worker& worker) {
                     const int fd = Draw(worker);
                     if (table->Look(fd) != static_cast<uint64_t>(fd)) worker.Torn();
                   }));
}
template <class Table, size_t kCount = kOpen>
auto Keep() {
  const auto table = Isolated<Table>(kCount);
  return OnThreads(table, Ops([table](Worker& worker) {
                     const int fd = Draw(worker, kCount);
                     if constexpr (requires { table->KeepAndLook(fd); }) {
                       if (table->KeepAndLook(fd) != static_cast<uint64_t>(fd)) worker.Torn();
                     } else {
                       if (table->Keep(fd)->id != static_cast<uint64_t>(fd)) worker.Torn();
                     }
                   }));
}

// Opens the lowest free number, which is above all others, and closes it again.
template <class Table>
auto OpenAndClose(size_t open = kOpen) {
  return [table = Isolated<Table>(open)] { table->Close(table->Open(1)); };
}
// Beside one who closes any of the descriptors that are read and opens it again.
template <class Table, class Pace>
auto LookBeside() {
  const auto table = Isolated<Table>(kOpen);
  return OnThreads(table, Ops([table](Worker& worker) {
                            const int fd = Draw(worker);
                            const uint64_t seen = table->Look(fd);
                            if (seen != 0 && seen != static_cast<uint64_t>(fd)) worker.Torn();
                          }).WithBackground([table, pace = Pace()](Worker& worker) mutable {
    if (!pace.IsDue()) return StdSync::Pause();
    const int fd = Draw(worker);
    table->Close(fd);
    if (table->Open(static_cast<uint64_t>(fd)) != fd) worker.Torn();
  }));
}

template <class Pace>
Row& AddLooksBeside(Rows& rows, const std::string& which, int threads, std::string note = {}) {
  Row& row = rows.Add({.id = "epoch_fd_table/get beside " + which + "/t" + std::to_string(threads),
                       .optimisation = 6,
                       .threads = threads,
                       .background = 1,
                       .note = std::move(note)})
                 .Naive("shared_mutex + vector", LookBeside<SharedMutexVector, Pace>)
                 .Ours("EpochFdTable", LookBeside<Ours, Pace>);
  row.PeerOf<UrcuMembArray>("urcu_memb array", []<class T>() { return LookBeside<T, Pace>(); });
  if (threads == 1) row.AtLeast(1.5, "urcu_memb array");
  return row;
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2, 8}) {
    const std::string t = std::to_string(threads);
    Row& get = rows.Add({.id = "epoch_fd_table/get/t" + t,
                         .optimisation = 6,
                         .claim = threads == 1 ? "lookup" : "",
                         .threads = threads})
                   .Floor("raw array", Look<RawArray>)
                   .Floor("raw array, announced", Look<AnnouncedArray>)
                   .Naive("shared_mutex + vector", Look<SharedMutexVector>)
                   .Ours("EpochFdTable::Get", Look<Ours>);
    if (threads == 1) get.AtMost(1.15, "raw array").AtLeast(14, "shared_mutex + vector");
    if (threads == 2) get.AtLeast(80, "shared_mutex + vector");
    Row& keep = rows.Add({.id = "epoch_fd_table/get_shared/t" + t, .optimisation = 6, .threads = threads})
                    .Floor("raw array, counted", Keep<RawArray>)
                    .Floor("array of owners, announced, counted", Keep<AnnouncedArray>)
                    .Naive("shared_mutex + vector", Keep<SharedMutexVector>)
                    .Ours("EpochFdTable::GetShared", Keep<Ours>);
    if (threads == 1) keep.AtLeast(2.4, "shared_mutex + vector");
    if (threads == 2) keep.AtLeast(7, "shared_mutex + vector");
    get.PeerOf<UrcuMembArray>("urcu_memb array", []<class T>() { return Look<T>(); })
        .AtLeast(3, "urcu_memb array")
        .PeerOf<UrcuQsbrArray>("urcu_qsbr array", []<class T>() { return Look<T>(); });
    keep.PeerOf<UrcuMembArray>("urcu_memb array, counted", []<class T>() { return Keep<T>(); })
        .AtLeast(1.5, "urcu_memb array, counted")
        .PeerOf<UrcuQsbrArray>("urcu_qsbr array, counted", []<class T>() { return Keep<T>(); });
  }
  for (const int threads : {1, 2}) {
    rows.Add({.id = "epoch_fd_table/get_shared, 16 open/t" + std::to_string(threads),
              .optimisation = 6,
              .threads = threads})
        .Floor("array of owners, announced, counted", Keep<AnnouncedArray, kFew>)
        .Naive("shared_mutex + vector", Keep<SharedMutexVector, kFew>)
        .Ours("EpochFdTable::GetShared", Keep<Ours, kFew>)
        .PeerOf<UrcuMembArray>("urcu_memb array, counted", []<class T>() { return Keep<T, kFew>(); });
  }
  rows.Add({.id = "epoch_fd_table/get, absolute/t1", .optimisation = 6, .claim = "lookup time"})
      .Ours("EpochFdTable::Get", Look<Ours>);
  for (const int threads : {1, 2, 8}) {
    if (threads != 8) AddLooksBeside<PerMillisecond>(rows, "1000 closes a second", threads);
    Row& row = AddLooksBeside<Continuously>(rows, "close and open", threads,
                                            "urcu_memb's writer waits for readers: it closes less often");
    if (threads == 1) row.AtLeast(40, "shared_mutex + vector");
  }
  for (const size_t open : {kOpen, size_t{65536}}) {
    Row& row =
        rows.Add({.id = "epoch_fd_table/open and close, " + std::to_string(open) + " open/t1", .optimisation = 6})
            .Floor("the object alone", [] { return [] { bench::Keep(std::make_shared<File>(1)); }; })
            .Floor("heap blocks, freed by 1,024, and a spin lock", [open] { return OpenAndClose<Blocks>(open); })
            .Naive("shared_mutex + vector", [open] { return OpenAndClose<SharedMutexVector>(open); })
            .Ours("EpochFdTable", [open] { return OpenAndClose<Ours>(open); });
    if (open != kOpen) continue;
    row.PeerOf<XeniumSlot>("xenium epoch_based, one slot", []<class T>() { return OpenAndClose<T>(); })
        .AtLeast(1, "xenium epoch_based, one slot");
  }
}

}  // namespace
}  // namespace hotpath::bench
