#!/bin/sh
# Boots a 32-bit ARM machine with a kernel of its own, runs a command in it and ends with the command's exit status. It
# tells what scripts/try-arm.sh cannot, where the emulator is the process: resident memory, cgroups, a
# file system. The machine emulates a processor, too: its times say nothing of a gateway.
#
#     scripts/arm-machine.sh TARGET COMMAND [ARGUMENT...]     TARGET is armv7-unknown-linux-musleabihf or …-gnueabihf.2.28
#     scripts/arm-machine.sh armv7-unknown-linux-musleabihf budgets --agent /usr/bin/tidegate --records 200000
#     scripts/arm-machine.sh armv7-unknown-linux-musleabihf demo --agent /usr/bin/tidegate --rate 20
#
#     JOURNAL=FOLDER scripts/arm-machine.sh … budgets --agent /usr/bin/tidegate --journal /root/journal
#
# The machine has TARGET's agent (`scripts/cross.sh TARGET`, before), `budgets` and `demo` (`scripts/cross.sh --drivers`),
# Mosquitto, busybox and glibc; two processors, 3 GB of memory, ext4 on a disk of 8 GB that is made for each run and removed, a
# loopback interface and no other. MINUTES (default: 120) is the most that it may take.
# Kernel, programs and emulator are Debian's packages, of the suite that this machine has. They are unpacked into
# .arm/machine (200 MB) and not installed; apt checks their signatures. Ends with 77 when they cannot be had.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
target=${1:?TARGET, as for scripts/cross.sh}
shift
: "${1:?COMMAND, to run in the machine}"
fail() {
    echo "arm-machine: $1" >&2
    exit "${2:-1}"
}
case $target in
    armv7-unknown-linux-musleabihf | armv7-unknown-linux-gnueabihf.2.28) ;;
    *) fail "there is no machine for $target; see the head of scripts/arm-machine.sh" 2 ;;
esac
agent=target/${target%.2.28}/release/tidegate
[ -f "$agent" ] || fail "there is no $agent: run scripts/cross.sh $target"
case $1 in
    budgets | demo) [ -f "target/drivers/$1" ] || fail "there is no target/drivers/$1: run scripts/cross.sh --drivers armv7-unknown-linux-musleabihf" ;;
esac
for need in apt-get dpkg-deb mke2fs timeout; do
    command -v "$need" >/dev/null || fail "$need is missing: run scripts/debian.sh apt dpkg e2fsprogs coreutils" 77
