#!/bin/bash
# Build the S3 servers that Debian does not have, from Go's modules, once: `build.sh [versitygw] [seaweedfs]`. They are kept
# in STREAMHOUSE_STORES_CACHE (default ~/.cache/streamhouse/stores)/bin; a few minutes and a quarter of an hour on two
# idle cores.
set -euo pipefail

readonly VERSITYGW=github.com/versity/versitygw/cmd/versitygw@v1.8.0
readonly SEAWEEDFS=github.com/seaweedfs/seaweedfs@v0.0.0-20261109003541-7506e5f91cd6

cache=${STREAMHOUSE_STORES_CACHE:-$HOME/.cache/streamhouse/stores}
mkdir -p "$cache/bin"
export GOFLAGS=-buildvcs=false

build_versitygw() {
    GOBIN=$cache/bin go install "$VERSITYGW"
}

# Its go.mod replaces modules, which "go install" refuses, so it is built where it lies.
build_seaweedfs() {
    local source work
    source=$(go mod download -json "$SEAWEEDFS" | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')
    work=$(mktemp -d "$cache/seaweedfs-XXXXXX")
    trap 'chmod -R u+w "$work"; rm -rf "$work"' RETURN
    cp -r "$source/." "$work"
    chmod -R u+w "$work"
    (cd "$work" && go build -o "$cache/bin/weed.new" ./weed)
    mv "$cache/bin/weed.new" "$cache/bin/weed"
}

for server in "${@:-versitygw}"; do
    case $server in
    versitygw) [ -x "$cache/bin/versitygw" ] || build_versitygw ;;
    seaweedfs) [ -x "$cache/bin/weed" ] || build_seaweedfs ;;
    radosgw) ;; # Debian's
    *)
        echo "build.sh: no server $server: radosgw, versitygw, seaweedfs" >&2
        exit 2
        ;;
    esac
done
