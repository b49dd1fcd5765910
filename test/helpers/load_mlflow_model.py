"""Loads a registered model as MLflow's users do and prints what they see, as JSON: load_mlflow_model.py URI NAME"""
import json
import sys

import mlflow
import numpy as np
import onnxruntime

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
versions = client.search_model_versions(f'name = "{sys.argv[2]}"')
uri = f'models:/{sys.argv[2]}/{versions[0].version}'
info = mlflow.models.get_model_info(uri)
logged = mlflow.get_logged_model(versions[0].source.removeprefix('models:/'))
run = client.get_run(logged.source_run_id)

model = mlflow.onnx.load_model(uri)
function = mlflow.pyfunc.load_model(uri)
example = function.input_example
session = onnxruntime.InferenceSession(model.SerializeToString())
(direct,) = session.run(None, {session.get_inputs()[0].name: example})
(served,) = function.predict(example).values()


print(json.dumps({
    'versions': len(versions),
    'status': str(logged.status),
    'params': logged.params,
    'outputs': [output.model_id for output in run.outputs.model_outputs],
    'modelId': logged.model_id,
    'runId': run.info.run_id,
    'flavors': sorted(info.flavors),
    'inputs': [[spec.name, str(spec.type), list(spec.shape)] for spec in info.signature.inputs],
    'outputNames': info.signature.outputs.input_names(),
    'outputShape': list(served.shape),
    'example': np.asarray(example).ravel().tolist(),
    'exampleShape': list(example.shape),
    'exampleType': str(example.dtype),
    'difference': float(np.abs(direct - served).max()),
    'finite': bool(np.isfinite(direct).all()),
}))
