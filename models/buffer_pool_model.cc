#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "hotpath/core/buffer_pool.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

using buffer_pool_internal::BoxTable;
using buffer_pool_internal::NodeStack;

// A node that is popped twice, or lost, shows: whoever has popped one writes to it.
struct Nodes {
  std::array<RelacySync::Atomic<uint32_t>, 4> next_of{};
  std::array<RelacySync::Var<unsigned>, 4> used_by{};
  NodeStack<RelacySync> stack;

  auto Next() {
    return [this](uint32_t node) -> RelacySync::Atomic<uint32_t>& { return next_of[node]; };
  }
  uint32_t Pop(unsigned id) {
    const uint32_t node = stack.Pop(Next());
    if (node != 0) used_by[node].Write(id);
    return node;
  }
  void Push(uint32_t node, unsigned id) {
    if (node == 0) return;
    HOTPATH_CHECK(used_by[node].Read() == id, "a node was given out twice");
    stack.Push(node, Next());
  }
  void ExpectWhole(uint32_t count) {
    std::array<bool, 4> seen{};
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t node = stack.Pop(Next());
      HOTPATH_CHECK(node != 0 && !seen[node], "a node was lost, or is there twice");
      seen[node] = true;
    }
    HOTPATH_CHECK(stack.Pop(Next()) == 0, "a node too many");
  }
};

// ABA: one thread stands in the middle of a pop, while the other takes both nodes and puts the first one back.
struct NodeComesBackDuringAPop : Model<NodeComesBackDuringAPop, 2> {
  Nodes nodes;
  NodeComesBackDuringAPop() {
    nodes.Push(1, 0);
    nodes.Push(2, 0);
  }
  void thread(unsigned id) {
    if (id == 0) {
      const uint32_t mine = nodes.Pop(id), another = nodes.Pop(id);
      nodes.Push(mine, id);
      nodes.Push(another, id);
      return;
    }
    const uint32_t first = nodes.Pop(id), second = nodes.Pop(id);
    nodes.Push(first, id);
    const uint32_t again = nodes.Pop(id);
    nodes.Push(second, id);
    nodes.Push(again, id);
  }
  void finish() { nodes.ExpectWhole(2); }
};
struct ThreePopAndPush : Model<ThreePopAndPush, 3> {
  Nodes nodes;
  ThreePopAndPush() {
    nodes.Push(1, 0);
    nodes.Push(2, 0);
  }
  void thread(unsigned id) {
    const uint32_t first = nodes.Pop(id), second = id == 0 ? nodes.Pop(id) : 0;
    nodes.Push(first, id);
    nodes.Push(second, id);
  }
  void finish() { nodes.ExpectWhole(2); }
};

// Boxes are made by whoever needs one, in chunks that the others find; and used again.
template <uint32_t kChunkBoxes>
struct BoxesAreMade : Model<BoxesAreMade<kChunkBoxes>, 2> {
  BoxTable<1, kChunkBoxes, 4 / kChunkBoxes, RelacySync> table;

  void thread(unsigned id) {
    for (int i = 0; i < 2; ++i) {
      const uint32_t box = table.Take();
      HOTPATH_CHECK(box != 0);
      table.At(box).count.Write(id);
      const uint32_t other = id == 0 ? table.Take() : 0;
      HOTPATH_CHECK(table.At(box).count.Read() == id, "a box was given out twice");
      table.Return(box);
      if (other != 0) table.Return(other);
    }
  }
};
using BoxesAreMadeOneByOne = BoxesAreMade<1>;
using BoxesAreMadeTwoByTwo = BoxesAreMade<2>;

// ---- Pools ----

struct Block {
  RelacySync::Var<unsigned> holder;
};
struct Heap {
  static void* Allocate(size_t) { return RelacySync::New<Block>(); }
  static void Free(void* block, size_t) noexcept { RelacySync::Delete(static_cast<Block*>(block)); }
};
constexpr size_t kBytes = 16;
// One size; a thread keeps twice the batch, the hot one included, and gives a batch at a time.
template <uint32_t kBatch, uint32_t kChunks = 4>
using PoolOf = BasicSharedPool<PoolShape{.smallest = kBytes,
                                         .classes = 1,
                                         .batch = kBatch,
                                         .thread_bytes = 1 << 20,
                                         .boxes_per_chunk = kChunks == 1 ? 1 : 2,
                                         .chunks = kChunks},
                               Heap, RelacySync>;
