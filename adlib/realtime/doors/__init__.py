"""Doors to the outside: adlib's own sources and receivers, one small file each.

The engine knows none of them; `adlib.realtime.registry` finds them by name.
"""
