#include "hotpath/core/result.h"

#include <any>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "bench/base/heap_counter.h"
#include "gtest/gtest.h"

namespace hotpath {
namespace {

using bench::Escape;
using bench::HeapCount;
using bench::HeapMark;

constexpr char kFits[] = "a message of 23 bytes..";
constexpr char kTooLong[] = "a message of 24 bytes...";
static_assert(sizeof(kFits) == 24 && sizeof(kTooLong) == 25);

// ---- Codes.

// Here `name` is also a macro of <cerrno>, so that each code is compared with the number of the platform.
#define HOTPATH_SAME_NUMBER(name, number, meaning) \
  static_assert(ToErrno(Code::k##name) == (name) && (name) == (number));
HOTPATH_INTERNAL_CODES(HOTPATH_SAME_NUMBER)
#undef HOTPATH_SAME_NUMBER
static_assert(ToErrno(Code::kEWOULDBLOCK) == EWOULDBLOCK && ToErrno(Code::kEDEADLOCK) == EDEADLOCK &&
              ToErrno(Code::kENOTSUP) == ENOTSUP && ToErrno(Code::kOK) == 0);
static_assert(sizeof(Code) == 1 && CodeFromErrno(2) == Code::kENOENT && CodeName(Code::kENOENT) == "ENOENT" &&
              CodeDescription(Code::kENOENT) == "no such file or directory");

TEST(CodeTest, NumbersOfLinuxAndNoOthersAreCodes) {
  for (int number = -300; number <= 600; ++number) {
    const bool exists = number >= 0 && number <= 133 && number != 41 && number != 58;
    const std::optional<Code> code = CodeFromErrno(number);
    ASSERT_EQ(code.has_value(), exists) << number;
    if (exists) {
      EXPECT_EQ(ToErrno(*code), number);
    }
  }
  EXPECT_FALSE(CodeFromErrno(INT32_MIN) || CodeFromErrno(INT32_MAX));
}

TEST(CodeTest, NamesAreThoseOfTheCLibrary) {
  for (int number = 1; number <= 133; ++number) {
    const std::optional<Code> code = CodeFromErrno(number);
    if (!code) continue;
    EXPECT_EQ(CodeName(*code), strerrorname_np(number));
  }
  EXPECT_EQ(CodeName(Code::kOK), "OK");
}

TEST(CodeTest, EveryValueHasANameAndADescriptionThatEndWithANul) {
  std::set<std::string_view> names, descriptions;
  for (int number = 0; number <= 255; ++number) {
    const Code code = static_cast<Code>(number);
    for (const std::string_view text : {CodeName(code), CodeDescription(code)}) {
      EXPECT_FALSE(text.empty()) << number;
      // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): that it ends with a null is what is tested
      EXPECT_EQ(std::strlen(text.data()), text.size()) << number;
    }
    names.insert(CodeName(code));
    descriptions.insert(CodeDescription(code));
    EXPECT_EQ(CodeName(code) == "unknown", !CodeFromErrno(number).has_value()) << number;
  }
  EXPECT_EQ(names.size(), 131u + 2u);  // errors, OK, unknown
  EXPECT_EQ(descriptions.size(), names.size());
}

// ---- Size and kind.

template <size_t N>
struct Bytes {
  unsigned char bytes[N];
  bool operator==(const Bytes&) const = default;
};
struct alignas(16) Wide {
  char bytes[16];
};

static_assert(sizeof(Error) == 32 && std::is_aggregate_v<Error>);
static_assert(sizeof(Result<void>) == 32 && sizeof(Result<bool>) == 32 && sizeof(Result<int64_t>) == 32 &&
              sizeof(Result<Bytes<24>>) == 32 && sizeof(Result<std::unique_ptr<int>>) == 32 &&
              sizeof(Result<std::vector<int>>) == 32 && sizeof(Result<InlineString>) == 32 &&
              sizeof(Result<std::shared_ptr<int>>) == 32 && sizeof(Result<std::string_view>) == 32);
static_assert(sizeof(Result<Bytes<31>>) == 32 && sizeof(Result<Bytes<32>>) == 40 && sizeof(Result<std::string>) == 40 &&
              sizeof(Result<Wide>) == 32 && alignof(Result<Wide>) == 16);

template <class T>
concept CanHold = requires { sizeof(Result<T>); };
static_assert(CanHold<int> && CanHold<void> && CanHold<int*> && CanHold<const int*> && CanHold<InlineString>);
static_assert(!CanHold<int&> && !CanHold<int&&> && !CanHold<const int> && !CanHold<int[3]> && !CanHold<int()> &&
              !CanHold<Error> && !CanHold<Code> && !CanHold<Result<int>> && !CanHold<std::in_place_t>);

static_assert(std::is_convertible_v<int, Result<int>> && std::is_convertible_v<Code, Result<int>> &&
              std::is_convertible_v<Error, Result<int>> && std::is_convertible_v<const char*, Result<std::string>>);
static_assert(!std::is_constructible_v<Result<int>, const char*> && !std::is_convertible_v<Result<int>, int> &&
              !std::is_constructible_v<Result<int64_t>, Result<int>>);
static_assert(std::is_constructible_v<Result<bool>, bool> && !std::is_constructible_v<Result<bool>, const char*> &&
              !std::is_constructible_v<Result<bool>, int>);
static_assert(std::is_constructible_v<Result<std::vector<int>>, int> &&
              !std::is_convertible_v<int, Result<std::vector<int>>>);
static_assert(std::is_default_constructible_v<Result<void>> && !std::is_default_constructible_v<Result<int>>);
static_assert(std::is_copy_constructible_v<Result<std::string>> && std::is_copy_assignable_v<Result<std::string>>);
static_assert(std::is_move_constructible_v<Result<std::unique_ptr<int>>> &&
              std::is_move_assignable_v<Result<std::unique_ptr<int>>> &&
              !std::is_copy_constructible_v<Result<std::unique_ptr<int>>> &&
              !std::is_copy_assignable_v<Result<std::unique_ptr<int>>>);
static_assert(!std::is_move_constructible_v<Result<std::mutex>> && !std::is_move_assignable_v<Result<std::mutex>>);
static_assert(std::is_nothrow_move_constructible_v<Result<int>> && std::is_nothrow_move_assignable_v<Result<int>> &&
              std::is_nothrow_constructible_v<Result<int>, Code> &&
              std::is_nothrow_constructible_v<Result<int>, Error>);

// ---- At compile time.

constexpr Result<int> Half(int number) {
  if (number < 0) return Code::kEINVAL;
  if (number % 2 != 0) return Error{Code::kEDOM, "odd"};
  return number / 2;
}
static_assert(Half(8).ok() && *Half(8) == 4 && Half(8).value() == 4 && Half(8).code() == Code::kOK);
static_assert(!Half(-1).ok() && Half(-1).error().code == Code::kEINVAL && Half(-1).error().message.empty());
static_assert(Half(3).error() == Error{Code::kEDOM, "odd"} && Half(3).value_or(7) == 7 && Half(8).value_or(7) == 4);
static_assert(Half(8) == 4 && Half(8) != 5 && Half(3) == Code::kEDOM && Half(3) != 4 && Half(8) == Half(9 - 1) &&
              Half(3) != Half(-3) && Half(3) == Half(5) && Half(8) == Code::kOK);

constexpr Result<int> kValue = 5;
constexpr Result<int> kError = Error{Code::kEIO, "23 bytes are a constant"};
constinit Result<int> g_result = Code::kEAGAIN;
static_assert(kValue.ok() && !kError.ok() && kError.error().message.size() == 23);

// Moves, and no copies.
struct MoveOnly {
  constexpr explicit MoveOnly(int n) : number(n) {}
  constexpr MoveOnly(MoveOnly&& other) noexcept : number(std::exchange(other.number, -1)) {}
  constexpr MoveOnly& operator=(MoveOnly&& other) noexcept {
    number = std::exchange(other.number, -1);
    return *this;
  }
  constexpr ~MoveOnly() {}
  int number;
};
static_assert([] {
  for (const bool from_value : {false, true}) {
    for (const bool to_value : {false, true}) {
      Result<MoveOnly> from = Code::kEPERM, to = Code::kESRCH;
      if (from_value) from = MoveOnly(1);
      if (to_value) to = MoveOnly(2);
      to = std::move(from);
      if (to.ok() != from_value || from.ok() != from_value) return false;  // NOLINT(bugprone-use-after-move)
      if (from_value ? to->number != 1 || from->number != -1 : to.code() != Code::kEPERM) return false;
      const Result<MoveOnly> constructed = std::move(to);
      if (constructed.ok() != from_value) return false;
    }
  }
  return true;
}());
static_assert([] {
  Result<void> done, failed = Code::kEROFS;
  Result<void> copy = failed;
  const bool was_error = !copy.ok();
  copy = done;
  done = failed;
  return was_error && copy.ok() && done == Code::kEROFS && copy == Result<void>() && done == failed && copy != done;
}());

// ---- Behaviour.

TEST(ResultTest, ValueIsReachedInEveryWay) {
  Result<std::string> r = "value";
  const Result<std::string>& constant = r;
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.code(), Code::kOK);
  EXPECT_EQ(*r, "value");
  EXPECT_EQ(r->size(), 5u);
  EXPECT_EQ(r.value(), "value");
  EXPECT_EQ(*constant, "value");
  EXPECT_EQ(constant->size(), 5u);
  EXPECT_EQ(constant.value(), "value");
  *r += "!";
  r->append("!");
  r.value().append("!");
  EXPECT_EQ(std::move(r).value(), "value!!!");
  const std::string taken = *std::move(r);  // NOLINT(bugprone-use-after-move): value() left it where it was
  EXPECT_EQ(taken, "value!!!");
  EXPECT_TRUE(r.ok()) << "moved-from keeps its kind";  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(kValue.ok() && !g_result.ok());
}

TEST(ResultTest, ErrorIsReachedAndTakenOut) {
  Result<int> r = Error{Code::kENOENT, kTooLong};
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.code(), Code::kENOENT);
  EXPECT_EQ(&r.error(), &r.error()) << "a reference, not a copy";
  EXPECT_EQ(r.error().message, kTooLong);
  const Result<std::string> other = std::move(r).error();
  EXPECT_EQ(other.error(), (Error{Code::kENOENT, kTooLong}));
  EXPECT_EQ(r, Code::kENOENT) << "moved-from keeps its kind";  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(r.error().message.empty());
}

TEST(ResultTest, VoidIsSuccessOrError) {
  Result<void> r;
  EXPECT_TRUE(r.ok());
  r.value();
  r = Code::kENOTDIR;
  EXPECT_EQ(r.code(), Code::kENOTDIR);
  r = {};
  EXPECT_TRUE(r.ok());
  r = Error{Code::kEBUSY, kTooLong};
  EXPECT_EQ(r.error().message, kTooLong);
}

TEST(ResultTest, EveryBitOfTheValueIsKeptWhateverItIs) {
  const auto check = []<size_t N>(Bytes<N> value) {
    for (const int fill : {0, 1, 0x7f, 0x80, 0xff}) {
      std::memset(value.bytes, fill, N);
      value.bytes[N / 2] ^= 0x5a;
      Result<Bytes<N>> r = value;
      const Result<Bytes<N>> copy = r;
      Result<Bytes<N>> assigned = Code::kEIO;
      assigned = copy;
      std::memset(r->bytes, 0xff, N);
      EXPECT_TRUE(r.ok() && copy.ok() && assigned.ok()) << N << " " << fill;
      EXPECT_EQ(*copy, value) << N << " " << fill;
      EXPECT_EQ(*assigned, value) << N << " " << fill;
    }
  };
  check(Bytes<1>()), check(Bytes<7>()), check(Bytes<8>()), check(Bytes<9>()), check(Bytes<12>()), check(Bytes<23>());
  check(Bytes<24>()), check(Bytes<25>()), check(Bytes<31>()), check(Bytes<32>()), check(Bytes<63>());
  check(Bytes<64>()), check(Bytes<65>());
}

TEST(ResultTest, OverAlignedValuesAreAligned) {
  std::vector<Result<Wide>> all(3, Result<Wide>(Wide{"fifteen bytes.."}));
  for (const Result<Wide>& r : all) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&*r) % 16, 0u);
    EXPECT_STREQ(r->bytes, "fifteen bytes..");
  }
}

