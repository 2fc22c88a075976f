#ifndef HOTPATH_CORE_BASE_COPY_WORDS_X86_H_
#define HOTPATH_CORE_BASE_COPY_WORDS_X86_H_

#include <atomic>
#include <cstdint>
#include <cstring>

// Two relaxed atomic words in one 16-byte move.
//
// What is relied on: a 16-byte move to or from an 8-byte boundary leaves each of its two words whole. The order of the
// two does not matter. Where it is written: for 16-byte boundaries, on processors with AVX, both vendors promise more,
// the 16 bytes as one (Intel SDM vol. 3A, "Guaranteed Atomic Operations"; AMD64 APM vol. 2, "Access Atomicity"). For
// the other cases they promise single aligned quadwords only, and a vector move may be made of several accesses; no
// x86-64 processor splits one inside an aligned quadword, and Java's reference array copies live by that.
// copy_words_test watches for a torn word.
//
// The moves are assembly, for the compiler must neither see two threads touch plain memory nor split or repeat the
// access. `volatile` keeps them in order with each other, the memory clobber with every atomic and fence. Only the
// shared side is assembly: the private side goes through a register and stays visible to the compiler and to
// sanitizers. ThreadSanitizer does not see the shared words, as it would never report relaxed atomics; it does see the
// version words that every user reads beside them, so a race with the construction or the end of the whole object is
// still reported.

namespace hotpath::copy_words_internal {

#if defined(__AVX__)
#define HOTPATH_INTERNAL_MOVE "vmovdqu {%1, %0|%0, %1}"  // the other form would pay for mixing with AVX code
#else
#define HOTPATH_INTERNAL_MOVE "movdqu {%1, %0|%0, %1}"
#endif

struct VectorPair {
  typedef long long Vector __attribute__((vector_size(16), aligned(8), may_alias));

  [[gnu::always_inline]] static void Load(void* to, const std::atomic<uint64_t>* from) noexcept {
    Vector pair;
    asm volatile(HOTPATH_INTERNAL_MOVE
                 : "=x"(pair)
                 : "m"(*static_cast<const Vector*>(static_cast<const void*>(from)))
                 : "memory");
    std::memcpy(to, &pair, sizeof(pair));
  }
  [[gnu::always_inline]] static void Store(std::atomic<uint64_t>* to, const void* from) noexcept {
    Vector pair;
    std::memcpy(&pair, from, sizeof(pair));
    asm volatile(HOTPATH_INTERNAL_MOVE : "=m"(*static_cast<Vector*>(static_cast<void*>(to))) : "x"(pair) : "memory");
  }
};

#undef HOTPATH_INTERNAL_MOVE

}  // namespace hotpath::copy_words_internal

#endif  // HOTPATH_CORE_BASE_COPY_WORDS_X86_H_
