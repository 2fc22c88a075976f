// Caught by model: data race

// The old version is freed as soon as it is replaced, without waiting for who still reads it.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct EarlyFree : Model<EarlyFree, 2> {
  using Value = RelacySync::Var<int>;
  RelacySync::Atomic<Value*> current{RelacySync::New<Value>(1)};

  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(current.load(std::memory_order::acquire)->Read() != 0);
    } else {
      RelacySync::Delete(current.exchange(RelacySync::New<Value>(2), std::memory_order::acq_rel));
    }
  }
  void finish() { RelacySync::Delete(current.load(std::memory_order::relaxed)); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) { return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::EarlyFree)}); }
