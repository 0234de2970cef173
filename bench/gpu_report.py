"""Turns what bench/gpu_check.sh measured into OUT/results.json and OUT/report.md."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

CUT = {75, 124, 137}  # exit statuses of a section that ran out of time
# Training steps at 512x1024, batch 8, in bf16: how many times as fast as PyTorch eager and
# torch.compile. Both sides run the same cuDNN kernels for 65 to 80 % of a step, which is why they
# differ by network.
TRAINING_GOALS = {"unet_mini": (1.4, 1.15), "vgg16_unet": (1.25, 1.1), "unet": (1.2, 1.05),
                  "resnet34_unet": (1.2, 1.05)}
LATENCY_GOAL = 1.2  # times as fast as the best peer there
TRAINING_SECTIONS = ("headline", "resnet", "large")
INFERENCE_SECTIONS = ("latency", "fp32", "throughput")


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine(how):
    """The GPU, its driver, and how the programs came here."""
    fields = ("name", "driver_version", "memory.total", "compute_cap", "clocks.max.sm")
    line = output_of("nvidia-smi", "--query-gpu=" + ",".join(fields), "--format=csv,noheader")
    gpu = dict(zip(fields, line.splitlines()[0].split(", "))) if line else {}
    nvcc = output_of("nvcc", "--version")
    return {"gpu": gpu, "nvcc": nvcc.splitlines()[-2] if nvcc else None, "programs": how}


def existing(files):
    """Without a shell's pattern that fits none."""
    return (file for file in map(Path, files) if file.exists())


def tests(device, *files):
    """Counts of GoogleTest; a CUDA test that was skipped counts as failed, and so does a program
    that did not end as it should (NAME.ended says how), and a GPU without CUDA tests."""
    binaries, failures = {}, []
    for file in existing(files):
        count = binaries.setdefault(file.stem, {"run": 0, "skipped": 0, "failed": 0, "cuda": 0})
        if file.suffix == ".ended":
            count["failed"] += 1
            failures.append({"test": file.stem,
                             "failure": f"the program ended with {file.read_text().strip()}"})
            continue
        for suite in json.loads(file.read_text())["testsuites"]:
            cuda = re.search(r"(^|/)Cuda", suite["name"]) is not None
            for test in suite["testsuite"]:
                name = f"{suite['name']}.{test['name']}"
                skipped = test.get("result") == "SKIPPED"
                failed = bool(test.get("failures")) or (cuda and skipped)
                count["run"] += 1
                count["skipped"] += skipped
                count["failed"] += failed
                count["cuda"] += cuda
                if failed:
                    first = (test.get("failures") or [{"failure": "skipped"}])[0]["failure"]
                    failures.append({"test": name, "failure": first[:600]})
    if device == "cuda" and not any(count["cuda"] for count in binaries.values()):
        failures.append({"test": "Cuda*", "failure": "no CUDA test in this build"})
    return {"binaries": binaries, "failures": failures}


def device_description(*files):
    """cuDNN's description of the GPU, which one of the tests has noted."""
    for file in existing(files):
        for suite in json.loads(file.read_text())["testsuites"]:
            for test in suite["testsuite"]:
                if "device" in test:
                    return json.loads(test["device"])
    return {}


def benchmarks(*files):
    """Google Benchmark's cases: time in microseconds, and counters as they are."""
    scale = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}
    known = {"name", "run_name", "run_type", "repetitions", "repetition_index", "threads",
             "iterations", "real_time", "cpu_time", "time_unit", "family_index",
             "per_family_instance_index", "label", "us"}
    cases, failures = [], []
    for file in existing(files):
        for case in json.loads(file.read_text())["benchmarks"]:
            name = re.sub(r"/(iterations:1|manual_time|real_time)\b", "", case["name"])
            if case.get("error_occurred"):
                failures.append({"case": name, "failure": case["error_message"]})
                continue
            entry = {"name": name, "us": case["real_time"] * scale[case["time_unit"]]}
            cases.append(entry | {key: value for key, value in case.items() if key not in known})
    return {"cases": cases, "failures": failures}


def runs(folder, *names):
    """The last epoch, the best speed and the evaluation of those training runs that have ended."""
    result = {}
    for name in names:
        evaluation = Path(folder, f"eval_{name}.json")
        if not evaluation.exists():
            continue
        with open(Path(folder, "runs", name, "results.csv"), newline="") as file:
            rows = [{key: float(value) for key, value in row.items()}
                    for row in csv.DictReader(file)]
        seconds = sum(row["seconds"] for row in rows)
        result[name] = {
            "epochs": len(rows),
            "last": rows[-1],
            "images_per_second": max(row["images_per_second"] for row in rows),
            "data_wait_share": sum(row["data_wait_seconds"] for row in rows) / seconds,
            "evaluation": json.loads(evaluation.read_text()),
        }
    return {"runs": result}


