"""What a source states: models whose prices change, that disappear and come back."""

from __future__ import annotations

from random import Random

from tests.integration._feed import Row, row
from tests.integration.torture.log import Model

LOWEST, HIGHEST = 5_000, 99_999
"""Of all prices, so that the guard takes no change of one, and no source, for an error."""

SOME = 0.06
"""The share of models that an ordinary turn touches."""


class Shelf:
    """Models of some sellers with prices: US cents per 1M tokens of input."""

    def __init__(self, dice: Random, sellers: tuple[str, ...], size: int) -> None:
        self._dice = dice
        self._sellers = sellers
        self._made = 0
        self._away: dict[Model, int] = {}
        """For how many turns more. Two turns without a model, and it is delisted."""
        self.prices: dict[Model, int] = {}
        for _ in range(size):
            self._add()

    def turn(self) -> None:
        """Change some prices, or in a while all; let models come and go."""
        dice = self._dice
        for model in [model for model, turns in self._away.items() if turns <= 0]:
            del self._away[model]
        self._away = {model: turns - 1 for model, turns in self._away.items()}
        is_large = dice.random() < 0.2
        for model in self.prices:
            if is_large or dice.random() < SOME:
                self.prices[model] = dice.randint(LOWEST, HIGHEST)
        if dice.random() < 0.6:
            for model in dice.sample(list(self.prices), dice.randint(1, 4)):
                self._away[model] = dice.randint(0, 3)
        if dice.random() < 0.3:
            self._add()

    def stated(self) -> dict[Model, int]:
        """What is on the shelf now."""
        return {model: price for model, price in self.prices.items() if model not in self._away}

    def openrouter(self) -> list[Row]:
        """As OpenRouter lists them: some free, some decided per request, some wrong."""
        return [self._openrouter_row(model_id, price) for (_, model_id), price in self._now()]

    def featherless(self) -> list[Row]:
        """As Featherless lists them: without a price."""
        return [{"id": model_id, "model_class": "torture"} for (_, model_id), _ in self._now()]

    def plain(self) -> list[Row]:
        """As the torture's own sources list them: some wrong."""
        return [
            {
                "provider": provider,
                "id": model_id,
                "price": "?" if self._is_wrong() else f"{price}",
            }
            for (provider, model_id), price in self._now()
        ]

    def _now(self) -> list[tuple[Model, int]]:
        return list(self.stated().items())

    def _openrouter_row(self, model_id: str, price: int) -> Row:
        if self._is_wrong():
            return row(model_id, "not a price")
        if model_id.endswith(":free"):
            return row(model_id, "0", "0")
        if price % 50 == 0:
            return row(model_id, "-1", "-1")
        return row(model_id, f"0.{price:08}", f"0.{2 * price:08}", input_cache_read=f"0.{price:09}")

    def _is_wrong(self) -> bool:
        return self._dice.random() < 0.004

    def _add(self) -> None:
        seller = self._sellers[self._made % len(self._sellers)]
        free = ":free" if self._made % 40 == 7 else ""
        self.prices[seller, f"torture/model-{self._made}{free}"] = self._dice.randint(
            LOWEST, HIGHEST
        )
        self._made += 1
