"""Real recordings -> the windows that INT8 is calibrated and judged on.

finding.py      which files are recordings of a modality
recordings.py   their windows, thinned and split in two parts
streaming.py    the same windows one by one, any number of them
sets.py         a calibration set: recordings, hashes and how windows are drawn, as one JSON file
collecting.py   recordings -> a set
scan.py         what each window saw; strata.py draws evenly over it, diagnosis.py says what is wrong with it
enough.py       whether there are enough of them, told before the export
material.py     what an export takes: recordings or a set, shared out between calibration and gate
"""
