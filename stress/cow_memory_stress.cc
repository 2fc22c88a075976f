#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/cow_memory.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/rng.h"
#include "stress/base/storm.h"

namespace hotpath::stress {
namespace {

// Counts what lives, and how often a thread waits for another one: in the loop over a node's weights, or parked for
// readers. `Base` is StdSync or ChaosSync.
template <class Base>
struct WatchingSync : Base {
  static inline std::atomic<int64_t> live{0};
  static inline std::atomic<uint64_t> met{0};

  static void Pause() noexcept {
    met.fetch_add(1, std::memory_order::relaxed);
    Base::Pause();
  }
  [[nodiscard]] static bool Park(typename Base::template Atomic<uint32_t>& word, uint32_t expected,
                                 Deadline deadline = kNoDeadline) noexcept {
    met.fetch_add(1, std::memory_order::relaxed);
    return Base::Park(word, expected, deadline);
  }
  template <class T, class... Args>
  [[nodiscard]] static T* New(Args&&... args) {
    T* const object = Base::template New<T>(std::forward<Args>(args)...);
    live.fetch_add(1, std::memory_order::relaxed);
    return object;
  }
  template <class T>
  static void Delete(T* object) noexcept {
    if (object != nullptr) live.fetch_sub(1, std::memory_order::relaxed);
    Base::Delete(object);
  }
};

// Small pages keep the copies short and the tree deep; small weights run out often.
constexpr CowOptions kSmall{.page_bits = 7, .fanout_bits = 2, .weight_bits = 2};

template <class Base, CowOptions kShape>
struct Case {
  using Sync = WatchingSync<Base>;
  static constexpr CowOptions kOptions = kShape;
  using Memory = BasicCowMemory<kShape, Sync>;
  using Manager = BasicCowMemoryManager<kShape, Sync>;
};
using Cases = testing::Types<Case<ChaosSync, kSmall>, Case<StdSync, CowOptions{}>>;

template <class C>
struct CowMemoryStress : testing::Test {
  using Memory = typename C::Memory;
  static constexpr uint64_t kPage = Memory::kPageBytes;

  void SetUp() override {
    C::Sync::met.store(0);
    ASSERT_EQ(C::Sync::live.load(), 0);
  }
  void TearDown() override { EXPECT_EQ(C::Sync::live.load(), 0) << "pages or nodes are left, or were freed twice"; }

  static uint64_t Get(const Memory& memory, uint64_t address) {
    uint64_t value = 0;
    EXPECT_TRUE(memory.Read(address, std::as_writable_bytes(std::span(&value, 1))).ok());
    return value;
  }
  static void Put(Memory& memory, uint64_t address, uint64_t value) {
    EXPECT_TRUE(memory.Write(address, std::as_bytes(std::span(&value, 1))).ok());
  }

  // What a walk over every page finds out by itself, without a counter or a node: whose bytes a page has is known by
  // where they are.
  class Walk {
   public:
    // Of the memories that there are, all of whose pages are among the first `pages` and can be read; shared mappings
    // are from `first_common` on. Nothing runs meanwhile.
    Walk(const std::vector<const Memory*>& memories, uint64_t pages, uint64_t first_common = ~uint64_t{0})
        : memories_(memories), found_(memories.size()) {
      Memory untouched;
      EXPECT_TRUE(untouched.Map(0, kPage, CowAccess::kRead).ok());
      const std::byte* const zeros = BytesOf(untouched, 0);
      std::map<const std::byte*, uint64_t> holders;  // of private pages: how many memories; of common ones: any number
      for (size_t i = 0; i < memories.size(); ++i) {
        CowStats& stats = found_[i];
        for (uint64_t page = 0; page < pages; ++page) {
          const std::byte* const bytes = BytesOf(*memories[i], page);
          if (bytes == nullptr) continue;
          const bool common = page >= first_common, resident = bytes != zeros;
          ++stats.mapped;
          stats.common += common;
          stats.common_resident += common && resident;
          stats.resident += !common && resident;
          stats.zero += !common && !resident;
          if (!resident) continue;
          (common ? common_ : private_).insert(bytes);
          ++holders[bytes];
        }
      }
      for (size_t i = 0; i < memories.size(); ++i) {
        CowStats& stats = found_[i];
        for (uint64_t page = 0; page < std::min(pages, first_common); ++page) {
          const auto at = holders.find(BytesOf(*memories[i], page));
          stats.shared += at != holders.end() && at->second > 1;
        }
        stats.private_pages = stats.resident - stats.shared;
        stats.bytes_saved = stats.shared * kPage;
      }
    }

