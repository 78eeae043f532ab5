"""`python -m study tune`: searches the settings of one method with Optuna.

Each trial is a training run like any other (UDR: one for each seed), in a process and a folder of
its own. Optuna's sampler (TPE, Bergstra et al. 2011) proposes the settings, and its median rule
(Golovin et al. 2017) ends runs that fall behind. Of Optuna's pruners, successive halving is made
for many trials at once: with some tens, one after the other, it would judge the first against
nobody and keep a quarter of the others, while the median asks that most have been better.

Which settings a trial gets and whether it is pruned depends on scores and seed alone, never on the
clock: all runs are compared at the same steps, on their snapshots, and the sampler draws anew for
each trial. A search that was killed goes on to the very trials that it would have had, if runs
repeat to the last bit, as they do on a processor.
"""

import argparse
import importlib.util
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluator.metrics import FURTHER_METRICS, METRICS
from study import settings
from study.folder import sole_study
from study.settings import Study
from study.tune.criteria import UDR, check_name, criterion
from study.tune.search_space import DEFAULTS, Range, check, parse
from submission import configuration
from submission.budget import parse_duration
from submission.command_line import EXIT_DONE, EXIT_FAILED, parse_count, parse_seed
from submission.errors import UserError
from submission.installation import how_to_get

if TYPE_CHECKING:
    import optuna

    from study.tune.trials import Search

_DEFAULT_FOLDER = Path("scratch/tune")
_OPTUNA_NAME = "tune"
_SNAPSHOT_EVERY = "trainer.snapshot_every"
_CHECKS_PER_RUN = 10
_MOST_FAILED_RUNNING = 3
_ANEW = "remove it, and the search begins anew, without training again what lies in trials/"
# Options of this command say these.
_OPTIONS = {
    "study.methods": "--method",
    "study.seeds": "--seed",
    "study.variants": "--search",
    "study.metrics": "--criterion",
    "trainer.seed": "--seed",
}
_NOT_SEARCHED = ("trainer.seed", "trainer.max_steps", "trainer.budget", _SNAPSHOT_EVERY)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `python -m study tune`."""
    parser.add_argument("--method", required=True, help="the method whose settings are searched")
    parser.add_argument("--dataset", help="the data set (the preset's)")
    parser.add_argument(
        "--preset",
        default="quick",
        help=f"the study whose data set and settings the trials have: "
        f"{', '.join(settings.presets())} (default: quick)",
    )
    parser.add_argument(
        "--criterion",
        default="elbo",
        help="what is maximised: elbo or udr, which need no labels, or a metric of the evaluator "
        "such as mig, which does: a supervised choice (default: elbo)",
    )
    parser.add_argument(
        "--trials",
        type=parse_count,
        default=20,
        metavar="N",
        help="how many there shall be in all, those of earlier commands included (default: 20)",
    )
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="'X.y = log(1, 20)'",
        help="a setting and its range: float(low, high), log(low, high), int(low, high) or "
        "choice(a, b, …); repeatable; replaces the method's own ranges",
    )
    parser.add_argument("--steps", type=parse_count, metavar="N", help="steps a run (the preset's)")
    parser.add_argument("--budget", help="time a run at most, such as 10m (the preset's)")
    parser.add_argument(
        "--udr-seeds",
        type=parse_count,
        default=3,
        metavar="N",
        help="runs a trial for --criterion udr, two or more (default: 3)",
    )
    parser.add_argument(
        "--seed",
        type=parse_seed,
        default=0,
        help="of the sampler and of the runs; UDR's runs have this and the following (default: 0)",
    )
    parser.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="'X.y = z'",
        help="a setting of the study, of all runs or of the evaluator; repeatable",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="the search's folder (default: scratch/tune/METHOD-CRITERION)",
    )


def tune(arguments: argparse.Namespace) -> int:
    """Searches until there are as many trials as asked for, and shows what was found.

    Args:
        arguments: Those of `add_arguments`.

    Returns:
        The exit code: 1 if the search was interrupted, or no trial finished.

    Raises:
        UserError: A mistake in the arguments, or a folder that holds another search.
    """
    check_name(arguments.criterion)
    space = _space(arguments)
    study = _study(arguments)
    if importlib.util.find_spec("optuna") is None:
        raise UserError(f"Optuna is not installed: {how_to_get('optuna')}")

    # What takes seconds to import comes after the names are checked.
    import gin
    from rich.console import Console

    from study.run.pool import local_gpus
    from study.tune import findings
    from study.tune.trials import Search, SearchFolder
    from submission import datasets
    from submission.training.recipe import Recipe

    own = configuration.read_by(arguments.method, study.preset, study.settings)
    # The preset's settings are for several methods, those of the command line for this one.
    asked = [one for one in study.settings if one in own or one in arguments.gin]
    configuration.configure(arguments.method, study.preset, asked)
    check(space, _NOT_SEARCHED)
    steps = Recipe().max_steps
    gin.clear_config()
    study = replace(study, settings=(*study.settings, *_snapshots(arguments, steps)))
    dataset = datasets.load(study.dataset)
    chosen = criterion(arguments.criterion, dataset, study.evaluation)
    if dataset.no_scores:
        if chosen.supervised:
            raise UserError(f"--criterion {arguments.criterion}: {dataset.no_scores}")
        study = replace(study, metrics=())

    console = Console(markup=False, highlight=False)
    default = _DEFAULT_FOLDER / f"{arguments.method}-{arguments.criterion}"
    folder = SearchFolder((arguments.output or default).absolute())
    search = Search(
        folder,
        study,
        space,
        chosen,
        arguments.seed,
        tuple(local_gpus()),
        lambda line: console.print(line, soft_wrap=True),
    )
    with sole_study(folder):
        trials = _open(search)
        search.say(f"{arguments.method} on {study.dataset}, by {search.criterion.label}")
        if not search.criterion.prunes:
            search.say(f"{search.criterion.name} compares finished runs, so no trial is pruned")
        try:
            complete = _take_trials(search, trials, arguments.trials)
        except KeyboardInterrupt:
            search.say("interrupted: the same command goes on")
            return EXIT_FAILED
        findings.show(search, trials, console)
    return EXIT_DONE if complete and findings.best_trial(trials) is not None else EXIT_FAILED


def _space(arguments: argparse.Namespace) -> tuple[Range, ...]:
    """The ranges of the command line, else the method's own."""
    texts = arguments.search or DEFAULTS.get(arguments.method, ())
    space = tuple(parse(text) for text in texts)
    fixed = {binding.partition("=")[0].strip() for binding in arguments.gin}
    for one in space:
        if one.setting in fixed:
            raise UserError(f"{one.setting} is both set by --gin and searched: choose one")
    return space


