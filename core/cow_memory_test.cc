#include "hotpath/core/cow_memory.h"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"
#include "hotpath/core/base/counting_sync.h"

namespace hotpath {
namespace {

constexpr uint64_t kPage = CowMemory::kPageBytes;
constexpr uint64_t kGiB = uint64_t{1} << 30, kTiB = uint64_t{1} << 40;
constexpr uint64_t kEnd = std::numeric_limits<uint64_t>::max();  // the last address
constexpr auto kRw = CowAccess::kReadWrite;
constexpr auto kShared = CowSharing::kShared;

static_assert(kPage == 4096);
static_assert(std::is_nothrow_move_constructible_v<CowMemory> && std::is_nothrow_move_assignable_v<CowMemory>);
static_assert(!std::copyable<CowMemory>);
static_assert(noexcept(std::declval<CowMemory&>().Fork()), "a fork allocates nothing, so it cannot fail");

template <class F>
concept Views = requires(const CowMemory memory, F f) { memory.WithPage(0, f); };
template <class F>
concept Edits = requires(CowMemory memory, F f) { memory.WithWritablePage(0, f); };
static_assert(Views<void (*)(std::span<const std::byte>)> && Views<void (*)(std::span<const std::byte, kPage>)>);
static_assert(!Views<void (*)(std::span<std::byte>)>, "a view is read-only");
static_assert(Edits<void (*)(std::span<std::byte>)> && Edits<void (*)(std::span<const std::byte>)>);
static_assert(!Edits<void (*)()> && !Views<int>);

std::vector<std::byte> Pattern(size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 37 + i / 256 + seed * 101 + 1);
  return bytes;
}

template <class Memory>
std::vector<std::byte> ReadAt(const Memory& memory, uint64_t address, size_t size) {
  std::vector<std::byte> bytes(size, std::byte{0xee});
  const Result<void> result = memory.Read(address, bytes);
  EXPECT_TRUE(result.ok()) << "at " << address;
  return bytes;
}
template <class Memory>
void WriteText(Memory& memory, uint64_t address, std::string_view text) {
  ASSERT_TRUE(memory.Write(address, std::as_bytes(std::span(text))).ok());
}
template <class Memory>
std::string TextAt(const Memory& memory, uint64_t address, size_t size) {
  std::string text(size, '?');
  EXPECT_TRUE(memory.Read(address, std::as_writable_bytes(std::span(text))).ok());
  return text;
}
template <class Memory>
Code CodeOfRead(const Memory& memory, uint64_t address, size_t size = 1) {
  std::vector<std::byte> bytes(size, std::byte{0xee});
  const Result<void> result = memory.Read(address, bytes);
  if (!result.ok()) {
    EXPECT_EQ(std::ranges::count(bytes, std::byte{0xee}), static_cast<std::ptrdiff_t>(size)) << "partly read";
  }
  return result.code();
}
template <class Memory>
Code CodeOfWrite(Memory& memory, uint64_t address, size_t size = 1) {
  return memory.Write(address, Pattern(size, 9)).code();
}

CowMemory Mapped(uint64_t address, uint64_t length) {
  CowMemory memory;
  EXPECT_TRUE(memory.Map(address, length, kRw).ok());
  return memory;
}

// ---- Bytes ----

TEST(CowMemoryTest, AChildSeesWhatItsParentHadAndNotWhatItWrites) {
  CowMemory parent;
  ASSERT_TRUE(parent.Map(0x10000, 64 << 10, CowAccess::kReadWrite).ok());
  WriteText(parent, 0x10ffe, "across two pages");
  CowMemory child = parent.Fork();
  WriteText(parent, 0x10ffe, "parent");
  WriteText(child, 0x11004, "CHILD");
  EXPECT_EQ(TextAt(parent, 0x10ffe, 16), "parent two pages");
  EXPECT_EQ(TextAt(child, 0x10ffe, 16), "acrossCHILDpages");
}

TEST(CowMemoryTest, EverySpanKeepsEveryByte) {
  for (const size_t size : {size_t{1}, size_t{7}, size_t{63}, size_t{64}, size_t{65}, kPage - 1, kPage, kPage + 1,
                            2 * kPage, 3 * kPage + 5, 70 * kPage + 1}) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, kPage - 1, kPage, 31 * kPage, 32 * kPage - 3}) {
      CowMemory memory = Mapped(0, kGiB);
      const std::vector<std::byte> bytes = Pattern(size, static_cast<unsigned>(offset));
      ASSERT_TRUE(memory.Write(offset, bytes).ok());
      ASSERT_EQ(ReadAt(memory, offset, size), bytes) << size << " at " << offset;
      const std::vector<std::byte> around = ReadAt(memory, 0, offset + size + kPage);
      ASSERT_EQ(around.size() - static_cast<size_t>(std::ranges::count(around, std::byte{0})),
                size - static_cast<size_t>(std::ranges::count(bytes, std::byte{0})))
          << "bytes beside the span were written";
      const CowCounters counters = memory.Counters();
      ASSERT_EQ(counters.resident, (offset + size - 1) / kPage - offset / kPage + 1);
      ASSERT_EQ(counters.zero_filled, counters.resident);
    }
  }
}

TEST(CowMemoryTest, UntouchedMemoryIsZeroAndReadingItAllocatesNothing) {
  CowMemory memory = Mapped(kTiB, kTiB);
  std::array<std::byte, 2 * kPage> bytes;
  bytes.fill(std::byte{1});
  const bench::HeapMark mark;
  ASSERT_TRUE(memory.Read(kTiB + 12345, bytes).ok());
  ASSERT_TRUE(memory.WithPage(2 * kTiB - 1, [&](std::span<const std::byte, kPage> page) { bytes[0] = page[5]; }).ok());
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
  EXPECT_EQ(std::ranges::count(bytes, std::byte{0}), static_cast<std::ptrdiff_t>(bytes.size()));
  EXPECT_EQ(memory.Counters(), CowCounters{.mapped = kTiB / kPage});
}

TEST(CowMemoryTest, AnEmptySpanIsFineAnywhere) {
  CowMemory memory;
  EXPECT_TRUE(memory.Read(12345, {}).ok());
  EXPECT_TRUE(memory.Write(kEnd, {}).ok());
}

