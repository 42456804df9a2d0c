"""From a graph job to graph arrays on disk: text encoder, reasoner, store and arrays put together.

Promise: what is there already is reused when, and only when, everything that affects it is unchanged; neither
torch nor recbole is imported here (the text encoder loads what it needs when it is first asked).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from llmrg.data.snapshot import keep_snapshot
from llmrg.errors import StoreError
from llmrg.fingerprint import fingerprint
from llmrg.graph.arrays import build_arrays, load_arrays, load_text_space
from llmrg.graph.controls import neighbours_folder, unverified_folder
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store import GraphStore
from llmrg.job.online import LOCK_FILE, OnlineJob, hold, open_online_job, refuse_to_replace
from llmrg.job.reading import GraphJob
from llmrg.reasoners.budget import BudgetLimits
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoning.engine import AnyReasoner, Engine
from llmrg.reasoning.generate import GenerationReport, Progress, generate
from llmrg.reasoning.neighbours import neighbour_graphs, neighbours_recipe
from llmrg.reasoning.world import World
from llmrg.text.encoder import TextEncoder
from llmrg.text.kept_vectors import kept_encoder
from llmrg.text.node_encoder import node_encoder, open_grounding

LanguageJob = Callable[[GraphStore], AbstractContextManager[OnlineJob]]

log = logging.getLogger(__name__)


def make_graphs(
    job: GraphJob,
    *,
    limits: BudgetLimits | None = None,
    pilot: int | None = None,
    language_job: LanguageJob | None = None,
    processes: int = 1,
    notice: Callable[[str], None] = log.info,
    progress: Callable[[Progress], None] | None = None,
    texts: Callable[[int, int], None] | None = None,
) -> GenerationReport:
    """Generate every graph that is not there yet and lay them out as arrays.

    The language model of the settings is asked, or where they name none the embedded reasoner.

    Args:
        job: data, settings and folder.
        limits: of money, calls and tokens, for a language model; over all runs into the folder.
        pilot: think about so many users only.
        language_job: makes a language model ready in another way than asking it from here, and minds limits itself.
        processes: that the embedded reasoner thinks in, at most (see :func:`~llmrg.reasoning.generate.generate`).
        notice: called with a sentence before each step.
        progress: called after each user, and with each completion.
        texts: called with texts encoded so far and all texts.

    Returns:
        What the generation did; ``arrays_path`` then holds arrays of exactly these graphs.

    Raises:
        StoreError: another run works on the folder, or it holds graphs by another language model.
        BudgetReached: what is finished and paid for is kept.
        EndpointError: the language model cannot be asked; the same.
    """
    encoder = kept_encoder(job.settings.text, job.folder)
    job.folder.mkdir(parents=True, exist_ok=True)
    notice(f"reading statistics and titles of {job.dataset!r}")
    embedded, world = embedded_world(job, encoder, keep=True, notice=notice)
    with GraphStore.open(job.store_path) as store, ExitStack() as stack:
        reasoner: AnyReasoner = embedded
        engine: Engine | None = None
        if job.settings.language_model.model is None:
            stack.enter_context(hold(job.folder / LOCK_FILE))
        else:
            opened = language_job or partial(
                open_online_job, job.folder, settings=job.settings, limits=limits
            )
            online = stack.enter_context(opened(store))
            reasoner, engine, progress = online.reasoner, online.engine, online.watch(progress)
        refuse_to_replace(store, reasoner.name, job.folder)
        notice(
            f"reasoning about {len(job.dataset.histories)} users ({reasoner.name} reasoner) into {job.store_path}"
        )
        report = generate(
            job.dataset.histories,
            job.dataset.catalog,
            reasoner,
            store,
            engine=engine,
            settings=job.settings.generation,
            data_fingerprint=job.dataset.fingerprint,
            world=world,
            pilot=pilot,
            processes=processes,
            progress=progress,
        )
        store.set_meta(dataset=job.dataset.name, cutoff=job.dataset.cutoff.name)
        if len(store):
            nodes = node_encoder(world.grounding, encoder)
            lay_out(job, store, nodes, report.recipe, notice=notice, progress=texts)
    return report


def embedded_world(
    job: GraphJob, encoder: TextEncoder, *, keep: bool = False, notice: Callable[[str], None] = log.info
) -> tuple[EmbeddedReasoner, World]:
    """The embedded reasoner of a job, and the world it shares with every other (see :func:`open_grounding`)."""
    catalog, histories = job.dataset.catalog, job.dataset.histories
    grounding = open_grounding(catalog, encoder, job.settings.text, job.folder, keep=keep, notice=notice)
    reasoner = EmbeddedReasoner.from_histories(
        histories, catalog, encoder, job.settings.embedded, grounding=grounding
    )
    return reasoner, World(catalog, reasoner.cooccurrence, grounding)


def lay_out(
    job: GraphJob,
    store: GraphStore,
    encoder: TextEncoder,
    recipe: str,
    *,
    notice: Callable[[str], None] = log.info,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Build ``arrays_path`` from ``store``, unless it holds just that."""
    parts = [encoder.fingerprint, job.settings.text.components, store.content_hash()]
    content = fingerprint([recipe, job.dataset.fingerprint, *parts])
    keep_snapshot(job.folder, job.dataset)  # what later graphs of this recipe are made from
    _build_unless_there(job, job.arrays_path, store, encoder, content, notice=notice, progress=progress)
    store.set_meta(arrays={"fingerprint": content, "recipe": recipe})  # lets a reader tell stale arrays


