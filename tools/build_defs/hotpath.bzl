"""One stanza per target: its library and all of its proofs.

    hotpath_primitive(name = "seqlock_stats", deps = [...])

declares, in the package of the stanza,

    :seqlock_stats         the library; headers are included as hotpath/<package>/seqlock_stats.h
    :seqlock_stats_test    unit tests       from seqlock_stats_test.cc
    :seqlock_stats_fuzz    fuzz harness     from //fuzz:seqlock_stats_fuzz.cc, replayed and mutated as a test
    :seqlock_stats_stress  threads          from //stress:seqlock_stats_stress.cc
    :seqlock_stats_model   interleavings    from //models:seqlock_stats_model.cc
    :seqlock_stats_bench   benchmark        from //bench:seqlock_stats_bench.cc (and a smoke test of it)
    :seqlock_stats_proofs  all of these tests

A proof whose file is missing does not build. One that makes no sense is waived with a reason, never left out.
"""

_PROOFS = ["test", "fuzz", "stress", "model", "bench"]
_GTEST = ["@com_google_googletest//:gtest_main"]

def hotpath_cc_library(name, **kwargs):
    """A library whose headers are included as hotpath/<package>/<file>."""
    native.cc_library(
        name = name,
        include_prefix = "hotpath/" + native.package_name(),
        **kwargs
    )

def hotpath_fuzz_harness(name, srcs, corpus, deps, mutations = 2000, **kwargs):
    """A harness that defines LLVMFuzzerTestOneInput, and the test that replays it.

    Makes NAME (a test: replays the corpus, then tries seeded mutations of it; with --config=fuzz it is
    libFuzzer replaying the corpus) and NAME_harness (what //fuzz:..._fuzzer links).

    Args:
      name: name of the test.
      srcs: the harness.
      corpus: label of a filegroup of inputs.
      deps: the libraries under test.
      mutations: how many mutated inputs the stand-alone engine tries.
      **kwargs: passed on to the test.
    """
    native.cc_library(
        name = name + "_harness",
        testonly = True,
        srcs = srcs,
        alwayslink = True,
        deps = deps + ["//fuzz/base:input"],
        visibility = ["//fuzz:__pkg__"],
    )
    files = ["$(rootpaths %s)" % corpus]
    native.cc_test(
        name = name,
        args = select({
            "//tools/build_defs:fuzz_engine_standalone": ["--mutations=%d" % mutations] + files,
            "//conditions:default": files,
        }),
        data = [corpus],
        linkopts = _engine_linkopts(),
        tags = ["fuzz"],
        deps = [":%s_harness" % name] + _engine_deps(),
        **kwargs
    )

def hotpath_fuzzer(name, harness, dictionary = None):
    """The long-running binary of a harness, for //fuzz: NAME_fuzzer, NAME_corpus and NAME_dict.

    Args:
      name: stem of the harness; its corpus is the folder corpus/NAME.
      harness: label of the NAME_harness library.
      dictionary: a libFuzzer dictionary file.
    """
    native.filegroup(
        name = name + "_corpus",
        srcs = native.glob(
            ["corpus/%s/**" % name],
            allow_empty = False,
        ),
    )
    if dictionary:
        native.filegroup(
            name = name + "_dict",
            srcs = [dictionary],
        )
    native.cc_binary(
        name = name + "_fuzzer",
        testonly = True,
        linkopts = _engine_linkopts(),
        tags = ["fuzzer"],
        deps = [harness] + _engine_deps(),
    )

def _python(rule, name, srcs, main, args, data, **kwargs):
    rule(
        name = name,
        srcs = ["//tools/build_defs:run.sh"],
        args = ["python3", "-m", "%s.%s" % (native.package_name().replace("/", "."), main or name)] + args,
        data = srcs + data,
        **kwargs
    )

def python_test(name, srcs, main = None, args = [], data = [], **kwargs):
    """Runs a Python module of this package, NAME unless `main` says another, as a test.

    Bazel's own rules ask for a `python` that Debian does not have.

    Args:
      name: name of the test.
      srcs: the module and those it imports.
      main: the module to run.
      args: arguments for it.
      data: files it reads.
      **kwargs: passed on to the test.
    """
    _python(native.sh_test, name, srcs, main, args, data, **kwargs)

