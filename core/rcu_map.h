#ifndef HOTPATH_CORE_RCU_MAP_H_
#define HOTPATH_CORE_RCU_MAP_H_

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/hash/hash.h"
#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/parking.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"

namespace hotpath {

struct RcuMapStats {
  size_t size = 0;        // entries
  size_t capacity = 0;    // slots of 8 bytes; at most max(4, 8 times the entries there ever were at once)
  size_t erased = 0;      // slots that await the next rebuild
  uint64_t rebuilds = 0;  // tables made after the first
};

// BasicRcuMap: a hash map that is read all the time by everybody, and written by one thread at a time.
//
// Contract  Linearizable, but for ForEach and size. A value never changes: it is replaced by another, and lives as long
//           as a Ref to it. Readers of a map that grows go on in the table they have found. The map outlives its Refs.
//           What was replaced or erased may outlive the map, to the end of the domain.
// Progress  Find, Get, Contains, size wait-free (the thread's first as EpochDomain::Pin). ForEach wait-free but for f.
//           Insert, InsertOrAssign, Erase, Trim, Stats blocking: they exclude one another and, but in a thread that is
//           pinned, wait for room in the domain (EpochDomain::Retire).
// Cost      Find: a Pin, the hash, and 3 dependent loads; no RMW. A write: one lock, one allocation, one store that
//           readers see, one Retire; amortised, for every doubling copies 8 bytes an entry.
// Not for   writes from many cores at once (StripedMap), values that are changed in place, Hash and Eq that use the
//           map, a new_handler that reclaims or calls the map, the child of a fork(2) that came amid another thread's
//           write: its next write is a CHECK failure.
// Proof     rcu_map_model fails if any [tag] below is weakened.
// Example   RcuMapTest.ReadmeExample. Readers do as in J. Triplett, P. McKenney, J. Walpole, "Resizable, Scalable,
//           Concurrent Hash Tables via Relativistic Programming" (USENIX ATC 2011); but slots are probed and not
//           chained, so that an entry can be in the old and in the new table at once, and nobody waits for readers.
//
// Hash must be good in its low and in its high bits, as absl::Hash is. A query is whatever Hash and Eq take beside K;
// RcuMap<std::string, V, absl::Hash<std::string_view>> can be asked for a string_view.
template <class K, class V, class Hash = absl::Hash<K>, class Eq = std::equal_to<>, SyncPolicy Sync = StdSync>
  requires std::move_constructible<K> && std::move_constructible<V> &&
           std::is_invocable_r_v<size_t, const Hash&, const K&> && std::predicate<const Eq&, const K&, const K&>
class BasicRcuMap {
  using Domain = BasicEpochDomain<Sync>;
  struct Node;

 public:
  // A value that was found, or nothing. Pins the epoch either way: for the length of a call. Ends where it began.
  // Movable; moved from: nothing.
  class [[nodiscard]] Ref {
   public:
    Ref(Ref&& other) noexcept : guard_(std::move(other.guard_)), node_(std::exchange(other.node_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
      guard_ = std::move(other.guard_);
      node_ = std::exchange(other.node_, nullptr);
      return *this;
    }

    explicit operator bool() const noexcept { return node_ != nullptr; }
    const V* get() const noexcept { return node_ == nullptr ? nullptr : std::addressof(node_->value.Read()); }
    const V& operator*() const noexcept { return Found().value.Read(); }
    const V* operator->() const noexcept { return std::addressof(Found().value.Read()); }
    const K& key() const noexcept { return Found().key.Read(); }

   private:
    friend BasicRcuMap;
    Ref(typename Domain::Guard guard, const Node* node) noexcept : guard_(std::move(guard)), node_(node) {}
    const Node& Found() const noexcept {
      HOTPATH_DCHECK(node_ != nullptr, "RcuMap: an empty Ref was read");
      return *node_;
    }

    typename Domain::Guard guard_;
    const Node* node_;
  };

