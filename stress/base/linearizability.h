#ifndef HOTPATH_STRESS_BASE_LINEARIZABILITY_H_
#define HOTPATH_STRESS_BASE_LINEARIZABILITY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

// Is there an order of the operations, each somewhere between its invocation and its return, in which every result is
// the one a sequential object would have given? The search of Wing and Gong ("Testing and Verifying Concurrent
// Objects", 1993) over a list of events, with Lowe's memory of the configurations it has been in ("Testing for
// Linearizability", 2016), separately for each key (Herlihy and Wing: a history is linearizable iff it is for each
// object).
//
// Exponential in the number of operations that are under way at once. Records of 3 to 6 threads, a few hundred
// operations each, are checked in milliseconds; cut longer ones where no operation is under way.

namespace hotpath::stress {

inline constexpr uint64_t kPending = std::numeric_limits<uint64_t>::max();

// One operation of a history. Spec is a sequential specification; see specifications.h for what it offers.
template <class Spec>
struct Operation {
  typename Spec::Call call;
  typename Spec::Result result{};  // says nothing if pending
  uint64_t invoked = 0;
  uint64_t returned = kPending;  // pending: it may take effect, at any time after its invocation, or never
  uint32_t thread = 0;
};

enum class Linearizable {
  kYes,
  kNo,
  kUnknown,  // the search gave up. Not a yes
};

struct LinearizabilityReport {
  Linearizable verdict = Linearizable::kYes;
  std::string text;    // unless kYes: what cannot be explained
  uint64_t steps = 0;  // of the search
};

namespace linearizability_internal {

constexpr uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

template <class Spec>
class Search {
 public:
  Search(std::vector<const Operation<Spec>*> operations, uint64_t max_steps)
      : operations_(std::move(operations)), max_steps_(max_steps) {
    struct Moment {
      uint64_t time;
      bool is_return;
      size_t operation;
      // At one time, invocations go first: operations that touch count as concurrent.
      bool operator<(const Moment& other) const {
        return std::tie(time, is_return, operation) < std::tie(other.time, other.is_return, other.operation);
      }
    };
    std::vector<Moment> moments;
    for (size_t i = 0; i < operations_.size(); ++i) {
      moments.push_back({operations_[i]->invoked, false, i});
      moments.push_back({operations_[i]->returned, true, i});
      completed_ += operations_[i]->returned != kPending;
    }
    std::sort(moments.begin(), moments.end());

    events_.resize(moments.size() + 1);
    std::vector<size_t> invocation(operations_.size());
    for (size_t i = 0; i < moments.size(); ++i) {
      const size_t at = i + 1;
      events_[at] = {moments[i].operation, moments[i].is_return, i, at + 1, 0};
      if (moments[i].is_return) {
        events_[invocation[moments[i].operation]].match = at;
      } else {
        invocation[moments[i].operation] = at;
      }
    }
    events_[kHead].next = 1;
    if (!moments.empty()) events_.back().next = kEnd;
  }

  Linearizable Run() {
    if (completed_ == 0) return Linearizable::kYes;
    typename Spec::State state{};
    for (size_t at = events_[kHead].next;;) {
      if (++steps_ > max_steps_) return Linearizable::kUnknown;
      const Event& event = events_[at];
      if (!event.is_return) {
        const Operation<Spec>& operation = *operations_[event.operation];
        typename Spec::State next = state;
        if (Spec::Apply(next, operation.call, operation.returned == kPending ? nullptr : &operation.result) &&
            FirstTime(event.operation, next)) {
          taken_.push_back({at, std::move(state)});
          state = std::move(next);
          Take(at);
          if (done_ == completed_) return Linearizable::kYes;
          at = events_[kHead].next;
        } else {
          at = event.next;
        }
        continue;
      }
      // Everything invoked before this return has been tried: the last choice was wrong.
      if (taken_.size() >= furthest_.size()) RememberFurthest();
      if (taken_.empty()) return Linearizable::kNo;
      at = taken_.back().event;
      state = std::move(taken_.back().before);
      taken_.pop_back();
      PutBack(at);
      at = events_[at].next;
    }
  }

  uint64_t steps() const { return steps_; }

  // The longest order found, and the operations of which none can come next.
  std::string Explain() const {
    constexpr size_t kShown = 8;
    std::ostringstream out;
    const size_t first = furthest_.size() > kShown ? furthest_.size() - kShown : 0;
    out << furthest_.size() << " of " << operations_.size() << " operations can be put in order";
    if (!furthest_.empty()) out << (first > 0 ? "; the last of them:\n" : ":\n");
    for (size_t i = first; i < furthest_.size(); ++i) Print(out, furthest_[i]);
    out << "and then none of these can be next:\n";
    for (const size_t operation : stuck_) Print(out, operation);
    return out.str();
  }

