"""All tables, by their names on the command line."""

from vizloc_ros.benchmark.hfnet_table1 import HFNET_TABLE1
from vizloc_ros.benchmark.hfnet_table2 import HFNET_TABLE2
from vizloc_ros.benchmark.hfnet_table3 import HFNET_TABLE3
from vizloc_ros.benchmark.hfnet_table4 import HFNET_TABLE4
from vizloc_ros.benchmark.hfnet_table5 import HFNET_TABLE5
from vizloc_ros.benchmark.hfnet_table6 import HFNET_TABLE6
from vizloc_ros.benchmark.paper_table import PaperTable
from vizloc_ros.benchmark.pixloc_table1 import PIXLOC_TABLE1
from vizloc_ros.benchmark.pixloc_table2 import PIXLOC_TABLE2
from vizloc_ros.benchmark.pixloc_table3 import PIXLOC_TABLE3
from vizloc_ros.errors import ConfigError

_HFNET = (HFNET_TABLE1, HFNET_TABLE2, HFNET_TABLE3, HFNET_TABLE4, HFNET_TABLE5, HFNET_TABLE6)
_PIXLOC = (PIXLOC_TABLE1, PIXLOC_TABLE2, PIXLOC_TABLE3)
TABLES = {table.name: table for table in (*_HFNET, *_PIXLOC)}


def find_table(name: str) -> PaperTable:
    """Table of a name. Raises ``ConfigError`` that lists the names."""
    if name not in TABLES:
        raise ConfigError(f"there is no table '{name}'; there is: {', '.join(TABLES)}")
    return TABLES[name]