def make_neighbours(
    job: GraphJob,
    *,
    notice: Callable[[str], None] = log.info,
    texts: Callable[[int, int], None] | None = None,
) -> Path:
    """Lay the graphs of the control arm ``neighbours`` out as arrays, unless they are there already.

    Args:
        job: data, settings and folder; the same statistics, titles, windows and budget as for :func:`make_graphs`.
        notice: called with a sentence before each step.
        texts: called with texts encoded so far and all texts.

    Returns:
        The folder of the arrays, next to ``arrays_path``.
    """
    encoder = kept_encoder(job.settings.text, job.folder)
    _, world = embedded_world(job, encoder)
    settings, encoder = job.settings.generation, node_encoder(world.grounding, encoder)
    folder = neighbours_folder(job.arrays_path)
    data = [job.dataset.fingerprint, job.dataset.attributes_fingerprint]
    parts = [*data, encoder.fingerprint, job.settings.text.components]
    content = fingerprint([neighbours_recipe(world, settings), *parts])
    graphs = neighbour_graphs(job.dataset.histories, world, settings)
    _build_unless_there(job, folder, graphs, encoder, content, notice=notice, progress=texts)
    return folder


def make_unverified(
    job: GraphJob,
    *,
    notice: Callable[[str], None] = log.info,
    texts: Callable[[int, int], None] | None = None,
) -> Path:
    """Lay the graphs of :func:`make_graphs` out once more with everything verification had rejected.

    Returns:
        The folder of the arrays, next to ``arrays_path``.
    """
    plain = kept_encoder(job.settings.text, job.folder)
    grounding = open_grounding(job.dataset.catalog, plain, job.settings.text, job.folder)
    encoder, folder = node_encoder(grounding, plain), unverified_folder(job.arrays_path)
    with GraphStore.open(job.store_path) as store:
        parts = [encoder.fingerprint, job.settings.text.components, store.content_hash()]
        content = fingerprint(["unverified", job.dataset.fingerprint, *parts])
        _build_unless_there(job, folder, store, encoder, content, tau=0.0, notice=notice, progress=texts)
    return folder


def _build_unless_there(
    job: GraphJob,
    folder: Path,
    graphs: Iterable[ReasoningGraph],
    encoder: TextEncoder,
    content: str,
    *,
    tau: float | None = None,
    notice: Callable[[str], None],
    progress: Callable[[int, int], None] | None,
) -> None:
    try:
        load_text_space(folder)  # which arrays of earlier versions lack
        if load_arrays(folder).fingerprint == content:
            notice(f"graph arrays in {folder} are up to date")
            return
    except StoreError:
        pass  # none yet, or unusable: built below
    notice(f"laying graphs out as arrays in {folder}")
    build_arrays(
        graphs,
        encoder,
        folder,
        components=job.settings.text.components,
        tau=tau,
        fingerprint=content,
        cutoff=job.dataset.histories[0].cutoff if job.dataset.histories else "leave_one_out",
        progress=progress,
    )
