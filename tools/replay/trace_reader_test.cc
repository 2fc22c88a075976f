#include "tools/replay/trace_reader.h"

#include <fcntl.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace hotpath::replay {
namespace {

constexpr std::string_view kLine = "7 close(3) = 0\n";

std::string Message(const absl::Status& status) { return std::string(status.message()); }

std::string Pack(std::string_view text, uint32_t preset = 0) {
  std::vector<uint8_t> out(lzma_stream_buffer_bound(text.size()));
  size_t size = 0;
  const std::vector<uint8_t> in(text.begin(), text.end());
  EXPECT_EQ(
      lzma_easy_buffer_encode(preset, LZMA_CHECK_CRC64, nullptr, in.data(), in.size(), out.data(), &size, out.size()),
      LZMA_OK);
  return std::string(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size));
}

// A file of its own for each test.
class TraceReader : public ::testing::Test {
 protected:
  ~TraceReader() override { unlink(path_.c_str()); }

  const std::string& Write(std::string_view bytes) {
    const int fd = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    close(fd);
    return path_;
  }

  const std::string path_ = absl::StrCat(::testing::TempDir(), "/",
                                         ::testing::UnitTest::GetInstance()->current_test_info()->name(), ".strace");
};

struct Recording {
  const char* file;
  size_t lines, calls, tasks;
};

// The counts of traces/README.md.
constexpr Recording kRecordings[] = {
    {"gcc", 3945, 3886, 9},    {"sqlite", 803, 802, 1}, {"py", 1607, 1481, 6},
    {"shell", 6939, 5163, 48}, {"mk", 8615, 6937, 26},  {"tarz", 3245, 2910, 9},
};

class Recordings : public ::testing::TestWithParam<Recording> {};

TEST_P(Recordings, AreDecodedToTheLastByte) {
  const Recording& want = GetParam();
  const absl::StatusOr<Trace> trace = ReadTrace(absl::StrCat("tools/replay/traces/", want.file, ".strace.xz"));
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->lines, want.lines);
  EXPECT_EQ(trace->calls, want.calls);
  EXPECT_EQ(trace->tasks, want.tasks);
  EXPECT_EQ(trace->notices, 0u);
  size_t lines = 0;
  for (const Record& record : trace->records) lines += record.exit_line == record.line ? 1 : 2;
  EXPECT_LE(lines, want.lines);
  // A call that ends with its task shares its last line with the record of the death.
  EXPECT_GE(lines + 1, want.lines);
}

INSTANTIATE_TEST_SUITE_P(All, Recordings, ::testing::ValuesIn(kRecordings),
                         [](const ::testing::TestParamInfo<Recording>& info) { return info.param.file; });

TEST_F(TraceReader, PlainTextIsReadAsItIs) {
  const absl::StatusOr<std::string> text = ReadTraceText(Write(kLine));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, kLine);
}

TEST_F(TraceReader, XzIsToldByItsFirstBytesNotByItsName) {
  const absl::StatusOr<std::string> text = ReadTraceText(Write(Pack(kLine)));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, kLine);
}

TEST_F(TraceReader, StreamsAfterEachOtherAreOneText) {
  const std::string padding(8, '\0');
  const absl::StatusOr<std::string> text = ReadTraceText(Write(Pack(kLine) + padding + Pack("") + Pack(kLine)));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, absl::StrCat(std::string(kLine), std::string(kLine)));
}

TEST_F(TraceReader, TextLongerThanEveryBufferIsRead) {
  std::string lines;
  while (lines.size() < (size_t{3} << 20)) lines += kLine;
  EXPECT_EQ(*ReadTraceText(Write(lines)), lines);
  EXPECT_EQ(*ReadTraceText(Write(Pack(lines))), lines);
}

TEST_F(TraceReader, CutXzIsRejectedWithFileAndByte) {
  const std::string packed = Pack(kLine);
  for (size_t size = 6; size < packed.size(); ++size) {
    const absl::StatusOr<std::string> text = ReadTraceText(Write(packed.substr(0, size)));
    ASSERT_FALSE(text.ok()) << size;
    EXPECT_EQ(text.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(Message(text.status()), absl::StrCat(path_, ": xz file is cut, at byte ", size));
  }
}

TEST_F(TraceReader, DamagedXzIsRejectedWithFileAndByte) {
  const std::string packed = Pack(kLine);
  for (size_t i = 6; i < packed.size(); ++i) {
    std::string damaged = packed;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x40);
    const absl::StatusOr<std::string> text = ReadTraceText(Write(damaged));
    ASSERT_FALSE(text.ok()) << i;
    EXPECT_TRUE(absl::StartsWith(Message(text.status()), absl::StrCat(path_, ": "))) << text.status();
    EXPECT_TRUE(absl::StrContains(Message(text.status()), ", at byte ")) << text.status();
  }
  const absl::StatusOr<std::string> tail = ReadTraceText(Write(packed + "7 close(3) = 0\n"));
  EXPECT_TRUE(absl::StartsWith(Message(tail.status()), absl::StrCat(path_, ": xz file is damaged, at byte ")))
      << tail.status();
}

