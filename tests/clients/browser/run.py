#!/usr/bin/env python3
"""Tests the browser's client in a headless Chromium: python3 run.py --talea PATH

Serves the pages from one origin and starts a node on another, with a folder of its own; the page reports what
it found. Without a Chromium nothing is tested: that is said loudly and ends with 77, or with 1 where
TALEA_BROWSER=required. TALEA_CHROMIUM names a browser. Absent: anything but Python's standard library.
"""

import argparse
import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SERVED = ("examples/dapp/", "tests/clients/browser/", "tests/conformance/documents/")
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIME_MAX = 120
SKIPPED = 77

sys.path.insert(0, str(ROOT / "tests" / "clients" / "python"))
import verify  # noqa: E402


class Bench:
    """The node, the scratch folder, and every process that must end with us."""

    def __init__(self, talea, scratch):
        self.talea, self.scratch = talea, Path(scratch)
        self.processes, self.reports = [], queue.Queue()
        self.url = self.network = None

    def start(self, *words, **options):
        # A group of its own, so that what it starts ends with it.
        process = subprocess.Popen(words, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)

    def node(self):
        if self.url is None:
            data, log = self.scratch / "data", open(self.scratch / "node.log", "w")
            prices = ["--price-per-call", "5", "--price-rate", "100", "--price-per-kib", "2"]
            node = self.start(
                self.talea, "node", "--data", data, "--listen", "127.0.0.1:0", *prices,
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
            self.url = node.stdout.readline().strip().split(" ")[-1]
            with urllib.request.urlopen(self.url + "/.well-known/talea/info", timeout=60) as info:
                self.network = bytes.fromhex(json.load(info)["network"])
            wasm = ROOT / "examples" / "wordcount-c" / "wordcount-c.wasm"
            self.command("deploy", str(wasm), "--name", "demo/wordcount-c")
        return self.url

    def command(self, *words):
        home = {"TALEA_HOME": str(self.scratch / "home"), "TALEA_NODE": self.url}
        done = subprocess.run(
            [self.talea, *words, "--output", "json"], env={**os.environ, **home}, capture_output=True, timeout=60
        )
        return json.loads(done.stdout or b"{}")

    def judge(self, data):
        """What the other two clients say of a file that the page made."""
        try:
            verify.check_bundle(data, self.network)
        except (verify.Refused, verify.Contradicted) as fault:
            return f"the Python verifier says: {fault}"
        path = self.scratch / "page.talea"
        path.write_bytes(data)
        said = self.command("receipt", "verify", str(path), "--rerun")
        return said.get("verdict") or f"talea receipt verify says: {said}"


def server(bench):
    class Door(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.split("?")[0].lstrip("/")
            file = (ROOT / path).resolve()
            if not path.startswith(SERVED) or not file.is_relative_to(ROOT) or not file.is_file():
                return self.answer(404, b"")
            self.answer(200, file.read_bytes(), KINDS.get(file.suffix, "text/plain") + "; charset=utf-8")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/report":
                bench.reports.put(json.loads(body))
                return self.answer(204, b"")
            if self.path == "/start":
                said = bench.node()
            elif self.path == "/host-key":
                # So that the page can play a host that cheats and signs it.
                said = (bench.scratch / "data" / "key").read_text().strip()
            else:
                said = bench.judge(body)
            self.answer(200, said.encode())

        def answer(self, status, body, kind="text/plain"):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{door.server_port}"


def flags(scratch):
    return [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-dev-shm-usage", f"--user-data-dir={scratch}/profile",
    ]  # fmt: skip


def absent():
    print("   !! NOT TESTED: there is no Chromium here, so the browser's client and the dApp page were not run.")
    print("   !! Install one (Debian: apt-get install chromium), or name one in TALEA_CHROMIUM.")
    if os.environ.get("TALEA_BROWSER") == "required":
        print("   !! TALEA_BROWSER=required: that is a failure.")
        return 1
    print("   !! Decision: the other tests stand without it. TALEA_BROWSER=required makes it a failure.")
    return SKIPPED


def main():
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--talea", required=True, help="the node's program")
    wishes = reader.parse_args()
    named = os.environ.get("TALEA_CHROMIUM")
    browser = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return absent()
    with tempfile.TemporaryDirectory(prefix="talea-browser-", ignore_cleanup_errors=True) as scratch:
        bench = Bench(wishes.talea, scratch)
        log = open(bench.scratch / "browser.log", "w+")
        try:
            address = server(bench) + "/tests/clients/browser/test.html"
            bench.start(browser, *flags(scratch), address, stdout=log, stderr=log)
            report = bench.reports.get(timeout=TIME_MAX)
        except queue.Empty:
            log.seek(0)
            print(f"   FAULT: the page reported nothing in {TIME_MAX} s; the browser said\n{log.read()[-2000:]}")
            return 1
        finally:
            bench.end()
    for what, count in report["counts"].items():
        print(f"   {count:>5} {what}")
    for fault in report["faults"]:
        print(f"   FAULT {fault}")
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
