/**
 * ONNX files as protobuf messages: the part of `onnx.proto` that networks of sdq are written in. Field names (in camel case)
 * and numbers are ONNX's; https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
import protobuf from 'protobufjs/light.js';

/** `TensorProto.DataType`. */
const dataTypes = {float: 1, uint8: 2, int8: 3, int16: 5, int32: 6, int64: 7, int4: 22, int2: 26} as const;
export type DataType = keyof typeof dataTypes;

/** `AttributeProto.AttributeType`. */
export const attributeTypes = {float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7} as const;

export type OnnxAttribute =
  | {readonly name: string; readonly kind: 'float' | 'int'; readonly value: number}
  | {readonly name: string; readonly kind: 'string'; readonly value: string}
  | {readonly name: string; readonly kind: 'ints'; readonly value: readonly number[]}
  /** Inside a function: the attribute of its caller of the same kind. */
  | {readonly name: string; readonly kind: 'float' | 'int'; readonly reference: string};

export interface OnnxNode {
  readonly name: string;
  readonly op: string;
  /** '' is ONNX's own. */
  readonly domain?: string;
  /** '' for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: readonly OnnxAttribute[];
}

export interface OnnxTensor {
  readonly name: string;
  readonly type: DataType;
  readonly shape: readonly number[];
  /** Row-major, little-endian; types below 8 bits are packed, the first element in the lowest bits. */
  readonly bytes: Uint8Array;
}

/** A value of the graph's edge, float32; a name stands for a size that is not fixed. */
interface OnnxValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

/** An operator that is defined by others. */
export interface OnnxFunction {
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly string[];
  readonly nodes: readonly OnnxNode[];
  readonly opset: number;
}

