"""Plants every violation that check_hints must find, and looks at the tree itself."""

import pathlib
import unittest

from tools import check_hints

BENCHES = {
    "bench/kernel_bench.cc": """
        // BENCHMARK(BM_InAComment);
        void BM_Open(benchmark::State& state) { for (auto _ : state) Open(); }
        BENCHMARK(BM_Open);
        BENCHMARK(BM_Fork)->Arg(3)->Arg(64);
        BENCHMARK(Walk<Light, &Nodes::Small>)->Name("walk/light")->Apply(Distances);
        BENCHMARK_TEMPLATE(BM_Copy, std::string)->Arg(1);
        BENCHMARK(BM_Template<kOne>)
            ->Arg(1);
        auto* row = benchmark::RegisterBenchmark("find/scalar", f);
        rows.Add({.id = "kernel/open/t1", .optimisation = 6}).Ours("ours", [] {});
        rows.Add({.id = "kernel/close beside a writer/t" + std::to_string(threads), .threads = threads});
    """
}


def problems(text: str) -> list[str]:
    return check_hints.check({"kernel/file.cc": text}, BENCHES)


class CheckHintsTest(unittest.TestCase):
    def assert_found(self, text: str, *expected: str) -> None:
        found = problems(text)
        self.assertEqual(len(found), len(expected), found)
        for problem, part in zip(found, expected):
            self.assertIn(part, problem)

    def test_every_kind_of_hint_needs_a_row(self):
        for hint in (
            "if (Likely(ok)) return;",
            "if (hotpath::Unlikely (ok)) return;",
            "if (ok) [[likely]] return;",
            "if (ok) [[unlikely]] {",
            "HOTPATH_COLD void Fail();",
            "[[gnu::cold]] void Fail();",
            "[[gnu::noinline, gnu::cold]] void Fail();",
            "HOTPATH_ASSUME(n > 0);",
            "PrefetchRead(p);",
            "PrefetchWrite(p);",
            "for (Node* n : WithPrefetch(nodes, 8)) Visit(*n);",
            "if (__builtin_expect(ok, 1)) return;",
            "__builtin_prefetch(p);",
            "_mm_prefetch(p, _MM_HINT_T0);",
            "__builtin_unreachable();",
        ):
            with self.subTest(hint):
                self.assert_found("int x;\n" + hint, "kernel/file.cc:2: ")
                self.assert_found("int x;\n" + hint + "  // moves kernel_bench: BM_Open")
                self.assert_found("int x;\n// moves kernel_bench: BM_Open\n" + hint)

    def test_words_that_only_look_like_hints_are_none(self):
        self.assert_found("bool IsLikely(int x);\n// Likely(x)\nLog(\"Unlikely(x)\");\nint cold = unlikely;\n")

    def test_the_row_may_stand_on_any_line_of_the_statement(self):
        self.assert_found("if (a &&\n    Unlikely(b))  // moves kernel_bench: BM_Open\n  return;\n")
        self.assert_found("// Why this is rare.\n// moves kernel_bench: BM_Open\nif (a &&\n    Unlikely(b))\n  return;\n")

    def test_a_row_speaks_for_one_statement_only(self):
        text = "// moves kernel_bench: BM_Open\nif (Unlikely(a)) return;\nif (Unlikely(b)) return;\n"
        self.assert_found(text, "kernel/file.cc:3: Unlikely names no row")
        self.assert_found("int x;  // moves kernel_bench: BM_Open\nif (Unlikely(b)) return;\n", ":1:", ":2:")
        text = "// moves kernel_bench: BM_Open\n\nif (Unlikely(b)) return;\n"
        self.assert_found(text, "kernel/file.cc:3: Unlikely names no row")

    def test_rows_exist(self):
        for row in ("BM_Open", "BM_Fork/64", "walk/light", "walk/light/8", "BM_Template<kOne>/1", "find/scalar",
                    "BM_Copy<std::string>", "kernel/open/t1", '"kernel/close beside a writer/t8"'):
            with self.subTest(row):
                self.assert_found(f"PrefetchRead(p);  // moves kernel_bench: {row}\n")
        for row in ("BM_InAComment", "BM_Opens", "walk", "BM_Copy", "Walk<Light,", "kernel/open/t", "kernel/close"):
            with self.subTest(row):
                self.assert_found(f"PrefetchRead(p);  // moves kernel_bench: {row}\n", "has no row")
        self.assert_found("PrefetchRead(p);  // moves other_bench: BM_Open\n", "there is no bench/other_bench.cc")

    def test_a_row_without_a_hint_is_left_over(self):
        self.assert_found("int x;  // moves kernel_bench: BM_Open\n", "a row without a hint")

    def test_the_tree_has_no_problems(self):
        count, found = check_hints.check_tree(pathlib.Path.cwd())
        self.assertEqual(found, [])
        self.assertGreater(count, 20)
        self.assertIn("BM_OpenAndClose", check_hints.rows(pathlib.Path("bench/kernel_bench.cc").read_text()))


if __name__ == "__main__":
    unittest.main()
