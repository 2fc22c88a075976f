#ifndef HOTPATH_CORE_STRIPED_MAP_H_
#define HOTPATH_CORE_STRIPED_MAP_H_

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/parking.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/detail/striped_map_inl.h"

namespace hotpath {

struct StripedMapStats {
  size_t entries = 0;
  size_t capacity = 0;        // entries that fit without growth, if spread evenly
  size_t bytes = 0;           // of stripes and tables, retained ones included
  size_t retained_bytes = 0;  // of outgrown tables that readers may still be in: about bytes / 2 at most
};

// StripedMap<K, V>: a hash table that threads share, cut into stripes with a lock each.
//
// Contract  Each operation on one key is atomic; so are Clear and Snapshot. ForEach and EraseIf are so stripe by
//           stripe: what is there all the time is visited once, what comes or goes meanwhile perhaps. size() adds the
//           sizes of the stripes, each of a moment during the call: exact if nobody writes. No reference escapes. If a
//           callback throws, the map is as if it had not been called, but for what it did itself to a value without
//           kOptimistic, and for what EraseIf has erased or changed by then. Callbacks run under the stripe's lock and
//           must not call the same map, nor must destructors of keys, and of values that EraseIf or Clear removes: that
//           is a CHECK failure which names the operation, whatever stripe it meant. Hash and Eq must not throw.
// Progress  Find, Contains, Visit: blocking, and with kOptimistic lock-free but for the third attempt that a writer of
//           the stripe spoils, which takes the lock. size: wait-free. All others: blocking.
// Cost      Reads with kOptimistic (K and V trivially copyable, and copyable): no store, no RMW; two loads of the
//           stripe's line, and mostly two lines of the table. Others: an RMW to lock, one to unlock, one hash. To grow,
//           a stripe hashes its keys again and, with kOptimistic, keeps the old table: about as much memory again at
//           most, until the end or Trim.
// Not for   kOptimistic with an Eq that follows pointers which die with the entry; the child of a fork(2)
//           that came while another thread held a stripe.
// Proof     striped_map_model fails if any [tag] below is weakened.
// Example   StripedMapTest.CountsWords
template <class K, class V, class Hash = absl::Hash<K>, class Eq = std::equal_to<>, SyncPolicy Sync = StdSync>
  requires(std::is_object_v<K> && std::is_object_v<V> && std::is_nothrow_move_constructible_v<K> &&
           std::is_nothrow_move_constructible_v<V> && !std::is_const_v<K> && !std::is_const_v<V>)
class BasicStripedMap {
 public:
  static constexpr bool kOptimistic =
      std::is_trivially_copyable_v<K> && std::is_trivially_copyable_v<V> && std::copyable<K> && std::copyable<V>;

  // `stripes` is rounded up to a power of two; more than an address space holds is a CHECK failure.
  explicit BasicStripedMap(size_t stripes = 32, Hash hash = Hash(), Eq eq = Eq())
      : stripe_bits_(BitsFor(stripes)),
        stripes_(new Stripe[size_t{1} << stripe_bits_]),
        hash_(std::move(hash)),
        eq_(std::move(eq)) {}
  ~BasicStripedMap() {
    for (Stripe& stripe : Stripes()) {
      if (Table* table = stripe.Current(); table != nullptr) {
        table->ForEach([](Group& group, unsigned slot) { group.slots[slot].Drop(); });
        Free(table);
      }
    }
  }
  BasicStripedMap(const BasicStripedMap&) = delete;
  BasicStripedMap& operator=(const BasicStripedMap&) = delete;

  template <class Q>
  [[nodiscard]] std::optional<V> Find(const Q& key) const
    requires std::copy_constructible<V>
  {
    return Read("StripedMap::Find", key, [](const V& value) { return std::optional<V>(value); });
  }
  template <class Q>
  [[nodiscard]] bool Contains(const Q& key) const {
    return Read("StripedMap::Contains", key, [](const V&) { return std::optional<bool>(true); }).has_value();
  }

