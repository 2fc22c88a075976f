#ifndef HOTPATH_CORE_DETAIL_EPOCH_INL_H_
#define HOTPATH_CORE_DETAIL_EPOCH_INL_H_

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "hotpath/core/base/check.h"
#include "hotpath/core/base/sync.h"

// The bodies of core/epoch.h. Include that instead.
//
// A retired object is fresh, then in the limbo list of the thread that retired it, then in that thread's old list, then
// in the ready list of the thread that destroys it, mostly the same. Whoever holds the lock moves limbo lists, its own
// or all, to the old lists, gives them a stamp, and takes them when no reader is left that pinned with that stamp or an
// earlier one. Nobody holds the lock while deleters run, and nobody waits for it except Synchronize.
//
// A thread moves its fresh objects to limbo when it has many, or passes. Others may do it under the lock. The gate and
// the owner's being inside are a Dekker pair:
//
//   owner      is_inside = 1; LightFence; if the gate is open: add to fresh, if not: to limbo; is_inside = 0
//   other      gate = closed; HeavyFence; if is_inside is 0: move; gate = open
//
// so that the other does not miss an owner who found the gate open. This fence is not the one of the grace period,
// which must come when all that was moved had been unlinked already.
//
// fork(2): in the child, the lock may be held by a thread that vanished, and objects may be in such a thread's hands.
// Those objects are lost. Each step below is such that at whatever instruction the other thread stopped, lists hold
// together, and pending_ counts rather too few than too many: too many would make Retire wait for nothing.

namespace hotpath {

namespace epoch_internal {

// One call per turn of a loop that waits for readers, which wake nobody: spins, yields, then sleeps for a moment.
template <SyncPolicy Sync>
class Nap {
 public:
  void operator()() noexcept {
    if (turns_ == 0) CheckMayPark();
    if (++turns_ < kAwake) return wait_();
    Atomic never{0};
    static_cast<void>(Sync::Park(never, 0, std::chrono::steady_clock::now() + std::chrono::microseconds(100)));
  }

