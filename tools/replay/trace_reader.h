#ifndef HOTPATH_TOOLS_REPLAY_TRACE_READER_H_
#define HOTPATH_TOOLS_REPLAY_TRACE_READER_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// No recording longer than this is read, packed or not: its decoded form takes several times as much.
inline constexpr size_t kMaxTraceBytes = size_t{1} << 30;

// The whole text of the recording in file `path`; "-" is standard input.  What begins with the magic bytes of xz is
// unpacked, whatever its name, one stream or several after each other.  Errors name the file and the reason: it cannot
// be opened or read (with the errno text), is empty, is longer than kMaxTraceBytes, is damaged or cut xz (with the byte
// of the packed file), or has bytes that no strace writes.
absl::StatusOr<std::string> ReadTraceText(const std::string& path);

// Reads and decodes.  Messages of the parser name the file as `path`, standard input as "stdin".
absl::StatusOr<Trace> ReadTrace(const std::string& path);

// What ReadTraceText does with the bytes that it has read; `max_bytes` bounds the text.
absl::StatusOr<std::string> UnpackTraceText(std::string bytes, std::string_view name, size_t max_bytes);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_TRACE_READER_H_
