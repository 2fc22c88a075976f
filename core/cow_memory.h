#ifndef HOTPATH_CORE_COW_MEMORY_H_
#define HOTPATH_CORE_COW_MEMORY_H_

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/detail/cow_memory_inl.h"
#include "hotpath/core/inline_string.h"
#include "hotpath/core/result.h"

namespace hotpath {

// For models, which need small ones. A node has 2^fanout_bits slots; an object may be split into 2^weight_bits
// references before its count is touched again.
struct CowOptions {
  uint32_t page_bits = 12;
  uint32_t fanout_bits = 5;
  uint8_t weight_bits = 30;
};

// What may be done to a page. Execute is only kept.
enum class CowAccess : uint8_t { kNone = 0, kRead = 1, kWrite = 2, kReadWrite = 3, kExecute = 4, kReadExecute = 5 };
constexpr CowAccess operator|(CowAccess a, CowAccess b) {
  return static_cast<CowAccess>(static_cast<uint8_t>(a) | static_cast<uint8_t>(b));
}

enum class CowSharing : uint8_t {
  kPrivate,  // a fork gets a copy
  kShared,   // a fork goes on with the same pages
};

enum class CowPlacement : uint8_t {
  kReplace,    // what was mapped there is gone
  kNoReplace,  // EEXIST if anything was
};

// Kept as it goes: to read them costs no walk.
struct CowCounters {
  uint64_t mapped = 0;       // pages, private and shared
  uint64_t resident = 0;     // private pages that have bytes of their own, though a fork may have the same ones
  uint64_t faults = 0;       // writes that found no page to write to: the sum of the next three
  uint64_t zero_filled = 0;  //   a zero page got bytes
  uint64_t copied = 0;       //   a page was shared with a fork, and copied (not read if the write covers it)
  uint64_t stolen = 0;       //   a page had been shared, but nobody else held it any more

  friend bool operator==(const CowCounters&, const CowCounters&) = default;
};

// All of it, in pages unless it says bytes.
struct CowStats : CowCounters {
  uint64_t shared = 0;           // of resident: held by another fork too
  uint64_t private_pages = 0;    // of resident: the rest
  uint64_t zero = 0;             // private pages without bytes
  uint64_t common = 0;           // pages of shared mappings, with or without bytes
  uint64_t common_resident = 0;  // of these: with bytes; those of parts unmapped here are not counted
  uint64_t bytes_saved = 0;      // what a full copy would have cost: shared * the page size
  uint64_t table_bytes = 0;      // nodes of the page table, shared ones too

  friend bool operator==(const CowStats&, const CowStats&) = default;
};

template <CowOptions kOptions, SyncPolicy Sync>
class BasicCowMemoryManager;

// CowMemory: the memory of a process, 2^64 bytes in pages of 4 KiB. Untouched ones cost nothing, and Fork is O(1).
//
// Contract  Each method is one step to users of this memory and to its forks; to the forks, a Write across pages of a
//           shared mapping is one step a page. What fails, ENOMEM too, changes no byte. Moved-from: empty, but for the
//           counts of faults, which stay with the object that had them. What a shared mapping holds lives as long as
//           any memory maps any of it: unmapping a part frees no bytes.
// Progress  All blocking: readers of one memory run together, writers alone; Map, Unmap and Protect free what goes
//           before they let others in. Forks wait for each other only to copy a node that both hold, and at shared
//           mappings. Destroying must not race with use.
// Cost      Read: 2 RMWs; a page, up to 11 nodes, mostly 3. Write in place: 4 RMWs. Fork: 4 RMWs, one more in 30 forks;
//           no allocation. First write after one: the page and the nodes to it, an allocation and 1 or 2 RMWs each.
//           Shared mappings: a page read is 2 RMWs more, one written 4, and 8 in a write of several; a Fork 1.
//           Map, Unmap, Protect: nodes at both ends, what goes, for Protect those between; and a list of shared
//           mappings, if they come or go. Drop: what nobody else has, an RMW for what hangs from that; 11 calls deep.
// Not for   a fork(2) child if another thread was inside. A callback holds the lock of its memory, and at a shared
//           mapping the mapping's: it must use neither that memory nor another that has the mapping, and any others
//           only in one global order, as with mutexes. Checked if a thread would wait for its own writing.
// Proof     cow_memory_model fails if any [tag] is weakened; cow_memory_fuzz against a std::map of pages.
// Example   CowMemoryTest.AChildSeesWhatItsParentHadAndNotWhatItWrites
template <CowOptions kOptions = CowOptions{}, SyncPolicy Sync = StdSync>
class BasicCowMemory {
  using Tree = cow_memory_internal::Tree<kOptions, Sync>;
  using Region = cow_memory_internal::Region<kOptions, Sync>;
  using Shares = cow_memory_internal::Shares<kOptions, Sync>;
  using Lock = cow_memory_internal::ReadersWriterLock<Sync>;
  using ReadLock = cow_memory_internal::ReadLock<Sync>;
  using WriteLock = cow_memory_internal::WriteLock<Sync>;
  template <class T>
  using Handle = cow_memory_internal::Handle<T, Sync>;

