#include "models/base/world.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "hotpath/core/base/check.h"
#include "models/base/board.h"
#include "models/base/order_site.h"

// Relacy serves the raw new and delete of a model, those of std containers included, but replaces their plain forms
// only. The other forms go to those. 16-byte alignment is all there is.
void operator delete(void* memory, std::size_t) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { ::operator delete[](memory); }
void* operator new(std::size_t size, std::align_val_t) { return ::operator new(size); }
void* operator new[](std::size_t size, std::align_val_t) { return ::operator new[](size); }
void operator delete(void* memory, std::align_val_t) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { ::operator delete[](memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { ::operator delete[](memory); }

namespace hotpath::model {
namespace {

struct Event {
  const void* object;
  const char* what;
  void output(std::ostream& out) const { out << "<" << object << "> " << what; }
};

void Log(const void* object, const char* what, const Where& where) {
  rl::context& c = rl::ctx();
  if (c.collecting_history()) c.exec_log(Info(where), Event{object, what});
}

void Join(rl::timestamp_t* into, const rl::timestamp_t* from) {
  for (int i = 0; i < rl::ctx().get_thread_count(); ++i) into[i] = std::max(into[i], from[i]);
}

}  // namespace

rl::debug_info Info(const Where& where) {
  if (!rl::ctx().collecting_history()) return rl::debug_info("", where.file_name(), where.line());
  char function[sizeof(OrderSite::function)], file[sizeof(OrderSite::file)];
  UnqualifiedName(where.function_name(), function, sizeof(function));
  PathInRepository(where.file_name(), file, sizeof(file));
  // The history keeps pointers to the end of the process. This is no memory of the model's.
  return rl::debug_info(::strdup(function), ::strdup(file), where.line());
}

void Fail(rl::test_result_e result, const char* reason, const Where& where) {
  char file[sizeof(OrderSite::file)];
  PathInRepository(where.file_name(), file, sizeof(file));
  std::snprintf(g_board->reason, sizeof(g_board->reason), "%s, %s:%u", reason, file, where.line());
  rl::ctx().fail_test(reason, result, Info(where));
  std::abort();
}

rl::memory_order Convert(std::memory_order order) {
  switch (order) {
    case std::memory_order::relaxed:
      return rl::mo_relaxed;
    case std::memory_order::consume:
    case std::memory_order::acquire:
      return rl::mo_acquire;
    case std::memory_order::release:
      return rl::mo_release;
    case std::memory_order::acq_rel:
      return rl::mo_acq_rel;
    case std::memory_order::seq_cst:
      return rl::mo_seq_cst;
  }
  std::abort();
}

// ---- Life ----

Life::Life() : data_(rl::ctx().var_ctor()) {
  ++g_board->steps;
  data_->init(*rl::ctx().threadx_);
}

Life::~Life() {
  Write("destroy", Where::current());
  rl::ctx().var_dtor(data_);
}

void Life::Touch(const Where& where) const {
  ++g_board->steps;
  signature_.check(Info(where));
  if (data_->load(*rl::ctx().threadx_)) return;
  Fail(rl::test_result_data_race, "data race: another thread writes, makes or destroys this object", where);
}

void Life::Read(const Where& where) const {
  Log(this, "read", where);
  Touch(where);
}

void Life::Write(const char* what, const Where& where) {
  ++g_board->steps;
  Log(this, what, where);
  signature_.check(Info(where));
  if (data_->store(*rl::ctx().threadx_)) return;
  Fail(rl::test_result_data_race, "data race: another thread uses the object that is written or destroyed here", where);
}

// ---- World ----

World::World(CopyClocks copy_fence_clocks) : copy_fence_clocks_(copy_fence_clocks) {
  std::fill(std::begin(index_), std::end(index_), kNoIndex);
  current_ = this;
}

void World::Edge::Leave() {
  rl::thread_info_base& thread = *rl::ctx().threadx_;
  thread.hb_order_[thread.index_] = ++thread.own_acq_rel_order_;
  Join(visible_, thread.acq_rel_order_);
  Join(ordered_, thread.hb_order_);
}

void World::Edge::PickUp() const {
  rl::thread_info_base& thread = *rl::ctx().threadx_;
  ++thread.own_acq_rel_order_;
  Join(thread.acq_rel_order_, visible_);
  Join(thread.hb_order_, ordered_);
}

uint32_t World::ThreadIndex() {
  uint32_t& mine = index_[Self()];
  if (mine != kNoIndex) return mine;
  rl::ctx().sched();
  mine = static_cast<uint32_t>(std::find(std::begin(index_taken_), std::end(index_taken_), false) - index_taken_);
  HOTPATH_CHECK(mine < kMaxModelThreads, "more threads at once than RelacySync::kMaxThreads ask for an index");
  index_taken_[mine] = true;
  index_returned_[mine].PickUp();
  return mine;
}

void World::AtThreadExit(ThreadExitHook& hook) {
  ThreadExitHook*& head = hooks_[ThreadIndex()];
  rl::ctx().sched();
  HOTPATH_CHECK(hook.link == nullptr, "the hook is registered already");
  hook.next = head;
  hook.link = &head;
  if (head != nullptr) head->link = &hook.next;
  head = &hook;
}

bool World::CancelAtThreadExit(ThreadExitHook& hook, const Where& where) {
  rl::ctx().sched();
  if (hook.link != nullptr) {
    *hook.link = hook.next;
    if (hook.next != nullptr) hook.next->link = hook.link;
    hook.next = nullptr;
    hook.link = nullptr;
    return true;
  }
  HOTPATH_CHECK(running_[Self()] != &hook, "a thread exit hook cancels itself");
  while (std::find(std::begin(running_), std::end(running_), &hook) != std::end(running_)) rl::yield(1, Info(where));
  hook_ended_.PickUp();
  return false;
}

void World::EndThread() {
  const int self = Self();
  if (index_[self] == kNoIndex) return;
  for (;;) {
    rl::ctx().sched();
    ThreadExitHook* hook = hooks_[index_[self]];
    if (hook == nullptr) break;
    hooks_[index_[self]] = hook->next;
    if (hook->next != nullptr) hook->next->link = hook->link;
    hook->next = nullptr;
    hook->link = nullptr;
    running_[self] = hook;
    hook->run(*hook);  // may free the hook
    running_[self] = nullptr;
    hook_ended_.Leave();
  }
  index_returned_[index_[self]].Leave();
  index_taken_[index_[self]] = false;
  index_[self] = kNoIndex;
}

World::Queue& World::QueueOf(const void* word) {
  for (Queue& queue : queues_) {
    if (queue.threads.size() != 0 && queue.word == word) return queue;
  }
  Queue* unused = std::find_if(std::begin(queues_), std::end(queues_), [](Queue& q) { return q.threads.size() == 0; });
  unused->word = word;
  return *unused;
}

void World::CheckMayPark() const {
  HOTPATH_CHECK(no_park_[Self()] == 0, "this thread parks where it must not, e.g. while it is pinned");
}

bool World::Sleep(const void* word, bool timed, const Where& where) {
  HOTPATH_CHECK(!main_, "parks where no other thread runs that could wake it");
  g_board->parked = true;
  const rl::unpark_reason reason =
      QueueOf(word).threads.park_current(rl::ctx(), timed, g_board->job.spurious_wakeups, false, Info(where));
  return reason != rl::unpark_reason_timeout;
}

void World::Wake(const void* word, uint32_t n, const Where& where) {
  rl::ctx().sched();
  Queue& queue = QueueOf(word);
  while (n-- != 0 && queue.threads.unpark_one(rl::ctx(), Info(where))) {
  }
}

void World::LightFence(const Where& where) {
  rl::context& c = rl::ctx();
  c.sched();
  Log(this, "light fence", where);
  rl::thread_info_base& thread = *c.threadx_;
  Join(light_[thread.index_], thread.acq_rel_order_);
  Join(thread.acq_rel_order_, heavy_);
}

// The two seq_cst fences are this thread's own. At the moment of the first, every light fence that other threads have
// executed is before this heavy one, and every later one is after it. What is picked up from one thread is not passed
// on to another then: membarrier(2) reaches them at different moments.
void World::HeavyFence(const Where& where) {
  rl::context& c = rl::ctx();
  rl::atomic_thread_fence(rl::mo_seq_cst, Info(where));
  Log(this, "heavy fence", where);
  rl::thread_info_base& thread = *c.threadx_;
  Join(heavy_, thread.acq_rel_order_);
  for (int i = 0; i < c.get_thread_count(); ++i) Join(thread.acq_rel_order_, light_[i]);
  rl::atomic_thread_fence(rl::mo_seq_cst, Info(where));
}

}  // namespace hotpath::model
