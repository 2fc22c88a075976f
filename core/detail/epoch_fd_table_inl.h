#ifndef HOTPATH_CORE_DETAIL_EPOCH_FD_TABLE_INL_H_
#define HOTPATH_CORE_DETAIL_EPOCH_FD_TABLE_INL_H_

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/result.h"

// The bodies of core/epoch_fd_table.h. Include that instead.
//
// Every call that may unlink something registers its thread with the domain and allocates what it needs first: from
// there on nothing throws. What it unlinks is retired, and what it failed to use is destroyed, without the lock.

namespace hotpath {

// ---- Life ----

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
BasicEpochFdTable<T, Sync>::BasicEpochFdTable(FdTableOptions options, Domain& domain)
    : domain_(domain), block_(nullptr), limit_(static_cast<size_t>(options.limit)) {
  HOTPATH_CHECK(options.initial >= 0 && options.limit >= 0, "EpochFdTable: sizes are not negative");
  const size_t room = std::min(static_cast<size_t>(options.initial), limit_);
  used_.Reserve(room);
  block_.store(Block::New(room), std::memory_order::relaxed);
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
BasicEpochFdTable<T, Sync>::BasicEpochFdTable(const BasicEpochFdTable& source, Cloned)
    : BasicEpochFdTable(FdTableOptions{.initial = 0}, source.domain_) {
  domain_.Register();
  Garbage garbage(domain_);
  const MutexLock lock(source.mu_);
  limit_ = source.limit_;
  generation_ = source.generation_;
  if (source.open_ == 0) return;
  Block& block = MakeRoom(source.used_.End() - 1, garbage);
  for (size_t fd = source.used_.LowestTaken(0); fd < source.used_.capacity(); fd = source.used_.LowestTaken(fd + 1)) {
    const Node& node = *source.Find(static_cast<int>(fd));
    Node* const copy = Sync::template New<Node>(node.object.Read(), node.flags.Read());
    copy->generation.Write(node.generation.Read());
    Open(block, fd, copy);
  }
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
BasicEpochFdTable<T, Sync>::~BasicEpochFdTable() {
  for (Garbage closed(domain_);;) {
    {
      const MutexLock lock(mu_);
      if (CloseEach([](const Node&) { return true; }, closed) == 0) break;
    }
    while (closed.nodes != nullptr) {
      const std::unique_ptr<Node, DeleteNode> node(std::exchange(closed.nodes, closed.nodes->next.Read()));
    }
  }
  Block::Destroy(block_.load(std::memory_order::relaxed));
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
auto BasicEpochFdTable<T, Sync>::Block::New(size_t size) -> Block* {
  constexpr size_t kSlot = sizeof(Atomic<T*>) + sizeof(Atomic<Node*>);
  Block* const block = ::new (::operator new(sizeof(Block) + size * kSlot)) Block(size);
  for (size_t fd = 0; fd < size; ++fd) std::construct_at(block->objects() + fd, nullptr);
  for (size_t fd = 0; fd < size; ++fd) std::construct_at(block->nodes() + fd, nullptr);
  return block;
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
void BasicEpochFdTable<T, Sync>::Block::Destroy(Retiree* retiree) noexcept {
  Block* const block = static_cast<Block*>(retiree);
  std::destroy_n(block->nodes(), block->size);
  std::destroy_n(block->objects(), block->size);
  std::destroy_at(block);
  ::operator delete(block);
}

// ---- Look-up ----

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
std::shared_ptr<T> BasicEpochFdTable<T, Sync>::GetShared(int fd) const {
  const typename Domain::Guard guard = domain_.Pin();
  Block* const block = block_.load(std::memory_order::acquire);  // [R3] pairs W1
  if (static_cast<uint32_t>(fd) >= block->size) return nullptr;
  for (;;) {
    T* const object = block->objects()[fd].load(std::memory_order::acquire);  // [R4] pairs W3 W4
    if (object == nullptr) return nullptr;
    const Node* node = block->nodes()[fd].load(std::memory_order::acquire);  // [R5] pairs W2
    if (node->object.Read().get() == object) return node->object.Read();
    // InsertAt is between its two stores, or the descriptor has changed since its object was loaded.
    node = node->replaced.Read();
    if (node != nullptr && node->object.Read().get() == object) return node->object.Read();
  }
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
Result<FdFlags> BasicEpochFdTable<T, Sync>::GetFlags(int fd) const {
  const MutexLock lock(mu_);
  const Node* const node = Find(fd);
  if (node == nullptr) return Code::kEBADF;
  return node->flags.Read();
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
uint64_t BasicEpochFdTable<T, Sync>::Generation(int fd) const {
  const MutexLock lock(mu_);
  const Node* const node = Find(fd);
  return node == nullptr ? 0 : node->generation.Read();
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
size_t BasicEpochFdTable<T, Sync>::size() const {
  const MutexLock lock(mu_);
  return open_;
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
int BasicEpochFdTable<T, Sync>::limit() const {
  const MutexLock lock(mu_);
  return static_cast<int>(limit_);
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
template <class F>
  requires std::invocable<F&, int, const std::shared_ptr<T>&, FdFlags>
void BasicEpochFdTable<T, Sync>::ForEach(F&& f) const {
  struct Descriptor {
    int fd;
    std::shared_ptr<T> object;
    FdFlags flags;
  };
  std::vector<Descriptor> descriptors;
  {
    const MutexLock lock(mu_);
    descriptors.reserve(open_);
    for (size_t number = used_.LowestTaken(0); number < used_.capacity(); number = used_.LowestTaken(number + 1)) {
      const int fd = static_cast<int>(number);
      const Node* const node = Find(fd);
      descriptors.push_back({fd, node->object.Read(), node->flags.Read()});
    }
  }
  for (const Descriptor& descriptor : descriptors) {
    std::invoke(f, descriptor.fd, descriptor.object, descriptor.flags);
  }
}

// ---- Change ----

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
Result<int> BasicEpochFdTable<T, Sync>::Insert(std::shared_ptr<T> object, FdFlags flags, int min_fd) {
  HOTPATH_CHECK(object != nullptr, "EpochFdTable: a descriptor needs an object");
  if (min_fd < 0) return Code::kEINVAL;
  domain_.Register();
  std::unique_ptr<Node, DeleteNode> node(Sync::template New<Node>(std::move(object), flags));
  Garbage garbage(domain_);
  const MutexLock lock(mu_);
  const size_t fd = used_.LowestFree(static_cast<size_t>(min_fd));
  if (fd >= limit_) return Code::kEMFILE;
  Block& block = MakeRoom(fd, garbage);
  node->generation.Write(++generation_);
  Open(block, fd, node.release());
  return static_cast<int>(fd);
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
Result<std::shared_ptr<T>> BasicEpochFdTable<T, Sync>::InsertAt(int fd, std::shared_ptr<T> object, FdFlags flags) {
  HOTPATH_CHECK(object != nullptr, "EpochFdTable: a descriptor needs an object");
  domain_.Register();
  std::unique_ptr<Node, DeleteNode> node(Sync::template New<Node>(std::move(object), flags));
  Garbage garbage(domain_);
  const MutexLock lock(mu_);
  const size_t number = static_cast<uint32_t>(fd);
  if (number >= limit_) return Code::kEBADF;
  Block& block = MakeRoom(number, garbage);
  node->generation.Write(++generation_);
  Node* const replaced = Find(fd);
  node->replaced.Write(replaced);
  Open(block, number, node.release());
  if (replaced == nullptr) return std::shared_ptr<T>();
  garbage.nodes = replaced;
  return replaced->object.Read();
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
auto BasicEpochFdTable<T, Sync>::Remove(int fd) -> Result<Removed> {
  domain_.Register();
  Garbage garbage(domain_);
  const MutexLock lock(mu_);
  Node* const node = Find(fd);
  if (node == nullptr) return Code::kEBADF;
  Close(fd, *node, garbage);
  return Removed{node->object.Read(), node->flags.Read(), node->generation.Read()};
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
size_t BasicEpochFdTable<T, Sync>::CloseOnExec() {
  domain_.Register();
  Garbage garbage(domain_);
  const MutexLock lock(mu_);
  return CloseEach([](const Node& node) { return node.flags.Read().close_on_exec; }, garbage);
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
Result<void> BasicEpochFdTable<T, Sync>::SetFlags(int fd, FdFlags flags) {
  const MutexLock lock(mu_);
  Node* const node = Find(fd);
  if (node == nullptr) return Code::kEBADF;
  node->flags.Write(flags);
  return {};
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
void BasicEpochFdTable<T, Sync>::SetLimit(int limit) {
  HOTPATH_CHECK(limit >= 0, "EpochFdTable: sizes are not negative");
  const MutexLock lock(mu_);
  limit_ = static_cast<size_t>(limit);
}

// The current block, replaced by a larger one if `fd` has no room in it: readers go on in the one they have.
template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
auto BasicEpochFdTable<T, Sync>::MakeRoom(size_t fd, Garbage& garbage) -> Block& {
  Block* const block = block_.load(std::memory_order::relaxed);
  if (fd < block->size) return *block;
  const size_t size = std::min(std::max(std::bit_ceil(fd + 1), block->size * 2), std::max(limit_, fd + 1));
  used_.Reserve(size);
  Block* const larger = Block::New(size);
  for (size_t i = used_.LowestTaken(0); i < used_.capacity(); i = used_.LowestTaken(i + 1)) {
    larger->nodes()[i].store(block->nodes()[i].load(std::memory_order::relaxed), std::memory_order::relaxed);
    larger->objects()[i].store(block->objects()[i].load(std::memory_order::relaxed), std::memory_order::relaxed);
  }
  block_.store(larger, std::memory_order::release);  // [W1] pairs R1 R3
  garbage.block = block;
  return *larger;
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
void BasicEpochFdTable<T, Sync>::Open(Block& block, size_t fd, Node* node) {
  block.nodes()[fd].store(node, std::memory_order::release);                         // [W2] pairs R5
  block.objects()[fd].store(node->object.Read().get(), std::memory_order::release);  // [W3] pairs R2 R4
  if (node->replaced.Read() != nullptr) return;
  used_.Add(fd);
  ++open_;
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
void BasicEpochFdTable<T, Sync>::Close(int fd, Node& node, Garbage& garbage) {
  // Who finds it closed finds what was opened before: a descriptor that was moved is at one of its numbers.
  block_.load(std::memory_order::relaxed)
      ->objects()[fd]
      .store(nullptr, std::memory_order::release);  // [W4] pairs R2 R4
  used_.Remove(static_cast<size_t>(fd));
  --open_;
  node.next.Write(std::exchange(garbage.nodes, &node));
}

template <epoch_fd_table_internal::Object T, SyncPolicy Sync>
template <class Which>
size_t BasicEpochFdTable<T, Sync>::CloseEach(Which which, Garbage& garbage) {
  const size_t before = open_;
  for (size_t number = used_.LowestTaken(0); number < used_.capacity(); number = used_.LowestTaken(number + 1)) {
    const int fd = static_cast<int>(number);
    Node* const node = Find(fd);
    if (which(*node)) Close(fd, *node, garbage);
  }
  return before - open_;
}

}  // namespace hotpath

#endif  // HOTPATH_CORE_DETAIL_EPOCH_FD_TABLE_INL_H_