 public:
  static constexpr size_t kPageBytes = Tree::kPageBytes;
  static constexpr size_t kNodeBytes = Tree::kNodeBytes;  // of the page table

  BasicCowMemory() = default;
  BasicCowMemory(BasicCowMemory&& other) noexcept : state_(other.Take()) {}
  BasicCowMemory& operator=(BasicCowMemory&& other) noexcept {
    State state = other.Take();
    Swap(state);
    return *this;
  }

  // Maps the pages that `length` bytes from `address` touch; they read as zeros. EINVAL: `address` is not the start of
  // a page, `length` is 0, or the range passes the end. EEXIST, with the address: see CowPlacement.
  Result<void> Map(uint64_t address, uint64_t length, CowAccess access, CowSharing sharing = CowSharing::kPrivate,
                   CowPlacement placement = CowPlacement::kReplace) {
    const std::optional<Range> range = RangeOf(address, length);
    if (!range) return Code::kEINVAL;
    const bool shared = sharing == CowSharing::kShared;
    const uint8_t attr = cow_memory_internal::kMapped | (shared ? cow_memory_internal::kShared : 0) | BitsOf(access);
    try {
      Handle<Region> region(shared ? Sync::template New<Region>() : nullptr);
      return Change(*range, {.keep = 0, .set = attr, .drops = true}, std::move(region), placement);
    } catch (const std::bad_alloc&) {
      return Code::kENOMEM;
    }
  }

  // Holes in the range are fine. EINVAL: as Map. What a shared mapping holds, see above.
  Result<void> Unmap(uint64_t address, uint64_t length) {
    const std::optional<Range> range = RangeOf(address, length);
    if (!range) return Code::kEINVAL;
    try {
      return Change(*range, {.keep = 0, .set = 0, .drops = true}, {}, CowPlacement::kReplace);
    } catch (const std::bad_alloc&) {
      return Code::kENOMEM;
    }
  }

  // ENOMEM, with the address: a page in the range is not mapped. EINVAL: as Map, but 0 bytes are fine, as for Linux.
  Result<void> Protect(uint64_t address, uint64_t length, CowAccess access) {
    if (length == 0 && address % kPageBytes == 0) return {};
    const std::optional<Range> range = RangeOf(address, length);
    if (!range) return Code::kEINVAL;
    constexpr uint8_t kKeep = static_cast<uint8_t>(~cow_memory_internal::kAccess);
    try {
      return Change(*range, {.keep = kKeep, .set = BitsOf(access), .drops = false}, {}, CowPlacement::kReplace);
    } catch (const std::bad_alloc&) {
      return Code::kENOMEM;
    }
  }

