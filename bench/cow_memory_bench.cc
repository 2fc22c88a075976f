// Copy-on-write memory beside what else clones memory: fork(2), a memfd mapped MAP_PRIVATE again, a vector of
// shared_ptr pages, and a plain copy. 1 MiB and 64 MiB have bytes on every page, 1 GiB on every 16th and 16 GiB on
// every 256th, so that they fit into a small machine. What clones is timed by CPU time, of this thread and of its
// children.
//
// Pages that are freed stay with malloc here, as they do in a process that lives: glibc would otherwise give them back
// to the system and fault them in again, at 1.4 us a page, for us and for the shared_ptr pages alike.

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/rows.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/cow_memory.h"

namespace hotpath::bench {
namespace {

// Before anything is measured. glibc and libstdc++ skip locks and atomics before the first thread.
const bool g_is_prepared = [] {
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  std::thread([] {}).join();
  return true;
}();

constexpr uint64_t kPage = 4096, kMiB = 1 << 20, kGiB = 1 << 30;

uint64_t StepOf(uint64_t size) { return kPage * (size >= 16 * kGiB ? 256 : size >= kGiB ? 16 : 1); }

// Page offsets below `size`, in random order; `permille` of those that are touched, or one.
std::vector<uint64_t> SomePages(uint64_t size, uint64_t permille) {
  std::vector<uint64_t> pages(size / StepOf(size));
  for (uint64_t i = 0; i < pages.size(); ++i) pages[i] = i * StepOf(size);
  std::shuffle(pages.begin(), pages.end(), std::mt19937_64(7));
  pages.resize(std::max<uint64_t>(1, pages.size() * permille / 1000));
  return pages;
}

// ---- What can be cloned. Clone() is a second memory; Touch writes eight bytes. ----

class Ours {
 public:
  static constexpr const char* kName = "CowMemory";
  explicit Ours(uint64_t size) {
    HOTPATH_CHECK(memory_.Map(0, size, CowAccess::kReadWrite).ok());
    for (uint64_t at = 0; at < size; at += StepOf(size)) TouchIn(memory_, at);
  }
  template <class F>
  void WithClone(F&& f) {
    CowMemory child = memory_.Fork();
    f([&](uint64_t at) { TouchIn(child, at); });
  }

 private:
  static void TouchIn(CowMemory& memory, uint64_t at) {
    HOTPATH_CHECK(memory.Write(at, std::as_bytes(std::span(&at, 1))).ok());
  }
  CowMemory memory_;
};

class MemfdPrivate {
 public:
  static constexpr const char* kName = "memfd, MAP_PRIVATE";
  explicit MemfdPrivate(uint64_t size) : size_(size), fd_(memfd_create("bench", 0)) {
    HOTPATH_CHECK(fd_ >= 0 && ftruncate(fd_, static_cast<off_t>(size)) == 0);
    std::byte* const bytes = Map(MAP_SHARED);
    for (uint64_t at = 0; at < size; at += StepOf(size)) std::memset(bytes + at, 1, kPage);
    munmap(bytes, size_);
  }
  ~MemfdPrivate() { close(fd_); }
  template <class F>
  void WithClone(F&& f) {
    std::byte* const bytes = Map(MAP_PRIVATE);
    f([&](uint64_t at) { std::memcpy(bytes + at, &at, sizeof(at)); });
    munmap(bytes, size_);
  }

 private:
  std::byte* Map(int flags) {
    void* const bytes = mmap(nullptr, size_, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd_, 0);
    HOTPATH_CHECK(bytes != MAP_FAILED);
    return static_cast<std::byte*>(bytes);
  }
  const uint64_t size_;
  const int fd_;
};

class Anonymous {
 public:
  explicit Anonymous(uint64_t size) : size_(size) {
    void* const bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    HOTPATH_CHECK(bytes != MAP_FAILED);
    madvise(bytes, size, MADV_NOHUGEPAGE);
    bytes_ = static_cast<std::byte*>(bytes);
    for (uint64_t at = 0; at < size; at += StepOf(size)) std::memset(bytes_ + at, 1, kPage);
  }
  ~Anonymous() { munmap(bytes_, size_); }