  // f(const V&). With kOptimistic it gets a copy, and runs without the lock. False if the key is absent.
  template <class Q, std::invocable<const V&> F>
  bool Visit(const Q& key, F&& f) const {
    static constexpr const char* kName = "StripedMap::Visit";
    if constexpr (kOptimistic) {
      const std::optional<V> value = Read(kName, key, [](const V& v) { return std::optional<V>(v); });
      if (!value) return false;
      const CallbackScope<Sync> scope(this, kName);
      std::invoke(std::forward<F>(f), *value);
      return true;
    } else {
      return Read(kName, key,
                  [&](const V& value) {
                    std::invoke(std::forward<F>(f), value);
                    return std::optional<bool>(true);
                  })
          .has_value();
    }
  }

  // False, and no change, if the key is present.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved on
  bool Insert(K key, V value) {
    const uint64_t hash = HashOf(key);
    const StripeLock lock(*this, hash, "StripedMap::Insert");
    if (Locate(lock.stripe, hash, key)) return false;
    Add(lock.stripe, hash, {std::move(key), std::move(value)});
    return true;
  }
  // The value before, if the key was present.
  std::optional<V> InsertOrAssign(K key, V value) {
    const uint64_t hash = HashOf(key);
    const StripeLock lock(*this, hash, "StripedMap::InsertOrAssign");
    if (const Place place = Locate(lock.stripe, hash, key)) {
      return Replace(lock.stripe, place, std::move(value));
    }
    Add(lock.stripe, hash, {std::move(key), std::move(value)});
    return std::nullopt;
  }
  // What was erased, if the key was present.
  template <class Q>
  std::optional<V> Erase(const Q& key) {
    const uint64_t hash = HashOf(key);
    const StripeLock lock(*this, hash, "StripedMap::Erase");
    const Place place = Locate(lock.stripe, hash, key);
    if (!place) return std::nullopt;
    std::optional<V> erased(std::move(At(place).value));
    const Change change(lock.stripe);
    EraseAt(lock.stripe, hash, place);
    return erased;
  }
  // Erases where pred(const K&, V&) says so, and keeps what it made of the value where not; how many were erased.
  template <std::predicate<const K&, V&> P>
  size_t EraseIf(P&& pred) {
    static constexpr const char* kName = "StripedMap::EraseIf";
    CheckNotInside(kName);
    size_t erased = 0;
    for (Stripe& stripe : Stripes()) {
      const StripeLock lock(*this, stripe, kName);
      Table* const table = stripe.Current();
      if (table == nullptr) continue;
      std::optional<Change> change;  // from the first to the last: readers see all of it or nothing
      table->ForEach([&](Group& group, unsigned slot) {
        const Place place{&group, slot};
        decltype(auto) entry = At(place);
        const bool erase = std::invoke(pred, std::as_const(entry.key), entry.value);
        if constexpr (kOptimistic) {
          const auto before = group.slots[slot].Copy();
          // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): padding that differs costs a write, no more
          if (!erase && std::memcmp(&before, std::addressof(entry), sizeof entry) == 0) return;
          if (!change) change.emplace(stripe);
          if (!erase) return group.slots[slot].Put(entry);
        } else {
          if (!erase) return;
        }
        EraseAt(stripe, HashOf(entry.key), place);
        ++erased;
      });
    }
    return erased;
  }

  // f(V&) on the value of a key. False if it is absent.
  template <class Q, std::invocable<V&> F>
  bool Mutate(const Q& key, F&& f) {
    const uint64_t hash = HashOf(key);
    const StripeLock lock(*this, hash, "StripedMap::Mutate");
    const Place place = Locate(lock.stripe, hash, key);
    if (!place) return false;
    Edit(lock.stripe, place, std::forward<F>(f));
    return true;
  }
  // Inserts make() if the key is absent, else edit(V&). True if it was inserted.
  template <std::invocable<> M, std::invocable<V&> F>
    requires std::convertible_to<std::invoke_result_t<M>, V>
  bool Upsert(K key, M&& make, F&& edit) {
    const uint64_t hash = HashOf(key);
    const StripeLock lock(*this, hash, "StripedMap::Upsert");
    if (const Place place = Locate(lock.stripe, hash, key)) {
      Edit(lock.stripe, place, std::forward<F>(edit));
      return false;
    }
    V value = std::invoke(std::forward<M>(make));
    Add(lock.stripe, hash, {std::move(key), std::move(value)});
    return true;
  }

