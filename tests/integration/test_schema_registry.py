"""The REST API of the schema registry: routes, codes of errors, several agents, PostgreSQL away."""
import concurrent.futures
import http.client
import json
import socket
import time
from urllib.parse import quote

import pytest

from harness.processes import wait_until

V1 = "application/vnd.schemaregistry.v1+json"
PROTO = 'syntax = "proto3"; message A { int32 a = 1; }'
PROTO_TEXT = 'syntax = "proto3";\n\nmessage A {\n  int32 a = 1;\n}\n\n'


class Registry:
    """The API at one agent, over one connection that is kept."""

    def __init__(self, agent):
        host, port = agent.ports["registry"].rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=30)

    def raw(self, method, path, data=None, **headers):
        """(status, headers, body) of a request with these bytes as its body."""
        if data is not None:
            headers.setdefault("Content_Type", V1)
        self.connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()

    def ask(self, method, path, body=None):
        """The answer's JSON; of an error its code."""
        status, headers, text = self.raw(method, path, None if body is None else json.dumps(body))
        answer = json.loads(text)
        if status == 200:
            return answer
        assert set(answer) == {"error_code", "message"} and answer["message"], answer
        assert str(answer["error_code"]).startswith(str(status)), answer
        return answer["error_code"]

    def get(self, path):
        return self.ask("GET", path)

    def register(self, subject, schema, **more):
        return self.ask("POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": schema, **more})


@pytest.fixture
def registry(agent):
    return Registry(agent)


def record(*fields, name="R"):
    return json.dumps({"type": "record", "name": name, "fields": list(fields)}, separators=(",", ":"))


INT = {"name": "a", "type": "int"}
ADDED = {"name": "b", "type": "int", "default": 0}


def test_registering_and_reading(registry):
    first, second = record(INT), record(INT, ADDED)
    assert registry.register("s", first) == {"id": 1}
    assert registry.register("s", first) == {"id": 1}
    assert registry.register("s", second) == {"id": 2}
    assert registry.register("other", second, schemaType="AVRO") == {"id": 2}
    assert registry.register("p", PROTO, schemaType="PROTOBUF", references=[], id=-1, version=0) == {"id": 3}
    assert registry.register("s", record({"name": "a", "type": "string"})) == 409

    for path, answer in {
        "/": {},
        "/subjects": ["other", "p", "s"],
        "/subjects?subjectPrefix=:*:o": ["other"],
        "/subjects/?offset=1&limit=1": ["p"],
        "/subjects/s/versions": [1, 2],
        "/subjects/s/versions?offset=1": [2],
        "/subjects/s/versions/1": {"subject": "s", "version": 1, "id": 1, "schema": first},
        "/subjects/s/versions/latest": {"subject": "s", "version": 2, "id": 2, "schema": second},
        "/subjects/s/versions/-1": {"subject": "s", "version": 2, "id": 2, "schema": second},
        "/subjects/s/versions/1/schema": json.loads(first),
        "/subjects/s/versions/1/referencedby": [],
        "/subjects/p/versions/1": {"subject": "p", "version": 1, "id": 3, "schemaType": "PROTOBUF", "schema": PROTO_TEXT},
        "/schemas/ids/1": {"schema": first},
        "/schemas/ids/1?fetchMaxId=true&subject=s": {"schema": first, "maxId": 3},
        "/schemas/ids/3": {"schemaType": "PROTOBUF", "schema": PROTO_TEXT},
        "/schemas/ids/1/schema": json.loads(first),
        "/schemas/ids/2/subjects": ["other", "s"],
        "/schemas/ids/2/subjects?subject=s": ["s"],
        "/schemas/ids/2/versions": [{"subject": "other", "version": 1}, {"subject": "s", "version": 2}],
        "/schemas/types": ["JSON", "PROTOBUF", "AVRO"],
        "/contexts": ["."],
    }.items():
        assert registry.get(path) == answer, path
    listed = [(s["subject"], s["version"]) for s in registry.get("/schemas?subjectPrefix=s&latestOnly=true")]
    assert listed == [("s", 2)]
    assert [s["version"] for s in registry.get("/schemas?subjectPrefix=s&offset=0&limit=5")] == [1, 2]
    assert set(registry.get("/v1/metadata/id")["scope"]["clusters"]) == {"kafka-cluster", "schema-registry-cluster"}
    assert registry.get("/v1/metadata/version")["version"]

    # A descriptor can be registered as it is given.
    descriptor = registry.get("/schemas/ids/3?format=serialized")["schema"]
    assert registry.register("q", descriptor, schemaType="PROTOBUF") == {"id": 3}
    assert registry.raw("GET", "/schemas/ids/3/schema?format=serialized")[2] == descriptor

    found = {"subject": "s", "version": 1, "id": 1, "schema": first}
    assert registry.ask("POST", "/subjects/s", {"schema": first}) == found
    swapped = '{"name": "R", "type": "record", "fields": [{"type": "int", "name": "a"}]}'
    assert registry.ask("POST", "/subjects/s?normalize=true", {"schema": swapped}) == found
    assert registry.ask("POST", "/subjects/s", {"schema": record(name="Z")}) == 40403


