"""The documents' tables of settings, flags, verbs, commands, routes, metrics, images and services are the source's.

`UPDATE_TABLES=1 bin/test.sh tests/docs/test_reference.py` writes them anew.
"""

import os

import pytest

from tests.docs import reference
from tests.running import ROOT
from tests.tables import write_table

COMMAND = "UPDATE_TABLES=1 bin/test.sh tests/docs/test_reference.py"


@pytest.mark.parametrize("name", reference.TABLES)
def test_a_table_is_what_the_source_says(name: str) -> None:
    document, rows = reference.TABLES[name]
    check = not os.environ.get("UPDATE_TABLES")
    code = write_table(ROOT / document, f"{COMMAND} # {name}", reference.table(rows()), check)
    assert code == 0, f"{document}: run {COMMAND}"
