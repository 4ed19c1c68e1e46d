"""Faults found, delay, and false incidents a week of the live engine: how its defaults were chosen.

Six seasonal channels, one row a minute, ten faults in five days (spike, level, frozen, swap, ramp):
56 days of history, 14 live days, ``per="1/week"``. The generator is ``trial/alert_quality.py``
beside the folder that ADLIB_DATA names. Members are scored once and kept in
``reports/benchmarks/alert_quality``; every setting is replayed over the scores by the engine's own
calibration, budget and incident rule.

    ADLIB_DATA=... python benchmarks/alert_quality.py score [MEMBER ...]
    ADLIB_DATA=... python benchmarks/alert_quality.py choose
    ADLIB_DATA=... python benchmarks/alert_quality.py final

The rule of choice, written down before the first run:

*Candidates* are the members of `CANDIDATES` (ten sets, and three single detectors), each set
combined by the weighted mean and by the maximum: 23. *Collections*: the generator above (seeds 0 to
4; the final figures are of seeds 10 to 19, which nothing was chosen on), `make_telemetry` (seeds 0
to 7, its faults are other ones and drawn by others), SKAB and NAB.

1. A candidate is admitted when its clean and holiday runs of seeds 0 to 4 (20 weeks) hold at most
   one false incident a week.
2. Of those, the highest mean of four figures, one for each collection: the share of faults found at
   ``per="1/week"``; on `make_telemetry` the share found at the largest budget that is quiet
   throughout the held-out rows; on SKAB and NAB the mean average precision of windows.
3. Within one standard error of the best (paired over the runs of each collection): no torch first,
   then fewer members, then the faster one.

Then, for that candidate alone, the debounce: 3 of 5 (as it is), 2 of 5, 2 of 3 or 1 of 1 windows;
the highest share of faults found on the generator among those that rule 1 admits; ties stay as it
is. That makes 27 settings in all.
"""
