#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "hotpath/core/cow_memory.h"
#include "models/base/model.h"

namespace hotpath::model {
namespace {

// Pages of eight bytes, nodes of two slots, and weights that run out at once: with two pages the tree is one leaf, with
// four it has two levels, and every second split touches a count.
constexpr CowOptions kTiny{.page_bits = 3, .fanout_bits = 1, .weight_bits = 1};
constexpr uint64_t kPage = 8;

using Memory = BasicCowMemory<kTiny, RelacySync>;

template <class M>
uint8_t Get(const M& memory, uint64_t address) {
  std::byte byte;
  HOTPATH_CHECK(memory.Read(address, {&byte, 1}).ok());
  return static_cast<uint8_t>(byte);
}
template <class M>
void Put(M& memory, uint64_t address, unsigned value) {
  const std::byte byte{static_cast<uint8_t>(value)};
  HOTPATH_CHECK(memory.Write(address, {&byte, 1}).ok());
}
// Two bytes of two pages, in one write.
template <class M>
void PutAcross(M& memory, uint64_t page, unsigned value) {
  const std::array<std::byte, 2> bytes{static_cast<std::byte>(value), static_cast<std::byte>(value)};
  HOTPATH_CHECK(memory.Write((page + 1) * kPage - 1, bytes).ok());
}
template <class M>
void Map(M& memory, uint64_t pages, CowSharing sharing = CowSharing::kPrivate) {
  HOTPATH_CHECK(memory.Map(0, pages * kPage, CowAccess::kReadWrite, sharing).ok());
}

// Two processes write the same page after a fork: one of them copies, or both do, or one copies and one steals. Each
// has its own byte and the other one from before.
struct BothWriteOnePage : Model<BothWriteOnePage, 2> {
  Memory parent;
  std::optional<Memory> child;

  BothWriteOnePage() {
    Map(parent, 1);
    Put(parent, 0, 1);
    child.emplace(parent.Fork());
  }
  void thread(unsigned id) {
    auto& mine = id == 0 ? parent : *child;
    Put(mine, id, 2 + id);
    HOTPATH_CHECK(Get(mine, id) == 2 + id && Get(mine, 1 - id) == id);
  }
  void finish() {
    HOTPATH_CHECK(Get(parent, 0) == 2 && Get(parent, 1) == 0 && Get(*child, 0) == 1 && Get(*child, 1) == 3);
    const CowStats a = parent.Stats(), b = child->Stats();
    HOTPATH_CHECK(a.shared == 0 && b.shared == 0 && a.resident == 1 && b.resident == 1);
    HOTPATH_CHECK(a.copied + a.stolen == 1 && b.copied + b.stolen == 1 && a.copied + b.copied >= 1);
  }
};

// The same with different pages under one node, which both have to copy: its weights are halved by one at a time.
template <uint64_t kPages>
struct BothCopyOneNode : Model<BothCopyOneNode<kPages>, 2> {
  Memory parent;
  std::optional<Memory> child;

  BothCopyOneNode() {
    Map(parent, kPages);
    Put(parent, 0, 1);
    Put(parent, (kPages - 1) * kPage, 1);
    child.emplace(parent.Fork());
  }
  void thread(unsigned id) { Put(id == 0 ? parent : *child, id * (kPages - 1) * kPage, 2); }
  void finish() {
    HOTPATH_CHECK(parent.Stats().shared == 0 && child->Stats().shared == 0);
    child.reset();
    HOTPATH_CHECK(parent.Stats().shared == 0, "a reference was lost");
    HOTPATH_CHECK(Get(parent, 0) == 2 && Get(parent, (kPages - 1) * kPage) == 1);
  }
};
using BothCopyOneLeaf = BothCopyOneNode<2>;
using BothCopyTwoLevels = BothCopyOneNode<4>;

// A child reads and exits while its parent writes: the parent may write in place only what the child has left.
struct WriteAgainstDrop : Model<WriteAgainstDrop, 2> {
  Memory parent;
  std::optional<Memory> child;