def _study(arguments: argparse.Namespace) -> Study:
    """The study that has one method, and what all trials share."""
    for binding in arguments.gin:
        name = binding.partition("=")[0].strip()
        if name in _OPTIONS:
            raise UserError(f"--gin {binding!r}: {_OPTIONS[name]} says that here")
    bindings = []
    if arguments.dataset is not None:
        bindings.append(f"study.dataset = {arguments.dataset!r}")
    if arguments.criterion in FURTHER_METRICS:
        bindings.append(f"study.metrics = {(*METRICS, arguments.criterion)!r}")
    if arguments.steps is not None:
        bindings.append(f"trainer.max_steps = {arguments.steps}")
    if arguments.budget is not None:
        parse_duration(arguments.budget, "--budget", above_zero=True)
        bindings.append(f"trainer.budget = {arguments.budget!r}")
    study = settings.read(arguments.preset, [*bindings, *arguments.gin])
    configuration.check_names(arguments.method, study.preset)
    if not arguments.search and arguments.method not in DEFAULTS:
        raise UserError(
            f"{arguments.method} has no settings of its own: name some with --search, "
            "such as 'trainer.learning_rate = log(1e-4, 1e-2)'"
        )
    runs = 1
    if arguments.criterion == UDR:
        if arguments.udr_seeds < 2:
            raise UserError("--udr-seeds is 1: UDR compares runs, so give 2 or more")
        runs = arguments.udr_seeds
    seeds = tuple(range(arguments.seed, arguments.seed + runs))
    return replace(study, methods=(arguments.method,), seeds=seeds, variants={"": ()})


