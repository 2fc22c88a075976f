// Caught by tsan: data race

// The first check of the pointer is outside the lock and not atomic.
#include <mutex>
#include <thread>

struct Config {
  int value = 7;
};

std::mutex mu;
Config* config = nullptr;

Config& Get() {
  if (config == nullptr) {
    std::lock_guard lock(mu);
    if (config == nullptr) config = new Config;
  }
  return *config;
}

int main() {
  int seen = 0;
  std::thread other([&] { seen = Get().value; });
  const int mine = Get().value;
  other.join();
  delete config;
  return mine + seen == 14 ? 0 : 1;
}