  // All of `out` or nothing. The error has the first address that cannot be read: EFAULT if it is not mapped, EACCES if
  // it is protected. A range past the end is EFAULT at its start.
  Result<void> Read(uint64_t address, std::span<std::byte> out) const {
    if (out.empty()) return {};
    const ReadLock lock(lock_);
    if (Result<void> checked = Check(address, out.size(), CowAccess::kRead); !checked.ok()) return checked;
    for (size_t done = 0; done < out.size();) {
      const Piece piece(address + done, out.size() - done);
      const typename Tree::Found found = state_.tree.Find(piece.page);
      if ((found.attr & cow_memory_internal::kShared) != 0) {
        Region& region = state_.shares->At(piece.page);
        const ReadLock region_lock(region.lock);
        CopyOut(region.pages.Find(piece.page).page, piece, out.data() + done);
      } else {
        CopyOut(found.page, piece, out.data() + done);
      }
      done += piece.length;
    }
    return {};
  }

  // All of `bytes` or nothing. Errors: as Read, and ENOMEM.
  Result<void> Write(uint64_t address, std::span<const std::byte> bytes) {
    if (bytes.empty()) return {};
    Spares spares;
    const WriteLock lock(lock_);
    if (Result<void> checked = Check(address, bytes.size(), CowAccess::kWrite); !checked.ok()) return checked;
    try {
      // One page cannot be half written. For several, all that could fail is done first.
      if (Piece(address, bytes.size()).length != bytes.size()) Prepare(address, bytes.size(), spares);
      for (size_t done = 0; done < bytes.size();) {
        const Piece piece(address + done, bytes.size() - done);
        WithWritable(piece.page, spares, piece.length != kPageBytes, [&](typename Tree::Bytes& page) {
          std::memcpy(page.bytes + piece.offset, bytes.data() + done, piece.length);
        });
        done += piece.length;
      }
    } catch (const std::bad_alloc&) {
      return Code::kENOMEM;
    }
    return {};
  }

  // f(std::span<const std::byte, kPageBytes>): the page that `address` is in, without a copy. Writers of this memory
  // wait meanwhile. Errors: as Read; then f is not called.
  template <std::invocable<std::span<const std::byte, kPageBytes>> F>
  Result<void> WithPage(uint64_t address, F&& f) const {
    const ReadLock lock(lock_);
    if (Result<void> checked = Check(address, 1, CowAccess::kRead); !checked.ok()) return checked;
    const uint64_t number = Piece(address, 1).page;
    const typename Tree::Found found = state_.tree.Find(number);
    if ((found.attr & cow_memory_internal::kShared) != 0) {
      Region& region = state_.shares->At(number);
      const ReadLock region_lock(region.lock);
      std::invoke(std::forward<F>(f), ViewOf(region.pages.Find(number).page));
    } else {
      std::invoke(std::forward<F>(f), ViewOf(found.page));
    }
    return {};
  }

  // f(std::span<std::byte, kPageBytes>): as WithPage, to write to. Everybody else waits meanwhile. The page counts as
  // written to even if f throws. Errors: as Write.
  template <std::invocable<std::span<std::byte, kPageBytes>> F>
  Result<void> WithWritablePage(uint64_t address, F&& f) {
    Spares spares;
    const WriteLock lock(lock_);
    if (Result<void> checked = Check(address, 1, CowAccess::kWrite); !checked.ok()) return checked;
    const uint64_t number = Piece(address, 1).page;
    try {
      Prepare(address, 1, spares);
    } catch (const std::bad_alloc&) {
      return Code::kENOMEM;
    }
    WithWritable(number, spares, true, [&](typename Tree::Bytes& page) {
      std::invoke(std::forward<F>(f), std::span<std::byte, kPageBytes>(page.bytes));
    });
    return {};
  }

  // The child: the same mappings, the same bytes. From now on, what one of the two writes the other does not see, but
  // in shared mappings.
  [[nodiscard]] BasicCowMemory Fork() noexcept { return BasicCowMemory(ForkState()); }

  // To go back to what the memory is now: a fork that nobody runs in. Restore as often as you like; what shared
  // mappings hold is not part of it. Writes that come between the two steps of a Restore are lost.
  [[nodiscard]] BasicCowMemory Snapshot() noexcept { return Fork(); }
  void Restore(BasicCowMemory& snapshot) noexcept {
    State state = snapshot.ForkState();
    Swap(state);
  }

