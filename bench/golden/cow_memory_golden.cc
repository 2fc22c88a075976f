#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/cow_memory.h"

namespace hotpath::bench {
namespace {

// 64 pages with bytes; the last one is a shared mapping, if asked for.
std::shared_ptr<CowMemory> Filled(bool has_shared_mapping) {
  constexpr uint64_t kPage = CowMemory::kPageBytes;
  auto memory = std::make_shared<CowMemory>();
  Keep(memory->Map(0, 64 * kPage, CowAccess::kReadWrite).ok());
  if (has_shared_mapping) Keep(memory->Map(63 * kPage, kPage, CowAccess::kReadWrite, CowSharing::kShared).ok());
  for (uint64_t at = 0; at < 64 * kPage; at += kPage) {
    Keep(memory->Write(at, std::as_bytes(std::span(&at, 1))).ok());
  }
  return memory;
}

}  // namespace

void AddGoldenPaths(GoldenPaths& paths) {
  constexpr uint64_t kPrivate = 5 * CowMemory::kPageBytes + 8, kShared = 63 * CowMemory::kPageBytes + 8;
  for (const uint64_t address : {kPrivate, kShared}) {
    const std::string page = address == kPrivate ? "a private page" : "a shared page";
    paths.Add("CowMemory::Read, 8 bytes of " + page, [address, memory = Filled(true)] {
      std::array<std::byte, 8> word;
      Keep(memory->Read(address, word).ok());
      Keep(word);
    });
    paths.Add("CowMemory::Write, 8 bytes in place to " + page, [address, memory = Filled(true)] {
      const std::array<std::byte, 8> word{};
      Keep(memory->Write(address, word).ok());
    });
  }
  paths.Add("CowMemory::Fork and its end", [memory = Filled(false)] {
    const CowMemory child = memory->Fork();
    Keep(&child);
  });
  paths.Add("CowMemory::Fork and its end, with a shared mapping", [memory = Filled(true)] {
    const CowMemory child = memory->Fork();
    Keep(&child);
  });
}

}  // namespace hotpath::bench
