#include "hotpath/core/base/check.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace hotpath {
namespace {

constinit std::atomic<CheckHandler> g_handler{nullptr};

// Appends what fits: a long expression is cut, the line still ends.
class Line {
 public:
  void Append(const char* text) {
    const size_t length = std::min(std::strlen(text), sizeof(text_) - 1 - size_);
    std::memcpy(text_ + size_, text, length);
    size_ += length;
  }
  void Append(int number) {
    char digits[12];
    char* first = digits + sizeof(digits);
    *--first = '\0';
    do *--first = static_cast<char>('0' + number % 10);
    while (number /= 10);
    Append(first);
  }
  void Write() {
    text_[size_++] = '\n';
    for (size_t done = 0; done < size_;) {
      const ssize_t wrote = write(STDERR_FILENO, text_ + done, size_ - done);
      if (wrote <= 0) return;
      done += static_cast<size_t>(wrote);
    }
  }

 private:
  char text_[1024];
  size_t size_ = 0;
};

}  // namespace

CheckHandler SetCheckHandler(CheckHandler handler) noexcept {
  return g_handler.exchange(handler, std::memory_order::acq_rel);
}

void check_internal::Fail(const char* file, int line, const char* expression, const char* message) noexcept {
  const CheckFailure failure{file, line, expression, message};
  if (const CheckHandler handler = g_handler.load(std::memory_order::acquire)) {
    handler(failure);
  } else {
    Line report;
    report.Append(file);
    report.Append(":");
    report.Append(line);
    report.Append(": check failed: ");
    report.Append(expression);
    if (message[0] != '\0') report.Append(": ");
    report.Append(message);
    report.Write();
  }
  std::abort();
}

}  // namespace hotpath
