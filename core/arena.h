#ifndef HOTPATH_CORE_ARENA_H_
#define HOTPATH_CORE_ARENA_H_

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "hotpath/core/base/asan.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/detail/arena_inl.h"

namespace hotpath {

class Arena;
class ArenaScope;

struct ArenaOptions {
  // Bytes of the first block. A later one is 4 times the one before, from 256 KiB on twice, up to 1 MiB; the one that
  // would go beyond max_retained is smaller, so that it does not.
  size_t first_block = 16 << 10;
  size_t max_retained = 1 << 20;  // bytes of empty blocks that Rewind and Reset keep for reuse; the rest is freed
};

// A place to rewind an arena to. Plain data; see Arena::Mark.
class ArenaMark {
  friend class Arena;
  friend class ArenaScope;
  ArenaMark(Arena* arena, arena_internal::Block* block, std::byte* top, arena_internal::Record* records,
            uint64_t serial, uint64_t previous)
      : arena_(arena), block_(block), top_(top), records_(records), serial_(serial), previous_(previous) {}

  Arena* arena_;
  arena_internal::Block* block_;
  std::byte* top_;
  arena_internal::Record* records_;
  uint64_t serial_;    // no two marks of an arena have the same
  uint64_t previous_;  // of the newest mark before this one; 0: there was none
};

// Arena: memory for one request, handed out by moving a pointer and taken back all at once.
//
// Contract  What it hands out stays where it is, and nobody else gets it, until a Rewind, Reset or the end of the arena
//           takes it back. Destructors of New and NewArray then run, newest first, each once, unless they are trivial.
//           A call that throws bad_alloc changes nothing. Empty blocks kept never exceed max_retained.
// Progress  Wait-free, but for the heap when a block is full. For one thread at a time; may be handed to another.
// Cost      Allocate: two loads, one store, one or two branches. Sizes round up to 8; a destructor costs 16 bytes.
// Not for   Containers that grow for ever (what they give back waits for the rewind), coroutines, signal handlers.
// Proof     //core:arena_fuzz against a map of live blocks; AddressSanitizer reports what is used after its rewind.
// Example   Arena arena;
//           Node* node = arena.New<Node>(1);
class Arena final : private std::pmr::memory_resource {
 public:
  static constexpr size_t kMaxAlign = 4096;

  explicit Arena(ArenaOptions options = {}) noexcept : options_(options) {}
  ~Arena() override;
  Arena(const Arena&) = delete;  // nor movable: containers, resources and marks hold its address
  Arena& operator=(const Arena&) = delete;

  // Bytes nobody else has, not initialised. `align` is a power of two up to kMaxAlign. Zero bytes count as one.
  [[nodiscard, gnu::returns_nonnull]] void* Allocate(size_t bytes, size_t align = alignof(std::max_align_t)) {
    HOTPATH_CHECK((align & (align - 1)) == 0 && align - 1 < kMaxAlign, "arenas align to powers of two up to 4096");
    const uintptr_t earliest = std::bit_cast<uintptr_t>(std::assume_aligned<kGranule>(top_)) + asan::kRedzone;
    const size_t skip = asan::kRedzone + (-earliest & (align - 1));
    const size_t room = static_cast<size_t>(end_ - top_);
    if (skip > room || bytes - 1 >= room - skip) [[unlikely]]  // the blocks are multiples of kGranule: rounded, it fits
      return AllocateSlowly(bytes, align);
    std::byte* const p = top_ + skip;
    top_ = p + (bytes + kGranule - 1) / kGranule * kGranule;
    asan::Unpoison(p, bytes);
    return p;
  }

