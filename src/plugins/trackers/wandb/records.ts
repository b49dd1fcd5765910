/**
 * The records of a `.wandb` file as protobuf messages: the part of wandb's `wandb_internal.proto` that a run of sdq
 * writes. Field names and numbers are wandb's; https://github.com/wandb/wandb/blob/main/wandb/proto/wandb_internal.proto
 */
import protobuf from 'protobufjs/light.js';

interface Item {
  readonly key: string;
  readonly valueJson: string;
}

/** Seconds and nanoseconds since 1970-01-01 UTC. */
interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}

interface RunRecord {
  readonly runId: string;
  readonly entity: string;
  readonly project: string;
  readonly config: {readonly update: readonly Item[]};
  readonly runGroup: string;
  readonly jobType: string;
  readonly displayName: string;
  readonly notes: string;
  readonly tags: readonly string[];
  readonly sweepId: string;
  readonly host: string;
  readonly startingStep: number;
  readonly startTime: Timestamp;
  readonly resumed: boolean;
  readonly git?: {readonly remoteUrl?: string; readonly commit: string};
}

interface ArtifactRecord {
  readonly runId: string;
  readonly project: string;
  readonly entity: string;
  readonly type: string;
  readonly name: string;
  readonly digest: string;
  readonly aliases: readonly string[];
  readonly manifest: {
    readonly version: number;
    readonly storagePolicy: string;
    readonly storagePolicyConfig: readonly Item[];
    readonly contents: readonly {
      readonly path: string;
      readonly digest: string;
      readonly size: number;
      readonly localPath: string;
    }[];
  };
  readonly finalize: boolean;
  readonly clientId: string;
  readonly sequenceClientId: string;
}

/** `define_metric`: what the x axis of a metric is. */
interface MetricRecord {
  readonly name: string;
  readonly stepMetric?: string;
  readonly options: {readonly stepSync?: boolean; readonly defined: boolean};
}

/** One record; exactly one field is set. */
export interface LogRecord {
  readonly history?: {readonly item: readonly Item[]; readonly step: {readonly num: number}};
  readonly summary?: {readonly update: readonly Item[]};
  readonly config?: {readonly update: readonly Item[]};
  readonly files?: {readonly files: readonly {readonly path: string; readonly type: number}[]};
  readonly stats?: {readonly timestamp: Timestamp; readonly item: readonly Item[]};
  readonly artifact?: ArtifactRecord;
  readonly metric?: MetricRecord;
  readonly run?: RunRecord;
  /** `mark_preempting`. */
  readonly preempting?: Readonly<Record<string, never>>;
  readonly exit?: {readonly exitCode: number; readonly runtime: number};
  readonly final?: Readonly<Record<string, never>>;
  readonly header?: {readonly versionInfo: {readonly producer: string; readonly minConsumer: string}};
}

/** `FilesItem.FileType`; without a policy a file is sent at once. */
export const fileTypes = {wandb: 1, media: 2} as const;

const one = (type: string, id: number): {type: string; id: number} => ({type, id});
const many = (type: string, id: number): {rule: string; type: string; id: number} => ({rule: 'repeated', type, id});
const items = {fields: {update: many('Item', 1)}};

const {Record: recordType} = protobuf.Root.fromJSON({
  nested: {
    Record: {
      fields: {
        num: one('int64', 1),
        history: one('HistoryRecord', 2),
        summary: one('ItemsRecord', 3),
        config: one('ItemsRecord', 5),
        files: one('FilesRecord', 6),
        stats: one('StatsRecord', 7),
        artifact: one('ArtifactRecord', 8),
        metric: one('MetricRecord', 12),
        run: one('RunRecord', 17),
        exit: one('RunExitRecord', 18),
        final: one('FinalRecord', 20),
        header: one('HeaderRecord', 21),
        preempting: one('RunPreemptingRecord', 23),
      },
    },
    // HistoryItem, SummaryItem, ConfigItem and StatsItem are alike, and so are SummaryRecord and ConfigRecord.
    Item: {fields: {key: one('string', 1), valueJson: one('string', 16)}},
    ItemsRecord: items,
    HistoryStep: {fields: {num: one('int64', 1)}},
    HistoryRecord: {fields: {item: many('Item', 1), step: one('HistoryStep', 2)}},
    MetricOptions: {fields: {stepSync: one('bool', 1), defined: one('bool', 3)}},
    MetricRecord: {
      fields: {name: one('string', 1), stepMetric: one('string', 4), options: one('MetricOptions', 6)},
    },
    StatsRecord: {fields: {timestamp: one('Timestamp', 2), item: many('Item', 3)}},
    FilesItem: {fields: {path: one('string', 1), type: one('int32', 3)}},
    FilesRecord: {fields: {files: many('FilesItem', 1)}},
    Timestamp: {fields: {seconds: one('int64', 1), nanos: one('int32', 2)}},
    GitRepoRecord: {fields: {remoteUrl: one('string', 1), commit: one('string', 2)}},
    RunRecord: {
      fields: {
        runId: one('string', 1),
        entity: one('string', 2),
        project: one('string', 3),
        config: one('ItemsRecord', 4),
        runGroup: one('string', 6),
        jobType: one('string', 7),
        displayName: one('string', 8),
        notes: one('string', 9),
        tags: many('string', 10),
        sweepId: one('string', 12),
        host: one('string', 13),
        startingStep: one('int64', 14),
        startTime: one('Timestamp', 17),
        resumed: one('bool', 18),
        git: one('GitRepoRecord', 21),
      },
    },
    RunExitRecord: {fields: {exitCode: one('int32', 1), runtime: one('int32', 2)}},
    FinalRecord: {fields: {}},
    RunPreemptingRecord: {fields: {}},
    VersionInfo: {fields: {producer: one('string', 1), minConsumer: one('string', 2)}},
    HeaderRecord: {fields: {versionInfo: one('VersionInfo', 1)}},
    StoragePolicyConfigItem: {fields: {key: one('string', 1), valueJson: one('string', 2)}},
    ArtifactManifestEntry: {
      fields: {
        path: one('string', 1),
        digest: one('string', 2),
        size: one('int64', 4),
        localPath: one('string', 6),
      },
    },
    ArtifactManifest: {
      fields: {
        version: one('int32', 1),
        storagePolicy: one('string', 2),
        storagePolicyConfig: many('StoragePolicyConfigItem', 3),
        contents: many('ArtifactManifestEntry', 4),
      },
    },
    ArtifactRecord: {
      fields: {
        runId: one('string', 1),
        project: one('string', 2),
        entity: one('string', 3),
        type: one('string', 4),
        name: one('string', 5),
        digest: one('string', 6),
        aliases: many('string', 11),
        manifest: one('ArtifactManifest', 12),
        finalize: one('bool', 14),
        clientId: one('string', 15),
        sequenceClientId: one('string', 16),
      },
    },
  },
}) as unknown as {Record: protobuf.Type};

/** @param num `seq` of the journal's event that the record stands for; left out before the first one */
export function encodeRecord(record: LogRecord, num?: number): Uint8Array {
  return recordType.encode(num === undefined ? {...record} : {num, ...record}).finish();
}

/** `num` of an encoded record, and whether it is the exit. @throws Error when the bytes are not a record */
export function readRecordHead(bytes: Uint8Array): {readonly num: number; readonly isExit: boolean} {
  const record = recordType.decode(bytes) as unknown as {num: unknown; exit?: unknown};
  return {num: Number(record.num), isExit: record.exit !== undefined && record.exit !== null};
}
