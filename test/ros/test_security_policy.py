"""The SROS2 policy allows what the nodes open, and nothing else."""

from pathlib import Path

import pytest
from security_policy import POLICY, permissions_of_the_nodes, policy_text

pytestmark = pytest.mark.ros


def test_the_policy_is_of_the_topics_and_services_that_the_nodes_open(tmp_path: Path) -> None:
    """``python test/security_policy.py`` writes it."""
    pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    assert POLICY.read_text() == policy_text(permissions_of_the_nodes(tmp_path))
