// Caught by fuzz: deadly signal

// A crash behind four byte comparisons: found by coverage, not by luck.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 3 && data[0] == 'h' && data[1] == 'o' && data[2] == 't' && data[3] == '!') std::abort();
  return 0;
}
