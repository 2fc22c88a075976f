#ifndef HOTPATH_CORE_BRANCH_HINTS_H_
#define HOTPATH_CORE_BRANCH_HINTS_H_

#include <type_traits>

#include "hotpath/core/base/check.h"

// Hints about which way branches go. They change where code lies, not what it does: the likely way falls through, the
// other one moves out of the instruction cache's way. They do not help the branch predictor, and a wrong one costs what
// a right one gains. Use one only where a benchmark moves, and name that benchmark beside it.

namespace hotpath {

// if (Likely(x)), if (Unlikely(x)): the condition itself. Cost: none.
[[gnu::always_inline]] constexpr bool Likely(bool condition) noexcept;
[[gnu::always_inline]] constexpr bool Unlikely(bool condition) noexcept;

// On a function that is hardly ever called: not inlined, kept apart from other code, optimised for size, and the way
// to every call of it is taken to be unlikely. Where such a call is, Unlikely() adds nothing.
#define HOTPATH_COLD [[gnu::cold, gnu::noinline]]

// The compiler may take `condition` for granted. A statement; the condition has no side effects. Debug builds check
// it, with a report that names it; in others a condition that does not hold is undefined behaviour.
#ifdef NDEBUG
#define HOTPATH_ASSUME(condition) (static_cast<bool>(condition) ? static_cast<void>(0) : __builtin_unreachable())
#else
#define HOTPATH_ASSUME(condition) HOTPATH_CHECK(condition, "assumed")
#endif

// ---- Implementation ----

// Clang lowers __builtin_expect before it inlines, and so forgets it in a function that only returns its argument. A
// branch of which one way holds something, if only an empty asm, is kept and inlined with its weights.

constexpr bool Likely(bool condition) noexcept {
#if defined(__clang__)
  if (condition) [[likely]] {
    return true;
  }
  if (!std::is_constant_evaluated()) asm("");
  return false;
#else
  return __builtin_expect(condition, true);
#endif
}

constexpr bool Unlikely(bool condition) noexcept { return !Likely(!condition); }

}  // namespace hotpath

#endif  // HOTPATH_CORE_BRANCH_HINTS_H_
