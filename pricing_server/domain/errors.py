"""What can go wrong, in the service's own terms.

PricingError
├── InvalidArgument        a field of a request makes no sense
├── ModelNotFound          no layer knows the model
├── ProviderNotFound       no seller of that name
├── SourceNotFound         no source of that name
├── SyncRunNotFound        no run with that id
├── HeldChangeNotFound     no held change with that id
├── HeldChangeNotOpen      it is decided, expired or released already
├── KeyMissing             a source needs an API key that is not set
├── SyncInProgress         another run of the same source is under way
├── TokenRequired          the method needs a role above that of a reader and no token came
├── TokenInvalid           nobody has the token
├── RoleMissing            the caller is known and may not call the method
├── DatabaseUnavailable    the database cannot be asked now
├── RevisionNotReached     the price table seen here is older than asked for
├── RunNotRevertible       only a successful run can be reverted
├── OverrideNotFound       the model has no override
├── ConfirmRequired        the price of an override is far off what is in force without it
├── RevisionCompacted      a stream cannot begin that far back
├── EpochChanged           a revision belongs to another history of the price table
├── SlowReader             a stream's caller did not read for too long
├── TooManyStreams         this process serves as many streams as it may
└── ShuttingDown           the server drains

Messages are one line and safe to send to a caller: names in them are ASCII and short,
since a status travels in headers, of which gRPC takes 8 KiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pricing_server.domain.head import Head

MAX_QUOTED: Final = 120
"""Characters of a name in a message."""


class PricingError(Exception):
    """The root of all errors that a caller may see."""


class InvalidArgument(PricingError):
    """A field of a request makes no sense."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field} {description}")
        self.field = field
        self.description = description


class ModelNotFound(PricingError):
    """No layer knows the model. `near_matches` are (provider, model id) that look alike."""

    def __init__(
        self,
        model_id: str,
        provider: str | None,
        near_matches: Sequence[tuple[str, str]] = (),
    ) -> None:
        seller = f" at {_quoted(provider)}" if provider else ""
        hint = "".join(
            f"; did you mean {_quoted(name)} at {_quoted(at)}?" for at, name in near_matches[:1]
        )
        super().__init__(f"no price is known for the model {_quoted(model_id)}{seller}{hint}")
        self.model_id = model_id
        self.provider = provider
        self.near_matches = tuple(near_matches)

    def suggesting(self, suggestions: Sequence[tuple[str, str]]) -> ModelNotFound:
        """The same error, with models that the name may have meant before the near matches."""
        return ModelNotFound(
            self.model_id, self.provider, list(dict.fromkeys((*suggestions, *self.near_matches)))
        )


class ProviderNotFound(PricingError):
    """No seller of that name or alias."""

    def __init__(self, provider: str, near_matches: Sequence[str] = ()) -> None:
        hint = f"; did you mean {_quoted(near_matches[0])}?" if near_matches else ""
        super().__init__(f"no provider is called {_quoted(provider)}{hint}")
        self.provider = provider
        self.near_matches = tuple(near_matches)


class SourceNotFound(PricingError):
    """No source of that name. `known` are the existing ones."""

    def __init__(self, source: str, known: Sequence[str]) -> None:
        super().__init__(f"no source is called {_quoted(source)}; known are {', '.join(known)}")
        self.source = source
        self.known = tuple(known)


class SyncRunNotFound(PricingError):
    """No run with that id."""

    def __init__(self, sync_run_id: str) -> None:
        super().__init__(f"no sync run has the id {_quoted(sync_run_id)}")
        self.sync_run_id = sync_run_id


class HeldChangeNotFound(PricingError):
    """No held change with that id."""

    def __init__(self, held_change_id: str) -> None:
        super().__init__(f"no held change has the id {_quoted(held_change_id)}")
        self.held_change_id = held_change_id


class HeldChangeNotOpen(PricingError):
    """A held change that is decided, expired or released already."""

    def __init__(self, held_change_id: str, status: str) -> None:
        super().__init__(f"held change {held_change_id} is not open: it is {status}")
        self.held_change_id = held_change_id
        self.status = status


class KeyMissing(PricingError):
    """A source needs an API key; `variable` is the setting to set."""

    def __init__(self, source: str, variable: str) -> None:
        super().__init__(f"{source} needs an API key: set {variable}")
        self.source = source
        self.variable = variable


class SyncInProgress(PricingError):
    """Another run of the same source is under way."""

    def __init__(self, source: str, sync_run_id: int | None) -> None:
        super().__init__(f"a sync of {source} is already in progress")
        self.source = source
        self.sync_run_id = sync_run_id


