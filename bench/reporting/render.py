"""The report as text and as HTML."""

import html
import sys

from bench.reporting import logic
from bench.reporting.logic import number

DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"
SIMULATION_NOTE = ("SIMULATION, not measurement: a model of cache-line coherence, calibrated by the floors above. It leaves out "
                   "topology, interconnect bandwidth and preemption.")


def figure_text(contender):
    if contender is None:
        return "-"
    value = logic.figure(contender)
    if value is None:
        return logic.why_no_figure(contender)
    if value.too_wide():
        return "spread too wide: %s to %s" % (number(value.min), number(value.max))
    return number(value.median)


def named_figure(contender):
    return "-" if contender is None else "%s (%s)" % (figure_text(contender), contender["name"])


def measured_text(line):
    measured = line["measured"]
    if measured is None:
        return "-"
    metric = line["claim"]["metric"]
    if logic.too_wide(line["claim"], measured):
        return "spread too wide: %s to %s" % (number(measured.min), number(measured.max))
    unit = {"speedup": "x", "saving": "", "at_most": " " + line["row"]["unit"]}[metric]
    return "%s%s (%s to %s)" % (number(measured.median), unit, number(measured.min), number(measured.max))


def verdict_text(line):
    return line["verdict"] + (", but within the spread" if line["marginal"] else "")


def goal_text(goal):
    return "%s %s x %s" % (">=" if goal["at_least"] else "<=", number(goal["ratio"]), goal["against"])


def spread_text(spread):
    return "%s (%s to %s)" % (number(spread.median), number(spread.min), number(spread.max)) if spread else "-"


def goal_word(line):
    return "not measured" if line["met"] is None else "met" if line["met"] else "missed"


def goals_text(goals):
    words = [goal_word(line) for line in goals]
    return "%d met, %d missed, %d not measured" % tuple(words.count(w) for w in ("met", "missed", "not measured"))


SHORTFALLS = (("floor", "Out of reach: the row's floor would miss them too"), ("spread", "Within the spread: some rounds met them"),
              ("missed", "Missed"))


def markdown(report, lines, goals, floors):
    """The claims and the goals, for a dated file."""
    stamp = report["stamp"]
    out = [", ".join("%s %s" % kv for kv in stamp.items()) + "."]
    out += ["", "Floors: " + "; ".join("%s %s %s" % (name, number(s.median), unit) for name, (s, unit, _) in sorted(floors.items())) + "."]
    out += ["", "## The seed's claims", "", "| # | claim | row | measured | verdict |", "|---|---|---|---|---|"]
    for line in lines:
        claim = line["claim"]
        out.append("| %s | %s: %s | %s | %s | %s |" % (
            claim["optimisation"] or "", claim["title"], claim["text"], line["row"]["id"] if line["row"] else "-",
            measured_text(line), verdict_text(line)))
    out += ["", "## Goals", "", goals_text(goals).capitalize() + "."]
    missed = [line for line in goals if line["met"] is False]
    for word, title in SHORTFALLS:
        out += ["", "### " + title, "", "| row | goal | measured | the floor would give |", "|---|---|---|---|"]
        for line in missed:
            if logic.shortfall(line) == word:
                out.append("| %s | %s | %s | %s |" % (line["row"]["id"], goal_text(line["goal"]), spread_text(line["measured"]),
                                                      number(line["reach"].median) if line["reach"] else ""))
    return "\n".join(out) + "\n"


