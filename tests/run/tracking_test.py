#!/usr/bin/env python3
"""That TensorBoard and MLflow show what a run has logged, by their own programs, as far as they are
installed.

    pip install tensorboard mlflow
    tests/run/tracking_test.py build/release/macadam

Trains for a few epochs, is killed in between, goes on, and compares results.csv with what
TensorBoard's reader and a local MLflow server have of it.
"""

import contextlib
import importlib.util
import csv
import math
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

CONFIG = """network = "unet_mini"
dataset = "streets"
size = [32, 64]
batch = 4
epochs = 6
name = "tracked"
checkpoint_seconds = 0.001
early_stopping.patience = 0
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rows_of(run):
    with open(run / "results.csv") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def train(program, folder, *more, wait=True):
    process = subprocess.Popen([program, "train", "run.toml", *more], cwd=folder)
    if not wait:
        return process
    assert process.wait() == 0
    return process


def check_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    rows = rows_of(run)
    for tag, column in [("loss/train", "train_loss"), ("loss/val", "val_loss"),
                        ("scores/miou_present", "miou_present"), ("epoch/lr", "lr")]:
        found = [(e.step, e.value) for e in events.Scalars(tag)]
        assert [s for s, _ in found] == [int(r["epoch"]) for r in rows], (tag, found)
        for (_, value), row in zip(found, rows):
            assert math.isclose(value, row[column], rel_tol=1e-6), (tag, value, row[column])
    steps = [e.step for e in events.Scalars("steps/loss")]
    assert steps == list(range(int(rows[-1]["step"]))), steps
    assert any(t.startswith("best/") for t in tags["images"]), tags["images"]
    for tag in tags["images"]:
        assert events.Images(tag)[0].encoded_image_string.startswith(b"\x89PNG")
    assert "configuration/text_summary" in tags["tensors"], tags["tensors"]
    metadata = events.summary_metadata
    assert metadata["_hparams_/session_start_info"].plugin_data.plugin_name == "hparams"
    print(f"TensorBoard: {len(tags['scalars'])} scalars, {len(tags['images'])} pictures, "
          f"{len(steps)} steps, each once")


def check_mlflow(run, address):
    import mlflow

    mlflow.set_tracking_uri(address)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("streets and more")
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == 1, found
    rows = rows_of(run)
    for metric in ("train_loss", "val_loss", "miou_present", "lr"):
        history = client.get_metric_history(found[0].info.run_id, metric)
        history = sorted((m.step, m.value) for m in history)
        assert [s for s, _ in history] == [int(r["epoch"]) for r in rows], (metric, history)
        for (_, value), row in zip(history, rows):
            assert math.isclose(value, row[metric], rel_tol=1e-9), (metric, value, row[metric])
    assert found[0].data.params["network"] == "unet_mini", found[0].data.params
    assert found[0].info.status == "FINISHED", found[0].info.status
    files = {f.path for f in client.list_artifacts(found[0].info.run_id)}
    assert files == {"report.html", "config.toml", "scores.json"}, files
    print(f"MLflow: {len(found[0].data.metrics)} metrics of {len(rows)} epochs, "
          f"{len(found[0].data.params)} parameters, {len(files)} artifacts")


def installed(module):
    there = importlib.util.find_spec(module) is not None
    if not there:
        print(f"{module} is not installed: not asked")
    return there


@contextlib.contextmanager
def mlflow_server(folder):
    """The address of a server with its data in `folder`."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
         "--artifacts-destination", str(folder / "artifacts")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(address + "/health")
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with_tensorboard, with_mlflow = installed("tensorboard"), installed("mlflow")
    if not with_tensorboard and not with_mlflow:
        print("the tests of tracking need tensorboard or mlflow")
        return
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        more = []
        if with_mlflow:
            address = stack.enter_context(mlflow_server(folder))
            more = [f"tracking.mlflow={address}", "tracking.experiment=streets and more"]
        subprocess.run([program, "synth", "streets", "--images", "40", "--size", "64x32"],
                       cwd=folder, check=True, stderr=subprocess.DEVNULL)
        (folder / "run.toml").write_text(CONFIG)
        run = folder / "runs/tracked"
        process = train(program, folder, *more, wait=False)
        while process.poll() is None:
            if (run / "results.csv").exists() and len(rows_of(run)) >= 2:
                process.send_signal(signal.SIGKILL)
        process.wait()
        train(program, folder, *more, "--resume")
        if with_tensorboard:
            check_tensorboard(run)
        if with_mlflow:
            check_mlflow(run, address)


main()
