"""One measured process of bench/sampling.py: `python -m bench.sampler '[{"method": "ours", ...}]'`, a JSON line back.

Each method runs in a process of its own, because peak memory belongs to a process and methods must not warm each
other's pages. Several jobs of one method share a process, to import torch once.
"""

import hashlib
import json
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

VOCABULARY = 8192
# One token in 63 ends an answer of a random model: lengths of all kinds, 55 tokens on average before the cut at 128.
END_IDS = list(range(VOCABULARY - 130, VOCABULARY))
TEMPLATE = "{{ bos_token }} {% for m in messages %}{{ m['content'] }}{% endfor %}"

SHAPES: dict[str, dict[str, int]] = {
    # 15.7 million parameters.
    "small": {
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
    # 1.6 million parameters, most of them embeddings: for thousands of prompts.
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    # Llama 3.2 1B with a smaller vocabulary: 1.0 billion parameters.
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}


@dataclass
class Job:
    """What to measure. prompts are of `shortest` to `longest` tokens, drawn evenly."""

    method: str
    folder: str
    prompts: int = 64
    shortest: int = 64
    longest: int = 512
    k: int = 4
    max_new_tokens: int = 128
    dtype: str = "float32"
    rows: int = 64
    kv_budget_bytes: int = 1 << 30
    shape: str = "small"
    device: str = "cpu"
    extra: dict[str, Any] = field(default_factory=dict)


def make_policy(folder: Path, shape: str) -> None:
    """A random Llama, and a tokenizer with one word per token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **SHAPES[shape],
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=END_IDS, pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    known = ["<pad>", "<s>", "</s>", *(f"w{number}" for number in range(3, VOCABULARY))]
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    ).save_pretrained(folder)


def prompt_ids(job: Job) -> list[tuple[int, ...]]:
    draw = random.Random(1)
    lengths = (draw.randint(job.shortest, job.longest) for _ in range(job.prompts))
    return [(1, *(draw.randrange(10, 7000) for _ in range(length - 1))) for length in lengths]


def as_text(ids: tuple[int, ...]) -> str:
    """The message that becomes these ids."""
    return " ".join(f"w{number}" for number in ids[1:])


def load(job: Job) -> Any:
    import torch

    from models_worker.engine.loader import load_policy

    torch.set_num_threads(1)
    return load_policy(job.folder, dtype=job.dtype, device=job.device)


def naive(job: Job) -> Callable[[], dict[str, Any]]:
    """A call of `generate` for each prompt, K samples at a time."""
    import torch

    model, settings, prompts = load(job).model, generation(job), prompt_ids(job)

    def run() -> dict[str, Any]:
        answers: list[list[int]] = []
        for ids in prompts:
            whole = model.generate(torch.tensor([ids], device=job.device), **settings)
            answers += [up_to_the_end(row[len(ids) :].tolist()) for row in whole]
        return {"tokens": sum(map(len, answers)), "samples": len(answers)}

    model.generate(torch.tensor([prompts[0][:64]], device=job.device), **settings | {"max_new_tokens": 4})
    return run


def batched(job: Job) -> Callable[[], dict[str, Any]]:
    """`generate` over prompts of similar length that fill the rows, padded on the left."""
    import torch

    model, settings = load(job).model, generation(job)
    prompts, at_once = sorted(prompt_ids(job), key=len), max(1, job.rows // job.k)

    def run() -> dict[str, Any]:
        answers: list[list[int]] = []
        for start in range(0, len(prompts), at_once):
            batch = prompts[start : start + at_once]
            width = max(map(len, batch))
            ids = torch.tensor([[0] * (width - len(each)) + list(each) for each in batch], device=job.device)
            mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in batch], device=job.device)
            whole = model.generate(ids, attention_mask=mask, **settings)
            answers += [up_to_the_end(row[width:].tolist()) for row in whole]
        return {"tokens": sum(map(len, answers)), "samples": len(answers)}

    model.generate(torch.tensor([prompts[0][:64]], device=job.device), **settings | {"max_new_tokens": 4})
    return run


def continuous(job: Job) -> Callable[[], dict[str, Any]]:
    """transformers' own continuous batching, the prompt shared by its K samples."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    model, prompts = load(job).model, prompt_ids(job)
    settings = GenerationConfig(**generation(job))
    batching = ContinuousBatchingConfig(
        seed=1, page_size=32, num_blocks=2048, max_batch_tokens=1024, max_requests_per_batch=job.rows
    )

    def run() -> dict[str, Any]:
        answers = model.generate_batch(
            [list(ids) for ids in prompts],
            generation_config=settings,
            continuous_batching_config=batching,
            progress_bar=False,
        )
        if errors := [answer.error for answer in answers.values() if answer.error]:
            raise SystemExit(f"Continuous batching failed: {errors[0]}")
        return {"tokens": sum(len(a.generated_tokens) for a in answers.values()), "samples": len(answers)}

    return run


def generation(job: Job) -> dict[str, Any]:
    """The same sampling as ours. The default of transformers keeps only the 50 likeliest tokens."""
    return {
        "do_sample": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "max_new_tokens": job.max_new_tokens,
        "num_return_sequences": job.k,
        "eos_token_id": END_IDS,
        "pad_token_id": 0,
    }


def up_to_the_end(ids: list[int]) -> list[int]:
    ends = set(END_IDS)
    end = next((at for at, each in enumerate(ids) if each in ends), len(ids) - 1)
    return ids[: end + 1]


def ours(job: Job) -> Callable[[], dict[str, Any]]:
    from models_worker.engine.transformers_engine import TransformersSampler
    from models_worker.engine.types import SampleRequest, SampleResult, SamplingParams

    sampler = TransformersSampler(load(job), max_rows=job.rows, kv_budget_bytes=job.kv_budget_bytes)
    params = SamplingParams(max_new_tokens=job.max_new_tokens)
    requests = [
        SampleRequest(str(number), k, ids, params, seed=1000 * number + k)
        for number, ids in enumerate(prompt_ids(job))
        for k in range(job.k)
    ]
    results: list[SampleResult] = []

    def run() -> dict[str, Any]:
        sampler.sample(requests, on_result=results.append)
        if errors := [result.error for result in results if result.error]:
            raise SystemExit(f"A sample failed: {errors[0]}")
        # By prompt and k, so that two runs can be compared sample by sample.
        texts = {f"{r.prompt_id}/{r.k}": hashlib.sha256(repr(r.token_ids).encode()).hexdigest()[:12] for r in results}
        return {"tokens": sum(len(r.token_ids) for r in results), "samples": len(results), "texts": texts}

    warm = [replace(requests[0], params=replace(params, max_new_tokens=4))]
    sampler.sample(warm, on_result=lambda _result: None)
    return run


def shares(job: Job) -> Callable[[], dict[str, Any]]:
    """The share of each part of ours in the CPU time."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    from models_worker.engine import decoding

    run, watch = ours(job), Stopwatch()
    model = load(job).model
    model.forward = watch.around("linear", model.forward)
    attention = model.config._attn_implementation
    ALL_ATTENTION_FUNCTIONS.register(attention, watch.around("attention", ALL_ATTENTION_FUNCTIONS[attention]))
    batch: Any = decoding.Batch
    batch.join = watch.around("join", batch.join)
    batch.step = watch.around("step", batch.step)
    decoding.draw = watch.around("sampling", decoding.draw)  # type: ignore[assignment]

    def measured() -> dict[str, Any]:
        begun = time.process_time()
        figures = run()
        whole = time.process_time() - begun
        spent = watch.spent
        parts = {
            "prefill": spent["join/linear"] + spent["join/linear/attention"],
            "decode: attention": spent["step/linear/attention"],
            "decode: the rest of the model": spent["step/linear"],
            "sampling": spent["join/sampling"] + spent["step/sampling"],
            "copying prompts to their rows": spent["join"],
        }
        parts["Python and bookkeeping"] = whole - sum(parts.values())
        return figures | {"shares": {name: round(part / whole, 3) for name, part in parts.items()}}

    return measured


class Stopwatch:
    """CPU seconds by nesting, each without what is measured inside of it."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = dict.fromkeys(
            (
                *("join", "join/linear", "join/linear/attention", "join/sampling"),
                *("step", "step/linear", "step/linear/attention", "step/sampling"),
            ),
            0.0,
        )
        self.open: list[str] = []

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            outer = "/".join(self.open)
            self.open.append(name)
            begun = time.process_time()
            try:
                return function(*given, **named)
            finally:
                seconds = time.process_time() - begun
                inner = "/".join(self.open)
                self.open.pop()
                self.spent[inner] = self.spent.get(inner, 0.0) + seconds
                if outer:
                    self.spent[outer] = self.spent.get(outer, 0.0) - seconds

        return timed


