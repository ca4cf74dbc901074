"""Train the small teacher that an explorer offers: python -m labkit.explorers SETTINGS, as JSON."""

import sys

from labkit import experiments
from labkit.config import TeacherSettings

if __name__ == "__main__":
    experiments.fit(experiments.prepare(TeacherSettings.model_validate_json(sys.argv[1])))
