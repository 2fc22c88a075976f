import json
import unittest

from bench.reporting import compare, logic, render, report as report_tool

SPEEDUP = {"optimisation": 2, "claim": "reads", "title": "Seqlock", "text": "50 to 100x", "metric": "speedup", "low": 50, "high": 100}
SAVING = {**SPEEDUP, "metric": "saving", "low": 0.7, "high": 0.8}
AT_MOST = {**SPEEDUP, "metric": "at_most", "low": 1, "high": 2}


def contender(role, rounds, name=None, **more):
    return {"role": role, "name": name or role, "installed": True, "rounds": rounds, "torn": 0, "lost": 0, **more}


def row(*contenders, row_id="x/y/t1", **more):
    return {"id": row_id, "optimisation": 2, "claim": "reads", "threads": 1, "background": 0, "unit": "ns", "clock": "window",
            "floor": "", "note": "", "goals": [], "contenders": list(contenders), **more}


def run(binary, *rows, floors=()):
    return {"schema": 1, "binary": binary, "rounds": 3, "windows": 10, "smoke": False, "cores": 2, "floors": list(floors), "rows": list(rows)}


class FigureTest(unittest.TestCase):
    def test_is_the_median_of_rounds_that_have_a_number(self):
        self.assertEqual(logic.figure(contender("ours", [3, None, 1, 2])).median, 2)

    def test_one_disturbed_round_of_many_is_no_wide_spread(self):
        self.assertFalse(logic.Spread([1.0] * 14 + [9.0]).too_wide())
        self.assertFalse(logic.Spread([0.1] + [1.0] * 14).too_wide())
        self.assertTrue(logic.Spread([1.0] * 13 + [9.0] * 2).too_wide())
        self.assertTrue(logic.Spread([1.0] * 4 + [9.0]).too_wide())

    def test_there_is_none_without_an_accepted_round(self):
        self.assertIsNone(logic.figure(contender("ours", [None, None])))

    def test_there_is_none_for_wrong_results(self):
        self.assertIsNone(logic.figure(contender("ours", [1], torn=1)))
        self.assertEqual(logic.why_no_figure(contender("ours", [1], lost=3)), "wrong: 0 torn, 3 lost")

    def test_a_peer_that_is_missing_says_so(self):
        self.assertEqual(logic.why_no_figure(contender("peer", [], installed=False)), "not installed")


class RatioTest(unittest.TestCase):
    def test_rounds_are_compared_with_their_own(self):
        ratio = logic.paired(contender("naive", [100, 900]), contender("ours", [10, 90]))
        self.assertEqual((ratio.median, ratio.min, ratio.max), (10, 10, 10))

    def test_wrong_results_have_no_ratio(self):
        self.assertIsNone(logic.paired(contender("naive", [1], torn=1), contender("ours", [1])))

    def test_rounds_without_a_number_are_left_out(self):
        self.assertEqual(logic.paired(contender("naive", [None, 8]), contender("ours", [2, 2])).values, [4])


class VerdictTest(unittest.TestCase):
    def verdict(self, claim, *values):
        return logic.verdict(claim, logic.Spread(values))

    def test_speedups(self):
        self.assertEqual(self.verdict(SPEEDUP, 60, 70, 80), ("held", False))
        self.assertEqual(self.verdict(SPEEDUP, 120, 130, 140), ("exceeded", False))
        self.assertEqual(self.verdict(SPEEDUP, 12, 13, 14), ("refuted", False))

    def test_rounds_on_both_sides_are_told(self):
        self.assertEqual(self.verdict(SPEEDUP, 45, 55, 60), ("held", True))
        self.assertEqual(self.verdict(SPEEDUP, 40, 45, 55), ("refuted", True))
        self.assertEqual(self.verdict(SPEEDUP, 95, 105, 110), ("exceeded", True))

    def test_a_spread_too_wide_for_a_number_has_a_verdict(self):
        self.assertEqual(self.verdict(SPEEDUP, 30, 60, 120), ("held", True))
        self.assertEqual(self.verdict(SPEEDUP, 2, 5, 9), ("refuted", False))
        self.assertEqual(self.verdict(SPEEDUP, 150, 300, 900), ("exceeded", False))
        self.assertEqual(self.verdict(SPEEDUP, 50, 70, 150), ("held", False))
        self.assertEqual(self.verdict(AT_MOST, 0.5, 1.5, 2.0), ("held", False))
        self.assertEqual(self.verdict(AT_MOST, 2.5, 4.0, 9.0), ("refuted", False))
        self.assertEqual(self.verdict(AT_MOST, 1.0, 1.5, 4.0), ("held", True))

    def test_savings(self):
        self.assertEqual(self.verdict(SAVING, 0.75), ("held", False))
        self.assertEqual(self.verdict(SAVING, 1.0), ("exceeded", False))
        self.assertEqual(self.verdict(SAVING, 0.3), ("refuted", False))
        self.assertEqual(self.verdict(SAVING, 0.5, 0.75, 0.9), ("held", True))

    def test_limits(self):
        self.assertEqual(self.verdict(AT_MOST, 1.5), ("held", False))
        self.assertEqual(self.verdict(AT_MOST, 0.9), ("exceeded", False))
        self.assertEqual(self.verdict(AT_MOST, 2.5), ("refuted", False))
        self.assertEqual(self.verdict({**AT_MOST, "low": 0, "high": 0}, 0, 0), ("held", False))
        self.assertEqual(self.verdict({**AT_MOST, "low": 0, "high": 0}, 1, 1), ("refuted", False))

    def test_what_was_not_measured_has_none(self):
        self.assertEqual(logic.verdict(SPEEDUP, None), ("not measured", False))

    def test_savings_come_from_counts(self):
        measured = logic.claimed(SAVING, row(contender("naive", [100, 100]), contender("ours", [20, 20])))
        self.assertAlmostEqual(measured.median, 0.8)
        self.assertIsNone(logic.claimed(SAVING, row(contender("naive", [0]), contender("ours", [0]))))


