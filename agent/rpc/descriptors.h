/*
 * descriptors.h - the served proto files: look up a file by its name or by what it declares.
 *
 * Reads the FileDescriptorSet of proto/descriptor.h in place. Source of the fields: descriptor.proto of
 * Protocol Buffers.
 */
#ifndef SH_AGENT_RPC_DESCRIPTORS_H
#define SH_AGENT_RPC_DESCRIPTORS_H

#include "agent/rpc/wire.h"

#define SH_DESCRIPTOR_FILES_MAX 16

/* One FileDescriptorProto of the set. */
typedef struct ShDescriptorFile {
    ShWireBytes bytes;
    ShWireBytes name;
    ShWireBytes package;
} ShDescriptorFile;

/* All files, in the set's order (what is imported comes first); returns how many. */
size_t sh_descriptor_files(ShDescriptorFile files[SH_DESCRIPTOR_FILES_MAX]);

/* The file of this name; NULL when there is none. */
const ShDescriptorFile *sh_descriptor_file_named(const ShDescriptorFile *files, size_t count,
                                                 ShWireBytes name);

/* The file that declares a service, method, message, field, enum or enum value by its full name; NULL when
 * none does. */
const ShDescriptorFile *sh_descriptor_file_declaring(const ShDescriptorFile *files, size_t count,
                                                     ShWireBytes symbol);

/* The next service of a file: `reader` starts over file->bytes. False after the last one. */
bool sh_descriptor_next_service(ShWireReader *reader, ShWireBytes *name);

/* The next file that `file` imports: `reader` starts over file->bytes. False after the last one. */
bool sh_descriptor_next_dependency(ShWireReader *reader, ShWireBytes *name);

#endif
