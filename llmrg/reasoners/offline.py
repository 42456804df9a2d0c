"""The embedded reasoner: no model, no key, deterministic; a real peer of a language model.

Promise: it answers the same tasks in the same schema, from the training parts of users (what follows what, stretches
of histories like the newest items, what goes with whole histories), catalogue attributes and sentence vectors. A user's
scope is its fold, and a request of that scope is answered from the other folds' users only, so nobody's own counts
come back to them (law 1).
"""

from __future__ import annotations

from collections.abc import Iterable

from llmrg.data.catalog import ItemCatalog
from llmrg.data.cooccurrence import Cooccurrence
from llmrg.data.interactions import UserHistory
from llmrg.errors import ReasonerError
from llmrg.fingerprint import fingerprint
from llmrg.reasoners.offline_chained import answer_chained
from llmrg.reasoners.offline_divergent import answer_divergent
from llmrg.reasoners.offline_evidence import Evidence
from llmrg.reasoners.offline_verification import answer_fill, answer_verification
from llmrg.reasoners.reasoner import ReasonerRequest, Reply
from llmrg.reasoners.tasks import ChainedPayload, DivergentPayload, FillPayload, ReplyContent
from llmrg.settings import EmbeddedSettings
from llmrg.text.encoder import TextEncoder
from llmrg.text.grounding import Grounding

VERSION = 9  # of the rules in the offline_* modules and of the statistics behind them; raise it when an answer changes


class EmbeddedReasoner:
    """See the module.

    Args:
        catalog: the items.
        cooccurrence: training statistics over the same catalogue.
        grounding: titles of the same catalogue.
        neighbours: like titles kept per item.
    """

    name = "embedded"

    def __init__(
        self, catalog: ItemCatalog, cooccurrence: Cooccurrence, grounding: Grounding, *, neighbours: int = 50
    ) -> None:
        self.cooccurrence, self.grounding = cooccurrence, grounding
        self._evidence = Evidence(catalog, cooccurrence, grounding, kept=neighbours)
        self._fingerprint = fingerprint(
            {
                "reasoner": self.name,
                "version": VERSION,
                "statistics": cooccurrence.fingerprint,
                "titles": grounding.fingerprint,
                "neighbours": neighbours,
            }
        )

    @classmethod
    def from_histories(
        cls,
        histories: Iterable[UserHistory],
        catalog: ItemCatalog,
        encoder: TextEncoder | None,
        settings: EmbeddedSettings | None = None,
        *,
        grounding: Grounding | None = None,
    ) -> EmbeddedReasoner:
        """The reasoner over the training parts of these users.

        Args:
            histories: all users of the data set.
            catalog: the items.
            encoder: sentence encoder of titles; without one titles are not compared.
            settings: folds, span, support and neighbours.
            grounding: of the same catalogue; by default of its titles, with ``encoder``.
        """
        chosen = settings or EmbeddedSettings()
        cooccurrence = Cooccurrence(
            histories,
            catalog,
            folds=chosen.folds,
            span=chosen.span,
            min_support=chosen.min_support,
            neighbours=chosen.neighbours,
        )
        known = grounding or Grounding(catalog, encoder)
        return cls(catalog, cooccurrence, known, neighbours=chosen.neighbours)

    @property
    def fingerprint(self) -> str:
        """Content hash of rules, statistics, catalogue and sentence encoder."""
        return self._fingerprint

    def scope(self, user_id: str) -> str:
        """The user's fold."""
        return str(self.cooccurrence.fold_of(user_id))

    def answer(self, request: ReasonerRequest) -> Reply:
        """The answer, from the folds that are not the request's scope.

        Raises:
            ReasonerError: the scope is no fold, or an item was never heard of.
        """
        if not request.scope.isdigit() or int(request.scope) >= self.cooccurrence.folds:
            raise ReasonerError(
                f"embedded reasoner: expected a scope below {self.cooccurrence.folds}, "
                f"found {request.scope!r}; ask it for the user's scope"
            )
        try:
            return Reply(self._think(request))
        except KeyError as error:
            raise ReasonerError(
                f"embedded reasoner: item {error} is neither in the catalogue nor in a history"
            ) from error

    def prepare(self) -> None:
        """Find now what the first answer would wait for and is the same for all scopes."""
        self._evidence.prepare()

    def _think(self, request: ReasonerRequest) -> ReplyContent:
        fold = self._evidence.fold(request.scope)
        if isinstance(request.payload, ChainedPayload):
            return answer_chained(self._evidence, fold, request.payload)
        if isinstance(request.payload, DivergentPayload):
            return answer_divergent(self._evidence, fold, request.payload)
        if isinstance(request.payload, FillPayload):
            return answer_fill(self._evidence, fold, request.payload)
        return answer_verification(self._evidence, fold, request.payload)

    def __repr__(self) -> str:
        return f"EmbeddedReasoner({self.cooccurrence!r})"
