#ifndef HOTPATH_KERNEL_MEMORY_MANAGER_H_
#define HOTPATH_KERNEL_MEMORY_MANAGER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "hotpath/core/result.h"
#include "hotpath/kernel/file.h"
#include "hotpath/kernel/types.h"

namespace hotpath::kernel {

// Which pages of a process are mapped, how, and to what. Bookkeeping only: there are no contents yet.
class AddressSpace {
 public:
  struct Limits {
    uint64_t address_space = abi::kInfinity;  // RLIMIT_AS
    uint64_t data = abi::kInfinity;           // RLIMIT_DATA, for the break
  };

  // `total` is a running sum of the bytes mapped in all address spaces.
  AddressSpace(uint64_t brk_base, uint64_t& total) : total_(total), brk_base_(brk_base), brk_(brk_base) {}
  ~AddressSpace();
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;
  std::unique_ptr<AddressSpace> Copy() const;

  // `file` is null for MAP_ANONYMOUS. The file's access mode has its say: EACCES, ENODEV, EPERM.
  Result<uint64_t> Map(uint64_t hint, uint64_t length, int prot, int flags, std::shared_ptr<File> file, int64_t offset,
                       const Limits& limits);
  Result<void> Unmap(uint64_t address, uint64_t length);
  // Up to the first hole the change is made even if the call then fails with ENOMEM, as on Linux.
  Result<void> Protect(uint64_t address, uint64_t length, int prot);
  Result<uint64_t> Remap(uint64_t address, uint64_t old_length, uint64_t new_length, int flags, uint64_t new_address,
                         const Limits& limits);
  Result<void> Advise(uint64_t address, uint64_t length, int advice) const;
  uint64_t Brk(uint64_t address, const Limits& limits);  // the break now in force, moved or not
  MemoryUse Use() const { return {.mapped = mapped_, .mappings = mappings_.size(), .brk = brk_}; }
  // The running program: it cannot be opened for writing while somebody runs it.
  void SetProgram(InodeRef program);

 private:
  struct Mapping {
    uint64_t end = 0;
    int prot = 0;
    bool shared = false;
    bool may_write = true;       // false: a shared mapping of a file opened read-only
    bool heap = false;           // the break
    std::shared_ptr<File> file;  // keeps the description open
    uint64_t object = 0;         // tells one shared anonymous object from the next
    uint64_t offset = 0;         // of the first byte, in the file or object
  };
  using Mappings = absl::btree_map<uint64_t, Mapping>;  // by first address

  Mappings::iterator Containing(uint64_t address);  // end() if nothing is mapped there
  bool IsFree(uint64_t start, uint64_t end) const;
  uint64_t FindGap(uint64_t length);  // 0: none
  void Insert(uint64_t start, Mapping mapping);
  static bool Joins(const Mappings::value_type& before, const Mappings::value_type& after);
  void Merge(uint64_t first, uint64_t last);  // joins neighbours that touch [first, last]
  void Split(uint64_t at);                    // makes `at` a boundary
  void Remove(uint64_t start, uint64_t end);
  bool SplitsOne(uint64_t start, uint64_t end) const;

  uint64_t& total_;
  Mappings mappings_;
  uint64_t mapped_ = 0;
  uint64_t last_object_ = 0;
  const uint64_t brk_base_;
  uint64_t brk_;
  // Everything above search_from_ is known to hold no gap of more than gap_above_ bytes.
  uint64_t search_from_ = abi::kMmapTop;
  uint64_t gap_above_ = 0;
  InodeRef program_;
};

// Owns     per task an address space, which tasks may share under CLONE_VM, and the sum of mapped bytes.
// Built on AddressSpace, File.
// Locks    none of its own: the caller excludes other callers of the same kernel.
// Serves   mmap(2) and its kin, brk(2), fork and exec.
class MemoryManager {
 public:
  void Create(Pid task, uint64_t brk_base);  // also what execve(2) does: the old one goes with its last sharer
  void Share(Pid from, Pid to);
  void Copy(Pid from, Pid to);
  void Drop(Pid task);
  AddressSpace& SpaceOf(Pid task) { return *spaces_.at(task); }
  uint64_t mapped_bytes() const { return mapped_bytes_; }

 private:
  uint64_t mapped_bytes_ = 0;
  absl::flat_hash_map<Pid, std::shared_ptr<AddressSpace>> spaces_;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_MEMORY_MANAGER_H_