    // The statistics of each are what was found; those that cannot be are at least consistent.
    void CheckEach() const {
      for (size_t i = 0; i < memories_.size(); ++i) {
        const CowStats stats = memories_[i]->Stats();
        CowStats expected = found_[i];
        expected.faults = stats.zero_filled + stats.copied + stats.stolen;
        expected.zero_filled = stats.zero_filled;
        expected.copied = stats.copied;
        expected.stolen = stats.stolen;
        expected.table_bytes = stats.table_bytes;
        EXPECT_EQ(stats, expected) << "memory " << i << ": " << Print(stats) << " and not " << Print(expected);
        EXPECT_EQ(memories_[i]->Counters(), static_cast<const CowCounters&>(expected));
      }
    }
    // These are the memories of `manager`. Without shared mappings, pages and nodes are all that lives.
    void CheckTotals(const typename C::Manager& manager) const {
      CowTotals expected{.memories = memories_.size(), .pages = private_.size()};
      for (const Memory* memory : memories_) {
        const CowCounters counters = memory->Counters();
        expected.faults += counters.faults;
        expected.zero_filled += counters.zero_filled;
        expected.copied += counters.copied;
        expected.stolen += counters.stolen;
      }
      bool has_common = false;
      for (const CowStats& stats : found_) {
        expected.mapped += stats.mapped;
        expected.resident += stats.resident;
        has_common |= stats.common != 0;
      }
      const CowTotals totals = manager.TotalStats();
      EXPECT_GE(totals.common_resident, common_.size()) << "parts that are mapped nowhere count too";
      expected.common_resident = totals.common_resident;
      expected.bytes_saved = (expected.resident - expected.pages) * kPage;
      expected.table_bytes = totals.table_bytes;
      EXPECT_EQ(totals, expected) << totals.pages << " pages and not " << expected.pages << ", " << totals.resident
                                  << " resident and not " << expected.resident << ", " << totals.mapped
                                  << " mapped and not " << expected.mapped;
      if (has_common) return;
      EXPECT_EQ(static_cast<int64_t>(totals.pages + totals.table_bytes / Memory::kNodeBytes), C::Sync::live.load())
          << "a node or a page belongs to nobody";
    }

   private:
    // Null if it is not mapped.
    static const std::byte* BytesOf(const Memory& memory, uint64_t page) {
      const std::byte* bytes = nullptr;
      const Result<void> seen =
          memory.WithPage(page * kPage, [&](std::span<const std::byte, kPage> view) { bytes = view.data(); });
      EXPECT_TRUE(seen.ok() || seen == Code::kEFAULT);
      return bytes;
    }
    static std::string Print(const CowStats& stats) {
      std::ostringstream out;
      out << stats.mapped << " mapped, " << stats.resident << " resident (" << stats.shared << " shared, "
          << stats.private_pages << " private), " << stats.zero << " zero, " << stats.common << " common ("
          << stats.common_resident << " resident), " << stats.faults << " faults, " << stats.bytes_saved << " saved";
      return out.str();
    }