def test_compatibility_and_settings(registry):
    registry.register("s", record(INT))
    check = "/compatibility/subjects/s/versions"
    good, bad = {"schema": record(INT, ADDED)}, {"schema": record(INT, {"name": "b", "type": "int"})}
    assert registry.ask("POST", check, good) == {"is_compatible": True}
    assert registry.ask("POST", check + "/latest", bad) == {"is_compatible": False}
    verbose = registry.ask("POST", check + "/1?verbose=true", bad)
    assert not verbose["is_compatible"] and "READER_FIELD_MISSING_DEFAULT_VALUE" in verbose["messages"][0]
    assert registry.ask("POST", check + "/1?verbose=true", good) == {"is_compatible": True, "messages": []}
    assert registry.ask("POST", check + "/2", good) == 40402

    for method, path, body, answer in [
        ("GET", "/config", None, {"compatibilityLevel": "BACKWARD"}),
        ("GET", "/config/s", None, 40408),
        ("GET", "/config/s?defaultToGlobal=true", None, {"compatibilityLevel": "BACKWARD"}),
        ("PUT", "/config/s", {"compatibility": "none"}, {"compatibility": "NONE"}),
        ("GET", "/config/s", None, {"compatibilityLevel": "NONE"}),
        ("POST", check, bad, {"is_compatible": True}),
        ("DELETE", "/config/s", None, {"compatibilityLevel": "NONE"}),
        ("DELETE", "/config/s", None, 40401),
        ("PUT", "/config", {"compatibility": "FULL_TRANSITIVE"}, {"compatibility": "FULL_TRANSITIVE"}),
        ("DELETE", "/config", None, {"compatibilityLevel": "FULL_TRANSITIVE"}),
        ("PUT", "/config", {"compatibility": "SIDEWARD"}, 42203),
        ("PUT", "/config", {}, 42203),
        ("PUT", "/config/s", {"compatibility": "FULL", "alias": "t"}, 422),
        ("GET", "/mode", None, {"mode": "READWRITE"}),
        ("GET", "/mode/s", None, 40409),
        ("PUT", "/mode/s", {"mode": "READONLY"}, {"mode": "READONLY"}),
        ("GET", "/mode/s", None, {"mode": "READONLY"}),
        ("POST", "/subjects/s/versions", good, 42205),
        ("DELETE", "/mode/s", None, {"mode": "READONLY"}),
        ("PUT", "/mode/s", {"mode": "WRITEONLY"}, 42204),
        ("PUT", "/mode/s", {"mode": "IMPORT"}, 42205),
        ("PUT", "/mode/s?force=true", {"mode": "IMPORT"}, {"mode": "IMPORT"}),
        ("POST", "/subjects/s/versions", {**good, "id": 77, "version": 5}, {"id": 77}),
        ("GET", "/subjects/s/versions", None, [1, 5]),
    ]:
        assert registry.ask(method, path, body) == answer, (method, path, body)


