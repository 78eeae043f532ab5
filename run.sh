#!/usr/bin/env bash
# Trains a disentanglement method, scores its representation and reports it. ./run.sh --help tells more.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"

# A log file, or the portal, must see each line as it is printed.
export PYTHONUNBUFFERED=1

# On the portal there is no network and nothing to install, and this process is the container's first:
# exec hands its signals to the training.
case ${AICROWD_IS_GRADING:-} in
  "" | 0 | [Nn]o | NO | [Ff]alse | FALSE) ;;
  *) exec python -m submission "$@" ;;
esac

# What runs here has its modules from .venv, and pip puts them there, whatever the user's environment says.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT

python=.venv/bin/python
log=scratch/set-up.log

# Output that nobody reads any more (| head -1) is no reason to stop.
trap '' PIPE

help() {
  cat 2>/dev/null <<'EOF' || true
Trains a disentanglement method inside a time budget, scores the representation with the five metrics
of the NeurIPS 2019 Disentanglement Challenge, and writes a report. The first start installs what it
needs into .venv.

  ./run.sh [OPTIONS]                train, score, report
  ./run.sh --docker [OPTIONS]       the same in the image for the challenge's portal, as the portal did
  ./run.sh test [PYTEST ARGUMENTS]  check formatting, lint and types, run the tests (--slow: all of them)
  ./run.sh lint                     check formatting, lint and types alone

Options (python -m submission --help lists the rest; --seed S and so on pass through):
  --method M      beta_vae, beta_tcvae, factor_vae, dip_vae_i, dip_vae_ii, info_vae or vae [beta_tcvae]
  --dataset D     a data set of disentanglement_lib, mpi3d_mini, which is rendered here, or the path of your own [mpi3d_mini]
  --budget T      time for training and export: 90s, 5m, 8h [the preset's]
  --preset P      quick (5m), challenge (8h), authors (8h) or paper (72h) [quick]
  --gin 'X.y = z' overrides one setting of gin/; may be repeated
  --gin-file F    a file of such lines, read before --gin; with --docker, one below gin/
  --name N        the run's folder below the output folder [experiment_name]

Examples:
  ./run.sh
  ./run.sh --method factor_vae --budget 20m --seed 3 --name factor_vae_3
  ./run.sh --dataset mpi3d_toy --preset challenge --budget 8h
  ./run.sh --gin 'beta_tcvae.beta = 8.0'
  ./run.sh --docker --budget 20m
  ./run.sh test
  ./run.sh test tests/evaluator -k mig

Environment:
  AICROWD_OUTPUT_PATH      output folder [./scratch/shared]
  AICROWD_EVALUATION_NAME  the run's name, as --name [experiment_name]
  DISENTANGLEMENT_LIB_DATA folder of the data sets [./scratch/dataset]
  PIP_EXTRA_INDEX_URL      https://download.pytorch.org/whl/cpu at the first start saves gigabytes on a
                           machine without an NVIDIA GPU
  BASE_IMAGE, TORCH_INDEX, BUILD_NETWORK  for --docker: build arguments of the Dockerfile, and the
                           network of the build. TORCH_INDEX=https://download.pytorch.org/whl/cpu
                           saves gigabytes as above

Exit codes: 0 done, 2 a mistake that the one line on stderr tells how to mend, 1 anything else.
EOF
}

say() { # say MESSAGE...
  echo "$@" 2>/dev/null || true
}

fail() { # fail EXIT_CODE MESSAGE...
  say "error: ${*:2}" >&2 || true
  exit "$1"
}

find_python() {
  local candidate
  # The user's own python3 first: it is the one an active conda or pyenv environment means.
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys, venv, ensurepip
sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail 2 "found no Python 3.11, 3.12 or 3.13 with the venv module (Debian, Ubuntu: apt-get install python3-venv)"
}

pip_logged() {
  PIP_USER=0 "$python" -m pip --no-input --disable-pip-version-check \
    install --progress-bar off --only-binary :all: "$@" 2>&1 |
    tee -a "$log" |
    # A terminal sees on one line what pip is at; pip's own lines would fill pages.
    if [[ -t 1 ]]; then
      awk '/^ *(Collecting|Downloading|Installing) / { printf "\r\033[K  %.76s", $0; fflush() }
           END { printf "\r\033[K" }' || cat >/dev/null
    else
      cat >/dev/null
    fi
}

pip_install() { # pip_install --requirement FILE
  supervise pip_logged "$@" && return
  grep '^ERROR' "$log" | tail -n 1 >&2 || true
  set_up_failed "installing ${*: -1}"
}

check_writable() { # check_writable PATH...: those that are there can be written
  local path
  for path in "$@"; do
    if [[ -e $path && ! -w $path ]]; then
      path=$PWD/$path
      fail 2 "${path%/.} can't be written, and set-up writes there: clone into a folder of yours"
    fi
  done
}

# A full disk can be mended; what else can stop the set-up, its log tells.
set_up_failed() { # set_up_failed WHAT
  local temporary=${TMPDIR:-/tmp}
  [[ -d $temporary ]] || temporary=/tmp
  if (($(free_mib .) < 10 || $(free_mib "$temporary") < 10)) || grep -qs 'No space left\|quota exceeded' "$log"; then
    fail 2 "no room on the disk: $(free_mib .) MiB are free for .venv, $(free_mib "$temporary") MiB in $temporary" \
      "(TMPDIR): free some space"
  fi
  fail 1 "$1 failed; the log is $log"
}

free_mib() { # free_mib FOLDER
  df -Pk -- "$1" | awk 'END { print int($4 / 1024) }'
}

stamp() { # stamp LOCK...: what .venv holds once these files are installed
  { "$python" --version && cat -- "$@"; } 2>/dev/null | cksum
}

is_installed() { # is_installed LOCK...
  local stamp_file=.venv/installed-$1
  [[ -f $stamp_file && $(<"$stamp_file") == "$(stamp "$@")" ]]
}

# Takes a lock, and fails where another process holds it. A system without flock, or a file system without
# locks, has none to wait for.
take_lock() { # take_lock [--shared] DESCRIPTOR
  local status=0
  ! command -v flock >/dev/null || flock --nonblock "$@" 2>/dev/null || status=$?
  ((status != 1))
}

# Runs COMMAND unless .venv already holds what the locks pin; one process at a time. The stamp is written
# last, so that a set-up that was cut short is begun anew.
install_once() { # install_once COMMAND LOCK...
  local command=$1
  shift
  if is_installed "$@"; then return; fi
  check_writable . .venv .venv/installed-requirements.txt scratch scratch/set-up.lock "$log"
  mkdir -p scratch
  exec 9>scratch/set-up.lock
  if ! take_lock 9; then
    say "set-up: waiting for another one in this folder"
    flock 9
  fi
  if ! is_installed "$@"; then
    "$command"
    stamp "$@" >".venv/installed-$1"
  fi
  exec 9>&-
}

make_environment() {
  [[ $(uname -s) == Linux ]] || fail 2 "the locks in requirements*.txt are for Linux"
  local base
  base=$(find_python)
  if [[ -e .venv/installed-requirements.txt ]]; then
    exec 8>>.venv/installed-requirements.txt
    take_lock 8 ||
      fail 2 "a run here uses .venv, which has to be made anew (Python or requirements*.txt changed): wait for it," \
        "or use another clone"
    exec 8>&-
  fi
  : >"$log"
  say "set-up: making .venv with $("$base" --version)"
  "$base" -m venv --clear .venv >>"$log" 2>&1 || set_up_failed "making .venv"
  say "set-up: installing $(grep -c '==' requirements.txt) packages (requirements.txt)"
  pip_install --require-hashes --no-deps --requirement requirements.txt
  say "set-up: installing $(grep '==' requirements-torch.txt)"
  if [[ -z ${PIP_EXTRA_INDEX_URL:-}${PIP_FIND_LINKS:-} ]] && ! command -v nvidia-smi >/dev/null; then
    say "set-up: no NVIDIA GPU here: Ctrl-C, then PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu" \
      "./run.sh saves gigabytes"
  fi
  pip_install --requirement requirements-torch.txt
}

add_test_tools() {
  say "set-up: installing what the tests need (requirements-dev.txt)"
  pip_install --require-hashes --no-deps --requirement requirements-dev.txt
}

set_up() {
  install_once make_environment requirements.txt requirements-torch.txt
  # Shared by all that runs from .venv, for as long as it runs.
  exec 8<.venv/installed-requirements.txt
  take_lock --shared 8 || true
}

# Runs a command and hands signals on to it. In a process group of its own: a Ctrl-C then reaches it once,
# through here, and not a second time from the terminal. A closed terminal ends it as TERM does.
supervise() {
  local child status signalled
  trap 'signalled=1; pass_on TERM' TERM HUP
  trap 'signalled=1; pass_on INT' INT
  set -m
  "$@" &
  child=$!
  set +m
  while :; do
    signalled=
    wait "$child" && status=0 || status=$?
    # A trapped signal ends the wait early; the command's own status comes from the next one.
    [[ -n $signalled ]] || break
  done
  trap - TERM INT HUP
  ((status == 0 || status == 2)) || status=1
  return $status
}

pass_on() { # pass_on SIGNAL
  kill -"$1" -- "-${!-none}" 2>/dev/null || exit 1
}

lint() {
  set_up
  install_once add_test_tools requirements-dev.txt
  "$python" -m ruff format --check .
  "$python" -m ruff check .
  "$python" -m mypy submission evaluator study docker/portal.py docker/container benchmarks docs
}

run_tests() {
  # The slow tests need the machine for themselves, the quick ones don't.
  local selection=(-m "not slow" --numprocesses auto --maxprocesses 4) arguments=() argument
  for argument in "$@"; do
    case $argument in
      --slow) selection=() ;;
      -m) selection=() arguments+=("$argument") ;;
      *) arguments+=("$argument") ;;
    esac
  done
  lint
  exec "$python" -m pytest "${selection[@]}" "${arguments[@]}"
}

