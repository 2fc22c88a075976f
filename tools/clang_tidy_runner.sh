#!/usr/bin/env bash
# clang_tidy_runner REPORT SOURCE FLAGS...: fails, and shows why, on a finding.
set -u
report="$1" src="$2"
shift 2
tidy="$(command -v clang-tidy-19)" || {
  echo "clang-tidy-19 is not installed: run tools/bootstrap --dev" >&2
  exit 1
}
if ! "$tidy" --quiet --config-file=.clang-tidy "$src" -- "$@" >"$report" 2>"$report.err"; then
  cat "$report" "$report.err" >&2
  exit 1
fi
rm -f "$report.err"
