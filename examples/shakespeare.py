"""A small Transformer on the plays of Shakespeare, character by character.

    python examples/shakespeare.py [--text ../shared/data/text/tinyshakespeare.txt.gz] [--epochs 4]

It prints the cross-entropy of the last tenth of the text, in nats a character, and some lines
that it writes itself.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from minimand import Recipe, train
from minimand.data.text import read_text
from minimand.losses import CrossEntropy
from minimand.networks import Transformer, continued
from minimand.networks.base import count
from minimand.optimizers import AdamW, ClipByNorm
from minimand.schedules import Cosine, Warmup

CONTEXT = 64


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", default="../shared/data/text/tinyshakespeare.txt.gz")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    whole = read_text(options.text)
    text, held = whole.parts(0.1)
    X, y = text.windows(CONTEXT, stride=CONTEXT // 2)
    network = Transformer(outputs=len(whole.vocabulary), size=96, depth=3, heads=4)
    batch, steps = 64, options.epochs * len(X) // 64
    recipe = Recipe(
        network,
        CrossEntropy(),
        ClipByNorm(AdamW(learning_rate=0.003), max_norm=1.0),
        schedule=Warmup(Cosine(decay_steps=steps), steps=100),
        batch_size=batch,
        epochs=options.epochs,
    )
    begun = time.perf_counter()
    fitted = train(recipe, X, y, validation=0.0, seed=options.seed)
    seconds = time.perf_counter() - begun
    X, y = held.windows(CONTEXT)
    loss = np.mean(
        [
            CrossEntropy()(fitted.scores(X[i : i + 256]), y[i : i + 256])
            for i in range(0, len(X), 256)
        ]
    )
    print(f"{count(fitted.params):,} parameters, {seconds:.0f} s, {loss:.3f} nats a character")
    prompt = whole.vocabulary.encode("ROMEO:\n")
    lines = continued(fitted.function(), prompt, 300, context=CONTEXT, temperature=0.8)
    print(whole.vocabulary.decode(lines))


if __name__ == "__main__":
    main()
