"""Turns what bench/gpu_check.sh measured into OUT/results.json and OUT/report.md."""

import csv
import json
import subprocess
import sys
from pathlib import Path


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


def tests(files):
    """Counts of GoogleTest; a CUDA test that was skipped counts as failed."""
    binaries, failures = {}, []
    for file in files:
        count = {"run": 0, "skipped": 0, "failed": 0, "cuda": 0}
        for suite in json.loads(Path(file).read_text())["testsuites"]:
            for test in suite["testsuite"]:
                name = f"{suite['name']}.{test['name']}"
                skipped = test.get("result") == "SKIPPED"
                cuda = "Cuda" in name
                failed = bool(test.get("failures")) or (cuda and skipped)
                count["run"] += 1
                count["skipped"] += skipped
                count["failed"] += failed
                count["cuda"] += cuda
                if failed:
                    first = (test.get("failures") or [{"failure": "skipped"}])[0]["failure"]
                    failures.append({"test": name, "failure": first[:600]})
        binaries[Path(file).stem.removeprefix("gtest_")] = count
    if not any(count["cuda"] for count in binaries.values()):
        failures.append({"test": "Cuda*", "failure": "no CUDA test in this build"})
    return {"binaries": binaries, "failures": failures}


def benchmarks(files):
    """Google Benchmark's cases: time in microseconds, and counters as they are."""
    scale = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}
    known = {"name", "run_name", "run_type", "repetitions", "repetition_index", "threads",
             "iterations", "real_time", "cpu_time", "time_unit", "family_index",
             "per_family_instance_index", "label"}
    cases = []
    for file in files:
        for case in json.loads(Path(file).read_text())["benchmarks"]:
            entry = {"name": case["name"], "us": case["real_time"] * scale[case["time_unit"]]}
            entry |= {key: value for key, value in case.items() if key not in known}
            cases.append(entry)
    return {"cases": cases}


def runs(folder, names):
    """The last epoch, the best speed and the evaluation of training runs."""
    result = {}
    for name in names:
        with open(Path(folder, "runs", name, "results.csv"), newline="") as file:
            rows = [{key: float(value) for key, value in row.items()}
                    for row in csv.DictReader(file)]
        seconds = sum(row["seconds"] for row in rows)
        result[name] = {
            "epochs": len(rows),
            "last": rows[-1],
            "images_per_second": max(row["images_per_second"] for row in rows),
            "data_wait_share": sum(row["data_wait_seconds"] for row in rows) / seconds,
            "evaluation": json.loads(Path(folder, f"eval_{name}.json").read_text()),
        }
    return {"runs": result}


def table(file):
    return dict(line.split("\t", 1) for line in Path(file).read_text().splitlines())


def read_results(out):
    file = Path(out, "results.json")
    return json.loads(file.read_text()) if file.exists() else {}


def merge(out, section, status, seconds, data_file, log_file):
    results = read_results(out)
    entry = {"passed": status == "0", "exit": int(status), "seconds": int(seconds)}
    if Path(data_file).exists():
        entry["data"] = json.loads(Path(data_file).read_text() or "{}")
    if status != "0":
        entry["log_end"] = Path(log_file).read_text(errors="replace").splitlines()[-15:]
    results[section] = entry
    Path(out, "results.json").write_text(json.dumps(results, indent=1) + "\n")
    Path(out, "report.md").write_text(markdown(results))


def markdown_data(section, data):
    if section == "build":
        yield from (f"- {key}: {value}" for key, value in data["gpu"].items())
        yield f"- {data['nvcc']}; programs {data['programs']}"
    elif section == "tests":
        yield "| binary | run | of these CUDA | skipped | failed |\n|---|--:|--:|--:|--:|"
        for name, c in data["binaries"].items():
            yield f"| {name} | {c['run']} | {c['cuda']} | {c['skipped']} | {c['failed']} |"
        yield ""
        for failure in data["failures"][:50]:
            yield f"- {failure['test']}: {failure['failure'].splitlines()[0]}"
    elif section == "sanitizer":
        yield from (f"- {name}: {status}" for name, status in data.items())
    elif section == "kernels":
        yield "| case | us | counters |\n|---|--:|---|"
        for case in data["cases"]:
            counters = ", ".join(f"{key} {value:.4g}" for key, value in case.items()
                                 if key not in ("name", "us") and isinstance(value, (int, float)))
            yield f"| {case['name']} | {case['us']:.1f} | {counters} |"
    elif section in ("training", "real"):
        yield "| run | epochs | images/s | waiting for data | train loss | val loss |"
        yield "|---|--:|--:|--:|--:|--:|"
        for name, run in data["runs"].items():
            last = run["last"]
            yield (f"| {name} | {run['epochs']} | {run['images_per_second']:.1f} | "
                   f"{100 * run['data_wait_share']:.1f}% | {last['train_loss']:.4f} | "
                   f"{last['val_loss']:.4f} |")
        for name, run in data["runs"].items():
            yield f"\n{name}, evaluation:\n```json\n{json.dumps(run['evaluation'])[:2000]}\n```"
    elif section == "peers":
        yield "| PyTorch " + data["torch"] + " | images/s |\n|---|--:|"
        yield from (f"| {name} | {speed:.1f} |" for name, speed in data["images_per_second"].items())


def markdown(results):
    lines = ["# GPU check", ""]
    for section, entry in results.items():
        state = "passed" if entry["passed"] else f"FAILED (exit {entry['exit']})"
        lines += [f"## {section}: {state}, {entry['seconds']} s", ""]
        if entry.get("data"):
            lines += list(markdown_data(section, entry["data"])) + [""]
        if not entry["passed"]:
            lines += ["```", *entry["log_end"], "```", ""]
    return "\n".join(lines)


def main(command, *arguments):
    if command == "passed":
        out, section = arguments
        return 0 if read_results(out).get(section, {}).get("passed") else 1
    if command == "merge":
        merge(*arguments)
        return 0
    if command == "runs":
        result = runs(arguments[0], arguments[1:])
    elif command in ("tests", "benchmarks"):
        result = globals()[command](arguments)
    else:
        result = {"machine": machine, "table": table}[command](*arguments)
    json.dump(result, sys.stdout, indent=1)
    return 1 if result.get("failures") else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
