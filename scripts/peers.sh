#!/bin/sh
# Installs the peers that the tests run against: the Mosquitto broker, Chromium with its driver (Debian packages), and
# ministack, an SQS emulator, beside the official parser of metrics (Python, in .peers/ministack); and iproute2. More brokers
# go into .peers/ and are nowhere else: RabbitMQ and a newer Mosquitto (Debian packages, unpacked and not installed, so that no
# service starts), aedes (npm), amqtt (PyPI), rumqttd (crates.io); likewise the proxies tinyproxy and squid, and
# Prometheus with its promtool (Debian packages). And readers of what arrives, in .peers/readers: the CloudEvents SDKs of npm and
# Python, sqs-consumer, Powertools for AWS Lambda. Does nothing that is already done, says what it installs, and may be run
# again any time.
set -eu
export DEBIAN_FRONTEND=noninteractive
cd "$(dirname "$0")/.."

ministack=1.5.33
hypercorn=0.18.0
prometheus=0.23.1
venv=.peers/ministack
rabbitmq=3.10.8
mosquitto=2.0.21
aedes=0.51.3
amqtt=0.12.1
rumqttd=0.20.0
# Of npm the newest that run on the Node.js of Debian 12.
cloudevents_js=9.0.0
sqs_consumer=11.6.0
client_sqs=3.960.0
cloudevents_py=2.2.0
powertools=3.37.0
jsonschema=4.26.0

root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "peers: '$*' needs root and there is no sudo: run it as root, then run this script again" >&2
        exit 1
    fi
}

install_package() {
    echo "peers: installing the package $1"
    log=$(mktemp)
    if ! { root apt-get install -y -qq "$1" || { root apt-get update -qq && root apt-get install -y -qq "$1"; }; } >"$log" 2>&1; then
        cat "$log" >&2
        echo "peers: the package $1 could not be installed: install it by hand, then run this script again" >&2
        exit 1
    fi
    rm -f "$log"
}

