/**
 * The W&B server as a run needs it: GraphQL for the run and its artifacts, the file stream for rows and summary, uploads
 * to the addresses that the server hands out. Learned from the traffic of wandb's own client (MIT).
 */
import {createHash} from 'node:crypto';
import {hostname} from 'node:os';
import path from 'node:path';

import {HttpClient} from '../../../http/client.ts';
import type {HttpRequest} from '../../../http/message.ts';
import type {Environment} from '../../../http/environment.ts';
import {isMapping} from '../../../mapping.ts';
import {jsonOf, sendRequest} from '../../../tracking/http.ts';
import {TrackerError} from '../../../plugin-api/tracker.ts';
import {clientIdOf, digestOf, manifestDigest, type ArtifactFile, type ArtifactInput} from './artifacts.ts';
import {labelsOf, metricDefinitions, type RunDescription} from './description.ts';
import type {WandbSettings} from './settings.ts';

/** Where a run is at the server. */
export interface RunPath {
  readonly entity: string;
  readonly project: string;
  readonly runId: string;
}

/** What the server has of a run. */
export interface RemoteState {
  /** Lines of its history. */
  readonly lines: number;
  /** Lines of its system metrics. */
  readonly systemLines: number;
  /** `_step` of the last line; -1 where there is none. */
  readonly lastStep: number;
  readonly config: Readonly<Record<string, {readonly value?: unknown} | undefined>>;
}

export interface StreamRequest {
  readonly files?: Readonly<Record<string, {readonly offset: number; readonly content: readonly string[]}>>;
  readonly uploaded?: readonly string[];
  /** `mark_preempting`. */
  readonly preempting?: boolean;
  readonly complete?: boolean;
  readonly exitcode?: number;
}

/** An upload may stay silent so long. */
const uploadTimeoutMs = 120_000;

type Fields = Readonly<Record<string, unknown>>;
type Body = NonNullable<HttpRequest['body']>;

export class WandbServer {
  readonly #settings: WandbSettings;
  readonly #client: HttpClient;
  readonly #timeoutMs: number;
  readonly #authorization: string;

  /**
   * @param env proxies and certificates
   * @param timeoutMs longest wait for one answer
   * @throws SdqError (exit 3) for a proxy or a certificate that cannot be used
   */
  constructor(settings: WandbSettings, env: Environment, timeoutMs: number) {
    this.#settings = settings;
    this.#client = new HttpClient(env, {verify: settings.verifyTls});
    this.#timeoutMs = timeoutMs;
    this.#authorization = `Basic ${Buffer.from(`api:${settings.key ?? ''}`).toString('base64')}`;
  }

  /** The entity that the key belongs to. */
  async defaultEntity(signal: AbortSignal): Promise<string> {
    const data = await this.#query('Viewer', viewerQuery, {}, signal);
    return String(valueAt('Viewer', data, 'viewer', 'entity'));
  }

  /** Undefined when there is no such run. */
  async find({entity, project, runId}: RunPath, signal: AbortSignal): Promise<RemoteState | undefined> {
    const data = await this.#query('RunResumeStatus', resumeQuery, {entity, project, name: runId}, signal);
    const bucket = (data['model'] as {bucket?: Fields | null} | null | undefined)?.bucket;
    if (bucket === undefined || bucket === null) return undefined;
    const tail = parsed(bucket['historyTail']);
    const lastLine = Array.isArray(tail) ? parsed(tail.at(-1)) : undefined;
    const lastStep = isMapping(lastLine) ? Number(lastLine['_step'] ?? -1) : -1;
    const config = parsed(bucket['config']);
    return {
      lines: Number(bucket['historyLineCount'] ?? 0),
      systemLines: Number(bucket['eventsLineCount'] ?? 0),
      lastStep,
      config: isMapping(config) ? (config as RemoteState['config']) : {},
    };
  }

