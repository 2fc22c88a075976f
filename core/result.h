#ifndef HOTPATH_CORE_RESULT_H_
#define HOTPATH_CORE_RESULT_H_

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/detail/code_list.h"
#include "hotpath/core/inline_string.h"

namespace hotpath {

// What went wrong: the errno numbers of Linux on x86-64, as Code::kENOENT and so on. core/detail/code_list.h lists
// them.
enum class Code : uint8_t {
  kOK = 0,
#define HOTPATH_INTERNAL_ENUMERATOR(name, number, meaning) k##name = (number),
  HOTPATH_INTERNAL_CODES(HOTPATH_INTERNAL_ENUMERATOR)
#undef HOTPATH_INTERNAL_ENUMERATOR
      kEWOULDBLOCK = kEAGAIN,
  kEDEADLOCK = kEDEADLK,
  kENOTSUP = kEOPNOTSUPP,
};

constexpr int ToErrno(Code code) { return static_cast<int>(code); }
// Nothing if the number is not one of Linux's. 0 is Code::kOK.
constexpr std::optional<Code> CodeFromErrno(int number);
// "ENOENT"; "OK"; "unknown" if the value is none of the enumerators. Ends with a NUL, as the next one does.
constexpr std::string_view CodeName(Code code);
// "no such file or directory".
constexpr std::string_view CodeDescription(Code code);

// A code, never kOK in a Result, and words of the place where it happened. Empty: there is nothing to add.
struct [[nodiscard]] Error {
  Code code = Code::kOK;
  InlineString message = {};

  friend constexpr bool operator==(const Error&, const Error&) = default;

  template <class Stream>
  friend Stream& operator<<(Stream& stream, const Error& e) {
    stream << CodeName(e.code);
    if (!e.message.empty()) stream << ": " << e.message;
    return stream;
  }
};
static_assert(sizeof(Error) == 32);

template <class T>
class Result;

namespace result_internal {

struct Info {
  std::string_view name = "unknown", description = "unknown error";
};

inline constexpr auto kInfo = [] {
  std::array<Info, 256> table;
  table[0] = {"OK", "success"};
#define HOTPATH_INTERNAL_INFO(name, number, meaning) table[number] = {#name, meaning};
  HOTPATH_INTERNAL_CODES(HOTPATH_INTERNAL_INFO)
#undef HOTPATH_INTERNAL_INFO
  return table;
}();

[[noreturn, gnu::cold]] void FailNoValue(Code code) noexcept;
absl::Status ToStatus(const Error& error);
Error FromStatus(const absl::Status& status);

struct Void {};

// A value or an Error in one union: both begin with a Code, and kOK marks the value. No state is without either.
template <class T>
class Base {
 public:
  constexpr bool ok() const noexcept { return code() == Code::kOK; }
  // The code of the error; kOK if there is a value.
  constexpr Code code() const noexcept {
    if (std::is_constant_evaluated()) {
      // A constant expression may read the active member only: error_.code is a constant iff it is the one.
      return __builtin_constant_p(error_.code) ? error_.code : Code::kOK;
    }
    Code code;
    std::memcpy(&code, this, sizeof(code));  // NOLINT(bugprone-undefined-memory-manipulation): of a Code only
    return code;
  }
  constexpr const Error& error() const& ABSL_ATTRIBUTE_LIFETIME_BOUND {
    HOTPATH_CHECK(!ok(), "error() of a Result that holds a value");
    return error_;
  }
  constexpr Error error() && {
    HOTPATH_CHECK(!ok(), "error() of a Result that holds a value");
    return std::move(error_);
  }

  // The status's code is what absl::ErrnoToStatusCode makes of the error's. A payload keeps the exact one, so that
  // FromStatus gives the same Error back. Allocates.
  absl::Status ToStatus() const { return ok() ? absl::OkStatus() : result_internal::ToStatus(error_); }

