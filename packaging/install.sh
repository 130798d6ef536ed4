#!/bin/sh
# Installs the agent from this folder on any Linux with systemd; again for an upgrade, which keeps configuration and journal.
#
#     ./install.sh            install or upgrade
#     ./install.sh remove     remove the program; configuration and journal stay
set -eu
cd "$(dirname "$0")"
if [ "$(id -u)" -ne 0 ]; then
    echo "install: run it as root" >&2
    exit 1
fi
if [ "${1:-}" = remove ]; then
    systemctl disable --now tidegate 2>/dev/null || true
    rm -f /usr/bin/tidegate /etc/systemd/system/tidegate.service
    systemctl daemon-reload 2>/dev/null || true
    echo "install: removed; /etc/tidegate and /var/lib/tidegate stay"
    exit 0
fi
if ! grep -q '^tidegate:' /etc/passwd; then
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tidegate
fi
# Renamed into place: a running agent keeps the file that it started from.
cp tidegate /usr/bin/tidegate.new
chmod 0755 /usr/bin/tidegate.new
mv /usr/bin/tidegate.new /usr/bin/tidegate
mkdir -p /etc/tidegate
chown root:tidegate /etc/tidegate
chmod 0750 /etc/tidegate
if [ ! -e /etc/tidegate/tidegate.toml ]; then
    cp tidegate.toml /etc/tidegate/tidegate.toml
    chown root:tidegate /etc/tidegate/tidegate.toml
    chmod 0640 /etc/tidegate/tidegate.toml
fi
cp tidegate.service /etc/systemd/system/tidegate.service
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if systemctl is-active --quiet tidegate; then systemctl restart tidegate; fi
fi
echo "install: edit /etc/tidegate/tidegate.toml, then: tidegate check, and systemctl enable --now tidegate"
