#include "tools/replay/order.h"

#include <algorithm>
#include <tuple>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_split.h"

namespace hotpath::replay {

bool IsReleasing(absl::string_view call) {
  static const auto* const kReleasing = new absl::flat_hash_set<absl::string_view>(
      absl::StrSplit("write pwrite64 writev pwritev pwritev2 send sendto sendmsg sendmmsg sendfile splice vmsplice tee "
                     "close close_range dup2 dup3 shutdown kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo "
                     "fork vfork clone clone3 execve execveat exit exit_group",
                     ' '));
  return kReleasing->contains(call);
}

std::vector<Step> Linearise(const Trace& trace) {
  std::vector<Step> steps;
  steps.reserve(trace.records.size() + trace.records.size() / 8);
  for (size_t i = 0; i < trace.records.size(); ++i) {
    const Record& r = trace.records[i];
    if (r.kind != Record::Kind::kCall) {
      steps.push_back({i, Step::Phase::kCall, r.line});
    } else if (IsReleasing(r.name)) {
      steps.push_back({i, Step::Phase::kCall, r.line});
      if (r.exit_line != r.line) steps.push_back({i, Step::Phase::kReturn, r.exit_line});
    } else {
      if ((r.name == "accept" || r.name == "accept4") && r.exit_line != r.line) {
        steps.push_back({i, Step::Phase::kReserve, r.line});
      }
      steps.push_back({i, Step::Phase::kCall, r.exit_line});
    }
  }
  std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return std::tie(a.line, a.record, a.phase) < std::tie(b.line, b.record, b.phase);
  });
  return steps;
}

}  // namespace hotpath::replay