def python_binary(name, srcs, main = None, args = [], data = [], **kwargs):
    """Like python_test, for `bazel run`."""
    _python(native.sh_binary, name, srcs, main, args, data, **kwargs)

def _engine_deps():
    return select({
        "//tools/build_defs:fuzz_engine_standalone": ["//fuzz/base:standalone_main"],
        "//conditions:default": [],
    })

def _engine_linkopts():
    return select({
        "//tools/build_defs:fuzz_engine_libfuzzer": ["-fsanitize=fuzzer"],
        "//conditions:default": [],
    })

def _test(stem, deps, args):
    native.cc_test(
        name = stem + "_test",
        srcs = [stem + "_test.cc"],
        deps = deps + _GTEST,
        **args
    )

def _fuzz(stem, deps, args):
    hotpath_fuzz_harness(
        name = stem + "_fuzz",
        srcs = ["//fuzz:%s_fuzz.cc" % stem],
        corpus = "//fuzz:%s_corpus" % stem,
        deps = deps,
        **args
    )

def _stress(stem, deps, args):
    native.cc_test(
        name = stem + "_stress",
        srcs = ["//stress:%s_stress.cc" % stem],
        tags = ["stress"],
        deps = deps + ["//stress/base"] + _GTEST,
        **args
    )

def _model(stem, deps, args):
    native.cc_test(
        name = stem + "_model",
        srcs = ["//models:%s_model.cc" % stem],
        # Relacy runs its threads as fibers on stacks of its own, which sanitizers cannot follow.
        copts = ["-O1"],
        data = ["//models:survivors.txt"],
        tags = [
            "model",
            "no-sanitizer",
        ],
        deps = deps + ["//models/base"],
        **args
    )

def hotpath_bench(name, deps = [], args = {}):
    """NAME_bench of //bench:NAME_bench.cc, and NAME_bench_smoke, which shows that it runs."""
    native.cc_binary(
        name = name + "_bench",
        testonly = True,
        srcs = ["//bench:%s_bench.cc" % name],
        deps = deps + ["//bench/base"],
        **args
    )
    native.sh_test(
        name = name + "_bench_smoke",
        srcs = ["//tools/build_defs:run.sh"],
        args = [
            "$(rootpath :%s_bench)" % name,
            "--smoke",
        ],
        data = [":%s_bench" % name],
        tags = ["bench"],
    )

_RULES = {
    "bench": hotpath_bench,
    "fuzz": _fuzz,
    "model": _model,
    "stress": _stress,
    "test": _test,
}

def hotpath_primitive(name, hdrs = None, srcs = [], deps = [], proof_deps = {}, proof_args = {}, waived = {}, **kwargs):
    """Declares a library and its proofs; see the top of this file.

    Args:
      name: the stem of every file and target.
      hdrs: public headers; NAME.h unless given.
      srcs: sources of the library.
      deps: dependencies of the library.
      proof_deps: further dependencies of a proof, by kind ("test", "fuzz", "stress", "model", "bench").
      proof_args: further attributes of a proof, by kind.
      waived: kind of proof -> the reason why it makes no sense here.
      **kwargs: passed on to the library.
    """
    for table in (proof_deps, proof_args, waived):
        for kind in table:
            if kind not in _PROOFS:
                fail("%s: %r is not a kind of proof; they are %s" % (name, kind, _PROOFS))
    for kind, reason in waived.items():
        if len(reason) < 20:
            fail("%s: say why %r is waived, in a sentence" % (name, kind))

    hotpath_cc_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs or [name + ".h"],
        deps = deps,
        **kwargs
    )
    proofs = [kind for kind in _PROOFS if kind not in waived]
    for kind in proofs:
        _RULES[kind](name, [":" + name] + proof_deps.get(kind, []), proof_args.get(kind, {}))
    native.test_suite(
        name = name + "_proofs",
        tests = ["%s_%s" % (name, "bench_smoke" if kind == "bench" else kind) for kind in proofs],
    )
