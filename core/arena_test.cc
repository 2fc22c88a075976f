#include "hotpath/core/arena.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <scoped_allocator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"

namespace hotpath {
namespace {

template <class T, class... Args>
concept ArenaMakes = requires(Arena& arena, Args... args) { arena.New<T>(args...); };
template <class T>
concept ArenaMakesArrayOf = requires(Arena& arena) { arena.NewArray<T>(1); };

struct NoDefault {
  explicit NoDefault(int) {}
};
struct alignas(2 * Arena::kMaxAlign) TooAligned {};
struct alignas(Arena::kMaxAlign) MostAligned {
  ~MostAligned() {}
};

static_assert(ArenaMakes<int, int> && !ArenaMakes<int, std::string>);
static_assert(ArenaMakes<NoDefault, int> && !ArenaMakes<NoDefault>);
static_assert(ArenaMakes<MostAligned> && !ArenaMakes<TooAligned>);
static_assert(ArenaMakes<std::array<int, 3>> && !ArenaMakes<int[3]>);
static_assert(ArenaMakesArrayOf<int> && !ArenaMakesArrayOf<NoDefault>);
static_assert(!std::is_copy_constructible_v<Arena> && !std::is_move_constructible_v<Arena>);
static_assert(!std::is_convertible_v<Arena*, std::pmr::memory_resource*>, "resource() is the way in");
static_assert(!std::is_default_constructible_v<ArenaAllocator<int>>, "a container without an arena does not compile");

bool IsAligned(const void* p, size_t align) { return std::bit_cast<uintptr_t>(p) % align == 0; }

void Fill(void* p, size_t bytes, unsigned seed) { std::memset(p, static_cast<int>(seed * 37 + 1), bytes); }
bool Holds(const void* p, size_t bytes, unsigned seed) {
  const auto* byte = static_cast<const unsigned char*>(p);
  return std::all_of(byte, byte + bytes,
                     [&](unsigned char b) { return b == static_cast<unsigned char>(seed * 37 + 1); });
}

// Appends its number to a log when it is destroyed. Not trivial, and 12 bytes of odd payload.
class Noted {
 public:
  Noted(std::vector<int>* log, int number) : log_(log), number_(number) {}
  Noted(const Noted&) = delete;
  ~Noted() { log_->push_back(number_); }

