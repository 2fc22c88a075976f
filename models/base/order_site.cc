#include "models/base/order_site.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

namespace hotpath::model {
namespace {

const char* Name(std::memory_order order) {
  switch (order) {
    case std::memory_order::relaxed:
      return "relaxed";
    case std::memory_order::consume:
      return "consume";
    case std::memory_order::acquire:
      return "acquire";
    case std::memory_order::release:
      return "release";
    case std::memory_order::acq_rel:
      return "acq_rel";
    case std::memory_order::seq_cst:
      return "seq_cst";
  }
  return "?";
}

bool IsFence(Kind kind) { return kind >= Kind::kFence; }

// The closing brackets around which a demangled name nests.
constexpr std::string_view kOpen = "(<[{", kClose = ")>]}";

// Where the bracket that closes at `text[close]` opens, or npos.
size_t Opening(std::string_view text, size_t close) {
  const char closing = text[close], opening = kOpen[kClose.find(closing)];
  int depth = 0;
  for (size_t i = close + 1; i-- > 0;) {
    if (text[i] == closing) ++depth;
    if (text[i] == opening && --depth == 0) return i;
  }
  return std::string_view::npos;
}

bool IsIdentifier(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '~';
}

std::string_view Unqualified(std::string_view text) {
  constexpr std::string_view kWhole = "?";
  // " [with T = int]" or " [T = int]", outside of every other bracket.
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (depth == 0 && text.substr(i).starts_with(" [")) {
      text = text.substr(0, i);
      break;
    }
    if (text[i] == '(' || text[i] == '<') ++depth;
    if (text[i] == ')' || (text[i] == '>' && depth > 0)) --depth;
  }
  const size_t last = text.find_last_of(")>");
  if (last == std::string_view::npos) return kWhole;
  if (text[last] == '>' && text.substr(std::min(text.size(), Opening(text, last))).starts_with("<lambda")) {
    return "lambda";  // GCC: "F(int)::<lambda(int)>"
  }
  const size_t end = text.rfind(')');
  if (end == std::string_view::npos) return kWhole;
  size_t open = Opening(text, end);
  if (open == std::string_view::npos) return kWhole;
  text = text.substr(0, open);
  constexpr std::string_view kCall = "operator()";
  if (text.ends_with(
          kCall)) {  // Clang: "F(int)::(anonymous class)::operator()(int) const", "(lambda at x.cc:1:2)::..."
    text.remove_suffix(kCall.size());
    return text.ends_with(")::") ? "lambda" : kCall;
  }
  if (text.ends_with('>') && text.find("operator") == std::string_view::npos) {
    text = text.substr(0, std::min(text.size(), Opening(text, text.size() - 1)));
  }
  size_t begin = text.size();
  while (begin > 0 && IsIdentifier(text[begin - 1])) --begin;
  if (begin == text.size()) begin = std::min(text.rfind("operator"), text.size());
  return text.substr(begin);
}

void Copy(std::string_view text, char* out, size_t size) {
  text = text.substr(0, size - 1);
  *std::copy(text.begin(), text.end(), out) = '\0';
}

}  // namespace

const char* Name(Kind kind) {
  switch (kind) {
    case Kind::kLoad:
      return "load";
    case Kind::kStore:
      return "store";
    case Kind::kRmw:
      return "rmw";
    case Kind::kCas:
      return "cas";
    case Kind::kCasFail:
      return "casfail";
    case Kind::kFence:
      return "fence";
    case Kind::kLightFence:
      return "light_fence";
    case Kind::kHeavyFence:
      return "heavy_fence";
  }
  return "?";
}

std::vector<std::memory_order> Weaker(Kind kind, std::memory_order order) {
  using enum std::memory_order;
  switch (order) {
    case seq_cst:
      if (kind == Kind::kLoad || kind == Kind::kCasFail) return {acquire};
      if (kind == Kind::kStore) return {release};
      if (kind == Kind::kLightFence || kind == Kind::kHeavyFence) return {relaxed};
      return {acq_rel};
    case acq_rel:
      return {acquire, release};
    case acquire:
    case consume:
    case release:
      return {relaxed};
    default:
      return {};
  }
}

std::string Change(Kind kind, std::memory_order from, std::memory_order to) {
  const bool gone = IsFence(kind) && to == std::memory_order::relaxed;
  return std::string(Name(from)) + "->" + (!gone ? Name(to) : kind == Kind::kHeavyFence ? "one-sided" : "none");
}

std::vector<Mutant> Mutants(const std::vector<OrderSite>& sites) {
  using Group = std::tuple<std::string, std::string, Kind>;
  const auto group = [](const OrderSite& site) { return Group(site.file, site.function, site.kind); };
  std::map<Group, std::set<uint32_t>> lines;
  for (const OrderSite& site : sites) lines[group(site)].insert(site.line);

  std::vector<Mutant> mutants;
  for (size_t i = 0; i < sites.size(); ++i) {
    const OrderSite& site = sites[i];
    const std::set<uint32_t>& same = lines[group(site)];
    const auto ordinal = std::distance(same.begin(), same.find(site.line)) + 1;
    for (const std::memory_order to : Weaker(site.kind, site.order)) {
      mutants.push_back({i, to,
                         std::string(site.file) + " " + site.function + " " + Name(site.kind) + " " +
                             std::to_string(ordinal) + " " + Change(site.kind, site.order, to)});
    }
  }
  return mutants;
}

void UnqualifiedName(const char* function, char* out, size_t size) { Copy(Unqualified(function), out, size); }

void PathInRepository(const char* file, char* out, size_t size) {
  std::string_view path = file;
  size_t begin = 0;
  for (const std::string_view room : {"core/", "kernel/", "models/", "stress/", "fuzz/", "tools/"}) {
    const size_t at = path.rfind(room);
    if (at != std::string_view::npos && at > begin && path[at - 1] == '/') begin = at;
  }
  Copy(path.substr(begin), out, size);
}

}  // namespace hotpath::model