  // The domain outlives the map. May throw bad_alloc.
  explicit BasicRcuMap(Domain& domain = Domain::Default()) : domain_(domain) {
    table_.store(Sync::template New<Table>(kMinCapacity), std::memory_order::relaxed);
  }
  // Destroys every entry. No other thread may be in a call, and no Ref may be left. Keys and values that end here may
  // read the map and erase, and find nothing of themselves; they must not insert.
  ~BasicRcuMap() {
    Table* table = table_.load(std::memory_order::relaxed);
    for (size_t i = 0; i <= table->mask; ++i) {
      const uint64_t word = table->slots[i].load(std::memory_order::relaxed);
      if (!IsNode(word)) continue;
      table->slots[i].store(kErased, std::memory_order::relaxed);
      SetSize(size() - 1);
      Sync::Delete(NodeOf(word));
    }
    Sync::Delete(table);
  }
  BasicRcuMap(const BasicRcuMap&) = delete;
  BasicRcuMap& operator=(const BasicRcuMap&) = delete;

  template <class Q>
  static constexpr bool kIsQuery =
      std::is_invocable_r_v<size_t, const Hash&, const Q&> && std::predicate<const Eq&, const K&, const Q&>;

  template <class Q>
    requires kIsQuery<Q>
  [[nodiscard]] Ref Find(const Q& query) const {
    const size_t hash = hash_(query);
    typename Domain::Guard guard = domain_.Pin();
    return Ref(std::move(guard), Lookup(hash, query));
  }
  template <class Q>
    requires kIsQuery<Q> && std::copy_constructible<V>
  [[nodiscard]] std::optional<V> Get(const Q& query) const {
    const Ref found = Find(query);
    return found ? std::optional<V>(*found) : std::nullopt;
  }
  template <class Q>
    requires kIsQuery<Q>
  [[nodiscard]] bool Contains(const Q& query) const {
    return static_cast<bool>(Find(query));
  }

  // False, and no change, if the key is there. If a write throws, what K, V, Hash and Eq throw or bad_alloc, the map is
  // as it was.
  bool Insert(K key, V value) { return Put(std::move(key), std::move(value), false); }
  // True if the key is new, false if its value was replaced.
  bool InsertOrAssign(K key, V value) { return Put(std::move(key), std::move(value), true); }

  // False if there is no such key. Allocates nothing but the thread's first time.
  template <class Q>
    requires kIsQuery<Q>
  bool Erase(const Q& query) {
    const size_t hash = hash_(query);
    domain_.Register();
    Node* gone;
    {
      MutexLock lock(mu_);
      const Place place = Locate(hash, query);
      if (!place.found) return false;
      gone = NodeOf(Slot(place.at).load(std::memory_order::relaxed));
      Vacate(place.at);
      SetSize(size() - 1);
    }
    domain_.Retire(gone);
    return true;
  }

  // Calls f(key, value) once for each entry that is there from beginning to end, and not for one that never is. Entries
  // that come or go meanwhile may be seen or not; one that goes and comes back may be seen twice.
  template <std::invocable<const K&, const V&> F>
  void ForEach(F&& f) const {
    const typename Domain::Guard guard = domain_.Pin();
    const Table& table = *table_.load(std::memory_order::acquire);  // [T3] pairs T1
    for (size_t i = 0; i <= table.mask; ++i) {
      const uint64_t word = table.slots[i].load(std::memory_order::acquire);  // [S3] pairs S1 S4 S5 S6
      if (IsNode(word)) std::invoke(f, NodeOf(word)->key.Read(), NodeOf(word)->value.Read());
    }
  }

  // How many entries there are: writes under way may be counted or not, whatever Find says.
  [[nodiscard]] size_t size() const noexcept { return size_.load(std::memory_order::relaxed); }

  // Makes the table as small as its entries allow, which writes do only as they need a new one. May throw bad_alloc.
  void Trim() {
    domain_.Register();
    Table* old;
    {
      MutexLock lock(mu_);
      const size_t capacity = CapacityFor(size());
      if (Capacity() <= capacity) return;
      old = Rebuild(capacity);
    }
    domain_.Retire(old);
  }

  [[nodiscard]] RcuMapStats Stats() const {
    MutexLock lock(mu_);
    const size_t size = this->size();
    return {.size = size, .capacity = Capacity(), .erased = used_.Read() - size, .rebuilds = rebuilds_.Read()};
  }

 private:
  template <class T>
  using Atomic = typename Sync::template Atomic<T>;
  template <class T>
  using Var = typename Sync::template Var<T>;

