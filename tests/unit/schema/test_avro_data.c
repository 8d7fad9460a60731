/* The binary form of Avro data: what fits a schema, what does not and where, and what avro-c writes. */
#define LANGUAGE SH_SCHEMA_AVRO

#include <avro.h>

#include "schema/avro_program.h"
#include "tests/unit/schema/schema_fixture.h"

/* What the program says yes to fits; it may say no to what is rare. */
static bool is_sure(const ShSchema *schema, const uint8_t *data, size_t bytes)
{
    const ShAvroSchema *avro = (const ShAvroSchema *)schema;
    ShError err;
    bool fits = sh_avro_fits(avro->program, data, bytes);
    if (fits)
        assert_int_equal(sh_avro_explain(avro->root, data, bytes, &err), SH_OK);
    return fits;
}

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t count = 0;
    for (const char *at = hex; *at != '\0'; at += 2) {
        unsigned byte;
        while (*at == ' ')
            at++;
        assert_int_equal(sscanf(at, "%2x", &byte), 1);
        out[count++] = (uint8_t)byte;
    }
    return count;
}

#define RECORD "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
#define LIST   RECORD "{\"name\":\"v\",\"type\":\"int\"},{\"name\":\"next\",\"type\":[\"null\",\"R\"]}]}"

static const struct {
    const char *schema;
    const char *hex;
    const char *fault; /* words of the message; NULL: it fits */
} cases[] = {
    {"\"null\"", "", NULL},
    {"\"null\"", "00", "1 bytes follow"},
    {"\"boolean\"", "00", NULL},
    {"\"boolean\"", "01", NULL},
    {"\"boolean\"", "02", "neither 0 nor 1"},
    {"\"boolean\"", "", "ends too early"},
    {"\"int\"", "00", NULL},
    {"\"int\"", "01", NULL},
    {"\"int\"", "feffffff0f", NULL},
    {"\"int\"", "ffffffff0f", NULL},
    {"\"int\"", "8080808010", "outside of 32 bits"},
    {"\"int\"", "80", "ends in a number"},
    {"\"int\"", "", "ends in a number"},
    {"\"long\"", "feffffffffffffffff01", NULL},
    {"\"long\"", "ffffffffffffffffff01", NULL},
    {"\"long\"", "ffffffffffffffffff02", "longer than 64 bits"},
    {"\"long\"", "ffffffffffffffffffff01", "longer than 64 bits"},
    {"\"float\"", "00000000", NULL},
    {"\"float\"", "000000", "ends too early"},
    {"\"double\"", "0000000000000000", NULL},
    {"\"double\"", "000000000000000000", "1 bytes follow"},
    {"\"bytes\"", "00", NULL},
    {"\"bytes\"", "04ff00", NULL},
    {"\"bytes\"", "04ff", "ends too early"},
    {"\"bytes\"", "03ff", "negative"},
    {"\"bytes\"", "feffffffffffffffff01", "ends too early"},
    {"\"string\"", "06666f6f", NULL},
    {"\"string\"", "04c3a4", NULL},
    {"\"string\"", "02ff", "not UTF-8"},
    {"\"string\"", "04c0af", "not UTF-8"},
    {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}", "010203", NULL},
    {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}", "0102", "ends too early"},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", "02", NULL},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", "04", "no such symbol"},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", "01", "no such symbol"},
    {"[\"null\",\"int\"]", "00", NULL},
    {"[\"null\",\"int\"]", "0202", NULL},
    {"[\"null\",\"int\"]", "04", "no such branch"},
    {"[\"null\",\"int\"]", "01", "no such branch"},
    {"[\"null\",\"int\"]", "02", "ends in a number"},
    {"[]", "00", "no such branch"},
    {"{\"type\":\"array\",\"items\":\"int\"}", "00", NULL},
    {"{\"type\":\"array\",\"items\":\"int\"}", "04 02 04 00", NULL},
    {"{\"type\":\"array\",\"items\":\"int\"}", "04 02 04 02 06 00", NULL},
    {"{\"type\":\"array\",\"items\":\"int\"}", "03 04 02 04 00", NULL},
    {"{\"type\":\"array\",\"items\":\"int\"}", "03 02 02 04 00", "not the size that it says"},
    {"{\"type\":\"array\",\"items\":\"int\"}", "03 40 02 04 00", "longer than the data"},
    {"{\"type\":\"array\",\"items\":\"int\"}", "04 02", "ends in a number"},
    {"{\"type\":\"array\",\"items\":\"int\"}", "feffffffffffffffff01 02", "ends in a number"},
    {"{\"type\":\"array\",\"items\":\"int\"}", "ffffffffffffffffff01 02", "a count that cannot be"},
    {"{\"type\":\"array\",\"items\":\"null\"}", "feffffffffffffffff01 00", NULL},
    {"{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Z\",\"fields\":[{\"name\":\"n\",\"type\":"
     "\"null\"}]}}",
     "feffffffffffffffff01 00", NULL},
    {"{\"type\":\"map\",\"values\":\"int\"}", "02 0261 02 00", NULL},
    {"{\"type\":\"map\",\"values\":\"int\"}", "02 02ff 02 00", "not UTF-8"},
    {"{\"type\":\"map\",\"values\":\"null\"}", "04 0261 0262 00", NULL},
    {"{\"type\":\"map\",\"values\":\"null\"}", "feffffffffffffffff01 0261", "ends in a number"},
    {RECORD "]}", "", NULL},
    {RECORD "{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"b\",\"type\":\"string\"}]}", "02 0261", NULL},
    {RECORD "{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"b\",\"type\":\"string\"}]}", "02 0461", "(/b)"},
    {RECORD
     "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Q\",\"fields\":["
     "{\"name\":\"x\",\"type\":\"boolean\"}]}}}]}",
     "02 07 00", "at byte 2 (/a/[]/x)"},
    {LIST, "02 02 04 02 06 00", NULL},
    {LIST, "02 02 04 02 06 06", "(/next/next/next)"},
    {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}", "",
     "nested too deep"},
};

