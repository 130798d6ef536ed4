#!/bin/sh
# Packs a built agent: a .deb, an .ipk for OpenWrt-like gateways, and a tarball with an install script, in target/packages.
#
#     scripts/package.sh TARGET BINARY
#
# TARGET as for scripts/cross.sh, or x86_64-unknown-linux-gnu. Needs dpkg-deb, python3 and cargo.
set -eu
cd "$(dirname "$0")/.."
target=${1:?TARGET, as for scripts/cross.sh}
binary=${2:?BINARY, as built for it}
[ -f "$binary" ] || {
    echo "package: there is no $binary: scripts/cross.sh $target" >&2
    exit 1
}

case $target in
    aarch64-*) debian=arm64 openwrt=aarch64_generic ;;
    armv7-*) debian=armhf openwrt=arm_cortex-a7_neon-vfpv4 ;;
    x86_64-*) debian=amd64 openwrt=x86_64 ;;
    *)
        echo "package: $target is not packed" >&2
        exit 2
        ;;
esac
case $target in
    *musl*) depends='' libc=static ;;
    *.2.28) depends='libc6 (>= 2.28)' libc=glibc ;;
    # Built with the machine's own compiler: what it links is what the package needs.
    *) depends="libc6 (>= $(strings -a "$binary" | grep -oE '^GLIBC_2\.[0-9.]+$' | sort -Vu | tail -1 | cut -d_ -f2)), libgcc-s1" libc=glibc ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Reproducible: the time of the last commit is the time of every file.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
out=target/packages
work=$out/work-$debian-$libc
rm -rf "$work"
mkdir -p "$work/root" "$out"
root=$work/root

place() { install -D -m "$1" "$2" "$root/$3"; }
place 755 "$binary" usr/bin/tidegate
place 640 src/config/default.toml etc/tidegate/tidegate.toml
doc=$root/usr/share/doc/tidegate
place 644 README.md usr/share/doc/tidegate/README.md
# What a technician reads beside a gateway without a link.
documents="aws broker configuration field-guide glossary install journal metrics profiles security troubleshooting"
for document in $documents; do
    place 644 "docs/$document.md" "usr/share/doc/tidegate/docs/$document.md"
