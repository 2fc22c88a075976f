#!/usr/bin/env python3
"""Writes compile_commands.json for clangd from `bazel aquery`.

usage: tools/compile_commands.py [BAZEL OPTIONS] [-- TARGETS]
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def bazel(*args: str) -> str:
    command = [str(ROOT / "tools" / "bazel"), *args]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(argv: list[str]) -> int:
    cut = argv.index("--") if "--" in argv else len(argv)
    options, targets = argv[:cut], argv[cut + 1 :] or ["//..."]
    query = 'mnemonic("CppCompile", %s)' % " + ".join(targets)
    graph = json.loads(bazel("aquery", *options, "--output=jsonproto", "--include_artifacts=false", query))
    directory = bazel("info", *options, "execution_root").strip()
    commands = {}
    for action in graph.get("actions", []):
        arguments = action["arguments"]
        source = arguments[arguments.index("-c") + 1]
        if not source.startswith("external/"):
            commands[source] = {"directory": directory, "file": str(ROOT / source), "arguments": arguments}
    (ROOT / "compile_commands.json").write_text(json.dumps(list(commands.values()), indent=1) + "\n")
    print("compile_commands.json: %d files" % len(commands))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
