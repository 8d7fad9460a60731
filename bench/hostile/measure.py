#!/usr/bin/python3
"""A victim's requests, and the agent's memory, beside strangers who mean harm: JSON lines on stdout.

    measure.py              every attack, for SECONDS each
    measure.py NAME...      those

A real agent runs with a budget of 128 MB against a private PostgreSQL. For each attack, processes of their own do to
it what no client should, while the victim writes one record after the other over a connection of its own and asks
/health: how long its requests take at the 99th percentile, beside the same without an attack, and the most memory that the
agent's process has. Bounds: 100 ms, and the budget plus 64 MiB; with --check what is over them ends with status 1.
"""
import argparse
import contextlib
import functools
import gzip
import json
import multiprocessing
import pathlib
import resource
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import grpc  # noqa: E402

from harness import batch as batches  # noqa: E402
from harness.agent import Agent  # noqa: E402
from harness.http2 import Http2  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.rpc import Client, pb  # noqa: E402

MIB = 1 << 20
BUDGET_MIB = 128
SECONDS = 10
STRANGER = "127.0.0.2"  # the victim comes from 127.0.0.1
ATTACKERS = 2
P99_MS_MAX = 100
MEMORY_OVER_MIB_MAX = 64
SERVICE = "/streamhouse.v1.StreamHouse/"
STALLED = b"\0" + (15_500_000).to_bytes(4, "big") + b"\x0a" * 15_000_000


# --- attacks: each goes on until its process is ended

def attack_again(name, ports):
    """An attacker comes back when it is thrown out."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    while True:
        with contextlib.suppress(OSError, grpc.RpcError):
            ATTACKS[name](ports)


def place(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def connect(address):
    return socket.create_connection(place(address), timeout=5, source_address=(STRANGER, 0))


@functools.cache
def relay(address):
    """A port of this process that leads to `address` from the strangers' address, which gRPC's client cannot choose."""
    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve():
        while True:
            near, _ = listener.accept()
            far = connect(address)
            far.settimeout(None)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


def busy_machine(ports):
    """No attack: what the others take of the processors beside what they make the agent do."""
    del ports
    while True:
        pass


def idle_connections(ports):
    made = []
    for _ in range(3000):
        made.append(connect(ports["grpc"]))
    time.sleep(1)


def stall(method):
    def attack(ports):
        client = Http2(ports["grpc"], source=STRANGER)
        while not client.closed:
            client.send(client.open(SERVICE + method), STALLED, 2)
    return attack


def headers_only(ports):
    clients = [Http2(ports["grpc"], source=STRANGER) for _ in range(25)]
    for client in clients:
        for _ in range(1000):
            client.open(SERVICE + "Produce")
    time.sleep(1)


def calls_given_up(ports):
    """HTTP/2's "rapid reset"."""
    client = Http2(ports["grpc"], source=STRANGER)
    while not client.closed:
        client.give_up(SERVICE + "Metadata", 100)


def endless_headers(ports):
    client = Http2(ports["grpc"], source=STRANGER)
    stream = client.open_for_ever(SERVICE + "Metadata")
    while not client.closed:
        client.more_headers(stream, (b"\x00\x01x\x64" + b"y" * 100) * 150)


def watches(hosts, connections, calls):
    """Calls that go on and cost their client nothing."""
    def attack(ports):
        clients = []
        for i in range(connections):
            clients.append(Http2(ports["grpc"], source=f"127.0.1.{1 + i % hosts}"))
            for _ in range(calls):
                clients[-1].send_last(clients[-1].open("/grpc.health.v1.Health/Watch"), b"\0" * 5)
        time.sleep(2)
    return attack


def bomb():
    """60 MB of zeros as one value, in a batch of 60 kB."""
    size = 60_000_000
    body = b"\0" + batches.varint(0) + batches.varint(0) + batches.varint(-1) + batches.varint(size) + b"\0" * size + b"\0"
    return batches.batch([b""], codec=1, records=gzip.compress(batches.varint(len(body)) + body))


def unfolding(ports):
    request = pb.ProduceRequest()
    request.partitions.add(topic="t", partition=1, batches=bomb() * 200)
    with Client(relay(ports["grpc"])) as client:
        while True:
            with contextlib.suppress(grpc.RpcError):
                client._Produce(request, timeout=60)


def tiny_records(ports):
    """10 MB of the smallest records there are, which cost the most to check, and a batch that is damaged: all is refused."""
    count = 100_000
    body = b"".join(batches.varint(len(one)) + one for one in
                    (b"\0\0" + batches.varint(i) + b"\1\0\0" for i in range(count)))
    request = pb.ProduceRequest()
    request.partitions.add(topic="t", partition=1, batches=batches.batch([], records=body, count=count) * 15
                           + batches.batch([b"x"], crc=1))
    with Client(relay(ports["grpc"])) as client:
        while True:
            with contextlib.suppress(grpc.RpcError):
                client._Produce(request, timeout=60)


def decoded_fetches(ports):
    """Answers that nobody takes, of records that unfold to much."""
    request = pb.FetchRequest(decode=True)
    request.partitions.add(topic="folded", partition=0, offset=0)
    text = request.SerializeToString()
    clients = [Http2(ports["grpc"], source=STRANGER) for _ in range(40)]
    for client in clients:
        stream = client.open(SERVICE + "Fetch")
        client.send_last(stream, b"\0" + len(text).to_bytes(4, "big") + text)
    time.sleep(2)


def repeated_metadata(ports):
    request = pb.MetadataRequest(topics=["wide"] * 10_000)
    with Client(relay(ports["grpc"])) as client:
        while True:
            with contextlib.suppress(grpc.RpcError):
                client._Metadata(request, timeout=60)