    const std::vector<const Memory*> memories_;
    std::vector<CowStats> found_;
    std::set<const std::byte*> private_, common_;
  };
};
TYPED_TEST_SUITE(CowMemoryStress, Cases);

// Every thread is a process: it writes its pages, checks that nobody else's writes show, and is now and then replaced
// by a fork of its neighbour's memory, after which it must see exactly what the neighbour's stamp says.
TYPED_TEST(CowMemoryStress, ProcessesThatForkWriteAndDropSeeNobodyElse) {
  using Memory = typename TestFixture::Memory;
  constexpr uint64_t kPage = TestFixture::kPage, kPages = 24;
  constexpr int kProcesses = 4;

  // Word 0 of page p of a memory is stamp * kPages + p: a memory is all of one stamp.
  struct Process {
    std::shared_ptr<Memory> memory = std::make_shared<Memory>();
    StdSync::Mutex mu;  // over the handle only
  };
  std::array<Process, kProcesses> processes;
  ASSERT_TRUE(processes[0].memory->Map(0, kPages * kPage, CowAccess::kReadWrite).ok());
  for (uint64_t page = 0; page < kPages; ++page) this->Put(*processes[0].memory, page * kPage, page);
  for (int i = 1; i < kProcesses; ++i) *processes[static_cast<size_t>(i)].memory = processes[0].memory->Fork();

  const auto handle = [&](size_t i) {
    const MutexLock lock(processes[i].mu);
    return processes[i].memory;
  };
  std::atomic<uint64_t> stamps{1}, copied{0}, stolen{0};
  Storm storm;
  for (size_t self = 0; self < kProcesses; ++self) {
    storm.Crowd(1, [&, self](Rng& rng) {
      // Another one's memory, forked while its owner writes, is of one stamp: a new stamp is one write across all.
      const std::shared_ptr<Memory> other = handle(rng.Below(kProcesses));
      auto mine = std::make_shared<Memory>(other->Fork());
      const uint64_t stamp = this->Get(*mine, 0) / kPages;
      for (uint64_t page = 0; page < kPages; ++page) {
        ASSERT_EQ(this->Get(*mine, page * kPage), stamp * kPages + page) << "a fork came amid a write";
      }
      // Some pages alone, then all in one write.
      for (int i = 0; i < 4; ++i) {
        const uint64_t page = rng.Below(kPages);
        this->Put(*mine, page * kPage + 8, self);
        ASSERT_EQ(this->Get(*mine, page * kPage + 8), self) << "another process wrote here";
      }
      const uint64_t next = stamps.fetch_add(1, std::memory_order::relaxed);
      std::vector<std::byte> image(kPages * kPage);
      for (uint64_t page = 0; page < kPages; ++page) {
        const uint64_t word = next * kPages + page;
        std::memcpy(image.data() + page * kPage, &word, sizeof(word));
      }
      std::shared_ptr<Memory> old = handle(self);
      ASSERT_TRUE(old->Write(0, image).ok());  // in place, others fork it meanwhile
      if (rng.OneIn(4)) {
        const MutexLock lock(processes[self].mu);
        processes[self].memory.swap(mine);
      }
      for (const auto& memory : {mine, old}) {
        const CowCounters counters = memory->Counters();
        copied.fetch_add(counters.copied, std::memory_order::relaxed);
        stolen.fetch_add(counters.stolen, std::memory_order::relaxed);
      }
    });
  }
  storm.MustHappen("a page was copied", [&] { return copied.load() != 0; });
  storm.MustHappen("a page was left by all others", [&] { return stolen.load() != 0; });
  if (std::is_base_of_v<ChaosSync, typename TypeParam::Sync>) {
    storm.MustHappen("a thread waited for another", [] { return TypeParam::Sync::met.load() != 0; });
  }
  storm.Run();
  std::vector<Memory> all;
  for (Process& process : processes) all.push_back(std::move(*process.memory));
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].Counters().resident, kPages);
  for (size_t i = 1; i < all.size(); ++i) {
    Memory gone = std::move(all[i]);
  }
  EXPECT_EQ(all[0].Stats().shared, 0u) << "a reference was lost";
}

