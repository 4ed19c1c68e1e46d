"""Bytes to names and rows, for files and for lines that arrive."""

import pandas as pd
import pytest

from adlib.reading.dialect import Lines, raw_table
from adlib.reading.options import Reading

DATED = [["2024-01-01", 1, 2], ["2024-01-02", 3, 4]]
TABLES = {
    "plain": (b"time,a,b\n2024-01-01,1,2\n2024-01-02,3,4\n", "time a b", DATED),
    "carriage returns": (b"time,a,b\r2024-01-01,1,2\r2024-01-02,3,4\r", "time a b", DATED),
    "byte order mark": (b"\xef\xbb\xbftime,a,b\r\n2024-01-01,1,2\r\n2024-01-02,3,4\r\n",
                        "time a b", DATED),
}


def read(tmp_path, data, notes=None, **options):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    return raw_table(path, Reading(**options), [].append if notes is None else notes.append)


@pytest.mark.parametrize("case", TABLES)
def test_a_file_and_lines_hold_the_same_rows(tmp_path, case):
    data, names, rows = TABLES[case]
    expected = pd.DataFrame(rows, columns=names.split())
    pd.testing.assert_frame_equal(read(tmp_path, data).frame, expected)
    lines = Lines(Reading(), [].append)
    found = lines.feed(data.split(b"\n")) + lines.feed([], end=True)
    assert found == expected.astype(str).to_dict("records")
