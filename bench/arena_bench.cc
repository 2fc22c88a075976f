// An arena beside a bare bump pointer (the floor), mallocs, std::pmr's monotonic and pool resources, protobuf's arena
// and Boost's pool.
//
// An operation is a request: a number of allocations, each touched, and then all given back. "Fresh" rows make and
// destroy the arena with each request; the others keep it warm.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/heap_counter.h"
#include "bench/base/peer_allocator.h"
#include "bench/base/rows.h"
#include "hotpath/core/arena.h"

#if HOTPATH_HAVE_BOOST
#include "boost/pool/pool.hpp"
#endif
#if HOTPATH_HAVE_PROTOBUF
#include "google/protobuf/arena.h"
#endif

namespace hotpath::bench {
namespace {

constexpr size_t kRequestBytes = 512 << 10;  // more than any request takes

using Sizes = std::array<uint32_t, 512>;

// `size_of` of numbers drawn from 1 to 64.
constexpr Sizes MakeSizes(uint32_t (*size_of)(uint32_t)) {
  Sizes sizes{};
  uint64_t state = 1;
  for (uint32_t& size : sizes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    size = size_of(static_cast<uint32_t>(state >> 58) + 1);
  }
  return sizes;
}
// As a request's strings and nodes have them: small ones more often, 86 bytes on average, 44 KiB together.
constexpr Sizes kSmallSizes = MakeSizes([](uint32_t u) { return 8 + u * u / 17; });
// 16 to 1024 bytes, 520 on average: beyond most of what glibc caches for a thread, and beyond the L1 cache.
constexpr Sizes kWideSizes = MakeSizes([](uint32_t u) { return 16 * u; });

struct Node {
  Node* next;
  uint64_t key, value;
};

// What requests ask for.
template <const Sizes& sizes>
struct Blocks {
  static constexpr size_t kCount = sizes.size();
  template <class A>
  static void Fill(A& a) {
    for (const uint32_t size : sizes) {
      auto* p = static_cast<uint64_t*>(a.Allocate(size, 8));
      *p = size;
      Keep(p);
    }
  }
};
struct Nodes {
  static constexpr size_t kCount = 512;
  template <class A>
  static void Fill(A& a) {
    Node* list = nullptr;
    for (size_t i = 0; i < kCount; ++i) {
      list = ::new (a.Allocate(sizeof(Node), alignof(Node))) Node{list, i, i};
      Keep(list);
    }
  }
};

// Arenas of all kinds: Allocate(bytes, align), and Reset() or, for those that want every block back, Free(p, bytes).

// The least that can be done: one pointer, moved and compared.
class Bump {
 public:
  void* Allocate(size_t bytes, size_t) {
    std::byte* p = top_;
    bytes = (bytes + 7) & ~size_t{7};
    if (bytes > static_cast<size_t>(end_ - p)) std::abort();
    top_ = p + bytes;
    return p;
  }
  void Reset() { top_ = memory_.get(); }

 private:
  std::unique_ptr<std::byte[]> memory_{new std::byte[kRequestBytes]};
  std::byte* top_ = memory_.get();
  std::byte* end_ = top_ + kRequestBytes;
};

// Reached through its virtual interface.
class Resource {
 public:
  void* Allocate(size_t bytes, size_t align) { return resource_->allocate(bytes, align); }
  void Reset() { arena_.Reset(); }

 private:
  Arena arena_;
  std::pmr::memory_resource* resource_ = arena_.resource();
};

// Its buffer holds a whole request, which is its best case.
class Monotonic {
 public:
  void* Allocate(size_t bytes, size_t align) { return resource_.allocate(bytes, align); }
  void Reset() { resource_.release(); }

 private:
  std::unique_ptr<std::byte[]> memory_{new std::byte[kRequestBytes]};
  std::pmr::monotonic_buffer_resource resource_{memory_.get(), kRequestBytes};
};

struct LargeFirst {
  void* Allocate(size_t bytes, size_t align) { return arena.Allocate(bytes, align); }
  Arena arena{ArenaOptions{.first_block = kRequestBytes}};
};

struct FreshMonotonic {
  void* Allocate(size_t bytes, size_t align) { return resource.allocate(bytes, align); }
  std::pmr::monotonic_buffer_resource resource;
};

class PmrPool {
 public:
  void* Allocate(size_t bytes, size_t align) { return resource_.allocate(bytes, align); }
  void Free(void* p, size_t bytes) { resource_.deallocate(p, bytes, 8); }

