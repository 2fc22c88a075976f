#include "models/base/model.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "hotpath/core/base/check.h"
#include "models/base/relacy.h"
#include "models/base/survivors.h"
#include "models/base/world.h"

ABSL_FLAG(bool, nightly, false, "search deeper: minutes, not seconds");
ABSL_FLAG(bool, mutate, true, "weaken the memory orders");
ABSL_FLAG(bool, mutate_only, false, "search the models no further than it takes to find their memory orders");
ABSL_FLAG(bool, json, false, "print one JSON object per line instead of text");
ABSL_FLAG(std::string, model, "", "run this model only; orders that others kill then survive");
ABSL_FLAG(std::string, explain, "", "weaken this mutant only, by its key, and print the execution that kills it");
ABSL_FLAG(std::string, survivors, "models/survivors.txt", "the list of mutants that may survive, and why");

namespace hotpath::model {
namespace {

// How much is searched: counts and not times, so that a run on a slow machine says the same.
struct Depth {
  uint64_t full, bound, random;  // schedules that must hold: at most so many a model,
  uint64_t all;                  // and at most so many a binary, shared evenly;
  uint64_t steps;                // a binary, too, for those whose schedules are long
  unsigned context_bound;
  std::vector<uint64_t> quick;  // random schedules for a mutant and model; the next number if the last killed nothing
  uint64_t thorough;            // then so many of each search, before a mutant is said to survive
};
const Depth kEveryCommit{100'000, 100'000, 50'000, 800'000, 40'000'000, 2, {300, 5'000}, 20'000};
const Depth kNightly{5'000'000, 2'000'000, 1'000'000, 40'000'000, 4'000'000'000, 3, {300, 5'000, 100'000}, 500'000};

constexpr uint64_t kFindSites = 3'000;  // random schedules that reach what a model reaches
constexpr unsigned kSecondsPerSchedule = 60;

void FailOnCheck(const CheckFailure& failure) {
  std::snprintf(g_board->reason, sizeof(g_board->reason), "check failed: %s%s%s", failure.expression,
                failure.message[0] != '\0' ? ": " : "", failure.message);
  rl::ctx().fail_test(g_board->reason, rl::test_result_user_assert_failed,
                      rl::debug_info("", failure.file, static_cast<unsigned>(failure.line)));
}

std::string Lower(absl::string_view text) { return absl::AsciiStrToLower(text); }

std::string Json(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < ' ') {
      absl::StrAppendFormat(&out, "\\u%04x", c);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string Stem(absl::string_view path) {
  path = path.substr(path.rfind('/') + 1);
  path = path.substr(0, path.rfind('.'));
  for (const char* suffix : {"_inl", "_x86", "_arm64", "_unsafe", "_model"}) absl::ConsumeSuffix(&path, suffix);
  return std::string(path);
}

class Runner {
 public:
  Runner(std::vector<ModelEntry> models, std::set<std::string> also_owns)
      : models_(std::move(models)),
        also_owns_(std::move(also_owns)),
        name_(Stem(models_.front().file)),
        depth_(absl::GetFlag(FLAGS_nightly) ? kNightly : kEveryCommit),
        json_(absl::GetFlag(FLAGS_json)),
        mutate_only_(absl::GetFlag(FLAGS_mutate_only) || !absl::GetFlag(FLAGS_explain).empty()) {}

  int Run() {
    if (absl::GetFlag(FLAGS_mutate) && !ReadSurvivors(absl::GetFlag(FLAGS_survivors))) return 2;
    if (!SelectModels()) return 2;
    if (!json_) std::cout << name_ << "\n";
    for (const size_t model : selected_) CheckModel(model);
    if (failed_) return 1;  // nothing can be told from killing mutants of what is broken
    sites_.assign(g_board->sites, g_board->sites + g_board->site_count);
    if (json_) PrintSites();
    if (const std::string key = absl::GetFlag(FLAGS_explain); !key.empty()) return Explain(key);
    if (absl::GetFlag(FLAGS_mutate)) Mutate();
    return failed_ ? 1 : 0;
  }

 private:
  bool ReadSurvivors(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
      std::cerr << path << ": cannot be read; run from the root of the repository or use --survivors\n";
      return false;
    }
    const std::string error = survivors_.Read(file);
    if (!error.empty()) std::cerr << path << ":" << error << "\n";
    return error.empty();
  }

  bool SelectModels() {
    const std::string only = absl::GetFlag(FLAGS_model);
    for (size_t i = 0; i < models_.size(); ++i) {
      if (only.empty() || only == models_[i].name) selected_.push_back(i);
    }
    if (selected_.empty()) std::cerr << "--model=" << only << ": there is no such model\n";
    return !selected_.empty();
  }

  // ---- The models hold ----

  void CheckModel(size_t model) {
    if (mutate_only_) {
      MustHold({model, Search::kRandom, kFindSites}, "random");
      return;
    }
    const uint64_t asked = depth_.full + depth_.bound + depth_.random;
    const uint64_t share = std::min(asked, depth_.all / selected_.size());
    const auto scaled = [&](uint64_t schedules) { return schedules * share / asked; };
    const uint64_t steps = depth_.steps / (3 * selected_.size());
    const Job full{model, Search::kFull, scaled(depth_.full), steps};
    const Job bound{model, Search::kBound, scaled(depth_.bound), steps, depth_.context_bound};
    const Job random{model, Search::kRandom, scaled(depth_.random), steps};
    if (!MustHold(full, "full") || !MustHold(bound, absl::StrCat("bound ", depth_.context_bound)) ||
        !MustHold(random, "random")) {
      return;
    }
    Job spurious = random;
    spurious.spurious_wakeups = true;
    if (g_board->parked) MustHold(spurious, "spurious wake-ups");
    g_board->parked = false;
  }

  bool MustHold(Job job, const std::string& search) {
    job.history = !json_;
    const Outcome outcome = RunJob(models_[job.model], job);
    const char* verdict = outcome.verdict == Verdict::kHolds    ? "exhausted"
                          : outcome.verdict == Verdict::kCapped ? "holds"
                                                                : "FAILED";
    if (json_) {
      std::cout << absl::StrFormat(
          "{\"type\": \"run\", \"binary\": %s, \"model\": %s, \"search\": %s, \"verdict\": %s, \"schedules\": %d, "
          "\"seconds\": %.3f, \"reason\": %s}\n",
          Json(name_), Json(models_[job.model].name), Json(search), Json(Lower(verdict)), outcome.schedules,
          outcome.seconds, Json(outcome.reason));
    } else {
      std::cout << absl::StrFormat("  %-36s %-17s %-9s %9d schedules %6.2f s\n", models_[job.model].name, search,
                                   verdict, outcome.schedules, outcome.seconds);
      if (!outcome.Holds()) std::cout << "    " << outcome.reason << "\n";
    }
    failed_ |= !outcome.Holds();
    return outcome.Holds();
  }

  // ---- Every order is needed ----

  bool Owns(const std::string& file) const {
    return also_owns_.contains(file) || (!file.starts_with("models/") && Stem(file) == name_);
  }

  void PrintSites() const {
    for (const OrderSite& site : sites_) {
      std::cout << absl::StrFormat(
          "{\"type\": \"site\", \"binary\": %s, \"file\": %s, \"line\": %d, \"function\": %s, \"kind\": %s, "
          "\"swept\": %s}\n",
          Json(name_), Json(site.file), site.line, Json(site.function), Json(Name(site.kind)),
          Owns(site.file) ? "true" : "false");
    }
  }

  struct Death {
    size_t model;
    Outcome outcome;
  };

  // Tries to kill a mutant. The models that killed most so far go first.
  bool Kill(const Mutant& mutant, bool thoroughly, bool history, Death& death) {
    std::vector<size_t> models;
    for (const size_t model : selected_) {
      if (sites_[mutant.site].models >> model & 1) models.push_back(model);
    }
    std::sort(models.begin(), models.end(),
              [&](size_t a, size_t b) { return std::pair(kills_[b], a) < std::pair(kills_[a], b); });
    std::vector<Job> tries;
    tries.reserve(depth_.quick.size() + 2);
    for (const uint64_t schedules : depth_.quick) tries.push_back({0, Search::kRandom, schedules});
    if (thoroughly) {
      tries.push_back({0, Search::kBound, depth_.thorough, UINT64_MAX, depth_.context_bound});
      tries.push_back({0, Search::kFull, depth_.thorough});
    }
    for (Job job : tries) {
      job.mutated = static_cast<int64_t>(mutant.site);
      job.to = mutant.to;
      job.history = history;
      for (const size_t model : models) {
        job.model = model;
        death = {model, RunJob(models_[model], job)};
        if (death.outcome.Holds()) continue;
        ++kills_[model];
        return true;
      }
    }
    return false;
  }

  void Mutate() {
    const auto start = std::chrono::steady_clock::now();
    std::set<std::string> keys;
    size_t tried = 0, killed = 0, argued = 0;
    for (const Mutant& mutant : Mutants(sites_)) {
      if (!Owns(sites_[mutant.site].file)) continue;
      ++tried;
      keys.insert(mutant.key);
      const std::string* argument = survivors_.Argument(mutant.key);
      Death death;
      const bool dead = Kill(mutant, argument == nullptr, false, death);
      killed += dead;
      argued += !dead && argument != nullptr;
      if (json_) PrintMutant(mutant, dead ? &death : nullptr, argument);
      if (!dead && argument == nullptr) {
        Complain(mutant, "SURVIVED: no model needs this order. Add the model that does, weaken the order, or argue");
      }
      if (dead && argument != nullptr) Complain(mutant, "KILLED, although it is listed as a survivor: strike it from");
    }
    for (const auto& [key, argument] : survivors_.all()) {
      if (selected_.size() != models_.size()) break;  // the other models might reach it
      if (!Owns(key.substr(0, key.find(' '))) || keys.contains(key)) continue;
      failed_ = true;
      std::cerr << absl::GetFlag(FLAGS_survivors) << ": " << key << ": there is no such mutant (any more)\n";
    }
    if (json_) return;
    std::cout << absl::StrFormat(
        "  %d mutants of memory orders: %d killed, %d survive with an argument, %d survive; %.2f s\n", tried, killed,
        argued, tried - killed - argued,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }

  void Complain(const Mutant& mutant, const char* what) {
    failed_ = true;
    const OrderSite& site = sites_[mutant.site];
    std::cerr << absl::StreamFormat("%s:%d: %s in %s\n    %s\n", site.file, site.line, what,
                                    absl::GetFlag(FLAGS_survivors), mutant.key);
  }

  void PrintMutant(const Mutant& mutant, const Death* death, const std::string* argument) const {
    const OrderSite& site = sites_[mutant.site];
    std::cout << absl::StrFormat(
        "{\"type\": \"mutant\", \"binary\": %s, \"key\": %s, \"file\": %s, \"line\": %d, \"function\": %s, \"kind\": "
        "%s, "
        "\"change\": %s, \"killed\": %s, \"model\": %s, \"schedules\": %d, \"reason\": %s, \"argument\": %s}\n",
        Json(name_), Json(mutant.key), Json(site.file), site.line, Json(site.function), Json(Name(site.kind)),
        Json(Change(site.kind, site.order, mutant.to)), death ? "true" : "false",
        Json(death ? models_[death->model].name : ""), death ? death->outcome.schedules : 0,
        Json(death ? death->outcome.reason : ""), Json(argument ? *argument : ""));
  }

  int Explain(const std::string& key) {
    for (const Mutant& mutant : Mutants(sites_)) {
      if (mutant.key != key) continue;
      Death death;
      const bool dead = Kill(mutant, true, true, death);
      std::cout << mutant.key << ": "
                << (dead ? absl::StrCat("killed by ", models_[death.model].name, " after ", death.outcome.schedules,
                                        " schedules: ", death.outcome.reason)
                         : "survives")
                << "\n";
      return 0;
    }
    std::cerr << "--explain=" << key << ": there is no such mutant; it is one of\n";
    for (const Mutant& mutant : Mutants(sites_)) std::cerr << "    " << mutant.key << "\n";
    return 2;
  }

  const std::vector<ModelEntry> models_;
  const std::set<std::string> also_owns_;
  const std::string name_;
  const Depth& depth_;
  const bool json_;
  const bool mutate_only_;
  Survivors survivors_;
  std::vector<size_t> selected_;
  std::vector<OrderSite> sites_;
  std::map<size_t, uint64_t> kills_;  // by model
  bool failed_ = false;
};

// Counts the execution. Does not return if the job is done.
void CountExecution() {
  Board& board = *g_board;
  if (board.schedules == board.job.schedules || board.steps >= board.job.steps) {
    board.verdict = Verdict::kCapped;
    _exit(0);
  }
  if (board.schedules++ % 64 == 0) alarm(kSecondsPerSchedule);
}

// The steps in the order they were taken; of a long execution, the beginning and the end.
void PrintHistory(const char* text) {
  // Relacy tells the execution once as it was and once more by thread.
  const std::vector<absl::string_view> all = absl::StrSplit(text, '\n');
  const auto end = std::find(all.begin(), all.end(), "thread 0:");
  constexpr std::ptrdiff_t kShown = 150;
  const std::ptrdiff_t count = end - all.begin();
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    if (i == kShown && count > 2 * kShown) {
      i = count - kShown;
      std::cout << "    ... " << i - kShown << " steps left out ...\n";
    }
    std::cout << "    " << all[static_cast<size_t>(i)] << "\n";
  }
}

void Report(const rl::test_params& params) {
  Board& board = *g_board;
  board.schedules = params.stop_iteration;
  if (params.test_result == rl::test_result_success) {
    board.verdict = board.job.search == Search::kRandom ? Verdict::kCapped : Verdict::kHolds;
    return;
  }
  board.verdict = Verdict::kFailed;
  if (board.reason[0] == '\0') {
    std::snprintf(board.reason, sizeof(board.reason), "%s", Lower(rl::test_result_str(params.test_result)).c_str());
  }
}

// The model under the checker, and its memory, the same for each execution.
const model_internal::ModelType* g_type;
void* g_model;

template <int kThreads>
struct Harness : rl::test_suite<Harness<kThreads>, kThreads> {
  Harness() : world((CountExecution(), World::OfThreads<kThreads>())) { g_type->make(g_model); }
  ~Harness() {
    g_type->end(g_model);
    world.EndThread();
  }
  void before() { world.SetMain(false); }
  void thread(unsigned id) {
    g_type->thread(g_model, id);
    world.EndThread();
  }
  void after() {
    world.SetMain(true);
    g_type->finish(g_model);
  }

  World world;
};

template <int kThreads, template <rl::thread_id_t> class Scheduler>
void Explore(rl::test_params& params) {
  using Test = Harness<kThreads>;
  rl::ostringstream state, history, unused;
  params.output_stream = &history;
  params.progress_stream = &unused;
  if (rl::run_test<Test, Scheduler<kThreads>>(params, state, false) == rl::test_result_success) return;
  if (!g_board->job.history) return;
  g_board->job.schedules = g_board->job.steps = UINT64_MAX;  // the replay does not count
  params.collect_history = true;
  params.initial_state = state.str();
  rl::run_test<Test, Scheduler<kThreads>>(params, unused, true);
  PrintHistory(history.str().c_str());
}

template <int kThreads>
void SearchOf(rl::test_params& params) {
  switch (g_board->job.search) {
    case Search::kFull:
      params.search_type = rl::sched_full;
      return Explore<kThreads, rl::full_search_scheduler>(params);
    case Search::kBound:
      params.search_type = rl::sched_bound;
      return Explore<kThreads, rl::context_bound_scheduler>(params);
    case Search::kRandom:
      params.search_type = rl::sched_random;
      return Explore<kThreads, rl::random_scheduler>(params);
  }
}

// Does g_board->job.
void DoJob(const model_internal::ModelType& type) {
  g_type = &type;
  g_model = ::operator new(type.size, std::align_val_t(type.alignment));
  rl::test_params params;
  params.iteration_count = g_board->job.schedules;
  params.context_bound = g_board->job.context_bound;
  params.execution_depth_limit = type.max_steps;
  constexpr void (*kSearches[])(rl::test_params&) = {&SearchOf<1>, &SearchOf<2>, &SearchOf<3>, &SearchOf<4>};
  HOTPATH_CHECK(type.threads >= 1 && type.threads <= static_cast<int>(std::size(kSearches)), "1 to 4 threads");
  kSearches[type.threads - 1](params);
  Report(params);
}

}  // namespace

Outcome RunJob(const ModelEntry& model, const Job& job) {
  const auto start = std::chrono::steady_clock::now();
  if (g_board == nullptr) {
    void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    HOTPATH_CHECK(memory != MAP_FAILED, "out of memory");
    g_board = ::new (memory) Board();
  }
  Board& board = *g_board;
  board.job = job;
  board.verdict = Verdict::kCrashed;
  board.schedules = 0;
  board.steps = 0;
  board.reason[0] = '\0';
  std::cout.flush();
  const pid_t child = fork();
  HOTPATH_CHECK(child >= 0, "fork failed");
  if (child == 0) {
    SetCheckHandler(&FailOnCheck);
    DoJob(*model.type);
    std::cout.flush();
    _exit(0);
  }
  int status = 0;
  HOTPATH_CHECK(waitpid(child, &status, 0) == child);
  Outcome outcome{board.verdict, board.schedules, board.reason, 0};
  if (outcome.verdict == Verdict::kCrashed) {
    outcome.reason = !WIFSIGNALED(status) ? absl::StrCat("the process ended with status ", WEXITSTATUS(status))
                     : WTERMSIG(status) == SIGALRM
                         ? absl::StrCat("hang: no schedule ended in ", kSecondsPerSchedule, " s")
                         : Lower(absl::StrCat("crash: ", strsignal(WTERMSIG(status))));
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

int Main(int argc, char** argv, std::initializer_list<ModelEntry> models,
         std::initializer_list<const char*> also_owns) {
  absl::SetProgramUsageMessage("model-checks a shipped header and weakens its memory orders; see docs/proof.md");
  absl::ParseCommandLine(argc, argv);
  HOTPATH_CHECK(models.size() > 0 && models.size() <= 64, "a binary holds 1 to 64 models");
  return Runner(models, {also_owns.begin(), also_owns.end()}).Run();
}

}  // namespace hotpath::model
