#include <array>
#include <cstddef>
#include <cstdint>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/seqlock_stats.h"

namespace hotpath::bench {
namespace {

template <size_t kBytes>
struct Value {
  std::array<uint64_t, kBytes / 8> words{};
};

template <size_t kBytes>
void AddPaths(GoldenPaths& paths) {
  using Cell = SeqlockStats<Value<kBytes>>;
  const std::string size = std::to_string(kBytes) + " bytes";
  paths.Add("SeqlockStats::Read, " + size, [cell = Isolated<Cell>()] { Keep(cell->Read()); });
  paths.Add("SeqlockStats::Store, " + size, [cell = Isolated<Cell>()] {
    const Value<kBytes> value{};
    cell->Store(value);
  });
  paths.Add("SeqlockStats::Write, " + size,
            [cell = Isolated<Cell>()] { cell->Write([](Value<kBytes>& value) { ++value.words[0]; }); });
}

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  AddPaths<8>(paths);
  AddPaths<24>(paths);
  AddPaths<64>(paths);
  AddPaths<256>(paths);  // no call of memcpy: the bytes are where they are wanted
}

}  // namespace hotpath::bench
