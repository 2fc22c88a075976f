#ifndef HOTPATH_STRESS_BASE_SPECIFICATIONS_H_
#define HOTPATH_STRESS_BASE_SPECIFICATIONS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <ostream>
#include <vector>

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

// A table of descriptors below kLimit that gives out the lowest free one, as POSIX wants it. One partition: which
// number is the lowest depends on all of them. Values are not 0.
//
// kGet reads a descriptor without the lock under which all else is done, and CloseOnExec may be seen by it closing one
// descriptor after the other, lowest first. So a CloseOnExec that closed n descriptors is n operations, and one if it
// closed none: they have the same `value`, which no other CloseOnExec has, `fd` counts them from 0, and each has n for
// a result. Between them nothing may come but kGet.
template <size_t kLimit = 16>
struct FdTableSpec {
  enum Kind {
    kInsert,
    kInsertAt,
    kRemove,
    kGet,
    kGetFlags,
    kSetFlags,
    kGeneration,
    kCloseOnExec,
    kSetLimit,  // `value`: the limit, at most kLimit; it is kLimit at first
    kSize,
    kVisit,  // all descriptors of one moment
  };
  struct Call {
    Kind kind;
    uint64_t fd = 0;             // kInsert: the lowest that will do
    uint64_t value = 0;          // kInsert, kInsertAt: of the object
    bool close_on_exec = false;  // kInsert, kInsertAt, kSetFlags
  };
  static constexpr uint64_t kRefused = std::numeric_limits<uint64_t>::max();
  struct Result {
    // kInsert: the descriptor. kInsertAt, kRemove, kGet: the value that was there, 0 for none. kGetFlags, kSetFlags: 0.
    // kSize, kCloseOnExec: how many. kVisit: the sum of what Digest says of each. kRefused: the table said no.
    uint64_t value = 0;
    bool close_on_exec = false;  // kGetFlags, kRemove
    // kGeneration, kRemove; 0: closed. What the numbers are is the table's business: each is one opening's only.
    uint64_t generation = 0;
    Result() = default;
    explicit(false) Result(uint64_t v, bool flag = false, uint64_t g = 0)
        : value(v), close_on_exec(flag), generation(g) {}
    bool operator==(const Result&) const = default;
  };
  struct Descriptor {
    uint64_t value = 0;       // 0: closed
    uint64_t generation = 0;  // 0: nobody has looked yet
    bool close_on_exec = false;
  };
  struct State {
    std::array<Descriptor, kLimit> descriptors;
    uint64_t limit = kLimit;
    std::vector<uint64_t> generations;        // that anybody has seen
    uint64_t closing = 0, closed_so_far = 0;  // by the CloseOnExec that is under way
  };
  static uint64_t Key(const Call&) { return 0; }
  static uint64_t Digest(uint64_t fd, uint64_t value, bool close_on_exec) {
    return linearizability_internal::Mix(value ^ linearizability_internal::Mix(fd * 2 + close_on_exec));
  }