 protected:
  const uint64_t size_;
  std::byte* bytes_;
};

// The child touches and exits; the parent waits.
class ForkedProcess : Anonymous {
 public:
  static constexpr const char* kName = "fork(2)";
  using Anonymous::Anonymous;
  template <class F>
  void WithClone(F&& f) {
    const pid_t child = fork();
    HOTPATH_CHECK(child >= 0);
    if (child == 0) {
      f([&](uint64_t at) { std::memcpy(bytes_ + at, &at, sizeof(at)); });
      _exit(0);
    }
    int status;
    HOTPATH_CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
};

// Everything that was touched, copied into a buffer that has been touched before.
class FullCopy : Anonymous {
 public:
  static constexpr const char* kName = "memcpy of all";
  explicit FullCopy(uint64_t size) : Anonymous(size), copy_(size) {}
  template <class F>
  void WithClone(F&& f) {
    Copier& copy = copy_;
    for (uint64_t at = 0; at < size_; at += StepOf(size_)) std::memcpy(copy.bytes() + at, bytes_ + at, kPage);
    asm volatile("" : : : "memory");
    f([&](uint64_t at) { std::memcpy(copy.bytes() + at, &at, sizeof(at)); });
  }

 private:
  struct Copier : Anonymous {
    using Anonymous::Anonymous;
    std::byte* bytes() { return bytes_; }
  };
  Copier copy_;
};

class SharedPtrPages {
 public:
  static constexpr const char* kName = "vector of shared_ptr";
  explicit SharedPtrPages(uint64_t size) : pages_(size / kPage) {
    for (uint64_t at = 0; at < size; at += StepOf(size)) pages_[at / kPage] = std::make_shared<Page>();
  }
  template <class F>
  void WithClone(F&& f) {
    std::vector<std::shared_ptr<Page>> child = pages_;
    f([&](uint64_t at) {
      std::shared_ptr<Page>& page = child[at / kPage];
      if (page.use_count() > 1) page = std::make_shared<Page>(*page);
      std::memcpy(page->data(), &at, sizeof(at));
    });
  }

 private:
  using Page = std::array<std::byte, kPage>;
  std::vector<std::shared_ptr<Page>> pages_;
};

// No cloning: what copying the touched pages alone costs, from where they lie into a warm buffer.
class CopyFloor : Anonymous {
 public:
  static constexpr const char* kName = "memcpy of the touched";
  explicit CopyFloor(uint64_t size) : Anonymous(size), buffer_(size / StepOf(size) * kPage, std::byte{1}) {}
  template <class F>
  void WithClone(F&& f) {
    std::byte* to = buffer_.data();
    f([&](uint64_t at) {
      std::memcpy(to, bytes_ + at, kPage);
      to += kPage;
    });
    asm volatile("" : : : "memory");
  }

