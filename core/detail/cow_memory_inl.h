#ifndef HOTPATH_CORE_DETAIL_COW_MEMORY_INL_H_
#define HOTPATH_CORE_DETAIL_COW_MEMORY_INL_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

// What core/cow_memory.h is made of: the tree of pages, what a shared mapping refers to, and the lock over both.

namespace hotpath::cow_memory_internal {

// Readers together, or one writer. A reader pays one RMW to enter and one to leave. A writer that has the mutex keeps
// new readers out, and waits for those inside only; they and other writers wait for the mutex, no fairer than it is.
// Less than 2^16 readers at once, a thread in nested callbacks counting more than once.
template <SyncPolicy Sync>
class HOTPATH_CAPABILITY("lock") ReadersWriterLock {
 public:
  ReadersWriterLock() = default;
  ReadersWriterLock(const ReadersWriterLock&) = delete;
  ReadersWriterLock& operator=(const ReadersWriterLock&) = delete;

  void LockShared() HOTPATH_ACQUIRE_SHARED() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    if (state_.fetch_add(1, std::memory_order::acquire) < kOneWriter) [[likely]]  // [L1] pairs L4
      return;
    UnlockShared();
    LockMutex(Sync::ThreadIndex());
    state_.fetch_add(1, std::memory_order::relaxed);  // the mutex orders it after the writer
    mu_.Unlock();
  }
  void UnlockShared() HOTPATH_RELEASE_SHARED() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    const uint32_t state = state_.fetch_sub(1, std::memory_order::release);  // [L2] pairs L3 L5
    if (state > kOneWriter && state % kOneWriter == 1) Sync::Wake(state_, 1);
  }
  void Lock() HOTPATH_ACQUIRE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    const uint32_t self = Sync::ThreadIndex(), writer = (self + 1) * kOneWriter;
    LockMutex(self);
    uint32_t state = writer + state_.fetch_add(writer, std::memory_order::acquire);  // [L3] pairs L2
    while (state != writer) {
      static_cast<void>(Sync::Park(state_, state));
      state = state_.load(std::memory_order::acquire);  // [L5] pairs L2
    }
  }
  void Unlock() HOTPATH_RELEASE() HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    state_.fetch_and(kOneWriter - 1, std::memory_order::release);  // [L4] pairs L1
    mu_.Unlock();
  }

 private:
  // The readers are counted below, above is ThreadIndex() + 1 of the writer: it can be told that it waits for itself.
  static constexpr uint32_t kOneWriter = uint32_t{1} << 16;
  static_assert(Sync::kMaxThreads < kOneWriter);

  // `self` is taken before the state is looked at: who has this thread's number there is this thread, for what earlier
  // threads of that number did happened before.
  void LockMutex(uint32_t self) HOTPATH_NO_THREAD_SAFETY_ANALYSIS {
    const uint32_t writer = state_.load(std::memory_order::relaxed) / kOneWriter;
    HOTPATH_CHECK(writer != self + 1, "CowMemory: used from a callback that is writing to it");
    HOTPATH_CHECK(writer == 0 || !Sync::Vanished(writer - 1),
                  "CowMemory: the thread that was writing did not survive fork(2)");
    mu_.Lock();
  }

  typename Sync::Mutex mu_;  // held by the writer
  typename Sync::template Atomic<uint32_t> state_{0};
};

template <SyncPolicy Sync>
class HOTPATH_SCOPED_CAPABILITY [[nodiscard]] ReadLock {
 public:
  explicit ReadLock(ReadersWriterLock<Sync>& lock) HOTPATH_ACQUIRE_SHARED(lock) : lock_(lock) { lock_.LockShared(); }
  ~ReadLock() HOTPATH_RELEASE() { lock_.UnlockShared(); }
  ReadLock(const ReadLock&) = delete;
  ReadLock& operator=(const ReadLock&) = delete;

 private:
  ReadersWriterLock<Sync>& lock_;
};

template <SyncPolicy Sync>
class HOTPATH_SCOPED_CAPABILITY [[nodiscard]] WriteLock {
 public:
  explicit WriteLock(ReadersWriterLock<Sync>& lock) HOTPATH_ACQUIRE(lock) : lock_(lock) { lock_.Lock(); }
  ~WriteLock() HOTPATH_RELEASE() { lock_.Unlock(); }
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

