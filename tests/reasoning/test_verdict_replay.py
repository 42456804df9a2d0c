"""Real verdicts "does this film fit this taste" replayed through parsing and scoring, as a model would write them.

Every judged title is the hidden endpoint of one mask, among titles of the opposite verdict of the same user. A
model that thinks as the verdicts say ranks what fits before what does not, so a claim about a title that fits
scores exactly 1 and one about a title that does not exactly 0, whatever the reply looks like.
"""

import json
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.cooccurrence import Cooccurrence
from llmrg.graph.schema import Provenance
from llmrg.reasoners.reply_checks import reply_problems
from llmrg.reasoners.structured import salvage, understand
from llmrg.reasoners.tasks import FillPayload, Mask, ShownItem, VerificationPayload
from llmrg.reasoning.draft import Thought
from llmrg.reasoning.verification import NO_VERDICT, Masked, scores_of
from llmrg.reasoning.world import World
from llmrg.text.encoder import HashingEncoder
from llmrg.text.grounding import Grounding

VERDICTS = "llm-texts/ml-1m-alignments.jsonl"
DISTRACTORS = 4
HANDMADE = [
    {"user": 1, "title": "Cave Story (1999)", "align": "yes", "reason": 'It is "slow", and I like caves.'},
    {
        "user": 1,
        "title": "Moon, The (2001)",
        "align": "no",
        "reason": "The moon does not appeal to me {at all}.",
    },
    {
        "user": 1,
        "title": "River Tale (1987)",
        "align": "yes",
        "reason": "A river, with\nadventure. " + "So! " * 90,
    },
    {"user": 1, "title": "Sun/Star: Part II", "align": "no", "reason": "Too bright, [1, 2, 3]."},
    {"user": 2, "title": "Cave Story (1999)", "align": "no", "reason": "Caves are not my taste."},
    {"user": 2, "title": "Moon, The (2001)", "align": "yes", "reason": "I enjoy a good moon."},
]


def judged(source):
    if source == "handmade":
        return HANDMADE
    folder = os.environ.get("LLMRG_DATA", "")
    if not folder or not (Path(folder) / VERDICTS).is_file():
        pytest.skip(f"no {VERDICTS} in the folder that LLMRG_DATA names: real verdicts are not at hand")
    with (Path(folder) / VERDICTS).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module", params=["handmade", "real"])
def users(request):
    """By user: rows of verdicts with a title once each; only users who were of two minds."""
    found = defaultdict(dict)
    for row in judged(request.param):
        found[row["user"]].setdefault(row["title"], row)
    both = {user: list(rows.values()) for user, rows in found.items()}
    return {user: rows for user, rows in both.items() if len({row["align"] for row in rows}) == 2}


def question(user, rows, *, free=False):
    """One mask per judged title, among titles of the opposite verdict."""
    rng = random.Random(f"{user}")
    masks, options, truth, claims = [], [], [], []
    for row in rows:
        others = [r["title"] for r in rows if r["align"] != row["align"]]
        titles = [row["title"], *rng.sample(others, min(DISTRACTORS, len(others)))]
        rng.shuffle(titles)
        truth.append(titles.index(row["title"]))
        options.append(tuple(ShownItem(title, title) for title in titles))
        masks.append(Mask((), "fits the taste", () if free else options[-1], imagined=True))
        claims.append(Thought("fits the taste", 0, (0,), {0: ()}, Provenance("recorded")))
    payload = (FillPayload if free else VerificationPayload)((), tuple(masks))
    return Masked(payload, tuple(claims), tuple(options), tuple(truth))


def verdicts(asked, rows):
    """What a model of this mind answers: what fits first, with the real words as reasoning."""
    fits = {row["title"] for row in rows if row["align"] == "yes"}
    said = []
    for at, (row, shown) in enumerate(zip(rows, asked.options, strict=True)):
        ranking = sorted(range(len(shown)), key=lambda i: shown[i].title not in fits)
        if isinstance(asked.payload, FillPayload):
            named = [shown[i].title for i in ranking if shown[i].title in fits][:3]
            said.append({"mask": at, "reasoning": row["reason"][:300], "titles": named})
        else:
            said.append({"mask": at, "reasoning": row["reason"][:300], "ranking": ranking})
    return {"verdicts": said}


