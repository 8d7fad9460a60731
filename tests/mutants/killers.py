"""The tests that must kill a mutation, the quickest first: those that mirror the file, those of its folder, units of what uses
the folder, those of the folder with AddressSanitizer, for what reads one too far, and what runs whole agents. Each is a command
of the shell, with the seconds after which it counts as failed."""
import pathlib
import re

UNITS = "build/release/tests/unit"
PYTEST = "/usr/bin/python3 -m pytest -q -x -n 2 -p no:cacheprovider"
INTEGRATION = {
    "core": "test_journey test_reading test_bad_input test_cli",
    "schema": "test_schema_registry test_schema_validation",
    "agent/wal": "test_crash test_damaged_wal test_lost_history test_full_disk",
    "agent/log": "test_journey test_crash test_handover test_failover test_reading test_idempotence test_garbage test_throttle "
                 "test_lost_history test_rebuild",
    "agent/store": "test_s3 test_s3_keys test_throttle test_garbage",
    "agent/rpc": "test_journey test_reading test_bad_input test_doors test_surface",
    "agent/registry": "test_schema_registry test_doors",
    "extension/sql": "test_failover test_handover test_crash test_lost_history test_rebuild test_garbage",
}

# Whose units run over the real thing, beyond those of the folder itself; of core all do.
USERS = {
    "schema": ("agent/rpc", "agent/log", "agent/pg"),
    "agent/wal": ("agent/log",),
    "agent/store": ("agent/log",),
}
SQL = ("sql", "make -s -f pgxs.mk install >/dev/null && make -s -f pgxs.mk installcheck PG_SUITE=regress", 300)
ISOLATION = ("isolation", "make -s -f pgxs.mk installcheck PG_SUITE=isolation", 300)


def area(path):
    """The key of INTEGRATION that a file belongs to."""
    return next(a for a in INTEGRATION if str(path).startswith(a + "/"))


def stages(path, programs):
    """[(name, command, seconds)] of one mutated file. programs are all unit tests, as make names them."""
    integration = _integration(f"integration {area(path)}", INTEGRATION[area(path)])
    if path.suffix == ".sql":
        pg = [p for p in programs if "/agent/pg/" in p]
        return [SQL, ISOLATION, ("units of agent/pg", _run(pg), 300), integration]
    mirrored = [p for p in programs if _mirrors(p, path)]
    beside = [p for p in programs if p.startswith(f"{UNITS}/{path.parent}/") and p not in mirrored]
    rest = [p for p in programs if p not in mirrored and p not in beside and _uses(p, area(path))]
    return [(name, _run(chosen), 600) for name, chosen in (
        ("units that mirror it", mirrored), (f"units of {path.parent}", beside), ("units of what uses it", rest)) if chosen] + [
        ("units under ASan", _run(mirrored + beside, "asan"), 900), integration]


def all_stages(programs):
    """What any file's stages run, once."""
    files = dict.fromkeys(name for names in INTEGRATION.values() for name in names.split())
    mutated = [p for p in programs if any(p.startswith(f"{UNITS}/{folder}/") for folder in INTEGRATION)]
    return [SQL, ISOLATION, ("all units", _run(programs), 900), ("all units under ASan", _run(mutated, "asan"), 1800),
            _integration("integration", " ".join(files))]


def _integration(name, files):
    return (name, "make -s programs CFLAGS=-Wno-error && " + PYTEST + " "
            + " ".join(f"tests/integration/{file}.py" for file in files.split()), 900)


def _uses(program, folder):
    return folder == "core" or any(program.startswith(f"{UNITS}/{user}/") for user in USERS.get(folder, ()))


def _mirrors(program, path):
    """core/batch_check.c is mirrored by tests/unit/core/test_batch_check and test_batch."""
    folder, name = str(pathlib.Path(program).parent), pathlib.Path(program).name.removeprefix("test_")
    return folder == f"{UNITS}/{path.parent}" and re.match(rf"{re.escape(name)}(_|$)", path.stem) is not None


def _run(programs, variant="release"):
    """Builds and runs them one after the other; the first that fails ends it."""
    programs = " ".join(p.replace("/release/", f"/{variant}/") for p in programs)
    return f"make -s VARIANT={variant} CFLAGS=-Wno-error {programs} && for p in {programs}; do timeout 120 $p || exit 1; done"
