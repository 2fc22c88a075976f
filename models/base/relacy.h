#ifndef HOTPATH_MODELS_BASE_RELACY_H_
#define HOTPATH_MODELS_BASE_RELACY_H_

// The parts of Relacy that models need. relacy.hpp itself is not included: it redefines new, delete, errno, EAGAIN,
// pthread_mutex_lock and a hundred other names as macros. Only RL_... macros are left behind by these.

#include <cstdint>
#include <iostream>

#ifdef NDEBUG
#error "compile models with -UNDEBUG: they check the HOTPATH_DCHECKs too"
#endif
#if defined(__USE_FORTIFY_LEVEL) && __USE_FORTIFY_LEVEL > 0
#error "compile models with -U_FORTIFY_SOURCE: Relacy's fibers jump between stacks, which glibc would abort"
#endif

#ifndef RL_DO_ASSERT
#define RL_DO_ASSERT 1  // Relacy checks itself, and that a replayed failure repeats
#endif

#include "relacy/base.hpp"
// base.hpp comes first.
#include "relacy/atomic.hpp"
#include "relacy/atomic_fence.hpp"
#include "relacy/backoff.hpp"
#include "relacy/context.hpp"
#include "relacy/context_base.hpp"
#include "relacy/context_base_impl.hpp"
#include "relacy/dyn_thread.hpp"
#include "relacy/stdlib/condition_variable.hpp"
#include "relacy/stdlib/event.hpp"
#include "relacy/stdlib/mutex.hpp"
#include "relacy/stdlib/semaphore.hpp"
#include "relacy/test_suite.hpp"
#include "relacy/thread_local.hpp"
#include "relacy/var.hpp"
#undef $

#endif  // HOTPATH_MODELS_BASE_RELACY_H_