 private:
  using Atomic = typename Sync::template Atomic<uint32_t>;
  static constexpr uint32_t kAwake = 1024;
  static void CheckMayPark() noexcept {
    [[maybe_unused]] Atomic other{0};
    HOTPATH_DCHECK(Sync::Park(other, 1));  // returns at once
  }
  SpinWait<Sync> wait_;
  uint32_t turns_ = 0;
};

}  // namespace epoch_internal

// ---- Life ----

template <SyncPolicy Sync>
BasicEpochDomain<Sync>::BasicEpochDomain(EpochOptions options)
    : options_(std::move(options)),
      max_pending_(static_cast<int64_t>(
          std::min<uint64_t>(options_.max_pending, uint64_t{std::numeric_limits<int64_t>::max()} / 4))),
      batch_(std::clamp<int64_t>(max_pending_ / 4, 1, 1024)),
      epoch_(kNextEpoch | (Sync::AsymmetricFences() ? 0 : kFences) | kOwned | kPinned),
      next_pass_(batch_) {
  HOTPATH_CHECK(options_.max_pending >= 1, "EpochDomain: max_pending must be at least 1");
  for (Atomic<Record*>& record : records_) record.store(&nobody_, std::memory_order::relaxed);
}

template <SyncPolicy Sync>
BasicEpochDomain<Sync>::~BasicEpochDomain() {
  ForEachRecord([this](Record& record, uint32_t index) {
    HOTPATH_CHECK(!IsPinned(record.word.load(std::memory_order::relaxed)) || Sync::Vanished(index),
                  "EpochDomain: destroyed while a thread is pinned");
    if (Sync::Vanished(index)) ForgetVanished(record);
  });
  // The caller has ordered all calls before this one. Deleters may retire more, and must find room.
  pending_.store(std::numeric_limits<int64_t>::min() / 2, std::memory_order::relaxed);
  for (bool more = true; more;) {
    more = false;
    const auto destroy = [&more](Retiree* list) {
      while (list != nullptr) {
        Retiree* object = std::exchange(list, list->next_.Read());
        object->destroy_.Read()(object);
        more = true;
      }
    };
    ForEachRecord([&](Record& record, uint32_t) {
      Retiree* old = record.old.Read();
      record.old.Write(nullptr);
      record.old_count.Write(0);
      destroy(old);
      LinkFresh(record, record);
      destroy(record.limbo.exchange(nullptr, std::memory_order::relaxed));
    });
  }
  ForEachRecord([](Record& record, uint32_t) {
    Sync::CancelAtThreadExit(record);
    Sync::Delete(&record);
  });
}

// ---- Threads ----

template <SyncPolicy Sync>
auto BasicEpochDomain<Sync>::Self() -> Record& {
  Record& record = Mine();
  if (record.word.load(std::memory_order::relaxed) != 0) [[likely]]
    return record;
  return RegisterSelf();
}

template <SyncPolicy Sync>
auto BasicEpochDomain<Sync>::RegisterSelf() -> Record& {
  const uint32_t index = Sync::ThreadIndex();
  Record* record = records_[index + 1].load(std::memory_order::relaxed);
  if (record == &nobody_) {
    record = Sync::template New<Record>();
    record->index.Write(index);
    record->domain.Write(this);
    const bool fences = (epoch_.load(std::memory_order::relaxed) & kFences) != 0;
    record->gate.store(fences ? kClosedForGood : kOpen, std::memory_order::relaxed);
    records_[index + 1].store(record, std::memory_order::release);  // [B1] pairs B2
  }
  Sync::AtThreadExit(*record);
  uint32_t end = end_.load(std::memory_order::relaxed);
  while (end <= index &&
         !end_.compare_exchange_weak(end, index + 1, std::memory_order::relaxed, std::memory_order::relaxed)) {
  }
  record->word.store(Idle(epoch_.load(std::memory_order::relaxed)), std::memory_order::release);  // [T1] pairs S1
  return *record;
}

// What the thread retired stays where it is, for others to take.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::OnThreadExit(ThreadExitHook& hook) {
  auto& self = static_cast<Record&>(hook);
  HOTPATH_CHECK(!IsPinned(self.word.load(std::memory_order::relaxed)),
                "EpochDomain: a thread ended with a Guard that is not in its thread_locals");
  self.domain.Read()->pending_.fetch_sub(self.credit.load(std::memory_order::relaxed), std::memory_order::relaxed);
  self.credit.store(0, std::memory_order::relaxed);
  self.word.store(0, std::memory_order::release);  // [T2] pairs S1
}

template <SyncPolicy Sync>
template <class F>
void BasicEpochDomain<Sync>::ForEachRecord(F&& f) const {
  const uint32_t end = end_.load(std::memory_order::relaxed);
  for (uint32_t index = 0; index < end; ++index) {
    Record* record = records_[index + 1].load(std::memory_order::acquire);  // [B2] pairs B1
    if (record != &nobody_) f(*record, index);
  }
}

// ---- Pin ----

template <SyncPolicy Sync>
auto BasicEpochDomain<Sync>::PinSlowly() -> Record& {
  Record& self = Self();
  const uint64_t word = self.word.load(std::memory_order::relaxed);
  if (!IsPinned(word)) {
    Announce(self);
    Sync::LightFence();  // [P5] pairs G2
  } else {
    HOTPATH_CHECK((word & kMoreGuards) != kMaxGuards - 1, "EpochDomain: more than 32,767 Guards in one thread");
    self.word.store(word + 1, std::memory_order::release);  // [P4] pairs S1
  }
  return self;
}