def test_deleting(registry):
    colour = '{"type":"enum","name":"C","symbols":["RED"]}'
    registry.register("c", colour)
    registry.register("s", record(INT))
    uses = registry.register("u", record({"name": "c", "type": "C"}), references=[{"name": "C", "subject": "c", "version": 1}])
    assert registry.get("/subjects/c/versions/1/referencedby") == [uses["id"]]
    assert registry.get(f"/schemas/ids/{uses['id']}")["references"] == [{"name": "C", "subject": "c", "version": 1}]
    for method, path, answer in [
        ("DELETE", "/subjects/c/versions/1", 42206),
        ("DELETE", "/subjects/s?permanent=true", 40405),
        ("DELETE", "/subjects/s/versions/1?permanent=true", 40407),
        ("DELETE", "/subjects/s/versions/latest", 1),
        ("DELETE", "/subjects/s/versions/1", 40406),
        ("GET", "/subjects/s/versions/1", 40401),
        ("GET", "/subjects", ["c", "u"]),
        ("GET", "/subjects?deleted=true", ["c", "s", "u"]),
        ("GET", "/subjects?deletedOnly=true", ["s"]),
        ("GET", "/subjects/s/versions?deleted=true", [1]),
        ("GET", "/subjects/s/versions?deletedOnly=true", [1]),
        ("GET", "/schemas/ids/2", {"schema": record(INT)}),
        ("GET", "/schemas/ids/2/subjects", []),
        ("GET", "/schemas/ids/2/subjects?deleted=true", ["s"]),
        ("DELETE", "/subjects/s", 40404),
        ("DELETE", "/subjects/s?permanent=true", [1]),
        ("GET", "/schemas/ids/2", 40403),
        ("DELETE", "/subjects/s", 40401),
        ("DELETE", "/subjects/u", [1]),
    ]:
        assert registry.ask(method, path) == answer, (method, path)
    deleted = registry.get("/subjects/u/versions/1?deleted=true")
    assert deleted["deleted"] is True and deleted["id"] == uses["id"]
    assert [s.get("deleted") for s in registry.get("/schemas?deleted=true")] == [None, True]


def test_content_types_and_methods(registry):
    for accept, status, answered in [
        (V1, 200, V1),
        ("application/vnd.schemaregistry+json", 200, "application/vnd.schemaregistry+json"),
        ("application/json", 200, "application/json"),
        (f"{V1}, application/vnd.schemaregistry+json, application/json", 200, V1),
        (f"{V1};q=0.1, application/json", 200, "application/json"),
        ("text/html, */*;q=0.5", 200, V1),
        ("text/html", 406, "application/json"),
    ]:
        got = registry.raw("GET", "/subjects", Accept=accept)
        assert (got[0], got[1]["Content-Type"]) == (status, answered), accept
    body = json.dumps({"schema": record(INT)})
    for sent, status in [("application/json", 200), ("application/json; charset=utf-8", 200),
                         ("application/octet-stream", 200), ("text/plain", 415), ("application/xml", 415)]:
        assert registry.raw("POST", "/subjects/s/versions", body, Content_Type=sent)[0] == status, sent
    status, headers, _ = registry.raw("PATCH", "/config")
    assert (status, headers["Allow"]) == (405, "GET, PUT, DELETE")
    assert registry.raw("HEAD", "/subjects")[::2] == (200, "")
    assert registry.get("/nothing") == 404
    assert registry.get("/subjects/s/versions/1/schema/more") == 404
    registry.connection.request("POST", "/subjects/s/versions", body, {})  # as a page of any origin may send it
    answer = registry.connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error_code"]) == (415, 415)


