"""Methods by name or file: the baselines of this project, or a Python file of the user's."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.errors import MethodError, listing
from bench.method import Method

RESERVED = frozenset({"majority", "prior", "uniform", "leaderboard", "sweep"})
"""Names of the reference rows, and of the folders of the pages and of sweeps."""


@dataclass(frozen=True)
class LoadedMethod:
    """A method and where it came from.

    passport       the file's docstring: source, licence, command, measured score
    source_sha256  hash of the file below its passport, so a new figure there is no new method
    """

    method: Method
    file: Path
    passport: str
    source_sha256: str


def method_names(folder: Path) -> list[str]:
    """Names of the methods in a folder of method files."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def load_method(name_or_file: str, folder: Path) -> LoadedMethod:
    """Load a baseline by name or any method by its file. Its code is run: it is the user's choice.

    Raises MethodError for an unknown name, or a file that defines no METHOD.
    """
    if name_or_file.endswith(".py"):
        path = Path(name_or_file)
        if not path.is_file():
            raise MethodError(f"{path}: no such method file")
    else:
        path = folder / f"{name_or_file}.py"
        if name_or_file not in method_names(folder):
            raise MethodError(
                f"unknown method {name_or_file!r}; known are {listing(method_names(folder))}; "
                "a method of your own is given as its FILE.py"
            )
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise MethodError(f"{path}: is not UTF-8 text") from None
    passport, body = split_passport(source, path)
    method = _run(path.resolve())
    taken = (
        RESERVED
        if path.parent.resolve() == folder.resolve()
        else RESERVED | set(method_names(folder))
    )
    if method.name in taken:
        raise MethodError(f"{path}: the name {method.name!r} is taken; give the method another")
    return LoadedMethod(
        method=method,
        file=path.resolve(),
        passport=passport,
        source_sha256=hashlib.sha256(body.encode()).hexdigest(),
    )


def split_passport(source: str, path: Path) -> tuple[str, str]:
    """A method file's docstring, and the source below it."""
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        raise MethodError(f"{path}, line {error.lineno}: {error.msg}") from None
    passport = ast.get_docstring(module)
    if passport is None:
        return "", source
    docstring = module.body[0]
    lines = source.splitlines(keepends=True)
    behind = (
        lines[(docstring.end_lineno or 1) - 1].encode()[docstring.end_col_offset or 0 :].decode()
    )
    below = "".join(lines[docstring.end_lineno or 0 :])
    return passport, behind + below if behind.strip() else below


def _run(path: Path) -> Method:
    name = f"bench_method_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MethodError(f"{path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise MethodError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    method = getattr(module, "METHOD", None)
    if not isinstance(method, Method):
        raise MethodError(f"{path}: defines no METHOD = Method(name, recipe, fit_predict)")
    if not method.name.replace("_", "").replace("-", "").isalnum() or not method.name.isascii():
        raise MethodError(f"{path}: method name {method.name!r}: use letters, digits, '_' and '-'")
    return method
