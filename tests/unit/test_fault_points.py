"""Fault points do nothing unless they are asked for, and then say so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import structlog

from pricing_server.runtime.fault_points import FaultPoint, arm, pass_fault_point
from pricing_server.settings import SettingsError, load_settings


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    yield sent
    arm(None)


def test_without_the_setting_nothing_happens(kills: list[tuple[int, int]]) -> None:
    with structlog.testing.capture_logs() as logs:
        arm(load_settings({}).fault_point)
        for point in FaultPoint:
            pass_fault_point(point)
    assert (kills, logs) == ([], [])


def test_the_armed_point_alone_kills_and_the_log_says_so_at_the_start(
    kills: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRICING_FAULT_POINT", "after_stage")
    with structlog.testing.capture_logs() as logs:
        arm(load_settings().fault_point)
    assert [(entry["log_level"], entry["point"]) for entry in logs] == [("critical", "after_stage")]
    for point in FaultPoint:
        pass_fault_point(point)
    assert kills == [(os.getpid(), signal.SIGKILL)]


def test_an_unknown_point_stops_the_start_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICING_FAULT_POINT", "somewhere")
    with pytest.raises(SettingsError, match=r"PRICING_FAULT_POINT: .*'after_start'"):
        load_settings()
