/**
 * From the config file, the environment and the flags to one checked config. Precedence, the last wins: defaults, file,
 * `SDQ_*` environment, `--sweep-params`, `--set`.
 */
import path from 'node:path';
import {isDeepStrictEqual} from 'node:util';

import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {item, present} from '../lookup.ts';
import type {Kind, OptionsSchema, Registry} from '../plugin-api/registry.ts';
import {readConfigFile} from './config-file.ts';
import type {Config} from './config-types.ts';
import {nest, settingsOfEnvironment, settingsOfFlags, settingsOfSweep} from './overrides.ts';
import {refuseSecrets} from './secrets.ts';
import {configSchema} from './schema.ts';
import {isMapping, merge} from '../mapping.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {validateSettings, type Source} from '../schema/settings.ts';

export interface ConfigRequest {
  /** Where the search for a config file starts. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--config`: this file instead of the search. */
  readonly file: string | undefined;
  /** `--set`, each `key.path=value`. */
  readonly set: readonly string[];
  /** `--sweep-params`: a JSON file, or JSON. */
  readonly sweepParams: string | undefined;
  /** Settings in place of the file's: those of the run that a new one begins from. */
  readonly origin?: Source | undefined;
  /** Settings below all others: what a checkpoint says of itself. */
  readonly fallback?: Source | undefined;
  /** Settings over all others: flags that stand for keys, the values of a sweep's parameters. */
  readonly tried?: readonly Source[] | undefined;
  /** Gets a line about what was ignored. */
  readonly notice?: ((message: string) => void) | undefined;
  /** Sections without a default that the command needs. */
  readonly require: readonly ('model' | 'data')[];
  /** @param plugins packages and folders that the settings name, relative to `base` */
  loadRegistry(plugins: readonly string[], base: string): Promise<Registry>;
}

/** @throws SdqError (exit 3, exit 2 for a malformed `--set`) that names the source, the place and the value */
export async function loadConfig(request: ConfigRequest): Promise<{
  config: Config;
  file: string | undefined;
  registry: Registry;
  /** Where its settings come from, beside the defaults; the last wins. */
  sources: readonly Source[];
  /** Those of the command line among them. */
  given: readonly Source[];
}> {
  const {cwd} = request;
  const fileSource = await readConfigFile(cwd, request.file);
  const base = fileSource?.base ?? cwd;
  const settingsOfFile = request.origin ?? fileSource;
  const given: Source[] = [
    ...(request.sweepParams === undefined ? [] : [settingsOfSweep(request.sweepParams, cwd)]),
    ...settingsOfFlags(request.set, cwd),
    ...(request.tried ?? []),
  ];
  const sources: Source[] = [
    ...(request.fallback === undefined ? [] : [request.fallback]),
    ...(settingsOfFile === undefined ? [] : [settingsOfFile]),
    ...settingsOfEnvironment(request.env, configSchema, cwd, request.notice),
    ...given,
  ];
  return {...(await resolveSettings(sources, base, request)), file: fileSource?.name, sources, given};
}

/**
 * Splits the settings of a command line that continues a run: those that say where files are now, and those that must equal the run's.
 * @param begun.given as `loadConfig` returns them, with their `config` and `registry`
 * @param begun.stored the config of the run
 * @returns `places`, one key each, and a line for each of the others whose value is not the run's
 */
export function compareWithRun(begun: {
  readonly given: readonly Source[];
  readonly config: Config;
  readonly registry: Registry;
  readonly stored: unknown;
}): {readonly places: readonly Source[]; readonly different: readonly string[]} {
  const {given, config, registry, stored} = begun;
  const schema = withOptionSchemas(config, registry);
  const single = given.flatMap((source) => singleKeys(source.values).map((keys) => ({...source, keys})));
  const parts = single.map(({keys, ...source}) => ({
    keys,
    source: {...source, values: nest(keys, valueAt(source.values, keys))},
  }));
  const places = parts.flatMap(({source}) => (isPlace(schema, source.values) ? [source] : []));
  const shown = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value));
  const different = parts.flatMap(({keys, source}) => {
    const [here, there] = [valueAt(config, keys), valueAt(stored, keys)];
    return isPlace(schema, source.values) || isDeepStrictEqual(here, there)
      ? []
      : [`${keys.join('.')}: ${shown(here)} by ${source.name}, ${shown(there)} in the run`];
  });
  return {places, different: [...new Set(different)]};
}

