#!/bin/sh
# Runs all tests, setting up what they need: the brokers and the SQS emulator that they run against, where missing.
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
# Debian keeps the broker where only root looks; without it on the path its tests would be skipped.
PATH=$PATH:/usr/sbin
export PATH
exec cargo test --workspace --locked "$@"
