#!/usr/bin/env python3
"""Weakens every memory order of the repository by one step and tells which model notices.

    bazel run //tools:mutate

usage: mutate.py [--nightly] [--filter=WORDS] [--reached_only] BINARY...

Runs the model binaries and prints, for each mutant, where it is, what was weakened, and which model killed it after how
many schedules, or by which argument it may live. Then checks that no order of a header was left out. Fails if a mutant
survives without an argument or an order is reached by no model. --filter shows only lines that contain the words;
--reached_only weakens nothing and only looks for orders that are untagged, unpaired or reached by no model.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

from tools import check_orders


def run(binary: str, options: list[str]) -> tuple[list[dict], int, str]:
    """What a model binary says: its records, its exit status and its complaints."""
    done = subprocess.run([binary, "--json", "--mutate_only", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, done.stderr


def row(mutant: dict) -> str:
    if mutant["killed"]:
        end = f"killed by {mutant['model']} after {mutant['schedules']}: {mutant['reason']}"
    elif mutant["argument"]:
        end = f"survives: {mutant['argument']}"
    else:
        end = "SURVIVES"
    where = f"{mutant['file']}:{mutant['line']}"
    what = f"{mutant['function']} {mutant['kind']}"
    return f"{where:32} {what:28} {mutant['change']:18} {end}"


def main(argv: list[str]) -> int:
    options, binaries, words = [], [], ""
    for argument in argv:
        if argument.startswith("--filter="):
            words = argument.removeprefix("--filter=")
        elif argument == "--nightly":
            options.append(argument)
        elif argument == "--reached_only":
            options.append("--nomutate")
        elif argument.startswith("-"):
            sys.exit(f"{argument}: no such option\n\n{__doc__}")
        else:
            binaries.append(argument)
    if not binaries:
        sys.exit(f"no model binary given\n\n{__doc__}")

    # Where the sources are: the checkout if bazel run says so, else the folder that has this one.
    root = pathlib.Path(os.environ.get("BUILD_WORKSPACE_DIRECTORY", pathlib.Path(__file__).absolute().parent.parent))
    options.append(f"--survivors={root / 'models' / 'survivors.txt'}")

    start = time.monotonic()
    mutants: list[dict] = []
    sites: dict[str, set[int]] = {}
    failed = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for binary, (records, status, complaints) in zip(binaries, pool.map(lambda b: run(b, options), binaries)):
            mutants += (record for record in records if record["type"] == "mutant")
            for file, lines in check_orders.swept_lines(records).items():
                sites.setdefault(file, set()).update(lines)
            for record in records:
                if record["type"] == "run" and record["verdict"] == "failed":
                    print(f"{record['binary']}: {record['model']} FAILED, {record['search']}: {record['reason']}")
            if status != 0:
                failed = True
                print(f"{binary}: exit status {status}\n{complaints}", end="")

    for mutant in sorted(mutants, key=lambda m: (m["file"], m["line"], m["key"])):
        if words in (line := row(mutant)):
            print(line)
    unreached = check_orders.check(check_orders.all_headers(root), sites)
    for problem in unreached:
        print(problem)

    killed = sum(mutant["killed"] for mutant in mutants)
    argued = sum(not mutant["killed"] and mutant["argument"] != "" for mutant in mutants)
    print(
        f"{len(mutants)} mutants: {killed} killed, {argued} survive with an argument, {len(mutants) - killed - argued} survive;"
        f" {len(unreached)} problems with orders; {time.monotonic() - start:.1f} s"
    )
    return 1 if failed or unreached else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
