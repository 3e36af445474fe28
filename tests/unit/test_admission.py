import pytest

from imgserve.backend.admission import Admission
from imgserve.errors import Busy


@pytest.mark.parametrize("capacity", [1, 3])
def test_as_many_as_there_are_places_are_admitted_and_one_more_is_refused(capacity: int) -> None:
    admission = Admission(capacity)
    inside = [admission.admitted() for _ in range(capacity)]
    for place in inside:
        place.__enter__()
    assert admission.inside == capacity
    with pytest.raises(Busy, match="try again"), admission.admitted():
        pass
    inside.pop().__exit__(None, None, None)
    with admission.admitted():
        pass


def test_a_place_is_given_back_also_after_an_error() -> None:
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="wrong"), admission.admitted():
            raise ValueError("wrong")
    assert admission.inside == 0
