// Reads and writes of a small struct: SeqlockStats beside an unsynchronised copy (the floor), std::shared_mutex, and
// the textbook seqlock that copies word by word. The goals are ratios between rows of one run. The rows with a writer
// check what they read, a torn value ends the run; their times mean something only on two free cores.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "benchmark/benchmark.h"
#include "hotpath/core/seqlock_stats.h"

namespace hotpath {
namespace {

template <size_t kBytes>
struct Value {
  std::array<uint64_t, kBytes / 8> words{};  // all equal, in every version
};

template <size_t kBytes>
void Bump(Value<kBytes>& value) {
  for (uint64_t& word : value.words) ++word;
}

// No synchronisation at all.
template <size_t kBytes>
class Plain {
 public:
  static constexpr bool kThreadSafe = false;
  Value<kBytes> Read() const { return value_; }
  void Write() { Bump(value_); }

 private:
  alignas(64) Value<kBytes> value_;
};

template <size_t kBytes, uint32_t kSlots>
class Ours {
 public:
  static constexpr bool kThreadSafe = true;
  Value<kBytes> Read() const { return stats_.Read(); }
  void Write() {
    stats_.Write([](Value<kBytes>& value) { Bump(value); });
  }

 private:
  SeqlockStats<Value<kBytes>, SeqlockOptions{.slots = kSlots}> stats_;
};

template <size_t kBytes>
class SharedMutex {
 public:
  static constexpr bool kThreadSafe = true;
  Value<kBytes> Read() const {
    std::shared_lock lock(mu_);
    return value_;
  }
  void Write() {
    std::unique_lock lock(mu_);
    Bump(value_);
  }

 private:
  mutable std::shared_mutex mu_;
  Value<kBytes> value_;
};

template <size_t kBytes>
class WordSeqlock {
 public:
  static constexpr bool kThreadSafe = true;
  Value<kBytes> Read() const {
    for (;;) {
      const uint64_t before = sequence_.load(std::memory_order::acquire);
      if (before % 2 != 0) continue;
      Value<kBytes> value = Copy();
      std::atomic_thread_fence(std::memory_order::acquire);
      if (sequence_.load(std::memory_order::relaxed) == before) return value;
    }
  }
  void Write() {
    std::lock_guard lock(mu_);
    Value<kBytes> value = Copy();
    Bump(value);
    const uint64_t before = sequence_.load(std::memory_order::relaxed);
    sequence_.store(before + 1, std::memory_order::relaxed);
    std::atomic_thread_fence(std::memory_order::release);
    for (size_t i = 0; i < words_.size(); ++i) words_[i].store(value.words[i], std::memory_order::relaxed);
    sequence_.store(before + 2, std::memory_order::release);
  }

 private:
  Value<kBytes> Copy() const {
    Value<kBytes> value;
    for (size_t i = 0; i < words_.size(); ++i) value.words[i] = words_[i].load(std::memory_order::relaxed);
    return value;
  }

  std::mutex mu_;
  alignas(64) std::atomic<uint64_t> sequence_{0};
  alignas(64) std::array<std::atomic<uint64_t>, kBytes / 8> words_{};
};

// What a row measures, on its own lines and behind a pointer that the compiler knows nothing about. In a process that
// had a second thread once: glibc and libstdc++ skip locks and atomics before that.
template <class Cell>
class Hidden {
 public:
  Hidden() {
    std::thread([] {}).join();
    benchmark::DoNotOptimize(cell_);
  }
  Cell* operator->() const { return cell_; }

