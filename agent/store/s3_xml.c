#include "agent/store/s3_xml.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX  8
#define NAME_BYTES 40

/* A document under way. `names` is the path of open elements; `text` collects the innermost one's text. */
typedef struct Document {
    XML_Parser parser;
    char names[DEPTH_MAX][NAME_BYTES];
    int depth;
    char text[SH_S3_TEXT_BYTES_MAX];
    size_t text_length;
    bool refused;
    /* Called when an element ends, while its name is names[depth - 1] still. False refuses the document. */
    bool (*on_end)(struct Document *document);
    void *result;
} Document;

typedef struct ListResult {
    ShS3ListedFn fn;
    void *arg;
    bool stopped;
    bool is_list; /* the root element was the right one */
    bool has_key;
    bool truncated;
    bool says_truncated;
    bool says_count;
    uint64_t said_count;
    uint64_t count;
    uint64_t bytes;
    char key[SH_S3_TEXT_BYTES_MAX];
    char next_token[SH_S3_TEXT_BYTES_MAX];
} ListResult;

typedef struct UploadList {
    ShS3UploadFn fn;
    void *arg;
    bool is_list;
    char key[SH_S3_TEXT_BYTES_MAX];
    char upload_id[SH_S3_TEXT_BYTES_MAX];
    char initiated[40];
} UploadList;

static ShStatus check_list(const ListResult *result, ShError *err);
static bool end_of_completion_element(Document *document);
static bool end_of_upload_list_element(Document *document);
static bool parse(const ShBuf *body, bool (*on_end)(Document *), void *result);
static void on_start_element(void *arg, const XML_Char *name, const XML_Char **attributes);
static void on_end_element(void *arg, const XML_Char *name);
static void on_text(void *arg, const XML_Char *text, int length);
static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
                       int has_internal_subset);
static void refuse(Document *document);
static bool at(const Document *document, const char *root, const char *parent, const char *name);
static bool end_of_complaint_element(Document *document);
static bool end_of_upload_element(Document *document);
static bool end_of_list_element(Document *document);
static bool read_size(const char *text, uint64_t *out);

bool sh_s3_xml_complaint(const ShBuf *body, ShS3Complaint *out)
{
    ShS3Complaint complaint = {0};
    bool found = parse(body, end_of_complaint_element, &complaint) && complaint.code[0] != '\0';
    *out = found ? complaint : (ShS3Complaint){0};
    return found;
}

ShStatus sh_s3_xml_upload_id(const ShBuf *body, char out[SH_S3_TEXT_BYTES_MAX], ShError *err)
{
    char upload_id[SH_S3_TEXT_BYTES_MAX] = "";
    if (!parse(body, end_of_upload_element, upload_id) || upload_id[0] == '\0')
        return sh_fail(err, SH_CORRUPT, "the answer names no multipart upload");
    snprintf(out, SH_S3_TEXT_BYTES_MAX, "%s", upload_id);
    return SH_OK;
}

ShStatus sh_s3_xml_list(const ShBuf *body, ShS3ListedFn fn, void *arg, char next_token[SH_S3_TEXT_BYTES_MAX],
                        ShError *err)
{
    ListResult result = {0};
    if (!parse(body, end_of_list_element, &result) || !result.is_list)
        return sh_fail(err, SH_CORRUPT, "is no list of objects");
    ShStatus status = check_list(&result, err);
    if (status != SH_OK)
        return status;
    snprintf(next_token, SH_S3_TEXT_BYTES_MAX, "%s", result.truncated ? result.next_token : "");
    if (fn == NULL)
        return SH_OK;
    ListResult told = {.fn = fn, .arg = arg};
    (void)parse(body, end_of_list_element, &told);
    return SH_OK;
}

static ShStatus check_list(const ListResult *result, ShError *err)
{
    if (!result->says_truncated)
        return sh_fail(err, SH_CORRUPT, "does not say whether the list of objects is all");
    if (result->truncated && result->next_token[0] == '\0')
        return sh_fail(err, SH_CORRUPT, "is a list of objects cut off without a continuation");
    if (result->says_count && result->said_count != result->count)
        return sh_fail(err, SH_CORRUPT, "is a list of %llu objects that says it has %llu",
                       (unsigned long long)result->count, (unsigned long long)result->said_count);
    return SH_OK;
}

bool sh_s3_xml_is_completion(const ShBuf *body)
{
    bool is_completion = false;
    return parse(body, end_of_completion_element, &is_completion) && is_completion;
}

ShStatus sh_s3_xml_upload_list(const ShBuf *body, ShS3UploadFn fn, void *arg, ShError *err)
{
    UploadList list = {0};
    if (!parse(body, end_of_upload_list_element, &list) || !list.is_list)
        return sh_fail(err, SH_CORRUPT, "is no list of uploads");
    if (fn == NULL)
        return SH_OK;
    UploadList told = {.fn = fn, .arg = arg};
    (void)parse(body, end_of_upload_list_element, &told);
    return SH_OK;
}

/* False when the body is empty, no well-formed XML, or was refused. */
static bool parse(const ShBuf *body, bool (*on_end)(Document *), void *result)
{
    if (body == NULL || body->length > INT32_MAX)
        return false;
    Document document = {.on_end = on_end, .result = result};
    document.parser = XML_ParserCreate(NULL);
    if (document.parser == NULL)
        return false;
    XML_SetUserData(document.parser, &document);
    XML_SetElementHandler(document.parser, on_start_element, on_end_element);
    XML_SetCharacterDataHandler(document.parser, on_text);
    XML_SetStartDoctypeDeclHandler(document.parser, on_doctype);
    enum XML_Status status = XML_Parse(document.parser, (const char *)body->data, (int)body->length,
                                       XML_TRUE);
    XML_ParserFree(document.parser);
    return status == XML_STATUS_OK && !document.refused;
}

