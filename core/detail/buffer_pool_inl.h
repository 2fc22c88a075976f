#ifndef HOTPATH_CORE_DETAIL_BUFFER_POOL_INL_H_
#define HOTPATH_CORE_DETAIL_BUFFER_POOL_INL_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

// What core/buffer_pool.h is made of. Include that instead.

namespace hotpath::buffer_pool_internal {

struct TestAccess;  // defined by tests

// Starts to bring the line at `p` here from the core that wrote it last, so that those of a batch come together. The
// instruction by name: compilers use it only for CPUs that are known to have it, and to those that have it not it is
// none. A prefetch to read would have the line come twice.
inline void PrefetchToWrite(const void* p) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetchw (%0)" : : "r"(p));
#else
  __builtin_prefetch(p, 1);
#endif
}

// A stack of numbered nodes, 0 being none (R. K. Treiber, "Systems Programming: Coping with Parallelism", 1986). The
// nodes outlive the stack: a pop may look at one that another thread has taken meanwhile. It then fails, because every
// pop changes the tag: so that the same head, tag included, means that nobody took the node (the ABA problem). The tag
// has 44 bits: to come round while a thread stands between two instructions takes 17 trillion pops. Lock-free.
template <SyncPolicy Sync>
class NodeStack {
 public:
  static constexpr uint32_t kMaxNodes = (uint32_t{1} << 20) - 1;

  // next(node) is the node's Atomic<uint32_t>, which a stack uses while the node is on it.
  template <class Next>
  void Push(uint32_t node, const Next& next) noexcept {
    uint64_t head = head_.load(std::memory_order::relaxed);
    do {
      next(node).store(static_cast<uint32_t>(head & kMaxNodes), std::memory_order::relaxed);
    } while (!head_.compare_exchange_weak(head, (head & ~kNodeMask) | node,
                                          std::memory_order::release,  // [L1] pairs L2 L3
                                          std::memory_order::relaxed));
  }

  template <class Next>
  uint32_t Pop(const Next& next) noexcept {
    uint64_t head = head_.load(std::memory_order::acquire);  // [L2] pairs L1
    while ((head & kNodeMask) != 0) {
      const auto node = static_cast<uint32_t>(head & kNodeMask);
      const uint64_t below = next(node).load(std::memory_order::relaxed);
      if (head_.compare_exchange_weak(head, ((head & ~kNodeMask) + kNextTag) | below, std::memory_order::relaxed,
                                      std::memory_order::acquire)) {  // [L3] pairs L1
        return node;
      }
    }
    return 0;
  }

 private:
  static constexpr uint64_t kNodeMask = kMaxNodes, kNextTag = kNodeMask + 1;

  typename Sync::template Atomic<uint64_t> head_{0};  // tag above, node below
};

// Numbered boxes of up to kSlots blocks, in which blocks travel between threads. They are made when they are needed
// and live as long as the table.
template <uint32_t kSlots, uint32_t kChunkBoxes, uint32_t kChunks, SyncPolicy Sync>
class BoxTable {
  template <class T>
  using Atomic = typename Sync::template Atomic<T>;
  template <class T>
  using Var = typename Sync::template Var<T>;

 public:
  struct Box {
    Atomic<uint32_t> next{0};
    Var<uint32_t> count{0};
    std::array<Var<void*>, kSlots> blocks;
  };

  ~BoxTable() {
    for (Atomic<Chunk*>& chunk : chunks_) Sync::Delete(chunk.load(std::memory_order::relaxed));
  }

  // An empty box, or 0 if all are in use and there is no memory for more. Lock-free, but for the heap.
  [[nodiscard]] uint32_t Take() noexcept {
    if (const uint32_t number = empty_.Pop(Next()); number != 0) return number;
    uint32_t made = made_.load(std::memory_order::relaxed);
    do {
      if (made == kChunks * kChunkBoxes || !HasChunk(made / kChunkBoxes)) return 0;
    } while (!made_.compare_exchange_weak(made, made + 1, std::memory_order::relaxed, std::memory_order::relaxed));
    return made + 1;
  }
  void Return(uint32_t number) noexcept { empty_.Push(number, Next()); }

  // Whoever knows the number made the chunk, or got the number from a stack, whose orders then cover the chunk too.
  Box& At(uint32_t number) noexcept {
    Chunk* chunk = chunks_[(number - 1) / kChunkBoxes].load(std::memory_order::relaxed);
    return chunk->boxes[(number - 1) % kChunkBoxes];
  }
  auto Next() noexcept {
    return [this](uint32_t number) -> Atomic<uint32_t>& { return At(number).next; };
  }

 private:
  struct Chunk {
    std::array<Box, kChunkBoxes> boxes;
  };
  static_assert(uint64_t{kChunks} * kChunkBoxes <= NodeStack<Sync>::kMaxNodes);

