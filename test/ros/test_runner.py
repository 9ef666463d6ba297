import signal
import subprocess
import sys
import textwrap

import pytest

from vizloc_ros.ros.dds_profile import ensure_profile

pytestmark = pytest.mark.ros

NODE = """
    import os
    import signal
    import sys
    import threading
    import time
    import rclpy
    from rclpy.node import Node
    from std_msgs.msg import String
    from vizloc_ros.errors import ConfigError, MapError
    from vizloc_ros.ros.diagnostics import Diagnostics
    from vizloc_ros.ros.managed_node import ManagedNode
    from vizloc_ros.ros.worker import Worker
    from vizloc_ros.ros.runner import run_nodes

    class Busy(Node):
        '''Its worker publishes without a pause, also while the process ends.'''

        def __init__(self, name):
            super().__init__(name)
            self.diagnostics = Diagnostics(self, "work")
            self.strings = self.create_publisher(String, "strings", 1)
            self.worker = Worker(name, self.work, lambda error: print("worker:", repr(error), file=sys.stderr))
            self.create_timer(0.001, lambda: self.worker.submit(String(data="x")))
            self.create_timer(0.2, lambda: print(name, "runs", flush=True))

        def work(self, message):
            for _ in range(200):
                self.diagnostics.send(self.strings, message)

        def destroy_node(self):
            print(self.get_name(), "cleans up", flush=True)
            print(self.get_name(), "stopped" if self.worker.stop() else "hangs", flush=True)
            super().destroy_node()

    class Slow(Busy):
        def work(self, message):
            time.sleep(1.0)

    def refuse():
        raise ConfigError("parameter 'map_path' is empty: name the folder of a map")

    def hang():
        print("hanging", flush=True)
        while rclpy.ok():
            time.sleep(0.001)
        print("still hanging", flush=True)
        threading.Event().wait()

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        while rclpy.ok():
            time.sleep(0.001)

    class Interrupted(ManagedNode):
        '''A signal comes in the middle of its activation.'''

        def __init__(self):
            super().__init__("interrupted")
            self.begin(autostart=True)

        def open(self):
            interrupt()
            self.create_publisher(String, "strings", 1)

    def late():
        interrupt()
        return Busy("two")

    class Failing(Node):
        def __init__(self):
            super().__init__("failing")
            self.create_timer(0.05, self.fail)

        def fail(self):
            raise MapError("map.yaml has gone")
"""


def start(main: str, *arguments: str) -> "subprocess.Popen[str]":
    ensure_profile()  # else the process logs that it does so
    code = textwrap.dedent(NODE) + f"\nsys.exit(run_nodes({main}))\n"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number):
    process = start("[lambda: Busy('one'), lambda: Busy('two')]")
    names = set()
    for line in process.stdout:
        names.add(line.split()[0])
        if names == {"one", "two"}:
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert {"one stopped", "two stopped"} <= set(output.splitlines())
    assert errors == ""


@pytest.mark.parametrize("later", ["late", "Interrupted"])
def test_a_signal_before_all_nodes_are_made_ends_it_cleanly(later):
    process = start(f"[lambda: Busy('one'), {later}]")
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "one stopped" in output
    assert "Traceback" not in errors
    assert "internal error" not in errors  # rclpy itself logs that it cannot complete the transition


def test_a_second_interrupt_ends_a_start_that_hangs():
    process = start("[lambda: Busy('one'), hang]")
    for line in ("hanging", "still hanging"):
        assert process.stdout.readline() == line + "\n"
        process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "one stopped" in output


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_more_signals_do_not_cut_off_the_clean_up(first):
    process = start("[lambda: Slow('one')]")
    while process.stdout.readline() != "one runs\n":
        pass
    process.send_signal(first)
    while process.stdout.readline() != "one cleans up\n":
        pass
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "one stopped" in output
    assert errors == ""


def test_numbers_of_a_list_that_are_not_of_one_kind():
    process = start("[refuse]", "--ros-args", "-p", "base_from_cam:=[1, 0.5]")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "base_from_cam" in errors
    assert "with a decimal point or none" in errors


def test_an_error_at_the_start_is_one_line_and_exit_code_1():
    process = start("[lambda: Busy('one'), refuse]")
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "one stopped" in output
    assert "parameter 'map_path' is empty: name the folder of a map" in errors
    assert "FATAL" in errors
    assert "Traceback" not in errors


def test_a_wrong_parameter_of_ros_itself_is_one_line_too():
    process = start("[lambda: Busy('one')]", "--ros-args", "-p", "use_sim_time:=5")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "FATAL" in errors
    assert "'use_sim_time' to '5' of type 'INTEGER', expecting type 'BOOL'" in errors
    assert "Traceback" not in errors


def test_an_error_in_a_callback_ends_it_with_1():
    process = start("[Failing]")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "map.yaml has gone" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("arguments", [("--params-file", "missing.yaml"), ("--no-such-option",)])
def test_arguments_ros_does_not_understand(arguments):
    process = start("[refuse]", "--ros-args", *arguments)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ROS 2 does not start with these arguments" in errors
    assert arguments[-1] in errors
    assert "Traceback" not in errors
