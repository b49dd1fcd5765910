/** What W&B shows of a run beside its rows: name, tags, config. */
import type {Event, TrackedRun} from '../../../plugin-api/tracker.ts';
import {limits, type WandbSettings} from './settings.ts';

export interface RunDescription {
  readonly name: string;
  readonly tags: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly commit: string | undefined;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly startedAt: number;
}

/**
 * The description after some events: `param` adds to the config, `tag` to the tags (`name`, or `name:value`, cut at 64 characters).
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
    commit: run.git?.commit,
    startedAt: run.startedAt,
  },
): RunDescription {
  let {config, tags} = before;
  for (const {data, kind} of events) {
    if (kind === 'param') config = {...config, ...data};
    if (kind !== 'tag') continue;
    tags = [...new Set([...tags, ...tagsOf(data).map((tag) => tag.slice(0, limits.tag))])];
  }
  return {...before, config, tags};
}

/** Without the remote. */
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
