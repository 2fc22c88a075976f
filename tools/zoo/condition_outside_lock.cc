// Caught by tsan: data race

// The condition that a waiter looks for under a lock is set without it.
#include <mutex>
#include <thread>

int main() {
  std::mutex mu;
  bool ready = false;
  std::thread waiter([&] {
    std::unique_lock lock(mu);
    while (!ready) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
  });
  ready = true;
  waiter.join();
}
