#!/usr/bin/env bash
# The engines of a machine with one GPU, beside eager PyTorch on the same GPU, in one table and at most eight minutes:
#
#   bench/gpu.sh [--tiny] [--python PYTHON]
#
# Builds sdq and installs the engines where that was not done, then: `sdq doctor`, every kernel against the oracle, and the
# milliseconds of a step of ResNet20 (batch 128) and ResNet18 (batch 64) in full precision, at W 4 / A 4 and in a search.
# --tiny tries the script itself on a machine without a GPU: TensorFlow on the processor, ResNet20, one image, one step.
# PyTorch is that of PYTHON (python3); its step has the same quantizers, written in Python.
# A cell without a number says why: "no time" of the SECONDS_IN_ALL (480), "over N s", or the error in brackets.
set -u
cd "$(dirname "$0")/.." || exit 1
python=python3 tiny=
while [ $# -gt 0 ]; do
  case $1 in
    --tiny) tiny=yes ;;
    --python) python=$2; shift ;;
    *) echo "unknown: $1" >&2; exit 2 ;;
  esac
  shift
done
seconds=${SECONDS_IN_ALL:-480}
left() { echo $((seconds - SECONDS)); }
# Runs a command with at most so many seconds, or what is left; 124: over time, 125: no time.
within() {
  local most=$1
  shift
  [ "$most" -lt "$(left)" ] || most=$(left)
  [ "$most" -gt 0 ] || return 125
  timeout "$most" "$@"
}
sdq() { within "$1" node bin/run.js "${@:2}"; }
# Prints a value of the JSON object in its input.
value() { node -e '
  const text = require("fs").readFileSync(0, "utf8");
  console.log(new Function("o", `return ${process.argv[1]}`)(JSON.parse(text.slice(text.search(/^\{/m)))));' "$1"; }
# cell EXPRESSION SECONDS COMMAND...: a value of the JSON object that the command prints, or why there is none.
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
cell() {
  local output status
  output=$(within "$2" "${@:3}" 2>"$errors")
  status=$?
  case $status in
    0) value "$1" <<<"$output" 2>/dev/null || echo '[no JSON]' ;;
    124) [ "$(left)" -gt 0 ] && echo "over $2 s" || echo 'no time' ;;
    125) echo 'no time' ;;
    *) echo "[$(value o.error.code <<<"$output" 2>/dev/null || tail -n 1 "$errors" | tr '|' ' ' | cut -c 1-100)]" ;;
  esac
}

[ -d node_modules ] || npm ci --no-audit --no-fund || exit 1
[ -d dist ] || npm run --silent build || exit 1
installed="$(node bin/run.js doctor --json 2>/dev/null)"
for engine in tensorflow webgpu; do
  case $(value "o.engines.find((e) => e.name === '$engine')?.reason?.startsWith('Not installed') ?? false" <<<"$installed") in
    true) sdq 300 engine install $engine ${tiny:+$([ $engine = webgpu ] || echo --cpu)} || echo "$engine is not installed" ;;
  esac
done
sdq 30 doctor

steps=10 limit=60 device=cuda kernels=
models=("resnet20 128" "resnet18 64")
[ -z "$tiny" ] || { steps=1 limit=150 device=cpu kernels=cross-entropy models=("resnet20 1"); }

largest='Object.values(o).every((d) => typeof d === "object")
  ? `${Object.keys(o).length} operators, largest difference ${Math.max(...Object.values(o).map((d) => d.relative)).toExponential(1)}`
  : Object.entries(o).filter(([, d]) => typeof d === "string").map((e) => e.join(": ")).join("; ")'
for engine in tensorflow webgpu; do
  echo "kernels of $engine: $(cell "$largest" 60 node --import tsx test/helpers/kernel-cases.ts $engine $kernels)"
done

# Milliseconds of a step.
ms='o.stepMs.median.toFixed(1)'
ours() { # engine model batch phase
  cell "$ms" $limit node bin/run.js bench step --json --engine "$1" --model "$2" --batch "$3" --phase "$4" --steps $steps
}
pytorch() { # model batch phase
  local bits
  case $3 in
    search) echo 'has no search' && return ;;
    train) bits=4 ;;
    *) bits=32 ;;
  esac
  cell "$ms" $limit "$python" bench/pytorch_peer.py --device $device --model "$1" --batch "$2" --steps $steps \
    --weight-bits $bits --activation-bits $bits
}
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
echo "| ms a step | batch | tensorflow | webgpu | PyTorch |"
echo "|---|---|---|---|---|"
for entry in "${models[@]}"; do
  read -r model batch <<<"$entry"
  for phase in full-precision train search; do
    echo "| $model, $phase | $batch | $(ours tensorflow "$model" "$batch" $phase) | $(ours webgpu "$model" "$batch" $phase) |" \
      "$(pytorch "$model" "$batch" $phase) |"
  done
done
echo "$SECONDS s in all"
