// Caught by model: livelock

// An early return leaves the spin lock locked.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct ForgottenUnlock : Model<ForgottenUnlock, 2> {
  RelacySync::Atomic<bool> locked{false};
  RelacySync::Var<int> balance{1};

  void Withdraw() {
    while (locked.exchange(true, std::memory_order::acquire)) RelacySync::Pause();
    if (balance.Read() == 0) return;
    balance.Write(balance.Read() - 1);
    locked.store(false, std::memory_order::release);
  }
  void thread(unsigned) { Withdraw(), Withdraw(); }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::ForgottenUnlock)});
}
