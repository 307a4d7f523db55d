import math

from models_worker.engine.types import Sampler, SampleResult

# Further digits of a logprob are numerical noise.
DIGITS = 6


def told(sampler: Sampler, result: SampleResult, *, prompt_sha256: str, keep_tokens: bool) -> dict[str, object]:
    """As JSON values; with token ids and logprobs only if `keep_tokens`."""
    known = {
        **sampler.provenance,
        **result.provenance,
        "prompt_sha256": prompt_sha256,
        "prompt_tokens": result.prompt_tokens,
        "truncated_prompt": result.truncated_prompt,
        "sum_logprob": _finite(result.sum_logprob),
    }
    if keep_tokens:
        known |= {"token_ids": list(result.token_ids), "logprobs": [_finite(each, DIGITS) for each in result.logprobs]}
    return known


def _finite(logprob: float | None, digits: int | None = None) -> float | None:
    """JSON has no NaN or infinity."""
    if logprob is None or not math.isfinite(logprob):
        return None
    return logprob if digits is None else round(logprob, digits)
