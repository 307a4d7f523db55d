"""README.md of an export: a dataset card, so that `load_dataset(folder, "rm")` works.

Its header states the types of columns. Without it, loaders infer a wrong type for lists that are empty at first.
"""

from collections.abc import Collection
from typing import get_args, is_typeddict

from annotate.pools.models import Split
from exports.formats.jsonl import file_name
from exports.table import FILES

FILE_NAME = "README.md"

DTYPES: dict[object, str] = {str: "string", int: "int64", float: "float64"}
TEXT = f"""
# Training data

Exported by annotate. `manifest.json` counts what is in the files and what was left out and why, and has the SHA-256
of each file. A file without rows is not written.

{"".join(file.card for file in FILES)}
`active_seconds` is how long the labeler looked at the task and did something, -1 where no browser told it.
No customer, no group and no prompt text is in both splits. `labeler`, `group` and the ids name rows of the platform,
not people.

    from datasets import load_dataset
    sft = load_dataset("path/to/this/folder", "sft", split="train")
    pairs = load_dataset("json", data_files="rm_pairs_train.jsonl", split="train")
"""


def card(names: Collection[str]) -> str:
    configs, features = ["configs:"], ["dataset_info:"]
    for file in FILES:
        paths = {split: file_name(file.name, split) for split in Split.values}
        written = {split: path for split, path in paths.items() if path in names}
        if not written:
            continue
        configs += [f"- config_name: {file.name}", "  data_files:"]
        for split, path in written.items():
            configs += [f"  - split: {split}", f"    path: {path}"]
        features += [f"- config_name: {file.name}", "  features:"]
        for column in file.columns:
            features += [f"  - name: {column.name}", f"    {feature(column.type)}"]
    return "\n".join(["---", *configs, *features, "---", TEXT]) if names else TEXT


def feature(type_: object) -> str:
    """A column's type, in the notation of Hugging Face datasets."""
    return f"dtype: {DTYPES[type_]}" if type_ in DTYPES else f"list: {_item(get_args(type_)[0])}"


def _item(type_: object) -> str:
    if type_ in DTYPES:
        return DTYPES[type_]
    if is_typeddict(type_):
        fields = ", ".join(f"{{name: {name}, dtype: {DTYPES[of]}}}" for name, of in type_.__annotations__.items())
        return f"[{fields}]"
    return f"{{{feature(type_)}}}"
