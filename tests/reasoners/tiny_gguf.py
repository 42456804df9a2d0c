"""Write a language model of a few hundred kilobytes that babbles: random weights, one layer, few tokens.

No download and no licence: it knows nothing, and answers in milliseconds, so a real server's path can be tested:
templates, grammars, token counts, limits. Needs the ``gguf`` package::

    python tests/reasoners/tiny_gguf.py babbler.gguf
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, INNER, WINDOW, MERGES = 32, 1, 64, 65_536, 1500
PIECES = [*(chr(code) for code in range(33, 127)), "\u2581"]  # the last is how the vocabulary writes a space
LIKELY = {  # so that words, lists and numbers end, and lists of entries are not empty
    '"': 2.5,
    "{": 4.0,
    ",": 2.3,
    "]": 1.8,
    "}": 2.5,
    "\u2581": 0.5,
    "-": -5.0,
    "\\": -20.0,
    **dict.fromkeys("0123456789", -1.0),
}
NEVER = -20.0
PROMPTS = Path(__file__).resolve().parents[2] / "prompts"

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
)


def merges(text: str) -> Iterator[str]:
    """Pieces of several characters that shorten ``text`` most, one after another: it reads faster than it writes."""
    symbols = list(text)
    for _ in range(MERGES):
        (left, right), _count = Counter(pairwise(symbols)).most_common(1)[0]
        yield left + right
        joined: list[str] = []
        for symbol in symbols:
            if joined and (joined[-1], symbol) == (left, right):
                joined[-1] = left + right
            else:
                joined.append(symbol)
        symbols = joined


def write(path: Path, seed: int = 0) -> None:
    """Write the model.

    Args:
        path: where to.
        seed: of its weights.
    """
    rng = np.random.default_rng(seed)
    special = ["<unk>", "<s>", "</s>"]
    raw = [f"<0x{byte:02X}>" for byte in range(256)]  # for characters that are no piece
    prompts = "".join(file.read_text(encoding="utf-8") for file in sorted(PROMPTS.glob("*.md")))
    known = "".join(character for character in prompts.replace(" ", "\u2581") if character in PIECES)
    longer = list(dict.fromkeys(merges(known)))
    tokens = [*special, *raw, *PIECES, *longer]
    kinds = [2, 3, 3, *[6] * 256, *[1] * (len(PIECES) + len(longer))]
    scores = [0.0] * (len(tokens) - len(longer)) + [-float(rank) for rank in range(1, len(longer) + 1)]

    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(WINDOW)
    out.add_embedding_length(WIDTH)
    out.add_block_count(1)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("llama")
    out.add_token_list(tokens)
    out.add_token_scores(scores)
    out.add_token_types(kinds)
    out.add_unk_token_id(0)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_add_bos_token(True)
    out.add_add_space_prefix(False)
    out.add_chat_template(TEMPLATE)

    def weights(*shape: int, size: float = 0.1) -> np.ndarray:
        return rng.normal(0, size, shape).astype(np.float32)

    embedding = weights(len(tokens), WIDTH, size=1.0)
    embedding[:, 0] = 8.0  # a direction that is always on, so that a token can be likelier than another
    output = weights(len(tokens), WIDTH, size=0.15)
    always = np.sqrt(WIDTH)  # about what is left of it after normalisation
    likely = [LIKELY.get(token, 0.0) if token in PIECES else NEVER for token in tokens]
    output[:, 0] = [value / always for value in likely]
    out.add_tensor("token_embd.weight", embedding)
    out.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    out.add_tensor("output.weight", output)
    out.add_tensor("blk.0.attn_norm.weight", np.ones(WIDTH, np.float32))
    out.add_tensor("blk.0.ffn_norm.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        out.add_tensor(f"blk.0.{name}.weight", weights(WIDTH, WIDTH))
    out.add_tensor("blk.0.ffn_gate.weight", weights(INNER, WIDTH))
    out.add_tensor("blk.0.ffn_up.weight", weights(INNER, WIDTH))
    out.add_tensor("blk.0.ffn_down.weight", weights(WIDTH, INNER))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
