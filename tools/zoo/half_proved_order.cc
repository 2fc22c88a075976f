// Caught by mutation: half_proved_order.cc Push rmw 1 acq_rel->release

// acq_rel is two promises. The consumer needs the release; that the producer acquires, no model shows.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct HalfProvedOrder : Model<HalfProvedOrder, 2> {
  RelacySync::Var<int> message{0};
  RelacySync::Atomic<int*> inbox{nullptr};
  int letter = 0;

  void Push() { inbox.exchange(&letter, std::memory_order::acq_rel); }
  void thread(unsigned id) {
    if (id == 0) {
      message.Write(1);
      Push();
    } else if (inbox.load(std::memory_order::acquire) != nullptr) {
      HOTPATH_CHECK(message.Read() == 1);
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::HalfProvedOrder)});
}
