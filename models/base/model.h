#ifndef HOTPATH_MODELS_BASE_MODEL_H_
#define HOTPATH_MODELS_BASE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <string>

#include "models/base/board.h"
#include "models/base/relacy_sync.h"

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

namespace model_internal {

// What the checker does with a model. It knows no more of it, so that it is compiled once and not for each.
struct ModelType {
  int threads;
  unsigned max_steps;
  size_t size, alignment;
  void (*make)(void* at);
  void (*end)(void* model);
  void (*thread)(void* model, unsigned id);
  void (*finish)(void* model);
};
template <class M>
inline constexpr ModelType kType = {
    M::kThreads,
    M::kMaxSteps,
    sizeof(M),
    alignof(M),
    [](void* at) { ::new (at) M(); },
    [](void* model) { static_cast<M*>(model)->~M(); },
    [](void* model, unsigned id) { static_cast<M*>(model)->thread(id); },
    [](void* model) { static_cast<M*>(model)->finish(); },
};

}  // namespace model_internal

struct ModelEntry {
  const char* name;
  const char* file;
  const model_internal::ModelType* type;
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
  ::hotpath::model::ModelEntry { #__VA_ARGS__, __FILE__, &::hotpath::model::model_internal::kType<__VA_ARGS__> }

}  // namespace hotpath::model

#endif  // HOTPATH_MODELS_BASE_MODEL_H_
