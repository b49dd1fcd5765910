// Makes the pictures of MLflow's pages in docs/tracking.md from one real run, in some minutes: `npm run tracker-pictures`. Starts the real server,
// tracks a short `sdq run` of MNIST, and opens the pages in headless Chromium. Needs `npm run build`, `node scripts/python-services.js mlflow`,
// Chromium, and MNIST, which it fetches. Arguments are added to those of `sdq run`.
import {execFileSync, spawn} from 'node:child_process';
import {mkdirSync, mkdtempSync, openSync, readFileSync, rmSync} from 'node:fs';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import sharp from 'sharp';

import {chromium, screenshot} from './headless-chromium.js';
import {isInstalled, serviceFolder} from './python-service-list.js';

const root = path.resolve(import.meta.dirname, '..');
const images = path.join(root, 'docs/images');
if (!isInstalled('mlflow')) throw new Error('MLflow is missing: node scripts/python-services.js mlflow');
chromium();

const size = {width: 1280, height: 860};
/** 300 images of MNIST: some 60 steps in all. */
const job = [
  'data.limit=300',
  'data.validation=60',
  'data.batchSize=16',
  'pretrain.epochs=1',
  'search.epochs=3',
  'search.target.meanWeightBits=6.5',
  'search.dualRate=10',
  'search.dbp.learningRate=1',
  'train.epochs=1',
  'runs.logEverySteps=1',
];

const folder = mkdtempSync(path.join(tmpdir(), 'sdq-tracker-pictures-'));
const port = await freePort();
const url = `http://127.0.0.1:${port}`;
const server = startServer();
try {
  await isUp();
  const cwd = path.join(folder, 'job');
  mkdirSync(cwd);
  const sdq = (...args) =>
    execFileSync(process.execPath, [path.join(root, 'bin/run.js'), ...args], {
      cwd,
      env: {...process.env, MLFLOW_TRACKING_URI: url},
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  sdq('init', '--template', 'mnist');
  sdq('data', 'fetch', 'mnist');
  const tracking = ['--set', 'tracking=[{"name":"mlflow","experiment":"mnist"}]', '--tracker-strict'];
  const extra = process.argv.slice(2);
  sdq('run', ...tracking, ...job.flatMap((setting) => ['--set', setting]), ...extra);
  const {experiment, runs} = await trackedRuns();
  const page = (run, part = '') => `${url}/#/experiments/${experiment}/runs/${run}${part}`;
  await photograph(page(runs.get('run')), 'mlflow-run');
  await photograph(page(runs.get('search'), '/model-metrics'), 'mlflow-metrics');
  await photograph(page(runs.get('run'), '/artifacts'), 'mlflow-artifacts');
} finally {
  if (server.exitCode === null) process.kill(-server.pid, 'SIGKILL');
  rmSync(folder, {recursive: true, force: true, maxRetries: 5});
}

function startServer() {
  const log = openSync(path.join(folder, 'server.log'), 'a');
  const store = ['--backend-store-uri', 'sqlite:///mlflow.db', '--artifacts-destination', './artifacts'];
  const place = ['--host', '127.0.0.1', '--port', String(port), '--workers', '1'];
  return spawn(path.join(serviceFolder('mlflow'), 'bin/python'), ['-m', 'mlflow', 'server', ...store, ...place], {
    cwd: folder,
    env: {...process.env, MLFLOW_TRACKING_URI: '', MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false'},
    stdio: ['ignore', log, log],
    // Its workers are of its group, which is ended as a whole.
    detached: true,
  });
}

async function isUp() {
  for (let tries = 0; tries < 600 && server.exitCode === null; tries++) {
    const isOk = await fetch(`${url}/health`).then(
      ({ok}) => ok,
      () => false,
    );
    if (isOk) return;
    await sleep(200);
  }
  throw new Error(`MLflow did not start:\n${readFileSync(path.join(folder, 'server.log'), 'utf8')}`);
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const {port: free} = probe.address();
      probe.close(() => resolve(free));
    });
  });
}

/** The id of the experiment, and those of its runs: `run`, and by the names of the phases. */
async function trackedRuns() {
  const ask = async (place, body) => {
    const answer = await fetch(`${url}/api/2.0/mlflow/${place}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {'content-type': 'application/json'},
      ...(body === undefined ? {} : {body: JSON.stringify(body)}),
    });
    return answer.json();
  };
  const found = await ask('experiments/get-by-name?experiment_name=mnist');
  const experiment = found.experiment.experiment_id;
  const {runs} = await ask('runs/search', {experiment_ids: [experiment]});
  const phaseOf = ({data}) => data.tags.find(({key}) => key === 'sdq.phase')?.value ?? 'run';
  return {experiment, runs: new Map(runs.map((run) => [phaseOf(run), run.info.run_id]))};
}

/** The part between the menu on the left and the assistant on the right. */
async function photograph(address, name) {
  const shot = path.join(folder, 'shot.png');
  screenshot(address, shot, {...size, settleMs: 20_000});
  await sharp(shot)
    .extract({left: 198, top: 0, width: 750, height: size.height})
    .webp({quality: 75, effort: 6})
    .toFile(path.join(images, `${name}.webp`));
}
