"""Find a piece of Python in a file by its syntax tree, and put another in its place.

A piece is an expression, one or more statements, or the head of a statement that holds others
(``if n > 3:``), which is compared without its body. Where it stands, its blanks, line breaks,
comments, quotes and brackets do not matter: trees are compared.

    pieces(text, "Loss.forward", "x.mean() / 2")     every place in that function
    replaced(text, pieces(...)[0], "x.mean()")       the text with another piece there
"""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
BODIES = ("body", "orelse", "finalbody", "handlers", "cases", "decorator_list")
LOW = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.Lambda, ast.NamedExpr)  # in need of brackets


@dataclass(frozen=True)
class Piece:
    """Places in a text: from the beginning of ``first`` to the end of ``last``, or of its head."""

    first: ast.AST
    last: ast.AST
    head: bool = False


def parsed(piece: str) -> tuple[list[ast.AST], bool]:
    """The trees of a piece, and whether it is the head of a statement.

    Raises ValueError where it is no Python.

    >>> parsed("n > 3")[1], parsed("if n > 3:")[1]
    (False, True)
    """
    text = textwrap.dedent(piece).strip()
    try:
        if text.startswith("except"):
            return list(ast.parse(f"try: ...\n{text} ...").body[0].handlers), True  # type: ignore[attr-defined]
        if text.endswith(":"):
            return list(ast.parse(re.sub("^elif", "if", text) + " ...").body), True
        try:
            return [ast.parse(f"(\n{text}\n)", mode="eval").body], False
        except SyntaxError:
            return list(ast.parse(text).body), False
    except SyntaxError as error:
        raise ValueError(f"this is neither an expression nor statements: {text!r}") from error


def same(one: object, other: object, head: bool = False) -> bool:
    """Return whether two trees are equal but for positions; of heads, but for what they hold."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, ast.expr_context) and isinstance(other, ast.expr_context):
        return True
    if not isinstance(one, ast.AST) or type(one) is not type(other):
        return type(one) is type(other) and one == other
    names = [name for name in one._fields if not (head and name in BODIES) and name not in ("kind", "type_comment")]
    return all(same(getattr(one, name, None), getattr(other, name, None)) for name in names)


@lru_cache(maxsize=1)
def _scopes(text: str) -> list[tuple[str, ast.AST]]:
    return list(scopes(ast.parse(text)))


def scopes(tree: ast.AST, name: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Each function and class by its dotted name; the file itself by an empty one."""
    yield name, tree
    for node in _nodes(tree):
        if node is not tree and isinstance(node, SCOPES):
            yield from scopes(node, f"{name}.{node.name}".strip("."))


def _nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """A scope and the nodes in it, without what stands in f-strings, other functions and classes."""
    yield scope
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, SCOPES):
            yield child
        elif not isinstance(child, ast.JoinedStr):
            yield from _nodes(child)


def pieces(text: str, within: str, piece: str) -> list[Piece]:
    """Every place of a piece in a function, a class, or with an empty name in the file itself.

    Raises ValueError where the piece is no Python, SyntaxError where the text is none.
    """
    wanted, head = parsed(piece)
    return [
        found
        for name, scope in _scopes(text)
        if name == within
        for node in _nodes(scope)
        if node is scope or not isinstance(node, SCOPES)
        for found in _children(node, wanted, head)
    ]


def _children(node: ast.AST, wanted: list[ast.AST], head: bool) -> Iterator[Piece]:
    """Find a piece among the children of a node."""
    for _name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for at in range(len(children) - len(wanted) + 1):
            part = children[at : at + len(wanted)]
            if hasattr(part[0], "lineno") and all(same(a, b, head) for a, b in zip(part, wanted, strict=True)):
                yield Piece(part[0], part[-1], head)


def replaced(text: str, found: Piece, new: str) -> str:
    """The text with another piece in a place; an empty one takes statements out.

    Raises ValueError where the result is no Python.
    """
    first, last = found.first, found.last
    begin = _offset(text, first.lineno, first.col_offset)
    end = _end_of_head(text, first) if found.head else _offset(text, last.end_lineno, last.end_col_offset)
    inserted = textwrap.dedent(new).strip()
    if isinstance(first, ast.expr):
        low = isinstance(parsed(inserted)[0][0], LOW)
        inserted = f"({inserted})" if low or "\n" in inserted else inserted
    else:
        if found.head and text.startswith("elif", begin):
            inserted = re.sub("^if", "elif", inserted)
        inserted = textwrap.indent(inserted or "pass", " " * first.col_offset).lstrip()
    changed = text[:begin] + inserted + text[end:]
    try:
        ast.parse(changed)
    except SyntaxError as error:
        raise ValueError(f"with {new!r} the file is no Python any more: {error}") from error
    return changed


def _offset(text: str, line: int, column: int) -> int:
    """A position in characters; trees count columns in bytes of UTF-8."""
    lines = text.split("\n")
    return sum(len(one) + 1 for one in lines[: line - 1]) + len(lines[line - 1].encode()[:column].decode())


def _end_of_head(text: str, node: ast.AST) -> int:
    """The position behind the colon of a statement that holds others."""
    begin = _offset(text, node.lineno, node.col_offset)
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(text[begin:]).readline):
        depth += (token.string in ("(", "[", "{")) - (token.string in (")", "]", "}"))
        if token.string == ":" and token.type == tokenize.OP and depth == 0:
            return begin + _offset(text[begin:], token.end[0], 0) + token.end[1]
    raise ValueError("no colon ends the head")