static void on_start_element(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    (void)attributes;
    Document *document = arg;
    if (document->depth == DEPTH_MAX) {
        refuse(document);
        return;
    }
    /* A longer name is none of those that matter, and stays so when it is cut. */
    snprintf(document->names[document->depth++], NAME_BYTES, "%s", name);
    document->text_length = 0;
    document->text[0] = '\0';
}

static void on_end_element(void *arg, const XML_Char *name)
{
    (void)name;
    Document *document = arg;
    if (document->refused)
        return;
    if (!document->on_end(document))
        refuse(document);
    document->depth--;
    document->text_length = 0;
    document->text[0] = '\0';
}

static void on_text(void *arg, const XML_Char *text, int length)
{
    Document *document = arg;
    if (document->text_length + (size_t)length >= sizeof document->text) {
        refuse(document);
        return;
    }
    memcpy(document->text + document->text_length, text, (size_t)length);
    document->text_length += (size_t)length;
    document->text[document->text_length] = '\0';
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
                       int has_internal_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_internal_subset;
    refuse(arg);
}

static void refuse(Document *document)
{
    document->refused = true;
    XML_StopParser(document->parser, XML_FALSE);
}

/* Whether the element that ends stands at root/parent/name, or root/name when `parent` is NULL. */
static bool at(const Document *document, const char *root, const char *parent, const char *name)
{
    int depth = parent != NULL ? 3 : 2;
    return document->depth == depth && strcmp(document->names[0], root) == 0 &&
           (parent == NULL || strcmp(document->names[1], parent) == 0) &&
           strcmp(document->names[depth - 1], name) == 0;
}

static bool end_of_complaint_element(Document *document)
{
    ShS3Complaint *complaint = document->result;
    if (at(document, "Error", NULL, "Code")) {
        snprintf(complaint->code, sizeof complaint->code, "%.*s", (int)sizeof complaint->code - 1,
                 document->text);
    } else if (at(document, "Error", NULL, "Message")) {
        snprintf(complaint->message, sizeof complaint->message, "%.*s", (int)sizeof complaint->message - 1,
                 document->text);
        for (char *c = complaint->message; *c != '\0'; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7F)
                *c = '?';
    }
    return true;
}

static bool end_of_upload_element(Document *document)
{
    if (at(document, "InitiateMultipartUploadResult", NULL, "UploadId"))
        snprintf(document->result, SH_S3_TEXT_BYTES_MAX, "%s", document->text);
    return true;
}

static bool end_of_completion_element(Document *document)
{
    bool *is_completion = document->result;
    if (document->depth == 1)
        *is_completion = strcmp(document->names[0], "CompleteMultipartUploadResult") == 0;
    return true;
}

static bool end_of_upload_list_element(Document *document)
{
    static const char root[] = "ListMultipartUploadsResult";
    UploadList *list = document->result;
    if (at(document, root, "Upload", "Key")) {
        snprintf(list->key, sizeof list->key, "%s", document->text);
    } else if (at(document, root, "Upload", "UploadId")) {
        snprintf(list->upload_id, sizeof list->upload_id, "%s", document->text);
    } else if (at(document, root, "Upload", "Initiated")) {
        snprintf(list->initiated, sizeof list->initiated, "%.*s", (int)sizeof list->initiated - 1,
                 document->text);
    } else if (at(document, root, NULL, "Upload")) {
        if (list->fn != NULL && list->key[0] != '\0' && list->upload_id[0] != '\0')
            list->fn(list->arg, list->key, list->upload_id, list->initiated);
        list->key[0] = list->upload_id[0] = list->initiated[0] = '\0';
    } else if (document->depth == 1) {
        list->is_list = strcmp(document->names[0], root) == 0;
    }
    return true;
}

static bool end_of_list_element(Document *document)
{
    static const char root[] = "ListBucketResult";
    ListResult *result = document->result;
    if (at(document, root, "Contents", "Key")) {
        snprintf(result->key, sizeof result->key, "%s", document->text);
        result->has_key = true;
    } else if (at(document, root, "Contents", "Size")) {
        return read_size(document->text, &result->bytes);
    } else if (at(document, root, NULL, "Contents")) {
        if (!result->has_key)
            return false;
        result->stopped = result->stopped ||
                          (result->fn != NULL && !result->fn(result->arg, result->key, result->bytes));
        result->count++;
        result->has_key = false;
        result->bytes = 0;
    } else if (at(document, root, NULL, "IsTruncated")) {
        result->truncated = strcmp(document->text, "true") == 0;
        result->says_truncated = result->truncated || strcmp(document->text, "false") == 0;
    } else if (at(document, root, NULL, "KeyCount")) {
        result->says_count = true;
        return read_size(document->text, &result->said_count);
    } else if (at(document, root, NULL, "NextContinuationToken")) {
        snprintf(result->next_token, sizeof result->next_token, "%s", document->text);
    } else if (document->depth == 1) {
        result->is_list = strcmp(document->names[0], root) == 0;
    }
    return true;
}

static bool read_size(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return false;
    *out = value;
    return true;
}
