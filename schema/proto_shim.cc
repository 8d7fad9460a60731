/*
 * proto_shim.cc - libprotobuf's parser, behind one C function.
 *
 * The only C++ of the project: nobody should write a second parser of .proto. All exceptions end here, and
 * what libprotobuf would do in time or depth without bound is bounded before it is called.
 */
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

extern "C" {
#include "schema/proto_model.h"
}

namespace pb = google::protobuf;

namespace
{

const char kMainFile[] = "default.proto";
/* libprotobuf compares each range of a message with each other and with each field. */
const int kRangesMax = 1000;
const int kFieldsMax = 10000;
const int kTypesMax = 20000;
/* It keeps the full name of each type, field and value, and writes names in full: packages and outer types
 * count again for each. */
const size_t kNamesMax = 32u << 20;
const size_t kBytesAStep = 4;
const size_t kMemoryAByte = 40;

/* Keeps the first error, with its place. */
class FirstError : public pb::io::ErrorCollector, public pb::DescriptorPool::ErrorCollector
{
  public:
    std::string words;

    void AddError(int line, pb::io::ColumnNumber column, const std::string &message) override
    {
        if (words.empty())
            words = "line " + std::to_string(line + 1) + ", column " + std::to_string(column + 1) + ": " +
                    message;
    }
    void AddError(const std::string &file, const std::string &element, const pb::Message *, ErrorLocation,
                  const std::string &message) override
    {
        if (words.empty())
            words = (file == kMainFile ? "" : file + ": ") + (element.empty() ? "" : element + ": ") +
                    message;
    }
};

struct Counts {
    int types = 0;
    size_t names = 0; /* bytes of full names */

    bool add(size_t scope, size_t name)
    {
        names += scope + name + 2;
        return names <= kNamesMax;
    }
};

bool enum_within_bounds(const pb::EnumDescriptorProto &type, size_t scope, Counts *counts)
{
    if (++counts->types > kTypesMax || type.reserved_range_size() > kRangesMax ||
        type.reserved_name_size() > kRangesMax || !counts->add(scope, type.name().size()))
        return false;
    for (const auto &value : type.value())
        if (!counts->add(scope, value.name().size()))
            return false;
    return true;
}

bool message_within_bounds(const pb::DescriptorProto &message, size_t outer, Counts *counts)
{
    const size_t scope = outer + message.name().size() + 1;
    int required = 0;
    if (++counts->types > kTypesMax || message.field_size() > kFieldsMax ||
        !counts->add(outer, message.name().size()) ||
        message.reserved_range_size() > kRangesMax || message.extension_range_size() > kRangesMax ||
        message.reserved_name_size() > kRangesMax)
        return false;
    for (const auto &field : message.field()) {
        /* Its own name, and that of its type as it is written out: as long as a scope and what it says. */
        if (!counts->add(scope, field.name().size()) || !counts->add(scope, field.type_name().size()))
            return false;
        required += field.label() == pb::FieldDescriptorProto::LABEL_REQUIRED;
    }
    if (required > SH_PROTO_REQUIRED_MAX)
        return false;
    for (const auto &type : message.enum_type())
        if (!enum_within_bounds(type, scope, counts))
            return false;
    for (const auto &nested : message.nested_type())
        if (!message_within_bounds(nested, scope, counts))
            return false;
    return true;
}

bool file_within_bounds(const pb::FileDescriptorProto &file)
{
    Counts counts;
    for (const auto &type : file.enum_type())
        if (!enum_within_bounds(type, file.package().size(), &counts))
            return false;
    for (const auto &message : file.message_type())
        if (!message_within_bounds(message, file.package().size(), &counts))
            return false;
    return true;
}

bool parse_file(const char *text, size_t text_bytes, const std::string &name, pb::FileDescriptorProto *file,
                FirstError *error)
{
    pb::io::ArrayInputStream input(text, static_cast<int>(text_bytes));
    pb::io::Tokenizer tokenizer(&input, error);
    pb::compiler::Parser parser;
    parser.RecordErrorsTo(error);
    bool parsed = parser.Parse(&tokenizer, file) && error->words.empty();
    file->set_name(name);
    return parsed;
}

std::string base64(const std::string &bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t three = 0;
        for (size_t j = 0; j < 3; j++)
            three = (three << 8) | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0u);
        for (size_t j = 0; j < 4; j++)
            out += i + j <= bytes.size() ? digits[(three >> (18 - 6 * j)) & 63] : '=';
    }
    return out;
}

