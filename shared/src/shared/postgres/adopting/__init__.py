"""Taking over the database of the system that this one replaces: looked at, filled into the core, and given back.

`spelling` says how a column of ours is read from whatever columns are there, `looking` what is there, `moving` sets
tables aside and exchanges names, `filling` writes the core, `adoption` is the order of all that, and the way back.
"""
