// The one thing in simd_search that threads share and write: which level was chosen.

#include "hotpath/core/base/check.h"
#include "hotpath/core/detail/simd_search_kernels.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

constexpr int kChoices[] = {0, 1, 2};

// Three threads come first, each with a choice of its own. All get one, nobody chooses twice, and what is there at the
// end is what somebody chose. What a choice points at is constant, so that nothing needs to be published with it.
struct ThreeChoose : Model<ThreeChoose, 3> {
  simd_search_internal::BasicChoiceCache<int, RelacySync> cache;

  void thread(unsigned id) {
    int asked = 0;
    const auto choose = [&] {
      ++asked;
      return &kChoices[id];
    };
    for (int i = 0; i < 2; ++i) {
      const int* choice = cache.Get(choose);
      HOTPATH_CHECK(choice >= &kChoices[0] && choice <= &kChoices[2]);
    }
    HOTPATH_CHECK(asked <= 1, "a thread forgets what it chose");
  }

  void finish() {
    const int* choice = cache.Get([] { return static_cast<const int*>(nullptr); });
    HOTPATH_CHECK(choice >= &kChoices[0] && choice <= &kChoices[2]);
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(argc, argv, {HOTPATH_MODEL(ThreeChoose)});
}