/* Makes the C model of everything that the main file's messages reach. */
class Builder
{
  public:
    explicit Builder(ShSchemaArena *arena) : arena_(arena) {}

    void build(const pb::FileDescriptor *file, ShProtoModel *model)
    {
        auto **messages = array<const ShProtoMessage *>(static_cast<size_t>(file->message_type_count()));
        for (int i = 0; i < file->message_type_count(); i++)
            messages[i] = place(file->message_type(i));
        while (!waiting_.empty()) { /* a list, not recursion: a chain of types may be long */
            const pb::Descriptor *next = waiting_.back();
            waiting_.pop_back();
            fill(next);
        }
        model->messages = messages;
        model->message_count = static_cast<size_t>(file->message_type_count());
        model->text = copy(file->DebugString());
        pb::FileDescriptorProto proto;
        file->CopyTo(&proto);
        model->serialized = copy(base64(proto.SerializeAsString()));
    }

  private:
    ShSchemaArena *arena_;
    std::unordered_map<const pb::Descriptor *, ShProtoMessage *> placed_;
    std::vector<const pb::Descriptor *> waiting_;

    template <typename T> T *array(size_t count)
    {
        void *bytes = sh_schema_arena_alloc(arena_, count * sizeof(T) + 1);
        if (bytes == nullptr)
            throw std::bad_alloc();
        return static_cast<T *>(bytes);
    }
    const char *copy(const std::string &text)
    {
        char *out = array<char>(text.size() + 1);
        std::copy(text.begin(), text.end(), out);
        return out;
    }
    ShProtoMessage *place(const pb::Descriptor *descriptor)
    {
        ShProtoMessage *&message = placed_[descriptor];
        if (message == nullptr) {
            message = array<ShProtoMessage>(1);
            waiting_.push_back(descriptor);
        }
        return message;
    }
    void fill(const pb::Descriptor *descriptor)
    {
        ShProtoMessage *message = placed_[descriptor];
        const std::string &package = descriptor->file()->package();
        message->full_name = copy(descriptor->full_name());
        message->name = message->full_name + (package.empty() ? 0 : package.size() + 1);
        message->short_name = copy(descriptor->name());
        message->is_map_entry = descriptor->options().map_entry();

        auto **nested = array<const ShProtoMessage *>(static_cast<size_t>(descriptor->nested_type_count()));
        for (int i = 0; i < descriptor->nested_type_count(); i++)
            if (!descriptor->nested_type(i)->options().map_entry())
                nested[message->nested_count++] = place(descriptor->nested_type(i));
        message->nested = nested;

        auto **oneofs = array<const char *>(static_cast<size_t>(descriptor->real_oneof_decl_count()));
        for (int i = 0; i < descriptor->real_oneof_decl_count(); i++)
            oneofs[i] = copy(descriptor->oneof_decl(i)->name());
        message->oneofs = oneofs;
        message->oneof_count = static_cast<size_t>(descriptor->real_oneof_decl_count());

        message->field_count = static_cast<size_t>(descriptor->field_count());
        ShProtoField *fields = array<ShProtoField>(message->field_count);
        for (int i = 0; i < descriptor->field_count(); i++)
            fields[i] = field(descriptor->field(i), message);
        std::sort(fields, fields + message->field_count,
                  [](const ShProtoField &a, const ShProtoField &b) { return a.number < b.number; });
        message->fields = fields;
    }
    ShProtoField field(const pb::FieldDescriptor *descriptor, ShProtoMessage *message)
    {
        ShProtoField out{};
        out.name = copy(descriptor->name());
        out.number = descriptor->number();
        out.type = static_cast<uint8_t>(descriptor->type());
        out.label = static_cast<uint8_t>(descriptor->label());
        const pb::OneofDescriptor *oneof = descriptor->real_containing_oneof();
        out.oneof = oneof == nullptr ? -1 : oneof->index();
        out.required_index = descriptor->is_required() ? static_cast<int32_t>(message->required_count++) : -1;
        out.is_utf8 = descriptor->type() == pb::FieldDescriptor::TYPE_STRING &&
                      descriptor->file()->syntax() == pb::FileDescriptor::SYNTAX_PROTO3;
        if (descriptor->message_type() != nullptr)
            out.message = place(descriptor->message_type());
        return out;
    }
};

