import {existsSync} from 'node:fs';
import os from 'node:os';

import {SdqCommand} from '../cli/base-command.ts';
import {table} from '../cli/table.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {selectDataset} from '../phases/inspect-dataset.ts';
import {probeOnnxRuntime} from '../phases/onnx-runtime.ts';
import {redactor} from '../redact.ts';

interface Diagnosis {
  readonly versions: {readonly sdq: string; readonly node: string; readonly platform: string};
  readonly machine: {readonly cpus: number; readonly memoryMiB: number};
  readonly config: string | null;
  readonly plugins: readonly string[];
  readonly engines: readonly {
    readonly name: string;
    readonly available: boolean;
    readonly reason: string;
    readonly device: string;
  }[];
  readonly datasets: readonly {
    readonly name: string;
    readonly present: boolean;
    readonly path: string;
    /** Where it is, or how to get it. */
    readonly reason: string;
  }[];
  /** What runs exported files. */
  readonly runtimes: readonly {readonly name: string; readonly available: boolean; readonly reason: string}[];
  readonly trackers: readonly {
    readonly name: string;
    /** The config names it. */
    readonly configured: boolean;
    /** The server answers and takes the key; null when it was not asked, because the config does not name it. */
    readonly available: boolean | null;
    readonly reason: string;
  }[];
}

/** For the servers of the trackers to answer. */
const probeMs = 5000;

export default class Doctor extends SdqCommand {
  static override summary =
    'Say what sdq finds on this machine: engines, data sets, runtimes, trackers, versions, and what is missing.';
  static override examples = ['<%= config.bin %> doctor', '<%= config.bin %> doctor --json'];

  async run(): Promise<Diagnosis> {
    const {config, file, registry} = await this.settings({kinds: ['engine', 'dataset', 'tracker']});
    const engines = await Promise.all(
      registry.list('engine').map(async (engine) => {
        const {available, reason, device} = await engine.probe({threads: config.engine.threads});
        return {name: engine.name, available, reason, device};
      }),
    );
    const datasets = registry.list('dataset').map(({name, sources}) => {
      const {directory} = selectDataset(registry, name, config.data);
      const present = existsSync(directory);
      const missing = sources.length === 0 ? 'your own files: set data.directory' : `sdq data fetch ${name}`;
      return {name, present, path: directory, reason: present ? `in ${directory}` : missing};
    });
    const trackers = await Promise.all(
      registry.list('tracker').map(async (tracker) => {
        const {name, summary} = tracker;
        const settings = config.tracking.find((entry) => entry.name === name);
        if (settings === undefined) return {name, configured: false, available: null, reason: summary};
        const {name: _, ...options} = settings;
        const probed = await tracker.probe({options, env: process.env}, AbortSignal.timeout(probeMs));
        return {name, configured: true, ...probed, reason: redactor(process.env)(probed.reason)};
      }),
    );
    const result = {
      versions: {sdq: this.config.version, node: process.version, platform: `${process.platform}-${process.arch}`},
      machine: {cpus: os.availableParallelism(), memoryMiB: Math.round(os.totalmem() / 2 ** 20)},
      config: file ?? null,
      plugins: config.plugins,
      engines,
      datasets,
      runtimes: [probeOnnxRuntime('onnxruntime-web'), probeOnnxRuntime('onnxruntime-node')],
      trackers,
    };
    const {versions, machine, runtimes} = result;
    this.log(`sdq ${versions.sdq}, Node ${versions.node}, ${versions.platform}`);
    this.log(`${machine.cpus} processors, ${machine.memoryMiB} MiB of memory`);
    this.log(`config: ${file ?? 'none; write one with `sdq init`'}\n`);
    this.log(
      table(
        [{head: 'engine'}, {head: 'available'}, {head: 'device', wrap: true}, {head: 'why', wrap: true}],
        engines.map(({name, available, device, reason}) => [name, available ? 'yes' : 'no', device, reason]),
      ),
    );
    this.log('');
    this.log(
      table(
        [{head: 'data set'}, {head: 'present'}, {head: 'where, or how to get it', wrap: true}],
        datasets.map(({name, present, reason}) => [name, present ? 'yes' : 'no', reason]),
      ),
    );
    this.log('');
    this.log(
      table(
        [{head: 'runtime'}, {head: 'available'}, {head: 'why', wrap: true}],
        runtimes.map(({name, available, reason}) => [name, available ? 'yes' : 'no', reason]),
      ),
    );
    this.log('');
    this.log(
      table(
        [{head: 'tracker'}, {head: 'configured'}, {head: 'available'}, {head: 'why', wrap: true}],
        trackers.map(({available, configured, name, reason}) => [
          name,
          configured ? 'yes' : 'no',
          available === null ? '-' : available ? 'yes' : 'no',
          reason,
        ]),
      ),
    );
    if (!engines.some(({available}) => available)) {
      this.checkFailed(
        new SdqError('No engine is available.', {code: 'no-engine', exit: ExitCode.notAvailable, suggestions: []}),
      );
    }
    return result;
  }
}