  /** Makes or updates the run. @returns its path by the server's names */
  async upsert({entity, project, runId}: RunPath, shown: RunDescription, signal: AbortSignal): Promise<RunPath> {
    const {group, jobType, notes, sweepId} = this.#settings;
    const orNull = (text: string): string | null => (text === '' ? null : text);
    const values = {...shown.config, _wandb: {m: metricDefinitions(shown.metrics), ...labelsOf(shown)}};
    const config = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, {value}]));
    const variables = {
      name: runId,
      project,
      entity,
      groupName: orNull(group),
      jobType: orNull(jobType),
      displayName: shown.name,
      notes: orNull(notes),
      commit: shown.commit ?? null,
      repo: shown.remote ?? null,
      host: hostname(),
      config: JSON.stringify(config),
      program: 'sdq',
      sweep: sweepId ?? null,
      tags: shown.tags,
    };
    const data = await this.#query('UpsertBucket', upsertMutation, variables, signal).catch((error: unknown) => {
      // Two clients that make a project at the same moment.
      if (!(error instanceof TrackerError) || error.status !== 409) throw error;
      throw new TrackerError(error.message, {kind: 'transient', status: 409});
    });
    const bucket = valueAt('UpsertBucket', data, 'upsertBucket', 'bucket');
    const owner = (bucket as {project?: {name?: string; entity?: {name?: string} | null} | null}).project;
    return {
      entity: owner?.entity?.name ?? entity,
      project: owner?.name ?? project,
      runId: String(valueAt('UpsertBucket', bucket, 'name')),
    };
  }

  /** @returns whether the server asks the run to stop */
  async stream({entity, project, runId}: RunPath, request: StreamRequest, signal: AbortSignal): Promise<boolean> {
    const place = [entity, project, runId].map(encodeURIComponent).join('/');
    const answer = await this.#post(`/files/${place}/file_stream`, request, 'W&B file stream', signal);
    return answer['stopped'] === true;
  }

  /** Sends a file of the run, e.g. a table. */
  async upload({entity, project, runId}: RunPath, name: string, body: Body, signal: AbortSignal): Promise<void> {
    const variables = {entity, project, run: runId, files: [name]};
    const answer = await this.#query('CreateRunFiles', runFilesMutation, variables, signal);
    const created = valueAt('CreateRunFiles', answer, 'createRunFiles');
    const url = valueAt('CreateRunFiles', created, 'files', 0, 'uploadUrl');
    await this.#put(url, (created as Fields)['uploadHeaders'], body, signal);
  }

  /** Sends a file as a version of an artifact; an existing one is left unchanged. */
  async sendArtifact(where: RunPath, {file, name, type}: ArtifactFile, signal: AbortSignal): Promise<void> {
    const entry = path.basename(file);
    const {digest, size} = digestOf(file);
    const whole = manifestDigest([[entry, digest]]);
    const input = {
      entityName: where.entity,
      projectName: where.project,
      artifactTypeName: type,
      artifactCollectionName: name,
      runName: where.runId,
      digest: whole,
      digestAlgorithm: 'MANIFEST_MD5',
      aliases: [{artifactCollectionName: name, alias: 'latest'}],
      enableDigestDeduplication: true,
      clientID: clientIdOf(name, whole),
      sequenceClientID: clientIdOf(name, ''),
    };
    const made = await this.#query('CreateArtifact', createArtifactMutation, {input}, signal);
    const artifact = valueAt('CreateArtifact', made, 'createArtifact', 'artifact') as Fields;
    if (artifact['state'] === 'COMMITTED') return;
    const artifactID = String(valueAt('CreateArtifact', artifact, 'id'));
    const latest = (artifact['artifactSequence'] as {latestArtifact?: {id?: string} | null} | null | undefined)
      ?.latestArtifact;
    const createManifest = (md5: string, includeUpload: boolean): Promise<Fields> =>
      this.#createManifest(where, {artifactID, base: latest?.id ?? null, md5, includeUpload}, signal);

    const artifactManifestID = (await createManifest('', false))['id'];
    const variables = {
      artifactFiles: [{artifactID, name: entry, md5: digest, artifactManifestID}],
      storageLayout: 'V2',
    };
    const files = await this.#query('CreateArtifactFiles', createArtifactFilesMutation, variables, signal);
    const node = valueAt('CreateArtifactFiles', files, 'createArtifactFiles', 'files', 'edges', 0, 'node') as Fields;
    // No address: the server has this content already.
    if (typeof node['uploadUrl'] === 'string')
      await this.#put(node['uploadUrl'], node['uploadHeaders'], {file, size}, signal);

    const birthArtifactID = (node['artifact'] as {id?: string} | null | undefined)?.id ?? artifactID;
    const manifest = JSON.stringify({
      version: 1,
      storagePolicy: 'wandb-storage-policy-v1',
      storagePolicyConfig: {storageLayout: 'V2'},
      contents: {[entry]: {digest, size, birthArtifactID}},
    });
    const created = await createManifest(createHash('md5').update(manifest).digest('base64'), true);
    const target = created['file'] as Fields;
    await this.#put(valueAt('CreateArtifactManifest', target, 'uploadUrl'), target['uploadHeaders'], manifest, signal);
    await this.#query('CommitArtifact', commitMutation, {artifactID}, signal);
  }

  /**
   * Says that the run uses an artifact, as `use_artifact` does: the edge of the lineage graph. Does nothing where the server has
   * no artifact of this name with this content.
   */
  async useArtifact(where: RunPath, {entity, file, name, project}: ArtifactInput, signal: AbortSignal): Promise<void> {
    const origin = {entity: entity ?? where.entity, project: project ?? where.project, name: `${name}:latest`};
    const data = await this.#query('ArtifactByName', artifactQuery, origin, signal);
    const artifact = (data['project'] as {artifact?: Fields | null} | null | undefined)?.artifact;
    const digest = manifestDigest([[path.basename(file), digestOf(file).digest]]);
    if (artifact?.['digest'] !== digest) return;
    const variables = {
      entityName: where.entity,
      projectName: where.project,
      runName: where.runId,
      artifactID: artifact['id'],
    };
    await this.#query('UseArtifact', useArtifactMutation, variables, signal);
  }

  /** @param manifest.md5 of the manifest, base64; empty before it is known */
  async #createManifest(
    {entity, project, runId}: RunPath,
    manifest: {
      readonly artifactID: string;
      readonly base: string | null;
      readonly md5: string;
      readonly includeUpload: boolean;
    },
    signal: AbortSignal,
  ): Promise<Fields> {
    const {artifactID, base, includeUpload, md5} = manifest;
    const variables = {
      artifactID,
      baseArtifactID: base,
      name: 'wandb_manifest.json',
      digest: md5,
      entityName: entity,
      projectName: project,
      runName: runId,
      manifestType: 'FULL',
      includeUpload,
    };
    const data = await this.#query('CreateArtifactManifest', createManifestMutation, variables, signal);
    return valueAt('CreateArtifactManifest', data, 'createArtifactManifest', 'artifactManifest') as Fields;
  }

  async #query(name: string, query: string, variables: Fields, signal: AbortSignal): Promise<Fields> {
    const body = {operationName: name, query, variables};
    const {data, errors} = await this.#post('/graphql', body, `W&B ${name}`, signal);
    if (isMapping(data) && (errors === undefined || errors === null)) return data;
    const message = Array.isArray(errors) && isMapping(errors[0]) ? String(errors[0]['message']) : undefined;
    throw new TrackerError(`W&B ${name}: ${message ?? 'the answer holds no data'}`, {
      kind: message === undefined ? 'transient' : 'permanent',
    });
  }

  async #post(place: string, body: unknown, what: string, signal: AbortSignal): Promise<Fields> {
    const response = await sendRequest(this.#client, {
      method: 'POST',
      url: `${this.#settings.baseUrl}${place}`,
      headers: {authorization: this.#authorization, 'content-type': 'application/json', 'user-agent': 'sdq'},
      body: JSON.stringify(body),
      signal,
      timeoutMs: this.#timeoutMs,
    });
    return jsonOf(response, what);
  }

  /** @param uploadHeaders lines like `name: value` that the server gave with the address */
  async #put(url: unknown, uploadHeaders: unknown, body: Body, signal: AbortSignal): Promise<void> {
    const pairs = (Array.isArray(uploadHeaders) ? uploadHeaders : []).map((line) => {
      const [name = '', ...value] = String(line).split(':');
      return [name, value.join(':').trim()] as const;
    });
    const {baseUrl} = this.#settings;
    const target = new URL(String(url), `${baseUrl}/`);
    // A server that keeps the files itself wants the key; signed addresses of a storage must not get it.
    const authorization = target.origin === new URL(baseUrl).origin ? {authorization: this.#authorization} : {};
    await sendRequest(this.#client, {
      method: 'PUT',
      url: target.href,
      headers: {...authorization, ...Object.fromEntries(pairs)},
      body,
      signal,
      timeoutMs: uploadTimeoutMs,
    });
  }
}

