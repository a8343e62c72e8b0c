"""What the guard holds of injected errors, and of what is true, over every recorded payload.

python benchmarks/guard.py [source ...]

The recordings are not part of the repository: PRICING_TEST_SHARED says where they are.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests._guard_rates import (
    DISPUTED_RATIO,
    FACTORS,
    Count,
    feeds,
    new_rows,
    true_changes,
    true_first_syncs,
    worlds,
    wrong_feeds,
    wrong_rows,
)


def print_feeds(slugs: Collection[str]) -> bool:
    """Whole feeds and single meters in a wrong unit; whether all were held."""
    print(f"Whole feeds in a wrong unit, by {', '.join(f'x{each:f}' for each in FACTORS)}")
    total: dict[str, Count] = defaultdict(Count)
    for slug in slugs:
        by_world: dict[str, Count] = defaultdict(Count)
        for wrong in wrong_feeds(slug):
            kind = "one meter" if wrong.meter else "all meters"
            is_held = wrong.passed == 0
            by_world[wrong.world].add(is_held)
            total[kind].add(is_held)
            if not is_held:
                print(
                    f"  PASSED {slug} {wrong.meter or 'all'} x{wrong.factor:f} against "
                    f"{wrong.world}: {wrong.passed} prices, {wrong.held} held"
                )
        told = "; ".join(f"against {world}: {count}" for world, count in by_world.items())
        print(f"  {slug:18} {told}")
    for kind, count in total.items():
        print(f"  {kind}: held {count}")
    return all(count.held == count.all for count in total.values())


def print_rows(slugs: Collection[str]) -> bool:
    """Single rows in a wrong unit; whether all that can be compared were held."""
    print("Single rows in a wrong unit")
    past, opinion, disputed, rest = Count(), Count(), Count(), Count()
    for slug in slugs:
        found = wrong_rows(slug)
        print(
            f"  {slug:18} past {found.past}; opinion {found.opinion}; "
            f"disputed {found.disputed}; neither {found.rest}"
        )
        for name in found.passed[:5]:
            print(f"    PASSED {name}")
        for total, count in (
            (past, found.past),
            (opinion, found.opinion),
            (disputed, found.disputed),
            (rest, found.rest),
        ):
            total.include(count)
    print(f"  with a past: held {past}")
    print(f"  with an opinion of the same seller's model: held {opinion}")
    print(f"  with one that is more than {DISPUTED_RATIO:.1f}x off the truth: held {disputed}")
    print(f"  with neither, in a feed that is true else: held {rest}")
    return past.held == past.all and opinion.held == opinion.all


def print_new(slugs: Collection[str]) -> bool:
    """Rows that nothing else prices, wrong and true; whether all wrong and hardly a true one
    were held."""
    print("New rows that nothing else prices: a million times off, and as they are")
    implausible, rare, real = Count(), Count(), Count()
    for slug in slugs:
        found = new_rows(slug)
        print(
            f"  {slug:18} implausible {found.implausible}; without a usual price {found.rare}; "
            f"real {found.real}"
        )
        for name in found.passed[:5]:
            print(f"    PASSED {name}")
        for name in found.doubted[:5]:
            print(f"    HELD {name}")
        for total, count in (
            (implausible, found.implausible),
            (rare, found.rare),
            (real, found.real),
        ):
            total.include(count)
    print(f"  implausible new rows held: {implausible}")
    print(f"  those without a usual price in truth held: {rare}")
    print(f"  real new rows held: {real}")
    return implausible.held == implausible.all and real.held < 0.005 * real.all


def print_true() -> bool:
    """What is true: feeds as they are, and the changes between recorded days."""
    print("True feeds, first sync: median ratio to references (how many)")
    is_sound = True
    for slug, world, plan, medians in true_first_syncs():
        feed = plan.holding.feed
        is_sound = is_sound and feed is None
        shown = ", ".join(
            f"{meter} {one.ratio} ({one.references})"
            for meter, one in sorted(medians.items())
            if meter in ("input_tokens", "output_tokens", "cache_read_tokens")
        )
        held = plan.counts["models_held"]
        verdict = f"HELD {feed.reason.value}" if feed else f"{held} rows of {len(plan.quoted)} held"
        print(f"  {slug:18} against {world:18} {verdict}; {shown}")
        for each in plan.holding.opened[:5]:
            one = each.suspicion.evidence[0] if each.suspicion.evidence else None
            print(f"    {'/'.join(each.listed.key)}: {one and (one.meter, str(one.ratio))}")
    alone, beside, held_models = true_changes()
    print(
        f"True changes held, OpenRouter's recorded days: alone {alone}; beside the bundled "
        f"catalogue {beside}; {held_models}"
    )
    worst = max(alone.held / alone.all, beside.held / beside.all)
    return is_sound and worst <= 0.01


if __name__ == "__main__":
    try:
        worlds()
    except pytest.skip.Exception as error:
        sys.exit(f"NOT MEASURED: {error}")
    chosen = sys.argv[1:] or list(feeds())
    results = [print_feeds(chosen), print_rows(chosen), print_new(chosen), print_true()]
    print("all promises are kept" if all(results) else "A PROMISE IS BROKEN")
    sys.exit(not all(results))