  template <std::invocable<const K&, const V&> F>
  void ForEach(F&& f) const {
    static constexpr const char* kName = "StripedMap::ForEach";
    CheckNotInside(kName);
    for (Stripe& stripe : Stripes()) {
      const StripeLock lock(*this, stripe, kName);
      ForEachIn(stripe, f);
    }
  }
  [[nodiscard]] std::vector<std::pair<K, V>> Snapshot() const
    requires std::copy_constructible<K> && std::copy_constructible<V>
  {
    std::vector<std::pair<K, V>> all;
    all.reserve(size());
    const AllLocks locks(*this, "StripedMap::Snapshot");
    for (Stripe& stripe : Stripes()) {
      ForEachIn(stripe, [&](const K& key, const V& value) { all.emplace_back(key, value); });
    }
    return all;
  }
  [[nodiscard]] size_t size() const noexcept {
    size_t total = 0;
    for (const Stripe& stripe : Stripes()) total += stripe.size.load(std::memory_order::relaxed);
    return total;
  }
  // Keeps the memory.
  void Clear() {
    const AllLocks locks(*this, "StripedMap::Clear");
    for (Stripe& stripe : Stripes()) Change::Open(stripe);
    for (Stripe& stripe : Stripes()) {
      if (stripe.Size() == 0) continue;
      Table* const table = stripe.Current();
      table->ForEach([](Group& group, unsigned slot) { group.slots[slot].Drop(); });
      table->Empty();
      stripe.size.store(0, std::memory_order::relaxed);
    }
    for (Stripe& stripe : Stripes()) Change::Close(stripe);
  }
  // Room for `entries` if they spread evenly, and an eighth more: a stripe that gets more than that grows. More than an
  // address space holds is a CHECK failure.
  void Reserve(size_t entries) {
    static constexpr const char* kName = "StripedMap::Reserve";
    CheckNotInside(kName);
    HOTPATH_CHECK(entries <= PTRDIFF_MAX / sizeof(Entry), "StripedMap::Reserve: no address space holds so many");
    const size_t share = entries >> stripe_bits_;
    for (Stripe& stripe : Stripes()) {
      const StripeLock lock(*this, stripe, kName);
      MakeRoom(stripe, std::max(stripe.Size(), share + (stripe_bits_ == 0 ? 0 : share / 8) + 1));
    }
  }
  // Frees outgrown tables. The caller sees to it that no other thread is inside any method.
  void Trim() {
    const AllLocks locks(*this, "StripedMap::Trim");
    for (Stripe& stripe : Stripes()) {
      if (Table* const table = stripe.Current(); table != nullptr) Free(std::exchange(table->older, nullptr));
    }
  }

  [[nodiscard]] size_t stripes() const noexcept { return size_t{1} << stripe_bits_; }
  [[nodiscard]] StripedMapStats Stats() const {
    StripedMapStats stats{.bytes = stripes() * sizeof(Stripe)};
    const AllLocks locks(*this, "StripedMap::Stats");
    for (Stripe& stripe : Stripes()) {
      stats.entries += stripe.Size();
      const Table* table = stripe.Current();
      if (table == nullptr) continue;
      stats.capacity += Table::Capacity(table->groups());
      for (stats.bytes += table->bytes(); (table = table->older) != nullptr; stats.retained_bytes += table->bytes()) {
      }
    }
    stats.bytes += stats.retained_bytes;
    return stats;
  }
  static constexpr const char* Describe() noexcept {
    return kOptimistic ? "reads are optimistic: version-validated, without the stripe's lock"
                       : "reads take the stripe's lock: K or V is not trivially copyable";
  }