 protected:
  template <class... A>
  constexpr explicit Base(std::in_place_t, A&&... args) : value_{Code::kOK, T(std::forward<A>(args)...)} {}
  constexpr explicit Base(Error&& error) noexcept : error_(std::move(error)) {
    HOTPATH_CHECK(error_.code != Code::kOK, "an error needs a code other than kOK");
  }
  constexpr Base(const Base& other)
    requires std::copy_constructible<T>
  {
    if (other.ok()) {
      std::construct_at(&value_, other.value_);
    } else {
      std::construct_at(&error_, other.error_);
    }
  }
  constexpr Base(Base&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
    requires std::move_constructible<T>
  {
    if (other.ok()) {
      std::construct_at(&value_, std::move(other.value_));
    } else {
      std::construct_at(&error_, std::move(other.error_));
    }
  }
  constexpr Base& operator=(const Base& other)
    requires std::copyable<T>
  {
    if (this != &other) *this = Base(other);
    return *this;
  }
  constexpr Base& operator=(Base&& other) noexcept(std::is_nothrow_move_constructible_v<T> &&
                                                   std::is_nothrow_move_assignable_v<T>)
    requires std::movable<T>
  {
    if (ok() && other.ok()) {
      value_.value = std::move(other.value_.value);
    } else if (!ok() && !other.ok()) {
      error_ = std::move(other.error_);
    } else if (ok()) {
      Error taken = std::move(other.error_);  // first: `other` may be a part of the value
      std::destroy_at(&value_);
      std::construct_at(&error_, std::move(taken));
    } else {
      // If moving the value throws, the error comes back.
      struct Restore {
        constexpr ~Restore() {
          if (to) std::construct_at(to, std::move(error));
        }
        Error error;
        Error* to;
      } restore{std::move(error_), &error_};
      std::destroy_at(&error_);
      std::construct_at(&value_, std::move(other.value_));
      restore.to = nullptr;
    }
    return *this;
  }
  constexpr ~Base() {
    if (ok()) {
      std::destroy_at(&value_);
    } else {
      std::destroy_at(&error_);
    }
  }

  constexpr void CheckOk() const {
    if (!ok()) [[unlikely]] {
      FailNoValue(error_.code);
    }
  }

  struct Value {
    Code code;
    T value;
  };

  union {
    Error error_;
    Value value_;
  };
};

template <class T>
inline constexpr bool kIsResult = false;
template <class T>
inline constexpr bool kIsResult<Result<T>> = true;

// Types that always make an error, or a Result as it stands, never a value.
template <class U>
concept NotAValue = std::same_as<U, Error> || std::same_as<U, Code> || std::same_as<U, std::in_place_t> || kIsResult<U>;

// Works on incomplete types, so that a class may declare functions that return a Result of it.
template <class T>
concept Holdable = std::is_object_v<T> && !std::is_array_v<T> && std::same_as<T, std::remove_cv_t<T>> && !NotAValue<T>;

// A pointer or a number that becomes `true` in silence is a mistake.
template <class T, class U>
concept MakesValue = !NotAValue<std::remove_cvref_t<U>> && std::constructible_from<T, U> &&
                     (!std::same_as<T, bool> || std::same_as<std::remove_cvref_t<U>, bool>);

}  // namespace result_internal

// Result<T>: a T, or the Error that explains why there is none.
//
// Contract  Holds one of the two at any time, even if moving a T throws: an assignment from value to error or back then
//           leaves what was there. Moved-from keeps its kind. Made implicitly from what makes a T, from an Error, and
//           from a Code: `return Code::kENOENT;`. Asking for what it does not hold, and an error of Code::kOK, are
//           CHECKs.
// Progress  As T and InlineString. Threads share it as they share an int.
// Cost      32 bytes for a T of up to 24, aligned to 8 at most: one byte tells value from error. An error whose message
//           has at most 23 bytes never touches the heap. Never trivially destructible, because a message may be longer.
// Not for   References, arrays, const T; T = Error or Code, which always make an error.
// Proof     //core:result_fuzz against std::variant; the unit test counts heap allocations.
// Example   Result<int> fd = Open("/etc/motd");
//           if (!fd.ok()) return fd.error();
//           Use(*fd);
template <class T>
class Result;

template <class T>
  requires result_internal::Holdable<T>
class [[nodiscard]] Result<T> : public result_internal::Base<T> {
  using Base = result_internal::Base<T>;

 public:
  using value_type = T;

