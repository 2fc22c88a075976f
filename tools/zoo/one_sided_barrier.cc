// Caught by model: data race

// Grace periods by membarrier, in which the reclaiming side only has a fence of its own: the readers' light fences are
// compiler barriers and pair with nothing.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct OneSidedBarrier : Model<OneSidedBarrier, 2> {
  using Value = RelacySync::Var<int>;
  RelacySync::Atomic<int> inside{0};
  RelacySync::Atomic<Value*> current{RelacySync::New<Value>(1)};

  void thread(unsigned id) {
    if (id == 0) {
      inside.store(1, std::memory_order::relaxed);
      RelacySync::LightFence();
      HOTPATH_CHECK(current.load(std::memory_order::acquire)->Read() != 0);
      inside.store(0, std::memory_order::release);
    } else {
      Value* old = current.exchange(RelacySync::New<Value>(2), std::memory_order::acq_rel);
      RelacySync::Fence(std::memory_order::seq_cst);  // HeavyFence is right
      while (inside.load(std::memory_order::acquire) != 0) RelacySync::Pause();
      RelacySync::Delete(old);
    }
  }
  void finish() { RelacySync::Delete(current.load(std::memory_order::relaxed)); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::OneSidedBarrier)});
}
