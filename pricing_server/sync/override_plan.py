"""Prices that admins set.

The rules (`resolution.py` has them as pure functions):

- An override is a quote of the source "override", which ranks before every other. A sync
  keeps the quotes beneath it up to date, and never touches it.
- It is taken as it was given: in force is its card, and no other within noise of it.
- It holds for the ids that its model covers (`coverage.py`), unless they have one of their own.
- It says nothing of whether its model is listed: a delisted one stays delisted.
- When it ends, the quote is in force that would be without it. Where no source states
  anything of the model, it stays registered, and its price is not known.
"""

from __future__ import annotations

from typing import Final

from pricing_server.domain.price_change import SERVER, ChangeOrigin, OriginKind

ENDED: Final = ChangeOrigin(OriginKind.OVERRIDE_ENDED, SERVER)
"""Where a change comes from when an override ends by itself."""
