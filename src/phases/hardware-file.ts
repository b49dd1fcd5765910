/** Reading hardware profiles: those that come with sdq by name, a user's own by path. */
import {readdirSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

import {invalidInput} from '../errors.ts';
import {checkProfile} from '../hardware/check-profile.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {readJsonFile} from '../json-file.ts';
import {last, property} from '../lookup.ts';
import {isMapping} from '../mapping.ts';
import {didYouMean} from '../nearest.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {checkFile} from '../schema/settings.ts';

const require = createRequire(import.meta.url);

/** A profile is a few pages of text. */
const limitBytes = 2 ** 20;

const folder = fileURLToPath(new URL('../../hardware/', import.meta.url));

/** Names of the profiles that come with sdq, in alphabetical order. */
export function profileNames(): string[] {
  return readdirSync(folder)
    .map((file) => path.basename(file, '.json'))
    .sort();
}

/** Whether a reference names a file rather than a profile that comes with sdq. */
const isPath = (reference: string): boolean => reference.endsWith('.json');

/**
 * @param reference the name of a profile that comes with sdq, or a file that ends in `.json`
 * @throws SdqError (exit 3) for an unknown name, and for a file naming the place, the value found and what is allowed
 */
export function readProfile(reference: string): HardwareProfile {
  if (isPath(reference)) return profileOf(path.resolve(reference));
  const known = profileNames();
  if (known.includes(reference)) return profileOf(path.join(folder, `${reference}.json`));
  throw invalidInput('unknown-hardware', `There is no hardware profile "${reference}". Known: ${known.join(', ')}.`, [
    ...didYouMean(reference, known),
    'A profile of your own is a file that ends in .json: --hardware ./my-device.json.',
  ]);
}

/**
 * The profiles of several references, each once.
 * @throws SdqError (exit 3) also where two files have one name
 */
export function readProfiles(references: readonly string[]): HardwareProfile[] {
  const profiles = new Map<string, {profile: HardwareProfile; reference: string}>();
  for (const reference of references) {
    const profile = readProfile(reference);
    const other = profiles.get(profile.name);
    if (other !== undefined && other.reference !== reference) {
      throw invalidInput(
        'hardware-name-taken',
        `Two hardware profiles have the name "${profile.name}": ${other.reference} and ${reference}.`,
      );
    }
    profiles.set(profile.name, {profile, reference});
  }
  return [...profiles.values()].map(({profile}) => profile);
}

/**
 * The profiles that a strategy is checked against: those given, and those that it names itself.
 * @param names `hardware` of the strategy
 * @throws SdqError (exit 3) for a name that is neither given nor known
 */
export function profilesFor(references: readonly string[], names: readonly string[] = []): HardwareProfile[] {
  const given = readProfiles(references);
  const others = names.filter((name) => given.every((profile) => profile.name !== name));
  return [...given, ...others.map(readProfile)];
}

function profileOf(file: string): HardwareProfile {
  return checkedProfile(readJsonFile(file, limitBytes, 'hardware'), file);
}

/** @param file where the value comes from, for messages @throws SdqError (exit 3) */
export function checkedProfile(value: unknown, file: string): HardwareProfile {
  const profile = structuredClone(value) as Record<string, unknown>;
  checkFile(profile, outline, file);
  const {costModel} = profile;
  checkFile(costModel, branch(families, 'family', costModel) ?? last(families), file, ['costModel']);
  const formats = profile['formats'] as Readonly<Record<string, unknown>>;
  for (const [name, format] of Object.entries(formats)) {
    checkFile(format, branch(formatTypes, 'type', format) ?? formatOfUnknownType, file, ['formats', name]);
  }
  const checked = profile as unknown as HardwareProfile;
  checkProfile(checked, file);
  return checked;
}

const choices = ({anyOf}: JsonSchema): readonly JsonSchema[] => anyOf as readonly JsonSchema[];

const schema = expand(require('../../schemas/hardware.schema.json') as JsonSchema);
const families = choices(property(schema.properties ?? {}, 'costModel'));
const formatTypes = choices(property(schema.properties ?? {}, 'formats')['additionalProperties'] as JsonSchema);
const formatOfUnknownType: JsonSchema = {
  type: 'object',
  required: ['type'],
  properties: {type: {enum: formatTypes.map(({properties}) => property(properties ?? {}, 'type')['const'])}},
};

/** The schema without what `family` and `type` decide: that is checked by the choice that is meant, which an error is then about. */
const outline: JsonSchema = {
  ...schema,
  properties: {
    ...schema.properties,
    costModel: {},
    formats: {...property(schema.properties ?? {}, 'formats'), additionalProperties: {}},
  },
};

/** The choice that has the part's value of `key`. */
function branch(schemas: readonly JsonSchema[], key: string, part: unknown): JsonSchema | undefined {
  const value = isMapping(part) ? part[key] : undefined;
  return value === undefined
    ? undefined
    : schemas.find(({properties}) => property(properties ?? {}, key)['const'] === value);
}