def text(report, lines, goals, floors, predictions):
    out = ["", "machine: " + ", ".join("%s %s" % kv for kv in report["stamp"].items()), ""]
    out.append("floors of this run: " + "; ".join(
        "%s %s %s" % (name, number(spread.median), unit) for name, (spread, unit, _) in sorted(floors.items())))
    out.append("")
    for line in lines:
        claim = line["claim"]
        out.append("%2s %s: %s" % (claim["optimisation"] or "", claim["title"], claim["text"]))
        if line["row"] is None:
            out.append("     not measured: no benchmark answers this claim")
            continue
        out.append("     %s: naive %s, ours %s, best peer %s, floor %s" %
                   (line["row"]["id"], named_figure(line["naive"]), named_figure(line["ours"]),
                    named_figure(line["peer"]), named_figure(line["floor"])))
        out.append("     measured %s: %s" % (measured_text(line), verdict_text(line)))
    out += ["", "goals: " + goals_text(goals)]
    for line in goals:
        if goal_word(line) == "met":
            continue
        out.append("     %s %s: %s, measured %s%s" % (
            goal_word(line), line["row"]["id"], goal_text(line["goal"]), spread_text(line["measured"]),
            "; the floor itself would be %s" % number(line["reach"].median) if line["reach"] else ""))
    out += ["", "scaling: " + SIMULATION_NOTE]
    if predictions is None:
        out.append("     not calibrated: a floor is missing")
    for p in predictions or []:
        out.append("     %-15s naive/ours at %s" % (p["name"], "  ".join(
            "%d: %s" % (n, number(s)) for n, s in zip(p["cores"], p["speedup"]))))
        out.append("     %-15s %s" % ("", validation_text(p)))
    return "\n".join(out) + "\n"


def validation_text(p):
    if not p["errors"]:
        return "not validated: no row measures it with a core for each thread"
    parts = ["%d cores: naive %+.0f %%, ours %+.0f %%" % (n, 100 * e[0], 100 * e[1]) for n, e in sorted(p["errors"].items())]
    return "error against %s at %s" % (p["calibrated_by"], "; ".join(parts))


def _cell(value, tag="td", style=""):
    return "<%s%s>%s</%s>" % (tag, " class=\"%s\"" % html.escape(style, quote=True) if style else "", html.escape(str(value)), tag)


def _table(head, rows):
    body = "".join("<tr>%s</tr>" % "".join(r) for r in rows)
    return "<table><tr>%s</tr>%s</table>" % ("".join(_cell(h, "th") for h in head), body)


_STYLE = """body{font:15px sans-serif;max-width:75em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #bbb;padding:.3em .5em;text-align:left;vertical-align:top}.held,.exceeded{background:#dfd}
.refuted{background:#fdd}.unknown{background:#eee}.simulation{border:2px dashed #b60;padding:0 1em}"""