// Threads of one process: writers of whole spans, readers that must never see half of one, forks that must not either,
// and one that maps, protects and unmaps beside them.
TYPED_TEST(CowMemoryStress, ThreadsOfOneMemorySeeWholeWrites) {
  using Memory = typename TestFixture::Memory;
  constexpr uint64_t kPage = TestFixture::kPage, kAt = kPage - 32, kWords = 8;  // across two pages
  Memory memory;
  ASSERT_TRUE(memory.Map(0, 2 * kPage, CowAccess::kReadWrite).ok());
  std::atomic<uint64_t> stamps{1};
  Storm storm;
  storm.Crowd(2, [&](Rng&) {
    std::array<uint64_t, kWords> words;
    words.fill(stamps.fetch_add(1, std::memory_order::relaxed));
    ASSERT_TRUE(memory.Write(kAt, std::as_bytes(std::span(words))).ok());
  });
  for (int reader = 0; reader < 2; ++reader) {
    storm.Crowd(1, [&, last = uint64_t{0}](Rng& rng) mutable {
      std::array<uint64_t, kWords> words;
      if (rng.OneIn(4)) {
        const Memory child = memory.Fork();
        ASSERT_TRUE(child.Read(kAt, std::as_writable_bytes(std::span(words))).ok());
        ASSERT_EQ(this->Get(child, kAt), words[0]) << "a child changed by itself";
      } else {
        ASSERT_TRUE(memory.Read(kAt, std::as_writable_bytes(std::span(words))).ok());
      }
      for (const uint64_t word : words) ASSERT_EQ(word, words[0]) << "half a write";
      if (words[0] != last) storm.Collided();
      last = words[0];
    });
  }
  storm.Crowd(1, [&](Rng& rng) {
    const uint64_t at = (4 + rng.Below(60)) * kPage, length = (1 + rng.Below(20)) * kPage;
    ASSERT_TRUE(
        memory.Map(at, length, CowAccess::kReadWrite, rng.OneIn(3) ? CowSharing::kShared : CowSharing::kPrivate).ok());
    this->Put(memory, at, 1);
    ASSERT_TRUE(memory.Protect(at, length, CowAccess::kRead).ok());
    ASSERT_FALSE(memory.Write(at, std::as_bytes(std::span(&length, 1))).ok());
    ASSERT_TRUE(memory.Unmap(4 * kPage, 80 * kPage).ok());
  });
  storm.MustCollide("a reader saw a new value");
  storm.Run();
  const CowStats stats = memory.Stats();
  EXPECT_EQ(stats.mapped, 2u);
  EXPECT_EQ(stats.resident, 2u);
  EXPECT_EQ(stats.shared, 0u);
}

// A shared mapping is one memory to all processes: each adds to its own counters, nothing is lost, while the processes
// come and go.
TYPED_TEST(CowMemoryStress, NothingWrittenToASharedMappingIsLost) {
  using Memory = typename TestFixture::Memory;
  constexpr uint64_t kPage = TestFixture::kPage;
  constexpr int kProcesses = 3;
  Memory root;
  ASSERT_TRUE(root.Map(0, 4 * kPage, CowAccess::kReadWrite, CowSharing::kShared).ok());
  ASSERT_TRUE(root.Map(4 * kPage, kPage, CowAccess::kReadWrite).ok());
  std::array<uint64_t, kProcesses> added{};
  Storm storm;
  for (size_t self = 0; self < kProcesses; ++self) {
    storm.Crowd(1, [&, self](Rng& rng) {
      Memory child = root.Fork();
      const uint64_t page = rng.Below(4);
      for (int i = 0; i < 8; ++i) {
        ASSERT_TRUE(child
                        .WithWritablePage(page * kPage,
                                          [&](std::span<std::byte> view) {
                                            uint64_t total;
                                            std::memcpy(&total, view.data(), sizeof(total));
                                            ++total;
                                            std::memcpy(view.data(), &total, sizeof(total));
                                          })
                        .ok());
      }
      added[self] += 8;
      this->Put(child, 4 * kPage, self);
    });
  }
  storm.Run();
  uint64_t total = 0;
  for (uint64_t page = 0; page < 4; ++page) total += this->Get(root, page * kPage);
  uint64_t expected = 0;
  for (const uint64_t n : added) expected += n;
  EXPECT_EQ(total, expected);
  EXPECT_EQ(this->Get(root, 4 * kPage), 0u);
}

