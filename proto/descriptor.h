/* descriptor.h - the compiled proto files, as one serialized FileDescriptorSet, for server reflection. */
#ifndef SH_PROTO_DESCRIPTOR_H
#define SH_PROTO_DESCRIPTOR_H

extern const unsigned char sh_proto_descriptor_set[];
extern const unsigned long sh_proto_descriptor_set_bytes;

#endif
