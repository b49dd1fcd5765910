import {TrackCommand, trackArgs, trackFlags, type TrackResult} from '../../cli/track-command.ts';

export default class TrackStatus extends TrackCommand {
  static override summary = 'Say how much of a run each of its trackers has.';
  static override description = 'Reads the files of the run only; no server is asked.';
  static override examples = ['<%= config.bin %> track status', '<%= config.bin %> track status latest --json'];
  static override args = trackArgs;
  static override flags = trackFlags;

  async run(): Promise<TrackResult> {
    const {args, flags} = await this.parse(TrackStatus);
    const {directory, record, trackers} = await this.trackedRun(args.run, flags.tracker);
    return this.showStatus(record, directory, trackers);
  }
}
