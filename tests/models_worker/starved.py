"""Samples under a memory limit of the operating system, and says how that went: python -m ... FOLDER.

The limit leaves room for a part of the arena that all samples together would take. It is set when all else has been
loaded and has run once, so that it meets the arena and not some library's first allocation.
"""

import json
import resource
import sys
from pathlib import Path

import torch

from models_worker.engine.loader import load_policy
from models_worker.engine.transformers_engine import TransformersSampler
from tests.models_worker.tiny import requests_for, sample_all

# An arena for all samples takes about twice this.
ROOM = 80 << 20


def main(folder: str) -> None:
    torch.set_num_threads(1)
    policy = load_policy(folder, device="cpu")
    asked = requests_for(policy, k=25, max_new_tokens=60)
    expected = sample_all(TransformersSampler(policy, max_rows=16), asked)
    refused = 0

    class Watched(TransformersSampler):
        def _attempt(self, *given: object) -> bool:
            nonlocal refused
            whole = super()._attempt(*given)  # type: ignore[arg-type]
            refused += not whole
            return whole

    sampler = Watched(policy, max_rows=len(asked))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    results = sample_all(sampler, asked)
    equal = sum(results[key].token_ids == result.token_ids for key, result in expected.items())
    sys.stdout.write(json.dumps({"asked": len(asked), "equal": equal, "refused": refused, "rows": sampler.limits.rows}))


if __name__ == "__main__":
    main(sys.argv[1])
