// Caught by asan: signed integer overflow

// The undefined half of --config=asan.
#include <climits>

int main(int argc, char**) {
  const volatile int big = INT_MAX;
  return big + argc == 0;
}
