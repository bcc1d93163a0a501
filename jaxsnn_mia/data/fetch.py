"""Downloads an event data set through tonic (extra [events]) into the folder that its source reads:

    python -m jaxsnn_mia.data.fetch nmnist --dir FOLDER

The addresses, archives and checksums are tonic's.
"""

import argparse

CLASSES = {"nmnist": "NMNIST", "shd": "SHD", "dvs_gesture": "DVSGesture"}  # of tonic.datasets


def fetch(name: str, folder: str) -> None:
    """Both splits of the data set of that name, unless they are there; ValueError where tonic is not installed."""
    try:
        from tonic import datasets
    except ImportError as error:
        raise ValueError(
            f"downloading {name} needs tonic ({error}). Install it by "
            "`pip install -e '.[events]' -c launch/constraints.txt`."
        ) from None
    for train in (True, False):
        getattr(datasets, CLASSES[name])(save_to=folder, train=train)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=sorted(CLASSES))
    parser.add_argument("--dir", required=True, metavar="FOLDER", help="for --config.data.dir or JAXSNN_MIA_DATA")
    args = parser.parse_args()
    try:
        fetch(args.name, args.dir)
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