 private:
  std::pmr::unsynchronized_pool_resource resource_;
};

class Malloc {
 public:
  explicit Malloc(const PeerAllocator& heap) : malloc_(heap.malloc), free_(heap.free) {}
  void* Allocate(size_t bytes, size_t) { return malloc_(bytes); }
  void Free(void* p, size_t) { free_(p); }

 private:
  void* (*malloc_)(size_t);
  void (*free_)(void*);
};

#if HOTPATH_HAVE_PROTOBUF
// Its first block holds a whole request too.
class Protobuf {
 public:
  void* Allocate(size_t bytes, size_t) { return google::protobuf::Arena::CreateArray<char>(&arena_, bytes); }
  void Reset() { arena_.Reset(); }

 private:
  static google::protobuf::ArenaOptions Options(std::byte* block) {
    google::protobuf::ArenaOptions options;
    void* bytes = block;
    options.initial_block = static_cast<char*>(bytes);
    options.initial_block_size = kRequestBytes;
    return options;
  }
  std::unique_ptr<std::byte[]> memory_{new std::byte[kRequestBytes]};
  google::protobuf::Arena arena_{Options(memory_.get())};
};
#endif

#if HOTPATH_HAVE_BOOST
// One size only.
class BoostPool {
 public:
  void* Allocate(size_t, size_t) { return pool_.malloc(); }
  void Free(void* p, size_t) { pool_.free(p); }