 private:
  using Entry = striped_map_internal::Entry<K, V>;
  using Group = striped_map_internal::GroupOf<Entry, kOptimistic, Sync>;
  using Table = striped_map_internal::Table<Group>;
  template <class U>
  using Atomic = typename Sync::template Atomic<U>;

  static constexpr int kAttempts = 3;  // of an optimistic read

  // One line. All but the lock is written under it.
  struct alignas(Sync::kLineSize) Stripe {
    BasicOwnedLock<Sync> lock;
    Atomic<uint64_t> version{0};  // odd: entries are being changed
    Atomic<Table*> table{nullptr};
    Atomic<uint64_t> size{0};

    Table* Current() const noexcept { return table.load(std::memory_order::relaxed); }
    size_t Size() const noexcept { return size.load(std::memory_order::relaxed); }
  };
  struct Place {
    Group* group = nullptr;
    unsigned slot = 0;
    explicit operator bool() const noexcept { return group != nullptr; }
  };

  // Holds a stripe, or all in order, and says so for the check of callbacks.
  struct StripeLock {
    StripeLock(const BasicStripedMap& map, Stripe& s, const char* name) noexcept HOTPATH_NO_THREAD_SAFETY_ANALYSIS
        : stripe(s),
          lock(s.lock),
          scope(&map, name) {}
    StripeLock(const BasicStripedMap& map, uint64_t hash, const char* name) noexcept
        : StripeLock(map, map.Checked(name).StripeOf(hash), name) {}
    Stripe& stripe;
    const MutexLock<BasicOwnedLock<Sync>> lock;
    const CallbackScope<Sync> scope;
  };
  struct AllLocks {
    AllLocks(const BasicStripedMap& m, const char* name) noexcept HOTPATH_NO_THREAD_SAFETY_ANALYSIS
        : map(m.Checked(name)),
          scope(&m, name) {
      for (Stripe& stripe : map.Stripes()) stripe.lock.Lock();
    }
    ~AllLocks() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
      for (Stripe& stripe : map.Stripes()) stripe.lock.Unlock();
    }
    AllLocks(const AllLocks&) = delete;
    AllLocks& operator=(const AllLocks&) = delete;
    const BasicStripedMap& map;
    const CallbackScope<Sync> scope;
  };

  // While it lives, or from Open to Close, entries of the stripe change, and optimistic readers try again.
  class Change {
   public:
    explicit Change(Stripe& stripe) noexcept : stripe_(stripe) { Open(stripe); }
    ~Change() { Close(stripe_); }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

    static void Open(Stripe& stripe) noexcept {
      if constexpr (!kOptimistic) return;
      stripe.version.store(stripe.version.load(std::memory_order::relaxed) + 1, std::memory_order::relaxed);
      Sync::Fence(std::memory_order::release);  // [W1] pairs R2
    }
    static void Close(Stripe& stripe) noexcept {
      if constexpr (!kOptimistic) return;
      const uint64_t version = stripe.version.load(std::memory_order::relaxed);
      stripe.version.store(version + 1, std::memory_order::release);  // [W2] pairs R1
    }

   private:
    Stripe& stripe_;
  };

  struct StripeRange {
    Stripe *first, *last;
    Stripe* begin() const noexcept { return first; }
    Stripe* end() const noexcept { return last; }
  };
  static unsigned BitsFor(size_t stripes) noexcept {
    HOTPATH_CHECK(stripes <= PTRDIFF_MAX / sizeof(Stripe), "StripedMap: no address space holds so many stripes");
    return static_cast<unsigned>(std::countr_zero(std::bit_ceil(std::max<size_t>(stripes, 1))));
  }
  StripeRange Stripes() const noexcept { return {stripes_.get(), stripes_.get() + stripes()}; }
  Stripe& StripeOf(uint64_t hash) const noexcept { return stripes_[hash >> 1 >> (63 - stripe_bits_)]; }

