"""Plants every violation that check_orders must find."""

import unittest

from tools import check_orders

GOOD = """
template <class Sync>
class Cell {
  int Read() const {
    return seq_.load(std::memory_order::acquire);  // [R1] pairs W1 W2
  }
  void Write(std::memory_order order = std::memory_order::seq_cst) {
    seq_.store(1, std::memory_order::release);  // [W1] pairs R1: says why
    if (seq_.compare_exchange_strong(old, 2,
                                     std::memory_order::release,  // [W2] pairs R1
                                     std::memory_order::relaxed)) {
      seq_.store(2, std::memory_order::relaxed);
    }
    // memory_order::seq_cst in a comment, std::atomic too
    Log("memory_order::seq_cst std::mutex");
  }
};
"""


def problems(text: str, **more: str) -> list[str]:
    return check_orders.check({"core/cell.h": text, **more}, None)


class CheckOrdersTest(unittest.TestCase):
    def assert_found(self, found: list[str], *expected: str) -> None:
        self.assertEqual(len(found), len(expected), found)
        for problem, part in zip(found, expected):
            self.assertIn(part, problem)

    def test_a_good_header_has_no_problems(self):
        self.assertEqual(problems(GOOD), [])

    def test_an_untagged_order_is_found(self):
        for order in ("x.load(std::memory_order::acquire);", "x.load(std::memory_order_seq_cst);",
                      "Sync::Fence(std::memory_order::release);", "Sync::LightFence();", "Sync::FreeLightFence();", "Sync::HeavyFence();"):
            self.assert_found(problems("int a;\n" + order + "\n"), "core/cell.h:2: ")
        self.assertEqual(problems("x.load(std::memory_order::relaxed);\n"), [])

    def test_the_tag_of_another_statement_does_not_count(self):
        text = "x.load(std::memory_order::acquire);  // [R1] pairs R1\ny.load(std::memory_order::acquire);\n"
        self.assert_found(problems(text), "core/cell.h:2: memory_order::acquire has no tag")

    def test_pairs_are_mutual(self):
        self.assert_found(problems(GOOD.replace("[R1] pairs W1 W2", "[R1] pairs W1")),
                          "core/cell.h:10: W2 pairs R1, but R1 does not pair W2")
        self.assert_found(problems(GOOD.replace("[R1] pairs W1 W2", "[R1] pairs W1 W2 W9")),
                          "core/cell.h:5: R1 pairs W9, which does not exist")

    def test_pairs_may_span_the_header_and_its_implementation_only(self):
        read = "x.load(std::memory_order::acquire);  // [R1] pairs W1\n"
        write = "x.store(1, std::memory_order::release);  // [W1] pairs R1\n"
        self.assertEqual(problems(read, **{"core/detail/cell_inl.h": write}), [])
        self.assert_found(problems(read, **{"core/other.h": write}), "R1 pairs W1", "W1 pairs R1")

    def test_a_tag_is_used_once_and_at_an_order(self):
        twice = "x.load(std::memory_order::acquire);  // [R1] pairs R1\n"
        self.assert_found(problems(twice + twice), "core/cell.h:2: tag R1 is taken: core/cell.h:1")
        self.assert_found(problems("int x;  // [R1] pairs R1\n"), "core/cell.h:1: this tag stands at no order")

    def test_a_tag_without_partners_is_found(self):
        self.assert_found(problems("x.load(std::memory_order::acquire);  // [R1]\n"),
                          "core/cell.h:1: a tag is written", "core/cell.h:1: memory_order::acquire has no tag")

    def test_a_primitive_synchronises_through_its_policy_only(self):
        for word in ("std::atomic<int> x;", "std::atomic_thread_fence(o);", "std::atomic_ref r(x);", "std::mutex mu_;",
                     "std::shared_mutex mu_;", "std::condition_variable_any c;", "thread_local int x;",
                     "__atomic_load_n(&x, 2);", "__sync_synchronize();", "std::call_once(f);"):
            self.assert_found(problems(word + "\n"), "core/cell.h:1: ")
        self.assertEqual(problems("Sync::Mutex mu_;  // not a std::mutex\n/* std::mutex\n std::mutex */ int x;\n"), [])

    def test_an_order_that_no_model_reaches_is_found(self):
        def site(line: int, swept: bool = True, file: str = "core/cell.h") -> dict:
            return {"type": "site", "file": file, "line": line, "swept": swept}

        def check(sites: list[dict]) -> list[str]:
            return check_orders.check({"core/cell.h": GOOD}, check_orders.swept_lines(sites))

        # The compare-exchange starts a line before its first order: any line of the statement is the site.
        reached = [site(5), {"type": "run"}, site(8), site(9)]
        self.assertEqual(check(reached), [])
        self.assert_found(check(reached[1:]), "core/cell.h:5: no model reaches this order")
        self.assert_found(check([site(5, swept=False)] + reached[1:]), "core/cell.h:5: no model reaches this order")
        self.assert_found(check([site(5, file="core/x.h")] + reached[1:]), "core/cell.h:5: no model reaches this order")


if __name__ == "__main__":
    unittest.main()
