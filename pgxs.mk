# The PostgreSQL extension, built by PGXS: make -f pgxs.mk [all|install|installcheck]
#
# installcheck wants a running server with shared_preload_libraries = 'streamhouse' and an empty
# streamhouse.database; PGHOST and PGPORT say where it is.

EXTENSION = extension/streamhouse
MODULE_big = streamhouse
OBJS = extension/module.o extension/settings.o extension/clock.o extension/drop_guard.o extension/session.o bgworkers/launcher.o bgworkers/loop.o bgworkers/lease.o \
       bgworkers/retention.o \
       extension/schema_glue.o extension/schema_budget.o extension/schema_cache.o extension/schema_call.o extension/schema_diff.o \
       core/status.o $(patsubst %.c,%.o,$(sort $(wildcard schema/*.c))) schema/proto_shim.o
SHLIB_LINK = -ljansson -lpcre2-8 -luriparser -lprotobuf -lstdc++
DATA_built = extension/streamhouse--0.1.0.sql
EXTRA_CLEAN = $(OBJS:.o=.d)

PG_CONFIG ?= pg_config
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -DHASH_NONFATAL_OOM=1 -I$(CURDIR)
PG_CFLAGS = -MMD -MP -std=gnu11 -Wextra -Wshadow -Wconversion -Werror \
            -Wno-declaration-after-statement -Wno-unused-parameter
override with_llvm = no

# PG_SUITE=regress or PG_SUITE=isolation runs one of the two.
PG_SUITE ?= regress isolation
REGRESS_USER ?= postgres
REGRESS = $(if $(filter regress,$(PG_SUITE)), \
    install decisions topics alter placement agents retire ticks clock changes epochs takeover force_seal drain publish producers read times retention garbage compaction scrub store marker \
    snapshot terms health views schema_register schema_delete schema_settings schema_compat schema_topics roles dump worker)
REGRESS_OPTS = --user=$(REGRESS_USER)
ISOLATION = $(if $(filter isolation,$(PG_SUITE)), \
    two_incarnations racing_publishes lost_reply out_of_order drop_while_publishing claim_and_late_publish claim_and_presenting late_publishes void_twice \
    init_producer rebuild_and_workers notify takeover racing_grants open_transaction open_snapshot old_transaction retention abandoned racing_schemas comparing_schemas \
    delete_referenced_schema)
ISOLATION_OPTS = --inputdir=tests/isolation --user=$(REGRESS_USER) --load-extension=streamhouse

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error No pg_config: install postgresql-server-dev-15, or say PG_CONFIG=/path/to/pg_config)
endif
include $(PGXS)
-include $(OBJS:.o=.d)

# The one shim of C++, over libprotobuf's parser.
schema/%.o: schema/%.cc
	$(CXX) -std=gnu++17 -O2 -g -Wall -Wextra -Wshadow -Wconversion -Werror -MMD -MP -I. -fPIC -c -o $@ $<

extension/streamhouse--0.1.0.sql: $(sort $(wildcard extension/sql/*.sql))
	{ printf '%s\n' '\echo Use "CREATE EXTENSION streamhouse" to load this file. \quit'; cat $^; } > $@.tmp
	mv $@.tmp $@