  // A slot is empty, erased, or the address of a node under 16 bits of its hash, the lowest of which is always 1, so
  // that no query takes the other two for its own. A search ends at an empty slot.
  static constexpr uint64_t kEmpty = 0, kErased = 1;
  static constexpr int kTagShift = 48;
  static constexpr uint64_t kAddressMask = (uint64_t{1} << kTagShift) - 1;
  static constexpr size_t kMinCapacity = 4;
  static_assert(sizeof(void*) == 8 && sizeof(size_t) == 8, "RcuMap packs an address and a tag into 64 bits");

  struct Node : Domain::Retiree {
    Node(size_t hash, K&& key, V&& value) : hash(hash), key(std::move(key)), value(std::move(value)) {}
    const size_t hash;
    const Var<K> key;
    const Var<V> value;
  };
  struct NodeDeleter {
    void operator()(Node* node) const noexcept { Sync::Delete(node); }
  };

  struct Table : Domain::Retiree {
    explicit Table(size_t capacity) : mask(capacity - 1), slots(std::make_unique<Atomic<uint64_t>[]>(capacity)) {}
    const size_t mask;
    const std::unique_ptr<Atomic<uint64_t>[]> slots;
  };

  static constexpr bool IsNode(uint64_t word) noexcept { return word > kErased; }
  static constexpr uint64_t Tag(size_t hash) noexcept { return hash >> kTagShift | 1; }
  static Node* NodeOf(uint64_t word) noexcept { return std::bit_cast<Node*>(word & kAddressMask); }
  static uint64_t WordOf(Node* node) noexcept {
    const auto address = std::bit_cast<uint64_t>(node);
    HOTPATH_CHECK((address & ~kAddressMask) == 0, "RcuMap: an address of more than 48 bits");
    return address | Tag(node->hash) << kTagShift;
  }
  // At most a half full, so that searches end soon. A new table is at most a quarter full: as much again is inserted
  // before the next one.
  static constexpr bool HasRoom(size_t used, size_t capacity) noexcept { return used <= capacity / 2; }
  static constexpr size_t CapacityFor(size_t size) noexcept {
    return size <= kMinCapacity / 4 ? kMinCapacity : std::bit_ceil(size * 4);
  }

  template <class Q>
  const Node* Lookup(size_t hash, const Q& query) const {
    const Table& table = *table_.load(std::memory_order::acquire);  // [T2] pairs T1
    size_t at = hash & table.mask;
    for (size_t left = table.mask + 1; left != 0; --left) {
      const uint64_t word = table.slots[at].load(std::memory_order::acquire);  // [S2] pairs S1 S4 S5 S6
      if (word == kEmpty) break;
      if (word >> kTagShift == Tag(hash)) {
        if (const Node* node = NodeOf(word); eq_(node->key.Read(), query)) return node;
      }
      at = (at + 1) & table.mask;
    }
    return nullptr;
  }

  // ---- Under the lock: only its owner changes tables, so that its own loads need no order ----

  struct Place {
    size_t at;   // the slot of the key, or where it should go
    bool found;  // the key is there
    bool fresh;  // the slot has never been used
  };

  size_t Capacity() const HOTPATH_REQUIRES(mu_) { return table_.load(std::memory_order::relaxed)->mask + 1; }
  Atomic<uint64_t>& Slot(size_t at) const HOTPATH_REQUIRES(mu_) {
    return table_.load(std::memory_order::relaxed)->slots[at];
  }

  template <class Q>
  Place Locate(size_t hash, const Q& query) const HOTPATH_REQUIRES(mu_) {
    const Table& table = *table_.load(std::memory_order::relaxed);
    std::optional<size_t> erased;
    for (size_t at = hash & table.mask;; at = (at + 1) & table.mask) {
      const uint64_t word = table.slots[at].load(std::memory_order::relaxed);
      if (word == kEmpty) return {erased.value_or(at), false, !erased.has_value()};
      if (word == kErased) {
        if (!erased) erased = at;
      } else if (word >> kTagShift == Tag(hash) && eq_(NodeOf(word)->key.Read(), query)) {
        return {at, true, false};
      }
    }
  }

