#ifndef HOTPATH_CORE_DETAIL_FLAT_COMBINING_INL_H_
#define HOTPATH_CORE_DETAIL_FLAT_COMBINING_INL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

namespace hotpath {

namespace flat_combining_internal {

// What a caller wants done. It lives on the stack of that caller, who waits there while it is published.
template <SyncPolicy Sync>
struct Request {
  static constexpr uint32_t kWaiting = 0;
  static constexpr uint32_t kAsleep = 1;
  static constexpr uint32_t kDone = 2;
  static constexpr uint32_t kLead = 3;  // not done: its caller is the combiner now, and `next` is what it was left

  typename Sync::template Var<Request*> next{nullptr};
  typename Sync::template Atomic<uint32_t> status{kWaiting};
};

// A lock that those who do not get it leave their requests at, for the holder to serve.
// kOptions is a FlatCombinerOptions.
template <auto kOptions, SyncPolicy Sync>
class Combiner {
 public:
  using Request = flat_combining_internal::Request<Sync>;

  constexpr Combiner() = default;

  bool InUse() const noexcept { return state_.load(std::memory_order::relaxed) != nullptr; }

  // True: the caller is alone inside, `mine` is not served yet, and Leave must follow. False: another served it.
  bool Enter(Request& mine) noexcept {
    Request* state = nullptr;
    if (state_.compare_exchange_strong(state, &inside_, std::memory_order::acquire,  // [E1] pairs L1
                                       std::memory_order::relaxed)) [[likely]] {
      Own();
      Count(direct_, 1);
      return true;
    }
    return Publish(mine, state);
  }

  // serve(Request* oldest) serves a list of requests that ends with null, says Done of each, and returns how many.
  template <class Serve>
  void Leave(Request& mine, Serve serve) noexcept {
    Request* const batch = mine.next.Read();
    if (batch == nullptr && Release()) [[likely]]
      return;
    Combine(batch, serve);
  }

  // `request` may be gone as soon as this is called: take its `next` before.
  static void Done(Request& request) noexcept { Tell(request, Request::kDone); }

  // Each as of some moment of its own.
  uint64_t batches() const noexcept { return batches_.load(std::memory_order::relaxed); }
  uint64_t combined() const noexcept { return combined_.load(std::memory_order::relaxed); }
  uint64_t direct() const noexcept { return direct_.load(std::memory_order::relaxed); }

 private:
  template <class T>
  using Atomic = typename Sync::template Atomic<T>;

  static void Tell(Request& request, uint32_t status) noexcept {
    if (request.status.exchange(status, std::memory_order::release) == Request::kAsleep) {  // [T1] pairs T2 T3 T4
      Sync::Wake(request.status, 1);  // the address only: the request may be gone
    }
  }

  void Own() noexcept { owner_.store(Sync::ThreadIndex() + 1, std::memory_order::relaxed); }
  void Disown() noexcept { owner_.store(0, std::memory_order::relaxed); }

  // Only the holder counts.
  static void Count(Atomic<uint64_t>& counter, uint64_t n) noexcept {
    counter.store(counter.load(std::memory_order::relaxed) + n, std::memory_order::relaxed);
  }

  [[gnu::noinline]] bool Publish(Request& mine, Request* state) noexcept {
    // Before owner_ is read: what the thread that had this index wrote there last is seen then, and that is no name.
    const uint32_t self = Sync::ThreadIndex() + 1;
    for (;;) {
      if (state == nullptr) {
        if (state_.compare_exchange_weak(state, &inside_, std::memory_order::acquire,  // [E2] pairs L1
                                         std::memory_order::relaxed)) {
          mine.next.Write(nullptr);
          Own();
          Count(direct_, 1);
          return true;
        }
      } else {
        const uint32_t owner = owner_.load(std::memory_order::relaxed);
        HOTPATH_CHECK(owner != self, "FlatCombiner: Apply inside an operation on the same object");
        HOTPATH_CHECK(owner == 0 || !Sync::Vanished(owner - 1),
                      "FlatCombiner: the thread that was inside did not survive fork(2)");
        mine.next.Write(state);
        if (state_.compare_exchange_weak(state, &mine, std::memory_order::release,  // [P1] pairs P2
                                         std::memory_order::relaxed)) {
          break;
        }
      }
    }
    if (Await(mine.status) == Request::kDone) return false;
    Own();
    return true;
  }