class SummaryTest(unittest.TestCase):
    def test_a_claim_without_a_row_is_listed(self):
        line, = logic.summary([SPEEDUP], [], lambda row: [])
        self.assertEqual((line["row"], line["verdict"]), (None, "not measured"))

    def test_a_row_answers_its_claim(self):
        fast = contender("peer", [3], "fast")
        slow = contender("peer", [5], "slow")
        absent = contender("peer", [], "absent", installed=False)
        line, = logic.summary([SPEEDUP], [row(contender("naive", [120]), contender("ours", [2]), absent, slow, fast)], lambda r: [])
        self.assertEqual((line["verdict"], line["peer"]), ("held", fast))

    def test_an_unknown_claim_is_a_mistake(self):
        with self.assertRaises(ValueError):
            logic.summary([SPEEDUP], [row(claim="typo")], lambda row: [])

    def test_a_peer_that_is_missing_is_still_named(self):
        absent = contender("peer", [], "ck", installed=False)
        self.assertEqual(logic.best_peer(row(absent)), absent)
        self.assertIsNone(logic.best_peer(row()))

    def test_the_standard_floor_is_found_by_name(self):
        floor = row(contender("floor", [5]), row_id="floor/rmw")
        self.assertEqual(logic.floor_of(row(floor="rmw"), [floor]), floor["contenders"][0])
        self.assertIsNone(logic.floor_of(row(floor="none"), [floor]))


    def test_of_several_floors_the_highest_counts(self):
        low, high, unknown = contender("floor", [1, 3], "low"), contender("floor", [3, 3], "high"), contender("floor", [], "unknown")
        self.assertEqual(logic.floor_of(row(low, high, unknown), []), high)


class GoalTest(unittest.TestCase):
    ROW = row(contender("ours", [2, 2]), contender("naive", [30, 30], "mutex"))

    def result(self, against, at_least, ratio, floors=()):
        return logic.goal_result(self.ROW, {"against": against, "at_least": at_least, "ratio": ratio}, list(floors))

    def test_at_least(self):
        self.assertTrue(self.result("mutex", True, 15)[1])
        self.assertFalse(self.result("mutex", True, 16)[1])

    def test_at_most(self):
        floor = row(contender("floor", [1]), row_id="floor/l1_load")
        measured, met = self.result("l1_load", False, 2.5, [floor])
        self.assertEqual((measured.median, met), (2, True))
        self.assertFalse(self.result("l1_load", False, 1.5, [floor])[1])

    def test_against_what_is_not_there(self):
        self.assertEqual(self.result("nobody", True, 2), (None, None))

    def test_what_the_floor_would_give_is_told(self):
        goal = {"against": "mutex", "at_least": True, "ratio": 40}
        floor = contender("floor", [1.5, 1.5])
        standard = row(floor, row_id="floor/l1_load")
        self.assertEqual(logic.reach({**self.ROW, "floor": "l1_load"}, goal, [standard]).median, 20)
        self.assertEqual(logic.reach(row(*self.ROW["contenders"], floor), goal, []).median, 20)
        self.assertIsNone(logic.reach(self.ROW, goal, [standard]))
        self.assertIsNone(logic.reach(row(*self.ROW["contenders"], floor), {**goal, "at_least": False}, []))


    def test_why_a_goal_was_missed_is_told(self):
        def why(floor, measured, ratio, at_least=True):
            measured_row = row(contender("ours", measured), contender("naive", [30] * len(measured), "mutex"), contender("floor", [floor]))
            goal = {"against": "mutex", "at_least": at_least, "ratio": ratio}
            return logic.shortfall(logic.goals([{**measured_row, "goals": [goal]}], lambda row: [])[0])

        self.assertEqual(why(1, [2, 2, 2], 40), "floor")
        self.assertEqual(why(1, [2, 2, 1], 30), "spread")
        self.assertEqual(why(1, [2, 2, 1.5], 30), "missed")
        self.assertEqual(why(1, [60, 60, 30], 1, at_least=False), "spread")
        self.assertEqual(why(1, [60, 60, 60], 1, at_least=False), "missed")


