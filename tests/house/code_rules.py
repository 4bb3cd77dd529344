"""Rules about code that no ready-made linter has: each takes a text and yields its findings."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500

_FLOAT_ESCAPE = re.compile(r"# house: float-ok \S+")
_NOQA = re.compile(r"#\s*(?:ruff:\s*)?noqa(?P<codes>:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?(?P<rest>.*)")
_IGNORE = re.compile(r"#\s*type:\s*ignore(?P<codes>\[[^\]]*\])?(?P<rest>.*)")
_REASON = re.compile(r"\w+\W+\w+")
_SECRET = re.compile(
    r"(?:^|_)(?:sign|signature|key|digest|md5|hash|mac|hmac|secret|token|password)s?$", re.IGNORECASE
)
_COMPARE_ESCAPE = re.compile(r"# house: compare-ok \S+")
_COMPARING = {"startswith", "endswith", "find", "index", "count", "__eq__", "__contains__"}


def long_functions(text: str) -> Iterator[tuple[str, int]]:
    """Yield (name, lines) of each function longer than a screen, decorators and docstring included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            if lines > FUNCTION_LINES_MAX:
                yield node.name, lines


def floats(text: str, *, strict: bool) -> Iterator[str]:
    """Yield each use of the builtin float; strict also: each float literal and each true division.

    A line with the comment "house: float-ok <reason>" is left alone.
    """
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        what = _float_in(node, strict=strict)
        if what and not _FLOAT_ESCAPE.search(lines[node.lineno - 1]):  # type: ignore[attr-defined]  # what is found has a line
            yield f"{what} in line {node.lineno}"  # type: ignore[attr-defined]  # as above


def _float_in(node: ast.AST, *, strict: bool) -> str:
    if isinstance(node, ast.Name) and node.id == "float":
        return "float"
    if strict and isinstance(node, ast.Constant) and isinstance(node.value, float):
        return f"the float {node.value}"
    if strict and isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        return "a division that makes a float"
    return ""


def unexplained_exceptions(text: str) -> Iterator[str]:
    """Yield each `noqa` or `type: ignore` comment that names no rule or gives no reason."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        for kind in (_NOQA, _IGNORE):
            found = kind.search(token.string)
            if found and not (found["codes"] and _REASON.search(found["rest"])):
                yield f"line {token.start[0]}: {token.string}"


def leaky_comparisons(text: str) -> Iterator[str]:
    """Yield each comparison of a secret or signature that ends at the first difference.

    Such a thing is known by its name; what is compared with a constant is a field's name or a kind. A line
    with the comment "house: compare-ok <reason>" is left alone.
    """
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if any(map(_is_secret, _compared(node))):
            line = node.lineno  # type: ignore[attr-defined]  # comparisons and calls have one
            if not _COMPARE_ESCAPE.search(lines[line - 1]):
                yield f"{ast.unparse(node)} in line {line}"


def _compared(node: ast.AST) -> list[ast.expr]:
    """The operands of a comparison by content; [] when it is none, or one with a constant."""
    if isinstance(node, ast.Compare):
        by_content = any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
        operands = [node.left, *node.comparators] if by_content else []
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _COMPARING:
        operands = [node.func.value, *node.args]
    else:
        return []
    return [] if any(isinstance(operand, ast.Constant) for operand in operands) else operands


def _is_secret(value: ast.expr) -> bool:
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return bool(_SECRET.search(name)) and not name.isupper()
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return bool(_SECRET.search(name))
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
            return bool(_SECRET.search(name))
        case ast.Call(
            func=ast.Attribute(value=inner, attr="encode" | "decode" | "lower" | "upper" | "strip")
        ):
            return _is_secret(inner)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in {"sign", "digest", "hexdigest"} or name.endswith(("_sign", "_digest"))
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            return any(map(_is_secret, elements))
        case _:
            return False