  template <class U = T>
    requires result_internal::MakesValue<T, U>
  constexpr explicit(!std::convertible_to<U, T>) Result(U&& value) : Base(std::in_place, std::forward<U>(value)) {}
  constexpr Result(Error error) noexcept : Base(std::move(error)) {}
  constexpr Result(Code code) noexcept : Base(Error{code}) {}
  template <class... A>
    requires std::constructible_from<T, A...>
  constexpr explicit Result(std::in_place_t, A&&... args) : Base(std::in_place, std::forward<A>(args)...) {}

  // An OK status has no error in it: a CHECK.
  static Result FromStatus(const absl::Status& status) { return result_internal::FromStatus(status); }

  constexpr T& value() & ABSL_ATTRIBUTE_LIFETIME_BOUND { return this->CheckOk(), this->value_.value; }
  constexpr const T& value() const& ABSL_ATTRIBUTE_LIFETIME_BOUND { return this->CheckOk(), this->value_.value; }
  constexpr T&& value() && ABSL_ATTRIBUTE_LIFETIME_BOUND { return this->CheckOk(), std::move(this->value_.value); }

  constexpr T& operator*() & ABSL_ATTRIBUTE_LIFETIME_BOUND { return value(); }
  constexpr const T& operator*() const& ABSL_ATTRIBUTE_LIFETIME_BOUND { return value(); }
  constexpr T&& operator*() && ABSL_ATTRIBUTE_LIFETIME_BOUND { return std::move(*this).value(); }
  constexpr T* operator->() ABSL_ATTRIBUTE_LIFETIME_BOUND { return std::addressof(value()); }
  constexpr const T* operator->() const ABSL_ATTRIBUTE_LIFETIME_BOUND { return std::addressof(value()); }

  template <std::convertible_to<T> U>
  constexpr T value_or(U&& otherwise) const& {
    return this->ok() ? this->value_.value : static_cast<T>(std::forward<U>(otherwise));
  }
  template <std::convertible_to<T> U>
  constexpr T value_or(U&& otherwise) && {
    return this->ok() ? std::move(this->value_.value) : static_cast<T>(std::forward<U>(otherwise));
  }

  // Equal values, or equal codes and messages.
  friend constexpr bool operator==(const Result& a, const Result& b)
    requires std::equality_comparable<T>
  {
    if (a.ok() && b.ok()) return a.value_.value == b.value_.value;
    return !a.ok() && !b.ok() && a.error_ == b.error_;
  }
  template <class U>
    requires(!result_internal::NotAValue<U> &&
             requires(const T& t, const U& u) {
               { t == u } -> std::convertible_to<bool>;
             })
  friend constexpr bool operator==(const Result& a, const U& value) {
    return a.ok() && a.value_.value == value;
  }
  // Whatever the message.
  friend constexpr bool operator==(const Result& a, Code code) { return a.code() == code; }
};

// Success without a value, or an Error. Made as success: `return {};`.
template <>
class [[nodiscard]] Result<void> : public result_internal::Base<result_internal::Void> {
 public:
  using value_type = void;

  constexpr Result() noexcept : Base(std::in_place) {}
  constexpr Result(Error error) noexcept : Base(std::move(error)) {}
  constexpr Result(Code code) noexcept : Base(Error{code}) {}

  static Result FromStatus(const absl::Status& status) {
    return status.ok() ? Result() : Result(result_internal::FromStatus(status));
  }

  constexpr void value() const { CheckOk(); }

  friend constexpr bool operator==(const Result& a, const Result& b) {
    return a.ok() ? b.ok() : !b.ok() && a.error_ == b.error_;
  }
  friend constexpr bool operator==(const Result& a, Code code) { return a.code() == code; }
};

constexpr std::optional<Code> CodeFromErrno(int number) {
  if (number != 0 && (number < 0 || number > 133 || number == 41 || number == 58)) return std::nullopt;
  return static_cast<Code>(number);
}
constexpr std::string_view CodeName(Code code) { return result_internal::kInfo[static_cast<uint8_t>(code)].name; }
constexpr std::string_view CodeDescription(Code code) {
  return result_internal::kInfo[static_cast<uint8_t>(code)].description;
}

}  // namespace hotpath

#endif  // HOTPATH_CORE_RESULT_H_
