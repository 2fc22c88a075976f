"""zoo_bug(name): one planted bug, built only when tools/zoo/check asks for it."""

def zoo_bug(name, **kwargs):
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = [name + ".cc"],
        tags = ["manual"],
        **kwargs
    )
