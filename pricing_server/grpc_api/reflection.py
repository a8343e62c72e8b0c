"""Descriptors for server reflection: those of the process, found by the names of methods, too."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor


class _PoolWithMethods:
    """A pool that also finds the file of "package.Service.Method", as reflection promises.

    Python's own knows messages, fields, enums, services and extensions by name, and no methods.
    """

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """The file that declares the symbol. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            descriptor = self._pool.FindServiceByName(service)
            return descriptor.FindMethodByName(method).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def reflected_pool() -> descriptor_pool.DescriptorPool:
    """What the reflection service is to look into."""
    return cast(descriptor_pool.DescriptorPool, _PoolWithMethods(descriptor_pool.Default()))
