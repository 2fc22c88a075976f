#ifndef HOTPATH_KERNEL_SPARSE_BYTES_H_
#define HOTPATH_KERNEL_SPARSE_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/container/btree_map.h"
#include "hotpath/kernel/io_cursor.h"

namespace hotpath::kernel {

// The contents of a regular file: a size up to 2^63-1 and the 4 KiB pages that were written. A hole costs nothing and
// reads as zeros. Space reserved by fallocate(2) counts in blocks() and costs one map entry, however long it is.
// Offsets and counts are the caller's to check: never negative, offset + count <= abi::kMaxFileSize.
class SparseBytes {
 public:
  // `total` is a running sum of the page bytes held by all files; this one adds and subtracts its own.
  explicit SparseBytes(uint64_t& total) : total_(total) {}
  ~SparseBytes() { total_ -= pages_.size() * abi::kPageSize; }
  SparseBytes(const SparseBytes&) = delete;
  SparseBytes& operator=(const SparseBytes&) = delete;

  int64_t size() const { return size_; }
  uint64_t blocks() const { return allocated_pages_ * (abi::kPageSize / 512); }  // in 512-byte units, as stat(2)

  size_t Read(int64_t offset, ReadCursor& out) const;  // 0 at or past the end
  void Write(int64_t offset, WriteCursor& in);         // all of it
  // Copies at most `count` bytes of `from`, which may be this file if the ranges do not overlap. Holes stay holes where
  // whole pages line up. Returns the bytes copied: short at the end of `from`.
  size_t CopyFrom(const SparseBytes& from, int64_t from_offset, int64_t offset, size_t count);
  void Resize(int64_t size);                     // bytes past a smaller size are gone: a later growth reads zeros
  void Reserve(int64_t offset, int64_t length);  // allocates blocks, changes no byte and no size
  void Punch(int64_t offset, int64_t length);    // makes a hole
  std::optional<int64_t> NextData(int64_t offset) const;  // SEEK_DATA: nothing at or past the end, or no data left
  std::optional<int64_t> NextHole(int64_t offset) const;  // SEEK_HOLE: the end of the file is a hole

 private:
  using Page = std::unique_ptr<std::byte[]>;

  std::byte* PageForWrite(uint64_t index);
  void Allocate(uint64_t first, uint64_t last);  // page numbers, half open
  void Deallocate(uint64_t first, uint64_t last);
  void ZeroWithin(int64_t offset, int64_t length);  // the part of one page

  uint64_t& total_;
  int64_t size_ = 0;
  absl::btree_map<uint64_t, Page> pages_;        // by page number
  absl::btree_map<uint64_t, uint64_t> extents_;  // allocated pages, first -> past the last; never touching
  uint64_t allocated_pages_ = 0;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_SPARSE_BYTES_H_
