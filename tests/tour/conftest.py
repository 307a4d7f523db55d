from collections.abc import Iterator

import pytest

from tests.tour.platform import Platform, running


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The running platform with its demonstration data, shared by the tests of one file."""
    with running(tmp_path_factory.mktemp("platform")) as up:
        yield up
