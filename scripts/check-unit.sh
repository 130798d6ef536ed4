#!/bin/sh
# Holds the systemd unit against systemd's own tools: it must be understood, and exposed at most 1.5 (of 10).
set -eu
cd "$(dirname "$0")/.."
most=1.5
if ! command -v systemd-analyze >/dev/null; then
    echo "unit: installing systemd, for systemd-analyze"
    if [ "$(id -u)" -eq 0 ]; then root=; else root=sudo; fi
    { $root apt-get install -y -qq systemd || { $root apt-get update -qq && $root apt-get install -y -qq systemd; }; } >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The program need not be installed here.
sed 's|^ExecStart=/usr/bin/tidegate|ExecStart=/bin/true|' systemd/tidegate.service >"$work/tidegate.service"
said=$(systemd-analyze verify "$work/tidegate.service" 2>&1) || true
if [ -n "$said" ]; then
    echo "$said"
    exit 1
fi
# With the drop-in that hands it the keys, too.
mkdir "$work/tidegate.service.d"
printf '[Service]\nLoadCredential=credentials.csv:/etc/credstore/tidegate.credentials.csv\n' >"$work/tidegate.service.d/credentials.conf"
said=$(systemd-analyze verify "$work/tidegate.service" 2>&1) || true
if [ -n "$said" ]; then
    echo "$said"
    exit 1
fi
systemd-analyze security --offline=true --threshold="$(echo "$most" | tr -d .)" systemd/tidegate.service |
    sed -n 's/^→ //p'
# The threshold is in tenths, and --offline has its exit code; the pipe above hides it.
systemd-analyze security --offline=true --threshold="$(echo "$most" | tr -d .)" systemd/tidegate.service >/dev/null
