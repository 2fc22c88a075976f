#ifndef HOTPATH_CORE_PREFETCH_H_
#define HOTPATH_CORE_PREFETCH_H_

#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>

namespace hotpath {

// Starts to bring the line of *p into the first-level cache, to be read or to be written. Hints: `p` may be null, dead
// or anything else, nothing is accessed, and a page that is not mapped is not faulted in. Wait-free; one instruction.
inline void PrefetchRead(const volatile void* p) noexcept { __builtin_prefetch(const_cast<const void*>(p), 0, 3); }
inline void PrefetchWrite(const volatile void* p) noexcept { __builtin_prefetch(const_cast<const void*>(p), 1, 3); }

namespace prefetch_internal {

template <class P>
concept RawPointer =
    std::is_pointer_v<std::remove_cvref_t<P>> && !std::is_function_v<std::remove_pointer_t<std::remove_cvref_t<P>>>;
template <class P>
concept SmartPointer = requires(const std::remove_cvref_t<P>& p) {
  { p.get() } -> RawPointer;
};

// What projection P makes of an element of R says where something lies.
template <class P, class R>
concept ProjectsToPointer = std::copy_constructible<P> && std::is_object_v<P> &&
                            std::regular_invocable<const P&, std::ranges::range_reference_t<R>> &&
                            (RawPointer<std::invoke_result_t<const P&, std::ranges::range_reference_t<R>>> ||
                             SmartPointer<std::invoke_result_t<const P&, std::ranges::range_reference_t<R>>>);

template <class P>
void PrefetchPointee(const P& pointer) {
  if constexpr (RawPointer<P>) {
    PrefetchRead(pointer);
  } else {
    PrefetchRead(pointer.get());
  }
}

// A projection that can be assigned, as iterators must be. Lambdas that capture cannot by themselves.
template <class P>
class Assignable {
 public:
  Assignable() = default;
  explicit Assignable(P projection) : projection_(std::move(projection)) {}
  Assignable(const Assignable&) = default;
  Assignable& operator=(const Assignable& other) {
    if (this == &other) return *this;
    projection_.reset();
    if (other.projection_) projection_.emplace(*other.projection_);
    return *this;
  }
  // Not of one that was made by default.
  const P& operator*() const noexcept { return *projection_; }

 private:
  std::optional<P> projection_;
};
template <std::semiregular P>
class Assignable<P> {
 public:
  Assignable() = default;
  explicit Assignable(P projection) : projection_(std::move(projection)) {}
  const P& operator*() const noexcept { return projection_; }

 private:
  [[no_unique_address]] P projection_;
};

}  // namespace prefetch_internal

// The elements of a forward range, unchanged and in order, while the lines of what they point at are on their way; see
// WithPrefetch. A borrowed, sized or common range if V is; iterators are forward ones.
template <std::ranges::view V, class Projection>
  requires std::ranges::forward_range<V> && prefetch_internal::ProjectsToPointer<Projection, V>
class PrefetchView : public std::ranges::view_interface<PrefetchView<V, Projection>> {
  template <bool kConst>
  class Iterator;

 public:
  PrefetchView()
    requires std::default_initializable<V> && std::default_initializable<Projection>
  = default;
  PrefetchView(V base, size_t distance, Projection projection)
      : base_(std::move(base)), distance_(distance), projection_(std::move(projection)) {}

  // O(distance): prefetches what the first elements point at.
  auto begin() { return Iterator<false>(base_, distance_, projection_); }
  auto begin() const
    requires std::ranges::forward_range<const V> && prefetch_internal::ProjectsToPointer<Projection, const V>
  {
    return Iterator<true>(base_, distance_, projection_);
  }

  auto end() { return End<false>(base_); }
  auto end() const
    requires std::ranges::forward_range<const V> && prefetch_internal::ProjectsToPointer<Projection, const V>
  {
    return End<true>(base_);
  }

  auto size()
    requires std::ranges::sized_range<V>
  {
    return std::ranges::size(base_);
  }
  auto size() const
    requires std::ranges::sized_range<const V>
  {
    return std::ranges::size(base_);
  }

