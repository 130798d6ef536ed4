#!/bin/sh
# Builds the agent of a released revision, for tests of the upgrade from it: `scripts/released.sh 1c81880` puts
# target/released/1c81880/debug/tidegate there, and does nothing when it is there already. It is built as tests build
# theirs, with the faults and clocks of proving runs.
set -eu
cd "$(dirname "$0")/.."

revision=${1:?"usage: scripts/released.sh REVISION"}
build=${CARGO_TARGET_DIR:-target}
mkdir -p "$build"
build=$(cd "$build" && pwd)
folder=$build/released/$revision
agent=$folder/debug/tidegate
if [ -x "$agent" ]; then exit 0; fi

if ! git cat-file -e "$revision^{commit}"; then
    echo "released: $revision, from which the upgrade is tested, cannot be read out of the history here;" >&2
    echo "released: if the clone is shallow: git fetch --unshallow; then scripts/released.sh $revision" >&2
    exit 1
fi

echo "released: building the agent of $revision, from which the upgrade is tested, into $folder"
rm -rf "$folder"
mkdir -p "$folder/source"
git archive --output "$folder/source.tar" "$revision"
tar -xf "$folder/source.tar" -C "$folder/source"
rm "$folder/source.tar"

# What others wrote is taken from the build of today's tests, hence the same choice of packages and of a test (today's
# house_rules was called tidy): with it cargo chooses their features as it does there. What is ours must not be: cargo knows
# two revisions of one package apart by their profile alone, so these have debug information of a kind that no other build
# asks for.
cd "$folder/source"
CARGO_BUILD_BUILD_DIR=$build cargo build --quiet --locked --workspace --bin tidegate --test tidy \
    --config 'profile.dev.debug="line-directives-only"' --target-dir "$folder"
