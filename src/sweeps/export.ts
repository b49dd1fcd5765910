/** A sweep as the file of a scheduler. Each trial has a folder of its own, in which `--resume auto` continues it on any machine. */
import path from 'node:path';

import {stringify} from 'yaml';

import {property} from '../lookup.ts';
import {optunaWorker, rayTrainable} from './export-python.ts';
import type {Sweep} from './sweep-file.ts';
import type {Assignment} from './trials.ts';

export const schedulers = ['slurm', 'kubernetes', 'ray', 'optuna'] as const;
export type Scheduler = (typeof schedulers)[number];

export interface ExportOptions {
  readonly sweep: Sweep;
  /** By number from 1; empty for `ray` and `optuna`, which choose the values. */
  readonly trials: ReadonlyMap<number, Assignment>;
  /** Shared by all machines, absolute: `trial-0001` and so on are made below it. */
  readonly folder: string;
  /** Working folder of the trials, absolute. */
  readonly job: string;
  /** The words that start `sdq`. */
  readonly program: readonly string[];
  /** Trials at the same time. */
  readonly parallel: number;
  /** Flags that every trial has. */
  readonly flags: readonly string[];
  /** Container with `sdq`, for Kubernetes. */
  readonly image: string;
}

/** Exit code of a preempted trial: none that `sdq` has otherwise. */
const preemptedExit = 85;
/** Of wrong input: the same would happen again. */
const hopelessExits = [2, 3];

const endings: Readonly<Record<Scheduler, string>> = {slurm: 'sh', kubernetes: 'yaml', ray: 'py', optuna: 'py'};

/** E.g. `bits.slurm.sh` for `bits.yaml`. */
export function exportedName({file}: Sweep, scheduler: Scheduler): string {
  return `${path.basename(file).replace(/\.(ya?ml|json)$/, '')}.${scheduler}.${endings[scheduler]}`;
}

/** @throws SdqError (exit 3) for a distribution that the scheduler does not have */
export function exportSweep(scheduler: Scheduler, options: ExportOptions): string {
  return property({slurm, kubernetes, ray: rayTrainable, optuna: optunaWorker}, scheduler)(options);
}

/** A name that SLURM and Kubernetes take. */
const nameOf = ({sweep}: ExportOptions): string =>
  (sweep.name ?? path.basename(sweep.file).replace(/\.\w+$/, ''))
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 40) || 'sweep';

/** A word for a POSIX shell. */
const quoted = (word: string): string => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** The command of a trial whose parameters are in the shell's `$folder/params.json`. */
function commandLine({sweep, program, flags}: ExportOptions): string {
  const words = sweep.arguments.map((word) =>
    /^\$\{args_json(_file)?\}$/.test(word) ? '"$folder/params.json"' : quoted(word),
  );
  const ours = ['--resume', 'auto', '--preempted-exit', String(preemptedExit), '--quiet'];
  return [...program.map(quoted), ...words, ...flags.map(quoted), ...ours].join(' ');
}

/** A trial that finished just before it was preempted is not done again. */
const unlessFinished = `if grep -qs '"status": "finished"' "$folder"/*/run.json; then exit 0; fi`;

function slurm(options: ExportOptions): string {
  const {trials, folder, job, parallel} = options;
  const cases = [...trials].map(
    ([number, parameters]) => `  ${number}) params=${quoted(JSON.stringify(parameters))} ;;`,
  );
  return `#!/bin/bash
# Made by \`sdq sweep export --to slurm\`. Start: sbatch THIS_FILE. Table of the trials: sdq sweep status.
#SBATCH --job-name=${nameOf(options)}
#SBATCH --array=1-${trials.size}%${parallel}
#SBATCH --cpus-per-task=2
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%a.log
# SIGUSR1 a while before the time is over: the state is saved and the trial is queued again.
#SBATCH --signal=B:USR1@120

case $SLURM_ARRAY_TASK_ID in
${cases.join('\n')}
esac
folder=${quoted(folder)}/trial-$(printf %04d "$SLURM_ARRAY_TASK_ID")
mkdir -p "$folder"
${unlessFinished}
printf '%s\\n' "$params" > "$folder/params.json"
export SDQ_RUNS_DIRECTORY=$folder SDQ_ENGINE_THREADS=\${SLURM_CPUS_PER_TASK:-1}
cd ${quoted(job)} || exit 3

${commandLine(options)} &
trial=$!
# The shell waits, and passes on what SLURM sends to it alone.
trap 'kill -USR1 $trial' USR1
trap 'kill -TERM $trial' TERM
while kill -0 $trial 2> /dev/null; do wait $trial; code=$?; done
[ $code = ${preemptedExit} ] && scontrol requeue "\${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" 2> /dev/null
exit $code
`;
}

function kubernetes(options: ExportOptions): string {
  const {trials, folder, job, parallel, image} = options;
  const name = nameOf(options);
  const script = [
    'folder=$SWEEP/trial-$(printf %04d $((JOB_COMPLETION_INDEX + 1)))',
    'mkdir -p "$folder"',
    unlessFinished,
    'cp "/params/$JOB_COMPLETION_INDEX.json" "$folder/params.json"',
    'export SDQ_RUNS_DIRECTORY=$folder',
    `exec ${commandLine(options)}`,
  ].join('\n');
  const parameters = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {name: `${name}-params`},
    data: Object.fromEntries([...trials].map(([number, values]) => [`${number - 1}.json`, JSON.stringify(values)])),
  };
  const container = {
    name: 'sdq',
    image,
    command: ['sh', '-c', script],
    workingDir: job,
    env: [
      {name: 'SWEEP', value: folder},
      {name: 'SDQ_ENGINE_THREADS', value: '2'},
    ],
    resources: {requests: {cpu: '2', memory: '4Gi'}, limits: {memory: '4Gi'}},
    volumeMounts: [
      {name: 'shared', mountPath: path.dirname(job)},
      {name: 'params', mountPath: '/params'},
    ],
  };
  const work = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {name, labels: {'kueue.x-k8s.io/queue-name': 'user-queue'}},
    spec: {
      completionMode: 'Indexed',
      completions: trials.size,
      parallelism: Math.min(parallel, trials.size),
      backoffLimitPerIndex: 3,
      maxFailedIndexes: trials.size,
      podFailurePolicy: {
        rules: [
          {action: 'Ignore', onPodConditions: [{type: 'DisruptionTarget', status: 'True'}]},
          {action: 'Ignore', onExitCodes: {containerName: 'sdq', operator: 'In', values: [preemptedExit]}},
          {action: 'FailIndex', onExitCodes: {containerName: 'sdq', operator: 'In', values: hopelessExits}},
        ],
      },
      template: {
        spec: {
          restartPolicy: 'Never',
          terminationGracePeriodSeconds: 60,
          containers: [container],
          volumes: [
            {name: 'shared', persistentVolumeClaim: {claimName: 'shared'}},
            {name: 'params', configMap: {name: `${name}-params`}},
          ],
        },
      },
    },
  };
  return `# Made by \`sdq sweep export --to kubernetes\`. Start: kubectl create -f THIS_FILE.
# Change: image, the claim of the shared volume, resources, the queue of Kueue (without Kueue the label does nothing).
${[parameters, work].map((document) => stringify(document, {lineWidth: 0})).join('---\n')}`;
}
