#include <array>
#include <cstddef>
#include <utility>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/buffer_pool.h"

namespace hotpath::bench {

void AddGoldenPaths(GoldenPaths& paths) {
  const auto pool = Isolated<SharedPool>();
  paths.Add("SharedPool::Get and the buffer's end", [pool] {
    const PooledBuffer buffer = pool->Get(4096);
    Keep(buffer.data());
  });
  paths.Add("SharedPool::Get of a size not known to the compiler, and the buffer's end",
            [pool, bytes = Isolated<size_t>(4096)] {
              const PooledBuffer buffer = pool->Get(*bytes);
              Keep(buffer.data());
            });
  paths.Add("PooledBuffer::WithCapacity and its end", [] {
    const PooledBuffer buffer = PooledBuffer::WithCapacity(4096);
    Keep(buffer.data());
  });
  paths.Add("two of SharedPool::Get and their ends", [pool] {
    const PooledBuffer first = pool->Get(4096), second = pool->Get(4096);
    Keep(first.data());
    Keep(second.data());
  });
}

}  // namespace hotpath::bench
