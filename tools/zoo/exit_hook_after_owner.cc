// Caught by model: data race

// A pool is destroyed while a thread that used it lives on. When that thread ends, its hook gives its cache back to the
// pool, which should have cancelled the hook.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct Pool {
  RelacySync::Atomic<int> returned{0};
};

struct Cache : ThreadExitHook {
  explicit Cache(Pool* pool) : ThreadExitHook(&Cache::GiveBack), pool(pool) {}
  static void GiveBack(ThreadExitHook& hook) {
    static_cast<Cache&>(hook).pool->returned.fetch_add(1, std::memory_order::relaxed);
  }
  Pool* const pool;
};

struct ExitHookAfterOwner : Model<ExitHookAfterOwner, 2> {
  Pool* pool = RelacySync::New<Pool>();
  Cache cache{pool};
  RelacySync::Atomic<bool> unused{false};

  void thread(unsigned id) {
    if (id == 0) {
      RelacySync::AtThreadExit(cache);
      unused.store(true, std::memory_order::release);
    } else {
      while (!unused.load(std::memory_order::acquire)) RelacySync::Pause();
      RelacySync::Delete(pool);
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::ExitHookAfterOwner)});
}
