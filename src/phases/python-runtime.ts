/** ONNX Runtime, OpenVINO or qonnx in a Python interpreter: a child process that runs integrations/runtimes/sdq_runtime.py. */
import {spawn, type ChildProcessWithoutNullStreams} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {warmUpRuns} from './latency.ts';
import {optimizedKernels, profiledNodes} from './onnx-runtime.ts';
import {withoutProfile, type Kernel, type Runtime, type RuntimeName, type RuntimeNetwork} from './runtime.ts';

const script = fileURLToPath(new URL('../../integrations/runtimes/sdq_runtime.py', import.meta.url));

/** Ends of what Python wrote to stderr, for messages. */
const shownBytes = 2000;

interface Answer {
  readonly error?: string;
  /** Name of the module that is not installed. */
  readonly missing?: string;
  readonly version?: string;
  readonly kernels?: readonly Kernel[] | null;
  readonly times?: readonly number[];
  /** Values of each output. */
  readonly sizes?: readonly number[];
  /** Where a profile was written. */
  readonly file?: string;
}

/** One request at a time, each a line of JSON. */
class Child {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #python: string;
  #waiting: {resolve(line: string): void; reject(error: SdqError): void} | undefined;
  #stderr = '';
  #ended: SdqError | undefined;

  constructor(python: string) {
    this.#python = python;
    this.#process = spawn(python, [script], {stdio: 'pipe'});
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-shownBytes);
    });
    createInterface({input: this.#process.stdout}).on('line', (line) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(line);
    });
    this.#process.stdin.on('error', () => undefined);
    this.#process.once('error', (error) => this.#end(`cannot be started: ${error.message}`));
    this.#process.once('close', (code, signal) => {
      const last = this.#stderr.trim().split('\n').at(-1) ?? '';
      this.#end(`ended with ${signal ?? `exit code ${code}`}${last === '' ? '' : `: ${last}`}`);
    });
  }

  #end(what: string): void {
    this.#ended ??= new SdqError(`The Python interpreter ${this.#python} ${what}.`, {
      code: 'python-failed',
      exit: ExitCode.notAvailable,
      suggestions: ['--python names the interpreter to run, e.g. .venv/bin/python.'],
    });
    this.#waiting?.reject(this.#ended);
    this.#waiting = undefined;
  }

  async ask(request: object): Promise<Answer> {
    if (this.#ended !== undefined) throw this.#ended;
    const line = await new Promise<string>((resolve, reject) => {
      this.#waiting = {resolve, reject};
      this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    });
    return JSON.parse(line) as Answer;
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#ended !== undefined) return;
    const closed = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.stdin.end();
    await closed;
  }
}

/** @throws SdqError (exit 6) where the interpreter or the package is missing */
export async function startPythonRuntime(
  name: Exclude<RuntimeName, 'onnxruntime-web' | 'onnxruntime-node'>,
  python: string,
  threads: number,
): Promise<Runtime> {
  const child = new Child(python);
  const folder = mkdtempSync(path.join(tmpdir(), 'sdq-runtime-'));
  const close = async (): Promise<void> => {
    await child.close();
    rmSync(folder, {recursive: true, force: true});
  };
  const ids = new WeakMap<RuntimeNetwork, number>();
  let files = 0;
  const inFolder = (): string => path.join(folder, String(files++));
  const write = (bytes: Uint8Array): string => {
    const file = inFolder();
    writeFileSync(file, bytes);
    return file;
  };
  const floats = ({buffer, byteLength, byteOffset}: Float32Array): string =>
    write(new Uint8Array(buffer, byteOffset, byteLength));
  const asked = async (request: object, file: string): Promise<Answer> => {
    const answer = await child.ask(request);
    if (answer.error === undefined) return answer;
    throw invalidInput('onnx-refused', `${file}: ${name} does not run it: ${answer.error}`);
  };

  async function open(
    bytes: Uint8Array,
    file: string,
    level = 'disabled',
    options: {readonly optimized?: string; readonly profile?: string} = {},
  ): Promise<RuntimeNetwork> {
    const id = files;
    const model = write(bytes);
    await asked({do: 'open', id, file: model, level, ...options}, file);
    rmSync(model);
    const network: RuntimeNetwork = {
      async run(images, shape) {
        const [input, output] = [floats(images), inFolder()];
        const {sizes = []} = await asked({do: 'run', id, images: input, shape, output}, file);
        const {buffer, byteOffset} = readFileSync(output);
        for (const each of [input, output]) rmSync(each);
        let start = byteOffset;
        return sizes.map((size) => {
          const end = start + size * Float32Array.BYTES_PER_ELEMENT;
          const values = new Float32Array(buffer.slice(start, end));
          start = end;
          return values;
        });
      },
      async time(images, shape, runs) {
        const input = floats(images);
        const {times} = await asked({do: 'time', id, images: input, shape, runs}, file);
        rmSync(input);
        return times ?? [];
      },
      async release() {
        await asked({do: 'release', id}, file);
      },
    };
    ids.set(network, id);
    return network;
  }

  try {
    const loaded = await child.ask({do: 'load', package: name, threads});
    if (loaded.error !== undefined) throw missing(name, python, loaded);
    return {
      name: `${name} ${loaded.version} (Python)`,
      open,
      async kernels(bytes, file) {
        const optimized = inFolder();
        const network = await open(bytes, file, 'all', {optimized});
        const {kernels} = await asked({do: 'kernels', id: ids.get(network)}, file);
        await network.release();
        return kernels ?? optimizedKernels(readFileSync(optimized));
      },
      async profile(bytes, file, images, shape, runs) {
        if (name !== 'onnxruntime') throw withoutProfile(name);
        const profile = inFolder();
        const network = await open(bytes, file, 'all', {profile});
        await network.time(images, shape, warmUpRuns + runs);
        const {file: written = ''} = await asked({do: 'end_profile', id: ids.get(network)}, file);
        await network.release();
        return profiledNodes(readFileSync(written, 'utf8'));
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function missing(name: string, python: string, {error, missing: module}: Answer): SdqError {
  return new SdqError(`The Python interpreter ${python} does not load ${name}: ${error}.`, {
    code: 'runtime-missing',
    exit: ExitCode.notAvailable,
    suggestions: [`${python} -m pip install ${module === 'numpy' ? `numpy ${name}` : name}`],
  });
}
