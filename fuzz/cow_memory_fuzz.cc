// The input is a program for a manager and the family of memories in it: create, map, unmap, protect, write, read,
// view, fork, free, snapshot, restore, move, with allocations that may fail. The oracle keeps every page of every
// memory in a std::map of shared pointers: a use count of one is a page to write to or to steal, anything else one to
// copy. After each operation the bytes, the errors, every counter and the totals must be the oracle's, the nodes those
// that live, and no more than the pages and the ends of ranges need; at the end nothing may be left.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/base/input.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/cow_memory.h"

namespace {

using hotpath::Code;
using hotpath::CowAccess;
using hotpath::CowOptions;
using hotpath::CowPlacement;
using hotpath::CowSharing;
using hotpath::fuzz::Input;

// Counts what lives; makes an allocation fail.
struct FailingSync : hotpath::StdSync {
  static inline int64_t live = 0;
  static inline uint64_t live_nodes = 0;     // of these: nodes of page tables, which alone have `splitting`
  static inline int64_t until_failure = -1;  // allocations; negative: they do not fail

  template <class T, class... Args>
  static T* New(Args&&... args) {
    if (until_failure == 0) throw std::bad_alloc();
    if (until_failure > 0) --until_failure;
    T* const object = StdSync::New<T>(std::forward<Args>(args)...);
    ++live;
    if constexpr (requires { object->splitting; }) ++live_nodes;
    return object;
  }
  template <class T>
  static void Delete(T* object) noexcept {
    live -= object != nullptr;
    if constexpr (requires { object->splitting; }) live_nodes -= object != nullptr;
    StdSync::Delete(object);
  }
};
static_assert(hotpath::SyncPolicy<FailingSync>);

template <CowOptions kOptions>
class Program {
  using Memory = hotpath::BasicCowMemory<kOptions, FailingSync>;
  using Manager = hotpath::BasicCowMemoryManager<kOptions, FailingSync>;
  static constexpr uint64_t kPage = Memory::kPageBytes;

  using Bytes = std::vector<std::byte>;
  struct OraclePage {
    uint8_t access = 0;
    bool shared = false;
    std::shared_ptr<Bytes> bytes;                       // of a private page; null: zeros
    bool own = false;                                   // written since the last fork
    std::shared_ptr<std::map<uint64_t, Bytes>> region;  // of a shared page
  };
  struct Process {
    Process(const Manager& manager, int32_t number) : pid(number), handle(manager.Get(number)), memory(*handle) {}
    const int32_t pid;
    const std::shared_ptr<Memory> handle;
    Memory& memory;
    std::map<uint64_t, OraclePage> pages;  // mapped ones, by number
    hotpath::CowCounters counters;         // without mapped and resident
  };

 public:
  explicit Program(Input& input) : input_(input) {}

  void Run() {
    Create();
    while (!input_.empty()) {
      Process& process = Pick();
      Step(process);
      CheckCounters(process);
      CheckTotals();
    }
    for (auto& process : processes_) {
      CheckBytes(*process);
      CheckCounters(*process);
    }
    while (!processes_.empty()) {
      Free(*processes_[processes_.size() / 2]);
      if (!processes_.empty()) CheckCounters(*processes_.front());
      CheckTotals();
    }
    HOTPATH_CHECK(FailingSync::live == 0, "pages or nodes are left");
  }

 private:
  Process& Pick() { return *processes_[input_.Byte() % processes_.size()]; }

  // ---- The table of pids ----

  void Create() {
    const int32_t pid = next_pid_++;
    HOTPATH_CHECK(manager_.Create(pid).ok() && manager_.Create(pid) == Code::kEEXIST, "a pid is given once");
    processes_.push_back(std::make_unique<Process>(manager_, pid));
  }
  void Fork(Process& parent) {
    const int32_t pid = next_pid_++;
    HOTPATH_CHECK(manager_.Fork(pid, parent.pid) == Code::kESRCH, "there is no such parent");
    HOTPATH_CHECK(manager_.Fork(parent.pid, parent.pid) == Code::kEEXIST, "nobody is his own child");
    HOTPATH_CHECK(manager_.Fork(parent.pid, pid).ok(), "a fork needs no memory");
    processes_.push_back(std::make_unique<Process>(manager_, pid));
    OracleFork(parent, *processes_.back());
  }
  // Who has the memory still may use it.
  void Free(Process& process) {
    const int32_t pid = process.pid;
    HOTPATH_CHECK(manager_.Free(pid).ok() && manager_.Free(pid) == Code::kESRCH, "a pid is freed once");
    HOTPATH_CHECK(manager_.Get(pid) == nullptr);
    std::byte byte{};
    HOTPATH_CHECK(manager_.Read(pid, 0, std::span(&byte, 1)) == Code::kESRCH);
    HOTPATH_CHECK(manager_.Write(pid, 0, std::span(&byte, 1)) == Code::kESRCH);
    CheckBytes(process);
    CheckCounters(process);
    HOTPATH_CHECK(process.handle.use_count() == 1, "the manager kept what it freed");
    std::erase_if(processes_, [&](const auto& p) { return p.get() == &process; });
  }

