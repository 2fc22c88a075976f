#ifndef HOTPATH_CORE_BASE_ANNOTATIONS_H_
#define HOTPATH_CORE_BASE_ANNOTATIONS_H_

// Clang's thread safety analysis: which lock guards which field, checked at compile time by -Wthread-safety.
// Other compilers see nothing. std::mutex is not a capability, so annotating with one checks nothing: use Sync::Mutex.
// The terms are explained in https://clang.llvm.org/docs/ThreadSafetyAnalysis.html.

#if defined(__clang__)
#define HOTPATH_INTERNAL_ANNOTATION(x) __attribute__((x))
#else
#define HOTPATH_INTERNAL_ANNOTATION(x)
#endif

// On classes.
#define HOTPATH_CAPABILITY(name) HOTPATH_INTERNAL_ANNOTATION(capability(name))
#define HOTPATH_SCOPED_CAPABILITY HOTPATH_INTERNAL_ANNOTATION(scoped_lockable)

// On fields.
#define HOTPATH_GUARDED_BY(mu) HOTPATH_INTERNAL_ANNOTATION(guarded_by(mu))
#define HOTPATH_PT_GUARDED_BY(mu) HOTPATH_INTERNAL_ANNOTATION(pt_guarded_by(mu))
#define HOTPATH_ACQUIRED_BEFORE(...) HOTPATH_INTERNAL_ANNOTATION(acquired_before(__VA_ARGS__))
#define HOTPATH_ACQUIRED_AFTER(...) HOTPATH_INTERNAL_ANNOTATION(acquired_after(__VA_ARGS__))

// On functions.
#define HOTPATH_REQUIRES(...) HOTPATH_INTERNAL_ANNOTATION(requires_capability(__VA_ARGS__))
#define HOTPATH_REQUIRES_SHARED(...) HOTPATH_INTERNAL_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define HOTPATH_EXCLUDES(...) HOTPATH_INTERNAL_ANNOTATION(locks_excluded(__VA_ARGS__))
#define HOTPATH_ACQUIRE(...) HOTPATH_INTERNAL_ANNOTATION(acquire_capability(__VA_ARGS__))
#define HOTPATH_ACQUIRE_SHARED(...) HOTPATH_INTERNAL_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define HOTPATH_RELEASE(...) HOTPATH_INTERNAL_ANNOTATION(release_capability(__VA_ARGS__))
#define HOTPATH_RELEASE_SHARED(...) HOTPATH_INTERNAL_ANNOTATION(release_shared_capability(__VA_ARGS__))
#define HOTPATH_TRY_ACQUIRE(...) HOTPATH_INTERNAL_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define HOTPATH_ASSERT_CAPABILITY(mu) HOTPATH_INTERNAL_ANNOTATION(assert_capability(mu))
#define HOTPATH_RETURN_CAPABILITY(mu) HOTPATH_INTERNAL_ANNOTATION(lock_returned(mu))
#define HOTPATH_NO_THREAD_SAFETY_ANALYSIS HOTPATH_INTERNAL_ANNOTATION(no_thread_safety_analysis)

#endif  // HOTPATH_CORE_BASE_ANNOTATIONS_H_
