"""Motion model of the tracker: predicts the next pose by constant velocity, the vehicle's odometry, or a gyroscope."""

from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d, Rotation3d
from pydantic import Field

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import se3_exp, se3_log
from vizloc_ros.options import Options
from vizloc_ros.pixloc.gyroscope import Attitude
from vizloc_ros.pixloc.innovations import Innovations
from vizloc_ros.timing import NANOSECONDS

_LIKELY = 2.0  # standard deviations of the speed between two localizations


class MotionOptions(Options):
    """Uncertainty of a predicted pose."""

    acceleration_std: float = Field(
        3.0, gt=0, le=1000, description="acceleration, without odometry; more if more was seen [m/s^2]"
    )
    turn_acceleration_std: float = Field(
        60.0, gt=0, le=100_000, description="angular acceleration, without odometry; more if more was seen [deg/s^2]"
    )
    speed_std: float = Field(
        10.0, gt=0, le=1000, description="speed while only one pose is known, without odometry [m/s]"
    )
    turn_rate_std: float = Field(
        30.0, gt=0, le=10_000, description="turn rate while only one pose is known, without odometry [deg/s]"
    )
    odometry_drift: float = Field(
        0.05, gt=0, le=10, description="error of the odometry, as a ratio of the distance and of the angle"
    )
    gyro_noise: float = Field(
        0.5, gt=0, le=1000, description="error of the gyroscope's turn rate, without the bias that is known [deg/s]"
    )
    gyro_drift: float = Field(0.03, gt=0, le=10, description="error of the gyroscope, as a ratio of the angle")
    position_std: float = Field(0.1, gt=0, le=100, description="added to every prediction [m]")
    rotation_std: float = Field(0.5, gt=0, le=180, description="added to every prediction [deg]")
    max_extrapolation: float = Field(
        1.0, gt=0, le=60, description="maximum time for which a velocity is extrapolated [s]"
    )


@dataclass(frozen=True)
class Prediction:
    """A predicted pose.

    Attributes:
        map_from_cam: predicted pose of the camera in the map.
        position_std: standard deviation of the position, of its length over all axes [m].
        rotation_std: standard deviation of the rotation angle [rad].
        likely_error: error of position and rotation as that of the last predictions [m, rad]; None if it is not known.
    """

    map_from_cam: Rigid3d
    position_std: float
    rotation_std: float
    likely_error: tuple[float, float] | None = None

    def moved(self, cam_from_other: Rigid3d) -> "Prediction":
        """Prediction of the pose of another camera at the same place."""
        return replace(self, map_from_cam=self.map_from_cam * cam_from_other)


@dataclass(frozen=True)
class KnownPose:
    """An accepted pose: of the tracker, of the localizer or of a person.

    Attributes:
        map_from_cam: pose of the camera in the map.
        stamp_ns: time of its image.
        odom_from_cam: pose of the camera in the odometry's frame at that time, if there is odometry.
        position_std: standard deviation of the position [m].
        rotation_std: standard deviation of the rotation [rad].
        covariance: (6, 6) covariance [m^2, m rad, rad^2], if it is the localizer's.
        attitude: attitude of the camera at that time, if there is a gyroscope.
    """

    map_from_cam: Rigid3d
    stamp_ns: int
    odom_from_cam: Rigid3d | None = None
    position_std: float = 0.0
    rotation_std: float = 0.0
    covariance: Float64 | None = None
    attitude: Attitude | None = None

    @property
    def is_localizers(self) -> bool:
        """True for a pose of the localizer."""
        return self.covariance is not None


