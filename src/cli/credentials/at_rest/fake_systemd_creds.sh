#!/bin/sh
# Replaces systemd-creds in tests: with the same arguments, streams and exit codes, and no TPM. What it does is told by
# files beside the name that it was called by, where it notes its arguments, too.
beside=$(dirname "$0")
echo "$*" >>"$beside/called"
case $1 in
--version)
    if [ -e "$beside/old" ]; then echo "systemd 252 (252.39-1~deb12u2)"; else echo "systemd 257 (257.9-1~deb13u1)"; fi
    ;;
has-tpm2)
    cat "$beside/has-tpm2"
    [ "$(head -n 1 "$beside/has-tpm2")" = yes ]
    ;;
encrypt)
    if [ -e "$beside/broken" ]; then
        printf 'TPM2 device is acting up\nFailed to seal: State not recoverable\n' >&2
        exit 1
    fi
    # The id of a key of the TPM alone, the registers, and what came in.
    { printf '\014\174\300\173\021\166\105\221\234\113\013\352\010\274\040\376%-20s' "$3" && cat; } | base64
    ;;
decrypt)
    base64 -d >"$beside/open"
    # As systemd 252 does it.
    if [ -e "$beside/picky" ] && ! head -c 36 "$beside/open" | grep -aq 'pcrs=[0-9]'; then
        echo "TPM2 PCR bank invalid or not supported" >&2
        exit 1
    fi
    tail -c +37 "$beside/open"
    if [ -e "$beside/lossy" ]; then echo x; fi
    ;;
esac
