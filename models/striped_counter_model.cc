#include <cstdint>
#include <new>

#include "hotpath/core/striped_counter.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

// One cell in the object: the second thread to add makes room for itself, the third for itself and the fourth.
using Counter = BasicStripedCounter<StripedCounterOptions{.inline_cells = 1}, RelacySync>;

// A thread ends and its index, and with it its cell, goes to another, which goes on with the sum.
struct ThreadsComeAndGo : Model<ThreadsComeAndGo, 2> {
  Counter counter;

  void thread(unsigned id) {
    for (int life = 0; life < 3; ++life) {
      counter.Add(int64_t{1} << 8 * id);
      RelacySync::EndThread();
    }
  }
  void finish() {
    HOTPATH_CHECK(counter.ExactTotal() == 3 + (3 << 8), "an Add was lost with its thread");
    HOTPATH_CHECK(counter.ApproximateTotal() == 3 + (3 << 8), "an Add was lost with its thread");
  }
};

// Threads that need room at the same time share what one of them made, and nothing leaks.
template <int kThreads>
struct Growing : Model<Growing<kThreads>, kThreads> {
  Counter counter;

  void thread(unsigned id) {
    counter.Add(int64_t{1} << 8 * id);
    counter.Add(int64_t{1} << 8 * id);
  }
  void finish() {
    int64_t expected = 0;
    for (int id = 0; id < kThreads; ++id) expected += int64_t{2} << 8 * id;
    HOTPATH_CHECK(counter.ExactTotal() == expected, "an Add was lost");
  }
};
using TwoThreadsGrow = Growing<2>;
using ThreeThreadsGrow = Growing<3>;
using FourThreadsGrow = Growing<4>;

// A total has what happened before it once, and what runs meanwhile at most once. Thread 0 adds 1 and tells, then adds
// 10; thread 1 adds 100 all the while.
template <bool kExact>
struct TotalsCountOnce : Model<TotalsCountOnce<kExact>, 3> {
  Counter counter;
  RelacySync::Atomic<uint32_t> told{0};

  void thread(unsigned id) {
    if (id == 0) {
      counter.Add(1);
      told.store(1, std::memory_order::release);
      counter.Add(10);
      return;
    }
    if (id == 1) return counter.Add(100);
    const bool one = told.load(std::memory_order::acquire) == 1;
    for (int i = 0; i < 2; ++i) {
      const int64_t total = kExact ? counter.ExactTotal() : counter.ApproximateTotal();
      HOTPATH_CHECK(total == 0 || total == 1 || total == 11 || total == 100 || total == 101 || total == 111);
      HOTPATH_CHECK(!one || total % 10 == 1, "an Add that happened before is missing");
    }
  }
};
using ApproximateTotalCountsOnce = TotalsCountOnce<false>;
using ExactTotalCountsOnce = TotalsCountOnce<true>;

// Whoever sees all the jobs counted sees what they did, whichever cells they were counted in, and even if the thread
// that did one ended and another took over its cell.
struct ExactTotalAcquires : Model<ExactTotalAcquires, 3> {
  Counter counter;
  RelacySync::Var<uint64_t> jobs[4];

  void thread(unsigned id) {
    if (id == 2) {
      if (counter.ExactTotal() != 4) return;
      for (const auto& job : jobs) HOTPATH_CHECK(job.Read() == 1);
      return;
    }
    for (unsigned life = 0; life < 2; ++life) {
      jobs[2 * id + life].Write(1);
      counter.Add(1);
      RelacySync::EndThread();
    }
  }
};

// The same for threads that have no cell, because there was no memory for it.
struct NoMemory : RelacySync {
  template <class T, class... Args>
  [[nodiscard]] static T* New(Args&&...) {
    throw std::bad_alloc();
  }
};
struct WithoutMemory : Model<WithoutMemory, 3> {
  BasicStripedCounter<StripedCounterOptions{.inline_cells = 1}, NoMemory> counter;
  RelacySync::Var<uint64_t> jobs[2];

  void thread(unsigned id) {
    if (id == 2) {
      if (counter.ExactTotal() != 2) return;
      HOTPATH_CHECK(jobs[0].Read() + jobs[1].Read() == 2);
      return;
    }
    jobs[id].Write(1);
    counter.Add(1);
  }
  void finish() { HOTPATH_CHECK(counter.ApproximateTotal() == 2 && counter.ExactTotal() == 2, "an Add was lost"); }
};

// Of three threads one has the cell in the object: two add to the cell for those that have none.
struct TwoWithoutMemory : Model<TwoWithoutMemory, 3> {
  BasicStripedCounter<StripedCounterOptions{.inline_cells = 1}, NoMemory> counter;

  void thread(unsigned id) { counter.Add(int64_t{1} << 8 * id); }
  void finish() { HOTPATH_CHECK(counter.ExactTotal() == 0x010101, "an Add was lost"); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(
      argc, argv,
      {HOTPATH_MODEL(ThreadsComeAndGo), HOTPATH_MODEL(TwoThreadsGrow), HOTPATH_MODEL(ThreeThreadsGrow),
       HOTPATH_MODEL(FourThreadsGrow), HOTPATH_MODEL(ApproximateTotalCountsOnce), HOTPATH_MODEL(ExactTotalCountsOnce),
       HOTPATH_MODEL(ExactTotalAcquires), HOTPATH_MODEL(WithoutMemory), HOTPATH_MODEL(TwoWithoutMemory)});
}