  void CheckTotals() {
    hotpath::CowTotals expected{.memories = processes_.size(),
                                .table_bytes = FailingSync::live_nodes * Memory::kNodeBytes};
    std::set<const void*> seen;
    for (const auto& process : processes_) {
      expected.faults += process->counters.faults;
      expected.zero_filled += process->counters.zero_filled;
      expected.copied += process->counters.copied;
      expected.stolen += process->counters.stolen;
      expected.mapped += process->pages.size();
      for (const auto& [number, page] : process->pages) {
        if (page.shared) {
          if (seen.insert(page.region.get()).second) expected.common_resident += page.region->size();
        } else if (page.bytes != nullptr) {
          ++expected.resident;
          expected.pages += seen.insert(page.bytes.get()).second;
        }
      }
    }
    expected.bytes_saved = (expected.resident - expected.pages) * kPage;
    HOTPATH_CHECK(manager_.TotalStats() == expected, "the totals");
    HOTPATH_CHECK(manager_.size() == processes_.size(), "the number of memories");
    // Leaves no trace: what comes next has the faults that it would have had without.
    HOTPATH_CHECK(processes_.empty() || manager_.Fork(processes_.front()->pid, processes_.back()->pid) == Code::kEEXIST,
                  "a pid is given once");
    for (const auto& process : processes_) HOTPATH_CHECK(manager_.Get(process->pid) == process->handle, "another's");
  }

  // Around one of five places: the beginning, the end, and in between, so that trees have gaps.
  uint64_t PickPage() {
    const uint8_t byte = input_.Byte();
    constexpr uint64_t kLast = ~uint64_t{0} / kPage;
    constexpr std::array<uint64_t, 5> kPlaces = {0, kLast - 50, (kLast >> 1) - 25, uint64_t{1} << 30, 1000};
    return kPlaces[byte % kPlaces.size()] + byte / kPlaces.size();
  }

