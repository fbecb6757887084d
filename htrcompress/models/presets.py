"""Named sizes. `student` is `teacher` with its channels times 0.62 and one attention head."""

from htrcompress.models.gated import GatedConfig

PRESETS: dict[str, GatedConfig] = {
    "teacher": GatedConfig(64, (32, 64, 128, 192), (2, 2, 0), dim=384, layers=4, heads=6),
    "student": GatedConfig(64, (20, 40, 80, 120), (2, 2, 0), dim=236, layers=4, heads=1),
    "student-s": GatedConfig(64, (16, 32, 56, 80), (1, 2, 0), dim=160, layers=3, heads=1),
    "student-xs": GatedConfig(64, (12, 20, 32, 48), (1, 1, 0), dim=104, layers=2, heads=1),
    "tiny-teacher": GatedConfig(32, (16, 32, 64, 80), (1, 1, 0), dim=144, layers=2, heads=4, dropout=0.0),
    "tiny-student": GatedConfig(32, (8, 16, 32, 48), (1, 1, 0), dim=80, layers=2, heads=1, dropout=0.0),
}
