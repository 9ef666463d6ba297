"""Services without arguments, of the type ``std_srvs/Trigger``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from std_srvs.srv import Trigger

from vizloc_ros.errors import VizlocError


def trigger_service(node: Any, name: str, act: Callable[[], None], done: str) -> None:
    """Offer a service of a node, ``~/NAME``, which answers at once.

    Args:
        node: the node.
        name: name of the service.
        act: action; a ``VizlocError`` is answered as the reason why it was not possible.
        done: answer for what was done.
    """

    def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            act()
            response.success, response.message = True, done
        except VizlocError as error:
            response.message = str(error)
        return response

    node.create_service(Trigger, f"~/{name}", answer)
