"""Bond with a lifecycle manager, which learns by it that the process has ended; where bondpy is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_PERIOD_S = 0.1  # as the nodes of Navigation2


class _Entity:
    """Publisher or subscription of a bond, which bondpy would destroy behind the back of the node's executor.

    After the end of ROS, the bond's thread publishes in vain and without a traceback.
    """

    def __init__(self, node: Any, entity: Any, destroy: Callable[[Any], bool]) -> None:
        self._node, self._entity, self._destroy = node, entity, destroy

    def publish(self, message: Any) -> None:
        """Publish a message, unless that is refused."""
        self._node.diagnostics.send(self._entity, message)

    def destroy(self) -> None:
        """Destroy the entity."""
        self._destroy(self._entity)


def form_bond(node: Any) -> Any:
    """Form the bond of an active node with diagnostics; ``shutdown`` of the result ends it. None without bondpy."""
    try:
        from bondpy.bondpy import Bond
    except ImportError:  # it has no wheel
        return None
    bond = Bond(node, "bond", node.get_name())
    bond.pub = _Entity(node, bond.pub, node.destroy_publisher)
    bond.heartbeat_period = _PERIOD_S
    bond.start()
    bond.sub = _Entity(node, bond.sub, node.destroy_subscription)
    return bond
