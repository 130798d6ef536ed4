#!/bin/sh
# Holds the systemd unit against systemd's own tools: it must be understood, and exposed at most 1.5 (of 10).
set -eu
cd "$(dirname "$0")/.."
most=1.5
if ! command -v systemd-analyze >/dev/null; then
    echo "unit: installing systemd, for systemd-analyze"
    scripts/debian.sh systemd
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
verify() {
    said=$(systemd-analyze verify "$work/tidegate.service" 2>&1) || true
    if [ -n "$said" ]; then
        echo "$said"
        exit 1
    fi
}
# The program need not be installed here.
sed 's|^ExecStart=/usr/bin/tidegate|ExecStart=/bin/true|' systemd/tidegate.service >"$work/tidegate.service"
verify
# With the drop-ins that hand it the keys, too.
mkdir "$work/tidegate.service.d"
for credential in LoadCredential=credentials.csv:/etc/credstore/tidegate.credentials.csv \
    LoadCredentialEncrypted=credentials.csv:/etc/credstore.encrypted/tidegate.credentials.csv; do
    printf '[Service]\n%s\n' "$credential" >"$work/tidegate.service.d/credentials.conf"
    verify
done
systemd-analyze security --offline=true --threshold="$(echo "$most" | tr -d .)" systemd/tidegate.service |
    sed -n 's/^→ //p'
# The threshold is in tenths, and --offline has its exit code; the pipe above hides it.
systemd-analyze security --offline=true --threshold="$(echo "$most" | tr -d .)" systemd/tidegate.service >/dev/null
