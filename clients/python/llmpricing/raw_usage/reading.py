"""A usage object while it is read: every value is taken once, or left over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.place import place_of
from llmpricing.raw_usage import laws
from llmpricing.raw_usage.document import shown
from llmpricing.raw_usage.result import RawUsageError, ReadUsage, Stated
from llmpricing.units import EXACT

MAX_VALUES: Final = 2_000
"""Values of one usage object. The longest real ones name a count for each of hundreds of steps."""

MAX_DEPTH: Final = 8
MAX_NAME: Final = 256
"""Characters of a key, of a model's name and of a context's value."""

MAX_QUANTITY: Final = 2**63 - 1
MAX_DECIMALS: Final = 18

Path = tuple[str | int, ...]

STANDARD: Final = frozenset({"default", "standard"})
"""What providers call the service that their list prices are for."""


class Reading:
    """The values of a usage object, and what has become of them."""

    def __init__(self, usage: Mapping[object, object], root: str) -> None:
        """`root` is the path of the usage object in the body, "" where it is the body."""
        self._root = root
        self._left = dict(_leaves(usage))
        self._inner = {path[:size] for path in self._left for size in range(len(path))}
        self._usage: dict[Meter, Decimal] = {}
        self._context: dict[str, str] = {}
        self._ignored: list[Stated] = []
        self._unknown: list[Stated] = []

    def count(self, *path: str | int, whole: bool = True) -> Decimal | None:
        """Take a count; None where it is not stated or null.

        A count is finite, not negative, fits into 64 bits and, if it is `whole`, has no
        fraction. Raises RawUsageError for anything else.
        """
        value = self._left.pop(path, None)
        if value is None:
            if path in self._inner:
                raise RawUsageError(f"not a count: {self.name(*path)} is an object")
            return None
        return count_of(value, self.name(*path), whole=whole)

    def needed(self, *path: str | int) -> Decimal:
        """Take a count without which there is no usage. Raises RawUsageError."""
        count = self.count(*path)
        if count is None:
            raise RawUsageError(f"no usage in the body: {self.name(*path)} is not stated")
        return count

    def restated(self, *path: str | int) -> Decimal | None:
        """Take a count that only restates others."""
        count = self.count(*path, whole=False)
        if count is not None:
            self._ignored.append(Stated(self.name(*path), f"{count:f}"))
        return count

    def ignore(self, *path: str | int) -> None:
        """Take everything below a path: it does not affect a price."""
        for other in self._below(path):
            self._ignored.append(Stated(self.name(*other), text_of(self._left.pop(other))))

    def drop(self, *path: str | int) -> None:
        """Take a value that was peeked at and has been used."""
        self._left.pop(path, None)

    def text(self, *path: str | int) -> str | None:
        """Take a text; None where it is not stated or null. Raises RawUsageError."""
        value = self._left.pop(path, None)
        return None if value is None else name_of(value, self.name(*path))

    def peek(self, *path: str | int) -> object:
        """The value at a path, which is not taken; None where there is no value."""
        return self._left.get(path)

    def has(self, *path: str | int) -> bool:
        """Whether anything is left at or below a path."""
        return bool(self._below(path))

    def below(self, *path: str | int) -> tuple[str | int, ...]:
        """The keys or indices directly below a path at which something is left, in order."""
        size = len(path)
        return tuple(dict.fromkeys(other[size] for other in self._below(path) if other != path))

    def _below(self, path: Path) -> list[Path]:
        """What is left at or below a path; quick where there never was anything below it."""
        if path not in self._inner:
            return [path] if path in self._left else []
        return [other for other in self._left if other[: len(path)] == path]

    def add(self, meter: Meter, quantity: Decimal | None) -> None:
        """Count towards a meter; nothing for None."""
        if quantity is not None:
            self._usage[meter] = EXACT.add(self._usage.get(meter, Decimal(0)), quantity)

    def quantity(self, meter: Meter) -> Decimal:
        """What was counted towards a meter so far."""
        return self._usage.get(meter, Decimal(0))

    def mode(self, key: str, value: str | None, path: str, standard: frozenset[str]) -> None:
        """Note how the request was served, unless list prices are for that."""
        if value is None:
            return
        if value in standard:
            self._ignored.append(Stated(path, value))
        else:
            self._context[key] = value

    def tier(self, value: str | None, path: str, standard: frozenset[str] = STANDARD) -> None:
        """Note a service tier. Rate cards call the batch tier processing=batch."""
        if value == "batch":
            self._context["processing"] = "batch"
        else:
            self.mode("service_tier", value, path, standard)

    def place(self, key: str, value: str | None, path: str, standard: frozenset[str]) -> None:
        """Note where the request was served, in the words of rate cards if it is known."""
        found = None if value is None or value in standard else place_of(value)
        if found is None:
            self.mode(key, value, path, standard)
        else:
            self._context.update(found)

    def not_understood(self, path: str, value: str) -> None:
        """Name a value of the body, outside the usage object, that may be charged."""
        self._unknown.append(Stated(path, value))

    def name(self, *path: str | int) -> str:
        """A path below the usage object, as a text from the body on."""
        text = self._root
        for step in path:
            if isinstance(step, int):
                text += f"[{step}]"
            else:
                text += f".{step}" if text else step
        return text

    def finish(self, model: str | None) -> ReadUsage:
        """Everything that was read; what is left over is unknown.

        Raises RawUsageError if nothing was understood, or counts contradict each other.
        """
        if not self._usage:
            raise RawUsageError("no usage in the body: no count is stated")
        laws.check(self._usage)
        for quantity in self._usage.values():
            if quantity > MAX_QUANTITY:
                raise RawUsageError("a sum of counts that does not fit in 64 bits")
        for path, value in self._left.items():
            stated = Stated(self.name(*path), text_of(value))
            (self._ignored if _is_nothing(value) else self._unknown).append(stated)
        wholes = {Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS}
        if not any(self._usage.values()):
            wholes = set(self._usage)
        return ReadUsage(
            usage={
                meter: self._usage[meter]
                for meter in Meter
                if meter in self._usage and (self._usage[meter] or meter in wholes)
            },
            model=model,
            context=dict(sorted(self._context.items())),
            unknown=tuple(self._unknown),
            ignored=tuple(self._ignored),
        )


def count_of(value: object, name: str, *, whole: bool = True) -> Decimal:
    """A stated count. Raises RawUsageError for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise RawUsageError(f"not a count: {name} is {shown(value)}")
    if isinstance(value, int) and value.bit_length() > 64:
        raise RawUsageError(f"not a count: {name} does not fit in 64 bits")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or number < 0:
        raise RawUsageError(f"not a count: {name} is {shown(number)}")
    if number > MAX_QUANTITY:
        raise RawUsageError(f"not a count: {name} does not fit in 64 bits")
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "finite"
    if number == 0:
        return Decimal(0)
    if exponent < -100 or len(number.as_tuple().digits) > 100:
        raise RawUsageError(f"not a count: {name} has more than {MAX_DECIMALS} decimals")
    number = number.normalize(EXACT)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "finite"
    if exponent < -MAX_DECIMALS:
        raise RawUsageError(f"not a count: {name} has more than {MAX_DECIMALS} decimals")
    if whole and exponent < 0:
        raise RawUsageError(f"not a count: {name} is {shown(number)}")
    return number.quantize(Decimal(1), context=EXACT) if exponent > 0 else number


