"""The generated stubs, as a caller of the service gets them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.descriptor import MethodDescriptor

from llmpricing.v1 import pricing_pb2, role_pb2

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "python"

METHODS = [
    method
    for service in pricing_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]

# Numbers that everybody takes for options of their own; two protos that take
# the same one cannot be loaded into one process.
CROWDED_NUMBERS = range(50_000, 100_000)

IMPORT = """
from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc
import grpc, google.protobuf
with grpc.insecure_channel("127.0.0.1:1") as channel:
    pricing_pb2_grpc.PricingServiceStub(channel)
request = pricing_pb2.GetPricingRequest(model_id="m", provider="p")
assert pricing_pb2.GetPricingRequest.FromString(request.SerializeToString()) == request
print(f"grpcio=={grpc.__version__} protobuf=={google.protobuf.__version__}")
"""

USER_PROGRAM = """
from decimal import Decimal

import grpc
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1.pricing_pb2_grpc import PricingServiceStub


def headline(pricing: pb.ModelPricing) -> Decimal | None:
    return Decimal(pricing.prompt) if pricing.HasField("prompt") else None


def is_cheap(rate: pb.Rate) -> bool:
    flex = rate.conditions.context.get("service_tier") == "flex"
    return flex and rate.meter == pb.METER_INPUT_TOKENS


def use_sync(channel: grpc.Channel) -> None:
    stub = PricingServiceStub(channel)
    price = stub.GetPricing(
        pb.GetPricingRequest(model_id="m", provider="p", unit=pb.PRICE_UNIT_PER_TOKEN), timeout=1
    )
    answer: Decimal | None = headline(price.pricing)
    cheap: list[bool] = [is_cheap(rate) for rate in price.pricing.rates]
    run = stub.SyncProvider(pb.SyncProviderRequest(provider="openrouter", dry_run=True))
    status: pb.SyncStatus.ValueType = run.run.status
    changed: list[str] = [change.model_id for change in run.price_changes]
    row: pb.SyncRun = stub.GetSyncRun(pb.GetSyncRunRequest(sync_run_id=run.run.sync_run_id)).run
    back: int = stub.RevertSyncRun(pb.RevertSyncRunRequest(sync_run_id="1")).models_reverted
    runs: int = len(stub.ListSyncRuns(pb.ListSyncRunsRequest(page_size=10)).runs)
    changes: int = len(stub.ListPriceChanges(pb.ListPriceChangesRequest()).changes)
    names: list[str] = [p.provider for p in stub.ListProviders(pb.ListProvidersRequest()).providers]
    head = pb.TableRevision(revision=1, epoch=price.table.epoch)
    for event in stub.StreamPriceChanges(pb.StreamPriceChangesRequest(after=head)):
        revision: int = event.table.revision
        print(revision)
    print(answer, cheap, pb.SyncStatus.Name(status), changed, row, back, runs, changes, names)


async def use_async(channel: grpc.aio.Channel) -> None:
    stub = PricingServiceStub(channel)
    price = await stub.GetPricing(pb.GetPricingRequest(model_id="m"), timeout=1)
    answer: Decimal | None = headline(price.pricing)
    run = await stub.SyncProvider(pb.SyncProviderRequest(provider="openrouter"))
    status: pb.SyncStatus.ValueType = run.run.status
    row: pb.SyncRun = (await stub.GetSyncRun(pb.GetSyncRunRequest(sync_run_id="1"))).run
    back: int = (await stub.RevertSyncRun(pb.RevertSyncRunRequest(dry_run=True))).models_reverted
    runs: int = len((await stub.ListSyncRuns(pb.ListSyncRunsRequest())).runs)
    changes: int = len((await stub.ListPriceChanges(pb.ListPriceChangesRequest())).changes)
    names: list[str] = [
        p.provider for p in (await stub.ListProviders(pb.ListProvidersRequest())).providers
    ]
    async for event in stub.StreamPriceChanges(pb.StreamPriceChangesRequest(providers=["p"])):
        revision: int = event.table.revision
        print(revision)
    print(answer, status, row, back, runs, changes, names)
