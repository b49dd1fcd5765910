/** What an MLflow server keeps and refuses, as its documentation has it: limits, names, params that cannot be changed. */
import type {Reply, Request} from './faulty-server.ts';
import type {Service, SeenRow} from './tracker-suite.ts';

interface Metric {
  readonly key: string;
  readonly value: number | string;
  readonly timestamp: number;
  readonly step: number;
}

interface StoredRun {
  readonly id: string;
  readonly name: string;
  status: string;
  endTime: number | undefined;
  readonly metrics: Metric[];
  /** The metrics as text: exact duplicates are dropped. */
  readonly seen: Set<string>;
  readonly params: Map<string, string>;
  readonly tags: Map<string, string>;
  /** As `runs/log-inputs` gets them, without doubles. */
  readonly inputs: Map<string, DatasetInput>;
}

interface DatasetInput {
  readonly tags: readonly {key: string; value: string}[];
  readonly dataset: Readonly<Record<string, string>>;
}

interface StoredModel {
  readonly id: string;
  readonly run: string;
  status: string;
  readonly tags: readonly {key: string; value: string}[];
  readonly params: {key: string; value: string}[];
}

export interface FakeMlflow extends Service {
  readonly models: StoredModel[];
  /** Versions of registered models. */
  readonly versions: {readonly name: string; readonly source: string; readonly run_id: string}[];
  readonly runs: StoredRun[];
  readonly artifacts: Map<string, Buffer>;
}

interface Body {
  readonly name?: string;
  readonly run_id?: string;
  readonly run_name?: string;
  readonly filter?: string;
  readonly status?: string;
  readonly end_time?: number;
  readonly key?: string;
  readonly value?: string;
  readonly tags?: readonly {key: string; value: string}[];
  readonly params?: readonly {key: string; value: string}[];
  readonly metrics?: readonly Metric[];
  readonly datasets?: readonly DatasetInput[];
  readonly model_id?: string;
  readonly source_run_id?: string;
  readonly source?: string;
}

const name = /^[/\w.\- ]*$/;

