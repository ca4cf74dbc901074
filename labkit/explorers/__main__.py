"""Train the small teacher that an explorer offers: python -m labkit.explorers RUNS."""

import sys

from labkit import experiments
from labkit.explorers._teachers import small_teacher

if __name__ == "__main__":
    experiments.fit(experiments.prepare(small_teacher(sys.argv[1])))
