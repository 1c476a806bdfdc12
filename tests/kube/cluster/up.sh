#!/bin/bash
# up.sh: stands up a real Kubernetes in network namespaces of its own. There is no route out of them.
#
#   NODES=3 up.sh [ARCHIVE...]     the archives are images that all nodes are to have from the start
#
# The control plane and each node have a network namespace; `nsenter --net=/run/netns/NS` reaches the first, `k` is kubectl in
# it, and the kubeconfig is STATE/admin.kubeconfig. INGRESS=no leaves Traefik out, PROXY_MODE=iptables has kube-proxy use
# iptables. OWNER=PID: the cluster is of this process, and may be taken down by whoever finds that the process is gone.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

NODES=${NODES:-1}
PROXY_MODE=${PROXY_MODE:-nftables}
ARCHIVES=("$@")

find_binaries || die 'the programs are not built: run build.sh first'
[ -e "$IMAGES/.done" ] || die 'the images are not made: run images.sh base first'
[ ! -e "$STATE" ] || die "$STATE is there already: run down.sh first"
mkdir -p "$CLUSTERS" "$STATE"/{pki,etcd,log,pid,volumes}
chmod 700 "$STATE"
echo "$NODES" >"$STATE/nodes"
echo "$NS" >"$STATE/id"
echo "$BIN" >"$STATE/bin"
# so that down.sh ends this too, if it is still at work
echo "$$ $(started $$)" >"$STATE/pid/up"
[ -z "${OWNER:-}" ] || echo "$OWNER $(started "$OWNER")" >"$STATE/owner"

# --- 1. networks -------------------------------------------------------------------------------------------------------

# A cable from a namespace to the switch. Its end there is pI, which faults.sh unplugs.
plug() { # NETNS I ADDRESS
    in_net "$NS-sw" ip link add "p$2" type veth peer name node0 netns "$1"
    in_net "$NS-sw" ip link set "p$2" master nodes0 up
    in_net "$1" ip link set lo up
    in_net "$1" ip address add "$3/24" dev node0
    in_net "$1" ip link set node0 up
    # nobody is there; kubelet takes its address from the interface of the default route
    in_net "$1" ip route add default via 10.10.0.254 dev node0 onlink
    local j
    for j in $(seq "$NODES"); do
        [ "$2" = "$j" ] || in_net "$1" ip route add "10.244.$j.0/24" via "$(node_ip "$j")"
    done
    # what kube-proxy leads elsewhere passes through; NodePorts work on 127.0.0.1 too
    in_net "$1" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet'
}

networks() {
    local i
    # The switch is in a namespace of its own: in a node's, frames would pass that node's NAT a second time.
    ip netns add "$NS-sw"
    in_net "$NS-sw" ip link add nodes0 type bridge
    in_net "$NS-sw" ip link set nodes0 up
    in_net "$NS-sw" sh -c 'f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 >$f'
    ip netns add "$NS"
    plug "$NS" 0 "$CONTROL_IP"
    for i in $(seq "$NODES"); do
        ip netns add "$(node_net "$i")"
        plug "$(node_net "$i")" "$i" "$(node_ip "$i")"
    done
}

# --- 2. keys -------------------------------------------------------------------------------------------------------------

key_pair() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

sign() { # NAME SUBJECT EXTENSION
    key_pair "$1.key"
    openssl req -new -key "$1.key" -subj "$2" |
        openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" -extfile <(echo "$3") 2>/dev/null
}

user() { # FILE NAME GROUP: a token that the API server knows, and a kubeconfig with it
    local token
    token=$(openssl rand -hex 16)
    echo "$token,$2,$1${3:+,\"$3\"}" >>tokens.csv
    cat >"$STATE/$1.kubeconfig" <<K
{"apiVersion": "v1", "kind": "Config", "current-context": "c",
 "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
 "clusters": [{"name": "c", "cluster": {"server": "https://$CONTROL_IP:6443", "certificate-authority": "$STATE/pki/ca.crt"}}],
 "users": [{"name": "u", "user": {"token": "$token"}}]}
K
}

