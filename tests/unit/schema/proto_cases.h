/*
 * proto_cases.h - the rules of Protobuf compatibility as a table.
 *
 * Each case reads with `reader` what was written with `writer`, and expects one finding, or none when `kind`
 * is NULL. Sources: [U] protobuf.dev, language guide, "Updating A Message Type"; [C] Confluent Schema
 * Registry, "Protobuf compatibility rules"; [E] the encoding document of protobuf.dev.
 */
#ifndef SH_TEST_PROTO_CASES_H
#define SH_TEST_PROTO_CASES_H

typedef struct ProtoCase {
    const char *writer;
    const char *reader;
    const char *kind;
    const char *path;
    const char *source;
} ProtoCase;

#define P3(text) "syntax = \"proto3\"; " text
#define P2(text) "syntax = \"proto2\"; " text
/* A message M of proto3 with these fields. */
#define M(fields)  P3("message M { " fields " }")
#define M2(fields) P2("message M { " fields " }")

static const ProtoCase proto_cases[] = {
    /* fields that come and go */
    {M("int32 a = 1;"), M("int32 a = 1;"), NULL, NULL, "[U] nothing changed"},
    {M("int32 a = 1;"), M("int32 a = 1; int32 b = 2;"), NULL, NULL, "[U] new fields are unset in old data"},
    {M("int32 a = 1; int32 b = 2;"), M("int32 a = 1;"), NULL, NULL, "[U] unknown fields are kept aside"},
    {M("int32 a = 1;"), M("reserved 1;"), NULL, NULL, "[U] a removed number is reserved"},
    {M("int32 a = 1;"), M("int32 renamed = 1;"), NULL, NULL, "[E] names are not written"},
    {M("int32 a = 1;"), M("int32 a = 2;"), NULL, NULL, "[C] another number is another field"},
    {M2("optional int32 a = 1;"), M2("optional int32 a = 1; required int32 b = 2;"), "REQUIRED_FIELD_ADDED",
     "#/M/2", "[C] required fields must not be added"},
    {M2("optional int32 a = 1; required int32 b = 2;"), M2("optional int32 a = 1;"), "REQUIRED_FIELD_REMOVED",
     "#/M/2", "[C] required fields must not be removed"},
    {M2("optional int32 a = 1;"), M2("required int32 a = 1;"), "REQUIRED_FIELD_ADDED", "#/M/1",
     "[U] a reader that requires a field fails without it"},
    {M2("required int32 a = 1;"), M2("optional int32 a = 1;"), NULL, NULL,
     "[U] written fields may be optional"},
    {M2("required int32 a = 1;"), M2("required int64 a = 1;"), NULL, NULL, "[U] int32 and int64"},
    {M2("required int32 a = 1;"), M2("required string a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[E]"},
    {M2("optional int32 a = 1;"), M("int32 a = 1;"), NULL, NULL, "[U] proto2 and proto3 share the encoding"},
    {M("int32 a = 1;"), M2("optional int32 a = 1;"), NULL, NULL, "[U] proto2 and proto3 share the encoding"},
    {M("int32 a = 1;"), M("optional int32 a = 1;"), NULL, NULL, "[U] presence is not written"},
    {M("optional int32 a = 1;"), M("int32 a = 1;"), NULL, NULL, "[U] presence is not written"},
    {M2("optional int32 a = 1 [default = 3];"), M2("optional int32 a = 1 [default = 4];"), NULL, NULL,
     "[U] a default may change: it is never sent"},
    {M("int32 a = 1;"), M("int32 a = 1 [deprecated = true];"), NULL, NULL, "[U] options are not written"},

    /* scalar types */
    {M("int32 a = 1;"), M("int64 a = 1;"), NULL, NULL, "[U] int32, uint32, int64, uint64, bool"},
    {M("int64 a = 1;"), M("int32 a = 1;"), NULL, NULL, "[U] int32, uint32, int64, uint64, bool"},
    {M("int32 a = 1;"), M("uint32 a = 1;"), NULL, NULL, "[U] int32, uint32, int64, uint64, bool"},
    {M("uint64 a = 1;"), M("bool a = 1;"), NULL, NULL, "[U] int32, uint32, int64, uint64, bool"},
    {M("bool a = 1;"), M("int64 a = 1;"), NULL, NULL, "[U] int32, uint32, int64, uint64, bool"},
    {M("sint32 a = 1;"), M("sint64 a = 1;"), NULL, NULL, "[U] sint32 and sint64"},
    {M("sint64 a = 1;"), M("sint32 a = 1;"), NULL, NULL, "[U] sint32 and sint64"},
    {M("sint32 a = 1;"), M("int32 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[U] not with the others"},
    {M("int64 a = 1;"), M("sint64 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[U] not with the others"},
    {M("fixed32 a = 1;"), M("sfixed32 a = 1;"), NULL, NULL, "[U] fixed32 and sfixed32"},
    {M("sfixed64 a = 1;"), M("fixed64 a = 1;"), NULL, NULL, "[U] fixed64 and sfixed64"},
    {M("fixed32 a = 1;"), M("fixed64 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[E] 4 and 8 bytes"},
    {M("fixed32 a = 1;"), M("int32 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[E] fixed and varint"},
    {M("fixed32 a = 1;"), M("float a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[C] bits without meaning"},
    {M("float a = 1;"), M("double a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[E] 4 and 8 bytes"},
    {M("double a = 1;"), M("fixed64 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[C] bits without meaning"},
    {M("double a = 1;"), M("double b = 1;"), NULL, NULL, "[E] names are not written"},
    {M("string a = 1;"), M("bytes a = 1;"), NULL, NULL, "[U] string and bytes"},
    {M("bytes a = 1;"), M("string a = 1;"), NULL, NULL, "[U] string and bytes, as far as they are UTF-8"},
    {M("string a = 1;"), M("int32 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[E]"},
    {M("bool a = 1;"), M("string a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[E]"},
    {M("int32 a = 1;"), M("string b = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[U] numbers are never reused"},

    /* lists */
    {M("string a = 1;"), M("repeated string a = 1;"), NULL, NULL,
     "[U] singular and repeated, not of numbers"},
    {M("repeated string a = 1;"), M("string a = 1;"), NULL, NULL, "[U] the last one is taken"},
    {M("repeated bytes a = 1;"), M("string a = 1;"), NULL, NULL, "[U] the last one is taken"},
    {M("int32 a = 1;"), M("repeated int32 a = 1;"), "FIELD_NUMERIC_LABEL_CHANGED", "#/M/1",
     "[U] numbers are packed"},
    {M("repeated int32 a = 1;"), M("int32 a = 1;"), "FIELD_NUMERIC_LABEL_CHANGED", "#/M/1",
     "[U] numbers are packed"},
    {M("repeated double a = 1;"), M("double a = 1;"), "FIELD_NUMERIC_LABEL_CHANGED", "#/M/1", "[U]"},
    {M("repeated int32 a = 1;"), M("repeated int64 a = 1;"), NULL, NULL, "[U] int32 and int64"},
    {M("repeated int32 a = 1;"), M("repeated int32 a = 1 [packed = false];"), NULL, NULL,
     "[E] parsers take both"},
    {M("repeated sint32 a = 1;"), M("repeated int32 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[U]"},
    {M("message N {} N a = 1;"), M("message N {} repeated N a = 1;"), NULL, NULL,
     "[U] singular and repeated"},
    {M("message N {} repeated N a = 1;"), M("message N {} N a = 1;"), NULL, NULL, "[U] messages are merged"},

    /* enums */
    {M("int32 a = 1;"), P3("message M { E a = 1; } enum E { X = 0; }"), NULL, NULL, "[U] enums are varints"},
    {P3("message M { E a = 1; } enum E { X = 0; }"), M("int32 a = 1;"), NULL, NULL, "[U] enums are varints"},
    {P3("message M { E a = 1; } enum E { X = 0; }"), M("sint32 a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[U]"},
    {P3("message M { E a = 1; } enum E { X = 0; }"), M("string a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[E]"},
    {P3("message M { E a = 1; } enum E { X = 0; }"), P3("message M { E a = 1; } enum E { X = 0; Y = 1; }"),
     NULL, NULL, "[C] constants may be added"},
    {P3("message M { E a = 1; } enum E { X = 0; Y = 1; }"), P3("message M { E a = 1; } enum E { X = 0; }"),
     NULL, NULL, "[C] constants may be removed"},
    {P3("message M { E a = 1; } enum E { X = 0; Y = 1; }"),
     P3("message M { E a = 1; } enum E { X = 0; Z = 1; }"), NULL, NULL, "[C] constants may be renamed"},
    {P3("message M { int32 a = 1; } enum E { X = 0; }"), M("int32 a = 1;"), NULL, NULL, "[C] an enum may go"},
    {P3("message M { E a = 1; } enum E { X = 0; }"), P3("message M { F a = 1; } enum F { X = 0; }"), NULL,
     NULL, "[C] enums are varints, whatever their name"},
    {P3("message M { repeated E a = 1; } enum E { X = 0; }"), P3("message M { E a = 1; } enum E { X = 0; }"),
     "FIELD_NUMERIC_LABEL_CHANGED", "#/M/1", "[U] enums are packed"},

    /* messages */
    {M(""), P3("message M {} message N {}"), NULL, NULL, "[C] messages may be added"},
    {P3("message M {} message N {}"), M(""), "MESSAGE_REMOVED", "#/N", "[C] messages must not be removed"},
    {P3("message M {} message N {}"), P3("message N {} message M {}"), NULL, NULL,
     "[C] the order may change: indexes are those of the written schema"},
    {P3("message M {}"), P3("message Renamed {}"), "MESSAGE_REMOVED", "#/M",
     "[C] messages must not be renamed"},
    {M("message N {}"), M(""), "MESSAGE_REMOVED", "#/M/N", "[C] messages must not be removed, also nested"},
    {M("message N { message O {} }"), M("message N {}"), "MESSAGE_REMOVED", "#/M/N/O", "[C] also nested"},
    {M(""), M("message N {}"), NULL, NULL, "[C] messages may be added"},
    {M("message N { int32 a = 1; }"), M("message N { string a = 1; }"), "FIELD_SCALAR_KIND_CHANGED",
     "#/M/N/1", "[C] nested messages are compared"},
    {P3("package p; message M { int32 a = 1; }"), P3("package q; message M { int32 a = 1; }"), NULL, NULL,
     "[C] the package may change"},
    {P3("package p; message M { N a = 1; } message N {}"),
     P3("package q; message M { N a = 1; } message N {}"), NULL, NULL,
     "[C] types are compared without their package"},
    {P3("package p; message M { N a = 1; } message N {}"),
     P3("package p; message M { .p.N a = 1; } message N {}"), NULL, NULL, "[C] names may be given in full"},
    {P3("message M { N a = 1; } message N {} message O {}"),
     P3("message M { O a = 1; } message N {} message O {}"), "FIELD_NAMED_TYPE_CHANGED", "#/M/1",
     "[C] the type's name must stay"},
    {M("message N {} int32 a = 1;"), M("message N {} N a = 1;"), "FIELD_KIND_CHANGED", "#/M/1", "[C]"},
    {M("message N {} N a = 1;"), M("message N {} bytes a = 1;"), "FIELD_KIND_CHANGED", "#/M/1",
     "[C] stricter than the encoding, as that registry is"},
    {P3("message M { M next = 1; int32 a = 2; }"), P3("message M { M next = 1; int64 a = 2; }"), NULL, NULL,
     "[C] recursion ends"},
    {P3("message M { N n = 1; } message N { M m = 1; }"), P3("message M { N n = 1; } message N { M m = 1; }"),
     NULL, NULL, "[C] recursion ends"},
    {M2("optional group G = 1 { optional int32 a = 1; }"),
     M2("optional group G = 1 { optional int64 a = 1; }"), NULL, NULL, "[E] groups are compared as messages"},
    {M2("optional group G = 1 {}"), M2("message G {} optional G g = 1;"), "FIELD_KIND_CHANGED", "#/M/1",
     "[E] groups are written otherwise"},

    /* maps */
    {M("map<string, int32> a = 1;"), M("map<string, int64> a = 1;"), NULL, NULL, "[C] values as scalars"},
    {M("map<string, int32> a = 1;"), M("map<string, string> a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[C]"},
    {M("map<int32, int32> a = 1;"), M("map<int64, int32> a = 1;"), NULL, NULL, "[C] keys as scalars"},
    {M("map<int32, int32> a = 1;"), M("map<string, int32> a = 1;"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[C]"},
    {M("message N {} map<int32, N> a = 1;"), M("message N {} map<int32, N> b = 1;"), NULL, NULL, "[E]"},
    {M("message N {} map<int32, N> a = 1;"), M("message N {} message O {} map<int32, O> a = 1;"),
     "FIELD_NAMED_TYPE_CHANGED", "#/M/1", "[C]"},
    {M("message N {} map<int32, N> a = 1;"), M("message N {} map<int32, int32> a = 1;"), "FIELD_KIND_CHANGED",
     "#/M/1", "[C]"},
    {M("map<int32, int32> a = 1;"), M("int32 a = 1;"), "FIELD_KIND_CHANGED", "#/M/1", "[C]"},
    {M("map<int32, int32> a = 1;"), M("message N { int32 key = 1; int32 value = 2; } repeated N a = 1;"),
     "FIELD_KIND_CHANGED", "#/M/1", "[C] stricter than the encoding, as that registry is"},

    /* oneofs */
    {M("string a = 1; string b = 2;"), M("string a = 1; oneof o { string b = 2; int32 c = 3; }"), NULL, NULL,
     "[U] one field may move into a new oneof"},
    {M("string a = 1; string b = 2;"), M("oneof o { string a = 1; string b = 2; }"),
     "MULTIPLE_FIELDS_MOVED_TO_ONEOF", "#/M/o", "[U] not several, which may have been set together"},
    {M("string a = 1; oneof o { string b = 2; }"), M("oneof o { string a = 1; string b = 2; }"),
     "FIELD_MOVED_TO_EXISTING_ONEOF", "#/M/o", "[U] not into an existing one"},
    {M("oneof o { string a = 1; }"), M("oneof o { string a = 1; int32 b = 2; }"), NULL, NULL,
     "[C] members may be added"},
    {M("oneof o { string a = 1; int32 b = 2; }"), M("oneof o { string a = 1; }"), "ONEOF_FIELD_REMOVED",
     "#/M/o/2", "[C] members must not be removed"},
    {M("oneof o { string a = 1; int32 b = 2; }"), M("string a = 1; int32 b = 2;"), NULL, NULL,
     "[C] a oneof may be removed"},
    {M("oneof o { string a = 1; }"), M("string a = 1;"), NULL, NULL, "[C] a oneof may be removed"},
    {M("oneof o { string a = 1; }"), M("oneof p { string a = 1; }"), NULL, NULL,
     "[C] a oneof may be renamed"},
    {M("oneof o { string a = 1; }"), M("oneof o { int32 a = 1; }"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[E]"},
    {M("oneof o { string a = 1; }"), M("oneof p { int32 a = 1; }"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1",
     "[E]"},
    {M("string a = 1;"), M("oneof o { int32 a = 1; }"), "FIELD_SCALAR_KIND_CHANGED", "#/M/1", "[E]"},
    {M("optional int32 a = 1; optional int32 b = 2;"), M("int32 a = 1; int32 b = 2;"), NULL, NULL,
     "[U] proto3's optional is a oneof in descriptors only"},
    {M("int32 a = 1; int32 b = 2;"), M("optional int32 a = 1; optional int32 b = 2;"), NULL, NULL,
     "[U] proto3's optional is a oneof in descriptors only"},
};

#define PROTO_CASES (sizeof proto_cases / sizeof *proto_cases)

#endif
