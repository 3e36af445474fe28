import threading

import pytest

from imgserve.backend.admission import Gate
from imgserve.errors import Busy
from tests.unit.waiting import wait_until


@pytest.mark.parametrize(("slots", "max_queue"), [(1, 0), (1, 2), (3, 4)])
def test_as_many_as_slots_and_queue_hold_are_admitted_and_one_more_is_refused(
    slots: int, max_queue: int
) -> None:
    gate = Gate(slots=slots, max_queue=max_queue)
    inside = [gate.admitted() for _ in range(slots + max_queue)]
    for each in inside:
        each.__enter__()
    assert gate.waiting == slots + max_queue
    with pytest.raises(Busy, match="try again"), gate.admitted():
        pass
    inside.pop().__exit__(None, None, None)
    with gate.admitted():
        pass


def test_a_place_is_given_back_also_after_an_error() -> None:
    gate = Gate(slots=1, max_queue=0)
    for _ in range(3):
        with pytest.raises(ValueError, match="wrong"), gate.admitted(), gate.slot():
            raise ValueError("wrong")
    assert gate.waiting == 0
    assert gate.computing == 0


def test_no_more_than_the_slots_compute_at_once() -> None:
    gate = Gate(slots=2, max_queue=6)
    most, go = 0, threading.Barrier(8)
    lock = threading.Lock()

    def work() -> None:
        nonlocal most
        go.wait()
        with gate.admitted():
            for _ in range(50):
                with gate.slot(), lock:
                    most = max(most, gate.computing)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 2
    assert (gate.waiting, gate.computing) == (0, 0)


def test_waiting_are_those_inside_that_do_not_compute() -> None:
    gate = Gate(slots=1, max_queue=2)
    with gate.admitted(), gate.admitted():
        assert (gate.waiting, gate.computing) == (2, 0)
        with gate.slot():
            assert (gate.waiting, gate.computing) == (1, 1)


def test_who_waited_longest_is_next() -> None:
    """Also before one who comes at the very moment when a slot becomes free."""
    gate = Gate(slots=1, max_queue=8)
    served: list[int] = []

    def work(number: int) -> None:
        with gate.slot():
            served.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    with gate.slot():
        for number, thread in enumerate(threads, start=1):
            thread.start()
            wait_until(lambda: len(gate._queue) == number)  # noqa: B023  it is called at once
    with gate.slot():
        served.append(5)
    for thread in threads:
        thread.join()
    assert served == [0, 1, 2, 3, 4, 5]
