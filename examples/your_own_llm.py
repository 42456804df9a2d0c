"""Let a language model of yours make the graphs: any server that speaks OpenAI's format, here or elsewhere.

Run: ``python examples/your_own_llm.py MODEL BASE_URL``, such as ``qwen3:4b http://localhost:11434/v1``. A key, if the
server wants one, is read from LLMRG_API_KEY or OPENAI_API_KEY. Without the two arguments no model is asked: a class of
thirty lines stands in for one, which shows what passes between, and that one method is all an endpoint needs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import llmrg
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.job.online import open_online_job
from llmrg.reasoners.endpoint import Completion, CompletionRequest


class StandIn:
    """An endpoint that knows nothing: every item follows the one before it, and the first option is the best."""

    def __init__(self) -> None:
        self.last: tuple[CompletionRequest, str] | None = None

    async def complete(self, request: CompletionRequest) -> Completion:
        """What a server would answer. ``request.body`` is what it would be sent."""
        lines = request.body["messages"][-1]["content"].splitlines()
        shown = next((json.loads(line) for line in lines if line.startswith("{")), None)
        if (
            shown is None
        ):  # the probe: does this endpoint keep to a schema? it does not, and prompts will say more
            return Completion('{"ok": true}')
        text = json.dumps(self.chain(shown) if "masks" not in shown else self.verify(shown))
        self.last = request, text
        return Completion(
            text,
            model="stand-in",
            prompt_tokens=len(str(request.body)) // 4,
            completion_tokens=len(text) // 4,
        )

    def chain(self, shown: dict) -> dict:
        links = [
            {
                "item": item["index"],
                "reason": "more of the same" if item["index"] else "a beginning",
                "sources": [item["index"] - 1] if item["index"] else [],
                "attributes": [],
                "earlier_reasons": [],
                "relation": "none",
            }
            for item in shown["items"]
            if item.get("new")
        ]
        newest = shown["items"][-1]
        imagined = [{"title": f"{newest['title']} again", "score": 60}]
        return {
            "links": links,
            "extensions": [{"item": newest["index"], "reason": "more of it", "items": imagined}],
        }

    def verify(self, shown: dict) -> dict:
        return {
            "verdicts": [
                {
                    "mask": mask["index"],
                    "reasoning": "as good as any",
                    "ranking": [option["index"] for option in mask["options"]],
                }
                for mask in shown["masks"]
            ]
        }


def main(folder: Path, model: str, base_url: str | None) -> None:
    toy = planted_themes(num_users=6, num_items=24, num_themes=3, length=8, signal=1.0, seed=2)
    write_atomic_files(folder, "toy", toy.sequences, catalog=toy.catalog)
    ours = {
        "text": {"encoder": "hashing"},
        "language_model": {"model": model, "base_url": base_url},
    }
    job = llmrg.read_job("toy", overrides={"data_path": str(folder), "llmrg": ours}, folder=folder / "graphs")
    if base_url is not None:
        report = llmrg.make_graphs(job)
    else:
        stand_in = StandIn()
        job.folder.mkdir(parents=True)
        with (
            llmrg.GraphStore.open(job.store_path) as store,
            open_online_job(job.folder, store, job.settings, endpoint=stand_in) as online,
        ):
            report = llmrg.generate(
                job.dataset.histories, job.dataset.catalog, online.reasoner, store, engine=online.engine
            )
        assert stand_in.last is not None
        request, text = stand_in.last
        print(
            f"what a model is shown last, after {len(request.body['messages'][0]['content'])} static characters:"
        )
        print(request.body["messages"][-1]["content"][:400] + " ...")
        print(f"what it answers:\n{text[:200]} ...\n")

    rungs = ", ".join(f"{count} {rung}" for rung, count in sorted(report.rungs.items()))
    print(f"{report.done} users' graphs by {model}, {report.failed} failed; replies: {rungs}")
    print(f"{report.usage}, {report.claims} claims, {report.rejected_share:.0%} rejected by verification\n")
    with llmrg.GraphStore.open(job.store_path) as store:
        for user in job.dataset.histories[:1]:
            graph = store.get(user.user_id)
            if graph is not None:
                print(llmrg.render_tree(graph))


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3):
        raise SystemExit(__doc__)
    asked = sys.argv[1:] or ["stand-in", None]
    main(Path(tempfile.mkdtemp(prefix="llmrg-your-own-llm-")), *asked)
