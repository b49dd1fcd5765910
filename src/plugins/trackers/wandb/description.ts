/** What W&B shows of a run beside its rows: name, tags, config. */
import type {Event, TrackedRun} from '../../../tracking/tracker.ts';
import type {WandbSettings} from './settings.ts';

export interface RunDescription {
  readonly name: string;
  readonly tags: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly commit: string | undefined;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly startedAt: number;
}

/**
 * The description after some events: `param` adds to the config, `tag` to the tags (`name`, or `name:value`).
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
      sdq: {uid: run.uid, run: run.id, command: run.command, seed: run.seed, versions: run.versions, git: run.git},
    },
    commit: run.git?.commit,
    startedAt: run.startedAt,
  },
): RunDescription {
  let {config, tags} = before;
  for (const {data, kind} of events) {
    if (kind === 'param') config = {...config, ...data};
    if (kind !== 'tag') continue;
    const added = Object.entries(data).map(([name, value]) => (value === true ? name : `${name}:${String(value)}`));
    tags = [...new Set([...tags, ...added])];
  }
  return {...before, config, tags};
}