  WriteAgainstDrop() {
    Map(parent, 2);
    Put(parent, 0, 1);
    child.emplace(parent.Fork());
  }
  void thread(unsigned id) {
    if (id == 0) return Put(parent, 0, 2);
    HOTPATH_CHECK(Get(*child, 0) == 1, "a child sees what its parent writes");
    child.reset();
  }
  void finish() {
    HOTPATH_CHECK(Get(parent, 0) == 2 && parent.Stats().shared == 0);
    const CowCounters counters = parent.Counters();
    HOTPATH_CHECK(counters.copied + counters.stolen == 1);
  }
};

// The child writes before it exits, to another page: it copies the node, and leaves the page in the old one.
struct WriteAgainstWriteAndDrop : Model<WriteAgainstWriteAndDrop, 2> {
  Memory parent;
  std::optional<Memory> child;

  WriteAgainstWriteAndDrop() {
    Map(parent, 2);
    Put(parent, 0, 1);
    Put(parent, kPage, 1);
    child.emplace(parent.Fork());
  }
  void thread(unsigned id) {
    if (id == 0) return Put(parent, 0, 2);
    Put(*child, kPage, 3);
    HOTPATH_CHECK(Get(*child, 0) == 1);
    child.reset();
  }
  void finish() { HOTPATH_CHECK(Get(parent, 0) == 2 && Get(parent, kPage) == 1 && parent.Stats().shared == 0); }
};

// Both exit: everything is freed, once.
struct DropAgainstDrop : Model<DropAgainstDrop, 2> {
  std::optional<Memory> memories[2];

  DropAgainstDrop() {
    Map(memories[0].emplace(), 2);
    Put(*memories[0], 0, 1);
    memories[1].emplace(memories[0]->Fork());
    Put(*memories[0], kPage, 1);  // so that a node is each one's own and the page is both's
  }
  void thread(unsigned id) { memories[id].reset(); }
};

// Three processes with one page: one writes, one writes and exits, one reads and exits.
struct ThreeProcesses : Model<ThreeProcesses, 3> {
  Memory parent;
  std::optional<Memory> writer, reader;

  ThreeProcesses() {
    Map(parent, 2);
    Put(parent, 0, 1);
    writer.emplace(parent.Fork());
    reader.emplace(parent.Fork());
  }
  void thread(unsigned id) {
    if (id == 0) return Put(parent, 0, 2);
    if (id == 1) {
      Put(*writer, 0, 3);
      HOTPATH_CHECK(Get(*writer, 0) == 3);
      return writer.reset();
    }
    HOTPATH_CHECK(Get(*reader, 0) == 1);
    reader.reset();
  }
  void finish() { HOTPATH_CHECK(Get(parent, 0) == 2 && parent.Stats().shared == 0); }
};

// A fork while another thread of the process writes two pages at once: the child has both or neither.
struct ForkAgainstWrite : Model<ForkAgainstWrite, 2> {
  Memory parent;
  std::optional<Memory> child;

  ForkAgainstWrite() {
    Map(parent, 2);
    PutAcross(parent, 0, 1);
  }
  void thread(unsigned id) {
    if (id == 0) return PutAcross(parent, 0, 2);
    child.emplace(parent.Fork());
    const uint8_t left = Get(*child, kPage - 1), right = Get(*child, kPage);
    HOTPATH_CHECK(left == right && (left == 1 || left == 2), "a fork came amid a write");
    Put(*child, kPage, 3);
    HOTPATH_CHECK(Get(*child, kPage - 1) == left, "a write after the fork reached the child");
  }
  void finish() { HOTPATH_CHECK(Get(parent, kPage - 1) == 2 && Get(parent, kPage) == 2 && Get(*child, kPage) == 3); }
};

// Two threads fork one memory, and a third writes to it.
struct TwoForksAndAWrite : Model<TwoForksAndAWrite, 3> {
  Memory parent;

  TwoForksAndAWrite() {
    Map(parent, 1);
    Put(parent, 0, 1);
  }
  void thread(unsigned id) {
    if (id == 0) return Put(parent, 0, 2);
    Memory child = parent.Fork();
    const uint8_t seen = Get(child, 0);
    HOTPATH_CHECK(seen == 1 || seen == 2);
    Put(child, 0, 3);
  }
  void finish() { HOTPATH_CHECK(Get(parent, 0) == 2 && parent.Stats().shared == 0); }
};

// Readers of one memory, one of which comes back, while a thread writes: whole values, that do not go back.
template <int kReaders, int kWriters>
struct Readers : Model<Readers<kReaders, kWriters>, kReaders + kWriters> {
  Memory memory;