def noisy(reply):
    """Surplus keys, numbers as words, reasons too long, in another order."""
    said = [
        {**v, "mask": str(v["mask"]), "reasoning": v["reasoning"] + " really" * 60, "confidence": 0.9}
        for v in reversed(reply["verdicts"])
    ]
    return {"verdicts": said, "note": "done"}


WRITTEN = {
    "json_schema": json.dumps,
    "json_object": lambda reply: json.dumps(reply, indent=2, ensure_ascii=False),
    "json_object, noisy": lambda reply: json.dumps(noisy(reply)),
    "prompt_only": lambda reply: f"Sure! {{Here}}:\n```json\n{json.dumps(reply, indent=1)}\n```\nI hope it helps.",
    "prompt_only, trailing commas": lambda reply: json.dumps(reply).replace("]}", "],}").replace("}]", "},]"),
    "prompt_only, the bare list": lambda reply: json.dumps(reply["verdicts"]),
}  # fmt: skip


def wanted(rows):
    return [1.0 if row["align"] == "yes" else 0.0 for row in rows]


def any_world(titles):
    catalog = ItemCatalog([CatalogItem(title, title) for title in dict.fromkeys(titles)])
    return World(catalog, Cooccurrence([], list(catalog)), Grounding(catalog, HashingEncoder()))


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_scores_separate_what_fits_from_what_does_not_however_the_reply_is_written(users, write):
    world = any_world(["closed choices look nothing up"])
    for user, rows in users.items():
        asked = question(user, rows)
        understood = understand(write(verdicts(asked, rows)), asked.payload)
        assert understood.good, understood.problems
        assert reply_problems(asked.payload, understood.reply) == []
        scores, problems = scores_of(asked, understood.reply, world)
        assert problems == []
        assert scores == wanted(rows)


def test_what_was_cut_off_is_salvaged_and_the_rest_is_not_verified(users):
    world = any_world(["closed choices look nothing up"])
    kept = 0
    for user, rows in users.items():
        asked = question(user, rows)
        text = json.dumps(verdicts(asked, rows))
        understood = understand(text[: 2 * len(text) // 3], asked.payload)
        assert not understood.good
        reply = salvage(asked.payload, [understood])
        if reply is None:
            continue
        scores, problems = scores_of(asked, reply, world)
        spoken = len(reply.verdicts)
        kept += spoken
        assert scores == [*wanted(rows)[:spoken], *[NO_VERDICT] * (len(rows) - spoken)]
        assert len(problems) == len(rows) - spoken > 0
    assert kept > sum(map(len, users.values())) / 4


def test_titles_named_freely_separate_as_well(users):
    """In free fill the titles are matched by vectors: what fits is named, so what does not lies behind it."""
    some = dict(list(users.items())[:40])
    for user, rows in some.items():
        asked = question(user, rows, free=True)
        understood = understand(json.dumps(verdicts(asked, rows)), asked.payload)
        assert understood.good, understood.problems
        scores, problems = scores_of(asked, understood.reply, any_world(row["title"] for row in rows))
        assert problems == []
        fits = [score for score, row in zip(scores, rows, strict=True) if row["align"] == "yes"]
        not_ = [score for score, row in zip(scores, rows, strict=True) if row["align"] == "no"]
        assert set(fits) == {1.0}
        assert max(not_) < 1.0


def test_a_model_of_the_opposite_mind_gives_the_opposite_scores(users):
    """The test can fail: the scores come from the reply, not from the question."""
    world = any_world(["closed choices look nothing up"])
    for user, rows in users.items():
        asked = question(user, rows)
        turned = [{**row, "align": "no" if row["align"] == "yes" else "yes"} for row in rows]
        understood = understand(json.dumps(verdicts(asked, turned)), asked.payload)
        scores, _ = scores_of(asked, understood.reply, world)
        assert scores == wanted(turned)
