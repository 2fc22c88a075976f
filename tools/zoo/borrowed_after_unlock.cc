// Caught by asan: heap-use-after-free

// A lookup hands out a reference from under the lock; what it refers to is erased by another thread.
#include <map>
#include <mutex>
#include <string>
#include <thread>

class Names {
 public:
  const std::string& Find(int id) {
    std::lock_guard lock(mu_);
    return names_.at(id);
  }
  void Erase(int id) {
    std::lock_guard lock(mu_);
    names_.erase(id);
  }

 private:
  std::mutex mu_;
  std::map<int, std::string> names_ = {{1, std::string(100, 'a')}};
};

int main() {
  Names names;
  const std::string& name = names.Find(1);
  std::thread([&] { names.Erase(1); }).join();
  return name[0] == 'a' ? 0 : 1;
}