class MotionModel:
    """Predicts a pose from the last accepted poses."""

    def __init__(self, options: MotionOptions | None = None) -> None:
        self.options = options or MotionOptions()
        self.last: KnownPose | None = None
        self._velocity: Float64 | None = None  # (6,) twist in the camera's frame [m/s, rad/s]
        self._velocity_std = 0.0, 0.0  # [m/s, rad/s]; of two poses of a track, accelerations are more than that
        self._innovations = Innovations()
        self._by_gyroscope = False  # the last predictions that innovations are of

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self.last = self._velocity = None
        self._innovations.reset()

    def add(self, known: KnownPose, turn: Rotation3d | None = None) -> None:
        """Add the newest accepted pose, ``turn`` as for ``predict``; the velocity is that since the pose before."""
        before = self.last
        self._note_innovation(known, turn)
        self._velocity, self._velocity_std = None, (0.0, 0.0)
        if before is not None and known.stamp_ns > before.stamp_ns:
            seconds = (known.stamp_ns - before.stamp_ns) / NANOSECONDS
            if seconds <= self.options.max_extrapolation:
                self._velocity = se3_log(before.map_from_cam.inverse() * known.map_from_cam) / seconds
        self.last = known

    def _note_innovation(self, known: KnownPose, turn: Rotation3d | None) -> None:
        """Note how far a pose is from its prediction, if that was more than a guess."""
        if self._by_gyroscope is not (turn is not None):  # those with a gyroscope tell nothing about those without
            self._by_gyroscope = turn is not None
            self._innovations.reset()
        before, predicted = self.last, self.predict(known.stamp_ns, known.odom_from_cam, turn)
        if before is None or predicted is None or known.stamp_ns <= before.stamp_ns:
            return
        by_odometry = known.odom_from_cam is not None and before.odom_from_cam is not None
        seconds = (known.stamp_ns - before.stamp_ns) / NANOSECONDS
        if (by_odometry or self._velocity is not None) and seconds <= self.options.max_extrapolation:
            self._innovations.add(
                predicted.map_from_cam.inverse() * known.map_from_cam,
                seconds,
                (predicted.position_std, predicted.rotation_std),
                (known.position_std, known.rotation_std),
            )

    def speed_at(self, stamp_ns: int) -> float:
        """Speed at the time of the last accepted pose [m/s]; 0 if that is of another time, or not known."""
        if self.last is None or self.last.stamp_ns != stamp_ns or self._velocity is None:
            return 0.0
        return float(np.linalg.norm(self._velocity[:3]))

    def was_at(self, stamp_ns: int) -> Rigid3d | None:
        """Pose at a time before the last accepted pose, by the velocity; None if that tells nothing."""
        if self.last is None or self._velocity is None:
            return None
        seconds = (stamp_ns - self.last.stamp_ns) / NANOSECONDS
        if not -self.options.max_extrapolation <= seconds <= 0:
            return None
        return self.last.map_from_cam * se3_exp(self._velocity * seconds)

    def restart(self, known: KnownPose, before: KnownPose | None = None) -> None:
        """Start again from a pose that is unrelated to those before, such as the localizer's.

        It and an earlier one, ``before``, tell the velocity, unless ``speed_std`` and ``turn_rate_std`` make that
        unlikely.
        """
        self._velocity, self._velocity_std, self.last = None, (0.0, 0.0), known
        self._innovations.reset()
        if before is None or known.stamp_ns <= before.stamp_ns:
            return
        seconds, options = (known.stamp_ns - before.stamp_ns) / NANOSECONDS, self.options
        twist = se3_log(before.map_from_cam.inverse() * known.map_from_cam) / seconds
        fastest = _LIKELY * options.speed_std, _LIKELY * np.radians(options.turn_rate_std)
        if (
            seconds <= options.max_extrapolation
            and np.linalg.norm(twist[:3]) <= fastest[0]
            and np.linalg.norm(twist[3:]) <= fastest[1]
        ):
            self._velocity = twist
            self._velocity_std = (
                float(np.hypot(before.position_std, known.position_std)) / seconds,
                float(np.hypot(before.rotation_std, known.rotation_std)) / seconds,
            )

    def predict(
        self, stamp_ns: int, odom_from_cam: Rigid3d | None = None, turn: Rotation3d | None = None
    ) -> Prediction | None:
        """Predict the pose at a later time; None before the first pose.

        Relative odometry replaces the velocity where both poses have odometry. The variances are
        those of the last pose, plus a constant, plus a growth with the time or with the distance.

        Args:
            stamp_ns: the time.
            odom_from_cam: pose of the camera in the odometry's frame at that time.
            turn: rotation last_from_cam of the camera since the last pose by a gyroscope; it replaces that of the
                odometry or of the velocity.
        """
        last, options = self.last, self.options
        if last is None:
            return None
        seconds = max(0.0, (stamp_ns - last.stamp_ns) / NANOSECONDS)
        constant = (options.position_std, np.radians(options.rotation_std))
        likely_error = self._innovations.likely_error(seconds) if self._by_gyroscope is (turn is not None) else None
        if odom_from_cam is not None and last.odom_from_cam is not None:
            last_from_cam = last.odom_from_cam.inverse() * odom_from_cam
            distance = float(np.linalg.norm(last_from_cam.translation))
            angle = float(np.linalg.norm(se3_log(last_from_cam)[3:]))
            growth = (options.odometry_drift * distance, options.odometry_drift * angle)
        elif self._velocity is not None:
            last_from_cam = se3_exp(self._velocity * min(seconds, options.max_extrapolation))
            seen, turn_seen = self._innovations.accelerations
            acceleration = max(options.acceleration_std, seen)
            turn_acceleration = max(np.radians(options.turn_acceleration_std), turn_seen)
            speed_std, turn_rate_std = self._velocity_std
            growth = (
                float(np.hypot(acceleration * seconds**2, speed_std * seconds)),
                float(np.hypot(turn_acceleration * seconds**2, turn_rate_std * seconds)),
            )
        else:
            likely_error = None
            last_from_cam = Rigid3d()
            growth = (options.speed_std * seconds, np.radians(options.turn_rate_std) * seconds)
        if turn is not None:
            last_from_cam = Rigid3d(turn, last_from_cam.translation)
            noise = np.radians(options.gyro_noise) * seconds
            growth = (growth[0], float(np.hypot(noise, options.gyro_drift * turn.angle())))
        position, rotation = (
            float(np.sqrt(a * a + b * b + c * c))
            for a, b, c in zip((last.position_std, last.rotation_std), constant, growth, strict=True)
        )
        return Prediction(last.map_from_cam * last_from_cam, position, rotation, likely_error)
