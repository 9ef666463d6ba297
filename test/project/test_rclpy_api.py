"""Every release of ROS 2 that is supported has what the package uses of rclpy, as it is used."""

from __future__ import annotations

import ast
import re

import pytest
from rclpy_kinds import evaluates_annotations
from rclpy_releases import read_releases
from rclpy_usage import Sources, package_sources, table
from repository import REPOSITORY

pytestmark = pytest.mark.e2e

RELEASES = read_releases()
ALL = "humble, iron, jazzy, kilted, lyrical, rolling"
INSTALL = REPOSITORY / "docs" / "install.md"


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources(package_sources(), RELEASES)


def test_the_data_are_of_all_releases() -> None:
    assert ", ".join(release.name for release in RELEASES) == ALL


def test_every_release_has_what_the_package_uses(sources: Sources) -> None:
    problems = [str(one) for one in sources.problems()]
    assert not problems, "\n".join(problems)


def test_the_uses_are_found(sources: Sources) -> None:
    """A check that sees nothing would pass."""
    used = {path for file, use in sources.uses() if not file.startswith("test/") for path in use.paths}
    assert used >= {
        "rclpy.clock.ClockType.STEADY_TIME",
        "rclpy.executors.SingleThreadedExecutor.add_node",
        "rclpy.impl.implementation_singleton.rclpy_implementation.RCLError",
        "rclpy.impl.rcutils_logger.RcutilsLogger.warning",
        "rclpy.node.Node._parameter_overrides",
        "rclpy.node.Node.create_subscription",
        "rclpy.parameter.Parameter.Type.BOOL_ARRAY",
        "rclpy.publisher.Publisher.get_subscription_count",
        "rclpy.time.Time.nanoseconds",
        "rclpy.timer.Timer.cancel",
    }


def test_annotations_are_not_evaluated_where_ros_is_imported(sources: Sources) -> None:
    package = {file: tree for file, tree in sources.trees.items() if file.startswith("vizloc_ros/")}
    assert [file for file, tree in package.items() if evaluates_annotations(tree)] == []


def test_the_table_in_the_documentation_is_up_to_date(sources: Sources) -> None:
    shown = re.search(r"<!-- rclpy -->\n(.*?)<!-- end -->", INSTALL.read_text(), re.DOTALL)
    assert shown
    assert shown[1] == table(sources), "take what `python test/rclpy_usage.py` prints"


