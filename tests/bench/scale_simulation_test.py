"""bench/scale_simulation.py against queueing theory."""
import contextlib
import io
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
sys.dont_write_bytecode = True
import scale_simulation as simulation  # pylint: disable=wrong-import-position

ENDLESS = {"queue": 10**9, "deadline_ms": 1e12}
SHARED_COST = simulation.service_times({1: 10.0, 2: 12.0, 4: 18.0, 8: 30.0}, 8)


class ScaleSimulationTest(unittest.TestCase):
    def test_one_replica_without_batches_is_the_queue_of_pollaczek_and_khinchine(self):
        service = 10.0
        for load in (0.3, 0.6, 0.8):
            with self.subTest(load=load):
                expected = service * (1 + load / (2 * (1 - load)))  # M/D/1
                result = simulation.simulate([0.0, service], 1, 1000 * load / service, requests=300000, **ENDLESS)
                self.assertAlmostEqual(result["mean_ms"] / expected, 1, delta=0.03)
                self.assertAlmostEqual(result["utilization"], load, delta=0.02)

    def test_batches_that_share_a_cost_are_never_worse(self):
        for rate in (20, 60, 90, 150, 250):
            for policy in simulation.POLICIES:
                with self.subTest(rate=rate, policy=policy):
                    alone = simulation.simulate(SHARED_COST[:2], 1, rate, policy=policy)
                    batches = simulation.simulate(SHARED_COST, 1, rate, policy=policy)
                    self.assertLessEqual(batches["mean_ms"], alone["mean_ms"])
                    self.assertLessEqual(batches["p99_ms"], alone["p99_ms"])
                    self.assertLessEqual(batches["refused"], alone["refused"])

    def test_the_shorter_queue_is_never_worse_than_turns(self):
        for rate in (100, 170):
            turns, shorter = (simulation.simulate([0.0, 10.0], 2, rate, policy=policy)
                              for policy in simulation.POLICIES)
            self.assertLessEqual(shorter["mean_ms"], turns["mean_ms"])

    def test_a_full_queue_refuses_what_cannot_be_served(self):
        result = simulation.simulate([0.0, 10.0], 1, 200, queue=8)  # twice what it can do
        self.assertAlmostEqual(result["refused"], 0.5, delta=0.02)
        self.assertLessEqual(result["p99_ms"], 8 * 10.0)
        self.assertAlmostEqual(result["utilization"], 1, delta=0.01)

    def test_none_waits_for_longer_than_the_deadline(self):
        result = simulation.simulate([0.0, 10.0], 1, 200, queue=10**9, deadline_ms=50.0)
        self.assertAlmostEqual(result["refused"], 0.5, delta=0.02)
        self.assertLessEqual(result["p99_ms"], 60.0)

    def test_a_seed_is_one_course_of_events(self):
        first, again, other = (simulation.simulate(SHARED_COST, 3, 300, seed=seed) for seed in (7, 7, 8))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_sizes_between_those_measured_cost_the_next_larger(self):
        self.assertEqual(simulation.service_times({1: 1.0, 4: 3.0}, 4), [0.0, 1.0, 3.0, 3.0, 3.0])
        with self.assertRaises(ValueError):
            simulation.service_times({1: 1.0}, 2)

    def test_json_holds_what_the_table_shows(self):
        arguments = ["--rates", "10,20", "--replicas", "1,2", "--requests", "500"]
        texts = []
        for extra in ([], ["--json"]):
            with contextlib.redirect_stdout(io.StringIO()) as text:
                simulation.main(arguments + extra)
            texts.append(text.getvalue())
        rows = json.loads(texts[1])
        self.assertEqual(len(rows), 8)
        self.assertEqual(len(texts[0].splitlines()), 2 + len(rows))
        self.assertIn(f"| {rows[3]['p50_ms']:.0f} | {rows[3]['p99_ms']:.0f} |", texts[0])


if __name__ == "__main__":
    unittest.main()