TEST(ResultTest, CodeAndErrorAlwaysMakeAnErrorEvenIfTheValueTypeTakesAnything) {
  const Result<std::any> code = Code::kEPERM, error = Error{Code::kEIO, "message"}, value = 5;
  EXPECT_FALSE(code.ok());
  EXPECT_FALSE(error.ok());
  EXPECT_TRUE(value.ok());
  const Result<std::any> inside(std::in_place, Code::kEPERM);
  EXPECT_TRUE(inside.ok());
}

TEST(ResultTest, ValueThatCannotMoveIsMadeInPlace) {
  Result<std::mutex> r(std::in_place);
  EXPECT_TRUE(r->try_lock());
  r->unlock();
  const Result<std::pair<int, std::string>> pair(std::in_place, 3, "three");
  EXPECT_EQ(pair->second, "three");
}

struct Node {
  static Result<Node> Make();  // while Node is incomplete
  int number = 7;
};
Result<Node> Node::Make() { return Node{}; }

TEST(ResultTest, ClassMayReturnAResultOfItself) { EXPECT_EQ(Node::Make()->number, 7); }

TEST(ResultTest, ValueOrGivesTheValueOrTheAlternative) {
  Result<std::string> value = "value";
  const Result<std::string> error = Code::kEIO;
  EXPECT_EQ(value.value_or("other"), "value");
  EXPECT_EQ(error.value_or("other"), "other");
  EXPECT_EQ(*value, "value") << "copied, not moved";
  EXPECT_EQ(std::move(value).value_or("other"), "value");
  EXPECT_TRUE(value->empty()) << "moved";  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(*Result<std::unique_ptr<int>>(Code::kEIO).value_or(std::make_unique<int>(3)), 3);
}

