#!/bin/sh
# Takes the status page's screenshots anew, in a real browser (Chromium), and puts the one of the README into docs/images.
set -eu
cd "$(dirname "$0")/.."
scripts/test.sh --test agent -- --include-ignored status_page_in_browser::
cp target/screenshots/fine-phone-light.png docs/images/status-phone.png
ls -l docs/images target/screenshots
