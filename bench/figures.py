#!/usr/bin/python3
"""The figures in docs/internals/performance.md, from the committed runs: results.json and instructions/committed.json.

    figures.py            write them into the document
    figures.py --check    and say, with status 1, where the document has others (tests/run.sh layout)

They stand between marks in the document. Outside of these, and of the section of what was sampled, it may have no rate, time
or size: a number that nobody measures any more cannot be told from one that holds.
"""
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs/internals/performance.md"
RESULTS = HERE / "results.json"
COMMITTED = HERE / "instructions/committed.json"
MEASURE = HERE / "instructions/measure.py"
SAMPLED = "## Where the time goes"
QUANTITY = re.compile(r"\d\s*(?:million|[µunm]?s|%)(?![\w/-])|\d[\d,.]*\s*[\w]*/s\b")

# What a figure is to reach: at least or at most so much, itself or as a ratio to its reference. Beside these, what has
# a reference of the name "target" is to be no more than that.
LEAST, MOST = False, True
BOUNDS = {
    ("sustained", "interval: WAL and objects"): ("ratio", LEAST, 0.6),
    ("policies", "always, acknowledged: 100 B records by 64 KiB"): ("ratio", LEAST, 0.8),
    ("fetch", "memory, 100 B records: decoded"): ("value", LEAST, 5e6),
    ("fetch", "memory, 100 B records: batches"): ("ratio", LEAST, 0.8),
    ("fetch", "memory, 1024 B records: batches"): ("ratio", LEAST, 0.8),
    ("fetch", "store, 100 B records: decoded"): ("value", LEAST, 5e6),
    ("fetch", "store, 100 B records: batches"): ("ratio", LEAST, 0.8),
    ("fetch", "store, 1024 B records: batches"): ("ratio", LEAST, 0.8),
    ("fetch", "tail at full load while another reader catches up"): ("ratio", LEAST, 0.8),
    ("fetch", "tail at a quarter of full load while another reader catches up"): ("ratio", LEAST, 0.8),
    ("latency", "produce to consume, a tenth of full load: p99"): ("ratio", MOST, 1),
    ("publish", "1 partitions, 2000 records/s: PostgreSQL"): ("ratio", MOST, 1.2),
    ("publish", "1000 partitions, 2000 records/s: PostgreSQL"): ("ratio", MOST, 1.2),
    ("acknowledge", "always, 50 % of full load: p99"): ("ratio", MOST, 3),
    ("acknowledge", "always, 80 % of full load: p99"): ("ratio", MOST, 3),
    ("acknowledge", "always, 100 % of full load: p99"): ("ratio", MOST, 3),
    ("small", "acknowledged records of 1000 connections, 1 in flight each"): ("value", LEAST, 30000),
    ("small", "acknowledged records of 1000 connections, 8 in flight each"): ("value", LEAST, 30000),
    ("small", "the agent's memory after all of it"): ("ratio", MOST, 1),
    ("garbage", "publish beside retention and compaction: p99"): ("ratio", MOST, 2),
    ("recover", "scan and verification of 2 GB of WAL, batches of 100 bytes"): ("value", LEAST, 1000),
    ("registry", "look-ups by id from the cache"): ("value", LEAST, 20000),
    ("schema", "registering the 1,000th version, BACKWARD_TRANSITIVE"): ("value", MOST, 100),
    ("schema", "registering the 1,000th version, FULL_TRANSITIVE"): ("value", MOST, 100),
}


