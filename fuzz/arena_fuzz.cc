// Input bytes are a program for an arena. The oracle is a map of the blocks that are live, each filled with a pattern
// of its own, a stack of the objects whose destructors are due, what all that must have cost, and what the heap saw:
// what overlaps, is misaligned, loses a byte, is counted wrong, or is destroyed late, twice or out of order aborts.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "fuzz/base/input.h"
#include "hotpath/core/arena.h"
#include "hotpath/core/base/asan.h"
#include "hotpath/core/base/check.h"

namespace hotpath {
namespace {

using fuzz::Input;

constexpr size_t kMaxLiveBytes = 4 << 20;
constexpr int kMaxDepth = 40;

struct Stop {};  // what constructors and scopes throw

template <class Exception>
bool Throws(auto f) {
  try {
    f();
    return false;
  } catch (const Exception&) {
    return true;
  }
}

class Tracked;
std::vector<const Tracked*> g_due;  // in the order in which they were made

// Checks, at its destruction, that it is its turn and that its bytes are whole.
class Tracked {
 public:
  Tracked() {
    g_due.push_back(this);
    payload_.fill(Pattern());
  }
  Tracked(const Tracked&) = delete;
  ~Tracked() {
    HOTPATH_CHECK(!g_due.empty() && g_due.back() == this, "destroyed out of order, or twice");
    g_due.pop_back();
    for (const uint8_t byte : payload_) HOTPATH_CHECK(byte == Pattern(), "somebody wrote into an object");
  }

 private:
  uint8_t Pattern() const { return static_cast<uint8_t>(std::bit_cast<uintptr_t>(this) >> 3); }

  std::array<uint8_t, 21> payload_;
};

// Throws after it made `left` of its kind.
struct Fragile : Tracked {
  static inline size_t left = 0;
  Fragile() {
    if (left == 0) throw Stop();
    --left;
  }
};

// Uses the arena from its destructor.
struct Busy : Tracked {
  explicit Busy(Arena& a) : arena(a) {}
  ~Busy() {
    std::memset(arena.Allocate(100, 32), 0xb5, 100);
    const ArenaScope scope(arena);
    arena.New<Tracked>();
  }
  Arena& arena;
};

class Machine {
 public:
  explicit Machine(Arena& arena, size_t max_retained) : arena_(arena), max_retained_(max_retained) {}

  // Runs until the input or this scope ends. The marks it leaves behind are the caller's scope's to take back.
  void Run(Input& in, int depth) {
    const size_t base = marks_.size();
    while (!in.empty()) {
      switch (in.Byte() % 16) {
        case 0:
        case 1: {
          const size_t bytes = in.Byte();
          Hand(bytes, size_t{1} << in.Byte() % 13);
          break;
        }
        case 2: {
          const size_t bytes = in.Word() * (in.Byte() % 8);
          Hand(bytes, size_t{1} << in.Byte() % 13);
          break;
        }
        case 3:
          if (HasRoom(sizeof(Tracked))) New<Tracked>();
          break;
        case 4:
          if (HasRoom(sizeof(Busy))) New<Busy>(arena_);
          break;
        case 5:
          Array(in.Byte() % 16, in.Byte() % 24);
          break;
        case 6: {
          const size_t n = in.Word();
          if (HasRoom(n * 4)) Keep([&] { return arena_.NewArray<uint32_t>(n).data(); }, n * 4, alignof(uint32_t));
          break;
        }
        case 7:
          marks_.push_back({arena_.Mark(), Now()});
          break;
        case 8:
          if (marks_.size() > base) {
            CheckContents();
            const auto [mark, then] = marks_.back();
            marks_.pop_back();
            arena_.Rewind(mark);
            Return(then);
          }
          break;
        case 9:
          if (depth == 0 && marks_.empty()) {
            CheckContents();
            arena_.Reset();
            Return({});
          }
          break;
        case 10: {
          const size_t before = arena_.BytesReserved();
          const bench::HeapMark heap;
          const size_t freed = arena_.Trim();
          HOTPATH_CHECK(arena_.BytesReserved() == before - freed, "Trim did not free what it says");
          HOTPATH_CHECK((heap.Since().frees > 0) == (freed > 0) && heap.Since().allocations == 0, "Trim lies");
          HOTPATH_CHECK(depth > 0 || !marks_.empty() || Now().used > 0 || arena_.BytesReserved() == 0,
                        "Trim kept some");
          break;
        }
        case 11:
          Pmr(in.Word() % 5000, size_t{1} << in.Byte() % 13, in.Byte() % 2 == 0);
          break;
        case 12:
          Vector(in.Byte(), in.Byte());
          break;
        case 13:
          if (depth < kMaxDepth) Nest(in, depth);
          break;
        case 14:
          if (depth > 0 && in.Byte() % 2 == 0) throw Stop();
          if (depth > 0) return;
          break;
        default:
          Impossible(in.Byte());
          break;
      }
      HOTPATH_CHECK(arena_.BytesUsed() == used_, "counts other bytes than it handed out");
      HOTPATH_CHECK(arena_.BytesUsed() <= arena_.BytesReserved(), "hands out more than it has");
    }
  }

