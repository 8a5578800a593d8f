#!/usr/bin/env bash
# Sees to it that the system's packages for a purpose are there: system-packages.sh run|test|bench|bench-cluster|deploy
#
# Quick and silent when they are. Otherwise it says what it installs, and installs it where it may (Debian and its
# kin, as root or with a sudo that asks for nothing); where it may not, it says what is missing and what for. It
# fails only when something is missing that the purpose can't do without.
set -euo pipefail

# Where mkfs, losetup and nbd-client live is not on everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'packages: %s\n' "$*"; }

purpose=${1:-}
wanted_files=()

# Each purpose: "package:commands that it brings" of all that is wanted, and what must be there in the end (in one
# word, a|b: either will do).
case $purpose in
run)
    wanted=(libnbd-bin:nbdcopy,nbdinfo,nbdfuse qemu-utils:qemu-img e2fsprogs:mkfs.ext4
        wget:wget curl:curl python3:python3 nbd-client:nbd-client fuse3:fusermount3 util-linux:setsid,flock)
    needed=('nbdcopy|qemu-img' mkfs.ext4 'wget|curl' setsid flock)
    ;;
test)
    wanted=(libnbd-bin:nbdcopy,nbdinfo,nbdfuse python3-libnbd:nbdsh qemu-utils:qemu-img,qemu-io fio:fio
        xxhash:xxhsum e2fsprogs:mkfs.ext4,e2fsck wget:wget curl:curl python3:python3 fuse3:fusermount3
        nbd-client:nbd-client util-linux:losetup,mount,flock)
    # The tests that want a client which is not there say so themselves; the others are worth running.
    needed=()
    ;;
bench)
    wanted=(fio:fio nbdkit:nbdkit qemu-utils:qemu-nbd,qemu-img nbd-server:nbd-server python3:python3 curl:curl
        util-linux:losetup)
    needed=(fio nbdkit python3 curl)
    ;;
bench-cluster)
    # The peers are many packages; the suite leaves out the one that is not there. Their qemu drivers bring no command.
    wanted=(fio:fio qemu-utils:qemu-nbd,qemu-img python3:python3 curl:curl util-linux:findmnt
        glusterfs-server:glusterd glusterfs-client:glusterfs ceph-mon:ceph-mon ceph-osd:ceph-osd ceph-common:ceph,rbd)
    wanted_files=(qemu-block-extra:block-rbd.so,block-gluster.so)
    needed=(fio python3 curl)
    ;;
deploy)
    # Which packages have docker and compose depends on the release; the older compose stands alone.
    wanted=(docker.io:dockerd debootstrap:debootstrap systemd:systemd-analyze python3:python3 curl:curl)
    docker compose version >/dev/null 2>&1 || wanted+=(docker-compose:docker-compose)
    needed=(dockerd docker debootstrap systemd-analyze python3 curl)
    ;;
*)
    echo "usage: system-packages.sh run|test|bench|bench-cluster|deploy" >&2
    exit 2
    ;;
esac

have() { command -v "$1" >/dev/null 2>&1; }

# The packages of which a command is missing.
missing_packages() {
    local entry command commands
    for entry in "${wanted[@]}"; do
        IFS=, read -ra commands <<<"${entry#*:}"
        for command in "${commands[@]}"; do
            if ! have "$command"; then
                echo "${entry%%:*}"
                break
            fi
        done
    done
    # Libraries that qemu loads: package:files.
    for entry in ${wanted_files[@]+"${wanted_files[@]}"}; do
        IFS=, read -ra commands <<<"${entry#*:}"
        for command in "${commands[@]}"; do
            if ! compgen -G "/usr/lib/*/qemu/$command" >/dev/null; then
                echo "${entry%%:*}"
                break
            fi
        done
    done
}

# The needs that nothing here meets.
unmet_needs() {
    local need choice choices
    for need in ${needed[@]+"${needed[@]}"}; do
        IFS='|' read -ra choices <<<"$need"
        for choice in "${choices[@]}"; do
            have "$choice" && continue 2
        done
        echo "${need//|/ or }"
    done
}

install() {
    local as_root=() available=() package
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    apt() {
        ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
            apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" </dev/null
    }

    # Often the lists are there and fresh; where they are not (a container's image has none), fetch them, once.
    apt install -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    say 'fetching the package lists first'
    apt update >/dev/null || say 'the package lists could not be refreshed; going on with what is there'
    for package in "$@"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            available+=("$package")
        else
            say "this system's sources have no $package"
        fi
    done
    [ ${#available[@]} -eq 0 ] || apt install -y --no-install-recommends "${available[@]}" >/dev/null
}

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! have apt-get; then
    say "not a Debian system, so nothing is installed here; missing: ${missing[*]} (by Debian's names)"
elif [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
    say "missing, and not installed without root: ${missing[*]}"
    say "  sudo apt-get install ${missing[*]}"
else
    say "installing ${missing[*]} (apt-get)"
    install "${missing[@]}" || say 'apt-get failed'
    hash -r
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || exit 0
    say "still missing: ${missing[*]}"
fi

mapfile -t unmet < <(unmet_needs)
if [ ${#unmet[@]} -gt 0 ]; then
    say "cannot $purpose without: $(printf '%s; ' "${unmet[@]}" | sed 's/; $//')" >&2
    exit 1
fi
say "optional for $purpose; going on without"
