"""Train, resume and score networks: from settings to a finished run folder.

device: device, precision, memory.  preflight: checks and fingerprints of data files.
planning: settings to a run.  experiment: a run's network, data and teacher.
loop, optimiser, checkpoint, log, progress: optimisation.  evaluate, predict: scores, pictures.
fit: all of it for one run.
"""
