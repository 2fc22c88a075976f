#include "hotpath/core/allocator.h"

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>

// What the allocators export.
extern "C" {
[[gnu::weak]] const char* tc_version(int* major, int* minor, const char** patch);
[[gnu::weak]] int MallocExtension_GetNumericProperty(const char* property, size_t* value);
[[gnu::weak]] int mallctl(const char* name, void* old, size_t* old_size, void* changed, size_t changed_size);
[[gnu::weak]] int mi_version();
[[gnu::weak]] size_t __sanitizer_get_current_allocated_bytes();
[[gnu::weak]] void __asan_init();
[[gnu::weak]] void __tsan_init();
}

namespace hotpath {
namespace {

enum class Kind : uint8_t { kUnknown, kGlibc, kTcmalloc, kJemalloc, kMimalloc, kAsan, kTsan };

// Where the first definition of a symbol lies, or null. In a program that is not position-independent, the address of
// a function may be a stub in the program: the definition is then the next one.
void* Definition(const char* name) {
  void* address = dlsym(RTLD_DEFAULT, name);
  Dl_info object;
  void* entry = nullptr;
  if (address == nullptr || dladdr1(address, &object, &entry, RTLD_DL_SYMENT) == 0 || entry == nullptr) return address;
  const bool stub = static_cast<ElfW(Sym)*>(entry)->st_shndx == SHN_UNDEF;
  return stub ? dlsym(RTLD_NEXT, name) : address;
}

// A statically linked function need not be visible to the dynamic loader: then the weak reference has it.
template <class F>
F* Find(const char* name, F* linked) {
  void* found = Definition(name);
  return found != nullptr ? std::bit_cast<F*>(found) : linked;
}
#define HOTPATH_FIND(function) Find(#function, &::function)

struct Answers {
  Kind kind = Kind::kUnknown;
  const char* path = "";  // of the object that defines malloc
};

// An allocator that is loaded need not be the one that answers. The one whose own symbol lies in the executable or
// library that defines malloc does.
Answers FindWhoAnswers() {
  const struct {
    Kind kind;
    void* symbol;
  } known[] = {
      {Kind::kAsan, std::bit_cast<void*>(HOTPATH_FIND(__asan_init))},
      {Kind::kTsan, std::bit_cast<void*>(HOTPATH_FIND(__tsan_init))},
      {Kind::kTcmalloc, std::bit_cast<void*>(HOTPATH_FIND(tc_version))},
      {Kind::kJemalloc, std::bit_cast<void*>(HOTPATH_FIND(mallctl))},
      {Kind::kMimalloc, std::bit_cast<void*>(HOTPATH_FIND(mi_version))},
      {Kind::kGlibc, Definition("gnu_get_libc_version")},
  };
  Dl_info malloc_object;
  if (dladdr(Definition("malloc"), &malloc_object) == 0) return {};
  for (const auto& [kind, symbol] : known) {
    Dl_info object;
    if (symbol != nullptr && dladdr(symbol, &object) != 0 && object.dli_fbase == malloc_object.dli_fbase) {
      return {kind, malloc_object.dli_fname};
    }
  }
  return {Kind::kUnknown, malloc_object.dli_fname};
}

const Answers& WhoAnswers() {
  static const Answers answers = FindWhoAnswers();
  return answers;
}

// AllocatorName, made once and without allocating.
struct Name {
  Name() noexcept {
    switch (WhoAnswers().kind) {
      case Kind::kGlibc:
        std::snprintf(text, sizeof(text), "glibc");
        break;
      case Kind::kAsan:
        std::snprintf(text, sizeof(text), "AddressSanitizer");
        break;
      case Kind::kTsan:
        std::snprintf(text, sizeof(text), "ThreadSanitizer");
        break;
      case Kind::kTcmalloc:
        std::snprintf(text, sizeof(text), "tcmalloc (%s)", HOTPATH_FIND(tc_version)(nullptr, nullptr, nullptr));
        break;
      case Kind::kJemalloc: {
        const char* version = "";  // like 5.3.0-0-g54eaed1d8b56
        size_t size = sizeof(void*);
        HOTPATH_FIND(mallctl)("version", static_cast<void*>(&version), &size, nullptr, 0);
        std::snprintf(text, sizeof(text), "jemalloc %.*s", static_cast<int>(std::strcspn(version, "-")), version);
        break;
      }
      case Kind::kMimalloc: {
        const int version = HOTPATH_FIND(mi_version)();  // 209 is 2.0.9
        std::snprintf(text, sizeof(text), "mimalloc %d.%d.%d", version / 100, version / 10 % 10, version % 10);
        break;
      }
      case Kind::kUnknown:
        std::snprintf(text, sizeof(text), "unknown (%s)", WhoAnswers().path);
        break;
    }
  }

  char text[256];
};

std::optional<size_t> Jemalloc(const char* statistic) {
  // Statistics are those of the last epoch; writing it makes a new one.
  uint64_t epoch = 1;
  size_t value = 0, size = sizeof(value);
  const auto mallctl = HOTPATH_FIND(mallctl);
  const bool told = mallctl("epoch", nullptr, nullptr, &epoch, sizeof(epoch)) == 0 &&
                    mallctl(statistic, &value, &size, nullptr, 0) == 0;  // not if built without statistics
  return told ? std::optional(value) : std::nullopt;
}

std::optional<size_t> Tcmalloc(const char* property) {
  size_t value = 0;
  const auto get = HOTPATH_FIND(MallocExtension_GetNumericProperty);
  const bool told = get != nullptr && get(property, &value) != 0;
  return told ? std::optional(value) : std::nullopt;
}

}  // namespace

std::string_view AllocatorName() noexcept {
  static const Name name;
  return name.text;
}

AllocatorUsage AllocatorStats() noexcept {
  switch (WhoAnswers().kind) {
    case Kind::kGlibc: {
      const struct mallinfo2 info = mallinfo2();
      return {info.uordblks + info.hblkhd};  // in the arenas, and mapped one by one
    }
    case Kind::kTcmalloc:
      return {Tcmalloc("generic.current_allocated_bytes")};
    case Kind::kJemalloc:
      return {Jemalloc("stats.allocated")};
    case Kind::kAsan:
    case Kind::kTsan:
      return {HOTPATH_FIND(__sanitizer_get_current_allocated_bytes)()};
    case Kind::kMimalloc:
    case Kind::kUnknown:
      return {};
  }
  return {};
}

}  // namespace hotpath
