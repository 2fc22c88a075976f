// Every peer that is installed compiles, links and runs under our flags; one that is not is an empty library.

#include <cstring>
#include <string>

#include "bench/base/peer_allocator.h"
#include "gtest/gtest.h"

#if HOTPATH_HAVE_BOOST
#include "boost/version.hpp"
#endif
#if HOTPATH_HAVE_CK
#include "ck_sequence.h"
#endif
#if HOTPATH_HAVE_CONCURRENTQUEUE
#include "concurrentqueue/concurrentqueue.h"
#endif
#if HOTPATH_HAVE_HIGHWAY
#include "hwy/highway.h"
#endif
#if HOTPATH_HAVE_HYPERSCAN
#include "hs/hs.h"
#endif
#if HOTPATH_HAVE_LIBCDS
#include "cds/gc/hp.h"
#include "cds/init.h"
#endif
#if HOTPATH_HAVE_LIBCUCKOO
#include "libcuckoo/cuckoohash_map.hh"
#endif
#if HOTPATH_HAVE_LIBURCU_MEMB
#define URCU_INLINE_SMALL_FUNCTIONS
#include "urcu/urcu-memb.h"
#endif
#if HOTPATH_HAVE_PROTOBUF
#include "google/protobuf/arena.h"
#endif
#if HOTPATH_HAVE_RE2
#include "re2/re2.h"
#endif
#if HOTPATH_HAVE_TBB
#include "tbb/concurrent_hash_map.h"
#endif
#if HOTPATH_HAVE_XENIUM
#include "xenium/seqlock.hpp"
#endif

