"""`tabular.py` on the sets of macrOData, which nobody tuned to before 2026.

    ADLIB_DATA=... python benchmarks/odd.py [--ours DETECTOR ...] [--peers NAME ...]
"""

from tabular import main

if __name__ == "__main__":
    main("odd")
