#ifndef HOTPATH_TOOLS_REPLAY_REPORT_H_
#define HOTPATH_TOOLS_REPLAY_REPORT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "tools/replay/replayer.h"

namespace hotpath::replay {

// The verdict on one trace, or on several added up, as lines of at most 100 columns.  Everything but the speed is the
// same in every run.  `verbose` adds a table of all calls.
std::string FormatReport(absl::string_view name, const ReplayResult& result, bool verbose);

// Where and how the two kernels differ, and the command to look closer.  `file` as the user can type it.
std::string FormatMismatch(absl::string_view file, const Mismatch& mismatch, size_t number, size_t count);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_REPORT_H_
