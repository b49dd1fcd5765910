/** Runs a command of the sources in this process, as often as a test likes: some ten milliseconds each and no build. */
import {Console} from 'node:console';
import {readFileSync, readdirSync} from 'node:fs';
import path from 'node:path';

import {Plugin, run, settings} from '@oclif/core';

const root = path.resolve(import.meta.dirname, '../..');

export interface CommandOutcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

let plugins: Promise<readonly Plugin[]> | undefined;
let last: Promise<unknown> = Promise.resolve();

/**
 * Runs `sdq` with these arguments; commands that are started together run one after the other, because a process has one
 * working folder and one stdout.
 * @param env variables beside those of the test's own environment
 */
export function runInProcess(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<CommandOutcome> {
  const outcome = last.then(() => runAlone(args, cwd, env));
  last = outcome.catch(() => undefined);
  return outcome;
}

async function runAlone(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<CommandOutcome> {
  const loaded = await (plugins ??= loadPlugins());
  let [stdout, stderr] = ['', ''];
  const restore = [
    capture(process.stdout, (text) => (stdout += text)),
    capture(process.stderr, (text) => (stderr += text)),
    replaceConsole(),
    enter(cwd),
    setEnvironment({NODE_ENV: 'production', OCLIF_SKIP_NEW_VERSION_CHECK: 'true', ...env}),
    rememberListeners(),
  ];
  process.exitCode = undefined;
  try {
    await run([...args], {root, plugins: new Map(loaded.map((plugin) => [plugin.name, fresh(plugin)]))});
    return {exitCode: exitCode(), stdout, stderr};
  } catch (error) {
    const {oclif, stack} = error as Error & {oclif?: {exit: number}};
    // An error that the command has shown has an exit code; any other would end the process with its stack.
    return {exitCode: oclif?.exit ?? 1, stdout, stderr: oclif === undefined ? `${stderr}${stack ?? ''}` : stderr};
  } finally {
    process.exitCode = undefined;
    for (const undo of restore.toReversed()) undo();
  }
}

const exitCode = (): number => Number(process.exitCode ?? 0);

/** The command line of the sources; left to itself oclif loads `dist/`, or registers a TypeScript loader. */
async function loadPlugins(): Promise<readonly Plugin[]> {
  settings.enableAutoTranspile = false;
  await loadSources();
  const manifest = readFileSync(path.join(root, 'package.json'), 'utf8');
  const sources = manifest.replaceAll(/"\.\/dist\/(commands|hooks)([^"]*)"/g, (_, folder: string, rest: string) =>
    JSON.stringify(`./src/${folder}${rest.replace(/js$/, 'ts')}`),
  );
  const pjson = JSON.parse(sources) as Plugin['pjson'];
  const own = [
    new Plugin({root, isRoot: true, pjson, ignoreManifest: true}),
    new Plugin({root, name: '@oclif/plugin-help', type: 'core'}),
    new Plugin({root, name: '@oclif/plugin-autocomplete', type: 'core'}),
  ];
  for (const plugin of own) await plugin.load();
  return own;
}

/** Help renames the commands that it shows. */
function fresh(plugin: Plugin): Plugin {
  const commands = plugin.commands.map((command) => ({...command}));
  return Object.create(plugin, {commands: {value: commands}}) as Plugin;
}

/**
 * Loads every module before the first command, one after the other: Jest fails ("request for … is not in cache") where two
 * imports at the same time share a module that neither has loaded yet.
 */
async function loadSources(): Promise<void> {
  const src = path.join(root, 'src');
  const others = /assembly|worker\.ts$|sdk-child\.ts$/;
  const names = readdirSync(src, {recursive: true, encoding: 'utf8'});
  for (const name of names) {
    if (name.endsWith('.ts') && !others.test(name)) await import(path.join(src, name));
  }
}

/** Sends what is written to the stream to `sink`, and makes it no terminal. */
function capture(stream: NodeJS.WriteStream, sink: (text: string) => void): () => void {
  const write = (chunk: Uint8Array | string, encoding?: unknown, callback?: unknown): boolean => {
    sink(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString());
    const done = typeof encoding === 'function' ? encoding : callback;
    if (typeof done === 'function') process.nextTick(done);
    return true;
  };
  // Each thread that runs has listeners here.
  stream.setMaxListeners(0);
  return replaceProperties(stream, {write, isTTY: false});
}

function replaceProperties(object: object, values: Readonly<Record<string, unknown>>): () => void {
  const before = Object.keys(values).map((name) => [name, Object.getOwnPropertyDescriptor(object, name)] as const);
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(object, name, {value, configurable: true, writable: true});
  }
  return () => {
    for (const [name, descriptor] of before) {
      Reflect.deleteProperty(object, name);
      if (descriptor !== undefined) Object.defineProperty(object, name, descriptor);
    }
  };
}

/** Jest's console adds where a line comes from. */
function replaceConsole(): () => void {
  return replaceProperties(globalThis, {console: new Console(process.stdout, process.stderr)});
}

function enter(cwd: string): () => void {
  const before = process.cwd();
  process.chdir(cwd);
  return () => process.chdir(before);
}

function setEnvironment(values: Readonly<Record<string, string>>): () => void {
  const before = {...process.env};
  // Jest colours its own output.
  delete process.env['FORCE_COLOR'];
  Object.assign(process.env, values);
  return () => {
    for (const name of Object.keys(process.env)) if (!(name in before)) Reflect.deleteProperty(process.env, name);
    Object.assign(process.env, before);
  };
}

/** Takes away those that a command adds and leaves to the end of its process. */
function rememberListeners(): () => void {
  const watched = ([process.stdout, process.stderr, process] as NodeJS.EventEmitter[]).flatMap((emitter) =>
    ['error', 'SIGINT', 'SIGTERM', 'exit'].map((event) => ({emitter, event, known: emitter.listeners(event)})),
  );
  return () => {
    for (const {emitter, event, known} of watched) {
      for (const listener of emitter.listeners(event)) {
        if (!known.includes(listener)) emitter.off(event, listener as () => void);
      }
    }
  };
}