def name_of(value: object, name: str) -> str:
    """A stated name. Raises RawUsageError for any other value."""
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise RawUsageError(f"not a name: {name} is {shown(value)}")
    if not value.isprintable():  # nor is a lone surrogate, which no transport can carry
        raise RawUsageError(f"not a name: {name} is {shown(value)}")
    return value


def text_of(value: object) -> str:
    """A value as a text: numbers in plain digits, anything else as it is written."""
    if isinstance(value, str):
        return value if value.isprintable() and len(value) <= MAX_NAME else shown(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 100:
        return shown(value)
    if isinstance(value, (int, float, Decimal)):
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        if (
            number.is_finite()
            and abs(number.adjusted()) < 40
            and len(number.as_tuple().digits) < 40
        ):
            return f"{number:f}"
    return shown(value)


def check_total(name: str, total: Decimal | None, parts: Mapping[str, Decimal]) -> None:
    """Raise RawUsageError if a stated total is not the sum of its parts, given by name."""
    if total is not None and total != added(*parts.values()):
        sum_text = " + ".join(f"{part} {count:f}" for part, count in parts.items())
        raise RawUsageError(f"contradictory counts: {name} {total:f} is not {sum_text}")


def added(*counts: Decimal | None) -> Decimal:
    """The exact sum; what is not stated is zero."""
    total = Decimal(0)
    for count in counts:
        if count is not None:
            total = EXACT.add(total, count)
    return total


def mapping_at(body: Mapping[object, object], *path: str) -> Mapping[object, object]:
    """The object at a path of the body; empty where there is no object."""
    found: object = body
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def list_at(body: Mapping[object, object], *path: str) -> Sequence[object]:
    """The list at a path of the body; empty where there is no list."""
    found = mapping_at(body, *path[:-1]).get(path[-1])
    return found if isinstance(found, (list, tuple)) else ()


def name_at(body: Mapping[object, object], *path: str) -> str | None:
    """The name at a path of the body; None where nothing is stated. Raises RawUsageError."""
    value = mapping_at(body, *path[:-1]).get(path[-1])
    return None if value is None or value == "" else name_of(value, ".".join(path))


def _leaves(usage: Mapping[object, object]) -> Iterator[tuple[Path, object]]:
    """Every value that is not an object, a list or null, in the order of the body."""
    stack: list[Iterator[tuple[Path, object]]] = [_items(usage, ())]
    seen = 0
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        path, value = step
        seen += 1
        if seen > MAX_VALUES:
            raise RawUsageError(f"a usage object of more than {MAX_VALUES} values")
        if isinstance(value, (Mapping, list, tuple)):
            if len(path) >= MAX_DEPTH:
                raise RawUsageError("a usage object that is nested too deep")
            stack.append(_items(value, path))
        elif value is not None:
            yield path, value


def _items(
    value: Mapping[object, object] | Sequence[object], path: Path
) -> Iterator[tuple[Path, object]]:
    if not isinstance(value, Mapping):
        for index, item in enumerate(value):
            yield (*path, index), item
        return
    for key, item in value.items():
        if not isinstance(key, str) or len(key) > MAX_NAME or not key.isprintable():
            raise RawUsageError(f"not a name of a count: {shown(key)}")
        yield (*path, key), item


def _is_nothing(value: object) -> bool:
    """Whether nothing can be charged for a value: zero, false or an empty text."""
    if isinstance(value, Decimal):
        return value.is_zero()
    return value == "" or (isinstance(value, (int, float)) and value == 0)
