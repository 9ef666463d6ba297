"""setup.py, package.xml, the pinned versions and the tree itself tell the same story."""

import ast
import os
import re
import subprocess
import sys
from distutils.core import run_setup
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from repository import REPOSITORY

import vizloc_ros
from vizloc_ros.dependencies import WITHOUT_ROSDEP, require_dependencies

PACKAGE_XML = ElementTree.parse(REPOSITORY / "package.xml").getroot()
# Looked up in rosdistro; an unknown key breaks `rosdep install` for everybody.
ROSDEP_KEYS = {
    *("rclpy", "rcl_interfaces", "builtin_interfaces", "rosgraph_msgs", "launch", "launch_ros"),
    *("ament_index_python", "ros2launch", "ros2bag", "rviz2"),
    *("sensor_msgs", "geometry_msgs", "nav_msgs", "std_msgs", "std_srvs", "diagnostic_msgs", "tf2_msgs"),
    *("python3-numpy", "python3-scipy", "python3-opencv", "python3-yaml", "python3-matplotlib", "python3-rich"),
    "python3-pil",
    *("python3-pydantic", "python3-typer", "python3-rosbags-pip", "python3-onnxruntime-pip"),
    *("python3-pytest", "python3-pytest-timeout", "python3-hypothesis"),
}
# where the module is not called as its distribution
MODULES = {
    "opencv-python-headless": "cv2",
    "PyYAML": "yaml",
    "faiss-cpu": "faiss",
    "Pillow": "PIL",
    "rerun-sdk": "rerun",
}


@pytest.fixture
def distribution(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    return run_setup("setup.py", stop_after="init")


def dependencies(*tags):
    return {element.text for tag in tags for element in PACKAGE_XML.iter(tag)}


def test_package_xml_is_an_ament_python_package_of_format_3():
    assert PACKAGE_XML.get("format") == "3"
    assert PACKAGE_XML.findtext("name") == "vizloc_ros"
    assert PACKAGE_XML.findtext("license") == "Apache-2.0"
    assert PACKAGE_XML.findtext("export/build_type") == "ament_python"
    assert (REPOSITORY / "LICENSE").read_text().split()[:4] == ["Apache", "License", "Version", "2.0,"]


def test_rosdep_knows_every_dependency():
    assert dependencies("depend", "exec_depend", "test_depend") <= ROSDEP_KEYS


def test_versions_agree(distribution):
    assert distribution.get_version() == PACKAGE_XML.findtext("version") == vizloc_ros.__version__


def test_changelog_is_one_that_ros_tools_read():
    catkin = pytest.importorskip("catkin_pkg.changelog", reason="catkin_pkg comes with ROS 2")
    text = (REPOSITORY / "CHANGELOG.rst").read_text()
    released = text.replace("Forthcoming\n-----------", "0.1.0 (2026-01-01)\n------------------")
    assert released != text
    changelog = catkin.populate_changelog_from_rst(catkin.Changelog("vizloc_ros"), released)
    [(version, _, entries)] = changelog.foreach_version()
    assert version == "0.1.0"
    assert entries


def test_the_maintainer_is_no_placeholder():
    assert "example" not in PACKAGE_XML.find("maintainer").get("email")


def test_what_rosdep_cannot_bring_is_named_with_the_line_for_pip():
    with pytest.raises(ImportError, match=r"needs pycolmap, apsw.*pip install '?pycolmap(==4\.2\.1)?"):
        require_dependencies(find=lambda name: None if name in ("pycolmap", "apsw") else object())
    with pytest.raises(ImportError, match="needs pydantic, which"):
        require_dependencies(version_of=lambda name: "1.10.14")
    require_dependencies()


def test_every_requirement_comes_from_rosdep_or_is_named(distribution):
    """A requirement without a key of rosdep is in the message, and in package.xml with its range."""
    keys = {key.removeprefix("python3-").removesuffix("-pip") for key in dependencies("exec_depend")}
    with_other_names = {"opencv-python-headless": "opencv", "PyYAML": "yaml", "Pillow": "pil"}
    in_comment = {
        Requirement(text) for text in re.findall(r"'(\w+[=<>][^']*)'", (REPOSITORY / "package.xml").read_text())
    }
    for requirement in distribution.install_requires:
        name = requirement_name(requirement)
        assert name in WITHOUT_ROSDEP or with_other_names.get(name, name) in keys, name
        if name in WITHOUT_ROSDEP:
            assert Requirement(requirement) in in_comment, requirement


def test_every_file_of_launch_and_config_is_installed(distribution):
    installed = {path: folder for folder, paths in distribution.data_files for path in paths}
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("launch", "config")
        for path in (REPOSITORY / folder).iterdir()
        if path.is_file()
    }
    assert files
    assert {path: installed.get(path) for path in files} == {
        path: f"share/vizloc_ros/{Path(path).parent}" for path in files
    }
    assert installed["package.xml"] == "share/vizloc_ros"
    assert installed["resource/vizloc_ros"] == "share/ament_index/resource_index/packages"


