"""What a report says of a data set without any training: sizes, rows to beat, groups of users.

Promise: all of it is learnt from the training part (half-lives are chosen on validation targets), for exactly the
test users of the trained arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmrg.errors import DataError
from llmrg.evaluation.baselines import baseline_runs, popularity_scores
from llmrg.evaluation.groups import UserGroup, user_groups
from llmrg.evaluation.recency import Events, Moments, decayed_popularity_run
from llmrg.evaluation.runs import RunResult
from llmrg.experiment.runs import Run


@dataclass(frozen=True)
class DataFacts:
    """One data set as a report shows it.

    Args:
        dataset: its name.
        sizes: what → how many.
        rows: untrained rows.
        groups: test users in groups.
        notes: what belongs beside the figures.
        global_time: the split is one moment for all users.
        device: what trains on it, by its name.
    """

    dataset: str
    sizes: Mapping[str, int]
    rows: tuple[RunResult, ...] = ()
    groups: tuple[UserGroup, ...] = ()
    notes: tuple[str, ...] = ()
    global_time: bool = False
    device: str = ""


def data_facts(run: Run, *, baselines: bool = True) -> DataFacts:
    """Read the data of one run.

    Args:
        run: any run on the data set.
        baselines: rows and groups too, not only sizes.
    """
    from llmrg.recbole_adapter.configuration import settings_of
    from llmrg.recbole_adapter.training import device_name, held_out, prepare

    prepared = prepare(run.model, run.dataset, config_files=run.config_files, overrides=dict(run.overrides))
    data = prepared.dataset
    global_time, device = data.time_cut is not None, device_name(prepared.config)
    keep_seen = settings_of(prepared.config).evaluation.keep_seen
    test = held_out(prepared, "test")
    sizes = {
        "users": len(data.history_user),
        "items": data.item_num - 1,
        "interactions": len(data.history_item),
        "test users": len(test.targets),
    }
    if not baselines:
        return DataFacts(run.dataset, sizes, global_time=global_time, device=device)
    train, items = prepared.train_sequences(), data.item_num
    rows = list(
        baseline_runs(
            train,
            test.histories,
            test.targets,
            user_ids=test.user_ids,
            num_items=items,
            dataset=run.dataset,
            keep_seen=keep_seen,
        )
    )
    counts = popularity_scores(train, items)
    groups = user_groups(
        run.dataset,
        test.user_ids,
        target_count=counts[test.targets],
        item_count=counts[1:],
        history_length=[len(history) for history in test.histories],
    )
    notes = []
    valid = held_out(prepared, "valid")
    events = Events(*prepared.train_events())
    try:
        decayed, half_life = decayed_popularity_run(
            events,
            valid=Moments(valid.targets, valid.times, valid.histories),
            test=Moments(test.targets, test.times, test.histories),
            user_ids=test.user_ids,
            num_items=items,
            dataset=run.dataset,
            first_times=data.history_time[data.history_offset[:-1]].tolist(),
            keep_seen=keep_seen,
        )
    except DataError as error:
        notes.append(f"No row of time-decayed popularity for {run.dataset}: {error}")
    else:
        rows.insert(1, decayed)
        notes.append(
            f"Time-decayed popularity on {run.dataset}: half-life of {100 * half_life:g} % of the training period, "
            "chosen on validation; counted is what everybody, the user among them, had done by then."
        )
    return DataFacts(run.dataset, sizes, tuple(rows), groups, tuple(notes), global_time, device)
