#include "bench/base/heap_counter.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace hotpath::bench {
namespace {

struct alignas(64) Wide {
  char bytes[64];
};

// Through pointers, so that the compiler cannot remove a pair.
void* (*volatile g_new)(size_t) = [](size_t n) { return ::operator new(n); };
void (*volatile g_delete)(void*) = [](void* p) { ::operator delete(p); };

TEST(HeapCounterTest, MarkSeesNothingWhereNothingIsAllocated) {
  const HeapMark mark;
  int on_the_stack = 1;
  EXPECT_EQ(mark.Since(), HeapCount{});
  EXPECT_EQ(on_the_stack, 1);
}

TEST(HeapCounterTest, EveryAllocationIsCountedWithItsBytes) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{24}, size_t{63}, size_t{4096}}) {
    const HeapMark mark;
    void* const block = g_new(size);
    const HeapCount made = mark.Since();
    g_delete(block);
    const HeapCount freed = mark.Since();
    EXPECT_NE(block, nullptr);
    EXPECT_EQ(made.allocations, 1u) << size;
    EXPECT_EQ(made.frees, 0u) << size;
    EXPECT_GE(made.bytes, size);
    EXPECT_LE(made.bytes, std::max<size_t>(size, 1));
    EXPECT_EQ(freed, (HeapCount{1, 1, made.bytes}));
  }
}

TEST(HeapCounterTest, EveryFormOfNewAndDeleteIsCountedOnce) {
  constexpr std::align_val_t kAlign{256};
  const auto count = [](auto make, auto drop) {
    const HeapMark mark;
    void* const block = make();
    const bool aligned = reinterpret_cast<uintptr_t>(block) % __STDCPP_DEFAULT_NEW_ALIGNMENT__ == 0;
    drop(block);
    const HeapCount since = mark.Since();
    EXPECT_TRUE(aligned && block != nullptr);
    return since;
  };
  const HeapCount once{1, 1, 40};
  const auto plain = [](void* p) { ::operator delete(p); };
  const auto array = [](void* p) { ::operator delete[](p); };
  const auto wide = [&](void* p) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 256, 0u);
    ::operator delete(p, kAlign);
  };
  const auto wide_array = [&](void* p) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 256, 0u);
    ::operator delete[](p, kAlign);
  };
  EXPECT_EQ(count([] { return ::operator new(40); }, plain), once);
  EXPECT_EQ(count([] { return ::operator new[](40); }, array), once);
  EXPECT_EQ(count([] { return ::operator new(40, std::nothrow); }, plain), once);
  EXPECT_EQ(count([] { return ::operator new[](40, std::nothrow); }, array), once);
  EXPECT_EQ(count([&] { return ::operator new(40, kAlign); }, wide), once);
  EXPECT_EQ(count([&] { return ::operator new[](40, kAlign); }, wide_array), once);
  EXPECT_EQ(count([&] { return ::operator new(40, kAlign, std::nothrow); }, wide), once);
  EXPECT_EQ(count([&] { return ::operator new[](40, kAlign, std::nothrow); }, wide_array), once);

  EXPECT_EQ(count([] { return ::operator new(40); }, [](void* p) { ::operator delete(p, 40); }), once);
  EXPECT_EQ(count([] { return ::operator new[](40); }, [](void* p) { ::operator delete[](p, 40); }), once);
  EXPECT_EQ(count([] { return ::operator new(40); }, [](void* p) { ::operator delete(p, std::nothrow); }), once);
  EXPECT_EQ(count([] { return ::operator new[](40); }, [](void* p) { ::operator delete[](p, std::nothrow); }), once);
  EXPECT_EQ(count([&] { return ::operator new(40, kAlign); }, [&](void* p) { ::operator delete(p, 40, kAlign); }),
            once);
  EXPECT_EQ(count([&] { return ::operator new[](40, kAlign); }, [&](void* p) { ::operator delete[](p, 40, kAlign); }),
            once);
  EXPECT_EQ(
      count([&] { return ::operator new(40, kAlign); }, [&](void* p) { ::operator delete(p, kAlign, std::nothrow); }),
      once);
  EXPECT_EQ(count([&] { return ::operator new[](40, kAlign); },
                  [&](void* p) { ::operator delete[](p, kAlign, std::nothrow); }),
            once);
}

