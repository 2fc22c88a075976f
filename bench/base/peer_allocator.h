#ifndef HOTPATH_BENCH_BASE_PEER_ALLOCATOR_H_
#define HOTPATH_BENCH_BASE_PEER_ALLOCATOR_H_

#include <cstddef>
#include <optional>
#include <string>

// The allocators of @hotpath_peers, side by side in one process: loaded, not linked, so that the process's own malloc
// stays what it is. All are called through pointers read at run time: the compiler treats them alike and removes none.

namespace hotpath::bench {

struct PeerAllocator {
  std::string name;
  void* (*malloc)(size_t);
  void (*free)(void*);

  // "glibc" (whatever is linked in front of it), "tcmalloc", "jemalloc" or "mimalloc". Nothing if it is not installed,
  // or for jemalloc if the process started without GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384: its
  // thread-locals must be in the static block. //bench/base's main() sees to that.
  static std::optional<PeerAllocator> Load(const std::string& name);
};

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_PEER_ALLOCATOR_H_
