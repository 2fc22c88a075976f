#include "tools/replay/record_fields.h"

#include <sched.h>
#include <signal.h>
#include <sys/sysmacros.h>

#include <cstddef>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace hotpath::replay {
namespace {

const std::string& EmptyString() {
  static const auto* const kEmpty = new std::string;
  return *kEmpty;
}

const std::vector<Arg>& NoItems() {
  static const auto* const kNone = new std::vector<Arg>;
  return *kNone;
}

// A device number, printed as makedev(0xfe, 0).
std::optional<uint64_t> Device(const Arg& arg) {
  if (arg.kind != Arg::Kind::kInteger && arg.kind != Arg::Kind::kCall) return std::nullopt;
  return static_cast<uint64_t>(arg.number);
}

const Arg* FindDeep(const Arg& arg, absl::string_view name) {
  if (arg.name == name) return &arg;
  for (const Arg& item : arg.items) {
    if (const Arg* found = FindDeep(item, name); found != nullptr) return found;
  }
  return nullptr;
}

}  // namespace

std::optional<uint64_t> SignalSetOf(const Arg& arg) {
  uint64_t set = 0;
  for (const Arg& item : arg.items) {
    if (item.name == "=>") continue;
    if (item.kind != Arg::Kind::kInteger || item.number < 1 || item.number > 64) return std::nullopt;
    set |= uint64_t{1} << (item.number - 1);
  }
  return arg.complemented ? ~set : set;
}

std::vector<const Arg*> ReceivedDescriptors(const Arg& message) {
  std::vector<const Arg*> fds;
  const Arg* type = FindDeep(message, "cmsg_type");
  const Arg* data = FindDeep(message, "cmsg_data");
  if (type == nullptr || data == nullptr || type->text != "SCM_RIGHTS") return fds;
  for (const Arg& fd : data->items) fds.push_back(&fd);
  return fds;
}

FdNote ParseFdNote(absl::string_view annotation, bool deleted) {
  FdNote note;
  if (annotation.empty()) return note;
  note.present = true;
  note.deleted = deleted;
  note.text = std::string(annotation);
  if (annotation.front() != '/') {
    note.is_pipe = absl::ConsumePrefix(&annotation, "pipe:[");
    return note;
  }
  if (annotation.back() == '>') {  // </dev/null<char 1:3>>
    const size_t open = annotation.rfind('<');
    if (open != absl::string_view::npos) {
      const std::vector<absl::string_view> device =
          absl::StrSplit(annotation.substr(open + 1, annotation.size() - open - 2), absl::ByAnyChar(" :"));
      unsigned major = 0, minor = 0;
      if (device.size() == 3 && absl::SimpleAtoi(device[1], &major) && absl::SimpleAtoi(device[2], &minor)) {
        note.rdev = makedev(major, minor);
        annotation = annotation.substr(0, open);
      }
    }
  }
  note.path = std::string(annotation);
  return note;
}

void Fields::Fail(size_t i, absl::string_view wanted) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(
      absl::StrCat(trace_.file, ":", record_.line, ": ", record_.name, ": argument ", i + 1, " is not ", wanted));
}

const Arg& Fields::At(size_t i) {
  static const auto* const kMissing = new Arg;
  if (i < record_.args.size()) return record_.args[i];
  Fail(i, "there");
  return *kMissing;
}

int64_t Fields::Int(size_t i) {
  const Arg& arg = At(i);
  if (arg.kind == Arg::Kind::kInteger) return arg.number;
  Fail(i, "an integer");
  return 0;
}

int64_t Fields::IntOr(size_t i, int64_t otherwise) const {
  if (i >= record_.args.size() || record_.args[i].kind != Arg::Kind::kInteger) return otherwise;
  return record_.args[i].number;
}

bool Fields::IsNull(size_t i) const {
  return i < record_.args.size() && record_.args[i].kind == Arg::Kind::kInteger && record_.args[i].number == 0;
}

const std::string& Fields::Path(size_t i) {
  const Arg& arg = At(i);
  if (arg.kind == Arg::Kind::kString) return arg.text;
  Fail(i, "a path");
  return EmptyString();
}

FdNote Fields::Note(size_t i) const {
  if (i >= record_.args.size()) return {};
  return ParseFdNote(record_.args[i].annotation, record_.args[i].deleted);
}

FdNote Fields::ResultNote() const {
  absl::string_view text = record_.result_note;
  const bool deleted = absl::ConsumeSuffix(&text, "(deleted)");
  return ParseFdNote(text, deleted);
}

bool Fields::IsStruct(size_t i) const { return i < record_.args.size() && record_.args[i].kind == Arg::Kind::kStruct; }

const std::vector<Arg>& Fields::Items(size_t i) {
  const Arg& arg = At(i);
  if (arg.kind == Arg::Kind::kArray) return arg.items;
  Fail(i, "an array");
  return NoItems();
}

int64_t Fields::Field(size_t i, absl::string_view name) {
  const Arg& arg = At(i);
  const Arg* field = arg.kind == Arg::Kind::kStruct ? arg.Find(std::string_view(name.data(), name.size())) : nullptr;
  if (field != nullptr && field->kind == Arg::Kind::kInteger) return field->number;
  Fail(i, absl::StrCat("a struct with an integer ", name));
  return 0;
}

int64_t Fields::FieldOr(size_t i, absl::string_view name, int64_t otherwise) const {
  if (!IsStruct(i)) return otherwise;
  const Arg* field = record_.args[i].Find(std::string_view(name.data(), name.size()));
  return field != nullptr && field->kind == Arg::Kind::kInteger ? field->number : otherwise;
}

