#!/bin/bash
# down.sh: ends the cluster NS and removes all that it left on the machine. Nothing is asked to end nicely, as nothing is kept.
#
#   down.sh          this cluster
#   down.sh --dead   all clusters of the machine whose owner (see up.sh) is gone
#
# Only processes end that are the cluster's: those that its scripts started, those in its nodes' cgroups, and containerd's
# shims, which name the cluster's folder.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

if [ "${1:-}" = --dead ]; then
    for owner in "$CLUSTERS"/*/owner; do
        [ -e "$owner" ] || continue
        read -r pid since <"$owner" || true
        [ -z "$since" ] || [ "$(started "$pid")" != "$since" ] || continue
        dead=$(dirname "$owner")
        echo "taking down $dead, whose owner is gone" >&2
        NS=$(cat "$dead/id") STATE=$dead "$0"
    done
    exit
fi
[ -e "$STATE" ] || exit 0
case $STATE in /*/*) ;; *) die "STATE=$STATE is no folder of a cluster" ;; esac

end_components() {
    local file
    signal KILL up || true
    for file in "$STATE"/pid/*; do
        [ ! -e "$file" ] || signal KILL "$(basename "$file")" || true
    done
}

# Mounts below the state, deepest first.
unmount() {
    local path
    awk -v under="$STATE/" 'index($2, under) == 1 {print $2}' /proc/self/mounts | sort -r | while read -r path; do
        umount "$path" 2>/dev/null || umount --lazy "$path" 2>/dev/null || true
    done
}

# The network namespaces of pods. Their names are in the cache that CNI keeps for the whole machine, by network.
forget_pods() {
    local result net id
    for result in /var/lib/cni/results/"$NS"-pods-*; do
        [ -e "$result" ] || continue
        for net in $(grep -o '/netns/cni-[0-9a-f-]*' "$result" | sort -u); do
            umount "/run$net" 2>/dev/null || true
            rm -f "/run$net"
        done
        id=${result##*/"$NS"-pods-}
        rm -f "$result" "/var/lib/cni/results/cni-loopback-${id%-eth0}-lo"
    done
    # kubelet links each container's log into one folder of the machine
    local link
    for link in /var/log/containers/*; do
        case $(readlink "$link" 2>/dev/null) in "$STATE"/*) rm -f "$link" ;; esac
    done
}

remove_groups() { # NAME
    local hierarchy
    for hierarchy in $(hierarchies); do
        # a group goes only when the kernel has put the last dead process away
        local end=$((SECONDS + 5))
        while [ -d "$hierarchy/$1" ] && [ $SECONDS -lt $end ]; do
            find "$hierarchy/$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep .05
        done
        [ ! -d "$hierarchy/$1" ] || echo "down.sh: $hierarchy/$1 is not empty and stays" >&2
    done
}

nodes=$(cat "$STATE/nodes" 2>/dev/null || echo 0)
end_components
for i in $(seq "$nodes"); do
    end_pods "$i"
    end_shims "$i"
done
unmount
forget_pods
for i in $(seq "$nodes"); do remove_groups "$(cgroup_of "$i")"; done
for net in "$NS" "$NS-sw" $(seq -f "$NS-n%g" "$nodes"); do
    [ ! -e "/run/netns/$net" ] || ip netns delete "$net"
done
# processes that just end may still write
rm -rf "$STATE" 2>/dev/null || { sleep .2 && rm -rf "$STATE"; }