static void test_cases(void **state)
{
    (void)state;
    int unsure = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *bytes = malloc(256);
        assert_non_null(bytes);
        size_t count = from_hex(cases[i].hex, bytes);
        bytes = realloc(bytes, count > 0 ? count : 1); /* so that a byte too far is found out */
        ShSchema *schema = parse(cases[i].schema);
        ShError err = {0};
        ShStatus status = sh_schema_validate(schema, bytes, count, NULL, &err);
        bool right = cases[i].fault == NULL
                         ? status == SH_OK
                         : status == SH_INVALID && strstr(err.message, cases[i].fault) != NULL;
        if (!right)
            fail_msg("%s with %s: %s \"%s\"", cases[i].schema, cases[i].hex, sh_status_name(status),
                     err.message);
        unsure += !is_sure(schema, bytes, count) && cases[i].fault == NULL;
        sh_schema_free(schema);
        free(bytes);
    }
    assert_int_equal(unsure, 3); /* a block that tells its size, items without bytes */
}

static void test_deep_data(void **state)
{
    (void)state;
    ShSchema *schema = parse(LIST);
    uint8_t bytes[20000];
    for (size_t depth = 200; depth <= 10000; depth += 9800) {
        memset(bytes, 2, sizeof bytes);
        bytes[2 * depth - 1] = 0;
        ShError err = {0};
        assert_int_equal(sh_schema_validate(schema, bytes, 2 * depth, NULL, &err),
                         depth < 250 ? SH_OK : SH_INVALID);
    }
    sh_schema_free(schema);
}

/* Sixty records, each with two fields of the one before: 2^60 of them in no bytes at all. */
static void test_empty_records(void **state)
{
    (void)state;
    char text[8192];
    int length = snprintf(text, sizeof text, "[{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}");
    for (int i = 1; i < 60; i++)
        length += snprintf(
            text + length, sizeof text - (size_t)length,
            ",{\"type\":\"record\",\"name\":\"R%d\",\"fields\":[{\"name\":\"a\",\"type\":\"R%d\"},"
            "{\"name\":\"b\",\"type\":\"R%d\"}]}",
            i, i - 1, i - 1);
    snprintf(text + length, sizeof text - (size_t)length, "]");
    ShSchema *schema = parse(text);
    ShError err = {0};
    uint8_t last = 59 << 1;
    assert_int_equal(sh_schema_validate(schema, &last, 1, NULL, &err), SH_OK);
    sh_schema_free(schema);
}

/* --- avro-c writes, this reads ------------------------------------------------------------------------- */

static const char all_types[] = RECORD
    "{\"name\":\"n\",\"type\":\"null\"},{\"name\":\"o\",\"type\":\"boolean\"},{\"name\":\"i\",\"type\":"
    "\"int\"},"
    "{\"name\":\"l\",\"type\":\"long\"},{\"name\":\"f\",\"type\":\"float\"},{\"name\":\"d\",\"type\":"
    "\"double\"},"
    "{\"name\":\"b\",\"type\":\"bytes\"},{\"name\":\"s\",\"type\":\"string\"},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\"]}},"
    "{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":5}},"
    "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"long\"}},"
    "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"string\"}},"
    "{\"name\":\"u\",\"type\":[\"null\",\"double\",\"string\"]}]}";

static avro_value_t field_of(avro_value_t *record, const char *name)
{
    avro_value_t field;
    assert_int_equal(avro_value_get_by_name(record, name, &field, NULL), 0);
    return field;
}