  Readers() { Map(memory, 2); }
  void thread(unsigned id) {
    if (id < kWriters) return PutAcross(memory, 0, 1 + id);
    uint8_t newest = 0;
    for (int i = 0; i < 2; ++i) {
      std::array<std::byte, 2> seen;
      HOTPATH_CHECK(memory.Read(kPage - 1, seen).ok());
      HOTPATH_CHECK(seen[0] == seen[1], "a read came amid a write");
      HOTPATH_CHECK(newest == 0 || seen[0] != std::byte{0}, "a reader went back");
      newest = static_cast<uint8_t>(seen[0]);
    }
  }
  void finish() { HOTPATH_CHECK(Get(memory, kPage) != 0); }
};
using TwoReadersOneWriter = Readers<2, 1>;
using OneReaderTwoWriters = Readers<1, 2>;

// A page that is unmapped while a fork writes to it, and pages that go while others stay.
struct UnmapAgainstWrite : Model<UnmapAgainstWrite, 2> {
  Memory parent;
  std::optional<Memory> child;

  UnmapAgainstWrite() {
    Map(parent, 2);
    Put(parent, 0, 1);
    Put(parent, kPage, 1);
    child.emplace(parent.Fork());
  }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(parent.Unmap(0, kPage).ok());
      HOTPATH_CHECK(Get(parent, kPage) == 1);
    } else {
      Put(*child, 0, 2);
      HOTPATH_CHECK(Get(*child, kPage) == 1);
    }
  }
  void finish() {
    HOTPATH_CHECK(parent.Counters().resident == 1 && parent.Stats().shared == 1);
    HOTPATH_CHECK(child->Stats().private_pages == 1 && Get(*child, 0) == 2);
  }
};

// Threads of one memory that was never forked: one changes mappings while the other writes and counts. The tree before
// the change is no fork: nothing is ever shared, copied or stolen.
template <bool kUnmaps>
struct ChangeAgainstWriteAndStats : Model<ChangeAgainstWriteAndStats<kUnmaps>, 2> {
  Memory memory;

  ChangeAgainstWriteAndStats() {
    Map(memory, 4);
    Put(memory, 0, 1);
    Put(memory, 3 * kPage, 1);
  }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK((kUnmaps ? memory.Unmap(0, kPage) : memory.Protect(0, kPage, CowAccess::kRead)).ok());
      return;
    }
    Put(memory, 3 * kPage, 2);
    const CowStats stats = memory.Stats();
    HOTPATH_CHECK(stats.shared == 0, "what was there before counts as a fork");
    HOTPATH_CHECK(stats.mapped - stats.resident == 2 && Get(memory, 3 * kPage) == 2);
  }
  void finish() {
    const CowCounters counters = memory.Counters();
    HOTPATH_CHECK(counters.copied + counters.stolen == 0 && counters.resident == (kUnmaps ? 1 : 2));
  }
};
using ProtectAgainstWriteAndStats = ChangeAgainstWriteAndStats<false>;
using UnmapAgainstWriteAndStats = ChangeAgainstWriteAndStats<true>;

// A view of a page against one to write to: all that the callback did, or nothing; while pages beside it are mapped.
template <CowSharing kSharing>
struct Views : Model<Views<kSharing>, 2> {
  Memory memory;
  std::optional<Memory> child;

  Views() {
    Map(memory, 1, kSharing);
    if (kSharing == CowSharing::kShared) child.emplace(memory.Fork());
  }
  void thread(unsigned id) {
    if (id == 0) {
      HOTPATH_CHECK(
          memory.WithWritablePage(0, [](std::span<std::byte> page) { page[0] = page[7] = std::byte{1}; }).ok());
      HOTPATH_CHECK(memory.Map(kPage, kPage, CowAccess::kReadWrite).ok());
    } else {
      const Memory& other = child ? *child : memory;
      HOTPATH_CHECK(other.WithPage(0, [](std::span<const std::byte> page) { HOTPATH_CHECK(page[0] == page[7]); }).ok());
    }
  }
  void finish() { HOTPATH_CHECK(Get(memory, 0) == 1 && memory.Counters().mapped == 2); }
};
using ViewsOfOneMemory = Views<CowSharing::kPrivate>;
using ViewsThroughAFork = Views<CowSharing::kShared>;