TEST(CowMemoryTest, AnErrorNamesTheFirstAddressThatIsAtFaultAndNothingIsDone) {
  CowMemory memory = Mapped(4 * kPage, 4 * kPage);
  ASSERT_TRUE(memory.Protect(6 * kPage, kPage, CowAccess::kRead).ok());
  ASSERT_TRUE(memory.Protect(7 * kPage, kPage, CowAccess::kNone).ok());
  const auto expect = [](const Result<void>& result, Code code, std::string_view message) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.code(), code);
    EXPECT_EQ(std::string_view(result.error().message), message);
  };
  std::vector<std::byte> bytes = Pattern(4 * kPage, 1);
  const std::vector<std::byte> before = bytes;
  expect(memory.Read(123, bytes), Code::kEFAULT, "at 0x7b");
  expect(memory.Read(3 * kPage + 5, bytes), Code::kEFAULT, "at 0x3005");
  expect(memory.Read(4 * kPage + 5, bytes), Code::kEACCES, "at 0x7000");
  expect(memory.Read(8 * kPage - 1, std::span(bytes).first(2)), Code::kEACCES, "at 0x7fff");
  EXPECT_EQ(bytes, before) << "partly read";
  expect(memory.Write(4 * kPage + 5, bytes), Code::kEACCES, "at 0x6000");
  expect(memory.Write(8 * kPage, bytes), Code::kEFAULT, "at 0x8000");
  expect(memory.WithPage(7 * kPage + 9, [](auto) { FAIL(); }), Code::kEACCES, "at 0x7009");
  expect(memory.WithWritablePage(6 * kPage + 9, [](auto) { FAIL(); }), Code::kEACCES, "at 0x6009");
  expect(memory.WithWritablePage(kEnd, [](auto) { FAIL(); }), Code::kEFAULT, "at 0xffffffffffffffff");
  EXPECT_EQ(memory.Counters(), CowCounters{.mapped = 4}) << "partly written";
}

TEST(CowMemoryTest, AnErrorAllocatesNothing) {
  const CowMemory memory;
  std::byte byte;
  const bench::HeapMark mark;
  const bool ok = memory.Read(kEnd, {&byte, 1}).ok();
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
  EXPECT_FALSE(ok);
}

TEST(CowMemoryTest, TheLastByteOfTheAddressSpaceIsAByteAndTheOneAfterIsNot) {
  CowMemory memory = Mapped(kEnd - 2 * kPage + 1, 2 * kPage);
  const std::vector<std::byte> bytes = Pattern(kPage + 7, 3);
  ASSERT_TRUE(memory.Write(kEnd - bytes.size() + 1, bytes).ok());
  EXPECT_EQ(ReadAt(memory, kEnd - bytes.size() + 1, bytes.size()), bytes);
  EXPECT_EQ(CodeOfRead(memory, kEnd, 2), Code::kEFAULT);
  EXPECT_EQ(CodeOfWrite(memory, kEnd, 2), Code::kEFAULT);
  EXPECT_EQ(CodeOfRead(memory, kEnd - 1, 2), Code::kOK);
  ASSERT_TRUE(memory.Map(0, kPage, kRw).ok());
  EXPECT_EQ(CodeOfRead(memory, kEnd, 2), Code::kEFAULT) << "addresses do not wrap around";
}

// ---- Ranges ----

TEST(CowMemoryTest, ARangeThatIsNoneIsEinval) {
  CowMemory memory;
  for (const uint64_t address : {uint64_t{1}, kPage - 1, kPage + 8, kEnd}) {
    EXPECT_EQ(memory.Map(address, kPage, kRw), Code::kEINVAL);
    EXPECT_EQ(memory.Unmap(address, kPage), Code::kEINVAL);
    EXPECT_EQ(memory.Protect(address, kPage, kRw), Code::kEINVAL);
    EXPECT_EQ(memory.Protect(address, 0, kRw), Code::kEINVAL);
  }
  EXPECT_EQ(memory.Map(kPage, 0, kRw), Code::kEINVAL);
  EXPECT_EQ(memory.Unmap(kPage, 0), Code::kEINVAL);
  EXPECT_EQ(memory.Protect(kPage, 0, kRw), Code::kOK);
  EXPECT_EQ(memory.Map(kPage, kEnd, kRw), Code::kEINVAL) << "wraps around";
  EXPECT_EQ(memory.Map(kEnd - kPage + 1, kPage + 1, kRw), Code::kEINVAL) << "one byte too long";
  EXPECT_EQ(memory.Unmap(kPage, kEnd), Code::kEINVAL);
  EXPECT_EQ(memory.Stats(), CowStats{});
}

TEST(CowMemoryTest, ALengthCountsEveryPageItTouches) {
  CowMemory memory = Mapped(kPage, 1);
  EXPECT_EQ(memory.Counters().mapped, 1u);
  EXPECT_EQ(CodeOfRead(memory, kPage, kPage), Code::kOK);
  EXPECT_EQ(CodeOfRead(memory, 2 * kPage), Code::kEFAULT);
  ASSERT_TRUE(memory.Map(0, kPage + 1, kRw).ok());
  EXPECT_EQ(memory.Counters().mapped, 2u);
}

TEST(CowMemoryTest, TheWholeAddressSpaceCanBeMapped) {
  CowMemory memory = Mapped(0, kEnd);
  EXPECT_EQ(memory.Counters().mapped, uint64_t{1} << 52);
  EXPECT_EQ(memory.Stats().table_bytes, 0u) << "needs no node";
  WriteText(memory, 0, "low");
  WriteText(memory, kEnd - 3, "high");
  WriteText(memory, uint64_t{1} << 63, "middle");
  EXPECT_EQ(TextAt(memory, 0, 3) + TextAt(memory, kEnd - 3, 4) + TextAt(memory, uint64_t{1} << 63, 6), "lowhighmiddle");
  ASSERT_TRUE(memory.Unmap(kPage, kEnd - 2 * kPage).ok());
  EXPECT_EQ(memory.Counters(), (CowCounters{.mapped = 2, .resident = 2, .faults = 3, .zero_filled = 3}));
  ASSERT_TRUE(memory.Unmap(0, kEnd).ok());
  EXPECT_EQ(memory.Stats(), (CowStats{{.faults = 3, .zero_filled = 3}}));
}

TEST(CowMemoryTest, MappingATebibyteIsAFewNodes) {
  CowMemory memory;
  const bench::HeapMark mark;
  ASSERT_TRUE(memory.Map(3 * kPage, kTiB, kRw).ok());
  ASSERT_TRUE(memory.Protect(7 * kPage, kTiB - 9 * kPage, CowAccess::kRead).ok());
  ASSERT_TRUE(memory.Unmap(kTiB / 2, kPage).ok());
  EXPECT_LT(mark.Since().allocations, 100u);
  EXPECT_EQ(memory.Counters().mapped, kTiB / kPage - 1);
  EXPECT_EQ(CodeOfRead(memory, kTiB / 2), Code::kEFAULT);
  EXPECT_EQ(CodeOfRead(memory, kTiB / 2 - 1), Code::kOK);
  EXPECT_EQ(CodeOfWrite(memory, kTiB / 2 + kPage), Code::kEACCES);
  EXPECT_EQ(CodeOfWrite(memory, kTiB + 2 * kPage), Code::kOK);
  ASSERT_TRUE(memory.Unmap(0, 2 * kTiB).ok());
  EXPECT_EQ(memory.Stats().table_bytes, 0u);
}