/** The keys down to everything that is no mapping, or an empty one. */
function singleKeys(values: Source['values']): readonly (readonly string[])[] {
  return Object.entries(values).flatMap(([key, child]) =>
    isMapping(child) && Object.keys(child).length > 0 ? singleKeys(child).map((rest) => [key, ...rest]) : [[key]],
  );
}

/**
 * The settings that a run stored, checked as those of a file are.
 * @param stored named as errors are to name it
 * @param request.set `--set` of a resumed run: only where its files are now; `SDQ_*` variables count where they say that
 * @param request.places the same, found by `compareWithRun`
 * @throws SdqError (exit 3, exit 2 for a `--set` of anything else)
 */
export async function loadStoredConfig(
  stored: Source,
  request: Pick<ConfigRequest, 'require' | 'loadRegistry' | 'cwd' | 'env' | 'set' | 'notice'> & {
    readonly places?: readonly Source[];
  },
): Promise<{
  config: Config;
  registry: Registry;
  /** Whether a file is elsewhere than the run stored. */
  isMoved: boolean;
}> {
  const {cwd, env, set, notice} = request;
  const registry = await request.loadRegistry(pluginNames([stored]), stored.base);
  const schema = withOptionSchemas(stored.values, registry);
  const flags = settingsOfFlags(set, cwd);
  const other = flags.find(({values}) => !isPlace(schema, values));
  if (other !== undefined) throw notAPlace(other.name, schema);
  const variables = settingsOfEnvironment(env, configSchema, cwd, notice).filter(({values}) => isPlace(schema, values));
  const places = [...variables, ...flags, ...(request.places ?? [])];
  const resolved = await resolveSettings([stored, ...places], stored.base, request);
  return {...resolved, isMoved: places.length > 0};
}

/**
 * Of a resumed run, before it is opened: refuses every `--set` of a key that is no place. What stands in the options of a model or
 * data set is known only with the run's own config; `loadStoredConfig` checks it.
 * @throws SdqError (exit 2)
 */
export function refuseOtherSettings(set: readonly string[], cwd: string): void {
  const isOther = (node: JsonSchema, value: unknown): boolean => {
    if (Array.isArray(value)) return value.some((item) => isOther((node['items'] ?? {}) as JsonSchema, item));
    if (!isMapping(value))
      return typeof value !== 'string' || !(node['format'] === 'path' || isProfileFile(node, value));
    const properties = propertiesOf(node);
    if (properties.size === 0 && node['type'] === 'object') return false;
    return Object.entries(value).some(([key, child]) => isOther(properties.get(key) ?? {}, child));
  };
  const other = settingsOfFlags(set, cwd).find(({values}) => isOther(configSchema, values));
  if (other !== undefined) throw notAPlace(other.name, configSchema);
}

/** Whether values only say where files are. */
function isPlace(schema: JsonSchema, values: unknown): boolean {
  const leaves = (node: JsonSchema, value: unknown): boolean[] => {
    if (Array.isArray(value)) return value.flatMap((item) => leaves((node['items'] ?? {}) as JsonSchema, item));
    if (isMapping(value)) {
      const properties = propertiesOf(node);
      return Object.entries(value).flatMap(([key, child]) => leaves(properties.get(key) ?? {}, child));
    }
    return [typeof value === 'string' && (node['format'] === 'path' || isProfileFile(node, value))];
  };
  const matches = leaves(schema, values);
  return matches.length > 0 && matches.every(Boolean);
}

const isProfileFile = (schema: JsonSchema, value: string): boolean =>
  schema['format'] === 'hardware' && value.endsWith('.json');

/** Of a schema and its alternatives; what stands beside the alternatives says more than they do. */
function propertiesOf(schema: JsonSchema): ReadonlyMap<string, JsonSchema> {
  const branches = (schema['anyOf'] ?? []) as readonly JsonSchema[];
  return new Map([...branches, schema].flatMap((node) => Object.entries(node.properties ?? {})));
}

function notAPlace(name: string, schema: JsonSchema): SdqError {
  const keys: string[] = [];
  const visit = (node: JsonSchema, place: readonly string[]): void => {
    if (node['format'] === 'path') keys.push(place.join('.'));
    for (const [key, child] of propertiesOf(node)) visit(child, [...place, key]);
  };
  visit(schema, []);
  return new SdqError(`${name}: a resumed run keeps its settings; only where its files are can be set anew.`, {
    code: 'resume-setting',
    exit: ExitCode.usage,
    suggestions: [
      `Keys that can be set: ${keys.join(', ')}.`,
      'To begin a new run with other settings: --from RUN in place of --resume.',
    ],
  });
}

