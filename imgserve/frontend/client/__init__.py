"""The frontend's way to a backend: every answer a type of the contract, every failure one error."""

from imgserve.frontend.client.backend import BackendClient
from imgserve.frontend.client.connecting import connect
from imgserve.frontend.client.waking import may_wake, retry_while_waking

__all__ = ["BackendClient", "connect", "may_wake", "retry_while_waking"]
