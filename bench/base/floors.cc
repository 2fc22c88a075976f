#include "bench/base/floors.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "bench/base/statistics.h"
#include "bench/base/ticks.h"
#include "bench/base/window.h"

namespace hotpath::bench {
namespace {

using Word = std::atomic<uint64_t>;

struct Node {
  Node* next;
};

auto Chase(const std::shared_ptr<Node>& start) {
  return [start, at = start.get()]() mutable {
    at = at->next;
    Keep(at);
  };
}

// Thread 0 turns even numbers odd, thread 1 odd ones even. Each leaves when the window is over, and lets the other go.
// One number per window: ticks of a round trip, halved.
std::optional<double> LineTransfer() {
  if (Cores() < 2) return std::nullopt;
  const auto word = Isolated<Word>(0);
  const WindowOptions options{.measured = 2};
  const WindowRound round = RunWindows(
      options, [](int) {},
      [&](int thread, uint64_t stop, uint64_t) {
        ThreadWindow window;
        window.begin = Ticks();
        const uint64_t parity = static_cast<uint64_t>(thread);
        do {
          for (int i = 0; i < 16; ++i) {
            uint64_t seen = 0;
            while ((seen = word->load(std::memory_order::acquire)) % 2 != parity) {
              if (Ticks() >= stop) break;
            }
            if (seen % 2 != parity) break;
            word->store(seen + 1, std::memory_order::release);
            ++window.ops;
          }
          window.end = Ticks();
        } while (window.end < stop);
        window.ops = std::max<uint64_t>(window.ops, 1);
        return window;
      },
      [](int) {});
  // A thread's turn comes once a round trip.
  const std::optional<double> turn = round.MedianNs();
  return turn ? std::optional(*turn / 2) : std::nullopt;
}

constexpr size_t kBig = size_t{64} << 20;

// One random cycle through 64 MiB, a node a line.
struct alignas(64) Line {
  Node node;
};
std::shared_ptr<Node> BigCycle() {
  auto lines = std::make_shared<std::vector<Line>>(kBig / sizeof(Line));
  std::vector<uint32_t> order(lines->size());
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  for (size_t i = 0; i < order.size(); ++i) {
    (*lines)[order[i]].node.next = &(*lines)[order[(i + 1) % order.size()]].node;
  }
  return {lines, &lines->front().node};
}

std::optional<double> CopyGbPerSecond() {
  static const auto from = std::make_unique<std::vector<char>>(kBig, 'x');
  static const auto to = std::make_unique<std::vector<char>>(kBig, 'y');
  std::vector<double> ns;
  for (int i = 0; i < 3; ++i) {
    const uint64_t start = ClockNs(CLOCK_THREAD_CPUTIME_ID);
    std::memcpy(to->data(), from->data(), kBig);
    Keep(to->data());
    ns.push_back(static_cast<double>(ClockNs(CLOCK_THREAD_CPUTIME_ID) - start));
  }
  return static_cast<double>(kBig) / *Median(ns);
}

std::optional<double> PageFaultNs() {
  constexpr size_t kPages = 1024, kPage = 4096;
  void* const memory = mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return std::nullopt;
  madvise(memory, kPages * kPage, MADV_NOHUGEPAGE);
  const uint64_t start = ClockNs(CLOCK_THREAD_CPUTIME_ID);
  for (size_t i = 0; i < kPages; ++i) static_cast<volatile char*>(memory)[i * kPage] = 1;
  const uint64_t took = ClockNs(CLOCK_THREAD_CPUTIME_ID) - start;
  munmap(memory, kPages * kPage);
  return static_cast<double>(took) / kPages;
}

}  // namespace

void AddFloors(Rows& rows) {
  rows.Add({.id = "floor/l1_load"}).Floor("load to use, L1", [] {
    auto node = Isolated<Node>();
    node->next = node.get();
    return Chase(node);
  });
  rows.Add({.id = "floor/store_forward"}).Floor("load, add, store", [] {
    return [word = Isolated<Word>(0)] {
      word->store(word->load(std::memory_order::relaxed) + 1, std::memory_order::relaxed);
    };
  });
  const auto add = [] {
    const auto word = Isolated<Word>(0);
    return Ops([word] { word->fetch_add(1, std::memory_order::relaxed); }).CountLost([word](const Performed& done) {
      return done.measured - word->load(std::memory_order::relaxed);
    });
  };
  rows.Add({.id = "floor/rmw"}).Floor("fetch_add", add);
  if (Cores() >= 2) rows.Add({.id = "floor/rmw_contended", .threads = 2}).Floor("fetch_add by two", add);
  rows.Add({.id = "floor/fence"}).Floor("full fence", [] {
    return [] { std::atomic_thread_fence(std::memory_order::seq_cst); };
  });
  rows.Add({.id = "floor/line_transfer"}).Sample(Role::kFloor, "half a round trip", LineTransfer);
  rows.Add({.id = "floor/syscall"}).Floor("getppid", [] { return [] { Keep(syscall(SYS_getppid)); }; });
}

void AddMemoryFloors(Rows& rows) {
  rows.Add({.id = "floor/copy_64B"}).Floor("copy 64 bytes", [] {
    using Block = std::array<uint64_t, 8>;
    return [from = Isolated<Block>(), to = Isolated<Block>()] { *to = *from; };
  });
  rows.Add({.id = "floor/memory_latency", .fresh = false}).Floor("load to use, 64 MiB", [] {
    return Chase(BigCycle());
  });
  rows.Add({.id = "floor/memory_copy", .unit = "GB/s"}).Sample(Role::kFloor, "memcpy of 64 MiB", CopyGbPerSecond);
  rows.Add({.id = "floor/page_fault"}).Sample(Role::kFloor, "first touch of 4 KiB", PageFaultNs);
}

}  // namespace hotpath::bench
