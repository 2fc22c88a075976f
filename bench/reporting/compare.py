"""//bench:compare A.json B.json: how many times as long B takes, with a 95 % confidence interval.

Takes report.json files or the --rows_json of one benchmark. An interval that contains 1 shows no difference.
"""

import json
import math
import os
import sys

from bench.reporting import logic

# Student's t, 97.5 %, by degrees of freedom.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
     2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def quantile(freedom):
    """Rounds the degrees of freedom down: the interval errs on the wide side."""
    if freedom < 1:
        return T[0]
    return T[int(freedom) - 1] if freedom < len(T) + 1 else 1.96 if freedom > 1000 else T[-1]


def interval(a, b):
    """(ratio, low, high) of geometric means b / a, by Welch's interval of the logarithms; None with fewer than two each."""
    a, b = [math.log(v) for v in a if v and v > 0], [math.log(v) for v in b if v and v > 0]
    if len(a) < 2 or len(b) < 2:
        return None
    mean = [sum(v) / len(v) for v in (a, b)]
    error = [sum((x - m) ** 2 for x in v) / (len(v) - 1) / len(v) for v, m in zip((a, b), mean)]
    ratio, total = mean[1] - mean[0], sum(error)
    if total == 0:
        return math.exp(ratio), math.exp(ratio), math.exp(ratio)
    freedom = total ** 2 / sum(e ** 2 / (len(v) - 1) for e, v in zip(error, (a, b)) if e > 0)
    half = quantile(freedom) * math.sqrt(total)
    return math.exp(ratio), math.exp(ratio - half), math.exp(ratio + half)


def compare(a, b):
    """[(row id, contender, (ratio, low, high) or a reason)] of what both files have, then what only one has."""
    figures = lambda report: {(r["id"], c["name"]): c for r in report["rows"] for c in r["contenders"]}
    left, right = figures(a), figures(b)
    lines = []
    for key, contender in left.items():
        if key not in right:
            lines.append((*key, "only in A"))
        elif logic.wrong(contender) or logic.wrong(right[key]):
            lines.append((*key, "wrong results"))
        else:
            lines.append((*key, interval(contender["rounds"], right[key]["rounds"]) or "too few rounds"))
    return lines + [(*key, "only in B") for key in right if key not in left]


def agreement(a, b):
    """(figures of both whose rounds overlap, figures of both): whether two runs agree within the spread that they print."""
    figures = lambda report: {(r["id"], c["name"]): logic.figure(c) for r in report["rows"] for c in r["contenders"]}
    left, right = figures(a), figures(b)
    both = [(left[key], right[key]) for key in left if left[key] and right.get(key)]
    return sum(1 for x, y in both if x.min <= y.max and y.min <= x.max), len(both)


def text(lines):
    out = []
    for row, name, result in lines:
        if isinstance(result, str):
            out.append("%-45s %-30s %s" % (row, name, result))
        else:
            ratio, low, high = result
            word = "slower" if low > 1 else "faster" if high < 1 else "no difference shown"
            out.append("%-45s %-30s %.3f (%.3f to %.3f) %s" % (row, name, ratio, low, high, word))
    return "\n".join(out)


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    base = os.environ.get("BUILD_WORKING_DIRECTORY", ".")
    reports = []
    for name in argv:
        with open(os.path.join(base, name)) as stream:
            reports.append(json.load(stream))
    print("B / A of each contender's time; above 1, B is slower\n" + text(compare(*reports)))
    print("%d of %d figures agree: their rounds overlap" % agreement(*reports))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