class TokenRequired(PricingError):
    """The method needs a role above that of a reader, and the call carried no bearer token."""

    def __init__(self, required_role: str) -> None:
        super().__init__(
            f"this method needs {required_role}: send metadata 'authorization: Bearer <token>'"
        )
        self.required_role = required_role


class TokenInvalid(PricingError):
    """Nobody has the bearer token, or the call carried several."""

    def __init__(self, required_role: str, message: str = "nobody has this bearer token") -> None:
        super().__init__(message)
        self.required_role = required_role


class RoleMissing(PricingError):
    """The caller is known and may not call the method."""

    def __init__(self, required_role: str, role: str) -> None:
        super().__init__(f"this method needs {required_role}, and the caller has {role}")
        self.required_role = required_role
        self.role = role


class DatabaseUnavailable(PricingError):
    """The database cannot be reached now."""

    def __init__(self) -> None:
        super().__init__("the price database cannot be reached; try again")


class RevisionNotReached(PricingError):
    """The price table that this process can see is older than asked for."""

    def __init__(self, revision: int | None, min_revision: int) -> None:
        seen = "unknown" if revision is None else str(revision)
        super().__init__(
            f"the price table is at revision {seen} here, not yet at {min_revision}; try again"
        )
        self.revision = revision
        self.min_revision = min_revision


class RunNotRevertible(PricingError):
    """Only a successful run can be reverted."""

    def __init__(self, sync_run_id: str, status: str) -> None:
        super().__init__(f"sync run {sync_run_id} did not change prices: it is {status}")
        self.sync_run_id = sync_run_id
        self.status = status


class OverrideNotFound(PricingError):
    """The model has no override."""

    def __init__(self, provider: str, model_id: str) -> None:
        super().__init__(f"{_quoted(model_id)} at {_quoted(provider)} has no override")
        self.provider = provider
        self.model_id = model_id


class ConfirmRequired(PricingError):
    """A headline price of an override is far off what is in force without it.

    Both are as the contract writes the headline `price`: USD per 1M tokens, or per one.
    """

    def __init__(
        self, name: tuple[str, str], price: str, override_price: str, stated_price: str
    ) -> None:
        self.provider, self.model_id = name
        super().__init__(
            f"the {price} price {override_price} of {_quoted(self.model_id)} at "
            f"{_quoted(self.provider)} is over 10 times off {stated_price}, which is in force "
            "without the override: set confirm if it is right"
        )
        self.price = price
        self.override_price = override_price
        self.stated_price = stated_price


class ModelNotPriced(PricingError):
    """The model is known and its price is not, or is decided per request."""

    def __init__(self, provider: str, model_id: str, state: str) -> None:
        super().__init__(f"the price of {model_id} at {provider} is {state}")
        self.provider = provider
        self.model_id = model_id
        self.state = state


class RulesUnknown(PricingError):
    """A receipt that needs rules which this server does not have."""

    def __init__(self, rules: int, newest: int) -> None:
        super().__init__(f"the receipt is of rules {rules}, and this server has up to {newest}")
        self.rules = rules
        self.newest = newest


class BatchTooLarge(PricingError):
    """A result that did not fit into the answer of its batch."""

    def __init__(self) -> None:
        super().__init__("the answer is full; ask for fewer at once")


class RevisionCompacted(PricingError):
    """A stream cannot begin that far back; `oldest_revision` is as far as it can."""

    def __init__(self, after_revision: int, oldest_revision: int, epoch: str) -> None:
        super().__init__(
            f"revision {after_revision} is behind the stream's horizon: begin with a snapshot, "
            f"or after revision {oldest_revision}"
        )
        self.after_revision = after_revision
        self.oldest_revision = oldest_revision
        self.epoch = epoch


class EpochChanged(PricingError):
    """A revision belongs to another history of the price table; `head` is of the current one."""

    def __init__(self, head: Head) -> None:
        super().__init__(
            "the revision is not of the price table's history, which is at revision "
            f"{head.revision} of epoch {head.epoch} (after a restore another one begins): "
            "begin again"
        )
        self.head = head


class SlowReader(PricingError):
    """A stream's caller did not read for too long. Everything up to `resume` was sent before."""

    def __init__(self, resume: Head | None) -> None:
        super().__init__("the stream was not read for too long; resume it where it was saved")
        self.resume = resume


class TooManyStreams(PricingError):
    """This process serves as many streams as it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"this server serves at most {limit} streams; ask another one")
        self.limit = limit


class ShuttingDown(PricingError):
    """The server drains and takes no new work. A stream may be resumed behind `resume`."""

    def __init__(self, message: str, resume: Head | None = None) -> None:
        super().__init__(message)
        self.resume = resume


def _quoted(name: str) -> str:
    shown = ascii(name)
    return shown if len(shown) <= MAX_QUOTED else f"{shown[: MAX_QUOTED - 4]}...{shown[-1]}"
