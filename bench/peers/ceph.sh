#!/usr/bin/env bash
# bench/peers/ceph.sh up|down DIR SOCKET BYTES: Ceph with a monitor and two OSDs (bluestore, each on a file) on loopback, a pool of
# size 2 that answers when both have it, behind a qemu-nbd that reaches it by librbd. No passwords and no manager: they serve no
# request.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export CEPH_CONF=$dir/ceph.conf

# The lines of ceph.conf.
settings() {
    local monitor
    monitor="[v2:127.0.0.1:$(free_port),v1:127.0.0.1:$(free_port)]"
    echo "$monitor" >"$dir/monitor"
    echo '[global]'
    printf '%s\n' "fsid = $(cat /proc/sys/kernel/random/uuid)" "mon_host = $monitor" 'public_addr = 127.0.0.1' 'cluster_addr = 127.0.0.1' \
        'auth_cluster_required = none' 'auth_service_required = none' 'auth_client_required = none' \
        'osd_pool_default_size = 2' 'osd_pool_default_min_size = 2' 'osd_pool_default_pg_autoscale_mode = off' \
        'osd_crush_chooseleaf_type = 0' 'osd_max_pg_per_osd_hard_ratio = 10' 'mon_warn_on_insecure_global_id_reclaim_allowed = false' \
        "mon_data = $dir/mon" "osd_data = $dir/osd.\$id" "run_dir = $dir" "log_file = $dir/\$name.log" "pid_file = $dir/\$name.pid" \
        "admin_socket = $dir/\$name.\$pid.asok" "keyring = $dir/keyring" 'debug_ms = 0' \
        'osd_objectstore = bluestore' "bluestore_block_size = $((2 * bytes))" 'bluestore_block_create = true' \
        'bluestore_block_db_create = false' 'bluestore_block_wal_create = false' 'osd_memory_target = 1500000000'
}

up() {
    local number id
    mkdir -p "$dir/mon"
    settings >"$CEPH_CONF"
    monmaptool --create --clobber --fsid "$(awk '$1 == "fsid" { print $3 }' "$CEPH_CONF")" --addv a "$(cat "$dir/monitor")" "$dir/map"
    ceph-mon -i a --mkfs --monmap "$dir/map"
    ceph-mon -i a
    for number in 0 1; do
        id=$(cat /proc/sys/kernel/random/uuid)
        mkdir -p "$dir/osd.$number"
        timeout 60 ceph osd new "$id" $number
        ceph-osd -i $number --mkfs --osd-uuid "$id"
        ceph-osd -i $number
    done
    timeout 60 ceph osd pool create rbd 16 16
    await 'timeout 5 ceph osd stat | grep -q "2 up"'
    timeout 60 rbd create --size "$((bytes >> 20))" --image-feature layering rbd/disk
    front --format=raw "rbd:rbd/disk:conf=$CEPH_CONF"
} >"$log" 2>&1

# An OSD closes its store for some seconds.
down() { end_all "$dir/front.pid" "$dir"/osd.?.pid "$dir/mon.a.pid"; } >"$log" 2>&1

"$action"