  CowCounters Counters() const {
    const ReadLock lock(lock_);
    return CurrentCounters();
  }

  // Walks the page table, writers of this memory waiting. Exact, unless forks of this memory run meanwhile, or what a
  // Restore or an assignment replaced is still being freed: then `shared` is what it was at some time for each page.
  CowStats Stats() const {
    const ReadLock lock(lock_);
    CowStats stats{CurrentCounters()};
    const typename Tree::Census census = state_.tree.Count();
    HOTPATH_DCHECK(census.resident == stats.resident);
    stats.shared = census.shared;
    stats.private_pages = census.resident - census.shared;
    stats.common = state_.tree.mapped_shared();
    stats.zero = stats.mapped - stats.common - stats.resident;
    stats.bytes_saved = census.shared * kPageBytes;
    stats.table_bytes = census.nodes * Tree::kNodeBytes;
    if (state_.shares) {
      for (const typename Shares::Share& share : state_.shares->list) {
        Region& region = *share.region.get();
        const ReadLock region_lock(region.lock);
        stats.common_resident += ResidentIn(region.pages, share.first, share.last);
      }
    }
    return stats;
  }

 private:
  template <CowOptions, SyncPolicy>
  friend class BasicCowMemoryManager;

  struct State {
    Tree tree;
    Handle<Shares> shares;  // null: none
  };
  struct Range {
    uint64_t first, last;  // pages
  };

  // The part of `size` bytes at `address` that is in the first page.
  struct Piece {
    Piece(uint64_t address, size_t size)
        : page(address >> kOptions.page_bits),
          offset(static_cast<size_t>(address % kPageBytes)),
          length(std::min(kPageBytes - offset, size)) {}
    uint64_t page;
    size_t offset, length;
  };

  // Pages allocated before anything is changed. What is left is freed, after the lock.
  class Spares {
   public:
    Spares() = default;
    Spares(const Spares&) = delete;
    Spares& operator=(const Spares&) = delete;
    ~Spares() {
      for (typename Tree::Page* page : pages_) Sync::Delete(page);
    }
    void Add() {
      pages_.push_back(nullptr);
      pages_.back() = Tree::NewPage();
    }
    typename Tree::Page* Take() {
      if (pages_.empty()) return Tree::NewPage();
      typename Tree::Page* const page = pages_.back();
      pages_.pop_back();
      return page;
    }

   private:
    std::vector<typename Tree::Page*> pages_;
  };

  static constexpr std::array<std::byte, kPageBytes> kZeros{};

  explicit BasicCowMemory(State state) noexcept : state_(std::move(state)) {}

  static uint8_t BitsOf(CowAccess access) {
    HOTPATH_CHECK((static_cast<uint8_t>(access) & ~cow_memory_internal::kAccess) == 0, "CowMemory: no such CowAccess");
    return static_cast<uint8_t>(access);
  }
  static std::optional<Range> RangeOf(uint64_t address, uint64_t length) {
    if (address % kPageBytes != 0 || length == 0 || length - 1 > ~address) return std::nullopt;
    return Range{address >> kOptions.page_bits, (address + (length - 1)) >> kOptions.page_bits};
  }
  static Error At(Code code, uint64_t address) { return Error{code, InlineString::Format("at %#x", address)}; }

  State Take() noexcept {
    State taken;
    Swap(taken);
    return taken;
  }
  void Swap(State& state) noexcept {
    const WriteLock lock(lock_);
    std::swap(state_, state);
  }
  State ForkState() noexcept {
    const WriteLock lock(lock_);
    return State{state_.tree.Fork(), state_.shares};
  }

  CowCounters CurrentCounters() const HOTPATH_REQUIRES_SHARED(lock_) {
    CowCounters counters = counters_;
    counters.mapped = state_.tree.mapped();
    counters.resident = state_.tree.resident();
    return counters;
  }

