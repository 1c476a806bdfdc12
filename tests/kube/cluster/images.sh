#!/bin/bash
# images.sh: makes images as OCI archives, without a registry and without a daemon.
#
#   images.sh base                        what each cluster starts with: pause, coredns, traefik; kept beside the binaries
#   images.sh postgres  ARCHIVE           registry.local/postgres:15 (or what is installed), from Debian's packages
#   images.sh broken    ARCHIVE           registry.local/broken:1, another product: tells how to use it and fails
#   images.sh majordomo BINARY TAG ARCHIVE   registry.local/majordomo:TAG
#   images.sh agent     BINARY TAG ARCHIVE   registry.local/agent:TAG: majordomo, a shell, coreutils and git
#
# All but those of `base` run as user 65532 and with a root file system that is read-only. `load-image` takes them into a
# cluster that runs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

USER_ID=65532
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# --- what goes into a root -----------------------------------------------------------------------------------------

skeleton() { # as of a Debian with merged /usr, so that files keep the paths that they have there
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{etc,proc,sys,dev}
    local name
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
    cat >"$root/etc/passwd" <<P
root:x:0:0:root:/root:/sbin/nologin
nonroot:x:$USER_ID:$USER_ID:nonroot:/tmp:/sbin/nologin
P
    cat >"$root/etc/group" <<G
root:x:0:
nonroot:x:$USER_ID:
G
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
}

take() { # PATH...: of this machine, to the same path
    tar --create --directory=/ "${@#/}" | tar --extract --directory="$root" --keep-directory-symlink
}

package() { # NAME...: an installed Debian package, without what only people read
    local path
    dpkg --listfiles "$@" | grep '^/' | grep -vE '^/usr/share/(doc|man|locale|lintian|bash-completion|info)/' |
        while read -r path; do
            # a folder would bring all that other packages have in it
            [ -d "$path" ] && [ ! -L "$path" ] || echo "${path#/}"
        done >"$work/files"
    tar --create --directory=/ --files-from="$work/files" | tar --extract --directory="$root" --keep-directory-symlink
}

certificates() { take /etc/ssl/certs/ca-certificates.crt; }

libraries() { # what the programs in the root are linked with
    find "$root" -type f \( -perm /111 -o -name '*.so*' \) >"$work/programs"
    # scripts are among them, of which ldd says that they are no programs
    { xargs --arg-file="$work/programs" ldd 2>/dev/null || true; } |
        grep -oE '/[^ ]+\.so[^ ]*' | LC_ALL=C sort -u >"$work/libraries"
    local path
    while read -r path; do
        # programs of the root are found at its own paths as well
        case $path in "$root"*) continue ;; esac
        mkdir -p "$root$(dirname "$path")"
        [ -e "$root$path" ] || cp -L "$path" "$root$path"
    done <"$work/libraries"
}

program() { # BINARY: as /usr/local/bin/majordomo
    mkdir -p "$root/usr/local/bin"
    strip -o "$root/usr/local/bin/majordomo" "$1"
    chmod 755 "$root/usr/local/bin/majordomo"
}

image() { # ARCHIVE NAME:TAG OPTION...
    python3 "$HERE/mkimage.py" "$1" "$2" "$root" "${@:3}"
}

# --- the images ------------------------------------------------------------------------------------------------------

one_program() { # NAME TAG BINARY
    rm -rf "$root"
    mkdir -p "$root"
    cp "$3" "$root/$1"
    image "$IMAGES/$1.tar" "registry.local/$1:$2" --entrypoint "[\"/$1\"]"
}

base() {
    find_binaries || die 'the programs are not built: run build.sh first'
    exec 9>"$CACHE/lock"
    flock 9
    [ ! -e "$IMAGES/.done" ] || return 0
    mkdir -p "$IMAGES"
    # holds a pod's namespaces; kubelet's runtime starts one for each pod
    gcc -Os -static -s -o "$work/pause" "$HERE/pause.c"
    one_program pause 1 "$work/pause"
    one_program coredns 1 "$BIN/coredns"
    one_program traefik 1 "$BIN/traefik"
    touch "$IMAGES/.done"
}

postgres() { # ARCHIVE
    local lib version
    lib=$(printf '%s\n' /usr/lib/postgresql/*/ | sort -V | tail -n 1)
    [ -x "$lib/bin/postgres" ] || die 'the Debian package postgresql is not installed'
    version=$(basename "$lib")
    skeleton
    package "postgresql-$version" "postgresql-client-$version" dash coreutils sed grep
    # the compiler for queries, with 100 MB of LLVM; without its library the server does without
    rm -rf "$root/usr/lib/postgresql/$version/lib"/{bitcode,llvmjit.so}
    # Debian's server reads the machine's time zones
    package tzdata
    take /usr/lib/locale/C.utf8
    libraries
    local name
    for name in "$root/usr/lib/postgresql/$version/bin"/*; do
        # Debian's own /usr/bin/psql is a script that looks for clusters of the machine
        ln -sf "../lib/postgresql/$version/bin/$(basename "$name")" "$root/usr/bin/$(basename "$name")"
    done
    image "$1" "registry.local/postgres:$version" --user "$USER_ID:$USER_ID" --env LC_ALL=C.UTF-8
}

broken() { # ARCHIVE
    skeleton
    cat >"$work/broken.c" <<'C'
#include <stdio.h>
int main(void) { fputs("usage: frobnicate [--fast] FILE...\n", stderr); return 1; }
C
    mkdir -p "$root/usr/local/bin"
    gcc -Os -static -s -o "$root/usr/local/bin/frobnicate" "$work/broken.c"
    image "$1" registry.local/broken:1 --user "$USER_ID:$USER_ID" --entrypoint '["/usr/local/bin/frobnicate"]'
}

majordomo() { # BINARY TAG ARCHIVE
    skeleton
    certificates
    program "$1"
    libraries
    image "$3" "registry.local/majordomo:$2" --user "$USER_ID:$USER_ID" --entrypoint '["/usr/local/bin/majordomo"]'
}

agent() { # BINARY TAG ARCHIVE
    skeleton
    certificates
    package dash coreutils sed grep findutils git
    # says what address a name has, as programs see it
    take /usr/bin/getent
    program "$1"
    libraries
    image "$3" "registry.local/agent:$2" --user "$USER_ID:$USER_ID" --env HOME=/tmp --entrypoint '["/usr/local/bin/majordomo","agent"]'
}

case "${1:-} $#" in
'base 1') base ;;
'postgres 2' | 'broken 2' | 'majordomo 4' | 'agent 4') "$@" ;;
*) die "usage: $(sed -n 's/^#   images.sh//p' "$0")" ;;
esac
