"""Named sizes of the networks. `student` is `teacher` with its channels times 0.62 and one attention head."""

from htrcompress.models.gated import GatedConfig
from htrcompress.models.hybrid import HybridConfig

PRESETS: dict[str, GatedConfig | HybridConfig] = {
    "teacher": GatedConfig(64, (32, 64, 128, 192), (2, 2, 0), dim=384, layers=4, heads=6),
    "student": GatedConfig(64, (20, 40, 80, 120), (2, 2, 0), dim=236, layers=4, heads=1),
    "student-s": GatedConfig(64, (16, 32, 56, 80), (1, 2, 0), dim=160, layers=3, heads=1),
    "student-xs": GatedConfig(64, (12, 20, 32, 48), (1, 1, 0), dim=104, layers=2, heads=1),
    "hybrid": HybridConfig(64, (32, 64, 128, 256), (2, 3, 2), dim=96, heads=4, hidden=256, layers=3),
    "tiny-teacher": GatedConfig(32, (16, 32, 64, 80), (1, 1, 0), dim=144, layers=2, heads=4, dropout=0.0),
    "tiny-student": GatedConfig(32, (8, 16, 32, 48), (1, 1, 0), dim=80, layers=2, heads=1, dropout=0.0),
    "tiny-hybrid": HybridConfig(32, (8, 16, 32, 48), (1, 1, 1), dim=32, heads=2, hidden=48, layers=2, dropout=0.0),
}