using Pool = PoolOf<1>;

// A buffer that knows its holder: what two have at once races.
template <class P>
class Held {
 public:
  Held(P& pool, unsigned id) : buffer_(pool.Get(kBytes)), id_(id) { block().holder.Write(id); }
  ~Held() { Check(); }
  Held(const Held&) = delete;
  void Check() { HOTPATH_CHECK(block().holder.Read() == id_, "two hold one buffer"); }

 private:
  Block& block() {
    void* bytes = buffer_.data();
    return *static_cast<Block*>(bytes);
  }
  typename P::PooledBuffer buffer_;
  const unsigned id_;
};

template <class P>
void HoldAtOnce(P& pool, unsigned id, int count) {
  Held<P> held(pool, id);
  if (count > 1) HoldAtOnce(pool, id, count - 1);
  held.Check();
}

template <class P>
void ExpectAtRest(const P& pool, size_t most) {
  const PoolStats stats = pool.Stats();
  HOTPATH_CHECK(stats.bytes_in_use == 0);
  HOTPATH_CHECK(stats.bytes_held <= most, "the pool keeps more than it may");
}

// More than a thread keeps goes to the other in batches. Ends thread after thread, then the pool.
template <uint32_t kBatch, int kCount>
struct HandOver : Model<HandOver<kBatch, kCount>, 2> {
  PoolOf<kBatch> pool;

  void thread(unsigned id) {
    HoldAtOnce(pool, id, kCount);
    HoldAtOnce(pool, id, 1);
  }
  void finish() { ExpectAtRest(pool, 2 * kCount * kBytes); }
};
using HandOverOfSingles = HandOver<1, 3>;
using HandOverOfPairs = HandOver<2, 5>;

// There is one box: what it has no room for stays with a thread, its end included, or goes to the heap.
struct OneBox : Model<OneBox, 2> {
  PoolOf<1, 1> pool;

  void thread(unsigned id) {
    HoldAtOnce(pool, id, 3);
    HoldAtOnce(pool, id, 1);
  }
  void finish() {
    ExpectAtRest(pool, 6 * kBytes);
    static_cast<void>(pool.Trim());
    ExpectAtRest(pool, 0);
  }
};

// A buffer that one thread got and another drops.
struct DropElsewhere : Model<DropElsewhere, 2> {
  Pool pool;
  RelacySync::Atomic<uint32_t> sent{0};
  RelacySync::Var<Pool::PooledBuffer> parcel;

  void thread(unsigned id) {
    if (id == 0) {
      parcel.Edit() = pool.Get(kBytes);
      sent.store(1, std::memory_order::release);
      HoldAtOnce(pool, id, 2);
      return;
    }
    HoldAtOnce(pool, id, 2);
    if (sent.load(std::memory_order::acquire) == 0) return;
    Pool::PooledBuffer taken = std::move(parcel.Edit());
    HoldAtOnce(pool, id, 1);
  }
  void finish() {
    parcel.Edit() = {};
    ExpectAtRest(pool, 6 * kBytes);
  }
};

// A thread ends, and what it kept, and its cache, go to another that lived beside it, and to its own next life.
struct ExitAgainstGet : Model<ExitAgainstGet, 2> {
  Pool pool;

  void thread(unsigned id) {
    static_cast<void>(RelacySync::ThreadIndex());  // so that neither gets the other's index
    if (id == 0) {
      HoldAtOnce(pool, id, 2);
      RelacySync::EndThread();
      HoldAtOnce(pool, id, 1);
      return;
    }
    HoldAtOnce(pool, id, 1);
    HoldAtOnce(pool, id, 2);
  }
  void finish() { ExpectAtRest(pool, 4 * kBytes); }
};
// A trimmer empties a cache whose owner goes in and out; two of them do; one does whose own cache is emptied.
template <int kTrimmers, bool kUsesToo>
struct TrimAgainstGet : Model<TrimAgainstGet<kTrimmers, kUsesToo>, 1 + kTrimmers> {
  Pool pool;

