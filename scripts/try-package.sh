#!/bin/sh
# Installs, upgrades, removes and purges a .deb of this machine's architecture in a Debian made by debootstrap, looks at what is
# left each time, and tries meanwhile what an attacker with the agent's user would. Needs root.
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
# An attacker who broke out of the agent: its user, with a shell.
attacker() { inside setpriv --reuid tidegate --regid tidegate --clear-groups sh -c "$1"; }
# Configures it, with a session at the test's broker that is the client's of that name. Owner and mode of the file stay.
configure() {
    {
        printf '[mqtt]\nurl = "mqtt://127.0.0.1:18839"\nclient_id = "%s"\n' "$1"
        printf '[queues.main]\nurl = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"\n'
        printf 'credentials_file = "credentials.csv" # ours\n[[routes]]\nprofile = "rak"\nqueue = "main"\n'
    } >"$system/etc/tidegate/tidegate.toml"
}
# What a site has there besides, and former versions and commands left; all of it secret.
leave_secrets() {
    for file in mqtt-password tidegate.toml.old token; do echo hunter2 >"$system/etc/tidegate/$file"; done
    mkdir -p "$system/etc/credstore.encrypted"
    echo hunter2 >"$system/etc/credstore.encrypted/tidegate.credentials.csv"
}
# Runs a purge while the broker is stopped, looks who runs forget-session (the program $1) meanwhile, and lets the broker go on.
watched_purge() {
    program=$1
    shift
    kill -STOP "$broker"
    inside "$@" >"$system/tmp/purged" 2>&1 &
    purge=$!
    status=
    for try in $(seq 200); do
        for process in /proc/[0-9]*; do
            if [ "$(readlink "$process/exe")" = "$system$program" ]; then status=$(cat "$process/status" 2>/dev/null) || status=; fi
        done
        [ -z "$status" ] || break
        sleep 0.1
    done
    kill -CONT "$broker"
    wait "$purge" || fail "the purge failed: $(cat "$system/tmp/purged")"
    cat "$system/tmp/purged"
    user=$(inside id -u tidegate)
    echo "try-package: forget-session ran with $(echo "$status" | grep '^Uid:' | tr '\t' ' ')"
    echo "$status" | grep -qx "Uid:	$user	$user	$user	$user" || fail "forget-session did not run as the agent's user $user"
    echo "$status" | grep -qx 'CapPrm:	0000000000000000' || fail "forget-session had capabilities"
}
nothing_left() {
    [ ! -e "$system/etc/tidegate" ] || fail "the purge left $(ls -A "$system/etc/tidegate")"
    left=$(find "$system/etc" "$system/var/lib" -name '*tidegate*' ! -path '*/var/lib/dpkg/*')
    [ -z "$left" ] || fail "the purge left $left"
    [ ! -e "$system/proof" ] || fail "the agent's user became root: $(cat "$system/proof")"
    [ -e "$system/root/precious" ] || fail "the purge followed a link"
}
fail() {
    echo "try-package: $1" >&2
    exit 1
}
command -v mosquitto >/dev/null || apt-get install -y -qq mosquitto >/dev/null
broker_log=$system/tmp/mosquitto.log
printf 'listener 18839 127.0.0.1\nallow_anonymous true\nlog_type all\n' >"$system/tmp/mosquitto.conf"
mosquitto -c "$system/tmp/mosquitto.conf" >"$broker_log" 2>&1 &
broker=$!
trap 'kill -CONT "$broker" 2>/dev/null; kill "$broker" 2>/dev/null || true' EXIT
for try in 1 2 3 4 5 6 7 8 9 10; do grep -q 'running' "$broker_log" && break || sleep 0.5; done
echo precious >"$system/root/precious"
rm -f "$system/proof"
inside dpkg --purge tidegate >/dev/null 2>&1 || true
cp "$deb" "$system/tmp/one.deb"

inside dpkg -i /tmp/one.deb | tee "$system/tmp/installed"
grep -q 'tidegate init' "$system/tmp/installed" || fail "the package does not name the next step"
inside getent passwd tidegate >/dev/null || fail "no user was made"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate)" = "root:tidegate 750" ] || fail "/etc/tidegate is open"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate/tidegate.toml)" = "root:tidegate 640" ] || fail "the configuration is open"
inside tidegate --version
inside tidegate profiles rak >/dev/null || fail "it does not run"

# As the package leaves it, init needs no --force; then a person's file stays.
make_one() {
    inside tidegate init --yes --listen 0 --profile rak --gateway try \
        --queue https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo
}
make_one || fail "init does not replace the untouched template"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate/tidegate.toml)" = "root:tidegate 640" ] || fail "init leaves the configuration open"
[ ! -e "$system/etc/tidegate/tidegate.toml.old" ] || fail "init kept a template"
if make_one; then fail "init replaced somebody's file unasked"; fi
inside tidegate credentials token
[ "$(inside stat -c '%U:%G %a' /etc/tidegate/status-token)" = "root:tidegate 640" ] || fail "the page's token is open"

