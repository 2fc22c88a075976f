// Reads and writes of a small struct: SeqlockStats beside an unsynchronised copy (the floor), std::shared_mutex, the
// textbook seqlock that copies word by word, and other libraries'. Rows with a writer check every value they read.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>

#include "bench/base/rows.h"
#include "benchmark/benchmark.h"
#include "hotpath/core/seqlock_stats.h"

#if HOTPATH_HAVE_CK
#include "ck_sequence.h"
#endif
#if HOTPATH_HAVE_XENIUM
#include "xenium/left_right.hpp"
#include "xenium/seqlock.hpp"
#endif

namespace hotpath::bench {
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
  Value<kBytes> Read() const { return value_; }
  void Write() { Bump(value_); }

 private:
  alignas(64) Value<kBytes> value_;
};

template <size_t kBytes, uint32_t kSlots>
class Ours {
 public:
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

#if HOTPATH_HAVE_CK
template <size_t kBytes>
class CkSequence {
 public:
  Value<kBytes> Read() const {
    Value<kBytes> value;
    unsigned version;
    do {
      version = ck_sequence_read_begin(&sequence_);
      value = value_;
    } while (ck_sequence_read_retry(&sequence_, version));
    return value;
  }
  void Write() {
    std::lock_guard lock(mu_);
    ck_sequence_write_begin(&sequence_);
    Bump(value_);
    ck_sequence_write_end(&sequence_);
  }

 private:
  std::mutex mu_;
  alignas(64) ck_sequence_t sequence_ = CK_SEQUENCE_INITIALIZER;
  alignas(64) Value<kBytes> value_;
};
#endif

#if HOTPATH_HAVE_XENIUM
// With one slot: with more it returns torn values, see the note in the README of bench/.
template <size_t kBytes>
class XeniumSeqlock {
 public:
  Value<kBytes> Read() const { return cell_.load(); }
  void Write() {
    cell_.update([](Value<kBytes>& value) { Bump(value); });
  }

 private:
  xenium::seqlock<Value<kBytes>> cell_{Value<kBytes>{}};
};

template <size_t kBytes>
class XeniumLeftRight {
 public:
  Value<kBytes> Read() const {
    return cell_.read([](const Value<kBytes>& value) { return value; });
  }
  void Write() {
    cell_.update([](Value<kBytes>& value) { Bump(value); });
  }

