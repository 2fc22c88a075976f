// Returning a value or an error with a short message, beside absl::StatusOr and std::variant.

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "bench/base/heap_counter.h"
#include "bench/base/rows.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/result.h"

namespace hotpath {
namespace {

constexpr const char* kMessage = "no such device, really";  // 22 bytes: inline

[[gnu::noinline]] Result<int> ReturnResult(bool fails) {
  if (fails) return Error{Code::kENODEV, kMessage};
  return 42;
}
[[gnu::noinline]] absl::StatusOr<int> ReturnStatusOr(bool fails) {
  if (fails) return absl::NotFoundError(kMessage);
  return 42;
}
struct StringError {
  int code;
  std::string message;
};
[[gnu::noinline]] std::variant<int, StringError> ReturnVariant(bool fails) {
  if (fails) return StringError{19, kMessage};
  return 42;
}

template <auto kFunction>
void BM_Return(benchmark::State& state) {
  bool fails = state.range(0) != 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(fails);
    auto result = kFunction(fails);
    benchmark::DoNotOptimize(result);
  }
}
BENCHMARK(BM_Return<ReturnResult>)->ArgName("fails")->Arg(0)->Arg(1);
BENCHMARK(BM_Return<ReturnStatusOr>)->ArgName("fails")->Arg(0)->Arg(1);
BENCHMARK(BM_Return<ReturnVariant>)->ArgName("fails")->Arg(0)->Arg(1);

template <auto kFunction>
double AllocationsPerError() {
  const bench::HeapMark mark;
  const auto result = kFunction(true);
  bench::Escape(result);
  return static_cast<double>(mark.Since().allocations);
}

HOTPATH_BENCH_ROWS(rows) {
  using bench::Role;
  rows.Add({.id = "result/allocations/t1", .optimisation = 9, .claim = "errors", .unit = "allocations per error"})
      .Sample(Role::kNaive, "std::variant with a std::string", AllocationsPerError<ReturnVariant>)
      .Sample(Role::kOurs, "Result", AllocationsPerError<ReturnResult>)
      .Sample(Role::kPeer, "absl::StatusOr", AllocationsPerError<ReturnStatusOr>);
  for (const bool fails : {false, true}) {
    const std::string arg = fails ? ">/fails:1" : ">/fails:0";
    rows.Add({.id = fails ? "result/error/t1" : "result/value/t1", .optimisation = 9})
        .Benchmark(Role::kNaive, "std::variant with a std::string", "BM_Return<ReturnVariant" + arg)
        .Benchmark(Role::kOurs, "Result", "BM_Return<ReturnResult" + arg)
        .Benchmark(Role::kPeer, "absl::StatusOr", "BM_Return<ReturnStatusOr" + arg);
  }
}

}  // namespace
}  // namespace hotpath