  void Step(Process& process) {
    const uint8_t op = input_.Byte();
    const uint64_t page = PickPage();
    const uint64_t pages = 1 + input_.Byte() % 40;
    const bool in_range = page + pages - 1 <= ~uint64_t{0} / kPage;
    const uint8_t argument = input_.Byte();
    // A fault: the operation may fail at its allocation number `allowed`, and then must change nothing.
    const int64_t allowed = op >= 200 ? argument % 12 : -1;
    const auto faulty = [&](auto&& operation) {
      FailingSync::until_failure = allowed;
      const hotpath::Result<void> result = operation();
      FailingSync::until_failure = -1;
      if (result == Code::kENOMEM && allowed >= 0) {
        has_spare_nodes_ = true;
        return std::optional<hotpath::Result<void>>();
      }
      return std::optional<hotpath::Result<void>>(result);
    };
    switch (op % 10) {
      case 0: {
        const CowAccess access = argument % 8 == 0 ? CowAccess::kRead : CowAccess::kReadWrite;
        const bool shared = argument % 16 > 11;
        const bool replace = argument % 3 != 0;
        const auto result = faulty([&] {
          return process.memory.Map(page * kPage, pages * kPage - argument % kPage, access,
                                    shared ? CowSharing::kShared : CowSharing::kPrivate,
                                    replace ? CowPlacement::kReplace : CowPlacement::kNoReplace);
        });
        if (!result) break;
        if (!in_range) {
          HOTPATH_CHECK(*result == Code::kEINVAL);
          break;
        }
        const uint64_t last = page + pages - 1;
        if (!replace && process.pages.lower_bound(page) != process.pages.upper_bound(last)) {
          HOTPATH_CHECK(*result == Code::kEEXIST);
          break;
        }
        HOTPATH_CHECK(result->ok());
        const auto region = shared ? std::make_shared<std::map<uint64_t, Bytes>>() : nullptr;
        for (uint64_t at = page;; ++at) {
          OraclePage& fresh = process.pages[at] = OraclePage();
          fresh.access = static_cast<uint8_t>(access);
          fresh.shared = shared;
          fresh.region = region;
          if (at == last) break;
        }
        break;
      }
      case 1: {
        const auto result = faulty([&] { return process.memory.Unmap(page * kPage, pages * kPage); });
        if (!result) break;
        HOTPATH_CHECK(*result == (in_range ? Code::kOK : Code::kEINVAL));
        if (in_range) {
          process.pages.erase(process.pages.lower_bound(page), process.pages.upper_bound(page + pages - 1));
        }
        break;
      }
      case 2: {
        const auto access = static_cast<CowAccess>(argument % 8);
        const auto result = faulty([&] { return process.memory.Protect(page * kPage, pages * kPage, access); });
        if (!result) break;
        if (!in_range) {
          HOTPATH_CHECK(*result == Code::kEINVAL);
          break;
        }
        bool hole = false;
        for (uint64_t i = 0; i < pages; ++i) hole |= !process.pages.contains(page + i);
        HOTPATH_CHECK(*result == (hole ? Code::kENOMEM : Code::kOK));
        for (uint64_t i = 0; !hole && i < pages; ++i) process.pages[page + i].access = static_cast<uint8_t>(access);
        break;
      }
      case 3:
      case 4:
      case 5: {
        const size_t size = op % 10 == 3 ? argument % 24 : argument * kPage / 60;
        const uint64_t address = page * kPage + pages * 7 % kPage;
        Bytes bytes(size);
        for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(argument + i * 5 + 1);
        const auto result = faulty([&] {
          return pages % 2 == 0 ? manager_.Write(process.pid, address, bytes) : process.memory.Write(address, bytes);
        });
        if (!result) break;
        const Code expected = Expected(process, address, size, CowAccess::kWrite);
        HOTPATH_CHECK(*result == expected, "a write");
        if (expected == Code::kOK) OracleWrite(process, address, bytes);
        break;
      }
      case 6: {
        const uint64_t address = page * kPage + argument % kPage;
        struct Thrown {};
        const auto result = faulty([&] {
          try {
            return process.memory.WithWritablePage(address, [&](std::span<std::byte> view) {
              view[argument % kPage] = static_cast<std::byte>(pages);
              if (argument % 5 == 4) throw Thrown();
            });
          } catch (const Thrown&) {
            return hotpath::Result<void>();
          }
        });
        if (!result) break;
        const Code expected = Expected(process, address, 1, CowAccess::kWrite);
        HOTPATH_CHECK(*result == expected, "a view to write to");
        if (expected == Code::kOK) OracleWrite(process, address, Bytes{static_cast<std::byte>(pages)});
        break;
      }
      case 7: {
        if (processes_.size() >= 6) {
          Process& gone = Pick();
          if (&gone != &process) Free(gone);
          break;
        }
        if (argument % 16 == 15) {
          Create();
          break;
        }
        FailingSync::until_failure = allowed < 0 ? -1 : 0;  // a fork needs no memory
        Fork(process);
        FailingSync::until_failure = -1;
        break;
      }
      case 8: {
        Process& snapshot = Pick();
        process.memory.Restore(snapshot.memory);
        std::map<uint64_t, OraclePage> pages_now;
        for (auto& [at, p] : snapshot.pages) p.own = false;
        pages_now = snapshot.pages;
        process.pages = std::move(pages_now);
        break;
      }
      default: {
        const size_t size = argument * kPage / 60;
        CheckRead(process, page * kPage + pages % kPage, size);
        if (argument % 4 == 0) CheckBytes(process);
        if (argument % 16 == 1) {
          Memory moved(std::move(process.memory));
          HOTPATH_CHECK(process.memory.Counters().mapped == 0, "moved from");
          process.memory = std::move(moved);
        }
        break;
      }
    }
  }

  static Code Expected(const Process& process, uint64_t address, size_t size, CowAccess access) {
    if (size == 0) return Code::kOK;
    if (size - 1 > ~address) return Code::kEFAULT;
    for (uint64_t page = address / kPage;; ++page) {
      const auto at = process.pages.find(page);
      if (at == process.pages.end()) return Code::kEFAULT;
      if ((at->second.access & static_cast<uint8_t>(access)) == 0) return Code::kEACCES;
      if (page == (address + (size - 1)) / kPage) return Code::kOK;
    }
  }

