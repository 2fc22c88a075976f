"""SIMULATION, not measurement: how shared structures scale beyond the cores of this machine.

A discrete-event simulation of cache-line coherence. Every core repeats one operation, made of steps on lines: a step on
a line that the core holds takes its service time; on another it waits for the line, which travels for one transfer, and
lines are handed out in order of request. A core keeps a line that arrived for a while (`hold`), as hardware does:
otherwise two cores could not do more contended read-modify-writes than one transfer each.

Calibrated by the floors of the same run (uncontended and contended read-modify-write, line transfer, load) and by the
one-thread figure of each structure. What it leaves out: the topology (every transfer costs the same, as between the two
cores measured), bandwidth of the interconnect, preemption, and blocking in the kernel. So it answers "which way does it
bend", not "how many nanoseconds".
"""

import heapq

CORES = (1, 2, 4, 8, 16, 32, 64, 128)
NEVER = float("inf")


class Costs:
    """Nanoseconds of this machine."""

    def __init__(self, rmw, rmw_contended, transfer, load):
        self.rmw = rmw
        self.load = load
        self.transfer = transfer
        # Two cores alternate: each does `batch` operations per ownership, and waits for a transfer and for the other's
        # turn. rmw_contended = 2 * transfer / batch + 2 * rmw, per thread and operation.
        slack = rmw_contended - 2 * rmw
        self.batch = max(1.0, 2 * transfer / slack) if slack > 0 else 1.0
        self.hold = self.batch * rmw

    @staticmethod
    def of_floors(floors):
        """From logic.floors(); None where one is missing."""
        names = ("rmw", "rmw_contended", "line_transfer", "l1_load")
        if any(name not in floors for name in names):
            return None
        return Costs(*(floors[name][0].median for name in names))


class _Copy:
    """One core's copy of a line: from when, until when to read, until when to write."""

    __slots__ = ("since", "until", "exclusive_until")

    def __init__(self, since, until, exclusive_until):
        self.since, self.until, self.exclusive_until = since, until, exclusive_until


class _Line:
    __slots__ = ("copies", "owner", "free_at")

    def __init__(self):
        self.copies = {}
        self.owner = None  # the last core that wrote; None: shared
        self.free_at = 0.0  # when it can go on to the next core


class Machine:
    """Time is given by the caller, in order: that is what makes it deterministic."""

    def __init__(self, costs):
        self.costs = costs
        self.lines = {}

    def _line(self, name):
        return self.lines.setdefault(name, _Line())

    def write(self, core, name, now, service=None):
        """Returns when a read-modify-write or store by `core` that starts `now` is done."""
        service = self.costs.rmw if service is None else service
        line = self._line(name)
        copy = line.copies.get(core)
        if not line.copies:  # never touched: no transfer
            line.copies[core] = _Copy(now, NEVER, NEVER)
            line.owner = core
            return now + service
        if copy and copy.since <= now < copy.exclusive_until:
            if line.owner == core:
                line.free_at = max(line.free_at, now + service)
            return now + service
        leaves = max(now, line.free_at)
        arrives = leaves + self.costs.transfer
        for other in line.copies.values():
            other.until = min(other.until, leaves)
            other.exclusive_until = min(other.exclusive_until, leaves)
        # Copies that ended before are of no use to anyone.
        line.copies = {c: k for c, k in line.copies.items() if k.until > now}
        line.copies[core] = _Copy(arrives, NEVER, NEVER)
        line.owner = core
        line.free_at = arrives + max(self.costs.hold, service)
        return arrives + service

    def read(self, core, name, now):
        line = self._line(name)
        copy = line.copies.get(core)
        if not line.copies:
            line.copies[core] = _Copy(now, NEVER, now)
            return now + self.costs.load
        if copy and copy.since <= now < copy.until:
            return now + self.costs.load
        leaves = now
        if line.owner is not None:
            leaves = max(now, line.free_at)
            owned = line.copies.get(line.owner)
            if owned:
                owned.exclusive_until = min(owned.exclusive_until, leaves)
            line.owner = None
            line.free_at = leaves + self.costs.transfer
        arrives = leaves + self.costs.transfer
        line.copies[core] = _Copy(arrives, NEVER, arrives)
        return arrives + self.costs.load


class Outcome:
    """Operations that each core completed, in `ns` of simulated time."""

    def __init__(self, done, ns):
        self.done, self.ns = done, ns

    def per_op_ns(self):
        """What an operation takes the core that performs it, as rows have it."""
        return len(self.done) * self.ns / max(1, sum(self.done))

    def __eq__(self, other):
        return (self.done, self.ns) == (other.done, other.ns)


