// Caught by tsan: data race

// One thread uses the variable atomically, the other does not: what report_atomic_races=0 would hide.
#include <atomic>
#include <thread>

int x;

int main() {
  std::thread other([] {
    for (int i = 0; i < 10000; ++i) std::atomic_ref<int>(x).store(1);
  });
  for (int i = 0; i < 10000; ++i) x = i;
  other.join();
}
