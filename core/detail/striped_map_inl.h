#ifndef HOTPATH_CORE_DETAIL_STRIPED_MAP_INL_H_
#define HOTPATH_CORE_DETAIL_STRIPED_MAP_INL_H_

// The hash table inside each stripe of a StripedMap. Not for users: include hotpath/core/striped_map.h.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/sync.h"

namespace hotpath {
class InlineString;
}

namespace hotpath::striped_map_internal {

template <class K, class V>
struct Entry {
  K key;
  V value;
};

// Whether absl::Hash of a K is that of its text. A type that merely converts to text may hash, and compare, otherwise.
template <class K>
inline constexpr bool kHashesAsText = false;
template <>
inline constexpr bool kHashesAsText<std::string_view> = true;
template <class A>
inline constexpr bool kHashesAsText<std::basic_string<char, std::char_traits<char>, A>> = true;
template <>
inline constexpr bool kHashesAsText<InlineString> = true;

// A hash as its user made it may be the key itself, with all that differs in its high bits: spread it over all. The
// highest choose the stripe, the lowest the group, and seven that both reach only in maps of 2^18 stripes the tag.
inline uint64_t Spread(uint64_t hash) noexcept {
  hash ^= hash >> 32;
  hash *= 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}
inline uint64_t TagOf(uint64_t hash) noexcept { return (hash >> 40 & 0x7f) | 0x80; }

inline constexpr unsigned kGroupSlots = 7;
inline constexpr uint64_t kLowBits = 0x0001010101010101u, kHighBits = 0x0080808080808080u;

// The high bit of each of the seven tags that is `tag`, and perhaps of tags above such a one.
inline uint64_t Matches(uint64_t tags, uint64_t tag) noexcept {
  const uint64_t zero_where_equal = tags ^ kLowBits * tag;
  return (zero_where_equal - kLowBits) & ~zero_where_equal & kHighBits;
}
inline unsigned LowestSlot(uint64_t bits) noexcept { return static_cast<unsigned>(std::countr_zero(bits)) / 8; }

// Room for an entry that readers may copy while it is written: words that are whole each.
template <class E, SyncPolicy Sync>
class SharedSlot {
 public:
  // Between the two, bytes may be a mixture: whoever reads says when it knows that they are not.
  struct alignas(E) Bytes {
    std::byte bytes[sizeof(E)];
    E Entry() const noexcept { return std::bit_cast<E>(*this); }
  };
  Bytes Copy() const noexcept {
    Bytes bytes;
    Sync::template CopyWords<sizeof(E)>(&bytes, words_);
    return bytes;
  }
  E Get() const noexcept { return Copy().Entry(); }
  void Put(const E& entry) noexcept { Sync::template CopyWords<sizeof(E)>(words_, std::addressof(entry)); }
  void Drop() noexcept {}

 private:
  typename Sync::template Atomic<uint64_t> words_[(sizeof(E) + 7) / 8];
};

// Room for an entry that is only used under the lock.
template <class E>
class GuardedSlot {
 public:
  GuardedSlot() noexcept {}
  ~GuardedSlot() {}
  E& Get() noexcept { return entry_; }
  void Put(E&& entry) noexcept { std::construct_at(std::addressof(entry_), std::move(entry)); }
  void Drop() noexcept { std::destroy_at(std::addressof(entry_)); }

 private:
  union {
    E entry_;
  };
};

// Seven slots beside their tags: with keys and values of eight bytes, two lines that a processor fetches together. An
// entry that finds its group full goes to the next one with room, and leaves a count in each that it passed, so that
// nothing needs a tombstone (the outbound overflow count of Bronson and Shi's F14).
template <class E, bool kShared, SyncPolicy Sync>
struct GroupOf {
  using Slot = std::conditional_t<kShared, SharedSlot<E, Sync>, GuardedSlot<E>>;
  static constexpr size_t kBytes = 16 + kGroupSlots * sizeof(Slot);
  static constexpr size_t kAlign =
      std::max({size_t{16}, alignof(Slot), kBytes % Sync::kLineSize == 0 ? Sync::kLineSize : 1});

  alignas(kAlign) typename Sync::template Atomic<uint64_t> tags{0};  // a byte each, 0: the slot is empty
  typename Sync::template Atomic<uint64_t> passed{0};                // entries that went past this full group
  Slot slots[kGroupSlots];

  uint64_t Tags() const noexcept { return tags.load(std::memory_order::relaxed); }
  uint64_t Taken() const noexcept { return Tags() & kHighBits; }
  void Pass(uint64_t change) noexcept {
    passed.store(passed.load(std::memory_order::relaxed) + change, std::memory_order::relaxed);
  }
};

template <class Group>
class Table {
 public:
  explicit Table(size_t groups) : mask(groups - 1), groups_(new Group[groups]) {}

  // How many entries it takes. There is always an empty slot, and a search ends soon.
  static constexpr size_t Capacity(size_t groups) noexcept { return groups * (kGroupSlots - 1); }
  static constexpr size_t GroupsFor(size_t entries) noexcept {
    return std::bit_ceil((entries + kGroupSlots - 2) / (kGroupSlots - 1));
  }

  size_t groups() const noexcept { return mask + 1; }
  size_t bytes() const noexcept { return sizeof(Table) + groups() * sizeof(Group); }
  Group& At(size_t group) const noexcept { return groups_[group & mask]; }

  // Adds an entry whose key is not there, to a table with room.
  template <class E>
  void Add(uint64_t hash, E&& entry) noexcept {
    for (size_t at = hash;; ++at) {
      Group& group = At(at);
      const uint64_t tags = group.Tags(), empty = ~tags & kHighBits;
      if (empty == 0) {
        group.Pass(1);
        continue;
      }
      const unsigned slot = LowestSlot(empty);
      group.slots[slot].Put(std::forward<E>(entry));
      group.tags.store(tags | TagOf(hash) << slot * 8, std::memory_order::relaxed);
      return;
    }
  }
  // The slot is empty afterwards; what was in it is not destroyed.
  void Remove(uint64_t hash, Group& group, unsigned slot) noexcept {
    group.tags.store(group.Tags() & ~(uint64_t{0xff} << slot * 8), std::memory_order::relaxed);
    for (size_t at = hash; &At(at) != &group; ++at) At(at).Pass(uint64_t{0} - 1);
  }
  // f(group, slot) for each entry; it may remove that entry.
  template <class F>
  void ForEach(F&& f) {
    for (size_t at = 0; at <= mask; ++at) {
      for (uint64_t taken = At(at).Taken(); taken != 0; taken &= taken - 1) f(At(at), LowestSlot(taken));
    }
  }
  void Empty() noexcept {
    for (size_t at = 0; at <= mask; ++at) {
      At(at).tags.store(0, std::memory_order::relaxed);
      At(at).passed.store(0, std::memory_order::relaxed);
    }
  }

  const size_t mask;
  Table* older = nullptr;  // which readers may still be in

 private:
  const std::unique_ptr<Group[]> groups_;
};

}  // namespace hotpath::striped_map_internal

#endif  // HOTPATH_CORE_DETAIL_STRIPED_MAP_INL_H_