def test_names_in_host(make_agent, registry):
    for host, status in [("localhost:8081", 200), ("127.0.0.1", 200), ("[::1]:8081", 200), ("evil.example", 403),
                         ("evil.example:8081", 403), ("localhost.evil.example", 403)]:
        for method in "GET", "POST":
            got, _, text = registry.raw(method, "/", "{}" if method == "POST" else None, Host=host)
            assert got == status, host
            assert status == 200 or "schema_registry_hosts" in json.loads(text)["message"]
    named = Registry(make_agent("a2", schema_registry_hosts="other, registry.local").start())
    assert named.raw("GET", "/", Host="Registry.local:8081")[0] == 200
    assert named.raw("GET", "/", Host="evil.example")[0] == 403
    assert named.raw("GET", "http://Registry.local/subjects?deleted=true", Host="evil.example")[0] == 200, \
        "the URL's host counts"
    assert named.raw("GET", "http://evil.example/subjects", Host="localhost")[0] == 403
    assert named.raw("GET", "http:///subjects", Host="localhost")[0] == 400


@pytest.mark.parametrize("headers", [
    "", "Host: localhost\r\nHost: evil.example\r\n",
    "Host: localhost\r\nContent-Length: 2\r\nContent-Length: 50\r\n",
    "Host: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n"])