async function resolveSettings(
  sources: readonly Source[],
  base: string,
  request: Pick<ConfigRequest, 'require' | 'loadRegistry'>,
): Promise<{config: Config; registry: Registry}> {
  refuseSecrets(sources);
  const registry = await request.loadRegistry(pluginNames(sources), base);
  const schema = withOptionSchemas(combine(sources), registry);
  const settings = combine(
    sources.map((source) => ({
      ...source,
      values: resolvePaths(schema, source.values, source.base) as Source['values'],
    })),
  );
  validateSettings(settings, schema, sources);
  const missing = request.require.find((key) => settings[key] === undefined);
  if (missing !== undefined) throw missingSection(missing, sources.find(({name}) => path.isAbsolute(name))?.name);
  const config = resolvePaths(schema, settings, base) as Config;
  checkNames(config, registry, sources);
  return {config, registry};
}

/** Later sources over earlier ones, key by key; `null` takes a key back, as in a JSON Merge Patch (RFC 7396). */
const combine = (sources: readonly Source[]): Record<string, unknown> =>
  withoutNulls(sources.reduce<unknown>((all, {values}) => merge(emptied(all, values), values), {})) as Record<
    string,
    unknown
  >;

/** `all` without the mappings that `over` sets to `{}`: merged key by key, an empty mapping would change nothing. */
function emptied(all: unknown, over: unknown): unknown {
  if (!isMapping(all) || !isMapping(over)) return all;
  return Object.fromEntries(
    Object.entries(all).map(([key, value]) => {
      const next = Object.hasOwn(over, key) ? over[key] : undefined;
      return [key, isMapping(next) && Object.keys(next).length === 0 ? next : emptied(value, next)];
    }),
  );
}

const withoutNulls = (value: unknown): unknown =>
  isMapping(value)
    ? Object.fromEntries(
        Object.entries(value)
          .filter(([, item]) => item !== null)
          .map(([key, item]) => [key, withoutNulls(item)]),
      )
    : value;

/** The plugins are loaded before anything is checked, because they bring schemas; so take only what is well-formed. */
function pluginNames(sources: readonly Source[]): string[] {
  const {plugins} = combine(sources);
  const names: unknown[] = Array.isArray(plugins) ? plugins : [];
  return names.filter((name): name is string => typeof name === 'string' && name !== '');
}

/** The places of the config that name a definition, and where that definition's options are. */
const named: readonly {kind: Kind; name: readonly string[]; options?: readonly string[]}[] = [
  {kind: 'model', name: ['model', 'name'], options: ['model', 'options']},
  {kind: 'dataset', name: ['data', 'name'], options: ['data', 'options']},
  {kind: 'task', name: ['task', 'name'], options: ['task', 'options']},
  {kind: 'engine', name: ['engine', 'name'], options: ['engine']},
  {kind: 'weight-quantizer', name: ['quantizers', 'weights']},
  {kind: 'activation-quantizer', name: ['quantizers', 'activations']},
  {kind: 'searcher', name: ['search', 'method'], options: ['search', 'options']},
  {
    kind: 'model',
    name: ['train', 'distillation', 'teacher', 'model'],
    options: ['train', 'distillation', 'teacher', 'options'],
  },
];

function valueAt(settings: unknown, keys: readonly string[]): unknown {
  return keys.reduce<unknown>(
    (node, key) =>
      (isMapping(node) || Array.isArray(node)) && Object.hasOwn(node, key)
        ? (node as Readonly<Record<string, unknown>>)[key]
        : undefined,
    settings,
  );
}

/** The default of a setting; undefined where it has none. */
const defaultOf = (keys: readonly string[]): unknown =>
  keys.reduce<JsonSchema | undefined>((schema, key) => schema?.properties?.[key], configSchema)?.['default'];

