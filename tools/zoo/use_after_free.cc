// Caught by asan: heap-use-after-free

// The owner frees while a borrowed pointer is still read.
#include <memory>

int main(int argc, char**) {
  auto owner = std::make_unique<int>(argc);
  const volatile int* borrowed = owner.get();
  owner.reset();
  return *borrowed == 0;
}
