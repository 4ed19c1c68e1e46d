"""Times as people and machines write them, in a column and one after another."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adlib.reading.options import Reading
from adlib.reading.times import Clock, find_time, joined

BERLIN = {"time_zone": "Europe/Berlin"}


def read(cells, **options):
    """Times of a column, after they were seen to be the same one after another; and notes."""
    notes = []
    column = cells if isinstance(cells, pd.Series) else pd.Series(cells)
    clock = Clock.recognise(column, Reading(**options), notes.append)
    times = clock.column(column)
    assert times.dtype == "datetime64[ns]"
    again = Clock(Reading(**options), str, clock.to_dict())
    moments = np.array([again.moment(cell) for cell in column.tolist()])
    np.testing.assert_allclose(moments, times.astype(np.int64) / 1e9, rtol=0, atol=1e-6)
    return [str(time).rstrip("0").rstrip(".") for time in times], notes


def refusal(cells, **options):
    column = cells if isinstance(cells, pd.Series) else pd.Series(cells)
    with pytest.raises(ValueError) as refused:
        Clock.recognise(column, Reading(**options), str).column(column)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("cell", [
    "2024-01-13T10:00:00Z", "2024-01-13 10:00", " 2024-01-13T10:00:00.000 ", "2024-01-13T12:00+02",
    "2024-01-13 15:30:00+0530", "20240113T100000Z", "2024-01-13T10", "2024-01-13 10:00:00,000",
    "2024/01/13 10:00", "2024.01.13 10:00", "13.01.2024 10:00", "13.1.24 10:00:00",
    "13/01/2024 10.00.00",
    "01/13/2024 10:00 AM", "1/13/2024 10am", "1/13/24 10:00 a.m.", "13-Jan-2024 10:00",
    "Jan 13, 2024 10:00", "13 January 2024 10:00", "2024-Jan-13 10:00",
    "13/Jan/2024:10:00:00 +0000", "Jan 13, 2024 @ 10:00:00.000", "13/01/2024 10:00:00 a. m.",
    "01/13/2024 10:00:00:000", "2024011310", "2024-01-13 11:00:00 +0100 CET", "20240113_100000",
    "1/13/2024, 10:00:00\u202fAM", "13.01.2024\xa010:00", "Saturday, January 13, 2024 10:00 AM",
    "Sat, 13 Jan 2024 10:00:00 +0000", "Sat, 13 Jan 2024 05:00:00 EST", "Sat Jan 13 10:00:00 2024",
    "Sat Jan 13 2024 11:00:00 GMT+0100 (Central European Standard Time)",
    "1705140000", "1705140000.0", "1705140000000", "1705140000000000", "1705140000000000000",
    1705140000, 1705140000.0, 1705140000000, "20240113100000", 20240113100000, "202401131000",
])  # fmt: skip
def test_one_moment_in_many_styles(cell):
    assert read([cell])[0] == ["2024-01-13T10:00:00"]
    assert Clock(Reading(), str).moment(cell) == 1705140000


@pytest.mark.parametrize("cells, options, words", [
    (["17:24:00"], {}, "'17:24:00' in data row 1 is a time of day without a date: give"),
    (["00:01:00.5"], {}, "time of day"),
    (["0 days 00:01:00"], {}, "a duration"),
    (["25:10:00"], {}, "a duration"),
    (["00:15.2"], {}, "a duration"),
    (pd.Series(pd.to_timedelta([1, 2], unit="s")), {}, "a duration"),
    (["2024-01-01", "9999-12-31"], {}, "'9999-12-31' in data row 2 is beyond the years"),
    (["0001-01-01"], {}, "beyond the years 1678 to 2261"),
    (pd.Series(pd.to_datetime(["2024-01-01", "9999-12-31"])), {}, "data row 2 is beyond"),
    ([9.3e9, 9.4e9], {"time_unit": "s"}, "beyond the years"),
    (["2024-W01-1"], {}, "cannot be read"),
    (["now"], {}, "cannot be read"),
    (["2024-02-30"], {}, "cannot be read"),
    (["01/02/2024", "13/01/2024", "01/13/2024"], {}, "day first in '13/01/2024' and the month"),
    (["24-01-13", "24-01-14", "24-01-15"], {}, "begin with the year"),
    (["2024-01-13", ""], {}, "missing in data row 2"),
    (["2024-01-13", None], {}, "missing in data row 2"),
    ([1704067200000], {"time_unit": "s"}, "the year 55969; time_unit='ms' makes it the year 2024"),
    ([1704067200], {"time_unit": "ms"}, "the year 1970; time_unit='s' makes it the year 2024"),
    ([45292.5, 45293], {}, "the year 2024: give time_unit='excel'"),
    ([45292.5, 45293], {"time_unit": "s"}, "time_unit='excel' makes it the year 2024"),
    ([0.5, 0.75], {"time_unit": "excel"}, "a time of day without a date"),
    ([20240101, 20240102], {"time_unit": "s"}, "leave time_unit out"),
    ([20240230], {}, "no date"),
    ([1950, 1951, 1952], {}, "neither from 1970 nor from a start near 0, so they may be years"),
    ([739282.4166, 739282.4173], {}, "may be years or days"),
    ([199011, 199012, 199101], {}, "give time_unit if they count 's' or 'ms'"),
    ([0, 1704067200], {}, "placeholder"),
    ([-1, 2], {}, "'-1' in data row 1 is no time"),
    ([1.0, np.inf], {}, "'inf' in data row 2 is no time"),
    ([1e300], {}, "time_unit"),
    (["5", "unknown", "6"], {}, "'unknown' in data row 2"),
    (["2024-01-13", "1704067200"], {}, "a number, and no date as the others"),
    (["2024-03-31 02:30"], BERLIN, "left out in spring"),
    ([True, False], {}, "cannot be read"),
])  # fmt: skip
def test_what_is_no_time_is_refused_in_a_sentence(cells, options, words):
    assert words in refusal(cells, **options)


@pytest.mark.parametrize("cells, options, times, words", [
    (["03/04/2024", "13/04/2024"], {}, ["2024-04-03", "2024-04-13"], "day first"),
    (["03/04/2024", "05/06/2024"], {}, ["2024-03-04", "2024-05-06"], "if that is wrong"),
    (["03.04.2024"], {}, ["2024-04-03"], "day first"),
    (["12-31-99 23:59"], {}, ["1999-12-31T23:59"], "month first"),
    ([45292.75], {"time_unit": "excel"}, ["2024-01-01T18"], ""),
    (["45292,75"], {"time_unit": "excel"}, ["2024-01-01T18"], ""),
    ([0, 2.5], {}, ["1970-01-01", "1970-01-01T00:00:02.5"], "give time_unit"),
    ([0, 2500], {"time_unit": "ms"}, ["1970-01-01", "1970-01-01T00:00:02.5"], ""),
    ([20240101, 20240102], {}, ["2024-01-01", "2024-01-02"], "read as dates"),
    (pd.Series([1749, 1750], name="Year"), {}, ["1749-01-01", "1750-01-01"], "read as dates"),
    ([1704067200123], {}, ["2024-01-01T00:00:00.123"], "milliseconds from 1970"),
    (["2024-01-01T24:00", "1949-03"], {}, ["2024-01-02", "1949-03-01"], "1949-03"),
    (["2024-07-01 02:00", "2024-07-01T02:00Z"], BERLIN, ["2024-07-01", "2024-07-01T02"], ""),
    (["2024-10-27 02:00", "2024-10-27 02:30", "2024-10-27 02:00", "2024-10-27 03:00"], BERLIN,
     ["2024-10-27", "2024-10-27T00:30", "2024-10-27T01", "2024-10-27T02"], "come twice"),
    (["2024-10-27 01:00", "2024-10-27 02:00", "2024-10-27 02:00"], BERLIN,
     ["2024-10-26T23", "2024-10-27", "2024-10-27T01"], "come twice"),
])  # fmt: skip
def test_what_is_recognised_is_noted(cells, options, times, words):
    found, notes = read(cells, **options)
    assert [pd.Timestamp(time) for time in found] == [pd.Timestamp(time) for time in times]
    assert len(notes) == bool(words) and all(words in note for note in notes)


STYLES = [
    "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f+0000", "%Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S",
    "%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%m/%y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%Y%m%d",
    "%d-%b-%Y %H:%M:%S", "%B %d, %Y %H:%M", "%a, %d %b %Y %H:%M:%S +0000", "%d/%b/%Y:%H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y", "s", "ms", "us", "ns",
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(320_000_000_000_000, 4_000_000_000_000_000), min_size=1, max_size=6),
       st.sampled_from(STYLES), st.booleans())
def test_a_column_is_read_back_whatever_its_style(stamps, style, padded):
    times = pd.to_datetime([*stamps, 1_735_603_200_000_000], unit="us")  # the last of December
    if style in ("s", "ms", "us", "ns"):
        factor = {"s": 1e-6, "ms": 1e-3, "us": 1, "ns": 1000}[style]
        texts = [str(round(stamp * factor)) for stamp in times.as_unit("us").asi8.tolist()]
        expected = pd.to_datetime([int(text) for text in texts], unit=style)
    else:
        if "%y" in style:  # a year of two digits is one of 1969 to 2068
            times = times[times.year < 2069]
        texts = list(times.strftime(style))
        expected = pd.to_datetime(texts, format=style, utc=True).tz_localize(None)
    found, _ = read([f" {text} " for text in texts] if padded else texts)
    assert [pd.Timestamp(time) for time in found] == list(expected)


def test_a_stream_decides_by_what_came_and_says_what_contradicts():
    notes = []
    clock = Clock(Reading(), notes.append)
    assert np.isnan(clock.moment(None)) and np.isnan(clock.moment("not known"))
    assert clock.moment("03/04/2024") == 1709510400  # March
    assert np.isnan(clock.moment("13/04/2024")) and np.isnan(clock.moment("14/04/2024"))
    assert clock.moment("2024-04-14T00:00Z") == 1713052800
    assert len(notes) == 2 and "month first" in notes[1]


@pytest.mark.parametrize("poison", [
    -1, np.nan, np.inf, 1e300, "1e300", True, [], {}, "9999-12-31", 10**400, "1" * 10**5,
    "x" * 10**5,
])  # fmt: skip
def test_a_bad_moment_changes_nothing(poison):
    clock = Clock(Reading(), str)
    assert np.isnan(clock.moment(poison))
    assert clock.moment(1704067200000) == 1704067200
    assert np.isnan(clock.moment(poison))
    assert clock.moment(1704067201000) == 1704067201


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_a_parquet_file(unit):
    times = pd.Series(pd.date_range("2024-01-13 10:00", periods=2, freq="h", unit=unit))
    assert read(times) == (["2024-01-13T10:00:00", "2024-01-13T11:00:00"], [])
    assert read(times.dt.tz_localize("Asia/Kolkata"))[0][0] == "2024-01-13T04:30:00"
    assert read(times, **BERLIN)[0][0] == "2024-01-13T09:00:00"
    assert read(pd.Series(times.dt.date.tolist()))[0] == ["2024-01-13T00:00:00"] * 2


@pytest.mark.parametrize("columns, text", [
    ([["13.01.2024"], ["10:00"]], "13.01.2024 10:00"),
    ([pd.to_datetime(["2024-01-13"]), ["10:00"]], "2024-01-13 10:00"),
    ([[20240113, 20240113], [5, 1030]], "20240113 0005"),
    ([[2024], [1], [13], [9]], "2024-1-13 09:00"),
    ([[2024.0], [1.0], [13.0], [9.0], [5.0]], "2024-1-13 09:05"),
])  # fmt: skip
def test_columns_that_make_one_time_together(columns, text):
    column = joined([pd.Series(cells) for cells in columns])
    assert column[0] == text
    read(column)


@pytest.mark.parametrize("frame, names", [
    ({"Time": ["2024-01-13"], "x": [1]}, ("Time",)),
    ({"Date": ["2024-01-13"], "Time": ["10:00"]}, ("Date", "Time")),
    ({"time": ["10:00"]}, ()),
    ({"Date": ["2024-01-13"] * 2, "Uhrzeit": ["10:00", "11:00"]}, ("Date", "Uhrzeit")),
    ({"date": ["2024-01-13"] * 2, "hour": [10, 11]}, ("date", "hour")),
    ({"date": [20240113] * 3 + [20240114], "time": [930, 1030, 1100, 900]}, ("date", "time")),
    ({"date": ["2024-01-13", "2024-01-14"], "start": ["10:00", "11:00"]}, ("date",)),
    ({"time": [3.0, 1.0]}, ()),
    ({"time": [1.0, 1.0, 2.5]}, ("time",)),
    ({"timestamp": [1704067201, 1704067200]}, ("timestamp",)),
    ({"time": [None, None], "x": [1, 2]}, ()),
    ({"runtime": [1, 2]}, ()),
    ({"time": [10, 11, 12]}, ("time",)),
    ({"date": ["2024-01-13"] * 24, "time": [*range(24)]}, ("date", "time")),
    ({"date": ["2024-01-13"] * 24, "time": [*range(0, 2400, 100)]}, ("date", "time")),
    ({"date": ["2024-01-13"] * 90, "time": [*range(90)]}, ("time",)),
    ({"date": ["2024-01-13", "2024-01-14"], "time": [0, 1]}, ("time",)),
])  # fmt: skip
def test_the_time_of_a_table_is_found_by_name_and_values(frame, names):
    assert find_time(pd.DataFrame(frame)) == names


def test_the_unit_that_was_told_finds_the_time():
    frame = pd.DataFrame({"time": [45292.5, 45293.0]})
    assert find_time(pd.DataFrame({"time": [1704067200]}), Reading(time_unit="ms")) == ("time",)
    assert find_time(frame) == () and find_time(frame, Reading(time_unit="excel")) == ("time",)


def test_the_name_of_a_column_says_that_it_holds_hours_and_minutes():
    dates, clock = pd.Series(["2024-01-01"] * 20), pd.Series(range(20))
    assert joined([dates, clock.rename("HHMM")])[19] == "2024-01-01 0019"
    assert joined([dates, clock.rename("time")])[19] == "2024-01-01 19:00"


def test_letters_of_a_zone_that_mean_two_are_refused():
    assert read(["Mon, 1 Jan 2024 10:00:00 CST"])[0] == ["2024-01-01T16:00:00"]
    assert "cannot be read" in refusal(["2024-01-01 10:00 CST"])
    assert read(["2024-01-01 10:00 +0800 CST"])[0] == ["2024-01-01T02:00:00"]


def test_counts_are_no_days_with_their_year_at_the_end():
    for step in (100, 1000):
        cells = np.arange(10100 // step, 10100 // step + 12) * step
        assert read(cells)[0][0].startswith("1970-01-01T0")
    days = [f"{day:02d}0224" for day in range(1, 13)]
    months = [f"{month:02d}0124" for month in range(1, 13)]
    for cells in ([310124, 10224], days, months, [int(f"01{day:02d}24") for day in range(1, 13)]):
        assert "days with their year at the end" in refusal(pd.Series(cells).astype(int))
