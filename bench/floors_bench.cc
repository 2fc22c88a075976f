// The memory's floors, as rows; the others are measured by every benchmark.

#include "bench/base/floors.h"
#include "bench/base/rows.h"

HOTPATH_BENCH_ROWS(rows) { hotpath::bench::AddMemoryFloors(rows); }
