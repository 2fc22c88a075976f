// Caught by asan: stack-use-after-return

// A thread is started with a reference to a local variable of a function that returns before it.
#include <latch>
#include <thread>

int sum = 0;

std::thread Start(std::latch& returned) {
  int local = 7;
  return std::thread([&] {
    returned.wait();
    sum += local;
  });
}

int main() {
  std::latch returned(1);
  std::thread thread = Start(returned);
  returned.count_down();
  thread.join();
  return sum;
}