// One thread restores while another writes; a third process holds the same pages and goes.
struct RestoreAgainstWrite : Model<RestoreAgainstWrite, 2> {
  Memory memory;
  std::optional<Memory> snapshot;

  RestoreAgainstWrite() {
    Map(memory, 1);
    Put(memory, 0, 1);
    snapshot.emplace(memory.Snapshot());
    Put(memory, 0, 2);
  }
  void thread(unsigned id) {
    if (id == 0) return Put(memory, 0, 3);
    memory.Restore(*snapshot);
    snapshot.reset();
  }
  void finish() {
    const uint8_t end = Get(memory, 0);
    HOTPATH_CHECK(end == 1 || end == 3);
    HOTPATH_CHECK(memory.Stats().shared == 0);
  }
};

// A shared mapping, of which two processes write different bytes of a page that has none yet; one of them exits.
struct SharedMapping : Model<SharedMapping, 2> {
  std::optional<Memory> parent, child;

  SharedMapping() {
    Map(parent.emplace(), 1, CowSharing::kShared);
    child.emplace(parent->Fork());
  }
  void thread(unsigned id) {
    Put(id == 0 ? *parent : *child, id, 1 + id);
    if (id == 0) parent.reset();
  }
  void finish() { HOTPATH_CHECK(Get(*child, 0) == 1 && Get(*child, 1) == 2, "a write to a shared page was lost"); }
};

// Two processes write across two shared pages that have no bytes: what one has prepared, the other may have filled
// before it is used.
struct SharedPagesAcross : Model<SharedPagesAcross, 2> {
  Memory parent;
  std::optional<Memory> child;

  SharedPagesAcross() {
    Map(parent, 2, CowSharing::kShared);
    child.emplace(parent.Fork());
  }
  void thread(unsigned id) { PutAcross(id == 0 ? parent : *child, 0, 1 + id); }
  void finish() {
    HOTPATH_CHECK(Get(parent, kPage - 1) != 0 && Get(parent, kPage) != 0);
    HOTPATH_CHECK(parent.Counters().zero_filled + child->Counters().zero_filled == 2);
    HOTPATH_CHECK(parent.Stats().common_resident == 2);
  }
};

// A reader of a shared page against a writer in the other process, then both exit.
struct SharedReader : Model<SharedReader, 2> {
  std::optional<Memory> memories[2];

  SharedReader() {
    Map(memories[0].emplace(), 1, CowSharing::kShared);
    Put(*memories[0], 0, 1);
    memories[1].emplace(memories[0]->Fork());
  }
  void thread(unsigned id) {
    if (id == 0) {
      Put(*memories[0], 0, 2);
    } else {
      const uint8_t seen = Get(*memories[1], 0);
      HOTPATH_CHECK(seen == 1 || seen == 2);
    }
    memories[id].reset();
  }
};

}  // namespace
}  // namespace hotpath::model

int main(int argc, char** argv) {
  using namespace hotpath::model;
  return Main(argc, argv,
              {HOTPATH_MODEL(BothWriteOnePage),
               HOTPATH_MODEL(BothCopyOneLeaf),
               HOTPATH_MODEL(BothCopyTwoLevels),
               HOTPATH_MODEL(WriteAgainstDrop),
               HOTPATH_MODEL(WriteAgainstWriteAndDrop),
               HOTPATH_MODEL(DropAgainstDrop),
               HOTPATH_MODEL(ThreeProcesses),
               HOTPATH_MODEL(ForkAgainstWrite),
               HOTPATH_MODEL(TwoForksAndAWrite),
               HOTPATH_MODEL(TwoReadersOneWriter),
               HOTPATH_MODEL(OneReaderTwoWriters),
               HOTPATH_MODEL(UnmapAgainstWrite),
               HOTPATH_MODEL(ProtectAgainstWriteAndStats),
               HOTPATH_MODEL(UnmapAgainstWriteAndStats),
               HOTPATH_MODEL(ViewsOfOneMemory),
               HOTPATH_MODEL(ViewsThroughAFork),
               HOTPATH_MODEL(RestoreAgainstWrite),
               HOTPATH_MODEL(SharedMapping),
               HOTPATH_MODEL(SharedPagesAcross),
               HOTPATH_MODEL(SharedReader)});
}