// Forks of one memory, each in a thread of its own, change parts of the mapping they share: to copy a node that several
// hold, each halves its weights, and only there do they meet. What one of them does shows in no other, and afterwards
// every page and node belongs to whom it should.
TYPED_TEST(CowMemoryStress, ForksThatSplitTheSameNodesLoseNothing) {
  using Memory = typename TestFixture::Memory;
  using Manager = typename TypeParam::Manager;
  constexpr uint64_t kPage = TestFixture::kPage, kPages = 40;
  constexpr int32_t kForks = 4;
  constexpr bool kChaos = std::is_base_of_v<ChaosSync, typename TypeParam::Sync>;
  const auto begin = std::chrono::steady_clock::now();
  uint64_t round = 0;
  do {
    // What each page of each memory reads as; nothing if it is not mapped.
    std::array<std::array<std::optional<uint64_t>, kPages>, kForks + 1> expected;
    Manager manager;
    ASSERT_TRUE(manager.Create(0).ok());
    const std::shared_ptr<Memory> root = manager.Get(0);
    ASSERT_TRUE(root->Map(0, kPages * kPage, CowAccess::kReadWrite).ok());
    for (uint64_t page = 0; page < kPages; ++page) {
      if (page % 3 != 0) this->Put(*root, page * kPage, page + 1);
      expected[0][page] = page % 3 != 0 ? page + 1 : 0;
    }
    for (int32_t i = 1; i <= kForks; ++i) {
      ASSERT_TRUE(manager.Fork(i == 1 ? 0 : static_cast<int32_t>(round % static_cast<uint64_t>(i)), i).ok());
      expected[static_cast<size_t>(i)] = expected[0];
    }
    std::latch start(kForks + 1);
    {
      std::vector<std::jthread> threads;
      for (int32_t pid = 0; pid <= kForks; ++pid) {
        threads.emplace_back([&, pid] {
          Rng rng(SeedFromEnvironment(), round * (kForks + 1) + static_cast<uint64_t>(pid));
          thread_rng = Rng(~SeedFromEnvironment(), round * (kForks + 1) + static_cast<uint64_t>(pid));
          const std::shared_ptr<Memory> memory = manager.Get(pid);
          auto& mine = expected[static_cast<size_t>(pid)];
          Memory kept = memory->Snapshot();
          auto kept_expected = mine;
          start.arrive_and_wait();
          for (int i = 0; i < 12; ++i) {
            const uint64_t first = rng.Below(kPages), last = std::min(kPages - 1, first + rng.Below(9));
            const uint64_t at = first * kPage, length = (last - first + 1) * kPage;
            const bool whole = std::all_of(mine.begin() + first, mine.begin() + last + 1,
                                           [](const auto& value) { return value.has_value(); });
            switch (rng.Below(8)) {
              case 0:
                ASSERT_TRUE(memory->Unmap(at, length).ok());
                std::fill(mine.begin() + first, mine.begin() + last + 1, std::nullopt);
                break;
              case 1:
                ASSERT_TRUE(memory->Map(at, length, CowAccess::kReadWrite).ok());
                std::fill(mine.begin() + first, mine.begin() + last + 1, 0);
                break;
              case 2:
              case 3:
                // There and back: the nodes at both ends are copied, and are taken out again if they say nothing.
                ASSERT_EQ(memory->Protect(at, length, CowAccess::kRead).ok(), whole);
                if (!whole) break;
                ASSERT_FALSE(memory->Write(at, std::as_bytes(std::span(&at, 1))).ok());
                if (rng.OneIn(2)) StdSync::Yield();
                ASSERT_TRUE(memory->Protect(at, length, CowAccess::kReadWrite).ok());
                break;
              case 4:
                kept = memory->Snapshot();
                kept_expected = mine;
                break;
              case 5:
                if (rng.OneIn(2)) break;
                memory->Restore(kept);
                mine = kept_expected;
                break;
              default: {
                const uint64_t value = rng();
                ASSERT_EQ(memory->Write(at, std::as_bytes(std::span(&value, 1))).ok(), mine[first].has_value());
                if (mine[first]) mine[first] = value;
              }
            }
          }
        });
      }
    }
    std::vector<std::shared_ptr<Memory>> handles;
    std::vector<const Memory*> memories;
    for (int32_t pid = 0; pid <= kForks; ++pid) {
      handles.push_back(manager.Get(pid));
      memories.push_back(handles.back().get());
      for (uint64_t page = 0; page < kPages; ++page) {
        uint64_t seen = 0;
        const std::optional<uint64_t> value = expected[static_cast<size_t>(pid)][page];
        ASSERT_EQ(handles.back()->Read(page * kPage, std::as_writable_bytes(std::span(&seen, 1))).ok(),
                  value.has_value());
        ASSERT_EQ(seen, value.value_or(0)) << "pid " << pid << ", page " << page;
      }
    }
    const typename TestFixture::Walk walk(memories, kPages);
    walk.CheckEach();
    walk.CheckTotals(manager);
    // They go one by one, and what stays is alone in the end.
    for (int32_t pid = 0; pid < kForks; ++pid) {
      handles[static_cast<size_t>(pid)].reset();
      if (pid == 0) continue;
      ASSERT_TRUE(manager.Free(pid).ok());
    }
    ++round;
  } while (!this->HasFailure() && AnotherRound(begin, !kChaos || TypeParam::Sync::met.load() != 0));
  // No memory has two users, so only a node's weights can be what was waited for.
  if (kChaos) EXPECT_GT(TypeParam::Sync::met.load(), 0u) << "no two threads ever split one node: nothing was tested";
}