  Result<void> Check(uint64_t address, size_t size, CowAccess access) const HOTPATH_REQUIRES_SHARED(lock_) {
    if (size - 1 > ~address) return At(Code::kEFAULT, address);
    const uint8_t needed = cow_memory_internal::kMapped | static_cast<uint8_t>(access);
    const uint64_t first = address >> kOptions.page_bits, last = (address + (size - 1)) >> kOptions.page_bits;
    uint64_t bad = first;
    uint8_t attr = 0;
    if (first == last) {
      attr = state_.tree.Find(first).attr;
      if ((attr & needed) == needed) [[likely]]
        return {};
    } else if (state_.tree.Visit(first, last, [&](uint64_t from, uint64_t, uint8_t seen, const typename Tree::Page*) {
                 bad = from;
                 attr = seen;
                 return (attr & needed) == needed;
               })) {
      return {};
    }
    return At((attr & cow_memory_internal::kMapped) != 0 ? Code::kEACCES : Code::kEFAULT,
              std::max(address, bad << kOptions.page_bits));
  }

  Result<void> Change(const Range& range, const cow_memory_internal::Change& change, Handle<Region> region,
                      CowPlacement placement) {
    const WriteLock lock(lock_);
    State next;  // later what was there before, destroyed under the lock: see Tree::With
    const bool wants_mapped = !change.drops, refuses_mapped = placement == CowPlacement::kNoReplace;
    if (wants_mapped || refuses_mapped) {
      uint64_t bad = 0;
      const bool fine = state_.tree.Visit(range.first, range.last,
                                          [&](uint64_t from, uint64_t, uint8_t attr, const typename Tree::Page*) {
                                            bad = from << kOptions.page_bits;
                                            return ((attr & cow_memory_internal::kMapped) != 0) == wants_mapped;
                                          });
      if (!fine) return At(wants_mapped ? Code::kENOMEM : Code::kEEXIST, bad);
    }
    next.shares = state_.shares;
    if (change.drops && (region || (next.shares && next.shares->Overlaps(range.first, range.last)))) {
      next.shares =
          Handle<Shares>(Sync::template New<Shares>(state_.shares.get(), range.first, range.last, std::move(region)));
      if (next.shares->list.empty()) next.shares = {};
    }
    next.tree = state_.tree.With(range.first, range.last, change);
    std::swap(state_, next);
    return {};
  }

  static std::span<const std::byte, kPageBytes> ViewOf(const typename Tree::Page* page) {
    if (page == nullptr) return kZeros;
    return std::span<const std::byte, kPageBytes>(page->bytes.Read().bytes);
  }
  static void CopyOut(const typename Tree::Page* page, const Piece& piece, std::byte* to) {
    if (page == nullptr) {
      std::memset(to, 0, piece.length);
    } else {
      std::memcpy(to, page->bytes.Read().bytes + piece.offset, piece.length);
    }
  }

  // Does all of a write that may fail. Leaves what every page reads as it was.
  void Prepare(uint64_t address, size_t size, Spares& spares) HOTPATH_REQUIRES(lock_) {
    const uint64_t first = address >> kOptions.page_bits, last = (address + (size - 1)) >> kOptions.page_bits;
    for (uint64_t number = first;; ++number) {
      if (PrepareOne(number)) spares.Add();
      if (number == last) return;
    }
  }
  bool PrepareOne(uint64_t number) HOTPATH_REQUIRES(lock_) {
    if ((state_.tree.Find(number).attr & cow_memory_internal::kShared) == 0) {
      return Tree::NeedsPage(state_.tree.Locate(number).fault());
    }
    Region& region = state_.shares->At(number);
    const WriteLock region_lock(region.lock);
    return Tree::NeedsPage(region.pages.Locate(number).fault());
  }

