"""//bench:report: runs every benchmark, and writes report.json, report.html and a table.

usage: bazel run -c opt //bench:report -- [--quick] [--out=DIR] [--filter=TEXT] [--from=report.json]
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

from bench.reporting import logic, render, simulation


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def command(*words, cwd=None):
    try:
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def stamp(workspace, compiler):
    """What the figures depend on."""
    model = next((l.split(":", 1)[1].strip() for l in read("/proc/cpuinfo").splitlines() if l.startswith("model name")), "")
    commit = command("git", "rev-parse", "--short", "HEAD", cwd=workspace)
    if commit and command("git", "status", "--porcelain", cwd=workspace):
        commit += " with changes"
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": model or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "frequency policy": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not visible",
        "load at the start": "%.1f" % os.getloadavg()[0],
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "compiler": compiler or "unknown",
        "commit": commit or "unknown",
    }


def compiler_of(binary):
    """From the comment that compilers leave in a program."""
    comment = command("readelf", "-p", ".comment", binary)
    names = [l.split("]", 1)[1].strip() for l in comment.splitlines() if "]" in l]
    return next((n for n in names if "clang" in n), names[0] if names else "")


def run_binary(binary, flags, out, log):
    with open(log, "w") as stream:
        return subprocess.run([binary, "--rows_json=" + out] + flags, stdout=stream, stderr=subprocess.STDOUT).returncode


def measure(binaries, flags, folder):
    """(runs, failures). Shows progress: one line per binary."""
    runs, failures = [], []
    for i, binary in enumerate(binaries):
        name = os.path.basename(binary)
        print("[%d/%d] %s" % (i + 1, len(binaries), name), end="", flush=True)
        started = time.monotonic()
        out, log = os.path.join(folder, name + ".json"), os.path.join(folder, name + ".log")
        status = run_binary(binary, flags, out, log)
        print(": %.0f s" % (time.monotonic() - started), flush=True)
        if status != 0:
            failures.append(name)
            print("  exit code %d:\n%s" % (status, "\n".join(read(log).splitlines()[-5:])))
        if os.path.exists(out):
            runs.append(json.loads(read(out)))
    return runs, failures


def conclude(report, claims):
    """(lines of the claims, lines of the goals, floors, predictions)"""
    floors_of_binary = {b["binary"]: b["floors"] for b in report["binaries"]}
    binary_of = {r["id"]: r["binary"] for r in report["rows"]}
    floors_of = lambda row: floors_of_binary.get(binary_of.get(row), [])
    floors = logic.floors(report)
    costs = simulation.Costs.of_floors(floors)
    predictions = simulation.predict(costs, report["rows"]) if costs else None
    return logic.summary(claims, report["rows"], floors_of), logic.goals(report["rows"], floors_of), floors, predictions


def main(argv):
    parser = argparse.ArgumentParser(prog="report", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="about a minute instead of five")
    parser.add_argument("--out", default="", help="where the files go; the workspace's bench-report unless given")
    parser.add_argument("--filter", default="", help="only rows whose id contains it")
    parser.add_argument("--from", dest="source", default="", help="a report.json to render again; nothing is run")
    parser.add_argument("--claims", required=True)
    parser.add_argument("binaries", nargs="*")
    args = parser.parse_args(argv)
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY", ".")
    inside = lambda path: os.path.join(workspace, path)
    out = inside(args.out or "bench-report")
    os.makedirs(out, exist_ok=True)
    failures = []
    if args.source:
        report = json.loads(pathlib.Path(inside(args.source)).read_text())
    else:
        flags = (["--quick"] if args.quick else []) + (["--filter=" + args.filter] if args.filter else [])
        first_stamp = stamp(workspace, compiler_of(args.binaries[0]) if args.binaries else "")
        with tempfile.TemporaryDirectory() as folder:
            runs, failures = measure(sorted(args.binaries), flags, folder)
        report = {"stamp": first_stamp, **logic.merge(runs)}
    claims = json.loads(pathlib.Path(args.claims).read_text())["claims"]
    if not args.source:
        pathlib.Path(out, "report.json").write_text(json.dumps(report, indent=1) + "\n")
    lines, goals, floors, predictions = conclude(report, claims)
    print(render.text(report, lines, goals, floors, predictions))
    pathlib.Path(out, "report.html").write_text(
        render.page(report, lines, goals, floors, predictions, render.plots(report, predictions)))
    pathlib.Path(out, "report.md").write_text(render.markdown(report, lines, goals, floors))
    print("wrote %s/report.json, report.html and report.md" % out)
    for name in failures:
        print("failed: " + name)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
