// A schema's life with @confluentinc/schemaregistry: its client and its serializers.
//
//   node registry_confluent.js URL      for each type: registers, writes, reads, evolves, is refused
//
// Prints one JSON line with what it saw; exits 1 with the error otherwise.
import { create, createFileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import {
  AvroDeserializer, AvroSerializer, Compatibility, JsonDeserializer, JsonSerializer, ProtobufDeserializer,
  ProtobufSerializer, SchemaRegistryClient, SerdeType,
} from "@confluentinc/schemaregistry";

const url = process.argv[2];
const fresh = () => new SchemaRegistryClient({ baseURLs: [url], maxRetries: 0 });

async function refusal(promise) {
  try {
    await promise;
    return "accepted";
  } catch (error) {
    return error.errorCode ?? String(error);
  }
}

const avro = (...fields) => JSON.stringify({ type: "record", name: "Order", namespace: "shop", fields });
const json = (id) => JSON.stringify({
  $schema: "http://json-schema.org/draft-07/schema#", type: "object", title: "Order",
  properties: { id: { type: id } }, required: ["id"], additionalProperties: false,
});

async function live(topic, schemaType, first, second, breaking, Serializer, Deserializer) {
  const client = fresh();
  const subject = `${topic}-value`;
  const id = await client.register(subject, { schemaType, schema: first });
  const serializer = new Serializer(client, SerdeType.VALUE, { autoRegisterSchemas: false, useLatestVersion: true });
  const wire = await serializer.serialize(topic, { id: 7 });
  const read = await new Deserializer(fresh(), SerdeType.VALUE, {}).deserialize(topic, wire);
  await client.updateCompatibility(subject, Compatibility.FULL);
  const level = await client.getCompatibility(subject);
  await client.updateCompatibility(subject, Compatibility.BACKWARD);
  const compatible = [await client.testCompatibility(subject, 1, { schemaType, schema: second }),
    await client.testSubjectCompatibility(subject, { schemaType, schema: breaking })];
  const evolved = await client.register(subject, { schemaType, schema: second });
  const refused = await refusal(client.register(subject, { schemaType, schema: breaking }));
  const latest = await fresh().getLatestSchemaMetadata(subject);
  return {
    read: read.id, level, compatible, refused, versions: await client.getAllVersions(subject),
    latest: latest.id === evolved && latest.version === 2,
    version: await fresh().getVersion(subject, { schemaType, schema: first }),
    id: (await client.getId(subject, { schemaType, schema: first })) === id, wire: wire.toString("hex"),
  };
}

const type = { INT64: 3, INT32: 5, STRING: 9 };
const field = (name, number, kind) => ({ name, number, type: kind, label: 1, jsonName: name });
const message = (...fields) => createFileRegistry(create(FileDescriptorSetSchema, {
  file: [create(FileDescriptorProtoSchema, {
    name: "order.proto", package: "shop", syntax: "proto3", messageType: [{ name: "Order", field: fields }],
  })],
})).getMessage("shop.Order");

async function liveProtobuf() {
  const write = async (description, value) => {
    const serializer = new ProtobufSerializer(fresh(), SerdeType.VALUE, { autoRegisterSchemas: true });
    serializer.registry.add(description);
    return await serializer.serialize("protos", create(description, value));
  };
  const first = message(field("id", 1, type.INT64));
  const second = message(field("id", 1, type.INT64), field("note", 2, type.STRING));
  const breaking = message(field("id", 1, type.STRING));
  const wire = await write(first, { id: 7n });
  const read = await new ProtobufDeserializer(fresh(), SerdeType.VALUE, {}).deserialize("protos", wire);
  const newer = await new ProtobufDeserializer(fresh(), SerdeType.VALUE, {}).deserialize(
    "protos", await write(second, { id: 8n, note: "hello" }));
  return {
    read: Number(read.id), newer: newer.note, refused: await refusal(write(breaking, { id: "x" })),
    same: wire.equals(await write(first, { id: 7n })),
    versions: await fresh().getAllVersions("protos-value"), wire: wire.toString("hex"),
  };
}

async function deletion() {
  const client = fresh();
  const subject = "gone?&/100%";
  await client.register(subject, { schemaType: "AVRO", schema: '"string"' });
  return {
    subjects: (await client.getAllSubjects()).includes(subject),
    soft: await client.deleteSubject(subject),
    missing: await refusal(fresh().getLatestSchemaMetadata(subject)),
    permanent: await client.deleteSubject(subject, true),
    unknown: await refusal(fresh().getBySubjectAndId(subject, 999999)),
    invalid: await refusal(client.register(subject, { schemaType: "AVRO", schema: '{"type": "nothing"}' })),
    rules: await refusal(client.register(subject, { schemaType: "AVRO", schema: '"string"', metadata: { properties: { a: "b" } } })),
    level: await client.getDefaultCompatibility(),
  };
}

const seen = {
  AVRO: await live("avros", "AVRO", avro({ name: "id", type: "int" }),
    avro({ name: "id", type: "int" }, { name: "note", type: "string", default: "" }), avro({ name: "id", type: "string" }),
    AvroSerializer, AvroDeserializer),
  JSON: await live("jsons", "JSON", json("integer"), json("number"), json("string"), JsonSerializer, JsonDeserializer),
  PROTOBUF: await liveProtobuf(),
  deletion: await deletion(),
};
console.log(JSON.stringify(seen));
