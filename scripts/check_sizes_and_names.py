"""Fails where a function is too long or one class name stands for two things.

Ruff counts statements, not lines, and reads one file at a time, so it can check neither.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = ("pricing_server", "clients/python/llmpricing")
OTHERS = ("benchmarks", "examples", "scripts", "tests")
LONGEST_FUNCTION = 60


def main() -> int:
    """Print what is wrong, one complaint a line; the exit code says whether there was any."""
    complaints: list[str] = []
    places: dict[str, list[str]] = defaultdict(list)
    for folder in (*DISTRIBUTIONS, *OTHERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.stem.endswith(("_pb2", "_pb2_grpc")):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            name = path.relative_to(ROOT)
            complaints += [f"{name}:{complaint}" for complaint in long_functions(tree)]
            if folder in DISTRIBUTIONS:
                for line, class_name in classes(tree):
                    places[class_name].append(f"{name}:{line}")
    for class_name, where in sorted(places.items()):
        if len(where) > 1:
            complaints.append(f"the class name {class_name} is used {len(where)} times: {where}")
    print("\n".join(complaints) or "functions are short, class names are unique")
    return 1 if complaints else 0


def long_functions(tree: ast.AST) -> Iterator[str]:
    """Functions over the limit, counted from `def` to the last line, docstring included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield (
                    f"{node.lineno}: {node.name} has {lines} lines, {LONGEST_FUNCTION} are allowed"
                )


def classes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every class of a file, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.lineno, node.name


if __name__ == "__main__":
    sys.exit(main())
