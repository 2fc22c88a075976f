#ifndef HOTPATH_CORE_DETAIL_BUFFER_POOL_TESTING_H_
#define HOTPATH_CORE_DETAIL_BUFFER_POOL_TESTING_H_

#include <cstddef>
#include <cstdint>

#include "hotpath/core/buffer_pool.h"

// For proofs of core/buffer_pool.h only.

namespace hotpath::buffer_pool_internal {

struct TestAccess {
  // Bytes for which caches and batches have a reservation. Never more than max_bytes, at any time.
  template <class Pool>
  static size_t Reserved(const Pool& pool) {
    return pool.reserved_.load(std::memory_order::relaxed);
  }
  // What they say they have reserved: the same, while nobody uses the pool.
  template <class Pool>
  static size_t ReservedForThem(const Pool& pool) {
    size_t bytes = pool.batched_.load(std::memory_order::relaxed);
    for (auto* cache = pool.all_.load(std::memory_order::relaxed); cache != nullptr; cache = cache->next) {
      for (uint32_t i = 0; i < Pool::kClasses; ++i) bytes += cache->shelves[i].limit.Read() * Pool::SizeOf(i);
    }
    return bytes;
  }
};

}  // namespace hotpath::buffer_pool_internal

#endif  // HOTPATH_CORE_DETAIL_BUFFER_POOL_TESTING_H_
