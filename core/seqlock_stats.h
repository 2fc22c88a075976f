#ifndef HOTPATH_CORE_SEQLOCK_STATS_H_
#define HOTPATH_CORE_SEQLOCK_STATS_H_

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

namespace hotpath {

struct SeqlockOptions {
  // How many versions of the value are kept. 1: smallest, but a reader waits while a writer copies, and starves if
  // writers never pause. 2 or more: readers go on with the last version; each costs sizeof(T) rounded up to whole cache
  // lines.
  uint32_t slots = 4;
};

namespace seqlock_stats_internal {

template <class>
struct MemberPointer;
template <class F, class C>
struct MemberPointer<F C::*> {
  using Field = F;
};
template <auto kField>
using FieldOf = typename MemberPointer<decltype(kField)>::Field;

template <class T, auto kField>
concept Addable = std::is_member_object_pointer_v<decltype(kField)> && requires(T& value) { value.*kField; } &&
                  std::is_arithmetic_v<FieldOf<kField>> && !std::same_as<std::remove_cv_t<FieldOf<kField>>, bool> &&
                  !std::is_const_v<FieldOf<kField>> && !std::is_volatile_v<FieldOf<kField>>;

// Integers wrap, as std::atomic does.
template <class F>
constexpr F Sum(F a, F b) noexcept {
  if constexpr (std::is_integral_v<F>) {
    using U = std::make_unsigned_t<F>;
    return static_cast<F>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
  } else {
    return a + b;
  }
}

}  // namespace seqlock_stats_internal

// SeqlockStats<T>: one small value, rarely written, often read, always seen whole.
//
// Contract  Read returns a value that the constructor or one Write, Store or Add published, never a mixture, and none
//           older than what happened before it or than this thread read before. Writers exclude one another.
// Progress  TryRead wait-free. Read lock-free with slots >= 2: each retry means that slots - 1 more writes were
//           published and another began; blocking with slots = 1. Write, Store, Add blocking: they spin, then yield.
// Cost      Read: 2 loads and the copy; no store, no RMW. Write: 1 RMW, two copies. It dirties 2 lines and those of a
//           slot. No allocation. With slots = 1 the object is sizeof(T) + 24 bytes, rounded up to 16.
// Not for   pointees that get freed (RcuCell), |T| > 256 B, signal handlers that write or, with one slot, Read,
//           counters that every operation bumps (StripedCounter), the child of a fork(2) that came amid another
//           thread's write: a CHECK failure, as is a write by more than Sync::kMaxThreads (4096) threads at once.
// Proof     seqlock_stats_model fails if any [tag] below is weakened.
// Example   SeqlockStatsTest.KeepsARunningMean
template <class T, SeqlockOptions O = SeqlockOptions{}, SyncPolicy Sync = StdSync>
  requires(std::is_trivially_copyable_v<T> && std::copyable<T> && O.slots >= 1)
class BasicSeqlockStats {
 public:
  // Constant expressions unless T has padding or pointers.
  constexpr BasicSeqlockStats() noexcept
    requires std::default_initializable<T>
      : BasicSeqlockStats(T{}) {}
  constexpr explicit BasicSeqlockStats(const T& initial) noexcept
      : BasicSeqlockStats(ToWords(initial), std::make_index_sequence<kWords>{}) {}
  BasicSeqlockStats(const BasicSeqlockStats&) = delete;
  BasicSeqlockStats& operator=(const BasicSeqlockStats&) = delete;

  [[nodiscard]] T Read() const noexcept {
    Bytes bytes;
    for (SpinWait<Sync> wait; !TryCopy(&bytes);) {
      if constexpr (O.slots == 1) {  // a writer is inside; with more slots one just left, so try again at once
        CheckThatItLives(writer_.load(std::memory_order::relaxed));
        wait();
      }
    }
    return std::bit_cast<T>(bytes);
  }

  // False iff writers overtook it: slots - 1 of them published and another began. `out` is then as it was.
  [[nodiscard]] bool TryRead(T& out) const noexcept {
    Bytes bytes;  // where `out` has its tail padding, another object may have its members
    if (!TryCopy(&bytes)) return false;
    out = std::bit_cast<T>(bytes);
    return true;
  }

  // Publishes what edit(T&) makes of a private copy of the value, other writers excluded, readers not. If edit throws,
  // nothing is published. It may Read this object, and gets the old value; to write it is a CHECK failure.
  template <std::invocable<T&> Edit>
  void Write(Edit&& edit) noexcept(std::is_nothrow_invocable_v<Edit, T&>) {
    const WriterLock lock(*this);
    T next = Current();
    std::invoke(std::forward<Edit>(edit), next);
    Publish(std::addressof(next));
  }

  void Store(const T& value) noexcept {
    const WriterLock lock(*this);
    const T whole = value;  // see TryRead
    Publish(std::addressof(whole));
  }

