"""Temporary keys of S3: from an STS, a container's URI and the instance's metadata, renewed before they end."""
import datetime
import http.server
import json
import threading
import time
import urllib.parse

import pytest

from harness.processes import wait_until

LIFE_S = 4
XML = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{AccessKeyId}</AccessKeyId>
<SecretAccessKey>{SecretAccessKey}</SecretAccessKey><SessionToken>{Token}</SessionToken>
<Expiration>{Expiration}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>"""


class KeyServer(http.server.ThreadingHTTPServer):
    """All three of them. It gives the store's keys, without a session token, which radosgw would not know."""

    def __init__(self, s3):
        super().__init__(("127.0.0.1", 0), KeyHandler)
        self.keys = {"AccessKeyId": s3["s3_access_key"], "SecretAccessKey": s3["s3_secret_key"], "Token": ""}
        self.asked = 0
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def give(self):
        self.asked += 1
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=LIFE_S)
        return {**self.keys, "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ")}


class KeyHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, text, status=None):
        body = text.encode()
        self.send_response(status or self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):  # an STS
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        good = (form.get("Action"), form.get("RoleArn"), form.get("WebIdentityToken")) == \
            ("AssumeRoleWithWebIdentity", "arn:aws:iam::1:role/store", "token of the pod")
        if not good or self.server.status == 403:
            self.answer(DENIED, 403)
        else:
            self.answer(XML.format(**self.server.give()))

    def do_PUT(self):  # metadata, version 2
        self.answer("metadata-token" if "x-aws-ec2-metadata-token-ttl-seconds" in self.headers else "", None)

    def do_GET(self):
        role = "/latest/meta-data/iam/security-credentials/"
        if self.path == "/container" and self.headers.get("authorization") == "token of the pod":
            self.answer(json.dumps(self.server.give()))
        elif not self.path.startswith(role) or self.headers.get("x-aws-ec2-metadata-token") != "metadata-token":
            self.answer("", 401)
        elif self.path == role:
            self.answer("store-role\n")
        else:
            assert self.path == role + "store-role"
            self.answer(json.dumps({"Code": "Success", **self.server.give()}))


@pytest.fixture
def key_server(s3):
    server = KeyServer(s3)
    yield server
    server.shutdown()


@pytest.fixture
def make_keyless(make_agent, s3, directory, key_server):
    """An agent that is told of no keys, and of a source for them instead."""
    token = directory / "token"
    token.write_text("token of the pod\n")
    sources = {
        "web-identity": {"AWS_ROLE_ARN": "arn:aws:iam::1:role/store", "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
                         "AWS_ENDPOINT_URL_STS": key_server.url},
        "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": key_server.url + "/container",
                      "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)},
        "instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": key_server.url, "STREAMHOUSE_S3_CREDENTIALS": "instance"},
    }

    def make(source):
        settings = {name: value for name, value in s3.items() if name not in ("s3_access_key", "s3_secret_key")}
        agent = make_agent(**settings, s3_prefix=directory.name + "/")
        agent.environment = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", **sources[source]}
        return agent
    return make


@pytest.mark.parametrize("source", ["web-identity", "container", "instance"])
def test_keys_are_renewed_before_they_end(database, make_keyless, key_server, connect, source):
    agent = make_keyless(source).start()
    client = connect(agent)
    database.execute("SELECT streamhouse.create_topic('t')")
    begun = time.monotonic()
    sent = 0
    while time.monotonic() - begun < 1.5 * LIFE_S:
        client.produce("t", values=[b"x"])
        sent += 1
        wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == sent)
    assert key_server.asked >= 2
    assert "s3_keys_not_renewed" not in agent.log_text() and "s3_retry" not in agent.log_text()
    assert key_server.keys["SecretAccessKey"] not in agent.log_text()


def test_the_old_keys_serve_until_they_end(database, make_keyless, key_server, connect):
    agent = make_keyless("web-identity").start()
    client = connect(agent)
    database.execute("SELECT streamhouse.create_topic('t')")
    key_server.status = 500
    asked = key_server.asked
    sent = 0

    def published_all():
        return database.value("SELECT sum(records) FROM streamhouse.partitions") == sent

    def produce():  # acknowledged by the write-ahead log
        nonlocal sent
        client.produce("t", values=[b"x"])
        sent += 1

    while "s3_keys_not_renewed" not in agent.log_text():
        produce()
        wait_until("published", published_all)
    assert "upload_failed" not in agent.log_text()
    wait_until("uploads fail", lambda: (produce(), "upload_failed" in agent.log_text())[1])
    key_server.status = 200
    wait_until("published", published_all)
    assert key_server.asked > asked


def test_keys_that_ended_too_soon_are_replaced(make_keyless, key_server):
    good = key_server.keys
    key_server.keys = {**good, "AccessKeyId": "nobody"}
    agent = make_keyless("container")
    agent.start(wait=False)
    wait_until("keys came", lambda: key_server.asked > 0)
    key_server.keys = good
    agent.wait_ready()
    assert key_server.asked >= 2


def test_an_answer_without_keys_is_asked_for_again(make_keyless, key_server):
    good = key_server.keys
    key_server.keys = {"AccessKeyId": "", "SecretAccessKey": "<html>", "Token": "\r\nx-header: y"}
    agent = make_keyless("instance")
    agent.start(wait=False)
    wait_until("it is said", lambda: "without keys" in agent.log_text())
    key_server.keys = good
    agent.wait_ready()


def test_a_role_that_may_not_is_told_at_start(make_keyless, key_server):
    key_server.status = 403
    status, line = make_keyless("web-identity").run_to_failure()
    assert status == 1 and "s3_role_arn" in line and "AccessDenied" in line, line
