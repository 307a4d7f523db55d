"""Tiny policies with random weights, saved to a folder and loaded as any other.

Their weights are large (initializer_range 0.3), so that what a model attends to shows: with the usual 0.02 every
prompt has nearly the same next token, and a wrong mask would pass for a right one.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from models_worker.engine.loader import LoadedPolicy
from models_worker.engine.types import Sampler, SampleRequest, SampleResult, SamplingParams

SPECIAL = ("<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MAX_MODEL_LEN = 256
VOCABULARY = 300

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": MAX_MODEL_LEN,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": MAX_MODEL_LEN}
IDS = {name: SHAPE[name] for name in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")}
OPT = {name: SHAPE[name] for name in SHAPE if name in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
OPT |= IDS | {"ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": MAX_MODEL_LEN, "init_std": 0.3}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": SHAPE,
    "gpt2": {**GPT2, **{k: SHAPE[k] for k in ("vocab_size", "initializer_range", "bos_token_id", "eos_token_id")}},
    "gpt_neox": SHAPE,
    "opt": OPT,
    "phi": SHAPE,
    "phi3": SHAPE | {"sliding_window": 16},
    "falcon": {k: SHAPE[k] for k in SHAPE if k not in ("num_key_value_heads", "head_dim", "intermediate_size")},
    "olmo2": SHAPE,
    "mixtral": SHAPE | {"num_local_experts": 4},
    "qwen2": SHAPE,
    "qwen3": SHAPE,
    "gemma2": SHAPE | {"sliding_window": 16, "query_pre_attn_scalar": 8},
    "mistral": SHAPE | {"sliding_window": 16},
    # It keeps other keys than it attends to.
    "deepseek_v3": SHAPE
    | {"num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4}
    | {"v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
    | {"moe_intermediate_size": 16, "n_shared_experts": 1, "first_k_dense_replace": 1, "head_dim": 4},
    "jetmoe": {k: SHAPE[k] for k in SHAPE if k not in ("num_attention_heads", "head_dim")}
    | {"kv_channels": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    # Its window is written down, and nothing looks through it.
    "moshi": SHAPE | {"sliding_window": 16, "ffn_dim": 64},
    # Where a token stands is a matter of columns, which the cache's rows do not share.
    "bloom": IDS | {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
    "mpt": IDS | {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": MAX_MODEL_LEN, "initializer_range": 0.3},
    # Its attention counts columns, and a row of the arena does not begin at column 0.
    "llama4_text": SHAPE | {"attention_chunk_size": 8, "intermediate_size_mlp": 64, "num_local_experts": 2},
    # Its past is a state, which no mask can hide.
    "mamba": {
        k: SHAPE[k] for k in ("vocab_size", "hidden_size", "num_hidden_layers", "initializer_range", "eos_token_id")
    }
    | {"state_size": 4},
}


def tiny_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Bytes, and a begin-of-text token that it adds by itself, as many tokenizers do."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bare.train_from_iterator(
        [],
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    bare.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(SPECIAL[3:]),
        chat_template=template,
    )


def save_tiny(
    folder: Path, architecture: str = "llama", *, seed: int = 0, template: str | None = TEMPLATE, **changes: Any
) -> Path:
    """A policy that ends an answer with any of ten tokens, so that its answers have many lengths.

    changes: to the architecture's configuration.
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[architecture](**ARCHITECTURES[architecture] | changes))
    model.generation_config = GenerationConfig(eos_token_id=[2, *range(250, 259)], pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    tiny_tokenizer(template).save_pretrained(folder)
    return folder


def save_lora(checkpoint: Path, folder: Path, *, seed: int = 0) -> Path:
    """A LoRA adapter to a tiny llama, with random weights."""
    # It takes seconds, and few tests need it.
    import peft

    torch.manual_seed(seed)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    peft.get_peft_model(model, config).save_pretrained(folder)
    return folder


# bitsandbytes takes numbers in blocks of 64.
WIDE = {"hidden_size": 64, "head_dim": 16, "intermediate_size": 128}

PROMPTS = (
    "Hi",
    "Why is the sky blue?",
    "Tell me about the sea and the wind.",
    "Name three fruits, and say which of them you would take along on a long journey.",
    "2 + 2 =",
    "Write a story about a lamp that could not sleep.",
)


def requests_for(
    policy: LoadedPolicy, *, k: int = 3, seed: int = 0, temperatures: tuple[float, ...] = (1.0, 0.7, 1.3), **params: Any
) -> list[SampleRequest]:
    """K samples of each of PROMPTS, which differ in temperature and top_p."""
    chosen = {"max_new_tokens": 40, **params}
    return [
        SampleRequest(
            prompt_id=f"p{number}",
            k=each,
            prompt_ids=policy.render([{"role": "user", "content": text}], max_new_tokens=chosen["max_new_tokens"]).ids,
            params=SamplingParams(
                temperature=temperatures[each % len(temperatures)], **({"top_p": (1.0, 0.9)[each % 2]} | chosen)
            ),
            seed=seed + 1000 * number + each,
        )
        for number, text in enumerate(PROMPTS)
        for each in range(k)
    ]


def sample_all(sampler: Sampler, requests: list[SampleRequest]) -> dict[tuple[str, int], SampleResult]:
    """The results by prompt and k; fails if one comes twice or not at all."""
    results: dict[tuple[str, int], SampleResult] = {}

    def keep(result: SampleResult) -> None:
        assert (result.prompt_id, result.k) not in results
        results[result.prompt_id, result.k] = result

    sampler.sample(requests, on_result=keep)
    assert results.keys() == {(request.prompt_id, request.k) for request in requests}
    return results


@torch.inference_mode()
def teacher_forced(policy: LoadedPolicy, request: SampleRequest, token_ids: tuple[int, ...]) -> list[float]:
    """The natural log of the probability of each of token_ids after the request's prompt and those before it.

    In one forward without a cache, at temperature 1.
    """
    whole = torch.tensor([[*request.prompt_ids, *token_ids]])
    logprobs = policy.model(input_ids=whole, use_cache=False).logits.float().log_softmax(-1)
    answer = logprobs[0, len(request.prompt_ids) - 1 : -1]
    return [float(each) for each in answer.gather(1, torch.tensor(token_ids)[:, None])[:, 0]]
