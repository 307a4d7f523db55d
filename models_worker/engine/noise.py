"""Draw tokens so that a sample depends only on its seed.

The token with the largest logit/T + g, with standard Gumbel noise g, is a draw from softmax(logit/T). Here g is a hash
of (seed, step, token id). So draws do not depend on the batch, and the small errors of bf16 rarely change a token.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models_worker.engine import cpu

# SplitMix64 (Steele, Lea, Flood 2014), as signed numbers: torch multiplies int64 modulo 2**64.
GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
MIX_2 = 0x94D049BB133111EB - (1 << 64)

UNIFORM_BITS = 40


@dataclass
class Draws:
    """Parameters of the next draw, all [rows]. seed, step (tokens drawn so far): int64. temperature: float32. top_p:
    float64."""

    seed: Tensor
    step: Tensor
    temperature: Tensor
    top_p: Tensor

    @staticmethod
    def empty(rows: int, device: torch.device) -> "Draws":
        return Draws(
            seed=torch.zeros(rows, dtype=torch.int64, device=device),
            step=torch.zeros(rows, dtype=torch.int64, device=device),
            temperature=torch.ones(rows, dtype=torch.float32, device=device),
            top_p=torch.ones(rows, dtype=torch.float64, device=device),
        )

    def view(self, rows: slice) -> "Draws":
        return Draws(*(getattr(self, field.name)[rows] for field in fields(self)))

    def move(self, source: Tensor, target: Tensor) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            values[target] = values[source]


@dataclass(frozen=True)
class Drawn:
    """broken: the token is meaningless, because the logits contain NaN or are infinite."""

    tokens: Tensor
    logprobs: Tensor
    broken: Tensor


def draw(logits: Tensor, draws: Draws) -> Drawn:
    """Draw one token per row and advance the step. logits: [rows, vocabulary]. logprobs: natural logs, before
    temperature and top_p."""
    compiled = cpu.covers(logits)
    normaliser = cpu.log_sum_exp(logits) if compiled else logits.float().logsumexp(-1)
    # Finite unless a logit is NaN or +inf, or all are -inf.
    broken = ~normaliser.isfinite()
    choice, temperature = logits, draws.temperature
    if bool((draws.top_p < 1).any()):
        choice = nucleus(scaled(logits, temperature), draws.top_p)
        # Already divided; 0 still means no noise.
        temperature = temperature.clamp(max=1).ceil()
    stream = stream_of(draws.seed, draws.step)
    if compiled:
        tokens = cpu.pick(choice, temperature, stream)
    else:
        noise = gumbel(stream, logits.shape[1]).masked_fill_((temperature == 0)[:, None], 0.0)
        # Broken rows need a valid token.
        tokens = noise.add_(scaled(choice, temperature)).masked_fill_(broken[:, None], 0.0).argmax(-1)
    draws.step += 1
    logprobs = logits.gather(1, tokens[:, None])[:, 0].float() - normaliser
    return Drawn(tokens=tokens, logprobs=logprobs, broken=broken)


def scaled(logits: Tensor, temperature: Tensor) -> Tensor:
    """logits / temperature, [rows, vocabulary] float32; unchanged for temperature 0."""
    return logits.float() / temperature.masked_fill(temperature == 0, 1.0)[:, None]


def nucleus(logits: Tensor, top_p: Tensor) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probability reaches top_p, and set the others to -inf.

    logits: [rows, vocabulary]. top_p: [rows]. Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".
    """
    likeliest, order = torch.softmax(logits, -1).sort(dim=-1, descending=True, stable=True)
    before = likeliest.double().cumsum(-1) - likeliest
    # A row with top_p 1 keeps all tokens, although a float sum may exceed 1.
    outside = (before >= top_p[:, None]) & (top_p < 1)[:, None]
    return logits.masked_fill(torch.zeros_like(outside).scatter_(1, order, outside), -torch.inf)


def stream_of(seed: Tensor, step: Tensor) -> Tensor:
    """[rows] int64."""
    # From 1, because _mix(0) is 0 and seed 0 would always draw token 0 first.
    return _mix(_mix((seed + 1) * GOLDEN) + (step + 1) * GOLDEN)


def gumbel(stream: Tensor, vocabulary: int) -> Tensor:
    """[rows, vocabulary] float32."""
    counter = torch.arange(1, vocabulary + 1, dtype=torch.int64, device=stream.device) * GOLDEN
    # In place: these are the largest tensors.
    bits = _shift(_mix(stream[:, None] + counter), 64 - UNIFORM_BITS)
    # log1p(-u) takes the largest noise from u near 0, where floats are finest. No u may round to 1.
    uniform = bits.float().add_(0.5).mul_(2.0**-UNIFORM_BITS).clamp_(max=1 - 2**-24)
    exponential = uniform.neg_().log1p_().neg_()
    return exponential.log_().neg_()


def _mix(x: Tensor) -> Tensor:
    """Overwrites x."""
    x = x.bitwise_xor_(_shift(x, 30)).mul_(MIX_1)
    x = x.bitwise_xor_(_shift(x, 27)).mul_(MIX_2)
    return x.bitwise_xor_(_shift(x, 31))


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift right; torch's own shift copies the sign."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)
