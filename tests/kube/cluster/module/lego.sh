#!/bin/bash
# lego.sh: makes lego/, a copy of the module lego without its hundred DNS providers (clouds' SDKs), which would double the build
# of Traefik. go.mod replaces the module by the copy; `go build -overlay` can't do this below the module cache.
set -euo pipefail
cd "$(dirname "$0")"
[ ! -e lego/go.mod ] || exit 0

# outside of this module, whose go.mod can't be read yet
original=$(cd / && go mod download -json github.com/go-acme/lego/v4@v4.33.0 | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
copy=lego.tmp.$$
trap 'rm -rf "$copy"' EXIT
cp -r "$original" "$copy"
chmod -R u+w "$copy"
rm -rf "$copy"/{providers/dns,cmd,docs,e2e,go.sum}
mkdir -p "$copy/providers/dns"
cp lego_stub.go.txt "$copy/providers/dns/stub.go"
{
    echo 'module github.com/go-acme/lego/v4'
    echo 'go 1.24.0'
    echo 'require ('
    grep -E 'cenkalti/backoff|go-jose|miekg/dns|golang.org/x/(crypto|net|text) |stretchr' "$original/go.mod" | grep -v indirect
    echo ')'
} >"$copy/go.mod"
mv "$copy" lego