  // A T made of the arguments. Its destructor must not throw; it may use the arena, WithArena too, but may not take
  // back what is older. If the constructor throws, the space is taken back at the next rewind.
  template <class T, class... Args>
    requires(!std::is_array_v<T> && alignof(T) <= kMaxAlign && std::is_constructible_v<T, Args...>)
  T* New(Args&&... args) {
    if constexpr (std::is_trivially_destructible_v<T>) {
      return ::new (Allocate(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
    } else {
      using Owned = arena_internal::OwnedObject<T>;
      auto* owned = ::new (Allocate(sizeof(Owned), alignof(Owned))) Owned;
      T* object = std::construct_at(std::addressof(owned->value), std::forward<Args>(args)...);
      Own(owned);
      return object;
    }
  }

  // n Ts, as `new T[n]` makes them: arithmetic types and the like are left uninitialised. Throws bad_array_new_length
  // if their size overflows. If a constructor throws, those made before are destroyed, newest first.
  template <class T>
    requires(!std::is_array_v<T> && alignof(T) <= kMaxAlign && std::is_default_constructible_v<T>)
  std::span<T> NewArray(size_t n) {
    if (n > PTRDIFF_MAX / sizeof(T)) [[unlikely]]
      ThrowBadLength();
    if constexpr (std::is_trivially_destructible_v<T>) {
      T* elements = static_cast<T*>(Allocate(n * sizeof(T), alignof(T)));
      for (size_t i = 0; i < n; ++i) ::new (static_cast<void*>(elements + i)) T;
      return {elements, n};
    } else {
      using Owned = arena_internal::OwnedArray<T>;
      auto* owned = ::new (Allocate(sizeof(Owned) + n * sizeof(T), alignof(Owned))) Owned(0);
      try {
        for (; owned->size < n; ++owned->size) ::new (static_cast<void*>(owned->elements() + owned->size)) T;
      } catch (...) {
        Owned::Destroy(owned);
        throw;
      }
      Own(owned);
      return {owned->elements(), n};
    }
  }

  // Rewind takes back all that was handed out since its mark. Marks are rewound once each, newest first; another order,
  // a second time, or another arena's mark is a CHECK failure. Where an exception may pass, use ArenaScope.
  [[nodiscard]] ArenaMark Mark() noexcept {
    const uint64_t previous = std::exchange(newest_, ++serial_);
    return ArenaMark(this, block_, top_, records_, serial_, previous);
  }
  void Rewind(const ArenaMark& mark) noexcept {
    if (mark.serial_ != newest_ || mark.arena_ != this) [[unlikely]]
      Misused(mark);
    RewindTo(mark);
  }

  // Takes back everything. A CHECK failure while a mark is outstanding, as inside WithArena.
  void Reset() noexcept;

  // Frees the blocks that nothing uses, whatever max_retained says, and returns their bytes. An arena that is empty and
  // has no mark outstanding keeps none.
  size_t Trim() noexcept;

  // Bytes handed out and not taken back, rounding, destructor records and redzones included.
  [[nodiscard]] size_t BytesUsed() const noexcept {
    return block_->used_before + static_cast<size_t>(top_ - block_->begin());
  }
  // Bytes held from the heap, in use or spare.
  [[nodiscard]] size_t BytesReserved() const noexcept { return reserved_; }

  // The arena for std::pmr containers. Its deallocate does nothing, but poisons under AddressSanitizer. An alignment
  // above kMaxAlign throws bad_alloc.
  [[nodiscard]] std::pmr::memory_resource* resource() noexcept { return this; }

 private:
  friend class ArenaScope;
  using Block = arena_internal::Block;
  using Record = arena_internal::Record;
  static constexpr size_t kGranule = asan::kGranule;
  static_assert(asan::kRedzone % kGranule == 0 && sizeof(Block) % kGranule == 0);

  void* do_allocate(size_t bytes, size_t align) override {
    if (align > kMaxAlign) [[unlikely]]
      throw std::bad_alloc();
    return Allocate(bytes, align);
  }
  void do_deallocate(void* p, size_t bytes, size_t) override { asan::Poison(p, bytes); }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }

  void Own(Record* record) noexcept { record->next = std::exchange(records_, record); }

  void RewindTo(const ArenaMark& mark) noexcept {
    if (records_ != mark.records_) DestroyUntil(mark.records_);
    newest_ = mark.previous_;
    if (block_ != mark.block_) [[unlikely]]
      return LeaveBlocks(mark.block_, mark.top_);
    asan::Poison(mark.top_, static_cast<size_t>(top_ - mark.top_));
    top_ = mark.top_;
  }

  [[gnu::cold, gnu::noinline, gnu::returns_nonnull]] void* AllocateSlowly(size_t bytes, size_t align);
  [[noreturn, gnu::cold]] static void ThrowBadLength();
  [[noreturn, gnu::cold]] void Misused(const ArenaMark& mark) const noexcept;
  void DestroyUntil(const Record* last) noexcept;
  void LeaveBlocks(Block* block, std::byte* top) noexcept;
  void Enter(Block* block) noexcept;
  void KeepSpare(size_t limit) noexcept;

  Block root_;  // stands before the first block and serves nothing
  Block* block_ = &root_;
  std::byte* top_ = root_.end();  // the free bytes of *block_ are [top_, end_)
  std::byte* end_ = root_.end();
  Record* records_ = nullptr;
  uint64_t newest_ = 0;  // serial of the newest outstanding mark, or 0; no mark's while destructors run
  uint64_t serial_ = 0;
  const ArenaScope* scope_ = nullptr;  // the innermost that lives
  size_t reserved_ = 0;
  const ArenaOptions options_;
};

// Rewinds the arena at the end of the block, together with any mark taken inside and left behind. Scopes of an arena
// end newest first: another order is a CHECK failure.
class [[nodiscard]] ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) noexcept : mark_(arena.Mark()), outer_(std::exchange(arena.scope_, this)) {}
  ~ArenaScope() {
    Arena& arena = *mark_.arena_;
    HOTPATH_CHECK(arena.scope_ == this, "an arena's scopes end in another order than newest first");
    arena.RewindTo(mark_);
    arena.scope_ = outer_;
  }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  const ArenaMark mark_;
  const ArenaScope* const outer_;
};