  template <class F>
  void WithWritable(uint64_t number, Spares& spares, bool keep, F&& f) HOTPATH_REQUIRES(lock_) {
    if ((state_.tree.Find(number).attr & cow_memory_internal::kShared) == 0) {
      f(Resolve(state_.tree, number, spares, keep));
    } else {
      Region& region = state_.shares->At(number);
      const WriteLock region_lock(region.lock);
      f(Resolve(region.pages, number, spares, keep));
    }
  }
  typename Tree::Bytes& Resolve(Tree& tree, uint64_t number, Spares& spares, bool keep) HOTPATH_REQUIRES(lock_) {
    using cow_memory_internal::Fault;
    const typename Tree::Place place = tree.Locate(number);
    const Fault fault = place.fault();
    typename Tree::Page* const fresh = Tree::NeedsPage(fault) ? spares.Take() : nullptr;
    counters_.faults += fault != Fault::kNone;
    counters_.zero_filled += fault == Fault::kZeroFill;
    counters_.copied += fault == Fault::kCopy;
    counters_.stolen += fault == Fault::kSteal;
    return tree.Resolve(place, fresh, keep);
  }

  static uint64_t ResidentIn(const Tree& tree, uint64_t first, uint64_t last) {
    uint64_t pages = 0;
    tree.Visit(first, last, [&](uint64_t, uint64_t, uint8_t, const typename Tree::Page* page) {
      pages += page != nullptr;
      return true;
    });
    return pages;
  }

  // For the manager: counts pages and nodes that are not in `seen`, and puts them there.
  struct Distinct {
    std::unordered_set<const void*> seen;
    uint64_t pages = 0, common_pages = 0, nodes = 0;

    uint64_t Add(const Tree& tree) {
      uint64_t found = 0;
      tree.Walk(
          [&](const void* node) {
            const bool is_new = seen.insert(node).second;
            nodes += is_new;
            return is_new;
          },
          [&](const void* page) { found += seen.insert(page).second; });
      return found;
    }
  };
  void AddTo(Distinct& distinct) const {
    const ReadLock lock(lock_);
    distinct.pages += distinct.Add(state_.tree);
    if (!state_.shares) return;
    for (const typename Shares::Share& share : state_.shares->list) {
      Region& region = *share.region.get();
      if (!distinct.seen.insert(&region).second) continue;
      const ReadLock region_lock(region.lock);
      distinct.common_pages += distinct.Add(region.pages);
    }
  }

  mutable Lock lock_;
  State state_ HOTPATH_GUARDED_BY(lock_);
  CowCounters counters_ HOTPATH_GUARDED_BY(lock_);  // mapped and resident are the tree's
};

using CowMemory = BasicCowMemory<>;

// Of all memories of a manager together. Shared things count once.
struct CowTotals {
  uint64_t memories = 0;
  uint64_t mapped = 0;           // pages: the sum over the memories
  uint64_t resident = 0;         // private pages with bytes: the sum over the memories, what full copies would hold
  uint64_t pages = 0;            // private pages that there are
  uint64_t common_resident = 0;  // pages of shared mappings that there are, unmapped parts too
  uint64_t faults = 0, zero_filled = 0, copied = 0, stolen = 0;  // of the memories that are there
  uint64_t bytes_saved = 0;                                      // (resident - pages) * the page size
  uint64_t table_bytes = 0;

  friend bool operator==(const CowTotals&, const CowTotals&) = default;
};

// CowMemoryManager: the memories of processes, by pid.
//
// Contract  Create and Fork give a pid a memory, Free takes it away. Each is one step to the table; a Fork's child is
//           what its parent was at some time during the call, and its pid appears later. What Get returned lives on
//           after Free. ESRCH: no memory has that pid. EEXIST: one has it already, also if parent and child are the
//           same. ENOMEM: nothing was changed, but that a parent may count pages as stolen.
// Progress  All blocking. The lock over the table is held for a lookup, never while bytes are copied or freed.
// Cost      A lookup under the lock, two RMWs for the handle, and what CowMemory says.
// Not for   fork(2) amid another thread's call.
// Proof     cow_memory_stress; the unit test.
// Example   CowMemoryManagerTest.AForkedPidHasWhatItsParentHad
template <CowOptions kOptions = CowOptions{}, SyncPolicy Sync = StdSync>
class BasicCowMemoryManager {
 public:
  using Pid = int32_t;
  using Memory = BasicCowMemory<kOptions, Sync>;

