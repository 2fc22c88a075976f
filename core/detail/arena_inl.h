#ifndef HOTPATH_CORE_DETAIL_ARENA_INL_H_
#define HOTPATH_CORE_DETAIL_ARENA_INL_H_

#include <cstddef>
#include <memory>

// What core/arena.h keeps inside an arena's blocks. Include that instead.

namespace hotpath::arena_internal {

// Heads a piece of the heap; the bytes that it serves follow. Blocks in use come first in the list, spare ones last.
struct alignas(16) Block {
  Block* next = nullptr;
  size_t size = sizeof(Block);  // with this header
  size_t used_before = 0;       // bytes used in the blocks before this one
  size_t pinned = 0;            // sizes of the blocks from the second to this one: what a rewind to here cannot free

  std::byte* begin() {
    void* after_header = this + 1;
    return static_cast<std::byte*>(after_header);
  }
  std::byte* end() { return begin() + (size - sizeof(Block)); }
};

// Something whose destructor is due at the rewind that takes it.
struct Record {
  Record* next;  // the one made before
  void (*destroy)(Record*) noexcept;
};

template <class T>
struct OwnedObject : Record {
  OwnedObject() : Record{nullptr, &Destroy} {}
  ~OwnedObject() {}
  static void Destroy(Record* record) noexcept {
    std::destroy_at(std::addressof(static_cast<OwnedObject*>(record)->value));
  }

  union {
    T value;
  };
};

template <class T>
struct alignas(T) alignas(Record) OwnedArray : Record {
  explicit OwnedArray(size_t n) : Record{nullptr, &Destroy}, size(n) {}
  static void Destroy(Record* record) noexcept {
    auto* array = static_cast<OwnedArray*>(record);
    for (size_t i = array->size; i > 0; --i) std::destroy_at(array->elements() + (i - 1));
  }
  T* elements() {
    void* after_header = this + 1;
    return static_cast<T*>(after_header);
  }

  size_t size;
};

}  // namespace hotpath::arena_internal

#endif  // HOTPATH_CORE_DETAIL_ARENA_INL_H_