TEST(CowMemoryTest, AMappingReplacesWhatItOverlaps) {
  CowMemory memory = Mapped(0, 8 * kPage);
  ASSERT_TRUE(memory.Write(0, Pattern(8 * kPage, 1)).ok());
  ASSERT_TRUE(memory.Map(2 * kPage, 3 * kPage, CowAccess::kRead).ok());
  EXPECT_EQ(memory.Counters(), (CowCounters{.mapped = 8, .resident = 5, .faults = 8, .zero_filled = 8}));
  EXPECT_EQ(ReadAt(memory, 2 * kPage, 3 * kPage), std::vector<std::byte>(3 * kPage));
  EXPECT_EQ(CodeOfWrite(memory, 4 * kPage), Code::kEACCES);
  const std::vector<std::byte> all = Pattern(8 * kPage, 1);
  EXPECT_TRUE(std::ranges::equal(ReadAt(memory, 5 * kPage, 3 * kPage), std::span(all).subspan(5 * kPage)));
}

TEST(CowMemoryTest, NoReplaceRefusesAnOverlapAndNamesIt) {
  CowMemory memory = Mapped(4 * kPage, kPage);
  const Result<void> refused = memory.Map(0, 16 * kPage, kRw, CowSharing::kPrivate, CowPlacement::kNoReplace);
  ASSERT_EQ(refused, Code::kEEXIST);
  EXPECT_EQ(std::string_view(refused.error().message), "at 0x4000");
  EXPECT_EQ(memory.Counters().mapped, 1u);
  EXPECT_TRUE(memory.Map(0, 4 * kPage, kRw, CowSharing::kPrivate, CowPlacement::kNoReplace).ok());
  EXPECT_TRUE(memory.Map(5 * kPage, kPage, kRw, kShared, CowPlacement::kNoReplace).ok());
  EXPECT_EQ(memory.Counters().mapped, 6u);
}

TEST(CowMemoryTest, UnmappingHolesSucceedsAndProtectingThemIsEnomem) {
  CowMemory memory = Mapped(0, 2 * kPage);
  ASSERT_TRUE(memory.Map(3 * kPage, kPage, kRw).ok());
  const Result<void> hole = memory.Protect(0, 4 * kPage, CowAccess::kRead);
  ASSERT_EQ(hole, Code::kENOMEM);
  EXPECT_EQ(std::string_view(hole.error().message), "at 0x2000");
  EXPECT_EQ(CodeOfWrite(memory, 0), Code::kOK) << "nothing was protected";
  EXPECT_TRUE(memory.Unmap(0, 100 * kPage).ok());
  EXPECT_TRUE(memory.Unmap(0, 100 * kPage).ok());
  EXPECT_EQ(memory.Counters().mapped, 0u);
  EXPECT_EQ(CodeOfRead(memory, 0), Code::kEFAULT);
}

TEST(CowMemoryTest, ProtectionKeepsBytesAndIsPrivateToAFork) {
  CowMemory memory = Mapped(0, 64 * kPage);
  const std::vector<std::byte> bytes = Pattern(64 * kPage, 2);
  ASSERT_TRUE(memory.Write(0, bytes).ok());
  CowMemory child = memory.Fork();
  ASSERT_TRUE(memory.Protect(0, 64 * kPage, CowAccess::kNone).ok());
  EXPECT_EQ(CodeOfRead(memory, 63 * kPage), Code::kEACCES);
  EXPECT_EQ(ReadAt(child, 0, 64 * kPage), bytes);
  ASSERT_TRUE(memory.Protect(kPage, 62 * kPage, CowAccess::kReadExecute).ok());
  EXPECT_EQ(CodeOfRead(memory, 0), Code::kEACCES);
  EXPECT_TRUE(std::ranges::equal(ReadAt(memory, kPage, 62 * kPage), std::span(bytes).subspan(kPage, 62 * kPage)));
  EXPECT_EQ(CodeOfWrite(memory, kPage), Code::kEACCES);
  EXPECT_EQ(CodeOfWrite(child, kPage), Code::kOK);
  EXPECT_EQ(memory.Counters().resident, 64u);
}

TEST(CowMemoryDeathTest, AnAccessThatIsNoneIsACheck) {
  CowMemory memory;
  EXPECT_DEATH(static_cast<void>(memory.Map(0, kPage, static_cast<CowAccess>(8))), "no such CowAccess");
}

// ---- Forks ----

TEST(CowMemoryTest, AWriteAfterAForkCopiesOnePageAndStealsItWhenTheOtherIsGone) {
  CowMemory parent = Mapped(0, kGiB);
  ASSERT_TRUE(parent.Write(0, Pattern(64 * kPage, 1)).ok());
  EXPECT_EQ(parent.Counters().zero_filled, 64u);
  std::optional<CowMemory> child(parent.Fork());
  EXPECT_EQ(child->Counters(), (CowCounters{.mapped = kGiB / kPage, .resident = 64})) << "events are its own";
  EXPECT_EQ(parent.Stats().shared, 64u);
  EXPECT_EQ(child->Stats().bytes_saved, 64 * kPage);

  WriteText(parent, 5 * kPage, "x");
  WriteText(parent, 5 * kPage, "y");
  EXPECT_EQ(parent.Counters(),
            (CowCounters{.mapped = kGiB / kPage, .resident = 64, .faults = 65, .zero_filled = 64, .copied = 1}));
  EXPECT_EQ(parent.Stats().shared, 63u);
  EXPECT_EQ(child->Stats().private_pages, 1u) << "what the parent left";
  WriteText(*child, 5 * kPage, "z");
  EXPECT_EQ(child->Counters().stolen, 1u);

  child.reset();
  EXPECT_EQ(parent.Stats().shared, 0u);
  WriteText(parent, 5 * kPage, "own");
  WriteText(parent, 6 * kPage, "stolen");
  WriteText(parent, 6 * kPage, "once");
  const CowCounters counters = parent.Counters();
  EXPECT_EQ(counters.copied, 1u);
  EXPECT_EQ(counters.stolen, 1u);
  EXPECT_EQ(counters.faults, 66u);
}

TEST(CowMemoryTest, AFullPageWriteReplacesWithoutReading) {
  CowMemory parent = Mapped(0, kPage);
  WriteText(parent, 0, "old");
  CowMemory child = parent.Fork();
  const std::vector<std::byte> bytes = Pattern(kPage, 8);
  ASSERT_TRUE(child.Write(0, bytes).ok());
  EXPECT_EQ(ReadAt(child, 0, kPage), bytes);
  EXPECT_EQ(TextAt(parent, 0, 3), "old");
  EXPECT_EQ(child.Counters().copied, 1u);
}