def number(value):
    """Three digits say all that runs have in common."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def bound_of(bench, line):
    """The bound in words and whether it is reached; None when there is none."""
    if line.get("reference") == "target":
        place, is_most, limit = "value", True, line["reference_value"]
    elif (bench, line["figure"]) in BOUNDS:
        place, is_most, limit = BOUNDS[bench, line["figure"]]
    else:
        return None
    reached = line[place] <= limit if is_most else line[place] >= limit
    words = f"{limit:.0%}" if place == "ratio" else f"{number(limit)} {line['unit']}"
    return f"at {'most' if is_most else 'least'} {words}", "yes" if reached else "no"


def row(bench, line):
    bound, reached = bound_of(bench, line) or ("", "")
    reference = ratio = ""
    if line.get("reference") not in (None, "target"):
        reference = f"{line['reference']}: {number(line['reference_value'])}"
        ratio = f"{line['ratio']:.0%}"
    cells = (line["figure"], f"{number(line['value'])} {line['unit']}", reference, ratio, bound, reached)
    return "| " + " | ".join(cells) + " |"


def runs():
    """A table of the machine's state, and one of each bench."""
    results = json.loads(RESULTS.read_text())
    text = [f"Machine: {', '.join(sorted({result['machine'] for result in results}))}.", ""]
    for result in results:
        text += [f"### {result['bench']}", "",
                 f"`bench_{result['bench']}`, {result['date']} UTC; {number(result['load_before'])} processes wanted the "
                 f"machine's processors in the minute before.", "",
                 "| figure | measured | reference in the same run | ratio | bound | reached |", "|---|---|---|---|---|---|"]
        text += [row(result["bench"], line) for line in result["figures"]] + [""]
    return "\n".join(text).rstrip()


def constant(name):
    return float(re.search(rf"^{name} = (\S+)", MEASURE.read_text(), re.MULTILINE).group(1))


def instructions():
    committed = json.loads(COMMITTED.read_text())
    text = ["| work | own | runs differ by | at most | in all |", "|---|---|---|---|---|"]
    for name, figure in committed.items():
        most = figure["value"] + constant("SPREADS_MAX") * figure["spread"]
        text.append(f"| {name} | {figure['value']:,} | {figure['spread']} | {most:,.2f} | {figure['in_all']:,} |")
    own = {name: figure["value"] for name, figure in committed.items()}
    with_wal, by_id = own["produce"], own["produce, validated by id"]
    wal = with_wal / own["produce without the WAL"] - 1
    field = (own["produce, validated by full"] - by_id) / constant("FIELDS")
    text += ["", "| what is derived | | at most |", "|---|---|---|",
             f"| the WAL, of going without it | {wal:.1%} | {constant('WAL_COST_MAX'):.0%} |",
             f"| a schema's id in front of a record's value | {by_id - with_wal:.1f} | {constant('ID_COST_MAX'):g} |",
             f"| a field of Avro data that is read with its schema | {field:.1f} | {constant('FIELD_COST_MAX'):g} |"]
    return "\n".join(text)


SECTIONS = {"results.json": runs, "instructions/committed.json": instructions}


def marks(name):
    return f"<!-- from bench/{name} by bench/figures.py -->\n\n", f"\n\n<!-- end of bench/{name} -->\n"


def written(document):
    """The document with all sections as they are to be."""
    for name, render in SECTIONS.items():
        begin, end = marks(name)
        before, _, rest = document.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            sys.exit(f"{DOCUMENT.name} has no section of {name}")
        document = before + begin + render() + end + after
    return document


def by_hand(document):
    """What is left of it, line by line with its number, without what is rendered or sampled."""
    is_rendered = is_sampled = False
    for at, line in enumerate(document.splitlines(), 1):
        is_rendered = (is_rendered or line.startswith("<!-- from bench/")) and not line.startswith("<!-- end of")
        if line.startswith("## "):
            is_sampled = line == SAMPLED
        if not is_rendered and not is_sampled:
            yield at, line


def findings(document):
    figures = {(result["bench"], line["figure"]) for result in json.loads(RESULTS.read_text())
               for line in result["figures"]}
    for bench, figure in BOUNDS.keys() - figures:
        yield f"bench/figures.py: a bound of {bench}, \"{figure}\", which results.json does not have"
    if written(document) != document:
        yield f"{DOCUMENT.name} has other figures than the committed runs: bench/figures.py writes it"
    for at, line in by_hand(document):
        if quantity := QUANTITY.search(line):
            yield f"{DOCUMENT.name}:{at}: \"{quantity.group(0)}\" is from no committed run"


def main():
    document = DOCUMENT.read_text()
    if sys.argv[1:] != ["--check"]:
        DOCUMENT.write_text(written(document))
        return 0
    found = list(findings(document))
    print("\n".join(found) if found else f"figures: {DOCUMENT.name} has those of the committed runs")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
