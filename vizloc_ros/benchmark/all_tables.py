"""All tables, by their names on the command line."""

from vizloc_ros.benchmark.hfnet_table1 import HFNET_TABLE1
from vizloc_ros.benchmark.hfnet_table2 import HFNET_TABLE2
from vizloc_ros.benchmark.paper_table import PaperTable
from vizloc_ros.benchmark.pixloc_table1 import PIXLOC_TABLE1
from vizloc_ros.benchmark.pixloc_table3 import PIXLOC_TABLE3
from vizloc_ros.errors import ConfigError

TABLES = {table.name: table for table in (HFNET_TABLE1, HFNET_TABLE2, PIXLOC_TABLE1, PIXLOC_TABLE3)}


def find_table(name: str) -> PaperTable:
    """Table of a name. Raises ``ConfigError`` that lists the names."""
    if name not in TABLES:
        raise ConfigError(f"there is no table '{name}'; there is: {', '.join(TABLES)}")
    return TABLES[name]
