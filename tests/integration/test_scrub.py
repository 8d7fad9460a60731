"""The store compared with the index: lost, truncated and unknown objects are told apart, and nothing is changed."""
import pathlib

import grpc
import pytest

from harness.processes import run, wait_until


def objects(agent):
    return sorted(p for p in pathlib.Path(agent.settings["store_dir"]).glob("*/*/*/*.seg"))


def scrub(agent):
    result = run(agent.command("--scrub"))
    assert result.returncode in (0, 1), result.stderr
    lines = result.stdout.splitlines()
    return result.returncode, lines[:-1], dict(word.split("=") for word in lines[-1].split()[1:])


def test_what_differs_is_told(database, agent, connect):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    client = connect(agent)
    for i in range(3):
        client.produce("t", 0, values=[b"a%d" % i])
        client.produce("t", 1, values=[b"b%d" % i, b"more"])
        wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == 3 * (i + 1))
    # Beside the running agent all is well.
    status, lines, sums = scrub(agent)
    assert (status, lines, sums["missing"], sums["size"], sums["unknown"]) == (0, [], "0", "0", "0")
    assert int(sums["objects"]) == len(objects(agent)) >= 3
    assert agent.terminate() == 0

    keys = [row[0] for row in database.execute(
        "SELECT DISTINCT object_key FROM streamhouse.object JOIN streamhouse.segment USING (object_id) ORDER BY 1")]
    store = pathlib.Path(agent.settings["store_dir"])
    held = lambda key: database.execute(
        "SELECT partition, first_offset, last_offset, s.records FROM streamhouse.segment AS s JOIN streamhouse.object USING"
        f" (object_id) WHERE object_key = '{key}' ORDER BY partition, first_offset")
    lost, cut = keys[0], keys[-1]
    stranger = "00/a9/12345/7-00000000-0000-4000-8000-000000000001.seg"
    (store / lost).unlink()
    (store / cut).write_bytes((store / cut).read_bytes()[:-1])
    (store / stranger).parent.mkdir(parents=True, exist_ok=True)
    (store / stranger).write_bytes(b"nobody's")

    status, lines, sums = scrub(agent)
    assert status == 1 and (sums["missing"], sums["size"], sums["unknown"]) == ("1", "1", "1")
    assert f"unknown object={stranger} bytes=8" in lines
    for key, finding in ((lost, "missing"), (cut, "size")):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{finding} object={key} "))
        expected = [f"  lost partition=t/{p} from={first} to={last} records={n}" for p, first, last, n in held(key)]
        assert lines[at + 1:at + 1 + len(expected)] == expected
    assert int(sums["records_lost"]) == sum(row[3] for key in (lost, cut) for row in held(key))
    assert scrub(agent) == (status, lines, sums), "nothing was changed"

    # Readers fail at what is lost, until it is given up.
    agent.start()
    client = connect(agent)
    rows = [row for key in (lost, cut) for row in held(key)]
    gone = {p: {o for q, first, last, _ in rows if q == p for o in range(first, last + 1)} for p in range(2)}
    partition, first, _, _ = held(lost)[0]
    with pytest.raises(grpc.RpcError) as failed:
        client.fetch("t", partition, first)
    assert failed.value.code() == grpc.StatusCode.DATA_LOSS and lost in failed.value.details()
    assert f"data_loss topic=t partition={partition} offset={first} " in agent.log_text(), "operators are told too"
    told = database.value("SELECT streamhouse.give_up_objects(%s)", [lost, cut])
    assert told == int(sums["records_lost"])
    for partition, end in ((0, 3), (1, 6)):
        client.produce("t", partition, values=[b"last"])
        read = [r.offset for r in client.read_all("t", partition)]
        assert read == [o for o in range(end + 1) if o not in gone[partition]]
    assert scrub(agent)[0] == 0


def test_without_a_database_or_a_store(make_agent, directory):
    agent = make_agent(postgres="host=127.0.0.1 port=1 dbname=x connect_timeout=1")
    result = run(agent.command("--scrub"))
    assert result.returncode == 1 and "port 1" in result.stderr