 private:
  struct alignas(256) Lines {
    Cell cell;
  };
  std::unique_ptr<Lines> lines_ = std::make_unique<Lines>();
  Cell* cell_ = &lines_->cell;
};

template <class Cell>
void BM_Read(benchmark::State& state) {
  const Hidden<Cell> cell;
  for (auto _ : state) {
    auto value = cell->Read();
    benchmark::DoNotOptimize(value);
  }
}

template <class Cell>
void BM_Write(benchmark::State& state) {
  const Hidden<Cell> cell;
  for (auto _ : state) {
    cell->Write();
    benchmark::ClobberMemory();
  }
}

// Thread 0 writes without a pause, thread 1 reads: one row for both, the reader's operations are counted.
template <class Cell>
void BM_ReadWhileWriting(benchmark::State& state) {
  static_assert(Cell::kThreadSafe);
  static Cell cell;
  uint64_t reads = 0;
  for (auto _ : state) {
    if (state.thread_index() == 0) {
      cell.Write();
    } else {
      const auto value = cell.Read();
      ++reads;
      if (std::memcmp(&value.words[0], &value.words[1], sizeof(value) - 8) != 0) {
        state.SkipWithError("torn value");
        break;
      }
    }
  }
  state.counters["reads"] = benchmark::Counter(static_cast<double>(reads), benchmark::Counter::kIsRate);
}

struct Counters {
  uint64_t hits = 0, misses = 0, rest[6] = {};
};
struct ManyCounters {
  uint64_t hits = 0, misses = 0, rest[30] = {};
};

template <class T, uint32_t kSlots>
void BM_Add(benchmark::State& state) {
  const Hidden<SeqlockStats<T, SeqlockOptions{.slots = kSlots}>> stats;
  for (auto _ : state) stats->template Add<&T::hits>(1);
}

template <class T, uint32_t kSlots>
void BM_WriteOneField(benchmark::State& state) {
  const Hidden<SeqlockStats<T, SeqlockOptions{.slots = kSlots}>> stats;
  for (auto _ : state) stats->Write([](T& value) { ++value.hits; });
}

template <class T, uint32_t kSlots>
void BM_Store(benchmark::State& state) {
  const Hidden<SeqlockStats<T, SeqlockOptions{.slots = kSlots}>> stats;
  T value;
  for (auto _ : state) {
    benchmark::DoNotOptimize(value);
    stats->Store(value);
  }
}

#define HOTPATH_ROWS(bytes)                                       \
  BENCHMARK(BM_Read<Plain<bytes>>);                               \
  BENCHMARK(BM_Read<Ours<bytes, 1>>);                             \
  BENCHMARK(BM_Read<Ours<bytes, 2>>);                             \
  BENCHMARK(BM_Read<Ours<bytes, 4>>);                             \
  BENCHMARK(BM_Read<Ours<bytes, 8>>);                             \
  BENCHMARK(BM_Read<WordSeqlock<bytes>>);                         \
  BENCHMARK(BM_Read<SharedMutex<bytes>>);                         \
  BENCHMARK(BM_Write<Plain<bytes>>);                              \
  BENCHMARK(BM_Write<Ours<bytes, 1>>);                            \
  BENCHMARK(BM_Write<Ours<bytes, 4>>);                            \
  BENCHMARK(BM_Write<WordSeqlock<bytes>>);                        \
  BENCHMARK(BM_Write<SharedMutex<bytes>>);                        \
  BENCHMARK(BM_ReadWhileWriting<Ours<bytes, 1>>)->Threads(2);     \
  BENCHMARK(BM_ReadWhileWriting<Ours<bytes, 2>>)->Threads(2);     \
  BENCHMARK(BM_ReadWhileWriting<Ours<bytes, 4>>)->Threads(2);     \
  BENCHMARK(BM_ReadWhileWriting<Ours<bytes, 8>>)->Threads(2);     \
  BENCHMARK(BM_ReadWhileWriting<WordSeqlock<bytes>>)->Threads(2); \
  BENCHMARK(BM_ReadWhileWriting<SharedMutex<bytes>>)->Threads(2)

HOTPATH_ROWS(64);
HOTPATH_ROWS(256);

BENCHMARK(BM_WriteOneField<Counters, 1>);
BENCHMARK(BM_WriteOneField<Counters, 4>);
BENCHMARK(BM_Add<Counters, 1>);
BENCHMARK(BM_Add<Counters, 4>);
BENCHMARK(BM_Store<Counters, 1>);
BENCHMARK(BM_Store<Counters, 4>);
BENCHMARK(BM_WriteOneField<ManyCounters, 1>);
BENCHMARK(BM_WriteOneField<ManyCounters, 4>);
BENCHMARK(BM_Add<ManyCounters, 1>);
BENCHMARK(BM_Add<ManyCounters, 4>);
BENCHMARK(BM_Store<ManyCounters, 1>);
BENCHMARK(BM_Store<ManyCounters, 4>);

}  // namespace
}  // namespace hotpath

BENCHMARK_MAIN();
