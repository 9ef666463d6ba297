"""ament_python build of vizloc_ros; pyproject.toml has the settings of the tools."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

NAME = "vizloc_ros"
PACKAGE_XML = ElementTree.parse(Path(__file__).parent / "package.xml").getroot()

# The ranges that were tested; scripts/constraints.txt pins one set of them.
REQUIRED = [
    "numpy>=1.26,<3",
    "scipy>=1.11,<2",
    "opencv-python-headless>=4.10,<6",
    "pycolmap==4.2.1",  # its API changes with every release
    "rosbags>=0.11.9,<0.12",
    "apsw>=3.46",
    "PyYAML>=6,<7",
    "pydantic>=2.11,<3",
    "typer>=0.16,<1",
    "rich>=13.7,<16",
    "matplotlib>=3.8,<4",
    "Pillow>=10.2,<14",
    "threadpoolctl>=3.5,<4",
    "onnxruntime>=1.19,<2",  # the first for numpy 2
]
FAISS = ["faiss-cpu>=1.9,<2"]
HLOC = ["h5py>=3.11,<4"]  # the first for NumPy 2
RAY = ["ray>=2.60,<3"]
VIEW = ["rerun-sdk>=0.24,<0.42"]  # brings NumPy 2; its wheels have 90 to 170 MB
TRAIN = ["torch>=2.4,<3", "onnx>=1.16,<2", "safetensors>=0.4.3,<1"]
TEST = ["pytest>=8,<10", "pytest-timeout>=2.3,<3", "hypothesis>=6.100,<7"]
DEV = [
    *FAISS,
    *HLOC,
    *TEST,
    "pytest-xdist>=3.8,<4",
    "onnx>=1.16,<2",
    "ruff==0.17.5",
    "mypy>=2.1,<3",
    "types-PyYAML",
    "colcon-common-extensions>=0.3,<0.4",
    "setuptools<80",
    "wheel",
]

setup(
    name=NAME,
    version=PACKAGE_XML.findtext("version"),
    description=PACKAGE_XML.findtext("description"),
    maintainer=PACKAGE_XML.findtext("maintainer"),
    maintainer_email=PACKAGE_XML.find("maintainer").get("email"),
    license=PACKAGE_XML.findtext("license"),
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "weights/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", [str(path) for path in Path("launch").glob("*.launch.py")]),
        (f"share/{NAME}/config", [str(path) for path in Path("config").iterdir()]),
    ],
    install_requires=REQUIRED,
    extras_require={"faiss": FAISS, "hloc": HLOC, "ray": RAY, "train": TRAIN, "view": VIEW, "test": TEST, "dev": DEV},
    entry_points={
        "console_scripts": [
            "vizloc = vizloc_ros.cli.main:main",
            "hfnet = vizloc_ros.nodes.hfnet:main",
            "visual_map_server = vizloc_ros.nodes.visual_map_server:main",
            "localizer = vizloc_ros.nodes.localizer:main",
            "pixloc_tracker = vizloc_ros.nodes.pixloc_tracker:main",
            "vizloc_node = vizloc_ros.nodes.vizloc_node:main",
        ]
    },
    zip_safe=False,
)
