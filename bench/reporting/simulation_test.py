import unittest

from bench.reporting import simulation
from bench.reporting.simulation import Costs, simulate

COSTS = Costs(rmw=5.0, rmw_contended=35.0, transfer=70.0, load=1.0)


def shared(core, n):
    return (("write", "word"),)


def own(core, n):
    return (("write", core),)


class CalibrationTest(unittest.TestCase):
    def test_the_batch_explains_the_contended_figure(self):
        self.assertAlmostEqual(2 * COSTS.transfer / COSTS.batch + 2 * COSTS.rmw, 35.0)

    def test_a_contended_figure_no_slower_than_taking_turns_needs_no_batch(self):
        self.assertEqual(Costs(rmw=5.0, rmw_contended=9.0, transfer=70.0, load=1.0).batch, 1.0)

    def test_work_fills_what_lines_leave(self):
        make = lambda work: lambda core, n: (("work", work), ("write", "word"))
        work = simulation.calibrated_work(COSTS, make, 25.0)
        self.assertAlmostEqual(work, 20.0, delta=0.1)
        self.assertEqual(simulation.calibrated_work(COSTS, make, 1.0), 0.0)
        self.assertEqual(simulation.calibrated_work(COSTS, make, None), 0.0)


class SimulateTest(unittest.TestCase):
    def test_one_core_takes_the_service_time(self):
        self.assertAlmostEqual(simulate(COSTS, shared, 1).per_op_ns(), 5.0, delta=0.01)
        self.assertAlmostEqual(simulate(COSTS, lambda c, n: (("read", "x"), ("work", 9.0)), 1).per_op_ns(), 10.0, delta=0.02)

    def test_two_cores_reproduce_the_contended_figure(self):
        self.assertAlmostEqual(simulate(COSTS, shared, 2).per_op_ns(), 35.0, delta=35 * 0.1)

    def test_operations_are_conserved(self):
        # On one line they are serialised: together two cores do no more than fits into the time, and every operation
        # that began is one that a core performed.
        begun = []

        def counted(core, n):
            begun.append((core, n))
            return (("write", "word"),)

        done = simulate(COSTS, counted, 2, duration_ns=10_000.0).done
        self.assertEqual(len(begun), sum(done) + 2)  # each core has one under way
        self.assertEqual(len(set(begun)), len(begun))
        self.assertLessEqual(sum(done) * COSTS.rmw, 10_000.0)

    def test_it_is_fair_to_cores_that_do_the_same(self):
        done = simulate(COSTS, shared, 4).done
        self.assertLess(max(done) - min(done), max(done) * 0.1)

    def test_lines_of_their_own_scale_perfectly(self):
        one, many = simulate(COSTS, own, 1), simulate(COSTS, own, 64)
        self.assertAlmostEqual(many.per_op_ns(), one.per_op_ns(), delta=0.1)

    def test_a_shared_line_does_not_scale(self):
        two, many = simulate(COSTS, shared, 2), simulate(COSTS, shared, 64)
        self.assertGreaterEqual(many.per_op_ns() / 64, two.per_op_ns() / 2 * 0.9)

    def test_readers_share(self):
        reader = lambda core, n: (("read", "x"), ("work", 10.0))
        self.assertAlmostEqual(simulate(COSTS, reader, 32).per_op_ns(), 11.0 + 70.0 / 250, delta=0.1)  # one miss each

    def test_a_writer_takes_the_line_from_readers(self):
        def mixed(core, n):
            return (("write", "x"),) if core == 0 else (("read", "x"),)

        beside = simulate(COSTS, mixed, 2)
        alone = simulate(COSTS, lambda core, n: (("read", "x"),), 1)
        self.assertLess(beside.done[1] / beside.ns, alone.done[0] / alone.ns / 2)
        self.assertGreater(beside.done[0], 0)

    def test_it_is_deterministic(self):
        self.assertEqual(simulate(COSTS, shared, 16), simulate(COSTS, shared, 16))

    def test_an_unknown_step_is_a_mistake(self):
        with self.assertRaises(ValueError):
            simulate(COSTS, lambda core, n: (("teleport", "x"),), 1)


def row(threads, naive, ours, clock="window"):
    contender = lambda role, ns: {"role": role, "name": role, "installed": True, "rounds": [ns], "torn": 0, "lost": 0}
    return {"id": "counter/add/t%d" % threads, "optimisation": 1, "background": 0, "unit": "ns", "threads": threads, "clock": clock,
            "contenders": [contender("naive", naive), contender("ours", ours)]}


class PredictTest(unittest.TestCase):
    def test_it_is_checked_where_it_was_measured(self):
        rows = [row(1, 6.0, 2.0), row(2, 40.0, 2.0), row(4, 400.0, 400.0, "thread cpu")]
        counter = simulation.predict(COSTS, rows)[0]
        self.assertEqual(set(counter["errors"]), {1, 2}, "threads that share cores check nothing")
        self.assertEqual(counter["calibrated_by"], "counter/add")
        self.assertAlmostEqual(counter["errors"][1][0], 0.0, delta=0.01)
        self.assertAlmostEqual(counter["errors"][2][1], 0.0, delta=0.01)
        self.assertLess(abs(counter["errors"][2][0]), 0.5)

    def test_without_rows_nothing_is_checked(self):
        for prediction in simulation.predict(COSTS, []):
            self.assertEqual(prediction["errors"], {})
            self.assertIsNone(prediction["calibrated_by"])

    def test_the_costs_need_every_floor(self):
        self.assertIsNone(Costs.of_floors({}))


if __name__ == "__main__":
    unittest.main()