 private:
  ReadersWriterLock<Sync>& lock_;
};

// A pointer that shares the ownership of a T, which has `Sync::Atomic<uint64_t> references{1}`.
template <class T, SyncPolicy Sync>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T* object) noexcept : object_(object) {}  // takes over the one reference that a new T has
  Handle(const Handle& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) object_->references.fetch_add(1, std::memory_order::relaxed);
  }
  Handle(Handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Handle& operator=(Handle other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Handle() {
    if (object_ == nullptr) return;
    if (object_->references.fetch_sub(1, std::memory_order::acq_rel) == 1) Sync::Delete(object_);  // [H1] pairs H1
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

// What is known of a page beside its bytes: CowAccess, and these.
inline constexpr uint8_t kAccess = 0x07, kMapped = 0x40, kShared = 0x80;

// What a change of a range does to the attributes of its pages, and whether their bytes go.
struct Change {
  uint8_t keep, set;
  bool drops;

  uint8_t operator()(uint8_t attr) const { return static_cast<uint8_t>((attr & keep) | set); }
};

// What a write finds where a page should be.
enum class Fault : uint8_t { kNone, kZeroFill, kCopy, kSteal };

// A persistent radix tree from page numbers to attributes and pages: one version of an address space. It has no lock:
// one thread at a time uses a tree, or several read it. But nodes and pages belong to any number of trees, which
// several threads use at once.
//
// Ranges. A node covers an aligned block of pages, each of its slots a kFanout-th of that. What hangs from a slot is a
// node for a part of the slot's range, as small a part as does; the rest of the range has the slot's attributes and
// reads as zeros. So a mapping of any size is a few nodes, a lonely page one leaf, and no path is longer than the
// number of digits in a page number.
//
// Ownership. A tree may write to what has its epoch in `owner`; Fork moves both trees on to a new epoch, and that is
// all it does. What is older is either held by this tree alone, and becomes its own ("stolen"), or copied.
//
// References are weighted (Bevan; Watson and Watson; both PARLE 1987): each has a weight, a power of two kept beside
// it, and the object's count is the sum of them. To copy a node is to halve the weights beside its pointers, and
// touches none of its children. Whoever holds all the weight is alone: others come from splitting his reference only.
template <auto kOptions, SyncPolicy Sync>
class Tree {
  template <class T>
  using Atomic = typename Sync::template Atomic<T>;
  template <class T>
  using Var = typename Sync::template Var<T>;

 public:
  static constexpr unsigned kPageBits = kOptions.page_bits, kFanoutBits = kOptions.fanout_bits;
  static constexpr size_t kPageBytes = size_t{1} << kPageBits, kFanout = size_t{1} << kFanoutBits;
  static constexpr uint64_t kLastPage = ~uint64_t{0} >> kPageBits;
  static_assert(kPageBits >= 1 && kPageBits <= 30 && kFanoutBits >= 1 && kFanoutBits <= 8);
  static_assert((64 - kPageBits + kFanoutBits - 1) / kFanoutBits * kFanoutBits <= 64, "the root would be too wide");

 private:
  static constexpr uint8_t kWholeLog = kOptions.weight_bits;
  static_assert(kWholeLog >= 1 && kWholeLog <= 40);
  static constexpr uint64_t WeightOf(uint8_t log) { return uint64_t{1} << log; }

  struct Counted {
    Atomic<uint64_t> count{WeightOf(kWholeLog)};
  };

 public:
  struct Bytes {
    std::byte bytes[kPageBytes];
    constexpr Bytes() {}  // not zeroed: whoever makes a page fills it
  };

  struct Page : Counted {
    Page() {}  // user-provided, so that nobody zeroes the bytes

    Var<uint64_t> owner;
    Var<Bytes> bytes;
  };

 private:
  struct Links {
    std::array<Counted*, kFanout> target{};  // Page in a leaf, Node elsewhere; or null
    std::array<uint8_t, kFanout> attr{};
    uint64_t owner = 0;
  };
  using Logs = std::array<uint8_t, kFanout>;  // of the weights of Links::target; where that is null: any

  struct Node : Counted {
    Node(uint64_t first_page, unsigned shift_of_index) : first(first_page), shift(shift_of_index) {}

    bool IsLeaf() const { return shift == 0; }
    bool Covers(uint64_t page) const { return (page ^ first) >> shift >> kFanoutBits == 0; }
    uint64_t Last() const { return first | ((uint64_t{2} << (shift + kFanoutBits - 1)) - 1); }
    size_t IndexOf(uint64_t page) const { return page >> shift & (kFanout - 1); }

    const uint64_t first;  // page that it covers
    const unsigned shift;
    Atomic<uint32_t> splitting{0};  // 1: a tree that shares this node is halving the weights
    Var<Links> links;               // constant while the node is shared
    Var<Logs> logs;
  };

  // A place for a reference: the root, or one of a node that the tree owns.
  struct Slot {
    Counted** target;
    uint8_t* log;
    uint8_t* attr;
  };

 public:
  Tree() = default;
  Tree(Tree&& other) noexcept { Swap(other); }
  Tree& operator=(Tree&& other) noexcept {
    Tree(std::move(other)).Swap(*this);
    return *this;
  }
  ~Tree() {
    if (root_ != nullptr) ReleaseNode(static_cast<Node*>(root_), root_log_);
  }

  void Swap(Tree& other) noexcept {
    std::swap(root_, other.root_);
    std::swap(root_log_, other.root_log_);
    std::swap(root_attr_, other.root_attr_);
    std::swap(epoch_, other.epoch_);
    std::swap(mapped_, other.mapped_);
    std::swap(mapped_shared_, other.mapped_shared_);
    std::swap(resident_, other.resident_);
  }

  // Another tree of the same pages. No loop, no allocation, one RMW in kWholeLog forks.
  Tree Fork() noexcept {
    ++epoch_;
    return Share();
  }

  uint64_t mapped() const { return mapped_; }
  uint64_t mapped_shared() const { return mapped_shared_; }
  uint64_t resident() const { return resident_; }

  struct Found {
    uint8_t attr;
    const Page* page;  // null: zeros
  };
  Found Find(uint64_t number) const {
    uint8_t attr = root_attr_;
    for (const Counted* at = root_; at != nullptr;) {
      const Node& node = *static_cast<const Node*>(at);
      if (!node.Covers(number)) break;
      const Links& links = node.links.Read();
      const size_t i = node.IndexOf(number);
      attr = links.attr[i];
      at = links.target[i];
      if (node.IsLeaf()) return {attr, static_cast<const Page*>(at)};
    }
    return {attr, nullptr};
  }

  // f(first, last, attr, const Page*) for the pages from `first` to `last`, run by run in order, until it says false.
  // A page with bytes of its own is a run by itself.
  template <class F>
  bool Visit(uint64_t first, uint64_t last, F&& f) const {
    return VisitSlot(root_, root_attr_, first, last, f);
  }

  struct Census {
    uint64_t resident = 0, shared = 0, nodes = 0;
  };
  // Counts what the tree holds. A page is shared if another tree holds it too.
  Census Count() const {
    Census census;
    if (root_ != nullptr) CountNode(*static_cast<const Node*>(root_), root_log_, false, census);
    return census;
  }
  static constexpr size_t kNodeBytes = sizeof(Node);

  // enter(const void* node) says whether to go into a node, page(const void*) is told of each page in those.
  template <class Enter, class OnPage>
  void Walk(Enter&& enter, OnPage&& page) const {
    if (root_ != nullptr) WalkNode(*static_cast<const Node*>(root_), enter, page);
  }

  // This tree with the pages from `first` to `last` changed. This tree stays as it was, also if it throws bad_alloc.
  // Both have one epoch, so until one of the two is gone neither may be written to; and what both hold counts as
  // shared.
  Tree With(uint64_t first, uint64_t last, Change change) {
    Tree next = Share();
    Visit(first, last, [&](uint64_t from, uint64_t to, uint8_t attr, const Page* page) {
      const uint64_t pages = to - from + 1;
      next.mapped_ -= (attr & kMapped) != 0 ? pages : 0;
      next.mapped_shared_ -= (attr & kShared) != 0 ? pages : 0;
      next.mapped_ += (change(attr) & kMapped) != 0 ? pages : 0;
      next.mapped_shared_ += (change(attr) & kShared) != 0 ? pages : 0;
      if (change.drops && page != nullptr) --next.resident_;
      return true;
    });
    next.Apply(next.Root(), 0, kLastPage, first, last, change);
    return next;
  }

  // ---- Writing. A Place is good until the tree changes otherwise. ----

  class Place {
   public:
    Fault fault() const { return fault_; }

   private:
    friend Tree;
    Node* leaf;
    size_t index;
    Fault fault_;
  };

  // Makes the path to a page this tree's own. May throw bad_alloc, and then no page reads otherwise than before.
  // Does not allocate if it was called for this page since the last Fork.
  Place Locate(uint64_t number) {
    Slot slot = Root();
    for (;;) {
      if (*slot.target == nullptr || !static_cast<Node*>(*slot.target)->Covers(number)) {
        Plant(slot, number, number, true);
      }
      Node& node = Own(slot, epoch_);
      if (!node.IsLeaf()) {
        slot = At(node, node.IndexOf(number));
        continue;
      }
      Place place;
      place.leaf = &node;
      place.index = node.IndexOf(number);
      const Counted* target = node.links.Read().target[place.index];
      if (target == nullptr) {
        place.fault_ = Fault::kZeroFill;
      } else if (static_cast<const Page*>(target)->owner.Read() == epoch_) {
        place.fault_ = Fault::kNone;
      } else {
        place.fault_ = IsAlone(*target, node.logs.Read()[place.index]) ? Fault::kSteal : Fault::kCopy;
      }
      return place;
    }
  }

  static bool NeedsPage(Fault fault) { return fault == Fault::kZeroFill || fault == Fault::kCopy; }
  static Page* NewPage() { return Sync::template New<Page>(); }

  // The bytes to write to. `fresh`: from NewPage, if NeedsPage; it is taken over. Unless `keep`, all of the page is
  // about to be written, and the bytes may be anything.
  Bytes& Resolve(const Place& place, Page* fresh, bool keep) noexcept {
    const Slot slot = At(*place.leaf, place.index);
    Page* const page = static_cast<Page*>(*slot.target);
    switch (place.fault_) {
      case Fault::kNone:
        return page->bytes.Edit();
      case Fault::kSteal:
        page->owner.Write(epoch_);
        return page->bytes.Edit();
      case Fault::kZeroFill: {
        fresh->owner.Write(epoch_);
        Bytes& bytes = fresh->bytes.Edit();
        if (keep) std::memset(bytes.bytes, 0, kPageBytes);
        *slot.target = fresh;
        *slot.log = kWholeLog;
        ++resident_;
        return bytes;
      }
      case Fault::kCopy:
        break;
    }
    fresh->owner.Write(epoch_);
    Bytes& bytes = fresh->bytes.Edit();
    if (keep) std::memcpy(bytes.bytes, page->bytes.Read().bytes, kPageBytes);
    *slot.target = fresh;
    ReleasePage(page, std::exchange(*slot.log, kWholeLog));
    return bytes;
  }

 private:
  static constexpr uint64_t kNobody = ~uint64_t{0};  // no tree's epoch

  // ---- References ----

  static bool IsAlone(const Counted& object, uint8_t log) {
    return object.count.load(std::memory_order::acquire) == WeightOf(log);  // [C1] pairs C2
  }
  // Gives up a reference. True: it was the last, and the object is the caller's to destroy.
  static bool Drop(Counted& object, uint8_t log) {
    return IsAlone(object, log) ||
           object.count.fetch_sub(WeightOf(log), std::memory_order::acq_rel) == WeightOf(log);  // [C2] pairs C1 C2
  }
  static void ReleasePage(Page* page, uint8_t log) {
    if (Drop(*page, log)) Sync::Delete(page);
  }
  // No deeper than the tree.
  static void ReleaseNode(Node* node, uint8_t log) {
    if (!Drop(*node, log)) return;
    const Links& links = node->links.Read();
    const Logs& logs = node->logs.Read();
    // Most likely cold, each on a line of its own: without this, half of BM_CloneTouchAndDrop is waiting for them.
    for (const Counted* const target : links.target) __builtin_prefetch(target, 1);
    for (size_t i = 0; i < kFanout; ++i) {
      if (links.target[i] != nullptr) Release(node->IsLeaf(), links.target[i], logs[i]);
    }
    Sync::Delete(node);
  }
  static void Release(bool is_page, Counted* object, uint8_t log) {
    if (is_page) {
      ReleasePage(static_cast<Page*>(object), log);
    } else {
      ReleaseNode(static_cast<Node*>(object), log);
    }
  }

  // Halves a weight: the half goes to a second reference, whose log is returned. Weight one cannot be halved: more is
  // made, which only a holder does.
  static uint8_t Split(Counted& object, uint8_t& log) {
    if (log == 0) {
      object.count.fetch_add(WeightOf(kWholeLog) - 1, std::memory_order::relaxed);
      log = kWholeLog;
    }
    return --log;
  }

  Tree Share() noexcept {
    Tree other;
    other.root_ = root_;
    if (root_ != nullptr) other.root_log_ = Split(*root_, root_log_);
    other.root_attr_ = root_attr_;
    other.epoch_ = epoch_;
    other.mapped_ = mapped_;
    other.mapped_shared_ = mapped_shared_;
    other.resident_ = resident_;
    return other;
  }

  // ---- Nodes ----

  Slot Root() { return {&root_, &root_log_, &root_attr_}; }
  static Slot At(Node& node, size_t i) {
    Links& links = node.links.Edit();
    return {&links.target[i], &node.logs.Edit()[i], &links.attr[i]};
  }

  // The node in a slot of this tree's, made its own: by being of its epoch, by being held by nobody else, or by a copy.
  Node& Own(Slot slot, uint64_t epoch) {
    Node* const node = static_cast<Node*>(*slot.target);
    if (node->links.Read().owner == epoch) return *node;
    if (IsAlone(*node, *slot.log)) {
      node->links.Edit().owner = epoch_;
      return *node;
    }
    Node* const copy = Copy(*node);
    *slot.target = copy;
    ReleaseNode(node, std::exchange(*slot.log, kWholeLog));
    return *copy;
  }

  Node* Copy(Node& node) {
    Node* const copy = Sync::template New<Node>(node.first, node.shift);
    Links& links = copy->links.Edit();
    links = node.links.Read();
    links.owner = epoch_;
    for (SpinWait<Sync> wait; node.splitting.exchange(1, std::memory_order::acquire) != 0;) wait();  // [N1] pairs N2
    Logs& logs = node.logs.Edit();
    bool some_is_one = false;
    for (const uint8_t log : logs) some_is_one |= log == 0;
    if (!some_is_one) [[likely]] {
      for (uint8_t& log : logs) --log;
    } else {
      for (size_t i = 0; i < kFanout; ++i) {
        if (links.target[i] != nullptr) Split(*links.target[i], logs[i]);
      }
    }
    copy->logs.Edit() = logs;
    node.splitting.store(0, std::memory_order::release);  // [N2] pairs N1
    return copy;
  }

  // Puts a node into a slot: the smallest that covers `first`, `last` and what hangs there, which now hangs from it.
  // Unless `keep`, a node that says no more than a slot is not kept. To Locate it is the path to another page.
  void Plant(Slot slot, uint64_t first, uint64_t last, bool keep) {
    Node* const child = static_cast<Node*>(*slot.target);
    if (child != nullptr) {
      first = std::min(first, child->first);
      last = std::max(last, child->Last());
    }
    const unsigned level = first == last ? 0 : static_cast<unsigned>(std::bit_width(first ^ last) - 1) / kFanoutBits;
    const unsigned shift = level * kFanoutBits;
    Node* const node = Sync::template New<Node>(first & ~((uint64_t{2} << (shift + kFanoutBits - 1)) - 1), shift);
    Links& links = node->links.Edit();
    Logs& logs = node->logs.Edit();
    links.attr.fill(*slot.attr);
    links.owner = epoch_;
    logs.fill(kWholeLog);
    if (child != nullptr) {
      const size_t i = node->IndexOf(child->first);
      if (!keep && child->shift + kFanoutBits == shift && ChildrenOf(*child) == 0 && IsUniform(*child)) {
        links.attr[i] = child->links.Read().attr[0];  // it fills its slot, which can say as much
        ReleaseNode(child, *slot.log);
      } else {
        links.target[i] = child;
        logs[i] = *slot.log;
      }
    }
    *slot.target = node;
    *slot.log = kWholeLog;
  }

  // Changes pages `first` to `last` of a slot for pages `low` to `high`. What is not this tree's alone is copied: the
  // epoch says nothing here, for With() has two trees of one epoch.
  void Apply(Slot slot, uint64_t low, uint64_t high, uint64_t first, uint64_t last, const Change& change) {
    const bool whole = first == low && last == high;
    const uint8_t attr = change(*slot.attr);
    if (Node* const node = static_cast<Node*>(*slot.target); node == nullptr) {
      if (whole || attr == *slot.attr) {
        *slot.attr = attr;
        return;
      }
      Plant(slot, first, last, false);
    } else if (whole) {
      *slot.attr = attr;
      if (change.drops) {
        *slot.target = nullptr;
        return ReleaseNode(node, *slot.log);
      }
      first = node->first;
      last = std::min(node->Last(), kLastPage);
    } else if (!node->Covers(first) || !node->Covers(last)) {
      Plant(slot, first, last, false);
    }
    Node& node = Own(slot, kNobody);
    for (size_t i = node.IndexOf(first); i <= node.IndexOf(last); ++i) {
      const Slot child = At(node, i);
      if (node.IsLeaf()) {
        *child.attr = change(*child.attr);
        if (Counted* const page = *child.target; change.drops && page != nullptr) {
          *child.target = nullptr;
          ReleasePage(static_cast<Page*>(page), *child.log);
        }
      } else {
        const uint64_t child_low = node.first + (uint64_t{i} << node.shift);
        const uint64_t child_high = child_low + ((uint64_t{1} << node.shift) - 1);
        Apply(child, child_low, child_high, std::max(first, child_low), std::min(last, child_high), change);
      }
    }
    Prune(slot, node, low, high);
  }

  static size_t ChildrenOf(const Node& node) {
    return kFanout - static_cast<size_t>(std::ranges::count(node.links.Read().target, nullptr));
  }
  // Are the attributes of all slots the same? Those past the end of the address space are what Plant found.
  static bool IsUniform(const Node& node) {
    const std::array<uint8_t, kFanout>& attr = node.links.Read().attr;
    const size_t slots = node.Covers(kLastPage) ? node.IndexOf(kLastPage) + 1 : kFanout;
    return std::all_of(attr.begin(), attr.begin() + slots, [&](uint8_t other) { return other == attr[0]; });
  }

  // Takes a node out again that says nothing its slot could not say.
  static void Prune(Slot slot, Node& node, uint64_t low, uint64_t high) {
    const size_t children = ChildrenOf(node);
    if (children > 1 || (children == 1 && node.IsLeaf()) || !IsUniform(node)) return;
    const Links& links = node.links.Read();
    const uint8_t attr = links.attr[0];
    if (attr != *slot.attr && (node.first != low || std::min(node.Last(), kLastPage) != high)) return;
    *slot.attr = attr;
    *slot.target = nullptr;
    for (size_t i = 0; i < kFanout; ++i) {
      if (links.target[i] == nullptr) continue;
      *slot.target = links.target[i];
      *slot.log = node.logs.Read()[i];
    }
    Sync::Delete(&node);
  }

  // ---- Walks. No deeper than the tree. ----

  template <class F>
  static bool VisitSlot(const Counted* target, uint8_t attr, uint64_t first, uint64_t last, F& f) {
    if (target == nullptr) return f(first, last, attr, static_cast<const Page*>(nullptr));
    const Node& node = *static_cast<const Node*>(target);
    if (last < node.first || first > node.Last()) return f(first, last, attr, static_cast<const Page*>(nullptr));
    if (first < node.first) {
      if (!f(first, node.first - 1, attr, static_cast<const Page*>(nullptr))) return false;
      first = node.first;
    }
    const uint64_t end = std::min(last, node.Last());
    for (uint64_t at = first; at <= end;) {
      const Links& links = node.links.Read();
      const size_t i = node.IndexOf(at);
      const uint64_t to = std::min(end, at | ((uint64_t{1} << node.shift) - 1));
      if (node.IsLeaf() ? !f(at, at, links.attr[i], static_cast<const Page*>(links.target[i]))
                        : !VisitSlot(links.target[i], links.attr[i], at, to, f)) {
        return false;
      }
      if (to == end) break;
      at = to + 1;
    }
    return end == last || f(end + 1, last, attr, static_cast<const Page*>(nullptr));
  }

  static void CountNode(const Node& node, uint8_t log, bool shared, Census& census) {
    ++census.nodes;
    shared = shared || !IsAlone(node, log);
    const Links& links = node.links.Read();
    const Logs* const logs = shared ? nullptr : &node.logs.Read();  // others may be halving them
    for (size_t i = 0; i < kFanout; ++i) {
      const Counted* const target = links.target[i];
      if (target == nullptr) continue;
      const uint8_t child_log = shared ? uint8_t{0} : (*logs)[i];
      if (!node.IsLeaf()) {
        CountNode(*static_cast<const Node*>(target), child_log, shared, census);
      } else {
        ++census.resident;
        census.shared += shared || !IsAlone(*target, child_log);
      }
    }
  }

  template <class Enter, class OnPage>
  static void WalkNode(const Node& node, Enter& enter, OnPage& page) {
    if (!enter(static_cast<const void*>(&node))) return;
    for (const Counted* const target : node.links.Read().target) {
      if (target == nullptr) continue;
      if (node.IsLeaf()) {
        page(static_cast<const void*>(target));
      } else {
        WalkNode(*static_cast<const Node*>(target), enter, page);
      }
    }
  }

  Counted* root_ = nullptr;
  uint8_t root_log_ = kWholeLog;
  uint8_t root_attr_ = 0;
  uint64_t epoch_ = 0;
  uint64_t mapped_ = 0, mapped_shared_ = 0, resident_ = 0;
};

// The pages of a shared mapping: every fork of the memory that made it refers to it. They sit at the addresses they
// were mapped at.
template <auto kOptions, SyncPolicy Sync>
struct Region {
  using Pages = Tree<kOptions, Sync>;

  typename Sync::template Atomic<uint64_t> references{1};
  mutable ReadersWriterLock<Sync> lock;
  Pages pages HOTPATH_GUARDED_BY(lock);
};

// The shared mappings of a memory, by address. Constant once made, so forks share it.
template <auto kOptions, SyncPolicy Sync>
struct Shares {
  struct Share {
    uint64_t first, last;  // pages
    Handle<Region<kOptions, Sync>, Sync> region;
  };

  // Copies `from`, which may be null, but for the pages from `first` to `last`, and puts `region` there, if any.
  Shares(const Shares* from, uint64_t first, uint64_t last, Handle<Region<kOptions, Sync>, Sync> region) {
    list.reserve((from == nullptr ? 0 : from->list.size()) + 2);
    bool placed = !region;
    const auto place = [&] {
      if (!placed) list.push_back(Share{first, last, std::move(region)});
      placed = true;
    };
    if (from != nullptr) {
      for (const Share& share : from->list) {
        if (share.first < first) list.push_back(Share{share.first, std::min(share.last, first - 1), share.region});
        if (share.last < first) continue;
        if (share.first > last || share.last > last) {
          place();
          list.push_back(Share{std::max(share.first, last + 1), share.last, share.region});
        }
      }
    }
    place();
  }

  bool Overlaps(uint64_t first, uint64_t last) const {
    const auto at = std::ranges::lower_bound(list, first, {}, &Share::last);
    return at != list.end() && at->first <= last;
  }
  Region<kOptions, Sync>& At(uint64_t page) const {
    const auto at = std::ranges::lower_bound(list, page, {}, &Share::last);
    HOTPATH_DCHECK(at != list.end() && at->first <= page);
    return *at->region.get();
  }

  typename Sync::template Atomic<uint64_t> references{1};
  std::vector<Share> list;  // ascending, disjoint
};

}  // namespace hotpath::cow_memory_internal

#endif  // HOTPATH_CORE_DETAIL_COW_MEMORY_INL_H_
