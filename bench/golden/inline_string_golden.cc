#include <string_view>
#include <utility>

#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/inline_string.h"

namespace hotpath::bench {

void AddGoldenPaths(GoldenPaths& paths) {
  const std::string_view kText = "no such file or dir, 23";  // as long as fits
  const auto text = Isolated<std::string_view>(kText);
  const auto string = Isolated<InlineString>(kText), other = Isolated<InlineString>(kText);
  paths.Add("InlineString(string_view), 23 bytes", [text] { Keep(InlineString(*text)); });
  paths.Add("InlineString copy, 23 bytes", [string] { Keep(InlineString(*string)); });
  paths.Add("InlineString move, 23 bytes", [string] {
    InlineString moved(std::move(*string));
    Keep(moved);
    *string = std::move(moved);
  });
  paths.Add("InlineString ==, 23 bytes", [string, other] { Keep(*string == *other); });
  const auto heap = Isolated<InlineString>("one that is longer than any that fits");
  paths.Add("InlineString copy, 37 bytes", [heap] { Keep(InlineString(*heap)); });
}

}  // namespace hotpath::bench
