#!/bin/sh
# Builds the agent for gateways, with nothing but Debian's and PyPI's packages:
#
#     scripts/cross.sh [--profile PROFILE] [TARGET...]
#     scripts/cross.sh --tests armv7-unknown-linux-musleabihf     runs the unit tests on 32 bits, under emulation, instead
#     scripts/cross.sh --drivers armv7-unknown-linux-musleabihf   builds the budgets' bench and the demo, for scripts/arm-machine.sh
#
# Targets (default: the first two):
#     aarch64-unknown-linux-gnu.2.28        64-bit ARM, glibc 2.28 or later
#     armv7-unknown-linux-gnueabihf.2.28    32-bit ARM with hard floats (ARMv7, VFPv3, NEON), glibc 2.28 or later
#     aarch64-unknown-linux-musl            the same two, static, for any libc: the small, low-memory builds
#     armv7-unknown-linux-musleabihf
#     x86_64-unknown-linux-musl             static for this machine: what memory the static builds need can be measured with it
#
# What cannot run it: ARMv5 and ARMv6, which have no 64-bit atomics, and ARMv7 without NEON is not tried.
# The compiler (Debian's, of the version below), the targets' standard libraries and zig, which links, go into .arm/ (1.7 GB)
# and touch nothing else. The standard libraries are built from Debian's source package, once, in 80 s each: for size, and
# because Debian has none for musl. Every file's SHA-256 is pinned. Binaries come out in target/TARGET/PROFILE/tidegate.
# Ends with 77 when compiler or linker cannot be had.
set -eu
cd "$(dirname "$0")/.."

suite=bookworm-security
version=1.96.0+dfsg1-1~deb12u2
llvm=1:22.1.8-1~deb12u1
ziglang=0.15.2
zigbuild=0.23.4
profile=release
tests=
drivers=
targets=
while [ $# -gt 0 ]; do
    case $1 in
        --profile)
            profile=${2:?--profile needs a name}
            shift
            ;;
        --tests) tests=yes profile=dev ;;
        --drivers) drivers=yes ;;
        aarch64-unknown-linux-gnu.2.28 | armv7-unknown-linux-gnueabihf.2.28 | aarch64-unknown-linux-musl | \
            armv7-unknown-linux-musleabihf | x86_64-unknown-linux-musl) targets="$targets $1" ;;
        *)
            echo "cross: there is no target $1; see the head of scripts/cross.sh" >&2
            exit 2
            ;;
    esac
    shift
done
targets=${targets:-aarch64-unknown-linux-gnu.2.28 armv7-unknown-linux-gnueabihf.2.28}
if [ -n "$tests$drivers" ] && [ "$targets" != " armv7-unknown-linux-musleabihf" ]; then
    echo "cross: --tests and --drivers are for armv7-unknown-linux-musleabihf alone" >&2
    exit 2
fi

if [ "$(uname -m)" != x86_64 ]; then
    echo "cross: the pinned compiler is for x86_64; on $(uname -m) build natively, or use cross (cross.toml)" >&2
    exit 1
fi
arm=$PWD/.arm
tc=$arm/tc
mkdir -p "$arm/debs" "$tc/bin"

missing=
for need in curl:curl xz:xz-utils dpkg-deb:dpkg python3:python3-venv ${tests:+qemu-arm-static:qemu-user-static}; do
    command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
for library in libz3-4 libxml2 libedit2; do
    dpkg-query -W "$library" >/dev/null 2>&1 || missing="$missing $library"
done
if [ -n "$missing" ]; then
    echo "cross: installing$missing"
    scripts/debian.sh $missing
fi

