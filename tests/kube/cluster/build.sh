#!/bin/bash
# build.sh: builds the cluster's programs from source through the Go module proxy, unless they are there already.
#
# They are kept in ${XDG_CACHE_HOME:-~/.cache}/majordomo-kube/KEY, some 400 MB; Go's own caches (GOMODCACHE, GOCACHE; 5 GB) are
# needed only to build again and may be deleted. A cold build takes 8 to 13 minutes on two cores.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

KUBERNETES=1.34.4

find_binaries && exit 0
command -v go >/dev/null || die 'there is no go, neither in PATH nor in /usr/local/go/bin'

# Two runs on one machine build once. The lock is on a file of the cache, so it is let go whenever the process ends.
mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
if ! flock --nonblock 9; then
    echo 'another build runs: waiting for it' >&2
    flock 9
    ! find_binaries || exit 0
fi

cd "$HERE/module"
export GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -mod=readonly' CGO_ENABLED=0
./lego.sh

# What Kubernetes says of itself; clients refuse to talk to a server without a version.
version=k8s.io/component-base/version
flags="-s -w"
flags+=" -X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=${KUBERNETES:2:2}"
flags+=" -X $version.gitTreeState=clean -X $version.gitCommit=unknown -X $version.buildDate=1970-01-01T00:00:00Z"

# All in one module and one build: they share most of what they compile. Without dwarf it takes a fifth less time.
mkdir -p "$BIN"
go build -trimpath -gcflags=all=-dwarf=false -tags 'netgo osusergo' -ldflags "$flags" -o "$BIN/" \
    ./kube ./coredns github.com/traefik/traefik/v3/cmd/traefik helm.sh/helm/v3/cmd/helm
touch "$BIN/.done"