/** The config's schema with the options of the definitions that `settings` names put in. */
function withOptionSchemas(settings: unknown, registry: Registry): JsonSchema {
  return named.reduce(
    (schema, {kind, name, options}) => {
      const chosen = valueAt(settings, name) ?? defaultOf(name);
      const definition = registry.list(kind).find((known) => known.name === chosen);
      if (definition === undefined || options === undefined) return schema;
      const nested = options.reduceRight<unknown>(
        (inner, key) => ({properties: {[key]: inner}}),
        closedOptions(definition.optionsSchema),
      );
      return merge(schema, nested) as JsonSchema;
    },
    withTrackerOptions(settings, registry),
  );
}

function closedOptions(optionsSchema: OptionsSchema = {type: 'object', properties: {}}): JsonSchema {
  const expanded = expand(optionsSchema);
  return expanded.properties === undefined ? expanded : {additionalProperties: false, ...expanded};
}

/** Every entry of `tracking` has the options of its tracker beside its name. */
function withTrackerOptions(settings: unknown, registry: Registry): JsonSchema {
  const {tracking} = present(configSchema.properties, 'properties of the config');
  const prefixItems = trackerNames(settings).map((name) => {
    const definition = registry.list('tracker').find((known) => known.name === name);
    const options = definition === undefined ? {} : closedOptions(definition.optionsSchema);
    return merge(present(tracking, 'key "tracking"')['items'], options);
  });
  // An empty list is no schema.
  return prefixItems.length === 0
    ? configSchema
    : (merge(configSchema, {properties: {tracking: {prefixItems}}}) as JsonSchema);
}

/** By place; undefined where an entry has no name. */
function trackerNames(settings: unknown): readonly (string | undefined)[] {
  const entries = valueAt(settings, ['tracking']);
  return Array.isArray(entries)
    ? entries.map((entry) => {
        const name = valueAt(entry, ['name']);
        return typeof name === 'string' ? name : undefined;
      })
    : [];
}

function checkNames(config: Config, registry: Registry, sources: readonly Source[]): void {
  const trackers = config.tracking.map((_, i) => ({kind: 'tracker' as const, name: ['tracking', String(i), 'name']}));
  checkNoDoubles(config, sources);
  for (const {kind, name} of [...named, ...trackers]) {
    const value = valueAt(config, name);
    if (typeof value !== 'string' || !registry.wants(kind) || (kind === 'engine' && value === 'auto')) continue;
    try {
      registry.get(kind, value);
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      const source = sources.findLast(({values}) => valueAt(values, name) !== undefined)?.name ?? 'default';
      throw new SdqError(`${source}: /${name.join('/')}: ${error.message}`, {
        code: error.code,
        exit: error.oclif.exit,
        suggestions: error.suggestions,
      });
    }
  }
}

/** One cursor a tracker and run: a name may stand there once. */
function checkNoDoubles({tracking}: Config, sources: readonly Source[]): void {
  const names = tracking.map(({name}) => name);
  const second = names.findIndex((name, i) => names.indexOf(name) < i);
  if (second < 0) return;
  const source = sources.findLast(({values}) => values['tracking'] !== undefined)?.name ?? 'default';
  throw invalidInput(
    'invalid-config',
    `${source}: /tracking/${second}/name: "${item(names, second)}" is there a second time.`,
  );
}

/** Values of `format: path` made absolute, and of `format: hardware` those that are a file's path and not a profile's name. */
function resolvePaths(schema: JsonSchema, value: unknown, base: string): unknown {
  if (typeof value === 'string') {
    const isPath = schema['format'] === 'path' ? value !== '' : isProfileFile(schema, value);
    return isPath ? path.resolve(base, value) : value;
  }
  if (Array.isArray(value)) {
    const first = (schema['prefixItems'] ?? []) as readonly JsonSchema[];
    const others = (schema['items'] ?? {}) as JsonSchema;
    return value.map((item, i) => resolvePaths(first[i] ?? others, item, base));
  }
  if (!isMapping(value)) return value;
  const properties = propertiesOf(schema);
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, resolvePaths(properties.get(key) ?? {}, child, base)]),
  );
}

function missingSection(key: 'model' | 'data', file: string | undefined): SdqError {
  const list = `Or choose one on the command line, e.g. --set ${key}.name=${key === 'model' ? 'resnet20' : 'cifar10'}.`;
  return invalidInput(
    'config-incomplete',
    file === undefined
      ? `No config file was found, and no ${key} was chosen.`
      : `${file}: /${key}/name is missing: no ${key} was chosen.`,
    file === undefined ? ['Write a config with `sdq init`.', list] : [list],
  );
}