def files_of(folder):
    """The JSON files of a folder: name -> content."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(Path(folder).glob("*.json"))}


def texts(folder):
    return {file.stem: file.read_text().strip() for file in sorted(Path(folder).glob("*.txt"))}


def read_results(out):
    file = Path(out, "results.json")
    return json.loads(file.read_text()) if file.exists() else {}


def state(out, section):
    """passed, cut, failed, not reached or none."""
    return read_results(out).get(section, {}).get("state", "none")


def write_results(out, results):
    results.pop("goals", None)
    results["goals"] = goals(results)
    Path(out, "results.json").write_text(json.dumps(results, indent=1) + "\n")
    Path(out, "report.md").write_text(markdown(results))


def not_reached(out, section):
    """Notes a section for which no time was left; what it has measured before stays."""
    results = read_results(out)
    results.setdefault(section, {"state": "not reached", "seconds": 0, "data": {}, "log_end": []})
    write_results(out, results)


def merge(out, section, status, seconds, data_file, log_file):
    status = int(status)
    results = read_results(out)
    before = results.get(section, {})
    took = int(seconds) + (before["seconds"] if before.get("state") == "cut" else 0)
    entry = {"state": "passed" if status == 0 else "cut" if status in CUT else "failed",
             "exit": status, "seconds": took}
    text = Path(data_file).read_text()
    entry["data"] = json.loads(text) if text.strip() else {}
    if status != 0:
        entry["log_end"] = Path(log_file).read_text(errors="replace").splitlines()[-15:]
    results[section] = entry
    write_results(out, results)


def data_of(results, *sections):
    """What sections have measured, together."""
    found = {}
    for section in sections:
        found |= results.get(section, {}).get("data") or {}
    return found


def goal(what, wanted, measured=None, met=None):
    verdict = "not measured" if measured is None else "met" if met else "not met"
    return {"goal": what, "wanted": wanted, "measured": measured, "verdict": verdict}


def outside_convolutions(profile):
    """The share of a step that is not convolutions', by the sums of `macadam train --profile`: what
    both sides do not leave to cuDNN. None where it is not there."""
    _, found, rows = profile.partition("\nby kind\n")
    if not found:
        return None
    milliseconds = {}
    for line in rows.split("\n\n")[0].splitlines():
        kind, forward, backward, other = line.split()[:4]
        milliseconds[kind] = float(forward) + float(backward) + float(other)
    convolutions = sum(ms for kind, ms in milliseconds.items() if kind.startswith("conv"))
    return 1 - convolutions / sum(milliseconds.values())


def training_goals(peers, profiles):
    for number, peer in enumerate(("eager", "compile")):
        for network, wanted in TRAINING_GOALS.items():
            what = f"training step of {network} against PyTorch {peer}"
            entry = peers.get(f"training_{network}_b8", {"ratios": {}})
            if peer not in entry["ratios"]:
                yield goal(what, f">= {wanted[number]}x")
                continue
            ratio = entry["ratios"][peer]["median"]
            share = outside_convolutions(profiles.get(network, ""))
            text = f"{ratio:.2f}x" + (
                "" if share is None else f"; {100 * share:.0f} % of the step are not cuDNN's")
            yield goal(what, f">= {wanted[number]}x", text, ratio >= wanted[number])


def inference_goals(inference):
    for precision in ("bf16", "fp16", "fp32"):
        for network in TRAINING_GOALS:
            entry = inference.get(f"inference_{network}_{precision}")
            what = f"latency of {network}, {precision}, against the best peer"
            if entry is None or entry["best_peer"] is None:
                yield goal(what, f">= {LATENCY_GOAL}x")
            else:
                yield goal(what, f">= {LATENCY_GOAL}x",
                           f"{entry['ratio']['median']:.2f}x ({entry['best_peer']})",
                           entry["ratio"]["median"] >= LATENCY_GOAL)


def kernel_goal(cases):
    what = "element-wise kernels and norms, share of a copy's bandwidth"
    shares = [(case["roof_share"], case["name"]) for case in cases if case.get("elementwise")]
    if not shares:
        return goal(what, ">= 80 %")
    enough = sum(share >= 0.8 for share, _ in shares)
    low, name = min(shares)
    return goal(what, ">= 80 %", f"{enough} of {len(shares)}; lowest {100 * low:.0f} % ({name})",
                enough == len(shares))


def goals(results):
    """What the engine is built for beside what was measured."""
    found = [*training_goals(data_of(results, *TRAINING_SECTIONS), data_of(results, "profile")),
             *inference_goals(data_of(results, *INFERENCE_SECTIONS)),
             kernel_goal(data_of(results, "kernels").get("cases", []))]
    waits = {name: run["data_wait_share"]
             for name, run in data_of(results, "camvid").get("runs", {}).items()}
    found.append(goal("GPU waiting for data", "< 2 %",
                      ", ".join(f"{100 * share:.2f} % ({name})" for name, share in waits.items())
                      or None, waits and max(waits.values()) < 0.02))
    for section, what in (("tests", "all CUDA tests pass"),
                          ("sanitizer", "no error of memory and no race")):
        seen = results.get(section, {}).get("state")
        found.append(goal(what, "yes", {"passed": "yes", "failed": "no"}.get(seen),
                          seen == "passed"))
    return found


def peers_table(data):
    if "matrix_rate" in data:
        rate = data["matrix_rate"]
        yield (f"bf16 product of {rate['n']} x {rate['n']} matrices: {rate['tflops']:.4g} TFLOP/s "
               f"({rate['device']}, PyTorch {rate['torch']}).\n")
    yield "| network | batch | side | ms | images/s | TFLOP/s | of a product | MiB | Macadam is |"
    yield "|---|--:|---|--:|--:|--:|--:|--:|--:|"
    most = data.get("matrix_rate", {}).get("tflops", float("nan"))
    for name, entry in data.items():
        if not name.startswith("training_"):
            continue
        for side, m in entry["sides"].items():
            ratio = entry["ratios"].get(side)
            yield (f"| {entry['network']} | {entry['batch']} | {side} | {m['milliseconds']:.2f} | "
                   f"{m['images_per_second']:.1f} | {m['tflops']:.4g} | "
                   f"{100 * m['tflops'] / most:.1f} % | {m['memory_mib']:.0f} | "
                   + (f"{ratio['median']:.2f}x as fast |" if ratio else "|"))
        for peer, text in entry["failures"].items():
            yield f"| {entry['network']} | {entry['batch']} | {peer} | {text.splitlines()[0]} |"


def choices_table(data):
    """Training steps with what plans choose, and with one choice taken back; 19 classes."""
    networks = sorted({entry["network"] for name, entry in data.items()
                       if name.startswith("choice_")})
    if not networks:
        return
    yield ("\n| network | padded, two inputs, ms | channels as they are, ms and of that | "
           "one input |")
    yield "|---|--:|--:|--:|"
    for network in networks:
        times = [data.get(f"choice_{network}_{way}", {}).get("milliseconds")
                 for way in ("both", "plain", "one")]
        if all(times):
            yield (f"| {network} | {times[0]:.3f} | "
                   + " | ".join(f"{time:.3f}, {time / times[0]:.3f}x" for time in times[1:]) + " |")


def inference_table(data):
    """`other classes`: of the pixels, against PyTorch in fp32."""
    yield "| network | precision | side | p50, ms | p95, ms | other classes | Macadam is |"
    yield "|---|---|---|--:|--:|--:|--:|"
    for name, entry in data.items():
        if not name.startswith("inference_"):
            continue
        for side, m in entry["sides"].items():
            ratio = f"{entry['ratio']['median']:.2f}x as fast" if side == entry["best_peer"] else ""
            others = ""
            if side in entry["other_classes"]:
                others = (f"{100 * entry['other_classes'][side]:.2g} % "
                          f"(limit {100 * entry['other_classes_limit']:g} %)")
            yield (f"| {entry['network']} | {entry['precision']} | {side} | {m['p50_ms']:.3f} | "
                   f"{m['p95_ms']:.3f} | {others} | {ratio} |")
        for peer, text in entry["failures"].items():
            yield f"| {entry['network']} | {entry['precision']} | {peer} | {text.splitlines()[0]} |"


def throughput_table(data):
    """Of replicas on streams of their own, from host memory to host memory."""
    found = [entry for name, entry in data.items() if name.startswith("throughput_")]
    if not found:
        return
    yield "\n| network | precision | replicas | batch | images/s | p50, ms | p95, ms | MiB |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for m in sorted(found, key=lambda m: (m["network"], m["batch"], m["replicas"])):
        yield (f"| {m['network']} | {m['precision']} | {m['replicas']} | {m['batch']} | "
               f"{m['images_per_second']:.1f} | {m['p50_ms']:.3f} | {m['p95_ms']:.3f} | "
               f"{m['memory_mib']:.0f} |")


def scores_lines(data):
    for name, entry in data.items():
        if name.startswith("scores_"):
            limits = entry["limits"]
            yield (f"- {entry['network']}, against PyTorch in fp32: " + "; ".join(
                f"{p}: scores within {error:.1e} (limit {limits['error'][p]:g}), other classes "
                f"{100 * entry['other_classes'][p]:.2g} % "
                f"(limit {100 * limits['other_classes'][p]:g} %)"
                for p, error in entry["error"].items()))


def kernels_table(data):
    def cell(case, key, factor=1, unit=""):
        return f"{factor * case[key]:.4g}{unit}" if key in case else ""
    yield "| case | us | MB | GB/s | of a copy | TFLOP/s |\n|---|--:|--:|--:|--:|--:|"
    for case in data["cases"]:
        yield (f"| {case['name']} | {case['us']:.1f} | {cell(case, 'bytes', 1e-6)} | "
               f"{cell(case, 'GBps')} | {cell(case, 'roof_share', 100, ' %')} | "
               f"{cell(case, 'TFLOPs')} |")
    for failure in data["failures"]:
        yield f"| {failure['case']} | {failure['failure']} |"


def runs_table(data):
    yield "| run | epochs | images/s | waiting for data | train loss | val loss |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name, run in data["runs"].items():
        last = run["last"]
        yield (f"| {name} | {run['epochs']} | {run['images_per_second']:.1f} | "
               f"{100 * run['data_wait_share']:.1f}% | {last['train_loss']:.4f} | "
               f"{last['val_loss']:.4f} |")
    for name, run in data["runs"].items():
        yield f"\n{name}, evaluation:\n```json\n{json.dumps(run['evaluation'])[:2000]}\n```"


def tests_table(data):
    yield "| binary | run | of these CUDA | skipped | failed |\n|---|--:|--:|--:|--:|"
    for name, c in data["binaries"].items():
        yield f"| {name} | {c['run']} | {c['cuda']} | {c['skipped']} | {c['failed']} |"
    yield ""
    for failure in data["failures"][:50]:
        yield f"- {failure['test']}: {failure['failure'].splitlines()[0]}"


def section_lines(section, data):
    if section == "build":
        yield from (f"- {key}: {value}" for key, value in data["gpu"].items())
        yield f"- {data['nvcc']}; programs {data['programs']}"
    elif section in ("smoke", "tests"):
        yield from tests_table(data)
    elif section == "sanitizer":
        yield from (f"- {name}: {status}" for name, status in data.items())
    elif section == "kernels":
        yield from kernels_table(data)
    elif section in TRAINING_SECTIONS + INFERENCE_SECTIONS + ("choices",):
        if any(name.startswith("training_") for name in data):
            yield from peers_table(data)
        if any(name.startswith("inference_") for name in data):
            yield from inference_table(data)
        yield from throughput_table(data)
        yield from choices_table(data)
        yield ""
        yield from scores_lines(data)
    elif section == "camvid":
        yield from runs_table(data)
    elif section == "profile":
        yield from (f"{network}\n```\n{text}\n```" for network, text in data.items())


def markdown(results):
    lines = ["# GPU check", "", "| goal | wanted | measured | |", "|---|---|---|---|"]
    lines += [f"| {g['goal']} | {g['wanted']} | {g['measured'] or ''} | {g['verdict']} |"
              for g in results.get("goals", [])]
    lines.append("")
    for section, entry in results.items():
        if section == "goals":
            continue
        how = {"cut": "cut short: run it again", "failed": f"FAILED (exit {entry.get('exit')})",
               "not reached": "not reached: run it again"}
        lines += [f"## {section}: {how.get(entry['state'], 'passed')}, {entry['seconds']} s", ""]
        if entry["data"]:
            lines += [*section_lines(section, entry["data"]), ""]
        if entry["state"] in ("cut", "failed"):
            lines += ["```", *entry["log_end"], "```", ""]
    return "\n".join(lines)


def main(command, *arguments):
    if command == "state":
        print(state(*arguments))
        return 0
    if command in ("merge", "not-reached"):
        {"merge": merge, "not-reached": not_reached}[command](*arguments)
        return 0
    result = {"machine": machine, "runs": runs, "files": files_of, "texts": texts, "tests": tests,
              "benchmarks": benchmarks, "device": device_description}[command](*arguments)
    json.dump(result, sys.stdout, indent=1)
    if command == "device":
        return 0 if result else 1
    return 1 if result.get("failures") else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
