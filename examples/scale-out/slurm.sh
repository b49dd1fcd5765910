#!/bin/bash
# Made by `sdq sweep export --to slurm`. Start: sbatch THIS_FILE. Table of the trials: sdq sweep status.
#SBATCH --job-name=learning-rates
#SBATCH --array=1-12%4
#SBATCH --cpus-per-task=2
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%a.log
# SIGUSR1 a while before the time is over: the state is saved and the trial is queued again.
#SBATCH --signal=B:USR1@120

case $SLURM_ARRAY_TASK_ID in
  1) params='{"search.dbp.tauEnd":0.3695158815942705,"search.optimizer.learningRate":0.0027956229489383127,"seed":309,"train.optimizer.learningRate":0.12272606693017579}' ;;
  2) params='{"search.dbp.tauEnd":0.4299148166552186,"search.optimizer.learningRate":0.003685453599561362,"seed":98,"train.optimizer.learningRate":0.007476154491786398}' ;;
  3) params='{"search.dbp.tauEnd":0.34738888395950196,"search.optimizer.learningRate":0.01852250293943109,"seed":462,"train.optimizer.learningRate":0.12243594343899335}' ;;
  4) params='{"search.dbp.tauEnd":0.4595033594407142,"search.optimizer.learningRate":0.002542497657715659,"seed":41,"train.optimizer.learningRate":0.015427289492585365}' ;;
  5) params='{"search.dbp.tauEnd":0.16499923933297395,"search.optimizer.learningRate":0.034693140984360285,"seed":196,"train.optimizer.learningRate":0.0053208947103528925}' ;;
  6) params='{"search.dbp.tauEnd":0.4379285473376513,"search.optimizer.learningRate":0.014397993796128501,"seed":593,"train.optimizer.learningRate":0.010703803209050525}' ;;
  7) params='{"search.dbp.tauEnd":0.2172528920695186,"search.optimizer.learningRate":0.007914137993281245,"seed":78,"train.optimizer.learningRate":0.015539667659425984}' ;;
  8) params='{"search.dbp.tauEnd":0.3374013126827776,"search.optimizer.learningRate":0.023585134251363382,"seed":121,"train.optimizer.learningRate":0.03649128363209676}' ;;
  9) params='{"search.dbp.tauEnd":0.43876589667052035,"search.optimizer.learningRate":0.001409197020944668,"seed":815,"train.optimizer.learningRate":0.03557464786310722}' ;;
  10) params='{"search.dbp.tauEnd":0.10418164497241378,"search.optimizer.learningRate":0.02543972872183691,"seed":698,"train.optimizer.learningRate":0.013003480895776742}' ;;
  11) params='{"search.dbp.tauEnd":0.16618561614304783,"search.optimizer.learningRate":0.04991486202257206,"seed":640,"train.optimizer.learningRate":0.1520053249212895}' ;;
  12) params='{"search.dbp.tauEnd":0.2309152008034289,"search.optimizer.learningRate":0.01066650918396772,"seed":514,"train.optimizer.learningRate":0.0077051347440394305}' ;;
esac
folder=/shared/trials/trial-$(printf %04d "$SLURM_ARRAY_TASK_ID")
mkdir -p "$folder"
if grep -qs '"status": "finished"' "$folder"/*/run.json; then exit 0; fi
printf '%s\n' "$params" > "$folder/params.json"
export SDQ_RUNS_DIRECTORY=$folder SDQ_ENGINE_THREADS=${SLURM_CPUS_PER_TASK:-1}
cd /shared/job || exit 3

node_modules/.bin/sdq run --sweep-params "$folder/params.json" --resume auto --preempted-exit 85 --quiet &
trial=$!
# The shell waits, and passes on what SLURM sends to it alone.
trap 'kill -USR1 $trial' USR1
trap 'kill -TERM $trial' TERM
while kill -0 $trial 2> /dev/null; do wait $trial; code=$?; done
[ $code = 85 ] && scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" 2> /dev/null
exit $code
