// Caught by model: data race

// The last owner frees, but a relaxed decrement does not tell it that the other owner is done with the object.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct RelaxedRefcount : Model<RelaxedRefcount, 2> {
  struct Shared {
    RelacySync::Atomic<int> owners{2};
    RelacySync::Var<int> data{7};
  };
  Shared* shared = RelacySync::New<Shared>();

  void thread(unsigned) {
    HOTPATH_CHECK(shared->data.Read() == 7);
    if (shared->owners.fetch_sub(1, std::memory_order::relaxed) == 1) RelacySync::Delete(shared);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::RelaxedRefcount)});
}