  BasicCowMemoryManager() = default;
  BasicCowMemoryManager(const BasicCowMemoryManager&) = delete;
  BasicCowMemoryManager& operator=(const BasicCowMemoryManager&) = delete;

  Result<void> Create(Pid pid) {
    try {
      return Insert(pid, std::make_shared<Memory>());
    } catch (const std::bad_alloc&) {
      return Code::kENOMEM;
    }
  }
  Result<void> Fork(Pid parent, Pid child) {
    const std::shared_ptr<Memory> from = Get(parent);
    if (from == nullptr) return Code::kESRCH;
    if (Get(child) != nullptr) return Code::kEEXIST;  // Insert finds out too, but the fork would leave traces
    try {
      auto forked = std::make_shared<Memory>();
      *forked = from->Fork();
      return Insert(child, std::move(forked));
    } catch (const std::bad_alloc&) {
      return Code::kENOMEM;
    }
  }
  Result<void> Free(Pid pid) {
    std::shared_ptr<Memory> freed;  // after the lock
    const MutexLock lock(mu_);
    const auto at = memories_.find(pid);
    if (at == memories_.end()) return Code::kESRCH;
    freed = std::move(at->second);
    memories_.erase(at);
    return {};
  }

  // The memory of a pid, for all that can be done with one; null if there is none.
  std::shared_ptr<Memory> Get(Pid pid) const {
    const MutexLock lock(mu_);
    const auto at = memories_.find(pid);
    return at == memories_.end() ? nullptr : at->second;
  }

  Result<void> Read(Pid pid, uint64_t address, std::span<std::byte> out) const {
    const std::shared_ptr<Memory> memory = Get(pid);
    return memory == nullptr ? Code::kESRCH : memory->Read(address, out);
  }
  Result<void> Write(Pid pid, uint64_t address, std::span<const std::byte> bytes) {
    const std::shared_ptr<Memory> memory = Get(pid);
    return memory == nullptr ? Code::kESRCH : memory->Write(address, bytes);
  }

  size_t size() const {
    const MutexLock lock(mu_);
    return memories_.size();
  }

  // Walks every page table, one memory after the other: exact if nothing runs meanwhile. Allocates: may throw
  // bad_alloc.
  CowTotals TotalStats() const {
    std::vector<std::shared_ptr<Memory>> memories;
    {
      const MutexLock lock(mu_);
      memories.reserve(memories_.size());
      for (const auto& [pid, memory] : memories_) memories.push_back(memory);
    }
    CowTotals totals;
    typename Memory::Distinct distinct;
    for (const std::shared_ptr<Memory>& memory : memories) {
      const CowCounters counters = memory->Counters();
      ++totals.memories;
      totals.mapped += counters.mapped;
      totals.resident += counters.resident;
      totals.faults += counters.faults;
      totals.zero_filled += counters.zero_filled;
      totals.copied += counters.copied;
      totals.stolen += counters.stolen;
      memory->AddTo(distinct);
    }
    totals.pages = distinct.pages;
    totals.common_resident = distinct.common_pages;
    totals.bytes_saved = (totals.resident - std::min(totals.resident, totals.pages)) * Memory::kPageBytes;
    totals.table_bytes = distinct.nodes * Memory::Tree::kNodeBytes;
    return totals;
  }

 private:
  // NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved on
  Result<void> Insert(Pid pid, std::shared_ptr<Memory> memory) {
    const MutexLock lock(mu_);
    if (!memories_.try_emplace(pid, std::move(memory)).second) return Code::kEEXIST;
    return {};
  }

  mutable typename Sync::Mutex mu_;
  // Not a flat_hash_map: that one breaks if an insertion runs out of memory.
  std::unordered_map<Pid, std::shared_ptr<Memory>> memories_ HOTPATH_GUARDED_BY(mu_);
};

using CowMemoryManager = BasicCowMemoryManager<>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_COW_MEMORY_H_
