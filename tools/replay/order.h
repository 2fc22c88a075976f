#ifndef HOTPATH_TOOLS_REPLAY_ORDER_H_
#define HOTPATH_TOOLS_REPLAY_ORDER_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// A moment of the replay: something happens to one record of the trace.
struct Step {
  enum class Phase : uint8_t {
    kReserve,  // accept: the descriptor number is taken when the call is entered
    kCall,     // the call takes effect, or the event (signal, death) happens
    kReturn,   // a releasing call that was split returns: what had to wait must be done by now
  };
  size_t record = 0;  // index into Trace::records
  Phase phase = Phase::kCall;
  size_t line = 0;  // of the trace: steps are ordered by it
};

// True for the calls whose effect others can see as soon as they are entered: write, close, dup2, kill, exit, fork ...
bool IsReleasing(absl::string_view call);

// Puts the whole trace in one order.  A call that was split across lines is an interval: releasing calls take effect
// at its first line, all others at its last.
std::vector<Step> Linearise(const Trace& trace);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_ORDER_H_