MISTAKES = {
    "a class that is not yet generic": (
        """
        from rclpy.parameter import Parameter
        def changed(parameters: list[Parameter[Any]]) -> None: ...
        """,
        "3: rclpy.parameter.Parameter is not generic, so it cannot have [] in humble, iron, jazzy",
    ),
    "the same in a string": (
        """
        import rclpy.parameter
        found: "dict[str, rclpy.parameter.Parameter[Any]]" = {}
        """,
        "3: rclpy.parameter.Parameter is not generic, so it cannot have [] in humble, iron, jazzy",
    ),
    "a name that came later": (
        """
        from rclpy import InitContextManager
        """,
        "2: there is no rclpy.InitContextManager in humble, iron, jazzy",
    ),
    "a module that is none": (
        """
        import rclpy.nodes
        """,
        f"2: there is no rclpy.nodes in {ALL}",
    ),
    "a member that came later": (
        """
        from rclpy.qos import QoSProfile, ReliabilityPolicy as Reliability
        QOS = QoSProfile(depth=1, reliability=Reliability.BEST_AVAILABLE)
        """,
        "3: there is no rclpy.qos.ReliabilityPolicy.BEST_AVAILABLE in humble",
    ),
    "a wrong name of the extension": (
        """
        from rclpy.impl.implementation_singleton import rclpy_implementation
        errors = (rclpy_implementation.RCLError, rclpy_implementation.RclError)
        """,
        f"3: there is no rclpy.impl.implementation_singleton.rclpy_implementation.RclError in {ALL}",
    ),
    "a wrong keyword": (
        """
        import rclpy
        def start(node: Any, c: Any) -> None:
            node.create_timer(1.0, f, clok=c)
        """,
        f"4: rclpy.node.Node.create_timer() has no argument 'clok' in {ALL}",
    ),
    "a keyword that came later": (
        """
        from rclpy.node import Node
        class Base(Node): ...
        class Mine(Base):
            def __init__(self) -> None:
                self.create_timer(1.0, f, autostart=False)
        """,
        "6: rclpy.node.Node.create_timer() has no argument 'autostart' in humble, iron",
    ),
    "a keyword among those of a profile": (
        """
        from rclpy.qos import QoSProfile
        QOS = QoSProfile(deep=1)
        """,
        f"3: rclpy.qos.QoSProfile() has no argument 'deep' in {ALL}",
    ),
    "a missing argument": (
        """
        import rclpy
        rclpy.create_node("node").create_publisher(String, "topic")
        """,
        f"3: rclpy.node.Node.create_publisher() needs 'qos_profile' in {ALL}",
    ),
    "an argument too many": (
        """
        from rclpy.node import Node
        class Mine(Node):
            def __init__(self) -> None:
                super().__init__("name", "namespace")
        """,
        f"5: rclpy.node.Node.__init__() takes 1 positional arguments, not 2 in {ALL}",
    ),
    "a method that came later": (
        """
        import rclpy
        class Mine:
            def __init__(self, node: Any) -> None:
                self._node = node
            def run(self) -> None:
                self._node.add_post_set_parameters_callback(f)
        """,
        "7: there is no rclpy.node.Node.add_post_set_parameters_callback in humble",
    ),
    "a method of what a method returns": (
        """
        from rclpy.executors import SingleThreadedExecutor
        def run(node: Any) -> None:
            with_nodes = SingleThreadedExecutor()
            def later() -> None:
                timer.cancel(1)
            timer = node.create_timer(1.0, later)
            with_nodes.create_future()
        """,
        "8: there is no rclpy.executors.SingleThreadedExecutor.create_future in humble, iron",
        f"6: rclpy.timer.Timer.cancel() takes 0 positional arguments, not 1 in {ALL}",
    ),
    "a method of an object of unknown kind": (
        """
        from std_msgs.msg import String
        def listeners(publishers: dict[str, Any]) -> int:
            return publishers["topic"].get_subscription_count(5)
        """,
        "4: rclpy.publisher.Publisher.get_subscription_count() takes 0 positional arguments, not 1 in humble, iron, "
        "jazzy, kilted",
        "4: rclpy.publisher.BasePublisher.get_subscription_count() takes 0 positional arguments, not 1 in lyrical, "
        "rolling",
    ),
    "a private name": (
        """
        import rclpy
        def given(node: Any) -> Any:
            return getattr(node, "add_post_set_parameters_callback", None)
        """,
        "4: there is no rclpy.node.Node.add_post_set_parameters_callback in humble",
    ),
    "what is no context manager yet": (
        """
        import rclpy
        with rclpy.init():
            pass
        """,
        "3: rclpy.init() is no context manager in humble, iron, jazzy",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found(mistake: str) -> None:
    text, *expected = MISTAKES[mistake]
    problems = Sources({"node.py": re.sub("^        ", "", text, flags=re.MULTILINE)}, RELEASES).problems()
    assert [str(problem) for problem in problems] == [f"node.py:{what}" for what in expected]


def test_what_is_of_others_is_left_alone() -> None:
    text = """
import time
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

class Board:
    def publish(self, notice: str, author: str, urgent: bool) -> None: ...

class Mine(Node):
    def __init__(self) -> None:
        super().__init__("mine")
        self.board = Board() if time else None
        self.create_rate = [1, 2]
        self.board.publish("closed", "me", urgent=True)
        self.create_rate.sleep(1, 2, 3)
        time.sleep(0.1)
        Clock(clock=1).now(1, 2)
        self.get_clock().now().to_msg().sec.shutdown(1)
        self.wake: Callable[..., None] = names.wake
        self.wake(1, 2)

    def create_timer(self, name: str) -> None: ...

    def use(self, node: str, other: Any, parts: list[str], **options: Any) -> None:
        self.create_timer("own")
        node.spin(1, 2)
        other.publish(1, 2, 3)
        parts[0].count("a", 1, 2)
        self.create_publisher(*parts)
        Node("other", **options)
"""
    assert Sources({"node.py": text}, RELEASES).problems() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import numpy\nfrom sensor_msgs.msg import Image\n", True),
        ("from __future__ import annotations\nimport rclpy\n", False),
        ("def late():\n    import rclpy\n", False),
    ],
)
def test_annotations_that_are_evaluated_are_found(text: str, expected: bool) -> None:
    assert evaluates_annotations(ast.parse(text)) == expected
