// What the allocator toggle is worth: what --config=tcmalloc, jemalloc and mimalloc put in the place of glibc's malloc,
// all loaded into this one process. "Ours" is the best guess without measuring, tcmalloc.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/peer_allocator.h"
#include "bench/base/rows.h"
#include "hotpath/core/allocator.h"

namespace hotpath::bench {
namespace {

// Each step frees one of 4096 live blocks at random and replaces it by one of 16 to 1024 bytes, small ones more often.
// Every thread has blocks of its own.
auto Mixed(const PeerAllocator& heap) {
  struct Blocks {
    explicit Blocks(const PeerAllocator& h) : heap(h) {}
    Blocks(const Blocks& other) : heap(other.heap) {}
    ~Blocks() {
      for (void* p : live) heap.free(p);
    }
    PeerAllocator heap;
    std::array<void*, 4096> live{};
  };
  struct Step {
    explicit Step(const PeerAllocator& h) : blocks(std::make_unique<Blocks>(h)) {}
    Step(const Step& other) : blocks(std::make_unique<Blocks>(*other.blocks)) {}
    Step(Step&&) = default;
    void operator()(Worker& worker) {
      const uint64_t r = worker.Random() >> 32;
      void*& slot = blocks->live[r % blocks->live.size()];
      blocks->heap.free(slot);
      slot = blocks->heap.malloc((16 + r % 48) << (r >> 16) % 5);
      *static_cast<uint64_t*>(slot) = r;
    }
    std::unique_ptr<Blocks> blocks;
  };
  return Step(heap);
}

template <class T>
struct HeapAllocator {
  using value_type = T;
  explicit HeapAllocator(const PeerAllocator* h) : heap(h) {}
  template <class U>
  HeapAllocator(const HeapAllocator<U>& other) : heap(other.heap) {}
  T* allocate(size_t n) { return static_cast<T*>(heap->malloc(n * sizeof(T))); }
  void deallocate(T* p, size_t) { heap->free(p); }
  template <class U>
  bool operator==(const HeapAllocator<U>& other) const {
    return heap == other.heap;
  }
  const PeerAllocator* heap;
};

// A request: 32 strings of 20 to 83 bytes, made from parts, collected in a vector, and dropped.
auto Strings(const PeerAllocator& peer) {
  using String = std::basic_string<char, std::char_traits<char>, HeapAllocator<char>>;
  return [heap = std::make_shared<const PeerAllocator>(peer)] {
    static constexpr char kText[] = "/usr/lib/x86_64-linux-gnu/some/quite/long/path/as/requests/have/them/now/and/then";
    std::vector<String, HeapAllocator<String>> strings{HeapAllocator<String>(heap.get())};
    for (size_t i = 0; i < 32; ++i) {
      String s(kText, 16 + i, HeapAllocator<char>(heap.get()));
      s += '/';
      s.append(kText, 3 + i);
      strings.push_back(std::move(s));
    }
    Keep(strings.data());
  };
}

template <class Make>
Row& AddContenders(Row& row, Make make) {
  const auto add = [&](Role role, const std::string& name) {
    if (const auto heap = PeerAllocator::Load(name)) {
      row.Add(role, name, [heap = *heap, make] { return make(heap); });
    } else {
      row.NotInstalled(name);
    }
  };
  add(Role::kNaive, "glibc");
  add(Role::kOurs, "tcmalloc");
  add(Role::kVariant, "jemalloc");
  add(Role::kVariant, "mimalloc");
  return row;
}

HOTPATH_BENCH_ROWS(rows) {
  for (const int threads : {1, 2}) {
    Row& mixed = AddContenders(
        rows.Add({.id = "allocator/mixed/t" + std::to_string(threads),
                  .optimisation = 12,
                  .claim = threads == 1 ? "allocator" : "",
                  .threads = threads,
                  .note = "frees one of 4096 blocks at random and allocates another, of 16 to 1024 bytes"}),
        Mixed);
    Row& strings = AddContenders(rows.Add({.id = "allocator/request_strings/t" + std::to_string(threads),
                                           .optimisation = 12,
                                           .threads = threads,
                                           .note = "32 strings of 20 to 83 bytes in a vector"}),
                                 Strings);
    if (threads == 1) {
      mixed.AtLeast(2, "glibc");
      strings.AtLeast(1.5, "glibc");
    }
  }
  AddContenders(rows.Add({.id = "allocator/64KiB/t1", .optimisation = 12, .note = "where allocators differ most"}),
                [](const PeerAllocator& heap) {
                  return [heap] {
                    void* p = heap.malloc(64 << 10);
                    Keep(p);
                    heap.free(p);
                  };
                });
  rows.Add({.id = "allocator/stats/t1", .optimisation = 12, .note = "of " + std::string(AllocatorName())})
      .Ours("AllocatorStats", [] { return [] { Keep(AllocatorStats().bytes_in_use.value_or(0)); }; });
}

}  // namespace
}  // namespace hotpath::bench
