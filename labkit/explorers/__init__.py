"""What people turn, without the widgets: frozen states, controls, and pure functions from a state to pictures and words."""

from labkit.explorers._contribution import ContributionState, contribution, draw_contribution
from labkit.explorers._decoder import ThresholdDecoder, best_threshold_decoder, decode, decode_jointly
from labkit.explorers._noising import NoisingState, draw_noising, noising, read_back
from labkit.explorers._regions import largest_region, region_at
from labkit.explorers._teacher import TeacherState, draw_teacher, teacher
from labkit.explorers._teachers import find_teachers
from labkit.explorers._view import Control, Explorer, Missing, Panel, Table, View, view_html

__all__ = [
    "ContributionState", "Control", "Explorer", "Missing", "NoisingState", "Panel", "Table", "TeacherState", "ThresholdDecoder", "View",
    "best_threshold_decoder", "contribution", "decode", "decode_jointly", "draw_contribution", "draw_noising", "draw_teacher",
    "find_teachers", "largest_region", "noising", "read_back", "region_at", "teacher", "view_html",
]  # fmt: skip
