"""What an answer of a source was asked with: another address or other code starts anew."""

from __future__ import annotations

import hashlib
import uuid
from functools import cache
from pathlib import Path
from typing import Final

import llmpricing

_PACKAGES: Final = (Path(__file__).parents[1], Path(llmpricing.__file__).parent)


def asked(url: str, has_key: bool) -> str:
    """A digest of the address, whether a key goes with it, and the code that reads the answer.

    What one release reads, another may read otherwise: only the very same code knows that
    an unchanged answer changes nothing. 64 hexadecimal digits.
    """
    parts = (url, str(has_key), code_digest())
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 of all code and SQL of this build; of nothing that lasts if there is none to see."""
    digest = hashlib.sha256()
    files = [
        (path.relative_to(package.parent).as_posix(), path)
        for package in _PACKAGES
        for path in package.rglob("*")
        if path.suffix in (".py", ".sql")
    ]
    if not files:
        return uuid.uuid4().hex
    for name, path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()
