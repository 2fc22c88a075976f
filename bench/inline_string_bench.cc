#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_format.h"
#include "bench/base/heap_counter.h"
#include "bench/base/rows.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/inline_string.h"

#if HOTPATH_HAVE_BOOST
#include <boost/container/small_vector.hpp>
#define HOTPATH_BENCH_BOOST(name, args) BENCHMARK_TEMPLATE(name, Boost24) args
#else
#define HOTPATH_BENCH_BOOST(name, args) static_assert(true)
#endif

// Every row works on kBatch strings an iteration, so that loop overhead does not hide a nanosecond: read
// items_per_second. Argument: length in bytes; kMixed draws it from 0 to 23, so that the branch on the length is not
// predicted.

namespace hotpath {
namespace {

using absl::InlinedVector;
using Inlined24 = InlinedVector<char, 24>;
#if HOTPATH_HAVE_BOOST
using Boost24 = boost::container::small_vector<char, 24>;
#endif

// No string: the bytes that one of up to 23 consists of, which a copy of it cannot do without.
struct Bytes24 {
  explicit Bytes24(std::string_view text) { text.copy(bytes, sizeof(bytes)); }
  char bytes[24] = {};
};

// Nor this: text of 8 to 16 bytes, padded as equality in one comparison asks for, and its size. The least that making a
// string from such text takes.
struct TwoWords {
  explicit TwoWords(std::string_view text) {
    const size_t size = text.size();
    if (size < 8 || size > 16) std::abort();
    std::memcpy(bytes, text.data(), 8);
    std::memcpy(bytes + size - 8, text.data() + size - 8, 8);
    bytes[23] = static_cast<char>(23 - size);
  }
  char bytes[24] = {};
};

constexpr int kBatch = 64;
constexpr int64_t kMixed = -1;

template <class S>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline S Make(std::string_view text) {
  if constexpr (std::is_constructible_v<S, std::string_view>) {
    return S(text);
  } else {
    return S(text.begin(), text.end());
  }
}

std::vector<std::string> Texts(int64_t length) {
  std::mt19937 rng(1);
  std::vector<std::string> texts(kBatch);
  for (std::string& text : texts) {
    text.resize(length == kMixed ? rng() % 24 : static_cast<size_t>(length));
    for (char& c : text) c = static_cast<char>('a' + rng() % 26);
  }
  return texts;
}

template <class S>
std::vector<S> MakeAll(const std::vector<std::string>& texts) {
  std::vector<S> all;
  for (const std::string& text : texts) all.push_back(Make<S>(text));
  return all;
}

template <class S>
void BM_Construct(benchmark::State& state) {
  const std::vector<std::string> texts = Texts(state.range(0));
  for (auto _ : state) {
    for (const std::string& text : texts) {
      S s = Make<S>(text);
      benchmark::DoNotOptimize(s);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

template <class S>
void BM_Copy(benchmark::State& state) {
  const std::vector<S> all = MakeAll<S>(Texts(state.range(0)));
  for (auto _ : state) {
    for (const S& s : all) {
      S copy = s;
      benchmark::DoNotOptimize(copy);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

// Built, then moved at once: what returning an error does.
template <class S>
void BM_ConstructAndMove(benchmark::State& state) {
  const std::vector<std::string> texts = Texts(state.range(0));
  for (auto _ : state) {
    for (const std::string& text : texts) {
      S s = Make<S>(text);
      benchmark::DoNotOptimize(s);
      S moved = std::move(s);
      benchmark::DoNotOptimize(moved);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

template <class S>
void BM_Equal(benchmark::State& state) {
  const std::vector<S> left = MakeAll<S>(Texts(state.range(0)));
  const std::vector<S> right = left;  // NOLINT(performance-unnecessary-copy-initialization): bytes elsewhere
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) benchmark::DoNotOptimize(left[i] == right[i]);
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

template <class S>
void BM_EqualView(benchmark::State& state) {
  const std::vector<std::string> texts = Texts(state.range(0));
  const std::vector<S> all = MakeAll<S>(texts);
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) benchmark::DoNotOptimize(all[i] == std::string_view(texts[i]));
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

template <class S>
void BM_AppendTwice(benchmark::State& state) {
  const std::vector<std::string> texts = Texts(state.range(0));
  for (auto _ : state) {
    for (const std::string& text : texts) {
      const std::string_view half = std::string_view(text).substr(0, text.size() / 2);
      S s;
      s.append(half);
      s.append(half);
      benchmark::DoNotOptimize(s);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

// Copies over a string that holds something already.
template <class S>
void BM_CopyAssign(benchmark::State& state) {
  const std::vector<S> all = MakeAll<S>(Texts(state.range(0)));
  S to = Make<S>("before");
  for (auto _ : state) {
    for (const S& s : all) {
      to = s;
      benchmark::DoNotOptimize(to);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

// There and back.
template <class S>
void BM_MoveAssign(benchmark::State& state) {
  std::vector<S> all = MakeAll<S>(Texts(state.range(0)));
  S to = Make<S>("before");
  for (auto _ : state) {
    for (S& s : all) {
      to = std::move(s);
      benchmark::DoNotOptimize(to);
      s = std::move(to);
      benchmark::DoNotOptimize(s);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

template <class S>
void BM_Less(benchmark::State& state) {
  const std::vector<S> left = MakeAll<S>(Texts(state.range(0)));
  const std::vector<S> right = left;  // NOLINT(performance-unnecessary-copy-initialization): bytes elsewhere
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) benchmark::DoNotOptimize(left[i] < right[i]);
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

// Where the text is and how long.
template <class S>
void BM_DataAndSize(benchmark::State& state) {
  const std::vector<S> all = MakeAll<S>(Texts(state.range(0)));
  for (auto _ : state) {
    for (const S& s : all) {
      benchmark::DoNotOptimize(s.data());
      benchmark::DoNotOptimize(s.size());
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

template <class S>
void BM_PushBack(benchmark::State& state) {
  const auto length = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    S s;
    for (size_t i = 0; i < length; ++i) s.push_back(static_cast<char>('a' + i % 26));
    benchmark::DoNotOptimize(s);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

template <class S>
void BM_Hash(benchmark::State& state) {
  const std::vector<S> all = MakeAll<S>(Texts(state.range(0)));
  for (auto _ : state) {
    for (const S& s : all) benchmark::DoNotOptimize(absl::Hash<S>{}(s));
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

void BM_FormatInlineString(benchmark::State& state) {
  int number = 0;
  for (auto _ : state) benchmark::DoNotOptimize(InlineString::Format("no process %d", ++number));
}
void BM_FormatStdString(benchmark::State& state) {
  int number = 0;
  for (auto _ : state) benchmark::DoNotOptimize(absl::StrFormat("no process %d", ++number));
}

template <class Map>
void BM_Find(benchmark::State& state) {
  Map map;
  const std::vector<std::string> texts = Texts(state.range(0));
  for (const std::string& text : texts) map.try_emplace(Make<typename Map::key_type>(text), 1);
  for (auto _ : state) {
    for (const std::string& text : texts) benchmark::DoNotOptimize(map.find(text));
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

#define HOTPATH_BENCH_ALL(name, ...)                  \
  BENCHMARK_TEMPLATE(name, InlineString) __VA_ARGS__; \
  BENCHMARK_TEMPLATE(name, std::string) __VA_ARGS__;  \
  BENCHMARK_TEMPLATE(name, Inlined24) __VA_ARGS__;    \
  HOTPATH_BENCH_BOOST(name, __VA_ARGS__)

#define HOTPATH_BENCH_STRINGS(name, ...)              \
  BENCHMARK_TEMPLATE(name, InlineString) __VA_ARGS__; \
  BENCHMARK_TEMPLATE(name, std::string) __VA_ARGS__

#define HOTPATH_LENGTHS \
  ->Arg(kMixed)->Arg(0)->Arg(1)->Arg(7)->Arg(8)->Arg(15)->Arg(16)->Arg(22)->Arg(23)->Arg(24)->Arg(64)->Arg(256)

HOTPATH_BENCH_ALL(BM_Construct, HOTPATH_LENGTHS);
HOTPATH_BENCH_ALL(BM_Copy, HOTPATH_LENGTHS);
BENCHMARK_TEMPLATE(BM_Construct, TwoWords)->Arg(15);
BENCHMARK_TEMPLATE(BM_Copy, Bytes24)->Arg(15)->Arg(23);
HOTPATH_BENCH_ALL(BM_ConstructAndMove, HOTPATH_LENGTHS);
HOTPATH_BENCH_ALL(BM_Equal, HOTPATH_LENGTHS);
HOTPATH_BENCH_ALL(BM_CopyAssign, HOTPATH_LENGTHS);
HOTPATH_BENCH_ALL(BM_MoveAssign, HOTPATH_LENGTHS);
HOTPATH_BENCH_ALL(BM_Less, HOTPATH_LENGTHS);
HOTPATH_BENCH_ALL(BM_DataAndSize, HOTPATH_LENGTHS);
HOTPATH_BENCH_ALL(BM_PushBack, ->Arg(7)->Arg(15)->Arg(23)->Arg(24)->Arg(64)->Arg(256));
HOTPATH_BENCH_STRINGS(BM_Hash, HOTPATH_LENGTHS);
HOTPATH_BENCH_STRINGS(BM_EqualView, HOTPATH_LENGTHS);
HOTPATH_BENCH_STRINGS(BM_AppendTwice, HOTPATH_LENGTHS);
BENCHMARK_TEMPLATE(BM_Find, InlineStringMap<int>) HOTPATH_LENGTHS;
BENCHMARK_TEMPLATE(BM_Find, absl::flat_hash_map<std::string, int>) HOTPATH_LENGTHS;
BENCHMARK(BM_FormatInlineString);
BENCHMARK(BM_FormatStdString);

// Messages of errors as kernels and libraries write them: 4 to 31 bytes.
constexpr std::string_view kMessages[] = {
    "busy",
    "no such process",
    "permission denied",
    "no such file or directory",
    "not a directory",
    "file exists",
    "bad file descriptor",
    "invalid argument",
    "too many open files",
    "resource temporarily unavailable",
    "broken pipe",
    "read-only file system",
    "no space left on device",
    "not implemented",
    "operation timed out",
    "connection refused",
};

template <class S>
double AllocationsPer100Messages() {
  const bench::HeapMark mark;
  for (const std::string_view message : kMessages) {
    S s(message);
    bench::Escape(s);
  }
  return 100.0 * static_cast<double>(mark.Since().allocations) / std::size(kMessages);
}

HOTPATH_BENCH_ROWS(rows) {
  using bench::Role;
  rows.Add({.id = "inline_string/allocations/t1",
            .optimisation = 3,
            .claim = "allocations",
            .unit = "allocations per 100 messages",
            .note = "16 errno messages of 4 to 32 bytes; std::string keeps 15 bytes inline, InlineString 23"})
      .Sample(Role::kNaive, "std::string", AllocationsPer100Messages<std::string>)
      .Sample(Role::kOurs, "InlineString", AllocationsPer100Messages<InlineString>);
  struct Goals {
    const char* what;
    int64_t length;
    double std_string, inlined_vector;  // at least; 0: no goal
  };
  constexpr Goals kGoals[] = {
      {"Construct", 15, 4, 0}, {"Construct", 23, 12, 0}, {"Construct", 64, 0.95, 0}, {"Copy", 15, 9, 3},
      {"Copy", 23, 25, 3},     {"Copy", 64, 0.95, 0},    {"Equal", 23, 2.2, 0},
  };
  for (const Goals& goals : kGoals) {
    const auto name = [&](const char* type) {
      return std::string("BM_") + goals.what + "<" + type + ">/" + std::to_string(goals.length);
    };
    bench::Row& row =
        rows.Add({.id = "inline_string/" + std::string(goals.what) + "_" + std::to_string(goals.length) + "B/t1",
                  .optimisation = 3})
            .Benchmark(Role::kNaive, "std::string", name("std::string"))
            .Benchmark(Role::kOurs, "InlineString", name("InlineString"))
            .Benchmark(Role::kPeer, "absl::InlinedVector<char, 24>", name("Inlined24"))
            .AtLeast(goals.std_string, "std::string");
    if (goals.what == std::string_view("Copy") && goals.length < 24) {
      row.Benchmark(Role::kFloor, "24 bytes", name("Bytes24"));
    }
    if (goals.what == std::string_view("Construct") && goals.length < 16) {
      row.Benchmark(Role::kFloor, "two words, padded", name("TwoWords"));
    }
#if HOTPATH_HAVE_BOOST
    row.Benchmark(Role::kPeer, "boost small_vector<char, 24>", name("Boost24"));
#else
    row.NotInstalled("boost small_vector<char, 24>");
#endif
    if (goals.inlined_vector > 0) row.AtLeast(goals.inlined_vector, "absl::InlinedVector<char, 24>");
  }
}

}  // namespace
}  // namespace hotpath
