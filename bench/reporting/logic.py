"""What the report concludes from measured rows: pure functions, no input or output."""

import statistics

# Rounds of one run may differ by this factor; beyond it a row has no number.
MAX_SPREAD = 2.0
# Ratios below this are equal: medians of two rounds differ by as much.
EQUAL = 1.3
SCHEMA = 1


class Spread:
    """A median with the smallest and the largest of its rounds."""

    def __init__(self, values):
        self.values = list(values)
        self.median = statistics.median(self.values)
        self.min = min(self.values)
        self.max = max(self.values)

    def too_wide(self):
        """Without the outermost tenth on either side: of many rounds, one is always disturbed."""
        inner = sorted(self.values)[len(self.values) // 10:]
        low, high = inner[0], inner[len(inner) - 1 - len(self.values) // 10]
        return low <= 0 < high or (low > 0 and high / low > MAX_SPREAD)


def wrong(contender):
    return contender["torn"] > 0 or contender["lost"] > 0


def figure(contender):
    """The Spread of a contender, or None where there is no number."""
    values = [r for r in contender["rounds"] if r is not None]
    return Spread(values) if values and not wrong(contender) else None


def why_no_figure(contender):
    if not contender["installed"]:
        return "not installed"
    if wrong(contender):
        return "wrong: %d torn, %d lost" % (contender["torn"], contender["lost"])
    if contender.get("error"):
        return "error: " + contender["error"]
    return "no window accepted"


def paired(theirs, ours):
    """theirs / ours, round by round, as a Spread; None where no round has both."""
    if theirs is None or ours is None or wrong(theirs) or wrong(ours):
        return None
    ratios = [a / b for a, b in zip(theirs["rounds"], ours["rounds"]) if a is not None and b is not None and b > 0]
    return Spread(ratios) if ratios else None


def first(row, role):
    return next((c for c in row["contenders"] if c["role"] == role), None)


def named(row, name):
    return next((c for c in row["contenders"] if c["name"] == name), None)


def best_peer(row):
    """The fastest peer that has a number; else any peer, which says why it has none; else None."""
    peers = [c for c in row["contenders"] if c["role"] == "peer"]
    measured = [c for c in peers if figure(c)]
    if measured:
        return min(measured, key=lambda c: figure(c).median)
    return peers[0] if peers else None


def floor_of(row, floors):
    """The row's own floor, of several the highest; or the standard one that it names, of the same binary's run."""
    own = [c for c in row["contenders"] if c["role"] == "floor"]
    if own:
        return max(own, key=lambda c: figure(c).median if figure(c) else 0)
    for floor in floors:
        if floor["id"] == "floor/" + row["floor"]:
            return floor["contenders"][0]
    return None


def goal_result(row, goal, floors):
    """(measured Spread or None, met or None) of one goal."""
    ours = first(row, "ours")
    other = named(row, goal["against"])
    if ours is None:
        return None, None
    if other is None:
        standard = floor_of({**row, "contenders": [], "floor": goal["against"]}, floors)
        if standard is None or figure(standard) is None or figure(ours) is None:
            return None, None
        median = figure(standard).median
        ratio = Spread([median / r for r in ours["rounds"] if r])
    else:
        ratio = paired(other, ours)
    if ratio is None:
        return None, None
    if goal["at_least"]:
        return ratio, ratio.median >= goal["ratio"]
    inverse = Spread([1 / v for v in ratio.values])
    return inverse, inverse.median <= goal["ratio"]


def reach(row, goal, floors):
    """What the row's floor would give of a goal `at_least`, as a Spread: nobody who has to do what the floor does gets further
    on this machine; a peer that does less may. None where the row has no floor."""
    other, floor = named(row, goal["against"]), floor_of(row, floors)
    if not goal["at_least"] or other is None or floor is None or figure(floor) is None or row["unit"] != "ns":
        return None
    if floor in row["contenders"]:
        return paired(other, floor)
    theirs = figure(other)
    return theirs and Spread([value / figure(floor).median for value in theirs.values])


def goals(rows, floors_of):
    """One line per goal: its row, the goal, what was measured, whether that meets it (None: not measured), and its reach."""
    lines = []
    for row in rows:
        for goal in row["goals"]:
            measured, met = goal_result(row, goal, floors_of(row["id"]))
            lines.append({"row": row, "goal": goal, "measured": measured, "met": met,
                          "reach": reach(row, goal, floors_of(row["id"]))})
    return lines


def shortfall(line):
    """Of a goal that was missed: "floor" if the row's floor would miss it too, "spread" if some rounds met it, else "missed"."""
    ratio, measured = line["goal"]["ratio"], line["measured"]
    if line["reach"] and line["reach"].median < ratio:
        return "floor"
    met_once = measured.max >= ratio if line["goal"]["at_least"] else measured.min <= ratio
    return "spread" if met_once else "missed"


def claimed(claim, row):
    """The quantity that a claim is about, as a Spread; None where it was not measured."""
    ours, naive = first(row, "ours"), first(row, "naive")
    if ours is None:
        return None
    if claim["metric"] == "at_most":
        return figure(ours)
    if claim["metric"] == "speedup":
        return paired(naive, ours)
    if claim["metric"] == "saving":
        # In rounds where the naive one costs nothing there is nothing to save.
        if naive is None or wrong(naive) or wrong(ours):
            return None
        pairs = zip(naive["rounds"], ours["rounds"])
        savings = [1 - b / a for a, b in pairs if a is not None and b is not None and a > 0]
        return Spread(savings) if savings else None
    raise ValueError("unknown metric %r" % claim["metric"])


def too_wide(claim, measured):
    if claim["metric"] == "saving":
        return measured.max - measured.min > 0.2
    if claim["metric"] == "at_most" and claim["high"] == 0:
        return False  # a count of nothing
    return measured.too_wide()


def verdict(claim, measured):
    """(verdict, marginal): "held", "exceeded", "refuted" or "not measured", by the median. Marginal: the rounds lie on both
    sides of the claim."""
    if measured is None:
        return "not measured", False
    if claim["metric"] == "at_most":
        if measured.median > claim["high"]:
            return "refuted", measured.min <= claim["high"]
        if measured.median < claim["low"]:
            return "exceeded", measured.max >= claim["low"]
        return "held", measured.max > claim["high"]
    if measured.median < claim["low"]:
        return "refuted", measured.max >= claim["low"]
    if measured.median > claim["high"]:
        return "exceeded", measured.min <= claim["high"]
    return "held", measured.min < claim["low"]


def summary(claims, rows, floors_of):
    """One line per claim and row that answers it, in the order of the claims; a claim that no row answers has row None.

    Args:
      claims: the list of bench/claims.json.
      rows: measured rows.
      floors_of: row id -> the standard floors of its binary's run.
    """
    known = {(c["optimisation"], c["claim"]) for c in claims}
    for row in rows:
        if row["claim"] and (row["optimisation"], row["claim"]) not in known:
            raise ValueError("%s: bench/claims.json has no claim %r of optimisation %d" %
                             (row["id"], row["claim"], row["optimisation"]))
    lines = []
    for claim in claims:
        answers = [r for r in rows if (r["optimisation"], r["claim"]) == (claim["optimisation"], claim["claim"])]
        for row in answers or [None]:
            measured = claimed(claim, row) if row else None
            word, marginal = verdict(claim, measured)
            lines.append({
                "claim": claim,
                "row": row,
                "measured": measured,
                "verdict": word,
                "marginal": marginal,
                "naive": first(row, "naive") if row else None,
                "ours": first(row, "ours") if row else None,
                "peer": best_peer(row) if row else None,
                "floor": floor_of(row, floors_of(row["id"])) if row else None,
            })
    return lines


def merge(runs):
    """One report of the JSON of several binaries. An id that two of them use is an error."""
    seen = {}
    merged = {"schema": SCHEMA, "rows": [], "binaries": []}
    for run in runs:
        if run["schema"] != SCHEMA:
            raise ValueError("%s: schema %s, not %d" % (run["binary"], run["schema"], SCHEMA))
        merged["binaries"].append({k: v for k, v in run.items() if k not in ("rows", "schema")})
        for row in run["rows"]:
            if row["id"] in seen:
                raise ValueError("%s is a row of %s and of %s" % (row["id"], seen[row["id"]], run["binary"]))
            seen[row["id"]] = run["binary"]
            merged["rows"].append({**row, "binary": run["binary"]})
    return merged


def floors(report):
    """Standard floors of the whole run: name -> (Spread over binaries' medians, unit, title)."""
    medians = {}
    for binary in report["binaries"]:
        for row in binary["floors"]:
            contender = row["contenders"][0]
            value = figure(contender)
            if value:
                name = row["id"][len("floor/"):]
                medians.setdefault(name, ([], row["unit"], contender["name"]))[0].append(value.median)
    return {name: (Spread(values), unit, title) for name, (values, unit, title) in medians.items()}


def number(value):
    if value is None:
        return ""
    if value != 0 and abs(value) < 10:
        return "%.2f" % value
    if abs(value) < 1000:
        return "%.1f" % value
    return "%d" % round(value)
