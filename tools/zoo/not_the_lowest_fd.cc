// Caught by linearizability: not linearizable

// A descriptor table scans for a free slot without a lock. A lower one may become free behind the scan, and then the
// one it finds is not the lowest, as POSIX wants it.
#include <atomic>
#include <cstdint>
#include <memory>

#include "gtest/gtest.h"
#include "stress/base/chaos_sync.h"
#include "stress/base/history.h"
#include "stress/base/specifications.h"

namespace hotpath::stress {
namespace {

constexpr uint64_t kLimit = 4;
using Spec = FdTableSpec<kLimit>;

struct FdTable {
  uint64_t Insert(uint64_t value) {
    for (uint64_t fd = 0; fd < kLimit; ++fd) {
      uint64_t none = 0;
      if (slots[fd].compare_exchange_strong(none, value, std::memory_order::seq_cst, std::memory_order::seq_cst)) {
        return fd;
      }
    }
    return Spec::kRefused;
  }
  uint64_t Remove(uint64_t fd) { return slots[fd].exchange(0, std::memory_order::seq_cst); }
  ChaosSync::Atomic<uint64_t> slots[kLimit];
  std::atomic<uint64_t> last_value{0};
};

TEST(Zoo, NotTheLowestFd) {
  ExpectLinearizable<Spec>(
      {}, [] { return std::make_unique<FdTable>(); },
      [](FdTable& table, Rng& rng, Recorder<Spec>& record) {
        const uint64_t fd = rng.Below(kLimit);
        if (rng.OneIn(2)) {
          const uint64_t value = table.last_value.fetch_add(1) + 1;
          record({Spec::kInsert, 0, value}, [&] { return table.Insert(value); });
        } else {
          record({Spec::kRemove, fd}, [&]() -> Spec::Result {
            const uint64_t value = table.Remove(fd);
            return value == 0 ? Spec::Result(Spec::kRefused) : Spec::Result(value, false, value);
          });
        }
      });
}

}  // namespace
}  // namespace hotpath::stress
