# How the C programs are built. One variant per directory: build/release, build/asan, build/tsan.
#
#   make build/release/streamhouse-agent     one target
#   make VARIANT=asan all                    everything, instrumented

VARIANT ?= release
B := build/$(VARIANT)
GEN := build/gen

CC ?= gcc
PKGS := grpc libprotobuf-c libcurl openssl libpq libmicrohttpd jansson yaml-0.1 libedit liblz4 libzstd snappy zlib libisal expat libpcre2-8 liburiparser
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')
# Asked for once, when the first program is linked: it takes pkg-config a third of a second.
PKG_LIBS = $(eval PKG_LIBS := $(shell pkg-config --libs $(PKGS)) -lprotobuf -lstdc++)$(PKG_LIBS)

OPT_release := -O2 -g
OPT_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT_tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer

# Initialisers in protobuf-c's generated headers lack braces.
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-missing-braces -Werror
# HASH_NONFATAL_OOM: uthash leaves out what it finds no memory for (its hh.tbl is NULL then), and does not end the process.
CFLAGS_ALL = -std=gnu11 $(WARN) $(OPT_$(VARIANT)) -MMD -MP -D_GNU_SOURCE -DHASH_NONFATAL_OOM=1 -I. -I$(GEN) $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = $(OPT_$(VARIANT)) $(LDFLAGS)

obj = $(patsubst %.c,$(B)/%.o,$(1))