ShStatus refuse(ShError *err, const std::string &words)
{
    return sh_fail(err, SH_INVALID, "%s", words.c_str());
}

ShStatus too_large(ShError *err, const char *name)
{
    return sh_fail(
        err, SH_TOO_LARGE,
        "%s has a type of more than %d fields (%d required ones) or %d reserved ranges, more than %d types, or "
        "more than %zu MB of names written out in full: split it",
        name, kFieldsMax, SH_PROTO_REQUIRED_MAX, kRangesMax, kTypesMax, kNamesMax >> 20);
}

/* libprotobuf takes no budget: what it may take goes by the text's bytes. */
bool spend_text(ShSchemaBudget *budget, size_t text_bytes)
{
    return sh_budget_spend(budget, text_bytes / kBytesAStep) &&
           sh_budget_hold(budget, text_bytes * kMemoryAByte);
}

ShStatus parse(const char *text, size_t text_bytes, bool text_is_descriptor,
               const ShSchemaReference *references, size_t reference_count, ShSchemaBudget *budget,
               ShProtoModel *model, ShError *err)
{
    pb::LogSilencer silence;
    size_t all_bytes = text_bytes;
    if (!spend_text(budget, text_bytes))
        return budget->ended;
    pb::DescriptorPool pool(pb::DescriptorPool::generated_pool());
    for (size_t i = 0; i < reference_count; i++) {
        const ShSchemaReference &reference = references[i];
        if (pb::DescriptorPool::generated_pool()->FindFileByName(reference.name) != nullptr)
            continue; /* one of google/protobuf: the library has it */
        if (!spend_text(budget, reference.text_bytes))
            return budget->ended;
        all_bytes += reference.text_bytes;
        FirstError error;
        pb::FileDescriptorProto file;
        if (!parse_file(reference.text, reference.text_bytes, reference.name, &file, &error))
            return refuse(err, std::string("the reference ") + reference.name + ": " + error.words);
        if (!file_within_bounds(file))
            return too_large(err, reference.name);
        if (pool.BuildFileCollectingErrors(file, &error) == nullptr)
            return refuse(err, std::string("the reference ") + reference.name + ": " + error.words);
    }
    FirstError error;
    pb::FileDescriptorProto file;
    if (text_is_descriptor) {
        if (!file.ParseFromArray(text, static_cast<int>(text_bytes)))
            return refuse(err, "it is neither a .proto text nor a FileDescriptorProto in base64");
        file.set_name(kMainFile);
    } else if (!parse_file(text, text_bytes, kMainFile, &file, &error)) {
        return refuse(err, error.words);
    }
    if (!file_within_bounds(file))
        return too_large(err, "the schema");
    for (const std::string &import : file.dependency())
        if (pool.FindFileByName(import) == nullptr)
            return refuse(err, "it imports \"" + import +
                                   "\", which is not among its references: add a reference "
                                   "of this name");
    const pb::FileDescriptor *built = pool.BuildFileCollectingErrors(file, &error);
    if (built == nullptr)
        return refuse(err, error.words);
    if (built->message_type_count() == 0)
        return refuse(err, "it has no message: a schema needs one at least");
    if (!sh_budget_spend(budget, 1))
        return budget->ended; /* that it was interrupted is seen between the library's own steps */
    Builder(model->arena).build(built, model);
    sh_budget_release(budget, all_bytes * kMemoryAByte); /* the pool goes now */
    return SH_OK;
}

} /* namespace */

ShStatus sh_proto_shim_parse(const char *text, size_t text_bytes, bool text_is_descriptor,
                             const ShSchemaReference *references, size_t reference_count,
                             ShSchemaBudget *budget, ShProtoModel *model, ShError *err)
{
    try {
        return parse(text, text_bytes, text_is_descriptor, references, reference_count, budget, model, err);
    } catch (const std::bad_alloc &) {
        return sh_fail(err, SH_NO_MEMORY, "no memory to parse a Protobuf schema");
    } catch (const std::exception &fault) {
        return sh_fail(err, SH_INVALID, "libprotobuf gives up: %s", fault.what());
    } catch (...) {
        return sh_fail(err, SH_INVALID, "libprotobuf gives up");
    }
}
