#!/usr/bin/env python3
"""Checks that every memory order of a primitive is named, paired and reached by a model.

In the headers of core/ and kernel/, but not in core/base, which is what primitives are made of:

 1. An order above relaxed, and a light or heavy fence, carries a tag that names its partners,
    `// [R1] pairs W3`, on its line or another of the same statement. Partners name each other, within the
    header and its detail/STEM_inl.h. A default argument is no operation and needs none.
 2. Nothing else synchronises: no std::atomic, std::mutex, thread_local, raw fence or builtin. Policies do that.
 3. With --sites, every order is one that a model reached and that the mutation sweep weakened.

usage: check_orders.py [--sites=FILE] [HEADER...]

FILE is what models print with --json, all of them together; "-" is standard input. Without headers, checks all.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import sys

ORDER = re.compile(r"\bmemory_order(?:::|_)(?:consume|acquire|release|acq_rel|seq_cst)\b|\b(?:(?:Free)?Light|Heavy)Fence\s*\(")
DEFAULT_ARGUMENT = re.compile(r"\bmemory_order\s*\w*\s*=\s*(?:std::)?$")
TAG = re.compile(r"// \[([A-Z]+\d+)\] pairs ([A-Z]+\d+(?: [A-Z]+\d+)*)")
FORBIDDEN = re.compile(
    r"\bstd::(?:atomic\w*|(?:recursive_|shared_|timed_|recursive_timed_|shared_timed_)?mutex|condition_variable\w*"
    r"|call_once|once_flag|latch|barrier|counting_semaphore|binary_semaphore)\b"
    r"|\bthread_local\b|\b__(?:atomic|sync)_\w+|\b_mm_[lsm]fence\b"
)


@dataclasses.dataclass
class Line:
    code: str  # without comments and the contents of literals
    comment: str
    statement: int  # lines of one statement have one number


def split(text: str) -> list[Line]:
    """The lines of a file. A statement ends with a line whose code ends in ; { } or :"""
    lines: list[Line] = []
    statement = 0
    in_comment = False
    for source in text.splitlines():
        code, comment = "", ""
        rest = source
        while rest:
            if in_comment:
                end = rest.find("*/")
                in_comment = end < 0
                rest = "" if end < 0 else rest[end + 2 :]
                continue
            match = re.search(r"//|/\*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", rest)
            if match is None:
                code += rest
                break
            code += rest[: match.start()]
            if match[0] == "//":
                comment = rest[match.start() :]
                break
            if match[0] == "/*":
                in_comment = True
            else:
                code += '""'
            rest = rest[match.end() :]
        lines.append(Line(code, comment, statement))
        if code.rstrip().endswith((";", "{", "}", ":")):
            statement += 1
    return lines


@dataclasses.dataclass
class Problems:
    found: list[str] = dataclasses.field(default_factory=list)

    def add(self, path: str, line: int, what: str) -> None:
        self.found.append(f"{path}:{line}: {what}")


def check_header(path: str, text: str, tags: dict[str, tuple[str, int, set[str]]], problems: Problems) -> list[set[int]]:
    """Checks one header, adds its tags to `tags`; returns, for each order in it, the lines of its statement."""
    lines = split(text)
    extent: dict[int, set[int]] = {}
    tagged: dict[int, int] = {}  # statement -> line of a tag in it
    for number, line in enumerate(lines, 1):
        extent.setdefault(line.statement, set()).add(number)
        if (tag := TAG.search(line.comment)) is None:
            if re.search(r"\[[A-Z]+\d+\]", line.comment):
                problems.add(path, number, "a tag is written '// [R1] pairs W1 W2'")
            continue
        name, partners = tag[1], set(tag[2].split())
        if name in tags:
            problems.add(path, number, f"tag {name} is taken: {tags[name][0]}:{tags[name][1]}")
        tags[name] = (path, number, partners)
        tagged[line.statement] = number

    orders: list[set[int]] = []
    has_order: set[int] = set()
    for number, line in enumerate(lines, 1):
        if (match := FORBIDDEN.search(line.code)) is not None:
            problems.add(path, number, f"{match[0]}: a primitive synchronises through its policy only")
        for order in ORDER.finditer(line.code):
            if DEFAULT_ARGUMENT.search(line.code[: order.start()]):
                continue
            has_order.add(line.statement)
            orders.append(extent[line.statement])
            if line.statement not in tagged:
                problems.add(path, number, f"{order[0].rstrip('(')} has no tag '// [R1] pairs W1'")
    for statement, number in tagged.items():
        if statement not in has_order:
            problems.add(path, number, "this tag stands at no order")
    return orders


def check_pairs(tags: dict[str, tuple[str, int, set[str]]], problems: Problems) -> None:
    for name, (path, line, partners) in tags.items():
        for partner in sorted(partners):
            if partner not in tags:
                problems.add(path, line, f"{name} pairs {partner}, which does not exist")
            elif name not in tags[partner][2]:
                problems.add(path, line, f"{name} pairs {partner}, but {partner} does not pair {name}")


def swept_lines(records: list[dict]) -> dict[str, set[int]]:
    """Lines of swept sites by file, from what models say."""
    sites: dict[str, set[int]] = {}
    for record in records:
        if record["type"] == "site" and record["swept"]:
            sites.setdefault(record["file"], set()).add(record["line"])
    return sites


def all_headers(root: pathlib.Path) -> dict[str, str]:
    """path -> text of the headers that are checked."""
    return {
        str(path.relative_to(root)): path.read_text()
        for room in ("core", "kernel")
        for path in (root / room).rglob("*.h")
        if not path.is_relative_to(root / "core" / "base")
    }


def check(headers: dict[str, str], sites: dict[str, set[int]] | None) -> list[str]:
    """The problems of headers, given as path -> text."""
    problems = Problems()
    groups: dict[str, dict[str, tuple[str, int, set[str]]]] = {}
    for path, text in sorted(headers.items()):
        stem = pathlib.PurePath(path).stem.removesuffix("_inl")
        orders = check_header(path, text, groups.setdefault(stem, {}), problems)
        if sites is None:
            continue
        for lines in orders:
            if not lines & sites.get(path, set()):
                problems.add(path, min(lines), "no model reaches this order, so nothing shows that it is needed")
    for tags in groups.values():
        check_pairs(tags, problems)
    return problems.found


def main(argv: list[str]) -> int:
    sites = None
    names = []
    for argument in argv:
        if argument.startswith("--sites="):
            name = argument.removeprefix("--sites=")
            text = sys.stdin.read() if name == "-" else pathlib.Path(name).read_text()
            sites = swept_lines([json.loads(line) for line in text.splitlines()])
        elif argument.startswith("-"):
            sys.exit(f"{argument}: no such option\n\n{__doc__}")
        else:
            names.append(argument)
    if names:
        headers = {name: pathlib.Path(name).read_text() for name in names}
    else:
        headers = all_headers(pathlib.Path(__file__).resolve().parent.parent)
    found = check(headers, sites)
    for problem in found:
        print(problem)
    print(f"check_orders: {len(headers)} headers, {len(found)} problems", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
