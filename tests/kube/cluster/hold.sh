#!/bin/bash
# hold.sh: stands up a cluster, says "ready", and takes it down as soon as its own input ends. A test that holds the other end
# of the input can so end in any way, also by kill -9. Arguments and environment are those of up.sh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# clusters of which not even the holder could take care any more
"$HERE/down.sh" --dead
trap '"$HERE/down.sh"' EXIT
export OWNER=$$
"$HERE/up.sh" "$@" >&2 </dev/null
echo ready
while read -r _; do :; done