 private:
  static constexpr size_t kHead = 0, kEnd = 0;  // the list is a ring through its head

  // A doubly linked list of invocations and returns, in the order of time; what is put in order is taken out.
  struct Event {
    size_t operation;
    bool is_return;
    size_t previous, next;
    size_t match;  // of an invocation: its return
  };
  struct Taken {
    size_t event;
    typename Spec::State before;
  };
  struct Configuration {
    uint64_t high, low;
    bool operator==(const Configuration&) const = default;
  };
  struct HashOf {
    size_t operator()(const Configuration& c) const { return c.low; }
  };

  // A configuration is the set of operations taken and the state. It is remembered by 128 bits of hash: two different
  // ones agree with a probability below 2^-80 in the largest search there is time for.
  bool FirstTime(size_t operation, const typename Spec::State& state) {
    // Constants far from the numbers of operations: otherwise a small hash cancels one of them.
    const uint64_t hash = Spec::Hash(state);
    return seen_
        .insert({high_ ^ Zobrist(operation, 1) ^ Mix(hash + 0x9ae16a3b2f90404fu),
                 low_ ^ Zobrist(operation, 2) ^ Mix(hash + 0xc949d7c7509e6557u)})
        .second;
  }
  // `which`: 1 or 2.
  static uint64_t Zobrist(size_t operation, uint64_t which) { return Mix(operation * 2 + which); }

  void Take(size_t at) { Move(at, true); }
  void PutBack(size_t at) { Move(at, false); }
  void Move(size_t at, bool take) {
    const Event& event = events_[at];
    if (take) {
      Unlink(at);
      Unlink(event.match);
    } else {
      Link(event.match);
      Link(at);
    }
    high_ ^= Zobrist(event.operation, 1);
    low_ ^= Zobrist(event.operation, 2);
    const bool completes = operations_[event.operation]->returned != kPending;
    done_ = take ? done_ + completes : done_ - completes;
  }
  void Unlink(size_t at) {
    events_[events_[at].previous].next = events_[at].next;
    events_[events_[at].next].previous = events_[at].previous;
  }
  void Link(size_t at) {
    events_[events_[at].previous].next = at;
    events_[events_[at].next].previous = at;
  }

  void RememberFurthest() {
    furthest_.clear();
    for (const Taken& taken : taken_) furthest_.push_back(events_[taken.event].operation);
    stuck_.clear();
    for (size_t at = events_[kHead].next; !events_[at].is_return; at = events_[at].next) {
      stuck_.push_back(events_[at].operation);
    }
  }

  void Print(std::ostream& out, size_t i) const {
    const Operation<Spec>& operation = *operations_[i];
    const uint64_t start = operations_[events_[1].operation]->invoked;
    out << "  [" << operation.invoked - start << ", ";
    if (operation.returned == kPending) {
      out << "pending";
    } else {
      out << operation.returned - start;
    }
    out << "] thread " << operation.thread << ": ";
    Spec::Print(out, operation.call, operation.returned == kPending ? nullptr : &operation.result);
    out << "\n";
  }

  const std::vector<const Operation<Spec>*> operations_;
  const uint64_t max_steps_;
  std::vector<Event> events_;
  size_t completed_ = 0;  // operations that returned
  size_t done_ = 0;       // of them, those taken
  std::vector<Taken> taken_;
  std::unordered_set<Configuration, HashOf> seen_;
  uint64_t high_ = 0, low_ = 0;
  uint64_t steps_ = 0;
  std::vector<size_t> furthest_, stuck_;
};

}  // namespace linearizability_internal

template <class Spec>
LinearizabilityReport CheckLinearizable(const std::vector<Operation<Spec>>& history, uint64_t max_steps = 20'000'000) {
  std::map<uint64_t, std::vector<const Operation<Spec>*>> by_key;
  for (const Operation<Spec>& operation : history) by_key[Spec::Key(operation.call)].push_back(&operation);
  LinearizabilityReport report;
  for (auto& [key, operations] : by_key) {
    linearizability_internal::Search<Spec> search(std::move(operations), max_steps);
    const Linearizable verdict = search.Run();
    report.steps += search.steps();
    if (verdict == Linearizable::kYes || report.verdict == Linearizable::kNo) continue;
    report.verdict = verdict;
    std::ostringstream text;
    text << "key " << key << ": ";
    if (verdict == Linearizable::kNo) {
      text << "not linearizable: " << search.Explain();
    } else {
      text << "unknown: gave up after " << max_steps << " steps; record fewer operations at once";
    }
    report.text = text.str();
  }
  return report;
}

}  // namespace hotpath::stress

#endif  // HOTPATH_STRESS_BASE_LINEARIZABILITY_H_