namespace arena_internal {

struct ThreadArena : ThreadExitHook {
  ThreadArena() : ThreadExitHook(&AtExit) {}
  static void AtExit(ThreadExitHook& hook);

  Arena arena;
};

// By thread index: each entry is read and written by the one thread that has the index.
inline constinit ThreadArena* thread_arenas[StdSync::kMaxThreads] = {};

Arena& MakeThreadArena();

inline Arena& GetThreadArena() {
  ThreadArena* mine = thread_arenas[StdSync::ThreadIndex()];
  if (mine == nullptr) [[unlikely]]
    return MakeThreadArena();
  return mine->arena;
}

}  // namespace arena_internal

// Calls f(Arena&) with the calling thread's arena, returns what f returns, and takes back what f was handed, also when
// it throws. Calls nest, each at the price of a mark and a rewind: they share the arena, so a container of an outer
// call must not grow inside an inner one, and what f returns must not point into the arena. AddressSanitizer reports
// both. Wait-free; no heap once the thread's arena has grown to what its requests need, up to
// ArenaOptions().max_retained. Throws bad_alloc if the thread has no arena yet and the heap none to give. The arena is
// freed when its thread ends, after the destructors of thread_locals, which may still use it. After fork(2) the child
// has the arena of the thread that forked; those of the others, which it has not, are never used again.
template <class F>
  requires std::invocable<F, Arena&>
decltype(auto) WithArena(F&& f) {
  Arena& arena = arena_internal::GetThreadArena();
  const ArenaScope scope(arena);
  return std::invoke(std::forward<F>(f), arena);
}

// Arena::Trim for the calling thread's arena, which WithArena keeps. Outside of any WithArena it keeps no block.
size_t TrimThreadArena() noexcept;

// A standard allocator over an arena, which outlives the container. Deallocating does nothing, but poisons under
// AddressSanitizer: so a container must be gone before its memory is taken back. It keeps its arena when it is assigned
// to; a copy is made in the arena of its source.
template <class T>
class ArenaAllocator {
 public:
  using value_type = T;

  ArenaAllocator(Arena& arena) noexcept : arena_(&arena) {}  // implicit: ArenaVector<int> v(arena)
  template <class U>
  ArenaAllocator(const ArenaAllocator<U>& other) noexcept : arena_(&other.arena()) {}

  [[nodiscard]] T* allocate(size_t n) {
    static_assert(alignof(T) <= Arena::kMaxAlign);
    if (n > PTRDIFF_MAX / sizeof(T)) [[unlikely]]
      throw std::bad_array_new_length();
    return static_cast<T*>(arena_->Allocate(n * sizeof(T), alignof(T)));
  }
  void deallocate(T* p, size_t n) noexcept { asan::Poison(p, n * sizeof(T)); }

  Arena& arena() const noexcept { return *arena_; }

  template <class U>
  bool operator==(const ArenaAllocator<U>& other) const noexcept {
    return arena_ == &other.arena();
  }

 private:
  Arena* arena_;
};

template <class T>
using ArenaVector = std::vector<T, ArenaAllocator<T>>;
using ArenaString = std::basic_string<char, std::char_traits<char>, ArenaAllocator<char>>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_ARENA_H_
