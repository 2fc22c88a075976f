#ifndef HOTPATH_CORE_BASE_CHECK_H_
#define HOTPATH_CORE_BASE_CHECK_H_

namespace hotpath {

// What is told of a failed check. The strings are literals.
struct CheckFailure {
  const char* file;
  int line;
  const char* expression;
  const char* message;  // "" if the check gave none
};

// Called instead of the default report. If it returns, the process aborts all the same: a model's handler does not
// return, it hands the failure to the model checker.
using CheckHandler = void (*)(const CheckFailure&);

// Replaces the handler of the whole process and returns the one before; nullptr is the default, which writes one line
// to standard error. Thread-safe.
CheckHandler SetCheckHandler(CheckHandler handler) noexcept;

namespace check_internal {
[[noreturn, gnu::cold]] void Fail(const char* file, int line, const char* expression, const char* message) noexcept;
}  // namespace check_internal

}  // namespace hotpath

// HOTPATH_CHECK(condition) or HOTPATH_CHECK(condition, "what the caller did wrong").
// For mistakes of the caller. On in every build; a failure prints file, line, expression and message, then aborts.
// Never allocates and takes no lock, so it is safe in allocators, signal handlers and thread teardown.
#define HOTPATH_CHECK(condition, ...)                \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::hotpath::check_internal::Fail(__FILE__, __LINE__, #condition, "" __VA_OPT__(__VA_ARGS__)))

// For mistakes of our own. Costs nothing when NDEBUG is defined: the condition is compiled, never evaluated.
#ifdef NDEBUG
#define HOTPATH_DCHECK(condition, ...) static_cast<void>(sizeof(static_cast<bool>(condition)))
#else
#define HOTPATH_DCHECK(condition, ...) HOTPATH_CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif

#endif  // HOTPATH_CORE_BASE_CHECK_H_
