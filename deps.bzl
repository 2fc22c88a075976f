"""External dependencies of hotpath.

Every archive is named by its upstream URL and the sha256 of upstream's bytes.
tools/bootstrap puts the same bytes into a --distdir from Debian's source
packages, so these lines serve an offline machine and the Internet alike.
"""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")
load("//tools/build_defs:peers.bzl", "hotpath_peers_repository")
load("//tools/build_defs:shims.bzl", "hotpath_shim_repository", "needs_shims")

_RELACY_COMMIT = "acc09bbe65a1837a08912774c7fed178547514e6"

def hotpath_dependencies(test_only = True):
    """Declares the repositories hotpath needs; earlier declarations win.

    Args:
      test_only: also declare what only hotpath's own tests and tools need.
        A consumer passes False and gets Abseil and what Abseil needs.
    """
    if needs_shims():
        # What Bazel 4.2's built-in C++ rules ask for by name. Newer Bazels bring their own.
        for shim in ("rules_cc", "rules_java", "remote_coverage_tools"):
            maybe(hotpath_shim_repository, name = shim, kind = shim)
        maybe(
            http_archive,
            name = "platforms",
            sha256 = "d62cb553b378d2acb4e63de21dce82d025ce2ef2bdfcee2c2b742788314df0b1",
            strip_prefix = "platforms-0.0.2",
            urls = ["https://github.com/bazelbuild/platforms/archive/0.0.2.tar.gz"],
        )

    maybe(
        http_archive,
        name = "bazel_skylib",
        sha256 = "7ac0fa88c0c4ad6f5b9ffb5e09ef81e235492c873659e6bb99efb89d11246bcb",
        strip_prefix = "bazel-skylib-1.0.3",
        urls = ["https://github.com/bazelbuild/bazel-skylib/archive/1.0.3.tar.gz"],
    )
    maybe(
        http_archive,
        name = "com_google_absl",
        sha256 = "91ac87d30cc6d79f9ab974c51874a704de9c2647c40f6932597329a282217ba8",
        strip_prefix = "abseil-cpp-20220623.1",
        urls = ["https://github.com/abseil/abseil-cpp/archive/refs/tags/20220623.1.tar.gz"],
    )
    if not test_only:
        return

    maybe(
        http_archive,
        name = "com_google_googletest",
        sha256 = "81964fe578e9bd7c94dfdb09c8e4d6e6759e19967e397dbea48d1c10e45d0df2",
        strip_prefix = "googletest-release-1.12.1",
        urls = ["https://github.com/google/googletest/archive/refs/tags/release-1.12.1.tar.gz"],
    )
    maybe(
        http_archive,
        name = "com_github_google_benchmark",
        sha256 = "6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7",
        strip_prefix = "benchmark-1.7.1",
        urls = ["https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz"],
    )
    maybe(
        http_archive,
        name = "relacy",
        build_file = "@hotpath//third_party/relacy:relacy.BUILD",
        patch_args = ["-p1"],
        patch_tool = "patch",
        patches = ["@hotpath//third_party/relacy:relacy-cxx20.patch"],
        sha256 = "f8e54e14e5c89287a8052293b34c7bf51bf3445dd7090c27fab98604230677b3",
        strip_prefix = "relacy-" + _RELACY_COMMIT,
        urls = ["https://github.com/dvyukov/relacy/archive/%s.tar.gz" % _RELACY_COMMIT],
    )

    # Nothing is downloaded: it looks for what the system has.
    maybe(hotpath_peers_repository, name = "hotpath_peers")
