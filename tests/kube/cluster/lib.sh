# lib.sh: what the scripts of this folder share; they source it.
#
# NS     the cluster's id: names its network namespaces, its cgroups and its CNI network; two clusters with different
#        ids live beside each other
# STATE  its folder: keys, logs, pids, the disks of its nodes
# NODES  how many nodes up.sh makes (later scripts read it from STATE)

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NS=${NS:-mjd}
CLUSTERS=/run/majordomo-kube
STATE=${STATE:-$CLUSTERS/$NS}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/majordomo-kube

PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin

# One address for the control plane, one for each node; the pods of node i are in 10.244.i.0/24.
CONTROL_IP=10.10.0.100
node_ip() { echo "10.10.0.$1"; }
SERVICES=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Where the binaries of this checkout's module are: a change of anything that goes into them changes the key.
key() {
    (
        cd "$HERE/module"
        # by name and content, so that the order of a folder's entries does not matter
        find . -type f -not -path './lego/*' -not -path './lego.tmp.*' | LC_ALL=C sort | xargs sha256sum
        cat "$HERE/build.sh"
    ) | sha256sum | cut -c1-16
}

# Sets BIN and IMAGES; false when nothing is built.
find_binaries() {
    local built
    built=$CACHE/$(key)
    BIN=${BIN:-$built}
    IMAGES=${IMAGES:-$built/images}
    [ -e "$BIN/.done" ]
}

# Sets BIN as up.sh found it: reckoning the key takes longer than what k does.
find_cluster() {
    [ -e "$STATE/bin" ] || die "there is no cluster in $STATE"
    read -r BIN <"$STATE/bin"
}

node_net() { echo "$NS-n$1"; } # the network namespace of a node
cgroup_of() { echo "$NS-n$1"; }

in_net() { # NETNS COMMAND...
    # not `ip netns exec`: that mounts /sys again and hides the cgroups
    local net=$1
    shift
    nsenter "--net=/run/netns/$net" "$@"
}

kubectl() { in_net "$NS" "$BIN/kube" kubectl --kubeconfig "$STATE/admin.kubeconfig" "$@"; }

# The cgroup hierarchies of this machine: several (version 1), one (version 2), or several and one beside them ("unified").
hierarchies() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
        return
    fi
    local name
    for name in cpu cpuacct cpuset memory pids devices blkio freezer systemd unified; do
        [ ! -d "/sys/fs/cgroup/$name" ] || echo "/sys/fs/cgroup/$name"
    done
}

# --- processes -------------------------------------------------------------------------------------------------
# A component is defined once (its namespace and command line are kept as a script) and can then be launched again
# and again. Of each the pid and the time of its start are kept: a pid alone may be somebody else's by now.

define() { # NAME NETNS COMMAND...
    local name=$1 net=$2
    shift 2
    mkdir -p "$STATE/commands"
    {
        echo '#!/bin/sh'
        printf 'cd %q || exit\n' "$STATE"
        printf 'exec nsenter --net=/run/netns/%q' "$net"
        printf ' %q' "$@"
        echo
    } >"$STATE/commands/$name"
    chmod 700 "$STATE/commands/$name"
}

launch() { # NAME
    # with a session of its own a component does not get the terminal's signals; 9 and above are locks of the caller
    setsid "$STATE/commands/$1" >>"$STATE/log/$1.log" 2>&1 </dev/null 9>&- &
    echo "$! $(started $!)" >"$STATE/pid/$1"
}

started() { # PID: the time of its start, in ticks since the machine's; nothing when it has ended
    # the name in parentheses may hold anything, so count from behind it; a zombie has ended, whether somebody looks or not
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'
}

pid_of() { # NAME: the pid, as long as the process lives
    local pid since
    read -r pid since <"$STATE/pid/$1" 2>/dev/null || return 1
    [ -n "$since" ] && [ "$(started "$pid")" = "$since" ] && echo "$pid"
}

signal() { # SIGNAL NAME: false when it does not live
    local pid
    pid=$(pid_of "$2") && kill "-$1" "$pid" 2>/dev/null
}

end() { # NAME: kill -9; waits until it is gone, so that what comes next does not take it for living
    signal KILL "$1" || return 1
    while pid_of "$1" >/dev/null; do sleep .02; done
}

# --- waiting ---------------------------------------------------------------------------------------------------

BEGAN=$(date +%s%N)
lap() { # TEXT: with the time since the script began
    local hundredths=$((($(date +%s%N) - BEGAN) / 10000000))
    printf '%3d.%02d s  %s\n' $((hundredths / 100)) $((hundredths % 100)) "$*"
}

wait_for() { # TEXT SECONDS COMMAND...: until it succeeds
    local text=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            tail -n 5 "$STATE"/log/*.log >&2 2>/dev/null
            die "waited in vain: $text (the last lines of each log are above)"
        fi
        sleep .1
    done
    lap "$text"
}

node_is_ready() { # I
    kubectl get node "node$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx True
}

is_available() { # KIND/NAME NAMESPACE: all pods that it wants are ready
    kubectl -n "$2" rollout status "$1" --timeout=1s
}

# --- disks of nodes ----------------------------------------------------------------------------------------------

node_ctr() { # I ARGUMENTS...: containerd's own client, in the namespace that kubelet uses
    local i=$1
    shift
    ctr --address "$STATE/n$i/containerd.sock" --namespace k8s.io "$@"
}

import() { # I ARCHIVE: of an image
    # all platforms: a made archive names none
    node_ctr "$1" images import --all-platforms "$2"
}

# --- pods of nodes -----------------------------------------------------------------------------------------------

end_pods() { # I: all processes of a node's pods, at once
    local groups=() hierarchy tries pids
    for hierarchy in $(hierarchies); do
        [ ! -d "$hierarchy/$(cgroup_of "$1")" ] || groups+=("$hierarchy/$(cgroup_of "$1")")
    done
    [ ${#groups[@]} -gt 0 ] || return 0
    # they may start others meanwhile
    for tries in 1 2 3 4 5; do
        pids=$(find "${groups[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u) || true
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086
        kill -9 $pids 2>/dev/null || true
    done
}

end_shims() { # I: containerd's own processes, one beside each pod
    local file pid name
    for file in $(grep -lsazxF -- "$STATE/n$1/containerd.sock" /proc/[0-9]*/cmdline); do
        pid=${file//[!0-9]/}
        { read -r name <"/proc/$pid/comm"; } 2>/dev/null || continue
        case $name in containerd-shim*) kill -9 "$pid" 2>/dev/null || true ;; esac
    done
}
