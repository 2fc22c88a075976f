#include "tools/replay/strace_decoder.h"

#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/replay/strace_symbols.h"

namespace hotpath::replay {
namespace {

using Kind = Arg::Kind;

constexpr int kMaxDepth = 64;
constexpr size_t kSearches = 8;  // of a whole line, for something that is not there, before it is given up
constexpr std::string_view kWroteBack = "=>";

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsNameStart(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool IsName(char c) { return IsNameStart(c) || IsDigit(c); }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool StraceDecoder::FailAt(const char* begin, const char* end, std::string_view what) {
  problem_.what.assign(what);
  problem_.begin = static_cast<size_t>(begin - text_.data());
  problem_.end = static_cast<size_t>(end - text_.data());
  return false;
}

std::string_view StraceDecoder::TakeName() {
  const char* begin = p_;
  if (p_ != end_ && IsNameStart(*p_)) {
    while (p_ != end_ && IsName(*p_)) ++p_;
  }
  return Since(begin);
}

bool StraceDecoder::Name(Record* out) {
  const std::string_view name = TakeName();
  if (name.empty() || !Take("(")) {
    p_ = text_.data();
    return Fail("not a line of strace");
  }
  out->name.assign(name);
  return true;
}

bool StraceDecoder::Call(Record* out) {
  bool unfinished = false;
  return Name(out) && Arguments(out, /*open=*/false, &unfinished) && Result(out, unfinished);
}

bool StraceDecoder::OpenCall(Record* out) {
  bool unfinished = false;
  return Name(out) && Arguments(out, /*open=*/true, &unfinished);
}

// The list after "(", up to and with ")".  strace ends the list of a call that does not return with
// " <unfinished ...>)".
bool StraceDecoder::Arguments(Record* out, bool open, bool* unfinished) {
  open_ = open;
  stack_.clear();
  bool expected = false;  // after a comma
  for (;;) {
    while (Peek() == ' ') ++p_;
    if (p_ == end_ && open) break;
    if (Take(kUnfinished)) {
      if (!Take(")")) return Fail("\")\" expected after <unfinished ...>");
      *unfinished = true;
      break;
    }
    if (Peek() == ')' && !expected) {
      if (open) return Fail("result missing");
      ++p_;
      break;
    }
    Arg arg;
    if (!Argument(out->name, stack_.size(), &arg)) return false;
    stack_.push_back(std::move(arg));
    expected = Take(",");
    while (Peek() == ' ') ++p_;
    if (!expected && Peek() != ')' && !At(kUnfinished) && !(p_ == end_ && open)) {
      return Fail(absl::StrCat("\", \" or \")\" expected after argument ", stack_.size(), " of ", out->name));
    }
  }
  out->args.assign(std::make_move_iterator(stack_.begin()), std::make_move_iterator(stack_.end()));
  stack_.clear();
  return true;
}

bool StraceDecoder::Argument(const std::string& call, size_t index, Arg* out) {
  FieldName(&out->name);
  const char* begin = p_;
  uninterpreted_ = false;
  if (Value(out)) return true;
  // Asked for only where there is a problem: the table is then searched once for an argument, not once for a name.
  if (IsUninterpreted(call, index)) {
    p_ = begin;
    std::string name = std::move(out->name);
    *out = Arg();
    out->name = std::move(name);
    depth_ = 0;
    in_array_ = false;
    stack_.resize(index);
    uninterpreted_ = true;
    const bool ok = Value(out);
    uninterpreted_ = false;
    if (ok) return true;
  }
  problem_.what = absl::StrCat("argument ", index + 1, " of ", call, ": ", problem_.what);
  return false;
}

// A value, and what strace may append to any value.  Where nobody looks, anything balanced will do.
bool StraceDecoder::Value(Arg* out) {
  const char* begin = p_;
  const int depth = depth_;
  const bool in_array = in_array_, uninterpreted = uninterpreted_;
  const size_t items = stack_.size();
  if (depth_ == kMaxDepth) return Fail(absl::StrCat("nested deeper than ", kMaxDepth));
  ++depth_;
  bool ok = true;
  if (At("/*")) {  // /* bytes 8..15 */ "\x01"
    std::string_view comment;
    ok = Comment(&comment);
    while (Peek() == ' ') ++p_;
  }
  ok = ok && Primary(out) && Suffixes(out);
  // 1/30 begins as a number does.
  if (ok && uninterpreted && p_ != end_ && !absl::StrContains(" ,)]}", *p_)) ok = false;
  depth_ = depth;
  if (ok || !uninterpreted || wasted_ > kSearches * text_.size()) return ok;
  p_ = begin;
  in_array_ = in_array;
  uninterpreted_ = uninterpreted;
  stack_.resize(items);
  std::string name = std::move(out->name);
  *out = Arg();
  out->name = std::move(name);
  return Opaque(out);
}

bool StraceDecoder::Primary(Arg* out) {
  const char* begin = p_;
  switch (Peek()) {
    case '"':
      return String(out);
    case '@':  // an abstract socket's name begins with a zero byte
      ++p_;
      out->text.push_back('\0');
      return String(out);
    case '{':
      ++p_;
      out->kind = Kind::kStruct;
      return Items('}', out);
    case '~':
      ++p_;
      if (Peek() != '[') return Fail("\"[\" expected after \"~\"");
      out->complemented = true;
      [[fallthrough]];
    case '[':
      ++p_;
      out->kind = Kind::kArray;
      return Items(']', out);
    case '.':
    case '?':
      if (!Take("...") && !Take("???")) return Fail("not a value");
      out->kind = Kind::kElided;
      out->text.assign(Since(begin));
      return true;
    case '<': {  // restart_syscall(<... resuming interrupted read ...>)
      constexpr std::string_view kEnd = " ...>";
      if (!At("<... resuming interrupted ")) return Fail("not a value");
      const size_t at = Rest().find(kEnd);
      if (at == std::string_view::npos) return FailSearch(p_, "\" ...>\" missing");
      p_ += at + kEnd.size();
      out->kind = Kind::kElided;
      out->text.assign(Since(begin));
      return true;
    }
    case '\'':
      return Character(out);
    case '&':  // inet_pton(AF_INET6, "::1", &sin6_addr)
      ++p_;
      if (TakeName().empty()) return Fail("name expected after \"&\"");
      out->kind = Kind::kInteger;
      out->symbolic = true;
      out->text.assign(Since(begin));
      return true;
    default:
      break;
  }
  if (IsNameStart(Peek())) {
    const std::string_view name = TakeName();
    if (Peek() == '(') return Function(name, out);
    p_ = begin;
  }
  return Integer(out);
}

bool StraceDecoder::Suffixes(Arg* out) {
  for (;;) {
    if (At(" /*")) {
      ++p_;
      std::string_view comment;
      if (!Comment(&comment)) return false;
    } else if (At(" => ")) {
      p_ += 4;
      Arg after;
      if (!Value(&after)) return false;
      after.name.assign(kWroteBack);
      out->items.push_back(std::move(after));
    } else if (Peek() == '|' && out->kind == Kind::kStruct && out->items.size() == 1 &&
               out->items[0].kind == Kind::kCall) {  // {WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP}|PTRACE_EVENT_EXEC<<16
      ++p_;
      int64_t more = 0;
      Arg event;
      const bool outer = std::exchange(uninterpreted_, true);
      if (!Term(&more, &event)) return false;
      uninterpreted_ = outer;
      out->items[0].number |= more;
      out->items[0].unresolved = event.unresolved;
    } else {
      return true;
    }
  }
}

// Whatever stands there up to the end of the argument, quotes and brackets being respected.
bool StraceDecoder::Opaque(Arg* out) {
  const char* begin = p_;
  size_t opened = 0;
  for (; p_ != end_; ++p_) {
    switch (*p_) {
      case '"':
        for (++p_; p_ != end_ && *p_ != '"'; ++p_) {
          if (*p_ == '\\' && p_ + 1 != end_) ++p_;
        }
        if (p_ == end_) return FailSearch(begin, "closing quote missing");
        break;
      case '(':
      case '[':
      case '{':
        ++opened;
        break;
      case ')':
      case ']':
      case '}':
        if (opened > 0) {
          --opened;
          break;
        }
        [[fallthrough]];
      case ',':
        if (opened > 0) break;
        if (p_ == begin) return Fail("value missing");
        out->kind = Kind::kElided;
        out->text.assign(Since(begin));
        return true;
      default:
        break;
    }
  }
  return FailSearch(begin, "argument without an end");
}

// The rest of a group after its opening bracket, up to and with `close`.  Commas separate; sets use single spaces.
bool StraceDecoder::Items(char close, Arg* out) {
  const char* begin = p_ - 1;
  const size_t base = stack_.size();
  const bool outer_array = std::exchange(in_array_, close == ']');
  bool expected = false;
  for (;;) {
    if (p_ == end_) {
      if (!open_) return FailAt(begin, end_, absl::StrCat("\"", std::string(1, close), "\" missing"));
      out->truncated = true;
      break;
    }
    if (*p_ == close && !expected) {
      ++p_;
      break;
    }
    if (Take("...")) {
      out->truncated = true;
    } else {
      Arg item;
      FieldName(&item.name);
      const bool outer = uninterpreted_;
      if (!item.name.empty() && IsUninterpretedField(item.name)) uninterpreted_ = true;
      if (!Value(&item)) return false;
      uninterpreted_ = outer;
      stack_.push_back(std::move(item));
    }
    expected = Take(",");
    if (Peek() == ' ') {
      ++p_;
      expected = true;
    }
    if (!expected && p_ != end_ && *p_ != close) {
      return Fail(absl::StrCat("\", \" or \"", std::string(1, close), "\" expected"));
    }
  }
  in_array_ = outer_array;
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(base);
  out->items.assign(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
  stack_.erase(first, stack_.end());
  return true;
}

// st_mode=, c_cc[VMIN]=, [VMIN]=; takes nothing if no name stands here.
void StraceDecoder::FieldName(std::string* out) {
  const char* q = p_;
  if (q != end_ && IsNameStart(*q)) {
    while (q != end_ && (IsName(*q) || *q == '.')) ++q;
  } else if (q == end_ || *q != '[') {
    return;
  }
  if (q != end_ && *q == '[') {
    ++q;
    while (q != end_ && IsName(*q)) ++q;
    if (q == end_ || *q != ']') return;
    ++q;
  }
  if (q == end_ || *q != '=') return;
  out->assign(p_, static_cast<size_t>(q - p_));
  p_ = q + 1;
}

bool StraceDecoder::String(Arg* out) {
  const char* begin = p_;
  if (!Take("\"")) return Fail("opening quote missing");
  out->kind = Kind::kString;
  for (;;) {
    const char* plain = p_;
    while (p_ != end_ && *p_ != '"' && *p_ != '\\') ++p_;
    out->text.append(plain, static_cast<size_t>(p_ - plain));
    if (p_ == end_) return FailSearch(begin, "closing quote missing");
    if (*p_ == '"') break;
    if (!Escape(&out->text)) return false;
  }
  ++p_;
  out->truncated = Take("...");
  return true;
}

// One of \n \t \r \f \v \" \\ \74 \xff, as strace writes them.
bool StraceDecoder::Escape(std::string* out) {
  const char* begin = p_++;
  const char c = Peek();
  switch (c) {
    case 'n':
      out->push_back('\n');
      break;
    case 't':
      out->push_back('\t');
      break;
    case 'r':
      out->push_back('\r');
      break;
    case 'f':
      out->push_back('\f');
      break;
    case 'v':
      out->push_back('\v');
      break;
    case '"':
    case '\\':
    case '\'':
      out->push_back(c);
      break;
    case 'x': {
      const int high = HexDigit(Peek(1)), low = HexDigit(Peek(2));
      if (high < 0 || low < 0) return FailAt(begin, end_, "not an escape sequence");
      out->push_back(static_cast<char>(high * 16 + low));
      p_ += 2;
      break;
    }
    default: {
      int value = 0, digits = 0;
      while (digits < 3 && Peek() >= '0' && Peek() <= '7') {
        value = value * 8 + (*p_ - '0');
        ++p_;
        ++digits;
      }
      if (digits == 0 || value > 255) return FailAt(begin, end_, "not an escape sequence");
      out->push_back(static_cast<char>(value));
      return true;
    }
  }
  ++p_;
  return true;
}

bool StraceDecoder::Character(Arg* out) {
  const char* begin = p_++;
  std::string byte;
  if (Peek() == '\\') {
    if (!Escape(&byte)) return false;
  } else if (p_ != end_) {
    byte.push_back(*p_++);
  }
  if (!Take("'")) return FailAt(begin, end_, "closing quote missing");
  out->kind = Kind::kInteger;
  out->number = static_cast<unsigned char>(byte[0]);
  out->symbolic = true;
  out->text.assign(Since(begin));
  return true;
}

// makedev(0xfe, 0) after its name.
bool StraceDecoder::Function(std::string_view name, Arg* out) {
  const char* begin = name.data();
  out->kind = Kind::kCall;
  if (At("(s)")) {
    p_ = begin;
    if (!WaitStatus(out)) return false;
  } else {
    ++p_;
    if (!Items(')', out)) return false;
    const std::vector<Arg>& items = out->items;
    const auto number = [&items](size_t i) { return static_cast<unsigned>(items[i].number); };
    if (name == "makedev" && items.size() == 2) {
      out->number = static_cast<int64_t>(makedev(number(0), number(1)));
    } else if ((name == "htons" || name == "htonl") && items.size() == 1) {
      out->number = items[0].number;
    } else if (name == "_IOC" && items.size() == 4) {
      out->number = static_cast<int64_t>(_IOC(number(0), number(1), number(2), number(3)));
    }
  }
  if (out->name.empty()) out->name.assign(name);
  out->text.assign(Since(begin));
  return true;
}

bool StraceDecoder::StatusSignal(int* out) {
  const char* begin = p_;
  std::optional<int> signal;
  if (IsDigit(Peek())) {
    int64_t number = 0;
    if (!Number(&number)) return false;
    if (number <= 127) signal = static_cast<int>(number);
  } else {
    signal = SignalNumber(TakeName());
  }
  if (!signal) return FailAt(begin, end_, "unknown signal");
  *out = *signal;
  return true;
}

bool StraceDecoder::ExitStatus(int64_t* out) {
  const char* begin = p_;
  if (!Number(out)) return false;
  return (*out >= 0 && *out <= 255) || FailAt(begin, end_, "not an exit status");
}

bool StraceDecoder::WaitStatus(Arg* out) {
  int64_t exit = 0;
  int signal = 0;
  if (Take("WIFEXITED(s) && WEXITSTATUS(s) == ")) {
    if (!ExitStatus(&exit)) return false;
    out->number = exit << 8;
  } else if (Take("WIFSIGNALED(s) && WTERMSIG(s) == ")) {
    if (!StatusSignal(&signal)) return false;
    out->number = signal | (Take(" && WCOREDUMP(s)") ? 0x80 : 0);
  } else if (Take("WIFSTOPPED(s) && WSTOPSIG(s) == ")) {
    if (!StatusSignal(&signal)) return false;
    if (Take(" | 0x80")) signal |= 0x80;
    out->number = signal << 8 | 0x7f;
  } else if (Take("WIFCONTINUED(s)")) {
    out->number = 0xffff;
  } else {
    return Fail("not a wait status");
  }
  return true;
}

// Terms joined by "|", "A or B" where a request has two names, a -y annotation, a comment.
bool StraceDecoder::Integer(Arg* out) {
  const char* begin = p_;
  out->kind = Kind::kInteger;
  std::string_view comment;
  for (;;) {
    int64_t value = 0;
    if (!Term(&value, out)) return false;
    out->number |= value;
    while (out->symbolic && At(" or ")) {  // the first name with a value wins
      p_ += 4;
      int64_t second = 0;
      Arg other;
      if (!Term(&second, &other)) return false;
      if (out->unresolved && !other.unresolved) {
        out->number = second;
        out->unresolved = false;
      }
    }
    const std::string_view spelled = Since(begin);
    if (At(" /*")) {  // 0x8 /* CLONE_??? */|SIGCHLD
      ++p_;
      if (!Comment(&comment)) return false;
    }
    if (Peek() == '|') {
      ++p_;
      continue;
    }
    if (out->symbolic) out->text.assign(spelled);
    break;
  }
  if (!comment.empty() && !out->symbolic) {
    // 0x7ffc44b8fd80 /* 4 vars */, 0x559860efc2d0 /* 8 entries */: the structure itself was left out.
    std::string_view words = comment;
    words.remove_prefix(std::min(words.find_first_not_of("/* 0123456789"), words.size()));
    if (words == "vars */" || words == "var */" || words == "entries */" || words == "entry */") {
      out->kind = Kind::kElided;
      out->text.assign(comment);
    }
    return true;
  }
  if (Peek() == '<') return Annotation(&out->annotation, &out->deleted);
  return true;
}

// 8192*1024, 5 * sizeof(struct ifreq), 21<<MAP_HUGE_SHIFT
bool StraceDecoder::Term(int64_t* value, Arg* out) {
  const char* begin = p_;
  if (!Factor(value, out)) return false;
  for (;;) {
    const bool times = Take("*") || Take(" * ");
    if (!times && !Take("<<")) return true;
    int64_t by = 0;
    if (!Factor(&by, out)) return false;
    if (times ? __builtin_mul_overflow(*value, by, value) : by < 0 || by > 63) {
      return FailAt(begin, p_, "number too large");
    }
    if (!times) *value = static_cast<int64_t>(static_cast<uint64_t>(*value) << by);
  }
}

bool StraceDecoder::Factor(int64_t* value, Arg* out) {
  const bool negative = Peek() == '-';
  const char* begin = p_;
  if (negative && IsNameStart(Peek(1))) {
    ++p_;
    if (!Symbol(TakeName(), value, out)) return false;
    *value = static_cast<int64_t>(0 - static_cast<uint64_t>(*value));
    return true;
  }
  if (IsDigit(Peek(negative ? 1 : 0))) return Number(value);
  const std::string_view name = TakeName();
  if (name.empty()) return FailAt(begin, end_, p_ == end_ ? "value missing" : "not a value");
  if (name == "sizeof" && Take("(struct ifreq)")) {
    out->symbolic = true;
    *value = 40;
    return true;
  }
  return Symbol(name, value, out);
}

// Decimal, octal after 0, or hexadecimal after 0x.  Between INT64_MIN and UINT64_MAX; the upper half wraps.
bool StraceDecoder::Number(int64_t* value) {
  const char* begin = p_;
  const bool negative = Take("-");
  uint64_t base = 10;
  if (Peek() == '0' && Peek(1) == 'x') {
    base = 16;
    p_ += 2;
  } else if (Peek() == '0') {
    base = 8;
  }
  const char* digits = p_;
  uint64_t magnitude = 0;
  bool overflow = false;
  for (; p_ != end_; ++p_) {
    const int digit = HexDigit(*p_);
    if (digit < 0 || digit >= static_cast<int>(base)) break;
    overflow |= __builtin_mul_overflow(magnitude, base, &magnitude);
    overflow |= __builtin_add_overflow(magnitude, static_cast<uint64_t>(digit), &magnitude);
  }
  if (p_ == digits || (p_ != end_ && (IsName(*p_) || *p_ == '.'))) {
    return FailAt(begin, end_, "not a number");
  }
  constexpr uint64_t kMostNegative = uint64_t{1} << 63;
  if (overflow || (negative && magnitude > kMostNegative)) return FailAt(begin, p_, "number too large");
  *value = static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
  return true;
}

bool StraceDecoder::Symbol(std::string_view name, int64_t* value, Arg* out) {
  out->symbolic = true;
  if (const std::optional<int64_t> known = SymbolValue(name)) {
    *value = *known;
    return true;
  }
  if (in_array_) {
    if (const std::optional<int> signal = SignalNumber(name)) {
      *value = *signal;
      return true;
    }
  }
  if (!uninterpreted_) return FailAt(name.data(), name.data() + name.size(), "unknown constant");
  out->unresolved = true;
  *value = 0;
  return true;
}

// What -y wrote after a descriptor: </path>, </dev/null<char 1:3>>, <pipe:[7]>, <TCP:[a->b]>, <UNIX-STREAM:[1,"/x"]>.
// In paths strace escapes < and >; between the brackets of the others it does not.
bool StraceDecoder::Annotation(std::string* out, bool* deleted) {
  const char* begin = p_++;
  const char* q = p_;
  while (q != end_ && (IsName(*q) || *q == '-' || *q == '+')) ++q;
  const bool bracketed = q != p_ && q != end_ && *q == ':' && q + 1 != end_ &&
                         (q[1] == '[' || (q[1] == '~' && q + 2 != end_ && q[2] == '['));
  size_t opened = 0;
  bool quoted = false;
  for (;; ++p_) {
    if (p_ == end_) return FailSearch(begin, "\">\" missing after a descriptor");
    const char c = *p_;
    if (c == '\\') {
      if (!Escape(out)) return false;
      --p_;
      continue;
    }
    if (c == '"' && bracketed) {
      quoted = !quoted;
    } else if (quoted) {
      // brackets in a socket's path do not count
    } else if (c == (bracketed ? '[' : '<')) {
      ++opened;
    } else if (c == ']' && bracketed && opened > 0) {
      --opened;
    } else if (c == '>' && !(bracketed && opened > 0)) {
      if (bracketed || opened == 0) break;
      --opened;
    }
    out->push_back(c);
  }
  ++p_;
  *deleted = Take("(deleted)");
  return true;
}

// /* ... */; `out` is all of it.
bool StraceDecoder::Comment(std::string_view* out) {
  const char* begin = p_;
  const size_t close = Rest().find("*/", 2);
  if (close == std::string_view::npos) return FailSearch(begin, "\"*/\" missing");
  p_ += close + 2;
  *out = Since(begin);
  return true;
}

// " = 3</path> <0.000004>" and its kin, to the end of the text.
bool StraceDecoder::Result(Record* out, bool unfinished) {
  while (Peek() == ' ') ++p_;
  if (!Take("= ")) return Fail(p_ == end_ ? "result missing" : "\"= \" expected before the result");
  // The time spent is the last thing on the line.
  std::string_view rest = Rest();
  if (rest.ends_with('>')) {
    const size_t open = rest.rfind(" <");
    const std::string_view inner =
        open == std::string_view::npos ? std::string_view() : rest.substr(open + 2, rest.size() - open - 3);
    if (ParseSeconds(inner, &out->duration)) {
      rest.remove_suffix(rest.size() - open);
      end_ = p_ + rest.size();
    }
  }
  if (Take("?")) {
    out->outcome = Record::Outcome::kNeverReturned;
    if (p_ == end_ || (At(" <unavailable>") && end_ - p_ == 14)) return true;
    if (!Take(" ") || unfinished) return Fail("not a result");
    const char* const name = p_;
    const std::optional<int> number = RestartNumber(TakeName());
    if (!number) return FailAt(name, end_, "not a result");
    out->outcome = Record::Outcome::kRestarted;
    out->result = -1;
    out->err = *number;
    return Note(out);
  }
  if (unfinished) return Fail("a call that is unfinished has no result");
  const char* begin = p_;
  if (!Number(&out->result)) return false;
  if (Peek() == '<') {
    bool deleted = false;
    if (!Annotation(&out->result_note, &deleted)) return false;
    if (deleted) out->result_note += "(deleted)";
  }
  if (p_ == end_) return true;
  if (!Take(" ")) return FailAt(begin, end_, "not a result");
  if (IsNameStart(Peek())) {
    const char* const name = p_;
    const std::optional<int> number = ErrnoNumber(TakeName());
    if (!number) return FailAt(name, end_, "unknown errno");
    if (out->result != -1) return FailAt(begin, end_, "an errno without -1");
    out->err = *number;
    return Note(out);
  }
  constexpr std::string_view kNumbered = "(errno ";
  if (At(kNumbered) && out->result == -1) {
    p_ += kNumbered.size();
    int64_t number = 0;
    if (!Number(&number)) return false;
    if (number < 1 || number > 4095 || !Take(")") || p_ != end_) return FailAt(begin, end_, "not a result");
    out->err = static_cast<int>(number);
    return true;
  }
  --p_;
  return Note(out);
}

// " (No such file or directory)"
bool StraceDecoder::Note(Record* out) {
  std::string_view rest = Rest();
  if (!rest.starts_with(" (") || !rest.ends_with(')')) return Fail("not a result");
  rest = rest.substr(2, rest.size() - 3);
  if (rest.starts_with("INJECTED") || rest.find(") (INJECTED") != std::string_view::npos) {
    return Fail("result altered by strace -e inject");
  }
  if (out->result_note.empty()) out->result_note.assign(rest);
  return true;
}

bool StraceDecoder::Signal(Record* out) {
  if (!Take("--- ")) return Fail("not a line of strace");
  out->kind = Record::Kind::kSignal;
  if (Take("stopped by ")) out->kind = Record::Kind::kStopped;
  const char* begin = p_;
  int number = 0;
  if (!StatusSignal(&number)) return false;
  out->name.assign(Since(begin));
  out->result = number;
  if (out->kind == Record::Kind::kSignal && Take(" ") && Peek() == '{') {
    out->args.emplace_back();
    if (!Value(&out->args[0])) return false;
  } else if (out->kind == Record::Kind::kSignal) {
    return Fail("\"{\" expected after the signal");
  }
  if (!At(" ---") || end_ - p_ != 4) return Fail("\" ---\" expected");
  return true;
}

bool StraceDecoder::End(Record* out) {
  if (Take("+++ exited with ")) {
    out->kind = Record::Kind::kExited;
    if (!ExitStatus(&out->result)) return false;
  } else if (Take("+++ killed by ")) {
    out->kind = Record::Kind::kKilled;
    const char* begin = p_;
    int number = 0;
    if (!StatusSignal(&number)) return false;
    out->name.assign(Since(begin));
    out->result = number;
    if (Take(" (core dumped)")) out->result_note = "core dumped";
  } else {
    return Fail("not a line of strace");
  }
  if (!At(" +++") || end_ - p_ != 4) return Fail("\" +++\" expected");
  return true;
}

std::optional<int32_t> StraceDecoder::SupersededBy() {
  int64_t pid = 0;
  if (!Take("+++ superseded by execve in pid ") || !Number(&pid)) return std::nullopt;
  if (pid < 1 || pid > std::numeric_limits<int32_t>::max() || !At(" +++") || end_ - p_ != 4) return std::nullopt;
  return static_cast<int32_t>(pid);
}

bool ParseSeconds(std::string_view text, double* seconds) {
  if (text.empty() || text.size() > 30 || !IsDigit(text.front()) || !IsDigit(text.back())) return false;
  if (text.find_first_not_of("0123456789.") != std::string_view::npos) return false;
  return absl::SimpleAtod(absl::string_view(text.data(), text.size()), seconds);
}

const Arg* Arg::Find(std::string_view field) const {
  for (const Arg& item : items) {
    if (item.name == field) return &item;
  }
  return nullptr;
}

}  // namespace hotpath::replay
