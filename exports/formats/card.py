"""README.md of an export: a dataset card, so that the folder itself loads with `load_dataset(folder, "rm")`.

Its header names the columns' types. Without it a loader guesses them from the first lines of each file, and where all
of these have an empty list, it takes the column for lists of nothing.
"""

from collections.abc import Collection

from annotate.pools.models import Split
from exports.formats.jsonl import file_name
from exports.schema import FILE_KINDS, FileKind

FILE_NAME = "README.md"

MESSAGES = "list: [{name: role, dtype: string}, {name: content, dtype: string}]"
PROMPT = {
    "split": "dtype: string",
    "prompt_id": "dtype: int64",
    "group": "dtype: string",
    "source": "dtype: string",
    "category": "dtype: string",
    "prompt_kind": "dtype: string",
    "language": "dtype: string",
    "priority": "dtype: int64",
}
ANSWER = {
    "answer_id": "dtype: int64",
    "labeler": "dtype: string",
    "campaign": "dtype: string",
    "guideline": "dtype: string",
    "guideline_version": "dtype: int64",
    "submitted_at": "dtype: string",
    "active_seconds": "dtype: int64",
}
COLUMNS: dict[FileKind, dict[str, str]] = {
    "sft": {"prompt": MESSAGES, "completion": MESSAGES, "example": "dtype: string", **PROMPT, **ANSWER},
    "rm": {
        "prompt": MESSAGES,
        "completions": "list: {list: [{name: role, dtype: string}, {name: content, dtype: string}]}",
        "ranks": "list: int64",
        "ratings": "list: int64",
        "policies": "list: string",
        "completion_ids": "list: int64",
        "provenance": "list: string",
        "shown": "list: int64",
        "pairs": "list: [{name: chosen, dtype: int64}, {name: rejected, dtype: int64}]",
        "tied_pairs": "dtype: int64",
        "identical_pairs": "dtype: int64",
        "tie_rule": "dtype: string",
        "weight": "dtype: float64",
        "ranking_id": "dtype: int64",
        **PROMPT,
        **ANSWER,
    },
    "rm_pairs": {
        "prompt": MESSAGES,
        "chosen": MESSAGES,
        "rejected": MESSAGES,
        "weight": "dtype: float64",
        "rank_gap": "dtype: int64",
        "rating_gap": "dtype: int64",
        "chosen_policy": "dtype: string",
        "rejected_policy": "dtype: string",
        "chosen_id": "dtype: int64",
        "rejected_id": "dtype: int64",
        "ranking_id": "dtype: int64",
        **PROMPT,
        **ANSWER,
    },
    "ppo": {"prompt": MESSAGES, **PROMPT},
}

TEXT = """
# Training data

Exported by annotate. `manifest.json` counts what is in the files and what was left out and why, and has the SHA-256
of each file. A file without rows is not written.

- `sft`: a prompt and the completion a person wrote to it (`example`: `demonstration`, or `few_shot` for one of the K
  leave-one-out examples of an instruction with K query/response pairs).
- `rm`: one line a ranking: K completions with their ranks (1 is best, equal ranks are a tie) and ratings (1 to 7, 7 is
  best), in the order of the slate; `shown` is the order the labeler saw. `pairs` are all pairs of the ranking except
  ties (dropped) and pairs of two equal texts. A reward model takes the pairs of a line as one batch element, each
  weighted by `weight` = 1/C(K,2). `provenance` is JSON text, one of each completion: the hashes of checkpoint, adapter,
  template and rendered prompt, engine and versions, dtype, parameters, seed and attempt, why it ended, and where the
  run kept them its token ids and their logprobs under the policy itself (temperature 1).
- `rm_pairs`: the same pairs, one a line; `chosen_id` and `rejected_id` are `completion_ids` of `rm`. Used without
  `weight`, prompts with many completions count for more. There is no `margin` column, because trainers that find one
  add it to the loss; `rank_gap` and `rating_gap` can make one.
- `ppo`: customers' prompts, without answers.

`active_seconds` is how long the labeler looked at the task and did something, -1 where no browser told it.
No customer, no group and no prompt text is in both splits. `labeler`, `group` and the ids name rows of the platform,
not people.

    from datasets import load_dataset
    sft = load_dataset("path/to/this/folder", "sft", split="train")
    pairs = load_dataset("json", data_files="rm_pairs_train.jsonl", split="train")
"""


def card(names: Collection[str]) -> str:
    """The card of a folder that holds the files of these names."""
    present: dict[FileKind, list[str]] = {
        kind: [split for split in Split.values if file_name(kind, split) in names] for kind in FILE_KINDS
    }
    configs = ["configs:"]
    columns = ["dataset_info:"]
    for kind, splits in present.items():
        if not splits:
            continue
        configs += [f"- config_name: {kind}", "  data_files:"]
        configs += [line for split in splits for line in (f"  - split: {split}", f"    path: {file_name(kind, split)}")]
        columns += [f"- config_name: {kind}", "  features:"]
        columns += [line for name, type_ in COLUMNS[kind].items() for line in (f"  - name: {name}", f"    {type_}")]
    return "\n".join(["---", *configs, *columns, "---", TEXT]) if names else TEXT