"""


def with_all_methods(program: str) -> str:
    """The program with a call, both ways, of every method that it does not call itself."""
    for start, wait in (("def use_sync", ""), ("async def use_async", "await ")):
        before, begin, rest = program.partition(start)
        head, stub, body = rest.partition("    stub = PricingServiceStub(channel)\n")
        calls = "".join(
            f"    answer_{number}: pb.{method.output_type.name} = "
            f"{wait}stub.{method.name}(pb.{method.input_type.name}())\n"
            f"    print(answer_{number})\n"
            for number, method in enumerate(METHODS)
            if f"stub.{method.name}(" not in body
        )
        program = before + begin + head + stub + calls + body
    return program


USER_PROGRAM = with_all_methods(USER_PROGRAM)


def missing(reason: str) -> None:
    """Skip, loudly; fail where continuous integration promises that nothing is missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def declared() -> list[str]:
    """The runtime requirements of the client distribution, as it declares them."""
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    return [str(requirement) for requirement in project["dependencies"]]


def environment(name: str, requirements: list[str], *, key: str) -> Path:
    """Python of a throw-away environment with nothing but the requirements.

    It is kept under .venv-stubs and made again when ``key`` or the Python changes.
    """
    directory = ROOT / ".venv-stubs" / name
    python = directory / "bin" / "python"
    stamp = directory / ".complete"
    content = f"{sys.version}\n{key}\n"
    if not stamp.exists() or stamp.read_text() != content:
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        # Wheels only: building grpcio takes a compiler and half an hour.
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        installed = subprocess.run(
            [*pip, "install", "--only-binary", ":all:", *requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if installed.returncode != 0:
            missing(f"cannot install {' '.join(requirements)}: {installed.stderr.strip()[-400:]}")
        stamp.write_text(content)
    return python


def import_stubs(python: Path) -> str:
    """What the stubs say when they are imported and every warning is an error."""
    imported = subprocess.run(
        [python, "-W", "error", "-c", IMPORT],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CLIENT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert imported.returncode == 0, imported.stderr
    return imported.stdout.strip()


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_stubs_import_without_a_warning_on_the_declared_floors() -> None:
    floors = [requirement.replace(">=", "==") for requirement in declared()]
    assert all("==" in floor for floor in floors), floors
    python = environment("floor", floors, key=" ".join(floors))
    assert import_stubs(python).split() == sorted(floors)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_stubs_import_without_a_warning_on_the_newest_runtimes() -> None:
    # Looked for anew each week.
    week = datetime.now(UTC).strftime("%G-%V")
    python = environment("newest", declared(), key=f"{' '.join(declared())} {week}")
    import_stubs(python)


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_callers_strict_type_check_passes_sync_and_async(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER_PROGRAM)
    (tmp_path / "mypy.ini").write_text("[mypy]\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named mypy" in checked.stderr:
        missing("mypy is not installed beside this Python")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_type_checked_program_calls_every_method_both_ways() -> None:
    calls = {method.name: USER_PROGRAM.count(f"stub.{method.name}(") for method in METHODS}
    assert calls == dict.fromkeys(calls, 2)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.full_name))
def test_every_method_declares_the_role_that_its_caller_needs(method: MethodDescriptor) -> None:
    options = method.GetOptions()
    assert options.HasExtension(pricing_pb2.required_role), "no required_role in the proto"
    role = options.Extensions[pricing_pb2.required_role]
    assert role != pricing_pb2.ROLE_UNSPECIFIED


def test_single_prices_are_decided_by_a_curator_and_whole_runs_by_an_admin() -> None:
    above = {
        method.name: pricing_pb2.Role.Name(role)
        for method in METHODS
        if (role := method.GetOptions().Extensions[pricing_pb2.required_role])
        > pricing_pb2.ROLE_READER
    }
    assert above == {
        "SyncProvider": "ROLE_ADMIN",
        "RevertSyncRun": "ROLE_ADMIN",
        "ResolveHeldChange": "ROLE_CURATOR",
        "SetPriceOverride": "ROLE_CURATOR",
        "ClearPriceOverride": "ROLE_CURATOR",
    }


def test_the_role_option_keeps_out_of_the_crowded_numbers() -> None:
    extension = role_pb2.DESCRIPTOR.extensions_by_name["required_role"]
    assert extension.containing_type is not None
    assert extension.containing_type.full_name == "google.protobuf.MethodOptions"
    assert extension.number not in CROWDED_NUMBERS
    # What protobuf leaves to no one or keeps for itself.
    assert 1_000 <= extension.number <= 536_870_911
    assert extension.number not in range(19_000, 20_000)
