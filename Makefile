# StreamHouse: one front door. `make help` lists the targets.

include mk/build.mk

.DEFAULT_GOAL := all
.PHONY: help deps deps-test all install up down purge psql quickstart test test-dba test-sanitized mutants chaos bench clean

SUDO = $(if $(filter 0,$(shell id -u)),,sudo)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make deps         install the Debian packages that building and running need
deps:
	@deploy/install-packages.sh build run
deps-test:
	@deploy/install-packages.sh build run test

## make all          build the agent, the command, the client library and the extension
all: programs
	@$(MAKE) --no-print-directory -f pgxs.mk all

## make install      install the extension into PostgreSQL (needs root or sudo)
install: all
	@$(SUDO) $(MAKE) --no-print-directory -s -f pgxs.mk install

## make quickstart   install, build, start PostgreSQL and an agent, stream real data through, show the result
quickstart:
	@deploy/install-packages.sh build run
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@$(MAKE) --no-print-directory -s install
	@deploy/local/quickstart.sh

## make up           start the private PostgreSQL and the agent of this checkout
up: install
	@deploy/local/up.sh
## make down         stop them
down:
	@deploy/local/down.sh
## make purge        stop them and remove their data
purge:
	@deploy/local/down.sh --purge
## make psql         psql to the private PostgreSQL
psql:
	@bash -c '. deploy/local/lib.sh; load_env || fail "nothing runs here; start it with make up"; psql_admin'

## make test         install what the tests need and run every layer; LAYER=name runs one
test: deps-test
	@tests/run.sh $(LAYER)

## make test-dba     dumps, backups, standbys, limits and odd settings (tests/dba/README.md)
test-dba: deps-test
	@tests/run.sh build dba

## make test-sanitized  every integration test under AddressSanitizer and ThreadSanitizer (make test runs a choice of them)
test-sanitized: deps-test
	@tests/run.sh build asan_all tsan_all

## make mutants      change decisions and bounds one at a time: a test must fail for each; SEED=, COUNT=, ONLY=, KNOWN=, JOBS=
mutants: deps-test
	@deploy/install-packages.sh mutants
	@tests/mutants/run.py --seed $(or $(SEED),1) --count $(or $(COUNT),150) --jobs $(or $(JOBS),$$(nproc)) $(if $(ONLY),--only $(ONLY)) $(if $(KNOWN),--known $(KNOWN))

## make chaos        hurt a cluster and judge what its clients saw; SEED=, SEEDS=, SECONDS=, MINUTES=, SETUP=, JOBS=
chaos: deps-test
	@$(MAKE) --no-print-directory -s -j$$(nproc) programs
	@$(MAKE) --no-print-directory -s install
	@/usr/bin/python3 tests/chaos/run.py --seed $(or $(SEED),1) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES)) \
	    $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SETUP),--setup $(SETUP)) $(if $(JOBS),--jobs $(JOBS))

## make test-stores  the S3 journey against radosgw and versitygw; ONLY="seaweedfs" runs others
.PHONY: test-stores
test-stores: STORES = $(or $(ONLY),radosgw versitygw)
test-stores: deps-test
	@tests/stores/build.sh $(STORES)
	@$(MAKE) --no-print-directory -s -j$$(nproc) programs build/release/tests/unit/agent/store/test_s3_server
	@$(MAKE) --no-print-directory -s install
	@STREAMHOUSE_TEST_STORES="$(STORES)" /usr/bin/python3 -m pytest -q -p no:cacheprovider tests/stores

## make bench        measure; ONLY=name runs one
bench:
	@deploy/install-packages.sh build run
	@$(MAKE) --no-print-directory -s -j$$(nproc) all benches
	@$(MAKE) --no-print-directory -s install
	@bench/run.sh $(ONLY)

## make clean        remove what was built
clean:
	rm -rf build results output_iso
	@$(MAKE) --no-print-directory -s -f pgxs.mk clean

## make format       lay out the C code by .clang-format
.PHONY: format
format:
	@deploy/install-packages.sh format
	@git ls-files '*.c' '*.h' | grep -v '/vectors' | xargs clang-format -i
