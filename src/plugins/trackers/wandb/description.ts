/** What W&B shows of a run beside its rows: name, tags, config, and the x axis of its metrics. */
import type {Event, TrackedRun} from '../../../plugin-api/tracker.ts';
import {classLabelsKey, classLabelsOf} from './media.ts';
import {shownName} from './rows.ts';
import {limits, type WandbSettings} from './settings.ts';

export interface RunDescription {
  readonly name: string;
  readonly tags: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
  /** Names of the metrics so far, in the order of their first rows. */
  readonly metrics: readonly string[];
  /** Of pictures with boxes; the same object until there are more. */
  readonly classLabels: Readonly<Record<string, unknown>>;
  readonly commit: string | undefined;
  /** Of the repository, without user name and password. */
  readonly remote: string | undefined;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly startedAt: number;
}

/**
 * The description after some events: `param` adds to the config, `tag` to the tags (`name`, or `name:value`, cut at 64
 * characters), `metric` to the metrics.
 * @param before of the events before these; the run's own when left out
 */
export function description(
  run: TrackedRun,
  settings: WandbSettings,
  events: Iterable<Event>,
  before: RunDescription = {
    name: settings.name ?? run.id,
    tags: settings.tags,
    config: {
      ...run.config,
      sdq: {uid: run.uid, run: run.id, command: run.command, seed: run.seed, versions: run.versions, git: gitOf(run)},
    },
    metrics: [],
    classLabels: {},
    commit: run.git?.commit,
    remote: run.git?.remote,
    startedAt: run.startedAt,
  },
): RunDescription {
  let {classLabels, config, tags} = before;
  const metrics = new Set(before.metrics);
  for (const event of events) {
    const {data, kind} = event;
    const labels = classLabelsOf(event, settings.artifacts);
    if (Object.keys(labels).length > 0) classLabels = {...classLabels, ...labels};
    if (kind === 'param') config = {...config, ...data};
    if (kind === 'metric') for (const name of Object.keys(data)) metrics.add(shownName(name, settings));
    if (kind !== 'tag') continue;
    tags = [...new Set([...tags, ...tagsOf(data).map((tag) => tag.slice(0, limits.tag))])];
  }
  return {
    ...before,
    classLabels,
    config,
    tags,
    metrics: metrics.size === before.metrics.length ? before.metrics : [...metrics],
  };
}

/** The column with the exact optimizer step: the x axis of every metric. */
export const stepMetric = 'step';

/**
 * `_wandb.m` of the config: W&B's `define_metric(name, step_metric="step")` of every metric, as wandb 0.30 writes it. The
 * keys are the field numbers of its MetricRecord: 1 name, 5 place of the step metric in this list from 1, 6 options
 * (1 step_sync, 3 defined), 7 summary.
 */
export function metricDefinitions(names: readonly string[]): readonly Readonly<Record<number, unknown>>[] {
  if (names.length === 0) return [];
  return [{1: stepMetric, 6: [3], 7: []}, ...names.map((name) => ({1: name, 5: 1, 6: [1, 3], 7: []}))];
}

/** What `_wandb` of the config holds of the pictures' boxes; empty without any. */
export const labelsOf = ({classLabels}: RunDescription): Readonly<Record<string, unknown>> =>
  Object.keys(classLabels).length === 0 ? {} : {[classLabelsKey]: classLabels};

/** Without the remote, which has a field of its own. */
const gitOf = ({git}: TrackedRun): object | null => git && {commit: git.commit, dirty: git.dirty};

/** The tags of events that W&B does not take whole. */
export function longTags(events: Iterable<Event>): readonly string[] {
  return [...events].flatMap(({data, kind}) =>
    kind === 'tag' ? tagsOf(data).filter((tag) => tag.length > limits.tag) : [],
  );
}

function tagsOf(data: Event['data']): readonly string[] {
  return Object.entries(data).map(([name, value]) => (value === true ? name : `${name}:${String(value)}`));
}
