#ifndef HOTPATH_KERNEL_TRY_H_
#define HOTPATH_KERNEL_TRY_H_

// Returns the error of a Result<void> expression from the enclosing function, whatever Result that returns.
#define HOTPATH_KERNEL_TRY(...) \
  if (auto hotpath_kernel_try = (__VA_ARGS__); !hotpath_kernel_try.ok()) return hotpath_kernel_try.error()

#endif  // HOTPATH_KERNEL_TRY_H_
