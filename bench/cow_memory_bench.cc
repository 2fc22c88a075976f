// Copy-on-write memory beside what else clones memory: fork(2), a memfd mapped MAP_PRIVATE again, a vector of
// shared_ptr pages, and a plain copy. The goals are ratios between rows of one run. 1 MiB and 64 MiB are touched on
// every page, larger sizes on every 16th (1 GiB) and 256th (16 GiB), so that they fit into a small machine.
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
#include <memory>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/cow_memory.h"

namespace hotpath {
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
  explicit FullCopy(uint64_t size) : Anonymous(size), copy_(size) {}
  template <class F>
  void WithClone(F&& f) {
    Copier& copy = copy_;
    for (uint64_t at = 0; at < size_; at += StepOf(size_)) std::memcpy(copy.bytes() + at, bytes_ + at, kPage);
    benchmark::ClobberMemory();
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
  explicit CopyFloor(uint64_t size) : Anonymous(size), buffer_(size / StepOf(size) * kPage, std::byte{1}) {}
  template <class F>
  void WithClone(F&& f) {
    std::byte* to = buffer_.data();
    f([&](uint64_t at) {
      std::memcpy(to, bytes_ + at, kPage);
      to += kPage;
    });
    benchmark::ClobberMemory();
  }

 private:
  std::vector<std::byte> buffer_;
};

template <class Memory>
void BM_Clone(benchmark::State& state) {
  Memory memory(static_cast<uint64_t>(state.range(0)) * kMiB);
  for (auto _ : state) memory.WithClone([](auto&&) {});
}

// CPU time of this thread, and of the children it has waited for.
double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  rusage children;
  getrusage(RUSAGE_CHILDREN, &children);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) +
         static_cast<double>(children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(children.ru_utime.tv_usec + children.ru_stime.tv_usec);
}

// range: MiB, and how many thousandths of the pages are touched. CPU time of the clone and the touches, with or without
// the end of the clone (always with it for fork(2), whose child ends elsewhere). page_ns: that for each touched page.
template <class Memory, bool kDrop>
void CloneAndTouch(benchmark::State& state) {
  const uint64_t size = static_cast<uint64_t>(state.range(0)) * kMiB;
  Memory memory(size);
  const std::vector<uint64_t> pages = SomePages(size, static_cast<uint64_t>(state.range(1)));
  double seconds = 0;
  for (auto _ : state) {
    const double start = CpuSeconds();
    double touched = 0;
    memory.WithClone([&](auto&& touch) {
      for (const uint64_t at : pages) touch(at);
      touched = CpuSeconds();
    });
    const double spent = (kDrop || touched == 0 ? CpuSeconds() : touched) - start;
    state.SetIterationTime(spent);
    seconds += spent;
  }
  state.counters["page_ns"] =
      seconds * 1e9 / static_cast<double>(state.iterations()) / static_cast<double>(pages.size());
}
template <class Memory>
void BM_CloneAndTouch(benchmark::State& state) {
  CloneAndTouch<Memory, false>(state);
}
template <class Memory>
void BM_CloneTouchAndDrop(benchmark::State& state) {
  CloneAndTouch<Memory, true>(state);
}

// ---- Bandwidth ----

