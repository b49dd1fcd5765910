/** What a W&B server keeps: runs by their path, history by line, summary, files, artifacts. Also enough for `wandb sync`. */
import {gunzipSync} from 'node:zlib';

import type {Reply} from './faulty-server.ts';
import type {SeenRow, Service} from './tracker-suite.ts';

export interface StoredRun {
  readonly path: string;
  variables: Readonly<Record<string, unknown>>;
  config: Readonly<Record<string, {readonly value: unknown}>>;
  /** Lines by offset. */
  readonly history: string[];
  /** System metrics: lines by offset. */
  readonly events: string[];
  summary: string;
  complete: boolean;
  preempting: boolean;
  exitCode: number | undefined;
  /** Requests of the file stream. */
  requests: number;
}

interface StoredArtifact {
  readonly input: {
    readonly projectName: string;
    readonly artifactCollectionName: string;
    readonly artifactTypeName: string;
    readonly digest: string;
    /** That made it. */
    readonly runName: string;
  };
  /** Names of the runs that use it. */
  readonly users: Set<string>;
  state: 'PENDING' | 'COMMITTED';
}

export interface FakeWandb extends Service {
  readonly runs: Map<string, StoredRun>;
  readonly artifacts: StoredArtifact[];
  /** Saved views of projects: the variables of the requests. */
  readonly views: Readonly<Record<string, unknown>>[];
  /** Uploads by the path of their address. */
  readonly files: Map<string, Buffer>;
  /** Answers the next requests of file streams with `stopped`. */
  stop: boolean;
  /** Takes rows and forgets them, as a broken proxy would. */
  losesRows: boolean;
  /** Names of the operations and authorization of every request. */
  readonly operations: string[];
  readonly keys: Set<string>;
}

const killed = new Set([130, 137, 143]);