  bool HasChunk(uint32_t i) noexcept {
    Chunk* chunk = chunks_[i].load(std::memory_order::acquire);  // [T2] pairs T1
    if (chunk != nullptr) [[likely]]
      return true;
    try {
      Chunk* made = Sync::template New<Chunk>();
      if (!chunks_[i].compare_exchange_strong(chunk, made, std::memory_order::release,  // [T1] pairs T2 T3
                                              std::memory_order::acquire)) {            // [T3] pairs T1
        Sync::Delete(made);
      }
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  std::array<Atomic<Chunk*>, kChunks> chunks_{};
  Atomic<uint32_t> made_{0};  // boxes that ever existed; their numbers go from 1
  NodeStack<Sync> empty_;
};

// What one thread keeps of one size. The number of blocks, the hot one included, never exceeds `limit`, for which the
// thread has a reservation.
template <uint32_t kMaxBlocks, SyncPolicy Sync>
struct ThreadShelf {
  typename Sync::template Atomic<void*> hot{nullptr};  // the block that came back last
  typename Sync::template Atomic<uint32_t> count{0};   // of blocks below
  typename Sync::template Var<uint32_t> limit{0};
  std::array<typename Sync::template Var<void*>, kMaxBlocks - 1> blocks;  // oldest first

  // The four following are for whoever is inside the cache. `hot` and `count` are atomics for those who count only.
  void* Pop() noexcept {
    void* block = hot.load(std::memory_order::relaxed);
    if (block != nullptr) [[likely]] {
      hot.store(nullptr, std::memory_order::relaxed);
      return block;
    }
    const uint32_t n = count.load(std::memory_order::relaxed);
    if (n == 0) [[unlikely]]
      return nullptr;
    count.store(n - 1, std::memory_order::relaxed);
    return blocks[n - 1].Read();
  }
  [[nodiscard]] bool Push(void* block) noexcept {
    const uint32_t most = limit.Read();
    if (most != 0 && hot.load(std::memory_order::relaxed) == nullptr) [[likely]] {
      hot.store(block, std::memory_order::relaxed);
      return true;
    }
    const uint32_t n = count.load(std::memory_order::relaxed);
    if (n + 1 >= most) [[unlikely]]
      return false;
    blocks[n].Write(block);
    count.store(n + 1, std::memory_order::relaxed);
    return true;
  }
  // Moves the `n` oldest blocks, of those that are not hot, into the box.
  template <class Box>
  void MoveOldest(uint32_t n, Box& box) noexcept {
    const uint32_t left = count.load(std::memory_order::relaxed) - n;
    for (uint32_t i = 0; i < n; ++i) box.blocks[i].Write(blocks[i].Read());
    for (uint32_t i = 0; i < left; ++i) blocks[i].Write(blocks[n + i].Read());
    box.count.Write(n);
    count.store(left, std::memory_order::relaxed);
  }
  uint32_t Held() const noexcept {
    return count.load(std::memory_order::relaxed) + (hot.load(std::memory_order::relaxed) != nullptr);
  }
};

// The blocks one thread keeps, and the door to them. Its owner goes in and out at every operation, at the price of two
// plain stores; somebody else, who wants to empty or count it, claims it, and pays for both (biased locking, after
// D. Dice, M. Moir, W. Scherer, "Quickly Reacquirable Locks", 2010; the asymmetric fence makes the owner's side free).
template <size_t kClasses, uint32_t kMaxBlocks, SyncPolicy Sync>
struct alignas(std::max(Sync::kLineSize, alignof(void*))) ThreadCache : ThreadExitHook {
  template <class T>
  using Atomic = typename Sync::template Atomic<T>;

  ThreadCache(ThreadExitHook::Run at_exit, void* p) : ThreadExitHook(at_exit), pool(p) {}

  // By the owner. False: do not go in, for a claim bars the way; WaitUntilFree, and try again.
  [[nodiscard]] bool Enter() noexcept {
    inside.store(1, std::memory_order::relaxed);
    Sync::LightFence();                                  // [C1] pairs C2
    return claim.load(std::memory_order::acquire) == 0;  // [C3] pairs C4
  }
  void Leave() noexcept { inside.store(0, std::memory_order::release); }  // [C5] pairs C6

  // By the owner, after Enter said no. False: the claimant did not survive a fork, and the cache is lost.
  [[nodiscard]] bool WaitUntilFree() noexcept {
    Leave();
    for (SpinWait<Sync> wait;; wait()) {
      const uint32_t claimant = claim.load(std::memory_order::relaxed);
      if (claimant == 0) return true;
      if (Sync::Vanished(claimant - 1)) return false;
    }
  }

  // By anybody, who then calls FenceClaims once for all claims, and then WaitForOwner. False: it was claimed by a
  // thread that did not survive a fork.
  [[nodiscard]] bool Claim(uint32_t me) noexcept {
    for (SpinWait<Sync> wait;; wait()) {
      uint32_t claimant = 0;
      if (claim.compare_exchange_weak(claimant, me + 1, std::memory_order::acquire,  // [C7] pairs C4
                                      std::memory_order::relaxed)) {
        return true;
      }
      if (claimant != 0 && Sync::Vanished(claimant - 1)) return false;
    }
  }
  static void FenceClaims() noexcept { Sync::HeavyFence(); }  // [C2] pairs C1
  [[nodiscard]] bool IsClaimedBy(uint32_t me) const noexcept {
    return claim.load(std::memory_order::relaxed) == me + 1;
  }
  // False: the owner did not survive a fork.
  [[nodiscard]] bool WaitForOwner() const noexcept {
    for (SpinWait<Sync> wait; inside.load(std::memory_order::acquire) != 0; wait()) {  // [C6] pairs C5
      if (OwnerVanished()) return false;
    }
    return true;
  }
  void Unclaim() noexcept { claim.store(0, std::memory_order::release); }  // [C4] pairs C3 C7

  // The thread is inside, or has claimed it.
  [[nodiscard]] bool IsUsedBy(uint32_t me) const noexcept {
    const bool owns = owner.load(std::memory_order::relaxed) == me + 1;
    return IsClaimedBy(me) || (owns && inside.load(std::memory_order::relaxed) != 0);
  }

  [[nodiscard]] bool OwnerVanished() const noexcept {
    const uint32_t thread = owner.load(std::memory_order::relaxed);
    return thread == kLost || (thread != 0 && Sync::Vanished(thread - 1));
  }

  static void Bump(Atomic<uint64_t>& counter) noexcept {  // by the owner
    counter.store(counter.load(std::memory_order::relaxed) + 1, std::memory_order::relaxed);
  }

  static constexpr uint32_t kLost = UINT32_MAX;

  void* const pool;
  ThreadCache* next = nullptr;  // in the pool's list, from which nothing is removed
  Atomic<uint32_t> owner{0};    // thread index plus one; 0: nobody's; kLost: abandoned in the child of a fork
  Atomic<uint32_t> inside{0};   // the owner is
  Atomic<uint32_t> claim{0};    // thread index plus one of who wants the owner to stay out
  Atomic<uint64_t> gets{0};     // counters of all owners so far
  Atomic<uint64_t> misses{0};
  Atomic<uint64_t> foreign_returns{0};
  std::array<ThreadShelf<kMaxBlocks, Sync>, kClasses> shelves;
};

// The standard part of buffers: `Self` says how to get more room, Self::Larger(n): one with a capacity of at least n,
// and the same bytes.
template <class Self>
class Bytes {
 public:
  [[nodiscard]] std::byte* data() noexcept { return data_; }
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] size_t size() const noexcept { return size_; }
  [[nodiscard]] size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::span<std::byte> span() noexcept { return {data_, size_}; }
  [[nodiscard]] std::span<const std::byte> span() const noexcept { return {data_, size_}; }

  void clear() noexcept { size_ = 0; }
  // Bytes that are new are not initialised.
  void resize(size_t size) {
    if (size > capacity_) [[unlikely]]
      reserve(std::max(size, 2 * capacity_));
    size_ = size;
  }
  void reserve(size_t capacity) {
    if (capacity > capacity_) self() = self().Larger(capacity);
  }
  // `more` may be part of this buffer.
  void append(std::span<const std::byte> more) {
    if (more.empty()) return;
    if (more.size() > capacity_ - size_) [[unlikely]]
      return AppendSlowly(more);
    std::memcpy(data_ + size_, more.data(), more.size());
    size_ += more.size();
  }
  void append(std::string_view more) { append(std::as_bytes(std::span(more.data(), more.size()))); }

 protected:
  Bytes() = default;
  Bytes(std::byte* data, size_t size, size_t capacity) noexcept : data_(data), size_(size), capacity_(capacity) {}
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() = default;

  Bytes(Bytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  // For who has given its own back.
  void TakeFrom(Bytes& other) noexcept {
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
  }
  void CopyFrom(const Bytes& other) noexcept {
    if (other.size_ != 0) std::memcpy(data_, other.data_, other.size_);
    size_ = other.size_;
  }

  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }

  [[gnu::noinline]] void AppendSlowly(std::span<const std::byte> more) {
    if (more.size() > PTRDIFF_MAX - size_) throw std::bad_alloc();
    Self larger = self().Larger(std::max(size_ + more.size(), 2 * capacity_));
    larger.append(more);
    self() = std::move(larger);
  }
};

}  // namespace hotpath::buffer_pool_internal

#endif  // HOTPATH_CORE_DETAIL_BUFFER_POOL_INL_H_
