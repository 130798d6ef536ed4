#!/bin/sh
# Installs, upgrades, removes and purges a .deb of this machine's architecture in a Debian made by debootstrap, and looks at
# what is left each time. Needs root.
#
#     scripts/try-package.sh target/packages/tidegate_VERSION_amd64.deb
set -eu
cd "$(dirname "$0")/.."
deb=${1:?the .deb}
if [ "$(id -u)" -ne 0 ]; then
    echo "try-package: needs root, for debootstrap and chroot" >&2
    exit 1
fi
PATH=$PATH:/usr/sbin:/sbin
if ! command -v debootstrap >/dev/null; then
    echo "try-package: installing debootstrap"
    apt-get install -y -qq debootstrap >/dev/null
fi
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
system=$PWD/target/try-package
if [ ! -e "$system/made" ]; then
    rm -rf "$system"
    mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk -v suite="$suite" '$2 == suite { print $1; exit }')
    echo "try-package: making a $suite in target/try-package"
    debootstrap --variant=minbase "$suite" "$system" "$mirror" >/dev/null
    touch "$system/made"
fi
inside() { chroot "$system" "$@"; }
# A configuration whose session at the test's broker is the client's of that name.
purged_configuration() {
    printf '[mqtt]\nurl = "mqtt://127.0.0.1:18839"\nclient_id = "%s"\n' "$1"
    printf '[queues.main]\nurl = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"\ncredentials_file = "credentials.csv"\n'
    printf '[[routes]]\nprofile = "rak"\nqueue = "main"\n'
}
fail() {
    echo "try-package: $1" >&2
    exit 1
}
inside dpkg --purge tidegate >/dev/null 2>&1 || true
cp "$deb" "$system/tmp/one.deb"

inside dpkg -i /tmp/one.deb
inside getent passwd tidegate >/dev/null || fail "no user was made"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate)" = "root:tidegate 750" ] || fail "/etc/tidegate is open"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate/tidegate.toml)" = "root:tidegate 640" ] || fail "the configuration is open"
inside tidegate --version
inside tidegate profiles rak >/dev/null || fail "it does not run"

# Keys as a systemd credential: root's alone, and a drop-in that systemd understands.
printf 'Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n' >"$system/tmp/keys.csv"
inside tidegate credentials import --systemd /tmp/keys.csv
credstore=/etc/credstore/tidegate.credentials.csv
drop_in=/etc/systemd/system/tidegate.service.d/credentials.conf
[ "$(inside stat -c '%U:%G %a' $credstore)" = "root:root 600" ] || fail "the credential is open"
grep -qx "LoadCredential=credentials.csv:$credstore" "$system$drop_in" || fail "the unit does not get the credential"

# Somebody configures it, and the journal has something in it.
echo '# ours' >>"$system/etc/tidegate/tidegate.toml"
mkdir -p "$system/var/lib/tidegate/journal"
echo precious >"$system/var/lib/tidegate/journal/record"

# The next version.
rm -rf "$system/tmp/next"
dpkg-deb -R "$deb" "$system/tmp/next"
sed -i 's/^Version: .*/&+next/' "$system/tmp/next/DEBIAN/control"
dpkg-deb --root-owner-group -b "$system/tmp/next" "$system/tmp/two.deb" >/dev/null
inside dpkg -i /tmp/two.deb
grep -q '^# ours' "$system/etc/tidegate/tidegate.toml" || fail "the upgrade lost the configuration"
[ -e "$system/var/lib/tidegate/journal/record" ] || fail "the upgrade lost the journal"

inside dpkg --remove tidegate
[ ! -e "$system/usr/bin/tidegate" ] || fail "the program is still there"
grep -q '^# ours' "$system/etc/tidegate/tidegate.toml" || fail "removing took the configuration"
[ -e "$system/var/lib/tidegate/journal/record" ] || fail "removing took the journal"

# The purge has to end the broker's session: one is made at a real Mosquitto, and its queue must be gone afterwards.
[ -x "$system/var/lib/tidegate/.purge/tidegate" ] || fail "nothing was kept that could end the broker's session"
command -v mosquitto >/dev/null || apt-get install -y -qq mosquitto >/dev/null
broker_log=$system/tmp/mosquitto.log
printf 'listener 18839 127.0.0.1\nallow_anonymous true\nlog_type all\n' >"$system/tmp/mosquitto.conf"
mosquitto -c "$system/tmp/mosquitto.conf" >"$broker_log" 2>&1 &
broker=$!
trap 'kill "$broker" 2>/dev/null || true' EXIT
for try in 1 2 3 4 5 6 7 8 9 10; do grep -q 'running' "$broker_log" && break || sleep 0.5; done
purged_configuration purged-one >"$system/var/lib/tidegate/.purge/tidegate.toml"
inside dpkg --purge tidegate | tee "$system/tmp/purged"
grep -q 'keeps nothing for purged-one' "$system/tmp/purged" || fail "the purge did not end the broker's session"
grep -q 'as purged-one (p2, c1' "$broker_log" || fail "the broker saw no clean session of that client"
[ ! -e "$system/var/lib/tidegate" ] || fail "the purge left the journal"
[ ! -e "$system/etc/tidegate" ] || fail "the purge left the configuration"
[ ! -e "$system$credstore" ] && [ ! -e "$system$drop_in" ] || fail "the purge left the keys"
echo "try-package: installed, upgraded, removed and purged $deb"

# The tarball beside it: the same life, by its own script.
tarball=$(ls "$(dirname "$deb")"/tidegate-*-x86_64-unknown-linux-gnu.tar.xz)
rm -rf "$system/tmp/tarball"
mkdir "$system/tmp/tarball"
tar -xJf "$tarball" --strip-components=1 -C "$system/tmp/tarball"
inside /tmp/tarball/install.sh
[ "$(inside stat -c '%U:%G %a' /etc/tidegate/tidegate.toml)" = "root:tidegate 640" ] || fail "the tarball's configuration is open"
inside tidegate --version
mkdir -p "$system/var/lib/tidegate/journal"
purged_configuration purged-two >"$system/etc/tidegate/tidegate.toml"
inside /tmp/tarball/install.sh
grep -q purged-two "$system/etc/tidegate/tidegate.toml" || fail "the tarball's upgrade lost the configuration"
inside /tmp/tarball/install.sh remove
[ ! -e "$system/usr/bin/tidegate" ] && [ -e "$system/var/lib/tidegate/journal" ] || fail "the tarball's removal is not clean"
inside /tmp/tarball/install.sh
inside /tmp/tarball/install.sh purge | tee "$system/tmp/purged"
grep -q 'keeps nothing for purged-two' "$system/tmp/purged" || fail "the tarball's purge did not end the broker's session"
[ ! -e "$system/etc/tidegate" ] && [ ! -e "$system/var/lib/tidegate" ] || fail "the tarball's purge left something"
echo "try-package: installed, upgraded, removed and purged $tarball"
