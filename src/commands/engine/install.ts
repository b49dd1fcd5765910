import {Args, Flags} from '@oclif/core';

import {DownloadCommand} from '../../cli/download-command.ts';
import {ExitCode, SdqError} from '../../errors.ts';
import {didYouMean} from '../../nearest.ts';

interface Installed {
  readonly name: string;
  readonly path: string;
  readonly device: string;
  /** By what it runs. */
  readonly reason: string;
}

export default class EngineInstall extends DownloadCommand {
  static override summary = 'Install what an engine needs.';
  static override description = `\`tensorflow\`: fetches TensorFlow with CUDA and cuDNN from PyPI by pip (about 3 GB; --cpu 0.3 GB), and compiles the binding of tfjs-node against it. Needs Linux on x86-64, Python with pip, a C++ compiler and npm, but no CUDA of the system. \`webgpu\`: fetches Dawn and the WebGPU backend of tfjs with npm (30 MB).

The folder is $SDQ_ENGINE_DIR/NAME, else $XDG_CACHE_HOME/sdq/engines/NAME, else ~/.cache/sdq/engines/NAME. Finished parts are kept; run the same command again after an interruption.`;
  static override args = {name: Args.string({required: true, description: 'Name of the engine.'})};
  static override flags = {
    cpu: Flags.boolean({summary: 'Install for the CPU, without CUDA.'}),
    python: Flags.string({summary: 'Install with this Python, e.g. /usr/bin/python3.12.', helpValue: 'PYTHON'}),
    'without-driver': Flags.boolean({
      summary: 'Install CUDA where no GPU can be seen, e.g. while a container image is built.',
      exclusive: ['cpu'],
    }),
  };
  static override examples = [
    '<%= config.bin %> engine install tensorflow',
    '<%= config.bin %> engine install tensorflow --cpu',
    '<%= config.bin %> engine install webgpu',
  ];

  async run(): Promise<Installed> {
    const {args, flags} = await this.parse(EngineInstall);
    const {config, registry} = await this.settings({kinds: ['engine']});
    const definition = registry.get('engine', args.name);
    const install = definition.install?.bind(definition);
    if (install === undefined) {
      const names = registry.list('engine').flatMap((engine) => (engine.install === undefined ? [] : [engine.name]));
      throw new SdqError(
        `The engine ${args.name} is part of sdq and needs no installation. Engines to install: ${names.join(', ')}.`,
        {
          code: 'nothing-to-install',
          exit: ExitCode.usage,
          suggestions: didYouMean(args.name, names),
        },
      );
    }
    const path = await this.download((context) =>
      install({
        cpu: flags.cpu,
        python: flags.python,
        withoutDriver: flags['without-driver'],
        environment: process.env,
        ...context,
      }),
    );
    const {available, device, reason} = await definition.probe({threads: config.engine.threads});
    if (!available) {
      throw new SdqError(`The engine ${args.name} was installed, but cannot be used. ${reason}`, {
        code: 'engine-not-available',
        exit: ExitCode.notAvailable,
      });
    }
    this.log(`${args.name}: ${device}, in ${path}. ${reason}`);
    return {name: args.name, path, device, reason};
  }
}
