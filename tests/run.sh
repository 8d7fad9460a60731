#!/bin/bash
# Run the tests in layers; every layer says what passed, what failed, how long it took and what it may take.
#
#   tests/run.sh [LAYER...]     all layers, or those named: layout build units sql isolation integration chaos clients
#                               instructions fuzz asan tsan; and those left out of "all": dba asan_all tsan_all
#
# The closing line is "N passed, N failed"; the exit status is 1 when anything failed. Logs of failed layers are printed,
# all of them stay in build/test-logs/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

LAYERS=${*:-layout build units sql isolation integration chaos clients instructions fuzz asan tsan}
LOGS=$PWD/build/test-logs
JOBS=$(nproc)
passed=0
failed=0
mkdir -p "$LOGS"

# --- services that several layers share: one PostgreSQL, one S3 server

SERVICES=$(mktemp -d /tmp/sh-services-XXXXXX)
chmod 755 "$SERVICES"
stop_services() {
    [ ! -d "$SERVICES/pg" ] || tests/harness/postgres.sh stop "$SERVICES/pg"
    [ ! -d "$SERVICES/rgw" ] || tests/harness/radosgw.sh stop "$SERVICES/rgw"
    rm -rf "$SERVICES"
}
trap stop_services EXIT

need_postgres() {
    [ -n "${STREAMHOUSE_TEST_PG:-}" ] && return
    STREAMHOUSE_DATABASE='' tests/harness/postgres.sh start "$SERVICES/pg" || return 1
    . "$SERVICES/pg/env"
}
need_s3() {
    [ -n "${STREAMHOUSE_TEST_S3_ENDPOINT:-}" ] && return
    tests/harness/radosgw.sh start "$SERVICES/rgw" >"$LOGS/radosgw.log" 2>&1 || { tail -20 "$LOGS/radosgw.log"; return 1; }
    set -a
    . "$SERVICES/rgw/env"
    set +a
}

# --- layers: each writes its own words to stdout and sets good and bad

# One program that speaks TAP, with its log and its exit status beside it.
run_unit() {
    local log=$LOGS/$1-$(basename "$2").log
    ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1 \
        CMOCKA_MESSAGE_OUTPUT=TAP timeout 300 "$2" >"$log" 2>&1 </dev/null
    echo $? >"$log.status"
}
export LOGS
export -f run_unit

# One line "ok" or "not ok" a test. A program that dies early counts as one failure. As many run side by side as there are
# cores, but for those that share a database.
run_units() {
    local variant=$1 program name log status programs not_ok
    need_postgres && need_s3 || { bad=1; return; }
    programs=$(make -s VARIANT="$variant" print-unit-tests)
    grep -v /agent/pg/ <<<"$programs" | xargs -P "$JOBS" -I {} bash -c "run_unit $variant {}"
    grep /agent/pg/ <<<"$programs" | xargs -I {} bash -c "run_unit $variant {}"
    for program in $programs; do
        name=$(basename "$program")
        log=$LOGS/$variant-$name.log
        status=$(cat "$log.status")
        good=$((good + $(grep -c '^ok ' "$log")))
        not_ok=$(grep -c '^not ok ' "$log")
        [ "$status" = 0 ] || [ "$not_ok" != 0 ] || not_ok=1
        bad=$((bad + not_ok))
        [ "$status" = 0 ] || { echo "--- $variant $name (status $status)"; grep -v '^ok ' "$log" | tail -60; }
    done
}