def test_every_package_is_installed(distribution):
    packages = {
        ".".join(path.parent.relative_to(REPOSITORY).parts) for path in REPOSITORY.glob("vizloc_ros/**/__init__.py")
    }
    modules = {".".join(path.parent.relative_to(REPOSITORY).parts) for path in REPOSITORY.glob("vizloc_ros/**/*.py")}
    assert packages == modules == set(distribution.packages)
    assert "py.typed" in distribution.package_data["vizloc_ros"]


def test_every_executable_has_its_function(distribution):
    for line in distribution.entry_points["console_scripts"]:
        module, function = line.split(" = ")[1].split(":")
        tree = ast.parse((REPOSITORY / f"{module.replace('.', '/')}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, line


def test_every_import_is_declared(distribution):
    optional = [
        line for extra in ("faiss", "hloc", "ray", "train", "view") for line in distribution.extras_require[extra]
    ]
    declared = {MODULES.get(name, name) for name in map(requirement_name, [*distribution.install_requires, *optional])}
    declared |= dependencies("exec_depend") | set(sys.stdlib_module_names) | {"vizloc_ros"}
    declared |= {"bondpy", "geographic_msgs", "nav2_msgs"}  # taken where they are installed: not every robot needs them
    imported = {
        (name, path.relative_to(REPOSITORY).as_posix())
        for path in REPOSITORY.glob("vizloc_ros/**/*.py")
        for name in top_level_imports(path)
    }
    assert {(name, path) for name, path in imported if name not in declared} == set()


def requirement_name(requirement):
    return Requirement(requirement).name


def top_level_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("python", ["3.10", "3.13"])
def test_pins_are_within_the_tested_ranges(distribution, python):
    pins = {}
    for line in (REPOSITORY / "scripts" / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                pins[pin.name.lower()] = next(iter(pin.specifier)).version
    extras = distribution.extras_require
    for requirement in map(
        Requirement, [*distribution.install_requires, *extras["dev"], *extras["train"], *extras["view"]]
    ):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_installation_is_found_by_ros_and_by_the_shell():
    try:
        metadata.version("vizloc_ros")
    except metadata.PackageNotFoundError:
        pytest.skip("vizloc_ros is not installed in this environment: make setup")
    packages = pytest.importorskip("ament_index_python.packages")
    prefix = Path(sys.prefix)
    code = f"import {packages.__name__} as p; print(p.get_package_share_directory('vizloc_ros'))"
    environment = os.environ | {"AMENT_PREFIX_PATH": str(prefix)}
    share = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
    assert Path(share.stdout.strip()) == prefix / "share" / "vizloc_ros"
    assert (prefix / "share" / "vizloc_ros" / "package.xml").is_file()
    for name in ("vizloc", "hfnet", "visual_map_server", "localizer", "vizloc_node"):
        assert os.access(prefix / "bin" / name, os.X_OK)
        assert os.access(prefix / "lib" / "vizloc_ros" / name, os.X_OK)
