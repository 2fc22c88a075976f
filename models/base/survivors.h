#ifndef HOTPATH_MODELS_BASE_SURVIVORS_H_
#define HOTPATH_MODELS_BASE_SURVIVORS_H_

#include <istream>
#include <map>
#include <string>

namespace hotpath::model {

// The mutants that may survive, and why: what models/survivors.txt says. Its format is explained at its top.
class Survivors {
 public:
  // "" or what is wrong, from the line number on.
  std::string Read(std::istream& file);

  // The argument for the mutant of that key, or null.
  const std::string* Argument(const std::string& key) const;

  // Arguments by key.
  const std::map<std::string, std::string>& all() const { return arguments_; }

 private:
  std::map<std::string, std::string> arguments_;
};

}  // namespace hotpath::model

#endif  // HOTPATH_MODELS_BASE_SURVIVORS_H_
