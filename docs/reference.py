"""The pages that say how to call and configure the package: `cli.md` and `configuration.md`."""

import argparse
import re
from importlib import import_module

from docs.markdown import HEADER, sentence, table
from flows.__main__ import COMMANDS as FLOWS
from lib.command_line import EXIT_CODES, LAST_LINE
from lib.models.recipes import RECIPES
from lib.settings import REPOSITORY, Settings
from lib.store.s3_client import ATTEMPTS

COMMANDS = (
    *(f"flows.{name}" for name in FLOWS),
    "deployments.deploy",
    "deployments.doctor",
    "deployments.stack",
    "deployments.worker",
    "lib.models.counts",
    "lib.models.layers",
    "tests.faults.__main__",
    "tests.benchmarks.__main__",
    "tests.benchmarks.evaluation_cost",
    "tests.benchmarks.gate",
    "tests.benchmarks.near_duplicates",
    "tests.benchmarks.orchestration",
)
"""Each has a function `make_parser`."""
LINKS = {", ".join(RECIPES): "those of [recipes.md](recipes.md)"}
"""What stands in help texts, and in the page instead of it."""
DEFAULT = re.compile(r" ?\(default: ([^()]*)\)")
TARGET = re.compile(r"^([a-z-]+):.*?## (.*)$", re.MULTILINE)

CLI_SOURCE = "the parsers of the commands and the Makefile"
CLI_INTRODUCTION = """# Commands

Run a command with the Python of the environment that `make setup` creates: `.venv/bin/python -m flows.train`. Each one
explains itself with `--help`. [configuration.md](configuration.md) lists the environment variables.

"""
EXIT_CODES_INTRODUCTION = f"""## Exit codes

{LAST_LINE} [reliability.md](reliability.md#exit-codes) says what to do about each code.

"""
MAKE_INTRODUCTION = """## make

`ARGS` passes options to the command: `make train ARGS="--dataset cifar100 --epochs 2"`.

"""
FLOWS_INTRODUCTION = """## `python -m flows`

It lists the commands below. `python -m flows train` is the same as `python -m flows.train`.

"""

CONFIGURATION_SOURCE = "lib/settings.py and docs/reference.py"
CONFIGURATION_INTRODUCTION = """# Configuration

The package reads its configuration from environment variables. A command-line option wins over its variable: `--store`
over `STORE_URI`, `--allow-cpu` over `ALLOW_CPU`. [cli.md](cli.md) lists the options.

## The environment file `.env`

`.env` in the root of the repository says how to reach an installation, one `NAME=value` per line. Put values with
spaces or any of `$&;` in single quotes: a shell can then read the file too.

- All commands read it if it exists, through make and as `python -m …`. The variables of the terminal win over it, and
  options win over both. Values are taken as they are; `$` is not expanded.
- `ENV_FILE=/etc/image-training.env` names another file: `make deploy ENV_FILE=/etc/image-training.env`, or
  `ENV_FILE=/etc/image-training.env python -m deployments.worker …`. `ENV_FILE=` (empty) means none.
- Commands that use the store print on standard error which one it is, and the file if that named it.
- `make stack` writes `.env`, and deletes it when it stops. Meanwhile `make train` uses the store and the server of the
  stack. `make stack` does not overwrite a file that it did not write.
- Prefect itself reads variables that begin with `PREFECT_` from `.env` in the current folder.

"""
SETTINGS_INTRODUCTION = """## Settings

`.store` is in the root of the repository. Lists are written as JSON.

"""
OTHERS_INTRODUCTION = """## Variables that others read

The AWS SDK, Prefect and TensorFlow read many more; these matter here.

"""
OTHERS = {
    "AWS_ENDPOINT_URL_S3": ("AWS SDK", "AWS", "URL of an S3 server that is not AWS."),
    "AWS_ACCESS_KEY_ID": ("AWS SDK", "not set", "Access key of the store. Without it the SDK uses a profile or role."),
    "AWS_SECRET_ACCESS_KEY": ("AWS SDK", "not set", "Secret that belongs to the access key."),
    "AWS_SESSION_TOKEN": ("AWS SDK", "not set", "Session token, if the keys are temporary."),
    "AWS_PROFILE": ("AWS SDK", "`default`", "Profile in `~/.aws` that has the keys and the region."),
    "AWS_REGION": ("this package", "`us-east-1`", "Region, if neither `AWS_DEFAULT_REGION` nor the profile names one."),
    "AWS_MAX_ATTEMPTS": ("this package", f"`{ATTEMPTS}`", "Attempts for each S3 call; for `make doctor` it is `3`."),
    "PREFECT_API_URL": (
        "Prefect",
        "not set",
        "URL of the Prefect server; it ends in `/api`. If it is not set, each command that runs a flow starts a "
        "temporary server, unless `PREFECT_SERVER_EPHEMERAL_ENABLED` is false, and `make deploy` ends with an error.",
    ),
    "PREFECT_API_AUTH_STRING": ("Prefect", "not set", "`user:password`, if the server requires it."),
    "CUDA_VISIBLE_DEVICES": (
        "CUDA, this package",
        "all GPUs",
        "GPUs that may be used, such as `0,1`. `-1` or empty hides all. Each training locks one of them for itself.",
    ),
    "TF_ENABLE_ONEDNN_OPTS": (
        "TensorFlow",
        "by CPU",
        "`1` turns oneDNN on, `0` off. TensorFlow turns it on by itself only on CPUs with AVX-512 VNNI; on others `1` "
        "makes convolutions faster. Weights are identical only if all runs use the same value.",
    ),
    "TMPDIR": ("Python", "`/tmp`", "Folder for temporary files, such as downloads."),
    "ENV_FILE": (
        "all commands",
        "`.env`",
        "The environment file. If set, it must exist; set to nothing, no file is read.",
    ),
    "PYTHON": ("`make`", "`python3`", "Python 3.11 to 3.13 that `make setup` creates the environment with."),
}
"""Variable → who reads it, default, meaning."""