export interface OnnxModel {
  readonly irVersion: number;
  /** Versions of the operator sets by domain. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producerVersion: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly functions?: readonly OnnxFunction[];
  readonly graph: {
    readonly name: string;
    readonly nodes: readonly OnnxNode[];
    readonly initializers: readonly OnnxTensor[];
    readonly inputs: readonly OnnxValue[];
    readonly outputs: readonly OnnxValue[];
  };
}

const one = (type: string, id: number): {type: string; id: number} => ({type, id});
const many = (type: string, id: number): {rule: string; type: string; id: number} => ({rule: 'repeated', type, id});

/** Written even where it is 0. */
const explicit = (type: string, id: number): protobuf.IField => ({
  ...one(type, id),
  options: {features: {field_presence: 'EXPLICIT'}},
});
const unpacked = (type: string, id: number): protobuf.IField => ({...many(type, id), options: {packed: false}});

const modelType = protobuf.Root.fromJSON({
  nested: {
    ModelProto: {
      fields: {
        irVersion: one('int64', 1),
        producerName: one('string', 2),
        producerVersion: one('string', 3),
        graph: one('GraphProto', 7),
        opsetImport: many('OperatorSetIdProto', 8),
        metadataProps: many('StringStringEntryProto', 14),
        functions: many('FunctionProto', 25),
      },
    },
    OperatorSetIdProto: {fields: {domain: one('string', 1), version: one('int64', 2)}},
    StringStringEntryProto: {fields: {key: one('string', 1), value: one('string', 2)}},
    GraphProto: {
      fields: {
        node: many('NodeProto', 1),
        name: one('string', 2),
        initializer: many('TensorProto', 5),
        input: many('ValueInfoProto', 11),
        output: many('ValueInfoProto', 12),
        sparseInitializer: many('SparseTensorProto', 15),
      },
    },
    SparseTensorProto: {fields: {values: one('TensorProto', 1)}},
    FunctionProto: {
      fields: {
        name: one('string', 1),
        input: many('string', 4),
        output: many('string', 5),
        attribute: many('string', 6),
        node: many('NodeProto', 7),
        opsetImport: many('OperatorSetIdProto', 9),
        domain: one('string', 10),
      },
    },
    NodeProto: {
      fields: {
        input: many('string', 1),
        output: many('string', 2),
        name: one('string', 3),
        opType: one('string', 4),
        attribute: many('AttributeProto', 5),
        domain: one('string', 7),
      },
    },
    AttributeProto: {
      fields: {
        name: one('string', 1),
        f: explicit('float', 2),
        i: explicit('int64', 3),
        s: one('bytes', 4),
        t: one('TensorProto', 5),
        g: one('GraphProto', 6),
        floats: unpacked('float', 7),
        ints: unpacked('int64', 8),
        type: one('int32', 20),
        refAttrName: one('string', 21),
      },
    },
    TensorProto: {
      fields: {
        dims: unpacked('int64', 1),
        dataType: one('int32', 2),
        floatData: many('float', 4),
        int32Data: many('int32', 5),
        int64Data: many('int64', 7),
        name: one('string', 8),
        rawData: one('bytes', 9),
        doubleData: many('double', 10),
        externalData: many('StringStringEntryProto', 13),
        dataLocation: one('int32', 14),
      },
    },
    ValueInfoProto: {fields: {name: one('string', 1), type: one('TypeProto', 2)}},
    TypeProto: {fields: {tensorType: one('TensorTypeProto', 1)}},
    TensorTypeProto: {fields: {elemType: one('int32', 1), shape: one('TensorShapeProto', 2)}},
    TensorShapeProto: {fields: {dim: many('DimensionProto', 1)}},
    DimensionProto: {
      fields: {dimValue: one('int64', 1), dimParam: one('string', 2)},
      oneofs: {value: {oneof: ['dimValue', 'dimParam']}},
    },
  },
}).lookupType('ModelProto');

/** The bytes of an `.onnx` file. */
export function encodeOnnx({
  functions = [],
  graph,
  irVersion,
  metadata,
  opsets,
  producerVersion,
}: OnnxModel): Uint8Array {
  const message = {
    irVersion,
    producerName: 'sdq',
    producerVersion,
    opsetImport: opsetMessages(opsets),
    metadataProps: Object.entries(metadata).map(([key, value]) => ({key, value})),
    functions: functions.map(({attributes, domain, inputs, name, nodes, opset, outputs}) => ({
      name,
      domain,
      input: inputs,
      output: outputs,
      attribute: attributes,
      node: nodes.map(nodeMessage),
      opsetImport: opsetMessages({'': opset}),
    })),
    graph: {
      name: graph.name,
      node: graph.nodes.map(nodeMessage),
      initializer: graph.initializers.map(({bytes, name, shape, type}) => ({
        name,
        dims: shape,
        dataType: dataTypes[type],
        rawData: bytes,
      })),
      input: graph.inputs.map(valueMessage),
      output: graph.outputs.map(valueMessage),
    },
  };
  return modelType.encode(message).finish();
}

const opsetMessages = (opsets: OnnxModel['opsets']): object[] =>
  Object.entries(opsets).map(([domain, version]) => ({domain, version}));

function nodeMessage({attributes = [], domain, inputs, name, op, outputs}: OnnxNode): object {
  return {
    name,
    opType: op,
    ...(domain === undefined ? {} : {domain}),
    input: inputs,
    output: outputs,
    attribute: attributes.map((attribute) => ({
      name: attribute.name,
      type: attributeTypes[attribute.kind],
      ...('reference' in attribute ? {refAttrName: attribute.reference} : valueOf(attribute)),
    })),
  };
}

function valueOf(attribute: Exclude<OnnxAttribute, {readonly reference: string}>): object {
  switch (attribute.kind) {
    case 'float':
      return {f: attribute.value};
    case 'int':
      return {i: attribute.value};
    case 'string':
      return {s: Buffer.from(attribute.value)};
    case 'ints':
      return {ints: attribute.value};
  }
}

function valueMessage({name, shape}: OnnxValue): object {
  const dim = shape.map((size) => (typeof size === 'number' ? {dimValue: size} : {dimParam: size}));
  return {name, type: {tensorType: {elemType: dataTypes.float, shape: {dim}}}};
}

/** A tensor as it stands in a file. */
export interface TensorMessage {
  readonly name: string;
  readonly dims: readonly Long[];
  readonly dataType: number;
  readonly floatData: readonly number[];
  readonly int32Data: readonly number[];
  readonly int64Data: readonly Long[];
  readonly doubleData: readonly number[];
  readonly rawData: Uint8Array;
  /** 1: in a file beside the model, which `externalData` names. */
  readonly dataLocation: number;
  /** `location`, relative to the model's folder; `offset` and `length` in bytes, where it is not the whole file. */
  readonly externalData: readonly {readonly key: string; readonly value: string}[];
}

/** int64 as protobuf gives it: a number, or an object of two halves. */
export type Long = number | {toNumber(): number; toString(): string};

export interface AttributeMessage {
  readonly name: string;
  readonly type: number;
  readonly f: number;
  readonly i: Long;
  readonly s: Uint8Array;
  readonly t: TensorMessage | null;
  readonly g: GraphMessage | null;
  readonly floats: readonly number[];
  readonly ints: readonly Long[];
}

export interface NodeMessage {
  readonly name: string;
  readonly opType: string;
  readonly domain: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly AttributeMessage[];
}

export interface DimensionMessage {
  /** Not an own property, and 0, where it has a name or nothing in its place. */
  readonly dimValue: Long;
}

export interface ValueMessage {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: {
        readonly dim: readonly DimensionMessage[];
      } | null;
    } | null;
  } | null;
}

export interface GraphMessage {
  readonly name: string;
  readonly node: readonly NodeMessage[];
  readonly initializer: readonly TensorMessage[];
  /** Named by their values. */
  readonly sparseInitializer: readonly {readonly values: TensorMessage | null}[];
  readonly input: readonly ValueMessage[];
  readonly output: readonly ValueMessage[];
}

export interface ModelMessage {
  readonly opsetImport: readonly {
    /** '' and `ai.onnx` are ONNX's own. */ readonly domain: string;
    readonly version: Long;
  }[];
  readonly metadataProps: readonly {readonly key: string; readonly value: string}[];
  readonly graph: GraphMessage;
}

/** The messages of an `.onnx` file; undefined when it is none. */
export function decodeOnnx(bytes: Uint8Array): ModelMessage | undefined {
  try {
    const model = modelType.decode(bytes) as unknown as Omit<ModelMessage, 'graph'> & Partial<ModelMessage>;
    // A message that is left out is null.
    return model.graph ? (model as ModelMessage) : undefined;
  } catch {
    return undefined;
  }
}

export const metadataOf = ({metadataProps}: ModelMessage): ReadonlyMap<string, string> =>
  new Map(metadataProps.map(({key, value}) => [key, value]));

/** The metadata of a file; undefined when it is not an ONNX model. */
export function onnxMetadata(bytes: Uint8Array): ReadonlyMap<string, string> | undefined {
  const model = decodeOnnx(bytes);
  return model && metadataOf(model);
}
