// Caught by asan: heap-use-after-free

// A thread's cache is destroyed with its thread_locals, then the destructor of an older thread_local uses it.
#include <thread>
#include <vector>

struct Cache {
  Cache() : slots(new std::vector<int>(16)) {}
  ~Cache() { delete slots; }
  std::vector<int>* slots;
};

Cache& ThreadCache() {
  thread_local Cache cache;
  return cache;
}

struct Session {
  ~Session() { (*ThreadCache().slots)[0] = 1; }  // gives something back
};

int main() {
  std::thread([] {
    thread_local Session session;
    static_cast<void>(&session);
    ThreadCache();
  }).join();
}