TEST(ResultTest, ComparesValuesErrorsAndCodes) {
  const Result<std::string> a = "a", b = "b";
  const Result<std::string> plain = Code::kEIO, worded = Error{Code::kEIO, "disk"}, other = Code::kEPERM;
  EXPECT_TRUE(a == a && a != b && a != plain && plain != a);
  EXPECT_TRUE(a == "a" && "a" == a && a == std::string("a") && a != "b" && plain != "a");
  EXPECT_TRUE(plain == plain && plain != worded && plain != other);
  EXPECT_TRUE(plain == Code::kEIO && worded == Code::kEIO && worded != Code::kEPERM && a != Code::kEIO);
  EXPECT_TRUE(worded == (Error{Code::kEIO, "disk"}) && plain != (Error{Code::kEIO, "disk"}));
}

TEST(ResultTest, ErrorPrintsItsNameAndMessage) {
  std::ostringstream stream;
  stream << Error{Code::kENOENT, "/etc/motd"} << "; " << Error{Code::kEIO, ""};
  EXPECT_EQ(stream.str(), "ENOENT: /etc/motd; EIO");
}

// ---- Misuse.

TEST(ResultDeathTest, AskingAnErrorForItsValueNamesTheCode) {
  const Result<int> r = Error{Code::kENOENT, "message"};
  EXPECT_DEATH((void)r.value(), "check failed: Result::ok\\(\\): ENOENT");
  EXPECT_DEATH((void)*r, "ENOENT");
  EXPECT_DEATH((void)*Result<std::string>(Code::kEMFILE)->c_str(), "EMFILE");
  EXPECT_DEATH(Result<void>(Code::kEPERM).value(), "EPERM");
  EXPECT_DEATH((void)std::move(Result<std::string>(Code::kEIO)).value(), "EIO");
}