keys() (
    umask 077
    cd "$STATE/pki"
    key_pair ca.key
    openssl req -x509 -new -key ca.key -subj /CN=majordomo-test-ca -days 3650 -out ca.crt
    names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
    sign apiserver /CN=kube-apiserver "subjectAltName=$names,DNS:localhost,IP:127.0.0.1,IP:$CONTROL_IP,IP:$API_SERVICE_IP"
    sign kubelet-client /O=system:masters/CN=apiserver-kubelet-client extendedKeyUsage=clientAuth
    openssl genrsa -out sa.key 2048 2>/dev/null
    openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
    : >tokens.csv
    user admin admin system:masters
    user kube-controller-manager system:kube-controller-manager ''
    user kube-scheduler system:kube-scheduler ''
    user kube-proxy system:kube-proxy ''
    for i in $(seq "$NODES"); do
        sign "kubelet$i" "/CN=node$i" "subjectAltName=DNS:node$i,IP:$(node_ip "$i")"
        user "kubelet$i" "system:node:node$i" system:nodes
    done
)

# --- 3. the control plane ----------------------------------------------------------------------------------------------

define_control_plane() {
    local kube=$BIN/kube pki=$STATE/pki
    # what is lost with the machine's power is not missed, so nothing waits for the disk
    define etcd "$NS" "$kube" etcd --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster default=http://127.0.0.1:2380
    define kube-apiserver "$NS" "$kube" kube-apiserver --etcd-servers http://127.0.0.1:2379 \
        --bind-address 0.0.0.0 --secure-port 6443 --advertise-address "$CONTROL_IP" --service-cluster-ip-range $SERVICES \
        --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
        --client-ca-file "$pki/ca.crt" --token-auth-file "$pki/tokens.csv" \
        --kubelet-client-certificate "$pki/kubelet-client.crt" --kubelet-client-key "$pki/kubelet-client.key" \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$pki/sa.pub" --service-account-signing-key-file "$pki/sa.key" \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged --profiling=false
    # Without its limits on the API the default service account takes 5 s longer. A node is lost after 20 s (of 40), so that
    # stories about lost nodes don't wait so long; kubelet's lease is renewed each 5 s for that.
    define kube-controller-manager "$NS" "$kube" kube-controller-manager --kubeconfig "$STATE/kube-controller-manager.kubeconfig" \
        --leader-elect=false --use-service-account-credentials --kube-api-qps 200 --kube-api-burst 400 \
        --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" \
        --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key" \
        --node-monitor-period 2s --node-monitor-grace-period 20s --profiling=false
    define kube-scheduler "$NS" "$kube" kube-scheduler --kubeconfig "$STATE/kube-scheduler.kubeconfig" \
        --leader-elect=false --kube-api-qps 200 --kube-api-burst 400 --profiling=false
    define volumes "$NS" "$kube" volumes --kubeconfig "$STATE/admin.kubeconfig" --root "$STATE/volumes"
}

# --- 4. nodes ----------------------------------------------------------------------------------------------------------

