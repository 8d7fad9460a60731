#!/bin/bash
# A real S3 server for tests: Ceph radosgw on 127.0.0.1, from the Debian packages ceph-mon, ceph-osd,
# ceph-common and radosgw.
#
#   radosgw.sh start DIR    start one in the empty or new directory DIR; writes DIR/env and prints it
#   radosgw.sh stop DIR     end its processes and remove DIR
#
# DIR/env holds STREAMHOUSE_TEST_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY and _BUCKET (which exists), one a line, to be
# sourced. Buckets are also served as BUCKET.localhost. Objects are kept in memory; with RADOSGW_STORE=bluestore they
# are kept in DIR and survive the daemons' death. All ports are free ones; several servers may run side by side.
# Process ids are in DIR/{mon,osd,rgw}.pid, for tests that kill or stop one of them.
set -euo pipefail

readonly ACCESS_KEY=streamhouse-test
readonly SECRET_KEY=streamhouse/test+secret
readonly BUCKET=streamhouse-test
readonly EMPTY_SHA256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
readonly START_DEADLINE_S=120
readonly STOP_DEADLINE_S=10

main() {
    case "${1:-} ${2:+dir}" in
    'start dir') start "$2" ;;
    'stop dir') stop "$2" ;;
    *)
        echo "usage: $0 start|stop DIR" >&2
        exit 2
        ;;
    esac
}

start() {
    local program
    for program in ceph-mon ceph-osd ceph radosgw; do
        if ! command -v "$program" >/dev/null; then
            echo "$program is missing: apt-get install ceph-mon ceph-osd ceph-common radosgw" >&2
            exit 1
        fi
    done
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
    if [ -n "$(ls -A "$dir")" ]; then
        echo "$dir is not empty" >&2
        exit 1
    fi
    deadline=$((SECONDS + START_DEADLINE_S))
    export CEPH_CONF=$dir/ceph.conf
    mkdir "$dir/mon" "$dir/osd" "$dir/rgw" "$dir/log"
    trap 'failed' EXIT

    read -r mon_port rgw_port < <(free_ports)
    write_config
    make_keys
    start_monitor
    start_osd
    start_gateway
    trap - EXIT

    {
        echo "STREAMHOUSE_TEST_S3_ENDPOINT=http://127.0.0.1:$rgw_port"
        echo "STREAMHOUSE_TEST_S3_ACCESS_KEY=$ACCESS_KEY"
        echo "STREAMHOUSE_TEST_S3_SECRET_KEY=$SECRET_KEY"
        echo "STREAMHOUSE_TEST_S3_BUCKET=$BUCKET"
    } >"$dir/env"
    cat "$dir/env"
}

stop() {
    local name pid
    [ -d "$1" ] || return 0
    for name in rgw osd mon; do
        [ -f "$1/$name.pid" ] || continue
        pid=$(cat "$1/$name.pid")
        # The number may have passed on to another process: only one that was started on this directory is ours.
        if [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$(cd "$1" && pwd)/"; then
            kill -KILL "$pid" 2>/dev/null || true
            deadline=$((SECONDS + STOP_DEADLINE_S))
            await "the end of $name ($pid)" gone "$pid"
        fi
    done
    rm -rf "$1"
}

free_ports() {
    /usr/bin/python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))'
}

# The daemons talk over loopback, so nothing is encrypted; one copy of everything, one placement group a pool.
write_config() {
    fsid=$(cat /proc/sys/kernel/random/uuid)
    cat >"$dir/ceph.conf" <<END
[global]
fsid = $fsid
mon_host = v2:127.0.0.1:$mon_port
mon_initial_members = a
ms_bind_msgr1 = false
public_network = 127.0.0.0/8
keyring = $dir/keyring
ms_cluster_mode = crc
ms_service_mode = crc
ms_client_mode = crc
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_crit = 1
mon_data_avail_warn = 2
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_osd_min_up_ratio = 0
osd_crush_chooseleaf_type = 0
osd_class_load_list = *
osd_class_default_list = *
osd_objectstore = ${RADOSGW_STORE:-memstore}
memstore_device_bytes = 4294967296
bluestore_block_size = 8589934592
admin_socket = $dir/\$name.asok
log_file = $dir/log/\$name.log
crash_dir = $dir/crash
run_dir = $dir
[mon.a]
mon_data = $dir/mon
host = localhost
[osd.0]
osd_data = $dir/osd
host = localhost
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:$rgw_port tcp_nodelay=1
rgw_dns_name = localhost
rgw_data = $dir/rgw
rgw_enable_usage_log = false
rgw_thread_pool_size = 32
rgw_run_sync_thread = false
END
}

make_keys() {
    ceph-authtool -C "$dir/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
    local entity
    for entity in client.admin client.rgw osd.0; do
        ceph-authtool "$dir/keyring" --gen-key -n "$entity" --cap mon 'allow *' --cap osd 'allow *' >/dev/null
    done
}

start_monitor() {
    monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port]" "$dir/monmap" >/dev/null
    ceph-mon -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring" >"$dir/log/mon.mkfs" 2>&1
    daemon mon ceph-mon -i a -f
    await 'the monitor' timeout 5 ceph -s
}

start_osd() {
    local uuid
    uuid=$(cat /proc/sys/kernel/random/uuid)
    ceph osd new "$uuid" 0 >/dev/null
    ceph-osd -i 0 --mkfs --osd-uuid "$uuid" >"$dir/log/osd.mkfs" 2>&1
    daemon osd ceph-osd -i 0 -f
    await 'the OSD' osd_is_up
}

osd_is_up() {
    ceph osd stat | grep -q '1 up'
}

start_gateway() {
    # The user comes first: that also lays out the zone, so that the gateway finds it done.
    radosgw-admin -n client.rgw user create --uid=test --display-name=test --access-key="$ACCESS_KEY" \
        --secret-key="$SECRET_KEY" >"$dir/log/user" 2>&1
    daemon rgw radosgw -n client.rgw -f
    await 'the gateway and its bucket' create_bucket
}

create_bucket() {
    curl -sf --max-time 10 -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user "$ACCESS_KEY:$SECRET_KEY" \
        -H "x-amz-content-sha256: $EMPTY_SHA256" "http://127.0.0.1:$rgw_port/$BUCKET"
}

# daemon NAME COMMAND...: the configuration's path on the command line marks the process as ours.
daemon() {
    local name=$1
    shift
    setsid "$@" -c "$dir/ceph.conf" >"$dir/log/$name.out" 2>&1 </dev/null &
    echo $! >"$dir/$name.pid"
}

# await WHAT COMMAND...: run the command until it succeeds or the deadline has passed.
await() {
    local what=$1
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "waited in vain for $what" >&2
            return 1
        fi
        sleep 0.05
    done
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

failed() {
    echo "radosgw did not start; the ends of its logs:" >&2
    tail -n 5 "$dir"/log/* >&2 || true
    stop "$dir"
}

main "$@"