// Snapshots are taken, restored and replaced while others write, read and fork: a memory is of one stamp at any time,
// and so is a snapshot, which no write reaches.
TYPED_TEST(CowMemoryStress, SnapshotsAndRestoresAreOneStepToReadersWritersAndForks) {
  using Memory = typename TestFixture::Memory;
  constexpr uint64_t kPage = TestFixture::kPage, kPages = 12;
  Memory memory;
  std::array<Memory, 3> snapshots;
  // Word 0 of page p is stamp * kPages + p; word 1 is written by forks only.
  const auto stamp = [&](Memory& to, uint64_t value) {
    std::vector<std::byte> image(kPages * kPage);
    for (uint64_t page = 0; page < kPages; ++page) {
      const uint64_t word = value * kPages + page;
      std::memcpy(image.data() + page * kPage, &word, sizeof(word));
    }
    ASSERT_TRUE(to.Write(0, image).ok());
  };
  const auto read = [&](const Memory& from, uint64_t& value) {
    std::vector<std::byte> image(kPages * kPage);
    ASSERT_TRUE(from.Read(0, image).ok());
    for (uint64_t page = 0; page < kPages; ++page) {
      std::array<uint64_t, 2> words;
      std::memcpy(&words, image.data() + page * kPage, sizeof(words));
      if (page == 0) value = words[0] / kPages;
      ASSERT_EQ(words[0], value * kPages + page) << "of two times";
      ASSERT_EQ(words[1], 0u) << "a fork's write shows";
    }
  };
  ASSERT_TRUE(memory.Map(0, kPages * kPage, CowAccess::kReadWrite).ok());
  stamp(memory, 1);
  for (Memory& snapshot : snapshots) snapshot = memory.Snapshot();

  uint64_t stamps = 1;  // the last one, of the one writer
  Storm storm;
  storm.Crowd(1, [&](Rng&) {
    uint64_t seen = 0;
    read(memory, seen);
    if (seen != stamps) storm.Collided();
    stamp(memory, ++stamps);
  });
  storm.Crowd(2, [&](Rng& rng) {
    Memory& snapshot = snapshots[rng.Below(snapshots.size())];
    if (rng.OneIn(2)) {
      snapshot = memory.Snapshot();
    } else {
      memory.Restore(snapshot);
    }
    // One of its own, that nobody else replaces: it stays as it is.
    Memory own = rng.OneIn(2) ? memory.Snapshot() : snapshot.Snapshot();
    uint64_t before = 0, after = 0;
    read(own, before);
    memory.Restore(own);
    if (rng.OneIn(2)) StdSync::Yield();
    read(own, after);
    ASSERT_EQ(after, before) << "a snapshot changed";
  });
  storm.Crowd(2, [&](Rng& rng) {
    uint64_t seen = 0;
    read(memory, seen);
    read(snapshots[rng.Below(snapshots.size())], seen);
  });
  storm.Crowd(1, [&](Rng& rng) {
    Memory fork = rng.OneIn(2) ? memory.Fork() : snapshots[rng.Below(snapshots.size())].Fork();
    uint64_t seen = 0;
    read(fork, seen);
    for (int i = 0; i < 3; ++i) this->Put(fork, rng.Below(kPages) * kPage + 8, seen);
    const Memory grandchild = fork.Fork();
    const uint64_t page = rng.Below(kPages);
    this->Put(fork, page * kPage, ~uint64_t{0});
    ASSERT_EQ(this->Get(grandchild, page * kPage), seen * kPages + page) << "a child changed by itself";
  });
  storm.MustCollide("the writer saw its write undone");
  storm.Run();

  uint64_t seen = 0;
  read(memory, seen);
  std::vector<const Memory*> all = {&memory};
  for (const Memory& snapshot : snapshots) all.push_back(&snapshot);
  for (const Memory* one : all) read(*one, seen);
  const typename TestFixture::Walk walk(all, kPages);
  walk.CheckEach();
  EXPECT_GT(memory.Counters().copied, 0u);
  for (Memory& snapshot : snapshots) snapshot = Memory();
  EXPECT_EQ(memory.Stats().shared, 0u) << "a reference was lost";
}

