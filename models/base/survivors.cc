#include "models/base/survivors.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace hotpath::model {

std::string Survivors::Read(std::istream& file) {
  constexpr size_t kShortestArgument = 20;
  std::string line, key;
  const auto argued = [&] { return key.empty() || arguments_[key].size() >= kShortestArgument; };
  int number = 1, key_number = 0;
  for (; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == ' ' && !key.empty()) {
      std::string& argument = arguments_[key];
      absl::StrAppend(&argument, argument.empty() ? "" : " ", absl::string_view(absl::StripAsciiWhitespace(line)));
      continue;
    }
    if (!argued()) break;
    absl::string_view text = line;
    const size_t words = static_cast<std::vector<absl::string_view>>(absl::StrSplit(text, ' ')).size();
    if (!absl::ConsumeSuffix(&text, ":") || words != 5 || !absl::StrContains(text, "->")) {
      return absl::StrCat(number, ": expected 'FILE FUNCTION KIND NUMBER FROM->TO:', got '", line, "'");
    }
    key = std::string(text);
    key_number = number;
    if (!arguments_.emplace(key, "").second) return absl::StrCat(number, ": listed twice: ", key);
  }
  if (!argued()) return absl::StrCat(key_number, ": a survivor needs an argument, in a sentence: ", key);
  return "";
}

const std::string* Survivors::Argument(const std::string& key) const {
  const auto found = arguments_.find(key);
  return found == arguments_.end() ? nullptr : &found->second;
}

}  // namespace hotpath::model
