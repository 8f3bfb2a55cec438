"""Workflows return results and send events: they print nothing and are typed."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "bench"
UNTYPED = {"demo.py"}  # gradio's Blocks is untyped, and gradio is an optional package


def modules() -> Iterator[tuple[Path, list[ast.AST]]]:
    for path in [*sorted((ROOT / "workflows").glob("*.py")), ROOT / "api.py"]:
        if path.exists():
            yield path, list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def named(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def test_workflows_neither_print_nor_use_click():
    found = []
    for path, nodes in modules():
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found += [f"{path}:{node.lineno}: print"] * (node.func.id == "print")
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                found += [f"{path}:{node.lineno}: {n}" for n in names if n.split(".")[0] == "click"]
    assert not found


def test_workflows_have_no_untyped_value():
    found = [
        f"{path}:{node.lineno}"
        for path, nodes in modules()
        if path.name not in UNTYPED
        for node in nodes
        if named(node) == "Any"
    ]
    assert len(list(modules())) > 10
    assert not found
