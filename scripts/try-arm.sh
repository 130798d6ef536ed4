#!/bin/sh
# A cross-built agent under qemu's user emulation: its system calls looked at; a thousand messages from a real Mosquitto over
# TLS, through a SIGKILL, an outage and the hands of this machine's own build, which goes on with the same journal; then the
# demo, with a customer's verdict.
#
#     scripts/try-arm.sh TARGET [BINARY]     TARGET as for scripts/cross.sh, built before
#
# DEMO=no leaves the demo out, which is built optimised.
#
# Emulation proves instructions, sizes and system calls of that architecture; not its speed, memory or flash.
set -eu
cd "$(dirname "$0")/.."
target=${1:?TARGET, as for scripts/cross.sh}
binary=${2:-$PWD/target/${target%.2.28}/release/tidegate}
case $target in
    aarch64-*) qemu=qemu-aarch64-static libraries=/usr/aarch64-linux-gnu package=libc6-arm64-cross ;;
    armv7-*) qemu=qemu-arm-static libraries=/usr/arm-linux-gnueabihf package=libc6-armhf-cross ;;
    *)
        echo "try-arm: $target is not emulated" >&2
        exit 2
        ;;
esac
[ -f "$binary" ] || {
    echo "try-arm: there is no $binary: scripts/cross.sh $target" >&2
    exit 1
}
missing=
command -v "$qemu" >/dev/null || missing=qemu-user-static
# A static binary does not look at them.
case $target in *musl*) ;; *) [ -d "$libraries" ] || missing="$missing $package" ;; esac
if [ -n "$missing" ]; then
    echo "try-arm: installing $missing"
    scripts/debian.sh $missing
fi
# The process is replaced, so that signals reach the emulated agent.
wrapper=$PWD/target/tidegate-$target
printf '#!/bin/sh\nexec %s -L %s "%s" "$@"\n' "$qemu" "$libraries" "$binary" >"$wrapper"
chmod +x "$wrapper"
"$wrapper" --version

# The sync shell as the kernel sees it: sled's own call never comes through, and syncs that flush do.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/tidegate.toml" <<'CONFIG'
[mqtt]
url = "mqtt://127.0.0.1:1"
[journal]
path = "journal"
[queues.main]
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"
credentials_file = "credentials.csv"
[[routes]]
profile = "rak"
queue = "main"
[status]
listen = ""
CONFIG
timeout 60 "$qemu" -L "$libraries" -strace "$binary" run --config "$work/tidegate.toml" >"$work/log" 2>"$work/calls" &
agent=$!
for try in $(seq 100); do grep -q running "$work/log" "$work/calls" && break || sleep 0.2; done
kill "$agent" && wait "$agent" || true
grep -q running "$work/log" "$work/calls" || {
    echo "try-arm: the agent does not come up: $(tail -n 3 "$work/log")" >&2
    exit 1
}
if grep -q sync_file_range "$work/calls"; then
    echo "try-arm: the sync shell is not in force: sync_file_range reaches the kernel" >&2
    exit 1
fi
syncs=$(grep -cE 'f(data)?sync\(' "$work/calls")
echo "try-arm: sync shell in force: no sync_file_range in $(wc -l <"$work/calls") lines of system calls, $syncs syncs"
[ "$syncs" -gt 0 ]

PATH=$PATH:/usr/sbin TIDEGATE_PROGRAM=$wrapper cargo test --quiet --locked --test agent -- over_tls_a_thousand
[ "${DEMO:-yes}" = no ] || exec cargo --locked demo --agent "$wrapper" --rate 60
