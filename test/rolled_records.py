"""Records of a camera that is rolled by quarter turns: image, camera and pose turn together."""

from dataclasses import replace

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.quarter_turns import Roll


def rolled_by(record: Record, roll: Roll) -> Record:
    """The record as a rolled camera at the same place takes it; its image is rendered now."""
    image, camera = roll.inverse.turn_image(record.read_image()), roll.inverse.turn_camera(record.camera)
    pose = record.world_from_cam
    rolled = None if pose is None else pose * roll.upright_from_cam
    return replace(record, camera=camera, world_from_cam=rolled, read_image=lambda: image)
