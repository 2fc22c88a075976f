#include "hotpath/kernel/memory_manager.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "hotpath/kernel/devices.h"
#include "hotpath/kernel/try.h"

namespace hotpath::kernel {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kLowestHint = 65536;  // vm.mmap_min_addr

bool Aligned(uint64_t address) { return address % kPage == 0; }
uint64_t PageUp(uint64_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

bool IsMapType(int type) {
  return type == abi::kMapPrivate || type == abi::kMapShared || type == abi::kMapSharedValidate;
}

// What mmap(2) asks of the file, in Linux's order.
Result<void> CheckFile(const File& file, int prot, int type, uint64_t offset, uint64_t length) {
  const Inode& inode = file.inode();
  const uint64_t size_limit = inode.IsRegular() ? abi::kMaxFileSize : UINT64_MAX;
  if (offset / kPage > (size_limit - length) / kPage) return Code::kEOVERFLOW;
  if (!IsMapType(type)) return Code::kEINVAL;
  const bool shared = type != abi::kMapPrivate;
  if (shared && (prot & PROT_WRITE) != 0 && !file.writable()) return Code::kEACCES;
  if (!file.readable()) return Code::kEACCES;
  if ((prot & PROT_EXEC) != 0 && (inode.fs.flags & abi::kMsNoExec) != 0) return Code::kEPERM;
  const bool zero = inode.type() == S_IFCHR && DeviceOf(inode.rdev) == Device::kZero;
  if (!inode.IsRegular() && !zero) return Code::kENODEV;
  return {};
}

}  // namespace

AddressSpace::~AddressSpace() {
  total_ -= mapped_;
  if (program_) ++program_->write_opens;
}

void AddressSpace::SetProgram(InodeRef program) {
  --program->write_opens;
  program_ = std::move(program);
}

std::unique_ptr<AddressSpace> AddressSpace::Copy() const {
  auto copy = std::make_unique<AddressSpace>(brk_base_, total_);
  copy->mappings_ = mappings_;
  copy->mapped_ = mapped_;
  copy->last_object_ = last_object_;
  total_ += mapped_;
  copy->brk_ = brk_;
  copy->search_from_ = search_from_;
  copy->gap_above_ = gap_above_;
  if (program_) copy->SetProgram(program_);
  return copy;
}

AddressSpace::Mappings::iterator AddressSpace::Containing(uint64_t address) {
  auto it = mappings_.upper_bound(address);
  if (it == mappings_.begin() || std::prev(it)->second.end <= address) return mappings_.end();
  return std::prev(it);
}

bool AddressSpace::IsFree(uint64_t start, uint64_t end) const {
  auto it = mappings_.upper_bound(start);
  if (it != mappings_.begin() && std::prev(it)->second.end > start) return false;
  return it == mappings_.end() || it->first >= end;
}

uint64_t AddressSpace::FindGap(uint64_t length) {
  // Top down. A search that failed to find room above search_from_ need not look there again for anything larger.
  uint64_t top = search_from_;
  if (length <= gap_above_) {
    top = abi::kMmapTop;
    gap_above_ = 0;
  }
  auto it = mappings_.lower_bound(top);
  for (;;) {
    const uint64_t floor = it == mappings_.begin() ? kLowestHint : std::max(std::prev(it)->second.end, kLowestHint);
    if (floor < top) {
      if (top - floor >= length) {
        search_from_ = top - length;
        return search_from_;
      }
      gap_above_ = std::max(gap_above_, top - floor);
    }
    if (it == mappings_.begin()) return 0;
    --it;
    top = std::min(top, it->first);
  }
}

void AddressSpace::Insert(uint64_t start, Mapping mapping) {
  mapped_ += mapping.end - start;
  total_ += mapping.end - start;
  const uint64_t end = mapping.end;
  mappings_.insert_or_assign(start, std::move(mapping));
  Merge(start, end);
}

// True if `after` is the seamless continuation of `before`.
bool AddressSpace::Joins(const Mappings::value_type& before, const Mappings::value_type& after) {
  const Mapping& a = before.second;
  const Mapping& b = after.second;
  if (a.end != after.first || a.prot != b.prot || a.shared != b.shared || a.may_write != b.may_write ||
      a.heap != b.heap || a.file != b.file || a.object != b.object) {
    return false;
  }
  return (a.file == nullptr && a.object == 0) || a.offset + (a.end - before.first) == b.offset;
}

void AddressSpace::Merge(uint64_t first, uint64_t last) {
  auto it = mappings_.upper_bound(first);
  if (it != mappings_.begin()) --it;
  if (it != mappings_.begin()) --it;
  while (it != mappings_.end() && it->first <= last) {
    const auto next = std::next(it);
    if (next == mappings_.end()) return;
    if (Joins(*it, *next)) {
      it->second.end = next->second.end;
      it = std::prev(mappings_.erase(next));
    } else {
      it = next;
    }
  }
}

void AddressSpace::Split(uint64_t at) {
  auto it = mappings_.upper_bound(at);
  if (it == mappings_.begin()) return;
  --it;
  if (it->first == at || it->second.end <= at) return;
  Mapping tail = it->second;
  tail.offset += at - it->first;
  it->second.end = at;
  mappings_.emplace(at, std::move(tail));
}

void AddressSpace::Remove(uint64_t start, uint64_t end) {
  Split(start);
  Split(end);
  auto it = mappings_.lower_bound(start);
  while (it != mappings_.end() && it->first < end) {
    mapped_ -= it->second.end - it->first;
    total_ -= it->second.end - it->first;
    it = mappings_.erase(it);
  }
  search_from_ = std::max(search_from_, std::min(end, abi::kMmapTop));
}

// True if one mapping reaches over both ends: removing [start, end) makes two of it.
bool AddressSpace::SplitsOne(uint64_t start, uint64_t end) const {
  const auto it = mappings_.upper_bound(start);
  if (it == mappings_.begin()) return false;
  return std::prev(it)->first < start && std::prev(it)->second.end > end;
}

Result<uint64_t> AddressSpace::Map(uint64_t hint, uint64_t length, int prot, int flags, std::shared_ptr<File> file,
                                   int64_t offset, const Limits& limits) {
  if (!Aligned(static_cast<uint64_t>(offset))) return Code::kEINVAL;
  if (length == 0) return Code::kEINVAL;
  const bool no_replace = (flags & abi::kMapFixedNoReplace) != 0;
  const bool fixed = (flags & abi::kMapFixed) != 0 || no_replace;
  if (length > abi::kTaskSize) return Code::kENOMEM;
  length = PageUp(length);
  if (mappings_.size() > abi::kMaxMappings) return Code::kENOMEM;
  uint64_t address = 0;
  if (fixed) {
    if (hint > abi::kTaskSize - length) return Code::kENOMEM;
    if (!Aligned(hint)) return Code::kEINVAL;
    if (hint < kLowestHint) return Code::kEPERM;  // vm.mmap_min_addr; Linux lets root go lower
    if (no_replace && !IsFree(hint, hint + length)) return Code::kEEXIST;
    address = hint;
  } else {
    const uint64_t wanted = hint == 0 ? 0 : std::max(PageUp(hint), kLowestHint);
    if (wanted != 0 && wanted <= abi::kTaskSize - length && IsFree(wanted, wanted + length)) {
      address = wanted;
    } else if (address = FindGap(length); address == 0) {
      return Code::kENOMEM;
    }
  }
  const int type = flags & abi::kMapType;
  if (file != nullptr) {
    HOTPATH_KERNEL_TRY(CheckFile(*file, prot, type, static_cast<uint64_t>(offset), length));
  } else if (type != abi::kMapPrivate && type != abi::kMapShared) {
    return Code::kEINVAL;
  }
  const bool shared = type != abi::kMapPrivate;
  if (shared && (flags & abi::kMapGrowsDown) != 0) return Code::kEINVAL;
  uint64_t replaced = 0;  // bytes that MAP_FIXED takes away count for nothing
  if (fixed) {
    auto it = mappings_.upper_bound(address);
    if (it != mappings_.begin()) --it;
    for (; it != mappings_.end() && it->first < address + length; ++it) {
      const uint64_t from = std::max(it->first, address);
      const uint64_t to = std::min(it->second.end, address + length);
      if (from < to) replaced += to - from;
    }
  }
  if (mapped_ - replaced + length > limits.address_space) return Code::kENOMEM;
  if (fixed) Remove(address, address + length);
  Mapping mapping;
  mapping.end = address + length;
  mapping.prot = prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
  mapping.shared = shared;
  mapping.may_write = file == nullptr || !shared || file->writable();
  mapping.offset = file == nullptr ? 0 : static_cast<uint64_t>(offset);
  mapping.object = file == nullptr && shared ? ++last_object_ : 0;
  mapping.file = std::move(file);
  Insert(address, std::move(mapping));
  return address;
}

Result<void> AddressSpace::Unmap(uint64_t address, uint64_t length) {
  if (!Aligned(address) || address > abi::kTaskSize || length > abi::kTaskSize - address) return Code::kEINVAL;
  length = PageUp(length);
  if (length == 0) return Code::kEINVAL;
  if (mappings_.size() >= abi::kMaxMappings && SplitsOne(address, address + length)) return Code::kENOMEM;
  Remove(address, address + length);
  return {};
}

Result<void> AddressSpace::Protect(uint64_t address, uint64_t length, int prot) {
  const int grows = prot & (abi::kProtGrowsDown | abi::kProtGrowsUp);
  if (grows == (abi::kProtGrowsDown | abi::kProtGrowsUp)) return Code::kEINVAL;
  prot &= ~grows;
  if (!Aligned(address)) return Code::kEINVAL;
  if (length == 0) return {};
  const uint64_t end = address + PageUp(length);
  if (PageUp(length) == 0 || end <= address) return Code::kENOMEM;
  if ((prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | abi::kProtSem)) != 0) return Code::kEINVAL;
  if (grows != 0) {  // no mapping here grows by itself: EINVAL if there is one at all
    auto first = mappings_.upper_bound(address);
    if (first != mappings_.begin() && std::prev(first)->second.end > address) return Code::kEINVAL;
    const bool inside = first != mappings_.end() && first->first < end;
    return inside && grows == abi::kProtGrowsDown ? Code::kEINVAL : Code::kENOMEM;
  }
  const int bits = prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
  uint64_t at = address;
  Result<void> result;
  while (at < end) {
    auto it = mappings_.upper_bound(at);
    if (it == mappings_.begin() || std::prev(it)->second.end <= at) {
      result = Code::kENOMEM;
      break;
    }
    --it;
    if ((bits & PROT_WRITE) != 0 && !it->second.may_write) {
      result = Code::kEACCES;
      break;
    }
    const uint64_t until = std::min(it->second.end, end);
    if (it->second.prot != bits) {
      Split(at);
      Split(until);
      mappings_.find(at)->second.prot = bits;
    }
    at = until;
  }
  Merge(address, at);
  return result;
}

