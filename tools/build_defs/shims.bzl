"""Tiny stand-ins for repositories that Bazel 4.2 refers to by name.

They export the native rules, so nothing is downloaded.
"""

_RULES_CC = """
cc_binary = native.cc_binary
cc_import = native.cc_import
cc_library = native.cc_library
cc_proto_library = native.cc_proto_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
fdo_prefetch_hints = native.fdo_prefetch_hints
fdo_profile = native.fdo_profile
objc_library = native.objc_library

def cc_flags_supplier(**_kwargs):
    pass

def compiler_flag(**_kwargs):
    pass
"""

_RULES_JAVA = """
java_binary = native.java_binary
java_import = native.java_import
java_library = native.java_library
java_package_configuration = native.java_package_configuration
java_plugin = native.java_plugin
java_proto_library = native.java_proto_library
java_runtime = native.java_runtime
java_test = native.java_test
java_toolchain = native.java_toolchain
"""

_COVERAGE = """
filegroup(
    name = "coverage_report_generator",
    srcs = [],
    visibility = ["//visibility:public"],
)
"""

# repository kind -> {file: contents}
_FILES = {
    "remote_coverage_tools": {"BUILD": _COVERAGE},
    "rules_cc": {"BUILD": "", "cc/BUILD": "", "cc/defs.bzl": _RULES_CC},
    "rules_java": {"BUILD": "", "java/BUILD": "", "java/defs.bzl": _RULES_JAVA},
}

def needs_shims():
    """True for Bazel 4 and for Debian's build, which does not tell its version."""
    major = (native.bazel_version or "").split(".")[0]
    return not major.isdigit() or int(major) < 5

def _impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    for path, contents in _FILES[ctx.attr.kind].items():
        ctx.file(path, contents)

hotpath_shim_repository = repository_rule(
    implementation = _impl,
    attrs = {"kind": attr.string(mandatory = True, values = _FILES.keys())},
)