 private:
  std::vector<std::byte> buffer_;
};

// The memories of a row: made when a round needs them, and gone when the next row begins. fork(2) clones all that the
// process has, so it has nothing but its own then.
struct Made {
  std::string row;
  std::map<std::string, std::shared_ptr<void>> memories;
};
Made& MadeNow() {
  static Made made;
  return made;
}
template <class Memory>
Memory& MemoryOf(const std::string& row, uint64_t size) {
  Made& made = MadeNow();
  if (std::exchange(made.row, row) != row || std::is_same_v<Memory, ForkedProcess>) {
    made.memories.clear();
    malloc_trim(0);
  }
  std::shared_ptr<void>& memory = made.memories[Memory::kName];
  if (memory == nullptr) memory = std::make_shared<Memory>(size);
  return *static_cast<Memory*>(memory.get());
}

// Of this thread, and of the children it has waited for.
double CpuNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  rusage children;
  getrusage(RUSAGE_CHILDREN, &children);
  return 1e9 * static_cast<double>(now.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
         static_cast<double>(now.tv_nsec) +
         1e3 * static_cast<double>(children.ru_utime.tv_usec + children.ru_stime.tv_usec);
}

// A clone and its end, in a loop of at least a millisecond.
template <class Memory>
void AddClone(Row& row, Role role, uint64_t size) {
  row.Sample(role, Memory::kName, [id = row.options().id, size]() -> std::optional<double> {
    Memory& memory = MemoryOf<Memory>(id, size);
    memory.WithClone([](auto&&) {});
    for (uint64_t clones = 1;; clones *= 4) {
      const double start = CpuNs();
      for (uint64_t i = 0; i < clones; ++i) memory.WithClone([](auto&&) {});
      const double spent = CpuNs() - start;
      if (spent >= 1e6) return spent / static_cast<double>(clones);
    }
  });
}

// A clone, and a write to some of its pages; with its end if `drop`, and always for fork(2), whose child ends
// elsewhere. The median of some.
template <class Memory>
void AddTouch(Row& row, Role role, uint64_t size, uint64_t permille, bool drop) {
  row.Sample(role, Memory::kName, [=, id = row.options().id]() -> std::optional<double> {
    Memory& memory = MemoryOf<Memory>(id, size);
    const std::vector<uint64_t> pages = SomePages(size, permille);
    memory.WithClone([](auto&&) {});
    std::array<double, 5> spent;
    for (double& ns : spent) {
      double touched = 0;
      const double start = CpuNs();
      memory.WithClone([&](auto&& touch) {
        for (const uint64_t at : pages) touch(at);
        touched = CpuNs();
      });
      ns = (drop || touched == 0 ? CpuNs() : touched) - start;
    }
    std::ranges::sort(spent);
    return spent[spent.size() / 2];
  });
}

std::string NameOf(uint64_t size) {
  return size >= kGiB ? std::to_string(size / kGiB) + "GiB" : std::to_string(size / kMiB) + "MiB";
}

void AddCloneRow(Rows& rows, uint64_t size) {
  Row& row = rows.Add({.id = "cow_memory/fork_" + NameOf(size) + "/t1",
                       .optimisation = 15,
                       .claim = size == 64 * kMiB ? "fork" : "",
                       .floor = "rmw",
                       .note = "a clone and its end"});
  if (size <= 64 * kMiB) AddClone<FullCopy>(row, Role::kNaive, size);
  AddClone<Ours>(row, Role::kOurs, size);
  AddClone<MemfdPrivate>(row, Role::kPeer, size);
  if (size <= kGiB) {
    AddClone<SharedPtrPages>(row, Role::kPeer, size);
    AddClone<ForkedProcess>(row, Role::kPeer, size);
  }
  row.AtLeast(8, MemfdPrivate::kName);
  if (size == 64 * kMiB) row.AtLeast(4000, ForkedProcess::kName);
  if (size == kGiB) row.AtLeast(20000, ForkedProcess::kName);
}

struct OneMiB : Ours {
  static constexpr const char* kName = "CowMemory, 1 MiB";
  explicit OneMiB(uint64_t) : Ours(kMiB) {}
};

// That it does not grow. The same loop; here beside that of 1 MiB.
void AddGrowthRow(Rows& rows) {
  Row& row = rows.Add({.id = "cow_memory/fork_growth/t1", .optimisation = 15, .note = "1 GiB beside 1 MiB"});
  AddClone<Ours>(row, Role::kOurs, kGiB);
  AddClone<OneMiB>(row, Role::kVariant, kGiB);
  row.AtMost(2, OneMiB::kName);
}

void AddTouchRow(Rows& rows, uint64_t size, uint64_t permille, const std::string& percent, bool drop) {
  Row& row = rows.Add(
      {.id = "cow_memory/fork_touch" + std::string(drop ? "_drop_" : "_") + NameOf(size) + "_" + percent + "pct/t1",
       .optimisation = 15,
       .note = "of all pages, in random order; floor: copying as many into a warm buffer"});
  const bool small = size <= 64 * kMiB, headline = permille == 10 && !drop;
  if (small && headline) AddTouch<FullCopy>(row, Role::kNaive, size, permille, drop);
  AddTouch<Ours>(row, Role::kOurs, size, permille, drop);
  AddTouch<MemfdPrivate>(row, Role::kPeer, size, permille, drop);
  AddTouch<SharedPtrPages>(row, Role::kPeer, size, permille, drop);
  AddTouch<CopyFloor>(row, Role::kFloor, size, permille, drop);
  if (!drop) AddTouch<ForkedProcess>(row, Role::kPeer, size, permille, drop);
  if (!headline) return;
  row.AtLeast(4, ForkedProcess::kName).AtLeast(small ? 2 : 1.1, MemfdPrivate::kName);
  row.AtMost(small ? 3 : 4, CopyFloor::kName);
  if (small) row.AtLeast(60, FullCopy::kName);
}

// ---- Bandwidth ----

template <bool kWrite>
auto ReadOrWrite(size_t size) {
  return [size] {
    auto memory = std::make_shared<CowMemory>();
    auto buffer = std::make_shared<std::vector<std::byte>>(size, std::byte{1});
    HOTPATH_CHECK(memory->Map(0, kGiB, CowAccess::kReadWrite).ok() && memory->Write(kGiB / 2, *buffer).ok());
    return [memory, buffer] {
      HOTPATH_CHECK(kWrite ? memory->Write(kGiB / 2, *buffer).ok() : memory->Read(kGiB / 2, *buffer).ok());
      Keep(buffer->data());
    };
  };
}

auto Memcpy(size_t size) {
  return [size] {
    auto from = std::make_shared<std::vector<std::byte>>(size, std::byte{1});
    auto to = std::make_shared<std::vector<std::byte>>(size);
    return [from, to] {
      Keep(from->data());
      std::memcpy(to->data(), from->data(), from->size());
      Keep(to->data());
    };
  };
}

void AddBandwidthRows(Rows& rows, size_t size, const std::string& name) {
  rows.Add({.id = "cow_memory/read_" + name + "/t1", .optimisation = 15})
      .Ours("CowMemory", ReadOrWrite<false>(size))
      .Floor("memcpy", Memcpy(size));
  rows.Add({.id = "cow_memory/write_" + name + "/t1", .optimisation = 15, .note = "in place"})
      .Ours("CowMemory", ReadOrWrite<true>(size))
      .Floor("memcpy", Memcpy(size));
}

// ---- Memory ----

// One process with 64 MiB forks eight, each of which then writes to some of its pages. What the nine hold, page tables
// counted against us; or what nine full copies would.
struct Held {
  double full_copies, ours;  // MiB
};
Held HeldByNineProcesses(uint64_t permille) {
  constexpr uint64_t kPages = 64 * kMiB / kPage;
  CowMemoryManager manager;
  HOTPATH_CHECK(manager.Create(0).ok());
  HOTPATH_CHECK(manager.Get(0)->Map(0, 64 * kMiB, CowAccess::kReadWrite).ok());
  const auto touch = [&](int pid, uint64_t page) {
    HOTPATH_CHECK(manager.Write(pid, page * kPage, std::as_bytes(std::span(&page, 1))).ok());
  };
  for (uint64_t page = 0; page < kPages; ++page) touch(0, page);
  std::mt19937_64 random(3);
  for (int pid = 1; pid <= 8; ++pid) {
    HOTPATH_CHECK(manager.Fork(0, pid).ok());
    for (uint64_t i = 0; i < kPages * permille / 1000; ++i) touch(pid, random() % kPages);
  }
  const CowTotals totals = manager.TotalStats();
  return {static_cast<double>(totals.resident * kPage) / kMiB,
          static_cast<double>(totals.pages * kPage + totals.table_bytes) / kMiB};
}

void AddMemoryRow(Rows& rows, uint64_t permille, const std::string& percent) {
  // The same in every round.
  const auto held = [permille, known = std::make_shared<std::optional<Held>>()](bool full) -> std::optional<double> {
    if (!*known) *known = HeldByNineProcesses(permille);
    return full ? (*known)->full_copies : (*known)->ours;
  };
  rows.Add({.id = "cow_memory/nine_processes_" + percent + "pct/t1",
            .optimisation = 15,
            .claim = permille == 10 ? "memory" : "",
            .unit = "MiB",
            .note = "64 MiB, forked eight times, each child writing to " + percent + " % of its pages"})
      .Sample(Role::kNaive, "full copies", [held] { return held(true); })
      .Sample(Role::kOurs, "CowMemory", [held] { return held(false); });
}

HOTPATH_BENCH_ROWS(rows) {
  for (const uint64_t size : {kMiB, 64 * kMiB, kGiB, 16 * kGiB}) AddCloneRow(rows, size);
  AddGrowthRow(rows);
  AddTouchRow(rows, 64 * kMiB, 1, "0.1", false);
  AddTouchRow(rows, 64 * kMiB, 10, "1", false);
  AddTouchRow(rows, 64 * kMiB, 100, "10", false);
  AddTouchRow(rows, kGiB, 10, "1", false);
  AddTouchRow(rows, 64 * kMiB, 10, "1", true);
  AddBandwidthRows(rows, 64, "64B");
  AddBandwidthRows(rows, 4096, "4KiB");
  AddBandwidthRows(rows, 65536, "64KiB");
  AddBandwidthRows(rows, kMiB, "1MiB");
  AddMemoryRow(rows, 1, "0.1");
  AddMemoryRow(rows, 10, "1");
  AddMemoryRow(rows, 100, "10");
}

}  // namespace
}  // namespace hotpath::bench
