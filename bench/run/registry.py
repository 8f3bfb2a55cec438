"""Load methods by name or file: baselines, examples, installed packages, user's Python files.

A method file defines one of these names:

    METHOD = Method(name, recipe, fit_predict)    the whole method
    RECIPE = Recipe(...)                          the bench's engine trains it
    def build_model(num_classes)                  the engine trains the model it returns
    def fit_predict(task)                         a method with its own training

Without METHOD, the file name is the method's name; a RECIPE may accompany either function, and
INPUTS = [paths] declares files that the method reads (with METHOD: Method(..., inputs=[paths])). An
installed package registers a METHOD or a module by an entry point of `bench.methods`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import MethodError, listing
from bench.io import sha256_of
from bench.method import OWN_MODEL, Method, Recipe
from bench.run.local_modules import local_modules, make_importable, with_local_modules

RESERVED = frozenset({"majority", "prior", "uniform", "leaderboard", "sweep"})
"""Names of the reference rows, of the folder of the pages and of the folder of sweeps."""
EXAMPLES = "examples"
"""Subfolder of the baselines with example methods, which have names, too."""
GROUP = "bench.methods"
ENGINE = "bench.train:fit_predict"
"""The default training; by name, so that planning does not import torch."""
PLAIN = ("RECIPE", "build_model", "fit_predict")


@dataclass(frozen=True)
class LoadedMethod:
    """A method and its origin.

    passport       the file's docstring: source, licence, command, measured score
    source_sha256  hash of the file below its passport, so that new figures there do not change the
                   method, and of the modules that it imports from its folder; of an installed
                   package, hash of all its Python files
    address        argument of `load_method` for exactly this method, in any folder
    given          argument of --method, on any machine
    builtin        whether it is a baseline or an example of the bench
    """

    method: Method
    file: Path
    passport: str
    source_sha256: str
    address: str = field(default="")
    given: str = field(default="")
    builtin: bool = False


def method_files(folder: Path) -> dict[str, Path]:
    """The method files of a folder and of its examples, by name, in order."""
    paths = [*folder.glob("*.py"), *folder.glob(f"{EXAMPLES}/*.py")]
    files = {path.stem: path for path in paths if not path.stem.startswith("_")}
    return dict(sorted(files.items()))


def method_names(folder: Path) -> list[str]:
    """Names of the methods in a folder of method files."""
    return list(method_files(folder))


def installed_methods() -> dict[str, EntryPoint]:
    """Entry points of the methods of installed packages by name; loads none of them."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def load_method(name_or_file: str, folder: Path) -> LoadedMethod:
    """Load a baseline, an example or an installed method by name, or any method by its file.

    Runs the code of the file, which the user has chosen. Raises MethodError for an unknown name, or
    for a file without a method.
    """
    files, installed = method_files(folder), installed_methods()
    if name_or_file.endswith(".py"):
        path = Path(name_or_file)
        if not path.is_file():
            raise MethodError(f"{path}: no such method file")
        builtin = path.resolve() in {file.resolve() for file in files.values()}
        taken = RESERVED if builtin else RESERVED | set(files)
        return replace(_from_file(path, taken, path.name), builtin=builtin)
    if name_or_file in files:
        path = files[name_or_file]
        return replace(_from_file(path, RESERVED, name_or_file), builtin=True)
    point, name = name_or_file.startswith(f"{GROUP}:"), name_or_file.removeprefix(f"{GROUP}:")
    if name in installed:
        return _from_package(installed[name], RESERVED if point else RESERVED | set(files))
    raise MethodError(
        f"unknown method {name_or_file!r}; known are {listing([*files, *installed])}; "
        "give another method as its FILE.py"
    )


def _from_file(path: Path, taken: frozenset[str] | set[str], given: str) -> LoadedMethod:
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise MethodError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    passport, body = split_passport(source, path)
    modules = local_modules(path.resolve())
    source_sha256 = with_local_modules(body, modules)
    if modules:
        make_importable(path.resolve(), modules)
    method = _method_of(_run(path.resolve()), path.stem, str(path))
    refuse_name(method.name, taken, str(path))
    return LoadedMethod(
        method=method,
        file=path.resolve(),
        passport=passport,
        source_sha256=source_sha256,
        address=str(path.resolve()),
        given=given,
    )


