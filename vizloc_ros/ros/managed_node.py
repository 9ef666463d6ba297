"""Base class of nodes with a lifecycle: what is loaded, opened, closed and freed at each transition.

================ ============================= ================================================================
transition       method of the node            what else
================ ============================= ================================================================
configure        ``load``: map and networks    an error is logged in one line; the node stays unconfigured
activate         ``open``: topics, services    the workers start; a bond with the manager, without ``autostart``
deactivate                                     the workers end; what was opened since the activation is destroyed
cleanup          ``unload``: forget them
shutdown                                       as deactivate and cleanup, from any state
================ ============================= ================================================================

With ``autostart``, a node configures and activates itself. Nobody is there to send a transition again, so one whose map
cannot be loaded is active all the same: it names the reason, refuses its input, and tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from vizloc_ros.arrays import release_freed_memory
from vizloc_ros.errors import VizlocError
from vizloc_ros.ros.diagnostics import Diagnostics, Level
from vizloc_ros.ros.manager_bond import form_bond
from vizloc_ros.ros.process_cores import bind_process
from vizloc_ros.ros.worker import Worker

_RETRY_SECONDS = 2.0
_CLOCK = "/clock"  # rclpy itself subscribes to it, with use_sim_time


class ManagedNode(LifecycleNode):
    """Node whose transitions load, open, close and free; its state and problems are in the diagnostics.

    Attributes:
        task: what the node does, in one word; its status in the diagnostics is named by it.
        diagnostics: state of the node for ``/diagnostics``.
        load_error: message of the last attempt to load; empty if it succeeded.
        is_active: True from the activation to the deactivation.
    """

    task: ClassVar[str] = "state"
    # On the class: rclpy also destroys a node whose constructor raised.
    _workers: tuple[Worker[Any], ...] = ()
    _bond: Any = None

    def __init__(self, name: str) -> None:
        """Make the node, unconfigured: ``begin`` starts it."""
        super().__init__(name)
        self.diagnostics = Diagnostics(self, self.task)
        self.load_error, self.is_active = "", False
        self._autostart = False
        self._failure: Exception | None = None  # of the activation
        self._loaded_state = Level.OK, "ok"
        self._loading = threading.Lock()
        self._permanent: set[Any] = set()  # what outlives the deactivation, while the node is active
        self._retry = self.create_timer(_RETRY_SECONDS, self._load_again, clock=self.diagnostics.clock)
        self._retry.cancel()

    def load(self) -> str | None:
        """Load what the node works with; return a warning about it, if there is one. Raises what is wrong with it."""
        return None

    def loaded(self) -> None:
        """Tell others what is loaded, or ``load_error``: after ``load`` of an active node, and after ``open``."""

    def open(self) -> None:
        """Create publishers, subscriptions, timers and services; they are destroyed at the deactivation."""

    def unload(self) -> None:
        """Forget what is loaded, so that its memory is freed."""

    def begin(self, *, autostart: bool, cpu_affinity: Sequence[int] = ()) -> None:
        """Configure and activate the node, or leave both to others. The last call of a node's constructor.

        Args:
            autostart: whether to configure and activate it.
            cpu_affinity: CPU cores of the process; none for all.

        Raises what keeps the node from its activation, and ``ConfigError`` for cores that there are not.
        """
        bind_process(cpu_affinity)
        self._autostart = autostart
        if not autostart:
            self.diagnostics.set_standing(Level.OK, "unconfigured")
            return
        self.trigger_configure()
        self.trigger_activate()
        if self._failure is not None:
            raise self._failure

    def try_to_load(self) -> bool:
        """Load, and show in the diagnostics how it ended; return whether it succeeded. Any thread may call it."""
        with self._loading:
            return self._try_to_load()

    def _try_to_load(self) -> bool:
        try:
            warning = self.load()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with its files, the node tries again
            self.load_error = text_of(error)
            self._loaded_state = Level.ERROR, self.load_error
            self.diagnostics.set_standing(*self._loaded_state)
        else:
            self.show_loaded(warning)
        if self.is_active:
            self.loaded()
        return not self.load_error

    def show_loaded(self, warning: str | None) -> None:
        """Show in the diagnostics that there is no problem, but at most a warning, with what is loaded now."""
        self.load_error = ""
        self._loaded_state = Level.WARN if warning else Level.OK, warning or "ok"
        self.diagnostics.set_standing(*self._loaded_state)

    def _load_again(self) -> None:
        """Try again what failed: a map may come later, or be mended."""
        with self._loading:  # another thread may have succeeded
            if not self.load_error or self._try_to_load():
                self._retry.cancel()
                return
        self.log_retry()

    def log_retry(self) -> None:
        """Log the error of the last attempt to load, now and then."""
        self.get_logger().error(f"{self.load_error} (trying again)", throttle_duration_sec=30.0)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load."""
        if self.try_to_load():
            if not self._autostart:
                self.diagnostics.set_standing(Level.OK, "inactive")
            return TransitionCallbackReturn.SUCCESS
        if not self._autostart:
            self.get_logger().error(self.load_error)
            return TransitionCallbackReturn.FAILURE
        self.log_retry()
        self._retry.reset()
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the workers and open the topics."""
        self._permanent = set(self._entities())
        for worker in self._workers:
            worker.start()
        try:
            self.open()
            self._bond = None if self._autostart else form_bond(self)
            self.is_active = True
            self.diagnostics.set_standing(*self._loaded_state)
            self.loaded()
        except Exception as error:  # noqa: BLE001 - rclpy would hide it
            self._failure = error
            if self.context.ok():  # else ROS was shut down meanwhile
                self.get_logger().error(text_of(error))
            self._close()
            self.diagnostics.set_standing(Level.ERROR, text_of(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the topics; nothing is published from now on but diagnostics."""
        self._close()
        self.diagnostics.set_standing(Level.OK, "inactive")
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget what is loaded."""
        self._free("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the topics and forget what is loaded, for good."""
        self._close()
        self._free("finalized")
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """End the threads, then destroy the node with its publishers."""
        self._end_threads()
        super().destroy_node()
        if machine := getattr(self, "_state_machine", None):  # it would keep the node alive, also for others
            machine.destroy_when_not_in_use()

    def _free(self, state: str) -> None:
        self._retry.cancel()
        self.unload()
        release_freed_memory()
        self.load_error, self._loaded_state = "", (Level.OK, "ok")
        self.diagnostics.set_standing(Level.OK, state)

    def _close(self) -> None:
        """End the workers, so that nothing is published any more, and destroy all that is new since the activation."""
        if not self._permanent:
            return
        self.is_active = False
        self._end_threads()
        self.diagnostics.forget_topics()
        for entity, destroy in self._entities().items():
            if entity not in self._permanent and getattr(entity, "topic_name", "") != _CLOCK:
                destroy(entity)
        self._permanent = set()

    def _end_threads(self) -> None:
        if self._bond is not None:
            self._bond.shutdown()
        for worker in self._workers:
            worker.stop()

    def _entities(self) -> dict[Any, Callable[..., bool]]:
        """Publishers, subscriptions, timers and services that the node has now, with what destroys each."""
        kinds = (
            (self.subscriptions, self.destroy_subscription),
            (self.timers, self.destroy_timer),
            (self.services, self.destroy_service),
            (self.publishers, self.destroy_publisher),
        )
        return {entity: destroy for entities, destroy in kinds for entity in entities}


def text_of(error: Exception) -> str:
    """Text about an error of a node."""
    if isinstance(error, VizlocError):
        return str(error)
    return f"internal error, please report it: {type(error).__name__}: {error}"
