#include "hotpath/core/base/sync.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bit>
#include <cerrno>

namespace hotpath {

// Park hands the address of an Atomic<uint32_t> to the kernel.
static_assert(sizeof(StdSync::Atomic<uint32_t>) == sizeof(uint32_t));
static_assert(StdSync::Atomic<uint32_t>::is_always_lock_free);

constinit std::atomic<bool> sync_internal::light_fence_is_free{false};

// ---- Fences ----
//
// The pair is right at every moment, static initialisation included, because
//   1. light_fence_is_free only ever goes from false to true, and only after the registration worked;
//   2. HeavyFence looks at the outcome of the registration, not at the flag, and makes the registration if need be.
// So a fallback HeavyFence means that the registration failed, that the flag will never be true, and that every light
// fence, past and future, is a full one. And membarrier works against light fences of both kinds.

bool StdSync::AsymmetricFences() noexcept {
  static const bool registered = [] {
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0) return false;
    sync_internal::light_fence_is_free.store(true, std::memory_order::relaxed);
    return true;
  }();
  return registered;
}

void StdSync::HeavyFence() noexcept {
  if (!AsymmetricFences()) return std::atomic_thread_fence(std::memory_order::seq_cst);
  // membarrier takes care of the other threads; the fences order this thread whatever the kernel does for the caller.
  std::atomic_thread_fence(std::memory_order::seq_cst);
  const bool done = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
  HOTPATH_CHECK(done, "membarrier(2) worked at start and fails now: was it blocked by seccomp since?");
  std::atomic_thread_fence(std::memory_order::seq_cst);
}

namespace {

// While a process has one thread, registering costs nothing; later it waits for an RCU grace period.
[[maybe_unused]] const bool g_registered_at_start = StdSync::AsymmetricFences();

}  // namespace

// ---- Waiting ----

void StdSync::Yield() noexcept { sched_yield(); }

bool StdSync::Park(Atomic<uint32_t>& word, uint32_t expected, Deadline deadline) noexcept {
#ifndef NDEBUG
  HOTPATH_CHECK(sync_internal::no_park_depth == 0, "this thread parks where it must not, e.g. while it is pinned");
#endif
  timespec until{};
  if (deadline != kNoDeadline &&
      deadline > Deadline{}) {  // steady_clock is CLOCK_MONOTONIC; the kernel wants no negatives
    const auto since = deadline.time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    until.tv_sec = seconds.count();
    until.tv_nsec = std::chrono::nanoseconds(since - seconds).count();
  }
  // The BITSET form is the one whose timeout is absolute.
  const long result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                              deadline == kNoDeadline ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
  return result == 0 || errno != ETIMEDOUT;
}

void StdSync::Wake(Atomic<uint32_t>& word, uint32_t n) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, nullptr, nullptr, 0);
}

// ---- Threads ----