class MergeTest(unittest.TestCase):
    def test_rows_remember_their_binary(self):
        merged = logic.merge([run("a_bench", row(row_id="a")), run("b_bench", row(row_id="b"))])
        self.assertEqual([(r["id"], r["binary"]) for r in merged["rows"]], [("a", "a_bench"), ("b", "b_bench")])

    def test_an_id_twice_is_a_mistake(self):
        with self.assertRaises(ValueError):
            logic.merge([run("a_bench", row()), run("b_bench", row())])

    def test_another_schema_is_a_mistake(self):
        with self.assertRaises(ValueError):
            logic.merge([{**run("a_bench"), "schema": 99}])

    def test_floors_are_medians_over_binaries(self):
        floor = lambda ns: row(contender("floor", [ns], "fetch_add"), row_id="floor/rmw")
        floors = logic.floors(logic.merge([run(n, floors=[floor(v)]) for n, v in (("a", 5), ("b", 6), ("c", 9))]))
        self.assertEqual((floors["rmw"][0].median, floors["rmw"][0].max), (6, 9))


class RenderTest(unittest.TestCase):
    def rendered(self, *rows):
        report = {"stamp": {"cpu": "<b>&\"x\""}, **logic.merge([run("a_bench", *rows)])}
        lines, goals, floors, predictions = report_tool.conclude(report, [SPEEDUP])
        return (render.text(report, lines, goals, floors, predictions),
                render.page(report, lines, goals, floors, predictions, "No plots: <matplotlib>."))

    def test_what_comes_from_elsewhere_is_escaped(self):
        _, page = self.rendered(row(contender("naive", [100, 100], "<script>alert(1)</script>"), contender("ours", [1, 1])))
        self.assertNotIn("<script>", page)
        self.assertIn("&lt;script&gt;", page)
        self.assertIn("&lt;b&gt;&amp;&quot;x&quot;", page)
        self.assertIn("No plots: &lt;matplotlib&gt;.", page)

    def test_the_page_needs_nothing_else(self):
        _, page = self.rendered(row(contender("naive", [100]), contender("ours", [1])))
        for word in ("src=", "href=", "@import", "url("):
            self.assertNotIn(word, page)

    def test_a_spread_too_wide_is_no_number(self):
        text, page = self.rendered(row(contender("naive", [100, 100]), contender("ours", [1, 4])))
        self.assertIn("spread too wide: 1.00 to 4.00", text)
        self.assertIn("spread too wide: 1.00 to 4.00", page)

    def test_nothing_is_invented(self):
        text, page = self.rendered()
        self.assertIn("not measured: no benchmark answers this claim", text)
        self.assertIn("not measured", page)
        self.assertIn("not calibrated", text)

    def test_a_missed_goal_is_listed_with_its_reach(self):
        goals = [{"against": "naive", "at_least": True, "ratio": ratio} for ratio in (2, 30)]
        text, page = self.rendered(row(contender("naive", [100, 100]), contender("ours", [10, 10]), contender("floor", [5, 5]), goals=goals))
        self.assertIn("goals: 1 met, 1 missed, 0 not measured", text)
        self.assertIn("missed x/y/t1: >= 30.0 x naive, measured 10.0 (10.0 to 10.0); the floor itself would be 20.0", text)
        self.assertIn("<td>20.0 (20.0 to 20.0)</td>", page)

    def test_missed_goals_are_grouped_by_reason(self):
        goals = [{"against": "naive", "at_least": True, "ratio": ratio} for ratio in (2, 15, 30)]
        rows = [row(contender("naive", [100, 100]), contender("ours", [10, 10]), contender("floor", [5, 5]), goals=goals)]
        report = {"stamp": {"cpu": "x"}, **logic.merge([run("a_bench", *rows)])}
        lines, goals, floors, _ = report_tool.conclude(report, [SPEEDUP])
        text = render.markdown(report, lines, goals, floors)
        self.assertIn("1 met, 2 missed, 0 not measured", text)
        out_of_reach, spread, missed = text.split("### ")[1:]
        self.assertIn("| x/y/t1 | >= 30.0 x naive | 10.0 (10.0 to 10.0) | 20.0 |", out_of_reach)
        self.assertNotIn("x/y/t1", spread)
        self.assertIn("| x/y/t1 | >= 15.0 x naive | 10.0 (10.0 to 10.0) | 20.0 |", missed)

    def test_the_simulation_is_called_one(self):
        floor = lambda name, ns: row(contender("floor", [ns]), row_id="floor/" + name)
        floors = [floor("rmw", 5), floor("rmw_contended", 35), floor("line_transfer", 70), floor("l1_load", 1)]
        self.assertIsNotNone(report_tool.simulation.Costs.of_floors(logic.floors(logic.merge([run("a", floors=floors)]))))
        _, page = self.rendered()
        self.assertIn("SIMULATION, not measurement", page)