TEST(ResultDeathTest, AskingAValueForItsErrorIsACheck) {
  const Result<int> r = 5;
  EXPECT_DEATH((void)r.error(), "error\\(\\) of a Result that holds a value");
  EXPECT_DEATH((void)Result<void>().error(), "error\\(\\) of a Result that holds a value");
}

TEST(ResultDeathTest, ErrorWithoutACodeIsACheck) {
  EXPECT_DEATH((void)Result<int>(Code::kOK), "an error needs a code other than kOK");
  EXPECT_DEATH((void)Result<void>(Error{}), "an error needs a code other than kOK");
  EXPECT_DEATH((void)Result<int>::FromStatus(absl::OkStatus()), "FromStatus of an OK status");
}

// ---- Lifetime.

// Knows how many of it live, refuses to be destroyed twice, and throws when told to.
class Counted {
 public:
  explicit Counted(int n) : number(n) { Begin(); }
  Counted(const Counted& other) : Counted(other.Live().number) {}
  // NOLINTNEXTLINE(performance-noexcept-move-constructor)
  Counted(Counted&& other) : Counted(other.Live().number) { other.number = -1; }
  Counted& operator=(const Counted& other) {  // NOLINT(bugprone-unhandled-self-assignment): a number only
    Fuse();
    Live().number = other.number;
    return *this;
  }
  Counted& operator=(Counted&& other) {  // NOLINT(performance-noexcept-move-constructor)
    Fuse();
    Live().number = std::exchange(other.Live().number, -1);
    return *this;
  }
  ~Counted() {
    Live().self_ = nullptr;
    --live;
  }