  void CheckNotInside(const char* name) const noexcept {
    if (CallbackScope<Sync>::Inside(this) != nullptr) [[unlikely]] {
      check_internal::Fail(__FILE__, __LINE__, name, "called from inside a callback of the same map");
    }
  }
  const BasicStripedMap& Checked(const char* name) const noexcept {
    CheckNotInside(name);
    return *this;
  }

  // absl::Hash<std::string> takes no string_view, though both hash alike.
  template <class Q>
  uint64_t HashOf(const Q& key) const {
    constexpr bool kText = striped_map_internal::kHashesAsText<K> && std::convertible_to<const Q&, std::string_view>;
    if constexpr (std::same_as<Hash, absl::Hash<K>> && kText) {
      return striped_map_internal::Spread(absl::Hash<std::string_view>()(key));
    } else {
      return striped_map_internal::Spread(hash_(key));
    }
  }

  // f(const V&) -> optional, of the value if the key is present.
  template <class Q, class F>
  auto Read(const char* name, const Q& key, F&& f) const -> std::invoke_result_t<F, const V&> {
    const uint64_t hash = HashOf(key);
    Stripe& stripe = Checked(name).StripeOf(hash);
    if constexpr (kOptimistic) {
      std::invoke_result_t<F, const V&> found;
      for (int attempt = 0; attempt < kAttempts; ++attempt) {
        if (TryRead(stripe, hash, key, f, found)) return found;
        for (int i = 0; i < 16 << attempt; ++i) Sync::Relax();
      }
    }
    return ReadLocked(stripe, name, hash, key, f);
  }
  template <class Q, class F>
  [[gnu::noinline]] auto ReadLocked(Stripe& stripe, const char* name, uint64_t hash, const Q& key, F& f) const
      -> std::invoke_result_t<F, const V&> {
    const StripeLock lock(*this, stripe, name);
    const Place place = Locate(stripe, hash, key);
    if (!place) return std::nullopt;
    const Entry& entry = At(place);
    return std::invoke(f, entry.value);
  }

  // False if a writer was there. What is copied is a key or value only if none was: Eq must not see less.
  template <class Q, class F, class R>
  bool TryRead(const Stripe& stripe, uint64_t hash, const Q& key, F& f, R& found) const {
    const uint64_t version = stripe.version.load(std::memory_order::acquire);  // [R1] pairs W2
    if (version % 2 != 0) return false;
    const Table* const table = stripe.table.load(std::memory_order::acquire);  // [T1] pairs T2
    if (table == nullptr) return true;
    const uint64_t tag = striped_map_internal::TagOf(hash);
    for (size_t at = hash, last = hash + table->mask;; ++at) {
      const Group& group = table->At(at);
      uint64_t matches = striped_map_internal::Matches(group.Tags(), tag);
      for (; matches != 0; matches &= matches - 1) {
        const auto bytes = group.slots[striped_map_internal::LowestSlot(matches)].Copy();
        if (!Unchanged(stripe, version)) return false;
        const Entry entry = bytes.Entry();
        if (!eq_(entry.key, key)) continue;
        found = std::invoke(f, entry.value);
        return true;
      }
      if (group.passed.load(std::memory_order::relaxed) == 0 || at == last) return Unchanged(stripe, version);
    }
  }
  static bool Unchanged(const Stripe& stripe, uint64_t version) noexcept {
    Sync::Fence(std::memory_order::acquire);  // [R2] pairs W1
    return stripe.version.load(std::memory_order::relaxed) == version;
  }

  // ---- All below: under the stripe's lock ----

  // A copy if slots are shared, a reference if they are not.
  static decltype(auto) At(const Place& place) noexcept { return place.group->slots[place.slot].Get(); }