TEST_F(TraceReader, TextLongerThanTheLimitIsRejectedPackedOrNot) {
  const std::string lines(100000, 'x');
  const absl::StatusOr<std::string> packed = UnpackTraceText(Pack(lines), "p", 99999);
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Message(packed.status()), "p: longer than 99999 bytes");
  EXPECT_EQ(Message(UnpackTraceText(lines, "p", 99999).status()), "p: longer than 99999 bytes");
  const absl::StatusOr<std::string> given_up = UnpackTraceText(Pack(std::string(5000000, 'x')), "p", 99999);
  EXPECT_EQ(Message(given_up.status()), "p: longer than 99999 bytes") << "before all of it is unpacked";
  EXPECT_EQ(UnpackTraceText(Pack(lines), "p", 100000)->size(), 100000u);
  EXPECT_EQ(UnpackTraceText(lines, "p", 100000)->size(), 100000u);
}

TEST_F(TraceReader, XzThatNeedsMuchMemoryIsRejected) {
  // A dictionary of 1 GiB, declared in the header of the block, which has a checksum.
  lzma_options_lzma options;
  ASSERT_FALSE(lzma_lzma_preset(&options, 0));
  lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  const std::string_view text = kLine;
  const std::vector<uint8_t> in(text.begin(), text.end());
  std::vector<uint8_t> out(4096);
  size_t size = 0;
  ASSERT_EQ(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, nullptr, in.data(), in.size(), out.data(), &size,
                                      out.size()),
            LZMA_OK);
  // After the stream header, 12 bytes: the block header with its length in words, flags, two lengths, the filter
  // (0x21), the length of its properties (1), the dictionary, padding and a CRC32.
  const size_t header = (size_t{out[12]} + 1) * 4;
  const auto filter = std::find(out.begin() + 14, out.begin() + 12 + static_cast<std::ptrdiff_t>(header), 0x21);
  ASSERT_EQ(filter[1], 1);
  filter[2] = 36;
  const uint32_t crc = lzma_crc32(&out[12], header - 4, 0);
  for (size_t i = 0; i < 4; ++i) out[12 + header - 4 + i] = static_cast<uint8_t>(crc >> (8 * i));
  const absl::StatusOr<std::string> result =
      ReadTraceText(Write(std::string(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size))));
  EXPECT_TRUE(
      absl::StartsWith(Message(result.status()),
                       absl::StrCat(path_, ": xz file that needs more memory than allowed to unpack, at byte ")))
      << result.status();
}

TEST_F(TraceReader, EmptyInputIsRejected) {
  EXPECT_EQ(Message(ReadTraceText(Write("")).status()), absl::StrCat(path_, ": empty"));
  EXPECT_EQ(Message(ReadTraceText(Write(Pack(""))).status()), absl::StrCat(path_, ": empty"));
}

TEST_F(TraceReader, OtherKindsOfFileAreRejected) {
  EXPECT_EQ(Message(ReadTraceText(Write(std::string("\x7f"
                                                    "ELF\2\1\1\0\0",
                                                    9)))
                        .status()),
            absl::StrCat(path_, ": not a recording of strace: 0x7f at byte 0"));
  EXPECT_EQ(Message(ReadTraceText(Write("\x1f\x8b\x08")).status()),
            absl::StrCat(path_, ": not a recording of strace: 0x1f at byte 0"));
  EXPECT_EQ(Message(ReadTraceText(Write(Pack(std::string("ab\0", 3)))).status()),
            absl::StrCat(path_, ": not a recording of strace: 0x00 at byte 2"));
  EXPECT_EQ(Message(ReadTrace(Write("# A README\n")).status()),
            absl::StrCat(path_, ":1: not a line of strace: # A README"));
}

TEST_F(TraceReader, FilesThatCannotBeReadAreNamedWithTheReason) {
  const absl::StatusOr<std::string> missing = ReadTraceText(path_);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Message(missing.status()), absl::StrCat(path_, ": cannot open: No such file or directory"));
  EXPECT_EQ(Message(ReadTraceText(::testing::TempDir()).status()),
            absl::StrCat(::testing::TempDir(), ": cannot read: Is a directory"));
  EXPECT_EQ(Message(ReadTraceText(Write("x") + "/y").status()),
            absl::StrCat(path_, "/y: cannot open: Not a directory"));
  ASSERT_EQ(chmod(path_.c_str(), 0), 0);
  if (access(path_.c_str(), R_OK) != 0) {  // not as root
    EXPECT_EQ(Message(ReadTraceText(path_).status()), absl::StrCat(path_, ": cannot open: Permission denied"));
  }
  EXPECT_EQ(Message(ReadTrace(absl::StrCat(path_, "x")).status()),
            absl::StrCat(path_, "x: cannot open: No such file or directory"));
}

TEST_F(TraceReader, DashIsStandardInput) {
  const int file = open(Write(Pack("7 close(3) = 0\n7 close(4, O_ODD) = 0\n")).c_str(), O_RDONLY);
  ASSERT_GE(file, 0);
  const int saved = dup(STDIN_FILENO);
  ASSERT_EQ(dup2(file, STDIN_FILENO), STDIN_FILENO);
  close(file);
  const absl::StatusOr<Trace> trace = ReadTrace("-");
  if (saved >= 0) {
    dup2(saved, STDIN_FILENO);
    close(saved);
  }
  EXPECT_EQ(Message(trace.status()), "stdin:2: argument 2 of close: unknown constant: O_ODD");
}

}  // namespace
}  // namespace hotpath::replay
