#!/usr/bin/env python3
"""Registers, spills and stack of every CUDA kernel, as ptxas counts them. Needs nvcc, but no GPU.

    bench/ptxas_report.py [-o FILE] [-j JOBS] [ARCHITECTURE...]

Compiles each kernels/cuda/*.cu as the release build does and writes a table (by default
bench/results/DATE-ptxas.md). Exit code 1 when a kernel spills registers or a file does not compile.
"""

import argparse
import concurrent.futures
import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ["75", "80", "86", "89", "90"]
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", "--expt-relaxed-constexpr", f"-I{ROOT}"]
# As kernels/CMakeLists.txt gives them.
FLAGS_OF_FILES = {"augment.cu": ["--fmad=false"], "augment_program.cu": ["--fmad=false"]}

KERNEL = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)\w*'")
PROPERTIES = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores")
REGISTERS = re.compile(r"Used (\d+) registers")


@dataclass
class Kernel:
    name: str
    architecture: str
    registers: int = 0
    stack: int = 0
    spilled: int = 0  # bytes stored


def find_nvcc():
    cuda = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=str(cuda))
    if nvcc is None:
        sys.exit("ptxas_report: error: nvcc: not found: add it to PATH, or set CUDA_HOME")
    return nvcc


def kernels_of(messages):
    """The kernels that ptxas tells of. Functions it calls count towards the kernel before them."""
    kernels = []
    for line in messages.splitlines():
        if found := KERNEL.search(line):
            kernels.append(Kernel(found[1], found[2]))
        elif kernels and (found := PROPERTIES.search(line)):
            kernels[-1].stack = max(kernels[-1].stack, int(found[1]))
            kernels[-1].spilled += int(found[2])
        elif kernels and (found := REGISTERS.search(line)):
            kernels[-1].registers = int(found[1])
    return kernels


def compile_file(nvcc, source, architectures):
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, *FLAGS, *FLAGS_OF_FILES.get(source.name, []), "-Xptxas", "-v",
                   "-c", str(source), "-o", f"{folder}/object.o"]
        for a in architectures:
            command += ["-gencode", f"arch=compute_{a},code=sm_{a}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"ptxas_report: error: {source.name} does not compile: {done.stderr[-2000:]}")
    return kernels_of(done.stdout + done.stderr)


def demangled(name):
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    if tool is None:
        return name
    text = subprocess.run([tool, name], capture_output=True, text=True, check=True).stdout.strip()
    text = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::|_NV_ANON_NAMESPACE::", "", text)
    return text.replace("macadam::cuda::", "").replace("macadam::", "")


def cell(kernels):
    """ "40", or with what is worse than registers: "255, stack 64, spilled 128"."""
    text = str(max(k.registers for k in kernels))
    if stack := max(k.stack for k in kernels):
        text += f", stack {stack}"
    if spilled := sum(k.spilled for k in kernels):
        text += f", **spilled {spilled}**"
    return text


def report(by_file, architectures, version):
    lines = [
        f"# {datetime.date.today()}, registers of the CUDA kernels",
        "",
        f"    bench/ptxas_report.py {' '.join(architectures)}",
        "",
        f"{version}, flags `{' '.join(FLAGS[:-1])}`. The most registers that a kernel of the file",
        "takes; stack: the largest frame in bytes; spilled: bytes stored, over all kernels (where",
        "neither is named there is none).",
        "",
        "| file | kernels | " + " | ".join(f"sm_{a}" for a in architectures) + " |",
        "|---|--:|" + "--:|" * len(architectures),
    ]
    everything = []
    for name, kernels in by_file.items():
        groups = [[k for k in kernels if k.architecture == a] for a in architectures]
        cells = [cell(group) if group else "none" for group in groups]
        lines.append(f"| {name} | {len(groups[0])} | " + " | ".join(cells) + " |")
        everything += [(name, k) for k in kernels]
    spilling = [(name, k) for name, k in everything if k.spilled]
    framed = [(name, k) for name, k in everything if k.stack and not k.spilled]
    total = len({k.name for _, k in everything})
    lines += ["", f"{total} kernels, {len(spilling)} of {len(everything)} compilations spill."]
    for title, which in (("Spilling", spilling), ("With a stack frame, without a spill", framed)):
        if which:
            lines += ["", f"## {title}", ""]
        for name, k in which:
            lines.append(f"- {name}, sm_{k.architecture}: {k.registers} registers, "
                         f"stack {k.stack}, spilled {k.spilled}: `{demangled(k.name)}`")
    return "\n".join(lines) + "\n", bool(spilling)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=ARCHITECTURES, metavar="ARCHITECTURE")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    output = options.output or ROOT / f"bench/results/{datetime.date.today()}-ptxas.md"

    nvcc = find_nvcc()
    release = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    version = "nvcc " + re.search(r"release [\d.]+, V([\d.]+)", release)[1]
    sources = sorted((ROOT / "kernels/cuda").glob("*.cu"))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda s: compile_file(nvcc, s, options.architectures), sources)
        by_file = {source.name: kernels for source, kernels in zip(sources, results)}
    text, spills = report(by_file, options.architectures, version)
    output.write_text(text, encoding="utf-8")
    print(f"wrote {output}")
    return 1 if spills else 0


if __name__ == "__main__":
    sys.exit(main())