namespace hotpath::bench {
namespace {

#define HOTPATH_NEEDS(have) \
  if (!(have)) GTEST_SKIP() << "not installed; tools/bootstrap --peers installs it"

TEST(PeersTest, BoostHasAVersion) {
  HOTPATH_NEEDS(HOTPATH_HAVE_BOOST);
#if HOTPATH_HAVE_BOOST
  EXPECT_GT(BOOST_VERSION, 0);
#endif
}

TEST(PeersTest, ConcurrencyKitsSequenceLocks) {
  HOTPATH_NEEDS(HOTPATH_HAVE_CK);
#if HOTPATH_HAVE_CK
  ck_sequence_t sequence = CK_SEQUENCE_INITIALIZER;
  ck_sequence_write_begin(&sequence);
  ck_sequence_write_end(&sequence);
  const unsigned version = ck_sequence_read_begin(&sequence);
  EXPECT_FALSE(ck_sequence_read_retry(&sequence, version));
#endif
}

TEST(PeersTest, ConcurrentQueueHandsOver) {
  HOTPATH_NEEDS(HOTPATH_HAVE_CONCURRENTQUEUE);
#if HOTPATH_HAVE_CONCURRENTQUEUE
  moodycamel::ConcurrentQueue<int> queue;
  int got = 0;
  EXPECT_TRUE(queue.enqueue(7));
  EXPECT_TRUE(queue.try_dequeue(got));
  EXPECT_EQ(got, 7);
#endif
}

TEST(PeersTest, HighwayHasVectors) {
  HOTPATH_NEEDS(HOTPATH_HAVE_HIGHWAY);
#if HOTPATH_HAVE_HIGHWAY
  EXPECT_GE(hwy::HWY_NAMESPACE::Lanes(hwy::HWY_NAMESPACE::ScalableTag<uint64_t>()), 1u);
#endif
}

TEST(PeersTest, HyperscanRunsOnThisCpu) {
  HOTPATH_NEEDS(HOTPATH_HAVE_HYPERSCAN);
#if HOTPATH_HAVE_HYPERSCAN
  EXPECT_NE(std::string(hs_version()), "");
#endif
}

TEST(PeersTest, LibcdsStarts) {
  HOTPATH_NEEDS(HOTPATH_HAVE_LIBCDS);
#if HOTPATH_HAVE_LIBCDS
  cds::Initialize();
  {
    cds::gc::HP hazard_pointers;
    cds::threading::Manager::attachThread();
    cds::threading::Manager::detachThread();
  }
  cds::Terminate();
#endif
}

TEST(PeersTest, LibcuckooFinds) {
  HOTPATH_NEEDS(HOTPATH_HAVE_LIBCUCKOO);
#if HOTPATH_HAVE_LIBCUCKOO
  libcuckoo::cuckoohash_map<int, int> map;
  map.insert(1, 2);
  EXPECT_EQ(map.find(1), 2);
#endif
}

TEST(PeersTest, UserspaceRcuReads) {
  HOTPATH_NEEDS(HOTPATH_HAVE_LIBURCU_MEMB);
#if HOTPATH_HAVE_LIBURCU_MEMB
  urcu_memb_register_thread();
  urcu_memb_read_lock();
  EXPECT_TRUE(urcu_memb_read_ongoing());
  urcu_memb_read_unlock();
  urcu_memb_unregister_thread();
#endif
}

TEST(PeersTest, ProtobufsArenaAllocates) {
  HOTPATH_NEEDS(HOTPATH_HAVE_PROTOBUF);
#if HOTPATH_HAVE_PROTOBUF
  google::protobuf::Arena arena;
  EXPECT_NE(google::protobuf::Arena::CreateArray<char>(&arena, 64), nullptr);
#endif
}

TEST(PeersTest, Re2Matches) {
  HOTPATH_NEEDS(HOTPATH_HAVE_RE2);
#if HOTPATH_HAVE_RE2
  EXPECT_TRUE(RE2::FullMatch("/home", "/h.*"));
#endif
}

TEST(PeersTest, TbbFinds) {
  HOTPATH_NEEDS(HOTPATH_HAVE_TBB);
#if HOTPATH_HAVE_TBB
  tbb::concurrent_hash_map<int, int> map;
  EXPECT_TRUE(map.insert({1, 2}));
  EXPECT_EQ(map.count(1), 1u);
#endif
}

TEST(PeersTest, XeniumsSeqlockLoads) {
  HOTPATH_NEEDS(HOTPATH_HAVE_XENIUM);
#if HOTPATH_HAVE_XENIUM
  struct Two {
    long first, second;
  };
  xenium::seqlock<Two> cell(Two{3, 4});
  EXPECT_EQ(cell.load().second, 4);
#endif
}

struct Allocator {
  const char* name;
  bool installed;
};
constexpr Allocator kAllocators[] = {
    {"glibc", true},
    {"tcmalloc", HOTPATH_HAVE_TCMALLOC},
    {"jemalloc", HOTPATH_HAVE_JEMALLOC},
    {"mimalloc", HOTPATH_HAVE_MIMALLOC},
};

class AllocatorTest : public testing::TestWithParam<Allocator> {};

TEST_P(AllocatorTest, AnswersForItself) {
  HOTPATH_NEEDS(GetParam().installed);
  const auto heap = PeerAllocator::Load(GetParam().name);
  ASSERT_TRUE(heap.has_value());
  void* const block = heap->malloc(1000);
  ASSERT_NE(block, nullptr);
  std::memset(block, 1, 1000);
  heap->free(block);
}

INSTANTIATE_TEST_SUITE_P(Each, AllocatorTest, testing::ValuesIn(kAllocators),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(AllocatorTest, LoadsEachAllocatorApart) {
  const auto glibc = PeerAllocator::Load("glibc");
  ASSERT_TRUE(glibc.has_value());
  for (const char* name : {"tcmalloc", "jemalloc", "mimalloc"}) {
    if (const auto heap = PeerAllocator::Load(name)) {
      EXPECT_NE(heap->malloc, glibc->malloc) << name;
    }
  }
}

TEST(AllocatorTest, DoesNotKnowEveryName) { EXPECT_FALSE(PeerAllocator::Load("nosuch").has_value()); }

}  // namespace
}  // namespace hotpath::bench
