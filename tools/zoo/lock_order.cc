// Caught by tsan: lock-order-inversion

// Two transfers take the locks of two accounts, each its own first. Seen although this run does not deadlock.
#include <mutex>
#include <thread>

struct Account {
  std::mutex mu;
  int balance = 100;
};

void Transfer(Account& from, Account& to) {
  std::lock_guard first(from.mu);
  std::lock_guard second(to.mu);
  --from.balance, ++to.balance;
}

int main() {
  Account a, b;
  std::thread([&] { Transfer(a, b); }).join();
  std::thread([&] { Transfer(b, a); }).join();
}