  void thread(unsigned id) {
    if (id == 0) {
      HoldAtOnce(pool, id, 2);
      HoldAtOnce(pool, id, 2);
      return;
    }
    if (kUsesToo) HoldAtOnce(pool, id, 1);
    static_cast<void>(pool.Trim());
  }
  void finish() {
    ExpectAtRest(pool, 6 * kBytes);
    static_cast<void>(pool.Trim());
    ExpectAtRest(pool, 0);
  }
};
using TrimAgainstOwner = TrimAgainstGet<1, false>;
using TrimmersAgainstOwner = TrimAgainstGet<2, false>;
using TrimByAnotherUser = TrimAgainstGet<1, true>;

struct TrimAgainstExit : Model<TrimAgainstExit, 2> {
  Pool pool;

  void thread(unsigned id) {
    static_cast<void>(RelacySync::ThreadIndex());
    if (id == 0) {
      HoldAtOnce(pool, id, 2);
      RelacySync::EndThread();
      HoldAtOnce(pool, id, 1);
      return;
    }
    static_cast<void>(pool.Trim());
    HoldAtOnce(pool, id, 1);
  }
  void finish() {
    static_cast<void>(pool.Trim());
    ExpectAtRest(pool, 0);
  }
};

// A thread ends, another may get its cache, and a third trims it for whoever has it.
struct TrimAgainstAdoption : Model<TrimAgainstAdoption, 3> {
  Pool pool;

  void thread(unsigned id) {
    if (id == 2) return static_cast<void>(pool.Trim());
    HoldAtOnce(pool, id, 1);
  }
  void finish() {
    static_cast<void>(pool.Trim());
    ExpectAtRest(pool, 0);
  }
};

// Who counts meanwhile sees caches that are whole. The numbers are sums of what was true one after another: a buffer
// that moves may be counted where it was and where it is, once more for each move.
struct StatsAgainstGet : Model<StatsAgainstGet, 2> {
  Pool pool;

  void thread(unsigned id) {
    if (id == 0) return HoldAtOnce(pool, id, 2);
    const PoolStats stats = pool.Stats();
    HOTPATH_CHECK(stats.bytes_held <= 6 * kBytes && stats.misses <= 2, "a number that never was");
  }
};

// Two threads want to keep two each, and the pool may keep one.
struct LimitIsKept : Model<LimitIsKept, 2> {
  Pool pool{PoolOptions{.max_bytes = kBytes}};

  void thread(unsigned id) { HoldAtOnce(pool, id, 2); }
  void finish() { ExpectAtRest(pool, kBytes); }
};

// The pool ends while a thread that used it ends.
struct PoolEndsWithAThread : Model<PoolEndsWithAThread, 2> {
  Pool* pool = RelacySync::New<Pool>();
  RelacySync::Atomic<uint32_t> used{0};

  void thread(unsigned id) {
    if (id == 0) {
      HoldAtOnce(*pool, id, 1);
      used.store(1, std::memory_order::release);
      return;
    }
    while (used.load(std::memory_order::acquire) == 0) RelacySync::Pause();
    RelacySync::Delete(pool);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(
      argc, argv,
      {HOTPATH_MODEL(NodeComesBackDuringAPop), HOTPATH_MODEL(ThreePopAndPush), HOTPATH_MODEL(BoxesAreMadeOneByOne),
       HOTPATH_MODEL(BoxesAreMadeTwoByTwo), HOTPATH_MODEL(HandOverOfSingles), HOTPATH_MODEL(HandOverOfPairs),
       HOTPATH_MODEL(OneBox), HOTPATH_MODEL(DropElsewhere), HOTPATH_MODEL(ExitAgainstGet),
       HOTPATH_MODEL(TrimAgainstOwner), HOTPATH_MODEL(TrimmersAgainstOwner), HOTPATH_MODEL(TrimByAnotherUser),
       HOTPATH_MODEL(TrimAgainstExit), HOTPATH_MODEL(TrimAgainstAdoption), HOTPATH_MODEL(StatsAgainstGet),
       HOTPATH_MODEL(LimitIsKept), HOTPATH_MODEL(PoolEndsWithAThread)},
      {"core/detail/buffer_pool_slow_inl.h"});
}
