#!/bin/sh
# Install what is missing of deploy/packages.txt.   install-packages.sh GROUP...
# Quick when nothing is missing: it only asks dpkg. Needs root or sudo otherwise.
set -eu
list=$(dirname "$0")/packages.txt
[ $# -gt 0 ] || { echo "usage: $0 build|run|test ..." >&2; exit 2; }

wanted=$(for group in "$@"; do
    sed -n "s/^$group  *//p" "$list" | while IFS=' |' read -r package command; do
        [ -n "$command" ] && command -v "$command" >/dev/null 2>&1 && continue
        echo "$package"
    done
done)
installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
missing=$(printf '%s\n' "$wanted" | while read -r package; do
    printf '%s\n' "$installed" | grep -qxF "$package" || echo "$package"
done)
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "install-packages: be root or install sudo; missing:" $missing >&2; exit 1; }
    sudo=sudo
fi
echo "Installing Debian packages:" $missing
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "install-packages: apt-get failed; the whole log is $log" >&2
    exit 1
fi
rm -f "$log"
