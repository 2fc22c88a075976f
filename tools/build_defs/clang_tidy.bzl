"""An aspect that runs clang-tidy over the sources of every C++ target of this workspace.

bazel build --config=tidy --keep_going //...
"""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "ACTION_NAMES")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _compile_flags(ctx, cc):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    cpp = ctx.fragments.cpp
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = toolchain,
        user_compile_flags = cpp.copts + cpp.cxxopts + getattr(ctx.rule.attr, "copts", []),
        include_directories = cc.includes,
        quote_include_directories = cc.quote_includes,
        system_include_directories = cc.system_includes,
        preprocessor_defines = depset(transitive = [cc.defines, cc.local_defines]),
    )
    return toolchain, cc_common.get_memory_inefficient_command_line(
        feature_configuration = features,
        action_name = ACTION_NAMES.cpp_compile,
        variables = variables,
    )

def _impl(target, ctx):
    if not CcInfo in target or target.label.workspace_root or not hasattr(ctx.rule.attr, "srcs"):
        return []
    cc = target[CcInfo].compilation_context
    toolchain, flags = _compile_flags(ctx, cc)
    reports = []
    for src in ctx.rule.files.srcs:
        if not src.is_source or src.extension != "cc":
            continue
        report = ctx.actions.declare_file("%s.%s.tidy" % (ctx.label.name, src.basename))
        args = ctx.actions.args()
        args.add(report)
        args.add(src)
        args.add_all(flags)
        ctx.actions.run(
            executable = ctx.executable._runner,
            arguments = [args],
            inputs = depset([src] + ctx.files._config, transitive = [cc.headers, toolchain.all_files]),
            outputs = [report],
            mnemonic = "ClangTidy",
            progress_message = "clang-tidy " + src.short_path,
            use_default_shell_env = True,
        )
        reports.append(report)
    return [OutputGroupInfo(tidy = depset(reports))]

clang_tidy = aspect(
    implementation = _impl,
    attrs = {
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
        "_config": attr.label(
            allow_files = True,
            default = "//:.clang-tidy",
        ),
        "_runner": attr.label(
            allow_files = True,
            cfg = "host",
            default = "//tools:clang_tidy_runner",
            executable = True,
        ),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
