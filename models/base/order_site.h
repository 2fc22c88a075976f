#ifndef HOTPATH_MODELS_BASE_ORDER_SITE_H_
#define HOTPATH_MODELS_BASE_ORDER_SITE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Where shipped code names a memory order above relaxed, and what can be tried in its place.

namespace hotpath::model {

enum class Kind : uint8_t { kLoad, kStore, kRmw, kCas, kCasFail, kFence, kLightFence, kHeavyFence };
const char* Name(Kind kind);

// Plain data of a fixed size, because it lives in memory that a forked child shares with its parent.
struct OrderSite {
  char file[112];     // from the root of the repository: core/seqlock_stats.h
  char function[64];  // unqualified: TryRead
  uint32_t line;
  Kind kind;
  std::memory_order order;
  uint64_t models;  // bit i: model i of this binary reached it
};

// One weakening, by one step.
struct Mutant {
  size_t site;  // in the list it was made from
  std::memory_order to;
  std::string key;  // its name in models/survivors.txt: "core/x.h TryRead load 1 acquire->relaxed"
};

// What an order can be weakened to in one step. A fence weakened to relaxed is none at all.
std::vector<std::memory_order> Weaker(Kind kind, std::memory_order order);

// "acquire->relaxed", "seq_cst->none" for a fence that goes.
std::string Change(Kind kind, std::memory_order from, std::memory_order to);

// All mutants of the sites. A key numbers the lines of a function that do the same kind of thing: compilers agree on
// lines, not on columns. So two orders of one kind on one line are weakened together.
std::vector<Mutant> Mutants(const std::vector<OrderSite>& sites);

// What two compilers call the same: "bool hotpath::Cell<T>::TryRead(T &) const [T = int]" becomes "TryRead", the body
// of any lambda "lambda". Writes at most `size` bytes. These two run inside models: they do not allocate.
void UnqualifiedName(const char* function, char* out, size_t size);

// "/any/where/bazel-out/x/hotpath/core/x.h" becomes "core/x.h".
void PathInRepository(const char* file, char* out, size_t size);

}  // namespace hotpath::model

#endif  // HOTPATH_MODELS_BASE_ORDER_SITE_H_
