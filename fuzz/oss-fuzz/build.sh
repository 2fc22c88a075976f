#!/bin/bash -eu
# Builds every fuzzer the OSS-Fuzz way (ClusterFuzzLite's too): takes $CC $CXX
# $CFLAGS $CXXFLAGS $LIB_FUZZING_ENGINE $SANITIZER, fills $OUT with
# NAME_fuzzer, NAME_fuzzer_seed_corpus.zip and NAME_fuzzer.dict.
# tools/oss_fuzz_check simulates the environment on one machine.
cd "${HOTPATH_DIR:-$SRC/hotpath}"

export HOTPATH_NO_BOOTSTRAP=1 BAZEL_CXXOPTS=
flags=(--config=oss-fuzz --verbose_failures --spawn_strategy=standalone
  "--repo_env=CC=$CC" "--repo_env=CXX=$CXX")
for f in $CFLAGS; do flags+=("--conlyopt=$f"); done
for f in $CXXFLAGS; do flags+=("--cxxopt=$f" "--linkopt=$f"); done
for f in $LIB_FUZZING_ENGINE; do flags+=("--linkopt=$f"); done
if [[ ${SANITIZER:-} == undefined ]]; then flags+=(--linkopt=-fsanitize-link-c++-runtime); fi

mapfile -t fuzzers < <(./tools/bazel query 'attr(tags, "\bfuzzer\b", kind(cc_binary, //fuzz/...))' 2>/dev/null)
./tools/bazel build "${flags[@]}" "${fuzzers[@]}"

for label in "${fuzzers[@]}"; do
  binary="${label#//fuzz:}"
  stem="${binary%_fuzzer}"
  install -m 755 "bazel-bin/fuzz/$binary" "$OUT/$binary"
  rm -f "$OUT/${binary}_seed_corpus.zip"
  find "fuzz/corpus/$stem" -type f -print0 | xargs -0 zip -q -j "$OUT/${binary}_seed_corpus.zip"
  if [[ -f fuzz/$stem.dict ]]; then install -m 644 "fuzz/$stem.dict" "$OUT/$binary.dict"; fi
done

# Coverage reports look the sources up by the path in the debug info, which
# Bazel makes /proc/self/cwd.
if [[ ${SANITIZER:-} == coverage ]]; then
  mkdir -p "$OUT/proc/self/cwd"
  git ls-files -z '*.h' '*.cc' | xargs -0 cp -L --parents -t "$OUT/proc/self/cwd"
fi
