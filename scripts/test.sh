#!/bin/sh
# Runs all tests, setting up what they need, where missing: the brokers and the SQS emulator that they run against, and the
# agent of release 0.1.0.
# Arguments go on to cargo test: `scripts/test.sh --test agent`, `scripts/test.sh -- --ignored`.
set -eu
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null; then
    echo "test: there is no cargo: install Rust, open a new shell, then run this again" >&2
    exit 1
fi
if ! command -v cc >/dev/null; then
    echo "test: there is no C compiler, which Rust links with: sudo apt-get install gcc libc6-dev" >&2
    exit 1
fi
scripts/peers.sh
# Its test fails without it; the others can still be run.
scripts/released.sh 1c81880 || echo "test: the tests of the upgrade from 0.1.0 will fail, see above" >&2
# Debian keeps the broker where only root looks; without it on the path its tests would be skipped.
PATH=$PATH:/usr/sbin
export PATH
exec cargo test --workspace --locked "$@"
