"""Golden counts of fast paths: see bench/README.md."""

# The same in every configuration: they come after the configuration's own.
_COPTS = [
    "-O2",
    "-g0",
    "-DNDEBUG",
    "-fPIE",
    "-fomit-frame-pointer",
    "-fno-stack-protector",
    "-U_FORTIFY_SOURCE",
]

def hotpath_golden(name, deps, **kwargs):
    """NAME_golden, a test: the paths of NAME_golden.cc cost what NAME.golden says.

    Args:
      name: the stem of the files.
      deps: the libraries under test.
      **kwargs: passed on to the test.
    """
    native.cc_library(
        name = name + "_paths",
        testonly = True,
        srcs = [name + "_golden.cc"],
        copts = _COPTS,
        linkstatic = True,
        deps = deps + ["//bench/golden"],
    )

    # Which functions are the paths' own, and compiled as said above.
    native.genrule(
        name = name + "_symbols",
        testonly = True,
        srcs = [":%s_paths" % name],
        outs = [name + "_symbols.txt"],
        cmd = "for f in $(SRCS); do nm --defined-only $$f; done >$@",
    )
    native.cc_test(
        name = name + "_golden",
        args = [
            "$(rootpath %s.golden)" % name,
            "$(rootpath :%s_symbols)" % name,
        ],
        data = [
            name + ".golden",
            ":%s_symbols" % name,
        ],
        linkstatic = True,
        tags = [
            "golden",
            "no-sanitizer",
        ],
        deps = [
            # First: where another object has the same inline function, this one's is linked.
            ":%s_paths" % name,
            "//bench/golden:main",
        ],
        **kwargs
    )
