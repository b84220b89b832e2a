"""Short answers of the command line that need neither torch nor Lightning, and therefore come at once."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from command_line.errors.messages import did_you_mean
from command_line.quick.table import QUICK
from command_line.reading.configurations import config_files
from command_line.reading.yaml_files import check_file
from command_line.subcommands.table import OWN
from visionscapes.bundled import configurations, find_configuration
from visionscapes.errors import UserError

SUBCOMMANDS = {
    "fit": "train a module (and validate it on the way)",
    "validate": "run the validation data of a module",
    "test": "run the evaluation of a module",
    "predict": "write the features or images of a module for data of your own",
    **{name: own.meaning for name, own in OWN.items()},
}
# (option, default, meaning). tests/command_line/test_help.py compares this list with the real parser.
OPTIONS = {
    "What to run": [
        ("--config", "", "YAML file with model, data and trainer; give several to stack fragments, later ones win"),
        ("--model", "", "class of the module, then its arguments as --model.lr 0.01; list them: --model.help CLASS"),
        ("--data", "", "class of the datamodule, then its arguments likewise; list them: --data.help CLASS"),
        ("--ckpt_path", "null", "checkpoint to start from: a file, a run folder, or last or best of the newest run"),
        ("--seed_everything", "0", "seed of every random number; true draws one and writes it down"),
    ],
    "Where it writes": [
        ("--name", "null", "name of the run; default: the SLURM job's, or the time"),
        ("--runs_dir", "runs", "the run's folder is <runs_dir>/<method>/<name>/"),
        ("--resume", "false", "go on with the run --name, or begin it; whole: from its newest undamaged checkpoint"),
        ("--test_after_fit", "false", "evaluate the trained module with the test data at the end of fit"),
        ("--checkpoint.every_n_train_steps", "null", "save every n steps; default: every epoch"),
        ("--checkpoint.monitor", "null", "logged value by which the best checkpoint is kept beside the last"),
    ],
    "How it runs": [
        ("--trainer.max_epochs", "null", "passes over the training data"),
        ("--trainer.max_steps", "-1", "optimiser steps; whichever limit comes first ends the training"),
        ("--trainer.accelerator", "auto", "cpu, gpu, ..."),
        ("--trainer.devices", "auto", "number of devices, or their indices"),
        ("--trainer.num_nodes", "1", "machines"),
        ("--trainer.strategy", "auto", "ddp, ..."),
        ("--trainer.precision", "null", "32, bf16-mixed, 16-mixed, or auto: bf16-mixed where hardware has it, else 32"),
        ("--trainer.accumulate_grad_batches", "1", "batches an optimiser step"),
        ("--trainer.gradient_clip_val", "null", "largest norm of the gradient"),
        ("--trainer.limit_train_batches", "null", "batches (or share) of an epoch; likewise val, test, predict"),
        ("--trainer.check_val_every_n_epoch", "1", "epochs between two validations"),
        ("--trainer.log_every_n_steps", "10", "steps between two rows of metrics.csv"),
        ("--trainer.callbacks+", "null", "add a callback, as in --trainer.callbacks+=callbacks.SelfSimilarityPicture"),
        ("--trainer.fast_dev_run", "false", "one batch of everything, nothing saved"),
    ],
    "Inspect": [
        ("--print_config", "", "print the complete configuration and exit"),
        ("--model.help", "", "print the arguments of a module's class and exit; likewise --data.help"),
        ("--help_full", "", "print every option there is"),
    ],
}
EXAMPLES = """\
  python cli.py fit --config configs/lift.yaml
  python cli.py fit --config configs/lift.yaml --model.lr 0.0003 --name slow
  python cli.py fit --config configs/lift.yaml --name slow --resume
  python cli.py test --config configs/lift.yaml --ckpt_path runs/lift/slow/checkpoints/last.ckpt
  python cli.py fit --config configs/lift.yaml --config configs/hardware/gpu.yaml --config configs/logging/wandb.yaml"""


def answer(args: list[str]) -> str | None:
    """Return what a request for help, the version or a quick command prints, None for a command that has to run.

    Raises:
        UserError: the subcommand is missing or unknown, or a configuration file does not exist.
    """
    if not args or args[0] in ("-h", "--help"):
        return overview()
    if args[0] == "--version":
        packages = ("visionscapes", "pytorch-lightning", "torch")
        return "\n".join(f"{package} {_version(package)}" for package in packages)
    if args[0] in QUICK:
        return QUICK[args[0]].load()(args[1:])
    if args[0] not in SUBCOMMANDS:
        suggestion = did_you_mean(args[0], [*SUBCOMMANDS, *QUICK])
        raise UserError(f"{args[0]!r} is no subcommand{suggestion or ', which comes first: ' + ', '.join(SUBCOMMANDS)}")
    if {"-h", "--help"} & set(args):
        return options(args[0])
    for path in config_files(args):
        check_config(path)
    from command_line.reading.early import refuse_early  # needs the parser's own package, which --help does not

    refuse_early(args)
    return None


def check_config(path: str) -> None:
    """Find the mistakes in a configuration file that can be found without its classes.

    Raises:
        UserError: there is no such file, or it is no YAML mapping.
    """
    if not path or path.startswith("--"):
        raise UserError("--config needs a file, as in --config configs/lift.yaml")
    file = Path(path) if Path(path).is_dir() else find_configuration(path)
    if file is None:
        known = [*configurations(), *(file.stem for file in configurations().values())]
        raise UserError(f"there is no file {path}{did_you_mean(path, known)}")
    check_file(file, path)


def overview() -> str:
    """Return the help of the command itself: subcommands, configurations, examples."""
    width = max(map(len, [*SUBCOMMANDS, *QUICK])) + 2
    commands = "\n".join(f"  {name:<{width}}{text}" for name, text in SUBCOMMANDS.items())
    quick = "\n".join(f"  {name:<{width}}{command.meaning}" for name, command in QUICK.items())
    return "\n".join(
        [
            "usage: python cli.py SUBCOMMAND --config FILE [--config FRAGMENT ...] [--KEY VALUE ...]",
            f"\nSubcommands (each with --help)\n{commands}",
            f"\nWithout a configuration\n{quick}",
            f"\nConfigurations\n{_config_table()}",
            f"\nExamples\n{EXAMPLES}",
            "\nEvery run writes into its own folder runs/<method>/<name>/. Exit status: 0 done, 2 your input, "
            "130 Ctrl-C, 143 SIGTERM.",
        ]
    )


def options(subcommand: str) -> str:
    """Return the options of a subcommand that most runs need."""
    parts = [
        f"usage: python cli.py {subcommand} --config FILE [--config FRAGMENT ...] [--KEY VALUE ...]",
        f"\n{SUBCOMMANDS[subcommand][0].upper()}{SUBCOMMANDS[subcommand][1:]}.",
    ]
    for title, rows in _options_of(subcommand).items():
        parts.append(f"\n{title}")
        for option, default, meaning in rows:
            if option == "--test_after_fit" and subcommand != "fit":
                continue
            text = textwrap.wrap(f"{meaning} [{default}]" if default else meaning, 80)
            head = f"  {option:<36}"
            parts += [head + text[0], *(" " * len(head) + line for line in text[1:])]
    examples = EXAMPLES
    if subcommand in OWN:
        examples = "\n".join(f"  {line}" for line in OWN[subcommand].examples)
    return "\n".join([*parts, "\nIn brackets the default. Examples", examples])


def _options_of(subcommand: str) -> Mapping[str, Sequence[tuple[str, str, str]]]:
    """Return what the quick help of a subcommand lists; one of our own runs no trainer."""
    if subcommand not in OWN:
        return OPTIONS
    own = OWN[subcommand]
    run = [row for row in OPTIONS["What to run"] if "model" in own.builds or row[0] != "--ckpt_path"]
    where = [row for row in OPTIONS["Where it writes"] if row[0] in ("--name", "--runs_dir")]
    titles = ("What to run", f"What {subcommand} does", "Where it writes", "Inspect")
    return dict(zip(titles, (run, own.options, where, OPTIONS["Inspect"]), strict=True))


def _config_table() -> str:
    paths = sorted(configurations().items(), key=lambda each: (each[0].count("/"), each[0]))
    width = max((len(name) for name, _ in paths), default=0) + 2
    rows = []
    for path, file in paths:
        first = file.open().readline().strip()
        meaning = re.split(r"[:;.](?:\s|$)", first.lstrip("# "))[0] if first.startswith("#") else ""
        rows.append(f"  {path:<{width}}{textwrap.shorten(meaning, 76, placeholder=' ...')}".rstrip())
    return "\n".join(rows) or "  (none here)"


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "(not installed)"