template <SyncPolicy Sync>
inline void BasicEpochDomain<Sync>::Record::Unpin() noexcept {
  HOTPATH_DCHECK(index.Read() == Sync::ThreadIndex(), "EpochDomain: a Guard ends in another thread than it began in");
  const uint64_t pinned = word.load(std::memory_order::relaxed);
  if ((pinned & (kFences | kMoreGuards)) == 0) [[likely]] {  // a constant, so that no store waits for a load
    word.store(kIdle, std::memory_order::release);           // [U1] pairs S1
    Sync::NoPark(-1);
    return;
  }
  const bool is_last = (pinned & kMoreGuards) == 0;
  word.store(is_last ? Idle(pinned) : pinned - 1, std::memory_order::release);  // [U2] pairs S1
  if (is_last) Sync::NoPark(-1);
}

// ---- Retire ----

template <SyncPolicy Sync>
template <class T>
  requires(std::is_object_v<T> && !std::is_array_v<T> &&
           !std::same_as<std::remove_cv_t<T>, typename BasicEpochDomain<Sync>::Retiree>)
void BasicEpochDomain<Sync>::Retire(T* object) {
  static_assert(sizeof(T) > 0, "T must be complete");  // NOLINT(bugprone-sizeof-expression)
  if (object == nullptr) return;
  using Plain = std::remove_cv_t<T>;
  auto* plain = const_cast<Plain*>(object);
  if constexpr (std::derived_from<Plain, Retiree>) {
    Push({plain, [](Retiree* retiree) { Sync::Delete(static_cast<Plain*>(retiree)); }});
  } else {
    Retire(plain, [](void* erased) { Sync::Delete(static_cast<Plain*>(erased)); });
  }
}

template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::Retire(void* object, void (*deleter)(void*)) {
  Register();
  Push({Sync::template New<Foreign>(object, deleter), [](Retiree* retiree) {
          auto* foreign = static_cast<Foreign*>(retiree);
          foreign->deleter(foreign->object);
          Sync::Delete(foreign);
        }});
}

template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::Retire(Retiree* object, void (*deleter)(Retiree*)) {
  HOTPATH_CHECK(object != nullptr, "EpochDomain: a Retiree that is null is retired");
  Push({object, deleter});
}

// Who has no record has no credit either.
template <SyncPolicy Sync>
inline void BasicEpochDomain<Sync>::Push(Fresh retired) {
  Record& self = Mine();
  if (self.credit.load(std::memory_order::relaxed) == 0 || !AddFresh(self, retired)) [[unlikely]]
    PushSlowly(retired);
}

template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::PushSlowly(Fresh retired) {
  Record& self = Self();
  if (self.credit.load(std::memory_order::relaxed) == 0) Reserve(self);
  IfOpen(self, [&] {
    if (self.fresh_count.load(std::memory_order::relaxed) == kMaxFresh) LinkFresh(self, self);
  });
  if (AddFresh(self, retired)) return;
  retired.object->destroy_.Write(retired.destroy);
  Link(self, retired.object, retired.object);
  Spend(self);
}

template <SyncPolicy Sync>
template <class F>
inline void BasicEpochDomain<Sync>::IfOpen(Record& self, F&& f) noexcept {
  self.is_inside.store(1, std::memory_order::relaxed);
  Sync::FreeLightFence();                                                    // [F1] pairs F2
  const bool is_open = self.gate.load(std::memory_order::acquire) == kOpen;  // [F3] pairs F4
  if (is_open) [[likely]]
    f();
  self.is_inside.store(0, std::memory_order::release);  // [F5] pairs F6; if closed too, for the last store counts
}

template <SyncPolicy Sync>
inline bool BasicEpochDomain<Sync>::AddFresh(Record& self, Fresh retired) noexcept {
  bool is_added = false;
  IfOpen(self, [&] {
    const uint32_t count = self.fresh_count.load(std::memory_order::relaxed);
    if (count == kMaxFresh) [[unlikely]]
      return;
    self.fresh.Edit()[count] = retired;
    self.fresh_count.store(count + 1, std::memory_order::relaxed);
    is_added = true;
  });
  if (is_added) Spend(self);
  return is_added;
}

template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::Link(Record& to, Retiree* first, Retiree* last) noexcept {
  Retiree* head = to.limbo.load(std::memory_order::relaxed);
  do {
    last->next_.Write(head);
  } while (!to.limbo.compare_exchange_weak(head, first, std::memory_order::release,  // [R1] pairs C1 C2
                                           std::memory_order::relaxed));
}

