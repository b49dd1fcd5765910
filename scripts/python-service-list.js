// The servers and clients in Python that the integration tests talk to, at the versions they were written against.
import os from 'node:os';
import path from 'node:path';

export const pythonServices = {mlflow: 'mlflow[auth]==3.17.2', wandb: 'wandb==0.30.0'};

/** The virtual environment of a service: outside the repository, kept between runs. */
export function serviceFolder(name) {
  const cache = process.env.TEST_CACHE ?? path.join(os.homedir(), '.cache', 'sdq-test');
  return path.join(cache, pythonServices[name].replace(/\[.*\]/, '').replace('==', '-'));
}
