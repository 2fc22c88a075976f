#ifndef HOTPATH_STRESS_BASE_SPECIFICATIONS_H_
#define HOTPATH_STRESS_BASE_SPECIFICATIONS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <ostream>

#include "stress/base/linearizability.h"

// Sequential specifications. Each has
//
//   struct Call;                                              what was asked
//   using Result;                                             what came back
//   using State;                                              value-initialised: a new object
//   static uint64_t Key(const Call&);                         calls with different keys are independent of each other
//   static bool Apply(State&, const Call&, const Result*);    does it; false if that is not its result. Null: any
//   result static uint64_t Hash(const State&); static void Print(std::ostream&, const Call&, const Result*);

namespace hotpath::stress {

namespace specifications_internal {

// True if the result is not known or as it should be.
template <class T>
bool Is(const T* result, const T& expected) {
  return result == nullptr || *result == expected;
}
template <class T>
void PrintResult(std::ostream& out, const T* result) {
  if (result != nullptr) out << " -> " << *result;
}
inline void PrintResult(std::ostream& out, const std::optional<uint64_t>* result) {
  if (result == nullptr) return;
  out << " -> ";
  result->has_value() ? out << **result : out << "nothing";
}
inline uint64_t HashOf(const std::optional<uint64_t>& value) {
  return value ? linearizability_internal::Mix(*value) : 1;
}

}  // namespace specifications_internal

// A counter that starts at 0. fetch_add returns the value before; fetch_add(0) is a load. A store returns 0.
struct CounterSpec {
  struct Call {
    uint64_t delta;
    bool stores = false;
  };
  using Result = uint64_t;
  using State = uint64_t;
  static uint64_t Key(const Call&) { return 0; }
  static bool Apply(State& state, const Call& call, const Result* result) {
    const uint64_t before = call.stores ? 0 : state;
    state = call.stores ? call.delta : state + call.delta;
    return specifications_internal::Is(result, before);
  }
  static uint64_t Hash(State state) { return state; }
  static void Print(std::ostream& out, const Call& call, const Result* result) {
    out << (call.stores ? "store(" : "fetch_add(") << call.delta << ")";
    specifications_internal::PrintResult(out, result);
  }
};

// Registers that start at 0, one a key.
struct RegisterSpec {
  enum Kind { kRead, kWrite, kCompareExchange };
  struct Call {
    Kind kind;
    uint64_t key = 0;
    uint64_t value = 0;     // to write
    uint64_t expected = 0;  // by kCompareExchange
  };
  using Result = uint64_t;  // kRead: the value; kCompareExchange: 1 if it wrote; kWrite: 0
  using State = uint64_t;
  static uint64_t Key(const Call& call) { return call.key; }
  static bool Apply(State& state, const Call& call, const Result* result) {
    const uint64_t seen = state;
    const bool writes = call.kind == kWrite || (call.kind == kCompareExchange && seen == call.expected);
    if (writes) state = call.value;
    return specifications_internal::Is<Result>(result, call.kind == kRead ? seen : call.kind == kWrite ? 0 : writes);
  }
  static uint64_t Hash(State state) { return state; }
  static void Print(std::ostream& out, const Call& call, const Result* result) {
    if (call.kind == kWrite) {
      out << "write(" << call.value << ")";
      return;
    }
    if (call.kind == kRead) out << "read()";
    if (call.kind == kCompareExchange) out << "compare_exchange(" << call.expected << ", " << call.value << ")";
    specifications_internal::PrintResult(out, result);
  }
};

// An empty map. Keys are independent of each other.
struct MapSpec {
  enum Kind { kFind, kInsert, kAssign, kErase };
  struct Call {
    Kind kind;
    uint64_t key;
    uint64_t value = 0;  // kInsert, kAssign
  };
  // kFind: the value. kInsert: 1 if it was inserted, 0 if the key was there. kAssign: 1 if it was new, 0 if replaced.
  // kErase: 1 if it was there, else 0.
  using Result = std::optional<uint64_t>;
  using State = std::optional<uint64_t>;
  static uint64_t Key(const Call& call) { return call.key; }
  static bool Apply(State& state, const Call& call, const Result* result) {
    const State before = state;
    if (call.kind == kErase) state.reset();
    if (call.kind == kAssign || (call.kind == kInsert && !before)) state = call.value;
    if (call.kind == kFind) return specifications_internal::Is(result, before);
    return specifications_internal::Is<Result>(result, before.has_value() == (call.kind == kErase));
  }
  static uint64_t Hash(const State& state) { return specifications_internal::HashOf(state); }
  static void Print(std::ostream& out, const Call& call, const Result* result) {
    constexpr const char* kNames[] = {"find", "insert", "assign", "erase"};
    out << kNames[call.kind] << "(" << call.key;
    if (call.kind == kInsert || call.kind == kAssign) out << ", " << call.value;
    out << ")";
    specifications_internal::PrintResult(out, result);
  }
};

// A table of kLimit descriptors that gives out the lowest free one, as POSIX wants it. One partition: which number is
// the lowest depends on all of them. Values are not 0.
template <size_t kLimit = 16>
struct FdTableSpec {
  enum Kind { kInsert, kInsertAt, kRemove, kGet };
  struct Call {
    Kind kind;
    uint64_t fd = 0;     // kInsert: the lowest that will do
    uint64_t value = 0;  // kInsert, kInsertAt
  };
  static constexpr uint64_t kFull = std::numeric_limits<uint64_t>::max();
  using Result = uint64_t;  // kInsert: the descriptor or kFull. Else: the value that was there, 0 for none
  using State = std::array<uint64_t, kLimit>;
  static uint64_t Key(const Call&) { return 0; }
  static bool Apply(State& state, const Call& call, const Result* result) {
    if (call.kind == kInsert) {
      uint64_t fd = call.fd;
      while (fd < kLimit && state[fd] != 0) ++fd;
      if (fd < kLimit) state[fd] = call.value;
      return specifications_internal::Is(result, fd < kLimit ? fd : kFull);
    }
    const uint64_t before = call.fd < kLimit ? state[call.fd] : 0;
    if (call.kind == kRemove && call.fd < kLimit) state[call.fd] = 0;
    if (call.kind == kInsertAt && call.fd < kLimit) state[call.fd] = call.value;
    return specifications_internal::Is(result, before);
  }
  static uint64_t Hash(const State& state) {
    uint64_t hash = 0;
    for (const uint64_t value : state) hash = linearizability_internal::Mix(hash ^ value);
    return hash;
  }
  static void Print(std::ostream& out, const Call& call, const Result* result) {
    constexpr const char* kNames[] = {"insert", "insert_at", "remove", "get"};
    out << kNames[call.kind] << "(" << call.fd;
    if (call.kind == kInsert || call.kind == kInsertAt) out << ", " << call.value;
    out << ")";
    if (result != nullptr && call.kind == kInsert && *result == kFull) {
      out << " -> full";
    } else {
      specifications_internal::PrintResult(out, result);
    }
  }
};

// A first-in first-out queue of at most kCapacity values.
template <size_t kCapacity = std::numeric_limits<size_t>::max()>
struct QueueSpec {
  enum Kind { kPush, kPop };
  struct Call {
    Kind kind;
    uint64_t value = 0;  // kPush
  };
  using Result = std::optional<uint64_t>;  // kPop: the value, if there was one. kPush: 1, or nothing if it was full
  using State = std::deque<uint64_t>;
  static uint64_t Key(const Call&) { return 0; }
  static bool Apply(State& state, const Call& call, const Result* result) {
    Result expected;
    if (call.kind == kPush && state.size() < kCapacity) {
      state.push_back(call.value);
      expected = 1;
    } else if (call.kind == kPop && !state.empty()) {
      expected = state.front();
      state.pop_front();
    }
    return specifications_internal::Is(result, expected);
  }
  static uint64_t Hash(const State& state) {
    uint64_t hash = state.size();
    for (const uint64_t value : state) hash = linearizability_internal::Mix(hash ^ value);
    return hash;
  }
  static void Print(std::ostream& out, const Call& call, const Result* result) {
    call.kind == kPush ? out << "push(" << call.value << ")" : out << "pop()";
    specifications_internal::PrintResult(out, result);
  }
};

}  // namespace hotpath::stress

#endif  // HOTPATH_STRESS_BASE_SPECIFICATIONS_H_
