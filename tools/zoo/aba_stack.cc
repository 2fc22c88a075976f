// Caught by model: two threads own one node

// A Treiber stack whose head has no tag: popped, popped, pushed back, and the first pop's exchange still succeeds.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct AbaStack : Model<AbaStack, 2> {
  static constexpr uint32_t kNodes = 3;
  RelacySync::Atomic<uint32_t> head{1}, next[kNodes + 1] = {0, 2, 3, 0};
  RelacySync::Atomic<int> owners[kNodes + 1];

  uint32_t Pop() {
    uint32_t node = head.load(std::memory_order::acquire);
    while (node != 0 && !head.compare_exchange_weak(node, next[node].load(std::memory_order::relaxed),
                                                    std::memory_order::acquire, std::memory_order::acquire)) {
    }
    if (node != 0) {
      HOTPATH_CHECK(owners[node].fetch_add(1, std::memory_order::relaxed) == 0, "two threads own one node");
    }
    return node;
  }
  void Push(uint32_t node) {
    if (node == 0) return;
    owners[node].fetch_sub(1, std::memory_order::relaxed);
    uint32_t first = head.load(std::memory_order::relaxed);
    do next[node].store(first, std::memory_order::relaxed);
    while (!head.compare_exchange_weak(first, node, std::memory_order::release, std::memory_order::relaxed));
  }
  void thread(unsigned id) {
    const uint32_t a = Pop();
    if (id == 1) {
      const uint32_t b = Pop();
      Push(a);
      static_cast<void>(b);  // and keeps the second
    } else {
      static_cast<void>(Pop());
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) { return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::AbaStack)}); }
