"""Global teacher: any ONNX file with one vector per image as output, such as NetVLAD."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.errors import FeatureError, InputError
from vizloc_ros.features.device import Device
from vizloc_ros.features.onnx_session import ORT_ERRORS, described, one_line, open_session, read_network
from vizloc_ros.options import Options
from vizloc_ros.training.fingerprint import teacher_fingerprint


class GlobalTeacherOptions(Options):
    """Options of the global head's teacher.

    Attributes:
        path: ONNX file, from one image of 1 or 3 channels (gray, repeated) to a vector.
        value_range: input value of white, 1 or 255.
        output: name of the vector, if there are several outputs.
        provider: device, ``cpu`` or ``cuda``; its vectors do not depend on it.
    """

    path: Path
    value_range: float = Field(default=1.0, gt=0)
    output: str | None = None
    provider: Literal["cpu", "cuda"] = Field(default="cpu", exclude=True)


class GlobalTeacher:
    """Teacher of global descriptors.

    Attributes:
        fingerprint: fingerprint of the network and its options.
    """

    def __init__(self, options: GlobalTeacherOptions, dimension: int, threads: int = 0) -> None:
        """Open the network.

        Args:
            options: options of the teacher.
            dimension: length G of the student's global descriptors.
            threads: threads on the CPU; 0 for all cores.

        Raises:
            FeatureError: the file is missing or is not a network.
            InputError: its input is not one image, or its outputs are ambiguous.
        """
        self._options, self._dimension = options, dimension
        self._session = open_session(read_network(options.path), Device(options.provider, threads))
        self.fingerprint = teacher_fingerprint(options.path, options)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (1, 3):
            raise InputError(f"{options.path}: its input must be one image of 1 or 3 channels, not {described(inputs)}")
        names = [output.name for output in outputs if options.output in (None, output.name)]
        if len(names) != 1:
            raise InputError(f"{options.path}: name one of its outputs in global_teacher.output: {described(outputs)}")
        self._input, self._output = inputs[0], names[0]

    def describe(self, image: UInt8) -> Float32:
        """Unit vector (G,) of a whole (H, W) gray image, which is resized for a network of fixed size.

        Raises:
            InputError: the vector has another length than the student's.
            FeatureError: the network fails on the image, or its vector is zero or not finite.
        """
        path, (_, channels, *fixed) = self._options.path, self._input.shape
        if all(isinstance(side, int) for side in fixed):
            image = np.asarray(cv2.resize(image, fixed[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        values = image * np.float32(self._options.value_range / 255)
        batch = np.ascontiguousarray(np.broadcast_to(values, (1, channels, *values.shape)))
        try:
            vector = np.ravel(self._session.run([self._output], {self._input.name: batch})[0]).astype(np.float32)
        except ORT_ERRORS as error:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise FeatureError(f"{path}: fails on an image of {size} ({one_line(error)})") from error
        if len(vector) != self._dimension:
            raise InputError(
                f"global_teacher.path: {path} makes {len(vector)} elements, and network.global_dimension of the first "
                f"stage is {self._dimension}: they must be equal"
            )
        length = np.linalg.norm(vector)
        if not 0 < length < np.inf:
            raise FeatureError(f"{path}: its vector has the length {length:g}: check global_teacher.value_range")
        unit: Float32 = vector / length
        return unit
