// Walks over nodes in random order, four times as much as the last-level cache holds: a plain loop, and WithPrefetch at
// distances from 1 to 128. Three kinds of work per node:
//   light    adds one field: the CPU runs ahead over many nodes by itself and overlaps their misses
//   work     some 200 instructions: the reorder buffer holds a node or two, so that the next miss waits for this one
//   branchy  as many turns of a short loop as the node says: every miss ends in a mispredicted branch
// A sample is the median of many short passes, so that those that were interrupted do not count. Each pass goes on
// where the last one, of whichever contender, stopped: nobody finds in the cache what another has brought there.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "bench/base/rows.h"
#include "bench/base/ticks.h"
#include "hotpath/core/prefetch.h"

namespace hotpath::bench {
namespace {

struct alignas(64) Node {
  uint64_t words[8];
};

constexpr size_t kPass = 1024;  // nodes
constexpr size_t kPasses = 60;  // a sample
constexpr size_t kMegabyte = size_t{1} << 20;

// Of the last-level cache, which a virtual machine may overstate: between 128 MiB and 1 GiB.
size_t LargeBytes() {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const size_t wanted = cache > 0 ? static_cast<size_t>(cache) * 4 : 0;
  return std::clamp(wanted, 128 * kMegabyte, 1024 * kMegabyte) / sizeof(Node) * sizeof(Node);
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
  static Nodes& InCache() {
    static Nodes nodes(kMegabyte / 4, MADV_NOHUGEPAGE);
    return nodes;
  }
  static Nodes& Large() {
    static Nodes nodes(LargeBytes(), MADV_NOHUGEPAGE);
    return nodes;
  }
  static Nodes& LargeOnHugePages() {
    static Nodes nodes(LargeBytes(), MADV_HUGEPAGE);
    return nodes;
  }

  // The next kPass pointers.
  std::span<const Node* const> Next() {
    if (at_ + kPass > order_.size()) at_ = 0;
    at_ += kPass;
    return {order_.data() + at_ - kPass, kPass};
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
  size_t at_ = 0;
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
      asm volatile("" : "+r"(x));
    }
    return x;
  }
};

template <class Kind>
[[gnu::noinline]] uint64_t Plain(std::span<const Node* const> nodes) {
  uint64_t sum = 0;
  for (const Node* node : nodes) sum += Kind::Visit(*node);
  return sum;
}
template <class Kind>
[[gnu::noinline]] uint64_t Prefetched(std::span<const Node* const> nodes, size_t distance) {
  uint64_t sum = 0;
  for (const Node* node : WithPrefetch(nodes, distance)) sum += Kind::Visit(*node);
  return sum;
}

// Nanoseconds per node.
template <class Pass>
double Sample(Nodes& nodes, Pass pass) {
  std::vector<uint64_t> took(kPasses);
  for (uint64_t& ticks : took) {
    const std::span<const Node* const> next = nodes.Next();
    const uint64_t before = Ticks();
    Keep(pass(next));
    ticks = Ticks() - before;
  }
  std::nth_element(took.begin(), took.begin() + kPasses / 2, took.end());
  return TicksToNs(static_cast<double>(took[kPasses / 2])) / kPass;
}
template <class Kind>
double PlainSample(Nodes& nodes) {
  return Sample(nodes, Plain<Kind>);
}
template <class Kind>
double PrefetchedSample(Nodes& nodes, size_t distance) {
  return Sample(nodes, [distance](std::span<const Node* const> pass) { return Prefetched<Kind>(pass, distance); });
}

constexpr size_t kDistances[] = {1, 2, 4, 8, 16, 32, 64, 128};

// The shortest distance that is within 3 % of the best one.
template <class Kind>
double BestDistance() {
  double took[std::size(kDistances)];
  for (size_t i = 0; i < std::size(kDistances); ++i) took[i] = PrefetchedSample<Kind>(Nodes::Large(), kDistances[i]);
  const double best = *std::min_element(std::begin(took), std::end(took));
  size_t i = 0;
  while (took[i] > best * 1.03) ++i;
  return static_cast<double>(kDistances[i]);
}

// Ours is at `distance`, what performance.md's goal is about; the others are variants.
template <class Kind>
Row& AddDistances(Rows& rows, const char* kind, size_t distance, double goal) {
  Row& row = rows.Add({.id = "prefetch/" + std::string(kind) + "/t1",
                       .optimisation = 10,
                       .claim = std::string(kind) == "light" ? "iteration" : "",
                       .fresh = false,
                       .unit = "ns a node"})
                 .Sample(Role::kNaive, "plain loop", [] { return PlainSample<Kind>(Nodes::Large()); })
                 .Sample(Role::kOurs, "WithPrefetch, " + std::to_string(distance),
                         [distance] { return PrefetchedSample<Kind>(Nodes::Large(), distance); });
  for (const size_t other : kDistances) {
    if (other == distance) continue;
    row.Sample(Role::kVariant, "WithPrefetch, " + std::to_string(other),
               [other] { return PrefetchedSample<Kind>(Nodes::Large(), other); });
  }
  rows.Add({.id = "prefetch/best_distance_" + std::string(kind) + "/t1",
            .optimisation = 10,
            .fresh = false,
            .unit = "nodes ahead"})
      .Sample(Role::kOurs, "WithPrefetch", BestDistance<Kind>);
  return row.AtLeast(goal, "plain loop");
}

HOTPATH_BENCH_ROWS(rows) {
  AddDistances<Light>(rows, "light", 32, 0.95)
      .Sample(Role::kVariant, "plain loop, huge pages", [] { return PlainSample<Light>(Nodes::LargeOnHugePages()); })
      .Sample(Role::kVariant, "WithPrefetch, 32, huge pages",
              [] { return PrefetchedSample<Light>(Nodes::LargeOnHugePages(), 32); });
  AddDistances<Work>(rows, "work", 8, 1.6);
  AddDistances<Branchy>(rows, "branchy", 32, 2.3);
  // What the view costs where it cannot gain.
  rows.Add({.id = "prefetch/light_in_cache/t1", .optimisation = 10, .fresh = false, .unit = "ns a node"})
      .Sample(Role::kNaive, "plain loop", [] { return PlainSample<Light>(Nodes::InCache()); })
      .Sample(Role::kOurs, "WithPrefetch, 32", [] { return PrefetchedSample<Light>(Nodes::InCache(), 32); });
}

}  // namespace
}  // namespace hotpath::bench
