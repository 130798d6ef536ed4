#!/bin/sh
# The demo with a cross-built agent under qemu's user emulation: sensors, an outage, a SIGKILL, and a customer's verdict.
#
#     scripts/try-arm.sh TARGET [BINARY]     TARGET as for scripts/cross.sh, built before
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
[ -d "$libraries" ] || missing="$missing $package"
if [ -n "$missing" ]; then
    echo "try-arm: installing $missing"
    if [ "$(id -u)" -eq 0 ]; then root=; else root=sudo; fi
    $root apt-get install -y -qq $missing >/dev/null
fi
# A static binary does not look at the libraries. The process is replaced, so that signals reach the emulated agent.
wrapper=$PWD/target/tidegate-$target
printf '#!/bin/sh\nexec %s -L %s "%s" "$@"\n' "$qemu" "$libraries" "$binary" >"$wrapper"
chmod +x "$wrapper"
"$wrapper" --version
exec cargo run --release --locked --example demo -- --agent "$wrapper" --rate 60