def page(report, lines, goals, floors, predictions, plots):
    """One file, no links: `plots` is [(title, svg text)], or a sentence that says why there are none."""
    claims = []
    for line in lines:
        claim, word = line["claim"], line["verdict"]
        style = word if word in ("held", "exceeded", "refuted") else "unknown"
        row = line["row"]
        claims.append([
            _cell(claim["optimisation"] or ""), _cell(claim["title"]), _cell(claim["text"]), _cell(row["id"] if row else "-"),
            _cell(named_figure(line["naive"])), _cell(named_figure(line["ours"])), _cell(named_figure(line["peer"])),
            _cell(named_figure(line["floor"])), _cell(measured_text(line)), _cell(verdict_text(line), style=style)])
    floor_rows = [[_cell(name), _cell(title), _cell(number(s.median) + " " + unit), _cell("%s to %s" % (number(s.min), number(s.max)))]
                  for name, (s, unit, title) in sorted(floors.items())]
    all_rows = []
    for row in report["rows"]:
        ours = logic.first(row, "ours")
        for c in row["contenders"]:
            value, ratio = logic.figure(c), logic.paired(c, ours) if c is not ours else None
            all_rows.append([
                _cell(row["id"]), _cell(c["role"]), _cell(c["name"]), _cell(figure_text(c) + " " + row["unit"] if value else figure_text(c)),
                _cell("%s to %s" % (number(value.min), number(value.max)) if value else ""),
                _cell("%s (%s to %s)" % (number(ratio.median), number(ratio.min), number(ratio.max)) if ratio else ""),
                _cell("%s / %s / %s" % (number(c["p50"]), number(c["p99"]), number(c["p999"])) if "p50" in c else ""),
                _cell(number(c.get("fairness"))), _cell(row["clock"])])
    goal_rows = [[
        _cell(line["row"]["id"]), _cell(goal_text(line["goal"])), _cell(spread_text(line["measured"])),
        _cell(spread_text(line["reach"])),
        _cell(goal_word(line), style={"met": "held", "missed": "refuted"}.get(goal_word(line), "unknown"))] for line in goals]
    scaling = ["<p><b>%s</b></p>" % html.escape(SIMULATION_NOTE)]
    if predictions is None:
        scaling.append("<p>Not calibrated: a floor is missing.</p>")
    for p in predictions or []:
        scaling.append("<h3>Simulated: %s</h3><p>%s</p>" % (html.escape(p["name"]), html.escape(validation_text(p))))
        scaling.append(_table(["cores", "naive: %s, ns" % p["naive"], "ours: %s, ns" % p["ours"], "naive / ours"], [
            [_cell(n), _cell(number(a)), _cell(number(b)), _cell(number(a / b))]
            for n, a, b in zip(p["cores"], p["naive_ns"], p["ours_ns"])]))
    if isinstance(plots, str):
        pictures = "<p>%s</p>" % html.escape(plots)
    else:
        pictures = "".join("<h3>%s</h3>%s" % (html.escape(title), svg) for title, svg in plots)
    stamp = _table(["", ""], [[_cell(k), _cell(v)] for k, v in report["stamp"].items()])
    return "".join([
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>hotpath: measured</title><style>", _STYLE, "</style>",
        "<h1>hotpath: measured</h1>", stamp,
        "<h2>The seed's claims</h2><p>Medians of interleaved rounds; in brackets the smallest and the largest round. "
        "Ratios below %.1f are equal.</p>" % logic.EQUAL,
        _table(["#", "optimisation", "claim", "row", "naive", "ours", "best peer", "floor", "measured", "verdict"], claims),
        "<h2>Floors, in this run</h2>", _table(["floor", "", "median", "over the binaries"], floor_rows),
        "<h2>Plots</h2>", pictures,
        "<h2>Goals</h2><p>Reach: what the row's floor would give; who has to do what the floor does gets no further on this machine.</p>",
        _table(["row", "goal", "measured", "reach", ""], goal_rows),
        "<h2>Scaling beyond this machine</h2><div class=\"simulation\">", "".join(scaling), "</div>",
        "<h2>Every row</h2>", _table(["row", "role", "contender", "figure", "rounds", "theirs / ours", "p50 / p99 / p99.9 ns", "fairness", "clock"], all_rows),
        "</html>\n"])


def plots(report, predictions):
    """[(title, svg)], or why there are none."""
    try:
        # Debian's package, for a python3 that is not Debian's own.
        if DEBIAN_PACKAGES not in sys.path:
            sys.path.append(DEBIAN_PACKAGES)
        import matplotlib
        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError:
        return "No plots: matplotlib is not installed (tools/bootstrap --peers installs it)."
    import io

    def svg(draw):
        fig, axes = pyplot.subplots(figsize=(9, 4))
        draw(axes)
        fig.tight_layout()
        out = io.StringIO()
        fig.savefig(out, format="svg", metadata={"Date": None})
        pyplot.close(fig)
        whole = out.getvalue()
        return whole[whole.index("<svg"):]

    pictures = []
    rows = [(r, logic.paired(logic.first(r, "naive"), logic.first(r, "ours"))) for r in report["rows"]]
    rows = [(r, s) for r, s in rows if s and s.median > 0 and not s.too_wide()]
    if rows:
        def bars(axes):
            axes.barh([r["id"] for r, _ in rows], [s.median for _, s in rows],
                      xerr=[[s.median - s.min for _, s in rows], [s.max - s.median for _, s in rows]], color="#58a")
            axes.axvline(1, color="black", linewidth=1)
            axes.set_xscale("log")
            axes.set_xlabel("naive / ours (measured)")
            axes.figure.set_size_inches(9, 1.5 + 0.25 * len(rows))
        pictures.append(("Measured: how many times as long the naive one takes", svg(bars)))
    if predictions:
        def curves(axes):
            for p in predictions:
                axes.plot(p["cores"], p["speedup"], marker="o", label="%s: %s" % (p["name"], p["ours"]))
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xlabel("cores (SIMULATION)")
            axes.set_ylabel("naive / ours (SIMULATION)")
            axes.legend(fontsize=8)
        pictures.append(("Simulated: scaling beyond this machine", svg(curves)))
    return pictures or "No plots: no row has both a naive contender and ours."
