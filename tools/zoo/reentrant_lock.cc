// Caught by model: recursion on non-recursive mutex

// A callback that is called under the lock asks the same object for something that takes the lock.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

class Registry {
 public:
  template <class F>
  void ForEach(F&& f) {
    MutexLock lock(mu_);
    for (int i = 0; i < 2; ++i) f(i);
  }
  int Count() {
    MutexLock lock(mu_);
    return 2;
  }

 private:
  RelacySync::Mutex mu_;
};

struct ReentrantLock : Model<ReentrantLock, 1> {
  Registry registry;
  void thread(unsigned) {
    registry.ForEach([this](int) { HOTPATH_CHECK(registry.Count() == 2); });
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::ReentrantLock)});
}
