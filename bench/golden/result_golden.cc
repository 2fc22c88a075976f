#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/result.h"

namespace hotpath::bench {
namespace {

[[gnu::noinline]] Result<int> Make(bool fails) {
  if (fails) return Error{Code::kENODEV, "no such device, really"};
  return 42;
}

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  const auto fails = Isolated<bool>(false);
  paths.Add("Result<int>, a value", [fails] {
    const Result<int> result = Make(*fails);
    Keep(result.ok() ? *result : 0);
  });
  paths.Add("Result<int>, an error of 22 bytes", [fails] {
    *fails = true;
    const Result<int> result = Make(*fails);
    Keep(result.ok());
  });
}

}  // namespace hotpath::bench
