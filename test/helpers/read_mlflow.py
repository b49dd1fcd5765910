"""Prints everything that MLflow's own client reads of an experiment, as JSON: read_mlflow.py URI EXPERIMENT"""
import hashlib
import json
import sys
import tempfile

from mlflow.data import get_source
from mlflow.data.schema import TensorDatasetSchema
from mlflow.tracking import MlflowClient

client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])


def files(run_id, path=None):
    for item in client.list_artifacts(run_id, path):
        if item.is_dir:
            yield from files(run_id, item.path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                with open(client.download_artifacts(run_id, item.path, folder), 'rb') as file:
                    yield item.path, hashlib.sha256(file.read()).hexdigest()


def inputs(run):
    for entry in run.inputs.dataset_inputs:
        dataset = entry.dataset
        schema = TensorDatasetSchema.from_dict(json.loads(dataset.schema))
        yield {
            'name': dataset.name,
            'digest': dataset.digest,
            'context': {tag.key: tag.value for tag in entry.tags}['mlflow.data.context'],
            'uri': get_source(dataset).uri,
            'shape': list(schema.features.inputs[0].shape),
            'profile': json.loads(dataset.profile),
        }


def read(run):
    history = {
        key: [[m.step, m.timestamp, m.value if abs(m.value) < 1e308 else str(m.value)] for m in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }
    return {
        'id': run.info.run_id,
        'name': run.info.run_name,
        'status': run.info.status,
        'endTime': run.info.end_time,
        'metrics': history,
        'params': run.data.params,
        'tags': run.data.tags,
        'artifacts': dict(files(run.info.run_id)),
        'inputs': sorted(inputs(run), key=lambda each: each['context']),
    }


runs = client.search_runs([experiment.experiment_id], max_results=1000)
print(json.dumps([read(run) for run in runs]))
