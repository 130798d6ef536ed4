# What a contributor runs. `just` lists it. Each recipe is one command that also works without just.

[private]
default:
    @just --list --unsorted

# The agent through an outage and a kill, with embedded broker and queue
demo *ARGS:
    cargo demo {{ARGS}}

# All tests; installs the brokers and the SQS emulator that are missing
test *ARGS:
    scripts/test.sh {{ARGS}}

# One test of the agent as a process, by a part of its name
test-one NAME:
    scripts/test.sh --test agent -- {{NAME}}

# Unit tests only: no broker, no root
test-unit *ARGS:
    cargo test --lib {{ARGS}}

# Format, clippy in both forms, documents
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --lib --bins --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace --document-private-items --locked

# Documents of all modules, private ones included
docs:
    cargo doc --no-deps --workspace --document-private-items --open

# What every change must pass (about half an hour)
ci:
    .ci/run

# The long forms: run before a release (about three hours)
ci-full:
    .ci/full

# Power cuts under the journal, on a modelled disk
torture CUTS="1000":
    cargo --locked torture --cuts {{CUTS}}

# The whole agent under kills, cuts, faults and wrong clocks
chaos SEEDS="0..20":
    cargo --locked chaos --seeds {{SEEDS}}

# The status page in a real browser; the README's picture
screenshots:
    scripts/screenshots.sh

# A static build for a gateway
cross TARGET="armv7-unknown-linux-musleabihf":
    scripts/cross.sh {{TARGET}}

# A Debian package of a build
package TARGET="armv7-unknown-linux-musleabihf": (cross TARGET)
    scripts/package.sh {{TARGET}} target/{{TARGET}}/release/tidegate
