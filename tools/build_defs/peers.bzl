"""Libraries to measure ours against, where they are installed.

    @hotpath_peers//:liburcu_memb, :liburcu_qsbr, :ck, :libcds, :xenium, :tbb, :libcuckoo, :concurrentqueue, :boost,
                     :boost_thread,
                     :re2, :hyperscan, :highway, :protobuf, :tcmalloc, :jemalloc, :mimalloc

Each is a library that defines HOTPATH_HAVE_<NAME> as 1 and links the system's copy or, where that is not installed,
an empty library that defines it as 0, as all of them are with --repo_env=HOTPATH_PEERS=none. tools/bootstrap --peers
installs them from Debian. Only benchmarks of
hotpath's own workspace may depend on them. The three allocators are not linked: benchmarks load them beside the
process's own (bench/base/peer_allocator.h).
"""

# name -> header that shows it is there, files to link (static ones first choice: no PLT, and thread-locals that the
# linker resolves), further libraries to link with them.
_PEERS = {
    "boost": struct(header = "boost/version.hpp"),
    # What the flat combining of libcds keeps its threads' records in.
    "boost_thread": struct(header = "boost/thread/tss.hpp", libs = ["libboost_thread.so"]),
    "ck": struct(header = "ck_sequence.h", libs = ["libck.a", "libck.so"]),
    "concurrentqueue": struct(header = "concurrentqueue/concurrentqueue.h"),
    "highway": struct(header = "hwy/highway.h", libs = ["libhwy.a", "libhwy.so"]),
    "hyperscan": struct(header = "hs/hs.h", libs = ["libhs.so"]),
    "jemalloc": struct(header = "jemalloc/jemalloc.h", loaded = "libjemalloc.so.2"),
    "libcds": struct(header = "cds/init.h", libs = ["libcds-s.a", "libcds.so"]),
    "libcuckoo": struct(header = "libcuckoo/cuckoohash_map.hh"),
    "liburcu_memb": struct(
        header = "urcu/urcu-memb.h",
        libs = ["liburcu-memb.a", "liburcu-memb.so"],
        with_libs = ["liburcu-common.a", "liburcu-common.so"],
    ),
    "liburcu_qsbr": struct(
        header = "urcu/urcu-qsbr.h",
        libs = ["liburcu-qsbr.a", "liburcu-qsbr.so"],
        with_libs = ["liburcu-common.a", "liburcu-common.so"],
    ),
    "mimalloc": struct(header = "mimalloc.h", loaded = "libmimalloc.so.2"),
    "protobuf": struct(header = "google/protobuf/arena.h", libs = ["libprotobuf.so"]),
    "re2": struct(header = "re2/re2.h", libs = ["libre2.so"]),
    "tbb": struct(header = "tbb/tbb.h", libs = ["libtbb.so"]),
    "tcmalloc": struct(header = "gperftools/tcmalloc.h", loaded = "libtcmalloc_minimal.so.4"),
    "xenium": struct(header = "xenium/seqlock.hpp"),
}

_ROOTS = ["/usr/local", "/usr"]

def _multiarch(ctx):
    arch = ctx.execute(["uname", "-m"]).stdout.strip()
    return arch + "-linux-gnu"

def _find_header(ctx, multiarch, header):
    for root in _ROOTS:
        for folder in ["/include/", "/include/%s/" % multiarch]:
            if ctx.path(root + folder + header).exists:
                return True
    return False

def _find_file(ctx, multiarch, names):
    for name in names:
        for root in _ROOTS:
            for folder in ["/lib/%s/" % multiarch, "/lib64/", "/lib/"]:
                if ctx.path(root + folder + name).exists:
                    return name
    return None

def _library(name, have, linkopts, defines):
    defines = ["HOTPATH_HAVE_%s=%d" % (name.upper(), 1 if have else 0)] + defines
    return "\ncc_library(\n    name = %r,\n    defines = %r,\n    linkopts = %r,\n)\n" % (name, defines, linkopts)

def _impl(ctx):
    multiarch = _multiarch(ctx)
    wanted = ctx.os.environ.get("HOTPATH_PEERS") != "none"
    build = ["# Written by tools/build_defs/peers.bzl.\npackage(default_visibility = [\"//visibility:public\"])\n"]
    for name, peer in sorted(_PEERS.items()):
        have = wanted and _find_header(ctx, multiarch, peer.header)
        linkopts = []
        defines = []
        for field in ["libs", "with_libs"]:
            names = getattr(peer, field, [])
            if names:
                found = _find_file(ctx, multiarch, names)
                have = have and found != None
                linkopts.append("-l:%s" % found)
        loaded = getattr(peer, "loaded", None)
        if loaded:
            have = have and _find_file(ctx, multiarch, [loaded]) != None
            defines.append("HOTPATH_%s_SONAME=\\\"%s\\\"" % (name.upper(), loaded))
        build.append(_library(name, have, linkopts if have else [], defines if have else []))
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD", "".join(build))

hotpath_peers_repository = repository_rule(
    implementation = _impl,
    # Looked at again whenever Bazel starts, and when tools/bootstrap has seen other packages.
    local = True,
    configure = True,
    environ = ["HOTPATH_PEERS"],
)
