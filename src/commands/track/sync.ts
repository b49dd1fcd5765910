import {TrackCommand, trackArgs, trackFlags, type TrackResult} from '../../cli/track-command.ts';
import {trackersFailed} from '../../cli/trackers-failed.ts';
import {syncRun} from '../../tracking/sync.ts';

export default class TrackSync extends TrackCommand {
  static override summary = 'Send what the trackers of a run have not got yet.';
  static override description = `For runs that were offline, stopped or killed. Sending twice makes no doubles. Exit code 6 when a tracker has \
still not got everything, or when the run is going on: it sends by itself.`;

  static override examples = [
    '<%= config.bin %> track sync',
    '<%= config.bin %> track sync latest --tracker mlflow --json',
  ];

  static override args = trackArgs;
  static override flags = trackFlags;

  async run(): Promise<TrackResult> {
    const {args, flags} = await this.parse(TrackSync);
    const tracked = await this.trackedRun(args.run, flags.tracker);
    const {directory, record, trackers} = tracked;
    const outcomes = await syncRun(tracked, {
      env: process.env,
      cwd: process.cwd(),
      notice: (message) => this.notice(message),
    });
    const result = this.showStatus(record, directory, trackers);
    const failure = trackersFailed(outcomes, {id: record.id, directory});
    if (failure !== undefined) this.checkFailed(failure);
    return result;
  }
}
