// Caught by tsan: data race

// Two threads write one plain variable.
#include <thread>

int x;

int main() {
  std::thread other([] { x = 1; });
  x = 2;
  other.join();
}