Result<uint64_t> AddressSpace::Remap(uint64_t address, uint64_t old_length, uint64_t new_length, int flags,
                                     uint64_t new_address, const Limits& limits) {
  const bool may_move = (flags & abi::kMremapMayMove) != 0;
  const bool fixed = (flags & abi::kMremapFixed) != 0;
  const bool keep = (flags & abi::kMremapDontUnmap) != 0;
  if ((flags & ~(abi::kMremapMayMove | abi::kMremapFixed | abi::kMremapDontUnmap)) != 0) return Code::kEINVAL;
  if ((fixed || keep) && !may_move) return Code::kEINVAL;
  if (keep && old_length != new_length) return Code::kEINVAL;
  if (!Aligned(address)) return Code::kEINVAL;
  old_length = PageUp(old_length);
  new_length = PageUp(new_length);
  if (new_length == 0 || new_length > abi::kTaskSize) return Code::kEINVAL;
  if (fixed) {
    if (!Aligned(new_address) || new_address > abi::kTaskSize - new_length) return Code::kEINVAL;
    if (address + old_length > new_address && new_address + new_length > address) return Code::kEINVAL;
    if (new_address < kLowestHint) return Code::kEPERM;
  }
  auto found = Containing(address);
  if (found == mappings_.end()) return Code::kEFAULT;
  const bool duplicate = old_length == 0;  // a second view of shared pages
  if (duplicate && !found->second.shared) return Code::kEINVAL;
  const bool several = fixed && old_length == new_length;             // since Linux 6.17 a plain move may span mappings
  const bool in_place = new_length <= old_length && !fixed && !keep;  // merely unmaps the rest
  if (!several && !in_place && std::min(old_length, new_length) > found->second.end - address) return Code::kEFAULT;
  // What is in the way at a fixed target goes now, even if the call then fails, and may take the source along.
  if (fixed && !several) Remove(new_address, new_address + new_length);
  if (new_length < old_length || in_place) {
    if (new_length < old_length) HOTPATH_KERNEL_TRY(Unmap(address + new_length, old_length - new_length));
    if (!fixed) return address;
    old_length = new_length;
  }
  found = Containing(address);
  if (found == mappings_.end()) return Code::kEFAULT;
  const uint64_t end = address + old_length;
  if (end > found->second.end && !several) return Code::kEFAULT;
  const uint64_t freed = duplicate || keep ? 0 : old_length;
  if (mapped_ - freed + new_length > limits.address_space && new_length > freed) return Code::kENOMEM;
  Mapping grown = found->second;
  if (!fixed && !keep && !duplicate && found->second.end == end && new_length <= abi::kTaskSize - address &&
      IsFree(end, address + new_length)) {  // grow in place
    grown.offset += end - found->first;
    grown.end = address + new_length;
    Insert(end, std::move(grown));
    return address;
  }
  if (!may_move) return Code::kENOMEM;
  uint64_t target = new_address;
  if (!fixed) {
    const bool hinted = keep && new_address != 0 && Aligned(new_address) &&
                        new_address <= abi::kTaskSize - new_length && IsFree(new_address, new_address + new_length);
    if (!hinted && (target = FindGap(new_length)) == 0) return Code::kENOMEM;
  }
  std::vector<std::pair<uint64_t, Mapping>> moved;
  if (!several) {
    grown.offset += address - found->first;
    grown.end = target + new_length;
    moved.emplace_back(target, std::move(grown));
  } else {
    for (auto it = found; it != mappings_.end() && it->first < end; ++it) {
      const uint64_t from = std::max(it->first, address);
      Mapping piece = it->second;
      piece.offset += from - it->first;
      piece.end = std::min(it->second.end, end) - address + target;
      moved.emplace_back(from - address + target, std::move(piece));
    }
  }
  if (!duplicate && !keep) Remove(address, end);
  for (auto& [start, mapping] : moved) {
    mapping.heap = false;
    if (several) Remove(start, mapping.end);
    Insert(start, std::move(mapping));
  }
  return target;
}

