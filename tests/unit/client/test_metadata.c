/* The cache of owners: epochs never go back, damaged answers are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "client/metadata.h"

/* An answer about topic "t" with two partitions, of which the second has no owner. */
typedef struct Answer {
    uint8_t topic_id[16];
    Streamhouse__V1__Owner owner;
    Streamhouse__V1__PartitionMetadata partitions[2];
    Streamhouse__V1__PartitionMetadata *partition_list[2];
    Streamhouse__V1__TopicMetadata topic;
    Streamhouse__V1__TopicMetadata *topics[1];
    Streamhouse__V1__AgentInfo agent;
    Streamhouse__V1__AgentInfo *agents[1];
    Streamhouse__V1__PartitionError missing;
    Streamhouse__V1__MetadataResponse message;
} Answer;

static char *text(const char *value)
{
    return (char *)(uintptr_t)value;
}

static void make_answer(Answer *answer, const char *owner, int64_t epoch, uint8_t id)
{
    *answer = (Answer){.topic_id = {id}};
    streamhouse__v1__owner__init(&answer->owner);
    streamhouse__v1__topic_metadata__init(&answer->topic);
    streamhouse__v1__agent_info__init(&answer->agent);
    streamhouse__v1__metadata_response__init(&answer->message);
    streamhouse__v1__partition_error__init(&answer->missing);
    for (int i = 0; i < 2; i++) {
        streamhouse__v1__partition_metadata__init(&answer->partitions[i]);
        answer->partitions[i].partition = i;
        answer->partition_list[i] = &answer->partitions[i];
    }
    answer->owner.address = text(owner);
    answer->owner.epoch = epoch;
    answer->partitions[0].owner = &answer->owner;
    answer->topic.name = text("t");
    answer->topic.durability = text("wal");
    answer->topic.topic_id = (ProtobufCBinaryData){16, answer->topic_id};
    answer->topic.partitions = answer->partition_list;
    answer->topic.n_partitions = 2;
    answer->topics[0] = &answer->topic;
    answer->agent.address = text("z:9");
    answer->agents[0] = &answer->agent;
    answer->message.topics = answer->topics;
    answer->message.n_topics = 1;
    answer->message.agents = answer->agents;
    answer->message.n_agents = 1;
}

static void owners_are_replaced_by_equal_or_higher_epochs_only(void **state)
{
    (void)state;
    ShMetadata metadata = {0};
    Answer answer;
    ShPartitionOwner owner;
    make_answer(&answer, "a:1", 5, 1);
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_OK);
    assert_true(sh_metadata_owner(&metadata, "t", 0, &owner));
    assert_string_equal(owner.address, "a:1");
    assert_false(sh_metadata_owner(&metadata, "t", 1, &owner));
    assert_false(sh_metadata_owner(&metadata, "t", 2, &owner));
    assert_false(sh_metadata_owner(&metadata, "u", 0, &owner));

    assert_false(sh_metadata_learn_owner(&metadata, "t", 0, &(ShPartitionOwner){"b:2", 4}));
    assert_true(sh_metadata_learn_owner(&metadata, "t", 0, &(ShPartitionOwner){"b:2", 6}));
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL),
                     SH_OK); /* an old answer, arriving late */
    assert_true(sh_metadata_owner(&metadata, "t", 0, &owner));
    assert_string_equal(owner.address, "b:2");

    make_answer(&answer, "c:3", 1, 2); /* another topic of the same name begins anew */
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_OK);
    assert_true(sh_metadata_owner(&metadata, "t", 0, &owner));
    assert_string_equal(owner.address, "c:3");
    sh_metadata_free(&metadata);
}

static void agents_of_the_zone_are_preferred(void **state)
{
    (void)state;
    ShMetadata metadata = {.zone = "here"};
    Answer answer;
    ShPartitionOwner owner;
    make_answer(&answer, "", 0, 1);
    answer.topic.durability = text("object");
    Streamhouse__V1__AgentInfo others[2] = {answer.agent, answer.agent};
    Streamhouse__V1__AgentInfo *agents[] = {&answer.agent, &others[0], &others[1]};
    others[0].address = text("y:8");
    others[1].address = text("x:7");
    others[1].zone = text("here");
    answer.message.agents = agents;
    answer.message.n_agents = 3;
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_OK);
    for (int partition = 0; partition < 2; partition++) {
        assert_true(sh_metadata_owner(&metadata, "t", partition, &owner));
        assert_string_equal(owner.address, "x:7");
    }
    assert_int_equal(metadata.agent_count, 3); /* the others may still be asked */

    others[1].zone = text("there");
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_OK);
    assert_true(sh_metadata_owner(&metadata, "t", 1, &owner));
    assert_string_equal(owner.address, "y:8");
    sh_metadata_free(&metadata);
}

static void any_agent_takes_an_object_topic(void **state)
{
    (void)state;
    ShMetadata metadata = {0};
    Answer answer;
    ShPartitionOwner owner;
    make_answer(&answer, "", 0, 1);
    answer.topic.durability = text("object");
    answer.partitions[0].owner = NULL;
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_OK);
    assert_true(sh_metadata_owner(&metadata, "t", 1, &owner));
    assert_string_equal(owner.address, "z:9");
    sh_metadata_free(&metadata);
}

static void missing_topics_are_forgotten(void **state)
{
    (void)state;
    ShMetadata metadata = {0};
    Answer answer;
    make_answer(&answer, "a:1", 5, 1);
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_OK);
    answer.topic.error = &answer.missing;
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_OK);
    assert_null(sh_metadata_find(&metadata, "t"));
    sh_metadata_free(&metadata);
}

static void damaged_answers_are_refused(void **state)
{
    (void)state;
    ShMetadata metadata = {0};
    Answer answer;
    make_answer(&answer, "a:1", 5, 1);
    answer.partitions[1].partition = 2;
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_CORRUPT);
    answer.partitions[1].partition = -1;
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_CORRUPT);
    make_answer(&answer, "a:1", 5, 1);
    answer.topic.topic_id.len = 15;
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_CORRUPT);
    make_answer(&answer, "a:1", 5, 1);
    answer.topic.n_partitions = 0;
    assert_int_equal(sh_metadata_update(&metadata, &answer.message, NULL), SH_CORRUPT);
    sh_metadata_free(&metadata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_are_replaced_by_equal_or_higher_epochs_only),
        cmocka_unit_test(any_agent_takes_an_object_topic),
        cmocka_unit_test(agents_of_the_zone_are_preferred),
        cmocka_unit_test(missing_topics_are_forgotten),
        cmocka_unit_test(damaged_answers_are_refused),
    };
    return cmocka_run_group_tests_name("metadata", tests, NULL, NULL);
}