done
machine=$PWD/.arm/machine
work=$(mktemp -d "${TMPDIR:-/tmp}/arm-machine.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# With lists and a state of its own, in which nothing is installed: a package comes with all that it needs.
apt() {
    architecture=$1
    shift
    mkdir -p "$work/$architecture/lists/partial" "$work/$architecture/cache/archives/partial"
    : >"$work/$architecture/status"
    apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root \
        -o Dir::State::lists="$work/$architecture/lists" -o Dir::State::status="$work/$architecture/status" \
        -o Dir::Cache="$work/$architecture/cache" -o Debug::NoLocking=1 -o APT::Architecture="$architecture" \
        -o APT::Architectures="$architecture" "$@" >>"$work/log" 2>&1 || {
        cat "$work/log" >&2
        fail "Debian's packages for $architecture cannot be had: see above, and look at the network" 77
    }
}
# packages ARCHITECTURE FOLDER PACKAGE... : unpacked into the folder, with what they depend on.
packages() {
    into=$2
    apt "$1" update
    architecture=$1
    shift 2
    apt "$architecture" install -y --download-only --no-install-recommends "$@"
    mkdir -p "$into"
    for package in "$work/$architecture/cache/archives"/*.deb; do dpkg-deb -x "$package" "$into"; done
}

# What the disk takes: each module after those that it needs.
modules='drivers/virtio/virtio_mmio drivers/block/virtio_blk crypto/crc32c_generic lib/crc16 fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4'
make_machine() {
    echo "arm-machine: fetching kernel, programs and emulator into .arm/machine (once)"
    rm -rf "$machine"
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' "Codename: $suite" 'Label: Debian' | head -n 1)
    echo "deb ${mirror:-no-mirror} $suite main" >"$work/sources.list"
    packages "$(dpkg --print-architecture)" "$machine/host" qemu-system-arm cpio
    packages armhf "$machine/root" mosquitto busybox-static
    # Without what it depends on, which would make an initial file system for a machine with anything in it.
    cd "$work"
    apt armhf download linux-image-armmp
    kernel=$(dpkg-deb -f linux-image-armmp_*.deb Depends | grep -o 'linux-image-[0-9][^ ,]*' | head -n 1)
    apt armhf download "$kernel"
    dpkg-deb -x "$kernel"_*.deb "$work/kernel"
    cd - >/dev/null

    initial=$work/initial
    mkdir -p "$initial/bin" "$initial/dev" "$initial/proc" "$initial/disk" "$initial/modules"
    cp "$machine/root/bin/busybox" "$initial/bin"
    for module in $modules; do cp "$work"/kernel/lib/modules/*/kernel/"$module.ko" "$initial/modules"; done
    cat >"$initial/init" <<INIT
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t devtmpfs none /dev
for module in $modules; do insmod /modules/\${module##*/}.ko || echo "arm-machine: \$module is not loaded"; done
mount -t ext4 /dev/vda /disk && exec switch_root /disk /init
echo "arm-machine: the disk cannot be mounted"
poweroff -f
INIT
    mkdir -p "$machine/root/dev" "$machine/root/proc" "$machine/root/sys" "$machine/root/tmp" "$machine/root/root"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$machine/root/etc/passwd"
    chmod +x "$initial/init"
    host=$machine/host
    (cd "$initial" && find . | LD_LIBRARY_PATH= "$host/bin/cpio" --quiet -o -H newc) | gzip >"$machine/initial"
    cp "$work"/kernel/boot/vmlinuz-* "$machine/kernel"
    rm -rf "$machine/root/usr/share"
    touch "$made"
}
# Counted up with what goes into it.
made=$machine/made-1
[ -e "$made" ] || make_machine

# The disk: what the machine is made of, with the agent and the command.
cp -R "$machine/root" "$work/root"
mkdir -p "$work/root/usr/lib/$target"
cp "$agent" "$work/root/usr/lib/$target/tidegate"
ln -s "/usr/lib/$target/tidegate" "$work/root/usr/bin/tidegate"
for driver in target/drivers/budgets target/drivers/demo; do
    if [ -f "$driver" ]; then cp "$driver" "$work/root/usr/bin"; fi
done
cat >"$work/root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t cgroup2 none /sys/fs/cgroup && echo +memory >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
hostname arm-machine
cd /root
# Not on a terminal, where the demo would draw.
{
    sh /command </dev/null 2>&1
    echo $? >/status
} | cat
echo "arm-machine: exit $(cat /status)"
sync
poweroff -f
INIT
chmod +x "$work/root/init"
# What another machine has filled: `cargo bench --bench budgets -- --fill FOLDER`.
if [ -n "${JOURNAL:-}" ]; then cp -R "$JOURNAL" "$work/root/root/journal"; fi
for word; do printf "'%s' " "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"; done >"$work/root/command"
truncate -s 8G "$work/disk"
mke2fs -q -t ext4 -d "$work/root" "$work/disk"
rm -rf "$work/root"

# The emulator with the loader and the libraries that came with it. In the background, so that a signal to this script ends
# the machine; the time ends it in any case.
loader=$(find "$machine/host/" -name 'ld-linux*' -print -quit)
libraries=$(find "$machine/host/lib" "$machine/host/usr/lib" -maxdepth 3 -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
: >"$work/console"
timeout -k 10 "${MINUTES:-120}m" "$loader" --library-path "$libraries" "$machine/host/usr/bin/qemu-system-arm" \
    -L "$machine/host/usr/share/qemu" -M virt,highmem=off -cpu cortex-a15 -smp 2 -m 3072 -kernel "$machine/kernel" \
    -initrd "$machine/initial" -append 'console=ttyAMA0 loglevel=3 panic=-1' -no-reboot -nic none -display none -monitor none \
    -drive "if=none,id=disk,format=raw,cache=unsafe,file=$work/disk" -device virtio-blk-device,drive=disk \
    -serial "file:$work/console" </dev/null >"$work/log" 2>&1 &
emulator=$!
trap 'kill "$emulator" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
tail -n +1 -f --pid="$emulator" "$work/console" | sed -u "s|\r$||" &
ended=0
wait "$emulator" || ended=$?
wait
code=$(tr -d '\r' <"$work/console" | sed -n 's/^arm-machine: exit \([0-9]*\)$/\1/p' | tail -n 1)
[ "$ended" -ne 124 ] || fail "the machine was ended after ${MINUTES:-120} minutes: set MINUTES for more" 124
[ -n "$code" ] || fail "the machine ended without the command's exit status ($ended): $(tail -n 3 "$work/log" "$work/console")"
exit "$code"