  bool Put(K key, V value, bool assign) {
    const size_t hash = hash_(std::as_const(key));
    domain_.Register();
    std::unique_ptr<Node, NodeDeleter> node(Sync::template New<Node>(hash, std::move(key), std::move(value)));
    const uint64_t word = WordOf(node.get());
    Node* replaced = nullptr;
    Table* outgrown = nullptr;
    {
      MutexLock lock(mu_);
      Place place = Locate(hash, node->key.Read());
      if (place.found) {
        if (!assign) return false;
        replaced = NodeOf(Slot(place.at).load(std::memory_order::relaxed));
        Slot(place.at).store(word, std::memory_order::release);  // [S1] pairs S2 S3
      } else {
        if (place.fresh) {
          if (!HasRoom(used_.Read() + 1, Capacity())) {
            outgrown = Rebuild(CapacityFor(size()));
            place.at = FirstEmpty(*table_.load(std::memory_order::relaxed), hash);
          }
          used_.Write(used_.Read() + 1);
        }
        Slot(place.at).store(word, std::memory_order::release);  // [S4] pairs S2 S3
        SetSize(size() + 1);
      }
      static_cast<void>(node.release());
    }
    // Out of the lock: Retire may wait for a reader, and that reader may be about to write here.
    if (replaced != nullptr) domain_.Retire(replaced);
    if (outgrown != nullptr) domain_.Retire(outgrown);
    return replaced == nullptr;
  }

  // A slot before an empty one ends no search that an empty slot would not end. So it need not be marked as erased, nor
  // need the erased ones before it. Who sees that the entry is gone must see what was written before it went.
  void Vacate(size_t at) HOTPATH_REQUIRES(mu_) {
    const Table& table = *table_.load(std::memory_order::relaxed);
    if (table.slots[(at + 1) & table.mask].load(std::memory_order::relaxed) != kEmpty) {
      table.slots[at].store(kErased, std::memory_order::release);  // [S5] pairs S2 S3
      return;
    }
    do {
      table.slots[at].store(kEmpty, std::memory_order::release);  // [S6] pairs S2 S3
      used_.Write(used_.Read() - 1);
      at = (at - 1) & table.mask;
    } while (table.slots[at].load(std::memory_order::relaxed) == kErased);
  }

  // Where a key goes in a table that has no erased slots and not that key.
  static size_t FirstEmpty(const Table& table, size_t hash) {
    size_t at = hash & table.mask;
    while (table.slots[at].load(std::memory_order::relaxed) != kEmpty) at = (at + 1) & table.mask;
    return at;
  }

  // Puts all entries into a table of that capacity. Returns the old one, to be retired: it says for ever what was in
  // the map when it was replaced, and a reader who is in it has begun before that. Calls nothing of the user's.
  Table* Rebuild(size_t capacity) HOTPATH_REQUIRES(mu_) {
    Table* const old = table_.load(std::memory_order::relaxed);
    Table* const table = Sync::template New<Table>(capacity);
    for (size_t i = 0; i <= old->mask; ++i) {
      const uint64_t word = old->slots[i].load(std::memory_order::relaxed);
      if (!IsNode(word)) continue;
      table->slots[FirstEmpty(*table, NodeOf(word)->hash)].store(word, std::memory_order::relaxed);
    }
    used_.Write(size());
    rebuilds_.Write(rebuilds_.Read() + 1);
    table_.store(table, std::memory_order::release);  // [T1] pairs T2 T3
    return old;
  }

  void SetSize(size_t size) { size_.store(size, std::memory_order::relaxed); }

  // Read by every Find, hardly ever written.
  Domain& domain_;
  [[no_unique_address]] const Hash hash_{};
  [[no_unique_address]] const Eq eq_{};
  Atomic<Table*> table_{nullptr};

  alignas(Sync::kLineSize) mutable BasicOwnedLock<Sync, typename Sync::Mutex> mu_;
  Var<size_t> used_ HOTPATH_GUARDED_BY(mu_){0};  // slots that are not empty
  Var<uint64_t> rebuilds_ HOTPATH_GUARDED_BY(mu_){0};
  Atomic<size_t> size_{0};  // written under the lock
};

template <class K, class V, class Hash = absl::Hash<K>, class Eq = std::equal_to<>>
using RcuMap = BasicRcuMap<K, V, Hash, Eq>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_RCU_MAP_H_
