/*
 * avro_cases.h - the rules of Avro's schema resolution as a table.
 *
 * Each case reads with `reader` what was written with `writer`, and expects one finding, or none when `kind`
 * is NULL. Sources, all of the Apache Avro 1.11 specification: [R] "Schema Resolution", [A] "Aliases", [N]
 * "Names", [U] "Unions", [E] "Enums" (default), [F] "Fixed", [D] "Complex Types: Records" (default values),
 * [L] "Logical Types"; and [C] the Confluent registry's words and places for what does not fit (those of
 * Avro's SchemaCompatibility).
 */
#ifndef SH_TEST_AVRO_CASES_H
#define SH_TEST_AVRO_CASES_H

#define REC(fields)        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define NAMED(name, rest)  "{\"type\":\"record\",\"name\":\"" name "\"," rest "}"
#define FLD(name, type)    "{\"name\":\"" name "\",\"type\":" type "}"
#define DEF(name, type, d) "{\"name\":\"" name "\",\"type\":" type ",\"default\":" d "}"
#define ALI(name, type, a) "{\"name\":\"" name "\",\"type\":" type ",\"aliases\":[\"" a "\"]}"
#define ENUM(name, rest)   "{\"type\":\"enum\",\"name\":\"" name "\",\"symbols\":[" rest "}"
#define FIX(name, size)    "{\"type\":\"fixed\",\"name\":\"" name "\",\"size\":" size "}"
#define ARR(items)         "{\"type\":\"array\",\"items\":" items "}"
#define MAP(values)        "{\"type\":\"map\",\"values\":" values "}"
#define DECIMAL(p, s)      "\"logicalType\":\"decimal\",\"precision\":" p ",\"scale\":" s "}"
#define DEC(p, s)          "{\"type\":\"bytes\"," DECIMAL(p, s)
#define FDEC(n, p, s)      "{\"type\":\"fixed\",\"name\":\"F\",\"size\":" n "," DECIMAL(p, s)
#define LOG(type, logical) "{\"type\":" type ",\"logicalType\":\"" logical "\"}"
#define I                  "\"int\""
#define J                  "\"long\""
#define G                  "\"float\""
#define H                  "\"double\""
#define S                  "\"string\""
#define B                  "\"bytes\""
#define N                  "\"null\""
#define O                  "\"boolean\""
#define MISMATCH           "TYPE_MISMATCH", "/"
#define LIST(value)                                                                                          \
    "{\"type\":\"record\",\"name\":\"L\",\"fields\":[" value                                                 \
    ",{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}"

