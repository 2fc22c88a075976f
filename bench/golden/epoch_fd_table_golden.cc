#include <cstdint>
#include <memory>
#include <thread>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/epoch.h"
#include "hotpath/core/epoch_fd_table.h"

namespace hotpath::bench {
namespace {

struct File {
  uint64_t id = 1;
};

struct Opened {
  Opened() {
    std::thread([] {}).join();  // a process that never had two threads counts references without atomics
    for (int i = 0; i < 8; ++i) Keep(table.Insert(file).ok());
  }
  EpochDomain domain;
  EpochFdTable<File> table{{}, domain};
  const std::shared_ptr<File> file = std::make_shared<File>();
};

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  paths.Add("EpochFdTable::Get", [t = Isolated<Opened>()] { Keep(t->table.Get(3)->id); });
  paths.Add("EpochFdTable::GetShared", [t = Isolated<Opened>()] { Keep(t->table.GetShared(3)->id); });
  paths.Add("EpochFdTable::Insert and Remove", [t = Isolated<Opened>()] {
    const int fd = t->table.Insert(t->file).value();
    Keep(t->table.Remove(fd).ok());
  });
}

}  // namespace hotpath::bench