// Far more generations than a reference can be split without touching the count, along one line and side by side.
TEST(CowMemoryTest, GenerationsAndSiblingsStaySeparate) {
  CowMemory first = Mapped(0, 64 * kPage);
  WriteText(first, 0, "0000");
  std::vector<std::unique_ptr<CowMemory>> line, siblings;
  line.push_back(std::make_unique<CowMemory>(first.Fork()));
  for (int i = 1; i < 200; ++i) {
    line.push_back(std::make_unique<CowMemory>(line.back()->Fork()));
    WriteText(*line.back(), static_cast<uint64_t>(i % 64) * kPage + 4, "line");
    siblings.push_back(std::make_unique<CowMemory>(first.Fork()));
    WriteText(*siblings.back(), 0, std::to_string(1000 + i));
    WriteText(first, 33 * kPage, std::to_string(1000 + i));
  }
  EXPECT_EQ(TextAt(first, 0, 4), "0000");
  EXPECT_EQ(TextAt(*line[77], 0, 4), "0000");
  for (int i = 1; i < 200; ++i) {
    const auto at = static_cast<size_t>(i - 1);
    EXPECT_EQ(TextAt(*siblings[at], 0, 4), std::to_string(1000 + i));
    if (i > 1) {
      EXPECT_EQ(TextAt(*siblings[at], 33 * kPage, 4), std::to_string(1000 + i - 1));
    }
  }
  while (line.size() > 1) line.erase(line.begin() + static_cast<std::ptrdiff_t>(line.size() / 2));
  siblings.clear();
  line.clear();
  EXPECT_EQ(first.Stats().shared, 0u);
  EXPECT_EQ(first.Stats().resident, 2u);
}

TEST(CowMemoryTest, UnmappingInOneForkLeavesTheOther) {
  CowMemory parent = Mapped(0, 100 * kPage);
  const std::vector<std::byte> bytes = Pattern(100 * kPage, 4);
  ASSERT_TRUE(parent.Write(0, bytes).ok());
  CowMemory child = parent.Fork();
  ASSERT_TRUE(parent.Unmap(10 * kPage, 80 * kPage).ok());
  EXPECT_EQ(ReadAt(child, 0, 100 * kPage), bytes);
  EXPECT_EQ(child.Stats().shared, 20u);
  EXPECT_EQ(child.Stats().private_pages, 80u);
  EXPECT_EQ(parent.Counters().resident, 20u);
}

TEST(CowMemoryTest, MovedFromIsEmptyAndUsable) {
  CowMemory a = Mapped(0, kPage);
  WriteText(a, 0, "here");
  CowMemory b(std::move(a));
  EXPECT_EQ(TextAt(b, 0, 4), "here");
  EXPECT_EQ(CodeOfRead(a, 0), Code::kEFAULT);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(a.Counters().mapped, 0u);
  ASSERT_TRUE(a.Map(0, kPage, kRw).ok());
  a = std::move(b);
  EXPECT_EQ(TextAt(a, 0, 4), "here");
  CowMemory& self = a;
  a = std::move(self);
  EXPECT_EQ(TextAt(a, 0, 4), "here");
}

TEST(CowMemoryTest, ASnapshotCanBeRestoredAgainAndAgain) {
  CowMemory memory = Mapped(0, 64 * kPage);
  WriteText(memory, 100, "before");
  CowMemory snapshot = memory.Snapshot();
  for (int i = 0; i < 100; ++i) {
    WriteText(memory, 100, "AFTER!");
    WriteText(memory, static_cast<uint64_t>(i % 64) * kPage, "junk");
    ASSERT_TRUE(memory.Unmap(30 * kPage, kPage).ok());
    ASSERT_TRUE(memory.Map(kTiB, kPage, kRw).ok());
    memory.Restore(snapshot);
    ASSERT_EQ(TextAt(memory, 100, 6), "before");
    ASSERT_EQ(CodeOfRead(memory, kTiB), Code::kEFAULT);
    ASSERT_EQ(memory.Counters().mapped, 64u);
    ASSERT_EQ(memory.Counters().resident, 1u);
  }
  memory.Restore(memory);
  EXPECT_EQ(TextAt(memory, 100, 6), "before");
  EXPECT_EQ(snapshot.Counters().faults, 0u);
}

// ---- Shared mappings ----

TEST(CowMemoryTest, ASharedMappingStaysSharedBothWaysAcrossForks) {
  CowMemory parent;
  ASSERT_TRUE(parent.Map(0, 8 * kPage, kRw, kShared).ok());
  ASSERT_TRUE(parent.Map(8 * kPage, kPage, kRw).ok());
  WriteText(parent, kPage - 2, "before");
  CowMemory child = parent.Fork();
  CowMemory grandchild = child.Fork();
  EXPECT_EQ(TextAt(grandchild, kPage - 2, 6), "before");
  WriteText(parent, 3 * kPage, "parent");  // a page that nobody had touched
  EXPECT_EQ(TextAt(grandchild, 3 * kPage, 6), "parent");
  WriteText(grandchild, 8 * kPage - 3, "grown");  // three bytes shared, two private
  EXPECT_EQ(TextAt(parent, 8 * kPage - 3, 3), "gro");
  EXPECT_EQ(TextAt(parent, 8 * kPage, 2), std::string(2, '\0'));
  EXPECT_EQ(TextAt(grandchild, 8 * kPage - 3, 5), "grown");
  const CowStats stats = parent.Stats();
  EXPECT_EQ(stats.common, 8u);
  EXPECT_EQ(stats.common_resident, 4u);
  EXPECT_EQ(stats.resident, 0u);
  EXPECT_EQ(stats.zero, 1u);
  EXPECT_EQ(grandchild.Counters(), (CowCounters{.mapped = 9, .resident = 1, .faults = 2, .zero_filled = 2}));
}

TEST(CowMemoryTest, SharedMappingsAreSplitJoinedAndReplacedByRange) {
  CowMemory parent;
  ASSERT_TRUE(parent.Map(0, 16 * kPage, kRw, kShared).ok());
  CowMemory child = parent.Fork();
  ASSERT_TRUE(parent.Unmap(4 * kPage, kPage).ok());               // a hole
  ASSERT_TRUE(parent.Map(8 * kPage, 2 * kPage, kRw).ok());        // private amid it
  ASSERT_TRUE(parent.Map(12 * kPage, kPage, kRw, kShared).ok());  // another shared one, the parent's own
  for (uint64_t page = 0; page < 16; ++page) {
    if (page == 4) continue;
    WriteText(parent, page * kPage, "parent");
    const bool reaches_child = page != 8 && page != 9 && page != 12;
    EXPECT_EQ(TextAt(child, page * kPage, 6), reaches_child ? "parent" : std::string(6, '\0')) << page;
  }
  EXPECT_EQ(CodeOfRead(parent, 4 * kPage), Code::kEFAULT);
  WriteText(child, 4 * kPage, "still there");
  ASSERT_TRUE(parent.Protect(0, 4 * kPage, CowAccess::kRead).ok());
  EXPECT_EQ(CodeOfWrite(parent, 0), Code::kEACCES);
  EXPECT_EQ(CodeOfWrite(child, 0), Code::kOK) << "protection is each memory's own";
  CowMemory grandchild = parent.Fork();
  WriteText(grandchild, 12 * kPage, "second");
  EXPECT_EQ(TextAt(parent, 12 * kPage, 6), "second");
  EXPECT_EQ(parent.Stats().common_resident, 12u + 1u);
  ASSERT_TRUE(parent.Unmap(0, 16 * kPage).ok());
  EXPECT_EQ(TextAt(grandchild, 12 * kPage, 6), "second");
  EXPECT_EQ(parent.Stats().common, 0u);
}