// Nobody else may be at what is fresh in `from`.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::LinkFresh(Record& self, Record& from) noexcept {
  const uint32_t count = from.fresh_count.load(std::memory_order::relaxed);
  if (count == 0) return;
  const size_t held = self.in_hand.load(std::memory_order::relaxed);
  self.in_hand.store(held + count, std::memory_order::relaxed);
  from.fresh_count.store(0, std::memory_order::relaxed);
  const std::array<Fresh, kMaxFresh>& fresh = from.fresh.Read();
  Retiree* first = nullptr;
  for (uint32_t i = 0; i < count; ++i) {
    fresh[i].object->destroy_.Write(fresh[i].destroy);
    fresh[i].object->next_.Write(first);
    first = fresh[i].object;
  }
  Link(from, first, fresh[0].object);
  self.in_hand.store(held, std::memory_order::relaxed);
}

// Makes the thread's credit 1 or more; more while much room is left, so that threads which never use their credit leave
// the others enough to share a grace period among. The first update of credit comes before that of pending_: see
// fork(2) above.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::Reserve(Record& self) {
  const bool may_wait = options_.when_full == EpochOptions::kWait && !self.is_destroying.Read() &&
                        !IsPinned(self.word.load(std::memory_order::relaxed));
  bool waited = false;
  for (epoch_internal::Nap<Sync> nap;;) {
    bool destroyed = false;
    int64_t pending = pending_.load(std::memory_order::relaxed);
    if (pending >= next_pass_.load(std::memory_order::relaxed) || (pending >= max_pending_ && may_wait)) {
      destroyed = Pass(self, kOwn).destroyed != 0;
      if (self.credit.load(std::memory_order::relaxed) != 0) return;  // a deleter that retired left some
      pending = pending_.load(std::memory_order::relaxed);
    }
    const bool is_full = pending >= max_pending_;
    if (is_full && may_wait) {
      if (destroyed) continue;
      if (!std::exchange(waited, true)) waits_.fetch_add(1, std::memory_order::relaxed);
      nap();
      continue;
    }
    const auto room = static_cast<uint32_t>(std::clamp<int64_t>((max_pending_ - pending) / 64, 1, kChunk));
    self.credit.store(room, std::memory_order::relaxed);
    if (pending_.compare_exchange_weak(pending, pending + room, std::memory_order::relaxed,
                                       std::memory_order::relaxed)) {
      if (is_full) over_limit_.fetch_add(1, std::memory_order::relaxed);
      return;
    }
    self.credit.store(0, std::memory_order::relaxed);
  }
}

// ---- Reclaim ----

template <SyncPolicy Sync>
bool BasicEpochDomain<Sync>::TryLock(const Record& self) noexcept {
  const uint32_t mine = self.index.Read() + 1;
  uint32_t owner = reclaimer_.load(std::memory_order::relaxed);
  if (owner != 0) {
    if (!Sync::Vanished(owner - 1) ||
        !reclaimer_.compare_exchange_strong(owner, mine, std::memory_order::relaxed, std::memory_order::relaxed)) {
      return false;
    }
    // The owner vanished. It may have had no time to count, or to end what follows.
    BeginGracePeriod();
    ForEachRecord([this](Record& record, uint32_t) {
      if (record.gate.load(std::memory_order::relaxed) == kClosed) record.gate.store(kOpen, std::memory_order::relaxed);
      size_t count = 0;
      for (Retiree* object = record.old.Read(); object != nullptr; object = object->next_.Read()) ++count;
      record.old_count.Write(count);
      record.old_stamp.Write(stamp_.Read());
    });
    return true;
  }
  return reclaimer_.compare_exchange_strong(owner, mine, std::memory_order::acquire,  // [L1] pairs L2
                                            std::memory_order::relaxed);
}

template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::Unlock() noexcept {
  reclaimer_.store(0, std::memory_order::release);  // [L2] pairs L1
}

