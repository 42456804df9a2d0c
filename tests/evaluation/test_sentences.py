"""What a report says in words: gains with their controls, what is not significant, what is not gained, cautions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmrg.evaluation.comparison import ComparisonReport, Procedure, build_report
from llmrg.evaluation.report import render_markdown, render_terminal
from llmrg.evaluation.results import GenerationCost

QUICK = Procedure(resamples=300, permutations=3000)


def report(runs, **more) -> ComparisonReport:
    return build_report(runs, procedure=QUICK, **more)


def test_a_gain_is_said_with_its_controls_and_the_metrics_that_do_not_show_it(draw_runs) -> None:
    runs = draw_runs(lift=0.3, arms=("base", "enhanced", "empty", "shuffled", "text"))
    # all of the gain is from rank 6 to 10: metrics at 5 cannot see it
    runs = [replace(run, ranks=run.ranks + 5) if run.arm != "nothing" else run for run in runs]
    first = report(runs).sentences[0]
    assert first.startswith("SASRec on toy: enhanced beats base by ")
    assert "% NDCG@10 [" in first
    assert "after Holm, and the controls text by " in first or "and the controls shuffled by " in first
    assert "; not significant after Holm for HR@5, NDCG@5 and MRR@5 over base, shuffled and text." in first
    assert "empty by" not in first


def test_one_control_is_said_in_the_singular_and_nothing_where_all_metrics_agree(draw_runs) -> None:
    first = report(draw_runs(lift=0.6, users=600, arms=("base", "enhanced", "shuffled"))).sentences[0]
    assert ", and the control shuffled by " in first
    assert first.endswith(" %.")


@pytest.mark.parametrize("arms", [("base", "enhanced"), ("base", "enhanced", "shuffled")])
def test_where_nothing_is_gained_the_report_says_so(draw_runs, arms) -> None:
    runs = [
        replace(run, ranks=run.ranks[::-1]) if run.arm == "base" else run
        for run in draw_runs(lift=0, arms=arms)
    ]
    said = report(runs).sentences
    assert "SASRec on toy: nothing is shown to be gained by the graphs." in said
    assert not any("nothing is shown" in words for words in report(draw_runs(lift=0.4, arms=arms)).sentences)


def test_what_a_gain_cannot_be_credited_to_is_named_by_arm(draw_runs) -> None:
    runs = draw_runs(lift=0.3, arms=("base", "enhanced", "shuffled"))
    own = [run for run in runs if run.arm == "enhanced"]
    for arms, credit in (
        (("neighbours",), "reasoning"),
        (("unverified", "no-divergent"), "imagined items and verification"),
        (("wider", "rewired"), "anything but size and how the nodes are connected"),
        (("no-pointer",), "the pointer"),
    ):
        alike = [replace(run, arm=arm) for arm in arms for run in own]
        (said,) = [words for words in report(runs + alike).sentences if "cannot be credited" in words]
        ordered = set(credit.split(" and "))
        assert all(part in said for part in ordered), said
        assert "the content of the graphs" not in said


@pytest.mark.parametrize(
    ("reasoner", "dataset", "cautioned"),
    [
        ("gpt-5-mini", "ml-1m", True),
        ("gpt-5-mini", "MovieLens-20M", True),
        ("gpt-5-mini", "amazon-beauty", False),
        ("embedded", "ml-1m", False),
    ],
)
def test_a_language_model_on_movielens_is_cautioned_against(draw_runs, reasoner, dataset, cautioned) -> None:
    cost = GenerationCost(reasoner=reasoner, requests=9, input_tokens=900, output_tokens=90, dataset=dataset)
    said = [
        words for words in report(draw_runs(dataset=dataset), costs=[cost]).sentences if "2505.10212" in words
    ]
    assert len(said) == cautioned
    if said:
        assert said[0].startswith(f"Caution: {reasoner} may have read {dataset} before.")
        assert f"llmrg doctor --probe-memory {dataset} --model {reasoner}" in said[0]


def test_cost_stands_beside_gain(draw_runs) -> None:
    runs = [
        replace(run, graphs="graphs" if run.arm in ("enhanced", "shuffled", "text") else "")
        for run in draw_runs(arms=("base", "enhanced", "shuffled", "text"))
    ]
    cost = GenerationCost("gpt-5-mini", 1234, 0, 5000, 678, seconds=100.0, dollars=1.5, dataset="toy")
    found = report(runs, costs=[cost])
    lines = render_markdown(found).split("Gain and cost")[1].split("##")[0].splitlines()
    cells = {
        line.split("|")[2].strip(" *"): [cell.strip(" *") for cell in line.split("|")[3:-1]]
        for line in lines[4:]
        if "|" in line
    }
    assert cells["text"][4:] == ["0", "0", "0"]  # of the graphs it reads, what was reasoned is left out
    assert cells["base"][1:] == ["0.0", "1,000", "16.0", "0", "0", "0"]
    assert cells["enhanced"][2:] == ["1,100", "117.0", "1,234", "5,678", "1.50"]
    assert cells["shuffled"][4:] == ["1,234", "5,678", "1.50"]
    means = {row.arm: row.mean for row in found.rows if row.metric == "ndcg@10"}
    assert cells["enhanced"][1] == f"+{100 * (means['enhanced'] / means['base'] - 1):.1f}"
    free = report(runs, costs=[replace(cost, dollars=None)])
    assert "| 5,678 | – |" in render_markdown(free).replace("**", "")
    embedded = report(runs, costs=[replace(cost, reasoner="embedded", dollars=None)])
    assert "| 5,678 | 0 |" in render_markdown(embedded).replace("**", "")
    hopeless = [replace(run, ranks=run.ranks + 20 * (run.arm == "base")) for run in runs]
    assert "| base | 0.0000 | – |" in render_markdown(report(hopeless, costs=[cost]))


def test_a_gain_over_an_unbeaten_control_in_another_metric_is_said(draw_runs) -> None:
    runs = draw_runs(lift=0.5, users=600, arms=("base", "enhanced"))
    # as good in NDCG@10, worse in HR@20: what was within 20 and not within 10 is beyond 20
    runs += [
        replace(run, arm="neighbours", ranks=run.ranks + 20 * ((run.ranks > 10) & (run.ranks <= 20)))
        for run in runs
        if run.arm == "enhanced"
    ]
    (said,) = [words for words in report(runs).sentences if "cannot be credited to reasoning" in words]
    assert said.endswith(
        "is not shown to beat neighbours in NDCG@10 (it beats neighbours in HR@20, NDCG@20 and MRR@20)."
    )


def test_no_word_of_a_table_is_broken_in_eighty_columns(draw_runs) -> None:
    arms = ("base", "enhanced", "no-divergent")
    runs = [*draw_runs(arms=arms), *draw_runs(arms=arms, dataset="amazon-beauty", model="BERT4Rec")]
    lines = render_terminal(report(runs), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.strip().startswith("no-div")] == ["no-divergent"] * 2


def test_a_loss_in_another_metric_is_called_one(draw_runs) -> None:
    runs = draw_runs(lift=0.5, users=600, arms=("base", "enhanced"))
    # hits from 11 to 20 are thrown away, and still there is a gain at ten
    runs = [
        replace(run, ranks=run.ranks + 20 * ((run.ranks > 5) & (run.ranks <= 20)))
        if run.arm == "enhanced"
        else run
        for run in runs
    ]
    found = report(runs)
    verdicts = {c.metric: c.verdict for c in found.comparisons}
    assert (verdicts["ndcg@10"], verdicts["hr@20"]) == ("wins", "loses")
    assert found.sentences[0].endswith("; but a loss in HR@20 over base.")
