"""Why a fetch failed. The messages are one line, free of keys, passwords and query strings:

FetchError
├── RequestRefused
├── ConnectionFailed
├── HttpStatusError
├── DeadlineExceeded
├── BodyTooLarge
├── PayloadError
└── PagingError
"""


class FetchError(Exception):
    """Root of all failures of a fetch. `transient` ones were retried as long as allowed."""

    transient = False
    retry_after = 0.0  # seconds the server asked us to wait


class RequestRefused(FetchError):
    """The request was not sent: the URL, the key or a redirect's target is not acceptable."""


class ConnectionFailed(FetchError):
    """No complete HTTP answer: DNS, TCP, TLS, a silent peer or broken HTTP."""

    transient = True


class HttpStatusError(FetchError):
    """The answer's `status` is not 200."""

    def __init__(self, message: str, status: int, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.transient = status == 429 or status >= 500


class DeadlineExceeded(FetchError):
    """The total deadline passed, or the next attempt would come after it."""


class BodyTooLarge(FetchError):
    """The body exceeds the policy's cap, packed or unpacked."""


class PayloadError(FetchError):
    """The body is not JSON that we can read."""


class PagingError(FetchError):
    """The pages do not make up one whole listing."""
