#ifndef HOTPATH_CORE_INLINE_STRING_H_
#define HOTPATH_CORE_INLINE_STRING_H_

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace hotpath {

// InlineString: a string of bytes in 24 bytes, of which 23 hold text; longer text lives on the heap.
//
// Contract  Any bytes, NUL and 0xff included; data() is followed by a NUL. On the heap exactly when size() > 23, so
//           clear() and assigning short text give the heap block back. Moved-from is empty. Arguments may be views into
//           the string itself. A call that throws bad_alloc (out of memory, or beyond max_size()) changes nothing.
// Progress  Wait-free up to 23 bytes; above, as the heap. Threads share it as they share an int.
// Cost      Copy, move and compare up to 23 bytes: 24 bytes, whatever the length. Longer: one heap block, as
//           std::string.
// Not for   Buffers that shrink and grow again: nothing is kept for reuse.
// Proof     //core:inline_string_fuzz against std::string; the unit test counts heap allocations.
// Example   constinit InlineString name = "init";
//           InlineString text = InlineString::Format("pid %d", pid);
//           text += " exited";
class InlineString {
 public:
  static constexpr size_t kInlineCapacity = 23;

  constexpr InlineString() noexcept : bytes_(kEmpty) {}
  ABSL_ATTRIBUTE_ALWAYS_INLINE constexpr InlineString(std::string_view text) {
    if (text.size() <= kInlineCapacity) {
      bytes_ = Inline(text);
    } else {
      PutOnHeap(bytes_, text);
    }
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE constexpr InlineString(const char* text) : InlineString(std::string_view(text)) {}
  ABSL_ATTRIBUTE_ALWAYS_INLINE InlineString(const std::string& text) : InlineString(std::string_view(text)) {}
  InlineString(std::nullptr_t) = delete;

  constexpr InlineString(const InlineString& other) {
    if (other.is_inline()) {
      bytes_ = other.bytes_;
    } else {
      PutOnHeap(bytes_, other.view());
    }
  }
  constexpr InlineString(InlineString&& other) noexcept : bytes_(other.Take()) {}
  constexpr InlineString& operator=(const InlineString& other) {
    if (is_inline() && other.is_inline()) {
      bytes_ = other.bytes_;
    } else {
      AssignOnHeap(other);
    }
    return *this;
  }
  constexpr InlineString& operator=(InlineString&& other) noexcept {
    const Bytes taken = other.Take();  // first, so that moving to itself keeps the text
    Release();
    bytes_ = taken;
    return *this;
  }
  constexpr ~InlineString() { Release(); }

  // Text as absl::StrFormat makes it. No heap if it fits: formatting itself works on the stack.
  template <class... A>
  static InlineString Format(const absl::FormatSpec<A...>& format, const A&... args);

  constexpr const char* data() const noexcept ABSL_ATTRIBUTE_LIFETIME_BOUND {
    return is_inline() ? bytes_.data() : heap().data;
  }
  constexpr const char* c_str() const noexcept ABSL_ATTRIBUTE_LIFETIME_BOUND { return data(); }
  constexpr size_t size() const noexcept { return is_inline() ? kInlineCapacity - tag() : heap().size; }
  constexpr bool empty() const noexcept { return tag() == kInlineCapacity; }
  constexpr bool is_inline() const noexcept { return tag() < kOnHeap; }
  constexpr size_t capacity() const noexcept { return is_inline() ? kInlineCapacity : heap().capacity(); }
  static constexpr size_t max_size() noexcept { return (size_t{1} << 56) - 2; }

  constexpr std::string_view view() const noexcept ABSL_ATTRIBUTE_LIFETIME_BOUND { return {data(), size()}; }
  constexpr operator std::string_view() const noexcept ABSL_ATTRIBUTE_LIFETIME_BOUND { return view(); }

  InlineString& append(std::string_view text) {
    if (is_inline() && text.size() <= size_t{tag()}) {
      std::char_traits<char>::move(bytes_.data() + kInlineCapacity - tag(), text.data(), text.size());
      bytes_[kTag] = static_cast<char>(tag() - text.size());
    } else {
      AppendOnHeap(text);
    }
    return *this;
  }
  InlineString& operator+=(std::string_view text) { return append(text); }
  void push_back(char c) {
    if (is_inline()) {
      if (tag() > 0) {
        bytes_[kInlineCapacity - tag()] = c;
        bytes_[kTag] = static_cast<char>(tag() - 1);
        return;
      }
    } else if (const Heap h = heap(); h.size < h.capacity()) {
      h.data[h.size] = c;
      h.data[h.size + 1] = '\0';
      const size_t grown = h.size + 1;
      std::memcpy(bytes_.data() + offsetof(Heap, size), &grown, sizeof(grown));
      return;
    }
    PushBackOnHeap(c);
  }

  constexpr void clear() noexcept {
    Release();
    bytes_ = kEmpty;
  }

  friend constexpr bool operator==(const InlineString& a, const InlineString& b) noexcept {
    // Short text is padded with NULs, and never equals long text: its tag differs.
    if (a.is_inline() || b.is_inline()) return a.bytes_ == b.bytes_;
    return a.heap().size == b.heap().size && std::memcmp(a.heap().data, b.heap().data, a.heap().size) == 0;
  }
  template <class S>
    requires(std::convertible_to<const S&, std::string_view> && !std::same_as<S, InlineString>)
  ABSL_ATTRIBUTE_ALWAYS_INLINE friend constexpr bool operator==(const InlineString& a, const S& b) noexcept {
    const std::string_view text(b);
    if (std::is_constant_evaluated()) return a.view() == text;
    if (text.empty()) return a.empty();
    if (a.is_inline()) {
      return a.tag() == kInlineCapacity - text.size() && EqualShort(a.bytes_.data(), text.data(), text.size());
    }
    return a.heap().size == text.size() && std::memcmp(a.heap().data, text.data(), text.size()) == 0;
  }
  // Bytes compare as unsigned char.
  friend constexpr std::strong_ordering operator<=>(const InlineString& a, const InlineString& b) noexcept {
    if (!std::is_constant_evaluated() && kLittleEndian) {
      if (a.is_inline() && b.is_inline()) return CompareInline(a, b);
      if (!a.is_inline() && !b.is_inline()) return CompareOnHeap(a.heap(), b.heap()) <=> 0;
    }
    return a.view() <=> b.view();
  }
  // What sorting and ordered maps ask for: to make an ordering and look at its sign takes longer.
  ABSL_ATTRIBUTE_ALWAYS_INLINE friend constexpr bool operator<(const InlineString& a, const InlineString& b) noexcept {
    if (!std::is_constant_evaluated() && kLittleEndian) {
      if (a.is_inline() && b.is_inline()) return CompareInline(a, b) < 0;
      if (!a.is_inline() && !b.is_inline()) return CompareOnHeap(a.heap(), b.heap()) < 0;
    }
    return (a <=> b) < 0;
  }
  template <class S>
    requires(std::convertible_to<const S&, std::string_view> && !std::same_as<S, InlineString>)
  friend constexpr std::strong_ordering operator<=>(const InlineString& a, const S& b) noexcept {
    return a.view() <=> std::string_view(b);
  }

  template <class H>
  friend H AbslHashValue(H state, const InlineString& s) {
    return H::combine(std::move(state), s.absl_view());
  }
  template <class Stream>
  friend Stream& operator<<(Stream& stream, const InlineString& s) {
    stream << s.view();
    return stream;
  }
  // %s.
  friend absl::FormatConvertResult<absl::FormatConversionCharSet::kString> AbslFormatConvert(
      const InlineString& s, const absl::FormatConversionSpec& spec, absl::FormatSink* sink) {
    return {sink->PutPaddedString(s.absl_view(), spec.width(), spec.precision(), spec.has_left_flag())};
  }
  // absl::Format(&s, ...) appends to s. Like a std::string there, it ends the process if the heap is exhausted.
  friend void AbslFormatFlush(InlineString* s, absl::string_view text) { s->append({text.data(), text.size()}); }

 private:
  // Inline: text, NUL padding, and in the last byte kInlineCapacity - size: at 23 bytes it is the NUL behind the text.
  // Heap: three words, of which the last byte is kOnHeap.
  using Bytes = std::array<char, 24>;
  static constexpr size_t kTag = 23;
  static constexpr uint8_t kOnHeap = 0x80;
  static constexpr bool kLittleEndian = std::endian::native == std::endian::little;
  static_assert(kLittleEndian || std::endian::native == std::endian::big);

  static constexpr Bytes kEmpty = [] {
    Bytes bytes = {};
    bytes[kTag] = static_cast<char>(kInlineCapacity);
    return bytes;
  }();

  struct Heap {
    char* data;
    size_t size;
    size_t tagged_capacity;

    Heap(char* data, size_t size, size_t capacity)
        : data(data),
          size(size),
          tagged_capacity(kLittleEndian ? capacity | size_t{kOnHeap} << 56 : capacity << 8 | kOnHeap) {}
    size_t capacity() const { return kLittleEndian ? tagged_capacity & ~(size_t{0xff} << 56) : tagged_capacity >> 8; }
    // Stored word by word, as it is loaded: data is what everything waits for, and would come and go by way of a vector
    // register with size beside it.
    Bytes ToBytes() const {
      Heap words = *this;
      asm("" : "+r"(words.data), "+r"(words.size));
      return std::bit_cast<Bytes>(words);
    }
  };
  static_assert(sizeof(Heap) == sizeof(Bytes));

  constexpr uint8_t tag() const noexcept { return static_cast<uint8_t>(bytes_[kTag]); }
  Heap heap() const noexcept { return std::bit_cast<Heap>(bytes_); }
  // Where Abseil was built for C++14 its string_view is a type of its own.
  absl::string_view absl_view() const noexcept { return {data(), size()}; }

  static constexpr Bytes Inline(std::string_view text) noexcept {
    if (!std::is_constant_evaluated() && kLittleEndian) return Pack(text.data(), text.size());
    Bytes bytes = {};
    std::copy_n(text.data(), text.size(), bytes.data());
    bytes[kTag] = static_cast<char>(kInlineCapacity - text.size());
    return bytes;
  }
  // Little endian: the text is put together in registers from loads of fixed size, which overlap but stay inside it.
  static Bytes Pack(const char* p, size_t n) noexcept {
    uint64_t first = 0, second = 0, third = 0;
    if (n >= 4) {
      if (n >= 16) {
        first = Load<uint64_t>(p);
        second = Load<uint64_t>(p + 8);
        third = Load<uint64_t>(p + n - 8) >> 8 >> (8 * (23 - n));
      } else if (n >= 8) {
        first = Load<uint64_t>(p);
        second = Load<uint64_t>(p + n - 8) >> 8 >> (8 * (15 - n));
      } else {
        first = Load<uint32_t>(p) | Load<uint32_t>(p + n - 4) << (8 * (n - 4));
      }
    } else if (n == 0) {
      return kEmpty;
    } else if (n == 1) {
      first = Load<uint8_t>(p);
    } else {
      first = Load<uint16_t>(p) | Load<uint8_t>(p + n - 1) << (8 * (n - 1));
    }
    return FromWords(first, second, third | (kInlineCapacity - n) << 56);
  }
  template <class Word>
  static uint64_t Load(const char* p) noexcept {
    Word word;
    std::memcpy(&word, p, sizeof(word));
    return word;
  }
  // Of 1 to 23 bytes, by loads as in Pack: to call memcmp takes longer.
  static bool EqualShort(const char* a, const char* b, size_t n) noexcept {
    const auto differ = [&]<class Word>(Word, size_t at) { return Load<Word>(a + at) ^ Load<Word>(b + at); };
    if (n >= 8) {
      const uint64_t ends = differ(uint64_t{}, 0) | differ(uint64_t{}, n - 8);
      return n <= 16 ? ends == 0 : (ends | differ(uint64_t{}, 8)) == 0;
    }
    if (n >= 4) return (differ(uint32_t{}, 0) | differ(uint32_t{}, n - 4)) == 0;
    if (n >= 2) return (differ(uint16_t{}, 0) | differ(uint8_t{}, n - 1)) == 0;
    return *a == *b;
  }
  // Stores 16 bytes and 8, as copies load them: a load that straddles two recent stores waits for the cache.
  static Bytes FromWords(uint64_t first, uint64_t second, uint64_t third) noexcept {
    using Pair = uint64_t __attribute__((vector_size(16)));
    const Pair pair = {first, second};
    Bytes bytes;
    std::memcpy(bytes.data(), &pair, sizeof(pair));
    std::memcpy(bytes.data() + sizeof(pair), &third, sizeof(third));
    return bytes;
  }

  // Three words, the first byte on top. The NUL padding compares as text would; where all of it is equal, the shorter
  // one comes first, and its tag is larger.
  static std::strong_ordering CompareInline(const InlineString& a, const InlineString& b) noexcept {
    for (size_t at = 0; at < sizeof(Bytes); at += 8) {
      const uint64_t flip = at + 8 == sizeof(Bytes) ? 0xff : 0;
      const uint64_t x = __builtin_bswap64(Load<uint64_t>(a.bytes_.data() + at)) ^ flip;
      const uint64_t y = __builtin_bswap64(Load<uint64_t>(b.bytes_.data() + at)) ^ flip;
      if (x != y) return x <=> y;
    }
    return std::strong_ordering::equal;
  }
  static int64_t CompareOnHeap(const Heap& a, const Heap& b) noexcept {
    const int order = std::memcmp(a.data, b.data, std::min(a.size, b.size));
    return order != 0 ? order : static_cast<int64_t>(a.size - b.size);
  }

  static char* Allocate(size_t capacity) {
    if (capacity > max_size()) throw std::bad_alloc();
    return static_cast<char*>(::operator new(capacity + 1));
  }
  // Out of line, so that the short case is inlined and needs no frame.
  [[gnu::noinline]] static void PutOnHeap(Bytes& to, std::string_view text) {
    const size_t size = text.size();
    char* const data = Allocate(size);
    to = Heap(data, size, size).ToBytes();
    data[size] = '\0';
    if (size > 128) {
      std::memcpy(data, text.data(), size);
      return;
    }
    // Blocks from both ends, which may overlap: to call memcpy takes longer (BM_Construct, BM_Copy).
    static_assert(kInlineCapacity >= 16);
    const auto copy = [&](size_t at) { std::memcpy(data + at, text.data() + at, 16); };
    if (size > 32) {
      if (size > 64) {
        copy(32);
        copy(48);
        copy(size - 64);
        copy(size - 48);
      }
      copy(16);
      copy(size - 32);
    }
    copy(0);
    copy(size - 16);
  }

  [[gnu::noinline]] void AppendOnHeap(std::string_view text) { is_inline() ? MoveToHeap(text) : AppendToHeap(text); }
  [[gnu::noinline]] void PushBackOnHeap(char c) { is_inline() ? MoveToHeap({&c, 1}) : AppendToHeap({&c, 1}); }
  // Inline text and `text`, which do not fit. Nothing but the copy may wait for bytes_, a byte of which was just
  // stored.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void MoveToHeap(std::string_view text) {
    const size_t size = kInlineCapacity - tag();
    if (text.size() > max_size() - size) throw std::bad_alloc();
    const size_t capacity = std::max(size + text.size(), 2 * kInlineCapacity);
    char* const data = Allocate(capacity);
    std::memcpy(data, bytes_.data(), sizeof(bytes_));  // there is room, and no call
    std::memcpy(data + size, text.data(), text.size());
    data[size + text.size()] = '\0';
    bytes_ = Heap(data, size + text.size(), capacity).ToBytes();
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE void AppendToHeap(std::string_view text) {
    const Heap old = heap();
    if (text.size() > max_size() - old.size) throw std::bad_alloc();
    const size_t size = old.size + text.size();
    size_t capacity = old.capacity();
    char* data = old.data;
    if (size > capacity) {
      capacity = std::max(size, std::min(2 * capacity, max_size()));
      data = Allocate(capacity);
      std::memcpy(data, old.data, old.size);
    }
    std::char_traits<char>::move(data + old.size, text.data(), text.size());
    data[size] = '\0';
    if (data != old.data) Release();
    bytes_ = Heap(data, size, capacity).ToBytes();
  }
  // Copies last, as the last call it makes.
  [[gnu::noinline]] void AssignOnHeap(const InlineString& other) {
    if (this == &other) return;
    if (!is_inline() && !other.is_inline() && other.heap().size <= capacity()) {
      const Heap from = other.heap();
      const Heap to = heap();
      bytes_ = Heap(to.data, from.size, to.capacity()).ToBytes();
      to.data[from.size] = '\0';
      std::memcpy(to.data, from.data, from.size);
    } else {
      *this = InlineString(other);
    }
  }
  constexpr void Release() noexcept {
    if (!is_inline()) [[unlikely]] {
      ::operator delete(heap().data, heap().capacity() + 1);
    }
  }

  // What it holds, and leaves it empty.
  constexpr Bytes Take() noexcept {
    const Bytes taken = is_inline() ? bytes_ : heap().ToBytes();
    bytes_ = kEmpty;
    return taken;
  }

  struct Sink;

  alignas(Heap) Bytes bytes_;
};
static_assert(sizeof(InlineString) == 24);

// Abseil flushes from a destructor too, where nothing may be thrown.
struct InlineString::Sink {
  friend void AbslFormatFlush(Sink* sink, absl::string_view part) noexcept {
    try {
      sink->text.append({part.data(), part.size()});
    } catch (const std::bad_alloc&) {
      sink->failed = true;
    }
  }

  InlineString text;
  bool failed = false;
};

template <class... A>
InlineString InlineString::Format(const absl::FormatSpec<A...>& format, const A&... args) {
  Sink sink;
  absl::Format(&sink, format, args...);
  if (sink.failed) throw std::bad_alloc();
  return std::move(sink.text);
}

// Hash and equality by text, so that a map keyed by InlineString is searched with any string without a copy.
struct InlineStringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const noexcept { return absl::Hash<absl::string_view>{}({s.data(), s.size()}); }
};
struct InlineStringEq {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const noexcept { return a == b; }
};
template <class V>
using InlineStringMap = absl::flat_hash_map<InlineString, V, InlineStringHash, InlineStringEq>;

}  // namespace hotpath

template <>
struct std::hash<hotpath::InlineString> {
  size_t operator()(const hotpath::InlineString& s) const noexcept { return std::hash<std::string_view>{}(s); }
};

#endif  // HOTPATH_CORE_INLINE_STRING_H_
