"""The config of a run that was made before, from its config.json or from what its report offers for download.

    python experiments/run.py --config=experiments/resolved.py:runs/mine/config.json --workdir=runs/again

Expected result: the numbers of that run, bit by bit on the same kind of CPU with the versions that its report names.
"""

import json
from pathlib import Path

from ml_collections import ConfigDict


def get_config(file: str) -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import as_dict

    try:
        held = json.loads(Path(file).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--config=...resolved.py:FILE needs the config.json of a run, got {file!r}: {error}."
        ) from None
    return ConfigDict(as_dict(config.from_dict(held.get("config", held))))
