#include "agent/rpc/descriptors.h"

#include <string.h>

#include "proto/descriptor.h"

/* Field numbers of descriptor.proto. In every declaration field 1 is its name. */
enum { SET_FILE = 1 };
enum { NAME = 1 };
enum { FILE_PACKAGE = 2, FILE_DEPENDENCY = 3, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4 };
enum { ENUM_VALUE = 2 };
enum { SERVICE_METHOD = 2 };

/* Messages inside messages; the project's own proto files nest less. */
#define NESTING_MAX 8

static bool next_field(ShWireReader *reader, uint32_t number, ShWireBytes *out);
static ShWireBytes first_field(ShWireBytes message, uint32_t number);
static bool strip_name(ShWireBytes *symbol, ShWireBytes name);
static bool declares(ShWireBytes file, ShWireBytes symbol);
static bool message_declares(ShWireBytes message, ShWireBytes symbol, int nesting);
static bool has_member(ShWireBytes declaration, uint32_t members, ShWireBytes symbol);
static bool equal(ShWireBytes a, ShWireBytes b);

size_t sh_descriptor_files(ShDescriptorFile files[SH_DESCRIPTOR_FILES_MAX])
{
    ShWireReader reader = sh_wire_reader(sh_proto_descriptor_set, sh_proto_descriptor_set_bytes);
    size_t count = 0;
    ShWireBytes file;
    while (count < SH_DESCRIPTOR_FILES_MAX && next_field(&reader, SET_FILE, &file))
        files[count++] = (ShDescriptorFile){
            .bytes = file, .name = first_field(file, NAME), .package = first_field(file, FILE_PACKAGE)};
    return count;
}

const ShDescriptorFile *sh_descriptor_file_named(const ShDescriptorFile *files, size_t count,
                                                 ShWireBytes name)
{
    for (size_t i = 0; i < count; i++) {
        if (equal(files[i].name, name))
            return &files[i];
    }
    return NULL;
}

const ShDescriptorFile *sh_descriptor_file_declaring(const ShDescriptorFile *files, size_t count,
                                                     ShWireBytes symbol)
{
    for (size_t i = 0; i < count; i++) {
        ShWireBytes rest = symbol;
        if (strip_name(&rest, files[i].package) && rest.length > 0 && declares(files[i].bytes, rest))
            return &files[i];
    }
    return NULL;
}

bool sh_descriptor_next_service(ShWireReader *reader, ShWireBytes *name)
{
    ShWireBytes service;
    if (!next_field(reader, FILE_SERVICE, &service))
        return false;
    *name = first_field(service, NAME);
    return true;
}

bool sh_descriptor_next_dependency(ShWireReader *reader, ShWireBytes *name)
{
    return next_field(reader, FILE_DEPENDENCY, name);
}

/* The next field `number`. The set is the compiler's output: an error in it is its end. */
static bool next_field(ShWireReader *reader, uint32_t number, ShWireBytes *out)
{
    ShWireField field;
    bool more;
    while (sh_wire_next(reader, &field, &more, NULL) == SH_OK && more) {
        if (field.number == number && field.type == SH_WIRE_BYTES) {
            *out = field.bytes;
            return true;
        }
    }
    return false;
}

static ShWireBytes first_field(ShWireBytes message, uint32_t number)
{
    ShWireReader reader = sh_wire_reader(message.data, message.length);
    ShWireBytes found = {0};
    next_field(&reader, number, &found);
    return found;
}

/* If `symbol` is `name` or begins with it and a dot, leave what follows. */
static bool strip_name(ShWireBytes *symbol, ShWireBytes name)
{
    if (symbol->length < name.length || memcmp(symbol->data, name.data, name.length) != 0)
        return false;
    size_t taken = name.length;
    if (symbol->length > taken && symbol->data[taken++] != '.')
        return false;
    symbol->data += taken;
    symbol->length -= taken;
    return true;
}

static bool declares(ShWireBytes file, ShWireBytes symbol)
{
    ShWireReader reader = sh_wire_reader(file.data, file.length);
    ShWireField field;
    bool more;
    while (sh_wire_next(&reader, &field, &more, NULL) == SH_OK && more) {
        if ((field.number == FILE_MESSAGE && message_declares(field.bytes, symbol, 0)) ||
            (field.number == FILE_ENUM && has_member(field.bytes, ENUM_VALUE, symbol)) ||
            (field.number == FILE_SERVICE && has_member(field.bytes, SERVICE_METHOD, symbol)))
            return true;
    }
    return false;
}

static bool message_declares(ShWireBytes message, ShWireBytes symbol, int nesting)
{
    if (has_member(message, MESSAGE_FIELD, symbol))
        return true;
    if (nesting == NESTING_MAX || !strip_name(&symbol, first_field(message, NAME)))
        return false;
    ShWireReader reader = sh_wire_reader(message.data, message.length);
    ShWireField field;
    bool more;
    while (sh_wire_next(&reader, &field, &more, NULL) == SH_OK && more) {
        if ((field.number == MESSAGE_NESTED && message_declares(field.bytes, symbol, nesting + 1)) ||
            (field.number == MESSAGE_ENUM && has_member(field.bytes, ENUM_VALUE, symbol)))
            return true;
    }
    return false;
}

/* Is `symbol` the declaration itself, or one of its members? */
static bool has_member(ShWireBytes declaration, uint32_t members, ShWireBytes symbol)
{
    if (!strip_name(&symbol, first_field(declaration, NAME)))
        return false;
    if (symbol.length == 0)
        return true;
    ShWireReader reader = sh_wire_reader(declaration.data, declaration.length);
    ShWireBytes member;
    while (next_field(&reader, members, &member)) {
        if (equal(first_field(member, NAME), symbol))
            return true;
    }
    return false;
}

static bool equal(ShWireBytes a, ShWireBytes b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}
