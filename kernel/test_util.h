#ifndef HOTPATH_KERNEL_TEST_UTIL_H_
#define HOTPATH_KERNEL_TEST_UTIL_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "hotpath/core/result.h"
#include "hotpath/kernel/abi.h"
#include "hotpath/kernel/kernel.h"

// What the tests of the kernel share. The numbers in their comments are the acceptance cases of the kernel's design.

namespace hotpath::kernel {

template <class T>
testing::AssertionResult Ok(const Result<T>& result) {
  if (result.ok()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "failed with " << CodeName(result.code());
}

template <class T>
testing::AssertionResult Fails(const Result<T>& result, Code code) {
  if (result.ok()) return testing::AssertionFailure() << "succeeded instead of " << CodeName(code);
  if (result.code() == code) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "failed with " << CodeName(result.code()) << " instead of " << CodeName(code);
}

template <class T, class U>
testing::AssertionResult Gives(const Result<T>& result, const U& value) {
  if (!result.ok()) return testing::AssertionFailure() << "failed with " << CodeName(result.code());
  if (*result == value) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "gave " << testing::PrintToString(*result) << " instead of "
                                     << testing::PrintToString(value);
}

// The value; the test fails, and goes on with a default one, if there is none.
template <class T>
T Value(Result<T> result) {
  if (result.ok()) return *std::move(result);
  ADD_FAILURE() << "failed with " << CodeName(result.code());
  return T{};
}

inline std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// Reads at most `size` bytes; "<ENOENT>" and the like if that fails.
inline std::string ReadText(Kernel& k, Pid t, Fd fd, size_t size = 4096) {
  std::string text(size, '?');
  const Result<size_t> count = k.Read(t, fd, std::as_writable_bytes(std::span(text)));
  if (!count.ok()) return "<" + std::string(CodeName(count.code())) + ">";
  text.resize(*count);
  return text;
}

inline std::string FileText(Kernel& k, Pid t, std::string_view path) {
  const Result<Fd> fd = k.Open(t, path, O_RDONLY);
  if (!fd.ok()) return "<" + std::string(CodeName(fd.code())) + ">";
  const std::string text = ReadText(k, t, *fd, 1 << 20);
  EXPECT_TRUE(Ok(k.Close(t, *fd)));
  return text;
}

inline void WriteFile(Kernel& k, Pid t, std::string_view path, std::string_view text, uint32_t mode = 0644) {
  const Fd fd = Value(k.Open(t, path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  EXPECT_TRUE(Gives(k.Write(t, fd, Bytes(text)), text.size()));
  EXPECT_TRUE(Ok(k.Close(t, fd)));
}

inline Stat StatOf(Kernel& k, Pid t, std::string_view path, int flags = 0) {
  return Value(k.StatAt(t, kAtFdCwd, path, flags));
}

inline bool Exists(Kernel& k, Pid t, std::string_view path) {
  return k.StatAt(t, kAtFdCwd, path, abi::kAtSymlinkNoFollow).ok();
}

inline bool SameStats(const KernelStats& a, const KernelStats& b) {
  return a.processes == b.processes && a.tasks == b.tasks && a.zombies == b.zombies &&
         a.open_descriptions == b.open_descriptions && a.descriptors == b.descriptors && a.inodes == b.inodes &&
         a.pipes == b.pipes && a.mapped_bytes == b.mapped_bytes && a.file_bytes == b.file_bytes;
}

// A kernel with an init process at "/".
class KernelTest : public testing::Test {
 protected:
  explicit KernelTest(KernelOptions options = {}) : k(std::move(options)), init(Value(k.Spawn({}))) {}

  Kernel k;
  const Pid init;
};

// The same, in which nothing ever sleeps.
class DrivenKernelTest : public KernelTest {
 protected:
  DrivenKernelTest() : KernelTest({.never_block = true}) {}
};

}  // namespace hotpath::kernel

#endif  // HOTPATH_KERNEL_TEST_UTIL_H_
