#ifndef HOTPATH_CORE_EPOCH_FD_TABLE_H_
#define HOTPATH_CORE_EPOCH_FD_TABLE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/annotations.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/detail/lowest_free_bitmap.h"
#include "hotpath/core/epoch.h"
#include "hotpath/core/result.h"

namespace hotpath {

namespace epoch_fd_table_internal {
template <class T>
concept Object = std::is_object_v<T> && !std::is_array_v<T>;
}  // namespace epoch_fd_table_internal

// What belongs to a descriptor, and not to the object it refers to.
struct FdFlags {
  bool close_on_exec = false;
  friend bool operator==(FdFlags, FdFlags) = default;
};

struct FdTableOptions {
  int initial = 64;     // room made by the constructor
  int limit = 1 << 20;  // descriptors are below it
};

// EpochFdTable<T>: the descriptors of a process: small numbers for shared objects, looked up by every call.
//
// Contract  Linearizable, but for CloseOnExec. Insert takes the lowest free number; InsertAt never shows a closed
//           descriptor in between. An object is destroyed after its descriptors, every Ref and every shared_ptr, by
//           whichever thread finds out: what a close must do at once (end of file on a pipe) is not for ~T. ~T runs
//           without the lock and may call the table while that lives; of what was closed, it may run after the table's
//           end, or never if the domain falls idle.
// Progress  Get wait-free, but for a thread's first Pin. GetShared lock-free: a retry means that the descriptor was
//           replaced twice or reopened. All else blocking, except that a pinned thread waits for no reader.
// Cost      Get: Pin, a bound, 4 loads. GetShared: 2 loads and a count more. Insert: 1 allocation (unique_ptr: 2), the
//           lock, 2 words a power of 64. Remove: none; the lock and a Retire. 16 bytes a number of the room, which
//           doubles up to the limit, and 72 an open one.
// Not for   a Ref across a blocking wait (GetShared), a Ref that outlives the table, the child of a fork(2) that came
//           amid another thread's call other than Get and GetShared, a new_handler that reclaims or calls the table.
// Proof     epoch_fd_table_model fails if any [tag] below is weakened. Prior art: Linux fs/file.c, gVisor fd_table.go.
// Example   EpochFdTableTest.OpensDuplicatesAndCloses
template <epoch_fd_table_internal::Object T, SyncPolicy Sync = StdSync>
class BasicEpochFdTable {
  using Domain = BasicEpochDomain<Sync>;

 public:
  // What a descriptor was when it was closed.
  struct Removed {
    std::shared_ptr<T> object;
    FdFlags flags;
    uint64_t generation = 0;
  };

  // Refers to an object, or to none, and pins the epoch. Ends on the thread that got it, soon, before the table does.
  class [[nodiscard]] Ref {
   public:
    Ref(Ref&& other) noexcept : guard_(std::move(other.guard_)), object_(std::exchange(other.object_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
      object_ = std::exchange(other.object_, nullptr);
      guard_ = std::move(other.guard_);
      return *this;
    }

    explicit operator bool() const noexcept { return object_ != nullptr; }
    T* get() const noexcept { return object_; }
    T& operator*() const noexcept { return *operator->(); }
    T* operator->() const noexcept {
      HOTPATH_DCHECK(object_ != nullptr, "EpochFdTable: the descriptor was closed");
      return object_;
    }

   private:
    friend BasicEpochFdTable;
    Ref(typename Domain::Guard guard, T* object) noexcept : guard_(std::move(guard)), object_(object) {}

    typename Domain::Guard guard_;
    T* object_;
  };

  // May throw bad_alloc; then nothing has happened. So may Insert, InsertAt, Clone and ForEach, and in a thread's first
  // call of the domain Get, GetShared, Remove and CloseOnExec.
  explicit BasicEpochFdTable(FdTableOptions options = {}, Domain& domain = Domain::Default());
  // Closes everything, what their ~T open meanwhile too: destroys the objects that nobody else shares. No Ref may be
  // left.
  ~BasicEpochFdTable();
  BasicEpochFdTable(const BasicEpochFdTable&) = delete;
  BasicEpochFdTable& operator=(const BasicEpochFdTable&) = delete;

  // The object of a descriptor; none if it is closed, or no number of this table.
  [[nodiscard]] Ref Get(int fd) const {
    typename Domain::Guard guard = domain_.Pin();
    Block* const block = block_.load(std::memory_order::acquire);  // [R1] pairs W1
    T* object = nullptr;
    if (static_cast<uint32_t>(fd) < block->size) [[likely]] {
      object = block->objects()[fd].load(std::memory_order::acquire);  // [R2] pairs W3 W4
    }
    return Ref(std::move(guard), object);
  }
  // The same, to keep.
  [[nodiscard]] std::shared_ptr<T> GetShared(int fd) const;

  // Opens the lowest free number from min_fd on. EMFILE: there is none below the limit. EINVAL: min_fd is negative. A
  // failure drops the object. Null is a CHECK failure.
  Result<int> Insert(std::shared_ptr<T> object, FdFlags flags = {}, int min_fd = 0);
  template <class U, class D>
    requires std::constructible_from<std::shared_ptr<T>, std::unique_ptr<U, D>>
  Result<int> Insert(std::unique_ptr<U, D> object, FdFlags flags = {}, int min_fd = 0) {
    return Insert(std::shared_ptr<T>(std::move(object)), flags, min_fd);
  }
  // Opens this number. Returns the object that was there, null if the number was free. EBADF: it is not below the
  // limit.
  Result<std::shared_ptr<T>> InsertAt(int fd, std::shared_ptr<T> object, FdFlags flags = {});
  // Closes. EBADF: it is not open.
  Result<Removed> Remove(int fd);
  // Closes every descriptor with close_on_exec: for Get and GetShared one after the other, lowest first; for all else
  // in one step. Returns how many.
  size_t CloseOnExec();

