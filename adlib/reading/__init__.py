"""Files and messages as rows: one parser for tables and streams.

What a file means is decided once: `dialect` finds rows and columns, `numbers` and `times` read the
cells, `columns` and `labels` say what each column is. `table` reads a whole file, `records` what
arrives. Whatever was recognised as other than plain, or repaired, is a note; what cannot be decided
is refused.
"""
