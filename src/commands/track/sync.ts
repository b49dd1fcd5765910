import {
  TrackCommand,
  trackArgs,
  trackFlags,
  type TrackAllResult,
  type TrackedRunFiles,
  type TrackResult,
} from '../../cli/track-command.ts';
import {trackersFailed} from '../../cli/trackers-failed.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import {isLocked} from '../../lock.ts';
import type {PumpOutcome} from '../../tracking/pump.ts';
import {syncRun, trackerStatus} from '../../tracking/sync.ts';

/** Runs in a row of which a tracker did not take everything: its server is not there. */
const mostFailures = 3;

export default class TrackSync extends TrackCommand {
  static override summary = 'Send trackers the events of a run that they lack.';
  static override description = `For runs that were offline, stopped or killed. Sending twice creates no duplicates. Exit code 6 when a tracker has \
still not got everything, or when the run is going on: it sends by itself. With --all such a run is left out, and a tracker that \
did not take everything of ${mostFailures} runs one after the other is not tried with the rest.`;

  static override examples = [
    '<%= config.bin %> track sync',
    '<%= config.bin %> track sync latest --tracker mlflow --json',
    '<%= config.bin %> track sync --all --quiet',
  ];

  static override args = trackArgs;
  static override flags = trackFlags;

  async run(): Promise<TrackResult | TrackAllResult> {
    const {args, flags} = await this.parse(TrackSync);
    this.checkWhich(args.run, flags.all);
    if (flags.all) return this.#syncAll(flags.tracker);
    const tracked = await this.trackedRun(args.run ?? 'latest', flags.tracker);
    const {directory, record, trackers} = tracked;
    const outcomes = await this.#send(tracked);
    const result = this.showStatus(record, directory, trackers);
    const failure = trackersFailed(outcomes, {id: record.id, directory});
    if (failure !== undefined) this.checkFailed(failure);
    return result;
  }

  #send(tracked: TrackedRunFiles): Promise<readonly PumpOutcome[]> {
    return syncRun(tracked, {env: process.env, cwd: process.cwd(), notice: (message) => this.notice(message)});
  }

  /** Complete runs cost no request, so the same command continues after an interruption. */
  async #syncAll(only: string | undefined): Promise<TrackAllResult> {
    const runs = await this.allTrackedRuns(only);
    const failures = new Map<string, number>();
    const incomplete = new Set<string>();
    for (const {run, names, load} of runs) {
      const {id} = run.record;
      const lacking = names.filter((name) => !trackerStatus(run.directory, name).complete);
      const tried = lacking.filter((name) => (failures.get(name) ?? 0) < mostFailures);
      if (lacking.length > tried.length) incomplete.add(id);
      if (tried.length === 0) continue;
      if (isLocked(run.directory)) {
        this.notice(`${id} is going on: it sends by itself.`);
        continue;
      }
      try {
        const files = await load();
        const outcomes = await this.#send({
          ...files,
          trackers: files.trackers.filter(({name}) => tried.includes(name)),
        });
        for (const {complete, name} of outcomes) {
          failures.set(name, complete ? 0 : (failures.get(name) ?? 0) + 1);
          if (!complete) incomplete.add(id);
          if (failures.get(name) === mostFailures) this.notice(`${name} is not tried with the other runs.`);
        }
      } catch (error) {
        if (!(error instanceof SdqError)) throw error;
        this.notice(`${id}: ${error.message}`);
        incomplete.add(id);
      }
    }
    const result = this.showAll(runs);
    if (incomplete.size > 0) this.checkFailed(runsIncomplete([...incomplete]));
    return result;
  }
}

function runsIncomplete(ids: readonly string[]): SdqError {
  const shown = ids.slice(0, 3).join(', ');
  return new SdqError(
    `Not everything of ${ids.length} runs is at their trackers: ${shown}${ids.length > 3 ? ', …' : ''}.`,
    {code: 'tracking-incomplete', exit: ExitCode.notAvailable, suggestions: ['sdq track sync --all']},
  );
}
