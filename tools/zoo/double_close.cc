// Caught by model: double free

// A descriptor is looked up, then cleared: two threads that close it both find it.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct DoubleClose : Model<DoubleClose, 2> {
  RelacySync::Atomic<int*> slot{RelacySync::New<int>(5)};

  void thread(unsigned) {
    int* file = slot.load(std::memory_order::seq_cst);
    if (file == nullptr) return;
    slot.store(nullptr, std::memory_order::seq_cst);  // exchange is right
    RelacySync::Delete(file);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::DoubleClose)});
}