TEST(CowMemoryTest, RestoringLeavesWhatSharedMappingsHold) {
  CowMemory memory = Mapped(0, kPage);
  ASSERT_TRUE(memory.Map(kPage, kPage, kRw, kShared).ok());
  CowMemory snapshot = memory.Snapshot();
  WriteText(memory, kPage - 4, "gonekept");
  memory.Restore(snapshot);
  EXPECT_EQ(TextAt(memory, kPage - 4, 8), std::string(4, '\0') + "kept");
}

// ---- Views ----

TEST(CowMemoryTest, AViewIsThePageItself) {
  CowMemory memory = Mapped(0, 2 * kPage);
  const std::byte* where = nullptr;
  ASSERT_TRUE(memory
                  .WithWritablePage(kPage + 17,
                                    [&](std::span<std::byte, kPage> page) {
                                      page[17] = std::byte{42};
                                      where = page.data();
                                    })
                  .ok());
  ASSERT_TRUE(memory
                  .WithPage(kPage,
                            [&](std::span<const std::byte, kPage> page) {
                              EXPECT_EQ(page.data(), where);
                              EXPECT_EQ(page[17], std::byte{42});
                            })
                  .ok());
  CowMemory child = memory.Fork();
  ASSERT_TRUE(child.WithPage(kPage, [&](auto page) { EXPECT_EQ(page.data(), where) << "still shared"; }).ok());
  ASSERT_TRUE(child.WithWritablePage(kPage, [&](auto page) { EXPECT_NE(page.data(), where); }).ok());
  ASSERT_TRUE(memory.WithWritablePage(kPage, [&](auto page) { EXPECT_EQ(page.data(), where) << "stolen"; }).ok());
}

TEST(CowMemoryTest, AViewOfASharedMappingIsTheSamePageForAll) {
  CowMemory memory;
  ASSERT_TRUE(memory.Map(0, kPage, kRw, kShared).ok());
  CowMemory child = memory.Fork();
  ASSERT_TRUE(child.WithPage(0, [&](auto page) { EXPECT_EQ(page[0], std::byte{0}); }).ok());
  ASSERT_TRUE(memory.WithWritablePage(0, [](auto page) { page[0] = std::byte{7}; }).ok());
  ASSERT_TRUE(child.WithPage(0, [&](auto page) { EXPECT_EQ(page[0], std::byte{7}); }).ok());
}

TEST(CowMemoryTest, ACallbackThatThrowsLetsGoOfTheMemory) {
  CowMemory memory = Mapped(0, kPage);
  EXPECT_THROW(static_cast<void>(memory.WithPage(0, [](auto) { throw std::runtime_error("no"); })), std::runtime_error);
  EXPECT_THROW(static_cast<void>(memory.WithWritablePage(0,
                                                         [](auto page) {
                                                           page[0] = std::byte{1};
                                                           throw std::bad_alloc();
                                                         })),
               std::bad_alloc);
  EXPECT_EQ(CodeOfWrite(memory, 1), Code::kOK);
  EXPECT_EQ(ReadAt(memory, 0, 1)[0], std::byte{1});
}

TEST(CowMemoryTest, ACallbackMayBeMoveOnlyAndUseAForkThatSharesNoMapping) {
  CowMemory memory = Mapped(0, kPage), child = memory.Fork();
  auto owner = std::make_unique<int>(5);
  ASSERT_TRUE(memory
                  .WithWritablePage(0,
                                    [owner = std::move(owner), &child](std::span<std::byte> page) {
                                      page[0] = static_cast<std::byte>(*owner);
                                      EXPECT_EQ(CodeOfWrite(child, 0), Code::kOK);
                                    })
                  .ok());
  EXPECT_EQ(ReadAt(memory, 0, 1)[0], std::byte{5});
}

TEST(CowMemoryDeathTest, ACallbackThatWritesItsOwnMemoryIsACheck) {
  CowMemory memory = Mapped(0, kPage);
  const auto nest = [&](auto f) { static_cast<void>(memory.WithWritablePage(0, [&](auto) { f(); })); };
  EXPECT_DEATH(nest([&] { CodeOfWrite(memory, 0); }), "used from a callback that is writing");
  EXPECT_DEATH(nest([&] { CodeOfRead(memory, 0); }), "used from a callback that is writing");
  EXPECT_DEATH(nest([&] { CowMemory child = memory.Fork(); }), "used from a callback that is writing");
}

TEST(CowMemoryDeathTest, ACallbackThatReachesItsSharedMappingThroughAForkIsACheck) {
  CowMemory memory;
  ASSERT_TRUE(memory.Map(0, kPage, kRw, kShared).ok());
  CowMemory child = memory.Fork();
  const auto nest = [&](auto f) { static_cast<void>(memory.WithWritablePage(0, [&](auto) { f(); })); };
  EXPECT_DEATH(nest([&] { CodeOfWrite(child, 0); }), "used from a callback that is writing");
  EXPECT_DEATH(nest([&] { CodeOfRead(child, 0); }), "used from a callback that is writing");
}

// ---- What it costs, counted ----

// Counts what was made and not destroyed too; makes allocations fail.
struct FailingSync : CountingSync<> {
  static inline int64_t live = 0;
  static inline int64_t until_failure = -1;  // allocations; negative: they do not fail

  static bool Park(Atomic<uint32_t>&, uint32_t, Deadline = kNoDeadline) { return std::abort(), true; }
  static void Wake(Atomic<uint32_t>&, uint32_t) { std::abort(); }

  template <class T, class... Args>
  static T* New(Args&&... args) {
    if (until_failure == 0) throw std::bad_alloc();
    if (until_failure > 0) --until_failure;
    T* object = StdSync::New<T>(std::forward<Args>(args)...);
    ++live;
    return object;
  }
  template <class T>
  static void Delete(T* object) noexcept {
    live -= object != nullptr;
    StdSync::Delete(object);
  }
};

using Counted = BasicCowMemory<CowOptions{}, FailingSync>;

// A mutex is one to lock and one to unlock.
template <class F>
uint64_t RmwsOf(F f) {
  const SyncCounts counts = FailingSync::CountsOf(f);
  return counts.rmws + counts.locks + counts.unlocks;
}

