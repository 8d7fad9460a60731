// A schema's life with @kafkajs/confluent-schema-registry.
//
//   node registry_kafkajs.js URL      for each type: registers, writes, reads, evolves, is refused
//
// Prints one JSON line with what it saw; exits 1 with the error otherwise.
import { Buffer } from "node:buffer";
import { SchemaRegistry, SchemaType, COMPATIBILITY } from "@kafkajs/confluent-schema-registry";

const url = process.argv[2];
const fresh = () => new SchemaRegistry({ host: url, retry: { retries: 0 } });

const avro = (...fields) => JSON.stringify({ type: "record", name: "Order", namespace: "shop", fields });
const json = (properties, required) =>
  JSON.stringify({ type: "object", title: "Order", properties, required, additionalProperties: false });
const lives = {
  AVRO: {
    first: avro({ name: "id", type: "long" }),
    second: avro({ name: "id", type: "long" }, { name: "note", type: "string", default: "" }),
    breaking: avro({ name: "id", type: "long" }, { name: "price", type: "double" }),
  },
  JSON: {
    first: json({ id: { type: "integer" } }, ["id"]),
    second: json({ id: { type: "number" } }, ["id"]),
    breaking: json({ id: { type: "string" } }, ["id"]),
  },
  PROTOBUF: {
    first: 'syntax = "proto3"; package shop; message Order { int64 id = 1; }',
    second: 'syntax = "proto3"; package shop; message Order { int64 id = 1; string note = 2; }',
    breaking: 'syntax = "proto3"; package shop; message Order { string id = 1; }',
  },
};

async function refusal(promise) {
  try {
    await promise;
    return "accepted";
  } catch (error) {
    return error.status ?? error.name;
  }
}

async function live(type, { first, second, breaking }) {
  const registry = fresh();
  const subject = `kafkajs/${type} 100%`;
  const register = (schema) => registry.register({ type: SchemaType[type], schema }, { subject });
  const { id } = await register(first);
  const again = (await fresh().register({ type: SchemaType[type], schema: first }, { subject })).id;
  const wire = await registry.encode(id, { id: 7 });
  // Another client knows nothing but the bytes.
  const read = await fresh().decode(wire);
  const evolved = (await register(second)).id;
  return {
    same: id === again,
    header: wire.subarray(0, 5).equals(Buffer.from([0, 0, 0, 0, id])),
    read: Number(read.id),
    evolved: evolved !== id && (await fresh().getLatestSchemaId(subject)) === evolved,
    refused: await refusal(register(breaking)),
    found: await registry.getRegistryIdBySchema(subject, { type: SchemaType[type], schema: first }) === id,
    wire: wire.toString("hex"),
  };
}

async function reference() {
  const registry = fresh();
  await registry.register(
    { type: SchemaType.AVRO, schema: '{"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}' }, { subject: "colour" });
  const { id } = await registry.register({
    type: SchemaType.AVRO,
    schema: '{"type": "record", "name": "Car", "fields": [{"name": "colour", "type": "Colour"}]}',
    references: [{ name: "Colour", subject: "colour", version: 1 }],
  }, { subject: "car", compatibility: COMPATIBILITY.BACKWARD });
  return (await fresh().decode(await registry.encode(id, { colour: "BLUE" }))).colour;
}

const seen = {};
for (const [type, life] of Object.entries(lives)) seen[type] = await live(type, life);
seen.reference = await reference();
seen.unknown = await refusal(fresh().decode(Buffer.from([0, 0, 9, 9, 9, 1])));
console.log(JSON.stringify(seen));