static const RuleCase avro_cases[] = {
    /* primitive types, each with each */
    {N, N, NULL, NULL, "[R] same"},
    {O, O, NULL, NULL, "[R] same"},
    {I, I, NULL, NULL, "[R] same"},
    {J, J, NULL, NULL, "[R] same"},
    {G, G, NULL, NULL, "[R] same"},
    {H, H, NULL, NULL, "[R] same"},
    {B, B, NULL, NULL, "[R] same"},
    {S, S, NULL, NULL, "[R] same"},
    {I, J, NULL, NULL, "[R] int is promotable to long"},
    {I, G, NULL, NULL, "[R] int is promotable to float"},
    {I, H, NULL, NULL, "[R] int is promotable to double"},
    {J, G, NULL, NULL, "[R] long is promotable to float"},
    {J, H, NULL, NULL, "[R] long is promotable to double"},
    {G, H, NULL, NULL, "[R] float is promotable to double"},
    {S, B, NULL, NULL, "[R] string is promotable to bytes"},
    {B, S, NULL, NULL, "[R] bytes is promotable to string"},
    {J, I, MISMATCH, "[R] no promotion"},
    {G, I, MISMATCH, "[R] no promotion"},
    {H, I, MISMATCH, "[R] no promotion"},
    {G, J, MISMATCH, "[R] no promotion"},
    {H, J, MISMATCH, "[R] no promotion"},
    {H, G, MISMATCH, "[R] no promotion"},
    {N, O, MISMATCH, "[R] no promotion"},
    {N, I, MISMATCH, "[R] no promotion"},
    {N, S, MISMATCH, "[R] no promotion"},
    {O, N, MISMATCH, "[R] no promotion"},
    {O, I, MISMATCH, "[R] no promotion"},
    {O, S, MISMATCH, "[R] no promotion"},
    {I, O, MISMATCH, "[R] no promotion"},
    {I, N, MISMATCH, "[R] no promotion"},
    {I, S, MISMATCH, "[R] no promotion"},
    {I, B, MISMATCH, "[R] no promotion"},
    {J, S, MISMATCH, "[R] no promotion"},
    {G, S, MISMATCH, "[R] no promotion"},
    {H, B, MISMATCH, "[R] no promotion"},
    {S, I, MISMATCH, "[R] no promotion"},
    {S, J, MISMATCH, "[R] no promotion"},
    {S, O, MISMATCH, "[R] no promotion"},
    {S, N, MISMATCH, "[R] no promotion"},
    {B, I, MISMATCH, "[R] no promotion"},
    {B, H, MISMATCH, "[R] no promotion"},
    {"{\"type\":\"int\"}", J, NULL, NULL, "[R] an object that says no more than a name"},

    /* arrays and maps */
    {ARR(I), ARR(I), NULL, NULL, "[R] both arrays, items match"},
    {ARR(I), ARR(J), NULL, NULL, "[R] items are promoted"},
    {ARR(J), ARR(I), "TYPE_MISMATCH", "/items", "[R] items do not match"},
    {MAP(I), MAP(I), NULL, NULL, "[R] both maps, values match"},
    {MAP(G), MAP(H), NULL, NULL, "[R] values are promoted"},
    {MAP(S), MAP(I), "TYPE_MISMATCH", "/values", "[R] values do not match"},
    {ARR(I), MAP(I), MISMATCH, "[R] an array is no map"},
    {MAP(I), ARR(I), MISMATCH, "[R] a map is no array"},
    {ARR(I), I, MISMATCH, "[R] an array is no int"},
    {I, ARR(I), MISMATCH, "[R] an int is no array"},
    {S, MAP(S), MISMATCH, "[R] a string is no map"},
    {ARR(ARR(I)), ARR(ARR(H)), NULL, NULL, "[R] recursively"},
    {ARR(ARR(H)), ARR(ARR(I)), "TYPE_MISMATCH", "/items/items", "[R] recursively"},
    {MAP(ARR(S)), MAP(ARR(B)), NULL, NULL, "[R] recursively"},
    {ARR(MAP(O)), ARR(MAP(I)), "TYPE_MISMATCH", "/items/values", "[R] recursively"},

    /* enums */
    {ENUM("E", "\"A\",\"B\"]"), ENUM("E", "\"A\",\"B\"]"), NULL, NULL, "[R] same symbols"},
    {ENUM("E", "\"A\",\"B\"]"), ENUM("E", "\"B\",\"A\"]"), NULL, NULL, "[R] symbols go by name"},
    {ENUM("E", "\"A\"]"), ENUM("E", "\"A\",\"B\"]"), NULL, NULL, "[R] the reader knows more"},
    {ENUM("E", "\"A\",\"B\"]"), ENUM("E", "\"A\"]"), "MISSING_ENUM_SYMBOLS", "/symbols",
     "[R] a symbol that the reader has not, and no default"},
    {ENUM("E", "\"A\",\"B\",\"C\"]"), ENUM("E", "\"C\"]"), "MISSING_ENUM_SYMBOLS", "/symbols",
     "[C] one finding for all"},
    {ENUM("E", "\"A\",\"B\"]"), ENUM("E", "\"A\"],\"default\":\"A\""), NULL, NULL,
     "[E] the reader's default stands in"},
    {ENUM("E", "\"A\",\"B\"],\"default\":\"B\""), ENUM("E", "\"A\"]"), "MISSING_ENUM_SYMBOLS", "/symbols",
     "[E] the writer's default is not the reader's"},
    {ENUM("E", "\"A\"]"), ENUM("F", "\"A\"]"), "NAME_MISMATCH", "/name", "[R] enums whose names match"},
    {ENUM("n.E", "\"A\"]"), ENUM("m.E", "\"A\"]"), NULL, NULL, "[R] unqualified names match"},
    {ENUM("E", "\"A\"]"), ENUM("F", "\"A\"],\"aliases\":[\"E\"]"), NULL, NULL, "[A] the reader's alias"},
    {ENUM("F", "\"A\"],\"aliases\":[\"E\"]"), ENUM("E", "\"A\"]"), "NAME_MISMATCH", "/name",
     "[A] only the reader's aliases count"},
    {ENUM("n.E", "\"A\"]"), ENUM("n.F", "\"A\"],\"aliases\":[\"E\"]"), NULL, NULL,
     "[A] an alias is relative to the namespace"},
    {ENUM("n.E", "\"A\"]"), ENUM("m.F", "\"A\"],\"aliases\":[\"E\"]"), "NAME_MISMATCH", "/name",
     "[A] an alias is relative to the namespace"},
    {ENUM("n.E", "\"A\"]"), ENUM("m.F", "\"A\"],\"aliases\":[\"n.E\"]"), NULL, NULL,
     "[A] an alias with a namespace"},
    {ENUM("E", "\"A\"]"), S, MISMATCH, "[R] an enum is no string"},
    {S, ENUM("E", "\"A\"]"), MISMATCH, "[R] a string is no enum"},
    {ENUM("E", "\"A\"]"), I, MISMATCH, "[R] an enum is no int"},

    /* fixed */
    {FIX("F", "4"), FIX("F", "4"), NULL, NULL, "[R] sizes and names match"},
    {FIX("F", "4"), FIX("F", "8"), "FIXED_SIZE_MISMATCH", "/size", "[R] sizes match"},
    {FIX("F", "8"), FIX("F", "4"), "FIXED_SIZE_MISMATCH", "/size", "[R] sizes match"},
    {FIX("F", "4"), FIX("G", "4"), "NAME_MISMATCH", "/name", "[R] names match"},
    {FIX("a.F", "4"), FIX("b.F", "4"), NULL, NULL, "[R] unqualified names match"},
    {FIX("F", "4"), "{\"type\":\"fixed\",\"name\":\"G\",\"size\":4,\"aliases\":[\"F\"]}", NULL, NULL,
     "[A] of fixed"},
    {FIX("F", "4"), B, MISMATCH, "[R] a fixed is not promoted to bytes"},
    {B, FIX("F", "4"), MISMATCH, "[R] bytes are not promoted to fixed"},
    {FIX("F", "4"), S, MISMATCH, "[R] a fixed is no string"},

    /* records: fields */
    {REC(FLD("a", I)), REC(FLD("a", I)), NULL, NULL, "[R] same"},
    {REC(FLD("a", I) "," FLD("b", S)), REC(FLD("b", S) "," FLD("a", I)), NULL, NULL,
     "[R] the order may differ"},
    {REC(FLD("a", I) "," FLD("b", S)), REC(FLD("a", I)), NULL, NULL,
     "[R] a field of the writer alone is ignored"},
    {REC(FLD("a", I)), REC(""), NULL, NULL, "[R] all fields are ignored"},
    {REC(""), REC(FLD("a", I)), "READER_FIELD_MISSING_DEFAULT_VALUE", "/fields/0",
     "[R] no default: an error"},
    {REC(FLD("a", I)), REC(FLD("a", I) "," FLD("b", S)), "READER_FIELD_MISSING_DEFAULT_VALUE", "/fields/1",
     "[R] no default: an error"},
    {REC(FLD("a", I)), REC(FLD("a", I) "," DEF("b", S, "\"\"")), NULL, NULL, "[R] the default is taken"},
    {REC(FLD("a", I)), REC(FLD("a", I) "," DEF("b", "[\"null\",\"string\"]", "null")), NULL, NULL,
     "[R] null is a default too"},
    {REC(DEF("b", S, "\"\"")), REC(FLD("a", S)), "READER_FIELD_MISSING_DEFAULT_VALUE", "/fields/0",
     "[R] the writer's default is not the reader's"},
    {REC(FLD("a", I)), REC(FLD("a", J)), NULL, NULL, "[R] recursively"},
    {REC(FLD("a", J)), REC(FLD("a", I)), "TYPE_MISMATCH", "/fields/0/type", "[R] recursively"},
    {REC(FLD("x", O) "," FLD("a", S)), REC(FLD("x", O) "," FLD("a", I)), "TYPE_MISMATCH", "/fields/1/type",
     "[C] the reader's place"},
    {REC(FLD("a", ARR(S))), REC(FLD("a", ARR(I))), "TYPE_MISMATCH", "/fields/0/type/items",
     "[R] recursively"},
    {REC(FLD("a", S)), REC(DEF("a", I, "1")), "TYPE_MISMATCH", "/fields/0/type",
     "[R] a default does not stand in for a field that is there"},
    {REC(FLD("a", I)), REC(ALI("b", I, "a")), NULL, NULL, "[A] of a field"},
    {REC(FLD("a", I)), REC(ALI("b", J, "a")), NULL, NULL, "[A] of a field, promoted"},
    {REC(FLD("a", S)), REC(ALI("b", I, "a")), "TYPE_MISMATCH", "/fields/0/type", "[A] of a field"},
    {REC(ALI("a", I, "b")), REC(FLD("b", I)), "READER_FIELD_MISSING_DEFAULT_VALUE", "/fields/0",
     "[A] only the reader's aliases count"},
    {REC(FLD("a", S) "," FLD("b", I)), REC(ALI("b", I, "a")), NULL, NULL, "[A] the name itself comes first"},
    {REC(FLD("A", I)), REC(FLD("a", I)), "READER_FIELD_MISSING_DEFAULT_VALUE", "/fields/0",
     "[N] names mind the case"},

    /* records: names */
    {REC(FLD("a", I)), NAMED("Q", "\"fields\":[" FLD("a", I) "]"), "NAME_MISMATCH", "/name",
     "[R] names match"},
    {REC(FLD("a", I)), NAMED("Q", "\"aliases\":[\"R\"],\"fields\":[" FLD("a", I) "]"), NULL, NULL,
     "[A] of a record"},
    {NAMED("x.R", "\"fields\":[]"), NAMED("y.R", "\"fields\":[]"), NULL, NULL, "[R] unqualified names match"},
    {NAMED("R", "\"namespace\":\"x\",\"fields\":[]"), NAMED("x.R", "\"fields\":[]"), NULL, NULL,
     "[N] one full name"},
    {NAMED("x.R", "\"fields\":[]"), NAMED("x.Q", "\"aliases\":[\"R\"],\"fields\":[]"), NULL, NULL,
     "[A] relative to the namespace"},
    {NAMED("x.R", "\"fields\":[]"), NAMED("y.Q", "\"aliases\":[\"R\"],\"fields\":[]"), "NAME_MISMATCH",
     "/name", "[A] relative to the namespace"},
    {NAMED("x.R", "\"fields\":[]"), NAMED("y.Q", "\"aliases\":[\"x.R\"],\"fields\":[]"), NULL, NULL,
     "[A] full"},
    {NAMED("Q", "\"aliases\":[\"R\"],\"fields\":[]"), REC(""), "NAME_MISMATCH", "/name",
     "[A] the reader's alone"},
    {REC(""), I, MISMATCH, "[R] a record is no int"},
    {I, REC(""), MISMATCH, "[R] an int is no record"},
    {REC(""), MAP(I), MISMATCH, "[R] a record is no map"},
    {MAP(I), REC(""), MISMATCH, "[R] a map is no record"},
    {REC(""), FIX("R", "1"), MISMATCH, "[R] a record is no fixed of its name"},
    {REC(""), ENUM("R", "\"A\"]"), MISMATCH, "[R] a record is no enum of its name"},
    {REC(FLD("a", NAMED("P", "\"fields\":[]"))), REC(FLD("a", NAMED("Q", "\"fields\":[]"))), "NAME_MISMATCH",
     "/fields/0/type/name", "[C] inside"},
    {REC(FLD("a", FIX("F", "1"))), REC(FLD("a", FIX("F", "2"))), "FIXED_SIZE_MISMATCH", "/fields/0/type/size",
     "[C] inside"},
    {REC(FLD("a", ENUM("E", "\"A\"]"))), REC(FLD("a", ENUM("E", "\"B\"]"))), "MISSING_ENUM_SYMBOLS",
     "/fields/0/type/symbols", "[C] inside"},
    {"{\"type\":\"error\",\"name\":\"R\",\"fields\":[]}", REC(""), NULL, NULL, "[N] an error is a record"},

    /* unions */
    {"[" I "]", "[" I "]", NULL, NULL, "[R] both unions"},
    {"[" I "," S "]", "[" S "," I "]", NULL, NULL, "[R] the first branch that matches"},
    {"[" I "]", "[" I "," S "]", NULL, NULL, "[R] the reader has more branches"},
    {"[" I "," S "]", "[" I "]", "MISSING_UNION_BRANCH", "/1", "[R] a branch that nothing reads"},
    {"[" I "," S "," O "]", "[" I "," O "]", "MISSING_UNION_BRANCH", "/1", "[C] the writer's branch"},
    {"[" I "]", "[" J "]", NULL, NULL, "[R] branches are promoted"},
    {"[" J "]", "[" I "]", "MISSING_UNION_BRANCH", "/0", "[R] no promotion"},
    {I, "[" N "," I "]", NULL, NULL, "[R] only the reader is a union"},
    {I, "[" N "," J "]", NULL, NULL, "[R] only the reader is a union, promoted"},
    {I, "[" N "," S "]", "MISSING_UNION_BRANCH", "/", "[R] no branch matches"},
    {N, "[" N "," S "]", NULL, NULL, "[R] only the reader is a union"},
    {"[" I "]", I, NULL, NULL, "[R] only the writer is a union"},
    {"[" I "]", J, NULL, NULL, "[R] only the writer is a union, promoted"},
    {"[" I "," J "]", J, NULL, NULL, "[R] each branch of the writer is read"},
    {"[" I "," S "]", I, MISMATCH, "[R] a branch that is not read"},
    {"[" N "," I "]", I, MISMATCH, "[R] null is not read"},
    {"[]", I, NULL, NULL, "[U] nothing can have been written"},
    {I, "[]", "MISSING_UNION_BRANCH", "/", "[U] nothing can be read"},
    {"[" I "," REC(FLD("a", I)) "]", "[" I "," REC(FLD("a", J)) "]", NULL, NULL, "[R] a record in a union"},
    {"[" I "," REC(FLD("a", S)) "]", "[" I "," REC(FLD("a", J)) "]", "MISSING_UNION_BRANCH", "/1",
     "[R] a record in a union"},
    {"[" I "," REC("") "]", "[" I "," REC(FLD("a", J)) "]", "MISSING_UNION_BRANCH", "/1",
     "[R] no default in a union"},
    {"[" I "," ENUM("E", "\"A\",\"B\"]") "]", "[" I "," ENUM("E", "\"A\"]") "]", "MISSING_UNION_BRANCH", "/1",
     "[R] an enum in a union"},
    {"[" ARR(I) "]", "[" ARR(J) "," N "]", NULL, NULL, "[R] an array in a union"},
    {"[" MAP(S) "]", "[" MAP(I) "," N "]", "MISSING_UNION_BRANCH", "/0", "[R] a map in a union"},
    {REC(FLD("a", I)), REC(FLD("a", "[" N "," I "]")), NULL, NULL, "[R] a field becomes optional"},
    {REC(FLD("a", "[" N "," I "]")), REC(FLD("a", I)), "TYPE_MISMATCH", "/fields/0/type",
     "[R] and is none any more"},
    {REC(FLD("a", "[" N "," I "]")), REC(FLD("a", "[" N "]")), "MISSING_UNION_BRANCH", "/fields/0/type/1",
     "[C] inside"},
    {"[" FIX("F", "1") "," FIX("G", "1") "]", "[" FIX("G", "1") "," FIX("F", "1") "]", NULL, NULL,
     "[U] named branches go by name"},
    {"[" FIX("F", "1") "," FIX("G", "2") "]", "[" FIX("G", "1") "," FIX("F", "1") "]", "MISSING_UNION_BRANCH",
     "/1", "[U] named branches go by name"},

    /* recursion */
    {LIST(FLD("v", I)), LIST(FLD("v", I)), NULL, NULL, "[R] recursively"},
    {LIST(FLD("v", I)), LIST(FLD("v", J)), NULL, NULL, "[R] recursively, promoted"},
    {LIST(FLD("v", I)), LIST(DEF("w", I, "0")), NULL, NULL, "[R] recursively, by default"},
    {LIST(FLD("v", I)), LIST(FLD("v", I) "," ALI("w", I, "v")), NULL, NULL, "[A] one field under two names"},
    {"{\"type\":\"record\",\"name\":\"T\",\"fields\":[" FLD("kids", ARR("\"T\"")) "]}",
     "{\"type\":\"record\",\"name\":\"T\",\"fields\":[" FLD("kids", ARR("\"T\"")) "," DEF("n", I, "1") "]}",
     NULL, NULL, "[R] a tree"},
    {"{\"type\":\"record\",\"name\":\"T\",\"fields\":[" FLD("kids", MAP("\"T\"")) "," FLD("v", S) "]}",
     "{\"type\":\"record\",\"name\":\"T\",\"fields\":[" FLD("kids", MAP("\"T\"")) "," FLD("v", I) "]}",
     "TYPE_MISMATCH", "/fields/1/type", "[C] once"},

    /* logical types */
    {LOG("\"int\"", "date"), I, NULL, NULL, "[L] a reader may ignore it"},
    {I, LOG("\"int\"", "date"), NULL, NULL, "[L] a writer may not have had it"},
    {LOG("\"int\"", "time-millis"), LOG("\"int\"", "date"), NULL, NULL, "[L] the type beneath counts"},
    {LOG("\"int\"", "date"), LOG("\"long\"", "timestamp-millis"), NULL, NULL,
     "[L] the type beneath is promoted"},
    {LOG("\"long\"", "timestamp-millis"), LOG("\"int\"", "date"), MISMATCH,
     "[L] the type beneath is not promoted"},
    {LOG("\"string\"", "uuid"), S, NULL, NULL, "[L] a reader may ignore it"},
    {LOG("\"string\"", "no-such"), S, NULL, NULL, "[L] unknown ones are ignored"},
    {DEC("4", "2"), DEC("4", "2"), NULL, NULL, "[L] decimals: precision and scale match"},
    {DEC("4", "2"), DEC("4", "1"), MISMATCH, "[L] decimals: scale"},
    {DEC("4", "2"), DEC("6", "2"), MISMATCH, "[L] decimals: precision"},
    {DEC("4", "2"), B, NULL, NULL, "[L] a reader may ignore it"},
    {DEC("4", "2"), DEC("4", "9"), NULL, NULL, "[L] an invalid decimal is none"},
    {FDEC("8", "4", "2"), FDEC("8", "4", "2"), NULL, NULL, "[L] decimals in fixed"},
    {FDEC("8", "4", "2"), FDEC("8", "4", "3"), MISMATCH, "[L] decimals in fixed"},
    {FDEC("1", "4", "2"), FDEC("1", "4", "3"), NULL, NULL,
     "[L] a fixed too small for its precision is no decimal"},

    /* what means nothing to resolution */
    {REC(FLD("a", I)),
     "{\"type\":\"record\",\"name\":\"R\",\"doc\":\"d\",\"x\":1,\"fields\":[{\"name\":\"a\",\"doc\":\"e\","
     "\"type\":\"int\",\"order\":\"ignore\"}]}",
     NULL, NULL, "[R] docs, orders and other attributes"},
    {REC(DEF("a", I, "1")), REC(DEF("a", I, "2")), NULL, NULL, "[R] a default may change"},
    {REC(DEF("a", I, "1")), REC(FLD("a", I)), NULL, NULL, "[R] a default may go"},
};

#define AVRO_CASES (sizeof avro_cases / sizeof *avro_cases)

#endif
