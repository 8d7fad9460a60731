// A journey with stock gRPC libraries: @grpc/grpc-js and the proto file, nothing of ours.
//
//   node journey.js ADDRESS      creates a topic, produces over both calls, fetches over both, lists offsets
//
// Prints one JSON line with what it saw; exits 1 with the error otherwise.
import path from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const here = path.dirname(fileURLToPath(import.meta.url));
const proto = path.join(here, "../../proto/streamhouse.proto");
const definition = protoLoader.loadSync(proto, { longs: String, keepCase: true, defaults: true });
const { streamhouse } = grpc.loadPackageDefinition(definition);

const address = process.argv[2];
const topic = "from-node";
const credentials = grpc.credentials.createInsecure();
const admin = new streamhouse.v1.Admin(address, credentials);
const client = new streamhouse.v1.StreamHouse(address, credentials);

const call = (service, method, request) =>
  new Promise((resolve, reject) =>
    service[method](request, { deadline: Date.now() + 30000 }, (error, answer) => (error ? reject(error) : resolve(answer))),
  );

const record = (value, key) => ({ value: Buffer.from(value), ...(key ? { key: Buffer.from(key) } : {}) });

async function produceOverStream(values) {
  const stream = client.ProduceStream();
  const offsets = [];
  const ended = new Promise((resolve, reject) => {
    stream.on("data", (answer) => offsets.push(Number(answer.results[0].base_offset)));
    stream.on("end", resolve);
    stream.on("error", reject);
  });
  values.forEach((value, i) =>
    stream.write({ request_id: i, partitions: [{ topic, partition: 0, records: [record(value)] }] }),
  );
  stream.end();
  await ended;
  return offsets;
}

async function fetchOverStream(count) {
  const stream = client.FetchStream({ decode: true, max_wait_ms: 500, partitions: [{ topic, partition: 0, offset: 0 }] });
  const values = [];
  stream.on("error", () => {}); // our own cancel
  for await (const response of stream) {
    for (const result of response.results) values.push(...result.records.map((r) => r.value.toString()));
    if (values.length >= count) break;
  }
  stream.cancel();
  return values;
}

async function main() {
  await call(admin, "CreateTopic", { name: topic, partitions: 1 });
  const unary = await call(client, "Produce", {
    partitions: [{ topic, partition: 0, records: [record("one", "k"), record("two")] }],
  });
  const streamed = await produceOverStream(["three", "four", "five"]);
  const fetched = await call(client, "Fetch", { decode: true, partitions: [{ topic, partition: 0, offset: 1 }] });
  const latest = await call(client, "ListOffsets", { partitions: [{ topic, partition: 0, timestamp_ms: -1 }] });
  const metadata = await call(client, "Metadata", { topics: [topic] });
  const refused = await call(client, "Produce", {
    partitions: [{ topic: "no-such-topic", partition: 0, records: [record("x")] }],
  }).then(() => "accepted", (error) => grpc.status[error.code]);
  console.log(
    JSON.stringify({
      base_offset: Number(unary.results[0].base_offset),
      streamed,
      fetched: fetched.results[0].records.map((r) => r.value.toString()),
      fetched_over_stream: await fetchOverStream(5),
      latest: Number(latest.results[0].offset),
      owner: metadata.topics[0].partitions[0].owner.address,
      refused,
    }),
  );
  client.close();
  admin.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
