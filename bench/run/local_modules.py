"""Modules that a method file imports from its own folder: found, importable, part of its hash.

They are found in the import statements of the file and of the modules themselves. A module that is
imported by a name computed at run time is not found; declare its file as an input of the method.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from bench.errors import MethodError
from bench.settings import BASELINES, PACKAGE

_FOLDERS: set[str] = set()
"""Folders that this module added to sys.path."""


def local_modules(file: Path) -> dict[str, Path]:
    """The files of the modules that a method file imports from its folder, by path below it.

    The bench's own files are not among them. Raises MethodError for a file with a syntax error.
    """
    folder, found, waiting = file.parent, dict[str, Path](), [file]
    while waiting:
        source = waiting.pop()
        for parts in _imports(source, folder):
            for path in _files(folder, parts):
                name = path.relative_to(folder).as_posix()
                if name not in found and path != file and not _is_of_bench(path):
                    found[name] = path
                    waiting.append(path)
    return dict(sorted(found.items()))


def _imports(source: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """The modules that a file may import, as the parts of their names below the folder."""
    try:
        nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    except SyntaxError as error:
        raise MethodError(f"{source}, line {error.lineno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise MethodError(f"{source}: not UTF-8 text; save it as UTF-8") from None
    package = source.parent.relative_to(folder).parts
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*above, *(node.module.split(".") if node.module else ()))
            # `from package import name`: the name may be a module
            yield from ((*module, alias.name) for alias in node.names)


def _files(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """The existing files that importing a module executes, with those of its packages."""
    if parts[0] == PACKAGE.name:
        return
    for count in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:count])
        files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
        yield from (path for path in files if path.is_file())


def _is_of_bench(path: Path) -> bool:
    return any(path.resolve().is_relative_to(own) for own in (PACKAGE, BASELINES))


def with_local_modules(body: str, modules: dict[str, Path]) -> str:
    """Hash of a method file's code, and of the modules of its folder if it imports any."""
    own = hashlib.sha256(body.encode()).hexdigest()
    if not modules:
        return own
    lines = [
        f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for name, path in modules.items()
    ]
    return hashlib.sha256("\n".join([own, *lines]).encode()).hexdigest()


def make_importable(file: Path, modules: dict[str, Path]) -> None:
    """Let a method file import the modules of its folder, as they are now.

    The folder comes last in sys.path, so that it hides no installed package. Modules that another
    method file, or this one before a change, has imported are forgotten. Raises MethodError for a
    module with the name of an installed one.
    """
    folder = str(file.parent)
    sys.path[:] = [place for place in sys.path if place not in _FOLDERS]
    if folder not in sys.path:
        sys.path.append(folder)
        _FOLDERS.add(folder)
    for name in {name.split("/")[0].removesuffix(".py") for name in modules}:
        for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            if _is_local(sys.modules[loaded], file.parent):
                del sys.modules[loaded]
        importlib.invalidate_caches()
        spec = importlib.util.find_spec(name)
        places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
        if not any(place and Path(place).is_relative_to(file.parent) for place in places):
            raise MethodError(
                f"{file}: the module {name!r} beside it has the name of an installed module, which "
                "would be imported instead; rename it"
            )


def _is_local(module: ModuleType, folder: Path) -> bool:
    """Whether a loaded module is from this folder, or from the folder of another method file."""
    file = getattr(module, "__file__", None)
    places: list[str] = [file] if file else []
    places += getattr(module, "__path__", None) or ()
    folders = [Path(own) for own in _FOLDERS] + [folder]
    return any(Path(place).is_relative_to(own) for place in places for own in folders)
