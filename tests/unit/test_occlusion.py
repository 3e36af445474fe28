"""Where a model looked, of models that look at a place the tests know."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest

from imgserve.errors import Busy, InvalidRequest
from imgserve.models.classifier import occlusion
from imgserve.models.transform import Crop

SIDE = 64


def lit(y: int, x: int) -> Crop:
    """Return a dark picture with one bright spot."""
    picture = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    picture[0, y, x] = 255
    return picture


def brightest(seen: Crop) -> np.ndarray:
    """Return the probabilities of a model that knows no more than the brightest spot."""
    return seen.max(keepdims=True)[0, 0] / np.float32(255)


def explain(
    picture: Crop, inference_s: float = 0.0, *, engine: Callable[[Crop], np.ndarray] = brightest
) -> list[list[float]]:
    """Return where such a model looks."""
    return occlusion(engine, picture, brightest(picture)[0], inference_s=inference_s, limit_s=6.4)


@pytest.mark.parametrize(("y", "x"), [(4, 4), (4, 60), (28, 36), (60, 4), (60, 60)])
def test_the_place_that_matters_is_1_and_places_far_away_are_0(y: int, x: int) -> None:
    picture = lit(y, x)
    shares = np.array(explain(picture))
    assert picture.max() == 255  # it stays as it is
    assert shares.shape == (8, 8)
    assert shares[y // 8, x // 8] == 1
    rows, columns = np.nonzero(shares)
    assert max(abs(rows - y // 8)) <= 1
    assert max(abs(columns - x // 8)) <= 1


def test_where_nothing_matters_all_is_0() -> None:
    assert not np.any(explain(np.full((1, SIDE, SIDE, 3), 9, np.uint8)))


def test_what_is_likelier_when_covered_does_not_matter() -> None:
    assert not np.any(explain(lit(4, 4), engine=lambda seen: 2 - brightest(seen)))


@pytest.mark.parametrize(("inference_s", "side"), [(0.1, 8), (0.101, 4), (0.4, 4)])
def test_the_finest_grid_that_fits_into_the_time_is_used(inference_s: float, side: int) -> None:
    assert np.array(explain(lit(4, 4), inference_s)).shape == (side, side)


def test_a_model_that_is_too_slow_says_so() -> None:
    with pytest.raises(InvalidRequest, match=r"took 0\.4 s for the picture, too long"):
        explain(lit(4, 4), 0.401)


@pytest.mark.parametrize(("look_s", "ends"), [(0.2, True), (0.21, False)])
def test_it_ends_when_it_takes_twice_the_time(
    look_s: float, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Crop] = []

    def look(seen: Crop) -> np.ndarray:
        looks.append(seen)
        return brightest(seen)

    monkeypatch.setattr("imgserve.models.classifier.perf_counter", lambda: len(looks) * look_s)
    with nullcontext() if ends else pytest.raises(Busy, match="ask again, or without explain"):
        explain(lit(4, 4), engine=look)
    assert len(looks) == (64 if ends else 61)
