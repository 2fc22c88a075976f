// Address spaces, through the facade: bookkeeping only. The answers are Linux's.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <vector>

#include "gtest/gtest.h"
#include "hotpath/kernel/kernel.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kBase = 0x100000000000;
constexpr int kAnon = MAP_PRIVATE | MAP_ANONYMOUS;

class MemoryTest : public DrivenKernelTest {
 protected:
  MemoryTest() { WriteFile(k, init, "/f", "0123456789", 0644); }

  Result<uint64_t> Map(uint64_t pages, int flags = kAnon, int prot = PROT_READ | PROT_WRITE, Fd fd = -1,
                       int64_t offset = 0) {
    return k.Mmap(init, 0, pages * kPage, prot, flags, fd, offset);
  }
  Result<uint64_t> MapAt(uint64_t page, uint64_t pages, int flags = kAnon | MAP_FIXED, int prot = PROT_READ) {
    return k.Mmap(init, kBase + page * kPage, pages * kPage, prot, flags, -1, 0);
  }
  Result<void> Unmap(uint64_t page, uint64_t pages) { return k.Munmap(init, kBase + page * kPage, pages * kPage); }
  Result<void> Protect(uint64_t page, uint64_t pages, int prot) {
    return k.Mprotect(init, kBase + page * kPage, pages * kPage, prot);
  }
  MemoryUse Use() { return Value(k.MemoryOf(init)); }
  Fd Open(int flags) { return Value(k.Open(init, "/f", flags)); }
};