  static bool Apply(State& state, const Call& call, const Result* result) {
    using specifications_internal::Is;
    Descriptor none;
    Descriptor& at = call.kind != kInsert && call.fd < kLimit ? state.descriptors[call.fd] : none;
    if (call.kind == kGet) return Is<Result>(result, at.value);
    if (call.kind == kCloseOnExec) return Close(state, call, result);
    if (state.closing != 0) return false;
    switch (call.kind) {
      case kInsert: {
        uint64_t fd = call.fd;
        while (fd < kLimit && state.descriptors[fd].value != 0) ++fd;
        if (fd >= state.limit) return Is<Result>(result, kRefused);
        state.descriptors[fd] = {call.value, 0, call.close_on_exec};
        return Is<Result>(result, fd);
      }
      case kInsertAt: {
        if (call.fd >= state.limit) return Is<Result>(result, kRefused);
        const uint64_t before = at.value;
        at = {call.value, 0, call.close_on_exec};
        return Is<Result>(result, before);
      }
      case kRemove: {
        Descriptor before = at;
        at = {};
        if (before.value == 0) return Is<Result>(result, kRefused);
        return result == nullptr || (Learn(state, before, result->generation) &&
                                     *result == Result(before.value, before.close_on_exec, before.generation));
      }
      case kGeneration:
        if (at.value == 0) return Is<Result>(result, Result());
        return result == nullptr ||
               (Learn(state, at, result->generation) && *result == Result(0, false, at.generation));
      case kGetFlags:
        return Is<Result>(result, at.value == 0 ? Result(kRefused) : Result(0, at.close_on_exec));
      case kSetFlags:
        if (at.value == 0) return Is<Result>(result, kRefused);
        at.close_on_exec = call.close_on_exec;
        return Is<Result>(result, Result());
      case kSetLimit:
        state.limit = call.value;
        return Is<Result>(result, Result());
      default: {
        uint64_t open = 0, digest = 0;
        for (uint64_t fd = 0; fd < kLimit; ++fd) {
          const Descriptor& descriptor = state.descriptors[fd];
          if (descriptor.value == 0) continue;
          ++open;
          digest += Digest(fd, descriptor.value, descriptor.close_on_exec);
        }
        return Is<Result>(result, call.kind == kSize ? open : digest);
      }
    }
  }
  static uint64_t Hash(const State& state) {
    using linearizability_internal::Mix;
    uint64_t hash = Mix(state.limit ^ Mix(state.closing ^ Mix(state.closed_so_far)));
    for (const Descriptor& descriptor : state.descriptors) {
      hash = Mix(hash ^ descriptor.value);
      hash = Mix(hash ^ descriptor.generation);
      hash = Mix(hash ^ descriptor.close_on_exec);
    }
    for (const uint64_t generation : state.generations) hash += Mix(generation);
    return hash;
  }
  static void Print(std::ostream& out, const Call& call, const Result* result) {
    constexpr const char* kNames[] = {"insert",     "insert_at",     "remove",    "get",  "get_flags", "set_flags",
                                      "generation", "close_on_exec", "set_limit", "size", "visit"};
    out << kNames[call.kind] << "(" << call.fd;
    if (call.value != 0) out << ", " << call.value;
    if (call.close_on_exec) out << ", close_on_exec";
    out << ")";
    if (result == nullptr) return;
    out << " -> ";
    result->value == kRefused ? out << "refused" : out << result->value;
    if (result->close_on_exec) out << ", close_on_exec";
    if (result->generation != 0) out << ", generation " << result->generation;
  }

 private:
  // An opening has the generation that whoever looked first has seen, and no other opening has it.
  static bool Learn(State& state, Descriptor& descriptor, uint64_t generation) {
    if (descriptor.generation != 0) return true;
    const bool is_new = std::ranges::find(state.generations, generation) == state.generations.end();
    state.generations.push_back(generation);
    descriptor.generation = generation;
    return generation != 0 && is_new;
  }
  static bool Close(State& state, const Call& call, const Result* result) {
    if (state.closing != (call.fd == 0 ? 0 : call.value) || state.closed_so_far != call.fd) return false;
    const auto closes = [](const Descriptor& descriptor) { return descriptor.value != 0 && descriptor.close_on_exec; };
    uint64_t left = static_cast<uint64_t>(std::ranges::count_if(state.descriptors, closes));
    if (result != nullptr && result->value != call.fd + left) return false;
    for (Descriptor& descriptor : state.descriptors) {
      if (!closes(descriptor)) continue;
      descriptor = {};
      if (--left != 0 && result != nullptr) break;  // one that is pending closes all of them at once, or none
    }
    state.closing = left == 0 ? 0 : call.value;
    state.closed_so_far = left == 0 ? 0 : call.fd + 1;
    return true;
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