 private:
  std::vector<int>* log_;
  int number_;
};

// ---- Allocate ----

TEST(ArenaTest, BlocksOfEverySizeAndAlignmentAreAlignedDisjointAndKeepTheirBytes) {
  struct Live {
    std::byte* p;
    size_t bytes;
  };
  std::vector<Live> live;
  Arena arena;
  for (int round = 0; round < 2; ++round) {
    for (size_t align = 1; align <= Arena::kMaxAlign; align *= 2) {
      for (size_t bytes :
           {0, 1, 7, 8, 9, 12, 23, 24, 63, 64, 65, 255, 4095, 4096, 4097, 16384, 70001, 1 << 20, 3 << 20}) {
        if (bytes > 5000 && align > 64 && align < 4096) continue;
        auto* p = static_cast<std::byte*>(arena.Allocate(bytes, align));
        ASSERT_TRUE(IsAligned(p, align)) << bytes << " bytes aligned to " << align;
        Fill(p, bytes, static_cast<unsigned>(live.size()));
        live.push_back({p, bytes});
      }
    }
    size_t total = 0;
    for (size_t i = 0; i < live.size(); ++i) {
      EXPECT_TRUE(Holds(live[i].p, live[i].bytes, static_cast<unsigned>(i))) << "block " << i;
      total += live[i].bytes;
    }
    EXPECT_GE(arena.BytesUsed(), total);
    EXPECT_GE(arena.BytesReserved(), arena.BytesUsed());
    std::sort(live.begin(), live.end(), [](const Live& a, const Live& b) { return a.p < b.p; });
    for (size_t i = 1; i < live.size(); ++i) EXPECT_LE(live[i - 1].p + live[i - 1].bytes, live[i].p);
    live.clear();
    arena.Reset();
    EXPECT_EQ(arena.BytesUsed(), 0u);
  }
}

TEST(ArenaTest, NeighboursLieEightBytesApartAtMost) {
  Arena arena;
  size_t used = 0;
  for (size_t bytes = 1; bytes <= 65; ++bytes) {
    EXPECT_NE(arena.Allocate(bytes, 1), nullptr);
    used += (bytes + 7) / 8 * 8 + asan::kRedzone;
    EXPECT_EQ(arena.BytesUsed(), used) << bytes;
  }
}

TEST(ArenaTest, ZeroBytesHaveAnAddressOfTheirOwn) {
  Arena arena;
  void* first = arena.Allocate(0, 1);
  void* second = arena.Allocate(0, 64);
  EXPECT_NE(first, nullptr);
  EXPECT_NE(first, second);
  EXPECT_TRUE(IsAligned(second, 64));
  EXPECT_NE(arena.Allocate(1, 1), second);
}

TEST(ArenaTest, BlockIsUsedToItsLastByte) {
  Arena arena({.first_block = 4096, .max_retained = 0});
  const size_t all = 4096 - sizeof(arena_internal::Block) - asan::kRedzone;
  EXPECT_NE(arena.Allocate(all, 8), nullptr);
  EXPECT_EQ(arena.BytesReserved(), 4096u);
  EXPECT_NE(arena.Allocate(1, 1), nullptr);
  EXPECT_GT(arena.BytesReserved(), 4096u);
}

TEST(ArenaTest, FirstBlockMayBeAnySize) {
  for (size_t first_block : {0, 1, 31, 32, 33, 47, 1001, 100'000}) {
    Arena arena({.first_block = first_block});
    for (unsigned i = 0; i < 100; ++i) {
      void* p = arena.Allocate(i, 8);
      EXPECT_TRUE(IsAligned(p, 8));
      Fill(p, i, i);
    }
    EXPECT_GE(arena.BytesReserved(), first_block);
  }
}

TEST(ArenaTest, ArenaNeverUsedHoldsNothing) {
  const bench::HeapMark heap;
  {
    Arena arena;
    EXPECT_EQ(arena.BytesReserved(), 0u);
    EXPECT_EQ(arena.BytesUsed(), 0u);
    EXPECT_EQ(arena.Trim(), 0u);
    arena.Reset();
    arena.Rewind(arena.Mark());
  }
  EXPECT_EQ(heap.Since().allocations, 0u);
}

TEST(ArenaTest, SizeThatCannotExistThrowsAndChangesNothing) {
  Arena arena;
  auto* before = static_cast<std::byte*>(arena.Allocate(8, 8));
  const size_t used = arena.BytesUsed(), reserved = arena.BytesReserved();
  for (size_t bytes : {SIZE_MAX, SIZE_MAX - 7, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 2 - 4096}) {
    for (size_t align : {1, 8, 16, 4096}) {
      EXPECT_THROW(static_cast<void>(arena.Allocate(bytes, align)), std::bad_alloc) << bytes << " aligned to " << align;
    }
  }
  EXPECT_THROW(arena.NewArray<uint64_t>(SIZE_MAX / 8 + 2), std::bad_array_new_length);
  EXPECT_THROW(arena.NewArray<std::string>(SIZE_MAX / sizeof(std::string) + 2), std::bad_array_new_length);
  EXPECT_THROW(arena.NewArray<char>(SIZE_MAX / 2), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(ArenaAllocator<uint64_t>(arena).allocate(SIZE_MAX / 8 + 2)),
               std::bad_array_new_length);
  EXPECT_THROW(static_cast<void>(arena.resource()->allocate(SIZE_MAX)), std::bad_alloc);
  EXPECT_EQ(arena.BytesUsed(), used);
  EXPECT_EQ(arena.BytesReserved(), reserved);
  EXPECT_EQ(arena.Allocate(8, 8), before + 8 + asan::kRedzone);
}

TEST(ArenaTest, FirstBlockThatCannotExistThrows) {
  for (size_t first_block : {SIZE_MAX, SIZE_MAX - 6, SIZE_MAX / 2}) {
    Arena arena({.first_block = first_block});
    EXPECT_THROW(static_cast<void>(arena.Allocate(1)), std::bad_alloc);
    EXPECT_EQ(arena.BytesReserved(), 0u);
  }
}

TEST(ArenaDeathTest, AlignmentThatIsNoPowerOfTwoUpTo4096IsRefused) {
  Arena arena;
  for (size_t align : {0, 3, 24, 4095, 8192}) {
    EXPECT_DEATH(static_cast<void>(arena.Allocate(8, align)), "arenas align to powers of two up to 4096") << align;
  }
}

// ---- New and NewArray ----

TEST(ArenaTest, NewMakesObjectsOfEveryKind) {
  struct Aggregate {
    int a;
    std::unique_ptr<int> b;
  };
  struct alignas(512) Wide {
    explicit Wide(char c) : value(c) {}
    ~Wide() { value = 0; }
    char value;
  };
  Arena arena;
  EXPECT_EQ(*arena.New<int>(), 0);
  EXPECT_EQ(*arena.New<int>(7), 7);
  EXPECT_EQ(*arena.New<const int>(8), 8);
  EXPECT_EQ(*arena.New<std::string>(100, 'x'), std::string(100, 'x'));
  Aggregate* aggregate = arena.New<Aggregate>(3, std::make_unique<int>(4));
  EXPECT_EQ(aggregate->a + *aggregate->b, 7);
  for (int i = 0; i < 5; ++i) {
    Wide* wide = arena.New<Wide>('w');
    EXPECT_TRUE(IsAligned(wide, 512));
    EXPECT_EQ(wide->value, 'w');
  }
  auto* by_reference = arena.New<std::pair<Arena&, int>>(arena, 1);
  EXPECT_EQ(&by_reference->first, &arena);
}

TEST(ArenaTest, OnlyObjectsWithADestructorCarryARecord) {
  Arena arena;
  EXPECT_NE(arena.New<int64_t>(1), nullptr);
  const size_t plain = arena.BytesUsed();
  EXPECT_EQ(plain, 8 + asan::kRedzone);
  EXPECT_NE(arena.New<std::unique_ptr<int>>(), nullptr);
  EXPECT_EQ(arena.BytesUsed() - plain, 16 + 8 + asan::kRedzone);
}

TEST(ArenaTest, DestructorsRunNewestFirstEachOnce) {
  std::vector<int> log;
  Arena arena;
  const ArenaMark outer = arena.Mark();
  arena.New<Noted>(&log, 1);
  arena.New<Noted>(&log, 2);
  const ArenaMark inner = arena.Mark();
  arena.New<Noted>(&log, 3);
  EXPECT_NE(arena.Allocate(100'000), nullptr);  // another block
  arena.New<Noted>(&log, 4);
  arena.Rewind(inner);
  EXPECT_EQ(log, (std::vector<int>{4, 3}));
  arena.New<Noted>(&log, 5);
  arena.Rewind(outer);
  EXPECT_EQ(log, (std::vector<int>{4, 3, 5, 2, 1}));
  arena.Reset();
  EXPECT_EQ(log.size(), 5u);
}

TEST(ArenaTest, ResetAndTheEndOfTheArenaRunDestructorsToo) {
  std::vector<int> log;
  {
    Arena arena;
    arena.New<Noted>(&log, 1);
    arena.New<Noted>(&log, 2);
    arena.Reset();
    EXPECT_EQ(log, (std::vector<int>{2, 1}));
    arena.New<Noted>(&log, 3);
    const ArenaMark left_behind = arena.Mark();
    static_cast<void>(left_behind);
    arena.New<Noted>(&log, 4);
  }
  EXPECT_EQ(log, (std::vector<int>{2, 1, 4, 3}));
}

// The counting default constructor of array elements; throws at the one numbered `fails_at`.
struct Element {
  static inline int made = 0, fails_at = -1;
  static inline std::vector<int> destroyed;

  Element() : number(made) {
    if (number == fails_at) throw std::runtime_error("element");
    ++made;
  }
  ~Element() { destroyed.push_back(number); }

  static void Expect(int fail) {
    made = 0;
    fails_at = fail;
    destroyed.clear();
  }

  int number;
};

TEST(ArenaTest, NewArrayDestroysItsElementsNewestFirst) {
  Element::Expect(-1);
  Arena arena;
  EXPECT_EQ(arena.NewArray<Element>(0).size(), 0u);
  std::span<Element> elements = arena.NewArray<Element>(3);
  ASSERT_EQ(elements.size(), 3u);
  EXPECT_EQ(elements[2].number, 2);
  EXPECT_EQ(arena.NewArray<Element>(2)[0].number, 3);
  arena.Reset();
  EXPECT_EQ(Element::destroyed, (std::vector<int>{4, 3, 2, 1, 0}));
}

TEST(ArenaTest, NewArrayAlignsAndFillsWithWhatTheConstructorSays) {
  struct alignas(128) Wide {
    int value = 5;
  };
  Arena arena;
  std::span<Wide> wide = arena.NewArray<Wide>(7);
  for (Wide& w : wide) {
    EXPECT_TRUE(IsAligned(&w, 128));
    EXPECT_EQ(w.value, 5);
  }
  std::span<char> odd = arena.NewArray<char>(12);
  EXPECT_EQ(odd.size_bytes(), 12u);
  Fill(odd.data(), odd.size(), 3);
  EXPECT_EQ(arena.NewArray<int>(0).size(), 0u);
  for (std::string& s : arena.NewArray<std::string>(9)) s.assign(50, 's');
}

TEST(ArenaTest, ElementThatThrowsTakesTheOnesBeforeItDown) {
  std::vector<int> log;
  Arena arena;
  const ArenaMark mark = arena.Mark();
  arena.New<Noted>(&log, 1);
  Element::Expect(2);
  EXPECT_THROW(arena.NewArray<Element>(5), std::runtime_error);
  EXPECT_EQ(Element::destroyed, (std::vector<int>{1, 0}));
  arena.Rewind(mark);
  EXPECT_EQ(Element::destroyed.size(), 2u) << "destroyed again by the rewind";
  EXPECT_EQ(log, std::vector<int>{1});
}

TEST(ArenaTest, ObjectWhoseConstructorThrowsIsNeverDestroyed) {
  std::vector<int> log;
  struct Throws {
    explicit Throws(Arena& arena, std::vector<int>* log) : member(log, 2) {
      arena.New<Noted>(log, 3);
      throw std::runtime_error("object");
    }
    ~Throws() { ADD_FAILURE() << "destroyed, but never made"; }
    Noted member;
  };
  Arena arena;
  arena.New<Noted>(&log, 1);
  EXPECT_THROW(arena.New<Throws>(arena, &log), std::runtime_error);
  EXPECT_EQ(log, std::vector<int>{2});
  arena.New<Noted>(&log, 4);
  arena.Reset();
  EXPECT_EQ(log, (std::vector<int>{2, 4, 3, 1}));
}

TEST(ArenaTest, WhatAConstructorMadeOutlivesItsMaker) {
  struct Parent {
    Parent(Arena& arena, std::vector<int>* log) : note(log, 1), child(arena.New<Noted>(log, 2)) {}
    Noted note;
    Noted* child;
  };
  std::vector<int> log;
  Arena arena;
  arena.New<Parent>(arena, &log);
  arena.Reset();
  EXPECT_EQ(log, (std::vector<int>{1, 2}));
}

TEST(ArenaTest, DestructorMayUseTheArena) {
  struct Busy {
    Busy(Arena* arena, std::vector<int>* log) : arena(arena), log(log) {}
    ~Busy() {
      Fill(arena->Allocate(40'000, 64), 40'000, 1);
      const ArenaScope scope(*arena);
      Fill(arena->Allocate(40'000, 64), 40'000, 2);
      arena->New<Noted>(log, 2);
      log->push_back(1);
    }
    Arena* arena;
    std::vector<int>* log;
  };
  struct Reviver : Busy {
    using Busy::Busy;
    ~Reviver() { arena->New<Noted>(log, 3); }
  };
  std::vector<int> log;
  {
    Arena arena({.first_block = 1000});
    const ArenaMark mark = arena.Mark();
    arena.New<Reviver>(&arena, &log);
    arena.Rewind(mark);
    EXPECT_EQ(log, (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(arena.BytesUsed(), 0u);
    arena.New<Reviver>(&arena, &log);
  }
  EXPECT_EQ(log, (std::vector<int>{1, 2, 3, 1, 2, 3}));
}

// Calls what it is given when it is destroyed.
template <class F>
struct AtDestruction {
  explicit AtDestruction(F f) : f(f) {}
  ~AtDestruction() { f(); }
  F f;
};

TEST(ArenaDeathTest, DestructorThatTakesBackItsOwnMemoryIsFoundOut) {
  Arena arena;
  const ArenaMark outer = arena.Mark();
  const ArenaMark inner = arena.Mark();
  std::optional<int> which;
  const auto misuse = [&] {
    if (which == 0) arena.Reset();
    if (which == 1) arena.Rewind(inner);
    if (which == 2) arena.Rewind(outer);
    if (which == 3) static_cast<void>(arena.Trim());
  };
  arena.New<AtDestruction<decltype(misuse)>>(misuse);
  EXPECT_DEATH((which = 0, arena.Rewind(inner)), "reset of an arena with .* a destructor running");
  EXPECT_DEATH((which = 1, arena.Rewind(inner)), "while a later one, or a destructor's run, is outstanding");
  EXPECT_DEATH((which = 2, arena.Rewind(inner)), "while a later one, or a destructor's run, is outstanding");
  which = 3;
  arena.Rewind(inner);
  arena.Rewind(outer);
}

// ---- Mark, Rewind, Reset, ArenaScope ----

TEST(ArenaTest, RewindGivesTheSameMemoryAgain) {
  Arena arena({.first_block = 1000});
  std::vector<void*> first;
  for (int round = 0; round < 3; ++round) {
    const ArenaMark mark = arena.Mark();
    std::vector<void*> handed;
    for (size_t bytes : {1, 12, 900, 65, 5000, 9, 70'000, 24}) handed.push_back(arena.Allocate(bytes, 8));
    if (round == 0) first = handed;
    EXPECT_EQ(handed, first) << "round " << round;
    arena.Rewind(mark);
    EXPECT_EQ(arena.BytesUsed(), 0u);
  }
}

TEST(ArenaTest, RewindLeavesWhatIsOlderAlone) {
  Arena arena({.first_block = 1000});
  constexpr unsigned kDepth = 1000;
  struct Level {
    ArenaMark mark;
    void* p;
    size_t bytes, used_before;
  };
  std::vector<Level> levels;
  for (unsigned i = 0; i < kDepth; ++i) {
    const size_t used = arena.BytesUsed(), bytes = i * 7 % 2000;
    const ArenaMark mark = arena.Mark();
    void* p = arena.Allocate(bytes, size_t{1} << i % 9);
    Fill(p, bytes, i);
    levels.push_back({mark, p, bytes, used});
  }
  while (!levels.empty()) {
    const auto seed = static_cast<unsigned>(levels.size() - 1);
    const Level& last = levels.back();
    ASSERT_TRUE(Holds(last.p, last.bytes, seed)) << "level " << seed;
    arena.Rewind(last.mark);
    ASSERT_EQ(arena.BytesUsed(), last.used_before) << "level " << seed;
    levels.pop_back();
    if (seed % 3 == 0) Fill(arena.Allocate(3000), 3000, 99);
  }
}

TEST(ArenaDeathTest, MisusedMarkIsNamed) {
  Arena arena, other;
  const ArenaMark outer = arena.Mark();
  ArenaMark inner = arena.Mark();
  EXPECT_DEATH(arena.Rewind(outer), "rewind to a mark while a later one, .* is outstanding");
  EXPECT_DEATH(other.Rewind(inner), "rewind to a mark of another arena");
  const ArenaMark like_outer = other.Mark(), like_inner = other.Mark();
  EXPECT_DEATH(other.Rewind(inner), "rewind to a mark of another arena");
  other.Rewind(like_inner);
  other.Rewind(like_outer);
  EXPECT_DEATH(arena.Reset(), "reset of an arena with a mark outstanding");
  arena.Rewind(inner);
  EXPECT_DEATH(arena.Rewind(inner), "rewind to a mark that was rewound, or rewound past, before");

  // A dead mark stays dead when another of the same depth and place is taken.
  const ArenaMark again = arena.Mark();
  EXPECT_DEATH(arena.Rewind(inner), "rewind to a mark while a later one, .* is outstanding");
  arena.Rewind(again);
  arena.Rewind(outer);
  EXPECT_DEATH(arena.Rewind(outer), "rewind to a mark that was rewound, or rewound past, before");
}

TEST(ArenaTest, ScopeRewindsPastMarksLeftBehind) {
  Arena arena;
  std::vector<int> log;
  const ArenaMark outer = arena.Mark();
  EXPECT_THROW(
      {
        const ArenaScope scope(arena);
        arena.New<Noted>(&log, 1);
        const ArenaMark left_behind = arena.Mark();
        arena.New<Noted>(&log, 2);
        if (arena.BytesUsed() > 0) throw std::runtime_error("in between");
        arena.Rewind(left_behind);
      },
      std::runtime_error);
  EXPECT_EQ(log, (std::vector<int>{2, 1}));
  EXPECT_EQ(arena.BytesUsed(), 0u);
  arena.Rewind(outer);
}

TEST(ArenaDeathTest, MarkInsideAScopeThatEndedIsDead) {
  Arena arena;
  std::optional<ArenaMark> mark;
  {
    const ArenaScope scope(arena);
    mark = arena.Mark();
  }
  EXPECT_DEATH(arena.Rewind(*mark), "rewind to a mark that was rewound, or rewound past, before");
}

TEST(ArenaDeathTest, ScopesThatEndInTheWrongOrderAreNamed) {
  constexpr const char* kMessage = "scopes end in another order than newest first";
  Arena arena;
  std::optional<ArenaScope> outer, inner, third;
  outer.emplace(arena);
  inner.emplace(arena);
  EXPECT_DEATH(outer.reset(), kMessage);
  inner.reset();
  third.emplace(arena);
  EXPECT_DEATH(outer.reset(), kMessage);
  third.reset();

  // Nor may what a scope rewinds end the one around it.
  bool misuse = false;
  const auto end_outer = [&] {
    if (misuse) outer.reset();
  };
  inner.emplace(arena);
  arena.New<AtDestruction<decltype(end_outer)>>(end_outer);
  EXPECT_DEATH((misuse = true, inner.reset()), kMessage);
  inner.reset();
}

// ---- What is retained ----

TEST(ArenaTest, RewindKeepsBlocksUpToTheLimitAndFreesTheRest) {
  for (size_t limit : {size_t{0}, size_t{1000}, size_t{20'000}, size_t{1} << 20}) {
    Arena arena({.first_block = 4096, .max_retained = limit});
    for (size_t request : {100, 4000, 30'000, 500'000, 3'000'000, 64 << 20}) {
      const ArenaMark mark = arena.Mark();
      for (size_t done = 0; done < request; done += 3000) EXPECT_NE(arena.Allocate(3000), nullptr);
      EXPECT_GE(arena.BytesReserved(), request);
      arena.Rewind(mark);
      EXPECT_LE(arena.BytesReserved(), limit) << "after a request of " << request;
    }
  }
}

TEST(ArenaTest, EmptyFirstBlockCountsAsRetained) {
  Arena arena({.first_block = 4096, .max_retained = 4096 + 16384 - 8});
  for (int round = 0; round < 3; ++round) {
    const ArenaScope scope(arena);
    EXPECT_NE(arena.Allocate(100), nullptr);
  }
  EXPECT_EQ(arena.BytesReserved(), 4096u);
  {
    const ArenaScope scope(arena);
    EXPECT_NE(arena.Allocate(17'000), nullptr);
    EXPECT_GT(arena.BytesReserved(), 4096u + 17'000u);
  }
  EXPECT_EQ(arena.BytesReserved(), 4096u) << "both are empty, and together over the limit";
}

TEST(ArenaTest, OneHugeAllocationIsNotKept) {
  for (bool first : {true, false}) {
    Arena arena;
    const ArenaMark mark = arena.Mark();
    if (!first) static_cast<void>(arena.Allocate(10));
    EXPECT_NE(arena.Allocate(64 << 20), nullptr);
    EXPECT_NE(arena.Allocate(10), nullptr);
    arena.Rewind(mark);
    EXPECT_LE(arena.BytesReserved(), ArenaOptions().max_retained);
  }
}

TEST(ArenaTest, InnerRewindFreesBeyondTheLimitAndKeepsWhatIsInUse) {
  Arena arena({.first_block = 4096, .max_retained = 50'000});
  auto* kept = static_cast<char*>(arena.Allocate(200'000));  // in a block that alone is over the limit
  Fill(kept, 200'000, 1);
  const size_t base = arena.BytesReserved();
  for (int i = 0; i < 3; ++i) {
    const ArenaScope scope(arena);
    for (int j = 0; j < 40; ++j) Fill(arena.Allocate(30'000), 30'000, 2);
  }
  EXPECT_LE(arena.BytesReserved(), base + 50'000);
  EXPECT_TRUE(Holds(kept, 200'000, 1));
  arena.Reset();
  EXPECT_LE(arena.BytesReserved(), 50'000u);
}

TEST(ArenaTest, SameRequestAgainNeedsNoNewBlock) {
  Arena arena;
  const auto request = [&] {
    for (size_t bytes : {100, 20'000, 7, 150'000, 40'000, 3, 90'000, 12}) EXPECT_NE(arena.Allocate(bytes), nullptr);
  };
  request();
  const size_t reserved = arena.BytesReserved();
  arena.Reset();
  const bench::HeapMark heap;
  for (int i = 0; i < 10; ++i) {
    request();
    arena.Reset();
  }
  EXPECT_EQ(heap.Since().allocations, 0u);
  EXPECT_EQ(arena.BytesReserved(), reserved);
}

// Whatever its blocks are: of what a request takes, up to max_retained, nothing comes from the heap the next time.
TEST(ArenaTest, RequestsUpToWhatIsRetainedNeedNoNewBlockEither) {
  for (const size_t large : {150'000, 250'000, 262'000, 400'000, 700'000, 990'000}) {
    for (const size_t small : {100, 1'000, 10'000}) {
      Arena arena;
      const auto request = [&] {
        EXPECT_NE(arena.Allocate(small), nullptr);
        EXPECT_NE(arena.Allocate(large), nullptr);
        while (arena.BytesUsed() + small < 1'000'000) EXPECT_NE(arena.Allocate(small), nullptr);
      };
      request();
      arena.Reset();
      const bench::HeapMark heap;
      request();
      arena.Reset();
      EXPECT_EQ(heap.Since().allocations, 0u) << large << " among " << small;
    }
  }
}

TEST(ArenaTest, SpareBlockTooSmallForARequestStaysSpareForALaterOne) {
  Arena arena({.first_block = 1000, .max_retained = 1 << 20});
  for (size_t bytes : {900, 3900, 15'900}) EXPECT_NE(arena.Allocate(bytes), nullptr);
  arena.Reset();
  const size_t reserved = arena.BytesReserved();
  for (size_t bytes : {900, 15'900, 3900}) EXPECT_NE(arena.Allocate(bytes), nullptr);
  EXPECT_EQ(arena.BytesReserved(), reserved);
  arena.Reset();
  EXPECT_NE(arena.Allocate(900), nullptr);
  EXPECT_NE(arena.Allocate(100'000), nullptr);  // too large for either
  const size_t with_large = arena.BytesReserved();
  EXPECT_GT(with_large, reserved);
  for (size_t bytes : {15'900, 3900}) EXPECT_NE(arena.Allocate(bytes), nullptr);
  EXPECT_EQ(arena.BytesReserved(), with_large);
}

TEST(ArenaTest, TrimFreesWhatIsSpareAndOfAnEmptyArenaAll) {
  Arena arena;
  auto* kept = static_cast<char*>(arena.Allocate(1000));
  Fill(kept, 1000, 5);
  const size_t base = arena.BytesReserved();
  {
    const ArenaScope scope(arena);
    for (int i = 0; i < 20; ++i) EXPECT_NE(arena.Allocate(10'000), nullptr);
    EXPECT_EQ(arena.Trim(), 0u) << "nothing is spare";
  }
  const size_t spare = arena.BytesReserved() - base;
  EXPECT_GT(spare, 0u);
  EXPECT_EQ(arena.Trim(), spare);
  EXPECT_EQ(arena.BytesReserved(), base);
  EXPECT_TRUE(Holds(kept, 1000, 5));
  arena.Reset();
  EXPECT_EQ(arena.Trim(), base);
  EXPECT_EQ(arena.BytesReserved(), 0u);
  EXPECT_EQ(arena.Trim(), 0u);
  Fill(arena.Allocate(1000), 1000, 6);
}

TEST(ArenaTest, TrimUnderAMarkKeepsTheBlockOfTheMark) {
  Arena arena;
  EXPECT_NE(arena.Allocate(8), nullptr);
  arena.Reset();
  {
    const ArenaScope scope(arena);
    EXPECT_EQ(arena.Trim(), 0u);
    EXPECT_GT(arena.BytesReserved(), 0u);
  }
  EXPECT_GT(arena.Trim(), 0u);
}

TEST(ArenaTest, HeapFailureChangesNothing) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "the sanitizer's runtime insists on its own operator new";
  Arena arena({.first_block = 1000, .max_retained = 1 << 20});
  EXPECT_NE(arena.Allocate(900), nullptr);
  EXPECT_NE(arena.Allocate(1500), nullptr);
  arena.Reset();
  std::vector<int> log;
  arena.New<Noted>(&log, 1);
  const size_t used = arena.BytesUsed(), reserved = arena.BytesReserved();
  {
    const bench::HeapFailure fail;
    EXPECT_THROW(static_cast<void>(arena.Allocate(100'000)), std::bad_alloc);
    EXPECT_THROW((arena.New<std::array<Element, 10'000>>()), std::bad_alloc);
    EXPECT_THROW(arena.NewArray<Element>(10'000), std::bad_alloc);
    EXPECT_THROW(static_cast<void>(arena.resource()->allocate(100'000)), std::bad_alloc);
    EXPECT_EQ(arena.BytesUsed(), used);
    EXPECT_EQ(arena.BytesReserved(), reserved);
    Fill(arena.Allocate(1500), 1500, 1);  // what is spare still serves
  }
  EXPECT_TRUE(log.empty());
  Fill(arena.Allocate(100'000), 100'000, 2);
  arena.Reset();
  EXPECT_EQ(log, std::vector<int>{1});
}

// ---- Containers ----

TEST(ArenaTest, ResourceServesPmrContainers) {
  Arena arena;
  std::pmr::memory_resource* resource = arena.resource();
  const bench::HeapMark heap;
  static_cast<void>(arena.Allocate(1));
  {
    std::pmr::unordered_map<std::pmr::string, std::pmr::vector<int>> map(resource);
    const auto key = [&](int i) { return std::pmr::string(30, static_cast<char>('0' + i), resource); };
    for (int i = 0; i < 50; ++i) map[key(i)].assign(10, i);
    EXPECT_EQ(map.size(), 50u);
    EXPECT_EQ(map.at(key(7))[9], 7);
    for (const auto& [k, values] : map) EXPECT_EQ(values.get_allocator().resource(), resource) << k;
  }
  EXPECT_LE(heap.Since().allocations, 2u) << "only blocks come from the heap";
  const size_t used = arena.BytesUsed();
  EXPECT_GT(used, 50 * (30 + 10 * sizeof(int)));
  arena.Reset();

  Arena other;
  EXPECT_TRUE(resource->is_equal(*arena.resource()));
  EXPECT_FALSE(resource->is_equal(*other.resource()));
  void* wide = resource->allocate(3, 2048);
  EXPECT_TRUE(IsAligned(wide, 2048));
  resource->deallocate(wide, 3, 2048);
  EXPECT_THROW(static_cast<void>(resource->allocate(3, 8192)), std::bad_alloc);
}

TEST(ArenaTest, VectorAndStringLiveInTheArena) {
  Arena arena;
  static_cast<void>(arena.Allocate(1));
  const bench::HeapMark heap;
  ArenaVector<ArenaString> words(arena);
  for (int i = 0; i < 20; ++i) words.emplace_back(std::string_view("a word that is too long to be inline"), arena);
  words.resize(3, ArenaString(arena));
  words.shrink_to_fit();
  ArenaVector<ArenaString> copy = words;
  copy[0] += words[1];
  const ArenaVector<ArenaString> moved = std::move(words);
  EXPECT_EQ(moved[0] + moved[1], copy[0]);
  EXPECT_EQ(copy.get_allocator(), moved.get_allocator());
  EXPECT_EQ(heap.Since().allocations, 0u);
}

TEST(ArenaTest, OtherContainersTakeTheAllocatorToo) {
  Arena arena;
  std::list<int, ArenaAllocator<int>> list(arena);
  std::map<int, ArenaString, std::less<>, ArenaAllocator<std::pair<const int, ArenaString>>> map(arena);
  for (int i = 0; i < 30; ++i) {
    list.push_front(i);
    map.emplace(i, ArenaString(40, 'm', arena));
  }
  map.erase(7);
  EXPECT_EQ(list.size() + map.size(), 59u);
  using Words = std::vector<ArenaString, std::scoped_allocator_adaptor<ArenaAllocator<ArenaString>>>;
  Words words((Words::allocator_type(arena)));
  words.emplace_back("the adaptor hands the arena to the elements");
  EXPECT_EQ(&words[0].get_allocator().arena(), &arena);
}

TEST(ArenaTest, ContainerKeepsItsArenaWhenAssignedTo) {
  Arena source, target;
  const ArenaVector<int> from({1, 2, 3}, source);
  ArenaVector<int> to(target);
  to = from;
  EXPECT_EQ(&to.get_allocator().arena(), &target);
  ArenaVector<int> temporary({4, 5}, source);
  to = std::move(temporary);
  EXPECT_EQ(to, ArenaVector<int>({4, 5}, target));
  EXPECT_EQ(&to.get_allocator().arena(), &target);
  EXPECT_NE(from.get_allocator(), to.get_allocator());
  source.Reset();
  EXPECT_EQ(to[1], 5);
}

// ---- WithArena ----

struct LengthThenText {
  size_t length;
  std::string text;
};

TEST(WithArenaTest, ReturnsWhatTheFunctionReturns) {
  static int global = 5;
  WithArena([](Arena& arena) { EXPECT_NE(arena.Allocate(8), nullptr); });
  EXPECT_EQ(WithArena([](Arena& arena) { return *arena.New<int>(3); }), 3);
  static_assert(std::is_same_v<decltype(WithArena([](Arena&) -> int& { return global; })), int&>);
  EXPECT_EQ(&WithArena([](Arena&) -> int& { return global; }), &global);
  EXPECT_EQ(*WithArena([](Arena&) { return std::make_unique<int>(9); }), 9);
  const LengthThenText result = WithArena([](Arena& arena) {
    ArenaString s("text", arena);
    return LengthThenText{s.size(), std::string(s)};
  });
  EXPECT_EQ(result.text.size(), result.length);
}

TEST(WithArenaTest, NestedCallsShareTheArenaAndRewindTheirOwnPart) {
  std::vector<int> log;
  WithArena([&](Arena& outer) {
    outer.New<Noted>(&log, 1);
    auto* kept = outer.Allocate(5000);
    Fill(kept, 5000, 1);
    const size_t used = outer.BytesUsed();
    void* first = nullptr;
    for (int i = 0; i < 5; ++i) {
      WithArena([&](Arena& inner) {
        EXPECT_EQ(&inner, &outer);
        void* p = inner.Allocate(100);
        if (i == 0) first = p;
        EXPECT_EQ(p, first);
        inner.New<Noted>(&log, 2 + i);
        Fill(inner.Allocate(50'000), 50'000, 2);
      });
      EXPECT_EQ(outer.BytesUsed(), used);
      EXPECT_EQ(log.back(), 2 + i);
    }
    EXPECT_TRUE(Holds(kept, 5000, 1));
  });
  EXPECT_EQ(log, (std::vector<int>{2, 3, 4, 5, 6, 1}));
}

size_t Descend(int depth) {
  return WithArena([&](Arena& arena) {
    auto* p = arena.New<size_t>(static_cast<size_t>(depth));
    const size_t below = depth == 0 ? 0 : Descend(depth - 1);
    return *p + below;
  });
}

TEST(WithArenaTest, NestsDeeply) {
  EXPECT_EQ(Descend(5000), 5000u * 5001 / 2);
  EXPECT_EQ(WithArena([](Arena& arena) { return arena.BytesUsed(); }), 0u);
}

TEST(WithArenaTest, ExceptionPassesAndTheMemoryIsTakenBack) {
  std::vector<int> log;
  EXPECT_THROW(WithArena([&](Arena& arena) {
                 arena.New<Noted>(&log, 1);
                 try {
                   WithArena([&](Arena& inner) {
                     inner.New<Noted>(&log, 2);
                     throw std::runtime_error("inner");
                   });
                 } catch (const std::runtime_error&) {
                   EXPECT_EQ(log, std::vector<int>{2});
                   throw;
                 }
               }),
               std::runtime_error);
  EXPECT_EQ(log, (std::vector<int>{2, 1}));
  EXPECT_EQ(WithArena([](Arena& arena) { return arena.BytesUsed(); }), 0u);
}

TEST(WithArenaTest, AllocatesNothingFromTheHeapOnceWarm) {
  const auto request = [] {
    return WithArena([](Arena& arena) {
      ArenaVector<ArenaString> parts(arena);
      for (int i = 0; i < 100; ++i) {
        parts.emplace_back(60, static_cast<char>('a' + i % 26), arena);
        WithArena([&](Arena& inner) {
          std::pmr::string scratch(parts.back().begin(), parts.back().end(), inner.resource());
          scratch += scratch;
          inner.New<AtDestruction<void (*)()>>([] {});
          WithArena([](Arena& innermost) { Fill(innermost.NewArray<char>(9000).data(), 9000, 1); });
        });
      }
      size_t length = arena.NewArray<std::string>(5).size();
      for (const ArenaString& part : parts) length += part.size();
      return length + arena.New<std::vector<int>>()->size();
    });
  };
  EXPECT_EQ(request(), 6005u);
  const bench::HeapMark heap;
  for (int i = 0; i < 100; ++i) request();
  EXPECT_EQ(heap.Since(), bench::HeapCount{});
}

TEST(WithArenaTest, KeepsNoMoreThanTheLimitAndTrimReleasesIt) {
  WithArena([](Arena& arena) {
    for (int i = 0; i < 64; ++i) EXPECT_NE(arena.Allocate(1 << 20), nullptr);
    EXPECT_GE(arena.BytesReserved(), size_t{64} << 20);
  });
  const auto reserved = [] { return WithArena([](Arena& arena) { return arena.BytesReserved(); }); };
  EXPECT_LE(reserved(), ArenaOptions().max_retained);
  WithArena([](Arena& arena) { EXPECT_NE(arena.Allocate(100), nullptr); });
  EXPECT_GT(reserved(), 0u);
  const size_t kept = reserved();
  EXPECT_EQ(TrimThreadArena(), kept);
  EXPECT_EQ(reserved(), 0u);
  EXPECT_EQ(TrimThreadArena(), 0u);
}

TEST(WithArenaTest, HeapFailureOfAThreadsFirstCallsIsReportedAndOvercome) {
  if (!bench::HeapFailure::Works()) GTEST_SKIP() << "the sanitizer's runtime insists on its own operator new";
  std::thread([] {
    int calls = 0;
    const auto call = [&] {
      WithArena([&](Arena& arena) {
        ++calls;
        Fill(arena.Allocate(100), 100, 1);
      });
    };
    for (uint64_t successes = 0; successes < 2; ++successes) {  // the arena itself, then its first block
      const bench::HeapFailure fail(successes);
      EXPECT_THROW(call(), std::bad_alloc);
      EXPECT_EQ(calls, static_cast<int>(successes));
    }
    call();
    const bench::HeapFailure fail;
    call();
    EXPECT_EQ(calls, 3);
  }).join();
}

TEST(WithArenaDeathTest, ResetWouldTakeWhatIsOutsideTheCall) {
  EXPECT_DEATH(WithArena([](Arena& arena) { arena.Reset(); }), "reset of an arena with a mark outstanding");
}

// The arena of a thread that ended is gone: its entry is empty. What it held is seen by LeakSanitizer.
void RunInThreadAndExpectNoArenaLeft(auto body) {
  uint32_t index = 0;
  std::thread thread([&] {
    index = StdSync::ThreadIndex();
    body();
  });
  thread.join();
  EXPECT_EQ(arena_internal::thread_arenas[index], nullptr);
}

TEST(WithArenaTest, EachThreadHasItsOwnArenaUntilItEnds) {
  WithArena([](Arena& mine) {
    void* next = mine.Allocate(8);
    RunInThreadAndExpectNoArenaLeft([&] {
      EXPECT_EQ(TrimThreadArena(), 0u) << "no arena yet";
      WithArena([&](Arena& theirs) {
        EXPECT_NE(&theirs, &mine);
        Fill(theirs.Allocate(100'000), 100'000, 1);
      });
    });
    EXPECT_EQ(mine.BytesUsed(), 16 + asan::kRedzone - 8);
    EXPECT_NE(next, nullptr);
  });
}

// Uses the arena when it is destroyed, with the thread's other thread_locals.
struct AtTeardown {
  ~AtTeardown() {
    if (sum == nullptr) return;
    *sum += WithArena([](Arena& arena) {
      std::span<int> bytes = arena.NewArray<int>(1000);
      Fill(bytes.data(), bytes.size_bytes(), 1);
      return static_cast<int>(bytes.size());
    });
  }
  int* sum = nullptr;
};
thread_local AtTeardown t_at_teardown;

TEST(WithArenaTest, DestructorsOfThreadLocalsMayUseTheArena) {
  int sum = 0;
  RunInThreadAndExpectNoArenaLeft([&] {
    t_at_teardown.sum = &sum;
    WithArena([](Arena& arena) { EXPECT_NE(arena.Allocate(1), nullptr); });
  });
  EXPECT_EQ(sum, 1000);
  RunInThreadAndExpectNoArenaLeft([&] { t_at_teardown.sum = &sum; });  // the thread's first use is in teardown
  EXPECT_EQ(sum, 2000);
}

TEST(WithArenaTest, DestructorsOfPthreadKeysAndExitHooksMayUseTheArena) {
  static int sum = 0;
  const auto use = [] { sum += WithArena([](Arena& arena) { return *arena.New<int>(1); }); };
  pthread_key_t key;
  ASSERT_EQ(pthread_key_create(&key, [](void*) { sum += WithArena([](Arena& arena) { return *arena.New<int>(10); }); }),
            0);
  ThreadExitHook hook([](ThreadExitHook&) { sum += WithArena([](Arena& arena) { return *arena.New<int>(100); }); });
  RunInThreadAndExpectNoArenaLeft([&] {
    StdSync::AtThreadExit(hook);  // before the arena's: runs when that is gone
    use();
    ASSERT_EQ(pthread_setspecific(key, &sum), 0);
  });
  EXPECT_EQ(sum, 111);
  ASSERT_EQ(pthread_key_delete(key), 0);
}

TEST(WithArenaTest, ThreadThatExitsInsideACallRunsDestructorsAndLeavesNoArena) {
  std::vector<int> log;
  RunInThreadAndExpectNoArenaLeft([&] {
    WithArena([&](Arena& arena) {
      arena.New<Noted>(&log, 1);
      WithArena([&](Arena& inner) {
        inner.New<Noted>(&log, 2);
        Fill(inner.Allocate(100'000), 100'000, 1);
        pthread_exit(nullptr);
      });
    });
  });
  EXPECT_EQ(log, (std::vector<int>{2, 1}));
}

TEST(WithArenaTest, ForkInsideACallLeavesBothSidesWhatTheyHad) {
  std::vector<int> log;
  WithArena([&](Arena& arena) {
    auto* shared = arena.Allocate(1000);
    Fill(shared, 1000, 1);
    arena.New<Noted>(&log, 1);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool good = Holds(shared, 1000, 1);
      Fill(shared, 1000, 2);
      WithArena([&](Arena& inner) {
        good = good && &inner == &arena;
        Fill(inner.Allocate(200'000), 200'000, 3);
      });
      _exit(good && Holds(shared, 1000, 2) && log.empty() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(Holds(shared, 1000, 1));
  });
  EXPECT_EQ(log, std::vector<int>{1});
}

TEST(WithArenaDeathTest, StaticDestructorsMayUseTheArena) {
  EXPECT_EXIT(
      {
        static AtDestruction at_exit([] {
          if (WithArena([](Arena& arena) { return *arena.New<int>(4); }) == 4) _exit(17);
        });
        exit(1);
      },
      testing::ExitedWithCode(17), "");
}

TEST(ArenaTest, ArenaMayBeHandedToAnotherThread) {
  std::vector<int> log;
  auto arena = std::make_unique<Arena>();
  const ArenaMark mark = arena->Mark();
  ArenaVector<int>* numbers = arena->New<ArenaVector<int>>(*arena);
  numbers->assign(1000, 3);
  arena->New<Noted>(&log, 1);
  std::thread([arena = std::move(arena), numbers, &mark] {
    EXPECT_EQ((*numbers)[999], 3);
    numbers->push_back(4);
    arena->Rewind(mark);
    EXPECT_EQ(arena->BytesUsed(), 0u);
  }).join();
  EXPECT_EQ(log, std::vector<int>{1});
}

// ---- Under AddressSanitizer ----

#if HOTPATH_ASAN

[[gnu::noinline]] int ReadThrough(const volatile char* p) { return *p; }

TEST(ArenaAsanDeathTest, PointerIntoADeadScopeIsReported) {
  WithArena([](Arena& arena) { Fill(arena.Allocate(100), 100, 1); });  // so that the next call stays within a block
  const char* dangling = WithArena([](Arena& arena) { return arena.New<char>('x'); });
  EXPECT_DEATH(ReadThrough(dangling), "use-after-poison");
  const std::string_view view = WithArena([](Arena& arena) {
    auto* s = arena.New<ArenaString>(50, 's', arena);
    return std::string_view(*s);
  });
  EXPECT_DEATH(ReadThrough(view.data() + 49), "use-after-poison");
}

TEST(ArenaAsanDeathTest, PointerPastARewindIsReportedInEveryBlock) {
  Arena arena({.first_block = 1000});
  const char* older = static_cast<char*>(arena.Allocate(8));
  const ArenaMark mark = arena.Mark();
  std::vector<const char*> dangling;
  for (size_t bytes : {8, 1, 900, 5000}) dangling.push_back(static_cast<char*>(arena.Allocate(bytes)));
  arena.Rewind(mark);
  for (const char* p : dangling) EXPECT_DEATH(ReadThrough(p), "use-after-poison");
  EXPECT_EQ(ReadThrough(older) * 0, 0);
  EXPECT_EQ(ReadThrough(static_cast<char*>(arena.Allocate(8))) * 0, 0);
  EXPECT_DEATH(ReadThrough(dangling[1]), "use-after-poison");
  EXPECT_GT((arena.Reset(), arena.Trim()), 0u);
  EXPECT_DEATH(ReadThrough(dangling[0]), "heap-use-after-free");
}

TEST(ArenaAsanDeathTest, OuterContainerThatGrewInAnInnerCallIsReported) {
  WithArena([](Arena& outer) {
    ArenaVector<int> v(outer);
    v.reserve(1);
    WithArena([&](Arena&) { v.push_back(1); });  // fits
    EXPECT_EQ(v[0], 1);
    EXPECT_DEATH((WithArena([&](Arena&) { v.push_back(2); }), v[0] = 3), "use-after-poison");
  });
}

TEST(ArenaAsanDeathTest, ByteBeforeOrAfterABlockIsReported) {
  Arena arena;
  for (size_t bytes : {1, 7, 8, 65}) {
    const auto* p = static_cast<const char*>(arena.Allocate(bytes, 1));
    EXPECT_NE(arena.Allocate(8, 1), nullptr);
    EXPECT_DEATH(ReadThrough(p + bytes), "use-after-poison") << bytes;
    EXPECT_DEATH(ReadThrough(p - 1), "use-after-poison") << bytes;
    EXPECT_EQ(ReadThrough(p) * 0 + ReadThrough(p + bytes - 1) * 0, 0);
  }
}

TEST(ArenaAsanDeathTest, ElementThatAVectorMovedAwayIsReported) {
  Arena arena;
  ArenaVector<char> v({'a'}, arena);
  const char* before = v.data();
  v.resize(1000);
  EXPECT_DEATH(ReadThrough(before), "use-after-poison");
  std::pmr::vector<char> w({'a'}, arena.resource());
  before = w.data();
  w.resize(1000);
  EXPECT_DEATH(ReadThrough(before), "use-after-poison");
}

#endif  // HOTPATH_ASAN

}  // namespace
}  // namespace hotpath