Result<void> AddressSpace::Advise(uint64_t address, uint64_t length, int advice) const {
  switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case 22:  // MADV_POPULATE_READ
    case 23:  // MADV_POPULATE_WRITE
      break;
    default:
      return Code::kEINVAL;
  }
  if (!Aligned(address)) return Code::kEINVAL;
  if (length != 0 && PageUp(length) == 0) return Code::kEINVAL;
  const uint64_t end = address + PageUp(length);
  if (end < address) return Code::kEINVAL;
  uint64_t at = address;
  while (at < end) {
    const auto it = mappings_.upper_bound(at);
    if (it == mappings_.begin() || std::prev(it)->second.end <= at) return Code::kENOMEM;
    at = std::prev(it)->second.end;
  }
  return {};
}

uint64_t AddressSpace::Brk(uint64_t address, const Limits& limits) {
  if (address < brk_base_ || address > abi::kTaskSize) return brk_;
  if (address - brk_base_ > limits.data) return brk_;
  const uint64_t old_end = PageUp(brk_);
  const uint64_t new_end = PageUp(address);
  if (new_end < old_end) {
    Remove(new_end, old_end);
  } else if (new_end > old_end) {
    if (!IsFree(old_end, new_end) || mapped_ + (new_end - old_end) > limits.address_space) return brk_;
    Mapping heap;
    heap.end = new_end;
    heap.prot = PROT_READ | PROT_WRITE;
    heap.heap = true;
    Insert(old_end, std::move(heap));
  }
  brk_ = address;
  return brk_;
}

void MemoryManager::Create(Pid task, uint64_t brk_base) {
  spaces_[task] = std::make_shared<AddressSpace>(brk_base, mapped_bytes_);
}

void MemoryManager::Share(Pid from, Pid to) {
  std::shared_ptr<AddressSpace> space = spaces_.at(from);
  spaces_[to] = std::move(space);
}

void MemoryManager::Copy(Pid from, Pid to) {
  std::shared_ptr<AddressSpace> space = spaces_.at(from)->Copy();
  spaces_[to] = std::move(space);
}

void MemoryManager::Drop(Pid task) {
  const auto node = spaces_.extract(task);
  static_cast<void>(node);
}

}  // namespace hotpath::kernel
