"""From whatever name a caller has to a model that a seller lists, by named rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from llmpricing.matching.alias import Aliases
from llmpricing.matching.clause_index import ClauseIndex
from llmpricing.matching.listed import ListedModels
from llmpricing.matching.outcome import (
    Explanation,
    Match,
    MatchRule,
    Name,
    NoMatch,
    Outcome,
    Standing,
    Tried,
)
from llmpricing.matching.own_price import is_priced_apart
from llmpricing.matching.prefix import Prefixes, Read
from llmpricing.matching.spelling import date_writings, fold, punctuation_key, shortened

MAX_NAME_LENGTH: Final = 512
"""Characters. A longer name matches nothing."""

MAX_SUGGESTIONS: Final = 5

_Found = tuple[list[Name], list[Name]]
"""What a rule found of one reading of a name: models, and those that may be different ones."""


class ModelIndex:
    """All listed models at one state of the price table, and the rules that lead to them.

    Immutable, and safe in any thread. A name given without a seller is looked for at all of them:
    the rule comes first, then what sellers' listings are worth, then the order of sellers. While a
    rule finds nothing with a price, the next ones are tried. A name given with a seller never
    leaves it, whatever it costs there.
    """

    __slots__ = ("_aliases", "_clauses", "_is_maker", "_listed", "_prefixes")

    def __init__(
        self,
        listed: ListedModels,
        *,
        is_maker: Callable[[str, str], bool],
        aliases: Aliases,
        prefixes: Prefixes,
        clauses: ClauseIndex,
    ) -> None:
        self._listed = listed
        self._is_maker = is_maker
        self._aliases = aliases
        self._prefixes = prefixes
        self._clauses = clauses

    @property
    def sellers(self) -> frozenset[str]:
        """Who lists a model."""
        return self._listed.sellers

    def match(
        self, name: str, provider: str | None = None, *, exact_only: bool = False
    ) -> Match | NoMatch:
        """The model that the name leads to; at a seller, by its slug, if one is given."""
        sellers = self._listed.with_id(name)
        unpriced: Match | None = None
        if provider is None:
            if sellers:
                found = Match(sellers[0], name, self._exact_rule(sellers[0], name))
                if exact_only or self._listed.has_price(name):
                    return found
                unpriced = found
        elif provider in sellers:
            return Match(provider, name, MatchRule.EXACT)
        if exact_only:
            return NoMatch()
        return self._follow(name, provider, [], unpriced)

    def explain(
        self, name: str, provider: str | None = None, *, exact_only: bool = False
    ) -> Explanation:
        """What `match` does with the name: each rule that it tries, and what the rule finds."""
        tried = self._try_exact(name) if provider is None else [self._try_at(name, provider)]
        last = tried[-1]
        found = Match(*last.found[0], last.rule) if last.found else None
        if found is not None and last.outcome is Outcome.MATCHED:
            return Explanation(tuple(tried), found)
        if exact_only:
            return Explanation(tuple(tried), found or NoMatch())
        result = self._follow(name, provider, tried, found)
        return Explanation(tuple(tried), result)

    def _try_at(self, name: str, provider: str) -> Tried:
        """The exact rule at a seller that was given."""
        if (provider, name) in self._listed:
            return Tried(MatchRule.EXACT, Outcome.MATCHED, ((provider, name),))
        return Tried(MatchRule.EXACT, Outcome.NOTHING)

    def _try_exact(self, name: str) -> list[Tried]:
        """The exact rules without a seller, up to the one by which somebody answers."""
        found = tuple((seller, name) for seller in self._listed.with_id(name))
        if not found:
            exact_rules = (MatchRule.EXACT_AT_MAKER, MatchRule.EXACT_AT_SELLER)
            return [Tried(rule, Outcome.NOTHING) for rule in exact_rules]
        outcome = Outcome.MATCHED if self._listed.has_price(name) else Outcome.UNPRICED
        if self._is_maker(*found[0]):
            return [Tried(MatchRule.EXACT_AT_MAKER, outcome, found)]
        makers = tuple(
            each
            for each in found
            if self._is_maker(*each) and self._listed.standing(each) is Standing.UNPRICED
        )
        at_maker = Outcome.UNPRICED if makers else Outcome.NOTHING
        return [
            Tried(MatchRule.EXACT_AT_MAKER, at_maker, makers),
            Tried(MatchRule.EXACT_AT_SELLER, outcome, found),
        ]

    def _exact_rule(self, seller: str, model_id: str) -> MatchRule:
        is_maker = self._is_maker(seller, model_id)
        return MatchRule.EXACT_AT_MAKER if is_maker else MatchRule.EXACT_AT_SELLER

    def _follow(
        self, name: str, provider: str | None, tried: list[Tried], unpriced: Match | None
    ) -> Match | NoMatch:
        """Try the rules after the exact ones, in order.

        `unpriced` is what these found without a price: then only a model that has one answers
        in its place.
        """
        if len(name) > MAX_NAME_LENGTH:
            return unpriced or NoMatch()
        doubtful: dict[Name, None] = {}
        asked = provider
        prefixed: list[tuple[str | None, str]] = [
            (read.provider, read.text) for read in self._readings(name, provider)
        ]
        for rule, has_whole, has_rest, find in (
            (MatchRule.CASE, True, False, self._by_case),
            (MatchRule.ALIAS, True, False, self._by_alias),
            (MatchRule.SELLER_PREFIX, False, True, self._by_rest),
            (MatchRule.VERSION_SUFFIX, True, True, self._by_version),
            (MatchRule.CATALOGUE_CLAUSE, True, True, self._by_clause),
            (MatchRule.PUNCTUATION, True, True, self._by_punctuation),
        ):
            # The whole name first: with a date or a dash, it goes where it goes without.
            readings = [(asked, name)] * has_whole + prefixed * has_rest
            step, refused = self._try(rule, readings, find, unpriced)
            tried.append(step)
            if step.outcome is Outcome.MATCHED:
                return Match(*step.found[0], rule, unpriced)
            if step.outcome is Outcome.AMBIGUOUS:
                return unpriced or NoMatch(step.found[:MAX_SUGGESTIONS])
            if step.outcome is Outcome.UNPRICED:
                unpriced = unpriced or Match(*step.found[0], rule)
            if rule is MatchRule.VERSION_SUFFIX and refused and asked is None:
                # This seller answers for the model, so no other stands in for it.
                asked = refused[0][0]
            doubtful.update(dict.fromkeys(refused))
        return unpriced or NoMatch(tuple(doubtful)[:MAX_SUGGESTIONS])

    def _try(
        self,
        rule: MatchRule,
        readings: Iterable[tuple[str | None, str]],
        find: Callable[[str, str | None], Iterator[_Found]],
        before: Match | None,
    ) -> tuple[Tried, list[Name]]:
        """One rule for all readings of a name, the closest first: the first that finds a model
        decides. Without a seller it has to be one with a price, and still be listed to take the
        place of a listed one without a price that a rule `before` found."""
        doubtful: list[Name] = []
        unpriced: tuple[Name, ...] = ()
        worst = self._standing(before) if before is not None else Standing.DELISTED
        for provider, text in readings:
            # Nor is a seller that the name itself names left for one with a price.
            takes_any = provider is not None and before is None
            for models, refused in find(text, provider):
                if models:
                    found = self._listed.in_order(models)
                    first = [each for each in found if each[0] == found[0][0]]
                    if len(first) > 1 and unpriced:
                        return Tried(rule, Outcome.UNPRICED, unpriced), doubtful
                    if len(first) > 1:
                        return Tried(rule, Outcome.AMBIGUOUS, tuple(first)), []
                    standing = self._listed.standing(found[0])
                    if takes_any or (standing.has_price and standing <= worst):
                        return Tried(rule, Outcome.MATCHED, found), []
                    if not unpriced:
                        unpriced, worst = found, min(worst, standing)
                doubtful += refused
        if unpriced:
            return Tried(rule, Outcome.UNPRICED, unpriced), doubtful
        if doubtful:
            found = tuple(dict.fromkeys(doubtful))
            return Tried(rule, Outcome.REFUSED, found), doubtful
        return Tried(rule, Outcome.NOTHING), []

    def _standing(self, match: Match) -> Standing:
        return self._listed.standing((match.provider, match.model_id))

    def _readings(self, name: str, provider: str | None) -> Iterator[Read]:
        for read in self._prefixes.reads(name):
            if provider is None or read.provider == provider:
                yield read

    def _by_case(self, text: str, provider: str | None) -> Iterator[_Found]:
        yield _at(self._listed.spelled_like(fold(text)), provider), []

    def _by_alias(self, text: str, provider: str | None) -> Iterator[_Found]:
        yield self._aliased(fold(text), provider), []

    def _by_rest(self, text: str, provider: str | None) -> Iterator[_Found]:
        assert provider is not None, "a prefix names a seller"
        if (provider, text) in self._listed:
            yield [(provider, text)], []
        yield from self._by_case(text, provider)
        yield from self._by_alias(text, provider)

    def _by_version(self, text: str, provider: str | None) -> Iterator[_Found]:
        yield from self._shorter(text, provider, self._spelled)

    def _by_clause(self, text: str, provider: str | None) -> Iterator[_Found]:
        folded = fold(text)
        said = self._clauses.find(folded, provider, self._listed.__contains__)
        if not said.accepted and not said.refused:
            return
        # Where the seller lists the name itself in another writing, that is the model: a clause
        # that gives it to another one only says that the two cost the same.
        writings = (folded, *date_writings(folded))
        itself = {
            model for writing in writings for model in self._listed.keyed(punctuation_key(writing))
        }
        sellers = {seller for seller, _ in itself}
        models = [model for model in said.accepted if model in itself or model[0] not in sellers]
        yield models, [*(each for each in said.accepted if each not in models), *said.refused]

    def _by_punctuation(self, text: str, provider: str | None) -> Iterator[_Found]:
        yield self._keyed(punctuation_key(fold(text)), provider), []
        yield from self._shorter(text, provider, self._keyed)

    def _shorter(
        self, text: str, provider: str | None, find: Callable[[str, str | None], list[Name]]
    ) -> Iterator[_Found]:
        """What `find` finds of the text without its version, and what of it is in doubt."""
        folded = fold(text)
        writings = [folded]
        for short in shortened(folded):
            models = self._listed.in_order(find(short.text, provider))
            if short.drops_revision:
                models = tuple(each for each in models if each[0] in self._listed.revising)
            # Without a seller, only the one that answers counts: another may list the model
            # because it keeps no dates apart.
            first = [model for model in models if model[0] == models[0][0]]
            if not short.drops_date:
                writings.append(short.text)
            if first and short.drops_date and not self._is_one_price(writings, short.text, first):
                yield [], first
            else:
                yield first, []

    def _is_one_price(self, writings: Sequence[str], base: str, models: list[Name]) -> bool:
        """Whether models without a date stand for the dated one.

        Not where the seller lists other dates of the model, or somebody lists this one: dates
        may have prices of their own then, and that of gpt-4o-2024-05-13 is twice that of
        gpt-4o. Unless the catalogue says of the dated name that it is this model.
        """
        if any(map(is_priced_apart, writings)):
            return False
        provider = models[0][0]
        is_apart = self._listed.has_dates(provider, punctuation_key(base)) or any(
            self._listed.has_dated(punctuation_key(writing)) for writing in writings
        )
        if not is_apart:
            return True
        said: set[Name] = set()
        for writing in writings:
            said.update(self._clauses.find(writing, provider, self._listed.__contains__).accepted)
        return said == set(models)

    def _spelled(self, folded: str, provider: str | None) -> list[Name]:
        found = _at(self._listed.spelled_like(folded), provider)
        return found or self._aliased(folded, provider)

    def _keyed(self, folded: str, provider: str | None) -> list[Name]:
        return _at(self._listed.keyed(punctuation_key(folded)), provider)

    def _aliased(self, folded: str, provider: str | None) -> list[Name]:
        """By seller, the first listed of a model's names."""
        found = []
        for seller, names in self._aliases.of(folded).items():
            if provider is None or seller == provider:
                listed = ((seller, name) for name in names if (seller, name) in self._listed)
                found += [name for name in (next(listed, None),) if name is not None]
        return found


def _at(models: Iterable[Name], provider: str | None) -> list[Name]:
    if provider is None:
        return list(models)
    return [model for model in models if model[0] == provider]