def repeated_offsets(ports):
    request = pb.ListOffsetsRequest()
    for i in range(1500):
        request.partitions.add(topic="t", partition=0, timestamp_ms=1 + i % 16)
    with Client(relay(ports["grpc"])) as client:
        while True:
            with contextlib.suppress(grpc.RpcError):
                client._ListOffsets(request, timeout=60)


def trickle(name, count, first):
    def attack(ports):
        made = [connect(ports[name]) for _ in range(count)]
        for one in made:
            one.sendall(first)
        for _ in range(20):
            time.sleep(0.1)
            for one in made:
                with contextlib.suppress(OSError):
                    one.sendall(b"a")
    return attack


ATTACKS = {
    "a busy machine": busy_machine,
    "idle connections": idle_connections,
    "stalled Produce": stall("Produce"),
    "stalled ProduceStream": stall("ProduceStream"),
    "calls that send nothing": headers_only,
    "calls given up at once": calls_given_up,
    "headers without an end": endless_headers,
    "all calls": watches(1, 100, 170),
    "all connections": watches(8, 600, 1),
    "batches that unfold": unfolding,
    "tiny records": tiny_records,
    "decoded answers not taken": decoded_fetches,
    "one topic 10,000 times": repeated_metadata,
    "one partition 1,500 times": repeated_offsets,
    "trickling HTTP": trickle("http", 200, b"GET /"),
    "trickling registry": trickle("registry", 1000, b"POST /subjects/s/versions HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n"),
}


# --- the victim

def percentile(samples, percent):
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * percent / 100))] if samples else float("inf")


def watch(agent, seconds):
    """(produce ms, /health ms, errors, the most MiB of the agent) in so much time."""
    produces, healths, errors, peak = [], [], 0, 0
    until = time.monotonic() + seconds
    with Client(agent.address) as client:
        request = pb.ProduceRequest()
        request.partitions.add(topic="t", partition=0).records.add(value=b"v" * 100)
        while time.monotonic() < until:
            begun = time.monotonic()
            try:
                client._Produce(request, timeout=20)
            except grpc.RpcError:
                errors += 1
            produces.append(1000 * (time.monotonic() - begun))
            begun = time.monotonic()
            try:
                agent.http("/health")
            except OSError:
                errors += 1
            healths.append(1000 * (time.monotonic() - begun))
            peak = max(peak, resident_mib(agent))
            time.sleep(0.005)
    return produces, healths, errors, peak


def resident_mib(agent):
    pages = int(pathlib.Path(f"/proc/{agent.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def line(figure, value, unit, reference, reference_value):
    print(json.dumps({"bench": "hostile", "figure": figure, "value": round(value, 2), "unit": unit, "reference": reference,
                      "reference_value": round(reference_value, 2), "ratio": round(value / reference_value, 3)}), flush=True)


def folded():
    """A batch of 1 MB that gzip makes very small."""
    records = b""
    for i in range(10):
        body = b"\0" + batches.varint(0) + batches.varint(i) + batches.varint(-1) + batches.varint(100_000) + b"\0" * 100_001
        records += batches.varint(len(body)) + body
    return batches.batch([], codec=1, records=gzip.compress(records), count=10)


def prepare(database, agent):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    database.execute("SELECT streamhouse.create_topic('folded')")
    database.execute("SELECT streamhouse.create_topic('wide', partitions => 1000)")
    with Client(agent.address) as client:
        for _ in range(50):
            client.produce("folded", batches=folded())
        client.produce("t", values=[b"first"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("attacks", nargs="*")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.attacks) - set(ATTACKS):
        parser.error(f"no attack {', '.join(unknown)}: {', '.join(ATTACKS)}")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-hostile-", dir="/dev/shm"))
    server = Postgres()
    failed = False
    try:
        for name in options.attacks or ATTACKS:
            failed |= measure(server, directory, name)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed and options.check else 0


def measure(server, directory, name):
    database = server.database()
    agent = Agent(directory / "agent", database.conninfo, memory_budget=f"{BUDGET_MIB}MB", store_dir=directory / "store")
    (directory / "store").mkdir(exist_ok=True)
    attackers = []
    try:
        agent.start()
        prepare(database, agent)
        alone = watch(agent, 3)
        # Not forked: gRPC's pollers would share the victim's, and take its news.
        attackers = [multiprocessing.get_context("spawn").Process(target=attack_again, args=(name, agent.ports), daemon=True)
                     for _ in range(ATTACKERS)]
        for attacker in attackers:
            attacker.start()
        beside = watch(agent, SECONDS)
    finally:
        for attacker in attackers:
            attacker.terminate()
            attacker.join()
        agent.close()
        database.close()
        shutil.rmtree(directory / "agent", ignore_errors=True)
    line(f"{name}: the victim's produce, p99", percentile(beside[0], 99), "ms", "alone", percentile(alone[0], 99))
    line(f"{name}: the victim's /health, p99", percentile(beside[1], 99), "ms", "alone", percentile(alone[1], 99))
    line(f"{name}: the victim's errors", beside[2], "requests", "requests", len(beside[0]) + len(beside[1]))
    line(f"{name}: memory of the process, most", beside[3], "MiB", "memory_budget", BUDGET_MIB)
    return (percentile(beside[0], 99) > P99_MS_MAX or percentile(beside[1], 99) > P99_MS_MAX or beside[2] > 0
            or beside[3] > BUDGET_MIB + MEMORY_OVER_MIB_MAX)


if __name__ == "__main__":
    sys.exit(main())