  Result<FdFlags> GetFlags(int fd) const;  // EBADF
  Result<void> SetFlags(int fd, FdFlags flags);
  // A number that Insert and InsertAt give to one descriptor only: who finds another one than before knows that the
  // descriptor was reopened meanwhile. 0: closed.
  uint64_t Generation(int fd) const;

  size_t size() const;  // how many are open
  int limit() const;
  // From now on. Descriptors that are open already stay so, whatever their number (RLIMIT_NOFILE).
  void SetLimit(int limit);

  // The same descriptors of one moment, with the same generations and flags of their own, for the same objects.
  BasicEpochFdTable Clone() const { return BasicEpochFdTable(*this, Cloned{}); }

  // f(fd, object, flags) for the descriptors of one moment, lowest first. f may do with the table what it likes.
  template <class F>
    requires std::invocable<F&, int, const std::shared_ptr<T>&, FdFlags>
  void ForEach(F&& f) const;

 private:
  template <class U>
  using Atomic = typename Sync::template Atomic<U>;
  template <class U>
  using Var = typename Sync::template Var<U>;
  using Retiree = typename Domain::Retiree;
  struct Cloned {};

  // What owns the object of one opening of a descriptor.
  struct Node : Retiree {
    Node(std::shared_ptr<T> object, FdFlags flags) : object(std::move(object)), flags(flags) {}

    const Var<std::shared_ptr<T>> object;
    Var<Node*> replaced{nullptr};  // by this one, in one step; it may be gone
    // Under the lock.
    Var<uint64_t> generation{0};
    Var<FdFlags> flags;
    Var<Node*> next{nullptr};  // in Garbage
  };
  struct DeleteNode {
    void operator()(Node* node) const noexcept { Sync::Delete(node); }
  };

  // Room for `size` descriptors; two arrays follow. A descriptor is what its object says, null if it is closed. Its
  // node is stored before its object, and left when it is closed. So whoever, pinned, has seen an object that is not
  // null may look at the node, and at what that node replaced: it is the object's own, or a later one, and neither was
  // retired before the object was seen.
  struct Block : Retiree {
    static Block* New(size_t size);
    static void Destroy(Retiree* block) noexcept;
    Atomic<T*>* objects() noexcept { return static_cast<Atomic<T*>*>(static_cast<void*>(this + 1)); }
    Atomic<Node*>* nodes() noexcept { return static_cast<Atomic<Node*>*>(static_cast<void*>(objects() + size)); }

    const size_t size;

   private:
    explicit Block(size_t n) noexcept : size(n) {}
  };
  static_assert(alignof(Atomic<T*>) <= alignof(Block) && alignof(Atomic<Node*>) <= alignof(Atomic<T*>));

  // What a call made unreachable. Declared before the lock, and so retired after it: deleters are the user's code. The
  // thread has registered before the call changed anything, and so nothing is thrown.
  struct Garbage {
    explicit Garbage(Domain& domain) noexcept : domain(domain) {}
    ~Garbage() {
      while (nodes != nullptr) domain.Retire(std::exchange(nodes, nodes->next.Read()));
      if (block != nullptr) domain.Retire(block, &Block::Destroy);
    }
    Garbage(const Garbage&) = delete;
    Garbage& operator=(const Garbage&) = delete;

    Domain& domain;
    Node* nodes = nullptr;
    Block* block = nullptr;
  };

  BasicEpochFdTable(const BasicEpochFdTable& source, Cloned);

  Node* Find(int fd) const HOTPATH_REQUIRES(mu_) {
    const size_t number = static_cast<uint32_t>(fd);
    if (!used_.Contains(number)) return nullptr;
    return block_.load(std::memory_order::relaxed)->nodes()[number].load(std::memory_order::relaxed);
  }
  Block& MakeRoom(size_t fd, Garbage& garbage) HOTPATH_REQUIRES(mu_);
  void Open(Block& block, size_t fd, Node* node) HOTPATH_REQUIRES(mu_);
  void Close(int fd, Node& node, Garbage& garbage) HOTPATH_REQUIRES(mu_);
  template <class Which>
  size_t CloseEach(Which which, Garbage& garbage) HOTPATH_REQUIRES(mu_);

  Domain& domain_;
  Atomic<Block*> block_;  // written under the lock

  mutable typename Sync::Mutex mu_;
  size_t limit_ HOTPATH_GUARDED_BY(mu_);
  size_t open_ HOTPATH_GUARDED_BY(mu_) = 0;
  uint64_t generation_ HOTPATH_GUARDED_BY(mu_) = 0;                              // the last one given
  epoch_fd_table_internal::LowestFreeBitmap used_ HOTPATH_GUARDED_BY(mu_) = {};  // numbers of open descriptors
};

template <epoch_fd_table_internal::Object T>
using EpochFdTable = BasicEpochFdTable<T>;

}  // namespace hotpath

#include "hotpath/core/detail/epoch_fd_table_inl.h"  // IWYU pragma: export

#endif  // HOTPATH_CORE_EPOCH_FD_TABLE_H_