  static uint32_t Await(Atomic<uint32_t>& status) noexcept {
    for (uint64_t turn = 0; turn < uint64_t{kOptions.spins} + kOptions.yields; ++turn) {
      const uint32_t now = status.load(std::memory_order::acquire);  // [T2] pairs T1
      if (now != Request::kWaiting) return now;
      turn < kOptions.spins ? Sync::Relax() : Sync::Yield();
    }
    uint32_t now = Request::kWaiting;
    if (!status.compare_exchange_strong(now, Request::kAsleep, std::memory_order::relaxed,
                                        std::memory_order::acquire)) {  // [T3] pairs T1
      return now;
    }
    do {
      static_cast<void>(Sync::Park(status, Request::kAsleep));
      now = status.load(std::memory_order::acquire);  // [T4] pairs T1
    } while (now == Request::kAsleep);
    return now;
  }

  // False, and nothing has changed, if somebody has published.
  bool Release() noexcept {
    if (state_.load(std::memory_order::relaxed) != &inside_) return false;
    Disown();  // before the next holder writes its own name
    Request* state = &inside_;
    if (state_.compare_exchange_strong(state, nullptr, std::memory_order::release,  // [L1] pairs E1 E2
                                       std::memory_order::relaxed)) [[likely]] {
      return true;
    }
    Own();
    return false;
  }

  template <class Serve>
  [[gnu::noinline]] void Combine(Request* batch, Serve& serve) noexcept {
    for (uint32_t served = 0;;) {
      if (batch != nullptr) served += serve(batch);
      if (Release()) return;
      batch = Collect();
      if (served >= kOptions.budget) break;
    }
    Disown();
    Tell(*batch, Request::kLead);
  }

  // All that is published, oldest first.
  Request* Collect() noexcept {
    Request* newest = state_.exchange(&inside_, std::memory_order::acquire);  // [P2] pairs P1
    Request* oldest = nullptr;
    uint64_t n = 0;
    for (; newest != &inside_; ++n) {
      Request* const next = newest->next.Read();
      newest->next.Write(oldest);
      oldest = newest;
      newest = next;
    }
    Count(batches_, 1);
    Count(combined_, n);
    return oldest;
  }

  // One line, for whoever writes one of these has just written state_. Of that: null, nobody is inside; else a list,
  // newest first, that ends with &inside_.
  alignas(std::max(Sync::kLineSize, alignof(Request*))) Atomic<Request*> state_{nullptr};
  Atomic<uint32_t> owner_{0};  // ThreadIndex() + 1 of who is inside; 0 for a moment around it
  Atomic<uint64_t> batches_{0}, combined_{0}, direct_{0};
  Request inside_;
};

// What a call came to: a value, nothing, or an exception.
template <class R>
class Outcome {
 public:
  template <class F, class Seq>
  void Run(F&& op, Seq& seq) noexcept {
    try {
      if constexpr (std::is_void_v<R>) {
        std::invoke(std::forward<F>(op), seq);
      } else {
        value_.emplace(std::invoke(std::forward<F>(op), seq));
      }
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  R Take() {
    if (error_) [[unlikely]]
      std::rethrow_exception(std::move(error_));
    if constexpr (!std::is_void_v<R>) return *std::move(value_);
  }

 private:
  [[no_unique_address]] std::conditional_t<std::is_void_v<R>, std::monostate, std::optional<R>> value_;
  std::exception_ptr error_;
};

}  // namespace flat_combining_internal

}  // namespace hotpath

#endif  // HOTPATH_CORE_DETAIL_FLAT_COMBINING_INL_H_
