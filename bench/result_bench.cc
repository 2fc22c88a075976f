// Returning a value or an error with a short message, beside absl::StatusOr and std::variant.

#include <string>
#include <variant>

#include "absl/status/statusor.h"
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

}  // namespace
}  // namespace hotpath
