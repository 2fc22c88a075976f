#include "hotpath/kernel/fd_manager.h"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "hotpath/kernel/try.h"

namespace hotpath::kernel {
namespace {

constexpr size_t kBits = 64;

size_t Index(Fd fd) { return static_cast<size_t>(fd); }

// The first zero bit at or after `from`; kBits if there is none.
size_t FirstZeroFrom(uint64_t word, size_t from) {
  return static_cast<size_t>(std::countr_one(word | ((uint64_t{1} << from) - 1)));
}

void SetBit(std::vector<uint64_t>& words, size_t bit, bool value) {
  const uint64_t mask = uint64_t{1} << bit % kBits;
  if (value) {
    words[bit / kBits] |= mask;
  } else {
    words[bit / kBits] &= ~mask;
  }
}

}  // namespace

const std::shared_ptr<File>* FdTable::Find(Fd fd) const {
  if (fd < 0 || Index(fd) >= slots_.size() || slots_[Index(fd)].file == nullptr) return nullptr;
  return &slots_[Index(fd)].file;
}

bool FdTable::IsReserved(Fd fd) const {
  if (Index(fd) >= slots_.size() || slots_[Index(fd)].file != nullptr) return false;
  return (used_[Index(fd) / kBits] >> Index(fd) % kBits & 1) != 0;
}

Fd FdTable::LowestFree(Fd minimum) const {
  if (mutation_ == Mutation::kNextFdNotLowest) {
    for (Fd fd = end(); fd > minimum; --fd) {
      if (slots_[Index(fd - 1)].file != nullptr) return fd;
    }
    return minimum;
  }
  // The rest of the first word, then the first word that is not full: the bits of full_ say which.
  const size_t from = Index(minimum);
  size_t word = from / kBits;
  if (word >= used_.size()) return minimum;
  size_t bit = FirstZeroFrom(used_[word], from % kBits);
  if (bit == kBits) {
    ++word;
    size_t group = word / kBits;
    size_t first = word % kBits;
    while (group < full_.size() && (word = FirstZeroFrom(full_[group], first)) == kBits) {
      ++group;
      first = 0;
    }
    word = group < full_.size() ? group * kBits + word : used_.size();
    bit = word < used_.size() ? FirstZeroFrom(used_[word], 0) : 0;
  }
  return static_cast<Fd>(std::min(word, used_.size()) * kBits + bit);
}

void FdTable::Mark(Fd fd, bool used) {
  const size_t word = Index(fd) / kBits;
  if (word >= used_.size()) {
    used_.resize(word + 1);
    full_.resize(word / kBits + 1);
  }
  SetBit(used_, Index(fd), used);
  SetBit(full_, word, used_[word] == ~uint64_t{0});
}

Result<Fd> FdTable::Reserve(Fd minimum, uint64_t limit) {
  const Fd fd = LowestFree(minimum);
  if (static_cast<uint64_t>(fd) >= limit) return Code::kEMFILE;
  if (Index(fd) >= slots_.size()) slots_.resize(Index(fd) + 1);
  Mark(fd, true);
  return fd;
}

void FdTable::CancelReservation(Fd fd) { Mark(fd, false); }

void FdTable::Install(Fd fd, std::shared_ptr<File> file, bool cloexec) {
  if (Index(fd) >= slots_.size()) slots_.resize(Index(fd) + 1);
  Mark(fd, true);
  slots_[Index(fd)] = {std::move(file), cloexec};
  ++open_;
}

Result<void> FdTable::Close(Fd fd) {
  if (Find(fd) == nullptr) return Code::kEBADF;
  const std::shared_ptr<File> file = std::move(slots_[Index(fd)].file);
  slots_[Index(fd)] = {};
  Mark(fd, false);
  --open_;
  if (file->inode().locks != nullptr) file->inode().locks->ReleaseOwner(this);
  return {};
}

void FdTable::CloseAll() {
  for (Fd fd = 0; fd < end() && open_ > 0; ++fd) {
    if (Find(fd) != nullptr) static_cast<void>(Close(fd));
  }
}

void FdTable::CloseOnExec() {
  for (Fd fd = 0; fd < end(); ++fd) {
    if (Find(fd) != nullptr && cloexec(fd)) static_cast<void>(Close(fd));
  }
}

std::unique_ptr<FdTable> FdTable::Copy() const {
  auto copy = std::make_unique<FdTable>(mutation_);
  Fd highest = end();
  while (highest > 0 && slots_[Index(highest - 1)].file == nullptr) --highest;
  copy->slots_.assign(slots_.begin(), slots_.begin() + highest);
  copy->used_.resize((Index(highest) + kBits - 1) / kBits);
  copy->full_.resize((copy->used_.size() + kBits - 1) / kBits);
  for (Fd fd = 0; fd < highest; ++fd) {
    if (slots_[Index(fd)].file == nullptr) continue;
    copy->Mark(fd, true);
    ++copy->open_;
    if (mutation_ == Mutation::kForkCopiesOffset) {
      std::shared_ptr<File>& file = copy->slots_[Index(fd)].file;
      if (file->inode().IsRegular()) file = file->CopyWithOwnOffset();
    }
  }
  return copy;
}

void FdManager::Create(Pid task) { tables_[task] = std::make_shared<FdTable>(mutation_); }

void FdManager::Share(Pid from, Pid to) {
  if (mutation_ == Mutation::kCloneFilesCopied) return Copy(from, to);
  std::shared_ptr<FdTable> table = tables_.at(from);
  tables_[to] = std::move(table);
}

void FdManager::Copy(Pid from, Pid to) {
  if (mutation_ == Mutation::kForkSharesTable) {
    std::shared_ptr<FdTable> table = tables_.at(from);
    tables_[to] = std::move(table);
    return;
  }
  std::shared_ptr<FdTable> table = tables_.at(from)->Copy();
  tables_[to] = std::move(table);
}

void FdManager::Move(Pid from, Pid to) {
  std::shared_ptr<FdTable> table = std::move(tables_.at(from));
  tables_.erase(from);
  tables_[to] = std::move(table);
}

void FdManager::Unshare(Pid task) {
  std::shared_ptr<FdTable>& table = tables_.at(task);
  if (table.use_count() > 1) table = table->Copy();
}

void FdManager::Drop(Pid task) {
  // Out of the map first: closing may look at other tables.
  const auto node = tables_.extract(task);
  static_cast<void>(node);
}

Result<File*> FdManager::Get(Pid task, Fd fd) {
  const std::shared_ptr<File>* file = TableOf(task).Find(fd);
  if (file == nullptr) return Code::kEBADF;
  return file->get();
}

Result<std::shared_ptr<File>> FdManager::Pin(Pid task, Fd fd) {
  const std::shared_ptr<File>* file = TableOf(task).Find(fd);
  if (file == nullptr) return Code::kEBADF;
  return *file;
}

Result<Fd> FdManager::Install(Pid task, std::shared_ptr<File> file, bool cloexec, Fd minimum, uint64_t limit) {
  FdTable& table = TableOf(task);
  const Result<Fd> fd = table.Reserve(minimum, limit);
  if (fd.ok()) table.Install(*fd, std::move(file), cloexec);
  return fd;
}

Result<void> FdManager::CloseRange(Pid task, uint32_t first, uint32_t last, uint32_t flags) {
  if ((flags & ~(abi::kCloseRangeUnshare | abi::kCloseRangeCloexec)) != 0 || first > last) return Code::kEINVAL;
  if ((flags & abi::kCloseRangeUnshare) != 0) Unshare(task);
  FdTable& table = TableOf(task);
  for (uint64_t number = first; number <= last && number < static_cast<uint64_t>(table.end()); ++number) {
    const Fd fd = static_cast<Fd>(number);
    if (table.Find(fd) == nullptr) continue;
    if ((flags & abi::kCloseRangeCloexec) != 0) {
      table.SetCloexec(fd, true);
    } else {
      static_cast<void>(table.Close(fd));
    }
  }
  return {};
}

Result<Fd> FdManager::DupFrom(Pid task, Fd fd, int64_t minimum, bool cloexec, uint64_t limit) {
  Result<std::shared_ptr<File>> file = Pin(task, fd);
  if (!file.ok()) return file.error();
  if (minimum < 0 || static_cast<uint64_t>(minimum) >= limit) return Code::kEINVAL;
  return Install(task, *std::move(file), cloexec, static_cast<Fd>(minimum), limit);
}

Result<Fd> FdManager::Dup(Pid task, Fd fd, uint64_t limit) {
  Result<std::shared_ptr<File>> file = Pin(task, fd);
  if (!file.ok()) return file.error();
  return Install(task, *std::move(file), false, 0, limit);
}

Result<Fd> FdManager::Replace(Pid task, Fd from, Fd to, bool cloexec, uint64_t limit) {
  if (to < 0 || static_cast<uint64_t>(to) >= limit) return Code::kEBADF;
  Result<std::shared_ptr<File>> file = Pin(task, from);
  if (!file.ok()) return file.error();
  FdTable& table = TableOf(task);
  if (table.IsReserved(to)) return Code::kEBUSY;  // another task is opening it just now
  if (table.Find(to) != nullptr) static_cast<void>(table.Close(to));
  table.Install(to, *std::move(file), cloexec);
  return to;
}

Result<Fd> FdManager::Dup2(Pid task, Fd from, Fd to, uint64_t limit) {
  FdTable& table = TableOf(task);
  if (from == to) {
    if (table.Find(from) == nullptr) return Code::kEBADF;
    return to;
  }
  const bool cloexec = mutation_ == Mutation::kDup2KeepsCloexec && table.Find(from) != nullptr && table.cloexec(from);
  return Replace(task, from, to, cloexec, limit);
}

Result<Fd> FdManager::Dup3(Pid task, Fd from, Fd to, int flags, uint64_t limit) {
  if ((flags & ~O_CLOEXEC) != 0 || from == to) return Code::kEINVAL;
  return Replace(task, from, to, (flags & O_CLOEXEC) != 0, limit);
}

void FdManager::CloseOnExec(Pid task) {
  if (mutation_ != Mutation::kCloexecIgnored) TableOf(task).CloseOnExec();
}

uint64_t FdManager::descriptors() const {
  absl::flat_hash_set<const FdTable*> seen;
  uint64_t total = 0;
  for (const auto& [task, table] : tables_) {
    if (seen.insert(table.get()).second) total += table->open();
  }
  return total;
}

}  // namespace hotpath::kernel
