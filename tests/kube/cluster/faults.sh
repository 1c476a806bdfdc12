#!/bin/bash
# faults.sh: breaks a part of the cluster, and mends it.
#
#   node-stop N          the node stands still: kubelet and containerd frozen, its network cut; its pods run on, unreachable
#   node-off N           its power is gone: all its processes are killed, its network cut
#   node-start N         mends each of these, and the next one
#   node-kubelet-stop N  kubelet alone is frozen: pods and network stay, nobody looks after them
#   api-stop             the API server is killed (its data are etcd's)
#   api-start            it is started again; waits until it is ready
#   api-pause, api-resume    it is frozen: connections stay and nothing answers
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"
find_binaries || die 'the programs are not built'
[ -e "$STATE/id" ] || die "there is no cluster in $STATE"

cable() { # I up|down
    in_net "$NS-sw" ip link set "p$1" "$2"
}

# Goes on if it was frozen, starts again if it was killed.
revive() { signal CONT "$1" || launch "$1"; }

api_is_ready() { kubectl get --raw /readyz --request-timeout=2s; }

verb=${1:-}
case $verb in
node-*)
    node=${2:-}
    [ -d "$STATE/n$node" ] && [ -n "$node" ] || die "which node? $verb N, N up to $(cat "$STATE/nodes")"
    ;;
esac
case $verb in
node-stop)
    cable "$node" down
    for name in kubelet containerd; do signal STOP "$name$node" || die "$name$node does not run"; done
    ;;
node-off)
    cable "$node" down
    for name in kubelet containerd kube-proxy; do end "$name$node" || true; done
    # shims first, as they would tell of each end
    end_shims "$node"
    end_pods "$node"
    ;;
node-start)
    cable "$node" up
    revive "containerd$node"
    # kubelet gives up when it finds no runtime, and there is no service manager to start it again
    wait_for "containerd$node" 20 node_ctr "$node" version
    revive "kubelet$node"
    revive "kube-proxy$node"
    # Users are in the control plane's network. A port from which one of them has reached an ingress that has gone with the node
    # would lead there until its entry is too old, which takes days; balancers in front of a cluster have no such memory.
    in_net "$NS" conntrack -D -p tcp --orig-port-dst 30080 >/dev/null 2>&1 || true
    ;;
node-kubelet-stop) signal STOP "kubelet$node" || die "kubelet$node does not run" ;;
api-stop) end kube-apiserver || die 'it does not run' ;;
api-start)
    revive kube-apiserver
    wait_for 'API server' 60 api_is_ready
    ;;
api-pause) signal STOP kube-apiserver || die 'it does not run' ;;
api-resume) signal CONT kube-apiserver || die 'it does not run' ;;
*) die "usage:
$(sed -n 's/^#   //p' "$(readlink -f "$0")")" ;;
esac
