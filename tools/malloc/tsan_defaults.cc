// Linked into every binary of --config=tsan.

// absl::Mutex tells TSan to ignore its internals, so TSan does not see how one thread hands its futex word (memory
// fresh from mmap) to the thread that wakes it: google/sanitizers#953.  Only that function is suppressed.
// report_atomic_races=0 would also silence it, and with it every race between an atomic and a plain access, ours too.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:absl::*::synchronization_internal::Waiter::Post\n"
         "race:absl::synchronization_internal::Waiter::Post\n";
}

extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "halt_on_error=1:second_deadlock_stack=1"; }