done
scripts/licences.py "${target%.2.28}" >"$doc/copyright"
{
    echo "tidegate ($version) stable; urgency=medium"
    echo
    # Entries of the change log, each as one paragraph of short lines.
    sed -n 's/^- /\n* /p; s/^  \([^ ]\)/\1/p' CHANGELOG.md | fmt -w 74 -c | sed -n 's/^\* /  * /p; t; s/^\(..*\)/    \1/p'
    echo
    echo " -- the tidegate authors <tidegate@localhost>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.gz"
chmod 644 "$doc/copyright" "$doc/changelog.gz"

overrides=$root/usr/share/lintian/overrides/tidegate
install -D -m 644 packaging/lintian-overrides "$overrides"
if [ "$libc" = static ]; then printf '# For any libc: that is what it is for.\ntidegate: statically-linked-binary *\n' >>"$overrides"; fi
description='store-and-forward agent: local MQTT broker to AWS SQS'
control() {
    printf 'Package: tidegate\nVersion: %s\nArchitecture: %s\nMaintainer: the tidegate authors <tidegate@localhost>\n' "$version" "$1"
    if [ -n "$2" ]; then printf 'Depends: %s\n' "$2"; fi
    printf 'Section: net\nPriority: optional\nInstalled-Size: %s\nDescription: %s\n' "$(du -sk "$root" | cut -f1)" "$description"
    printf ' Journals every message of a LoRaWAN gateway on flash before it acknowledges it,\n'
    printf ' and drains the journal in order to an SQS queue whenever the link allows.\n'
}

# The .deb: systemd.
deb=$work/deb
cp -a "$root" "$deb"
install -D -m 644 systemd/tidegate.service "$deb/lib/systemd/system/tidegate.service"
install -D -m 644 systemd/tidegate.sysusers "$deb/usr/lib/sysusers.d/tidegate.conf"
install -D -m 644 systemd/tidegate.tmpfiles "$deb/usr/lib/tmpfiles.d/tidegate.conf"
# What `journalctl -x` says of a finding; systemd's own trigger enters it.
install -D -m 644 systemd/tidegate.catalog "$deb/usr/lib/systemd/catalog/tidegate.catalog"
mkdir -m 755 "$deb/DEBIAN"
control "$debian" "$depends" >"$deb/DEBIAN/control"
echo /etc/tidegate/tidegate.toml >"$deb/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 packaging/$script "$deb/DEBIAN/$script"; done
(cd "$deb" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
find "$deb" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
file=$out/tidegate_${version}_$debian.deb
[ "$libc" = static ] && file=$out/tidegate_${version}_$debian-static.deb
dpkg-deb -Zxz --root-owner-group --build "$deb" "$file" >/dev/null
echo "package: $file, $(wc -c <"$file") bytes"

# The .ipk: procd, no systemd files; only a static binary suits every libc there.
if [ "$libc" = static ]; then
    ipk=$work/ipk
    mkdir -p "$ipk/control"
    cp -a "$root" "$ipk/data"
    # No documents there but the licences: flash is dear.
    rm -rf "$ipk/data/usr/share/lintian"
    find "$ipk/data/usr/share/doc/tidegate" -type f ! -name copyright -delete
    # /var is RAM there; /srv is on the flash that lies over the root file system.
    sed -i 's|^path = "/var/lib/tidegate/journal"|path = "/srv/tidegate/journal"|' "$ipk/data/etc/tidegate/tidegate.toml"
    grep -q '^path = "/srv/' "$ipk/data/etc/tidegate/tidegate.toml"
    install -D -m 755 packaging/openwrt/tidegate.init "$ipk/data/etc/init.d/tidegate"
    control "$openwrt" '' >"$ipk/control/control"
    echo /etc/tidegate/tidegate.toml >"$ipk/control/conffiles"
    cat >"$ipk/control/postinst" <<'POSTINST'
#!/bin/sh
[ -n "$IPKG_INSTROOT" ] && exit 0
grep -q '^tidegate:' /etc/passwd || echo 'tidegate:*:8377:8377:tidegate:/var/run/tidegate:/bin/false' >>/etc/passwd
grep -q '^tidegate:' /etc/group || echo 'tidegate:x:8377:' >>/etc/group
chown root:tidegate /etc/tidegate /etc/tidegate/tidegate.toml
chmod 0750 /etc/tidegate
mkdir -p -m 0700 /srv/tidegate
chown -h tidegate:tidegate /srv/tidegate
echo "tidegate: next: tidegate init, which writes /etc/tidegate/tidegate.toml; then tidegate check; /etc/init.d/tidegate enable; /etc/init.d/tidegate start"
POSTINST
    cat >"$ipk/control/prerm" <<'PRERM'
#!/bin/sh
[ -n "$IPKG_INSTROOT" ] && exit 0
/etc/init.d/tidegate stop
/etc/init.d/tidegate disable
# An upgrade goes on with the broker's session; before a removal for good a person has to end it, while the program is there.
[ "$1" = upgrade ] || echo "tidegate: /srv/tidegate stays. If it is not to come back: tidegate forget-session before the removal, or the broker queues for ever"
exit 0
PRERM
    chmod 755 "$ipk/control/postinst" "$ipk/control/prerm"
    pack() { tar --owner=0 --group=0 --numeric-owner --sort=name --mtime="@$SOURCE_DATE_EPOCH" -C "$1" -cf - . | gzip -9n; }
    pack "$ipk/control" >"$ipk/control.tar.gz"
    pack "$ipk/data" >"$ipk/data.tar.gz"
    echo 2.0 >"$ipk/debian-binary"
    file=$out/tidegate_${version}_$openwrt.ipk
    tar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$ipk" -cf - ./debian-binary ./data.tar.gz ./control.tar.gz |
        gzip -9n >"$file"
    echo "package: $file, $(wc -c <"$file") bytes"
fi

# The tarball: any Linux with systemd.
folder=tidegate-$version-${target%.2.28}
mkdir -p "$work/$folder"
cp "$binary" systemd/tidegate.service systemd/tidegate.catalog packaging/install.sh README.md LICENSE CHANGELOG.md "$work/$folder"
mkdir "$work/$folder/docs"
for document in $documents; do cp "docs/$document.md" "$work/$folder/docs"; done
cp src/config/default.toml "$work/$folder/tidegate.toml"
cp "$doc/copyright" "$work/$folder/LICENCES"
file=$out/$folder.tar.xz
tar --owner=0 --group=0 --numeric-owner --sort=name --mtime="@$SOURCE_DATE_EPOCH" -C "$work" -cJf "$file" "$folder"
echo "package: $file, $(wc -c <"$file") bytes"
rm -rf "$work"
