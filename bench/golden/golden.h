#ifndef HOTPATH_BENCH_GOLDEN_GOLDEN_H_
#define HOTPATH_BENCH_GOLDEN_GOLDEN_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

// What a fast path costs in countable things: instructions, calls, read-modify-writes, fences, system calls and heap
// allocations. Each path is executed one instruction at a time, and the counts are compared with the checked-in
// NAME.golden. bench/README.md explains it with an example.

namespace hotpath::bench {

// A path, and the function that the counting starts and ends with.
struct GoldenPath {
  std::string name;
  void (*call)(void* closure);
  void* closure;
  std::shared_ptr<void> owner;
};

class GoldenPaths {
 public:
  // `path` is called a few times to warm up, and then counted: the cheapest of several calls, so that a path that
  // refills a cache now and then is pinned without the refill.
  template <class F>
  void Add(std::string name, F path) {
    auto owner = std::make_shared<F>(std::move(path));
    paths_.push_back({std::move(name), &Call<F>, owner.get(), owner});
  }
  const std::vector<GoldenPath>& all() const noexcept { return paths_; }

 private:
  template <class F>
  [[gnu::noinline]] static void Call(void* closure) {
    (*static_cast<F*>(closure))();
  }

  std::vector<GoldenPath> paths_;
};

// Defined by NAME_golden.cc.
void AddGoldenPaths(GoldenPaths& paths);

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_GOLDEN_GOLDEN_H_
