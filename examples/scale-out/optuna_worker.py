"""Made by `sdq sweep export --to optuna`: a worker. Start it on as many machines as share the folder:

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

SDQ = ["node_modules/.bin/sdq", "run", "--sweep-params", "PARAMS", "--resume", "auto", "--quiet"]
JOB = "/shared/job"
SWEEP = "/shared/trials"
METRIC = "train/validationAccuracy"


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
            *lines, self.rest = (self.rest + text).split('\n')
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


SPACE = {
    "search.dualRate": lambda trial: trial.suggest_float("search.dualRate", 0.1, 10, log=True),
    "search.optimizer.learningRate": lambda trial: trial.suggest_float("search.optimizer.learningRate", 0.001, 0.1, log=True),
    "search.target.meanWeightBits": lambda trial: 3,
    "train.binRegularization.weight": lambda trial: trial.suggest_float("train.binRegularization.weight", 0, 0.5),
    "train.optimizer.learningRate": lambda trial: trial.suggest_float("train.optimizer.learningRate", 0.005, 0.2, log=True),
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
        study_name='sdq', load_if_exists=True, direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        storage=JournalStorage(JournalFileBackend(os.path.join(SWEEP, 'study.log'))),
        sampler=optuna.samplers.TPESampler())
    limit = optuna.study.MaxTrialsCallback(30, states=None)
    study.optimize(objective, callbacks=[limit], catch=(RuntimeError,))
    for trial in study.trials:
        print(trial.number + 1, trial.state.name, trial.params, trial.value)