def cli_page() -> str:
    """Each command with its options, from the parsers; the targets of the Makefile; the exit codes."""
    codes = table(("code", "meaning"), *((str(code), sentence(meaning)) for code, meaning in EXIT_CODES.items()))
    targets = TARGET.findall((REPOSITORY / "Makefile").read_text())
    made = table(("target", "what it does"), *((f"`make {name}`", sentence(does)) for name, does in targets))
    listed = ((f"[`{name}`](#python--m-flows{name})", sentence(does)) for name, does in FLOWS.items())
    family = table(("command", "what it does"), *listed)
    return (
        HEADER.format(source=CLI_SOURCE)
        + CLI_INTRODUCTION
        + "\n".join([MAKE_INTRODUCTION + made, FLOWS_INTRODUCTION + family, *map(_command, COMMANDS)])
        + f"\n{EXIT_CODES_INTRODUCTION}{codes}"
    )


def _command(module: str) -> str:
    parser: argparse.ArgumentParser = import_module(module).make_parser()
    # Not by `format_help`: it depends on the width of the terminal and the version of Python.
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    options = table(("option", "default", "meaning"), *map(_option, actions)) if actions else ""
    return f"## `python -m {module.removesuffix('.__main__')}`\n\n{(parser.description or '').strip()}\n\n{options}"


def _option(action: argparse.Action) -> tuple[str, str, str]:
    value = [] if action.nargs == 0 else [str(action.metavar or action.dest.upper())]
    flag = f"`{' '.join([*action.option_strings, *value, *(['…'] if action.nargs == '+' else [])])}`"
    text = (action.help or "") % vars(action)
    for listed, link in LINKS.items():
        text = text.replace(listed, link)
    if isinstance(action, argparse._AppendAction):
        text += "; repeat it for more"
    return flag, _option_default(action, text), sentence(DEFAULT.sub("", text))


def _option_default(action: argparse.Action, text: str) -> str:
    """What the help says: the parser's own may be this machine's. Raises ValueError where the help does not say it."""
    if said := DEFAULT.search(text):
        return said[1]
    if action.required:
        return "required"
    if action.default not in (None, False):
        raise ValueError(f"the help of {action.dest} must contain (default: …); received {text!r}")
    return "off" if action.nargs == 0 else "not set"


def configuration_page() -> str:
    """Each environment variable, from the fields of `lib.settings.Settings` and the OTHERS."""
    head = ("variable", "default", "meaning")
    own = [
        (f"`{name.upper()}`", _default(field.default), sentence(field.description or ""))
        for name, field in Settings.model_fields.items()
    ]
    others = [(f"`{name}`", *row) for name, row in OTHERS.items()]
    return (
        HEADER.format(source=CONFIGURATION_SOURCE)
        + CONFIGURATION_INTRODUCTION
        + f"{SETTINGS_INTRODUCTION}{table(head, *own)}\n"
        + f"{OTHERS_INTRODUCTION}{table(('variable', 'read by', 'default', 'meaning'), *others)}"
    )


def _default(value: object) -> str:
    """As it is written in the environment."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{each:g}' for each in value)}]`"
    if isinstance(value, bool | float):
        return f"`{value:g}`"
    return f"`{str(value).removeprefix(f'{REPOSITORY}/')}`"
