#include <cstddef>
#include <cstdint>
#include <memory>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/arena.h"

namespace hotpath::bench {
namespace {

struct Owner {
  ~Owner() { Keep(value); }
  uint64_t value = 1;
};

// So that no block is ever full.
template <class F>
void AddInScope(GoldenPaths& paths, const char* name, const F& path) {
  paths.Add(name, [path, arena = Isolated<Arena>()] {
    const ArenaScope scope(*arena);
    path(*arena);
  });
}

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  AddInScope(paths, "ArenaScope, empty", [](Arena&) {});
  AddInScope(paths, "ArenaScope and Allocate(64, 8)", [](Arena& arena) { Keep(arena.Allocate(64, 8)); });
  AddInScope(paths, "ArenaScope and two of Allocate(64, 8)", [](Arena& arena) {
    Keep(arena.Allocate(64, 8));
    Keep(arena.Allocate(64, 8));
  });
  AddInScope(paths, "ArenaScope and Allocate of a size not known to the compiler",
             [bytes = Isolated<size_t>(64)](Arena& arena) { Keep(arena.Allocate(*bytes, 8)); });
  AddInScope(paths, "ArenaScope and New with a destructor", [](Arena& arena) { Keep(arena.New<Owner>()); });
  paths.Add("WithArena and Allocate(64, 8)", [] { WithArena([](Arena& arena) { Keep(arena.Allocate(64, 8)); }); });
  paths.Add("WithArena, warm, a request of a vector and a string", [] {
    WithArena([](Arena& arena) {
      ArenaVector<uint64_t> v(arena);
      for (uint64_t i = 0; i < 8; ++i) v.push_back(i);
      const ArenaString s(40, 's', arena);
      Keep(v.data());
      Keep(s.data());
    });
  });
}

}  // namespace hotpath::bench
