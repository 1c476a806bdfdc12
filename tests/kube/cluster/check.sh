#!/bin/bash
# check.sh: says why this machine can't carry a cluster, and fails; says nothing when it can.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || die 'only root can'
for program in containerd ctr runc ip iptables nft conntrack nsenter openssl flock gcc strip python3; do
    command -v $program >/dev/null || die "there is no $program (tests/run installs it)"
done
[ -x /usr/lib/cni/bridge ] || die 'there are no CNI plugins (Debian package containernetworking-plugins)'

# a try says more than a list of capabilities
probe=$NS-probe-$$
ip netns add "$probe" 2>/dev/null || die 'network namespaces can not be made'
made=$(ip -n "$probe" link add probe0 type bridge 2>&1 && ip -n "$probe" link add probe1 type veth peer name probe2 2>&1) || no="in a network namespace: $made"
in_net "$probe" nft add table ip probe >/dev/null 2>&1 || no="${no:-nftables does not work in a network namespace}"
ip netns del "$probe"
[ -z "${no:-}" ] || die "$no"

for hierarchy in $(hierarchies); do
    mkdir "$hierarchy/$probe" 2>/dev/null || die "cgroups can not be made in $hierarchy"
    rmdir "$hierarchy/$probe"
done
[ -n "$(hierarchies)" ] || die 'there are no cgroups'

find_binaries || command -v go >/dev/null || die 'the programs are not built, and there is no go to build them'