class ClaimsTest(unittest.TestCase):
    def test_every_optimisation_of_the_seed_is_there(self):
        with open("bench/claims.json") as stream:
            claims = json.load(stream)["claims"]
        self.assertEqual({c["optimisation"] for c in claims} - {0}, set(range(1, 16)))
        self.assertEqual(len({(c["optimisation"], c["claim"]) for c in claims}), len(claims))
        for claim in claims:
            self.assertIn(claim["metric"], ("speedup", "saving", "at_most"))
            self.assertLessEqual(claim["low"], claim["high"])


class CompareTest(unittest.TestCase):
    def test_a_planted_slowdown_is_seen(self):
        a, b = [10, 10.2, 9.9, 10.1, 10], [15, 15.2, 14.8, 15.1, 15]
        ratio, low, high = compare.interval(a, b)
        self.assertAlmostEqual(ratio, 1.5, delta=0.02)
        self.assertGreater(low, 1.4)
        self.assertLess(high, 1.6)

    def test_noise_is_not_a_difference(self):
        _, low, high = compare.interval([10, 12, 9, 11, 8], [11, 9, 12, 8, 10])
        self.assertLess(low, 1)
        self.assertGreater(high, 1)

    def test_the_interval_is_students(self):
        # Two rounds each, logarithms 0 and 2 against 1 and 3: difference 1, standard error sqrt(2), 2 degrees of freedom.
        import math
        ratio, low, high = compare.interval([1, math.exp(2)], [math.e, math.exp(3)])
        self.assertAlmostEqual(math.log(ratio), 1)
        self.assertAlmostEqual(math.log(high) - 1, 4.303 * math.sqrt(2))
        self.assertAlmostEqual(1 - math.log(low), 4.303 * math.sqrt(2))

    def test_one_round_has_no_interval(self):
        self.assertIsNone(compare.interval([1], [2, 3]))
        self.assertIsNone(compare.interval([1, None], [2, 3]))

    def test_equal_rounds_need_no_interval(self):
        self.assertEqual(compare.interval([2, 2], [4, 4]), (2, 2, 2))

    def test_runs_agree_where_their_rounds_overlap(self):
        a = run("x", row(contender("ours", [1, 3]), contender("naive", [4, 5]), contender("peer", [7], torn=1)))
        b = run("x", row(contender("ours", [3, 9]), contender("naive", [6, 7]), contender("peer", [7])))
        self.assertEqual(compare.agreement(a, b), (1, 2))

    def test_every_contender_of_either_is_listed(self):
        a = run("x", row(contender("ours", [1, 1]), contender("naive", [2, 2]), row_id="both"), row(contender("ours", [1, 1]), row_id="old"))
        b = run("x", row(contender("ours", [2, 2]), contender("naive", [2], torn=1), row_id="both"), row(contender("ours", [1, 1]), row_id="new"))
        results = {(r, n): what for r, n, what in compare.compare(a, b)}
        self.assertEqual(results[("both", "ours")], (2, 2, 2))
        self.assertEqual(results[("both", "naive")], "wrong results")
        self.assertEqual(results[("old", "ours")], "only in A")
        self.assertEqual(results[("new", "ours")], "only in B")
        self.assertIn("slower", compare.text(compare.compare(a, b)))


if __name__ == "__main__":
    unittest.main()
