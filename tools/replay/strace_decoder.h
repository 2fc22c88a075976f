#ifndef HOTPATH_TOOLS_REPLAY_STRACE_DECODER_H_
#define HOTPATH_TOOLS_REPLAY_STRACE_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/replay/strace_parser.h"

namespace hotpath::replay {

// Ends the line of a call that another task's line interrupts, and the arguments of one that does not return.
inline constexpr std::string_view kUnfinished = "<unfinished ...>";

// 12 or 0.000004: digits, with a fraction or not.
bool ParseSeconds(std::string_view text, double* seconds);

// Reads one text from its start: the part of a line, or of the two halves of a split call, that follows the time.
// Every method that returns bool returns false with problem() set when the text is not what it should be.  Reset()
// precedes each; the text must live until problem() has been used.
class StraceDecoder {
 public:
  // A place in the text, and what is wrong with what stands there.
  struct Problem {
    std::string what;
    size_t begin = 0;
    size_t end = 0;
  };

  void Reset(std::string_view text) {
    text_ = text;
    p_ = text.data();
    end_ = text.data() + text.size();
    depth_ = 0;
    in_array_ = false;
    uninterpreted_ = false;
    wasted_ = 0;
    stack_.clear();
  }

  const Problem& problem() const { return problem_; }

  // NAME(ARGS) = RESULT
  bool Call(Record* out);
  // NAME(ARG, ARG: the task died inside the call
  bool OpenCall(Record* out);
  // --- SIGCHLD {...} ---, --- stopped by SIGSTOP ---
  bool Signal(Record* out);
  // +++ exited with 0 +++, +++ killed by SIGKILL (core dumped) +++
  bool End(Record* out);
  // +++ superseded by execve in pid 7 +++: 7; nothing if the text is another
  std::optional<int32_t> SupersededBy();

 private:
  bool Fail(std::string_view what) { return FailAt(p_, end_, what); }
  bool FailAt(const char* begin, const char* end, std::string_view what);
  // The same after a search from `begin` to the end of the text.
  bool FailSearch(const char* begin, std::string_view what) {
    wasted_ += static_cast<size_t>(end_ - begin);
    return FailAt(begin, end_, what);
  }

  char Peek(size_t ahead = 0) const { return static_cast<size_t>(end_ - p_) > ahead ? p_[ahead] : '\0'; }
  bool At(std::string_view s) const {
    return static_cast<size_t>(end_ - p_) >= s.size() && std::memcmp(p_, s.data(), s.size()) == 0;
  }
  bool Take(std::string_view s) {
    if (!At(s)) return false;
    p_ += s.size();
    return true;
  }
  std::string_view Since(const char* begin) const { return std::string_view(begin, static_cast<size_t>(p_ - begin)); }
  std::string_view Rest() const { return std::string_view(p_, static_cast<size_t>(end_ - p_)); }
  std::string_view TakeName();

  bool Name(Record* out);
  bool Arguments(Record* out, bool open, bool* unfinished);
  bool Argument(const std::string& call, size_t index, Arg* out);
  bool Result(Record* out, bool unfinished);
  bool Note(Record* out);

  bool Value(Arg* out);
  bool Primary(Arg* out);
  bool Suffixes(Arg* out);
  bool Opaque(Arg* out);
  bool Items(char close, Arg* out);
  void FieldName(std::string* out);
  bool String(Arg* out);
  bool Escape(std::string* out);
  bool Character(Arg* out);
  bool Function(std::string_view name, Arg* out);
  bool WaitStatus(Arg* out);
  bool StatusSignal(int* out);
  bool ExitStatus(int64_t* out);
  bool Integer(Arg* out);
  bool Term(int64_t* value, Arg* out);
  bool Factor(int64_t* value, Arg* out);
  bool Number(int64_t* value);
  bool Symbol(std::string_view name, int64_t* value, Arg* out);
  bool Annotation(std::string* out, bool* deleted);
  bool Comment(std::string_view* out);

  std::string_view text_;
  const char* p_ = nullptr;
  const char* end_ = nullptr;
  int depth_ = 0;
  bool open_ = false;           // the text may stop after any argument
  bool in_array_ = false;       // names may be those of a signal set
  bool uninterpreted_ = false;  // nobody looks at what is being read
  size_t wasted_ = 0;           // bytes searched in vain; bounds the second tries that uninterpreted_ allows
  std::vector<Arg> stack_;      // items of the groups being read, innermost last
  Problem problem_;
};

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_STRACE_DECODER_H_
