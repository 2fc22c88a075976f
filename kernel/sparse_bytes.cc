#include "hotpath/kernel/sparse_bytes.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

namespace hotpath::kernel {
namespace {

constexpr int64_t kPage = static_cast<int64_t>(abi::kPageSize);

uint64_t PageOf(int64_t offset) { return static_cast<uint64_t>(offset) / abi::kPageSize; }
size_t WithinPage(int64_t offset) { return static_cast<size_t>(offset % kPage); }
// First page at or after `offset`; offsets up to 2^63 are fine.
uint64_t PageAtOrAfter(int64_t offset) { return (static_cast<uint64_t>(offset) + abi::kPageSize - 1) / abi::kPageSize; }

}  // namespace

size_t SparseBytes::Read(int64_t offset, ReadCursor& out) const {
  if (offset >= size_) return 0;
  size_t left = std::min<uint64_t>(out.left(), static_cast<uint64_t>(size_ - offset));
  const size_t total = left;
  auto page = pages_.lower_bound(PageOf(offset));
  while (left > 0) {
    // A run of zeros up to the next page that exists, or a part of that page.
    const uint64_t index = PageOf(offset);
    size_t part;
    if (page != pages_.end() && page->first == index) {
      part = std::min(left, abi::kPageSize - WithinPage(offset));
      PutBytes(out, page->second.get() + WithinPage(offset), part);
      ++page;
    } else {
      part = left;
      if (page != pages_.end()) {
        part = std::min<uint64_t>(left, page->first * abi::kPageSize - static_cast<uint64_t>(offset));
      }
      PutZeros(out, part);
    }
    offset += static_cast<int64_t>(part);
    left -= part;
  }
  return total;
}

std::byte* SparseBytes::PageForWrite(uint64_t index) {
  Page& page = pages_[index];
  if (page == nullptr) {
    page = std::make_unique<std::byte[]>(abi::kPageSize);
    total_ += abi::kPageSize;
  }
  return page.get();
}

void SparseBytes::Write(int64_t offset, WriteCursor& in) {
  if (in.left() == 0) return;
  const int64_t end = offset + static_cast<int64_t>(in.left());
  Allocate(PageOf(offset), PageAtOrAfter(end));
  while (in.left() > 0) {
    const size_t part = std::min(in.left(), abi::kPageSize - WithinPage(offset));
    TakeBytes(in, PageForWrite(PageOf(offset)) + WithinPage(offset), part);
    offset += static_cast<int64_t>(part);
  }
  size_ = std::max(size_, end);
}

size_t SparseBytes::CopyFrom(const SparseBytes& from, int64_t from_offset, int64_t offset, size_t count) {
  if (from_offset >= from.size_) return 0;
  const size_t total = std::min<uint64_t>(count, static_cast<uint64_t>(from.size_ - from_offset));
  const int64_t end = offset + static_cast<int64_t>(total);
  std::byte bytes[abi::kPageSize];
  size_t left = total;
  while (left > 0) {
    const size_t part = std::min({left, abi::kPageSize - WithinPage(from_offset), abi::kPageSize - WithinPage(offset)});
    if (part == abi::kPageSize && !from.pages_.contains(PageOf(from_offset))) {
      Punch(offset, kPage);
    } else {
      const std::span<std::byte> piece(bytes, part);
      ReadCursor read(std::span(&piece, 1));
      from.Read(from_offset, read);
      const std::span<const std::byte> copy(bytes, part);
      WriteCursor write(std::span(&copy, 1));
      Write(offset, write);
    }
    from_offset += static_cast<int64_t>(part);
    offset += static_cast<int64_t>(part);
    left -= part;
  }
  size_ = std::max(size_, end);
  return total;
}

void SparseBytes::ZeroWithin(int64_t offset, int64_t length) {
  const auto page = pages_.find(PageOf(offset));
  if (page != pages_.end()) std::memset(page->second.get() + WithinPage(offset), 0, static_cast<size_t>(length));
}

void SparseBytes::Resize(int64_t size) {
  if (size <= size_) {  // also of the same size: what was reserved past the end goes, as on tmpfs
    if (WithinPage(size) != 0) ZeroWithin(size, kPage - size % kPage);
    Deallocate(PageAtOrAfter(size), UINT64_MAX);
  }
  size_ = size;
}

void SparseBytes::Reserve(int64_t offset, int64_t length) { Allocate(PageOf(offset), PageAtOrAfter(offset + length)); }

void SparseBytes::Punch(int64_t offset, int64_t length) {
  const int64_t end = length > abi::kMaxFileSize - offset ? abi::kMaxFileSize : offset + length;
  const uint64_t first_whole = PageAtOrAfter(offset);
  const uint64_t past_whole = PageOf(end);
  if (PageOf(offset) == PageOf(end)) {  // inside one page
    ZeroWithin(offset, end - offset);
    return;
  }
  if (WithinPage(offset) != 0) ZeroWithin(offset, kPage - offset % kPage);
  if (WithinPage(end) != 0) ZeroWithin(end - end % kPage, end % kPage);
  if (first_whole < past_whole) Deallocate(first_whole, past_whole);
}

void SparseBytes::Allocate(uint64_t first, uint64_t last) {
  // Swallow every extent that overlaps or touches [first, last).
  auto it = extents_.upper_bound(first);
  if (it != extents_.begin() && std::prev(it)->second >= first) --it;
  if (it != extents_.end() && it->first <= first && it->second >= last) return;  // the usual case: a rewrite
  while (it != extents_.end() && it->first <= last) {
    first = std::min(first, it->first);
    last = std::max(last, it->second);
    allocated_pages_ -= it->second - it->first;
    it = extents_.erase(it);
  }
  allocated_pages_ += last - first;
  extents_.emplace(first, last);
}

void SparseBytes::Deallocate(uint64_t first, uint64_t last) {
  auto page = pages_.lower_bound(first);
  while (page != pages_.end() && page->first < last) {
    total_ -= abi::kPageSize;
    page = pages_.erase(page);
  }
  auto it = extents_.upper_bound(first);
  if (it != extents_.begin() && std::prev(it)->second > first) --it;
  while (it != extents_.end() && it->first < last) {
    const auto [begin, end] = *it;
    allocated_pages_ -= end - begin;
    it = extents_.erase(it);
    if (begin < first) {
      extents_.emplace(begin, first);
      allocated_pages_ += first - begin;
    }
    if (end > last) {
      extents_.emplace(last, end);
      allocated_pages_ += end - last;
    }
    it = extents_.lower_bound(end);  // inserting moved the iterators
  }
}

std::optional<int64_t> SparseBytes::NextData(int64_t offset) const {
  if (offset >= size_) return std::nullopt;
  const auto page = pages_.lower_bound(PageOf(offset));
  if (page == pages_.end()) return std::nullopt;
  const int64_t start = std::max(offset, static_cast<int64_t>(page->first * abi::kPageSize));
  if (start >= size_) return std::nullopt;
  return start;
}

std::optional<int64_t> SparseBytes::NextHole(int64_t offset) const {
  if (offset >= size_) return std::nullopt;
  uint64_t index = PageOf(offset);
  for (auto page = pages_.find(index); page != pages_.end() && page->first == index; ++page) ++index;
  if (index == PageOf(offset)) return offset;
  return index > PageOf(size_) ? size_ : std::min(size_, static_cast<int64_t>(index * abi::kPageSize));
}

}  // namespace hotpath::kernel