def simulate(costs, operation, cores, duration_ns=100_000.0, max_operations=8_000):
    """Runs operation(core, n) -> steps on each core, until the time or the number of operations is reached.

    A step is ("write", line), ("store", line), ("read", line) or ("work", ns). A store is a write that costs a load's
    time where the line is held.
    """
    machine = Machine(costs)
    done = [0] * cores
    total = 0
    steps = [iter(operation(core, 0)) for core in range(cores)]
    # Staggered by less than a nanosecond, so that the order of the first round is by core and not by chance.
    queue = [(core * 1e-3, core) for core in range(cores)]
    heapq.heapify(queue)
    while True:
        now, core = heapq.heappop(queue)
        if now >= duration_ns:
            return Outcome(done, duration_ns)
        step = next(steps[core], None)
        if step is None:
            done[core] += 1
            total += 1
            if total >= max_operations:
                return Outcome(done, now)
            steps[core] = iter(operation(core, done[core]))
            heapq.heappush(queue, (now, core))
            continue
        kind, what = step
        if kind == "work":
            then = now + what
        elif kind == "read":
            then = machine.read(core, what, now)
        elif kind == "write":
            then = machine.write(core, what, now)
        elif kind == "store":
            then = machine.write(core, what, now, costs.load)
        else:
            raise ValueError("unknown step %r" % kind)
        heapq.heappush(queue, (max(then, now + 1e-6), core))


def _times(steps, n):
    """Every n-th operation."""
    return lambda core, count: steps[0](core) if count % n == n - 1 else steps[1](core)


class Structure:
    """A structure, ours and the naive one. The rows ROW/t1, ROW/t2, ... calibrate and check it."""

    def __init__(self, name, row, naive, ours, naive_name, ours_name):
        self.name, self.row = name, row
        self.naive, self.ours = naive, ours
        self.naive_name, self.ours_name = naive_name, ours_name


# Each takes `work`, the nanoseconds that no line accounts for, found so that one core takes what was measured.
STRUCTURES = (
    Structure(
        "counter", "counter/add",
        lambda work: lambda core, n: (("work", work), ("write", "word")),
        lambda work: lambda core, n: (("work", work), ("store", ("cell", core))),
        "one atomic", "a cell per thread, summed on read"),
    Structure(
        "flat combining", None,
        lambda work: lambda core, n: (("work", work), ("write", "word")),
        # At best: a request's line travels to who serves it and back with the reply. Cores serve each other in pairs.
        lambda work: lambda core, n: (("work", work), ("store", ("slot", core)), ("write", "combiner"),
                                      ("store", ("slot", core ^ 1))),
        "one atomic", "flat combining, exact"),
    Structure(
        "lock", "adaptive_lock/u64 add",
        lambda work: lambda core, n: (("work", work), ("write", "lock"), ("store", "value"), ("write", "lock")),
        lambda work: lambda core, n: (("work", work), ("write", "value")),
        "mutex and word", "atomic"),
    Structure(
        "map", "striped_map/90-9-1",
        # 90 % finds. A reader of a shared mutex writes its line twice.
        lambda work: lambda core, n: (("write", "lock"), ("work", work), ("write", "lock")),
        lambda work: _times((lambda core: (("write", ("stripe", core * 7 % 32)), ("work", work),
                                           ("store", ("stripe", core * 7 % 32))),
                             lambda core: (("read", ("stripe", core * 5 % 32)), ("work", work),
                                           ("read", ("stripe", core * 5 % 32)))), 10),
        "shared mutex", "32 stripes, validated reads"),
    Structure(
        "RCU read", "epoch/read",
        lambda work: lambda core, n: (("write", "lock"), ("work", work), ("read", "pointer"), ("write", "lock")),
        lambda work: lambda core, n: (("store", ("announce", core)), ("read", "pointer"), ("work", work),
                                      ("store", ("announce", core))),
        "shared mutex", "announced read"),
)


def calibrated_work(costs, make, one_core_ns):
    """The work that makes one core take `one_core_ns`; 0 where the lines alone take longer."""
    if one_core_ns is None:
        return 0.0
    return max(0.0, one_core_ns - simulate(costs, make(0.0), 1).per_op_ns())


def _measured(rows, stem):
    """{threads: (naive ns, ours ns)} of the rows of that stem that had a core for each thread."""
    from bench.reporting import logic

    measured = {}
    for row in rows:
        if row["id"] != "%s/t%d" % (stem, row["threads"]) or row["clock"] != "window":
            continue
        figures = [c and logic.figure(c) for c in (logic.first(row, "naive"), logic.first(row, "ours"))]
        if all(figures):
            measured[row["threads"]] = tuple(f.median for f in figures)
    return measured


def predict(costs, rows):
    """One dictionary per structure: ns per operation and speedup at each number of cores, and the error where measured."""
    predictions = []
    for s in STRUCTURES:
        measured = _measured(rows, s.row)
        one = measured.get(1, (None, None))
        result = {"name": s.name, "naive": s.naive_name, "ours": s.ours_name,
                  "calibrated_by": s.row if measured else None, "cores": list(CORES), "naive_ns": [], "ours_ns": [], "errors": {}}
        for key, make, figure in (("naive_ns", s.naive, one[0]), ("ours_ns", s.ours, one[1])):
            operation = make(calibrated_work(costs, make, figure))
            result[key] = [simulate(costs, operation, n).per_op_ns() for n in CORES]
        result["speedup"] = [a / b for a, b in zip(result["naive_ns"], result["ours_ns"])]
        for threads, figures in measured.items():
            if threads in CORES:
                i = CORES.index(threads)
                result["errors"][threads] = [result[k][i] / m - 1 for k, m in zip(("naive_ns", "ours_ns"), figures)]
        predictions.append(result)
    return predictions