def test_ambiguous_requests(agent, headers):
    """One answer, and what comes behind is not taken for a request."""
    host, port = agent.ports["registry"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as one:
        one.sendall(f"POST / HTTP/1.1\r\nContent-Type: {V1}\r\n{headers}\r\n{{}}"
                    "GET /subjects HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        said = b""
        while piece := one.recv(4096):
            said += piece
    assert said.startswith(b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1 ") == 1 and b'"error_code":400' in said


def test_changes_are_for_those_a_setting_names(make_agent):
    registry = Registry(make_agent(schema_registry_changes_from="nowhere").start())
    assert registry.register("s", record(INT)) == {"id": 1}
    for method, path, body in [("PUT", "/mode", {"mode": "READONLY"}), ("PUT", "/config/s", {"compatibility": "NONE"}),
                               ("DELETE", "/subjects/s", None), ("DELETE", "/subjects/s/versions/1", None),
                               ("DELETE", "/mode", None), ("DELETE", "/config", None)]:
        assert registry.ask(method, path, body) == 403, path
    assert registry.get("/mode") == {"mode": "READWRITE"}
    assert registry.get("/subjects") == ["s"]


def test_an_import_leaves_room(registry):
    assert registry.ask("PUT", "/mode/s", {"mode": "IMPORT"}) == {"mode": "IMPORT"}
    assert registry.register("s", record(INT), id=5, version=2**31 - 1) == 42202
    assert registry.register("s", record(INT), id=5, version=10**9) == {"id": 5}
    assert registry.ask("PUT", "/mode/s", {"mode": "READWRITE"}) == {"mode": "READWRITE"}
    assert registry.register("s", record(INT, ADDED)) == {"id": 1}
    assert registry.get("/subjects/s/versions") == [10**9, 10**9 + 1]


def test_work_beyond_the_budget_is_told(registry):
    """Branches that nearly fit each other: no verdict, neither that they are compatible nor that they are not."""
    def branches(more):
        return json.dumps({"anyOf": [{"enum": [f"v{n}" for n in range(2500 + more * b)]} for b in range(1, 101)]})

    assert registry.register("s", branches(1), schemaType="JSON") == {"id": 1}
    assert registry.register("s", branches(0), schemaType="JSON") == 422
    assert registry.ask("POST", "/compatibility/subjects/s/versions", {"schema": branches(0), "schemaType": "JSON"}) == 422
    assert registry.get("/subjects/s/versions") == [1]


def test_a_list_is_whole_or_refused(registry):
    for i in range(5):
        registry.register(f"s{i}", record(INT, name=f"R{i}")[:-1] + f',"doc":"{"x" * 3_900_000}"}}')
    assert registry.get("/schemas") == 422
    assert "limit" in json.loads(registry.raw("GET", "/schemas")[2])["message"]
    assert [s["subject"] for s in registry.get("/schemas?limit=3&offset=2")] == ["s2", "s3", "s4"]
    assert [s["subject"] for s in registry.get("/schemas?subjectPrefix=s4")] == ["s4"]
    assert registry.get("/subjects") == ["s0", "s1", "s2", "s3", "s4"]


def test_names_of_all_kinds(registry):
    names = ["a/b", "100%", "a+b", "a b", "ä€🙂", "?&#=", "..", "%2F", "latest"]
    for name in names:
        assert registry.register(name, record(INT)) == {"id": 1}, name
        assert registry.get(f"/subjects/{quote(name, safe='')}/versions/1")["subject"] == name
    assert registry.get("/subjects") == sorted(names, key=lambda name: name.encode())
    assert registry.get("/subjects?subjectPrefix=a+") == ["a b"]


DEEP = '{"type":"array","items":' * 5000 + '"int"' + "}" * 5000


@pytest.mark.parametrize("method, path, body, code", [
    ("GET", "/subjects/s/versions/0", None, 42202),
    ("GET", "/subjects/s/versions/-2", None, 42202),
    ("GET", "/subjects/s/versions/2147483648", None, 42202),
    ("GET", "/subjects/s/versions/99999999999999999999", None, 42202),
    ("GET", "/subjects/s/versions/one", None, 42202),
    ("GET", "/subjects/s/versions/2147483647", None, 40402),
    ("GET", "/subjects/none/versions/latest", None, 40401),
    ("DELETE", "/subjects/s/versions/0", None, 42202),
    ("GET", "/schemas/ids/0", None, 40403),
    ("GET", "/schemas/ids/-1", None, 40403),
    ("GET", "/schemas/ids/2147483648", None, 404),
    ("GET", "/schemas/ids/x", None, 404),
    ("GET", "/subjects?limit=many", None, 400),
    ("GET", "/subjects/%zz/versions", None, 400),
    ("GET", "/subjects/%ff/versions", None, 400),
    ("GET", "/subjects/%00/versions", None, 400),
    ("GET", "/subjects/" + "/x" * 20, None, 400),
    ("POST", "/subjects/%0A/versions", {"schema": '"int"'}, 42208),
    ("POST", "/subjects/" + "n" * 501 + "/versions", {"schema": '"int"'}, 42208),
    ("POST", "/subjects/s/versions", b"", 422),
    ("POST", "/subjects/s/versions", b"{", 400),
    ("POST", "/subjects/s/versions", b"[]", 400),
    ("POST", "/subjects/s/versions", b"\xff\xfe", 400),
    ("POST", "/subjects/s/versions", b"[" * 100000, 400),
    ("POST", "/subjects/s/versions", b'{"schema": "\\u0000"}', 400),
    ("POST", "/subjects/s/versions", b'{"schema": "\\"int\\"", "schema": "\\"long\\""}', 400),
    ("POST", "/subjects/s/versions", {"schema": '{"type": "string", "type": "integer"}', "schemaType": "JSON"}, 42201),
    ("POST", "/subjects/s/versions", {}, 42201),
    ("POST", "/subjects/s/versions", {"schema": {"type": "int"}}, 400),
    ("POST", "/subjects/s/versions", {"schema": "{"}, 42201),
    ("POST", "/subjects/s/versions", {"schema": DEEP}, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"record","name":"A","fields":[{"name":"a","type":"B"}]}'}, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "schemaType": "XML"}, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "references": {}}, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "references": [{"name": "n", "subject": "none", "version": 1}]}, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "references": [{"name": "n", "subject": "s", "version": 2**31}]}, 42202),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "id": "1"}, 400),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "id": 2**31}, 400),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "ruleSet": {"domainRules": [{}]}}, 422),
    ("POST", "/subjects/s/versions", {"schema": '"' + "x" * (4 << 20) + '"'}, 42209),
    ("POST", "/subjects/s/versions", {"schema": "x" * (10 << 20)}, 413),
    ("POST", "/subjects/s/versions", {"schema": '"int"', "x": [{}] * 100000}, 413),
    ("PUT", "/config/s", {"compatibility": "FULL", "x": [{}] * 100000}, 413),
])
def test_bad_input(bad_input_registry, method, path, body, code):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    status, _, text = bad_input_registry.raw(method, path, data)
    answer = json.loads(text)
    assert answer["error_code"] == code and str(code).startswith(str(status)), text[:300]
    assert len(answer["message"]) < 2000


@pytest.fixture(scope="module")
def bad_input_registry(postgres, tmp_path_factory):
    """One agent for all of them: it survives each."""
    from harness.agent import Agent

    database = postgres.database()
    agent = Agent(tmp_path_factory.mktemp("bad"), database.conninfo).start()
    registry = Registry(agent)
    registry.register("s", record(INT))
    yield registry
    assert registry.get("/subjects") == ["s"]
    agent.close()
    database.close()


def test_agents_agree(make_agent):
    agents = [make_agent(name).start() for name in ("a1", "a2")]
    one, two = map(Registry, agents)
    assert one.register("s", record(INT)) == {"id": 1}
    assert two.get("/subjects/s/versions") == [1]
    assert two.get("/schemas/ids/1") == one.get("/schemas/ids/1") == {"schema": record(INT)}

    # Many at once, each schema at both agents: one id for each, and one version.
    schemas = [record(INT, {**ADDED, "name": f"b{i}"}) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda i: Registry(agents[i % 2]).register("raced", schemas[i // 4]), range(32)))
    assert len({answer["id"] for answer in ids}) == 8
    assert all(ids[i] == ids[i - i % 4] for i in range(32))
    assert one.get("/subjects/raced/versions") == two.get("/subjects/raced/versions") == list(range(1, 9))

    before = one.get("/schemas")
    assert agents[0].terminate() == 0
    assert Registry(agents[0].start()).get("/schemas") == before


def test_cache_and_metrics(agent, registry):
    registry.register("s", record(INT))
    for _ in range(5):
        assert registry.get("/schemas/ids/1") == {"schema": record(INT)}
    assert registry.get("/schemas/ids/9") == 40403
    assert agent.metric("streamhouse_schema_registry_cache_hits_total") == 4
    assert agent.metric("streamhouse_schema_registry_cache_misses_total") == 2
    assert agent.metric("streamhouse_schema_registry_cache_bytes") > len(record(INT))
    page = agent.http("/metrics")[1]
    assert 'streamhouse_schema_registry_requests_total{route="GET /schemas/ids/{id}",status="200"} 5' in page
    assert 'streamhouse_schema_registry_requests_total{route="GET /schemas/ids/{id}",status="404"} 1' in page


def test_switched_off(make_agent):
    agent = make_agent(schema_registry_enabled="false").start()
    assert agent.ports["registry"] == ""


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_postgres_away(postgres, agent, registry, how):
    registry.register("s", record(INT))
    assert registry.get("/schemas/ids/1") == {"schema": record(INT)}
    with concurrent.futures.ThreadPoolExecutor(1) as pool, postgres.asleep(how):
        waiting = pool.submit(Registry(agent).raw, "GET", "/subjects")
        if how == "stopped":
            status, headers, text = waiting.result()
            assert (status, json.loads(text)["error_code"]) == (500, 50001)
            assert headers["Retry-After"] == "1"
        began = time.monotonic()
        assert registry.get("/schemas/ids/1") == {"schema": record(INT)}
        assert registry.get("/schemas/types")
        assert time.monotonic() - began < 2
    wait_until("the registry answers", lambda: registry.get("/subjects") == ["s"])
    if how == "paused":
        assert waiting.result()[::2] == (200, '["s"]')
