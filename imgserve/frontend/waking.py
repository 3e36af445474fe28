"""Ask again while a backend wakes up."""

from collections.abc import Callable
from typing import TypeVar

import requests
import tenacity

from imgserve.errors import BackendNotReady, BackendUnreachable

T = TypeVar("T")

# What a platform answers in the place of a container that is starting or gone; Cloud Run says 429
# or 503 while no instance is free (run docs, troubleshooting), load balancers 502 or 504.
WAKING_STATUSES = frozenset({429, 502, 503, 504})


def retry_while_waking(
    call: Callable[[], T], *, timeout_s: float, on_wait: Callable[[], None]
) -> T:
    """Return what ``call`` returns, trying again while its backend may be waking up.

    Args:
        call: raises a ``BackendError`` when it has no answer.
        timeout_s: start no attempt later than this after the first.
        on_wait: called before each pause, to tell the person.

    Raises:
        BackendError: the last attempt's, or the first that waiting cannot mend.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_wake),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=3, jitter=0.5),
        stop=tenacity.stop_before_delay(timeout_s),
        before_sleep=lambda _: on_wait(),
        reraise=True,
    )
    return attempts(call)


def may_wake(error: BaseException) -> bool:
    """Return whether the backend behind this failure may answer in a while."""
    if isinstance(error, BackendUnreachable):
        cause = error.__cause__
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            return cause.response.status_code in WAKING_STATUSES
        return isinstance(cause, requests.RequestException)  # refused, unknown host, cut short
    return isinstance(error, BackendNotReady)
