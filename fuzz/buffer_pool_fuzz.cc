// The input is a program for a pool and sixteen buffers: get, grow, append, move, detach, drop, trim, on four threads
// that are none: the policy says which one is running, and ends it. The oracle is a string for each buffer, and sums.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"
#include "hotpath/core/buffer_pool.h"
#include "hotpath/core/detail/buffer_pool_testing.h"

namespace {

using hotpath::PoolOptions;
using hotpath::PoolShape;
using hotpath::PoolStats;

// One thread plays four.
struct PlayedSync : hotpath::StdSync {
  static constexpr uint32_t kMaxThreads = 4;
  static inline uint32_t running = 0;
  static inline std::array<std::vector<hotpath::ThreadExitHook*>, kMaxThreads> hooks;

  static uint32_t ThreadIndex() noexcept { return running; }
  static void AtThreadExit(hotpath::ThreadExitHook& hook) noexcept { hooks[running].push_back(&hook); }
  static bool CancelAtThreadExit(hotpath::ThreadExitHook& hook) noexcept {
    size_t erased = 0;
    for (auto& of_thread : hooks) erased += std::erase(of_thread, &hook);
    return erased != 0;
  }
  static void HeavyFence() noexcept {}
  static void EndThread() {
    while (!hooks[running].empty()) {
      hotpath::ThreadExitHook* hook = hooks[running].back();
      hooks[running].pop_back();
      hook->run(*hook);
    }
  }
};
static_assert(hotpath::SyncPolicy<PlayedSync>);

struct FragileHeap {
  static inline size_t bytes = 0;
  static inline bool fails = false;
  static void* Allocate(size_t n) {
    if (fails) throw std::bad_alloc();
    bytes += n;
    return hotpath::PoolHeap::Allocate(n);
  }
  static void Free(void* block, size_t n) noexcept {
    bytes -= n;
    hotpath::PoolHeap::Free(block, n);
  }
};

constexpr PoolShape kShape{
    .smallest = 32, .classes = 4, .batch = 3, .thread_bytes = 1024, .boxes_per_chunk = 2, .chunks = 3};
using Pool = hotpath::BasicSharedPool<kShape, FragileHeap, PlayedSync>;
using Pooled = Pool::PooledBuffer;
using Detached = hotpath::BasicBuffer<FragileHeap>;

struct Slot {
  Pooled buffer;
  std::string bytes;  // what it holds
  uint32_t by = 0;    // the thread that got it
};

class Machine {
 public:
  explicit Machine(PoolOptions options) : options_(options), pool_(options) {}

  void Do(uint8_t op, uint8_t which, uint8_t arg) {
    Slot& slot = slots_[which % 16];
    Slot& other = slots_[which / 16];
    PlayedSync::running = op / 16 % 4;
    try {
      switch (op % 16) {
        case 0:
        case 1: {
          const size_t asked = size_t{arg} * (op % 16 == 0 ? 1 : 5);
          Pooled got = pool_.Get(asked);
          ++gets_;
          HOTPATH_CHECK(got.capacity() >= asked && got.size() == 0, "less than was asked for");
          ExpectClean(got);
          CountReturn(slot);
          slot.buffer = std::move(got);
          slot.by = PlayedSync::running;
          slot.bytes.clear();
          break;
        }
        case 2:
          Append(slot, std::string(arg, static_cast<char>(which)));
          break;
        case 3:
          if (slot.bytes.size() < 2000) Append(slot, slot.bytes);
          break;
        case 4:
          Grows(slot, arg, [&] { slot.buffer.resize(arg); });
          slot.bytes.resize(std::min<size_t>(slot.bytes.size(), arg));
          while (slot.bytes.size() < arg) {  // what is new is not initialised
            slot.buffer.data()[slot.bytes.size()] = static_cast<std::byte>(which);
            slot.bytes.push_back(static_cast<char>(which));
          }
          break;
        case 5:
          Grows(slot, arg * size_t{3}, [&] { slot.buffer.reserve(arg * size_t{3}); });
          HOTPATH_CHECK(slot.buffer.capacity() >= arg * size_t{3});
          break;
        case 6:
          if (&slot != &other) {
            CountReturn(slot);
            slot.bytes = std::exchange(other.bytes, "");
            slot.by = other.by;
          }
          slot.buffer = std::move(other.buffer);
          break;
        case 7: {
          detached_ += slot.buffer.data() != nullptr;
          const std::byte* data = slot.buffer.data();
          Detached taken = std::move(slot.buffer).Detach();
          HOTPATH_CHECK(taken.data() == data && Text(taken) == slot.bytes, "detaching moved or changed the bytes");
          slot.bytes.clear();
          taken.append("more");
          break;
        }
        case 8:
          pool_.Trim();
          HOTPATH_CHECK(pool_.Stats().bytes_held == 0, "trim left something");
          break;
        case 9:
          PlayedSync::EndThread();
          break;
        case 10:
          FragileHeap::fails = arg % 2 != 0;
          break;
        case 11:
          slot.buffer.clear();
          slot.bytes.clear();
          break;
        default:
          CountReturn(slot);
          slot.buffer = Pooled();
          slot.bytes.clear();
      }
    } catch (const std::bad_alloc&) {
      HOTPATH_CHECK(FragileHeap::fails, "the heap did not fail");
    }
    FragileHeap::fails = FragileHeap::fails && op % 16 == 10;
    for (const Slot& s : slots_) HOTPATH_CHECK(Text(s.buffer) == s.bytes, "a buffer does not hold what was written");
    CheckSums();
  }

