"""From nothing to a comparison in under a minute: SASRec with and without graphs, on data whose answer is known.

Run: ``python examples/quickstart.py [FOLDER]``; no key, no download. Synthetic users wander between themes, which
item ids cannot tell and planted graphs can: ``enhanced`` must win, and with graphs dealt to the wrong users
(``shuffled``) it must not. A comparison that failed this would not be worth running on real data.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console

import llmrg
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.evaluation.report import terminal_view
from llmrg.graph.arrays import build_arrays

TOY_TEXT = {"encoder": "hashing", "components": 16}  # hashed words: no sentence encoder to load
MODEL = {"hidden_size": 16, "inner_size": 32, "n_layers": 1}
TRAINING = {"epochs": 20, "learning_rate": 0.005, "train_batch_size": 256}


def main(folder: Path) -> None:
    data = planted_themes(num_users=200, num_items=80, num_themes=8, length=12, signal=1.0, seed=3)
    write_atomic_files(folder / "data", "toy", data.sequences, catalog=data.catalog)
    print(f"{data} written to {folder / 'data'}")

    # With real data this step is `llmrg.make_graphs(llmrg.read_job(name))`, or `llmrg generate` in a shell.
    text = llmrg.LlmrgSettings.parse({"text": TOY_TEXT}).text
    arrays = build_arrays(
        sorted(data.graphs.values(), key=lambda graph: graph.user_id),
        llmrg.load_text_encoder(text),
        folder / "arrays",
        components=text.components,
        fingerprint="planted",
        cutoff="leave_one_out",
    )
    print(f"{arrays}")

    report = llmrg.compare(
        ["SASRec"],
        "toy",
        folder / "arrays",
        arms=("base", "enhanced", "shuffled"),
        overrides={**MODEL, **TRAINING, "llmrg": {"text": TOY_TEXT}, "data_path": str(folder / "data")},
        finished=lambda entry: print(
            f"trained {entry.run.name}: {entry.result.epochs} epochs, {entry.result.seconds:.0f} s"
        ),
    )
    Console().print(terminal_view(report))
    print(f"report: {llmrg.write_report(report, folder / 'report').html}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="llmrg-quickstart-")))
