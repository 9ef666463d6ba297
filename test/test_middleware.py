import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vizloc_ros.errors import RosError
from vizloc_ros.nodes import middleware
from vizloc_ros.nodes.middleware import ensure_profile

FAST_DDS_3 = "FASTDDS_DEFAULT_PROFILES_FILE"
FAST_DDS_2 = "FASTRTPS_DEFAULT_PROFILES_FILE"
PEER = Path(__file__).with_name("large_messages.py")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for variable in (FAST_DDS_3, FAST_DDS_2, "RMW_IMPLEMENTATION", "ROS_DISTRO"):
        monkeypatch.setenv(variable, "")  # so that monkeypatch takes away what the code sets, too
        monkeypatch.delenv(variable)


@pytest.mark.parametrize(("reach", "name"), [("localhost", "fastdds_shm.xml"), ("network", "fastdds_network.xml")])
def test_sets_one_variable_to_the_shipped_profile(reach, name):
    before = dict(os.environ)
    ensure_profile(reach)
    assert os.environ.items() - before.items() == {(FAST_DDS_3, os.environ[FAST_DDS_3])}
    assert Path(os.environ[FAST_DDS_3]).name == name
    assert ElementTree.parse(os.environ[FAST_DDS_3]).getroot().tag == "{http://www.eprosima.com}profiles"


@pytest.mark.parametrize(
    ("variable", "value"),
    [(FAST_DDS_3, "mine.xml"), (FAST_DDS_2, "mine.xml"), ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")],
)
def test_keeps_what_the_user_chose(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    before = dict(os.environ)
    ensure_profile()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("distro", "variable"),
    [("humble", FAST_DDS_2), ("jazzy", FAST_DDS_2), ("kilted", FAST_DDS_3), ("rolling", FAST_DDS_3)],
)
def test_uses_the_variable_that_the_distribution_reads(monkeypatch, distro, variable):
    monkeypatch.setenv("ROS_DISTRO", distro)
    ensure_profile()
    assert {name for name in (FAST_DDS_2, FAST_DDS_3) if name in os.environ} == {variable}


def test_explicit_fast_dds_gets_the_profile(monkeypatch):
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_dynamic_cpp")
    ensure_profile()
    assert FAST_DDS_3 in os.environ


def test_missing_profile_is_named(monkeypatch):
    monkeypatch.setitem(middleware._PROFILES, "localhost", "gone.xml")
    with pytest.raises(RosError, match=r"gone\.xml is not installed"):
        ensure_profile()
    assert FAST_DDS_3 not in os.environ


def test_only_the_localhost_profile_is_confined_to_loopback():
    ensure_profile("localhost")
    localhost = Path(os.environ.pop(FAST_DDS_3)).read_text()
    ensure_profile("network")
    network = Path(os.environ.pop(FAST_DDS_3)).read_text()
    assert "<address>127.0.0.1</address>" in localhost
    assert "interfaceWhiteList" not in network


@pytest.mark.ros
@pytest.mark.parametrize("reach", ["localhost", "network"])
def test_no_large_best_effort_message_is_lost(reach):
    pytest.importorskip("rclpy")
    repository = Path(__file__).resolve().parents[1]
    environment = os.environ | {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "PYTHONPATH": str(repository)}

    def start(role):
        return subprocess.Popen([sys.executable, PEER, role, reach], env=environment, stdout=subprocess.PIPE, text=True)

    with start("publish") as publisher, start("receive") as receiver:
        try:
            arrived = receiver.communicate(timeout=60)[0]
        finally:
            receiver.terminate()
            publisher.terminate()
    assert arrived.split() == ["40"]
