#include "hotpath/kernel/ipc_manager.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace hotpath::kernel {

void Pipe::AddReader() {
  ++readers_;
  ++reader_opens_;
  writable_.WakeAll();
}

void Pipe::AddWriter() {
  ++writers_;
  ++writer_opens_;
  readable_.WakeAll();
}

void Pipe::DropReader() {
  if (--readers_ == 0) writable_.WakeAll();
}

void Pipe::DropWriter() {
  if (--writers_ == 0) readable_.WakeAll();
}

Result<size_t> Pipe::Read(ReadCursor& out) {
  const size_t before = out.done();
  if (out.left() == 0) return size_t{0};
  if (slots_.empty()) {
    if (HasWriter()) return Code::kEAGAIN;
    return size_t{0};
  }
  while (out.left() > 0 && !slots_.empty()) {
    Slot& slot = slots_.front();
    const uint32_t part = static_cast<uint32_t>(std::min<size_t>(out.left(), slot.length));
    PutBytes(out, slot.page.get() + slot.offset, part);
    const bool packet = slot.packet;
    const uint32_t taken = packet ? slot.length : part;  // what a reader leaves of a packet is lost
    slot.offset += taken;
    slot.length -= taken;
    bytes_ -= taken;
    if (slot.length == 0) {
      spare_ = std::move(slot.page);
      slots_.pop_front();
    }
    if (packet) break;
  }
  if (HasRoom()) writable_.WakeAll();
  return out.done() - before;
}

void Pipe::PushSlot(WriteCursor& in, bool packet) {
  Slot slot;
  slot.page = spare_ != nullptr ? std::move(spare_) : std::make_unique_for_overwrite<std::byte[]>(abi::kPageSize);
  slot.length = static_cast<uint32_t>(std::min<size_t>(in.left(), abi::kPageSize));
  slot.packet = packet;
  slots_.push_back(std::move(slot));
  Slot& last = slots_.back();
  TakeBytes(in, last.page.get(), last.length);
  bytes_ += last.length;
}

Result<size_t> Pipe::Write(WriteCursor& in, bool packet) {
  const size_t before = in.done();
  if (in.left() == 0) return size_t{0};
  if (!HasReader()) return Code::kEPIPE;
  if (external_reader_) {
    in.Advance(in.left(), [](const std::byte*, size_t) {});
    return in.done() - before;
  }
  const size_t head = in.left() % abi::kPageSize;
  if (head > 0 && !slots_.empty()) {
    Slot& last = slots_.back();
    if (!last.packet && last.offset + last.length + head <= abi::kPageSize) {
      TakeBytes(in, last.page.get() + last.offset + last.length, head);
      last.length += static_cast<uint32_t>(head);
      bytes_ += head;
    }
  }
  while (in.left() > 0 && slots_.size() < max_slots_) PushSlot(in, packet);
  if (in.done() == before) return Code::kEAGAIN;
  readable_.WakeAll();
  return in.done() - before;
}

Result<uint64_t> Pipe::Resize(uint64_t size, bool privileged) {
  if (size > uint64_t{1} << 31) return Code::kEINVAL;
  const uint64_t rounded = std::bit_ceil(std::max(size, abi::kPageSize));
  if (rounded > abi::kPipeMaxSize && rounded > capacity() && !privileged) return Code::kEPERM;
  if (slots_.size() > rounded / abi::kPageSize) return Code::kEBUSY;
  max_slots_ = rounded / abi::kPageSize;
  if (HasRoom()) writable_.WakeAll();
  return rounded;
}

}  // namespace hotpath::kernel