  // What the machine knows, to be compared with what a rewind leaves.
  struct Moment {
    uint64_t order = 0;
    size_t used = 0, due = 0, reserved = 0;
  };
  Moment Now() const { return {order_, used_, g_due.size(), arena_.BytesReserved()}; }

  // The arena has taken back all that is younger.
  void Return(const Moment& then) {
    HOTPATH_CHECK(arena_.BytesUsed() == then.used, "a rewind did not take back all, or too much");
    HOTPATH_CHECK(g_due.size() == then.due, "a rewind left destructors out");
    used_ = then.used;
    const size_t in_use = then.used > 0 ? then.reserved : 0;  // at most
    HOTPATH_CHECK(arena_.BytesReserved() <= in_use + max_retained_, "retains more than its limit");
    std::erase_if(live_, [&](const auto& block) { return block.second.order >= then.order; });
    live_bytes_ = 0;
    for (const auto& [address, block] : live_) live_bytes_ += block.bytes;
    CheckContents();
  }

  void CheckContents() const {
    for (const auto& [address, block] : live_) {
      // All bytes are like the first: a loop here would be most of what a fuzzer does.
      HOTPATH_CHECK(
          block.bytes == 0 || (address[0] == block.pattern && std::memcmp(address, address + 1, block.bytes - 1) == 0),
          "somebody wrote into a live block");
    }
  }

 private:
  struct Block {
    size_t bytes;
    std::byte pattern;
    uint64_t order;
  };
  struct Marked {
    ArenaMark mark;
    Moment then;
  };

  // From the heap, and adds what an arena would have charged.
  struct Counting : std::allocator<uint16_t> {
    size_t* charged;
    explicit Counting(size_t* c) : charged(c) {}
    template <class U>
    struct rebind {
      using other = Counting;
    };
    uint16_t* allocate(size_t n) {
      *charged += Cost(n * sizeof(uint16_t));
      return std::allocator<uint16_t>::allocate(n);
    }
  };

  bool HasRoom(size_t bytes) const { return live_bytes_ + bytes <= kMaxLiveBytes; }

  void Hand(size_t bytes, size_t align) {
    if (HasRoom(bytes)) Keep([&] { return arena_.Allocate(bytes, align); }, bytes, align);
  }

  // f() hands out `bytes` once. What that costs: the bytes, rounded, a redzone, and no more than it takes to align
  // them; and what the arena says to hold from the heap is what the heap gave. Returns what f returns.
  auto Charge(auto f, size_t bytes, size_t align) {
    const size_t reserved = arena_.BytesReserved();
    const bench::HeapMark heap;
    const auto result = f();
    const bench::HeapCount taken = heap.Since();
    HOTPATH_CHECK(arena_.BytesReserved() - reserved == taken.bytes && taken.frees == 0, "counts other heap bytes");
    HOTPATH_CHECK(taken.allocations <= 1, "one block would have done");
    used_ += Cost(bytes);
    const size_t padding = arena_.BytesUsed() - used_;  // enormous if it counts too little
    HOTPATH_CHECK(padding % 8 == 0 && padding <= (align > 8 ? align - 8 : 0), "counts other bytes than it handed out");
    used_ += padding;
    return result;
  }
  static size_t Cost(size_t bytes) { return asan::kRedzone + (std::max<size_t>(bytes, 1) + 7) / 8 * 8; }

  // Objects whose destructors are due cost 16 bytes more; arrays of such, 8 more to know how many they are.
  template <class T, class... Args>
  void New(Args&&... args) {
    static_assert(alignof(T) <= 8);
    arena_.New<T>(std::forward<Args>(args)...);
    used_ += Cost(16 + sizeof(T));
  }

