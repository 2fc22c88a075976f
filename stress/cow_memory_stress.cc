#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
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
  storm.Run();
  EXPECT_GT(copied.load(), 0u);
  EXPECT_GT(stolen.load(), 0u) << "no page was ever left by all others";
  if (std::is_base_of_v<ChaosSync, typename TypeParam::Sync>) {
    EXPECT_GT(TypeParam::Sync::met.load(), 0u) << "no thread ever waited for another: nothing was tested";
  }
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

// Pids that come, fork and go through the manager.
TYPED_TEST(CowMemoryStress, AManagerLosesNoProcessAndFreesAll) {
  using Manager = typename TypeParam::Manager;
  constexpr uint64_t kPage = TestFixture::kPage;
  constexpr int32_t kPids = 6;
  Manager manager;
  ASSERT_TRUE(manager.Create(0).ok());
  ASSERT_TRUE(manager.Get(0)->Map(0, 16 * kPage, CowAccess::kReadWrite).ok());
  std::atomic<int64_t> made{1}, collisions{0};
  Storm storm;
  storm.Crowd(3, [&](Rng& rng) {
    const auto parent = static_cast<int32_t>(rng.Below(kPids)), child = 1 + static_cast<int32_t>(rng.Below(kPids - 1));
    const uint64_t value = rng();
    switch (rng.Below(3)) {
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
        const Result<void> written = manager.Write(parent, (value % 16) * kPage, std::as_bytes(std::span(&value, 1)));
        ASSERT_TRUE(written.ok() || written == Code::kESRCH);
        collisions.fetch_add(!written.ok(), std::memory_order::relaxed);
      }
    }
  });
  storm.Run();
  EXPECT_GT(collisions.load(), 0) << "no pid was ever gone";
  EXPECT_EQ(static_cast<int64_t>(manager.size()), made.load());
  const CowTotals totals = manager.TotalStats();
  EXPECT_EQ(totals.memories, manager.size());
  EXPECT_LE(totals.pages, totals.resident);
  for (int32_t pid = 0; pid < kPids; ++pid) static_cast<void>(manager.Free(pid));
}

}  // namespace
}  // namespace hotpath::stress
