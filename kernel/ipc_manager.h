#ifndef HOTPATH_KERNEL_IPC_MANAGER_H_
#define HOTPATH_KERNEL_IPC_MANAGER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "hotpath/core/result.h"
#include "hotpath/kernel/io_cursor.h"
#include "hotpath/kernel/wait_queue.h"

namespace hotpath::kernel {

// The bytes between the writers and the readers of a pipe or FIFO.
//
// Like Linux, capacity is counted in pages, not bytes: a write fills whole pages and only its first, partial page may
// be appended to the page before, so sixteen writes of 4095 bytes fill a pipe of 65536. Never sleeps: kEAGAIN tells the
// caller to wait on readable() or writable().
class Pipe {
 public:
  explicit Pipe(uint64_t& live) : live_(live) { ++live_; }
  ~Pipe() { --live_; }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void AddReader();
  void AddWriter();
  void DropReader();
  void DropWriter();
  uint32_t readers() const { return readers_; }
  uint32_t writers() const { return writers_; }
  bool HasReader() const { return readers_ > 0 || external_reader_; }
  bool HasWriter() const { return writers_ > 0 || external_writer_; }
  // How often each end has been opened: a sleeping open(2) of a FIFO waits for a change, because its partner may have
  // come and gone.
  uint64_t reader_opens() const { return reader_opens_; }
  uint64_t writer_opens() const { return writer_opens_; }
  // An end that is held outside the kernel: its reader takes every byte at once, its writer never writes or closes.
  void SetExternalReader() { external_reader_ = true; }
  void SetExternalWriter() { external_writer_ = true; }

  // Takes what is there. 0 at end of file (no writer left); kEAGAIN if empty. A packet is consumed whole.
  Result<size_t> Read(ReadCursor& out);
  // Takes what fits, all or nothing up to abi::kPipeBuf. kEAGAIN if nothing fits; kEPIPE without a reader.
  // `packet`: written through an O_DIRECT description, so that reads keep its boundaries.
  Result<size_t> Write(WriteCursor& in, bool packet);

  bool HasRoom() const { return external_reader_ || slots_.size() < max_slots_; }
  size_t free_slots() const { return slots_.size() < max_slots_ ? max_slots_ - slots_.size() : 0; }
  bool empty() const { return slots_.empty(); }
  uint64_t bytes() const { return bytes_; }  // FIONREAD
  uint64_t capacity() const { return max_slots_ * abi::kPageSize; }
  // Rounds up to a power-of-two number of pages. kEBUSY if the content needs more; kEPERM above abi::kPipeMaxSize for
  // the unprivileged; kEINVAL above 2 GiB. Returns the new capacity.
  Result<uint64_t> Resize(uint64_t size, bool privileged);

  WaitQueue& readable() { return readable_; }  // bytes came, or a writer came or went
  WaitQueue& writable() { return writable_; }  // room came, or a reader came or went

 private:
  struct Slot {
    std::unique_ptr<std::byte[]> page;
    uint32_t offset = 0;
    uint32_t length = 0;
    bool packet = false;
  };

  void PushSlot(WriteCursor& in, bool packet);

  uint64_t& live_;
  std::deque<Slot> slots_;
  std::unique_ptr<std::byte[]> spare_;  // the last page drained, kept for the next write
  size_t max_slots_ = abi::kPipeDefaultSlots;
  uint64_t bytes_ = 0;
  uint32_t readers_ = 0, writers_ = 0;
  uint64_t reader_opens_ = 0, writer_opens_ = 0;
  bool external_reader_ = false, external_writer_ = false;
  WaitQueue readable_, writable_;
};

// Owns     the count of live pipes; a pipe itself belongs to its inode, and dies with its last end.
// Built on WaitQueue.
// Locks    none of its own: the caller excludes other callers of the same kernel.
// Serves   pipe(2), FIFOs, sendfile(2) and poll(2), through VfsManager's inodes.
class IpcManager {
 public:
  std::unique_ptr<Pipe> NewPipe() { return std::make_unique<Pipe>(live_pipes_); }
  uint64_t live_pipes() const { return live_pipes_; }

 private:
  uint64_t live_pipes_ = 0;
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_IPC_MANAGER_H_
