"""Places of a C file where a mutation fits, found with libclang: comparisons, joined conditions, conditions of ifs, bounds."""
import re

import clang.cindex as clang

from mutants.site import Site

OPPOSITE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
ARGUMENTS = ["-I.", "-Ibuild/gen", "-D_GNU_SOURCE", "-std=gnu11"]
BOUND = re.compile(rb"^#define\s+(\w*(?:MAX|MIN|LIMIT|MARGIN|TIMEOUT|_MS|_BYTES|SHARE|WINDOW|AGE)\w*)\s+\(?(\d+)", re.M)
# What the system answers is no decision of ours: tests of faults are for that.
SYSTEM = re.compile(rb"status|== NULL|!= NULL|errno|_fd\b|\bfd\b|\bERR\b|\berr\b|CURLE_|CURLM_|== -1")
NUMBER = re.compile(r"^[1-9]\d*[uUlL]*$")


def sites(path):
    """Of one file, in the order of the text."""
    text = path.read_bytes()
    unit = clang.Index.create().parse(str(path), args=ARGUMENTS)
    found = []
    for function in unit.cursor.get_children():
        if function.kind != clang.CursorKind.FUNCTION_DECL or not function.is_definition() \
                or str(function.location.file) != str(path):
            continue
        found += _operators(path, text, function)
        found += _conditions(path, text, function)
    for bound in BOUND.finditer(text):
        start, end = bound.span(2)
        found.append(Site(path, start, end, text[start:end].decode() + "00", f"{bound[1].decode()} a hundred times larger"))
        found.append(Site(path, start, end, "1" if bound[2] != b"1" else "0", f"{bound[1].decode()} next to nothing"))
    found = [site for site in found if not SYSTEM.search(_line(text, site.start))]
    return sorted(found, key=lambda site: (site.start, site.new))


def _line(text, at):
    return text[text.rfind(b"\n", 0, at) + 1:text.find(b"\n", at)]


def _operators(path, text, function):
    tokens = list(unit_tokens(function))
    for before, token, after in zip(tokens, tokens[1:], tokens[2:]):
        start, end = token.extent.start.offset, token.extent.end.offset
        if token.kind == clang.TokenKind.PUNCTUATION and token.spelling in OPPOSITE:
            new = OPPOSITE[token.spelling]
            yield Site(path, start, end, new, f"{token.spelling} becomes {new}")
        elif token.spelling in "+-" and after.spelling == "1" and before.kind in (
                clang.TokenKind.IDENTIFIER, clang.TokenKind.LITERAL) or token.spelling in "+-" and before.spelling in (")", "]") \
                and after.spelling == "1":
            yield Site(path, start, after.extent.end.offset, " ", f"{token.spelling} 1 is dropped")
        elif token.spelling == "!" and after.kind == clang.TokenKind.IDENTIFIER:
            yield Site(path, start, end, " ", "a negation is dropped")
        elif before.spelling in ("<", "<=", ">", ">=") and NUMBER.match(token.spelling):
            yield Site(path, start, end, f"(100 * {token.spelling})", "a number compared with is a hundred times larger")


def unit_tokens(function):
    return function.translation_unit.get_tokens(extent=function.extent)


def _conditions(path, text, cursor):
    for child in cursor.get_children():
        if child.kind == clang.CursorKind.IF_STMT:
            condition = next(child.get_children()).extent
            start, end = condition.start.offset, condition.end.offset
            if b"\n#" not in text[start:end]:
                old = text[start:end].decode()
                yield Site(path, start, end, f"(({old}) && 0)", "an if is never taken")
        yield from _conditions(path, text, child)