/* A record of all types from a seed, as avro-c encodes it. */
static size_t write_record(avro_value_iface_t *class, unsigned seed, char *out, size_t room)
{
    avro_value_t record, item;
    assert_int_equal(avro_generic_value_new(class, &record), 0);
    char text[64];
    snprintf(text, sizeof text, "t\xc3\xa4xt %u", seed);
    avro_value_t field = field_of(&record, "n");
    avro_value_set_null(&field);
    field = field_of(&record, "o");
    avro_value_set_boolean(&field, (int)(seed & 1));
    field = field_of(&record, "i");
    avro_value_set_int(&field, (int32_t)(seed * 2654435761u));
    field = field_of(&record, "l");
    avro_value_set_long(&field, (int64_t)(seed * UINT64_C(12297829382473034411)));
    field = field_of(&record, "f");
    avro_value_set_float(&field, (float)seed);
    field = field_of(&record, "d");
    avro_value_set_double(&field, -1.5 * seed);
    field = field_of(&record, "b");
    avro_value_set_bytes(&field, text, seed % 10);
    field = field_of(&record, "s");
    avro_value_set_string(&field, text);
    field = field_of(&record, "e");
    avro_value_set_enum(&field, (int)(seed % 3));
    field = field_of(&record, "x");
    avro_value_set_fixed(&field, "fixed", 5);
    field = field_of(&record, "a");
    for (unsigned i = 0; i < seed % 7; i++) {
        avro_value_append(&field, &item, NULL);
        avro_value_set_long(&item, (int64_t)i << seed % 60);
    }
    field = field_of(&record, "m");
    for (unsigned i = 0; i < seed % 4; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        avro_value_add(&field, key, &item, NULL, NULL);
        avro_value_set_string(&item, text);
    }
    field = field_of(&record, "u");
    avro_value_set_branch(&field, (int)(seed % 3), &item);
    if (seed % 3 == 0)
        avro_value_set_null(&item);
    else if (seed % 3 == 1)
        avro_value_set_double(&item, 0.5);
    else
        avro_value_set_string(&item, "x");
    avro_writer_t writer = avro_writer_memory(out, (int64_t)room);
    assert_int_equal(avro_value_write(writer, &record), 0);
    size_t length = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    avro_value_decref(&record);
    return length;
}

static void test_what_another_library_writes(void **state)
{
    (void)state;
    avro_schema_t theirs;
    assert_int_equal(avro_schema_from_json_length(all_types, strlen(all_types), &theirs), 0);
    avro_value_iface_t *class = avro_generic_class_from_schema(theirs);
    ShSchema *schema = parse(all_types);
    for (unsigned seed = 0; seed < 500; seed++) {
        char bytes[2048];
        size_t length = write_record(class, seed, bytes, sizeof bytes);
        ShError err = {0};
        if (sh_schema_validate(schema, (uint8_t *)bytes, length, NULL, &err) != SH_OK)
            fail_msg("seed %u: %s", seed, err.message);
        assert_true(is_sure(schema, (uint8_t *)bytes, length));
        /* Cut anywhere, on memory of its own so that a byte too far is found out, it does not fit. */
        size_t cut = seed % length;
        uint8_t *part = malloc(cut + 1);
        assert_non_null(part);
        memcpy(part, bytes, cut);
        part = realloc(part, cut > 0 ? cut : 1);
        assert_int_equal(sh_schema_validate(schema, part, cut, NULL, &err), SH_INVALID);
        /* With a bit turned it may fit or not; it is read to its end and no further. */
        if (cut > 0)
            part[seed % cut] ^= (uint8_t)(1u << seed % 8);
        (void)!sh_schema_validate(schema, part, cut, NULL, &err);
        (void)is_sure(schema, part, cut);
        free(part);
    }
    sh_schema_free(schema);
    avro_value_iface_decref(class);
    avro_schema_decref(theirs);
}

/* Of a deep place the innermost 255 characters are told. */
static void test_a_deep_place_is_cut(void **state)
{
    enum { DEPTH = 60, TOLD = 51 };
    (void)state;
    uint8_t data[2 * DEPTH + 2];
    char place[5 * TOLD + 3] = "(";
    memset(data, 2, sizeof data); /* a number, and another one follows */
    data[sizeof data - 1] = 6;    /* there is no such branch */
    for (int i = 0; i < TOLD; i++)
        strcat(place, "/next");
    strcat(place, ")");
    ShSchema *schema = parse(LIST);
    ShError err = {0};
    assert_int_equal(sh_schema_validate(schema, data, sizeof data, NULL, &err), SH_INVALID);
    assert_non_null(strstr(err.message, place));
    sh_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_deep_data),
        cmocka_unit_test(test_a_deep_place_is_cut),
        cmocka_unit_test(test_empty_records),
        cmocka_unit_test(test_what_another_library_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
