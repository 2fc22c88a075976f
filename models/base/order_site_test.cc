#include "models/base/order_site.h"

#include <cstring>
#include <source_location>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/base/survivors.h"

namespace hotpath::model {
namespace {

using enum std::memory_order;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Short(const char* function) {
  char name[sizeof(OrderSite::function)];
  UnqualifiedName(function, name, sizeof(name));
  return name;
}
std::string Path(const char* file) {
  char path[sizeof(OrderSite::file)];
  PathInRepository(file, path, sizeof(path));
  return path;
}

TEST(UnqualifiedNameTest, TwoCompilersAgree) {
  struct Case {
    const char *clang, *gcc, *name;
  };
  const Case kCases[] = {
      {"int main()", "int main()", "main"},
      {"bool hotpath::Cell<Pair>::TryRead(T &) const [T = Pair]",
       "bool hotpath::Cell<T>::TryRead(T&) const [with T = Pair]", "TryRead"},
      {"void hotpath::Cell<int (*)(char)>::Write(F &&) [T = int (*)(char), F = (lambda at x.cc:1:2)]",
       "void hotpath::Cell<T>::Write(F&&) [with F = main()::<lambda(int&)>; T = int (*)(char)]", "Write"},
      {"hotpath::Cell<hotpath::Options{2}>::Cell(const T &) [O = Options{2}]",
       "hotpath::Cell<O>::Cell(const T&) [with hotpath::Options O = hotpath::Options{2}]", "Cell"},
      {"hotpath::Cell<int>::~Cell() [T = int]", "hotpath::Cell<T>::~Cell() [with T = int]", "~Cell"},
      {"auto hotpath::F(int)::(anonymous class)::operator()(int) const", "hotpath::F(int)::<lambda(int)>", "lambda"},
      {"auto hotpath::F(int)::(lambda at core/x.h:3:4)::operator()(auto) const [a:auto = int]",
       "hotpath::F(int)::<lambda(auto:1)> [with auto:1 = int]", "lambda"},
      {"void hotpath::SpinWait<>::operator()() [Sync = StdSync]",
       "void hotpath::SpinWait<Sync>::operator()() [with Sync = StdSync]", "operator()"},
      {"int *hotpath::Ref::operator->() const", "int* hotpath::Ref::operator->() const", "operator->"},
      {"void (anonymous namespace)::Outer::Run()::Local::Step(int (&)[3])",
       "void {anonymous}::Outer::Run()::Local::Step(int (&)[3])", "Step"},
      {"decltype(auto) hotpath::Read(F &&) [F = int (&)(int)]",
       "decltype(auto) hotpath::Read(F&&) [with F = int (&)(int)]", "Read"},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(Short(c.clang), c.name) << c.clang;
    EXPECT_EQ(Short(c.gcc), c.name) << c.gcc;
  }
}

template <class T>
struct Here {
  static const char* Member() { return std::source_location::current().function_name(); }
  const char* operator()(T) const { return std::source_location::current().function_name(); }
};

TEST(UnqualifiedNameTest, ThisCompilerIsUnderstood) {
  EXPECT_EQ(Short(Here<std::vector<int>>::Member()), "Member");
  EXPECT_EQ(Short(Here<int (*)(char)>()(nullptr)), "operator()");
  EXPECT_EQ(Short([](auto) { return std::source_location::current().function_name(); }(1)), "lambda");
  EXPECT_EQ(Short(std::source_location::current().function_name()), "TestBody");
}

TEST(UnqualifiedNameTest, NonsenseAndLongNamesDoNoHarm) {
  for (const char* nonsense : {"", "x", ")", "(", ">", "<lambda", "f(", "f)", " [", "()", "a)b(", "operator()"})
    Short(nonsense);
  const std::string longer = std::string(200, 'f') + "()";
  EXPECT_EQ(Short(longer.c_str()), std::string(sizeof(OrderSite::function) - 1, 'f'));
}

TEST(PathInRepositoryTest, WhereverTheHeaderWasFound) {
  EXPECT_EQ(Path("core/x.h"), "core/x.h");
  EXPECT_EQ(Path("./core/x.h"), "core/x.h");
  EXPECT_EQ(Path("bazel-out/k8-opt/bin/core/detail/_virtual_includes/x/hotpath/core/detail/x_inl.h"),
            "core/detail/x_inl.h");
  EXPECT_EQ(Path("external/hotpath/kernel/fd_manager.h"), "kernel/fd_manager.h");
  EXPECT_EQ(Path("/home/someone/hotpath/tools/zoo/ring.cc"), "tools/zoo/ring.cc");
  EXPECT_EQ(Path("/opt/hardcore/x.h"), "/opt/hardcore/x.h");
}

OrderSite Site(const char* function, uint32_t line, Kind kind, std::memory_order order) {
  OrderSite site{};
  std::strcpy(site.file, "core/x.h");
  std::strcpy(site.function, function);
  site.line = line;
  site.kind = kind;
  site.order = order;
  return site;
}

TEST(MutantsTest, EveryOrderIsWeakenedByOneStep) {
  EXPECT_THAT(Weaker(Kind::kLoad, seq_cst), ElementsAre(acquire));
  EXPECT_THAT(Weaker(Kind::kStore, seq_cst), ElementsAre(release));
  EXPECT_THAT(Weaker(Kind::kRmw, seq_cst), ElementsAre(acq_rel));
  EXPECT_THAT(Weaker(Kind::kCas, seq_cst), ElementsAre(acq_rel));
  EXPECT_THAT(Weaker(Kind::kCasFail, seq_cst), ElementsAre(acquire));
  EXPECT_THAT(Weaker(Kind::kFence, seq_cst), ElementsAre(acq_rel));
  EXPECT_THAT(Weaker(Kind::kLightFence, seq_cst), ElementsAre(relaxed));
  EXPECT_THAT(Weaker(Kind::kHeavyFence, seq_cst), ElementsAre(relaxed));
  EXPECT_THAT(Weaker(Kind::kRmw, acq_rel), ElementsAre(acquire, release));
  EXPECT_THAT(Weaker(Kind::kLoad, acquire), ElementsAre(relaxed));
  EXPECT_THAT(Weaker(Kind::kStore, release), ElementsAre(relaxed));
  EXPECT_THAT(Weaker(Kind::kLoad, relaxed), IsEmpty());
}

TEST(MutantsTest, KeysNumberLinesOfAFunctionAndKind) {
  // As discovered: in no order, one line with two orders.
  const std::vector<OrderSite> sites = {
      Site("Read", 30, Kind::kLoad, acquire),  Site("Read", 20, Kind::kLoad, seq_cst),
      Site("Read", 30, Kind::kFence, acq_rel), Site("Write", 10, Kind::kLoad, acquire),
      Site("Read", 30, Kind::kLoad, seq_cst),  Site("Read", 40, Kind::kHeavyFence, seq_cst),
  };
  std::vector<std::string> keys;
  for (const Mutant& mutant : Mutants(sites)) keys.push_back(mutant.key);
  EXPECT_THAT(keys, ElementsAre("core/x.h Read load 2 acquire->relaxed", "core/x.h Read load 1 seq_cst->acquire",
                                "core/x.h Read fence 1 acq_rel->acquire", "core/x.h Read fence 1 acq_rel->release",
                                "core/x.h Write load 1 acquire->relaxed", "core/x.h Read load 2 seq_cst->acquire",
                                "core/x.h Read heavy_fence 1 seq_cst->one-sided"));
}

// ---- models/survivors.txt ----

std::string ReadSurvivors(const std::string& text, Survivors& survivors) {
  std::istringstream file(text);
  return survivors.Read(file);
}

TEST(SurvivorsTest, AnArgumentMayTakeSeveralLines) {
  Survivors survivors;
  ASSERT_EQ(ReadSurvivors("# a comment\n"
                          "core/x.h Read load 1 acquire->relaxed:\n"
                          "  An acquire load of the same variable\n"
                          "  follows at once.\n"
                          "\n"
                          "core/y.h Pop cas 2 seq_cst->acq_rel:\n"
                          "  Its only caller has just executed a fence.\n",
                          survivors),
            "");
  EXPECT_EQ(survivors.all().size(), 2u);
  ASSERT_NE(survivors.Argument("core/x.h Read load 1 acquire->relaxed"), nullptr);
  EXPECT_EQ(*survivors.Argument("core/x.h Read load 1 acquire->relaxed"),
            "An acquire load of the same variable follows at once.");
  EXPECT_EQ(survivors.Argument("core/x.h Read load 2 acquire->relaxed"), nullptr);
}

TEST(SurvivorsTest, BadInputIsNamed) {
  const auto error = [](const std::string& text) {
    Survivors survivors;
    return ReadSurvivors(text, survivors);
  };
  const std::string kKey = "core/x.h Read load 1 acquire->relaxed:\n", kWhy = "  A perfectly good argument.\n";
  EXPECT_EQ(error(kKey + kWhy), "");
  EXPECT_EQ(error("core/x.h Read load acquire->relaxed:\n" + kWhy),
            "1: expected 'FILE FUNCTION KIND NUMBER FROM->TO:', got 'core/x.h Read load acquire->relaxed:'");
  EXPECT_THAT(error("core/x.h Read load 1 acquire->relaxed\n" + kWhy), HasSubstr("1: expected"));
  EXPECT_THAT(error("core/x.h Read load 1 acquire:\n" + kWhy), HasSubstr("1: expected"));
  EXPECT_THAT(error(kWhy), HasSubstr("1: expected"));
  EXPECT_THAT(error("\n" + kKey), HasSubstr("2: a survivor needs an argument"));
  EXPECT_THAT(error(kKey + "  Because.\n"), HasSubstr("1: a survivor needs an argument"));
  EXPECT_THAT(error(kKey + "core/y.h F load 1 acquire->relaxed:\n" + kWhy),
              HasSubstr("1: a survivor needs an argument, in a sentence: core/x.h"));
  EXPECT_THAT(error(kKey + kWhy + kKey + kWhy), HasSubstr("3: listed twice: core/x.h"));
}

}  // namespace
}  // namespace hotpath::model
