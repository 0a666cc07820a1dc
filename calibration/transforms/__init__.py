"""What is done to a graph's constants so that 8 bits hold it better, each switched by what it measurably gains.

rewrites.py      the changes as data: scalings of channels, corrections of biases; `ranges.json` carries them
sites.py         where channels may be scaled: a producer that absorbs it, layers that undo it
statistics.py    what calibration windows say of those tensors
equalisation.py  cross-layer equalisation, for convolutions and linear layers behind one another
smoothing.py     outliers of activations move into weights
correction.py    the mean error of each quantised layer, taken off its bias
trial.py         tries each on calibration windows and keeps what helps
"""
