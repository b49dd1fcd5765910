import {TrackCommand, trackArgs, trackFlags, type TrackAllResult, type TrackResult} from '../../cli/track-command.ts';

export default class TrackStatus extends TrackCommand {
  static override summary = 'Show how much of a run each tracker has received.';
  static override description = 'Reads the files of the run only; no server is asked.';
  static override examples = [
    '<%= config.bin %> track status',
    '<%= config.bin %> track status latest --json',
    '<%= config.bin %> track status --all',
  ];

  static override args = trackArgs;
  static override flags = trackFlags;

  async run(): Promise<TrackResult | TrackAllResult> {
    const {args, flags} = await this.parse(TrackStatus);
    this.checkWhich(args.run, flags.all);
    if (flags.all) return this.showAll(await this.allTrackedRuns(flags.tracker));
    const {directory, record, trackers} = await this.trackedRun(args.run ?? 'latest', flags.tracker);
    return this.showStatus(record, directory, trackers);
  }
}
