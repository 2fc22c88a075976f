// Walks over nodes in random order, in a plain loop and with WithPrefetch at distances from 0 to 128. The rows to look
// at are those whose nodes do not fit the last-level cache; the others show what the view costs where it cannot gain.
// Three kinds of work per node:
//   light    adds one field: the CPU runs ahead over many nodes by itself and overlaps their misses
//   work     some 200 instructions: the reorder buffer holds a node or two, so that the next miss waits for this one
//   branchy  as many turns of a short loop as the node says: every miss ends in a mispredicted branch
// Each turn of a benchmark visits kStride nodes and goes on where the last one stopped. Time per item is per node.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "benchmark/benchmark.h"
#include "hotpath/core/prefetch.h"

namespace hotpath {
namespace {

struct alignas(64) Node {
  uint64_t words[8];
};

constexpr size_t kStride = 4096;
constexpr size_t kMegabyte = size_t{1} << 20;

// More than the last-level cache, which a virtual machine may overstate: between 64 MiB and 1 GiB.
size_t LargeBytes() {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const size_t wanted = cache > 0 ? static_cast<size_t>(cache) / 4 * 5 : 0;
  return std::clamp(wanted, 64 * kMegabyte, 1024 * kMegabyte) / sizeof(Node) * sizeof(Node);
}

uint64_t Random(uint64_t& state) {  // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

// Nodes on 4 KiB pages or, as far as the kernel has them, on huge ones, and pointers to all of them in random order.
class Nodes {
 public:
  static const Nodes& Small() {  // fits a second-level cache
    static const Nodes nodes(kMegabyte, MADV_NOHUGEPAGE);
    return nodes;
  }
  static const Nodes& Large() {
    static const Nodes nodes(LargeBytes(), MADV_NOHUGEPAGE);
    return nodes;
  }
  static const Nodes& LargeOnHugePages() {
    static const Nodes nodes(LargeBytes(), MADV_HUGEPAGE);
    return nodes;
  }

  // The next kStride pointers.
  std::span<const Node* const> Next(size_t& at) const {
    if (at + kStride > order_.size()) at = 0;
    at += kStride;
    return {order_.data() + at - kStride, kStride};
  }

 private:
  Nodes(size_t bytes, int advice) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    madvise(memory, bytes, advice);
    auto* nodes = static_cast<Node*>(memory);
    const size_t count = bytes / sizeof(Node);
    uint64_t state = 1;
    order_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      for (uint64_t& word : nodes[i].words) word = Random(state);
      order_[i] = &nodes[i];
    }
    for (size_t i = count; i > 1; --i) std::swap(order_[i - 1], order_[Random(state) % i]);
  }

  std::vector<const Node*> order_;
};

struct Light {
  static uint64_t Visit(const Node& node) { return node.words[3]; }
};
struct Work {
  static uint64_t Visit(const Node& node) {
    uint64_t x = 0;
    for (int round = 0; round < 6; ++round) {
      for (const uint64_t word : node.words) x = (x ^ word) * 0xd1342543de82ef95 + (x >> 32);
    }
    return x;
  }
};
struct Branchy {
  static uint64_t Visit(const Node& node) {
    uint64_t x = node.words[3];
    for (uint64_t turns = x % 16; turns > 0; --turns) {
      x = x * 0xd1342543de82ef95 + 1;
      benchmark::DoNotOptimize(x);
    }
    return x;
  }
};

template <class Kind, const Nodes& (*kGet)()>
void Plain(benchmark::State& state) {
  const Nodes& nodes = kGet();
  size_t at = 0;
  uint64_t sum = 0;
  for (auto _ : state) {
    for (const Node* node : nodes.Next(at)) sum += Kind::Visit(*node);
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(static_cast<int64_t>(kStride) * state.iterations());
}

template <class Kind, const Nodes& (*kGet)()>
void Prefetched(benchmark::State& state) {
  const Nodes& nodes = kGet();
  const auto distance = static_cast<size_t>(state.range(0));
  size_t at = 0;
  uint64_t sum = 0;
  for (auto _ : state) {
    for (const Node* node : WithPrefetch(nodes.Next(at), distance)) sum += Kind::Visit(*node);
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(static_cast<int64_t>(kStride) * state.iterations());
}

void Distances(benchmark::internal::Benchmark* row) {
  for (const int distance : {0, 1, 2, 4, 8, 16, 32, 64, 128}) row->Arg(distance);
}

BENCHMARK(Plain<Light, &Nodes::Small>)->Name("light/fits_l2/plain");
BENCHMARK(Prefetched<Light, &Nodes::Small>)->Name("light/fits_l2/prefetch")->Apply(Distances);
BENCHMARK(Plain<Work, &Nodes::Small>)->Name("work/fits_l2/plain");
BENCHMARK(Prefetched<Work, &Nodes::Small>)->Name("work/fits_l2/prefetch")->Apply(Distances);
BENCHMARK(Plain<Light, &Nodes::Large>)->Name("light/large/plain");
BENCHMARK(Prefetched<Light, &Nodes::Large>)->Name("light/large/prefetch")->Apply(Distances);
BENCHMARK(Plain<Work, &Nodes::Large>)->Name("work/large/plain");
BENCHMARK(Prefetched<Work, &Nodes::Large>)->Name("work/large/prefetch")->Apply(Distances);
BENCHMARK(Plain<Branchy, &Nodes::Large>)->Name("branchy/large/plain");
BENCHMARK(Prefetched<Branchy, &Nodes::Large>)->Name("branchy/large/prefetch")->Apply(Distances);
BENCHMARK(Plain<Light, &Nodes::LargeOnHugePages>)->Name("light/huge_pages/plain");
BENCHMARK(Prefetched<Light, &Nodes::LargeOnHugePages>)->Name("light/huge_pages/prefetch")->Apply(Distances);

}  // namespace
}  // namespace hotpath
