/** A sweep as a Python file for Ray Tune or Optuna, which choose the values themselves. */
import {invalidInput, type SdqError} from '../errors.ts';
import {present} from '../lookup.ts';
import {gridOf, type Distribution} from './distributions.ts';
import type {ExportOptions} from './export.ts';
import type {Sweep} from './sweep-file.ts';
import {trialCount} from './trials.ts';

/** JSON as Python writes it. */
function python(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${python(item)}`);
    return `{${entries.join(', ')}}`;
  }
  return JSON.stringify(value);
}

/** The process of a trial, shared by both files. */
function driver({sweep, folder, job, program, flags}: ExportOptions): string {
  const words = sweep.arguments.map((word) => (/^\$\{args_json(_file)?\}$/.test(word) ? 'PARAMS' : word));
  return `SDQ = ${python([...program, ...words, ...flags, '--resume', 'auto', '--quiet'])}
JOB = ${python(job)}
SWEEP = ${python(folder)}
METRIC = ${python(sweep.metric?.name)}


class Trial:
    """One run of sdq in a folder of its own; the same folder again continues its run."""

    def __init__(self, name, parameters):
        self.folder, self.process, self.file, self.rest = os.path.join(SWEEP, name), None, None, ''
        os.makedirs(self.folder, exist_ok=True)
        self.params = os.path.join(self.folder, 'params.json')
        with open(self.params, 'w') as file:
            json.dump(parameters, file)

    def start(self):
        with open(os.path.join(self.folder, 'output.log'), 'a') as log:
            self.process = subprocess.Popen(
                [self.params if word == 'PARAMS' else word for word in SDQ],
                cwd=JOB, env={**os.environ, 'SDQ_RUNS_DIRECTORY': self.folder}, stdout=log, stderr=subprocess.STDOUT)

    def values(self):
        """The metric as it is logged, from the first value on, until the process has ended."""
        while True:
            ended = self.process.poll() is not None
            if self.file is None:
                runs = sorted(run for run in os.listdir(self.folder) if run[:1].isdigit())
                journals = [os.path.join(self.folder, run, 'events.jsonl') for run in runs]
                self.file = next((open(journal) for journal in reversed(journals) if os.path.exists(journal)), None)
            text = self.file.read() if self.file else ''
            *lines, self.rest = (self.rest + text).split('\\n')
            for line in lines:
                value = value_of(json.loads(line))
                if isinstance(value, (int, float)):
                    yield value
            if ended:
                return
            if not text:
                time.sleep(0.2)

    def stop(self):
        """Asks for the end: the step is finished and the state saved."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)


def value_of(event):
    """Of a metric, or of a summary, whose keys are joined with '/'."""
    if event['kind'] == 'metric':
        return event['data'].get(METRIC)
    data = event['data'] if event['kind'] == 'summary' else None
    for key in METRIC.split('/'):
        data = data.get(key) if isinstance(data, dict) else None
    return data
`;
}

function unknownDistribution(sweep: Sweep, place: string, {distribution}: Distribution, scheduler: string): SdqError {
  return invalidInput('sweep-not-exportable', `${sweep.file}: ${place}: ${scheduler} has no ${distribution}.`, [
    'Use values, or min and max.',
  ]);
}

/** min and max as they are meant: `log_uniform` has exponents. */
function rangeOf(spec: Distribution): readonly [number, number] {
  const isExponent = spec.distribution === 'log_uniform';
  const [min, max] = [Number(spec['min'] ?? 0), Number(spec['max'] ?? 1)];
  return isExponent ? [Math.exp(min), Math.exp(max)] : [min, max];
}

function entries(
  sweep: Sweep,
  scheduler: string,
  one: (name: string, spec: Distribution) => string | undefined,
): string {
  return sweep.parameters
    .map(({name, place, spec}) => {
      const text = one(name, spec);
      if (text === undefined) throw unknownDistribution(sweep, place, spec, scheduler);
      return `    ${python(name)}: ${text},`;
    })
    .join('\n');
}

/** With the values of a grid as lists, which both libraries take. */
function withLists(sweep: Sweep): Sweep {
  if (sweep.method !== 'grid') return sweep;
  const parameters = sweep.parameters.map((parameter) => {
    if (parameter.spec.distribution === 'constant') return parameter;
    const {at, count} = present(gridOf(parameter.spec), 'grid');
    const values = Array.from({length: count}, (_, index) => at(index));
    return {...parameter, spec: {distribution: 'categorical', values}};
  });
  return {...sweep, parameters};
}

function needsMetric(sweep: Sweep): NonNullable<Sweep['metric']> {
  if (sweep.metric !== null) return sweep.metric;
  throw invalidInput('sweep-not-exportable', `${sweep.file}: "metric" is missing: it says which trial is the best.`);
}

export function optunaWorker(options: ExportOptions): string {
  const sweep = withLists(options.sweep);
  const {goal} = needsMetric(sweep);
  const isGrid = sweep.method === 'grid';
  const space = entries(sweep, 'Optuna', (name, spec) => {
    const [min, max] = rangeOf(spec);
    const suggest = (kind: string, rest: string): string =>
      `lambda trial: trial.suggest_${kind}(${python(name)}, ${rest})`;
    switch (spec.distribution) {
      case 'constant':
        return `lambda trial: ${python(spec['value'])}`;
      case 'categorical':
        return suggest('categorical', python(spec['values']));
      case 'int_uniform':
        return suggest('int', `${min}, ${max}`);
      case 'uniform':
        return suggest('float', `${min}, ${max}`);
      case 'q_uniform':
        return suggest('float', `${min}, ${max}, step=${Number(spec['q'] ?? 1)}`);
      case 'log_uniform':
      case 'log_uniform_values':
        return suggest('float', `${min}, ${max}, log=True`);
      default:
        return undefined;
    }
  });
  const grid = Object.fromEntries(
    sweep.parameters.flatMap(({name, spec}) => ('values' in spec ? [[name, spec['values']]] : [])),
  );
  const early = sweep.earlyTerminate;
  const pruner =
    early === null
      ? 'optuna.pruners.NopPruner()'
      : `optuna.pruners.SuccessiveHalvingPruner(min_resource=${early.min_iter ?? 1}, reduction_factor=${early.eta ?? 3})`;
  return `"""Made by \`sdq sweep export --to optuna\`: a worker. Start it on as many machines as share the folder:

    pip install optuna
    python THIS_FILE

A pruned trial gets SIGTERM and keeps its state. Table of the trials: sdq sweep status.
"""
import json
import os
import signal
import subprocess
import sys
import time

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

${driver(options)}

SPACE = {
${space}
}


def objective(trial):
    parameters = {name: suggest(trial) for name, suggest in SPACE.items()}
    run, value = Trial(f'trial-{trial.number + 1:04d}', parameters), None
    run.start()
    try:
        for step, value in enumerate(run.values(), 1):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
    finally:
        run.stop()
    if run.process.returncode:
        raise RuntimeError(f'sdq ended with {run.process.returncode}: see {run.folder}/output.log')
    return value


if __name__ == '__main__':
    os.makedirs(SWEEP, exist_ok=True)
    # SIGTERM stops the trial too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    study = optuna.create_study(
        study_name='sdq', load_if_exists=True, direction=${python(goal)}, pruner=${pruner},
        storage=JournalStorage(JournalFileBackend(os.path.join(SWEEP, 'study.log'))),
        sampler=${isGrid ? `optuna.samplers.GridSampler(${python(grid)})` : 'optuna.samplers.TPESampler()'})
    limit = optuna.study.MaxTrialsCallback(${isGrid ? trialCount(sweep) : (sweep.runCap ?? 20)}, states=None)
    study.optimize(objective, callbacks=[limit], catch=(RuntimeError,))
    for trial in study.trials:
        print(trial.number + 1, trial.state.name, trial.params, trial.value)
`;
}