// So that all that was retired is in limbo; without `wait`, except what is fresh of threads that are just adding to it.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::LinkOthersFresh(Record& self, bool wait) noexcept {
  bool any = false;
  ForEachRecord([&](Record& record, uint32_t index) {
    if (Sync::Vanished(index)) ForgetVanished(record);
    if (&record == &self || record.fresh_count.load(std::memory_order::relaxed) == 0) return;
    record.gate.store(kClosed, std::memory_order::relaxed);
    any = true;
  });
  if (!any) return;
  Sync::HeavyFence();  // [F2] pairs F1
  heavy_fences_.fetch_add(1, std::memory_order::relaxed);
  ForEachRecord([&](Record& record, uint32_t) {
    if (record.gate.load(std::memory_order::relaxed) != kClosed) return;
    bool is_inside;
    for (SpinWait<Sync> turn;
         (is_inside = record.is_inside.load(std::memory_order::acquire) != 0) && wait;) {  // [F6] pairs F5
      turn();
    }
    if (!is_inside) LinkFresh(self, record);
    record.gate.store(kOpen, std::memory_order::release);  // [F4] pairs F3
  });
}

// Moves what was retired in one record to its old list, for the next grace period. False if there was nothing. A list
// is counted before it is taken, so that in_hand says enough at each moment. While it is counted it may grow at its
// head; the rest of it stays.
template <SyncPolicy Sync>
bool BasicEpochDomain<Sync>::Collect(Record& self, Record& from) noexcept {
  TakeOld(self, from);                                          // so that what is over does not begin again
  Retiree* head = from.limbo.load(std::memory_order::acquire);  // [C1] pairs R1
  if (head == nullptr) return false;
  const size_t held = self.in_hand.load(std::memory_order::relaxed);
  size_t count = 0;
  Retiree* last = nullptr;
  for (Retiree* counted = nullptr;;) {
    for (Retiree* object = head; object != counted; object = object->next_.Read()) {
      ++count;
      if (counted == nullptr) last = object;
    }
    counted = head;
    self.in_hand.store(held + count, std::memory_order::relaxed);
    if (from.limbo.compare_exchange_strong(head, nullptr, std::memory_order::relaxed,
                                           std::memory_order::acquire)) {  // [C2] pairs R1
      break;
    }
  }
  last->next_.Write(from.old.Read());
  from.old_stamp.Write(EpochOf(epoch_.load(std::memory_order::relaxed)));
  from.old.Write(head);
  from.old_count.Write(from.old_count.Read() + count);
  self.in_hand.store(held, std::memory_order::relaxed);
  return true;
}

// Nobody else is in this record any more, nor will be. What the thread had in hand is lost.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::ForgetVanished(Record& record) noexcept {
  size_t lost = record.credit.load(std::memory_order::relaxed) + record.in_hand.load(std::memory_order::relaxed);
  if (record.is_inside.load(std::memory_order::relaxed) != 0) {  // who knows what its last entry is
    lost += record.fresh_count.load(std::memory_order::relaxed);
    record.fresh_count.store(0, std::memory_order::relaxed);
  }
  pending_.fetch_sub(static_cast<int64_t>(lost), std::memory_order::relaxed);
  record.credit.store(0, std::memory_order::relaxed);
  record.in_hand.store(0, std::memory_order::relaxed);
}

// Everything in the old lists was unreachable before this.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::BeginGracePeriod() noexcept {
  stamp_.Write(EpochOf(epoch_.fetch_add(kNextEpoch, std::memory_order::release)));  // [G1] pairs P1
  Sync::HeavyFence();                                                               // [G2] pairs P3 P5
  heavy_fences_.fetch_add(1, std::memory_order::relaxed);
}

