#!/usr/bin/python3
"""The folder tree is the architecture: check who includes whom, the sizes of files, that folders say what they hold,
and that what the mutants name is there; that hash tables may be out of memory.

Prints one line a finding and exits 1 when there is any.
"""
import fnmatch
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A folder may include its own headers and those of the folders named here. Longest prefix wins.
MAY_INCLUDE = {
    "core": [],
    "proto": [],
    "schema": ["core"],
    "extension": ["schema", "core"],
    "bgworkers": ["extension", "core"],
    "agent/base": ["core"],
    "agent/wal": ["agent/base", "core"],
    "agent/store": ["agent/base", "core"],
    "agent/pg": ["agent/base", "core"],
    "agent/schema": ["agent/pg", "agent/base", "schema", "core"],
    "agent/log": ["agent/schema", "agent/wal", "agent/store", "agent/pg", "agent/base", "core"],
    "agent/rpc": ["agent/log", "agent/schema", "agent/base", "core", "proto"],
    "agent/http": ["agent/log", "agent/base", "core"],
    "agent/registry": ["agent/http", "agent/pg", "agent/base", "schema", "core"],
    "agent": ["agent/rpc", "agent/http", "agent/registry", "agent/log", "agent/base", "core"],
    "client": ["core", "proto"],
    "cli": ["client", "core"],
    "cli/wal": ["cli", "client", "core", "agent/wal", "agent/base"],
    "bench": ["client", "core", "proto", "agent/base", "agent/pg", "agent/log", "agent/wal", "agent/store", "agent/rpc"],
}
# A library's header may stand only here.
ONLY_IN = {
    r"grpc/": ("agent/rpc", "client", "bench", "tests"),
    r"curl/": ("agent/store/s3_http.c", "tests"),
    r"libpq": ("agent/pg", "tests"),
    r"microhttpd": ("agent/http", "agent/registry/server.c"),
}
LINES_MAX = 600
COLUMNS_MAX = 110
FILES_WITHOUT_README = 4
MIRRORS = "tests/unit/"
CODE = {".c", ".h"}
SIZED = {".c", ".h", ".sql", ".py", ".sh", ".js", ".ts"}
NOT_SIZED = ("expected/", "tests/isolation/expected/", "tests/unit/core/vectors/")


def tracked():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True)
    return [p for p in listed.stdout.splitlines() if (ROOT / p).is_file()]


def home(path):
    """The entry of MAY_INCLUDE a file belongs to: of its folder, or of the files that begin so (cli/wal_inspect.c)."""
    stem = str(pathlib.Path(path).with_suffix(""))
    folders = [f for f in MAY_INCLUDE if path == f or path.startswith(f + "/") or stem == f or stem.startswith(f + "_")]
    return max(folders, key=len) if folders else None


def include_findings(path, text):
    folder = home(path)
    for number, line in enumerate(text.splitlines(), 1):
        included = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not included:
            continue
        kind, name = included.groups()
        for library, places in ONLY_IN.items():
            if re.match(library, name) and not path.startswith(places):
                yield f"{path}:{number}: {name} may be included only in {', '.join(places)}"
        if kind == '"' and folder and (ROOT / name).exists():
            target = home(name)
            if target and target != folder and target not in MAY_INCLUDE[folder]:
                yield f"{path}:{number}: {folder} may not include {target}"


def size_findings(path, text):
    lines = text.splitlines()
    if path.startswith(NOT_SIZED):
        return
    if len(lines) > LINES_MAX:
        yield f"{path}: {len(lines)} lines, more than {LINES_MAX}; does it tell one thing?"
    if pathlib.Path(path).suffix in CODE:
        for number, line in enumerate(lines, 1):
            if len(line.expandtabs(4)) > COLUMNS_MAX:
                yield f"{path}:{number}: longer than {COLUMNS_MAX} columns"


def word_findings(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line) and path != "tests/check_layout.py":
            yield f"{path}:{number}: unfinished work is an issue, not a comment"


def memory_findings(path, text):
    """What uthash finds no memory for is not in the table: it has to be looked at."""
    for found in re.finditer(r"\bHASH_ADD\w*\([^;]*;(.*\n.*\n.*)", text):
        if "hh.tbl" not in found.group(1):
            yield f"{path}:{text.count(chr(10), 0, found.start()) + 1}: whether HASH_ADD found memory (hh.tbl) is not looked at"


def readme_findings(paths):
    folders = {}
    for path in paths:
        folders.setdefault(str(pathlib.Path(path).parent), []).append(pathlib.Path(path).name)
    for folder, names in sorted(folders.items()):
        code = [n for n in names if pathlib.Path(n).suffix in SIZED]
        if folder.startswith(MIRRORS):
            continue  # one README at the mirror's root
        if len(code) > FILES_WITHOUT_README and folder not in ("sql", ".") and "README.md" not in names:
            yield f"{folder}/: {len(code)} files and no README.md"


def module_findings(paths):
    """A folder's README names each of its modules, alone or by a pattern: `lane.h`, `lane`, `json*`."""
    for readme in (p for p in paths if pathlib.Path(p).name == "README.md" and "/" in p and not p.startswith(MIRRORS)):
        folder = pathlib.Path(readme).parent
        quoted = re.findall(r"`([^`\s]+)`", (ROOT / readme).read_text())
        quoted = [q.replace("{h,c}", "*") for q in quoted]
        patterns = {q.removesuffix(pathlib.Path(q).suffix) if pathlib.Path(q).suffix in SIZED | {".*"} else q for q in quoted}
        for stem in sorted({pathlib.Path(p).stem for p in paths
                            if pathlib.Path(p).parent == folder and pathlib.Path(p).suffix in SIZED and p.count("/.") == 0}
                           - {"__init__"}):
            if not any(fnmatch.fnmatch(stem, pattern) for pattern in patterns):
                yield f"{readme}: does not name {stem}"


def mutant_findings():
    """What `make mutants` always tries stands once in the file that it names."""
    listed = "tests/mutants/named.txt"
    for line in (ROOT / listed).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        path, old = line.split(" | ")[:2]
        found = (ROOT / path).read_text().count(old.strip()) if (ROOT / path).is_file() else 0
        if found != 1:
            yield f"{listed}: {path} holds this {found} times: {old}"


def main():
    paths = tracked()
    findings = [*readme_findings(paths), *module_findings(paths), *mutant_findings()]
    for path in paths:
        if pathlib.Path(path).suffix not in SIZED:
            continue
        text = (ROOT / path).read_text(errors="replace")
        findings += [*size_findings(path, text), *word_findings(path, text)]
        if pathlib.Path(path).suffix in CODE:
            findings += [*include_findings(path, text), *memory_findings(path, text)]
    print("\n".join(findings) if findings else f"layout: {len(paths)} files keep the order")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