 private:
  xenium::left_right<Value<kBytes>> cell_{Value<kBytes>{}};
};
#endif

template <class Cell>
auto Reader() {
  return [cell = Isolated<Cell>()] {
    const auto value = cell->Read();
    Keep(value);
  };
}

template <class Cell>
auto Writer() {
  return [cell = Isolated<Cell>()] { cell->Write(); };
}

template <class Cell>
auto ReaderBesideWriter() {
  const auto cell = Isolated<Cell>();
  return Ops([cell](Worker& worker) {
           const auto value = cell->Read();
           if (std::memcmp(&value.words[0], &value.words[1], sizeof(value) - 8) != 0) worker.Torn();
         })
      .WithBackground([cell] { cell->Write(); });
}

template <size_t kBytes>
void AddRows(Rows& rows) {
  const std::string size = std::to_string(kBytes) + "B";
  for (const int threads : {1, 2}) {
    const bool headline = kBytes == 64;
    Row& read = rows.Add({.id = "seqlock_stats/read_" + size + "/t" + std::to_string(threads),
                          .optimisation = 2,
                          .claim = !headline      ? ""
                                   : threads == 1 ? "reads"
                                                  : "reads, two readers",
                          .threads = threads,
                          .floor = "l1_load"})
                    .Naive("std::shared_mutex", Reader<SharedMutex<kBytes>>)
                    .Ours("SeqlockStats", Reader<Ours<kBytes, 4>>)
                    .Variant("SeqlockStats, 1 slot", Reader<Ours<kBytes, 1>>)
                    .Variant("SeqlockStats, 8 slots", Reader<Ours<kBytes, 8>>)
                    .Naive("word seqlock", Reader<WordSeqlock<kBytes>>)
                    .Floor("plain copy", Reader<Plain<kBytes>>)
                    .AtLeast(kBytes == 64 ? (threads == 1 ? 13 : 100) : (threads == 1 ? 9 : 60), "std::shared_mutex");
    if (headline) read.AtMost(1.3, "plain copy");
#if HOTPATH_HAVE_CK
    read.Peer("ck_sequence", Reader<CkSequence<kBytes>>);
#else
    read.NotInstalled("ck_sequence");
#endif
    read.AtLeast(1.2, "ck_sequence");
#if HOTPATH_HAVE_XENIUM
    read.Peer("xenium::seqlock", Reader<XeniumSeqlock<kBytes>>);
#else
    read.NotInstalled("xenium::seqlock");
#endif
    if (kBytes == 256) read.AtLeast(2.5, "xenium::seqlock");
  }

  rows.Add({.id = "seqlock_stats/write_" + size + "/t1", .optimisation = 2, .floor = "rmw"})
      .Naive("std::shared_mutex", Writer<SharedMutex<kBytes>>)
      .Ours("SeqlockStats", Writer<Ours<kBytes, 4>>)
      .Variant("SeqlockStats, 1 slot", Writer<Ours<kBytes, 1>>)
      .Naive("word seqlock", Writer<WordSeqlock<kBytes>>)
      .Floor("plain copy", Writer<Plain<kBytes>>);

  Row& beside = rows.Add({.id = "seqlock_stats/read_" + size + "_beside_writer/t1",
                          .optimisation = 2,
                          .background = 1,
                          .latency = true,
                          .floor = "line_transfer",
                          .note = "one reader, and one writer that never pauses"})
                    .Naive("std::shared_mutex", ReaderBesideWriter<SharedMutex<kBytes>>)
                    .Ours("SeqlockStats", ReaderBesideWriter<Ours<kBytes, 4>>)
                    .Variant("SeqlockStats, 1 slot", ReaderBesideWriter<Ours<kBytes, 1>>)
                    .Variant("SeqlockStats, 8 slots", ReaderBesideWriter<Ours<kBytes, 8>>)
                    .Naive("word seqlock", ReaderBesideWriter<WordSeqlock<kBytes>>);
#if HOTPATH_HAVE_XENIUM
  beside.Peer("xenium::seqlock", ReaderBesideWriter<XeniumSeqlock<kBytes>>)
      .Peer("xenium::left_right", ReaderBesideWriter<XeniumLeftRight<kBytes>>);
#else
  beside.NotInstalled("xenium::seqlock").NotInstalled("xenium::left_right");
#endif
  beside.AtLeast(1.2, "xenium::left_right");
}

HOTPATH_BENCH_ROWS(rows) {
  AddRows<64>(rows);
  AddRows<256>(rows);
  rows.Add({.id = "seqlock_stats/read_64B, absolute/t1", .optimisation = 2, .claim = "read time"})
      .Ours("SeqlockStats", Reader<Ours<64, 4>>);
}

// What the kinds of write cost beside each other.

struct Counters {
  uint64_t hits = 0, misses = 0, rest[6] = {};
};
struct ManyCounters {
  uint64_t hits = 0, misses = 0, rest[30] = {};
};

template <class T, uint32_t kSlots>
void BM_Add(benchmark::State& state) {
  const auto stats = Isolated<SeqlockStats<T, SeqlockOptions{.slots = kSlots}>>();
  for (auto _ : state) stats->template Add<&T::hits>(1);
}

template <class T, uint32_t kSlots>
void BM_WriteOneField(benchmark::State& state) {
  const auto stats = Isolated<SeqlockStats<T, SeqlockOptions{.slots = kSlots}>>();
  for (auto _ : state) stats->Write([](T& value) { ++value.hits; });
}

template <class T, uint32_t kSlots>
void BM_Store(benchmark::State& state) {
  const auto stats = Isolated<SeqlockStats<T, SeqlockOptions{.slots = kSlots}>>();
  T value;
  for (auto _ : state) {
    benchmark::DoNotOptimize(value);
    stats->Store(value);
  }
}

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
}  // namespace hotpath::bench