namespace {

constexpr uint32_t kMaxThreads = StdSync::kMaxThreads;
static_assert(kMaxThreads % 64 == 0);

constinit std::atomic<uint64_t> g_taken[kMaxThreads / 64];     // a set bit: the index is in use, or vanished
constinit std::atomic<uint64_t> g_vanished[kMaxThreads / 64];  // a set bit: its thread did not survive a fork

// An ending thread, while it runs a hook. Lives on that thread's stack.
struct Running {
  ThreadExitHook* hook = nullptr;
  Running* next = nullptr;
};
constinit thread_local Running* t_running = nullptr;  // this thread's, or null

constinit StdSync::Mutex g_mu;
// Registered hooks by thread index, last registered first. Not in thread-local memory: after a fork, that of vanished
// threads is used again while a hook may still be cancelled.
constinit ThreadExitHook* g_hooks[kMaxThreads] HOTPATH_GUARDED_BY(g_mu);
constinit Running* g_running HOTPATH_GUARDED_BY(g_mu) = nullptr;
constinit std::atomic<uint32_t> g_finished{0};  // counts hooks that ended; who cancels a running hook parks on it

void Unlink(ThreadExitHook& hook) HOTPATH_REQUIRES(g_mu) {
  *hook.link = hook.next;
  if (hook.next != nullptr) hook.next->link = hook.link;
  hook.next = nullptr;
  hook.link = nullptr;
}

void RunHooks(uint32_t index) {
  Running running;
  for (;;) {
    {
      MutexLock lock(g_mu);
      running.hook = g_hooks[index];
      if (running.hook == nullptr) return;
      Unlink(*running.hook);
      running.next = g_running;
      g_running = &running;
      t_running = &running;
    }
    running.hook->run(*running.hook);  // may free the hook
    {
      MutexLock lock(g_mu);
      Running** link = &g_running;
      while (*link != &running) link = &(*link)->next;
      *link = running.next;
      t_running = nullptr;
      g_finished.fetch_add(1, std::memory_order::relaxed);
    }
    StdSync::Wake(g_finished, kWakeAll);
  }
}

// The destructor of a pthread key runs after those of all C++ thread_locals, and is called again if a later destructor
// takes an index once more.
void EndThread(void*) {
  const uint32_t index = sync_internal::thread_index_plus_one - 1;
  RunHooks(index);
  sync_internal::thread_index_plus_one = 0;
  g_taken[index / 64].fetch_and(~(uint64_t{1} << index % 64), std::memory_order::release);  // [B1] pairs B2
}

void BeforeFork() HOTPATH_ACQUIRE(g_mu) { g_mu.Lock(); }
void AfterForkInParent() HOTPATH_RELEASE(g_mu) { g_mu.Unlock(); }
void AfterForkInChild() HOTPATH_RELEASE(g_mu) {
  const uint32_t plus_one = sync_internal::thread_index_plus_one;
  for (uint32_t i = 0; i < kMaxThreads / 64; ++i) {
    uint64_t gone = g_taken[i].load(std::memory_order::relaxed);
    if (plus_one != 0 && (plus_one - 1) / 64 == i) gone &= ~(uint64_t{1} << (plus_one - 1) % 64);
    g_vanished[i].store(gone, std::memory_order::relaxed);
  }
  g_running = t_running;
  if (t_running != nullptr) t_running->next = nullptr;
  g_mu.Unlock();
}

pthread_key_t MakeKey() {
  pthread_key_t key;
  HOTPATH_CHECK(pthread_key_create(&key, &EndThread) == 0, "no pthread key is left for thread exit");
  HOTPATH_CHECK(pthread_atfork(&BeforeFork, &AfterForkInParent, &AfterForkInChild) == 0, "out of memory");
  return key;
}

pthread_key_t Key() {
  static const pthread_key_t key = MakeKey();
  return key;
}

// Before there are threads that could fork while another one is in MakeKey: the child would wait for that one for ever.
[[maybe_unused]] const pthread_key_t g_key_at_start = Key();

uint32_t TakeLowestFreeIndex() {
  for (uint32_t i = 0; i < kMaxThreads / 64; ++i) {
    uint64_t taken = g_taken[i].load(std::memory_order::relaxed);
    while (taken != ~uint64_t{0}) {
      const int bit = std::countr_one(taken);
      if (g_taken[i].compare_exchange_weak(taken, taken | uint64_t{1} << bit,
                                           std::memory_order::acquire,  // [B2] pairs B1
                                           std::memory_order::relaxed)) {
        return i * 64 + static_cast<uint32_t>(bit);
      }
    }
  }
  HOTPATH_CHECK(false, "more than hotpath::StdSync::kMaxThreads (4096) threads at once");
  return 0;
}

}  // namespace

uint32_t sync_internal::AcquireThreadIndex() noexcept {
  const pthread_key_t key = Key();
  const uint32_t index = TakeLowestFreeIndex();
  thread_index_plus_one = index + 1;
  HOTPATH_CHECK(pthread_setspecific(key, &thread_index_plus_one) == 0, "out of memory");
  return index;
}

bool StdSync::Vanished(uint32_t index) noexcept {
  HOTPATH_DCHECK(index < kMaxThreads);
  return g_vanished[index / 64].load(std::memory_order::relaxed) >> index % 64 & 1;
}

void StdSync::AtThreadExit(ThreadExitHook& hook) noexcept {
  const uint32_t index = ThreadIndex();
  MutexLock lock(g_mu);
  HOTPATH_CHECK(hook.link == nullptr, "the hook is registered already");
  ThreadExitHook*& head = g_hooks[index];
  hook.next = head;
  hook.link = &head;
  if (head != nullptr) head->link = &hook.next;
  head = &hook;
}

bool StdSync::CancelAtThreadExit(ThreadExitHook& hook) noexcept {
  for (;;) {
    uint32_t finished;
    {
      MutexLock lock(g_mu);
      if (hook.link != nullptr) {
        Unlink(hook);
        return true;
      }
      const Running* running = g_running;
      while (running != nullptr && running->hook != &hook) running = running->next;
      if (running == nullptr) return false;
      HOTPATH_CHECK(running != t_running, "a thread exit hook cancels itself");
      finished = g_finished.load(std::memory_order::relaxed);
    }
    static_cast<void>(Park(g_finished, finished));
  }
}

}  // namespace hotpath
