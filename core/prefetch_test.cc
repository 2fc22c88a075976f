#include "hotpath/core/prefetch.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <numeric>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"

namespace hotpath {
namespace {

using bench::HeapCount;
using bench::HeapMark;

// Looks like a smart pointer and writes down that its pointee was asked for: this is how a prefetch shows.
struct Logged {
  int id;
  std::vector<int>* log;
  const int* get() const {
    log->push_back(id);
    return &id;
  }
};

std::vector<Logged> MakeLogged(int n, std::vector<int>& log) {
  std::vector<Logged> elements;
  elements.reserve(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) elements.push_back({i, &log});
  return elements;
}

std::vector<int> Iota(int n) {
  std::vector<int> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

template <class View>
std::vector<int> Values(View&& view) {
  std::vector<int> values;
  for (auto&& element : view) values.push_back(*element);
  return values;
}

struct Pointers {
  explicit Pointers(int n) : values(Iota(n)) {
    for (int& value : values) pointers.push_back(&value);
  }
  std::vector<int> values;
  std::vector<int*> pointers;
};

TEST(Prefetch, AnyAddressMayBePrefetched) {
  int local = 7;
  const volatile int* watched = &local;
  PrefetchRead(&local);
  PrefetchWrite(&local);
  PrefetchRead(watched);
  PrefetchRead(nullptr);
  PrefetchWrite(nullptr);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* forbidden = mmap(nullptr, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(forbidden, MAP_FAILED);
  PrefetchRead(forbidden);
  PrefetchWrite(forbidden);
  munmap(forbidden, page);
  PrefetchRead(forbidden);
  EXPECT_EQ(local, 7);
}

TEST(WithPrefetch, YieldsEveryElementInOrderAtEveryDistance) {
  for (const int n : {0, 1, 2, 7, 8, 9, 12, 63, 64, 65, 1000}) {
    Pointers p(n);
    for (const size_t distance : {size_t{0}, size_t{1}, size_t{2}, size_t{7}, size_t{8}, size_t{63}, size_t{64},
                                  size_t{1000}, size_t{5000}, SIZE_MAX}) {
      std::vector<int*> seen;
      for (int* pointer : WithPrefetch(p.pointers, distance)) seen.push_back(pointer);
      EXPECT_EQ(seen, p.pointers) << n << " at " << distance;
    }
  }
}

TEST(WithPrefetch, AsksForEachPointeeOnceInOrderAndExactlyTheDistanceAhead) {
  for (const int n : {0, 1, 5, 20}) {
    for (const int distance : {0, 1, 3, 4, 5, 19, 20, 100}) {
      std::vector<int> log;
      const auto elements = MakeLogged(n, log);
      int at = 0;
      for (const Logged& element : WithPrefetch(elements, static_cast<size_t>(distance))) {
        ASSERT_EQ(element.id, at);
        // While an element is visited, it and those up to `distance` further on have been asked for.
        ASSERT_EQ(log, Iota(std::min(n, at + distance + 1))) << n << " elements, distance " << distance;
        ++at;
      }
      EXPECT_EQ(at, n);
      EXPECT_EQ(log, Iota(n));
    }
  }
}

TEST(WithPrefetch, TheProjectionSaysWhatToPrefetch) {
  const std::vector<int> pool = Iota(100);
  const std::vector<uint32_t> indices = {5, 99, 0, 5, 42};
  std::vector<const int*> asked;
  const auto where = [&](uint32_t i) {
    asked.push_back(&pool[i]);
    return &pool[i];
  };
  std::vector<uint32_t> seen;
  for (const uint32_t i : WithPrefetch(indices, 2, where)) {
    seen.push_back(i);
    EXPECT_EQ(asked.size(), std::min<size_t>(indices.size(), seen.size() + 2));
  }
  EXPECT_EQ(seen, indices);
  ASSERT_EQ(asked.size(), indices.size());
  for (size_t i = 0; i < indices.size(); ++i) EXPECT_EQ(asked[i], &pool[indices[i]]);
}

struct Node {
  int value = 0;
  Node* next = nullptr;
  std::unique_ptr<int> owned;
  Node* Next() const { return next; }
};

TEST(WithPrefetch, TakesMembersAndSmartPointersForProjections) {
  std::vector<Node> nodes(10);
  for (size_t i = 0; i < nodes.size(); ++i) nodes[i] = Node{static_cast<int>(i), &nodes[(i + 3) % 10], nullptr};
  nodes[4].owned = std::make_unique<int>(4);
  int sum = 0;
  for (Node& node : WithPrefetch(nodes, 3, &Node::next)) sum += node.value;
  for (Node& node : WithPrefetch(nodes, 3, &Node::Next)) sum += node.value;
  for (Node& node : WithPrefetch(nodes, 3, &Node::owned)) sum += node.value;
  EXPECT_EQ(sum, 3 * 45);

  std::vector<std::shared_ptr<int>> shared = {std::make_shared<int>(1), nullptr, std::make_shared<int>(2)};
  int present = 0;
  for (const auto& pointer : WithPrefetch(shared, 1)) present += pointer == nullptr ? 0 : *pointer;
  EXPECT_EQ(present, 3);
  EXPECT_EQ(shared[0].use_count(), 1) << "a prefetch takes no reference";
}

int g_values[4];

TEST(WithPrefetch, NullPointersAreElementsLikeOthers) {
  const std::vector<int*> pointers = {nullptr, &g_values[3], nullptr};
  size_t seen = 0;
  for (const int* pointer : WithPrefetch(pointers, 2)) EXPECT_EQ(pointer, pointers[seen++]);
  EXPECT_EQ(seen, 3u);
}

TEST(WithPrefetch, ElementsCanBeChangedThroughTheView) {
  Pointers p(5);
  for (int*& pointer : WithPrefetch(p.pointers, 2)) pointer = nullptr;
  EXPECT_EQ(std::count(p.pointers.begin(), p.pointers.end(), nullptr), 5);
}

TEST(WithPrefetch, OwnsATemporaryRange) {
  Pointers p(100);
  auto view = WithPrefetch(std::vector<int*>(p.pointers), 4);
  EXPECT_EQ(Values(view), p.values);
  const auto& constant = view;
  EXPECT_EQ(Values(constant), p.values);
  auto moved = std::move(view);
  EXPECT_EQ(Values(moved), p.values);
}

TEST(WithPrefetch, MayBeWalkedMoreThanOnceAndByTwoIteratorsAtOnce) {
  Pointers p(50);
  auto view = WithPrefetch(p.pointers, 7);
  EXPECT_EQ(Values(view), p.values);
  EXPECT_EQ(Values(view), p.values);
  auto slow = view.begin();
  auto fast = slow;
  for (int i = 0; i < 20; ++i) ++fast;
  EXPECT_EQ(**slow, 0);
  EXPECT_EQ(**fast, 20);
  EXPECT_NE(slow, fast);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(**slow++, i);
  EXPECT_EQ(slow, fast);
}

// Lambdas that capture cannot be assigned; iterators with one inside must be.
TEST(WithPrefetch, IteratorsWithACapturingProjectionCanBeAssigned) {
  const std::vector<int> pool = Iota(10);
  const std::vector<int> indices = {3, 1, 4, 1, 5};
  const auto where = [&pool](int i) { return &pool[static_cast<size_t>(i)]; };
  static_assert(!std::is_copy_assignable_v<decltype(where)>);
  const auto view = WithPrefetch(indices, 2, where);
  auto it = view.begin();
  decltype(it) other;
  other = it;
  ++it;
  EXPECT_EQ(*other, 3);
  other = it;
  EXPECT_EQ(*other, 1);
  auto& self = other;
  other = self;
  EXPECT_EQ(*++other, 4);
  other = decltype(it)();  // singular
  other = it;
  EXPECT_EQ(*other, 1);
}

TEST(WithPrefetch, WorksWithAlgorithmsOfBothKinds) {
  Pointers p(30);
  auto view = WithPrefetch(p.pointers, 4);
  EXPECT_EQ(std::ranges::count_if(view, [](const int* x) { return *x % 3 == 0; }), 10);
  EXPECT_EQ(std::count_if(view.begin(), view.end(), [](const int* x) { return *x % 3 == 0; }), 10);
  EXPECT_EQ(std::ranges::distance(view), 30);
  EXPECT_EQ(**std::ranges::next(view.begin(), 12), 12);
  EXPECT_FALSE(view.empty());
  EXPECT_EQ(*view.front(), 0);
}

TEST(WithPrefetch, WorksOnListsFiltersAndCountedRanges) {
  Pointers p(20);
  std::forward_list<int*> singly(p.pointers.begin(), p.pointers.end());
  EXPECT_EQ(Values(WithPrefetch(singly, 3)), p.values);
  const std::list<int*> doubly(p.pointers.begin(), p.pointers.end());
  EXPECT_EQ(Values(WithPrefetch(doubly, 3)), p.values);
  auto even = p.pointers | std::views::filter([](const int* x) { return *x % 2 == 0; });
  EXPECT_EQ(Values(WithPrefetch(even, 3)), (std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18}));
  auto counted = std::views::counted(singly.begin(), 5);
  EXPECT_EQ(Values(WithPrefetch(counted, 8)), Iota(5));
  EXPECT_EQ(Values(WithPrefetch(p.pointers, 2) | std::views::take(3)), Iota(3));
}

TEST(WithPrefetch, AllocatesNothing) {
  Pointers p(100);
  const std::vector<int> pool = Iota(100);
  int sum = 0;
  const HeapMark mark;
  for (const int* pointer : WithPrefetch(p.pointers, 16)) sum += *pointer;
  for (const int i : WithPrefetch(p.values, 16, [&pool](int at) { return &pool[static_cast<size_t>(at)]; })) sum += i;
  EXPECT_EQ(mark.Since(), HeapCount{});
  EXPECT_EQ(sum, 2 * 4950);
}

// ---- What kind of range it is ----

template <class R>
using ViewOf = decltype(WithPrefetch(std::declval<R>(), 1));

using OverVector = ViewOf<std::vector<int*>&>;
static_assert(std::ranges::view<OverVector> && std::ranges::forward_range<OverVector>);
static_assert(std::ranges::forward_range<const OverVector>);
static_assert(!std::ranges::bidirectional_range<OverVector>);
static_assert(std::same_as<std::ranges::range_reference_t<OverVector>, int*&>);
static_assert(std::same_as<std::iterator_traits<std::ranges::iterator_t<OverVector>>::iterator_category,
                           std::forward_iterator_tag>);

// Borrowed, sized and common, each exactly when the base is.
using OverSpan = ViewOf<std::span<int*>>;
using OverOwned = ViewOf<std::vector<int*>>;
using OverForwardList = ViewOf<std::forward_list<int*>&>;
using OverCounted = ViewOf<decltype(std::views::counted(std::declval<std::forward_list<int*>::iterator>(), 1))>;
using OverFilter = ViewOf<decltype(std::declval<std::vector<int*>&>() | std::views::filter([](int*) { return true; }))>;
using OverTransform =
    ViewOf<decltype(std::declval<std::vector<int>&>() | std::views::transform([](int& x) { return &x; }))>;
static_assert(std::ranges::borrowed_range<OverSpan> && std::ranges::borrowed_range<OverVector>);
static_assert(!std::ranges::borrowed_range<OverOwned> && !std::ranges::borrowed_range<OverFilter>);
static_assert(std::ranges::sized_range<OverSpan> && std::ranges::sized_range<OverOwned>);
static_assert(!std::ranges::sized_range<OverForwardList> && !std::ranges::sized_range<OverFilter>);
static_assert(std::ranges::common_range<OverVector> && std::ranges::common_range<OverForwardList>);
static_assert(!std::ranges::common_range<OverCounted> && std::ranges::sized_range<OverCounted>);
static_assert(std::ranges::forward_range<OverFilter> && !std::ranges::forward_range<const OverFilter>);
static_assert(std::same_as<std::iterator_traits<std::ranges::iterator_t<OverTransform>>::iterator_category,
                           std::input_iterator_tag>);

TEST(WithPrefetch, IteratorsOfABorrowedRangeOutliveTheView) {
  Pointers p(20);
  auto it = WithPrefetch(std::span(p.pointers), 5).begin();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(**it++, i);
  EXPECT_EQ(WithPrefetch(p.pointers, 5).size(), 20u);
}

// ---- What does not compile ----

template <class R, class... Projection>
concept Prefetchable = requires(R&& r, Projection... p) { WithPrefetch(std::forward<R>(r), 1, p...); };

// An iterator over pointers, single-pass or not: the tag is all the difference.
template <class Concept>
struct Walk {
  using value_type = int*;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = Concept;
  int* const* at = nullptr;
  int* const& operator*() const { return *at; }
  Walk& operator++() {
    ++at;
    return *this;
  }
  Walk operator++(int) { return {at++}; }
  friend bool operator==(const Walk&, const Walk&) = default;
};
template <class Concept>
using WalkRange = std::ranges::subrange<Walk<Concept>>;
static_assert(std::ranges::input_range<WalkRange<std::input_iterator_tag>>);
static_assert(Prefetchable<WalkRange<std::forward_iterator_tag>>);
static_assert(!Prefetchable<WalkRange<std::input_iterator_tag>>);

// The seed of this prefetched the address of its own copy: what is not a pointer says nothing about where to look.
static_assert(Prefetchable<std::vector<int*>&>);
static_assert(Prefetchable<std::vector<const volatile void*>&>);
static_assert(!Prefetchable<std::vector<int>&>);
static_assert(!Prefetchable<std::vector<std::string>&>);
static_assert(!Prefetchable<std::vector<void (*)()>&>);
static_assert(!Prefetchable<std::vector<std::reference_wrapper<int>>&>);
static_assert(Prefetchable<std::vector<int>&, int* (*)(int)>);
static_assert(!Prefetchable<std::vector<int>&, int (*)(int)>);
static_assert(!Prefetchable<std::vector<int>&, int* (*)(int*)>);
static_assert(Prefetchable<std::vector<Node>&, Node * Node::*>);
static_assert(!Prefetchable<std::vector<Node>&, int Node::*>);
struct MoveOnly {
  std::unique_ptr<int> state;
  int* operator()(int) const { return state.get(); }
};
static_assert(!Prefetchable<std::vector<int>&, MoveOnly>);

}  // namespace
}  // namespace hotpath
