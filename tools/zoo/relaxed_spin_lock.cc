// Caught by tsan: data race

// A spin lock that unlocks with a relaxed store: it excludes, but hands nothing over.
#include <atomic>
#include <thread>

std::atomic<bool> locked{false};
int guarded = 0;

void Work() {
  for (int i = 0; i < 1000; ++i) {
    while (locked.exchange(true, std::memory_order::acquire)) std::this_thread::yield();
    ++guarded;
    locked.store(false, std::memory_order::relaxed);
  }
}

int main() {
  std::thread other(Work);
  Work();
  other.join();
  return guarded == 2000 ? 0 : 1;
}
