"""Places of the extension's SQL where a mutation fits: in the bodies of functions, outside of strings and comments."""
import re

from mutants.site import Site

BODY = re.compile(r"AS \$\$\n(.*?)\$\$", re.S)
SKIPPED = re.compile(r"--[^\n]*|'(?:[^']|'')*'|/\*.*?\*/", re.S)
OPERATOR = re.compile(r"(?<=\s)(<=|>=|<>|<|>|=)(?=\s)|\b(AND|OR)\b|\b(greatest|least)(?=\()|\bNOT (?=EXISTS|[a-z])|"
                      r"\bFOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED| NOWAIT)?|\bIF (?=\S)(.*?)(?= THEN)|"
                      r"[+-] 1\b|\bFOR (?:KEY )?SHARE(?: OF \w+)?", re.S)
OPPOSITE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "=", "AND": "OR", "OR": "AND",
            "greatest": "least", "least": "greatest"}


def sites(path):
    """Of one file, in the order of the text."""
    text = path.read_text()
    found = []
    for body in BODY.finditer(text):
        skipped = [m.span() for m in SKIPPED.finditer(text, *body.span(1))]
        for match in OPERATOR.finditer(text, *body.span(1)):
            if any(start < match.end() and match.start() < end for start, end in skipped if not match[4]):
                continue
            site = _mutation(path, text, match)
            if site is not None:
                found.append(site)
    return found


def _mutation(path, text, match):
    word = match[0]
    start, end = (len(text[:at].encode()) for at in match.span())
    if match[4]:
        return Site(path, start, end, f"IF ({match[4]}) AND false", "an IF is never taken")
    if word in OPPOSITE:
        return Site(path, start, end, OPPOSITE[word], f"{word} becomes {OPPOSITE[word]}")
    if word.startswith("NOT "):
        return Site(path, start, end, "", "a negation is dropped")
    if word.startswith("FOR "):
        return Site(path, start, end, "", "a row lock is dropped")
    return Site(path, start, end, "", f"{word} is dropped")
