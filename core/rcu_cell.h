#ifndef HOTPATH_CORE_RCU_CELL_H_
#define HOTPATH_CORE_RCU_CELL_H_

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/parking.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/epoch.h"

namespace hotpath {

// RcuCell<T>: one immutable value, read all the time, replaced now and then by another one.
//
// Contract  A read gets the value that the constructor or one write put there, none older than what happened before the
//           read or than this thread read before. Writes are in one order, and no Update is lost. A Snapshot, Read's
//           argument and a LoadShared stay what they are, whatever is written, even when the cell ends.
// Progress  Load, Read, LoadShared wait-free, but for a thread's first (EpochDomain::Pin). Writes blocking: they wait
//           for one another and, but in a thread that is pinned, for room in the domain (EpochDomain::Retire).
// Cost      Load: EpochDomain::Pin and 2 loads; no RMW, no shared line written, no reference count. LoadShared: 1 RMW
//           on the value's count. A write: 1 allocation, the lock, EpochDomain::Retire of the old value.
// Not for   reads held across a blocking wait (LoadShared is); tables that are copied for each change (RcuMap); small
//           trivially copyable values (SeqlockStats); the child of a fork(2) that came amid another thread's write: its
//           next write is a CHECK failure.
// Proof     rcu_cell_model fails if any [tag] below is weakened.
// Example   RcuCellTest.ReadersSeeOneConfigurationWhileAnotherReplacesIt
template <class T, SyncPolicy Sync = StdSync>
  requires(std::is_object_v<T> && !std::is_array_v<T> && !std::is_const_v<T> && !std::is_volatile_v<T> &&
           std::move_constructible<T>)
class BasicRcuCell {
  struct Node;

 public:
  using Domain = BasicEpochDomain<Sync>;

  // The value at one moment. Pins the epoch: for the length of a call, not across a blocking wait, and it ends on the
  // thread that made it. Movable; moved from: only to be destroyed or assigned to.
  class [[nodiscard]] Snapshot {
   public:
    const T& operator*() const noexcept { return node_->value; }
    const T* operator->() const noexcept { return std::addressof(node_->value); }
    const T* get() const noexcept { return std::addressof(node_->value); }

   private:
    friend BasicRcuCell;
    Snapshot(typename Domain::Guard guard, const Node* node) noexcept : guard_(std::move(guard)), node_(node) {}
    typename Domain::Guard guard_;
    const Node* node_;
  };

  // The domain outlives the cell. As all writes, may throw bad_alloc and what T's move throws; then nothing changed.
  explicit BasicRcuCell(T initial, Domain& domain = Domain::Default())
      : domain_(domain), current_(MakeNode([&]() -> T&& { return std::move(initial); })) {}
  // No other thread may be in a call. The value goes when no Snapshot needs it any more.
  ~BasicRcuCell() { RetireNode(current_.load(std::memory_order::relaxed)); }
  BasicRcuCell(const BasicRcuCell&) = delete;
  BasicRcuCell& operator=(const BasicRcuCell&) = delete;

  [[nodiscard]] Snapshot Load() const {
    typename Domain::Guard guard = domain_.Pin();
    const Node* node = current_.load(std::memory_order::acquire);  // [R1] pairs W1
    return Snapshot(std::move(guard), node);
  }

  // f(const T&), which stays that value for the length of the call. Nothing that f returns may point into it.
  template <std::invocable<const T&> F>
  decltype(auto) Read(F&& f) const {
    const Snapshot snapshot = Load();
    return std::invoke(std::forward<F>(f), *snapshot);
  }

  // May be kept for as long as you like, by any thread, and longer than the cell and its domain.
  [[nodiscard]] std::shared_ptr<const T> LoadShared() const {
    const Snapshot snapshot = Load();
    return Share(*snapshot.node_);
  }

  void Store(T value) {
    Swap([&]() -> T&& { return std::move(value); });
  }

  // Returns the value that was replaced, to keep for as long as you like.
  std::shared_ptr<const T> Exchange(T value) {
    std::shared_ptr<const T> old;
    Swap([&]() -> T&& { return std::move(value); }, &old);
    return old;
  }

  // Replaces the value by make(const T&), run once, other writers excluded, readers not. If make throws, nothing is
  // replaced. It runs pinned: not across a blocking wait. It may read this cell, and gets the old value; to write it is
  // a CHECK failure, also from the end of another value, which may come where make retires something. It may write
  // other cells, but not two cells each in the other's make.
  template <class F>
    requires std::is_invocable_r_v<T, F, const T&>
  void Update(F&& make) {
    domain_.Register();
    Node* old;
    {
      const MutexLock lock(mu_);
      // Who is pinned may wait for the lock. So what make retires must not wait for who is pinned: it does not, if this
      // thread is pinned too.
      const typename Domain::Guard guard = domain_.Pin();
      old = current_.load(std::memory_order::relaxed);
      Publish(MakeNode([&]() -> T { return std::invoke(std::forward<F>(make), std::as_const(old->value)); }));
    }
    RetireNode(old);
  }

  // Replaces the value if it is still the one in `seen`, which is a Snapshot of this cell. False if not.
  bool CompareAndStore(const Snapshot& seen, T value) {
    domain_.Register();
    Node* made = MakeNode([&]() -> T&& { return std::move(value); });
    Node* old;
    {
      const MutexLock lock(mu_);
      old = current_.load(std::memory_order::relaxed);
      if (old == seen.node_) {
        Publish(made);
        made = nullptr;
      }
    }
    if (made != nullptr) {
      FreeNode(made);
      return false;
    }
    RetireNode(old);
    return true;
  }

 private:
  // Owns itself through `self` until it is retired and nobody is pinned any more. LoadShared makes it be owned longer.
  struct Node : Domain::Retiree {
    template <class F>
    // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): nodes are never copied or moved
    explicit Node(F&& make) : value(std::forward<F>(make)()) {}
    typename Sync::template Var<std::shared_ptr<Node>> self;
    T value;
  };

  template <class F>
  static Node* MakeNode(F&& make) {
    std::shared_ptr<Node> node = std::make_shared<Node>(std::forward<F>(make));
    Node* raw = node.get();
    raw->self.Write(std::move(node));
    return raw;
  }
  static void FreeNode(typename Domain::Retiree* node) {
    const std::shared_ptr<Node> last = std::move(static_cast<Node*>(node)->self.Edit());
  }
  static std::shared_ptr<const T> Share(const Node& node) {
    return std::shared_ptr<const T>(node.self.Read(), std::addressof(node.value));
  }

  // Not under the lock: Retire may wait for a reader, who may wait for the lock in CompareAndStore.
  void RetireNode(Node* node) { domain_.Retire(node, &FreeNode); }

  template <class F>
  void Swap(F&& make, std::shared_ptr<const T>* out = nullptr) {
    domain_.Register();
    Node* made = MakeNode(std::forward<F>(make));
    Node* old;
    {
      const MutexLock lock(mu_);
      old = current_.load(std::memory_order::relaxed);
      Publish(made);
    }
    if (out != nullptr) *out = Share(*old);
    RetireNode(old);
  }

  void Publish(Node* node) noexcept { current_.store(node, std::memory_order::release); }  // [W1] pairs R1

  Domain& domain_;
  typename Sync::template Atomic<Node*> current_;

  // Apart from what every read touches.
  alignas(Sync::kLineSize) BasicOwnedLock<Sync, typename Sync::Mutex> mu_;
};

template <class T>
using RcuCell = BasicRcuCell<T>;

}  // namespace hotpath

#endif  // HOTPATH_CORE_RCU_CELL_H_
