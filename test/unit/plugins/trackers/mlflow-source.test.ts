import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {mlflowTracker} from '../../../../src/plugins/trackers/mlflow/index.ts';
import {fakeMlflow} from '../../../helpers/fake-mlflow.ts';
import {faultyServer} from '../../../helpers/faulty-server.ts';

const service = fakeMlflow();
const server = faultyServer((request) => service.handle(request));
beforeAll(() => server.start());
afterAll(() => server.stop());

test("a run has the tags of MLflow's own client: user, source, commit, branch and repository", async () => {
  const git = {commit: 'c0ffee', dirty: false, branch: 'main', remote: 'https://example.org/a.git'};
  const tracker = mlflowTracker(30_000).create({
    options: {artifacts: []},
    env: {MLFLOW_TRACKING_URI: server.url(), LOGNAME: '', USER: 'ada', HOME: '/none'},
    cwd: '/',
    notice: () => undefined,
  });
  const run = {uid: 'u', id: 'i', command: 'search', directory: '/', startedAt: 1, seed: 0, config: {}, versions: {}};
  await tracker!.open({...run, git}, undefined, new AbortController().signal);
  expect(Object.fromEntries(service.runs[0]!.tags)).toMatchObject({
    'mlflow.user': 'ada',
    'mlflow.source.type': 'LOCAL',
    'mlflow.source.name': 'sdq search',
    'mlflow.source.git.commit': 'c0ffee',
    'mlflow.source.git.branch': 'main',
    'mlflow.source.git.repoURL': 'https://example.org/a.git',
  });
});
