#ifndef HOTPATH_MODELS_BASE_BOARD_H_
#define HOTPATH_MODELS_BASE_BOARD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <source_location>

#include "models/base/order_site.h"

namespace hotpath::model {

enum class Search : uint8_t { kFull, kBound, kRandom };

// One run of one model.
struct Job {
  size_t model;  // its number in this binary
  Search search;
  uint64_t schedules;           // at most so many
  uint64_t steps = UINT64_MAX;  // and no further one after so many in all
  unsigned context_bound = 2;
  bool spurious_wakeups = false;
  int64_t mutated = -1;    // the site to weaken, or none
  std::memory_order to{};  // what to
  bool history = false;    // print the execution that fails
};

enum class Verdict : uint8_t {
  kCrashed,  // the process ended without saying anything else
  kHolds,    // in every schedule of the search
  kCapped,   // in so many schedules, and there are more
  kFailed,
};

// Shared between the parent, which never enters Relacy, and the forked child that does one job.
struct Board {
  static constexpr size_t kMaxSites = 1024;

  Job job;

  Verdict verdict;
  uint64_t schedules;
  uint64_t steps;  // objects made, used and destroyed by the model: what a schedule costs
  char reason[256];

  bool parked;  // ever: some thread of some model. Then spurious wake-ups are worth a run
  size_t site_count;
  OrderSite sites[kMaxSites];
};

inline Board* g_board = nullptr;

// The order for an operation that asks for `order`: that one, or the mutant under test. Takes down the site.
std::memory_order Effective(std::memory_order order, Kind kind, const std::source_location& where);

}  // namespace hotpath::model

#endif  // HOTPATH_MODELS_BASE_BOARD_H_