 private:
  template <class B>
  static std::string Text(const B& buffer) {
    const void* bytes = buffer.data();
    return buffer.size() == 0 ? "" : std::string(static_cast<const char*>(bytes), buffer.size());
  }
  // Before the end of its buffer.
  void CountReturn(const Slot& slot) {
    foreign_returns_ += slot.buffer.data() != nullptr && slot.by != PlayedSync::running;
  }
  void ExpectClean(const Pooled& buffer) const {
    if (!options_.scrub) return;
    const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
    HOTPATH_CHECK(std::all_of(buffer.data(), buffer.data() + buffer.capacity(), is_zero), "not scrubbed");
  }
  // A buffer of no pool grows from the process's own, which is not what is tested here.
  template <class F>
  void Grows(Slot& slot, size_t to, const F& f) {
    if (slot.buffer.data() == nullptr) {
      slot.buffer = pool_.Get(0);
      slot.by = PlayedSync::running;
      ++gets_;
    }
    const bool moves = to > slot.buffer.capacity();
    f();
    if (!moves) return;
    ++gets_;
    foreign_returns_ += slot.by != PlayedSync::running;
    slot.by = PlayedSync::running;
  }
  void Append(Slot& slot, const std::string& more) {
    Grows(slot, slot.bytes.size() + more.size(), [&] { slot.buffer.append(more); });
    slot.bytes += std::string(more);
  }
  void CheckSums() const {
    const PoolStats stats = pool_.Stats();
    size_t in_use = 0;
    for (const Slot& slot : slots_) in_use += slot.buffer.capacity();
    HOTPATH_CHECK(stats.bytes_in_use == in_use, "bytes in use are not those of the buffers");
    HOTPATH_CHECK(stats.bytes_held <= options_.max_bytes, "more is kept than may be");
    using hotpath::buffer_pool_internal::TestAccess;
    HOTPATH_CHECK(TestAccess::Reserved(pool_) <= options_.max_bytes, "more is reserved than may be kept");
    HOTPATH_CHECK(TestAccess::Reserved(pool_) == TestAccess::ReservedForThem(pool_), "room was lost");
    HOTPATH_CHECK(FragileHeap::bytes == stats.bytes_in_use + stats.bytes_held, "bytes were lost");
    HOTPATH_CHECK(stats.detached == detached_ && stats.hits + stats.misses == gets_, "miscounted");
    HOTPATH_CHECK(stats.cross_thread_returns == foreign_returns_, "returns by other threads are miscounted");
  }

  const PoolOptions options_;
  Pool pool_;
  std::array<Slot, 16> slots_;
  uint64_t gets_ = 0, detached_ = 0, foreign_returns_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  {
    Machine machine(PoolOptions{.max_bytes = data[0] % 128 * size_t{97}, .scrub = data[0] >= 128});
    for (++data, --size; size >= 3; data += 3, size -= 3) machine.Do(data[0], data[1], data[2]);
  }
  FragileHeap::fails = false;
  HOTPATH_CHECK(FragileHeap::bytes == 0, "the end of the pool left something");
  return 0;
}
