#include "models/base/board.h"

#include <cstring>
#include <iterator>

#include "hotpath/core/base/check.h"

namespace hotpath::model {
namespace {

// The site of an operation. A line that asks for several orders, as a helper that is handed its order, is several.
size_t Find(std::memory_order order, Kind kind, const std::source_location& where) {
  Board& board = *g_board;
  char file[sizeof(OrderSite::file)];
  file[0] = '\0';
  for (size_t i = 0; i < board.site_count; ++i) {
    const OrderSite& site = board.sites[i];
    if (site.line != where.line() || site.kind != kind || site.order != order) continue;
    if (file[0] == '\0') PathInRepository(where.file_name(), file, sizeof(file));
    if (std::strcmp(site.file, file) == 0) return i;
  }
  HOTPATH_CHECK(board.site_count < Board::kMaxSites, "more order sites than a Board holds");
  OrderSite& site = board.sites[board.site_count];
  PathInRepository(where.file_name(), site.file, sizeof(site.file));
  UnqualifiedName(where.function_name(), site.function, sizeof(site.function));
  site.line = where.line();
  site.kind = kind;
  site.order = order;
  site.models = 0;
  return board.site_count++;
}

// The same, by the address of the file's name, which is one literal for many operations: an execution asks for its
// orders over and over, and to compare names took four fifths of a model's time.
size_t FindAgain(std::memory_order order, Kind kind, const std::source_location& where) {
  struct Found {
    const char* file;
    uint32_t line;
    Kind kind;
    std::memory_order order;
    size_t site;
  };
  static Found found[1024];
  const size_t key = where.line() * 31 + static_cast<size_t>(kind) * 7 + static_cast<size_t>(order);
  Found& last = found[key % std::size(found)];
  if (last.file != where.file_name() || last.line != where.line() || last.kind != kind || last.order != order) {
    last = {where.file_name(), where.line(), kind, order, Find(order, kind, where)};
  }
  return last.site;
}

}  // namespace

std::memory_order Effective(std::memory_order order, Kind kind, const std::source_location& where) {
  if (order == std::memory_order::relaxed) return order;
  const size_t i = FindAgain(order, kind, where);
  g_board->sites[i].models |= uint64_t{1} << g_board->job.model;
  return g_board->job.mutated == static_cast<int64_t>(i) ? g_board->job.to : order;
}

}  // namespace hotpath::model