  static inline int live = 0;
  static inline int throw_in = -1;  // constructions and assignments from now that succeed; negative: all
  int number;

 private:
  static void Fuse() {
    if (throw_in == 0) throw 1;
    if (throw_in > 0) --throw_in;
  }
  void Begin() {
    Fuse();
    self_ = this;
    ++live;
  }
  const Counted& Live() const {
    EXPECT_EQ(self_, this) << "used before its life or after it";
    return *this;
  }
  Counted& Live() {
    EXPECT_EQ(self_, this) << "used before its life or after it";
    return *this;
  }

  const Counted* self_ = nullptr;
};

Result<Counted> MakeCounted(bool value, int number) {
  if (value) return Counted(number);
  return Error{number == 1 ? Code::kEPERM : Code::kENOENT, number == 1 ? kFits : kTooLong};
}

testing::AssertionResult Is(const Result<Counted>& r, bool value, int number) {
  if (r.ok() != value) return testing::AssertionFailure() << "ok() is " << r.ok();
  if (value && r->number != number) return testing::AssertionFailure() << "number " << r->number;
  if (!value && r.error() != MakeCounted(false, number).error()) return testing::AssertionFailure() << r.error();
  return testing::AssertionSuccess();
}

TEST(ResultTest, EveryAssignmentDestroysEachValueOnce) {
  for (const bool to_value : {false, true}) {
    for (const bool from_value : {false, true}) {
      {
        Result<Counted> to = MakeCounted(to_value, 1), from = MakeCounted(from_value, 2);
        to = from;
        EXPECT_TRUE(Is(to, from_value, 2));
        EXPECT_TRUE(Is(from, from_value, 2));
        EXPECT_EQ(Counted::live, 2 * from_value);
      }
      EXPECT_EQ(Counted::live, 0);
      {
        Result<Counted> to = MakeCounted(to_value, 1), from = MakeCounted(from_value, 2);
        to = std::move(from);
        EXPECT_TRUE(Is(to, from_value, 2));
        EXPECT_EQ(from.ok(), from_value);  // NOLINT(bugprone-use-after-move)
        EXPECT_EQ(Counted::live, 2 * from_value);
        std::swap(to, from);
        EXPECT_TRUE(Is(from, from_value, 2));
      }
      EXPECT_EQ(Counted::live, 0);
      {
        const Result<Counted> source = MakeCounted(from_value, 2);
        Result<Counted> copy = source;
        const Result<Counted> moved = std::move(copy);
        EXPECT_TRUE(Is(source, from_value, 2));
        EXPECT_TRUE(Is(moved, from_value, 2));
        EXPECT_EQ(Counted::live, 3 * from_value);
      }
      EXPECT_EQ(Counted::live, 0);
    }
  }
}

TEST(ResultTest, AssigningAResultToItselfChangesNothing) {
  for (const bool value : {false, true}) {
    Result<std::unique_ptr<int>> moved = Error{Code::kENOENT, kTooLong};
    if (value) moved = std::make_unique<int>(3);
    Result<std::unique_ptr<int>>& same = moved;
    moved = std::move(same);
    EXPECT_EQ(moved.ok(), value);
    if (!value) {
      EXPECT_EQ(moved.error().message, kTooLong);
    }
    Result<Counted> copied = MakeCounted(value, 2);
    const Result<Counted>& same_copy = copied;
    copied = same_copy;
    EXPECT_TRUE(Is(copied, value, 2));
  }
}

