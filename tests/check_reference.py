#!/usr/bin/python3
"""Hold the reference pages against the code, both ways: what the code has is on the page, and what the page has is in
the code. (docs/reference/settings.md is held by tests/unit/agent/base/test_config.c, the ranges of the command line
by tests/integration/test_cli_reference.py.)

Prints one line a finding and exits 1 when there is any. With --update it writes anew what stands between the lines
"printed from ..." and "end of what is printed" of the pages.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs/reference"
STRING = r'"(?:[^"\\]|\\.)*"'


# --- reading C

def sources(folder):
    return sorted((ROOT / folder).rglob("*.c"))


def calls(text, name):
    """(position, arguments) of each call of a function whose name matches, the arguments as source text."""
    for match in re.finditer(rf"\b({name})\(", text):
        arguments, depth, start, i = [], 1, match.end(), match.end()
        while depth:
            if text[i] == '"':
                i = re.compile(STRING).match(text, i).end()
                continue
            depth += {"(": 1, ")": -1}.get(text[i], 0)
            if depth == 0 or (depth == 1 and text[i] == ","):
                arguments.append(text[start:i].strip())
                start = i + 1
            i += 1
        yield match.start(), match.group(1), arguments


def literal(source):
    """What stands in the string literals of a piece of source, put together."""
    return "".join(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], s[1:-1]) for s in re.findall(STRING, source))


# --- what the code has

def metrics():
    """name -> (kind, label names, help)"""
    found = {}
    for path in sources("agent"):
        text = path.read_text()
        if path.name == "metrics.c":
            continue
        for position, function, (name, labels, help_text) in calls(text, "sh_metric_(?:counter|counter_seconds|gauge|histogram)"):
            kind = function.removeprefix("sh_metric_").removesuffix("_seconds")
            if re.fullmatch(r"\w+", help_text):  # a variable that holds it
                help_text = re.search(rf"\b{help_text}(?:\[\])? = ((?:\s*{STRING})+);", text).group(1)
            if labels == "labels":  # printed just before
                labels = re.findall(rf"snprintf\(labels, sizeof labels, ({STRING})", text[:position])[-1]
            names = re.findall(r"(\w+)=", literal(labels))
            found[literal(name)] = (kind, names, literal(help_text))
    return found


def events():
    """name -> (levels, names of pairs)"""
    found = {}
    for path in sources("agent"):
        if path.name == "log.c":
            continue
        for _, function, arguments in calls(path.read_text(), "sh_log_(?:debug|info|warn|error)"):
            for event in re.findall(r'"(\w+)"', arguments[0]):
                levels, pairs = found.setdefault(event, (set(), set()))
                levels.add(function.removeprefix("sh_log_"))
                pairs.update(re.findall(r"(?:^| )(\w+)=", literal(arguments[1])))
    return found


def options_of_file(path):
    """The options that a file of the command takes, those of a table that it includes too."""
    text = path.read_text()
    names = set(re.findall(r'\{"([a-z-]+)", (?:required|no)_argument', text))
    if "SH_PRODUCING_OPTIONS" in text:
        names |= options_of_file(ROOT / "cli/producing.h") if path.name != "producing.h" else set()
    if "sh_topic_output_option(" in text and path.name != "topic_print.c":
        names |= options_of_file(ROOT / "cli/topic_print.c")
    return names


def commands():
    """command -> the options that it takes"""
    files = {p: p.read_text() for p in sources("cli")}
    table = re.findall(r'\{(NULL|"\w+"), ("\w+"), (\w+), (?:true|false)\}', files[ROOT / "cli/main.c"])
    found = {"streamhouse-agent": options_of_file(ROOT / "agent/main.c")}
    for group, name, function in table:
        home = next(p for p, text in files.items() if re.search(rf"^int {function}\(", text, re.M))
        found[f"{literal(group)} {literal(name)}".strip()] = options_of_file(home)
    return found


def options_in_help(command_names):
    """The same by what --help says."""
    text = literal(re.search(rf"char help\[\] =((?:\s*(?:{STRING}|[A-Z_]+))+);", (ROOT / "cli/main.c").read_text()).group(1))
    found, command = {}, None
    for line in re.split(r"\\n|n(?=  )", text) if "\n" not in text else text.split("\n"):
        named = [c for c in command_names if re.match(rf"  {c}\b", line)]
        command = named[0] if named else command if line.startswith("      ") else None
        if command:
            found.setdefault(command, set()).update(re.findall(r"--([a-z-]+)", line))
    return found


def sql_text(source):
    """What a string of SQL says that may be cut over several lines."""
    return "".join(re.findall(r"'((?:[^']|'')*)'", re.sub(r"'\n\s+'", "", source))).replace("''", "'")


def views():
    """name -> (comment, [(column, comment)]), in the order in which their columns are told of. That no view or column
    lacks a comment is seen in sql/install.sql."""
    text = "".join(p.read_text() for p in sorted((ROOT / "extension/sql").glob("*.sql")))
    string = r"((?:\s*'(?:[^']|'')*')+);"
    comments = {name: sql_text(c) for name, c in re.findall(rf"COMMENT ON VIEW streamhouse\.(\w+) IS{string}", text)}
    found = {}
    for view, column, comment in re.findall(rf'COMMENT ON COLUMN streamhouse\.(\w+)\."?(\w+)"? IS{string}', text):
        if view in comments:
            found.setdefault(view, (comments[view], []))[1].append((column, sql_text(comment)))
    return found


# What functions in C raise by themselves. SH011 is left out: all that decide raise it.
RAISED_IN_C = {"sh_schema_parse_text": {"SH201", "SH209"}, "sh_schema_serialized": {"SH201", "SH209"}}


def raised():
    """function -> the SQLSTATEs of ours that it raises, in what it calls too; without those that call a name which
    several functions have"""
    text = "".join(p.read_text() for p in sorted((ROOT / "extension/sql").glob("*.sql")))
    bodies, shared = {}, set()
    for name, body in re.findall(r"CREATE FUNCTION streamhouse\.(\w+)(.*?)(?=\nCREATE |\nCOMMENT |\Z)", text, re.S):
        shared |= {name} & bodies.keys()
        bodies[name] = bodies.get(name, "") + re.sub(r"--[^\n]*", "", body)
    direct, caught, called = {}, {}, {}
    for name, body in bodies.items():
        direct[name] = set(re.findall(r"ERRCODE = '(SH\d+)'", body))
        for symbol in re.findall(r"'MODULE_PATHNAME', '(\w+)'", body):
            direct[name] |= RAISED_IN_C.get(symbol, set())
        caught[name] = set(re.findall(r"WHEN SQLSTATE '(SH\d+)'", body))
        called[name] = {c for c in re.findall(r"\b(\w+)\(", re.sub(r"'(?:[^']|'')*'", "", body)) if c in bodies and c != name}

    def of(name, seen):
        found = {"shared"} if name in shared else set(direct[name])
        for other in called[name] - seen:
            found |= of(other, seen | {name})
        return found - caught[name]
    found = {name: of(name, set()) for name in bodies}
    return {name: codes for name, codes in found.items() if "shared" not in codes}


def check_errors():
    """What comments say after "Raises", and sql.md after "Errors:" of the functions above it."""
    raises = raised()
    text = "".join(p.read_text() for p in sorted((ROOT / "extension/sql").glob("*.sql")))
    for name, comment in re.findall(rf"COMMENT ON FUNCTION streamhouse\.(\w+)(?:\([^)]*\))? IS((?:\s*'(?:[^']|'')*')+);", text):
        codes = set(re.findall(r"SH\d+", sql_text(comment).partition("Raises")[2])) - {"SH011"}
        if name in raises and (codes or name.startswith("agent_") or name == "publish_object"):
            if codes != raises[name]:
                yield f"extension/sql: the comment of {name} says it raises {sorted(codes)}; it raises {sorted(raises[name])}"
    functions = set()
    for line, said in re.findall(r"^(#.*|    \w+\(.*)$|Errors: ([^:;]*?)(?:\.\n|\n\n|;)", (PAGES / "sql.md").read_text(), re.M):
        if line.startswith("#"):
            functions = set()
        elif line:
            functions.add(re.match(r"\w+", line.strip())[0])
        else:
            codes, wanted = set(re.findall(r"SH\d+", said)), set().union(*(raises.get(f, set()) for f in functions))
            if codes != wanted:
                yield f"docs/reference/sql.md: errors of {sorted(functions)} are {sorted(wanted)}, not {sorted(codes)}"
            functions = set()


# Of PostgreSQL and its poolers, or said by --rebuild and --scrub as names of pairs.
OTHERS_NAMES = {"default_transaction_isolation", "max_worker_processes", "pool_mode", "published_bytes", "taken_at"}


def check_names():
    """Settings, functions and relations that messages and documents name are there."""
    sql = "".join(p.read_text() for p in sorted((ROOT / "extension/sql").glob("*.sql")))
    settings = {name for rows in (ROOT / "agent/base").glob("config_rows_*.c")
                for name in re.findall(r'\.name = "(\w+)"', rows.read_text())}
    inside = set(re.findall(r'"streamhouse\.(\w+)"', (ROOT / "extension/settings.c").read_text()))
    inside |= set(re.findall(r"CREATE (?:FUNCTION|TABLE|VIEW|SEQUENCE|TYPE) streamhouse\.(\w+)", sql))
    inside |= {"v1", "proto", "pb", "h", "c", "control", "so", "calls"}  # files, the gRPC package, a reported value
    known = settings | inside | OTHERS_NAMES | set(events()) | set(readers())
    known |= set(re.findall(r'COMMENT ON COLUMN streamhouse\.\w+\."?(\w+)', sql))
    known |= set(re.findall(r"\b(\w+) (?:text|int|bigint|uuid|boolean|interval|jsonb|bytea)\b", sql))  # arguments
    known |= set(re.findall(r"(\w+) = \d+;", (ROOT / "proto/streamhouse.proto").read_text()))
    of_client = set(re.findall(r"\b(\w+);", (ROOT / "client/streamhouse.h").read_text()))
    for path in [p for folder in ("agent", "cli", "client", "core", "schema", "extension", "bgworkers") for p in sources(folder)]:
        text = path.read_text()
        for _, _, arguments in calls(text, "sh_fail|sh_fail_retry_after|sh_cli_fail|sh_cli_misuse|errmsg|errhint|errdetail"):
            message = literal(" ".join(arguments))
            if "fault point" in message:
                continue
            named = re.findall(r"(?<![%\w])[a-z]+(?:_[a-z0-9]+)+\b", message)
            for name in set(named) - known - (of_client if path.parts[-2] == "client" else set()):
                yield f"{path.relative_to(ROOT)}: \"{message[:60]}...\" names {name}, which is nothing that a user knows"
        for name in set(re.findall(rf'"[^"\n]*\bstreamhouse\.(\w+)', text)) - inside:
            yield f"{path.relative_to(ROOT)}: there is no streamhouse.{name}"
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")]
    for path in [*documents, *(ROOT / "extension/sql").glob("*.sql")]:
        for name in set(re.findall(r"\bstreamhouse\.(\w+)", re.sub(r"--.*", "", path.read_text()))) - inside:
            yield f"{path.relative_to(ROOT)}: there is no streamhouse.{name}"
    tables = len(re.findall(r"^CREATE TABLE", sql, re.M)) - 1  # the installation is not in snapshots
    for path in documents:
        for count in re.findall(r"rebuilt snapshot=.* tables=(\d+)", path.read_text()):
            if int(count) != tables:
                yield f"{path.relative_to(ROOT)}: a snapshot has {tables} tables, not {count}"


def readers():
    text = (ROOT / "extension/sql/99_privileges.sql").read_text()
    return re.findall(r"\w+", re.search(r"GRANT SELECT ON ALL TABLES IN SCHEMA streamhouse\s+TO ([^;]+);", text).group(1))


# --- the pages

def rows(page, columns):
    """The cells of the rows of all tables with so many columns, without the heads."""
    lines = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in page.splitlines() if line.startswith("|")]
    heads = {i - 1 for i, cells in enumerate(lines) if cells and set("".join(cells)) <= set("-:")}
    return [cells for i, cells in enumerate(lines) if len(cells) == columns and i not in heads and i - 1 not in heads]


def names_in(cell):
    return re.findall(r"`([^`]+)`", cell)


def compare(page, kind, has, written):
    for name in sorted(has.keys() - written.keys()):
        yield f"docs/reference/{page}: {kind} {name} is not on the page"
    for name in sorted(written.keys() - has.keys()):
        yield f"docs/reference/{page}: {kind} {name} is not in the code"
    for name in sorted(has.keys() & written.keys()):
        if has[name] != written[name]:
            yield f"docs/reference/{page}: {kind} {name} is {has[name]} in the code, {written[name]} on the page"


def print_metrics():
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    for name, (kind, labels, help_text) in sorted(metrics().items()):
        yield f"| `{name}` | {kind} | {', '.join(f'`{l}`' for l in labels)} | {help_text} |"


def print_views():
    yield f"All of them may be read by {', '.join(f'`{r}`' for r in readers())}, by nobody else."
    for name, (comment, columns) in views().items():
        yield f"\n## {name}\n\n{comment}.\n\n| column | meaning |\n|---|---|"
        for column, meaning in columns:
            yield f"| `{column}` | {meaning} |"


def cli_tables():
    """command -> rows of its tables of options: option, default, range, meaning"""
    found = {}
    for section in re.split(r"^#{2,3} ", (PAGES / "cli.md").read_text(), flags=re.M)[1:]:
        command = re.match(r"[a-z -]*", section)[0].strip()
        if rows(section, 4):
            found[command] = rows(section, 4)
    return found


def check_cli():
    has = commands()
    written = {command: {name for row in table for name in re.findall(r"--([a-z-]+)", row[0])}
               for command, table in cli_tables().items()}
    yield from compare("cli.md", "the options of", has, written)
    helped = options_in_help(has.keys())
    for command in has.keys() - {"streamhouse-agent"}:
        if helped.get(command) != has[command]:
            yield f"cli/main.c: --help says {helped.get(command)} of {command}, which takes {has[command]}"
    help_text = literal(re.search(rf"print_help\(FILE \*to\)\n(.*?)\n}}", (ROOT / "agent/main.c").read_text(), re.S).group(1))
    if set(re.findall(r"--([a-z-]+)", help_text)) != has["streamhouse-agent"]:
        yield "agent/main.c: --help does not name the options that there are"


def check_printed(page, printed, update):
    """The part of a page that is printed from the code."""
    path = PAGES / page
    text = path.read_text()
    part = re.compile(r"(<!-- printed from [^\n]*\n)(.*?)(<!-- end of what is printed -->)", re.S)
    wanted, count = part.subn(lambda m: m.group(1) + "\n" + "\n".join(printed) + "\n\n" + m.group(3), text)
    if count != 1:
        yield f"docs/reference/{page}: has {count} places for what is printed"
    elif update:
        path.write_text(wanted)
    elif wanted != text:
        yield f"docs/reference/{page}: is not what the code says; run tests/check_reference.py --update"


def check_events():
    written = {}
    for event, level, pairs, meaning in rows((PAGES / "log-events.md").read_text(), 4):
        for name in names_in(event):
            written[name] = (set(level.split(", ")), set(names_in(pairs)))
            if not meaning:
                yield f"docs/reference/log-events.md: event {name} has no meaning"
    yield from compare("log-events.md", "event", events(), written)


def main():
    update = sys.argv[1:] == ["--update"]
    findings = [*check_printed("metrics.md", print_metrics(), update), *check_printed("views.md", print_views(), update),
                *check_events(), *check_cli(), *check_errors(), *check_names()]
    print("\n".join(findings) if findings else "reference: the pages say what the code does")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
