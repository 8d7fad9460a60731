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
                *check_events(), *check_cli()]
    print("\n".join(findings) if findings else "reference: the pages say what the code does")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
