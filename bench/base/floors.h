#ifndef HOTPATH_BENCH_BASE_FLOORS_H_
#define HOTPATH_BENCH_BASE_FLOORS_H_

#include "bench/base/rows.h"

namespace hotpath::bench {

// What this machine takes for the steps that no design avoids; every benchmark measures them in its own run (a second):
//   l1_load          load to use, from the first-level cache
//   store_forward    load, add and store of one word
//   rmw              an uncontended atomic read-modify-write
//   rmw_contended    the same by two threads on one word, per thread
//   fence            a full fence
//   line_transfer    a modified line from another core: half a round trip
//   syscall          the cheapest entry to the kernel
// A row's floor and goals name them without the "floor/" of their ids.
void AddFloors(Rows& rows);

// memory_latency (ns), copy_64B (ns), memory_copy (GB/s), page_fault (ns): they need 128 MiB and some seconds.
void AddMemoryFloors(Rows& rows);

}  // namespace hotpath::bench

#endif  // HOTPATH_BENCH_BASE_FLOORS_H_