/** @param url of the server around it, for upload addresses */
export function fakeWandb(url: () => string = () => ''): FakeWandb {
  const runs = new Map<string, StoredRun>();
  const artifacts: StoredArtifact[] = [];
  const views: Readonly<Record<string, unknown>>[] = [];
  const files = new Map<string, Buffer>();
  const operations: string[] = [];
  const keys = new Set<string>();
  const ok = (value: unknown): Reply => ({status: 200, body: JSON.stringify(value)});
  const data = (value: unknown): Reply => ok({data: value});

  const runOf = (path: string): StoredRun => {
    const stored = runs.get(path) ?? {
      path,
      variables: {},
      config: {},
      history: [],
      events: [],
      summary: '{}',
      complete: false,
      preempting: false,
      exitCode: undefined,
      requests: 0,
    };
    runs.set(path, stored);
    return stored;
  };

  const graphql = (body: Buffer): Reply => {
    const {query, variables = {}} = JSON.parse(body.toString()) as {query: string; variables?: Record<string, unknown>};
    const operation = /(?:query|mutation)\s+(\w+)/.exec(query)?.[1] ?? '';
    operations.push(operation);
    const text = (name: string, or: string): string => (typeof variables[name] === 'string' ? variables[name] : or);
    const path = `${text('entity', 'me')}/${text('project', '')}/${text('name', '')}`;
    switch (operation) {
      case 'Viewer':
        return data({viewer: {id: '1', entity: 'me', username: 'me', flags: '{}', teams: {edges: []}}});
      case 'ServerFeaturesQuery':
        return data({serverInfo: {features: []}});
      case 'RunResumeStatus': {
        const run = runs.get(path);
        if (run === undefined) return data({model: null});
        const bucket = {
          id: path,
          name: variables['name'],
          displayName: variables['name'],
          historyLineCount: run.history.length,
          eventsLineCount: run.events.length,
          logLineCount: 0,
          historyTail: JSON.stringify(run.history.slice(-1)),
          eventsTail: '[]',
          summaryMetrics: run.summary,
          config: JSON.stringify(run.config),
          wandbConfig: JSON.stringify({t: 1}),
          tags: run.variables['tags'] ?? [],
        };
        return data({model: {id: '1', name: variables['project'], entity: {id: '1', name: 'me'}, bucket}});
      }
      case 'UpsertBucket': {
        const isNew = !runs.has(path);
        const run = runOf(path);
        const given = Object.entries(variables).filter(([, value]) => value !== null && value !== undefined);
        run.variables = {...run.variables, ...Object.fromEntries(given)};
        if (typeof variables['config'] === 'string')
          run.config = JSON.parse(variables['config']) as StoredRun['config'];
        run.complete = false;
        const [entity, project] = path.split('/');
        const bucket = {
          id: path,
          name: variables['name'],
          displayName: variables['displayName'] ?? variables['name'],
          sweepName: variables['sweep'],
          project: {id: '1', name: project, entity: {id: '1', name: entity}},
          historyLineCount: run.history.length,
        };
        return data({upsertBucket: {bucket, inserted: isNew}});
      }
      case 'CreateRunFiles': {
        const names = variables['files'] as readonly string[];
        return data({
          createRunFiles: {
            runID: '1',
            uploadHeaders: [],
            files: names.map((name) => ({name, uploadUrl: `${url()}/upload/${encodeURIComponent(name)}`})),
          },
        });
      }
      case 'CreateArtifact': {
        const input = variables['input'] as StoredArtifact['input'];
        const same = (other: StoredArtifact): boolean =>
          other.input.digest === input.digest && other.input.artifactCollectionName === input.artifactCollectionName;
        let index = artifacts.findIndex(same);
        if (index < 0) index = artifacts.push({input, users: new Set(), state: 'PENDING'}) - 1;
        return data({
          createArtifact: {
            artifact: {id: `a${index}`, state: artifacts[index]!.state, artifactSequence: {latestArtifact: null}},
          },
        });
      }
      case 'CreateArtifactManifest': {
        const file = {
          id: 'f',
          uploadUrl: `${url()}/upload/manifest-${String(variables['artifactID'])}`,
          uploadHeaders: [],
        };
        return data({createArtifactManifest: {artifactManifest: {id: 'm', file}}});
      }
      case 'CreateArtifactFiles': {
        // wandb 0.30 sends one input, later versions its fields.
        const input = (variables['input'] ?? variables) as Readonly<Record<string, unknown>>;
        const specs = input['artifactFiles'] as readonly {artifactID: string; name: string}[];
        const edges = specs.map(({artifactID, name}) => ({
          node: {
            storagePath: 'x',
            uploadUrl: `${url()}/upload/${artifactID}-${name}`,
            uploadHeaders: ['X-Made: up'],
            uploadMultipartUrls: null,
            artifact: {id: artifactID},
          },
        }));
        return data({createArtifactFiles: {files: {edges}}});
      }
      case 'CommitArtifact': {
        const artifact = artifacts[Number(String(variables['artifactID']).slice(1))]!;
        artifact.state = 'COMMITTED';
        return data({commitArtifact: {artifact: {id: variables['artifactID'], digest: artifact.input.digest}}});
      }
      case 'ArtifactByName': {
        const index = artifacts.findLastIndex(
          ({input, state}) =>
            state === 'COMMITTED' &&
            input.projectName === variables['project'] &&
            `${input.artifactCollectionName}:latest` === variables['name'],
        );
        const artifact = index < 0 ? null : {id: `a${index}`, digest: artifacts[index]!.input.digest};
        return data({project: {artifact}});
      }
      case 'UseArtifact': {
        // The package sends one input.
        const {artifactID, runName} = (variables['input'] ?? variables) as Readonly<Record<string, string>>;
        const artifact = artifacts[Number(artifactID!.slice(1))]!;
        artifact.users.add(runName!);
        return data({useArtifact: {artifact: {id: artifactID, digest: artifact.input.digest}}});
      }
      // The package asks for it before it makes an artifact.
      case 'ArtifactType':
        return data({project: {artifact: null}});
      case 'UpsertView2':
        views.push(variables);
        return data({upsertView: {view: {id: 'v', name: variables['name']}, inserted: true}});
      default:
        return data({});
    }
  };

  const service: FakeWandb = {
    runs,
    artifacts,
    views,
    files,
    operations,
    keys,
    stop: false,
    losesRows: false,
    handle({body: raw, headers, method, path}) {
      const body = headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
      const authorization = String(headers['authorization'] ?? '');
      if (authorization.startsWith('Basic ')) keys.add(Buffer.from(authorization.slice(6), 'base64').toString());
      if (path === '/graphql') return graphql(body);
      if (method === 'PUT') {
        files.set(decodeURIComponent(path.replace('/upload/', '')), body);
        return ok({});
      }
      const stream = /^\/files\/(.*)\/file_stream$/.exec(path);
      if (stream === null) return {status: 404, body: '{"error": "not found"}'};
      const run = runOf(decodeURIComponent(stream[1]!));
      run.requests += 1;
      const request = JSON.parse(body.toString()) as {
        files?: Record<string, {offset: number; content: string[]}>;
        complete?: boolean;
        preempting?: boolean;
        exitcode?: number;
      };
      const history = request.files?.['wandb-history.jsonl'];
      if (history !== undefined && !service.losesRows) {
        for (const [i, line] of history.content.entries()) run.history[history.offset + i] = line;
      }
      const events = request.files?.['wandb-events.jsonl'];
      for (const [i, line] of events?.content.entries() ?? []) run.events[(events?.offset ?? 0) + i] = line;
      run.summary = request.files?.['wandb-summary.json']?.content.at(-1) ?? run.summary;
      run.preempting ||= request.preempting === true;
      if (request.complete === true) {
        run.complete = true;
        run.exitCode = request.exitcode;
      }
      return ok(service.stop ? {stopped: true} : {});
    },
    rows: (uid) => ofRun(uid).flatMap(({history}) => history.flatMap(valuesOf)),
    status(uid) {
      const found = ofRun(uid);
      if (found.length !== 1) return `${found.length} runs`;
      const {complete, exitCode} = found[0]!;
      if (!complete) return 'running';
      return exitCode === 0 ? 'finished' : killed.has(exitCode!) ? 'killed' : 'failed';
    },
  };

  const ofRun = (uid: string): readonly StoredRun[] =>
    [...runs.values()].filter(({config}) => (config['sdq']?.value as {uid?: string} | undefined)?.uid === uid);
  return service;
}

/** The metrics of a history line, with the optimizer step that it stands for. */
function valuesOf(line: string): readonly SeenRow[] {
  const {step, ...values} = parseLine(line);
  return Object.entries(values)
    .filter(([name]) => !name.startsWith('_'))
    .map(([name, value]) => ({name: journalName(name), step: step as number, value: value as number}));
}

/** `dbp/beta/LAYER` as the journal has it. */
const journalName = (name: string): string => name.replace(/^dbp\/([^/]+)\/(.+)$/, 'dbp/$2/$1');

/** A line of W&B: JSON with NaN and Infinity as bare words, here strings. */
export function parseLine(line: string): Readonly<Record<string, unknown>> {
  return JSON.parse(line.replaceAll(/:\s*(NaN|-?Infinity)(?=[,}])/g, ':"$1"')) as Record<string, unknown>;
}
