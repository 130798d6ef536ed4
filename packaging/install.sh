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
# Ends the broker's session as the agent's user and never as root, since it reads what that user may have written; and without
# a terminal, into which other processes of that user could type.
forget_session() {
    [ -x /usr/bin/tidegate ] || return 1
    command='timeout 30 /usr/bin/tidegate forget-session'
    detached=
    if command -v setsid >/dev/null; then detached=setsid; fi
    # Busybox has a setpriv that cannot change the user.
    if setpriv --help 2>/dev/null | grep -q -e --reuid; then
        $detached setpriv --reuid tidegate --regid tidegate --init-groups --inh-caps=-all --no-new-privs $command </dev/null
    elif command -v runuser >/dev/null; then
        $detached runuser -u tidegate -- $command </dev/null
    elif command -v su >/dev/null; then
        $detached su -s /bin/sh -c "exec $command" tidegate </dev/null
    else
        echo "install: none of setpriv, runuser and su is here, and as root forget-session is not run"
        return 1
    fi
}
if [ -n "${1:-}" ]; then
    systemctl disable --now tidegate 2>/dev/null || true
    if [ "$1" = purge ]; then
        # While program and configuration are there: or the broker would queue for this client for ever.
        if said=$(forget_session 2>&1); then
            echo "$said"
        else
            echo "${said:-install: forget-session gave no answer}"
            echo "install: the broker may still keep a session for this client and queue for it; end it there, or its queue grows"
        fi
        # Root's first: not every rm is safe from one who exchanges a folder for a link beside it.
        if [ -d /var/lib/tidegate ]; then
            chown -h root:root /var/lib/tidegate
            chmod 0700 /var/lib/tidegate
        fi
        rm -rf /var/lib/tidegate || echo "install: something is left in /var/lib/tidegate, see above"
        # The whole folder: passwords, tokens, former configurations and keys lie there.
        rm -rf /etc/tidegate
        rm -f /etc/credstore/tidegate.* /etc/credstore.encrypted/tidegate.*
        rm -f /etc/systemd/system/tidegate.service.d/credentials.conf
        rmdir /etc/systemd/system/tidegate.service.d 2>/dev/null || true
    fi
    rm -f /usr/bin/tidegate /etc/systemd/system/tidegate.service
    if [ -e /usr/lib/systemd/catalog/tidegate.catalog ]; then
        rm -f /usr/lib/systemd/catalog/tidegate.catalog
        journalctl --update-catalog || true
    fi
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
# What `journalctl -x` says of a finding.
if [ -d /usr/lib/systemd/catalog ]; then
    cp tidegate.catalog /usr/lib/systemd/catalog/tidegate.catalog
    journalctl --update-catalog || true
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if systemctl is-active --quiet tidegate; then systemctl restart tidegate; fi
fi
echo "install: first time? tidegate init asks, writes /etc/tidegate/tidegate.toml and names what to run then"