  template <class Q>
  Place Locate(const Stripe& stripe, uint64_t hash, const Q& key) const {
    const Table* const table = stripe.Current();
    if (table == nullptr) return {};
    const uint64_t tag = striped_map_internal::TagOf(hash);
    for (size_t at = hash, last = hash + table->mask;; ++at) {
      Group& group = table->At(at);
      uint64_t matches = striped_map_internal::Matches(group.Tags(), tag);
      for (; matches != 0; matches &= matches - 1) {
        const Place place{&group, striped_map_internal::LowestSlot(matches)};
        const Entry& entry = At(place);
        if (eq_(entry.key, key)) return place;
      }
      if (group.passed.load(std::memory_order::relaxed) == 0 || at == last) return {};
    }
  }

  void Add(Stripe& stripe, uint64_t hash, Entry&& entry) {
    MakeRoom(stripe, stripe.Size() + 1);
    const Change change(stripe);
    stripe.Current()->Add(hash, std::move(entry));
    stripe.size.store(stripe.Size() + 1, std::memory_order::relaxed);
  }
  // Within a Change.
  static void EraseAt(Stripe& stripe, uint64_t hash, const Place& place) noexcept {
    stripe.Current()->Remove(hash, *place.group, place.slot);
    place.group->slots[place.slot].Drop();
    stripe.size.store(stripe.Size() - 1, std::memory_order::relaxed);
  }
  static V Replace(Stripe& stripe, const Place& place, V&& value) noexcept {
    if constexpr (kOptimistic) {
      Entry entry = At(place);
      V old = std::exchange(entry.value, std::move(value));
      const Change change(stripe);
      place.group->slots[place.slot].Put(entry);
      return old;
    } else {
      V& now = At(place).value;
      V old = std::move(now);
      std::destroy_at(std::addressof(now));
      std::construct_at(std::addressof(now), std::move(value));
      return old;
    }
  }
  template <class F>
  static void Edit(Stripe& stripe, const Place& place, F&& f) {
    if constexpr (kOptimistic) {
      Entry entry = At(place);
      std::invoke(std::forward<F>(f), entry.value);
      const Change change(stripe);
      place.group->slots[place.slot].Put(entry);
    } else {
      std::invoke(std::forward<F>(f), At(place).value);
    }
  }
  template <class F>
  static void ForEachIn(const Stripe& stripe, F&& f) {
    Table* const table = stripe.Current();
    if (table == nullptr) return;
    table->ForEach([&](Group& group, unsigned slot) {
      const Entry& entry = At(Place{&group, slot});
      std::invoke(f, entry.key, entry.value);
    });
  }

  // No writer is ahead of readers here: the new table says what the old one says, and that stays as it is.
  void MakeRoom(Stripe& stripe, size_t entries) {
    Table* const old = stripe.Current();
    if (old != nullptr && entries <= Table::Capacity(old->groups())) return;
    const size_t doubled = old == nullptr ? 1 : 2 * old->groups();
    Table* const table = Sync::template New<Table>(std::max(doubled, Table::GroupsFor(entries)));
    if (old != nullptr) MoveAll(*old, *table);
    if constexpr (kOptimistic) table->older = old;
    stripe.table.store(table, std::memory_order::release);  // [T2] pairs T1
    if constexpr (!kOptimistic) Sync::Delete(old);
  }
  void MoveAll(Table& from, Table& to) const noexcept {
    from.ForEach([&](Group& group, unsigned slot) {
      decltype(auto) entry = group.slots[slot].Get();
      to.Add(HashOf(entry.key), std::move(entry));
      group.slots[slot].Drop();
    });
  }
  static void Free(Table* table) noexcept {
    while (table != nullptr) Sync::Delete(std::exchange(table, table->older));
  }

  const unsigned stripe_bits_;
  const std::unique_ptr<Stripe[]> stripes_;
  [[no_unique_address]] const Hash hash_;
  [[no_unique_address]] const Eq eq_;
};

template <class K, class V, class Hash = absl::Hash<K>, class Eq = std::equal_to<>, SyncPolicy Sync = StdSync>
using StripedMap = BasicStripedMap<K, V, Hash, Eq, Sync>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_STRIPED_MAP_H_
