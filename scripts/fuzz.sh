#!/bin/sh
# Fuzzes what reads bytes that are not ours: every target of crates/fuzz-targets, or those named, one after the other.
#
#     scripts/fuzz.sh [TARGET...] [--seconds N]     N seconds for each target (20); ends with 1 on a finding
#     scripts/fuzz.sh TARGET --replay FILE          one input once, with its panic and where it comes from
#
# Plain cargo on stable: the coverage flags are the compiler's own, and libFuzzer comes with the crate libfuzzer-sys, so
# cargo-fuzz and a nightly would add nothing; a C++ compiler builds it. What was learnt is kept in target/fuzz/corpus and
# gone on from; inputs that broke something are in target/fuzz/findings. The first build takes minutes.
set -eu
cd "$(dirname "$0")/.."

all="codec config profiles journal_files journal_parsers status_requests answers"
targets=
seconds=20
replay=
usage() {
    echo "fuzz: $1" >&2
    echo "usage: scripts/fuzz.sh [TARGET...] [--seconds N] | TARGET --replay FILE; targets: $all" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
        --seconds)
            case ${2:-} in '' | *[!0-9]*) usage "--seconds needs a number" ;; esac
            seconds=$2
            shift
            ;;
        --replay)
            [ -f "${2:-}" ] || usage "--replay needs a file"
            replay=$2
            shift
            ;;
        *)
            case " $all " in *" $1 "*) targets="$targets $1" ;; *) usage "there is no target $1" ;; esac
            ;;
    esac
    shift
done
if [ -n "$replay" ]; then
    case $targets in ' '*' '* | '') usage "--replay needs one target" ;; esac
fi
targets=${targets:-$all}

for tool in cargo:'Rust' c++:'a C++ compiler: sudo apt-get install g++'; do
    if ! command -v "${tool%%:*}" >/dev/null; then
        echo "fuzz: there is no ${tool%%:*}: install ${tool#*:}" >&2
        exit 1
    fi
done

host=$(rustc -vV | sed -n 's/^host: //p')
out=target/fuzz
passes="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
passes="$passes -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
passes="$passes -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=4"
bins=$(printf -- '--bin %s ' $targets)
# --target keeps the flags from build scripts and macros, which run without libFuzzer.
RUSTFLAGS=$passes CARGO_TARGET_DIR=$out cargo build --manifest-path fuzz/Cargo.toml --locked --target "$host" $bins

# Journals are made by the thousand: in memory, where there is some.
TMPDIR=$(mktemp -d /dev/shm/tidegate-fuzz.XXXXXX 2>/dev/null || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM

if [ -n "$replay" ]; then
    RUST_BACKTRACE=1 "$out/$host/debug/${targets# }" "$replay"
    exit
fi

mkdir -p $out/findings $out/logs
failed=0
for target in $targets; do
    binary=$out/$host/debug/$target
    log=$out/logs/$target.log
    mkdir -p $out/corpus/"$target"
    if ! TIDEGATE_FUZZ_SEEDS=$out/seeds/$target "$binary" 2>"$log"; then
        cat "$log" >&2
        exit 1
    fi
    code=0
    "$binary" -max_total_time="$seconds" -max_len=16384 -timeout=30 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix=$out/findings/"$target"- $out/corpus/"$target" $out/seeds/"$target" >"$log" 2>&1 || code=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) corp: \([0-9]*\).*/\1 edges, \2 features, \3 inputs kept/p' "$log" | tail -1)
    printf '%-16s %4s s  %9s executions  %s\n' "$target" "$seconds" "${executions:-?}" "${coverage:-no coverage}"
    if [ "$code" -ne 0 ]; then
        failed=1
        grep -a -v '^#' "$log" | tail -40
        found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
        echo "FOUND in $target (exit $code; $log). To see it again:"
        echo "    scripts/fuzz.sh $target --replay ${found:-$log}"
    elif [ "${executions:-0}" -eq 0 ] || [ -z "$coverage" ]; then
        failed=1
        echo "$target ran nothing: see $log"
    fi
done
exit "$failed"
