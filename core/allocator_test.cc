#include "hotpath/core/allocator.h"

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <regex>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace hotpath {
namespace {

struct Library {
  const char* file;  // as the loader looks for it
  const char* name;  // what AllocatorName() then says, as a regular expression
};
constexpr std::array<Library, 3> kLibraries = {{
    {"libtcmalloc_minimal.so.4", "tcmalloc \\(gperftools [0-9]+\\.[0-9]+\\)"},
    {"libjemalloc.so.2", "jemalloc [0-9]+\\.[0-9]+\\.[0-9]+"},
    {"libmimalloc.so.2", "mimalloc [0-9]+\\.[0-9]+\\.[0-9]+"},
}};

bool Matches(std::string_view name, const char* pattern) {
  return std::regex_match(std::string(name), std::regex(pattern));
}

bool IsSanitizer() { return AllocatorName().ends_with("Sanitizer"); }

bool IsMapped(const char* library) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(library) != std::string::npos) return true;
  }
  return false;
}

TEST(AllocatorTest, NameIsThatOfTheOneLibraryMappedOrElseGlibc) {
  const char* expected = "glibc";
  int mapped = 0;
  for (const Library& library : kLibraries) {
    if (!IsMapped(library.file)) continue;
    expected = library.name;
    ++mapped;
  }
  if (IsSanitizer()) expected = "AddressSanitizer|ThreadSanitizer";
  if (mapped > 1) expected = ".*";  // the tests below tell which
  EXPECT_TRUE(Matches(AllocatorName(), expected)) << AllocatorName();
  EXPECT_EQ(AllocatorName().data(), AllocatorName().data()) << "made once";
}

TEST(AllocatorTest, BytesInUseFollowMallocAndFree) {
  const bool tells = !AllocatorName().starts_with("mimalloc");
  ASSERT_EQ(AllocatorStats().bytes_in_use.has_value(), tells) << AllocatorName();
  if (!tells) return;
  const auto in_use = [] { return AllocatorStats().bytes_in_use.value_or(0); };
  const size_t before = in_use();
  constexpr size_t kLarge = 32 << 20, kSmall = 1 << 10, kSmallOnes = 4096, kSlack = 2 << 20;
  void* volatile large = std::malloc(kLarge);  // volatile, lest the compiler do without
  std::array<void* volatile, kSmallOnes> small;
  for (auto& p : small) p = std::malloc(kSmall);
  const size_t total = kLarge + kSmall * kSmallOnes;
  const size_t during = in_use();
  EXPECT_GE(during + kSlack, before + total);
  EXPECT_LE(during, before + total + kSlack);
  for (auto& p : small) std::free(p);
  std::free(large);
  EXPECT_LE(in_use(), before + kSlack);
}

// What a child with LD_PRELOAD says; see below.
TEST(AllocatorTest, PrintsItsName) {
  EXPECT_FALSE(AllocatorName().empty());
  std::cout << "\nallocator: " << AllocatorName() << '\n';
  for (const Library& library : kLibraries) {
    if (IsMapped(library.file)) std::cout << "mapped: " << library.file << '\n';
  }
}

// The output of this program, running the test above.
std::string OutputWithPreloaded(const std::string& libraries) {
  std::array<char, 4096> self{};
  if (readlink("/proc/self/exe", self.data(), self.size() - 1) < 0) return "cannot read /proc/self/exe";
  const std::string command =
      "LD_PRELOAD='" + libraries + "' '" + self.data() + "' --gtest_filter=AllocatorTest.PrintsItsName 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "cannot run " + command;
  std::string output;
  std::array<char, 4096> part;
  for (size_t n; (n = fread(part.data(), 1, part.size(), pipe)) > 0;) output.append(part.data(), n);
  pclose(pipe);
  return output;
}

void ExpectName(const std::string& output, const char* name) {
  EXPECT_TRUE(std::regex_search(output, std::regex(std::string("\nallocator: (") + name + ")\n"))) << output;
}

bool Mentions(const std::string& output, const Library& library) {
  return output.find(std::string("mapped: ") + library.file) != std::string::npos;
}

TEST(AllocatorTest, PreloadedLibraryIsNamed) {
  // Its malloc stands in the program, before any library's; but operator new may then be the library's all the same.
  if (IsSanitizer()) GTEST_SKIP() << "a sanitizer and a preloaded allocator do not go together";
  for (const Library& library : kLibraries) {
    const std::string output = OutputWithPreloaded(library.file);
    if (Mentions(output, library)) {
      ExpectName(output, library.name);
    } else {
      EXPECT_NE(output.find("cannot be preloaded"), std::string::npos) << output;
      std::cout << library.file << " is not installed: not tried" << '\n';
    }
  }
}

TEST(AllocatorTest, OfTwoPreloadedLibrariesTheFirstAnswers) {
  if (IsSanitizer()) GTEST_SKIP() << "a sanitizer and a preloaded allocator do not go together";
  for (const Library& first : kLibraries) {
    for (const Library& second : kLibraries) {
      if (&first == &second) continue;
      const std::string output = OutputWithPreloaded(std::string(first.file) + ":" + second.file);
      if (Mentions(output, first) && Mentions(output, second)) ExpectName(output, first.name);
    }
  }
}

}  // namespace
}  // namespace hotpath
