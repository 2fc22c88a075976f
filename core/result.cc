#include "hotpath/core/result.h"

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "hotpath/core/base/check.h"
#include "hotpath/core/inline_string.h"

namespace hotpath::result_internal {
namespace {

// The payload carries the code's number in one byte, because several codes share a StatusCode.
constexpr char kPayload[] = "hotpath/code";

// For a Status that was not made from an Error: a code that ErrnoToStatusCode maps back, where there is one.
Code CodeFromStatusCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kCancelled:
      return Code::kECANCELED;
    case absl::StatusCode::kInvalidArgument:
      return Code::kEINVAL;
    case absl::StatusCode::kDeadlineExceeded:
      return Code::kETIMEDOUT;
    case absl::StatusCode::kNotFound:
      return Code::kENOENT;
    case absl::StatusCode::kAlreadyExists:
      return Code::kEEXIST;
    case absl::StatusCode::kPermissionDenied:
      return Code::kEACCES;
    case absl::StatusCode::kUnauthenticated:
      return Code::kEPERM;
    case absl::StatusCode::kResourceExhausted:
      return Code::kENOSPC;
    case absl::StatusCode::kFailedPrecondition:
      return Code::kEBUSY;
    case absl::StatusCode::kAborted:
      return Code::kEDEADLK;
    case absl::StatusCode::kOutOfRange:
      return Code::kERANGE;
    case absl::StatusCode::kUnimplemented:
      return Code::kENOSYS;
    case absl::StatusCode::kUnavailable:
      return Code::kEAGAIN;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnknown:
    default:
      return Code::kEIO;
  }
}

}  // namespace

void FailNoValue(Code code) noexcept {
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): a literal
  check_internal::Fail(__FILE__, __LINE__, "Result::ok()", CodeName(code).data());
}

absl::Status ToStatus(const Error& error) {
  const char number = static_cast<char>(ToErrno(error.code));
  absl::Status status(absl::ErrnoToStatusCode(ToErrno(error.code)),
                      absl::string_view(error.message.data(), error.message.size()));
  status.SetPayload(kPayload, absl::Cord(absl::string_view(&number, 1)));
  return status;
}

Error FromStatus(const absl::Status& status) {
  HOTPATH_CHECK(!status.ok(), "FromStatus of an OK status: there is no error in it");
  Code code = CodeFromStatusCode(status.code());
  if (const auto payload = status.GetPayload(kPayload); payload && payload->size() == 1) {
    const std::optional<Code> exact = CodeFromErrno(static_cast<unsigned char>((*payload)[0]));
    if (exact && *exact != Code::kOK) code = *exact;
  }
  return {code, std::string_view(status.message().data(), status.message().size())};
}

}  // namespace hotpath::result_internal
