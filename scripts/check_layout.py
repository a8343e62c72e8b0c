"""Fails where a file of the server or its client has no place that can be guessed.

Who may import whom is import-linter's part (pyproject.toml).
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "pricing_server"
CLIENT = ROOT / "clients/python/llmpricing"

LOOSE = {"__init__.py", "app.py", "cli.py", "log.py", "settings.py"}
"""Files of the server that are in no package."""

MOST_PACKAGES = 16

SAME_NOUN = {
    "change_history.py",
    "comparison.py",
    "costs.py",
    "evidence.py",
    "held_changes.py",
    "holds.py",
    "listing.py",
    "names.py",
    "price_changes.py",
    "price_overrides.py",
    "price_reader.py",
    "price_table.py",
    "sources.py",
    "sync_runs.py",
    "sync_store.py",
    "table_state.py",
}
"""Names that files of several packages share, since they are about the same noun."""


def main() -> int:
    """Print what is wrong, one complaint a line; the exit code says whether there was any."""
    complaints = [*loose_modules(), *too_many_packages(), *repeated_names(), *silent_packages()]
    print("\n".join(complaints) or "every file has a place that can be guessed")
    return 1 if complaints else 0


def loose_modules() -> Iterator[str]:
    """Modules beside the packages."""
    for path in sorted(SERVER.glob("*.py")):
        if path.name not in LOOSE:
            yield f"{path.relative_to(ROOT)} belongs in a package"


def too_many_packages() -> Iterator[str]:
    """More packages than a reader keeps in mind."""
    packages = [path.parent.name for path in SERVER.glob("*/__init__.py")]
    if len(packages) > MOST_PACKAGES:
        yield f"{len(packages)} packages in pricing_server, {MOST_PACKAGES} are allowed"


def repeated_names() -> Iterator[str]:
    """Names of files that stand for two things."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((*SERVER.rglob("*.py"), *CLIENT.rglob("*.py"))):
        if path.name != "__init__.py":
            places[path.name].append(str(path.relative_to(ROOT)))
    for name, where in sorted(places.items()):
        if len(where) > 1 and name not in SAME_NOUN:
            yield f"the file name {name} is used {len(where)} times: {where}"
        if len(where) == 1 and name in SAME_NOUN:
            yield f"{name} is named in SAME_NOUN and there is one such file"
    for name in sorted(SAME_NOUN - places.keys()):
        yield f"{name} is named in SAME_NOUN and there is no such file"


def silent_packages() -> Iterator[str]:
    """Packages that do not say what they are for."""
    for path in sorted(SERVER.rglob("__init__.py")):
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(ROOT)} does not say what the package is for"


if __name__ == "__main__":
    sys.exit(main())
