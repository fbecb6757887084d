#!/usr/bin/env bash
# Teacher, student and control at full size, a step at a time: every call trains for at most MINUTES, stops cleanly and
# can be repeated.
#
#   recipes/full_size.sh teacher hooker_en          the full-size teacher; call it until it says that it is done
#   recipes/full_size.sh students hooker_en 0       student and control of seed 0; then 1 and 2
#   LICENCE=... recipes/full_size.sh publish hooker_en    files for models/, with their test figures on the cards
#
# DATA names the folder with the corpora (default: data/), PYTHON the interpreter (default: .venv/bin/python).
# TEACHER and STUDENT are presets: `teacher` and `student` want a GPU; two cores can train `student` and
# `student-xs`. BATCH, LR and EPOCHS fit a GPU: on a CPU set BATCH=8 LR=0.002. With N GPUs, set LAUNCH to
# "-m accelerate.commands.launch --num_processes N".
set -euo pipefail
what=$1 corpus=$2 seed=${3:-0}
data=${DATA:-data}/$corpus python=${PYTHON:-.venv/bin/python} minutes=${MINUTES:-9}
teacher=runs/$corpus-teacher students=runs/$corpus-$seed
read -ra launch <<< "${LAUNCH:-}"
options=(--train.batch "${BATCH:-32}" --train.lr "${LR:-0.003}" --train.epochs "${EPOCHS:-100}" --train.warmup 500)

step() { # RUN MODULE OPTIONS...: starts a run or goes on with it, and interrupts it in time; a stopped run is no failure
  local run=$1 module=$2 status=0
  shift 2
  [ -e "$run/config.yaml" ] && set -- --resume "$run" || set -- --out "$run" "$@"
  command -v timeout > /dev/null || { echo "error: there is no 'timeout' here: install GNU coreutils" >&2; exit 2; }
  timeout --signal=INT "${minutes}m" "$python" ${launch[@]+"${launch[@]}"} -m "$module" "$@" || status=$?
  [ "$status" = 0 ] && touch "$run/done" && echo "$run is done" || [ "$status" = 124 ]
}

case $what in
  teacher)
    step "$teacher" htrcompress.train --data "$data" --model "${TEACHER:-teacher}" "${options[@]}" ;;
  students)
    [ -e "$teacher/done" ] || { echo "error: $teacher is not done: call '$0 teacher $corpus' until it is" >&2; exit 1; }
    step "$students" htrcompress.distill --data "$data" --teacher "$teacher" --model "${STUDENT:-student}" \
      "${options[@]}" --train.seed "$seed" ;;
  publish)
    [ -n "${LICENCE:-}" ] || { echo "error: set LICENCE to that of the weights, with what the data's asks for" >&2; exit 2; }
    [ -e "$students/done" ] || { echo "error: $students is not done: call '$0 students $corpus $seed' until it is" >&2; exit 1; }
    for role in student control; do
      "$python" tools/publish.py "$students/$role.safetensors" --out "models/$corpus-$role.safetensors" \
        --data "$data" --licence "$LICENCE"
    done
    "$python" tools/publish.py "$students/teacher.safetensors" --out "models/$corpus-teacher.safetensors" \
      --data "$data" --licence "$LICENCE" ;;
  *)
    echo "error: $what is none of teacher, students, publish" >&2
    exit 2 ;;
esac