TEST(HeapCounterTest, DeletingNullIsNotCounted) {
  const HeapMark mark;
  ::operator delete(nullptr);
  ::operator delete[](nullptr);
  g_delete(nullptr);
  EXPECT_EQ(mark.Since(), HeapCount{});
}

TEST(HeapCounterTest, LibraryContainersAreCounted) {
  const HeapMark mark;
  std::vector<std::string> strings(3, std::string(100, 'x'));
  Escape(strings);
  const HeapCount made = mark.Since();
  strings.clear();
  strings.shrink_to_fit();
  const HeapCount freed = mark.Since();
  EXPECT_EQ(made.allocations, 5u);  // the vector, the model string and three copies
  EXPECT_EQ(freed.frees, 5u);
}

TEST(HeapCounterTest, OverAlignedObjectsAreCounted) {
  const HeapMark mark;
  std::vector<Wide> wide(3);
  Escape(wide);
  const HeapCount made = mark.Since();
  EXPECT_EQ(made, (HeapCount{1, 0, 3 * 64}));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(wide.data()) % 64, 0u);
}

TEST(HeapCounterTest, ThreadsCountApartAndTheTotalKeepsThoseThatEnded) {
  const HeapCount all_before = HeapCount::NowOfAllThreads();
  HeapCount theirs;
  std::thread other([&] {
    const HeapMark mark;
    for (int i = 0; i < 1000; ++i) g_delete(g_new(10));
    theirs = mark.Since();
  });
  const HeapMark mark;  // after the thread's own state has been allocated
  other.join();
  const HeapCount mine = mark.Since();
  const HeapCount all = HeapCount::NowOfAllThreads() - all_before;
  EXPECT_EQ(theirs, (HeapCount{1000, 1000, 10000}));
  EXPECT_EQ(mine.allocations, 0u);
  EXPECT_GE(all.allocations, 1000u);
  EXPECT_GE(all.frees, 1000u);
  EXPECT_GE(all.bytes, 10000u);
}

TEST(HeapCounterTest, FailureBeginsAfterTheSuccessesAndEndsWithItsScope) {
  int succeeded = 0, failed = 0;
  bool null = false;
  {
    const HeapFailure failure(2);
    for (int i = 0; i < 4; ++i) {
      try {
        g_delete(g_new(8));
        ++succeeded;
      } catch (const std::bad_alloc&) {
        ++failed;
      }
    }
    void* const block = ::operator new(8, std::nothrow);
    null = block == nullptr;
    ::operator delete(block);
  }
  const int expected_failures = HeapFailure::Works() ? 2 : 0;
  EXPECT_EQ(failed, expected_failures);
  EXPECT_EQ(succeeded, 4 - expected_failures);
  EXPECT_EQ(null, HeapFailure::Works());
  const HeapMark mark;
  g_delete(g_new(8));
  EXPECT_EQ(mark.Since(), (HeapCount{1, 1, 8}));
}

TEST(HeapCounterTest, FailedAllocationsAreNotCountedAndTheNewHandlerIsAsked) {
  static int asked = 0;
  const std::new_handler before = std::set_new_handler([] {
    if (++asked == 3) std::set_new_handler(nullptr);
  });
  const HeapMark mark;
  bool failed = false;
  {
    const HeapFailure failure;
    try {
      g_delete(g_new(8));
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  }
  const HeapCount since = mark.Since();
  std::set_new_handler(before);
  EXPECT_EQ(failed, HeapFailure::Works());
  EXPECT_EQ(asked, HeapFailure::Works() ? 3 : 0);
  EXPECT_EQ(since.bytes, HeapFailure::Works() ? 0u : 8u);
}

}  // namespace
}  // namespace hotpath::bench