TEST(CowMemoryGoldenTest, AForkOfEverySizeIsTheSameFourRmwsAndNoAllocation) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{1} << 20, uint64_t{1} << 26, uint64_t{1} << 30, uint64_t{1} << 34}) {
    Counted memory;
    if (size != 0) {
      ASSERT_TRUE(memory.Map(0, size, kRw).ok());
      const uint64_t step = std::max<uint64_t>(size / 4096, kPage);
      for (uint64_t at = 0; at < size; at += step) ASSERT_EQ(CodeOfWrite(memory, at), Code::kOK);
    }
    for (int i = 0; i < 20; ++i) {
      std::optional<Counted> child;
      const bench::HeapMark mark;
      const uint64_t rmws = RmwsOf([&] { child.emplace(memory.Fork()); });
      EXPECT_EQ(mark.Since(), bench::HeapCount{});
      // The fork, and the move into the optional.
      EXPECT_EQ(rmws, 4u + 4u) << "of " << size << " bytes, fork " << i;
    }
  }
}

TEST(CowMemoryGoldenTest, ReadsAndWritesOfOwnPagesCostTheirLock) {
  Counted memory;
  ASSERT_TRUE(memory.Map(0, kGiB, kRw).ok());
  ASSERT_EQ(CodeOfWrite(memory, kPage), Code::kOK);
  std::byte bytes[8] = {};
  const bench::HeapMark mark;
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.Read(kPage, bytes).ok()); }), 2u);
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.Write(kPage, bytes).ok()); }), 4u);
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.WithPage(kPage, [](auto) {}).ok()); }), 2u);
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.WithWritablePage(kPage, [](auto) {}).ok()); }), 4u);
  EXPECT_EQ(mark.Since(), bench::HeapCount{});
}

TEST(CowMemoryGoldenTest, SharedPagesCostTheLockOfTheirMappingToo) {
  Counted memory;
  ASSERT_TRUE(memory.Map(0, 4 * kPage, kRw, kShared).ok());
  ASSERT_EQ(CodeOfWrite(memory, 0, 4 * kPage), Code::kOK);
  std::vector<std::byte> bytes(3 * kPage);
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.Read(1, std::span(bytes).first(8)).ok()); }), 2u + 2u);
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.Read(0, bytes).ok()); }), 2u + 3 * 2u);
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.Write(1, std::span(bytes).first(8)).ok()); }), 4u + 4u);
  EXPECT_EQ(RmwsOf([&] { ASSERT_TRUE(memory.Write(0, bytes).ok()); }), 4u + 3 * 8u);
  std::optional<Counted> child;
  EXPECT_EQ(RmwsOf([&] { child.emplace(memory.Fork()); }), 4u + 1u + 4u) << "the fork, and the move into the optional";
}

TEST(CowMemoryGoldenTest, TheFirstWriteAfterAForkIsOnePageAndItsPath) {
  Counted memory;
  ASSERT_TRUE(memory.Map(0, uint64_t{64} << 20, kRw).ok());
  for (uint64_t at = 0; at < uint64_t{64} << 20; at += kPage) ASSERT_EQ(CodeOfWrite(memory, at), Code::kOK);
  Counted child = memory.Fork();
  const int64_t live = FailingSync::live;
  // The lock; two for each of three nodes: its weights and its count; one for the count of the page.
  EXPECT_EQ(RmwsOf([&] { ASSERT_EQ(CodeOfWrite(child, 12345), Code::kOK); }), 4u + 3 * 2u + 1u);
  EXPECT_EQ(FailingSync::live - live, 3 + 1);
  EXPECT_EQ(RmwsOf([&] { ASSERT_EQ(CodeOfWrite(child, 12345 + kPage), Code::kOK); }), 4u + 1u) << "same path";
  EXPECT_EQ(FailingSync::live - live, 3 + 2);
}

// ---- Failures ----

// The first 80 pages but for the shared ones of SomePages.
std::vector<std::byte> PrivateBytes(const Counted& memory) {
  std::vector<std::byte> bytes = ReadAt(memory, 0, 80 * kPage);
  bytes.erase(bytes.begin() + 40 * kPage, bytes.begin() + 50 * kPage);
  return bytes;
}

// Runs `operation` with its first, second, ... allocation failing, until it succeeds. Each failure is ENOMEM and leaves
// every memory with the same bytes and counters.
template <class Make, class Operation>
void FailsWholeOrNotAtAll(Make make, Operation operation) {
  for (int64_t allowed = 0;; ++allowed) {
    ASSERT_LT(allowed, 1000);
    ASSERT_EQ(FailingSync::live, 0);
    {
      Counted memory = make();
      Counted child = memory.Fork();
      const CowStats before = memory.Stats(), child_before = child.Stats();
      const std::vector<std::byte> bytes = ReadAt(memory, 0, 80 * kPage), child_bytes = PrivateBytes(child);
      FailingSync::until_failure = allowed;
      const Code code = operation(memory);
      FailingSync::until_failure = -1;
      EXPECT_TRUE(PrivateBytes(child) == child_bytes);
      if (code == Code::kOK) {
        EXPECT_GT(allowed, 0) << "an operation that allocates nothing tests nothing";
        break;
      }
      ASSERT_EQ(code, Code::kENOMEM);
      EXPECT_TRUE(ReadAt(memory, 0, 80 * kPage) == bytes);
      CowStats after = memory.Stats(), child_after = child.Stats();
      after.table_bytes = before.table_bytes;  // the path to a page that was not written after all
      EXPECT_EQ(after, before) << allowed << " allocations allowed";
      EXPECT_EQ(child_after, child_before);
      // And then it works.
      EXPECT_EQ(operation(memory), Code::kOK);
      EXPECT_TRUE(PrivateBytes(child) == child_bytes);
    }
  }
  EXPECT_EQ(FailingSync::live, 0);
}

Counted SomePages() {
  Counted memory;
  EXPECT_TRUE(memory.Map(0, 128 * kPage, kRw).ok());
  EXPECT_TRUE(memory.Map(40 * kPage, 10 * kPage, kRw, kShared).ok());
  for (const uint64_t page : {0, 1, 2, 31, 32, 33, 42, 64, 65}) EXPECT_EQ(CodeOfWrite(memory, page * kPage), Code::kOK);
  return memory;
}