CORE_OBJS := $(call obj,$(wildcard core/*.c))
SCHEMA_OBJS := $(call obj,$(wildcard schema/*.c)) $(patsubst %.cc,$(B)/%.o,$(wildcard schema/*.cc))
PROTO_OBJS := $(B)/gen/proto/streamhouse.pb-c.o $(B)/gen/proto/descriptor.o
AGENT_OBJS := $(call obj,$(wildcard agent/base/*.c agent/wal/*.c agent/store/*.c agent/pg/*.c agent/schema/*.c agent/log/*.c \
	agent/rpc/*.c agent/http/*.c agent/registry/*.c))
CLIENT_OBJS := $(call obj,$(wildcard client/*.c))
CLI_OBJS := $(call obj,$(wildcard cli/*.c))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(shell find tests/unit -name 'test_*.c' 2>/dev/null))
BENCHES := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/bench_*.c))
BENCH_COMMON_OBJS := $(call obj,$(filter-out $(wildcard bench/bench_*.c),$(wildcard bench/*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

PROGRAMS := $(if $(wildcard agent/main.c),$(B)/streamhouse-agent) $(if $(wildcard cli/main.c),$(B)/streamhouse)

.SECONDARY:
.PHONY: programs unit-tests benches fuzzers
programs: $(PROGRAMS) $(B)/libstreamhouse.so
unit-tests: $(UNIT_TESTS)
benches: $(BENCHES)
fuzzers: $(FUZZERS)

# --- the contract: C messages and the descriptor set that server reflection serves
$(GEN)/proto/streamhouse.pb-c.c $(GEN)/proto/streamhouse.pb-c.h &: proto/streamhouse.proto
	@mkdir -p $(GEN)/proto
	protoc-c --c_out=$(GEN)/proto -I proto proto/streamhouse.proto
$(GEN)/proto/streamhouse.desc: proto/streamhouse.proto proto/health.proto
	@mkdir -p $(GEN)/proto
	protoc --include_imports --descriptor_set_out=$@ -I proto streamhouse.proto health.proto
$(GEN)/proto/descriptor.c: $(GEN)/proto/streamhouse.desc
	{ echo '#include "proto/descriptor.h"'; \
	  echo 'const unsigned char sh_proto_descriptor_set[] = {'; xxd -i < $<; echo '};'; \
	  echo 'const unsigned long sh_proto_descriptor_set_bytes = sizeof sh_proto_descriptor_set;'; } > $@.tmp && mv $@.tmp $@

$(B)/gen/%.o: $(GEN)/%.c | $(GEN)/proto/streamhouse.pb-c.h
	@mkdir -p $(@D)
	$(CC) $(filter-out -Wextra -Wconversion -Wshadow,$(CFLAGS_ALL)) -fPIC -c -o $@ $<

$(B)/%.o: %.c | $(GEN)/proto/streamhouse.pb-c.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fPIC -c -o $@ $<

# The one shim of C++, over libprotobuf's parser.
$(B)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) -std=gnu++17 -Wall -Wextra -Wshadow -Wconversion -Werror $(OPT_$(VARIANT)) -MMD -MP -I. -fPIC -c -o $@ $<

# Only what streamhouse.h marks SH_API leaves the library.
$(B)/client/%.o: CFLAGS_ALL += -fvisibility=hidden

$(B)/libcore.a: $(CORE_OBJS)
	@rm -f $@; ar rcs $@ $^
$(B)/libschema.a: $(SCHEMA_OBJS)
	@rm -f $@; ar rcs $@ $^
$(B)/libagent.a: $(AGENT_OBJS) $(PROTO_OBJS)
	@rm -f $@; ar rcs $@ $^
$(B)/libstreamhouse.a: $(CLIENT_OBJS) $(CORE_OBJS) $(PROTO_OBJS)
	@rm -f $@; ar rcs $@ $^

$(B)/libstreamhouse.so: $(CLIENT_OBJS) $(CORE_OBJS) $(PROTO_OBJS)
	$(CC) -shared $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread

$(B)/streamhouse-agent: $(B)/agent/main.o $(B)/libagent.a $(B)/libschema.a $(B)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread -lm
# Of the agent, the command takes the reading of a write-ahead log alone.
$(B)/streamhouse: $(CLI_OBJS) $(B)/libagent.a $(B)/libstreamhouse.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread

# What writes Avro apart from us; a test that has the allocation of memory fail.
$(B)/tests/unit/schema/test_avro_data: LIBS = -lavro
$(B)/tests/unit/agent/base/test_rounds: LIBS = -Wl,--wrap=calloc

# A unit test may use the agent, the client, the schemas and the core; it stands where its subject stands.
$(B)/tests/unit/schema/%: $(B)/tests/unit/schema/%.o $(B)/libschema.a $(B)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(B)/libschema.a $(B)/libcore.a $(PKG_LIBS) $(LIBS) -lcmocka -lpthread -lm
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libagent.a $(B)/libstreamhouse.a $(B)/libschema.a $(B)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(B)/libagent.a $(B)/libstreamhouse.a $(B)/libschema.a $(B)/libcore.a $(PKG_LIBS) $(LIBS) -lcmocka -lpthread -lm
$(B)/bench/%: $(B)/bench/%.o $(BENCH_COMMON_OBJS) $(B)/libagent.a $(B)/libstreamhouse.a $(B)/libschema.a $(B)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread -lm

# Fuzz targets: libFuzzer with ASan and UBSan, over the core and the agent's parsers.
FUZZ_CFLAGS := -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -D_GNU_SOURCE -DHASH_NONFATAL_OOM=1 -I. -I$(GEN)
build/fuzz/proto_shim.o: schema/proto_shim.cc schema/proto_model.h
	@mkdir -p $(@D)
	clang++ -std=gnu++17 $(filter-out -std=%,$(FUZZ_CFLAGS)) -fsanitize=fuzzer-no-link -fno-sanitize=vptr,function -c -o $@ $<
build/fuzz/fuzz_schema: build/fuzz/proto_shim.o
build/fuzz/%: tests/fuzz/%.c $(wildcard core/*.[ch] schema/*.[ch] agent/*/*.[ch] client/*.[ch]) | $(GEN)/proto/streamhouse.pb-c.h
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) $(PKG_CFLAGS) -o $@ $< $(eval FUZZ_LINK := $(shell sed -n 's,^// link: ,,p' tests/fuzz/$*.c))$(FUZZ_LINK) $(wildcard core/*.c) $(PKG_LIBS) -lpthread

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: print-unit-tests
print-unit-tests:
	@printf '%s\n' $(UNIT_TESTS)