# A person configures it, and the journal has something in it.
configure purged-one
leave_secrets
mkdir -p "$system/var/lib/tidegate/journal"
echo precious >"$system/var/lib/tidegate/journal/record"
inside chown -R tidegate:tidegate /var/lib/tidegate
inside chmod 0700 /var/lib/tidegate

# Keys, as a file and then as a systemd credential: root's alone, with a drop-in that systemd understands, and nothing in plain
# that the agent's user reads.
printf 'Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n' >"$system/tmp/keys.csv"
inside tidegate credentials import - <"$system/tmp/keys.csv"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate/credentials.csv)" = "tidegate:tidegate 600" ] || fail "the keys are open"
if inside tidegate credentials import --systemd /tmp/keys.csv; then fail "a credential was made where nothing hands it over"; fi
mkdir -p "$system/run/systemd/system"
inside tidegate credentials import --systemd /tmp/keys.csv
rm -r "$system/run/systemd"
credstore=/etc/credstore/tidegate.credentials.csv
drop_in=/etc/systemd/system/tidegate.service.d/credentials.conf
[ "$(inside stat -c '%U:%G %a' $credstore)" = "root:root 600" ] || fail "the credential is open"
grep -qx "LoadCredential=credentials.csv:$credstore" "$system$drop_in" || fail "the unit does not get the credential"
[ ! -e "$system/etc/tidegate/credentials.csv" ] || fail "the plain file stayed with the agent's user"
grep -qx 'credentials_file = "$CREDENTIALS_DIRECTORY/credentials.csv" # ours' "$system/etc/tidegate/tidegate.toml" ||
    fail "the configuration does not read the credential"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate/tidegate.toml)" = "root:tidegate 640" ] || fail "the configuration changed hands"

# The next version.
rm -rf "$system/tmp/next"
dpkg-deb -R "$deb" "$system/tmp/next"
sed -i 's/^Version: .*/&+next/' "$system/tmp/next/DEBIAN/control"
dpkg-deb --root-owner-group -b "$system/tmp/next" "$system/tmp/two.deb" >/dev/null
inside dpkg -i /tmp/two.deb
grep -q '# ours' "$system/etc/tidegate/tidegate.toml" || fail "the upgrade lost the configuration"
[ -e "$system/var/lib/tidegate/journal/record" ] || fail "the upgrade lost the journal"

inside dpkg --remove tidegate
[ ! -e "$system/usr/bin/tidegate" ] || fail "the program is still there"
grep -q '# ours' "$system/etc/tidegate/tidegate.toml" || fail "removing took the configuration"
[ -e "$system/var/lib/tidegate/journal/record" ] || fail "removing took the journal"

# Between removal and purge the agent's user does what it can: a script where versions up to 0.1.0 kept the program, and links.
[ "$(inside stat -c '%U:%G %a' /var/lib/tidegate-purge)" = "root:root 755" ] || fail "what is kept for the purge is not root's"
[ "$(inside stat -c '%U:%G %a' /var/lib/tidegate-purge/tidegate.toml)" = "root:tidegate 640" ] || fail "what is kept is open"
attacker 'cd /var/lib/tidegate && mkdir .purge && printf "#!/bin/sh\nid >/proof\n" >.purge/tidegate && chmod 755 .purge/tidegate &&
    ln -s /etc/tidegate/tidegate.toml .purge/tidegate.toml && ln -s /root journal/out && ln -s /etc/passwd names' ||
    fail "the attack could not be made"
if attacker 'echo x >>/var/lib/tidegate-purge/tidegate || mv /var/lib/tidegate-purge /var/lib/tidegate/x' 2>/dev/null; then
    fail "the agent's user changes what the purge will run"
fi

# The purge has to end the broker's session: its queue must be gone afterwards.
watched_purge /var/lib/tidegate-purge/tidegate dpkg --purge tidegate
grep -q 'deleted the session of client purged-one' "$system/tmp/purged" || fail "the purge did not end the broker's session"
grep -q 'as purged-one (p2, c1' "$broker_log" || fail "the broker saw no clean session of that client"
nothing_left
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
configure purged-two
leave_secrets
inside chown -R tidegate:tidegate /var/lib/tidegate
attacker 'ln -s /root /var/lib/tidegate/journal/out' || fail "the attack could not be made"
inside /tmp/tarball/install.sh
grep -q purged-two "$system/etc/tidegate/tidegate.toml" || fail "the tarball's upgrade lost the configuration"
inside /tmp/tarball/install.sh remove
[ ! -e "$system/usr/bin/tidegate" ] && [ -e "$system/var/lib/tidegate/journal" ] || fail "the tarball's removal is not clean"
inside /tmp/tarball/install.sh
watched_purge /usr/bin/tidegate /tmp/tarball/install.sh purge
grep -q 'deleted the session of client purged-two' "$system/tmp/purged" || fail "the tarball's purge did not end the broker's session"
grep -q 'as purged-two (p2, c1' "$broker_log" || fail "the broker saw no clean session of that client"
nothing_left
echo "try-package: installed, upgraded, removed and purged $tarball"