 private:
  boost::pool<> pool_{sizeof(Node)};
};
#endif

// On the heap, reached as an arena is that gets handed around.
template <class Work, class A, class... Args>
auto Reused(const Args&... args) {
  return [arena = Isolated<A>(args...)] {
    Work::Fill(*arena);
    arena->Reset();
  };
}
template <class Work, class A>
auto Fresh() {
  return [] {
    A arena;
    Work::Fill(arena);
  };
}
template <class Work, class A, class... Args>
auto OneByOne(const Args&... args) {
  struct Kept {
    explicit Kept(const Args&... a) : from(a...) {}
    void* Allocate(size_t bytes, size_t align) {
      void* p = from.Allocate(bytes, align);
      blocks[count] = {p, bytes};
      ++count;
      return p;
    }
    A from;
    size_t count = 0;
    std::array<std::pair<void*, size_t>, Work::kCount> blocks;
  };
  return [kept = Isolated<Kept>(args...)] {
    kept->count = 0;
    Work::Fill(*kept);
    for (const auto& [p, bytes] : kept->blocks) kept->from.Free(p, bytes);
  };
}

void AddMallocs(Row& row, auto make) {
  for (const char* name : {"glibc", "tcmalloc", "jemalloc", "mimalloc"}) {
    if (const auto heap = PeerAllocator::Load(name)) {
      row.Add(std::string(name) == "glibc" ? Role::kNaive : Role::kPeer, name,
              [heap = *heap, make] { return make(heap); });
    } else {
      row.NotInstalled(name);
    }
  }
}

template <class Work>
Row& AddRequest(Rows& rows, RowOptions options) {
  Row& row = rows.Add(std::move(options));
  AddMallocs(row, [](const PeerAllocator& heap) { return OneByOne<Work, Malloc>(heap); });
  row.Ours("Arena", [] { return Reused<Work, Arena>(); })
      .Variant("WithArena", [] { return [] { WithArena([](Arena& arena) { Work::Fill(arena); }); }; })
      .Variant("Arena::resource()", [] { return Reused<Work, Resource>(); })
      .Peer("monotonic, reused", [] { return Reused<Work, Monotonic>(); })
      .Peer("std::pmr pool", [] { return OneByOne<Work, PmrPool>(); })
      .Floor("bare bump", [] { return Reused<Work, Bump>(); });
#if HOTPATH_HAVE_PROTOBUF
  row.Peer("protobuf arena", [] { return Reused<Work, Protobuf>(); });
#else
  row.NotInstalled("protobuf arena");
#endif
  return row.AtMost(1.15, "bare bump").AtLeast(1.3, "monotonic, reused").AtLeast(2, "mimalloc");
}

// Of a request that makes a vector of strings.
struct Allocations {
  static double Of(const auto& request) {
    constexpr int kRequests = 100;
    for (int i = 0; i < 3; ++i) request();
    const HeapMark heap;
    for (int i = 0; i < kRequests; ++i) request();
    return static_cast<double>(heap.Since().allocations) / kRequests;
  }
  static std::optional<double> WithStd() {
    return Of([] {
      std::vector<std::string> parts;
      for (int i = 0; i < 100; ++i) parts.emplace_back(60, static_cast<char>('a' + i % 26));
      Keep(parts.data());
    });
  }
  static std::optional<double> WithOurs() {
    return Of([] {
      WithArena([](Arena& arena) {
        ArenaVector<ArenaString> parts(arena);
        for (int i = 0; i < 100; ++i) parts.emplace_back(60, static_cast<char>('a' + i % 26), arena);
        Keep(parts.data());
      });
    });
  }
};

HOTPATH_BENCH_ROWS(rows) {
  AddRequest<Blocks<kWideSizes>>(rows, {.id = "arena/request_16B_to_1KiB/t1",
                                        .optimisation = 13,
                                        .claim = "arena",
                                        .note = "512 blocks of 16 to 1024 bytes, written, then all given back"})
      .AtLeast(17, "glibc");
  AddRequest<Blocks<kSmallSizes>>(rows,
                                  {.id = "arena/request_8B_to_249B/t1",
                                   .optimisation = 13,
                                   .note = "512 blocks, 86 bytes on average: glibc's cache of the thread serves"});
  Row& nodes = AddRequest<Nodes>(
      rows, {.id = "arena/request_nodes/t1", .optimisation = 13, .note = "a list of 512 nodes of 24 bytes"});
#if HOTPATH_HAVE_BOOST
  nodes.Peer("boost::pool", [] { return OneByOne<Nodes, BoostPool>(); });
#else
  nodes.NotInstalled("boost::pool");
#endif
  rows.Add({.id = "arena/fresh_request/t1", .optimisation = 13, .note = "the arena is made and destroyed with each"})
      .Floor("bare bump, kept", [] { return Reused<Blocks<kWideSizes>, Bump>(); })
      .Floor("bare bump, a block that is large enough", [] { return Fresh<Blocks<kWideSizes>, Bump>(); })
      .Ours("Arena", [] { return Fresh<Blocks<kWideSizes>, Arena>(); })
      .Variant("Arena, a first block that is large enough", [] { return Fresh<Blocks<kWideSizes>, LargeFirst>(); })
      .Peer("monotonic", [] { return Fresh<Blocks<kWideSizes>, FreshMonotonic>(); })
      .AtLeast(5, "monotonic");

  // What one scope costs. The heap's 64 bytes are what it has to beat.
  Row& scope = rows.Add({.id = "arena/scope/t1", .optimisation = 13, .note = "one block of 64 bytes"});
  AddMallocs(scope, [](const PeerAllocator& heap) {
    return [heap] {
      void* p = heap.malloc(64);
      Keep(p);
      heap.free(p);
    };
  });
  scope.Ours("WithArena", [] { return [] { WithArena([](Arena& arena) { Keep(arena.Allocate(64, 8)); }); }; })
      .Variant("ArenaScope", [] {
        return [arena = Isolated<Arena>()] {
          const ArenaScope scope(*arena);
          Keep(arena->Allocate(64, 8));
        };
      });

  rows.Add({.id = "arena/request_allocations/t1",
            .optimisation = 13,
            .unit = "allocations",
            .note = "a vector of 100 strings of 60 bytes"})
      .Sample(Role::kNaive, "std::vector<std::string>", Allocations::WithStd)
      .Sample(Role::kOurs, "ArenaVector<ArenaString> in WithArena", Allocations::WithOurs);
}

}  // namespace
}  // namespace hotpath::bench