TEST_F(MemoryTest, AMappingHasALengthAndAnAlignedPlace) {  // 83
  EXPECT_TRUE(Fails(k.Mmap(init, 0, 0, PROT_READ, kAnon, -1, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Mmap(init, kBase + 1, kPage, PROT_READ, kAnon | MAP_FIXED, -1, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Mmap(init, 0, kPage, PROT_READ, kAnon, -1, 100), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Mmap(init, 0, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Mmap(init, 0, ~uint64_t{0}, PROT_READ, kAnon, -1, 0), Code::kENOMEM));
  EXPECT_TRUE(Fails(k.Mmap(init, abi::kTaskSize, kPage, PROT_READ, kAnon | MAP_FIXED, -1, 0), Code::kENOMEM));
  EXPECT_TRUE(Fails(k.Munmap(init, kBase + 1, kPage), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Munmap(init, kBase, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Mprotect(init, kBase + 1, kPage, PROT_READ), Code::kEINVAL));
  EXPECT_TRUE(Ok(k.Mprotect(init, kBase, 0, PROT_READ)));
  EXPECT_EQ(Use().mapped, 0u);
  EXPECT_TRUE(Ok(k.Mmap(init, 0, 1, PROT_READ, kAnon, -1, 0)));
  EXPECT_EQ(Use().mapped, kPage) << "whole pages";
}

TEST_F(MemoryTest, TheFilesAccessModeDecides) {  // 84
  const Fd reader = Open(O_RDONLY);
  const Fd writer = Open(O_WRONLY);
  const Fd both = Open(O_RDWR);
  EXPECT_TRUE(Fails(Map(1, MAP_SHARED, PROT_READ | PROT_WRITE, reader), Code::kEACCES));
  EXPECT_TRUE(Ok(Map(1, MAP_PRIVATE, PROT_READ | PROT_WRITE, reader)));
  EXPECT_TRUE(Ok(Map(1, MAP_SHARED, PROT_READ, reader)));
  EXPECT_TRUE(Ok(Map(1, MAP_SHARED, PROT_READ | PROT_WRITE, both)));
  EXPECT_TRUE(Fails(Map(1, MAP_PRIVATE, PROT_READ, writer), Code::kEACCES));
  EXPECT_TRUE(Fails(Map(1, MAP_SHARED, PROT_WRITE, writer), Code::kEACCES));
  EXPECT_TRUE(Fails(Map(1, MAP_PRIVATE, PROT_READ, 77), Code::kEBADF));
  EXPECT_TRUE(Fails(Map(1, MAP_PRIVATE, PROT_READ, Open(abi::kOPath)), Code::kEBADF));
  EXPECT_TRUE(Fails(Map(1, MAP_PRIVATE, PROT_READ, Value(k.Open(init, "/", O_RDONLY))), Code::kENODEV));
  EXPECT_TRUE(Fails(Map(1, MAP_PRIVATE, PROT_READ, Value(k.Pipe(init, 0)).read_end), Code::kENODEV));
  EXPECT_TRUE(Fails(Map(2, MAP_PRIVATE, PROT_READ, both, INT64_MAX - kPage + 1), Code::kEOVERFLOW));
  EXPECT_TRUE(Ok(k.Seed("/dev/zero", {.mode = 020666, .rdev = abi::MakeDev(1, 5), .target = ""})));
  EXPECT_TRUE(Ok(Map(1, MAP_PRIVATE, PROT_READ, Value(k.Open(init, "/dev/zero", O_RDWR)))));
  const uint64_t shared = Value(Map(1, MAP_SHARED, PROT_READ, reader));
  EXPECT_TRUE(Fails(k.Mprotect(init, shared, kPage, PROT_READ | PROT_WRITE), Code::kEACCES));
}

TEST_F(MemoryTest, FixedReplacesAndNoReplaceRefuses) {  // 85
  EXPECT_TRUE(Gives(MapAt(0, 4), kBase));
  EXPECT_TRUE(Fails(MapAt(3, 2, kAnon | MAP_FIXED_NOREPLACE), Code::kEEXIST));
  EXPECT_TRUE(Gives(MapAt(4, 2, kAnon | MAP_FIXED_NOREPLACE, PROT_NONE), kBase + 4 * kPage));
  EXPECT_TRUE(Ok(MapAt(1, 2, kAnon | MAP_FIXED, PROT_READ | PROT_WRITE)));
  EXPECT_EQ(Use().mapped, 6 * kPage);
  EXPECT_EQ(Use().mappings, 4u);
}

TEST_F(MemoryTest, AHintIsHonouredIfItIsFree) {
  const uint64_t hint = kBase + 3 * kPage;
  EXPECT_TRUE(Gives(k.Mmap(init, hint, 2 * kPage, PROT_READ, kAnon, -1, 0), hint));
  const uint64_t elsewhere = Value(k.Mmap(init, hint + kPage, kPage, PROT_READ, kAnon, -1, 0));
  EXPECT_NE(elsewhere, hint + kPage);
  EXPECT_EQ(Use().mapped, 3 * kPage);
}

TEST_F(MemoryTest, UnmappingSplitsAndHolesAreFine) {  // 88
  EXPECT_TRUE(Ok(MapAt(0, 10)));
  EXPECT_TRUE(Ok(Unmap(4, 2)));
  EXPECT_EQ(Use().mappings, 2u);
  EXPECT_EQ(Use().mapped, 8 * kPage);
  EXPECT_TRUE(Ok(Unmap(4, 2))) << "nothing is there";
  EXPECT_TRUE(Ok(Unmap(2, 6))) << "across a hole";
  EXPECT_EQ(Use().mapped, 4 * kPage);
  EXPECT_TRUE(Ok(MapAt(2, 6)));
  EXPECT_EQ(Use().mappings, 1u) << "equal neighbours are one again";
}

TEST_F(MemoryTest, ProtectionStopsAtAHole) {  // 88
  EXPECT_TRUE(Ok(MapAt(0, 4)));
  EXPECT_TRUE(Ok(MapAt(6, 4)));
  EXPECT_TRUE(Fails(Protect(2, 6, PROT_NONE), Code::kENOMEM));
  EXPECT_EQ(Use().mappings, 3u) << "what lies before the hole has changed";
  EXPECT_TRUE(Fails(Protect(4, 1, PROT_READ), Code::kENOMEM));
  EXPECT_TRUE(Ok(Protect(0, 4, PROT_READ)));
  EXPECT_EQ(Use().mappings, 2u);
  EXPECT_TRUE(Fails(Protect(0, 1, 16), Code::kEINVAL));
}

TEST_F(MemoryTest, AdviceChecksItsRange) {  // 88
  EXPECT_TRUE(Ok(MapAt(0, 4)));
  EXPECT_TRUE(Ok(k.Madvise(init, kBase, 4 * kPage, MADV_DONTNEED)));
  EXPECT_TRUE(Fails(k.Madvise(init, kBase, 5 * kPage, MADV_DONTNEED), Code::kENOMEM));
  EXPECT_TRUE(Fails(k.Madvise(init, kBase + 1, kPage, MADV_DONTNEED), Code::kEINVAL));
  EXPECT_TRUE(Fails(k.Madvise(init, kBase, kPage, 77), Code::kEINVAL));
  EXPECT_TRUE(Ok(k.Madvise(init, kBase + 100 * kPage, 0, MADV_NORMAL)));
}

TEST_F(MemoryTest, MremapGrowsShrinksAndMoves) {  // 87
  EXPECT_TRUE(Ok(MapAt(0, 4)));
  EXPECT_TRUE(Ok(MapAt(6, 1)));
  const auto remap = [&](uint64_t page, uint64_t from, uint64_t to, int flags, uint64_t target = 0) {
    return k.Mremap(init, kBase + page * kPage, from * kPage, to * kPage, flags, kBase + target * kPage);
  };
  EXPECT_TRUE(Gives(remap(0, 4, 6, 0), kBase));
  EXPECT_TRUE(Fails(remap(0, 6, 7, 0), Code::kENOMEM)) << "no room";
  const uint64_t moved = Value(remap(0, 6, 7, abi::kMremapMayMove));
  EXPECT_NE(moved, kBase);
  EXPECT_EQ(Use().mapped, 8 * kPage);
  EXPECT_TRUE(Gives(k.Mremap(init, moved, 7 * kPage, 2 * kPage, 0, 0), moved));
  EXPECT_EQ(Use().mapped, 3 * kPage);
  EXPECT_TRUE(Gives(remap(6, 1, 1, abi::kMremapMayMove | abi::kMremapFixed, 20), kBase + 20 * kPage));
  EXPECT_TRUE(Fails(remap(6, 1, 1, 0), Code::kEFAULT));
  EXPECT_TRUE(Fails(remap(20, 1, 0, 0), Code::kEINVAL));
  EXPECT_TRUE(Fails(remap(20, 1, 1, abi::kMremapFixed, 30), Code::kEINVAL));
  EXPECT_TRUE(Fails(remap(20, 2, 2, abi::kMremapFixed | abi::kMremapMayMove, 21), Code::kEINVAL)) << "overlap";
  EXPECT_TRUE(Fails(remap(20, 2, 3, abi::kMremapMayMove), Code::kEFAULT)) << "more than is mapped";
}

TEST_F(MemoryTest, TheAddressSpaceHasALimit) {  // 90
  const Rlimit limit{10 * kPage, 10 * kPage};
  EXPECT_TRUE(Ok(k.Prlimit(init, 0, abi::kRlimitAs, &limit)));
  EXPECT_TRUE(Fails(Map(11), Code::kENOMEM));
  EXPECT_TRUE(Ok(MapAt(0, 8)));
  EXPECT_TRUE(Fails(Map(3), Code::kENOMEM));
  EXPECT_TRUE(Ok(MapAt(0, 10))) << "what is replaced counts once";
  EXPECT_TRUE(Fails(k.Mremap(init, kBase, 10 * kPage, 11 * kPage, abi::kMremapMayMove, 0), Code::kENOMEM));
  const uint64_t base = Value(k.Brk(init, 0));
  EXPECT_TRUE(Gives(k.Brk(init, base + kPage), base)) << "failure returns the break in force";
}

TEST_F(MemoryTest, TheBreakMovesByPagesAndStaysOnFailure) {
  const uint64_t base = Value(k.Brk(init, 0));
  EXPECT_EQ(base, 0x555555554000u);
  EXPECT_TRUE(Gives(k.Brk(init, base + 100), base + 100));
  EXPECT_EQ(Use().mapped, kPage);
  EXPECT_TRUE(Gives(k.Brk(init, base + 3 * kPage), base + 3 * kPage));
  EXPECT_EQ(Use().mappings, 1u);
  EXPECT_TRUE(Gives(k.Brk(init, base - 1), base + 3 * kPage));
  EXPECT_TRUE(Ok(k.Mmap(init, base + 5 * kPage, kPage, PROT_READ, kAnon | MAP_FIXED, -1, 0)));
  EXPECT_TRUE(Gives(k.Brk(init, base + 6 * kPage), base + 3 * kPage)) << "something is in the way";
  EXPECT_TRUE(Gives(k.Brk(init, base), base));
  EXPECT_EQ(Use().mapped, kPage);
  const Rlimit limit{kPage, kPage};
  EXPECT_TRUE(Ok(k.Prlimit(init, 0, abi::kRlimitData, &limit)));
  EXPECT_TRUE(Gives(k.Brk(init, base + 2 * kPage), base));
}

TEST_F(MemoryTest, ForkCopiesExecReplacesAndExitReleases) {
  EXPECT_TRUE(Ok(k.Seed("/bin/true", {.mode = 0100755, .size = 1, .target = ""})));
  const Fd fd = Open(O_RDONLY);
  EXPECT_TRUE(Ok(Map(3, MAP_PRIVATE, PROT_READ, fd)));
  EXPECT_TRUE(Ok(k.Close(init, fd)));
  EXPECT_EQ(k.Stats().open_descriptions, 1u) << "the mapping keeps the file open";
  const Pid child = Value(k.Fork(init));
  EXPECT_EQ(k.Stats().mapped_bytes, 6 * kPage);
  EXPECT_TRUE(Ok(k.Exec(child, kAtFdCwd, "/bin/true", 0, {.brk_base = 0x600000})));
  EXPECT_TRUE(Gives(k.Brk(child, 0), 0x600000u));
  EXPECT_EQ(k.Stats().mapped_bytes, 3 * kPage);
  EXPECT_TRUE(Ok(k.ExitGroup(child, 0)));
  EXPECT_TRUE(Ok(k.Munmap(init, 0, abi::kTaskSize)));
  EXPECT_EQ(k.Stats().mapped_bytes, 0u);
  EXPECT_EQ(k.Stats().open_descriptions, 0u);
}

TEST_F(MemoryTest, GapsAreFoundAgainAfterManyMappings) {
  std::vector<uint64_t> places;
  for (int i = 0; i < 5000; ++i) {
    places.push_back(Value(Map(1, kAnon, i % 2 == 0 ? PROT_READ : PROT_NONE)));
    if (i > 0) ASSERT_NE(places[static_cast<size_t>(i)], places[static_cast<size_t>(i) - 1]);
  }
  EXPECT_EQ(Use().mappings, 5000u);
  for (size_t i = 0; i < places.size(); i += 2) ASSERT_TRUE(Ok(k.Munmap(init, places[i], kPage)));
  EXPECT_EQ(Use().mapped, 2500 * kPage);
  for (int i = 0; i < 2500; ++i) ASSERT_TRUE(Ok(Map(1, kAnon, PROT_WRITE)));
  EXPECT_EQ(Use().mapped, 5000 * kPage);
}

TEST_F(MemoryTest, TheNumberOfMappingsIsBounded) {
  uint64_t made = 0;
  while (MapAt(2 * made, 1).ok()) ++made;
  EXPECT_EQ(made, abi::kMaxMappings + 1) << "as Linux: the check comes before the last one";
  EXPECT_TRUE(Fails(MapAt(2 * made, 1), Code::kENOMEM));
  EXPECT_TRUE(Ok(Unmap(0, 2)));
  EXPECT_TRUE(Ok(MapAt(0, 1)));
}

}  // namespace
}  // namespace hotpath::kernel