# unpack FOLDER PACKAGE... : what apt downloads, with the options in $sources, unpacked into a folder.
unpack() {
    folder=$1
    shift
    fresh=$(mktemp -d)
    log=$fresh/log
    # shellcheck disable=SC2086 # $sources are words, or none.
    if ! { (cd "$fresh" && apt-get $sources download "$@") || {
        [ -z "$sources" ] && root apt-get update -qq && (cd "$fresh" && apt-get download "$@")
    }; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -rf "$fresh"
        return 1
    fi
    rm -rf "$folder" && mkdir -p "$folder"
    for package in "$fresh"/*.deb; do
        dpkg-deb -x "$package" "$folder"
    done
    rm -rf "$fresh"
}

if ! command -v mosquitto >/dev/null && [ ! -x /usr/sbin/mosquitto ]; then
    install_package mosquitto
fi

# A network of its own is where a test lets an address come.
if ! command -v ip >/dev/null && [ ! -x /usr/sbin/ip ]; then
    install_package iproute2
fi

# The status page is looked at in a real browser.
if ! command -v chromedriver >/dev/null; then
    install_package chromium-driver
fi

# Real HTTP proxies on the way to the queue; their programs alone, so that no service starts.
if [ ! -x .peers/tinyproxy/usr/bin/tinyproxy ]; then
    echo "peers: unpacking tinyproxy in .peers/tinyproxy"
    sources=
    if ! unpack .peers/tinyproxy tinyproxy-bin; then
        echo "peers: the package tinyproxy-bin could not be downloaded" >&2
        exit 1
    fi
fi
if [ ! -x .peers/squid/usr/sbin/squid ]; then
    echo "peers: unpacking squid in .peers/squid"
    sources=
    # With the libraries that nothing else here brings.
    if ! unpack .peers/squid squid squid-common squid-langpack libecap3 libltdl7 libnetfilter-conntrack3 libnfnetlink0 libtdb1 libldap-2.5-0 \
        libsasl2-2; then
        echo "peers: the packages of squid could not be downloaded" >&2
        exit 1
    fi
    mkdir -p .peers/squid/lib
    find .peers/squid/usr/lib -name 'lib*.so.*' -exec mv -t .peers/squid/lib {} +
    rm -rf .peers/squid/usr/share/doc .peers/squid/usr/share/man .peers/squid/etc .peers/squid/var
fi

# What Prometheus itself says of the metrics, the alert rules and the dashboard's queries; its programs alone.
if [ ! -x .peers/prometheus/promtool ] || [ ! -x .peers/prometheus/prometheus ]; then
    echo "peers: unpacking Prometheus in .peers/prometheus"
    sources=
    if ! unpack .peers/prometheus prometheus; then
        echo "peers: the package prometheus could not be downloaded" >&2
        exit 1
    fi
    mv .peers/prometheus/usr/bin/promtool .peers/prometheus/usr/bin/prometheus .peers/prometheus/
    rm -rf .peers/prometheus/usr .peers/prometheus/etc .peers/prometheus/lib .peers/prometheus/var
fi

have="$("$venv/bin/python" -c '
from importlib.metadata import version
print(version("ministack"), version("hypercorn"), version("prometheus-client"))' 2>/dev/null || true)"
if [ "$have" != "$ministack $hypercorn $prometheus" ]; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        install_package python3-venv
    fi
    echo "peers: installing ministack $ministack, hypercorn $hypercorn and prometheus-client $prometheus in $venv"
    mkdir -p .peers
    python3 -m venv --clear "$venv"
    if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check "ministack==$ministack" "hypercorn==$hypercorn" \
        "prometheus-client==$prometheus"; then
        echo "peers: pip could not install ministack: it needs the Python package index." >&2
        echo "peers: with an index of your own set PIP_INDEX_URL, behind a proxy set HTTPS_PROXY, then run this script again" >&2
        exit 1
    fi
fi

# -- brokers that we did not write --

if [ ! -f ".peers/rabbitmq/unpacked-$rabbitmq" ]; then
    echo "peers: unpacking RabbitMQ $rabbitmq with its Erlang in .peers/rabbitmq"
    sources=
    erlang=
    for part in asn1 base crypto eldap inets mnesia os-mon parsetools public-key runtime-tools ssl syntax-tools tools xmerl; do
        erlang="$erlang erlang-$part"
    done
    # shellcheck disable=SC2086 # One word for each package.
    if ! unpack .peers/rabbitmq "rabbitmq-server=$rabbitmq-*" $erlang; then
        echo "peers: RabbitMQ $rabbitmq is what Debian 12 has; its packages could not be downloaded" >&2
        exit 1
    fi
    # Its start script knows only the place that the package is made for.
    sed -i 's|ROOTDIR=/usr/lib/erlang$|ROOTDIR=${ERL_ROOTDIR:-/usr/lib/erlang}|' .peers/rabbitmq/usr/lib/erlang/bin/erl
    rm -rf .peers/rabbitmq/usr/share .peers/rabbitmq/etc
    touch ".peers/rabbitmq/unpacked-$rabbitmq"
fi

if [ ! -f ".peers/mosquitto-$mosquitto/unpacked" ]; then
    echo "peers: unpacking Mosquitto $mosquitto, of Debian 12's backports, in .peers/mosquitto-$mosquitto"
    # Lists of its own: what this machine installs from does not change.
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Codename: bookworm' 'Label: Debian' | head -n 1)
    echo "deb ${mirror:-no-mirror} bookworm-backports main" >"$apt/sources.list"
    sources="-o Dir::Etc::sourcelist=$apt/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$apt/lists"
    sources="$sources -o Dir::Cache=$apt/cache"
    # shellcheck disable=SC2086 # $sources are words.
    if ! { apt-get $sources update -qq >"$apt/log" 2>&1 &&
        unpack ".peers/mosquitto-$mosquitto" "mosquitto=$mosquitto-*" "libmosquitto1=$mosquitto-*"; }; then
        cat "$apt/log" >&2
        echo "peers: Mosquitto $mosquitto could not be had from the backports of Debian 12" >&2
        exit 1
    fi
    rm -rf "$apt"
    # The one library beside its own that an installed Mosquitto of Debian 12 does not bring.
    sources=
    unpack ".peers/mosquitto-$mosquitto/websockets" libwebsockets17
    mkdir -p ".peers/mosquitto-$mosquitto/lib"
    find ".peers/mosquitto-$mosquitto" -name 'lib*.so*' -exec mv -t ".peers/mosquitto-$mosquitto/lib" {} +
    rm -rf ".peers/mosquitto-$mosquitto/websockets" ".peers/mosquitto-$mosquitto/usr/share" ".peers/mosquitto-$mosquitto/etc"
    touch ".peers/mosquitto-$mosquitto/unpacked"
fi

# npm_install FOLDER PACKAGE@VERSION... : with npm, into .peers/FOLDER, without running what the packages bring.
npm_install() {
    folder=.peers/$1
    shift
    if ! command -v node >/dev/null; then
        install_package nodejs
    fi
    if ! command -v npm >/dev/null; then
        install_package npm
    fi
    echo "peers: installing $* in $folder"
    mkdir -p "$folder"
    if ! npm install --prefix "$folder" --silent --no-audit --no-fund --no-save --ignore-scripts "$@"; then
        echo "peers: npm could not install $*: it needs the package registry of npm" >&2
        exit 1
    fi
}

if ! grep -qs "\"version\": \"$aedes\"" .peers/aedes/node_modules/aedes/package.json; then
    npm_install aedes "aedes@$aedes"
fi

if [ ! -d ".peers/amqtt/amqtt-$amqtt.dist-info" ]; then
    echo "peers: installing amqtt $amqtt in .peers/amqtt"
    rm -rf .peers/amqtt
    if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check --target .peers/amqtt "amqtt==$amqtt"; then
        echo "peers: pip could not install amqtt: it needs the Python package index" >&2
        exit 1
    fi
fi

# Not with --locked: the crate's own lock file names a version of `metrics` that this compiler refuses.
if [ "$(.peers/rumqttd/bin/rumqttd --version 2>/dev/null)" != "rumqttd $rumqttd" ]; then
    echo "peers: building rumqttd $rumqttd in .peers/rumqttd"
    if ! CARGO_TARGET_DIR=.peers/rumqttd/build cargo install rumqttd --quiet --version "$rumqttd" --no-default-features \
        --root .peers/rumqttd --config 'profile.release.opt-level=0' --config 'profile.release.lto=false' \
        --config 'profile.release.codegen-units=16' --config 'profile.release.debug=false'; then
        echo "peers: cargo could not install rumqttd" >&2
        exit 1
    fi
    rm -rf .peers/rumqttd/build
fi

# -- readers of what arrives --

readers="$cloudevents_js $sqs_consumer $client_sqs $cloudevents_py $powertools $jsonschema"
if [ "$(cat .peers/readers/installed 2>/dev/null)" != "$readers" ]; then
    rm -rf .peers/readers
    npm_install readers "cloudevents@$cloudevents_js" "sqs-consumer@$sqs_consumer" "@aws-sdk/client-sqs@$client_sqs"
    echo "peers: installing cloudevents $cloudevents_py and Powertools $powertools for Python in .peers/readers/venv"
    python3 -m venv .peers/readers/venv
    if ! .peers/readers/venv/bin/python -m pip install -q --disable-pip-version-check "cloudevents==$cloudevents_py" \
        "aws-lambda-powertools[parser]==$powertools" "jsonschema==$jsonschema"; then
        echo "peers: pip could not install the readers: they need the Python package index" >&2
        exit 1
    fi
    echo "$readers" >.peers/readers/installed
fi
