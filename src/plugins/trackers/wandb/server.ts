/**
 * The W&B server as a run needs it: GraphQL for the run and its artifacts, the file stream for rows and summary, uploads
 * to the addresses that the server hands out. Learned from the traffic of wandb's own client (MIT).
 */
import {createHash} from 'node:crypto';
import path from 'node:path';

import {HttpClient, type Environment, type HttpRequest} from '../../../http.ts';
import {jsonOf, sendRequest} from '../../../tracking/http.ts';
import {TrackerError} from '../../../tracking/tracker.ts';
import {clientIdOf, digestOf, manifestDigest, type ArtifactFile} from './artifacts.ts';
import type {RunDescription} from './description.ts';
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
  /** `_step` of the last line; -1 where there is none. */
  readonly lastStep: number;
  readonly config: Readonly<Record<string, {readonly value?: unknown} | undefined>>;
}

export interface StreamRequest {
  readonly files?: Readonly<Record<string, {readonly offset: number; readonly content: readonly string[]}>>;
  readonly uploaded?: readonly string[];
  readonly complete?: boolean;
  readonly exitcode?: number;
}

export interface WandbServer {
  /** The entity that the key belongs to. */
  defaultEntity(signal: AbortSignal): Promise<string>;
  /** Undefined when there is no such run. */
  find(where: RunPath, signal: AbortSignal): Promise<RemoteState | undefined>;
  /** Makes or updates the run. @returns its path by the server's names */
  upsert(where: RunPath, told: RunDescription, signal: AbortSignal): Promise<RunPath>;
  /** @returns whether the server asks the run to stop */
  stream(where: RunPath, request: StreamRequest, signal: AbortSignal): Promise<boolean>;
  /** Sends a file of the run, e.g. a table. */
  upload(where: RunPath, name: string, body: NonNullable<HttpRequest['body']>, signal: AbortSignal): Promise<void>;
  /** Sends a file as a version of an artifact; one that is there already is left as it is. */
  sendArtifact(where: RunPath, artifact: ArtifactFile, signal: AbortSignal): Promise<void>;
}

/** An upload may stay silent so long. */
const uploadTimeoutMs = 120_000;

type Fields = Readonly<Record<string, unknown>>;

/**
 * @param env proxies and certificates
 * @param timeoutMs longest wait for one answer
 * @throws SdqError (exit 3) for a proxy or a certificate that cannot be used
 */
