"""Trains the demonstration policy: `python -m models_worker.demo_policy.train OUT`, about four minutes of one core.

On another machine the weights differ from those in weights/, but are as good.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models_worker.demo_policy.corpus import Example, examples

SEED = 0
EXAMPLES = 9_600
VOCABULARY = 1024
CONTEXT = 512
STEPS = 520
ROWS, ROW_TOKENS = 14, 256
WARMUP_STEPS = 40
# Muon, for the layers' matrices, needs half the steps of AdamW, which takes the rest.
MATRIX_RATE = 0.02
OTHER_RATE = 5e-3
# The prompt teaches the language too.
PROMPT_WEIGHT = 0.2

PAD, END = "<pad>", "<|end|>"
SPECIAL_TOKENS = (PAD, END, "<|user|>", "<|assistant|>", "<|system|>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

# Token ids and the weight of each in the loss.
Encoded = tuple[list[int], list[float]]


def train_tokenizer(corpus: list[Example]) -> PreTrainedTokenizerFast:
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for example in corpus for text in (*(content for _role, content in example.turns), example.answer))
    bare.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=list(SPECIAL_TOKENS[2:]),
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
        padding_side="left",
    )


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """935 thousand weights, below two megabytes in float16."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=352,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=end,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_p=0.95, eos_token_id=end, pad_token_id=pad
    )
    return model


def encode(example: Example, tokenizer: PreTrainedTokenizerFast) -> Encoded:
    messages = [{"role": role, "content": content} for role, content in example.turns]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer(str(prompt), add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(example.answer + END, add_special_tokens=False)["input_ids"]
    return prompt_ids + answer_ids, [PROMPT_WEIGHT] * len(prompt_ids) + [1.0] * len(answer_ids)


def batches(encoded: list[Encoded], random: Random) -> Iterator[list[list[Encoded]]]:
    """Endless: ROWS rows, each of as many examples as fit into ROW_TOKENS."""
    rows: list[list[Encoded]] = [[]]
    while True:
        for example in random.sample(encoded, len(encoded)):
            if sum(len(ids) for ids, _weights in [*rows[-1], example]) > ROW_TOKENS:
                if len(rows) == ROWS:
                    yield rows
                    rows = []
                rows.append([])
            rows[-1].append(example)


def loss_of(model: LlamaForCausalLM, rows: list[list[Encoded]]) -> Tensor:
    """The mean loss over all tokens. Each example sees only itself and begins at position 0."""
    ids, positions, number = (torch.zeros(len(rows), ROW_TOKENS, dtype=torch.int64) for _ in range(3))
    weights = torch.zeros(len(rows), ROW_TOKENS)
    for row, packed in enumerate(rows):
        start = 0
        for which, (example_ids, example_weights) in enumerate(packed, 1):
            here = slice(start, start := start + len(example_ids))
            ids[row, here] = torch.tensor(example_ids)
            weights[row, here] = torch.tensor(example_weights)
            weights[row, here.start] = 0  # nothing comes before it to predict it from
            positions[row, here] = torch.arange(len(example_ids))
            number[row, here] = which
    same_example = number[:, :, None] == number[:, None, :]
    not_later = torch.ones(ROW_TOKENS, ROW_TOKENS, dtype=torch.bool).tril()
    mask = (same_example & not_later)[:, None]
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    losses = cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    named = list(model.named_parameters())
    is_matrix = {name: weights.ndim == 2 and "embed" not in name for name, weights in named}
    return [
        torch.optim.Muon([weights for name, weights in named if is_matrix[name]], lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(
            [weights for name, weights in named if not is_matrix[name]],
            lr=OTHER_RATE,
            betas=(0.9, 0.98),
            weight_decay=0.0,
        ),
    ]


def share_of_rate(step: int) -> float:
    """Up in a line, then down along a cosine to a twentieth."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def train(out: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    corpus = list(examples(EXAMPLES, SEED))
    tokenizer = train_tokenizer(corpus)
    encoded = [encode(example, tokenizer) for example in corpus]
    model = new_model(tokenizer)
    supply = batches(encoded, Random(SEED))  # noqa: S311  # repeatable, not secret
    both = optimizers(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, share_of_rate) for each in both]
    for step in range(STEPS):
        loss = loss_of(model, next(supply))
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in both:
            each.step()
        for schedule in schedules:
            schedule.step()
        if step % 50 == 49:
            sys.stdout.write(f"step {step + 1} of {STEPS}, loss {loss.item():.3f}\n")
            sys.stdout.flush()
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    # One line: a third of the size.
    written = out / "tokenizer.json"
    written.write_text(json.dumps(json.loads(written.read_text()), ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the demonstration policy.")
    parser.add_argument("out", type=Path, help="the folder to write it to")
    train(parser.parse_args().out)
