// link: client/protobuf.c client/messages.c
/* What a server may answer: no bytes make the client's wire code read out of bounds or loop. */
#include "client/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ShProduceAnswer answer;
    (void)!sh_message_get_produced(data, size, &answer, NULL);
    for (size_t i = 0; i < answer.misfit_count; i++)
        if (answer.misfits[i].reason_length > 0 &&
            (answer.misfits[i].reason < data ||
             answer.misfits[i].reason + answer.misfits[i].reason_length > data + size))
            __builtin_trap();
    sh_message_free_produced(&answer);

    ShProtobufReader reader = sh_protobuf_reader(data, size);
    ShFetchedPart part;
    bool more = true;
    while (more && sh_message_next_fetched(&reader, &part, &more, NULL) == SH_OK && more) {
        /* What is borrowed lies inside the message. */
        if (part.batches_length > 0 &&
            (part.batches < data || part.batches + part.batches_length > data + size))
            __builtin_trap();
        if (part.topic_length > 0 && (part.topic < data || part.topic + part.topic_length > data + size))
            __builtin_trap();
    }
    return 0;
}