template <SyncPolicy Sync>
bool BasicEpochDomain<Sync>::TryEndGracePeriod(Blocker& blocker) noexcept {
  const uint64_t stamp = stamp_.Read();
  bool is_over = true;
  ForEachRecord([&](Record& record, uint32_t index) {
    const uint64_t word = record.word.load(std::memory_order::acquire);  // [S1] pairs P2 P4 T1 T2 U1 U2
    if (!IsPinned(word) || EpochOf(word) > stamp || Sync::Vanished(index)) return;
    is_over = false;
    Observe(record, index, EpochOf(word), blocker);
  });
  if (is_over) passed_.Write(stamp);
  return is_over;
}

// A reader that is seen with the same epoch after two heavy fences is in the same Guard: after the first of them, it
// could not have pinned with that epoch any more.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::Observe(Record& record, uint32_t index, uint64_t epoch, Blocker& blocker) noexcept {
  const int64_t now = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  if (record.blocking_epoch.load(std::memory_order::relaxed) != epoch) {
    record.blocking_since.store(now, std::memory_order::relaxed);
    record.blocking_epoch.store(epoch, std::memory_order::release);  // [O1] pairs O2
    record.is_reported.Write(false);
  }
  if (options_.on_stall == nullptr || record.is_reported.Read()) return;
  const std::chrono::nanoseconds age(now - record.blocking_since.load(std::memory_order::relaxed));
  if (age < options_.stall_after || (blocker.record != nullptr && age <= blocker.stall.pinned_for)) return;
  blocker = {&record, {index, age, 0}};
}

// If its grace period is over.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::TakeOld(Record& self, Record& from) noexcept {
  Retiree* old = from.old.Read();
  if (old == nullptr || from.old_stamp.Read() > passed_.Read()) return;
  self.in_hand.store(self.in_hand.load(std::memory_order::relaxed) + from.old_count.Read(), std::memory_order::relaxed);
  from.old.Write(nullptr);
  from.old_count.Write(0);
  AddReady(self, old);
}

template <SyncPolicy Sync>
auto BasicEpochDomain<Sync>::Pass(Record& self, Whose whose) -> Passed {
  if (!TryLock(self)) return {0, 0};
  passes_.Write(passes_.Read() + 1);
  if (passes_.Read() % kEverybodysEvery == 0 || pending_.load(std::memory_order::relaxed) >= max_pending_ / 2) {
    whose = kEverybodys;
  }
  Blocker blocker;
  if (IsOutstanding()) TryEndGracePeriod(blocker);
  ForEach(whose, self, [&](Record& from) { TakeOld(self, from); });
  if (!IsOutstanding()) {
    bool any = false;
    LinkFresh(self, self);
    if (whose == kEverybodys) LinkOthersFresh(self, /*wait=*/false);
    ForEach(whose, self, [&](Record& from) { any |= Collect(self, from); });
    if (any) {
      BeginGracePeriod();
      if (TryEndGracePeriod(blocker)) ForEach(whose, self, [&](Record& from) { TakeOld(self, from); });
    }
  }
  if (blocker.record != nullptr) blocker.record->is_reported.Write(true);
  const auto stays =
      pending_.load(std::memory_order::relaxed) - static_cast<int64_t>(self.in_hand.load(std::memory_order::relaxed));
  next_pass_.store(stays + batch_, std::memory_order::relaxed);
  const uint64_t passed = passed_.Read();
  Unlock();

  if (blocker.record != nullptr)
    [&]() noexcept {
      stalls_.fetch_add(1, std::memory_order::relaxed);
      blocker.stall.pending = Stats().pending;
      options_.on_stall(blocker.stall);  // may come back here
    }();
  return {passed, DestroyReady(self)};
}

template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::AddReady(Record& self, Retiree* list) noexcept {
  if (Retiree* ready = self.ready.Read(); ready != nullptr) {
    Retiree* last = list;
    while (Retiree* next = last->next_.Read()) last = next;
    last->next_.Write(ready);
  }
  self.ready.Write(list);
}