def _snapshots(arguments: argparse.Namespace, steps: int) -> tuple[str, ...]:
    """How often runs are compared: as `--gin` says, else ten times; UDR's runs never are."""
    if arguments.criterion == UDR:
        return ("trainer.snapshot_every = None",)
    if any(binding.partition("=")[0].strip() == _SNAPSHOT_EVERY for binding in arguments.gin):
        return ()
    return (f"trainer.snapshot_every = {max(1, steps // _CHECKS_PER_RUN)}",)


def _open(search: "Search") -> "optuna.Study":
    """Optuna's study in the search's folder: a new one, or that of earlier commands.

    The storage is Optuna's journal, a file that is only ever appended to. An SQLite file relies on
    locks that network file systems may lack (sqlite.org/faq.html#q5), and may be damaged there.

    Raises:
        UserError: The folder holds a search for something else, or a damaged one.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = search.folder.journal
    _mend(journal)
    backend = JournalFileBackend(str(journal), JournalFileOpenLock(str(journal)))
    try:
        study = optuna.create_study(
            storage=JournalStorage(backend),
            study_name=_OPTUNA_NAME,
            direction="maximize",
            load_if_exists=True,
        )
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # Optuna replays the records unchecked: a wrong one fails in any way.
        raise UserError(
            f"{journal} holds a wrong record ({type(error).__name__}: {error}): {_ANEW}"
        ) from error
    purpose = _purpose(search)
    known = study.user_attrs
    different = [name for name in purpose if name in known and known[name] != purpose[name]]
    if different:
        name = different[0]
        raise UserError(
            f"{search.folder.path} holds a search with the {name} {known[name]}, "
            f"not {purpose[name]}: give another --output"
        )
    for name in purpose.keys() - known.keys():
        study.set_user_attr(name, purpose[name])
    return study


def _mend(journal: Path) -> None:
    """Removes what a process that was killed amid a write has left.

    This process is the only one here, so a lock is nobody's. What is torn at the end, which Optuna
    reads over, would be an error once there is something behind it; what it told is done again.

    Raises:
        UserError: A line amid others is damaged.
    """
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    with journal.open("rb+") as file:
        lines = file.readlines()
        whole = [_is_record(line) for line in lines]
        count = whole.index(False) if False in whole else len(lines)
        if any(whole[count:]):
            raise UserError(f"{journal}, line {count + 1}, is damaged: {_ANEW}")
        file.truncate(sum(map(len, lines[:count])))


def _is_record(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _purpose(search: "Search") -> dict[str, Any]:
    """What a search is for, as the storage keeps it: plain texts, numbers and lists."""
    study = asdict(search.study)
    # Another number of attempts gives the same trials.
    del study["attempts"]
    purpose = {
        "criterion": search.criterion.name,
        "supervised": search.criterion.supervised,
        **study,
        "space": [str(one) for one in search.space],
        "seed": search.seed,
    }
    plain: dict[str, Any] = json.loads(json.dumps(purpose))
    return plain


def _take_trials(search: "Search", study: "optuna.Study", count: int) -> bool:
    """Goes on with trials whose process was killed, then begins others until there are enough.

    Returns:
        False if it gave up, since several trials in a row failed.
    """
    import optuna
    from optuna.trial import TrialState

    from study.tune import findings
    from study.tune.trials import carry_out

    # The process that told the last trial may have been killed before it wrote this.
    findings.write(search, study)
    killed = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    while killed or len(study.get_trials(deepcopy=False)) < count:
        carry_out(search, optuna.Trial(study, killed.pop(0)._trial_id) if killed else study.ask())
        findings.write(search, study)
        last = [one.state for one in study.get_trials(deepcopy=False)[-_MOST_FAILED_RUNNING:]]
        if last == [TrialState.FAIL] * _MOST_FAILED_RUNNING:
            search.say(f"the last {len(last)} trials failed: the search ends here")
            return False
    return True
