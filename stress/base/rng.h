#ifndef HOTPATH_STRESS_BASE_RNG_H_
#define HOTPATH_STRESS_BASE_RNG_H_

#include <cstdint>
#include <limits>

namespace hotpath::stress {

// splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). Small and quick, so
// that drawing a choice does not space the threads out. A standard uniform random bit generator.
class Rng {
 public:
  using result_type = uint64_t;

  // Streams of one seed are independent of each other.
  explicit constexpr Rng(uint64_t seed, uint64_t stream = 0) noexcept : state_(seed) {
    state_ = (*this)() ^ stream * 0xd1342543de82ef95u;
  }

  constexpr uint64_t operator()() noexcept {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }

  // In [0, n), n > 0. The bias is below n / 2^64.
  constexpr uint64_t Below(uint64_t n) noexcept { return (*this)() % n; }
  constexpr bool OneIn(uint64_t n) noexcept { return Below(n) == 0; }

  static constexpr uint64_t min() noexcept { return 0; }
  static constexpr uint64_t max() noexcept { return std::numeric_limits<uint64_t>::max(); }

 private:
  uint64_t state_;
};

// The calling thread's own, for chaos that nobody passes an Rng to. A Storm seeds it for its threads, so that its seed
// replays their chaos too; elsewhere it starts from 0.
inline constinit thread_local Rng thread_rng{0};

}  // namespace hotpath::stress

#endif  // HOTPATH_STRESS_BASE_RNG_H_