  void Keep(auto allocate, size_t bytes, size_t align) {
    void* const p = Charge(allocate, bytes, align);
    auto* address = static_cast<std::byte*>(p);
    HOTPATH_CHECK(std::bit_cast<uintptr_t>(p) % align == 0, "misaligned");
    const auto after = live_.lower_bound(address);
    const size_t size = bytes == 0 ? 1 : bytes;
    HOTPATH_CHECK(after == live_.end() || address + size <= after->first, "overlaps the block after it");
    if (after != live_.begin()) {
      const auto before = std::prev(after);
      HOTPATH_CHECK(before->first + before->second.bytes <= address, "overlaps the block before it");
    }
    const std::byte pattern{static_cast<uint8_t>(order_ * 7 + 1)};
    std::memset(p, static_cast<int>(pattern), size);
    live_.emplace(address, Block{size, pattern, order_++});
    live_bytes_ += size;
  }

  void Array(size_t n, size_t without_throwing) {
    if (!HasRoom(n * sizeof(Fragile))) return;
    const size_t due = g_due.size();
    Fragile::left = without_throwing;
    const bool threw = Throws<Stop>([&] { arena_.NewArray<Fragile>(n); });
    used_ += Cost(16 + 8 + n * sizeof(Fragile)) + Cost(16 + sizeof(Fragile));  // if they throw, too, until the rewind
    HOTPATH_CHECK(threw == (n > without_throwing), "a constructor's exception was swallowed");
    HOTPATH_CHECK(g_due.size() == due + (threw ? 0 : n), "an array half made was not destroyed");
    Fragile::left = 0;
    HOTPATH_CHECK(Throws<Stop>([&] { arena_.New<Fragile>(); }), "a constructor's exception was swallowed");
  }

  void Pmr(size_t bytes, size_t align, bool give_back) {
    if (!HasRoom(bytes)) return;
    void* p = nullptr;
    Keep([&] { return p = arena_.resource()->allocate(bytes, align); }, bytes, align);
    if (!give_back) return;
    live_bytes_ -= live_.at(static_cast<std::byte*>(p)).bytes;
    live_.erase(static_cast<std::byte*>(p));
    arena_.resource()->deallocate(p, bytes, align);
  }

  void Vector(size_t pushes, size_t size) {
    if (!HasRoom((pushes + size) * 4 * sizeof(uint16_t))) return;
    ArenaVector<uint16_t> ours(arena_);
    std::vector<uint16_t, Counting> theirs(Counting{&used_});  // grows as ours does
    for (size_t i = 0; i < pushes; ++i) {
      ours.push_back(static_cast<uint16_t>(i));
      theirs.push_back(static_cast<uint16_t>(i));
    }
    ours.resize(size, 9);
    theirs.resize(size, 9);
    const ArenaVector<uint16_t> copy = ours;
    if (size > 0) used_ += Cost(size * sizeof(uint16_t));
    HOTPATH_CHECK(std::ranges::equal(copy, theirs) && ours == copy, "a vector differs");
  }

  void Nest(Input& in, int depth) {
    const Moment before = Now();
    const size_t marks = marks_.size();
    Throws<Stop>([&] {
      const ArenaScope scope(arena_);
      Run(in, depth + 1);
      CheckContents();
    });
    marks_.erase(marks_.begin() + static_cast<std::ptrdiff_t>(marks), marks_.end());
    Return(before);
  }

  void Impossible(size_t less) {
    const Moment before = Now();
    for (const size_t bytes : {SIZE_MAX - less, SIZE_MAX / 2 - less}) {
      const auto ask = [&] { static_cast<void>(arena_.Allocate(bytes, size_t{1} << less % 13)); };
      HOTPATH_CHECK(Throws<std::bad_alloc>(ask), "handed out more than there is");
    }
    HOTPATH_CHECK(arena_.BytesUsed() == before.used && arena_.BytesReserved() == before.reserved,
                  "bad_alloc changed the arena");
  }

  Arena& arena_;
  const size_t max_retained_;
  std::map<std::byte*, Block> live_;
  size_t live_bytes_ = 0;
  uint64_t order_ = 0;
  size_t used_ = arena_.BytesUsed();  // what the arena must say
  std::vector<Marked> marks_;
};

}  // namespace
}  // namespace hotpath

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hotpath;
  Input in(data, size);
  const size_t shape = in.Byte();
  if (shape % 4 == 0) {
    WithArena([&](Arena& arena) {
      Machine machine(arena, ArenaOptions().max_retained);
      const Machine::Moment before = machine.Now();
      Throws<Stop>([&] {
        const ArenaScope scope(arena);
        machine.Run(in, 1);
      });
      machine.Return(before);
    });
  } else {
    const ArenaOptions options{.first_block = shape / 4 * 61, .max_retained = in.Byte() * 509};
    Arena arena(options);
    Machine machine(arena, options.max_retained);
    machine.Run(in, 0);
    machine.CheckContents();
  }
  HOTPATH_CHECK(g_due.empty(), "the end of the arena left destructors out");
  return 0;
}