# pytest's closing words, such as "3 failed, 40 passed in 12.3s".
run_pytest() {
    local variant=$1 log=$LOGS/pytest-$1.log
    shift
    need_s3 || { bad=1; return; }
    STREAMHOUSE_TEST_VARIANT=$variant /usr/bin/python3 -m pytest -q --maxfail=5 -p no:cacheprovider "$@" >"$log" 2>&1
    local status=$?
    good=$(tail -1 "$log" | sed -n 's/.*\b\([0-9]\+\) passed.*/\1/p')
    bad=$(tail -5 "$log" | sed -n 's/.*\b\([0-9]\+\) \(failed\|error\).*/\1/p' | awk "{ n += \$1 } END { print n + 0 }")
    good=${good:-0} bad=${bad:-0}
    [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    [ "$status" = 0 ] || tail -120 "$log"
}

layer_layout() {
    local check
    for check in layout reference; do
        if /usr/bin/python3 "tests/check_$check.py"; then good=$((good + 1)); else bad=$((bad + 1)); fi
    done
    if bench/figures.py --check; then good=$((good + 1)); else bad=$((bad + 1)); fi
}

layer_build() {
    make -s -j"$JOBS" programs unit-tests benches >"$LOGS/build.log" 2>&1 && make -s install >>"$LOGS/build.log" 2>&1 \
        && good=1 || { bad=1; tail -40 "$LOGS/build.log"; }
}

layer_units() { run_units release; }

# pg_regress and the isolation tester say "ok" and "FAILED", or in later versions TAP.
run_pg_suite() {
    local log=$LOGS/$1.log
    need_postgres || { bad=1; return; }
    make -s -f pgxs.mk installcheck PG_SUITE="$1" >"$log" 2>&1
    local status=$?
    good=$(grep -cE '^(test .*\.\.\. ok|ok )' "$log")
    bad=$(grep -cE '^(test .*\.\.\. FAILED|not ok )' "$log")
    [ "$status" = 0 ] || { [ "$bad" != 0 ] || bad=1; tail -40 "$log"; find . -name regression.diffs -exec head -100 {} +; }
}
layer_sql() { run_pg_suite regress; }
layer_isolation() { run_pg_suite isolation; }

# Most of their time is waiting, so four run side by side, each on a PostgreSQL of its own.
run_integration() {
    local variant=$1
    shift
    run_pytest "$variant" -n 4 --dist load "${@/#/tests/integration/}"
}
layer_integration() { run_integration release ""; }
layer_chaos() { run_pytest release tests/chaos; }
layer_dba() { run_pytest release -n 2 --dist load tests/dba; }
layer_clients() { run_pytest release tests/clients; }

# Says "ok" or "not ok" of each committed figure.
layer_instructions() {
    local log=$LOGS/instructions.log status
    make -s -j"$JOBS" programs >"$log" 2>&1 && bench/instructions/measure.py --check --functions 25 >"$log" 2>&1
    status=$?
    good=$(grep -c '^ok ' "$log")
    bad=$(grep -c '^not ok ' "$log")
    [ "$status" = 0 ] || { [ "$bad" != 0 ] || bad=1; tail -120 "$log"; }
}

# By one seed, so that two runs of one commit go the same way; FUZZ_SEED=0 draws another, FUZZ_SECONDS hunts longer.
run_fuzzer() {
    local name seeds
    name=$(basename "$1")
    seeds=tests/fuzz/corpus/${name#fuzz_}
    [ -d "$seeds" ] || seeds=
    mkdir -p "build/fuzz/corpus/$name"
    "$1" -seed="${FUZZ_SEED:-1}" -max_total_time="${FUZZ_SECONDS:-8}" -rss_limit_mb=4096 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="$LOGS/$name-" "build/fuzz/corpus/$name" $seeds >"$LOGS/$name.log" 2>&1
    echo $? >"$LOGS/$name.status"
}
export -f run_fuzzer
layer_fuzz() {
    local targets target name
    make -s -j"$JOBS" fuzzers >"$LOGS/fuzz-build.log" 2>&1 || { bad=1; tail -40 "$LOGS/fuzz-build.log"; return; }
    targets=$(find build/fuzz -maxdepth 1 -name 'fuzz_*' -type f -executable)
    xargs -P "$JOBS" -I {} bash -c "run_fuzzer {}" <<<"$targets"
    for target in $targets; do
        name=$(basename "$target")
        if [ "$(cat "$LOGS/$name.status")" = 0 ]; then good=$((good + 1)); else bad=$((bad + 1)); tail -40 "$LOGS/$name.log"; fi
    done
}

# What the sanitizers look for is in the agent and its threads: of the integration tests, those run under them that drive
# most of that. "make test-sanitized" runs them all.
ASAN_FILES=(test_bad_input.py test_cli.py test_crash.py test_damaged_wal.py test_doors.py test_failover.py test_garbage.py
    test_idempotence.py test_journey.py test_reading.py test_s3.py test_schema_registry.py test_schema_validation.py
    test_surface.py)
TSAN_FILES=(test_crash.py test_doors.py test_failover.py test_garbage.py test_handover.py test_idempotence.py test_journey.py
    test_reading.py test_schema_validation.py test_surface.py test_throttle.py)

run_instrumented() {
    make -s -j"$JOBS" VARIANT="$1" programs unit-tests >"$LOGS/build-$1.log" 2>&1 || { bad=1; tail -40 "$LOGS/build-$1.log"; return; }
    run_units "$1"
    local units_good=$good units_bad=$bad
    run_integration "$@"
    good=$((good + units_good)) bad=$((bad + units_bad))
}
layer_asan() { run_instrumented asan "${ASAN_FILES[@]}"; }
layer_tsan() { run_instrumented tsan "${TSAN_FILES[@]}"; }
layer_asan_all() { run_instrumented asan ""; }
layer_tsan_all() { run_instrumented tsan ""; }

# Seconds that each layer may take on two cores of its own; over it the layer says so and fails. CI, whose machine may
# be busy, allows twice as many.
declare -A BUDGET=([layout]=10 [build]=180 [units]=120 [sql]=60 [isolation]=75 [integration]=380 [chaos]=120 [clients]=60 [dba]=600 [instructions]=90
    [fuzz]=135 [asan]=500 [tsan]=600 [asan_all]=1200 [tsan_all]=1500)

for layer in $LAYERS; do
    declare -F "layer_$layer" >/dev/null || { echo "tests/run.sh: no layer $layer" >&2; exit 2; }
    good=0 bad=0 started=$SECONDS
    "layer_$layer"
    [ $((good + bad)) -gt 0 ] || { echo "the layer ran no test"; bad=1; }
    took=$((SECONDS - started))
    if [ "$took" -gt "${BUDGET[$layer]}" ]; then
        echo "the layer took $took s of its ${BUDGET[$layer]} s"
        [ "${CI:-}" = true ] && [ "$took" -le $((2 * BUDGET[$layer])) ] || bad=$((bad + 1))
    fi
    printf '%-12s %4d passed %4d failed %4d s (budget %d s)\n' "$layer" "$good" "$bad" "$took" "${BUDGET[$layer]}"
    passed=$((passed + good)) failed=$((failed + bad))
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