ShownStat Fields::Stat(size_t i) {
  ShownStat out;
  const Arg& arg = At(i);
  if (arg.kind != Arg::Kind::kStruct) {
    Fail(i, "a stat structure");
    return out;
  }
  for (const Arg& field : arg.items) {
    absl::string_view name = field.name;
    if (!absl::ConsumePrefix(&name, "st_") && !absl::ConsumePrefix(&name, "stx_")) continue;
    if (name == "dev") {
      out.dev = Device(field);
    } else if (name == "rdev") {
      out.rdev = Device(field);
    } else if (field.kind != Arg::Kind::kInteger) {
      continue;
    } else if (name == "ino") {
      out.ino = static_cast<uint64_t>(field.number);
    } else if (name == "mode") {
      out.mode = static_cast<uint32_t>(field.number);
    } else if (name == "nlink") {
      out.nlink = static_cast<uint32_t>(field.number);
    } else if (name == "uid") {
      out.uid = static_cast<uint32_t>(field.number);
    } else if (name == "gid") {
      out.gid = static_cast<uint32_t>(field.number);
    } else if (name == "size") {
      out.size = field.number;
    }
  }
  return out;
}

ShownDirents Fields::Dirents(size_t i) {
  ShownDirents out;
  const Arg& arg = At(i);
  if (arg.kind != Arg::Kind::kArray) {  // 0x55d0 /* 8 entries */
    absl::string_view text = arg.text;
    const size_t open = text.find("/* ");
    if (open != absl::string_view::npos) {
      text = text.substr(open + 3);
      uint64_t count = 0;
      if (absl::SimpleAtoi(text.substr(0, text.find(' ')), &count)) {
        out.count = count;
        return out;
      }
    }
    Fail(i, "a list of directory entries");
    return out;
  }
  out.named = true;
  for (const Arg& item : arg.items) {
    const Arg* name = item.Find("d_name");
    if (name == nullptr || name->kind != Arg::Kind::kString || name->truncated) {
      Fail(i, "a complete list of directory entries");
      return out;
    }
    ShownDirent entry;
    entry.name = name->text;
    if (const Arg* ino = item.Find("d_ino"); ino != nullptr) entry.ino = static_cast<uint64_t>(ino->number);
    if (const Arg* type = item.Find("d_type"); type != nullptr) entry.type = static_cast<uint8_t>(type->number);
    out.entries.push_back(std::move(entry));
  }
  out.count = out.entries.size();
  return out;
}

std::optional<uint64_t> Fields::SignalSet(size_t i) {
  const Arg& arg = At(i);
  if (arg.kind == Arg::Kind::kInteger || arg.kind == Arg::Kind::kElided) return std::nullopt;
  if (arg.kind != Arg::Kind::kArray) {
    Fail(i, "a signal set");
    return std::nullopt;
  }
  const std::optional<uint64_t> set = SignalSetOf(arg);
  if (!set) Fail(i, "a set of known signals");
  return set;
}

std::optional<ShownAction> Fields::Action(size_t i) {
  const Arg& arg = At(i);
  if (arg.kind == Arg::Kind::kInteger || arg.kind == Arg::Kind::kElided) return std::nullopt;
  const Arg* handler = arg.Find("sa_handler");
  const Arg* flags = arg.Find("sa_flags");
  const Arg* mask = arg.Find("sa_mask");
  if (arg.kind != Arg::Kind::kStruct || handler == nullptr || flags == nullptr || mask == nullptr ||
      mask->kind != Arg::Kind::kArray) {
    Fail(i, "a signal action");
    return std::nullopt;
  }
  ShownAction action;
  action.handler = static_cast<uint64_t>(handler->number);
  action.flags = static_cast<uint64_t>(flags->number);
  const std::optional<uint64_t> set = SignalSetOf(*mask);
  if (!set) Fail(i, "a signal action with a known mask");
  action.mask = set.value_or(0);
  return action;
}

std::optional<int> Fields::WaitStatus(size_t i) {
  const Arg& arg = At(i);
  if (arg.kind == Arg::Kind::kInteger || arg.kind == Arg::Kind::kElided) return std::nullopt;
  const Arg* inner = &arg;  // [{WIFEXITED(s) && WEXITSTATUS(s) == 7}]
  while (inner->kind != Arg::Kind::kCall && !inner->items.empty()) inner = &inner->items[0];
  if (inner->kind != Arg::Kind::kCall) {
    Fail(i, "a wait status");
    return std::nullopt;
  }
  return static_cast<int>(inner->number);
}

int64_t Fields::VectorLength(size_t i) {
  const Arg& vector = At(i);
  if (vector.kind != Arg::Kind::kArray || vector.truncated) return -1;
  int64_t total = 0;
  for (const Arg& item : vector.items) {
    const Arg* length = item.Find("iov_len");
    if (length == nullptr) return -1;
    total += length->number;
  }
  return total;
}

int Fields::SignalNumber(size_t i) {
  const Arg& arg = At(i);
  if (arg.kind == Arg::Kind::kInteger && arg.number >= 0) return static_cast<int>(arg.number);
  Fail(i, "a signal");
  return 0;
}

uint64_t Fields::CloneFlags() {
  if (record_.name == "fork") return SIGCHLD;
  if (record_.name == "vfork") return CLONE_VM | CLONE_VFORK | SIGCHLD;
  if (record_.name == "clone3") {
    return static_cast<uint64_t>(Field(0, "flags")) | static_cast<uint64_t>(FieldOr(0, "exit_signal", 0));
  }
  for (const Arg& arg : record_.args) {
    if (arg.name == "flags" && arg.kind == Arg::Kind::kInteger) return static_cast<uint64_t>(arg.number);
  }
  Fail(0, "followed by clone flags");
  return 0;
}

}  // namespace hotpath::replay
