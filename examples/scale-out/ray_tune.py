"""Made by `sdq sweep export --to ray`: Ray Tune's class API, one step for each value of the metric.

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
    "search.dualRate": tune.loguniform(0.1, 10),
    "search.optimizer.learningRate": tune.loguniform(0.001, 0.1),
    "search.target.meanWeightBits": 3,
    "train.binRegularization.weight": tune.uniform(0, 0.5),
    "train.optimizer.learningRate": tune.loguniform(0.005, 0.2),
}

if __name__ == '__main__':
    ray.init()
    tuner = tune.Tuner(
        tune.with_resources(Sdq, {'cpu': 1}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric='value', mode="max", num_samples=30,
            max_concurrent_trials=4, scheduler=ASHAScheduler(grace_period=1, reduction_factor=3, max_t=100_000)),
        run_config=tune.RunConfig(name='ray', storage_path=SWEEP))
    for result in tuner.fit():
        print(result.config, result.metrics and result.metrics.get('value'), result.error or '')