/** Goes down the names. @throws TrackerError (transient) when the answer does not hold them */
function valueAt(operation: string, data: unknown, ...names: readonly (string | number)[]): unknown {
  let value = data;
  for (const name of names) value = (value as Record<string | number, unknown> | null | undefined)?.[name];
  if (value !== undefined && value !== null) return value;
  throw new TrackerError(`W&B ${operation}: the answer lacks ${names.join('.')}`, {kind: 'transient'});
}

/** JSON in a field; undefined when there is none. */
function parsed(value: unknown): unknown {
  if (typeof value !== 'string') return undefined;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

const viewerQuery = 'query Viewer { viewer { id entity username } }';

const resumeQuery = `query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { id name historyLineCount eventsLineCount historyTail config }
  }
}`;

const upsertMutation = `mutation UpsertBucket($name: String, $project: String, $entity: String, $groupName: String,
  $displayName: String, $notes: String, $commit: String, $repo: String, $host: String, $config: JSONString, $program: String, $jobType: String,
  $sweep: String, $tags: [String!]) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, groupName: $groupName,
    displayName: $displayName, notes: $notes, commit: $commit, jobRepo: $repo, host: $host, config: $config, jobProgram: $program,
    jobType: $jobType, sweep: $sweep, tags: $tags}) {
    bucket { id name displayName project { name entity { name } } historyLineCount }
    inserted
  }
}`;

const runFilesMutation = `mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    runID uploadHeaders files { name uploadUrl }
  }
}`;

const createArtifactMutation = `mutation CreateArtifact($input: CreateArtifactInput!) {
  createArtifact(input: $input) { artifact { id state artifactSequence { latestArtifact { id } } } }
}`;

const artifactQuery = `query ArtifactByName($entity: String, $project: String, $name: String!) {
  project(name: $project, entityName: $entity) { artifact(name: $name) { id digest } }
}`;

const useArtifactMutation = `mutation UseArtifact($entityName: String!, $projectName: String!, $runName: String!, $artifactID: ID!) {
  useArtifact(input: {entityName: $entityName, projectName: $projectName, runName: $runName, artifactID: $artifactID}) {
    artifact { id }
  }
}`;

const createManifestMutation = `mutation CreateArtifactManifest($artifactID: ID!, $baseArtifactID: ID, $name: String!,
  $digest: String!, $entityName: String!, $projectName: String!, $runName: String!,
  $manifestType: ArtifactManifestType!, $includeUpload: Boolean!) {
  createArtifactManifest(input: {artifactID: $artifactID, baseArtifactID: $baseArtifactID, name: $name,
    digest: $digest, entityName: $entityName, projectName: $projectName, runName: $runName, type: $manifestType}) {
    artifactManifest { id file { id uploadUrl @include(if: $includeUpload) uploadHeaders @include(if: $includeUpload) } }
  }
}`;

const createArtifactFilesMutation = `mutation CreateArtifactFiles($artifactFiles: [CreateArtifactFileSpecInput!]!,
  $storageLayout: ArtifactStorageLayout!) {
  createArtifactFiles(input: {artifactFiles: $artifactFiles, storageLayout: $storageLayout}) {
    files { edges { node { storagePath uploadUrl uploadHeaders artifact { id } } } }
  }
}`;

const commitMutation = `mutation CommitArtifact($artifactID: ID!) {
  commitArtifact(input: {artifactID: $artifactID}) { artifact { id digest } }
}`;