TEST(ResultTest, ThrowingWhileAssigningLeavesWhatWasThere) {
  for (const bool to_value : {false, true}) {
    for (const bool from_value : {false, true}) {
      for (const bool move : {false, true}) {
        for (int successes = 0; successes < 4; ++successes) {
          {
            Result<Counted> to = MakeCounted(to_value, 1), from = MakeCounted(from_value, 2);
            bool threw = false;
            Counted::throw_in = successes;
            try {
              if (move) {
                to = std::move(from);
              } else {
                to = from;
              }
            } catch (int) {
              threw = true;
            }
            Counted::throw_in = -1;
            EXPECT_EQ(threw, from_value && successes < (move ? 1 : 2));
            EXPECT_TRUE(threw ? Is(to, to_value, 1) : Is(to, from_value, 2));
            EXPECT_EQ(from.ok(), from_value);  // NOLINT(bugprone-use-after-move)
            EXPECT_EQ(Counted::live, to.ok() + from.ok());
          }
          EXPECT_EQ(Counted::live, 0);
        }
      }
    }
  }
}

TEST(ResultTest, ThrowingWhileConstructingLeavesNothingBehind) {
  const auto throws = [](auto&& make) {
    Counted::throw_in = 0;
    bool threw = false;
    try {
      make();
    } catch (int) {
      threw = true;
    }
    Counted::throw_in = -1;
    return threw;
  };
  {
    Result<Counted> value = Counted(1);
    EXPECT_TRUE(throws([] { Escape(Result<Counted>(std::in_place, 1)); }));
    EXPECT_TRUE(throws([&] { Escape(Result<Counted>(value)); }));
    EXPECT_TRUE(throws([&] { Escape(Result<Counted>(std::move(value))); }));
    EXPECT_FALSE(throws([] { Escape(Result<Counted>(Code::kEIO)); }));
    EXPECT_TRUE(value.ok()) << "moved-from keeps its kind";
    EXPECT_EQ(Counted::live, 1);
  }
  EXPECT_EQ(Counted::live, 0);
}

TEST(ResultTest, ValueMayOwnTheErrorThatReplacesIt) {
  struct Tree {
    Result<std::unique_ptr<Tree>> child;
  };
  Result<std::unique_ptr<Tree>> tree = std::make_unique<Tree>(Tree{Error{Code::kENOENT, kTooLong}});
  tree = std::move((*tree)->child);
  EXPECT_EQ(tree.error(), (Error{Code::kENOENT, kTooLong}));
}

// ---- The heap.

template <class T>
[[gnu::noinline]] Result<T> Fail(std::string_view message) {
  return Error{Code::kENOENT, message};
}
template <class T>
[[gnu::noinline]] Result<T> PassOn(std::string_view message) {
  Result<int> r = Fail<int>(message);
  Escape(r);
  if (!r.ok()) return std::move(r).error();
  return Code::kEIO;
}

template <class T>
HeapCount CountErrorLife(std::string_view message) {
  const HeapMark mark;
  {
    Result<T> a = Fail<T>(message);
    Escape(a);
    Result<T> b = PassOn<T>(message);
    Escape(b);
    Result<T> c = a;
    Escape(c);
    Result<T> d = std::move(c);
    c = d;
    d = std::move(c);
    c = Code::kEPERM;
    std::swap(a, d);
    Escape(a);
    Result<void> e = a.error();
    Escape(e);
    const Error error = e.error();  // NOLINT(performance-unnecessary-copy-initialization): does it allocate?
    Escape(error);
  }
  return mark.Since();
}

TEST(ResultTest, ErrorWhoseMessageFitsNeverTouchesTheHeap) {
  for (const std::string_view message : {"", "x", "no such", kFits}) {
    EXPECT_EQ(CountErrorLife<int>(message), HeapCount{}) << message;
    EXPECT_EQ(CountErrorLife<std::string>(message), HeapCount{}) << message;
    EXPECT_EQ(CountErrorLife<std::unique_ptr<int>*>(message), HeapCount{}) << message;
  }
  const HeapMark mark;
  {
    Result<std::string> code_only = Code::kENOSPC;
    Escape(code_only);
    Result<void> copy = code_only.error();
    Escape(copy);
  }
  EXPECT_EQ(mark.Since(), HeapCount{});
}

