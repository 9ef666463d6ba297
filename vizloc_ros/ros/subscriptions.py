"""Subscription to what may be latched: in ROS 2, one subscription cannot serve publishers of either durability.

A volatile one hears every publisher, but gets nothing of before. A transient local one gets it, but does not hear
volatile publishers, and these warn of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import SubscriptionEventCallbacks

_LOOK_SECONDS = 0.5


def subscribe_to_either(
    node: Any, message_type: Any, topic: str, callback: Callable[[Any], None], profile: QoSProfile
) -> None:
    """Subscribe to a topic whether its publisher latches it or not. What comes on both subscriptions is delivered once.

    With a volatile profile, the second subscription waits for a publisher that latches, so that no driver warns.

    Args:
        node: the node.
        message_type: class of the messages.
        topic: the topic.
        callback: receiver of the messages.
        profile: quality of service of the topic, of the durability that is usual for it.
    """
    last: list[Any] = [None, None]  # the message delivered last, and the durability of the subscription it came on

    def receiver(durability: DurabilityPolicy) -> Callable[[Any], None]:
        def receive(msg: Any) -> None:
            if last[1] not in (None, durability) and msg == last[0]:
                return
            last[:] = msg, durability
            callback(msg)

        return receive

    def subscribe(durability: DurabilityPolicy) -> None:
        latched = durability is DurabilityPolicy.TRANSIENT_LOCAL
        # What was published before is only sent to reliable subscriptions.
        reliability = ReliabilityPolicy.RELIABLE if latched else profile.reliability
        node.create_subscription(
            message_type,
            topic,
            receiver(durability),
            QoSProfile(depth=profile.depth, reliability=reliability, durability=durability),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),  # no warnings: the other hears
        )

    subscribe(DurabilityPolicy.VOLATILE)
    if profile.durability is DurabilityPolicy.TRANSIENT_LOCAL:
        subscribe(DurabilityPolicy.TRANSIENT_LOCAL)
        return
    resolved = node.resolve_topic_name(topic)

    def look() -> None:
        publishers = node.get_publishers_info_by_topic(resolved)
        if any(one.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL for one in publishers):
            timer.cancel()
            subscribe(DurabilityPolicy.TRANSIENT_LOCAL)

    timer = node.create_timer(_LOOK_SECONDS, look, clock=Clock(clock_type=ClockType.STEADY_TIME))
