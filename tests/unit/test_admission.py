import pytest

from imgserve.backend.admission import Admission, Held
from imgserve.errors import Busy

LIMIT = 100_000  # bytes


def test_a_place_and_what_it_holds_are_given_back_also_after_an_error() -> None:
    admission = Admission(1, LIMIT, picture_bytes=0)
    for _ in range(3):
        with pytest.raises(Busy, match="60000 bytes"):
            _take_more_than_fits(admission)
    assert (admission.inside, admission.held_bytes) == (0, 0)


def _take_more_than_fits(admission: Admission) -> None:
    with admission.admitted() as held:
        held.require(60_000)
        held.require(60_000)


def test_bytes_are_held_up_to_the_limit_and_not_after_they_were_given_back() -> None:
    admission = Admission(1, LIMIT, picture_bytes=0)
    first, second = Held(admission), Held(admission)
    first.require(60_000)
    with pytest.raises(Busy, match="try again"):
        second.require(50_000)
    second.require(40_000)
    first.release()
    assert admission.held_bytes == 40_000
    with pytest.raises(Busy):  # a fetch that outlives its request
        first.require(1)