# Fetches a package by its hash, once.
fetch() {
    file=$arm/debs/${2##*/}
    if ! [ -s "$file" ] || ! echo "$1  $file" | sha256sum -c --quiet 2>/dev/null; then
        archive=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk -v suite=$suite '$2 == suite { print $1; exit }')
        archive=${DEBIAN_SECURITY_ARCHIVE:-$archive}
        if ! curl -fsS --retry 2 --connect-timeout 20 -m 300 -o "$file" "$archive/$2"; then
            echo "cross: $2 cannot be had from the security archive. An update may have replaced it: then set the new version" >&2
            echo "cross: and hashes in scripts/cross.sh. With an archive of your own set DEBIAN_SECURITY_ARCHIVE" >&2
            exit 77
        fi
        echo "$1  $file" | sha256sum -c --quiet || {
            echo "cross: $file is not what was pinned" >&2
            exit 1
        }
        rm -f "$arm/ready"
    fi
}
rust=pool/updates/main/r/rustc-web
fetch 8fefe1d6377fe4082f5a9d2a47e095e2d20319eaab9754bd2f0275155c9adf90 $rust/rustc-web_${version}_amd64.deb
fetch e38dbeaaad673fc63fb47c5140cf34da271ac71c3ecafc828b762c2fb01fe77a $rust/libstd-rust-web-dev_${version}_amd64.deb
fetch 3755f30434ae29574c91b0beb86632bee401607b0ac35c3e52810f9a53fae0d1 $rust/libstd-rust-web-1.96_${version}_amd64.deb
fetch 729ec3e943d320515c2bbdc96acfffd7ce34861e62bd5c42726bf586d644dfe2 pool/updates/main/l/llvm-toolchain-22/libllvm22_${llvm#*:}_amd64.deb
fetch 9de8597c464d0a9283672973ed7e50092b49a92b95861429043fe8b57468a208 $rust/rust-web-src_${version}_all.deb
if [ ! -e "$arm/ready" ]; then
    echo "cross: unpacking the compiler into .arm"
    for file in "$arm"/debs/*.deb; do dpkg-deb -x "$file" "$tc"; done
    cat >"$tc/bin/rustc" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/usr/bin/rustc" "$@"
WRAPPER
    chmod +x "$tc/bin/rustc"
    "$tc/bin/rustc" -V
    touch "$arm/ready"
fi
if [ ! -x "$arm/venv/bin/cargo-zigbuild" ]; then
    echo "cross: installing zig $ziglang and cargo-zigbuild $zigbuild into .arm"
    python3 -m venv --clear "$arm/venv"
    "$arm/venv/bin/pip" install -q --disable-pip-version-check "ziglang==$ziglang" "cargo-zigbuild==$zigbuild" || {
        echo "cross: the Python package index does not have them" >&2
        exit 77
    }
fi

# The standard library of a target, from Debian's source package, which has its dependencies with it: for size, and without
# what prints backtraces, which a stripped program has no names for.
standard_library() {
    library=$tc/usr/lib/rustlib/$1/lib
    made=$library/for-size
    if [ -e "$made" ]; then return; fi
    echo "cross: building the standard library for $1 (once)"
    source=$tc/usr/lib/rustlib/src/rust
    work=$arm/std/$1
    rm -rf "$work"
    mkdir -p "$work/src" "$work/.cargo"
    echo '#![no_std]' >"$work/src/lib.rs"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[profile.release]\nopt-level = "s"\ncodegen-units = 1\n' \
        >"$work/Cargo.toml"
    printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "%s"\n' "$source/library/vendor" \
        >"$work/.cargo/config.toml"
    # That crate has to be of the strategy that it is named for, whatever the profile says.
    printf '#!/bin/sh\ncompiler=$1\nshift\ncase " $* " in *" --crate-name panic_abort "*) set -- "$@" -Cpanic=abort ;; esac\nexec "$compiler" "$@"\n' \
        >"$work/wrapper"
    chmod +x "$work/wrapper"
    # Unstable features of the compiler for this one step: nothing of the agent is built with them.
    (cd "$work" && RUSTC=$tc/bin/rustc RUSTC_WRAPPER=$work/wrapper RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$work/target \
        RUSTFLAGS="-Cembed-bitcode=yes -Zforce-unstable-if-unmarked --remap-path-prefix=$source=/rustc" \
        cargo build -q --release --target "$1" -Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test \
        -Zbuild-std-features=panic-unwind)
    rm -rf "$library"
    mkdir -p "$library"
    cp "$work/target/$1/release/deps"/*.rlib "$library"
    rm -rf "$library"/libempty-*.rlib "$work"
    # cargo does not see that what it built is for another library.
    rm -rf "target/$1"
    if [ "$1" = armv7-unknown-linux-musleabihf ]; then rm -rf target/drivers; fi
    touch "$made"
}

# What `tidegate --version` says it was built from.
TIDEGATE_COMMIT=${TIDEGATE_COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}
export TIDEGATE_COMMIT

for target in $targets; do
    plain=${target%.2.28}
    standard_library "$plain"
    echo "cross: $target, profile $profile"
    set -- --locked --profile "$profile" --target "$target"
    if [ -n "$tests" ]; then
        # Emulated, a test cannot start its own program again.
        set -- test --lib "$@" -- --skip network_watch::tests::a_new_address_is_told \
            --skip the_chain_finds_keys_in_environment_and_container
    elif [ -n "$drivers" ]; then
        # For their speed under emulation, and in a folder of their own: they come with a rigged agent, which must not ship.
        set -- zigbuild --package tidegate --bench budgets --package trials --bin demo --target-dir target/drivers "$@" --config 'profile.release.opt-level=2' \
            --config 'profile.release.lto="off"' --config 'profile.release.codegen-units=16'
    else
        set -- zigbuild --bin tidegate "$@"
    fi
    # zig brings the C start-up files and libc; the paths of this machine stay out of the binary.
    PATH=$arm/venv/bin:$PATH:/usr/sbin RUSTC=$tc/bin/rustc CARGO_TARGET_ARMV7_UNKNOWN_LINUX_MUSLEABIHF_RUNNER=qemu-arm-static \
        RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/tidegate $(case $target in *musl*) echo -Clink-self-contained=no ;; esac)" \
        cargo-zigbuild "$@"
    if [ -n "$drivers" ]; then
        built=target/drivers/$plain/$profile
        # The newest of them: cargo keeps the older ones.
        cp "$(ls -t "$built"/deps/budgets-* | grep -v '\.d$' | head -n 1)" target/drivers/budgets
        cp "$built/demo" target/drivers/demo
        echo "cross: target/drivers/budgets and target/drivers/demo"
    fi
    if [ -n "$tests$drivers" ]; then continue; fi
    binary=target/$plain/$profile/tidegate
    case $target in
        *.2.28)
            # The linker is told a version; that it kept to it is looked at.
            newest=$(strings -a "$binary" | grep -oE '^GLIBC_2\.[0-9.]+$' | sort -Vu | tail -1)
            if [ "$(printf 'GLIBC_2.28\n%s\n' "$newest" | sort -V | tail -1)" != GLIBC_2.28 ]; then
                echo "cross: $binary needs $newest, promised was 2.28" >&2
                exit 1
            fi
            ;;
    esac
    echo "cross: $binary, $(wc -c <"$binary") bytes${newest:+, needs $newest or later}"
    newest=
done
