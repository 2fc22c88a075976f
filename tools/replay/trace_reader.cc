#include "tools/replay/trace_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hotpath::replay {
namespace {

constexpr std::string_view kXzMagic(
    "\xfd"
    "7zXZ\0",
    6);
// xz -9 needs 65 MiB to unpack, and the largest dictionary that xz makes, 1.5 GiB, is for nothing we read.
constexpr uint64_t kDecoderMemory = uint64_t{256} << 20;
constexpr size_t kReadBytes = size_t{1} << 16;
constexpr size_t kFirstUnpackBytes = size_t{1} << 16;
constexpr size_t kCheckedBytes = 4096;

std::string NameOf(const std::string& path) { return path == "-" ? "stdin" : path; }

absl::Status TooLong(absl::string_view name, size_t max_bytes) {
  return absl::ResourceExhaustedError(absl::StrCat(name, ": longer than ", max_bytes, " bytes"));
}

absl::StatusOr<std::string> ReadAll(int fd, absl::string_view name) {
  std::string bytes;
  for (;;) {
    const size_t before = bytes.size();
    bytes.resize(before + kReadBytes);
    const ssize_t n = read(fd, bytes.data() + before, kReadBytes);
    const int error = errno;
    bytes.resize(before + (n > 0 ? static_cast<size_t>(n) : 0));
    if (n == 0) return bytes;
    if (n < 0 && error == EINTR) continue;
    if (n < 0) return absl::ErrnoToStatus(error, absl::StrCat(name, ": cannot read"));
    if (bytes.size() > kMaxTraceBytes) return TooLong(name, kMaxTraceBytes);
  }
}

absl::string_view LzmaProblem(lzma_ret code) {
  switch (code) {
    case LZMA_MEM_ERROR:
      return "no memory to unpack it";
    case LZMA_MEMLIMIT_ERROR:
      return "xz file that needs more memory than allowed to unpack";
    case LZMA_FORMAT_ERROR:
    case LZMA_OPTIONS_ERROR:
      return "unknown kind of xz file";
    case LZMA_BUF_ERROR:
      return "xz file is cut";
    default:
      return "xz file is damaged";
  }
}

absl::StatusOr<std::string> Unpack(std::string_view packed, absl::string_view name, size_t max_bytes) {
  lzma_stream stream = LZMA_STREAM_INIT;
  lzma_ret code = lzma_stream_decoder(&stream, kDecoderMemory, LZMA_CONCATENATED);
  std::string text;
  if (code == LZMA_OK) {
    stream.next_in = static_cast<const uint8_t*>(static_cast<const void*>(packed.data()));
    stream.avail_in = packed.size();
    do {
      const size_t before = text.size();
      text.resize(before == 0 ? kFirstUnpackBytes : before * 2);
      stream.next_out = static_cast<uint8_t*>(static_cast<void*>(text.data() + before));
      stream.avail_out = text.size() - before;
      code = lzma_code(&stream, LZMA_FINISH);
      text.resize(text.size() - stream.avail_out);
    } while (code == LZMA_OK && text.size() <= max_bytes);
  }
  const uint64_t at = stream.total_in;
  lzma_end(&stream);
  if (text.size() > max_bytes) return TooLong(name, max_bytes);
  if (code != LZMA_STREAM_END) {
    return absl::DataLossError(absl::StrCat(name, ": ", LzmaProblem(code), ", at byte ", at));
  }
  return text;
}

// strace escapes all control characters, so one near the start means another kind of file.  Further on it may be output
// of the recorded program that got between: that is for the parser to tell, with the line.
absl::Status CheckText(std::string_view text, absl::string_view name) {
  for (size_t i = 0; i < std::min(text.size(), kCheckedBytes); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < ' ' && c != '\n' && c != '\t' && c != '\r') || c == 0x7f) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": not a recording of strace: ", absl::StrFormat("0x%02x", c), " at byte ", i));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> UnpackTraceText(std::string bytes, std::string_view name_of_file, size_t max_bytes) {
  const absl::string_view name(name_of_file.data(), name_of_file.size());
  if (bytes.starts_with(kXzMagic)) {
    absl::StatusOr<std::string> text = Unpack(bytes, name, max_bytes);
    if (!text.ok()) return text;
    bytes = *std::move(text);
  }
  if (bytes.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": empty"));
  if (bytes.size() > max_bytes) return TooLong(name, max_bytes);
  if (absl::Status status = CheckText(bytes, name); !status.ok()) return status;
  return bytes;
}

absl::StatusOr<std::string> ReadTraceText(const std::string& path) {
  const std::string name = NameOf(path);
  const bool standard_input = path == "-";
  const int fd = standard_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(name, ": cannot open"));
  absl::StatusOr<std::string> bytes = ReadAll(fd, name);
  if (!standard_input) close(fd);
  if (!bytes.ok()) return bytes;
  return UnpackTraceText(*std::move(bytes), name, kMaxTraceBytes);
}

absl::StatusOr<Trace> ReadTrace(const std::string& path) {
  absl::StatusOr<std::string> text = ReadTraceText(path);
  if (!text.ok()) return text.status();
  return ParseStrace(*text, NameOf(path));
}

}  // namespace hotpath::replay