  static void OracleWrite(Process& process, uint64_t address, const Bytes& bytes) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const uint64_t number = (address + i) / kPage;
      OraclePage& page = process.pages[number];
      hotpath::CowCounters& counters = process.counters;
      Bytes* to = nullptr;
      if (page.shared) {
        const auto [at, is_new] = page.region->try_emplace(number, kPage);
        counters.faults += is_new;
        counters.zero_filled += is_new;
        to = &at->second;
      } else {
        if (page.bytes == nullptr) {
          ++counters.faults;
          ++counters.zero_filled;
          page.bytes = std::make_shared<Bytes>(kPage);
        } else if (!page.own) {
          ++counters.faults;
          if (page.bytes.use_count() == 1) {
            ++counters.stolen;
          } else {
            ++counters.copied;
            page.bytes = std::make_shared<Bytes>(*page.bytes);
          }
        }
        page.own = true;
        to = page.bytes.get();
      }
      (*to)[(address + i) % kPage] = bytes[i];
    }
  }

  static void OracleFork(Process& parent, Process& child) {
    for (auto& [at, page] : parent.pages) page.own = false;
    child.pages = parent.pages;
  }

  static std::byte ByteAt(const Process& process, uint64_t address) {
    const auto at = process.pages.find(address / kPage);
    const OraclePage& page = at->second;
    if (page.shared) {
      const auto bytes = page.region->find(address / kPage);
      return bytes == page.region->end() ? std::byte{0} : bytes->second[address % kPage];
    }
    return page.bytes == nullptr ? std::byte{0} : (*page.bytes)[address % kPage];
  }

  void CheckRead(const Process& process, uint64_t address, size_t size) const {
    Bytes seen(size, std::byte{0xa5});
    const hotpath::Result<void> result =
        size % 2 == 0 ? manager_.Read(process.pid, address, seen) : process.memory.Read(address, seen);
    HOTPATH_CHECK(result == Expected(process, address, size, CowAccess::kRead), "a read");
    for (size_t i = 0; i < size; ++i) {
      HOTPATH_CHECK(seen[i] == (result.ok() ? ByteAt(process, address + i) : std::byte{0xa5}), "a read's bytes");
    }
  }

  static void CheckBytes(const Process& process) {
    for (const auto& [number, page] : process.pages) {
      const hotpath::Result<void> result =
          process.memory.WithPage(number * kPage, [&, n = number](std::span<const std::byte, kPage> view) {
            for (size_t i = 0; i < kPage; ++i) HOTPATH_CHECK(view[i] == ByteAt(process, n * kPage + i), "a view");
          });
      HOTPATH_CHECK(result == ((page.access & 1) != 0 ? Code::kOK : Code::kEACCES), "a view");
    }
  }

  void CheckCounters(const Process& process) const {
    hotpath::CowStats expected{process.counters};
    uint64_t ends = 0;  // of ranges of like pages
    uint64_t next = 0;
    const OraclePage* before = nullptr;
    for (const auto& [number, page] : process.pages) {
      ++expected.mapped;
      if (before == nullptr || next != number || before->access != page.access || before->shared != page.shared) {
        ends += 2;
      }
      before = &page;
      next = number + 1;
      if (page.shared) {
        ++expected.common;
        expected.common_resident += page.region->contains(number);
      } else if (page.bytes == nullptr) {
        ++expected.zero;
      } else {
        ++expected.resident;
        (page.bytes.use_count() > 1 ? expected.shared : expected.private_pages) += 1;
      }
    }
    expected.bytes_saved = expected.shared * kPage;
    const hotpath::CowStats stats = process.memory.Stats();
    constexpr uint64_t kLevels = (64 - kOptions.page_bits + kOptions.fanout_bits - 1) / kOptions.fanout_bits;
    HOTPATH_CHECK(has_spare_nodes_ || stats.table_bytes <= (ends + expected.resident) * kLevels * Memory::kNodeBytes,
                  "nodes that nothing needs");
    expected.table_bytes = stats.table_bytes;
    HOTPATH_CHECK(stats == expected, "the statistics");
    HOTPATH_CHECK(process.memory.Counters() == static_cast<const hotpath::CowCounters&>(expected), "the counters");
    HOTPATH_CHECK(expected.mapped != 0 || stats.table_bytes == 0, "an empty memory has nodes");
  }

  Input& input_;
  bool has_spare_nodes_ = false;  // paths to pages that were not written after all
  Manager manager_;
  int32_t next_pid_ = 1;
  std::vector<std::unique_ptr<Process>> processes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, std::min<size_t>(size, 1500));
  switch (input.Byte() % 3) {
    case 0:
      Program<CowOptions{.page_bits = 4, .fanout_bits = 1, .weight_bits = 1}>(input).Run();
      break;
    case 1:
      Program<CowOptions{.page_bits = 5, .fanout_bits = 2, .weight_bits = 3}>(input).Run();
      break;
    default:
      Program<CowOptions{.page_bits = 6}>(input).Run();
  }
  return 0;
}
