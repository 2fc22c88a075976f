#include <cstdint>
#include <thread>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/rcu_cell.h"

void hotpath::bench::AddGoldenPaths(GoldenPaths& paths) {
  std::thread([] {}).join();  // the C library drops locks and atomics while a process has one thread
  const auto cell = Isolated<RcuCell<uint64_t>>(uint64_t{1});
  paths.Add("RcuCell::Load", [cell] { Keep(*cell->Load()); });
  paths.Add("RcuCell::Read", [cell] { Keep(cell->Read([](uint64_t value) { return value; })); });
  paths.Add("RcuCell::LoadShared", [cell] { Keep(*cell->LoadShared()); });
  paths.Add("RcuCell::Store", [cell] { cell->Store(2); });
  paths.Add("RcuCell::Update", [cell] { cell->Update([](uint64_t value) { return value + 1; }); });
}