// Runs deleters, which may come back here: then the outer call does it all.
template <SyncPolicy Sync>
size_t BasicEpochDomain<Sync>::DestroyReady(Record& self) noexcept {
  if (self.is_destroying.Read() || self.ready.Read() == nullptr) return 0;
  self.is_destroying.Write(true);
  size_t destroyed = 0, settled = 0;
  while (Retiree* object = self.ready.Read()) {
    self.ready.Write(object->next_.Read());
    object->destroy_.Read()(object);
    if (++destroyed - settled < kSettleEvery && self.ready.Read() != nullptr) continue;
    const size_t count = destroyed - std::exchange(settled, destroyed);
    pending_.fetch_sub(static_cast<int64_t>(count), std::memory_order::relaxed);
    reclaimed_.fetch_add(count, std::memory_order::relaxed);
    self.in_hand.store(self.in_hand.load(std::memory_order::relaxed) - count, std::memory_order::relaxed);
  }
  self.is_destroying.Write(false);
  // Who passed meanwhile took for garbage that stays what was in hand here.
  const int64_t next = pending_.load(std::memory_order::relaxed) + batch_;
  if (next < next_pass_.load(std::memory_order::relaxed)) next_pass_.store(next, std::memory_order::relaxed);
  return destroyed;
}

// All that is retired joins one grace period, also what waits for another one already: it ends later, but it ends,
// because each call here waits for its own before the next can begin.
template <SyncPolicy Sync>
void BasicEpochDomain<Sync>::Synchronize() {
  Record& self = Self();
  HOTPATH_CHECK(!IsPinned(self.word.load(std::memory_order::relaxed)),
                "EpochDomain: Synchronize would wait for the Guard of its own thread");
  for (SpinWait<Sync> wait; !TryLock(self);) wait();
  LinkFresh(self, self);
  LinkOthersFresh(self, /*wait=*/true);
  ForEachRecord([&](Record& from, uint32_t) { Collect(self, from); });
  BeginGracePeriod();
  const uint64_t stamp = stamp_.Read();
  Unlock();
  for (epoch_internal::Nap<Sync> nap; Pass(self, kEverybodys).stamp < stamp;) nap();
}

// ---- Report ----

template <SyncPolicy Sync>
EpochStats BasicEpochDomain<Sync>::Stats() const {
  EpochStats stats;
  int64_t pending = pending_.load(std::memory_order::relaxed);
  const int64_t now = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  ForEachRecord([&](Record& record, uint32_t index) {
    pending -= record.credit.load(std::memory_order::relaxed);
    const uint64_t word = record.word.load(std::memory_order::relaxed);
    if (word == 0 || Sync::Vanished(index)) return;
    ++stats.threads;
    if (!IsPinned(word) || record.blocking_epoch.load(std::memory_order::acquire) != EpochOf(word)) {  // [O2] pairs O1
      return;
    }
    const std::chrono::nanoseconds age(now - record.blocking_since.load(std::memory_order::relaxed));
    stats.longest_pin = std::max(stats.longest_pin, age);
  });
  stats.epoch = EpochOf(epoch_.load(std::memory_order::relaxed));
  stats.pending = static_cast<size_t>(std::max<int64_t>(pending, 0));
  stats.reclaimed = reclaimed_.load(std::memory_order::relaxed);
  stats.over_limit = over_limit_.load(std::memory_order::relaxed);
  stats.waits = waits_.load(std::memory_order::relaxed);
  stats.heavy_fences = heavy_fences_.load(std::memory_order::relaxed);
  stats.stalls = stalls_.load(std::memory_order::relaxed);
  return stats;
}

template <SyncPolicy Sync>
std::string BasicEpochDomain<Sync>::Describe() const {
  std::string text = "epochs; readers ";
  text +=
      Sync::AsymmetricFences() ? "run no fence, reclaimers call membarrier(2)" : "run a fence: no membarrier(2) here";
  text += "; at most " + std::to_string(options_.max_pending) + " objects pending, then ";
  text += options_.when_full == EpochOptions::kWait ? "retiring waits" : "more, counted";
  return text;
}

}  // namespace hotpath

#endif  // HOTPATH_CORE_DETAIL_EPOCH_INL_H_
