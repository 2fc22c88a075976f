#!/usr/bin/env python3
"""Checks that every hint to the compiler or the CPU in kernel/ names the benchmark row that it moved.

A hint is Likely, Unlikely, [[likely]], [[unlikely]], HOTPATH_COLD, HOTPATH_ASSUME, a prefetch, or the builtin under one of
them. The row stands in a comment on a line of the same statement, or directly above it:

    // moves kernel_bench: BM_OpenAndClose
    if (Unlikely(fd < 0)) return Code::kEBADF;

and is a row of bench/kernel_bench.cc, in quotes if its id has spaces, or a Google Benchmark there: the name it is
registered by, and its arguments if only some of them moved ("BM_ForkExitWait/64"). A row that is not there any more is a problem, and so is a comment without a hint.

usage: check_hints.py [ROOT]
"""

from __future__ import annotations

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tools.check_orders import Line, split  # noqa: E402: found from wherever this is run

HINT = re.compile(
    r"\b(?:Likely|Unlikely|HOTPATH_ASSUME|PrefetchRead|PrefetchWrite|WithPrefetch)\s*\("
    r"|\bHOTPATH_COLD\b|\[\[[^\]]*\b(?:likely|unlikely|cold|assume)\b[^\]]*\]\]"
    r"|\b__builtin_(?:expect|expect_with_probability|prefetch|unreachable|assume)\s*\(|\b_mm_prefetch\s*\("
)
ROW = re.compile(r"\bmoves (\w+_bench): (?:\"([^\"]+)\"|(\S+))")
# The id of a row, or what it begins with.
ID = re.compile(r"\.id\s*=\s*(?:std::string\()?\"([^\"]+)\"\)?\s*(\+?)")
# What a statement of a benchmark file registers: the name it is given, else its function.
NAMED = re.compile(r"(?:->\s*Name|\bRegisterBenchmark)\s*\(\s*\(?\s*\"([^\"]+)\"")
FUNCTION = re.compile(r"\bBENCHMARK\s*\(\s*([^;]+?)\s*\)\s*(?:->|$)", re.DOTALL)
TEMPLATE = re.compile(r"\bBENCHMARK_TEMPLATE\s*\(\s*(\w+)\s*,\s*([^;]+?)\s*\)\s*(?:->|$)", re.DOTALL)


def rows(text: str) -> set[str]:
    """The rows and benchmarks that a file registers: ids, "begin of an id*", names without their arguments."""
    text = re.sub(r"//[^\n]*", "", text)
    found = {match[1] + ("*" if match[2] else "") for match in ID.finditer(text)}
    for statement in text.split(";"):
        if (named := NAMED.search(statement)) is not None:
            found.add(named[1])
        elif (function := FUNCTION.search(statement)) is not None:
            found.add(function[1])
        elif (template := TEMPLATE.search(statement)) is not None:
            found.add(f"{template[1]}<{template[2]}>")
    return found


def exists(row: str, registered: set[str]) -> bool:
    return any(row == name or row.startswith(name[:-1] if name.endswith("*") else name + "/") for name in registered)


def statements(lines: list[Line]) -> list[list[int]]:
    """Line numbers by statement. Lines of comment only belong to the statement that follows."""
    found: list[list[int]] = []
    above: list[int] = []
    last = None
    for number, line in enumerate(lines, 1):
        if not line.code.strip():
            above = above + [number] if line.comment else []
        elif line.statement == last:
            found[-1] += above + [number]
            above = []
        else:
            found.append(above + [number])
            above = []
        last = line.statement if line.code.strip() else last
    return found + ([above] if above else [])


def check_file(path: str, text: str, benches: dict[str, set[str]]) -> list[str]:
    lines = split(text)
    problems = []
    for numbers in statements(lines):
        hints = [(n, match[0]) for n in numbers for match in HINT.finditer(lines[n - 1].code)]
        comment = " ".join(lines[n - 1].comment.lstrip("/ ") for n in numbers)
        moved = [(match[1], match[2] or match[3]) for match in ROW.finditer(comment)]
        for number, hint in hints if not moved else []:
            problems.append(f"{path}:{number}: {hint.rstrip('( ')} names no row: '// moves NAME_bench: ROW'")
        if moved and not hints:
            problems.append(f"{path}:{numbers[0]}: a row without a hint")
        for bench, row in moved:
            if bench not in benches:
                problems.append(f"{path}:{numbers[0]}: there is no bench/{bench}.cc")
            elif not exists(row, benches[bench]):
                problems.append(f"{path}:{numbers[0]}: bench/{bench}.cc has no row {row}")
    return problems


def check(files: dict[str, str], bench_files: dict[str, str]) -> list[str]:
    """The problems of files, given as path -> text."""
    benches = {pathlib.PurePath(path).stem: rows(text) for path, text in bench_files.items()}
    return [problem for path, text in sorted(files.items()) for problem in check_file(path, text, benches)]


def check_tree(root: pathlib.Path) -> tuple[int, list[str]]:
    """How many files were looked at, and their problems."""

    def texts(room: str, *patterns: str) -> dict[str, str]:
        return {str(p.relative_to(root)): p.read_text() for pattern in patterns for p in (root / room).glob(pattern)}

    files = texts("kernel", "**/*.h", "**/*.cc")
    return len(files), check(files, texts("bench", "*_bench.cc"))


def main(argv: list[str]) -> int:
    if len(argv) > 1 or argv[:1] == ["--help"]:
        sys.exit(__doc__)
    root = pathlib.Path(argv[0]) if argv else pathlib.Path(__file__).resolve().parent.parent
    count, problems = check_tree(root)
    for problem in problems:
        print(problem)
    print(f"check_hints: {count} files, {len(problems)} problems", file=sys.stderr)
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
