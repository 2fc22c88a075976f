// Caught by model: half of each of two versions

// A seqlock whose reader has no fence before it looks at the sequence number again.
#include "models/base/model.h"

namespace hotpath::model {
namespace {

struct TornRead : Model<TornRead, 2> {
  RelacySync::Atomic<uint32_t> sequence{0};
  RelacySync::Atomic<uint64_t> left{0}, right{0};

  void thread(unsigned id) {
    if (id == 0) {
      sequence.store(1, std::memory_order::relaxed);
      RelacySync::Fence(std::memory_order::release);
      left.store(1, std::memory_order::relaxed);
      right.store(1, std::memory_order::relaxed);
      sequence.store(2, std::memory_order::release);
    } else {
      const uint32_t before = sequence.load(std::memory_order::acquire);
      const uint64_t a = left.load(std::memory_order::relaxed), b = right.load(std::memory_order::relaxed);
      if (before % 2 == 0 && sequence.load(std::memory_order::relaxed) == before) {
        HOTPATH_CHECK(a == b, "half of each of two versions");
      }
    }
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) { return hotpath::model::Main(argc, argv, {HOTPATH_MODEL(hotpath::model::TornRead)}); }
