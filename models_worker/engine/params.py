"""The seed of a sample."""

from hashlib import blake2b

# Every server and a signed 32-bit column take 31 bits.
SEED_BITS = 31


def derive_seed(job_seed: int, policy_revision: str, prompt_id: str, k: int, attempt: int = 0) -> int:
    """0 <= seed < 2**31. A retry after a failure keeps its attempt, and so its text."""
    named = f"{job_seed}\0{policy_revision}\0{prompt_id}\0{k}\0{attempt}"
    digest = blake2b(named.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & ((1 << SEED_BITS) - 1)
