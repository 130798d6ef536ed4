#!/bin/sh
# Installs Debian packages, quietly; with a fresh index where the one that is there is too old.
#
#     scripts/debian.sh PACKAGE...
set -eu
if [ "$(id -u)" -eq 0 ]; then root=; else root=sudo; fi
{ $root apt-get install -y -qq "$@" || { $root apt-get update -qq && $root apt-get install -y -qq "$@"; }; } >/dev/null
