"""The training of one style: settings, training set, run, samples, records."""
