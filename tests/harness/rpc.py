"""gRPC from Python: Debian's grpcio with messages generated from the proto file; nothing of libstreamhouse."""
import subprocess
import sys
import time

import grpc

from harness.processes import PATIENCE, ROOT

_GENERATED = ROOT / "build" / "gen" / "python"


def _messages():
    source = ROOT / "proto" / "streamhouse.proto"
    target = _GENERATED / "streamhouse_pb2.py"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        _GENERATED.mkdir(parents=True, exist_ok=True)
        subprocess.run(["protoc", f"--python_out={_GENERATED}", "-I", source.parent, "streamhouse.proto", "health.proto"],
                       check=True)
    sys.path.insert(0, str(_GENERATED))
    import streamhouse_pb2
    import health_pb2
    return streamhouse_pb2, health_pb2


pb, health_pb = _messages()

_METHODS = {
    "Metadata": ("unary_unary", pb.MetadataRequest, pb.MetadataResponse),
    "Produce": ("unary_unary", pb.ProduceRequest, pb.ProduceResponse),
    "ProduceStream": ("stream_stream", pb.ProduceRequest, pb.ProduceResponse),
    "Fetch": ("unary_unary", pb.FetchRequest, pb.FetchResponse),
    "FetchStream": ("unary_stream", pb.FetchRequest, pb.FetchResponse),
    "InitProducer": ("unary_unary", pb.InitProducerRequest, pb.InitProducerResponse),
    "ListOffsets": ("unary_unary", pb.ListOffsetsRequest, pb.ListOffsetsResponse),
}
_ADMIN = {
    "CreateTopic": ("unary_unary", pb.CreateTopicRequest, pb.CreateTopicResponse),
    "DeleteTopic": ("unary_unary", pb.DeleteTopicRequest, pb.DeleteTopicResponse),
    "DescribeTopics": ("unary_unary", pb.DescribeTopicsRequest, pb.DescribeTopicsResponse),
}


class Client:
    """Calls of both services as methods; `deadline` in seconds."""

    def __init__(self, address, deadline=20):
        self.deadline = deadline * PATIENCE
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        for service, methods in (("StreamHouse", _METHODS), ("Admin", _ADMIN)):
            for name, (kind, request, response) in methods.items():
                call = getattr(self.channel, kind)(
                    f"/streamhouse.v1.{service}/{name}",
                    request_serializer=request.SerializeToString, response_deserializer=response.FromString)
                setattr(self, "_" + name, call)
        self._health = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check", request_serializer=health_pb.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb.HealthCheckResponse.FromString)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- produce

    def produce(self, topic, partition=0, values=(), batches=None, topic_id=b"", **fields):
        """One partition's records (bytes, or pb.Record) or raw batches; the ProduceResult. As clients do, it tries
        again while the agent refuses with UNAVAILABLE and a delay (a partition that is being opened)."""
        part = pb.ProducePartition(topic=topic, topic_id=topic_id, partition=partition, **fields)
        if batches is not None:
            part.batches = batches
        part.records.extend(v if isinstance(v, pb.Record) else pb.Record(value=v) for v in values)
        return self.produce_request(pb.ProduceRequest(partitions=[part])).results[0]

    def produce_request(self, request):
        return self._patiently(lambda: self._Produce(request, timeout=self.deadline))

    def _patiently(self, call):
        deadline = time.monotonic() + self.deadline
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                delay_ms = trailing(error, "grpc-retry-pushback-ms")
                is_refused = error.code() is grpc.StatusCode.UNAVAILABLE and delay_ms and not is_outcome_open(error)
                if not is_refused or time.monotonic() > deadline:
                    raise
                time.sleep(int(delay_ms) / 1000)

    def confirm(self, topic, partition, producer_id, producer_epoch, first_unacked_seq):
        """What an idempotent producer says when it has nothing to send."""
        return self.produce(topic, partition, is_confirmation=True, producer_id=producer_id, producer_epoch=producer_epoch,
                            first_unacked_seq=first_unacked_seq)

    def init_producer(self, **fields):
        return self._InitProducer(pb.InitProducerRequest(**fields), timeout=self.deadline)

    def produce_stream(self, requests):
        return self._ProduceStream(requests, timeout=self.deadline)

    # --- fetch

    def fetch(self, topic, partition=0, offset=0, max_wait_ms=0, min_bytes=1, max_bytes=0, decode=True, topic_id=b""):
        """One partition; the FetchResult."""
        request = pb.FetchRequest(max_wait_ms=max_wait_ms, min_bytes=min_bytes, max_bytes=max_bytes, decode=decode)
        request.partitions.add(topic=topic, topic_id=topic_id, partition=partition, offset=offset)
        return self._patiently(lambda: self._Fetch(request, timeout=self.deadline)).results[0]

    def fetch_stream(self, request):
        return self._FetchStream(request, timeout=self.deadline)

    def read_all(self, topic, partition=0, offset=0):
        """Records from `offset` to the high watermark."""
        records = []
        advanced = time.monotonic()
        while True:
            result = self.fetch(topic, partition, offset)
            assert not result.HasField("error"), result.error
            records.extend(result.records)
            if result.next_offset >= result.high_watermark:
                return records
            if result.next_offset > offset:
                advanced = time.monotonic()
            assert time.monotonic() - advanced < self.deadline, \
                f"{topic}/{partition} ends at {result.high_watermark}, and reading stays at {result.next_offset}"
            offset = result.next_offset

    # --- the rest

    def offset_at(self, topic, timestamp_ms, partition=0):
        """The ListOffsetsResult; -1 latest, -2 earliest."""
        request = pb.ListOffsetsRequest()
        request.partitions.add(topic=topic, partition=partition, timestamp_ms=timestamp_ms)
        return self._patiently(lambda: self._ListOffsets(request, timeout=self.deadline)).results[0]

    def metadata(self, *topics):
        return self._Metadata(pb.MetadataRequest(topics=topics), timeout=self.deadline)

    def create_topic(self, name, **fields):
        return self._CreateTopic(pb.CreateTopicRequest(name=name, **fields), timeout=self.deadline)

    def delete_topic(self, name):
        return self._DeleteTopic(pb.DeleteTopicRequest(name=name), timeout=self.deadline)

    def describe(self, *names):
        return self._DescribeTopics(pb.DescribeTopicsRequest(topics=names), timeout=self.deadline)

    def health(self, service=""):
        return self._health(health_pb.HealthCheckRequest(service=service), timeout=self.deadline).status


def error_of(call):
    """The grpc.RpcError that call() ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


def trailing(error, key):
    return dict(error.trailing_metadata() or ()).get(key)


def is_outcome_open(error):
    """Did the agent give the call up without knowing what becomes of it?"""
    packed = trailing(error, "streamhouse-error-bin")
    return packed is not None and pb.PartitionError.FromString(packed).reason == "CANCELLED"


def partition_error(error):
    """The PartitionError in a failed call's trailing metadata."""
    return pb.PartitionError.FromString(trailing(error, "streamhouse-error-bin"))
