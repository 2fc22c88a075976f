#include "hotpath/core/arena.h"

#include <algorithm>

namespace hotpath {
namespace {

using arena_internal::Block;

// A block is 4 times the one before, for each costs a malloc; from here on twice, and no more than the last, so that a
// large arena is over-reserved by a block and not by half.
constexpr size_t kLarge = 256 << 10;
constexpr size_t kLargest = 1 << 20;

size_t Grown(size_t size) noexcept { return std::min((size < kLarge ? 4 : 2) * size, kLargest); }

// No object is larger; leaves room to add a header, a redzone and an alignment without overflow.
constexpr size_t kMaxBytes = PTRDIFF_MAX - 2 * Arena::kMaxAlign;

void PoisonFree(Block* block, std::byte* top) noexcept { asan::Poison(top, static_cast<size_t>(block->end() - top)); }

}  // namespace

Arena::~Arena() {
  DestroyUntil(nullptr);
  block_ = &root_;
  KeepSpare(0);
}

void* Arena::AllocateSlowly(size_t bytes, size_t align) {
  if (bytes == 0) return Allocate(1, align);
  if (std::max(bytes, options_.first_block) > kMaxBytes) throw std::bad_alloc();
  // Enough wherever the block lies. A block starts aligned to kGranule at least.
  const size_t enough = sizeof(Block) + asan::kRedzone + (align > kGranule ? align - kGranule : 0) + bytes;
  Block** link = &block_->next;
  while (*link != nullptr && (*link)->size < enough) link = &(*link)->next;
  Block* block = *link;
  if (block != nullptr) {
    *link = block->next;
  } else {
    size_t wanted = options_.first_block;
    if (block_ != &root_) {
      wanted = Grown(block_->size);
      // But no more than can be kept, if that is worth a block: or each request like this one would need a new one.
      const size_t left = (options_.max_retained - std::min(options_.max_retained, reserved_)) / kGranule * kGranule;
      if (left >= std::max(options_.first_block, kGranule)) wanted = std::min(wanted, left);
    }
    const size_t size = (std::max(wanted, enough) + kGranule - 1) / kGranule * kGranule;
    block = ::new (::operator new(size)) Block;
    block->size = size;
    reserved_ += size;
    PoisonFree(block, block->begin());
  }
  block->next = block_->next;
  block_->next = block;
  Enter(block);
  return Allocate(bytes, align);
}

// Bumps from the start of `block`, which follows block_.
void Arena::Enter(Block* block) noexcept {
  block->used_before = BytesUsed();
  block->pinned = block_ == &root_ ? 0 : block_->pinned + block->size;
  block_ = block;
  top_ = block->begin();
  end_ = block->end();
}

// Makes `block` current again, used up to `top`. The blocks after it become spare.
void Arena::LeaveBlocks(Block* block, std::byte* top) noexcept {
  PoisonFree(block, top);
  for (Block* spare = block->next; spare != nullptr; spare = spare->next) PoisonFree(spare, spare->begin());
  block_ = block;
  top_ = top;
  end_ = block->end();
  KeepSpare(options_.max_retained);
  if (block_ == &root_ && root_.next != nullptr) Enter(root_.next);  // so that the next mark lies where bumping starts
}

// Frees spare blocks until they are within `limit` together with the first block, which may be as good as spare.
void Arena::KeepSpare(size_t limit) noexcept {
  if (reserved_ - block_->pinned <= limit) return;
  size_t kept = block_ == &root_ ? 0 : root_.next->size;
  for (Block** link = &block_->next; *link != nullptr;) {
    Block* block = *link;
    if (kept <= limit && block->size <= limit - kept) {
      kept += block->size;
      link = &block->next;
    } else {
      *link = block->next;
      reserved_ -= block->size;
      asan::Unpoison(block->begin(), static_cast<size_t>(block->end() - block->begin()));
      ::operator delete(block);
    }
  }
}

void Arena::DestroyUntil(const Record* last) noexcept {
  newest_ = ++serial_;  // so that a destructor that rewinds past itself, or resets, is found out
  while (records_ != last) {
    Record* record = std::exchange(records_, records_->next);
    record->destroy(record);
  }
}

void Arena::Reset() noexcept {
  HOTPATH_CHECK(newest_ == 0, "reset of an arena with a mark outstanding (inside WithArena?) or a destructor running");
  DestroyUntil(nullptr);
  newest_ = 0;
  LeaveBlocks(&root_, root_.end());
}

size_t Arena::Trim() noexcept {
  const size_t before = reserved_;
  if (newest_ == 0 && BytesUsed() == 0) {
    block_ = &root_;
    top_ = end_ = root_.end();
  }
  KeepSpare(0);
  return before - reserved_;
}

void Arena::ThrowBadLength() { throw std::bad_array_new_length(); }

void Arena::Misused(const ArenaMark& mark) const noexcept {
  HOTPATH_CHECK(mark.arena_ == this, "rewind to a mark of another arena");
  HOTPATH_CHECK(mark.serial_ <= newest_, "rewind to a mark that was rewound, or rewound past, before");
  HOTPATH_CHECK(mark.serial_ == newest_, "rewind to a mark while a later one, or a destructor's run, is outstanding");
  __builtin_unreachable();
}

// ---- The arena of a thread ----

Arena& arena_internal::MakeThreadArena() {
  ThreadArena* mine = StdSync::New<ThreadArena>();
  thread_arenas[StdSync::ThreadIndex()] = mine;
  StdSync::AtThreadExit(*mine);
  return mine->arena;
}

void arena_internal::ThreadArena::AtExit(ThreadExitHook& hook) {
  thread_arenas[StdSync::ThreadIndex()] = nullptr;
  StdSync::Delete(static_cast<ThreadArena*>(&hook));
}

size_t TrimThreadArena() noexcept {
  arena_internal::ThreadArena* mine = arena_internal::thread_arenas[StdSync::ThreadIndex()];
  return mine == nullptr ? 0 : mine->arena.Trim();
}

}  // namespace hotpath
