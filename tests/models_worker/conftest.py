from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models_worker.engine.loader import LoadedPolicy, forget_policies, load_policy
from tests.models_worker.tiny import save_tiny


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def policy_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedPolicy]:
    """A tiny policy of an architecture; made once, and not to be changed."""
    made: dict[str, LoadedPolicy] = {}

    def of(architecture: str) -> LoadedPolicy:
        if architecture not in made:
            folder: Path = save_tiny(tmp_path_factory.mktemp(architecture), architecture)
            made[architecture] = load_policy(str(folder), device="cpu")
            forget_policies()
        return made[architecture]

    return of


@pytest.fixture(scope="session")
def llama(policy_of: Callable[[str], LoadedPolicy]) -> LoadedPolicy:
    return policy_of("llama")