// Pids that come, fork and go through the manager.
TYPED_TEST(CowMemoryStress, AManagerLosesNoProcessAndFreesAll) {
  using Manager = typename TypeParam::Manager;
  constexpr uint64_t kPage = TestFixture::kPage;
  constexpr int32_t kPids = 6;
  Manager manager;
  ASSERT_TRUE(manager.Create(0).ok());
  ASSERT_TRUE(manager.Get(0)->Map(0, 16 * kPage, CowAccess::kReadWrite).ok());
  // Private mappings below kCommon pages, shared ones from there on.
  constexpr uint64_t kCommon = 20, kPages = 32;
  std::atomic<int64_t> made{1};
  Storm storm;
  storm.Crowd(3, [&](Rng& rng) {
    const auto parent = static_cast<int32_t>(rng.Below(kPids)), child = 1 + static_cast<int32_t>(rng.Below(kPids - 1));
    const uint64_t value = rng();
    switch (rng.Below(6)) {
      case 2: {
        const std::shared_ptr<typename TestFixture::Memory> memory = manager.Get(parent);
        if (memory == nullptr) break;
        const bool common = rng.OneIn(2);
        const uint64_t first = common ? kCommon + rng.Below(kPages - kCommon) : rng.Below(kCommon);
        const uint64_t at = first * kPage, length = (1 + rng.Below((common ? kPages : kCommon) - first)) * kPage;
        if (rng.OneIn(3)) {
          ASSERT_TRUE(memory->Unmap(at, length).ok());
        } else {
          ASSERT_TRUE(
              memory->Map(at, length, CowAccess::kReadWrite, common ? CowSharing::kShared : CowSharing::kPrivate).ok());
        }
        // Others map and unmap there, too.
        const Result<void> written = memory->Write(at, std::as_bytes(std::span(&value, 1)));
        ASSERT_TRUE(written.ok() || written == Code::kEFAULT);
        break;
      }
      case 3: {
        const CowTotals totals = manager.TotalStats();
        ASSERT_EQ(totals.faults, totals.zero_filled + totals.copied + totals.stolen);
        ASSERT_LE(totals.memories, static_cast<uint64_t>(kPids));
        break;
      }
      case 0: {
        const Result<void> forked = manager.Fork(parent, child);
        ASSERT_TRUE(forked.ok() || forked == Code::kESRCH || forked == Code::kEEXIST);
        made.fetch_add(forked.ok(), std::memory_order::relaxed);
        break;
      }
      case 1:
        made.fetch_sub(manager.Free(child).ok(), std::memory_order::relaxed);
        break;
      default: {
        const Result<void> written =
            manager.Write(parent, (value % kPages) * kPage, std::as_bytes(std::span(&value, 1)));
        ASSERT_TRUE(written.ok() || written == Code::kESRCH || written == Code::kEFAULT);
        if (written == Code::kESRCH) storm.Collided();
      }
    }
  });
  storm.MustCollide("a pid was gone");
  storm.Run();
  EXPECT_EQ(static_cast<int64_t>(manager.size()), made.load());
  {
    std::vector<std::shared_ptr<typename TestFixture::Memory>> handles;
    std::vector<const typename TestFixture::Memory*> memories;
    for (int32_t pid = 0; pid < kPids; ++pid) {
      if (auto memory = manager.Get(pid)) handles.push_back(std::move(memory));
    }
    for (const auto& memory : handles) memories.push_back(memory.get());
    const typename TestFixture::Walk walk(memories, kPages, kCommon);
    walk.CheckEach();
    walk.CheckTotals(manager);
  }
  for (int32_t pid = 0; pid < kPids; ++pid) static_cast<void>(manager.Free(pid));
}

}  // namespace
}  // namespace hotpath::stress