export function fakeMlflow(): FakeMlflow {
  const experiments = new Map([['Default', '0']]);
  const runs: StoredRun[] = [];
  const artifacts = new Map<string, Buffer>();
  const models: StoredModel[] = [];
  const registered = new Set<string>();
  const versions: FakeMlflow['versions'] = [];

  const ok = (value: unknown = {}): Reply => ({status: 200, body: JSON.stringify(value)});
  const bad = (status: number, message: string): Reply => ({status, body: JSON.stringify({message})});
  const shown = (run: StoredRun): unknown => ({
    info: {run_id: run.id, experiment_id: '0', artifact_uri: `mlflow-artifacts:/0/${run.id}/artifacts`},
    data: {tags: [...run.tags].map(([key, value]) => ({key, value}))},
  });

  const logBatch = (run: StoredRun, {metrics = [], params = [], tags = []}: Body, bytes: number): Reply => {
    const all = metrics.length + params.length + tags.length;
    if (metrics.length > 1000 || params.length > 100 || tags.length > 100 || all > 1000 || bytes > 1e6) {
      return bad(400, 'the batch is too large');
    }
    for (const {key, value} of [...metrics, ...params, ...tags]) {
      if (!name.test(key) || key.length > 250 || key === '') return bad(400, `bad name ${key}`);
      if (typeof value === 'string' && value.length > 6000) return bad(400, 'value too long');
    }
    for (const {key, value} of params) {
      if ((run.params.get(key) ?? value) !== value) return bad(400, `param ${key} was changed`);
      run.params.set(key, value);
    }
    for (const {key, value} of tags) run.tags.set(key, value);
    for (const metric of metrics) {
      const text = JSON.stringify(metric);
      if (!run.seen.has(text)) run.metrics.push(metric);
      run.seen.add(text);
    }
    return ok();
  };

  const shownModel = ({id, status, tags}: StoredModel): unknown => ({
    info: {model_id: id, artifact_uri: `mlflow-artifacts:/0/models/${id}/artifacts`, status, tags},
  });

  /** Logged models and their registry; undefined: another request. */
  const handleModels = (what: string, query: URLSearchParams, content: Body): Reply | undefined => {
    const mine = /^\w+ = '([^']*)'$/.exec(content.filter ?? query.get('filter') ?? '')?.[1];
    const model = models.find(({id}) => id === content.model_id);
    switch (what) {
      case 'logged-models/search':
        return ok({models: models.filter(({run}) => run === mine).map(shownModel)});
      case 'logged-models': {
        const {params = [], source_run_id: run = '', tags = []} = content;
        if (params.length > 100) return bad(400, 'too many params');
        models.push({id: `m-${models.length}`, run, status: 'LOGGED_MODEL_PENDING', tags, params: [...params]});
        return ok({model: shownModel(models.at(-1)!)});
      }
      case 'registered-models/create':
        if (registered.has(content.name!)) return bad(400, `Registered Model (name=${content.name}) already exists.`);
        registered.add(content.name!);
        return ok();
      case 'model-versions/search':
        return ok({model_versions: versions.filter(({run_id: run}) => run === mine)});
      case 'model-versions/create':
        if (!registered.has(content.name!) || model?.status !== 'LOGGED_MODEL_READY') return bad(404, 'no such model');
        versions.push({name: content.name!, source: content.source!, run_id: content.run_id!});
        return ok();
      default:
        if (model === undefined || !what.startsWith(`logged-models/${model.id}`)) return undefined;
        model.params.push(...(content.params ?? []));
        model.status = content.status ?? model.status;
        return ok({model: shownModel(model)});
    }
  };

  const handle = ({body, method, path}: Request): Reply => {
    const artifact = /^\/api\/2\.0\/mlflow-artifacts\/artifacts\/(.*)$/.exec(path);
    if (artifact !== null && method === 'PUT') {
      artifacts.set(decodeURIComponent(artifact[1]!), body);
      return ok();
    }
    const url = new URL(path, 'http://x');
    const what = url.pathname.replace('/api/2.0/mlflow/', '');
    const content = (body.length === 0 ? {} : JSON.parse(body.toString())) as Body;
    const aboutModels = handleModels(what, url.searchParams, content);
    if (aboutModels !== undefined) return aboutModels;
    const run = runs.find(({id}) => id === (content.run_id ?? url.searchParams.get('run_id')));
    switch (what) {
      case 'experiments/search':
        return ok({experiments: []});
      case 'experiments/get-by-name': {
        const id = experiments.get(url.searchParams.get('experiment_name')!);
        return id === undefined ? bad(404, 'RESOURCE_DOES_NOT_EXIST') : ok({experiment: {experiment_id: id}});
      }
      case 'experiments/create':
        if (experiments.has(content.name!)) return bad(400, 'RESOURCE_ALREADY_EXISTS');
        experiments.set(content.name!, '0');
        return ok({experiment_id: '0'});
      case 'runs/search': {
        const uid = /^tags\."sdq\.run_uid" = '([^']*)'$/.exec(content.filter!)![1];
        return ok({runs: runs.filter(({tags}) => tags.get('sdq.run_uid') === uid).map(shown)});
      }
      case 'runs/create': {
        const created: StoredRun = {
          id: `run${runs.length}`,
          name: content.run_name!,
          status: 'RUNNING',
          endTime: undefined,
          metrics: [],
          seen: new Set(),
          params: new Map(),
          tags: new Map(content.tags!.map(({key, value}) => [key, value])),
          inputs: new Map(),
        };
        runs.push(created);
        return ok({run: shown(created)});
      }
      default:
    }
    if (run === undefined) return bad(404, 'RESOURCE_DOES_NOT_EXIST');
    if (what === 'runs/get') return ok({run: shown(run)});
    if (what === 'runs/set-tag') {
      run.tags.set(content.key!, content.value!);
      return ok();
    }
    if (what === 'runs/log-inputs') {
      for (const input of content.datasets!) {
        const {digest, name: dataset, source, source_type: type} = input.dataset;
        if (!dataset || !digest || digest.length > 36 || !source || !type) return bad(400, 'bad dataset');
        run.inputs.set(`${dataset} ${digest}`, input);
      }
      return ok();
    }
    if (what === 'runs/outputs') return ok();
    if (what === 'runs/log-batch') return logBatch(run, content, body.length);
    if (what === 'runs/update') {
      run.status = content.status ?? run.status;
      run.endTime = content.end_time;
      return ok();
    }
    return bad(404, what);
  };

  const ofRun = (uid: string): readonly StoredRun[] => runs.filter(({tags}) => tags.get('sdq.run_uid') === uid);
  return {
    handle,
    runs,
    artifacts,
    models,
    versions,
    rows: (uid) =>
      ofRun(uid).flatMap(({metrics}) => metrics.map(({key, step, value}): SeenRow => ({name: key, step, value}))),
    status: (uid) => {
      const parents = ofRun(uid).filter(({tags}) => !tags.has('sdq.phase'));
      return parents.length === 1
        ? ({FINISHED: 'finished', FAILED: 'failed', KILLED: 'killed'} as const)[parents[0]!.status]
        : `${parents.length} runs`;
    },
  };
}