TEST(CowMemoryFailureTest, AWriteOfOnePageIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages, [](Counted& memory) { return CodeOfWrite(memory, 64 * kPage, 100); });
}
TEST(CowMemoryFailureTest, AWriteToAZeroPageIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages, [](Counted& memory) { return CodeOfWrite(memory, 100 * kPage, 100); });
}
TEST(CowMemoryFailureTest, AWriteAcrossPagesPrivateSharedAndZeroIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages, [](Counted& memory) { return CodeOfWrite(memory, 30 * kPage + 5, 36 * kPage); });
}
// The path to one page must not make that to another one needless, which would have to be made again amid the write.
TEST(CowMemoryFailureTest, AWriteAlongNewPathsIsAllOrNothing) {
  using Narrow = BasicCowMemory<CowOptions{.page_bits = 4, .fanout_bits = 1, .weight_bits = 1}, FailingSync>;
  for (uint64_t first = 0; first < 8; ++first) {
    for (uint64_t pages = 2; pages < 8; ++pages) {
      Code code = Code::kENOMEM;
      for (int64_t allowed = 0; code != Code::kOK; ++allowed) {
        Narrow memory;
        ASSERT_TRUE(memory.Map(0, 16 * Narrow::kPageBytes, kRw).ok());
        const std::vector<std::byte> bytes = Pattern(pages * Narrow::kPageBytes, 1);
        FailingSync::until_failure = allowed;
        code = memory.Write(first * Narrow::kPageBytes, bytes).code();
        FailingSync::until_failure = -1;
        ASSERT_EQ(memory.Stats().resident, code == Code::kOK ? pages : 0)
            << pages << " pages from " << first << " on, " << allowed << " allocations allowed";
      }
    }
  }
}
TEST(CowMemoryFailureTest, AViewToWriteToIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages, [](Counted& memory) {
    return memory.WithWritablePage(33 * kPage, [](auto page) { page[0] = std::byte{9}; }).code();
  });
}
TEST(CowMemoryFailureTest, AMappingIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages, [](Counted& memory) { return memory.Map(kPage, 50 * kPage, kRw).code(); });
}
TEST(CowMemoryFailureTest, ASharedMappingIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages, [](Counted& memory) { return memory.Map(kPage, 43 * kPage, kRw, kShared).code(); });
}
TEST(CowMemoryFailureTest, AnUnmappingIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages, [](Counted& memory) { return memory.Unmap(31 * kPage, 34 * kPage).code(); });
}
TEST(CowMemoryFailureTest, AProtectionIsAllOrNothing) {
  FailsWholeOrNotAtAll(SomePages,
                       [](Counted& memory) { return memory.Protect(kPage, 70 * kPage, CowAccess::kRead).code(); });
}

// The same through operator new, which also fails what does not go through the policy.
TEST(CowMemoryFailureTest, WithoutAnyMemoryEverythingIsEnomemAndForksStillWork) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "operator new cannot be replaced here";
  CowMemory memory = Mapped(0, 100 * kPage);
  ASSERT_TRUE(memory.Map(100 * kPage, kPage, kRw, kShared).ok());
  WriteText(memory, 0, "text");
  const std::vector<std::byte> bytes = Pattern(50 * kPage, 1);
  for (uint64_t allowed = 0; allowed < 12; ++allowed) {
    CowMemory other = memory.Fork();
    std::optional<CowMemory> child;
    Code write, unmap, share, view;
    {
      const bench::HeapFailure failure(allowed);
      write = memory.Write(1, bytes).code();
      unmap = memory.Unmap(100 * kPage, kPage).code();
      share = memory.Map(3 * kPage, kPage, kRw, kShared).code();
      view = memory.WithWritablePage(99 * kPage, [](auto) {}).code();
      child.emplace(memory.Fork());
    }
    EXPECT_EQ(write, Code::kENOMEM);
    EXPECT_EQ(TextAt(*child, 0, 4), "text");
    if (allowed == 0) {
      EXPECT_EQ(unmap, Code::kENOMEM);
      EXPECT_EQ(share, Code::kENOMEM);
      EXPECT_EQ(view, Code::kENOMEM);
    }
    memory.Restore(other);
    EXPECT_EQ(memory.Counters().mapped, 101u);
  }
}

// ---- Tiny pages and nodes reach every level ----

template <class Options>
struct CowMemoryShapeTest : testing::Test {};
template <uint32_t kPageBits, uint32_t kFanoutBits, uint8_t kWeightBits>
struct Shape {
  static constexpr CowOptions kOptions{.page_bits = kPageBits, .fanout_bits = kFanoutBits, .weight_bits = kWeightBits};
};
using Shapes = testing::Types<Shape<3, 1, 1>, Shape<4, 2, 2>, Shape<6, 3, 3>, Shape<5, 8, 1>, Shape<12, 5, 30>,
                              Shape<12, 6, 40>, Shape<16, 4, 30>>;
TYPED_TEST_SUITE(CowMemoryShapeTest, Shapes);

TYPED_TEST(CowMemoryShapeTest, PagesFarApartFromOneAnotherAreKeptApart) {
  using Memory = BasicCowMemory<TypeParam::kOptions, FailingSync>;
  {
    Memory memory;
    ASSERT_TRUE(memory.Map(0, kEnd, kRw).ok());
    std::vector<Memory> versions;
    for (unsigned bit = 0; bit < 64; ++bit) {
      WriteText(memory, uint64_t{1} << bit, std::string(1, static_cast<char>('0' + bit)));
      versions.push_back(memory.Fork());
    }
    for (unsigned version = 0; version < 64; ++version) {
      for (unsigned bit = 0; bit < 64; ++bit) {
        ASSERT_EQ(TextAt(versions[version], uint64_t{1} << bit, 1)[0],
                  bit <= version ? static_cast<char>('0' + bit) : 0)
            << "version " << version << " bit " << bit;
      }
    }
    const CowStats stats = memory.Stats();
    EXPECT_EQ(stats.resident, 64 - TypeParam::kOptions.page_bits + 1);
    EXPECT_EQ(stats.shared, stats.resident);
    versions.clear();
    EXPECT_EQ(memory.Stats().shared, 0u);
    ASSERT_TRUE(memory.Unmap(0, kEnd).ok());
    EXPECT_EQ(memory.Stats().table_bytes, 0u);
  }
  EXPECT_EQ(FailingSync::live, 0);
}

TYPED_TEST(CowMemoryShapeTest, EveryRangeOfASmallSpaceMapsAndUnmapsAlone) {
  using Memory = BasicCowMemory<TypeParam::kOptions, FailingSync>;
  constexpr uint64_t kBytes = Memory::kPageBytes, kPages = 20;
  for (uint64_t first = 0; first < kPages; ++first) {
    for (uint64_t last = first; last < kPages; ++last) {
      Memory memory;
      ASSERT_TRUE(memory.Map(first * kBytes, (last - first + 1) * kBytes, kRw).ok());
      for (uint64_t page = 0; page < kPages; page += 3) {
        ASSERT_EQ(CodeOfWrite(memory, page * kBytes), page >= first && page <= last ? Code::kOK : Code::kEFAULT);
      }
      const uint64_t middle = (first + last) / 2;
      ASSERT_TRUE(memory.Unmap(middle * kBytes, kBytes).ok());
      for (uint64_t page = 0; page < kPages; ++page) {
        ASSERT_EQ(CodeOfRead(memory, page * kBytes),
                  page >= first && page <= last && page != middle ? Code::kOK : Code::kEFAULT);
      }
      ASSERT_EQ(memory.Counters().mapped, last - first);
      ASSERT_TRUE(memory.Map(middle * kBytes, kBytes, kRw).ok());
      ASSERT_EQ(memory.Counters().mapped, last - first + 1);
      ASSERT_EQ(ReadAt(memory, middle * kBytes, 1)[0], std::byte{0});
      ASSERT_TRUE(memory.Unmap(0, kPages * kBytes).ok());
      ASSERT_EQ(memory.Stats().table_bytes, 0u);
    }
  }
  EXPECT_EQ(FailingSync::live, 0);
}

