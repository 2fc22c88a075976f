// What one call of the kernel costs through its facade, uncontended.

#include <fcntl.h>
#include <sys/wait.h>

#include <array>
#include <cstddef>
#include <string>

#include "benchmark/benchmark.h"
#include "hotpath/kernel/kernel.h"

namespace hotpath::kernel {
namespace {

// A process in a kernel of its own.
struct World {
  Kernel kernel;
  Pid self = *kernel.Spawn({.name = "bench"});
};

void CheckOk(benchmark::State& state, bool ok) {
  if (!ok) state.SkipWithError("the kernel refused the call");
}

void BM_OpenAndClose(benchmark::State& state) {
  World w;
  CheckOk(state, w.kernel.Open(w.self, "/f", O_CREAT | O_RDWR, 0600).ok());
  for (auto _ : state) {
    const Result<Fd> fd = w.kernel.Open(w.self, "/f", O_RDONLY);
    benchmark::DoNotOptimize(w.kernel.Close(w.self, *fd));
  }
}
BENCHMARK(BM_OpenAndClose);

// Opens the lowest free number below `range(0)` open ones.
void BM_DupAndCloseBelowManyDescriptors(benchmark::State& state) {
  World w;
  const Fd first = *w.kernel.Open(w.self, "/f", O_CREAT | O_RDWR, 0600);
  for (int64_t i = 1; i < state.range(0); ++i) CheckOk(state, w.kernel.Dup(w.self, first).ok());
  for (auto _ : state) {
    const Result<Fd> fd = w.kernel.Dup(w.self, first);
    benchmark::DoNotOptimize(w.kernel.Close(w.self, *fd));
  }
}
BENCHMARK(BM_DupAndCloseBelowManyDescriptors)->Arg(1)->Arg(64)->Arg(1000);

void BM_Read4KiB(benchmark::State& state) {
  World w;
  std::array<std::byte, 4096> page{};
  const Fd fd = *w.kernel.Open(w.self, "/f", O_CREAT | O_RDWR, 0600);
  CheckOk(state, w.kernel.Write(w.self, fd, page).ok());
  for (auto _ : state) benchmark::DoNotOptimize(w.kernel.PRead(w.self, fd, page, 0));
  state.SetBytesProcessed(state.iterations() * 4096);
}
BENCHMARK(BM_Read4KiB);

void BM_Write4KiB(benchmark::State& state) {
  World w;
  std::array<std::byte, 4096> page{};
  const Fd fd = *w.kernel.Open(w.self, "/f", O_CREAT | O_RDWR, 0600);
  for (auto _ : state) benchmark::DoNotOptimize(w.kernel.PWrite(w.self, fd, page, 0));
  state.SetBytesProcessed(state.iterations() * 4096);
}
BENCHMARK(BM_Write4KiB);

void BM_PipeRoundTrip(benchmark::State& state) {
  World w;
  std::array<std::byte, 64> message{};
  const PipeFds pipe = *w.kernel.Pipe(w.self, 0);
  for (auto _ : state) {
    benchmark::DoNotOptimize(w.kernel.Write(w.self, pipe.write_end, message));
    benchmark::DoNotOptimize(w.kernel.Read(w.self, pipe.read_end, message));
  }
}
BENCHMARK(BM_PipeRoundTrip);

// With `range(0)` descriptors to share.
void BM_ForkExitWait(benchmark::State& state) {
  World w;
  const Fd first = *w.kernel.Open(w.self, "/f", O_CREAT | O_RDWR, 0600);
  for (int64_t i = 1; i < state.range(0); ++i) CheckOk(state, w.kernel.Dup(w.self, first).ok());
  for (auto _ : state) {
    const Result<Pid> child = w.kernel.Fork(w.self);
    benchmark::DoNotOptimize(w.kernel.ExitGroup(*child, 0));
    benchmark::DoNotOptimize(w.kernel.Wait(w.self, *child, 0));
  }
}
BENCHMARK(BM_ForkExitWait)->Arg(3)->Arg(64);

// `range(0)` components.
void BM_StatOfAPath(benchmark::State& state) {
  World w;
  std::string path;
  for (int64_t i = 0; i < state.range(0); ++i) {
    path += "/directory";
    CheckOk(state, w.kernel.MkdirAt(w.self, kAtFdCwd, path, 0755).ok());
  }
  for (auto _ : state) benchmark::DoNotOptimize(w.kernel.StatAt(w.self, kAtFdCwd, path, 0));
}
BENCHMARK(BM_StatOfAPath)->Arg(1)->Arg(16);

}  // namespace
}  // namespace hotpath::kernel
