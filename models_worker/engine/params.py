"""Where the seed of a sample comes from."""

from hashlib import blake2b

# 31 bits: every sampling server takes such a seed, and so does a signed 32-bit column.
SEED_BITS = 31


def derive_seed(job_seed: int, policy_revision: str, prompt_id: str, k: int, attempt: int = 0) -> int:
    """The seed of one sample, 0 <= seed < 2**31: the same for the same five values on every machine.

    A retry after a failure keeps its attempt and so its text; asking for another text is another attempt.
    """
    named = f"{job_seed}\0{policy_revision}\0{prompt_id}\0{k}\0{attempt}"
    digest = blake2b(named.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & ((1 << SEED_BITS) - 1)
