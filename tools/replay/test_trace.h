#ifndef HOTPATH_TOOLS_REPLAY_TEST_TRACE_H_
#define HOTPATH_TOOLS_REPLAY_TEST_TRACE_H_

#include <string_view>
#include <utility>

#include "gtest/gtest.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// A trace written in a test; the text begins with a line break, which is dropped, so that lines count from 1.
inline Trace Parsed(std::string_view text) {
  if (!text.empty() && text.front() == '\n') text.remove_prefix(1);
  absl::StatusOr<Trace> trace = ParseStrace(text, "test.strace");
  if (!trace.ok()) {
    ADD_FAILURE() << trace.status();
    return {};
  }
  return *std::move(trace);
}

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_TEST_TRACE_H_