def vllm(job: Job) -> Callable[[], dict[str, Any]]:
    """vLLM in this process, n=K. Needs a Python that has it, see --vllm."""
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"}
    from vllm import LLM, SamplingParams, TokensPrompt

    prompts = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompt_ids(job)]
    engine = LLM(
        job.folder,
        dtype=job.dtype,
        max_model_len=1024,
        max_num_seqs=job.rows,
        enforce_eager=True,
        enable_chunked_prefill=False,
        disable_log_stats=True,
    )
    # The samples of a prompt take this seed and the next ones. With one seed for all prompts, this random policy would
    # write the same K texts for each prompt.
    params = [
        SamplingParams(
            n=job.k,
            temperature=1.0,
            max_tokens=job.max_new_tokens,
            stop_token_ids=END_IDS,
            seed=1000 * number,
        )
        for number in range(len(prompts))
    ]

    def run() -> dict[str, Any]:
        answers = [each for out in engine.generate(prompts, params, use_tqdm=False) for each in out.outputs]
        return {"tokens": sum(len(each.token_ids) for each in answers), "samples": len(answers)}

    # Not the tokens of the prompts, whose prefixes would be cached.
    engine.generate([TokensPrompt(prompt_token_ids=[7001] * 64)], SamplingParams(max_tokens=4), use_tqdm=False)
    return run


