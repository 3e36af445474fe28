"""Torch shares the machine with the tests of other processes."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> Iterator[None]:
    """Compute with one thread; those of processes that tests start sleep while they wait."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_num_threads", lambda _: None)
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        yield
