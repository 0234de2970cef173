"""bench/gpu_report.py: partial results are kept, and a goal is met only by what was measured."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
sys.dont_write_bytecode = True
import gpu_report as report  # pylint: disable=wrong-import-position


def training(network, batch, eager, compiled, tflops):
    return {"network": network, "batch": batch, "failures": {},
            "ratios": {"eager": {"median": eager}, "compile": {"median": compiled}},
            "sides": {"macadam": {"milliseconds": 1, "images_per_second": 1, "tflops": tflops,
                                  "memory_mib": 1}}}


class Merge(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def merge(self, section, status, data, seconds=10):
        (self.out / "data").write_text(json.dumps(data) if data is not None else "")
        (self.out / "log").write_text("first\nlast line of the log\n")
        report.merge(self.out, section, status, seconds, self.out / "data", self.out / "log")
        return json.loads((self.out / "results.json").read_text())

    def verdict(self, results, text):
        found = [g for g in results["goals"] if text in g["goal"]]
        self.assertEqual(len(found), 1, text)
        return found[0]["verdict"]

    def test_a_cut_section_keeps_its_data_and_goes_on(self):
        self.assertEqual(report.state(self.out, "headline"), "none")
        data = {"training_unet_b8": training("unet", 8, 1.6, 1.1, 1)}
        self.merge("headline", 124, data)
        self.assertEqual(report.state(self.out, "headline"), "cut")
        self.assertIn("| unet | 8 | macadam |", (self.out / "report.md").read_text())
        results = self.merge("headline", 0, data, 5)
        self.assertEqual(report.state(self.out, "headline"), "passed")
        self.assertEqual(results["headline"]["seconds"], 15)

    def test_throughput_is_listed_beside_latency(self):
        data = {f"throughput_unet_{n}x1": {
            "network": "unet", "precision": "bf16", "replicas": n, "batch": 1, "p50_ms": 1,
            "images_per_second": 100 * n, "p95_ms": 2, "memory_mib": 64} for n in (4, 1)}
        self.merge("throughput", 0, data)
        text = (self.out / "report.md").read_text()
        self.assertLess(text.index("| unet | bf16 | 1 | 1 | 100.0 |"),
                        text.index("| unet | bf16 | 4 | 1 | 400.0 |"))

    def test_a_plans_choices_are_compared_with_one_taken_back(self):
        data = {f"choice_unet_{way}": {"network": "unet", "milliseconds": ms}
                for way, ms in (("both", 8), ("plain", 10), ("one", 9))}
        data["choice_half_both"] = {"network": "half", "milliseconds": 1}  # cut by the time limit
        self.merge("choices", 0, data)
        text = (self.out / "report.md").read_text()
        self.assertIn("| unet | 8.000 | 10.000, 1.250x | 9.000, 1.125x |", text)
        self.assertNotIn("| half |", text)

    def test_a_peer_that_computes_something_else_is_named_and_gets_no_ratio(self):
        entry = {"network": "unet", "precision": "bf16", "best_peer": None,
                 "failures": {"TensorRT": "FAILED: does not compute the same"},
                 "other_classes": {"TensorRT": 0.4}, "other_classes_limit": 0.01,
                 "sides": {"macadam": {"p50_ms": 1, "p95_ms": 2}}}
        good = entry | {"precision": "fp32", "best_peer": "eager", "ratio": {"median": 1.5},
                        "other_classes": {"TensorRT": 0.4, "eager": 0.002},
                        "sides": entry["sides"] | {"eager": {"p50_ms": 1.5, "p95_ms": 2}}}
        scores = {"network": "unet", "error": {"fp16": 1e-3}, "other_classes": {"fp16": 2e-4},
                  "limits": {"error": {"fp16": 0.01}, "other_classes": {"fp16": 0.01}}}
        results = self.merge("fp32", 0, {"inference_unet_bf16": entry,
                                         "inference_unet_fp32": good, "scores_unet": scores})
        text = (self.out / "report.md").read_text()
        self.assertIn("| unet | bf16 | TensorRT | FAILED: does not compute the same |", text)
        self.assertIn("| 1.500 | 2.000 | 0.2 % (limit 1 %) | 1.50x as fast |", text)
        self.assertIn("fp16: scores within 1.0e-03 (limit 0.01), other "
                      "classes 0.02 % (limit 1 %)", text)
        self.assertEqual(self.verdict(results, "latency of unet, bf16"), "not measured")
        self.assertEqual(self.verdict(results, "latency of unet, fp32"), "met")

    def test_a_failed_section_shows_the_end_of_its_log(self):
        self.merge("kernels", 1, None)
        self.assertEqual(report.state(self.out, "kernels"), "failed")
        self.assertIn("last line of the log", (self.out / "report.md").read_text())

    def test_batch_8_decides_by_the_goals_of_its_network(self):
        data = {"matrix_rate": {"n": 8192, "tflops": 100, "device": "gpu", "torch": "2"},
                "training_vgg16_unet_b8": training("vgg16_unet", 8, 1.24, 1.1, 60),
                "training_unet_mini_b8": training("unet_mini", 8, 1.39, 1.15, 60)}
        self.merge("headline", 0, data)
        self.merge("resnet", 0, {"training_resnet34_unet_b8": training("resnet34_unet", 8, 1.2,
                                                                       1.04, 50)})
        results = self.merge("large", 0, {
            "training_vgg16_unet_b16": training("vgg16_unet", 16, 1.4, 0.9, 54)})
        for text, verdict in (("vgg16_unet against PyTorch eager", "not met"),
                              ("vgg16_unet against PyTorch compile", "met"),
                              ("unet_mini against PyTorch eager", "not met"),
                              ("unet_mini against PyTorch compile", "met"),
                              ("resnet34_unet against PyTorch eager", "met"),
                              ("resnet34_unet against PyTorch compile", "not met"),
                              ("of unet against PyTorch eager", "not measured")):
            self.assertEqual(self.verdict(results, text), verdict, text)

    def test_a_goal_shows_the_part_that_is_not_cudnns(self):
        text = ("layer kind\nconv1 convolution 1 1 0 20%\n\nby kind\n"
                "          convolution 3.0 5.0 0.000 80% 1 1 1%\n"
                "          relu        0.5 0.5 0.000 10% 1 1 1%\n"
                "          optimizer   0.0 0.0 1.000 10% 1 1 1%\n\n10 ms a step\n")
        self.merge("profile", 0, {"unet_mini": text})
        self.merge("headline", 0, {"training_unet_mini_b8": training("unet_mini", 8, 1.5, 1.2, 9)})
        self.assertIn("| 1.50x; 20 % of the step are not cuDNN's | met |",
                      (self.out / "report.md").read_text())

    def test_what_is_not_reached_is_named_and_keeps_what_it_has(self):
        report.not_reached(self.out, "resnet")
        self.assertEqual(report.state(self.out, "resnet"), "not reached")
        self.assertIn("## resnet: not reached", (self.out / "report.md").read_text())
        self.merge("resnet", 124, {"matrix_rate": {"tflops": 1}})
        report.not_reached(self.out, "resnet")
        self.assertEqual(report.state(self.out, "resnet"), "cut")

    def test_kernels_count_only_where_they_are_elementwise(self):
        case = {"name": "relu/bf16", "us": 1, "roof_share": 0.9, "elementwise": 1.0}
        other = case | {"name": "loss/bf16", "roof_share": 0.5, "elementwise": 0.0}
        results = self.merge("kernels", 0, {"cases": [case, other], "failures": []})
        self.assertEqual(self.verdict(results, "element-wise"), "met")
        slow = case | {"name": "silu/bf16", "roof_share": 0.7}
        results = self.merge("kernels", 0, {"cases": [case, slow], "failures": []})
        self.assertEqual(self.verdict(results, "element-wise"), "not met")

    def test_nothing_measured_meets_nothing(self):
        results = self.merge("build", 0, {"gpu": {}, "nvcc": None, "programs": "carried"})
        self.assertEqual({g["verdict"] for g in results["goals"]}, {"not measured"})


class Collect(unittest.TestCase):
    def test_a_skipped_cuda_test_is_a_failure(self):
        suites = {"testsuites": [{"name": "Cuda/Op", "testsuite": [
            {"name": "a", "result": "SKIPPED"}, {"name": "b", "result": "COMPLETED"}]}]}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "test_kernels.json")
            file.write_text(json.dumps(suites))
            found = report.tests("cuda", file)
        self.assertEqual(found["binaries"]["test_kernels"],
                         {"run": 2, "skipped": 1, "failed": 1, "cuda": 2})
        self.assertEqual([f["test"] for f in found["failures"]], ["Cuda/Op.a"])

    def test_cuda_tests_are_those_of_its_suites(self):
        suites = {"testsuites": [
            {"name": name, "testsuite": [{"name": "SkippedForCuda", "result": "SKIPPED"}]}
            for name in ("CudaPlan", "Networks/CudaNetworkGoldens", "CommandLine", "CudnnRuntime")]}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "test_engine.json")
            file.write_text(json.dumps(suites))
            found = report.tests("cuda", file)
        self.assertEqual(found["binaries"]["test_engine"],
                         {"run": 4, "skipped": 4, "failed": 2, "cuda": 2})

    def test_a_program_that_crashed_is_a_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "test_engine.ended")
            file.write_text("exit 139\n")
            found = report.tests("cuda", file)
        self.assertEqual(found["failures"][0], {
            "test": "test_engine", "failure": "the program ended with exit 139"})

    def test_a_cpu_needs_no_cuda_test(self):
        suites = {"testsuites": [{"name": "Cpu/Op", "testsuite": [{"name": "a"}]}]}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "test_kernels.json")
            file.write_text(json.dumps(suites))
            self.assertEqual(report.tests("cpu", file)["failures"], [])
            self.assertEqual(report.tests("cuda", file)["failures"][0]["test"], "Cuda*")

    def test_the_description_of_the_gpu_is_what_a_test_noted(self):
        suites = {"testsuites": [{"name": "CudaConv", "testsuite": [
            {"name": "other"}, {"name": "noted", "device": '{"deviceVer":900}'}]}]}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "test_kernels.json")
            file.write_text(json.dumps(suites))
            self.assertEqual(report.device_description(file), {"deviceVer": 900})
            file.write_text(json.dumps({"testsuites": []}))
            self.assertEqual(report.device_description(file), {})

    def test_names_of_benchmarks_lose_how_they_were_timed(self):
        case = {"name": "relu/bf16/iterations:1/manual_time", "real_time": 2.0, "time_unit": "us",
                "GBps": 3000.0}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "bf16.json")
            file.write_text(json.dumps({"benchmarks": [case]}))
            found = report.benchmarks(file)
        self.assertEqual(found["cases"], [{"name": "relu/bf16", "us": 2.0, "GBps": 3000.0}])


if __name__ == "__main__":
    unittest.main()