  // Adds to one number, e.g. Add<&Stats::hits>(1). Integers wrap. Costs what Write costs: publishing the words of the
  // field alone was measured, and is no faster, because the writer lock is most of the price.
  template <auto kField>
    requires seqlock_stats_internal::Addable<T, kField>
  void Add(seqlock_stats_internal::FieldOf<kField> delta) noexcept {
    const WriterLock lock(*this);
    T next = Current();
    next.*kField = seqlock_stats_internal::Sum(next.*kField, delta);
    Publish(std::addressof(next));
  }

 private:
  template <class U>
  using Atomic = typename Sync::template Atomic<U>;

  static constexpr size_t kWords = (sizeof(T) + 7) / 8;
  // With several slots, what readers share with a waiting writer is kept apart line by line; one slot is kept small.
  static constexpr size_t kLine = O.slots == 1 ? 0 : Sync::kLineSize;

  struct alignas(T) Bytes {
    std::byte bytes[sizeof(T)];
  };

  // Version v of the value lives in slot v % slots. Its words are whole once latest_ is v or more, and until the slot's
  // version becomes v + slots.
  struct alignas(std::max<size_t>(kLine, 16)) Slot {
    Atomic<uint64_t> words[kWords];  // 16-byte aligned: see copy_words_x86.h
    Atomic<uint64_t> version{0};     // of what is in the words, or is entering them
  };

  class WriterLock {
   public:
    explicit WriterLock(BasicSeqlockStats& stats) noexcept : stats_(stats) {
      const uint32_t self = Sync::ThreadIndex() + 1;
      for (SpinWait<Sync> wait;; wait()) {
        uint32_t owner = 0;
        if (stats_.writer_.compare_exchange_weak(owner, self, std::memory_order::acquire,  // [L1] pairs L2
                                                 std::memory_order::relaxed)) {
          return;
        }
        if (owner == 0) continue;
        HOTPATH_CHECK(owner != self, "SeqlockStats: this thread is writing this object already");
        CheckThatItLives(owner);
      }
    }
    ~WriterLock() { stats_.writer_.store(0, std::memory_order::release); }  // [L2] pairs L1
    WriterLock(const WriterLock&) = delete;
    WriterLock& operator=(const WriterLock&) = delete;

   private:
    BasicSeqlockStats& stats_;
  };

  template <size_t... i>
  constexpr BasicSeqlockStats(const std::array<uint64_t, kWords>& words, std::index_sequence<i...>) noexcept
      : slots_{Slot{{words[i]...}}} {}

  static void CheckThatItLives(uint32_t owner) noexcept {
    HOTPATH_CHECK(owner == 0 || !Sync::Vanished(owner - 1),
                  "SeqlockStats: the thread that was writing did not survive fork(2)");
  }

  static constexpr std::array<uint64_t, kWords> ToWords(T value) noexcept {
    std::array<std::byte, kWords * 8> padded{};
    std::ranges::copy(std::bit_cast<std::array<std::byte, sizeof(T)>>(value), padded.begin());
    return std::bit_cast<std::array<uint64_t, kWords>>(padded);
  }

  // False iff the copy may be a mixture: a word of a later version comes with the slot's later version number.
  // Inlined, or the caller copies once more, with loads that straddle the stores made here.
  [[gnu::always_inline]] bool TryCopy(void* out) const noexcept {
    const uint64_t version = latest_.load(std::memory_order::acquire);  // [R1] pairs W2
    const Slot& slot = slots_[version % O.slots];
    Sync::template CopyWords<sizeof(T)>(out, slot.words);
    Sync::Fence(std::memory_order::acquire);  // [R2] pairs W1
    if (slot.version.load(std::memory_order::relaxed) == version) return true;
    Sync::Fence(std::memory_order::acquire);  // [R3] pairs W3: the next try starts from what overtook this one
    return false;
  }

  // The two below: under the WriterLock.
  T Current() const noexcept {
    Bytes bytes;
    Sync::template CopyWords<sizeof(T)>(&bytes, slots_[latest_.load(std::memory_order::relaxed) % O.slots].words);
    return std::bit_cast<T>(bytes);
  }
  void Publish(const void* value) noexcept {
    const uint64_t version = latest_.load(std::memory_order::relaxed) + 1;
    Slot& slot = slots_[version % O.slots];
    slot.version.store(version, std::memory_order::release);  // [W3] pairs R3
    Sync::Fence(std::memory_order::release);                  // [W1] pairs R2
    Sync::template CopyWords<sizeof(T)>(slot.words, value);
    latest_.store(version, std::memory_order::release);  // [W2] pairs R1
  }

  Atomic<uint32_t> writer_{0};  // ThreadIndex() + 1 of the thread that writes; 0: none
  alignas(std::max(kLine, alignof(Atomic<uint64_t>))) Atomic<uint64_t> latest_{0};  // the last version published
  Slot slots_[O.slots];
};

template <class T, SeqlockOptions O = SeqlockOptions{}, SyncPolicy Sync = StdSync>
using SeqlockStats = BasicSeqlockStats<T, O, Sync>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_SEQLOCK_STATS_H_
