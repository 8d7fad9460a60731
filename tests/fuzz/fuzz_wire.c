// link: agent/rpc/wire.c
/* The protobuf reader of ProduceRequests on arbitrary bytes: every partition, record and header is walked. */
#include <assert.h>

#include "agent/rpc/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_headers(const ShWireRecord *record)
{
    ShWireReader reader = sh_wire_reader(record->body.data, record->body.length);
    ShWireHeader header;
    bool more = true;
    size_t count = 0;
    while (sh_wire_next_header(&reader, &header, &more, NULL) == SH_OK && more) {
        assert(sh_wire_is_utf8(header.key.data, header.key.length));
        count++;
    }
    assert(count <= record->header_count);
}

static void walk_records(const ShWirePartition *partition)
{
    ShWireReader reader = sh_wire_reader(partition->body.data, partition->body.length);
    ShWireRecord record;
    bool more = true;
    size_t count = 0;
    while (sh_wire_next_record(&reader, &record, &more, NULL) == SH_OK && more) {
        walk_headers(&record);
        count++;
    }
    assert(count <= partition->record_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t request_id;
    ShWireReader reader = sh_wire_reader(data, size);
    ShWirePartition partition;
    bool more = true;
    while (sh_wire_next_partition(&reader, &partition, &request_id, &more, NULL) == SH_OK && more) {
        assert(partition.batches.length <= size);
        assert(partition.body.data >= data && partition.body.data + partition.body.length <= reader.next);
        walk_records(&partition);
    }
    return 0;
}
