"""One side of an exchange of large best-effort messages: ``large_messages.py publish|receive PROFILE [PATIENCE_S]``."""

import array
import contextlib
import sys
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Empty

from vizloc_ros.ros.dds_profile import ensure_profile

COUNT = 40
SIZE = 1_000_000
PERIOD_S = 0.05
# Nothing may be dropped for a full history: what is missing was lost on the way.
QOS = QoSProfile(depth=COUNT, reliability=ReliabilityPolicy.BEST_EFFORT)


def publish() -> None:
    """Repeats message 0 until the receiver answers, so that discovery is over, sends the others, until SIGTERM."""
    node = rclpy.create_node("publisher")
    publisher = node.create_publisher(Image, "image", QOS)
    answered = []
    node.create_subscription(Empty, "answer", answered.append, 1)
    message = Image(data=array.array("B", bytes(SIZE)))
    number = 0

    def send() -> None:
        nonlocal number
        number = min(number + bool(answered), COUNT - 1)
        message.header.frame_id = str(number)
        publisher.publish(message)

    node.create_timer(PERIOD_S, send)
    rclpy.spin(node)


def receive(patience_s: float) -> None:
    """Prints how many different messages arrived before the last one; ends with that, or when patience is over."""
    arrived = set()
    node = rclpy.create_node("receiver")
    answer = node.create_publisher(Empty, "answer", 1)

    def take(message: Image) -> None:
        arrived.add(int(message.header.frame_id))
        answer.publish(Empty())

    node.create_subscription(Image, "image", take, QOS)
    deadline = time.monotonic() + patience_s
    while COUNT - 1 not in arrived and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    sys.stdout.write(f"{len(arrived)}\n")


if __name__ == "__main__":
    ensure_profile(sys.argv[2])  # type: ignore[arg-type]
    rclpy.init()
    with contextlib.suppress(ExternalShutdownException):
        if sys.argv[1] == "publish":
            publish()
        else:
            receive(float(sys.argv[3]) if len(sys.argv) > 3 else 20.0)
    rclpy.try_shutdown()
