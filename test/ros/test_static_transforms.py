import numpy as np
import pytest
from geometry_helpers import matrix_of
from geometry_msgs.msg import TransformStamped
from hypothesis import given
from hypothesis import strategies as st
from ros_helpers import ros_nodes, spin_until

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.geometry.transform_tree import TransformTree
from vizloc_ros.ros import qos
from vizloc_ros.ros.extrinsics import StaticTransforms
from vizloc_ros.ros.messages import transform_to_msg


def random_pose(seed):
    rng = np.random.default_rng(seed)
    return pose_from_quaternion(rng.normal(0, 2, 3), rng.normal(0, 1, 4))


def stamped(parent, child, pose):
    msg = TransformStamped(child_frame_id=child, transform=transform_to_msg(pose))
    msg.header.frame_id = parent
    return msg


def assert_same(actual, expected_matrix):
    np.testing.assert_allclose(matrix_of(actual), expected_matrix, rtol=0, atol=1e-9)


class TestTransformTree:
    def test_up_down_and_across(self):
        base_from_mast, mast_from_cam, base_from_lidar = map(random_pose, range(3))
        tree = TransformTree()
        tree.add(stamped("mast", "cam", mast_from_cam))
        tree.add(stamped("base_link", "mast", base_from_mast))
        tree.add(stamped("base_link", "lidar", base_from_lidar))
        base_from_cam = matrix_of(base_from_mast) @ matrix_of(mast_from_cam)
        assert_same(tree.lookup("base_link", "cam"), base_from_cam)
        assert_same(tree.lookup("cam", "base_link"), np.linalg.inv(base_from_cam))
        assert_same(tree.lookup("lidar", "cam"), np.linalg.inv(matrix_of(base_from_lidar)) @ base_from_cam)
        assert_same(tree.lookup("cam", "cam"), np.eye(4))

    def test_what_is_not_connected_is_none(self):
        tree = TransformTree()
        tree.add(stamped("base_link", "cam", random_pose(0)))
        tree.add(stamped("trailer", "rear_cam", random_pose(1)))
        assert tree.lookup("base_link", "rear_cam") is None
        assert tree.lookup("base_link", "odom") is None

    def test_the_latest_counts(self):
        tree = TransformTree()
        tree.add(stamped("base_link", "cam", random_pose(0)))
        tree.add(stamped("base_link", "cam", random_pose(1)))
        assert_same(tree.lookup("base_link", "cam"), matrix_of(random_pose(1)))

    def test_leading_slashes_are_ignored(self):
        tree = TransformTree()
        tree.add(stamped("/base_link", "/cam", random_pose(0)))
        assert_same(tree.lookup("base_link", "/cam"), matrix_of(random_pose(0)))

    def test_a_loop_ends(self):
        tree = TransformTree()
        for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
            tree.add(stamped(parent, child, random_pose(0)))
        assert tree.lookup("a", "elsewhere") is None

    @pytest.mark.parametrize("scale", [0.0, 0.9, 1.1, np.nan])
    def test_a_quaternion_not_of_norm_1(self, scale):
        tree, msg = TransformTree(), stamped("base_link", "cam", random_pose(0))
        for axis in "xyzw":
            setattr(msg.transform.rotation, axis, scale * getattr(msg.transform.rotation, axis))
        with pytest.raises(RosError, match=r"'base_link' -> 'cam' ignored.*norm 1"):
            tree.add(msg)
        assert tree.lookup("base_link", "cam") is None

    @pytest.mark.parametrize(("parent", "child"), [("", "cam"), ("base_link", ""), ("cam", "/cam")])
    def test_frames_that_cannot_be(self, parent, child):
        with pytest.raises(RosError, match="two different frames"):
            TransformTree().add(stamped(parent, child, random_pose(0)))

    @given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.randoms(use_true_random=False))
    def test_any_tree_equals_matrices_from_its_root(self, parents, random):
        """Frame i+1 is a child of frame parents[i] % (i+1); all are added in any order."""
        root_from = [np.eye(4)]
        messages = []
        for index, number in enumerate(parents):
            parent = number % (index + 1)
            root_from.append(root_from[parent] @ matrix_of(random_pose(index)))
            messages.append(stamped(f"f{parent}", f"f{index + 1}", random_pose(index)))
        random.shuffle(messages)
        tree = TransformTree()
        for msg in messages:
            tree.add(msg)
        for a, root_from_a in enumerate(root_from):
            for b, root_from_b in enumerate(root_from):
                assert_same(tree.lookup(f"f{a}", f"f{b}"), np.linalg.inv(root_from_a) @ root_from_b)


@pytest.mark.ros
def test_listens_to_broadcasters_that_came_before():
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    problems = []
    with ros_nodes("broadcaster", "other_broadcaster", "listener") as (*broadcasters, listener):
        good, bad = stamped("base_link", "mast", random_pose(0)), stamped("base_link", "lidar", random_pose(1))
        bad.transform.rotation.w += 1.0
        for broadcaster, transforms in zip(
            broadcasters, ([good, bad], [stamped("mast", "cam", random_pose(2))]), strict=True
        ):
            publisher = broadcaster.create_publisher(tf2_msgs.TFMessage, "/tf_static", qos.LATCHED)
            publisher.publish(tf2_msgs.TFMessage(transforms=transforms))
        transforms = StaticTransforms(listener, problems.append)
        assert transforms.lookup("base_link", "cam") is None
        spin_until(lambda: transforms.lookup("base_link", "cam") is not None, *broadcasters, listener)
    assert_same(transforms.lookup("base_link", "cam"), matrix_of(random_pose(0)) @ matrix_of(random_pose(2)))
    assert transforms.lookup("base_link", "lidar") is None
    assert len(problems) == 1
    assert "'base_link' -> 'lidar' ignored" in problems[0]
