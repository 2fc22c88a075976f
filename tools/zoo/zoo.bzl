"""One macro for each kind of planted bug. They are built only when tools/zoo/check asks for them."""

def zoo_bug(name, **kwargs):
    """A plain program: for sanitizers, and with -fsanitize=fuzzer for libFuzzer."""
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = [name + ".cc"],
        tags = ["manual"],
        **kwargs
    )

def zoo_model_bug(name):
    """A model, for the checker itself and for order mutation."""
    zoo_bug(
        name = name,
        copts = [
            "-O1",
            "-UNDEBUG",
            "-U_FORTIFY_SOURCE",
        ],
        deps = ["//models/base"],
    )

def zoo_history_bug(name):
    """A test that records what threads do and checks that it is linearizable."""
    zoo_bug(
        name = name,
        deps = [
            "//core/base:sync",
            "//stress/base",
            "@com_google_googletest//:gtest_main",
        ],
    )
