import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from repository import REPOSITORY

from vizloc_ros.errors import RosError
from vizloc_ros.ros import dds_profile as middleware
from vizloc_ros.ros.dds_profile import ensure_profile

FAST_DDS_3 = "FASTDDS_DEFAULT_PROFILES_FILE"
FAST_DDS_2 = "FASTRTPS_DEFAULT_PROFILES_FILE"
PEER = REPOSITORY / "test" / "large_messages.py"


VARIABLES = (FAST_DDS_3, FAST_DDS_2, "RMW_IMPLEMENTATION", "ROS_DISTRO", "ROS_AUTOMATIC_DISCOVERY_RANGE")
INSTALLED = FAST_DDS_2 if (Path(sys.prefix) / "share" / "fastrtps").is_dir() else FAST_DDS_3  # with this Python


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for variable in (*VARIABLES, "ROS_LOCALHOST_ONLY", "AMENT_PREFIX_PATH"):
        monkeypatch.setenv(variable, "")  # so that monkeypatch takes away what the code sets, too
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("profile", ["network", "localhost"])
def test_sets_one_variable_to_the_shipped_profile(profile):
    before = dict(os.environ)
    said = ensure_profile(profile)
    assert os.environ.items() - before.items() == {(INSTALLED, os.environ[INSTALLED])}
    assert Path(os.environ[INSTALLED]).name == f"fastdds_{profile}.xml"
    assert ElementTree.parse(os.environ[INSTALLED]).getroot().tag == "{http://www.eprosima.com}profiles"
    assert os.environ[INSTALLED] in said
    assert ("others" in said) is (profile == "network")


def test_other_hosts_see_the_nodes_by_default():
    ensure_profile()
    assert Path(os.environ[INSTALLED]).name == "fastdds_network.xml"


@pytest.mark.parametrize(
    ("variable", "value", "profile"),
    [
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST", "localhost"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "localhost"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET", "network"),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SYSTEM_DEFAULT", "network"),
        ("ROS_LOCALHOST_ONLY", "1", "localhost"),
        ("ROS_LOCALHOST_ONLY", "0", "network"),
    ],
)
def test_the_range_of_discovery_that_ros_was_told_decides(monkeypatch, variable, value, profile):
    monkeypatch.setenv(variable, value)
    ensure_profile()
    assert Path(os.environ[INSTALLED]).name == f"fastdds_{profile}.xml"


@pytest.mark.parametrize(
    ("variable", "value"),
    [(FAST_DDS_3, "mine.xml"), (FAST_DDS_2, "mine.xml"), ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")],
)
def test_keeps_what_the_user_chose(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    before = dict(os.environ)
    assert ensure_profile() == ""
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
    assert INSTALLED in os.environ


def test_missing_profile_is_named(monkeypatch):
    monkeypatch.setitem(middleware._PROFILES, "network", "gone.xml")
    with pytest.raises(RosError, match=r"gone\.xml is not installed"):
        ensure_profile()
    assert INSTALLED not in os.environ


def start(role, profile, *arguments, host=(), **environment):
    """Publisher or receiver of large messages, by default on this host."""
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment
    command = [*host, sys.executable, PEER, role, profile, *arguments]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)


def number_received(publisher, receiver):
    with publisher, receiver:
        try:
            return int(receiver.communicate(timeout=60)[0])
        finally:
            receiver.terminate()
            publisher.terminate()


@pytest.mark.ros
@pytest.mark.parametrize("profile", ["network", "localhost"])
def test_no_large_best_effort_message_is_lost(profile):
    assert number_received(start("publish", profile), start("receive", profile)) == 40


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def two_hosts():
    """Two network namespaces with a cable between them, as the beginnings of commands that run in them."""
    hosts = [f"vizloc{os.getpid()}{name}" for name in "ab"]
    try:
        for host in hosts:
            ip("netns", "add", host)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"two hosts are made of network namespaces, which need root and iproute2: {error}")
    try:
        ip("link", "add", "eth0", "netns", hosts[0], "type", "veth", "peer", "name", "eth0", "netns", hosts[1])
        for number, host in enumerate(hosts, 1):
            ip("-n", host, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                ip("-n", host, "link", "set", interface, "up")
            ip("-n", host, "route", "add", "default", "dev", "eth0")
        yield [("ip", "netns", "exec", host) for host in hosts]
    finally:
        for host in hosts:
            ip("netns", "delete", host)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("profile", "discovery_range", "seen"),
    [("network", "SUBNET", True), ("network", "LOCALHOST", False), ("localhost", "SUBNET", False)],
)
def test_other_hosts_receive_images_only_where_that_is_wanted(two_hosts, profile, discovery_range, seen):
    one, other = two_hosts
    publisher = start("publish", profile, host=one, ROS_AUTOMATIC_DISCOVERY_RANGE=discovery_range)
    receiver = start("receive", "network", "20" if seen else "4", host=other)
    assert (number_received(publisher, receiver) > 0) is seen