def _from_package(point: EntryPoint, taken: frozenset[str] | set[str]) -> LoadedMethod:
    where = f"{GROUP}: {point.name} = {point.value}"
    try:
        loaded = point.load()
        module = importlib.import_module(point.module)
    except (Exception, SystemExit) as error:
        raise MethodError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error
    method = _method_of(loaded, point.name, where) if isinstance(loaded, ModuleType) else loaded
    if not isinstance(method, Method):
        raise MethodError(f"{where}: is a {type(loaded).__name__}, neither a Method nor a module")
    refuse_name(method.name, taken, where)
    origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.module
    passport = (module.__doc__ or "").strip()
    return LoadedMethod(
        method=method,
        file=Path(module.__file__ or point.module),
        passport=f"{passport}\ninstalled  {origin}".lstrip(),
        source_sha256=_package_sha256(point.module.partition(".")[0]),
        address=f"{GROUP}:{point.name}",
        given=point.name,
    )


def _package_sha256(package: str) -> str:
    """Hash of the Python files of an importable package, or of a single-file module."""
    spec = importlib.util.find_spec(package)
    roots = [Path(root) for root in (spec and spec.submodule_search_locations) or ()]
    files = {
        file.relative_to(root).as_posix(): file for root in roots for file in root.rglob("*.py")
    }
    if spec and spec.origin and not files:
        files = {Path(spec.origin).name: Path(spec.origin)}
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def trained_by_engine(method: Method) -> bool:
    """Whether the bench's engine trains a method."""
    fit = method.fit_predict
    return bool(getattr(fit, "func", fit) is pkgutil.resolve_name(ENGINE))


def split_passport(source: str, path: Path) -> tuple[str, str]:
    """The docstring of a method file, and the source below it."""
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


def _run(path: Path) -> ModuleType:
    name = f"bench_method_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MethodError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # a cached .pyc of a module that changed within a second and kept its size would be used
    writes_nothing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise MethodError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = writes_nothing
    return module


def _method_of(module: ModuleType, name: str, where: str) -> Method:
    """The method that a module defines; `name` is its name without METHOD."""
    method = getattr(module, "METHOD", None)
    if isinstance(method, Method):
        return method
    defined = [plain for plain in PLAIN if hasattr(module, plain)]
    if method is not None or not defined:
        raise MethodError(
            f"{where}: defines no METHOD = Method(name, recipe, fit_predict), nor RECIPE, "
            "build_model(num_classes) or fit_predict(task)"
        )
    engine: Callable[..., Any] = pkgutil.resolve_name(ENGINE)
    recipe, build = getattr(module, "RECIPE", Recipe()), getattr(module, "build_model", None)
    fit: Callable[..., Any] = getattr(module, "fit_predict", engine)
    if not isinstance(recipe, Recipe):
        raise MethodError(f"{where}: RECIPE is a {type(recipe).__name__}, not a Recipe(...)")
    if build is not None and fit is not engine:
        raise MethodError(
            f"{where}: defines both build_model and fit_predict; remove one: the engine trains the "
            "model of build_model, and fit_predict replaces the engine"
        )
    inputs = getattr(module, "INPUTS", ())
    if isinstance(inputs, str) or not all(isinstance(each, str | Path) for each in inputs):
        raise MethodError(f'{where}: INPUTS is a list of paths, such as ["features.npz"]')
    if build is not None:
        own = recipe.with_overrides({"model": OWN_MODEL})
        return Method(name, own, partial(engine, build_model=build), inputs)
    return Method(name, recipe, fit, inputs)


def inputs_sha256(loaded: LoadedMethod) -> str:
    """Hash of the input files that a method declares, in their order; "" if it declares none.

    A relative path is below the folder of the method's file; of a folder, all files count. Raises
    MethodError for a path that does not exist.
    """
    digest = hashlib.sha256()
    for given in loaded.method.inputs:
        path = loaded.file.parent / given
        if not path.exists():
            raise MethodError(f"{loaded.given}: declares the input {given}, which does not exist")
        files = (
            sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        )
        for file in files:
            digest.update(f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest() if loaded.method.inputs else ""


def refuse_name(name: str, taken: frozenset[str] | set[str], where: str) -> None:
    """Raise MethodError for an invalid name, or for the name of another method."""
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        raise MethodError(f"{where}: method name {name!r}: use letters, digits, '_' and '-'")
    if name in taken:
        raise MethodError(f"{where}: the name {name!r} is taken; give another name")
