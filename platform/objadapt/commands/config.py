"""Show a config as a job would read it, or every key there is.

    python jobs/config.py --config toy training.lr=1e-3
    python jobs/config.py --keys | grep temperature
    python jobs/config.py --keys --json keys.json

A key is set in a YAML file, or on the command line of a job as `key.sub=value`. `null` is none.
"""

from dataclasses import asdict

from .. import job
from ..config_keys import Key, all_keys


def main():
    options = job.parser(__doc__)
    job.add_config_options(options)
    options.add_argument("--keys", action="store_true", help="list every key: default, type, what it means")
    arguments = options.parse_intermixed_args()
    config = job.config_from(arguments)
    job.write_json(
        arguments.json, [asdict(key) for key in all_keys()] if arguments.keys else config.model_dump(mode="json")
    )
    print(listing(all_keys()) if arguments.keys else config.to_yaml().rstrip(), flush=True)


def listing(keys: tuple[Key, ...]) -> str:
    """A line a key, its section above it."""
    width, lines, section = max(len(key.name) for key in keys), [], ""
    for key in keys:
        if (own := key.name.partition(".")[0]) != section and "." in key.name:
            section = own
            lines.append("")
        default = {None: "null", "": "''", True: "true", False: "false"}.get(_hashable(key.default), key.default)
        meaning = f"{key.meaning} (method.name={key.method})" if key.method else key.meaning
        lines.append(f"{key.name:<{width}}  {default!s:<20} {key.type:<24} {meaning}".rstrip())
    return "\n".join(lines)


def _hashable(value: object) -> object:
    return value if isinstance(value, str | bool | None) else str(value)
