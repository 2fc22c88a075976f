#include "bench/base/peer_allocator.h"

#include <dlfcn.h>

#include <array>
#include <bit>

namespace hotpath::bench {
namespace {

struct Known {
  const char* name;
  const char* soname;
  const char* malloc;
  const char* free;
};

constexpr Known kKnown[] = {
    {"glibc", "libc.so.6", "malloc", "free"},
#if HOTPATH_HAVE_TCMALLOC
    {"tcmalloc", HOTPATH_TCMALLOC_SONAME, "tc_malloc", "tc_free"},
#endif
#if HOTPATH_HAVE_JEMALLOC
    {"jemalloc", HOTPATH_JEMALLOC_SONAME, "malloc", "free"},
#endif
#if HOTPATH_HAVE_MIMALLOC
    {"mimalloc", HOTPATH_MIMALLOC_SONAME, "mi_malloc", "mi_free"},
#endif
};

}  // namespace

std::optional<PeerAllocator> PeerAllocator::Load(const std::string& name) {
  for (const Known& known : kKnown) {
    if (name != known.name) continue;
    // RTLD_DEEPBIND: the library calls its own functions, not the process's of the same name.
    void* library = dlopen(known.soname, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (library == nullptr) return std::nullopt;
    void* const allocate = dlsym(library, known.malloc);
    void* const release = dlsym(library, known.free);
    if (allocate == nullptr || release == nullptr) return std::nullopt;
    return PeerAllocator{name, std::bit_cast<void* (*)(size_t)>(allocate), std::bit_cast<void (*)(void*)>(release)};
  }
  return std::nullopt;
}

}  // namespace hotpath::bench
