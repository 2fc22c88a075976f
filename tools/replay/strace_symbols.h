#ifndef HOTPATH_TOOLS_REPLAY_STRACE_SYMBOLS_H_
#define HOTPATH_TOOLS_REPLAY_STRACE_SYMBOLS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hotpath::replay {

// The kernel's value (x86-64) of a constant as strace spells it: O_CLOEXEC, SIGRT_3, TCGETS, ENOENT.  Values above
// INT64_MAX wrap.  Nothing if the table does not have it.
std::optional<int64_t> SymbolValue(std::string_view name);

// The number of a signal, spelled SIGCHLD, or CHLD as in a set, or SIGRTMIN (32), SIGRT_1 (33) ... SIGRT_32 (64).
std::optional<int> SignalNumber(std::string_view name);

// The number of an errno name.  ERESTARTSYS and its kin, which no program ever sees, are not among them.
std::optional<int> ErrnoNumber(std::string_view name);

// The number of ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND or ERESTART_RESTARTBLOCK.
std::optional<int> RestartNumber(std::string_view name);

// Whether replay never looks into argument `index` (from 0) of `call`, so that a constant without a known value, or a
// notation of its own, does no harm there.
bool IsUninterpreted(std::string_view call, size_t index);

// The same of a field of a struct, in any call.
bool IsUninterpretedField(std::string_view field);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_STRACE_SYMBOLS_H_
