#!/usr/bin/env bash
# Get promtool, which checks alert rules: tools/promtool.sh TARGET
# Out of Debian's package where there is one (seconds), else built from its Go module (minutes and
# 2 GB, once). Nothing is installed. Does nothing if TARGET is there.
set -euo pipefail
target=${1:?where the program shall be}
version=v0.305.0 # Prometheus 3.5
[ -x "$target" ] && exit 0
mkdir -p "$(dirname "$target")"
target=$(cd "$(dirname "$target")" && pwd)/$(basename "$target")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

from_debian() {
  command -v apt-get dpkg-deb >/dev/null && apt-get -qq download prometheus 2>/dev/null &&
    dpkg-deb -x prometheus_*.deb . && install -m 755 usr/bin/promtool "$target"
}

from_go() {
  command -v go >/dev/null || return 1
  # Its go.mod has `replace`, which `go install` refuses: build inside of a copy of the module.
  source=$(cd / && go mod download -json "github.com/prometheus/prometheus@$version" |
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp -r "$source/." . && chmod -R u+w . && go build -o "$target" ./cmd/promtool
}

from_debian || from_go || echo "no promtool: neither Debian's package nor Go can be had" >&2