TEST(ResultTest, LongerMessageCostsOneBlockAnErrorAndNoneAMove) {
  const HeapCount count = CountErrorLife<int>(kTooLong);
  EXPECT_EQ(count.frees, count.allocations);
  EXPECT_EQ(count.allocations, 6u);  // a, b, the copies c, c = d, e and error
  const HeapMark mark;
  Result<int> r = Fail<int>(kTooLong);
  Escape(r);
  const HeapCount made = mark.Since();
  Result<int> moved = std::move(r);
  Escape(moved);
  const HeapCount after = mark.Since();
  EXPECT_EQ(made.allocations, 1u);
  EXPECT_EQ(after, made);
}

// ---- absl::Status.

TEST(ResultTest, StatusAndBackKeepsEveryCodeAndMessage) {
  for (int number = 1; number <= 133; ++number) {
    const std::optional<Code> code = CodeFromErrno(number);
    if (!code) continue;
    for (const std::string_view message :
         {std::string_view(), std::string_view("short"), std::string_view(kTooLong), std::string_view("\0\xff", 2)}) {
      const Result<int> r = Error{*code, message};
      const absl::Status status = r.ToStatus();
      EXPECT_EQ(status.code(), absl::ErrnoToStatusCode(number));
      EXPECT_EQ(std::string_view(status.message().data(), status.message().size()), message);
      EXPECT_EQ(Result<int>::FromStatus(status), r) << CodeName(*code);
      EXPECT_EQ(Result<void>::FromStatus(status).error(), r.error()) << CodeName(*code);
    }
  }
}

TEST(ResultTest, SuccessIsAnOkStatus) {
  EXPECT_TRUE(Result<int>(3).ToStatus().ok());
  EXPECT_TRUE(Result<void>().ToStatus().ok());
  EXPECT_TRUE(Result<void>::FromStatus(absl::OkStatus()).ok());
}

TEST(ResultTest, ForeignStatusKeepsItsMessageAndKindOfCode) {
  for (int number = 1; number <= 16; ++number) {
    const absl::StatusCode kind = static_cast<absl::StatusCode>(number);
    const Result<int> r = Result<int>::FromStatus(absl::Status(kind, "from elsewhere"));
    EXPECT_EQ(r.error().message, "from elsewhere");
    const absl::StatusCode back = absl::ErrnoToStatusCode(ToErrno(r.code()));
    switch (kind) {
      case absl::StatusCode::kInternal:  // no errno means these
      case absl::StatusCode::kDataLoss:
        EXPECT_EQ(r, Code::kEIO);
        break;
      case absl::StatusCode::kUnauthenticated:
        EXPECT_EQ(r, Code::kEPERM);
        break;
      default:
        EXPECT_EQ(back, kind) << absl::StatusCodeToString(kind);
    }
  }
}

TEST(ResultTest, DamagedPayloadFallsBackToTheStatusCode) {
  for (const std::string_view payload : {std::string_view(), std::string_view("\0", 1), std::string_view("\x29"),
                                         std::string_view("\xff"), std::string_view("\x01\x01")}) {
    absl::Status status = Result<int>(Code::kESRCH).ToStatus();
    ASSERT_TRUE(status.GetPayload("hotpath/code").has_value());
    status.SetPayload("hotpath/code", absl::Cord(absl::string_view(payload.data(), payload.size())));
    EXPECT_EQ(Result<int>::FromStatus(status), Code::kENOENT);
  }
}

// The messages of all codes, as texts that an error might carry: what the predecessor's claim of 70 to 80 % comes to.
TEST(Error, OfTheMessagesOfAllCodesLessThanHalfOfWhatStdStringAllocates) {
  uint64_t messages = 0, longer_than_23 = 0, ours = 0, by_string = 0;
  for (int number = 1; number < 256; ++number) {
    const std::optional<Code> code = CodeFromErrno(number);
    if (!code) continue;
    const std::string_view text = CodeDescription(*code);
    ++messages;
    longer_than_23 += text.size() > 23 ? 1 : 0;
    const HeapMark mark;
    {
      const Result<int> result = Error{*code, text};
      Escape(result);
    }
    ours += mark.Since().allocations;
    const HeapMark string_mark;
    {
      const std::string string(text);
      Escape(string);
    }
    by_string += string_mark.Since().allocations;
  }
  EXPECT_GT(messages, 100u);
  EXPECT_EQ(ours, longer_than_23);
  EXPECT_LT(ours * 2, by_string);        // against a string that has 15 bytes inline
  EXPECT_LT(ours * 100, messages * 30);  // against one that has none
}

}  // namespace
}  // namespace hotpath
