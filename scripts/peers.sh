#!/bin/sh
# Installs the peers that the tests run against: the Mosquitto broker, Chromium with its driver (Debian packages), and
# ministack, an SQS emulator, beside the official parser of metrics (Python, in .peers/ministack); and iproute2. Does nothing that is already done, says what it installs, and may be run again any time.
set -eu
export DEBIAN_FRONTEND=noninteractive
cd "$(dirname "$0")/.."

ministack=1.5.33
hypercorn=0.18.0
prometheus=0.23.1
venv=.peers/ministack

root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "peers: '$*' needs root and there is no sudo: run it as root, then run this script again" >&2
        exit 1
    fi
}

install_package() {
    echo "peers: installing the package $1"
    log=$(mktemp)
    if ! { root apt-get install -y -qq "$1" || { root apt-get update -qq && root apt-get install -y -qq "$1"; }; } >"$log" 2>&1; then
        cat "$log" >&2
        echo "peers: the package $1 could not be installed: install it by hand, then run this script again" >&2
        exit 1
    fi
    rm -f "$log"
}

if ! command -v mosquitto >/dev/null && [ ! -x /usr/sbin/mosquitto ]; then
    install_package mosquitto
fi

# A network of its own is where a test lets an address come.
if ! command -v ip >/dev/null && [ ! -x /usr/sbin/ip ]; then
    install_package iproute2
fi

# The status page is looked at in a real browser.
if ! command -v chromedriver >/dev/null; then
    install_package chromium-driver
fi

have="$("$venv/bin/python" -c '
from importlib.metadata import version
print(version("ministack"), version("hypercorn"), version("prometheus-client"))' 2>/dev/null || true)"
if [ "$have" != "$ministack $hypercorn $prometheus" ]; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        install_package python3-venv
    fi
    echo "peers: installing ministack $ministack, hypercorn $hypercorn and prometheus-client $prometheus in $venv"
    mkdir -p .peers
    python3 -m venv --clear "$venv"
    if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check "ministack==$ministack" "hypercorn==$hypercorn" \
        "prometheus-client==$prometheus"; then
        echo "peers: pip could not install ministack: it needs the Python package index." >&2
        echo "peers: with an index of your own set PIP_INDEX_URL, behind a proxy set HTTPS_PROXY, then run this script again" >&2
        exit 1
    fi
fi
