"""32 shadow models of a dense and of a recurrent net, ReLU and spiking, on generated events: glyphs that move past a
simulated event camera.

    python experiments/run.py --config=experiments/configs/moving_glyphs.py --workdir=runs/moving_glyphs

Needs no file. Expected on 2 x86 cores: 96 seconds. Expected result: test accuracy .99 and .98 (ANN, dense and
recurrent), .87 and .93 (SNN); AUC of online LiRA .84 and .71, .79 and .79. `moving_glyphs.py:smoke` is a run on 600
recordings.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "moving_glyphs:10"
    c.splits.n_shadows = 32
    c.model.time_steps = 10
    c.train.epochs = 20
    c.sweep.architecture = ("dense", "recurrent")
    c.sweep.family = ("ann", "snn")
    c.report.title = "Moving glyphs: dense and recurrent nets on events"
    return config.smoke(c, mode, data__rows=600, model__hidden=(16,), train__epochs=2)