void BM_Memcpy(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  std::vector<std::byte> from(size, std::byte{1}), to(size);
  for (auto _ : state) {
    benchmark::DoNotOptimize(from.data());
    std::memcpy(to.data(), from.data(), size);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

template <bool kWrite>
void BM_ReadOrWrite(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  CowMemory memory;
  HOTPATH_CHECK(memory.Map(0, kGiB, CowAccess::kReadWrite).ok());
  std::vector<std::byte> buffer(size, std::byte{1});
  HOTPATH_CHECK(memory.Write(kGiB / 2, buffer).ok());
  for (auto _ : state) {
    benchmark::DoNotOptimize(buffer.data());
    const bool ok = kWrite ? memory.Write(kGiB / 2, buffer).ok() : memory.Read(kGiB / 2, buffer).ok();
    HOTPATH_CHECK(ok);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// ---- Memory saved ----

// One process with 64 MiB forks eight, each of which then writes to `range` thousandths of its pages. saved: of what
// nine full copies would hold, page tables counted against us.
void BM_NineProcesses(benchmark::State& state) {
  for (auto _ : state) {
    CowMemoryManager manager;
    HOTPATH_CHECK(manager.Create(0).ok());
    HOTPATH_CHECK(manager.Get(0)->Map(0, 64 * kMiB, CowAccess::kReadWrite).ok());
    for (uint64_t at = 0; at < 64 * kMiB; at += kPage) {
      HOTPATH_CHECK(manager.Write(0, at, std::as_bytes(std::span(&at, 1))).ok());
    }
    std::mt19937_64 rng(3);
    const auto touched = 16384 * static_cast<uint64_t>(state.range(0)) / 1000;
    for (int pid = 1; pid <= 8; ++pid) {
      HOTPATH_CHECK(manager.Fork(0, pid).ok());
      for (uint64_t i = 0; i < touched; ++i) {
        HOTPATH_CHECK(manager.Write(pid, rng() % 16384 * kPage, std::as_bytes(std::span(&i, 1))).ok());
      }
    }
    const CowTotals totals = manager.TotalStats();
    const double full = static_cast<double>(totals.resident * kPage);
    state.counters["MiB"] = static_cast<double>(totals.pages * kPage + totals.table_bytes) / kMiB;
    state.counters["full_copies_MiB"] = full / kMiB;
    state.counters["saved_percent"] = 100 * (1 - static_cast<double>(totals.pages * kPage + totals.table_bytes) / full);
  }
}
BENCHMARK(BM_NineProcesses)->Arg(1)->Arg(10)->Arg(100)->Iterations(1)->Unit(benchmark::kMillisecond);

BENCHMARK(BM_Clone<Ours>)->Arg(1)->Arg(64)->Arg(1024)->Arg(16384);
BENCHMARK(BM_Clone<MemfdPrivate>)->Arg(1)->Arg(64)->Arg(1024)->Arg(16384);
BENCHMARK(BM_Clone<SharedPtrPages>)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK(BM_Clone<FullCopy>)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK(BM_Clone<ForkedProcess>)->Arg(1)->Arg(64)->Arg(1024)->UseRealTime();

#define HOTPATH_ROWS(row) BENCHMARK(row)->ArgsProduct({{64}, {1, 10, 100}})->Args({1024, 10})->UseManualTime()
HOTPATH_ROWS(BM_CloneAndTouch<CopyFloor>);
HOTPATH_ROWS(BM_CloneAndTouch<Ours>);
HOTPATH_ROWS(BM_CloneAndTouch<MemfdPrivate>);
HOTPATH_ROWS(BM_CloneAndTouch<SharedPtrPages>);
HOTPATH_ROWS(BM_CloneAndTouch<FullCopy>);
HOTPATH_ROWS(BM_CloneAndTouch<ForkedProcess>);
HOTPATH_ROWS(BM_CloneTouchAndDrop<Ours>);
HOTPATH_ROWS(BM_CloneTouchAndDrop<MemfdPrivate>);
HOTPATH_ROWS(BM_CloneTouchAndDrop<SharedPtrPages>);

BENCHMARK(BM_Memcpy)->Arg(64)->Arg(4096)->Arg(65536)->Arg(1 << 20);
BENCHMARK(BM_ReadOrWrite<false>)->Name("BM_Read")->Arg(64)->Arg(4096)->Arg(65536)->Arg(1 << 20);
BENCHMARK(BM_ReadOrWrite<true>)->Name("BM_Write")->Arg(64)->Arg(4096)->Arg(65536)->Arg(1 << 20);

}  // namespace
}  // namespace hotpath