// The node at the top covers more than there is.
TYPED_TEST(CowMemoryShapeTest, AMemoryUnmappedInTwoHalvesHasNoNodes) {
  using Memory = BasicCowMemory<TypeParam::kOptions, FailingSync>;
  constexpr uint64_t kHalf = uint64_t{1} << 63;
  for (const bool upper_first : {false, true}) {
    Memory memory;
    ASSERT_TRUE(memory.Map(0, kEnd, kRw).ok());
    ASSERT_TRUE(memory.Unmap(upper_first ? kHalf : 0, kHalf).ok());
    ASSERT_TRUE(memory.Unmap(upper_first ? 0 : kHalf, kHalf).ok());
    EXPECT_EQ(memory.Stats(), CowStats{});
    ASSERT_TRUE(memory.Map(kHalf, kHalf, kRw).ok());
    ASSERT_TRUE(memory.Map(0, kHalf, kRw).ok());
    EXPECT_EQ(memory.Stats().table_bytes, 0u);
    EXPECT_EQ(CodeOfRead(memory, kEnd), Code::kOK);
  }
  EXPECT_EQ(FailingSync::live, 0);
}

// A thread's memory outlives it, and is dropped by another.
TEST(CowMemoryTest, AForkMadeByAThreadThatEndedLivesOn) {
  CowMemory memory = Mapped(0, kPage);
  std::optional<CowMemory> child;
  std::thread([&] {
    WriteText(memory, 0, "by another");
    child.emplace(memory.Fork());
  }).join();
  EXPECT_EQ(TextAt(*child, 0, 10), "by another");
  child.reset();
  WriteText(memory, 0, "mine");
  EXPECT_EQ(memory.Counters().stolen, 1u);
}

// ---- Manager ----

TEST(CowMemoryManagerTest, AForkedPidHasWhatItsParentHad) {
  CowMemoryManager manager;
  ASSERT_TRUE(manager.Create(1).ok());
  ASSERT_TRUE(manager.Get(1)->Map(0, 8 * kPage, kRw).ok());
  const std::vector<std::byte> bytes = Pattern(8 * kPage, 1);
  ASSERT_TRUE(manager.Write(1, 0, bytes).ok());
  ASSERT_TRUE(manager.Fork(1, 2).ok());
  ASSERT_TRUE(manager.Write(2, kPage, std::span(bytes).first(1)).ok());
  std::vector<std::byte> seen(8 * kPage);
  ASSERT_TRUE(manager.Read(1, 0, seen).ok());
  EXPECT_EQ(seen, bytes);
  ASSERT_TRUE(manager.Read(2, kPage, std::span(seen).first(1)).ok());
  EXPECT_EQ(seen[0], bytes[0]);
  EXPECT_EQ(manager.size(), 2u);

  CowTotals totals = manager.TotalStats();
  EXPECT_EQ(totals.memories, 2u);
  EXPECT_EQ(totals.mapped, 16u);
  EXPECT_EQ(totals.resident, 16u);
  EXPECT_EQ(totals.pages, 9u);
  EXPECT_EQ(totals.bytes_saved, 7 * kPage);
  EXPECT_EQ(totals.copied, 1u);
  ASSERT_TRUE(manager.Free(1).ok());
  totals = manager.TotalStats();
  EXPECT_EQ(totals.pages, 8u);
  EXPECT_EQ(totals.bytes_saved, 0u);
  ASSERT_TRUE(manager.Free(2).ok());
  EXPECT_EQ(manager.TotalStats(), CowTotals{});
}

TEST(CowMemoryManagerTest, SharedMappingsCountOnce) {
  CowMemoryManager manager;
  ASSERT_TRUE(manager.Create(1).ok());
  ASSERT_TRUE(manager.Get(1)->Map(0, 8 * kPage, kRw, kShared).ok());
  ASSERT_TRUE(manager.Get(1)->Unmap(4 * kPage, kPage).ok());
  ASSERT_TRUE(manager.Fork(1, 2).ok());
  ASSERT_TRUE(manager.Write(2, 0, Pattern(2 * kPage, 1)).ok());
  EXPECT_EQ(manager.TotalStats().common_resident, 2u);
  EXPECT_EQ(manager.TotalStats().resident, 0u);
}

TEST(CowMemoryManagerTest, PidsThatAreNotThereOrThereAlready) {
  CowMemoryManager manager;
  std::byte byte{};
  EXPECT_EQ(manager.Get(1), nullptr);
  EXPECT_EQ(manager.Fork(1, 2), Code::kESRCH);
  EXPECT_EQ(manager.Free(1), Code::kESRCH);
  EXPECT_EQ(manager.Read(1, 0, {&byte, 1}), Code::kESRCH);
  EXPECT_EQ(manager.Write(1, 0, {&byte, 1}), Code::kESRCH);
  ASSERT_TRUE(manager.Create(1).ok());
  ASSERT_TRUE(manager.Create(2).ok());
  EXPECT_EQ(manager.Create(1), Code::kEEXIST);
  EXPECT_EQ(manager.Fork(1, 1), Code::kEEXIST);
  EXPECT_EQ(manager.Fork(1, 2), Code::kEEXIST);
  EXPECT_EQ(manager.Read(1, 0, {&byte, 1}), Code::kEFAULT);
  const std::shared_ptr<CowMemory> kept = manager.Get(2);
  ASSERT_TRUE(manager.Free(2).ok());
  EXPECT_TRUE(kept->Map(0, kPage, kRw).ok());
  ASSERT_TRUE(manager.Fork(1, 2).ok());
  EXPECT_EQ(manager.Get(2)->Counters().mapped, 0u);
}

TEST(CowMemoryManagerTest, WithoutMemoryNothingChanges) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "operator new cannot be replaced here";
  CowMemoryManager manager;
  ASSERT_TRUE(manager.Create(1).ok());
  uint64_t failures = 0;
  for (uint64_t allowed = 0; allowed < 3; ++allowed) {
    Code create, fork;
    {
      const bench::HeapFailure failure(allowed);
      create = manager.Create(2).code();
      fork = manager.Fork(1, 3).code();
    }
    failures += create == Code::kENOMEM;
    failures += fork == Code::kENOMEM;
    EXPECT_EQ(manager.Get(2) != nullptr, create == Code::kOK);
    EXPECT_EQ(manager.Get(3) != nullptr, fork == Code::kOK);
    static_cast<void>(manager.Free(2));
    static_cast<void>(manager.Free(3));
  }
  EXPECT_GT(failures, 1u);
}

}  // namespace
}  // namespace hotpath