read_names() {
  local argument previous=""
  export AICROWD_OUTPUT_PATH=${AICROWD_OUTPUT_PATH:-scratch/shared}
  export AICROWD_EVALUATION_NAME=${AICROWD_EVALUATION_NAME:-experiment_name}
  export AICROWD_DATASET_NAME=${AICROWD_DATASET_NAME:-mpi3d_mini}
  for argument in "$@"; do
    case $argument in
      --name=* | --dataset=*) previous=${argument%%=*} argument=${argument#*=} ;;
    esac
    [[ $previous != --name ]] || AICROWD_EVALUATION_NAME=$argument
    [[ $previous != --dataset ]] || AICROWD_DATASET_NAME=$argument
    previous=$argument
  done
}

train_and_score() {
  local status=0
  read_names "$@"
  local folder=$AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME
  [[ $folder == /* ]] || folder=${NDC_ROOT:-.}/$folder

  set_up
  supervise "$python" -m submission "$@" || status=$?
  if ((status == 1)) && [[ -f $folder/representation/pytorch_model.pt ]]; then
    say "Training did not finish, so nothing was scored. To score the representation as it stands:" >&2
    say "  $python -m evaluator $(printf %q "$folder/representation")" >&2
  fi
  ((status == 0)) || exit $status

  supervise "$python" -m evaluator "$folder/representation"
}

# The options go to training in the container, but for the data set, which may be a path out here; the name is
# wanted outside it too.
simulate_portal() {
  local argument previous= options=() preset=(--preset quick)
  read_names "$@"
  for argument in "$@"; do
    [[ $argument != --preset && $argument != --preset=* ]] || preset=()
    case $previous:$argument in
      *:--docker | *:--dataset | *:--dataset=* | --dataset:*) ;;
      *) options+=("$argument") ;;
    esac
    previous=$argument
  done
  set_up
  supervise "$python" docker/portal.py build
  supervise "$python" docker/portal.py simulate -- "${preset[@]}" "${options[@]}"
}

case ${1:-} in
  test) run_tests "${@:2}" ;;
  lint) lint ;;
  *)
    simulated=
    for argument in "$@"; do
      case $argument in
        -h | --help) help && exit ;;
        --docker) simulated=1 ;;
      esac
    done
    if [[ $simulated ]]; then simulate_portal "$@"; else train_and_score "$@"; fi
    ;;
esac
