#ifndef HOTPATH_MODELS_BASE_MODEL_H_
#define HOTPATH_MODELS_BASE_MODEL_H_

#include <cstdint>
#include <initializer_list>
#include <new>
#include <string>

#include "models/base/board.h"
#include "models/base/relacy.h"
#include "models/base/relacy_sync.h"
#include "models/base/world.h"

// A model is a handful of operations of two or three threads on a shipped header, instantiated with RelacySync:
//
//   struct TwoWriters : Model<TwoWriters, 3> {
//     BasicCell<Pair, RelacySync> cell;
//     void thread(unsigned id) { ... HOTPATH_CHECK(seen.left == seen.right); ... }  // id: 0, 1, 2
//     void finish() { ... }                                                         // after all threads ended
//   };
//   int main(int argc, char** argv) { return Main(argc, argv, {HOTPATH_MODEL(TwoWriters)}); }
//
// A model fails by a HOTPATH_CHECK or HOTPATH_DCHECK, a data race, a deadlock, a livelock, a leak, a double free or a
// use after free. Its data are members: each execution makes the model anew. Its constructor and finish() run as one
// more thread, ordered with the others.

namespace hotpath::model {

template <class M, int kThreadCount>
struct Model {
  static constexpr int kThreads = kThreadCount;
  // An execution with more steps is a livelock.
  static constexpr unsigned kMaxSteps = 2000;

  void finish() {}
};

struct ModelEntry {
  const char* name;
  const char* file;
  void (*run)();  // does g_board->job
};

// main() of models/STEM_model.cc. Checks that the models hold, then weakens each memory order of the header STEM.h, of
// the files of its implementation (STEM_inl.h, STEM_x86.cc, ...) and of the files `also_owns`, which must make some
// model fail or be argued for in models/survivors.txt. Zero if all is as it must be. --help lists the flags.
int Main(int argc, char** argv, std::initializer_list<ModelEntry> models,
         std::initializer_list<const char*> also_owns = {});

// What a run of one model said.
struct Outcome {
  Verdict verdict;
  uint64_t schedules;
  std::string reason;  // of a failure: "data race: ...", "check failed: seen.left == seen.right", "deadlock"
  double seconds;

  bool Holds() const { return verdict == Verdict::kHolds || verdict == Verdict::kCapped; }
};

// Runs one model in a process of its own, so that crashes and hangs are outcomes too. For who needs more than Main.
Outcome RunJob(const ModelEntry& model, const Job& job);

#define HOTPATH_MODEL(...) \
  ::hotpath::model::ModelEntry { #__VA_ARGS__, __FILE__, &::hotpath::model::model_internal::Run<__VA_ARGS__> }

namespace model_internal {

// Counts the execution. Does not return if the job is done.
void CountExecution();
void Report(const rl::test_params& params);
// The steps in the order they were taken; of a long execution, the beginning and the end.
void PrintHistory(const char* text);

template <class M>
struct Harness : rl::test_suite<Harness<M>, M::kThreads> {
  Harness() : world((CountExecution(), World::OfThreads<M::kThreads>())) { new (&model) M(); }
  ~Harness() {
    model.~M();
    world.EndThread();
  }
  void before() { world.SetMain(false); }
  void thread(unsigned id) {
    model.thread(id);
    world.EndThread();
  }
  void after() {
    world.SetMain(true);
    model.finish();
  }

  World world;
  union {
    M model;
  };
};

template <class M, template <rl::thread_id_t> class Scheduler>
void Explore(rl::test_params& params) {
  using Test = Harness<M>;
  rl::ostringstream state, history, unused;
  params.output_stream = &history;
  params.progress_stream = &unused;
  if (rl::run_test<Test, Scheduler<M::kThreads>>(params, state, false) == rl::test_result_success) return;
  if (!g_board->job.history) return;
  g_board->job.schedules = g_board->job.steps = UINT64_MAX;  // the replay does not count
  params.collect_history = true;
  params.initial_state = state.str();
  rl::run_test<Test, Scheduler<M::kThreads>>(params, unused, true);
  PrintHistory(history.str().c_str());
}

template <class M>
void Run() {
  rl::test_params params;
  params.iteration_count = g_board->job.schedules;
  params.context_bound = g_board->job.context_bound;
  params.execution_depth_limit = M::kMaxSteps;
  switch (g_board->job.search) {
    case Search::kFull:
      params.search_type = rl::sched_full;
      Explore<M, rl::full_search_scheduler>(params);
      break;
    case Search::kBound:
      params.search_type = rl::sched_bound;
      Explore<M, rl::context_bound_scheduler>(params);
      break;
    case Search::kRandom:
      params.search_type = rl::sched_random;
      Explore<M, rl::random_scheduler>(params);
      break;
  }
  Report(params);
}

}  // namespace model_internal

}  // namespace hotpath::model

#endif  // HOTPATH_MODELS_BASE_MODEL_H_