 private:
  template <bool kConst, class Base>
  static auto End(Base& base) {
    if constexpr (std::ranges::common_range<Base>) {
      return Iterator<kConst>(base);
    } else {
      return std::ranges::end(base);
    }
  }

  V base_ = V();
  size_t distance_ = 0;
  [[no_unique_address]] prefetch_internal::Assignable<Projection> projection_;
};

template <std::ranges::view V, class Projection>
  requires std::ranges::forward_range<V> && prefetch_internal::ProjectsToPointer<Projection, V>
template <bool kConst>
class PrefetchView<V, Projection>::Iterator {
  using Base = std::conditional_t<kConst, const V, V>;
  using BaseIterator = std::ranges::iterator_t<Base>;
  using BaseSentinel = std::ranges::sentinel_t<Base>;

 public:
  using value_type = std::ranges::range_value_t<Base>;
  using difference_type = std::ranges::range_difference_t<Base>;
  using reference = std::ranges::range_reference_t<Base>;
  using pointer = void;
  using iterator_concept = std::forward_iterator_tag;
  // The older category promises real references.
  using iterator_category =
      std::conditional_t<std::is_reference_v<reference>, std::forward_iterator_tag, std::input_iterator_tag>;

  Iterator() = default;

  decltype(auto) operator*() const { return *current_; }

  Iterator& operator++() {
    ++current_;
    PrefetchNext();
    return *this;
  }
  Iterator operator++(int) {
    Iterator before = *this;
    ++*this;
    return before;
  }

  friend bool operator==(const Iterator& a, const Iterator& b) { return a.current_ == b.current_; }
  friend bool operator==(const Iterator& a, const BaseSentinel& b)
    requires(!std::ranges::common_range<Base>)
  {
    return a.current_ == b;
  }

 private:
  friend PrefetchView;

  Iterator(Base& base, size_t distance, prefetch_internal::Assignable<Projection> projection)
      : current_(std::ranges::begin(base)),
        next_(current_),
        end_(std::ranges::end(base)),
        projection_(std::move(projection)) {
    PrefetchNext();
    for (; distance > 0 && next_ != end_; --distance) PrefetchNext();
  }
  explicit Iterator(Base& base) : current_(std::ranges::end(base)), next_(current_), end_(current_) {}

  void PrefetchNext() {
    if (next_ == end_) return;
    prefetch_internal::PrefetchPointee(std::invoke(*projection_, *next_));
    ++next_;
  }

  BaseIterator current_ = BaseIterator();
  BaseIterator next_ = BaseIterator();  // the first one not prefetched yet
  BaseSentinel end_ = BaseSentinel();
  [[no_unique_address]] prefetch_internal::Assignable<Projection> projection_;
};

// for (Node* node : WithPrefetch(nodes, 16)) Visit(*node);
//
// Visits a forward range, and when it reaches an element, prefetches what the one `distance` further on points at:
// projection(element), a pointer of any kind, by default the element itself. Arrays of indices want
// [&](uint32_t i) { return &pool[i]; }. The projection is called once per element, ahead of time and so from an element
// that is not reached yet; it must not read what it points at, which is what is still missing. Distance 0 prefetches
// what is needed next, which gains nothing. No allocation; the view and its iterators are as big as two iterators, a
// sentinel and the projection.
//
// It pays where the work on each element keeps the CPU from running ahead by itself: long work, or branches that depend
// on what is loaded. It does not where the loop is light or the data fit the cache: measure, docs/simd.md.
template <std::ranges::viewable_range R, class Projection = std::identity>
  requires std::ranges::forward_range<std::views::all_t<R>> &&
           prefetch_internal::ProjectsToPointer<Projection, std::views::all_t<R>>
[[nodiscard]] auto WithPrefetch(R&& range, size_t distance, Projection projection = {}) {
  return PrefetchView<std::views::all_t<R>, Projection>(std::views::all(std::forward<R>(range)), distance,
                                                        std::move(projection));
}

}  // namespace hotpath

// Iterators have all they need with them.
template <class V, class Projection>
inline constexpr bool std::ranges::enable_borrowed_range<hotpath::PrefetchView<V, Projection>> =
    std::ranges::enable_borrowed_range<V>;

#endif  // HOTPATH_CORE_PREFETCH_H_
