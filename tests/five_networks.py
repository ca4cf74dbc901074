"""The paper's five networks with small encoders, as teachers and as students."""

MOBILE = "tu-mobilenetv3_small_050"
STUDENTS = {"fcn": MOBILE, "pspnet": MOBILE, "deeplabv3": MOBILE, "stdc": "stdc1", "ocrnet": MOBILE}
TEACHERS = STUDENTS | {"stdc": "stdc2", "ocrnet": "tu-hrnet_w18_small_v2"}  # HRNet: stride 4
