"""Real clients against the real server: each one that this machine has; the others are named.

clients_test.py BUILD_FOLDER SOURCE_FOLDER
"""
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

BUILD, SOURCE = (Path(path).resolve() for path in sys.argv[1:3])
MACADAM = str(BUILD / "macadam")


def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, **more)


def module(name):
    """The module, or a skipped test."""
    try:
        return __import__(name, fromlist=["x"])
    except ImportError:
        raise unittest.SkipTest(f"python has no {name}")


def program(name):
    found = shutil.which(name)
    if not found:
        raise unittest.SkipTest(f"this machine has no {name}")
    return found


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.scratch.name)
        run(MACADAM, "synth", "streets", "--images", "12", "--size", "128x64", cwd=cls.folder)
        (cls.folder / "run.toml").write_text(
            'network = "unet_mini"\ndataset = "streets"\nsize = [32, 64]\nbatch = 4\nepochs = 1\n'
            'name = "small"\ndevice = "cpu"\n')
        run(MACADAM, "train", "run.toml", cwd=cls.folder)
        cls.photo = sorted((cls.folder / "streets").rglob("*_leftImg8bit.png"))[0]
        cls.server = subprocess.Popen(
            [MACADAM, "serve", "runs/small", "--port", "0", "--gallery", "streets", "--log", "log"],
            cwd=cls.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            log = (cls.folder / "log").read_text() if (cls.folder / "log").exists() else ""
            if '"event":"ready"' in log:
                break
            time.sleep(0.1)
        cls.port = int(re.search(r"http://127.0.0.1:(\d+)", log).group(1))
        cls.address = f"127.0.0.1:{cls.port}"
        cls.url = f"http://{cls.address}"
        cls.mask = urllib.request.urlopen(urllib.request.Request(
            cls.url + "/v1/segment?format=raw", cls.photo.read_bytes())).read()

    @classmethod
    def tearDownClass(cls):
        cls.server.send_signal(signal.SIGTERM)
        code = cls.server.wait(60)
        cls.scratch.cleanup()
        assert code == 0, code

    def test_python_alone(self):
        self.assertEqual(len(self.mask), 128 * 64)
        classes = json.load(urllib.request.urlopen(self.url + "/v1/classes"))["classes"]
        self.assertLessEqual(max(self.mask), len(classes))

    def test_curl(self):
        curl = program("curl")
        raw = run(curl, "-sf", "--data-binary", f"@{self.photo}",
                  self.url + "/v1/segment?format=raw").stdout
        self.assertEqual(raw, self.mask)
        several = run(curl, "-sf", "-F", f"a=@{self.photo}", "-F", f"b=@{self.photo}",
                      self.url + "/v1/segment?format=raw").stdout
        self.assertEqual(several.count(self.mask), 2)
        packed = run("gzip", "-c", str(self.photo)).stdout
        (self.folder / "photo.gz").write_bytes(packed)
        self.assertEqual(run(curl, "-sf", "-H", "Content-Encoding: gzip", "--data-binary",
                             f"@{self.folder}/photo.gz", self.url + "/v1/segment?format=raw").stdout,
                         self.mask)
        # RFC 9110: it asks for HTTP/2 and goes on with HTTP/1.1.
        run(curl, "-sf", "--http2", self.url + "/v2/health/live")

    def test_example_in_cpp(self):
        compiler = program("g++")
        example = self.folder / "segment"
        run(compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", str(example),
            str(SOURCE / "examples" / "segment.cpp"))
        run(str(example), self.address, str(self.photo), str(self.folder / "mask.png"))
        self.assertTrue((self.folder / "mask.png").read_bytes().startswith(b"\x89PNG"))
        failed = subprocess.run([str(example), self.address, __file__, "none.png"],
                                capture_output=True)
        self.assertEqual(failed.returncode, 1)
        self.assertIn(b"400", failed.stderr)

    def test_promtool(self):
        page = urllib.request.urlopen(self.url + "/metrics").read()
        run(program("promtool"), "check", "metrics", input=page)

    def test_openapi(self):
        validator = module("openapi_spec_validator")
        page = json.load(urllib.request.urlopen(self.url + "/openapi.json"))
        validator.validate(page)
        self.assertIn("/v1/images/{id}/metrics", page["paths"])

    def test_tritonclient(self):
        http, numpy = module("tritonclient.http"), module("numpy")
        client = http.InferenceServerClient(self.address, concurrency=4)
        name = "small"
        self.assertTrue(client.is_server_live() and client.is_server_ready())
        self.assertTrue(client.is_model_ready(name) and client.is_model_ready(name, "1"))
        self.assertEqual(client.get_server_metadata()["name"], "macadam")
        self.assertEqual(client.get_model_config(name)["input"][0]["dims"], [3, 32, 64])
        encoded = http.InferInput("encoded", (1, 1), "BYTES")
        encoded.set_data_from_numpy(numpy.array([[self.photo.read_bytes()]], numpy.object_))
        mask = client.infer(name, [encoded], outputs=[http.InferRequestedOutput("mask")])
        self.assertEqual(mask.as_numpy("mask").tobytes(), self.mask)
        photos = numpy.random.default_rng(1).integers(0, 256, (3, 40, 50, 3), numpy.uint8)
        answers = []
        for binary in (True, False):
            tensor = http.InferInput("photo", photos.shape, "UINT8")
            tensor.set_data_from_numpy(photos, binary_data=binary)
            outputs = [http.InferRequestedOutput(n, binary_data=binary)
                       for n in ("scores", "mask", "confidence")]
            answer = client.infer(name, [tensor], outputs=outputs, request_id="7")
            self.assertEqual(answer.get_response()["id"], "7")
            answers.append([answer.as_numpy(n) for n in ("scores", "mask", "confidence")])
        for binary, text in zip(*answers):
            self.assertTrue((binary == text).all())
        self.assertTrue((answers[0][0].argmax(1) == answers[0][1]).all())
        waiting = [client.async_infer(name, [tensor]) for _ in range(8)]
        for each in waiting:
            self.assertTrue((each.get_result().as_numpy("mask") == answers[0][1]).all())
        for packing in ("gzip", "deflate"):
            answer = client.infer(name, [tensor], request_compression_algorithm=packing)
            self.assertTrue((answer.as_numpy("mask") == answers[0][1]).all())
        statistics = client.get_inference_statistics(name)["model_stats"][0]
        self.assertGreater(statistics["inference_count"], 30)
        with self.assertRaises(Exception):
            client.infer("none", [tensor])

    def test_ultralytics_remote_model(self):
        module("tritonclient.http")
        numpy, package = module("numpy"), importlib.util.find_spec("ultralytics")
        if not package:
            raise unittest.SkipTest("python has no ultralytics")
        # This file alone: the package wants PyTorch.
        path = Path(package.submodule_search_locations[0]) / "utils" / "triton.py"
        spec = importlib.util.spec_from_file_location("ultralytics_triton", path)
        triton = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(triton)
        remote = triton.TritonRemoteModel(f"http://{self.address}/small")
        self.assertEqual(remote.input_names, ["images"])
        self.assertEqual(remote.np_input_formats, [numpy.float32])
        self.assertEqual(remote.output_names, ["confidence", "mask", "scores"])
        classes = json.load(urllib.request.urlopen(self.url + "/v1/classes"))["classes"]
        self.assertEqual(remote.metadata["names"], {i: c["name"] for i, c in enumerate(classes)})
        bytes_ = numpy.random.default_rng(2).integers(0, 256, (2, 3, 32, 64))
        found = dict(zip(remote.output_names, remote((bytes_ / 255).astype(numpy.float32))))
        self.assertEqual(found["scores"].shape, (2, len(classes), 32, 64))
        self.assertTrue((found["scores"].argmax(1) == found["mask"]).all())
        photo = numpy.ascontiguousarray(bytes_.transpose(0, 2, 3, 1).astype(numpy.uint8))
        http = module("tritonclient.http")
        tensor = http.InferInput("photo", photo.shape, "UINT8")
        tensor.set_data_from_numpy(photo)
        same = http.InferenceServerClient(self.address).infer("small", [tensor])
        self.assertTrue((same.as_numpy("mask") == found["mask"]).all())

    def test_perf_analyzer(self):
        analyzer = program("perf_analyzer")
        if subprocess.run([analyzer, "--version"], capture_output=True).returncode != 0:
            raise unittest.SkipTest("perf_analyzer does not start here: it lacks a library")
        run(analyzer, "-m", "small", "-u", self.address, "--input-data", "zero", "-p", "1000", "-r",
            "3", "-s", "200", timeout=120)

    def test_coco_tools(self):
        tools, numpy = module("pycocotools.mask"), module("numpy")
        answer = json.load(urllib.request.urlopen(urllib.request.Request(
            self.url + "/v1/segment?format=rle", self.photo.read_bytes())))
        mask = numpy.full((64, 128), 255, numpy.uint8)
        for region in answer["regions"]:
            inside = tools.decode(region["segmentation"]).astype(bool)
            self.assertEqual(inside.sum(), region["area"])
            self.assertEqual([int(v) for v in tools.toBbox(region["segmentation"])], region["bbox"])
            mask[inside] = region["category_id"]
        self.assertEqual(mask.tobytes(), self.mask)

    def test_behind_nginx(self):
        nginx = program("nginx")
        page = (SOURCE / "docs" / "server.md").read_text()
        block = re.search(r"```nginx\n(.*?)```", page, re.S).group(1)
        run(program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
            "/CN=localhost", "-keyout", str(self.folder / "key.pem"), "-out",
            str(self.folder / "cert.pem"))
        block = block.replace("/etc/nginx", str(self.folder)).replace("8080", str(self.port))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        block = block.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        (self.folder / "nginx.conf").write_text(
            f"daemon off;\npid {self.folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\nclient_body_temp_path {self.folder}/body;\n"
            f"proxy_temp_path {self.folder}/proxy;\nfastcgi_temp_path {self.folder}/f;\n"
            f"uwsgi_temp_path {self.folder}/u;\nscgi_temp_path {self.folder}/s;\n{block}\n}}\n")
        proxy = subprocess.Popen([nginx, "-c", str(self.folder / "nginx.conf"), "-p",
                                  str(self.folder)], stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with socket.socket() as trial:
                    if trial.connect_ex(("127.0.0.1", port)) == 0:
                        break
                self.assertIsNone(proxy.poll(), "nginx runs")
                time.sleep(0.1)
            raw = run(program("curl"), "-skf", "--data-binary", f"@{self.photo}",
                      f"https://127.0.0.1:{port}/v1/segment?format=raw").stdout
            self.assertEqual(raw, self.mask)
        finally:
            proxy.terminate()
            proxy.wait(20)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    unittest.main(argv=sys.argv[:1], verbosity=2)
