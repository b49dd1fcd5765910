/** Attributes of a file's nodes. */
import type {Attribute} from '../graph.ts';
import {readTensor, toNumber, type External, type Refuse} from './constants.ts';
import type {Attributes} from './fold/evaluator.ts';
import {NotConstant, hostArray, type HostArray} from './host-array.ts';
import {attributeTypes, type AttributeMessage, type NodeMessage} from './proto.ts';

/** Attributes that say, with this value, what sdq does anyway. */
const usual: Readonly<Record<string, Attribute>> = {auto_pad: 'NOTSET', training_mode: 0, spatial: 1, allowzero: 0};

/** undefined for a tensor, a graph and whatever else is neither a number nor a string nor a list of numbers. */
function simpleValue({f, floats, i, ints, s, type}: AttributeMessage): Attribute | undefined {
  switch (type) {
    case attributeTypes.float:
      return f;
    case attributeTypes.int:
      return toNumber(i);
    case attributeTypes.string:
      return Buffer.from(s).toString('utf8');
    case attributeTypes.floats:
      return [...floats];
    case attributeTypes.ints:
      return ints.map(toNumber);
    default:
      return undefined;
  }
}

/**
 * The attributes of a node, without those that say what is usual anyway.
 * @throws SdqError for one that is neither a number nor a string nor a list of numbers
 */
export function nodeAttributes({attribute}: NodeMessage, refuse: Refuse): Readonly<Record<string, Attribute>> {
  return Object.fromEntries(
    attribute.flatMap((each) => {
      const value = simpleValue(each);
      if (value === undefined) {
        throw refuse(`its attribute "${each.name}" is neither a number nor a string nor a list of numbers`);
      }
      return usual[each.name] === value ? [] : [[each.name, value] as const];
    }),
  );
}

/** For the evaluation of a node: each attribute is looked at when it is needed. */
export function attributeReader({attribute}: NodeMessage, external: External, refuse: Refuse): Attributes {
  const find = (name: string): AttributeMessage | undefined => attribute.find((each) => each.name === name);
  const value = (name: string): Attribute | undefined => {
    const message = find(name);
    return message === undefined ? undefined : simpleValue(message);
  };
  const number = (name: string, fallback: number): number => {
    const given = value(name) ?? fallback;
    if (typeof given !== 'number') throw new NotConstant(`its attribute "${name}" is no number`);
    return given;
  };
  return {
    int: number,
    float: number,
    ints(name) {
      const given = value(name);
      return typeof given === 'object' ? given : undefined;
    },
    string(name, fallback) {
      const given = value(name);
      return typeof given === 'string' ? given : fallback;
    },
    tensor(name) {
      const tensor = find(name)?.t;
      return tensor ? readTensor(tensor, external, refuse) : undefined;
    },
  };
}

/** The value of a node `Constant`. @throws SdqError where it has none, or one that sdq does not read */
export function constantValue({attribute: [value]}: NodeMessage, external: External, refuse: Refuse): HostArray {
  if (value === undefined) throw refuse('it has no value');
  if (value.t !== null) return readTensor(value.t, external, refuse, value.t.name || value.name);
  const constant = simpleValue(value);
  if (constant === undefined || typeof constant === 'string')
    throw refuse('its value is neither a number nor a tensor');
  const type = value.name.startsWith('value_int') ? 'int64' : 'float32';
  return typeof constant === 'number' ? hostArray(type, [], [constant]) : hostArray(type, [constant.length], constant);
}
