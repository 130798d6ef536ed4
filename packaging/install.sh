#!/bin/sh
# Installs the agent from this folder on any Linux with systemd; again for an upgrade, which keeps configuration and journal.
#
#     ./install.sh            install or upgrade
#     ./install.sh remove     remove the program; configuration and journal stay
#     ./install.sh purge      remove those as well, and end the session that the broker keeps
set -eu
cd "$(dirname "$0")"
if [ "$(id -u)" -ne 0 ]; then
    echo "install: run it as root" >&2
    exit 1
fi
case ${1:-} in
    '' | remove | purge) ;;
    *)
        echo "install: there is no $1; see the head of install.sh" >&2
        exit 2
        ;;
esac
if [ -n "${1:-}" ]; then
    systemctl disable --now tidegate 2>/dev/null || true
    if [ "$1" = purge ]; then
        # While program and configuration are there: or the broker would queue for this client for ever.
        timeout 30 /usr/bin/tidegate forget-session ||
            echo "install: the broker may still keep a session for this client and queue for it; end it there, or its queue grows"
        rm -rf /var/lib/tidegate /etc/tidegate /etc/systemd/system/tidegate.service.d/credentials.conf
        rm -f /etc/credstore/tidegate.credentials.csv
        rmdir /etc/systemd/system/tidegate.service.d 2>/dev/null || true
    fi
    rm -f /usr/bin/tidegate /etc/systemd/system/tidegate.service
    systemctl daemon-reload 2>/dev/null || true
    if [ "$1" = purge ]; then
        echo "install: removed, with configuration and journal"
    else
        echo "install: removed; /etc/tidegate and /var/lib/tidegate stay"
    fi
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