export function rayTrainable(options: ExportOptions): string {
  const {parallel} = options;
  const sweep = withLists(options.sweep);
  const {goal} = needsMetric(sweep);
  const isGrid = sweep.method === 'grid';
  const space = entries(sweep, 'Ray Tune', (_, spec) => {
    const [min, max] = rangeOf(spec);
    switch (spec.distribution) {
      case 'constant':
        return python(spec['value']);
      case 'categorical':
        return `tune.${isGrid ? 'grid_search' : 'choice'}(${python(spec['values'])})`;
      case 'int_uniform':
        return `tune.randint(${min}, ${max + 1})`;
      case 'uniform':
        return `tune.uniform(${min}, ${max})`;
      case 'q_uniform':
        return `tune.quniform(${min}, ${max}, ${Number(spec['q'] ?? 1)})`;
      case 'log_uniform':
      case 'log_uniform_values':
        return `tune.loguniform(${min}, ${max})`;
      case 'normal':
        return `tune.randn(${Number(spec['mu'] ?? 0)}, ${Number(spec['sigma'] ?? 1)})`;
      default:
        return undefined;
    }
  });
  const early = sweep.earlyTerminate;
  const scheduler =
    early === null
      ? 'None'
      : `ASHAScheduler(grace_period=${early.min_iter ?? 1}, reduction_factor=${early.eta ?? 3}, max_t=100_000)`;
  const mode = present(goal, 'goal') === 'maximize' ? 'max' : 'min';
  return `"""Made by \`sdq sweep export --to ray\`: Ray Tune's class API, one step for each value of the metric.

    pip install "ray[tune]"
    python THIS_FILE

A trial that is stopped gets SIGTERM and keeps its state. Table of the trials: sdq sweep status.
"""
import json
import os
import signal
import subprocess
import time

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

${driver(options)}

class Sdq(tune.Trainable):
    def setup(self, config):
        self.run, self.reported, self.logged = Trial(f'trial-{self.trial_id}', config), 0, None

    def step(self):
        if self.logged is None:
            self.run.start()
            self.logged, self.last = self.run.values(), None
            for _ in range(self.reported):
                self.last = next(self.logged, self.last)
        value = next(self.logged, None)
        if value is None:
            if self.run.process.returncode:
                raise RuntimeError(f'sdq ended with {self.run.process.returncode}: see {self.run.folder}/output.log')
            return {'value': self.last, 'done': True}
        self.reported, self.last = self.reported + 1, value
        return {'value': value}

    def save_checkpoint(self, folder):
        with open(os.path.join(folder, 'sdq.json'), 'w') as file:
            json.dump({'reported': self.reported}, file)

    def load_checkpoint(self, folder):
        with open(os.path.join(folder, 'sdq.json')) as file:
            self.reported = json.load(file)['reported']

    def cleanup(self):
        self.run.stop()


SPACE = {
${space}
}

if __name__ == '__main__':
    ray.init()
    tuner = tune.Tuner(
        tune.with_resources(Sdq, {'cpu': 1}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric='value', mode=${python(mode)}, num_samples=${isGrid ? 1 : (sweep.runCap ?? 20)},
            max_concurrent_trials=${parallel}, scheduler=${scheduler}),
        run_config=tune.RunConfig(name='ray', storage_path=SWEEP))
    for result in tuner.fit():
        print(result.config, result.metrics and result.metrics.get('value'), result.error or '')
`;
}