def repeated(job: Job) -> Callable[[], dict[str, Any]]:
    """Tokens a second on a GPU: the median of three runs, because the first ones load kernels."""
    inner = METHODS[job.extra["method"]](job)

    def run() -> dict[str, Any]:
        import torch

        rates = []
        for _ in range(3):
            begun = time.perf_counter()
            tokens = inner()["tokens"]
            if job.device.startswith("cuda"):
                torch.cuda.synchronize()
            rates.append(tokens / (time.perf_counter() - begun))
        return {"tokens": 0, "samples": 0, "tokens_per_s": statistics.median(rates)}

    return run


METHODS: dict[str, Callable[[Job], Callable[[], dict[str, Any]]]] = {
    "naive": naive,
    "batched": batched,
    "continuous": continuous,
    "ours": ours,
    "shares": shares,
    "vllm": vllm,
    "repeated": repeated,
}


def peak_mb() -> float:
    # Linux counts kilobytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def measure(job: Job) -> dict[str, Any]:
    if job.method == "policy":
        make_policy(Path(job.folder), job.shape)
        return {}
    run = METHODS[job.method](job)
    before, cpu, wall = peak_mb(), time.process_time(), time.perf_counter()
    figures = run()
    seconds = time.process_time() - cpu
    return figures | {
        "cpu_s": round(seconds, 3),
        "wall_s": round(time.perf_counter() - wall, 3),
        "tok_per_cpu_s": round(figures["tokens"] / seconds, 1),
        "tok_per_s": round(figures["tokens"] / (time.perf_counter() - wall), 1),
        "peak_mb": round(peak_mb(), 1),
        "grown_mb": round(peak_mb() - before, 1),
    }


if __name__ == "__main__":
    print(json.dumps([measure(Job(**job)) for job in json.loads(sys.argv[1])]))