export function connect(settings: WandbSettings, env: Environment, timeoutMs: number): WandbServer {
  const {baseUrl, key = '', verifyTls} = settings;
  const client = new HttpClient(env, {verify: verifyTls});
  const headers = {
    authorization: `Basic ${Buffer.from(`api:${key}`).toString('base64')}`,
    'content-type': 'application/json',
    'user-agent': 'sdq',
  };

  const query = async (name: string, text: string, variables: Fields, signal: AbortSignal): Promise<Fields> => {
    const request: HttpRequest = {
      method: 'POST',
      url: `${baseUrl}/graphql`,
      headers,
      body: JSON.stringify({operationName: name, query: text, variables}),
      signal,
      timeoutMs,
    };
    const {data, errors} = jsonOf(await sendRequest(client, request), `W&B ${name}`);
    if (isFields(data) && (errors === undefined || errors === null)) return data;
    const message = Array.isArray(errors) && isFields(errors[0]) ? String(errors[0]['message']) : undefined;
    throw new TrackerError(`W&B ${name}: ${message ?? 'the answer holds no data'}`, {
      kind: message === undefined ? 'transient' : 'permanent',
    });
  };

  /** Goes down the names. @throws TrackerError (transient) when the answer does not hold them */
  const at = (operation: string, data: unknown, ...names: readonly (string | number)[]): unknown => {
    let value = data;
    for (const name of names) value = (value as Record<string | number, unknown> | null | undefined)?.[name];
    if (value !== undefined && value !== null) return value;
    throw new TrackerError(`W&B ${operation}: the answer lacks ${names.join('.')}`, {kind: 'transient'});
  };

  const put = async (
    url: unknown,
    uploadHeaders: unknown,
    body: NonNullable<HttpRequest['body']>,
    signal: AbortSignal,
  ): Promise<void> => {
    const pairs = (Array.isArray(uploadHeaders) ? uploadHeaders : []).map((line) => {
      const [name, ...value] = String(line).split(':');
      return [name!, value.join(':').trim()] as const;
    });
    const target = new URL(String(url), `${baseUrl}/`);
    // A server that keeps the files itself wants the key; signed addresses of a storage must not get it.
    const own = target.origin === new URL(baseUrl).origin ? {authorization: headers.authorization} : {};
    await sendRequest(client, {
      method: 'PUT',
      url: target.href,
      headers: {...own, ...Object.fromEntries(pairs)},
      body,
      signal,
      timeoutMs: uploadTimeoutMs,
    });
  };

  return {
    async defaultEntity(signal) {
      const data = await query('Viewer', viewerQuery, {}, signal);
      return String(at('Viewer', data, 'viewer', 'entity'));
    },

    async find({entity, project, runId}, signal) {
      const data = await query('RunResumeStatus', resumeQuery, {entity, project, name: runId}, signal);
      const bucket = (data['model'] as {bucket?: Fields | null} | null | undefined)?.bucket;
      if (bucket === undefined || bucket === null) return undefined;
      const tail = parsed(bucket['historyTail']);
      const lastLine = Array.isArray(tail) ? parsed(tail.at(-1)) : undefined;
      const lastStep = isFields(lastLine) ? Number(lastLine['_step'] ?? -1) : -1;
      const config = parsed(bucket['config']);
      return {
        lines: Number(bucket['historyLineCount'] ?? 0),
        lastStep,
        config: isFields(config) ? (config as RemoteState['config']) : {},
      };
    },

    async upsert({entity, project, runId}, told, signal) {
      const variables = {
        name: runId,
        project,
        entity,
        groupName: settings.group === '' ? null : settings.group,
        jobType: settings.jobType === '' ? null : settings.jobType,
        displayName: told.name,
        notes: settings.notes === '' ? null : settings.notes,
        commit: told.commit ?? null,
        config: JSON.stringify(Object.fromEntries(Object.entries(told.config).map(([name, value]) => [name, {value}]))),
        program: 'sdq',
        sweep: settings.sweepId ?? null,
        tags: told.tags,
      };
      let data: Fields;
      try {
        data = await query('UpsertBucket', upsertMutation, variables, signal);
      } catch (error) {
        // Two clients that make a project at the same moment.
        if (!(error instanceof TrackerError) || error.status !== 409) throw error;
        throw new TrackerError(error.message, {kind: 'transient', status: 409});
      }
      const bucket = at('UpsertBucket', data, 'upsertBucket', 'bucket');
      const owner = (bucket as {project?: {name?: string; entity?: {name?: string} | null} | null}).project;
      return {
        entity: owner?.entity?.name ?? entity,
        project: owner?.name ?? project,
        runId: String(at('UpsertBucket', bucket, 'name')),
      };
    },

    async stream({entity, project, runId}, request, signal) {
      const place = [entity, project, runId].map(encodeURIComponent).join('/');
      const response = await sendRequest(client, {
        method: 'POST',
        url: `${baseUrl}/files/${place}/file_stream`,
        headers,
        body: JSON.stringify(request),
        signal,
        timeoutMs,
      });
      return jsonOf(response, 'W&B file stream')['stopped'] === true;
    },

    async upload({entity, project, runId}, name, body, signal) {
      const variables = {entity, project, run: runId, files: [name]};
      const created = at(
        'CreateRunFiles',
        await query('CreateRunFiles', runFilesMutation, variables, signal),
        'createRunFiles',
      );
      const url = at('CreateRunFiles', created, 'files', 0, 'uploadUrl');
      await put(url, (created as Fields)['uploadHeaders'], body, signal);
    },

    async sendArtifact({entity, project, runId}, {file, name, type}, signal) {
      const entry = path.basename(file);
      const {digest, size} = digestOf(file);
      const whole = manifestDigest([[entry, digest]]);
      const input = {
        entityName: entity,
        projectName: project,
        artifactTypeName: type,
        artifactCollectionName: name,
        runName: runId,
        digest: whole,
        digestAlgorithm: 'MANIFEST_MD5',
        aliases: [{artifactCollectionName: name, alias: 'latest'}],
        enableDigestDeduplication: true,
        clientID: clientIdOf(name, whole),
        sequenceClientID: clientIdOf(name, ''),
      };
      const made = await query('CreateArtifact', createArtifactMutation, {input}, signal);
      const artifact = at('CreateArtifact', made, 'createArtifact', 'artifact') as Fields;
      if (artifact['state'] === 'COMMITTED') return;
      const artifactID = String(at('CreateArtifact', artifact, 'id'));
      const latest = (artifact['artifactSequence'] as {latestArtifact?: {id?: string} | null} | null | undefined)
        ?.latestArtifact;

      const manifestOf = async (manifest: string, includeUpload: boolean): Promise<Fields> => {
        const variables = {
          artifactID,
          baseArtifactID: latest?.id ?? null,
          name: 'wandb_manifest.json',
          digest: manifest,
          entityName: entity,
          projectName: project,
          runName: runId,
          manifestType: 'FULL',
          includeUpload,
        };
        const data = await query('CreateArtifactManifest', createManifestMutation, variables, signal);
        return at('CreateArtifactManifest', data, 'createArtifactManifest', 'artifactManifest') as Fields;
      };
      const artifactManifestID = (await manifestOf('', false))['id'];

      const variables = {
        artifactFiles: [{artifactID, name: entry, md5: digest, artifactManifestID}],
        storageLayout: 'V2',
      };
      const files = await query('CreateArtifactFiles', createArtifactFilesMutation, variables, signal);
      const node = at('CreateArtifactFiles', files, 'createArtifactFiles', 'files', 'edges', 0, 'node') as Fields;
      // No address: the server has this content already.
      if (typeof node['uploadUrl'] === 'string')
        await put(node['uploadUrl'], node['uploadHeaders'], {file, size}, signal);

      const birthArtifactID = (node['artifact'] as {id?: string} | null | undefined)?.id ?? artifactID;
      const manifest = JSON.stringify({
        version: 1,
        storagePolicy: 'wandb-storage-policy-v1',
        storagePolicyConfig: {storageLayout: 'V2'},
        contents: {[entry]: {digest, size, birthArtifactID}},
      });
      const manifestFile = (await manifestOf(createHash('md5').update(manifest).digest('base64'), true))[
        'file'
      ] as Fields;
      await put(
        at('CreateArtifactManifest', manifestFile, 'uploadUrl'),
        manifestFile['uploadHeaders'],
        manifest,
        signal,
      );
      await query('CommitArtifact', commitMutation, {artifactID}, signal);
    },
  };
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
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
    bucket(name: $name, missingOk: true) { id name historyLineCount historyTail config }
  }
}`;

const upsertMutation = `mutation UpsertBucket($name: String, $project: String, $entity: String, $groupName: String,
  $displayName: String, $notes: String, $commit: String, $config: JSONString, $program: String, $jobType: String,
  $sweep: String, $tags: [String!]) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, groupName: $groupName,
    displayName: $displayName, notes: $notes, commit: $commit, config: $config, jobProgram: $program,
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