define_runtime() { # I
    local d=$STATE/n$1
    mkdir -p "$d"/{containerd,cni,kubelet,pods}
    # Only what is in the images' archives exists, so nothing is ever pulled. runc may not lower the killer's score of a
    # process where the machine has no CAP_SYS_RESOURCE.
    cat >"$d/containerd.toml" <<T
version = 2
root = "$d/containerd/root"
state = "$d/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "$d/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.local/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$d/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
T
    # the name of the network is also that of its cache on the machine, by which down.sh finds what is left of it
    cat >"$d/cni/10-bridge.conflist" <<C
{"cniVersion": "1.0.0", "name": "$NS-pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$d/ipam", "ranges": [[{"subnet": "10.244.$1.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
C
    define "containerd$1" "$(node_net "$1")" containerd --config "$d/containerd.toml"
}

runtime() { # I: started, with all images
    wait_for "containerd$1" 20 node_ctr "$1" version
    local archive
    for archive in "$IMAGES"/*.tar "${ARCHIVES[@]}"; do
        import "$1" "$archive" >/dev/null || die "node$1 does not take $archive"
    done
    lap "node$1 has its images"
}

cgroups() { # NAME: a root in each hierarchy
    local hierarchy
    for hierarchy in $(hierarchies); do
        mkdir -p "$hierarchy/$1"
        case $hierarchy in
        # version 1: a new group may use nothing before it is told what
        */cpuset) for f in cpuset.cpus cpuset.mems; do cat "$hierarchy/$f" >"$hierarchy/$1/$f"; done ;;
        # version 2: children have the controllers that the parent hands on
        /sys/fs/cgroup) echo '+cpu +cpuset +memory +pids +io' >"$hierarchy/cgroup.subtree_control" 2>/dev/null || true ;;
        esac
    done
}

define_kubelet() { # I
    local d=$STATE/n$1
    # A folder of logs for each node: kubelet deletes those of pods that it does not know. Disks are never full.
    cat >"$d/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet$1.crt
tlsPrivateKeyFile: $STATE/pki/kubelet$1.key
containerRuntimeEndpoint: unix://$d/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup_of "$1")
failSwapOn: false
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: ""
volumePluginDir: $d/kubelet/plugins
podLogsDir: $d/pods
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
nodeLeaseDurationSeconds: 20
serializeImagePulls: false
maxPods: 200
K
    define "kubelet$1" "$(node_net "$1")" "$BIN/kube" kubelet --config "$d/kubelet.yaml" \
        --kubeconfig "$STATE/kubelet$1.kubeconfig" --root-dir "$d/kubelet" --cert-dir "$d/kubelet/pki" \
        --hostname-override "node$1" --node-ip "$(node_ip "$1")"
}

define_proxy() { # NAME NETNS NODE
    # In nftables' mode NodePorts are only on the node's own address unless told otherwise.
    cat >"$STATE/$1.yaml" <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $PROXY_MODE
clusterCIDR: 10.244.0.0/16
hostnameOverride: $3
nodePortAddresses: [10.10.0.0/24]
clientConnection: {kubeconfig: $STATE/kube-proxy.kubeconfig}
conntrack: {maxPerCore: 0}
nftables: {minSyncPeriod: 100ms}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
K
    define "$1" "$2" "$BIN/kube" kube-proxy --config "$STATE/$1.yaml"
}

# --- all together --------------------------------------------------------------------------------------------------------

networks
keys
lap 'networks and keys'
define_control_plane
launch etcd
launch kube-apiserver
# while they start, the nodes get their images
runtimes=()
for i in $(seq "$NODES"); do
    define_runtime "$i"
    launch "containerd$i"
    runtime "$i" &
    runtimes+=($!)
done
wait_for 'API server' 60 kubectl get --raw /readyz
launch kube-controller-manager
launch kube-scheduler
launch volumes
for runtime in "${runtimes[@]}"; do wait "$runtime" || die 'a node is not ready for pods'; done
for i in $(seq "$NODES"); do
    cgroups "$(cgroup_of "$i")"
    define_kubelet "$i"
    launch "kubelet$i"
    define_proxy "kube-proxy$i" "$(node_net "$i")" "node$i"
    launch "kube-proxy$i"
done
# Whoever is in the control plane's namespace (tests are) reaches services too, and NodePorts at its own address: it is also
# the load balancer before the nodes. It has no kubelet, so its kube-proxy has to call itself like a node.
define_proxy kube-proxy0 "$NS" node1
launch kube-proxy0
wait_for 'objects of the cluster' 20 kubectl apply -f "$HERE/manifests/cluster.yaml" -f "$HERE/manifests/coredns.yaml"
[ "${INGRESS:-yes}" = no ] || kubectl apply -f "$HERE/manifests/traefik.yaml" >/dev/null
for i in $(seq "$NODES"); do wait_for "node$i is ready" 60 node_is_ready "$i"; done
wait_for 'default service account' 30 kubectl get serviceaccount default
wait_for 'cluster DNS' 60 is_available deployment/coredns kube-system
[ "${INGRESS:-yes}" = no ] || wait_for 'ingress' 60 is_available daemonset/traefik traefik
