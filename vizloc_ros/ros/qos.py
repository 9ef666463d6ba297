"""Quality of service of every topic."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# Best effort, so that it matches drivers of either kind. Five deep: the executor is never busy for long, and the queue
# behind it keeps the newest only. Messages that this queue drops are counted; those that the middleware drops are not.
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)

# Some hundred messages a second: none is lost while the executor is busy for half a second.
RATES = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)

# Between our nodes: a lost part would waste the joined whole; four frames are older than anyone waits for.
FEATURES = QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)

# Published once, and must reach those who subscribe later: map points, keyframes.
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)

# The tracker's state: the newest for those who subscribe later, and every one for those who have subscribed.
STATE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)

POSE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
DIAGNOSTICS = POSE

# As in tf2_ros: every static broadcaster latches its own message, a listener takes all of them.
TF = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
TF_STATIC = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
